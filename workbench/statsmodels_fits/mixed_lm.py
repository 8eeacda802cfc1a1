"""``MixedLM`` of statsmodels: a gaussian mixed model maximised by REML or ML, from the arrays of a Design.

    y - offset | u ~ N(X b + Z u, sigma^2 I)

statsmodels cuts the rows into groups that share no effect. In each it has correlated effects (``exog_re``), one
covariance matrix for all groups, and *variance components* (``exog_vc``), independent effects with one variance each
(https://www.statsmodels.org/stable/mixed_linear.html). A formula is laid out so:

================================================  ======================================================
of the formula                                    in statsmodels
================================================  ======================================================
levels linked by a row, of any factors            one group: the outermost level of nested factors, all
                                                  rows of crossed ones
one term of the factor whose levels the           ``exog_re``: its covariance is free
groups are
every other varying column, of any factor         a variance component
================================================  ======================================================

so terms can be correlated within one term of the outermost factor alone. In a group of m rows with k effects
statsmodels handles a dense m x k matrix: nested factors are cheap, crossed ones soon are not.

Its log-likelihoods, restricted and not, are lme4's to the last constant, and so are the conditional covariances: of
the effects given y, the population coefficients and the variances held at their estimates. What it leaves out is the
error of population value + effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, OptionError
from workbench.estimates import Component, Criterion, Estimates, GroupEffects
from workbench.fit import Fit
from workbench.statsmodels_fits.running import announce, run
from workbench.words import join

Array = NDArray[np.float64]

OPTIMIZERS = ("bfgs", "lbfgs", "cg", "powell", "nm")
MOST = 1e10
"""Refused where the groups' rows times their squared numbers of effects add up to more: minutes of dense algebra."""
SINGULAR = (1e-4, 1e-8)
"""SD over sigma, and eigenvalue of a correlation matrix, below which a fit is called singular; the first is lme4's."""
NEAR = 0.01
"""A criterion that lies above the smallest by more than this was not minimised."""
SAMPLING = "sampling SE, variances as estimated"
CONDITIONAL = "conditional SD"
NO_ERROR = "none: statsmodels gives none"


@dataclass(frozen=True, eq=False)
class Layout:
    """A design's random terms as statsmodels has them.

    Attributes
    ----------
    group : array of int, shape (n,)
        Rows of one number are linked by some level.
    count : int
        How many such groups there are.
    free : int or None
        The block whose covariance is free (``exog_re``).
    components : tuple of (block, column)
        Variance components, by places in the design.
    """

    group: NDArray[np.intp]
    count: int
    free: int | None
    components: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, design: Design) -> Layout:
        """Lay a design out.

        Raises
        ------
        DesignError
            Correlated terms that statsmodels does not have.
        """
        group, count = _linked(design)
        outermost = [k for k, block in enumerate(design.blocks) if len(block.levels) == count]
        correlated = [k for k, block in enumerate(design.blocks) if len(block.terms) > 1]
        for k in correlated:
            if k not in outermost or len(correlated) > 1:
                block = design.blocks[k]
                term = f"{join(block.terms)} of {block.group}"
                raise DesignError(
                    f"statsmodels' MixedLM has correlated terms once, for one factor with all others nested in it; "
                    f"{term} cannot be correlated here. Write || in place of | for independent ones, or use reml."
                )
        first = correlated or outermost
        free = first[0] if first else None
        rest = [(k, c) for k, block in enumerate(design.blocks) if k != free for c in range(len(block.terms))]
        return cls(group, count, free, tuple(rest))

    def members(self) -> list[NDArray[np.intp]]:
        """Rows of every group, in their order."""
        order = np.argsort(self.group, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.group, minlength=self.count))[:-1])

    def work(self, design: Design) -> float:
        """Sum over groups of rows x effects^2: what an evaluation of the likelihood costs, in multiplications."""
        own = 0 if self.free is None else len(design.blocks[self.free].terms)
        effects = np.full(self.count, float(own))
        for k, _ in self.components:
            codes = design.blocks[k].codes
            first = np.zeros(len(design.blocks[k].levels), dtype=np.intp)
            first[codes] = self.group
            effects += np.bincount(first, minlength=self.count)
        return float(np.bincount(self.group, minlength=self.count) @ effects**2)


def fit_mixed_lm(
    design: Design, level: float, restricted: bool, optimizer: str | None, max_iterations: int | None, progress: bool
) -> Fit:
    """Fit a gaussian design by ``MixedLM``.

    Parameters
    ----------
    design : Design
    level : float
        Probability of the intervals.
    restricted : bool
        REML rather than ML.
    optimizer : str or None
        One of `OPTIMIZERS`; None lets statsmodels try bfgs, lbfgs and cg in turn.
    max_iterations : int or None
        Of the optimiser; None is statsmodels' own number.
    progress : bool
        Whether long work is announced.

    Raises
    ------
    OptionError
        Weights, known standard errors.
    DesignError
        Correlated terms or a size that statsmodels cannot take; it broke off.
    """
    _refuse(design)
    layout = Layout.of(design)
    work = layout.work(design)
    if work > MOST:
        raise DesignError(
            f"statsmodels' MixedLM handles dense matrices of rows by effects, {work:.2g} multiplications an evaluation "
            f"for {design.formula}: too many to wait for (the limit here is {MOST:.0g}). Use reml, which keeps crossed "
            "factors sparse."
        )
    announce("MixedLM", 100 * (work / 1e10 + layout.count * 3e-5), progress)
    asked: dict[str, Any] = {} if max_iterations is None else {"maxiter": max_iterations}
    result, said = run("MixedLM", lambda: _model(design, layout).fit(reml=restricted, method=optimizer, **asked))
    (effects, covariances), more = run("MixedLM", lambda: (result.random_effects, result.random_effects_cov))
    p = len(design.fixed_terms)
    b, sigma = np.asarray(result.fe_params, dtype=float), float(np.sqrt(result.scale))
    b_cov = np.asarray(result.cov_params(), dtype=float)[:p, :p]
    covariance = _covariances(design, layout, np.atleast_2d(np.asarray(result.cov_re)), np.asarray(result.vcomp))
    singular = is_singular(covariance, sigma)
    value = -2 * float(result.llf)
    kind = "REML estimate" if restricted else "ML estimate"
    q = [1] * len(layout.components) + ([] if layout.free is None else [len(design.blocks[layout.free].terms)])
    return Fit(
        estimator="statsmodels",
        design=design,
        population=Estimates.wald(b, population_errors(b_cov), level, kind, SAMPLING),
        fixed_cov=b_cov,
        components=covariance,
        group_effects=_group_effects(design, layout, b, effects, covariances, level),
        sigma=sigma,
        criterion=Criterion(value, "REML" if restricted else "deviance"),
        log_likelihood=-value / 2,
        df=p + sum(k * (k + 1) // 2 for k in q) + 1,
        converged=bool(result.converged),
        singular=singular,
        warnings=(*design.notes, *dict.fromkeys((*said, *more)), *_doubts(bool(result.converged), singular)),
        diagnostics=MappingProxyType({"groups": layout.count, "variance_components": len(layout.components)}),
    )


def beside(fit: Fit, best: Fit) -> Fit:
    """The fit, with how far its criterion lies above that of a certified optimum of the same likelihood."""
    assert fit.criterion is not None
    assert best.criterion is not None
    above = float(fit.criterion) - float(best.criterion)
    missed = above > NEAR
    doubt = (
        f"statsmodels' search ended {above:.2g} above the smallest {fit.criterion.name} criterion, which "
        f"{best.estimator} found: this is no maximum of the likelihood. Try another optimizer, "
        'options={"optimizer": "powell"}, say.'
    )
    return replace(
        fit,
        converged=fit.converged and not missed,
        warnings=(*fit.warnings, doubt) if missed else fit.warnings,
        diagnostics=MappingProxyType({**fit.diagnostics, "above": above}),
    )


def population_errors(b_cov: Array) -> Array:
    """Standard errors of the population coefficients; NaN where a search that ended on no maximum gives no variance."""
    variance = np.diag(b_cov)
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def is_singular(components: tuple[Component, ...], sigma: float) -> bool:
    """Whether a spread or a combination of terms has next to no variance."""
    for part in components:
        if part.sd.min() < SINGULAR[0] * sigma or np.linalg.eigvalsh(part.correlation)[0] < SINGULAR[1]:
            return True
    return False


# --- to statsmodels -------------------------------------------------------------------------------------


def _refuse(design: Design) -> None:
    if design.known_se:
        raise OptionError(
            "statsmodels' MixedLM estimates the residual variance and takes no known standard errors (se). Use reml, "
            "henderson or exact."
        )
    if not (design.weights == 1).all():
        raise OptionError("statsmodels' MixedLM takes no weights. Use reml, or leave them out.")
    if not design.fixed_terms:
        raise DesignError(
            f"statsmodels' MixedLM needs a fixed effect, and {design.formula} has none. Add 1 + in front, or use reml."
        )


def _linked(design: Design) -> tuple[NDArray[np.intp], int]:
    """A number per row, the same where levels of any factors link the rows, and how many there are."""
    factors = list({block.group: block for block in design.blocks}.values())
    if len(factors) == 1:
        return factors[0].codes, len(factors[0].levels)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.cumsum([len(block.levels) for block in factors])
    first = np.tile(factors[0].codes, len(factors) - 1)
    others = np.concatenate([block.codes + end for block, end in zip(factors[1:], ends[:-1], strict=True)])
    links = coo_array((np.ones(len(first)), (first, others)), shape=(ends[-1], ends[-1]))
    count, of = connected_components(links, directed=False)
    return np.asarray(of, dtype=np.intp)[factors[0].codes], int(count)


def _model(design: Design, layout: Layout) -> Any:
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    members = layout.members()
    names, columns, matrices = [], [], []
    for place, (k, c) in enumerate(layout.components):
        block = design.blocks[k]
        named, filled = [], []
        for rows in members:
            used, local = np.unique(block.codes[rows], return_inverse=True)
            Z = np.zeros((len(rows), len(used)))
            Z[np.arange(len(rows)), local] = block.Z[rows, c]
            named.append([str(code) for code in used])
            filled.append(Z)
        names.append(f"{place}")
        columns.append(named)
        matrices.append(filled)
    parts: dict[str, Any] = {"exog_vc": VCSpec(names, columns, matrices)} if names else {}
    if layout.free is not None:
        parts["exog_re"] = np.array(design.blocks[layout.free].Z)
    return MixedLM(np.array(design.y - design.offset), np.array(design.X), groups=np.array(layout.group), **parts)


# --- from statsmodels -----------------------------------------------------------------------------------


def _covariances(design: Design, layout: Layout, free: Array, variances: Array) -> tuple[Component, ...]:
    """Covariances on the data's scale, in the order of the design's blocks."""
    found = [np.zeros((len(block.terms),) * 2) for block in design.blocks]
    for (k, c), variance in zip(layout.components, variances, strict=True):
        found[k][c, c] = variance
    if layout.free is not None:
        found[layout.free] = free
    return tuple(Component(b.group, b.terms, S) for b, S in zip(design.blocks, found, strict=True))


def _group_effects(
    design: Design,
    layout: Layout,
    b: Array,
    effects: Mapping[Any, Any],
    covariances: Mapping[Any, Any],
    level: float,
) -> tuple[GroupEffects, ...]:
    """Effects with their conditional SD, and coefficients, whose error statsmodels does not give.

    In every group statsmodels lists the correlated effects, then those of each variance component, level by level.
    """
    estimate = [np.zeros((len(block.levels), len(block.terms))) for block in design.blocks]
    error = [np.zeros_like(part) for part in estimate]
    for group, rows in enumerate(layout.members()):
        u = np.asarray(effects[group], dtype=float)
        sd = np.sqrt(np.maximum(np.diag(np.atleast_2d(np.asarray(covariances[group], dtype=float))), 0.0))
        at = 0
        if layout.free is not None:
            own = design.blocks[layout.free]
            at = len(own.terms)
            estimate[layout.free][own.codes[rows[0]]], error[layout.free][own.codes[rows[0]]] = u[:at], sd[:at]
        for k, c in layout.components:
            used = np.unique(design.blocks[k].codes[rows])
            here = slice(at, at + len(used))
            estimate[k][used, c], error[k][used, c] = u[here], sd[here]
            at = here.stop
    parts = []
    for block, value, sd in zip(design.blocks, estimate, error, strict=True):
        centre = np.array([0.0 if k is None else b[k] for k in block.fixed])
        effect = Estimates.wald(value, sd, level, "BLUP", CONDITIONAL)
        coefficient = Estimates.wald(value + centre, np.full_like(sd, np.nan), level, "BLUP", NO_ERROR)
        parts.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    return tuple(parts)


def _doubts(converged: bool, singular: bool) -> list[str]:
    found = []
    if not converged:
        found.append(
            "statsmodels' search did not end at a maximum: another optimizer may get there, and reml shows where the "
            "maximum is. Do not trust these numbers."
        )
    if singular:
        found.append(
            "Singular: a spread is next to zero, or a correlation next to -1 or 1. statsmodels stops near the edge, "
            "not on it, so what would be zero is a small number here."
        )
    return found

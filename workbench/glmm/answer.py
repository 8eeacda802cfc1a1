"""What follows once theta and b are found: :class:`workbench.fit.Fit` of an optimum.

===============================  =====================================================================================
number                           is
===============================  =====================================================================================
standard error of b              from half the Hessian of the deviance in theta and b: that theta is estimated counts
                                 (what glmer prints)
effect                           conditional mode u_j, given the estimates
its standard error               conditional SD: root of the diagonal of Lambda (Lambda'Z'W Z Lambda + I)^-1 Lambda',
                                 P_j for short (lme4's ``condVar``); b and theta are taken as known
coefficient                      population value + effect
its standard error               root of P_j + (A - pull_j) Var(b) (A - pull_j)', where A picks the population value and
                                 pull_j says how the mode answers to b (Booth & Hobert 1998,
                                 doi:10.1080/01621459.1998.10474096, without their correction for theta)
criterion                        deviance, -2 log likelihood with all constants
===============================  =====================================================================================

All of them are on the scale of the linear predictor; fitted values are on the response's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, wald_effects
from workbench.families import SEPARATED, family_of
from workbench.fit import Fit
from workbench.glmm.rows import Rows, Varying
from workbench.glmm.search import SINGULAR, Optimum
from workbench.likelihood import Conditional, conditional, conditional_covariances
from workbench.moments import Moments
from workbench.words import significant

Array = NDArray[np.float64]

UNDETERMINED = 1e-4
"""A curvature of the deviance, per unit of a linear predictor squared, that leaves an estimate undetermined."""
WIDE = 5.0
"""An SD of intercepts, on the linear predictor's scale, at which most levels have one outcome or the other."""


def answer(
    design: Design, at: Optimum, estimator: str, level: float, figures: Mapping[str, Any] = MappingProxyType({})
) -> Fit:
    """The Fit of an optimum.

    Parameters
    ----------
    design : Design
    at : Optimum
        Of the design's rows.
    estimator : str
        The registered name.
    level : float
        Probability of the intervals.
    figures : mapping
        The estimator's own, for ``diagnostics``.
    """
    rows = at.working.rows
    T = rows.to_data
    b, b_cov = T @ at.mode.b, T @ at.b_cov @ T.T
    components = _components(design, at)
    singular = _singular(at)
    converged = at.minimum.certified and at.mode.found
    kind = "ML estimate"
    return Fit(
        estimator=estimator,
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(b_cov)), level, kind, "sampling SE, from the Hessian"),
        fixed_cov=b_cov,
        components=components,
        group_effects=_group_effects(design, at, b_cov, level),
        sigma=1.0,
        criterion=Criterion(at.value, "deviance"),
        log_likelihood=-at.value / 2,
        df=len(b) + sum(q * (q + 1) // 2 for q in (len(block.terms) for block in design.blocks)),
        converged=converged,
        singular=bool(singular),
        warnings=(*design.notes, *_doubts(design, at, components, singular)),
        diagnostics=MappingProxyType(_certificate(at, singular) | dict(figures)),
    )


def _components(design: Design, at: Optimum) -> tuple[Component, ...]:
    """Covariances of the data's own varying columns, in the order of the design's blocks."""
    parts: dict[int, Component] = {}
    for f, Lambda in zip(at.working.rows.factors, at.mode.factors, strict=True):
        for place, here, R in zip(f.places, f.blocks, f.maps, strict=True):
            root = R @ Lambda[here, here]
            parts[place] = Component(f.group, design.blocks[place].terms, root @ root.T)
    return tuple(parts[place] for place in range(len(design.blocks)))


def _group_effects(design: Design, at: Optimum, b_cov: Array, level: float) -> tuple[GroupEffects, ...]:
    """Conditional modes with the conditional SD, and coefficients with the coefficient SE, by block of the design."""
    rows = at.working.rows
    data, given = _with_X(at)
    covariances = conditional_covariances(data, at.mode.factors, given)
    to_own = np.linalg.inv(rows.to_data)
    parts: dict[int, GroupEffects] = {}
    for f, u, P, pull in zip(rows.factors, at.mode.u, covariances, given.pull, strict=True):
        pull = pull @ to_own  # of the data's own columns of X
        for place, here, R in zip(f.places, f.blocks, f.maps, strict=True):
            block = design.blocks[place]
            mode = (R @ u[here]).T
            variance = np.einsum("ab,jbc,ac->ja", R, P[:, here, here], R)
            pick = _picked(block.fixed, len(rows.to_data))
            away = pick - np.einsum("ab,jbp->jap", R, pull[:, here])
            value = pick @ rows.to_data @ at.mode.b
            spread = np.einsum("jap,pr,jar->ja", away, b_cov, away)
            effect, coefficient = (mode, np.sqrt(variance)), (mode + value, np.sqrt(variance + spread))
            kinds = ("conditional mode", "conditional SD", "conditional mode", "coefficient SE")
            (parts[place],) = wald_effects((block,), effect, coefficient, level, kinds)
    return tuple(parts[place] for place in range(len(design.blocks)))


def _picked(fixed: tuple[int | None, ...], p: int) -> Array:
    """A, shape (q, p): 1 where a varying column has its population value."""
    return np.array([[float(k == column) for k in range(p)] for column in fixed]).reshape(len(fixed), p)


def _with_X(at: Optimum) -> tuple[Moments, Conditional]:
    """The working regression of the determinant's information, with X."""
    working, mode = at.working, at.mode
    weights = working.rows.density.information(mode.eta, mode.terms, at.expected).value
    data = working.moments(weights, np.zeros_like(weights))
    return data, conditional(data, mode.factors)


# --- doubts -------------------------------------------------------------------------------------------


def _singular(at: Optimum) -> list[str]:
    """The grouping factors whose covariance lies on its boundary."""
    low = at.theta.on_diagonal & (at.theta.values < SINGULAR)
    factors = at.working.rows.factors
    return list(dict.fromkeys(factors[at.theta.entries[k][0]].group for k in np.flatnonzero(low)))


def _doubts(design: Design, at: Optimum, components: tuple[Component, ...], singular: list[str]) -> list[str]:
    """Everything that keeps the numbers from being trusted, a sentence or two each."""
    found = [_why_singular(group, [c for c in components if c.group == group]) for group in singular]
    found += [_left_out(design, f, k) for f in at.working.rows.factors for k in range(len(f.places))]
    apart = [_one_outcome(design, block, part) for block, part in zip(design.blocks, components, strict=True)]
    found += [*apart, *_flat(at.working.rows, design, at, bool(singular) or any(apart))]
    if not (at.minimum.certified and at.mode.found):
        found.append(
            "The search did not end at a certified minimum: largest gradient "
            f"{np.abs(at.minimum.gradient).max():.2g}, smallest curvature {at.minimum.curvature[0]:.2g}. "
            "Do not trust these numbers."
        )
    return [sentence for sentence in found if sentence]


def _why_singular(group: str, components: list[Component]) -> str:
    if not any(component.sd.any() for component in components):
        return (
            f"Singular: the spread between the levels of {group} is estimated as zero: they differ no more than "
            "chance within them alone explains. Zero is the edge of what is possible, not evidence of no spread."
        )
    return (
        f"Singular: the covariance of {group} is on its boundary (a standard deviation of zero, or a correlation of "
        "-1 or 1): the data do not carry as many spreads as the formula asks for. Consider fewer varying terms, "
        "or a prior."
    )


def _left_out(design: Design, f: Varying, k: int) -> str:
    """Name the varying columns that are combinations of each other, if they are."""
    block, R = design.blocks[f.places[k]], f.maps[k]
    if R.shape[1] == len(R):
        return ""
    return (
        f"Undetermined: the data do not tell apart the spreads of {' and '.join(block.terms)} between the levels of "
        f"{block.group}: these columns are zero, or combinations of each other. What cannot be known is set to zero. "
        "Leave a column out."
    )


def _one_outcome(design: Design, block: RandomBlock, part: Component) -> str:
    """Say of a wide spread of intercepts that no level holds it: each has nothing but successes, or but failures.

    As the spread grows, the likelihood of a level rises to the probability of its effect's sign, which no finite
    spread exceeds. Where it seems to have a maximum, that is the approximation's.
    """
    own = [a for a, term in enumerate(block.terms) if term == "(Intercept)" and part.sd[a] > WIDE]
    if design.family != "binomial" or not own:
        return ""
    trials = np.bincount(block.codes, design.weights, len(block.levels))
    successes = np.bincount(block.codes, design.weights * design.y, len(block.levels))
    if ((successes > 0) & (successes < trials)).any() or not (trials > 1).any():
        return ""
    return (
        f"Undetermined: no level of {block.group} has both outcomes, so that the likelihood does not fall however "
        f"large the spread between levels is; its SD, {significant(float(part.sd[own[0]]))}, is where the "
        "approximation of the integral ends. Do not interpret it, nor the intercept; use a prior (exact, hierarchical)."
    )


def _flat(rows: Rows, design: Design, at: Optimum, explained: bool) -> list[str]:
    """Directions along which the deviance hardly changes: coefficients that run away, spreads that nothing holds."""
    found = []
    if family_of(design.family, design.link).certain(rows.density.mean(at.mode.eta)):
        found.append(
            f"{SEPARATED}, and estimates and their standard errors have no end. Leave out a term, or use priors "
            "(hierarchical)."
        )
    m = len(at.theta.values)
    loose = np.flatnonzero(np.diag(at.b_cov) > 1 / UNDETERMINED) if rows.p else np.empty(0)
    if len(loose) and not found:
        found.append(
            "Undetermined: the deviance hardly changes with some population coefficients (standard errors above "
            f"{UNDETERMINED**-0.5:.0f} on the linear predictor's scale). Outcomes may be separated; do not interpret "
            "these coefficients."
        )
    curvature = np.linalg.eigvalsh(at.hessian[:m, :m])
    if m and curvature[0] < UNDETERMINED and not explained:
        found.append(
            "Undetermined: the data say next to nothing of some spread or correlation: other values of it fit as well. "
            "Do not interpret it; consider fewer varying terms, or a prior."
        )
    return found


def _certificate(at: Optimum, boundary: list[str]) -> dict[str, Any]:
    """What certifies the end point, in the search's coordinates (orthonormal columns, each in its own unit)."""
    gradient = at.minimum.gradient
    return {
        "gradient": float(np.abs(gradient).max(initial=0.0)),
        "projected_gradient": float(np.linalg.norm(gradient)),
        "curvature": float(at.minimum.curvature.min(initial=np.inf)),
        "boundary": tuple(boundary),
        "evaluations": at.minimum.evaluations,
        "distinct_rows": len(at.mode.eta),
        "information": _information(at),
    }


def _information(at: Optimum) -> str:
    if at.working.rows.density.canonical:
        return "observed = expected"
    return "expected" if at.expected else "observed"

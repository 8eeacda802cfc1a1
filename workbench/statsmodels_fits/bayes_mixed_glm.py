"""``BinomialBayesMixedGLM`` and ``PoissonBayesMixedGLM`` of statsmodels: counts and 0/1 responses under its priors.

    g(E y) = X b + Z u,     u_jk ~ N(0, s_k^2),     log s_k ~ N(0, vcp_p^2),     b ~ N(0, fe_p^2)

with logit or log link, a variance s_k^2 for every varying column of every grouping factor, and no correlations
(https://www.statsmodels.org/stable/mixed_glm.html). Its posterior of (b, log s, u) is approximated in one of two ways.

``vb``
    Mean-field variational Bayes: independent normal distributions, as near as such can be. What is correlated in the
    posterior, as a population value with the effects around it, is not so here, which makes the SDs too small.
``map``
    The mode of b, log s and u together, and the inverse curvature there. With u at its mode the density of log s
    falls as s^-J for small s, so that the mode may lie at log s = -J vcp_p^2, where the prior stops it: at no spread
    at all. A warning says so.

The SDs s_k are estimated on the log scale. What stands in the tables is on the data's: of ``vb`` the mean of the
log-normal distribution, exp(m + v^2/2), its SD and quantiles, with m and v the mean and SD of log s_k; of ``map``
exp(m), and exp(m) v for an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, OptionError
from workbench.estimates import Component, Estimates, GroupEffects, Parameters
from workbench.fit import Fit
from workbench.statsmodels_fits.running import announce, refuse_runaway, run
from workbench.words import join, significant

Array = NDArray[np.float64]

NAMES = {"binomial": "BinomialBayesMixedGLM", "poisson": "PoissonBayesMixedGLM"}
LINKS = {"binomial": "logit", "poisson": "log"}
OPTIMIZERS = {"bfgs": "BFGS", "lbfgs": "L-BFGS-B", "cg": "CG"}
FEW = 400
"""Up to so many unknowns of the search, BFGS (statsmodels' own choice), whose matrix is that number squared."""
MOST_BFGS = 6_000
MOST_MAP = 4_000
"""Refused where the curvature would be a larger matrix than this squared."""
MOST_ROWS = 200_000
"""Of counts written out as 0/1 rows."""
STEEP = 0.02
"""A slope that would move a mean by more than this many of its SDs is not the end of a search."""
COLLAPSED = 1e-3
"""An SD of effects on the scale of logits or logs that is none."""
MEAN_FIELD = (
    "Mean-field variational Bayes leaves out how parameters vary together: its SDs are too small, most of all those of "
    "population values that effects can stand in for."
)
KINDS = {
    "vb": ("VB posterior mean", "VB posterior SD"),
    "map": ("joint posterior mode", "curvature SD, log SDs and all coefficients together"),
}


@dataclass(frozen=True)
class Asked:
    """How to approximate the posterior, and under which priors.

    Attributes
    ----------
    method : "vb" or "map"
    vcp_p, fe_p : float
        SDs of the normal priors of log SDs, and of population coefficients.
    optimizer : str or None
        One of `OPTIMIZERS`; None is ``bfgs`` for small models and ``lbfgs`` for others.
    max_iterations : int or None
    """

    method: str = "vb"
    vcp_p: float = 1.0
    fe_p: float = 2.0
    optimizer: str | None = None
    max_iterations: int | None = None

    def scipy_name(self, name: str, unknown: int) -> str:
        """The optimiser for so many coefficients and log SDs; refused where its matrices would be too large."""
        size = (1 + (self.method == "vb")) * unknown
        if self.method == "map" and unknown > MOST_MAP:
            raise DesignError(
                f"The curvature at the mode is a dense matrix of {unknown:,} by {unknown:,} for statsmodels' {name}; "
                f'the limit here is {MOST_MAP:,}. Use options={{"method": "vb"}}, or laplace.'
            )
        if self.optimizer == "bfgs" and size > MOST_BFGS:
            raise DesignError(
                f"BFGS keeps a dense matrix of {size:,} by {size:,}; the limit here is {MOST_BFGS:,}. Use "
                'options={"optimizer": "lbfgs"}.'
            )
        return OPTIMIZERS[self.optimizer or ("bfgs" if size <= FEW else "lbfgs")]

    def search_options(self, optimizer: str) -> dict[str, Any]:
        """For scipy's ``minimize``; L-BFGS-B's own would end long before the optimum."""
        options: dict[str, Any] = {} if optimizer == "BFGS" else {"maxiter": 20_000}
        if optimizer == "L-BFGS-B":
            options |= {"maxfun": 40_000, "ftol": 1e-13, "gtol": 1e-6}
        return options if self.max_iterations is None else options | {"maxiter": self.max_iterations}


def fit_bayes_mixed_glm(design: Design, asked: Asked, level: float, seed: int, progress: bool) -> Fit:
    """Fit counts or shares by ``fit_vb`` or ``fit_map``.

    Parameters
    ----------
    design : Design
        Binomial with logit link, Poisson with log link; terms that are not correlated.
    asked : Asked
    level : float
        Probability of the intervals.
    seed : int
        Of the point that the search starts from.
    progress : bool
        Whether long work is announced.

    Raises
    ------
    OptionError
        Another link; weights, offsets.
    DesignError
        Correlated terms, or a size that statsmodels cannot take; it broke off, or ran away.
    """
    name = NAMES[design.family]
    _refuse(design, name)
    unknown = len(design.fixed_terms) + sum(1 + len(block.levels) for block in design.blocks)
    y, rows = _written_out(design, name)
    optimizer = asked.scipy_name(name, unknown)
    size = (1 + (asked.method == "vb")) * unknown
    announce(name, 3e-3 * size + 3e-7 * size**2.5 * (optimizer == "BFGS"), progress)

    def search() -> Any:
        model = _model(design, name, y, rows, asked)
        more = {"minim_opts": asked.search_options(optimizer), "rng": seed}
        if asked.method == "vb":
            return model.fit_vb(fit_method=optimizer, **more)
        return model.fit_map(method=optimizer, **more)

    result, said = run(name, search)
    converged, state = search_state(result, said)
    refuse_runaway(name, state.get("objective", 0.0), design)
    made = answer(design, Posterior.of(result), level)
    how = {"method": asked.method, "optimizer": optimizer, "rows": len(y), "seed": seed}
    return Fit(
        estimator="statsmodels",
        design=design,
        population=made.population,
        fixed_cov=made.fixed_cov,
        components=made.components,
        group_effects=made.group_effects,
        sigma=1.0,
        parameters=made.parameters,
        converged=converged,
        singular=no_spread(made.components),
        warnings=(*design.notes, *said, *_doubts(design, result, asked, converged)),
        priors=MappingProxyType({"b": f"Normal(0, {asked.fe_p:g})", "log sd": f"Normal(0, {asked.vcp_p:g})"}),
        diagnostics=MappingProxyType(
            {**how, "vcp_p": asked.vcp_p, "fe_p": asked.fe_p, **log_deviations(result), **state}
        ),
    )


def no_spread(components: tuple[Component, ...]) -> bool:
    """Whether the SD of some term is next to zero on the scale of the linear predictor."""
    return any(part.sd[0] < COLLAPSED for part in components)


# --- to statsmodels -------------------------------------------------------------------------------------


def _refuse(design: Design, name: str) -> None:
    if design.link != LINKS[design.family]:
        raise OptionError(
            f"statsmodels' {name} has the {LINKS[design.family]} link, not {design.link}. Use laplace or hierarchical."
        )
    if design.offset.any():
        raise OptionError(f"statsmodels' {name} takes no offset. Use laplace, fixed_prior or hierarchical.")
    for block in design.blocks:
        if len(block.terms) > 1:
            raise DesignError(
                f"statsmodels' {name} has no correlations, and ({' + '.join(block.terms)} | {block.group}) has some. "
                "Write || in place of |, or use laplace or hierarchical."
            )
    if not design.fixed_terms:
        raise DesignError(
            f"statsmodels' {name} needs a fixed effect, and {design.formula} has none. Add 1 + in front, or use "
            "laplace."
        )


def _written_out(design: Design, name: str) -> tuple[Array, NDArray[np.intp]]:
    """Responses, 0/1 of a binomial design, and the rows of the design that they belong to.

    ``cbind(successes, failures)``, and shares with their trials as weights, become as many rows of 1 and 0: the
    likelihood is the same but for a constant.
    """
    if (design.weights == 1).all() and (design.family == "poisson" or np.isin(design.y, (0, 1)).all()):
        return np.array(design.y), np.arange(design.n)
    trials, successes = design.weights, design.weights * design.y
    whole = all((np.abs(counts - np.round(counts)) < 1e-6).all() for counts in (trials, successes))
    weighted = design.formula.cbind is not None and not (design.prior_weights == 1).all()
    if design.family == "poisson" or weighted or not whole:
        raise OptionError(
            f"statsmodels' {name} takes no weights{' but whole numbers of trials' * (design.family == 'binomial')}. "
            "Use laplace, or leave them out."
        )
    total = int(trials.sum())
    if total > MOST_ROWS:
        raise DesignError(
            f"statsmodels' {name} takes 0/1 rows, and {design.response} would become {total:,} of them, more than "
            f"{MOST_ROWS:,}. Use laplace or hierarchical, which take counts as they are."
        )
    counts = np.column_stack([successes, trials - successes]).round().astype(np.intp).ravel()
    return np.repeat(np.tile([1.0, 0.0], design.n), counts), np.repeat(np.repeat(np.arange(design.n), 2), counts)


def _model(design: Design, name: str, y: Array, rows: NDArray[np.intp], asked: Asked) -> Any:
    from scipy.sparse import csr_matrix, hstack
    from statsmodels.genmod import bayes_mixed_glm

    n, parts, ident = len(y), [], []
    for k, block in enumerate(design.blocks):
        shape = n, len(block.levels)
        parts.append(csr_matrix((block.Z[rows, 0], (np.arange(n), block.codes[rows])), shape=shape))
        ident += [k] * len(block.levels)
    kind = getattr(bayes_mixed_glm, name)
    Z = csr_matrix(hstack(parts))
    return kind(y, np.array(design.X[rows]), Z, np.array(ident), vcp_p=asked.vcp_p, fe_p=asked.fe_p)


# --- from statsmodels -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Posterior:
    """An approximate posterior on statsmodels' own scales, the random terms in the order of a design's blocks.

    Attributes
    ----------
    b, b_sd : array, shape (p,)
    log_sd, log_sd_sd : array, shape (K,)
        One per random term.
    u, u_sd : array, shape (J,)
        The levels of all terms, one term after the other.
    covariance : array, shape (p + K + J, p + K + J), or None
        Of all of these; None where they are independent.
    """

    b: Array
    b_sd: Array
    log_sd: Array
    log_sd_sd: Array
    u: Array
    u_sd: Array
    covariance: Array | None

    @classmethod
    def of(
        cls,
        result: Any,
        fixed: NDArray[np.intp] | None = None,
        terms: NDArray[np.intp] | None = None,
        levels: NDArray[np.intp] | None = None,
    ) -> Posterior:
        """Of a ``BayesMixedGLMResults``; `fixed`, `terms` and `levels` say which entries come first, second, ..."""
        read = {
            name: np.asarray(getattr(result, name), dtype=float)
            for name in ("fe_mean", "fe_sd", "vcp_mean", "vcp_sd", "vc_mean", "vc_sd")
        }
        p, K, J = len(read["fe_mean"]), len(read["vcp_mean"]), len(read["vc_mean"])
        orders = [np.arange(m) if given is None else given for m, given in ((p, fixed), (K, terms), (J, levels))]
        covariance = np.asarray(result.cov_params(), dtype=float)  # of vb the variances alone
        every = np.concatenate([order + start for order, start in zip(orders, (0, p, p + K), strict=True)])
        b, b_sd, log_sd, log_sd_sd, u, u_sd = (v[orders[k // 2]] for k, v in enumerate(read.values()))
        return cls(
            b, b_sd, log_sd, log_sd_sd, u, u_sd, covariance[np.ix_(every, every)] if covariance.ndim == 2 else None
        )

    @property
    def method(self) -> str:
        """``vb`` or ``map``."""
        return "vb" if self.covariance is None else "map"


@dataclass(frozen=True, eq=False)
class Answer:
    """What stands in the tables: see :class:`~workbench.fit.Fit`."""

    population: Estimates
    fixed_cov: Array
    components: tuple[Component, ...]
    group_effects: tuple[GroupEffects, ...]
    parameters: Parameters


def answer(design: Design, found: Posterior, level: float) -> Answer:
    """The posterior with its labels, on the scale of the linear predictor."""
    p, K = len(found.b), len(design.blocks)
    point, kind = KINDS[found.method]
    joint = found.covariance
    with_value = kind if joint is not None else f"{kind}, effect and population value independent"
    sd = spreads(found.log_sd, found.log_sd_sd, level, found.method)
    parts, start = [], 0
    for block in design.blocks:
        here = slice(start, start + len(block.levels))
        start = here.stop
        value, error, fixed = found.u[here, None], found.u_sd[here, None], block.fixed[0]
        total, variance = value, error**2
        if fixed is not None:
            total, variance = value + found.b[fixed], variance + found.b_sd[fixed] ** 2
            if joint is not None:
                variance = variance + 2 * joint[fixed, p + K + here.start : p + K + here.stop, None]
        effect = Estimates.wald(value, error, level, point, kind)
        coefficient = Estimates.wald(total, np.sqrt(variance), level, point, with_value)
        parts.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    population = Estimates.wald(found.b, found.b_sd, level, point, kind)
    components = tuple(
        Component(block.group, block.terms, np.array([[value**2]]))
        for block, value in zip(design.blocks, sd.estimate.tolist(), strict=True)
    )
    fixed_cov = np.diag(found.b_sd**2) if joint is None else joint[:p, :p]
    return Answer(population, fixed_cov, components, tuple(parts), _parameters(design, population, sd))


def spreads(log_mean: Array, log_sd: Array, level: float, method: str) -> Estimates:
    """SDs of effects on the data's scale, from a normal distribution of their logs.

    Examples
    --------
    >>> found = spreads(np.array([0.0]), np.array([0.5]), 0.95, "vb")
    >>> [float(x[0].round(4)) for x in (found.estimate, found.median, found.std_error, found.conf_low)]
    [1.1331, 1.0, 0.6039, 0.3753]
    """
    reach = NormalDist().inv_cdf(0.5 + level / 2) * log_sd
    median, wide = np.exp(log_mean), method == "vb"
    estimate = median * np.exp(log_sd**2 / 2) if wide else median
    error = estimate * np.sqrt(np.expm1(log_sd**2)) if wide else median * log_sd
    low, high = np.exp(log_mean - reach), np.exp(log_mean + reach)
    interval = f"Wald {100 * level:.4g} %, on the log scale"
    return Estimates(estimate, error, low, high, *KINDS[method], interval, median=median)


def _parameters(design: Design, population: Estimates, sd: Estimates) -> Parameters:
    names = [*design.fixed_terms, *(f"sd({block.group}, {block.terms[0]})" for block in design.blocks)]
    columns = ("estimate", "std_error", "conf_low", "conf_high")
    estimate, error, low, high = (np.concatenate([getattr(population, k), getattr(sd, k)]) for k in columns)
    assert sd.median is not None
    median = np.concatenate([population.estimate, sd.median])
    interval = f"{population.interval}, of SDs on the log scale"
    point, kind = population.point, population.std_error_kind
    return Parameters(tuple(names), Estimates(estimate, error, low, high, point, kind, interval, median=median))


def log_deviations(result: Any) -> dict[str, tuple[float, ...]]:
    """statsmodels' own numbers of the variance parameters."""
    return {name: tuple(np.asarray(getattr(result, name), dtype=float).tolist()) for name in ("vcp_mean", "vcp_sd")}


def search_state(result: Any, said: tuple[str, ...]) -> tuple[bool, dict[str, Any]]:
    """Whether the search ended at an optimum: by its own word, statsmodels' and the slopes that are left."""
    end = result.optim_retvals
    if end is None:
        return not said, {}
    sd = np.concatenate([np.asarray(getattr(result, name)) for name in ("fe_sd", "vcp_sd", "vc_sd")])
    with np.errstate(invalid="ignore"):  # of a search that ran away: an infinite slope, an SD of zero
        slopes = np.abs(np.asarray(end["jac"], dtype=float)[: len(sd)]) * sd
    state = {"objective": float(end["fun"]), "iterations": int(end["nit"]), "slope": float(slopes.max())}
    return bool(slopes.max() < STEEP) and not any("converge" in text for text in said), state


def _doubts(design: Design, result: Any, asked: Asked, converged: bool) -> list[str]:
    found = []
    log_sd = np.asarray(result.vcp_mean, dtype=float)
    none = [block for block, value in zip(design.blocks, log_sd, strict=True) if np.exp(value) < COLLAPSED]
    if none and asked.method == "map":
        found.append(
            f"The joint mode of effects and log SDs lies where {join(block.group for block in none)} has no spread "
            f"(statsmodels' prior stops it at {significant(float(np.exp(log_sd.min())))}): the density of all "
            'effects together is without bound there. It says nothing of the spread. Use options={"method": "vb"}, '
            "laplace or exact."
        )
    elif not converged:
        found.append(
            "statsmodels' search did not end at an optimum: another optimizer, or more max_iterations, may get there. "
            "Do not trust these numbers."
        )
    if asked.method == "vb":
        found.append(MEAN_FIELD)
    b, error = np.asarray(result.fe_mean), np.asarray(result.fe_sd)
    far = np.flatnonzero((np.abs(b) > asked.fe_p) | (error > asked.fe_p / 2)).tolist()
    if far:
        found.append(
            f"statsmodels' prior Normal(0, {asked.fe_p:g}) is felt by {join(design.fixed_terms[k] for k in far)}, in "
            "the unit of the column. Change the unit, or set fe_p wider."
        )
    return found

"""`reml_textbook`: REML and ML maximised as a textbook writes them (:mod:`workbench.textbook`).

A general optimiser (L-BFGS-B, slopes by differences) minimises the profiled criterion over
theta = (sd_1/sigma, sd_2/sigma, rho, ...). At the bounds, sd = 0 and rho = -1 or 1, a search can park on its way to a
better optimum. So this one knows none: the criterion is even in every sd, whose sign can be dropped afterwards, and rho
is the sine of an angle. Several starts, because there can be several optima. What is left follows from V (Harville
1977, doi:10.2307/2286796).

The numbers are `reml`'s and `ml`'s, which come from cross-products alone, the long way. The two share no code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, OptionError, nearest
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.textbook import (
    Dense,
    Given,
    dense,
    least_squares,
    marginal,
    profiled_ml,
    profiled_reml,
    relative_covariance,
    term_covariances,
)

Array = NDArray[np.float64]

LARGEST = 1e4
"""Spreads are sought up to so many times sigma (for columns of mean square 1): beyond, V is all but singular."""
ZERO = 1e-4
"""A covariance with a smaller sd/sigma than this in some direction (for columns of mean square 1) is singular."""
FLAT = 1e-3
"""The largest slope of the criterion, per unit of theta, that still counts as none."""
GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Options:
    """Options of `reml_textbook`.

    Attributes
    ----------
    criterion : "REML" or "ML"
        Which of the two profiled likelihoods is maximised.
    """

    criterion: str = "REML"

    def __post_init__(self) -> None:
        if self.criterion not in ("REML", "ML"):
            raise OptionError(
                f"criterion is {self.criterion!r}, but must be 'REML' or 'ML'. "
                f"{nearest(str(self.criterion), ('REML', 'ML'))}"
            )


# --- the search ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Minimum:
    """`theta`, the criterion there, its largest slope along directions that are free, and evaluations used."""

    theta: Array
    value: float
    slope: float
    evaluations: int


def _units(model: Dense) -> tuple[Array, NDArray[np.bool_]]:
    """What one step of each entry of theta is, and which entries are standard deviations.

    The sd of a column is counted in 1/(its root mean square), so that the search does not depend on its scale.
    """
    units: list[float] = []
    is_sd: list[bool] = []
    start = 0
    for J, q in model.shapes:
        own = model.Z[:, start : start + J * q].reshape(-1, J, q)
        size = np.sqrt((own**2).sum(axis=(0, 1)) / len(own))
        pairs = q * (q - 1) // 2
        units += [*(1 / np.where(size > 0, size, 1.0)), *[1.0] * pairs]
        is_sd += [True] * q + [False] * pairs
        start += J * q
    return np.array(units), np.array(is_sd)


def _search(model: Dense, objective: Callable[[Dense, Array], float]) -> _Minimum:
    """Minimise from several starts by L-BFGS-B, coarsely, then the best of them closely."""
    from scipy.optimize import minimize

    units, is_sd = _units(model)
    bounds = [(-LARGEST, LARGEST) if sd else (None, None) for sd in is_sd]
    evaluations = 0

    def to_theta(point: Array) -> Array:
        return np.where(is_sd, point * units, np.sin(point))

    def value(point: Array) -> float:
        nonlocal evaluations
        evaluations += 1
        return objective(model, to_theta(point))

    def descend(start: Array, slopes: str, tolerance: float) -> Any:
        stop = {"ftol": tolerance**2, "gtol": tolerance}
        return minimize(value, start, method="L-BFGS-B", jac=slopes, bounds=bounds, options=stop)

    coarse = [descend(start, "2-point", 1e-4) for start in _starts(value, is_sd)]
    best = descend(min(coarse, key=lambda end: end.fun).x, "3-point", 1e-8)
    slope = float(np.abs(best.jac * np.maximum(1.0, np.abs(best.x))).max())
    point = _exact_zeros(best.x, is_sd, value)
    return _Minimum(_without_signs(model, to_theta(point)), value(point), slope, evaluations)


def _without_signs(model: Dense, theta: Array) -> Array:
    """The same covariances with no sd below zero: a sign moves on to the term's partial correlations."""
    theta = theta.copy()
    start = 0
    for _, q in model.shapes:
        signs = np.where(theta[start : start + q] < 0, -1.0, 1.0)
        rows, columns = np.tril_indices(q, -1)
        theta[start : start + q] *= signs
        theta[start + q : start + q + len(rows)] *= signs[rows] * signs[columns]
        start += q + len(rows)
    return theta


def _starts(value: Callable[[Array], float], is_sd: NDArray[np.bool_]) -> list[Array]:
    """Small spreads; the best of a coarse grid, one sd after another; and both with correlations."""
    rough = np.where(is_sd, 1.0, 0.0)
    for k in np.flatnonzero(is_sd):
        rough = min([np.where(np.arange(len(rough)) == k, sd, rough) for sd in GRID], key=value)
    small = np.where(is_sd, 0.2, 0.0)
    free = np.flatnonzero(~is_sd)
    starts = [small, rough]
    for base in (small, np.maximum(rough, 0.5)):
        for signs in product((-1.0, 1.0), repeat=len(free)) if 0 < len(free) <= 3 else ():
            tilted = base.copy()
            tilted[free] = signs
            starts.append(tilted)
    return starts


def _exact_zeros(point: Array, is_sd: NDArray[np.bool_], value: Callable[[Array], float]) -> Array:
    """Set spreads that the search left next to zero to zero, where that costs nothing."""
    for k in np.flatnonzero(is_sd & (np.abs(point) < 0.01)):
        trial = np.where(np.arange(len(point)) == k, 0.0, point)
        if value(trial) <= value(point) + 1e-9:
            point = trial
    return point


# --- the answer ---------------------------------------------------------------------------------------


def reml_textbook(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by restricted (or full) maximum likelihood with explicit n x n matrices.

    The numbers are `reml`'s, or `ml`'s with ``criterion="ML"``. Predictors far from zero compared with their spread
    (years, say) cost digits here: centre them first.

    Parameters
    ----------
    design : Design
        Gaussian, up to ``textbook.MOST_ROWS`` rows, any number of grouping factors and varying terms.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream
        Not used.

    Raises
    ------
    DesignError
        Too many rows, or a response that the model explains exactly.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit = reml_textbook(build_design("y ~ 1 + (1 | g)", table))
    >>> tau2, sigma2 = fit.components[0].covariance[0, 0], fit.sigma**2
    >>> round(float(tau2), 5), round(sigma2, 5)   # (mean square between - within) / 2, and mean square within
    (6.08333, 0.5)
    """
    model = dense(design)
    _refuse_without_residual(design, model)
    restricted = options.criterion == "REML"
    best = _search(model, profiled_reml if restricted else profiled_ml)
    return _assemble(design, model, best, restricted, settings.level)


def _refuse_without_residual(design: Design, model: Dense) -> None:
    """A response that X and Z explain exactly leaves no residual variance, and the likelihood has no maximum."""
    if model.known_se:
        return
    root = model.noise**-0.5
    y = (model.y - model.y.mean()) * root
    columns = np.hstack([np.ones((len(y), 1)), model.X, model.Z]) * root[:, None]
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    left = y - columns @ np.linalg.lstsq(columns, y, rcond=1e-12)[0]
    if not left @ left > 1e-11 * (y @ y):
        raise DesignError(
            f"The fixed and varying terms explain {design.response} exactly, so there is no residual variance to "
            "estimate. Let fewer terms vary."
        )


def _assemble(design: Design, model: Dense, best: _Minimum, restricted: bool, level: float) -> Fit:
    n, p = model.X.shape
    given = least_squares(model, marginal(model, best.theta))
    sigma2 = 1.0 if model.known_se else given.r2 / (n - p if restricted else n)
    D = relative_covariance(model, best.theta)
    u = D @ model.Z.T @ given.V_inverse @ (model.y - model.X @ given.b)
    singular = _is_singular(model, best.theta)
    kind = "REML estimate" if restricted else "ML estimate"
    b_cov = sigma2 * given.C
    return Fit(
        estimator="reml_textbook",
        design=design,
        population=Estimates.wald(given.b, np.sqrt(np.diag(b_cov)), level, kind, "sampling SE, variances as estimated"),
        fixed_cov=b_cov,
        components=tuple(
            Component(block.group, block.terms, sigma2 * covariance)
            for block, covariance in zip(design.blocks, term_covariances(model, best.theta), strict=True)
        ),
        group_effects=_group_effects(design, model, given, D, u, sigma2, level),
        sigma=float(np.sqrt(sigma2)),
        own_fitted=model.X @ given.b + model.Z @ u + design.offset,
        criterion=Criterion(best.value, "REML" if restricted else "deviance"),
        log_likelihood=-best.value / 2,
        df=p + len(best.theta) + (not model.known_se),
        converged=best.slope <= FLAT,
        singular=singular,
        warnings=(*design.notes, *_complaints(best, singular)),
        diagnostics=MappingProxyType(
            {"theta": tuple(best.theta.tolist()), "gradient": best.slope, "evaluations": best.evaluations}
        ),
    )


def _group_effects(
    design: Design, model: Dense, given: Given, D: Array, u: Array, sigma2: float, level: float
) -> tuple[GroupEffects, ...]:
    """BLUPs with two standard errors (Harville 1977), by random term.

    With b known, Var(u | y) = sigma^2 (D - D Z'V^-1 Z D), whose diagonal gives the *conditional SD*. For the
    coefficient A b + u, where A picks the population value of each effect's term, b's error e_b enters twice: as A e_b,
    and because the prediction answers to it by -G e_b, G = D Z'V^-1 X. So its error has variance

        sigma^2 [D - D Z'V^-1 Z D + (A - G) C (A - G)'],

    whose diagonal gives the *coefficient SE*.
    """
    ZD = model.Z @ D
    conditional = np.diag(D - ZD.T @ given.V_inverse @ ZD)
    A = np.vstack([np.tile(_picks(block.fixed, model.X.shape[1]), (len(block.levels), 1)) for block in design.blocks])
    answer = A - ZD.T @ given.V_inverse @ model.X
    from_b = np.einsum("kp,pr,kr->k", answer, given.C, answer)
    effect_sd = np.sqrt(sigma2 * np.maximum(conditional, 0.0))
    coefficient_se = np.sqrt(sigma2 * np.maximum(conditional + from_b, 0.0))
    coefficient = A @ given.b + u
    parts: list[GroupEffects] = []
    start = 0
    for block, (J, q) in zip(design.blocks, model.shapes, strict=True):
        here = slice(start, start + J * q)
        start = here.stop
        columns = [values[here].reshape(J, q) for values in (u, effect_sd, coefficient, coefficient_se)]
        kinds = ("BLUP", "conditional SD", "BLUP", "coefficient SE")
        parts += wald_effects((block,), (columns[0], columns[1]), (columns[2], columns[3]), level, kinds)
    return tuple(parts)


def _picks(fixed: tuple[int | None, ...], p: int) -> Array:
    """One row per varying column, shape (q, p): a one where its population value stands in b."""
    rows = np.zeros((len(fixed), p))
    for row, column in enumerate(fixed):
        if column is not None:
            rows[row, column] = 1.0
    return rows


def _is_singular(model: Dense, theta: Array) -> bool:
    """Whether some term's covariance has a direction without spread (for columns of mean square 1)."""
    sizes = term_covariances(model, 1 / _units(model)[0])
    return any(
        np.linalg.eigvalsh(covariance * np.sqrt(np.outer(np.diag(size), np.diag(size))))[0] < ZERO**2
        for covariance, size in zip(term_covariances(model, theta), sizes, strict=True)
    )


def _complaints(best: _Minimum, singular: bool) -> list[str]:
    """What keeps the numbers from being trusted, in words."""
    found = []
    if singular:
        found.append(
            "Singular: a standard deviation of zero, or a correlation of -1 or 1: the covariance of the group effects "
            "is on its boundary. The edge of what is possible is not evidence of no spread."
        )
    if best.slope > FLAT:
        found.append(
            f"The search did not end at a minimum: the criterion still falls by {best.slope:.2g} per unit of theta. "
            "Do not trust these numbers; use reml."
        )
    return found

"""What follows once theta is found: :class:`workbench.fit.Fit` of an optimum.

After Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01), with their equation numbers, from the
conditional distributions given theta (:mod:`workbench.likelihood`):

    sigma^2       = r^2 / (n - p)    or r^2 / n                               (eq. 41, 34)
    Var(b)        = sigma^2 (R_X'R_X)^-1                                      (eq. 55)
    u_j           conditional modes; sigma^2 P_j their conditional covariance (eq. 58, 59)

Two standard errors of group estimates are kept apart. The *conditional SD* takes b as known (lme4's
``condVar``). The *coefficient SE* adds the uncertainty of b and its covariance with the effect
(Henderson 1975, doi:10.2307/2529430): the error of A b + u_j has variance
sigma^2 (P_j + (A - pull_j) (R_X'R_X)^-1 (A - pull_j)'), where A picks the population values.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import Searched
from workbench.design import Design
from workbench.doubts import doubts, singular_factors
from workbench.errors import DesignError
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, wald_effects
from workbench.fit import Fit
from workbench.likelihood import Conditional, conditional_covariances, criterion, degrees_of_freedom
from workbench.moments import Moments
from workbench.optimum import Optimum

Array = NDArray[np.float64]
NONE = 1e-12
"""A spread below this share of the parts that cancel in it is none."""

NO_RESIDUAL = (1e-11, 1e-9)
"""A residual sum of squares smaller than this share of the total is rounding: of one factor, of several."""


def refuse_without_residual(design: Design, searched: Searched) -> None:
    """A response that the model explains exactly leaves no residual variance, and the likelihood has no maximum."""
    data = searched.moments
    if data.known_se:
        return
    left = searched.residual
    if not left > NO_RESIDUAL[len(data.factors) > 1] * data.yty:
        raise DesignError(
            f"The fixed and varying terms explain {design.response} exactly, as far as floating-point numbers can tell "
            f"(residual sum of squares {max(left, 0.0):.2g} of {data.yty:.2g}): there is no residual variance to "
            "estimate. Let fewer terms vary, or look for a copy of the response among the columns."
        )


def answer(design: Design, data: Moments, at: Optimum, restricted: bool, level: float) -> Fit:
    """The Fit of an optimum of the REML criterion (`restricted`) or the deviance, under the names `reml` and `ml`.

    Parameters
    ----------
    design : Design
    data : Moments
        Of the design.
    at : Optimum
        Of these moments.
    restricted : bool
    level : float
        Probability of the intervals.
    """
    given = at.given
    sigma2 = 1.0 if data.known_se else given.r2 / degrees_of_freedom(data, restricted)
    to_data = data.shift.to_data
    b = to_data @ given.b + data.shift.origin
    b_cov = sigma2 * to_data @ given.b_cov @ to_data.T
    value = criterion(data, given, restricted)
    components = _components(design, data, at, sigma2)
    effects = predictions(design, data, at.factors, given, sigma2, level)
    singular = singular_factors(data, at)
    kind = "REML estimate" if restricted else "ML estimate"
    return Fit(
        estimator="reml" if restricted else "ml",
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(b_cov)), level, kind, "sampling SE, variances as estimated"),
        fixed_cov=b_cov,
        components=components,
        group_effects=effects,
        sigma=float(np.sqrt(sigma2)),
        criterion=Criterion(value, "REML" if restricted else "deviance"),
        log_likelihood=-value / 2,
        df=data.p + sum(q * (q + 1) // 2 for q in (len(block.terms) for block in design.blocks)) + (not data.known_se),
        converged=at.minimum.certified,
        singular=bool(singular),
        warnings=(*design.notes, *doubts(design, data, at, restricted, components)),
        diagnostics=MappingProxyType(_certificate(at, singular)),
    )


def _components(design: Design, data: Moments, at: Optimum, sigma2: float) -> tuple[Component, ...]:
    """Covariances of the data's own varying columns, in the order of the design's blocks."""
    parts: list[Component | None] = [None] * len(design.blocks)
    for f, factor in zip(data.factors, at.factors, strict=True):
        root = f.to_data @ factor
        covariance = sigma2 * root @ root.T
        for where, place in zip(f.blocks, f.places, strict=True):
            parts[place] = Component(f.group, design.blocks[place].terms, covariance[where, where])
    return tuple(part for part in parts if part is not None)


def predictions(
    design: Design, data: Moments, factors: tuple[Array, ...], given: Conditional, sigma2: float, level: float
) -> tuple[GroupEffects, ...]:
    """Conditional modes with the conditional SD, and coefficients with Henderson's SE, by block of the design.

    `given` is what follows at the relative covariance factors `factors`.
    """
    p = data.p
    b = data.shift.to_data @ given.b + data.shift.origin
    root = np.linalg.cholesky(given.b_cov)
    parts: list[GroupEffects | None] = [None] * len(design.blocks)
    covariances = conditional_covariances(data, factors, given)
    for f, factor, modes, P in zip(data.factors, factors, given.modes, covariances, strict=True):
        J, q = f.Zty.shape
        by_column = np.moveaxis(P, 0, -1).reshape(q * q, J)
        u, variance, from_b, value = np.empty((q, J)), np.empty((q, J)), np.empty((q, J)), np.zeros(q)
        for k, column in enumerate(f.fixed):  # one varying column of the data at a time
            own = f.to_data[k]
            mode = np.tensordot(own, modes, 1)
            u[k] = mode[p] - given.b @ mode[:p]
            variance[k] = np.outer(own, own).ravel() @ by_column
            if np.linalg.norm(own @ factor) <= NONE * np.linalg.norm(np.abs(own) @ np.abs(factor)):
                u[k] = variance[k] = 0.0  # no spread: what is left is rounding, of either sign
            answer = -mode[:p]
            if column is not None:
                value[k] = b[column]
                answer += data.shift.to_data[column][:, None]
            from_b[k] = ((root.T @ answer) ** 2).sum(axis=0)
        effect = (u.T, np.sqrt(sigma2 * variance).T)
        coefficient = (u.T + value, np.sqrt(sigma2 * (variance + from_b)).T)
        blocks = tuple(design.blocks[place] for place in f.places)
        kinds = ("BLUP", "conditional SD", "BLUP", "coefficient SE")
        for place, part in zip(f.places, wald_effects(blocks, effect, coefficient, level, kinds), strict=True):
            parts[place] = part
    return tuple(part for part in parts if part is not None)


def _certificate(at: Optimum, boundary: list[str]) -> dict[str, Any]:
    """What certifies the end point, in the search's coordinates (theta of orthonormal columns, each in its own unit).

    The *projected* gradient leaves out the entries that stand at their bound of zero and would only leave it uphill.
    """
    gradient = at.minimum.gradient
    held = at.theta.on_diagonal & (at.theta.values == 0) & (gradient >= 0)
    return {
        "gradient": float(np.abs(gradient).max(initial=0.0)),
        "projected_gradient": float(np.linalg.norm(np.where(held, 0.0, gradient))),
        "curvature": float(at.minimum.curvature.min(initial=np.inf)),
        "boundary": tuple(boundary),
        "evaluations": at.minimum.evaluations,
    }

"""`reml` and `ml`: the likelihood maximised.

After Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01): b is integrated out (REML, eq. 42) or
profiled (ML, eq. 35), sigma is profiled, and the criterion is minimised over theta, the free entries of the relative
covariance factor Lambda. What is left follows from the conditional distributions given theta (see
:mod:`workbench.likelihood`):

    sigma^2       = r^2 / (n - p)    or r^2 / n                               (eq. 41, 34)
    Var(b)        = sigma^2 (R_X'R_X)^-1                                      (eq. 55)
    u_j           conditional modes; sigma^2 P_j their conditional covariance (eq. 58, 59)

Before the search, the varying columns of each block are made orthonormal over the whole table, so that
the search does not depend on their scale or origin, and a start of Lambda = I means the same for every data set.

Two standard errors of group estimates are kept apart. The *conditional SD* takes b as known (lme4's
``condVar``). The *coefficient SE* adds the uncertainty of b and its covariance with the effect
(Henderson 1975, doi:10.2307/2529430): the error of A b + u_j has variance
sigma^2 (P_j + (A - pull_j) (R_X'R_X)^-1 (A - pull_j)'), where A picks the population values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.likelihood import (
    Conditional,
    conditional,
    conditional_covariances,
    criterion,
    criterion_gradient,
    degrees_of_freedom,
    in_data_units,
)
from workbench.minimise import Minimum, Objective, minimise
from workbench.moments import Moments, moments
from workbench.theta import Theta

Array = NDArray[np.float64]

SINGULAR = 1e-4
"""A diagonal entry of theta (in orthonormal columns) below this is called singular, as lme4 does."""
NO_RESIDUAL = 1e-11
"""A residual sum of squares smaller than this share of the total is rounding."""
SCALAR_STARTS = tuple(np.geomspace(0.02, 2e5, 15))


def reml(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by restricted maximum likelihood: variance components unbiased by the fixed effects.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    settings : Settings
        Its `level` is the probability of the intervals.
    options, upstream
        Not used.

    Returns
    -------
    Fit
        `converged` is false where the end point is not certified as a minimum.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit = reml(build_design("y ~ 1 + (1 | g)", table))
    >>> tau2, sigma2 = fit.components[0].covariance[0, 0], fit.sigma**2
    >>> round(float(tau2), 6), round(sigma2, 6)   # (mean square between - within) / 2, and mean square within
    (6.083333, 0.5)
    """
    return _maximise(design, settings.level, restricted=True)


def ml(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by maximum likelihood; variances are smaller than REML's. See :func:`reml`."""
    return _maximise(design, settings.level, restricted=False)


def _maximise(design: Design, level: float, restricted: bool) -> Fit:
    data = moments(design)
    _refuse_without_residual(design, data)
    theta, best, unwhiten = _search(data, restricted)
    factors = _products(unwhiten, theta.factors)
    return _assemble(design, data, _Optimum(theta, best, factors, conditional(data, factors)), restricted, level)


def _refuse_without_residual(design: Design, data: Moments) -> None:
    """A response that the model explains exactly leaves no residual variance, and the likelihood has no maximum."""
    if data.known_se:
        return
    huge = tuple(1e6 * R for R in _orthonormal(data))
    left = conditional(data, huge).r2
    if not left > NO_RESIDUAL * data.yty:
        raise DesignError(
            f"The fixed and varying terms explain {design.response} exactly (residual sum of squares "
            f"{max(left, 0.0):.2g} of {data.yty:.2g}), so there is no residual variance to estimate. Let fewer "
            "terms vary."
        )


# --- theta --------------------------------------------------------------------------------------------


def _search(data: Moments, restricted: bool) -> tuple[Theta, Minimum, tuple[Array, ...]]:
    """The best certified minimum over several starts, in its canonical form, for orthonormal columns."""
    unwhiten = _orthonormal(data)
    shape = Theta.of(data, unwhiten)

    def objective(values: Array) -> tuple[float, Array]:
        factors = _products(unwhiten, shape.at(values).factors)
        given = conditional(data, factors)
        gradients = criterion_gradient(data, factors, given, restricted)
        back = tuple(R.T @ G for R, G in zip(unwhiten, gradients, strict=True))
        return criterion(data, given, restricted), shape.gather(back)

    found = [minimise(objective, start) for start in _starts(data, shape, unwhiten, objective, restricted)]
    best = min(found, key=lambda m: (m.value - 1e-9 * m.certified, not m.certified))
    diagonal = shape.on_diagonal
    if len(shape.values) > 1 and np.abs(shape.at(best.x).canonical().values[diagonal]).min() < SINGULAR:
        again = minimise(objective, best.x + np.where(diagonal, 0.5, 0.0))
        best = min((best, again), key=lambda m: m.value)
    exact = _exact_zeros(shape.at(best.x).canonical(), best.value, objective)
    evaluations = sum(m.evaluations for m in found)
    return exact, replace(best, value=objective(exact.values)[0], evaluations=evaluations), unwhiten


def _products(left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(a @ b for a, b in zip(left, right, strict=True))


def _starts(
    data: Moments, shape: Theta, unwhiten: tuple[Array, ...], objective: Objective, restricted: bool
) -> list[Array]:
    """Starting points.

    Of one scalar: the valleys of a coarse grid. Of several factors: each one's own optimum. Of one factor with more
    entries: a small Lambda, and what the groups' own deviations suggest.
    """
    if len(shape.values) == 1:
        values = [objective(np.array([s]))[0] for s in SCALAR_STARTS]
        return [
            np.array([start])
            for k, start in enumerate(SCALAR_STARTS)
            if (k == 0 or values[k] <= values[k - 1]) and (k == len(values) - 1 or values[k] < values[k + 1])
        ]
    diagonal = shape.on_diagonal
    if len(data.factors) > 1:
        return [np.where(diagonal, np.maximum(_each_alone(data, restricted), 0.1), 0.0)]
    return [np.where(diagonal, 0.2, 0.0), _from_group_means(data, shape, unwhiten)]


def _each_alone(data: Moments, restricted: bool) -> Array:
    """theta of every factor as if it were the only one: cheap, and near enough to start from."""
    alone = [_search(replace(data, factors=(f,), rest=None), restricted)[0].values for f in data.factors]
    return np.concatenate(alone)


def _from_group_means(data: Moments, shape: Theta, unwhiten: tuple[Array, ...]) -> Array:
    """Method of moments for one factor: the covariance of the groups' own deviations, less what noise adds to it."""
    f = data.factors[0]
    R = unwhiten[0]
    huge = conditional(data, (1e4 * R,))
    sigma2 = max(huge.r2, 1e-300) / max(data.n - data.p, 1)
    inverse = np.linalg.inv(R)
    own = huge.u[0] @ inverse.T
    noise = inverse @ huge.P_first.mean(axis=0) @ inverse.T
    relative = np.zeros_like(R)
    for block in f.blocks:
        found = np.cov(own[:, block], rowvar=False).reshape(block.stop - block.start, -1) / sigma2 - noise[block, block]
        values, vectors = np.linalg.eigh(found)
        relative[block, block] = (vectors * np.clip(values, 1e-2, 1e12)) @ vectors.T
    return shape.gather((np.linalg.cholesky(relative),))


def _exact_zeros(theta: Theta, value: float, objective: Objective) -> Theta:
    """Set entries that the search left next to zero to zero, where that costs nothing."""
    entries = theta.entries
    for k in np.flatnonzero(theta.on_diagonal & (np.abs(theta.values) < SINGULAR)):
        same_column = np.array([(f, b) == (entries[k][0], entries[k][2]) for f, _, b in entries])
        trial = np.where(same_column & (np.abs(theta.values) < SINGULAR), 0.0, theta.values)
        if objective(trial)[0] <= value + 1e-9:
            theta = theta.at(trial)
    return theta


def _orthonormal(data: Moments) -> tuple[Array, ...]:
    """R^-1 of every factor, such that the columns Z R^-1 of each block are orthonormal over the table.

    Z u = (Z R^-1)(R u), where R'R is the block's mean cross-product per row.
    """
    maps = []
    for f in data.factors:
        total = f.ZtZ.sum(axis=0) / f.sizes.sum()
        back = np.zeros_like(total)
        for block in f.blocks:
            own = total[block, block]
            scale = np.sqrt(np.diag(own))
            scale[scale == 0] = 1.0
            if np.linalg.eigvalsh(own / np.outer(scale, scale))[0] > 1e-12:
                back[block, block] = np.linalg.inv(np.linalg.cholesky(own).T)
            else:  # collinear varying columns: only put them on one scale
                back[block, block] = np.diag(1 / scale)
        maps.append(back)
    return tuple(maps)


# --- the answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Optimum:
    theta: Theta
    minimum: Minimum
    factors: tuple[Array, ...]
    given: Conditional


def _assemble(design: Design, data: Moments, at: _Optimum, restricted: bool, level: float) -> Fit:
    given = at.given
    sigma2 = 1.0 if data.known_se else given.r2 / degrees_of_freedom(data, restricted)
    to_data = data.shift.to_data
    b = to_data @ given.b + data.shift.origin
    b_cov = sigma2 * to_data @ given.b_cov @ to_data.T
    value = criterion(data, given, restricted)
    components = _components(design, data, at, sigma2)
    effects = _group_effects(design, data, at, sigma2, level)
    fitted = design.X @ b + design.offset
    for block, part in zip(design.blocks, effects, strict=True):
        fitted = fitted + np.einsum("nq,nq->n", block.Z, part.effect.estimate[block.codes])
    singular = _singular_factors(data, at)
    kind = "REML estimate" if restricted else "ML estimate"
    return Fit(
        estimator="reml" if restricted else "ml",
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(b_cov)), level, kind, "sampling SE, variances as estimated"),
        fixed_cov=b_cov,
        components=components,
        group_effects=effects,
        sigma=float(np.sqrt(sigma2)),
        fitted=fitted,
        criterion=Criterion(value, "REML" if restricted else "deviance"),
        log_likelihood=-value / 2,
        df=data.p + len(at.theta.values) + (not data.known_se),
        converged=at.minimum.certified,
        singular=bool(singular),
        warnings=(*design.notes, *_complaints(at.minimum, singular, components)),
        diagnostics=MappingProxyType(
            {
                "gradient": float(np.abs(at.minimum.gradient).max()),
                "curvature": float(at.minimum.curvature[0]),
                "evaluations": at.minimum.evaluations,
            }
        ),
    )


def _components(design: Design, data: Moments, at: _Optimum, sigma2: float) -> tuple[Component, ...]:
    """Covariances of the data's own varying columns, in the order of the design's blocks."""
    parts: list[Component | None] = [None] * len(design.blocks)
    for f, factor in zip(data.factors, at.factors, strict=True):
        root = f.to_data @ factor
        covariance = sigma2 * root @ root.T
        for where, place in zip(f.blocks, f.places, strict=True):
            parts[place] = Component(f.group, design.blocks[place].terms, covariance[where, where])
    return tuple(part for part in parts if part is not None)


def _group_effects(
    design: Design, data: Moments, at: _Optimum, sigma2: float, level: float
) -> tuple[GroupEffects, ...]:
    """Conditional modes with the conditional SD, and coefficients with Henderson's SE, by block of the design."""
    given = in_data_units(data, at.given)
    b = data.shift.to_data @ given.b + data.shift.origin
    covariances = conditional_covariances(data, at.factors, given)
    parts: list[GroupEffects | None] = [None] * len(design.blocks)
    for f, u, pull, P in zip(data.factors, given.u, given.pull, covariances, strict=True):
        pick = np.zeros((len(f.fixed), data.p))
        for row, column in enumerate(f.fixed):
            if column is not None:
                pick[row, column] = 1.0
        conditional_variance = np.diagonal(f.to_data @ P @ f.to_data.T, axis1=1, axis2=2)
        answer = pick @ data.shift.to_data - pull
        from_b = np.einsum("jqp,pr,jqr->jq", answer, given.b_cov, answer)
        effect = (u, np.sqrt(sigma2 * conditional_variance))
        coefficient = (u + pick @ b, np.sqrt(sigma2 * (conditional_variance + from_b)))
        blocks = tuple(design.blocks[place] for place in f.places)
        kinds = ("BLUP", "conditional SD", "BLUP", "coefficient SE")
        for place, part in zip(f.places, wald_effects(blocks, effect, coefficient, level, kinds), strict=True):
            parts[place] = part
    return tuple(part for part in parts if part is not None)


def _singular_factors(data: Moments, at: _Optimum) -> list[str]:
    """The grouping factors whose covariance lies on its boundary."""
    low = at.theta.on_diagonal & (at.theta.values < SINGULAR)
    return list(dict.fromkeys(data.factors[at.theta.entries[k][0]].group for k in np.flatnonzero(low)))


def _complaints(minimum: Minimum, singular: list[str], components: tuple[Component, ...]) -> list[str]:
    """What keeps the numbers from being trusted, in words."""
    found = [_why_singular(group, [c for c in components if c.group == group]) for group in singular]
    if not minimum.certified:
        found.append(
            "The search did not end at a certified minimum: largest gradient "
            f"{np.abs(minimum.gradient).max():.2g}, smallest curvature {minimum.curvature[0]:.2g}. "
            "Do not trust these numbers."
        )
    return found


def _why_singular(group: str, components: list[Component]) -> str:
    """Say in words which spread or correlation lies on the boundary."""
    if not any(component.sd.any() for component in components):
        return (
            f"Singular: the spread between the levels of {group} is estimated as zero: their means differ no more "
            "than the residual spread alone explains. Zero is the edge of what is possible, not evidence of no spread."
        )
    return (
        f"Singular: the covariance of {group} is on its boundary (a standard deviation of zero, or a correlation of "
        "-1 or 1): the data do not carry as many spreads as the formula asks for. Consider fewer varying terms, "
        "or a prior."
    )

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
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.likelihood import (
    Conditional,
    conditional,
    criterion,
    criterion_gradient,
    degrees_of_freedom,
    in_data_units,
)
from workbench.minimise import Minimum, Objective, minimise
from workbench.moments import FactorMoments, Moments, moments

Array = NDArray[np.float64]

SINGULAR = 1e-4
"""A diagonal entry of theta (in orthonormal columns) below this is called singular, as lme4 does."""
SCALAR_STARTS = tuple(np.geomspace(0.02, 50.0, 12))
BLOCK_STARTS = (1.0, 0.2)


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
        Gaussian, one grouping factor.
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
    white, unwhiten = _orthonormal(data)
    theta, best = _search(white, restricted)
    to_data = data.factor.to_data
    given = in_data_units(conditional(data, unwhiten @ theta.factor), to_data)
    return _assemble(design, data, _Optimum(theta, best, to_data @ unwhiten @ theta.factor, given), restricted, level)


# --- theta --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Theta:
    """The free entries of Lambda: the lower triangle of every block."""

    blocks: tuple[slice, ...]
    values: Array

    @property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the entries, column by column as lme4 orders them."""
        pairs = [
            (block.start + a, block.start + b)
            for block in self.blocks
            for b in range(block.stop - block.start)
            for a in range(b, block.stop - block.start)
        ]
        rows, columns = zip(*pairs, strict=True)
        return np.array(rows), np.array(columns)

    @property
    def factor(self) -> Array:
        """Lambda, shape (q, q)."""
        q = self.blocks[-1].stop
        matrix = np.zeros((q, q))
        matrix[self.places] = self.values
        return matrix

    @property
    def on_diagonal(self) -> NDArray[np.bool_]:
        rows, columns = self.places
        return np.asarray(rows == columns)


def _identity(blocks: tuple[slice, ...], scale: float) -> _Theta:
    size = sum((b.stop - b.start) * (b.stop - b.start + 1) // 2 for b in blocks)
    start = _Theta(blocks, np.zeros(size))
    return replace(start, values=np.where(start.on_diagonal, scale, 0.0))


def _search(data: Moments, restricted: bool) -> tuple[_Theta, Minimum]:
    """The best certified minimum over several starts, in its canonical form."""
    blocks = data.factor.blocks
    shape = _identity(blocks, 1.0)

    def objective(values: Array) -> tuple[float, Array]:
        factor = replace(shape, values=values).factor
        given = conditional(data, factor)
        gradient = criterion_gradient(data, factor, given, restricted)
        return criterion(data, given, restricted), gradient[shape.places]

    found = [minimise(objective, start.values) for start in _starts(blocks, objective)]
    best = min(found, key=lambda m: (m.value - 1e-9 * m.certified, not m.certified))
    if np.abs(_canonical(replace(shape, values=best.x)).values[shape.on_diagonal]).min() < SINGULAR:
        again = minimise(objective, best.x + np.where(shape.on_diagonal, 0.5, 0.0))
        best = min((best, again), key=lambda m: m.value)
    exact = _exact_zeros(_canonical(replace(shape, values=best.x)), best.value, objective)
    evaluations = sum(m.evaluations for m in found)
    return exact, replace(best, value=objective(exact.values)[0], evaluations=evaluations)


def _starts(blocks: tuple[slice, ...], objective: Objective) -> list[_Theta]:
    if blocks[-1].stop > 1:
        return [_identity(blocks, scale) for scale in BLOCK_STARTS]
    values = [objective(np.array([s]))[0] for s in SCALAR_STARTS]
    lowest = [
        k
        for k, value in enumerate(values)
        if (k == 0 or value <= values[k - 1]) and (k == len(values) - 1 or value < values[k + 1])
    ]
    return [_identity(blocks, SCALAR_STARTS[k]) for k in lowest]


def _canonical(theta: _Theta) -> _Theta:
    """The same covariance with a lower-triangular factor whose diagonal is not negative."""
    factor = theta.factor
    for block in theta.blocks:
        lower = np.linalg.qr(factor[block, block].T)[1].T
        signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
        factor[block, block] = np.tril(lower * signs)
    return replace(theta, values=factor[theta.places])


def _exact_zeros(theta: _Theta, value: float, objective: Objective) -> _Theta:
    """Set entries that the search left next to zero to zero, where that costs nothing."""
    columns = theta.places[1]
    for k in np.flatnonzero(theta.on_diagonal & (np.abs(theta.values) < SINGULAR)):
        column = (columns == columns[k]) & (np.abs(theta.values) < SINGULAR)
        trial = np.where(column, 0.0, theta.values)
        if objective(trial)[0] <= value + 1e-9:
            theta = replace(theta, values=trial)
    return theta


def _orthonormal(data: Moments) -> tuple[Moments, Array]:
    """Make each block's columns orthonormal; returns also R^-1, which takes their effects back.

    Z u = (Z R^-1)(R u), where R'R is the block's mean cross-product per row.
    """
    f = data.factor
    total = f.ZtZ.sum(axis=0) / f.sizes.sum()
    back = np.zeros_like(total)
    for block in f.blocks:
        own = total[block, block]
        scale = np.sqrt(np.diag(own))
        scale[scale == 0] = 1.0
        correlation = own / np.outer(scale, scale)
        if np.linalg.eigvalsh(correlation)[0] > 1e-12:
            back[block, block] = np.linalg.inv(np.linalg.cholesky(own).T)
        else:  # collinear varying columns: only put them on one scale
            back[block, block] = np.diag(1 / scale)
    white = replace(f, ZtZ=back.T @ f.ZtZ @ back, ZtX=back.T @ f.ZtX, Zty=f.Zty @ back)
    return replace(data, factors=(white,)), back


# --- the answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Optimum:
    theta: _Theta
    minimum: Minimum
    factor: Array
    given: Conditional


def _assemble(design: Design, data: Moments, at: _Optimum, restricted: bool, level: float) -> Fit:
    given, f = at.given, data.factor
    sigma2 = 1.0 if data.known_se else given.r2 / degrees_of_freedom(data, restricted)
    to_data = data.shift.to_data
    b = to_data @ given.b + data.shift.origin
    b_cov = sigma2 * to_data @ given.b_cov @ to_data.T
    covariance = sigma2 * at.factor @ at.factor.T
    diagonal = at.theta.values[at.theta.on_diagonal]
    singular = bool((diagonal < SINGULAR).any())
    value = criterion(data, given, restricted)
    name = "reml" if restricted else "ml"
    warnings = list(design.notes)
    if singular:
        warnings.append(_why_singular(f, covariance))
    if not at.minimum.certified:
        warnings.append(
            "The search did not end at a certified minimum: largest gradient "
            f"{np.abs(at.minimum.gradient).max():.2g}, smallest curvature {at.minimum.curvature[0]:.2g}. Do not "
            f"trust these numbers."
        )
    effects = _group_effects(design, data, given, sigma2, level)
    fitted = design.X @ b + design.offset
    for block, part in zip(design.blocks, effects, strict=True):
        fitted = fitted + np.einsum("nq,nq->n", block.Z, part.effect.estimate[block.codes])
    return Fit(
        estimator=name,
        design=design,
        population=Estimates.wald(
            b,
            np.sqrt(np.diag(b_cov)),
            level,
            "REML estimate" if restricted else "ML estimate",
            "sampling SE, variances as estimated",
        ),
        fixed_cov=b_cov,
        components=tuple(
            Component(f.group, block.terms, covariance[where, where])
            for where, block in zip(f.blocks, design.blocks, strict=True)
        ),
        group_effects=effects,
        sigma=float(np.sqrt(sigma2)),
        fitted=fitted,
        criterion=Criterion(value, "REML" if restricted else "deviance"),
        log_likelihood=-value / 2,
        df=data.p + len(at.theta.values) + (not data.known_se),
        converged=at.minimum.certified,
        singular=singular,
        warnings=tuple(warnings),
        diagnostics=MappingProxyType(
            {
                "gradient": float(np.abs(at.minimum.gradient).max()),
                "curvature": float(at.minimum.curvature[0]),
                "evaluations": at.minimum.evaluations,
            }
        ),
    )


def _group_effects(
    design: Design, data: Moments, given: Conditional, sigma2: float, level: float
) -> tuple[GroupEffects, ...]:
    """Conditional modes with the conditional SD, and coefficients with Henderson's SE."""
    f = data.factor
    b = data.shift.to_data @ given.b + data.shift.origin
    pick = np.zeros((len(f.fixed), data.p))
    for row, column in enumerate(f.fixed):
        if column is not None:
            pick[row, column] = 1.0
    conditional_variance = np.diagonal(given.P, axis1=1, axis2=2)
    answer = pick @ data.shift.to_data - given.pull
    from_b = np.einsum("jqp,pr,jqr->jq", answer, given.b_cov, answer)
    effect_error = np.sqrt(sigma2 * conditional_variance)
    coefficient_error = np.sqrt(sigma2 * (conditional_variance + from_b))
    return wald_effects(
        design,
        (given.u, effect_error),
        (given.u + pick @ b, coefficient_error),
        level,
        ("BLUP", "conditional SD", "BLUP", "coefficient SE"),
    )


def _why_singular(factor: FactorMoments, covariance: Array) -> str:
    """Say in words which spread or correlation lies on the boundary."""
    sds = np.sqrt(np.diag(covariance))
    if not sds.any():
        return (
            f"Singular: the spread between the levels of {factor.group} is estimated as zero: their means differ no "
            f"more "
            "than the residual spread alone explains. Zero is the edge of what is possible, not evidence of no spread."
        )
    return (
        f"Singular: the covariance of {factor.group} is on its boundary (a standard deviation of zero, or a "
        f"correlation of -1 or 1): "
        "the data do not carry as many spreads as the formula asks for. Consider fewer varying terms, or a prior."
    )

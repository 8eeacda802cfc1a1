"""The search for theta: the best certified minimum of the criterion, from several starts.

Before the search, the varying columns of each block are made orthonormal over the whole table, so that the search does
not depend on their scale or origin, and a start of Lambda = I means the same for every data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.likelihood import Conditional, conditional, criterion, criterion_gradient
from workbench.minimise import Minimum, Objective, minimise
from workbench.moments import Moments
from workbench.theta import Theta

Array = NDArray[np.float64]

SINGULAR = 1e-4
"""A diagonal entry of theta (in orthonormal columns) below this is called singular, as lme4 does."""
SCALAR_STARTS = tuple(np.geomspace(0.02, 2e5, 15))


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the criterion is smallest.

    Attributes
    ----------
    theta : Theta
        Canonical, of the orthonormal columns.
    minimum : Minimum
        The certificate.
    factors : tuple of array, shape (q_f, q_f)
        Lambda of every grouping factor, of the moments' columns.
    given : Conditional
        What follows at these factors.
    """

    theta: Theta
    minimum: Minimum
    factors: tuple[Array, ...]
    given: Conditional


def optimum(data: Moments, restricted: bool) -> Optimum:
    """Minimise the REML criterion, or the deviance, over theta.

    Parameters
    ----------
    data : Moments
    restricted : bool
        REML (eq. 42) rather than ML (eq. 35).

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.moments import moments
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> best = optimum(moments(build_design("y ~ 1 + (1 | g)", table)), restricted=True)
    >>> round(float(best.factors[0][0, 0]) ** 2, 6)   # tau^2 / sigma^2 = 6.083333 / 0.5
    12.166667
    """
    theta, best, unwhiten = _search(data, restricted)
    factors = _products(unwhiten, theta.factors)
    return Optimum(theta, best, factors, conditional(data, factors))


def _search(data: Moments, restricted: bool) -> tuple[Theta, Minimum, tuple[Array, ...]]:
    """The best certified minimum over several starts, in its canonical form, for orthonormal columns."""
    unwhiten = orthonormal(data)
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


def orthonormal(data: Moments) -> tuple[Array, ...]:
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

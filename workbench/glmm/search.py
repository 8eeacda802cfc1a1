"""The search for theta and b: the least deviance, from several starts, in two stages.

First theta alone, with b at its mode together with the effects: few variables, and an end close to the one sought.
Then theta and b jointly, by Newton's method with differences of the gradient, to a certified minimum
(:mod:`workbench.minimise`).

The deviance is even in every column of Lambda, so that zero is always a stationary point of theta: a minimum, where
the data show no spread, or a saddle. Both stages leave saddles. A search that ends on the boundary is repeated from
inside, and zeros are made exact where the deviance does not grow by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.glmm.laplace import Determinant, determinant, laplace, laplace_gradient
from workbench.glmm.pirls import Mode, conditional_mode
from workbench.glmm.quadrature import node_sums, quadrature, quadrature_gradient
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working
from workbench.minimise import Minimum, minimise
from workbench.theta import Theta

Array = NDArray[np.float64]

SINGULAR = 1e-4
"""A diagonal entry of theta (in orthonormal columns) below this is called singular, as lme4 does."""
GRID = (0.1, 0.3, 0.8, 2.0, 6.0)
"""Where the search for one scalar theta looks first: spreads of the linear predictor."""
INSIDE = 0.5
"""Where other searches start, and how far from the boundary they start again."""
SEVERAL_STARTS = 500
"""Up to so many effects, several entries of theta get more than one start: searches are cheap there."""
NEAR_BEST = 1.0
"""Minima of the first stage whose deviance is within this of the best are followed through the second."""
APART = 0.01
"""Thetas nearer to each other than this are one minimum."""
STEP = 1e-4
"""Of the differences that the final second derivatives are made of, in units of the coordinates."""
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the deviance is least.

    Attributes
    ----------
    working : Working
    theta : Theta
        Canonical, of the orthonormal columns.
    mode : Mode
        The conditional modes there, at the b that was found.
    det : Determinant
    value : float
        The deviance: -2 log likelihood, with all constants.
    expected : bool
        Whether `det` is of the expected information.
    minimum : Minimum
        The certificate.
    hessian : array, shape (m + p, m + p)
        Second derivatives of the deviance by theta and b.
    """

    working: Working
    theta: Theta
    mode: Mode
    det: Determinant
    value: float
    expected: bool
    minimum: Minimum
    hessian: Array

    @property
    def b_cov(self) -> Array:
        """Covariance of b, shape (p, p): of half the Hessian's inverse, what directions of theta leave of it."""
        m = len(self.theta.values)
        H = self.hessian / 2
        left = H[m:, m:]
        if m:
            left = left - H[m:, :m] @ np.linalg.pinv(H[:m, :m], rcond=1e-10, hermitian=True) @ H[:m, m:]
        return np.asarray(np.linalg.inv(left)) if len(left) else left


class Deviance:
    """The deviance as a function of theta, or of theta and b, which remembers the last modes to start from.

    Parameters
    ----------
    working : Working
    expected : bool
        Whether the determinant is of the expected information, not of the observed one.
    nodes : int
        Of the quadrature; 1 is Laplace's approximation.
    """

    def __init__(self, working: Working, expected: bool, nodes: int = 1) -> None:
        self.working, self.expected, self.nodes = working, expected, nodes
        self.shape = working.rows.theta
        self.m = len(self.shape.values)
        self.last: Mode | None = None

    def at(self, theta: Array, b: Array | None = None) -> tuple[Mode, Determinant]:
        """The modes at theta, and at b or at its mode too."""
        mode = conditional_mode(self.working, self.shape.at(theta).factors, b, self.last)
        self.last = mode
        return mode, determinant(self.working, mode, self.expected)

    def profiled(self, theta: Array) -> tuple[float, Array]:
        """Laplace's deviance with b at its mode together with the effects, and its gradient."""
        mode, det = self.at(theta)
        return laplace(self.working, mode, det), self.shape.gather(laplace_gradient(self.working, mode, det)[0])

    def profiled_value(self, theta: Array) -> float:
        """The first of :meth:`profiled` alone."""
        return laplace(self.working, *self.at(theta))

    def joint(self, both: Array) -> tuple[float, Array]:
        """The deviance at theta and b, and its gradient, shape (m + p,)."""
        mode, det = self.at(both[: self.m], both[self.m :])
        if self.nodes == 1:
            by_factor, by_b = laplace_gradient(self.working, mode, det)
            value = laplace(self.working, mode, det)
        else:
            sums = node_sums(self.working, mode, det, self.nodes)
            by_Lambda, by_b = quadrature_gradient(self.working, mode, det, sums)
            by_factor, value = (by_Lambda,), quadrature(self.working, mode, sums)
        return value, np.concatenate([self.shape.gather(by_factor), by_b])

    def value(self, mode: Mode, det: Determinant) -> float:
        """The deviance at a mode."""
        if self.nodes == 1:
            return laplace(self.working, mode, det)
        return quadrature(self.working, mode, node_sums(self.working, mode, det, self.nodes))


def optimum(rows: Rows, expected: bool = True, nodes: int = 1) -> Optimum:
    """Minimise the deviance over theta and b.

    Parameters
    ----------
    rows : Rows
    expected : bool
        Whether the determinant is of the expected information (lme4), not of the observed one (the expansion itself);
        the same for canonical links.
    nodes : int
        More than one: quadrature, of one varying term of one grouping factor.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    >>> found = optimum(Rows.of(build_design("cbind(s, f) ~ 1 + (1 | g)", table, "binomial")))
    >>> round(found.theta.values[0], 3), round(found.value, 3), found.minimum.certified
    (1.401, 19.855, True)
    """
    deviance = Deviance(Working(rows), expected, nodes)
    found = [_second_stage(deviance, start) for start in _first_stage(deviance)]
    best = min(found, key=lambda minimum: (minimum.value - ROUNDING * minimum.certified, not minimum.certified))
    theta = _canonical(deviance, best.x)
    diagonal = deviance.shape.on_diagonal
    if np.abs(theta.values[diagonal]).min(initial=np.inf) < SINGULAR:
        again = _again(deviance, best, theta)
        found += again
        best = min(best, *again, key=lambda minimum: minimum.value)
        theta = _exact_zeros(deviance, _canonical(deviance, best.x), best)
    evaluations = sum(minimum.evaluations for minimum in found)
    return _end(deviance, theta, best.x[deviance.m :], replace(best, evaluations=evaluations))


# --- the two stages -----------------------------------------------------------------------------------


def _first_stage(deviance: Deviance) -> list[Array]:
    """Theta and b where the profiled deviance is least, and near-ties apart from it."""
    found: list[tuple[float, Array]] = []
    for start in _starts(deviance):
        minimum = minimise(deviance.profiled, start)
        theta = deviance.shape.at(minimum.x).canonical().values
        if not any(bool((np.abs(theta - other) <= APART * np.maximum(1.0, np.abs(other))).all()) for _, other in found):
            found.append((minimum.value, theta))
    least = min(value for value, _ in found)
    kept = [theta for value, theta in found if value <= least + NEAR_BEST]
    return [np.concatenate([theta, deviance.at(theta)[0].b]) for theta in kept]


def _starts(deviance: Deviance) -> list[Array]:
    """Of one scalar the valleys of a coarse grid; else unit matrices of one size or a few."""
    shape, rows = deviance.shape, deviance.working.rows
    if deviance.m == 1:
        values = [deviance.profiled_value(np.array([size])) for size in GRID]
        last = len(GRID) - 1
        return [
            np.array([size])
            for k, size in enumerate(GRID)
            if (k == 0 or values[k] <= values[k - 1]) and (k == last or values[k] < values[k + 1])
        ]
    effects = sum(f.J * f.q for f in rows.factors)
    sizes = (INSIDE, 0.1, 2.0) if effects <= SEVERAL_STARTS else (INSIDE,)
    return [np.where(shape.on_diagonal, size, 0.0) for size in sizes]


def _second_stage(deviance: Deviance, start: Array) -> Minimum:
    return minimise(deviance.joint, start)


def _canonical(deviance: Deviance, both: Array) -> Theta:
    return deviance.shape.at(both[: deviance.m]).canonical()


def _again(deviance: Deviance, best: Minimum, theta: Theta) -> list[Minimum]:
    """Searches that start off the boundary that a search has ended on, and from factors of fewer columns."""
    b = best.x[deviance.m :]
    diagonal = deviance.shape.on_diagonal
    starts = [theta.values + np.where(diagonal & (theta.values < SINGULAR), INSIDE, 0.0)]
    packed = theta.packed(SINGULAR).values
    if deviance.m > 1 and (np.abs(np.abs(packed) - np.abs(theta.values)) > SINGULAR).any():
        starts.append(packed)
    return [_second_stage(deviance, np.concatenate([start, b])) for start in starts]


def _exact_zeros(deviance: Deviance, theta: Theta, best: Minimum) -> Theta:
    """Make exact the zeros that the search stopped short of, where the deviance does not grow by it.

    A diagonal entry next to zero goes with the entries below it that are next to zero too: a column of one Lambda.
    """
    b = best.x[deviance.m :]
    columns = np.array([(factor, column) for factor, _, column in theta.entries])
    for k in np.flatnonzero(theta.on_diagonal & (np.abs(theta.values) < SINGULAR)):
        together = (columns == columns[k]).all(axis=1) & (np.abs(theta.values) < SINGULAR)
        trial = np.where(together, 0.0, theta.values)
        if deviance.value(*deviance.at(trial, b)) <= best.value + ROUNDING:
            theta = theta.at(trial)
    return theta


# --- the end ------------------------------------------------------------------------------------------


def _end(deviance: Deviance, theta: Theta, b: Array, best: Minimum) -> Optimum:
    """The Hessian at the end, a last Newton step with it, and everything there."""
    m = deviance.m
    both = np.concatenate([theta.values, b])
    gradient = deviance.joint(both)[1]
    hessian = second_derivatives(lambda x: deviance.joint(x)[1], both)
    free = np.concatenate([theta.values != 0, np.ones(len(b), dtype=bool)])
    step = np.zeros(len(both))
    step[free] = -_solved(hessian[np.ix_(free, free)], gradient[free])
    if np.abs(step).max(initial=0.0) < APART:
        both = both + step
    mode, det = deviance.at(both[:m], both[m:])
    value = deviance.value(mode, det)
    return Optimum(deviance.working, theta.at(both[:m]), mode, det, value, deviance.expected, best, hessian)


def _solved(hessian: Array, gradient: Array) -> Array:
    values, vectors = np.linalg.eigh(hessian)
    curved = values > 1e-8 * max(float(values.max(initial=0.0)), 1e-300)
    along = vectors.T @ gradient
    return np.asarray(vectors @ np.where(curved, along / np.where(curved, values, 1.0), 0.0))


def second_derivatives(gradient: Callable[[Array], Array], at: Array) -> Array:
    """Central differences of a gradient, shape (d, d).

    Examples
    --------
    >>> second_derivatives(lambda x: np.array([x[0] ** 2, 3 * x[1]]), np.array([1.0, 2.0])).round(6).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    found = np.empty((len(at), len(at)))
    for k, h in enumerate(STEP * np.maximum(1.0, np.abs(at))):
        ahead, behind = at.copy(), at.copy()
        ahead[k] += h
        behind[k] -= h
        found[k] = (gradient(ahead) - gradient(behind)) / (ahead[k] - behind[k])
    return (found + found.T) / 2

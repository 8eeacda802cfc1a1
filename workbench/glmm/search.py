"""The search for theta and b: the least deviance, from several starts, in two stages.

First theta alone, with b at its mode together with the effects: few variables, and an end close to the one sought.
Then theta and b jointly. Both go by a quasi-Newton method; Newton's own, with differences of the gradient, makes the
end precise and certifies it, and takes over where the search has met a saddle (:mod:`workbench.minimise`).

The deviance is even in every column of Lambda, so that zero is always a stationary point of theta: a minimum, where
the data show no spread, or a saddle. A search that ends on the boundary is repeated from inside, and zeros are made
exact where the deviance does not grow by it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.glmm.laplace import Determinant, determinant, laplace, laplace_gradient
from workbench.glmm.pirls import Mode, conditional_mode
from workbench.glmm.quadrature import node_sums, quadrature, quadrature_gradient
from workbench.glmm.quasi_newton import End, quasi_newton
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working
from workbench.minimise import Minimum, minimise
from workbench.theta import Theta

Array = NDArray[np.float64]

INFORMATION = ("expected", "observed")
"""What the determinant may be made of."""
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
APART = 0.05
"""Thetas nearer to each other than this are one minimum; a longer Newton step is none to rely on."""
ROUGHLY = 1e-2
"""The first stage ends where the next step is shorter."""
SETTLED = 1e-6
"""The second one's quasi-Newton method ends there, and second derivatives are made anew after longer steps."""
NEWTON = 4
"""So many Newton steps with second derivatives made anew are enough, or there is more to look at."""
FLAT = 1e-7
"""Gradients below this, in units of the coordinates, are not worth a further step."""
NOT_NEGATIVE = -1e-5
"""A curvature below this, times the largest, is a saddle's."""
STEP = 1e-4
"""Of the differences that second derivatives are made of, in units of the coordinates."""
ROUNDING = 1e-9
LEAST = 1e-12
"""The least information about a combination of b, beside the largest, that a standard error is made of."""
THREADED = 2_000
"""Products of fewer numbers are done by one thread in any case."""
GAINING = 2_000
"""With more effects of the factors after the first, several threads gain more than they cost."""


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
        if not len(left):
            return left
        values, vectors = np.linalg.eigh(left)
        held = np.maximum(values, LEAST * max(float(values[-1]), 1.0))  # of estimates that run away: huge, and finite
        return np.asarray(vectors / held @ vectors.T)


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
        self.evaluations = 0

    def at(self, theta: Array, b: Array | None = None) -> tuple[Mode, Determinant]:
        """The modes at theta, and at b or at its mode too."""
        mode = conditional_mode(self.working, self.shape.at(theta).factors, b, self.last)
        self.last = mode
        self.evaluations += 1
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


def check_information(name: Any) -> None:
    """Refuse what is none of `INFORMATION`, with an OptionError."""
    if name not in INFORMATION:
        raise OptionError(f"information is {name!r}. {nearest(str(name), INFORMATION)}")


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
    >>> round(float(found.theta.values[0]), 3), round(found.value, 3), found.minimum.certified
    (1.331, 23.825, True)
    """
    with _one_thread(rows):
        return _optimum(Deviance(Working(rows), expected, nodes))


def _one_thread(rows: Rows) -> AbstractContextManager[Any]:
    """Keep the linear algebra to one thread, where its matrices are of a size at which others are called at all.

    Between two products, which are over at once, the others spin; where cores are few or busy that costs everything
    else many times what they gain.
    """
    others = sum(f.J * f.q for f in rows.factors[1:])
    if len(rows.X) * rows.p**2 + others**2 < THREADED or others > GAINING:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def _optimum(deviance: Deviance) -> Optimum:
    """The best minimum of the deviance over several starts, in its canonical form."""
    found = [_second_stage(deviance, *start) for start in _first_stage(deviance)]
    best = min(found, key=lambda f: (f.minimum.value - ROUNDING * f.minimum.certified, not f.minimum.certified))
    theta = _canonical(deviance, best.minimum.x)
    if np.abs(theta.values[theta.on_diagonal]).min(initial=np.inf) < SINGULAR:
        best = _from_inside(deviance, best, theta)
        theta = _exact_zeros(deviance, _canonical(deviance, best.minimum.x), best.minimum)
    b = best.minimum.x[deviance.m :]
    mode, det = deviance.at(theta.values, b)
    minimum = replace(best.minimum, evaluations=deviance.evaluations)
    value = deviance.value(mode, det)
    return Optimum(deviance.working, theta, mode, det, value, deviance.expected, minimum, best.hessian)


# --- the two stages -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    """A minimum with the second derivatives there, shape (m + p, m + p)."""

    minimum: Minimum
    hessian: Array


def _first_stage(deviance: Deviance) -> list[tuple[Array, Array]]:
    """Theta and b where the profiled deviance is about least, near-ties too, with estimates of inverse Hessians."""
    found: list[tuple[End, Array]] = []
    for start in _starts(deviance):
        end = quasi_newton(deviance.profiled, start, close=ROUGHLY)
        theta = deviance.shape.at(end.x).canonical().values
        if not any(bool((np.abs(theta - other) <= APART * np.maximum(1.0, np.abs(other))).all()) for _, other in found):
            found.append((end, theta))
    least = min(end.value for end, _ in found)
    kept = []
    for end, _ in found:
        if end.value <= least + NEAR_BEST:
            mode, _ = deviance.at(end.x)
            p = len(mode.b)
            inverse = np.zeros((deviance.m + p, deviance.m + p))
            inverse[: deviance.m, : deviance.m] = end.inverse
            inverse[deviance.m :, deviance.m :] = mode.given.b_cov / 2  # of -2 log likelihood
            kept.append((np.concatenate([end.x, mode.b]), inverse))
    return kept


def _starts(deviance: Deviance) -> list[Array]:
    """Of one scalar the valleys of a coarse grid; else unit matrices of one size, of a few where there are slopes."""
    shape, rows = deviance.shape, deviance.working.rows
    if deviance.m == 1:
        values = [deviance.profiled_value(np.array([size])) for size in GRID]
        last = len(GRID) - 1
        return [
            np.array([size])
            for k, size in enumerate(GRID)
            if (k == 0 or values[k] <= values[k - 1]) and (k == last or values[k] < values[k + 1])
        ]
    slopes, effects = deviance.m > len(rows.factors), sum(f.J * f.q for f in rows.factors)
    sizes = (INSIDE, 0.1, 2.0) if slopes and effects <= SEVERAL_STARTS else (INSIDE,)
    return [np.where(shape.on_diagonal, size, 0.0) for size in sizes]


def _second_stage(deviance: Deviance, start: Array, inverse: Array) -> Found:
    """The minimum of the deviance nearest to a start."""
    end = quasi_newton(deviance.joint, start, inverse, close=SETTLED)
    return _certified(deviance, end)


def _certified(deviance: Deviance, end: End) -> Found:
    """Newton steps from where a quasi-Newton method has settled; from saddles and the like, the longer way."""
    x, gradient, value = end.x, end.gradient, end.value
    for _ in range(NEWTON):
        hessian = second_derivatives(lambda both: deviance.joint(both)[1], x)
        unit = np.maximum(1.0, np.abs(x))
        values, vectors = np.linalg.eigh(hessian * np.outer(unit, unit))
        step = _newton(hessian, gradient)
        length = float(np.abs(step / unit).max(initial=0.0))
        if values[0] < NOT_NEGATIVE * values[-1] or length > APART:
            break
        new_value, new_gradient = deviance.joint(x + step)
        if not new_value <= value + ROUNDING * max(1.0, abs(value)):
            break
        x, value, gradient = x + step, new_value, new_gradient
        if length <= SETTLED:
            if np.abs(gradient * unit).max(initial=0.0) > FLAT:  # the Hessian still serves: steps shrink by 1e-6 each
                x = x + _newton(hessian, gradient)
                value, gradient = deviance.joint(x)
            level = bool(np.abs(gradient * unit).max(initial=0.0) <= 10 * FLAT * max(1.0, abs(value)) ** 0.5)
            return Found(Minimum(x, value, gradient * unit, values, vectors, 0, level), hessian)
    minimum = minimise(deviance.joint, x)
    return Found(minimum, second_derivatives(lambda both: deviance.joint(both)[1], minimum.x))


def _newton(hessian: Array, gradient: Array) -> Array:
    """Newton's step, without what directions of no curvature would make of it."""
    if not len(gradient):
        return gradient
    values, vectors = np.linalg.eigh(hessian)
    curved = values > 1e-9 * max(float(values[-1]), 1e-300)
    return np.asarray(-vectors @ np.where(curved, vectors.T @ gradient / np.where(curved, values, 1.0), 0.0))


# --- the boundary -------------------------------------------------------------------------------------


def _canonical(deviance: Deviance, both: Array) -> Theta:
    return deviance.shape.at(both[: deviance.m]).canonical()


def _from_inside(deviance: Deviance, best: Found, theta: Theta) -> Found:
    """The best of a minimum on the boundary and what searches find that start off it, and from fewer columns."""
    b = best.minimum.x[deviance.m :]
    starts = [theta.values + np.where(theta.on_diagonal & (theta.values < SINGULAR), INSIDE, 0.0)]
    packed = theta.packed(SINGULAR).values
    if deviance.m > 1 and (np.abs(np.abs(packed) - np.abs(theta.values)) > SINGULAR).any():
        starts.append(packed)
    for start in starts:
        end = quasi_newton(deviance.joint, np.concatenate([start, b]), _rough_inverse(deviance, best), close=ROUGHLY)
        if end.value < best.minimum.value + ROUGHLY:
            end = quasi_newton(deviance.joint, end.x, end.inverse, close=SETTLED)
            if end.value < best.minimum.value - ROUNDING:
                best = _certified(deviance, end)
    return best


def _rough_inverse(deviance: Deviance, best: Found) -> Array:
    """An inverse Hessian to start with: that of b as found, of theta a unit matrix of its size."""
    m = deviance.m
    inverse = np.zeros_like(best.hessian)
    own = np.abs(np.diag(best.hessian)[:m])
    inverse[:m, :m] = np.eye(m) / max(float(own.max(initial=0.0)), 1.0)
    inverse[m:, m:] = np.linalg.pinv(best.hessian[m:, m:], hermitian=True)
    return inverse


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


# --- second derivatives -------------------------------------------------------------------------------


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

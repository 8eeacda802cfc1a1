"""Newton's method for a smooth function of few variables whose gradient is known, with a certificate.

The criterion is even in every column of the relative covariance factor, so zero is always a stationary
point, and often a saddle. The method therefore looks at curvature: a direction of negative curvature is
followed downhill, and a point counts as a minimum only when the gradient vanishes *and* the smallest
eigenvalue of the Hessian is not negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]
Second = Callable[[Array], Array]

DIFFERENCE_STEP = 1e-5
NO_STEP = 1e-9
"""A Newton step smaller than this, in units of the point's coordinates, is the last, and not worth an evaluation."""
LAST_STEP = 1e-7
"""After a Newton step smaller than this, what is left is smaller than its square, or a thousandth of it."""
AROUND = 1e-2
"""As long as steps are larger than this, an approximate Hessian is good enough."""
SHORT = 0.2
"""A Newton step shorter than this, in a convex place, ends close to where the following ones will."""
STEERED = 8
"""After so many steps on an approximate Hessian it is not."""
NEAR = 1e-3
"""After a step smaller than this the last Hessian is kept."""
FLAT = 1e-8
"""Curvatures smaller than this (times the largest) are treated as flat."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search ended, and what certifies it.

    Attributes
    ----------
    x : array, shape (m,)
    value : float
    gradient : array, shape (m,)
        Times the unit of each coordinate, max(1, abs(x)).
    curvature : array, shape (m,)
        Eigenvalues of the Hessian in these units, ascending.
    directions : array, shape (m, m)
        Its eigenvectors, as columns.
    evaluations : int
    certified : bool
        The gradient vanishes to rounding and no curvature is negative.
    """

    x: Array
    value: float
    gradient: Array
    curvature: Array
    directions: Array
    evaluations: int
    certified: bool


def minimise(
    objective: Objective,
    start: Array,
    iterations: int = 100,
    second: Second | None = None,
    exact: bool = False,
    rounding: Callable[[], float] = lambda: 0.0,
    known: Callable[[Array], bool] | None = None,
) -> Minimum:
    """Find a local minimum from `start`.

    Parameters
    ----------
    objective : callable
        Returns the value and the gradient, shape (m,).
    start : array, shape (m,)
    iterations : int
        At most so many Newton steps; running out leaves `certified` false.
    second : callable, optional
        Returns the Hessian, shape (m, m), or where `exact` is false something near enough to steer by while the minimum
        is far. Differences of the gradient do the rest, and the certificate.
    exact : bool
    rounding : callable
        How far rounding may have moved the last value that the objective returned.
    known : callable, optional
        Whether a point is close to a minimum found before: where an exact Newton step in a convex place leads to one,
        the search ends there and then, uncertified.

    Examples
    --------
    >>> def saddle(x):
    ...     return x[0] ** 4 - 2 * x[0] ** 2, np.array([4 * x[0] ** 3 - 4 * x[0]])
    >>> abs(round(float(minimise(saddle, np.array([0.0])).x[0]), 9))
    1.0
    """
    count = 0

    def counted(point: Array) -> tuple[float, Array]:
        nonlocal count
        count += 1
        return objective(point)

    x = np.asarray(start, dtype=float)
    value, gradient = counted(x)
    stalled, last, steered = False, np.inf, 0
    hessian: Array | None = None  # the last one that is as good as exact
    for _ in range(iterations):
        unit = _unit(x)
        steering = second is not None and not exact and last > AROUND and steered < STEERED
        if steering and second is not None:
            steered += 1
            steer = second(x) * np.outer(unit, unit)
        else:
            if exact and second is not None:
                hessian = second(x) * np.outer(unit, unit)
            elif hessian is None or last > NEAR:  # so near the minimum the Hessian hardly changes any more
                hessian = _hessian(counted, x, gradient) * np.outer(unit, unit)
            steer = hessian
        values, vectors = np.linalg.eigh(steer)
        scaled_step, escaping = _step(values, vectors, gradient * unit)
        last = float(np.abs(scaled_step).max())
        if not steering and not escaping and last <= NO_STEP:
            x = x + scaled_step * unit  # the value and the gradient hardly change
            break
        if exact and known is not None and values[0] > 0 and last < SHORT and known(x + scaled_step * unit):
            return Minimum(x, value, gradient * unit, values, vectors, count, False)
        moved, new_value, new_gradient = _line_search(
            counted, x, value, gradient, scaled_step * unit, escaping, max(rounding(), 1e-12 * max(1.0, abs(value)))
        )
        if moved is None:
            if steering:
                steered = STEERED
                continue
            stalled = True  # rounding is all that is left
            break
        x, value, gradient = moved, new_value, new_gradient
        if not steering and not escaping and last <= LAST_STEP:
            break
    unit = _unit(x)
    if hessian is None or last > (LAST_STEP if exact else NEAR):
        hessian = (second(x) if exact and second is not None else _hessian(counted, x)) * np.outer(unit, unit)
    curvature, directions = np.linalg.eigh(hessian)
    floor = -1e-5 * max(1.0, float(curvature[-1]))
    largest = float(np.abs(gradient * unit).max())
    flat = largest <= (1e-4 if stalled else 1e-6) * max(1.0, abs(value)) ** 0.5
    return Minimum(x, value, gradient * unit, curvature, directions, count, bool(flat and curvature[0] >= floor))


def _unit(x: Array) -> Array:
    """The scale on which each coordinate is judged: its own size, at least 1."""
    return np.maximum(1.0, np.abs(x))


def _hessian(objective: Objective, x: Array, gradient: Array | None = None) -> Array:
    """Differences of the gradient, shape (m, m): from `gradient` at x onwards, or central ones without it."""
    m = len(x)
    hessian = np.empty((m, m))
    for k, h in enumerate(DIFFERENCE_STEP * _unit(x)):
        ahead, behind = x.copy(), x.copy()
        ahead[k] += h
        behind[k] -= h
        below = objective(behind)[1] if gradient is None else gradient
        hessian[k] = (objective(ahead)[1] - below) / (ahead[k] - (behind[k] if gradient is None else x[k]))
    return (hessian + hessian.T) / 2


def _step(eigenvalues: Array, vectors: Array, gradient: Array) -> tuple[Array, bool]:
    """Newton step with curvatures made positive; along a saddle's downhill direction where the gradient is silent.

    All in coordinates divided by their units; a step is at most 2 of them long.
    """
    largest = max(float(np.abs(eigenvalues).max()), 1e-300)
    along = vectors.T @ gradient
    curved = np.abs(eigenvalues) > FLAT * largest
    parts = np.where(curved, -along / np.where(curved, np.abs(eigenvalues), 1.0), -along / largest)
    escaping = bool(eigenvalues[0] < -1e-5 * largest)
    if escaping and abs(along[0]) < 1e-3 * abs(eigenvalues[0]):
        parts[0] = -0.3 if along[0] > 0 else 0.3
    length = float(np.linalg.norm(parts))
    return vectors @ parts * min(1.0, 2.0 / length if length else 1.0), escaping


def _line_search(
    objective: Objective, x: Array, value: float, gradient: Array, step: Array, escaping: bool, slack: float
) -> tuple[Array | None, float, Array]:
    """Halve the step until the value falls; near the optimum accept what only shrinks the gradient."""
    size = np.abs(gradient).max()
    for halving in range(30):
        trial = x + step * 0.5**halving
        new_value, new_gradient = objective(trial)
        if new_value < value - slack or (
            not escaping and new_value <= value + slack and np.abs(new_gradient).max() < 0.5 * size
        ):
            return trial, new_value, new_gradient
    return None, value, gradient

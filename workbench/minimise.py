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

DIFFERENCE_STEP = 1e-5
NO_STEP = 1e-11
"""A Newton step smaller than this (times the point) is none."""
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
    curvature : array, shape (m,)
        Eigenvalues of the Hessian, ascending.
    evaluations : int
    certified : bool
        The gradient vanishes to rounding and no curvature is negative.
    """

    x: Array
    value: float
    gradient: Array
    curvature: Array
    evaluations: int
    certified: bool


def minimise(objective: Objective, start: Array, iterations: int = 100) -> Minimum:
    """Find a local minimum from `start`.

    Parameters
    ----------
    objective : callable
        Returns the value and the gradient, shape (m,).
    start : array, shape (m,)
    iterations : int
        At most so many Newton steps; running out leaves `certified` false.

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
    stalled = False
    for _ in range(iterations):
        hessian = _hessian(counted, x, gradient)
        eigenvalues, vectors = np.linalg.eigh(hessian)
        step, escaping = _step(eigenvalues, vectors, gradient)
        if not escaping and np.abs(step).max() <= NO_STEP * max(1.0, float(np.abs(x).max())):
            break
        moved, new_value, new_gradient = _line_search(counted, x, value, gradient, step, escaping)
        if moved is None:  # rounding is all that is left
            stalled = True
            break
        x, value, gradient = moved, new_value, new_gradient
    hessian = _hessian(counted, x, gradient)
    curvature = np.linalg.eigvalsh(hessian)
    floor = -1e-5 * max(1.0, float(curvature[-1]))
    flat = np.abs(gradient).max() <= (1e-4 if stalled else 1e-6) * max(1.0, abs(value)) ** 0.5
    return Minimum(x, value, gradient, curvature, count, bool(flat and curvature[0] >= floor))


def _hessian(objective: Objective, x: Array, gradient: Array) -> Array:
    """Central differences of the gradient, shape (m, m)."""
    m = len(x)
    hessian = np.empty((m, m))
    for k in range(m):
        h = DIFFERENCE_STEP * max(1.0, abs(x[k]))
        ahead, behind = x.copy(), x.copy()
        ahead[k] += h
        behind[k] -= h
        hessian[k] = (objective(ahead)[1] - objective(behind)[1]) / (ahead[k] - behind[k])
    return (hessian + hessian.T) / 2


def _step(eigenvalues: Array, vectors: Array, gradient: Array) -> tuple[Array, bool]:
    """Newton step with curvatures made positive; along a saddle's downhill direction where the gradient is silent."""
    scale = max(1.0, float(np.abs(eigenvalues).max()))
    along = vectors.T @ gradient
    curved = np.abs(eigenvalues) > FLAT * scale
    parts = np.where(curved, -along / np.where(curved, np.abs(eigenvalues), 1.0), -along / scale)
    escaping = bool(eigenvalues[0] < -1e-5 * scale)
    if escaping and abs(along[0]) < 1e-3 * abs(eigenvalues[0]):
        parts[0] = -0.3 if along[0] > 0 else 0.3
    length = float(np.linalg.norm(parts))
    return vectors @ parts * min(1.0, 2.0 / length if length else 1.0), escaping


def _line_search(
    objective: Objective, x: Array, value: float, gradient: Array, step: Array, escaping: bool
) -> tuple[Array | None, float, Array]:
    """Halve the step until the value falls; near the optimum accept what only shrinks the gradient."""
    size = np.abs(gradient).max()
    for halving in range(30):
        trial = x + step * 0.5**halving
        new_value, new_gradient = objective(trial)
        slack = 1e-12 * max(1.0, abs(value))
        if new_value < value - slack or (
            not escaping and new_value <= value + slack and np.abs(new_gradient).max() < 0.5 * size
        ):
            return trial, new_value, new_gradient
    return None, value, gradient

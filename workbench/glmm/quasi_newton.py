"""The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno: few evaluations, a gradient each.

What it leaves behind is near a stationary point, and an estimate of the inverse Hessian; neither certifies a minimum.

Source: Nocedal & Wright (2006, doi:10.1007/978-0-387-40065-5), algorithm 6.1, with a backtracking line search; updates
that would not keep the inverse Hessian positive are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LONGEST = 2.0
"""No step moves a coordinate by more units of it (see :mod:`workbench.minimise`)."""
ENOUGH = 1e-4
"""A step must gain at least this share of what its slope promises."""
HALVINGS = 30
CURVED = 1e-8
"""A change of the gradient along a step that is a smaller share of both their lengths is no curvature."""


@dataclass(frozen=True, eq=False)
class End:
    """Where the method ended.

    Attributes
    ----------
    x, gradient : array, shape (d,)
    value : float
    inverse : array, shape (d, d)
        Of the Hessian, as far as the steps have shown it.
    evaluations : int
    settled : bool
        Whether the next step would have been small enough.
    """

    x: Array
    value: float
    gradient: Array
    inverse: Array
    evaluations: int
    settled: bool


def quasi_newton(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    inverse: Array | None = None,
    close: float = 1e-3,
    iterations: int = 60,
) -> End:
    """Go downhill until the next step would move no coordinate by more than `close` of its unit, max(1, abs(x)).

    Parameters
    ----------
    objective : callable
        Returns the value and the gradient, shape (d,).
    start : array, shape (d,)
    inverse : array, shape (d, d), optional
        An estimate of the inverse Hessian; without one the first step sets its scale.
    close : float
    iterations : int

    Examples
    --------
    >>> def bowl(x):
    ...     return float(x @ x + x[0] ** 4), 2 * x + np.array([4 * x[0] ** 3, 0.0])
    >>> end = quasi_newton(bowl, np.array([1.0, 2.0]), close=1e-9)
    >>> end.settled, bool(np.abs(end.x).max() < 1e-8)
    (True, True)
    """
    x = np.asarray(start, dtype=float)
    value, gradient = objective(x)
    unscaled = inverse is None
    H = np.eye(len(x)) / max(float(np.linalg.norm(gradient)), 1.0) if inverse is None else inverse.copy()
    count = 1
    for _ in range(iterations):
        step = -H @ gradient
        unit = np.maximum(1.0, np.abs(x))
        length = float(np.abs(step / unit).max(initial=0.0))
        if length <= close and not unscaled:
            return End(x, value, gradient, H, count, True)
        step *= min(1.0, LONGEST / max(length, 1e-300))
        slope = float(gradient @ step)
        for halving in range(HALVINGS):
            moved = 0.5**halving * step
            new_value, new_gradient = objective(x + moved)
            count += 1
            if new_value <= value + ENOUGH * 0.5**halving * slope + 1e-12 * max(1.0, abs(value)):
                break
        else:
            return End(x, value, gradient, H, count, False)
        change = new_gradient - gradient
        bend = float(moved @ change)
        if bend > CURVED * float(np.linalg.norm(moved) * np.linalg.norm(change)):
            if unscaled:
                H, unscaled = np.eye(len(x)) * bend / float(change @ change), False
            H = _updated(H, moved, change, bend)
        elif unscaled:
            H = 2.0 * H
        x, value, gradient = x + moved, new_value, new_gradient
        if not gradient.any():
            return End(x, value, gradient, H, count, True)
    return End(x, value, gradient, H, count, False)


def _updated(H: Array, moved: Array, change: Array, bend: float) -> Array:
    """The inverse Hessian once a step has shown how the gradient changes along it."""
    Hy = H @ change
    outer = np.outer(moved, Hy)
    return np.asarray(H + (1 + change @ Hy / bend) * np.outer(moved, moved) / bend - (outer + outer.T) / bend)

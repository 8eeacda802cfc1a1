"""Names that stand beside marks without standing on one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def spread(places: ArrayLike, step: float, low: float, high: float) -> Array:
    """Move places apart where they are nearer than a step, as little as can be, between two ends.

    Least squares under the order of the places, which names keep; where so many have no room, the step gets smaller.

    Parameters
    ----------
    places : array, shape (m,)
    step : float
        The least distance of two neighbours.
    low, high : float
        No place lies outside.

    Returns
    -------
    array, shape (m,)

    Examples
    --------
    >>> spread([0.0, 5.0, 5.0, 5.2], 1.0, 0.0, 5.5).tolist()
    [0.0, 3.5, 4.5, 5.5]
    >>> spread([1.0, 1.0, 1.0], 4.0, 0.0, 2.0).tolist()
    [0.0, 1.0, 2.0]
    """
    from scipy.optimize import isotonic_regression

    wanted = np.asarray(places, dtype=float)
    if not len(wanted):
        return wanted
    order = np.argsort(wanted, kind="stable")
    steps = min(step, (high - low) / max(len(wanted) - 1, 1)) * np.arange(len(wanted))
    free = np.asarray(isotonic_regression(wanted[order] - steps).x)
    found = np.empty(len(wanted))
    found[order] = np.clip(free, low, max(high - steps[-1], low)) + steps  # the bounded optimum is the free one, cut
    return found


def beside(
    points: Array,
    widths: ArrayLike,
    height: float,
    room: tuple[float, float],
    gap: float,
    lines: Sequence[tuple[float, float, float]] = (),
) -> Array:
    """Places for names beside points that stand on no other name and on no point, the nearest that are free.

    Parameters
    ----------
    points : array, shape (m, 2)
        In inches, say, of a frame that begins at (0, 0).
    widths : array, shape (m,)
        Of the names.
    height : float
        Of each.
    room : tuple of two floats
        Width and height of the frame, which names stay inside.
    gap : float
        From a point to its name.
    lines : sequence of (left, right, height)
        Level lines that names keep off, too.

    Returns
    -------
    array, shape (m, 2)
        The names' left ends, at half their height. Where no place is free, the one with the least in its way.

    Examples
    --------
    >>> beside(np.array([[0.0, 1.0], [0.05, 1.0]]), [1.0, 1.0], 0.2, (4.0, 4.0), 0.1).round(2).tolist()
    [[0.1, 1.2], [0.15, 1.0]]
    """
    width, found = np.asarray(widths, dtype=float), np.zeros((len(points), 2))
    taken: list[tuple[float, float, float, float]] = []
    marks = [(x - gap / 2, y - gap / 2, x + gap / 2, y + gap / 2) for x, y in points.tolist()]
    marks += [(left, y - gap / 4, right, y + gap / 4) for left, right, y in lines]
    rows = [0.0, *(sign * step * height for step in range(1, 13) for sign in (1, -1))]
    for j in np.argsort(-points[:, 0], kind="stable").tolist():  # those at the right have the least choice
        x, y = points[j].tolist()
        lefts = (x + gap, x - gap - width[j], x - width[j] / 2)
        best, least = (lefts[0], y), np.inf
        for cost, (up, left) in enumerate((up, left) for up in rows for left in lefts):
            box = (left, y + up - height / 2, left + width[j], y + up + height / 2)
            outside = max(0.0, -box[0]) + max(0.0, box[2] - room[0]) + max(0.0, -box[1]) + max(0.0, box[3] - room[1])
            blocked = 10 * outside + sum((_overlap(box, other) for other in (*taken, *marks)), 0.0)
            if blocked * 1e6 + cost < least:
                best, least = (left, y + up), blocked * 1e6 + cost
            if not blocked:
                break
        found[j] = best
        taken.append((best[0], best[1] - height / 2, best[0] + width[j], best[1] + height / 2))
    return found


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * tall if min(wide, tall) > 1e-9 else 0.0

"""Names that stand beside marks without standing on one another."""

from __future__ import annotations

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

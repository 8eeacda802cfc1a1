"""Names beside the ends of lines, moved apart so that they can be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def dodged(places: Array, gap: float) -> Array:
    """The places nearest to given ones, in their order, of which no two are nearer to each other than `gap`.

    Nearest by least squares: neighbours that are too near are pooled, and stand around their mean (Barlow et al. 1972,
    pool adjacent violators).

    Examples
    --------
    >>> dodged(np.array([0.0, 0.1, 5.0]), 1.0).round(2).tolist()
    [-0.45, 0.55, 5.0]
    """
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    pools: list[list[float]] = []  # sum and count
    for value in places[order] - steps:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    found = np.empty(len(places))
    found[order] = np.concatenate([np.full(int(count), total / count) for total, count in pools]) + steps
    return found


def spread_out(places: Array, low: float, high: float) -> Array:
    """Evenly from low to high, in the order of the places.

    Examples
    --------
    >>> spread_out(np.array([3.0, 1.0, 2.0]), 0.0, 10.0).tolist()
    [10.0, 0.0, 5.0]
    """
    order = np.argsort(places, kind="stable")
    found = np.empty(len(places))
    found[order] = np.linspace(low, high, len(places))
    return found

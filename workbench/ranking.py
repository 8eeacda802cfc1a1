"""Ranks of groups, with their probabilities: which is the highest, and how sure is that?

Sorting estimates hides that most of their order is chance. With draws of all groups at once, the share of draws in
which a group is the highest, or among the highest k, is its probability, and the mean of its ranks its expected rank
(Laird & Louis 1989, doi:10.2307/1164693). Rank 1 is the highest. What league tables cannot say: Goldstein &
Spiegelhalter (1996, doi:10.2307/2983325).

Where there are no draws, normal ones with the estimates' standard errors stand in, independent between groups. The
error that groups share, the population value's, moves each by its shrinkage factor: it is left out, and would move no
rank where all factors are alike. Shares of N draws have a standard error of
sqrt(p (1 - p) / N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 4000
MOST_LEVELS = 5000
"""Of more levels no probabilities are computed."""
CHUNK = 1 << 22
"""Numbers held at a time."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of J groups, 1 the highest: their mean, and probabilities of rank 1 and of rank `top` or higher, (J,)."""

    expected: Array
    highest: Array
    among_top: Array
    top: int


def ranks(draws: Array, top: int) -> Ranks:
    """Ranks from draws of all groups, shape (N, J).

    Examples
    --------
    >>> found = ranks(np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0]]), 2)
    >>> found.expected.tolist(), found.highest.tolist(), found.among_top.tolist()
    ([1.5, 1.5, 3.0], [0.5, 0.5, 0.0], [1.0, 1.0, 0.0])
    """
    N, J = draws.shape
    total, first, among = np.zeros(J), np.zeros(J), np.zeros(J)
    step = max(1, CHUNK // J)
    for begin in range(0, N, step):
        order = np.argsort(-draws[begin : begin + step], axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, J + 1), order.shape), axis=1)
        total += rank.sum(axis=0)
        first += (rank == 1).sum(axis=0)
        among += (rank <= top).sum(axis=0)
    return Ranks(total / N, first / N, among / N, min(top, J))


def normal_draws(mean: Array, sd: Array, count: int = DRAWS) -> Array:
    """Independent normal draws, shape (count, J), the same at every call."""
    return mean + sd * np.random.default_rng(0).standard_normal((count, len(mean)))

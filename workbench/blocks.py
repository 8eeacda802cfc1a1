"""Effects that no row links have nothing to do with each other: symmetric matrices of effects by effects, in blocks.

The levels of schools are linked by nothing once classes within them are eliminated; students and lecturers are all
linked. So the N effects of the factors after the first are cut into their connected components, and matrices of N by N
are held as (C, m, m): C blocks of at most m effects each. Small components share a block, and where one component is
most of everything there is a single block: a dense matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNCUT = 64
"""Up to so many effects are one block, linked or not."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where each of N effects stands: in which of C blocks, at which of its m places.

    Examples
    --------
    >>> blocks = Blocks.of_components(np.array([0, 1, 0, 2, 1]))
    >>> blocks.count, blocks.size, blocks.block.tolist(), blocks.place.tolist()
    (3, 2, [0, 1, 0, 2, 1], [0, 0, 1, 0, 1])
    >>> blocks.take(blocks.put(np.arange(5.0)[:, None]))[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """

    block: NDArray[np.intp]
    place: NDArray[np.intp]
    count: int
    size: int

    @classmethod
    def single(cls, N: int) -> Blocks:
        """All N effects in one block."""
        return cls(np.zeros(N, dtype=np.intp), np.arange(N), 1, N)

    @classmethod
    def of(cls, Z1tR: Any) -> Blocks:
        """Blocks of the columns of Z_1'R, shape (J_1 q_1, N), linked where they meet a level of the first factor."""
        N = Z1tR.shape[1]
        if N <= UNCUT or isinstance(Z1tR, np.ndarray):
            return cls.single(N)
        from scipy.sparse import block_array
        from scipy.sparse.csgraph import connected_components

        _, component = connected_components(block_array([[None, Z1tR], [Z1tR.T, None]]), directed=False)
        return cls.of_components(np.unique(component[-N:], return_inverse=True)[1])

    @classmethod
    def of_components(cls, component: NDArray[np.intp]) -> Blocks:
        """Blocks of N effects whose components are numbered 0, 1, ...; several share a block where they fit."""
        N, sizes = len(component), np.bincount(component)
        size = int(sizes.max())
        if size > N / 2:
            return cls.single(N)
        together = size // sizes  # so many components of about this size fill a block
        order = np.argsort(together, kind="stable")
        firsts = np.flatnonzero(np.diff(together[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
        full = together[order]
        new = rank % full == 0
        block_of, offset = np.empty_like(order), np.empty_like(order)
        block_of[order] = np.cumsum(new) - 1
        offset[order] = (rank % full) * (size // full)
        within = np.argsort(component, kind="stable")
        place = np.empty(N, dtype=np.intp)
        place[within] = np.arange(N) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(block_of[component], place + offset[component], int(new.sum()), size)

    @property
    def whole(self) -> bool:
        """There is a single block."""
        return self.count == 1

    def put(self, rows: Array) -> Array:
        """Rows of all effects, shape (N, k), by block, shape (C, m, k); zero where a block has no effect."""
        if self.whole:
            return rows[None]
        made = np.zeros((self.count, self.size, rows.shape[1]))
        made[self.block, self.place] = rows
        return made

    def take(self, blocks: Array) -> Array:
        """The inverse of :meth:`put`: from (C, m, k) to (N, k)."""
        return blocks[0] if self.whole else blocks[self.block, self.place]

    def gather(self, matrix: Any) -> Array:
        """A sparse matrix of effects by effects, (N, N), as blocks (C, m, m)."""
        if self.whole:
            return np.asarray(matrix.toarray())[None]
        entries = matrix.tocoo()
        made = np.zeros((self.count, self.size, self.size))
        made[self.block[entries.row], self.place[entries.row], self.place[entries.col]] = entries.data
        return made

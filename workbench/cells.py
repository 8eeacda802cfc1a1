"""Sums over cells: what the first grouping factor's levels contribute to, and receive from, the other factors.

With R_j = Z_j'R, shape (q, N), the sparse rows of level j of the first factor, two sums are needed again and again:

    weigh(P)   =  sum_j R_j'P_j R_j            shape (C, m, m), from P of shape (q, q, J)
    within(S)  =  R_j S R_j'  for every j      shape (q, q, J), from S of shape (C, m, m)

where (C, m, m) stands for (N, N), see :mod:`workbench.blocks`.

Both are linear, and each other's transpose. So the products of all pairs of entries that share a level are written
down once, as a sparse matrix with one row per entry of the lower triangles; both sums are then one sparse
matrix-vector product. Where there are too many pairs to hold, sparse matrix products do the same, more slowly. Where
most cells occur, as in factors that are fully crossed, the rows are dense, and so are the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.blocks import Blocks

Array = NDArray[np.float64]

MOST_PAIRS = 30_000_000
"""Pairs of entries held at once, at 12 bytes each and as many again while they are sorted."""
CHUNK = 20_000_000
"""Numbers held at once where a dense slice has to be made."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The rows R_j one below the other, shape (J q, N), sparse or dense.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> cells = Cells(csr_array(np.array([[2.0, 0.0], [1.0, 1.0]])), 1, Blocks.single(2))
    >>> cells.weigh(np.array([[[1.0, 10.0]]])).tolist()      # 1 * (2, 0)'(2, 0) + 10 * (1, 1)'(1, 1)
    [[[14.0, 10.0], [10.0, 10.0]]]
    >>> cells.within(np.array([[[1.0, 5.0], [5.0, 3.0]]])).tolist()
    [[[4.0, 14.0]]]
    """

    rows: Any
    q: int
    blocks: Blocks

    @property
    def N(self) -> int:
        """Columns of R."""
        return int(self.rows.shape[1])

    @property
    def J(self) -> int:
        """Levels of the first factor."""
        return int(self.rows.shape[0]) // self.q

    def weigh(self, P: Array) -> Array:
        """Sum of R_j'P_j R_j over the levels, for symmetric P_j, shape (C, m, m)."""
        if isinstance(self.rows, np.ndarray):
            weighed = np.einsum("abj,jbn->jan", P, self.rows.reshape(self.J, self.q, self.N))
            return np.asarray(self.rows.T @ weighed.reshape(self.rows.shape))[None]
        if self._pairs is None:
            return self.blocks.gather(self.rows.T @ (_block_diagonal(P) @ self.rows))
        m = self.blocks.size
        lower = (self._pairs @ P.ravel()).reshape(self.blocks.count, m, m)
        whole = lower + lower.swapaxes(1, 2)
        whole[:, np.arange(m), np.arange(m)] /= 2
        return np.asarray(whole)

    def within(self, S: Array) -> Array:
        """R_j S R_j' of every level, for symmetric S, shape (q, q, J)."""
        if isinstance(self.rows, np.ndarray):
            shape = (self.J, self.q, self.N)
            return np.asarray(np.einsum("jan,jbn->abj", (self.rows @ S[0]).reshape(shape), self.rows.reshape(shape)))
        if self._pairs is None:
            return self._within_by_slices(S[0])
        halved, m = S.copy(), self.blocks.size
        halved[:, np.arange(m), np.arange(m)] /= 2
        half = (self._transposed @ halved.ravel()).reshape(self.q, self.q, self.J)
        return np.asarray(half + half.swapaxes(0, 1))

    @cached_property
    def _pairs(self) -> Any:
        """Products of entries of a level, two by two, shape (C * m * m, q * q * J); None where there are too many."""
        from scipy.sparse import csr_array

        rows = self.rows
        starts = rows.indptr[:: self.q]
        ends = np.repeat(starts[1:], np.diff(starts))
        here = np.arange(rows.nnz)
        partners = ends - here
        if self.blocks.whole and partners.sum(dtype=np.int64) > MOST_PAIRS:
            return None
        t = np.repeat(here, partners)
        u = np.arange(len(t)) - np.repeat(np.cumsum(partners) - partners, partners) + t
        row_of = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        level, varying = np.divmod(row_of, self.q)
        blocks = self.blocks
        if not blocks.whole:  # between blocks there is nothing
            linked = blocks.block[rows.indices[t]] == blocks.block[rows.indices[u]]
            t, u = t[linked], u[linked]
        r, s = rows.indices[t], rows.indices[u]
        value = rows.data[t] * rows.data[u]
        value[(r == s) & (t != u)] *= 2.0  # two varying columns that meet in one column of R, in either order
        here, there, m = blocks.place[r], blocks.place[s], blocks.size
        where = (blocks.block[r] * m + np.maximum(here, there)) * m + np.minimum(here, there)
        weight = (varying[t] * self.q + varying[u]) * self.J + level[t]
        return csr_array((value, (where, weight)), shape=(blocks.count * m * m, self.q**2 * self.J))

    @cached_property
    def _transposed(self) -> Any:
        return self._pairs.T.tocsr()

    def _within_by_slices(self, S: Array) -> Array:
        q = self.q
        found = np.empty((q, q, self.J))
        step = max(1, CHUNK // (q * self.N))
        for begin in range(0, self.J, step):
            stop = min(begin + step, self.J)
            slab = self.rows[begin * q : stop * q]
            reach = slab @ S
            for b in range(q):
                mine = slab[b::q]
                for a in range(q):
                    found[a, b, begin:stop] = mine.multiply(reach[a::q]).sum(axis=1)
        return found


def _block_diagonal(blocks: Array) -> Any:
    """A sparse block-diagonal matrix of (q, q, J) blocks."""
    from scipy.sparse import bsr_array

    q, _, J = blocks.shape
    data = np.ascontiguousarray(np.moveaxis(blocks, -1, 0))
    return bsr_array((data, np.arange(J), np.arange(J + 1)), shape=(J * q, J * q)).tocsr()

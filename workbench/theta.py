"""theta: the free entries of the relative covariance factors Lambda, one lower triangle per random block.

The factors of several blocks of one grouping factor are block-diagonal. Entries are ordered by factor, block, and
column by column, as lme4 orders them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Theta:
    """Values of theta and where they stand.

    Attributes
    ----------
    blocks : tuple (by factor) of tuple of slice
        The columns of each random block among its factor's; columns outside all of them have no spread.
    sizes : tuple of int
        Columns of every factor.
    values : array, shape (m,)
    """

    blocks: tuple[tuple[slice, ...], ...]
    sizes: tuple[int, ...]
    values: Array

    @classmethod
    def of(cls, moments: Moments, factors: tuple[Array, ...]) -> Theta:
        """Read theta off the lower triangles of given factors."""
        empty = cls(tuple(f.blocks for f in moments.factors), tuple(map(len, factors)), np.empty(0))
        return replace(empty, values=empty.gather(factors))

    @property
    def entries(self) -> tuple[tuple[int, int, int], ...]:
        """Factor, row and column of every entry."""
        return _entries(self.blocks)

    @property
    def on_diagonal(self) -> NDArray[np.bool_]:
        """Which entries stand on a diagonal, shape (m,)."""
        return np.array([a == b for _, a, b in self.entries], dtype=bool)

    @property
    def factors(self) -> tuple[Array, ...]:
        """Lambda of every grouping factor, shape (q_f, q_f)."""
        matrices = tuple(np.zeros((q, q)) for q in self.sizes)
        for (f, a, b), value in zip(self.entries, self.values, strict=True):
            matrices[f][a, b] = value
        return matrices

    def gather(self, matrices: tuple[Array, ...]) -> Array:
        """The entries of given matrices at theta's places, shape (m,)."""
        return np.array([matrices[f][a, b] for f, a, b in self.entries], dtype=float)

    def at(self, values: Array) -> Theta:
        """The same places with other values."""
        return replace(self, values=np.asarray(values))

    def canonical(self) -> Theta:
        """The same covariances with factors whose diagonals are not negative."""
        factors = self.factors
        for factor, blocks in zip(factors, self.blocks, strict=True):
            for block in blocks:
                lower = np.linalg.qr(factor[block, block].T)[1].T
                signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
                factor[block, block] = np.tril(lower * signs)
        return self.at(self.gather(factors))

    def packed(self, negligible: float) -> Theta:
        """The same covariances, but for spreads below `negligible`, with factors of as few columns as will do.

        Where a term's first column has no spread of its own, the canonical factor leaves open how the others lie: any
        rotation of (a, b) in ((0, 0), (a, b)) gives one covariance, and the criterion a valley without a floor. Packed
        it is ((0, 0), (c, 0)).
        """
        factors = self.factors
        for factor, blocks in zip(factors, self.blocks, strict=True):
            for block in blocks:
                vectors, sizes, _ = np.linalg.svd(factor[block, block])
                root = (vectors * np.where(sizes < negligible, 0.0, sizes)).T
                factor[block, block] = np.tril(np.linalg.qr(root)[1].T)
        return self.at(self.gather(factors))


@lru_cache(maxsize=64)
def _entries(blocks: tuple[tuple[slice, ...], ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (f, block.start + a, block.start + b)
        for f, own in enumerate(blocks)
        for block in own
        for b in range(block.stop - block.start)
        for a in range(b, block.stop - block.start)
    )

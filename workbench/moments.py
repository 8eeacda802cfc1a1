"""Design -> :class:`Moments`: the cross-products that are all a Gaussian model knows of its rows.

For one grouping factor with levels j = 1..J, rows weighted by w and the response less its offset:

===========  ====================================  ==============
symbol       name                                  shape
===========  ====================================  ==============
Z_j'W Z_j    ``ZtZ``                               (J, q, q)
Z_j'W X_j    ``ZtX``                               (J, q, p)
Z_j'W y_j    ``Zty``                               (J, q)
X'W X        ``XtX``                               (p, p)
X'W y        ``Xty``                               (p,)
y'W y        ``yty``                               scalar
===========  ====================================  ==============

Here q counts the varying columns of *all* blocks of the factor, laid side by side. Several factors have the same
arrays each, the factor with the most effects first; with R the columns of all the others, laid side by side, N of them:

===========  ====================================  ===========================
Z_1'W R      ``Rest.Z1tR``, one entry per cell     (J_1 q_1, N), sparse where few cells occur
R'W R        ``Rest.RtR``, by ``Rest.blocks``      (C, m, m) for (N, N)
===========  ====================================  ===========================

A cell is a combination of levels that occurs. The first factor's own block stays block-diagonal, so nothing of the size
levels x levels is ever made of it.

All columns are centred first (:mod:`workbench.centred`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.blocks import Blocks
from workbench.cells import Cells
from workbench.centred import Rows, Shift, Varying, varying_columns
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import DesignError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorMoments:
    """The cross-products that involve one grouping factor.

    The levels are last, so that arithmetic runs along them; `ZtZ`, `ZtX` and `Zty` show the same with the levels first.

    Attributes
    ----------
    blocks, places : tuple
        Which columns are whose, and which of the design's blocks these are.
    to_data : array, shape (q, q)
        Effects of the centred columns become those of the data's own by ``u @ to_data.T``.
    A : array, shape (q, q, J)
        Z_j'W Z_j.
    B : array, shape (q, p + 1, J)
        Z_j'W [X y].
    counts : array, shape (J,), or None
        Of condensed moments (:mod:`workbench.coordinates`): how many levels each row stands for.
    """

    group: str
    levels: Sequence[str]
    sizes: NDArray[np.intp]
    blocks: tuple[slice, ...]
    fixed: tuple[int | None, ...]
    places: tuple[int, ...]
    to_data: Array
    A: Array
    B: Array
    counts: Array | None = None

    @property
    def ZtZ(self) -> Array:
        """Z_j'W Z_j, shape (J, q, q)."""
        return self.A.transpose(2, 0, 1)

    @property
    def ZtX(self) -> Array:
        """Z_j'W X, shape (J, q, p)."""
        return self.B[:, :-1].transpose(2, 0, 1)

    @property
    def Zty(self) -> Array:
        """Z_j'W y, shape (J, q)."""
        return self.B[:, -1].T

    def having(self, ZtX: Array | None = None, Zty: Array | None = None) -> FactorMoments:
        """The same with other products of X or y; shapes (J, q, p), (J, q)."""
        X, y = self.ZtX if ZtX is None else ZtX, self.Zty if Zty is None else Zty
        return replace(self, B=np.concatenate([np.moveaxis(X, 0, -1), y.T[:, None]], axis=1))


FEW_CELLS = 10_000
"""Up to so many entries, Z_1'W R is dense whatever occurs in it."""
MOST_CELLS = 0.3
"""Where more than this share of its entries is not zero, Z_1'W R is dense too: a sparse one would save nothing."""


@dataclass(frozen=True, eq=False)
class Rest:
    """Cross-products between factors, for designs with several (see the module's table)."""

    Z1tR: Any
    RtR: Array
    q: int
    blocks: Blocks

    @cached_property
    def cells(self) -> Cells:
        """Sums over the cells of the first factor with the others."""
        return Cells(self.Z1tR, self.q, self.blocks)

    def within_rest(self, rows: Array) -> Array:
        """R'W R times rows of the others' effects, shape (N, k)."""
        return self.blocks.take(self.RtR @ self.blocks.put(rows))


@dataclass(frozen=True, eq=False)
class Moments:
    """Everything a Gaussian estimator needs (see the module's table).

    Attributes
    ----------
    n : int
        Rows.
    factors : tuple of FactorMoments
        The one with the most effects first.
    rest : Rest or None
        What the factors have in common, where there are several.
    XtX, Xty, yty
        Overall cross-products, of centred columns.
    log_weights : float
        Sum of the logs of the prior weights.
    shift : Shift
    known_se : bool
        The residual SD is 1 (the weights are 1/se^2) and not estimated.
    """

    n: int
    factors: tuple[FactorMoments, ...]
    rest: Rest | None
    XtX: Array
    Xty: Array
    yty: float
    log_weights: float
    shift: Shift
    known_se: bool

    @property
    def p(self) -> int:
        """Fixed columns."""
        return len(self.Xty)

    def with_prior(self, mean: Array, weight: Array) -> Moments:
        """The moments with one more row per fixed column, which says that its coefficient is `mean`, shape (p,) both.

        A row of weight 0 says nothing; a normal prior has the weight sigma^2 / SD^2 (Lindley & Smith 1972,
        doi:10.1111/j.2517-6161.1972.tb00885.x).
        """
        T, away = self.shift.to_data, mean - self.shift.origin
        pull = T.T * weight
        return replace(
            self,
            XtX=self.XtX + pull @ T,
            Xty=self.Xty + pull @ away,
            yty=self.yty + float(weight @ away**2),
        )

    @property
    def factor(self) -> FactorMoments:
        """The grouping factor, for estimators that take exactly one; several are a DesignError."""
        if len(self.factors) > 1:
            names = ", ".join(factor.group for factor in self.factors)
            raise DesignError(
                f"This model has {len(self.factors)} grouping factors ({names}), but this estimator takes one. "
                "Keep one of them, or use reml, ml or hierarchical."
            )
        return self.factors[0]


def moments(design: Design, weighted: bool = True) -> Moments:
    """Condense a Gaussian design to its cross-products.

    With `weighted` false the sums leave the weights out (the centres do not).

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]}
    >>> m = moments(build_design("y ~ 1 + (1 | g)", table))
    >>> m.factor.Zty[:, 0].tolist(), m.yty     # the centred response: sums by group, sum of squares
    ([-2.0, 2.0], 5.0)
    """
    rows = Rows.of(design, weighted)
    varying = [varying_columns(design, group, rows) for group in design.groups]
    varying.sort(key=lambda v: -len(v.blocks[0].levels) * len(v.columns))
    XtX, Xty, yty = rows.totals()
    return Moments(
        n=design.n,
        factors=tuple(_factor_moments(v, rows) for v in varying),
        rest=_rest(varying, rows) if len(varying) > 1 else None,
        XtX=read_only(XtX),
        Xty=read_only(Xty),
        yty=yty,
        log_weights=0.0 if rows.plain else float(np.log(design.weights).sum()),
        shift=rows.shift,
        known_se=design.known_se,
    )


def _factor_moments(varying: Varying, rows: Rows) -> FactorMoments:
    """Sum products of columns within levels; what occurs twice is summed once."""
    blocks, Z = varying.blocks, varying.columns
    codes, J = blocks[0].codes, len(blocks[0].levels)
    q, p = len(Z), len(rows.X)
    ends = np.cumsum([0, *(len(block.terms) for block in blocks)]).tolist()
    sizes = np.bincount(codes, minlength=J)
    done: dict[frozenset[int], Array] = {}

    def by_level(a: Array | None, b: Array | None) -> Array:
        key = frozenset((id(a), id(b)))
        if key not in done:
            values = rows.product(a, b)
            done[key] = sizes.astype(float) if values is None else np.bincount(codes, weights=values, minlength=J)
        return done[key]

    A, B = np.empty((q, q, J)), np.empty((q, p + 1, J))
    for a in range(q):
        for b in range(a, q):
            A[a, b] = A[b, a] = by_level(Z[a], Z[b])
        for k, column in enumerate((*rows.X, rows.y)):
            B[a, k] = by_level(Z[a], column)
    return FactorMoments(
        group=blocks[0].group,
        levels=blocks[0].levels,
        sizes=read_only(sizes),
        blocks=tuple(slice(a, b) for a, b in pairwise(ends)),
        fixed=tuple(index for block in blocks for index in block.fixed),
        places=varying.places,
        to_data=read_only(varying.to_data),
        A=read_only(A),
        B=read_only(B),
    )


def _rest(varying: list[Varying], rows: Rows) -> Rest:
    """Cross-products of the first factor with the others, and among the others: dense where small, else by cells."""
    size = varying[0].effects * sum(v.effects for v in varying[1:])
    if size <= FEW_CELLS:
        others = range(1, len(varying))
        Z1tR = np.hstack([_dense(varying[0], varying[k], rows) for k in others])
        RtR = np.vstack([np.hstack([_dense(varying[a], varying[b], rows) for b in others]) for a in others])
        return Rest(read_only(Z1tR), read_only(RtR[None]), len(varying[0].columns), Blocks.single(len(RtR)))
    from scipy.sparse import hstack

    first = varying[0].sparse(rows)
    R = hstack([v.sparse(rows) for v in varying[1:]], format="csr")
    Z1tR = (first.T @ R).tocsr()
    if Z1tR.nnz > MOST_CELLS * size:
        Z1tR = read_only(Z1tR.toarray())
    else:
        Z1tR.sort_indices()
    blocks = Blocks.of(Z1tR)
    return Rest(Z1tR, read_only(blocks.gather(R.T @ R)), len(varying[0].columns), blocks)


def _dense(left: Varying, right: Varying, rows: Rows) -> Array:
    """Z'W Z of two factors, every pair of their levels, shape (J q of the one, J q of the other)."""
    J, K, q, r = left.effects // len(left.columns), right.effects, len(left.columns), len(right.columns)
    made = np.empty((J, q, K // r, r))
    cell = left.blocks[0].codes * (K // r) + right.blocks[0].codes
    for a, mine in enumerate(left.columns):
        for b, yours in enumerate(right.columns):
            sums = np.bincount(cell, weights=rows.product(mine, yours), minlength=J * (K // r))
            made[:, a, :, b] = sums.reshape(J, -1)
    return made.reshape(J * q, K)

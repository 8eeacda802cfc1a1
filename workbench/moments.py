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
Z_1'W R      ``Rest.Z1tR``, one entry per cell     (J_1 q_1, N), sparse
R'W R        ``Rest.RtR``                          (N, N)
===========  ====================================  ===========================

A cell is a combination of levels that occurs. The first factor's own block stays block-diagonal, so nothing of the size
levels x levels is ever made of it.

Sums of squares of data such as 10^12 + 0.4 would lose every digit of the 0.4. So the response and the fixed
columns are centred before they are squared, whenever the columns of X contain the constant, and the varying columns
of every block with a varying intercept; `Shift` and ``to_data`` take coefficients and effects back to the data's own
origin. The maps are unit triangular: no determinant changes, and neither does the criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.cells import Cells
from workbench.data import read_only
from workbench.design import Design, RandomBlock
from workbench.errors import DesignError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shift:
    """How the centred fit maps back: ``b = to_data @ b_centred + origin``.

    `to_data` has shape (p, p), `origin` shape (p,); `response` is the number taken off y.
    """

    to_data: Array
    origin: Array
    response: float


@dataclass(frozen=True, eq=False)
class FactorMoments:
    """The cross-products that involve one grouping factor.

    `blocks` says which columns are whose, `places` which of the design's blocks these are.

    Effects of the centred columns become those of the data's own by ``u @ to_data.T``; `to_data` has shape (q, q).

    `counts` is None but for :func:`condensed` moments: how many levels of the data each row of these stands for.
    """

    group: str
    levels: Sequence[str]
    sizes: NDArray[np.intp]
    blocks: tuple[slice, ...]
    fixed: tuple[int | None, ...]
    places: tuple[int, ...]
    to_data: Array
    ZtZ: Array
    ZtX: Array
    Zty: Array
    counts: Array | None = None

    @cached_property
    def A(self) -> Array:
        """Z_j'W Z_j with the levels last, shape (q, q, J): so laid out, arithmetic runs along the levels."""
        return np.ascontiguousarray(np.moveaxis(self.ZtZ, 0, -1))

    @cached_property
    def B(self) -> Array:
        """Z_j'W [X y] with the levels last, shape (q, p + 1, J)."""
        both = [np.moveaxis(self.ZtX, 0, -1), self.Zty.T[:, None, :]]
        return np.ascontiguousarray(np.concatenate(both, axis=1))


@dataclass(frozen=True, eq=False)
class Rest:
    """Cross-products between factors, for designs with several (see the module's table)."""

    Z1tR: Any
    RtR: Array
    q: int

    @cached_property
    def cells(self) -> Cells:
        """Sums over the cells of the first factor with the others."""
        return Cells(self.Z1tR, self.q)


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
    rows = _Rows.of(design, weighted)
    varying = [_varying(design, group, rows) for group in design.groups]
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


def orthonormalised(moments: Moments) -> tuple[Moments, tuple[Array, ...]]:
    """Replace the varying columns of every block by combinations that are orthonormal over the table.

    Returns the moments of the columns Z R^-1, where R'R is a block's mean cross-product per row, and the maps R^-1 of
    every factor, shape (q_f, q_f): Lambda of the old columns is R^-1 times that of the new ones.
    """
    maps = orthonormal(moments)
    factors = tuple(
        replace(
            f,
            ZtZ=np.moveaxis(np.einsum("ca,cdj,db->abj", R, f.A, R), -1, 0),
            ZtX=np.swapaxes(np.einsum("ca,jck->akj", R, f.ZtX), 0, 2).swapaxes(1, 2),
            Zty=f.Zty @ R,
            to_data=f.to_data @ R,
        )
        for f, R in zip(moments.factors, maps, strict=True)
    )
    rest = moments.rest
    if rest is not None:
        first, others = _over_levels(moments.factors[:1], maps[:1]), _over_levels(moments.factors[1:], maps[1:])
        Z1tR = (first.T @ rest.Z1tR @ others).tocsr()
        Z1tR.sort_indices()
        rest = Rest(Z1tR, np.asarray(others.T @ (others.T @ rest.RtR).T), rest.q)
    return replace(moments, factors=factors, rest=rest), maps


def orthonormal(moments: Moments) -> tuple[Array, ...]:
    """The maps R^-1 of :func:`orthonormalised`, by factor, shape (q_f, q_f)."""
    return tuple(_to_orthonormal(f) for f in moments.factors)


def _to_orthonormal(f: FactorMoments) -> Array:
    total = (f.A.sum(axis=-1) if f.counts is None else f.A @ f.counts) / f.sizes.sum()
    back = np.zeros_like(total)
    for block in f.blocks:
        own = total[block, block]
        scale = np.sqrt(np.diag(own))
        scale[scale == 0] = 1.0
        if np.linalg.eigvalsh(own / np.outer(scale, scale))[0] > 1e-12:
            back[block, block] = np.linalg.inv(np.linalg.cholesky(own).T)
        else:  # collinear varying columns: only put them on one scale
            back[block, block] = np.diag(1 / scale)
    return back


def _over_levels(factors: tuple[FactorMoments, ...], maps: tuple[Array, ...]) -> Any:
    """The maps of given factors, repeated for every level, as one sparse block-diagonal matrix."""
    from scipy.sparse import block_diag, eye_array, kron

    return block_diag([kron(eye_array(f.Zty.shape[0]), R) for f, R in zip(factors, maps, strict=True)], format="csr")


def condensed(moments: Moments) -> Moments:
    """Moments with fewer levels and the same likelihood, of a model with one grouping factor.

    The m levels of a pattern, which share Z_j'Z_j and Z_j'X, see the same shrinkage. An orthogonal rotation among them
    leaves one row that carries their sum over the root of m, and deviations from their mean without X; of the latter
    only the sum of squares, shape (q, q), matters, so that q rows do. What depends on theta alone is counted m times
    (``counts``). A balanced table shrinks to 1 + q rows, whatever its number of groups. Where hardly any pattern
    occurs twice, the moments come back as they are.
    """
    if moments.rest is not None:
        return moments
    f = moments.factor
    J, q = f.Zty.shape
    keys = np.ascontiguousarray(np.concatenate([f.ZtZ.reshape(J, -1), f.ZtX.reshape(J, -1)], axis=1))
    pattern = _patterns(keys, most=J // (1 + q))
    if pattern is None:
        return moments
    first, of_level = pattern
    C = len(first)
    m = np.bincount(of_level, minlength=C).astype(float)
    sums = np.stack([np.bincount(of_level, weights=f.Zty[:, a], minlength=C) for a in range(q)], axis=1)
    off = f.Zty - (sums / m[:, None])[of_level]
    scatter = np.empty((C, q, q))
    for a in range(q):
        for b in range(a, q):
            scatter[:, a, b] = scatter[:, b, a] = np.bincount(of_level, weights=off[:, a] * off[:, b], minlength=C)
    values, vectors = np.linalg.eigh(scatter)
    roots = np.swapaxes(vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :], 1, 2)  # (C, q rows, q)
    ZtZ = f.ZtZ[first]
    return replace(
        moments,
        factors=(
            replace(
                f,
                ZtZ=np.concatenate([ZtZ, np.repeat(ZtZ, q, axis=0)]),
                ZtX=np.concatenate([f.ZtX[first] * np.sqrt(m)[:, None, None], np.zeros((C * q, q, moments.p))]),
                Zty=np.concatenate([sums / np.sqrt(m)[:, None], roots.reshape(-1, q)]),
                counts=np.concatenate([m, np.zeros(C * q)]),
            ),
        ),
    )


def _patterns(keys: Array, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """The first row of every distinct row, and which of these each row is; None where there are more than `most`."""
    import pandas as pd

    J, width = keys.shape
    if width > 1 and bool((keys[:, 1:] == keys[:, :1]).all()):
        keys, width = np.ascontiguousarray(keys[:, :1]), 1
    one = keys.view(np.dtype((np.void, keys.itemsize * width)))[:, 0] if width > 1 else keys[:, 0]
    if J > 2 * PROBED and len(np.unique(one[:PROBED])) > PROBED // 2:
        return None
    if width == 1:
        of_level, distinct = pd.factorize(one)
    else:
        distinct, of_level = np.unique(one, return_inverse=True)
    if len(distinct) > most:
        return None
    first = np.empty(len(distinct), dtype=np.intp)
    first[of_level[::-1]] = np.arange(J)[::-1]
    return first, of_level


PROBED = 1000
"""So many levels are looked at before all are compared."""


@dataclass(frozen=True, eq=False)
class ByGroup:
    """The same cross-products with the group coefficients c_j in place of b and u for the varying columns.

        y = Z_j c_j + R b_rest + e,      R the columns of X that do not vary

    Z and y are centred, so these c_j become the data's own by ``c @ to_data.T + origin``.

    Attributes
    ----------
    rest : tuple of int
        Which columns of X are R's, r of them.
    ZtR, RtR, Rty
        Shapes (J, q, r), (r, r), (r,); R is not centred, y is.
    origin : array, shape (q,)
        What the number taken off y adds to the data's own c_j.
    rest_origin : array, shape (r,)
        To be added to b_rest.
    """

    rest: tuple[int, ...]
    ZtR: Array
    RtR: Array
    Rty: Array
    origin: Array
    rest_origin: Array


def by_group(moments: Moments) -> ByGroup:
    """Recast a model in population values and effects as one in group coefficients."""
    f, shift = moments.factor, moments.shift
    rest = tuple(k for k in range(moments.p) if k not in f.fixed)
    to_R = np.linalg.inv(shift.to_data)[:, list(rest)]
    return ByGroup(
        rest=rest,
        ZtR=f.ZtX @ to_R,
        RtR=to_R.T @ moments.XtX @ to_R,
        Rty=to_R.T @ moments.Xty,
        origin=np.array([0.0 if k is None else shift.origin[k] for k in f.fixed]),
        rest_origin=shift.origin[list(rest)],
    )


# --- rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
    """The response and the fixed columns, centred; products and sums over them.

    A column of ones is None, which saves multiplying by it; so are `weights` of one. `known` are columns already
    centred, by name: a column that varies is often a fixed one too.
    """

    y: Array
    X: tuple[Array | None, ...]
    weights: Array | None
    averaging: Array | None
    shift: Shift
    known: dict[str, Array | None]

    @classmethod
    def of(cls, design: Design, weighted: bool) -> _Rows:
        """Take the mean off y, and off every fixed column where X has an intercept column."""
        averaging = None if (design.weights == 1).all() else design.weights
        y = design.y - design.offset if design.offset.any() else design.y
        p = design.X.shape[1]
        columns: list[Array | None] = [design.X[:, k] for k in range(p)]
        constant = _constant_direction(design)
        to_data, origin, mean, known = np.eye(p), np.zeros(p), 0.0, {}
        if constant is not None:
            mean = float(np.average(y, weights=averaging))
            y = y - mean
            origin = mean * constant
        if "(Intercept)" in design.fixed_terms:
            first = design.fixed_terms.index("(Intercept)")
            columns, to_data[first] = _centred(design.X, first, averaging)
            known = dict(zip(design.fixed_terms, columns, strict=True))
        shift = Shift(to_data, origin, mean)
        return cls(y, tuple(columns), averaging if weighted else None, averaging, shift, known)

    @property
    def plain(self) -> bool:
        """Every row counts the same."""
        return self.averaging is None

    def product(self, *columns: Array | None) -> Array | None:
        """The weighted product of columns, row by row; None where it is one everywhere."""
        result: Array | None = None
        for column in (*columns, self.weights):
            if column is not None:
                result = column if result is None else result * column
        return result

    def totals(self) -> tuple[Array, Array, float]:
        """X'W X, X'W y and y'W y."""
        p = len(self.X)
        D = [*self.X, self.y]
        if p > MANY and self.weights is None:  # one matrix product is quicker than many sums
            full = np.column_stack([np.ones_like(self.y) if column is None else column for column in D])
            both = full.T @ full
        else:
            both = np.empty((p + 1, p + 1))
            for a in range(p + 1):
                weighted = self.product(D[a])
                for b in range(a, p + 1):
                    both[a, b] = both[b, a] = _dot(weighted, D[b], len(self.y))
        return both[:p, :p], both[:p, p], float(both[p, p])


MANY = 6
"""From so many fixed columns on, they are multiplied as one matrix."""


def _dot(a: Array | None, b: Array | None, n: int) -> float:
    """Sum over the rows of a product in which None stands for ones."""
    if a is None or b is None:
        only = b if a is None else a
        return float(n if only is None else only.sum())
    return float(a @ b)


def _centred(values: Array, constant: int, weights: Array | None) -> tuple[list[Array | None], Array]:
    """The columns less their means, the constant one as None, and the row of ``to_data`` that undoes it."""
    columns: list[Array | None] = []
    back = np.zeros(values.shape[1])
    back[constant] = 1.0
    for k in range(values.shape[1]):
        if k == constant:
            columns.append(None)
        else:
            mean = float(np.average(values[:, k], weights=weights))
            back[k] = -mean
            columns.append(values[:, k] - mean)
    return columns, back


def _constant_direction(design: Design) -> Array | None:
    """The c with X c = 1 in every row, or None where the columns do not contain the constant."""
    X, p = design.X, design.X.shape[1]
    if not p:
        return None
    if "(Intercept)" in design.fixed_terms:
        return np.asarray(np.eye(p)[design.fixed_terms.index("(Intercept)")])
    plain = np.flatnonzero((X == 1).all(axis=0))
    if len(plain):
        return np.asarray(np.eye(p)[plain[0]])
    c: Array = np.linalg.lstsq(X.T @ X, X.sum(axis=0), rcond=None)[0].round(12)
    explains = np.allclose(X @ c, 1.0, rtol=0, atol=1e-13)
    return c if explains else None


# --- factors ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Varying:
    """One factor's varying columns, centred, before they are summed; a column of ones is None."""

    blocks: tuple[RandomBlock, ...]
    places: tuple[int, ...]
    columns: tuple[Array | None, ...]
    to_data: Array

    def sparse(self, rows: _Rows) -> Any:
        """One column per level and varying column: (n, J q), with q entries a row, times the root of the weights."""
        from scipy.sparse import csr_array

        n, q = len(rows.y), len(self.columns)
        Z = np.ones((n, q))
        for k, column in enumerate(self.columns):
            if column is not None:
                Z[:, k] = column
        if rows.weights is not None:
            Z *= np.sqrt(rows.weights)[:, None]
        where = (self.blocks[0].codes[:, None] * q + np.arange(q)).ravel()
        shape = (n, len(self.blocks[0].levels) * q)
        return csr_array((Z.ravel(), where, np.arange(0, n * q + 1, q)), shape=shape)


def _varying(design: Design, group: str, rows: _Rows) -> _Varying:
    """Lay the varying columns of a factor's blocks side by side, and centre those beside a varying intercept."""
    places = tuple(k for k, block in enumerate(design.blocks) if block.group == group)
    blocks = tuple(design.blocks[k] for k in places)
    columns: list[Array | None] = []
    q = sum(len(block.terms) for block in blocks)
    to_data = np.eye(q)
    for block in blocks:
        here = slice(len(columns), len(columns) + len(block.terms))
        if "(Intercept)" not in block.terms:
            columns += [block.Z[:, k] for k in range(len(block.terms))]
            continue
        constant = block.terms.index("(Intercept)")
        if all(term in rows.known for term in block.terms):
            columns += [rows.known[term] for term in block.terms]
            picked = [design.fixed_terms.index(term) for term in block.terms]
            to_data[here.start + constant, here] = rows.shift.to_data[design.fixed_terms.index("(Intercept)"), picked]
        else:
            centred, to_data[here.start + constant, here] = _centred(block.Z, constant, rows.averaging)
            columns += centred
    return _Varying(blocks, places, tuple(columns), to_data)


def _factor_moments(varying: _Varying, rows: _Rows) -> FactorMoments:
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

    ZtZ, ZtX, Zty = np.empty((q, q, J)), np.empty((q, p, J)), np.empty((q, J))
    for a in range(q):
        Zty[a] = by_level(Z[a], rows.y)
        for b in range(a, q):
            ZtZ[a, b] = ZtZ[b, a] = by_level(Z[a], Z[b])
        for k in range(p):
            ZtX[a, k] = by_level(Z[a], rows.X[k])
    return FactorMoments(
        group=blocks[0].group,
        levels=blocks[0].levels,
        sizes=read_only(sizes),
        blocks=tuple(slice(a, b) for a, b in pairwise(ends)),
        fixed=tuple(index for block in blocks for index in block.fixed),
        places=varying.places,
        to_data=read_only(varying.to_data),
        ZtZ=read_only(np.moveaxis(ZtZ, -1, 0)),
        ZtX=read_only(np.moveaxis(ZtX, -1, 0)),
        Zty=read_only(Zty.T),
    )


def _rest(varying: list[_Varying], rows: _Rows) -> Rest:
    """Cross-products between the first factor and the others, and among the others, cell by cell."""
    from scipy.sparse import hstack

    first = varying[0].sparse(rows)
    others = hstack([v.sparse(rows) for v in varying[1:]], format="csr")
    Z1tR = (first.T @ others).tocsr()
    Z1tR.sort_indices()
    return Rest(Z1tR=Z1tR, RtR=read_only((others.T @ others).toarray()), q=len(varying[0].columns))

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

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    group: str
    levels: tuple[str, ...]
    sizes: NDArray[np.intp]
    blocks: tuple[slice, ...]
    fixed: tuple[int | None, ...]
    places: tuple[int, ...]
    to_data: Array
    ZtZ: Array
    ZtX: Array
    Zty: Array


@dataclass(frozen=True, eq=False)
class Rest:
    """Cross-products between factors, for designs with several (see the module's table)."""

    Z1tR: Any
    RtR: Array


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
    y, X, shift = _centred(design)
    root = np.sqrt(design.weights) if weighted else np.ones(design.n)
    y, X = y * root, X * root[:, None]
    varying = [_varying(design, group, root) for group in design.groups]
    varying.sort(key=lambda v: -len(v.blocks[0].levels) * v.Z.shape[1])
    return Moments(
        n=design.n,
        factors=tuple(_factor_moments(v, y, X) for v in varying),
        rest=_rest(varying) if len(varying) > 1 else None,
        XtX=read_only(X.T @ X),
        Xty=read_only(X.T @ y),
        yty=float(y @ y),
        log_weights=float(np.log(design.weights).sum()),
        shift=shift,
        known_se=design.known_se,
    )


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


def _centred(design: Design) -> tuple[Array, Array, Shift]:
    """Take the mean off y, and off every fixed column where X has an intercept column."""
    y, X, p = design.y - design.offset, design.X, design.X.shape[1]
    constant = _constant_direction(X)
    if constant is None:
        return y, X, Shift(np.eye(p), np.zeros(p), 0.0)
    mean = float(np.average(y, weights=design.weights))
    to_data = np.eye(p)
    if "(Intercept)" in design.fixed_terms:
        k = design.fixed_terms.index("(Intercept)")
        centres = np.average(X, axis=0, weights=design.weights)
        centres[k] = 0.0
        X = X - centres
        to_data[k] -= centres
    return y - mean, X, Shift(to_data, mean * constant, mean)


def _constant_direction(X: Array) -> Array | None:
    """The c with X c = 1 in every row, or None where the columns do not contain the constant."""
    if not X.shape[1]:
        return None
    plain = np.flatnonzero((X == 1).all(axis=0))
    if len(plain):
        return np.asarray(np.eye(X.shape[1])[plain[0]])
    c: Array = np.linalg.lstsq(X.T @ X, X.sum(axis=0), rcond=None)[0].round(12)
    explains = np.allclose(X @ c, 1.0, rtol=0, atol=1e-13)
    return c if explains else None


@dataclass(frozen=True, eq=False)
class _Varying:
    """One factor's varying columns, centred and weighted, before they are summed."""

    blocks: tuple[RandomBlock, ...]
    places: tuple[int, ...]
    Z: Array
    to_data: Array

    def sparse(self) -> Any:
        """One column per level and varying column: (n, J q), with q entries a row."""
        from scipy.sparse import csr_array

        n, q = self.Z.shape
        columns = (self.blocks[0].codes[:, None] * q + np.arange(q)).ravel()
        shape = (n, len(self.blocks[0].levels) * q)
        return csr_array((self.Z.ravel(), columns, np.arange(0, n * q + 1, q)), shape=shape)


def _varying(design: Design, group: str, root: Array) -> _Varying:
    """Lay the varying columns of a factor's blocks side by side, and centre those beside a varying intercept."""
    places = tuple(k for k, block in enumerate(design.blocks) if block.group == group)
    blocks = tuple(design.blocks[k] for k in places)
    Z = np.hstack([block.Z for block in blocks])
    to_data = np.eye(Z.shape[1])
    start = 0
    for block in blocks:
        stop = start + len(block.terms)
        if "(Intercept)" in block.terms:
            k = block.terms.index("(Intercept)")
            centres = np.average(block.Z, axis=0, weights=design.weights)
            centres[k] = 0.0
            Z[:, start:stop] -= centres
            to_data[start + k, start:stop] -= centres
        start = stop
    return _Varying(blocks, places, Z * root[:, None], to_data)


def _factor_moments(varying: _Varying, y: Array, X: Array) -> FactorMoments:
    """Sum products of columns within levels."""
    blocks, Z = varying.blocks, varying.Z
    codes, J = blocks[0].codes, len(blocks[0].levels)
    q, p = Z.shape[1], X.shape[1]
    ends = np.cumsum([0, *(len(block.terms) for block in blocks)]).tolist()

    def by_level(column: Array) -> Array:
        return np.bincount(codes, weights=column, minlength=J)

    ZtZ, ZtX, Zty = np.empty((J, q, q)), np.empty((J, q, p)), np.empty((J, q))
    for a in range(q):
        Zty[:, a] = by_level(Z[:, a] * y)
        for b in range(a, q):
            ZtZ[:, a, b] = ZtZ[:, b, a] = by_level(Z[:, a] * Z[:, b])
        for k in range(p):
            ZtX[:, a, k] = by_level(Z[:, a] * X[:, k])
    return FactorMoments(
        group=blocks[0].group,
        levels=blocks[0].levels,
        sizes=read_only(np.bincount(codes, minlength=J)),
        blocks=tuple(slice(a, b) for a, b in pairwise(ends)),
        fixed=tuple(index for block in blocks for index in block.fixed),
        places=varying.places,
        to_data=read_only(varying.to_data),
        ZtZ=read_only(ZtZ),
        ZtX=read_only(ZtX),
        Zty=read_only(Zty),
    )


def _rest(varying: list[_Varying]) -> Rest:
    """Cross-products between the first factor and the others, and among the others, cell by cell."""
    from scipy.sparse import hstack

    first = varying[0].sparse()
    others = hstack([v.sparse() for v in varying[1:]], format="csr")
    return Rest(Z1tR=(first.T @ others).tocsr(), RtR=read_only((others.T @ others).toarray()))

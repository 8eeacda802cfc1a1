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
arrays each, and cross-blocks between them by cell (unique combination of levels); `Moments.factors` is a
tuple so that the arrays of each factor have their place.

Sums of squares of data such as 10^12 + 0.4 would lose every digit of the 0.4. So the response and the fixed
columns are centred before they are squared, whenever the columns of X contain the constant, and the varying columns
of every block with a varying intercept; `Shift` and ``to_data`` take coefficients and effects back to the data's own
origin. The maps are unit triangular: no determinant changes, and neither does the criterion.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
    """The cross-products that involve one grouping factor; `blocks` says which columns are whose.

    Effects of the centred columns become those of the data's own by ``u @ to_data.T``; `to_data` has shape (q, q).
    """

    group: str
    levels: tuple[str, ...]
    sizes: NDArray[np.intp]
    blocks: tuple[slice, ...]
    fixed: tuple[int | None, ...]
    to_data: Array
    ZtZ: Array
    ZtX: Array
    Zty: Array


@dataclass(frozen=True, eq=False)
class Moments:
    """Everything a Gaussian estimator needs (see the module's table).

    Attributes
    ----------
    n : int
        Rows.
    factors : tuple of FactorMoments
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
        """The grouping factor, for estimators that take exactly one."""
        (factor,) = self.factors
        return factor


def moments(design: Design) -> Moments:
    """Condense a Gaussian design to its cross-products.

    Raises
    ------
    DesignError
        More than one grouping factor.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]}
    >>> m = moments(build_design("y ~ 1 + (1 | g)", table))
    >>> m.factor.Zty[:, 0].tolist(), m.yty     # the centred response: sums by group, sum of squares
    ([-2.0, 2.0], 5.0)
    """
    groups = list(design.groups)
    if len(groups) != 1:
        raise DesignError(
            f"This model has {len(groups)} grouping factors ({', '.join(groups)}), but this estimator takes one. "
            "Keep one of them, or use the hierarchical estimator."
        )
    y, X, shift = _centred(design)
    root = np.sqrt(design.weights)
    y, X = y * root, X * root[:, None]
    return Moments(
        n=design.n,
        factors=(_factor_moments(list(design.blocks), y, X, root),),
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


def _factor_moments(blocks: list[RandomBlock], y: Array, X: Array, root: Array) -> FactorMoments:
    """Sum products of columns within levels."""
    first = blocks[0]
    codes, J = first.codes, len(first.levels)
    ends = np.cumsum([0, *(len(block.terms) for block in blocks)]).tolist()
    q, p = ends[-1], X.shape[1]
    Z, to_data = np.empty((len(y), q)), np.eye(q)
    for start, stop, block in zip(ends[:-1], ends[1:], blocks, strict=True):
        Z[:, start:stop] = block.Z
        if "(Intercept)" in block.terms:
            k = block.terms.index("(Intercept)")
            centres = np.average(block.Z, axis=0, weights=root**2)
            centres[k] = 0.0
            Z[:, start:stop] -= centres
            to_data[start + k, start:stop] -= centres
    Z *= root[:, None]

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
        group=first.group,
        levels=first.levels,
        sizes=read_only(np.bincount(codes, minlength=J)),
        blocks=tuple(slice(a, b) for a, b in pairwise(ends)),
        fixed=tuple(index for block in blocks for index in block.fixed),
        to_data=read_only(to_data),
        ZtZ=read_only(ZtZ),
        ZtX=read_only(ZtX),
        Zty=read_only(Zty),
    )

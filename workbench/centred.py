"""The rows of a design, centred: what is summed to :class:`workbench.moments.Moments`.

Sums of squares of data such as 10^12 + 0.4 would lose every digit of the 0.4. So the response and the fixed
columns are centred before they are squared, whenever the columns of X contain the constant, and the varying columns
of every block with a varying intercept; `Shift` and ``to_data`` take coefficients and effects back to the data's own
origin. The maps are unit triangular: no determinant changes, and neither does the criterion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shift:
    """How the centred fit maps back: ``b = to_data @ b_centred + origin``.

    `to_data` has shape (p, p), `origin` shape (p,); `response` is the number taken off y.
    """

    to_data: Array
    origin: Array
    response: float


# --- rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rows:
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
    def of(cls, design: Design, weighted: bool) -> Rows:
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
class Varying:
    """One factor's varying columns, centred, before they are summed; a column of ones is None."""

    blocks: tuple[RandomBlock, ...]
    places: tuple[int, ...]
    columns: tuple[Array | None, ...]
    to_data: Array

    @property
    def effects(self) -> int:
        """Levels times varying columns."""
        return len(self.blocks[0].levels) * len(self.columns)

    def sparse(self, rows: Rows) -> Any:
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


def varying_columns(design: Design, group: str, rows: Rows) -> Varying:
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
    return Varying(blocks, places, tuple(columns), to_data)

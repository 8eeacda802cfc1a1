"""Design -> :class:`Rows`: what the search sees of a design of counts or shares.

Rows that share their levels, their columns and their offset are one row, with the counts of all of them. The varying
columns of each random block, and the columns of X, are made orthonormal over the rows, so that the search depends on
neither their scale nor their origin; what a block's columns do not tell apart has no spread to be found, and is left
out.

===========  ===============================================  ======================
symbol       is                                               shape
===========  ===============================================  ======================
X            X_data T, orthonormal: b_data = T b              (n, p)
Z_f          Z_data R_f, by block orthonormal                 (n, q_f)
             u_data = R_f u
codes_f      level of factor f, row by row                    (n,), in 0..J_f-1
===========  ===============================================  ======================

with n the number of distinct rows. The factor with the most effects comes first (see :mod:`workbench.moments`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError
from workbench.glmm.densities import Density
from workbench.sampling.responses import log_normaliser
from workbench.theta import Theta

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Chosen = Callable[[Array | Codes], NDArray[Any]]
"""Takes a column of the design to its distinct rows."""

HASHED = 10_000
"""Up to so many rows, columns are sorted: hashing saves less than a millisecond, which pays for no import."""
WORTHWHILE = 0.8
"""Where more than this share of the rows is distinct, they stay as they are."""
NO_SPREAD = 1e-10
"""An eigenvalue of a block's cross-products (of columns of size 1) below this is zero."""


@dataclass(frozen=True, eq=False)
class Varying:
    """One grouping factor and its varying columns, those of all its random blocks side by side.

    Attributes
    ----------
    group : str
    J : int
    codes : array, shape (n,)
    Z : array, shape (q, n)
        Orthonormal by block.
    places : tuple of int
        Which blocks of the design.
    blocks : tuple of slice
        Whose columns are whose.
    maps : tuple of array, shape (q_data, q)
        By block: effects of the data's columns are the map times effects of these.
    """

    group: str
    J: int
    codes: Codes
    Z: Array
    places: tuple[int, ...]
    blocks: tuple[slice, ...]
    maps: tuple[Array, ...]

    @property
    def q(self) -> int:
        """Columns."""
        return len(self.Z)

    def by_level(self, row_values: Array) -> Array:
        """Z_j'v of every level, for a value by row: shape (q, J)."""
        return np.stack([np.bincount(self.codes, weights=z * row_values, minlength=self.J) for z in self.Z])

    def by_row(self, effects: Array) -> Array:
        """Z u of every row, shape (n,), of effects by level, shape (q, J)."""
        found: Array = self.Z[0] * effects[0].take(self.codes)
        for z, effect in zip(self.Z[1:], effects[1:], strict=True):
            found += z * effect.take(self.codes)
        return found


@dataclass(frozen=True, eq=False)
class Rows:
    """Distinct rows of a design (see the module's table).

    Attributes
    ----------
    X : array, shape (n, p)
    to_data : array, shape (p, p)
        T.
    factors : tuple of Varying
    offset : array, shape (n,)
    density : Density
    constant : float
        What the log densities of the design's rows add to those of `density`.
    start : array, shape (n,)
        Linear predictors of the response itself, moved inside the domain.
    """

    X: Array
    to_data: Array
    factors: tuple[Varying, ...]
    offset: Array
    density: Density
    constant: float
    start: Array

    @property
    def p(self) -> int:
        """Columns of X."""
        return int(self.X.shape[1])

    @property
    def theta(self) -> Theta:
        """Where the free entries of the factors Lambda stand; all of them zero."""
        shape = Theta(tuple(f.blocks for f in self.factors), tuple(f.q for f in self.factors), np.empty(0))
        return shape.at(np.zeros(len(shape.entries)))

    @classmethod
    def of(cls, design: Design) -> Rows:
        """Condense a design; a grouping factor whose columns are all zero is a DesignError.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> table = {"y": [0, 1, 1, 0, 1], "g": list("aabbb")}
        >>> rows = Rows.of(build_design("y ~ 1 + (1 | g)", table, "binomial"))
        >>> rows.density.successes.tolist(), rows.density.failures.tolist()
        ([1.0, 2.0], [1.0, 1.0])
        """
        first, of_row = _distinct(design)
        n = design.n if first is None else len(first)

        def summed(values: Array) -> Array:
            return np.array(values) if first is None else np.bincount(of_row, weights=values, minlength=n)

        def some(values: Array | Codes) -> NDArray[Any]:
            return np.asarray(values if first is None else values[first])

        successes = summed(design.weights * design.y)
        failures = summed(design.weights if design.family == "poisson" else design.weights * (1 - design.y))
        X, to_data = _orthonormal(some(design.X))
        return cls(
            X,
            to_data,
            _factors(design, some),
            some(design.offset),
            Density(design.family, design.link, successes, failures),
            float(log_normaliser(design).sum()),
            _start(design, successes, failures),
        )


def _start(design: Design, successes: Array, failures: Array) -> Array:
    """Linear predictors at the response, moved inside the domain as R's glm does."""
    if design.family == "poisson":
        return np.asarray(np.log(successes / failures + 0.1))
    share = (successes + 0.5) / (successes + failures + 1)
    if design.link == "probit":
        from scipy.special import ndtri

        return np.asarray(ndtri(share))
    return np.asarray(np.log(-np.log1p(-share)) if design.link == "cloglog" else np.log(share / (1 - share)))


def _orthonormal(X: Array) -> tuple[Array, Array]:
    """X T with columns whose mean products are those of I, and T."""
    n, p = X.shape
    if not p:
        return np.empty((n, 0)), np.empty((0, 0))
    scale = np.sqrt(np.einsum("np,np->p", X, X) / n)
    Q, R = np.linalg.qr(X / scale)
    return Q * n**0.5, np.linalg.inv(R) * n**0.5 / scale[:, None]


# --- grouping factors ---------------------------------------------------------------------------------


def _factors(design: Design, some: Chosen) -> tuple[Varying, ...]:
    found = [_varying(design, group, some) for group in design.groups]
    return tuple(sorted(found, key=lambda f: -f.J * f.q))


def _varying(design: Design, group: str, some: Chosen) -> Varying:
    places = tuple(k for k, block in enumerate(design.blocks) if block.group == group)
    columns, maps, slices, at = [], [], [], 0
    for place in places:
        block = design.blocks[place]
        Z = some(block.Z)
        R = _told_apart(Z)
        maps.append(R)
        columns.append((Z @ R).T)
        slices.append(slice(at, at + R.shape[1]))
        at += R.shape[1]
    if not at:
        raise DesignError(
            f"What varies by {group} is zero in every row, so that nothing varies. Leave the term out, or look at the "
            "column."
        )
    block = design.blocks[places[0]]
    codes = np.ascontiguousarray(some(block.codes))
    Z = np.ascontiguousarray(np.vstack(columns))
    return Varying(group, len(block.levels), codes, Z, places, tuple(slices), tuple(maps))


def _told_apart(Z: Array) -> Array:
    """R, shape (q_data, q), with columns Z R whose mean products are those of I; q is less than q_data of copies."""
    size = np.sqrt(np.einsum("nq,nq->q", Z, Z) / len(Z))
    scale = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh((Z / scale).T @ (Z / scale) / len(Z))
    if values[0] > NO_SPREAD:  # lower triangular, as the covariance's own factor will be
        return np.asarray(np.linalg.inv(np.linalg.cholesky((Z / scale).T @ (Z / scale) / len(Z))).T / scale[:, None])
    kept = values > NO_SPREAD
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None])


# --- distinct rows ------------------------------------------------------------------------------------


def _distinct(design: Design) -> tuple[Codes | None, Codes]:
    """The first row of every kind, and the kind of every row; None where hardly any two rows are alike."""
    n = design.n
    columns: list[Array | Codes] = list({block.group: block.codes for block in design.blocks}.values())
    columns += [design.X[:, k] for k in range(design.X.shape[1])]
    columns += [block.Z[:, k] for block in design.blocks for k, fixed in enumerate(block.fixed) if fixed is None]
    columns.append(design.offset)
    kind, count = np.zeros(n, dtype=np.intp), 1
    for column in columns:
        if (column[0] == column).all():
            continue
        codes, distinct = _coded(column)
        if distinct > WORTHWHILE * n:
            return None, kind
        kind, count = _coded(kind * distinct + codes) if count > 1 else (codes, distinct)
        if count > WORTHWHILE * n:
            return None, kind
    first = np.empty(count, dtype=np.intp)
    first[kind[::-1]] = np.arange(n)[::-1]
    order = np.argsort(first, kind="stable")  # kinds in the order in which they first occur
    rank = np.empty(count, dtype=np.intp)
    rank[order] = np.arange(count)
    return first[order], rank[kind]


def _coded(column: Array | Codes) -> tuple[Codes, int]:
    """Every value by its number, and how many there are."""
    if len(column) > HASHED:
        import pandas as pd

        codes, values = pd.factorize(column)
        return np.asarray(codes, dtype=np.intp), len(values)
    values, codes = np.unique(column, return_inverse=True)
    return codes.astype(np.intp), len(values)

"""The working regression of given weights, as :class:`workbench.moments.Moments`.

Near a linear predictor eta, twice the log density of a row is, but for a constant, -w (z - eta)^2: a gaussian row of
weight w and response z. So all that :mod:`workbench.likelihood` does with sums over a gaussian design's rows serves
here, with new sums in every iteration:

    A_j = Z_j'W Z_j,      B_j = Z_j'[W X, r],      X'W X,      X'r,      r = W z

Only the sums change; which levels meet which is written down once (:class:`Links`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.blocks import Blocks
from workbench.cells import Cells
from workbench.centred import Shift
from workbench.glmm.rows import Codes, Rows, Varying
from workbench.moments import FactorMoments, Moments, Rest

Array = NDArray[np.float64]

FEW_CELLS = 20_000
"""Up to so many entries, Z_1'W R is dense whatever occurs in it."""
PAIRED = 0.2
"""Where pairs of entries are more than this share of what a dense product multiplies, the product is dense."""
MOST_PAIRS = 30_000_000
"""Pairs of entries held at once, at 24 bytes each."""


class Working:
    """The rows of a design, ready to be summed with any weights."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.links = Links(rows.factors) if len(rows.factors) > 1 else None
        none, p = np.empty(0), rows.p
        self._none = Moments(
            n=len(rows.offset), factors=(), rest=None, XtX=np.empty((0, 0)), Xty=none, yty=0.0, log_weights=0.0,
            shift=Shift(np.eye(p), np.zeros(p), 0.0), known_se=True,
        )  # fmt: skip
        self._bare = tuple(
            FactorMoments(
                group=f.group, levels=(), sizes=np.empty(0, dtype=np.intp), blocks=f.blocks, fixed=(), places=f.places,
                to_data=np.eye(f.q), A=np.empty((f.q, f.q, f.J)), B=np.empty((f.q, 1, f.J)),
            )
            for f in rows.factors
        )  # fmt: skip

    def moments(self, weights: Array, response: Array, with_X: bool = True) -> Moments:
        """The sums of given weights w and weighted responses r, shape (n,) each; without X where b is known."""
        rows = self.rows
        factors = tuple(
            replace(bare, A=_squares(f, weights), B=_products(f, rows.X if with_X else None, weights, response))
            for bare, f in zip(self._bare, rows.factors, strict=True)
        )
        rest = None if self.links is None else self.links.rest(weights)
        if not with_X:
            return replace(self._none, factors=factors, rest=rest)
        weighted = rows.X.T * weights
        return replace(self._none, factors=factors, rest=rest, XtX=weighted @ rows.X, Xty=rows.X.T @ response)


def _squares(f: Varying, weights: Array) -> Array:
    """Z_j'W Z_j, shape (q, q, J)."""
    A = np.empty((f.q, f.q, f.J))
    for a in range(f.q):
        weighted = weights * f.Z[a]
        for b in range(a, f.q):
            A[a, b] = A[b, a] = np.bincount(f.codes, weights=weighted * f.Z[b], minlength=f.J)
    return A


def _products(f: Varying, X: Array | None, weights: Array, response: Array) -> Array:
    """Z_j'[W X, r], shape (q, p + 1, J)."""
    p = 0 if X is None else X.shape[1]
    B = np.empty((f.q, p + 1, f.J))
    for a in range(f.q):
        if X is not None:
            weighted = weights * f.Z[a]
            for k in range(p):
                B[a, k] = np.bincount(f.codes, weights=weighted * X[:, k], minlength=f.J)
        B[a, p] = np.bincount(f.codes, weights=f.Z[a] * response, minlength=f.J)
    return B


# --- several factors ----------------------------------------------------------------------------------


class Links:
    """Which levels of the first factor meet which effects of the others, and the sums over what meets.

    Of every row, K = q_2 + q_3 + ... effects of the other factors are not zero; `column`, shape (K, n), says which of
    the N effects, `value` how large. An *entry* is a level of the first factor and an effect that meet in some row.
    """

    def __init__(self, factors: tuple[Varying, ...]) -> None:
        self.first = first = factors[0]
        columns, values, start = [], [], 0
        for f in factors[1:]:
            for k in range(f.q):
                columns.append(start + f.codes * f.q + k)
                values.append(f.Z[k])
            start += f.J * f.q
        self.N = start
        self.column, self.value = np.stack(columns), np.stack(values)
        cell = (first.codes * self.N + self.column).ravel()
        occupied, entry = np.unique(cell, return_inverse=True)
        self.level, self.effect = np.divmod(occupied, self.N)
        per_level = np.bincount(self.level, minlength=first.J)
        pairs = int((per_level.astype(float) ** 2).sum())
        size = first.J * first.q * self.N
        self.blocks = Blocks.single(self.N) if size <= FEW_CELLS else Blocks.of(self._pattern())
        few = size <= FEW_CELLS or pairs > PAIRED * first.J * self.N**2 or pairs > MOST_PAIRS
        self.dense = self.blocks.whole and few
        self.entry = cell.reshape(self.column.shape) if self.dense else entry.reshape(self.column.shape)
        self.per_level = per_level

    def _pattern(self) -> Any:
        from scipy.sparse import csr_array

        return csr_array((np.ones(len(self.level)), (self.level, self.effect)), shape=(self.first.J, self.N))

    @cached_property
    def pairs(self) -> tuple[Codes, Codes, Codes]:
        """All pairs of entries that share a level: both entries, and the place of their effects in (C, m, m)."""
        size, squared = self.per_level, self.per_level**2
        starts = np.repeat(np.cumsum(size) - size, squared)
        width = np.repeat(size, squared)
        ordinal = np.arange(len(starts)) - np.repeat(np.cumsum(squared) - squared, squared)
        t, u = starts + ordinal // width, starts + ordinal % width
        return t, u, self._place(self.effect[t], self.effect[u])

    def _place(self, r: Codes, s: Codes) -> Codes:
        blocks = self.blocks
        return np.asarray((blocks.block[r] * blocks.size + blocks.place[r]) * blocks.size + blocks.place[s])

    @cached_property
    def within(self) -> tuple[Codes, Codes, Codes]:
        """Of every pair of a row's effects: its place among the places that occur, (K, K, n); these; and its place."""
        K = len(self.column)
        places = np.stack([[self._place(self.column[a], self.column[b]) for b in range(K)] for a in range(K)])
        occupied, which = np.unique(places.ravel(), return_inverse=True)
        return which.reshape(places.shape), occupied, places

    def rest(self, weights: Array) -> Rest:
        """R'W R and Z_1'W R of given weights."""
        q, J, blocks = self.first.q, self.first.J, self.blocks
        size = J * self.N if self.dense else len(self.level)
        entries, flat = np.empty((q, size)), self.entry.ravel()
        for a in range(q):
            weighted = (weights * self.first.Z[a] * self.value).ravel()
            entries[a] = np.bincount(flat, weights=weighted, minlength=size)
        which, occupied, _ = self.within
        products = weights * self.value[:, None] * self.value[None, :]
        flat_RtR = np.zeros(blocks.count * blocks.size**2)
        flat_RtR[occupied] = np.bincount(which.ravel(), weights=products.ravel(), minlength=len(occupied))
        RtR = flat_RtR.reshape(blocks.count, blocks.size, blocks.size)
        if self.dense:
            Z1tR = entries.reshape(q, J, self.N).transpose(1, 0, 2).reshape(J * q, self.N)
            return Linked(Z1tR, RtR, q, blocks, self, entries)
        return Linked(self._sparse(entries), RtR, q, blocks, self, entries)

    def _sparse(self, entries: Array) -> Any:
        """Z_1'W R of its entries (q, E) as a sparse matrix, shape (J q, N)."""
        from scipy.sparse import csr_array

        q, J = self.first.q, self.first.J
        indptr = np.concatenate([[0], np.cumsum(np.repeat(self.per_level, q))])
        if q == 1:
            return csr_array((entries[0], self.effect, indptr), shape=(J, self.N))
        order = np.lexsort((np.tile(np.arange(q), len(self.level)), np.repeat(self.level, q)))
        return csr_array((entries.T.ravel()[order], np.repeat(self.effect, q)[order], indptr), shape=(J * q, self.N))


@dataclass(frozen=True, eq=False)
class Linked(Rest):
    """What the factors of a working regression have in common.

    Attributes
    ----------
    links : Links
    entries : array, shape (q, E), or (q, J N) where `links` are dense
        Z_1'W R by entry.
    """

    links: Links
    entries: Array

    @cached_property
    def cells(self) -> Cells:
        """Sums over the cells of the first factor with the others."""
        if self.links.dense:
            return Cells(self.Z1tR, self.q, self.blocks)
        return Paired(self.Z1tR, self.q, self.blocks, self.links, self.entries)

    def reach(self, S: Array) -> Array:
        """Z_1'W R S at the entries, shape (q, E) or (q, J N), of a symmetric S in blocks (C, m, m)."""
        links = self.links
        if links.dense:
            full = (self.Z1tR @ S[0]).reshape(links.first.J, self.q, links.N)
            return np.ascontiguousarray(full.transpose(1, 0, 2)).reshape(self.q, -1)
        t, u, place = links.pairs
        at = S.ravel().take(place)
        return np.stack([np.bincount(t, weights=at * e.take(u), minlength=e.size) for e in self.entries])


@dataclass(frozen=True, eq=False)
class Paired(Cells):
    """Sums over cells by pairs of entries that share a level, whatever the entries are this time."""

    links: Links
    entries: Array

    def weigh(self, P: Array) -> Array:
        """Sum of R_j'P_j R_j over the levels, for symmetric P_j, shape (C, m, m)."""
        links = self.links
        t, u, place = links.pairs
        weighed = np.einsum("abe,be->ae", P[:, :, links.level], self.entries)
        products = sum(left.take(t) * right.take(u) for left, right in zip(self.entries, weighed, strict=True))
        C, m = self.blocks.count, self.blocks.size
        return np.bincount(place, weights=products, minlength=C * m * m).reshape(C, m, m)

    def within(self, S: Array) -> Array:
        """R_j S R_j' of every level, shape (q, q, J), of S in blocks (C, m, m)."""
        links, J = self.links, self.links.first.J
        t, u, place = links.pairs
        at = S.ravel().take(place)
        found = np.empty((self.q, self.q, J))
        for b, right in enumerate(self.entries):
            through = np.bincount(t, weights=at * right.take(u), minlength=right.size)
            for a, left in enumerate(self.entries):
                found[a, b] = np.bincount(links.level, weights=left * through, minlength=J)
        return found


def leverages(rows: Rows, data: Moments, P: Array, covariance: Array | None) -> Array:
    """z_i'P z_i of every row, shape (n,): the conditional variance of its linear predictor given b.

    Of several factors, with v = z_r - R'W Z_j P_j z_1 and P_r the others' conditional covariance, it is
    z_1'P_j z_1 + v'P_r v, written out so that only P_r at the row's own effects is needed.

    Parameters
    ----------
    rows, data : Rows, Moments
    P : array, shape (q_1, q_1, J_1)
        Of the first factor, the others given.
    covariance : array, shape (C, m, m), or None
        P_r, where there are others.
    """
    first = rows.factors[0]
    rest = data.rest
    if not isinstance(rest, Linked) or covariance is None:
        found = np.zeros(len(rows.offset))
        for a in range(first.q):
            for b in range(first.q):
                found += first.Z[a] * first.Z[b] * P[a, b].take(first.codes)
        return found
    links = rest.links
    whole = P + np.einsum("acj,cdj,dbj->abj", P, rest.cells.within(covariance), P)
    found = leverages(rows, data, whole, None)
    shrunken = np.einsum("abn,bn->an", P.take(first.codes, axis=2), first.Z)
    reach = rest.reach(covariance)
    for a in range(first.q):
        found -= 2 * shrunken[a] * (reach[a].take(links.entry) * links.value).sum(axis=0)
    at = covariance.ravel().take(links.within[2])
    found += np.einsum("kn,kln,ln->n", links.value, at, links.value)
    return found

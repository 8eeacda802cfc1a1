"""Several grouping factors: what is left of the others once the first is eliminated.

The first factor's part of L is block-diagonal, one (q, q) block a level. The other factors, side by side with N
effects and columns R, see it only through a Schur complement of size N, in blocks of effects that rows link:

    C   = R'R - sum_j R'Z_j P_j Z_j'R       what is left of the others
    S   = Lambda_r' C Lambda_r + I          so that |L|^2 = prod_j |I + A_j D| |S|

P_j (of the first factor, the others given) is in :mod:`workbench.likelihood`; the sums over j in
:mod:`workbench.cells`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workbench.blocks import Blocks
from workbench.moments import FactorMoments, Moments

Array = NDArray[np.float64]


SMALL = 64
"""Up to this size LAPACK's inverse of a Cholesky factor spends its time waking other threads."""


@dataclass(frozen=True, eq=False)
class Schur:
    """The factors after the first, once it is eliminated; (C, m, m) stands for (N, N), see :mod:`workbench.blocks`.

    Attributes
    ----------
    others : tuple of FactorMoments
    factors : tuple of array, shape (q_f, q_f)
        Their Lambdas.
    blocks : Blocks
    C : array, shape (C, m, m)
    cholesky : array, shape (C, m, m)
        Lower Cholesky factor of S (of a single block, what is above the diagonal is not used).
    """

    others: tuple[FactorMoments, ...]
    factors: tuple[Array, ...]
    blocks: Blocks
    C: Array
    cholesky: Array

    @property
    def log_det(self) -> float:
        """log|S|."""
        return float(2 * np.log(np.diagonal(self.cholesky, axis1=1, axis2=2)).sum())

    @cached_property
    def inverse(self) -> Array:
        """S^-1, shape (C, m, m)."""
        if not self.blocks.whole or self.blocks.size <= SMALL:
            return self._root.swapaxes(1, 2) @ self._root
        from scipy.linalg.lapack import dpotri

        lower, _ = dpotri(self.cholesky[0], lower=1)
        lower = np.tril(lower)
        whole = lower + lower.T
        whole[np.diag_indices_from(whole)] /= 2
        return np.asarray(whole)[None]

    @cached_property
    def _root(self) -> Array:
        """The inverse of the Cholesky factor, shape (C, m, m); of small blocks."""
        return np.linalg.inv(np.tril(self.cholesky))

    @cached_property
    def covariance(self) -> Array:
        """Lambda_r S^-1 Lambda_r', (C, m, m): the others' conditional covariance, the first factor integrated out."""
        return self.both(self.inverse)

    def both(self, matrix: Array, transpose: bool = False) -> Array:
        """Lambda_r M Lambda_r', or Lambda_r' M Lambda_r, of a symmetric M in blocks (C, m, m)."""
        if self.scales is not None:
            scaled = matrix * self.scales
            scaled *= self.scales.swapaxes(1, 2)
            return np.asarray(scaled)
        for _ in range(2):
            half = self.blocks.put(self.times(self.blocks.take(matrix), transpose))
            matrix = np.ascontiguousarray(half.swapaxes(1, 2))
        return matrix

    @cached_property
    def scales(self) -> Array | None:
        """Lambda_r as a factor for every effect, shape (C, m, 1); None where a factor varies by several columns."""
        if any(Lambda.size > 1 for Lambda in self.factors):
            return None
        levels = [f.Zty.shape[0] for f in self.others]
        return self.blocks.put(np.repeat([float(Lambda[0, 0]) for Lambda in self.factors], levels)[:, None])

    def times(self, rows: Array, transpose: bool = False) -> Array:
        """Lambda_r rows, or Lambda_r' rows, for rows of shape (N, k)."""
        made = np.empty_like(rows)
        start = 0
        for f, Lambda in zip(self.others, self.factors, strict=True):
            J, q = f.Zty.shape
            here = slice(start, start + J * q)
            start = here.stop
            if q == 1:
                np.multiply(rows[here], Lambda[0, 0], out=made[here])
            else:
                part = rows[here].reshape(J, q, -1)
                made[here] = ((Lambda.T if transpose else Lambda) @ part).reshape(J * q, -1)
        return made

    def solve(self, rows: Array) -> Array:
        """Lambda_r S^-1 Lambda_r' rows, shape (N, k)."""
        sides = self.blocks.put(self.times(rows, True))
        if self.blocks.whole:
            from scipy.linalg.lapack import dpotrs

            solved = dpotrs(self.cholesky[0], sides[0], lower=1)[0][None]
        else:
            solved = self._root.swapaxes(1, 2) @ (self._root @ sides)
        return self.times(self.blocks.take(solved))

    def diagonal_blocks(self, moments: Moments) -> list[Array]:
        """Conditional covariance of every level of the others, by factor, shape (J_f, q_f, q_f)."""
        parts, start = [], 0
        rows = self.blocks.take(self.covariance)
        for f in moments.factors[1:]:
            J, q = f.Zty.shape
            here = slice(start, start + J * q)
            own = self.blocks.place[here].reshape(J, 1, q)
            parts.append(np.take_along_axis(rows[here].reshape(J, q, -1), own, axis=2))
            start = here.stop
        return parts


def eliminate(moments: Moments, factors: tuple[Array, ...], P: Array, modes: Array) -> tuple[Schur, Array, Array]:
    """Eliminate the first factor.

    Parameters
    ----------
    P : array, shape (q_1, q_1, J_1)
    modes : array, shape (q_1, p + 1, J_1)
        The first factor's modes for every column of [X y], without the others.

    Returns
    -------
    Schur
    rest_modes : array, shape (N, p + 1)
        The others' modes.
    explained : array, shape (p + 1, p + 1)
        What these take off [X y]'[X y].
    """
    assert moments.rest is not None
    C = moments.rest.RtR - moments.rest.cells.weigh(P)
    schur = Schur(moments.factors[1:], factors[1:], moments.rest.blocks, C, np.empty((0, 0, 0)))
    schur = replace(schur, cholesky=_cholesky(schur))
    left = as_rows([f.B for f in moments.factors[1:]]) - moments.rest.Z1tR.T @ as_rows([modes])
    rest_modes = schur.solve(left)
    return schur, rest_modes, left.T @ rest_modes


def _cholesky(schur: Schur) -> Array:
    """Lower Cholesky factor of S = Lambda_r' C Lambda_r + I.

    No eigenvalue of S is below 1. Where the factors share directions and Lambda is huge, rounding of C can make it look
    so; such eigenvalues are lifted back to 1.
    """
    from scipy.linalg.lapack import dpotrf

    def made() -> Array:
        S = schur.both(schur.C, True)
        places = np.arange(S.shape[1])
        S[:, places, places] += 1.0
        return S

    try:
        if not schur.blocks.whole:
            return np.linalg.cholesky(made())
        # S is symmetric; its transpose is in LAPACK's order
        L, failed = dpotrf(made()[0].T, lower=1, overwrite_a=1)
        if not failed:
            return np.asarray(L)[None]
        raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(made())
        roots = vectors * np.sqrt(np.maximum(values, 1.0))[:, None]
        L = np.linalg.qr(roots.swapaxes(1, 2), mode="r").swapaxes(1, 2)
        signs = np.where(np.diagonal(L, axis1=1, axis2=2) < 0, -1.0, 1.0)
        return np.asarray(L * signs[:, None])


def rest_left_over(moments: Moments, modes: tuple[Array, ...]) -> list[Array]:
    """Z_f'V^-1 [X y] of the factors after the first, shape (q_f, p + 1, J_f), given the modes of all."""
    assert moments.rest is not None
    rows = as_rows([f.B for f in moments.factors[1:]])
    rows = rows - moments.rest.within_rest(as_rows(modes[1:])) - moments.rest.Z1tR.T @ as_rows(modes[:1])
    return by_factor(moments, rows)


def rest_traces(moments: Moments, schur: Schur) -> list[Array]:
    """Sum over levels of Z_j'V^-1 Z_j Lambda_f, shape (q_f, q_f), of the factors after the first."""
    blocks = schur.blocks
    if schur.scales is not None:
        by_effect = blocks.take((schur.C * schur.inverse) @ schur.scales)[:, 0]
        ends = np.cumsum([0, *(f.Zty.shape[0] for f in moments.factors[1:])])
        return [np.reshape(by_effect[a:b].sum(), (1, 1)) for a, b in pairwise(ends.tolist())]
    CL = blocks.take(blocks.put(schur.times(blocks.take(schur.C), True)).swapaxes(1, 2))  # C is symmetric
    inverse = blocks.take(schur.inverse)
    traces, start = [], 0
    for f in moments.factors[1:]:
        J, q = f.Zty.shape
        here = slice(start, start + J * q)
        left, right = CL[here].reshape(J, q, -1), inverse[here].reshape(J, q, -1)
        traces.append(np.einsum("jan,jbn->ab", left, right))
        start = here.stop
    return traces


def by_factor(moments: Moments, rows: Array) -> list[Array]:
    """Cut rows of the other factors, shape (N, k), into (q_f, k, J_f)."""
    parts, start = [], 0
    for f in moments.factors[1:]:
        J, q = f.Zty.shape
        part = rows[start : start + J * q].reshape(J, q, -1)
        parts.append(np.ascontiguousarray(part.transpose(1, 2, 0)))
        start += J * q
    return parts


def as_rows(parts: tuple[Array, ...] | list[Array]) -> Array:
    """Stack arrays (q_f, k, J_f) as rows, shape (sum of J_f q_f, k)."""
    return np.concatenate([part.transpose(2, 0, 1).reshape(-1, part.shape[1]) for part in parts])

"""The one function of this project: the likelihood of (b, theta, sigma) with the group effects integrated out.

With u = Lambda s, s ~ N(0, sigma^2 I), and Lambda the relative covariance factor (lower triangular within a term, the
same for every level), Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01) write, with their equation
numbers:

    L L'     = Lambda'Z'Z Lambda + I                                          (18)
    R_X'R_X  = X'X - X'Z P Z'X,      P = Lambda (L L')^-1 Lambda'             (from 18)
    r^2      = min over (b, s) of |y - X b - Z Lambda s|^2 + |s|^2            (14)

    deviance  -2 log L    = log|L|^2 + n [1 + log(2 pi r^2 / n)]                               (35)
    REML      -2 log L_R  = log|L|^2 + log|R_X|^2 + (n-p) [1 + log(2 pi r^2 / (n-p))]          (42)

both less the sum of the log weights. With a known residual SD of 1 (standard errors given), the last term is
r^2 + n log 2 pi (or n - p) instead. P is the conditional covariance of u given b, over sigma^2; it is finite and exact
where Lambda is singular, zero included.

With V = I + Z Lambda Lambda'Z' (the rows' covariance over sigma^2), all of it follows from what each level leaves over.
For one factor, with D = Lambda Lambda', A_j = Z_j'Z_j and B_j = Z_j'[X y]:

===========  ============================  ============  ==================================================
symbol       name                          shape         meaning
===========  ============================  ============  ==================================================
F_j          ``left``                      (q, q, J)     (I + A_j D)^-1, with log|L|^2 = -sum_j log|F_j|
P_j          ``P``                         (q, q, J)     D F_j
T_j          `left_over`                   (q, p+1, J)   F_j B_j = Z_j'V^-1 [X y]
K_j                                        (q, q, J)     F_j A_j = Z_j'V^-1 Z_j
b            ``b``                         (p,)          of the centred columns
u_j          ``u``                         (J, q)        conditional modes, P_j (B_j's y - B_j's X b)
===========  ============================  ============  ==================================================

None of these subtracts large numbers from each other, however large Lambda is. Several factors are in
:mod:`workbench.crossed`: the first one is eliminated so, level by level, the others through a Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.crossed import Schur, as_rows, by_factor, eliminate, rest_left_over, rest_traces
from workbench.moments import FactorMoments, Moments

Array = NDArray[np.float64]
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class Conditional:
    """Everything that follows once Lambda is given; covariances are over sigma^2.

    Attributes
    ----------
    b : array, shape (p,)
    b_cov : array, shape (p, p)
        (R_X'R_X)^-1.
    modes : tuple of array, shape (q_f, p + 1, J_f)
        By factor, the modes that the columns of [X y] would have as responses.
    left, P : array, shape (q_1, q_1, J_1)
        Of the first factor, the others given.
    schur : Schur or None
        What concerns the other factors.
    r2 : float
        Penalised residual sum of squares.
    log_det_L, log_det_RX : float
        log|L|^2 and log|R_X|^2.
    """

    b: Array
    b_cov: Array
    modes: tuple[Array, ...]
    left: Array
    P: Array
    schur: Schur | None
    r2: float
    log_det_L: float
    log_det_RX: float

    @cached_property
    def u(self) -> tuple[Array, ...]:
        """Conditional modes of the effects at b, by factor, shape (J_f, q_f)."""
        return tuple((m[:, -1] - np.einsum("akj,k->aj", m[:, :-1], self.b)).T for m in self.modes)

    @property
    def pull(self) -> tuple[Array, ...]:
        """How the modes answer to b, u(b + d) = u(b) - pull d, by factor, shape (J_f, q_f, p)."""
        return tuple(np.moveaxis(m[:, :-1], -1, 0) for m in self.modes)

    @property
    def P_first(self) -> Array:
        """Conditional covariance of the first factor's effects given b and the other factors, shape (J_1, q_1, q_1)."""
        return np.moveaxis(self.P, -1, 0)


def conditional(moments: Moments, factors: tuple[Array, ...]) -> Conditional:
    """Solve for b and u given the relative covariance factors: the mixed-model equations.

    Parameters
    ----------
    moments : Moments
    factors : tuple of array, shape (q_f, q_f)
        Lambda of every grouping factor; any square root of the relative covariance will do, singular ones included.
    """
    first, p = moments.factors[0], moments.p
    left, P, log_dets = shrink(first.A, factors[0])
    log_det = float(log_dets.sum() if first.counts is None else log_dets @ first.counts)
    modes = [np.einsum("acj,ckj->akj", P, first.B)]
    remaining = _bordered(moments) - across(first.B, modes[0])
    schur = None
    if moments.rest is not None:
        schur, rest_modes, explained = eliminate(moments, factors, P, modes[0])
        log_det += schur.log_det
        remaining = remaining - explained
        through = by_first(moments.rest.Z1tR @ rest_modes, first)
        modes[0] = modes[0] - np.einsum("acj,ckj->akj", P, through)
        modes += by_factor(moments, rest_modes)

    XX, Xy = remaining[:p, :p], remaining[:p, p]
    b_cov = np.linalg.solve(XX, np.eye(p))
    b = b_cov @ Xy
    of_e = np.append(-b, 1.0)  # y - X b; r^2 as a quadratic form is flat in b, so that rounding in b hardly counts
    return Conditional(
        b=b,
        b_cov=(b_cov + b_cov.T) / 2,
        modes=tuple(modes),
        left=left,
        P=P,
        schur=schur,
        r2=float(of_e @ remaining @ of_e),
        log_det_L=log_det,
        log_det_RX=float(np.linalg.slogdet(XX)[1]),
    )


def shrink(A: Array, Lambda: Array) -> tuple[Array, Array, Array]:
    """The share F_j = (I + A_j D)^-1 that shrinking leaves over, P_j = D F_j (both (q, q, J)), and -log|F_j|, (J,).

    P is not multiplied out of D and F: of a D that is large and singular, a product of large numbers would be left to
    rounding. For q = 2, |I + A D| = 1 + tr(A D) + |A| |D|, and P = (D + |D| adj A) / |I + A D|.
    """
    q, D = len(Lambda), Lambda @ Lambda.T
    if q == 1:
        AD = A[0, 0] * D[0, 0]
        left = (1 / (1 + AD))[None, None]
        return left, D[0, 0] * left, np.log1p(AD)
    if q == 2:
        (a, b), (c, d) = np.einsum("acj,cb->abj", A, D)
        det_D = (Lambda[0, 0] * Lambda[1, 1] - Lambda[0, 1] * Lambda[1, 0]) ** 2
        more = a + d + np.maximum(A[0, 0] * A[1, 1] - A[0, 1] ** 2, 0.0) * det_D
        left = np.array([[1 + d, -b], [-c, 1 + a]])
        P = D[:, :, None] + det_D * np.array([[A[1, 1], -A[0, 1]], [-A[0, 1], A[0, 0]]])
        return left / (1 + more), P / (1 + more), np.log1p(more)
    levels_first = np.moveaxis(A, -1, 0)
    M = np.eye(q) + Lambda.T @ levels_first @ Lambda
    P = Lambda @ np.linalg.solve(M, np.broadcast_to(Lambda.T, M.shape))
    P = (P + np.swapaxes(P, 1, 2)) / 2
    left = np.eye(q) - levels_first @ P
    log_dets = np.linalg.slogdet(M)[1]
    return np.ascontiguousarray(np.moveaxis(left, 0, -1)), np.ascontiguousarray(np.moveaxis(P, 0, -1)), log_dets


def conditional_covariances(moments: Moments, factors: tuple[Array, ...], given: Conditional) -> tuple[Array, ...]:
    """Diagonal blocks of P by factor, (J_f, q_f, q_f): every level's conditional covariance given b."""
    if given.schur is None or moments.rest is None:
        return (given.P_first,)
    reach = moments.rest.cells.within(given.schur.covariance)
    first = given.P + np.einsum("acj,cdj,dbj->abj", given.P, reach, given.P)
    return (np.moveaxis(first, -1, 0), *given.schur.diagonal_blocks(moments))


def in_data_units(moments: Moments, given: Conditional) -> Conditional:
    """The same effects for the data's own varying columns, u -> to_data u (see ``FactorMoments.to_data``)."""
    modes = (np.einsum("ab,bkj->akj", f.to_data, m) for f, m in zip(moments.factors, given.modes, strict=True))
    return replace(given, modes=tuple(modes))


def degrees_of_freedom(moments: Moments, reml: bool) -> int:
    """What r^2 is divided by: n - p (REML) or n (ML)."""
    return moments.n - moments.p if reml else moments.n


def criterion(moments: Moments, given: Conditional, reml: bool) -> float:
    """Profiled deviance (eq. 35) or REML criterion (eq. 42)."""
    nu = degrees_of_freedom(moments, reml)
    if moments.known_se:
        spread = nu * LOG_2PI + given.r2
    else:
        spread = nu * (1 + LOG_2PI + np.log(given.r2 / nu))
    return float(given.log_det_L + reml * given.log_det_RX + spread - moments.log_weights)


@dataclass(frozen=True, eq=False)
class LevelSums:
    """Sums over the levels of the only factor, of which gradient and Hessian are made (K, Q and T as in the module).

    Attributes
    ----------
    K, Q : array, shape (q, q)
    KK, QK : array, shape (q, q, q, q)
        Sums of K_da K_bc and Q_da K_bc.
    TT : array, shape (q, p + 1, q, p + 1)
        Sum of T_ak T_bl, the column of y in T being that of e.
    """

    K: Array
    Q: Array
    KK: Array
    QK: Array
    TT: Array


@dataclass(frozen=True, eq=False)
class Gradient:
    """The derivative of the criterion, and what the second derivatives are made of as well.

    Attributes
    ----------
    by_factor : tuple of array, shape (q_f, q_f)
        By the entries of every Lambda.
    sums : LevelSums or None
        Of a model with one grouping factor.
    left_over : list of array, shape (q_f, p + 1, J_f)
        Of a model with several, see :func:`left_over`.
    """

    by_factor: tuple[Array, ...]
    sums: LevelSums | None = None
    left_over: tuple[Array, ...] = ()


def criterion_gradient(moments: Moments, factors: tuple[Array, ...], given: Conditional, reml: bool) -> Gradient:
    """Derivative of the criterion by the entries of every Lambda.

    With e = y - X b, a change of Lambda_f changes the terms of eq. 35 and 42 by

        d log|L|^2   =  2 tr(sum_j K_j Lambda_f dLambda_f')
        d log|R_X|^2 = -2 tr(sum_j Z_j'V^-1 X (R_X'R_X)^-1 X'V^-1 Z_j Lambda_f dLambda_f')
        d r^2        = -2 tr(sum_j Z_j'V^-1 e e'V^-1 Z_j Lambda_f dLambda_f')
    """
    if moments.rest is None:
        sums = level_sums(moments, given, reml)
        return Gradient((2 * (sums.K - sums.Q) @ factors[0],), sums)
    T = left_over(moments, given)
    parts = zip(factors, traces(moments, factors, given), T, strict=True)
    gradients = (2 * (trace - explained(moments, given, T, reml).sum(axis=-1) @ Lambda) for Lambda, trace, T in parts)
    return Gradient(tuple(gradients), left_over=tuple(T))


LEVELS_AT_ONCE = 4096
"""So many levels' matrices stay in the processor's cache."""


def level_sums(moments: Moments, given: Conditional, reml: bool) -> LevelSums:
    """Sums over the levels of the only grouping factor, piece by piece."""
    f, p = moments.factors[0], moments.p
    q, J = len(f.A), f.A.shape[-1]
    K_sum, Q_sum = np.zeros((q, q)), np.zeros((q, q))
    KK, QK, TT = np.zeros((q * q, q * q)), np.zeros((q * q, q * q)), np.zeros((q * (p + 1), q * (p + 1)))
    for start in range(0, J, LEVELS_AT_ONCE):
        here = slice(start, start + LEVELS_AT_ONCE)
        left = given.left[..., here]
        K = np.einsum("acj,cbj->abj", left, f.A[..., here])
        T = np.einsum("acj,ckj->akj", left, f.B[..., here])
        T[:, p] -= np.einsum("akj,k->aj", T[:, :p], given.b)
        Q = explained(moments, given, T, reml)
        counted = K if f.counts is None else K * f.counts[here]
        flat_K, flat_T = K.reshape(q * q, -1), T.reshape(q * (p + 1), -1)
        K_sum += counted.sum(axis=-1)
        Q_sum += Q.sum(axis=-1)
        KK += flat_K @ counted.reshape(q * q, -1).T
        QK += Q.reshape(q * q, -1) @ flat_K.T
        TT += flat_T @ flat_T.T
    fourfold = (q, q, q, q)
    return LevelSums(K_sum, Q_sum, KK.reshape(fourfold), QK.reshape(fourfold), TT.reshape(q, p + 1, q, p + 1))


def explained(moments: Moments, given: Conditional, T: Array, reml: bool) -> Array:
    """Level by level, what D explains of the residuals and, under REML, of X: shape (q, q, J).

    Q_j = T_X (R_X'R_X)^-1 T_X' + T_e T_e' nu / r^2, where T_X = Z_j'V^-1 X and T_e = Z_j'V^-1 e.
    """
    p = moments.p
    slope = 1.0 if moments.known_se else degrees_of_freedom(moments, reml) / given.r2
    T_e = T[:, p]
    Q: Array = slope * T_e[:, None] * T_e[None, :]
    if reml and p:
        root = np.linalg.cholesky(given.b_cov)
        H = np.einsum("akj,kr->arj", T[:, :p], root)
        Q = Q + np.einsum("arj,brj->abj", H, H)
    return Q


def left_over(moments: Moments, given: Conditional) -> list[Array]:
    """Z_j'V^-1 [X e] of every one of several factors, with e = y - X b, shape (q_f, p + 1, J_f)."""
    assert moments.rest is not None
    p, first = moments.p, moments.factors[0]
    found = rest_left_over(moments, given.modes)
    rows = first.B - by_first(moments.rest.Z1tR @ as_rows(given.modes[1:]), first)
    found.insert(0, np.einsum("acj,ckj->akj", given.left, rows))
    for T in found:  # the column of y becomes that of e
        T[:, p] -= np.einsum("akj,k->aj", T[:, :p], given.b)
    return found


def traces(moments: Moments, factors: tuple[Array, ...], given: Conditional) -> list[Array]:
    """Sum over levels of K_j Lambda_f, shape (q_f, q_f), by factor: half the derivative of log|L|^2 by Lambda_f."""
    own = np.einsum("acj,cbj->ab", given.left, moments.factors[0].A)
    if given.schur is None or moments.rest is None:
        return [own @ factors[0]]
    reach = moments.rest.cells.within(given.schur.covariance)
    total = own - across_levels(np.einsum("acj,cdj->adj", given.left, reach), given.left)
    return [total @ factors[0], *rest_traces(moments, given.schur)]


def across(a: Array, b: Array) -> Array:
    """Sum over effects and levels of a_ikj b_ilj, shape (k, l)."""
    total: Array = a[0] @ b[0].T
    for left, right in zip(a[1:], b[1:], strict=True):
        total += left @ right.T
    return total


def across_levels(a: Array, b: Array) -> Array:
    """Sum over columns and levels of a_ikj b_lkj, shape (i, l)."""
    return np.asarray(a.reshape(len(a), -1) @ b.reshape(len(b), -1).T)


def by_first(rows: Array, first: FactorMoments) -> Array:
    """Rows of the first factor, shape (J_1 q_1, k), with the levels last, (q_1, k, J_1)."""
    J, q = first.Zty.shape
    return np.ascontiguousarray(rows.reshape(J, q, -1).transpose(1, 2, 0))


def _bordered(moments: Moments) -> Array:
    """[X y]'[X y], shape (p + 1, p + 1)."""
    p = moments.p
    D = np.empty((p + 1, p + 1))
    D[:p, :p], D[:p, p], D[p, :p], D[p, p] = moments.XtX, moments.Xty, moments.Xty, moments.yty
    return D

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

The first factor's part of L is block-diagonal, one (q, q) block a level. The other factors, side by side with N
effects, see it only through a Schur complement, dense and of size N:

    P_j = Lambda_1 (Lambda_1'Z_j'Z_j Lambda_1 + I)^-1 Lambda_1'     level j of the first factor, the others given
    C   = R'R - sum_j R'Z_j P_j Z_j'R                               what is left of the others
    S   = Lambda_r' C Lambda_r + I                                  so that |L|^2 = prod_j |.| |S|

===========  ============================================================  =====================
symbol       name                                                          shape
===========  ============================================================  =====================
Lambda_f     ``factors``, one per grouping factor                          (q_f, q_f)
P_j          ``P_first``                                                   (J_1, q_1, q_1)
b            ``b`` (of the centred columns)                                (p,)
u_f          ``u`` conditional modes, one array per factor                 (J_f, q_f)
===========  ============================================================  =====================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    u : tuple of array, shape (J_f, q_f)
        Conditional modes of the effects at b, by factor.
    pull : tuple of array, shape (J_f, q_f, p)
        How the modes answer to b: u(b + d) = u(b) - pull d.
    P_first : array, shape (J_1, q_1, q_1)
        Conditional covariance of the first factor's effects, given b and the other factors.
    schur : Schur or None
        What concerns the other factors.
    r2 : float
        Penalised residual sum of squares.
    log_det_L, log_det_RX : float
        log|L|^2 and log|R_X|^2.
    """

    b: Array
    b_cov: Array
    u: tuple[Array, ...]
    pull: tuple[Array, ...]
    P_first: Array
    schur: Schur | None
    r2: float
    log_det_L: float
    log_det_RX: float


@dataclass(frozen=True, eq=False)
class Schur:
    """The factors after the first, once it is eliminated.

    Attributes
    ----------
    C : array, shape (N, N)
    cholesky : array, shape (N, N)
        Lower Cholesky factor of S.
    through : sparse array, shape (J_1 q_1, N)
        P_j Z_j'R: how the first factor's modes answer to the others' effects.
    """

    C: Array
    cholesky: Array
    through: Any


def conditional(moments: Moments, factors: tuple[Array, ...]) -> Conditional:
    """Solve for b and u given the relative covariance factors: the mixed-model equations.

    Parameters
    ----------
    moments : Moments
    factors : tuple of array, shape (q_f, q_f)
        Lambda of every grouping factor; any square root of the relative covariance will do, singular ones included.
    """
    first, p = moments.factors[0], moments.p
    J, q = first.Zty.shape
    L = np.linalg.cholesky(factors[0].T @ first.ZtZ @ factors[0] + np.eye(q))
    half = np.linalg.solve(L, np.broadcast_to(factors[0].T, (J, q, q)))
    P = np.swapaxes(half, 1, 2) @ half
    log_det = 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum()

    # every right-hand side at once: the columns of D = [X y]
    ZtD = _with_y(first)
    modes = P @ ZtD
    left = _bordered(moments) - np.tensordot(ZtD, modes, axes=([0, 1], [0, 1]))
    all_modes = [modes]
    schur = None
    if moments.rest is not None:
        schur, rest_modes, explained = _eliminate(moments, factors, P, modes)
        log_det += 2 * np.log(np.diag(schur.cholesky)).sum()
        left = left - explained
        all_modes[0] = modes - (schur.through @ rest_modes).reshape(modes.shape)
        all_modes += _by_factor(moments, rest_modes)

    XX, Xy = left[:p, :p], left[:p, p]
    b_cov = np.linalg.solve(XX, np.eye(p))
    b = b_cov @ Xy
    return Conditional(
        b=b,
        b_cov=(b_cov + b_cov.T) / 2,
        u=tuple(m[:, :, p] - m[:, :, :p] @ b for m in all_modes),
        pull=tuple(m[:, :, :p] for m in all_modes),
        P_first=P,
        schur=schur,
        r2=float(left[p, p] - b @ Xy),
        log_det_L=float(log_det),
        log_det_RX=float(np.linalg.slogdet(XX)[1]),
    )


def conditional_covariances(moments: Moments, factors: tuple[Array, ...], given: Conditional) -> tuple[Array, ...]:
    """Diagonal blocks of P by factor, (J_f, q_f, q_f): every level's conditional covariance given b."""
    if given.schur is None:
        return (given.P_first,)
    from scipy.linalg import solve_triangular

    J, q = moments.factors[0].Zty.shape
    Lambda = _rest_factor(moments, factors)
    root = solve_triangular(given.schur.cholesky, Lambda.T, lower=True)  # P_r = root'root
    parts = []
    start = 0
    for f in moments.factors[1:]:
        Jf, qf = f.Zty.shape
        own = root[:, start : start + Jf * qf].reshape(-1, Jf, qf)
        parts.append(np.einsum("nja,njb->jab", own, own))
        start += Jf * qf
    added = np.empty((J, q, q))
    step = max(1, CHUNK // (q * root.shape[0]))
    for begin in range(0, J, step):  # in slices, so that no (J_1 q_1, N) matrix is ever dense
        stop = min(begin + step, J)
        reach = (given.schur.through[begin * q : stop * q] @ root.T).reshape(stop - begin, q, -1)
        added[begin:stop] = reach @ np.swapaxes(reach, 1, 2)
    return (given.P_first + added, *parts)


CHUNK = 20_000_000
"""Numbers held at once where a dense slice has to be made."""


def in_data_units(moments: Moments, given: Conditional) -> Conditional:
    """The same effects for the data's own varying columns, u -> to_data u (see ``FactorMoments.to_data``)."""
    maps = [f.to_data for f in moments.factors]
    return replace(
        given,
        u=tuple(u @ T.T for u, T in zip(given.u, maps, strict=True)),
        pull=tuple(T @ pull for pull, T in zip(given.pull, maps, strict=True)),
    )


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


def criterion_gradient(
    moments: Moments, factors: tuple[Array, ...], given: Conditional, reml: bool
) -> tuple[Array, ...]:
    """Derivative of the criterion by the entries of every Lambda, shapes (q_f, q_f).

    With V = I + Z Lambda Lambda'Z' and e = y - X b, a change of Lambda_f changes the terms of eq. 35 and 42 by

        d log|L|^2   =  2 tr(sum_j Z_j'V^-1 Z_j Lambda_f dLambda_f')
        d log|R_X|^2 = -2 tr(sum_j Z_j'V^-1 X (R_X'R_X)^-1 X'V^-1 Z_j Lambda_f dLambda_f')
        d r^2        = -2 tr(sum_j Z_j'V^-1 e e'V^-1 Z_j Lambda_f dLambda_f')

    Z'V^-1 X and Z'V^-1 e are cross-products with what the conditional modes leave over of X and y.
    """
    slope = 1.0 if moments.known_se else degrees_of_freedom(moments, reml) / given.r2
    spread = _spread(moments, factors, given)
    gradients = []
    for Lambda, trace, (X_left, e_left) in zip(factors, spread, _left_over(moments, given), strict=True):
        fitted = slope * np.einsum("ja,jb->ab", e_left, e_left)
        if reml and moments.p:
            fitted = fitted + np.einsum("jap,pr,jbr->ab", X_left, given.b_cov, X_left)
        gradients.append(2 * (trace - fitted @ Lambda))
    return tuple(gradients)


# --- several factors ----------------------------------------------------------------------------------


def _with_y(f: FactorMoments) -> Array:
    """Z'[X y] of one factor, shape (J, q, p + 1)."""
    return np.concatenate([f.ZtX, f.Zty[:, :, None]], axis=2)


def _bordered(moments: Moments) -> Array:
    """[X y]'[X y], shape (p + 1, p + 1)."""
    p = moments.p
    D = np.empty((p + 1, p + 1))
    D[:p, :p], D[:p, p], D[p, :p], D[p, p] = moments.XtX, moments.Xty, moments.Xty, moments.yty
    return D


def _rest_rows(moments: Moments) -> Array:
    """R'[X y], shape (N, p + 1)."""
    return np.concatenate([_with_y(f).reshape(-1, moments.p + 1) for f in moments.factors[1:]])


def _by_factor(moments: Moments, rows: Array) -> list[Array]:
    """Cut rows of the other factors, shape (N, k), into (J_f, q_f, k)."""
    sizes = [f.Zty.size for f in moments.factors[1:]]
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    return [part.reshape(*f.Zty.shape, -1) for part, f in zip(parts, moments.factors[1:], strict=True)]


def _times_rest(moments: Moments, factors: tuple[Array, ...], rows: Array, transpose: bool = False) -> Array:
    """Lambda_r rows, or Lambda_r' rows, for rows of shape (N, k)."""
    parts = [
        (Lambda.T if transpose else Lambda) @ part
        for part, Lambda in zip(_by_factor(moments, rows), factors[1:], strict=True)
    ]
    return np.concatenate([part.reshape(-1, rows.shape[1]) for part in parts])


def _rest_factor(moments: Moments, factors: tuple[Array, ...]) -> Array:
    """Lambda_r as a matrix, shape (N, N)."""
    return _times_rest(moments, factors, np.eye(sum(f.Zty.size for f in moments.factors[1:])))


def _level_blocks(blocks: Array) -> Any:
    """A block-diagonal sparse matrix of (J, q, q) blocks."""
    from scipy.sparse import bsr_array

    J, q, _ = blocks.shape
    return bsr_array((np.ascontiguousarray(blocks), np.arange(J), np.arange(J + 1)), shape=(J * q, J * q)).tocsr()


def _eliminate(moments: Moments, factors: tuple[Array, ...], P: Array, modes: Array) -> tuple[Schur, Array, Array]:
    """Eliminate the first factor: C, the modes of the others for every column of [X y], and what these explain."""
    from scipy.linalg import cho_solve, cholesky

    assert moments.rest is not None
    Z1tR = moments.rest.Z1tR
    through = (_level_blocks(P) @ Z1tR).tocsr()
    C = moments.rest.RtR - (Z1tR.T @ through).toarray()
    CD = _rest_rows(moments) - Z1tR.T @ modes.reshape(-1, moments.p + 1)
    S = _times_rest(moments, factors, np.ascontiguousarray(_times_rest(moments, factors, C, True).T), True)
    S[np.diag_indices_from(S)] += 1.0
    L = cholesky(S, lower=True, overwrite_a=True, check_finite=False)
    scaled = _times_rest(moments, factors, CD, True)
    rest_modes = _times_rest(moments, factors, cho_solve((L, True), scaled, check_finite=False))
    return Schur(C, L, through), rest_modes, CD.T @ rest_modes


def _left_over(moments: Moments, given: Conditional) -> list[tuple[Array, Array]]:
    """Z'V^-1 X, shape (J_f, q_f, p), and Z'V^-1 e, shape (J_f, q_f), by factor."""
    p = moments.p
    modes = [
        np.concatenate([pull, u[:, :, None]], axis=2) for pull, u in zip(given.pull, given.u, strict=True)
    ]  # of X, and of e = y - X b
    rows = [_with_y(f) for f in moments.factors]
    found = [row - f.ZtZ @ mode for f, row, mode in zip(moments.factors, rows, modes, strict=True)]
    if moments.rest is not None:
        flat = np.concatenate([mode.reshape(-1, p + 1) for mode in modes[1:]])
        found[0] = rows[0] - moments.factors[0].ZtZ @ modes[0] - (moments.rest.Z1tR @ flat).reshape(rows[0].shape)
        others = _rest_rows(moments) - moments.rest.RtR @ flat
        others = others - moments.rest.Z1tR.T @ modes[0].reshape(-1, p + 1)
        found[1:] = _by_factor(moments, others)
    for part, f in zip(found, moments.factors, strict=True):
        part[:, :, p] -= f.ZtX @ given.b  # the column of y becomes that of e
    return [(part[:, :, :p], part[:, :, p]) for part in found]


def _spread(moments: Moments, factors: tuple[Array, ...], given: Conditional) -> list[Array]:
    """Sum over levels of Z_j'V^-1 Z_j Lambda_f, shape (q_f, q_f), by factor."""
    first = moments.factors[0]
    q = first.Zty.shape[1]
    keep = np.eye(q) - first.ZtZ @ given.P_first
    own = (keep @ first.ZtZ).sum(axis=0)
    if given.schur is None or moments.rest is None:
        return [own @ factors[0]]
    from scipy.linalg import cho_solve

    S_inverse = cho_solve((given.schur.cholesky, True), np.eye(len(given.schur.C)), check_finite=False)
    P_rest = _times_rest(moments, factors, np.ascontiguousarray(_times_rest(moments, factors, S_inverse).T))
    reach = (_level_blocks(keep) @ moments.rest.Z1tR).tocsr()
    for a in range(q):
        for b in range(q):
            own[a, b] -= np.sum(P_rest * (reach[a::q].T @ reach[b::q]).toarray())
    traces = [own @ factors[0]]
    CL = _times_rest(moments, factors, np.ascontiguousarray(given.schur.C.T), True).T  # C Lambda_r
    start = 0
    for f in moments.factors[1:]:
        Jf, qf = f.Zty.shape
        here = slice(start, start + Jf * qf)
        left, right = CL[here].reshape(Jf, qf, -1), S_inverse[here].reshape(Jf, qf, -1)
        traces.append(np.einsum("jan,jbn->ab", left, right))
        start = here.stop
    return traces

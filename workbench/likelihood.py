"""The one function of this project: the likelihood of (b, theta, sigma) with the group effects integrated out.

With u_j = Lambda s_j, s_j ~ N(0, sigma^2 I), and Lambda the relative covariance factor (lower triangular;
block-diagonal
where a factor has several blocks), Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01) write for the
data (their equation numbers):

    L_j L_j' = Lambda' Z_j'Z_j Lambda + I                                     (18)
    R_X'R_X  = X'X - sum_j X_j'Z_j P_j Z_j'X_j                                (18)
    r^2      = min over (b, s) of |y - X b - Z Lambda s|^2 + |s|^2            (14)

    deviance  -2 log L    = log|L|^2 + n [1 + log(2 pi r^2 / n)]                               (35)
    REML      -2 log L_R  = log|L|^2 + log|R_X|^2 + (n-p) [1 + log(2 pi r^2 / (n-p))]          (42)

both less the sum of the log weights. With a known residual SD of 1 (standard errors given), the last term
is r^2 + n log 2 pi (or n - p) instead. Per level, P_j = Lambda (Lambda'Z_j'Z_j Lambda + I)^-1 Lambda' is the
conditional covariance
of u_j given b, over sigma^2; it is finite and exact where Lambda is singular, zero included.

===========  ============================================================  ==============
symbol       name                                                          shape
===========  ============================================================  ==============
Lambda       ``factor``                                                    (q, q)
P_j          ``P``                                                         (J, q, q)
b            ``b`` (of the centred columns), ``fixed`` (the data's own)    (p,)
u_j          ``u`` conditional modes                                       (J, q)
===========  ============================================================  ==============
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.moments import Moments

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
    u : array, shape (J, q)
        Conditional modes of the effects at b.
    P : array, shape (J, q, q)
        Conditional covariance of the effects given b.
    pull : array, shape (J, q, p)
        How the modes answer to b: u_j(b + d) = u_j(b) - pull_j d.
    r2 : float
        Penalised residual sum of squares.
    log_det_L, log_det_RX : float
        log|L|^2 and log|R_X|^2.
    """

    b: Array
    b_cov: Array
    u: Array
    P: Array
    pull: Array
    r2: float
    log_det_L: float
    log_det_RX: float


def conditional(moments: Moments, factor: Array) -> Conditional:
    """Solve for b and u given the relative covariance factor: the mixed-model equations, level by level.

    Parameters
    ----------
    moments : Moments
    factor : array, shape (q, q)
        Lambda; lower triangular, may be singular.
    """
    f = moments.factor
    J, q = f.Zty.shape
    M = factor.T @ f.ZtZ @ factor + np.eye(q)
    L = np.linalg.cholesky(M)
    half = np.linalg.solve(L, np.broadcast_to(factor.T, (J, q, q)))
    P = np.swapaxes(half, 1, 2) @ half
    pull = P @ f.ZtX
    XX = moments.XtX - np.tensordot(f.ZtX, pull, axes=([0, 1], [0, 1]))
    Xy = moments.Xty - np.tensordot(pull, f.Zty, axes=([0, 1], [0, 1]))
    p = moments.p
    RX = np.linalg.cholesky(XX) if p else np.empty((0, 0))
    b_cov = np.linalg.solve(XX, np.eye(p)) if p else np.empty((0, 0))
    b = b_cov @ Xy
    score = f.Zty - f.ZtX @ b
    u = (P @ score[:, :, None])[:, :, 0]
    residual = moments.yty - 2 * b @ moments.Xty + b @ moments.XtX @ b
    return Conditional(
        b=b,
        b_cov=(b_cov + b_cov.T) / 2,
        u=u,
        P=P,
        pull=pull,
        r2=float(residual - np.sum(u * score)),
        log_det_L=float(2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum()),
        log_det_RX=float(2 * np.log(np.diag(RX)).sum()),
    )


def in_data_units(given: Conditional, to_data: Array) -> Conditional:
    """The same effects for the data's own varying columns, u -> to_data u (see ``FactorMoments.to_data``)."""
    return replace(given, u=given.u @ to_data.T, P=to_data @ given.P @ to_data.T, pull=to_data @ given.pull)


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


def criterion_gradient(moments: Moments, factor: Array, given: Conditional, reml: bool) -> Array:
    """Derivative of the criterion by the entries of Lambda, shape (q, q).

    From d log|M_j| = 2 tr(P~_j Z'Z dLambda) and dP_j = H_j dLambda F_j + (.)', where F_j = M_j^-1 Lambda' and
    H_j = I - P_j Z_j'Z_j. With e_j = Z_j'(y - X b), the terms of eq. 35 and 42 give

        d log|L|^2   =  2 sum tr(F_j Z'Z dLambda)
        d log|R_X|^2 = -2 sum tr(F_j Z'X (R_X'R_X)^-1 X'Z H_j dLambda)
        d r^2        = -2 sum tr(F_j e_j e_j' H_j dLambda)
    """
    f = moments.factor
    q = factor.shape[0]
    M = factor.T @ f.ZtZ @ factor + np.eye(q)
    F = np.linalg.solve(M, np.broadcast_to(factor.T, M.shape))
    H = np.eye(q) - given.P @ f.ZtZ
    e = f.Zty - f.ZtX @ given.b
    slope = 1.0 if moments.known_se else degrees_of_freedom(moments, reml) / given.r2
    inner = slope * e[:, :, None] * e[:, None, :]
    if reml and moments.p:
        inner = inner + f.ZtX @ given.b_cov @ np.swapaxes(f.ZtX, 1, 2)
    total = (F @ (f.ZtZ - inner @ H)).sum(axis=0)
    return np.asarray(2 * total.T)

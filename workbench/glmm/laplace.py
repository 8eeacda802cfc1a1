"""Laplace's approximation of the deviance, and its derivative by theta and b.

With s the conditional modes, F twice the negative log joint density there, and W an information of every row,

    d(theta, b) = F(s) + log|H|,      H = Lambda'Z'W Z Lambda + I

which is -2 log of the integral of the joint density over s, once the log density is replaced by its second-order
expansion at the mode. For canonical links W is the same whatever; for others it is the *observed* information (the
expansion itself) or the *expected* one (what lme4 takes).

The modes move with the parameters, and W with them. Let W_o be the observed information, H_o and P_o = Lambda H_o^-1
Lambda' what goes with it, l' the score by row, a_i = z_i'P z_i, c_i = a_i dW_i/d eta_i, and t = H_o^-1 Lambda'Z'c, v =
Lambda t. By the implicit function theorem, F being stationary in s,

    d d / d b         = X'r,                                                r = -2 l' + c - W_o Z v
    d d / d Lambda_f  = sum_j [ (Z_j'r) s_j' + (Z_j'l') t_j' ] + 2 (Z'W Z Lambda H^-1)_f

where the last is the sum of the diagonal blocks. Where b is at its mode given theta as well (the first stage of the
search), t comes with a part for b, and r has another -W_o X times it.

Sources: Tierney & Kadane (1986, doi:10.1080/01621459.1986.10478240); Breslow & Clayton (1993,
doi:10.1080/01621459.1993.10594284).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.glmm.pirls import Mode
from workbench.glmm.working import Working, leverages
from workbench.likelihood import Conditional, conditional, traces
from workbench.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Determinant:
    """The information that the determinant is made of, with what follows from it.

    Attributes
    ----------
    slope : array, shape (n,)
        Its derivative by eta.
    data, given : Moments, Conditional
    """

    slope: Array
    data: Moments
    given: Conditional


def determinant(working: Working, mode: Mode, expected: bool) -> Determinant:
    """log|H| of the expected or the observed information at a mode."""
    density = working.rows.density
    info = density.information(mode.eta, mode.terms, expected)
    if density.canonical or not expected:
        return Determinant(info.slope, mode.data, mode.given)
    data = working.moments(info.value, np.zeros_like(info.value), with_X=False)
    return Determinant(info.slope, data, conditional(data, mode.factors))


def laplace(working: Working, mode: Mode, det: Determinant) -> float:
    """-2 log of the approximate likelihood at a mode."""
    return mode.value + det.given.log_det_L - 2 * working.rows.constant


def laplace_gradient(working: Working, mode: Mode, det: Determinant) -> tuple[tuple[Array, ...], Array]:
    """Derivatives by the entries of every Lambda, (q_f, q_f) each, and by b, (p,).

    Where b is at its mode too, the first are those of the deviance with b following theta.
    """
    rows = working.rows
    schur = det.given.schur
    spread = leverages(rows, det.data, det.given.P, None if schur is None else schur.covariance)
    c = spread * det.slope
    answer = conditional(_with_response(mode.data, working, c), mode.factors)
    through = rows.X @ answer.b if mode.data.p else np.zeros_like(c)
    for f, v in zip(rows.factors, answer.u, strict=True):
        through += f.by_row(v.T)
    left = c - mode.terms.curve * through
    r = left - 2 * mode.terms.score
    found = []
    parts = zip(rows.factors, mode.factors, mode.s, traces(det.data, mode.factors, det.given), strict=True)
    for f, Lambda, s, trace in parts:
        t = Lambda.T @ f.by_level(left)
        found.append(f.by_level(r) @ s.T + f.by_level(mode.terms.score) @ t.T + 2 * trace)
    return tuple(found), rows.X.T @ r


def _with_response(data: Moments, working: Working, weighted: Array) -> Moments:
    """The same working regression with another weighted response, shape (n,)."""
    rows = working.rows
    factors = []
    for f, part in zip(rows.factors, data.factors, strict=True):
        B = part.B.copy()
        B[:, -1] = f.by_level(weighted)
        factors.append(replace(part, B=B))
    return replace(data, factors=tuple(factors), Xty=rows.X.T @ weighted if data.p else data.Xty)

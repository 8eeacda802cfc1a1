"""Second derivatives of the criterion by theta.

With V and D as in :mod:`workbench.likelihood`, let E and F be changes of D (symmetric), e = y - X b, nu the degrees of
freedom, and M = (R_X'R_X)^-1. Then (Lindstrom & Bates 1988, doi:10.1080/01621459.1988.10478693, for one factor)

    d2 log|L|^2   = - sum_j tr(K_j E K_j F)
    d2 log|R_X|^2 =   2 sum_j tr(M T_X' E K_j F T_X) - tr(M S_E M S_F),          S_E = sum_j T_X' E T_X
    d2 r^2        =   2 sum_j T_e' E K_j F T_e - 2 c_E' M c_F,                   c_E = sum_j T_X' E T_e

exactly, at about the cost of a gradient. For several factors the same needs dense products of all effects with all
effects. There the *average information* (Gilmour, Thompson & Cullis 1995, doi:10.2307/2533274) stands in: it replaces
the traces by their estimates from the data, so that all it needs is one solution of the mixed-model equations for every
entry of theta. It is near enough to steer by; what certifies the end is taken from differences of the gradient.

D = Lambda Lambda', so a change of theta moves it by E = dLambda Lambda' + Lambda dLambda', and second-order by
2 dLambda dLambda', which counts times the gradient by D.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from workbench.crossed import as_rows, by_factor
from workbench.likelihood import Conditional, Gradient, across, by_first, degrees_of_freedom
from workbench.moments import Moments

Array = NDArray[np.float64]
Entry = tuple[int, int, int]


def hessian(
    moments: Moments,
    factors: tuple[Array, ...],
    given: Conditional,
    gradient: Gradient,
    reml: bool,
    entries: tuple[Entry, ...],
) -> Array:
    """Second derivatives by entries of Lambda, shape (m, m), of a model with one grouping factor: exact.

    Parameters
    ----------
    gradient : Gradient
        At the same place (:func:`workbench.likelihood.criterion_gradient`).
    entries : tuple of (factor, row, column)
        The free entries, as :attr:`workbench.theta.Theta.entries`.
    """
    assert gradient.sums is not None
    sums, p, Lambda = gradient.sums, moments.p, factors[0]
    E = _changes(Lambda, entries)
    q, m = len(Lambda), len(entries)
    flat_E = E.reshape(m, -1)
    by_E = flat_E @ (2 * sums.QK - sums.KK).transpose(1, 2, 3, 0).reshape(q * q, q * q)  # (m, c d)
    second = by_E @ flat_E.T
    S = (flat_E @ sums.TT.swapaxes(1, 2).reshape(q * q, -1)).reshape(m, p + 1, p + 1)
    slope = 1.0 if moments.known_se else degrees_of_freedom(moments, reml) / given.r2
    if reml:
        MS = given.b_cov @ S[:, :p, :p]
        second -= MS.reshape(m, -1) @ MS.swapaxes(1, 2).reshape(m, -1).T
    c, fit = S[:, :p, p], S[:, p, p]
    second -= 2 * slope * c @ given.b_cov @ c.T
    if not moments.known_se:
        second -= slope**2 / degrees_of_freedom(moments, reml) * np.outer(fit, fit)
    return (second + second.T) / 2 + _of_second_order({0: sums.K - sums.Q}, entries)


def average_information(
    moments: Moments,
    factors: tuple[Array, ...],
    given: Conditional,
    gradient: Gradient,
    reml: bool,
    entries: tuple[Entry, ...],
) -> Array:
    """The average information for any number of factors, in place of the :func:`hessian`, shape (m, m)."""
    p, T = moments.p, gradient.left_over
    nu = degrees_of_freedom(moments, reml)
    slope = 1.0 if moments.known_se else nu / given.r2
    m = len(entries)
    # for every entry, E Z'V^-1 e: the response that the change of D makes of the residuals
    w = [np.zeros((f.Zty.shape[1], m, f.Zty.shape[0])) for f in moments.factors]
    for k, (f, a, b) in enumerate(entries):
        T_e, column = T[f][:, p], factors[f][:, b]
        w[f][a, k] += column @ T_e
        w[f][:, k] += column[:, None] * T_e[a]
    left = _left_over_of_effects(moments, given, w)
    inner = _total(across(a, b) for a, b in zip(w, left, strict=True))
    c = _total(across(a, t[:, :p]) for t, a in zip(T, w, strict=True))
    fit = _total(across(a, t[:, p:])[:, 0] for t, a in zip(T, w, strict=True))
    second = slope * (inner - c @ given.b_cov @ c.T)
    if not moments.known_se:
        second = second - slope**2 / nu * np.outer(fit, fit)
    by_D = {}
    for f, (G, Lambda) in enumerate(zip(gradient.by_factor, factors, strict=True)):
        if np.abs(np.diag(Lambda)).min() > STEEP:
            by_D[f] = G @ np.linalg.inv(Lambda) / 2
    return (second + second.T) / 2 + _of_second_order(by_D, entries)


STEEP = 1e-3
"""Below this, the gradient by D cannot be read off that by Lambda."""


def _total(parts: Iterable[Array]) -> Array:
    return np.sum(list(parts), axis=0)


def _changes(Lambda: Array, entries: tuple[Entry, ...]) -> Array:
    """How D moves with every entry of Lambda, shape (m, q, q)."""
    E = np.zeros((len(entries), *Lambda.shape))
    for k, (_, a, b) in enumerate(entries):
        E[k, a] += Lambda[:, b]
        E[k, :, a] += Lambda[:, b]
    return E


def _of_second_order(by_D: dict[int, Array], entries: tuple[Entry, ...]) -> Array:
    """2 tr(G dLambda_k dLambda_l'), with the gradient G by D of every factor that has one."""
    second = np.zeros((len(entries), len(entries)))
    for k, (f, a, b) in enumerate(entries):
        for m, (g, c, d) in enumerate(entries):
            if f == g and b == d and f in by_D:
                second[k, m] = by_D[f][a, c] + by_D[f][c, a]
    return second


def _left_over_of_effects(moments: Moments, given: Conditional, w: list[Array]) -> list[Array]:
    """Z_f'V^-1 Z w by factor, shape (q_f, m, J_f), for effects w of the same shapes."""
    first = moments.factors[0]
    rows = np.einsum("acj,ckj->akj", first.A, w[0])
    if moments.rest is None or given.schur is None:
        return [np.einsum("acj,ckj->akj", given.left, rows)]
    Z1tR, within_rest = moments.rest.Z1tR, moments.rest.within_rest
    others = as_rows(w[1:])
    rows = rows + by_first(Z1tR @ others, first)
    rest = Z1tR.T @ as_rows(w[:1]) + within_rest(others)
    alone = np.einsum("acj,ckj->akj", given.P, rows)
    modes = given.schur.solve(rest - Z1tR.T @ as_rows([alone]))
    through = by_first(Z1tR @ modes, first)
    own = alone - np.einsum("acj,ckj->akj", given.P, through)
    left = np.einsum("acj,ckj->akj", given.left, rows - through)
    return [left, *by_factor(moments, rest - within_rest(modes) - Z1tR.T @ as_rows([own]))]

"""Adaptive Gauss-Hermite quadrature of the likelihood, for one varying term of one grouping factor.

Level j contributes the integral of exp l_j(s) over its scalar effect u = lambda s, l_j(s) = sum_i log p(y_i | eta_i(s))
- s^2/2 - log(2 pi)/2. With s_j the mode, H_j = 1 + lambda^2 z_j'W z_j there and tau_j = H_j^(-1/2), the nodes x_k and
weights w_k of Gauss and Hermite are moved to where the integrand is,

    I_j  =  2^(1/2) tau_j sum_k w_k exp(x_k^2) exp l_j(s_jk),        s_jk = s_j + 2^(1/2) tau_j x_k

and the criterion is -2 sum_j log I_j. One node is Laplace's approximation. The nodes move with the parameters; with
pi_jk the nodes' shares of the sum, l_j' the derivative of l_j by s,

    d log I_j  =  sum_k pi_jk d l_j(s_jk) at fixed s_jk  +  a_j d s_j  -  b_j/2 d log H_j
    a_j = sum_k pi_jk l_j'(s_jk),      b_j = 1 + sum_k pi_jk l_j'(s_jk) 2^(1/2) tau_j x_k

and d s_j, d log H_j follow as in :mod:`workbench.glmm.laplace`: the derivative is that of the sum, however few its
nodes.

Sources: Liu & Pierce (1994, doi:10.1093/biomet/81.3.624); Pinheiro & Chao (2006, doi:10.1198/106186006X96962).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.glmm.laplace import Determinant
from workbench.glmm.pirls import Mode
from workbench.glmm.rows import Codes
from workbench.glmm.working import Working

Array = NDArray[np.float64]

MOST_NODES = 100
AT_ONCE = 1_000_000
"""Rows times nodes that are held at once."""


@dataclass(frozen=True, eq=False)
class Sums:
    """What the nodes come to (see the module's equations).

    Attributes
    ----------
    log : array, shape (J,)
        log I_j less l_j at the mode.
    a, b : array, shape (J,)
    score : array, shape (n,)
        sum_k pi_jk l'_i at the nodes.
    product : float
        sum_ijk pi_jk l'_i z_i s_jk.
    """

    log: Array
    a: Array
    b: Array
    score: Array
    product: float


def node_sums(working: Working, mode: Mode, det: Determinant, nodes: int) -> Sums:
    """Sum over the nodes about a mode."""
    f = working.rows.factors[0]
    z, lam, s = f.Z[0], float(mode.factors[0][0, 0]), mode.s[0][0]
    density = working.rows.density.at_nodes()
    tau = np.sqrt(det.given.left[0, 0])
    total, a, b, product = (np.zeros(f.J) for _ in range(4))
    score = np.zeros(len(z))
    for x, log_weight, flat in _pieces(f.codes, nodes):
        shape = f.J, len(x)
        away = np.sqrt(2) * tau[:, None] * x
        at = s[:, None] + away
        terms = density.terms(mode.eta[:, None] + (lam * z)[:, None] * away[f.codes])
        gain = np.bincount(flat, (terms.log - mode.terms.log[:, None]).ravel(), f.J * len(x)).reshape(shape)
        by_z = np.bincount(flat, (terms.score * z[:, None]).ravel(), f.J * len(x)).reshape(shape)
        v = np.exp(log_weight + gain - away * (at + s[:, None]) / 2)  # the mode is the largest: nothing overflows
        slope = v * (lam * by_z - at)
        total += v.sum(axis=1)
        a += slope.sum(axis=1)
        b += (slope * away).sum(axis=1)
        product += (v * at * by_z).sum(axis=1)
        score += (v[f.codes] * terms.score).sum(axis=1)
    log = np.log(tau * total) - 0.5 * np.log(np.pi)
    return Sums(log, a / total, 1 + b / total, score / total.take(f.codes), float((product / total).sum()))


@lru_cache(maxsize=16)
def _rule(nodes: int) -> tuple[Array, Array]:
    """Nodes of Gauss and Hermite, and log(w exp(x^2)) of each."""
    x, w = np.polynomial.hermite.hermgauss(nodes)
    return x, np.log(w) + x**2


def _pieces(codes: Codes, nodes: int) -> Iterator[tuple[Array, Array, Codes]]:
    """Some nodes at a time, with the place of every row and node among levels times nodes."""
    x, log_weight = _rule(nodes)
    step = max(1, AT_ONCE // len(codes))
    for begin in range(0, nodes, step):
        here = slice(begin, begin + step)
        K = len(x[here])
        yield x[here], log_weight[here], (codes[:, None] * K + np.arange(K)).ravel()


def quadrature(working: Working, mode: Mode, sums: Sums) -> float:
    """-2 log of the likelihood by quadrature."""
    return mode.value - 2 * float(sums.log.sum()) - 2 * working.rows.constant


def quadrature_gradient(working: Working, mode: Mode, det: Determinant, sums: Sums) -> tuple[Array, Array]:
    """Derivatives by Lambda, shape (1, 1), and by b, (p,), at a mode given b."""
    rows = working.rows
    f, lam, s = rows.factors[0], float(mode.factors[0][0, 0]), mode.s[0][0]
    P, left = det.given.P[0, 0], det.given.left[0, 0]
    c = (P * sums.b).take(f.codes) * f.Z[0] ** 2 * det.slope
    t = mode.given.left[0, 0] * (lam * f.by_level(c)[0] - 2 * sums.a)
    moved = c - mode.terms.curve * f.by_row(lam * t[None])
    by_Lambda = float(f.by_level(moved)[0] @ s + f.by_level(mode.terms.score)[0] @ t) - 2 * sums.product
    by_Lambda += 2 * lam * float(sums.b @ (left * det.data.factors[0].A[0, 0]))
    return np.array([[by_Lambda]]), rows.X.T @ (moved - 2 * sums.score)

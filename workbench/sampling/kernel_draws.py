"""Draws of b and of the group effects given the variances, as compiled loops: notation of :mod:`~.kernel`."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import njit

from workbench.sampling.kernel import invert, leftover


@njit(cache=True, error_model="numpy")
def cholesky(M):
    """The lower factor of a covariance, singular ones included, in place of what is on and below its diagonal."""
    q = len(M)
    for k in range(q):
        pivot = M[k, k]
        for m in range(k):
            pivot -= M[k, m] ** 2
        root = sqrt(pivot) if pivot > 0 else 0.0
        M[k, k] = root
        for i in range(k + 1, q):
            entry = M[i, k]
            for m in range(k):
                entry -= M[i, m] * M[k, m]
            M[i, k] = entry / root if root > 0 else 0.0


@njit(cache=True, error_model="numpy")
def draw_b(A, B, counts, whole, rows, D, sigma, z, b):
    """Draw b of the centred columns, given D and sigma, from standard normal z, (p,), into `b`."""
    p = len(b)
    explained = leftover(A, B, counts, D)[3]
    M, covariance = np.empty((p, p)), np.empty((p, p))
    for k in range(p):
        for m in range(p):
            M[k, m] = whole[k, m] - explained[k, m] + sigma**2 * rows[k, m]
    invert(M, covariance)
    for k in range(p):
        b[k] = 0.0
        for m in range(p):
            b[k] += covariance[k, m] * (whole[m, p] - explained[m, p] + sigma**2 * rows[m, p])
    cholesky(covariance)
    for k in range(p):
        for m in range(k + 1):
            b[k] += sigma * covariance[k, m] * z[m]


@njit(cache=True, error_model="numpy")
def draw_u(A, B, D, sigma, b, to_data, z):
    """Turn standard normal z, (J, q), into draws of the effects of the data's own columns, given D, sigma and b."""
    J, q, width = B.shape
    M, F, P = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    own, effect = np.empty(q), np.empty(q)
    for j in range(J):
        for a in range(q):
            for c in range(q):
                entry = 1.0 if a == c else 0.0
                for m in range(q):
                    entry += A[j, a, m] * D[m, c]
                M[a, c] = entry
        invert(M, F)
        for a in range(q):
            for c in range(q):
                entry = 0.0
                for m in range(q):
                    entry += D[a, m] * F[m, c]
                P[a, c] = entry
            own[a] = B[j, a, width - 1]
            for k in range(width - 1):
                own[a] -= B[j, a, k] * b[k]
        for a in range(q):
            effect[a] = 0.0
            for c in range(q):
                effect[a] += P[a, c] * own[c]
        cholesky(P)
        for a in range(q):
            for c in range(a + 1):
                effect[a] += sigma * P[a, c] * z[j, c]
        for a in range(q):
            z[j, a] = 0.0
            for c in range(q):
                z[j, a] += to_data[a, c] * effect[c]

"""The posterior density with the group effects integrated out, and its gradient, as compiled loops.

What this computes is in :mod:`workbench.sampling.collapsed`; here it is written in loops over levels, which numba
compiles once and keeps on disk. Of one grouping factor, with Lambda the relative covariance factor, D = Lambda Lambda',
and A_j = Z_j'Z_j, B_j = Z_j'[X y] (:mod:`workbench.likelihood`):

    F_j = (I + A_j D)^-1,     T_j = F_j B_j,     R = [X y]'[X y] + sigma^2 (rows of the prior of b) - sum_j B_j'D T_j

With e = (-b, 1), -2 log p(y | ...) = log|L|^2 (+ log|R_X|^2) + e'R e / sigma^2 + nu log sigma^2, and its slope by D is

    H = sum_j F_j A_j - T_jX R_X^-1 T_jX' - T_j e e'T_j' / sigma^2

(the middle term where b is integrated). Coordinates are log sd and log sigma (of Uniform priors, the logit of where in
the interval), and y = artanh of the canonical partial correlations, by which the rows of a correlation's Cholesky
factor are

    L_i = (tanh y_1, sech y_1 tanh y_2, ..., sech y_1 ... sech y_(i-1))
"""

from __future__ import annotations

from math import exp, log, log1p, tanh

import numpy as np
from numba import njit

HALF_NORMAL, HALF_T, EXPONENTIAL, GAMMA, UNIFORM, FLAT, NORMAL, T = range(8)
"""Kinds of priors: a half-Cauchy is a half-t of one degree of freedom."""


@njit(cache=True, error_model="numpy")
def prior(kind, v, x):
    """Log density of a prior, up to its constant, and its slope."""
    if kind == HALF_NORMAL:
        return -0.5 * (x / v[0]) ** 2, -x / v[0] ** 2
    if kind == HALF_T:
        z = x / v[1]
        return -0.5 * (v[0] + 1) * log1p(z * z / v[0]), -(v[0] + 1) * z / (v[0] + z * z) / v[1]
    if kind == EXPONENTIAL:
        return -v[0] * x, -v[0]
    if kind == GAMMA:
        return (v[0] - 1) * log(x) - v[1] * x, (v[0] - 1) / x - v[1]
    if kind == NORMAL:
        return -0.5 * ((x - v[0]) / v[1]) ** 2, -(x - v[0]) / v[1] ** 2
    if kind == T:
        z = (x - v[1]) / v[2]
        return -0.5 * (v[0] + 1) * log1p(z * z / v[0]), -(v[0] + 1) * z / (v[0] + z * z) / v[2]
    return 0.0, 0.0


@njit(cache=True, error_model="numpy")
def positive(kind, v, x):
    """A standard deviation at its coordinate, its slope there, and the log of that with its own slope."""
    if kind == UNIFORM:
        share = 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))
        wide = v[1] - v[0]
        log_both = -abs(x) - 2 * log1p(exp(-abs(x)))  # log share (1 - share)
        return v[0] + wide * share, wide * share * (1 - share), log(wide) + log_both, 1 - 2 * share
    value = exp(x)
    return value, value, x, 1.0


@njit(cache=True, error_model="numpy")
def unpack(x, sizes, kinds, values, etas, known_sigma):
    """Standard deviations, correlation factors and sigma at coordinates; with the log prior and its slopes.

    `x` holds, block by block, sds and then partial correlations row by row; sigma comes last. `kinds` (m,) and `values`
    (m, 3) are the priors of the sds in that order, then of sigma; `etas` (K,) those of the correlations.
    """
    K, widest, terms = len(sizes), 0, 0
    for k in range(K):
        widest, terms = max(widest, sizes[k]), terms + sizes[k]
    s, ds = np.zeros(terms), np.zeros(terms)
    L = np.zeros((K, widest, widest))
    slope = np.zeros(len(x))
    total, at, term = 0.0, 0, 0
    for k in range(K):
        q = sizes[k]
        for _ in range(q):
            s[term], ds[term], log_ds, more = positive(kinds[term], values[term], x[at])
            here, by_s = prior(kinds[term], values[term], s[term])
            total += here + log_ds
            slope[at] = by_s * ds[term] + more
            at += 1
            term += 1
        L[k, 0, 0] = 1.0
        for i in range(1, q):
            left = 1.0
            for j in range(i):
                y = x[at]
                shape = etas[k] + 0.5 * (q - 2 - j)
                sine, size = tanh(y), abs(y)
                cosine = 2 * exp(-size) / (1 + exp(-2 * size))
                L[k, i, j] = left * sine
                left *= cosine
                total += 2 * shape * (log(2.0) - size - log1p(exp(-2 * size)))
                slope[at] = -2 * shape * sine
                at += 1
            L[k, i, i] = left
    sigma, dsigma = 1.0, 0.0
    if not known_sigma:
        sigma, dsigma, log_ds, more = positive(kinds[term], values[term], x[at])
        here, by_sigma = prior(kinds[term], values[term], sigma)
        total += here + log_ds
        slope[at] = by_sigma * dsigma + more
    return s, ds, L, sigma, dsigma, total, slope


@njit(cache=True, error_model="numpy")
def pull_back(x, sizes, s, ds, L, by_root, slope):
    """Add to `slope` what a slope by the roots diag(s) L, (K, q, q), is by the coordinates."""
    at, term = 0, 0
    for k in range(len(sizes)):
        q, first = sizes[k], term
        for a in range(q):
            own = 0.0
            for b in range(a + 1):
                own += by_root[k, a, b] * L[k, a, b]
            slope[at] += own * ds[term]
            at += 1
            term += 1
        for i in range(1, q):
            left = 1.0
            for j in range(i):
                y = x[at]
                sine, size = tanh(y), abs(y)
                cosine = 2 * exp(-size) / (1 + exp(-2 * size))
                after = 0.0
                for m in range(j + 1, i + 1):
                    after += by_root[k, i, m] * L[k, i, m]
                slope[at] += s[first + i] * (by_root[k, i, j] * left * cosine * cosine - sine * after)
                left *= cosine
                at += 1


@njit(cache=True, error_model="numpy")
def invert(M, inverse):
    """The inverse of a matrix by elimination with row exchanges, and the log of its determinant's size; M is spoilt."""
    q = len(M)
    for i in range(q):
        for j in range(q):
            inverse[i, j] = 1.0 if i == j else 0.0
    log_det = 0.0
    for k in range(q):
        best = k
        for i in range(k + 1, q):
            if abs(M[i, k]) > abs(M[best, k]):
                best = i
        if best != k:
            for j in range(q):
                M[k, j], M[best, j] = M[best, j], M[k, j]
                inverse[k, j], inverse[best, j] = inverse[best, j], inverse[k, j]
        pivot = M[k, k]
        if pivot == 0.0:
            return -np.inf
        log_det += log(abs(pivot))
        for j in range(q):
            M[k, j] /= pivot
            inverse[k, j] /= pivot
        for i in range(q):
            if i != k and M[i, k] != 0.0:
                times = M[i, k]
                for j in range(q):
                    M[i, j] -= times * M[k, j]
                    inverse[i, j] -= times * inverse[k, j]
    return log_det


@njit(cache=True, error_model="numpy")
def leftover(A, B, counts, D):
    """F_j B_j, (J, q, p + 1), with log|L|^2, the sum of counts F_j A_j, (q, q), and that of B_j'D F_j B_j."""
    J, q, width = B.shape
    left = np.empty((J, q, width))
    trace, explained = np.zeros((q, q)), np.zeros((width, width))
    M, F, DB = np.empty((q, q)), np.empty((q, q)), np.empty((q, width))
    log_det = 0.0
    for j in range(J):
        for a in range(q):
            for b in range(q):
                entry = 1.0 if a == b else 0.0
                for c in range(q):
                    entry += A[j, a, c] * D[c, b]
                M[a, b] = entry
        log_det += counts[j] * invert(M, F)
        for a in range(q):
            for b in range(q):
                entry = 0.0
                for c in range(q):
                    entry += F[a, c] * A[j, c, b]
                trace[a, b] += counts[j] * entry
            for k in range(width):
                entry = 0.0
                for c in range(q):
                    entry += F[a, c] * B[j, c, k]
                left[j, a, k] = entry
        for a in range(q):
            for k in range(width):
                entry = 0.0
                for c in range(q):
                    entry += D[a, c] * left[j, c, k]
                DB[a, k] = entry
        for k in range(width):
            for m in range(k, width):
                entry = 0.0
                for a in range(q):
                    entry += B[j, a, k] * DB[a, m]
                explained[k, m] += entry
    for k in range(width):
        for m in range(k):
            explained[k, m] = explained[m, k]
    return left, log_det, trace, explained


@njit(cache=True, error_model="numpy")
def off(left, j, a, b):
    """T_ja (-b, 1): what row a of level j leaves over of y - X b."""
    p = len(b)
    value = left[j, a, p]
    for k in range(p):
        value -= left[j, a, k] * b[k]
    return value


@njit(cache=True, error_model="numpy")
def quadratic(R, b):
    """(-b, 1)'R (-b, 1)."""
    p = len(b)
    value = R[p, p]
    for k in range(p):
        value -= 2 * b[k] * R[k, p]
        for m in range(p):
            value += b[k] * R[k, m] * b[m]
    return value


@njit(cache=True, error_model="numpy")
def likelihood(A, B, counts, whole, rows, n, D, sigma, b, by_b, integrated):
    """-2 log p(y | D, sigma), b integrated or given, and its slopes by D and log sigma.

    `rows` are the prior's, of b and y. Where b is integrated, what it is given D and sigma is written into `b`;
    else the slope by b is written into `by_b`.
    """
    left, log_det, H, explained = leftover(A, B, counts, D)
    p, q = len(b), len(D)
    R, M, covariance = np.empty((p + 1, p + 1)), np.empty((p, p)), np.empty((p, p))
    for k in range(p + 1):
        for m in range(p + 1):
            R[k, m] = whole[k, m] - explained[k, m]
            if integrated:
                R[k, m] += sigma**2 * rows[k, m]
    nu, added = n, 0.0
    if integrated:
        for k in range(p):
            for m in range(p):
                M[k, m] = R[k, m]
        log_det += invert(M, covariance)
        for k in range(p):
            b[k] = 0.0
            for m in range(p):
                b[k] += covariance[k, m] * R[m, p]
                added += sigma**2 * covariance[k, m] * rows[k, m]
        added += quadratic(rows, b)
        nu = n - p
    else:
        for k in range(p):
            by_b[k] = -2 * R[k, p] / sigma**2
            for m in range(p):
                by_b[k] += 2 * R[k, m] * b[m] / sigma**2
    r2 = quadratic(R, b)
    for j in range(len(left)):
        for a in range(q):
            own = off(left, j, a, b) / sigma**2
            for c in range(q):
                taken = own * off(left, j, c, b)
                if integrated:
                    for k in range(p):
                        for m in range(p):
                            taken += left[j, a, k] * covariance[k, m] * left[j, c, m]
                H[a, c] -= taken
    by_log_sigma = 2 * nu + 2 * added - 2 * r2 / sigma**2
    for a in range(q):
        for c in range(q):
            by_log_sigma -= 2 * H[a, c] * D[a, c]
    return 2 * nu * log(sigma) + log_det + r2 / sigma**2, H, by_log_sigma


@njit(cache=True, error_model="numpy")
def product(left, right, transpose_left, transpose_right):
    """The product of two square matrices, or of their transposes: small ones, for which BLAS takes long to start."""
    q = len(left)
    made = np.zeros((q, q))
    for a in range(q):
        for b in range(q):
            for c in range(q):
                one = left[c, a] if transpose_left else left[a, c]
                made[a, b] += one * (right[b, c] if transpose_right else right[c, b])
    return made


@njit(cache=True, error_model="numpy")
def of_variances(
    x, sizes, kinds, values, etas, known_sigma, A, B, counts, whole, rows, n, to_columns, b, by_b, integrated
):
    """Log posterior density of the coordinates of the variances, up to a constant, and its gradient.

    b is integrated, or given, as :func:`likelihood` takes it. (Compiled code that calls this one is compiled with it,
    which takes seconds: a function of x alone is not worth them.)
    """
    s, ds, L, sigma, dsigma, total, slope = unpack(x, sizes, kinds, values, etas, known_sigma)
    Q, own, at = len(s), np.zeros((len(s), len(s))), 0
    for k in range(len(sizes)):
        for a in range(sizes[k]):
            for c in range(a + 1):
                own[at + a, at + c] = s[at + a] * L[k, a, c]
        at += sizes[k]
    root = product(to_columns, own, False, False)
    D = product(root, root, False, True)
    for a in range(Q):
        for c in range(Q):
            D[a, c] /= sigma**2
    value, H, by_log_sigma = likelihood(A, B, counts, whole, rows, n, D, sigma, b, by_b, integrated)
    by_own = product(to_columns, product(H, root, False, False), True, False)
    by_root, at = np.zeros((len(sizes), L.shape[1], L.shape[1])), 0
    for k in range(len(sizes)):
        for a in range(sizes[k]):
            for c in range(a + 1):
                by_root[k, a, c] = -by_own[at + a, at + c] / sigma**2
        at += sizes[k]
    pull_back(x, sizes, s, ds, L, by_root, slope)
    if not known_sigma:
        slope[-1] -= 0.5 * by_log_sigma * dsigma / sigma
    return total - 0.5 * value, slope


@njit(cache=True, error_model="numpy")
def log_density_with_b(
    x, sizes, kinds, values, etas, known_sigma, A, B, counts, whole, n, to_columns, centre, spread, to_b, origin,
    kinds_b, values_b,
):  # fmt: skip
    """Log posterior density and its gradient with b among the coordinates, first: b = centre + spread z for the data's
    own columns.
    """
    p = len(centre)
    of_data, b, by_b = np.empty(p), np.zeros(p), np.zeros(p)
    for k in range(p):
        of_data[k] = centre[k]
        for m in range(p):
            of_data[k] += spread[k, m] * x[m]
    for k in range(p):
        for m in range(p):
            b[k] += to_b[k, m] * (of_data[m] - origin[m])
    total, slope = of_variances(
        x[p:], sizes, kinds, values, etas, known_sigma, A, B, counts, whole, whole, n, to_columns, b, by_b, False
    )
    gradient = np.zeros(len(x))
    for k in range(p):
        here, by_own = prior(kinds_b[k], values_b[k], of_data[k])
        total += here
        if kinds_b[k] == UNIFORM and not values_b[k, 0] <= of_data[k] <= values_b[k, 1]:
            total = -np.inf
        for m in range(p):
            by_own -= 0.5 * to_b[m, k] * by_b[m]
        for m in range(p):
            gradient[m] += spread[k, m] * by_own
    for k in range(p, len(x)):
        gradient[k] = slope[k - p]
    return total, gradient

"""The LKJ distribution of correlation matrices: its log density, and draws.

Source: Lewandowski, Kurowicka & Joe (2009, doi:10.1016/j.jmva.2009.04.008).
"""

from __future__ import annotations

from math import inf, lgamma, log

import numpy as np
from numpy.typing import NDArray


def lkj_log_density(correlation: np.ndarray, eta: float) -> float:
    """Log density of the LKJ(eta) distribution at a correlation matrix of shape (q, q), normalised.

    Source: Lewandowski, Kurowicka & Joe (2009), eq. 16, doi:10.1016/j.jmva.2009.04.008.
    """
    q = correlation.shape[0]
    sign, log_det = np.linalg.slogdet(correlation)
    if sign <= 0:
        return -inf
    log_constant = 0.0
    for k in range(1, q):
        log_constant += (2 * eta - 2 + q - k) * (q - k) * log(2)
        a = eta + (q - k - 1) / 2
        log_constant += (q - k) * (2 * lgamma(a) - lgamma(2 * a))
    return float((eta - 1) * log_det - log_constant)


def lkj_draw(rng: np.random.Generator, eta: float, terms: int, size: int | tuple[int, ...] = ()) -> NDArray[np.float64]:
    """Random correlation matrices with the LKJ(eta) distribution, by partial correlations.

    The partial correlation of terms i < j, given the terms before i, is 2 B - 1 with B ~ Beta(a_i, a_i) and
    a_i = eta + (terms - 1 - i) / 2 for i = 1, ..., terms - 1, all independent. Each fills one entry of the Cholesky
    factor, row j, column i.

    Parameters
    ----------
    rng : numpy.random.Generator
    eta : float
    terms : int
        Order q of the matrices.
    size : int or tuple of int
        How many; one by default.

    Returns
    -------
    array of shape (*size, q, q)

    Notes
    -----
    Source: Lewandowski, Kurowicka & Joe (2009), section 2.4 (C-vine), doi:10.1016/j.jmva.2009.04.008.

    Examples
    --------
    >>> lkj_draw(np.random.default_rng(1), 2.0, 2).round(3).tolist()
    [[1.0, 0.005], [0.005, 1.0]]
    """
    shape = (size,) if isinstance(size, int) else size
    root, rest = np.zeros((*shape, terms, terms)), np.ones((*shape, terms))  # rest: of row j's length 1, what is left
    for i in range(terms - 1):
        root[..., i, i] = np.sqrt(rest[..., i])
        a, below = eta + (terms - 2 - i) / 2, slice(i + 1, None)
        partial = 2 * rng.beta(a, a, (*shape, terms - 1 - i)) - 1
        root[..., below, i] = partial * np.sqrt(rest[..., below])
        rest[..., below] *= 1 - partial**2
    root[..., -1, -1] = np.sqrt(rest[..., -1])
    matrix = root @ root.swapaxes(-1, -2)
    matrix[..., np.arange(terms), np.arange(terms)] = 1.0
    return np.asarray(matrix)

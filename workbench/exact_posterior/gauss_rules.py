"""Gauss rules of discrete measures: many nodes condensed to the few that integrate smooth functions as well.

Golub & Welsch (1969, doi:10.1090/S0025-5718-69-99647-1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPENT = 1e-10
"""The spread of what is left of a measure, over the range of its nodes, that is rounding."""


def gauss(nodes: Array, weights: Array, order: int) -> tuple[Array, Array]:
    """The Gauss rules of discrete measures: the nodes and weights that integrate polynomials of degree 2 order - 1.

    These are eigenvalues, and squares of entries of the eigenvectors, of their :func:`jacobi` matrices.

    Parameters
    ----------
    nodes : array, shape (K,)
    weights : array, shape (B, K)
        One measure a row, not negative, of sum one.
    order : int
        At most K.

    Returns
    -------
    nodes, weights : array, shape (B, order)

    Examples
    --------
    >>> x, w = gauss(np.array([-1.0, 0.0, 1.0]), np.array([[0.25, 0.5, 0.25]]), 2)
    >>> x.round(6).tolist(), w.round(6).tolist()
    ([[-0.707107, 0.707107]], [[0.5, 0.5]])
    """
    return rule_of(jacobi(nodes, weights, order))


def rule_of(matrices: Array) -> tuple[Array, Array]:
    """Nodes and weights, shape (B, order), of Jacobi matrices; the leading parts of these have rules of lower order."""
    values, vectors = np.linalg.eigh(matrices)
    return values, vectors[:, 0] ** 2


def jacobi(nodes: Array, weights: Array, order: int) -> Array:
    """The recurrences of polynomials orthonormal under discrete measures, (B, order, order), by Lanczos's method."""
    B, K = weights.shape
    basis = np.zeros((B, order + 1, K))  # Lanczos: polynomials orthonormal under the measures, times root weights
    basis[:, 0] = np.sqrt(weights)
    diagonal, beside = np.zeros((B, order)), np.zeros((B, order))
    for k in range(order):
        following = nodes * basis[:, k]
        diagonal[:, k] = (following * basis[:, k]).sum(axis=1)
        known = basis[:, : k + 1]
        for _ in range(1 + (order > 8)):  # against all of them, and twice where there are many: orthogonal to rounding
            following -= ((known @ following[:, :, None]).swapaxes(1, 2) @ known)[:, 0]
        size = np.sqrt((following**2).sum(axis=1))
        more = size > SPENT * np.ptp(nodes)  # else the measure has no more than k + 1 nodes that count
        beside[:, k] = np.where(more, size, 0.0)
        basis[:, k + 1] = np.where(more[:, None], following / np.where(more, size, 1.0)[:, None], 0.0)
        diagonal[:, k] = np.where(basis[:, k].any(axis=1), diagonal[:, k], diagonal[:, 0])
    J = np.zeros((B, order, order))
    here = np.arange(order)
    J[:, here, here] = diagonal
    J[:, here[:-1], here[1:]] = J[:, here[1:], here[:-1]] = beside[:, :-1]
    return J

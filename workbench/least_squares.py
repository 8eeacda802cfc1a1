"""Weighted least squares of rows, by Householder's QR decomposition.

The decomposition is of [X y] with each row times the root of its weight, and only its triangle is kept: it holds the
coefficients, their covariance and the residual sum of squares, and loses no digits to cross-products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """What a regression on independent columns gives.

    Attributes
    ----------
    coefficients : array, shape (p,)
    cov : array, shape (p, p)
        Over sigma^2: (X'W X)^-1.
    rss : float
        The weighted residual sum of squares.
    """

    coefficients: Array
    cov: Array
    rss: float


def least_squares(X: Array, y: Array, weights: Array) -> LeastSquares:
    """Minimise sum w (y - X b)^2 over b.

    Parameters
    ----------
    X : array, shape (n, p)
        Independent columns, at most as many as rows; none is fine.
    y, weights : array, shape (n,)

    Raises
    ------
    numpy.linalg.LinAlgError
        A column is exactly explained by others.

    Examples
    --------
    >>> found = least_squares(np.array([[1.0, 0], [1, 1], [1, 2]]), np.array([1.0, 2, 5]), np.array([1.0, 1, 1]))
    >>> found.coefficients.round(12).tolist(), found.cov.round(3).tolist(), round(found.rss, 12)
    ([0.666666666667, 2.0], [[0.833, -0.5], [-0.5, 0.5]], 0.666666666667)
    """
    p = X.shape[1]
    rows = np.column_stack([X, y])
    rows *= np.sqrt(weights)[:, None]
    triangle = np.linalg.qr(rows, mode="r")
    inverse = np.linalg.inv(triangle[:p, :p])
    coefficients = np.linalg.solve(triangle[:p, :p], triangle[:p, p])
    return LeastSquares(coefficients, inverse @ inverse.T, float(triangle[p:, p] @ triangle[p:, p]))


def deviance(rss: float, weights: Array, known_se: bool) -> float | None:
    """Minus twice the maximised log likelihood of rows with variance sigma^2 / weight.

    Parameters
    ----------
    rss : float
        The weighted residual sum of squares; sigma^2 is rss / n.
    weights : array, shape (n,)
    known_se : bool
        sigma^2 is 1 and not estimated.

    Returns
    -------
    float or None
        None where nothing is left over: the likelihood then has no maximum.

    Examples
    --------
    >>> round(deviance(3.0, np.array([1.0, 1, 1]), known_se=False), 6)   # n (log 2 pi + 1)
    8.513631
    """
    n = len(weights)
    spread = 1.0 if known_se else rss / n
    if spread == 0:
        return None
    return float(n * np.log(2 * np.pi * spread) + rss / spread - np.log(weights).sum())

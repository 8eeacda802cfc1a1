"""The likelihood of :mod:`workbench.likelihood` as a textbook derives it: explicit n x n matrices and inverses.

    y = X b + Z u + e,      u ~ N(0, sigma^2 D),      e ~ N(0, sigma^2 W^-1)

so that, with u integrated out, y ~ N(X b, sigma^2 V) with V = W^-1 + Z D Z'. Given V everything has a closed form:

    C       = (X'V^-1 X)^-1                  sigma^2 C is the covariance of b
    b       = C X'V^-1 y                     generalised least squares
    r^2     = (y - X b)'V^-1 (y - X b)
    sigma^2 = r^2 / (n - p)   or   r^2 / n   REML, ML
    u       = D Z'V^-1 (y - X b)             the best linear unbiased prediction (BLUP)

What is left is a function of theta alone, which D depends on: :func:`profiled_ml` and :func:`profiled_reml`. Sources:
Patterson & Thompson (1971, doi:10.1093/biomet/58.3.545) for restricting the likelihood, Harville (1977,
doi:10.2307/2286796) for the BLUP, Lindstrom & Bates (1988, doi:10.1080/01621459.1988.10478693) for profiling.

For ``(x | g)``, theta = (sd_1/sigma, sd_2/sigma, rho). A term ``(1 | g)`` brings one sd/sigma; a term with q varying
columns brings q of them and q (q - 1)/2 partial correlations (:func:`correlation_matrix`). The terms' entries stand one
after another.

===========  ==================================================  =====================
symbol       name                                                shape
===========  ==================================================  =====================
Z            ``Dense.Z``, one column per level and varying       (n, N)
             column, term after term, level after level
D            ``relative_covariance(model, theta)``               (N, N)
V            ``marginal(model, theta)``                          (n, n)
===========  ==================================================  =====================

Every evaluation costs n^3, so this is for teaching, and for checking the block algebra, with which it shares no code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, check_gaussian
from workbench.errors import DesignError

Array = NDArray[np.float64]

MOST_ROWS = 3000
"""Beyond this, one inverse of V takes seconds, and a search needs hundreds."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A design written out as matrices (see the module's table); `y` is less the offset, (n,).

    Attributes
    ----------
    noise : array, shape (n,)
        The diagonal of W^-1.
    shapes : tuple of (int, int)
        Levels and varying columns, (J, q), of every random term.
    known_se : bool
        sigma is 1 and not estimated.
    """

    y: Array
    X: Array
    Z: Array
    noise: Array
    shapes: tuple[tuple[int, int], ...]
    known_se: bool

    def __post_init__(self) -> None:
        for name in ("y", "X", "Z", "noise"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def dense(design: Design) -> Dense:
    """Write out a Gaussian design.

    Raises
    ------
    DesignError
        More than `MOST_ROWS` rows.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> dense(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0], "g": list("aab")})).Z.tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    check_gaussian(design, "reml_textbook")
    if design.n > MOST_ROWS:
        raise DesignError(
            f"reml_textbook inverts a matrix of rows x rows at every step, and there are {design.n:,} rows; it takes "
            f"up to {MOST_ROWS:,}. Use reml or ml, which give the same numbers from cross-products."
        )
    parts = []
    for block in design.blocks:
        J, q = len(block.levels), len(block.terms)
        own = np.zeros((design.n, J, q))
        own[np.arange(design.n), block.codes] = block.Z
        parts.append(own.reshape(design.n, J * q))
    return Dense(
        y=design.y - design.offset,
        X=design.X,
        Z=np.hstack(parts),
        noise=1 / design.weights,
        shapes=tuple((len(block.levels), len(block.terms)) for block in design.blocks),
        known_se=design.known_se,
    )


# --- theta -> D -> V ----------------------------------------------------------------------------------


def correlation_matrix(partial: Array, q: int) -> Array:
    """Build a correlation matrix, shape (q, q), from q (q - 1)/2 partial correlations, each free in [-1, 1].

    `partial` goes through the rows below the diagonal. The first column holds correlations with the first term, the
    second those with the second term *given the first*, and so on, so that every choice gives a proper matrix
    (Lewandowski, Kurowicka & Joe 2009, doi:10.1016/j.jmva.2009.04.008). For q = 2 it is rho itself.

    Examples
    --------
    >>> correlation_matrix(np.array([0.6]), 2).tolist()
    [[1.0, 0.6], [0.6, 1.0]]
    """
    root = np.eye(q)
    for (row, column), rho in zip(zip(*np.tril_indices(q, -1), strict=True), partial, strict=True):
        root[row, column] = rho * root[row, row]
        root[row, row] *= np.sqrt(1 - rho**2)
    matrix = root @ root.T
    np.fill_diagonal(matrix, 1.0)
    return matrix


def term_covariances(model: Dense, theta: Array) -> tuple[Array, ...]:
    """Covariance over sigma^2 of one level's effects, shape (q, q), for every random term."""
    found, start = [], 0
    for _, q in model.shapes:
        sds, start = theta[start : start + q], start + q
        partial, start = theta[start : start + q * (q - 1) // 2], start + q * (q - 1) // 2
        found.append(np.outer(sds, sds) * correlation_matrix(partial, q))
    return tuple(found)


def relative_covariance(model: Dense, theta: Array) -> Array:
    """D, shape (N, N): the same block for every level of a term, zero between levels and between terms."""
    D = np.zeros((model.Z.shape[1], model.Z.shape[1]))
    start = 0
    for (J, q), block in zip(model.shapes, term_covariances(model, theta), strict=True):
        here = slice(start, start + J * q)
        D[here, here] = np.kron(np.eye(J), block)
        start = here.stop
    return D


def marginal(model: Dense, theta: Array) -> Array:
    """V = W^-1 + Z D Z', shape (n, n): the covariance of y over sigma^2, with u integrated out."""
    return np.diag(model.noise) + model.Z @ relative_covariance(model, theta) @ model.Z.T


# --- the two objectives -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Given:
    """What follows once V is given: its inverse, C, b, and r^2 (see the module)."""

    V_inverse: Array
    C: Array
    b: Array
    r2: float


def least_squares(model: Dense, V: Array) -> Given:
    """Generalised least squares: b = (X'V^-1 X)^-1 X'V^-1 y."""
    V_inverse = np.linalg.inv(V)
    C = np.linalg.inv(model.X.T @ V_inverse @ model.X)
    b = C @ model.X.T @ V_inverse @ model.y
    e = model.y - model.X @ b
    return Given(V_inverse, C, b, float(e @ V_inverse @ e))


def profiled_ml(model: Dense, theta: Array) -> float:
    """-2 log likelihood at the best b and sigma for this theta:

        log|V| + n [1 + log(2 pi r^2 / n)]

    With known standard errors sigma is 1, and the last term is r^2 + n log(2 pi).

    Examples
    --------
    >>> from workbench.design import build_design
    >>> model = dense(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}))
    >>> round(profiled_ml(model, np.array([0.0])), 6)   # V = I: n [1 + log(2 pi 5/4)]
    12.244082
    """
    V = marginal(model, theta)
    given = least_squares(model, V)
    return log_determinant(V) + _of_residuals(model, given.r2, len(model.y))


def profiled_reml(model: Dense, theta: Array) -> float:
    """-2 log restricted likelihood at the best sigma for this theta, b integrated out under a flat prior:

        log|V| + log|X'V^-1 X| + (n - p) [1 + log(2 pi r^2 / (n - p))]

    With known standard errors the last term is r^2 + (n - p) log(2 pi). Compared with ML, the second term and the n - p
    account for the p coefficients that the residuals have already been fitted to.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> model = dense(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}))
    >>> round(profiled_reml(model, np.array([0.0])), 6)   # V = I: log 4 + 3 [1 + log(2 pi 5/3)]
    11.432402
    """
    V = marginal(model, theta)
    given = least_squares(model, V)
    n, p = model.X.shape
    return log_determinant(V) - log_determinant(given.C) + _of_residuals(model, given.r2, n - p)


def log_determinant(matrix: Array) -> float:
    """log|A| of a positive definite matrix."""
    return float(np.linalg.slogdet(matrix)[1])


def _of_residuals(model: Dense, r2: float, degrees: int) -> float:
    """The last term of both objectives, with `degrees` n or n - p."""
    if model.known_se:
        return r2 + degrees * float(np.log(2 * np.pi))
    return degrees * (1 + float(np.log(2 * np.pi * r2 / degrees)))

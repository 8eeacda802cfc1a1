"""Equation 1 of :mod:`workbench.penalised` solved by glum, for one penalty or along a path of them.

glum minimises D/(2 sum w) + alpha (l1_ratio |P1 u|_1 + (1 - l1_ratio) u'P2 u/2): alpha = 1/sum w, with P1 and P2
diagonal, gives (1). Before it sees them, columns are divided by their root mean squares and a gaussian response by its
SD, which changes the numbers it works with, not the problem. An intercept of the design is glum's own, which centres
the columns. Fixed columns that the others explain in the rows at hand (of a fold) have coefficient zero.

What comes back is certified by the conditions that hold at the minimum and nowhere else (Karush, Kuhn & Tucker), with
s = W (y - mu)/(V(mu) g'(mu)) the score of the linear predictor:

    X's = 0,     z_k's = l2 u_k + l1 sign(u_k)  where u_k is not 0,     |z_k's| <= l1  where it is
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError
from workbench.families import Family, family_of
from workbench.rank import independent

Array = NDArray[np.float64]

DENSE = 2_000_000
"""Up to so many entries a dense matrix is quicker."""
TOLERANCE, ROUGH = 1e-10, 1e-7
"""Of the gradient of the objective divided by the sum of weights, in standardised columns: for one fit, for paths."""
CERTIFIED = 1e-6
"""Conditions are met where they fail by no more than so much, as a cosine between column and residuals."""
WELL = 1e-7
"""Reciprocal condition number from which on a Cholesky factor is trusted with an inverse."""
GLUM = {
    "gaussian": "normal",
    "binomial": "binomial",
    "poisson": "poisson",
    "gamma": "gamma",
}
LINKS = {"identity": "identity", "log": "log", "logit": "logit", "cloglog": "cloglog"}


@dataclass(frozen=True, eq=False)
class Regression:
    """Rows with an unpenalised part X, (n, p), and penalised columns Z, (n, m), sparse or dense.

    `intercept` is the place of the column of ones in X, or None.
    """

    y: Array
    weights: Array
    offset: Array
    X: Array
    Z: Any
    intercept: int | None
    family: Family

    def rows(self, wanted: NDArray[Any]) -> Regression:
        """Some of the rows."""
        return replace(
            self,
            y=self.y[wanted],
            weights=self.weights[wanted],
            offset=self.offset[wanted],
            X=self.X[wanted],
            Z=self.Z[wanted],
        )

    def predictor(self, at: Solution) -> Array:
        """Linear predictors, shape (n,)."""
        return np.asarray(self.X @ at.b + self.Z @ at.u + self.offset)

    def loss(self, at: Solution) -> float:
        """The deviance at dispersion 1."""
        return self.family.deviance(self.y, self.family.inverse(self.predictor(at)), self.weights)


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients of X, (p,), and of Z, (m,); `settled` is what the solver says of itself."""

    b: Array
    u: Array
    settled: bool


def regression(design: Design, Z: Any) -> Regression:
    """The regression of a design's response on its fixed columns and on the columns Z.

    Raises
    ------
    OptionError
        A link that means may leave (the inverse).
    """
    if design.link == "inverse":
        raise OptionError(
            f"Penalised regression of {design.family} responses with the inverse link may leave the link's domain. "
            'Use link="log".'
        )
    terms = design.fixed_terms
    return Regression(
        y=design.y,
        weights=np.ascontiguousarray(design.weights),
        offset=np.ascontiguousarray(design.offset),
        X=design.X,
        Z=Z,
        intercept=terms.index("(Intercept)") if "(Intercept)" in terms else None,
        family=family_of(design.family, design.link),
    )


def solve(problem: Regression, l1: Array, l2: Array) -> Solution:
    """Minimise (1) for the penalties l1, l2 >= 0 of the columns of Z, shape (m,); infinite ones hold a column at zero.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> found = solve(regression(design, np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])), np.zeros(2), np.full(2, 2.0))
    >>> found.b.round(12).tolist(), found.u.round(12).tolist()     # each mean moves half-way: 2/(2 + lambda)
    ([2.5], [-0.5, 0.5])
    """
    return path(problem, l1, l2, np.ones(1), TOLERANCE)[0]


def path(problem: Regression, l1: Array, l2: Array, strengths: Array, tolerance: float = ROUGH) -> list[Solution]:
    """Minimise (1) for the penalties times each of `strengths`, in that order; each starts where the last one ended."""
    from glum import GeneralizedLinearRegressor
    from threadpoolctl import threadpool_limits

    scaled = _Scaled.of(problem, l1, l2)
    if scaled.matrix.shape[1] == 0:
        return [Solution(np.zeros(problem.X.shape[1]), np.zeros(problem.Z.shape[1]), True)] * len(strengths)
    family = problem.family
    total = float(problem.weights.sum())
    order = np.argsort(-strengths, kind="stable")
    settings: dict[str, Any] = {
        "family": GLUM[family.name],
        "link": _link(family),
        "fit_intercept": problem.intercept is not None,
        "gradient_tol": tolerance,
        "max_iter": 1000,
        **scaled.penalties(),
    }
    if len(strengths) > 1:
        settings |= {"alpha_search": True, "alphas": strengths[order] / total}
    else:
        settings |= {"alpha": float(strengths[0]) / total}
    offset = None if family.constant_weights or not problem.offset.any() else problem.offset
    # threads that wait for each other cost far more than a small matrix gives them to do
    with threadpool_limits(1), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = GeneralizedLinearRegressor(**settings)
        model.fit(scaled.matrix, scaled.y, sample_weight=problem.weights, offset=offset)
    settled = not any(w.category.__name__ == "ConvergenceWarning" for w in heard)
    if len(strengths) > 1:
        pairs = zip(np.atleast_1d(model.intercept_path_), model.coef_path_, strict=True)
    else:
        pairs = zip([model.intercept_], [model.coef_], strict=True)
    found = [scaled.in_data_units(float(c), np.asarray(v), settled) for c, v in pairs]
    back = np.argsort(order, kind="stable")
    return [found[k] for k in back]


@dataclass(frozen=True, eq=False)
class _Scaled:
    """What glum sees of a problem: `matrix` of columns over their sizes, fixed ones (`kept`) first."""

    problem: Regression
    matrix: Any
    y: Array
    unit: float
    kept: list[int]
    sizes: Array
    l1: Array
    l2: Array

    @classmethod
    def of(cls, problem: Regression, l1: Array, l2: Array) -> _Scaled:
        X, p = problem.X, problem.X.shape[1]
        kept = [k for k in independent(X)[0] if k != problem.intercept] if p else []
        held = ~(np.isfinite(l1) & np.isfinite(l2))
        mean_weights = problem.weights / problem.weights.sum()
        fixed = X[:, kept]
        centre = mean_weights @ fixed if problem.intercept is not None else 0.0
        fixed_sizes = np.sqrt(mean_weights @ (fixed - centre) ** 2)
        sizes = np.sqrt(np.asarray(mean_weights @ squared(problem.Z)).ravel())
        sizes = np.where(sizes > 0, sizes, 1.0)
        factors = np.where(held, 0.0, 1 / sizes)
        y, unit = problem.y, 1.0
        if problem.family.constant_weights:
            y = y - problem.offset
            away = y - mean_weights @ y if problem.intercept is not None else y
            unit = float(np.sqrt(mean_weights @ away**2)) or 1.0
            y = y / unit
        return cls(
            problem,
            _side_by_side(fixed / fixed_sizes, problem.Z, factors),
            y,
            unit,
            kept,
            np.concatenate([fixed_sizes, np.where(held, np.inf, sizes)]),
            np.where(held, 0.0, l1) / sizes / unit,
            np.where(held, 1.0, l2 / sizes**2),
        )

    def penalties(self) -> dict[str, Any]:
        free = np.zeros(len(self.kept))
        P1, P2 = np.concatenate([free, self.l1]), np.concatenate([free, self.l2])
        if not P1.any():
            return {"l1_ratio": 0.0, "P2": P2}
        if not self.l2.any():
            return {"l1_ratio": 1.0, "P1": P1}
        return {"l1_ratio": 0.5, "P1": 2 * P1, "P2": 2 * P2}

    def in_data_units(self, intercept: float, coefficients: Array, settled: bool) -> Solution:
        values = self.unit * coefficients / self.sizes
        b = np.zeros(self.problem.X.shape[1])
        b[self.kept] = values[: len(self.kept)]
        if self.problem.intercept is not None:
            b[self.problem.intercept] = self.unit * intercept
        return Solution(b, values[len(self.kept) :], settled)


def squared(Z: Any) -> Any:
    """The squares of a matrix's entries, sparse or dense."""
    return Z**2 if isinstance(Z, np.ndarray) else Z.multiply(Z)


def _side_by_side(X: Array, Z: Any, factors: Array) -> Any:
    """[X Z factors]: dense where small, else dense beside sparse."""
    if isinstance(Z, np.ndarray):
        return np.asfortranarray(np.hstack([X, Z * factors]))
    if len(X) * (X.shape[1] + Z.shape[1]) <= DENSE:
        return np.asfortranarray(np.hstack([X, Z.toarray() * factors]))
    from scipy.sparse import csc_matrix, diags
    from tabmat import DenseMatrix, SparseMatrix, SplitMatrix

    scaled = csc_matrix(Z @ diags(factors))
    scaled.indices, scaled.indptr = scaled.indices.astype(np.int32), scaled.indptr.astype(np.int32)
    sparse = SparseMatrix(scaled)
    return SplitMatrix([DenseMatrix(np.asfortranarray(X)), sparse]) if X.shape[1] else sparse


def _link(family: Family) -> Any:
    if family.link_name in LINKS:
        return LINKS[family.link_name]
    from glum import Link
    from scipy.special import ndtr, ndtri

    def density(x: Any) -> Any:
        return np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi)

    class Probit(Link):  # type: ignore[misc]
        """The probit link, which glum does not have."""

        def link(self, mu: Any) -> Any:
            return ndtri(mu)

        def derivative(self, mu: Any) -> Any:
            return 1 / density(ndtri(mu))

        def inverse(self, lin_pred: Any) -> Any:
            return np.clip(ndtr(lin_pred), np.finfo(float).eps, 1 - np.finfo(float).eps)

        def inverse_derivative(self, lin_pred: Any) -> Any:
            return np.maximum(density(lin_pred), np.finfo(float).eps)

        def inverse_derivative2(self, lin_pred: Any) -> Any:
            return -np.asarray(lin_pred) * density(lin_pred)

        def to_tweedie(self, safe: bool = True) -> Any:
            return None

    assert family.link_name == "probit"
    return Probit()


# --- the certificate, and what the fit has used up ----------------------------------------------------


def violation(problem: Regression, at: Solution, l1: Array, l2: Array) -> float:
    """By how much the conditions at the minimum fail, the largest over columns, as a cosine with the residuals."""
    score, working = score_of(problem, at)
    held = ~(np.isfinite(l1) & np.isfinite(l2))
    wanted = np.asarray(problem.Z.T @ score).ravel()
    pull = np.where(held, 0.0, l2) * at.u
    active = wanted - pull - np.where(held, 0.0, l1) * np.sign(at.u)
    off = np.where(at.u != 0, np.abs(active), np.maximum(np.abs(wanted) - l1, 0.0))
    off[held] = 0.0
    length = np.sqrt(np.asarray(working @ squared(problem.Z)).ravel())
    fixed = np.abs(problem.X.T @ score)
    fixed_length = np.sqrt(working @ problem.X**2)
    noise = np.sqrt(float(np.sum(score**2 / working))) or 1.0
    every = np.concatenate([off, fixed]) / (np.concatenate([length, fixed_length]) * noise + np.finfo(float).tiny)
    return float(every.max(initial=0.0))


def score_of(problem: Regression, at: Solution) -> tuple[Array, Array]:
    """The derivative of -D/2 by the linear predictors, and the expected second derivative of D/2, shape (n,) both."""
    family, predictor = problem.family, problem.predictor(at)
    mean, slope = family.inverse(predictor), family.slope(predictor)
    variance = family.variance(mean)
    return problem.weights * (problem.y - mean) * slope / variance, problem.weights * slope**2 / variance


def effective_parameters(problem: Regression, at: Solution, l2: Array) -> float:
    """How many coefficients the fit has used up: tr (H + P)^-1 H over the columns that are not held at zero.

    H = [X Z]'W[X Z] in the working weights and P = diag(0, l2): for ridge the usual trace, for the lasso the number of
    columns that are not zero (Zou, Hastie & Tibshirani 2007, doi:10.1214/009053607000000127). That is their
    number less tr (H + P)^-1 P, which needs no more than the diagonal of an inverse.
    """
    active = np.flatnonzero(at.u)
    kept = independent(problem.X)[0] if problem.X.shape[1] else []
    _, working = score_of(problem, at)
    X, Z = problem.X[:, kept], problem.Z[:, active]
    weighted = working[:, None] * X
    dense = isinstance(Z, np.ndarray)
    square = Z.T @ (working[:, None] * Z) if dense else (Z.T @ Z.multiply(working[:, None])).toarray()
    crossed = Z.T @ weighted
    H = np.block([[X.T @ weighted, crossed.T], [crossed, square]])
    scale = np.sqrt(np.maximum(np.diag(H), np.finfo(float).tiny))
    H = H / np.outer(scale, scale)
    P = np.concatenate([np.zeros(len(kept)), l2[active]]) / scale**2
    if not P.any():
        return float(np.linalg.matrix_rank(H, hermitian=True))
    variances = _inverse_diagonal(H + np.diag(P))
    if variances is not None:
        return float(len(P) - P @ variances)
    return float(np.trace(np.linalg.lstsq(H + np.diag(P), H, rcond=None)[0]))


def _inverse_diagonal(A: Array) -> Array | None:
    """The diagonal of the inverse of a symmetric matrix; None where Cholesky's factor says too little of it."""
    from scipy.linalg.lapack import dpocon, dpotrf, dpotri

    norm = float(np.abs(A).sum(axis=0).max())
    factor, failed = dpotrf(A, lower=1)
    if failed or dpocon(factor, norm, uplo="L")[0] < WELL:
        return None
    inverse, failed = dpotri(factor, lower=1)
    return None if failed else np.diag(inverse).copy()

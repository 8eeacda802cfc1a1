"""The EM on a matrix of columns with independent t priors, or joint normal ones: what R's bayesglm fits.

The intercept's prior may stand on the linear predictor at the column means c: with a = intercept + c'b the columns are
centred, and all priors are independent again. Coefficients are then written as m + T u, u ~ N(0, I), where T holds the
prior SDs (or a square root of a joint covariance), so that an SD of zero needs no special case; a column with a
flat prior gets the inverse of its length. Rows enter only by the triangular factor of the weighted columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.em import approximate_em
from workbench.covariances import square_root
from workbench.errors import DesignError
from workbench.families import Family

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CoefficientPriors:
    """Priors of p coefficients, on the coefficients' own scale; `inf` is flat, df `inf` normal.

    Attributes
    ----------
    mean, scale, df : array, shape (p,)
    first_scale : array, shape (p,)
        Scales in the first iteration; R's gaussian figures need others than later.
    centre : array, shape (p,), or None
        The column means (1 in the intercept's place), where the intercept's prior stands on the linear predictor at
        these; None for a prior on the coefficient itself.
    intercept : int or None
        The place of the column of ones.
    update_at_means : bool
        Step 3 takes the intercept's value and variance at the column means, rather than at zero, as R's does.
    joint : tuple of (places, covariance)
        Blocks with a joint normal prior, by places (k,) and covariance (k, k); their scale and df are not looked at.
    """

    mean: Array
    scale: Array
    df: Array
    first_scale: Array
    centre: Array | None = None
    intercept: int | None = None
    update_at_means: bool = False
    joint: tuple[tuple[NDArray[np.intp], Array], ...] = ()

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Which coefficients have no prior at all, shape (p,)."""
        flat = np.isinf(self.scale)
        for places, _ in self.joint:
            flat[places] = False
        return flat

    def take(self, kept: list[int]) -> CoefficientPriors:
        """Priors of some of the coefficients; those of a joint block must all be among them."""
        new = {old: k for k, old in enumerate(kept)}
        return replace(
            self,
            mean=self.mean[kept],
            scale=self.scale[kept],
            df=self.df[kept],
            first_scale=self.first_scale[kept],
            centre=None if self.centre is None else self.centre[kept],
            intercept=None if self.intercept is None else new.get(self.intercept),
            joint=tuple((np.array([new[int(k)] for k in places]), S) for places, S in self.joint),
        )


@dataclass(frozen=True, eq=False)
class Mode:
    """Where the EM ended.

    Attributes
    ----------
    coefficients, prior_sd : array, shape (p,)
        `prior_sd` is each prior's SD after the last update (of a joint block the given one).
    unscaled : array, shape (p, p)
        V of the last iteration; V times a dispersion is the covariance of the coefficients.
    predictor, fitted : array, shape (n,)
        Linear predictor (with offset) and mean.
    dispersion, residual_dispersion : float
        phi, and the weighted sum of squared working residuals over n - p (NaN where n <= p).
    deviance : float
    iterations : int
    converged : bool
    shortened : bool
        Whether the last step was shortened to keep the means in the family's domain.
    """

    coefficients: Array
    prior_sd: Array
    unscaled: Array
    predictor: Array
    fitted: Array
    dispersion: float
    residual_dispersion: float
    deviance: float
    iterations: int
    converged: bool
    shortened: bool


@dataclass(frozen=True, eq=False)
class _Weighed:
    reduced: Array
    weights: Array
    z: Array


@dataclass(frozen=True, eq=False)
class _Solved:
    a: Array
    root: Array


class Plain:
    """Columns (n, p) held as a matrix; `Columns` by triangular factors."""

    def __init__(self, X: Array, priors: CoefficientPriors) -> None:
        self.X, self.priors = X, priors
        self.factor = np.linalg.qr(X, mode="r")

    def weigh(self, weights: Array, z: Array) -> _Weighed:
        """Triangular factor of the weighted columns and response side by side, (at most p + 1, p + 1)."""
        root = np.sqrt(weights)
        return _Weighed(np.linalg.qr(np.column_stack([self.X * root[:, None], z * root]), mode="r"), weights, z)

    def solve(self, weighed: _Weighed, sd: Array, phi: float) -> _Solved:
        """The coefficients (p,) of the centred columns, and a root (p, p) of V."""
        return _Solved(*_solve(weighed.reduced, self.priors, sd, phi))

    def predictor(self, a: Array) -> Array:
        """X a."""
        return np.asarray(self.X @ a)

    def squares(self, weighed: _Weighed, solved: _Solved) -> float:
        """Row by row."""
        return float(np.sum(weighed.weights * (weighed.z - self.X @ solved.a) ** 2))

    def leverage(self, weighed: _Weighed, solved: _Solved) -> float:
        """Mean of x'Vx over the rows, V = root root'."""
        return float(np.sum((self.factor @ solved.root) ** 2) / len(self.X))

    def updated(self, a: Array, solved: _Solved, phi: float) -> Array:
        """The prior SDs (p,); of an intercept at the column means, as its prior or at zero (R's way)."""
        if self.priors.update_at_means:
            return _updated(a, solved.root, phi, self.priors)
        return _updated(_at_zero(a, self.priors), _at_zero(solved.root, self.priors), phi, self.priors)

    def level(self, predictor: Array) -> Array:
        """Least squares."""
        return np.asarray(np.linalg.lstsq(self.X, predictor, rcond=None)[0])


def posterior_mode(
    y: Array,
    X: Array,
    family: Family,
    priors: CoefficientPriors,
    weights: Array | None = None,
    offset: Array | None = None,
    dispersion: float | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    starting: Array | None = None,
) -> Mode:
    """Run the approximate EM.

    Parameters
    ----------
    y : array, shape (n,)
        Proportions for binomial counts, whose totals then are the weights.
    X : array, shape (n, p)
    family : Family
    priors : CoefficientPriors
    weights, offset : array, shape (n,), optional
        Prior weights (rows with weight zero take no part) and an offset on the linear predictor.
    dispersion : float, optional
        Holds phi; by default it is 1 or estimated, as the family says.
    tolerance : float
        Change of deviance d (|change| / (|d| + 0.1)) and of dispersion that counts as none, as in R's glm.
    max_iterations : int
    starting : array, shape (n,), optional
        Of binomial counts the numbers of trials, where prior weights make `weights` another thing.

    Returns
    -------
    Mode

    Raises
    ------
    DesignError
        Columns with flat priors that explain each other; no spread to start the dispersion from, or one that grows
        without limit; no coefficients that keep the means in the family's domain.

    Examples
    --------
    >>> from workbench.families import family_of
    >>> one = np.ones(1)
    >>> normal = CoefficientPriors(mean=0 * one, scale=one, df=np.inf * one, first_scale=one)
    >>> mode = posterior_mode(np.array([1.0, 3.0]), np.ones((2, 1)), family_of("gaussian"), normal, dispersion=1.0)
    >>> mode.coefficients.round(6).tolist(), mode.unscaled.round(6).tolist()     # (1 + 3) / (2 + 1), 1 / (2 + 1)
    ([1.333333], [[0.333333]])
    """
    weights = np.ones(len(y)) if weights is None else weights
    offset = np.zeros(len(y)) if offset is None else offset
    used = weights > 0
    columns = Plain(_centred(X[used], priors), priors)
    end = approximate_em(
        columns, y[used], family, weights[used], offset[used], priors.first_scale, dispersion, tolerance,
        max_iterations, starting=None if starting is None else starting[used],
    )  # fmt: skip
    if end.boundless:
        raise DesignError(
            "The dispersion grows without limit: the fit runs away. Give tighter priors, hold the dispersion "
            "(dispersion=1.0), or use another link."
        )
    b, root = _at_zero(end.a, priors), _at_zero(end.solved.root, priors)
    n, p = columns.X.shape
    return Mode(
        coefficients=b,
        prior_sd=end.sd,
        unscaled=root @ root.T,
        predictor=X @ b + offset,
        fitted=family.inverse(X @ b + offset),
        dispersion=end.phi,
        residual_dispersion=end.squares / (n - p) if n > p else float("nan"),
        deviance=end.deviance,
        iterations=end.iterations,
        converged=end.converged,
        shortened=end.shortened,
    )


# --- parts ----------------------------------------------------------------------------------------------


def _centred(X: Array, priors: CoefficientPriors) -> Array:
    if priors.centre is None or priors.intercept is None:
        return X
    shift = priors.centre.copy()
    shift[priors.intercept] = 0
    return np.asarray(X - shift)


def _at_zero(a: Array, priors: CoefficientPriors) -> Array:
    """Coefficients (or a root of their covariance) of the columns, from those of the centred columns."""
    if priors.centre is None or priors.intercept is None:
        return a
    moved, k = a.copy(), priors.intercept
    moved[k] = a[k] + priors.centre[k] * a[k] - priors.centre @ a
    return np.asarray(moved)


def _solve(reduced: Array, priors: CoefficientPriors, sd: Array, phi: float) -> tuple[Array, Array]:
    """Step 2: the coefficients (p,) of the centred columns, and a root (p, p) of V."""
    columns, flat = reduced[:, :-1], priors.flat
    length = np.linalg.norm(columns, axis=0)
    T = np.diag(np.where(flat, 1 / np.where(length > 0, length, 1), sd))
    for places, covariance in priors.joint:
        T[np.ix_(places, places)] = square_root(covariance)
    mean = np.where(flat, 0, priors.mean)
    with np.errstate(all="ignore"):  # what overflows is refused below
        data = np.column_stack([columns @ T, reduced[:, -1] - columns @ mean])
    prior = np.column_stack([np.diag(np.where(flat, 0, np.sqrt(phi))), np.zeros(len(mean))])
    upper = np.linalg.qr(np.vstack([data, prior]), mode="r")[: len(mean)]
    if not np.isfinite(upper).all():
        raise DesignError(
            "The working weights overflow: the fit runs away. Give tighter priors, or means nearer to the data."
        )
    if (np.abs(np.diag(upper))[flat] <= 1e-12).any():
        raise DesignError(
            f"Columns with flat priors explain each other (columns {np.flatnonzero(flat).tolist()}, counted from 0). "
            "Leave one out, or give it a prior with a finite scale."
        )
    root = T @ np.linalg.inv(upper[:, :-1])
    return mean + root @ upper[:, -1], root


def _updated(a: Array, root: Array, phi: float, priors: CoefficientPriors) -> Array:
    """Step 3: the prior SDs given coefficients and V."""
    normal = np.isinf(priors.df)
    df = np.where(normal, 0, priors.df)
    scale = np.where(np.isinf(priors.scale), 0, priors.scale)
    with np.errstate(over="ignore"):  # a dispersion that runs away is refused at the end
        variance = ((a - priors.mean) ** 2 + phi * np.sum(root**2, axis=1) + df * scale**2) / (1 + df)
    sd = np.where(normal | np.isinf(priors.scale), priors.scale, np.sqrt(variance))
    for places, covariance in priors.joint:
        sd[places] = np.sqrt(np.diag(covariance))
    return sd

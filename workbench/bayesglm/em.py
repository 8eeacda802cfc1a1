"""The approximate EM of Gelman, Jakulin, Pittau & Su (2008, doi:10.1214/08-AOAS191), on arrays.

    y_i ~ family(mean g^-1(x_i'b + offset_i), dispersion phi / w_i),      b_j ~ t(df_j, mean m_j, scale s_j)

A t prior is a normal one whose variance is itself random. Every iteration

1. makes the working response z and weights W of reweighted least squares;
2. solves the weighted regression of z on X with one pseudo-observation m_j of b_j per coefficient, of weight
   phi / sd_j^2, which gives b and V = (X'WX + phi / sd^2)^-1;
3. puts the expected variance in the place of each prior's, unless its df is infinite:
   sd_j^2 <- ((b_j - m_j)^2 + phi V_jj + df_j s_j^2) / (1 + df_j);
4. where phi is a parameter: phi <- mean of W (z - Xb)^2 + phi * mean of x_i'V x_i, without correction for degrees
   of freedom (it starts at var(y) / 10,000);

until deviance and phi stand still together. For normal priors this is the posterior mode; for others it is close to it.

The intercept's prior may stand on the linear predictor at the column means c: with a = intercept + c'b the columns are
centred, and all priors are independent again. Coefficients are then written as m + T u, u ~ N(0, I), where T holds the
prior SDs (or a square root of a joint covariance), so that an SD of zero needs no special case; a column with a
flat prior gets the inverse of its length. Rows enter only by the triangular factor of the weighted columns
(:class:`Rows`), the one place that would change for sparse columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DesignError
from workbench.families import Family

Array = NDArray[np.float64]
HALVINGS = 60
"""How often a step that leaves the family's domain is halved."""


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


class Rows:
    """The columns of the regression (n, p), known to the EM by their triangular factors alone."""

    def __init__(self, X: Array) -> None:
        self.X = X
        self.factor = np.linalg.qr(X, mode="r")

    def reduced(self, weights: Array, z: Array) -> Array:
        """Triangular factor of the weighted columns and response side by side, (at most p + 1, p + 1)."""
        root = np.sqrt(weights)
        return np.linalg.qr(np.column_stack([self.X * root[:, None], z * root]), mode="r")

    def mean_leverage(self, root: Array) -> float:
        """Mean of x'Vx over the rows, V = root root'."""
        return float(np.sum((self.factor @ root) ** 2) / len(self.X))


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

    Returns
    -------
    Mode

    Raises
    ------
    DesignError
        Columns with flat priors that explain each other; no spread to start the dispersion from; no coefficients
        that keep the means in the family's domain.

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
    phi, estimated = _first_dispersion(y[used], family, dispersion)
    centred, y_, w_, offset_ = _centred(X[used], priors), y[used], weights[used], offset[used]
    rows = Rows(centred)
    sd, a = priors.first_scale, None
    mean = family.start(y_, w_)
    predictor, deviance, converged = family.link(mean), family.deviance(y_, mean, w_), False
    reduced = rows.reduced(w_, y_ - offset_) if family.constant_weights else None
    for iteration in range(1, max_iterations + 1):
        slope = family.slope(predictor)
        working = w_ * slope**2 / family.variance(mean)
        z = predictor - offset_ + (y_ - mean) / slope
        step, root = _solve(rows.reduced(working, z) if reduced is None else reduced, priors, sd, phi)
        a, predictor, mean = _inside(family, rows.X, y_, offset_, a, step)
        before, deviance = deviance, family.deviance(y_, mean, w_)
        b, root_b = _at_zero(a, priors), _at_zero(root, priors)
        sd = _updated(a if priors.update_at_means else b, root if priors.update_at_means else root_b, phi, priors)
        held, squares = phi, float(np.sum(working * (z - (predictor - offset_)) ** 2))
        if estimated:
            phi = squares / len(y_) + held * rows.mean_leverage(root)
        still = abs(deviance - before) < tolerance * (0.1 + abs(deviance))
        if iteration > 1 and still and abs(phi - held) < tolerance * (0.1 + abs(phi)):
            converged = True
            break
    return Mode(
        coefficients=b,
        prior_sd=sd,
        unscaled=root_b @ root_b.T,
        predictor=X @ b + offset,
        fitted=family.inverse(X @ b + offset),
        dispersion=phi,
        residual_dispersion=squares / (len(y_) - X.shape[1]) if len(y_) > X.shape[1] else float("nan"),
        deviance=deviance,
        iterations=iteration,
        converged=converged,
        shortened=a is not step,
    )


# --- parts --------------------------------------------------------------------------------------------


def _first_dispersion(y: Array, family: Family, held: float | None) -> tuple[float, bool]:
    if held is not None or not family.estimates_dispersion:
        return (1.0 if held is None else held), False
    spread = float(np.var(y, ddof=1)) if len(y) > 1 else 0.0
    if not spread > 0:
        rows = f"a single row ({y[0]:g})" if len(y) == 1 else f"{len(y):,} rows that are all {y[0]:g}"
        raise DesignError(
            f"The response has {rows}, so no dispersion can be estimated. Hold it (dispersion=1.0), or give more data."
        )
    return spread / 10_000, True


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
        T[np.ix_(places, places)] = _root(covariance)
    mean = np.where(flat, 0, priors.mean)
    data = np.column_stack([columns @ T, reduced[:, -1] - columns @ mean])
    prior = np.column_stack([np.diag(np.where(flat, 0, np.sqrt(phi))), np.zeros(len(mean))])
    upper = np.linalg.qr(np.vstack([data, prior]), mode="r")[: len(mean)]
    if not np.isfinite(upper).all():
        raise DesignError("The working weights overflow: the fit runs away. Give priors with finite scales.")
    if (np.abs(np.diag(upper))[flat] <= 1e-12).any():
        raise DesignError(
            f"Columns with flat priors explain each other (columns {np.flatnonzero(flat).tolist()}, counted from 0). "
            "Leave one out, or give it a prior with a finite scale."
        )
    root = T @ np.linalg.inv(upper[:, :-1])
    return mean + root @ upper[:, -1], root


def _root(covariance: Array) -> Array:
    """A square root of a covariance matrix, singular ones included."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)))


def _inside(
    family: Family, X: Array, y: Array, offset: Array, old: Array | None, new: Array
) -> tuple[Array, Array, Array]:
    """Coefficients, linear predictor and mean; the step is halved until all means are in the family's domain."""
    for _ in range(HALVINGS):
        predictor = X @ new + offset
        with np.errstate(all="ignore"):
            mean = family.inverse(predictor)
        if family.inside(predictor, mean):
            return new, predictor, mean
        old = _level(X, y, family, offset) if old is None else old
        new = (new + old) / 2
    raise DesignError(
        f"With the {family.link_name} link, means leave the domain of the {family.name} family. Use another link "
        "(log keeps means positive, logit probabilities), or tighter priors."
    )


def _level(X: Array, y: Array, family: Family, offset: Array) -> Array:
    """Coefficients of the mean response, as nearly as the columns can say it: what a first step is halved towards."""
    level = family.link(family.start(np.array([y.mean()]), np.ones(1)))
    return np.asarray(np.linalg.lstsq(X, level - offset, rcond=None)[0])


def _updated(a: Array, root: Array, phi: float, priors: CoefficientPriors) -> Array:
    """Step 3: the prior SDs given coefficients and V."""
    normal = np.isinf(priors.df)
    df = np.where(normal, 0, priors.df)
    scale = np.where(np.isinf(priors.scale), 0, priors.scale)
    variance = ((a - priors.mean) ** 2 + phi * np.sum(root**2, axis=1) + df * scale**2) / (1 + df)
    sd = np.where(normal | np.isinf(priors.scale), priors.scale, np.sqrt(variance))
    for places, covariance in priors.joint:
        sd[places] = np.sqrt(np.diag(covariance))
    return sd

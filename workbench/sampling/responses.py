"""The density of the response given linear predictors, and responses drawn from it: plain arrays, no PyMC.

=============================  ===============================================  =======================
response                       law of row i given its linear predictor eta_i    log density counts
=============================  ===============================================  =======================
gaussian                       y_i ~ Normal(eta_i, sigma / sqrt(w_i))           once
gaussian, `nu` given           y_i ~ StudentT(nu, eta_i, sigma / sqrt(w_i))     once
binomial, shares (0/1 too)     w_i y_i ~ Binomial(w_i, p_i), w_i trials         once
binomial, ``cbind()``          m_i y_i ~ Binomial(m_i, p_i), m_i trials         w_i / m_i times
poisson                        y_i ~ Poisson(exp(eta_i))                        w_i times
=============================  ===============================================  =======================

with w ``design.weights`` (of ``cbind()``, prior weights times the trials m) and p the inverse logit, probit or cloglog
of eta. Known standard errors are gaussian with w = 1/se^2 and sigma 1. That weights are trials of shares, variances of
measurements and numbers of times elsewhere is R's convention in ``glm`` and ``logLik``. Counts that are not whole are
taken as they stand, by the gamma function.

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd edition, chapters 2, 4 and 6; Lange, Little & Taylor
(1989, doi:10.1080/01621459.1989.10478852) for Student-t responses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.design import Design
from workbench.errors import OptionError

Array = NDArray[np.float64]

SAMPLED = ("gaussian", "binomial", "poisson")
"""The families whose density is here."""
LARGEST_MEAN = 1e18
"""Poisson means above this are drawn as this: beyond it no generator of whole numbers reaches."""


def log_density(design: Design, predictor: Array, sigma: ArrayLike | None = None, nu: ArrayLike | None = None) -> Array:
    """Log density of every row of a design's response given linear predictors, normalised.

    Parameters
    ----------
    design : Design
        Its `y`, `weights`, `trials`, family and link.
    predictor : array, shape (..., n)
        Linear predictors, the offset included; leading axes are draws.
    sigma : array, shape (...), optional
        Residual SD (for Student-t responses their scale); by default 1, as with known standard errors. Not looked at
        for other families than gaussian.
    nu : array, shape (...), optional
        Degrees of freedom of a Student-t response; by default it is gaussian.

    Returns
    -------
    array, shape (..., n)

    Raises
    ------
    OptionError
        A family that is not in `SAMPLED`.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0, 1, 1, 0], "g": list("aabb")}
    >>> log_density(build_design("y ~ 1 + (1 | g)", table, "binomial"), np.zeros(4)).round(4).tolist()
    [-0.6931, -0.6931, -0.6931, -0.6931]
    """
    check_sampled(design)
    if design.family == "gaussian":
        return _of_measurements(design, predictor, sigma, nu)
    if design.family == "poisson":
        with np.errstate(over="ignore"):
            kernel = design.y * predictor - np.exp(predictor)
        return design.weights * kernel + log_normaliser(design)
    log_p, log_q = _log_probabilities(predictor, design.link)
    return (
        _times(design.weights * design.y, log_p)
        + _times(design.weights * (1 - design.y), log_q)
        + log_normaliser(design)
    )


def log_normaliser(design: Design) -> Array:
    """What the log density of counts adds to its kernel, by row, shape (n,).

    The kernel is w (y log p + (1 - y) log(1 - p)) of binomial, w (y eta - exp(eta)) of Poisson responses.
    """
    from scipy.special import gammaln

    if design.family == "poisson":
        return np.asarray(-design.weights * gammaln(design.y + 1))
    counted = design.formula.cbind is not None
    trials = design.trials if counted else design.weights
    constant = gammaln(trials + 1) - gammaln(trials * design.y + 1) - gammaln(trials * (1 - design.y) + 1)
    return np.asarray(design.prior_weights * constant if counted else constant)


def draw(
    design: Design, predictor: Array, sigma: ArrayLike | None, nu: ArrayLike | None, rng: np.random.Generator
) -> Array:
    """Draw a response for every row at linear predictors.

    Parameters
    ----------
    design : Design
    predictor, sigma, nu
        As in :func:`log_density`.
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (..., n)
        On the scale of ``design.y``: of binomial responses shares of successes. A binomial row has as many trials as
        its ``cbind()`` counts, otherwise as its weight, rounded to a whole number of at least one. Weights of Poisson
        rows, and weights beside ``cbind()``, say how often a row counts in the likelihood, not how it scatters.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0.5, 0.25], "n": [4, 8], "g": list("ab")}
    >>> design = build_design("y ~ 1 + (1 | g)", table, "binomial", weights="n")
    >>> draw(design, np.array([-40.0, 40.0]), None, None, np.random.default_rng(1)).tolist()
    [0.0, 1.0]
    """
    check_sampled(design)
    if design.family == "gaussian":
        scale = _of_draws(1.0 if sigma is None else sigma) / np.sqrt(design.weights)
        if nu is None:
            return np.asarray(predictor + scale * rng.standard_normal(np.shape(predictor)))
        return np.asarray(predictor + scale * rng.standard_t(_of_draws(nu), np.shape(predictor)))
    mean = design.mean(np.asarray(predictor, dtype=float))
    if design.family == "poisson":
        return rng.poisson(np.minimum(mean, LARGEST_MEAN)).astype(float)
    known = design.weights if design.formula.cbind is None else design.trials
    trials = np.maximum(np.rint(known), 1.0)
    return np.asarray(rng.binomial(trials.astype(np.int64), mean) / trials)


def check_sampled(design: Design) -> None:
    """Refuse a design whose family is not here, with an OptionError."""
    if design.family not in SAMPLED:
        raise OptionError(
            f"The response {design.response} is {design.family}, which is not sampled from here. Use one of "
            f"{', '.join(SAMPLED)}."
        )


# --- parts --------------------------------------------------------------------------------------------


def _of_measurements(design: Design, predictor: Array, sigma: ArrayLike | None, nu: ArrayLike | None) -> Array:
    """Normal or Student-t log densities, shape (..., n)."""
    from scipy.special import gammaln

    scale = _of_draws(1.0 if sigma is None else sigma) / np.sqrt(design.weights)
    z = (design.y - predictor) / scale
    if nu is None:
        return np.asarray(-0.5 * z**2 - np.log(scale) - 0.5 * np.log(2 * np.pi))
    df = _of_draws(nu)
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi)
    return np.asarray(constant - np.log(scale) - (df + 1) / 2 * np.log1p(z**2 / df))


def _log_probabilities(predictor: Array, link: str) -> tuple[Array, Array]:
    """log p and log(1 - p) of a linear predictor, elementwise, without cancellation."""
    from scipy.special import log_ndtr

    if link == "logit":
        return -np.logaddexp(0.0, -predictor), -np.logaddexp(0.0, predictor)
    if link == "probit":
        return np.asarray(log_ndtr(predictor)), np.asarray(log_ndtr(-predictor))
    hazard = np.exp(np.minimum(predictor, 700.0))  # cloglog: 1 - p = exp(-hazard)
    small = predictor < -30  # log(1 - exp(-h)) = log h to rounding
    return np.where(small, predictor, np.log(-np.expm1(-np.where(small, 1.0, hazard)))), -hazard


def _times(count: Array, log_probability: Array) -> Array:
    """count times log probability; zero where the count is, whatever the probability."""
    with np.errstate(invalid="ignore"):
        return np.where(count == 0, 0.0, count * log_probability)


def _of_draws(value: ArrayLike) -> Any:
    """A parameter by draw, beside rows: shape (..., 1)."""
    return np.asarray(value, dtype=float)[..., None]

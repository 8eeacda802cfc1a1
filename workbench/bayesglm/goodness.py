"""How well a regression fits the data, without its priors: log likelihood and the deviance of the empty model.

==================  =================================================  ===========================
family              log likelihood, summed over the rows               dispersion that it takes
==================  =================================================  ===========================
gaussian            log N(y; mu, phi / w)                              deviance / n
binomial            (w / m) log Bin(round(m y); round(m), mu)          none
poisson             w log Poisson(y; mu)                               none
gamma               w log Gamma(y; shape 1 / phi, mean mu)             deviance / sum of weights
inverse_gaussian    w log IG(y; mu, phi)                               deviance / sum of weights
quasi...            there is none
==================  =================================================  ===========================

m are the trials. These are the figures of R's ``logLik`` and ``AIC`` of a ``glm``: the dispersion is neither the EM's
nor that of standard errors, and counts as a parameter. One that is held is taken as it is, and does not count. Rows of
weight zero take no part (R's gaussian figures are infinite there). Of binomial shares, R's ``bayesglm`` itself gives
another figure: it takes the number of rows for the trials m of every row, which is no likelihood (arm 1.13).

Source: R manual, ``?family`` (component ``aic``) and ``?glm`` (``null.deviance``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.plain import CoefficientPriors, posterior_mode
from workbench.bayesglm.regression import Regression
from workbench.errors import DesignError
from workbench.families import Family

Array = NDArray[np.float64]


def log_likelihood(
    rows: tuple[Array, Array, Array], family: Family, mean: Array, deviance: float, held: float | None = None
) -> float | None:
    """The log likelihood at fitted means of shape (n,), or None: a quasi family, counts with another dispersion than 1.

    Parameters
    ----------
    rows : three arrays, shape (n,)
        Responses, weights (times trials), and numbers of trials of binomial counts (else ones, or the weights).
    family : Family
    mean : array, shape (n,)
    deviance : float
    held : float, optional
        A dispersion that is not estimated.

    Examples
    --------
    >>> from workbench.families import family_of
    >>> coin = np.array([0.0, 1.0, 1.0]), np.ones(3), np.ones(3)
    >>> round(log_likelihood(coin, family_of("binomial"), np.full(3, 0.5), 0.0), 6)      # log of 1 in 8
    -2.079442
    """
    from scipy.special import gammaln, xlog1py, xlogy

    used = rows[1] > 0
    y, w, trials, mu = (part[used] for part in (*rows, mean))
    if held is not None and held != 1 and not family.estimates_dispersion:
        return None
    match family.name:
        case "gaussian":
            phi = deviance / len(y) if held is None else held
            return float(-(np.sum(np.log(2 * np.pi * phi / w)) + deviance / phi) / 2)
        case "binomial":
            m = trials if (trials > 1).any() else w
            successes, whole = np.round(m * y), np.round(m)
            choices = gammaln(whole + 1) - gammaln(successes + 1) - gammaln(whole - successes + 1)
            return float(np.sum(w / m * (choices + xlogy(successes, mu) + xlog1py(whole - successes, -mu))))
        case "poisson":
            return float(np.sum(w * (xlogy(y, mu) - mu - gammaln(y + 1))))
        case "gamma":
            phi = deviance / float(w.sum()) if held is None else held
            shape = 1 / phi
            return float(np.sum(w * (shape * np.log(shape * y / mu) - shape * y / mu - np.log(y) - gammaln(shape))))
        case "inverse_gaussian":
            phi = deviance / float(w.sum()) if held is None else held
            return float(-(np.sum(w * np.log(2 * np.pi * phi * y**3)) + deviance / phi) / 2)
    return None


def null_deviance(regression: Regression, family: Family) -> float:
    """The deviance without any column but the intercept, where there is one; of the maximum of the likelihood.

    NaN where the empty model has no maximum inside the family's domain.

    Examples
    --------
    >>> from workbench.bayesglm.regression import read_regression
    >>> from workbench.families import family_of
    >>> gaussian = family_of("gaussian")
    >>> null_deviance(read_regression("y ~ x", {"y": [1.0, 3.0], "x": [0, 1]}, gaussian), gaussian)
    2.0
    """
    if regression.intercept is not None and not regression.offset.any():
        return deviance_of_the_mean(regression, family)
    used = regression.weights > 0
    y, w, offset = regression.y[used], regression.weights[used], regression.offset[used]
    if regression.intercept is None:
        with np.errstate(all="ignore"):  # a mean of no predictor at all may be infinite
            mean = family.inverse(offset)
            return family.deviance(y, mean, w) if family.within(offset, mean).all() else float("nan")
    zero, flat = np.zeros(1), np.full(1, np.inf)
    try:
        alone = posterior_mode(
            y, np.ones((len(y), 1)), family, CoefficientPriors(zero, flat, flat, flat), w, offset, 1.0,
            starting=regression.starting[used],
        )  # fmt: skip
    except DesignError:
        return float("nan")
    return alone.deviance


def deviance_of_the_mean(regression: Regression, family: Family) -> float:
    """The deviance where every mean is the weighted mean of the response, whatever the columns and the offset.

    Examples
    --------
    >>> from workbench.bayesglm.regression import read_regression
    >>> from workbench.families import family_of
    >>> gaussian = family_of("gaussian")
    >>> deviance_of_the_mean(read_regression("y ~ x", {"y": [1.0, 3.0], "x": [0, 1]}, gaussian), gaussian)
    2.0
    """
    used = regression.weights > 0
    y, w = regression.y[used], regression.weights[used]
    if np.ptp(y) == 0:
        return 0.0
    return family.deviance(y, np.full(len(y), float(w @ y / w.sum())), w)

"""Log densities of counts and shares as functions of the linear predictor, with the derivatives that modes need.

With s successes, f failures (of a binomial row, all counted with their weights), m the mean and w a weight:

=========  ===================================================================================================
name       is
=========  ===================================================================================================
``log``    the log density less what does not depend on eta: s log p + f log(1 - p), or w (y eta - exp eta)
``score``  its derivative by eta
``curve``  *observed* information: less the second derivative, never negative for these links
``slope``  the derivative of an information by eta
=========  ===================================================================================================

The *expected* information is the mean of the observed one over the response; for the canonical links (logit, log) the
two are one. With h(x) = phi(x) / Phi(x), for probit, and k = H / (exp H - 1) at the hazard H = exp(eta), for cloglog:

========  =================================  ==========================================  ======================
link      score                              observed                                    expected
========  =================================  ==========================================  ======================
logit     s - (s + f) p                      (s + f) p (1 - p)                           the same
probit    s h(eta) - f h(-eta)               s h(eta) (eta + h(eta))                     (s + f) h(eta) h(-eta)
                                             + f h(-eta) (h(-eta) - eta)
cloglog   s k - f H                          s k (k + H - 1) + f H                       (s + f) H k
log       w (y - m)                          w m                                         the same
========  =================================  ==========================================  ======================

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd edition, chapters 2, 4 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 700.0
"""exp() of more has no number; such predictors count as this."""
SMALL_HAZARD = 0.3
"""Below it k + H - 1 is summed as a series: as a difference it would lose digits."""


@dataclass(frozen=True, eq=False)
class Terms:
    """A log density and its derivatives by the linear predictor, by row, shape (n,) each (see the module's table)."""

    log: Array
    score: Array
    curve: Array


@dataclass(frozen=True, eq=False)
class Information:
    """An information and its derivative by the linear predictor, by row, shape (n,) each."""

    value: Array
    slope: Array


@dataclass(frozen=True, eq=False)
class Density:
    """The log density of rows of counts or shares.

    Attributes
    ----------
    family, link : str
        ``binomial`` with logit, probit or cloglog; ``poisson`` with log.
    successes, failures : array, shape (n,)
        Of a Poisson row w y and w.

    Examples
    --------
    >>> row = Density("binomial", "logit", np.array([3.0]), np.array([1.0]))
    >>> terms = row.terms(np.array([0.0]))
    >>> terms.log.round(4).tolist(), terms.score.tolist(), terms.curve.tolist()
    ([-2.7726], [1.0], [1.0])
    """

    family: str
    link: str
    successes: Array
    failures: Array

    @property
    def canonical(self) -> bool:
        """Whether observed and expected information are one."""
        return self.link in ("logit", "log")

    def at_nodes(self) -> Density:
        """The same for linear predictors of shape (n, K), K nodes to a row."""
        return Density(self.family, self.link, self.successes[:, None], self.failures[:, None])

    def terms(self, eta: Array) -> Terms:
        """The log density, score and observed information at linear predictors that the rows broadcast against."""
        return _TERMS[self.link](eta, self.successes, self.failures)

    def mean(self, eta: Array) -> Array:
        """The mean of a response, of a binomial one the probability of success; a probability may be 0 or 1."""
        if self.link == "log":
            return np.asarray(np.exp(np.minimum(eta, FAR)))
        if self.link == "cloglog":
            return np.asarray(-np.expm1(-np.exp(np.minimum(eta, FAR))))
        from scipy.special import expit, ndtr

        return np.asarray(expit(eta) if self.link == "logit" else ndtr(eta))

    def information(self, eta: Array, terms: Terms, expected: bool) -> Information:
        """The expected or observed information at linear predictors of shape (n,), where `terms` have been made."""
        return _INFORMATION[self.link](eta, self.successes, self.failures, terms, expected)


# --- logit --------------------------------------------------------------------------------------------


def _logit(eta: Array, s: Array, f: Array) -> Terms:
    small = np.exp(-np.abs(eta))
    larger = 1 / (1 + small)
    smaller = small * larger
    p = np.where(eta < 0, smaller, larger)
    m = s + f
    log = s * eta - m * (np.maximum(eta, 0.0) + np.log1p(small))
    return Terms(log, s - m * p, m * smaller * larger)


def _logit_information(eta: Array, s: Array, f: Array, terms: Terms, expected: bool) -> Information:
    return Information(terms.curve, -terms.curve * np.tanh(eta / 2))  # 1 - 2 p


# --- log ----------------------------------------------------------------------------------------------


def _log(eta: Array, wy: Array, w: Array) -> Terms:
    mean = w * np.exp(np.minimum(eta, FAR))
    return Terms(wy * eta - mean, wy - mean, mean)


def _log_information(eta: Array, wy: Array, w: Array, terms: Terms, expected: bool) -> Information:
    return Information(terms.curve, terms.curve)


# --- probit -------------------------------------------------------------------------------------------


def _hazards(eta: Array) -> tuple[Array, Array, Array, Array]:
    """log Phi(eta), log Phi(-eta), phi / Phi(eta) and phi / Phi(-eta)."""
    from scipy.special import log_ndtr

    below, above = log_ndtr(eta), log_ndtr(-eta)
    bell = -0.5 * eta * eta - 0.5 * np.log(2 * pi)
    return below, above, np.exp(bell - below), np.exp(bell - above)


def _probit(eta: Array, s: Array, f: Array) -> Terms:
    below, above, h, g = _hazards(eta)
    return Terms(s * below + f * above, s * h - f * g, s * h * (eta + h) + f * g * (g - eta))


def _probit_information(eta: Array, s: Array, f: Array, terms: Terms, expected: bool) -> Information:
    _, _, h, g = _hazards(eta)
    a, b = eta + h, g - eta
    if expected:
        value = (s + f) * h * g
        return Information(value, value * (b - a))
    return Information(terms.curve, s * h * (1 - h * a - a * a) + f * g * (b * b + g * b - 1))


# --- cloglog ------------------------------------------------------------------------------------------


def _cloglog_parts(eta: Array) -> tuple[Array, Array, Array]:
    """H, k = H / (exp H - 1) and k + H - 1."""
    H = np.exp(np.minimum(eta, FAR))
    with np.errstate(over="ignore"):
        k = np.where(H > 0, H / np.where(H > 0, np.expm1(H), 1.0), 1.0)
    squared = np.minimum(H, 1.0) ** 2
    series = H / 2 + squared / 12 * (1 - squared / 60 * (1 - squared / 42 * (1 - squared / 40)))
    return H, k, np.where(H < SMALL_HAZARD, series, k + H - 1)


def _cloglog(eta: Array, s: Array, f: Array) -> Terms:
    H, k, rise = _cloglog_parts(eta)
    log_p = np.where(eta < -FAR, eta, np.log(-np.expm1(-np.where(eta < -FAR, 1.0, H))))
    return Terms(s * log_p - f * H, s * k - f * H, s * k * rise + f * H)


def _cloglog_information(eta: Array, s: Array, f: Array, terms: Terms, expected: bool) -> Information:
    H, k, rise = _cloglog_parts(eta)
    if expected:
        value = (s + f) * H * k
        return Information(value, value * (1 - rise))
    return Information(terms.curve, s * k * (H - k * rise - rise * rise) + f * H)


_TERMS: dict[str, Callable[[Array, Array, Array], Terms]] = {
    "logit": _logit, "log": _log, "probit": _probit, "cloglog": _cloglog,
}  # fmt: skip
_INFORMATION: dict[str, Callable[[Array, Array, Array, Terms, bool], Information]] = {
    "logit": _logit_information, "log": _log_information, "probit": _probit_information,
    "cloglog": _cloglog_information,
}  # fmt: skip

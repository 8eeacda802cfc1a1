"""Families of responses and their links, statsmodels' under one roof (loaded for what is not gaussian with identity).

=====================  ============================================  ==================================
family                 links, the default first                      variance; dispersion
=====================  ============================================  ==================================
``gaussian``           identity, log, inverse                        1; estimated
``binomial``           logit, probit, cloglog, cauchit, log          mu (1 - mu); 1
``poisson``            log, identity, sqrt                           mu; 1
``gamma``              inverse, log, identity                        mu^2; estimated
``inverse_gaussian``   inverse_squared, inverse, identity, log       mu^3; estimated
``quasibinomial``      as binomial                                   mu (1 - mu); estimated
``quasipoisson``       as poisson                                    mu; estimated
=====================  ============================================  ==================================

All of them are open to ``bayesglm``; models of groups take those in `GROUPED_LINKS`.

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd edition, chapter 2.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DesignError, OptionError, nearest

Array = NDArray[np.float64]

_OF_PROBABILITIES = ("logit", "probit", "cloglog", "cauchit", "log")
_OF_COUNTS = ("log", "identity", "sqrt")
LINKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gaussian": ("identity", "log", "inverse"),
        "binomial": _OF_PROBABILITIES,
        "poisson": _OF_COUNTS,
        "gamma": ("inverse", "log", "identity"),
        "inverse_gaussian": ("inverse_squared", "inverse", "identity", "log"),
        "quasibinomial": _OF_PROBABILITIES,
        "quasipoisson": _OF_COUNTS,
    }
)
"""The families and their links, the default link first."""
GROUPED_LINKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gaussian": LINKS["gaussian"][:1],
        "binomial": LINKS["binomial"][:3],
        "poisson": LINKS["poisson"][:1],
        "gamma": LINKS["gamma"][:2],
    }
)
"""What models of groups take of these, the default link first."""

_FAMILY_NAMES = {
    "gaussian": "Gaussian", "binomial": "Binomial", "poisson": "Poisson", "gamma": "Gamma",
    "inverse_gaussian": "InverseGaussian", "quasibinomial": "Binomial", "quasipoisson": "Poisson",
}  # fmt: skip
_LINK_NAMES = {
    "identity": "Identity", "log": "Log", "logit": "Logit", "probit": "Probit", "cloglog": "CLogLog",
    "cauchit": "Cauchy", "sqrt": "Sqrt", "inverse": "InversePower", "inverse_squared": "InverseSquared",
}  # fmt: skip
_TINY = float(np.finfo(float).eps)
"""Probabilities stay this far from 0 and 1, means of log links from 0, and slopes of such links from 0, as in R."""
LOGIT_REACH, CLOGLOG_REACH = 30.0, 700.0
"""Beyond these linear predictors such means count as 0 or 1; R's limits, on which runaway fits depend."""


LEAST_INFORMATION = 1e-100
"""Of rows that take no part in a reweighted regression."""
CERTAIN = 10 * _TINY
"""Fitted probabilities this close to 0 or 1 are that to rounding."""
SEPARATED = "Some fitted probabilities are 0 or 1 to rounding: outcomes are separated"
"""What is said then; what follows of it, and what to do, depends on the estimator."""


@dataclass(frozen=True)
class Family:
    """What reweighted least squares must know of a family and its link; make one with :func:`family_of`.

    Attributes
    ----------
    name, link_name : str
        As in `LINKS`.
    """

    name: str
    link_name: str

    @property
    def estimates_dispersion(self) -> bool:
        """Whether the dispersion is a parameter; it is 1 for counts and proportions."""
        return self.name not in ("binomial", "poisson")

    @property
    def of_probabilities(self) -> bool:
        """Whether means lie between 0 and 1."""
        return self.name in ("binomial", "quasibinomial")

    @property
    def constant_weights(self) -> bool:
        """Whether working weights and responses are the same in every iteration."""
        return (self.name, self.link_name) == ("gaussian", "identity")

    @cached_property
    def _of_statsmodels(self) -> tuple[Any, Any]:
        from statsmodels.genmod import families

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # links that reach beyond the domain are checked here, step by step
            return getattr(families, _FAMILY_NAMES[self.name])(), getattr(families.links, _LINK_NAMES[self.link_name])()

    @cached_property
    def _reach(self) -> tuple[float, float]:
        """Between which linear predictors means differ from their limits by more than rounding."""
        if self.link_name == "log":
            return float(np.log(_TINY)), np.inf
        if not self.of_probabilities:
            return -np.inf, np.inf
        ends = self._of_statsmodels[1](np.array([_TINY, 1 - _TINY]))
        return float(ends[0]), float(ends[1])

    def link(self, mean: Array) -> Array:
        """The linear predictor of a mean, elementwise."""
        if self.link_name == "identity":
            return np.asarray(mean, dtype=float)
        if self.link_name in ("logit", "log"):  # the commonest: statsmodels takes a second to import
            mean = np.asarray(mean, dtype=float)
            return np.asarray(np.log(mean if self.link_name == "log" else mean / (1 - mean)))
        if self.link_name == "cloglog":  # log(-log(1 - mean)), without cancellation
            return np.asarray(np.log(-np.log1p(-np.asarray(mean, dtype=float))))
        return np.asarray(self._of_statsmodels[1](mean), dtype=float)

    def information(self, predictor: Array) -> Array:
        """The expected information of one trial or row on its linear predictor, elementwise: slope^2 / variance."""
        return np.asarray(self.slope(predictor) ** 2 / self.variance(self.inverse(predictor)))

    def certain(self, mean: Array) -> bool:
        """Whether any mean is a probability of 0 or 1 to rounding."""
        return self.of_probabilities and bool(((mean < CERTAIN) | (mean > 1 - CERTAIN)).any())

    def inverse(self, predictor: Array) -> Array:
        """The mean of a linear predictor, elementwise; the limits are never reached."""
        if self.link_name == "identity":
            return np.asarray(predictor, dtype=float)
        if self.link_name == "logit":
            odds = np.where(predictor < 0, _TINY, 1 / _TINY)
            np.exp(predictor, out=odds, where=~(np.abs(predictor) > LOGIT_REACH))  # of NaN too, which stays NaN
            return np.asarray(odds / (1 + odds))
        if self.link_name == "cloglog":  # 1 - exp(-exp(x)), without cancellation
            return np.asarray(np.clip(-np.expm1(-np.exp(np.minimum(predictor, CLOGLOG_REACH))), _TINY, 1 - _TINY))
        within = np.clip(predictor, *self._reach)
        return np.asarray(np.exp(within) if self.link_name == "log" else self._of_statsmodels[1].inverse(within))

    def slope(self, predictor: Array) -> Array:
        """The derivative of the mean by the linear predictor, elementwise; never zero."""
        if self.link_name == "identity":
            return np.ones_like(predictor, dtype=float)
        if self.link_name == "logit":
            odds = np.exp(np.clip(predictor, -LOGIT_REACH, LOGIT_REACH))
            return np.asarray(np.where(np.abs(predictor) > LOGIT_REACH, _TINY, odds / (1 + odds) ** 2))
        if self.link_name == "cloglog":
            capped = np.minimum(predictor, CLOGLOG_REACH)
            return np.asarray(np.maximum(np.exp(capped) * np.exp(-np.exp(capped)), _TINY))
        within = predictor if self.of_probabilities and self.link_name != "log" else np.clip(predictor, *self._reach)
        if self.link_name == "log":
            return np.maximum(np.exp(within), _TINY)
        slope: Array = np.asarray(self._of_statsmodels[1].inverse_deriv(within), dtype=float)
        return np.maximum(slope, _TINY) if np.isfinite(self._reach[0]) else slope

    def variance(self, mean: Array) -> Array:
        """The variance function of a mean, elementwise; a response varies by dispersion / weight times it."""
        if self.of_probabilities:
            return mean * (1 - mean)
        if self.name == "gaussian":
            return np.ones_like(mean, dtype=float)
        if _FAMILY_NAMES[self.name] == "Poisson":
            return np.asarray(mean, dtype=float)
        return np.asarray(self._of_statsmodels[0].variance(mean), dtype=float)

    def deviance(self, y: Array, mean: Array, weights: Array) -> float:
        """Twice the log likelihood that is lost against a perfect fit, times the dispersion."""
        if self.of_probabilities:
            from scipy.special import xlogy

            return float(2 * np.sum(weights * (xlogy(y, y / mean) + xlogy(1 - y, (1 - y) / (1 - mean)))))
        if self.name == "gaussian":
            return float(np.sum(weights * (y - mean) ** 2))
        if _FAMILY_NAMES[self.name] == "Poisson":
            from scipy.special import xlogy

            return float(2 * np.sum(weights * (xlogy(y, y / mean) - (y - mean))))
        return float(self._of_statsmodels[0].deviance(y, mean, freq_weights=weights))

    def start(self, y: Array, weights: Array) -> Array:
        """Means to start from: the response, moved inside the domain; its mean where the link has no value for it."""
        if self.of_probabilities:
            return np.asarray((weights * y + 0.5) / (weights + 1))
        start = y + 0.1 if _FAMILY_NAMES[self.name] == "Poisson" else y.copy()
        level = start.mean()
        with np.errstate(all="ignore"):
            linked, possible = (np.isclose(self.inverse(self.link(m)), m) for m in (start, np.array(level)))
        if not (linked.all() or possible):
            raise DesignError(
                f"The {self.link_name} link has no value for the mean of the response ({level:g}). Use another link."
            )
        return np.asarray(np.where(linked, start, level))

    def inside(self, predictor: Array, mean: Array) -> bool:
        """Whether all means, and the linear predictors they come from, are in the domain."""
        return bool(self.within(predictor, mean).all())

    def within(self, predictor: Array, mean: Array) -> NDArray[np.bool_]:
        """Which means, and the linear predictors they come from, are in the domain, elementwise."""
        within = np.isfinite(predictor) & np.isfinite(mean)
        if self.link_name in ("sqrt", "inverse_squared"):
            within &= predictor > 0
        if self.name != "gaussian":
            within &= mean > 0
        if self.of_probabilities:
            within &= mean < 1
        return np.asarray(within)

    def check_response(self, label: str, y: Array) -> None:
        """Refuse a response that the family cannot have, with the first such value."""
        match _FAMILY_NAMES[self.name]:
            case "Binomial":
                outside, allowed = (y < 0) | (y > 1), "between 0 and 1"
                advice = "Mend it, write cbind(successes, failures) for counts, or choose another family."
            case "Poisson":
                outside, allowed, advice = y < 0, "0 or more", "Mend it, or choose another family."
            case "Gamma" | "InverseGaussian":
                outside, allowed, advice = y <= 0, "positive", "Mend it, or choose another family."
            case _:
                return
        bad = np.flatnonzero(outside)
        if len(bad):
            raise DesignError(
                f"A {self.name} response must be {allowed}, but {label} is {y[bad[0]]:g} in {len(bad):,} of "
                f"{len(y):,} rows (the first value). {advice}"
            )


def family_of(name: str, link: str | None = None, known: Mapping[str, tuple[str, ...]] = LINKS) -> Family:
    """A family with one of its links (the default one where none is named), or OptionError; `known` are all there are.

    Examples
    --------
    >>> family_of("binomial").inverse(np.array([0.0])).tolist()
    [0.5]
    >>> family_of("poison")
    Traceback (most recent call last):
    workbench.errors.OptionError: There is no family 'poison'. Did you mean 'poisson'?
    >>> family_of("binomial", "cauchit", GROUPED_LINKS)
    Traceback (most recent call last):
    workbench.errors.OptionError: The binomial family has no link 'cauchit' here. There are: logit, probit, cloglog.
    """
    chosen = name.lower() if isinstance(name, str) else repr(name)
    if chosen not in known:
        raise OptionError(f"There is no family {name!r}. {nearest(str(name), known)}")
    links = known[chosen]
    if link is not None and link not in links:
        raise OptionError(f"The {chosen} family has no link {link!r} here. {nearest(str(link), links)}")
    return Family(chosen, link or links[0])

"""Marginal posteriors of standard deviations, correlations and sigma, as curves for pictures, with their priors.

From a fit by quadrature they are the densities themselves. Draws become a kernel density that knows the limits of what
is possible: what would spill over a boundary is folded back (Silverman 1986, doi:10.1201/9781315140919, sections 2.10
and 3.4.2), so that a posterior that leans on zero is not drawn as if it fell there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import WorkbenchError
from workbench.exact_posterior import ExactPosterior
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior, parse_prior

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

BAYESIAN = ("exact", "hierarchical")
"""Fits with posteriors, the one without Monte Carlo error first."""
MIDDLE = 0.95
KEPT = 20_000
"""A kernel density is made of so many draws at most."""


@dataclass(frozen=True, eq=False)
class Marginal:
    """One parameter's posterior.

    Attributes
    ----------
    name, source : str
        The parameter's, and the estimator's; ``""`` where no fit of the comparison has it.
    low, median, high : float
        Of the middle 95 %.
    far : float
        The 98 % quantile.
    prior : Prior or None
    terms : int
        Of a correlation, how many terms its matrix has.
    """

    name: str
    source: str
    low: float
    median: float
    high: float
    far: float
    prior: Prior | None
    terms: int
    _curve: Any

    def density(self, x: Array) -> Array:
        """The posterior density at points, shape (k,)."""
        return np.asarray(self._curve(np.asarray(x, dtype=float)))

    def prior_density(self, x: Array) -> Array | None:
        """The prior's; None of an improper one, and where none is known."""
        if self.prior is None or self.prior.kind == "Flat":
            return None
        x = np.asarray(x, dtype=float)
        if self.prior.kind == "LKJ":
            from scipy.stats import beta

            shape = self.prior.values[0] - 1 + self.terms / 2
            return np.asarray(beta.pdf((x + 1) / 2, shape, shape) / 2)
        return np.exp([self.prior.log_density(v, positive=True) for v in x.tolist()])


def marginal(comparison: Comparison, name: str) -> Marginal | None:
    """A parameter's posterior in the first fit of `BAYESIAN` that has it; None without any."""
    for source in BAYESIAN:
        fit = comparison.fits.get(source)
        found = None if fit is None else _of_fit(fit, name)
        if found is not None:
            return found
    return None


def integrated(comparison: Comparison, name: str) -> Marginal | None:
    """A standard deviation's posterior by quadrature, under the priors of the comparison's sampled fit or the defaults.

    Of gaussian designs with one varying term of one factor, where it takes milliseconds; None of others.
    """
    design = comparison.design
    stated = comparison.fits.get("hierarchical")
    if design.family != "gaussian" or sum(len(b.terms) for b in design.blocks) != 1 or _robust(stated):
        return None
    try:
        given = stated.priors if stated is not None and name in stated.priors else {}
        priors = resolve_priors(design, given)
        return _by_quadrature(design, ExactPosterior.of(design, priors), priors, name, "")
    except WorkbenchError:  # improper, no residual variance, priors that are not normal: there is nothing to draw
        return None


def parameter_prior(name: str, priors: Mapping[str, str]) -> Prior | None:
    """The prior of a parameter among the resolved ones of a fit; a correlation's is that of its matrix."""
    key = name if name in priors else next((k for k in priors if k.startswith("cor(") and _beneath(name, k)), None)
    return None if key is None else parse_prior(priors[key], key)


def _beneath(name: str, key: str) -> bool:
    return name.startswith(key[:-1] + ", ")


def _robust(fit: Fit | None) -> bool:
    return bool(fit is not None and getattr(fit.options, "robust", False))


def _of_fit(fit: Fit, name: str) -> Marginal | None:
    if fit.posterior is not None and name in fit.posterior.names:
        prior = parameter_prior(name, fit.priors)
        return _by_quadrature(fit.design, fit.posterior, {name: prior} if prior else {}, name, fit.estimator)
    if fit.sampled is None:
        return None
    from workbench.sampling.draws import named_parameters

    names, values = named_parameters(fit.design, fit.sampled.drawn)
    if name not in names:
        return None
    drawn = values[..., names.index(name)].ravel()
    low, median, high, far = np.quantile(drawn, [(1 - MIDDLE) / 2, 0.5, (1 + MIDDLE) / 2, 0.98]).tolist()
    limits = (-1.0, 1.0) if name.startswith("cor(") else (0.0, inf)
    terms = next((len(b.terms) for b in fit.design.blocks if _beneath(name, f"cor({b.group})")), 0)
    kernel = folded_kernel(drawn[:: -(-len(drawn) // KEPT)], limits)
    prior = parameter_prior(name, fit.priors)
    return Marginal(name, fit.estimator, low, median, high, far, prior, terms, kernel)


def _by_quadrature(design: Design, posterior: Any, priors: Mapping[str, Prior], name: str, source: str) -> Marginal:
    found = posterior.parameter(name)
    ends = found.quantile(np.array([(1 - MIDDLE) / 2, 0.5, (1 + MIDDLE) / 2, 0.98]))
    low, median, high, far = np.asarray(ends, float).tolist()
    return Marginal(name, source, low, median, high, far, priors.get(name), 0, found.density)


def folded_kernel(draws: Array, limits: tuple[float, float]) -> Any:
    """A kernel density of draws between limits, as a function; what would lie beyond a limit is folded back.

    Normal kernels, their bandwidth by the normal rule, 1.06 min(SD, IQR / 1.34) n^(-1/5).

    Examples
    --------
    >>> density = folded_kernel(np.abs(np.random.default_rng(1).normal(size=4000)), (0.0, inf))
    >>> density(np.array([-0.1, 0.0, 1.0])).round(1).tolist()      # of the half-normal, 0.8 and 0.5
    [0.0, 0.8, 0.5]
    """
    low, high = limits
    quartiles = np.quantile(draws, [0.25, 0.75])
    spread = min(float(draws.std()), float(quartiles[1] - quartiles[0]) / 1.34) or float(draws.std())
    width = max(1.06 * spread * len(draws) ** -0.2, 1e-12)
    ends = np.linspace(draws.min() - 4 * width, draws.max() + 4 * width, 1025)
    counts, _ = np.histogram(draws, ends)
    centres, kept = (ends[1:] + ends[:-1]) / 2, counts > 0

    def plain(x: Array) -> Array:
        z = (x[:, None] - centres[kept]) / width
        return np.asarray(np.exp(-0.5 * z**2) @ counts[kept] / (len(draws) * width * np.sqrt(2 * np.pi)))

    def density(x: Array) -> Array:
        found = plain(x)
        found += plain(2 * low - x) if np.isfinite(low) else 0.0
        found += plain(2 * high - x) if np.isfinite(high) else 0.0
        return np.where((x >= low) & (x <= high), found, 0.0)

    return density

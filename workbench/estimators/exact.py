"""`exact`: the likelihood integrated, by quadrature in place of sampling.

The posterior is that of `hierarchical`, under the same priors, for one grouping factor with one varying term:
:mod:`workbench.exact_posterior.posterior`. What a sampler gives to Monte Carlo error, this gives to ten digits, in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError
from workbench.estimates import Component, Estimates, GroupEffects, Parameters
from workbench.estimators import NOTHING, Settings
from workbench.exact_posterior import TOLERANCE, ExactPosterior, Summary
from workbench.fit import Fit
from workbench.priors import Prior, resolve_priors
from workbench.sampling.draws import Draws
from workbench.sampling.tree import Sampled

Array = NDArray[np.float64]

CHAINS = 4
"""Draws come in so many chains, as a sampler's do, though all are independent."""


@dataclass(frozen=True)
class Options:
    """Options of `exact`.

    Attributes
    ----------
    draws : int
        Independent draws per chain, of four chains; none by default, since no summary needs them.
    tolerance : float
        Of the marginal densities of the standard deviations, the share of the whole that is left unresolved.
    """

    draws: int = 0
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 0:
            raise OptionError(f"draws is {self.draws!r}, but must be a whole number from 0 on.")
        number = isinstance(self.tolerance, int | float) and not isinstance(self.tolerance, bool)
        if not number or not 1e-13 <= self.tolerance <= 1e-3:
            raise OptionError(f"tolerance is {self.tolerance!r}, but must lie between 1e-13 and 0.001.")


def exact(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Integrate the posterior of the full hierarchical model.

    Parameters
    ----------
    design : Design
        Gaussian, with one grouping factor and one varying term; sigma estimated, or standard errors known.
    settings : Settings
        `priors` (of population coefficients normal or flat), `level` of the equal-tailed intervals, `seed` of draws.
    options : Options
    upstream : not used

    Returns
    -------
    Fit
        Posterior means and SDs, medians and equal-tailed intervals. ``posterior`` is the
        :class:`~workbench.exact_posterior.posterior.ExactPosterior`, with every marginal density. `draws` is an ArviZ
        DataTree, where draws were asked for. A mean or SD that does not exist is infinite (or NaN), and a warning says
        so.

    Raises
    ------
    DesignError, PriorError
        Several grouping factors or varying terms, other priors of population coefficients (`hierarchical` takes these);
        a posterior that is improper.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> schools = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "school": list("ABCDEFGH")}
    >>> design = build_design("y ~ 1 + (1 | school)", schools, se=[15.0, 10, 16, 11, 9, 11, 10, 18])
    >>> fit = exact(design, Settings(priors={"(Intercept)": "Normal(0, 5)", "sd": "HalfCauchy(5)"}))
    >>> fit.group_effects[0].coefficient.estimate[:3, 0].round(5).tolist()
    [6.21188, 4.94018, 3.927]
    >>> fit.posterior.parameter("sd(school, (Intercept))").cdf(np.array([5.0])).round(5).tolist()
    [0.75072]
    """
    priors = resolve_priors(design, settings.priors)
    posterior = ExactPosterior.of(design, priors, options.tolerance)
    level, block, p = settings.level, design.blocks[0], posterior.model.p
    rule = posterior.rule_for(p + 2 * len(block.levels))
    population = posterior.summary(posterior.population, rule, level)
    coefficient, effect = (
        _estimates(posterior.summary(posterior.groups(whole=whole), rule, level), level, column=True)
        for whole in (True, False)
    )
    parameters = _parameters(posterior, population, level)
    tau = parameters.estimates.estimate[-1]
    return Fit(
        estimator="exact",
        design=design,
        population=_estimates(population, level),
        fixed_cov=_covariance(posterior, population),
        components=(Component(block.group, block.terms, np.array([[tau**2]])),),
        group_effects=(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient),),
        sigma=1.0 if design.known_se else float(parameters.estimates.estimate[p]),
        own_fitted=_fitted(design, population, coefficient.estimate[:, 0]),
        converged=posterior.resolved.error <= options.tolerance,
        warnings=(*design.notes, *_warnings(posterior, options, parameters)),
        diagnostics=MappingProxyType(
            {
                "error": posterior.resolved.error,
                "nodes": posterior.resolved.mass.size,
                "mixture_nodes": len(rule.weights),
                "log_evidence": posterior.log_evidence,
            }
            | ({"seed": settings.seed} if options.draws else {})
        ),
        parameters=parameters,
        sampled=_sampled(posterior, priors, options.draws, int(settings.seed)) if options.draws else None,
        posterior=posterior,
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )


# --- the answer ---------------------------------------------------------------------------------------


def _estimates(found: Summary, level: float, column: bool = False) -> Estimates:
    """With the labels; as a column, (m, 1), where there is one per level."""
    parts = (found.mean, found.sd, *found.quantiles.T)
    mean, sd, low, median, high = (part[:, None] if column else part for part in parts)
    return Estimates(
        mean, sd, low, high, "posterior mean", "posterior SD", f"equal-tailed {100 * level:.4g} %", median=median
    )


def _parameters(posterior: ExactPosterior, population: Summary, level: float) -> Parameters:
    """Population coefficients, sigma and the SD of the groups, under the names of their priors."""
    tail = (1 - level) / 2
    means, sds, quantiles = [population.mean], [population.sd], [population.quantiles]
    for which in (0,) if posterior.design.known_se else (1, 0):
        marginal = posterior.deviation(which)
        mean, sd = marginal.moments
        means.append(np.array([mean]))
        sds.append(np.array([sd]))
        quantiles.append(marginal.quantile(np.array([tail, 0.5, 1 - tail]))[None])
    found = Summary(np.concatenate(means), np.concatenate(sds), np.concatenate(quantiles))
    return Parameters(posterior.names, _estimates(found, level))


def _covariance(posterior: ExactPosterior, population: Summary) -> Array:
    """Posterior covariance of the population coefficients: the mean of that given (tau, sigma), plus that of means."""
    rule, T = posterior.rule, posterior.model.data.shift.to_data
    roots = np.einsum("ab,bkn->akn", T, rule.given.root)
    away = T @ rule.given.b
    away = away - (away @ rule.weights)[:, None]
    covariance = np.einsum("akn,bkn,n->ab", roots, roots, rule.weights) + (away * rule.weights) @ away.T
    np.fill_diagonal(covariance, population.sd**2)
    return np.asarray(covariance)


def _fitted(design: Design, population: Summary, coefficients: Array) -> Array | None:
    """Fitted values where a population mean does not exist, which the groups' coefficients do not need."""
    block = design.blocks[0]
    if np.isfinite(population.mean).all() or block.fixed[0] is None:
        return None
    others = np.arange(len(population.mean)) != block.fixed[0]
    return np.asarray(
        design.X[:, others] @ population.mean[others] + block.Z[:, 0] * coefficients[block.codes] + design.offset
    )


def _warnings(posterior: ExactPosterior, options: Options, parameters: Parameters) -> list[str]:
    found = []
    if not posterior.resolved.error <= options.tolerance:
        found.append(
            f"The quadrature did not converge: with {posterior.resolved.mass.size:,} nodes its error is "
            f"{posterior.resolved.error:.1g}, above {options.tolerance:.1g}. Use a prior with a shorter tail."
        )
    power = posterior.axes[0].power
    if power < 2:
        what = "no standard deviation" if power else "neither mean nor standard deviation"
        found.append(
            f"The posterior of {parameters.names[-1]} is proper but has {what}: its prior does not keep it from large "
            "values, and the groups are few. Read medians and intervals, or use a prior with a shorter tail."
        )
    return found


# --- draws --------------------------------------------------------------------------------------------


def _sampled(posterior: ExactPosterior, priors: Mapping[str, Prior], draws: int, seed: int) -> Sampled:
    """Independent draws, laid out as a hierarchical fit's."""
    drawn = {
        key: value.reshape(CHAINS, draws, *value.shape[1:])
        for key, value in posterior.draw(CHAINS * draws, seed).items()
    }
    parts = Draws(
        b=drawn["b"],
        sigma=None if posterior.design.known_se else drawn["sigma"],
        sd=(drawn["tau"][:, :, None],),
        correlation=(np.ones((CHAINS, draws, 1, 1)),),
        effects=(drawn["effect"][..., None],),
    )
    return Sampled(posterior.design, parts, priors, seed)

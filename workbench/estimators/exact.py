"""`exact`: the likelihood integrated, by quadrature in place of sampling.

The posterior is that of `hierarchical`, under the same priors, for one grouping factor with one varying term: of
gaussian responses :mod:`workbench.exact_posterior.posterior`, of binomial and Poisson ones, with intercepts only,
:mod:`workbench.exact_posterior.counts`. What a sampler gives to Monte Carlo error, this gives to eight digits or more,
in milliseconds.
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
from workbench.exact_posterior import CountPosterior, ExactPosterior, Summary, counts, posterior
from workbench.exact_posterior.deviations import Deviation
from workbench.fit import Fit
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.sampling.draws import Draws
from workbench.sampling.tree import Sampled

Array = NDArray[np.float64]

ROUGH = 1e-5
"""Of distribution functions of groups: what is not said in a warning."""
CHAINS = 4
"""Draws come in so many chains, as a sampler's do, though all are independent."""


@dataclass(frozen=True)
class Options:
    """Options of `exact`.

    Attributes
    ----------
    draws : int
        Independent draws per chain, of four chains; none by default, since no summary needs them.
    tolerance : float or None
        Of the marginal densities of the standard deviations (and the intercept, of counts), the share of the whole that
        is left unresolved; 1e-10 by default, of counts 1e-9.
    """

    draws: int = 0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 0:
            raise OptionError(f"draws is {self.draws!r}, but must be a whole number from 0 on.")
        if self.tolerance is None:
            return
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
        With one grouping factor and one varying term; gaussian (sigma estimated, or standard errors known), or binomial
        or Poisson with no more than intercepts.
    settings : Settings
        `priors` (for gaussian responses normal or flat ones of population coefficients), `level` of the equal-tailed
        intervals, `seed` of draws.
    options : Options
    upstream : not used

    Returns
    -------
    Fit
        Posterior means and SDs, medians and equal-tailed intervals; of counts and shares on the scale of the linear
        predictor, but ``fitted``, which are posterior means of the mean responses. ``posterior`` is the
        :class:`~workbench.exact_posterior.posterior.ExactPosterior` or
        :class:`~workbench.exact_posterior.counts.CountPosterior`, with every marginal density. `draws` is an ArviZ
        DataTree, where draws were asked for. A mean or SD that does not exist is infinite (or NaN), and a warning says
        so.

    Raises
    ------
    DesignError, PriorError
        Several grouping factors or varying terms; other priors of population coefficients, or of counts other
        coefficients than the intercept (`hierarchical` takes these); a posterior that is improper.

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
    priors, block = resolve_priors(design, settings.priors), design.blocks[0]
    integrate = _gaussian if design.family == "gaussian" else _counts
    found = integrate(design, priors, options.tolerance, settings.level)
    coefficient, effect = (_estimates(part, settings.level, column=True) for part in (found.coefficient, found.effect))
    parameters = _parameters(found, settings.level)
    tau, sigmas = parameters.estimates.estimate[-1], parameters.estimates.estimate[len(design.fixed_terms) : -1]
    return Fit(
        estimator="exact",
        design=design,
        population=_estimates(found.population, settings.level),
        fixed_cov=found.covariance,
        components=(Component(block.group, block.terms, np.array([[tau**2]])),),
        group_effects=(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient),),
        sigma=float(sigmas[0]) if len(sigmas) else 1.0,
        own_fitted=found.fitted,
        converged=found.error <= found.limit and found.missed <= ROUGH,
        warnings=(*design.notes, *_warnings(found, parameters)),
        diagnostics=MappingProxyType(
            {"error": found.error, **found.diagnostics, "log_evidence": found.posterior.log_evidence}
            | ({"seed": settings.seed} if options.draws else {})
        ),
        parameters=parameters,
        sampled=_sampled(design, found.posterior, priors, options.draws, int(settings.seed)) if options.draws else None,
        posterior=found.posterior,
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )


# --- what was integrated ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Found:
    """A posterior and its summaries.

    Attributes
    ----------
    deviations : tuple of Deviation
        sigma, where it is estimated, and tau.
    error, limit : float
        What is left unresolved of densities of parameters, and what may be.
    missed : float
        What is left unresolved of distribution functions of groups; 0 where these are closed forms.
    missing : mapping of str to str
        The moments that parameters do not have, in words.
    """

    posterior: ExactPosterior | CountPosterior
    population: Summary
    coefficient: Summary
    effect: Summary
    deviations: tuple[Deviation, ...]
    covariance: Array
    fitted: Array | None
    error: float
    limit: float
    diagnostics: Mapping[str, float]
    missing: Mapping[str, str]
    missed: float = 0.0


def _gaussian(design: Design, priors: Mapping[str, Prior], tolerance: float | None, level: float) -> _Found:
    """Of a gaussian response."""
    limit = posterior.TOLERANCE if tolerance is None else tolerance
    made = ExactPosterior.of(design, priors, limit)
    rule = made.rule_for(made.model.p + 2 * len(design.blocks[0].levels))
    population = made.summary(made.population, rule, level)
    coefficient, effect = (made.summary(made.groups(whole=whole), rule, level) for whole in (True, False))
    which = (0,) if design.known_se else (1, 0)
    return _Found(
        posterior=made,
        population=population,
        coefficient=coefficient,
        effect=effect,
        deviations=tuple(made.deviation(k) for k in which),
        covariance=_covariance(made, population),
        fitted=_fitted(design, population, coefficient.mean),
        error=made.resolved.error,
        limit=limit,
        diagnostics={"nodes": made.resolved.mass.size, "mixture_nodes": len(rule.weights)},
        missing=_missing({made.names[-1]: made.axes[0].power}),
    )


def _counts(design: Design, priors: Mapping[str, Prior], tolerance: float | None, level: float) -> _Found:
    """Of a binomial or Poisson response."""
    limit = counts.TOLERANCE if tolerance is None else tolerance
    with np.errstate(all="ignore"):  # far out numbers overflow, where densities are zero; others are refused there
        made = CountPosterior.of(design, priors, limit)
        population = made.population(level)
        (coefficient, lost), (effect, more) = (made.groups(whole, level) for whole in (True, False))
    moments = {made.names[-1]: made.axis.power} | dict.fromkeys(made.names[:-1], made.moments_of_b)
    return _Found(
        posterior=made,
        population=population,
        coefficient=coefficient,
        effect=effect,
        deviations=(made.deviation,),
        covariance=np.diag(population.sd**2),
        fitted=made.fitted,
        error=made.resolved.error,
        limit=limit,
        diagnostics={
            "nodes": made.surface.log_density.size,
            "different_groups": len(made.known),
            "error_of_groups": max(lost, more),
        },
        missing=_missing(moments),
        missed=max(lost, more),
    )


def _missing(moments: Mapping[str, int]) -> Mapping[str, str]:
    """Which parameters lack moments, of how many of mean and variance they have."""
    words = ("neither mean nor standard deviation", "no standard deviation")
    return {name: words[count] for name, count in moments.items() if count < 2}


# --- the answer ---------------------------------------------------------------------------------------


def _estimates(found: Summary, level: float, column: bool = False) -> Estimates:
    """With the labels; as a column, (m, 1), where there is one per level."""
    parts = (found.mean, found.sd, *found.quantiles.T)
    mean, sd, low, median, high = (part[:, None] if column else part for part in parts)
    return Estimates(
        mean, sd, low, high, "posterior mean", "posterior SD", f"equal-tailed {100 * level:.4g} %", median=median
    )


def _parameters(found: _Found, level: float) -> Parameters:
    """Population coefficients, sigma and the SD of the groups, under the names of their priors."""
    tail, population = (1 - level) / 2, found.population
    moments = np.array([marginal.moments for marginal in found.deviations])
    quantiles = [marginal.quantile(np.array([tail, 0.5, 1 - tail])) for marginal in found.deviations]
    everything = Summary(
        np.append(population.mean, moments[:, 0]),
        np.append(population.sd, moments[:, 1]),
        np.vstack([population.quantiles, *quantiles]),
    )
    return Parameters(found.posterior.names, _estimates(everything, level))


def _covariance(made: ExactPosterior, population: Summary) -> Array:
    """Posterior covariance of the population coefficients: the mean of that given (tau, sigma), plus that of means."""
    rule, T = made.rule, made.model.data.shift.to_data
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


def _warnings(found: _Found, parameters: Parameters) -> list[str]:
    said = []
    if not found.error <= found.limit:
        said.append(
            f"The quadrature did not converge: with {found.diagnostics['nodes']:,.0f} nodes its error is "
            f"{found.error:.1g}, above {found.limit:.1g}. That is all that is known of the figures here; a larger "
            "tolerance accepts it, a prior with a shorter tail often mends it."
        )
    if found.missed > ROUGH:
        said.append(
            f"Quantiles of groups are good to no more than {found.missed:.1g} in probability: given the spread, some "
            "of their posteriors are far from a bell. Means and SDs are not concerned. A prior of the intercept or the "
            "spread with a shorter tail often mends it."
        )
    tau = parameters.names[-1]
    if tau in found.missing:
        said.append(
            f"The posterior of {tau} is proper but has {found.missing[tau]}: its prior does not keep it from large "
            "values, and the groups are few. Read medians and intervals, or use a prior with a shorter tail."
        )
    for name, what in found.missing.items():
        if name != tau:
            said.append(
                f"The posterior of {name} is proper but has {what}: its prior does not keep it from large values. Read "
                "medians and intervals, or use a prior with a shorter tail."
            )
    return said


# --- draws --------------------------------------------------------------------------------------------


def _sampled(
    design: Design, made: ExactPosterior | CountPosterior, priors: Mapping[str, Prior], draws: int, seed: int
) -> Sampled:
    """Independent draws, laid out as a hierarchical fit's."""
    drawn = {
        key: value.reshape(CHAINS, draws, *value.shape[1:]) for key, value in made.draw(CHAINS * draws, seed).items()
    }
    parts = Draws(
        b=drawn["b"],
        sigma=drawn.get("sigma") if design.estimates_dispersion and not design.known_se else None,
        sd=(drawn["tau"][:, :, None],),
        correlation=(np.ones((CHAINS, draws, 1, 1)),),
        effects=(drawn["effect"][..., None],),
    )
    return Sampled(design, parts, priors, seed)

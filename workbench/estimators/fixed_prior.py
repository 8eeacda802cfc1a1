"""`fixed_prior`: the likelihood with the estimated mean and covariance of the groups plugged in as a prior.

This is what ``arm::bayesglm`` does when it is told the mean and the SD: a regression with one coefficient per group and
varying column,

    y ~ family(mean g^-1(sum_f Z_f c_f + R b + offset), dispersion phi / w),     c_fj ~ N(m, S_f) fixed,     b flat

where R are the columns that do not vary. By default m and S are REML's, of counts and shares those of `laplace`
(:mod:`workbench.plug_in`), which are plugged in with its b: given the same b and S, the modes are `laplace`'s. With
``covariance="independent"`` S keeps only its diagonal, which is all that independent priors can say; ``"joint"``
keeps the correlations.

The mode is found by the approximate EM of Gelman, Jakulin, Pittau & Su (2008, doi:10.1214/08-AOAS191), that of
:func:`workbench.bayesglm.bayesglm`, on the columns of grouping factors (:mod:`workbench.bayesglm.grouped`). For
families with a dispersion it ends where

    phi = mean of W (z - fit)^2  +  phi * mean of d'Vd,       V = (D'WD + phi S^-1)^-1,  d a row of D = [Z R]

with the second mean not weighted, as in R's bayesglm. REML's sigma^2 obeys the same equation (without prior weights),
but counts the error of the population values in V, which are held here as if they were known. So phi is a little below
sigma^2, and the coefficients are a little less shrunk: that, and nothing else, is the gap to REML for one varying
intercept. ``dispersion="reml"`` holds phi at REML's value, and the gap closes to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.em import End, approximate_em
from workbench.bayesglm.grouped import Grouped, GroupPrior, Solved, prior_scales
from workbench.bayesglm.scales import is_number
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, Estimates, GroupEffects
from workbench.estimators import NOTHING, Settings, lookup
from workbench.families import Family, family_of
from workbench.fit import Fit
from workbench.plug_in import (
    PlugIn,
    Stated,
    held,
    plug_in,
    rest_columns,
    rest_prior,
    says_everything,
    stated_priors,
    with_population,
)
from workbench.plug_in_doubts import doubts_of_plugged, is_singular
from workbench.words import join

Array = NDArray[np.float64]
SOURCES = ("reml", "ml", "laplace", "agq")
"""Estimators that can be plugged in by name."""
RESIDUALS = ("reml", "ml")
"""Those of them that have a residual variance."""
POPULATIONS = ("estimated", "plug_in")
COUNTED = ("binomial", "poisson")
"""The families of counts and shares, which `laplace` fits."""


@dataclass(frozen=True)
class Options:
    """Options of `fixed_prior`.

    Attributes
    ----------
    dispersion : "em", "reml", "ml", "plug_in" or a number > 0
        Estimated as Gelman et al. (2008), held at the residual variance of REML, ML or of the fit in `plug_in`, or held
        at a value. With "em", the dispersion of counts and shares is 1. Known standard errors leave nothing to hold.
    covariance : "independent" or "joint"
        Priors on varying terms one by one (bayesglm), or with the plugged-in correlations.
    mean : number, mapping of term to number, or None
        Your own mean of the group coefficients in place of the plugged-in one.
    sd : number, mapping, or None
        Your own SDs, by term (``Days``), by group (``sd(Subject)``) or both (``sd(Subject, Days)``), e.g.
        ``mean=0.0, sd={"(Intercept)": 2.0}``; what is not named keeps the plugged-in value.
    plug_in : "reml", "ml", "laplace", "agq", a Fit, or None
        Where mean and covariance come from: a fit of these data, or any fit that has the same terms by name. None is
        "reml" for gaussian responses and "laplace" for counts and shares.
    population : "estimated", "plug_in" or None
        What becomes of population coefficients of columns that do not vary: estimated together with the effects, under
        flat priors (bayesglm), or held where the plugged-in fit has them. Of a gaussian response at REML's own
        variances the two are one. Of counts and shares they are not: the mode of everything is not where the likelihood
        with the effects integrated out is largest. None is "plug_in" for counts and shares where a fit is plugged in,
        else "estimated". What has a stated prior is estimated.
    df : float
        Degrees of freedom of the priors of the group coefficients: inf is normal, 1 is Cauchy (bayesglm's default).
    scaled : bool
        Rescale the prior SDs as bayesglm's ``scaled = TRUE`` does: gaussian, times 2 SD of the response; other
        families, divided by the range of a group's column if it has two values, by 2 SD of it if it has more.
    tolerance : float
        Relative change of deviance and dispersion that counts as none.
    max_iterations : int
    """

    dispersion: str | float = "em"
    covariance: str = "independent"
    mean: Stated = None
    sd: Stated = None
    plug_in: str | Fit | None = None
    population: str | None = None
    df: float = np.inf
    scaled: bool = False
    tolerance: float = 1e-12
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        rules = ("em", *RESIDUALS, "plug_in")
        if self.dispersion not in rules and not (_is_number(self.dispersion) and self.dispersion > 0):
            hint = nearest(self.dispersion, rules) if isinstance(self.dispersion, str) else "Or leave it out."
            raise OptionError(
                f"dispersion is {self.dispersion!r}, but must be one of {', '.join(map(repr, rules))} or a positive, "
                f"finite number. {hint}"
            )
        if self.covariance not in ("independent", "joint"):
            raise OptionError(
                f"covariance is {self.covariance!r}. {nearest(str(self.covariance), ('independent', 'joint'))}"
            )
        for what, given in (("mean", self.mean), ("sd", self.sd)):
            if callable(to_dict := getattr(given, "to_dict", None)):  # a pandas Series
                given = to_dict()
                object.__setattr__(self, what, given)
            values = list(given.values()) if isinstance(given, Mapping) else [] if given is None else [given]
            if not all(_is_number(value) for value in values):
                raise OptionError(
                    f"{what} is {given!r}, but must be a finite number, or one for each term by name: "
                    f'{what}={{"(Intercept)": 1.0}}.'
                )
        if not isinstance(self.plug_in, Fit) and self.plug_in not in (None, *SOURCES):
            raise OptionError(
                f"plug_in is {self.plug_in!r}, but must be a fit or its name. {nearest(str(self.plug_in), SOURCES)}"
            )
        if self.population not in (None, *POPULATIONS):
            raise OptionError(f"population is {self.population!r}. {nearest(str(self.population), POPULATIONS)}")
        if not is_number(self.df) or not self.df > 0:
            raise OptionError(f"df is {self.df!r}, but must be positive (inf for normal priors).")
        if not isinstance(self.scaled, bool):
            raise OptionError(f"scaled is {self.scaled!r}, but must be true or false.")
        if self.covariance == "joint" and (self.scaled or isfinite(self.df)):
            raise OptionError(
                "Joint priors are normal and not rescaled. Use covariance='independent', or leave df and scaled out."
            )
        if not _is_number(self.tolerance) or not self.tolerance > 0:
            raise OptionError(f"tolerance is {self.tolerance!r}, but must be a positive number.")
        if not isinstance(self.max_iterations, int | np.integer) or self.max_iterations < 1:
            raise OptionError(f"max_iterations is {self.max_iterations!r}, but must be a whole number of at least 1.")

    def source(self, family: str) -> str | Fit:
        """What is plugged in, for a family: the fit, or the name of its estimator."""
        default = "laplace" if family in COUNTED else "reml"
        return default if self.plug_in is None else self.plug_in

    def holds_population(self, family: str) -> bool:
        """Whether a plugged-in fit's population coefficients are held, for a family."""
        return self.population == "plug_in" or (self.population is None and family in COUNTED)

    def needs(self, design: Design) -> tuple[str, ...]:
        """Estimators whose fits of this design are plugged in, or whose residual variance is held.

        Raises
        ------
        OptionError
            What is named does not fit the family, and mean and SD are not stated; or a residual variance is asked for
            where there is none.
        """
        named = [self.dispersion] if self.dispersion in RESIDUALS else []
        source = self.source(design.family)
        if isinstance(source, str) and (
            self.dispersion == "plug_in"
            or self.population == "plug_in"
            or not says_everything(design, self.mean, self.sd)
        ):
            named.append(source)
        own = self.dispersion == "plug_in" and isinstance(source, Fit) and design.family == "gamma"
        if design.family != "gaussian" and self.dispersion in (*RESIDUALS, "plug_in") and not own:
            raise OptionError(
                f"dispersion is {self.dispersion!r}, but nothing that is plugged in has a dispersion of "
                f"{design.family} responses. Use 'em', or a number."
            )
        for name in named:
            if design.family not in lookup(str(name)).families:
                able = [source for source in SOURCES if design.family in lookup(source).families]
                other = join(map(repr, able), "or") or "a fit"
                raise OptionError(
                    f"{name} does not fit {design.family} responses, so it has no mean and SD to plug in. State "
                    f"them (mean=, sd=), or plug in {other} (plug_in=)."
                )
        return tuple(dict.fromkeys(str(name) for name in named))


def _is_number(value: object) -> TypeGuard[float]:
    return is_number(value) and isfinite(value)


def fixed_prior(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit group coefficients under a fixed prior.

    Parameters
    ----------
    design : Design
        Any family, any number of grouping factors.
    settings : Settings
        `priors` of population coefficients that do not vary (normal or Student-t) are taken as stated; without one they
        are flat.
    options : Options
    upstream : mapping
        Holds the fits that ``options.needs(design)`` names.

    Returns
    -------
    Fit
        `std_error` is the curvature SD of the posterior mode: sqrt of the diagonal of phi V.
        ``diagnostics`` holds ``dispersion``, ``iterations``, ``deviance`` and the prior.

    Raises
    ------
    OptionError, PriorError, DesignError

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> maximised = reml(design)
    >>> plugged = fixed_prior(design, options=Options(dispersion="reml"), upstream={"reml": maximised})
    >>> gap = plugged.group_effects[0].coefficient.estimate - maximised.group_effects[0].coefficient.estimate
    >>> bool(abs(gap).max() < 1e-12)
    True
    """
    source = _source(design, options, upstream)
    prior = plug_in(design, source, options.mean, options.sd)
    if options.covariance == "independent":
        prior = prior.independent()
    family = family_of(design.family, design.link)
    stated = stated_priors(design, settings.priors)
    if source is not None and options.holds_population(design.family):
        prior = with_population(design, prior, source, stated)
    regression = held(design, prior.means, prior.population)
    by_group = _group_priors(design, prior, options)
    columns = Grouped(regression, by_group, rest_prior(design, stated, prior.population))
    dispersion = _held_dispersion(design, family, options, source, upstream)
    end = approximate_em(
        columns, design.y, family, design.weights, regression.offset, columns.first(), dispersion,
        options.tolerance, options.max_iterations, floor=0.0,
    )  # fmt: skip
    fit = _assemble(design, prior, columns, end, settings, options)
    return replace(
        fit,
        converged=end.converged and (source is None or source.converged),
        singular=any(is_singular(S) for S in prior.covariances),
        warnings=(*design.notes, *doubts_of_plugged(fit, end, options.df, source, dispersion is None)),
        priors=MappingProxyType({name: str(value) for name, value in stated.items()}),
    )


def _source(design: Design, options: Options, upstream: Mapping[str, Fit]) -> Fit | None:
    """The fit that is plugged in; None if the options say everything."""
    named = options.source(design.family)
    if isinstance(named, Fit):
        return named
    return upstream[named] if named in options.needs(design) else None


def _group_priors(design: Design, prior: PlugIn, options: Options) -> dict[str, GroupPrior]:
    found = {}
    for group in design.groups:
        covariance = prior.of_group(design, group)
        if options.scaled or isfinite(options.df):
            scale = prior_scales(design, group, np.sqrt(np.diag(covariance)), options.scaled)
            found[group] = GroupPrior(scale=scale, df=options.df)
        else:
            found[group] = GroupPrior(covariance=covariance)
    return found


def _held_dispersion(
    design: Design, family: Family, options: Options, source: Fit | None, upstream: Mapping[str, Fit]
) -> float | None:
    rule = options.dispersion
    if design.known_se:
        if not isinstance(rule, str) and rule != 1:
            raise OptionError(f"dispersion is {rule:g}, but with known standard errors it is 1. Leave one of them out.")
        return 1.0
    if rule == "plug_in":
        if source is None or source.design.known_se:
            raise OptionError("dispersion is 'plug_in', but no fit with a residual variance is plugged in. Use 'em'.")
        return source.sigma**2
    if isinstance(rule, str):
        return None if rule == "em" else upstream[rule].sigma ** 2
    return float(rule)


# --- the answer ---------------------------------------------------------------------------------------


def _assemble(design: Design, prior: PlugIn, columns: Grouped, end: End, settings: Settings, options: Options) -> Fit:
    solved: Solved = end.solved
    rest = rest_columns(design, prior.population)
    b, b_cov = np.zeros(design.X.shape[1]), np.zeros((design.X.shape[1], design.X.shape[1]))
    for block, mean in zip(design.blocks, prior.means, strict=True):
        for column, value in zip(block.fixed, mean, strict=True):
            if column is not None:
                b[column] = value
    for column, value in prior.population.items():
        b[column] = value
    _, b[rest] = solved.effects(columns.design)
    b_cov[np.ix_(rest, rest)] = end.phi * solved.b_cov
    labels = ("plugged-in mean, or posterior mode", "curvature SD; 0 where plugged in")
    predictor = columns.predictor(end.a) + columns.design.offset
    return Fit(
        estimator="fixed_prior",
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(b_cov)), settings.level, *labels),
        fixed_cov=b_cov,
        components=tuple(
            Component(block.group, block.terms, S) for block, S in zip(design.blocks, prior.covariances, strict=True)
        ),
        group_effects=_group_effects(design, prior, solved, end.phi, settings.level, options),
        sigma=float(np.sqrt(end.phi)),
        own_fitted=design.mean(predictor),
        diagnostics=MappingProxyType(
            {
                "dispersion": end.phi,
                "iterations": end.iterations,
                "deviance": end.deviance,
                "dispersion_rule": options.dispersion,
                "held": MappingProxyType({design.fixed_terms[k]: value for k, value in prior.population.items()}),
                "prior_covariance": options.covariance,
                "prior_df": options.df,
                "prior_scaled": options.scaled,
                "prior_mean": tuple(np.concatenate(prior.means).tolist()),
                "prior_sd": tuple(np.concatenate([np.sqrt(np.diag(S)) for S in prior.covariances]).tolist()),
            }
        ),
    )


def _group_effects(
    design: Design, prior: PlugIn, solved: Solved, phi: float, level: float, options: Options
) -> tuple[GroupEffects, ...]:
    """Effects and coefficients by random block; their errors are the same, since the mean is held."""
    effects, _ = solved.effects(design)
    variances = {group: np.einsum("jaa->ja", V) for group, V in solved.covariances().items()}
    point = "EM estimate under t priors" if isfinite(options.df) else "posterior mode"
    kinds = (point, "curvature SD, prior and dispersion held")
    parts, at = [], dict.fromkeys(design.groups, 0)
    for block, mean in zip(design.blocks, prior.means, strict=True):
        where = slice(at[block.group], at[block.group] + len(block.terms))
        at[block.group] = where.stop
        u, error = effects[block.group][:, where], np.sqrt(phi * variances[block.group][:, where])
        parts.append(
            GroupEffects(
                group=block.group,
                levels=block.levels,
                sizes=block.sizes,
                terms=block.terms,
                effect=Estimates.wald(u, error, level, *kinds),
                coefficient=Estimates.wald(mean + u, error, level, *kinds),
            )
        )
    return tuple(parts)

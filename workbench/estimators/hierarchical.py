"""`hierarchical`: the likelihood integrated, by sampling from the explicit model in PyMC.

The model is that of :mod:`workbench.sampling.explicit`. The spread between groups is averaged over, not held at one
value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, GroupEffects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.priors import Prior, resolve_priors
from workbench.sampling.diagnostics import complaints, diagnose, from_draws
from workbench.sampling.draws import Draws, tree_of
from workbench.sampling.explicit import build_model
from workbench.sampling.nuts import Plan, sample_model
from workbench.sampling.run import sample_collapsed
from workbench.sampling.summaries import level_estimates, parameters_of

Array = NDArray[np.float64]

TUNE = {"collapsed": 500, "explicit": 1000}
"""Warm-up iterations by model."""
PATIENT = 0.99
"""The target acceptance of the second run, made when the first one had divergences."""


@dataclass(frozen=True)
class Options:
    """Options of `hierarchical`.

    Attributes
    ----------
    draws, tune, chains : int
        Kept and warm-up iterations per chain; by default 500 for warm-up of the collapsed model, whose parameters are
        few, and 1000 of the explicit one.
    target_accept : float
        Of the No-U-Turn sampler; a run with divergences is repeated once at 0.99.
    sampler : "nutpie" or "pymc"
    model : "auto", "collapsed" or "explicit"
        Which of the two faces of the posterior is sampled; by default the collapsed one of one grouping factor.
    parametrisation : "noncentered" or "centered"
        Of the explicit model.
    """

    draws: int = 2000
    tune: int | None = None
    chains: int = 4
    target_accept: float = 0.95
    sampler: str = "nutpie"
    model: str = "auto"
    parametrisation: str = "noncentered"

    def __post_init__(self) -> None:
        for name, least in (("draws", 10), ("tune", 10), ("chains", 2)):
            value = getattr(self, name)
            if name == "tune" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is {value!r}, but must be a whole number of at least {least}.")
        if not 0.5 <= self.target_accept < 1:
            raise OptionError(f"target_accept is {self.target_accept!r}, but must lie between 0.5 and 1.")
        for name, known in (
            ("sampler", ("nutpie", "pymc")),
            ("model", ("auto", "collapsed", "explicit")),
            ("parametrisation", ("noncentered", "centered")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise OptionError(f"{name} is {value!r}. {nearest(str(value), known)}")

    def plan(self, settings: Settings, model: str) -> Plan:
        """What the sampler is told."""
        import sys

        shown = settings.progress and sys.stdout.isatty()
        return Plan(
            self.draws,
            self.tune or TUNE[model],
            self.chains,
            self.target_accept,
            self.sampler,
            int(settings.seed),
            progress=shown,
        )


def hierarchical(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Sample the posterior of the full hierarchical model.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    settings : Settings
        `priors`, `seed`, `level` of the equal-tailed intervals, `progress`.
    options : Options
    upstream : not used

    Returns
    -------
    Fit
        Posterior means with posterior SDs. `converged` means R-hat at most 1.01, bulk effective sample sizes of 400
        or more and no divergence. `draws` is the ArviZ DataTree.

    Notes
    -----
    Draws depend on the seed, the versions installed and whether compiled code was cached: summaries are reproducible to
    Monte Carlo error, draws are not promised to be.
    """
    priors = resolve_priors(design, settings.priors)
    model = _face(design, options)
    drawn = _sample(design, priors, model, options, settings)
    divergences = int(np.sum(drawn.stats["diverging"]))
    remarks = []
    if divergences and options.target_accept < PATIENT and drawn.chains == options.chains:
        remarks.append(
            f"A first run at target_accept {options.target_accept:g} had {divergences} divergences; this is a "
            f"second run at {PATIENT:g}."
        )
        drawn = _sample(design, priors, model, replace(options, target_accept=PATIENT), settings)
    if drawn.chains < options.chains:
        remarks.append(
            f"Interrupted: these are the {drawn.chains} of {options.chains} chains that were finished by then. Fit "
            "again for the others."
        )
    return summarise(design, settings, priors, drawn, tuple(remarks), {"model": model})


def _face(design: Design, options: Options) -> str:
    """Which of the two models is sampled; see the module."""
    if options.model != "auto":
        return options.model
    return "collapsed" if len(design.groups) == 1 else "explicit"


def _sample(design: Design, priors: Mapping[str, Prior], model: str, options: Options, settings: Settings) -> Draws:
    if model == "collapsed":
        return sample_collapsed(design, priors, options.plan(settings, model))
    return sample_model(build_model(design, priors, options.parametrisation), design, options.plan(settings, model))


def summarise(
    design: Design,
    settings: Settings,
    priors: Mapping[str, Prior],
    drawn: Draws,
    remarks: tuple[str, ...],
    more: Mapping[str, Any] = NOTHING,
) -> Fit:
    """The fit of given draws."""
    level, p = settings.level, len(design.fixed_terms)
    components, effects = [], []
    for k, (block, pair) in enumerate(zip(design.blocks, level_estimates(design, drawn, level), strict=True)):
        sd, correlation = drawn.sd[k].mean(axis=(0, 1)), drawn.correlation[k].mean(axis=(0, 1))
        components.append(Component(block.group, block.terms, np.outer(sd, sd) * correlation))
        effects.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, *pair))
    parameters = parameters_of(design, drawn, level)
    diagnostics = (
        {"seed": settings.seed}
        | dict(more)
        | diagnose(drawn, [parameters.estimates, *(part.coefficient for part in effects)])
    )
    found = complaints(diagnostics)
    return Fit(
        estimator="hierarchical",
        design=design,
        population=from_draws(drawn.b, level),
        fixed_cov=np.atleast_2d(np.cov(drawn.b.reshape(-1, p), rowvar=False)) if p else np.empty((0, 0)),
        components=tuple(components),
        group_effects=tuple(effects),
        sigma=1.0 if drawn.sigma is None else float(drawn.sigma.mean()),
        converged=not found,
        warnings=(*design.notes, *remarks, *found),
        diagnostics=MappingProxyType(diagnostics),
        parameters=parameters,
        draws=tree_of(design, drawn),
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )

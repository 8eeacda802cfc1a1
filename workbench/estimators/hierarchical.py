"""`hierarchical`: the likelihood integrated, by sampling. The spread between groups is averaged over, not held.

The model is that of :mod:`workbench.sampling.explicit`, for gaussian (or Student-t), binomial and Poisson responses.
Of gaussian responses it has a second face with the same posterior, in which the group effects are integrated out
(:mod:`workbench.sampling.collapsed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.answer import refuse_without_residual
from workbench.coordinates import Searched
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, GroupEffects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.moments import moments
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.sampling.centring import Parametrisation, check_parametrisation
from workbench.sampling.collapsed import Collapsed
from workbench.sampling.diagnostics import complaints, diagnose, from_draws
from workbench.sampling.draws import Draws
from workbench.sampling.explicit_runs import sample_explicit
from workbench.sampling.fitted import mean_response
from workbench.sampling.foreseen import foreseen_seconds
from workbench.sampling.nuts import Plan
from workbench.sampling.prior_doubts import far_intercepts, long_tails, perhaps_improper
from workbench.sampling.run import sample_collapsed
from workbench.sampling.stages import clock
from workbench.sampling.summaries import level_estimates, parameters_of
from workbench.sampling.tree import Sampled

Array = NDArray[np.float64]

SAMPLERS = ("nutpie", "pymc", "numpyro")
MODELS = ("auto", "collapsed", "explicit")
COLLAPSED = "Sampled with the group effects integrated out; these are then drawn exactly, given the rest."
TUNE = {"collapsed": 500, "explicit": 1000}
"""Warm-up iterations by model."""


@dataclass(frozen=True)
class Options:
    """Options of `hierarchical`.

    Attributes
    ----------
    draws, tune, chains : int
        Kept and warm-up iterations per chain; by default 500 for warm-up of the collapsed model, whose parameters are
        few, and 1000 of the explicit one.
    target_accept : float
        Of the No-U-Turn sampler; a run with divergences is repeated at 0.99.
    sampler : "nutpie", "pymc" or "numpyro"
        The last one needs the extra of that name, and takes the explicit model.
    model : "auto", "collapsed" or "explicit"
        Which of the two faces of the posterior is sampled: by default the collapsed one of gaussian responses with one
        grouping factor (:mod:`workbench.sampling.collapsed`), and the explicit one of all others, and where a uniform
        prior of a population coefficient ends near the data.
    parametrisation : "auto", "noncentered", "centered", or a mapping of group or block names to one of them
        Of the explicit model. "auto" centres a random block where the data say much about each of its groups
        (:mod:`workbench.sampling.centring`), and tries the other where a run and its repetition diverged.
    robust : bool
        Student-t residuals in place of normal ones (gaussian responses), with their degrees of freedom, ``nu``, a
        parameter.
    """

    draws: int = 2000
    tune: int | None = None
    chains: int = 4
    target_accept: float = 0.95
    sampler: str = "nutpie"
    model: str = "auto"
    parametrisation: Parametrisation = "auto"
    robust: bool = False

    def __post_init__(self) -> None:
        for name, least in (("draws", 10), ("tune", 10), ("chains", 2)):
            value = getattr(self, name)
            if name == "tune" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is {value!r}, but must be a whole number of at least {least}.")
        if not 0.5 <= self.target_accept < 1:
            raise OptionError(f"target_accept is {self.target_accept!r}, but must lie between 0.5 and 1.")
        for name, known in (("sampler", SAMPLERS), ("model", MODELS)):
            if getattr(self, name) not in known:
                raise OptionError(f"{name} is {getattr(self, name)!r}. {nearest(str(getattr(self, name)), known)}")
        if self.sampler == "numpyro" and not (find_spec("numpyro") and find_spec("jax")):
            raise OptionError(
                "sampler='numpyro' needs the packages numpyro and jax, which are not installed. Install the extra: "
                "pip install 'shrinkage-workbench[numpyro]'. Or leave sampler out: nutpie is here."
            )
        check_parametrisation(self.parametrisation)
        if not isinstance(self.robust, bool):
            raise OptionError(f"robust is {self.robust!r}, but must be true or false.")

    def face(self, design: Design, priors: Mapping[str, Prior]) -> str:
        """Which model is sampled."""
        able = design.family == "gaussian" and not self.robust
        if self.model == "collapsed" and (not able or self.sampler == "numpyro"):
            what = "numpyro" if able else "Student-t residuals" if self.robust else f"{design.family} responses"
            raise OptionError(f"There is no collapsed model for {what}. Use model='explicit', or leave it out.")
        if self.model == "explicit" or not able or self.sampler == "numpyro":
            return "explicit"
        if self.model == "auto" and len(design.groups) > 1:
            return "explicit"
        if self.sampler == "nutpie" and (close := Collapsed.of(design, priors).close_walls):
            if self.model == "auto":
                return "explicit"
            raise OptionError(
                f"The prior of {close[0]}, {priors[close[0]]}, ends where the data put it, which the collapsed model "
                "cannot sample with nutpie. Leave model out, or take sampler='pymc'."
            )
        return "collapsed"

    def seconds(self, design: Design, settings: Settings) -> float:
        """How long it will take, roughly (:mod:`workbench.sampling.foreseen`)."""
        model = self.face(design, resolve_priors(design, settings.priors, self.robust))
        return foreseen_seconds(design, model, self.draws + (self.tune or TUNE[model]), self.chains)

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
        Gaussian, binomial or Poisson, any number of grouping factors.
    settings : Settings
        `priors`, `seed`, `level` of the equal-tailed intervals, `progress`.
    options : Options
    upstream : not used

    Returns
    -------
    Fit
        Posterior means with posterior SDs. `converged` means R-hat at most 1.01, bulk effective sample sizes of 400
        or more, no divergence, and no chain with an energy fraction (E-BFMI) below 0.3. `draws` is the ArviZ DataTree.
        Warnings name default priors that stand far from the data, and parameters whose draws have too long a tail for a
        mean (:mod:`workbench.sampling.prior_doubts`).
        After Ctrl-C the fit is of the chains that were finished, and a warning says so; without any, the interruption
        goes on.

    Raises
    ------
    DesignError
        A response that the terms explain exactly, unless the prior of sigma keeps it from zero.
    OptionError, PriorError

    Notes
    -----
    Draws depend on the seed, the versions installed and whether compiled code was cached: summaries are reproducible to
    Monte Carlo error, draws are not promised to be.
    """
    if options.robust and design.family != "gaussian":
        raise OptionError(
            f"robust gives a gaussian response Student-t residuals; {design.response} is {design.family}. Leave it out."
        )
    priors = resolve_priors(design, settings.priors, options.robust)
    _refuse_without_residual(design, priors)
    model = options.face(design, priors)
    plan = options.plan(settings, model)
    notes: dict[str, Any] = {"model": model}
    with clock() as seconds:
        if model == "collapsed":
            drawn, remarks = sample_collapsed(design, priors, plan)
            notes["note"] = COLLAPSED
        else:
            run = sample_explicit(design, priors, options.parametrisation, plan)
            drawn, remarks = run.draws, run.remarks
            notes |= {"parametrisation": run.parametrisation, "note": run.reason}
    notes["seconds_by_stage"] = seconds
    if drawn.chains < options.chains:
        remarks = (
            *remarks,
            f"Interrupted: these are the {drawn.chains} of {options.chains} chains that were finished by then. Fit "
            "again for all of them.",
        )
    return summarise(design, settings, priors, drawn, remarks, notes)


def _refuse_without_residual(design: Design, priors: Mapping[str, Prior]) -> None:
    """A response that the terms explain exactly has a posterior without bound at sigma = 0."""
    if "sigma" not in priors or (priors["sigma"].kind == "Uniform" and priors["sigma"].values[0] > 0):
        return
    refuse_without_residual(design, Searched.of(moments(design), restricted=True))


def summarise(
    design: Design,
    settings: Settings,
    priors: Mapping[str, Prior],
    drawn: Draws,
    remarks: tuple[str, ...],
    notes: Mapping[str, Any] = NOTHING,
) -> Fit:
    """The fit of given draws, with further `notes` among its diagnostics."""
    level, p = settings.level, len(design.fixed_terms)
    components, effects = [], []
    for k, (block, pair) in enumerate(zip(design.blocks, level_estimates(design, drawn, level), strict=True)):
        sd, correlation = drawn.sd[k].mean(axis=(0, 1)), drawn.correlation[k].mean(axis=(0, 1))
        components.append(Component(block.group, block.terms, np.outer(sd, sd) * correlation))
        effects.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, *pair))
    parameters = parameters_of(design, drawn, level)
    parts = [parameters.estimates, *(part.coefficient for part in effects)]
    diagnostics = {"seed": settings.seed} | diagnose(drawn, parts) | dict(notes)
    found = complaints(diagnostics)
    doubts = (
        *far_intercepts(design, priors),
        *(found + perhaps_improper(priors) if found else long_tails(design, drawn)),
    )
    return Fit(
        estimator="hierarchical",
        design=design,
        population=from_draws(drawn.b, level),
        fixed_cov=np.atleast_2d(np.cov(drawn.b.reshape(-1, p), rowvar=False)) if p else np.empty((0, 0)),
        components=tuple(components),
        group_effects=tuple(effects),
        sigma=1.0 if drawn.sigma is None else float(drawn.sigma.mean()),
        converged=not found,
        warnings=(*design.notes, *remarks, *doubts),
        diagnostics=MappingProxyType(diagnostics),
        own_fitted=mean_response(design, drawn),
        parameters=parameters,
        sampled=Sampled(design, drawn, priors, int(settings.seed)),
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )

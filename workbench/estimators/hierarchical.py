"""`hierarchical`: the likelihood integrated, by sampling from the explicit model in PyMC.

The model is that of :mod:`workbench.sampling.explicit`, for gaussian (or Student-t), binomial and Poisson responses.
The spread between groups is averaged over, not held at one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, GroupEffects, Parameters
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.priors import Prior, coefficient_name, resolve_priors
from workbench.sampling.centring import Parametrisation, check_parametrisation
from workbench.sampling.diagnostics import complaints, diagnose, from_draws
from workbench.sampling.draws import Draws, tree_of
from workbench.sampling.explicit_runs import sample_explicit
from workbench.sampling.fitted import mean_response
from workbench.sampling.nuts import Plan

Array = NDArray[np.float64]

SAMPLERS = ("nutpie", "pymc", "numpyro")


@dataclass(frozen=True)
class Options:
    """Options of `hierarchical`.

    Attributes
    ----------
    draws, tune, chains : int
        Kept and warm-up iterations per chain.
    target_accept : float
        Of the No-U-Turn sampler; a run with divergences is repeated at 0.99.
    sampler : "nutpie", "pymc" or "numpyro"
        The last one needs the extra of that name.
    parametrisation : "auto", "noncentered", "centered", or a mapping of group or block names to one of them
        "auto" centres a random block where the data say much about each of its groups
        (:mod:`workbench.sampling.centring`), and tries the other where a run and its repetition diverged.
    robust : bool
        Student-t residuals in place of normal ones (gaussian responses), with their degrees of freedom, ``nu``, a
        parameter.
    """

    draws: int = 2000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.95
    sampler: str = "nutpie"
    parametrisation: Parametrisation = "auto"
    robust: bool = False

    def __post_init__(self) -> None:
        for name, least in (("draws", 10), ("tune", 10), ("chains", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is {value!r}, but must be a whole number of at least {least}.")
        if not 0.5 <= self.target_accept < 1:
            raise OptionError(f"target_accept is {self.target_accept!r}, but must lie between 0.5 and 1.")
        if self.sampler not in SAMPLERS:
            raise OptionError(f"sampler is {self.sampler!r}. {nearest(str(self.sampler), SAMPLERS)}")
        if self.sampler == "numpyro" and not (find_spec("numpyro") and find_spec("jax")):
            raise OptionError(
                "sampler='numpyro' needs the packages numpyro and jax, which are not installed. Install the extra: "
                "pip install 'shrinkage-workbench[numpyro]'. Or leave sampler out: nutpie is here."
            )
        check_parametrisation(self.parametrisation)
        if not isinstance(self.robust, bool):
            raise OptionError(f"robust is {self.robust!r}, but must be true or false.")

    def plan(self, settings: Settings) -> Plan:
        """What the sampler is told."""
        import sys

        shown = settings.progress and sys.stdout.isatty()
        return Plan(
            self.draws, self.tune, self.chains, self.target_accept, self.sampler, int(settings.seed), progress=shown
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
        or more and no divergence. `draws` is the ArviZ DataTree.

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
    run = sample_explicit(design, priors, options.parametrisation, options.plan(settings))
    notes = {"parametrisation": run.parametrisation, "note": run.reason}
    return summarise(design, settings, priors, run.draws, run.remarks, notes)


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
    coefficients = drawn.coefficients(design)
    for k, block in enumerate(design.blocks):
        sd, correlation = drawn.sd[k].mean(axis=(0, 1)), drawn.correlation[k].mean(axis=(0, 1))
        components.append(Component(block.group, block.terms, np.outer(sd, sd) * correlation))
        effect, coefficient = (from_draws(part, level) for part in (drawn.effects[k], coefficients[k]))
        effects.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    parameters = _parameters(design, drawn, level)
    diagnostics = {"seed": settings.seed} | diagnose(
        drawn, [parameters.estimates, *(part.coefficient for part in effects)]
    )
    diagnostics |= dict(notes)
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
        own_fitted=mean_response(design, drawn),
        parameters=parameters,
        draws=tree_of(design, drawn),
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )


def _parameters(design: Design, drawn: Draws, level: float) -> Parameters:
    """Population coefficients, sigma, every sd and every correlation, under the names of their priors."""
    names = [coefficient_name(term) for term in design.fixed_terms]
    draws = [drawn.b] if names else []
    if drawn.sigma is not None:
        names.append("sigma")
        draws.append(drawn.sigma[:, :, None])
    for name, values in drawn.others.items():
        names.append(name)
        draws.append(values[:, :, None])
    for k, block in enumerate(design.blocks):
        names += [f"sd({block.group}, {term})" for term in block.terms]
        draws.append(drawn.sd[k])
        for a, c in zip(*np.triu_indices(len(block.terms), 1), strict=True):
            names.append(f"cor({block.group}, {block.terms[a]}, {block.terms[c]})")
            draws.append(drawn.correlation[k][:, :, a, c][:, :, None])
    return Parameters(tuple(names), from_draws(np.concatenate(draws, axis=2), level))

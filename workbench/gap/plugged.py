"""From a fixed prior to REML: what bayesglm assumes beside REML's mean and SD is taken back, one thing after another.

The posterior mode under REML's own means, covariances and residual variance *is* REML's coefficient, with flat priors
on what does not vary. So a fixed prior differs from REML by its options alone:

=============================  =====================================================================
cause                          taken back by
=============================  =====================================================================
unfinished EM                  iterating until nothing changes
rescaling                      prior SDs as plugged in, not multiplied or divided by spreads of data
prior family and df            normal priors in place of Student-t ones
priors of other covariates     flat ones
stated mean and SD             REML's
plug-in from another fit       REML's mean and SD of this model and these data
dropped correlation            the joint prior
dispersion convention          REML's residual variance
=============================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from workbench.design import Design
from workbench.estimators import Settings, run_estimator
from workbench.estimators.fixed_prior import Options
from workbench.fit import Fit
from workbench.gap.steps import Step, coefficients_of
from workbench.plug_in import plug_in
from workbench.words import join, significant

UNHURRIED = Options()
"""Its tolerance and limit of iterations end the EM where nothing changes any more."""
SAME = 1e-11
"""Dispersions that differ by a smaller share are the same."""


def towards_reml(plugged: Fit, maximised: Fit) -> tuple[Step, ...]:
    """Steps that lead from a fixed prior's fit to REML's.

    Parameters
    ----------
    plugged : Fit
        Of `fixed_prior`, with its options.
    maximised : Fit
        Of `reml`, for the same design.
    """
    options, priors = plugged.options, dict(plugged.priors)
    fit, steps = plugged, []
    for cause, applies, remove in _CAUSES:
        change = applies(options, fit, maximised)
        options = remove(options, fit)
        if not change:
            continue
        priors = {} if cause == "priors of other covariates" else priors
        fit = _refit(plugged.design, options, priors, maximised)
        steps.append(Step(cause, change(fit) if callable(change) else change, coefficients_of(fit)))
    return tuple(steps)


def _refit(design: Design, options: Options, priors: Mapping[str, str], maximised: Fit) -> Fit:
    return run_estimator("fixed_prior", design, Settings(priors=priors), options, {"reml": maximised})


# --- causes, in the order in which they are removed -----------------------------------------------------


def _unfinished(options: Options, fit: Fit, maximised: Fit) -> str | Callable[[Fit], str]:
    was = fit.diagnostics["iterations"]
    stopped = was >= options.max_iterations and options.max_iterations < UNHURRIED.max_iterations
    if not stopped and options.tolerance <= UNHURRIED.tolerance:
        return ""
    why = "its limit" if stopped else f"by a tolerance of {options.tolerance:g}"
    return lambda after: (
        f"the EM run on to iteration {after.diagnostics['iterations']:,}, not ended at iteration {was:,}, {why}"
    )


def _rescaled(options: Options, fit: Fit, maximised: Fit) -> str:
    if not options.scaled:
        return ""
    by = "multiplied by 2 SD of the response" if fit.design.family == "gaussian" else "divided by the columns' spreads"
    return f"prior SDs as plugged in, not {by}"


def _heavy(options: Options, fit: Fit, maximised: Fit) -> str:
    if not isfinite(options.df):
        return ""
    was = "Cauchy ones" if options.df == 1 else f"Student-t ones with {options.df:g} degrees of freedom"
    return f"normal priors in place of {was}"


def _stated_covariates(options: Options, fit: Fit, maximised: Fit) -> str:
    return f"flat priors in place of {join(f'{p} on {name}' for name, p in fit.priors.items())}" if fit.priors else ""


def _stated(options: Options, fit: Fit, maximised: Fit) -> str | Callable[[Fit], str]:
    if options.mean is None and options.sd is None:
        return ""
    return lambda after: f"the plugged-in {_moments(after)} in place of {_moments(fit)}"


def _other_fit(options: Options, fit: Fit, maximised: Fit) -> str | Callable[[Fit], str]:
    if options.plug_in in (None, "reml") or _plugs_the_same(options.plug_in, fit.design, maximised):
        return ""
    name = options.plug_in if not isinstance(options.plug_in, Fit) else f"those of {options.plug_in.design.formula}"
    was = "ML's" if name == "ml" else name
    return lambda after: f"REML's {_moments(after)} in place of {was} ({_moments(fit)})"


def _plugs_the_same(source: Any, design: Design, maximised: Fit) -> bool:
    """Whether a fit has the very numbers of REML's, fitted again."""
    if isinstance(source, str):
        return False
    one, other = plug_in(design, source), plug_in(design, maximised)
    pairs = zip((*one.means, *one.covariances), (*other.means, *other.covariances), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _moments(fit: Fit) -> str:
    means, sds = (fit.diagnostics[key] for key in ("prior_mean", "prior_sd"))
    return f"mean {join(map(significant, means))} and SD {join(map(significant, sds))}"


def _uncorrelated(options: Options, fit: Fit, maximised: Fit) -> str:
    if options.covariance == "joint":
        return ""
    found = []
    for part in maximised.components:
        R = part.correlation
        q = len(part.terms)
        found += [significant(R[a, b]) for a in range(q) for b in range(a + 1, q) if isfinite(R[a, b]) and R[a, b]]
    if not found:
        return ""
    several = f"correlation{'s' * (len(found) > 1)} of {join(found[:3])}{' and more' * (len(found) > 3)}"
    return f"a joint prior with REML's {several} in place of independent ones"


def _dispersion(options: Options, fit: Fit, maximised: Fit) -> str:
    held, was = maximised.sigma**2, fit.diagnostics["dispersion"]
    if fit.design.known_se or abs(was - held) <= SAME * held:
        return ""
    how = "it was held at"
    if options.dispersion == "em":
        unweighted = "" if (fit.design.weights == 1).all() else " and counts its rows without their weights"
        how = f"the EM, which takes the plugged-in mean as known{unweighted}, had"
    return f"dispersion held at REML's {significant(held, 8)}; {how} {significant(was, 8)}"


def _plug_in_reml(options: Options, fit: Fit) -> Options:
    """The dispersion stays as it is: it has a cause of its own."""
    kept = fit.diagnostics["dispersion"] if options.dispersion == "plug_in" else options.dispersion
    return replace(options, plug_in="reml", dispersion=kept)


def _finish(options: Options, fit: Fit) -> Options:
    most = max(options.max_iterations, UNHURRIED.max_iterations)
    return replace(options, tolerance=min(options.tolerance, UNHURRIED.tolerance), max_iterations=most)


_CAUSES: tuple[tuple[str, Callable[..., Any], Callable[[Options, Fit], Options]], ...] = (
    ("unfinished EM", _unfinished, _finish),
    ("rescaling", _rescaled, lambda o, fit: replace(o, scaled=False)),
    ("prior family and df", _heavy, lambda o, fit: replace(o, df=float("inf"))),
    ("priors of other covariates", _stated_covariates, lambda o, fit: o),
    ("stated mean and SD", _stated, lambda o, fit: replace(o, mean=None, sd=None)),
    ("plug-in from another fit", _other_fit, _plug_in_reml),
    ("dropped correlation", _uncorrelated, lambda o, fit: replace(o, covariance="joint")),
    ("dispersion convention", _dispersion, lambda o, fit: replace(o, dispersion="reml")),
)

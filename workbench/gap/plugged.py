"""From a fixed prior to REML: what bayesglm assumes beside REML's mean and SD is taken back, one thing after another.

The posterior mode under REML's own means, covariances and residual variance *is* REML's coefficient, with flat priors
on what does not vary. So a fixed prior differs from REML by its options alone:

=============================  =====================================================================
cause                          taken back by
=============================  =====================================================================
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

from workbench.design import Design
from workbench.estimators import Settings, run_estimator
from workbench.fit import Fit
from workbench.gap.steps import Step, coefficients_of
from workbench.words import join, significant

Options = Any


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
        if not change:
            continue
        options = remove(options)
        priors = {} if cause == "priors of other covariates" else priors
        fit = _refit(plugged.design, options, priors, maximised)
        steps.append(Step(cause, change(fit) if callable(change) else change, coefficients_of(fit)))
    return tuple(steps)


def _refit(design: Design, options: Options, priors: Mapping[str, str], maximised: Fit) -> Fit:
    return run_estimator("fixed_prior", design, Settings(priors=priors), options, {"reml": maximised})


# --- causes, in the order in which they are removed -----------------------------------------------------


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
    if options.plug_in == "reml" or options.plug_in is maximised:
        return ""
    name = options.plug_in if isinstance(options.plug_in, str) else f"those of {options.plug_in.design.formula}"
    was = "ML's" if name == "ml" else name
    return lambda after: f"REML's {_moments(after)} in place of {was} ({_moments(fit)})"


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
    if options.dispersion == "reml" or fit.design.known_se:
        return ""
    held, was = maximised.sigma**2, fit.diagnostics["dispersion"]
    how = "the EM, which takes the plugged-in mean as known, had" if options.dispersion == "em" else "it was held at"
    return f"dispersion held at REML's {significant(held, 8)}; {how} {significant(was, 8)}"


_CAUSES: tuple[tuple[str, Callable[..., Any], Callable[[Options], Options]], ...] = (
    ("rescaling", _rescaled, lambda o: replace(o, scaled=False)),
    ("prior family and df", _heavy, lambda o: replace(o, df=float("inf"))),
    ("priors of other covariates", _stated_covariates, lambda o: o),
    ("stated mean and SD", _stated, lambda o: replace(o, mean=None, sd=None)),
    ("plug-in from another fit", _other_fit, lambda o: replace(o, plug_in="reml")),
    ("dropped correlation", _uncorrelated, lambda o: replace(o, covariance="joint")),
    ("dispersion convention", _dispersion, lambda o: replace(o, dispersion="reml")),
)

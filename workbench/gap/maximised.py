"""From ML, boundary avoiding, complete pooling and no pooling to REML: the variances that each of them takes.

The coefficients of all of them are the conditional means of :mod:`workbench.gap.given_variances`, at variances of their
own: ML's, zero between groups, or infinite ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.estimators import Settings, run_estimator
from workbench.fit import Fit
from workbench.gap.given_variances import Variances, coefficients_at
from workbench.gap.steps import Step, coefficients_of
from workbench.moments import moments
from workbench.words import join, significant

AS_REML = {"covariance": "joint", "dispersion": "reml"}
"""Options under which a fixed prior is REML."""
WHOSE = {
    "henderson": "as given",
    "mackay": "by MacKay's update",
    "em": "where EM ended",
    "statsmodels": "where statsmodels ended",
}
"""Of variances that another search found, or none."""


def towards_reml(fit: Fit, maximised: Fit) -> tuple[Step, ...]:
    """Steps from `ml`, from REML by another algorithm, or from other variances: those between groups, then sigma^2."""
    data, own, wanted = moments(fit.design), Variances.of(fit), Variances.of(maximised)
    by_ml = fit.estimator == "ml" or getattr(fit.options, "criterion", "") == "ML"
    by = "by ML" if by_ml else WHOSE.get(fit.estimator, "where another search ended")
    first = replace(wanted, sigma=own.sigma)
    ours, theirs = _told_apart(_spreads(wanted), _spreads(own))
    change = f"REML's {ours} in place of {theirs}"
    steps = [Step(f"variances between groups {by}", change, coefficients_at(data, first))]
    if not fit.design.known_se:
        ours, theirs = _told_apart(*(lambda n, s=s: significant(s, n + 2) for s in (wanted.sigma, own.sigma)))
        change = f"REML's residual SD of {ours} in place of {theirs}"
        steps.append(Step(f"residual variance {by}", change, coefficients_at(data, wanted)))
    return tuple(steps)


def from_boundary_avoiding(fit: Fit, maximised: Fit) -> tuple[Step, ...]:
    """Steps from the posterior mode of the variances: to the mode of its likelihood, and from ML's to REML's."""
    by_ml = fit.criterion is not None and fit.criterion.name == "penalised deviance"
    plain = run_estimator("ml", fit.design, Settings()) if by_ml else maximised
    own, wanted, name = Variances.of(fit), Variances.of(plain), "ML" if by_ml else "REML"
    change = f"{name}'s {_spreads(wanted)} in place of {_spreads(own)}"
    if not fit.design.known_se:
        change += f", and its residual SD of {significant(wanted.sigma, 6)} in place of {significant(own.sigma, 6)}"
    coefficients = coefficients_at(moments(fit.design), wanted)
    step = Step("density that keeps variances off zero", change, coefficients)
    return (step, *(towards_reml(plain, maximised) if by_ml else ()))


def from_complete_pooling(fit: Fit, maximised: Fit) -> tuple[Step, ...]:
    """Steps from complete pooling: let the groups vary, then weigh them by what is known of each."""
    terms = {term for block in fit.design.blocks for term in block.terms}
    pairs = zip(fit.design.fixed_terms, fit.population.estimate.tolist(), strict=True)
    means = {term: value for term, value in pairs if term in terms}
    variances, steps = Variances.of(maximised), []
    if any(sd.any() for sd in variances.sd):
        spread = f"SDs between groups as REML's ({_spreads(variances)()}), not zero"
        steps.append(Step("no spread between groups", spread, _plugged(fit, maximised, {"mean": means})))
    if means:
        known = dict(zip(maximised.design.fixed_terms, maximised.population.estimate.tolist(), strict=True))
        was = join(f"{significant(value)} for {term}" for term, value in means.items())
        change = f"REML's population values ({join(significant(known[t]) for t in means)}), not least squares' ({was})"
        steps.append(Step("population values that count rows, not groups", change, _plugged(fit, maximised, {})))
    return tuple(steps)


def from_no_pooling(fit: Fit, maximised: Fit) -> tuple[Step, ...]:
    """The one step from no pooling: shrink by REML's variances."""
    change = f"SDs between groups as REML's ({_spreads(Variances.of(maximised))()}), not infinite"
    return (Step("no shrinkage", change, _plugged(fit, maximised, {})),)


def _plugged(fit: Fit, maximised: Fit, options: dict[str, object]) -> tuple[NDArray[np.float64], ...]:
    made = run_estimator("fixed_prior", fit.design, Settings(), AS_REML | options, {"reml": maximised})
    return coefficients_of(made)


def _spreads(variances: Variances) -> Callable[..., str]:
    """SDs between groups in words, given the number of digits (4 where it is left out)."""
    values = [float(value) for sd in variances.sd for value in sd][:6]
    return lambda digits=4: f"SD{'s' * (len(values) > 1)} {join(significant(value, digits) for value in values)}"


def _told_apart(one: Callable[[int], str], other: Callable[[int], str]) -> tuple[str, str]:
    """Both in words, with as many digits as it takes to see a difference, where there is one."""
    pairs = [(one(digits), other(digits)) for digits in (4, 8, 12)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])

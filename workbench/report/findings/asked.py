"""What is asked most often: population coefficients, spreads between groups, and where estimators differ in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.variances import GIVEN
from workbench.plots.varying import INTERCEPT, Varying, named, partial, printable, varying
from workbench.report.findings.terms import TERMS, sd_between
from workbench.report.prior_held import estimated
from workbench.words import beside, count, join, percent, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

LISTED = 4
"""Of more predictors, those farthest from zero are named."""
NEAR = 0.1
"""Coefficients that lie nearer than this share of a standard error are told as about the same,"""
AS_LONG = (0.9, 1.1)
"""where standard errors are between so many times as long."""
HELD = 1e-6
"""Coefficients that a prior holds, nearer than this share of a standard error, are held at the other estimator's."""
FACTOR = 1.25
"""Standard deviations that differ by this factor differ much."""
MULTIPLIED = {"logit": "odds", "log": "mean"}
"""What the exponential of a coefficient multiplies, by link."""


# --- population coefficients --------------------------------------------------------------------------


def population_coefficients(comparison: Comparison) -> str:
    """Estimates and standard errors of predictors, their spreads, and where other estimators put them elsewhere."""
    design, hub = comparison.design, partial(comparison)
    if hub is None:
        return ""
    fit = comparison.fits[hub]
    known = np.isfinite(fit.population.estimate) & (fit.population.std_error > 0)
    places = [k for k, term in enumerate(design.fixed_terms) if term != INTERCEPT and known[k]]
    if not places:
        return ""
    shown, of_many = places, ""
    if len(places) > LISTED:
        away = np.abs(fit.population.estimate[places] / fit.population.std_error[places])
        shown = [places[k] for k in np.argsort(-away, kind="stable")[: LISTED - 1]]
        of_many = (
            f" (of {count(len(places), 'population coefficient')} those {LISTED - 1} that are farthest from zero "
            "in standard errors)"
        )
    said = join(_coefficient(fit, k) for k in shown)
    return f"{title_of(hub)} puts {said}{of_many}.{_elsewhere(comparison, hub, np.array(places))}"


def _coefficient(fit: Fit, k: int) -> str:
    """One coefficient with its standard error, what it multiplies, and its spread where it varies."""
    term, value = fit.design.fixed_terms[k], float(fit.population.estimate[k])
    what = MULTIPLIED.get(fit.design.link)
    factor = f"; {what} × {significant(float(np.exp(value)), 3)}" if what and abs(value) < 50 else ""
    spreads = join(
        f"an SD of {significant(float(fit.components[b].sd[c]))} between levels of {printable(block.group)}"
        for b, block in enumerate(fit.design.blocks)
        for c, fixed in enumerate(block.fixed)
        if fixed == k and fit.components
    )
    of = f" with {spreads}" if spreads else ""
    error = float(fit.population.std_error[k])
    (at,) = beside([value], error)
    return f"{printable(term, 40)} at {at} (SE {significant(error)}{factor}){of}"


def _elsewhere(comparison: Comparison, hub: str, places: NDArray[np.intp]) -> str:
    """By which other estimators the predictors' coefficients are about the same, and by which not."""
    base = comparison.fits[hub].population
    near, far, held, most = [], [], [], 0.0
    for name, fit in comparison.fits.items():
        if name == hub:
            continue
        estimate, error = fit.population.estimate[places], fit.population.std_error[places]
        off = np.abs(estimate - base.estimate[places]) / base.std_error[places]
        if not np.isfinite(off).any():
            continue
        worst = int(np.nanargmax(off))
        if off[worst] < HELD and _holds(fit, places):
            held.append(title_of(name))
            continue
        ratio = error / base.std_error[places]
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        as_long = not len(ratio) or (ratio.min() >= AS_LONG[0] and ratio.max() <= AS_LONG[1])
        if off[worst] < NEAR and as_long:
            near.append(title_of(name))
            most = max(most, float(off[worst]))
            continue
        term = printable(fit.design.fixed_terms[int(places[worst])], 40)
        (at,) = beside([float(estimate[worst])], float(base.std_error[places][worst]))
        there = f"up to {significant(float(off[worst]), 2)} away ({term} at {at})"
        parts = [there if off[worst] >= NEAR else f"within {_at_most(float(off[worst]))}"]
        parts += [] if as_long else [f"with standard errors {_range(ratio)} times as long"]
        far.append(f"{title_of(name)} {', '.join(parts)}")
    whose = f"{called(hub)}'s standard errors"
    same = f" The same within {_at_most(most)} of {whose}: {join(near)}." if near else ""
    if held:
        same += f" Held at {called(hub)}'s, not estimated: {join(held)}."
    return same + (f" Others, in {whose}: {'; '.join(far)}." if far else "")


def _holds(fit: Fit, places: NDArray[np.intp]) -> bool:
    """Whether a fit under a plugged-in prior holds all of these coefficients where its prior has them."""
    return fit.estimator == "fixed_prior" and not set(places.tolist()) & set(estimated(fit))


def _at_most(share: float) -> str:
    """A share of a standard error from above: one digit more would tell nothing."""
    return f"{max(np.ceil(share * 1000) / 1000, 0.001):.2g}"


def _range(ratio: Array) -> str:
    low, high = significant(float(ratio.min()), 3), significant(float(ratio.max()), 3)
    return low if low == high else f"{low} to {high}"


# --- spreads ------------------------------------------------------------------------------------------


def variances_apart(comparison: Comparison) -> str:
    """The SDs between groups where estimators that have their own differ much in them."""
    hub, terms = partial(comparison), varying(comparison)
    if hub is None or hub in GIVEN or not comparison.fits[hub].components:
        return ""
    others = [name for name, fit in comparison.fits.items() if name != hub and name not in GIVEN and fit.components]
    parts = []
    for v in terms[:TERMS]:
        base = sd_between(comparison.fits[hub], v)
        apart = [name for name in others if _differ(sd_between(comparison.fits[name], v), base)]
        if apart and np.isfinite(base):
            listed = join(_against(comparison.fits[name], v, base) for name in apart)
            label = f" of {named(v, terms)}" if len(terms) > 1 else ""
            parts.append(f"the SD between groups{label} is {_or_zero(base)} by {called(hub)}, {listed}")
    return "; ".join(parts) + "." if parts else ""


def _differ(value: float, base: float) -> bool:
    if not np.isfinite(value) or not np.isfinite(base):
        return False
    low, high = sorted((value, base))
    return high > 0 and high > FACTOR * low


def _against(fit: Fit, v: Varying, base: float) -> str:
    value = sd_between(fit, v)
    mean = ", posterior mean" * (fit.parameters is not None)
    ratio = f"the variance {significant((value / base) ** 2, 3)} times as large" if base > 0 and not mean else ""
    ratio = ratio or (f"{significant(value / base, 3)} times as large" if base > 0 else "")
    beside = ", ".join(filter(None, (ratio, mean[2:])))
    return f"{_or_zero(value)} by {title_of(fit.estimator)}" + (f" ({beside})" if beside else "")


def _or_zero(value: float) -> str:
    return significant(value) if value > 0 else "zero"


def spread(comparison: Comparison) -> str:
    """SDs between groups and within, with shares of the variance where these make sense."""
    name = partial(comparison)
    if name is None or not comparison.fits[name].components:
        return ""
    fit, terms = comparison.fits[name], varying(comparison)
    parts = []
    for v in terms[:TERMS]:
        label = f" for {named(v, terms)}" if len(terms) > 1 else ""
        parts.append(f"{_or_zero(sd_between(fit, v))}{label}")
    puts = "the fixed prior holds" if name == "fixed_prior" else f"{title_of(name)} puts"
    sentence = f"{puts} the SD between groups at {join(parts)}"
    if comparison.design.family != "gaussian":
        return f"{sentence}, on the scale of the {comparison.design.link} link."
    if comparison.design.known_se:
        return sentence + "; the residual SDs are known."
    if "nu" in fit.priors:
        return f"{sentence} and the scale of Student-t residuals at {significant(fit.sigma)}."
    return f"{sentence} and the residual SD at {significant(fit.sigma)}{_shares(comparison, fit, terms)}."


def spread_leads(comparison: Comparison) -> bool:
    """Whether a model is about variances: more factors than predictors, with shares of the variance to tell."""
    design, name = comparison.design, partial(comparison)
    if name is None or design.family != "gaussian" or design.known_se or not comparison.fits[name].components:
        return False
    predictors = sum(term != INTERCEPT for term in design.fixed_terms)
    return len(design.groups) > predictors and bool(_shares(comparison, comparison.fits[name], varying(comparison)))


def _shares(comparison: Comparison, fit: Fit, terms: tuple[Varying, ...]) -> str:
    """Which share of the variance of a row each factor has, where intercepts alone vary."""
    design = comparison.design
    if any(v.term != INTERCEPT for v in terms) or len(terms) > TERMS or np.ptp(design.weights) > 0:
        return ""
    parts = [sd_between(fit, v) ** 2 for v in terms]
    whole = sum(parts) + fit.sigma**2 / float(design.weights[0])
    predictors = any(term != INTERCEPT for term in design.fixed_terms)
    of = " that predictors leave" * predictors
    if len(terms) == 1:
        return f": {percent(parts[0] / whole)} of the variance{of} lies between groups"
    listed = join(f"{percent(part / whole)} between levels of {v.group}" for part, v in zip(parts, terms, strict=True))
    return f": of the variance{of}, {listed}"

"""What lies between estimators: the fixed prior, full Bayes, and who lies a standard error away."""

from __future__ import annotations

import re
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.varying import UNPOOLED, Varying, apart, named, partial, population, varying
from workbench.report.findings.priors import pull
from workbench.report.findings.terms import TERMS, level_of, sd_between
from workbench.words import beside, count, join, percent, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.estimates import Estimates
    from workbench.fit import Fit

Array = NDArray[np.float64]

SAME = 1e-4
"""Differences below this share of a standard error are not worth a sentence."""
ALIKE = 1e-5
"""Coefficients that lie apart by no more than this share of the SD between groups are told as the same."""
MOVED = 0.1
"""Population values that differ by more than this share of a standard error are told."""
CAUSE = 0.5
"""A prior that moves a population value by less than this share of the difference is not why it differs."""
BEYOND = 2.0
"""Monte Carlo errors beyond which the length of an interval tells something."""


# --- the fixed prior ----------------------------------------------------------------------------------


def plugged_in(comparison: Comparison) -> str:
    """How far the fixed prior's group coefficients lie from those of the mixed model that it is told the SD of."""
    fits = comparison.fits
    hub = next((name for name in ("reml", "laplace") if name in fits), None)
    if hub is None or "fixed_prior" not in fits:
        return ""
    mixed, called_so = fits[hub], called(hub)
    parts, shares = [], []
    terms = varying(comparison)
    for v in terms[:TERMS]:
        gap = apart(comparison, hub, "fixed_prior", v)
        if not np.isfinite(gap).any():
            continue
        worst = int(np.nanargmax(gap))
        between = sd_between(mixed, v)
        share = f", {percent(gap[worst] / between)} of {called_so}'s SD between groups" if between > 0 else ""
        where = f" ({level_of(v, worst)}{share})" if gap[worst] > 0 else ""
        label = f"for {named(v, terms)} " if len(terms) > 1 else ""
        parts.append(f"{label}at most {significant(gap[worst])}{where}")
        shares.append(_share(gap, mixed, v))
    if not parts:
        return ""
    said = f"lie {join(parts)} apart"
    if (most := max(shares)) <= ALIKE:
        within = f" to within {percent(most)} of {called_so}'s SD between groups" if most else ""
        said = f"give the same coefficients{within}"
    return f"{called_so} and the fixed prior {said}.{_beside(comparison, hub)}"


def _share(gap: Array, mixed: Fit, v: Varying) -> float:
    """The largest gap as a share of the mixed model's SD between groups; infinite where that is zero and a gap is."""
    most, between = float(np.nanmax(gap, initial=0.0)), sd_between(mixed, v)
    return most / between if between > 0 else np.inf if most else 0.0


def _beside(comparison: Comparison, hub: str) -> str:
    """The two residual SDs, and whether the prior leaves a correlation out."""
    mixed, fixed = comparison.fits[hub], comparison.fits["fixed_prior"]
    a, b = significant(mixed.sigma), significant(fixed.sigma)
    estimated = comparison.design.family == "gaussian" and not comparison.design.known_se
    residual = (f" Residual SD: {a} and {b}." if a != b else f" Residual SD: {a} by both.") if estimated else ""
    stated = [what for what in ("mean", "sd") if getattr(fixed.options, what, None) is not None]
    if stated:
        what = join({"mean": "mean", "sd": "SD"}[name] for name in stated)
        residual += (
            f" The prior's {what} {'are' if len(stated) > 1 else 'is'} stated in the options, not {called(hub)}'s."
        )
    several = any(len(part.terms) > 1 for part in mixed.components)
    if several and fixed.diagnostics.get("prior_covariance") == "independent":
        return f"{residual} The prior takes the terms as independent; {called(hub)} lets them correlate."
    return residual


# --- full Bayes ---------------------------------------------------------------------------------------


def full_bayes(comparison: Comparison) -> str:
    """What integrating adds to maximising, or to plugging in: lengths of intervals, and how far the points move.

    Of two estimators of the same posterior it speaks of the one without Monte Carlo error, by its name.
    """
    fits = comparison.fits
    whole = next((name for name in ("exact", "hierarchical") if name in fits), None)
    hub = next((name for name in ("reml", "laplace", "fixed_prior") if name in fits), None)
    if whole is None or hub is None:
        return ""
    terms = varying(comparison)
    said = (_integrated(comparison, whole, hub, v, terms) for v in terms[:TERMS])
    return " ".join(sentence for sentence in said if sentence)


def _integrated(comparison: Comparison, whole: str, hub: str, v: Varying, terms: tuple[Varying, ...]) -> str:
    full, mixed = (comparison.fits[name].group_effects[v.block].coefficient for name in (whole, hub))
    gap, other = apart(comparison, whole, hub, v), called(hub)
    if not np.isfinite(gap).any():
        return ""
    worst = int(np.nanargmax(gap))
    where = f" ({level_of(v, worst)})" if gap[worst] > 0 else ""
    moved = f"points lie at most {significant(gap[worst])} from {other}'s{where}"
    who = title_of(whole)
    label = f"For {named(v, terms)}, {who}" if len(terms) > 1 else f"{who[0].upper()}{who[1:]}"
    centre = _centre(comparison.fits[whole], comparison.fits[hub], v)
    width, base = ((e.conf_high - e.conf_low)[:, v.column] for e in (full, mixed))
    known = np.isfinite(width) & np.isfinite(base) & (base > 0)
    if not known.any():
        return f"{label}'s {moved}.{centre}"
    ratio = width[known] / base[known]
    longer = f"longer in {int(np.sum(ratio > 1)):,} of {count(len(ratio), 'group')}"
    return (
        f"{label}'s intervals ({full.interval}) are {_times(ratio)} as long as {other}'s ({mixed.interval}, "
        f"{mixed.std_error_kind}): {longer}{_by_chance(full, v, known, ratio)}. Its {moved}.{centre}"
    )


def _by_chance(full: Estimates, v: Varying, known: NDArray[np.bool_], ratio: Array) -> str:
    """How many lengths of draws differ by more than chance, where some are near the other's."""
    error = _error_of_length(full, v)
    if error is None:
        return ""
    off = (ratio - 1) / error[known]
    off = off[np.isfinite(off)]
    if not len(off) or not (np.abs(off) <= BEYOND).any():
        return ""
    return (
        f", by more than {BEYOND:g} Monte Carlo errors of such a length (each about "
        f"{percent(float(np.nanmedian(error[known])))}) in {int(np.sum(off > BEYOND)):,}; shorter by as much in "
        f"{int(np.sum(off < -BEYOND)):,}"
    )


def _error_of_length(full: Estimates, v: Varying) -> Array | None:
    """Relative Monte Carlo errors of lengths of equal-tailed intervals, shape (J,), by the effective size of the tails.

    Of a quantile it is sqrt(p (1 - p) / ESS) over the density there; here the density is a normal one.
    """
    claim = re.search(r"([\d.]+) %", full.interval)
    if full.ess_tail is None or claim is None:
        return None
    tail = 0.5 - float(claim[1]) / 200
    z = NormalDist().inv_cdf(1 - tail)
    once = (2 * tail * (1 - tail)) ** 0.5 / (2 * z * NormalDist().pdf(z))
    return np.asarray(once / np.sqrt(full.ess_tail[:, v.column]))


def _centre(full: Fit, mixed: Fit, v: Varying) -> str:
    """That the population value differs by a good part of its standard error, with its prior where that is why."""
    k = mixed.design.blocks[v.block].fixed[v.column]
    if k is None:
        return ""
    ours, theirs, error = population(full, v), population(mixed, v), float(mixed.population.std_error[k])
    if not (error > 0 and abs(ours - theirs) > MOVED * error):
        return ""
    prior = full.priors.get(v.term)
    moved = pull(prior, ours, error) if prior else 0.0
    under = f", under the prior {prior}" if prior and moved / (ours - theirs) >= CAUSE else ""
    other = called(mixed.estimator)
    one, two = beside([ours, theirs], abs(ours - theirs))
    return (
        f" Its population value is {one}{under}, where {other}'s is {two}: "
        f"{significant(abs(ours - theirs) / error, 2)} of {other}'s standard errors off, which moves the groups too."
    )


def _times(ratio: Array) -> str:
    """A set of ratios: one figure where they are all the same to three digits."""
    low, middle, high = (significant(float(r), 3) for r in (ratio.min(), np.median(ratio), ratio.max()))
    return f"{middle} times" if low == high else f"{low} to {high} times (median {middle})"


# --- who lies a standard error away -------------------------------------------------------------------


def disagree(comparison: Comparison) -> str:
    """How far each estimator that pools partially lies from the first one, in its standard errors."""
    hub = partial(comparison)
    if hub is None:
        return ""
    terms = varying(comparison)
    found = {}
    for other in comparison.fits:
        if other not in (hub, *UNPOOLED) and (worst := _farthest(comparison, hub, other, terms)) is not None:
            found[other] = worst
    if not found:
        return ""
    most = max(found, key=lambda name: found[name][0])
    whose = f"{called(hub)}'s standard error ({comparison.fits[hub].group_effects[0].coefficient.std_error_kind})"
    ratio, where, beyond = found[most]
    if ratio < SAME:
        return ""
    if not beyond:
        return (
            f"No estimator that pools partially differs from {called(hub)} by as much as {whose} in any group: the "
            f"most is {significant(ratio, 3)} of it ({title_of(most)}, {where})."
        )
    listed = join(
        f"{title_of(name)} {significant(ratio, 3)} ({where}{f'; more than 1 in {beyond}' if beyond else ''})"
        for name, (ratio, where, beyond) in sorted(found.items(), key=lambda item: -item[1][0])
        if ratio >= SAME
    )
    return f"Farthest from {called(hub)}, in units of {whose}: {listed}.{_short(comparison, hub, terms)}"


def _farthest(
    comparison: Comparison, hub: str, other: str, terms: tuple[Varying, ...]
) -> tuple[float, str, str] | None:
    """The largest distance in standard errors, where it is, and in how many groups it is more than one."""
    worst, far = None, []
    for v in terms:
        error = comparison.fits[hub].group_effects[v.block].coefficient.std_error[:, v.column]
        gap = apart(comparison, hub, other, v)
        known = np.isfinite(gap) & (error > 0)
        if not known.any():
            continue
        ratio = np.where(known, gap / np.where(known, error, 1.0), 0.0)
        j = int(np.argmax(ratio))
        if worst is None or ratio[j] > worst[0]:
            worst = (float(ratio[j]), f"{level_of(v, j)}{f', {v.term}' if len(terms) > 1 else ''}")
        if beyond := int(np.sum(ratio > 1)):
            label = f" for {named(v, terms)}" if len(terms) > 1 else ""
            far.append(f"{beyond:,} of {count(int(known.sum()), 'group')}{label}")
    return None if worst is None else (*worst, join(far))


def _short(comparison: Comparison, hub: str, terms: tuple[Varying, ...]) -> str:
    """That the measure is a short one, where it takes all groups as equal."""
    spreads = [sd_between(comparison.fits[hub], v) for v in terms]
    if any(spreads) or not np.isfinite(spreads).all():
        return ""
    return (
        " With a spread of zero that standard error is the population value's alone, and takes it as known that groups "
        "do not differ: where they do, it is too short."
    )

"""Can I just use bayesglm instead? The answer of this comparison's numbers.

Sentences are of REML (of counts and shares, `laplace`) and the fixed prior, and of full Bayes where it was fitted;
there are none where either of the former is not there.

The fixed prior's errors of group coefficients hold the population value. The mixed model's errors of group *effects*
(conditional SD) hold it as well; its errors of group *coefficients* (coefficient SE) count its error too. So lengths
are told against both, and

    fixed prior / coefficient SE  =  (fixed prior / conditional SD)  x  (conditional SD / coefficient SE)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.varying import Varying, apart, column, printable, varying
from workbench.report.grid import WHOLE_BAYES
from workbench.report.prior_held import (
    differences,
    estimated,
    hub_of,
    is_own,
    pairs,
    source_of,
    stated,
    summary_over_display,
    told_apart,
    whose,
)
from workbench.rounding import DIGITS
from workbench.words import count, join, level_in_words, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

NO_MATTER, SMALL = 0.1, 0.5
"""Differences below these shares of a standard error do not matter, or matter little."""
SHORTER, LONGER = 0.9, 1.1
"""Intervals between so many times as long as others count as the same."""
ALIKE = 5e-4
"""Lengths that differ by less than this share of them need no cause."""
HOLDS = "conditional SD"
"""The mixed model's standard error of an effect that takes the population values as known."""
NAMED = 3
"""So many population coefficients are named."""


class Far(NamedTuple):
    """The largest difference between two estimators, and where it is."""

    size: float
    where: str


class Shift(NamedTuple):
    """A population coefficient that the fixed prior estimates, beside the mixed model's."""

    term: str
    plugged: float
    mixed: float
    errors: float
    length: float


def instead(comparison: Comparison) -> tuple[str, ...]:
    """The answer in six sentences at most, each checked on this comparison; empty where there is nothing to compare."""
    fits = comparison.fits
    hub = hub_of(fits)
    if hub is None or "fixed_prior" not in fits:
        return ()
    whole = next((name for name in WHOLE_BAYES if name in fits), None)
    said = (
        _points(comparison, hub),
        _population(comparison, hub),
        _intervals(comparison, hub),
        _two_errors(comparison, hub),
        _prior(comparison, hub),
        _whole_bayes(comparison, whole, hub) if whole else "",
    )
    return tuple(sentence for sentence in said if sentence)


# --- points -------------------------------------------------------------------------------------------


def _farthest(comparison: Comparison, one: str, other: str, kind: str) -> tuple[Far, Far | None]:
    """Where two estimators lie farthest apart: in the units of the response, and in standard errors of `other`.

    `kind` is whose standard errors: ``coefficient`` or ``effect``. The former is NaN where nothing is known, the latter
    None where no standard error is.
    """
    plain, scaled = Far(np.nan, ""), None
    terms = varying(comparison)
    for v in terms:
        gap = apart(comparison, one, other, v)
        error = column(getattr(comparison.fits[other].group_effects[v.block], kind), v, "std_error")
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(error > 0, gap / error, np.nan)
        if np.isfinite(gap).any() and not np.nanmax(gap) <= plain.size:
            plain = Far(float(np.nanmax(gap)), _where(v, int(np.nanargmax(gap)), terms))
        if np.isfinite(ratio).any() and (scaled is None or np.nanmax(ratio) > scaled.size):
            scaled = Far(float(np.nanmax(ratio)), _where(v, int(np.nanargmax(ratio)), terms))
    return plain, scaled


def _how_far(comparison: Comparison, plain: Far, scaled: Far | None, whose_errors: str) -> str:
    """Both largest differences, each at its group, which is named once where it is the same."""
    if scaled is None:
        return f"at most {significant(plain.size)} ({plain.where})"
    errors = f"in {whose_errors} at most {significant(scaled.size, 2)} ({scaled.where})"
    where = "" if plain.where == scaled.where else f" ({plain.where})"
    link = comparison.design.link
    scale = "in the units of the response" if link == "identity" else f"on the scale of the {link} link"
    return f"{scale} at most {significant(plain.size)}{where}, {errors}"


def _where(v: Varying, j: int, terms: tuple[Varying, ...]) -> str:
    several = len({u.term for u in terms if u.group == v.group}) > 1
    return (f"{v.term} of " if several else "") + level_in_words(v.group, v.levels[j])


def _word(errors: float) -> str:
    return "yes" if errors < NO_MATTER else "nearly" if errors < SMALL else "no"


def _points(comparison: Comparison, hub: str) -> str:
    """The verdict on groups and population coefficients, and how far groups lie apart.

    Effects are set beside effects where both deviate from the same population values, else coefficients beside
    coefficients.
    """
    kind = "effect" if _like_with_like(comparison, hub) else "coefficient"
    plain, scaled = _farthest(comparison, "fixed_prior", hub, kind)
    if not np.isfinite(plain.size):
        return ""
    groups = "" if scaled is None else _word(scaled.size)
    answer = _verdict(groups, _shifts(comparison, hub))
    if plain.size == 0:
        differ = f"the fixed prior's group {kind}s are {called(hub)}'s, to rounding"
    else:
        errors = f"{called(hub)}'s standard errors ({_kind(comparison, hub, kind)})"
        how_far = _how_far(comparison, plain, scaled, errors)
        differ = f"the fixed prior's group {kind}s and {called(hub)}'s differ, {how_far}"
    return f"For the points, {answer}: {differ}." if answer else f"{_capital(differ)}."


def _like_with_like(comparison: Comparison, hub: str) -> bool:
    """Whether effects deviate from the same population values, and all have standard errors in the mixed model."""
    fit = comparison.fits[hub]
    known = all((column(fit.group_effects[v.block].effect, v, "std_error") > 0).all() for v in varying(comparison))
    return known and not any(pair.differs for pair in pairs(comparison, hub) if pair.label.startswith("mean of "))


def _verdict(groups: str, shifts: tuple[Shift, ...]) -> str:
    """One word for both where both have the same, else each with its own."""
    rank = ("yes", "nearly", "no")
    known = [shift for shift in shifts if np.isfinite(shift.errors)]
    if not known or not groups:
        return groups
    worst = max((_word(shift.errors) for shift in known), key=rank.index)
    if worst == groups:
        return groups
    if worst == "yes":
        return f"{groups} for groups, yes for the population coefficients"
    these = [shift.term for shift in known if _word(shift.errors) == worst]
    many = f"{len(these):,} of {count(len(known), 'population coefficient')}"
    return f"{groups} for groups, {worst} for {join(map(printable, these)) if len(these) <= NAMED else many}"


# --- population coefficients --------------------------------------------------------------------------


def _shifts(comparison: Comparison, hub: str) -> tuple[Shift, ...]:
    """The population coefficients that the fixed prior estimates; differences are 0 where they are rounding."""
    fixed, mixed = comparison.fits["fixed_prior"], comparison.fits[hub]
    found = []
    places = {term: m for m, term in enumerate(mixed.design.fixed_terms)}
    for k in estimated(fixed):
        m = places.get(fixed.design.fixed_terms[k])
        if m is None:  # fits of different designs may stand beside each other
            continue
        a, b = float(fixed.population.estimate[k]), float(mixed.population.estimate[m])
        wide, base = float(fixed.population.std_error[k]), float(mixed.population.std_error[m])
        gap = abs(a - b) if abs(a - b) > DIGITS * max(abs(a), abs(b)) else 0.0
        known = base > 0
        errors, length = (gap / base, wide / base) if known else (np.nan, np.nan)
        found.append(Shift(fixed.design.fixed_terms[k], a, b, errors, length))
    return tuple(found)


def _population(comparison: Comparison, hub: str) -> str:
    """How far population coefficients lie apart, what their standard errors are, and which are held."""
    terms = comparison.design.fixed_terms
    held = len(terms) - len(estimated(comparison.fits["fixed_prior"]))
    shifts = [shift for shift in _shifts(comparison, hub) if np.isfinite(shift.errors)]
    if not terms or not (shifts or held):
        return ""
    if not shifts:
        lone = f"value, {printable(terms[0])}, is held, without a standard error."
        return f"Its population {lone if len(terms) == 1 else 'values are held, without standard errors.'}"
    far = max(shifts, key=lambda shift: shift.errors)
    rest = f"; {_held_in_words(comparison.fits['fixed_prior'])}" if held else ""
    name = called(hub)
    length = _times(np.array([shift.length for shift in shifts]))
    if far.errors == 0:
        said = f"are {name}'s, to rounding" if len(shifts) > 1 else f"is {name}'s, to rounding"
        lead = "The population coefficients that it estimates" if len(shifts) > 1 else f"Its population {far.term}"
        return f"{lead} {said}, with standard errors {length} as long{rest}."
    one, other = told_apart(far.plugged, far.mixed)
    lead = (
        f"Of the {count(len(shifts), 'population coefficient')} that it estimates, {printable(far.term)} differs most"
    )
    if len(shifts) == 1:
        lead = f"It estimates one population coefficient, {printable(far.term)}"
    theirs = "its standard error is" if len(shifts) == 1 else "their standard errors are"
    return (
        f"{lead}: {one} against {name}'s {other}, {significant(far.errors, 2)} of {name}'s standard error; {theirs} "
        f"{length} as long as {name}'s{rest}."
    )


def _held_in_words(fixed: Fit) -> str:
    free = estimated(fixed)
    held = [printable(term) for k, term in enumerate(fixed.design.fixed_terms) if k not in free]
    if len(held) == 1:
        return f"{held[0]} is held, without a standard error"
    return f"{join(held) if len(held) <= NAMED else f'the other {len(held):,}'} are held, without standard errors"


# --- intervals ----------------------------------------------------------------------------------------


def _intervals(comparison: Comparison, hub: str) -> str:
    """Lengths against the mixed model's effects and coefficients, and what the first leaves to explain."""
    ratio, name = _ratios(comparison, "fixed_prior", hub), called(hub)
    if not len(ratio):
        return ""
    if not ratio.any():
        return "For the intervals, no: at a prior SD of zero they have no length."
    unlike, kind = _unlike(comparison, hub), _kind(comparison, hub, "coefficient")
    answer = f"no ({unlike})" if unlike else _mostly(ratio)
    counted = any(k is not None for block in comparison.design.blocks for k in block.fixed)
    coefficients = f"{_times(ratio)} as long as those of {name}'s group coefficients ({kind})"
    coefficients += ", which count the error of the population value as well" if counted else ""
    given = _ratios(comparison, "fixed_prior", hub, "effect")
    holds = _kind(comparison, hub, "effect") == HOLDS
    if not len(given) or not holds or not counted:
        return f"For the intervals, {answer}: they are {coefficients.removesuffix(' as well')}."
    if unlike:
        effects = _mostly(given) if SHORTER <= float(np.median(given)) <= LONGER else "no"
        answer = f"{effects} for effects, no for coefficients ({unlike})"
    elif answer == "yes":
        answer = _mostly(given)
    left = _left(comparison, hub) if np.abs(given - 1).max() > ALIKE else ""
    return (
        f"For the intervals, {answer}: they are {_times(given)} as long as those of {name}'s group effects ({HOLDS}), "
        f"which hold the population value as the prior does{left}, and {coefficients}."
    )


def _mostly(ratio: Array) -> str:
    """Yes where all lengths count as the same, else of how many that holds."""
    same = int(np.sum((ratio >= SHORTER) & (ratio <= LONGER)))
    return "yes" if same == len(ratio) else f"mostly (within {100 * (LONGER - 1):.0f} % for {same:,} of {len(ratio):,})"


def _unlike(comparison: Comparison, hub: str) -> str:
    """By grouping factor, how long the fixed prior's intervals are where they are not about the mixed model's."""
    found: dict[str, list[Array]] = {}
    for v in varying(comparison):
        found.setdefault(v.group, []).append(_ratio(comparison, "fixed_prior", hub, v))
    said = []
    for group, parts in found.items():
        ratio = np.concatenate(parts)
        middle = float(np.median(ratio)) if len(ratio) else 1.0
        if not SHORTER <= middle <= LONGER:
            said.append(f"{significant(middle, 3)} times by {group}")
    return f"{join(said)}, median" if said else ""


def _left(comparison: Comparison, hub: str) -> str:
    """What else can make errors of effects differ: everything that does differ between the two, or nothing known."""
    fixed, mixed = comparison.fits["fixed_prior"], comparison.fits[hub]
    causes = []
    if abs(fixed.sigma - mixed.sigma) > ALIKE * mixed.sigma:  # less cannot lengthen an interval by as much
        one, other = told_apart(fixed.sigma, mixed.sigma)
        causes.append(f"the residual SD is {one} against {other}")
    t_prior = np.isfinite(fixed.diagnostics.get("prior_df", np.inf)) or fixed.diagnostics.get("prior_scaled")
    if t_prior or any(pair.differs for pair in pairs(comparison, hub)):
        causes.append("the prior is another")
    if fixed.diagnostics.get("prior_covariance") == "independent" and any(
        np.count_nonzero(part.covariance - np.diag(np.diag(part.covariance))) for part in mixed.components
    ):
        causes.append(f"the prior's terms are independent where {called(hub)}'s correlate")
    if free := estimated(fixed):
        what = printable(fixed.design.fixed_terms[free[0]]) if len(free) == 1 else "other population coefficients"
        causes.append(f"they count the error of {what}")
    return f" ({join(causes)})" if causes else ""


def _ratio(comparison: Comparison, one: str, other: str, v: Varying, kind: str = "coefficient") -> Array:
    """Lengths of the intervals of one over those of another, of the levels of a term that have both."""
    a, b = (getattr(comparison.fits[name].group_effects[v.block], kind) for name in (one, other))
    wide, base = (column(e, v, "conf_high") - column(e, v, "conf_low") for e in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(base > 0, wide / base, np.nan)
    return np.asarray(ratio[np.isfinite(ratio)], dtype=float)


def _ratios(comparison: Comparison, one: str, other: str, kind: str = "coefficient") -> Array:
    """The same of all terms."""
    found = [_ratio(comparison, one, other, v, kind) for v in varying(comparison)]
    return np.concatenate(found) if found else np.zeros(0)


def _times(ratio: Array) -> str:
    low, middle, high = (significant(float(r), 3) for r in (ratio.min(), np.median(ratio), ratio.max()))
    return f"{middle} times" if low == high else f"{low} to {high} times (median {middle})"


def _kind(comparison: Comparison, name: str, of: str) -> str:
    return str(getattr(comparison.fits[name].group_effects[0], of).std_error_kind)


def _two_errors(comparison: Comparison, hub: str) -> str:
    """arm's two conventions: the EM's dispersion, or the residual sum of squares over what is left of the rows."""
    fixed, ratio = comparison.fits["fixed_prior"], _ratios(comparison, "fixed_prior", hub)
    times = summary_over_display(fixed)
    if not np.isfinite(times) or not len(ratio):
        return ""
    return (
        "These are the standard errors that arm's display() shows, at bayesglm's own dispersion; its summary() and "
        f"se.coef() take RSS / (n - p) instead, which makes them {significant(times, 4)} times as long, and "
        f"{_times(times * ratio)} as long as {called(hub)}'s of group coefficients."
    )


# --- the prior, and full Bayes ------------------------------------------------------------------------


def _prior(comparison: Comparison, hub: str) -> str:
    """Whose mean and SD the prior holds, and both pairs where they are not the mixed model's."""
    fixed, name = comparison.fits["fixed_prior"], called(hub)
    if fixed.read_from is not None:
        return ""
    zero = _no_spread(comparison, hub)
    if is_own(fixed, hub):
        return (
            f"It does not replace {name}: the mean and the SD that its prior holds are {name}'s estimates, so that "
            f"{name} is fitted first{f'; {zero}' if zero else ''}."
        )
    different = differences(pairs(comparison, hub), name)
    which = (
        f"are not {name}'s: {different}, so that the two differ in their priors as well"
        if different
        else f"are {name}'s estimates all the same"
    )
    needs = "" if any(stated(fixed.options)) and source_of(fixed) is None else f" ({whose(fixed)})"
    lead = "The mean and the SD of its prior were stated, not estimated here, and " if not needs else ""
    lead = lead or f"The mean and the SD of its prior{needs} "
    return f"{lead}{which}{f'; {zero}' if zero else ''}."


def _no_spread(comparison: Comparison, hub: str) -> str:
    fit = comparison.fits[hub]
    zero = [v for v in varying(comparison) if fit.components and fit.components[v.block].sd[v.column] == 0]
    if not zero:
        return ""
    terms = join(f"{v.term} by {v.group}" for v in zero)
    return (
        f"{called(hub)} puts the SD between groups at zero ({terms}), and a prior with that SD leaves no group "
        "anything of its own"
    )


def _whole_bayes(comparison: Comparison, whole: str, hub: str) -> str:
    """What full Bayes changes: widths of intervals and positions of points, against the mixed model."""
    ratio = _ratios(comparison, whole, hub)
    plain, scaled = _farthest(comparison, whole, hub, "coefficient")
    if not len(ratio) or not np.isfinite(plain.size):
        return ""
    name, kind = called(hub), _kind(comparison, hub, "coefficient")
    how_far = _how_far(comparison, plain, scaled, f"{name}'s standard errors")
    points = f"its points differ from {name}'s, {how_far}"
    if plain.size == 0:
        points = f"its points are {name}'s, to rounding"
    return (
        f"{_capital(title_of(whole))} takes the spread between groups as unknown: its intervals of group coefficients "
        f"are {_times(ratio)} as long as {name}'s ({kind}), and {points}."
    )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]

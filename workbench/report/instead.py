"""Can I just use bayesglm instead? The answer of this comparison's numbers, and what each stage costs.

Sentences are of REML (of counts and shares, `laplace`) and the fixed prior, and of full Bayes where it was fitted;
there are none where either of the former is not there. Wall times stand in :func:`costs` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.estimators import REGISTRY
from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.varying import Varying, apart, column, printable, varying
from workbench.report.cells import Cell, Column, Table, text
from workbench.report.grid import WHOLE_BAYES
from workbench.words import MISSING, join, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison

Array = NDArray[np.float64]

HUBS = ("reml", "laplace")
"""The mixed models whose mean and SD bayesglm is told."""
NO_MATTER, SMALL = 0.1, 0.5
"""Differences below these shares of a standard error do not matter, or matter little."""
SHORTER, LONGER = 0.9, 1.1
"""Intervals between so many times as long as others count as the same."""
STAGES = ("compile", "sampling")


class Far(NamedTuple):
    """The largest difference between two estimators, and where it is."""

    size: float
    where: str


def instead(comparison: Comparison) -> tuple[str, ...]:
    """The answer in sentences, each checked on this comparison; empty where there is nothing to compare."""
    fits = comparison.fits
    hub = next((name for name in HUBS if name in fits), None)
    if hub is None or "fixed_prior" not in fits:
        return ()
    whole = next((name for name in WHOLE_BAYES if name in fits), None)
    said = (
        _points(comparison, hub),
        _needed(comparison, hub),
        _no_spread(comparison, hub),
        _intervals(comparison, "fixed_prior", hub),
        _whole_bayes(comparison, whole) if whole else "",
    )
    return tuple(sentence for sentence in said if sentence)


def _farthest(comparison: Comparison, one: str, other: str) -> tuple[Far, Far | None]:
    """Where two estimators lie farthest apart: in the units of the response, and in standard errors of `other`.

    The former is NaN where nothing is known, the latter None where no standard error is.
    """
    plain, scaled = Far(np.nan, ""), None
    terms = varying(comparison)
    for v in terms:
        gap = apart(comparison, one, other, v)
        error = column(comparison.fits[other].group_effects[v.block].coefficient, v, "std_error")
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(error > 0, gap / error, np.nan)
        if np.isfinite(gap).any() and not np.nanmax(gap) <= plain.size:
            plain = Far(float(np.nanmax(gap)), _where(v, int(np.nanargmax(gap)), terms))
        if np.isfinite(ratio).any() and (scaled is None or np.nanmax(ratio) > scaled.size):
            scaled = Far(float(np.nanmax(ratio)), _where(v, int(np.nanargmax(ratio)), terms))
    return plain, scaled


def _units(comparison: Comparison) -> str:
    """What group coefficients are measured in."""
    design = comparison.design
    return "the units of the response" if design.link == "identity" else f"the scale of the {design.link} link"


def _how_far(comparison: Comparison, plain: Far, scaled: Far | None, whose: str) -> str:
    """Both largest differences, each at its group, which is named once where it is the same."""
    if scaled is None:
        return f"at most {significant(plain.size)} ({plain.where})"
    errors = f"in {whose} standard errors at most {significant(scaled.size, 2)} ({scaled.where})"
    where = "" if plain.where == scaled.where else f" ({plain.where})"
    scale = "in" if comparison.design.link == "identity" else "on"
    return f"{scale} {_units(comparison)} at most {significant(plain.size)}{where}, {errors}"


def _where(v: Varying, j: int, terms: tuple[Varying, ...]) -> str:
    several = len({u.term for u in terms if u.group == v.group}) > 1
    return (f"{v.term} of " if several else "") + f"{v.group} {printable(v.levels[j])}"


def _points(comparison: Comparison, hub: str) -> str:
    plain, scaled = _farthest(comparison, "fixed_prior", hub)
    if not np.isfinite(plain.size):
        return ""
    other = _other_lengths(comparison, hub)
    but = f"; for the intervals, no: {other}" if other else ""
    if plain.size == 0:
        same = f"he fixed prior's group coefficients are {called(hub)}'s, to rounding."
        return f"For the points, yes{but}. T{same}" if but else f"For the points, yes: t{same}"
    how_far = _how_far(comparison, plain, scaled, f"{called(hub)}'s")
    differ = f"he fixed prior's group coefficients and {called(hub)}'s differ, {how_far}."
    if scaled is None:
        return f"T{differ}"
    answer = "yes" if scaled.size < NO_MATTER else "nearly" if scaled.size < SMALL else "not here"
    return f"For the points, {answer}{but}. T{differ}" if but else f"For the points, {answer}: t{differ}"


def _other_lengths(comparison: Comparison, hub: str) -> str:
    """By grouping factor, how long the fixed prior's intervals are where they are not about the mixed model's."""
    found: dict[str, list[Array]] = {}
    for v in varying(comparison):
        found.setdefault(v.group, []).append(_ratio(comparison, "fixed_prior", hub, v))
    said = []
    for group, parts in found.items():
        ratio = np.concatenate(parts)
        middle = float(np.median(ratio)) if len(ratio) else 1.0
        if not SHORTER <= middle <= LONGER:
            said.append(f"{significant(middle, 3)} times as long as {called(hub)}'s by {group}")
    return f"{join(said)} (median)" if said else ""


def _needed(comparison: Comparison, hub: str) -> str:
    """Whether the fixed prior's mean and SD are the mixed model's, which is then fitted first."""
    fixed = comparison.fits["fixed_prior"]
    if fixed.read_from is not None:
        return ""
    if all(getattr(fixed.options, name, None) is not None for name in ("mean", "sd")):
        return (
            "The mean and the SD were given with the call; without them there is no prior to hold: they come from a "
            "mixed model or from elsewhere."
        )
    needed = REGISTRY["fixed_prior"].needed(fixed.options, fixed.design)
    if hub not in needed or any(getattr(fixed.options, name, None) is not None for name in ("mean", "sd")):
        return ""
    return (
        f"It does not replace {called(hub)}: the mean and the SD that its prior holds are {called(hub)}'s estimates, "
        f"so that {called(hub)} is fitted first."
    )


def _no_spread(comparison: Comparison, hub: str) -> str:
    fit = comparison.fits[hub]
    zero = [v for v in varying(comparison) if fit.components and fit.components[v.block].sd[v.column] == 0]
    if not zero:
        return ""
    terms = join(f"{v.term} by {v.group}" for v in zero)
    return (
        f"{called(hub)} puts the SD between groups at zero ({terms}): a prior with that SD leaves no group anything of "
        "its own."
    )


def _ratio(comparison: Comparison, one: str, other: str, v: Varying) -> Array:
    """Lengths of the intervals of one over those of another, of the levels of a term that have both."""
    a, b = (comparison.fits[name].group_effects[v.block].coefficient for name in (one, other))
    wide, base = (column(e, v, "conf_high") - column(e, v, "conf_low") for e in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(base > 0, wide / base, np.nan)
    return np.asarray(ratio[np.isfinite(ratio)], dtype=float)


def _ratios(comparison: Comparison, one: str, other: str) -> Array:
    """The same of all terms."""
    found = [_ratio(comparison, one, other, v) for v in varying(comparison)]
    return np.concatenate(found) if found else np.zeros(0)


def _times(ratio: Array) -> str:
    low, middle, high = (significant(float(r), 3) for r in (ratio.min(), np.median(ratio), ratio.max()))
    return f"{middle} times" if low == high else f"{low} to {high} times (median {middle})"


def _kind(comparison: Comparison, name: str) -> str:
    return comparison.fits[name].group_effects[0].coefficient.std_error_kind


def _intervals(comparison: Comparison, one: str, hub: str) -> str:
    ratio = _ratios(comparison, one, hub)
    if not len(ratio):
        return ""
    return (
        f"Its intervals are {_times(ratio)} as long as {called(hub)}'s: its standard errors are of the kind "
        f"“{_kind(comparison, one)}”, {called(hub)}'s “{_kind(comparison, hub)}”."
    )


def _whole_bayes(comparison: Comparison, whole: str) -> str:
    """What full Bayes changes: widths of intervals and positions of points, against the fixed prior."""
    ratio = _ratios(comparison, whole, "fixed_prior")
    plain, scaled = _farthest(comparison, whole, "fixed_prior")
    if not len(ratio) or not np.isfinite(plain.size):
        return ""
    how_far = _how_far(comparison, plain, scaled, "the fixed prior's")
    return (
        f"{_capital(title_of(whole))} takes the spread between groups as unknown: its intervals are {_times(ratio)} as "
        f"long as the fixed prior's, and its points differ from the fixed prior's, {how_far}."
    )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


# --- costs --------------------------------------------------------------------------------------------


def costs(comparison: Comparison) -> Table:
    """Wall seconds of every fit, of its stages, and of all that it builds on; the page's one place with wall times."""
    measured = any(_stages(comparison, name) for name in comparison.fits)
    rows = []
    for name, fit in comparison.fits.items():
        needs = _needs(comparison, name)
        known = [comparison.fits[other].seconds for other in needs if other in comparison.fits]
        total = fit.seconds + sum(known) if len(known) == len(needs) else np.nan
        stages = _stages(comparison, name)
        rows.append(
            (
                text(title_of(name)),
                _seconds(fit.seconds),
                *((_seconds(stages.get(stage, np.nan)) for stage in STAGES) if measured else ()),
                text(", ".join(title_of(other) for other in needs)),
                _seconds(total),
            )
        )
    columns = (
        Column("estimator", numeric=False),
        Column("seconds"),
        *((Column("of which compiling"), Column("of which sampling")) if measured else ()),
        Column("builds on", numeric=False),
        Column("seconds in all"),
    )
    notes = (
        "Wall seconds on the machine that made this page, of the fit itself, without reading the data; in all: with "
        "the fits that it builds on. They are the only figures here that another run changes.",
    )
    return Table(
        "timings", "What each stage costs", columns, tuple(rows), (), notes, "tables/timings.csv",
        sentence=_cost(comparison), sortable=False,
    )  # fmt: skip


def _needs(comparison: Comparison, name: str) -> tuple[str, ...]:
    fit = comparison.fits[name]
    if name not in REGISTRY or fit.read_from is not None:
        return ()
    return tuple(REGISTRY[name].needed(fit.options, fit.design))


def _stages(comparison: Comparison, name: str) -> dict[str, float]:
    return dict(comparison.fits[name].diagnostics.get("seconds_by_stage", {}))


def _seconds(value: float) -> Cell:
    return Cell(significant(value, 3), float(value)) if np.isfinite(value) else Cell(MISSING)


def _cost(comparison: Comparison) -> str:
    """The price of the fixed prior beside that of the model that it builds on, and of full Bayes."""
    fits = comparison.fits
    hub = next((name for name in HUBS if name in fits), None)
    if hub is None or "fixed_prior" not in fits or hub not in _needs(comparison, "fixed_prior"):
        return ""
    first, then = fits[hub].seconds, fits["fixed_prior"].seconds
    if not np.isfinite([first, then]).all():
        return ""
    said = (
        f"{_capital(called(hub))} took {significant(first, 2)} seconds, and the fixed prior {significant(then, 2)} "
        "more on top of that."
    )
    whole = next((name for name in WHOLE_BAYES if name in fits and np.isfinite(fits[name].seconds)), None)
    return said + (f" {_capital(title_of(whole))} took {significant(fits[whole].seconds, 3)} seconds." if whole else "")

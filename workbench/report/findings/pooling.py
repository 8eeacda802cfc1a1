"""What pooling does to groups: which one it moves farthest and why, and how much groups keep of their own deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import (
    INTERCEPT,
    Varying,
    coefficients,
    named,
    own,
    partial,
    population,
    varying,
    without_own,
)
from workbench.report.extremes import decimals
from workbench.report.findings.terms import TERMS, level_of
from workbench.words import beside, count, fixed, join, percent, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison

Array = NDArray[np.float64]

SAME = 1e-6
"""Shares that differ by less than this part of them are the same."""
LEAST_FOR_RANKS = 6
"""Of fewer groups no rank correlation is told."""
CLEAR = 0.3
"""A rank correlation below this says little."""
EDGE = 1e-9
"""Shares that leave 0 to 1 by less do not."""


def moved_most(comparison: Comparison) -> str:
    """The group that pooling moves farthest, and why: of a slope, where one varies."""
    name = partial(comparison)
    if name is None or comparison.alone is None:
        return ""
    terms = varying(comparison)
    v = next((u for u in terms if u.term != INTERCEPT), terms[0])
    alone, pooled = coefficients(comparison.alone, v), coefficients(comparison.fits[name], v)
    moved, centre = np.abs(pooled - alone), population(comparison.fits[name], v)
    known = np.isfinite(moved)
    if not known.any():
        return ""
    j = int(np.nanargmax(moved))
    every = _sizes(comparison, v)
    sizes = every[known]
    pooling = f"for {named(v, terms)}, pooling" if len(terms) > 1 else "pooling"
    among = "" if known.all() else f" of the {count(len(sizes), 'group')} with an estimate of their own"
    rank = _rank(int(every[j]), sizes, "" if known.all() else " of these")
    of = "" if v.plain or len(terms) > 1 else f" of {v.term}"
    unseen = "" if v.plain or "no_pooling" in comparison.fits else ", by a fit that has no column here,"
    ties = int(np.sum(moved[known] >= moved[j] * (1 - SAME))) - 1
    equal = f", as far as {count(ties, 'other')}{',' * bool(among)}" if ties else ""
    way = _why((alone - pooled)[known], (alone - centre)[known], int(known[:j].sum()))
    out, ends = way or ("", "")
    before, after = beside([alone[j], pooled[j]], moved[j], decimals(comparison, v))
    return (
        f"{pooling} moves {level_of(v, j)} farthest{equal}{among} ({_size(comparison, int(every[j]))}{rank}): its "
        f"{v.own_label}{of}{unseen} is {before}{out}; {title_of(name)} puts the group at "
        f"{after}{ends}.{_by_size(moved[known], sizes)}"
    )


def _rank(size: int, sizes: NDArray[np.intp], these: str) -> str:
    """Where a group's size stands among all of them; nothing where they are the same."""
    low = int(sizes.min())
    if low == sizes.max():
        return ""
    if size > low:
        return f", where the smallest {'has' if np.sum(sizes == low) == 1 else 'have'} {low:,}"
    if np.sum(sizes == low) > 1:
        return f", one of the smallest{these or ' groups'}"
    return f", the {'smaller' if len(sizes) == 2 else 'smallest'}{these or ' group'}"


def _sizes(comparison: Comparison, v: Varying) -> NDArray[np.intp]:
    """What each group's size is, shape (J,): its trials, where rows hold several, else its rows."""
    design = comparison.design
    if _in_trials(comparison):
        codes = design.blocks[v.block].codes
        return np.bincount(codes, design.trials, len(v.levels)).round().astype(np.intp)
    return v.sizes


def _in_trials(comparison: Comparison) -> bool:
    return comparison.design.family == "binomial" and bool((comparison.design.trials != 1).any())


def _size(comparison: Comparison, size: int) -> str:
    return count(size, "trial") if _in_trials(comparison) else f"n = {size:,}"


def _why(moved: Array, away: Array, j: int) -> tuple[str, str] | None:
    """Whether the group that moved most lay far out, lost a large share of that, or both: its places among all.

    Parameters
    ----------
    moved : array, shape (J,)
        What pooling takes from each group's own value, with its sign.
    away : array, shape (J,)
        Of each own value from the population's.
    j : int
        The group that moved most.

    Returns
    -------
    pair of str, or None
        What follows the group's own value, and what follows where it is put.
    """
    out = np.abs(away)
    if not np.isfinite(out).all() or out[j] == 0 or len(out) < TERMS:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = moved / away
    taken = lost[np.isfinite(lost)]
    share, middle = percent(abs(float(lost[j]))), percent(float(np.median(taken)))
    if lost[j] < 0:
        ends = (
            f"pooling moves it farther out, to {significant(1 - float(lost[j]), 3)} times that distance; the median "
            f"share taken away is {middle}"
        )
    elif lost[j] > 1 + EDGE:
        ends = f"pooling takes it past the population value; the median share taken away is {middle}"
    elif np.ptp(taken) <= SAME * lost[j]:
        ends = f"pooling takes away the same share, {share}, of every group's distance"
    else:
        ends = f"pooling takes away {share} of its distance, where the median over groups is {middle}"
    place = _place(int(np.sum(out > out[j] * (1 + SAME))) + 1)
    far = (
        f", which is {significant(float(out[j]))} from the population value, {place} largest such distance of "
        f"{count(len(out), 'group')}"
    )
    return far, f": {ends}"


def _place(place: int) -> str:
    """ "the", "the second", "the third", "the 4th"."""
    words = {1: "the", 2: "the second", 3: "the third"}
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    return words.get(place, f"the {place:,}{ending}")


def _by_size(moved: Array, sizes: NDArray[np.intp]) -> str:
    """How moves and sizes of groups go together, where sizes differ."""
    from scipy.stats import spearmanr

    if sizes.min() == sizes.max() or len(sizes) < LEAST_FOR_RANKS or np.ptp(moved) == 0:
        return ""
    found = float(spearmanr(sizes, moved).statistic)
    way = "smaller groups tend to move farther" if found < -CLEAR else "larger groups tend to move farther"
    said = way if abs(found) > CLEAR else "size alone says little about who moves"
    return f" Over all groups, {said} (rank correlation of size and move {fixed(found, 2)})."


def kept(comparison: Comparison) -> list[str]:
    """How much of their own deviation groups keep, small ones and large ones."""
    name = partial(comparison)
    if name is None or comparison.alone is None:
        return []
    said = []
    terms = varying(comparison)
    for v in terms[:TERMS]:
        alone = own(comparison, v)
        assert alone is not None
        c, m = coefficients(comparison.fits[name], v), population(comparison.fits[name], v)
        gap = alone - m
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(np.abs(gap) > 1e-12 * (1 + np.abs(alone)), (c - m) / gap, np.nan)
        known = np.isfinite(share)
        if known.any():
            label = f" of {named(v, terms)}" if len(terms) > 1 else ""
            left_out = without_own(v, alone)
            shares = _shares(comparison, share[known], _sizes(comparison, v)[known])
            said.append(
                f"{_among(known, np.isfinite(alone))}{title_of(name)} keeps {shares} own deviation{label}."
                + _beyond(share[known])
                + (f" {left_out}" if left_out else "")
            )
    return said


def _among(known: NDArray[np.bool_], alone: NDArray[np.bool_]) -> str:
    """Of which groups a sentence speaks, where it cannot speak of all; `known` are those it speaks of."""
    if known.all():
        return ""
    what = "an estimate" if (known == alone).all() else "a deviation"
    return f"among the {count(int(known.sum()), 'group')} with {what} of their own, "


def _shares(comparison: Comparison, share: Array, sizes: NDArray[np.intp]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return f"{_typical(share)} of a group's"
    parts = []
    for size, which in ((low, "smallest"), (high, "largest")):
        these = share[sizes == size]
        inside = these[(these >= -EDGE) & (these <= 1 + EDGE)]
        whose = f"{which} {'group' if len(these) == 1 else 'groups'}'{'s' if len(these) == 1 else ''}"
        many = f"; {count(len(these), 'group')}" if len(these) > 1 else ""
        if len(these) == 1 and not len(inside):
            return f"{_typical(share)} of a group's"
        parts.append(f"{_typical(these)} of the {whose} ({_size(comparison, size)}{many})")
    return " and ".join(parts)


def _typical(share: Array) -> str:
    """One share where all are the same; else the median, with the ends where shares are what they are called."""
    if np.ptp(share) <= 1e-4 * max(1e-3, float(np.abs(share).max())):
        return percent(float(share[0]))
    middle, low, high = (percent(float(value)) for value in (np.median(share), share.min(), share.max()))
    if share.min() < -EDGE or share.max() > 1 + EDGE:
        return f"{middle} (median)"
    return f"{middle} (median; {low} to {high})"


def _beyond(share: Array) -> str:
    """How many groups keep no share, but go past the population value or farther out, and why that may be."""
    past, out = int(np.sum(share < -EDGE)), int(np.sum(share > 1 + EDGE))
    if not past + out:
        return ""
    ways = []
    if past:
        ways.append(f"{count(past, 'group')} {'goes' if past == 1 else 'go'} past the population value")
    if out:
        own_values = "goes farther out than its own value" if out == 1 else "go farther out than their own values"
        ways.append(f"{count(out, 'group')} {own_values}")
    which = "it" if past + out == 1 else "them"
    return f" {join(ways)}: what else is estimated with the term moves {which} too."

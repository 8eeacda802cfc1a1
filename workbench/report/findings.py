"""What the numbers say, in sentences that are computed: nothing is claimed that was not checked on this data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.varying import (
    UNPOOLED,
    Varying,
    apart,
    coefficients,
    named,
    own,
    partial,
    population,
    printable,
    truth,
    varying,
    without_own,
)
from workbench.report import zero_variance
from workbench.words import count, fixed, join, percent, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

TERMS = 3
"""Sentences that go term by term cover so many terms."""
SAME = 1e-6
"""Shares that differ by less than this part of them are the same."""
LEAST_FOR_RANKS = 6
"""Of fewer groups no rank correlation is told."""
CLEAR = 0.3
"""A rank correlation below this says little."""


def findings(comparison: Comparison) -> tuple[str, ...]:
    """Three to six sentences or so, each true of this comparison."""
    said = (
        _spread(comparison),
        _moved_most(comparison),
        *_kept(comparison),
        _plugged_in(comparison),
        *zero_variance.sentences(comparison),
        _full_bayes(comparison),
        _disagree(comparison),
        _against_truth(comparison),
    )
    return tuple(sentence[0].upper() + sentence[1:] for sentence in said if sentence)


def sd_between(fit: Fit, v: Varying) -> float:
    """An estimator's SD between groups for a term; NaN where it has none."""
    return float(fit.components[v.block].sd[v.column]) if fit.components else np.nan


def _level(v: Varying, j: int) -> str:
    return f"{v.group} {printable(v.levels[j])}"


def _plugged_in(comparison: Comparison) -> str:
    fits = comparison.fits
    hub = next((name for name in ("reml", "laplace") if name in fits), None)
    if hub is None or "fixed_prior" not in fits:
        return ""
    mixed, called_so = fits[hub], called(hub)
    parts, largest = [], 0.0
    terms = varying(comparison)
    for v in terms[:TERMS]:
        gap = apart(comparison, hub, "fixed_prior", v)
        if not np.isfinite(gap).any():
            continue
        worst = int(np.nanargmax(gap))
        spread = sd_between(mixed, v)
        share = f", {percent(gap[worst] / spread)} of {called_so}'s SD between groups" if spread > 0 else ""
        where = f" ({_level(v, worst)}{share})" if gap[worst] > 0 else ""
        label = f"for {named(v, terms)} " if len(terms) > 1 else ""
        largest = max(largest, float(gap[worst]))
        parts.append(f"{label}at most {significant(gap[worst])}{where}")
    if not parts:
        return ""
    said = f"lie {join(parts)} apart" if largest > 0 else "give the same coefficients"
    a, b = mixed.sigma, fits["fixed_prior"].sigma
    estimated = comparison.design.family == "gaussian" and not comparison.design.known_se
    residual = f" Residual SD: {significant(a)} and {significant(b)}." if estimated else ""
    rule = fits["fixed_prior"].diagnostics.get("prior_covariance")
    several = any(len(part.terms) > 1 for part in mixed.components)
    plain = (
        f" The prior takes the terms as independent; {called_so} lets them correlate."
        if several and rule == "independent"
        else ""
    )
    return f"{called_so} and the fixed prior {said}.{residual}{plain}"


def _moved_most(comparison: Comparison) -> str:
    name = partial(comparison)
    if name is None or comparison.alone is None:
        return ""
    terms = varying(comparison)
    v = terms[0]
    alone, pooled = coefficients(comparison.alone, v), coefficients(comparison.fits[name], v)
    moved, centre = np.abs(pooled - alone), population(comparison.fits[name], v)
    known = np.isfinite(moved)
    if not known.any():
        return ""
    j = int(np.nanargmax(moved))
    sizes = v.sizes[known]
    pooling = f"for {named(v, terms)}, pooling" if len(terms) > 1 else "pooling"
    among = "" if known.all() else f" of the {count(len(sizes), 'group')} with an estimate of their own"
    rank, these = "", "groups" if known.all() else "of these"
    if sizes.min() < sizes.max():
        smallest = v.sizes[j] == sizes.min()
        rank = ", one of the smallest " if smallest else f", where the smallest have {int(sizes.min()):,}"
        rank += these if smallest else ""
    of = "" if v.plain or len(terms) > 1 else f" of {v.term}"
    ties = int(np.sum(moved[known] >= moved[j] * (1 - SAME))) - 1
    equal = f", as far as {count(ties, 'other')}," if ties else ""
    return (
        f"{pooling} moves {_level(v, j)} farthest{equal}{among} (n = {int(v.sizes[j]):,}{rank}): its "
        f"{v.own_label}{of} is {significant(alone[j])}, and {title_of(name)} puts it at {significant(pooled[j])}."
        f"{_why((alone - pooled)[known], (alone - centre)[known], int(known[:j].sum()))}"
        f"{_by_size(moved[known], sizes)}"
    )


def _why(moved: Array, away: Array, j: int) -> str:
    """Whether the group that moved most lay far out, lost a large share of that, or both: its places among all.

    Parameters
    ----------
    moved : array, shape (J,)
        What pooling takes from each group's own value, with its sign.
    away : array, shape (J,)
        Of each own value from the population's.
    j : int
        The group that moved most.
    """
    out = np.abs(away)
    if not np.isfinite(out).all() or out[j] == 0 or len(out) < TERMS:
        return ""
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = moved / away
    taken = lost[np.isfinite(lost)]
    share, middle = percent(abs(float(lost[j]))), percent(float(np.median(taken)))
    if lost[j] < 0:
        ends = f"pooling moves it farther out, by {share} of that; the median share taken away is {middle}"
    elif np.ptp(taken) <= SAME * lost[j]:
        ends = f"pooling takes away the same share, {share}, of every group's"
    else:
        ends = f"pooling takes away {share} of that, where the median over groups is {middle}"
    place = _place(int(np.sum(out > out[j] * (1 + SAME))) + 1)
    return (
        f" It lies {significant(float(out[j]))} from the population value, {place} largest such distance of "
        f"{count(len(out), 'group')}, and {ends}."
    )


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


def _disagree(comparison: Comparison) -> str:
    """Where estimators that pool partially differ by more than their standard error."""
    hub = partial(comparison)
    if hub is None:
        return ""
    far, most, pairs = [], (0.0, "", ""), 0
    terms = varying(comparison)
    for other in comparison.fits:
        if other in (hub, *UNPOOLED):
            continue
        compared = 0
        for v in terms:
            error = comparison.fits[hub].group_effects[v.block].coefficient.std_error[:, v.column]
            gap = apart(comparison, hub, other, v)
            known = np.isfinite(gap) & (error > 0)
            if not known.any():
                continue
            compared += 1
            ratio = np.where(known, gap / np.where(known, error, 1.0), 0.0)
            worst = int(np.argmax(ratio))
            what = f"{_level(v, worst)}{f', {v.term}' if len(terms) > 1 else ''}"
            most = max(most, (float(ratio[worst]), title_of(other), what))
            if beyond := int(np.sum(ratio > 1)):
                label = f" for {named(v, terms)}" if len(terms) > 1 else ""
                far.append(
                    f"{title_of(other)} in {beyond:,} of {count(int(known.sum()), 'group')}{label} "
                    f"(most at {_level(v, worst)}: {significant(float(ratio[worst]), 3)} standard errors)"
                )
        pairs += compared > 0
    if not pairs:
        return ""
    whose = f"{called(hub)}'s standard error ({comparison.fits[hub].group_effects[0].coefficient.std_error_kind})"
    if far:
        return f"Estimators that differ from {called(hub)} by more than {whose}: {join(far)}."
    if most[0] < SAME:
        return ""
    return (
        f"No estimator that pools partially differs from {called(hub)} by as much as {whose} in any group: the most is "
        f"{significant(most[0], 3)} of it ({most[1]}, {most[2]})."
    )


def _kept(comparison: Comparison) -> list[str]:
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
            said.append(
                f"{_among(known, np.isfinite(alone))}{title_of(name)} keeps {_shares(share[known], v.sizes[known])} "
                f"own deviation{label}." + _beyond(share[known]) + (f" {left_out}" if left_out else "")
            )
    return said


def _among(known: NDArray[np.bool_], alone: NDArray[np.bool_]) -> str:
    """Of which groups a sentence speaks, where it cannot speak of all; `known` are those it speaks of."""
    if known.all():
        return ""
    what = "an estimate" if (known == alone).all() else "a deviation"
    return f"among the {count(int(known.sum()), 'group')} with {what} of their own, "


def _shares(share: Array, sizes: NDArray[np.intp]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return f"{_typical(share)} of a group's"
    small, large = share[sizes == low], share[sizes == high]
    return (
        f"{_typical(small)} of the smallest groups' (n = {low:,}; {count(len(small), 'group')}) and "
        f"{_typical(large)} of the largest groups' (n = {high:,}; {count(len(large), 'group')})"
    )


def _typical(share: Array) -> str:
    if np.ptp(share) <= 1e-4 * max(1e-3, float(np.abs(share).max())):
        return percent(float(share[0]))
    middle, low, high = (percent(float(value)) for value in (np.median(share), share.min(), share.max()))
    return f"{middle} (median; {low} to {high})"


def _beyond(share: Array) -> str:
    outside = int(np.sum((share < -1e-9) | (share > 1 + 1e-9)))
    if not outside:
        return ""
    what = f" In {count(outside, 'group')} the share lies outside 0 to 100 %: "
    return what + "what else is estimated with the term moves it too."


def _spread(comparison: Comparison) -> str:
    name = partial(comparison)
    if name is None or not comparison.fits[name].components:
        return ""
    fit, terms = comparison.fits[name], varying(comparison)
    parts = []
    for v in terms[:TERMS]:
        value = sd_between(fit, v)
        label = f" for {named(v, terms)}" if len(terms) > 1 else ""
        parts.append(f"{significant(value) if value > 0 else 'zero'}{label}")
    puts = "the fixed prior holds" if name == "fixed_prior" else f"{title_of(name)} puts"
    sentence = f"{puts} the SD between groups at {join(parts)}"
    if comparison.design.family != "gaussian":
        return f"{sentence}, on the scale of the {comparison.design.link} link."
    if comparison.design.known_se:
        return sentence + "; the residual SDs are known."
    if "nu" in fit.priors:
        return f"{sentence} and the scale of Student-t residuals at {significant(fit.sigma)}."
    sentence += f" and the residual SD at {significant(fit.sigma)}"
    if len(terms) == 1 and terms[0].plain and np.ptp(comparison.design.weights) == 0:
        between = sd_between(fit, terms[0]) ** 2
        sentence += f": {percent(between / (between + fit.sigma**2))} of the variance lies between groups"
    return sentence + "."


def _full_bayes(comparison: Comparison) -> str:
    """What integrating adds to maximising, or to plugging in: lengths of intervals, and how far the points move."""
    fits = comparison.fits
    whole = next((name for name in ("hierarchical", "exact") if name in fits), None)
    hub = next((name for name in ("reml", "laplace", "fixed_prior") if name in fits), None)
    if whole is None or hub is None:
        return ""
    other = called(hub)
    parts = []
    terms = varying(comparison)
    for v in terms[:TERMS]:
        full, mixed = (fits[name].group_effects[v.block].coefficient for name in (whole, hub))
        width = (full.conf_high - full.conf_low)[:, v.column]
        base = (mixed.conf_high - mixed.conf_low)[:, v.column]
        known = np.isfinite(width) & np.isfinite(base) & (base > 0)
        gap = apart(comparison, whole, hub, v)
        if not np.isfinite(gap).any():
            continue
        worst = int(np.nanargmax(gap))
        where = f" ({_level(v, worst)})" if gap[worst] > 0 else ""
        label = f"For {named(v, terms)}, full" if len(terms) > 1 else "Full"
        moved = f"points lie at most {significant(gap[worst])} from {other}'s{where}"
        if not known.any():
            parts.append(f"{label} Bayes's {moved}.")
            continue
        ratio = width[known] / base[known]
        parts.append(
            f"{label} Bayes's intervals ({full.interval}) are wider than {other}'s ({mixed.interval}, "
            f"{mixed.std_error_kind}) in {int(np.sum(ratio > 1)):,} of {count(len(ratio), 'group')}: they are "
            f"{_times(ratio)} as long. Its {moved}."
        )
    return " ".join(parts)


def _times(ratio: Array) -> str:
    """A set of ratios: one figure where they are all the same to three digits."""
    low, middle, high = (significant(float(r), 3) for r in (ratio.min(), np.median(ratio), ratio.max()))
    return f"{middle} times" if low == high else f"{low} to {high} times (median {middle})"


def _against_truth(comparison: Comparison) -> str:
    """Root mean squared error of every estimator, best first, where the truth is known."""
    terms = varying(comparison)
    for v in terms:
        known = truth(comparison, v)
        if known is None:
            continue
        every = {name: coefficients(fit, v) - known for name, fit in comparison.fits.items()}
        gaps = {name: gap for name, gap in every.items() if np.isfinite(gap).any()}
        of_all = np.isfinite(list(gaps.values())).all(axis=0) if gaps else np.zeros(0, bool)
        if of_all.any():
            errors = {name: float(np.sqrt(np.mean(gap[of_all] ** 2))) for name, gap in gaps.items()}
            listed = join(
                f"{title_of(name)} {significant(errors[name])}" for name in sorted(errors, key=errors.__getitem__)
            )
            what = named(v, terms) or v.term
            fewer = not np.array_equal(of_all, np.isfinite(known))
            over = f" (the {count(int(of_all.sum()), 'group')} that all of these estimate)" if fewer else ""
            return f"Root mean squared error against the true values of {what}{over}, smallest first: {listed}."
    return ""

"""The sentences of the picture of ranks, each computed from the ranks that are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.ordering import farthest
from workbench.plots.varying import Varying, figure4
from workbench.words import count, join, middle_cut

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]


def places(v: Varying, ends: int, title: str) -> str:
    """Which groups have lines, and what lies between."""
    if not ends:
        return "One line per group."
    return (
        f"Of {len(v.levels):,} groups the {ends} highest and the {ends} lowest by {title} are drawn; places of others "
        "stay empty, and lines to ranks in between end in the grey band, which is not to scale and where crowds of "
        "them have no names."
    )


def crossing(v: Varying, every: Array, drawn: Array, least: int, first: str) -> str:
    """How many groups change their rank, and which moves farthest."""
    size = np.abs(every)
    known = np.isfinite(size)
    if not known.any():
        return ""
    if not (size[known] >= 1).any():
        return "All estimators rank these groups alike." if known.all() else "Where all have a rank, it is the same."
    out = int((np.abs(drawn[np.isfinite(drawn)]) >= least).sum()) if least else 0
    places = "1 place" if least == 1 else f"{least:,} places"
    marked = f" Those that some estimator moves {places} or more are coloured ({out:,})." if out else ""
    among = "" if known.all() else " among those that all estimators rank"
    return (
        f"Against {first}, some other estimator moves {int((size[known] >= 1).sum()):,} of "
        f"{count(int(known.sum()), 'group')} to another rank{among}.{marked} {farthest(v, every)}"
    )


def gaps(every: Array, titles: tuple[str, ...]) -> str:
    """Which estimators do not rank every group, and what their empty places mean."""
    missing = (~np.isfinite(every)).sum(axis=0)
    if not missing.any() or missing.all():
        return ""
    lacking = join(f"{title} ({many:,} of {len(every):,})" for title, many in zip(titles, missing, strict=True) if many)
    return f"Left empty are the places of groups that are not ranked by {lacking}, so that a level line is no change."


def ties(rank: Array, title: str) -> str:
    """How many groups share a rank."""
    known = rank[np.isfinite(rank)]
    places, many = np.unique(known, return_counts=True)
    if many.max(initial=1) < 2:
        return ""
    return (
        f"Groups that tie share their mean rank: by {title} {int(many[many > 1].sum()):,} of {len(known):,} do, at "
        f"most {int(many.max()):,} of them at rank {places[many.argmax()]:g}."
    )


def truly(rank: Array, true: Array | None, ends: int, title: str) -> str:
    """How many of the highest are truly among the highest, where groups are too many to draw the truth."""
    if not ends or true is None:
        return ""
    hits = int(((rank <= ends) & (true <= ends)).sum())
    return f"Of the {ends} highest by {title}, {hits} {'is' if hits == 1 else 'are'} truly among the {ends} highest."


def sure(comparison: Comparison, name: str | None, groups: int, most: int) -> str:
    """Where expected ranks and probabilities come from; there are none of more than `most` groups."""
    if name is None:
        return f"Of more than {most:,} groups no probabilities of ranks are drawn." if groups > most else ""
    fit = comparison.fits[name]
    return f"Right: expected rank and probability of being the highest, {_from(fit)}."


def _from(fit: Fit) -> str:
    """What probabilities of ranks come from, in words."""
    from workbench.ranking import DRAWS

    title = style.title_of(fit.estimator)
    if fit.sampled is not None or fit.posterior is not None:
        return f"from draws of {title}"
    kind = fit.group_effects[0].effect.std_error_kind
    return f"from {DRAWS:,} normal draws about the effects of {title} (error: {kind})"


def left_out(names: list[str]) -> str:
    """The estimators that rank nobody."""
    if not names:
        return ""
    return f"Without ranks, the same for every group: {join(style.title_of(name) for name in names)}."


def described(
    v: Varying,
    titles: tuple[str, ...],
    every: Array,
    moved: Array,
    expected: Array,
    highest: Array,
    scored_by: str | None,
) -> str:
    """The picture without looking at it."""
    tops = "; ".join(
        f"{title} {middle_cut(v.levels[int(np.nanargmin(rank))])}" for title, rank in zip(titles, every.T, strict=True)
    )
    known = moved[np.isfinite(moved)]
    said = f"Ranks of {count(len(v.levels), 'group')} of {v.group} by {join(titles)}. Highest: {tops}. "
    said += f"{int((np.abs(known) >= 1).sum()):,} change their rank between estimators."
    if scored_by is None:
        return said
    top = np.argsort(-np.nan_to_num(highest, nan=-1.0), kind="stable")[:3]
    sure = "; ".join(
        f"{middle_cut(v.levels[j])} {figure4(highest[j])} (expected rank {figure4(expected[j])})" for j in top.tolist()
    )
    return f"{said} Most probably the highest, by {style.title_of(scored_by)}: {sure}."

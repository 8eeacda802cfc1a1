"""The sentences of the picture of intervals, each computed from the rows that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.ordering import Thinned, alike
from workbench.plots.varying import Varying, figure4
from workbench.words import count, join, middle_cut

if TYPE_CHECKING:
    from workbench.plots.caterpillar import Series

Array = NDArray[np.float64]


def marks(series: Sequence[Series]) -> str:
    """Which estimator is which in a row."""
    inside = [s.title for s in series if not s.line]
    said = f"In each row from the top: {join(inside)}." if len(inside) > 1 else f"In each row: {inside[0]}."
    band = [f"The grey line{' and its band' if s.kind else ''}: {s.title}." for s in series if s.line]
    return " ".join([said, *band])


def kinds(series: Sequence[Series]) -> str:
    """Which estimators have which intervals; those without are named."""
    kinds: dict[str, list[str]] = {}
    for s in series:
        kinds.setdefault(s.kind, []).append(s.title)
    bare = kinds.pop("", [])
    said = f"Intervals: {'; '.join(f'{join(names)} {kind}' for kind, names in kinds.items())}." if kinds else ""
    points = f"Points alone, without an interval: {join(bare)}." if bare else ""
    return " ".join(filter(None, (said, points)))


def order(sorter: str, values: Array, whole: bool) -> str:
    """What the groups are sorted by; `whole` says that all of them are drawn."""
    title = style.title_of(sorter)
    if alike(values):
        return f"The groups stand in the data's order: {title} estimates them all alike."
    last = ", those without one at the bottom" if whole and np.isnan(values).any() else ""
    return f"The groups are sorted by their {title} estimates{last}; dashed: its population value."


def left_out(v: Varying, shown: Thinned, values: Array) -> str:
    """How many of how many groups are drawn."""
    if len(shown.index) == len(v.levels):
        return ""
    parts = " and ".join(
        (", ".join(f"the {p.words}" for p in shown.stretches[:-1]), f"the {shown.stretches[-1].words}")
    )
    missing = int(np.isnan(values).sum())
    if len(shown.stretches) == 1:
        return f"{count(missing, 'group')} without an estimate {'is' if missing == 1 else 'are'} not drawn."
    none = f"; {missing:,} without an estimate are among those that are not" if missing else ""
    return f"Of {len(v.levels):,} groups {len(shown.index)} are drawn: {parts}, evenly spaced in that order{none}."


def silent(names: Sequence[str], v: Varying) -> str:
    """The estimators that have no such coefficients."""
    if not names:
        return ""
    titles = join(style.title_of(name) for name in names)
    return f"{titles} {'has' if len(names) == 1 else 'have'} no coefficients of {v.term}."


def described(v: Varying, sorter: str, series: Sequence[Series], at: NDArray[np.intp], shown: Thinned) -> str:
    """Lowest and highest of the sorting estimator, and how wide each one's intervals are."""
    first = next(s for s in series if s.estimator == sorter)
    known = np.flatnonzero(np.isfinite(first.estimate))
    ends = []
    for k in (known[0], known[-1]):
        span = f", {first.kind} from {figure4(first.low[k])} to {figure4(first.high[k])}" if first.kind else ""
        ends.append(f"{middle_cut(v.levels[at[k]])} at {figure4(first.estimate[k])}{span}")
    widths = "; ".join(f"{s.title} {figure4(np.nanmean(s.high - s.low))}" for s in series if s.kind)
    return (
        f"{v.quantity} by {v.group}, {len(shown.index)} of {count(len(v.levels), 'group')} drawn, "
        f"by {first.title} from {ends[0]}, up to {ends[1]}."
        + (f" Mean widths of the intervals drawn: {widths}." if widths else "")
    )

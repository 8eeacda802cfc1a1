"""From no pooling through every estimator to complete pooling: one line per group.

Between the two ends the estimators stand in the order of how strongly they pool, the widest spread of group
coefficients first. Lines that change their rank on the way stand out. Of very many groups bands hold the shares of
groups, and a few lines run through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.plots import style
from workbench.plots.names import spread
from workbench.plots.ordering import alike, estimated, farthest, lead, moves
from workbench.plots.varying import (
    LABELLED,
    MIDDLE,
    Varying,
    coefficients,
    figure4,
    outside,
    printable,
    told_apart,
    varying,
    without_own,
)
from workbench.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

NAMED = 20
"""Up to so many groups are all named."""
SOME, FEW = 12, 8
"""Of more, so many are, half of them those that move farthest, half those whose rank does; few beside bands."""
LINES = 150
"""Up to so many groups are all drawn as lines."""
THROUGH = 24
"""Of more, so many lines run through the bands."""
SHARES = (0.0, 0.05, 0.25, 0.75, 0.95, 1.0)
"""Where the bands end."""
STAND_OUT = 1 / 3
"""At most this share of the groups stands out."""
LETTER = 0.092
"""Inches of a letter of a name."""
UP, DOWN = style.OWN, "#D55E00"
BANDS = ("#eceef1", "#d5dae1", "#b3bcc9")


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    estimators, titles : tuple of str, k of them
        From left to right.
    spreads : array, shape (k,)
        The SD of the group coefficients, over the groups that all of them have.
    levels, labels : tuple of str, m of them
        Groups drawn as lines, and the names of all of them.
    values : array, shape (m, k)
        Their coefficients; NaN where there is none.
    moved : array, shape (m,)
        Places that a group goes up (positive) or down from no pooling to `pooled`; NaN where either has no value.
    least : int
        So many places make a line stand out; 0 where no group changes rank.
    pooled : str
        The estimator that ranks are compared with.
    named : tuple of int
        Those of the m whose names are written.
    bands : array, shape (6, k), or None
        Quantiles of all groups' coefficients at `SHARES`.
    y_limits : tuple of two floats
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    estimators: tuple[str, ...]
    titles: tuple[str, ...]
    spreads: Array
    levels: tuple[str, ...]
    labels: tuple[str, ...]
    values: Array
    moved: Array
    least: int
    pooled: str
    named: tuple[int, ...]
    bands: Array | None
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether each group has been estimated by itself, and otherwise, of every term."""
    if comparison.alone is None:
        return False
    return all(set(estimated(comparison, v)) - {"no_pooling"} for v in varying(comparison))


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        The design has no fit without pooling, as with several grouping factors, or nothing beside it.
    """
    if not applies(comparison):
        raise OptionError(
            "A slope graph leads from no pooling to other estimators, and here is "
            + ("no fit without pooling." if comparison.alone is None else "no other. Compare with reml, say.")
        )
    names, values, spreads = _columns(comparison, v)
    J = len(v.levels)
    pooled = lead(comparison, v)
    moved = moves(values[:, [0, names.index(pooled)]])[:, 1]
    drawn, bands = _drawn(values, moved, names.index(pooled))
    least = _least(moved)
    named = _named(values[drawn], moved[drawn], SOME if bands is None else FEW)
    limits, beyond = _limits(values)
    titles = tuple(style.title_of(name) for name in names)
    words = (
        _what(J, len(drawn), len(named)), _changes(v, moved, least, pooled), without_own(v, values[:, 0]),
        outside(v, beyond) and outside(v, beyond).replace(" drawn here", ""),
    )  # fmt: skip
    part = f" ({len(drawn)} of {J:,} groups as lines)" if len(drawn) < J else ""
    return View(
        title=f"From no pooling to {titles[-1]}: {printable(v.quantity, 60)}{part}",
        caption=" ".join(filter(None, words)),
        alt=_alt(v, titles, spreads, values, moved, pooled),
        x_label="estimators by how far apart their group coefficients lie (SD below each name)",
        y_label=v.quantity,
        warnings=(),
        estimators=tuple(names),
        titles=titles,
        spreads=spreads,
        levels=tuple(v.levels[j] for j in drawn),
        labels=told_apart((v.levels[j] for j in drawn), 18),
        values=values[drawn],
        moved=moved[drawn],
        least=least,
        pooled=pooled,
        named=named,
        bands=bands,
        y_limits=limits,
    )


def _columns(comparison: Comparison, v: Varying) -> tuple[list[str], Array, Array]:
    """The estimators from left to right, their coefficients, shape (J, k), and the SDs of these."""
    assert comparison.alone is not None
    every = {"no_pooling": coefficients(comparison.alone, v)} | estimated(comparison, v)
    matrix = np.column_stack(list(every.values()))
    common = np.isfinite(matrix).all(axis=1)
    known = matrix[common] if common.sum() > 1 else matrix
    sd = np.array([0.0 if alike(column) else np.nanstd(column, ddof=1) for column in known.T])
    ends = {"no_pooling": -1, "complete_pooling": 1}
    place = np.array([ends.get(name, 0) for name in every])
    rounded = np.round(sd / (1e-9 * max(float(sd.max()), np.finfo(float).tiny)))
    order = np.lexsort((np.arange(len(sd)), -rounded, place))
    names = list(every)
    return [names[k] for k in order], matrix[:, order], sd[order]


def _drawn(values: Array, moved: Array, pooled: int) -> tuple[NDArray[np.intp], Array | None]:
    """Which groups are lines, and the bands of all where these are too many."""
    J = len(values)
    if J <= LINES:
        return np.arange(J), None
    order = np.argsort(values[:, 0], kind="stable")
    order = order[: int(np.isfinite(values[:, 0]).sum())]
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(THROUGH, len(order))).round().astype(np.intp))]
    return chosen, np.nanquantile(values, SHARES, axis=0)


def _least(moved: Array) -> int:
    """So many places that at most a third of the groups move so far; 0 where none moves."""
    size = np.abs(moved[np.isfinite(moved)])
    if not len(size) or size.max() < 1:
        return 0
    most = max(2, int(STAND_OUT * len(size)))
    steps: list[int] = sorted({3, *(k * 10**d for k in (1, 2, 5) for d in range(7)), int(size.max())})
    steps = [step for step in steps if step <= size.max()]
    return next((step for step in steps if (size >= step).sum() <= most), steps[-1])


def _named(values: Array, moved: Array, most: int) -> tuple[int, ...]:
    """All groups; or those whose coefficients move farthest, complete pooling left out, and those whose ranks do."""
    if len(values) <= NAMED:
        return tuple(range(len(values)))
    inner = values[:, :-1] if values.shape[1] > 2 else values
    way = np.nan_to_num(np.abs(inner - inner[:, :1]).max(axis=1), nan=-1.0)
    places = np.nan_to_num(np.abs(moved), nan=-1.0)
    chosen = np.argsort(-places, kind="stable")[: most // 2].tolist() if places.max() >= 1 else []
    far = [j for j in np.argsort(-way, kind="stable").tolist() if j not in chosen]
    return tuple(sorted([*chosen, *far[: most - len(chosen)]]))


def _limits(values: Array) -> tuple[tuple[float, float], Array]:
    """The y axis, which a few of many groups must not stretch, and what is outside."""
    whole, own = style.limits(values), values[np.isfinite(values[:, 0]), 0]
    if len(values) > LABELLED and len(own):
        close = style.limits(np.quantile(own, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2]), values[:, 1:])
        if close[1] - close[0] < (whole[1] - whole[0]) / 3:
            return close, own[(own < close[0]) | (own > close[1])]
    return whole, own[:0]


# --- words --------------------------------------------------------------------------------------------


def _what(J: int, drawn: int, named: int) -> str:
    if drawn < J:
        return (
            f"Bands: where all {J:,} groups lie, the middle half, the middle 90 % and the rest. {drawn} lines run "
            f"through them, evenly spaced in the order of no pooling; {named} of those that move far, or far in "
            "rank, are named."
        )
    if named < J:
        return f"One line per group; {named} of those that move far, or far in rank, are named."
    return "One line per group."


def _changes(v: Varying, moved: Array, least: int, pooled: str) -> str:
    """How many change their rank, and who moves farthest."""
    if pooled == "no_pooling":
        return ""
    title = style.title_of(pooled)
    size = np.abs(moved)
    known = np.isfinite(size)
    if not known.any():
        return ""
    if least == 0:
        return f"From no pooling to {title} no group changes its rank."
    changed = int((size[known] >= 1).sum())
    out = int((size[known] >= least).sum())
    places = "1 place" if least == 1 else f"{least:,} places"
    return (
        f"From no pooling to {title} {changed:,} of {count(int(known.sum()), 'group')} change their rank; those "
        f"that move {places} or more ({out:,}) are solid blue on their way up and dashed orange on their way down. "
        f"{farthest(v, moved)}"
    )


def _alt(v: Varying, titles: tuple[str, ...], spreads: Array, values: Array, moved: Array, pooled: str) -> str:
    said = "; ".join(
        f"{title} {figure4(sd)} ({figure4(np.nanmin(column))} to {figure4(np.nanmax(column))})"
        for title, sd, column in zip(titles, spreads, values.T, strict=True)
    )
    changed = int((np.abs(moved[np.isfinite(moved)]) >= 1).sum())
    return (
        f"{v.quantity} of {count(len(values), 'group')} of {v.group}, a line each. SD of the group coefficients and "
        f"their range: {said}. {changed:,} change their rank from no pooling to {style.title_of(pooled)}."
    )


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own."""
    ax = ax or style.new_axes(9.0, 6.0)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    ax.spines["left"].set_visible(True)
    k = len(seen.titles)
    x = np.arange(float(k))
    collapsed = seen.estimators[-1] == "complete_pooling" or alike(seen.values[:, -1])
    ax.set_ylim(*seen.y_limits)
    ax.set_xlim(*_reach(ax, seen, k - 1, collapsed))
    wide = 11 if k <= 6 else 9
    labels = [
        f"{fill(title, wide)}\nSD {figure4(sd)}" for title, sd in zip(seen.titles, seen.spreads.tolist(), strict=True)
    ]
    ax.set_xticks(x, labels=labels, parse_math=False)
    for at in x:
        ax.axvline(at, color=style.RULE, linewidth=0.8, zorder=0.8)
    if seen.bands is not None:
        for (low, high), colour in zip(((0, 5), (1, 4), (2, 3)), BANDS, strict=True):
            ax.fill_between(x, seen.bands[low], seen.bands[high], color=colour, linewidth=0, zorder=0.5)
    _lines(ax, seen, x)
    _names(ax, seen, 0, "right")
    if not collapsed:
        _names(ax, seen, k - 1, "left")
    _legend(ax, seen)
    return ax


def _reach(ax: Axes, seen: View, width: int, collapsed: bool) -> tuple[float, float]:
    """The x axis, with room for the names."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    inches = figure.get_figwidth() * (0.88 if figure.get_layout_engine() is not None else ax.get_position().width)
    longest = max((len(seen.labels[j]) for j in seen.named), default=0)
    room = min((LETTER * longest + 0.4) / inches, 0.35)
    scale = width / (1 - room - (0.05 if collapsed else room))
    return -room * scale, width + (0.05 if collapsed else room) * scale


def _lines(ax: Axes, seen: View, x: Array) -> None:
    few = len(seen.levels) <= 60
    named = set(seen.named) if len(seen.named) < len(seen.levels) else set()
    for j, (row, moved) in enumerate(zip(seen.values, seen.moved.tolist(), strict=True)):
        out = seen.least > 0 and abs(moved) >= seen.least
        colour = (UP if moved > 0 else DOWN) if out else style.INK if j in named else "#8b9097"
        ax.plot(
            x, row, color=colour, linewidth=(1.9 if few else 1.3) if out else 1.0 if few else 0.6,
            linestyle=(0, (5, 2)) if out and moved < 0 else "-", marker="o", markersize=3.6 if few else 2.2,
            markeredgewidth=0, zorder=4 if out else 3, gid=f"group {j}",
        )  # fmt: skip


def _names(ax: Axes, seen: View, column: int, side: str) -> None:
    """Names at one end, moved apart where they would overlap, each led to its line."""
    low, high = ax.get_ylim()
    inside = [j for j in seen.named if low <= seen.values[j, column] <= high]
    figure = ax.get_figure(root=True)
    assert figure is not None
    tall = 72 * figure.get_figheight() * (0.72 if figure.get_layout_engine() is not None else ax.get_position().height)
    step = 1.22 * style.SMALL / tall * (high - low)
    places = spread(seen.values[inside, column], step, low + step / 2, high - step / 2)
    reach = (ax.get_xlim()[1] - ax.get_xlim()[0]) * (-1 if side == "right" else 1)
    for j, y in zip(inside, places.tolist(), strict=True):
        if abs(y - seen.values[j, column]) > step / 4:
            ax.plot(
                [column + 0.008 * reach, column + 0.028 * reach], [seen.values[j, column], y], color=style.FAINT,
                linewidth=0.7, zorder=2,
            )  # fmt: skip
        ax.text(
            column + 0.033 * reach, y, seen.labels[j], ha=side, va="center", fontsize=style.SMALL, color=style.INK,
            parse_math=False,
        )  # fmt: skip


def _legend(ax: Axes, seen: View) -> None:
    from matplotlib.lines import Line2D

    moved = seen.moved[np.isfinite(seen.moved)]
    places = "1 place or more" if seen.least == 1 else f"{seen.least:,} places or more"
    handles = []
    if seen.least and (moved >= seen.least).any():
        handles.append(Line2D([], [], color=UP, linewidth=1.9, label=f"up {places}"))
    if seen.least and (moved <= -seen.least).any():
        handles.append(Line2D([], [], color=DOWN, linewidth=1.9, linestyle=(0, (5, 2)), label=f"down {places}"))
    if handles:
        to = f"rank by {style.title_of(seen.pooled)} and by no pooling:"
        handles.insert(0, Line2D([], [], linestyle="none", label=to))
        ax.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=style.SMALL,
            labelcolor=style.INK, borderaxespad=0.2, handletextpad=0.5, columnspacing=1.2,
        )  # fmt: skip
        ax.set_title(
            ax.get_title(loc="left"), loc="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False, pad=28,
        )  # fmt: skip

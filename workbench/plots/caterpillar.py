"""Every group's coefficient with its interval, the estimators side by side, the groups sorted by one of them.

Groups stand on the vertical axis, lowest at the bottom. Complete pooling says the same of every group: it is a line
and a band. Beyond `WHOLE` groups the lowest, the highest and some between are drawn, with a break where groups are
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.plots import caterpillar_words as words
from workbench.plots import style
from workbench.plots.folding import folded
from workbench.plots.ordering import Stretch, alike, estimated, lead, thin
from workbench.plots.varying import Varying, column, figure4, population, printable, told_apart, truth, varying
from workbench.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.estimates import Estimates

Array = NDArray[np.float64]

WHOLE = 60
"""Up to so many groups are all drawn; of more, a third of so many at each end, and a third of those between."""
BREAK = 1.4
"""Rows that a break takes up."""
SPREAD = 0.76
"""This share of a row is what its estimators are spread over."""
ROW = (0.24, 0.075)
"""Inches of a row: at least so many, and so many for each estimator."""
TALLEST = 15.0
STRETCHED = 3.0
"""Intervals without pooling that would stretch the axis more than so many times are cut off at the frame."""
LEGEND_LETTER = 0.08
"""Inches of a letter of the legend."""
TEXT_HEIGHT = 0.2
"""Inches of a line of the legend."""


@dataclass(frozen=True, eq=False)
class Series:
    """One estimator's coefficients, row by row.

    Attributes
    ----------
    estimator, title : str
    offset : float
        Where it stands in each row, up from its middle; NaN of the line that complete pooling is.
    estimate, low, high : array, shape (m,)
        NaN where a group has no estimate, or no interval.
    kind : str
        What its intervals are; empty where there is none.
    """

    estimator: str
    title: str
    offset: float
    estimate: Array
    low: Array
    high: Array
    kind: str

    @property
    def line(self) -> bool:
        """Whether it is one line across all rows."""
        return bool(np.isnan(self.offset))


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data, from the bottom row up.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    levels, labels : tuple of str, m of them
    positions : array, shape (m,)
        Of the rows, on the vertical axis.
    stretches : tuple of Stretch
        Rows without a break between them.
    sorted_by : str
        The estimator whose coefficients order the rows.
    series : tuple of Series
    population : float
        That of `sorted_by`.
    truth : array, shape (m,), or None
    x_limits : tuple of two floats
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    levels: tuple[str, ...]
    labels: tuple[str, ...]
    positions: Array
    stretches: tuple[Stretch, ...]
    sorted_by: str
    series: tuple[Series, ...]
    population: float
    truth: Array | None
    x_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether some fit has group coefficients, of every term."""
    return all(estimated(comparison, v) for v in varying(comparison))


def view(comparison: Comparison, v: Varying, by: str | None = None) -> View:
    """Lay out the picture of one varying term, its groups in the order of an estimator's coefficients.

    Raises
    ------
    OptionError
        No fit of the name `by`, or none with coefficients of the term.
    """
    sorter = lead(comparison, v, by)
    values = estimated(comparison, v)
    shown = thin(values[sorter], WHOLE // 3, WHOLE // 3)
    at = shown.index
    series = _series(comparison, v, tuple(values), at)
    known = truth(comparison, v)
    true = None if known is None else known[at]
    centre = population(comparison.fits[sorter], v)
    limits, cut = _limits(series, np.array([centre]), true)
    part = "" if len(at) == len(v.levels) else f" ({len(at):,} of {len(v.levels):,} levels)"
    several = f", by {printable(v.group, 40)}" if len(comparison.design.groups) > 1 else ""
    order = words.order(sorter, values[sorter], whole=len(v.levels) <= WHOLE)
    empty = [name for name in comparison.fits if name not in values]
    marked = "Red ticks: the truth." if true is not None and np.isfinite(true).any() else ""
    caption = (
        words.marks(series), words.kinds(series), marked, order, words.left_out(v, shown, values[sorter]), cut,
        words.silent(empty, v),
    )  # fmt: skip
    return View(
        title=f"Every group with its interval: {printable(v.quantity, 60)}{several}",
        caption=" ".join(filter(None, caption)),
        alt=words.described(v, sorter, series, at, shown),
        x_label=v.quantity,
        y_label=f"{printable(v.group)}{part}",
        warnings=(),
        levels=tuple(v.levels[j] for j in at),
        labels=_labels(v, at),
        positions=_positions(shown.stretches),
        stretches=shown.stretches,
        sorted_by=sorter,
        series=series,
        population=centre,
        truth=true,
        x_limits=limits,
    )


def _labels(v: Varying, at: NDArray[np.intp]) -> tuple[str, ...]:
    """The levels' names, with their sizes where these differ."""
    names = told_apart(v.levels[j] for j in at)
    if len(set(v.sizes[at].tolist())) == 1:
        return names
    return tuple(f"{name} (n={v.sizes[j]:,})" for name, j in zip(names, at, strict=True))


def _positions(stretches: Sequence[Stretch]) -> Array:
    """Rows a step apart, and farther where there is a break."""
    steps = np.ones(sum(part.count for part in stretches))
    for end in np.cumsum([part.count for part in stretches])[:-1]:
        steps[end] += BREAK
    return np.asarray(np.cumsum(steps))


def _series(comparison: Comparison, v: Varying, names: Sequence[str], at: NDArray[np.intp]) -> tuple[Series, ...]:
    """The estimators that have estimates, spread over a row from its top down in their own order."""
    parts = {name: comparison.fits[name].group_effects[v.block].coefficient for name in names}
    lines = [n for n in names if n == "complete_pooling" and alike(column(parts[n], v, "estimate"))]
    dodged = [name for name in names if name not in lines] or lines
    room = SPREAD * (len(dodged) - 1) / max(len(dodged), 1) / 2
    offsets = dict(zip(dodged, np.linspace(room, -room, len(dodged)).tolist(), strict=True))
    found = []
    for name in names:
        estimate, low, high = (column(parts[name], v, what)[at] for what in ("estimate", "conf_low", "conf_high"))
        kind = _kind(parts[name]) if (high > low).any() else ""
        found.append(Series(name, style.title_of(name), offsets.get(name, np.nan), estimate, low, high, kind))
    return tuple(found)


def _kind(part: Estimates) -> str:
    """What an interval is, in the words of those who computed it."""
    if part.median is not None:
        return f"posterior interval, {part.interval}"
    return f"{part.interval}, {part.std_error_kind}"


def _limits(series: Sequence[Series], *kept: Array | None) -> tuple[tuple[float, float], str]:
    """The x axis, which holds all unless intervals without pooling would stretch it; and what is cut, in words."""
    loose = [s for s in series if s.estimator == "no_pooling"]
    firm: list[Array | None] = [values for s in series if s not in loose for values in (s.estimate, s.low, s.high)]
    every = [*firm, *(values for s in loose for values in (s.estimate, s.low, s.high)), *kept]
    whole = style.limits(*every, room=0.03)
    firm += [_most(s.estimate) for s in loose] if any(not s.line for s in series if s not in loose) else every
    close = style.limits(*firm, *kept, room=0.06)
    if whole[1] - whole[0] <= STRETCHED * (close[1] - close[0]):
        return whole, ""
    ends = sum(int(((s.low < close[0]) | (s.high > close[1])).sum()) for s in loose)
    points = sum(int(((s.estimate < close[0]) | (s.estimate > close[1])).sum()) for s in loose)
    values = np.concatenate([np.r_[s.low, s.high, s.estimate] for s in loose])
    said = f"{count(ends, 'interval')} of no pooling {'runs' if ends == 1 else 'run'} beyond the frame (arrowheads)"
    more = f", {count(points, 'estimate')} of it {'lies' if points == 1 else 'lie'} outside" if points else ""
    return close, f"{said}{more}: as far as {figure4(np.nanmin(values))} and {figure4(np.nanmax(values))}."


def _most(values: Array) -> Array:
    """The middle nine tenths."""
    there = values[np.isfinite(values)]
    return np.quantile(there, [0.05, 0.95]) if len(there) else there


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own whose height grows with the rows."""
    top = float(seen.positions[-1])
    dodged = [s for s in seen.series if not s.line] or list(seen.series)
    handles = _handles(seen)
    beside = 0.7 + 0.085 * max(len(label) for label in seen.labels)  # inches that the names take up
    wide = 9.0
    if ax is not None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        wide = figure.get_figwidth() * (1.0 if figure.get_layout_engine() is not None else ax.get_position().width)
    title = folded(seen.title, 9.0 - beside, style.TEXT + 1.5, bold=True, lines=3)
    columns = _columns([handle.get_label() for handle in handles], wide - beside)
    legend_lines = -(-len(handles) // columns)
    if ax is None:
        row = max(ROW[0], 0.1 + ROW[1] * len(dodged))
        ax = style.new_axes(9.0, min(max(1.3 + TEXT_HEIGHT * legend_lines + row * top, 3.0), TALLEST))
    style.frame(ax, "", seen.y_label, seen.x_label, beside)
    ax.set_title(
        title, loc="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK, parse_math=False,
        pad=12 + 72 * TEXT_HEIGHT * legend_lines,
    )  # fmt: skip
    ax.grid(False, axis="y")
    ax.grid(axis="x", color=style.RULE, linewidth=0.6)
    ax.set_xlim(*seen.x_limits)
    ax.set_ylim(0.4, top + 0.6)
    _rows(ax, seen)
    pitch = _points_per_row(ax, top) * SPREAD / len(dodged)
    for s in seen.series:
        _draw_series(ax, seen, s, pitch)
    if np.isfinite(seen.population):
        ax.axvline(seen.population, color=style.MUTED, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)
    if seen.truth is not None:
        ax.vlines(
            seen.truth, seen.positions - 0.42, seen.positions + 0.42, color=style.TRUTH, linewidth=2.0, zorder=3,
            label="truth",
        )  # fmt: skip
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False,
        fontsize=style.SMALL, labelcolor=style.INK, borderaxespad=0.3, handletextpad=0.5, columnspacing=1.6,
    )  # fmt: skip
    return ax


def _columns(labels: Sequence[str], inches: float) -> int:
    """How many columns of a legend, which is filled column by column, stand within a width; four at most.

    Examples
    --------
    >>> _columns(["REML"] * 8, 6.0), _columns(["REML", "population value (REML)"] * 4, 6.0)
    (4, 2)
    """
    for columns in range(min(4, len(labels)), 1, -1):
        tall, longer = divmod(len(labels), columns)
        ends = np.cumsum([tall + (k < longer) for k in range(columns)]).tolist()
        parts = [labels[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if sum(LEGEND_LETTER * max(map(len, part)) + 0.55 for part in parts) <= inches:
            return columns
    return 1


def _points_per_row(ax: Axes, top: float) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    share = ax.get_position().height if figure.get_layout_engine() is None else 0.8
    return 72 * figure.get_figheight() * share / (top + 0.2)


def _rows(ax: Axes, seen: View) -> None:
    """The rows' names, every other row shaded, and the breaks."""
    ax.set_yticks(seen.positions, labels=list(seen.labels), parse_math=False)
    ax.tick_params(axis="y", length=0)
    for y in seen.positions[::2]:
        ax.axhspan(y - 0.5, y + 0.5, color="#f1f2f4", linewidth=0, zorder=0)
    if len(seen.stretches) == 1:
        return
    start = 0
    for k, part in enumerate(seen.stretches):
        low, high = seen.positions[start], seen.positions[start + part.count - 1]
        start += part.count
        ax.text(
            1.01, (low + high) / 2, part.words, transform=ax.get_yaxis_transform(), rotation=90, va="center", ha="left",
            fontsize=style.SMALL, color=style.MUTED,
        )  # fmt: skip
        if k:
            y = low - 0.5 - BREAK / 2
            ax.axhspan(y - BREAK / 2, y + BREAK / 2, color="white", linewidth=0, zorder=2.2)
            for x in (0.0, 0.5, 1.0):
                ax.text(
                    x, y, "⋮", transform=ax.get_yaxis_transform(), ha="center", va="center", fontsize=style.TEXT + 2,
                    color=style.MUTED, zorder=6,
                )  # fmt: skip


def _draw_series(ax: Axes, seen: View, s: Series, pitch: float) -> None:
    style_of = _look(seen, s)
    if s.line:
        ax.axvline(float(s.estimate[0]), color=style_of.colour, linewidth=1.6, zorder=1.5)
        if s.kind:
            ax.axvspan(float(s.low[0]), float(s.high[0]), color=style_of.colour, alpha=0.18, linewidth=0, zorder=1)
        return
    y = seen.positions + s.offset
    low, high = np.clip(s.low, *seen.x_limits), np.clip(s.high, *seen.x_limits)
    if s.kind:
        ax.hlines(
            y, low, high, color=style_of.colour, linewidth=float(np.clip(0.24 * pitch, 0.8, 1.7)), zorder=3,
            label=f"{s.title}, interval",
        )  # fmt: skip
    area = float(np.clip(1.05 * pitch, 3.4, 6.5)) ** 2 * (1.6 if style_of.marker in "x+" else 1.0)
    width = float(np.clip(0.22 * pitch, 0.7, 1.6))
    style.points(ax, s.estimate, y, style_of, s.title, size=area / style.shrink(len(y)), linewidths=width, zorder=4)
    for outside, edge, mark in ((s.low < low, low, "<"), (s.high > high, high, ">")):
        if outside.any():
            ax.scatter(
                edge[outside], y[outside], s=area, marker=mark, c=[style_of.colour], linewidths=0, zorder=4,
                clip_on=False,
            )  # fmt: skip


def _look(seen: View, s: Series) -> style.Look:
    return style.look(s.estimator, [other.estimator for other in seen.series])


def _handles(seen: View) -> list[Any]:
    """One entry for each estimator, with its line where it has intervals."""
    from matplotlib.lines import Line2D

    found = []
    for s in seen.series:
        how = _look(seen, s)
        face = how.colour if how.filled or how.marker in "x+" else "white"
        found.append(
            Line2D(
                [], [], color=how.colour, marker="" if s.line else how.marker, markerfacecolor=face, markersize=6.5,
                linewidth=1.6, linestyle="-" if s.kind or s.line else "none", label=s.title,
            )
        )  # fmt: skip
    if np.isfinite(seen.population):
        label = f"population value ({style.title_of(seen.sorted_by)})"
        found.append(Line2D([], [], color=style.MUTED, linewidth=1.2, linestyle=(0, (5, 3)), label=label))
    if seen.truth is not None:
        tick: dict[str, Any] = {"marker": "|", "markersize": 11, "markeredgewidth": 2.0, "linestyle": "none"}
        found.append(Line2D([], [], color=style.TRUTH, label="truth", **tick))
    return found

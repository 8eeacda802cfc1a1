"""What pooling does: each group's own estimate, and an arrow to where partial pooling puts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.samples import observations
from workbench.plots.varying import (
    LABELLED,
    Varying,
    choose,
    coefficients,
    figure4,
    framed,
    outside,
    own,
    partial,
    population,
    printable,
    truth,
    varying,
    without_own,
)
from workbench.words import level_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    labels, levels : tuple of str
        As in the picture of the samples.
    positions, own, pooled : array, shape (J,)
        The group's own estimate is NaN where there is none.
    sizes : tuple of int
    estimator, estimator_title, own_label : str
    population : float
    rows_x, rows_y : array
        Observations behind it all (plain designs only).
    truth : array, shape (J,), or None
    y_limits : tuple of two floats
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    labels: tuple[str, ...]
    levels: tuple[str, ...]
    positions: Array
    sizes: tuple[int, ...]
    own: Array
    own_label: str
    pooled: Array
    estimator: str
    estimator_title: str
    population: float
    rows_x: Array
    rows_y: Array
    truth: Array | None
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether some estimator pools partially, and groups have estimates of their own to set out from."""
    return partial(comparison) is not None and own(comparison, varying(comparison)[0]) is not None


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term."""
    name = partial(comparison) or next(iter(comparison.fits))
    fit, title = comparison.fits[name], style.title_of(name)
    alone = own(comparison, v)
    pooled, centre = coefficients(fit, v), population(fit, v)
    shown = choose(v, pooled, f"{title} estimates") if alone is None else choose(v, alone, f"{v.own_label}s")
    at = shown.index
    raw = np.full(len(pooled), np.nan) if alone is None else alone
    known = truth(comparison, v)
    x, y, _ = observations(comparison.design, v, shown) if v.plain else (np.empty(0), np.empty(0), "")
    moved = np.abs(pooled - raw)
    farthest = int(np.nanargmax(moved)) if np.isfinite(moved).any() else None
    true_here = None if known is None else known[at]
    y_limits, beyond = framed(shown, raw[at], pooled[at], true_here, np.array([centre]))
    lines = "Lines" if len(v.levels) > LABELLED else "Arrows"
    start = f"Blue crosses: each group's {v.own_label}. {lines} lead to what {title} makes of it."
    caption = [
        f"Marks: each group's {title} estimate." if alone is None else start,
        f"The dashed line is the population value, {figure4(centre)}.",
        without_own(v, alone),
        "Red dots: the truth." if known is not None else "",
        shown.note,
        outside(v, beyond),
        _cut(y, y_limits),
    ]
    warnings = []
    if alone is None:
        warnings.append(f"No level of {v.group} has an estimate of its own here, so there are no arrows.")
    own_words = "" if alone is None else "own estimates and "
    alt = f"{v.quantity} by {v.group}: {own_words}{title} estimates, population value {figure4(centre)}."
    if farthest is not None:
        where = f"{level_in_words(v.group, v.levels[farthest])} (n = {int(v.sizes[farthest]):,})"
        caption.append(
            f"The longest arrow is that of {where}, from {figure4(raw[farthest])} to {figure4(pooled[farthest])}."
        )
        alt += f" The largest move is {where}, from {figure4(raw[farthest])} to {figure4(pooled[farthest])}."
    return View(
        title=f"What pooling does to it: {printable(v.quantity, 60)}",
        caption=" ".join(part for part in caption if part),
        alt=alt,
        x_label=shown.axis,
        y_label=v.quantity,
        warnings=tuple(warnings),
        labels=shown.labels,
        levels=tuple(v.levels[j] for j in at),
        positions=shown.positions,
        sizes=tuple(int(n) for n in v.sizes[at]),
        own=raw[at],
        own_label=v.own_label,
        pooled=pooled[at],
        estimator=name,
        estimator_title=title,
        population=centre,
        rows_x=x,
        rows_y=y,
        truth=true_here,
        y_limits=y_limits,
    )


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own; the frame is zoomed to the estimates."""
    ax = ax or style.new_level_axes(seen.labels)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    ax.set_ylim(*seen.y_limits)
    style.population_line(ax, seen.population, "population value")
    if len(seen.rows_x):
        many = len(seen.rows_x)
        ax.scatter(
            seen.rows_x,
            seen.rows_y,
            s=8 if many <= 3_000 else 2,
            c=[style.FAINT],
            alpha=0.55,
            linewidths=0,
            zorder=1,
            label="observation",
            rasterized=many > style.RASTER,
        )
    if seen.truth is not None:
        style.points(ax, seen.positions, seen.truth, style.Look(style.TRUTH, "o"), "truth", zorder=3)
    _arrows(ax, seen)
    if np.isfinite(seen.own).any():
        style.points(ax, seen.positions, seen.own, style.LOOKS["no_pooling"], seen.own_label)
    style.points(
        ax,
        seen.positions,
        seen.pooled,
        style.look(seen.estimator),
        f"{seen.estimator_title} estimate",
        size=75,
        zorder=5,
    )
    style.level_axis(ax, seen.positions, seen.labels, seen.sizes, seen.x_label)
    style.legend_below(ax, len(seen.positions), 5)
    return ax


def _cut(y: Array, y_limits: tuple[float, float]) -> str:
    """A sentence about the observations that the frame, zoomed to the estimates, leaves out; empty where none."""
    out = int(np.sum((y < y_limits[0]) | (y > y_limits[1])))
    return f"Grey: observations; {out:,} of {len(y):,} lie outside the frame." if out else ""


def _arrows(ax: Axes, seen: View) -> None:
    """Thin arrows from own to pooled; plain lines where there are many."""
    colour = style.look(seen.estimator).colour
    if len(seen.positions) > LABELLED:
        from matplotlib.collections import LineCollection

        pairs = np.stack(
            [np.column_stack([seen.positions, seen.own]), np.column_stack([seen.positions, seen.pooled])], 1
        )
        lines = LineCollection(list(pairs), colors=[colour], linewidths=0.4, alpha=0.6, zorder=2)
        lines.set_rasterized(len(pairs) > style.RASTER)
        ax.add_collection(lines, autolim=False)
        return
    low, high = ax.get_ylim()
    for x, start, end in zip(seen.positions, seen.own, seen.pooled, strict=True):
        if abs(end - start) > 0.045 * (high - low):  # a shorter arrow would hide under its own marks
            arrow = {
                "arrowstyle": "-|>",
                "color": colour,
                "linewidth": 0.9,
                "mutation_scale": 9,
                "shrinkA": 3,
                "shrinkB": 4,
            }
            ax.annotate("", xy=(x, end), xytext=(x, start), arrowprops=arrow, zorder=3)

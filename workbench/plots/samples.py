"""The raw data: every observation by group, each group's sample mean, and the true mean where it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import (
    Shown,
    Varying,
    choose,
    figure4,
    printable,
    sample_means,
    sizes_in_words,
    truth,
)
from workbench.words import middle_cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.design import Design

Array = NDArray[np.float64]

BARS = 200
"""Up to so many observations have a line for their known standard error."""
ROWS = 20_000
"""Up to so many observations are drawn."""
VALUES = 12
"""More than `CROWD` observations of no more than so many values would hide each other, and are counted instead."""
CROWD = 3_000
SLICES = 50
"""So many slices of neighbouring levels are counted where the levels are more."""
ACROSS = 560.0
"""Points across a picture."""
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    labels : tuple of str
        Names of the levels, left to right; empty where there are too many.
    levels : tuple of str
        All levels that are drawn, left to right.
    positions, means : array, shape (J,)
    sizes : tuple of int
    rows_x, rows_y : array, shape (number of observations drawn,)
    shares : array of the same shape, or None
        Where observations are counted, `rows_x` and `rows_y` are places and values, and these the shares of the place's
        observations.
    rows_error : array of the same shape, or None
        Known standard errors, where all of few observations are drawn.
    truth : array, shape (J,), or None
    mean_label : str
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
    means: Array
    rows_x: Array
    rows_y: Array
    shares: Array | None
    rows_error: Array | None
    truth: Array | None
    mean_label: str


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture for the grouping factor of a varying term."""
    design = comparison.design
    means = sample_means(design, v.block)
    weighted = "weighted " if np.ptp(design.weights) > 0 else ""
    shown = choose(v, means, f"{weighted}sample means")
    x, y, shares, (grey, thinned) = _grey(design, v, shown)
    known = truth(comparison, v) if v.plain else None
    at = shown.index
    true_words = " Red dots are the true means." if known is not None else ""
    errors = 1 / np.sqrt(design.weights) if design.known_se and len(y) == design.n <= BARS else None
    error_words = "" if errors is None else ", with lines of one known standard error to either side"
    caption = (
        f"{grey}, {sizes_in_words(v.sizes)}{error_words}. "
        f"Blue crosses: each group's {weighted}sample mean.{true_words} {shown.note} {thinned}"
    )
    low, high = int(np.nanargmin(means)), int(np.nanargmax(means))
    alt = (
        f"{v.response} by {v.group}, {len(v.levels):,} groups. Observations run from "
        f"{figure4(design.y.min())} to "
        f"{figure4(design.y.max())}; {weighted}sample means run from {figure4(means[low])} "
        f"({middle_cut(v.levels[low])}) to "
        f"{figure4(means[high])} ({middle_cut(v.levels[high])})."
    )
    return View(
        title=f"What was measured: {printable(v.response, 60)} by {printable(v.group, 40)}",
        caption=" ".join(caption.split()),
        alt=alt,
        x_label=shown.axis,
        y_label=v.response,
        warnings=(),
        labels=shown.labels,
        levels=tuple(v.levels[j] for j in at),
        positions=shown.positions,
        sizes=tuple(int(n) for n in v.sizes[at]),
        means=means[at],
        rows_x=x,
        rows_y=y,
        shares=shares,
        rows_error=errors,
        truth=None if known is None else known[at],
        mean_label=f"{weighted}sample mean",
    )


def _grey(design: Design, v: Varying, shown: Shown) -> tuple[Array, Array, Array | None, tuple[str, str]]:
    """What stands behind the means: x, y, shares (where observations are counted), and words for the caption's ends."""
    values = np.unique(design.y)
    if len(values) <= VALUES and design.n > CROWD:
        x, y, shares, each = counted(design, v, shown)
        what = f"{v.response}, counted: the larger, the larger a value's share of {each}"
        return x, y, shares, (f"Grey dots: values of {what}", "")
    x, y, thinned = observations(design, v, shown)
    drawn = f"{design.n:,}" if len(y) == design.n else f"{len(y):,} of {design.n:,}"
    return x, y, None, (f"Grey: {drawn} values of {v.response}", thinned)


def counted(design: Design, v: Varying, shown: Shown) -> tuple[Array, Array, Array, str]:
    """Observations of few values, by level or by slices of neighbouring levels.

    Returns
    -------
    x, y, share : array, shape (cells that are not empty,)
        The middle of a slice, a value, and the share of the slice's observations that have it.
    each : str
        What a slice is, for the caption.
    """
    levels = len(shown.index)
    slices = min(levels, SLICES)
    place = np.full(len(v.levels), -1)
    place[shown.index] = np.arange(levels) * slices // levels
    at = place[design.blocks[v.block].codes]
    values, value = np.unique(design.y, return_inverse=True)
    cells = np.bincount(at[at >= 0] * len(values) + value[at >= 0], minlength=slices * len(values))
    counts = cells.reshape(slices, len(values))
    middle = np.bincount(place[shown.index], shown.positions) / np.bincount(place[shown.index])
    i, k = np.nonzero(counts)
    each = "the level" if slices == levels else f"some {round(levels / slices):,} neighbouring levels"
    return middle[i], values[k], counts[i, k] / counts.sum(axis=1)[i], each


def observations(design: Design, v: Varying, shown: Shown) -> tuple[Array, Array, str]:
    """Observations of the levels shown: x (spread a little, always in the same way), y, and a remark."""
    codes = design.blocks[v.block].codes
    place = np.full(len(v.levels), np.nan)
    place[shown.index] = shown.positions
    rows = np.flatnonzero(np.isfinite(place[codes]))
    thinned = ""
    if len(rows) > ROWS:
        step = -(-len(rows) // ROWS)
        rows = rows[::step]
        thinned = f"Of these levels' observations, one in {step:,} is drawn."
    width = 0.2 * np.clip((v.sizes - 1) / 20, 0, 1)
    jitter = ((np.arange(design.n) * GOLDEN) % 1 - 0.5) * 2 * width[codes]
    return place[codes[rows]] + jitter[rows], design.y[rows], thinned


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own."""
    ax = ax or style.new_level_axes(seen.labels)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    many = len(seen.rows_x)
    if seen.shares is None:
        ax.scatter(
            seen.rows_x, seen.rows_y, s=11 if many <= CROWD else 4, c=[style.FAINT], linewidths=0, zorder=1,
            label="observation", rasterized=many > style.RASTER,
        )  # fmt: skip
    else:
        widest = min(ACROSS / len(np.unique(seen.rows_x)), 24.0)
        ax.scatter(
            seen.rows_x, seen.rows_y, s=widest**2 * seen.shares / seen.shares.max(), c=[style.FAINT], linewidths=0,
            zorder=1,
        )  # fmt: skip
        marker = 60 * style.shrink(len(seen.positions))  # the legend shows it in full size
        ax.scatter([], [], s=marker, c=[style.FAINT], linewidths=0, label="share of observations")
        ax.set_ylim(*style.limits(seen.rows_y, room=0.1))
    if seen.rows_error is not None:
        ax.vlines(
            seen.rows_x, seen.rows_y - seen.rows_error, seen.rows_y + seen.rows_error, colors=style.FAINT,
            linewidth=1.6, zorder=1, label="± standard error",
        )  # fmt: skip
    if seen.truth is not None:
        style.points(ax, seen.positions, seen.truth, style.Look(style.TRUTH, "o"), "true mean", size=42, zorder=3)
    style.points(ax, seen.positions, seen.means, style.LOOKS["no_pooling"], seen.mean_label, size=85)
    style.level_axis(ax, seen.positions, seen.labels, seen.sizes, seen.x_label)
    style.legend_below(ax, len(seen.positions))
    return ax

"""Ranks of true values in their posteriors: a histogram of each parameter, and its distribution function less the line.

Both lie in their grey band where the posterior is what it claims to be.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.uniformity import ecdf_test
from workbench.plots import style
from workbench.plots.varying import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.calibration import Calibration

Array = NDArray[np.float64]

PANELS = 12
"""So many parameters are drawn at the most: those with the smallest p-values."""
ACROSS = 3
BIN = 20
"""Ranks per bin, about."""
BINS = (5, 20)
OF_A_BIN = 0.95
"""Probability of the band of each bin's count, by itself."""
GOOD, BAD, BAND = style.OWN, style.TRUTH, style.RULE


@dataclass(frozen=True, eq=False)
class Panel:
    """One parameter.

    Attributes
    ----------
    title, remark : str
    uniform : bool
    edges : array, shape (bins + 1,)
    counts : array of int, shape (bins,)
    expected : tuple of float
        The count of a bin: low, mean, high.
    z, difference, low, high : array, shape (points,)
        The distribution function of the ranks less z, and its simultaneous band.
    """

    title: str
    remark: str
    uniform: bool
    edges: Array
    counts: NDArray[np.intp]
    expected: tuple[float, float, float]
    z: Array
    difference: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows, as plain data."""

    title: str
    caption: str
    alt: str
    panels: tuple[Panel, ...]


def view(found: Calibration) -> View:
    """Lay out one panel for each parameter that has ranks."""
    drawn = [k for k, u in enumerate(found.known) if len(u) > 1]
    shown = sorted(sorted(drawn, key=lambda k: float(found.p_values[k]))[:PANELS])
    panels = tuple(_panel(found, k) for k in shown)
    red = "" if all(p.uniform for p in panels) else " Red: not uniform, after Holm's adjustment."
    count = f"{len(shown)} of {len(found.names)} parameters, those with the smallest p-values. "
    return View(
        title=f"Calibration of {style.title_of(found.estimator)}: {printable(found.formula, 60)}",
        caption=(
            f"{count if len(shown) < len(found.names) else ''}Ranks of the true value in the posterior, "
            f"{found.replications:,} replications. Above: counts, with the {100 * OF_A_BIN:.0f} % band of each bin. "
            f"Below: share of ranks at most z, less z, with a band that all of a right posterior's curves keep to with "
            f"probability {100 * found.level:.4g} %. A cup, ∪: posterior too narrow; a cap, ∩: too wide; a slope: bias."
            f"{red}"
        ),
        alt=found.sentence,
        panels=panels,
    )


def _panel(found: Calibration, k: int) -> Panel:
    from scipy.stats import binom

    u = found.known[k]
    bins = int(np.clip(len(u) // BIN, *BINS))
    edges = np.linspace(0, 1, bins + 1)
    tail = (1 - OF_A_BIN) / 2
    low, high = (float(binom.ppf(p, len(u), 1 / bins)) for p in (tail, 1 - tail))
    test = ecdf_test(len(u))
    inside = test.band(found.band_level)
    z = np.concatenate([[0.0], test.points, [1.0]])
    share = np.concatenate([[0.0], test.counts(u) / len(u), [1.0]])
    floor, ceiling = (np.concatenate([[0.0], bound, [1.0]]) for bound in inside)
    uniform = bool(found.adjusted[k] > 1 - found.level)
    row = found.summary.iloc[k]
    return Panel(
        title=printable(found.names[k], 40),
        remark="" if uniform else f"posterior {row['posterior']}",
        uniform=uniform,
        edges=edges,
        counts=np.histogram(u, edges)[0],
        expected=(low, len(u) / bins, high),
        z=z,
        difference=share - z,
        low=floor - z,
        high=ceiling - z,
    )


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view; returns the Axes of each panel's histogram and curve, panel by panel.

    A given `ax` is divided among the panels and becomes the first of them; left out, they get a figure of their own.
    """
    count = max(len(seen.panels), 1)
    width = 2 if count == 4 else min(ACROSS, count)
    height = 2 * -(-count // width)
    places = style.divide(ax, height, width) if ax is not None else _new_panels(seen, height, width)
    used = []
    for k in range(height // 2 * width):
        above, below = places[2 * (k // width)][k % width], places[2 * (k // width) + 1][k % width]
        if k >= len(seen.panels):
            above.set_axis_off()
            below.set_axis_off()
            continue
        _draw_counts(above, seen.panels[k], first=k % width == 0)
        _draw_curve(below, seen.panels[k], first=k % width == 0)
        used += [above, below]
    return tuple(used) or (places[0][0],)


def _new_panels(seen: View, height: int, width: int) -> list[list[Axes]]:
    figure = style.new_figure(max(3.3 * width, 5.0), 1.75 * height + 1.0)
    figure.suptitle(
        printable(seen.title, 38 * width), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold",
        color=style.INK, parse_math=False,
    )  # fmt: skip
    figure.supxlabel(
        textwrap.fill(seen.caption, 46 * max(width, 1)), x=0.01, ha="left", fontsize=style.SMALL, color=style.MUTED,
        parse_math=False,
    )  # fmt: skip
    return [list(row) for row in figure.subplots(height, width, squeeze=False)]


def _draw_counts(ax: Axes, panel: Panel, first: bool) -> None:
    style.frame(ax, "", "count" if first else "")
    ax.grid(visible=False)
    ax.set_title(panel.title, fontsize=style.SMALL, color=style.INK, parse_math=False)
    low, mean, high = panel.expected
    ax.axhspan(low, high, color=BAND, zorder=0)
    ax.axhline(mean, color=style.MUTED, linewidth=0.8, zorder=1)
    ax.stairs(panel.counts, panel.edges, color=_colour(panel), linewidth=1.6, zorder=3)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.25 * max(high, float(panel.counts.max())))
    ax.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    if panel.remark:
        ax.text(
            0.5, 0.97, panel.remark, transform=ax.transAxes, ha="center", va="top", fontsize=style.SMALL - 1, color=BAD,
            parse_math=False,
        )  # fmt: skip


def _draw_curve(ax: Axes, panel: Panel, first: bool) -> None:
    style.frame(ax, "", "share below − z" if first else "", "rank z")
    ax.grid(visible=False)
    ax.fill_between(panel.z, panel.low, panel.high, color=BAND, linewidth=0, zorder=0)
    ax.axhline(0.0, color=style.MUTED, linewidth=0.8, zorder=1)
    ax.plot(panel.z, panel.difference, color=_colour(panel), linewidth=1.6, zorder=3)
    reach = 1.15 * float(np.abs(np.concatenate([panel.low, panel.high, panel.difference])).max())
    ax.set_ylim(-reach, reach)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])


def _colour(panel: Panel) -> str:
    return GOOD if panel.uniform else BAD

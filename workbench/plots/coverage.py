"""How often intervals hold the truth, and how wide they are: one row of panels for each group size.

Left a mark per kind of interval with two Monte Carlo errors, against the promised share; right its mean width.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import OptionError, nearest
from workbench.plots import style
from workbench.plots.varying import printable
from workbench.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.calibration import Coverage
    from workbench.calibration.coverage_result import Cell
    from workbench.calibration.intervals import Key

PANELS = 6
"""So many group sizes are drawn at the most."""
CLASSES = 3
ERRORS = 2.0
"""Monte Carlo errors on either side of a mark."""
QUANTITIES = ("coefficient", "effect")


@dataclass(frozen=True)
class Mark:
    """One kind of interval in groups of one size: how often it holds the truth, and its mean width, with their errors.

    NaN where an estimator gives no interval.
    """

    estimator: str
    label: str
    coverage: float
    coverage_error: float
    width: float
    width_error: float


@dataclass(frozen=True)
class Panel:
    """Groups of one size."""

    title: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class View:
    """What the picture shows, as plain data."""

    title: str
    caption: str
    alt: str
    level: float
    estimators: tuple[str, ...]
    panels: tuple[Panel, ...]


def view(found: Coverage, quantity: str = "coefficient") -> View:
    """Lay out one panel for each group size (of many sizes, each class of them), grouping factor and term.

    Raises
    ------
    OptionError
        A quantity other than ``coefficient`` and ``effect``, or one that no estimator here has.
    """
    if quantity not in QUANTITIES:
        raise OptionError(f"quantity is {quantity!r}. {nearest(str(quantity), QUANTITIES)}")
    keys = [key for key in found.keys if key[1] == quantity]
    if not keys:
        raise OptionError(f"No estimator here has intervals of the {quantity}. Draw the coefficient.")
    several = len(set(zip(found.groups, found.terms, strict=True))) > 1
    panels = []
    for cell in found.cells(CLASSES):
        where = f"{cell.term} by {cell.group}: " if several else ""
        title = f"{where}{count(len(cell.places), 'group')} of {cell.size}"
        panels.append(Panel(title, tuple(_mark(found, key, cell) for key in keys)))
    shown = panels[:PANELS]
    more = f" The first {PANELS} of {len(panels)} panels; the table has all." if len(panels) > PANELS else ""
    return View(
        title=f"What {100 * found.level:.4g} % intervals hold: {printable(found.formula, 60)}",
        caption=(
            f"{count(found.simulations, 'simulation')} from one truth. Left: share of intervals that hold the true "
            f"group {quantity}, with {ERRORS:g} Monte Carlo errors; the line is what is promised. Right: mean width."
            f"{more}"
        ),
        alt=" ".join(found.sentences),
        level=found.level,
        estimators=found.estimators,
        panels=tuple(shown),
    )


def _mark(found: Coverage, key: Key, cell: Cell) -> Mark:
    figures = found.means(key, cell)
    label = f"{style.title_of(key[0])}, {key[2].partition(',')[0]}"
    return Mark(key[0], label, *figures["coverage"], *figures["width"])


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view; returns the Axes of coverage and width, panel by panel.

    A given `ax` is divided among the panels and becomes the first of them; left out, they get a figure of their own.
    """
    height = len(seen.panels)
    places = style.divide(ax, height, 2) if ax is not None else _new_panels(seen, height)
    low = min((m.coverage - ERRORS * _zero(m.coverage_error) for p in seen.panels for m in p.marks), default=0.0)
    floor = max(-0.02, min(low, seen.level) - 0.03) if np.isfinite(low) else -0.02
    used = []
    for panel, (left, right) in zip(seen.panels, places, strict=True):
        last = panel is seen.panels[-1]
        _draw_coverage(left, panel, seen, floor, last)
        _draw_width(right, panel, seen, last)
        used += [left, right]
    return tuple(used)


def _new_panels(seen: View, height: int) -> list[list[Axes]]:
    most = max(len(panel.marks) for panel in seen.panels)
    figure = style.new_figure(9.5, height * (0.27 * most + 0.55) + 1.3)
    figure.suptitle(
        printable(seen.title, 90), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
        parse_math=False,
    )  # fmt: skip
    figure.supxlabel(
        textwrap.fill(seen.caption, 118), x=0.01, ha="left", fontsize=style.SMALL, color=style.MUTED, parse_math=False
    )
    return [list(row) for row in figure.subplots(height, 2, squeeze=False, width_ratios=[1.25, 1.0])]


def _draw_coverage(ax: Axes, panel: Panel, seen: View, floor: float, last: bool) -> None:
    _frame(ax, panel, "holds the truth (%)" if last else "")
    ax.set_title(panel.title, loc="left", fontsize=style.SMALL, color=style.INK, parse_math=False)
    ax.axvline(seen.level, color=style.MUTED, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)
    _marks(ax, panel, seen, [(m.coverage, m.coverage_error) for m in panel.marks])
    ax.set_xlim(floor, 1.012)
    ax.set_yticks(range(len(panel.marks)), labels=[printable(m.label, 44) for m in panel.marks], parse_math=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")


def _draw_width(ax: Axes, panel: Panel, seen: View, last: bool) -> None:
    _frame(ax, panel, "mean width" if last else "")
    _marks(ax, panel, seen, [(m.width, m.width_error) for m in panel.marks])
    ends = [m.width + ERRORS * _zero(m.width_error) for m in panel.marks if np.isfinite(m.width) and m.width > 0]
    ax.set_xlim(0, 1.06 * max(ends, default=1.0))
    ax.set_yticks(range(len(panel.marks)), labels=[""] * len(panel.marks))


def _frame(ax: Axes, panel: Panel, x_label: str) -> None:
    style.frame(ax, "", "", x_label)
    ax.grid(visible=False)
    ax.grid(axis="y", color=style.RULE, linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(panel.marks) - 0.4, -0.6)


def _marks(ax: Axes, panel: Panel, seen: View, values: list[tuple[float, float]]) -> None:
    for k, (mark, (value, error)) in enumerate(zip(panel.marks, values, strict=True)):
        if not np.isfinite(value):
            continue
        look = style.look(mark.estimator, seen.estimators)
        reach = ERRORS * _zero(error)
        ax.plot([value - reach, value + reach], [k, k], color=look.colour, linewidth=1.6, zorder=3)
        style.points(ax, np.array([value]), np.array([k]), look, mark.label)


def _zero(error: float) -> float:
    return error if np.isfinite(error) else 0.0

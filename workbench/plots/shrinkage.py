"""All estimators side by side: every group drawn from its own estimate to the estimator's.

One panel per estimator and one row of panels per varying term (two where there are more than five
estimators), with one y axis per term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import (
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
    sizes_in_words,
    told_apart,
    without_own,
)
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

ABREAST = 5
"""So many panels stand in one row."""
LINES = 300
"""So many levels are drawn: more lines than that run into one another."""
PLAIN = 60
"""The dots of more levels have no white edges, and lines are thin."""
LEAST = 5.0
"""Area of the smallest dot, in square points: smaller ones have no colour on a screen."""
BITMAP = 120
"""Panels with more levels than this become bitmaps inside SVG files."""
WIDE = 9.0
"""Inches: so wide is the figure at least, as the other pictures are. A page stretches each to its own width, letters
and marks too."""
LETTERS = 9.0
"""So many letters of a title have room in an inch."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One estimator and one term.

    Attributes
    ----------
    estimator, title, term, group, y_label : str
    levels : tuple of str
    left, right : array, shape (J,)
        What each group says by itself (NaN where it says nothing; all NaN where no group has an estimate of its
        own, as beside another grouping factor), and the estimator's coefficient.
    areas : array, shape (J,)
        Marker areas in points squared, by the group's size.
    population : float
    y_limits : tuple of two floats
        Shared by all panels of a term.
    """

    estimator: str
    title: str
    term: str
    group: str
    y_label: str
    levels: tuple[str, ...]
    left: Array
    right: Array
    areas: Array
    population: float
    y_limits: tuple[float, float]

    @property
    def set_out(self) -> bool:
        """Whether there are estimates of the groups alone to set out from."""
        return bool(np.isfinite(self.left).any())


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt : str
    warnings : tuple of str
    rows : tuple of tuple of Panel
        Term by term; up to `ABREAST` panels in each.
    size_legend : tuple of (int, float)
        Group sizes and their marker areas; empty where all groups are of one size.
    """

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    rows: tuple[tuple[Panel, ...], ...]
    size_legend: tuple[tuple[int, float], ...]


def view(comparison: Comparison, terms: Sequence[Varying]) -> View:
    """Lay out the picture of one or several varying terms."""
    largest = max(int(v.sizes.max()) for v in terms)
    rows: list[tuple[Panel, ...]] = []
    notes: list[str] = []
    for v in terms:
        alone = own(comparison, v)
        panels, remarks = _panels(comparison, v, alone, largest)
        notes += [text for text in (without_own(v, alone), *remarks) if text and text not in notes]
        width = len(panels) if len(panels) <= ABREAST else -(-len(panels) // 2)
        rows += [tuple(panels[k : k + width]) for k in range(0, len(panels), width)]
    what = join(dict.fromkeys(v.quantity for v in terms))
    own_labels = " or ".join(dict.fromkeys(v.own_label for v in terms))
    sizes = np.concatenate([v.sizes for v in terms])
    estimators = f"{len(comparison.fits)} estimators" if len(comparison.fits) > 1 else "one estimator"
    alike = "One dot per group: its estimate by the estimator named above, the groups in the same order everywhere."
    apart = f"Left of each panel: every group's {own_labels}. Right: the estimate of the estimator named above."
    set_out = any(panel.set_out for row in rows for panel in row)
    caption = [apart if set_out else alike, f"Dashed: its population value. {_sizes(sizes)}", *notes]
    factors = join(dict.fromkeys(v.group for v in terms))
    title = "From each group by itself to its estimate" if set_out else "Every group's estimate"
    return View(
        title=title + (f": {printable(what, 60)}" if len(terms) == 1 else "") + _thinned(rows, terms),
        caption=" ".join(caption),
        alt=f"{what}: one panel for each of {estimators}. {_spreads(comparison, terms)}",
        warnings=() if set_out else (f"Levels of {factors} have no estimate of their own here to set out from.",),
        rows=tuple(rows),
        size_legend=_size_legend(sizes, largest),
    )


def _panels(
    comparison: Comparison, v: Varying, alone: Array | None, largest: int
) -> tuple[list[Panel], tuple[str, ...]]:
    values = {name: coefficients(fit, v) for name, fit in comparison.fits.items()}
    lead = partial(comparison) or next(iter(values))
    by, ordered = (values[lead], f"{style.title_of(lead)} estimates") if alone is None else (alone, f"{v.own_label}s")
    shown = choose(v, by, ordered, LINES)
    at = shown.index
    left = np.full(len(at), np.nan) if alone is None else alone[at]
    centres = {name: population(fit, v) for name, fit in comparison.fits.items()}
    pooled = [c[at] for name, c in values.items() if name != "no_pooling"]
    alike = [values["no_pooling"][at]] if "no_pooling" in values else []
    share, _ = framed(shown, np.concatenate([left, *alike]), *pooled, np.array(list(centres.values())))
    beyond = left[(left < share[0]) | (left > share[1])]
    several = len({block.group for block in comparison.design.blocks}) > 1
    panels = [
        Panel(
            estimator=name,
            title=style.title_of(name),
            term=v.term,
            group=v.group,
            y_label=f"{v.quantity}, by {printable(v.group)}" if several else v.quantity,
            levels=tuple(v.levels[j] for j in at),
            left=left,
            right=c[at],
            areas=np.maximum(_areas(v.sizes[at], largest) * style.shrink(len(at)), LEAST),
            population=centres[name],
            y_limits=share,
        )
        for name, c in values.items()
    ]
    note = (
        f"{len(at):,} of the {len(v.levels):,} levels of {v.group} are drawn, evenly spaced in the "
        f"order of their {ordered}."
        if len(at) < len(v.levels)
        else ""
    )
    empty = [style.title_of(name) for name, c in values.items() if not np.isfinite(c).any()]
    if empty:
        note = f"{note} {join(empty)} {'has' if len(empty) == 1 else 'have'} no coefficients of {v.term}.".strip()
    return panels, (note, outside(v, beyond) and f"{v.quantity[0].upper()}{v.quantity[1:]}: {outside(v, beyond)}")


def _thinned(rows: Sequence[Sequence[Panel]], terms: Sequence[Varying]) -> str:
    """For the title: how many of how many levels are drawn, where it is not all of one grouping factor's."""
    drawn, levels = len(rows[0][0].levels), len(terms[0].levels)
    one = len({v.group for v in terms}) == 1
    return f" ({drawn:,} of {levels:,} levels)" if one and drawn < levels else ""


def _areas(sizes: NDArray[np.intp], largest: int) -> Array:
    return 14.0 + 76.0 * np.asarray(sizes, float) / max(largest, 1)


def _size_legend(sizes: NDArray[np.intp], largest: int) -> tuple[tuple[int, float], ...]:
    kinds = np.unique(sizes)
    if len(kinds) < 2:
        return ()
    middle = kinds[np.abs(2 * kinds - kinds[0] - kinds[-1]).argmin()]  # in size, so that its marker is told apart
    chosen = kinds if len(kinds) <= 3 else np.array([kinds[0], middle, kinds[-1]])
    return tuple((int(n), float(_areas(np.array([n]), largest)[0])) for n in chosen)


def _sizes(sizes: NDArray[np.intp]) -> str:
    same = sizes.min() == sizes.max()
    return f"Here {sizes_in_words(sizes)}." if same else "The larger the marker, the larger the group."


def _spreads(comparison: Comparison, terms: Sequence[Varying]) -> str:
    """How widely each estimator's coefficients scatter, for those who cannot see the picture."""
    said = []
    for v in terms:
        spans = []
        for name, fit in comparison.fits.items():
            c = coefficients(fit, v)
            if np.isfinite(c).any():
                spans.append(f"{style.title_of(name)} {figure4(np.nanmin(c))} to {figure4(np.nanmax(c))}")
        said.append(f"{v.quantity} by {v.group} runs: " + "; ".join(spans) + ".")
    return " ".join(said)


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes, row by row.

    Parameters
    ----------
    seen : View
    ax : Axes, optional
        Its place is divided among the panels; it becomes the first of them. Left out, the panels get a
        figure of their own.
    """
    height, width = len(seen.rows), max(len(row) for row in seen.rows)
    places = style.divide(ax, height, width) if ax is not None else _new_panels(seen, height, width)
    drawn: list[Axes] = []
    names = tuple(dict.fromkeys(panel.estimator for row in seen.rows for panel in row))
    for i, row in enumerate(seen.rows):
        for k in range(width):
            if k < len(row):
                _draw_panel(places[i][k], row[k], names, first=k == 0)
                drawn.append(places[i][k])
            else:
                places[i][k].set_axis_off()
    if seen.size_legend:
        _draw_size_legend(places[0][width - 1], seen)
    return tuple(drawn)


def _new_panels(seen: View, height: int, width: int) -> list[list[Axes]]:
    tall, wide = 5.6 if height == 1 else 3.9 * height + 0.5, max(2.05 * width + 1.3, WIDE)
    figure = style.new_figure(wide, tall)
    lines = wrap(printable(seen.title, 2 * int(LETTERS * wide)), int(LETTERS * wide))
    figure.suptitle(
        "\n".join(lines), x=0.01, ha="left", fontsize=style.TEXT + 1.5,
        fontweight="bold", color=style.INK, parse_math=False,
    )  # fmt: skip
    grid = figure.subplots(height, width, squeeze=False)
    return [list(row) for row in grid]


def _draw_panel(ax: Axes, panel: Panel, names: Sequence[str], first: bool) -> None:
    colour = style.look(panel.estimator, names).colour
    style.frame(ax, "", panel.y_label if first else "")
    ax.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    ax.set_xlim(-0.22, 1.22)
    ax.set_ylim(*panel.y_limits)
    if not first:
        ax.tick_params(axis="y", labelleft=False)
    count = len(panel.left)
    style.population_line(ax, panel.population, "population value")
    small_last = np.argsort(-panel.areas, kind="stable")
    if panel.set_out:
        ax.set_xticks([0, 1], labels=["alone", "estimate"])
        _draw_from_alone(ax, panel, colour, small_last)
        x = np.ones(count)
    else:
        x = np.linspace(0, 1, count)
        _name_levels(ax, panel, x)
        x = x[small_last]
    ax.scatter(
        x,
        panel.right[small_last],
        s=panel.areas[small_last],
        facecolors=[colour],
        edgecolors="white" if count <= PLAIN else "none",  # around the dots of many levels white is all that is left
        linewidths=0.5 if count <= PLAIN else 0.0,
        label="estimate",
        zorder=4,
        rasterized=count > BITMAP,
    )


def _name_levels(ax: Axes, panel: Panel, x: Array) -> None:
    """The grouping factor below the panel, and its levels' names where they have room, upright or turned."""
    ax.set_xlim(-0.08, 1.08)
    ax.set_xlabel(panel.group, fontsize=style.SMALL, color=style.INK, parse_math=False)
    names = told_apart(panel.levels, 12)
    figure = ax.get_figure(root=True)
    assert figure is not None
    apart = 72 * ax.get_window_extent().width / figure.dpi / 1.16 / max(len(names) - 1, 1)  # points
    level = apart > 0.65 * style.SMALL * (max(map(len, names)) + 0.7)
    if not level and apart < 1.1 * style.SMALL:
        ax.set_xticks([])
        return
    ax.set_xticks(x, labels=names, parse_math=False)
    ax.tick_params(axis="x", length=0, labelrotation=0 if level else 90)


def _draw_from_alone(ax: Axes, panel: Panel, colour: str, small_last: NDArray[np.intp]) -> None:
    """Each group's own estimate, and a line from it to the estimator's."""
    from matplotlib.collections import LineCollection

    count = len(panel.left)
    raster = count > BITMAP
    pairs = np.zeros((count, 2, 2))
    pairs[:, 1, 0] = 1.0
    pairs[:, 0, 1], pairs[:, 1, 1] = panel.left, panel.right
    lines = LineCollection(
        list(pairs),
        colors=[colour],
        alpha=0.55 if count <= PLAIN else 0.2,
        linewidths=1.1 if count <= PLAIN else 0.5,
        zorder=2,
    )
    lines.set_rasterized(raster)
    ax.add_collection(lines, autolim=False)
    ax.scatter(
        np.zeros(count),
        panel.left[small_last],
        s=panel.areas[small_last],
        facecolors="white",
        edgecolors=style.MUTED,
        linewidths=0.9 if count <= PLAIN else 0.5,
        label="alone",
        zorder=4,
        rasterized=raster,
    )


def _draw_size_legend(ax: Axes, seen: View) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], linestyle="none", marker="o", markersize=float(np.sqrt(area)), markerfacecolor="white",
            markeredgecolor=style.MUTED, label=f"n = {n:,}",
        )
        for n, area in seen.size_legend
    ]  # fmt: skip
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=style.SMALL,
        labelcolor=style.INK, borderaxespad=0.2, handletextpad=0.3,
    )  # fmt: skip

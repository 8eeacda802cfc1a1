"""Every group's regression in a small panel of its own: its rows, and the lines of no, complete and partial pooling.

Lines are means of new rows (:mod:`workbench.prediction`) at a grid of the covariate, other columns held at the group's
own; on the scale of the response. Pinheiro & Bates (2000, doi:10.1007/b98882) draw the sleep study so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.errors import OptionError, nearest
from workbench.plots import lattice_words as words
from workbench.plots import style
from workbench.plots.covariates import Raw, covariate, predictors, rows_at
from workbench.plots.varying import (
    INTERCEPT,
    Varying,
    coefficients,
    measured,
    own,
    partial,
    printable,
    told_apart,
    varying,
)
from workbench.prediction.conditional import means
from workbench.prediction.posterior import from_draws, from_posterior
from workbench.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

PANELS = 20
"""So many groups have a panel."""
MOVED = 5
"""Of more, so many are those that pooling moves farthest."""
ABREAST = 5
GRID = 41
ROWS = 150
"""So many rows of a group are drawn."""
DASHES: dict[str, Any] = {"no_pooling": (0, (4, 2)), "complete_pooling": (0, (1, 1.4)), "population": (0, (1, 1.4))}
OTHERS: tuple[Any, ...] = ("-", (0, (7, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 3)))
"""Dashes of those that pool partially, by their place."""


@dataclass(frozen=True, eq=False)
class Line:
    """One estimator's mean of a group's responses along the grid, shape (m,)."""

    estimator: str
    label: str
    y: Array


@dataclass(frozen=True, eq=False)
class Panel:
    """One group.

    Attributes
    ----------
    level : str
    x, y : array
        Its rows, at most `ROWS`.
    lines : tuple of Line
        Those that it has an estimate of.
    """

    level: str
    x: Array
    y: Array
    lines: tuple[Line, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    grid : array, shape (m,)
        Where lines are computed, on the covariate's own scale.
    panels : tuple of Panel
        In reading order.
    estimators : tuple of str
        Whose lines there are, in the order of the legend.
    labels : tuple of str
        What the legend calls them.
    y_limits : tuple of two floats
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    grid: Array
    panels: tuple[Panel, ...]
    estimators: tuple[str, ...]
    labels: tuple[str, ...]
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether there is a numeric column to draw regressions against, and an estimator that pools partially."""
    design = comparison.design
    return (
        partial(comparison) is not None
        and covariate(design, design.blocks[0]) is not None
        and predictors(design) is not None
    )


def view(
    comparison: Comparison, v: Varying, estimators: Sequence[str] | None = None, covariate_name: str | None = None
) -> View:
    """Lay out the regressions of the groups of one grouping factor.

    Parameters
    ----------
    comparison : Comparison
    v : Varying
        Any term of the grouping factor.
    estimators : sequence of str, optional
        Whose lines beside no and complete pooling; by default the one that stands for partial pooling, REML.
    covariate_name : str, optional
        The numeric column to draw against; by default the first that varies, else the first of the fixed terms.

    Raises
    ------
    OptionError
        An unknown estimator or column, or no numeric column that can be read back from the design.
    """
    design, block = comparison.design, comparison.design.blocks[v.block]
    columns, x_name = _columns(design, block, covariate_name)
    drawn = _estimators(comparison, estimators)
    lead = comparison.fits[partial(comparison) or drawn[-1][0]]
    by = _ordering(comparison, v, x_name)
    chosen, note = _chosen(comparison, lead, by)
    grid = np.linspace(columns[x_name].values.min(), columns[x_name].values.max(), GRID)
    held = _held(design, block, columns, x_name, chosen)
    table = {name: np.repeat(values, GRID) for name, values in held.items()} | {x_name: np.tile(grid, len(chosen))}
    named = {name: columns[name].table(values) for name, values in table.items()}
    total = np.bincount(block.codes, design.offset, len(block.levels))[chosen] / block.sizes[chosen]
    rows = rows_at(design, named, v.group, np.repeat(chosen, GRID), np.repeat(total, GRID))
    alike = replace(rows, varying=MappingProxyType({}))
    curves = [
        (name, label, _means(fit, alike if name == "population" else rows).reshape(-1, GRID))
        for name, label, fit in _fits(comparison, drawn, lead)
    ]
    panels = tuple(_panel(design, block, columns[x_name].values, j, k, curves) for k, j in enumerate(chosen.tolist()))
    kept = [line.y for panel in panels for line in panel.lines if line.estimator != "no_pooling"]
    others = [name for name in columns if name != x_name]
    moved = words.moved(comparison, lead, by)
    present = [(name, label) for name, label, made in curves if np.isfinite(made).any()]
    marks = words.marks(present, _places(present), design, v, ROWS)
    several = len(design.groups) > 1
    return View(
        title=f"Every group's regression: {printable(measured(design), 50)} on {printable(x_name, 30)}"
        + (f", by {printable(v.group, 30)}" if several else ""),
        caption=" ".join(filter(None, (marks, note, words.others(columns, others, design, several, v), moved))),
        alt=f"{count(len(panels), 'panel')}, one for each {v.group} drawn: rows and lines of {measured(design)} "
        f"against {x_name}. {note} {moved}".strip(),
        x_label=x_name,
        y_label=measured(design),
        warnings=(),
        grid=grid,
        panels=panels,
        estimators=tuple(name for name, _ in present),
        labels=tuple(label for _, label in present),
        y_limits=style.limits(*(panel.y for panel in panels), *kept),
    )


# --- what is drawn ------------------------------------------------------------------------------------


def _columns(design: Design, block: RandomBlock, wanted: str | None) -> tuple[dict[str, Raw], str]:
    columns = predictors(design)
    name = covariate(design, block) if wanted is None else wanted
    if columns is None or name is None:
        raise OptionError(
            "There is no numeric column to draw regressions against, or one that cannot be read back from the design. "
            "Draw samples() instead."
        )
    numeric = [key for key, column in columns.items() if column.levels is None]
    if name not in numeric:
        raise OptionError(f"{name!r} is no numeric column of the model's terms. {nearest(name, numeric)}")
    return columns, name


def _estimators(comparison: Comparison, wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Names and labels of the lines: no pooling, complete pooling, then the others."""
    drawn = [("no_pooling", style.title_of("no_pooling"))] if comparison.alone is not None else []
    lead = partial(comparison)
    if "complete_pooling" in comparison.fits:
        drawn.append(("complete_pooling", style.title_of("complete_pooling")))
    elif lead is not None:
        drawn.append(("population", f"population of {style.title_of(lead)}"))
    if wanted is None:
        if lead is None:
            raise OptionError("No fit here pools partially. Compare with reml, say.")
        return [*drawn, (lead, style.title_of(lead))]
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if name not in comparison.fits:
            raise OptionError(f"There is no fit of {name!r} to draw. {nearest(str(name), comparison.fits)}")
        if name not in dict(drawn):
            drawn.append((name, style.title_of(name)))
    if len(drawn) > 2 + len(OTHERS):
        raise OptionError(f"{len(drawn)} lines in a panel cannot be told apart. Name at most {len(OTHERS)} estimators.")
    return drawn


def _fits(comparison: Comparison, drawn: Sequence[tuple[str, str]], lead: Fit) -> list[tuple[str, str, Fit]]:
    own_fit = {"no_pooling": comparison.alone, "population": lead}
    return [(name, label, own_fit.get(name) or comparison.fits[name]) for name, label in drawn]


def _ordering(comparison: Comparison, v: Varying, x_name: str) -> Varying:
    """The term that orders the panels: that of the covariate where it varies, else the factor's first."""
    own_terms = [u for u in varying(comparison) if u.group == v.group]
    block_terms = [u for u in own_terms if u.term == x_name]
    slopes = [u for u in own_terms if u.term != INTERCEPT and x_name in u.term and ":" not in u.term]
    return next(iter(block_terms or slopes or own_terms))


def _chosen(comparison: Comparison, lead: Fit, by: Varying) -> tuple[NDArray[np.intp], str]:
    """The groups that have a panel, in order, and which they are in words."""
    values = coefficients(lead, by)
    order = np.argsort(values, kind="stable")
    title = style.title_of(lead.estimator)
    what = f"{title}'s {'intercept' if by.term == INTERCEPT else f'coefficient of {printable(by.term, 30)}'}"
    J, note = len(values), f"Panels run from the lowest to the highest by {what}, row by row."
    if J <= PANELS:
        return order, note
    alone = own(comparison, by)
    gap = np.full(J, np.nan) if alone is None else np.abs(values - alone)
    far = np.argsort(-gap, kind="stable")[: min(MOVED, int(np.isfinite(gap).sum()))]
    rest = order[~np.isin(order, far)]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, PANELS - len(far)).round().astype(np.intp))]
    chosen = order[np.isin(order, np.concatenate([far, spread]))]
    which = f": the {len(far)} moved farthest from their own, and others" if len(far) else ","
    return chosen, f"{note} Of {J:,} groups {len(chosen)} are drawn{which} evenly spaced along that order."


def _held(
    design: Design, block: RandomBlock, columns: dict[str, Raw], x_name: str, chosen: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    """Where the other columns are held for every chosen group: numbers at its mean, labels at its commonest."""
    held: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        if name == x_name:
            continue
        if column.levels is None:
            held[name] = np.bincount(block.codes, column.values, len(block.levels))[chosen] / block.sizes[chosen]
        else:
            held[name] = np.array(
                [np.bincount(column.values[block.codes == j], minlength=len(column.levels)).argmax() for j in chosen]
            )
    return held


def _means(fit: Fit, rows: Any) -> Array:
    """Mean responses at rows; of a posterior on another scale its mean, not that of its coefficients."""
    through = fit.design.link != "identity"
    if through and fit.posterior is not None:
        return np.asarray(from_posterior(fit, rows, 0.95, "response")["estimate"])
    if through and fit.sampled is not None:
        return np.asarray(from_draws(fit, rows, 0.95, "response")["estimate"])
    found = means(fit, rows)
    known = np.isfinite(found)
    return np.where(known, fit.design.mean(np.where(known, found, 0.0)), np.nan)


def _places(present: Sequence[tuple[str, str]]) -> list[int]:
    """The place of every estimator among those that pool partially."""
    placed, k = [], 0
    for name, _ in present:
        placed.append(k)
        k += name not in DASHES
    return placed


def _panel(
    design: Design, block: RandomBlock, x: Array, j: int, k: int, curves: Sequence[tuple[str, str, Array]]
) -> Panel:
    rows = np.flatnonzero(block.codes == j)
    if len(rows) > ROWS:
        rows = rows[np.argsort(x[rows], kind="stable")]
        rows = rows[np.linspace(0, len(rows) - 1, ROWS).round().astype(np.intp)]
    lines = tuple(Line(name, label, made[k]) for name, label, made in curves if np.isfinite(made[k]).any())
    return Panel(str(block.levels[j]), x[rows], design.y[rows], lines)


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes; a given `ax` is divided among them and becomes the first."""
    total = len(seen.panels)
    width = min(ABREAST, total)
    height = -(-total // width)
    if ax is None:
        figure = style.new_figure(11.0 if width > 3 else 9.0, 1.85 * height + 1.5)
        figure.suptitle(
            seen.title, x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False,
        )  # fmt: skip
        figure.supylabel(printable(seen.y_label, 60), fontsize=style.TEXT, color=style.INK, parse_math=False)
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    else:
        places = style.divide(ax, height, width)
        ax.set_ylabel(seen.y_label, fontsize=style.TEXT, color=style.INK, parse_math=False)
    flat = [place for row in places for place in row]
    x_limits = style.limits(seen.grid)
    handles: dict[str, Line2D] = {}
    titles = told_apart((panel.level for panel in seen.panels), 22)
    for k, (place, panel, title) in enumerate(zip(flat, seen.panels, titles, strict=False)):
        style.frame(place, "")
        place.set_title(title, fontsize=style.SMALL, color=style.INK, parse_math=False, pad=3)
        place.set_xlim(*x_limits)
        place.set_ylim(*seen.y_limits)
        place.tick_params(labelleft=k % width == 0, labelbottom=k + width >= total)
        _draw_panel(place, seen, panel, handles)
    last = flat[(height - 1) * width : total]
    middle = last[len(last) // 2]
    middle.set_xlabel(printable(seen.x_label, 40), fontsize=style.TEXT, color=style.INK, parse_math=False)
    for place in flat[total:]:
        place.set_axis_off()
    _legend(flat[0], handles, seen, own_figure=ax is None)
    return tuple(flat[:total])


def _draw_panel(ax: Axes, seen: View, panel: Panel, handles: dict[str, Line2D]) -> None:
    few = len(panel.x) <= 60
    ax.scatter(panel.x, panel.y, s=11 if few else 5, c=[style.MUTED], linewidths=0, zorder=3, label="rows")
    places = _places(list(zip(seen.estimators, seen.labels, strict=True)))
    for line in panel.lines:
        place = places[seen.estimators.index(line.estimator)]
        dashes = DASHES.get(line.estimator, OTHERS[place % len(OTHERS)])
        like = "complete_pooling" if line.estimator == "population" else line.estimator
        colour = style.look(like, seen.estimators).colour
        wide = 1.3 if line.estimator in DASHES else 1.9
        above = 5 if line.estimator in DASHES else 4
        (drawn,) = ax.plot(
            seen.grid, line.y, color=colour, linestyle=dashes, linewidth=wide, zorder=above, label=line.label
        )
        handles.setdefault(line.estimator, drawn)


def _legend(ax: Axes, handles: dict[str, Line2D], seen: View, own_figure: bool) -> None:
    marks = [handles[name] for name in seen.estimators if name in handles]
    names = [label for name, label in zip(seen.estimators, seen.labels, strict=True) if name in handles]
    kind: dict[str, Any] = {"frameon": False, "fontsize": style.SMALL, "labelcolor": style.INK, "handlelength": 3.2}
    figure = ax.get_figure(root=True)
    assert figure is not None
    if own_figure:
        figure.legend(marks, names, loc="outside lower center", ncols=len(names), **kind)
    else:
        ax.legend(marks, names, **kind)

"""Two-dimensional shrinkage: two varying terms of one grouping factor, each group moved from its own point to another.

An arrow leads from what a group says by itself to its estimate, one panel per estimator. About the population value
lie the contours of the estimated covariance of groups, at 1, 2 and 3 standard deviations: points c with
(c - m)' Sigma^-1 (c - m) = k^2, which hold 1 - exp(-k^2 / 2) of a bivariate normal population. Where Sigma is singular
they are lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.plots import plane_words as words
from workbench.plots import style
from workbench.plots.arrows import ARROWS, DOTS, SDS, arrows, contours, density, name_contour, names
from workbench.plots.origins import singular
from workbench.plots.pairs import Pair, pairs
from workbench.plots.varying import (
    PARTIAL,
    UNPOOLED,
    coefficients,
    own,
    population,
    printable,
    truth,
    varying,
    without_own,
)
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

PANELS = 4
"""So many estimators have a panel."""
FEW_ARROWS = 60
"""Of more than `ARROWS` groups so many have one."""
NAMED = 4
"""So many groups are named."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One estimator.

    Attributes
    ----------
    estimator, title : str
    estimate : array, shape (J, 2)
    population : array, shape (2,)
    covariance : array, shape (2, 2), or None
        Of the groups' effects; None where the estimator has none.
    contours : tuple of array, shape (m, 2)
        At `SDS` standard deviations; empty without a covariance.
    singular : bool
        Whether the fit says that this covariance lies on its boundary, so that the contours are lines.
    """

    estimator: str
    title: str
    estimate: Array
    population: Array
    covariance: Array | None
    contours: tuple[Array, ...]
    singular: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    levels : tuple of str, J of them
    own : array, shape (J, 2)
        What each group says by itself; NaN where it says nothing.
    arrows : array of int
        The groups that have an arrow.
    named : array of int
        Those that are named, the one moved farthest first.
    panels : tuple of Panel
    complete : array, shape (2,), or None
        The estimate of complete pooling.
    truth : array, shape (J, 2), or None
    x_limits, y_limits : tuple of two floats
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    levels: Sequence[str]
    own: Array
    arrows: NDArray[np.intp]
    named: NDArray[np.intp]
    panels: tuple[Panel, ...]
    complete: Array | None
    truth: Array | None
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether two terms vary by one factor, and an estimator pools them partially."""
    found = pairs(varying(comparison))
    return bool(found) and all(_able(comparison, pair) for pair in found)


def view(comparison: Comparison, pair: Pair, estimators: Sequence[str] | None = None) -> View:
    """Lay out the picture of two varying terms.

    Parameters
    ----------
    comparison : Comparison
    pair : Pair
    estimators : sequence of str, optional
        A panel each, at most `PANELS`; by default those that pool partially, REML first.

    Raises
    ------
    OptionError
        An estimator that is not there, or has no coefficients; more than `PANELS` of them.
    """
    names, left_out = _drawn(comparison, pair, estimators)
    panels = tuple(_panel(comparison.fits[name], pair) for name in names)
    lone, other = own(comparison, pair.first), own(comparison, pair.second)
    J = len(pair.first.levels)
    alone = np.full((J, 2), np.nan) if lone is None or other is None else np.column_stack([lone, other])
    lead = panels[0]
    known = np.flatnonzero(np.isfinite(np.hstack([alone, lead.estimate])).all(axis=1))
    moved = np.full(J, np.nan)
    if len(known):
        moved[known] = _distance(alone[known], lead.estimate[known])
    order = known[np.argsort(-moved[known], kind="stable")]
    some = order
    if len(order) and J > ARROWS:
        spread = order[np.unique(np.linspace(0, len(order) - 1, FEW_ARROWS).round().astype(np.intp))]
        some = np.unique(np.concatenate([order[:NAMED], spread]))
    frame, beyond = _limits(panels, alone, some)
    complete = _complete(comparison, pair)
    known_truth = _truth(comparison, pair)
    inside = [j for j in order if j not in beyond][:NAMED]
    said = [words.farthest(pair, alone, lead, order, inside), words.covariances(comparison.design, pair, panels)]
    caption = [
        words.marks(pair, panels, len(order) > 0, J, complete is not None, known_truth is not None),
        *said, words.thinned(pair, len(some), len(order), J, NAMED), words.beyond(len(beyond)),
        without_own(pair.first, alone.sum(axis=1)) if len(order) else "", left_out,
    ]  # fmt: skip
    several = len(comparison.design.groups) > 1
    what = f"{printable(pair.first.quantity, 50)} and {printable(pair.second.quantity, 50)}"
    return View(
        title=f"Shrinkage of two terms at once: {pair.term}" + (f", by {printable(pair.group)}" if several else ""),
        caption=" ".join(part for part in caption if part),
        alt=f"{what}, {J:,} levels of {pair.group}, a panel for each of {join(p.title for p in panels)}. "
        + " ".join(part for part in said if part),
        x_label=pair.first.quantity,
        y_label=pair.second.quantity,
        warnings=() if len(order) else (f"Levels of {pair.group} have no estimate of their own to set out from.",),
        levels=pair.first.levels,
        own=alone,
        arrows=np.sort(some),
        named=np.array(inside, dtype=np.intp),
        panels=panels,
        complete=complete,
        truth=known_truth,
        x_limits=frame[0],
        y_limits=frame[1],
    )


# --- what is drawn ------------------------------------------------------------------------------------


def _able(comparison: Comparison, pair: Pair) -> list[str]:
    """Fits that pool partially and have coefficients of both terms, those that stand for it first."""
    found = [
        name
        for name, fit in comparison.fits.items()
        if name not in UNPOOLED and np.isfinite(_both(fit, pair)).all(axis=1).any()
    ]
    return sorted(found, key=lambda name: PARTIAL.index(name) if name in PARTIAL else len(PARTIAL))


def _drawn(comparison: Comparison, pair: Pair, wanted: Sequence[str] | None) -> tuple[list[str], str]:
    """The estimators that have a panel, and a sentence about those that have none."""
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else list(dict.fromkeys(wanted))
        for name in names:
            if name not in comparison.fits:
                raise OptionError(f"There is no fit of {name!r} to draw. {nearest(str(name), comparison.fits)}")
            if not np.isfinite(_both(comparison.fits[name], pair)).all(axis=1).any():
                raise OptionError(f"{name} has no coefficients of {pair.term}. Draw another estimator.")
        if not 1 <= len(names) <= PANELS:
            raise OptionError(f"{len(names)} estimators are named, but a panel have 1 to {PANELS}. Name fewer.")
        return names, ""
    able = _able(comparison, pair)
    if not able:
        raise OptionError("No fit here pools both terms partially. Compare with reml, say.")
    distinct: list[str] = []
    same: dict[str, list[str]] = {}
    for name in able:
        twin = next((other for other in distinct if _same(comparison.fits[name], comparison.fits[other], pair)), None)
        if twin is None:
            distinct.append(name)
        else:
            same.setdefault(twin, []).append(name)
    kept, rest = distinct[:PANELS], distinct[PANELS:]
    said = [
        f"{join(map(style.title_of, those))} {'gives' if len(those) == 1 else 'give'} the same points and contours as "
        f"{style.title_of(twin)}."
        for twin, those in same.items()
        if twin in kept
    ]
    if rest:
        said.append(f"Without a panel: {join(map(style.title_of, rest))}.")
    return kept, " ".join(said)


def _both(fit: Fit, pair: Pair) -> Array:
    return np.column_stack([coefficients(fit, pair.first), coefficients(fit, pair.second)])


def _same(one: Fit, other: Fit, pair: Pair) -> bool:
    """Whether two fits would give the same panel, to the eye."""
    a, b = _both(one, pair), _both(other, pair)
    span = np.nanmax(b, axis=0) - np.nanmin(b, axis=0)
    near = bool(np.array_equal(np.isnan(a), np.isnan(b)) and np.all((np.abs(a - b) <= 1e-4 * span) | np.isnan(a)))
    first, second = _covariance(one, pair), _covariance(other, pair)
    if first is None or second is None:
        return near and first is second
    return near and bool(np.allclose(first, second, rtol=1e-3, atol=1e-4 * np.sqrt(np.prod(np.diag(second)))))


def _panel(fit: Fit, pair: Pair) -> Panel:
    centre = np.array([population(fit, pair.first), population(fit, pair.second)])
    covariance = _covariance(fit, pair)
    drawn = () if covariance is None or not np.isfinite(centre).all() else contours(covariance, centre)
    return Panel(
        estimator=fit.estimator,
        title=style.title_of(fit.estimator),
        estimate=_both(fit, pair),
        population=centre,
        covariance=covariance,
        contours=drawn,
        singular=covariance is not None and singular(fit, pair.group, covariance),
    )


def _covariance(fit: Fit, pair: Pair) -> Array | None:
    """Of both terms' effects, shape (2, 2); terms of two blocks are uncorrelated."""
    if max(pair.first.block, pair.second.block) >= len(fit.components):
        return None
    a, b = pair.first, pair.second
    one, other = fit.components[a.block].covariance, fit.components[b.block].covariance
    between = one[a.column, b.column] if a.block == b.block else 0.0
    made = np.array([[one[a.column, a.column], between], [between, other[b.column, b.column]]])
    return made if np.isfinite(made).all() else None


def _complete(comparison: Comparison, pair: Pair) -> Array | None:
    if "complete_pooling" not in comparison.fits:
        return None
    fit = comparison.fits["complete_pooling"]
    made = np.array([population(fit, pair.first), population(fit, pair.second)])
    return made if np.isfinite(made).all() else None


def _truth(comparison: Comparison, pair: Pair) -> Array | None:
    first, second = truth(comparison, pair.first), truth(comparison, pair.second)
    if first is None or second is None or len(pair.first.levels) > ARROWS:
        return None
    return np.column_stack([first, second])


def _distance(own: Array, estimate: Array) -> Array:
    """How far points are moved, each coordinate in units of the own estimates' spread (their middle half)."""
    low, high = np.quantile(own, [0.25, 0.75], axis=0)
    unit = np.where(high > low, high - low, 1.0)
    return np.asarray(np.sqrt((((estimate - own) / unit) ** 2).sum(axis=1)))


def _limits(panels: Sequence[Panel], own: Array, some: NDArray[np.intp]) -> tuple[list[tuple[float, float]], set[int]]:
    """The frame that all panels share, and which of some groups have their own point outside it.

    Estimates and contours stand inside. An own estimate of little data may lie anywhere: one that is farther from them
    than they are wide does not stretch the frame.
    """
    frame, outside = [], np.zeros(len(some), dtype=bool)
    for axis in range(2):
        kept = [panel.estimate[:, axis] for panel in panels] + [c[:, axis] for p in panels for c in p.contours]
        values = np.concatenate([*kept, [panel.population[axis] for panel in panels]])
        values = values[np.isfinite(values)]
        low, high = values.min(), values.max()
        wide = high - low or abs(high) * 0.1 or 1.0
        mine = own[some, axis]
        near = mine[(mine >= low - wide) & (mine <= high + wide)]
        frame.append(style.limits(values, near))
        outside |= np.isfinite(mine) & ((mine < frame[-1][0]) | (mine > frame[-1][1]))
    return frame, set(some[outside].tolist())


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes; a given `ax` is divided among them and becomes the first."""
    count = len(seen.panels)
    height, width = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2)}[count]
    if ax is None:
        figure = style.new_figure(9.0 if count == 1 else 11.0, {1: 6.4, 2: 5.6, 3: 4.9, 4: 9.4}[count])
        figure.suptitle(
            printable(seen.title, 100), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold",
            color=style.INK, parse_math=False,
        )  # fmt: skip
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    else:
        places = style.divide(ax, height, width)
    flat = [place for row in places for place in row]
    every = [panel.estimator for panel in seen.panels]
    for k, (place, panel) in enumerate(zip(flat, seen.panels, strict=True)):
        style.frame(place, "", seen.y_label if k % width == 0 else "", seen.x_label if k >= count - width else "")
        place.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
        place.set_xlim(*seen.x_limits)
        place.set_ylim(*seen.y_limits)
        if k % width:
            place.tick_params(axis="y", labelleft=False)
        _draw_panel(place, seen, panel, style.look(panel.estimator, every).colour)
    return tuple(flat)


def _draw_panel(ax: Axes, seen: View, panel: Panel, colour: str) -> None:
    J = len(seen.levels)
    for k, line in zip(SDS, panel.contours, strict=False):
        ax.plot(
            line[:, 0],
            line[:, 1],
            color=style.MUTED if J <= DOTS else style.INK,
            linewidth=1.4 - 0.25 * k,
            zorder=2,
            gid=f"{k} SD",
        )
        name_contour(ax, line, k)
        if panel.singular:  # a line: its ends
            ends = line[[int(np.argmin(line.sum(axis=1))), int(np.argmax(line.sum(axis=1)))]]
            ax.plot(ends[:, 0], ends[:, 1], linestyle="none", marker="o", markersize=3, color=style.MUTED, zorder=2)
    at = seen.arrows
    if J > DOTS:
        density(ax, panel.estimate)
    elif J > ARROWS or not len(at):
        size = 26.0 * style.shrink(J)
        x, y = panel.estimate.T
        ax.scatter(x, y, s=max(size, 4), c=[colour], linewidths=0, zorder=3, label="estimate")
    if len(at):
        arrows(ax, seen.own[at], panel.estimate[at], colour if J <= DOTS else style.INK)
    if seen.truth is not None:
        style.points(ax, seen.truth[:, 0], seen.truth[:, 1], style.Look(style.TRUTH, "o"), "truth", size=22, zorder=3)
    if seen.complete is not None:
        x, y = seen.complete[:, None]
        ax.scatter(
            x, y, s=150, marker="s", facecolors="none", edgecolors=style.INK, linewidths=1.4, zorder=6,
            label="complete pooling",
        )  # fmt: skip
    if np.isfinite(panel.population).all():
        x, y = panel.population[:, None]
        ax.scatter(
            x, y, s=62, marker="D", c=[style.INK], edgecolors="white", linewidths=0.8, zorder=7,
            label="population values",
        )  # fmt: skip
    names(ax, seen.named, seen.levels, seen.own, panel.estimate)

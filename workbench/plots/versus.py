"""The mixed model beside the Bayesian estimates: REML's crosses, the fixed prior's circles, full Bayes's diamonds.

All of them with their intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import (
    Varying,
    apart,
    choose,
    coefficients,
    column,
    figure4,
    own,
    population,
    printable,
    truth,
)
from workbench.words import level_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

MIXED = ("reml", "ml", "laplace", "agq")
BESIDE = 0.32
"""How far right of the others full Bayes stands."""
LINES = 150
"""So many levels are drawn: more intervals than that make a wall."""
CAPPED = 60
"""Up to so many intervals have caps."""
PALE = "#d3d7dc"
"""The fixed prior's intervals, which lie behind REML's."""


@dataclass(frozen=True, eq=False)
class Series:
    """One estimator's coefficients with their intervals, level by level.

    Attributes
    ----------
    estimator : str
    estimate : array, shape (J,)
    low, high : array, shape (J,)
        NaN where a level has no interval.
    interval : str
        Which kind it is, in the words of those who computed it; empty where no level has one.
    """

    estimator: str
    estimate: Array
    low: Array
    high: Array
    interval: str


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data; an estimator that is not there is None.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    labels, levels : tuple of str
    positions : array, shape (J,)
    sizes : tuple of int
    mixed : Series
        REML (ML where there is no REML), or of counts and shares their maximum likelihood.
    fixed_prior, posterior : Series or None
        The fixed prior, and full Bayes.
    population : float
        The mixed model's.
    largest_difference : float or None
        Between mixed model and fixed prior, over all levels.
    truth : array, shape (J,), or None
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
    mixed: Series
    fixed_prior: Series | None
    posterior: Series | None
    population: float
    largest_difference: float | None
    truth: Array | None


def applies(comparison: Comparison) -> bool:
    """Whether there is a mixed model and a Bayesian estimate to set beside it."""
    return any(name in comparison.fits for name in MIXED) and any(
        name in comparison.fits for name in ("fixed_prior", "hierarchical")
    )


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term."""
    fits = comparison.fits
    mixed_name = next((name for name in MIXED if name in fits), next(iter(fits)))
    mixed = coefficients(fits[mixed_name], v)
    alone = own(comparison, v)
    ordered = f"{style.title_of(mixed_name)} estimates"
    by, what = (mixed, ordered) if alone is None else (alone, f"{v.own_label}s")
    shown = choose(v, by, what, LINES)
    at = shown.index
    known = truth(comparison, v)
    first = _series(fits[mixed_name], v, at)
    plugged, full = (_series(fits[name], v, at) if name in fits else None for name in ("fixed_prior", "hierarchical"))
    apart, largest = _apart(comparison, v, mixed_name)
    marks = _marks(first, plugged, full, known is not None, _plugged_in(comparison, mixed_name))
    several = len(comparison.design.groups) > 1
    by_group = f", by {printable(v.group, 40)}" if several else ""
    return View(
        title=f"Mixed model and Bayes: {printable(v.quantity, 60)}{by_group}",
        caption=" ".join(part for part in (marks, apart, shown.note) if part),
        alt=f"{v.quantity} by {v.group}, {len(v.levels):,} groups. {apart} {_lengths(first, plugged, full)}".strip(),
        x_label=shown.axis,
        y_label=v.quantity,
        warnings=(),
        labels=shown.labels,
        levels=tuple(v.levels[j] for j in at),
        positions=shown.positions,
        sizes=tuple(int(n) for n in v.sizes[at]),
        mixed=first,
        fixed_prior=plugged,
        posterior=full,
        population=population(fits[mixed_name], v),
        largest_difference=largest,
        truth=None if known is None else known[at],
    )


def _series(fit: Fit, v: Varying, at: NDArray[np.intp]) -> Series:
    part = fit.group_effects[v.block].coefficient
    estimate, low, high = (column(part, v, name)[at] for name in ("estimate", "conf_low", "conf_high"))
    kind = part.interval if part.median is not None else f"{part.interval}, {part.std_error_kind}"
    return Series(fit.estimator, estimate, low, high, kind if (high > low).any() else "")


def _plugged_in(comparison: Comparison, mixed: str) -> str:
    """What the fixed prior holds, in words."""
    if "fixed_prior" not in comparison.fits:
        return ""
    one, other = comparison.fits[mixed], comparison.fits["fixed_prior"]
    d = other.diagnostics
    heavy = np.isfinite(d.get("prior_df", np.inf)) or d.get("prior_scaled", False)
    pairs = zip(one.components, other.components, strict=False)
    same = bool(one.components) and all(np.array_equal(np.diag(a.covariance), np.diag(b.covariance)) for a, b in pairs)
    kept = [k for block in one.design.blocks for k in block.fixed if k is not None]
    same = same and np.array_equal(one.population.estimate[kept], other.population.estimate[kept])
    return "the same mean and spread" if same and not heavy else "a mean and a spread of their own"


def _marks(mixed: Series, plugged: Series | None, full: Series | None, true: bool, what: str) -> str:
    """Which mark and which line is whose."""

    def line(what: str, series: Series) -> str:
        return f" with {what} for its interval ({series.interval})" if series.interval else ""

    name = style.title_of(mixed.estimator)
    mark = "Triangles" if style.look(mixed.estimator).marker in "^v" else "Plus crosses"
    thin = "a thin capped line" if len(mixed.estimate) <= CAPPED else "a thin line"
    said = [f"{mark}: {name}{line(thin, mixed)}."]
    if plugged is not None:
        pale = line("a broad pale line", plugged)
        said.append(f"Open circles: {what} plugged in as a fixed prior{pale}.")
    if full is not None:
        said.append(f"Diamonds, set to the right: full Bayes, the posterior mean{line('a line', full)}.")
    if true:
        said.append("Red dots: the truth.")
    return " ".join(said)


def _apart(comparison: Comparison, v: Varying, mixed_name: str) -> tuple[str, float | None]:
    """The largest difference between mixed model and fixed prior over all levels, in words and as it is."""
    if "fixed_prior" not in comparison.fits:
        return "", None
    gap = apart(comparison, mixed_name, "fixed_prior", v)
    if not np.isfinite(gap).any():
        return "", None
    worst = int(np.nanargmax(gap))
    largest, name = float(gap[worst]), style.title_of(mixed_name)
    where = f", at {level_in_words(v.group, v.levels[worst])}" if largest > 0 else ""
    return f"The largest difference between {name} and the fixed prior is {figure4(largest)}{where}.", largest


def _lengths(*every: Series | None) -> str:
    """How long each estimator's intervals are, for those who cannot see the picture."""
    said = []
    for series in every:
        if series is not None and series.interval:
            length = series.high - series.low
            name = style.title_of(series.estimator)
            said.append(f"{name} {figure4(np.nanmin(length))} to {figure4(np.nanmax(length))}")
    return f"Lengths of the intervals: {'; '.join(said)}." if said else ""


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own; the frame is zoomed to what is drawn.

    Mixed model and fixed prior stand at the same place, so that it shows where they coincide.
    """
    ax = ax or style.new_level_axes(seen.labels)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    shown = [series for series in (seen.mixed, seen.fixed_prior, seen.posterior) if series is not None]
    everything = [values for s in shown for values in (s.estimate, s.low, s.high)]
    ax.set_ylim(*style.limits(*everything, seen.truth, np.array([seen.population])))
    x, count = seen.positions, len(seen.positions)
    wide, thin, size = (7.0, 1.2, 1.0) if count <= 30 else (4.0, 0.9, 0.45) if count <= 60 else (2.4, 0.4, 0.45)
    more = {} if count <= 30 else {"linewidths": 1.1 if count <= 60 else 0.7}
    if seen.fixed_prior is not None:
        look = style.LOOKS["fixed_prior"]
        style.points(ax, x, seen.fixed_prior.estimate, look, style.title_of("fixed_prior"), size=130 * size, **more)
        _lines(ax, x, seen.fixed_prior, PALE, wide, 1.5)
    look = style.look(seen.mixed.estimator)
    style.points(
        ax, x, seen.mixed.estimate, look, style.title_of(seen.mixed.estimator), size=95 * size, zorder=5, **more
    )
    _lines(ax, x, seen.mixed, look.colour, thin, 2.5)
    if count <= CAPPED:
        _caps(ax, x, seen.mixed, look.colour, 30.0 * size)
    if seen.posterior is not None:
        look = style.LOOKS["hierarchical"]
        style.points(
            ax, x + BESIDE, seen.posterior.estimate, look, style.title_of("hierarchical"), size=26 * size, **more
        )
        _lines(ax, x + BESIDE, seen.posterior, look.colour, thin, 2.5)
    style.population_line(ax, seen.population, "population value")
    if seen.truth is not None:
        style.points(ax, x, seen.truth, style.Look(style.TRUTH, "o"), "truth", size=42 * size, zorder=3)
    style.level_axis(ax, x, seen.labels, seen.sizes, seen.x_label)
    style.legend_below(ax, count, 4)
    return ax


def _lines(ax: Axes, x: Array, series: Series, colour: str, width: float, zorder: float) -> None:
    if series.interval:
        label = f"{style.title_of(series.estimator)}, interval"
        ax.vlines(
            x, series.low, series.high, color=colour, linewidth=width, zorder=zorder, label=label,
            rasterized=len(x) > style.RASTER,
        )  # fmt: skip


def _caps(ax: Axes, x: Array, series: Series, colour: str, size: float) -> None:
    if series.interval:
        ends = np.concatenate([series.low, series.high])
        ax.scatter(np.tile(x, 2), ends, s=size, marker="_", c=[colour], linewidths=1.2, zorder=2.5)

"""The mixed model beside the Bayesian estimates: REML's crosses, the fixed prior's circles, full "
"Bayes with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import (
    Varying,
    choose,
    coefficients,
    column,
    figure4,
    own,
    population,
    printable,
    truth,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

MIXED = ("reml", "ml")
BESIDE = 0.24
"""How far right of the others full Bayes stands."""


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data; an estimator that is not there has None.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    labels, levels : tuple of str
    positions : array, shape (J,)
    sizes : tuple of int
    mixed : array, shape (J,)
        REML's coefficients (ML's where there is no REML), named by `mixed_name`.
    fixed_prior : array, shape (J,), or None
    posterior, posterior_low, posterior_high : array, shape (J,), or None
        Full Bayes, with its interval; `posterior_interval` says which kind.
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
    mixed: Array
    mixed_name: str
    fixed_prior: Array | None
    posterior: Array | None
    posterior_low: Array | None
    posterior_high: Array | None
    posterior_interval: str
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
    plugged = coefficients(fits["fixed_prior"], v) if "fixed_prior" in fits else None
    full = fits["hierarchical"].group_effects[v.block].coefficient if "hierarchical" in fits else None
    alone = own(comparison, v)
    shown = choose(v, mixed if alone is None else alone)
    at = shown.index
    known = truth(comparison, v)
    caption, largest = _caption(v, mixed_name, mixed, plugged, full.interval if full else "", known is not None)

    def chosen(name: str) -> Array | None:
        return None if full is None else column(full, v, name)[at]

    centre = population(fits[mixed_name], v)
    return View(
        title=f"Mixed model and Bayes: {printable(v.quantity, 60)}",
        caption=" ".join([*caption, shown.note]).strip(),
        alt=f"{v.quantity} by {v.group}, {len(v.levels):,} groups. " + " ".join(caption[1:]),
        x_label=v.group,
        y_label=v.quantity,
        warnings=(),
        labels=shown.labels,
        levels=tuple(v.levels[j] for j in at),
        positions=shown.positions,
        sizes=tuple(int(n) for n in v.sizes[at]),
        mixed=mixed[at],
        mixed_name=mixed_name,
        fixed_prior=None if plugged is None else plugged[at],
        posterior=chosen("estimate"),
        posterior_low=chosen("conf_low"),
        posterior_high=chosen("conf_high"),
        posterior_interval=full.interval if full else "",
        population=centre,
        largest_difference=largest,
        truth=None if known is None else known[at],
    )


def _caption(
    v: Varying, mixed_name: str, mixed: Array, plugged: Array | None, interval: str, true: bool
) -> tuple[list[str], float | None]:
    """The sentences of the caption, and the largest difference between mixed model and fixed prior."""
    name, largest = style.title_of(mixed_name), None
    marks = [f"Plus crosses: {name}."]
    if plugged is not None:
        marks.append("Open circles: the same mean and spread plugged in as a fixed prior.")
    if interval:
        marks.append(f"Diamonds: full Bayes, the posterior mean with its interval ({interval}).")
    if true:
        marks.append("Red dots: the truth.")
    said = [" ".join(marks)]
    if plugged is not None:
        gap = np.abs(mixed - plugged)
        if np.isfinite(gap).any():
            worst = int(np.nanargmax(gap))
            largest = float(gap[worst])
            where = f", at {v.group} {printable(v.levels[worst])}" if largest > 0 else ""
            said.append(f"The largest difference between {name} and the fixed prior is {figure4(largest)}{where}.")
    return said, largest


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own; the frame is zoomed to what is drawn."""
    ax = ax or style.new_axes()
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    centre = np.array([seen.population])
    ax.set_ylim(
        *style.limits(
            seen.mixed,
            seen.fixed_prior,
            seen.posterior,
            seen.posterior_low,
            seen.posterior_high,
            seen.truth,
            centre,
        )
    )
    style.population_line(ax, seen.population, "population value")
    if seen.truth is not None:
        style.points(ax, seen.positions, seen.truth, style.Look(style.TRUTH, "o"), "truth", size=42, zorder=3)
    if seen.fixed_prior is not None:
        style.points(ax, seen.positions, seen.fixed_prior, style.LOOKS["fixed_prior"], "fixed prior", size=130)
    style.points(
        ax,
        seen.positions,
        seen.mixed,
        style.look(seen.mixed_name),
        style.title_of(seen.mixed_name),
        size=95,
        zorder=5,
    )
    low, high = seen.posterior_low, seen.posterior_high
    if seen.posterior is not None and low is not None and high is not None:
        beside = seen.positions + BESIDE
        colour = style.LOOKS["hierarchical"].colour
        thin = len(beside) > style.RASTER
        ax.vlines(
            beside, low, high, color=colour, zorder=2, rasterized=thin,
            linewidth=1.3 if len(beside) <= 60 else 0.5,
        )  # fmt: skip
        style.points(ax, beside, seen.posterior, style.LOOKS["hierarchical"], style.title_of("hierarchical"), size=26)
    style.level_axis(ax, seen.positions, seen.labels, seen.sizes, seen.x_label)
    style.legend_below(ax, len(seen.positions), 5)
    return ax

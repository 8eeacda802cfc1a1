"""A recorded gradient descent: how fast it nears the solution, and what a few effects look like on the way."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.iterations.descent import Descent
from workbench.plots import style
from workbench.plots.varying import Varying, figure4, printable, told_apart
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

PATHS = 5
"""Effects that are drawn of a term: from the lowest to the highest."""
TERMS = 2
"""Varying terms that get a panel."""
COLOURS = (style.OWN, "#E69F00", "#009E73", "#A4428A", "#000000")
RULES = {"gradient": "gradient descent", "adam": "Adam"}


@dataclass(frozen=True, eq=False)
class Path:
    """One effect: its value at every recorded step, shape (records,), and the exact one."""

    label: str
    value: Array
    exact: float


@dataclass(frozen=True, eq=False)
class Panel:
    """The effects of one varying term."""

    title: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    steps : array of int, shape (records,)
    excess : array, shape (records,)
        The objective over its minimum, at least what rounding leaves of it.
    distance : array, shape (records,)
        The largest distance of a parameter to its solution, in its standard error (an effect's conditional SD).
    panels : tuple of Panel
    """

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    steps: NDArray[np.intp]
    excess: Array
    distance: Array
    panels: tuple[Panel, ...]


def applies(comparison: Comparison) -> bool:
    """Whether some fit was descended to."""
    return any(isinstance(fit.trace, Descent) for fit in comparison.fits.values())


def view(comparison: Comparison, terms: Sequence[Varying] = ()) -> View:
    """Lay out the first descent of a comparison; `terms` is not used.

    Raises
    ------
    OptionError
        No fit was descended to.
    """
    fit = next((fit for fit in comparison.fits.values() if isinstance(fit.trace, Descent)), None)
    if fit is None:
        raise OptionError(
            'No fit here was descended to. Compare with henderson and options={"henderson": {"method": "adam"}}.'
        )
    trace: Descent = fit.trace
    panels = _panels(trace)
    rounding = np.finfo(float).eps * trace.least
    distance = _distance(fit, trace)
    by = RULES[trace.method]
    state = "where every slope has vanished" if trace.converged else "not yet at the solution"
    return View(
        title=f"{by[0].upper()}{by[1:]}: down to the same numbers",
        caption=(
            "Left: the penalised sum of squares over its minimum, and the largest distance of a parameter to the exact "
            f"solution, in standard errors, after {int(trace.steps[-1]):,} steps {state}. Others: effects on their "
            "way; dashed, the exact ones (Henderson's equations)."
        ),
        alt=(
            f"After {int(trace.steps[-1]):,} steps the largest distance to the solution is {figure4(distance[-1])} "
            f"standard errors. {' '.join(_said(panel) for panel in panels)}"
        ),
        warnings=(trace.reason,) if trace.reason else (),
        steps=trace.steps,
        excess=np.maximum(trace.objective - trace.least, rounding),
        distance=distance,
        panels=panels,
    )


def _panels(trace: Descent) -> tuple[Panel, ...]:
    found = []
    _, exact = trace.split(trace.exact)
    start = trace.design.X.shape[1]
    for block, own in zip(trace.design.blocks, exact, strict=True):
        J, q = own.shape
        values = trace.parameters[:, start : start + J * q].reshape(-1, J, q)
        start += J * q
        for k, term in enumerate(block.terms):
            order = np.argsort(own[:, k], kind="stable")
            chosen = order[np.unique(np.linspace(0, J - 1, min(PATHS, J)).round().astype(int))][::-1]
            names = told_apart((str(block.levels[j]) for j in chosen), 14)
            paths = tuple(
                Path(name, values[:, j, k], float(own[j, k])) for name, j in zip(names, chosen.tolist(), strict=True)
            )
            found.append(Panel(printable(f"effects of {block.group} on {term}", 44), paths))
    return tuple(found[:TERMS])


def _distance(fit: Fit, trace: Descent) -> Array:
    errors = np.concatenate(
        [fit.population.std_error, *(part.effect.std_error.ravel() for part in fit.group_effects)]
    )  # fmt: skip
    known = errors > 0
    off = np.abs(trace.parameters - trace.exact)[:, known] / errors[known]
    return np.asarray(np.maximum(off.max(axis=1, initial=0.0), np.finfo(float).eps))


def _said(panel: Panel) -> str:
    parts = join(f"{path.label} to {figure4(path.value[-1])} (exact {figure4(path.exact)})" for path in panel.paths)
    return f"{panel.title}: {parts}."


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes; a given `ax` is divided among them and becomes the first."""
    width = 1 + len(seen.panels)
    if ax is not None:
        (places,) = style.divide(ax, 1, width)
    else:
        figure = style.new_figure(4.4 * width, 4.4)
        figure.suptitle(
            textwrap.fill(seen.title, 40 * width), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold",
            color=style.INK, parse_math=False,
        )  # fmt: skip
        places = list(figure.subplots(1, width, squeeze=False)[0])
    _draw_criterion(places[0], seen)
    for place, panel in zip(places[1:], seen.panels, strict=True):
        _draw_paths(place, panel, seen.steps)
    for place in places:
        _step_axis(place, int(seen.steps[-1]))
    return tuple(places)


def _draw_criterion(ax: Axes, seen: View) -> None:
    style.frame(ax, "", "", "step")
    ax.set_title("how far off", fontsize=style.TEXT, color=style.INK, parse_math=False)
    ax.plot(seen.steps, seen.excess, color=style.OWN, linewidth=1.7, label="objective, over its minimum", zorder=3)
    ax.plot(
        seen.steps, seen.distance, color="#E69F00", linewidth=1.7, linestyle=(0, (6, 2)), zorder=3,
        label="largest distance, in standard errors",
    )  # fmt: skip
    ax.set_yscale("log")
    _legend(ax, 1)


def _draw_paths(ax: Axes, panel: Panel, steps: NDArray[np.intp]) -> None:
    style.frame(ax, "", "", "step")
    ax.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    for path, colour in zip(panel.paths, COLOURS, strict=False):
        ax.axhline(path.exact, color=colour, linewidth=0.9, linestyle=(0, (5, 3)), zorder=2)
        ax.plot(steps, path.value, color=colour, linewidth=1.7, label=path.label, zorder=3)
    _legend(ax, 3)


def _legend(ax: Axes, columns: int) -> None:
    """Below the axes, where no path runs."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=columns, frameon=False, fontsize=style.SMALL - 1,
        labelcolor=style.INK, borderaxespad=0.0, columnspacing=1.2,
    )  # fmt: skip


def _step_axis(ax: Axes, last: int) -> None:
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    ax.set_xlim(-0.1, 1.3 * max(last, 1))
    ticks = [0, *(10**k for k in range(int(np.log10(max(last, 1))) + 1))]
    ax.set_xticks(ticks, labels=[f"{t:,}" for t in ticks])
    ax.minorticks_off()

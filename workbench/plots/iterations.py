"""Variances by iteration: where MacKay's updates and EM go, and where REML stands.

One panel for every variance, on a logarithmic axis, and for every correlation: that is where the full update fails.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.iterations.spreads import Spreads
from workbench.iterations.updates import UPDATES, Iterations, iterate
from workbench.plots import style
from workbench.plots.varying import Varying, figure4, printable
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

MOST = 2_000
"""So many iterations of updates that a comparison does not hold."""
LARGE = 5_000
"""Of more levels than this, only the updates that it holds are drawn."""
ACROSS = 2
LOOKS = {
    "diagonal": (style.Look("#B8860B", "P"), "-"),
    "full": (style.Look("#000000", "X"), "-"),
    "effective": (style.Look(style.OWN, "v"), (0, (6, 2))),
    "em": (style.Look("#009E73", "h"), (0, (2, 1.2))),
}
TITLES = {
    "diagonal": "raw variances",
    "full": "raw covariance matrix",
    "effective": "over effective numbers",
    "em": "EM",
}
FULL = " the raw covariance matrix drives a correlation to 1 or -1 and stops (cross);"
HELD = style.LOOKS["reml"].colour


@dataclass(frozen=True, eq=False)
class Line:
    """One update's path in one panel; `ended` says whether it came to a fixed point."""

    update: str
    label: str
    iteration: NDArray[np.intp]
    value: Array
    ended: bool


@dataclass(frozen=True, eq=False)
class Panel:
    """One variance or correlation; NaN where it cannot be drawn. `reml` is where REML puts it."""

    title: str
    logarithmic: bool
    lines: tuple[Line, ...]
    reml: float


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows, as plain data."""

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    panels: tuple[Panel, ...]


def applies(comparison: Comparison) -> bool:
    """Whether some fit has iterated its variances."""
    return any(isinstance(fit.trace, Iterations) for fit in comparison.fits.values())


def view(comparison: Comparison, terms: Sequence[Varying] = ()) -> View:
    """Lay out every variance and correlation; `terms` is not used.

    Raises
    ------
    OptionError
        No fit has iterated its variances.
    """
    held = [fit.trace for fit in comparison.fits.values() if isinstance(fit.trace, Iterations)]
    if not held:
        raise OptionError("No fit here iterates its variances. Compare with mackay or em.")
    traces = _all_updates(held)
    goal = _maximised(comparison)
    panels = _panels(traces, goal)
    correlated = any(trace.update == "full" and not trace.converged for trace in traces)
    return View(
        title="Variances by iteration",
        caption=(
            "Each update alternates predictions of the effects and new variances, from the same start. Raw variances "
            f"of predicted effects lack their conditional variance and end too small;{FULL * correlated} squares over "
            f"the effective number of effects end at REML's variances{' without correlation' * correlated}; EM ends at "
            "REML's (dashed)."
        ),
        alt=" ".join(_said(panel) for panel in panels),
        warnings=tuple(trace.reason for trace in held if trace.reason),
        panels=panels,
    )


def _all_updates(held: list[Iterations]) -> tuple[Iterations, ...]:
    """The iterations of every update, those that are held as they are."""
    known = {trace.update: trace for trace in held}
    first = held[0]
    if max(first.design.groups.values()) <= LARGE:
        correlated = any(len(block.terms) > 1 for block in first.design.blocks)
        for update in UPDATES:
            if update not in known and (correlated or update != "full"):
                known[update] = iterate(first.design, update, first.first, MOST)
    return tuple(known[update] for update in UPDATES if update in known)


def _maximised(comparison: Comparison) -> Spreads:
    from workbench.estimators import Settings, run_estimator

    fit = comparison.fits.get("reml") or run_estimator("reml", comparison.design, Settings())
    return Spreads.of(fit)


def _panels(traces: tuple[Iterations, ...], goal: Spreads) -> tuple[Panel, ...]:
    names, design = traces[0].names, traces[0].design
    found = []
    titles = {f"var({b.group}, {term})": f"variance of {term} by {b.group}" for b in design.blocks for term in b.terms}
    by_name = dict(zip(names, goal.values().tolist(), strict=True))
    for k, name in enumerate(names):
        if name.startswith("cov("):
            continue
        title = "residual variance" if name == "sigma^2" else titles[name]
        if name == "sigma^2" and design.known_se:
            continue
        lines = tuple(_line(trace, trace.values[:, k]) for trace in traces)
        found.append(Panel(printable(title, 44), True, lines, by_name[name]))
    for block, S in zip(design.blocks, goal.covariances, strict=True):
        for a, b in zip(*np.triu_indices(len(block.terms), 1), strict=True):
            one, other = block.terms[a], block.terms[b]
            lines = tuple(_line(trace, trace.correlation(block.group, one, other)) for trace in traces)
            sd = np.sqrt(np.diag(S))
            reml = float(S[a, b] / (sd[a] * sd[b])) if sd[a] * sd[b] > 0 else np.nan
            found.append(Panel(printable(f"correlation of {one} and {other}", 44), False, lines, reml))
    return tuple(found)


def _line(trace: Iterations, value: Array) -> Line:
    return Line(trace.update, TITLES[trace.update], np.arange(len(value)), value, trace.converged)


def _said(panel: Panel) -> str:
    ends = (f"{line.label} {'ends' if line.ended else 'stops'} at {figure4(line.value[-1])}" for line in panel.lines)
    return f"{panel.title}: REML {figure4(panel.reml)}; {join(ends)}."


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes, row by row.

    A given `ax` is divided among the panels and becomes the first of them; left out, they get a figure of their own.
    """
    count = len(seen.panels)
    width = min(ACROSS, count)
    height = -(-count // width)
    places = style.divide(ax, height, width) if ax is not None else _new_panels(seen, height, width)
    flat = [place for row in places for place in row]
    for place in flat[count:]:
        place.set_axis_off()
    for place, panel in zip(flat, seen.panels, strict=False):
        _draw_panel(place, panel)
    figure = flat[0].get_figure(root=True)
    if ax is None and figure is not None:
        handles, labels = flat[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower left", ncols=3 if width > 1 else 2, frameon=False, fontsize=style.SMALL,
            labelcolor=style.INK,
        )  # fmt: skip
    else:
        flat[0].legend(frameon=False, fontsize=style.SMALL - 2, labelcolor=style.INK)
    return tuple(flat[:count])


def _new_panels(seen: View, height: int, width: int) -> list[list[Axes]]:
    figure = style.new_figure(4.6 * width + 0.4, 2.9 * height + 0.9)
    figure.suptitle(
        textwrap.fill(seen.title, 40 * width), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold",
        color=style.INK, parse_math=False,
    )  # fmt: skip
    return [list(row) for row in figure.subplots(height, width, squeeze=False)]


def _draw_panel(ax: Axes, panel: Panel) -> None:
    style.frame(ax, "", "", "iteration")
    ax.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    ax.axhline(
        panel.reml if np.isfinite(panel.reml) and (panel.reml > 0 or not panel.logarithmic) else np.nan,
        color=HELD, linewidth=1.4, linestyle=(0, (5, 3)), zorder=2, label="REML",
    )  # fmt: skip
    last = 1
    for line in panel.lines:
        last = max(last, int(line.iteration[-1]))
        _draw_line(ax, line, panel.logarithmic)
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    ax.set_xlim(-0.1, 1.6 * last)
    ticks = [0, *(10**k for k in range(int(np.log10(max(last, 1))) + 1))]
    ax.set_xticks(ticks, labels=[f"{t:,}" for t in ticks])
    ax.minorticks_off()
    if panel.logarithmic:
        _log_axis(ax, np.concatenate([*(line.value for line in panel.lines), [panel.reml]]))
    else:
        ax.set_ylim(-1.06, 1.06)


def _draw_line(ax: Axes, line: Line, logarithmic: bool) -> None:
    look, dashes = LOOKS[line.update]
    value = np.where(line.value > 0, line.value, np.nan) if logarithmic else line.value
    options: dict[str, Any] = {"color": look.colour, "zorder": 3}
    ax.plot(line.iteration, value, linewidth=1.7, linestyle=dashes, **options)
    ax.plot(line.iteration[-1:], value[-1:], marker=look.marker, markersize=7, linestyle="none", **options)
    ax.plot([], [], marker=look.marker, markersize=7, linestyle=dashes, label=line.label, **options)


def _log_axis(ax: Axes, values: Array) -> None:
    """A logarithmic axis with plain numbers: even ones over a few, 1, 2 and 5 times powers of ten over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    known = values[np.isfinite(values) & (values > 0)]
    if not len(known):
        return
    low, high = float(known.min()), float(known.max())
    room = max((high / low) ** 0.08, 1.05)
    ax.set_yscale("log")
    ax.set_ylim(low / room, high * room)
    decades = np.log10(high / low)
    steps = (1.0,) if decades > 4 else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12) if decades > 1.2 else MaxNLocator(6))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: figure4(v)))

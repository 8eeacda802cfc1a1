"""What each estimator costs and what it gives: seconds against how far its group coefficients lie off.

Where the truth is known, accuracy is the root mean squared error (:mod:`workbench.scoreboard`). Elsewhere it is the
distance to the most complete estimator there is (the exact posterior, else the sampled one, else REML, else another
that pools), in units of that one's standard errors.

Reports are the same each time they are made, and wall times are not: this picture stands in no report, only in
``comparison.plot.time_accuracy()``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.estimators import REGISTRY
from workbench.plots import style
from workbench.plots.names import beside
from workbench.plots.ordering import estimated
from workbench.plots.varying import PARTIAL, UNPOOLED, Varying, column, figure4, printable, truth
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

COMPLETE = ("exact", "hierarchical", *(name for name in PARTIAL if name != "hierarchical"))
"""What stands for the truth where that is not known, the most complete one first."""
LETTER = 0.08
"""Inches of a letter of a name."""
LINE = 0.19
"""Inches of a line of it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data; only estimators with a time and an accuracy.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    estimators, titles : tuple of str, k of them
    own, seconds : array, shape (k,)
        Seconds of the fit itself, and with those of the fits that it builds on.
    off : array, shape (k,)
        Root mean squared error, or distance to `reference` in its standard errors.
    reference : str
        Empty where the truth is known.
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    estimators: tuple[str, ...]
    titles: tuple[str, ...]
    own: Array
    seconds: Array
    off: Array
    reference: str


def applies(comparison: Comparison) -> bool:
    """Whether some fit took a time that is known."""
    return any(np.isfinite(fit.seconds) and fit.seconds > 0 for fit in comparison.fits.values())


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        No truth is known and no estimator has standard errors to measure a distance in; or no fit has a time.
    """
    off, reference = _off(comparison, v)
    times = {name: _seconds(comparison, name) for name in off}
    timed = [name for name, (own, _, _) in times.items() if own > 0]
    if not timed:
        raise OptionError("No fit here has a time of its own: answers from elsewhere come without one.")
    own, total = (np.array([times[name][k] for name in timed]) for k in (0, 1))
    accuracy = np.array([off[name] for name in timed])
    titles = tuple(style.title_of(name) for name in timed)
    several = f", by {printable(v.group, 40)}" if len(comparison.design.groups) > 1 else ""
    label = (
        f"RMSE of the {'means' if v.plain else 'coefficients'}"
        if not reference
        else f"RMS distance to {style.title_of(reference)}, in its standard errors"
    )
    untimed = [style.title_of(name) for name in off if name not in timed]
    missing = sorted({need for name in timed for need in times[name][2]})
    words = (
        f"Wall time of this run, on this machine: a point stands at an estimator's seconds with those of the fits that "
        f"it builds on{'; thin lines reach back to its own' if (total > own).any() else ''}.",
        f"{join(style.title_of(n) for n in missing)}: built on, but not timed here, so left out." if missing else "",
        "Height: root mean squared error of the group coefficients against the truth."
        if not reference
        else f"No truth is known: height is the distance to the most complete estimator here, {_complete(comparison, v,
        reference)}.",
        f"Without a time: {join(untimed)}." if untimed else "",
    )  # fmt: skip
    said = "; ".join(f"{t} {_time(s)}, {figure4(a)}" for t, s, a in zip(titles, total, accuracy, strict=True))
    return View(
        title=f"Time against accuracy: {printable(v.quantity, 60)}{several}",
        caption=" ".join(filter(None, words)),
        alt=f"Seconds and {label}, by estimator: {said}.",
        x_label="seconds, with the fits built on",
        y_label=label,
        warnings=(),
        estimators=tuple(timed),
        titles=titles,
        own=own,
        seconds=total,
        off=accuracy,
        reference=reference,
    )


def _complete(comparison: Comparison, v: Varying, reference: str) -> str:
    kind = comparison.fits[reference].group_effects[v.block].coefficient.std_error_kind
    return f"{style.title_of(reference)}, in its standard errors ({kind})"


def _seconds(comparison: Comparison, name: str) -> tuple[float, float, tuple[str, ...]]:
    """Seconds of a fit, the same with those that it builds on, each once, and the needed ones that are not there."""
    fits, found, missing, todo = comparison.fits, {name}, [], [name]
    while todo:
        one = todo.pop()
        needs = REGISTRY[one].needed(fits[one].options, comparison.design) if one in REGISTRY else ()
        for need in needs:
            if need not in fits:
                missing.append(need)
            elif need not in found:
                found.add(need)
                todo.append(need)
    own = fits[name].seconds
    built_on = [fits[one].seconds for one in found if one != name]
    return own, own + sum(s for s in built_on if s > 0), tuple(missing)


def _off(comparison: Comparison, v: Varying) -> tuple[dict[str, float], str]:
    """How far off each estimator is, and from which one that is measured: "" is the truth."""
    values = estimated(comparison, v)
    true = truth(comparison, v)
    if true is not None:
        return {name: _rms(c - true) for name, c in values.items() if np.isfinite(c - true).any()}, ""
    others = (name for name in values if name not in (*COMPLETE, *UNPOOLED))
    for name in (*(name for name in COMPLETE if name in values), *others):
        error = column(comparison.fits[name].group_effects[v.block].coefficient, v, "std_error")
        if (error > 0).any():
            scale = np.where(error > 0, error, np.nan)
            gaps = {other: (c - values[name]) / scale for other, c in values.items()}
            return {other: _rms(gap) for other, gap in gaps.items() if np.isfinite(gap).any()}, name
    raise OptionError(
        "Without a truth, accuracy is the distance to an estimator that pools partially and has standard errors, and "
        "none is here. Compare with reml, say."
    )


def _rms(gaps: Array) -> float:
    return float(np.sqrt(np.nanmean(gaps**2)))


def _time(seconds: float) -> str:
    """Seconds to two digits.

    Examples
    --------
    >>> _time(0.00042), _time(0.0153), _time(2.31), _time(754.0)
    ('0.42 ms', '15 ms', '2.3 s', '750 s')
    """
    unit, scale = ("ms", 1e3) if seconds < 0.0995 else ("s", 1.0)
    text = f"{float(f'{seconds * scale:.2g}'):f}".rstrip("0").rstrip(".")
    return f"{text} {unit}"


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax = ax or style.new_axes(9.0, 5.2)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    ax.grid(True, axis="both", color=style.RULE, linewidth=0.6)
    ax.set_xscale("log")
    low, high = float(min(seen.own.min(), seen.seconds.min())), float(seen.seconds.max())
    room = max((high / low) ** 0.12, 2.0)
    ax.set_xlim(low / room, high * room)
    ax.set_ylim(-0.05 * (seen.off.max() or 1.0), 1.1 * (seen.off.max() or 1.0))
    few = high * room**2 / low < 60
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda s, _: _time(s)))
    for k, name in enumerate(seen.estimators):
        how = style.look(name, seen.estimators)
        if seen.seconds[k] > seen.own[k]:
            ax.plot(
                [seen.own[k], seen.seconds[k]], [seen.off[k]] * 2, color=how.colour, linewidth=1.2, marker="|",
                markevery=[0], markersize=6, zorder=3,
            )  # fmt: skip
        style.points(ax, seen.seconds[k : k + 1], seen.off[k : k + 1], how, seen.titles[k], size=75)
    _name(ax, seen)
    return ax


def _name(ax: Axes, seen: View) -> None:
    """Names with their figures beside the points, with a thin line where they had to go far."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    alone = figure.get_layout_engine() is not None
    box = ax.get_position()
    share = (0.9, 0.8) if alone else (box.width, box.height)
    wide, tall = figure.get_figwidth() * share[0], figure.get_figheight() * share[1]
    left, right = np.log(ax.get_xlim())
    low, high = ax.get_ylim()
    along, begun = (((np.log(s) - left) / (right - left) * wide) for s in (seen.seconds, seen.own))
    at = np.column_stack([along, (seen.off - low) / (high - low) * tall])
    lines = [(b, x, y) for b, (x, y) in zip(begun.tolist(), at.tolist(), strict=True) if b < x]
    names = [
        f"{title}: {_time(s)}, {figure4(a)}"
        for title, s, a in zip(seen.titles, seen.seconds.tolist(), seen.off.tolist(), strict=True)
    ]
    places = beside(at, [LETTER * len(name) for name in names], LINE, (wide, tall), 0.13, lines)
    for k, name in enumerate(names):
        x, y = (places[k] / (wide, tall)).tolist()
        if abs(places[k, 1] - at[k, 1]) > 1.5 * LINE:
            near = min(max(at[k, 0], places[k, 0]), places[k, 0] + LETTER * len(name))
            ax.plot(
                [seen.seconds[k], np.exp(left + near / wide * (right - left))],
                [seen.off[k], low + (places[k, 1] - np.sign(places[k, 1] - at[k, 1]) * LINE / 2) / tall * (high - low)],
                color=style.FAINT, linewidth=0.7, zorder=2,
            )  # fmt: skip
        ax.text(
            x, y, name, transform=ax.transAxes, ha="left", va="center", fontsize=style.SMALL, color=style.INK,
            parse_math=False, zorder=5,
        )  # fmt: skip

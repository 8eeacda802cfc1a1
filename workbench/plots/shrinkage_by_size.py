"""Shrinkage against group size: how much of a group's own deviation each estimator takes away, and the theory's curve.

Of one varying intercept in a gaussian model the factor is, given the variances,

    1 - tau^2 / (tau^2 + sigma^2 / n_j)

with the sum of weights in place of n_j where rows are weighted, and se_j^2 in place of sigma^2 / n_j where standard
errors are known. Of slopes and of correlated terms it depends on where a group's rows lie, and on what its other terms
tell (:mod:`workbench.comparison`); there are points then, and no curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.plots import style
from workbench.plots.by_size import (
    Curve,
    curves_of,
    factor_in_theory,
    factors_of,
    in_theory,
    noun,
    sizes_of,
    variances_of,
)
from workbench.plots.varying import INTERCEPT, UNPOOLED, Varying, figure4, printable
from workbench.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.design import Design

Array = NDArray[np.float64]

DRAWN = 300
"""So many levels are drawn at most."""
SPANS = 5.0
"""From this ratio of the largest to the smallest on, sizes stand on a logarithmic axis."""
FRAME = (-0.1, 1.1)
WIDEST = (-1.0, 2.0)
"""The frame holds most points, but never more than this."""
MIDDLE = 0.94
ASIDE = 0.04
"""Marks are moved aside by no more than this share of their size, or on a linear axis half as much of its length."""
EXACTLY = 1e-6
"""Points that lie nearer to the curve lie on it."""


@dataclass(frozen=True, eq=False)
class Series:
    """One estimator's points.

    Attributes
    ----------
    estimator, label : str
    x, y : array, shape (K,)
        Size (or standard error) and shrinkage factor, of the levels drawn that have one.
    place : array, shape (K,)
        Where they stand on the x axis: x itself, moved a little by estimator; in a strip, by number of the estimator.
    levels : tuple of str
    """

    estimator: str
    label: str
    x: Array
    y: Array
    place: Array
    levels: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    series : tuple of Series
    curves : tuple of Curve
    strip : bool
        Whether all groups are of one size, so that estimators stand side by side.
    logarithmic : bool
        The x axis.
    x_limits, y_limits : pair of float
    """

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    curves: tuple[Curve, ...]
    strip: bool
    logarithmic: bool
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether shrinkage can be measured, and something shrinks."""
    return comparison.alone is not None and bool(_pooled(comparison))


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        No fit without pooling to measure shrinkage from, or no estimator that pools partially.
    """
    if not applies(comparison):
        raise OptionError(
            "Shrinkage is measured from the groups' own estimates, which this comparison lacks (several grouping "
            "factors), or no estimator here pools partially. Compare one factor's groups with reml."
        )
    x = sizes_of(comparison.design, v)
    factors = {name: factors_of(comparison, name, v) for name in _pooled(comparison)}
    factors = {name: y for name, y in factors.items() if np.isfinite(y).any()}
    drawn = _drawn(x, next(iter(factors.values()), np.full(len(x), np.nan)))
    strip = float(x.max()) <= float(x.min()) * (1 + 1e-9)
    logarithmic = bool(not strip and x.max() >= SPANS * x.min())
    curves = () if not in_theory(comparison.design, v) else curves_of(comparison, v, factors, x)
    series = _series(v, factors, x, drawn, strip, logarithmic)
    y_limits = _frame([s.y for s in series], [c.y for c in curves])
    return View(
        title=_title(v, strip),
        caption=" ".join(_caption(comparison, v, factors, curves, series, y_limits, x, drawn, strip)),
        alt=" ".join(_aloud(v, factors, x, noun(comparison.design))),
        warnings=(),
        x_label="" if strip else _x_label(comparison.design, v),
        y_label="shrinkage factor",
        series=series,
        curves=curves,
        strip=strip,
        logarithmic=logarithmic,
        x_limits=_x_limits(series, strip, logarithmic),
        y_limits=y_limits,
    )


def _pooled(comparison: Comparison) -> list[str]:
    return [name for name in comparison.fits if name not in UNPOOLED]


def _x_label(design: Design, v: Varying) -> str:
    what = {
        "standard error": "standard error of the group's own value",
        "sum of weights": "sum of the group's weights",
        "trials": "the group's number of trials",
        "n": "group size n",
    }[noun(design)]
    return f"{what}, by {printable(v.group)}"


def _title(v: Varying, strip: bool) -> str:
    what = "" if v.plain else f" the {'intercept' if v.term == INTERCEPT else f'coefficient of {printable(v.term)}'}"
    return f"How much each estimator shrinks{what}, by {printable(v.group)}" + (", all of one size" if strip else "")


def _drawn(x: Array, y: Array) -> NDArray[np.intp]:
    """All levels, or of many an even choice along the order of their sizes, and of their factors within a size."""
    order = np.lexsort((y, x))
    if len(x) <= DRAWN:
        return np.asarray(order)
    return np.asarray(order[np.unique(np.linspace(0, len(x) - 1, DRAWN).round().astype(np.intp))])


def _series(
    v: Varying, factors: dict[str, Array], x: Array, drawn: NDArray[np.intp], strip: bool, logarithmic: bool
) -> tuple[Series, ...]:
    count, found = len(factors), []
    span = np.log(x.max() / x.min()) if logarithmic else np.ptp(x)
    few = len(np.unique(x)) <= 12
    for k, (name, y) in enumerate(factors.items()):
        known = drawn[np.isfinite(y[drawn])]
        step = min(
            (0.022 if few else 0.008) * span, 2 * (ASIDE if logarithmic else ASIDE / 2 * span) / max(count - 1, 1)
        )
        aside = (k - (count - 1) / 2) * step
        if strip:  # side by side, in the order of the levels
            place = k + (np.linspace(-0.28, 0.28, len(known)) if len(known) > 1 else np.zeros(len(known)))
        else:
            place = x[known] * np.exp(aside) if logarithmic else x[known] + aside
        levels = tuple(v.levels[j] for j in known)
        found.append(Series(name, style.title_of(name), x[known], y[known], np.asarray(place), levels))
    return tuple(found)


def _frame(points: list[Array], curves: list[Array]) -> tuple[float, float]:
    """Limits that hold 0, 1, the curves and most of the points."""
    known = np.concatenate([*points, np.zeros(0)])
    low, high = FRAME
    if len(known):
        low = min(low, float(np.quantile(known, (1 - MIDDLE) / 2, method="higher")) - 0.05)
        high = max(high, float(np.quantile(known, (1 + MIDDLE) / 2, method="lower")) + 0.05)
    for curve in curves:
        low, high = min(low, float(curve.min()) - 0.02), max(high, float(curve.max()) + 0.02)
    return max(low, WIDEST[0]), min(high, WIDEST[1])


def _x_limits(series: tuple[Series, ...], strip: bool, logarithmic: bool) -> tuple[float, float]:
    if strip:
        return -0.6, len(series) - 0.4
    places = np.concatenate([s.place for s in series])
    low, high = float(places.min()), float(places.max())
    room = 0.05
    if logarithmic:
        wide = (high / low) ** room
        return low / wide, high * wide
    return low - room * (high - low), high + room * (high - low)


# --- words --------------------------------------------------------------------------------------------


def _caption(
    comparison: Comparison,
    v: Varying,
    factors: dict[str, Array],
    curves: tuple[Curve, ...],
    series: tuple[Series, ...],
    y_limits: tuple[float, float],
    x: Array,
    drawn: NDArray[np.intp],
    strip: bool,
) -> list[str]:
    design = comparison.design
    said = [
        "0: a group keeps its own value, as without pooling; 1: it has the population value, as in complete pooling."
    ]
    if curves:
        over = {"n": "σ²/n", "sum of weights": "σ²/w", "standard error": "se²"}[noun(design)]
        line = "Short line" if strip else "Line"
        if len(curves) == 1:
            whose = f"{line}: 1 - τ²/(τ² + {over}) at {style.title_of(curves[0].estimator)}'s variances."
        else:
            whose = f"{line}s: 1 - τ²/(τ² + {over}) at each estimator's own variances."
        said.append(f"{whose} {_held(comparison, v, curves)}")
    elif design.family != "gaussian":
        said.append("There is no curve: what a row tells depends on how probable its outcome is, not on n alone.")
    else:
        said.append(
            "There is no curve: of these terms the factor depends on where a group's rows lie and on what its other "
            "terms tell, not on n alone."
        )
    if strip:
        said.append(
            f"All groups have {noun(design)} = {figure4(float(x[0]))}: estimators stand side by side, groups by factor."
        )
    elif len(series) > 1 and len(np.unique(x)) <= 12:
        said.append(_moved_aside(series, noun(design)))
    return [*said, *_outside(series, y_limits), *_missing(v, factors, x, drawn)]


def _moved_aside(series: tuple[Series, ...], what: str) -> str:
    """How far marks stand from their size."""
    far = max(float(np.abs(s.place / s.x - 1).max(initial=0.0)) for s in series)
    return (
        f"Marks of estimators are moved aside by up to {percent(round(far, 3))} of {what}, so that they do not hide "
        "each other."
    )


def _held(comparison: Comparison, v: Varying, curves: tuple[Curve, ...]) -> str:
    """How near the points of the first estimator with a curve come to it."""
    name = curves[0].estimator
    y, fit = factors_of(comparison, name, v), comparison.fits[name]
    theory = factor_in_theory(sizes_of(comparison.design, v), *variances_of(fit, v), comparison.design.known_se)
    known = np.isfinite(y)
    if not known.any():
        return ""
    off = float(np.abs(y - theory)[known].max())
    if off <= EXACTLY:
        return f"{style.title_of(name)}'s groups lie on its line, to rounding."
    near = float(np.median(np.abs(y - theory)[known]))
    why = "" if v.plain else ", for own values are estimated with other coefficients of the covariates"
    return f"{style.title_of(name)}'s groups lie {figure4(near)} off its line in the median{why}."


def _outside(series: tuple[Series, ...], y_limits: tuple[float, float]) -> list[str]:
    out = [(s.label, level, y) for s in series for level, y in zip(s.levels, s.y, strict=True) if _beyond(y, y_limits)]
    if not out:
        return []
    label, level, y = max(out, key=lambda found: abs(found[2]))
    many = f"{len(out)} marks lie" if len(out) > 1 else "1 mark lies"
    return [
        f"{many} outside the frame (arrows), where a group's own deviation is so small that a share of it says little; "
        f"the farthest is {figure4(y)}, {label} at {printable(level)}."
    ]


def _beyond(y: float, limits: tuple[float, float]) -> bool:
    return bool(y < limits[0] or y > limits[1])


def _missing(v: Varying, factors: dict[str, Array], x: Array, drawn: NDArray[np.intp]) -> list[str]:
    said = []
    none = int((~np.isfinite(np.array(list(factors.values()))).any(axis=0)).sum()) if factors else len(x)
    if none:
        said.append(f"{none:,} of {len(x):,} groups have no own estimate that deviates, and so no factor.")
    if len(drawn) < len(x):
        said.append(
            f"{len(drawn):,} of the {len(x):,} levels of {v.group} are drawn, evenly spaced in the order of sizes."
        )
    return said


def _aloud(v: Varying, factors: dict[str, Array], x: Array, what: str) -> list[str]:
    said = []
    small, large = x <= np.quantile(x, 0.25), x >= np.quantile(x, 0.75)
    for name, y in factors.items():
        if x.max() <= x.min() * (1 + 1e-9):
            said.append(f"{style.title_of(name)}: median {figure4(float(np.nanmedian(y)))}.")
            continue
        halves = [float(np.nanmedian(y[part])) if np.isfinite(y[part]).any() else np.nan for part in (small, large)]
        said.append(
            f"{style.title_of(name)}: median {figure4(halves[0])} where {what} is at most "
            f"{figure4(float(x[small].max()))}, {figure4(halves[1])} where at least {figure4(float(x[large].min()))}."
        )
    return [f"Shrinkage factors by {v.group}.", *said]


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own; what lies outside the frame is an arrow at its edge."""
    ax = ax or style.new_axes(9.0, 5.2)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    names, named = [s.estimator for s in seen.series], {s.label for s in seen.series}
    low, high = seen.y_limits
    for edge, label in ((0.0, "no pooling"), (1.0, "complete pooling")):
        ax.axhline(edge, color=style.MUTED, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1.5)
        ax.text(
            1.005, edge, label, transform=ax.get_yaxis_transform(), va="center", fontsize=style.SMALL, color=style.MUTED
        )
    for k, curve in enumerate(seen.curves):
        look = style.look(curve.estimator, names)
        dashes = ("-", (0, (7, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))[k % 4]
        if seen.strip:
            at = names.index(curve.estimator)
            ax.plot([at - 0.38, at + 0.38], np.repeat(curve.y, 2), color=look.colour, linewidth=1.4, label=curve.label)
        else:
            ax.plot(curve.x, curve.y, color=look.colour, linewidth=1.5, linestyle=dashes, zorder=2, label=curve.label)
    for s in seen.series:
        look = style.look(s.estimator, names)
        inside = (s.y >= low) & (s.y <= high)
        place, y = _apart(s.place[inside], s.y[inside])
        size = 48.0 if len(y) <= 60 else 30.0 if len(y) <= 150 else 14.0
        style.points(ax, place, y, look, s.label, size=size / style.shrink(len(y)), linewidths=1.3)
        for where, edge, arrow in ((s.y > high, high, "^"), (s.y < low, low, "v")):
            if where.any():
                ax.scatter(
                    s.place[where], np.full(int(where.sum()), edge), marker=arrow, s=46, c=[look.colour], clip_on=False,
                    zorder=5,
                )  # fmt: skip
    if seen.logarithmic:
        _log_ticks(ax, seen.x_limits)
    if seen.strip:
        ax.set_xticks(range(len(names)), labels=[s.label for s in seen.series], parse_math=False)
        ax.tick_params(axis="x", length=0, labelrotation=0 if len(names) <= 7 else 90)
    ax.set_xlim(*seen.x_limits)
    ax.set_ylim(low, high)
    handles = [h for h in ax.get_legend_handles_labels()[0] if not seen.strip or h.get_label() not in named]
    if handles:
        style.legend_of(ax, handles, 3)
    return ax


def _apart(place: Array, y: Array) -> tuple[Array, Array]:
    """Of marks that would cover each other exactly, one."""
    pairs = np.column_stack([place, y.round(4)])
    first = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    return place[first], y[first]


def _log_ticks(ax: Axes, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log")
    wide = limits[1] / limits[0] > 1e4
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=14))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: figure4(value)))

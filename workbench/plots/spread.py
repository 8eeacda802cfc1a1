"""The spread of group values: true, own, shrunken and foreseen; and how their variances add up.

Above, one strip of dots for every way to see the groups, with a bar from one SD below the mean to one above: own values
spread more than the true ones, as sampling adds to them; shrunken ones less. Beneath, the law of total variance in
numbers (:mod:`workbench.plots.total_variance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.plots import style
from workbench.plots.total_variance import Parts, lead, own_parts, shrunken_parts, spread_of, variance_of
from workbench.plots.varying import UNPOOLED, Varying, coefficients, figure4, own, population, printable, truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

DOTS = 200
"""Of more groups, so many quantiles are drawn."""
MIDDLE = 0.98
"""Of many groups' own values, this share stands inside the frame."""
PLAIN = 60
LETTER = 0.085
"""Inches of a letter of a strip's name."""
HELD = ("fixed_prior", "penalized", "penalized_fixed", "henderson", "spread_matching", "james_stein")
"""Estimators whose tau is another's, or none: they have a strip, and no bar."""
TRUE, ALONE, NEW = "true values", "own values", "new groups"
FIRST, SECOND = "#8FB8D9", "#E3C58B"


@dataclass(frozen=True, eq=False)
class Strip:
    """One way to see the groups.

    Attributes
    ----------
    kind : "true", "own", "new" or "estimator"
    estimator, label : str
    values : array, shape (K,)
        In ascending order; of many groups quantiles.
    aside : array, shape (K,)
        How far dots stand above or below the strip's middle, from -1 to 1.
    mean, sd : float
        Over all groups.
    """

    kind: str
    estimator: str
    label: str
    values: Array
    aside: Array
    mean: float
    sd: float


@dataclass(frozen=True)
class Bar:
    """One sum of variances, in words and as it is drawn."""

    label: str
    parts: Parts
    names: tuple[str, str, str]
    text: str


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data; strips and bars from above."""

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    x_label: str
    strips: tuple[Strip, ...]
    bars: tuple[Bar, ...]
    limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether some estimator pools partially and has a variance between groups."""
    return any(
        name not in (*UNPOOLED, *HELD) and any(np.isfinite(np.diag(part.covariance)).any() for part in fit.components)
        for name, fit in comparison.fits.items()
    )


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        No estimator has a variance between groups.
    """
    first = lead(comparison, v)
    if first is None or not applies(comparison):
        raise OptionError("No fit here has a variance between groups. Compare with reml, laplace or hierarchical.")
    alone, true = own(comparison, v), truth(comparison, v)
    strips = _strips(comparison, v, alone, true, first)
    bars = _bars(comparison, v, alone, true, first)
    limits, outside = _frame(strips)
    return View(
        title=f"Spread of the {v.quantity} by {printable(v.group)}",
        caption=" ".join([*_caption(v, strips, bars, first), *_drawn(v, outside)]),
        alt=" ".join(
            [f"{s.label}: mean {figure4(s.mean)}, SD {figure4(s.sd)}." for s in strips]
            + [f"{bar.label}: {bar.text}." for bar in bars]
        ),
        warnings=(),
        x_label=v.quantity,
        strips=strips,
        bars=bars,
        limits=limits,
    )


def _strips(
    comparison: Comparison, v: Varying, alone: Array | None, true: Array | None, first: str
) -> tuple[Strip, ...]:
    found = []
    if true is not None:
        found.append(_strip("true", "", TRUE, true))
    if alone is not None and np.isfinite(alone).sum() > 1:
        found.append(_strip("own", "no_pooling", f"{ALONE} ({v.own_label}s)", alone))
    found.append(_new(comparison, v, first))
    for name, fit in comparison.fits.items():
        values = coefficients(fit, v)
        if name not in UNPOOLED and np.isfinite(values).sum() > 1:
            found.append(_strip("estimator", name, style.title_of(name), values))
    return tuple(found)


def _strip(kind: str, estimator: str, label: str, values: Array) -> Strip:
    known = np.sort(values[np.isfinite(values)])
    if len(known) > DOTS:
        drawn = np.quantile(known, (np.arange(DOTS) + 0.5) / DOTS)
    else:
        drawn = known
    return Strip(kind, estimator, label, drawn, _aside(drawn), float(known.mean()), variance_of(known) ** 0.5)


def _new(comparison: Comparison, v: Varying, first: str) -> Strip:
    """What the model gives to groups that it has not seen, as evenly spaced quantiles."""
    tau, count = spread_of(comparison.fits[first], v) ** 0.5, min(len(v.levels), DOTS)
    normal = [NormalDist().inv_cdf((k + 0.5) / count) for k in range(count)]
    mean = population(comparison.fits[first], v)
    values = mean + tau * np.array(normal)
    return Strip("new", first, f"{NEW} ({style.title_of(first)})", values, _aside(values), mean, tau)


def _aside(values: Array) -> Array:
    """Where dots of a strip stand: the denser, the farther apart, in a fixed order that fills the room evenly."""
    count = len(values)
    if count <= 12 or np.ptp(values) == 0:
        return np.zeros(count)
    width = np.ptp(values) / 24
    dense = (np.searchsorted(values, values + width) - np.searchsorted(values, values - width)).astype(float)
    turn = (np.arange(count) * 0.6180339887498949) % 1.0  # the golden ratio's multiples
    return np.asarray((2 * turn - 1) * dense / dense.max())


def _bars(comparison: Comparison, v: Varying, alone: Array | None, true: Array | None, first: str) -> tuple[Bar, ...]:
    found = []
    raw = None if alone is None else own_parts(first, comparison.fits[first], v, alone)
    if raw is not None:
        names = ("τ²", "mean sampling variance", "variance of own values")
        found.append(Bar(f"{ALONE} ({style.title_of(first)})", raw, names, _sum(raw, "variance of own values")))
    for name, fit in comparison.fits.items():
        parts = None if name in (*UNPOOLED, *HELD) else shrunken_parts(name, fit, v)
        if parts is not None:
            posterior = fit.group_effects[v.block].effect.std_error_kind.startswith("posterior")
            kind, whole = ("posterior", "mean τ²") if posterior else ("conditional", "τ²")
            names = ("variance of estimates", f"mean {kind} variance", whole)
            found.append(Bar(style.title_of(name), parts, names, _sum(parts, whole)))
    return tuple(found)


def _sum(parts: Parts, whole: str) -> str:
    added = f"{summand(parts.first)} + {summand(parts.second)}"
    if parts.lawful and parts.off == 0:
        return f"{added} = {summand(parts.whole)} = {whole}"
    return f"{added} = {summand(parts.total)}; {whole} {summand(parts.whole)}"


def summand(value: float) -> str:
    """A number of a sum: four digits throughout in powers of ten, thousands set off from 10,000 on.

    Examples
    --------
    >>> summand(1.36e-18), summand(580299.0), summand(2.5)
    ('1.360e-18', '580,299', '2.5')
    """
    text = figure4(value)
    if "e" in text:
        mantissa, _, power = f"{value:.3e}".partition("e")
        return f"{mantissa}e{int(power)}"
    return f"{int(text):,}" if abs(value) >= 1e4 else text


def _frame(strips: Sequence[Strip]) -> tuple[tuple[float, float], int]:
    """Limits of the axis of values, and how many own values drawn lie outside them."""
    tight = [s.values for s in strips if s.kind != "own"]
    bars = [np.array([s.mean - s.sd, s.mean + s.sd]) for s in strips]
    wide = [s.values for s in strips if s.kind == "own"]
    if wide and len(wide[0]) > PLAIN:
        kept = [np.quantile(wide[0], [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2])]
    else:
        kept = wide
    low, high = style.limits(*tight, *bars, *kept)
    out = int(sum(((w < low) | (w > high)).sum() for w in wide))
    return (low, high), out


# --- words --------------------------------------------------------------------------------------------


def _caption(v: Varying, strips: Sequence[Strip], bars: Sequence[Bar], first: str) -> list[str]:
    by = {s.kind: s for s in strips if s.kind != "estimator"}
    J, title = len(v.levels), style.title_of(first)
    dots = f"One dot per level of {v.group}" if J <= DOTS else f"Dots: {DOTS} quantiles of {J:,} levels of {v.group}"
    said = [
        f"{dots}; bars: mean ± SD{' of all' * (J > DOTS)}.",
        f"New groups: {min(J, DOTS)} quantiles of N(μ, τ²), as {title} has them.",
    ]
    held = next((s for s in strips if s.kind == "estimator" and s.estimator == first), None)
    if held is not None:
        alone = f"Own values have an SD of {figure4(by['own'].sd)}. " if "own" in by else ""
        true = f"; the true values' SD is {figure4(by['true'].sd)}" if "true" in by else ""
        said.append(
            f"{alone}{title}'s estimates have an SD of {figure4(held.sd)}; its τ is {figure4(by['new'].sd)}{true}."
        )
    if bars:
        given = any(bar.names[1] == "mean conditional variance" for bar in bars)
        known = "; conditional variances take the population values as known" if given else ""
        said += [f"Below, variances (divisor J - 1{known}).", *(_law(bar) for bar in bars[:2])]
    if any("posterior" in bar.names[1] for bar in bars):
        said.append("A posterior variance of effects holds that of the population value and of τ too.")
    if not all(bar.parts.lawful for bar in bars):
        said.append("Posterior values of groups also covary, so that their sum is not E[τ² | y]: they have no tick.")
    return said


def _law(bar: Bar) -> str:
    one, two, whole = bar.names
    sum_of = f"{bar.label}: {one} and {two} add up to"
    if bar.parts.lawful and bar.parts.off == 0:
        return f"{sum_of} the {whole}, to rounding."
    if not bar.parts.lawful:
        return f"{sum_of} {figure4(bar.parts.total)}; the {whole} is {figure4(bar.parts.whole)}."
    return f"{sum_of} {figure4(bar.parts.total)}, where the {whole} is {figure4(bar.parts.whole)}."


def _drawn(v: Varying, outside: int) -> list[str]:
    if not outside:
        return []
    many = f"{outside} own values drawn lie" if outside > 1 else "1 own value drawn lies"
    return [f"{many} outside the frame."]


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes: the strips, and the sums of variances where there are some.

    A given `ax` is divided among the panels and becomes the first of them.
    """
    rows = 2 if seen.bars else 1
    tall = [0.52 * len(seen.strips) + 0.4, 0.62 * len(seen.bars) + 0.35][:rows]
    if ax is None:
        figure = style.new_figure(9.0, sum(tall) + 1.1 + 0.75 * (rows - 1))
        grid = figure.subplots(rows, 1, squeeze=False, height_ratios=tall)
        places = [grid[k][0] for k in range(rows)]
    else:
        places = [row[0] for row in style.divide(ax, rows, 1, tall)]
    _draw_strips(places[0], seen)
    if rows == 2:
        _draw_bars(places[1], seen)
    return tuple(places)


def _draw_strips(ax: Axes, seen: View) -> None:
    beside = LETTER * max(len(strip.label) for strip in seen.strips) + 1.0
    style.frame(ax, seen.title, "", seen.x_label, beside)
    ax.grid(False)
    names = [s.estimator for s in seen.strips if s.kind == "estimator"]
    for k, strip in enumerate(seen.strips):
        look = {
            "true": style.Look(style.TRUTH, "o"), "own": style.LOOKS["no_pooling"],
            "new": style.Look(style.FAINT, "o"),
        }.get(strip.kind) or style.look(strip.estimator, names)  # fmt: skip
        count, y = len(strip.values), -float(k)
        size = (44.0 if count <= 30 else 18.0 if count <= PLAIN else 9.0) / style.shrink(count)
        style.points(ax, strip.values, y + 0.1 + 0.26 * strip.aside, look, f"_{strip.label}", size, linewidths=1.0)
        ends = [strip.mean - strip.sd, strip.mean + strip.sd]
        ax.plot(ends, [y - 0.27] * 2, color=style.INK, linewidth=1.6, zorder=5, marker="|", markersize=7)
        ax.text(
            1.01, y, f"SD {figure4(strip.sd)}", transform=ax.get_yaxis_transform(), va="center", fontsize=style.SMALL,
            color=style.INK,
        )  # fmt: skip
        if k:
            ax.axhline(y + 0.5, color=style.RULE, linewidth=0.6, zorder=0.5)
    ax.set_ylim(-len(seen.strips) + 0.45, 0.55)
    ax.set_yticks([-k for k in range(len(seen.strips))], labels=[s.label for s in seen.strips], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(*seen.limits)


def _draw_bars(ax: Axes, seen: View) -> None:
    from matplotlib.ticker import FuncFormatter

    style.frame(ax, "", "", "variance")
    ax.grid(False)
    if max(bar.parts.total for bar in seen.bars) >= 1e4:  # written out, as the sums are
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        ax.locator_params(axis="x", nbins=6)
    largest = max(max(bar.parts.total, bar.parts.whole if bar.parts.lawful else 0.0) for bar in seen.bars)
    for k, bar in enumerate(seen.bars):
        y, left = -float(k), 0.0
        colours = (SECOND, "#D9DCE0") if bar.names[0] == "τ²" else (FIRST, SECOND)
        hatches = ("", "///") if bar.names[0] == "τ²" else ("", "...")
        for value, colour, hatch in zip((bar.parts.first, bar.parts.second), colours, hatches, strict=True):
            ax.barh(
                y - 0.14, value, left=left, height=0.42, color=colour, hatch=hatch, edgecolor="white", linewidth=0,
                zorder=2,
            )  # fmt: skip
            left += value
        if bar.parts.lawful:
            ax.plot([bar.parts.whole] * 2, [y - 0.4, y + 0.1], color=style.INK, linewidth=2.2, zorder=4)
        ax.text(
            0.004 * largest, y + 0.23, bar.text, va="center", fontsize=style.SMALL, color=style.INK, parse_math=False
        )
    ax.set_ylim(-len(seen.bars) + 0.45, 0.5)
    ax.set_xlim(0.0, 1.06 * largest if largest > 0 else 1.0)
    ax.set_yticks([-k for k in range(len(seen.bars))], labels=[bar.label for bar in seen.bars], parse_math=False)
    ax.tick_params(axis="y", length=0)
    _bar_legend(ax, seen)


def _bar_legend(ax: Axes, seen: View) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    raw, lawful = any(bar.names[0] == "τ²" for bar in seen.bars), any(bar.parts.lawful for bar in seen.bars)
    handles = [
        Patch(facecolor=FIRST, label="variance of estimates"),
        Patch(facecolor=SECOND, hatch="...", edgecolor="white", label="mean conditional or posterior variance"),
        *([Patch(facecolor=SECOND, label="τ²")] if raw else []),
        *([Patch(facecolor="#D9DCE0", hatch="///", edgecolor="white", label="mean sampling variance")] if raw else []),
        *([Line2D([], [], color=style.INK, linewidth=2.2, label="what they should make up")] if lawful else []),
    ]
    style.legend_of(ax, handles, 2)

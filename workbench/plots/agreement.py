"""Two estimators' group coefficients against each other, and their difference against their mean.

The difference panel is Bland & Altman's (1986, doi:10.1016/S0140-6736(86)90837-8): mean difference and limits of
agreement, mean +- 1.96 SD. How large a difference is, is told by what the estimates may miss by: a second axis counts
it in the median group's standard errors. A difference that is rounding is not magnified.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.plots import style
from workbench.plots.ordering import SAME, estimated, known
from workbench.plots.varying import PARTIAL, UNPOOLED, Varying, column, figure4, printable, varying
from workbench.words import count, level_in_words, middle_cut, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

PAIRS = 3
"""So many pairs stand side by side where none is named."""
AGAINST = ("fixed_prior", "hierarchical", "exact")
"""What the one estimator is held against, in this order; others follow."""
POINTS = 2_000
"""Up to so many groups are points; more are counted in hexagons."""
HEXAGONS = 44
LIMITS = 1.96
"""SDs from the mean difference to the limits of agreement."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """Two estimators of the same groups.

    Attributes
    ----------
    one, other, one_title, other_title : str
    levels : tuple of str, m of them
        Those that both estimate.
    x, y : array, shape (m,)
        Coefficients of `one` and of `other`.
    difference, mean : array, shape (m,)
        `y - x`, zero where all of it is rounding; and the mean of both.
    rounding : bool
        Whether no difference is as large as 1e-9 of the range.
    error : float
        The median standard error; NaN where neither has any.
    error_kind : str
        Whose it is, and which.
    largest : int
        Where the difference is largest.
    in_errors : float
        The largest ratio of a difference to its own group's standard error.
    largest_in_errors : int
        Where that is; `largest` where there are no standard errors.
    """

    one: str
    other: str
    one_title: str
    other_title: str
    levels: tuple[str, ...]
    x: Array
    y: Array
    difference: Array
    mean: Array
    rounding: bool
    error: float
    error_kind: str
    largest: int
    in_errors: float
    largest_in_errors: int

    @property
    def limits(self) -> tuple[float, float, float]:
        """Lower limit of agreement, mean difference, upper limit."""
        centre = float(self.difference.mean())
        if abs(centre) < SAME * float(np.abs(self.difference).max(initial=0.0)):
            centre = 0.0
        reach = LIMITS * float(self.difference.std(ddof=1)) if len(self.levels) > 2 else np.nan
        return centre - reach, centre, centre + reach


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, quantity : str
    warnings : tuple of str
    pairs : tuple of Pair
        One to three.
    """

    title: str
    caption: str
    alt: str
    quantity: str
    warnings: tuple[str, ...]
    pairs: tuple[Pair, ...]


def applies(comparison: Comparison) -> bool:
    """Whether an estimator that pools partially stands beside another, for every term."""
    return all(_default(comparison, v, None) for v in varying(comparison))


def view(comparison: Comparison, v: Varying, one: str | None = None, other: str | None = None) -> View:
    """Lay out one pair of estimators, or those that matter: REML against fixed prior, full Bayes and one more.

    Raises
    ------
    OptionError
        No fit of such a name, both the same, or no two with coefficients of the same groups.
    """
    for name in (one, other):
        if name is not None:
            known(comparison, name)
    if one is not None and one == other:
        raise OptionError(f"one and other are both {one!r}, which agrees with itself. Name two estimators.")
    if other is not None:
        first = one or next((name for name, _ in _default(comparison, v, None) if name != other), None)
        first = first or next((name for name in estimated(comparison, v) if name != other), other)
        names = [(first, other)]
    else:
        names = _default(comparison, v, one)
    pairs = [_pair(comparison, v, *both) for both in names]
    there = tuple(pair for pair in pairs if pair is not None)
    if not there:
        raise OptionError(
            f"No two estimators here have coefficients of {v.term} of the same groups to hold against each other."
        )
    several = f", by {printable(v.group, 40)}" if len(comparison.design.groups) > 1 else ""
    return View(
        title=f"Agreement of estimators: {printable(v.quantity, 60)}{several}",
        caption=" ".join(filter(None, [*(_said(v, pair) for pair in there), _guide(there)])),
        alt=" ".join(
            [f"Coefficients of {count(len(v.levels), 'group')} of {v.group} by pairs of estimators.", *map(_alt, there)]
        ),
        quantity=v.quantity,
        warnings=(),
        pairs=there,
    )


def _default(comparison: Comparison, v: Varying, one: str | None) -> list[tuple[str, str]]:
    """The pairs that matter: one estimator against the fixed prior, full Bayes, and others."""
    names = list(estimated(comparison, v))
    pooling = [name for name in names if name not in UNPOOLED]
    ranked = [*(name for name in PARTIAL if name in pooling), *(name for name in pooling if name not in PARTIAL)]
    hub = one or next(iter(ranked), None)
    if hub is None:
        return []
    rest = [*(name for name in AGAINST if name in pooling), *(name for name in pooling if name not in AGAINST)]
    rest = [name for name in rest if name != hub] or [name for name in names if name == "no_pooling" and name != hub]
    return [(hub, name) for name in rest[:PAIRS]]


def _pair(comparison: Comparison, v: Varying, one: str, other: str) -> Pair | None:
    parts = [comparison.fits[name].group_effects[v.block].coefficient for name in (one, other)]
    x, y = (column(part, v, "estimate") for part in parts)
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(both):
        return None
    x, y = x[both], y[both]
    difference, every = y - x, np.concatenate([x, y])
    width = float(np.ptp(every))
    rounding = bool(np.abs(difference).max() < SAME * (width or float(np.abs(every).max()) or 1.0))
    if not np.ptp(x) and not np.ptp(y):  # two spreads of zero: the range is the difference itself
        rounding = bool(np.abs(difference).max() < SAME * float(np.abs(every).max() or 1.0))
    if rounding:
        difference = np.zeros_like(difference)
    errors, kind = np.full(len(both), np.nan), ""
    for name, part in zip((one, other), parts, strict=True):
        own = column(part, v, "std_error")[both]
        if (own > 0).any():
            errors, kind = own, f"{style.title_of(name)} ({part.std_error_kind})"
            break
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(difference) / errors
    largest = int(np.abs(difference).argmax())
    most = int(np.nanargmax(ratio)) if kind else largest
    return Pair(
        one=one,
        other=other,
        one_title=style.title_of(one),
        other_title=style.title_of(other),
        levels=tuple(v.levels[j] for j in both.tolist()),
        x=x,
        y=y,
        difference=difference,
        mean=(x + y) / 2,
        rounding=rounding,
        error=float(np.nanmedian(errors)) if kind else np.nan,
        error_kind=kind,
        largest=largest,
        in_errors=float(ratio[most]) if kind else np.nan,
        largest_in_errors=most,
    )


# --- words --------------------------------------------------------------------------------------------


def _said(v: Varying, pair: Pair) -> str:
    """How far the two lie apart."""
    both = f"{pair.other_title[:1].upper()}{pair.other_title[1:]} and {pair.one_title}"
    if pair.rounding:
        return f"{both} give the same to rounding."
    missing = len(v.levels) - len(pair.levels)
    among = f" (of the {count(len(pair.levels), 'group')} that both estimate)" if missing else ""
    j, k = pair.largest, pair.largest_in_errors
    errors = f", at most {figure4(pair.in_errors)} of a group's standard error" if np.isfinite(pair.in_errors) else ""
    if errors and k != j:
        errors += f" (at {level_in_words(v.group, pair.levels[k])})"
    rms = float(np.sqrt(np.mean(pair.difference**2)))
    most, where = figure4(abs(pair.difference[j])), level_in_words(v.group, pair.levels[j])
    return f"{both} lie at most {most} apart, at {where}{errors}; root mean square {figure4(rms)}{among}."


def _guide(pairs: tuple[Pair, ...]) -> str:
    """What lines and axes are."""
    said = ["Grey line: equality."]
    if any(not pair.rounding for pair in pairs):
        said.append("Differences: solid, their mean; dashed, limits of agreement (mean ± 1.96 SD).")
    kinds = dict.fromkeys(pair.error_kind for pair in pairs if pair.error_kind)
    if kinds:
        said.append(f"Right-hand axis: in the median group's standard errors, those of {' and '.join(kinds)}.")
    if any(len(pair.levels) > POINTS for pair in pairs):
        said.append("Hexagons: the darker, the more groups, on a logarithmic scale.")
    return " ".join(said)


def _alt(pair: Pair) -> str:
    if pair.rounding:
        return f"{pair.other_title} equals {pair.one_title} to rounding."
    low, centre, high = pair.limits
    ends = f", limits of agreement {figure4(low)} and {figure4(high)}" if np.isfinite(low) else ""
    return (
        f"{pair.other_title} minus {pair.one_title}: mean {figure4(centre)}{ends}, "
        f"from {figure4(pair.difference.min())} to {figure4(pair.difference.max())}"
        + (f"; median standard error {figure4(pair.error)}." if pair.error_kind else ".")
    )


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes: the scatters, then the differences.

    A single pair has its panels side by side, several have theirs below one another. A given `ax` is divided among the
    panels and becomes the first.
    """
    across = len(seen.pairs)
    height, width = (1, 2) if across == 1 else (2, across)
    if ax is None:
        figure = style.new_figure(9.6 if across < 3 else 11.0, 4.8 if across == 1 else 8.0 if across == 2 else 7.0)
        figure.suptitle(
            fill(seen.title, 80), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False,
        )  # fmt: skip
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    else:
        places = style.divide(ax, height, width)
        ax.set_title(seen.title, loc="left", fontsize=style.TEXT, color=style.INK, parse_math=False)
    flat = [place for row in places for place in row]
    for k, pair in enumerate(seen.pairs):
        _draw_scatter(flat[k], pair, seen)
        _draw_difference(flat[across + k], pair, seen)
    return tuple(flat)


def _look(pair: Pair, seen: View) -> style.Look:
    return style.look(pair.other, [name for p in seen.pairs for name in (p.one, p.other)])


def _marks(ax: Axes, x: Array, y: Array, pair: Pair, seen: View) -> None:
    if len(x) > POINTS:
        low, high = ax.get_ylim()
        left, right = ax.get_xlim()
        ax.hexbin(
            x, y, gridsize=HEXAGONS, mincnt=1, bins="log", cmap="Greys", vmin=0.4, linewidths=0.2,
            extent=(left, right, low, high), zorder=3,
        )  # fmt: skip
    else:
        style.points(ax, x, y, _look(pair, seen), pair.other_title, size=38)


def _draw_scatter(ax: Axes, pair: Pair, seen: View) -> None:
    style.frame(ax, "", pair.other_title, "")
    ax.set_xlabel(
        fill(f"{pair.one_title}: {printable(seen.quantity, 48)}", 34 if len(seen.pairs) > 1 else 50),
        fontsize=style.TEXT, color=style.INK, parse_math=False,
    )  # fmt: skip
    ax.grid(True, axis="both", color=style.RULE, linewidth=0.6)
    ends = style.limits(pair.x, pair.y)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_aspect("equal", adjustable="box")
    ax.locator_params(nbins=5)
    ax.plot(ends, ends, color=style.MUTED, linewidth=1.2, zorder=2, label="equality")
    _marks(ax, pair.x, pair.y, pair, seen)


def _draw_difference(ax: Axes, pair: Pair, seen: View) -> None:
    narrow = len(seen.pairs) > 1
    words = f"{pair.other_title} − {pair.one_title}"
    style.frame(ax, "", fill(words, 30), "mean of the two")
    ax.set_xlim(*style.limits(pair.mean))
    ax.locator_params(axis="x", nbins=5)
    low, centre, high = pair.limits
    if pair.rounding:
        reach = pair.error if np.isfinite(pair.error) else float(np.ptp(pair.mean)) or 1.0
        ax.set_ylim(-reach, reach)
    else:
        ax.set_ylim(*style.limits(pair.difference, np.array([0.0, low, high]), room=0.14))
    ax.axhline(0.0, color=style.MUTED, linewidth=1.2, zorder=2)
    if pair.rounding:
        ax.text(
            0.5, 0.93, "the same to rounding", transform=ax.transAxes, ha="center", va="top", fontsize=style.SMALL + 1,
            color=style.INK,
        )  # fmt: skip
    else:
        for value, dashes in ((centre, "-"), (low, (0, (5, 3))), (high, (0, (5, 3)))):
            if np.isfinite(value):
                ax.axhline(value, color=style.INK, linewidth=1.0, linestyle=dashes, zorder=2.5)
    _marks(ax, pair.mean, pair.difference, pair, seen)
    if not pair.rounding and len(pair.levels) > 2:
        _name_largest(ax, pair)
    if np.isfinite(pair.error):
        _count_errors(ax, pair, narrow)


def _name_largest(ax: Axes, pair: Pair) -> None:
    """The name of the group that lies farthest off, beyond its mark, where no other is."""
    j = pair.largest
    left, right = ax.get_xlim()
    along, up = (pair.mean[j] - left) / (right - left), pair.difference[j] > 0
    ax.annotate(
        middle_cut(pair.levels[j], 18), (pair.mean[j], pair.difference[j]), xytext=(0, 6 if up else -6),
        textcoords="offset points", ha="left" if along < 0.2 else "right" if along > 0.8 else "center",
        va="bottom" if up else "top", fontsize=style.SMALL, color=style.INK,
        parse_math=False, zorder=3.8,  # over lines, which its ground hides, and under marks
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )  # fmt: skip


def _count_errors(ax: Axes, pair: Pair, narrow: bool) -> None:
    """A second axis that counts the difference in standard errors."""
    from matplotlib.ticker import FuncFormatter

    error: Any = pair.error
    axis = ax.secondary_yaxis("right", functions=(lambda d: d / error, lambda z: z * error))
    axis.set_ylabel("in standard errors", fontsize=style.SMALL if narrow else style.TEXT, color=style.MUTED)
    axis.tick_params(colors=style.MUTED, labelsize=style.SMALL, length=3)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda z, _: minus(figure4(z))))
    axis.spines["right"].set_color(style.FAINT)

"""Predictive checks: data that a model makes beside the data it was given, and statistics of both.

The first panel overlays replications of the response on the response: densities of measurements, bars of counts and
shares. The others show a statistic's distribution over replications with new groups, and its observed value
(:mod:`workbench.sampling.checks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.plots import style
from workbench.plots.varying import Varying, figure4, measured, printable
from workbench.sampling.predictive import LIMIT
from workbench.words import fixed, join, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit
    from workbench.sampling.checks import Check

Array = NDArray[np.float64]

LINES = 50
"""Replications that are drawn as lines."""
BARS = 200
"""Replications that the intervals of bars are of."""
GRID = 256
BINS = 24
"""Bars at the most."""
FEWEST = 10
"""Replications of very many rows."""
TALL = 2.5
"""The frame ends at so many times the observed density's peak."""
DOUBLING = 4.0
"""Bars double in width where replicated counts reach beyond so many times the largest observed one."""
TIE = 1e-9
"""Shares as near as this below an edge of a bar belong to the bar above: 3/5 is not quite 0.6."""
FAR = 0.01
"""A p-value this close to 0 or 1 is warned of."""
DISCRETE = ("binomial", "poisson")


@dataclass(frozen=True, eq=False, kw_only=True)
class Overlay:
    """The response and its replications.

    Attributes
    ----------
    kind : "density" or "bars"
    x : array, shape (G,)
        Where densities are, or the middles of bars.
    observed : array, shape (G,)
        Density, or number of rows.
    replicated : array, shape (R, G)
        Densities of R replications; of bars their 5 %, 50 % and 95 % quantiles.
    width : float
        Of bars.
    count : int
        R.
    whole, open : bool
        Of bars: whether their values are whole numbers, and whether the last one holds all larger ones too.
    labels : tuple of str
        Of bars whose widths double: the counts that each holds; `x` then numbers them.
    """

    kind: str
    x: Array
    observed: Array
    replicated: Array
    width: float
    count: int
    whole: bool = False
    open: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data; `checks` is empty where replications are the prior's."""

    title: str
    caption: str
    alt: str
    x_label: str
    warnings: tuple[str, ...]
    estimator: str
    estimator_title: str
    overlay: Overlay
    checks: tuple[Check, ...]


def applies(comparison: Comparison) -> bool:
    """Whether some fit has draws."""
    return any(fit.sampled is not None for fit in comparison.fits.values())


def prior_applies(comparison: Comparison) -> bool:
    """Whether some fit has draws, and priors that can be drawn from."""
    return applies(comparison) and all(
        prior.kind != "Flat" for prior in sampled_fit(comparison).sampled.priors.values()
    )


def sampled_fit(comparison: Comparison, estimator: str | None = None) -> Fit:
    """The fit named, or the first with draws; OptionError where it has none."""
    able = {name: fit for name, fit in comparison.fits.items() if fit.sampled is not None}
    if not able:
        raise OptionError(
            "No fit here has draws to predict from. Compare with hierarchical, or with exact and "
            'options={"exact": {"draws": 1000}}.'
        )
    if estimator is None:
        return next(iter(able.values()))
    if estimator not in able:
        raise OptionError(f"There is no fit with draws of {estimator!r} here. {nearest(estimator, able)}")
    return able[estimator]


def view(comparison: Comparison, terms: tuple[Varying, ...] = (), estimator: str | None = None) -> View:
    """Lay out the posterior's replications and their statistics."""
    from workbench.sampling.checks import checks, some
    from workbench.sampling.predictive import predicted

    fit = sampled_fit(comparison, estimator)
    design, sampled = fit.design, fit.sampled
    rng = np.random.default_rng([sampled.seed, 4])
    drawn = some(sampled.drawn, _replications(design))
    overlay = _overlay(design, predicted(design, drawn, rng)[0])
    found = checks(sampled)
    group, title = printable(design.blocks[0].group, 40), style.title_of(fit.estimator)
    said = [f"{check.name} {figure4(check.observed)}, p = {fixed(check.p, 2)}" for check in found]
    far = [check.name for check in found if min(check.p, 1 - check.p) < FAR]
    return View(
        title=f"What the model would have made: {printable(measured(design), 60)}",
        caption=(
            f"Replications by {title}. {_overlay_words(overlay, len(design.y))} The other panels: each statistic over "
            f"{len(found[0].replicated):,} replications with new groups of {group}, and as observed (line); p is the "
            "share of replications above it. Close to 0 or 1 the model does not make such data."
        ),
        alt=f"Posterior predictive check of {title} by {group}: {'; '.join(said)}.",
        x_label=measured(design),
        warnings=(f"The model hardly makes such data: see {join(far)}.",) if far else (),
        estimator=fit.estimator,
        estimator_title=title,
        overlay=overlay,
        checks=found,
    )


def prior_view(comparison: Comparison, terms: tuple[Varying, ...] = (), estimator: str | None = None) -> View:
    """Lay out the prior's replications: what was thought possible before the data.

    Raises
    ------
    PriorError
        A prior that cannot be drawn from.
    """
    from workbench.sampling.predictive import predicted, prior_draws

    fit = sampled_fit(comparison, estimator)
    design, sampled = fit.design, fit.sampled
    rng = np.random.default_rng([sampled.seed, 5])
    drawn = prior_draws(design, sampled.priors, rng, _replications(design))
    y = predicted(design, drawn, rng)[0]
    overlay = _overlay(design, y, wide=True)
    words = _foreseen(y)
    observed = f"the observed ones between {figure4(design.y.min())} and {figure4(design.y.max())}"
    title = style.title_of(fit.estimator)
    return View(
        title=f"What the priors foresee: {printable(measured(design), 60)}",
        caption=(
            f"Replications by the priors of {title} alone. {_overlay_words(overlay, design.n)} "
            f"{words[0].upper()}{words[1:]}; {observed}."
        ),
        alt=f"Prior predictive check of {title}: {words}, {observed}.",
        x_label=measured(design),
        warnings=(),
        estimator=fit.estimator,
        estimator_title=title,
        overlay=overlay,
        checks=(),
    )


def _foreseen(y: Array) -> str:
    """Between which two values nine of ten lie; of values that repeat, which share does, and how many are at the ends.

    Examples
    --------
    >>> _foreseen(np.arange(101.0))
    '9 of 10 values that the priors foresee lie between 5 and 95'
    >>> _foreseen(np.repeat([0.0, 0.5, 1.0], [30, 50, 20]))
    'all values that the priors foresee lie between 0 and 1, 30.0 % of them at 0 and 20.0 % at 1'
    >>> _foreseen(np.repeat([0.0, 1.0, 9.0], [60, 37, 3]))
    '97.0 % of the values that the priors foresee lie between 0 and 1'
    """
    low, high = (float(q) for q in np.quantile(y, [0.05, 0.95], method="inverted_cdf"))
    inside, ends = float(np.mean((y >= low) & (y <= high))), f"lie between {figure4(low)} and {figure4(high)}"
    if inside == 1 and low == high:
        return f"all values that the priors foresee are {figure4(low)}"
    if inside == 1:
        at = [
            f"{percent(float(np.mean(y == end)))}{' of them' * (end == low)} at {figure4(end)}" for end in (low, high)
        ]
        return f"all values that the priors foresee {ends}, {' and '.join(at)}"
    many = "9 of 10 values" if abs(inside - 0.9) < 0.015 else f"{percent(inside)} of the values"
    return f"{many} that the priors foresee {ends}"


# --- the overlay --------------------------------------------------------------------------------------


def _replications(design: Design) -> int:
    """How many replications are overlaid: fewer of very many rows."""
    most = BARS if design.family in DISCRETE else LINES
    return min(most, max(FEWEST, LIMIT // design.n))


def _overlay(design: Design, replicated: Array, wide: bool = False) -> Overlay:
    """Densities, or bars; `wide` frames most of the replications too, not only the response."""
    y = np.asarray(design.y)
    if design.family in DISCRETE:
        return _bars(design, y, replicated, wide)
    middle = np.quantile(replicated, [0.02, 0.98] if wide else [0.002, 0.998])
    low, high = min(y.min(), middle[0]), max(y.max(), middle[1])
    iqr = float(np.subtract(*np.quantile(y, [0.75, 0.25])))
    scale = min(float(y.std(ddof=1)), iqr / 1.34) if iqr > 0 else float(y.std(ddof=1))
    bandwidth = max(0.9 * scale * len(y) ** -0.2, (high - low) / GRID)  # Silverman's (1986, eq. 3.31)
    edges = np.linspace(low - 3 * bandwidth, high + 3 * bandwidth, GRID + 1)
    x, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    reach = int(np.ceil(4 * bandwidth / step))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / bandwidth) ** 2)
    kernel /= kernel.sum()

    def density(values: Array) -> Array:
        counts = np.histogram(values, edges)[0] / (len(values) * step)
        return np.asarray(np.convolve(np.pad(counts, reach), kernel, mode="valid"))

    lines = np.stack([density(values) for values in replicated])
    return Overlay(kind="density", x=x, observed=density(y), replicated=lines, width=step, count=len(lines))


def _bars(design: Design, y: Array, replicated: Array, wide: bool) -> Overlay:
    """Numbers of rows by value, or by bins of equal width where the values are many."""
    top = max(float(y.max()), float(np.quantile(replicated, 0.95 if wide else 0.999)))
    whole = design.family == "poisson" or set(np.unique(y).tolist()) <= {0.0, 1.0}
    labels: tuple[str, ...] = ()
    if whole and top > DOUBLING * max(float(y.max()), 1.0) and top >= BINS:
        first = [0, *(2**k for k in range(int(np.log2(top)) + 1))]
        last = [*(value - 1 for value in first[1:]), 2 * first[-1] - 1]
        edges = np.array([*first, last[-1] + 1]) - 0.5
        labels = tuple(f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in zip(first, last, strict=True))
    elif whole:
        per = max(1, int(np.ceil((top + 1) / BINS)))
        edges = np.arange(-0.5, top + per + 0.5, per)
    else:
        edges = np.linspace(0, 1, 21) + np.array([*[-TIE] * 20, TIE])
    counts = np.stack([np.histogram(np.minimum(r, edges[-1]), edges)[0] for r in (y, *replicated)])
    return Overlay(
        kind="bars",
        x=np.arange(len(labels), dtype=float) if labels else (edges[1:] + edges[:-1]) / 2,
        observed=counts[0].astype(float),
        replicated=np.quantile(counts[1:], [0.05, 0.5, 0.95], axis=0),
        width=float(np.round(edges[1] - edges[0], 6)),
        count=len(replicated),
        whole=whole,
        open=bool(replicated.max() > edges[-1]),
        labels=labels,
    )


def _overlay_words(overlay: Overlay, n: int) -> str:
    if overlay.kind == "density":
        return f"Dark: the density of the {n:,} observed values; thin lines: of {overlay.count} replications."
    last = " Each bar holds twice as many counts as the one before." if overlay.labels else ""
    last += " The last bar holds all larger values too." if overlay.open else ""
    seen = f"Bars: the {n:,} observed rows; dots and lines: "
    return f"{seen}median and 90 % interval of {overlay.count} replications.{last}"


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes; a given `ax` is divided among the panels and becomes the first."""
    count = 1 + len(seen.checks)
    if count == 1:
        ax = ax or style.new_axes(9.0, 4.2)
        _draw_overlay(ax, seen, seen.title)
        return (ax,)
    height, width = (2, 2) if count > 3 else (1, count)
    if ax is None:
        figure = style.new_figure(9.0 if width < 3 else 11.0, 3.1 * height + 0.4)
        figure.suptitle(
            seen.title, x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False,
        )  # fmt: skip
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    else:
        places = style.divide(ax, height, width)
    flat = [place for row in places for place in row]
    _draw_overlay(flat[0], seen, "")
    for place, check in zip(flat[1:], seen.checks, strict=False):
        _draw_check(place, check, style.look(seen.estimator).colour)
    for place in flat[count:]:
        place.set_axis_off()
    return tuple(flat[:count])


def _draw_overlay(ax: Axes, seen: View, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    shown, colour = seen.overlay, style.look(seen.estimator).colour
    style.frame(ax, title, "density" if shown.kind == "density" else "rows", seen.x_label)
    if shown.kind == "density":
        for line in shown.replicated:
            ax.plot(shown.x, line, color=colour, alpha=0.3, linewidth=0.7)
        ax.plot([], [], color=colour, linewidth=1.4, label="replications")
        ax.plot(shown.x, shown.observed, color=style.INK, linewidth=2.2, label="observed")
        top = float(shown.observed.max())
        ax.set_ylim(0.0, 1.05 * np.clip(float(shown.replicated.max()), top, TALL * top))
        ax.set_xlim(shown.x[0], shown.x[-1])
    else:
        low, middle, high = shown.replicated
        ax.bar(shown.x, shown.observed, 0.86 * shown.width, color=style.FAINT, label="observed")
        ax.vlines(shown.x, low, high, color=colour, linewidth=2.0)
        ax.plot(shown.x, middle, "o", color=colour, markersize=4.5, label="replications")
        ax.set_ylim(0.0, 1.3 * max(float(shown.observed.max()), float(high.max())))  # the legend stands above
        if shown.labels:
            ax.set_xticks(shown.x[::2], shown.labels[::2], rotation=30, ha="right")
        elif shown.whole:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(8, len(shown.x))))
    ax.legend(frameon=False, fontsize=style.SMALL, labelcolor=style.INK, loc="upper right", handlelength=1.4)


def _draw_check(ax: Axes, check: Check, colour: str) -> None:
    style.frame(ax, "", "", check.name)
    low, high = style.limits(np.quantile(check.replicated, [0.0, 0.995]), np.array([check.observed]))
    ax.hist(check.replicated, bins=np.linspace(low, high, 41).tolist(), color=colour, alpha=0.55, linewidth=0)
    ax.axvline(check.observed, color=style.INK, linewidth=2.2)
    ax.set_xlim(low, high)
    ax.set_yticks([])
    beside = (0.03, "left") if check.observed > (low + high) / 2 else (0.97, "right")
    ax.text(
        beside[0], 0.97, f"p = {fixed(check.p, 2)}", transform=ax.transAxes, ha=beside[1], va="top",
        fontsize=style.SMALL, color=style.INK, parse_math=False,
    )  # fmt: skip

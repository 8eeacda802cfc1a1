"""The tau axis: what every group's estimate would be, were the spread between groups tau; and how likely each tau is.

After Gelman et al. (Bayesian Data Analysis, 3rd edition 2013, figures 5.5 and 5.6), made general: any varying term of
any gaussian design, the other variance parameters estimated anew at every tau by REML
(:mod:`workbench.inference.spread_path`), and uncorrelated terms of counts and shares by Laplace's approximation
(correlated ones have no path here). Beneath stand, on the same axis, the profile likelihood of tau and its posterior
with its prior. An estimator that settles on one tau reads the groups off on one upright line; full Bayes averages the
curves over the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, WorkbenchError
from workbench.inference.spread_likelihoods import feasible
from workbench.inference.spread_path import SpreadPath, spread_path
from workbench.plots import style
from workbench.plots.folding import folded, room
from workbench.plots.marginals import Marginal, integrated, marginal
from workbench.plots.tau_labels import dodged, spread_out
from workbench.plots.tau_words import INTERVAL, aloud, described, doubts, likely
from workbench.plots.varying import INTERCEPT, Varying, figure4, own, printable, told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

SETTLED = ("ml", "reml", "boundary_avoiding", "laplace", "agq")
"""Estimators that settle on one tau and are marked."""
ADDED = ("ml", "reml", "boundary_avoiding")
"""Those that are fitted for their mark where a comparison lacks them."""
MARKED = 50_000
"""Up to so many effects."""
ACROSS = 3_000
"""With several factors, reports have the picture up to so many effects."""
NAMED = 25
"""Up to so many levels, all have their names."""
EXTREME = 4
"""Of more, so many of the lowest and of the highest."""
LINES = 100
"""So many levels are drawn at most."""
PLAIN = 60
"""From so many lines on they are thin."""
MIDDLE = 0.96
"""Of many own estimates, this share stands inside the frame."""
HUES = ("#0072B2", "#D55E00", "#00795A", "#A4428A", "#7B5B00", "#3D3D3D")
DASHES: dict[str, Any] = {
    "ml": (0, (1, 1.4)), "reml": "-", "boundary_avoiding": (0, (6, 2)), "laplace": "-", "agq": (0, (1, 1.4)),
    "exact": (0, (6, 2, 1, 2)), "hierarchical": (0, (6, 2, 1, 2)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Mark:
    """Where an estimator puts tau, and the relative profile likelihood there."""

    estimator: str
    label: str
    tau: float
    relative: float


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label, profile_label, own_label : str
    warnings : tuple of str
    levels : tuple of str
        Those drawn, L of them.
    labels : tuple of (int, str)
        Which of them have their names at the right edge.
    tau : array, shape (K,)
    paths : array, shape (K, L)
    population : array, shape (K,)
    own : array, shape (L,)
        What groups say by themselves; NaN where that is nothing, or outside the frame.
    at, relative : array, shape (M,)
        The profile likelihood over its maximum.
    x, density : array, shape (X,)
        The posterior of tau; empty where there is none.
    prior : array, shape (X,), or None
    prior_label : str
    marks : tuple of Mark
    y_limits : pair of float
    """

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    x_label: str
    y_label: str
    profile_label: str
    own_label: str
    levels: tuple[str, ...]
    labels: tuple[tuple[int, str], ...]
    tau: Array
    paths: Array
    population: Array
    own: Array
    at: Array
    relative: Array
    x: Array
    density: Array
    prior: Array | None
    prior_label: str
    marks: tuple[Mark, ...]
    y_limits: tuple[float, float]


def applies(comparison: Comparison) -> bool:
    """Whether some fit has variances, and every varying term a path that is quick to follow."""
    if not any(fit.components for fit in comparison.fits.values()):
        return False
    design = comparison.design
    effects = sum(len(b.levels) * len(b.terms) for b in design.blocks)
    quick = len(design.groups) == 1 or effects <= ACROSS
    return quick and all(not feasible(design, place, 0) for place in range(len(design.blocks)))


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        A term of which the likelihood here has no path.
    """
    design = comparison.design
    why = feasible(design, v.block, v.column)
    if why:
        raise OptionError(f"The tau axis of {v.term} by {v.group} cannot be drawn: {why}.")
    name = f"sd({v.group}, {v.term})"
    posterior = marginal(comparison, name) or integrated(comparison, name)
    places = _places(comparison, v)
    wanted = [tau for _, _, tau in places] + ([posterior.median] if posterior else [])
    path = spread_path(design, v.block, v.column, posterior.far if posterior else 0.0, wanted)
    marks = _marks(places, posterior, path)
    alone = own(comparison, v)
    alone = np.full(len(v.levels), np.nan) if alone is None else alone
    drawn = _drawn(path, alone)
    limits, inside = _frame(path.coefficients[:, drawn], alone[drawn])
    end = float(path.tau[-1])
    x = _fine(path.where(1e-3), end) if posterior else np.empty(0)
    at, relative = _smooth(path)
    kept = np.where(inside, alone[drawn], np.nan)
    single = sum(len(block.terms) for block in design.blocks) == 1  # else other terms stay pooled at both ends
    way = "from complete to no pooling" if single else "as the SD grows from zero"
    return View(
        title=f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}, {way}",
        caption=" ".join([*described(design, v, path, alone, kept, len(drawn)), *likely(path, posterior, places)]),
        alt=aloud(path, posterior, [(m.label, m.tau, m.relative) for m in marks]),
        warnings=doubts(path),
        x_label=f"τ, the SD of {_of(v)} between levels of {v.group}",
        y_label=v.quantity,
        profile_label=f"{path.criterion} profile",
        own_label=v.own_label,
        levels=tuple(v.levels[j] for j in drawn),
        labels=_labels(v, path, drawn),
        tau=path.tau,
        paths=path.coefficients[:, drawn],
        population=path.population,
        own=kept,
        at=at,
        relative=relative,
        x=x,
        density=posterior.density(x) if posterior else x,
        prior=posterior.prior_density(x) if posterior else None,
        prior_label=f"prior {posterior.prior}" if posterior else "",
        marks=marks,
        y_limits=limits,
    )


def _of(v: Varying) -> str:
    return "intercepts" if v.term == INTERCEPT else f"coefficients of {printable(v.term)}"


def _places(comparison: Comparison, v: Varying) -> list[tuple[str, str, float]]:
    """Estimators that settle on one tau, with their titles and where: fits of the comparison first, else made here."""
    design = comparison.design
    effects = sum(len(b.levels) * len(b.terms) for b in design.blocks)
    added = ADDED if design.family == "gaussian" else () if "agq" in comparison.fits else ("laplace",)
    found = []
    for name in SETTLED:
        fit = comparison.fits.get(name)
        if fit is None and name in added and effects <= MARKED:
            fit = _made(name, design)
        if fit is not None:
            tau = float(fit.components[v.block].sd[v.column])
            if np.isfinite(tau):
                found.append((name, style.title_of(name), tau))
    return found


def _made(name: str, design: Design) -> Fit | None:
    from workbench.estimators import Settings, run_estimator

    try:
        return run_estimator(name, design, Settings())
    except WorkbenchError:  # no mode, no residual variance: there is no place to mark
        return None


def _marks(places: Sequence[tuple[str, str, float]], posterior: Marginal | None, path: SpreadPath) -> tuple[Mark, ...]:
    every = list(places)
    if posterior is not None:
        every.append((posterior.source or "exact", "posterior median", posterior.median))
    return tuple(Mark(name, label, tau, float(np.interp(tau, path.at, path.relative))) for name, label, tau in every)


def _drawn(path: SpreadPath, alone: Array) -> NDArray[np.intp]:
    """Which levels are drawn: all, or an even choice along the order of what they say at the right edge."""
    J = len(alone)
    if J <= LINES:
        return np.arange(J)
    order = np.argsort(path.coefficients[-1], kind="stable")
    return np.asarray(order[np.unique(np.linspace(0, J - 1, LINES).round().astype(np.intp))])


def _frame(paths: Array, alone: Array) -> tuple[tuple[float, float], NDArray[np.bool_]]:
    """The y axis's limits, and which of the own estimates stand within."""
    known = alone[np.isfinite(alone)]
    if not len(known):
        return style.limits(paths), np.zeros(len(alone), bool)
    ends = known if len(known) <= NAMED else np.quantile(known, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2])
    low, high = style.limits(paths, ends)
    return (low, high), np.isfinite(alone) & (alone >= low) & (alone <= high)


def _fine(where: tuple[float, float], end: float) -> Array:
    """Points all along the axis, closer where a curve has its peak."""
    low, high = where[0], min(where[1], end)
    return np.unique(np.concatenate([np.linspace(0.0, end, 301), np.linspace(low, high, 151)]))


def _smooth(path: SpreadPath) -> tuple[Array, Array]:
    """The relative profile likelihood, its log interpolated by monotone cubics through the points it was found at."""
    from scipy.interpolate import PchipInterpolator

    at = np.union1d(_fine(path.where(1e-3), float(path.at[-1])), path.at)
    log = PchipInterpolator(path.at, np.log(np.maximum(path.relative, 1e-300)))(at)
    return at, np.exp(np.minimum(log, 0.0))


def _labels(v: Varying, path: SpreadPath, drawn: NDArray[np.intp]) -> tuple[tuple[int, str], ...]:
    if len(drawn) <= NAMED:
        chosen = np.arange(len(drawn))
    else:
        order = np.argsort(path.coefficients[-1, drawn], kind="stable")
        chosen = np.sort(np.concatenate([order[:EXTREME], order[-EXTREME:]]))
    names = told_apart((v.levels[j] for j in drawn[chosen]), 18)
    return tuple(zip(chosen.tolist(), names, strict=True))


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes, from above: paths, profile, and the posterior where there is one.

    A given `ax` is divided among the panels and becomes the first of them.
    """
    rows = 3 if len(seen.x) else 2
    tall = [4.2, 1.2, 1.3][:rows]
    if ax is None:
        figure = style.new_figure(9.0, 1.25 * sum(tall) + 1.1)
        grid = figure.subplots(rows, 1, squeeze=False, height_ratios=tall)
        places = [grid[k][0] for k in range(rows)]
    else:
        places = [row[0] for row in style.divide(ax, rows, 1, tall)]
    _draw_paths(places[0], seen)
    _draw_profile(places[1], seen)
    if rows == 3:
        _draw_posterior(places[2], seen)
    for place in places:
        place.set_xlim(-0.012 * float(seen.tau[-1]), float(seen.tau[-1]))
        for mark in seen.marks:
            look = style.look(mark.estimator)
            place.axvline(
                mark.tau, color=look.colour, linewidth=1.3, linestyle=DASHES.get(mark.estimator, ":"), zorder=2.5
            )
    for place in places[:-1]:
        place.tick_params(axis="x", labelbottom=False)
    x_label = folded(seen.x_label, room(places[-1])[0], style.TEXT, lines=1)  # the legend stands below
    places[-1].set_xlabel(x_label, fontsize=style.TEXT, color=style.INK, parse_math=False)
    _legend(places[-1], seen)
    return tuple(places)


def _draw_paths(ax: Axes, seen: View) -> None:
    style.frame(ax, seen.title, seen.y_label)
    ax.set_ylim(*seen.y_limits)
    count, end = seen.paths.shape[1], float(seen.tau[-1])
    named = {k for k, _ in seen.labels}
    few = count <= NAMED
    order = np.argsort(np.argsort(seen.paths[-1], kind="stable"), kind="stable")
    across = ax.get_yaxis_transform()  # x in shares of the axis: beyond the right edge
    for k in range(count):
        told = few or k in named
        colour = HUES[order[k] % len(HUES)] if told else style.FAINT
        wide = 1.5 if told else 0.8 if count < PLAIN else 0.5
        ax.plot(seen.tau, seen.paths[:, k], color=colour, linewidth=wide, zorder=3 if told else 2, label="_")
        if np.isfinite(seen.own[k]) and (told or count <= PLAIN):
            ax.plot(
                [1.0, 1.035], [seen.paths[-1, k], seen.own[k]], color=colour, linewidth=0.7, linestyle=(0, (1, 1.5)),
                transform=across, clip_on=False, zorder=2,
            )  # fmt: skip
    known = np.isfinite(seen.own)
    ax.scatter(
        np.full(int(known.sum()), 1.035), seen.own[known], transform=across, clip_on=False, marker="x",
        s=30 if few else 12, linewidths=1.2 if few else 0.6,
        c=[HUES[order[k] % len(HUES)] if few or k in named else style.MUTED for k in np.flatnonzero(known)],
        zorder=4, label=seen.own_label,
    )  # fmt: skip
    ax.plot(seen.tau, seen.population, color=style.INK, linewidth=1.8, linestyle=(0, (5, 3)), zorder=4)
    ax.set_xlim(0.0, end)
    _name_lines(ax, seen, order)


def _name_lines(ax: Axes, seen: View, order: NDArray[np.intp]) -> None:
    """Names at the right edge, moved apart where they would overlap, with a thin line from each to its mark."""
    if not seen.labels:
        return
    figure = ax.get_figure(root=True)
    assert figure is not None
    low, high = seen.y_limits
    tall = 72 * ax.get_position().height * figure.get_figheight()  # points
    gap = 1.22 * style.SMALL / max(0.86 * tall, 1.0) * (high - low)
    ends = np.array([seen.own[k] if np.isfinite(seen.own[k]) else seen.paths[-1, k] for k, _ in seen.labels])
    ends = np.clip(ends, low, high)
    at = dodged(ends, gap) if len(seen.labels) * gap < 1.1 * (high - low) else spread_out(ends, low, high)
    across = ax.get_yaxis_transform()
    for (k, name), end, y in zip(seen.labels, ends, at, strict=True):
        colour = HUES[order[k] % len(HUES)]
        begin = 1.045 if np.isfinite(seen.own[k]) else 1.004
        ax.plot([begin, 1.075], [end, y], transform=across, clip_on=False, color=colour, linewidth=0.6, zorder=2)
        ax.text(
            1.08, y, name, transform=across, va="center", fontsize=style.SMALL, color=colour, parse_math=False,
            clip_on=False,
        )  # fmt: skip


def _draw_profile(ax: Axes, seen: View) -> None:
    style.frame(ax, "", f"{seen.profile_label}\nlikelihood")
    ax.plot(seen.at, seen.relative, color=style.INK, linewidth=1.6, zorder=3)
    ax.axhline(INTERVAL, color=style.MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1.5)
    in_words_way = (seen.relative > INTERVAL) & (seen.relative < INTERVAL + 0.25)
    quarter, three_quarters = np.quantile(seen.at, [0.25, 0.75])
    free_left = not in_words_way[seen.at <= quarter].any()
    x, side = (0.005, "left") if in_words_way[seen.at >= three_quarters].any() and free_left else (0.995, "right")
    ax.text(
        x, INTERVAL + 0.03, "95 % interval: above", transform=ax.get_yaxis_transform(), ha=side, va="bottom",
        fontsize=style.SMALL, color=style.MUTED,
    )  # fmt: skip
    for mark in seen.marks:
        style.points(
            ax, np.array([mark.tau]), np.array([mark.relative]), style.look(mark.estimator), "_" + mark.label, size=60
        )
    ax.set_ylim(0.0, 1.09)
    ax.set_yticks([0, 0.5, 1])


def _draw_posterior(ax: Axes, seen: View) -> None:
    style.frame(ax, "", "posterior and\nprior density")
    ax.fill_between(seen.x, seen.density, color="#CFE4DE", linewidth=0, zorder=1)
    ax.plot(seen.x, seen.density, color="#00604A", linewidth=1.6, zorder=3)
    if seen.prior is not None:
        ax.plot(seen.x, seen.prior, color=style.INK, linewidth=1.3, linestyle=(0, (4, 2)), zorder=3)
    tops = [seen.density.max(), *([] if seen.prior is None else [min(float(seen.prior.max()), 2 * seen.density.max())])]
    ax.set_ylim(0.0, 1.1 * float(max(tops)))
    ax.set_yticks([])


def _legend(ax: Axes, seen: View) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=DASHES.get(m.estimator, ":"), linewidth=1.3, marker=look.marker,
            markersize=7, markerfacecolor=look.colour if look.filled else "none", label=f"{m.label} {figure4(m.tau)}",
        )
        for m in seen.marks
        for look in (style.look(m.estimator),)
    ]  # fmt: skip
    handles.append(Line2D([], [], color=style.INK, linewidth=1.8, linestyle=(0, (5, 3)), label="population value"))
    if np.isfinite(seen.own).any():
        handles.append(Line2D([], [], color=style.MUTED, linestyle="none", marker="x", label=seen.own_label))
    if seen.prior is not None:
        handles.append(Line2D([], [], color=style.INK, linewidth=1.3, linestyle=(0, (4, 2)), label=seen.prior_label))
    style.legend_of(ax, handles, 3)

"""Group coefficients against the penalty: from no pooling on the left to complete pooling on the right.

Upright lines mark where lambda may come from: REML's variances, rows or whole groups left out, and the posterior of
sigma^2/tau^2, its median with its interval as a band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ComparisonError
from workbench.plots import style
from workbench.plots.varying import Varying, choose, figure4, printable
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.fit import Fit
    from workbench.penalised.paths import Ray

Array = NDArray[np.float64]

POINTS = 120
BEYOND = 300.0
"""The axis ends where lambda is so many times what the groups know most of, or least; marks farther out stretch it."""
LINES = 200
"""So many groups are drawn."""
NAMED = 14
"""Up to so many lines carry their groups' names."""
COLUMNS = 1_000
"""Up to so many penalised columns a report draws paths: of more, cross-validation alone takes from minutes to hours."""
DRAWS = 20_000
QUANTILES = (0.025, 0.5, 0.975)
WITHIN, GROUPS = style.Look("#0072B2", "v"), style.Look("#E69F00", "^")


@dataclass(frozen=True, eq=False)
class Mark:
    """A lambda, NaN or infinite where there is none on the axis; `low` and `high` are the ends of its band, if any."""

    label: str
    value: float
    look: style.Look
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    strength : array, shape (L,)
        lambda of the term, rising.
    coefficients : array, shape (L, K)
        Of the levels drawn.
    levels, labels : tuple of str
        Their names, and those that are written.
    marks : tuple of Mark
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    strength: Array
    coefficients: Array
    levels: tuple[str, ...]
    labels: tuple[str, ...]
    marks: tuple[Mark, ...]


def applies(comparison: Comparison) -> bool:
    """Whether there is a penalised fit to draw a path through, of so few columns that a report need not wait long."""
    columns = sum(len(block.levels) * len(block.terms) for block in comparison.design.blocks)
    return "penalized" in comparison.fits and columns <= COLUMNS


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the path of one varying term, along the ray of penalties through the fit of `penalized`."""
    from workbench.penalised.paths import Ray

    if "penalized" not in comparison.fits:
        raise ComparisonError("There is no fit of penalized in this comparison, so there is no path. Add it.")
    fit = comparison.fits["penalized"]
    ray = Ray.through(fit)
    unit = float(ray.at_one[ray.term(v.block, v.column)])
    marks = (*_maximised(comparison, v), *_left_out(ray, unit), *_posterior(comparison, v))
    strength = _axis(ray, unit, marks)
    c = ray.coefficients(strength[::-1] / unit, v.block, v.column)[::-1]
    shown = choose(v, c[0], "coefficients at the weakest penalty", LINES)
    kind = fit.diagnostics["kind"].replace("_", " ")
    off = [m.label for m in marks if not strength[0] <= m.value <= strength[-1]]
    others = [t.label for t in ray.terms if (t.place, t.k) != (v.block, v.column)]
    said = [f"{m.label}: {figure4(m.value)}{_band(m)}." for m in marks if m.label not in off]
    caption = [
        f"Each line is a level of {v.group}: its coefficient under {kind}, from no pooling on the left to complete "
        "pooling on the right.",
        f"Penalties of {join(others)} change in proportion." if others else "",
        *said,
        f"Not on the axis, being infinite or far outside: {join(off)}." if off else "",
        shown.note,
    ]
    return View(
        title=f"From no pooling to complete pooling: {printable(v.quantity, 56)}",
        caption=" ".join(part for part in caption if part),
        alt=f"Paths of {v.quantity} by {v.group}, {len(v.levels):,} groups, against lambda. {' '.join(said)}",
        x_label=f"lambda of {kind}" + (f", for {v.term}" if others else ""),
        y_label=v.quantity,
        warnings=(),
        strength=strength,
        coefficients=c[:, shown.index],
        levels=tuple(v.levels[j] for j in shown.index),
        labels=shown.labels if len(v.levels) <= NAMED else (),
        marks=marks,
    )


def _band(mark: Mark) -> str:
    return f" ({figure4(mark.low)} to {figure4(mark.high)})" if np.isfinite(mark.low) else ""


def _axis(ray: Ray, unit: float, marks: tuple[Mark, ...]) -> Array:
    """lambda along the axis, rising: where the paths move, and where the marks are."""
    strengths = ray.strengths(POINTS) * unit
    low, high = float(strengths[-1]), float(strengths[0])
    if not ray.penalties.l1.any():  # ridge, whose grid goes farther than an eye does
        from workbench.penalised.strength import REACH

        low, high = low * REACH / BEYOND, high / REACH * BEYOND
    inside = [m.value for m in marks if float(strengths[-1]) <= m.value <= float(strengths[0])]
    return np.geomspace(min([low, *(x / 2 for x in inside)]), max([high, *(2 * x for x in inside)]), POINTS)


# --- where lambda may come from -----------------------------------------------------------------------


def _lambda(mix: float, phi: Array | float, sd: Array) -> Array:
    """The lambda that variances say, infinite where an SD is zero.

    It is sqrt(2) phi/tau of a lasso (`mix` 1), phi/tau^2 of ridge (0), and of an elastic net its shares of both.
    """
    with np.errstate(divide="ignore"):
        inverse = 1 / np.asarray(sd)
    return np.asarray(
        phi * ((mix * np.sqrt(2) * inverse if mix else 0.0) + ((1 - mix) * inverse**2 if mix < 1 else 0.0))
    )


def _maximised(comparison: Comparison, v: Varying) -> list[Mark]:
    found, mix = [], comparison.fits["penalized"].diagnostics["mix"]
    for name in ("reml", "ml", "laplace"):
        if name in comparison.fits and (name != "ml" or "reml" not in comparison.fits):
            fit = comparison.fits[name]
            sd = fit.components[v.block].sd[v.column]
            value = _lambda(mix, fit.sigma**2, sd)
            found.append(Mark(style.title_of(name), float(value), style.look(name)))
    return found


def _left_out(ray: Ray, unit: float) -> list[Mark]:
    d = ray.fit.diagnostics
    found = []
    for folds, look, words in (("within", WITHIN, "rows left out"), ("groups", GROUPS, "groups left out")):
        curve = ray.cross_validated(folds, d["fold_count"], d["seed"], d["rule"], d["grid"])
        value = float("nan") if curve.at_end else curve.strength * unit
        end = f" (at the grid's {curve.at_end} end)" if curve.at_end else ""
        found.append(Mark(f"cross-validation, {words}{end}", value, look))
    return found


def _posterior(comparison: Comparison, v: Varying) -> list[Mark]:
    """The posterior median of lambda and its 95 % interval, of the exact fit or else of the sampled one."""
    for name in ("exact", "hierarchical"):
        if name in comparison.fits:
            fit = comparison.fits[name]
            phi, sd = _draws(fit, v)
            mix = comparison.fits["penalized"].diagnostics["mix"]
            low, middle, high = np.quantile(_lambda(mix, phi, sd), QUANTILES)
            label = f"{style.title_of(name)}: median, 95 % interval"
            return [Mark(label, float(middle), style.look(name), float(low), float(high))]
    return []


def _draws(fit: Fit, v: Varying) -> tuple[Array, Array]:
    """Draws of the dispersion and of the term's SD, shape (N,) each."""
    if fit.posterior is not None:
        drawn = fit.posterior.draw(DRAWS, 1)
        sd = np.asarray(drawn["tau"])
        sigma = drawn.get("sigma")
    else:
        from workbench.sampling.names import block_names

        posterior = fit.sampled.posterior
        sd = posterior[f"sd_{block_names(fit.design)[v.block]}"].values[..., v.column].ravel()
        sigma = posterior["sigma"].values.ravel() if "sigma" in posterior else None
    free = sigma is not None and fit.design.estimates_dispersion and not fit.design.known_se
    return np.asarray(sigma) ** 2 if free else np.ones(len(sd)), sd


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own."""
    ax = ax or style.new_axes(9.0, 5.2)
    style.frame(ax, seen.title, seen.y_label, seen.x_label)
    ax.set_xscale("log")
    ax.set_xlim(seen.strength[0], seen.strength[-1])
    ax.set_ylim(*style.limits(seen.coefficients))
    many = len(seen.levels)
    ax.plot(
        seen.strength, seen.coefficients, color=style.MUTED, linewidth=1.1 if many <= 40 else 0.5,
        alpha=0.9 if many <= 40 else 0.5, zorder=2, rasterized=many > style.RASTER,
    )  # fmt: skip
    ax.plot([], [], color=style.MUTED, label="a group's coefficient")
    low, high = ax.get_ylim()
    on_axis = [mark for mark in seen.marks if seen.strength[0] <= mark.value <= seen.strength[-1]]
    for k, mark in enumerate(on_axis):
        colour = mark.look.colour
        if np.isfinite(mark.low):
            ax.axvspan(
                max(mark.low, seen.strength[0]), min(mark.high, seen.strength[-1]), color=colour, alpha=0.12, zorder=0,
                linewidth=0,
            )  # fmt: skip
        ax.axvline(mark.value, color=colour, linewidth=1.4, linestyle=(0, (5, 2 + k)), zorder=3)
        face = colour if mark.look.filled or mark.look.marker in "x+" else "white"
        ax.plot(
            [mark.value], [high - (0.03 + 0.055 * k) * (high - low)], marker=mark.look.marker, color=colour,
            markerfacecolor=face, markersize=8, linestyle="none", zorder=5,
            label=f"{mark.label}: {figure4(mark.value)}{_band(mark)}",
        )  # fmt: skip
    _names(ax, seen)
    style.legend_below(ax, 1, 2)
    return ax


def _names(ax: Axes, seen: View) -> None:
    """The groups' names at the left ends of their lines, moved apart where they would overlap."""
    if not seen.labels:
        return
    from matplotlib.patheffects import withStroke
    from scipy.optimize import isotonic_regression

    halo = withStroke(linewidth=2.5, foreground="white")  # lines pass behind names that were moved
    low, high = ax.get_ylim()
    order, step = np.argsort(seen.coefficients[0]), 0.045 * (high - low)
    steps = step * np.arange(len(order))
    # as near to the lines as names at least a step apart can be: least squares under the order of what is left
    places = np.asarray(isotonic_regression(seen.coefficients[0, order] - steps).x) + steps
    for j, y in zip(order.tolist(), places.tolist(), strict=True):
        ax.annotate(
            seen.labels[j], (seen.strength[0], y), xytext=(3, 1), textcoords="offset points",
            fontsize=style.SMALL - 2, color=style.INK, parse_math=False, zorder=6, path_effects=[halo],
        )  # fmt: skip

"""Every variance parameter: its posterior with the prior, and where point estimators put it.

One panel for every standard deviation, correlation and sigma. Above, the posterior density of the first fit that has
one (:mod:`workbench.plots.marginals`), or without any the profile of the REML criterion; beneath, on the same axis, one
row for every estimator: REML and Laplace with their profile intervals, full Bayes with its equal-tailed one, others as
points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, WorkbenchError
from workbench.inference.reml_profile import RemlProfile, reml_profiles
from workbench.plots import style
from workbench.plots.likely_spreads import likely_spreads, of_counts
from workbench.plots.marginals import BAYESIAN, Marginal, marginal
from workbench.plots.origins import WHOLE, correlation4, near_one, why_near_one
from workbench.plots.varying import INTERCEPT, Varying, figure4, printable
from workbench.words import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

GIVEN = ("complete_pooling", "no_pooling", "fixed_prior", "penalized", "penalized_fixed", "henderson", "james_stein",
         "spread_matching")  # fmt: skip
"""Estimators that have no variances of their own."""
QUICK = ((2, 200_000), (4, 600))
"""Profiles of so many variance parameters are followed with up to so many effects."""
MOST = 12
"""Panels."""
ACROSS = 2
FINE = 301
NEAR = 0.01
"""An axis holds at least so large a share of its middle to either side: estimates that hardly differ stand together."""
BULK = (0.002, 0.995)
"""Quantiles between which a posterior is drawn at least."""


@dataclass(frozen=True, eq=False)
class Row:
    """Where one estimator puts a parameter; NaN for ends that it does not have."""

    estimator: str
    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One parameter.

    Attributes
    ----------
    name, title : str
    kind : "posterior", "profile" or ""
        What the curve is.
    x, curve : array, shape (X,)
        Of a posterior its density; of a profile the relative likelihood.
    prior : array, shape (X,), or None
    prior_label : str
    rows : tuple of Row
        Those that have a value of it, in the order of all.
    limits : pair of float
    """

    name: str
    title: str
    kind: str
    x: Array
    curve: Array
    prior: Array | None
    prior_label: str
    rows: tuple[Row, ...]
    limits: tuple[float, float]


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows, as plain data; `labels` are the estimators' titles, one row each, from above."""

    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    labels: tuple[str, ...]
    panels: tuple[Panel, ...]


def applies(comparison: Comparison) -> bool:
    """Whether some estimator has variances of its own."""
    return bool(_own(comparison))


def view(comparison: Comparison, terms: Sequence[Varying] = ()) -> View:
    """Lay out one panel per variance parameter: of the given terms (of all without any), and sigma.

    A correlation has its panel with the first of its two terms.

    Raises
    ------
    OptionError
        No fit has estimated variances.
    """
    if not applies(comparison):
        raise OptionError("No fit here estimates variances. Compare with reml, laplace or hierarchical.")
    design = comparison.design
    fits = _own(comparison)
    profiles, why = _profiles(design)
    likely = likely_spreads(design) if "laplace" in fits else {}
    places = _places(design, {(v.group, v.term) for v in terms})
    panels = [_panel(comparison, name, title, fits, profiles, likely) for name, title in places]
    panels = [panel for panel in panels if panel.rows or panel.kind]
    shown = tuple(panels[:MOST])
    names = dict.fromkeys(row.label for panel in shown for row in panel.rows)
    order = [label for label in _order(comparison, fits) if label in names]
    return View(
        title="The variance parameters: posterior, prior and point estimates" if _posterior(shown) else TITLE_WITHOUT,
        caption=" ".join([*_caption(comparison, shown, profiles, why), *of_counts(fits, likely), *_left_out(panels)]),
        alt=" ".join(_said(panel) for panel in shown),
        warnings=(),
        labels=tuple(order),
        panels=shown,
    )


TITLE_WITHOUT = "The variance parameters: where estimators put them"


def _posterior(panels: Sequence[Panel]) -> bool:
    return any(panel.kind == "posterior" for panel in panels)


def _own(comparison: Comparison) -> dict[str, Fit]:
    """Fits that have estimated variances."""
    return {
        name: fit
        for name, fit in comparison.fits.items()
        if name not in GIVEN and any(np.isfinite(np.diag(part.covariance)).any() for part in fit.components)
    }


def _order(comparison: Comparison, fits: Mapping[str, Fit]) -> list[str]:
    """Rows from above: full Bayes, REML, the others as in the comparison."""
    first = [name for name in (*BAYESIAN, "reml") if name in fits or name == "reml"]
    return [style.title_of(name) for name in (*first, *(name for name in fits if name not in first))]


def _places(design: Design, wanted: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names of parameters and the panels' titles: standard deviations, then correlations, then sigma."""
    several = len(design.groups) > 1
    sds, correlations = [], []
    for block in design.blocks:
        by = f" by {printable(block.group, 18)}"
        for k, term in enumerate(block.terms):
            if wanted and (block.group, term) not in wanted:
                continue
            what = "intercepts" if term == INTERCEPT else printable(term, 18)
            sds.append((f"sd({block.group}, {term})", f"SD of {what}{by}"))
            for other in block.terms[k + 1 :]:
                both = f"{printable(term, 14)} and {printable(other, 14)}"
                correlations.append((f"cor({block.group}, {term}, {other})", f"correlation of {both}{by * several}"))
    sigma = [] if design.known_se or not design.estimates_dispersion else [("sigma", "residual SD, sigma")]
    return [*sds, *correlations, *sigma]


def _profiles(design: Design) -> tuple[Mapping[str, RemlProfile], str]:
    """REML's profiles where they are quick, and otherwise why there are none."""
    if design.family != "gaussian":
        return {}, ""
    count = sum(len(b.terms) * (len(b.terms) + 1) // 2 for b in design.blocks) + (not design.known_se)
    effects = sum(len(b.levels) * len(b.terms) for b in design.blocks)
    if not any(count <= parameters and effects <= most for parameters, most in QUICK):
        return {}, "REML has its point alone here: profiles of so many parameters and effects take long."
    try:
        return reml_profiles(design), ""
    except (WorkbenchError, np.linalg.LinAlgError):
        return {}, "REML has its point alone here: the criterion could not be profiled."


def _panel(
    comparison: Comparison,
    name: str,
    title: str,
    fits: Mapping[str, Fit],
    profiles: Mapping[str, RemlProfile],
    likely: Mapping[str, tuple[float, float]],
) -> Panel:
    posterior, profile = marginal(comparison, name), profiles.get(name)
    rows = _rows(fits, name, profile, likely)
    limits = _limits(name, rows, posterior, profile)
    x = np.linspace(*limits, FINE)
    if name.startswith("cor("):
        x = x[np.abs(x) <= 1]
    elif x[0] < 0:
        x = np.concatenate([[0.0], x[x > 0]])
    kind, curve, prior = "", np.empty(0), None
    if posterior is not None:
        kind, curve, prior = "posterior", posterior.density(x), posterior.prior_density(x)
    elif profile is not None and len(profile.value) > 1:
        kind, (x, curve) = "profile", _smooth(profile, x)
    else:
        x = np.empty(0)
    return Panel(
        name=name,
        title=title,
        kind=kind,
        x=x,
        curve=curve,
        prior=prior,
        prior_label="" if posterior is None or posterior.prior is None else _written(str(posterior.prior)),
        rows=rows,
        limits=limits,
    )


def _written(prior: str) -> str:
    """A prior's name with powers of ten as captions have them: ``1.8e-9``, not ``1.8e-09``."""
    return re.sub(r"(?<=\d)e([+-])0+(?=\d)", r"e\1", prior).replace("e+", "e")


def _smooth(profile: RemlProfile, x: Array) -> tuple[Array, Array]:
    """The relative profile likelihood within the points it was found at: the root of its log by monotone cubics."""
    from scipy.interpolate import PchipInterpolator

    peak = int(np.argmax(profile.relative))
    sign = np.where(np.arange(len(profile.value)) < peak, -1.0, 1.0)
    zeta = sign * np.sqrt(np.maximum(-2 * np.log(np.maximum(profile.relative, 1e-300)), 0.0))
    x = np.union1d(x[(x >= profile.value[0]) & (x <= profile.value[-1])], profile.value)
    return x, np.exp(-0.5 * PchipInterpolator(profile.value, zeta)(x) ** 2)


def _rows(
    fits: Mapping[str, Fit], name: str, profile: RemlProfile | None, likely: Mapping[str, tuple[float, float]]
) -> tuple[Row, ...]:
    found = []
    for estimator, fit in fits.items():
        value, low, high = _value(fit, name)
        if estimator == "reml" and profile is not None:
            low, high = profile.low, profile.high
        if estimator == "laplace" and name in likely:
            low, high = likely[name]
        if np.isfinite(value):
            found.append(Row(estimator, style.title_of(estimator), value, low, high))
    if "reml" not in fits and profile is not None:
        found.append(Row("reml", style.title_of("reml"), profile.estimate, profile.low, profile.high))
    return tuple(found)


def _value(fit: Fit, name: str) -> tuple[float, float, float]:
    """A fit's value of a parameter, with its interval where the fit has draws or a density."""
    if fit.parameters is not None and name in fit.parameters.names:
        k, e = fit.parameters.names.index(name), fit.parameters.estimates
        return float(e.estimate[k]), float(e.conf_low[k]), float(e.conf_high[k])
    nan = float("nan")
    if name == "sigma":
        return float(fit.sigma) if fit.sigma is not None else nan, nan, nan
    for part in fit.components:
        for k, term in enumerate(part.terms):
            if name == f"sd({part.group}, {term})":
                return float(part.sd[k]), nan, nan
            for other in range(k + 1, len(part.terms)):
                if name == f"cor({part.group}, {term}, {part.terms[other]})":
                    return float(part.correlation[k, other]), nan, nan
    return nan, nan, nan


def _limits(
    name: str, rows: tuple[Row, ...], posterior: Marginal | None, profile: RemlProfile | None
) -> tuple[float, float]:
    ends = [v for row in rows for v in (row.value, row.low, row.high)]
    if posterior is not None:
        ends += [posterior.low, posterior.far]
    elif profile is not None:
        ends += [float(v) for v in profile.value[profile.relative >= np.exp(-0.5 * 2.8**2)]]
    known = np.array([v for v in ends if np.isfinite(v)])
    if name.startswith("cor("):
        return near_one(known)
    low, high = style.limits(known, room=0.08)
    middle = (low + high) / 2
    low, high = min(low, (1 - NEAR) * middle), max(high, (1 + NEAR) * middle)
    return (-0.03 * high, high) if known.min() < 0.3 * known.max() else (low, high)


# --- words --------------------------------------------------------------------------------------------


def _caption(
    comparison: Comparison, panels: Sequence[Panel], profiles: Mapping[str, RemlProfile], why: str
) -> list[str]:
    said = []
    source = next((name for name in BAYESIAN if name in comparison.fits), None)
    if _posterior(panels) and source is not None:
        how = "by quadrature" if comparison.fits[source].posterior is not None else "from its draws"
        said.append(f"Curves: posterior densities of {style.title_of(source)}, {how}; dashed, the priors.")
    elif any(panel.kind == "profile" for panel in panels):
        said.append("Curves: profiles of the REML criterion, as likelihood relative to its peak.")
    if profiles:
        said.append("Bars of REML: 95 % profile intervals of its criterion.")
    bayesian = [fit for name, fit in _own(comparison).items() if name in BAYESIAN and fit.parameters is not None]
    if bayesian:
        interval = bayesian[0].parameters.estimates.interval if bayesian[0].parameters else ""
        said.append(f"Bars of full Bayes: posterior means with {interval} intervals.")
    open_ends = [p.title for p in panels if p.name in profiles and _is_open(p.name, profiles[p.name])]
    if open_ends:
        said.append(f"REML's interval reaches the limit of what is possible: {join(open_ends)}.")
    near = why_near_one(comparison, [p.name for p in panels], [p.limits for p in panels])
    return [part for part in (*said, why, *near) if part]


def _is_open(name: str, profile: RemlProfile) -> bool:
    edges = (-1.0, 1.0) if name.startswith("cor(") else (0.0, np.inf)
    return profile.low <= edges[0] or profile.high >= edges[1]


def _left_out(panels: Sequence[Panel]) -> list[str]:
    more = len(panels) - MOST
    return [f"{more} further parameter{'s' * (more != 1)} stand in the tables."] if more > 0 else []


def _said(panel: Panel) -> str:
    written = correlation4 if panel.name.startswith("cor(") else figure4
    rows = [
        f"{row.label} {written(row.value)}"
        + (f" ({written(row.low)} to {written(row.high)})" if np.isfinite(row.low + row.high) else "")
        for row in panel.rows
    ]
    return f"{panel.title}: {'; '.join(rows)}." if rows else ""


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes, row by row.

    A given `ax` is divided among the panels and becomes the first of them; left out, they get a figure of their own.
    """
    count = max(len(seen.panels), 1)
    width = min(ACROSS, count)
    height = -(-count // width)
    if ax is not None:
        places = style.divide(ax, height, width)
    else:
        figure = style.new_figure(9.0 if width == 1 else 10.0, height * (1.75 + 0.27 * len(seen.labels)) + 0.5)
        figure.get_layout_engine().set(h_pad=0.08)  # type: ignore[call-arg, union-attr]
        figure.suptitle(
            seen.title, x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False,
        )  # fmt: skip
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    flat = [place for row in places for place in row]
    for place in flat[len(seen.panels) :]:
        place.set_axis_off()
    for k, (place, panel) in enumerate(zip(flat, seen.panels, strict=False)):
        _draw_panel(place, panel, seen.labels, named=k % width == 0)
    return tuple(flat[: len(seen.panels)])


def _draw_panel(ax: Axes, panel: Panel, labels: tuple[str, ...], named: bool) -> None:
    """The curve from 0 to 1 of its height, the rows beneath from -1 downwards in steps of one row."""
    style.frame(ax, "")
    ax.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    ax.grid(False)
    rows, step = len(labels), 0.19
    if panel.kind:
        top = float(panel.curve.max())
        if panel.kind == "posterior":
            ax.fill_between(panel.x, panel.curve / top, color="#CFE4DE", linewidth=0, zorder=1)
        ax.plot(panel.x, panel.curve / top, color="#00604A" if panel.kind == "posterior" else style.INK, linewidth=1.6)
        if panel.prior is not None:
            ax.plot(
                panel.x, np.minimum(panel.prior / top, 1.12), color=style.INK, linewidth=1.2, linestyle=(0, (4, 2)),
                label="prior",
            )  # fmt: skip
            ax.text(
                0.99, 0.985, f"prior {panel.prior_label}", transform=ax.transAxes, ha="right", va="top",
                fontsize=style.SMALL, color=style.MUTED, parse_math=False,
            )  # fmt: skip
        if panel.kind == "profile":
            ax.text(
                0.99, 0.985, "relative likelihood", transform=ax.transAxes, ha="right", va="top", fontsize=style.SMALL,
                color=style.MUTED,
            )  # fmt: skip
    ax.axhline(0.0, color=style.FAINT, linewidth=0.8, zorder=1.5)
    at = {label: -step * (k + 0.8) for k, label in enumerate(labels)}
    for label in labels:
        ax.axhline(at[label], color=style.RULE, linewidth=0.6, zorder=0.5)
    names = [row.estimator for row in panel.rows]
    for row in panel.rows:
        look, y = style.look(row.estimator, names), at[row.label]
        if np.isfinite(row.low):
            ax.plot([row.low, min(row.high, panel.limits[1])], [y, y], color=look.colour, linewidth=1.6, zorder=3)
            ax.plot(
                [row.low, row.high], [y, y], color=look.colour, linestyle="none", marker="|", markersize=8, zorder=3
            )
        style.points(ax, np.array([row.value]), np.array([y]), look, row.label, 110 if look.marker in "x+" else 48)
    ax.set_ylim(-step * (rows + 0.4), 1.3 if panel.kind == "posterior" or panel.kind == "profile" else 0.1)
    ax.set_yticks(list(at.values()), labels=list(labels) if named else [""] * rows, parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(*panel.limits)
    if panel.name.startswith("cor(") and panel.limits != WHOLE:
        ax.ticklabel_format(axis="x", useOffset=False)
        ax.locator_params(axis="x", nbins=4)

"""Profile likelihoods: zeta over each parameter, one panel each.

zeta is the signed root of the deviance difference. A straight line would say that estimate +- z times standard error is
right; how far the curve leaves it says how wrong that is.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import figure4, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.inference import Profile
    from workbench.inference.profiles import Curve

Array = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.95, 0.99)
ACROSS = 3
"""Panels side by side."""
FINE = 200
KEY = (
    f"Upright lines: {', '.join(f'{100 * level:.0f}' for level in LEVELS)} % intervals. "
    "Dashed: what estimate ± z standard errors assumes"
)
PROFILE, WALD = style.LOOKS["ml"], style.MUTED


@dataclass(frozen=True, eq=False)
class Mark:
    """The interval of one level: where the curve is at -z and z; NaN where it is not, within what is possible."""

    level: float
    z: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One parameter.

    Attributes
    ----------
    title : str
    estimate : float
    value, zeta : array, shape (points,)
        As computed.
    fine_value, fine_zeta : array, shape (FINE,)
        Between them, monotone.
    slope : float
        Of the straight line through the estimate: 1 / standard error; NaN where there is none.
    marks : tuple of Mark
        Widest last.
    remark : str
    """

    title: str
    estimate: float
    value: Array
    zeta: Array
    fine_value: Array
    fine_zeta: Array
    slope: float
    marks: tuple[Mark, ...]
    remark: str


@dataclass(frozen=True, eq=False)
class View:
    """What the picture shows, as plain data."""

    title: str
    caption: str
    alt: str
    panels: tuple[Panel, ...]


def view(profile: Profile) -> View:
    """Lay out one panel for each parameter that has a curve."""
    panels = tuple(_panel(curve) for curve in profile.parts if len(curve.value) > 1)
    said = [
        f"{p.title}: ML estimate {figure4(p.estimate)}, {profile.interval} from {figure4(c.conf_low)} to "
        f"{figure4(c.conf_high)}."
        for p, c in zip(panels, [c for c in profile.parts if len(c.value) > 1], strict=True)
    ]
    return View(
        title=f"Profile likelihood: {printable(profile.formula, 70)}",
        caption=(f"zeta, the signed root of the deviance difference ({profile.basis}). {KEY}."),
        alt=" ".join(said),
        panels=panels,
    )


def _panel(curve: Curve) -> Panel:
    from scipy.interpolate import PchipInterpolator

    fine = np.linspace(curve.value[0], curve.value[-1], FINE)
    zeta = PchipInterpolator(curve.value, curve.zeta)(fine)
    marks = []
    for level in LEVELS:
        z = NormalDist().inv_cdf(0.5 + level / 2)
        low, high = np.interp([-z, z], zeta, fine, left=np.nan, right=np.nan)
        marks.append(Mark(level, z, float(low), float(high)))
    one_sided = "boundary" in curve.note or "open to that side" in curve.note
    return Panel(
        title=printable(curve.name, 34),
        estimate=curve.estimate,
        value=curve.value,
        zeta=curve.zeta,
        fine_value=fine,
        fine_zeta=np.asarray(zeta),
        slope=1 / curve.std_error,
        marks=tuple(marks),
        remark="open at the boundary" if one_sided else "",
    )


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes, row by row.

    A given `ax` is divided among the panels and becomes the first of them; left out, they get a figure of their own.
    """
    count = max(len(seen.panels), 1)
    width = 2 if count == 4 else min(ACROSS, count)
    height = -(-count // width)
    places = style.divide(ax, height, width) if ax is not None else _new_panels(seen, height, width)
    flat = [place for row in places for place in row]
    for place in flat[len(seen.panels) :]:
        place.set_axis_off()
    for k, (place, panel) in enumerate(zip(flat, seen.panels, strict=False)):
        _draw_panel(place, panel, first=k % width == 0)
    return tuple(flat[: max(len(seen.panels), 1)])


def _new_panels(seen: View, height: int, width: int) -> list[list[Axes]]:
    figure = style.new_figure(max(3.1 * width, 5.0), 2.75 * height + 0.5)
    figure.suptitle(
        printable(seen.title, 36 * width), x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold",
        color=style.INK, parse_math=False,
    )  # fmt: skip
    figure.supxlabel(
        textwrap.fill(KEY, 40 * width), x=0.01, ha="left", fontsize=style.SMALL, color=style.MUTED, parse_math=False
    )
    return [list(row) for row in figure.subplots(height, width, squeeze=False)]


def _draw_panel(ax: Axes, panel: Panel, first: bool) -> None:
    style.frame(ax, "", "zeta" if first else "")
    ax.set_title(panel.title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    if np.isfinite(panel.slope):
        ends = np.array([panel.value[0], panel.value[-1]])
        ax.plot(ends, (ends - panel.estimate) * panel.slope, color=WALD, linestyle=(0, (4, 3)), linewidth=1.1, zorder=2)
    ax.plot(panel.fine_value, panel.fine_zeta, color=PROFILE.colour, linewidth=1.8, zorder=3)
    ax.axhline(0.0, color=style.FAINT, linewidth=0.8, zorder=1)
    ax.plot([panel.estimate], [0.0], marker=PROFILE.marker, color=PROFILE.colour, markersize=6, zorder=4)
    for mark in panel.marks:
        for end, z in ((mark.low, -mark.z), (mark.high, mark.z)):
            if np.isfinite(end):
                ax.plot([end, end], [0.0, z], color=style.INK, linewidth=0.9, zorder=2)
    ax.set_ylim(-3.0, 3.0)
    ax.set_xlim(*style.limits(panel.value))
    ax.set_yticks([-2, -1, 0, 1, 2])
    if panel.remark:
        ax.text(
            0.03, 0.96, panel.remark, transform=ax.transAxes, va="top", fontsize=style.SMALL - 1, color=style.MUTED,
            parse_math=False,
        )  # fmt: skip

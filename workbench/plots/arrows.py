"""What is put on a plane of two coefficients: arrows, densities, contours, names that do not run into each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patheffects import AbstractPathEffect

Array = NDArray[np.float64]

SDS = (1, 2, 3)
ARROWS = 150
"""Up to so many groups have an arrow each."""
DOTS = 2_000
"""Up to so many estimates are dots; more are counted in hexagons."""


def contours(covariance: Array, centre: Array, sds: Sequence[float] = SDS, points: int = 121) -> tuple[Array, ...]:
    """Contours of a bivariate normal at so many standard deviations, shape (points, 2) each.

    A singular covariance, shape (2, 2), gives lines through the centre.

    Examples
    --------
    >>> one, two = contours(np.diag([4.0, 1.0]), np.array([10.0, 0.0]), (1, 2))
    >>> one.max(axis=0).tolist(), two.max(axis=0).tolist()
    ([12.0, 1.0], [14.0, 2.0])
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    angle = np.linspace(0.0, 2 * np.pi, points)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return tuple(centre + k * circle @ root.T for k in sds)


def arrows(ax: Axes, start: Array, end: Array, colour: str) -> None:
    """Open circles at `start`, shape (m, 2), and arrows to `end`; quiver places both ends on the data's scale."""
    thin = len(start) > 40
    ax.scatter(
        start[:, 0], start[:, 1], s=9 if thin else 26, facecolors="white", edgecolors=style.MUTED,
        linewidths=0.6 if thin else 0.9, zorder=4, label="own estimate",
    )  # fmt: skip
    ax.quiver(
        start[:, 0], start[:, 1], end[:, 0] - start[:, 0], end[:, 1] - start[:, 1], angles="xy", scale_units="xy",
        scale=1, color=colour, units="inches", width=0.01 if thin else 0.016, headwidth=6 if thin else 5.5,
        headlength=6, headaxislength=5.5, minlength=0.2, zorder=5,
    )  # fmt: skip


def density(ax: Axes, estimate: Array) -> None:
    """How many groups have their estimate where, in five greys by powers of a factor."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    kept = estimate[np.isfinite(estimate).all(axis=1)]
    drawn = ax.hexbin(kept[:, 0], kept[:, 1], gridsize=36, mincnt=1, linewidths=0.0, zorder=1)
    most = float(np.asarray(drawn.get_array()).max())
    steps = np.unique(np.geomspace(1, max(most, 2), 6).round())
    greys = ListedColormap([f"{level:.2f}" for level in np.linspace(0.92, 0.6, len(steps) - 1)])
    drawn.set_cmap(greys)
    drawn.set_norm(BoundaryNorm(np.append(steps[:-1], most + 1), greys.N))


def name_contour(ax: Axes, line: Array, k: int) -> None:
    """Write k SD at the lowest point of a contour."""
    place = line[int(np.argmin(line[:, 1]))]
    ax.annotate(
        f"{k} SD", (float(place[0]), float(place[1])), xytext=(0, -1), textcoords="offset points", ha="center",
        va="top", fontsize=style.SMALL, color=style.MUTED, zorder=5.5, path_effects=_halo(),
    )  # fmt: skip


def names(ax: Axes, chosen: NDArray[np.intp], levels: Sequence[str], start: Array, end: Array) -> None:
    """Names of some groups beside the start of their arrows, away from them; none upon another."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_window_extent()
    span = [np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())]
    unit = np.array([box.width, box.height]) * 72 / figure.dpi / span
    right_end, top = ax.get_xlim()[1] * unit[0], ax.get_ylim()[1] * unit[1]
    left_end, bottom = ax.get_xlim()[0] * unit[0], ax.get_ylim()[0] * unit[1]
    taken: list[tuple[float, float, float, float]] = []
    labels = told_apart((str(levels[j]) for j in chosen), 16)
    for j, name in zip(chosen.tolist(), labels, strict=True):
        wide, high = 0.62 * style.SMALL * len(name), 1.2 * style.SMALL
        at, away = start[j] * unit, (start[j] - end[j]) * unit
        right, up = (1 if away[0] >= 0 else -1), (1 if away[1] >= 0 else -1)
        for sx, sy in ((right, up), (right, -up), (-right, up), (-right, -up)):
            x0 = at[0] + (5 if sx > 0 else -5 - wide)
            y0 = at[1] + (2 if sy > 0 else -2 - high)
            spot = (x0, y0, x0 + wide, y0 + high)
            inside = left_end <= spot[0] and spot[2] <= right_end and bottom <= spot[1] and spot[3] <= top
            if inside and all(spot[2] < b[0] or b[2] < spot[0] or spot[3] < b[1] or b[3] < spot[1] for b in taken):
                break
        else:
            continue
        taken.append(spot)
        ax.annotate(
            name, (float(start[j, 0]), float(start[j, 1])), xytext=(5 * sx, 2 * sy), textcoords="offset points",
            ha="left" if sx > 0 else "right", va="bottom" if sy > 0 else "top", fontsize=style.SMALL, color=style.INK,
            zorder=8, parse_math=False, path_effects=_halo(),
        )  # fmt: skip


def _halo() -> list[AbstractPathEffect]:
    """A white rim about letters, so that lines do not run through them."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]

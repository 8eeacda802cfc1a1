"""How the pictures look: colours and markers by estimator, and a plain frame.

The colours are those of Okabe & Ito, which colour-blind readers can tell apart, and each estimator has a
marker of its own, so that nothing rests on colour alone. Everything is set on the Axes that are drawn on;
matplotlib's global settings stay as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.plots.folding import folded, room
from workbench.plots.palette import Faithful, to_palette

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

INK, MUTED, FAINT, RULE = "#1a1a1a", "#5f6368", "#b4b9bf", "#d9dce0"
TRUTH = "#d62b1f"
OWN = "#0072B2"
TEXT, SMALL = 11.0, 10.0
RASTER = 1_500
"""Collections of more marks than this become a bitmap inside SVG files."""
DPI = 150
"""Dots per inch of bitmaps."""
WIDTH_ALONE, DPI_ALONE = 760, 84
"""Bitmaps of small reports, which have no drawings beside them: at most so many dots wide, and so many per inch."""
FAITHFUL, FAITHFUL_ALONE = Faithful(8, 16, 1e-4), Faithful(16, 28, 1e-4)
"""How far their colours may move; in small reports' bitmaps."""


@dataclass(frozen=True)
class Look:
    """Colour, marker, and whether the marker is filled."""

    colour: str
    marker: str
    filled: bool = True


LOOKS = {
    "complete_pooling": Look("#7a7a7a", "s"),
    "no_pooling": Look(OWN, "x"),
    "reml": Look("#A4428A", "+"),
    "ml": Look("#E69F00", "^"),
    "laplace": Look("#A4428A", "P"),
    "agq": Look("#E69F00", "v"),
    "boundary_avoiding": Look("#D55E00", "p"),
    "henderson": Look("#56B4E9", "v"),
    "mackay": Look("#B8860B", "P"),
    "em": Look("#4B3F9E", "h"),
    "statsmodels": Look("#44546A", ">"),
    "fixed_prior": Look("#000000", "o", filled=False),
    "penalized": Look("#8C6D1F", "*"),
    "hierarchical": Look("#009E73", "D"),
    "exact": Look("#2B7A78", "d", filled=False),
}
SPARE = (
    Look("#56B4E9", "v"), Look("#D55E00", "P"), Look("#4B3F9E", "h"), Look("#7B3F00", "<"), Look("#117733", ">"),
    Look("#882255", "8"), Look("#999933", "H"),
)  # fmt: skip
"""Of estimators without a look of their own; those that share colour or marker with one beside them are left out."""

FOREIGN = (
    Look("#D6437E", "<"), Look("#4F8A10", ">"), Look("#1B6CA8", "H"), Look("#8C564B", "X"), Look("#6A51A3", "8"),
    Look("#B35900", "s", filled=False), Look("#17899B", "1"), Look("#7F7F00", "^", filled=False),
)  # fmt: skip
"""Of answers from elsewhere, by their names."""


def look(estimator: str, among: Sequence[str] = ()) -> Look:
    """The look of an estimator; one without a fixed look gets a spare by its place among the others.

    An answer from elsewhere has a look by its name, the next free one where another of `among` before it has that.
    """
    from workbench.estimators import REGISTRY

    if estimator in LOOKS:
        return LOOKS[estimator]
    if estimator not in REGISTRY:
        return FOREIGN[_slots((*(name for name in among if name not in {*LOOKS, *REGISTRY}), estimator))[estimator]]
    others = [name for name in among if name not in LOOKS and name in REGISTRY]
    taken = {part for name in among if name in LOOKS for part in (LOOKS[name].colour, LOOKS[name].marker)}
    free = [spare for spare in SPARE if not {spare.colour, spare.marker} & taken] or SPARE
    return free[others.index(estimator) % len(free) if estimator in others else 0]


def _slots(names: Sequence[str]) -> dict[str, int]:
    """Places among the looks of answers from elsewhere, each name's own where it is free."""
    from zlib import crc32

    taken: dict[str, int] = {}
    for name in dict.fromkeys(names):
        order = [(crc32(name.encode()) + step) % len(FOREIGN) for step in range(len(FOREIGN))]
        taken[name] = next((k for k in order if k not in taken.values()), order[0])
    return taken


def title_of(estimator: str) -> str:
    """An estimator's title for tables and pictures."""
    from workbench.estimators import REGISTRY

    return REGISTRY[estimator].title if estimator in REGISTRY else estimator.replace("_", " ")


def new_axes(width: float = 9.0, height: float = 4.8) -> Axes:
    """Axes on a figure of their own, which no plotting state knows about."""
    return new_figure(width, height).add_subplot()


def new_level_axes(labels: Sequence[str]) -> Axes:
    """Axes on a figure of their own for names of levels on the x axis, higher where these are long and turned."""
    return new_axes(height=4.8 + max(_depth(labels, _run_together(labels)) / 72 - 0.9, 0.0))


def new_figure(width: float, height: float) -> Figure:
    """A figure that arranges itself, outside pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def divide(ax: Axes, height: int, width: int, tall: Sequence[float] | None = None) -> list[list[Axes]]:
    """Divide the place of `ax` into panels; `ax` keeps the first. `tall` says how tall rows are beside each other.

    (Of Axes without a grid to divide, all rows are as tall.)
    """
    figure, spec = ax.figure, ax.get_subplotspec()
    if spec is not None:
        inner = spec.subgridspec(height, width, height_ratios=tall)
        ax.set_subplotspec(inner[0, 0])
        return [
            [ax if (i, k) == (0, 0) else figure.add_subplot(inner[i, k]) for k in range(width)] for i in range(height)
        ]
    box = ax.get_position()
    w, h = box.width / width, box.height / height
    corners = [[(box.x0 + k * w, box.y1 - (i + 1) * h, 0.82 * w, 0.8 * h) for k in range(width)] for i in range(height)]
    ax.set_position(corners[0][0])
    return [[ax if (i, k) == (0, 0) else figure.add_axes(corners[i][k]) for k in range(width)] for i in range(height)]


def frame(ax: Axes, title: str, y_label: str = "", x_label: str = "", beside: float = 0.9) -> None:
    """Title and labels (never read as mathematics), two spines, quiet horizontal rules.

    Texts are folded where they are long; names left of the axes take `beside` inches.
    """
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.set_axisbelow(True)
    ax.grid(axis="y", color=RULE, linewidth=0.6)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=SMALL, length=3)
    wide, tall = room(ax, beside)
    if title:
        title = folded(title, wide, TEXT + 1.5, bold=True, lines=3)
        ax.set_title(title, loc="left", fontsize=TEXT + 1.5, fontweight="bold", color=INK, pad=10, parse_math=False)
    ax.set_ylabel(folded(y_label, tall, TEXT), fontsize=TEXT, color=INK, parse_math=False)
    ax.set_xlabel(folded(x_label, wide, TEXT), fontsize=TEXT, color=INK, parse_math=False)


def level_axis(ax: Axes, positions: Array, labels: Sequence[str], sizes: Sequence[int], x_label: str) -> None:
    """Name the levels on the x axis, with their sizes where there is room and they differ."""
    ax.set_xlim(positions[0] - 0.6, positions[-1] + 0.6)
    if not labels:
        ax.set_xticks([])
        return
    crowded = _run_together(labels)
    if not crowded and len(labels) <= 16 and len(set(sizes)) > 1:
        for counted in ([f"n={n:,}" for n in sizes], [f"{n:,}" for n in sizes]):
            if not _run_together(counted):
                labels = [f"{name}\n{n}" for name, n in zip(labels, counted, strict=True)]
                x_label = f"{x_label} (with its number of rows)"
                break
    ax.set_xticks(positions, labels=list(labels), parse_math=False)
    ax.tick_params(axis="x", length=0)
    if crowded:
        ax.tick_params(axis="x", labelrotation=90, labelsize=SMALL if len(labels) <= 40 else SMALL - 2)
    ax.set_xlabel(folded(x_label, room(ax)[0], TEXT), fontsize=TEXT, color=INK, parse_math=False)


def _depth(labels: Sequence[str], turned: bool) -> float:
    """Points that names below an axis take up."""
    if turned:
        return 6.3 * max((len(name) for name in labels), default=0)
    return 14.0 * max((name.count("\n") + 1 for name in labels), default=0)


def _run_together(labels: Sequence[str]) -> bool:
    """Whether names side by side have no room on an axis."""
    return max((len(name) + 1 for name in labels), default=0) * len(labels) > 100


def points(ax: Axes, x: Array, y: Array, style: Look, label: str, size: float = 55.0, **more: Any) -> None:
    """Scatter one estimator's points in its look; marks get smaller where there are many."""
    size = size * shrink(len(x))
    line = style.marker in "x+"
    face: Any = style.colour if style.filled or line else "none"
    edges = {} if line else {"edgecolors": style.colour}
    wide = 1.7 if len(x) <= 60 else 0.8
    settings: dict[str, Any] = {"zorder": 4, "linewidths": wide, "rasterized": len(x) > RASTER} | edges | more
    ax.scatter(x, y, s=size, marker=style.marker, c=[face] if face != "none" else "none", label=label, **settings)


def shrink(count: int) -> float:
    """Factor on marker areas, by how many marks stand side by side."""
    return float(np.clip(40 / max(count, 1), 0.08, 1.0)) if count > 40 else 1.0


def population_line(ax: Axes, value: float, label: str) -> None:
    """A dashed horizontal line at a population value."""
    if np.isfinite(value):
        ax.axhline(value, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2, label=label)


def legend_below(ax: Axes, count: int, columns: int = 4) -> None:
    """The legend under the axes, its marks in full size however many there are."""
    handles, _ = ax.get_legend_handles_labels()
    legend_of(ax, handles, columns, float(shrink(count) ** -0.5))


def legend_of(ax: Axes, handles: Sequence[Any], columns: int = 4, markerscale: float = 1.0) -> None:
    """A legend of given handles under the axes."""
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.02),
        bbox_transform=_below(ax),
        ncols=min(columns, max(len(handles), 1)),
        markerscale=markerscale,
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        borderaxespad=0.0,
        handletextpad=0.5,
        columnspacing=1.6,
    )


def _below(ax: Axes) -> Any:
    """The axes' box moved down past tick labels and axis label, in points."""
    from matplotlib.transforms import ScaledTranslation

    labels = [label.get_text() for label in ax.get_xticklabels()]
    turned = bool(labels) and ax.get_xticklabels()[0].get_rotation() == 90
    root = ax.get_figure(root=True)
    assert root is not None
    return ax.transAxes + ScaledTranslation(0, -(_depth(labels, turned) + 25) / 72, root.dpi_scale_trans)


def limits(*values: Array | None, room: float = 0.06) -> tuple[float, float]:
    """Axis limits that hold all finite values, with some room."""
    known = np.concatenate([np.ravel(v)[np.isfinite(np.ravel(v))] for v in values if v is not None] or [np.zeros(1)])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = high - low or abs(high) * 0.1 or 1.0
    return low - room * span, high + room * span


@contextmanager
def _quiet() -> Iterator[None]:
    """Deterministic names in SVG files, and no complaint about letters that the font lacks."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "workbench"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def save(figure: Figure, stem: Path, drawing: bool = True) -> tuple[Path, Path | None]:
    """Write ``stem.png`` and ``stem.svg``, the same bytes every time; without a drawing the bitmap has fewer dots."""
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    with _quiet():
        dots = DPI if drawing else min(DPI_ALONE, WIDTH_ALONE / figure.get_figwidth())
        figure.savefig(png, dpi=dots, metadata={"Software": None})
        to_palette(png, FAITHFUL if drawing else FAITHFUL_ALONE, dots)
        if not drawing:
            return png, None
        figure.savefig(svg, dpi=DPI, metadata={"Date": None, "Creator": None})
    return png, svg

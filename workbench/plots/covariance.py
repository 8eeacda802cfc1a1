"""The covariance of one group's responses, with its effects integrated out: a heat map per estimator, or per theta.

What is drawn is computed in :mod:`workbench.marginal_covariance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import OptionError, nearest
from workbench.marginal_covariance import line_kernel, marginal_covariance
from workbench.plots import style
from workbench.plots.varying import INTERCEPT, Varying, figure4, measured, printable
from workbench.words import join, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from workbench.comparison import Comparison
    from workbench.design import Design, RandomBlock
    from workbench.fit import Fit

Array = NDArray[np.float64]

ROWS = 40
"""Up to so many rows of a group are drawn."""
WRITTEN = 6
"""Up to so many rows have their numbers written in."""
PANELS = 6
"""Up to so many estimators are drawn."""
APART = 5.0
"""Where the panels' largest values differ by more than this factor, each panel has a colour scale of its own."""
ABREAST = 30
"""Up to so many letters stand side by side below a panel; names of more are turned."""


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    titles : tuple of str
        Of the panels.
    matrices : tuple of array, shape (m, m)
        Covariances, in squared units of the response.
    labels : tuple of str
        Of rows and columns.
    """

    title: str
    caption: str
    alt: str
    x_label: str
    unit: str
    warnings: tuple[str, ...]
    titles: tuple[str, ...]
    matrices: tuple[Array, ...]
    labels: tuple[str, ...]

    @property
    def scales(self) -> tuple[tuple[float, float], ...]:
        """Ends of each panel's colours: the same for all, unless the largest values differ by more than `APART`."""
        ends = [(min(0.0, float(matrix.min())), float(matrix.max())) for matrix in self.matrices]
        if _scales_apart(self.matrices):
            return tuple(ends)
        return ((min(low for low, _ in ends), max(high for _, high in ends)),) * len(ends)


def applies(comparison: Comparison) -> bool:
    """Whether something but the intercept varies, and a fit says by how much."""
    return _block(comparison.design) is not None and bool(_able(comparison))


def view(
    comparison: Comparison, terms: tuple[Varying, ...] = (), group: str | None = None, level: str | None = None
) -> View:
    """Lay out the covariances of one group's rows under every estimator that has variance components.

    Parameters
    ----------
    comparison : Comparison
    terms : not used
    group, level : str, optional
        Whose rows; by default the largest level of the first factor by which more than the intercept varies.

    Raises
    ------
    OptionError
        No such group or level, or no estimator with variance components.
    """
    design, fits = comparison.design, _able(comparison)
    if design.family != "gaussian":
        raise OptionError(
            f"Responses of {design.family} models have variances that depend on their means: there is no one "
            "covariance matrix of a group's rows to draw. Draw the components, by variances()."
        )
    if not fits:
        raise OptionError("No fit here has variance components. Compare with reml, say.")
    block = _chosen(design, group)
    if level is not None and level not in block.levels:
        raise OptionError(f"{block.group} has no level {level!r}. {nearest(level, block.levels)}")
    place = int(np.argmax(block.sizes)) if level is None else list(block.levels).index(level)
    rows, labels, axis = _rows(design, block, place)
    whole = " ".join(filter(None, (_alike(comparison, fits), _kinds(design, block))))
    who = f"{printable(block.group)} {printable(str(block.levels[place]))}"
    matrices = tuple(marginal_covariance(fit, rows) for fit in fits.values())
    titles, first = tuple(style.title_of(name) for name in fits), matrices[0]
    ends = (
        f"under {titles[0]} the variance is {figure4(first[0, 0])} at {axis} {labels[0]} and "
        f"{figure4(first[-1, -1])} at {labels[-1]}, their covariance {figure4(first[0, -1])}"
    )
    return View(
        title=f"How responses of one group vary together: {who}",
        caption=(
            f"Covariances of {printable(measured(design), 60)} between rows of {who}, group effects integrated out: "
            f"Z Sigma Z' + sigma^2 I. Here {' '.join(filter(None, (f'{ends}.', _apart(titles, matrices), whole)))}"
        ),
        alt=" ".join(filter(None, (f"Heat maps of the covariance of {who}: {ends}.", _apart(titles, matrices)))),
        x_label=axis,
        unit="covariance",
        warnings=(),
        titles=titles,
        matrices=matrices,
        labels=labels,
    )


def view_of(
    x: ArrayLike, thetas: Mapping[str, tuple[float, float, float]], sigma: float = 0.0, name: str = "x"
) -> View:
    """Lay out what SDs of intercept and slope, and their correlation, make of rows at given x.

    Parameters
    ----------
    x : array, shape (m,)
    thetas : mapping of str to (intercept SD, slope SD, correlation)
        By the titles of their panels.
    sigma : float
        Residual SD; 0 for the kernel alone.
    name : str
        Of x.

    Examples
    --------
    >>> seen = view_of([0, 1], {"free": (2.0, 1.0, 0.5), "held at 0": (2.0, 1.0, 0.0)})
    >>> [matrix.tolist() for matrix in seen.matrices]
    [[[4.0, 5.0], [5.0, 7.0]], [[4.0, 4.0], [4.0, 5.0]]]
    """
    at = np.asarray(x, dtype=float)
    matrices = tuple(line_kernel(at, *theta) + sigma**2 * np.eye(len(at)) for theta in thetas.values())
    said = "; ".join(f"{title}: SDs {a:g} and {b:g}, correlation {r:g}" for title, (a, b, r) in thetas.items())
    own = " ".join(filter(None, (_apart(tuple(thetas), matrices), FREE)))
    return View(
        title="What a varying intercept and slope say of the responses",
        caption=f"k(x, x') = sa^2 + rho sa sb (x + x') + sb^2 x x', plus {sigma:g}^2 on the diagonal. {said}. {own}",
        alt=f"Heat maps of the covariance of rows at {name} {at.min():g} to {at.max():g}. {said}.",
        x_label=name,
        unit="covariance",
        warnings=(),
        titles=tuple(thetas),
        matrices=matrices,
        labels=tuple(f"{value:g}" for value in at),
    )


FREE = (
    "Where intercept and slope may be correlated, shifting x re-expresses the same covariances under other values; "
    "with the correlation held at 0 it makes another model."
)


# --- what is drawn ------------------------------------------------------------------------------------


def _able(comparison: Comparison) -> dict[str, Fit]:
    """Fits with the components of all blocks, the first of those that have the same ones."""
    found: dict[str, Fit] = {}
    if comparison.design.family != "gaussian":
        return found
    for name, fit in comparison.fits.items():
        if len(fit.components) != len(comparison.design.blocks) or not np.isfinite(fit.sigma):
            continue
        own = [*(part.covariance for part in fit.components), np.array(fit.sigma)]
        if not all(np.isfinite(values).all() for values in own):  # read from elsewhere, without correlations
            continue
        if not any(_same(fit, other) for other in found.values()):
            found[name] = fit
    return dict(list(found.items())[:PANELS])


def _same(fit: Fit, other: Fit) -> bool:
    """Whether two fits of a design have the same variances."""
    own, its = ([*(part.covariance for part in at.components), np.array(at.sigma)] for at in (fit, other))
    return len(own) == len(its) and all(np.allclose(a, b, rtol=1e-6) for a, b in zip(own, its, strict=True))


def _alike(comparison: Comparison, drawn: dict[str, Fit]) -> str:
    """Name the fits that have no panel because another's shows the same."""
    said = []
    for name, fit in drawn.items():
        same = [other for other, its in comparison.fits.items() if other not in drawn and _same(its, fit)]
        if same:
            said.append(f"The same as under {style.title_of(name)} they are under {join(map(style.title_of, same))}.")
    return " ".join(said)


def _block(design: Design) -> RandomBlock | None:
    return next((block for block in design.blocks if any(term != INTERCEPT for term in block.terms)), None)


def _chosen(design: Design, group: str | None) -> RandomBlock:
    if group is not None and group not in design.groups:
        raise OptionError(f"There is no grouping factor {group!r}. {nearest(group, design.groups)}")
    blocks = [block for block in design.blocks if group is None or block.group == group]
    return next((block for block in blocks if any(term != INTERCEPT for term in block.terms)), blocks[0])


def _rows(design: Design, block: RandomBlock, place: int) -> tuple[NDArray[np.intp], tuple[str, ...], str]:
    """The rows of a level in the order of the first column that varies in it, their labels, and its name."""
    rows = np.flatnonzero(block.codes == place)
    slopes = [k for k, term in enumerate(block.terms) if term != INTERCEPT]
    if not slopes:
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, ROWS).round().astype(int))] if len(rows) > ROWS else rows
        return chosen, tuple(f"{k + 1}" for k in range(len(chosen))), "row"
    x = block.Z[rows, slopes[0]]
    order = np.argsort(x, kind="stable")
    if len(rows) > ROWS:
        order = order[np.unique(np.linspace(0, len(rows) - 1, ROWS).round().astype(int))]
    return rows[order], tuple(f"{value:.4g}" for value in x[order]), printable(block.terms[slopes[0]])


def _scales_apart(matrices: Sequence[Array]) -> bool:
    """Whether one colour scale would leave some panel without differences."""
    largest = [float(np.abs(matrix).max()) for matrix in matrices]
    return max(largest) > APART * min(largest)


def _apart(titles: Sequence[str], matrices: Sequence[Array]) -> str:
    """That colours are each panel's own, and how far panels differ; empty where all have one scale."""
    if not _scales_apart(matrices):
        return ""
    largest = [float(np.abs(matrix).max()) for matrix in matrices]
    times = (
        f" The largest is {figure4(max(largest) / min(largest))} times the smallest panel's." if min(largest) else ""
    )
    runs = (
        f"from {figure4(float(matrix.min()))} to {figure4(float(matrix.max()))} under {title}"
        for title, matrix in zip(titles, matrices, strict=True)
    )
    return (
        "Every panel has a colour scale of its own, so that one colour is not one covariance: they run "
        f"{join(runs)}.{times}"
    )


def _kinds(design: Design, block: RandomBlock) -> str:
    """What may be said of shifts: only of an intercept and one slope."""
    own = [part for part in design.blocks if part.group == block.group]
    terms = [term for part in own for term in part.terms]
    return FREE if len(terms) == 2 and INTERCEPT in terms else ""


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> tuple[Axes, ...]:
    """Draw a view and return its panels' Axes; a given `ax` is divided among them and becomes the first."""
    count = len(seen.matrices)
    width = min(count, 3)
    height = -(-count // width)
    if ax is None:
        wide = 4.5 * width if _scales_apart(seen.matrices) else 3.6 * width + 1.2
        figure = style.new_figure(max(wide, 6.0), 3.5 * height + 0.9)
        figure.get_layout_engine().set(h_pad=0.1)  # type: ignore[call-arg, union-attr]
        figure.suptitle(
            seen.title, x=0.01, ha="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
            parse_math=False,
        )  # fmt: skip
        places = [list(row) for row in figure.subplots(height, width, squeeze=False)]
    else:
        places = style.divide(ax, height, width)
    flat = [place for row in places for place in row]
    own = _scales_apart(seen.matrices)
    for place, title, matrix, (low, high) in zip(flat, seen.titles, seen.matrices, seen.scales, strict=False):
        image = place.imshow(matrix, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
        _label(place, seen, title)
        if len(matrix) <= WRITTEN:
            _write(place, matrix, (low + high) / 2)
        if own:
            _bar(image, [place], seen.unit)
    for place in flat[count:]:
        place.set_axis_off()
    if not own:
        _bar(image, flat[:count], seen.unit)
    return tuple(flat[:count])


def _bar(image: AxesImage, beside: list[Axes], unit: str) -> None:
    """The scale of colours, beside one panel or all; its numbers are written out, thousands set off."""
    from matplotlib.ticker import FuncFormatter

    bar = beside[0].figure.colorbar(image, ax=beside, shrink=0.85)
    bar.set_label(unit, fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=style.SMALL)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: minus(f"{value:,.10g}")))


def _label(ax: Axes, seen: View, title: str) -> None:
    step = -(-len(seen.labels) // 10)
    at = list(range(0, len(seen.labels), step))
    names = [seen.labels[k] for k in at]
    ax.set_title(title, fontsize=style.TEXT, color=style.INK, parse_math=False)
    ax.set_xticks(at, labels=names, parse_math=False)
    ax.set_yticks(at, labels=names, parse_math=False)
    ax.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=style.SMALL, length=0)
    if sum(len(name) + 1 for name in names) > ABREAST:
        ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel(seen.x_label, fontsize=style.TEXT, color=style.INK, parse_math=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _write(ax: Axes, matrix: Array, middle: float) -> None:
    for i, row in enumerate(matrix):
        for k, value in enumerate(row):
            colour = "white" if value < middle else style.INK
            ax.text(k, i, figure4(value), ha="center", va="center", fontsize=style.SMALL, color=colour)

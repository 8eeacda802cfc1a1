"""The groups' ranks by estimator: lines cross where estimators order groups differently.

Beside them stands how sure the order is: each group's expected rank and the probability that it is the highest
(:mod:`workbench.ranking`). Beyond `WHOLE + SPARED` groups the highest and the lowest are drawn; lines between pass
through a band that all other ranks share.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError
from workbench.group_table import ranked
from workbench.plots import ranks_words as words
from workbench.plots import style
from workbench.plots.names import spread
from workbench.plots.ordering import alike, estimated, lead, moves, with_gaps
from workbench.plots.ordering import ranks as ranks_of
from workbench.plots.varying import Varying, printable, told_apart, truth, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.comparison import Comparison

Array = NDArray[np.float64]

WHOLE = 30
"""Of many groups half of so many are drawn at each end."""
SPARED = 10
"""A band that would hide no more groups than this hides none: all are drawn."""
BAND = 3.0
"""Places high is the band of the ranks between."""
PROBABLE = 2_000
"""Up to so many groups have probabilities here: ranks of so many draws take seconds."""
STAND_OUT = 1 / 3
"""At most this share of the groups stands out."""
FULL = ("hierarchical", "exact")
UP, DOWN = style.OWN, "#D55E00"
LETTER = 0.092
"""Inches of a letter of a name."""


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What the picture shows, as plain data.

    Attributes
    ----------
    title, caption, alt, x_label, y_label : str
    warnings : tuple of str
    estimators, titles : tuple of str, k of them
        From left to right; ``truth`` is the last where it is known.
    levels, labels : tuple of str, m of them
    ranks : array, shape (m, k)
        Among all groups, 1 the highest; ties share their mean rank. An estimator that ranks some alone has its places
        among them (:func:`workbench.plots.ordering.with_gaps`).
    moved : array, shape (m,)
        Places farthest from the first estimator's rank, positive where that is up, among the groups that all
        estimators rank; NaN of others.
    least : int
        So many places make a line stand out; 0 where none moves by one.
    groups, ends : int
        All groups; and so many are drawn of the highest and of the lowest each, 0 where all are.
    scored_by : str
        Title of the estimator of expected ranks and probabilities; empty where none has them.
    expected, highest : array, shape (m,)
        Expected rank, and the probability of being the highest.
    """

    title: str
    caption: str
    alt: str
    x_label: str
    y_label: str
    warnings: tuple[str, ...]
    estimators: tuple[str, ...]
    titles: tuple[str, ...]
    levels: tuple[str, ...]
    labels: tuple[str, ...]
    ranks: Array
    moved: Array
    least: int
    groups: int
    ends: int
    scored_by: str
    expected: Array
    highest: Array

    def place(self, rank: Array) -> Array:
        """Where ranks stand on the y axis: as they are, those that are not drawn squeezed into a band."""
        if not self.ends:
            return rank
        first, last = self.ends + 0.5, self.groups - self.ends + 0.5
        known = np.array([1.0, first, last, float(self.groups)])
        drawn = np.array([1.0, first, first + BAND, 2.0 * self.ends + BAND])
        return np.asarray(np.interp(rank, known, drawn))


def applies(comparison: Comparison) -> bool:
    """Whether at least two estimators order the groups of every term, or one and the truth."""
    return all(len(_ordering(comparison, v)) > 1 for v in varying(comparison))


def _ordering(comparison: Comparison, v: Varying) -> dict[str, Array]:
    """Values that order the groups, by estimator, the truth last.

    No pooling is the first, or without it the lead; the others follow by their spread.
    """
    values = {name: c for name, c in estimated(comparison, v).items() if not alike(c)}
    if not values:
        return {}
    spreads = {name: float(np.nanstd(c)) for name, c in values.items()}
    widest = max(spreads.values())
    first = "no_pooling" if "no_pooling" in values else lead(comparison, v)
    names = sorted(values, key=lambda name: (name != first, -round(spreads[name] / widest, 9)))
    found = {name: values[name] for name in names}
    true = truth(comparison, v)
    if true is not None and not alike(true):
        found["truth"] = true
    return found


def view(comparison: Comparison, v: Varying) -> View:
    """Lay out the picture of one varying term.

    Raises
    ------
    OptionError
        No two estimators order the groups.
    """
    values = _ordering(comparison, v)
    if len(values) < 2:
        raise OptionError(f"Ranks by estimator need two estimators that tell the groups of {v.group} apart.")
    pooled = list(values).index(lead(comparison, v))
    every = np.column_stack([ranks_of(c) for c in values.values()])
    at, ends = _chosen(every[:, pooled])
    true = every[:, -1] if "truth" in values else None
    if ends and true is not None and len(values) > 2:  # of few of many groups, lines to the truth run anywhere
        values.pop("truth")
        every = every[:, :-1]
    moved = _moved(np.column_stack([c for name, c in values.items() if name != "truth"]))
    least = _least(moved[at])
    scored_by, expected, highest = _scored(comparison, v)
    titles = tuple("truth" if name == "truth" else style.title_of(name) for name in values)
    alike_ones = [name for name in estimated(comparison, v) if name not in values]
    several = f", by {printable(v.group, 40)}" if len(comparison.design.groups) > 1 else ""
    part = f" ({len(at)} of {len(v.levels):,} groups)" if ends else ""
    caption = (
        words.places(v, ends, titles[pooled]), words.crossing(v, moved, moved[at], least, titles[0]),
        words.gaps(every, titles),
        words.ties(every[:, pooled], titles[pooled]), words.truly(every[:, pooled], true, ends, titles[pooled]),
        words.sure(comparison, scored_by, len(v.levels), PROBABLE), words.left_out(alike_ones),
    )  # fmt: skip
    return View(
        title=f"Ranks by estimator: {printable(v.quantity, 60)}{several}{part}",
        caption=" ".join(filter(None, caption)),
        alt=words.described(v, titles, every, moved, expected, highest, scored_by),
        x_label="",
        y_label=f"rank of {printable(v.group)} (1 the highest)",
        warnings=(),
        estimators=tuple(values),
        titles=titles,
        levels=tuple(v.levels[j] for j in at),
        labels=told_apart((v.levels[j] for j in at), 18),
        ranks=with_gaps(every)[at],
        moved=moved[at],
        least=least,
        groups=int(np.isfinite(every[:, pooled]).sum()),
        ends=ends,
        scored_by="" if scored_by is None else style.title_of(scored_by),
        expected=expected[at],
        highest=highest[at],
    )


def _chosen(rank: Array) -> tuple[NDArray[np.intp], int]:
    """The groups drawn, highest first, and how many of each end where these are not all."""
    order = np.argsort(rank, kind="stable")
    order = order[: int(np.isfinite(rank).sum())]
    if len(order) <= WHOLE + SPARED:
        return order, 0
    ends = WHOLE // 2
    return np.concatenate([order[:ends], order[-ends:]]), ends


def _moved(values: Array) -> Array:
    """Places to the rank that is farthest from the first estimator's, positive where that is up, shape (J,)."""
    away = moves(values)
    far = np.nan_to_num(np.abs(away), nan=-1.0).argmax(axis=1)
    return np.asarray(away[np.arange(len(away)), far])


def _least(moved: Array) -> int:
    """So many places that at most a third of the groups move so far; 0 where none moves by one."""
    size = np.abs(moved[np.isfinite(moved)])
    if not len(size) or size.max() < 1:
        return 0
    most = max(2, int(STAND_OUT * len(size)))
    steps: list[int] = sorted({3, *(k * 10**d for k in (1, 2, 5) for d in range(7)), int(size.max())})
    steps = [step for step in steps if step <= size.max()]
    return next((step for step in steps if (size >= step).sum() <= most), steps[-1])


def _scored(comparison: Comparison, v: Varying) -> tuple[str | None, Array, Array]:
    """Whose expected ranks and probabilities are shown, and these of all groups: of full Bayes where it is there."""
    J, q = len(v.levels), len(comparison.design.blocks[v.block].terms)
    names = [*(name for name in FULL if name in comparison.fits), lead(comparison, v)]
    for name in dict.fromkeys(names) if J <= PROBABLE else ():
        columns = ranked(comparison.fits[name], v.block, 1)
        expected, highest = (columns[key].reshape(J, q)[:, v.column] for key in ("expected_rank", "p_highest"))
        if np.isfinite(highest).any():
            return name, expected, highest
    return None, np.full(J, np.nan), np.full(J, np.nan)


# --- drawing ------------------------------------------------------------------------------------------


def draw(seen: View, ax: Axes | None = None) -> Axes:
    """Draw a view on the given Axes, or on a figure of its own; the highest rank is at the top."""
    k, bottom = len(seen.titles), float(seen.place(np.array([float(seen.groups)]))[0])
    ax = ax or style.new_axes(9.0, min(max(1.9 + 0.235 * bottom, 3.4), 11.5))
    style.frame(ax, seen.title, seen.y_label)
    ax.grid(False, axis="y")
    ax.set_ylim(bottom + 0.7, -0.5 if seen.scored_by else 0.3)
    right = _reach(ax, seen, k - 1)
    ax.set_xticks(np.arange(k), labels=[fill(title, right[3]) for title in seen.titles], parse_math=False)
    for at in range(k):
        ax.axvline(at, color=style.RULE, linewidth=0.8, zorder=0.8)
    ax.set_yticks(seen.place(_ticks(seen)), labels=[f"{int(tick):,}" for tick in _ticks(seen)])
    if seen.ends:
        first = seen.ends + 0.5
        ax.axhspan(first, first + BAND, color="#e4e7eb", linewidth=0, zorder=0.5)
        ax.text(
            (k - 1) / 2, first + BAND / 2, f"{seen.groups - 2 * seen.ends:,} others", ha="center", va="center",
            fontsize=style.SMALL, color=style.MUTED, zorder=6,
            bbox={"facecolor": "#e4e7eb", "edgecolor": "none", "pad": 2.0},
        )  # fmt: skip
    _lines(ax, seen)
    _names(ax, seen, 0, -right[2], "right")
    _names(ax, seen, k - 1, right[2], "left")
    if seen.scored_by:
        _scores(ax, seen, right)
    _legend(ax, seen)
    return ax


def _ticks(seen: View) -> Array:
    if not seen.ends:
        inner = np.arange(5, seen.groups - 1, 5)
        return np.unique([1.0, *inner.tolist(), float(seen.groups)])
    low = seen.groups - np.array([seen.ends - 1, 9, 4, 0])
    return np.array([1.0, 5.0, 10.0, seen.ends, *low.tolist()])


def _reach(ax: Axes, seen: View, width: int) -> tuple[float, float, float, int]:
    """Make room for names and figures: where the two columns stand, how far names keep off, letters for a title."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    inches = figure.get_figwidth() * (0.9 if figure.get_layout_engine() is not None else ax.get_position().width)
    longest = max(len(label) for label in seen.labels)
    name = min((LETTER * longest + 0.3) / inches, 0.25)
    column = 0.95 / inches if seen.scored_by else 0.0
    scale = width / max(1 - 2 * name - 2 * column - 0.02, 0.2)
    ax.set_xlim(-(name + 0.01) * scale, width + (name + 2 * column + 0.01) * scale)
    letters = int(np.clip(inches / scale / (0.95 * LETTER), 8, 14))
    return width + (name + 0.9 * column) * scale, width + (name + 1.9 * column) * scale, 0.2 / inches * scale, letters


def _lines(ax: Axes, seen: View) -> None:
    estimators = len(seen.titles) - (seen.estimators[-1] == "truth")
    for j, (row, moved) in enumerate(zip(seen.ranks, seen.moved.tolist(), strict=True)):
        out = seen.least > 0 and abs(moved) >= seen.least
        colour = (UP if moved > 0 else DOWN) if out else "#8b9097"
        y = seen.place(row)
        ax.plot(
            np.arange(estimators), y[:estimators], color=colour, linewidth=2.2 if out else 1.1,
            linestyle=(0, (5, 1.6)) if out and moved < 0 else "-", marker="o", markersize=6 if out else 4.5,
            markeredgewidth=0, zorder=4 if out else 3, gid=f"group {j}",
        )  # fmt: skip
        if estimators < len(row):
            ax.plot(
                [estimators - 1, estimators], y[-2:], color=colour, linewidth=1.0, linestyle=(0, (1, 2)), zorder=2.5
            )
            ax.plot(
                [estimators], y[-1:], color=style.TRUTH, marker="s", markersize=5, linestyle="none",
                markeredgewidth=0, zorder=4,
            )  # fmt: skip


def _rows(seen: View, column: int) -> Array:
    """Where the names at an end stand: at their rank there, a row each where they tie; NaN without a rank there."""
    bottom = float(seen.place(np.array([float(seen.groups)]))[0])
    known = np.isfinite(seen.ranks[:, column]) & ~_unnamed(seen, column)
    wanted = seen.place(seen.ranks[known, column])
    found = np.full(len(known), np.nan)
    found[known] = spread(wanted + 1e-9 * np.arange(len(wanted)), 1.0, 1.0, max(bottom, float(len(wanted))))
    return found


def _unnamed(seen: View, column: int) -> NDArray[np.bool_]:
    """The groups that share the band at an end with so many others that names would point to one place."""
    rank = seen.ranks[:, column]
    if not seen.ends:
        return np.zeros(len(rank), dtype=bool)
    between = (rank > seen.ends + 0.5) & (rank < seen.groups - seen.ends + 0.5)
    return between & (between.sum() > BAND)


def _names(ax: Axes, seen: View, column: int, off: float, side: str) -> None:
    at = seen.place(seen.ranks[:, column])
    crowd = int(_unnamed(seen, column).sum())
    if crowd:
        ax.text(
            column + off, seen.ends + 0.5 + BAND / 2, f"{crowd} of\n{len(at)}\ndrawn", ha=side, va="center",
            fontsize=style.SMALL, color=style.MUTED, linespacing=0.95,
        )  # fmt: skip
    for name, y, place in zip(seen.labels, _rows(seen, column).tolist(), at.tolist(), strict=True):
        if not np.isfinite(y):
            continue
        if abs(y - place) > 0.2:
            ax.plot([column + 0.35 * off, column + 0.9 * off], [place, y], color=style.FAINT, linewidth=0.7, zorder=2)
        ax.text(
            column + off, y, name, ha=side, va="center", fontsize=style.SMALL, color=style.INK, parse_math=False
        )  # fmt: skip


def _scores(ax: Axes, seen: View, right: tuple[float, float, float, int]) -> None:
    """Expected ranks and probabilities beside the names at the right end."""
    for x, head in ((right[0], "expected\nrank"), (right[1], "P(highest)")):
        ax.text(x, 0.35, head, ha="right", va="bottom", fontsize=style.SMALL, color=style.MUTED, linespacing=0.95)
    rows = _rows(seen, len(seen.titles) - 1).tolist()
    for y, expected, highest in zip(rows, seen.expected.tolist(), seen.highest.tolist(), strict=True):
        if not np.isfinite(y):
            continue
        for x, text in ((right[0], f"{expected:.1f}"), (right[1], _probability(highest))):
            known = "–" if text == "nan" else text
            ax.text(x, y, known, ha="right", va="center", fontsize=style.SMALL, color=style.INK)
    ax.text(
        right[1], ax.get_ylim()[0] + 0.35, f"by {seen.scored_by}", ha="right", va="top", fontsize=style.SMALL,
        color=style.MUTED, parse_math=False,
    )  # fmt: skip


def _probability(p: float) -> str:
    """Two decimals; none of the draws is no proof that it is never so.

    Examples
    --------
    >>> _probability(0.437), _probability(0.0021), _probability(0.0)
    ('0.44', '<0.01', '<0.01')
    """
    return "<0.01" if p < 0.005 else f"{p:.2f}"


def _legend(ax: Axes, seen: View) -> None:
    from matplotlib.lines import Line2D

    moved = seen.moved[np.isfinite(seen.moved)]
    if not seen.least or not (np.abs(moved) >= seen.least).any():
        return
    places = "1 place or more" if seen.least == 1 else f"{seen.least:,} places or more"
    handles = [Line2D([], [], linestyle="none", label=f"against {seen.titles[0]}, some estimator moves it:")]
    if (moved >= seen.least).any():
        handles.append(Line2D([], [], color=UP, linewidth=2.2, label=f"up {places}"))
    if (moved <= -seen.least).any():
        handles.append(Line2D([], [], color=DOWN, linewidth=2.2, linestyle=(0, (5, 1.6)), label=f"down {places}"))
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=style.SMALL,
        labelcolor=style.INK, borderaxespad=0.2, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
    ax.set_title(
        ax.get_title(loc="left"), loc="left", fontsize=style.TEXT + 1.5, fontweight="bold", color=style.INK,
        parse_math=False, pad=28,
    )  # fmt: skip

"""Which estimator orders the groups of a picture, and which of many groups it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.plots.varying import PARTIAL, UNPOOLED, Varying, coefficients
from workbench.rounding import DIGITS
from workbench.words import count, join, level_in_words, middle_cut

if TYPE_CHECKING:
    from workbench.comparison import Comparison

Array = NDArray[np.float64]

SAME = 1e-9
"""Differences below this share of the range are none."""


def known(comparison: Comparison, estimator: str) -> str:
    """The name of a fit that is there.

    Raises
    ------
    OptionError
        It is not; the message names the nearest.
    """
    if estimator not in comparison.fits:
        raise OptionError(f"There is no fit of {estimator!r} here. {nearest(str(estimator), comparison.fits)}")
    return estimator


def estimated(comparison: Comparison, v: Varying) -> dict[str, Array]:
    """Group coefficients of a term, shape (J,) each, of the estimators that have any."""
    every = {name: coefficients(fit, v) for name, fit in comparison.fits.items()}
    return {name: c for name, c in every.items() if np.isfinite(c).any()}


def alike(values: Array) -> bool:
    """Whether all known values are one number, as with complete pooling or a spread of zero.

    Examples
    --------
    >>> alike(np.array([2.0, 2.0 + 1e-13, np.nan])), alike(np.array([2.0, 2.1]))
    (True, False)
    """
    there = values[np.isfinite(values)]
    return not len(there) or float(np.ptp(there)) <= DIGITS * float(np.abs(there).max())


def lead(comparison: Comparison, v: Varying, by: str | None = None) -> str:
    """The estimator whose coefficients order the groups: the one that is named, else the one that stands for pooling.

    Unless named, one whose groups are all alike orders nothing and is passed over while another does.

    Raises
    ------
    OptionError
        No such fit, or none has coefficients of the term.
    """
    values = estimated(comparison, v)
    if by is not None:
        if known(comparison, by) not in values:
            raise OptionError(f"{by} has no coefficients of {v.term} to go by. {nearest(by, values)}")
        return by
    if not values:
        raise OptionError(f"No fit here has coefficients of {v.term} by {v.group}, so there is nothing to draw.")
    partial = [name for name in PARTIAL if name in values]
    others = [name for name in values if name not in (*PARTIAL, *UNPOOLED)]
    ranked = [*partial, *others, *(name for name in reversed(UNPOOLED) if name in values)]
    return next((name for name in ranked if not alike(values[name])), ranked[0])


@dataclass(frozen=True)
class Stretch:
    """Groups that stand side by side in a picture: how many, and which ones, in words."""

    count: int
    words: str


@dataclass(frozen=True, eq=False)
class Thinned:
    """Which of J groups are shown, from the lowest up.

    Attributes
    ----------
    index : array of int, shape (m,)
    stretches : tuple of Stretch
        Of the lowest, of those between, of the highest; a single one where all groups are shown.
    unknown : int
        How many of them have no value; they stand first.
    """

    index: NDArray[np.intp]
    stretches: tuple[Stretch, ...]
    unknown: int


def thin(by: Array, ends: int, middle: int) -> Thinned:
    """All groups in the order of their values, or the lowest, the highest and an even choice of those between.

    Parameters
    ----------
    by : array, shape (J,)
        NaN where a group has no value: these stand before the lowest, and are left out where not all are shown.
    ends : int
        So many of the lowest and as many of the highest, where J is larger than `2 ends + middle`.
    middle : int
        So many of those between; 0 for none.

    Examples
    --------
    >>> found = thin(np.arange(10.0), 2, 1)
    >>> found.index.tolist(), [part.words for part in found.stretches]
    ([0, 1, 5, 8, 9], ['2 lowest', '1 of 6 between', '2 highest'])
    """
    order = np.argsort(by, kind="stable")
    missing = int(np.isnan(by).sum())
    order = np.concatenate([order[len(by) - missing :], order[: len(by) - missing]])
    if len(by) <= 2 * ends + middle:
        return Thinned(order, (Stretch(len(by), count(len(by), "group")),), missing)
    order = order[missing:]
    if len(order) <= 2 * ends + middle:
        return Thinned(order, (Stretch(len(order), count(len(order), "group")),), 0)
    between = order[ends:-ends]
    chosen = between[((np.arange(middle) + 0.5) * len(between) / max(middle, 1)).astype(np.intp)]
    parts = [Stretch(ends, f"{ends} lowest"), Stretch(ends, f"{ends} highest")]
    if middle:
        parts.insert(1, Stretch(middle, f"{middle} of {len(between):,} between"))
    return Thinned(np.concatenate([order[:ends], chosen, order[-ends:]]), tuple(parts), 0)


def ranks(values: Array) -> Array:
    """Rank 1 for the highest; those that tie, but for rounding, share their mean rank; NaN where there is no value.

    Examples
    --------
    >>> ranks(np.array([3.0, 7.0, np.nan, 3.0 + 1e-14])).tolist()
    [2.5, 1.0, nan, 2.5]
    """
    from scipy.stats import rankdata

    known = np.isfinite(values)
    found = np.full(values.shape, np.nan)
    if known.any():
        width = float(np.ptp(values[known]))
        close = SAME * width if not alike(values) else max(width, 1.0)
        found[known] = rankdata(-np.round((values[known] - values[known].min()) / (2 * close)))
    return found


def with_gaps(every: Array) -> Array:
    """Ranks with the places of groups that an estimator does not rank left empty, so that a level line is no change.

    The empty places are those that these groups have in the nearest column that ranks everybody, the right one first.

    Parameters
    ----------
    every : array, shape (J, k)
        Ranks by estimator, NaN of groups that it does not rank.

    Examples
    --------
    >>> with_gaps(np.array([[1.0, 1.0], [np.nan, 2.0], [2.0, 3.0], [3.0, 4.0]]))[:, 0].tolist()
    [1.0, nan, 3.0, 4.0]
    """
    known = np.isfinite(every)
    whole = [k for k in range(every.shape[1]) if known[:, k].all()]
    found = every.copy()
    for k in range(every.shape[1]) if whole else ():
        own = known[:, k]
        if own.all() or not own.any():
            continue
        near = min(whole, key=lambda other: (abs(other - k), other < k))
        places = np.sort(every[own, near])
        found[own, k] = np.interp(every[own, k], np.arange(1.0, len(places) + 1), places)
    return found


def moves(values: Array) -> Array:
    """Places that every column moves a group up (negative: down) from its rank in the first, shape (J, k).

    Ranked among the groups that all columns know, NaN of others: whom a column leaves out, moves nobody. Where the
    places that two ties take up overlap, nothing has moved.

    Parameters
    ----------
    values : array, shape (J, k)

    Examples
    --------
    >>> moves(np.array([[9.0, np.nan], [5.0, 5.0], [4.0, 6.0], [1.0, 1.0]]))[:, 1].tolist()
    [nan, -1.0, 1.0, 0.0]
    >>> moves(np.array([[3.0, 3.0], [3.0, 2.0], [3.0, 1.0]]))[:, 1].tolist()
    [0.0, 0.0, 0.0]
    """
    common = np.isfinite(values).all(axis=1)
    found = np.full(values.shape, np.nan)
    if not common.any():
        return found
    rank = np.column_stack([ranks(column) for column in values[common].T])
    half = np.column_stack([_half(column) for column in rank.T])
    away = rank[:, :1] - rank
    found[common] = np.where(np.abs(away) <= half[:, :1] + half, 0.0, away)
    return found


def _half(rank: Array) -> Array:
    """How far the places of a tie reach to either side of their mean rank."""
    _, which, many = np.unique(rank, return_inverse=True, return_counts=True)
    return np.asarray((many[which] - 1) / 2)


def farthest(v: Varying, moved: Array) -> str:
    """Who moves farthest, in a sentence; of several that move equally far up to three, and how many these are.

    `moved` has the places of every level, shape (J,), NaN where it has no rank.
    """
    size = np.nan_to_num(np.abs(moved), nan=0.0)
    most = float(size.max(initial=0.0))
    if most <= 1:
        return "None moves by more than 1 place."
    at = np.flatnonzero(size == most).tolist()
    ways = ["up" if moved[j] > 0 else "down" for j in at]
    if len(at) == 1:
        return f"Farthest: {level_in_words(v.group, v.levels[at[0]])} goes {ways[0]} {most:g}."
    named = join(f"{middle_cut(v.levels[j])} ({way})" for j, way in list(zip(at, ways, strict=True))[:3])
    among = ", among them" if len(at) > 3 else ":"
    return f"Farthest, by {most:g} places, go {count(len(at), 'group')}{among} {named}."

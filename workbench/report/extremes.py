"""Which of many levels a reader is shown, and why.

Up to `WHOLE` levels stand in the page, each with all its estimates. Beyond that these are shown, per varying term:

==========================================  =====================================================================
the lowest and the highest                  by the fit that pools partially, REML where it is there
those that pooling moves farthest           from what the group says by itself to that fit's coefficient
those where partial pooling is in dispute   by the range of the coefficients of all fits that pool partially, where
                                            it reaches `APART` of a typical standard error
==========================================  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import UNPOOLED, Varying, coefficients, column, own, partial
from workbench.words import join, places_for

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

Array = NDArray[np.float64]

WHOLE = 60
"""Up to so many levels stand in the page."""
EXTREMES = 15
"""Beyond that, so many of the lowest and of the highest,"""
FARTHEST = 10
"""and so many of those moved farthest, and of those where the estimators lie farthest apart."""

APART = 0.01
"""Estimators that nowhere lie farther apart than this share of the median standard error are not in dispute."""


@dataclass(frozen=True, eq=False)
class Farthest:
    """The levels with the largest of some distances.

    Attributes
    ----------
    key : str
        Short and unique, for a table.
    why : str
        What they were chosen for, to follow "the levels".
    heading : str
        Of the column of distances.
    distance : array, shape (J,)
        Of every level; NaN where there is none.
    levels : array of int
        The chosen ones, the largest distance first.
    """

    key: str
    why: str
    heading: str
    distance: Array
    levels: NDArray[np.intp]


def ends(values: Array, whole: int = WHOLE, each: int = EXTREMES) -> tuple[list[int], list[int]]:
    """Which of many levels to show: all of them, or the lowest and the highest by value.

    Examples
    --------
    >>> ends(np.array([3.0, 1.0, 2.0, 5.0]), whole=3, each=1)
    ([1], [3])
    """
    if len(values) <= whole:
        return list(range(len(values))), []
    order = np.argsort(values, kind="stable")
    known = int(np.isfinite(values).sum())
    each = min(each, known // 2)
    return order[:each].tolist(), order[known - each : known].tolist()


def leading(comparison: Comparison) -> Fit:
    """The fit that orders the levels: partial pooling where there is some."""
    return comparison.fits[partial(comparison) or list(comparison.fits)[-1]]


def decimals(comparison: Comparison, v: Varying) -> int:
    """How many decimals the tables show of a term's coefficients."""
    lead = leading(comparison)
    return places_for(column(lead.group_effects[v.block].coefficient, v, "std_error"), coefficients(lead, v))


def farthest(comparison: Comparison, v: Varying) -> tuple[Farthest, ...]:
    """What else there is to see among many levels: those moved farthest, and those in dispute; nothing for few."""
    if len(v.levels) <= WHOLE:
        return ()
    return tuple(found for found in (_moved(comparison, v), _apart(comparison, v)) if found is not None)


def _moved(comparison: Comparison, v: Varying) -> Farthest | None:
    name, alone = partial(comparison), own(comparison, v)
    if name is None or alone is None:
        return None
    distance = np.abs(coefficients(comparison.fits[name], v) - alone)
    why = f"whose {title_of(name)} estimate lies farthest from their {v.own_label}"
    return _largest("moved", why, "moved by", distance)


def _apart(comparison: Comparison, v: Varying) -> Farthest | None:
    names = [name for name in comparison.fits if name not in UNPOOLED]
    if len(names) < 2:
        return None
    distance = np.ptp([coefficients(comparison.fits[name], v) for name in names], axis=0)
    error = column(leading(comparison).group_effects[v.block].coefficient, v, "std_error")
    known = error[np.isfinite(error)]
    if not len(known) or not np.nanmax(distance, initial=0.0) > APART * float(np.median(known)):
        return None
    why = f"where {join(title_of(name) for name in names)} lie farthest apart"
    return _largest("apart", why, "range", distance)


def _largest(key: str, why: str, heading: str, distance: Array) -> Farthest | None:
    levels = np.argsort(-distance, kind="stable")[: min(FARTHEST, int(np.isfinite(distance).sum()))]
    return Farthest(key, why, heading, distance, levels) if len(levels) else None

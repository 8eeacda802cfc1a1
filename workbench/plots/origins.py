"""Correlations of intercepts and slopes near 1 or -1: on the boundary, or because x = 0 lies far from the data.

An intercept is the line's height at x = 0. Where no row lies near there, it is the height at the data minus a long way
along the slope, and correlates with it almost perfectly however regular the fit is: with c the data's middle and
a' = a + c b the height there, cov(a, b) = cov(a', b) - c var(b). Singular is a fit that says so itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import INTERCEPT, figure4, printable
from workbench.rounding import rounded

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

ON_BOUNDARY = 1e-4
"""Of a fit that is singular, a correlation that comes closer than this to 1 or -1 is what makes it so."""
CLOSE = 0.99
"""From this size on a correlation is remarkable, and its reason is named."""
FINEST = 10
"""Decimals that a correlation is written with at most."""
WHOLE = (-1.05, 1.05)
"""The axis of a correlation."""
NARROW = 0.1
"""Where all that is known of a correlation takes up less than this, at an end, it has an axis of its own."""


def correlation4(r: float) -> str:
    """A correlation with four decimals, or as many as tell it from 1 or -1.

    Examples
    --------
    >>> correlation4(0.06555), correlation4(-0.999988), correlation4(-1.0), correlation4(1 - 1e-14)
    ('0.0656', '-0.99999', '-1', '1')
    """
    if not np.isfinite(r):
        return figure4(r)
    away = 1 - abs(r)
    places = 4 if away >= 1e-4 else int(np.ceil(-np.log10(away))) if away >= 10.0**-FINEST else 0
    text = f"{rounded(r, places):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "-") else text


def singular(fit: Fit, group: str, covariance: Array) -> bool:
    """Whether the covariance of two terms, shape (2, 2), lies on the boundary: where the fit itself is singular there.

    A fit that lists the factors on their boundary is singular for these alone; an SD of zero is always singular.
    """
    sd = np.sqrt(np.diag(covariance))
    if not sd.all():
        return True
    where = fit.diagnostics.get("boundary")
    if not fit.singular or (where is not None and group not in where):
        return False
    return bool(1 - abs(covariance[0, 1]) / np.prod(sd) < ON_BOUNDARY)


def far_from_zero(design: Design, block: int, terms: tuple[str, str], covariance: Array, title: str) -> str:
    """Why intercepts and slopes of a block correlate so closely: x = 0 lies far from the data; empty if it does not.

    Parameters
    ----------
    terms : tuple of two str
        Of the block, the intercept among them.
    covariance : array, shape (2, 2)
        Of both, in that order.
    title : str
        Whose covariance it is.
    """
    if INTERCEPT not in terms:
        return ""
    slope = 1 - terms.index(INTERCEPT)
    x = design.blocks[block].Z[:, design.blocks[block].terms.index(terms[slope])]
    low, high, middle = float(x.min()), float(x.max()), float(x.mean())
    away = max(low, -high)
    if away <= high - low or high == low:
        return ""
    name, a, b = printable(terms[slope], 40), 1 - slope, slope
    across = float(covariance[a, b] + middle * covariance[b, b])
    level = float(covariance[a, a] + 2 * middle * covariance[a, b] + middle**2 * covariance[b, b])
    lost = 1e-10 * float(covariance[a, a])  # what rounding leaves of a difference of large numbers
    there = ""
    if level > lost and covariance[b, b] > 0:
        r = across / np.sqrt(level * covariance[b, b])
        there = f" At {name} = {figure4(middle)}, the rows' mean, {title}'s correlation is {correlation4(round(r, 4))}."
    return (
        f"{name} = 0, where intercepts stand, lies {figure4(away)} from the nearest row (rows run from {figure4(low)} "
        f"to {figure4(high)}): that far off, lines stand in the order of their slopes, which is all that makes the "
        f"correlation so close to 1 or -1.{there}"
    )


def near_one(known: Array) -> tuple[float, float]:
    """The axis of a correlation: the whole one, or that of the values alone where they crowd at one of its ends.

    Examples
    --------
    >>> near_one(np.array([0.2, 0.95])), near_one(np.array([1.0]))
    ((-1.05, 1.05), (-1.05, 1.05))
    >>> [round(end, 5) for end in near_one(np.array([-0.9998, -0.9999]))]
    [-1.00001, -0.99978]
    """
    if not len(known):
        return WHOLE
    low, high = float(known.min()), float(known.max())
    edge = -1.0 if low < 0 else 1.0
    width = max(abs(edge - low), abs(edge - high))
    if width > NARROW or width < 10.0**-FINEST or np.ptp(known) < 1e-3 * width or min(abs(known)) < CLOSE - NARROW:
        return WHOLE
    return (edge - 0.06 * width, high + 0.1 * width) if edge < 0 else (low - 0.1 * width, edge + 0.06 * width)


def why_near_one(comparison: Comparison, names: Sequence[str], limits: Sequence[tuple[float, float]]) -> list[str]:
    """Sentences about correlations whose axis is not the whole one, and about their reason.

    Parameters
    ----------
    names : sequence of str
        Of parameters, as ``cor(g, (Intercept), x)``.
    limits : sequence of pairs of floats
        Of their axes.
    """
    said = []
    for name, ends in zip(names, limits, strict=True):
        if not name.startswith("cor(") or ends == WHOLE:
            continue
        edge = "-1" if ends[0] < 0 else "1"
        said.append(f"The axis of a correlation near {edge} shows the stretch beside {edge} alone.")
        said += _reasons(comparison, name)
    return list(dict.fromkeys(said))


def _reasons(comparison: Comparison, name: str) -> list[str]:
    """Why intercept and slope correlate so, by the first fit of which it can be said."""
    for title, fit in ((title_of(key), fit) for key, fit in comparison.fits.items()):
        for block, part in enumerate(fit.components):
            for k, first in enumerate(part.terms):
                for m in range(k + 1, len(part.terms)):
                    both = part.covariance[np.ix_([k, m], [k, m])]
                    if f"cor({part.group}, {first}, {part.terms[m]})" == name and np.isfinite(both).all():
                        if abs(part.correlation[k, m]) < CLOSE or singular(fit, part.group, both):
                            continue
                        return [far_from_zero(fit.design, block, (first, part.terms[m]), both, title)]
    return []

"""The sentences of the picture of two terms, each computed from what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.arrows import ARROWS, DOTS, SDS
from workbench.plots.origins import CLOSE, correlation4, far_from_zero
from workbench.plots.pairs import Pair
from workbench.plots.varying import figure4, printable
from workbench.words import join, level_in_words, middle_cut, percent

if TYPE_CHECKING:
    from workbench.design import Design
    from workbench.plots.plane import Panel

Array = NDArray[np.float64]


def marks(pair: Pair, panels: Sequence[Panel], set_out: bool, J: int, complete: bool, true: bool) -> str:
    """What dots, arrows and contours are."""
    group, dots = printable(pair.group, 40), "dot" if J <= DOTS else "hexagon"
    said = []
    if set_out:
        small = "Open circles" if J <= ARROWS else "Small open circles"
        said.append(
            f"{small}: each {group}'s own (no-pooling) estimates; arrows lead to those of the estimator named above."
        )
    else:
        said.append(f"Dots: each {group}'s estimates by the estimator named above.")
    if J > DOTS:
        said.append("The darker a hexagon, the more groups have their estimates there.")
    elif J > ARROWS and set_out:
        said.append(f"Every other group's estimate is a {dots}.")
    said.append("Diamond: the population values" + ("; square: complete pooling." if complete else "."))
    if any(panel.contours for panel in panels):
        line = "lines" if all(p.singular for p in panels if p.contours) else "ellipses"
        shares = join(percent(1 - np.exp(-(k**2) / 2)) for k in SDS)
        held = f", which hold {shares} of a normal population" if line == "ellipses" else ""
        said.append(f"The {line} are the 1, 2 and 3 SD contours of the estimated covariance of groups{held}.")
    if true:
        said.append("Red dots: the truth.")
    return " ".join(said)


def covariances(design: Design, pair: Pair, panels: Sequence[Panel]) -> str:
    """SDs and correlation by estimator, those that are the same named together; and why one is all but 1 or -1."""
    found: dict[str, list[str]] = {}
    close = ""
    for panel in panels:
        if panel.covariance is None:
            continue
        a, b = np.sqrt(np.diag(panel.covariance))
        if a > 0 and b > 0:
            r = panel.covariance[0, 1] / (a * b)
            fallen = " (singular: the ellipses are lines)" if panel.singular else ""
            text = f"SDs {figure4(a)} and {figure4(b)}, correlation {correlation4(r)}{fallen}"
            if not (panel.singular or close) and abs(r) >= CLOSE and pair.first.block == pair.second.block:
                both = (pair.first.term, pair.second.term)
                close = far_from_zero(design, pair.first.block, both, panel.covariance, panel.title)
        else:
            text = f"SDs {figure4(a)} and {figure4(b)} (singular: the ellipses are {'lines' if a or b else 'a point'})"
        found.setdefault(text, []).append(panel.title)
    if not found:
        return ""
    said = "; ".join(f"{join(names)}: {text}" for text, names in found.items())
    return f"{said}. {close}" if close else f"{said}."


def farthest(pair: Pair, own: Array, lead: Panel, order: NDArray[np.intp], inside: Sequence[int]) -> str:
    """Which group the first panel's estimator moves farthest, and who is named."""
    if not len(order):
        return ""
    j = int(order[0])
    start, end = (", ".join(figure4(value) for value in point[j]) for point in (own, lead.estimate))
    named = f" {join(middle_cut(pair.first.levels[k]) for k in inside)} are named." if len(inside) > 1 else ""
    return (
        f"{lead.title} moves {level_in_words(pair.group, pair.first.levels[j])} farthest, in units of the "
        f"middle half of own estimates: from ({start}) to ({end}).{named}"
    )


def thinned(pair: Pair, arrows: int, known: int, J: int, farthest_ones: int) -> str:
    """How many of how many groups have arrows."""
    if arrows >= known:
        return ""
    which = f"the {farthest_ones} moved farthest, and others evenly spaced by how far"
    return f"Of {J:,} levels of {printable(pair.group, 40)} {arrows} have arrows: {which}."


def beyond(count: int) -> str:
    """How many arrows set out beyond the frame."""
    if not count:
        return ""
    what = "own estimates with an arrow lie" if count > 1 else "own estimate with an arrow lies"
    return f"{count:,} {what} outside the frame."

"""The sentences of the picture of regressions, each computed from what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.plots import style
from workbench.plots.covariates import Raw
from workbench.plots.varying import INTERCEPT, Varying, coefficients, figure4, own, printable
from workbench.words import join, level_in_words

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit


DRAWN_AS = {"no_pooling": "dashed", "complete_pooling": "dotted", "population": "dotted"}


def marks(present: Sequence[tuple[str, str]], places: Sequence[int], design: Design, v: Varying, most: int) -> str:
    """What dots and lines are; `places` are those of the lines among the estimators that pool partially."""
    lines = [
        f"{DRAWN_AS.get(name, 'solid' if k == 0 else 'dash-dotted')}: {label}"
        for k, (name, label) in zip(places, present, strict=True)
    ]
    alone = any(name == "no_pooling" for name, _ in present)
    text = "; ".join(lines)
    missing = "" if alone else " There is no fit without pooling here."
    scale = f" Lines are means of {printable(design.response, 40)}, taken through the {design.link} link."
    largest = int(design.blocks[v.block].sizes.max())
    rows = "Dots: rows" + (f", at most {most} of a group" if largest > most else "")
    return f"{rows}. {text[0].upper()}{text[1:]}.{missing}{scale if design.link != 'identity' else ''}"


def others(columns: dict[str, Raw], others: Sequence[str], design: Design, several: bool, v: Varying) -> str:
    """Where the other columns are held."""
    said = []
    numeric = [printable(name, 30) for name in others if columns[name].levels is None]
    labels = [printable(name, 30) for name in others if columns[name].levels is not None]
    shown = numeric if len(numeric) <= 4 else [*numeric[:3], f"{len(numeric) - 3} others"]
    if numeric:
        said.append(f"{join(shown)} at {'its mean' if len(numeric) == 1 else 'their means'} in the group")
    if labels:
        said.append(f"{join(labels)} at the group's commonest level")
    if design.offset.any():
        said.append("the offset at its mean in the group")
    if several:
        said.append(f"{join(printable(g, 30) for g in design.groups if g != v.group)} at the population's value")
    return f"Held: {'; '.join(said)}." if said else ""


def moved(comparison: Comparison, lead: Fit, by: Varying) -> str:
    """The group whose own value the lead moves farthest."""
    alone = own(comparison, by)
    if alone is None:
        return ""
    values = coefficients(lead, by)
    gap = np.abs(values - alone)
    if not np.isfinite(gap).any():
        return ""
    j = int(np.nanargmax(gap))
    what = "intercept" if by.term == INTERCEPT else f"coefficient of {printable(by.term, 30)}"
    return (
        f"Moved farthest in its {what} is {level_in_words(by.group, by.levels[j])}: {figure4(alone[j])} by "
        f"itself, {figure4(values[j])} under {style.title_of(lead.estimator)}."
    )

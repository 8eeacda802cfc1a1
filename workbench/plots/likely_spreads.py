"""Profile intervals of the SDs of counts and shares, by Laplace's likelihood, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import WorkbenchError
from workbench.inference.spread_likelihoods import feasible
from workbench.inference.spread_path import likely_spread
from workbench.plots import style
from workbench.words import join

if TYPE_CHECKING:
    from workbench.design import Design
    from workbench.fit import Fit

OF_COUNTS = 600
"""Of so many effects at the most they are quick."""


def likely_spreads(design: Design) -> Mapping[str, tuple[float, float]]:
    """Ends of the profile intervals of Laplace's likelihood, by parameter, where they are quick."""
    spreads = [(place, k) for place, block in enumerate(design.blocks) for k in range(len(block.terms))]
    effects = sum(len(b.levels) * len(b.terms) for b in design.blocks)
    if design.family == "gaussian" or effects > OF_COUNTS or any(feasible(design, *at) for at in spreads):
        return {}
    try:
        return {
            f"sd({design.blocks[place].group}, {design.blocks[place].terms[k]})": likely_spread(design, place, k)
            for place, k in spreads
        }
    except (WorkbenchError, np.linalg.LinAlgError):
        return {}


def of_counts(fits: Mapping[str, Fit], likely: Mapping[str, tuple[float, float]]) -> list[str]:
    """Which estimators of counts and shares have an interval here."""
    said = ["Bars of Laplace: 95 % profile intervals of its likelihood."] if likely else []
    if "laplace" in fits and any(not np.isfinite(high) for _, high in likely.values()):
        said.append("Where the bar reaches the frame, no upper end was found.")
    alone = [style.title_of(name) for name in ("laplace", "agq") if name in fits and not (name == "laplace" and likely)]
    if alone:
        said.append(f"{join(alone)}: drawn without an interval, which is not worked out for this picture.")
    return said

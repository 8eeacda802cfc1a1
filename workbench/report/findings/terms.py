"""Terms and levels as findings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.varying import Varying
from workbench.words import level_in_words

if TYPE_CHECKING:
    from workbench.fit import Fit

TERMS = 3
"""Sentences that go term by term cover so many terms."""


def sd_between(fit: Fit, v: Varying) -> float:
    """An estimator's SD between groups for a term; NaN where it has none."""
    return float(fit.components[v.block].sd[v.column]) if fit.components else np.nan


def level_of(v: Varying, j: int) -> str:
    """A level with its grouping factor, "Subject 308"."""
    return level_in_words(v.group, v.levels[j])

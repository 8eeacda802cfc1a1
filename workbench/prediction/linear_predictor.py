"""The linear predictor of rows at a fit's estimates, x'b + z'u + offset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.fit import Fit
from workbench.new_rows import Rows

Array = NDArray[np.float64]


def linear_predictor(fit: Fit, rows: Rows) -> Array:
    """The linear predictor, shape (m,); population coefficients without an estimate count as zero.

    A new level has effect zero; under a fixed prior, the prior mean of what has no population value.
    """
    b = fit.population.estimate
    found: Array = rows.X @ np.where(np.isfinite(b), b, 0.0) + rows.offset
    for place, row in rows.varying.items():
        part, block = fit.group_effects[place], fit.design.blocks[place]
        unpaired = [column is None for column in block.fixed]
        held = np.where(unpaired, part.coefficient.estimate - part.effect.estimate, 0.0)  # a prior mean, if any
        new = held[0] if fit.estimator == "fixed_prior" else np.zeros(len(block.terms))
        deviation = np.vstack([part.effect.estimate + held, new])
        found = found + np.einsum("mq,mq->m", row.Z, deviation[row.codes])
    return found

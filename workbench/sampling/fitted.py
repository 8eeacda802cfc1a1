"""Fitted values of draws: the posterior mean of every row's mean response."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.cells import CHUNK
from workbench.design import Design
from workbench.sampling.draws import Draws

Array = NDArray[np.float64]


def mean_response(design: Design, drawn: Draws) -> Array | None:
    """The posterior mean of every row's mean response, shape (n,).

    None where the link is the identity: there it is the response at the posterior means, which the fit has already.
    The mean of inverse links is not the inverse link of the mean: a share's is nearer to a half.
    """
    if design.link == "identity":
        return None
    b = drawn.b[:, :: drawn.every]
    draws = b.shape[0] * b.shape[1]
    coefficients = b.reshape(draws, -1)
    effects = [part.reshape(draws, *part.shape[2:]) for part in drawn.effects]
    fitted, step = np.empty(design.n), max(1, CHUNK // (4 * draws))
    for begin in range(0, design.n, step):
        here = slice(begin, begin + step)
        predictor = coefficients @ design.X[here].T + design.offset[here]
        for block, effect in zip(design.blocks, effects, strict=True):
            for k in range(len(block.terms)):
                predictor += effect[:, block.codes[here], k] * block.Z[here, k]
        fitted[here] = design.mean(predictor).mean(axis=0)
    return fitted

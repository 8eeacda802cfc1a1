"""Priors as the compiled loops read them: kinds by number, parameters, and what the loops leave off."""

from __future__ import annotations

from math import isfinite, lgamma, log

import numpy as np
from numpy.typing import NDArray

from workbench.priors import Prior

Array = NDArray[np.float64]

KINDS = (
    "HalfNormal", "HalfStudentT", "Exponential", "Gamma", "Uniform", "Flat", "Normal", "StudentT",
)  # fmt: skip
"""In the order of the kernel's numbers."""


def coded(priors: list[Prior]) -> tuple[NDArray[np.int64], Array]:
    """Numbers of the kinds, (m,), and their parameters, (m, 3)."""
    kinds, values = np.empty(len(priors), dtype=np.int64), np.ones((len(priors), 3))
    for k, prior in enumerate(priors):
        kind, own = prior.kind, prior.values
        if kind in ("HalfCauchy", "Cauchy"):  # Student's t with one degree of freedom
            kind, own = kind.replace("Cauchy", "StudentT"), (1.0, *own)
        kinds[k] = KINDS.index(kind)
        values[k, : len(own)] = own
    return kinds, values


def coordinate(prior: Prior, value: float) -> float:
    """The coordinate of a standard deviation; of one outside a uniform prior's interval, its middle."""
    if prior.kind != "Uniform":
        return log(value)
    share = (value - prior.values[0]) / (prior.values[1] - prior.values[0])
    return log(share / (1 - share)) if 0.01 < share < 0.99 else 0.0


def log_constant(prior: Prior) -> float:
    """What the kernel leaves off a prior's log density."""
    match prior.kind, prior.values:
        case "Exponential", (rate,):
            return log(rate)
        case "Gamma", (shape, rate):
            return shape * log(rate) - lgamma(shape)
        case "Uniform", (low, high):
            return -log(high - low)
        case "Flat", _:
            return 0.0
        case (("Normal" | "Cauchy"), (mean, _)):
            return prior.log_density(mean)
        case "StudentT", (_, mean, _):
            return prior.log_density(mean)
    found = prior.log_density(0.0)
    assert isfinite(found)
    return found


def lkj_constant(prior: Prior, q: int) -> float:
    """Log of the densities' constants of the canonical partial correlations, each 2 Beta - 1."""
    total = 0.0
    for i in range(1, q):
        for j in range(i):
            shape = prior.values[0] + (q - 2 - j) / 2
            total += lgamma(2 * shape) - 2 * lgamma(shape) - (2 * shape - 1) * log(2)
    return total

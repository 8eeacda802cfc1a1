"""Group sizes, shrinkage factors, and what theory says of them: :mod:`workbench.plots.shrinkage_by_size` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots import style
from workbench.plots.varying import INTERCEPT, Varying

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

WITH_CURVE = ("reml", "ml", "boundary_avoiding", "em", "mackay", "statsmodels", "henderson")
"""Estimators that settle on variances, which make a curve."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The theory's factor at one estimator's variances."""

    estimator: str
    label: str
    x: Array
    y: Array


def noun(design: Design) -> str:
    """What sizes are."""
    if design.known_se:
        return "standard error"
    if design.family == "binomial":
        return "trials"
    return "sum of weights" if (design.weights != 1).any() else "n"


def sizes_of(design: Design, v: Varying) -> Array:
    """What the x axis is, shape (J,): n, sum of weights (trials) where these differ, standard error where known."""
    block = design.blocks[v.block]
    weights = np.bincount(block.codes, design.weights, len(block.levels))
    if design.known_se:
        return np.asarray(weights**-0.5)
    return weights if (design.weights != 1).any() else np.asarray(block.sizes, dtype=float)


def factors_of(comparison: Comparison, name: str, v: Varying) -> Array:
    """Shrinkage factors of one estimator's term, shape (J,); NaN where a group has none."""
    table = comparison.shrinkage
    here = (table["estimator"] == name) & (table["group"] == v.group) & (table["term"] == v.term)
    return np.asarray(table.loc[here, "shrinkage"], dtype=float)


def in_theory(design: Design, v: Varying) -> bool:
    """Whether the factor is a function of size alone, given the variances."""
    one = sum(len(block.terms) for block in design.blocks) == 1
    return design.family == "gaussian" and one and v.term == INTERCEPT


def factor_in_theory(x: Array, tau: float, sigma: float, known_se: bool) -> Array:
    """1 - tau^2 / (tau^2 + sigma^2 / n), or with standard errors x, 1 - tau^2 / (tau^2 + x^2).

    Examples
    --------
    >>> factor_in_theory(np.array([1.0, 4.0]), 1.0, 2.0, False).tolist()
    [0.8, 0.5]
    """
    noise = x**2 if known_se else sigma**2 / x
    return np.asarray(noise / (tau**2 + noise))


def curves_of(comparison: Comparison, v: Varying, factors: Mapping[str, Array], x: Array) -> tuple[Curve, ...]:
    """One curve for each pair of variances that estimators settle on."""
    low, high = float(x.min()), float(x.max())
    at = np.geomspace(low, high, 201) if high > low else np.array([low])
    found: list[tuple[float, float]] = []
    curves = []
    for name in factors:
        fit = comparison.fits[name]
        if name not in WITH_CURVE or not fit.components:
            continue
        tau, sigma = variances_of(fit, v)
        known = np.isfinite(tau + sigma)
        if known and not any(abs(tau - t) <= 1e-3 * (t + sigma) and abs(sigma - s) <= 1e-3 * s for t, s in found):
            found.append((tau, sigma))
            y = factor_in_theory(at, tau, sigma, comparison.design.known_se)
            curves.append(Curve(name, f"theory at {style.title_of(name)}'s variances", at, y))
    return tuple(curves)


def variances_of(fit: Fit, v: Varying) -> tuple[float, float]:
    """tau of a term, and sigma."""
    return float(fit.components[v.block].sd[v.column]), float(fit.sigma if fit.sigma is not None else np.nan)

"""The intervals of a fit's group estimates, under every standard error that has a name, held to a truth.

Beside each estimator's own intervals stand, for maximised likelihoods, those of the other standard errors of
:mod:`workbench.standard_errors`: above all the conditional SD about the coefficient, as pictures of lme4's modes are
commonly drawn. What it leaves out (that the population value and the variances are estimated) is what its coverage
lacks, most of all where the spread between groups is estimated as zero: the conditional SD is zero then, and the
interval a point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.truths import Truth
from workbench.estimates import Estimates
from workbench.fit import Fit
from workbench.prediction.joint_error import is_at_variances
from workbench.standard_errors import standard_errors

Array = NDArray[np.float64]

Key = tuple[str, str, str]
"""Estimator, quantity, standard-error kind."""
FIGURES = ("coverage", "width", "squared_error", "zero_width")
"""Of every interval: holds the truth, length, squared distance of the estimate from the truth, has no length."""
POOLS_NOT = ("complete_pooling", "no_pooling")
"""Without a population of groups there is no effect."""


def figures_of(fit: Fit, level: float, truth: Truth) -> Mapping[Key, Array]:
    """The `FIGURES` of every group and term, by kind of interval: shape (M, 4), block by block, level by level.

    NaN where there is no estimate or no interval.
    """
    design = fit.design
    blocks = range(len(design.blocks))
    true = {
        "coefficient": np.concatenate([truth.coefficients(design, k).ravel() for k in blocks]),
        "effect": np.concatenate([truth.effects[k].ravel() for k in blocks]),
    }
    found = {}
    for (quantity, kind), (estimate, low, high) in _intervals(fit, level):
        held = (low <= true[quantity]) & (true[quantity] <= high)
        columns = np.column_stack([held, high - low, (estimate - true[quantity]) ** 2, high == low])
        columns[np.ix_(np.isnan(low) | np.isnan(high), [0, 1, 3])] = np.nan
        found[fit.estimator, quantity, kind] = columns
    return found


def _intervals(fit: Fit, level: float) -> Iterator[tuple[tuple[str, str], tuple[Array, Array, Array]]]:
    """Quantity and kind of standard error, then estimates and bounds of all groups and terms, each of shape (M,)."""
    coefficient = [part.coefficient for part in fit.group_effects]
    effect = [part.effect for part in fit.group_effects]
    yield ("coefficient", coefficient[0].std_error_kind), _joined(coefficient)
    if fit.estimator in POOLS_NOT:
        return
    yield ("effect", effect[0].std_error_kind), _joined(effect)
    if not is_at_variances(fit):
        return
    errors = standard_errors(fit)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    for quantity, kind, column, about in (
        ("coefficient", "conditional SD", "conditional_sd", coefficient),
        ("effect", "effect prediction SE", "effect_prediction_se", effect),
    ):
        centre, reach = _joined(about)[0], z * errors[column].to_numpy()
        yield (quantity, kind), (centre, centre - reach, centre + reach)


def _joined(parts: list[Estimates]) -> tuple[Array, Array, Array]:
    estimate, low, high = (
        np.concatenate([np.ravel(getattr(part, name)) for part in parts])
        for name in ("estimate", "conf_low", "conf_high")
    )
    return estimate, low, high

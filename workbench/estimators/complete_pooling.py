"""`complete_pooling`: one regression for all rows, as if there were no groups.

Every group's coefficient is the population's, so every effect is zero. It is the end of the axis at which
the spread between groups is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from workbench.design import Design, RandomBlock, check_gaussian
from workbench.estimates import Criterion, Estimates, GroupEffects
from workbench.estimators import Settings
from workbench.fit import Fit
from workbench.least_squares import deviance, least_squares


def complete_pooling(design: Design, settings: Settings, options: None, upstream: Mapping[str, Fit]) -> Fit:
    """Fit the fixed part alone by weighted least squares.

    A varying column that has no population column (as in ``y ~ 1 + (0 + x | g)``) has coefficient zero.
    Standard errors divide the residual sum of squares by n - p, as R's ``lm``; with known standard errors
    the residual SD is 1 and nothing is estimated.
    """
    check_gaussian(design, "complete_pooling")
    y = design.y - design.offset
    p = design.X.shape[1]
    found = least_squares(design.X, y, design.weights)
    b, rss = found.coefficients, found.rss
    sigma2 = 1.0 if design.known_se else rss / (design.n - p)
    cov = sigma2 * found.cov
    population = Estimates.wald(b, np.sqrt(np.diag(cov)), settings.level, "least squares", "sampling SE")
    minus_two_log = deviance(rss, design.weights, design.known_se)
    return Fit(
        estimator="complete_pooling",
        design=design,
        population=population,
        fixed_cov=cov,
        components=(),
        group_effects=tuple(_pooled(block, population, settings) for block in design.blocks),
        sigma=float(np.sqrt(sigma2)),
        own_fitted=design.X @ b + design.offset,
        criterion=None if minus_two_log is None else Criterion(minus_two_log, "deviance"),
        log_likelihood=None if minus_two_log is None else -minus_two_log / 2,
        df=p + (not design.known_se),
        warnings=design.notes,
        diagnostics=MappingProxyType({}),
    )


def _pooled(block: RandomBlock, population: Estimates, settings: Settings) -> GroupEffects:
    J = len(block.levels)

    def spread(values: np.ndarray) -> np.ndarray:
        row = [0.0 if k is None else values[k] for k in block.fixed]
        return np.tile(row, (J, 1))

    zero = np.zeros((J, len(block.terms)))
    return GroupEffects(
        group=block.group,
        levels=block.levels,
        sizes=block.sizes,
        terms=block.terms,
        effect=Estimates.wald(zero, zero, settings.level, "held at zero", "none: assumed zero"),
        coefficient=Estimates.wald(
            spread(population.estimate),
            spread(population.std_error),
            settings.level,
            "least squares",
            "sampling SE",
        ),
    )

"""`complete_pooling`: one regression for all rows, as if there were no groups.

Every group's coefficient is the population's, so every effect is zero. It is the end of the axis at which
the spread between groups is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.goodness import log_likelihood
from workbench.design import Design, RandomBlock
from workbench.estimates import Criterion, Estimates, GroupEffects
from workbench.estimators import NOTHING, Settings
from workbench.families import SEPARATED, family_of
from workbench.fit import Fit
from workbench.least_squares import deviance, least_squares
from workbench.reweighted import UNSETTLED, maximum, pearson

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _End:
    """The regression of all rows: coefficients, their covariance, fitted means, dispersion and log likelihood."""

    b: Array
    cov: Array
    fitted: Array
    dispersion: float
    log_likelihood: float | None
    converged: bool = True
    diagnostics: Mapping[str, Any] = NOTHING


def complete_pooling(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit the fixed part alone: weighted least squares, or maximum likelihood of counts, shares and gamma responses.

    A varying column that has no population column (as in ``y ~ 1 + (0 + x | g)``) has coefficient zero.
    Standard errors divide the residual sum of squares (of gamma responses Pearson's statistic) by n - p, as R's ``lm``
    and ``glm``; with known standard errors the residual SD is 1 and nothing is estimated.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"dead": [1, 0, 1, 1], "pen": list("aabb")}
    >>> fit = complete_pooling(build_design("dead ~ 1 + (1 | pen)", table, "binomial"))
    >>> round(float(fit.population.estimate[0]), 6)                          # log(3 / 1)
    1.098612
    """
    end = _least_squares(design) if design.family == "gaussian" else _maximum(design)
    name = "least squares" if design.family == "gaussian" else "maximum likelihood"
    population = Estimates.wald(end.b, np.sqrt(np.diag(end.cov)), settings.level, name, "sampling SE")
    value = end.log_likelihood
    return Fit(
        estimator="complete_pooling",
        design=design,
        population=population,
        fixed_cov=end.cov,
        components=(),
        group_effects=tuple(_pooled(block, population, settings) for block in design.blocks),
        sigma=float(np.sqrt(end.dispersion)),
        own_fitted=end.fitted,
        criterion=None if value is None else Criterion(-2 * value, "deviance"),
        log_likelihood=value,
        df=len(end.b) + (design.estimates_dispersion and not design.known_se),
        converged=end.converged,
        warnings=(*design.notes, *_doubts(design, end)),
        diagnostics=end.diagnostics,
    )


def _least_squares(design: Design) -> _End:
    found = least_squares(design.X, design.y - design.offset, design.weights)
    sigma2 = 1.0 if design.known_se else found.rss / (design.n - design.X.shape[1])
    minus_two_log = deviance(found.rss, design.weights, design.known_se)
    value = None if minus_two_log is None else -minus_two_log / 2
    return _End(found.coefficients, sigma2 * found.cov, design.X @ found.coefficients + design.offset, sigma2, value)


def _maximum(design: Design) -> _End:
    at, family = maximum(design), family_of(design.family, design.link)
    fitted = family.inverse(at.predictor)
    dispersion = pearson(design, fitted, np.ones(design.n, dtype=bool), len(at.b))
    value = log_likelihood((design.y, design.weights, design.trials), family, fitted, at.deviance)
    figures = MappingProxyType({"deviance": at.deviance, "iterations": at.iterations})
    return _End(at.b, dispersion * at.cov, fitted, dispersion, value, at.converged, figures)


def _doubts(design: Design, end: _End) -> list[str]:
    found = []
    if design.family == "binomial" and family_of(design.family, design.link).certain(end.fitted):
        found.append(
            f"{SEPARATED}, and estimates and their standard errors have no end. Leave out a term, or use priors."
        )
    if not end.converged:
        found.append(UNSETTLED)
    return found


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
            population.point,
            "sampling SE",
        ),
    )

"""`no_pooling`: every group by itself, as if the others told nothing about it.

    g(E y) = Z_j c_j + R b_rest + offset,     c_j free in every group

It is the end of the axis at which the spread between groups is infinite. The columns R that do not vary keep
one coefficient for all groups, and the dispersion (of a gaussian response the residual variance) is common. It is
least squares (:mod:`workbench.group_regressions`), iteratively reweighted for counts, shares and gamma responses
(McCullagh & Nelder 1989, Generalized Linear Models, chapter 2).

The population value reported beside it is the plain mean of the groups' coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.goodness import log_likelihood
from workbench.design import Design
from workbench.estimates import Criterion, Estimates, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.families import family_of
from workbench.fit import Fit
from workbench.group_regressions import GroupRegressions, Solution
from workbench.least_squares import deviance
from workbench.reweighted import UNSETTLED, maximum_by_groups, pearson
from workbench.words import join

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _End:
    """Regressions by group at the maximum: where, with which dispersion, and what is left out."""

    regressions: GroupRegressions
    found: Solution
    fitted: Array
    dispersion: float
    log_likelihood: float | None
    separated: NDArray[np.bool_]
    converged: bool
    diagnostics: Mapping[str, Any]


def no_pooling(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit every group by itself, with a common dispersion.

    A group with too few distinct rows for its coefficients, or whose outcomes are separated (all of them successes,
    say, so that its coefficient is infinite), gets missing values and is named in the warnings. A column that is
    constant within every group cannot be told from the groups, and is named too.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> fit = no_pooling(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}))
    >>> fit.group_effects[0].coefficient.estimate[:, 0].round(12).tolist()
    [1.5, 3.5]
    """
    end = _least_squares(design) if design.family == "gaussian" else _reweighted(design)
    return _answer(design, end, settings.level)


def _least_squares(design: Design) -> _End:
    regressions = GroupRegressions.of(design)
    found, used = regressions.solve(), regressions.used
    fitted = regressions.predictor(found.groups, found.rest) + design.offset
    rss = float(design.weights[used] @ (design.y - fitted)[used] ** 2)
    left = int(used.sum()) - regressions.parameters
    sigma2 = 1.0 if design.known_se else rss / left if left > 0 else np.nan
    minus_two_log = deviance(rss, design.weights, design.known_se) if used.all() else None
    log_likelihood = None if minus_two_log is None else -minus_two_log / 2
    none = np.zeros(len(regressions.estimable), dtype=bool)
    return _End(regressions, found, fitted, sigma2, log_likelihood, none, True, MappingProxyType({}))


def _reweighted(design: Design) -> _End:
    at = maximum_by_groups(design)
    family, used = family_of(design.family, design.link), at.regressions.used
    fitted = np.full(design.n, np.nan)
    fitted[used] = family.inverse(at.predictor[used])
    dispersion = pearson(design, fitted, used, at.regressions.parameters)
    rows = design.y, design.weights, design.trials
    whole = bool(used.all())
    return _End(
        at.regressions, at.found, fitted, dispersion,
        log_likelihood(rows, family, fitted, at.deviance) if whole else None,
        at.separated, at.converged, MappingProxyType({"deviance": at.deviance, "iterations": at.iterations}),
    )  # fmt: skip


def _answer(design: Design, end: _End, level: float) -> Fit:
    at, found = end.regressions, end.found
    least_squares = design.family == "gaussian"
    b, cov = at.population(found, end.dispersion)
    c, mean = found.groups, np.array([0.0 if k is None else b[k] for k in at.data.factor.fixed])
    error = np.sqrt(end.dispersion * np.einsum("jqq->jq", found.groups_cov))
    name = "least squares" if least_squares else "maximum likelihood"
    kinds = (f"{name} less the mean", "sampling SE of the coefficient", name, "sampling SE")
    point = f"mean of the groups' {name}"
    value = end.log_likelihood
    return Fit(
        estimator="no_pooling",
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(cov)), level, point, "sampling SE"),
        fixed_cov=cov,
        components=(),
        group_effects=wald_effects(design.blocks, (c - mean, error), (c, error), level, kinds),
        sigma=float(np.sqrt(end.dispersion)),
        own_fitted=end.fitted,
        criterion=None if value is None else Criterion(-2 * value, "deviance"),
        log_likelihood=value,
        df=at.parameters + (design.estimates_dispersion and not design.known_se),
        converged=end.converged,
        warnings=(*design.notes, *_remarks(design, end)),
        diagnostics=end.diagnostics,
    )


def _remarks(design: Design, end: _End) -> list[str]:
    found = []
    lost = ~end.regressions.estimable & ~end.separated
    for which, why in (
        (lost, "have too few distinct rows for coefficients of their own"),
        (end.separated, "have separated outcomes, so that their coefficients are infinite"),
    ):
        block, places = design.blocks[0], np.flatnonzero(which)
        if len(places):
            names = ", ".join(block.levels[j] for j in places[:5]) + (", ..." if len(places) > 5 else "")
            found.append(
                f"{len(places):,} of {len(which):,} levels of {block.group} {why} ({names}): they are missing here. "
                "Estimators that pool give them values."
            )
    if mixed := end.regressions.mixed:
        has = "has" if len(mixed) == 1 else "have"
        lasting = end.regressions.used.any()
        why = "cannot be told from the groups and " if lasting else ""
        found.append(f"Without pooling, {join(mixed)} {why}{has} no estimate{'' if lasting else ': no level is left'}.")
    if not end.converged:
        found.append(UNSETTLED)
    return found

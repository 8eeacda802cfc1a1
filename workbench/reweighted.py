"""Maximum likelihood of regressions without priors, by iteratively reweighted least squares.

The engine is the one of :func:`workbench.bayesglm.em.approximate_em`, with nothing to expect of any prior: every step
is a weighted least squares of the working response (McCullagh & Nelder 1989, Generalized Linear Models, chapter 2).

Outcomes may be *separated* in a group: all successes, all failures, all counts zero, or split by a varying column. Its
likelihood then has no maximum; it only rises towards infinite coefficients, where the group is fitted exactly. Such a
group is known by its information, which goes to zero, and takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.em import Columns, End, approximate_em
from workbench.bayesglm.plain import CoefficientPriors, Plain
from workbench.design import Design
from workbench.families import LEAST_INFORMATION, Family, family_of
from workbench.group_regressions import GroupRegressions, Solution

Array = NDArray[np.float64]

TOLERANCE = 1e-12
"""Of the deviance, whose error is the square of the coefficients'."""
SETTLED = 1e-12
"""Of the linear predictors in units of their standard errors, which the last steps go on to."""
MOST_STEPS = 100
UNSETTLED = (
    "The reweighted least squares had not settled after their last step. Do not trust these numbers: divide columns of "
    "very different size by their SDs, or use an estimator with priors."
)
NOTHING_KNOWN = 1e-6
"""A group whose information is below this share of what its rows would have at the start is separated."""


@dataclass(frozen=True, eq=False)
class ByGroups:
    """Regressions of groups at the maximum of the likelihood.

    Attributes
    ----------
    regressions : GroupRegressions
        The working regression at the end.
    found : Solution
    predictor : array, shape (n,)
        With the offset; NaN in groups that are not estimable.
    deviance : float
        Of the rows in estimable groups.
    separated : array of bool, shape (J,)
    converged : bool
    iterations : int
    """

    regressions: GroupRegressions
    found: Solution
    predictor: Array
    deviance: float
    separated: NDArray[np.bool_]
    converged: bool
    iterations: int


@dataclass(frozen=True, eq=False)
class Regression:
    """The regression of all rows at the maximum of the likelihood.

    Attributes
    ----------
    b : array, shape (p,)
    cov : array, shape (p, p)
        Over the dispersion: (X'WX)^-1.
    predictor : array, shape (n,)
        With the offset.
    deviance : float
    converged : bool
    iterations : int
    """

    b: Array
    cov: Array
    predictor: Array
    deviance: float
    converged: bool
    iterations: int


def maximum(design: Design) -> Regression:
    """The regression of all rows on the population's columns, as if there were no groups."""
    p = design.X.shape[1]
    flat = np.full(p, np.inf)
    columns = Plain(design.X, CoefficientPriors(np.zeros(p), flat, flat, flat))
    end, predictor = _maximised(columns, design, design.weights, flat)
    root = end.solved.root
    return Regression(end.a, root @ root.T, predictor, end.deviance, end.converged, end.iterations)


def maximum_by_groups(design: Design) -> ByGroups:
    """The regressions of all groups, whose columns that do not vary share their coefficients."""
    family = family_of(design.family, design.link)
    separated = np.zeros(len(design.blocks[0].levels), dtype=bool)
    while True:
        columns = _Columns(GroupRegressions.of(design, separated), family)
        if not columns.used.any():
            return _nothing(columns, separated)
        end, predictor = _maximised(columns, design, np.where(columns.used, design.weights, 0.0), None)
        more = columns.uninformed(end.solved.regressions)
        if not more.any():
            shown = np.where(columns.used, predictor, np.nan)
            at = end.solved
            return ByGroups(at.regressions, at.found, shown, end.deviance, separated, end.converged, end.iterations)
        separated = separated | more


def _maximised(columns: Columns, design: Design, weights: Array, sd: Any) -> tuple[End, Array]:
    """The end, and linear predictors there: the last steps, whose deviance does not tell them apart, are taken too."""
    family = family_of(design.family, design.link)
    y, offset = design.y, design.offset
    end = approximate_em(columns, y, family, weights, offset, sd, 1.0, TOLERANCE, MOST_STEPS, starting=design.weights)
    predictor = columns.predictor(end.a) + offset
    for _ in range(MOST_STEPS if end.converged else 0):
        working = weights * family.information(predictor)
        z = predictor - offset + (y - family.inverse(predictor)) / family.slope(predictor)
        solved = columns.solve(columns.weigh(working, z), sd, 1.0)
        step, predictor = predictor, columns.predictor(solved.a) + offset
        if not family.inside(predictor, family.inverse(predictor)):
            return end, step
        end = replace(end, a=solved.a, solved=solved)
        if working @ (predictor - step) ** 2 <= SETTLED**2 * len(y):
            return end, predictor
    return end, predictor


def pearson(design: Design, fitted: Array, used: NDArray[np.bool_], parameters: int) -> float:
    """The dispersion: 1 of counts and shares, else Pearson's statistic of the rows used over n - p (NaN if none left).

    Source: McCullagh & Nelder (1989), section 2.2.2; R's ``summary.glm`` takes it too.
    """
    family = family_of(design.family, design.link)
    if not family.estimates_dispersion:
        return 1.0
    y, mean, weights = design.y[used], fitted[used], design.weights[used]
    left = len(y) - parameters
    return float(weights @ ((y - mean) ** 2 / family.variance(mean))) / left if left > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class _Solved:
    """One working regression and its solution; `a` holds the coefficients behind each other."""

    a: Array
    regressions: GroupRegressions
    found: Solution


class _Columns:
    """The groups' regressions as columns of :func:`approximate_em`, which has no prior to look after."""

    def __init__(self, regressions: GroupRegressions, family: Family) -> None:
        self.regressions = regressions
        self.used = regressions.used
        design = regressions.design
        self.resting = family.link(family.start(design.y, design.weights)) - design.offset
        self.begun: GroupRegressions | None = None

    def weigh(self, weights: Array, z: Array) -> GroupRegressions:
        """The working regression."""
        at = self.regressions.at(np.where(self.used, np.maximum(weights, LEAST_INFORMATION), LEAST_INFORMATION), z)
        if self.begun is None:
            self.begun = at
        return at

    def solve(self, weighed: GroupRegressions, sd: Any, phi: float) -> _Solved:
        """Least squares."""
        found = weighed.solve()
        a = np.concatenate([np.nan_to_num(found.groups).ravel(), found.rest])
        return _Solved(a, weighed, found)

    def predictor(self, a: Array) -> Array:
        """Z c + R b, shape (n,); where a group takes no part, what the response itself would have."""
        J, q = len(self.regressions.estimable), len(self.regressions.data.factor.fixed)
        found = self.regressions.predictor(a[: J * q].reshape(J, q), a[J * q :])
        return np.where(self.used, found, self.resting)

    def level(self, predictor: Array) -> Array:
        """Least squares of a linear predictor."""
        at = self.regressions.at(np.ones(len(predictor)), predictor)
        return self.solve(at, None, 1.0).a

    def updated(self, a: Array, solved: _Solved, phi: float) -> None:
        """There is no prior."""

    def squares(self, weighed: GroupRegressions, solved: _Solved) -> float:
        """Of no use here: the dispersion is held."""
        return float("nan")

    def leverage(self, weighed: GroupRegressions, solved: _Solved) -> float:
        """Of no use here: the dispersion is held."""
        return float("nan")

    def uninformed(self, end: GroupRegressions) -> NDArray[np.bool_]:
        """The estimable groups whose information went to zero in some direction, shape (J,)."""
        assert self.begun is not None
        found = np.zeros(len(end.estimable), dtype=bool)
        kept = np.flatnonzero(end.estimable)
        first, last = self.begun.data.factor, end.data.factor
        change = np.linalg.solve(last.to_data, first.to_data)  # to the columns as they were centred at the beginning
        half = np.linalg.inv(np.linalg.cholesky(first.ZtZ[kept]))
        share = half @ change.T @ last.ZtZ[kept] @ change @ np.swapaxes(half, 1, 2)
        found[kept] = np.linalg.eigvalsh(share)[:, 0] < NOTHING_KNOWN
        return found


def _nothing(columns: _Columns, separated: NDArray[np.bool_]) -> ByGroups:
    """Every group separated, or too small."""
    nothing = columns.regressions
    J, q, r = len(nothing.estimable), len(nothing.data.factor.fixed), len(nothing.recast.rest)
    lost = Solution(
        np.full((J, q), np.nan), np.full((J, q, q), np.nan), np.full(r, np.nan), np.empty((0, 0)), np.empty((J, q, 0))
    )
    return ByGroups(nothing, lost, np.full(nothing.design.n, np.nan), 0.0, separated, True, 0)

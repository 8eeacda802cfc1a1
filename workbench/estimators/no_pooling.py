"""`no_pooling`: every group by itself, as if the others told nothing about it.

    y = Z_j c_j + R b_rest + e,     e ~ N(0, sigma^2 W^-1),     c_j free in every group

It is the end of the axis at which the spread between groups is infinite. The columns R that do not vary keep
one coefficient for all groups, and the residual variance is common. A regression on one indicator per group
and varying column gives it; where that matrix would have more than `DENSE` entries, the c_j are eliminated group by
group from the normal equations, which is the same estimate.

The population value reported beside it is the plain mean of the groups' coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, check_gaussian
from workbench.estimates import Criterion, Estimates, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.group_coefficients import ByGroup, by_group
from workbench.least_squares import deviance, least_squares
from workbench.moments import Moments, moments

Array = NDArray[np.float64]

DENSE = 5_000_000
"""Up to so many entries, 40 MB, the regression's matrix of rows by group columns is made."""


@dataclass(frozen=True, eq=False)
class _Solution:
    """Coefficients and their covariances over sigma^2.

    `groups` (J, q), `groups_cov` (J, q, q), `rest` (r,), `rest_cov` (r, r), and `pull` (J, q, r): how the
    group coefficients answer to those of the rest, c_j(b + d) = c_j(b) - pull_j d.
    """

    groups: Array
    groups_cov: Array
    rest: Array
    rest_cov: Array
    pull: Array


@dataclass(frozen=True, eq=False)
class _Setup:
    """What the solvers share: the moments recast by group, which groups are `estimable` (J,), and which columns of
    R (`rest`, positions) can be told from the groups.
    """

    design: Design
    data: Moments
    recast: ByGroup
    estimable: NDArray[np.bool_]
    inverse: Array
    rest: list[int]

    @property
    def used(self) -> NDArray[np.bool_]:
        """The rows in estimable groups, shape (n,)."""
        return np.asarray(self.estimable[self.design.blocks[0].codes])

    def columns(self) -> Array:
        """R's columns in `rest`, shape (n, r)."""
        return np.asarray(self.design.X[:, [self.recast.rest[k] for k in self.rest]])


def no_pooling(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit every group by itself, with a common residual variance.

    A group with too few distinct rows for its coefficients gets missing values and is named in the warnings. A
    column that is constant within every group cannot be told from the groups, and is named too.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> fit = no_pooling(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}))
    >>> fit.group_effects[0].coefficient.estimate[:, 0].round(12).tolist()
    [1.5, 3.5]
    """
    setup = _set_up(design)
    columns = int(setup.estimable.sum()) * len(setup.data.factor.fixed)
    solve = _by_regression if int(setup.used.sum()) * columns <= DENSE else _by_elimination
    return _assemble(setup, _in_data_units(solve(setup), setup.data.factor.to_data), settings)


def _set_up(design: Design) -> _Setup:
    check_gaussian(design, "no_pooling")
    data = moments(design)
    recast, estimable = by_group(data), _estimable(data.factor.ZtZ)
    inverse = _inverse(data.factor.ZtZ, estimable)
    everything = _Setup(design, data, recast, estimable, inverse, list(range(len(recast.rest))))
    return replace(everything, rest=_told_from_groups(everything))


def _estimable(ZtZ: Array) -> NDArray[np.bool_]:
    """Which groups have enough distinct rows for their own coefficients, shape (J,)."""
    scale = np.sqrt(np.einsum("jqq->jq", ZtZ))
    safe = np.where(scale > 0, scale, 1.0)
    smallest = np.linalg.eigvalsh(ZtZ / safe[:, :, None] / safe[:, None, :])[:, 0]
    return np.asarray((smallest > 1e-10) & (scale > 0).all(axis=1))


def _inverse(ZtZ: Array, estimable: NDArray[np.bool_]) -> Array:
    """Inverses of the groups' cross-products; generalised ones where a group is not estimable."""
    inverse = np.empty_like(ZtZ)
    inverse[estimable] = np.linalg.inv(ZtZ[estimable])
    inverse[~estimable] = np.linalg.pinv(ZtZ[~estimable], rcond=1e-10, hermitian=True)
    return inverse


def _within(setup: _Setup) -> tuple[Array, Array]:
    """R'WR and R'Wy of the estimable groups' rows, less what the groups' own coefficients explain."""
    f, used, ZtR = setup.data.factor, setup.estimable, setup.recast.ZtR[:, :, setup.rest]
    lost = ~setup.used
    R = setup.columns()[lost]
    y = (setup.design.y - setup.design.offset)[lost] - setup.data.shift.response
    weighted = R * setup.design.weights[lost, None]
    pull = setup.inverse[used] @ ZtR[used]
    RtR = setup.recast.RtR[np.ix_(setup.rest, setup.rest)] - weighted.T @ R
    Rty = setup.recast.Rty[setup.rest] - weighted.T @ y
    return RtR - np.einsum("jqr,jqs->rs", ZtR[used], pull), Rty - np.einsum("jqr,jq->r", pull, f.Zty[used])


def _told_from_groups(setup: _Setup) -> list[int]:
    """Positions in R of the columns that are not explained by the groups and the columns before them."""
    within = _within(setup)[0]
    kept: list[int] = []
    for k in setup.rest:
        left = within[k, k]
        if kept:
            left -= within[k, kept] @ np.linalg.solve(within[np.ix_(kept, kept)], within[kept, k])
        if left > 1e-10 * setup.recast.RtR[k, k]:
            kept.append(k)
    return kept


def _by_regression(setup: _Setup) -> _Solution:
    """Weighted least squares on indicators times varying columns, of the estimable groups' rows."""
    design, f, estimable, rows = setup.design, setup.data.factor, setup.estimable, setup.used
    J, q = f.Zty.shape
    estimated = int(estimable.sum())
    m = estimated * q
    Z = np.hstack([block.Z[rows] for block in design.blocks]) @ f.to_data  # centred, as the moments
    own = (np.cumsum(estimable) - 1)[design.blocks[0].codes[rows]]
    indicators = np.zeros((len(Z), estimated, q))
    indicators[np.arange(len(Z)), own] = Z
    X = np.hstack([indicators.reshape(len(Z), m), setup.columns()[rows]])
    y = (design.y - design.offset - setup.data.shift.response)[rows]
    found = least_squares(X, y, design.weights[rows])
    groups, cov = np.full((J, q), np.nan), np.full((J, q, q), np.nan)
    groups[estimable] = found.coefficients[:m].reshape(-1, q)
    covariances = found.cov[:m, :m].reshape(estimated, q, estimated, q)
    cov[estimable] = np.einsum("jajb->jab", covariances)
    pull = setup.inverse @ setup.recast.ZtR[:, :, setup.rest]
    return _Solution(groups, cov, found.coefficients[m:], found.cov[m:, m:], pull)


def _by_elimination(setup: _Setup) -> _Solution:
    """Block elimination: R's coefficients from what is left within groups, then each group's own."""
    f, inverse = setup.data.factor, setup.inverse
    ZtR = setup.recast.ZtR[:, :, setup.rest]
    pull = inverse @ ZtR
    RtR, Rty = _within(setup)
    rest_cov = np.linalg.inv(RtR) if setup.rest else np.empty((0, 0))
    b = rest_cov @ Rty
    groups = np.einsum("jqs,js->jq", inverse, f.Zty - ZtR @ b)
    cov = inverse + pull @ rest_cov @ np.swapaxes(pull, 1, 2)
    groups[~setup.estimable], cov[~setup.estimable] = np.nan, np.nan
    return _Solution(groups, cov, b, rest_cov, pull)


def _in_data_units(solution: _Solution, to_data: Array) -> _Solution:
    """Group coefficients of the data's own varying columns in place of the centred ones."""
    return replace(
        solution,
        groups=solution.groups @ to_data.T,
        groups_cov=to_data @ solution.groups_cov @ to_data.T,
        pull=to_data @ solution.pull,
    )


def _assemble(setup: _Setup, solution: _Solution, settings: Settings) -> Fit:
    design, data, recast, estimable, rest = setup.design, setup.data, setup.recast, setup.estimable, setup.rest
    f, level = data.factor, settings.level
    q = solution.groups.shape[1]
    c = solution.groups + recast.origin
    b_rest = np.zeros(len(recast.rest))
    b_rest[rest] = solution.rest
    b_rest += recast.rest_origin
    codes = design.blocks[0].codes
    Z = np.hstack([block.Z for block in design.blocks])
    fitted = np.einsum("nq,nq->n", Z, c[codes]) + design.X[:, list(recast.rest)] @ b_rest + design.offset
    used = setup.used
    rss = float(design.weights[used] @ (design.y - fitted)[used] ** 2)
    left = int(used.sum()) - int(estimable.sum()) * q - len(rest)
    sigma2 = 1.0 if data.known_se else rss / left if left > 0 else np.nan

    b, cov = _population(setup, solution, c, b_rest, sigma2)
    mean = np.array([0.0 if k is None else b[k] for k in f.fixed])
    error = np.sqrt(sigma2 * np.einsum("jqq->jq", solution.groups_cov))
    minus_two_log = deviance(rss, design.weights, data.known_se) if used.all() else None
    return Fit(
        estimator="no_pooling",
        design=design,
        population=Estimates.wald(b, np.sqrt(np.diag(cov)), level, "mean of the groups' least squares", "sampling SE"),
        fixed_cov=cov,
        components=(),
        group_effects=wald_effects(
            design.blocks,
            (c - mean, error),
            (c, error),
            level,
            ("least squares less the mean", "sampling SE of the coefficient", "least squares", "sampling SE"),
        ),
        sigma=float(np.sqrt(sigma2)),
        own_fitted=fitted,
        criterion=None if minus_two_log is None else Criterion(minus_two_log, "deviance"),
        log_likelihood=None if minus_two_log is None else -minus_two_log / 2,
        df=int(estimable.sum()) * q + len(rest) + (not data.known_se),
        warnings=(*design.notes, *_remarks(setup)),
    )


def _population(setup: _Setup, solution: _Solution, c: Array, b_rest: Array, sigma2: float) -> tuple[Array, Array]:
    """Plain mean of the group coefficients, with its covariance with the rest; NaN where nothing is estimable."""
    estimable, rest = setup.estimable, setup.rest
    p, f = setup.data.p, setup.data.factor
    own = np.zeros((p, p))  # what the group coefficients contribute beside the rest's uncertainty
    pull = np.zeros((p, len(rest)))
    b = np.full(p, np.nan)
    count = max(int(estimable.sum()), 1)
    inverse = f.to_data @ setup.inverse[estimable] @ f.to_data.T
    for a, k in enumerate(f.fixed):
        if k is None:
            continue
        b[k] = c[estimable, a].mean() if estimable.any() else np.nan
        pull[k] = -solution.pull[estimable, a].mean(axis=0) if rest else 0.0
        for a2, k2 in enumerate(f.fixed):
            if k2 is not None:
                own[k, k2] = inverse[:, a, a2].sum() / count**2 if estimable.any() else np.nan
    for position, k in enumerate(setup.recast.rest):
        b[k] = b_rest[position] if position in rest else np.nan
        if position in rest:
            pull[k, rest.index(position)] = 1.0
        else:
            own[k, k] = np.nan
    return b, sigma2 * (own + pull @ solution.rest_cov @ pull.T)


def _remarks(setup: _Setup) -> tuple[str, ...]:
    data, estimable = setup.data, setup.estimable
    remarks = []
    lost = np.flatnonzero(~estimable)
    if len(lost):
        names = ", ".join(data.factor.levels[j] for j in lost[:5]) + (", ..." if len(lost) > 5 else "")
        remarks.append(
            f"{len(lost):,} of {len(estimable):,} levels of {data.factor.group} have too few distinct rows for "
            f"coefficients of their own ({names}): they are missing here."
        )
    mixed = [setup.design.fixed_terms[k] for i, k in enumerate(setup.recast.rest) if i not in setup.rest]
    if mixed:
        remarks.append(f"Without pooling, {', '.join(mixed)} cannot be told from the groups and has no estimate.")
    return tuple(remarks)

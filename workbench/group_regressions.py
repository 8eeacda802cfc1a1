"""Regressions of every group by itself, with one common part: least squares without pooling.

    y = Z_j c_j + R b_rest + e,     e ~ N(0, sigma^2 W^-1),     c_j free in every group

A regression on one indicator per group and varying column gives it; where that matrix would have more than `DENSE`
entries, the c_j are eliminated group by group from the normal equations, which is the same estimate. A group with too
few distinct rows is not *estimable*: its rows take no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.group_coefficients import ByGroup, by_group
from workbench.least_squares import least_squares
from workbench.moments import Moments, moments

Array = NDArray[np.float64]

DENSE = 5_000_000
"""Up to so many entries, 40 MB, the regression's matrix of rows by group columns is made."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients of the data's own columns, and their covariances over sigma^2.

    Attributes
    ----------
    groups : array, shape (J, q)
        NaN in groups that are not estimable.
    groups_cov : array, shape (J, q, q)
    rest : array, shape (r,)
        Of the columns R; of those that cannot be told from the groups any number, the groups hold what it leaves.
    rest_cov : array, shape (s, s)
        Of the s columns that can be told from the groups.
    pull : array, shape (J, q, s)
        How the group coefficients answer to those of the rest, c_j(b + d) = c_j(b) - pull_j d.
    """

    groups: Array
    groups_cov: Array
    rest: Array
    rest_cov: Array
    pull: Array


@dataclass(frozen=True, eq=False)
class GroupRegressions:
    """The moments recast by group, which groups are estimable, and what can be told from the groups.

    Attributes
    ----------
    design : Design
        Gaussian, or a working regression, with one grouping factor.
    data : Moments
    recast : ByGroup
    estimable : array of bool, shape (J,)
    inverse : array, shape (J, q, q)
        Of the groups' cross-products.
    rest : list of int
        Positions in R of the columns that can be told from the groups.
    """

    design: Design
    data: Moments
    recast: ByGroup
    estimable: NDArray[np.bool_]
    inverse: Array
    rest: list[int]

    @classmethod
    def of(cls, design: Design, lost: NDArray[np.bool_] | None = None) -> GroupRegressions:
        """Set up; groups that are `lost`, shape (J,), count as not estimable."""
        data = moments(design)
        recast, estimable = by_group(data), _estimable(data.factor.ZtZ)
        if lost is not None:
            estimable &= ~lost
        inverse = _inverse(data.factor.ZtZ, estimable)
        everything = cls(design, data, recast, estimable, inverse, list(range(len(recast.rest))))
        return replace(everything, rest=_told_from_groups(everything))

    def at(self, weights: Array, y: Array) -> GroupRegressions:
        """The same groups and columns with other weights and another response, both of shape (n,), and no offset."""
        design = replace(self.design, y=y, weights=weights, offset=np.zeros(len(y)))
        data = moments(design)
        inverse = _inverse(data.factor.ZtZ, self.estimable)
        return replace(self, design=design, data=data, recast=by_group(data), inverse=inverse)

    @property
    def used(self) -> NDArray[np.bool_]:
        """The rows in estimable groups, shape (n,)."""
        return np.asarray(self.estimable[self.design.blocks[0].codes])

    @property
    def parameters(self) -> int:
        """How many coefficients are estimated."""
        return int(self.estimable.sum()) * len(self.data.factor.fixed) + len(self.rest)

    @property
    def mixed(self) -> tuple[str, ...]:
        """The columns that cannot be told from the groups."""
        lost = [k for i, k in enumerate(self.recast.rest) if i not in self.rest]
        return tuple(self.design.fixed_terms[k] for k in lost)

    def columns(self) -> Array:
        """R's columns in `rest`, shape (n, r)."""
        return np.asarray(self.design.X[:, [self.recast.rest[k] for k in self.rest]])

    def solve(self) -> Solution:
        """Weighted least squares."""
        entries = int(self.used.sum()) * int(self.estimable.sum()) * len(self.data.factor.fixed)
        centred = _by_regression(self) if entries <= DENSE else _by_elimination(self)
        to_data = self.data.factor.to_data
        rest = self.recast.rest_origin.copy()
        rest[self.rest] += centred.rest
        return Solution(
            groups=centred.groups @ to_data.T + self.recast.origin,
            groups_cov=to_data @ centred.groups_cov @ to_data.T,
            rest=rest,
            rest_cov=centred.rest_cov,
            pull=to_data @ centred.pull,
        )

    def predictor(self, groups: Array, rest: Array) -> Array:
        """Z c + R b, shape (n,), without an offset, of coefficients as in `Solution`."""
        Z = np.hstack([block.Z for block in self.design.blocks])
        own = groups[self.design.blocks[0].codes]
        return np.asarray(np.einsum("nq,nq->n", Z, own) + self.design.X[:, list(self.recast.rest)] @ rest)

    def population(self, found: Solution, scale: float) -> tuple[Array, Array]:
        """Plain means of the groups' coefficients beside the rest's, (p,), with their covariance at sigma^2 = `scale`.

        NaN where nothing is estimable, or cannot be told from the groups.
        """
        estimable, rest, p, f = self.estimable, self.rest, self.data.p, self.data.factor
        own = np.zeros((p, p))  # what the group coefficients contribute beside the rest's uncertainty
        pull = np.zeros((p, len(rest)))
        b = np.full(p, np.nan)
        count = max(int(estimable.sum()), 1)
        inverse = f.to_data @ self.inverse[estimable] @ f.to_data.T
        for a, k in enumerate(f.fixed):
            if k is None:
                continue
            b[k] = found.groups[estimable, a].mean() if estimable.any() else np.nan
            pull[k] = -found.pull[estimable, a].mean(axis=0) if rest else 0.0
            for a2, k2 in enumerate(f.fixed):
                if k2 is not None:
                    own[k, k2] = inverse[:, a, a2].sum() / count**2 if estimable.any() else np.nan
        for position, k in enumerate(self.recast.rest):
            if position in rest:
                b[k] = found.rest[position]
                pull[k, rest.index(position)] = 1.0
            else:
                own[k, k] = np.nan
        return b, scale * (own + pull @ found.rest_cov @ pull.T)


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


def _within(setup: GroupRegressions) -> tuple[Array, Array]:
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


def _told_from_groups(setup: GroupRegressions) -> list[int]:
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


def _by_regression(setup: GroupRegressions) -> Solution:
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
    return Solution(groups, cov, found.coefficients[m:], found.cov[m:, m:], pull)


def _by_elimination(setup: GroupRegressions) -> Solution:
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
    return Solution(groups, cov, b, rest_cov, pull)

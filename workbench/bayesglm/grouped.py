"""The EM on the columns of grouping factors: one coefficient per level and varying column, never written out.

    z = sum_f Z_f u_f + R b + e,      e ~ N(0, phi W^-1)

u_f are the deviations of a factor's levels from their prior mean, which the caller holds in the offset; R are the
columns that do not vary. The prior of a factor's effects is either one covariance matrix for all levels, or independent
(normal or t) priors with a scale for every level and column. R's columns have flat priors, or stated ones.

All algebra is that of :mod:`workbench.likelihood` on the cross-products of :mod:`workbench.moments`. With a covariance
Sigma, Lambda is a square root of Sigma / phi, so that a prior SD of zero needs no special case. With scales by level,
the columns of every level are multiplied by its prior SDs first, and Lambda is I / sqrt(phi). Nothing of the size
rows x coefficients, or coefficients x coefficients, is made: only the factors after the first are dense among each
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.products import absorbed, between, times
from workbench.covariances import square_root
from workbench.design import Design
from workbench.likelihood import Conditional, conditional, conditional_covariances
from workbench.moments import FactorMoments, Moments, moments

Array = NDArray[np.float64]

CANCELLED = 1e-4
"""Residual squares below this share of the response's are summed row by row: as a difference they would lose digits."""


@dataclass(frozen=True, eq=False)
class GroupPrior:
    """Prior of the effects of one factor, in its own varying columns, q of them over all its blocks.

    Attributes
    ----------
    covariance : array, shape (q, q), or None
        Of a joint normal prior, the same for every level.
    scale : array, shape (J, q), or None
        Of independent priors; exactly one of the two is given.
    df : float
        Of independent priors; inf is normal.
    """

    covariance: Array | None = None
    scale: Array | None = None
    df: float = np.inf


@dataclass(frozen=True, eq=False)
class RestPrior:
    """Independent priors of the r columns that do not vary: mean, scale (inf is flat) and df, shape (r,) each."""

    mean: Array
    scale: Array
    df: Array

    @classmethod
    def flat(cls, r: int) -> RestPrior:
        """No prior on any of r columns."""
        return cls(np.zeros(r), np.full(r, np.inf), np.full(r, np.inf))


@dataclass(frozen=True, eq=False)
class Deviations:
    """Prior SDs as they stand: by group, (J, q) of independent priors (else None); and those of R, (r,)."""

    by_group: Mapping[str, Array | None]
    rest: Array


@dataclass(frozen=True, eq=False)
class Weighed:
    """The working regression: its design, and the cross-products."""

    design: Design
    moments: Moments

    @cached_property
    def unweighted(self) -> Moments:
        """The cross-products without the weights, about the same centres."""
        return self.moments if (self.design.weights == 1).all() else moments(self.design, weighted=False)


@dataclass(frozen=True, eq=False)
class Solved:
    """The mode given prior SDs and dispersion.

    Attributes
    ----------
    a : array
        The effects of every factor in the design's order, (J, q) each, and b, one behind the other.
    data, given : Moments, Conditional
        In the coordinates of `roots`.
    roots : tuple of array, shape (J_f, q_f, q_f), or None
        What the columns of every level were multiplied by (by factor of `data`).
    factors : tuple of array, shape (q_f, q_f)
        Lambda of every factor.
    """

    a: Array
    data: Moments
    given: Conditional
    roots: tuple[Array, ...] | None
    factors: tuple[Array, ...]

    def effects(self, design: Design) -> tuple[dict[str, Array], Array]:
        """Effects (J, q) by group, and b (r,), in the data's own columns."""
        return split(self.a, design)

    def covariances(self) -> dict[str, Array]:
        """Posterior covariance over phi of every level's effects, (J, q, q) by group, in the data's own columns."""
        found = {}
        inside = conditional_covariances(self.data, self.factors, self.given)
        for k, (f, P, pull) in enumerate(zip(self.data.factors, inside, self.given.pull, strict=True)):
            V = P + pull @ self.given.b_cov @ np.swapaxes(pull, 1, 2)
            back = f.to_data if self.roots is None else f.to_data @ self.roots[k]
            found[f.group] = back @ V @ np.swapaxes(back, -1, -2)
        return found

    @property
    def b_cov(self) -> Array:
        """Posterior covariance over phi of b, (r, r), in the data's own columns."""
        to_data = self.data.shift.to_data
        return np.asarray(to_data @ self.given.b_cov @ to_data.T)


class Grouped:
    """Grouping factors and the columns R as :class:`~workbench.bayesglm.em.Columns`.

    Parameters
    ----------
    design : Design
        Its X is R; its y, weights and offset are not looked at.
    priors : mapping of group to GroupPrior
    rest : RestPrior
    """

    def __init__(self, design: Design, priors: Mapping[str, GroupPrior], rest: RestPrior) -> None:
        self.design, self.priors, self.rest = design, priors, rest

    def first(self) -> Deviations:
        """The prior SDs to start with."""
        return Deviations({group: prior.scale for group, prior in self.priors.items()}, self.rest.scale)

    def weigh(self, weights: Array, z: Array) -> Weighed:
        """Cross-products of the working regression."""
        design = replace(self.design, y=z, weights=weights, offset=np.broadcast_to(0.0, len(z)))
        return Weighed(design, moments(design))

    def solve(self, weighed: Weighed, sd: Deviations, phi: float) -> Solved:
        """The mode given prior SDs and phi."""
        data = _with_rest_prior(weighed.moments, self.rest, sd.rest, phi)
        roots = self._roots(data, sd)
        if roots is None:
            factors = tuple(_own_root(f, _covariance(self.priors[f.group])) / np.sqrt(phi) for f in data.factors)
        else:
            data = absorbed(data, roots)
            factors = tuple(np.eye(len(f.A)) / np.sqrt(phi) for f in data.factors)
        given = conditional(data, factors)
        parts = {}
        for k, (f, u) in enumerate(zip(data.factors, given.u, strict=True)):
            u = u if roots is None else np.einsum("jab,jb->ja", roots[k], u)
            parts[f.group] = u @ f.to_data.T
        b = data.shift.to_data @ given.b + data.shift.origin
        a = np.concatenate([*(parts[group].ravel() for group in self.design.groups), b])
        return Solved(a, data, given, roots, factors)

    def predictor(self, a: Array) -> Array:
        """R b and the effects of every row, shape (n,)."""
        effects, b = split(a, self.design)
        predictor: Array = self.design.X @ b
        at = dict.fromkeys(self.design.groups, 0)
        for block in self.design.blocks:
            for k in range(len(block.terms)):
                predictor = predictor + block.Z[:, k] * effects[block.group][:, at[block.group] + k][block.codes]
            at[block.group] += len(block.terms)
        return predictor

    def squares(self, weighed: Weighed, solved: Solved) -> float:
        """Of the cross-products; row by row where too little of the response is left."""
        data = weighed.moments if solved.roots is None else absorbed(weighed.moments, solved.roots)
        given = solved.given
        rows = tuple(u.reshape(-1, 1) for u in given.u)
        b = given.b[:, None]
        products, of_b = times(data, rows, b)
        left = 2 * sum(float(f.Zty.ravel() @ u[:, 0]) for f, u in zip(data.factors, rows, strict=True))
        left += 2 * float(data.Xty @ given.b)
        both = sum(float(u[:, 0] @ p[:, 0]) for u, p in zip(rows, products, strict=True)) + float(given.b @ of_b[:, 0])
        squares = data.yty - left + both
        if squares > CANCELLED * data.yty:
            return squares
        residual = weighed.design.y - self.predictor(solved.a)
        return float(np.sum(weighed.design.weights * residual**2))

    def leverage(self, weighed: Weighed, solved: Solved) -> float:
        """Mean over the rows of d'Vd, with d a row of all columns, unweighted.

        Given b, the effects' part of V is in blocks by level of the first factor once the others are given; what b adds
        is the square of R less what the effects would take up of it.
        """
        given, plain = solved.given, weighed.unweighted
        if solved.roots is not None:
            plain = absorbed(plain, solved.roots)
        inside = conditional_covariances(solved.data, solved.factors, given)
        total = float(np.sum(plain.factors[0].A * np.moveaxis(inside[0], 0, -1)))
        if given.schur is not None and plain.rest is not None and solved.data.rest is not None:
            across = between(plain, solved.data, given.P, weighed.unweighted is weighed.moments)
            total += float(np.sum((plain.rest.RtR - 2 * across) * given.schur.covariance))
        if len(given.b):
            rows = tuple(-pull.reshape(-1, len(given.b)) for pull in given.pull)
            products, of_b = times(plain, rows, np.eye(len(given.b)))
            left_over = of_b + sum(u.T @ p for u, p in zip(rows, products, strict=True))
            total += float(np.sum(left_over * given.b_cov))
        return total / solved.data.n

    def updated(self, a: Array, solved: Solved, phi: float) -> Deviations:
        """Prior SDs of t priors, from effects and their posterior variances; the others stay."""
        moving = [group for group, prior in self.priors.items() if prior.scale is not None and np.isfinite(prior.df)]
        if not moving and not np.isfinite(self.rest.df[np.isfinite(self.rest.scale)]).any():
            return self.first()
        effects, b = split(a, self.design)
        covariances = solved.covariances() if moving else {}
        by_group: dict[str, Array | None] = {group: prior.scale for group, prior in self.priors.items()}
        for group in moving:
            variance = phi * np.einsum("jaa->ja", covariances[group])
            by_group[group] = _expected(effects[group], variance, self.priors[group].scale, self.priors[group].df)
        rest = _expected(b - self.rest.mean, phi * np.diag(solved.b_cov), self.rest.scale, self.rest.df)
        return Deviations(by_group, rest)

    def level(self, predictor: Array) -> Array:
        """The prior mean: no effects, and no part of R."""
        effects = sum(len(block.levels) * len(block.terms) for block in self.design.blocks)
        return np.zeros(effects + self.design.X.shape[1])

    def _roots(self, data: Moments, sd: Deviations) -> tuple[Array, ...] | None:
        """Roots of the priors' covariances level by level, for the centred columns; None where levels share them."""
        if all(prior.scale is None for prior in self.priors.values()):
            return None
        found = []
        for f in data.factors:
            own = sd.by_group[f.group]
            J, q = f.Zty.shape
            if own is None:
                found.append(np.broadcast_to(_own_root(f, _covariance(self.priors[f.group])), (J, q, q)))
            else:
                found.append(np.linalg.inv(f.to_data) * own[:, None, :])
        return tuple(found)


def split(a: Array, design: Design) -> tuple[dict[str, Array], Array]:
    """Effects (J, q) by group, and b, of all coefficients behind each other."""
    effects, start = {}, 0
    for group, J in design.groups.items():
        q = sum(len(block.terms) for block in design.blocks if block.group == group)
        effects[group] = a[start : start + J * q].reshape(J, q)
        start += J * q
    return effects, a[start:]


# --- priors -------------------------------------------------------------------------------------------


def _covariance(prior: GroupPrior) -> Array:
    assert prior.covariance is not None
    return prior.covariance


def _own_root(f: FactorMoments, covariance: Array) -> Array:
    """A root of the covariance of a factor's centred columns."""
    return np.asarray(np.linalg.solve(f.to_data, square_root(covariance)))


def _with_rest_prior(data: Moments, prior: RestPrior, sd: Array, phi: float) -> Moments:
    """One pseudo-observation per column of R that has a prior, of weight phi / sd^2, in the centred columns."""
    stated = np.isfinite(prior.scale)
    if not stated.any():
        return data
    weight = np.where(stated, phi / np.where(stated, sd, 1.0) ** 2, 0.0)
    return data.with_prior(prior.mean, weight)


def _expected(deviation: Array, variance: Array, scale: Array | None, df: Any) -> Array:
    """Step 3: the prior SDs that t priors are expected to have had; those of normal and flat priors stay."""
    assert scale is not None
    moving = np.isfinite(df) & np.isfinite(scale)
    finite = np.where(moving, df, 0.0)
    expected = (deviation**2 + variance + finite * np.where(moving, scale, 0.0) ** 2) / (1 + finite)
    return np.where(moving, np.sqrt(expected), scale)


def prior_scales(design: Design, group: str, sd: Array, scaled: bool) -> Array:
    """Scales of independent priors for every level and varying column of a factor, shape (J, q).

    With `scaled` they are bayesglm's of its second and later iterations, each level's column being zero in the rows of
    other levels: gaussian, times 2 SD of the response; other families, over the column's range if it has two
    values, over 2 SD if it has more.
    """
    blocks = [block for block in design.blocks if block.group == group]
    J = len(blocks[0].levels)
    if not scaled:
        return np.tile(sd, (J, 1))
    if design.family == "gaussian":
        return np.tile(sd * 2 * float(np.std(design.y, ddof=1)), (J, 1))
    Z = np.hstack([block.Z for block in blocks])
    spread = np.column_stack([_spread(blocks[0].codes, Z[:, k], J) for k in range(Z.shape[1])])
    return np.asarray(sd / np.where(spread > 0, spread, 1.0))


def _spread(codes: NDArray[np.intp], z: Array, J: int) -> Array:
    """Of every level's column: its range if it has two values (zero, in other levels, is one), else 2 SD; (J,)."""
    n = len(z)
    total, squares = np.bincount(codes, z, J), np.bincount(codes, z**2, J)
    pairs = np.unique(np.column_stack([codes[z != 0], z[z != 0]]), axis=0)
    values = np.bincount(pairs[:, 0].astype(np.intp), minlength=J)
    largest = np.zeros(J)
    np.maximum.at(largest, codes, np.abs(z))
    two_sd = 2 * np.sqrt(np.maximum(squares - total**2 / n, 0.0) / (n - 1))
    return np.where(values <= 1, largest, two_sd)

"""The search for theta: the best certified minimum of the criterion, from several starts.

Before the search, the varying columns of each block are made orthonormal over the whole table, so that the search does
not depend on their scale or origin, and a start of Lambda = I means the same for every data set. Groups that share
their design are condensed, which changes nothing but the time.

A density |S|^power of every term's relative covariance S = Lambda Lambda' may stand beside the likelihood
(:mod:`workbench.estimators.boundary_avoiding`): it adds -2 power log|S| = -4 power sum log|theta_kk| to the criterion,
over the diagonal of Lambda. Other coordinates of the columns change |S| by a factor that does not depend on theta.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import Searched, Undetermined, determined, widest
from workbench.curvature import average_information, hessian
from workbench.likelihood import Conditional, Gradient, conditional, criterion, criterion_gradient
from workbench.minimise import Minimum, minimise
from workbench.moments import Moments
from workbench.theta import Theta

Array = NDArray[np.float64]

SINGULAR = 1e-4
"""A diagonal entry of theta (in orthonormal columns) below this is called singular, as lme4 does."""
SAME = 0.01
"""Newton steps that lead this near to a minimum lead to it."""
HARDLY_SHRUNK = 1e3
"""A Lambda so large that it shrinks nothing, and yet not so large that the population values drown in rounding."""
VAGUE = 1e3
"""A level that knows its own effects (of orthonormal columns) no better than to so many sigma^2 does not count."""
THREADED = 100_000
"""From so many entries of R'W R on, threads of the linear algebra are limited, which itself takes milliseconds."""
SEVERAL_STARTS = 500
"""Up to so many effects, several factors with a slope get more than one start: optima hide, and searches are cheap."""
LIFTED = 0.1
"""The smallest diagonal entry of theta from which a search that must keep off zero starts."""
SCALAR_STARTS = tuple(np.geomspace(0.02, 2e5, 15))


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the criterion is smallest.

    Attributes
    ----------
    theta : Theta
        Canonical, of the orthonormal columns.
    minimum : Minimum
        The certificate.
    factors : tuple of array, shape (q_f, q_f)
        Lambda of every grouping factor, of the moments' columns.
    given : Conditional
        What follows at these factors.
    maps : tuple of array, shape (q_f, q_f)
        Of the moments' columns to the orthonormal ones.
    undetermined : tuple of Undetermined
        Spreads of which the likelihood says nothing; they are zero in `factors`.
    power : float
        Of the density |S|^power that was maximised with the likelihood; zero for none.
    """

    theta: Theta
    minimum: Minimum
    factors: tuple[Array, ...]
    given: Conditional
    maps: tuple[Array, ...]
    undetermined: tuple[Undetermined, ...]
    power: float = 0.0


def optimum(data: Moments, restricted: bool, searched: Searched | None = None, power: float = 0.0) -> Optimum:
    """Minimise the REML criterion, or the deviance, over theta.

    Parameters
    ----------
    data : Moments
    restricted : bool
        REML (eq. 42) rather than ML (eq. 35).
    searched : Searched, optional
        Of the same moments, where they are at hand.
    power : float
        Of a density |S|^power to be maximised with the likelihood. Its slopes are tame, and the search is at its best,
        where `searched` is :meth:`workbench.coordinates.Searched.by_level`.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.moments import moments
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> best = optimum(moments(build_design("y ~ 1 + (1 | g)", table)), restricted=True)
    >>> round(float(best.factors[0][0, 0]) ** 2, 6)   # tau^2 / sigma^2 = 6.083333 / 0.5
    12.166667
    """
    searched = searched or Searched.of(data, restricted)
    with _threads(data):
        theta, best = _search(searched, restricted, power)
        factors = tuple(R @ Lambda for R, Lambda in zip(searched.maps, theta.factors, strict=True))
        given = conditional(data, factors)
    return Optimum(theta, best, factors, given, searched.maps, searched.undetermined, power)


def _threads(data: Moments) -> AbstractContextManager[Any]:
    """Keep the linear algebra of several factors to one thread where there are no more than two cores.

    The second thread gains little there, and between factorisations it spins, which costs everything else more: with it
    InstEval's two crossed factors take a third more wall time, and its three take two thirds more.
    """
    if data.rest is None or data.rest.RtR.size < THREADED or (_cores() or 1) > 2:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


_cores: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)


class _Criterion:
    """The criterion of given moments as a function of theta, with what its last evaluation left behind.

    The density |S|^power, if there is one, is part of it.
    """

    def __init__(self, data: Moments, restricted: bool, power: float = 0.0) -> None:
        self.data = data
        self.restricted = restricted
        self.power = power
        self.shape = Theta.of(data, tuple(np.eye(f.Zty.shape[1]) for f in data.factors))
        self.exact = len(data.factors) == 1
        self._last: tuple[Array, Conditional, Gradient] | None = None

    def value(self, values: Array) -> float:
        """The criterion alone."""
        given = conditional(self.data, self.shape.at(values).factors)
        return criterion(self.data, given, self.restricted) + self._density(values)[0]

    def __call__(self, values: Array) -> tuple[float, Array]:
        """The criterion and its gradient, shape (m,)."""
        factors = self.shape.at(values).factors
        given = conditional(self.data, factors)
        gradient = criterion_gradient(self.data, factors, given, self.restricted)
        self._last = (values, given, gradient)
        more, slope, _ = self._density(values)
        return criterion(self.data, given, self.restricted) + more, self.shape.gather(gradient.by_factor) + slope

    def second(self, values: Array) -> Array:
        """The Hessian, shape (m, m), of one factor; of several, the average information."""
        if self._last is None or not np.array_equal(self._last[0], values):
            self(values)
        assert self._last is not None
        _, given, gradient = self._last
        curved, factors = hessian if self.exact else average_information, self.shape.at(values).factors
        second = curved(self.data, factors, given, gradient, self.restricted, self.shape.entries)
        return second + np.diag(self._density(values)[2])

    def _density(self, values: Array) -> tuple[float, Array, Array]:
        """-2 log |S|^power, its slope and its curvature by the entries of theta, shape (m,): zero off the diagonal."""
        if not self.power:
            none = np.zeros(len(values))
            return 0.0, none, none
        diagonal = self.shape.on_diagonal
        with np.errstate(divide="ignore"):  # without end at zero
            per = np.where(diagonal, 4 * self.power / np.where(diagonal, values, 1.0), 0.0)
            value = -4 * self.power * float(np.log(np.abs(values[diagonal])).sum())
        return value, -per, per**2 / (4 * self.power)

    def minimise(self, start: Array, found: list[Minimum]) -> None:
        """Add the local minimum nearest to a start to those found."""
        places = [self.shape.at(m.x).canonical().values for m in found if m.certified]

        def known(x: Array) -> bool:  # next to a minimum that another start has led to
            here = self.shape.at(x).canonical().values
            return any(bool((np.abs(here - place) <= SAME * np.maximum(1.0, np.abs(place))).all()) for place in places)

        found.append(minimise(self, start, second=self.second, exact=self.exact, rounding=self.rounding, known=known))

    def rounding(self) -> float:
        """How far rounding may have moved the last value: r^2 is what little is left of y'y."""
        if self._last is None:
            return 0.0
        r2 = max(self._last[1].r2, 1e-300)
        return float(64 * np.finfo(float).eps * self.data.yty / r2 * self.data.n)


def _search(searched: Searched, restricted: bool, power: float) -> tuple[Theta, Minimum]:
    """The best certified minimum over several starts, in its canonical form, for orthonormal columns."""
    objective = _Criterion(searched.moments, restricted, power)
    shape = objective.shape
    if not len(shape.values):
        none = np.empty(0)
        return shape, Minimum(none, objective.value(none), none, none, np.empty((0, 0)), 1, True)
    found: list[Minimum] = []
    starts = _starts(objective, searched)
    if power and len(shape.values) > 1:
        starts.append(_lifted(_search(searched, restricted, 0.0)[0]))
    for start in starts:
        objective.minimise(start, found)
    near = max(1e-9, objective.rounding())
    best = min(found, key=lambda m: (m.value - near * m.certified, not m.certified))
    diagonal = shape.on_diagonal
    end = shape.at(best.x).canonical()
    if power:  # which keeps it off the boundary
        return end, replace(best, evaluations=sum(m.evaluations for m in found))
    if len(shape.values) > 1 and np.abs(end.values[diagonal]).min() < SINGULAR:
        starts = [best.x + np.where(diagonal, 0.5, 0.0)]
        packed = end.packed(SINGULAR).values
        if (np.abs(np.abs(packed) - np.abs(end.values)) > SINGULAR).any():
            starts.append(packed)
        for start in starts:
            objective.minimise(start, found)
        best = min(best, *found[-len(starts) :], key=lambda m: m.value)
    exact = _exact_zeros(shape.at(best.x).canonical(), best.value, objective)
    evaluations = sum(m.evaluations for m in found)
    return exact, replace(best, evaluations=evaluations)


def _starts(objective: _Criterion, searched: Searched) -> list[Array]:
    """Starting points.

    Of one scalar: the valleys of a coarse grid. Of several factors: what the levels' own deviations suggest of each
    alone, as if the others were not there, over what no factor explains; where there are slopes but few effects, a
    small and a large Lambda too. Of one factor with more entries: what the groups' own deviations suggest, a small
    Lambda, and of three varying columns or more a large one.
    """
    data, shape = objective.data, objective.shape
    if len(shape.values) == 1:
        grid = [s for s in SCALAR_STARTS if s <= widest(searched.moments.factors[0])]
        values = [objective.value(np.array([s])) for s in grid]
        return [
            np.array([start])
            for k, start in enumerate(grid)
            if (k == 0 or values[k] <= values[k - 1]) and (k == len(values) - 1 or values[k] < values[k + 1])
        ]
    sigma2 = _unexplained(searched)
    alone = [replace(data, factors=(f,), rest=None) for f in data.factors]
    suggested = shape.gather(tuple(_from_deviations(one, sigma2) for one in alone))
    if len(alone) > 1:
        slopes, effects = len(shape.values) > len(alone), sum(f.Zty.size for f in data.factors)
        sizes = [0.2, 3.0] if slopes and effects <= SEVERAL_STARTS else []
    else:
        sizes = [0.2, 10.0] if len(shape.values) > 3 else [0.2]
    return [suggested, *(np.where(shape.on_diagonal, size, 0.0) for size in sizes)]


def _lifted(theta: Theta) -> Array:
    """The entries of a maximum of the likelihood, moved off the boundary, where a density |S|^power is zero."""
    return np.where(theta.on_diagonal, np.maximum(theta.values, LIFTED), theta.values)


def _unexplained(searched: Searched) -> float:
    """What free effects of all factors leave of the response, per degree of freedom."""
    data = searched.moments
    levels = [f.Zty.shape[0] if f.counts is None else f.counts.sum() for f in data.factors]
    taken = data.p + sum(f.Zty.shape[1] * (J - 1) for f, J in zip(data.factors, levels, strict=True))
    return float(max(searched.residual, 1e-300) / max(data.n - taken, data.n / 20))


def _from_deviations(data: Moments, sigma2: float) -> Array:
    """Method of moments for one factor, Lambda of shape (q, q): the deviations' covariance less what noise adds.

    Only of levels whose rows tell all their effects: what noise adds to the others knows no bound.
    """
    f = data.factors[0]
    free = determined(f)
    unshrunk = conditional(data, (HARDLY_SHRUNK * np.diag(free.astype(float)),))
    (own,) = unshrunk.u
    counts = np.ones(len(own)) if f.counts is None else f.counts
    told = np.einsum("aaj->aj", unshrunk.P)[free].sum(axis=0) < VAGUE
    own, counts = own[told], counts[told]
    J = max(counts.sum(), 1.0)
    found = own.T @ own / max(J - 1, 1) / sigma2 - unshrunk.P[:, :, told] @ counts / J
    Lambda = np.zeros_like(found)
    for block in f.blocks:
        values, vectors = np.linalg.eigh(found[block, block])
        Lambda[block, block] = np.linalg.cholesky((vectors * np.clip(values, 1e-2, 1e12)) @ vectors.T)
    return np.asarray(Lambda)


def _exact_zeros(theta: Theta, value: float, objective: _Criterion) -> Theta:
    """Make exact the zeros that the search stopped short of, where the criterion (`value`) does not grow by it.

    A diagonal entry next to zero goes with the entries below it that are next to zero too: a column of one Lambda.
    """
    columns = np.array([(factor, column) for factor, _, column in theta.entries])
    allowed = max(1e-9, objective.rounding())
    for k in np.flatnonzero(theta.on_diagonal & (np.abs(theta.values) < SINGULAR)):
        together = (columns == columns[k]).all(axis=1) & (np.abs(theta.values) < SINGULAR)
        trial = np.where(together, 0.0, theta.values)
        if objective.value(trial) <= value + allowed:
            theta = theta.at(trial)
    return theta

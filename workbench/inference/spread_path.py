"""Group coefficients as functions of the spread between groups, from complete pooling to none.

For every value tau of one varying term's standard deviation, all other parameters are estimated anew, and the group
coefficients are the conditional means given these: of a gaussian response E[b + u_j | y, tau, others], the others at
the maximum of the restricted likelihood (b is integrated out, so that where standard errors are known, and nothing else
is left to estimate, they are E[b + u_j | tau, y] under a flat prior of b); of counts and shares the conditional modes,
the others at the maximum of Laplace's approximation. What the maximised criterion is along the way is the profile of
tau. Gelman et al. (Bayesian Data Analysis, 3rd edition 2013, section 5.5, figures 5.5 and 5.6) draw it for eight
schools:

    E[theta_j | tau, y] = (y_j / se_j^2 + mu / tau^2) / (1 / se_j^2 + 1 / tau^2),   mu weighted by 1 / (se_j^2 + tau^2)

and here it is any term of any design that the likelihood knows; of counts and shares, terms without correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import condensed
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import DesignError
from workbench.glmm import search
from workbench.glmm.quasi_newton import quasi_newton
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working
from workbench.inference.held import Held, Point
from workbench.inference.parameters import Parameter
from workbench.likelihood import conditional
from workbench.moments import Moments, moments
from workbench.optimum import SINGULAR, Optimum, optimum

Array = NDArray[np.float64]

POINTS = 61
"""Evenly spaced values of tau, less of many effects."""
BENDING = 4.0
"""Up to so many times the spread at which a typical group keeps half, there are more."""
LEAST = 0.03
"""The axis goes on until the profile likelihood is this share of its maximum."""
FARTHEST = 10.0
"""And no farther than so many times the estimate, or the spread at which a typical group keeps half."""
STRIDE = 1.3
WORK = (3_000_000, 1_000_000)
"""Effects times points are not more than this (the second where much else is estimated), but for a few points."""
FEWEST = 9
QUANTILE = 3.841458820694124
"""Of chi-squared, 95 %, 1 degree of freedom."""
SEEN = 16.0
"""The profile is drawn smoothly where it lies this near to its minimum (-2 log likelihood)."""
SMOOTH = 16
"""So many points of it lie there at least."""


@dataclass(frozen=True, eq=False)
class SpreadPath:
    """The path of one varying term.

    Attributes
    ----------
    name : str
        The standard deviation's, ``sd(Subject, Days)``.
    criterion : str
        ``REML`` or ``Laplace``.
    estimate : float
        Where the profile is highest.
    typical : float
        The spread at which the group of median information keeps half of its own deviation.
    tau : array, shape (K,)
        From zero.
    population : array, shape (K,)
        Of the term; 0 where it has no population value.
    coefficients : array, shape (K, J)
    edge : array of bool, shape (K,)
        Where another standard deviation is estimated as zero, or a correlation as -1 or 1; there the curves may bend.
    others : int
        How many other variance parameters were estimated anew at every tau.
    at : array, shape (M,)
        Where the profile was evaluated: all of tau and more.
    relative : array, shape (M,)
        The profile likelihood over its maximum.
    likely : pair of float
        Ends of the 95 % profile interval: 0 where it holds that, infinity where it goes on beyond the path.
    doubtful : int
        How many of the points are not certified as minima over the other parameters.
    """

    name: str
    criterion: str
    estimate: float
    typical: float
    tau: Array
    population: Array
    coefficients: Array
    edge: NDArray[np.bool_]
    others: int
    at: Array
    relative: Array
    likely: tuple[float, float]
    doubtful: int

    def __post_init__(self) -> None:
        for name in ("tau", "population", "coefficients", "at", "relative"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))
        object.__setattr__(self, "edge", read_only(self.edge))

    def where(self, least: float) -> tuple[float, float]:
        """The points next to which the relative profile likelihood is at least this."""
        above = np.flatnonzero(self.relative >= least)
        return float(self.at[max(above[0] - 1, 0)]), float(self.at[min(above[-1] + 1, len(self.at) - 1)])


class HeldSpread(Protocol):
    """A likelihood with one standard deviation held: what a path needs of it. It remembers where it was asked."""

    criterion: str
    estimate: float
    others: int
    sigma: float
    doubtful: int

    def value(self, tau: float) -> float:
        """-2 log likelihood, the others at their best, which later calls start from."""

    def coefficients(self, tau: float) -> tuple[float, Array]:
        """Population value and group coefficients, shape (J,)."""

    def on_edge(self, tau: float) -> bool:
        """Whether another variance parameter is on its boundary."""


def spread_path(
    design: Design, block: int = 0, column: int = 0, beyond: float = 0.0, wanted: Sequence[float] = ()
) -> SpreadPath:
    """Follow the group coefficients of one varying term as its standard deviation grows from zero.

    Parameters
    ----------
    design : Design
        Gaussian with any factors and terms; binomial or Poisson with terms that are not correlated with others.
    block, column : int
        Which random block, and which of its terms.
    beyond : float
        The path goes on so far at least.
    wanted : sequence of float
        Further values of tau at which the profile is evaluated, where they are on the path.

    Returns
    -------
    SpreadPath

    Raises
    ------
    DesignError
        A family without a likelihood here, or correlated terms of counts or shares.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> path = spread_path(build_design("y ~ 1 + (1 | g)", table))
    >>> round(path.estimate, 4), path.coefficients[0].round(4).tolist()      # REML; at tau = 0 all are the mean
    (2.4664, [3.8333, 3.8333, 3.8333])
    """
    found = held_spread(design, block, column)
    part = design.blocks[block]
    information = np.bincount(part.codes, design.weights * part.Z[:, column] ** 2, len(part.levels))
    typical = float(found.sigma / np.sqrt(np.median(information[information > 0])))
    least = found.value(found.estimate)
    end = _end(found, least, typical, max(beyond, 1.02 * max([w for w in wanted if np.isfinite(w)], default=0.0)))
    effects = sum(len(b.levels) * len(b.terms) for b in design.blocks)
    points = int(np.clip(WORK[found.others > 1] // effects, FEWEST, POINTS))
    tau = np.linspace(0.0, end, points)
    if points == POINTS:  # where typical groups are pooled, the curves bend most
        tau = np.unique(np.concatenate([tau, np.linspace(0.0, min(BENDING * typical, end), POINTS // 2)]))
    inside = [w for w in (*wanted, found.estimate) if 0 <= w <= end]
    at = np.unique(np.concatenate([tau, inside]))
    values = _walk(found, at)
    least = min(least, *values.values())
    smooth = SMOOTH if points == POINTS or found.others <= 1 else SMOOTH // 2
    for _ in range(5):
        more = _between(np.array(sorted(values)), np.array([values[t] for t in sorted(values)]) - least, smooth)
        if not len(more):
            break
        values |= _walk(found, more)
        least = min(least, *values.values())
    likely = _interval(found, values, least)
    rows = [found.coefficients(t) for t in tau.tolist()]
    at = np.array(sorted(values))
    return SpreadPath(
        name=f"sd({part.group}, {part.terms[column]})",
        criterion=found.criterion,
        estimate=found.estimate,
        typical=typical,
        tau=tau,
        population=np.array([value for value, _ in rows]),
        coefficients=np.array([c for _, c in rows]),
        edge=np.array([found.on_edge(t) for t in tau.tolist()]),
        others=found.others,
        at=at,
        relative=np.exp((least - np.array([values[t] for t in at.tolist()])) / 2),
        likely=likely,
        doubtful=found.doubtful,
    )


def feasible(design: Design, block: int, column: int) -> str:
    """Why there is no path of a term; empty where there is one.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0, 3, 1, 4, 2, 2], "x": [0, 1, 2, 0, 1, 2], "g": list("aaabbb")}
    >>> feasible(build_design("y ~ x + (x | g)", table, "poisson"), 0, 0)
    'terms of counts and shares that are correlated with others have no path here'
    """
    if design.family == "gaussian":
        return ""
    if design.family not in ("binomial", "poisson"):
        return f"there is no likelihood of {design.family} responses here"
    if len(design.blocks[block].terms) > 1:
        return "terms of counts and shares that are correlated with others have no path here"
    return ""


def held_spread(design: Design, block: int, column: int) -> HeldSpread:
    """The likelihood as a function of one varying term's SD; errors are those of `spread_path`."""
    why = feasible(design, block, column)
    if why:
        part = design.blocks[block]
        raise DesignError(
            f"sd({part.group}, {part.terms[column]}) cannot be held: {why}. Take another term, or (x || g) in place of "
            "(x | g)."
        )
    return _Gaussian(design, block, column) if design.family == "gaussian" else _Counts(design, block)


def _end(found: HeldSpread, least: float, typical: float, beyond: float) -> float:
    """How far the axis goes: at least twice the estimate, else until the profile is low, or far enough out."""
    end = max(2 * found.estimate, 0.5 * typical, beyond)
    farthest = FARTHEST * max(found.estimate, typical)
    while found.value(end) < least - 2 * np.log(LEAST) and end * STRIDE < farthest:
        end *= STRIDE
    return end


def _walk(found: HeldSpread, at: Array) -> dict[float, float]:
    """The criterion at points, from the one nearest to the estimate outwards, so that searches have short ways."""
    order = np.argsort(np.abs(at - found.estimate), kind="stable")
    up = [k for k in order if at[k] >= found.estimate]
    down = [k for k in order if at[k] < found.estimate]
    return {float(at[k]): found.value(float(at[k])) for k in (*up, *down)}


def _between(at: Array, above: Array, smooth: int) -> Array:
    """Further points where the profile is high and its points are few."""
    near = np.flatnonzero(above < SEEN)
    if len(near) >= smooth:
        return np.empty(0)
    low, high = at[max(near[0] - 1, 0)], at[min(near[-1] + 1, len(at) - 1)]
    return np.setdiff1d(np.linspace(low, high, smooth + 2), at)


def _interval(found: HeldSpread, values: dict[float, float], least: float) -> tuple[float, float]:
    """Where the profile crosses the quantile of chi-squared with one degree of freedom, farthest to both sides."""
    from scipy.optimize import brentq

    at = np.array(sorted(values))
    above = np.array([values[t] for t in at.tolist()]) - least - QUANTILE
    inside = np.flatnonzero(above <= 0)
    first, last = int(inside[0]), int(inside[-1])

    def excess(tau: float) -> float:
        return found.value(tau) - least - QUANTILE

    low = float(brentq(excess, at[first - 1], at[first], xtol=1e-6 * at[-1], rtol=1e-6)) if first > 0 else 0.0
    high = (
        float(brentq(excess, at[last], at[last + 1], xtol=1e-6 * at[-1], rtol=1e-6)) if last < len(at) - 1 else np.inf
    )
    return low, high


def _nearest(known: dict[float, Array], tau: float) -> Array | None:
    return known[min(known, key=lambda t: abs(t - tau))] if known else None


class _Gaussian:
    """The REML criterion with one standard deviation held."""

    criterion = "REML"

    def __init__(self, design: Design, block: int, column: int) -> None:
        self.data: Moments = moments(design)
        best: Optimum = optimum(self.data, restricted=True)
        name = f"sd({design.blocks[block].group}, {design.blocks[block].terms[column]})"
        parameter = Parameter(name, "sd", block, (column,))
        self.held = Held.of(parameter, condensed(self.data), best, restricted=True)
        self.estimate = self.held.best
        nu = max(self.data.n - self.data.p, 1)
        self.sigma = 1.0 if self.data.known_se else float(np.sqrt(best.given.r2 / nu))
        self.others = len(self.held.start)
        self.doubtful = 0
        self._where = (block, column)
        self._points: dict[float, Point] = {}

    def value(self, tau: float) -> float:
        return self._at(tau).deviance

    def _at(self, tau: float) -> Point:
        if tau not in self._points:
            near = _nearest({t: p.others for t, p in self._points.items()}, tau)
            starts = (self.held.start,) if near is None else (near, self.held.start) if tau == 0 else (near,)
            self._points[tau] = point = self.held.at(tau, *starts)
            self.doubtful += self.others > 1 and not point.certified  # of sigma alone there is one minimum
        return self._points[tau]

    def on_edge(self, tau: float) -> bool:
        held = self.held
        free = held.theta.on_diagonal.copy()
        free[list(held.pinned)] = False
        others = np.zeros(len(free))
        others[[k for k in range(len(free)) if k not in held.pinned]] = self._at(tau).others[: len(free) - 1]
        return bool((np.abs(others[free]) < SINGULAR).any())

    def coefficients(self, tau: float) -> tuple[float, Array]:
        block, column = self._where
        given = conditional(self.data, self.held.factors(self._at(tau)))
        place, f = next((k, f) for k, f in enumerate(self.data.factors) if block in f.places)
        here = f.blocks[f.places.index(block)].start + column
        mode = np.tensordot(f.to_data[here], given.modes[place], 1)
        shift, k = self.data.shift, f.fixed[here]
        population = 0.0 if k is None else float(shift.to_data[k] @ given.b + shift.origin[k])
        return population, population + mode[-1] - given.b @ mode[:-1]


class _Counts:
    """Laplace's deviance with one standard deviation held."""

    criterion = "Laplace"
    sigma = 1.0

    def __init__(self, design: Design, block: int) -> None:
        rows = Rows.of(design)
        best = search.optimum(rows)
        self.deviance = search.Deviance(Working(rows), expected=True)
        place, f = next((k, f) for k, f in enumerate(rows.factors) if block in f.places)
        within = f.places.index(block)
        start, self._map = f.blocks[within].start, float(f.maps[within][0, 0])
        self._entry = self.deviance.shape.entries.index((place, start, start))
        self._place, self._row, self._fixed = place, start, design.blocks[block].fixed[0]
        both = np.concatenate([best.theta.values, best.mode.b])
        self.estimate = abs(self._map * float(both[self._entry]))
        self.others = len(best.theta.values) - 1
        self.doubtful = 0
        self._found: dict[float, Array] = {self.estimate: np.delete(both, self._entry)}
        self._values: dict[float, float] = {}
        self._inverse: Array | None = None

    def _both(self, tau: float, free: Array) -> Array:
        return np.insert(free, self._entry, tau / abs(self._map))

    def value(self, tau: float) -> float:
        if tau not in self._values:

            def objective(free: Array) -> tuple[float, Array]:
                value, gradient = self.deviance.joint(self._both(tau, free))
                return value, np.delete(gradient, self._entry)

            start = _nearest(self._found, tau)
            assert start is not None
            end = quasi_newton(objective, start, self._inverse, close=search.SETTLED)
            self._found[tau], self._values[tau], self._inverse = end.x, end.value, end.inverse
            self.doubtful += not end.settled
        return self._values[tau]

    def on_edge(self, tau: float) -> bool:
        self.value(tau)
        theta = np.delete(self._both(tau, self._found[tau]), self._entry)[: self.others]
        on_diagonal = np.delete(self.deviance.shape.on_diagonal, self._entry)
        return bool((np.abs(theta[on_diagonal]) < SINGULAR).any())

    def coefficients(self, tau: float) -> tuple[float, Array]:
        self.value(tau)
        both = self._both(tau, self._found[tau])
        mode, _ = self.deviance.at(both[: self.deviance.m], both[self.deviance.m :])
        rows, k = self.deviance.working.rows, self._fixed
        population = 0.0 if k is None else float(rows.to_data[k] @ mode.b)
        return population, population + self._map * mode.u[self._place][self._row]

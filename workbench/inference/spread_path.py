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

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.inference.spread_likelihoods import HeldSpread, held_spread

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
    typical = _typical(design, block, column, found.sigma)
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


def likely_spread(design: Design, block: int = 0, column: int = 0) -> tuple[float, float]:
    """Ends of the 95 % profile interval that :func:`spread_path` finds, without the path.

    Returns
    -------
    pair of float
        0 where the interval holds that, infinity where it goes on beyond where a path would end.

    Raises
    ------
    DesignError
        As by :func:`spread_path`.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> found, path = likely_spread(design), spread_path(design)
    >>> bool(np.allclose(found, path.likely, rtol=1e-4))
    True
    """
    found = held_spread(design, block, column)
    end = _end(found, found.value(found.estimate), _typical(design, block, column, found.sigma), 0.0)
    values = _walk(found, np.unique([*np.linspace(0.0, end, FEWEST), found.estimate]))
    return _interval(found, values, min(values.values()))


def _typical(design: Design, block: int, column: int, sigma: float) -> float:
    """The spread at which the group of median information keeps half of its own deviation."""
    part = design.blocks[block]
    information = np.bincount(part.codes, design.weights * part.Z[:, column] ** 2, len(part.levels))
    return float(sigma / np.sqrt(np.median(information[information > 0])))


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

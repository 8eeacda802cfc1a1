"""Integrals of one or two variables over panels of Gauss-Legendre nodes that are split until the integrand is resolved.

On every panel the integrand is its interpolant at its nodes, sum_k c_k P_k(t) with t in (-1, 1). A smooth function's
coefficients c_k fall geometrically, so the last of them say how well it is resolved (Trefethen 2013, *Approximation
Theory and Approximation Practice*, chapters 8 and 19); panels where they do not are cut. The antiderivatives

    int_{-1}^t P_k = (P_{k+1}(t) - P_{k-1}(t)) / (2 k + 1)

give distribution functions as exactly as integrals. Where a density lies is found on its logarithm, which can be seen
from afar: :func:`zoom`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from workbench.data import read_only

Array = NDArray[np.float64]

ORDER = 24
"""Nodes per panel, if nothing else is said."""

SEEN = 25
"""Points along each variable when a density is looked for."""
DEPTH = 42.0
"""A density is followed down to exp(-DEPTH) of its largest value, 6e-19."""
ACROSS = 1e-5
"""The share that the last coefficients of the interpolant in both variables may hold; integrals miss by its square."""


@cache
def _legendre(order: int) -> tuple[Array, Array, Array]:
    """Nodes and weights on (-1, 1), and the matrix that takes values there to Legendre coefficients."""
    t, w = legendre.leggauss(order)
    back = (np.arange(order) + 0.5)[:, None] * legendre.legvander(t, order - 1).T * w
    return read_only(t), read_only(w), read_only(back)


@cache
def to_chebyshev(order: int) -> tuple[Array, Array]:
    """What takes values at the nodes to Chebyshev coefficients, which are quick to evaluate: of the interpolant itself,
    shape (order, order), and of its antiderivative that is 0 at -1, (order + 1, order).
    """
    back = _legendre(order)[2]
    angles = np.pi * (np.arange(order + 1) + 0.5) / (order + 1)
    waves = np.cos(np.multiply.outer(np.arange(order + 1), angles)) * 2 / (order + 1)
    waves[0] /= 2
    from_legendre = waves @ legendre.legvander(np.cos(angles), order)
    whole = from_legendre @ legendre.legint(np.eye(order), lbnd=-1) @ back
    return read_only(from_legendre[:order, :order] @ back), read_only(whole)


def _waves(t: Array, count: int) -> Array:
    """The first Chebyshev polynomials at t, shape (..., count)."""
    return np.cos(np.multiply.outer(np.arccos(np.clip(t, -1.0, 1.0)), np.arange(count)))


def clenshaw(coefficients: Array, t: Array) -> Array:
    """Chebyshev series, shape (..., n), at points (..., k) from -1 to 1, by Clenshaw's recurrence."""
    c = coefficients[..., None]
    one, two = np.zeros_like(t), np.zeros_like(t)
    twice = 2 * t
    for j in range(coefficients.shape[-1] - 1, 0, -1):
        two, one = one, twice * one - two + c[..., j, :]
    return np.asarray(t * one - two + c[..., 0, :])


@dataclass(frozen=True, eq=False)
class Panels:
    """Panels side by side, shape (m + 1,) of edges; a single edge stands for a variable that is held at that value."""

    edges: Array
    order: int = ORDER

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", read_only(self.edges, np.float64))

    @classmethod
    def over(cls, low: float, high: float, peak: float) -> Panels:
        """Panels over an interval, narrower about its peak; one node where the interval is a point."""
        if low == high:
            return cls(np.array([low]))
        inner = peak + (high - low) * np.array([-0.2, 0.0, 0.2])
        inside = np.abs(inner - (low + high) / 2) < 0.45 * (high - low)
        return cls(np.concatenate([[low], inner[inside], [high]]))

    @property
    def held(self) -> bool:
        """Whether the variable is held at one value."""
        return len(self.edges) == 1

    @cached_property
    def nodes(self) -> Array:
        """Shape (m order,)."""
        if self.held:
            return self.edges
        half = np.diff(self.edges)[:, None] / 2
        return (self.edges[:-1, None] + half * (1 + _legendre(self.order)[0])).ravel()

    @cached_property
    def weights(self) -> Array:
        """Shape (m order,)."""
        return np.ones(1) if self.held else (np.diff(self.edges)[:, None] / 2 * _legendre(self.order)[1]).ravel()

    def coefficients(self, values: Array) -> Array:
        """Legendre coefficients by panel, shape (m, order, ...), of values at the nodes, (m order, ...)."""
        by_panel = values.reshape(len(self.edges) - 1, self.order, -1)
        return np.asarray((_legendre(self.order)[2] @ by_panel).reshape(*by_panel.shape[:2], *values.shape[1:]))

    def tails(self, values: Array) -> Array:
        """What the last coefficients hold of values (m order, ...), integrated over the panel and the rest, (m,)."""
        last = np.abs(self.coefficients(values)[:, -3:]).max(axis=1)
        return np.asarray(last.reshape(len(last), -1).sum(axis=1) * np.diff(self.edges))

    def interpolation(self, x: Array) -> Array:
        """What takes values at the nodes to those of their interpolants at points (k,), shape (k, m order)."""
        if self.held:
            return np.ones((len(x), 1))
        m = len(self.edges) - 1
        k = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, m - 1)
        t = 2 * (x - self.edges[k]) / np.diff(self.edges)[k] - 1
        made = np.zeros((len(x), m, self.order))
        made[np.arange(len(x)), k] = legendre.legvander(t, self.order - 1) @ _legendre(self.order)[2]
        return made.reshape(len(x), -1)

    def split(self, pieces: NDArray[np.intp]) -> Panels:
        """The same with every panel cut into so many pieces of one width, (m,)."""
        cut = [
            np.linspace(a, b, k, endpoint=False) for a, b, k in zip(self.edges, self.edges[1:], pieces, strict=False)
        ]
        return Panels(np.concatenate([*cut, self.edges[-1:]]), self.order)


@dataclass(frozen=True, eq=False)
class Curve:
    """A density on panels, known at their nodes, (m order,), and normalised: its distribution function and quantiles.

    Examples
    --------
    >>> panels = Panels.over(0.0, 8.0, 2.0)
    >>> curve = Curve(panels, np.exp(-panels.nodes) / (1 - np.exp(-8.0)))
    >>> curve.cdf(np.array([0.0, 1.0, 9.0])).round(12).tolist()          # (1 - exp(-1)) / (1 - exp(-8))
    [0.0, 0.632332682812, 1.0]
    >>> curve.quantile(np.array([0.632332682812])).round(10).tolist()
    [1.0]
    """

    panels: Panels
    values: Array

    @cached_property
    def _by_panel(self) -> Array:
        return self.values.reshape(-1, self.panels.order)

    @cached_property
    def _ends(self) -> Array:
        """The distribution function at the edges, shape (m + 1,)."""
        shares = (self.values * self.panels.weights).reshape(-1, self.panels.order).sum(axis=1)
        ends = np.concatenate([[0.0], np.cumsum(shares)])
        return np.asarray(ends / ends[-1])

    def _place(self, x: Array) -> tuple[NDArray[np.intp], Array]:
        """The panel of every point, and where in it, from -1 to 1."""
        edges = self.panels.edges
        inside = np.clip(x, edges[0], edges[-1])
        k = np.clip(np.searchsorted(edges, inside, side="right") - 1, 0, len(edges) - 2)
        return k, 2 * (inside - edges[k]) / (edges[k + 1] - edges[k]) - 1

    def density(self, x: Array) -> Array:
        """The density at points of any shape; zero outside the panels."""
        k, t = self._place(x)
        inside = (x >= self.panels.edges[0]) & (x <= self.panels.edges[-1])
        c = self._by_panel @ to_chebyshev(self.panels.order)[0].T
        value = (_waves(t, self.panels.order) * c[k]).sum(axis=-1)
        return np.asarray(np.where(inside, np.maximum(value, 0.0), 0.0))

    def cdf(self, x: Array) -> Array:
        """The distribution function at points of any shape."""
        k, t = self._place(x)
        c = self._by_panel @ to_chebyshev(self.panels.order)[1].T * np.diff(self.panels.edges)[:, None] / 2
        value = self._ends[k] + (_waves(t, self.panels.order + 1) * c[k]).sum(axis=-1)
        return np.asarray(np.clip(value, 0.0, 1.0))

    def quantile(self, probability: Array) -> Array:
        """The points that the distribution function takes to given probabilities, shape (k,)."""
        target = np.asarray(probability, dtype=float)
        return inverse(self.panels, np.broadcast_to(self.values, (len(target), len(self.values))), target)


def inverse(panels: Panels, values: Array, probability: Array) -> Array:
    """Where densities, each a row of values at the nodes, (B, m order), have given probabilities below them, (B,).

    By Newton's method, held by halving.
    """
    m, order, edges = len(panels.edges) - 1, panels.order, panels.edges
    below = np.cumsum((values * panels.weights).reshape(len(values), m, order).sum(axis=2), axis=1)
    target = probability * below[:, -1]
    k = np.minimum((below < target[:, None]).sum(axis=1), m - 1)
    row, half = np.arange(len(values)), np.diff(edges)[k] / 2
    target = target - np.where(k > 0, below[row, k - 1], 0.0)
    here = values.reshape(len(values), m, order)[row, k] * half[:, None]
    c, integral = (here @ part.T for part in to_chebyshev(order))
    low, high, nodes = -np.ones(len(k)), np.ones(len(k)), _legendre(order)[0]
    passed = integral @ _waves(nodes, order + 1).T >= target[:, None]
    t = nodes[np.where(passed.any(axis=1), passed.argmax(axis=1), order - 1)]
    for _ in range(50):
        V = _waves(t, order + 1)
        missed = (V * integral).sum(axis=1) - target
        low, high = np.where(missed < 0, t, low), np.where(missed < 0, high, t)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = t - missed / (V[:, :-1] * c).sum(axis=1)
        following = np.where((step >= low) & (step <= high), step, (low + high) / 2)
        moved, t = np.abs(following - t).max(initial=0.0), following
        if moved < 1e-12:
            break
    return np.asarray(edges[k] + half * (1 + t))


Log = Callable[[Array, Array], Array]
"""Log density of two variables at every pair of their values, (K,), (M,) -> (K, M)."""
Box = tuple[tuple[float, float], tuple[float, float]]


def zoom(log_density: Log, box: Box) -> tuple[Box, tuple[float, float]]:
    """The part of a box in which a density is more than exp(-DEPTH) of its largest value, and about where that is.

    It is looked at on a coarse grid, ever closer; a log density with one mode, or several that a grid of `SEEN` by
    `SEEN` points can tell, is not missed. Where a step of the grid leads farther down than `DEPTH`, points as low as
    that step leads stay in sight: a ridge between points looks low at all of them.
    """
    for _ in range(40):
        axes = [np.array([low]) if low == high else np.linspace(low, high, SEEN) for low, high in box]
        values = log_density(*axes)
        seen = values > values.max() - max(DEPTH, _step(values))
        smaller = []
        for k, axis in enumerate(axes):
            where = np.flatnonzero(seen.any(axis=1 - k))
            smaller.append((float(axis[max(where[0] - 1, 0)]), float(axis[min(where[-1] + 1, len(axis) - 1)])))
        shares = [(b - a) / (d - c) for (a, b), (c, d) in zip(smaller, box, strict=True) if d > c]
        box = (smaller[0], smaller[1])
        if min(shares, default=1.0) > 0.6:
            break
    top = np.unravel_index(values.argmax(), values.shape)
    return box, (float(axes[0][top[0]]), float(axes[1][top[1]]))


def _step(values: Array) -> float:
    """How far down one step leads from the highest of a grid's points, in the direction where it falls most.

    The higher of both ends counts: beside a wall on one side, the other one tells how wide a peak is.

    Examples
    --------
    >>> x = np.arange(-3.0, 4.0)
    >>> ridge = -100 * (x[:, None] - x) ** 2 - (x[:, None] + x) ** 2
    >>> _step(ridge), _step(ridge[:, 3:4])
    (400.0, 101.0)
    """
    i, k = np.unravel_index(values.argmax(), values.shape)
    falls = [0.0]
    for a, b in ((1, 0), (0, 1), (1, 1), (1, -1)):
        ends = [(i + a, k + b), (i - a, k - b)]
        beside = [values[end] for end in ends if 0 <= end[0] < values.shape[0] and 0 <= end[1] < values.shape[1]]
        finite = [value for value in beside if np.isfinite(value)]
        falls.append(float(values[i, k] - max(finite)) if finite else 0.0)
    return max(falls)


@dataclass(frozen=True, eq=False)
class Resolved:
    """A density of two variables on the nodes of panels, normalised.

    Attributes
    ----------
    first, second : Panels
    mass : array, shape (K, M)
        Density times weights; the sum is one.
    log_total : float
        Log of the integral before it was normalised.
    error : float
        The share that the least resolved panel's last coefficients hold in a marginal density, or, where that is more,
        how high the density still is at an end of what was looked at.
    """

    first: Panels
    second: Panels
    mass: Array
    log_total: float
    error: float

    def curve(self, which: int) -> Curve:
        """The marginal density of the first (0) or second (1) variable."""
        panels = (self.first, self.second)[which]
        return Curve(panels, self.mass.sum(axis=1 - which) / panels.weights)


def resolve(log_density: Log, reach: Log, limits: Box, tolerance: float, most: int) -> Resolved:
    """Split panels until the density, and the density times exp(reach), are resolved in both variables.

    Parameters
    ----------
    log_density, reach : functions (K,), (M,) -> (K, M)
        `reach` is the log of the fastest growing function whose integral matters, at least 0.
    limits : pair of intervals
        What lies outside of them is not looked at.
    tolerance : float
        Of the marginals, the share of the whole that the last coefficients may hold.
    most : int
        Nodes; the last grid below is taken, with its `error`.
    """
    box, peak = zoom(lambda x, y: log_density(x, y) + reach(x, y), limits)
    first, second = (Panels.over(*side, top) for side, top in zip(box, peak, strict=True))
    while True:
        log_p = log_density(first.nodes, second.nodes)
        top = log_p.max()
        weighted = np.exp(log_p - top) * first.weights[:, None] * second.weights
        total = weighted.sum()
        far = weighted * np.exp(np.minimum(reach(first.nodes, second.nodes), 300.0))
        cuts, errors = [], [0.0]
        for k, panels in enumerate((first, second)):
            if panels.held:
                cuts.append(np.ones(0, dtype=np.intp))
                continue
            near, out = ((mass if k == 0 else mass.T) / panels.weights[:, None] for mass in (weighted, far))
            tails = panels.tails(near.sum(axis=1)) / total
            errors.append(float(tails.max()))
            across = np.maximum(panels.tails(near) / total, panels.tails(out) / far.sum())
            cuts.append(np.maximum(_pieces(tails, tolerance), _pieces(across, ACROSS)))
        finer = [p if p.held else p.split(cut) for p, cut in zip((first, second), cuts, strict=True)]
        done = all((cut == 1).all() for cut in cuts)
        if done or len(finer[0].nodes) * len(finer[1].nodes) > most:
            errors += _cut_off(np.exp(log_p - top), box, limits)
            return Resolved(first, second, read_only(weighted / total), float(top + np.log(total)), max(errors))
        first, second = finer


def _cut_off(density: Array, box: Box, limits: Box) -> list[float]:
    """How high a density, 1 at its peak, still is where a box ends short of the limits: nothing, where it was found."""
    ends = []
    for k, (side, limit) in enumerate(zip(box, limits, strict=True)):
        along = density if k == 0 else density.T
        ends += [float(along[end].max()) for end in (0, -1) if side[end] != limit[end]]
    return ends


def _pieces(tails: Array, limit: float) -> NDArray[np.intp]:
    """Into how many pieces panels are cut; halving a panel about squares what its last coefficients hold."""
    return np.where(tails <= limit, 1, np.where(tails <= np.sqrt(limit), 2, 4))

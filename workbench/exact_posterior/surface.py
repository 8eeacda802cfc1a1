"""The posterior density of tau and the intercept b of counts, known as a polynomial of two variables.

tau is at the coordinate x of its :class:`~workbench.exact_posterior.deviations.Axis`; b, at that of
:class:`~workbench.exact_posterior.intercepts.Intercept`, is

    g = C(x) + S(x) t

with C and S close to the mode and the width of g's density given tau, so that t is of order 1 wherever tau is. The log
density, and the log integrals of all groups, are computed at the nodes of panels in x and t, and interpolated: a
logarithm is close to a polynomial where the density is far from one, so that few nodes do. Panels are cut until the
last coefficients of the interpolants are small, where the density is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, pi

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from workbench.exact_posterior.deviations import Axis
from workbench.exact_posterior.group_integrals import integrals, no_way
from workbench.exact_posterior.group_likelihoods import GroupLikelihoods
from workbench.exact_posterior.intercepts import Intercept
from workbench.exact_posterior.quadrature import Panels, Resolved
from workbench.priors import Prior

Array = NDArray[np.float64]

DEEPER = 5.0
"""A density is followed down to exp(-DEEPER) of the tolerance, times its largest value."""
LOWEST = 200.0
"""Log densities farther below the largest are held there: what is not seen must not bend the interpolant."""
SEEN = 17
"""Points in x when the density is looked for."""
ROUGH = 0.5, 12
"""Distance and least number of nodes, of integrals that only say where it is."""
LEAST = 0.3
"""Smallest tau, in units of its scale, at which the mode and width of g are computed; it is used below, too."""
BELLS = 7.0
"""How many widths t is expected to reach."""
END = 12.0
"""Coordinates of intercepts that are not their own go no farther."""
DEGREE = 8
"""Of C and log S."""
ORDERS = (8, 10, 12, 14, 16, 24)
"""Nodes per panel in t that are tried, before panels are cut."""
ORDER = 18
"""Nodes per panel in x."""
FINE_FIRST, FINE_SECOND = 24, 40
"""Nodes per panel for integrals of the interpolated density."""
PANEL = 2.0
"""Width of panels in x, at first."""
MOST = 60
"""Panels in x."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Where the density lies: x between limits, g about C(x), some S(x) wide.

    log S(x) is a Chebyshev series, `log_width`, and C(x) is `middle` plus S(x) times another, `away`.
    """

    low: float
    high: float
    middle: float
    away: Array
    log_width: Array

    def at(self, x: Array) -> tuple[Array, Array]:
        """C and S at x."""
        z = self.unit(x)
        width = np.asarray(np.exp(chebyshev.chebval(z, self.log_width)), dtype=float)
        return np.asarray(self.middle + width * chebyshev.chebval(z, self.away), dtype=float), width

    def unit(self, x: Array) -> Array:
        """x, from -1 at the lower limit to 1 at the upper."""
        return 2 * (x - self.low) / (self.high - self.low) - 1


@dataclass(frozen=True, eq=False)
class Surface:
    """The density at the nodes of panels, K of x and M of t.

    Attributes
    ----------
    first, second : Panels
    log_density : array, shape (K, M)
        Of (x, t); the data's part lacks a constant.
    log_integrals, mean, variance : array, shape (U, K, M)
        log I_j, and the moments of the groups' effects.
    low, high : array, shape (U, K, 2)
        Between which a group's effect and its coefficient lie, given x.
    response : array, shape (T, K, M)
        Means of the terms' mean responses.
    error : float
        What the last coefficients of the interpolants hold, averaged over the density.
    """

    known: GroupLikelihoods
    axis: Axis
    intercept: Intercept
    strip: Strip
    first: Panels
    second: Panels
    log_density: Array
    log_integrals: Array
    mean: Array
    variance: Array
    low: Array
    high: Array
    response: Array
    error: float

    @classmethod
    def of(cls, known: GroupLikelihoods, axis: Axis, intercept: Intercept, tolerance: float) -> Surface:
        """Find and resolve the density."""
        deep = DEEPER - float(np.log(tolerance))
        strip = _strip(known, axis, intercept, deep)
        noise = 1e-15 * abs(float(known.counts @ known.log(known.edge))) + 1e-13 * float(np.sqrt(known.counts.sum()))
        limit = max(tolerance, noise)
        second = _second(known, axis, intercept, strip, limit, deep)
        edges = np.linspace(strip.low, strip.high, 2 + min(int((strip.high - strip.low) / PANEL), 20))
        done: dict[tuple[float, float], Surface] = {}
        while True:
            for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                if (a, b) not in done:
                    panel = Panels(np.array([a, b]), ORDER)
                    done[a, b] = _evaluated(known, axis, intercept, strip, panel, second, deep)
            parts = [done[pair] for pair in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
            errors = _errors(parts)
            cut = errors > limit / len(parts)
            if not cut.any() or len(edges) + cut.sum() > MOST:
                break
            edges = np.sort(np.concatenate([edges, (edges[:-1] + edges[1:])[cut] / 2]))
        return cls._joined(parts, Panels(edges, ORDER), float(errors.sum()))

    @classmethod
    def _joined(cls, parts: list[Surface], first: Panels, error: float) -> Surface:
        """Of panels side by side."""

        def side_by_side(name: str) -> Array:
            return np.concatenate([getattr(part, name) for part in parts], axis=1)

        log_density = np.concatenate([part.log_density for part in parts])
        log_integrals, mean, variance = (side_by_side(name) for name in ("log_integrals", "mean", "variance"))
        low, high, response = (side_by_side(name) for name in ("low", "high", "response"))
        by_node = log_density, log_integrals, mean, variance, low, high, response
        one = parts[0]
        return cls(one.known, one.axis, one.intercept, one.strip, first, one.second, *by_node, error)

    # --- values ---------------------------------------------------------------------------------------

    def tau(self, x: Array) -> Array:
        """tau at coordinates x."""
        return self.axis.value(x)

    def intercepts(self, x: Array, t: Array | None = None) -> Array:
        """The intercept at every pair of x and t, by default at the nodes of t, (K', M')."""
        centre, width = self.strip.at(x)
        return self.intercept.value(centre[:, None] + width[:, None] * (self.second.nodes if t is None else t))

    def given(self, x: Array, t: Array) -> Array:
        """Log density at every pair of x and t, (K', M'), not normalised."""
        return np.asarray(self.first.interpolation(x) @ self.log_density @ self.second.interpolation(t).T)

    def fine(self, x: Panels) -> tuple[Array, Panels]:
        """The density, normalised and times weights, shape (K', M'), on panels in x and finer nodes of t."""
        t = self.second if self.second.held else Panels(self.second.edges, FINE_SECOND)
        log_p = self.given(x.nodes, t.nodes)
        mass = np.exp(log_p - log_p.max()) * x.weights[:, None] * t.weights
        return mass / mass.sum(), t

    def back(self, x: Array, t: Array, mass: Array) -> Array:
        """Weights of the nodes, (K, M), whose sums over polynomials are those of masses (K', M') at x and t."""
        return np.asarray(self.first.interpolation(x).T @ mass @ self.second.interpolation(t))

    def resolved(self, tolerance: float) -> Resolved:
        """The density on finer nodes, with tau's marginal density resolved."""
        first = Panels(self.first.edges, FINE_FIRST)
        while True:
            mass, second = self.fine(first)
            tails = first.tails(mass.sum(axis=1) / first.weights)
            if tails.max() <= tolerance or len(first.edges) > 4 * MOST:
                break
            first = first.split(np.where(tails > tolerance, 2, 1))
        log_p = self.given(first.nodes, second.nodes)
        top = log_p.max()
        total = np.exp(log_p - top) * first.weights[:, None] * second.weights
        log_total = float(top + np.log(total.sum()))
        return Resolved(first, second, mass, log_total, max(float(tails.max()), self.error))


def _evaluated(
    known: GroupLikelihoods,
    axis: Axis,
    intercept: Intercept,
    strip: Strip,
    first: Panels,
    second: Panels,
    deep: float,
) -> Surface:
    """The density at all nodes of panels."""
    x, t = first.nodes, second.nodes
    K, M = len(x), len(t)
    centre, width = strip.at(x)
    g = centre[:, None] + width[:, None] * t
    tau = np.repeat(axis.value(x), M)
    found = integrals(known, intercept.value(g).ravel(), tau, responses=True)
    log_p = (known.counts @ found.log).reshape(K, M) + intercept.log_density(g)
    log_p += (axis.log_density(x) + np.log(width))[:, None]
    log_p = np.maximum(log_p, log_p.max(axis=1, keepdims=True) - LOWEST)
    U = len(known)
    response = np.zeros((0, K, M)) if found.response is None else found.response.reshape(-1, K, M)
    log_I, mean, variance = (part.reshape(U, K, M) for part in (found.log, found.mean, found.variance))
    b, (u, low, high) = intercept.value(g), (part.reshape(-1, K, M) for part in (found.mean, found.low, found.high))
    fallen = log_p.max(axis=1, keepdims=True) - log_p
    share = np.sqrt(np.maximum(1 - fallen / deep, 0.0))  # as far as t has fallen, u need not fall
    lost = np.where(fallen > deep + DEEPER, np.inf, 0.0)
    low = np.stack([(u - (u - low) * share + more + lost).min(axis=2) for more in (0.0, b)], axis=2)
    high = np.stack([(u + (high - u) * share + more - lost).max(axis=2) for more in (0.0, b)], axis=2)
    parts = (log_p, log_I, mean, variance, low, high, response)
    return Surface(known, axis, intercept, strip, first, second, *parts, np.inf)


def _errors(parts: list[Surface]) -> Array:
    """What the last coefficients in x hold of the log density, by panel, averaged over its share of the density."""
    top = max(part.log_density.max() for part in parts)
    masses = [np.exp(part.log_density - top) * part.first.weights[:, None] * part.second.weights for part in parts]
    total = sum(float(mass.sum()) for mass in masses)
    last = [np.abs(part.first.coefficients(part.log_density)[0, -2:]).sum(axis=0) for part in parts]
    held = [share.sum(axis=0) @ size / total for share, size in zip(masses, last, strict=True)]
    return np.array(held, dtype=float)


# --- where it is --------------------------------------------------------------------------------------


def _strip(known: GroupLikelihoods, axis: Axis, intercept: Intercept, deep: float) -> Strip:
    """Look for the density on a coarse grid of x, ever closer, with b at its mode given x.

    Where the prior of b is not normal, and the data alone have a mode, mode and width are the data's.
    """
    likely = (
        Intercept(Prior("Flat")) if not intercept.side and (intercept.long_tailed or intercept.bounded) else intercept
    )
    low, high = axis.limits
    x = np.linspace(low, high, SEEN)
    g = np.full(SEEN, _start(known, likely))
    for _ in range(40):
        value, g, width = _profile(known, axis, likely, x, g)
        if likely is not intercept:
            value = value + intercept.log_prior(g)
        value = value + axis.reach(x)
        seen = np.flatnonzero(value > value.max() - deep)
        if not np.isfinite(value).all():
            raise no_way()
        ends = float(x[max(seen[0] - 1, 0)]), float(x[min(seen[-1] + 1, SEEN - 1)])
        if ends[1] - ends[0] > 0.6 * (high - low):
            break
        low, high = ends
        closer = np.linspace(low, high, SEEN)
        g, x = np.interp(closer, x, g), closer
    if likely is not intercept and not intercept.plain and not intercept.side:  # where t is -8 and 8
        left, right = (np.clip(intercept.coordinate(g + end * width), -END, END) for end in (-BELLS, BELLS))
        g, width = (left + right) / 2, np.maximum((right - left) / 2, 1.0) / BELLS
    trust = np.exp(np.maximum(value - value.max(), -deep) / 16)

    def series(values: Array) -> Array:
        return np.asarray(chebyshev.chebfit(2 * (x - low) / (high - low) - 1, values, DEGREE, w=trust), dtype=float)

    strip = Strip(low, high, float(g[value.argmax()]), np.zeros(1), series(np.log(width)))
    return replace(strip, away=series((g - strip.middle) / strip.at(x)[1]))


def _start(known: GroupLikelihoods, intercept: Intercept) -> float:
    """An intercept to begin with: the groups' median, within the prior's support."""
    if intercept.held or intercept.stretched:
        return 0.0
    b = np.median(np.repeat(known.edge, np.minimum(known.counts, 1000).astype(int)))
    return float(np.clip(intercept.coordinate(np.array([b])), -3.0, 3.0)[0] if intercept.bounded else b)


def _profile(
    known: GroupLikelihoods, axis: Axis, intercept: Intercept, x: Array, g: Array
) -> tuple[Array, Array, Array]:
    """Log density of x with g at its mode, that mode and the density's width there, shape (K,)."""
    tau = np.maximum(axis.value(x), LEAST * axis.scale)  # below, variances over tau^2 say little of the curvature
    width = np.ones_like(g)
    for _ in range(0 if intercept.held else 60):
        found = integrals(known, intercept.value(g), tau, *ROUGH)
        slope, bend = known.counts @ found.mean / tau**2, known.counts @ (found.variance / tau**2 - 1) / tau**2
        first, second = intercept.derivatives(g)
        by_g = intercept.slope(g)
        width = 1 / np.sqrt(np.maximum(-(np.minimum(bend, 0.0) * by_g**2 + second), 1e-300))
        most = np.minimum(
            (1 + tau) / np.maximum(by_g, 1e-300), 1.0 if intercept.bounded or intercept.stretched else np.inf
        )
        step = np.clip(width**2 * (slope * by_g + first), -most, most)
        g = g + step
        if (np.abs(step) < 0.02 * width).all():
            break
    found = integrals(known, intercept.value(g), np.maximum(axis.value(x), 1e-6 * axis.scale), *ROUGH)
    value = (
        known.counts @ found.log + intercept.log_density(g) + axis.log_density(x) + np.log(width) + 0.5 * log(2 * pi)
    )
    return value, g, width


def _second(
    known: GroupLikelihoods, axis: Axis, intercept: Intercept, strip: Strip, limit: float, deep: float
) -> Panels:
    """Panels in t that reach as far as the density does, and resolve it at some x."""
    if intercept.held:
        return Panels(np.zeros(1))
    some = Panels(np.array([strip.low, strip.high]), 7)
    reach = axis.reach(some.nodes)[:, None]
    panels = Panels(np.array([-BELLS, BELLS]), ORDERS[-2])
    for _ in range(40):  # how far
        found = _evaluated(known, axis, intercept, strip, some, panels, deep)
        value = found.log_density + reach
        inside = (value > value.max() - deep).any(axis=0)
        if not np.isfinite(value).all() or not inside.any():
            raise no_way()
        if inside[0] or inside[-1]:
            more = np.where(inside[[0, -1]], 1.4, 1.0)
            low, high = (panels.edges[[0, -1]] * more).tolist()
        else:
            first, last = np.flatnonzero(inside)[[0, -1]]
            low, high = float(panels.nodes[first - 1]), float(panels.nodes[last + 1])
            if high - low > 0.8 * np.ptp(panels.edges):
                break
        panels = Panels(np.array([low, high]), ORDERS[-2])
    for order in ORDERS[:-1]:  # how fine: as few nodes as leave no more
        if _errors_across(found, reach, order).sum() <= limit:
            return Panels(panels.edges, order)
    while True:
        panels = Panels(panels.edges, ORDERS[-1])
        found = _evaluated(known, axis, intercept, strip, some, panels, deep)
        errors = _errors_across(found, reach, ORDERS[-1])
        if errors.sum() <= limit or len(panels.edges) > MOST:
            return panels
        panels = panels.split(np.where(errors > limit / len(errors), 2, 1))


def _errors_across(found: Surface, reach: Array, order: int) -> Array:
    """What the last coefficients in t of so many hold of the log density, by panel of t, as :func:`_errors`."""
    panels, value = found.second, found.log_density + reach
    mass = np.exp(value - value.max()) * panels.weights
    shares = mass.T.reshape(len(panels.edges) - 1, panels.order, -1).sum(axis=1) / mass.sum()
    last = np.abs(panels.coefficients(found.log_density.T)[:, order - 2 : order]).sum(axis=1)
    return np.asarray((shares * last).sum(axis=1))

"""The marginal posteriors of the groups' effects and coefficients under counts, given tau: one integral over b each.

    p(a_j = a | tau, y) = exp L_j(a)            int p(b | tau, y) / I_j(b, tau) N(a; b, tau^2)          db
    p(u_j = u | tau, y) = N(u; 0, tau^2)        int p(b | tau, y) / I_j(b, tau) exp L_j(b + u)          db

The first factor under each integral is what the other groups say of b; it is smooth, and known as a polynomial
(:mod:`~workbench.exact_posterior.surface`). The second may be narrow, so that nodes lie where both are seen. All is
done at some nodes of tau and interpolated, each bell in units of its own place and scale; as tau goes to 0, those of
an effect do, and only their ratio to tau is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import inf, log, pi

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from workbench.exact_posterior.group_likelihoods import GroupLikelihoods
from workbench.exact_posterior.quadrature import Panels, clenshaw, to_chebyshev
from workbench.exact_posterior.shapes import Shapes
from workbench.exact_posterior.surface import FINE_SECOND, Surface

Array = NDArray[np.float64]
Places = NDArray[np.intp]

FINENESS = (1.0, 1.5, 2.5)
"""By what the numbers of nodes of bells are multiplied, in turn, until they are resolved; the others by its root."""
NODES = 26
"""Points at which the log of a bell is computed."""
FULL = 44
"""Points at which a bell is known, from its log's interpolant."""
ACROSS = 32
"""Nodes in b, of bells that both end within their reach."""
ALONG = 12
"""Nodes per panel of tau at which bells are computed."""
WHOLE = np.array([-1.0, 1.0])
"""Where bells are polynomials."""
REACH = 8.5
"""Standard deviations of N(a; b, tau^2) that count."""
STEP = 0.15
"""Distance of nodes in v = asinh((a - e_j) / c_j)."""
STRETCH = 2.0
"""Bells are seen at full resolution up to so many SDs from their means; farther out, at that of a logarithm."""
BEND = 4
"""Degree, in tau's coordinate, of the ends of bells on a panel."""
BENT = 0.4
"""Distance of nodes in b where these are not laid about the place at which a group's likelihood bends."""
LEAST = 60.0
"""Log densities of bells farther below the largest are held there."""


@dataclass(frozen=True, eq=False)
class GivenTau:
    """b given tau, at the surface's nodes x: means of polynomials in t are sums with `weights`, shape (K, M)."""

    surface: Surface
    weights: Array
    log_total: Array

    @classmethod
    def of(cls, surface: Surface) -> GivenTau:
        """Normalise at every node of x."""
        t = surface.second if surface.second.held else Panels(surface.second.edges, FINE_SECOND)
        across = surface.second.interpolation(t.nodes)
        log_p = surface.log_density @ across.T
        top = log_p.max(axis=1)
        p = np.exp(log_p - top[:, None]) * t.weights
        total = p.sum(axis=1)
        return cls(surface, (p / total[:, None]) @ across, top + np.log(total))

    def shapes(self, which: Places, whole: bool, rule: tuple[Array, Array], limit: float) -> tuple[Shapes, float]:
        """Marginal posteriors of some groups' coefficients (`whole`) or effects.

        Parameters
        ----------
        which : array of int, shape (m,)
        whole : bool
        rule : pair of array, shape (K',)
            Nodes of tau's coordinate and their weights.
        limit : float
            Of what bells may miss of one.

        Returns
        -------
        Shapes
            Mixtures over tau.
        missed : float
            What bells miss of one, or their last coefficients hold; the mean over tau, of the worst group.
        """
        x, weights = rule
        for fine in FINENESS:
            bells = _Bells.of(self, which, whole, fine)
            scale, ends = bells.placed(x)
            panel = Panels(WHOLE, int(fine * FULL))
            along, within = bells.along.interpolation(x), Panels(WHOLE, int(fine * NODES)).interpolation(panel.nodes)
            log_density = np.matmul(along, bells.log_density) @ within.T
            if bells.less:
                t = (1 + panel.nodes) / 2
                y = ends[0][..., None] + (ends[1] - ends[0])[..., None] * t
                log_density += bells.known.log(scale[0][..., None] + scale[1][..., None] * np.sinh(y))
            mass = np.exp(log_density) @ panel.weights
            made = Shapes.of(weights, scale, ends, log_density)
            missed = max(float((np.abs(mass - 1) @ weights).max()), made.unresolved)
            if missed <= limit:
                break
        return made, missed


@dataclass(frozen=True, eq=False)
class _Bells:
    """Bells of m groups at nodes of tau.

    Attributes
    ----------
    place, log_unit : array, shape (m, K)
        Mean and log of STRETCH times the SD at the surface's nodes; of effects over tau.
    ends : pair of array, shape (m, K)
        Of y = asinh((u - place) / unit).
    along : Panels
        In tau's coordinate.
    log_density : array, shape (m, K', Q)
        Less L_j, which bends more than the rest, where that is known (`less`).
    """

    given: GivenTau
    known: GroupLikelihoods
    whole: bool
    place: Array
    log_unit: Array
    ends: tuple[Array, Array]
    along: Panels
    log_density: Array

    @classmethod
    def of(cls, given: GivenTau, which: Places, whole: bool, fine: float) -> _Bells:
        """Compute them, with `fine` times the nodes."""
        s, w = given.surface, given.weights
        means = s.mean[which] + (s.intercepts(s.first.nodes) if whole else 0.0)
        place = np.einsum("ukm,km->uk", means, w)
        unit = STRETCH * np.sqrt(np.einsum("ukm,km->uk", s.variance[which] + (means - place[..., None]) ** 2, w))
        column = 1 if whole else 0
        begin, end = (np.arcsinh((part[which, :, column] - place) / unit) for part in (s.low, s.high))
        ends = _ends(s.first, begin, -1.0 if whole else 1.0), -_ends(s.first, -end, -1.0 if whole else 1.0)
        own = 1.0 if whole else s.tau(s.first.nodes)
        along = Panels(s.first.edges, int(np.sqrt(fine) * ALONG))
        empty = cls(given, s.known.at(which), whole, place / own, np.log(unit / own), ends, along, np.zeros((0, 0, 0)))
        return replace(empty, log_density=empty._computed(which, fine))

    @property
    def less(self) -> bool:
        """Whether L_j, which is then a function of the bell's own x alone, is left out of log densities."""
        return self.whole or self.given.surface.intercept.held

    def placed(self, x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Origins and units, and the ends of y, at any x, shapes (m, K')."""
        s = self.given.surface
        across, own = s.first.interpolation(x).T, 1.0 if self.whole else s.tau(x)
        begin, end = (part @ across for part in self.ends)
        return (self.place @ across * own, np.exp(self.log_unit @ across) * own), (begin, end)

    def _computed(self, which: Places, fine: float) -> Array:
        """Log densities at the nodes `along`."""
        s, x = self.given.surface, self.along.nodes
        nodes = Panels(WHOLE, int(fine * NODES)).nodes
        (origin, unit), (begin, end) = self.placed(x)
        half = (end - begin)[..., None] / 2
        z = np.sinh(begin[..., None] + half * (1 + nodes))
        across = s.first.interpolation(x)
        others = s.log_density - self.given.log_total[:, None] - s.log_integrals[which]  # of b, without this group
        others = np.einsum("ukm,nk->unm", others, across)
        if not s.second.held:
            others = others.reshape(*others.shape[:2], -1, s.second.order) @ to_chebyshev(s.second.order)[0].T
        tau, (centre, width) = s.tau(x), s.strip.at(x)
        at = origin[..., None] + unit[..., None] * z
        found = np.log(unit)[..., None] + np.log(np.hypot(1.0, z)) + np.log(half)
        for k in range(len(x)):
            given = _AtTau(s, self.known, float(tau[k]), float(centre[k]), float(width[k]), others[:, k])
            found[:, k] += given.log_density(at[:, k], self.whole, fine)
        least = LEAST * (4 if self.less else 1)
        return np.asarray(np.maximum(found, found.max(axis=2, keepdims=True) - least))


def _ends(panels: Panels, ends: Array, side: float) -> Array:
    """Values at the nodes, (m, K), of polynomials of low degree on every panel, close to ends there.

    Below these (`side` 1), or above (-1): coefficients are not known where b is not, which it is as far as need be.
    """
    smooth = _projection(panels.order) @ ends.reshape(len(ends), -1, panels.order, 1)
    above = side * (smooth - ends.reshape(smooth.shape))
    return np.asarray((smooth - side * np.maximum(above.max(axis=2, keepdims=True), 0.0)).reshape(ends.shape))


@cache
def _projection(order: int) -> Array:
    """What takes values at the nodes of a panel to those of the polynomial of degree BEND that is closest."""
    panel = Panels(WHOLE, order)
    vander = legendre.legvander(panel.nodes, BEND)
    return np.asarray(vander @ ((np.arange(BEND + 1) + 0.5)[:, None] * vander.T * panel.weights))


@dataclass(frozen=True, eq=False)
class _AtTau:
    """tau, and b = value(C + S t) given it, with the log density of t less the group's own, in series, (m, P, n)."""

    surface: Surface
    known: GroupLikelihoods
    tau: float
    centre: float
    width: float
    others: Array

    def log_density(self, at: Array, whole: bool, fine: float) -> Array:
        """Of coefficients (`whole`), less L_j, or of effects, at points (m, Q)."""
        tau, intercept = self.tau, self.surface.intercept
        if intercept.held:
            return np.asarray(-0.5 * (at / tau) ** 2 - log(tau) - 0.5 * log(2 * pi) + self.others[:, :1])
        if whole:
            tau = max(tau, 1e-6 * self._scale)  # narrower makes no difference
        limits = self._limits(at, tau, whole)
        if whole or intercept.bounded or intercept.stretched:
            t, step = self._even(limits, whole, fine)
            b = intercept.value(self.centre + self.width * t)
            a = b if whole else at[..., None] + b
        else:
            t, step, a, b = self._about_edges(at, limits, fine)
        value = _series(self.surface.second, self.others, t)
        value += -0.5 * ((at[..., None] - b) / tau) ** 2 if whole else self.known.log(a)
        top = value.max(axis=2)
        total = top + np.log((np.exp(value - top[..., None]) * step).sum(axis=2)) - log(tau) - 0.5 * log(2 * pi)
        return np.asarray(total if whole else total - 0.5 * (at / self.tau) ** 2)

    @property
    def _scale(self) -> float:
        """How wide b is."""
        return self.width * float(self.surface.intercept.slope(np.array([self.centre]))[0])

    def _limits(self, at: Array, tau: float, whole: bool) -> tuple[Array, Array]:
        """Between which t the integrand is seen, shapes (m, Q)."""
        s, intercept = self.surface, self.surface.intercept
        if whole:
            middle, left, right = at, np.full((1, 1), REACH * tau), np.full((1, 1), REACH * tau)
        else:
            middle, (left, right) = self.known.edge[:, None] - at, (part[:, None] for part in self.known.reach)
        own = (left + right) / (2 * REACH)
        with np.errstate(invalid="ignore"):
            share = np.where(np.isfinite(own), own**2 / (self._scale**2 + own**2), 0.0)
        between = middle + (float(intercept.value(np.array([self.centre]))[0]) - middle) * share  # where both meet
        if intercept.plain:  # what is wider than b's distribution leaves it as it is
            left, right = (np.where(own > self._scale, inf, part) for part in (left, right))
        near = np.minimum(middle, between) - left, np.maximum(middle, between) + right
        first, last = s.second.edges[[0, -1]]
        low, high = (np.clip((intercept.coordinate(end) - self.centre) / self.width, first, last) for end in near)
        apart = low >= high
        return np.where(apart, first, low), np.where(apart, last, high)

    def _even(self, limits: tuple[Array, Array], whole: bool, fine: float) -> tuple[Array, Array]:
        """Equidistant t, (m, Q, T), and their distance."""
        s, intercept = self.surface, self.surface.intercept
        ends = s.second.edges[[0, -1]]
        count = min(len(s.second.edges) - 1, 3) * ACROSS if intercept.plain else max(2 * ACROSS, int(3 * np.ptp(ends)))
        count = int(np.sqrt(fine) * count)
        if not whole:  # as close as the group's likelihood bends
            count = max(count, int(min(np.ptp(intercept.value(self.centre + self.width * ends)) / BENT, 400)))
        low, high = limits
        t = low[..., None] + (high - low)[..., None] * np.linspace(0.0, 1.0, count)
        return t, ((high - low) / (count - 1))[..., None]

    def _about_edges(self, at: Array, limits: tuple[Array, Array], fine: float) -> tuple[Array, Array, Array, Array]:
        """t, their distances, a and b, (m, Q, T), closest where L_j bends."""
        s, intercept = self.surface, self.surface.intercept
        e, c = self.known.edge[:, None], self.known.stretch[:, None]
        begin, end = (np.arcsinh((intercept.value(self.centre + self.width * t) + at - e) / c) for t in limits)
        count = max(ACROSS, int(np.ceil(((end - begin) * np.sqrt(c)).max() / STEP)))
        count = int(np.sqrt(fine) * min(len(s.second.edges) - 1, 3) * count)
        v = begin[..., None] + (end - begin)[..., None] * np.linspace(0.0, 1.0, count)
        a = e[..., None] + c[..., None] * np.sinh(v)
        b = a - at[..., None]
        g = intercept.coordinate(b)
        step = ((end - begin) * c)[..., None] * np.cosh(v) / (count - 1) / self.width / intercept.slope(g)
        return (g - self.centre) / self.width, step, a, b


def _series(panels: Panels, coefficients: Array, t: Array) -> Array:
    """Piecewise polynomials, (m, P, n), at points (m, Q, T)."""
    edges, P = panels.edges, len(panels.edges) - 1
    if P == 1:
        inside = np.clip(2 * (t - edges[0]) / (edges[1] - edges[0]) - 1, -1.0, 1.0)
        return clenshaw(coefficients[:, 0], inside.reshape(len(t), -1)).reshape(t.shape)
    found = np.empty_like(t)
    place = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, P - 1)
    for k in range(P):
        here = np.nonzero(place == k)
        inside = np.clip(2 * (t[here] - edges[k]) / (edges[k + 1] - edges[k]) - 1, -1.0, 1.0)
        found[here] = clenshaw(coefficients[here[0], k], inside[:, None])[:, 0]
    return found

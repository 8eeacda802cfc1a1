"""Mixtures of bells that are not normal: distribution functions, densities, quantiles, many at once.

Given tau, the marginal posterior of a group's effect or coefficient, and that of the intercept, is a bell. It is known
as a polynomial in t, which goes from -1 to 1 as y = asinh((x - origin) / unit) goes from begin to end. The marginal
posterior is a mixture of these over the nodes of tau, as one of normal distributions is
(:mod:`~workbench.exact_posterior.normal_mixtures`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.exact_posterior.quadrature import Panels, clenshaw, to_chebyshev

Array = NDArray[np.float64]
Within = tuple[Array, Array, NDArray[np.bool_]]

CLOSE = 1e-6
"""The last step towards a quantile, in widths of the narrowest bells; what is left is about its square."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """m mixtures of K bells each.

    Attributes
    ----------
    weights : array, shape (K,)
    origin, unit : array, shape (m, K)
    begin, end : array, shape (m, K)
        Between which y lies.
    bells, rises : array, shape (m, K, Q), (m, K, Q + 1)
        Chebyshev coefficients of densities in t, which goes from -1 to 1 where y goes from begin to end, and of
        distribution functions.
    """

    weights: Array
    origin: Array
    unit: Array
    begin: Array
    end: Array
    bells: Array
    rises: Array

    @classmethod
    def of(cls, weights: Array, scale: tuple[Array, Array], y: tuple[Array, Array], log_density: Array) -> Shapes:
        """Of log densities in t at the nodes of one panel, shape (m, K, Q); each is normalised."""
        Q = log_density.shape[2]
        values = np.exp(log_density - log_density.max(axis=2, keepdims=True))
        values /= (values @ Panels(np.array([-1.0, 1.0]), Q).weights)[..., None]
        to_bell, to_rise = to_chebyshev(Q)
        return cls(weights, *scale, *y, values @ to_bell.T, values @ to_rise.T)

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def unresolved(self) -> float:
        """What the last coefficients of distribution functions hold, the mean over bells, of the worst mixture."""
        return float((np.abs(self.rises[:, :, -2:]).sum(axis=2) @ self.weights).max())

    def cdf(self, x: Array) -> Array:
        """Distribution functions at x, shape (m, k), each row of its own mixture."""
        return self._cdf(self._within(x[:, None, :]))

    def density(self, x: Array) -> Array:
        """Densities at x, shape (m, k), each row of its own mixture."""
        return self._density(self._within(x[:, None, :]))

    def bell_cdf(self, x: Array) -> Array:
        """Distribution functions of the bells by themselves, at points of their own, shape (m, K, k)."""
        return np.asarray(clenshaw(self.rises, self._within(x)[0]))

    def nodes(self) -> tuple[Array, Array]:
        """Points x and probabilities of all bells, shape (m, K, Q): means of functions are sums over a mixture."""
        panel = Panels(np.array([-1.0, 1.0]), self.bells.shape[2])
        t = np.broadcast_to(panel.nodes, self.bells.shape)
        half = (self.end - self.begin)[:, :, None] / 2
        x = self.origin[:, :, None] + self.unit[:, :, None] * np.sinh(self.begin[:, :, None] + (t + 1) * half)
        return x, clenshaw(self.bells, t) * panel.weights * self.weights[:, None]

    def _cdf(self, within: Within) -> Array:
        return np.asarray(np.einsum("mnk,n->mk", clenshaw(self.rises, within[0]), self.weights))

    def _density(self, within: Within) -> Array:
        t, z, outside = within
        by_x = 2 / (self.end - self.begin)[:, :, None] / self.unit[:, :, None] / np.hypot(1.0, z)
        found = np.where(outside, 0.0, np.maximum(clenshaw(self.bells, t), 0.0) * by_x)
        return np.asarray(np.einsum("mnk,n->mk", found, self.weights))

    def _within(self, x: Array) -> Within:
        """t, z, and whether points lie outside of the bells, shape (m, K, k), of points of shape (m, 1 or K, k)."""
        z = (x - self.origin[:, :, None]) / self.unit[:, :, None]
        width = (self.end - self.begin)[:, :, None]
        t = 2 * (np.arcsinh(z) - self.begin[:, :, None]) / width - 1
        return np.clip(t, -1.0, 1.0), z, np.abs(t) > 1

    def quantiles(self, probabilities: Array) -> Array:
        """Quantiles, shape (m, k), of k probabilities: Newton's method held within a bracket."""
        reach = self.origin + np.sinh(np.stack([self.begin, self.end])) * self.unit
        k = len(probabilities)
        low, high = (np.repeat(part[:, None], k, axis=1) for part in (reach[0].min(axis=1), reach[1].max(axis=1)))
        unit = np.repeat((reach[1] - reach[0]).min(axis=1)[:, None], k, axis=1)
        share = np.array([_normal_place(p) for p in probabilities.tolist()])  # as if all bells were normal
        ends = (reach @ self.weights)[:, :, None]
        x = np.clip(ends[0] * (1 - share) + ends[1] * share, low, high)
        for _ in range(200):
            within = self._within(x[:, None, :])
            missed = self._cdf(within) - probabilities
            low, high = np.where(missed < 0, x, low), np.where(missed < 0, high, x)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = x - missed / self._density(within)
            following = np.where((step >= low) & (step <= high), step, (low + high) / 2)
            settled = np.abs(following - x) <= CLOSE * unit
            x = following
            if (settled | (high - low <= 4e-16 * (np.abs(low) + np.abs(high)))).all():
                break
        return np.asarray(x)


def _normal_place(p: float) -> float:
    """Where a quantile lies between the ends of a normal bell that is seen up to 7 standard deviations."""
    return 0.5 + NormalDist().inv_cdf(min(max(p, 1e-11), 1 - 1e-11)) / 14


@dataclass(frozen=True, eq=False)
class Marginal:
    """One marginal posterior, of x = value(coordinate): ``.density(x)``, ``.cdf(x)``, ``.quantile(p)``, shapes (k,)."""

    shapes: Shapes
    coordinate: Callable[[Any], Any]
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]

    def density(self, x: Array) -> Array:
        """The density at points."""
        at = self._at(x)
        found = self.shapes.density(at[None])[0] / self.slope(at)
        return np.asarray(np.where(np.isfinite(found), found, 0.0))

    def cdf(self, x: Array) -> Array:
        """The distribution function at points."""
        return np.asarray(self.shapes.cdf(self._at(x)[None])[0])

    def quantile(self, probability: Array) -> Array:
        """The points that the distribution function takes to given probabilities."""
        return np.asarray(self.value(self.shapes.quantiles(np.asarray(probability, dtype=float))[0]))

    def _at(self, x: Array) -> Array:
        return np.asarray(np.clip(self.coordinate(np.asarray(x, dtype=float)), -1e300, 1e300))

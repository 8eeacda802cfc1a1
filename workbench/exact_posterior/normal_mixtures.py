"""Mixtures of normal distributions, many at once: distribution functions, densities, quantiles.

The marginal posterior of anything that is normal given the variances is such a mixture, over the nodes of a quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SETTLED = 1e-5
"""The last step towards a quantile, in standard deviations; what is left is about its cube."""
TOGETHER = 1 << 15
"""Up to so many entries, all probabilities' quantiles are sought in one go: steps of small arrays cost their number."""


def moments(weights: Array, means: Array, sds: Array) -> tuple[Array, Array]:
    """Means and standard deviations, shape (m,), of mixtures with components (m, N) and weights (N,)."""
    mean = means @ weights
    return mean, np.sqrt((sds**2 + (means - mean[:, None]) ** 2) @ weights)


def cdf(x: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Distribution functions at x, shape (m, k), each row of its own mixture."""
    from scipy.special import ndtr

    return np.stack([ndtr((at[:, None] - means) / sds) @ weights for at in x.T], axis=1)


def density(x: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Densities at x, shape (m, k), each row of its own mixture."""
    each = [(np.exp(-0.5 * ((at[:, None] - means) / sds) ** 2) / sds) @ weights for at in x.T]
    return np.stack(each, axis=1) / sqrt(2 * pi)


def quantiles(probabilities: tuple[float, ...], weights: Array, means: Array, sds: Array) -> Array:
    """Quantiles, shape (m, k): the roots of the distribution functions, by Halley's method held within a bracket.

    It starts from the expansion of Cornish & Fisher (1938, doi:10.2307/1400905) in skewness and kurtosis.

    Parameters
    ----------
    probabilities : tuple of float, k of them
    weights : array, shape (N,)
        Of sum one.
    means, sds : array, shape (m, N)

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> found = quantiles((0.025, 0.975), half, np.array([[-1.0, 1.0]]), np.array([[1.0, 1.0]]))
    >>> found.round(6).tolist(), cdf(found, half, np.array([[-1.0, 1.0]]), np.array([[1.0, 1.0]])).round(12).tolist()
    ([[-2.646146, 2.646146]], [[0.025, 0.975]])
    """
    mean, sd = moments(weights, means, sds)
    away, own = (means - mean[:, None]) / sd[:, None], (sds / sd[:, None]) ** 2
    squared = away * away
    skew = np.clip((away * (3 * own + squared)) @ weights, -1, 1)
    excess = np.clip((3 * own * own + squared * (6 * own + squared)) @ weights - 3, -1, 1)
    inverse = 1 / sds
    scale = 1 / (inverse @ weights)  # of the components: the mixture's own SD may be as good as infinite
    begun = []
    for p in probabilities:
        z = NormalDist().inv_cdf(p)
        by_component = means + z * sds
        low, high = by_component.min(axis=1), by_component.max(axis=1)
        start = z + skew * (z**2 - 1) / 6 + excess * (z**3 - 3 * z) / 24 - skew**2 * (2 * z**3 - 5 * z) / 36
        begun.append((np.full(len(mean), p), np.clip(mean + sd * start, low, high), low, high, scale))
    k = len(probabilities)
    if k * means.size > TOGETHER:
        return np.stack([_root(*one, (weights, means, inverse)) for one in begun], axis=1)
    p_all, x, low, high, scale = (np.concatenate(parts) for parts in zip(*begun, strict=True))
    found = _root(p_all, x, low, high, scale, (weights, np.tile(means, (k, 1)), np.tile(inverse, (k, 1))))
    return np.asarray(found.reshape(k, -1).T)


def _root(p: Array, x: Array, low: Array, high: Array, scale: Array, mixtures: tuple[Array, Array, Array]) -> Array:
    """The roots of cdf(x) = p between low and high, all of shape (m,), from x; of weights, means and 1 / SDs."""
    from scipy.special import ndtr

    weights, means, inverse = mixtures
    found, moving = x.copy(), np.arange(len(x))
    for _ in range(200):
        z = (x[:, None] - means) * inverse
        missed = ndtr(z) @ weights - p
        bell = np.exp(-0.5 * z * z)
        bell *= inverse
        slope = bell @ weights / sqrt(2 * pi)
        z *= bell
        z *= inverse
        bend = -(z @ weights) / sqrt(2 * pi)
        low, high = np.where(missed < 0, x, low), np.where(missed < 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = missed / slope
            step = x - newton / np.clip(1 - 0.5 * newton * bend / slope, 0.5, 2.0)
        held = (step >= low) & (step <= high)
        following = np.where(held, step, (low + high) / 2)
        near = held & (np.abs(following - x) <= SETTLED * scale)
        going = ~near & (high - low > 1e-15 * (np.abs(low) + np.abs(high)))
        found[moving] = following
        if not going.any():
            break
        moving = moving[going]
        if going.all():
            x = following
        else:
            p, scale = p[going], scale[going]
            x, low, high = following[going], low[going], high[going]
            means, inverse = means[going], inverse[going]
    return found


@dataclass(frozen=True, eq=False)
class Mixture:
    """One mixture of normal distributions, shapes (N,) of weights, means and SDs: a marginal posterior.

    Examples
    --------
    >>> m = Mixture(np.array([0.5, 0.5]), np.array([-1.0, 1.0]), np.array([1.0, 1.0]))
    >>> m.density(np.array([0.0])).round(6).tolist(), m.quantile(np.array([0.975])).round(6).tolist()
    ([0.241971], [2.646146])
    """

    weights: Array
    means: Array
    sds: Array

    def density(self, x: Array) -> Array:
        """The density at points, shape (k,)."""
        found = density(np.asarray(x, dtype=float)[None], self.weights, self.means[None], self.sds[None])
        return np.asarray(found[0])

    def cdf(self, x: Array) -> Array:
        """The distribution function at points, shape (k,)."""
        found = cdf(np.asarray(x, dtype=float)[None], self.weights, self.means[None], self.sds[None])
        return np.asarray(found[0])

    def quantile(self, probability: Array) -> Array:
        """The points that the distribution function takes to given probabilities, shape (k,)."""
        wanted = tuple(np.asarray(probability, dtype=float).tolist())
        return np.asarray(quantiles(wanted, self.weights, self.means[None], self.sds[None])[0])

"""Independent draws of group effects, given b and tau: by rejection from three tangents.

The log density L_j(a) - (a - b)^2 / (2 tau^2) is concave, so that it lies below its tangents, at about the mode and on
both sides of it; what is piecewise exponential is drawn by inversion (Gilks & Wild 1992, doi:10.2307/2347565, whose
hull is refined where a draw is rejected: here the next one is drawn from the same).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.exact_posterior.group_integrals import modes
from workbench.exact_posterior.group_likelihoods import GroupLikelihoods

Array = NDArray[np.float64]

ASIDE = 1.2
"""Where the outer tangents touch, in widths from the mode."""
LEAST = 1e-300
AT_ONCE = 1 << 18
"""Draws at a time."""


def draw_effects(known: GroupLikelihoods, b: Array, tau: Array, rng: np.random.Generator) -> Array:
    """Effects u_j = a_j - b of all levels, shape (N, J), given b and tau of shape (N,)."""
    each = known.at(known.place)
    J, N = len(each), len(b)
    found = np.empty((N, J))
    step = max(1, AT_ONCE // J)
    for begin in range(0, N, step):
        here = slice(begin, begin + step)
        found[here] = _drawn(each, b[here], tau[here], rng).T
    return found


def _drawn(known: GroupLikelihoods, b: Array, tau: Array, rng: np.random.Generator) -> Array:
    """Of some (b, tau), shape (U, N)."""
    hull = _Hull.of(known, b, tau)
    found, waiting = np.empty_like(hull.mode), np.ones(hull.mode.shape, dtype=bool)
    while waiting.any():
        a, above = hull.drawn(rng)
        true = known.log(a) - 0.5 * ((a - b) / tau) ** 2 - hull.top
        taken = waiting & (np.log(np.maximum(rng.random(a.shape), LEAST)) <= true - above)
        found[taken] = a[taken]
        waiting &= ~taken
    return np.asarray(found - b)


@dataclass(frozen=True, eq=False)
class _Hull:
    """Three tangents of concave log densities; all of shape (U, N), or two or three of these.

    Attributes
    ----------
    mode, top : array
        About where they are largest, and their values there, which count as 0.
    meet, height : array
        Where the tangents meet, and their values there.
    left, right : array
        Slopes of the outer ones.
    """

    mode: Array
    top: Array
    meet: Array
    height: Array
    left: Array
    right: Array

    @classmethod
    def of(cls, known: GroupLikelihoods, b: Array, tau: Array) -> _Hull:
        """Touching about the modes, and ASIDE widths to both sides."""
        mode, width = modes(known, b, tau)
        touch = np.stack([mode - ASIDE * width, mode, mode + ASIDE * width])
        value = np.stack([known.log(a) - 0.5 * ((a - b) / tau) ** 2 for a in touch])
        slope = np.stack([known.slopes(a)[0] - (a - b) / tau**2 for a in touch])
        slope[0], slope[2] = np.maximum(slope[0], LEAST), np.minimum(slope[2], -LEAST)
        top = value[1].copy()
        value -= top
        gap = value[1:] - value[:-1] - slope[1:] * np.diff(touch, axis=0)
        away = np.clip(gap / (slope[:-1] - slope[1:]), 0.0, ASIDE * width)
        return cls(mode, top, touch[:-1] + away, value[:-1] + slope[:-1] * away, slope[0], slope[2])

    def drawn(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A draw from the density whose logarithm the tangents are, and that logarithm."""
        (first, last), (low, high) = self.meet, self.height
        rise = high - low
        bent = np.abs(rise) > 1e-9
        safe = np.where(bent, rise, 1.0)
        left, right = np.exp(low) / self.left, -np.exp(high) / self.right
        middle = np.where(bent, np.expm1(rise) / safe, 1.0) * (last - first) * np.exp(low)
        u = rng.random(self.mode.shape) * (left + middle + right)
        share = np.clip((u - left) / np.maximum(middle, LEAST), 0.0, 1.0)
        share = np.where(bent, np.log1p(share * np.expm1(rise)) / safe, share)
        below = np.log(np.maximum(u, LEAST) / left)
        above = np.log(np.maximum(left + middle + right - u, LEAST) / right)
        outside = np.where(u < left, -1, np.where(u > left + middle, 1, 0))
        a = np.where(outside < 0, first + below / self.left, first + (last - first) * share)
        value = np.where(outside < 0, low + below, low + rise * share)
        return np.where(outside > 0, last + above / self.right, a), np.where(outside > 0, high + above, value)

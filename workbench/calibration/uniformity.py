"""Are numbers in [0, 1] uniform? A test of their distribution function at many points at once, and its band.

Of N independent uniform numbers, R_i, how many are at most z_i = i / K, is Binomial(N, z_i). With

    T_i = 2 min(P(Bin <= R_i), P(Bin >= R_i)),     T = min_i T_i,     i = 1, ..., K - 1

T is small where the distribution function leaves z somewhere, in the middle or in a tail. Its distribution is exact:
R_1, R_2, ... is a Poisson process given its total N, so that the probability of staying within bounds at all K - 1
points is a chain of convolutions with Poisson(N / K), divided by P(Poisson(N) = N). From it come the p-value
P(T <= t), and the simultaneous band: all R that T does not reject.

Source: Säilynoja, Bürkner & Vehtari (2022, doi:10.1007/s11222-022-10090-6), whose band of one sample this is; they
find its size by simulation or by a recursion over the same process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only

Array = NDArray[np.float64]

POINTS = 200
"""The distribution function is looked at in so many points at the most, less the last."""
LEAST = 1e-12
SAME = 1e-9
"""Tail probabilities that differ by less, relatively, are the same: they are sums in different orders."""


@dataclass(frozen=True, eq=False)
class EcdfTest:
    """The test of N numbers; made once for all samples of that size (:func:`ecdf_test`).

    Attributes
    ----------
    count : int
        N.
    points : array, shape (K - 1,)
        z, the share of numbers expected below.
    """

    count: int
    points: Array

    @cached_property
    def tails(self) -> Array:
        """T_i for every R_i from 0 to N, shape (K - 1, N + 1)."""
        from scipy.special import betainc

        R, z = np.arange(self.count + 1.0), self.points[:, None]
        above = np.ones((len(self.points), self.count + 1))  # P(Bin >= R)
        above[:, 1:] = betainc(R[1:], self.count - R[1:] + 1, z)
        below = np.ones_like(above)  # P(Bin <= R), summed from its own end, so that small ones keep their digits
        below[:, :-1] = betainc(self.count - R[:-1], R[:-1] + 1, 1 - z)
        return np.asarray(np.minimum(1.0, 2 * np.minimum(below, above)))

    def within(self, least: float) -> float:
        """The probability that T exceeds `least`."""
        from scipy.special import gammaln

        rate = self.count / (len(self.points) + 1)
        steps = np.arange(self.count + 1.0)
        poisson = np.exp(steps * np.log(rate) - rate - gammaln(steps + 1))
        kernel = poisson[: int(np.flatnonzero(poisson > 1e-20)[-1]) + 1]
        inside = self.tails > least * (1 + SAME)
        reached = np.zeros(self.count + 1)
        reached[0] = 1.0
        for allowed in inside:
            reached = np.convolve(reached, kernel)[: self.count + 1] * allowed
        last = reached @ poisson[::-1]
        N = self.count
        return float(last / np.exp(N * np.log(N) - N - gammaln(N + 1)))

    def counts(self, numbers: Array) -> NDArray[np.intp]:
        """R_i: how many numbers are at most z_i, shape (K - 1,)."""
        return np.searchsorted(np.sort(numbers), self.points, side="right")

    def p_value(self, numbers: Array) -> float:
        """P(T <= t) for N numbers, shape (N,); at least 1e-12, as smaller ones are rounding."""
        R = self.counts(numbers)
        least = float(self.tails[np.arange(len(R)), R].min())
        return float(np.clip(1 - self.within(least), LEAST, 1.0))

    def band(self, level: float) -> tuple[Array, Array]:
        """Bounds of R_i / N, shape (K - 1,), that all hold together with probability `level` or a little more.

        A sample leaves the band where its p-value is at most 1 - `level`, and only then.
        """
        known = np.unique(self.tails)
        low, high = 0, len(known) - 1  # the largest T that still may be rejected
        while low < high:
            middle = (low + high + 1) // 2
            if self.within(float(known[middle])) >= level:
                low = middle
            else:
                high = middle - 1
        rejected = float(known[low]) if self.within(float(known[low])) >= level else 0.0
        inside = self.tails > rejected * (1 + SAME)
        first, last = inside.argmax(axis=1), self.count - inside[:, ::-1].argmax(axis=1)
        return read_only(first / self.count), read_only(last / self.count)


@cache
def ecdf_test(count: int) -> EcdfTest:
    """The test of so many numbers.

    Examples
    --------
    >>> test = ecdf_test(100)
    >>> round(test.p_value((np.arange(100) + 0.5) / 100), 6), round(test.p_value(np.full(100, 0.5)), 6)
    (1.0, 0.0)
    """
    K = min(count, POINTS)
    return EcdfTest(count, read_only(np.arange(1, K) / K))


def holm(p_values: Array) -> Array:
    """p-values adjusted for being the smallest of several, shape (m,); NaN stays NaN and does not count.

    Source: Holm (1979, *Scandinavian Journal of Statistics* 6, 65-70); valid however the tests depend on each other.

    Examples
    --------
    >>> holm(np.array([0.01, 0.2, 0.04])).round(3).tolist()
    [0.03, 0.2, 0.08]
    """
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)
    order = order[np.isfinite(p_values[order])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted

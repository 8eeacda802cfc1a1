"""What counts and shares say of their groups: log likelihoods L_j(a), each of one number, the group's coefficient a.

    y_i | a ~ binomial or Poisson with mean response g^-1(a + offset_i),     a = b + u_j for every row i of group j

Rows of a group that share an offset are one, with their sums of successes and failures; under a Poisson response all
rows are, since sum_i w_i (y_i eta_i - exp(eta_i)) = k a - exp(a + c), with k the weighted sum of counts and exp(c) that
of exposures. Groups that say the same are one, with a count. All of these log likelihoods are concave in a.

=========  ============================  ====================================
response   log likelihood at eta         slope
=========  ============================  ====================================
logit      k eta - n log(1 + e^eta)      k - n p
probit     k log P(eta) + f log P(-eta)  k r(eta) - f r(-eta), r = P'/P
cloglog    k log(1 - e^-m) - f m         k m / (e^m - 1) - f m, m = e^eta
poisson    k eta - e^eta                 k - e^eta
=========  ============================  ====================================

Source: McCullagh & Nelder (1989), Generalized Linear Models, 2nd edition, chapters 4 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design

Array = NDArray[np.float64]
Places = NDArray[np.intp]

DROP = 36.0
"""An integrand is followed down to exp(-DROP) of its largest value, 2e-16."""
STEEP = 600.0
"""Linear predictors of exponentials are cut off there, where these count as infinite."""


@dataclass(frozen=True, eq=False)
class GroupLikelihoods:
    """Log likelihoods of U different groups, made of T terms.

    Attributes
    ----------
    response : str
        ``logit``, ``probit``, ``cloglog`` or ``poisson``.
    successes, failures, shift : array, shape (T,)
        k, f and offset of every term; of a Poisson response the count, 1 and the log of the exposure.
    group : array of int, shape (T,)
        To which group a term belongs, in ascending order.
    counts : array, shape (U,)
        How many groups each of these stands for.
    place : array of int, shape (J,)
        Which of these every level is.
    rows : array of int, shape (n,)
        The term of every row of the design.
    """

    response: str
    successes: Array
    failures: Array
    shift: Array
    group: Places
    counts: Array
    place: Places
    rows: Places

    @classmethod
    def of(cls, design: Design) -> GroupLikelihoods:
        """Condense a binomial or Poisson design with one intercept varying by one grouping factor.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> table = {"dead": [0, 1, 1, 0], "herd": ["a", "a", "b", "b"]}
        >>> known = GroupLikelihoods.of(build_design("dead ~ 1 + (1 | herd)", table, "binomial"))
        >>> known.successes.tolist(), known.failures.tolist(), known.counts.tolist()
        ([1.0], [1.0], [2.0])
        """
        codes, J = design.blocks[0].codes, len(design.blocks[0].levels)
        weighted, offset = design.weights * design.y, np.asarray(design.offset)
        if design.family == "poisson":
            top = float(offset.max())
            exposure = np.bincount(codes, weights=design.weights * np.exp(offset - top), minlength=J)
            with np.errstate(divide="ignore"):
                shift = np.log(exposure) + top
            columns = (np.bincount(codes, weights=weighted, minlength=J), np.ones(J), shift)
            return cls._merged("poisson", columns, codes)
        ones = design.weights - weighted
        if np.ptp(offset) == 0.0:
            sums = [np.bincount(codes, weights=part, minlength=J) for part in (weighted, ones)]
            return cls._merged(design.link, (sums[0], sums[1], np.full(J, offset[0])), codes)
        first, term = _distinct((offset, codes.astype(float)))
        sums = [np.bincount(term, weights=part, minlength=len(first)) for part in (weighted, ones)]
        if len(first) == J:
            term = np.asarray(codes)
            first = np.unique(codes, return_index=True)[1]
            sums = [np.bincount(codes, weights=part, minlength=J) for part in (weighted, ones)]
            return cls._merged(design.link, (sums[0], sums[1], offset[first]), term)
        return cls(design.link, sums[0], sums[1], offset[first], codes[first], np.ones(J), np.arange(J), term)

    @classmethod
    def _merged(cls, response: str, columns: tuple[Array, Array, Array], codes: Places) -> GroupLikelihoods:
        """Of one term per group: those that are alike as one."""
        first, place = _distinct(columns)
        k, f, shift = (column[first] for column in columns)
        counts = np.bincount(place, minlength=len(first)).astype(float)
        return cls(response, k, f, shift, np.arange(len(first)), counts, place, place[codes])

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def single(self) -> bool:
        """Whether every group is one term."""
        return len(self.shift) == len(self.counts)

    def at(self, which: Places) -> GroupLikelihoods:
        """Some of the groups, as often as they are named; rows and levels are left out."""
        none = np.zeros(0, dtype=np.intp)
        sizes = np.diff(np.append(self._starts, len(self.shift)))[which]
        group = np.repeat(np.arange(len(which)), sizes)
        taken = np.arange(len(group)) + (self._starts[which] - np.cumsum(sizes) + sizes)[group]
        parts = (self.successes[taken], self.failures[taken], self.shift[taken])
        return GroupLikelihoods(self.response, *parts, group, self.counts[which], none, none)

    # --- values ---------------------------------------------------------------------------------------

    def log(self, a: Array) -> Array:
        """L_j(a), of a shape (U, ...) into the same."""
        k, f, eta = self._terms(a)
        match self.response:
            case "logit":
                value = k * eta - (k + f) * (np.maximum(eta, 0.0) + np.log(1 + np.exp(-np.abs(eta))))
            case "probit":
                from scipy.special import log_ndtr

                value = k * log_ndtr(eta) + f * log_ndtr(-eta)
            case "cloglog":
                m = np.exp(np.clip(eta, -STEEP, STEEP))
                with np.errstate(divide="ignore"):
                    value = k * np.where(eta < -30, eta - 0.5 * m, np.log(-np.expm1(-m))) - f * m
            case _:
                value = k * eta - np.exp(np.minimum(eta, STEEP))
        return self._summed(value)

    def slopes(self, a: Array) -> tuple[Array, Array]:
        """First and second derivatives of L_j at a, shape (U, ...)."""
        k, f, eta = self._terms(a)
        match self.response:
            case "logit":
                rest = np.exp(-np.abs(eta))
                p = np.where(eta < 0, rest, 1.0) / (1 + rest)
                first, second = k - (k + f) * p, -(k + f) * rest / (1 + rest) ** 2
            case "probit":
                r, s = _hazard(eta), _hazard(-eta)
                first, second = k * r - f * s, -k * r * (r + eta) - f * s * (s - eta)
            case "cloglog":
                m = np.exp(np.clip(eta, -STEEP, STEEP))
                with np.errstate(over="ignore"):
                    r = m / np.expm1(m)
                first, second = k * r - f * m, np.where(r > 0, k * r * (1 - r - m), 0.0) - f * m
            case _:
                m = np.exp(np.minimum(eta, STEEP))
                first, second = k - m, -m
        return self._summed(first), self._summed(second)

    def means(self, a: Array) -> Array:
        """Mean responses of the terms at a, shape (U, ...) -> (T, ...); of a Poisson response over the exposure."""
        _, _, eta = self._terms(a)
        match self.response:
            case "logit":
                rest = np.exp(-np.abs(eta))
                return np.asarray(np.where(eta < 0, rest, 1.0) / (1 + rest))
            case "probit":
                from scipy.special import ndtr

                return np.asarray(ndtr(eta))
            case "cloglog":
                return np.asarray(-np.expm1(-np.exp(np.clip(eta, -STEEP, STEEP))))
        return np.asarray(np.exp(np.minimum(eta, STEEP)))

    # --- where they are -------------------------------------------------------------------------------

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Which have a finite maximum, shape (U,): not all successes, all failures or all zero."""
        starts = self._starts
        some = np.add.reduceat(self.successes, starts) > 0
        return some & (np.add.reduceat(self.failures, starts) > 0) if self.response != "poisson" else some

    @cached_property
    def high(self) -> NDArray[np.bool_]:
        """Which rise without end: all successes."""
        if self.response == "poisson":
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.add.reduceat(self.failures, self._starts) == 0)

    @cached_property
    def edge(self) -> Array:
        """About where they are largest, shape (U,), or, where they rise without end, where they are flat from."""
        starts = self._starts
        k, f = np.add.reduceat(self.successes, starts), np.add.reduceat(self.failures, starts)
        if self.response == "poisson":
            return np.asarray(np.log(np.where(k > 0, k, 1.0)) - self.shift)
        n = k + f
        p = np.where(f == 0, np.exp(-1 / n), np.where(k == 0, -np.expm1(-1 / n), k / n))
        away = np.add.reduceat((self.successes + self.failures) * self.shift, starts) / n
        match self.response:
            case "logit":
                return np.asarray(np.log(p / (1 - p)) - away)
            case "probit":
                from scipy.special import ndtri

                return np.asarray(ndtri(p) - away)
        return np.asarray(np.log(-np.log1p(-p)) - away)

    @cached_property
    def stretch(self) -> Array:
        """Over what length about the edges they bend, shape (U,): 1, and what their offsets differ by."""
        starts = self._starts
        return np.asarray(1 + np.maximum.reduceat(self.shift, starts) - np.minimum.reduceat(self.shift, starts))

    @cached_property
    def reach(self) -> tuple[Array, Array]:
        """How far left and right of the edges they fall by DROP, shape (U,); infinite where they do not."""
        e, found = self.edge, []
        top = self.log(e)
        scale = np.sqrt(1 / np.maximum(-self.slopes(e)[1], 1e-300))
        for sign, endless in ((-1, ~self.inside & ~self.high), (1, self.high)):
            far = np.minimum(4 * scale, 4.0)
            for _ in range(60):
                short = (top - self.log(e + sign * far) < DROP) & ~endless
                if not short.any():
                    break
                far = np.where(short, 2 * far, far)
            near = np.zeros_like(far)
            for _ in range(12):  # close enough: a little too far
                middle = (near + far) / 2
                short = top - self.log(e + sign * middle) < DROP
                near, far = np.where(short, middle, near), np.where(short, far, middle)
            found.append(np.where(endless, np.inf, far))
        return found[0], found[1]

    # --- parts ----------------------------------------------------------------------------------------

    @cached_property
    def _starts(self) -> Places:
        return np.searchsorted(self.group, np.arange(len(self)))

    def _terms(self, a: Array) -> tuple[Array, Array, Array]:
        """k, f and the linear predictors of the terms, to be broadcast against each other."""
        more = (...,) + (None,) * (a.ndim - 1)
        by_term: Any = a if self.single else a[self.group]
        return self.successes[more], self.failures[more], by_term + self.shift[more]

    def _summed(self, value: Array) -> Array:
        return value if self.single else np.add.reduceat(value, self._starts, axis=0)


def _hazard(eta: Array) -> Array:
    """The standard normal density over its distribution function."""
    from scipy.special import log_ndtr

    return np.asarray(np.exp(-0.5 * eta * eta - log_ndtr(eta)) / sqrt(2 * pi))


def _distinct(columns: tuple[Array, ...]) -> tuple[Places, Places]:
    """A row of every kind there is, sorted by the last column first, and which of these every row is of."""
    order = np.lexsort(columns)
    changed = np.zeros(len(order), dtype=bool)
    for column in columns:
        ranked = column[order]
        changed[1:] |= ranked[1:] != ranked[:-1]
    changed[:1] = True
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.cumsum(changed) - 1
    return order[changed], place

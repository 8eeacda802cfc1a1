"""The deviance, or the REML criterion, with one parameter held, minimised over all others.

With the absolute factor G = sigma Lambda and sigma explicit, the deviance whose minimum over sigma is eq. 35 of
:mod:`workbench.likelihood` is

    F(G, sigma) = log|L(G / sigma)|^2 + n log(2 pi sigma^2) + r^2(G / sigma) / sigma^2 - sum log w

with b always at its best. Under REML, where b is integrated out, it is log|R_X|^2 more and p log(2 pi sigma^2) less.
Holding a parameter is simple once G stands in the right coordinates. Let v be the effects in a basis of each random
block in which

===================  ==================================================================================
held                 basis and what is free
===================  ==================================================================================
nothing, sigma, b    v: effects of the columns that are orthonormal over the table
SD of column i       v_1 = u_i / |a|, the others orthonormal: the SD is |a| G_11, alone
cor. of i and k      v_1 = u_i / |a|, v_2 = u_k / |c|: G_11 = s, (G_21, G_22) = t (sin psi, cos psi), with
                     correlation sin psi; log s and log t are free, so that neither changes its sign
===================  ==================================================================================

where u_i = a'(orthonormal effects), and u_k likewise by c. Every other entry of the lower triangles G_f is free.
F is smooth in all of these coordinates, up to and on the boundaries SD = 0 and psi = +- pi/2, where it is even. sigma
is held by its logarithm. A coefficient that is held moves to the response (:mod:`workbench.inference.responses`).

The minimum over the others need not be the only one, so that a search may be given several starts. That of a
correlation may also lie where s or t is zero, which no logarithm reaches. Any correlation is possible there, so that

    profile(correlation) = min(least F with s and t above zero, least F with s = 0, least F with t = 0)

and the last two, which do not depend on the correlation, are a cap on its profile (`Held.cap`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import orthonormal
from workbench.inference.parameters import Parameter
from workbench.inference.responses import hold_coefficient, in_unit
from workbench.likelihood import Conditional, conditional, criterion, criterion_gradient, degrees_of_freedom
from workbench.minimise import minimise
from workbench.moments import Moments
from workbench.optimum import SINGULAR, Optimum
from workbench.theta import Theta

Array = NDArray[np.float64]

LEAST = np.log(0.02)
"""A search for the two SDs beside a held correlation starts no lower than this (log, relative to sigma)."""
SMALL, PLAIN, WIDE = 0.05, 1.0, 3.0
"""SDs of orthonormal effects over sigma that a search from afar starts at."""
STARTS = 12
SAME = 1e-9
"""Deviances that differ by less, relative to the deviance (at least 1), are those of one minimum."""


@dataclass(frozen=True, eq=False)
class Point:
    """The deviance where one parameter is held.

    Attributes
    ----------
    place : float
        The held coordinate (see `Held`).
    deviance, slope : float
        The minimum over the others, and its derivative by the held coordinate.
    others : array
        Where it is, for the next search to start from.
    certified : bool
    interior : float
        The least deviance at `others`; more than `deviance` where the cap of a correlation's profile is lower.
    """

    place: float
    deviance: float
    slope: float
    others: Array
    certified: bool
    interior: float


@dataclass(frozen=True, eq=False)
class Held:
    """The profile deviance of one parameter, as a function of a coordinate on which it is smooth.

    The coordinate is the value itself for a population coefficient or an SD, its logarithm for sigma, and its arcsine
    for a correlation.

    Attributes
    ----------
    parameter : Parameter
    data : Moments
    sigma : float
        The ML (or REML) estimate; G and sigma are measured in it.
    bases : tuple of array, shape (q_f, q_f)
        u_f = bases_f v_f, for the moments' columns.
    theta : Theta
        Places of all entries of G, with their ML values.
    pinned : tuple of int
        Which of them the held parameter governs: G_11, and for a correlation G_21 and G_22.
    reach : float
        |a| times sigma: an SD over its G_11.
    given : Conditional
        What follows at the ML optimum.
    edges : tuple of Held
        The two SDs beside a correlation.
    restricted : bool
        The REML criterion in place of the deviance; not of a coefficient.
    """

    parameter: Parameter
    data: Moments
    sigma: float
    bases: tuple[Array, ...]
    theta: Theta
    pinned: tuple[int, ...]
    reach: float
    given: Conditional
    edges: tuple[Held, ...] = ()
    restricted: bool = False

    @classmethod
    def of(cls, parameter: Parameter, data: Moments, best: Optimum, restricted: bool = False) -> Held:
        """Choose coordinates for a parameter; `best` is the ML optimum, or REML's where that is `restricted`."""
        sigma = 1.0 if data.known_se else float(np.sqrt(best.given.r2 / degrees_of_freedom(data, restricted)))
        bases, f, start, reach = list(orthonormal(data)), 0, 0, 1.0
        if parameter.kind in ("sd", "cor"):
            f, start, (lengths, bases[f]) = _aligned(parameter, data, bases)
            reach = lengths[0] * sigma
        roots = []
        for basis, factor, moments_of in zip(bases, best.factors, data.factors, strict=True):
            root = np.linalg.solve(basis, factor)
            for block in moments_of.blocks:
                root[block, block] = _lower(root[block, block])
            roots.append(root)
        theta = Theta.of(data, tuple(roots))
        where = {"sd": [(0, 0)], "cor": [(0, 0), (1, 0), (1, 1)]}.get(parameter.kind, [])
        pinned = tuple(theta.entries.index((f, start + a, start + b)) for a, b in where)
        edges = [Parameter("", "sd", parameter.block, (k,)) for k in parameter.columns if parameter.kind == "cor"]
        beside = tuple(cls.of(edge, data, best, restricted) for edge in edges)
        return cls(parameter, data, sigma, tuple(bases), theta, pinned, reach, best.given, beside, restricted)

    # --- the held coordinate --------------------------------------------------------------------------

    def value_of(self, place: float) -> float:
        """The value at a coordinate."""
        match self.parameter.kind:
            case "sigma":
                return float(np.exp(place))
            case "cor":
                return float(np.sin(place))
        return float(place)

    @property
    def best(self) -> float:
        """The coordinate of the ML estimate; on the limit where it lies next to it."""
        match self.parameter.kind:
            case "sigma":
                return float(np.log(self.sigma))
            case "sd":
                return float(self.theta.values[self.pinned[0]]) * self.reach
            case "cor":
                _, sine, cosine = self.theta.values[list(self.pinned)]
                edge = cosine <= SINGULAR * abs(sine)
                return float(np.copysign(np.pi / 2, sine) if edge else np.arctan2(sine, cosine))
        k = self.parameter.columns[0]
        return float(self.data.shift.to_data[k] @ self.given.b + self.data.shift.origin[k])

    @property
    def limits(self) -> tuple[float, float]:
        """The coordinates beyond which there is nothing."""
        match self.parameter.kind:
            case "sd":
                return 0.0, np.inf
            case "cor":
                return -np.pi / 2, np.pi / 2
        return -np.inf, np.inf

    @property
    def start(self) -> Array:
        """The other coordinates at the ML optimum: free entries, logs of the two SDs of a correlation, log sigma."""
        parts = [self.theta.values[self._free]]
        if self.parameter.kind == "cor":
            s, *row = self.theta.values[list(self.pinned)]
            parts.append(np.log(np.maximum([s, np.hypot(*row)], 1e-300)))
        if self._sigma_is_free:
            parts.append(np.zeros(1))
        return np.concatenate(parts)

    @property
    def starts(self) -> tuple[Array, ...]:
        """Where to begin a search that must not miss a minimum far from the last one.

        At the ML optimum, with all SDs plain and with all small; of one grouping factor, also with one of them plain at
        a time, and with two that are perfectly correlated, one way or the other, plain and wide; no more than `STARTS`.
        (Each search of several factors takes much longer.)
        """
        count, entries = len(self._free), [self.theta.entries[k] for k in self._free]
        spreads = [k for k, (_, a, b) in enumerate(entries) if a == b]
        logs = [count, count + 1] if self.parameter.kind == "cor" else []
        patterns = [dict.fromkeys(spreads + logs, PLAIN), {}]
        if len(self.data.factors) == 1:
            patterns += [{k: PLAIN} for k in spreads + logs if len(spreads + logs) > 1]
            for size in (PLAIN, WIDE):
                for k, (f, a, b) in enumerate(entries):
                    beside = {entries.index((f, b, b)): size} if (f, b, b) in entries else {}
                    patterns += [beside | {k: sign * size} for sign in (1, -1) if a != b]
        found = [self.start]
        for pattern in patterns[: STARTS - 1]:
            start = np.zeros_like(self.start)
            start[spreads + logs] = SMALL
            start[list(pattern)] = list(pattern.values())
            start[logs] = np.log(start[logs])
            found.append(start)
        return tuple(found)

    @cached_property
    def cap(self) -> Point | None:
        """Of a correlation, the least deviance with one of its two SDs at zero."""
        points = [edge.at(0.0, *edge.starts) for edge in self.edges]
        return min(points, key=lambda point: point.deviance, default=None)

    @property
    def _free(self) -> NDArray[np.intp]:
        return np.array([k for k in range(len(self.theta.values)) if k not in self.pinned], dtype=np.intp)

    @property
    def _sigma_is_free(self) -> bool:
        return self.parameter.kind != "sigma" and not self.data.known_se

    # --- the deviance ---------------------------------------------------------------------------------

    def factors(self, point: Point) -> tuple[Array, ...]:
        """Lambda of every grouping factor at a point, of the moments' columns, shape (q_f, q_f)."""
        G, log_s = self._unpack(point.place, point.others)
        return tuple(basis @ root / float(np.exp(log_s)) for basis, root in zip(self.bases, G, strict=True))

    def sigma_at(self, point: Point) -> float:
        """The residual SD at a point."""
        return self.sigma * float(np.exp(self._unpack(point.place, point.others)[1]))

    def at(self, place: float, *starts: Array) -> Point:
        """Minimise over everything else, from one or more starts."""
        data, found = self._moments(place), []
        for start in starts if len(starts[0]) else ():
            if self.parameter.kind == "cor":
                start = start.copy()
                logs = slice(len(self._free), len(self._free) + 2)
                start[logs] = np.maximum(start[logs], LEAST)
            found.append(minimise(lambda x: self._deviance(data, place, x)[:2], start))
        best = min(found, key=lambda m: m.value - SAME * max(1.0, abs(m.value)) * m.certified, default=None)
        others, certified = (starts[0], True) if best is None else (best.x, best.certified)
        value, _, slope = self._deviance(data, place, others)
        if self.parameter.kind == "fixed":
            slope = self._coefficient_slope(place, others)
        if self.cap is not None and self.cap.deviance < value:
            return Point(place, self.cap.deviance, 0.0, others, self.cap.certified, value)
        return Point(place, value, slope, others, certified, value)

    def _moments(self, place: float) -> Moments:
        if self.parameter.kind != "fixed":
            return self.data
        return hold_coefficient(self.data, self.parameter.columns[0], place)

    def _deviance(self, data: Moments, place: float, others: Array) -> tuple[float, Array, float]:
        """F, its gradient by the other coordinates, and its derivative by the held one (coefficients apart)."""
        G, log_s = self._unpack(place, others)
        s = float(np.exp(log_s))
        factors = tuple(basis @ root / s for basis, root in zip(self.bases, G, strict=True))
        unit = in_unit(data, s * self.sigma)
        given = conditional(unit, factors)
        nu = degrees_of_freedom(data, self.restricted)
        value = criterion(unit, given, self.restricted) + 2 * nu * float(np.log(s * self.sigma))
        slopes = criterion_gradient(unit, factors, given, self.restricted).by_factor
        by_G = self.theta.gather(tuple(basis.T @ D / s for basis, D in zip(self.bases, slopes, strict=True)))
        along = sum(float(np.sum(D * Lambda)) for D, Lambda in zip(slopes, factors, strict=True))
        by_log_s = 2 * nu - 2 * given.r2 - along
        return value, *self._pack(place, others, by_G, by_log_s)

    def _unpack(self, place: float, others: Array) -> tuple[tuple[Array, ...], float]:
        """G and log(sigma / its ML estimate)."""
        values, free = np.empty(len(self.theta.values)), self._free
        values[free] = others[: len(free)]
        if self.parameter.kind == "sd":
            values[self.pinned[0]] = place / self.reach
        if self.parameter.kind == "cor":
            s, t = np.exp(others[len(free) : len(free) + 2])
            values[list(self.pinned)] = s, t * np.sin(place), t * np.cos(place)
        log_s = 0.0
        if self.parameter.kind == "sigma":
            log_s = place - float(np.log(self.sigma))
        elif self._sigma_is_free:
            log_s = float(others[-1])
        return self.theta.at(values).factors, log_s

    def _pack(self, place: float, others: Array, by_G: Array, by_log_s: float) -> tuple[Array, float]:
        """Derivatives by the other coordinates and by the held one, from those by G and log sigma."""
        parts, slope = [by_G[self._free]], 0.0
        match self.parameter.kind:
            case "sd":
                slope = float(by_G[self.pinned[0]]) / self.reach
            case "sigma":
                slope = by_log_s
            case "cor":
                count = len(self._free)
                s, t = np.exp(others[count : count + 2])
                by_11, by_21, by_22 = by_G[list(self.pinned)]
                sine, cosine = np.sin(place), np.cos(place)
                parts.append(np.array([s * by_11, t * (by_21 * sine + by_22 * cosine)]))
                slope = float(t * (by_21 * cosine - by_22 * sine))
        if self._sigma_is_free:
            parts.append(np.array([by_log_s]))
        return np.concatenate(parts), slope

    def std_error(self) -> float:
        """The sampling SE of a coefficient at the ML optimum."""
        h = self.data.shift.to_data[self.parameter.columns[0]]
        return self.sigma * float(np.sqrt(h @ self.given.b_cov @ h))

    def _coefficient_slope(self, value: float, others: Array) -> float:
        """d F / d b_k: at given G and sigma, r^2 grows from its minimum by (b_k - its best)^2 over its variance."""
        G, log_s = self._unpack(value, others)
        factors = tuple(basis @ root / np.exp(log_s) for basis, root in zip(self.bases, G, strict=True))
        there = replace(self, given=conditional(self.data, factors), sigma=self.sigma * float(np.exp(log_s)))
        return float(2 * (value - there.best) / there.std_error() ** 2)


def _aligned(parameter: Parameter, data: Moments, bases: list[Array]) -> tuple[int, int, tuple[list[float], Array]]:
    """Turn the basis of one block so that the held columns come first: factor, the block's start, (lengths, basis)."""
    f, part = next((f, p) for f, x in enumerate(data.factors) for p in x.places if p == parameter.block)
    factor = data.factors[f]
    block = factor.blocks[factor.places.index(part)]
    rows = (factor.to_data @ bases[f])[block, block][list(parameter.columns)]
    lengths = np.linalg.norm(rows, axis=1)
    complement = np.linalg.svd(rows)[2][len(rows) :]
    basis = bases[f].copy()
    basis[block, block] = bases[f][block, block] @ np.linalg.inv(np.vstack([rows / lengths[:, None], complement]))
    return f, block.start, (lengths.tolist(), basis)


def _lower(root: Array) -> Array:
    """The lower triangular root of root root', with a diagonal that is not negative; what rounding left is zero."""
    lower = np.linalg.qr(root.T)[1].T
    signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
    return np.asarray(np.tril(lower * signs))

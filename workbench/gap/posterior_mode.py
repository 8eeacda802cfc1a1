"""The joint mode of the posterior density of standard deviations, correlations and sigma, b and u integrated out.

The density is that of (sd, cor, sigma) themselves; a mode depends on the scale on which a parameter is written, except
under flat priors on its own scale, where it is REML's estimate:

    -2 log p(v | y) = (n - p) log sigma^2 + log|L|^2 + log|R_X|^2 + r^2 / sigma^2 - 2 log prior(v) + constant

with L, R_X and r^2 of :mod:`workbench.likelihood`, the last two with the prior of b as further rows
(:mod:`workbench.gap.given_variances`). The search walks in other coordinates, which move no mode: SDs in units of their
posterior means, the angles of the correlations' Cholesky factors, log sigma. A correlation factor has the rows

    L_i = (sin a_1, cos a_1 sin a_2, cos a_1 cos a_2 sin a_3, ..., cos a_1 ... cos a_(i-1)),     |R| = prod cos^2 a

(Pinheiro & Bates 1996, doi:10.1007/BF00140873, with sine and cosine exchanged), smooth up to correlations of 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import exp, inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import relative_factors
from workbench.design import Design
from workbench.gap.given_variances import PopulationPrior, Variances
from workbench.likelihood import Conditional, conditional, criterion_gradient, degrees_of_freedom
from workbench.moments import Moments
from workbench.priors import Prior

Array = NDArray[np.float64]

NEAR_SINGULAR = 1e-6
"""How near an angle may come to a right one, where an LKJ prior has no density left."""
FAR = 100.0
"""The search takes no SD farther above its posterior mean, and sigma no farther from its own, than by this factor."""
ROUNDS = 4
"""So often at the most the search leaves the mode that it has found, to see whether there is a higher one."""
UNSETTLED = 1e-3
"""A slope of -2 log density (per posterior mean of an SD, radian, or unit of log sigma) that is worth a word."""


def posterior_mode(density: Density, starts: tuple[Variances, ...], thorough: bool = True) -> tuple[Variances, str]:
    """Find the mode, the highest one that several starts lead to.

    Parameters
    ----------
    density : Density
    starts : tuple of Variances
        SDs of zero are lifted: zero is a stationary point of the likelihood wherever the optimum is.
    thorough : bool
        Look for other modes besides, setting each SD to zero and to its posterior mean.

    Returns
    -------
    Variances
    str
        What must be said of it, with a leading semicolon. A parameter whose prior has no largest density (Gamma with a
        shape below 1, LKJ with eta below 1) keeps its typical value.
    """
    from scipy.optimize import minimize

    limits, held = density.limits()
    lows, highs = np.array(limits).T

    def descend(start: Array) -> Any:
        options = {"maxiter": 500, "maxfun": 2000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20}
        x = np.clip(start, lows, highs)
        return minimize(density, x, jac=True, method="L-BFGS-B", bounds=limits, options=options)

    def lifted(x: Array, least: float) -> Array:
        return np.where(density.is_sd, np.maximum(x, least), x)

    best = min((descend(lifted(density.pack(start), 0.05)) for start in starts), key=_value)
    for _ in range(ROUNDS):
        trials = [lifted(best.x, 0.02)]
        if thorough:  # another mode may have another SD at zero, or none
            sds = np.flatnonzero(density.is_sd)
            trials += [np.where(np.arange(len(best.x)) == k, value, best.x) for k in sds for value in (0.0, 1.0)]
        other = min((descend(trial) for trial in trials), key=_value)
        gained = best.fun - other.fun
        best = min(best, other, key=_value)
        if gained < 1e-9 * (1 + abs(best.fun)):
            break
    slope = density(best.x)[1]
    free = ~(((best.x <= lows) & (slope >= 0)) | ((best.x >= highs) & (slope <= 0)))
    steep = float(np.abs(slope[free]).max(initial=0.0))
    remarks = "".join(f"; {name} keeps its mean, because its prior {prior} has no mode" for name, prior in held.items())
    if steep > UNSETTLED:
        remarks += f"; the search stopped where -2 log density still has a slope of {steep:.2g}"
    return density.variances(best.x), remarks


def _value(found: Any) -> float:
    return float(found.fun)


@dataclass(frozen=True, eq=False)
class Density:
    """-2 log posterior density of (sd, cor, sigma), up to a constant, as a function of the search's coordinates.

    Coordinates are ordered by block of the design (SDs, then angles row by row), with log sigma last.

    Attributes
    ----------
    design : Design
    data : Moments
    priors : mapping of str to Prior
        Resolved.
    of_b : PopulationPrior
    typical : Variances
        Posterior means; every SD is measured in its own.
    """

    design: Design
    data: Moments
    priors: Mapping[str, Prior]
    of_b: PopulationPrior
    typical: Variances

    def pack(self, at: Variances) -> Array:
        """The coordinates of given variances, shape (m,)."""
        parts: list[Any] = []
        for sd, correlation, unit in zip(at.sd, at.correlation, self.typical.sd, strict=True):
            parts += [sd / unit, angles(correlation)]
        return np.concatenate([*parts, [] if self.design.known_se else [log(at.sigma)]])

    def variances(self, x: Array) -> Variances:
        """The variances at given coordinates."""
        parts = [(sd, correlation_factor(own)[0]) for sd, own in self._blocks(x)]
        return Variances(tuple(sd for sd, _ in parts), tuple(L @ L.T for _, L in parts), self._sigma(x))

    def _blocks(self, x: Array) -> Iterator[tuple[Array, Array]]:
        """SDs and angles, block by block."""
        start = 0
        for unit in self.typical.sd:
            middle = start + len(unit)
            end = middle + len(unit) * (len(unit) - 1) // 2
            yield x[start:middle] * unit, x[middle:end]
            start = end

    def _sigma(self, x: Array) -> float:
        return 1.0 if self.design.known_se else exp(x[-1])

    @property
    def is_sd(self) -> NDArray[np.bool_]:
        """Which coordinates are SDs, shape (m,)."""
        marks = [np.arange(q * (q + 1) // 2) < q for q in map(len, self.typical.sd)]
        return np.concatenate([*marks, [] if self.design.known_se else [False]]).astype(bool)

    def limits(self) -> tuple[list[tuple[float, float]], dict[str, Prior]]:
        """Bounds of the coordinates, and the priors without a mode, whose parameters are held."""
        limits: list[tuple[float, float]] = []
        held: dict[str, Prior] = {}

        def bounded(name: str, value: float, mode: bool, low: float, high: float) -> None:
            limits.append((low, high) if mode else (value, value))
            if not mode:
                held[name] = self.priors[name]

        for block, unit, correlation in zip(self.design.blocks, self.typical.sd, self.typical.correlation, strict=True):
            for term, s in zip(block.terms, unit.tolist(), strict=True):
                prior = self.priors[f"sd({block.group}, {term})"]
                low, high = _support(prior, s)
                mode = prior.kind != "Gamma" or prior.values[0] >= 1
                bounded(f"sd({block.group}, {term})", 1.0, mode, low / s, min(high / s, FAR))
            for angle in angles(correlation).tolist():
                eta = self.priors[f"cor({block.group})"].values[0]
                most = np.pi / 2 - NEAR_SINGULAR * (eta > 1)
                bounded(f"cor({block.group})", angle, eta >= 1, -most, most)
        if not self.design.known_se:
            low, high = _support(self.priors["sigma"], self.typical.sigma)
            sigma = self.typical.sigma
            limits.append((log(max(low, sigma / FAR)), log(min(high, sigma * FAR))))
        return limits, held

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Value and gradient, shape (m,)."""
        sigma, nu = self._sigma(x), degrees_of_freedom(self.data, True)
        parts = [(sd, own, *correlation_factor(own)) for sd, own in self._blocks(x)]
        factors = relative_factors(self.data, [sd[:, None] * L for sd, _, L, _ in parts], sigma)
        data = self.of_b.joined(self.data, sigma)
        given = conditional(data, factors)
        value = 2 * nu * log(sigma) + given.log_det_L + given.log_det_RX + given.r2 / sigma**2
        # by Lambda its slope is that of the criterion, in which sigma^2 = r^2 / nu
        slopes = criterion_gradient(data, factors, replace(given, r2=nu * sigma**2), True).by_factor
        by_root: dict[int, Array] = {}
        for f, by_Lambda in zip(self.data.factors, slopes, strict=True):
            own_root = np.linalg.solve(f.to_data.T, by_Lambda) / sigma
            by_root |= {place: own_root[here, here] for here, place in zip(f.blocks, f.places, strict=True)}
        gradient = []
        for k, (block, unit, (sd, own, L, dL)) in enumerate(
            zip(self.design.blocks, self.typical.sd, parts, strict=True)
        ):
            by_sd, by_angle = (by_root[k] * L).sum(axis=1), np.einsum("ab,a,mab->m", by_root[k], sd, dL)
            for a, term in enumerate(block.terms):
                more, slope = _minus_twice_log(self.priors[f"sd({block.group}, {term})"], float(sd[a]), float(unit[a]))
                value, by_sd[a] = value + more, by_sd[a] + slope
            if len(own) and (eta := self.priors[f"cor({block.group})"].values[0]) > 1:
                value -= 4 * (eta - 1) * float(np.log(np.cos(own)).sum())  # LKJ: |R|^(eta - 1)
                by_angle += 4 * (eta - 1) * np.tan(own)
            gradient += [by_sd * unit, by_angle]
        if not self.design.known_se:
            more, slope = _minus_twice_log(self.priors["sigma"], sigma, self.typical.sigma)
            value += more
            through_factors = sum(float((a * b).sum()) for a, b in zip(slopes, factors, strict=True))
            gradient.append([2 * nu + self._by_log_sigma(given, sigma) - through_factors + sigma * slope])
        return float(value), np.concatenate(gradient)

    def _by_log_sigma(self, given: Conditional, sigma: float) -> float:
        """Slope of log|R_X|^2 + r^2 / sigma^2 by log sigma, Lambda held: the prior's rows weigh with sigma^2."""
        T, precision = self.data.shift.to_data, self.of_b.precision
        off = T @ given.b + self.data.shift.origin - self.of_b.mean
        added = float(np.einsum("ab,ka,k,kb->", given.b_cov, T, precision, T))
        return 2 * sigma**2 * added + 2 * float(precision @ off**2) - 2 * given.r2 / sigma**2


def angles(correlation: Array) -> Array:
    """The angles of a correlation matrix, (q, q), row by row, shape (q (q - 1) / 2,); of a singular one, nearly.

    Examples
    --------
    >>> angles(np.array([[1.0, 0.5], [0.5, 1.0]])).round(6).tolist()    # arcsin 1/2
    [0.523599]
    """
    q = len(correlation)
    L = np.linalg.cholesky((1 - NEAR_SINGULAR**2) * correlation + NEAR_SINGULAR**2 * np.eye(q))
    found = []
    for i in range(1, q):
        left = 1.0
        for j in range(i):
            found.append(float(np.arcsin(np.clip(L[i, j] / max(left, NEAR_SINGULAR), -1, 1))))
            left *= float(np.cos(found[-1]))
    return np.array(found)


def correlation_factor(own: Array) -> tuple[Array, Array]:
    """The Cholesky factor of the correlation matrix with given angles, (q, q), and its derivatives, (m, q, q).

    Examples
    --------
    >>> L, dL = correlation_factor(np.array([0.5, -0.2, 1.0]))
    >>> R = L @ L.T
    >>> np.diag(R).round(12).tolist(), angles(R).round(6).tolist()
    ([1.0, 1.0, 1.0], [0.5, -0.2, 1.0])
    """
    m = len(own)
    q = round((1 + (1 + 8 * m) ** 0.5) / 2)
    L, dL, k = np.zeros((q, q)), np.zeros((m, q, q)), 0
    L[0, 0] = 1.0
    for i in range(1, q):
        sines, cosines = np.sin(own[k : k + i]), np.cos(own[k : k + i])
        L[i, : i + 1] = _row(sines, cosines)
        for j in range(i):
            turned = np.arange(i) == j
            dL[k + j, i, : i + 1] = _row(np.where(turned, cosines, sines), np.where(turned, -sines, cosines))
            dL[k + j, i, :j] = 0.0
        k += i
    return L, dL


def _row(sines: Array, cosines: Array) -> Array:
    return np.append(sines, 1.0) * np.cumprod(np.append(1.0, cosines))


def _support(prior: Prior, unit: float) -> tuple[float, float]:
    """Where an SD's prior has a density; the Gamma's is taken to begin at next to nothing of `unit`."""
    if prior.kind == "Uniform":
        return prior.values[0], prior.values[1]
    return (1e-9 * unit if prior.kind == "Gamma" else 0.0), inf


def _minus_twice_log(prior: Prior, at: float, unit: float) -> tuple[float, float]:
    """-2 log density of an SD's prior, and its slope."""
    low, high = _support(prior, unit)
    x = min(max(at, low), high)  # a bound may be missed by rounding
    match prior.kind, prior.values:
        case "HalfNormal", (sd,):
            slope = -x / sd**2
        case "HalfStudentT", (df, scale):
            slope = -(df + 1) * x / (df * scale**2 + x**2)
        case "HalfCauchy", (scale,):
            slope = -2 * x / (scale**2 + x**2)
        case "Exponential", (rate,):
            slope = -rate
        case "Gamma", (shape, rate):
            slope = (shape - 1) / x - rate
        case _:
            slope = 0.0  # Uniform and Flat
    return -2 * prior.log_density(x, positive=True), -2 * slope

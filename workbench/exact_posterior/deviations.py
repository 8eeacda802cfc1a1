"""The standard deviations tau and sigma: the coordinates they are integrated in, how far, and which moments they have.

Far out, the posterior density of tau falls as tau^-m, where m is the number of groups less that of the population
coefficients that rows within groups cannot tell and whose priors are flat, plus the power with which tau's prior falls.
It can be normalised for m > 1, has a mean for m > 2 and a variance for m > 3. For sigma, m is the number of rows less
that of all population coefficients with flat priors, plus the power of its prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import asinh, inf, log

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, PriorError
from workbench.exact_posterior.one_factor import OneFactor
from workbench.exact_posterior.quadrature import DEPTH, Curve
from workbench.priors import KINDS, Prior

Array = NDArray[np.float64]

FAR = 1e3
"""A density is looked for up to so many times the scale of the data."""
STEEPEST = 0.1
"""The smallest shape of a Gamma prior of tau: near 0 tau^shape falls to exp(-DEPTH) before tau^2 is rounded to 0."""


@dataclass(frozen=True)
class Axis:
    """A standard deviation and the coordinate it is integrated in: asinh(value / scale), or its log."""

    prior: Prior
    scale: float
    logarithmic: bool
    power: int
    limits: tuple[float, float]

    def value(self, x: Array) -> Array:
        """The standard deviation at coordinates x."""
        return np.exp(x) if self.logarithmic else self.scale * np.sinh(x)

    def coordinate(self, value: Array) -> Array:
        """The coordinate of standard deviations."""
        with np.errstate(divide="ignore"):
            return np.log(value) if self.logarithmic else np.arcsinh(value / self.scale)

    def log_slope(self, x: Array) -> Array:
        """Log of the derivative of the value by the coordinate."""
        return x if self.logarithmic else np.log(self.scale) + np.logaddexp(x, -x) - log(2)

    def log_density(self, x: Array) -> Array:
        """Log prior density of the coordinate."""
        return _log_prior(self.prior, self.value(x)) + self.log_slope(x)

    def reach(self, x: Array) -> Array:
        """Log of the highest moment that exists and is reported, in units of the scale, at least 0."""
        return self.power * np.log1p(self.value(x) / self.scale)


HELD = Axis(Prior("Flat"), 1.0, True, 0, (0.0, 0.0))
"""sigma where standard errors are known: 1."""


@dataclass(frozen=True, eq=False)
class Deviation:
    """The marginal posterior of a standard deviation, tau or sigma."""

    axis: Axis
    curve: Curve

    def density(self, x: Array) -> Array:
        """The density at points, shape (k,)."""
        at = self.axis.coordinate(np.maximum(np.asarray(x, dtype=float), 0.0))
        with np.errstate(invalid="ignore"):
            found = self.curve.density(at) * np.exp(-self.axis.log_slope(at))
        return np.where((np.asarray(x) >= 0) & np.isfinite(found), found, 0.0)

    def cdf(self, x: Array) -> Array:
        """The distribution function at points, shape (k,)."""
        return self.curve.cdf(self.axis.coordinate(np.maximum(np.asarray(x, dtype=float), 0.0)))

    def quantile(self, probability: Array) -> Array:
        """The points that the distribution function takes to given probabilities, shape (k,)."""
        return self.axis.value(self.curve.quantile(np.asarray(probability, dtype=float)))

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and SD; infinite where the density's tail is too long."""
        nodes, mass = self.axis.value(self.curve.panels.nodes), self.curve.values * self.curve.panels.weights
        mean = float(mass @ nodes)
        sd = float(np.sqrt(mass @ (nodes - mean) ** 2))
        return mean if self.axis.power > 0 else inf, sd if self.axis.power > 1 else inf


def _log_prior(prior: Prior, at: Array) -> Array:
    """``prior.log_density`` of many standard deviations."""
    match prior.kind, prior.values:
        case "HalfNormal", (sd,):
            return prior.log_density(0.0) - 0.5 * (at / sd) ** 2
        case "HalfStudentT", (df, sd):
            return prior.log_density(0.0) - (df + 1) / 2 * np.log1p((at / sd) ** 2 / df)
        case "HalfCauchy", (sd,):
            return prior.log_density(0.0) - np.log1p((at / sd) ** 2)
        case "Flat", _:
            return np.zeros(len(at))
    return np.array([prior.log_density(max(value, 0.0), positive=True) for value in at.tolist()])


# --- where to look, and what must not be looked for ---------------------------------------------------


def axes_of(design: Design, model: OneFactor, priors: Mapping[str, Prior]) -> tuple[tuple[Axis, Axis], Array]:
    """The coordinates, with the limits between which the density is looked for; and the loose directions of b."""
    block, n, p = design.blocks[0], model.data.n, model.p
    name = f"sd({block.group}, {block.terms[0]})"
    of_tau, of_sigma = priors[name], priors.get("sigma", Prior("Flat"))
    if of_tau.kind == "Gamma" and of_tau.values[0] < STEEPEST:
        raise PriorError(
            f"The prior {of_tau} of {name} rises so steeply towards zero that much of it lies below the smallest "
            f"floating-point number. Give its shape {STEEPEST:g} or more; 1 or more keeps the density finite."
        )
    told = model.A[model.A > 0]
    loose = _loose(model)
    tail = tail_power(of_tau) + len(told) - len(loose)
    whole = float(model.data.yty)
    if not design.known_se:
        left = n - model.flat + tail_power(of_sigma)
        tail = min(tail, left + tail_power(of_tau) - 1)
        if left <= 3 or left + tail_power(of_tau) <= 4:
            raise DesignError(
                f"With {n} rows and the prior {of_sigma}, the posterior of sigma has no variance. Give sigma a prior "
                "with a shorter tail, such as HalfNormal(1), or more rows."
            )
        bounded = of_sigma.kind == "Uniform" and of_sigma.values[0] > 0
        if model.within[p, p] == 0 and n - len(told) > 0 and not bounded:
            raise DesignError(
                f"{design.response} does not vary within the levels of {block.group}, as far as floating-point numbers "
                "can tell: there is no residual variance to estimate. State standard errors (se=) if they are known."
            )
    if tail <= 1:
        raise PriorError(
            f"The posterior is improper: under the prior {of_tau}, {len(told)} levels of {block.group} do not keep "
            f"{name} from infinity. Use a proper prior, such as HalfNormal or HalfCauchy, or at least "
            f"{len(loose) + 2} levels."
        )
    sigma = 1.0 if design.known_se else float(np.sqrt(whole / n))
    scale = sigma / float(np.sqrt(told.mean()))
    power = 2 if tail > 3 else 1 if tail > 2 else 0
    size = np.abs(model.B[model.A > 0, -1] / told).max() + scale
    widest = FAR * max(
        size, *(v for k, v in zip(KINDS[of_tau.kind], of_tau.values, strict=True) if k in ("sd", "high")), 0.0
    )
    high = asinh(widest / scale) + (DEPTH + 10) / max(tail - 1 - power, 0.05)
    first = Axis(of_tau, scale, of_tau.kind == "Gamma", power, (0.0, min(high, 300.0)))
    if first.logarithmic:
        first = replace(first, limits=(log(scale) - (DEPTH + 10) / min(of_tau.values[0], 1.0), log(scale) + high))
    first = within_support(first)
    if design.known_se:
        return (first, HELD), loose
    inner = model.within[p, p]
    low = log(inner / n) / 2 - 15 if inner > 0 else log(sigma) - (DEPTH + 10)
    second = Axis(of_sigma, sigma, True, 2, (low, log(FAR * sigma) + (DEPTH + 10) / max(min(left - 3, 50.0), 0.05)))
    return (first, within_support(second)), loose


def within_support(axis: Axis) -> Axis:
    """Limits no wider than those of a uniform prior."""
    if axis.prior.kind != "Uniform":
        return axis
    low, high = axis.coordinate(np.array(axis.prior.values)).tolist()
    return replace(axis, limits=(max(low, axis.limits[0]), high))


def tail_power(prior: Prior) -> float:
    """The power with which the density of a standard deviation's prior falls."""
    match prior.kind:
        case "Flat":
            return 0.0
        case "HalfCauchy":
            return 2.0
        case "HalfStudentT":
            return prior.values[0] + 1
    return inf


def _loose(model: OneFactor) -> Array:
    """Directions of b, shape (r, p), along which neither rows within groups nor priors hold it."""
    p = model.p
    if not p:
        return np.zeros((0, 0))
    size = np.sqrt(np.diag(model.data.XtX))
    held = model.within[:p, :p] / size / size[:, None]
    prior = model.prior[:p, :p]
    own = np.sqrt(np.maximum(np.diag(prior), 0.0))
    held = held + prior / np.where(own > 0, own, 1.0) / np.where(own > 0, own, 1.0)[:, None]
    values, vectors = np.linalg.eigh(held)
    return np.asarray((vectors[:, values < 1e-10] / size[:, None]).T)

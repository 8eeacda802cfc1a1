"""The population intercept of counts: the coordinate it is integrated in, and what keeps it and tau from infinity.

    b = g                            in most cases
    b = mean + sd sinh g             StudentT or Cauchy prior, which may be narrower than what the data say
    b = mid + half tanh sinh g       Uniform prior, which has ends (Takahasi & Mori 1974, doi:10.2977/prims/1195192451)
    b = mean + sd (g +- exp(+-g))    StudentT or Cauchy prior, and nothing but successes (or failures, or counts of
                                     zero): the prior's long tail is the posterior's

As tau grows, I_j(b, tau) falls as N(b; 0, tau^2) where the group's likelihood has a maximum, and tends to a
probability, Phi(+-b / tau), where it rises without end (successes only; counts of zero). So the posterior density of
tau falls as tau^-m, with m the number of groups of the first kind, less one where b's prior is flat, plus the power of
tau's prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asinh, inf, log

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import PriorError
from workbench.exact_posterior.deviations import FAR, Axis, tail_power, within_support
from workbench.exact_posterior.group_likelihoods import GroupLikelihoods
from workbench.exact_posterior.quadrature import DEPTH
from workbench.priors import KINDS, Prior

Array = NDArray[np.float64]


FARTHEST = 3.6
"""Coordinates of an intercept with ends beyond which it is at them, to rounding."""


@dataclass(frozen=True)
class Intercept:
    """b = value(g), its prior, and the log density that this gives g.

    Attributes
    ----------
    prior : Prior or None
        Without one, b is held at zero.
    side : int
        1 or -1 where all groups' likelihoods rise, or all fall, without end; else 0.
    """

    prior: Prior | None
    side: int = 0

    @property
    def held(self) -> bool:
        """Whether there is no intercept."""
        return self.prior is None

    @property
    def flat(self) -> bool:
        """Whether its prior is."""
        return self.prior is not None and self.prior.kind == "Flat"

    @property
    def shape(self) -> tuple[float, float, float]:
        """Centre and scale of the prior, and its degrees of freedom."""
        match self.prior:
            case Prior("StudentT", (df, mean, sd)):
                return mean, sd, df
            case Prior("Cauchy", (mean, sd)):
                return mean, sd, 1.0
            case Prior("Uniform", (low, high)):
                return (low + high) / 2, (high - low) / 2, inf
            case Prior("Normal", (mean, sd)):
                return mean, sd, inf
        return 0.0, inf, inf

    @property
    def bounded(self) -> bool:
        """Whether it has ends."""
        return self.prior is not None and self.prior.kind == "Uniform"

    @property
    def stretched(self) -> bool:
        """Whether its coordinate takes in the long tail of its prior."""
        return self.long_tailed and self.side != 0

    @property
    def curled(self) -> bool:
        """Whether its coordinate is a logarithm far from the prior's centre."""
        return self.long_tailed and self.side == 0

    @property
    def long_tailed(self) -> bool:
        """Whether its prior is StudentT or Cauchy."""
        return self.shape[2] < inf

    @property
    def plain(self) -> bool:
        """Whether it is its own coordinate."""
        return not (self.bounded or self.stretched or self.curled)

    def value(self, g: Array) -> Array:
        """The intercept at coordinates g."""
        centre, scale, _ = self.shape
        if self.curled:
            return np.asarray(centre + scale * np.sinh(g))
        if self.bounded:
            return np.asarray(centre + scale * np.tanh(np.sinh(np.clip(g, -FARTHEST, FARTHEST))))
        if self.stretched:
            return np.asarray(centre + scale * (g + self.side * np.exp(self.side * g)))
        return g

    def coordinate(self, b: Array) -> Array:
        """The coordinate of intercepts; infinite outside of the support."""
        centre, scale, _ = self.shape
        if self.curled:
            return np.asarray(np.arcsinh((b - centre) / scale))
        if self.bounded:
            with np.errstate(divide="ignore"):
                g = np.arcsinh(np.arctanh(np.clip((b - centre) / scale, -1.0, 1.0)))
                return np.clip(g, -FARTHEST, FARTHEST)
        if self.stretched:
            from scipy.special import wrightomega

            return np.asarray(self.side * np.log(wrightomega(self.side * (b - centre) / scale)))
        return b

    def slope(self, g: Array) -> Array:
        """The derivative of the intercept by its coordinate."""
        _, scale, _ = self.shape
        if self.curled:
            return np.asarray(scale * np.cosh(g))
        if self.bounded:
            g = np.clip(g, -FARTHEST, FARTHEST)
            return np.asarray(scale * np.cosh(g) * np.cosh(np.sinh(g)) ** -2)
        return np.asarray(scale * (1 + np.exp(self.side * g))) if self.stretched else np.ones_like(g)

    def log_density(self, g: Array) -> Array:
        """Log prior density of the coordinate."""
        centre, scale, df = self.shape
        if self.prior is None or self.flat:
            return np.zeros_like(g)
        if self.bounded:
            v = np.sinh(g)
            return np.asarray(log(2) - 2 * np.logaddexp(v, -v) + np.logaddexp(g, -g) - log(2))
        z2 = ((self.value(g) - centre) / scale) ** 2
        fall = 0.5 * z2 if df == inf else (df + 1) / 2 * np.log1p(z2 / df)
        return np.asarray(self.prior.log_density(centre) - fall + np.log(self.slope(g)))

    def log_prior(self, b: Array) -> Array:
        """Log prior density of intercepts, which an intercept with ends has all over."""
        if self.bounded:
            return np.zeros_like(b)
        g = self.coordinate(b)
        return np.asarray(self.log_density(g) - np.log(self.slope(g)))

    def derivatives(self, g: Array) -> tuple[Array, Array]:
        """The first derivative of the log prior density of the coordinate, and about the second, not positive."""
        centre, scale, df = self.shape
        if self.bounded:
            rise = np.tanh(np.sinh(g))
            return -2 * rise * np.cosh(g) + np.tanh(g), -2 * (rise * np.sinh(g) + 1) + 1
        z, by_g = (self.value(g) - centre) / scale, self.slope(g) / scale
        weight = 1.0 if df == inf else (df + 1) / (df + z * z)
        rest = self.side * (1 - 1 / by_g) if self.stretched else 0.0
        return -weight * z * by_g + rest, -weight * by_g**2


@dataclass(frozen=True)
class Tails:
    """The powers with which posterior densities fall: of tau, and of b at fixed tau or with it."""

    tau: float
    b: float

    @staticmethod
    def moments(power: float) -> int:
        """How many of mean and variance there are."""
        return 2 if power > 3 else 1 if power > 2 else 0


def tails_of(design: Design, known: GroupLikelihoods, intercept: Intercept, of_tau: Prior) -> Tails:
    """How far out the posterior reaches.

    Raises
    ------
    PriorError
        It is improper.
    """
    block, inside = design.blocks[0], known.inside
    name = f"sd({block.group}, {block.terms[0]})"
    told = float(known.counts[inside].sum())
    one_sided = not inside.any() and (known.high.all() or not known.high.any())
    if one_sided and intercept.flat:
        what = (
            "count is zero" if design.family == "poisson" else f"trial is a {'success' if known.high[0] else 'failure'}"
        )
        raise PriorError(
            f"The posterior is improper: every {what}, and the prior Flat() does not keep (Intercept) from infinity. "
            "Give it a proper prior, such as Normal(0, 5)."
        )
    tail = tail_power(of_tau) + told - intercept.flat
    if tail <= 1:
        needed = 2 + intercept.flat
        what = "counts" if design.family == "poisson" else "both successes and failures"
        raise PriorError(
            f"The posterior is improper: under the prior {of_tau}, the {told:.0f} levels of {block.group} with {what} "
            f"do not keep {name} from infinity. Use a proper prior, such as HalfNormal or HalfCauchy, or at least "
            f"{needed} such levels."
        )
    if intercept.flat:
        return Tails(tail, tail)
    df = (
        {"Cauchy": 1.0, "StudentT": intercept.prior.values[0]}.get(intercept.prior.kind, inf)
        if intercept.prior
        else inf
    )
    return Tails(tail, df + 1 if one_sided else df + tail)


def axis_of(known: GroupLikelihoods, of_tau: Prior, tail: float) -> Axis:
    """The coordinate of tau, with the limits between which its density is looked for."""
    inside = known.inside
    e = known.edge
    scale = float(np.sqrt(1 / np.median(-known.slopes(e)[1][inside]))) if inside.any() else 1.0
    own = [v for k, v in zip(KINDS[of_tau.kind], of_tau.values, strict=True) if k in ("sd", "high")]
    own += [1 / v for k, v in zip(KINDS[of_tau.kind], of_tau.values, strict=True) if k == "rate"]
    power = Tails.moments(tail)
    high = asinh(FAR * max(float(np.ptp(e)) + scale, *own, 0.0) / scale) + (DEPTH + 10) / max(tail - 1 - power, 0.05)
    axis = Axis(of_tau, scale, of_tau.kind == "Gamma", power, (0.0, min(high, 300.0)))
    if axis.logarithmic:
        low = log(scale) - (DEPTH + 10) / min(of_tau.values[0], 1.0)
        axis = Axis(of_tau, scale, True, power, (low, log(scale) + min(high, 300.0)))
    return within_support(axis)

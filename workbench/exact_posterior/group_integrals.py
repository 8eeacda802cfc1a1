"""One group's effect integrated, given the intercept b and the standard deviation tau:

    I_j(b, tau) = int exp L_j(a) N(a; b, tau^2) da

with the mean and variance of a, for many groups at many (b, tau) at once. The rule is adapted to every integrand as the
adaptive Gauss-Hermite rule is (Liu & Pierce 1994, doi:10.1093/biomet/81.3.624): about its mode, which Newton's method
finds, and as far as it is more than exp(-DROP) of its largest value. But the nodes are equidistant in

    v = asinh((a - e_j) / c_j)

about the place e_j where L_j bends: the trapezoid rule, which for analytic functions that fade at both ends converges
geometrically (Trefethen & Weideman 2014, doi:10.1137/130932132), whether these are close to normal or not. Where a
group has successes only and tau is 30, they are not, and a hundred Gauss-Hermite nodes give three digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DesignError
from workbench.exact_posterior.group_likelihoods import DROP, GroupLikelihoods

Array = NDArray[np.float64]

STEP = 0.11
"""Distance of nodes in v; log I_j is then off by about 1e-12."""
FEWEST = 24
"""Nodes of an integrand that is narrow."""
NEAR = 0.05
"""How close to the mode is close enough to lay nodes about it, in units of the integrand's width."""
CLOSE = 0.05
"""How close to where the integrand has fallen is close enough, in units of the distance to the mode."""
STRAIGHT = 1e-6
"""By how much L_j may change over tau for its Taylor series to do, which is off by about the square."""
TINY = 1e-300
AT_ONCE = 1 << 16
"""Entries of the largest arrays."""


@dataclass(frozen=True, eq=False)
class Integrals:
    """At N nodes (b, tau), all of shape (U, N).

    Attributes
    ----------
    log : array
        log I_j.
    mean, variance : array
        Of u = a - b.
    low, high : array
        Between which u lies, but for exp(-DROP).
    response : array, shape (T, N), or None
        Means of the mean responses of all terms, where asked for.
    """

    log: Array
    mean: Array
    variance: Array
    low: Array
    high: Array
    response: Array | None


def integrals(
    known: GroupLikelihoods, b: Array, tau: Array, step: float = STEP, fewest: int = FEWEST, responses: bool = False
) -> Integrals:
    """Integrate all groups at all nodes (b, tau), both of shape (N,).

    Parameters
    ----------
    known : GroupLikelihoods
    b, tau : array, shape (N,)
    step : float
        Distance of nodes in v.
    fewest : int
        Nodes of an integrand, at least.
    responses : bool
        Whether means of mean responses are wanted.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"dead": [0, 1, 1, 1], "herd": ["a", "a", "b", "b"]}
    >>> known = GroupLikelihoods.of(build_design("dead ~ 1 + (1 | herd)", table, "binomial"))
    >>> found = integrals(known, np.array([0.0]), np.array([1e-4]))       # nearly p (1 - p) and p^2 at p = 1/2
    >>> np.exp(found.log).round(6).ravel().tolist()
    [0.25, 0.25]
    """
    order = np.argsort(tau, kind="stable")
    U, N = len(known), len(tau)
    made = [np.empty((U, N)) for _ in range(5)]
    response = np.empty((len(known.shift), N)) if responses else None
    size = max(1, AT_ONCE // (len(known.shift) * 2 * FEWEST))
    for begin in range(0, N, size):
        here = order[begin : begin + size]
        parts = _at(known, b[here], tau[here], step, fewest, responses)
        for whole, part in zip(made, parts, strict=False):
            whole[:, here] = part
        if response is not None:
            response[:, here] = parts[-1]
    value, mean, variance, low, high = made
    return Integrals(value, mean, variance, low, high, response)


def modes(known: GroupLikelihoods, b: Array, tau: Array) -> tuple[Array, Array]:
    """About where exp L_j(a) N(a; b, tau^2) is largest, and how wide it is there, shapes (U, N).

    The slope vanishes between any place e and b + tau^2 L_j'(e), since it falls; so Newton's method is held.
    """
    e, tau2 = known.edge[:, None], tau**2
    slope, bend = known.slopes(e)
    target = b + tau2 * slope
    low, high = np.minimum(e, target), np.maximum(e, target)
    inside = known.inside[:, None]
    # as if normal about the edge; or where a slope that fades as exp(-a) meets that of N(a; b, tau^2)
    met = e + np.sign(slope) * np.log1p(tau2 * np.abs(slope) / (1 + np.abs(e - b)))
    fading = np.where(slope > 0, np.maximum(b, met), np.minimum(b, met))
    a = np.clip(np.where(inside, (b - e * bend * tau2) / (1 - bend * tau2), fading), low, high)
    for _ in range(100):
        first, second = known.slopes(a)
        gradient, curve = first - (a - b) / tau2, second - 1 / tau2
        low, high = np.where(gradient > 0, a, low), np.where(gradient > 0, high, a)
        width = 1 / np.sqrt(-curve)
        step = a - gradient / curve
        following = np.where((step >= low) & (step <= high), step, (low + high) / 2)
        settled = np.abs(following - a) <= NEAR * width
        a = following
        if settled.all():
            break
    return a, width


def _at(known: GroupLikelihoods, b: Array, tau: Array, step: float, fewest: int, responses: bool) -> list[Array]:
    """The fields of :class:`Integrals`, of some nodes."""
    mode, _ = modes(known, b, tau)
    e, c = known.edge[:, None], known.stretch[:, None]
    left, right = (part[:, None] for part in known.reach)
    top = _integrand(known, mode, b, tau)
    low = _end(known, b, tau, mode, top, np.maximum(mode - tau * sqrt(2 * DROP), np.minimum(e, b) - left))
    high = _end(known, b, tau, mode, top, np.minimum(mode + tau * sqrt(2 * DROP), np.maximum(e, b) + right))
    begin, end = np.arcsinh((low - e) / c), np.arcsinh((high - e) / c)
    if not np.isfinite(end - begin).all():
        raise no_way()
    count = max(fewest, int(np.ceil(((end - begin) * np.sqrt(c)).max() / step)))
    v = begin[..., None] + (end - begin)[..., None] * np.linspace(0.0, 1.0, count)
    a = np.sinh(v)
    weight = np.sqrt(1 + a * a)
    a *= c[..., None]
    a += e[..., None]
    weight *= np.exp(_integrand(known, a, b[:, None], tau[:, None]) - top[..., None])
    sums = weight.sum(axis=2)
    value = top + np.log(np.maximum(sums * c * (end - begin) / (count - 1), TINY)) - np.log(tau) - 0.5 * log(2 * pi)
    weight /= np.maximum(sums, TINY)[..., None]
    away = a - mode[..., None]
    mean = np.einsum("unq,unq->un", weight, away)
    variance = np.einsum("unq,unq->un", weight, (away - mean[..., None]) ** 2)
    found = [value, mode - b + mean, variance, low - b, high - b]
    far = np.broadcast_to(tau * sqrt(2 * DROP), value.shape)
    straight = np.maximum(np.abs(known.slopes(b - far)[0]), np.abs(known.slopes(b + far)[0])) * tau < STRAIGHT
    if straight.any():  # Taylor's series, since nodes so close together are not told apart from b
        at, tau2 = np.broadcast_to(b, value.shape), tau**2
        first, second = known.slopes(at)
        near = known.log(at) + 0.5 * tau2 * (first**2 + second)
        for place, series in enumerate((near, tau2 * first, tau2 * (1 + tau2 * second), -far, far)):
            found[place] = np.where(straight, series, found[place])
    if responses:
        by_term, plain = (weight, straight) if known.single else (weight[known.group], straight[known.group])
        means = np.einsum("tnq,tnq->tn", by_term, known.means(a))
        found.append(np.where(plain, known.means(np.broadcast_to(b, value.shape)), means))
    return found


def no_way() -> DesignError:
    """What is raised where numbers overflow before the density ends."""
    return DesignError(
        "This posterior reaches so far out that exact cannot follow it: its numbers overflow. Give the intercept and "
        "the spread between groups priors with shorter tails, such as Normal and HalfNormal, check offsets, or use "
        "hierarchical, which samples."
    )


def _integrand(known: GroupLikelihoods, a: Array, b: Array, tau: Array) -> Array:
    """L_j(a) - (a - b)^2 / (2 tau^2)."""
    return known.log(a) - 0.5 * ((a - b) / tau) ** 2


def _end(known: GroupLikelihoods, b: Array, tau: Array, mode: Array, top: Array, a: Array) -> Array:
    """Where the integrand has fallen by DROP, from farther out: Newton's method on a concave function stays outside."""
    for _ in range(40):
        first, _ = known.slopes(a)
        missing = _integrand(known, a, b, tau) - top + DROP
        slope = first - (a - b) / tau**2
        with np.errstate(divide="ignore", invalid="ignore"):
            nearer = a - missing / slope
        far = np.abs(a - mode)
        better = (missing < 0) & (np.abs(nearer - mode) < far)
        settled = (np.abs(nearer - a) <= CLOSE * far) | ~better
        a = np.where(better, nearer, a)
        if settled.all():
            break
    return a

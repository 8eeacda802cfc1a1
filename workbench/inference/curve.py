"""Following a profile deviance outwards from its minimum: zeta, its points, and where it reaches a quantile.

zeta(w) = sign(w - w_hat) sqrt(F(w) - F_min) is the signed root of the deviance difference, after Bates & Watts (1988,
doi:10.1002/9780470316757), as in lme4's ``profile``. Where the deviance is quadratic, zeta is a straight line. Steps
are measured in zeta, through d zeta / d w = F'(w) / (2 zeta), which costs next to nothing: at the minimum over the
others, F' is a partial derivative. The end point of an interval solves zeta(w) = +- z by Newton's method within a
bracket, so that it does not depend on the steps.

Each search starts where the last one ended, which follows one minimum over the others even where another has become
lower. So every side is gone over again: at its outer end from several starts, and from there inwards, each search from
where the one further out ended. What comes out lower replaces what was found on the way out. The profile is then
continuous, with a kink where one minimum takes over from another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workbench.inference.held import SAME, Held, Point

Array = NDArray[np.float64]

STEP = 0.4
"""The next point is aimed so far on, in zeta."""
LONGEST = 1.0
"""A step of more than this is halved."""
POINTS = 80
CLOSE = 1e-9
"""An end point is found when zeta is so close to its quantile."""
ROUNDS = 5
"""So often a side is gone over again and then followed further."""
KINK = 1e-3
"""The point at which the curve meets a cap is found so nearly, in zeta."""
NEARBY = 0.003
"""Curvature at the minimum is taken from two points that lie about this far off in zeta."""


@dataclass(frozen=True, eq=False)
class Traced:
    """One parameter's profile, in its smooth coordinate.

    Attributes
    ----------
    points : tuple of Point
        In ascending order, the minimum among them.
    zeta : array, shape (len(points),)
    ends : pair of float
        Where zeta is -z and z; the limit of the parameter where it never is.
    reached : pair of bool
    curvature : float
        (d zeta / d w)^2 at the minimum: half the second derivative of the deviance. NaN where the minimum lies on a
        limit.
    lower : float
        By how much some point's deviance lies below that of the ML optimum; 0 where none does.
    """

    points: tuple[Point, ...]
    zeta: Array
    ends: tuple[float, float]
    reached: tuple[bool, bool]
    curvature: float
    lower: float


@dataclass(frozen=True, eq=False)
class _Side:
    """What was found on one side of the minimum, from it outwards."""

    points: list[Point]
    zeta: list[float]
    end: float
    reached: bool


def trace(held: Held, deviance: float, z: float, far: float, done: Callable[[str], None]) -> Traced:
    """Follow a profile to both sides.

    Parameters
    ----------
    held : Held
    deviance : float
        At the ML optimum.
    z : float
        The quantile that ends the interval.
    far : float
        How far the curve is wanted, in zeta; at least z.
    done : callable
        Called with the parameter's name after each side.
    """
    low, high = held.limits
    minimum = Point(held.best, deviance, 0.0, held.start, certified=True, interior=deviance)
    inside = low < minimum.place < high
    curvature = _curvature(held, minimum)
    sides = []
    for direction, limit in ((-1, low), (1, high)):
        if minimum.place == limit:
            sides.append(_Side([], [], limit, reached=False))
        else:
            sides.append(_follow(held, minimum, direction, limit, (z, max(z, far)), curvature))
        done(held.parameter.name)
    below, above = sides
    points = [*below.points[::-1], minimum, *above.points]
    return Traced(
        points=tuple(points),
        zeta=np.array([*(-v for v in below.zeta[::-1]), 0.0, *above.zeta]),
        ends=(below.end, above.end),
        reached=(below.reached, above.reached),
        curvature=curvature if inside else np.nan,
        lower=max(minimum.deviance - min(p.deviance for p in points), 0.0),
    )


def _follow(
    held: Held, minimum: Point, direction: int, limit: float, targets: tuple[float, float], curvature: float
) -> _Side:
    """Go one way until zeta is far enough or the limit is reached, then find where it is z."""
    z, far = targets
    points = [minimum]
    rate = np.sqrt(curvature) if curvature > 1e-8 * _unit(held) ** -2 else 5 / _unit(held)
    for _ in range(ROUNDS):
        points = _outwards(held, points, direction, limit, far, rate)
        lower = _inwards(held, points)
        if lower is None:
            break
        points = lower
    points = _with_kinks(held, points)
    zeta = [_root(point, minimum) for point in points]
    k = next((k for k, root in enumerate(zeta) if root >= z), None)
    if k is None:
        return _Side(points[1:], zeta[1:], limit, reached=False)
    end = _end(held, minimum, z, points[k - 1], points[k])
    points.insert(k, end)
    zeta.insert(k, z)
    return _Side(points[1:], zeta[1:], end.place, reached=True)


def _outwards(held: Held, points: list[Point], direction: int, limit: float, far: float, rate: float) -> list[Point]:
    """Go on from the last of the points, the first of which is the minimum; `rate` is d zeta / d w there, at first."""
    minimum, points = points[0], points.copy()
    root = _root(points[-1], minimum)
    while root < far and points[-1].place != limit and len(points) < POINTS:
        here = points[-1]
        rate = max(abs(here.slope) / (2 * root), 1e-12) if root else rate
        length = STEP / rate
        if len(points) > 1:
            length = min(length, 4 * abs(here.place - points[-2].place))
        point, root = _step(held, minimum, here, root, direction * length, limit)
        points.append(point)
    return points


def _inwards(held: Held, points: list[Point]) -> list[Point] | None:
    """The points with other minima in place of those that are higher; None where there are none.

    The minimum, which comes first, stays.
    """
    improved, found = points.copy(), False
    for k in range(len(points) - 1, 0, -1):
        old = points[k]
        starts = held.starts if k == len(points) - 1 else (improved[k + 1].others,)
        new = held.at(old.place, *starts)
        if new.interior < old.interior - SAME * max(1.0, abs(old.interior)):
            improved[k], found = new, True
    return improved if found else None


def _with_kinks(held: Held, points: list[Point]) -> list[Point]:
    """The points, and those where the curve meets the cap of a correlation's profile or leaves it."""
    found = points[:1]
    for inner, outer in pairwise(points):
        below, capped = sorted((inner, outer), key=lambda point: point.interior > point.deviance)
        top, crossed = _root(capped, points[0]), below.interior == below.deviance < capped.deviance < capped.interior
        if crossed and top - _root(below, points[0]) > KINK:
            found.append(_end(held, points[0], top - KINK / 2, below, capped, KINK / 4))
        found.append(outer)
    return found


def _step(held: Held, minimum: Point, here: Point, zeta: float, step: float, limit: float) -> tuple[Point, float]:
    """The next point and its zeta; the step is halved while it goes too far, and stops at the limit."""
    for halving in range(20):
        place = here.place + step * 0.5**halving
        if (place - limit) * step >= 0:
            place = limit
        point = held.at(place, here.others)
        root = _root(point, minimum)
        if root - zeta <= LONGEST:
            break
    return point, root


def _end(held: Held, minimum: Point, z: float, inner: Point, outer: Point, close: float = CLOSE) -> Point:
    """Solve zeta = z between two points by Newton's method, by bisection where that would leave them."""
    point = outer
    for _ in range(60):
        root = _root(point, minimum)
        if abs(root - z) <= close:
            break
        inner, outer = (point, outer) if root < z else (inner, point)
        rate = point.slope / (2 * root) if root else 0.0
        place = point.place + (z - root) / rate if rate else np.inf
        low, high = sorted((inner.place, outer.place))
        if not low < place < high:
            place = (low + high) / 2
        if place in (low, high):
            break
        point = held.at(place, inner.others, outer.others)
    return point


def _curvature(held: Held, minimum: Point) -> float:
    """(d zeta / d w)^2 at the minimum, by a central difference of F'; F is even about a limit."""
    length = NEARBY * _unit(held)
    for _ in range(6):
        ahead, behind = (held.at(minimum.place + h, minimum.others) for h in (length, -length))
        found = (ahead.slope - behind.slope) / (4 * length)
        far = np.sqrt(max(found, 0.0)) * length
        if far <= 5 * NEARBY:
            break
        length *= NEARBY / far
    return float(found)


def _unit(held: Held) -> float:
    """A first guess of the distance over which zeta grows by 1."""
    match held.parameter.kind:
        case "sigma":
            return float((2 * held.data.n) ** -0.5)
        case "sd":
            return float(0.1 * max(held.theta.values[held.pinned[0]], 0.1) * held.reach)
        case "cor":
            return 0.3
    return held.std_error()


def _root(point: Point, minimum: Point) -> float:
    return float(np.sqrt(max(point.deviance - minimum.deviance, 0.0)))

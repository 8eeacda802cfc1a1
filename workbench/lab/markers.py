"""Outlines of the markers by matplotlib's names, so that an estimator looks the same in the lab and in reports."""

from __future__ import annotations

import math

CORNERS = {
    "s": (4, math.pi / 4), "D": (4, 0.0), "d": (4, 0.0), "^": (3, 0.0), "v": (3, math.pi), "<": (3, -math.pi / 2),
    ">": (3, math.pi / 2), "p": (5, 0.0), "h": (6, 0.0), "H": (6, math.pi / 6),
}  # fmt: skip
"""Corners of a regular polygon, and how far it is turned from one that points up."""


def marker(shape: str, x: float, y: float, size: float) -> str:
    """The path of a marker about a point, `size` from its middle to its rim.

    Examples
    --------
    >>> marker("+", 10.0, 20.0, 5.0)
    'M5 20h10M10 15v10'
    >>> marker("D", 0.0, 0.0, 5.0)
    'M0 -5L5 0L0 5L-5 0Z'
    """
    if shape in ("+", "P"):
        return f"M{_at(x - size)} {_at(y)}h{_at(2 * size)}M{_at(x)} {_at(y - size)}v{_at(2 * size)}"
    if shape in ("x", "X", "1", "*"):
        s = size * 0.75
        return (
            f"M{_at(x - s)} {_at(y - s)}L{_at(x + s)} {_at(y + s)}M{_at(x - s)} {_at(y + s)}L{_at(x + s)} {_at(y - s)}"
        )
    if shape in CORNERS:
        count, turn = CORNERS[shape]
        corners = [turn + 2 * math.pi * k / count for k in range(count)]
        narrow = 0.6 if shape == "d" else 1.0
        points = [f"{_at(x + narrow * size * math.sin(a))} {_at(y - size * math.cos(a))}" for a in corners]
        return "M" + "L".join(points) + "Z"
    r = round(size * 0.9, 1)
    return f"M{_at(x - r)} {_at(y)}a{_at(r)} {_at(r)} 0 1 0 {_at(2 * r)} 0a{_at(r)} {_at(r)} 0 1 0 {_at(-2 * r)} 0Z"


def _at(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")

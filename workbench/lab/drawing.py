"""Pictures of the lab as plain data, and as SVG.

A drag of a slider is answered by a new picture, so that it has to be made in a millisecond or two, by a server that ten
students share: matplotlib, which draws the pictures of reports, takes fifty times as long. SVG needs nothing on the
way: text stays text, colours follow the page's light or dark, and screen readers find a title and a description.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from workbench.lab.markers import marker
from workbench.words import minus

Array = NDArray[np.float64]

WIDTH = 720.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 30.0, 44.0
LEGEND_ROW, LEGEND_MARK, LETTER = 20.0, 50.0, 7.6
TICKS = 6
"""About so many ticks on an axis."""


@dataclass(frozen=True)
class Dots:
    """Markers at points; `names` are shown where a pointer rests on them."""

    x: Array
    y: Array
    colour: str
    shape: str = "o"
    filled: bool = True
    size: float = 5.0
    label: str = ""
    names: tuple[str, ...] = ()
    faint: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points; NaN breaks it."""

    x: Array
    y: Array
    colour: str
    width: float = 1.8
    dash: str = ""
    label: str = ""


@dataclass(frozen=True)
class Segments:
    """A piece of line from each first point to its second, with a head if they are arrows."""

    x: Array
    y: Array
    to_x: Array
    to_y: Array
    colour: str
    width: float = 1.4
    arrows: bool = False
    dash: str = ""
    label: str = ""


@dataclass(frozen=True)
class Area:
    """What lies between two lines."""

    x: Array
    low: Array
    high: Array
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Rule:
    """A line across the whole panel: `across` at a height, else upright at a place."""

    at: float
    colour: str
    across: bool = False
    dash: str = ""
    label: str = ""
    width: float = 1.6


@dataclass(frozen=True)
class Words:
    """A few words at a point; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    colour: str = ""


Mark = Dots | Line | Segments | Area | Rule | Words


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    marks : tuple of Mark
        In the order in which they are drawn.
    x, y : (float, float)
        What the axes show.
    x_label, y_label, title : str
    x_ticks, y_ticks : tuple of (float, str), optional
        Places with words, in place of numbers.
    height : float
        In units of a page that is 720 wide.
    left : float
        Room for the words of the upright axis.
    share : float
        Of the width, relative to the others of its row.
    """

    marks: tuple[Mark, ...]
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    x_ticks: tuple[tuple[float, str], ...] | None = None
    y_ticks: tuple[tuple[float, str], ...] | None = None
    height: float = 300.0
    left: float = LEFT
    share: float = 1.0


@dataclass(frozen=True)
class Drawing:
    """Panels under one another, in rows; `alt` says what is to be seen, with its numbers."""

    key: str
    title: str
    alt: str
    rows: tuple[tuple[Panel, ...], ...]

    def svg(self) -> Markup:
        """The picture as SVG: as wide as the page lets it, named by its title, described by `alt`."""
        parts: list[str] = []
        top = 0.0
        for row in self.rows:
            room, whole = WIDTH - RIGHT * (len(row) - 1), sum(panel.share for panel in row)
            widths = [room * panel.share / whole for panel in row]
            tall = max(_whole_height(panel, width) for panel, width in zip(row, widths, strict=True))
            left = 0.0
            for panel, width in zip(row, widths, strict=True):
                parts.append(_panel(panel, left, top, width, f"{self.key}-{len(parts)}"))
                left += width + RIGHT
            top += tall
        return Markup(
            f'<svg id="drawing-{escape(self.key)}" viewBox="0 0 {WIDTH:g} {_round(top)}" role="img" '
            f'aria-label="{escape(self.title)}. {escape(self.alt)}"><title>{escape(self.title)}</title>'
            f"{''.join(parts)}</svg>"
        )


def limits(*parts: ArrayLike, room: float = 0.06) -> tuple[float, float]:
    """Ends of an axis that shows all finite values.

    Examples
    --------
    >>> limits([0.0, 10.0], [float("nan")], room=0.1)
    (-1.0, 11.0)
    """
    every = np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts] or [np.zeros(1)])
    known = every[np.isfinite(every)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = (high - low) or abs(high) or 1.0
    return low - room * span, high + room * span


def ticks(low: float, high: float, about: int = TICKS) -> list[float]:
    """Round numbers between two ends.

    Examples
    --------
    >>> ticks(-0.3, 10.4), ticks(0.0, 0.013, 4)
    ([0.0, 2.5, 5.0, 7.5, 10.0], [0.0, 0.005, 0.01])
    """
    rough = (high - low) / max(about - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


# --- drawing ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """Where a panel's inside lies on the page, and which numbers it shows."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: ArrayLike) -> Any:
        low, high = self.x
        return self.left + (np.asarray(x, dtype=float) - low) / (high - low) * self.width

    def down(self, y: ArrayLike) -> Any:
        low, high = self.y
        return self.top + (high - np.asarray(y, dtype=float)) / (high - low) * self.height


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _legend(panel: Panel, width: float) -> list[list[Mark]]:
    """Labelled marks in rows that fit."""
    rows: list[list[Mark]] = [[]]
    used = 0.0
    for mark in panel.marks:
        label = getattr(mark, "label", "")
        if not label:
            continue
        need = LEGEND_MARK + LETTER * len(label)
        if rows[-1] and used + need > width:
            rows.append([])
            used = 0.0
        rows[-1].append(mark)
        used += need
    return rows if rows[0] else []


def _whole_height(panel: Panel, width: float) -> float:
    return panel.height + len(_legend(panel, width - panel.left)) * LEGEND_ROW + 6


def _panel(panel: Panel, left: float, top: float, width: float, key: str) -> str:
    frame = _Frame(
        left + panel.left, top + TOP, width - panel.left - RIGHT, panel.height - TOP - BOTTOM, panel.x, panel.y
    )  # fmt: skip
    inside = "".join(_mark(mark, frame) for mark in panel.marks)
    corner = f'x="{_round(frame.left)}" y="{_round(frame.top)}"'
    size = f'width="{_round(frame.width)}" height="{_round(frame.height)}"'
    return (
        f'<g class="panel"><clipPath id="clip-{escape(key)}"><rect {corner} {size}/></clipPath>'
        f"{_axes(panel, frame)}"
        f'<g clip-path="url(#clip-{escape(key)})">{inside}</g>{_legend_marks(panel, frame, top + panel.height, width)}'
        "</g>"
    )


def _axes(panel: Panel, frame: _Frame) -> str:
    bottom, right = frame.top + frame.height, frame.left + frame.width
    parts = []
    across = [(at, _number(at)) for at in ticks(*panel.x)] if panel.x_ticks is None else panel.x_ticks
    up = [(at, _number(at)) for at in ticks(*panel.y, about=5)] if panel.y_ticks is None else panel.y_ticks
    for at, text in across:
        x = _round(float(frame.across(at)))
        parts.append(f'<text x="{x}" y="{_round(bottom + 17)}" text-anchor="middle">{escape(text)}</text>')
    for at, text in up:
        y = float(frame.down(at))
        parts.append(f'<path class="grid" d="M{_round(frame.left)} {_round(y)}H{_round(right)}"/>')
        parts.append(
            f'<text x="{_round(frame.left - 7)}" y="{_round(y + 4)}" text-anchor="end">{escape(text)}</text>'
        )  # fmt: skip
    parts.append(f'<path class="axis" d="M{_round(frame.left)} {_round(frame.top)}V{_round(bottom)}H{_round(right)}"/>')
    if panel.x_label:
        middle = _round(frame.left + frame.width / 2)
        parts.append(
            f'<text class="label" x="{middle}" y="{_round(bottom + 36)}" text-anchor="middle">'
            f"{escape(panel.x_label)}</text>"
        )
    if panel.title or panel.y_label:
        words = panel.title or panel.y_label
        parts.append(
            f'<text class="label" x="{_round(frame.left - panel.left + 4)}" y="{_round(frame.top - 12)}">'
            f"{escape(words)}</text>"
        )
    return "".join(parts)


def _number(value: float) -> str:
    return minus(f"{value:,.10g}")


def _colour(colour: str) -> str:
    """A colour, or one of the page's own: ``ink``, ``muted``."""
    return f"var(--{colour})" if colour.isalpha() else colour


def _stroke(mark: Line | Segments | Rule) -> str:
    dash = f' stroke-dasharray="{mark.dash}"' if mark.dash else ""
    return f'fill="none" stroke="{_colour(mark.colour)}" stroke-width="{mark.width:g}"{dash}'


def _mark(mark: Mark, frame: _Frame) -> str:
    if isinstance(mark, Dots):
        return _dots(mark, frame.across(mark.x), frame.down(mark.y))
    if isinstance(mark, Line):
        return f'<path d="{_way(frame.across(mark.x), frame.down(mark.y))}" {_stroke(mark)}/>'
    if isinstance(mark, Segments):
        return _segments(mark, frame)
    if isinstance(mark, Area):
        x = np.concatenate([mark.x, mark.x[::-1]])
        y = np.concatenate([mark.low, mark.high[::-1]])
        return f'<path class="area" d="{_way(frame.across(x), frame.down(y))}Z" fill="{_colour(mark.colour)}"/>'
    if isinstance(mark, Rule):
        if mark.across:
            way = f"M{_round(frame.left)} {_round(float(frame.down(mark.at)))}h{_round(frame.width)}"
        else:
            way = f"M{_round(float(frame.across(mark.at)))} {_round(frame.top)}v{_round(frame.height)}"
        return f'<path d="{way}" {_stroke(mark)}/>'
    left, top = _round(float(frame.across(mark.x))), _round(float(frame.down(mark.y)))
    fill = f' fill="{_colour(mark.colour)}"' if mark.colour else ""
    return f'<text x="{left}" y="{top}" text-anchor="{mark.anchor}"{fill}>{escape(mark.text)}</text>'


def _way(x: Array, y: Array) -> str:
    parts, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(a) and math.isfinite(b):
            parts.append(f"{pen}{_round(a)} {_round(b)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _segments(mark: Segments, frame: _Frame) -> str:
    x, y, to_x, to_y = (
        np.asarray(part, dtype=float)
        for part in (frame.across(mark.x), frame.down(mark.y), frame.across(mark.to_x), frame.down(mark.to_y))
    )
    way = []
    for a, b, c, d in zip(x.tolist(), y.tolist(), to_x.tolist(), to_y.tolist(), strict=True):
        if not all(map(math.isfinite, (a, b, c, d))):
            continue
        way.append(f"M{_round(a)} {_round(b)}L{_round(c)} {_round(d)}")
        length = math.hypot(c - a, d - b)
        if mark.arrows and length > 4:
            head = min(7.0, length / 2)
            for turn in (0.42, -0.42):
                angle = math.atan2(b - d, a - c) + turn
                way.append(
                    f"M{_round(c)} {_round(d)}l{_round(head * math.cos(angle))} {_round(head * math.sin(angle))}"
                )
    return f'<path d="{"".join(way)}" {_stroke(mark)}/>'


def _dots(mark: Dots, x: Array, y: Array) -> str:
    paint = f'fill="{_colour(mark.colour)}"' if mark.filled else 'fill="var(--paper)"'
    stroke = f'stroke="{_colour(mark.colour)}" stroke-width="{1.6 if mark.filled else 1.8}"'
    parts = []
    for k, (a, b) in enumerate(zip(np.atleast_1d(x).tolist(), np.atleast_1d(y).tolist(), strict=True)):
        if math.isfinite(a) and math.isfinite(b):
            name = f"<title>{escape(mark.names[k])}</title>" if mark.names else ""
            parts.append(f'<path d="{marker(mark.shape, a, b, mark.size)}">{name}</path>')
    faint = ' opacity="0.35"' if mark.faint else ""
    return f"<g {paint} {stroke}{faint}>{''.join(parts)}</g>"


def _legend_marks(panel: Panel, frame: _Frame, top: float, width: float) -> str:
    parts = []
    for r, row in enumerate(_legend(panel, width - panel.left)):
        x, y = frame.left, top + LEGEND_ROW * (r + 0.5)
        for mark in row:
            at = np.array([x + 11])
            if isinstance(mark, Dots):
                parts.append(_dots(mark, at, np.array([y])).replace(' opacity="0.35"', ""))
            elif isinstance(mark, Area):
                parts.append(
                    f'<path class="area" d="M{_round(x)} {_round(y - 5)}h22v10h-22Z" fill="{_colour(mark.colour)}"/>'
                )
            elif isinstance(mark, Line | Segments | Rule):
                parts.append(f'<path d="M{_round(x)} {_round(y)}h22" {_stroke(mark)}/>')
            label = getattr(mark, "label", "")
            parts.append(f'<text x="{_round(x + 28)}" y="{_round(y + 4)}">{escape(label)}</text>')
            x += LEGEND_MARK + LETTER * len(label)
    return "".join(parts)

"""Bitmaps of few colours: they look the same, at a third of the size.

The usual ways to choose a palette split the colours of a picture into boxes and take each box's mean, which shifts the
few full colours of a plot: two estimators' dots may end alike. Here colours of many dots are kept as they are, and
those between (the edges of letters and lines) take the nearest one that is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

SOLID = 25
"""A colour of so many dots must stay itself, however small its share of the picture: it may be the only mark of it."""
FLAT = 0.005
"""A colour of so large a share of the dots fills an area, and is kept as it is: others beside it may differ little."""
MOST = 256
"""A palette has at most so many colours."""


class Faithful(NamedTuple):
    """How far a bitmap's colours may move, in steps of 0 to 255.

    The distance of two colours is that of the farthest channel, or of the farthest difference between two channels:
    a pale line has little colour, which is that difference, and would end grey without it.

    Attributes
    ----------
    solid : int
        A colour of :data:`SOLID` dots is off by no more; those of areas are not off at all.
    seen : int
        A colour that is off by more is another one.
    others : float
        So small a share of the dots may have another colour.
    """

    solid: int
    seen: int
    others: float


def to_palette(png: Path, faithful: Faithful, dots: float) -> None:
    """Rewrite a bitmap, of so many dots per inch, with as few colours as make it look the same."""
    from PIL import Image

    with Image.open(png) as opened:
        full = opened.convert("RGB")
    few_colours(full, faithful).save(png, optimize=True, dpi=(dots, dots))


def few_colours(full: Image.Image, faithful: Faithful) -> Image.Image:
    """The same picture with a palette: colours of many dots first, then what leaves the most to be seen.

    Examples
    --------
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (20, 20), "#0072B2")
    >>> picture.paste("#009E73", (0, 0, 20, 5))
    >>> picture.putpixel((0, 0), (0, 150, 120))
    >>> few = few_colours(picture, Faithful(solid=8, seen=16, others=1e-3))
    >>> few.getcolors(), few.getpalette()[:6]
    ([(300, 0), (100, 1)], [0, 114, 178, 0, 158, 115])
    """
    from PIL import Image

    colours = np.asarray(full, dtype=np.int32).reshape(-1, 3)
    names, which, dots = np.unique((colours << (16, 8, 0)).sum(axis=1), return_inverse=True, return_counts=True)
    distinct = np.stack([names >> 16, names >> 8 & 255, names & 255], axis=1)
    told_by = np.hstack([distinct, distinct - np.roll(distinct, 1, axis=1)])
    allowed = np.select([dots >= FLAT * len(which), dots >= SOLID], [0, faithful.solid], 512)
    away, nearest = np.full(len(names), 512), np.zeros(len(names), dtype=np.uint8)
    palette: list[int] = []
    while len(palette) < MOST:
        lost, other = away > allowed, away > faithful.seen
        if lost.any():
            chosen = int(np.argmax(np.where(lost, dots, 0)))
        elif other.any() and dots[other].sum() >= faithful.others * len(which):
            chosen = int(np.argmax(np.where(other, dots * away, 0)))
        else:
            break
        distance = np.abs(told_by - told_by[chosen]).max(axis=1)
        closer = distance < away
        away[closer], nearest[closer] = distance[closer], len(palette)
        palette.append(chosen)
    few = Image.fromarray(nearest[which].reshape(full.height, full.width), "P")
    few.putpalette(distinct[palette].astype(np.uint8).tobytes())
    return few


def as_webp(png: Path) -> bytes:
    """A bitmap in a format that browsers read and that is a fifth smaller, without loss."""
    from io import BytesIO

    from PIL import Image

    with Image.open(png) as opened:
        made = BytesIO()
        opened.convert("RGB").save(made, "WEBP", lossless=True, quality=80, method=4)
    return made.getvalue()

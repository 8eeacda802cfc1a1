"""Titles and labels in lines that their picture has room for, however long the names of columns are."""

from __future__ import annotations

from functools import cache
from re import findall
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def folded(text: str, inches: float, size: float, bold: bool = False, lines: int = 2) -> str:
    """A text in lines no longer than so many inches, measured in its font, and about as long as each other.

    Lines break between words, or after an underscore; a word that is longer than a line breaks anywhere. What does not
    fit into so many lines is cut, and ends in an ellipsis. A text that has lines of its own keeps them.

    Examples
    --------
    >>> folded("mean of Yield", 3.0, 11.0)
    'mean of Yield'
    >>> print(folded("intercept of share of incidence (logit scale)", 3.0, 11.0))
    intercept of share of
    incidence (logit scale)
    >>> print(folded("systolic_blood_pressure_at_rest_in_mmHg", 1.6, 11.0))
    systolic_blood_
    pressure_at_rest_…
    """
    if "\n" in text or _inches(text, size, bold) <= inches:
        return text
    letters = max(int(len(text) * inches / _inches(text, size, bold)), 4)
    while letters > 4 and max(_inches(line, size, bold) for line in _filled(text, letters)) > inches:
        letters -= 1  # some letters are wider than they are on average
    made = _filled(text, letters)
    if len(made) > lines:
        last = f"{made[lines - 1][: letters - 1]}…"
        closed = "`" * (sum(line.count("`") for line in (*made[: lines - 1], last)) % 2)
        return "\n".join([*made[: lines - 1], last + closed])
    while len(shorter := _filled(text, letters - 1)) == len(made):
        letters, made = letters - 1, shorter
    return "\n".join(made)


def _filled(text: str, letters: int) -> list[str]:
    """Lines of so many letters at most, each as full as it can be."""
    made = [""]
    for piece in findall(r"\s+|[^\s_]+_*|_+", text):
        if len((made[-1] + piece).rstrip()) <= letters:
            made[-1] += piece
            continue
        rest = piece.strip()
        made += [rest[k : k + letters] for k in range(0, len(rest), letters)]
    return [line.strip() for line in made if line.strip()]


def room(ax: Axes, beside: float = 0.9) -> tuple[float, float]:
    """Inches that texts along the axes' width and height may take, before the figure has arranged itself.

    Names to the left of the axes take `beside` inches of the width. Axes that nobody arranges keep their size.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    wide, tall = figure.get_figwidth(), figure.get_figheight()
    box = ax.get_position()
    if figure.get_layout_engine() is None:
        return wide * (1 - box.x0), tall * box.height
    pars = figure.subplotpars
    return wide * box.width / (pars.right - pars.left) - beside, 0.7 * tall * box.height  # legends and names take some


def _inches(text: str, size: float, bold: bool) -> float:
    return size / 72 * sum(_advance(letter, bold) for letter in text)


@cache
def _advance(letter: str, bold: bool) -> float:
    """How far a letter moves what follows it, in sizes of the font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=100, weight="bold" if bold else "normal")
    wide = text_to_path.get_text_width_height_descent
    return float(wide(f"x{letter}x", font, ismath=False)[0] - wide("xx", font, ismath=False)[0]) / 100

"""What lessons show: words, pictures and tables, the same in a notebook and on a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from workbench.lab.drawing import Drawing
from workbench.lab.render import TEMPLATES
from workbench.lessons import lesson
from workbench.words import significant

if TYPE_CHECKING:
    import pandas as pd


STYLE = Path(__file__).parent / "templates" / "told.css"


@dataclass(frozen=True)
class Told:
    """Something to be seen, as HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def _mime_(self) -> tuple[str, str]:
        return "text/html", self.html


def say(text: str) -> Told:
    """Markdown as HTML; what it holds as HTML is shown as text.

    Examples
    --------
    >>> say("It is *wider*: 2 < 3.").html
    '<div class="told"><p>It is <em>wider</em>: 2 &lt; 3.</p>\\n</div>'
    """
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table").render(_flush(text))
    return Told(f'<div class="told">{made}</div>')


def _flush(text: str) -> str:
    """Text without the indentation of the code that it stands in."""
    import inspect

    return inspect.cleandoc(text)


def opening(number: int) -> Told:
    """Title, length and goals of a lesson, and how its drawings look."""
    style = "".join(path.read_text("utf-8") for path in (TEMPLATES / "drawing.css", STYLE))
    found = lesson(number)
    goals = "".join(f"<li>{escape(goal)}</li>" for goal in found.goals)
    low, high = found.minutes
    return Told(
        f'<style>{style}</style><header class="opening"><h1>{found.number}. {escape(found.title)}</h1>'
        f"<p>{low} to {high} minutes. Afterwards you can</p><ul>{goals}</ul></header>"
    )


def picture(drawing: Drawing) -> Told:
    """A drawing with its title."""
    return Told(f"<figure><figcaption>{escape(drawing.title)}</figcaption>{drawing.svg()}</figure>")


def plotted(axes: Any, alt: str) -> Told:
    """A picture by matplotlib, `alt` what is to be seen in it."""
    import base64
    from io import BytesIO

    import numpy as np

    first = np.ravel(np.asarray(axes, dtype=object))[0]
    made = BytesIO()
    first.get_figure(root=True).savefig(made, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    data = base64.b64encode(made.getvalue()).decode()
    return Told(f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>')


def numbers(table: pd.DataFrame, caption: str, digits: int = 4) -> Told:
    """A dataframe as a table, numbers to so many significant digits.

    Examples
    --------
    >>> import pandas as pd
    >>> "<td>0.333</td>" in numbers(pd.DataFrame({"share": [1 / 3]}), "Shares", digits=3).html
    True
    """
    heads = "".join(f"<th scope='col'>{escape(str(name))}</th>" for name in table.columns)
    body = []
    for row in table.itertuples(index=False):
        cells = "".join(f"<td>{_cell(value, digits)}</td>" for value in row)
        body.append(f"<tr>{cells}</tr>")
    return Told(
        f"<table class='numbers'><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _cell(value: Any, digits: int) -> Markup:
    if isinstance(value, float):
        return escape(significant(value, digits))
    return escape(str(value))

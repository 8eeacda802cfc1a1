"""Pages as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from markupsafe import Markup

from workbench.errors import WorkbenchError
from workbench.lab.controls import texts, values
from workbench.lab.page import Page

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
CARRIED = "data"
"""What goes along from page to page: the chosen table."""


def whole(page: Page, pages: tuple[Page, ...], query: Mapping[str, str], root: str = "") -> str:
    """The page with its controls, and what they show."""
    controls = page.controls(query)
    carried = f"?{urlencode({CARRIED: query[CARRIED]})}" if query.get(CARRIED) else ""
    return _environment().get_template("page.html.j2").render(
        page=page, pages=pages, controls=controls, texts=texts(controls, query), shown=Markup(part(page, query)),
        root=root, carried=carried,
    )  # fmt: skip


def part(page: Page, query: Mapping[str, str]) -> str:
    """What the controls show; where their values cannot be, a sentence that says why."""
    template = _environment().get_template("shown.html.j2")
    try:
        shown = page.show(values(page.controls(query), query))
    except WorkbenchError as error:
        return template.render(trouble=str(error), shown=None)
    return template.render(trouble="", shown=shown)


def index(pages: tuple[Page, ...], root: str = "") -> str:
    """The first page: what there is."""
    return _environment().get_template("index.html.j2").render(pages=pages, root=root)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )

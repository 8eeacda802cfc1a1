"""Pages as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from markupsafe import Markup

from workbench.errors import WorkbenchError
from workbench.lab.controls import Choice, texts, values
from workbench.lab.page import Page

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
CARRIED = "data"
"""What goes along from page to page: the chosen table."""


def whole(page: Page, pages: tuple[Page, ...], query: Mapping[str, str], root: str = "") -> str:
    """The page with its controls, and what they show."""
    try:
        controls = page.controls(query)
    except WorkbenchError:  # which `part` says; the controls are those of the start
        controls, query = page.controls({}), {name: text for name, text in query.items() if name == CARRIED}
    carried = {other.key: _carried(other, query.get(CARRIED, "")) for other in pages}
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


def _carried(page: Page, table: str) -> str:
    """What goes along to a page: the table, where that page offers it."""
    offered = [c for c in page.controls({}) if c.name == CARRIED and isinstance(c, Choice)] if table else []
    return f"?{urlencode({CARRIED: table})}" if any(table in dict(c.options) for c in offered) else ""


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )

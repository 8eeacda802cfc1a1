"""Pages as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup

from workbench.errors import OptionError, WorkbenchError
from workbench.lab.controls import Choice, texts, values
from workbench.lab.datasets import NAME
from workbench.lab.glossary import words_of
from workbench.lab.page import Page, Tell

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def whole(page: Page, pages: tuple[Page, ...], query: Mapping[str, str], root: str = "", trouble: str = "") -> str:
    """The page with its controls, and what they show; `trouble` is what was wrong with a table that was brought."""
    shown = part(page, query)
    try:
        controls = page.controls(query)
    except WorkbenchError:  # which the part shown says
        query = {name: text for name, text in query.items() if name == NAME}
        controls = page.controls({})
    carried = {other.key: _carried(other, query.get(NAME, "")) for other in pages}
    return _environment().get_template("page.html.j2").render(
        page=page, pages=pages, controls=controls, texts=texts(controls, query), shown=Markup(shown),
        root=root, carried=carried, trouble=trouble, words=words_of(f"{page.question} {' '.join(page.text)} {shown}"),
    )  # fmt: skip


def part(page: Page, query: Mapping[str, str]) -> str:
    """What the controls show; where their values cannot be, a sentence that says why."""
    template = _environment().get_template("shown.html.j2")
    try:
        shown = page.show(values(page.controls(query), query))
    except WorkbenchError as error:
        return template.render(trouble=str(error), shown=None)
    return template.render(trouble="", shown=shown)


def taken(page: Page, query: Mapping[str, str]) -> Any:
    """What a page's work needs, for the values of an address.

    Raises
    ------
    WorkbenchError
        Values that cannot be; a page without work.
    """
    if page.work is None:
        raise OptionError(f"There is nothing to compute on the page {page.title}.")
    return page.work.take(values(page.controls(query), query))


def worked(page: Page, given: Any, tell: Tell) -> str:
    """What a page's work finds, as HTML."""
    assert page.work is not None
    shown = page.work.do(given, tell)
    return _environment().get_template("shown.html.j2").render(trouble="", shown=shown)


def index(pages: tuple[Page, ...], root: str = "") -> str:
    """The first page: what there is."""
    return _environment().get_template("index.html.j2").render(pages=pages, root=root)


def _carried(page: Page, table: str) -> str:
    """What goes along to a page: the table, where that page offers it."""
    if not table:
        return ""
    try:
        if page.like is not None:
            return f"?{urlencode(same)}" if (same := page.like(table)) else ""
        offered = [c for c in page.controls({NAME: table}) if c.name == NAME and isinstance(c, Choice)]
    except WorkbenchError:
        return ""
    return f"?{urlencode({NAME: table})}" if any(table in dict(c.options) for c in offered) else ""


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )

"""Page and pictures -> HTML and Markdown text, through the templates beside this file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.plots.palette import as_webp
from workbench.report.equations import as_html, as_text
from workbench.report.markdown import escape_markdown, notes_html, notes_markdown
from workbench.report.view import Page

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST = 2_900_000
"""The page has at most so many bytes; pictures that do not fit stay files of their own."""
VECTOR = 320_000
"""A drawing larger than this, or than its bitmap, stands in the page as a bitmap."""


@dataclass(frozen=True)
class Shot:
    """A picture that was drawn: its titles and texts, and where its files lie; `svg` is None where none is wanted."""

    stem: str
    title: str
    caption: str
    alt: str
    warnings: tuple[str, ...]
    png: Path
    svg: Path | None


def html(page: Page, shots: list[Shot]) -> str:
    """The page, self-contained: styles, script and pictures inside."""
    template = _environment(True).get_template("index.html.j2")
    parts: dict[str, Any] = {"page": page, "notes": notes_html(page.notes), "math": as_html, "contents": page.contents}
    bare = template.render(shots=[(shot, "") for shot in shots], **parts)
    return template.render(shots=_inlined(shots, LARGEST - len(bare.encode())), **parts)


def readme(page: Page, shots: list[Shot]) -> str:
    """The README, with relative links to the pictures; it holds no wall time."""
    template = _environment(False).get_template("README.md.j2")
    notes = notes_markdown(page.notes)
    return template.render(page=page, shots=shots, notes=notes, math=as_text, md=escape_markdown)


def _environment(escaped: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("workbench.report"),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _inlined(shots: list[Shot], left: int) -> list[tuple[Shot, str]]:
    """Each picture with its data URI; empty where the page would get too large."""
    made = []
    for shot in shots:
        if shot.svg is not None and shot.svg.stat().st_size <= min(VECTOR, shot.png.stat().st_size):
            content, kind = shot.svg.read_bytes(), "svg+xml"
        else:
            content, kind = as_webp(shot.png), "webp"
        code = base64.b64encode(content).decode()
        fits = len(code) <= left
        left -= len(code) if fits else 0
        made.append((shot, f"data:image/{kind};base64,{code}" if fits else ""))
    return made

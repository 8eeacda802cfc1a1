"""A study's notes: Markdown for the README, HTML for the page. Raw HTML in them stays text; "
"pictures are not loaded."""

from __future__ import annotations

import re

from markupsafe import Markup

DEEPER = 2
"""Headings in the notes stand so many levels below those of the report."""


def notes_html(source: str) -> Markup:
    """Render notes; headings go down two levels."""
    if not source.strip():
        return Markup("")
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(source)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + DEEPER)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def notes_markdown(source: str) -> str:
    """The notes with their headings two levels down, outside code fences.

    Examples
    --------
    >>> notes_markdown("# Title\\n```\\n# code\\n```")
    '### Title\\n```\\n# code\\n```'
    """
    fenced, lines = False, []
    for line in source.strip().splitlines():
        if re.match(r"\s{0,3}(```|~~~)", line):
            fenced = not fenced
        heading = None if fenced else re.match(r"(#{1,6})(\s.*)", line)
        lines.append("#" * min(6, len(heading[1]) + DEEPER) + heading[2] if heading else line)
    return "\n".join(lines)


def escape_markdown(text: str) -> str:
    """Text that a Markdown reader shows as it is, also inside a table.

    Examples
    --------
    >>> escape_markdown("a|b <script> *c*")
    'a\\\\|b &lt;script&gt; \\\\*c\\\\*'
    """
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", flat)

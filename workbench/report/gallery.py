"""The page that shows all reports of a folder: a thumbnail, what it is about, and one finding of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.report.manifest import NAME, listed_files
from workbench.words import count, join

GALLERY = "README.md"
MARK = "<!-- written by workbench run: the reports of this folder -->"
"""The first line: what does not begin with it is not ours, and never overwritten."""
THUMBNAILS = ("shrinkage", "shrunken", "path", "samples")
"""The first of these pictures that a report has stands for it."""
WIDTH = 340
"""Of a thumbnail, in pixels."""


@dataclass(frozen=True)
class Entry:
    """One report as the gallery shows it."""

    folder: str
    title: str
    question: str
    facts: str
    finding: str
    figures: str
    picture: str


def is_gallery(path: Path) -> bool:
    """Whether a file is a gallery of ours."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n") == MARK


def entries(out: Path) -> list[Entry]:
    """The reports in a folder, by name."""
    manifests = sorted(path for path in out.glob(f"*/{NAME}") if listed_files(path) is not None)
    return [_entry(path.parent.name, json.loads(path.read_text(encoding="utf-8"))) for path in manifests]


def write_gallery(out: Path) -> Path:
    """Write the gallery of a folder of reports; the same bytes for the same reports."""
    found = entries(out)
    lines = [
        MARK,
        "# Gallery",
        "",
        f"{count(len(found), 'report')}, each made by `workbench run NAME`: a page that opens offline, its pictures, "
        "and tables with all digits. The sentence beside each picture is computed from that study's numbers.",
        "",
        "<table>",
    ]
    for entry in found:
        lines += _row(entry)
    lines += ["</table>", ""]
    path = out / GALLERY
    path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
    return path


def _row(entry: Entry) -> list[str]:
    """A row of the table, as HTML that Markdown readers show."""
    words = {name: _html(getattr(entry, name)) for name in ("title", "question", "facts", "finding", "figures")}
    image = f'<img src="{entry.folder}/{entry.picture}" width="{WIDTH}" alt="">'
    picture = f'<a href="{entry.folder}/README.md">{image}</a>'
    return [
        "<tr>",
        f'<td width="{WIDTH + 10}">{picture if entry.picture else ""}</td>',
        f'<td><strong><a href="{entry.folder}/README.md">{words["title"]}</a></strong><br>',
        f"<em>{words['question']}</em><br>" if entry.question else "",
        f"{words['facts']}<br>",
        f"<p>{words['finding']}</p>" if entry.finding else "",
        f'{words["figures"]} <a href="{entry.folder}/index.html">page</a></td>',
        "</tr>",
    ]


def _html(text: str) -> str:
    from markupsafe import escape

    return str(escape(" ".join(text.split())))


def _entry(folder: str, made: Mapping[str, Any]) -> Entry:
    study = made.get("study") or {}
    groups = join([f"{levels:,} levels of {group}" for group, levels in made["groups"].items()])
    rows = count(made["rows"]["kept"], "row")
    kept, all_of = sum(figure["holds"] for figure in made["published_figures"]), len(made["published_figures"])
    pictures = [name for name in made["files"] if name.endswith(".png")]
    chosen = next((name for stem in THUMBNAILS for name in pictures if name.startswith(f"plots/{stem}")), "")
    findings = made.get("findings") or [""]
    return Entry(
        folder=folder,
        title=made["title"] or made["formula"],
        question=study.get("question", ""),
        facts=f"{made['formula']} ({made['family']}): {rows}, {groups}. {len(made['fits'])} estimators.",
        finding=first_sentence(findings[0]),
        figures=f"{kept} of {all_of} reference figures reached." if all_of else "",
        picture=chosen,
    )


def first_sentence(text: str) -> str:
    """Text up to the first full stop that ends a sentence.

    Examples
    --------
    >>> first_sentence("REML puts it at 0.5. Full Bayes does not.")
    'REML puts it at 0.5.'
    """
    return re.split(r"(?<=[\w)%]\.)\s+(?=[A-Z])", text, maxsplit=1)[0]

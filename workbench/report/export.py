"""One table of a comparison to one file, for a paper: LaTeX, Word, HTML, Markdown, CSV, by the file's suffix.

Numbers are rounded as in the report; CSV files hold all digits. Which kind each error is stands in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import OptionError, nearest
from workbench.fit import tidy_table
from workbench.report import estimate_tables, model_table, page_tables
from workbench.report.cells import Cell, Table
from workbench.report.docx import docx
from workbench.report.latex import latex
from workbench.report.markdown import escape_markdown
from workbench.report.notebook import STYLE, table_html
from workbench.report.score_tables import scoreboards
from workbench.words import MISSING, middle_cut

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

WHOLE, EXTREMES = 1_000, 50
"""Up to so many levels stand in a table; of more so many of the lowest and of the highest (a CSV holds all)."""


def _some(make: Callable[[Comparison], Table | None]) -> Callable[[Comparison], tuple[Table, ...]]:
    return lambda comparison: tuple(table for table in (make(comparison),) if table is not None)


def _for_paper(note: str) -> str:
    """A note without where the intervals are: a paper's reader has no such file."""
    return re.sub(r"; interval in (comparison\.estimates|the CSV|the Parquet file): [^;]*\.$", ".", note)


def _in_full(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """A row with whole names: a paper's reader has nothing else to tell its rows by."""
    return tuple(replace(cell, text=middle_cut(cell.whole, len(cell.whole))) if cell.whole else cell for cell in row)


TABLES: dict[str, Callable[[Comparison], tuple[Table, ...]]] = {
    "models": _some(model_table.models),
    "wide": lambda c: estimate_tables.by_estimator(c, WHOLE, EXTREMES, "comparison.estimates"),
    "fixed": _some(lambda c: estimate_tables.fixed(c, WHOLE, "comparison.estimates")),
    "variance": _some(page_tables.variance),
    "agreement": _some(page_tables.agreement),
    "scoreboard": lambda c: scoreboards(c) or (model_table.widths(c),),
    "parameters": _some(page_tables.parameters),
    "priors": _some(page_tables.priors),
    "trust": _some(page_tables.trust),
}
"""What can be exported: the estimators side by side as papers print them, and the tables of the report."""

FRAMES: dict[str, Callable[[Comparison], pd.DataFrame]] = {
    "wide": lambda c: c.wide(),
    "fixed": lambda c: tidy_table(c.fits.values(), ("fixed",)),
    "variance": attrgetter("variance"),
    "agreement": attrgetter("agreement"),
    "scoreboard": attrgetter("scoreboard"),
    "parameters": attrgetter("parameters"),
    "trust": attrgetter("timings"),
}
"""The tables behind them, with all digits, for CSV files."""


def export(comparison: Comparison, path: str | Path, table: str = "models") -> Path:
    """Write one table of a comparison to a file, whole or not at all.

    Parameters
    ----------
    comparison : Comparison
    path : str or Path
        Ends in ``.tex``, ``.docx``, ``.html``, ``.md`` or ``.csv``.
    table : str
        One of `TABLES`.

    Returns
    -------
    Path

    Raises
    ------
    OptionError
        Another suffix or table, a folder that is not there, or a table that this comparison does not have.
    """
    place = check_export(path, table)
    made = tuple(
        replace(
            each,
            rows=tuple(map(_in_full, each.rows)),
            notes=(*map(_for_paper, each.notes), *filter(None, [each.sentence])),
        )
        for each in TABLES[table](comparison)
    )
    if not made:
        raise OptionError(f"This comparison has no table {table!r}: {_why(table)}")
    kind = place.suffix.lower()
    content = _csv(comparison, table, made) if kind == ".csv" else FORMATS[kind](made)
    part = place.with_name(f".{place.name}.part")
    try:
        part.write_bytes(content)
        part.replace(place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OptionError(f"{place} cannot be written ({error.strerror}). Name another place.") from None
    return place


def check_export(path: str | Path, table: str = "models") -> Path:
    """The path, if a table of this name can go there; refuses before anything long runs."""
    place = Path(path)
    if table not in TABLES:
        raise OptionError(f"There is no table {table!r} to export. {nearest(str(table), TABLES)}")
    if place.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f"{str(path)!r} ends in {place.suffix!r}, but a table is written as one of {', '.join(SUFFIXES)}. Name "
            "the file so."
        )
    if not place.parent.is_dir():
        raise OptionError(f"There is no folder {str(place.parent)!r} to write {place.name} to. Make it first.")
    if place.is_dir():
        raise OptionError(f"{str(path)!r} is a folder, but a table is a file. Name another place.")
    return place


def read_export(text: str) -> tuple[str, str]:
    """Table and file of ``FILE`` or ``TABLE=FILE``.

    Examples
    --------
    >>> read_export("table.tex"), read_export("wide=a.docx"), read_export("a=b.md")
    (('models', 'table.tex'), ('wide', 'a.docx'), ('a', 'b.md'))
    """
    name, equals, file = text.partition("=")
    return (name.strip(), file.strip()) if equals else ("models", text)


# --- formats ------------------------------------------------------------------------------------------


def _html(tables: tuple[Table, ...]) -> bytes:
    title, body = escape(tables[0].title), "".join(map(table_html, tables))
    page = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>'
    return f'{page}<div class="workbench">{STYLE}{body}</div></body></html>\n'.encode()


def _markdown(tables: tuple[Table, ...]) -> bytes:
    return "\n".join(map(_markdown_table, tables)).encode()


def _markdown_table(table: Table) -> str:
    def line(cells: tuple[Cell, ...]) -> str:
        words = [escape_markdown(" ".join(filter(None, (cell.text, cell.minor)))) for cell in cells]
        return f"| {' | '.join([*words, *[''] * (len(table.columns) - len(words))])} |"

    heads = f"| {' | '.join(escape_markdown(column.title) for column in table.columns)} |"
    rule = f"|{'|'.join('---:' if column.numeric else '---' for column in table.columns)}|"
    notes = [f"\n{escape_markdown(note)}" for note in table.notes]
    return "\n".join(
        [f"**{escape_markdown(table.title)}**\n", heads, rule, *map(line, (*table.rows, *table.foot)), *notes, ""]
    )


def _csv(comparison: Comparison, table: str, made: tuple[Table, ...]) -> bytes:
    """The numbers behind a table with all their digits; of a table without a frame, its cells."""
    import pandas as pd

    if table in FRAMES:
        frame = FRAMES[table](comparison)
    else:
        heads = [column.title or "term" for column in made[0].columns]
        frame = pd.DataFrame(
            [[_whole(cell) for cell in row] for row in _labelled(made[0])],
            columns=heads, dtype=object,
        )  # fmt: skip
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _whole(cell: Cell) -> float | str:
    """A cell's number with all digits, or its words; what is missing is empty."""
    return cell.sort if cell.sort != "" else "" if cell.text == MISSING else cell.text


def _labelled(table: Table) -> list[tuple[Cell, ...]]:
    """Rows, each with a name of its own: an error's is that of the row above it."""
    rows: list[tuple[Cell, ...]] = []
    for row in table.rows:
        name = row[0] if row[0].text or not rows else Cell(f"error of {rows[-1][0].text}")
        rows.append((name, *row[1:]))
    return rows


FORMATS: dict[str, Callable[[tuple[Table, ...]], bytes]] = {
    ".tex": lambda tables: latex(tables).encode(),
    ".docx": docx,
    ".html": _html,
    ".md": _markdown,
}
SUFFIXES = (*FORMATS, ".csv")


def _why(table: str) -> str:
    known = {
        "fixed": "the formula has no population coefficients.",
        "agreement": "it holds one estimator, and agreement is between two.",
        "parameters": "no estimator here is Bayesian.",
        "priors": "no estimator here has priors.",
    }
    return known.get(table, "there is nothing in it.")

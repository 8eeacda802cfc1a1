"""What all printing to a terminal is made of: lines, numbers, tables as narrow as the terminal.

Nothing printed is read as markup. Colour is used sparingly and never alone; rich leaves it out where ``NO_COLOR`` is
set or the output is no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from workbench.report.fit_tables import LEVELS
from workbench.words import MISSING, fixed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

__all__ = ["LEVELS", "headline", "in_portions", "plain", "plain_number", "print_table", "say", "standard_output"]

GAP = 2
"""Blanks between two columns."""


def standard_output() -> Console:
    """Where things are printed unless another console is given."""
    from rich.console import Console

    return Console(highlight=False)


def like_standard_output(file: TextIO) -> Console:
    """A console that writes to a file what standard output would show: its width, and colours if it has any."""
    from rich.console import Console

    shown = standard_output()
    return Console(file=file, width=shown.width, force_terminal=shown.is_terminal, highlight=False)


def say(out: Console, text: str, style: str = "") -> None:
    """Print text as it is: nothing in it is markup."""
    out.print(
        text,
        style=style or None,
        markup=False,
        highlight=False,
        soft_wrap=not out.is_terminal and out.width < 40,
    )


def headline(out: Console, text: str) -> None:
    """Print an empty line and a title."""
    out.print()
    say(out, text, "bold")


def plain(text: str) -> str:
    """Terminals get the keyboard's minus, so that numbers can be copied."""
    return text.replace("−", "-")


def plain_number(value: float, places: int) -> str:
    """A number with so many decimals, to be copied."""
    return plain(fixed(value, places))


def print_table(
    out: Console,
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: int,
    fold: bool = False,
) -> None:
    """Print a table whose first `names` columns are words; long words are cut, numbers never."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    if title:
        out.print()
    limits = _name_widths(out.width, heads, rows, names)
    table: RichTable = RichTable(
        box=box.SIMPLE_HEAD, title=Text(title, style="bold") if title else None, title_justify="left",
        padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for k, head in enumerate(heads):
        word = k < names
        table.add_column(
            Text(head),
            justify="left" if word else "right",
            overflow="fold" if fold else "ellipsis",
            no_wrap=not fold and word,
            max_width=limits[k] if word else None,
            min_width=None if word else max((len(row[k]) for row in rows if k < len(row)), default=1),
        )
    for row in rows:
        table.add_row(*(Text(cell, style="dim" if cell == MISSING else "") for cell in row))
    out.print(table)


def _name_widths(width: int, heads: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> list[int]:
    """How wide the columns of words may be, so that the numbers beside them keep their room."""

    def longest(k: int, head: str) -> int:
        return max([len(head), *(len(row[k]) for row in rows if k < len(row))])

    numbers = sum(longest(k, max(heads[k].split(), key=len)) + GAP for k in range(names, len(heads)))
    wanted = [longest(k, heads[k]) for k in range(names)]
    while sum(wanted) + GAP * names + numbers > width + GAP and max(wanted) > 8:
        wanted[wanted.index(max(wanted))] -= 1
    return wanted


def in_portions(fits: Sequence[str], room: int, width: int) -> list[list[str]]:
    """Estimators in portions that fit beside the level's name."""
    each = max(1, room // width)
    return [list(fits[k : k + each]) for k in range(0, len(fits), each)]

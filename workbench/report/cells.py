"""A table for people as plain data: headings, cells, footnotes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.words import fixed as with_places
from workbench.words import significant


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by, a smaller remark (a standard error), and the whole text where it is cut."""

    text: str
    sort: float | str = ""
    minor: str = ""
    whole: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading, whether it holds numbers, and which of its words stand smaller below."""

    title: str
    numeric: bool = True
    minor: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes
    ----------
    key : str
        Short and unique on the page.
    title : str
    columns : tuple of Column
    rows : tuple of tuple of Cell
        A row of one cell says how many rows were left out.
    foot : tuple of tuple of Cell
    notes : tuple of str
        Footnotes: which kind each number is.
    source : str
        The file that holds it with all digits.
    sentence : str
        What the table says, to stand under it.
    sortable : bool
        Whether its rows may be put in another order.
    search : str
        What a reader may search it for, "Subject"; empty where there is nothing to search.
    levels : int
        How many rows it would have if none were left out, where some were.
    packed : str
        All rows, for the page (:mod:`workbench.report.packed`); empty where all are shown or they would not fit.
    aside : tuple of str
        Footnotes that hold where only the shown rows can be seen: on paper, or without a script.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    sentence: str = ""
    sortable: bool = True
    search: str = ""
    levels: int = 0
    packed: str = ""
    aside: tuple[str, ...] = ()


def number(value: float | None, places: int | None = None) -> Cell:
    """A cell with a number, to so many decimals or to four significant digits."""
    known = value is not None and np.isfinite(value)
    text = significant(value) if places is None else with_places(value, places)
    return Cell(text, float(value) if known and value is not None else "")


def text(value: str, whole: str = "") -> Cell:
    """A cell with words; `whole` are all of them, where `value` may be cut."""
    return Cell(value, value, whole="" if whole == value else whole)

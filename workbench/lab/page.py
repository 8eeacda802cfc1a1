"""A page of the lab as plain data: what it asks, and what it shows for the answers.

A page is written in Python alone: controls in, :class:`Shown` out. Rendering adds nothing but markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.lab.controls import Control
from workbench.lab.drawing import Drawing

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Numbers:
    """A small table. Cells are text; `rows` are (key, cells), and the key is where tests and scripts find a row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A link that sets controls: "set them to REML's"."""

    label: str
    change: Mapping[str, str]


@dataclass(frozen=True)
class Card:
    """A part of a page with a heading of its own: something claimed, say, with its check.

    Attributes
    ----------
    key : str
        Where tests and scripts find it.
    title : str
    text : tuple of str
        Paragraphs.
    steps : tuple of Step
    verdict : str
        In a few words; empty before there is one.
    says, drawings, numbers
        As of :class:`Shown`.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    verdict: str = ""
    says: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    numbers: tuple[Numbers, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What a page shows for its values.

    Attributes
    ----------
    says : tuple of str
        Sentences, computed from the numbers.
    drawings : tuple of Drawing
    numbers : tuple of Numbers
    steps : tuple of Step
    warnings : tuple of str
        What must be known before the numbers are trusted.
    cards : tuple of Card
        Below everything else.
    """

    says: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    numbers: tuple[Numbers, ...] = ()
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()


Tell = Callable[[str, float | None], None]
"""Is told what is being done, and the share that is done, where it is known."""


@dataclass(frozen=True)
class Work:
    """What takes longer than a drag may, on a button.

    Attributes
    ----------
    label : str
        The button's.
    note : str
        What it does, and how long it takes.
    take : function of the controls' values
        What the work needs, which must be able to go to another process; called where the tables are.
    do : function of that, and of whom to tell progress
        Called in a process of its own.
    """

    label: str
    note: str
    take: Callable[[Values], Any]
    do: Callable[[Any, Tell], Shown]


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    key : str
        In the address.
    title, question : str
    text : tuple of str
        Paragraphs above the controls.
    controls : function of the address' query
        What can be asked; it may depend on what is chosen already (another dataset has other ranges).
    show : function of the controls' values
    settle : function of the address' query, optional
        A shorter query that says the same, which the browser is sent to; None where it is settled.
    brings : bool
        Whether a table can be brought here.
    work : Work, optional
    like : function of a table's key, optional
        Of a page that draws samples of its own: what a link to it says, so that they are drawn as the table's are.
    """

    key: str
    title: str
    question: str
    text: tuple[str, ...]
    controls: Callable[[Mapping[str, str]], tuple[Control, ...]]
    show: Callable[[Values], Shown]
    settle: Callable[[Mapping[str, str]], Mapping[str, str] | None] | None = None
    brings: bool = False
    work: Work | None = None
    like: Callable[[str], Mapping[str, str]] | None = None

"""Lessons as pages of their own, for a course site: run once, everything inside, nothing asked of any network.

Guesses are typed, recorded and compared on the page itself, by a script of one screen. The answer key is what the
cells computed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from workbench.errors import OptionError
from workbench.lab.render import TEMPLATES as DRAWING
from workbench.lessons import LESSONS, Lesson
from workbench.lessons.asking import Later, Question, Revealed, question_of, shown
from workbench.lessons.telling import Told, say
from workbench.report.versions import versions

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Part:
    """One cell's output: HTML, a question, or an answer."""

    html: str = ""
    question: Question | None = None
    revealed: Revealed | None = None
    later: Later | None = None


@dataclass(frozen=True)
class Ran:
    """A lesson that was run from start to end."""

    lesson: Lesson
    parts: tuple[Part, ...]

    @property
    def answers(self) -> tuple[Revealed, ...]:
        """What was computed, in the order of the questions."""
        return tuple(part.revealed for part in self.parts if part.revealed is not None)


def ran(lesson: Lesson) -> Ran:
    """Run a lesson.

    Raises
    ------
    OptionError
        A question without an answer, or asked twice.

    Examples
    --------
    >>> from workbench.lessons import lesson
    >>> [found.answer for found in ran(lesson(1)).answers][0]
    13.5
    """
    notebook = importlib.import_module(f"workbench.lessons.{lesson.key}")
    outputs, _ = notebook.app.run()
    parts = tuple(part for output in outputs if (part := _part(output)) is not None)
    asked = [part.question.key for part in parts if part.question]
    answered = [part.revealed.question.key for part in parts if part.revealed]
    if asked != answered or len(set(asked)) < len(asked):
        raise OptionError(f"Lesson {lesson.number} asks {asked}, but answers {answered}.")
    return Ran(lesson, parts)


def _part(shown: Any) -> Part | None:
    question = question_of(shown)
    if question is not None:
        return Part(question=question)
    if isinstance(shown, Revealed):
        return Part(revealed=shown)
    if isinstance(shown, Later):
        return Part(later=shown)
    return Part(html=shown.html) if isinstance(shown, Told) else None


def page(found: Ran) -> str:
    """A lesson as one file of HTML."""
    return _environment().get_template("lesson.html.j2").render(
        lesson=found.lesson, parts=found.parts, lessons=LESSONS, versions=versions()
    )  # fmt: skip


def key(found: Sequence[Ran]) -> str:
    """The answers of lessons, for who teaches them."""
    return _environment().get_template("answers.html.j2").render(found=found, versions=versions(), colours=_colours())


def _colours() -> str:
    return (DRAWING / "drawing.css").read_text("utf-8")


def instructors() -> str:
    """The page for who teaches."""
    text = (Path(__file__).parent / "instructors.md").read_text("utf-8")
    return _environment().get_template("instructors.html.j2").render(text=say(text).html, colours=_colours())


def export(lessons: Sequence[Lesson], folder: Path, answers: bool = False) -> list[Path]:
    """Write lessons to a folder, ``KEY.html`` each; with `answers` the key and the page for who teaches, too.

    Raises
    ------
    OptionError
        The folder cannot be written to.
    """
    done = [ran(lesson) for lesson in lessons]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for found in done:
            path = folder / f"{found.lesson.key}.html"
            path.write_text(page(found), encoding="utf-8")
            written.append(path)
        if answers:
            written.append(folder / "answers.html")
            written[-1].write_text(key(done), encoding="utf-8")
            written.append(folder / "instructors.html")
            written[-1].write_text(instructors(), encoding="utf-8")
    except OSError as error:
        raise OptionError(f"Lessons cannot be written to {folder}: {error.strerror}. Name another folder.") from None
    return written


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"safe_html": Markup, "answer": shown}
    return made

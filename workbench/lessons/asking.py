"""Predict, then reveal: questions whose answers are computed, and never shown before a guess.

In a notebook or an app a question is a form of marimo's, and the cell after it reveals the answer once a guess is
there. On an exported page the same question is a form of the page's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from workbench.errors import OptionError
from workbench.lessons.telling import Told, say
from workbench.words import significant


@dataclass(frozen=True)
class Question:
    """A question, and what may be answered: a number, or one of some options.

    Attributes
    ----------
    key : str
        Unique in its lesson.
    words : str
    low, high, step : float
        Of a number.
    options : tuple of str
        Of a choice; empty for a number.
    """

    key: str
    words: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revealed(Told):
    """An answer beside the guess; without a guess, what is to be done first.

    Attributes
    ----------
    question : Question
    answer : float or str
    near : float
        A guess this near counts as right.
    because : str
        HTML: why it is so.
    """

    question: Question
    answer: float | str
    near: float
    because: str


@dataclass(frozen=True)
class Later(Told):
    """What would give an answer away: empty before the guess.

    Attributes
    ----------
    question : Question
    then : str
        HTML: what is shown after it.
    """

    question: Question
    then: str


def later(form: Any, *told: Told) -> Later:
    """Show something only once a question has been answered."""
    then = "".join(part.html for part in told)
    return Later("" if form.value is None else then, form.question, then)


def guess(key: str, words: str, low: float, high: float, step: float) -> Any:
    """Ask for a number; the value is None until it is submitted.

    Returns
    -------
    marimo.ui.form
        To be shown by its cell; its ``value`` is the guess.
    """
    import marimo as mo

    if not low < high:
        raise OptionError(f"The question {key!r} runs from {low:g} to {high:g}; the second must be the larger.")
    field = mo.ui.number(low, high, step, label=words)
    return _known(field.form(submit_button_label="That is my guess"), Question(key, words, low, high, step))


def choose(key: str, words: str, options: Sequence[str]) -> Any:
    """Ask for one of some options; the value is None until it is submitted."""
    import marimo as mo

    field = mo.ui.radio(list(options), label=words)
    return _known(field.form(submit_button_label="That is my guess"), Question(key, words, options=tuple(options)))


def _known(form: Any, question: Question) -> Any:
    form.question = question
    return form


def question_of(shown: Any) -> Question | None:
    """The question that a cell shows, if it shows one."""
    found = getattr(shown, "question", None)
    return found if isinstance(found, Question) and not isinstance(shown, Told) else None


def reveal(form: Any, answer: float | str, because: str, near: float = 0.0) -> Revealed:
    """The computed answer beside the guess, once there is one.

    Parameters
    ----------
    form
        Of :func:`guess` or :func:`choose`.
    answer : float or str
        Computed.
    because : str
        Markdown: why it is so.
    near : float
        A guess this near counts as right.

    Raises
    ------
    OptionError
        The answer is none that could be given.
    """
    question: Question = form.question
    if question.options:
        if answer not in question.options:
            raise OptionError(f"The answer {answer!r} is none of the options of {question.key!r}.")
    elif not question.low <= float(answer) <= question.high:
        raise OptionError(f"The answer {answer} lies outside of what {question.key!r} can be answered.")
    why, said = say(because).html, form.value
    if said is None:
        html = '<p class="wait">Guess first; the answer comes when you submit.</p>'
    else:
        html = f'<div class="revealed" data-question="{escape(question.key)}">{verdict(answer, said, near)}{why}</div>'
    return Revealed(html, question, answer, near, why)


def verdict(answer: float | str, said: Any, near: float) -> str:
    """A sentence on a guess.

    Examples
    --------
    >>> verdict(3.0, 2.5, 0.6)
    '<p><strong>You said 2.5; computed: 3.000.</strong> That is near enough.</p>'
    >>> verdict("yes", "no", 0)
    '<p><strong>You said no; computed: yes.</strong></p>'
    """
    if isinstance(answer, str):
        good = " Right." * (said == answer)
        return f"<p><strong>You said {escape(said)}; computed: {escape(answer)}.</strong>{good}</p>"
    good = " That is near enough." * (abs(float(said) - answer) <= near)
    return f"<p><strong>You said {float(said):g}; computed: {shown(answer)}.</strong>{good}</p>"


def shown(answer: float | str) -> str:
    """An answer for people: words, a whole number, or four digits.

    Examples
    --------
    >>> shown(7), shown(2 / 3), shown("less")
    ('7', '0.6667', 'less')
    """
    if isinstance(answer, str):
        return answer
    return f"{answer:,}" if hasattr(answer, "__index__") else significant(float(answer))

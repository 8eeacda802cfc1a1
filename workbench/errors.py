"""The tree of errors, on one screen.

Every message is for a person: what was wrong, the value seen, what to do. The
command line prints the message of any :class:`WorkbenchError` and exits with 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WorkbenchError(Exception):
    """Something the user can mend; the message says what and how."""


class FormulaError(WorkbenchError):
    """A formula that does not follow lme4's notation; shows it with a caret under the place."""

    def __init__(self, problem: str, text: str = "", position: int | None = None) -> None:
        self.problem, self.text, self.position = problem, text, position
        caret = "" if position is None else "\n  " + text + "\n  " + " " * position + "^"
        super().__init__(problem + caret)


class DataError(WorkbenchError):
    """A table that cannot be used: a missing file or column, an infinite value, no rows."""


class DesignError(WorkbenchError):
    """A formula and a table that do not fit each other or the estimator."""


class OptionError(WorkbenchError):
    """An unknown estimator, family, option or value of an option."""


class PriorError(WorkbenchError):
    """A prior that cannot be read, or that stands on no parameter of the model."""


class StudyError(WorkbenchError):
    """A study's folder or its model.toml is missing something or holds something unknown."""


class ComparisonError(WorkbenchError):
    """A comparison that would mislead: other rows, another response or another scale."""


class ReportError(WorkbenchError):
    """A report that cannot be put where it was asked for, without harming what lies there."""


class MissingDependencyError(WorkbenchError):
    """An optional package is not installed; the message says which extra brings it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what was probably meant: ``Did you mean 'Days'?``, or list what there is.

    Examples
    --------
    >>> nearest("Dais", ["Days", "Subject"])
    "Did you mean 'Days'?"
    >>> nearest("q", ["Days", "Subject"])
    'There are: Days, Subject.'
    """
    names = [str(k) for k in known]
    lowered = {n.lower(): n for n in reversed(names)}
    if name.lower() in lowered:
        return f"Did you mean {lowered[name.lower()]!r}?"
    close = get_close_matches(name, names, n=1, cutoff=0.55) or [
        lowered[c] for c in get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.55)
    ]
    if close:
        return f"Did you mean {close[0]!r}?"
    between = "; " if any("," in n for n in names) else ", "
    shown = between.join(names[:12]) + (f"{between}and {len(names) - 12} more" if len(names) > 12 else "")
    return f"There are: {shown}."

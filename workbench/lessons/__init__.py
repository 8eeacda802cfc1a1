"""Short lessons, notebooks in plain Python files: run as an app, edited as a notebook, read as a page.

Each is a marimo notebook (:mod:`workbench.lessons.noise_and_shrinkage` and so on) whose cells compute every number they
state. What cells show is made by :mod:`workbench.lessons.telling`, what they ask by
:mod:`workbench.lessons.asking`: the student predicts, then the answer is revealed, computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes
    ----------
    number : int
    key : str
        Of the file, ``workbench/lessons/KEY.py``.
    title : str
    goals : tuple of str
        What a student can do afterwards.
    minutes : (int, int)
    """

    number: int
    key: str
    title: str
    goals: tuple[str, ...]
    minutes: tuple[int, int] = (10, 20)

    @property
    def path(self) -> Path:
        """The notebook."""
        return Path(__file__).parent / f"{self.key}.py"


LESSONS = (
    Lesson(
        1,
        "noise_and_shrinkage",
        "Noise and shrinkage",
        (
            "say why raw means of groups spread more than the groups do, and by how much",
            "compute how much of a group's own deviation a mixed model keeps",
            "tell which groups gain by shrinking, and why not every single one does",
        ),
    ),
    Lesson(
        2,
        "three_estimators",
        "Three estimators, one likelihood",
        (
            "say how far REML and a fixed prior with its mean and SD lie apart, and why",
            "tell three standard errors of a group apart, and what each of them leaves out",
            "name what moves full Bayes away from REML, and check on data how much each cause does",
        ),
    ),
    Lesson(
        3,
        "where_tau_comes_from",
        "Where tau comes from",
        (
            "compute REML's spread between groups by hand from a balanced table",
            "write the restricted likelihood in a dozen lines, find its lowest point, and say what each term does",
            "say how ML and REML differ with few groups, and what an estimate of zero means",
        ),
    ),
    Lesson(
        4,
        "plug_in_or_integrate",
        "Plug in or integrate",
        (
            "read a zero of REML for what it is, from the likelihood of other spreads between groups",
            "say what an interval leaves out when the spread is plugged in, and measure what that costs",
            "tell when the prior of the spread between groups matters",
        ),
    ),
    Lesson(
        5,
        "slopes_crossed_nested",
        "Slopes, crossed and nested",
        (
            "say what the correlation of intercepts and slopes means, and what moving the origin does to it",
            "read (1 | a/b) and (1 | a) + (1 | b), and tell which one the data ask for",
            "foresee which standard errors change when a factor is left out",
        ),
    ),
    Lesson(
        6,
        "beyond_the_normal",
        "Beyond the normal",
        (
            "say what shares shrink by, and why a group without a case has no value of its own",
            "turn a spread between groups into a ridge penalty and back, and say how cross-validation differs",
            "explain what Stein's rule promises in total, and who may pay for it",
        ),
    ),
)


def lesson(number: int) -> Lesson:
    """The lesson of a number.

    Raises
    ------
    OptionError
        There is none.

    Examples
    --------
    >>> lesson(1).title
    'Noise and shrinkage'
    """
    from workbench.errors import OptionError

    for known in LESSONS:
        if known.number == number:
            return known
    raise OptionError(f"There is no lesson {number}; they are 1 to {len(LESSONS)} (workbench lesson list).")

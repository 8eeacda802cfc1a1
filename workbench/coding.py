"""What columns take from the data that a model is fitted to, and must keep for new rows.

A label is coded by its place among the levels that the fit saw; ``scale`` and ``center`` take off the fit's mean;
``poly`` evaluates the polynomials that are orthonormal on the fit's points. Polynomials are kept as the coefficients of
their three-term recurrence (Forsythe 1957, doi:10.1137/0105007), which gives them at any point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data import Factor
from workbench.errors import DesignError
from workbench.formula import Expression, Formula, RandomTerm

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The levels that a column of labels had, in the order of their codes."""

    levels: tuple[str, ...]
    ordered: bool


@dataclass(frozen=True)
class Scaling:
    """What ``scale`` or ``center`` takes off, and divides by."""

    centre: float
    spread: float = 1.0


@dataclass(frozen=True)
class Polynomials:
    """Polynomials orthonormal on n given points, by their recurrence at t = (x - centre) / span.

    q_0 = size = 1 / sqrt(n), and reach_k q_(k+1) = (t - centres_k) q_k - reach_(k-1) q_(k-1).
    """

    centre: float
    span: float
    size: float
    centres: tuple[float, ...]
    reach: tuple[float, ...]

    def at(self, x: Matrix) -> Matrix:
        """Values at any points, shape (len(x), degree)."""
        t = (x - self.centre) / self.span
        before, now, back = np.zeros_like(t), np.full_like(t, self.size), 0.0
        columns = []
        for centre, reach in zip(self.centres, self.reach, strict=True):
            before, now = now, ((t - centre) * now - back * before) / reach
            back = reach
            columns.append(now)
        return np.column_stack(columns)


type Learnt = Mapping[Expression, Labels | Scaling | Polynomials]


@dataclass(frozen=True, eq=False)
class Coding:
    """How the columns were made, so that new rows can get the same ones (:mod:`workbench.new_rows`).

    Attributes
    ----------
    learnt : mapping
        What :func:`workbench.model_matrix.learn` took from the data.
    kept : tuple of int
        Which columns of the fixed terms make X; the others are aliased.
    offset : str or None
        What was given as ``offset=``, if anything.
    offset_is_column : bool
        Whether that is a column, which new rows may have too, and not an array.
    """

    learnt: Learnt
    kept: tuple[int, ...]
    offset: str | None
    offset_is_column: bool


def match_levels(column: Factor, levels: Sequence[str]) -> NDArray[np.intp]:
    """Codes of a column's labels among other levels, shape (n,); -1 where a label is not one of them."""
    place = {level: code for code, level in enumerate(levels)}
    return np.array([place.get(level, -1) for level in column.levels], dtype=np.intp)[column.codes]


# --- polynomials ------------------------------------------------------------------------------------


def orthogonal_polynomials(x: Matrix, degree: int, label: str = "poly") -> Matrix:
    """Orthonormal polynomials of degrees 1 to `degree` at the points `x`, shape (n, degree), as R's ``poly``."""
    distinct = len(np.unique(x))
    if degree >= distinct:
        raise DesignError(
            f"{label}: degree {degree} needs at least {degree + 1} distinct values, but there are {distinct}. "
            "Lower the degree."
        )
    centred = x - x.mean()
    span = np.abs(centred).max()
    powers = np.vander(centred / span, degree + 1, increasing=True)
    q, r = np.linalg.qr(powers)
    return np.asarray((q * np.sign(np.diag(r)))[:, 1:])


def recurrence(x: Matrix, degree: int, label: str) -> Polynomials:
    """Read the recurrence off the polynomials' values at the points that define them."""
    centre = float(x.mean())
    span = float(np.abs(x - centre).max())
    size = len(x) ** -0.5
    q = np.column_stack([np.full(len(x), size), orthogonal_polynomials(x, degree, label)])
    t = (x - centre) / span
    return Polynomials(
        centre,
        span,
        size,
        centres=tuple(float(t @ q[:, k] ** 2) for k in range(degree)),
        reach=tuple(float(t @ (q[:, k] * q[:, k + 1])) for k in range(degree)),
    )


# --- what one coding holds twice ----------------------------------------------------------------------


def shared_spreads(formula: Formula, learnt: Learnt) -> list[str]:
    """Say which random terms hold the same spread twice, as ``(f || g)`` does where f is labels.

    The indicators of f sum to one, so what (1 | g) adds to all levels of f, the covariances of (0 + f | g) hold too.
    """
    present: dict[RandomTerm, set[frozenset[Expression]]] = {
        r: {frozenset(t.factors) for t in r.terms} | ({frozenset()} if r.intercept else set()) for r in formula.random
    }
    found = []
    for wide in formula.random:
        rests = {frozenset(t.factors) - {f} for t in wide.terms for f in t.factors if isinstance(learnt.get(f), Labels)}
        for narrow in formula.random:
            if narrow.group == wide.group and (rests - present[wide]) & present[narrow]:
                found.append(
                    f"{narrow.text} and {wide.text} cannot be told apart: a spread that all levels share may be "
                    "counted to either, so only their sum means something. Write one term with a single bar."
                )
    return found

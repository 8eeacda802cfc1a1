"""A formula's response, read for a family: the mean of each row's trials, and how many they are.

====================================  =====================================  ==============================
family                                response                               y; trials
====================================  =====================================  ==============================
of probabilities (``binomial``)       ``cbind(successes, failures)``         share of successes; their sum
                                      0 and 1                                as they are; 1
                                      labels, truth values                   0 for the first level, else 1; 1
                                      shares, the trials being the weights   as they are; 1
of counts (``poisson``)               0, 1, 2, ...                           as they are; 1
``gamma``, ``inverse_gaussian``       positive numbers                       as they are; 1
``gaussian``                          numbers                                as they are; 1
====================================  =====================================  ==============================

Weights times trials is what a likelihood weighs rows by. As in R's ``glm``, counts that are not whole are taken as they
are, with a remark.

Source: R manual, ``?family`` and ``?glm``, on responses of binomial models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import Factor, GroupedData
from workbench.errors import DesignError
from workbench.families import Family
from workbench.formula import Formula, Name
from workbench.model_matrix import evaluate

Array = NDArray[np.float64]

WHOLE = 1e-3
"""A count this close to a whole number is one, as in R: shares are often rounded in files."""


@dataclass(frozen=True, eq=False)
class Response:
    """A response and its trials, arrays of its own.

    Attributes
    ----------
    y : array, shape (n,)
        For counts of successes and failures the share of successes (0 where there are no trials).
    trials : array, shape (n,)
        One, but for ``cbind()``; held once where all are one.
    outcomes : tuple of str
        Of a response of labels, these: the first is failure, the others are success. Empty for numbers.
    notes : tuple of str
        What the reader of any fit must know about it.
    """

    y: Array
    trials: Array
    outcomes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def at(self, rows: NDArray[Any]) -> Response:
        """The same of some rows."""
        return replace(self, y=self.y[rows], trials=self.trials[rows])


def read_response(
    formula: Formula, table: GroupedData, family: Family, weights: Array | None = None, failure: str | None = None
) -> Response:
    """Read the response of a formula for a family.

    Parameters
    ----------
    formula : Formula
    table : GroupedData
        n rows.
    family : Family
    weights : array, shape (n,), optional
        Prior weights; by shares these are the numbers of trials.
    failure : str, optional
        The label that counts as failure, from :func:`failure_label`; by default the first of this table.

    Raises
    ------
    DesignError
        Counts for a family that is not of probabilities, negative counts, labels where numbers are needed, values
        that the family cannot have.

    Examples
    --------
    >>> from workbench.data import read
    >>> from workbench.families import family_of
    >>> from workbench.formula import parse
    >>> table = {"dead": [2, 3], "alive": [2, 9], "fate": ["lived", "died"]}
    >>> def of(text):
    ...     formula = parse(text)
    ...     return read_response(formula, read(table, formula.variables), family_of("binomial"))
    >>> found = of("cbind(dead, alive) ~ 1")
    >>> found.y.tolist(), found.trials.tolist()
    ([0.5, 0.25], [4.0, 12.0])
    >>> found = of("fate ~ 1")
    >>> found.y.tolist(), found.outcomes
    ([1.0, 0.0], ('died', 'lived'))
    """
    if formula.cbind is not None:
        return _counts(formula, table, family)
    label, one = formula.response_label, np.broadcast_to(1.0, len(table))
    column = _labels(formula, table)
    if column is None:
        y = np.array(evaluate(formula.response, table))
        family.check_response(label, y)
        return Response(y, one, notes=_not_whole(label, y, table, family, weights))
    if not family.of_probabilities:
        raise DesignError(
            f"The response {label} holds labels (the first value is {column.levels[column.codes[0]]!r}), but a "
            f"{family.name} response must be numbers. Convert it, check for stray entries in the column, or use "
            "family='binomial' for two outcomes."
        )
    first = failure_label(formula, table) if failure is None else failure
    y = np.array([level != first for level in column.levels], dtype=float)[column.codes]
    others = tuple(level for level in column.levels if level != first)
    notes = (f"Of the labels of {label}, {first!r} counts as failure and all the others as success: {_list(others)}.",)
    return Response(y, one, (str(first), *others), notes if len(others) > 1 else ())


def failure_label(formula: Formula, table: GroupedData) -> str | None:
    """The label that counts as failure, as in R: the first level, ``FALSE`` of truth values; None without labels."""
    column = _labels(formula, table)
    if column is None:
        return None
    return "FALSE" if set(column.levels) <= {"FALSE", "TRUE"} else column.levels[0]


def one_sided(label: str, y: Array, family: Family) -> tuple[str, ...]:
    """A remark where the response is at an end of its range in every row: the likelihood then has no finite maximum."""
    known = {0.0: "a failure", 1.0: "a success"} if family.of_probabilities else {0.0: "zero"}
    if family.name not in ("binomial", "poisson") or float(y[0]) not in known or (y != y[0]).any():
        return ()
    what = f"{'Every trial' if family.of_probabilities else 'Every count'} of {label} is {known[float(y[0])]}"
    return (f"{what} ({len(y):,} rows): by the likelihood alone, estimates run away to infinity; a prior holds them.",)


# --- parts --------------------------------------------------------------------------------------------


def _labels(formula: Formula, table: GroupedData) -> Factor | None:
    column = table[formula.response.name] if isinstance(formula.response, Name) else None
    return column if isinstance(column, Factor) else None


def _counts(formula: Formula, table: GroupedData, family: Family) -> Response:
    """Successes and failures, each of shape (n,), as shares and trials."""
    label = formula.response_label
    assert formula.cbind is not None
    if not family.of_probabilities:
        raise DesignError(f"{label} counts successes and failures: use family='binomial', not {family.name!r}.")
    successes, failures = (evaluate(part, table) for part in formula.cbind)
    for kind, values in (("successes", successes), ("failures", failures)):
        if (values < 0).any():
            raise DesignError(f"{label} has negative {kind} (the least is {values.min():g}). Mend these counts.")
    trials = successes + failures
    y = np.divide(successes, trials, out=np.zeros(len(table)), where=trials > 0)
    notes: tuple[str, ...] = ()
    if family.name == "binomial":
        broken = np.where(_fraction(successes), successes, np.where(_fraction(failures), failures, 0.0))
        notes = _remark(f"{label} has counts that are not whole", broken, table)
    return Response(y, trials, notes=notes)


def _not_whole(label: str, y: Array, table: GroupedData, family: Family, weights: Array | None) -> tuple[str, ...]:
    """A remark on counts that are not whole, where the family is one of counts."""
    match family.name:
        case "binomial":
            times = "" if weights is None else " times its weight"
            found = _remark(
                f"{label}{times} is not a whole number of successes", y if weights is None else y * weights, table
            )
            advice = "If it is a share, give the numbers of trials as weights."
            return tuple(f"{note} {advice}" for note in found) if weights is None else found
        case "poisson":
            return _remark(f"The counts {label} are not whole", y, table)
    return ()


def _fraction(values: Array) -> NDArray[np.bool_]:
    return np.asarray(np.abs(values - np.round(values)) > WHOLE)


def _remark(what: str, values: Array, table: GroupedData) -> tuple[str, ...]:
    bad = np.flatnonzero(_fraction(values))
    if not len(bad):
        return ()
    first = f"the first is {values[bad[0]]:g}, in data row {table.kept[bad[0]] + 1}"
    return (f"{what} in {len(bad):,} of {len(values):,} rows ({first}); taken as it stands.",)


def _list(labels: Any) -> str:
    shown = ", ".join(repr(label) for label in labels[:6])
    return shown + (f" and {len(labels) - 6:,} more" if len(labels) > 6 else "")

"""Formula x table -> the arrays of a regression without random terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.coding import Coding
from workbench.data import GroupedData, RowAccount, read_only
from workbench.errors import DataError, DesignError, FormulaError
from workbench.families import Family
from workbench.formula import Formula, parse
from workbench.model_matrix import evaluate, learn, model_columns
from workbench.response import read_response
from workbench.row_arguments import read_rows

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regression:
    """Arrays of a regression; read-only.

    Attributes
    ----------
    formula : Formula
    y : array, shape (n,)
        For binomial counts and labels the proportion of successes.
    X : array, shape (n, p)
    names : tuple of p str
        As R names the columns.
    intercept : int or None
        The place of the column of ones.
    weights, offset : array, shape (n,)
        Prior weights, times the number of trials of binomial counts.
    starting : array, shape (n,)
        Numbers of trials of binomial counts, else the weights: what the first means are made with, as in R.
    rows : RowAccount
    coding : Coding
        How the columns were made, for new rows; `kept` are those that have a coefficient.
    drop_baseline : bool
        Whether factors were coded by contrasts.
    notes : tuple of str
        Remarks on the response.
    """

    formula: Formula
    y: Array
    X: Array
    names: tuple[str, ...]
    intercept: int | None
    weights: Array
    starting: Array
    offset: Array
    rows: RowAccount
    coding: Coding
    drop_baseline: bool = True
    notes: tuple[str, ...] = ()


def read_regression(
    formula: str | Formula,
    data: Any,
    family: Family,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    drop_baseline: bool = True,
) -> Regression:
    """Read the arrays of a regression; parameters and errors as :func:`workbench.bayesglm.bayesglm`.

    Examples
    --------
    >>> from workbench.families import family_of
    >>> table = {"dead": [2, 3], "alive": [2, 9], "dose": ["low", "none"]}
    >>> found = read_regression("cbind(dead, alive) ~ dose", table, family_of("binomial"))
    >>> found.y.tolist(), found.weights.tolist(), found.names
    ([0.5, 0.25], [4.0, 12.0], ('(Intercept)', 'dosenone'))
    """
    if not isinstance(formula, str | Formula):
        raise FormulaError(f'The formula is {formula!r}, but must be text such as "y ~ x".')
    parsed = parse(formula) if isinstance(formula, str) else formula
    if parsed.random:
        raise DesignError(
            f"bayesglm takes no random terms, but the formula has ({parsed.random[0].text}). Write the group as a "
            "factor (y ~ x + group) and give its coefficients a prior, or use fit()."
        )
    rows = read_rows(parsed, data, {"weights": weights, "offset": offset})
    table, columns = rows.table, rows.columns
    prior_weights = _weights(columns, table)
    response = read_response(parsed, table, family, prior_weights if "weights" in columns else None)
    learnt = learn((*(f for term in parsed.as_written for f in term.factors), *parsed.offsets), table)
    offsets = [evaluate(e, table, learnt) for e in parsed.offsets] + [columns[k] for k in columns if k == "offset"]
    found = model_columns(parsed.as_written, parsed.intercept, table, learnt, drop_baseline)
    if not found.names:
        raise DesignError(f"The formula {parsed} has no coefficients. Add an intercept (1) or a predictor.")
    every = prior_weights * response.trials
    if not every.any():
        raise DataError("No row has weight: all weights, or the numbers of trials, are zero. Give positive ones.")
    return Regression(
        formula=parsed,
        y=read_only(response.y),
        X=read_only(found.values),
        names=found.names,
        intercept=0 if parsed.intercept else None,
        weights=read_only(every),
        starting=read_only(every if parsed.cbind is None else response.trials),
        offset=read_only(np.sum(offsets, axis=0) if offsets else np.zeros(len(table))),
        rows=table.rows,
        coding=Coding(
            learnt,
            tuple(range(len(found.names))),
            rows.names["offset"] if "offset" in columns else None,
            offset_is_column=isinstance(offset, str),
        ),
        drop_baseline=drop_baseline,
        notes=response.notes,
    )


def _weights(columns: Mapping[str, Array], table: GroupedData) -> Array:
    if "weights" not in columns:
        return np.ones(len(table))
    values = columns["weights"]
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise DesignError(f"weights must be 0 or more, but is {values[row]:g} in data row {table.kept[row] + 1}.")
    return np.array(values)

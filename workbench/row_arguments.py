"""Arguments with one number per row (weights, offset, known standard errors), read with the table they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data import GroupedData, Numeric, read
from workbench.errors import DesignError, OptionError
from workbench.formula import Formula

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowArguments:
    """The rows of a formula's table, and the arguments that were given for them.

    Attributes
    ----------
    table : GroupedData
        n rows.
    columns : dict of str to array, shape (n,)
        By argument; those that were not given are not in it.
    names : dict of str to str
        What each argument is called in messages: its column, or that it is an array.
    """

    table: GroupedData
    columns: dict[str, Array]
    names: dict[str, str]


def read_rows(formula: Formula, data: Any, arguments: Mapping[str, str | ArrayLike | None]) -> RowArguments:
    """Read a formula's variables together with arguments given by a column's name or as an array.

    Raises
    ------
    DataError
        As :func:`workbench.data.read`.
    DesignError, OptionError
        An argument that holds labels, or is no array of numbers.

    Examples
    --------
    >>> from workbench.formula import parse
    >>> found = read_rows(parse("y ~ x"), {"y": [1, 2], "x": [3, 4], "w": [1, 5]}, {"weights": "w", "offset": None})
    >>> found.columns["weights"].tolist(), found.table["x"].numbers.tolist()
    ([1.0, 5.0], [3.0, 4.0])
    """
    names = {key: value if isinstance(value, str) else f"{key} (an array)" for key, value in arguments.items()}
    arrays = {names[k]: _array(k, v) for k, v in arguments.items() if v is not None and not isinstance(v, str)}
    table = read(data, [*formula.variables, *(v for v in arguments.values() if isinstance(v, str))], arrays)
    columns = {key: _numbers(table, names[key]) for key, value in arguments.items() if value is not None}
    return RowArguments(table, columns, names)


def _array(name: str, values: ArrayLike) -> Array:
    try:
        return np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise OptionError(f"{name} must be a column's name or an array of numbers, one per row.") from None


def _numbers(table: GroupedData, name: str) -> Array:
    column = table[name]
    if not isinstance(column, Numeric):
        raise DesignError(f"{name} must be numbers, but holds labels such as {column.levels[0]!r}.")
    return column.numbers

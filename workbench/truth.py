"""True group coefficients, as simulated data have them, to hold estimates to.

A table with a row for each group and term: ``level`` is the group's label, ``term`` the name of the coefficient
(``(Intercept)``, or a predictor that varies by group), ``value`` what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from workbench.data import Numeric, as_factor, read
from workbench.design import Design
from workbench.errors import DataError
from workbench.tables import collect
from workbench.words import join

COLUMNS = ("level", "term", "value")
NEEDED = (
    "It is a table with the columns level (the group), term (such as (Intercept)) and value, a row for each group and "
    "term."
)
FEW = 5
"""So many of the columns that are there are named."""


def read_truth(table: Any, design: Design) -> Mapping[tuple[str, str], float]:
    """Read true group coefficients from a table with the columns ``level``, ``term`` and ``value``.

    Raises
    ------
    DataError
        No such table, values that are no numbers, a level or a term that the design does not have.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> dict(read_truth({"level": ["a", "b"], "term": ["(Intercept)"] * 2, "value": [1.5, 3.5]}, design))
    {('a', '(Intercept)'): 1.5, ('b', '(Intercept)'): 3.5}
    """
    if table is None:
        return MappingProxyType({})
    _check_columns(table)
    columns = read(table, COLUMNS)
    level, term, value = as_factor(columns["level"]), as_factor(columns["term"]), columns["value"]
    if not isinstance(value, Numeric):
        raise DataError(f"The truth's column value holds labels such as {value.levels[0]!r}, not numbers. {NEEDED}")
    known_levels = set[str]().union(*(block.levels for block in design.blocks))
    known_terms = set[str]().union(*(block.terms for block in design.blocks))
    for what, seen, known in (("level", level.levels, known_levels), ("term", term.levels, known_terms)):
        if unknown := set(seen) - known:
            raise DataError(f"The truth names the {what} {min(unknown, key=seen.index)!r}, which the data do not have.")
    levels, terms = (np.asarray(factor.levels, dtype=object)[factor.codes].tolist() for factor in (level, term))
    keys = zip(levels, terms, strict=True)
    return MappingProxyType(dict(zip(keys, value.numbers.tolist(), strict=True)))


def _check_columns(table: Any) -> None:
    """Refuse what lacks one of the columns, naming all that it lacks."""
    found = [str(name) for name in table] if isinstance(table, Mapping) else collect(table, []).columns
    if absent := [name for name in COLUMNS if name not in found]:
        seen = join([repr(name) for name in found[:FEW]]) + (" and others" if len(found) > FEW else "")
        raise DataError(f"The truth has no column {join(absent)}; what it has is {seen or 'nothing'}. {NEEDED}")

"""A wide table, a level a row and a varying term a column, as ``write.csv(coef(fit)$Subject, ...)`` of lme4 makes it.

Its numbers are coefficients: deviations, as ``ranef(fit)$Subject`` holds them in the same form, are refused where they
look like it, since nothing in the file says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.adapters.labels import term_label
from workbench.adapters.plain import looks_like_deviations
from workbench.errors import ComparisonError

if TYPE_CHECKING:
    from workbench.design import Design

ROW_NAMES = ("", "level", "grp", "rownames", "X", "Unnamed: 0")
"""What the column of levels may be called, besides the name of the grouping factor."""


def long_columns(frame: Any, design: Design, source: str) -> dict[str, list[Any]] | None:
    """The columns ``level, group, term, coefficient`` of a wide table (narwhals); None where it is none.

    A column for every term that varies by the one grouping factor it can be of, and one of levels; those of other
    population coefficients, which R's ``coef`` repeats at every level, come along.

    Raises
    ------
    ComparisonError
        Numbers that seem to be deviations.
    """
    names = [str(name) for name in frame.columns]
    group = next((group for group in design.groups if group in names), None)
    if group is None and len(design.groups) == 1:
        group = next(iter(design.groups))
    levels = next((name for name in (group, *ROW_NAMES) if name in names), None)
    if group is None or levels is None:
        return None
    varying = {term_label(term) for block in design.blocks if block.group == group for term in block.terms}
    known = varying | {term_label(term) for term in design.fixed_terms}
    columns = [name for name in names if name != levels and _label(name) in known]
    if not varying <= {_label(name) for name in columns}:
        return None
    count = frame.shape[0]
    terms = [_label(name) for name in columns for _ in range(count)]
    numbers = [value for name in columns for value in frame.get_column(name).to_list()]
    if all(isinstance(value, int | float) for value in numbers):
        found = looks_like_deviations(design, terms, np.array(numbers, dtype=float))
        if found:
            raise ComparisonError(
                f"The column {found[0]} of {source} stands about {found[1]}, where the population value lies near "
                f"{found[2]}: deviations, it seems. Save as.data.frame(ranef(fit)), which says so, or coef(fit)."
            )
    return {
        "level": frame.get_column(levels).to_list() * len(columns),
        "group": [group] * len(terms),
        "term": terms,
        "coefficient": numbers,
    }


def _label(name: str) -> str:
    """A column's term; R's ``data.frame`` writes ``X.Intercept.``."""
    return term_label("(Intercept)" if name == "X.Intercept." else name)

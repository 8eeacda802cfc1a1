"""Any table -> rows with the columns of a design that was made of other rows.

What the columns took from the data of the fit (levels, centres, scales, polynomials; :mod:`workbench.coding`) is used
again, never learnt anew: ``poly(x, 2)`` of one new row is the polynomial of the fit at its x. The response is not
looked at. A row with a missing value gets no columns; a level that the fit did not see has code -1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coding import match_levels
from workbench.data import read
from workbench.design import Design, RandomBlock, grouping
from workbench.errors import DataError, nearest
from workbench.formula import Name, RandomTerm, variables
from workbench.model_matrix import evaluate, model_columns
from workbench.tables import collect

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Varying:
    """The columns (m, q) of one random block, and which level each row belongs to (m,), -1 for a new one."""

    Z: Array
    codes: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with the columns of a design, m of them complete.

    Attributes
    ----------
    X : array, shape (m, p)
    varying : mapping of int to Varying
        By place among the design's blocks, for the grouping factors asked for.
    offset : array, shape (m,)
    new : array of str, shape (m,)
        The levels that the fit did not see, in words; empty where there are none.
    read : int
        Rows of the table.
    kept : array of int, shape (m,)
        Which of them these are.
    missing : tuple of (str, int)
        Missing values by column.
    of_the_fit : bool
        Whether these are the very rows of the fit.
    """

    X: Array
    varying: Mapping[int, Varying]
    offset: Array
    new: NDArray[np.object_]
    read: int
    kept: NDArray[np.intp] | range
    missing: tuple[tuple[str, int], ...] = ()
    of_the_fit: bool = False

    def __len__(self) -> int:
        return len(self.X)


def rows_of_the_fit(design: Design, groups: Collection[str]) -> Rows:
    """The design's own rows, with the blocks of these grouping factors."""
    return Rows(
        X=design.X,
        varying=MappingProxyType({k: Varying(b.Z, b.codes) for k, b in enumerate(design.blocks) if b.group in groups}),
        offset=design.offset,
        new=np.full(design.n, "", dtype=object),
        read=design.n,
        kept=np.arange(design.n),
        of_the_fit=True,
    )


def new_rows(design: Design, data: Any, groups: Collection[str], allow_new_levels: bool) -> Rows:
    """Give the rows of any table the columns of a design.

    Parameters
    ----------
    design : Design
    data : dataframe, mapping or path
        See :func:`workbench.data.read`; only the columns that are needed are looked at.
    groups : collection of str
        Grouping factors whose varying columns and levels are wanted.
    allow_new_levels : bool
        Whether a level that the fit did not see, or a missing one, gets code -1. Otherwise the first is refused, and a
        missing one counts as a missing value.

    Raises
    ------
    DataError
        An unseen level, an offset that cannot be known, a missing column.
    DesignError
        Labels where the fit had numbers, a function outside its domain.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> fitted = {"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 2, 5], "g": ["a", "a", "b", "b"]}
    >>> rows = new_rows(build_design("y ~ center(x) + (1 | g)", fitted), {"x": [2.0], "g": ["b"]}, ["g"], False)
    >>> rows.X.tolist(), rows.varying[0].codes.tolist()
    ([[1.0, 0.0]], [1])
    """
    formula, coding = design.formula, design.coding
    if coding.offset is not None and not coding.offset_is_column:
        raise DataError(
            "The fit had an offset given as an array, whose values for new rows cannot be known. Give the offset as a "
            "column (offset='name', or offset(name) in the formula), or predict the rows of the fit, without new data."
        )
    blocks = {k: term for k, term in enumerate(formula.random) if design.blocks[k].group in groups}
    factors = [factor for term in formula.terms for factor in term.factors]
    factors += [factor for block in blocks.values() for term in block.terms for factor in term.factors]
    needed = [name for part in (*factors, *formula.offsets) for name in variables(part)]
    needed += [coding.offset] if coding.offset is not None else []
    labels = [name for block in blocks.values() for name in block.group]
    frame = collect(data, [*needed, *labels])
    table = read(frame, needed if allow_new_levels else [*needed, *labels], may_be_empty=True)
    m = len(table)
    if not m:
        empty = {k: Varying(np.empty((0, len(design.blocks[k].terms))), np.empty(0, np.intp)) for k in blocks}
        X, offset = np.empty((0, len(design.fixed_terms))), np.empty(0)
        return Rows(X, empty, offset, np.empty(0, object), table.rows.read, table.kept, table.rows.missing)

    offset = np.zeros(m)
    for part in (*formula.offsets, *([Name(coding.offset)] if coding.offset is not None else [])):
        offset = offset + evaluate(part, table, coding.learnt)
    X = model_columns(formula.terms, formula.intercept, table, coding.learnt).values[:, list(coding.kept)]
    varying, new = {}, np.full(m, "", dtype=object)
    for k, term in blocks.items():
        codes = _levels(term, design.blocks[k], frame, new, table.kept, allow_new_levels)
        varying[k] = Varying(model_columns(term.terms, term.intercept, table, coding.learnt).values, codes)
    return Rows(X, MappingProxyType(varying), offset, new, table.rows.read, table.kept, table.rows.missing)


def _levels(
    term: RandomTerm,
    block: RandomBlock,
    frame: Any,
    new: NDArray[np.object_],
    kept: NDArray[np.intp] | range,
    allow_new: bool,
) -> NDArray[np.intp]:
    """Codes among the block's levels of the rows `kept`; what is new is added to the words in `new`."""
    if len(set(block.levels)) < len(block.levels):
        raise DataError(
            f"Two levels of {block.group} have the same name, because the names that it combines hold colons. "
            "Rename them and fit again."
        )
    table = read(frame, term.group, may_be_empty=True)
    label = np.full(table.rows.read, None, dtype=object)
    codes = np.full(table.rows.read, -1, dtype=np.intp)
    if len(table):
        found = grouping(term, table)
        label[table.kept] = np.array(found.levels, dtype=object)[found.codes]
        codes[table.kept] = match_levels(found, block.levels)
    label, codes = label[kept], codes[kept]
    unseen = np.flatnonzero(codes < 0)
    if len(unseen) and not allow_new:
        first = unseen[0]
        raise DataError(
            f"{block.group} is {label[first]!r} in data row {kept[first] + 1}, but the fit had no row of this level. "
            f"{nearest(label[first], block.levels)} Mend it, or let new levels have the population's value: "
            'new_levels="population".'
        )
    for row in unseen.tolist():
        words = f"{block.group} {'missing' if label[row] is None else label[row]}"
        if words not in new[row].split("; "):  # several blocks of one factor say it once
            new[row] = "; ".join(filter(None, (new[row], words)))
    return codes

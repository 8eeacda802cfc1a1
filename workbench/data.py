"""Any table -> :class:`GroupedData`: typed columns, and an account of every row.

A table is a dataframe that narwhals knows (pandas, Polars, Arrow; lazy ones are collected, and only
the columns that are needed) or a path to a file. Two kinds of column come out of it:

========  =============================================  ==========================================
kind      made from                                      order of the levels
========  =============================================  ==========================================
Numeric   integers, floats, decimals                     (as a grouping factor: ascending)
Factor    text, truth values, dates (their ISO text)     sorted; ``FALSE`` before ``TRUE``
Factor    categorical, Enum                              as the categories stand, unused ones left out
========  =============================================  ==========================================

A row with a missing value in any column that the model uses is dropped and counted; an infinite value is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import DataError
from workbench.labels import DATES, LazyLevels, label, number_label, numbered
from workbench.tables import collect


def read_only(values: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    """Return `values` as an array that cannot be written to (a copy only where one is needed)."""
    array = np.asarray(values, dtype=dtype)
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Numeric:
    """A column of numbers; `values` keeps the table's own number type, shape (n,)."""

    name: str
    values: NDArray[Any]

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The values as floats, shape (n,)."""
        return self.values.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Factor:
    """A column of labels: ``levels[codes[i]]`` is the label of row i; every level occurs.

    `ordered` is true only for a categorical column that says so; it then gets polynomial contrasts.
    """

    name: str
    codes: NDArray[np.intp]
    levels: Sequence[str]
    ordered: bool = False


Column = Numeric | Factor


@dataclass(frozen=True)
class RowAccount:
    """What became of the rows: `read`, `kept`, how many values were `missing` per column, and how many rows had
    weight zero or, of those counted by trials, none.
    """

    read: int
    kept: int
    missing: tuple[tuple[str, int], ...] = ()
    weightless: int = 0
    trialless: int = 0

    @property
    def dropped(self) -> int:
        """Rows left out: some column that the model uses had no value there, or the row weighs nothing."""
        return self.read - self.kept

    def sentence(self) -> str:
        """Say it in words: ``180 rows read, 3 dropped (missing: Days 2, Reaction 1), 177 kept``."""
        if not self.dropped:
            return f"{self.read:,} rows read, none dropped"
        why = ["missing: " + ", ".join(f"{name} {count:,}" for name, count in self.missing)] if self.missing else []
        why += [f"weight zero: {self.weightless:,}"] if self.weightless else []
        why += [f"no trials: {self.trialless:,}"] if self.trialless else []
        return f"{self.read:,} rows read, {self.dropped:,} dropped ({'; '.join(why)}), {self.kept:,} kept"


@dataclass(frozen=True, eq=False)
class GroupedData:
    """The columns that a model uses, complete rows only.

    Attributes
    ----------
    columns : mapping of str to Numeric or Factor
        In the order asked for.
    rows : RowAccount
    kept : array of int, shape (n,), or range
        Which rows of the table these are, counted from 0.
    """

    columns: Mapping[str, Column]
    rows: RowAccount
    kept: NDArray[np.intp] | range = field(repr=False)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __len__(self) -> int:
        return self.rows.kept

    def without(self, left_out: NDArray[np.bool_], trialless: bool = False) -> GroupedData:
        """Leave out the rows marked, shape (n,), as having weight zero, or no trials."""
        rows = np.flatnonzero(~left_out)
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            if isinstance(column, Factor):
                columns[name] = _used(name, column.codes[rows], column.levels, column.ordered)
            else:
                columns[name] = Numeric(name, read_only(column.values[rows]))
        count, kept = self.rows.kept - len(rows), replace(self.rows, kept=len(rows))
        account = replace(kept, trialless=count) if trialless else replace(kept, weightless=count)
        return GroupedData(MappingProxyType(columns), account, read_only(np.asarray(self.kept)[rows]))


def read(
    data: Any,
    columns: Sequence[str],
    extra: Mapping[str, ArrayLike] = MappingProxyType({}),
    may_be_empty: bool = False,
) -> GroupedData:
    """Read the columns that a model uses from any table.

    Parameters
    ----------
    data : dataframe, mapping of columns, or path
        CSV, TSV, Parquet, Arrow (Feather) and RDS files by their ending.
    columns : sequence of str
        The names needed; others are never looked at.
    extra : mapping of str to array of shape (rows of the table,)
        Values that come beside the table (weights given as an array); rows with a missing one are dropped alike.
    may_be_empty : bool
        Whether no complete row is an answer too; there are no columns then.

    Raises
    ------
    DataError
        Missing file or column (with the nearest name), no rows, no complete rows, infinite values,
        a column of a type that is neither number nor label.

    Examples
    --------
    >>> table = read({"y": [1.0, None, 3.0], "g": ["b", "a", "a"]}, ["y", "g"])
    >>> table.rows.sentence()
    '3 rows read, 1 dropped (missing: y 1), 2 kept'
    >>> table["g"].levels, table["g"].codes.tolist()
    (('a', 'b'), [1, 0])
    """
    import narwhals.stable.v2 as nw

    names = list(dict.fromkeys(columns))
    frame = collect(data, names)
    series = {name: frame.get_column(name) for name in names}
    length = len(frame)
    for name, values in extra.items():
        given = np.asarray(values)
        if given.shape != (length,):
            raise DataError(
                f"{name} has shape {given.shape}, but the table has {length:,} rows. Give one value per row."
            )
        series[name] = nw.new_series(name, given, backend=frame.implementation)
    if not length and not may_be_empty:
        raise DataError("The table has no rows. Nothing can be estimated from it.")

    absent = {name: mask for name, column in series.items() if (mask := _absent(column)) is not None}
    missing = tuple((name, int(mask.sum())) for name, mask in absent.items())
    kept: NDArray[np.intp] | range = range(length)
    if absent:
        complete = ~np.logical_or.reduce(list(absent.values()))
        kept = read_only(np.flatnonzero(complete))
        series = {name: column.filter(complete.tolist()) for name, column in series.items()}
    account = RowAccount(read=length, kept=len(kept), missing=missing)
    if not len(kept) and may_be_empty:
        return GroupedData(MappingProxyType({}), account, kept)
    if not len(kept):
        raise DataError(f"No complete row is left: {account.sentence()}. Mend the columns named, or leave them out.")
    typed = {name: _column(name, column, kept) for name, column in series.items()}
    return GroupedData(MappingProxyType(typed), account, kept)


def as_factor(column: Column) -> Factor:
    """Make labels of a column: a factor stays, numbers become their ascending levels (as R's ``factor``)."""
    if isinstance(column, Factor):
        return column
    if column.values.dtype.kind in "iu":
        codes, whole = integer_codes(column.values)
        return Factor(column.name, read_only(codes, np.intp), LazyLevels(len(whole), partial(numbered, whole)))
    values, codes = np.unique(column.values, return_inverse=True)
    return Factor(column.name, read_only(codes, np.intp), tuple(number_label(v) for v in values.tolist()))


def integer_codes(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Which of the distinct values, in ascending order, each integer is; by counting where they lie close together.

    Examples
    --------
    >>> codes, distinct = integer_codes(np.array([7, 5, 7, 9]))
    >>> codes.tolist(), distinct.tolist()
    ([1, 0, 1, 2], [5, 7, 9])
    """
    low, high = int(values.min()), int(values.max())
    span = high - low + 1
    if span > 4 * len(values) + 1000 or high > np.iinfo(np.intp).max:
        distinct, codes = np.unique(values, return_inverse=True)
        return codes.astype(np.intp, copy=False), distinct
    place = values.astype(np.intp)  # a copy: the table's own memory may change
    if low:
        place -= low
    occurs = np.bincount(place, minlength=span) > 0
    if not occurs.all():
        place = (np.cumsum(occurs) - 1)[place]
    return place, np.flatnonzero(occurs) + low


# --- columns ------------------------------------------------------------------------------------------


def _absent(column: Any) -> NDArray[np.bool_] | None:
    """Which rows have no value, shape (n,); None where all have."""
    if column.dtype.is_float() and (values := column.to_numpy()).dtype.kind == "f":  # a null is NaN there, too
        if all_finite(values):
            return None
        mask = np.isnan(values)
    else:
        mask = np.asarray(column.is_null().to_numpy(), dtype=bool)
    return mask if mask.any() else None


def all_finite(values: NDArray[Any]) -> bool:
    """Whether every value is finite; where their sum is, no array of their size is made to find out."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def _column(name: str, column: Any, kept: NDArray[np.intp] | range) -> Column:
    """Type one complete column."""
    import narwhals.stable.v2 as nw

    dtype = column.dtype
    if dtype.is_numeric():
        values = column.to_numpy()
        if values.dtype == object:  # decimals, and nullable integers without a missing value
            values = values.astype(float)
        return _numeric(name, values, kept)
    if dtype == nw.Boolean:
        codes = np.asarray(column.to_numpy(), dtype=np.intp)
        return _used(name, codes, ("FALSE", "TRUE"), ordered=False)
    if dtype in (nw.Categorical, nw.Enum):
        return _categorical(name, column)
    if dtype == nw.String:
        return _text(name, column)
    if dtype in (nw.Date, nw.Datetime):
        return _labels(name, column.to_list())
    if dtype == nw.Object:
        values = column.to_numpy()
        kinds = {type(v) for v in values.tolist()}
        if kinds <= {str}:
            return _text(name, np.asarray(values, dtype=object))
        if kinds <= {bool, np.bool_} or all(issubclass(kind, DATES) for kind in kinds):
            return _labels(name, values.tolist())
        if kinds <= {int, float, bool}:
            return _numeric(name, values.astype(float), kept)
        raise DataError(
            f"Column {name!r} mixes {', '.join(sorted(k.__name__ for k in kinds))}. Make it all numbers or all text."
        )
    raise DataError(
        f"Column {name!r} is of type {dtype}, which is neither number nor label "
        f"(first value {column.to_list()[0]!r}). Convert it to numbers, or to text if it names groups."
    )


def _numeric(name: str, values: NDArray[Any], kept: NDArray[np.intp] | range) -> Numeric:
    if values.dtype.kind == "f" and not all_finite(values):
        infinite = np.flatnonzero(~np.isfinite(values))
        if len(infinite):
            raise DataError(
                f"Column {name!r} holds {len(infinite):,} infinite value{'s' * (len(infinite) > 1)}, "
                f"the first ({values[infinite[0]]}) in data row {kept[infinite[0]] + 1}. "
                "Mend them, or make them missing to leave these rows out."
            )
    return Numeric(name, read_only(values))


def _labels(name: str, values: Sequence[Any]) -> Factor:
    """Dates or truth values as labels."""
    return _text(name, np.array([label(value) for value in values], dtype=object))


def _text(name: str, column: Any) -> Factor:
    """Labels from text, sorted by code point; every library's own hashing does the work."""
    import pandas as pd

    native = column.to_native() if hasattr(column, "to_native") else column
    if type(native).__module__.startswith("polars"):
        import polars as pl

        labels = native.unique().sort()
        codes = native.cast(pl.Enum(labels)).to_physical().to_numpy()
        return Factor(name, read_only(codes, np.intp), tuple(labels.to_list()))
    if not isinstance(native, pd.Series | np.ndarray):
        native = column.to_numpy()
    codes, found = pd.factorize(native, sort=False)
    texts = [str(label) for label in found.tolist()]
    order = np.argsort(np.asarray(texts), kind="stable")
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Factor(name, read_only(rank[codes]), tuple(texts[i] for i in order.tolist()))


def _categorical(name: str, column: Any) -> Factor:
    native = column.to_native()
    categories = [label(c) for c in column.cat.get_categories().to_list()]
    if hasattr(native, "cat") and hasattr(native.cat, "codes"):  # pandas
        return _used(name, np.asarray(native.cat.codes, dtype=np.intp), tuple(categories), bool(native.cat.ordered))
    place = {category: i for i, category in enumerate(categories)}
    codes = np.fromiter((place[label(v)] for v in column.to_list()), dtype=np.intp, count=len(column))
    ordered = bool(getattr(getattr(native, "type", None), "ordered", False))  # an Arrow dictionary
    return _used(name, codes, tuple(categories), ordered)


def _used(name: str, codes: NDArray[np.intp], levels: Sequence[str], ordered: bool) -> Factor:
    """Leave out the levels that no row has, keeping the order of the others."""
    counts = np.bincount(codes, minlength=len(levels))
    used = np.flatnonzero(counts)
    rank = np.cumsum(counts > 0) - 1
    return Factor(name, read_only(rank[codes], np.intp), tuple(levels[i] for i in used.tolist()), ordered)

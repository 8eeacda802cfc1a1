"""Any table or file -> a narwhals dataframe with the columns asked for.

In text files a quoted value is text, as R writes its factors (``"308"`` is a label, ``308`` a number),
unless the file quotes everything, which then says nothing. Files of R's ``saveRDS`` hold factors as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import IO, Any, cast

from workbench.errors import DataError, nearest

MISSING_TEXT = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
"""What stands for a missing value in a text file."""


def collect(data: Any, columns: Sequence[str]) -> Any:
    """Open any table, check that it has these columns and keep only them, as a narwhals dataframe."""
    import narwhals.stable.v2 as nw

    where = "The table"
    if isinstance(data, str | Path):
        where = f"{Path(data).name}"
        data = _read_file(Path(data))
    elif isinstance(data, Mapping):
        import pandas as pd

        try:
            data = pd.DataFrame(dict(data))
        except ValueError as error:
            raise DataError(
                f"The mapping is no table ({error}). Give the values of each column as a list, all of one length."
            ) from None
    data = _without_twins(data, columns)
    try:
        table = nw.from_native(data)
    except TypeError:
        raise DataError(
            f"Data of type {type(data).__name__} is no table. "
            "Give a pandas, Polars or Arrow dataframe, a mapping of columns, or a path to a file."
        ) from None
    known = table.collect_schema().names()
    for name in columns:
        if name not in known:
            raise DataError(f"{where} has no column {name!r}. {nearest(name, known)}")
        if known.count(name) > 1:
            raise DataError(f"{where} has {known.count(name)} columns named {name!r}. Rename them.")
    selected = table.select(*dict.fromkeys(columns)) if columns else table
    return selected.collect() if isinstance(selected, nw.LazyFrame) else selected


def file_kind(path: PurePath) -> str:
    """The ending that says how a file is read: of a packed one the ending before.

    >>> file_kind(PurePath("firms.CSV.gz"))
    '.csv'
    """
    return next((s for s in reversed([s.lower() for s in path.suffixes]) if s not in (".gz", ".zst")), "")


def _without_twins(data: Any, columns: Sequence[str]) -> Any:
    """A pandas frame without the columns whose name occurs twice; a DataError where one of them is needed."""
    if not type(data).__module__.startswith("pandas") or not hasattr(data, "columns") or data.columns.is_unique:
        return data
    twice = data.columns[data.columns.duplicated()].unique()
    for name in columns:
        if name in twice:
            count = int((data.columns == name).sum())
            raise DataError(f"The table has {count} columns named {name!r}. Rename them.")
    return data.loc[:, ~data.columns.isin(twice)]


def _read_file(path: Path) -> Any:
    """Read a file into a Polars frame, by its ending."""
    import polars as pl

    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file. Name the table itself.")
    if not path.exists():
        beside = [p.name for p in sorted(path.parent.glob("*")) if p.is_file()] if path.parent.is_dir() else []
        raise DataError(f"There is no file {path}. {nearest(path.name, beside) if beside else 'Check the path.'}")
    kind = file_kind(path)
    try:
        match kind:
            case ".csv" | ".tsv" | ".txt":
                return _read_text(path, "," if kind == ".csv" else "\t")
            case ".parquet" | ".pq":
                return pl.read_parquet(path)
            case ".arrow" | ".feather" | ".ipc":
                return pl.read_ipc(path)
            case ".rds":
                return _read_rds(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = " Save it as UTF-8." if "utf-8" in first.lower() or "utf8" in first.lower() else ""
        if not hint and kind in (".csv", ".tsv", ".txt"):
            hint = _ragged(path, "," if kind == ".csv" else "\t")
        raise DataError(f"{path} cannot be read as {kind[1:].upper()}: {first}.{hint}") from None
    raise DataError(
        f"{path} ends in {kind or 'nothing'!r}, which is not known. "
        "Use .csv, .tsv, .parquet, .arrow or .rds (R: saveRDS(d, 'd.rds'))."
    )


def _read_rds(path: Path) -> Any:
    """Read what R's ``saveRDS`` wrote of a data frame: factors keep their levels, dates are numbers of days."""
    import warnings

    import pandas as pd
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that it does not know, such as a tibble's, are read as what they hold
        try:
            found = rdata.read_rds(path)
        except Exception as error:  # noqa: BLE001  of a file that is none, it raises whatever its parser met
            raise DataError(f"{path} cannot be read as RDS: {error}. Save it by R's saveRDS() again.") from None
    if not isinstance(found, pd.DataFrame):
        raise DataError(f"{path} holds no data frame, but what R reads as {_r_kind(found)}. Save a data.frame.")
    return found.reset_index(drop=True)


def _r_kind(found: Any) -> str:
    if isinstance(found, Mapping | list):
        return "a list"
    return "a matrix or vector" if hasattr(found, "shape") else f"{type(found).__name__}"


def _read_text(path: Path, separator: str) -> Any:
    import polars as pl

    quoted = _quoted_columns(path, separator)
    return pl.read_csv(
        path,
        separator=separator,
        null_values=list(MISSING_TEXT),
        infer_schema_length=None,
        schema_overrides=dict.fromkeys(quoted, pl.String),
    )


def _ragged(path: Path, separator: str) -> str:
    """Say which row has not as many fields as the header; nothing where all have."""
    import csv

    with _open_text(path) as file:
        lines = csv.reader(file, delimiter=separator)
        header = next(lines, [])
        for number, fields in enumerate(lines, start=1):
            if fields and len(fields) != len(header):
                return f" Data row {number:,} has {len(fields)} fields, the header {len(header)}. Mend that row."
    return ""


def _open_text(path: Path) -> IO[str]:
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    return cast(IO[str], opener(path, "rt", encoding="utf-8-sig", errors="replace", newline=""))


def _quoted_columns(path: Path, separator: str, rows: int = 200) -> list[str]:
    """Columns whose values stand in quotes in the first rows; none where the whole file is quoted."""
    import csv
    from itertools import islice

    with _open_text(path) as file:
        lines = list(islice(file, rows + 1))
    if lines and "\0" in lines[0]:
        raise DataError(f"{path.name} is no UTF-8 text (UTF-16, perhaps). Save it as UTF-8.")
    header = next(csv.reader(lines[:1], delimiter=separator), [])
    if not any(line.strip() for line in lines):
        raise DataError(f"{path.name} is empty. Save the table again.")
    others = [other for other in (",", ";", "\t") if other != separator and other in lines[0]]
    if len(header) == 1 and others:
        raise DataError(
            f"{path.name} has a single column, {header[0]!r}: its values seem to be separated by {others[0]!r}, not by "
            f"{separator!r}. Save it with commas as .csv (R: write.csv, not write.csv2) or with tabs as .tsv."
        )
    if twice := [name for k, name in enumerate(header) if name and name in header[:k]]:
        raise DataError(f"{path.name} has {header.count(twice[0])} columns named {twice[0]!r}. Rename them.")
    field = re.compile(f'(?:^|{re.escape(separator)})("(?:[^"]|"")*"|[^{re.escape(separator)}\r\n]*)')
    bare, inside = set(), set()
    for line in lines[1:]:
        for name, value in zip(header, field.findall(line), strict=False):
            if value.startswith('"'):
                inside.add(name)
            elif value not in MISSING_TEXT:
                bare.add(name)
    quoted = [name for name in header if name in inside - bare]
    return quoted if bare else []

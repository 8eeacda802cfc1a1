"""Tables that a user brings: kept in memory, for a while, and nowhere else.

A table is read from the bytes that a browser sends, by the rules for files (:mod:`workbench.tables`); nothing in it is
evaluated. Columns that cannot be told apart, or not drawn, are refused in words. A table gets a key that cannot be
guessed, which stands in addresses; it is forgotten when it was not asked for in two hours, when others need the room,
and when the lab ends.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from workbench.design import Design
from workbench.errors import DataError, OptionError

LARGEST = 4_000_000
"""Bytes of a file."""
MOST_ROWS, MOST_COLUMNS = 100_000, 200
GROUPS = (3, 200)
"""A grouping factor for the lab's pictures has so many levels."""
TABLES, KEPT = 64, 2 * 3600.0
"""So many tables at a time; seconds that one is kept after it was last asked for."""
LARGER = "Larger tables are for `workbench compare` on the command line."
KINDS = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, eq=False)
class Uploaded:
    """A table, and what its columns can be.

    Attributes
    ----------
    name : str
        Of the file.
    frame : dataframe
    columns : tuple of str
    numbers : tuple of int
        Places of the columns of numbers that vary.
    labels : tuple of int
        Places of the columns that can be a grouping factor.
    rows : int
    designs : dict
        What pages have made of it, by the places of the chosen columns.
    """

    name: str
    frame: Any
    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    labels: tuple[int, ...]
    rows: int
    designs: dict[Any, Design] = field(default_factory=dict)


def read_table(name: str, content: bytes) -> Uploaded:
    """Read the bytes of a file.

    Raises
    ------
    DataError
        Too large, of an unknown kind, unreadable; or without a column of numbers or of groups.

    Examples
    --------
    >>> found = read_table("marks.csv", b"class,mark\\na,1\\na,2\\nb,4\\nb,3\\nc,7\\nc,6\\n")
    >>> [found.columns[k] for k in found.numbers], [found.columns[k] for k in found.labels], found.rows
    (['mark'], ['class'], 6)
    """
    from workbench.tables import collect

    kind = PurePath(name).suffix.lower()
    if kind not in KINDS:
        raise DataError(f"{name} ends in {kind or 'nothing'!r}. The lab reads {', '.join(KINDS)}.")
    if len(content) > LARGEST:
        raise DataError(
            f"{name} has {len(content) / 1e6:.1f} million bytes; the lab takes {LARGEST / 1e6:g} million. {LARGER}"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"table{kind}"
        path.write_bytes(content)
        try:
            if kind == ".parquet":
                _check_packed(name, path)
            frame = collect(path, ())
        except DataError as error:
            raise DataError(str(error).replace(str(path), name).replace(path.name, name)) from None
    return _described(name, frame)


def _check_packed(name: str, path: Path) -> None:
    """What a small file would unpack to, before it does."""
    import polars as pl

    try:
        found = pl.scan_parquet(path)
        rows, columns = found.select(pl.len()).collect().item(), len(found.collect_schema())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}.") from None
    _check_size(name, rows, columns)


def _check_size(name: str, rows: int, columns: int) -> None:
    if rows > MOST_ROWS or columns > MOST_COLUMNS:
        raise DataError(
            f"{name} has {rows:,} rows and {columns:,} columns; the lab takes {MOST_ROWS:,} and {MOST_COLUMNS}. "
            f"{LARGER}"
        )


def _described(name: str, frame: Any) -> Uploaded:
    columns = tuple(str(column) for column in frame.columns)
    rows = len(frame)
    _check_size(name, rows, len(columns))
    numbers, labels = [], []
    for k, column in enumerate(columns):
        series = frame[column]
        known = series.drop_nulls()
        different = known.n_unique() if len(known) else 0
        if series.dtype.is_numeric() and different > 1:
            numbers.append(k)
        repeated = different < len(known)
        if GROUPS[0] <= different <= GROUPS[1] and repeated and not series.dtype.is_float():
            labels.append(k)
    if not numbers:
        raise DataError(f"{name} has no column of numbers that vary, so that there is nothing to average.")
    if not labels or (len(labels) == len(numbers) == 1 and labels == numbers):
        low, high = GROUPS
        raise DataError(
            f"{name} has no column of groups: one with {low} to {high} different labels (or whole numbers), some of "
            "them in several rows, beside a column of numbers."
        )
    return Uploaded(name, frame, columns, tuple(numbers), tuple(labels), rows)


CACHES: list[Callable[[], None]] = []
"""What empties what pages have computed of tables."""


def remembered[T](most: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Keep up to so many answers of a function, until a table is forgotten.

    Examples
    --------
    >>> @remembered(8)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(3), twice(3)
    (6, 6)
    """

    def kept(function: Callable[..., T]) -> Callable[..., T]:
        made = lru_cache(maxsize=most)(function)
        CACHES.append(made.cache_clear)
        return wraps(function)(lambda *given: made(*given))

    return kept


class Shelf:
    """The tables that are kept. Safe for several threads; `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Uploaded]] = {}
        self._sweeper: threading.Timer | None = None

    def put(self, table: Uploaded) -> str:
        """Keep a table, and say its key."""
        key = secrets.token_hex(8)
        with self._lock:
            self._forget()
            while len(self._kept) >= TABLES:
                self._drop(min(self._kept, key=lambda k: self._kept[k][0]))
            self._kept[key] = (self._clock(), table)
            self._sweep_later()
        return key

    def get(self, key: str) -> Uploaded:
        """The table of a key.

        Raises
        ------
        OptionError
            It is not here, or no more.
        """
        with self._lock:
            self._forget()
            found = self._kept.get(key)
            if found is not None:
                self._kept[key] = (self._clock(), found[1])
        if found is None:
            raise OptionError("This table is not here any more: the lab keeps none for long. Bring it again.")
        return found[1]

    def __len__(self) -> int:
        """How many tables are kept now."""
        with self._lock:
            self._forget()
            return len(self._kept)

    def _sweep_later(self) -> None:
        """Look again when the oldest table is due, though nobody comes."""
        if self._sweeper is None and self._kept:
            due = min(last for last, _ in self._kept.values()) + KEPT - self._clock()
            self._sweeper = threading.Timer(max(due, 0.0) + 1.0, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            self._forget()
            self._sweep_later()

    def _forget(self) -> None:
        now = self._clock()
        for key in [key for key, (last, _) in self._kept.items() if now - last > KEPT]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        """Forget a table, and all that was computed."""
        del self._kept[key]
        for empty in CACHES:
            empty()


SHELF = Shelf()

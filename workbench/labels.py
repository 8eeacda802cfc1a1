"""What the levels of a group are called, whatever names them: numbers, dates and truth values as text.

A date is its ISO text, with the time where there is one: ``2024-01-05``, ``2024-01-05 10:30:00``. Each is read by
itself, so that it has the same label in a table of new rows. Truth values are ``FALSE`` and ``TRUE``, as in R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

DATES = (date, datetime)
"""The kinds of a date's values; those of pandas are of the second."""


def label(value: Any) -> str:
    """One value as a label.

    >>> label(date(2024, 1, 5)), label(datetime(2024, 1, 5)), label(datetime(2024, 1, 5, 10, 30)), label(True)
    ('2024-01-05', '2024-01-05', '2024-01-05 10:30:00', 'TRUE')
    """
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        day = value.time() == time() and not getattr(value, "nanosecond", 0) and value.tzinfo is None
        return value.date().isoformat() if day else value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def number_label(value: Any) -> str:
    """A number as a label: a whole one without its point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def numbered(numbers: NDArray[Any]) -> tuple[str, ...]:
    """Whole numbers as labels."""
    return tuple(map(str, numbers.tolist()))


class LazyLevels(Sequence[str]):
    """Labels of so many levels that they are made only when asked for; equal to a tuple of the same text.

    Parameters
    ----------
    size : int
    make : callable
        Makes all labels.

    Examples
    --------
    >>> levels = LazyLevels(2, lambda: numbered(np.array([308, 309])))
    >>> levels, levels[1], levels == ("308", "309")
    (('308', '309'), '309', True)
    """

    def __init__(self, size: int, make: Callable[[], tuple[str, ...]]) -> None:
        self.size = size
        self.make = make

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All of them."""
        return self.make()

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        return self.labels[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LazyLevels):
            return self is other or self.labels == other.labels
        return self.labels == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.labels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.labels, dtype=dtype)

    def __repr__(self) -> str:
        return repr(self.labels)

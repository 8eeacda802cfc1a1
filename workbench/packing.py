"""Designs, fits and comparisons as bytes, for other processes and copies: pickle refuses their read-only mappings."""

from __future__ import annotations

import io
import pickle
from dataclasses import fields
from types import MappingProxyType
from typing import Any


def packed(value: Any) -> bytes:
    """The bytes of a value; ``pickle.loads`` makes it again.

    Raises
    ------
    TypeError, AttributeError, pickle.PicklingError
        It holds something that cannot go to another process.

    Examples
    --------
    >>> pickle.loads(packed(MappingProxyType({"a": 1})))
    mappingproxy({'a': 1})
    """
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


class Portable:
    """What pickle and copy take apart, field by field, though a frozen dataclass holds read-only mappings.

    Arrays of a copy are its own, and may be written to.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is made again: its class, and its fields as bytes."""
        whole = {part.name: getattr(self, part.name) for part in fields(self)}  # type: ignore[arg-type]
        return _again, (type(self), packed(whole))


def _again(kind: type, whole: bytes) -> Any:
    made: Any = object.__new__(kind)
    for name, value in pickle.loads(whole).items():
        object.__setattr__(made, name, value)
    return made


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        return (_proxy, (dict(value),)) if isinstance(value, MappingProxyType) else NotImplemented


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)

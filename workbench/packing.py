"""Designs and fits as bytes, for other processes: their read-only mappings are packed as well, which pickle refuses."""

from __future__ import annotations

import io
import pickle
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


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        return (_proxy, (dict(value),)) if isinstance(value, MappingProxyType) else NotImplemented


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)

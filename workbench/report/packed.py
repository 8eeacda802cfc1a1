"""A grid of very many levels as a short text that a page can hold: every number as a whole number of its last decimal.

The text is base64 of a zlib stream (RFC 1950), which browsers unpack by themselves, of a JSON document:

==========  ========================================================================================================
key         is
==========  ========================================================================================================
levels      the number of levels J
columns     by column ``{"words": [...], "codes": [...]}`` (`codes` is left out where every level has its own word), or
            ``{"places": p, "values": V}`` and, where there are standard errors, ``"errors": V``, or ``{"same": key}``
            where the same column of another table holds it, or ``{}`` where there was no room
==========  ========================================================================================================

with numbers V = ``{"as": [...]}`` of J whole numbers or null; ``{"all": number}`` where all are the same; ``{"by": c,
"at": {...}}`` where they follow from the whole numbers of column c (a standard error from the group's size); or
``{"from": c, "as": [...]}`` as differences from column c (estimators lie close together).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.report.grid import Grid

Array = NDArray[np.float64]

LARGEST = 2.0**52
"""Larger whole numbers than this have no exact float."""


@dataclass(frozen=True)
class Stage:
    """How much is packed: so many decimals fewer than tables for people have; which columns; whose standard errors."""

    fewer: int
    beside: bool
    errors: bool
    said: str


_ONE_FEWER = "In the table of all levels numbers have one decimal fewer, for room"
STAGES = (
    Stage(0, True, True, ""),
    Stage(1, True, True, f"{_ONE_FEWER}."),
    Stage(1, False, True, f"{_ONE_FEWER}; shrinkage, reliability and ranks are in the file alone."),
    Stage(
        1, False, False, f"{_ONE_FEWER}; shrinkage, reliability, ranks and most standard errors are in the file alone."
    ),
)  # fmt: skip
"""What is tried in turn, until everything fits."""


@dataclass(frozen=True)
class Packed:
    """Every level of a grid as text; empty where it does not fit. `said` is what was given up for room."""

    text: str = ""
    said: str = ""


def pack(grids: Mapping[str, Grid], budget: int) -> dict[str, Packed]:
    """Pack grids, by the key of their table, with as many digits as `budget` characters hold; the last give way first.

    Numbers too large to be held as whole numbers are as if they did not fit.
    """
    for stage in STAGES:
        made = _packed(grids, stage, budget)
        if len(made) == len(grids):
            break
    return {key: Packed(made[key], stage.said) if key in made else Packed() for key in grids}


def _packed(grids: Mapping[str, Grid], stage: Stage, budget: int) -> dict[str, str]:
    """The texts of the first grids, as many of them as fit."""
    made: dict[str, str] = {}
    holders: dict[str, str] = {}  # which table holds a group's levels and sizes
    for key, grid in grids.items():
        document = _document(grid, stage, holders.get(grid.v.group, ""))
        if document is None:
            return made
        plain = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        made[key] = base64.b64encode(zlib.compress(plain.encode("utf-8"), 9)).decode("ascii")
        if sum(len(text) for text in made.values()) > budget:
            del made[key]
            return made
        holders.setdefault(grid.v.group, key)
    return made


def _document(grid: Grid, stage: Stage, holder: str) -> dict[str, Any] | None:
    columns: list[dict[str, Any]] = []
    done: list[tuple[int, int, Array]] = []  # place, decimals and whole numbers of the columns before
    for place, column in enumerate(grid.columns):
        if column.numbers is None:
            if place == 0 and holder:
                columns.append({"same": holder})
                continue
            assert column.codes is not None
            own = np.array_equal(column.codes, np.arange(len(column.words)))
            columns.append({"words": list(column.words)} | ({} if own else {"codes": column.codes.tolist()}))
            continue
        if column.beside and not stage.beside:
            columns.append({})
            continue
        places = max(0, column.places - stage.fewer) if column.places > 1 else column.places
        whole = _whole(column.numbers, places)
        given = column.errors if stage.errors or column.leads else None
        errors = None if given is None else _whole(np.where(given > 0, given, np.nan), places)
        if whole is None or (given is not None and errors is None):
            return None
        made: dict[str, Any] = {"places": places, "values": _shortest(whole, places, done)}
        if place == 1 and holder:  # the groups' sizes
            made = {"same": holder}
        if errors is not None and np.isfinite(errors).any():
            made["errors"] = _shortest(errors, -1, done)
        columns.append(made)
        done.append((place, places, whole))
    return {"levels": len(grid.v.levels), "columns": columns}


def _whole(values: Array, places: int) -> Array | None:
    """Values as whole numbers of the last decimal, halves away from zero; NaN stays; None where one is too large."""
    scaled = np.asarray(values, dtype=float) * 10.0**places
    if np.isinf(scaled).any() or (np.abs(scaled) > LARGEST).any():
        return None
    return np.asarray(np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)) + 0.0


def _shortest(whole: Array, places: int, done: list[tuple[int, int, Array]]) -> dict[str, Any]:
    """The shortest way to write whole numbers down, given the columns before."""
    known = np.isfinite(whole)
    if known.all() and np.ptp(whole) == 0:
        return {"all": int(whole[0])}
    if known.all() and done and (found := _by_size(whole, *done[0][::2])) is not None:
        return found
    best: dict[str, Any] = {"as": _integers(whole)}
    length = _digits(whole[known])
    for place, decimals, other in done:
        if decimals == places and np.isfinite(other[known]).all():
            difference = whole - other
            if _digits(difference[known]) < length:
                best, length = {"from": place, "as": _integers(difference)}, _digits(difference[known])
    return best


def _by_size(whole: Array, place: int, sizes: Array) -> dict[str, Any] | None:
    """The values as a function of the groups' sizes, where they are one and that is short."""
    n, first, codes = np.unique(sizes, return_index=True, return_inverse=True)
    if 4 * len(n) > len(whole) or not np.array_equal(whole[first][codes], whole):
        return None
    return {"by": place, "at": {str(int(size)): int(whole[at]) for size, at in zip(n, first, strict=True)}}


def _digits(whole: Array) -> float:
    return float(np.log2(1 + np.abs(whole)).sum())


def _integers(whole: Array) -> list[int | None]:
    known = np.isfinite(whole)
    exact = np.where(known, whole, 0).astype(np.int64).astype(object)
    exact[~known] = None
    made: list[int | None] = exact.tolist()
    return made

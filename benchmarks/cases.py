"""The cases: a formula each, and columns that are the same on every run."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
DATASETS = ROOT / "tests" / "data" / "datasets"

Kind = Literal["integer", "categorical", "text"]
Library = Literal["pandas", "polars"]


@dataclass(frozen=True)
class Labels:
    """A column of labels: ``levels[codes]``, and what the dataframe holds it as.

    Attributes
    ----------
    codes : array of int, shape (n,)
    levels : array, shape (J,)
        Text, or integers where `kind` is ``"integer"``.
    kind : str
    """

    codes: NDArray[Any]
    levels: NDArray[Any]
    kind: Kind


Columns = dict[str, "NDArray[np.float64] | Labels"]


@dataclass(frozen=True)
class Bar:
    """One random term of a formula, ``(terms | group)``; `terms` is ``"1"`` or the name of one column."""

    terms: str
    group: str

    @property
    def names(self) -> tuple[str, ...]:
        """The varying columns as R names them.

        Examples
        --------
        >>> Bar("Days", "Subject").names
        ('(Intercept)', 'Days')
        """
        return ("(Intercept)",) if self.terms == "1" else ("(Intercept)", self.terms)


@dataclass(frozen=True)
class Case:
    """A formula, whose population part and bars also stand by themselves, and the data it meets.

    Attributes
    ----------
    name, title : str
    fixed : str
        Response and population part, ``"Reaction ~ Days"``.
    bars : tuple of Bar
    build : callable
        Makes the columns; seeded, so that every process gets the same ones.
    integer : bool
        Whether the groups are labelled by integers.
    """

    name: str
    title: str
    fixed: str
    bars: tuple[Bar, ...]
    build: Callable[[], Columns]
    integer: bool = False

    @property
    def formula(self) -> str:
        """The whole formula, in lme4's notation.

        Examples
        --------
        >>> CASES["penicillin"].formula
        'diameter ~ 1 + (1 | plate) + (1 | sample)'
        """
        return " + ".join([self.fixed, *(f"({bar.terms} | {bar.group})" for bar in self.bars)])


def frame_of(columns: Columns, library: Library) -> Any:
    """The columns as a dataframe of pandas or polars."""
    if library == "polars":
        import polars as pl

        return pl.DataFrame({name: _polars_column(column) for name, column in columns.items()})
    import pandas as pd

    return pd.DataFrame({name: _pandas_column(column) for name, column in columns.items()})


def frame_bytes(frame: Any) -> int:
    """Bytes that the columns of a dataframe take, by its own account."""
    if hasattr(frame, "estimated_size"):
        return int(frame.estimated_size())
    return int(frame.memory_usage(index=False, deep=True).sum())


def read_dataset(file: str, numbers: tuple[str, ...], labels: tuple[str, ...]) -> Columns:
    """Columns of a CSV in ``tests/data/datasets``; the labels are categorical, their levels sorted."""
    path = DATASETS / file
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        rows = list(csv.DictReader(lines))
    columns: Columns = {name: np.array([row[name] for row in rows], dtype=float) for name in numbers}
    for name in labels:
        levels, codes = np.unique([row[name] for row in rows], return_inverse=True)
        columns[name] = Labels(codes, levels, "categorical")
    return columns


def simulate_one_factor(n: int, n_groups: int, kind: Kind, slope: bool = False, pairs: bool = False) -> Columns:
    """Rows in random order, in groups of random sizes (or all of two), with an intercept, or intercept and slope.

    ``y = 10 + u_g + 2 e``, ``u ~ N(0, 1)``; with a slope ``+ (0.5 + v_g) x``, where v has SD 0.5 and correlation
    0.3 with u, and ``x ~ N(0, 1)``. Sizes are multinomial with gamma weights of shape 2, and at least one.
    """
    rng = np.random.default_rng(20_260)
    if pairs:
        codes = np.repeat(np.arange(n_groups), 2)
    else:
        share = np.cumsum(rng.gamma(2.0, size=n_groups))
        others = np.searchsorted(share, rng.uniform(0.0, share[-1], n - n_groups), side="right")
        codes = np.concatenate([np.arange(n_groups), others])
    rng.shuffle(codes)
    u = rng.standard_normal(n_groups)
    y = 10.0 + u[codes] + 2.0 * rng.standard_normal(n)
    columns: Columns = {}
    if slope:
        v = 0.5 * (0.3 * u + np.sqrt(1 - 0.3**2) * rng.standard_normal(n_groups))
        x = rng.standard_normal(n)
        y += (0.5 + v[codes]) * x
        columns["x"] = x
    numbered = np.arange(1, n_groups + 1)
    levels = numbered if kind == "integer" else np.char.mod("g%07d", numbered)
    return {"y": y, **columns, "g": Labels(codes, levels, kind)}


def _pandas_column(column: NDArray[np.float64] | Labels) -> Any:
    import pandas as pd

    if not isinstance(column, Labels):
        return column
    if column.kind == "integer":
        return column.levels[column.codes]
    if column.kind == "categorical":
        return pd.Categorical.from_codes(column.codes, pd.Index(column.levels.tolist(), dtype="str"))
    return pd.Series(column.levels.tolist(), dtype="str").take(column.codes).reset_index(drop=True)


def _polars_column(column: NDArray[np.float64] | Labels) -> Any:
    import polars as pl

    if not isinstance(column, Labels):
        return pl.Series(column)
    if column.kind == "integer":
        return pl.Series(column.levels[column.codes])
    levels = pl.Series(column.levels.tolist(), dtype=pl.String)
    if column.kind == "categorical":
        levels = levels.cast(pl.Enum(levels))
    return levels.gather(column.codes)


def _one_factor(name: str, title: str, n: int, n_groups: int, kind: Kind = "integer", **more: bool) -> Case:
    build = partial(simulate_one_factor, n, n_groups, kind, **more)
    terms = "x" if more.get("slope") else "1"
    return Case(name, title, f"y ~ {terms}", (Bar(terms, "g"),), build, kind == "integer")


_INSTEVAL = partial(read_dataset, "InstEval.csv.gz", ("y",), ("s", "d", "dept", "service"))

_ALL = (
    Case(
        "sleepstudy",
        "the sleep study: 18 groups of 10",
        "Reaction ~ Days",
        (Bar("Days", "Subject"),),
        partial(read_dataset, "sleepstudy.csv", ("Reaction", "Days"), ("Subject",)),
    ),
    Case(
        "penicillin",
        "two factors fully crossed, 24 x 6",
        "diameter ~ 1",
        (Bar("1", "plate"), Bar("1", "sample")),
        partial(read_dataset, "Penicillin.csv", ("diameter",), ("plate", "sample")),
    ),
    Case(
        "insteval",
        "ratings of lecturers, 2,972 students x 1,128 lecturers",
        "y ~ 1",
        (Bar("1", "s"), Bar("1", "d")),
        _INSTEVAL,
    ),
    Case(
        "insteval_dept",
        "the same with the lecturers' 14 departments",
        "y ~ service",
        (Bar("1", "s"), Bar("1", "d"), Bar("1", "dept")),
        _INSTEVAL,
    ),
    _one_factor("million", "10^6 rows in 10^5 groups, integer labels", 10**6, 10**5),
    _one_factor("million_categorical", "10^6 rows in 10^5 groups, categorical labels", 10**6, 10**5, "categorical"),
    _one_factor("million_text", "10^6 rows in 10^5 groups, text labels", 10**6, 10**5, "text"),
    _one_factor("million_slope", "10^6 rows in 10^5 groups, integer labels, with a slope", 10**6, 10**5, slope=True),
    _one_factor("ten_million", "10^7 rows in 10^6 groups, integer labels", 10**7, 10**6),
    _one_factor("pairs", "125,066 groups of two, integer labels", 250_132, 125_066, pairs=True),
)
CASES = MappingProxyType({case.name: case for case in _ALL})

_TINY = _one_factor("tiny", "20 groups", 200, 20)


def tiny_case(case: Case) -> Case:
    """A case of the same shape on few rows, whose fit loads an engine's code.

    Examples
    --------
    >>> [tiny_case(CASES[name]).name for name in ("insteval", "million_slope", "pairs")]
    ['penicillin', 'sleepstudy', 'tiny']
    """
    if len(case.bars) > 1:
        return CASES["penicillin"]
    return _TINY if case.bars[0].terms == "1" else CASES["sleepstudy"]

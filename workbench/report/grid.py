"""Every level of one varying term as plain data: a grid of columns, for rows that people read and for packed data.

Beside the estimates, with their standard errors, stand the columns of :mod:`workbench.group_table` that tell groups
apart. Shrinkage, reliability and rank are those of the fit that orders the levels; the probabilities are full Bayes's,
where it was fitted, since only there the spread between groups is not taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.group_table import draws_of_ranks
from workbench.plots.style import title_of
from workbench.plots.varying import Varying, coefficients, column, own, partial, population, truth
from workbench.report import extremes
from workbench.report.cells import Cell, Column, number
from workbench.report.labels import labels
from workbench.words import fixed as with_places
from workbench.words import middle_cut

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

TOP = 3
"""The table tells how probable it is that a group is among so many highest."""
TOLD = 0.0025
"""Shares of draws that may miss by more have two digits."""
WHOLE_BAYES = ("hierarchical", "exact")
OF_A_FIT = frozenset({"not converged", "singular", "read, not computed here"})
"""Doubts about a whole fit, which the page says once, before its findings."""
NOTHING = Cell("")
WIDTH = 60
"""A label longer than this is cut,"""
APART = 1_000
"""of up to so many levels as keeps them apart."""


@dataclass(frozen=True, eq=False)
class GridColumn:
    """One column over J levels: numbers to so many decimals, or words by their place in a list.

    Attributes
    ----------
    head : Column
    numbers : array, shape (J,), or None
    places : int
    errors : array, shape (J,), or None
        What stands smaller below each number: its standard error; NaN and 0 are not shown.
    words : tuple of str
    shown : tuple of str
        The words as a table shows them, cut where they are long; empty where each is cut in its middle.
    codes : array of int, shape (J,), or None
    foot : Cell
        What stands below the column.
    beside : bool
        Whether the table is one without it: shrinkage, reliability, ranks.
    leads : bool
        Whether it is the estimates that order the levels.
    """

    head: Column
    numbers: Array | None = None
    places: int = 3
    errors: Array | None = None
    words: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    codes: Codes | None = None
    foot: Cell = NOTHING
    beside: bool = False
    leads: bool = False

    def cell(self, j: int) -> Cell:
        """One level's cell."""
        if self.numbers is None:
            assert self.codes is not None
            word = self.words[self.codes[j]]
            shown = self.shown[self.codes[j]] if self.shown else middle_cut(word, WIDTH)
            return Cell(shown, _sort_key(word), whole="" if shown == word else word)
        made = number(float(self.numbers[j]), self.places)
        error = np.nan if self.errors is None else float(self.errors[j])
        return Cell(made.text, made.sort, f"± {with_places(error, self.places)}" if error > 0 else "")


@dataclass(frozen=True, eq=False)
class Grid:
    """The columns of one varying term, the levels' names first."""

    v: Varying
    columns: tuple[GridColumn, ...]

    def heads(self) -> tuple[Column, ...]:
        """The headings."""
        return tuple(column.head for column in self.columns)

    def row(self, j: int) -> tuple[Cell, ...]:
        """One level."""
        return tuple(column.cell(j) for column in self.columns)

    def foot(self) -> tuple[Cell, ...]:
        """The population values."""
        return tuple(column.foot for column in self.columns)


def grid(comparison: Comparison, v: Varying, beside: bool = True) -> Grid:
    """Lay out every level of a varying term; `beside` says whether with shrinkage, reliability, ranks and doubts."""
    places = extremes.decimals(comparison, v)
    parts = [_names(v), GridColumn(Column("n"), v.sizes.astype(float), 0)]
    if (true := truth(comparison, v)) is not None:
        parts.append(GridColumn(Column("truth"), true, places))
    alone = own(comparison, v)
    if alone is not None and "no_pooling" not in comparison.fits:
        parts.append(GridColumn(Column(f"own {v.own_label}" if v.plain else "by itself"), alone, places))
    parts += _estimates(comparison, v, places)
    parts += _of_one_fit(comparison, v) if beside else []
    return Grid(v, tuple(parts))


def _names(v: Varying) -> GridColumn:
    head = Column(v.group, numeric=False)
    names, foot = tuple(v.levels), Cell("population value")
    shown = labels(names, WIDTH) if len(names) <= APART else ()
    return GridColumn(head, words=names, shown=shown, codes=np.arange(len(names)), foot=foot)


def _estimates(comparison: Comparison, v: Varying, places: int) -> list[GridColumn]:
    made, lead = [], leader(comparison)
    for name, fit in comparison.fits.items():
        k = fit.design.blocks[v.block].fixed[v.column]
        error = np.nan if k is None else float(fit.population.std_error[k])
        minor = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
        foot = Cell(with_places(population(fit, v), places), "", minor)
        errors = column(fit.group_effects[v.block].coefficient, v, "std_error")
        made.append(
            GridColumn(Column(title_of(name)), coefficients(fit, v), places, errors, foot=foot, leads=name == lead)
        )
    return made


def _of_one_fit(comparison: Comparison, v: Varying) -> list[GridColumn]:
    """Shrinkage, reliability, rank and its probabilities, where they are known, and doubts about single levels."""
    lead = leader(comparison)
    whole = ranked_by(comparison)
    table = comparison.by_group(TOP)
    made = []
    for name, title, key in (
        (lead, "shrinkage", "shrinkage"),
        (lead, "reliability", "reliability"),
        (lead, "rank", "rank"),
        (whole, "P(highest)", "p_highest"),
        (whole, f"P(top {TOP})", "p_top"),
    ):
        values = table[key].to_numpy(float)[_rows(comparison, name, v)]
        known = values[np.isfinite(values)]
        if len(known):
            shared = key == "rank" and len(values) <= extremes.WHOLE and bool((known % 1 != 0).any())
            places = int(shared) if key == "rank" else 3
            if key.startswith("p_") and 0.5 / draws_of_ranks(comparison.fits[name], v.block) ** 0.5 > TOLD:
                places = 2
            made.append(GridColumn(Column(title, minor=title_of(name)), values, places, beside=True))
    words, codes = _doubts(comparison, v, table)
    if any(words):
        made.append(GridColumn(Column("trust", numeric=False), words=words, codes=codes))
    return made


def ranked_by(comparison: Comparison) -> str:
    """The name of the fit whose probabilities of ranks are shown: full Bayes where it is there."""
    return next((name for name in WHOLE_BAYES if name in comparison.fits), leader(comparison))


def leader(comparison: Comparison) -> str:
    """The name of the fit that orders the levels."""
    return partial(comparison) or list(comparison.fits)[-1]


def _rows(comparison: Comparison, name: str, v: Varying) -> slice:
    """Where a fit's rows of a term stand in the table of :meth:`Comparison.by_group`."""
    sizes = [len(block.levels) * len(block.terms) for block in comparison.design.blocks]
    start = list(comparison.fits).index(name) * sum(sizes) + sum(sizes[: v.block])
    return slice(start + v.column, start + sizes[v.block], len(comparison.design.blocks[v.block].terms))


def _doubts(comparison: Comparison, v: Varying, table: pd.DataFrame) -> tuple[tuple[str, ...], Codes]:
    """What speaks against single numbers, in words, with the estimators that it is said of unless it is all of them."""
    import pandas as pd

    names = list(comparison.fits)
    coded = [pd.factorize(table["trust"].iloc[_rows(comparison, name, v)]) for name in names]
    said, codes = np.unique(np.column_stack([code for code, _ in coded]), axis=0, return_inverse=True)
    words = []
    for row in said:
        by_word: dict[str, list[str]] = {}
        for name, code, (_, texts) in zip(names, row, coded, strict=True):
            for word in str(texts[code]).split("; "):
                if word and word not in OF_A_FIT:
                    by_word.setdefault(word, []).append(title_of(name))
        every = (word if len(of) == len(names) else f"{word} ({', '.join(of)})" for word, of in by_word.items())
        words.append("; ".join(every))
    return tuple(words), np.asarray(codes, dtype=np.intp).ravel()


def _sort_key(label: str) -> float | str:
    try:
        value = float(label)
    except ValueError:
        return label
    return value if np.isfinite(value) else label

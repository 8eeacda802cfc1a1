"""The tables of estimates in wide form: one column per estimator, one row per level or term.

Of many levels they show the extremes, and say how many more there are and where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.group_table import draws_of_ranks
from workbench.plots.style import title_of
from workbench.plots.varying import Varying, coefficients, printable, varying
from workbench.report import extremes
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.extremes import EXTREMES, WHOLE, Farthest
from workbench.report.grid import TOP, Grid, GridColumn, grid, ranked_by
from workbench.report.packed import Packed, pack
from workbench.report.tables import EXTREMES_FILE, estimates_file, groups_file, is_large
from workbench.words import fixed as with_places
from workbench.words import places_for

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit


EDGE = 1e-9
"""Shares that leave 0 to 1 by less do not."""
TABLES = 2_000_000
"""So many bytes of packed levels stand in a page, all its tables together."""


def estimates(comparison: Comparison) -> tuple[Table, ...]:
    """The main table, one per varying term: every level by every estimator, with shrinkage, reliability, ranks, doubts.

    Of many levels the lowest and the highest are rows, and all of them are packed for the page while there is room.
    """
    tables = {f"estimates{key}": _Wide(comparison, v) for v, key in _keyed(comparison)}
    packed = pack({key: wide.grid for key, wide in tables.items() if len(wide.v.levels) > WHOLE}, TABLES)
    return tuple(wide.table(key, packed.get(key, Packed())) for key, wide in tables.items())


def farthest(comparison: Comparison) -> tuple[Table, ...]:
    """What else there is to see among many levels: those that pooling moves farthest, those in dispute."""
    return tuple(
        _Wide(comparison, v).farthest(found, f"{found.key}{key}")
        for v, key in _keyed(comparison)
        for found in extremes.farthest(comparison, v)
    )


def _keyed(comparison: Comparison) -> list[tuple[Varying, str]]:
    terms = varying(comparison)
    return [(v, f"{k + 1 if len(terms) > 1 else ''}") for k, v in enumerate(terms)]


class _Wide:
    """The wide tables of one varying term: what they share."""

    def __init__(self, comparison: Comparison, v: Varying) -> None:
        self.comparison, self.v = comparison, v
        self.grid = grid(comparison, v)
        self.file = estimates_file(comparison)

    def table(self, key: str, packed: Packed) -> Table:
        """All levels, or the lowest and the highest, with all of them packed."""
        v, lead = self.v, extremes.leading(self.comparison)
        low, high = extremes.ends(coefficients(lead, v))
        rows = [self.grid.row(j) for j in low]
        if high:
            rows += [self.left_out(len(low) + len(high)), *(self.grid.row(j) for j in high)]
        several = len(varying(self.comparison)) > 1
        return Table(
            key=key,
            title=f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
            if several or v.plain
            else f"Coefficients by {v.group}",
            columns=self.grid.heads(),
            rows=tuple(rows),
            foot=(self.grid.foot(),),
            notes=_kinds(self.comparison, v)
            + _column_notes(self.grid, groups_file(self.comparison), self.draws())
            + (_room_note(v, packed, self.file) if high else ())
            + _file_note(self.comparison),
            source=self.file,
            search=v.group,
            levels=len(v.levels),
            packed=packed.text,
            aside=_order_note(lead, len(v.levels)) if high else (),
        )

    def farthest(self, found: Farthest, key: str) -> Table:
        """The levels with the largest of some distances, which stand in a last column."""
        v, known = self.v, int(np.isfinite(found.distance).sum())
        rows = [(*self.grid.row(j), number(float(found.distance[j]))) for j in found.levels.tolist()]
        of = f"Of {len(v.levels):,} levels" + (f", {known:,} of them with both" if known < len(v.levels) else "")
        return Table(
            key=key,
            title=f"{v.quantity[0].upper()}{v.quantity[1:]}: levels of {v.group} {found.why}",
            columns=(*self.grid.heads(), Column(found.heading)),
            rows=(*rows, self.left_out(len(rows))),
            notes=(f"{of}, the {len(rows)} {found.why}.",),
            source=EXTREMES_FILE if is_large(self.comparison) else self.file,
        )

    def draws(self) -> int:
        """How many draws the probabilities of ranks are shares of."""
        return draws_of_ranks(self.comparison.fits[ranked_by(self.comparison)], self.v.block)

    def left_out(self, shown: int) -> tuple[Cell]:
        """How many levels more there are, and where."""
        return (Cell(f"… and {len(self.v.levels) - shown:,} more, all in {self.file}"),)


_MEANINGS = {
    "shrinkage": "the share of a group's own deviation from the population value that is taken away",
    "reliability": "1 − (conditional SD / SD between groups)², the share of what spreads the groups in what is seen "
    "of this one",
    "rank": "of the estimate, 1 the highest",
    "P(highest)": "the probability of being the highest of all, in posterior draws where there are some, else under "
    "independent normal errors",
    f"P(top {TOP})": f"that of being among the {TOP} highest",
    "trust": "what speaks against single numbers; what concerns a whole fit stands before the findings",
}


def _column_notes(shown: Grid, file: str, draws: int) -> tuple[str, ...]:
    """What the columns behind the estimates are, and how far shares of so many draws can be trusted."""
    named = [c for c in shown.columns if c.head.title in _MEANINGS]
    said = [f"{c.head.title}: {_MEANINGS[c.head.title]}{_outside(c)}" for c in named]
    if not said:
        return ()
    shares = any(c.head.title.startswith("P(") for c in named)
    error = f". Probabilities: shares of {draws:,} draws, which miss by some {0.5 / draws**0.5:.1g} near 0.5" * shares
    return ("; ".join(said)[0].upper() + "; ".join(said)[1:] + f"{error}. All digits: {file}.",)


def _outside(shown: GridColumn) -> str:
    """What a share beyond 0 to 1 means, where the column of shrinkage has one."""
    if shown.head.title != "shrinkage" or shown.numbers is None:
        return ""
    low, high = np.nanmin(shown.numbers), np.nanmax(shown.numbers)
    ways = [
        way
        for way, holds in (
            ("below 0 the estimate lies farther out than the group's own", low < -EDGE),
            ("above 1 it lies past the population value", high > 1 + EDGE),
        )
        if holds
    ]
    return f" ({', '.join(ways)}: what else is estimated moves it too)" if ways else ""


def _room_note(v: Varying, packed: Packed, file: str) -> tuple[str, ...]:
    """Where not all levels could be put in the page, or not all of their digits."""
    if not packed.text:
        return (f"All {len(v.levels):,} levels would make the page too large: they are in {file}.",)
    return (packed.said,) if packed.said else ()


def _order_note(lead: Fit, levels: int) -> tuple[str, ...]:
    return (
        f"Of {levels:,} levels, the {EXTREMES} lowest and the {EXTREMES} highest by "
        f"{title_of(lead.estimator)} are shown.",
    )


def _file_note(comparison: Comparison) -> tuple[str, ...]:
    """How to read what is no text file."""
    if not is_large(comparison):
        return ()
    return (
        f"For its size the file is Parquet: polars.read_parquet, pandas.read_parquet or R's arrow::read_parquet. The "
        f"levels that stand out are also in {EXTREMES_FILE}.",
    )


def _kinds(comparison: Comparison, v: Varying, where: str = "") -> tuple[str, ...]:
    """What kind each estimator's point, error and interval are, in the words of those who computed them."""
    file = where or ("the Parquet file" if is_large(comparison) else "the CSV")
    return tuple(
        f"{title_of(name)}: {part.point}; ± {part.std_error_kind}; interval in {file}: {part.interval}."
        for name, part in ((name, fit.group_effects[v.block].coefficient) for name, fit in comparison.fits.items())
    )


def by_estimator(comparison: Comparison, whole: int, each: int, where: str) -> tuple[Table, ...]:
    """Group coefficients and nothing beside them, one table per varying term, for notebooks and papers.

    Parameters
    ----------
    comparison : Comparison
    whole, each : int
        Of more than `whole` levels, so many of the lowest and of the highest are shown.
    where : str
        What holds them all, and the intervals.
    """
    lead, made = extremes.leading(comparison), []
    for v, key in _keyed(comparison):
        shown, J = grid(comparison, v, beside=False), len(v.levels)
        low, high = extremes.ends(coefficients(lead, v), whole, each)
        rows = [shown.row(j) for j in low]
        notes = list(_kinds(comparison, v, where))
        if high:
            rows += [(Cell(f"… and {J - len(low) - len(high):,} more, all in {where}"),), *map(shown.row, high)]
            ends = f"the {len(low)} lowest and the {len(high)} highest by {title_of(lead.estimator)}"
            notes.append(f"Of {J:,} levels, {ends} are shown.")
        title = f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
        made.append(Table(f"estimates{key}", title, shown.heads(), tuple(rows), (shown.foot(),), tuple(notes)))
    return tuple(made)


def fixed(comparison: Comparison, whole: int = WHOLE, where: str = "") -> Table | None:
    """Population coefficients by estimator, the first `whole` of them; `where` holds the rest, else the report."""
    terms = comparison.design.fixed_terms
    if not terms:
        return None
    fits = comparison.fits
    rows = []
    for k, term in enumerate(terms[:whole]):
        errors = [float(fit.population.std_error[k]) for fit in fits.values()]
        places = places_for(errors, [float(fit.population.estimate[k]) for fit in fits.values()])
        cells = [text(printable(term, 60))]
        for fit, error in zip(fits.values(), errors, strict=True):
            cell = number(float(fit.population.estimate[k]), places)
            shown = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        rows.append(tuple(cells))
    if len(terms) > whole:
        rows.append((Cell(f"… and {len(terms) - whole:,} more, all in {where or estimates_file(comparison)}"),))
    file = where or ("the Parquet file" if is_large(comparison) else "the CSV")
    notes = tuple(
        f"{title_of(name)}: {f.population.point}; ± {f.population.std_error_kind}; interval in "
        f"{file}: {f.population.interval}."
        for name, f in fits.items()
    )
    columns = (Column("term", numeric=False), *(Column(title_of(name)) for name in fits))
    return Table("fixed", "Population coefficients", columns, tuple(rows), (), notes, estimates_file(comparison))

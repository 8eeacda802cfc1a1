"""The tables of estimates in wide form: one column per estimator, one row per level or term.

Of many levels they show the extremes, and say how many more there are and where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import (
    Varying,
    coefficients,
    population,
    printable,
    truth,
    varying,
)
from workbench.report import extremes
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.extremes import EXTREMES, WHOLE, Farthest
from workbench.report.tables import EXTREMES_FILE, estimates_file, is_large
from workbench.words import fixed as with_places
from workbench.words import places_for

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit


def estimates(comparison: Comparison, whole: int = WHOLE, each: int = EXTREMES, where: str = "") -> tuple[Table, ...]:
    """Group coefficients in wide form, one table per varying term; of many levels the lowest and the highest.

    Parameters
    ----------
    comparison : Comparison
    whole, each : int
        Of more than `whole` levels, so many of the lowest and of the highest are shown.
    where : str
        What holds them all; the report's file where left out.
    """
    return tuple(_Wide(comparison, v, where).table(f"estimates{key}", whole, each) for v, key in _keyed(comparison))


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

    def __init__(self, comparison: Comparison, v: Varying, where: str = "") -> None:
        self.comparison, self.v = comparison, v
        self.known = truth(comparison, v)
        self.parts = [fit.group_effects[v.block].coefficient for fit in comparison.fits.values()]
        self.places = extremes.decimals(comparison, v)
        self.file = where or estimates_file(comparison)
        self.kind = where or ("the Parquet file" if is_large(comparison) else "the CSV")
        self.in_report = not where

    def table(self, key: str, whole: int = WHOLE, each: int = EXTREMES) -> Table:
        """All levels, or the lowest and the highest."""
        v, lead = self.v, extremes.leading(self.comparison)
        low, high = extremes.ends(coefficients(lead, v), whole, each)
        rows = [self.row(j) for j in low]
        if high:
            rows += [self.left_out(len(low) + len(high)), *(self.row(j) for j in high)]
        several = len(varying(self.comparison)) > 1
        return Table(
            key=key,
            title=f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
            if several or v.plain
            else f"Coefficients by {v.group}",
            columns=self.columns(),
            rows=tuple(rows),
            foot=(_population_row(self.comparison, v, self.places, self.known is not None),),
            notes=_kinds(self.comparison, v, self.kind)
            + (_order_note(lead, len(v.levels), len(low), len(high)) if high else ())
            + (_file_note(self.comparison) if self.in_report else ()),
            source=self.file,
        )

    def farthest(self, found: Farthest, key: str) -> Table:
        """The levels with the largest of some distances, which stand in a last column."""
        v, known = self.v, int(np.isfinite(found.distance).sum())
        rows = [(*self.row(j), number(float(found.distance[j]))) for j in found.levels.tolist()]
        of = f"Of {len(v.levels):,} levels" + (f", {known:,} of them with both" if known < len(v.levels) else "")
        return Table(
            key=key,
            title=f"{v.quantity[0].upper()}{v.quantity[1:]}: levels of {v.group} {found.why}",
            columns=(*self.columns(), Column(found.heading)),
            rows=(*rows, self.left_out(len(rows))),
            notes=(*_kinds(self.comparison, v, self.kind), f"{of}, the {len(rows)} {found.why}."),
            source=EXTREMES_FILE if is_large(self.comparison) else self.file,
        )

    def columns(self) -> tuple[Column, ...]:
        """The headings that all rows share."""
        truths = (Column("truth"),) if self.known is not None else ()
        titles = (Column(title_of(name)) for name in self.comparison.fits)
        return (Column(self.v.group, numeric=False), Column("n"), *truths, *titles)

    def row(self, j: int) -> tuple[Cell, ...]:
        """One level."""
        v = self.v
        name = printable(v.levels[j], 60)
        cells = [Cell(name, _sort_key(v.levels[j])), Cell(f"{int(v.sizes[j]):,}", float(v.sizes[j]))]
        if self.known is not None:
            cells.append(number(self.known[j], self.places))
        for part in self.parts:
            cell, error = number(part.estimate[j, v.column], self.places), part.std_error[j, v.column]
            shown = f"± {with_places(error, self.places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        return tuple(cells)

    def left_out(self, shown: int) -> tuple[Cell]:
        """How many levels more there are, and where."""
        return (Cell(f"… and {len(self.v.levels) - shown:,} more, all in {self.file}"),)


def _order_note(lead: Fit, levels: int, low: int, high: int) -> tuple[str, ...]:
    return (f"Of {levels:,} levels, the {low} lowest and the {high} highest by {title_of(lead.estimator)} are shown.",)


def _file_note(comparison: Comparison) -> tuple[str, ...]:
    """How to read what is no text file."""
    if not is_large(comparison):
        return ()
    return (
        f"For its size the file is Parquet: polars.read_parquet, pandas.read_parquet or R's arrow::read_parquet. The "
        f"levels shown here are also in {EXTREMES_FILE}.",
    )


def _population_row(comparison: Comparison, v: Varying, places: int, gap: bool) -> tuple[Cell, ...]:
    cells = [Cell("population value"), Cell(""), *([Cell("")] if gap else [])]
    for fit in comparison.fits.values():
        k = fit.design.blocks[v.block].fixed[v.column]
        error = np.nan if k is None else float(fit.population.std_error[k])
        minor = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
        cells.append(Cell(with_places(population(fit, v), places), "", minor))
    return tuple(cells)


def _kinds(comparison: Comparison, v: Varying, where: str) -> tuple[str, ...]:
    """What kind each estimator's point, error and interval are, in the words of those who computed them."""
    return tuple(
        f"{title_of(name)}: {part.point}; ± {part.std_error_kind}; interval in {where}: {part.interval}."
        for name, part in ((name, fit.group_effects[v.block].coefficient) for name, fit in comparison.fits.items())
    )


def _sort_key(level: str) -> float | str:
    try:
        value = float(level)
    except ValueError:
        return level
    return value if np.isfinite(value) else level


def fixed(comparison: Comparison, whole: int = WHOLE, where: str = "") -> Table | None:
    """Population coefficients by estimator, the first `whole` of them; `where` as in :func:`estimates`."""
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
    kind = where or ("the Parquet file" if is_large(comparison) else "the CSV")
    notes = tuple(
        f"{title_of(name)}: {f.population.point}; ± {f.population.std_error_kind}; interval in "
        f"{kind}: {f.population.interval}."
        for name, f in fits.items()
    )
    columns = (Column("term", numeric=False), *(Column(title_of(name)) for name in fits))
    return Table("fixed", "Population coefficients", columns, tuple(rows), (), notes, estimates_file(comparison))

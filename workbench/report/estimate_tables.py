"""The tables of estimates in wide form: one column per estimator, one row per level or term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import (
    Varying,
    coefficients,
    column,
    partial,
    population,
    printable,
    truth,
    varying,
)
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.numbers import fixed as with_places
from workbench.report.numbers import places_for

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

WHOLE = 60
"""Up to so many levels stand in the page."""
EXTREMES = 15
"""Beyond that, so many of the lowest and of the highest."""


def estimates(comparison: Comparison) -> tuple[Table, ...]:
    """Group coefficients in wide form, one table per varying term."""
    terms = varying(comparison)
    return tuple(_estimates(comparison, v, f"estimates{k + 1 if len(terms) > 1 else ''}") for k, v in enumerate(terms))


def extremes(values: NDArray[np.float64], whole: int = WHOLE, each: int = EXTREMES) -> tuple[list[int], list[int]]:
    """Which of many levels to show: all of them, or the lowest and the highest by value.

    Examples
    --------
    >>> extremes(np.array([3.0, 1.0, 2.0, 5.0]), whole=3, each=1)
    ([1], [3])
    """
    if len(values) <= whole:
        return list(range(len(values))), []
    order = np.argsort(values, kind="stable").tolist()
    known = int(np.isfinite(values).sum())
    each = min(each, known // 2)
    return order[:each], order[known - each : known]


def leading(comparison: Comparison) -> Fit:
    """The fit that orders the levels: partial pooling where there is some."""
    return comparison.fits[partial(comparison) or list(comparison.fits)[-1]]


def _estimates(comparison: Comparison, v: Varying, key: str) -> Table:
    fits, known = comparison.fits, truth(comparison, v)
    lead = leading(comparison)
    low, high = extremes(coefficients(lead, v))
    parts = {name: fit.group_effects[v.block].coefficient for name, fit in fits.items()}
    places = places_for(column(lead.group_effects[v.block].coefficient, v, "std_error"), coefficients(lead, v))

    def row(j: int) -> tuple[Cell, ...]:
        name = printable(v.levels[j], 60)
        cells = [Cell(name, _sort_key(v.levels[j])), Cell(f"{int(v.sizes[j]):,}", float(v.sizes[j]))]
        if known is not None:
            cells.append(number(known[j], places))
        for part in parts.values():
            cell, error = number(part.estimate[j, v.column], places), part.std_error[j, v.column]
            shown = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        return tuple(cells)

    rows = [row(j) for j in low]
    if high:
        left_out = len(v.levels) - len(low) - len(high)
        rows.append((Cell(f"… and {left_out:,} more, all in tables/estimates.csv"),))
        rows += [row(j) for j in high]
    truths = (Column("truth"),) if known is not None else ()
    several = len(varying(comparison)) > 1
    return Table(
        key=key,
        title=f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
        if several or v.plain
        else f"Coefficients by {v.group}",
        columns=(
            Column(v.group, numeric=False),
            Column("n"),
            *truths,
            *(Column(title_of(name)) for name in fits),
        ),
        rows=tuple(rows),
        foot=(_population_row(comparison, v, places, known is not None),),
        notes=_kinds(comparison, v) + (_order_note(lead, len(v.levels)) if high else ()),
        source="tables/estimates.csv",
    )


def _order_note(lead: Fit, levels: int) -> tuple[str, ...]:
    return (
        f"Of {levels:,} levels, the {EXTREMES} lowest and the {EXTREMES} highest by "
        f"{title_of(lead.estimator)} are shown.",
    )


def _population_row(comparison: Comparison, v: Varying, places: int, gap: bool) -> tuple[Cell, ...]:
    cells = [Cell("population value"), Cell(""), *([Cell("")] if gap else [])]
    for fit in comparison.fits.values():
        k = fit.design.blocks[v.block].fixed[v.column]
        error = np.nan if k is None else float(fit.population.std_error[k])
        minor = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
        cells.append(Cell(with_places(population(fit, v), places), "", minor))
    return tuple(cells)


def _kinds(comparison: Comparison, v: Varying) -> tuple[str, ...]:
    """What kind each estimator's point, error and interval are, in the words of those who computed them."""
    return tuple(
        f"{title_of(name)}: {part.point}; ± {part.std_error_kind}; interval in the CSV: {part.interval}."
        for name, part in ((name, fit.group_effects[v.block].coefficient) for name, fit in comparison.fits.items())
    )


def _sort_key(level: str) -> float | str:
    try:
        value = float(level)
    except ValueError:
        return level
    return value if np.isfinite(value) else level


def fixed(comparison: Comparison) -> Table | None:
    """Population coefficients by estimator."""
    terms = comparison.design.fixed_terms
    if not terms:
        return None
    fits = comparison.fits
    rows = []
    for k, term in enumerate(terms[:WHOLE]):
        errors = [float(fit.population.std_error[k]) for fit in fits.values()]
        places = places_for(errors, [float(fit.population.estimate[k]) for fit in fits.values()])
        cells = [text(printable(term, 60))]
        for fit, error in zip(fits.values(), errors, strict=True):
            cell = number(float(fit.population.estimate[k]), places)
            shown = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        rows.append(tuple(cells))
    if len(terms) > WHOLE:
        rows.append((Cell(f"… and {len(terms) - WHOLE:,} more, all in tables/estimates.csv"),))
    notes = tuple(
        f"{title_of(name)}: {f.population.point}; ± {f.population.std_error_kind}; interval in the "
        f"CSV: {f.population.interval}."
        for name, f in fits.items()
    )
    columns = (Column("term", numeric=False), *(Column(title_of(name)) for name in fits))
    return Table("fixed", "Population coefficients", columns, tuple(rows), (), notes, "tables/estimates.csv")

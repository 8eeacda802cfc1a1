"""Estimators side by side as papers print them, and how wide their intervals are, as tables for people.

Every estimate stands above its error in parentheses; which error that is differs by estimator, and stands in the notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.trust import banners
from workbench.words import fixed as with_places
from workbench.words import join, places_for, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison

CRITERIA = {"REML": "REML criterion", "deviance": "deviance"}
"""What the rows of criteria are called."""


def models(comparison: Comparison) -> Table:
    """Population coefficients with errors, variance components, sizes and criteria, a column per estimator."""
    fits = comparison.fits
    rows: list[tuple[Cell, ...]] = []
    for k, term in enumerate(comparison.design.fixed_terms):
        values = [float(fit.population.estimate[k]) for fit in fits.values()]
        errors = [float(fit.population.std_error[k]) for fit in fits.values()]
        places = places_for(errors, values)
        rows.append((text(printable(term, 60)), *(number(value, places) for value in values)))
        rows.append((text(""), *(_error(error, places) for error in errors)))
    rows += _components(comparison)
    rows.append((text("rows"), *(Cell(f"{fit.design.n:,}", float(fit.design.n)) for fit in fits.values())))
    for group, levels in comparison.design.groups.items():
        rows.append((text(f"levels of {printable(group, 40)}"), *[Cell(f"{levels:,}", float(levels))] * len(fits)))
    rows += _criteria(comparison)
    columns = (Column("", numeric=False), *(Column(title_of(name)) for name in fits))
    return Table("models", str(comparison.design.formula), columns, tuple(rows), (), _notes(comparison))


def widths(comparison: Comparison) -> Table:
    """What of the scoreboard needs no truth: mean widths of intervals, and seconds."""
    rows = []
    for r in comparison.scoreboard.to_dict("records"):
        words = [title_of(r["estimator"]), printable(r["group"], 40), printable(r["term"], 40), str(r["sizes"])]
        numbers = number(float(r["interval_width"])), number(float(r["seconds"]))
        rows.append((*map(text, words), Cell(f"{r['levels']:,}", float(r["levels"])), *numbers))
    names = tuple(Column(name, numeric=False) for name in ("estimator", "group", "term", "rows of a level"))
    columns = (*names, Column("levels"), Column("mean width"), Column("seconds"))
    notes = (
        "Widths of intervals of group coefficients (population value + effect). Errors, coverage and log scores need a "
        "known truth, which these data do not have.",
    )
    return Table("scoreboard", "Every estimator in one line", columns, tuple(rows), (), notes)


# --- parts --------------------------------------------------------------------------------------------


def _error(error: float, places: int) -> Cell:
    known = np.isfinite(error) and error > 0
    return Cell(f"({with_places(error, places)})" if known else "", error if known else "")


def _components(comparison: Comparison) -> list[tuple[Cell, ...]]:
    """Rows of SDs and correlations between groups, and of the residual."""
    from workbench.report.page_tables import variance

    return [
        (text(row[1].text + (f", {row[0].text}" if row[0].text != "residual" else "")), *row[2:])
        if row[0].text != "residual"
        else (text(f"residual {row[1].text}"), *row[2:])
        for row in variance(comparison).rows
    ]


def _criteria(comparison: Comparison) -> list[tuple[Cell, ...]]:
    """A row for each kind of criterion: those of different kinds never stand in one row."""
    kinds = dict.fromkeys(fit.criterion.name for fit in comparison.fits.values() if fit.criterion is not None)
    rows = []
    for kind in kinds:
        cells = [
            Cell(significant(fit.criterion.value, 7), fit.criterion.value)
            if fit.criterion is not None and fit.criterion.name == kind
            else Cell("")
            for fit in comparison.fits.values()
        ]
        rows.append((text(CRITERIA.get(kind, kind)), *cells))
    return rows


def _notes(comparison: Comparison) -> tuple[str, ...]:
    """Which point and which error every estimator's is; estimators of the same kinds are named together."""
    kinds: dict[str, list[str]] = {}
    for name, fit in comparison.fits.items():
        found = fit.population
        kinds.setdefault(f"{found.point}; in parentheses {found.std_error_kind}", []).append(title_of(name))
    notes = [f"{join(names)}: {kind}." for kind, names in kinds.items()]
    named = {fit.criterion.name for fit in comparison.fits.values() if fit.criterion is not None}
    if set(CRITERIA) <= named:
        notes.append("Deviance and REML criterion are not comparable with each other.")
    if comparison.design.known_se:
        notes.append("The residual SDs of the rows are known.")
    notes += [banner.text if banner.text.endswith(".") else f"{banner.text}." for banner in banners(comparison)]
    return tuple(notes)

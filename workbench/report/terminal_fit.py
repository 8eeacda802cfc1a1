"""One fit for a terminal: its criterion, population coefficients, variance components, group effects, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report import fit_tables
from workbench.report.terminal_parts import (
    headline,
    plain,
    plain_number,
    print_table,
    say,
    standard_output,
)
from workbench.report.trust import objections
from workbench.report.view import data_sentences
from workbench.words import places_for

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.fit import Fit
    from workbench.inference import Bootstrap, Profile
    from workbench.report.cells import Table


def print_fit(fit: Fit, console: Console | None = None) -> None:
    """Print one fit: fixed effects, variance components, the first group effects, criterion and warnings."""
    out = console or standard_output()
    design = fit.design
    headline(out, f"{title_of(fit.estimator)}: {design.formula}")
    say(out, " ".join(data_sentences(design)), "dim")
    if fit.criterion is not None:
        say(out, _criteria(fit))
    _print(out, fit_tables.population(design.fixed_terms, fit.population), 1, "{}")
    _print(out, fit_tables.components(fit), 2, "{}")
    for part in fit.group_effects:
        _print(out, fit_tables.effects(part), 2, "{}, and in what --json prints.")
    if note := fit.diagnostics.get("note"):
        say(out, note, "dim")
    for text in fit.warnings:
        say(out, f"- {text}", "yellow")
    for text, bad in objections(fit):
        say(out, f"{'!' if bad else '-'} {title_of(fit.estimator)}: {text}", "bold red" if bad else "yellow")


def print_intervals(found: Profile | Bootstrap, console: Console | None = None) -> None:
    """Print the intervals of a fit's parameters, with what is to be known about each."""
    out = console or standard_output()
    rows = []
    for row in found.intervals.itertuples():
        numbers = [float(value) for value in (row.estimate, row.std_error, row.conf_low, row.conf_high)]
        places = places_for([(numbers[3] - numbers[2]) / 4], [numbers[0]])
        rows.append([printable(str(row.term), 60), *(plain_number(value, places) for value in numbers)])
    print_table(out, f"Intervals: {found.interval}", ["parameter", "estimate", "std. error", "from", "to"], rows, 1)
    notes = found.intervals
    say(out, f"{notes['point'].iloc[0]}; {found.basis}", "dim")
    for note, terms in notes[notes["note"] != ""].groupby("note", sort=False)["term"]:
        say(out, f"- {', '.join(terms) if len(terms) < len(notes) else 'All'}: {note}", "yellow")


def _print(out: Console, table: Table, names: int, ending: str) -> None:
    """A table and its notes; what was left out stands in the last note."""
    heads = [column.title for column in table.columns]
    rows = [
        [plain(cell.text) for cell in row] if len(row) > 1 else ["…", *[""] * (len(heads) - 1)] for row in table.rows
    ]
    if rows:
        print_table(out, table.title, heads, rows, names)
        for note in table.notes[:1]:
            say(out, note, "dim")
        for note in table.notes[1:]:
            say(out, ending.format(note), "dim")


def _criteria(fit: Fit) -> str:
    """The criterion, what follows from it, and what certifies it."""
    line = plain(fit_tables.criteria(fit))
    if "gradient" not in fit.diagnostics:
        return line
    gradient, curvature = fit.diagnostics["projected_gradient"], fit.diagnostics["curvature"]
    least = f", least curvature {curvature:.2g}" if curvature < float("inf") else ""
    return f"{line}\nAt the optimum: gradient {gradient:.1g}{least}, after {fit.diagnostics['evaluations']} evaluations"

"""One fit for a terminal: its criterion, population coefficients, variance components, group effects, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report import extremes
from workbench.report.terminal_parts import (
    LEVELS,
    headline,
    plain,
    plain_number,
    print_table,
    say,
    standard_output,
)
from workbench.report.trust import objections
from workbench.report.view import data_sentences
from workbench.words import places_for, significant

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.estimates import GroupEffects
    from workbench.fit import Fit
    from workbench.inference import Bootstrap, Profile


def print_fit(fit: Fit, console: Console | None = None) -> None:
    """Print one fit: fixed effects, variance components, the first group effects, criterion and warnings."""
    out = console or standard_output()
    design = fit.design
    headline(out, f"{title_of(fit.estimator)}: {design.formula}")
    say(out, " ".join(data_sentences(design)), "dim")
    if fit.criterion is not None:
        say(out, _criteria(fit))
    population_errors = fit.population
    rows = []
    for k, term in enumerate(design.fixed_terms[:LEVELS]):
        numbers = [
            float(getattr(population_errors, name)[k]) for name in ("estimate", "std_error", "conf_low", "conf_high")
        ]
        places = places_for([numbers[1]], [numbers[0]])
        rows.append([printable(term), *(plain_number(value, places) for value in numbers)])
    heads = ["term", "estimate", "std. error", "from", "to"]
    if rows:
        print_table(out, "Population coefficients", heads, rows, 1)
        say(out, f"{fit.population.point}; {fit.population.std_error_kind}; {fit.population.interval}", "dim")
    print_table(out, "Variance components", ["group", "component", "SD or corr."], _components(fit), 2)
    for part in fit.group_effects:
        _print_effects(out, part)
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


def _components(fit: Fit) -> list[list[str]]:
    rows = []
    for part in fit.components:
        rows += [[part.group, part.terms[k], plain(significant(float(part.sd[k])))] for k in range(len(part.terms))]
        rows += [
            [
                part.group,
                f"cor({part.terms[a]}, {part.terms[b]})",
                plain(significant(float(part.correlation[a, b]))),
            ]
            for a in range(len(part.terms))
            for b in range(a + 1, len(part.terms))
        ]
    return [*rows, ["residual", "", plain(significant(fit.sigma))]] if fit.design.estimates_dispersion else rows


def _criteria(fit: Fit) -> str:
    """The criterion, what follows from it, and what certifies it."""
    assert fit.criterion is not None
    named = {
        fit.criterion.name: fit.criterion.value,
        "log likelihood": fit.log_likelihood,
        "AIC": fit.aic,
        "BIC": fit.bic,
    }
    line = ", ".join(f"{name} {plain(significant(value, 8))}" for name, value in named.items() if value is not None)
    line += f", {fit.df} parameters" if fit.df is not None else ""
    if "gradient" not in fit.diagnostics:
        return line
    gradient, curvature = fit.diagnostics["projected_gradient"], fit.diagnostics["curvature"]
    least = f", least curvature {curvature:.2g}" if curvature < float("inf") else ""
    return f"{line}\nAt the optimum: gradient {gradient:.1g}{least}, after {fit.diagnostics['evaluations']} evaluations"


def _print_effects(out: Console, part: GroupEffects) -> None:
    """One block's effects (deviations) beside its coefficients: all, or the levels at both ends of the first term."""
    J, q = len(part.levels), len(part.terms)
    room = max(2, LEVELS // q)
    low, high = extremes.ends(part.effect.estimate[:, 0], room, room // 2)
    errors = part.effect.std_error.ravel()
    places = places_for(errors, part.effect.estimate.ravel())
    values = (part.effect.estimate, part.effect.std_error, part.coefficient.estimate)

    def row(j: int, k: int) -> list[str]:
        names = [printable(part.levels[j], 18), printable(part.terms[k], 18), f"{int(part.sizes[j]):,}"]
        return [*names, *(plain_number(float(value[j, k]), places) for value in values)]

    rows = [row(j, k) for j in low for k in range(q)]
    if high:
        rows += [["…", "", "", "", "", ""], *(row(j, k) for j in high for k in range(q))]
    heads = [part.group, "term", "n", "effect", "std. error", "coefficient"]
    print_table(out, f"Group effects by {part.group}", heads, rows, 2)
    say(out, f"{part.effect.point}; std. error of the effect: {part.effect.std_error_kind}", "dim")
    if high:
        of = f" of {part.terms[0]}" if q > 1 else ""
        say(
            out, f"The {len(low)} lowest and {len(high)} highest by their effect{of}; {J - len(low) - len(high):,} "
            "more levels are in fit.effects, and in what --json prints.", "dim",
        )  # fmt: skip

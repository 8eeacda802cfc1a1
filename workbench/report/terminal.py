"""The same tables for a terminal: narrow ones wrap nothing, wide ones are split by estimator.

Colour is used sparingly and never alone; rich leaves it out where ``NO_COLOR`` is set or the output is no
terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.plots.style import title_of
from workbench.plots.varying import coefficients, population, printable, varying
from workbench.report import extremes, page_tables
from workbench.report.context import FigureCheck
from workbench.report.numbers import MISSING, places_for, significant
from workbench.report.numbers import fixed as with_places
from workbench.report.tables import estimates_file
from workbench.report.trust import banners, objections
from workbench.report.view import data_sentences

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.estimates import GroupEffects
    from workbench.fit import Fit
    from workbench.inference import Bootstrap, Profile
    from workbench.plots.varying import Varying

LEVELS = 24
"""Up to so many levels are printed."""
GAP = 2
"""Blanks between two columns."""
EACH = 10
"""Beyond that, so many of the lowest and of the highest."""


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print a comparison: group coefficients, variance components, agreement, timings and trust.

    Parameters
    ----------
    comparison : Comparison
    console : rich.console.Console, optional
        Standard output where left out.
    """
    out = console or _console()
    design = comparison.design
    _title(out, comparison.title or str(design.formula))
    if comparison.title and comparison.title != str(design.formula):
        _say(out, str(design.formula))
    _say(out, " ".join(data_sentences(design)), "dim")
    for v in varying(comparison):
        _print_levels(out, comparison, v)
    _print_variance(out, comparison)
    agreement = page_tables.agreement(comparison)
    if agreement is not None:
        _print_agreement(out, comparison)
    _print_trust(out, comparison)
    for banner in banners(comparison):
        _say(out, ("! " if banner.grave else "- ") + banner.text, "bold red" if banner.grave else "yellow")


def print_fit(fit: Fit, console: Console | None = None) -> None:
    """Print one fit: fixed effects, variance components, the first group effects, criterion and warnings."""
    out = console or _console()
    design = fit.design
    _title(out, f"{title_of(fit.estimator)}: {design.formula}")
    _say(out, " ".join(data_sentences(design)), "dim")
    if fit.criterion is not None:
        _say(out, _criteria(fit))
    population_errors = fit.population
    rows = []
    for k, term in enumerate(design.fixed_terms[:LEVELS]):
        numbers = [
            float(getattr(population_errors, name)[k]) for name in ("estimate", "std_error", "conf_low", "conf_high")
        ]
        places = places_for([numbers[1]], [numbers[0]])
        rows.append([printable(term), *(_number(value, places) for value in numbers)])
    heads = ["term", "estimate", "std. error", "from", "to"]
    if rows:
        _table(out, "Population coefficients", heads, rows, 1)
        _say(out, f"{fit.population.point}; {fit.population.std_error_kind}; {fit.population.interval}", "dim")
    _table(out, "Variance components", ["group", "component", "SD or corr."], _components(fit), 2)
    for part in fit.group_effects:
        _print_effects(out, part)
    for text in fit.warnings:
        _say(out, f"- {text}", "yellow")
    for text, bad in objections(fit):
        _say(out, f"{'!' if bad else '-'} {title_of(fit.estimator)}: {text}", "bold red" if bad else "yellow")


def print_intervals(found: Profile | Bootstrap, console: Console | None = None) -> None:
    """Print the intervals of a fit's parameters, with what is to be known about each."""
    out = console or _console()
    rows = []
    for row in found.intervals.itertuples():
        numbers = [float(value) for value in (row.estimate, row.std_error, row.conf_low, row.conf_high)]
        places = places_for([(numbers[3] - numbers[2]) / 4], [numbers[0]])
        rows.append([printable(str(row.term), 60), *(_number(value, places) for value in numbers)])
    _table(out, f"Intervals: {found.interval}", ["parameter", "estimate", "std. error", "from", "to"], rows, 1)
    notes = found.intervals
    _say(out, f"{notes['point'].iloc[0]}; {found.basis}", "dim")
    for note, terms in notes[notes["note"] != ""].groupby("note", sort=False)["term"]:
        _say(out, f"- {', '.join(terms) if len(terms) < len(notes) else 'All'}: {note}", "yellow")


def print_checks(checks: Mapping[str, Sequence[FigureCheck]], console: Console | None = None) -> None:
    """Print published figures against ours, study by study."""
    out = console or _console()
    for study, figures in checks.items():
        if not figures:
            _say(out, f"{study}: no published figures.")
            continue
        rows = []
        for c in figures:
            published, ours = (page_tables.number_like(x, c.published, c.tolerance).text for x in (c.published, c.ours))
            rows.append(
                ["yes" if c.holds else "NO", c.quantity, title_of(c.estimator), _plain(published), _plain(ours)]
            )
        held = sum(c.holds for c in figures)
        _table(
            out, f"{study}: {held} of {len(figures)} published figures reached",
            ["holds", "quantity", "estimator", "published", "ours"], rows, 3, fold=True,
        )  # fmt: skip
        for c in figures:
            if not c.holds:
                gap = _plain(significant(abs(c.ours - c.published)))
                _say(
                    out,
                    f"! {c.quantity} ({title_of(c.estimator)}) is {gap} off; tolerance {c.tolerance:g}. {c.source}",
                    "bold red",
                )


def print_study(
    study: Mapping[str, Any], design: Design, priors: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a resolved study: its settings, the model that comes out of them, and its priors."""
    from workbench.report.model_text import as_text, equations

    out = console or _console()
    _title(out, str(study.get("title") or study.get("name", "")))
    shown = {
        key: value for key, value in study.items() if value not in (None, "", [], {}) and key not in ("title", "priors")
    }
    _table(out, "", ["setting", "value"], [[key, _setting(value)] for key, value in shown.items()], 2, fold=True)
    _say(out, " ".join(data_sentences(design)))
    for line in equations(design):
        _say(out, "  " + as_text(line))
    _say(out, "Fixed terms: " + ", ".join(design.fixed_terms), "dim")
    if priors:
        _table(
            out,
            "Priors of Bayesian estimators",
            ["parameter", "prior"],
            [[k, str(p)] for k, p in priors.items()],
            2,
        )


# --- parts --------------------------------------------------------------------------------------------


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _say(out: Console, text: str, style: str = "") -> None:
    """Print text as it is: nothing in it is markup."""
    out.print(
        text,
        style=style or None,
        markup=False,
        highlight=False,
        soft_wrap=not out.is_terminal and out.width < 40,
    )


def _title(out: Console, text: str) -> None:
    out.print()
    _say(out, text, "bold")


def _plain(text: str) -> str:
    """Terminals get the keyboard's minus, so that numbers can be copied."""
    return text.replace("−", "-")


def _number(value: float, places: int) -> str:
    return _plain(with_places(value, places))


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _table(
    out: Console,
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: int,
    fold: bool = False,
) -> None:
    """Print a table whose first `names` columns are words; long words are cut, numbers never."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    if title:
        out.print()
    limits = _name_widths(out.width, heads, rows, names)
    table: RichTable = RichTable(
        box=box.SIMPLE_HEAD, title=Text(title, style="bold") if title else None, title_justify="left",
        padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for k, head in enumerate(heads):
        word = k < names
        table.add_column(
            Text(head),
            justify="left" if word else "right",
            overflow="fold" if fold else "ellipsis",
            no_wrap=not fold and word,
            max_width=limits[k] if word else None,
            min_width=None if word else max((len(row[k]) for row in rows if k < len(row)), default=1),
        )
    for row in rows:
        table.add_row(*(Text(cell, style="dim" if cell == MISSING else "") for cell in row))
    out.print(table)


def _name_widths(width: int, heads: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> list[int]:
    """How wide the columns of words may be, so that the numbers beside them keep their room."""

    def longest(k: int, head: str) -> int:
        return max([len(head), *(len(row[k]) for row in rows if k < len(row))])

    numbers = sum(longest(k, max(heads[k].split(), key=len)) + GAP for k in range(names, len(heads)))
    wanted = [longest(k, heads[k]) for k in range(names)]
    while sum(wanted) + GAP * names + numbers > width + GAP and max(wanted) > 8:
        wanted[wanted.index(max(wanted))] -= 1
    return wanted


def _split(fits: Sequence[str], room: int, width: int) -> list[list[str]]:
    """Estimators in portions that fit beside the level's name."""
    each = max(1, room // width)
    return [list(fits[k : k + each]) for k in range(0, len(fits), each)]


def _print_levels(out: Console, comparison: Comparison, v: Varying) -> None:
    lead = extremes.leading(comparison)
    low, high = extremes.ends(coefficients(lead, v), LEVELS, EACH)
    places = extremes.decimals(comparison, v)
    cells = {
        name: [_number(float(c), places) for c in coefficients(fit, v)[[*low, *high]]]
        for name, fit in comparison.fits.items()
    }
    centres = {name: _number(population(fit, v), places) for name, fit in comparison.fits.items()}
    numbers = [text for found in (*cells.values(), list(centres.values())) for text in found]
    width = max(10, *(len(text) for text in numbers)) + 1
    labels = [printable(v.levels[j], 18) for j in (*low, *high)]
    name_width = max(10, *(len(text) for text in [*labels, v.group[:18]])) + 1
    title = f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
    portions = _split(list(comparison.fits), max(out.width - name_width - 9, width), width)
    for portion in portions:
        rows = []
        for place, j in enumerate([*low, *high]):
            if high and place == len(low):
                rows.append(["…", *[""] * (1 + len(portion))])
            rows.append([labels[place], f"{int(v.sizes[j]):,}", *(cells[name][place] for name in portion)])
        rows.append(["population", "", *(centres[name] for name in portion)])
        heads = [printable(v.group, 18), "n", *(title_of(name) for name in portion)]
        _table(out, title, heads, rows, 1)
        title = "… and the other estimators"
    if high:
        _say(
            out, f"The {len(low)} lowest and {len(high)} highest by {title_of(lead.estimator)}; "
            f"{len(v.levels) - len(low) - len(high):,} more levels are not shown. All are in comparison.estimates, "
            f"and in {estimates_file(comparison)} of a report.", "dim",
        )  # fmt: skip


def _print_variance(out: Console, comparison: Comparison) -> None:
    """The page's table of variance components, split by estimator where it is too wide."""
    table = page_tables.variance(comparison)
    several = len({row[0].text for row in table.rows}) > 2
    rows = []
    for row in table.rows:
        group, what = row[0].text, row[1].text.replace("correlation of ", "cor ").replace(" and ", ", ")
        name = f"{group} {what}" if several or group == "residual" else what
        rows.append([name, *(_plain(cell.text) for cell in row[2:])])
    titles = [column.title for column in table.columns[2:]]
    left = min(max(len(row[0]) for row in rows), 30) + 1
    width = max(9, *(len(cell) for row in rows for cell in row[1:])) + 1
    title = table.title
    for portion in _split([str(k) for k in range(len(titles))], max(out.width - left, width), width):
        chosen = [int(k) for k in portion]
        _table(
            out,
            title,
            ["component", *(titles[k] for k in chosen)],
            [[r[0], *(r[k + 1] for k in chosen)] for r in rows],
            1,
        )
        title = "… and the other estimators"


def _print_agreement(out: Console, comparison: Comparison) -> None:
    found = page_tables.agreement_reml_first(comparison) or []
    shown = [r for r in found if "reml" in (r["estimator1"], r["estimator2"])] or found
    blocks = comparison.design.blocks
    where_heads = [
        *(["group"] if len({block.group for block in blocks}) > 1 else []),
        *(["term"] if len({term for block in blocks for term in block.terms}) > 1 else []),
    ]
    rows = []
    for r in shown[:LEVELS]:
        pair = f"{title_of(r['estimator1'])} - {title_of(r['estimator2'])}"
        where = [printable(r[head], 14) for head in where_heads]
        figures = [
            _plain(significant(r["max_difference"])),
            printable(str(r["level"]), 12),
            _plain(significant(r["rms_difference"])),
        ]
        rows.append([pair, *where, *figures])
    heads = ["estimators", *where_heads, "largest diff.", "at", "rms"]
    _table(out, "How far the group coefficients lie apart", heads, rows, 1 + len(where_heads))
    if left_out := len(found) - len(shown[:LEVELS]):
        _say(out, f"{left_out} more pairs are in comparison.agreement.", "dim")


def _print_trust(out: Console, comparison: Comparison) -> None:
    table = page_tables.trust(comparison)
    heads = ["estimator", "seconds", "conv.", "R-hat", "ESS", "diverg.", "verdict"]
    chosen = [0, 1, 2, 4, 5, 6, 8]
    rows = [[_plain(row[k].text) for k in chosen] for row in table.rows]
    _table(out, table.title, heads, rows, 1)


def _components(fit: Fit) -> list[list[str]]:
    rows = []
    for part in fit.components:
        rows += [[part.group, part.terms[k], _plain(significant(float(part.sd[k])))] for k in range(len(part.terms))]
        rows += [
            [
                part.group,
                f"cor({part.terms[a]}, {part.terms[b]})",
                _plain(significant(float(part.correlation[a, b]))),
            ]
            for a in range(len(part.terms))
            for b in range(a + 1, len(part.terms))
        ]
    return [*rows, ["residual", "", _plain(significant(fit.sigma))]] if fit.design.estimates_dispersion else rows


def _criteria(fit: Fit) -> str:
    """The criterion, what follows from it, and what certifies it."""
    assert fit.criterion is not None
    named = {
        fit.criterion.name: fit.criterion.value,
        "log likelihood": fit.log_likelihood,
        "AIC": fit.aic,
        "BIC": fit.bic,
    }
    line = ", ".join(f"{name} {_plain(significant(value, 8))}" for name, value in named.items() if value is not None)
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
        return [*names, *(_number(float(value[j, k]), places) for value in values)]

    rows = [row(j, k) for j in low for k in range(q)]
    if high:
        rows += [["…", "", "", "", "", ""], *(row(j, k) for j in high for k in range(q))]
    heads = [part.group, "term", "n", "effect", "std. error", "coefficient"]
    _table(out, f"Group effects by {part.group}", heads, rows, 2)
    _say(out, f"{part.effect.point}; std. error of the effect: {part.effect.std_error_kind}", "dim")
    if high:
        of = f" of {part.terms[0]}" if q > 1 else ""
        _say(
            out, f"The {len(low)} lowest and {len(high)} highest by their effect{of}; {J - len(low) - len(high):,} "
            "more levels are in fit.effects, and in what --json prints.", "dim",
        )  # fmt: skip

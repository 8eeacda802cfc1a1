"""A report's tables for a terminal: narrow ones wrap nothing, wide ones are split by estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.plots.style import title_of
from workbench.plots.varying import coefficients, population, printable, varying
from workbench.report import extremes, page_tables, zero_variance
from workbench.report.context import FigureCheck
from workbench.report.findings import findings
from workbench.report.gap_tables import explained
from workbench.report.labels import labels
from workbench.report.sampler_tables import sampler
from workbench.report.tables import estimates_file
from workbench.report.terminal_parts import (
    LEVELS,
    headline,
    in_portions,
    plain,
    plain_number,
    print_table,
    say,
    standard_output,
)
from workbench.report.trust import banners
from workbench.report.view import data_sentences
from workbench.words import count, middle_cut, significant

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.plots.varying import Varying

EACH = 10
"""Of more levels than are printed, so many of the lowest and of the highest."""


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print a comparison: group coefficients, variance components, agreement, timings and trust.

    Parameters
    ----------
    comparison : Comparison
    console : rich.console.Console, optional
        Standard output where left out.
    """
    out = console or standard_output()
    design = comparison.design
    headline(out, comparison.title or str(design.formula))
    if comparison.title and comparison.title != str(design.formula):
        say(out, str(design.formula))
    say(out, " ".join(data_sentences(design)), "dim")
    for v in varying(comparison):
        _print_levels(out, comparison, v)
    print_findings(out, comparison)
    _print_variance(out, comparison)
    _print_zero_variances(out, comparison)
    agreement = page_tables.agreement(comparison)
    if agreement is not None:
        _print_agreement(out, comparison)
    for gap in explained(comparison):
        say(out, gap.sentence)
    _print_sampler(out, comparison)
    _print_trust(out, comparison)
    for banner in banners(comparison):
        say(out, ("! " if banner.grave else "- ") + banner.text, "bold red" if banner.grave else "yellow")


def print_foretaste(comparison: Comparison, console: Console | None = None) -> None:
    """Print what is known before full Bayes: group coefficients, and what they say."""
    out = console or standard_output()
    headline(out, str(comparison.design.formula))
    say(out, " ".join(data_sentences(comparison.design)), "dim")
    for v in varying(comparison):
        _print_levels(out, comparison, v)
    print_findings(out, comparison)


def print_findings(out: Console, comparison: Comparison) -> None:
    """Print what the numbers say, a paragraph a sentence."""
    found = findings(comparison)
    if found:
        headline(out, "What the numbers say")
    for sentence in found:
        say(out, "- " + plain(sentence))


def print_checks(checks: Mapping[str, Sequence[FigureCheck]], console: Console | None = None) -> None:
    """Print reference figures against ours, study by study."""
    out = console or standard_output()
    for study, figures in checks.items():
        if not figures:
            say(out, f"{study}: no reference figures.")
            continue
        rows = []
        for c in figures:
            published, ours = (page_tables.number_like(x, c.published, c.tolerance).text for x in (c.published, c.ours))
            rows.append(["yes" if c.holds else "NO", c.quantity, title_of(c.estimator), plain(published), plain(ours)])
        held = sum(c.holds for c in figures)
        print_table(
            out, f"{study}: {held} of {len(figures)} reference figures reached",
            ["holds", "quantity", "estimator", "reference", "ours"], rows, 3, fold=True,
        )  # fmt: skip
        for c in figures:
            if not c.holds:
                gap = plain(significant(abs(c.ours - c.published)))
                say(
                    out,
                    f"! {c.quantity} ({title_of(c.estimator)}) is {gap} off; tolerance {c.tolerance:g}. {c.source}",
                    "bold red",
                )


def print_study(
    study: Mapping[str, Any], design: Design, priors: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print a resolved study: its settings, the model that comes out of them, and its priors."""
    from workbench.report.equations import as_text, equations

    out = console or standard_output()
    headline(out, str(study.get("title") or study.get("name", "")))
    shown = {
        key: value for key, value in study.items() if value not in (None, "", [], {}) and key not in ("title", "priors")
    }
    print_table(out, "", ["setting", "value"], [[key, _setting(value)] for key, value in shown.items()], 2, fold=True)
    say(out, " ".join(data_sentences(design)))
    for line in equations(design):
        say(out, "  " + as_text(line))
    say(out, "Fixed terms: " + ", ".join(design.fixed_terms), "dim")
    if priors:
        print_table(
            out,
            "Priors of Bayesian estimators",
            ["parameter", "prior"],
            [[k, str(p)] for k, p in priors.items()],
            2,
        )


# --- parts --------------------------------------------------------------------------------------------


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _print_levels(out: Console, comparison: Comparison, v: Varying) -> None:
    lead = extremes.leading(comparison)
    low, high = extremes.ends(coefficients(lead, v), LEVELS, EACH)
    places = extremes.decimals(comparison, v)
    cells = {
        name: [plain_number(float(c), places) for c in coefficients(fit, v)[[*low, *high]]]
        for name, fit in comparison.fits.items()
    }
    centres = {name: plain_number(population(fit, v), places) for name, fit in comparison.fits.items()}
    numbers = [text for found in (*cells.values(), list(centres.values())) for text in found]
    width = max(10, *(len(text) for text in numbers)) + 1
    shown = labels((v.levels[j] for j in (*low, *high)), max(18, out.width - 11 - width * len(cells)), 40)
    name_width = max(10, *(len(text) for text in [*shown, v.group[:18]])) + 1
    title = f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}"
    portions = in_portions(list(comparison.fits), max(out.width - name_width - 9, width), width)
    for portion in portions:
        rows = []
        for place, j in enumerate([*low, *high]):
            if high and place == len(low):
                rows.append(["…", *[""] * (1 + len(portion))])
            rows.append([shown[place], f"{int(v.sizes[j]):,}", *(cells[name][place] for name in portion)])
        rows.append(["population", "", *(centres[name] for name in portion)])
        heads = [printable(v.group, 18), "n", *(title_of(name) for name in portion)]
        print_table(out, title, heads, rows, 1)
        title = "… and the other estimators"
    if high:
        say(
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
        rows.append([name, *(plain(cell.text) for cell in row[2:])])
    titles = [column.title for column in table.columns[2:]]
    left = min(max(len(row[0]) for row in rows), 30) + 1
    width = max(9, *(len(cell) for row in rows for cell in row[1:])) + 1
    title = table.title
    for portion in in_portions([str(k) for k in range(len(titles))], max(out.width - left, width), width):
        chosen = [int(k) for k in portion]
        print_table(
            out,
            title,
            ["component", *(titles[k] for k in chosen)],
            [[r[0], *(r[k + 1] for k in chosen)] for r in rows],
            1,
        )
        title = "… and the other estimators"


def _print_zero_variances(out: Console, comparison: Comparison) -> None:
    """The spreads that REML puts at zero, beside the other estimates of them; why they differ is among the findings."""
    table = zero_variance.zero_variances(comparison)
    if table is None:
        return
    kept = range(len(table.columns) - 1)  # the last one is in the sentences
    rows = [[plain(row[k].text) for k in kept] for row in table.rows]
    words = sum(not table.columns[k].numeric for k in kept)
    print_table(out, table.title, [table.columns[k].title for k in kept], rows, words)


def _print_sampler(out: Console, comparison: Comparison) -> None:
    """The sampler's means less the exact ones, in Monte Carlo errors, and what they come to."""
    table = sampler(comparison, whole=LEVELS + EACH, farthest=EACH)
    if table is None:
        return
    rows = [[plain(cell.text) for cell in row[:6]] for row in table.rows if len(row) > 1]
    print_table(out, table.title, [column.title for column in table.columns[:6]], rows, 1)
    for row in table.rows[len(rows) :]:  # how many more there are
        say(out, row[0].text, "dim")
    say(out, plain(table.sentence))


def _print_agreement(out: Console, comparison: Comparison) -> None:
    found = page_tables.agreement_reml_first(comparison) or []
    shown = [r for r in found if {"reml", "laplace"} & {r["estimator1"], r["estimator2"]}] or found
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
            plain(significant(r["max_difference"])),
            middle_cut(r["level"], 20),
            plain(significant(r["rms_difference"])),
        ]
        rows.append([pair, *where, *figures])
    heads = ["estimators", *where_heads, "largest diff.", "at", "rms"]
    print_table(out, "How far the group coefficients lie apart", heads, rows, 1 + len(where_heads))
    if left_out := len(found) - len(shown[:LEVELS]):
        verb = "is" if left_out == 1 else "are"
        say(out, f"{count(left_out, 'more pair')} {verb} in comparison.agreement.", "dim")


def _print_trust(out: Console, comparison: Comparison) -> None:
    table = page_tables.trust(comparison)
    heads = ["estimator", "seconds", "conv.", "R-hat", "ESS", "diverg.", "verdict"]
    chosen = [0, 1, 2, 4, 5, 6, -1]
    rows = [[plain(row[k].text) for k in chosen] for row in table.rows]
    print_table(out, table.title, heads, rows, 1)

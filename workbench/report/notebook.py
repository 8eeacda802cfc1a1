"""What a notebook shows of a fit or a comparison: HTML that needs nothing else, by day and by night.

The numbers are those of the terminal and of the report: the same tables (:mod:`workbench.report.fit_tables`,
:mod:`workbench.report.estimate_tables`), other markup. There is no script, nothing is loaded from elsewhere, text from
data is escaped, and colours are those of the page, so that a dark notebook stays dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report import estimate_tables, fit_tables, page_tables
from workbench.report.cells import Cell, Column, Table
from workbench.report.findings import findings
from workbench.report.trust import Banner, banners, objections, trusted
from workbench.report.view import data_sentences
from workbench.words import count, significant

if TYPE_CHECKING:
    from workbench.bayesglm.answer import BayesGlm
    from workbench.comparison import Comparison
    from workbench.fit import Fit

SIZE = 48_000
"""Bytes that a display may have."""
SHOWN = ((24, 10, 6), (12, 5, 4), (8, 3, 2), (4, 2, 1), (2, 1, 1))
"""Levels shown whole, of more so many at each end, and so many terms; the first with which the display is small."""
ESTIMATORS = 12
"""So many estimators stand side by side."""
STYLE = (
    "<style>.workbench{max-width:70em;overflow-x:auto}.workbench table{border-collapse:collapse;margin:.4em 0 1em;"
    "background:transparent;color:inherit;font-variant-numeric:tabular-nums}.workbench caption{caption-side:top;"
    "text-align:left;font-weight:bold;color:inherit;padding:.2em 0}.workbench th,.workbench td{padding:.15em .7em;"
    "text-align:right;border:0;background:transparent;color:inherit}.workbench .w{text-align:left}"
    ".workbench thead th{border-bottom:1px solid}.workbench tfoot td{border-top:1px solid;font-weight:bold}"
    ".workbench small{opacity:.75}.workbench .n{font-size:.85em;opacity:.8;margin:.1em 0}"
    ".workbench .grave{border-left:4px solid #d0342c;padding-left:.6em;font-weight:bold}"
    ".workbench .remark{border-left:4px solid #b8860b;padding-left:.6em}</style>"
)


def comparison_html(comparison: Comparison) -> str:
    """A comparison for a notebook: remarks, findings, group coefficients, variance components, agreement, trust."""
    names = list(comparison.fits)
    shown = comparison
    if len(names) > ESTIMATORS:
        shown = replace(comparison, fits={name: comparison.fits[name] for name in names[:ESTIMATORS]})
    return _small([_comparison_parts(comparison, shown, *how) for how in SHOWN])


def fit_html(fit: Fit) -> str:
    """One fit for a notebook: what keeps it from being trusted, criterion, coefficients, components, group effects."""
    return _small([_fit_parts(fit, levels, terms) for levels, _, terms in SHOWN])


def regression_html(fit: BayesGlm) -> str:
    """A regression of `bayesglm` for a notebook."""
    title = f"bayesglm: {fit.regression.formula}, {fit.family.name} ({fit.family.link_name})"
    facts = (
        f"{count(fit.nobs, 'row')}, {count(len(fit.terms), 'coefficient')}, deviance {significant(fit.deviance, 6)} "
        f"(null {significant(fit.null_deviance, 6)}), dispersion {significant(fit.dispersion, 6)}, "
        f"{count(fit.iterations, 'iteration')}"
    )
    remarks = [Banner(text, not fit.converged) for text in fit.warnings]
    if not fit.converged and not remarks:
        remarks = [Banner("The EM did not converge.", True)]
    return _small(
        [
            [
                _title(title),
                _note(facts),
                _note(fit_tables.criteria(fit)),
                _remarks(remarks),
                table_html(fit_tables.population(fit.terms, fit.population, most)),
            ]
            for most in (50, 24, 8)
        ]
    )


def table_html(table: Table, minor: bool = True) -> str:
    """A table for people as HTML; `minor` says whether standard errors stand beside the numbers.

    Examples
    --------
    >>> from workbench.report.cells import Cell, Column, Table
    >>> table_html(Table("t", "<T>", (Column("g", numeric=False), Column("n")), ((Cell("a&b"), Cell("1")),)))[:40]
    '<table><caption>&lt;T&gt;</caption><thea'
    """
    heads = "".join(f"<th{_kind(column)}>{escape(column.title)}</th>" for column in table.columns)
    body = "".join(_row(row, table.columns, minor) for row in table.rows)
    foot = "".join(_row(row, table.columns, minor) for row in table.foot)
    ending = f"<tfoot>{foot}</tfoot>" if foot else ""
    made = (
        f"<table><caption>{escape(table.title)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>{ending}"
    )
    return f"{made}</table>{''.join(map(_note, table.notes))}"


# --- parts --------------------------------------------------------------------------------------------


def _comparison_parts(comparison: Comparison, shown: Comparison, whole: int, each: int, terms: int) -> list[str]:
    """What is shown; `shown` holds the estimators that have room."""
    design = comparison.design
    formula, title = str(design.formula), comparison.title
    estimates = estimate_tables.by_estimator(shown, whole, each, "comparison.estimates")
    fixed = estimate_tables.fixed(shown, whole, "comparison.estimates")
    agreement = page_tables.agreement(shown)
    more = len(comparison.fits) - len(shown.fits)
    parts = [
        _title(title or formula),
        _note(formula) if title and title != formula else "",
        _note(" ".join(data_sentences(design))),
        _remarks(banners(comparison)),
        f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in findings(comparison))}</ul>",
        _note(f"The first {ESTIMATORS} estimators are shown; {more:,} more are in comparison.fits.")
        if more > 0
        else "",
        *map(table_html, _said_once(estimates[:terms])),
    ]
    if len(estimates) > terms:
        parts.append(_note(f"{count(len(estimates) - terms, 'more varying term')} in comparison.estimates."))
    parts += [table_html(table) for table in (fixed, page_tables.variance(shown)) if table is not None and table.rows]
    trust = page_tables.trust(shown)
    trust = replace(trust, notes=tuple(note.replace(", and in the CSV", "") for note in trust.notes))
    folded = [_first(agreement, whole), trust]
    return [*parts, *(_folded(table) for table in folded if table is not None and table.rows)]


def _said_once(tables: Sequence[Table]) -> list[Table]:
    """The tables, each without the notes that stand under one before it."""
    seen: set[str] = set()
    made = []
    for table in tables:
        made.append(replace(table, notes=tuple(note for note in table.notes if note not in seen)))
        seen |= set(table.notes)
    return made


def _folded(table: Table) -> str:
    return f"<details><summary>{escape(table.title)}</summary>{table_html(replace(table, title=''))}</details>"


def _first(table: Table | None, most: int) -> Table | None:
    """The first rows of a table, and how many more there are."""
    if table is None or len(table.rows) <= most:
        return table
    rest = Cell(f"… and {len(table.rows) - most:,} more, all in comparison.{table.key}")
    return replace(table, rows=(*table.rows[:most], (rest,)))


def _fit_parts(fit: Fit, levels: int, terms: int) -> list[str]:
    design = fit.design
    remarks = [Banner(text, not trusted(fit) and text not in design.notes) for text in fit.warnings]
    remarks += [Banner(text[0].upper() + text[1:], bad) for text, bad in objections(fit)]
    tables = [fit_tables.population(design.fixed_terms, fit.population, levels), fit_tables.components(fit)]
    tables += [fit_tables.effects(part, levels) for part in fit.group_effects[: 2 * terms]]
    more = len(fit.group_effects) - 2 * terms
    return [
        _title(f"{title_of(fit.estimator)}: {design.formula}"),
        _note(" ".join(data_sentences(design))),
        _note(fit_tables.criteria(fit)),
        _remarks(sorted(remarks, key=lambda remark: not remark.grave)),
        *(table_html(table) for table in tables if table.rows),
        _note(f"{count(more, 'more random term')} in fit.effects.") if more > 0 else "",
        _note(str(fit.diagnostics.get("note", ""))),
    ]


def _small(tried: Iterable[Sequence[str]]) -> str:
    """The first of some displays that is small enough, or the last."""
    made = ""
    for parts in tried:
        made = f'<div class="workbench">{STYLE}{"".join(parts)}</div>'
        if len(made.encode()) <= SIZE:
            break
    return made


def _title(text: str) -> str:
    return f"<p><strong>{escape(printable(text, 400))}</strong></p>"


def _note(text: str) -> str:
    return f'<p class="n">{escape(text)}</p>' if text else ""


def _remarks(remarks: Sequence[Banner]) -> str:
    """What speaks against the numbers; a mark stands before what is grave, so that colour is not needed."""
    return "".join(
        f'<p class="{"grave" if remark.grave else "remark"}">{"! " if remark.grave else ""}{escape(remark.text)}</p>'
        for remark in remarks
    )


def _kind(column: Column) -> str:
    return "" if column.numeric else ' class="w"'


def _row(row: Sequence[Cell], columns: Sequence[Column], minor: bool) -> str:
    if len(row) == 1:
        return f'<tr><td class="w" colspan="{len(columns)}">{escape(row[0].text)}</td></tr>'
    cells = []
    for cell, column in zip(row, columns, strict=True):
        small = f" <small>{escape(cell.minor)}</small>" if cell.minor and minor else ""
        cells.append(f"<td{_kind(column)}>{escape(cell.text)}{small}</td>")
    return f"<tr>{''.join(cells)}</tr>"

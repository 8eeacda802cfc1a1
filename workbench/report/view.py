"""The page as plain data: facts, banners, findings, tables. Rendering adds nothing but markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.report import model_text
from workbench.report.context import Context, FigureCheck
from workbench.report.findings import findings
from workbench.report.numbers import count, join, significant
from workbench.report.versions import versions

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

R_HAT, ESS = 1.01, 400
"""Beyond these the draws of a Bayesian fit are not to be trusted (Vehtari et al. 2021, doi:10.1214/20-BA1221)."""


@dataclass(frozen=True)
class Banner:
    """Something that the reader must know before any number: `grave` where a fit is not to be trusted."""

    text: str
    grave: bool


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by, and a smaller remark (a standard error)."""

    text: str
    sort: float | str = ""
    minor: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading, whether it holds numbers, and which of its words stand smaller below."""

    title: str
    numeric: bool = True
    minor: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes
    ----------
    key : str
        Short and unique on the page.
    title : str
    columns : tuple of Column
    rows : tuple of tuple of Cell
        A row of one cell says how many rows were left out.
    foot : tuple of tuple of Cell
    notes : tuple of str
        Footnotes: which kind each number is.
    source : str
        The file that holds it with all digits.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Page:
    """Everything that the report says, in its order."""

    title: str
    question: str
    formula: str
    data: tuple[str, ...]
    equations: tuple[str, ...]
    priors: Table | None
    banners: tuple[Banner, ...]
    findings: tuple[str, ...]
    estimates: tuple[Table, ...]
    fixed: Table | None
    variance: Table
    agreement: Table | None
    trust: Table
    parameters: Table | None
    figures: Table | None
    command: str
    python: str
    r: str
    notes: str
    versions: Mapping[str, str] = field(default_factory=dict)


def page(comparison: Comparison, context: Context) -> Page:
    """Collect what the report says about a comparison."""
    from workbench.report import page_tables as tables

    design = comparison.design
    return Page(
        title=comparison.title or str(design.formula),
        question=context.question,
        formula=str(design.formula),
        data=data_sentences(design),
        equations=model_text.equations(design),
        priors=tables.priors(comparison),
        banners=banners(comparison, context.figures),
        findings=findings(comparison),
        estimates=tables.estimates(comparison),
        fixed=tables.fixed(comparison),
        variance=tables.variance(comparison),
        agreement=tables.agreement(comparison),
        trust=tables.trust(comparison),
        parameters=tables.parameters(comparison),
        figures=tables.figures(context.figures),
        command=model_text.command(comparison, context),
        python=model_text.python_code(comparison, context),
        r=model_text.r_code(comparison, context),
        notes=context.notes,
        versions=versions(),
    )


def data_sentences(design: Design) -> tuple[str, ...]:
    """Rows read and dropped, and the groups with their sizes."""
    said = [design.rows.sentence() + "."]
    for group in dict.fromkeys(block.group for block in design.blocks):
        sizes = next(block.sizes for block in design.blocks if block.group == group)
        low, middle, high = int(sizes.min()), float(np.median(sizes)), int(sizes.max())
        rows = (
            f"{count(low, 'row')} each"
            if low == high
            else f"{low:,} to {high:,} rows each (median {significant(middle)})"
        )
        said.append(f"{len(sizes):,} levels of {group}, {rows}.")
    if design.known_se:
        said.append("The standard error of each row is known.")
    elif np.ptp(design.weights) > 0:
        said.append(f"Rows are weighted, from {significant(design.weights.min())} to {significant(design.weights.max())}.")
    if design.offset.any():
        said.append("The linear predictor has an offset.")
    return tuple(said)


def banners(comparison: Comparison, figures: Sequence[FigureCheck] = ()) -> tuple[Banner, ...]:
    """Every warning of every fit, once, and what the diagnostics say against a fit."""
    heard: dict[str, list[str]] = {}
    grave: dict[str, bool] = {}
    for name, fit in comparison.fits.items():
        shared = fit.design.notes
        found = [(text, text not in shared and not fit.converged) for text in fit.warnings]
        for text, bad in [*found, *objections(fit)]:
            heard.setdefault(text, []).append(title_of(name))
            grave[text] = grave.get(text, False) or bad
    made = []
    for text, names in heard.items():
        everyone = len(names) == len(comparison.fits)
        made.append(Banner(text if everyone else f"{join(names)}: {text}", grave[text]))
    missed = [figure for figure in figures if not figure.holds]
    if missed:
        quantities = join(f"{figure.quantity} ({title_of(figure.estimator)})" for figure in missed[:5])
        made.append(Banner(f"{len(missed):,} of {count(len(figures), 'published figure')} not reached: {quantities}.", True))
    return tuple(sorted(made, key=lambda banner: not banner.grave))


def objections(fit: Fit) -> list[tuple[str, bool]]:
    """What speaks against a fit, in words, where its own warnings do not say so already; with whether it is grave."""
    own = " ".join(fit.warnings).lower()
    d = fit.diagnostics
    r_hat, ess, diverged = (float(d.get(key, np.nan)) for key in ("r_hat", "ess_bulk", "divergences"))
    every = [
        (not fit.converged, "converge", "did not converge. Its numbers are where it stopped, not where it should end.", True),
        (
            fit.singular, "singular",
            "the fit is singular: a standard deviation between groups is estimated as zero, or a correlation as ±1.", False,
        ),
        (r_hat > R_HAT, "hat", f"R-hat reaches {significant(r_hat)}, above {R_HAT}: the chains do not agree. Draw more.", True),
        (
            ess < ESS, "effective",
            f"the smallest effective sample size is {ess:,.0f}, below {ESS}: its intervals are rough. Draw more.", True,
        ),
        (
            diverged > 0, "diverg",
            f"{count(int(diverged) if diverged > 0 else 0, 'transition')} diverged: part of the posterior may not have been reached.",
            True,
        ),
    ]  # fmt: skip
    return [(text, bad) for holds, word, text, bad in every if holds and word not in own]

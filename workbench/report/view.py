"""The page as plain data: facts, banners, findings, tables. Rendering adds nothing but markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.coding import Labels
from workbench.formula import deparse
from workbench.plots.varying import printable
from workbench.report.cells import Table
from workbench.report.certificate import certificate
from workbench.report.context import Context
from workbench.report.costs import costs
from workbench.report.data_tables import data_tables
from workbench.report.decomposition_tables import decompositions
from workbench.report.equations import equations, weighted
from workbench.report.findings import findings
from workbench.report.gap_tables import gaps
from workbench.report.glossary import abbreviations, estimator_words
from workbench.report.instead import instead
from workbench.report.own_code import command, python_code
from workbench.report.pymc_code import pymc_code
from workbench.report.r_code import r_code
from workbench.report.sampler_tables import sampler
from workbench.report.score_tables import scoreboards
from workbench.report.trust import Banner, banners
from workbench.report.versions import versions
from workbench.report.zero_variance import zero_variances
from workbench.words import count, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design


@dataclass(frozen=True)
class Page:
    """Everything that the report says, in its order; `costs` alone holds wall times."""

    title: str
    question: str
    formula: str
    data: tuple[str, ...]
    sizes: tuple[Table, ...]
    equations: tuple[str, ...]
    priors: Table | None
    banners: tuple[Banner, ...]
    findings: tuple[str, ...]
    scoreboards: tuple[Table, ...]
    instead: tuple[str, ...]
    estimates: tuple[Table, ...]
    fixed: Table | None
    variance: Table
    zero_variance: Table | None
    sampler: Table | None
    agreement: Table | None
    gaps: tuple[Table, ...]
    trust: Table
    certificate: Table | None
    costs: Table
    parameters: Table | None
    figures: Table | None
    command: str
    python: str
    pymc: str
    r: str
    notes: str
    estimators: tuple[tuple[str, str], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """The abbreviations of the page's tables."""
        first = (self.priors,) if self.priors else ()
        return abbreviations((*self.sizes, *first, *self.scoreboards, *self.estimates, *self.leading, *self.single))

    @property
    def leading(self) -> tuple[Table, ...]:
        """The tables of what the model estimates beside the groups, before the pictures."""
        return tuple(table for table in (self.fixed, self.variance) if table is not None)

    @property
    def single(self) -> tuple[Table, ...]:
        """The tables that have a section each, after the pictures."""
        every = (
            self.zero_variance, self.parameters, self.sampler, self.trust, self.certificate, self.agreement,
            *self.gaps, self.costs, self.figures,
        )  # fmt: skip
        return tuple(table for table in every if table is not None)

    @property
    def code(self) -> tuple[tuple[str, str], ...]:
        """How to reproduce it, by what the lines are for."""
        every = (
            ("On the command line", self.command),
            ("In Python", self.python),
            ("In PyMC", self.pymc),
            ("In R", self.r),
        )
        return tuple((heading, lines) for heading, lines in every if lines)

    @property
    def contents(self) -> tuple[tuple[str, str], ...]:
        """The sections by their ids."""
        every = (
            ("data", "The data", True),
            ("model", "The model", True),
            ("before", "Before you read on", bool(self.banners)),
            ("findings", "What the numbers say", True),
            ("instead", "Can I just use bayesglm instead?", bool(self.instead)),
            ("truth", "Against the truth", bool(self.scoreboards)),
            ("groups", "Group estimates", True),
            *((f"about-{table.key}", table.title, True) for table in self.leading),
            ("pictures", "Pictures", True),
            *((f"about-{table.key}", table.title, True) for table in self.single),
            ("words", "Words", True),
            ("lesson", "Notes", bool(self.notes.strip())),
            ("reproduce", "How to reproduce", True),
            ("versions", "Versions", True),
        )
        return tuple((key, title) for key, title, there in every if there)


def page(comparison: Comparison, context: Context) -> Page:
    """Collect what the report says about a comparison."""
    from workbench.report import estimate_tables
    from workbench.report import page_tables as tables

    design = comparison.design
    return Page(
        title=comparison.title or str(design.formula),
        question=context.question,
        formula=str(design.formula),
        data=data_sentences(design),
        sizes=data_tables(design),
        equations=equations(design),
        priors=tables.priors(comparison),
        banners=banners(comparison, context.figures),
        findings=findings(comparison),
        scoreboards=scoreboards(comparison),
        instead=instead(comparison),
        estimates=estimate_tables.estimates(comparison) + estimate_tables.farthest(comparison),
        fixed=estimate_tables.fixed(comparison),
        variance=tables.variance(comparison),
        zero_variance=zero_variances(comparison),
        sampler=sampler(comparison),
        agreement=tables.agreement(comparison),
        gaps=(*gaps(comparison), *decompositions(comparison)),
        trust=tables.trust(comparison, times=False),
        certificate=certificate(comparison),
        costs=costs(comparison),
        parameters=tables.parameters(comparison),
        figures=tables.figures(context.figures),
        command=command(comparison, context),
        python=python_code(comparison, context),
        pymc=pymc_code(comparison, context),
        r=r_code(comparison, context),
        notes=context.notes,
        estimators=estimator_words(comparison),
        versions=versions(),
    )


def data_sentences(design: Design) -> tuple[str, ...]:
    """Rows read and dropped, and the groups with their sizes."""
    said = [design.rows.sentence() + "."]
    for group in dict.fromkeys(block.group for block in design.blocks):
        sizes = next(block.sizes for block in design.blocks if block.group == group)
        low, middle, high = int(sizes.min()), float(np.median(sizes)), int(sizes.max())
        rows = f"{count(low, 'row')} each" if low == high else f"{low:,} to {high:,} rows each (median {middle:g})"
        said.append(f"{len(sizes):,} levels of {group}, {rows}.")
    said += _bases(design)
    if design.known_se:
        said.append("The standard error of each row is known.")
    elif design.family == "binomial":
        said += _trials(design)
    elif weighted(design):
        said.append(_weighted(design.weights))
    if design.offset.any():
        said.append("The linear predictor has an offset.")
    return tuple(said)


def _bases(design: Design) -> list[str]:
    """Which level the others of a predictor of labels are compared with."""
    said = []
    for expression, seen in design.coding.learnt.items():
        if not isinstance(seen, Labels) or seen.ordered:
            continue
        columns = [f"{deparse(expression)}{level}" for level in seen.levels]
        if columns[1:] and set(columns) & set(design.fixed_terms) == set(columns[1:]):
            base = printable(seen.levels[0])
            said.append(f"Levels of {printable(deparse(expression))} are compared with the first, {base}.")
    return said


def _trials(design: Design) -> list[str]:
    """What counts as success, and how many trials the rows stand for."""
    said = []
    if design.outcomes:
        failure, *success = (f"“{printable(label)}”" for label in design.outcomes)
        said.append(f"Of {design.response}, {failure} counts as failure, {' or '.join(success)} as success.")
    counted, by_rows = design.formula.cbind is not None, weighted(design)
    if counted or by_rows:
        trials = design.trials if counted else design.weights
        low, high, total = (f"{value:,.10g}" for value in (trials.min(), trials.max(), trials.sum()))
        each = f"{low} in each row" if low == high else f"from {low} to {high} in a row"
        said.append(f"{total} trials{'' if counted else ' (the weights)'}, {each}.")
    if counted and by_rows:
        said.append(_weighted(design.prior_weights))
    return said


def _weighted(weights: NDArray[np.float64]) -> str:
    return f"Rows are weighted, from {significant(weights.min())} to {significant(weights.max())}."

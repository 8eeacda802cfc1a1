"""Your data: a table of the user's own, its columns chosen from menus; the other pages run on it, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.design import RandomBlock
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.fit import Fit
from workbench.lab import groups
from workbench.lab.controls import Choice, Control
from workbench.lab.datasets import NAME, Brought, Dataset, brought, of_table
from workbench.lab.drawing import Dots, Drawing, Panel, Rule, Segments, limits
from workbench.lab.page import Numbers, Page, Shown, Values
from workbench.lab.sampled import sampling
from workbench.lab.uploads import SHELF, Uploaded
from workbench.plots.style import OWN, look, title_of
from workbench.words import beside, count, join, level_in_words, significant

NONE = "n"
LISTED = 200
"""So many groups have a row in the table."""


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """Menus of the table's columns; nothing before there is one."""
    own = brought(query.get(NAME, ""))
    if own is None:
        return ()
    table = SHELF.get(own.table)

    def menu(name: str, label: str, places: tuple[int, ...], value: str, hint: str, none: bool = False) -> Choice:
        options = tuple((str(k), table.columns[k]) for k in places)
        return Choice(name, label, ((NONE, "none: groups' means"),) * none + options, value, anew=True, hint=hint)

    slope = NONE if own.slope is None else str(own.slope)
    others = tuple(k for k in table.numbers if k not in (own.response, own.group) or k == own.slope)
    return (
        Choice(NAME, "Table", ((own.key, table.name),), own.key, anew=True),
        menu("response", "Response", table.numbers, str(own.response), "what was measured: a column of numbers"),
        menu(
            "group", "Groups", table.labels, str(own.group), "a column of labels, or of whole numbers that are labels"
        ),
        menu("slope", "Predictor", others, slope, "whose slope varies by group", none=True),
    )


def settle(query: Mapping[str, str]) -> Mapping[str, str] | None:
    """The address with the menus' choices in the table's key, so that other pages take them along."""
    own = brought(query.get(NAME, ""))
    named = [query.get(name) for name in ("response", "group", "slope")]
    if own is None or not all(text is not None and (text.isdigit() or text == NONE) for text in named):
        return None
    y, g, x = (None if text in (None, NONE) else int(str(text)) for text in named)
    if y is None or g is None:
        return None
    return {NAME: Brought(own.table, y, g, x).key}


def first_choice(key: str, table: Uploaded) -> Brought:
    """Columns to begin with: the first column of labels, and of numbers the one with the most values."""
    words = [k for k in table.labels if k not in table.numbers]
    group = (words or list(table.labels))[0]
    others = [k for k in table.numbers if k != group]
    response = max(others, key=lambda k: _likely(table.frame[table.columns[k]]))
    return Brought(key, response, group, None)


def _likely(column: Any) -> tuple[bool, bool, int]:
    """How likely a column of numbers is the response: fractions before counts, and no counter of rows."""
    different = column.n_unique()
    return column.dtype.is_float(), different < len(column), different


def show(values: Values) -> Shown:
    """What REML makes of the groups, beside their own values."""
    own = brought(str(values.get(NAME, "")))
    if own is None:
        return Shown(
            (
                "No table yet. Bring a CSV, TSV or Parquet file with a row per observation: one column of numbers, and "
                "one that says which group a row belongs to.",
            ),
            (),
        )
    table = SHELF.get(own.table)
    found = of_table(own, table)
    fits: dict[str, Fit] = {}
    names = ["no_pooling", "reml", "fixed_prior"] + ["exact"] * (own.slope is None)
    for name in names:
        fits[name] = run_estimator(name, found.design, Settings(), None, fits)
    block = found.design.blocks[0]
    drawings = tuple(_groups(found, fits, k) for k in range(len(block.terms)))
    return Shown(
        says=_says(found, fits),
        drawings=drawings,
        numbers=tuple(_table(found, fits, k) for k in range(len(block.terms))),
        warnings=_warnings(fits),
    )


def _warnings(fits: Mapping[str, Fit]) -> tuple[str, ...]:
    """What fits say against themselves, the same of several once; dropped rows stand in the sentence on the model."""
    by: dict[str, list[str]] = {}
    for name, fit in fits.items():
        for said in fit.warnings:
            if "dropped" not in said:
                by.setdefault(said, []).append(title_of(name))
    return tuple(f"{join(names)}: {said}" for said, names in by.items())


def _says(found: Dataset, fits: Mapping[str, Fit]) -> tuple[str, ...]:
    design, reml = found.design, fits["reml"]
    block = design.blocks[0]
    spreads = ", ".join(
        f"{significant(float(sd), 3)} for {term}" for term, sd in zip(block.terms, reml.components[0].sd, strict=True)
    )
    said = [
        f"The model is {design.formula}: {design.rows.sentence()}; {count(len(block.levels), 'group')} of "
        f"{block.group}, {_rows(block)}.",
        f"REML puts the SD between groups at {spreads}, and the residual SD at {significant(reml.sigma, 3)}.",
    ]
    own, pooled = (fits[name].group_effects[0].coefficient.estimate for name in ("no_pooling", "reml"))
    moves = np.abs(own - pooled)[:, 0]
    if np.isfinite(moves).any() and np.nanmax(moves) > 0:
        j = int(np.nanargmax(moves))
        before, after = beside([float(own[j, 0]), float(pooled[j, 0])], float(moves[j]))
        said.append(
            f"Pooling moves {level_in_words(block.group, block.levels[j])} farthest (n = {int(block.sizes[j]):,}): "
            f"from {before} to {after}."
        )
    return tuple(said)


def _rows(block: RandomBlock) -> str:
    low, high = int(block.sizes.min()), int(block.sizes.max())
    return f"{count(low, 'row')} each" if low == high else f"of {low:,} to {high:,} rows"


def _label(found: Dataset, k: int) -> str:
    block, response = found.design.blocks[0], found.design.response
    if block.terms[k] == "(Intercept)":
        return f"mean of {response}" if len(block.terms) == 1 else f"intercept of {response}"
    return f"slope of {response} on {block.terms[k]}"


def _groups(found: Dataset, fits: Mapping[str, Fit], k: int) -> Drawing:
    block, reml = found.design.blocks[0], look("reml")
    own, pooled = (fits[name].group_effects[0].coefficient.estimate[:, k] for name in ("no_pooling", "reml"))
    order = np.argsort(np.where(np.isfinite(own), own, pooled), kind="stable")
    at = np.arange(1.0, len(order) + 1)
    names = tuple(f"{block.group} {block.levels[j]}, n = {int(block.sizes[j]):,}" for j in order)
    panel = Panel(
        marks=(
            Rule(float(fits["reml"].population.estimate[k]), "muted", across=True, dash="6 4",
                 label="REML's population value"),
            Segments(at, own[order], at, pooled[order], reml.colour, arrows=True),
            Dots(at, own[order], OWN, "x", size=5.5, label="by itself (no pooling)", names=names),
            Dots(at, pooled[order], reml.colour, "+", size=5.5, label="REML", names=names),
        ),
        x=(0.3, len(order) + 0.7),
        y=limits(own, pooled),
        x_label=f"{block.group}, sorted by its own value",
        y_label=_label(found, k),
        x_ticks=groups.names_across([block.levels[j] for j in order]),
        height=340.0,
    )  # fmt: skip
    alt = (
        f"{len(order)} groups; their own values run from {significant(float(np.nanmin(own)))} to "
        f"{significant(float(np.nanmax(own)))}, REML's from {significant(float(pooled.min()))} to "
        f"{significant(float(pooled.max()))}."
    )
    return Drawing(
        f"groups-{k}", f"{_label(found, k)[0].upper()}{_label(found, k)[1:]} by {block.group}", alt, ((panel,),)
    )


def _table(found: Dataset, fits: Mapping[str, Fit], k: int) -> Numbers:
    block = found.design.blocks[0]
    shown = range(min(len(block.levels), LISTED))
    rows = tuple(
        (
            f"level-{j}",
            (
                block.levels[j], f"{int(block.sizes[j]):,}",
                *(significant(float(fit.group_effects[0].coefficient.estimate[j, k])) for fit in fits.values()),
                significant(float(fits["reml"].group_effects[0].coefficient.std_error[j, k])),
            ),
        )
        for j in shown
    )  # fmt: skip
    columns = (block.group, "n", *(title_of(name) for name in fits), "REML's coefficient SE")
    return Numbers(f"{_label(found, k)[0].upper()}{_label(found, k)[1:]} by {block.group}", columns, rows)


def _of(values: Values) -> Dataset:
    own = brought(str(values.get(NAME, "")))
    if own is None:
        raise OptionError("There is no table yet. Bring one, then fit it.")
    return of_table(own, SHELF.get(own.table))


PAGE = Page(
    key="yours",
    title="Your data",
    question="What does pooling make of the groups that you know?",
    text=(
        "Bring a table; choose the response, the groups and, where you want, a predictor whose slope varies. The pages "
        "above then run on it; noise and shrinkage, and what plugging in costs, draw samples of its sizes, with its "
        "ratio of spreads. The table stays in this lab's memory until two hours after it was last used, and is written "
        "nowhere.",
    ),
    controls=controls,
    show=show,
    settle=settle,
    brings=True,
    work=sampling(_of),
)

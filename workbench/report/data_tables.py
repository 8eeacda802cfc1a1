"""The data in two tables: which rows were dropped and why, and how large the groups are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.varying import printable
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.words import count

if TYPE_CHECKING:
    from workbench.design import Design

QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def data_tables(design: Design) -> tuple[Table, ...]:
    """Missing values by column, where rows were dropped; sizes of groups, a row per grouping factor."""
    return tuple(table for table in (_missing(design), _sizes(design)) if table is not None)


def _missing(design: Design) -> Table | None:
    rows = design.rows
    if not rows.dropped:
        return None
    causes = [(f"{printable(name, 40)} is missing", many) for name, many in rows.missing]
    causes += [("weight of zero", rows.weightless), ("no trials", rows.trialless)]
    shown = [(text(why), _rows(many), _share(many, rows.read)) for why, many in causes if many]
    columns = (Column("why", numeric=False), Column("rows"), Column("of all"))
    foot = (Cell("dropped"), _rows(rows.dropped), _share(rows.dropped, rows.read))
    notes = (
        f"Of {count(rows.read, 'row')} read {rows.kept:,} enter the fits. A row with several missing values counts "
        "for each of them, and is dropped once.",
    )
    return Table("missing", "Rows that were dropped", columns, tuple(shown), (foot,), notes)


def _rows(many: int) -> Cell:
    return Cell(f"{many:,}", float(many))


def _share(many: int, of: int) -> Cell:
    return Cell(f"{100 * many / of:.1f} %", many / of)


def _sizes(design: Design) -> Table | None:
    shown = []
    for group in dict.fromkeys(block.group for block in design.blocks):
        sizes = next(block.sizes for block in design.blocks if block.group == group)
        quartiles = np.quantile(sizes, QUARTILES)
        alone = int((sizes == 1).sum())
        shown.append(
            (
                text(printable(group, 40)),
                _rows(len(sizes)),
                *(Cell(f"{value:,.10g}", float(value)) for value in quartiles),
                number(float(sizes.mean())),
                _rows(alone),
            )
        )
    if not shown:
        return None
    heads = ("levels", "smallest", "lower quartile", "median", "upper quartile", "largest", "mean", "with one row")
    columns = (Column("grouping factor", numeric=False), *map(Column, heads))
    return Table("sizes", "Rows per group", columns, tuple(shown), sortable=False)

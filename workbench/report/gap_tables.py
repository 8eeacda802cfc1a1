"""Why estimators differ, as tables for people: causes removed one after the other, and what is left after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.gap import called, same_design
from workbench.plots.varying import named, printable, varying
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.words import percent

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison
    from workbench.gap import Gap

PAIRS = (("reml", "fixed_prior"), ("reml", "hierarchical"), ("reml", "exact"))
"""The gaps that a report explains, where both were fitted."""
TERMS = 4
"""So many varying terms have columns of their own."""
FILE = "tables/gaps.csv"


def explained(comparison: Comparison) -> tuple[Gap, ...]:
    """The gaps of `PAIRS` that this comparison has; of full Bayes where its draws are at hand, and of one design."""
    hub = comparison.fits.get("reml")
    if comparison.design.family != "gaussian" or hub is None:
        return ()
    fits = {name: fit for name, fit in comparison.fits.items() if same_design(hub, fit)}
    able = {name for name, fit in fits.items() if name != "hierarchical" or fit.sampled is not None}
    able -= {name for name, fit in fits.items() if "nu" in fit.priors}  # Student-t residuals: no way is known
    return tuple(comparison.explain_gap(*pair) for pair in PAIRS if set(pair) <= able)


def gaps(comparison: Comparison) -> tuple[Table, ...]:
    """One table per gap, its sentence below."""
    return tuple(_table(comparison, gap) for gap in explained(comparison))


def _table(comparison: Comparison, gap: Gap) -> Table:
    terms = varying(comparison)
    shown, labels = terms[:TERMS], len(terms) > 1
    rows = []
    for step, left in enumerate(gap.gaps):
        cause, change, share = ("as fitted", "", Cell("")) if not step else _removed(gap, step - 1)
        sizes = [np.abs(left[v.block][:, v.column]) for v in shown]
        figures = (number(figure(values)) for values in sizes for figure in (_largest, _typical))
        rows.append((text(cause), *figures, share, text(change)))
    columns = (
        Column("cause removed", numeric=False),
        *(
            Column(f"{what}{f', {printable(named(v, terms), 30)}' * labels}")
            for v in shown
            for what in ("left", "root mean square")
        ),
        Column("share"),
        Column("what was changed", numeric=False),
    )
    notes = (
        "Left is the largest difference between group coefficients once the cause, and those above it, are removed and "
        "everything is fitted anew, and beside it stands their root mean square. Shares are of the gap's root mean "
        "square over all levels, each term in units of "
        "the spread of REML's effects; they depend on the order, and are negative where causes had hidden each other.",
    )
    title = f"Why {called(gap.first)} and {called(gap.second)} differ"
    return Table(
        f"gap_{gap.second}", title, columns, tuple(rows), (), notes, FILE, sentence=gap.sentence, sortable=False
    )


def _removed(gap: Gap, k: int) -> tuple[str, str, Cell]:
    _, step = gap.steps[k]
    return step.cause, step.change[0].upper() + step.change[1:], Cell(percent(gap.shares[k]), gap.shares[k])


def _largest(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")


def _typical(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(values**2))) if np.isfinite(values).any() else float("nan")


def gap_rows(comparison: Comparison) -> pd.DataFrame | None:
    """All explained gaps, one below the other, with the pair in front; None where there is none."""
    import pandas as pd

    found = explained(comparison)
    if not found:
        return None
    tables = [gap.table for gap in found]
    for gap, table in zip(found, tables, strict=True):
        table.insert(0, "estimator1", gap.first)
        table.insert(1, "estimator2", gap.second)
    joined: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return joined

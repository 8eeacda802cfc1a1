"""What iterated variances count and leave out, as tables for people: Var(u) = E Var(u|y) + Var E(u|y), term by term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.iterations.updates import Iterations
from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report.cells import Column, Table, number, text

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

FILE = "tables/decomposition.csv"
NOTE = (
    "The mean square of the predicted effects is Var E(u|y); the mean of their conditional variances, the population "
    "values being estimated too, is E Var(u|y). Both are taken at the estimator's own variance tau^2; at REML's they "
    "add up to it. Gamma is the effective number of effects, and J/gamma the factor that the mean square lacks."
)


def _traces(comparison: Comparison) -> dict[str, Iterations]:
    return {name: fit.trace for name, fit in comparison.fits.items() if isinstance(fit.trace, Iterations)}


def decompositions(comparison: Comparison) -> tuple[Table, ...]:
    """One table for all fits that iterate their variances; none where there is no such fit."""
    traces = _traces(comparison)
    if not traces:
        return ()
    rows, said = [], ""
    for name, trace in traces.items():
        parts = trace.decomposition
        said = said or parts.sentence
        for row in parts.table.to_dict("records"):
            figures = ("mean_square", "conditional_variance", "sum", "variance", "reml", "effective", "factor")
            cells = (number(row[key]) for key in figures)
            rows.append((text(title_of(name)), text(printable(f"{row['term']} by {row['group']}", 40)), *cells))
    heads = ("mean square of effects", "conditional variance", "sum", "tau^2", "REML's tau^2", "gamma", "J/gamma")
    columns = (Column("estimator", numeric=False), Column("term", numeric=False), *map(Column, heads))
    title = "What the variance of predicted effects leaves out"
    return (Table("decomposition", title, columns, tuple(rows), (), (NOTE,), FILE, sentence=said, sortable=False),)


def iteration_rows(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """The decompositions and all iterations, by the name of their file; empty where there are none."""
    import pandas as pd

    traces = _traces(comparison)
    if not traces:
        return {}
    parts = [trace.decomposition.table.assign(estimator=name) for name, trace in traces.items()]
    steps = [trace.table.assign(estimator=name) for name, trace in traces.items()]
    made = {"decomposition": pd.concat(parts, ignore_index=True), "iterations": pd.concat(steps, ignore_index=True)}
    return {key: table[["estimator", *table.columns.drop("estimator")]] for key, table in made.items()}

"""What iterated variances count and leave out, as tables for people: Var(u) = E Var(u|y) + Var E(u|y), term by term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.iterations.decomposition import Decomposition
from workbench.iterations.updates import Iterations
from workbench.plots.style import title_of
from workbench.plots.varying import printable
from workbench.report.cells import Column, Table, number, text

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

FILE = "tables/decomposition.csv"
SHRUNKEN = (
    "Predicted effects are shrunken: their mean square is Var E(u|y) and lacks the conditional variance E Var(u|y)."
)
NOTE = (
    "The mean square of the predicted effects is Var E(u|y); the mean of their conditional variances, the population "
    "values being estimated too, is E Var(u|y). Both are taken at the estimator's own variance tau^2, and add up to it "
    "where the restricted likelihood is largest. Gamma is the effective number of effects; there J/gamma is the factor "
    "that the mean square lacks. The picture of the spread splits otherwise: its variances have the divisor J - 1, and "
    "its conditional variances take the population values as known."
)


def _traces(comparison: Comparison) -> dict[str, Iterations]:
    return {name: fit.trace for name, fit in comparison.fits.items() if isinstance(fit.trace, Iterations)}


def decompositions(comparison: Comparison) -> tuple[Table, ...]:
    """One table for all fits that iterate their variances; none where there is no such fit."""
    traces = _traces(comparison)
    if not traces:
        return ()
    rows, made = [], {name: trace.decomposition for name, trace in traces.items()}
    for name, parts in made.items():
        for row in parts.table.to_dict("records"):
            figures = ("mean_square", "conditional_variance", "sum", "variance", "reml", "effective", "factor")
            cells = (number(row[key]) for key in figures)
            rows.append((text(title_of(name)), text(printable(f"{row['term']} by {row['group']}", 40)), *cells))
    heads = ("mean square of effects", "conditional variance", "sum", "tau^2", "REML's tau^2", "gamma", "J/gamma")
    columns = (Column("estimator", numeric=False), Column("term", numeric=False), *map(Column, heads))
    title, said = "What the variance of predicted effects leaves out", _sentence(made)
    return (Table("decomposition", title, columns, tuple(rows), (), (NOTE,), FILE, sentence=said, sortable=False),)


def _sentence(made: Mapping[str, Decomposition]) -> str:
    """Where the law of total variance holds, of the first fit of which it does, then of the first of which not."""
    chosen = (next((name for name, parts in made.items() if parts.lawful is holds), None) for holds in (True, False))
    said = [f"{printable(title_of(name))}: {made[name].sentence}" for name in chosen if name is not None]
    return " ".join([SHRUNKEN, *(f"{one[0].upper()}{one[1:]}" for one in said)])


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

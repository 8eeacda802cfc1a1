"""The scoreboard for people, where the truth is known: errors, coverage and log scores, by group size too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import Varying, named, truth, varying
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.grid import leader
from workbench.words import MISSING, join, percent, significant

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

FILE = "tables/scoreboard.csv"
NOTE = (
    "RMSE: root of the mean squared error of the group coefficients; relative: over that of no pooling. Coverage: "
    "share of the true values inside their intervals. Rank correlation: Spearman's, of estimates and true values. "
    "Log score: mean log density of the true values under normal distributions of the estimates and their standard "
    "errors; larger is better, and standard errors too small are punished as well as those too large. "
    "True values are taken as the study gives them: where they are measured too, as averages of later data, their own "
    "error is part of every estimator's, and of what their intervals miss."
)
TIE = 0.01
"""Errors within this share of the smallest, and log scores this near to the best, are told with it."""


def scoreboards(comparison: Comparison) -> tuple[Table, ...]:
    """One table per varying term whose truth is known, with what it says in sentences; none without a truth."""
    if not comparison.truth:
        return ()
    terms = varying(comparison)
    known = [v for v in terms if truth(comparison, v) is not None]
    return tuple(_table(comparison, v, f"scoreboard{k + 1 if len(known) > 1 else ''}") for k, v in enumerate(known))


def _table(comparison: Comparison, v: Varying, key: str) -> Table:
    scores = comparison.scoreboard
    scores = scores[(scores["group"] == v.group) & (scores["term"] == v.term) & scores["rmse"].notna()]
    classes = scores["sizes"].nunique() > 1
    rows = tuple(_row(row, classes) for row in scores.to_dict("records"))
    first = (Column("groups", numeric=False),) if classes else ()
    heads = ("estimated", "RMSE", "relative", "coverage", "interval width", "rank correlation", "log score")
    label = named(v, varying(comparison))
    return Table(
        key,
        "Against the truth" + (f": {label}" if label else ""),
        (*first, Column("estimator", numeric=False), *map(Column, heads)),
        rows,
        (),
        (NOTE,),
        FILE,
        sentence=" ".join(_sentences(comparison, v, scores)),
    )


def _row(row: dict[Any, Any], classes: bool) -> tuple[Cell, ...]:
    coverage = float(row["coverage"])
    return (
        *((text(row["sizes"]),) if classes else ()),
        text(title_of(row["estimator"])),
        Cell(f"{row['levels']:,}", float(row["levels"])),
        number(row["rmse"]),
        number(row["relative_rmse"], 3),
        Cell(percent(coverage), coverage) if np.isfinite(coverage) else Cell(MISSING),
        number(row["interval_width"]),
        number(row["rank_correlation"], 3),
        number(row["log_score"], 3),
    )


def _sentences(comparison: Comparison, v: Varying, scores: pd.DataFrame) -> list[str]:
    """What the scoreboard says, each sentence read off its rows."""
    every = scores[scores["sizes"] == "all"].set_index("estimator")
    said = [f"Taken as true: {comparison.truth_meaning}."] if comparison.truth_meaning else []
    if len(every) > 1:
        said.append(_smallest(every["rmse"], every["relative_rmse"]))
    covered = every["coverage"].dropna()
    if len(covered):
        claim = _claim(comparison, v)
        listed = join(f"{title_of(str(name))} {percent(float(value))}" for name, value in covered.items())
        said.append(f"The intervals{f' of {claim}' if claim else ''} hold the true value in: {listed}.")
    scored = every["log_score"].dropna()
    if len(scored) > 1:
        best = scored[scored >= scored.max() - TIE].index
        said.append(f"The best log score is that of {_names(best)}{', to 0.01' if len(best) > 1 else ''}.")
    said += _by_size(comparison, scores)
    return said


def _names(estimators: Iterable[Any]) -> str:
    return join(title_of(str(name)) for name in estimators)


def _smallest(errors: pd.Series, relative: pd.Series) -> str:
    """Whose error is the smallest, and whose is not worth telling from it."""
    best = str(errors.idxmin())
    least, of = float(errors[best]), float(relative[best])
    beside = f", {percent(of)} of no pooling's" if np.isfinite(of) and best != "no_pooling" else ""
    near = [name for name in errors.sort_values().index if name != best and errors[name] <= least * (1 + TIE)]
    ties = f"; less than 1 % larger: {_names(near)}" if near else ""
    return f"The smallest error is that of {title_of(best)} ({significant(least)}{beside}){ties}."


def _claim(comparison: Comparison, v: Varying) -> str:
    """The probability that all intervals claim, "95 %"; empty where they claim different ones."""
    texts = (fit.group_effects[v.block].coefficient.interval for fit in comparison.fits.values())
    claims = {found[0] for text in texts if (found := re.search(r"[\d.]+ %", text))}
    return claims.pop() if len(claims) == 1 else ""


def _by_size(comparison: Comparison, scores: pd.DataFrame) -> list[str]:
    """The relative error of the fit that leads, in the smallest and in the largest groups."""
    lead = leader(comparison)
    own = scores[(scores["estimator"] == lead) & (scores["sizes"] != "all") & scores["relative_rmse"].notna()]
    if len(own) < 2 or lead == "no_pooling":
        return []
    small, large = own.iloc[0], own.iloc[-1]
    return [
        f"{title_of(lead)}'s error is {percent(float(small['relative_rmse']))} of no pooling's in the smallest groups "
        f"({small['sizes']}{_beaten(scores, small)}) and {percent(float(large['relative_rmse']))} in the largest "
        f"({large['sizes']}{_beaten(scores, large)})."
    ]


def _beaten(scores: pd.DataFrame, row: pd.Series) -> str:
    """Who has a smaller error than a row's estimator in its groups, where that is more than a tie."""
    errors = scores[(scores["sizes"] == row["sizes"])].set_index("estimator")["rmse"].dropna()
    best, ours = str(errors.idxmin()), float(row["rmse"])
    if not float(errors[best]) * (1 + TIE) < ours:
        return ""
    return f"; {title_of(best)}'s {significant(float(errors[best]))} is below its {significant(ours)}"

"""The data files: every table of the comparison, all digits, in the tidy schema.

They are CSV files. Where the estimates have more than `LARGE` rows, they and the table of groups are Parquet files of
the same columns instead: labels that repeat take no room there, and numbers keep their eight bytes. Beside them lies
``estimates_extremes.csv`` with the levels that stand out.

``groups`` is :meth:`workbench.Comparison.by_group` without what ``estimates`` says of the same group: errors, limits,
kinds. ``scoreboard`` is without wall times, which stand in ``timings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import Varying, coefficients, varying
from workbench.report.context import FigureCheck
from workbench.report.decomposition_tables import iteration_rows
from workbench.report.extremes import ends, farthest, leading
from workbench.report.gap_tables import gap_rows
from workbench.report.grid import TOP

if TYPE_CHECKING:
    import pandas as pd

    from workbench.comparison import Comparison

LARGE = 4_000
"""Up to so many rows of estimates are written as CSV."""
SAID_ELSEWHERE = ("std_error", "conf_low", "conf_high", "std_error_kind", "interval")
"""Columns of the table of groups that stand in the estimates, by the same keys."""
EXTREMES_FILE = "tables/estimates_extremes.csv"


def is_large(comparison: Comparison) -> bool:
    """Whether the estimates are too many rows for a CSV file."""
    design = comparison.design
    effects = sum(len(block.levels) * len(block.terms) for block in design.blocks)
    return len(comparison.fits) * (len(design.fixed_terms) + 2 * effects) > LARGE


def estimates_file(comparison: Comparison) -> str:
    """Where in a report all estimates are."""
    return f"tables/estimates.{'parquet' if is_large(comparison) else 'csv'}"


def groups_file(comparison: Comparison) -> str:
    """Where in a report the table of all groups is."""
    return f"tables/groups.{'parquet' if is_large(comparison) else 'csv'}"


def write_tables(comparison: Comparison, folder: Path, figures: Sequence[FigureCheck] = ()) -> list[Path]:
    """Write the tables and return their paths; floats read back as the same numbers.

    ``gaps``, ``decomposition``, ``iterations``, ``parameters``, ``sampler_check`` and ``figures`` are written where
    there are any, ``scoreboard`` where the truth is known.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "estimates": comparison.estimates,
        "agreement": comparison.agreement,
        "groups": comparison.by_group(TOP).drop(columns=list(SAID_ELSEWHERE)),
        "variance": comparison.variance,
        "timings": comparison.timings,
    }
    large = {"estimates", "groups"} if is_large(comparison) else set()
    if large:
        made["estimates_extremes"] = extreme_rows(comparison)
    if comparison.truth:
        made["scoreboard"] = comparison.scoreboard.drop(columns="seconds")
    if (gaps := gap_rows(comparison)) is not None:
        made["gaps"] = gaps
    made |= iteration_rows(comparison)
    if comparison.sampling is not None:
        made["sampler_check"] = comparison.sampler_check
    if len(comparison.parameters):
        made["parameters"] = comparison.parameters
    if figures:
        made["figures"] = pd.DataFrame([asdict(figure) for figure in figures])
    paths = []
    for name, table in made.items():
        path = folder / f"{name}.{'parquet' if name in large else 'csv'}"
        if name in large:
            write_parquet(table, path)
        else:
            table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
        paths.append(path)
    return paths


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table of text and numbers as Parquet; what is missing is null."""
    import pandas as pd
    import polars as pl

    columns = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column.dtype):
            columns[str(name)] = pl.Series(column.to_numpy(), nan_to_null=True)
            continue
        codes, words = pd.factorize(column)  # text by its place in a list of words, the last of which is missing
        vocabulary = pl.Series([*words.tolist(), None], dtype=pl.String)
        columns[str(name)] = vocabulary.gather(np.where(codes < 0, len(words), codes))
    pl.DataFrame(columns).write_parquet(path, compression="zstd")


def extreme_rows(comparison: Comparison) -> pd.DataFrame:
    """The tidy rows of the population coefficients and of the levels that a page shows, with what they were chosen for.

    Columns ``chosen_for, rank`` (1 is the most extreme) and those of the estimates.
    """
    import pandas as pd

    rows, fits = comparison.estimates, len(comparison.fits)
    fixed = rows[rows["effect"] == "fixed"]
    tables = [fixed.assign(chosen_for="population coefficient", rank=np.tile(np.arange(len(fixed) // fits) + 1, fits))]
    for v in varying(comparison):
        here = np.flatnonzero((rows["group"] == v.group) & (rows["term"] == v.term))
        start = len(v.levels) * np.arange(2 * fits)  # effects and coefficients of every fit, in the levels' order
        for why, levels in _chosen(comparison, v):
            chosen = rows.iloc[here[(levels[:, None] + start).ravel()]]
            tables.append(chosen.assign(chosen_for=why, rank=np.repeat(np.arange(len(levels)) + 1, len(start))))
    joined: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return joined.loc[:, ["chosen_for", "rank", *rows.columns]]


def _chosen(comparison: Comparison, v: Varying) -> list[tuple[str, NDArray[np.intp]]]:
    """What levels of a term are chosen for, and which they are, the most extreme first."""
    lead = leading(comparison)
    low, high = ends(coefficients(lead, v))
    if not high:
        return [("every level", np.array(low))]
    name = title_of(lead.estimator)
    kinds = [(f"lowest by {name}", np.array(low)), (f"highest by {name}", np.array(high[::-1]))]
    return [*kinds, *((f"those {found.why}", found.levels) for found in farthest(comparison, v))]

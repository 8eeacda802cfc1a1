"""The CSV files: every table of the comparison, all digits, in the tidy schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.report.context import FigureCheck

if TYPE_CHECKING:
    from workbench.comparison import Comparison


def write_tables(comparison: Comparison, folder: Path, figures: Sequence[FigureCheck] = ()) -> list[Path]:
    """Write the tables and return their paths; floats read back as the same numbers.

    ``parameters`` and ``figures`` are written where there are any.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "estimates": comparison.estimates,
        "agreement": comparison.agreement,
        "shrinkage": comparison.shrinkage,
        "variance": comparison.variance,
        "timings": comparison.timings,
    }
    if len(comparison.parameters):
        made["parameters"] = comparison.parameters
    if figures:
        made["figures"] = pd.DataFrame([asdict(figure) for figure in figures])
    paths = []
    for name, table in made.items():
        path = folder / f"{name}.csv"
        table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
        paths.append(path)
    return paths

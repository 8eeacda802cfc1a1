"""Simulations of one design for a terminal, and as a folder of tables and a picture."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.calibration.intervals import FIGURES
from workbench.plots import style
from workbench.plots.varying import printable
from workbench.report.folder import put_folder
from workbench.report.manifest import MAKER, NAME, to_json
from workbench.report.terminal_parts import headline, plain, print_table, say, standard_output
from workbench.report.versions import versions
from workbench.words import MISSING, count, fixed, places_for, significant

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from workbench.calibration import Coverage
    from workbench.calibration.coverage_result import Cell

CLASSES = 4


def print_simulation(found: Coverage, console: Console | None = None) -> None:
    """Print the truth, a table for each group size, what they come to, and what is to be known of the simulations."""
    out = console or standard_output()
    done = count(found.simulations, "simulation")
    headline(out, f"What {100 * found.level:.4g} % intervals hold: {found.formula}, {done}")
    values = ", ".join(f"{name} = {plain(significant(value))}" for name, value in found.truth.items())
    say(out, f"Truth: {values} ({found.source}); seed {found.seed}", "dim")
    for cell in found.cells(CLASSES):
        _print_cell(out, found, cell)
    say(out, "+-: Monte Carlo error of the figure before it. MSE: mean squared error.", "dim")
    for text in found.warnings:
        say(out, f"! {text}", "yellow")
    for text in found.sentences:
        out.print()
        say(out, plain(text))


def _print_cell(out: Console, found: Coverage, cell: Cell) -> None:
    rows = [(key, found.means(key, cell)) for key in found.keys]
    places = {name: places_for([m[name][1] for _, m in rows]) - 1 for name in ("width", "squared_error")}
    lines = []
    for (estimator, quantity, kind), means in rows:
        held, error = means["coverage"]
        cells = [style.title_of(estimator), quantity, kind.partition(",")[0]]
        cells += [_percent(held), _percent(error)]
        for name in ("width", "squared_error"):
            cells += [plain(fixed(value, max(places[name], 0))) for value in means[name]]
        lines.append(cells)
    where = f"{cell.term} by {printable(cell.group, 40)}: " if len(found.cells()) > 1 else ""
    title = f"{where}{count(len(cell.places), 'group')} of {cell.size}"
    heads = ["estimator", "of the", "standard error", "holds", "+-", "width", "+-", "MSE", "+-"]
    print_table(out, title, heads, lines, 3)


def _percent(share: float) -> str:
    return f"{plain(fixed(100 * share, 1))}%" if np.isfinite(share) else MISSING


def write_simulation(found: Coverage, folder: str | Path) -> Path:
    """Write ``summary.csv``, ``simulations.csv``, ``coverage.png`` and ``.svg``, and ``manifest.json`` to a folder.

    Raises
    ------
    ReportError
        As :func:`workbench.report.write_report`: the folder appears whole or not at all, and replaces only its like.
    """
    return put_folder(folder, lambda inside: _fill(found, inside))


def _fill(found: Coverage, folder: Path) -> None:
    for name, made in (("summary", found.summary), ("simulations", _simulations(found))):
        made.to_csv(folder / f"{name}.csv", index=False, encoding="utf-8", lineterminator="\n")
    figure = found.plot().get_figure(root=True)
    assert figure is not None
    style.save(figure, folder / "coverage")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    document = found.to_dict() | {"made_by": MAKER, "versions": versions(), "files": files}
    (folder / NAME).write_text(to_json(document), encoding="utf-8", newline="\n")


def _simulations(found: Coverage) -> pd.DataFrame:
    """One row per simulation, kind of interval and group size (of many sizes, each class): means over its groups."""
    import pandas as pd

    parts = []
    for key in found.keys:
        for cell in found.cells(CLASSES):
            head: dict[str, Any] = {"simulation": np.arange(1, found.simulations + 1)}
            head |= dict(zip(("estimator", "quantity", "std_error_kind"), key, strict=True))
            head |= {"group": cell.group, "term": cell.term, "n_from": cell.low, "n_to": cell.high}
            figures = found.by_simulation(key, cell)
            parts.append(pd.DataFrame(head | dict(zip(FIGURES, figures.T, strict=True))))
    return pd.concat(parts, ignore_index=True)

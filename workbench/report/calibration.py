"""A calibration for a terminal, and as a folder of tables and a picture."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.plots import style
from workbench.plots.varying import printable
from workbench.report.folder import put_folder
from workbench.report.manifest import MAKER, NAME, to_json
from workbench.report.terminal_parts import headline, plain, plain_number, print_table, say, standard_output
from workbench.report.versions import versions
from workbench.words import significant

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.calibration import Calibration


def print_calibration(found: Calibration, console: Console | None = None) -> None:
    """Print one row per parameter, the verdict, and what is to be known of the replications."""
    out = console or standard_output()
    headline(out, f"Calibration of {style.title_of(found.estimator)}: {found.formula}")
    priors = ", ".join(f"{name} ~ {prior}" for name, prior in found.priors.items())
    say(out, f"Truths drawn from {priors}; seed {found.seed}", "dim")
    rows = []
    for r in found.summary.itertuples():
        numbers = [plain_number(float(value), 3) for value in (r.mean, r.spread)]
        p_values = [_p(float(p)) for p in (r.ecdf_p, r.adjusted_p)]
        rows.append([printable(str(r.parameter), 60), *numbers, *p_values, "uniform" if r.uniform else r.posterior])
    heads = ["parameter", "mean", "spread", "p", "adjusted", "verdict"]
    print_table(out, "Ranks of the truth in the posterior", heads, rows, 1)
    say(
        out,
        "Uniform ranks have mean 0.5 and spread 1. p: simultaneous test of the distribution function; adjusted: by "
        "Holm over all parameters.",
        "dim",
    )
    for text in found.warnings:
        say(out, f"! {text}", "yellow")
    out.print()
    say(out, found.sentence, "" if found.uniform else "bold red")


def write_calibration(found: Calibration, folder: str | Path) -> Path:
    """Write ``summary.csv``, ``ranks.csv``, ``calibration.png`` and ``.svg``, and ``manifest.json`` to a folder.

    Raises
    ------
    ReportError
        As :func:`workbench.report.write_report`: the folder appears whole or not at all, and replaces only its like.
    """
    return put_folder(folder, lambda inside: _fill(found, inside))


def _fill(found: Calibration, folder: Path) -> None:
    import pandas as pd

    ranks = pd.DataFrame(found.ranks, columns=list(found.names))
    ranks.insert(0, "replication", np.arange(1, len(ranks) + 1))
    for name, made in (("summary", found.summary), ("ranks", ranks)):
        made.to_csv(folder / f"{name}.csv", index=False, encoding="utf-8", lineterminator="\n")
    figure = found.plot().get_figure(root=True)
    assert figure is not None
    style.save(figure, folder / "calibration")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    document = found.to_dict() | {"made_by": MAKER, "versions": versions(), "files": files}
    (folder / NAME).write_text(to_json(document), encoding="utf-8", newline="\n")


def _p(value: float) -> str:
    if not np.isfinite(value):
        return plain_number(value, 3)
    return "< 0.001" if value < 0.001 else plain(significant(value, 2))

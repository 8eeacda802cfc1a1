"""``workbench check``: reference figures against ours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.report import FigureCheck

SUMMARY = "hold our figures against the reference ones; exit code 1 where one is missed"
EXAMPLES = """examples:
  workbench check
  workbench check twelve_groups sleepstudy
  workbench check reports/sleepstudy        a report: files, stored optimum, draws
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="a built-in name, a folder with a model.toml, or a report"
    )


def run(given: argparse.Namespace) -> int:
    """Fit what the figures need, print the table; 1 where one is missed."""
    from workbench.reference import check_study
    from workbench.report.terminal import print_checks
    from workbench.study import load_study, study_names

    reports = [name for name in given.studies if is_report(name)]
    held = [print_rechecks(name) for name in reports]
    checks: dict[str, list[FigureCheck]] = {}
    for name in [name for name in given.studies if name not in reports] or ([] if reports else study_names()):
        study = load_study(name)
        checks[study.name] = check_study(study)
    print_checks(checks)
    return 0 if all(held) and all(figure.holds for figures in checks.values() for figure in figures) else 1


def is_report(name: str) -> bool:
    """Whether a folder holds a report and no study."""
    from pathlib import Path

    from workbench.report.manifest import NAME, is_manifest

    return is_manifest(Path(name) / NAME)


def print_rechecks(folder: str) -> bool:
    """Hold a report to what it was made from, and print the table; whether all of it holds."""
    from workbench.recheck import recheck
    from workbench.report.terminal_parts import plain, print_table, say, standard_output

    found, out = recheck(folder), standard_output()
    words = {True: "yes", False: "NO", None: "–"}
    rows = [[words[row.holds], row.what, plain(row.stored), plain(row.found)] for row in found]
    held = sum(row.holds is True for row in found)
    missed = [row.what for row in found if row.holds is False]
    print_table(
        out,
        f"{folder}: {held} of {held + len(missed)} checks hold",
        ["holds", "what", "stored", "found"],
        rows,
        4,
        fold=True,
    )
    for what in missed:
        say(out, f"! {what} does not hold.", "bold red")
    return not missed

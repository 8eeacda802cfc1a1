"""``workbench check``: published figures against ours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.report import FigureCheck

SUMMARY = "hold our figures against the published ones; exit code 1 where one is missed"
EXAMPLES = """examples:
  workbench check
  workbench check twelve_groups sleepstudy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a built-in name, or a folder with a model.toml")


def run(given: argparse.Namespace) -> int:
    """Fit what the figures need, print the table; 1 where one is missed."""
    from workbench.reference import check_study
    from workbench.report.terminal import print_checks
    from workbench.study import load_study, study_names

    checks: dict[str, list[FigureCheck]] = {}
    for name in given.studies or study_names():
        study = load_study(name)
        checks[study.name] = check_study(study)
    print_checks(checks)
    return 0 if all(figure.holds for figures in checks.values() for figure in figures) else 1

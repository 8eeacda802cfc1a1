"""``workbench fit``: one estimator, one table."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from workbench.commands.arguments import HELP, add_data, add_loudness, bars, model
from workbench.commands.given import read_option

if TYPE_CHECKING:
    from workbench.fit import Fit
    from workbench.inference import Bootstrap, Profile

SUMMARY = "fit one estimator to a table"
EXAMPLES = """examples:
  workbench fit data.csv "y ~ 1 + (1 | g)"
  workbench fit data.csv "y ~ x + (x | g)" --intervals profile
  workbench fit data.csv "y ~ 1 + (1 | g)" --estimator hierarchical --prior "sd(g)=HalfCauchy(5)"
  workbench fit data.csv "cbind(hits, outs) ~ 1 + (1 | player)" --family binomial -e agq --option nodes=25
  workbench fit data.csv "y ~ 1 + (1 | g)" --json > fit.json

Exit code 1: the fit did not converge; its numbers are printed, with a warning.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_data(parser)
    parser.add_argument(
        "--estimator", "-e", default="reml", metavar="E", help="see: workbench estimators (default reml)"
    )
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=HELP["option"])
    parser.add_argument(
        "--intervals",
        choices=("wald", "profile", "bootstrap"),
        default="wald",
        help="of reml and ml: add profile-likelihood or bootstrap intervals of all parameters (default wald)",
    )
    parser.add_argument("--json", action="store_true", help="print the fit as one JSON document")
    add_loudness(parser)


def run(given: argparse.Namespace) -> int:
    """Fit and print."""
    from workbench.api import fit
    from workbench.inference import interval_rows

    options = dict(read_option(text) for text in given.option) or None
    made = fit(given.formula, given.data, given.estimator, options=options, progress=bars(given), **model(given))
    intervals = _intervals(made, given)
    if given.verbose:
        print(f"{made.estimator}: {made.seconds:.3g} s", file=sys.stderr)
    if given.json:
        more = {} if intervals is None else {"intervals": interval_rows(intervals)}
        print(json.dumps(made.to_dict() | more, ensure_ascii=False, allow_nan=False))
    else:
        from workbench.report.terminal_fit import print_fit, print_intervals

        print_fit(made)
        if intervals is not None:
            print_intervals(intervals)
    return 0 if made.converged else 1


def _intervals(made: Fit, given: argparse.Namespace) -> Profile | Bootstrap | None:
    """Profile or bootstrap intervals, where they were asked for."""
    from workbench.inference import bootstrap, profile

    if given.intervals == "profile":
        return profile(made, given.level, progress=not given.quiet)
    if given.intervals == "bootstrap":
        return bootstrap(made, seed=given.seed, level=given.level, progress=not given.quiet)
    return None

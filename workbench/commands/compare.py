"""``workbench compare``: several estimators, one table.

What is quick is printed before full Bayes begins, with how long that will take.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.commands.arguments import HELP, add_data, add_estimators, add_loudness, bars, model
from workbench.commands.given import read_estimator_options, read_exports, read_names, read_pairs, read_priors
from workbench.commands.watching import told

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

SUMMARY = "fit several estimators to a table and print them side by side"
EXAMPLES = """examples:
  workbench compare data.csv "y ~ x + (x | g)"
  workbench compare data.csv "y ~ x + (x | g)" --estimators no_pooling reml fixed_prior --out report
  workbench compare data.csv "y ~ 1 + (1 | g)" --se se --prior "sd(g)=HalfCauchy(5)"
  workbench compare data.csv "y ~ x + (x | g)" --foreign lme4=tidy.csv
  workbench compare data.csv "y ~ x + (x | g)" --export table.tex wide=groups.docx
  workbench compare data.csv "cbind(hits, outs) ~ 1 + (1 | player)" --family binomial --option agq.nodes=25

The table and what it says are printed before full Bayes begins. Exit code 1: a fit did not converge.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_data(parser)
    add_estimators(parser)
    parser.add_argument("--option", action="append", default=[], metavar="ESTIMATOR.KEY=VALUE", help=HELP["options"])
    parser.add_argument(
        "--foreign",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="set an answer from elsewhere beside the fits: a table of estimates (broom.mixed's, ours) or draws (.nc)",
    )
    parser.add_argument("--out", metavar="DIR", help="write the report to this folder as well")
    parser.add_argument(
        "--export",
        nargs="+",
        action="extend",
        default=[],
        metavar="[TABLE=]FILE",
        help="write a table to a .tex, .docx, .html, .md or .csv file: models (default), wide, fixed, variance, ...",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document per fit, a line each")
    add_loudness(parser)


def run(given: argparse.Namespace) -> int:
    """Compare, print, write."""
    from workbench.api import compare

    if given.out:
        from workbench.report import check_folder

        check_folder(given.out)  # before anything is fitted
    exports = read_exports(given.export)
    options = read_estimator_options(given.option)

    def watch(name: str, made: Mapping[str, Fit]) -> None:
        told(given.verbose, name, made)
        if name == "hierarchical" and not given.json and not given.quiet:
            _before_full_bayes(made, options.get(name), given)

    comparison = compare(
        given.formula,
        given.data,
        read_names(given.estimators),
        progress=bars(given) and not given.json,
        options=options,
        foreign=read_pairs(given.foreign, "--foreign", "lme4=tidy.csv"),
        watch=watch,
        **model(given),
    )
    if given.json:
        for fit in comparison.fits.values():
            print(json.dumps(fit.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        from workbench.report.terminal import print_comparison

        print_comparison(comparison)
    for table, file in exports:
        print(f"Table: {comparison.export(file, table)}", file=sys.stderr if given.json else sys.stdout)
    if given.out:
        folder = comparison.report(given.out)
        print(f"Report: {folder / 'index.html'}", file=sys.stderr if given.json else sys.stdout)
    return exit_code(comparison)


def exit_code(comparison: Comparison) -> int:
    """1 where a fit did not converge."""
    return 0 if comparison.converged else 1


def _before_full_bayes(made: Mapping[str, Fit], options: object, given: argparse.Namespace) -> None:
    """Print what is known so far, and how long the rest takes."""
    from workbench.comparison import Comparison
    from workbench.estimators import Settings, lookup, make_options
    from workbench.report.terminal import print_foretaste
    from workbench.sampling.foreseen import in_words

    if made:
        design = next(iter(made.values())).design
        chosen = make_options(lookup("hierarchical"), options)
        seconds = chosen.seconds(design, Settings(priors=read_priors(given.prior)))
        print_foretaste(Comparison(made, made.get("no_pooling")))
        print(f"\nFull Bayes begins, by sampling; it takes {in_words(seconds)}.", flush=True)

"""``workbench calibrate``: the posterior of a study, or of a formula and a table, against truths drawn from priors."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.commands.arguments import add_columns
from workbench.commands.given import read_option, read_priors

if TYPE_CHECKING:
    from workbench.design import Design

SUMMARY = "test a posterior by truths drawn from its priors; 1 where one deviates"
EXAMPLES = """examples:
  workbench calibrate twelve_groups
  workbench calibrate sleepstudy --estimator hierarchical --replications 20 --option draws=500 --out calibration
  workbench calibrate data.csv "y ~ 1 + (1 | g)" --prior "sd(g)=HalfNormal(2)" --fit-prior "sd(g)=HalfNormal(1)"
  workbench calibrate data.csv "cbind(hits, outs) ~ 1 + (1 | player)" --family binomial

Truths are drawn from the priors, responses given them, each is fitted, and the rank of every truth in its posterior is
noted. Ranks are uniform where model, priors and computation are right. Exit code 1: they are not, at --level; right
ones pass with that probability.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("what", metavar="STUDY|DATA", help="a study, or a .csv, .tsv, .parquet or .arrow file")
    parser.add_argument("formula", metavar="FORMULA", nargs="?", help="with DATA: lme4's notation")
    parser.add_argument("--estimator", "-e", default="exact", metavar="E", help="exact (default) or hierarchical")
    parser.add_argument("--replications", "-n", type=int, default=200, metavar="N", help="how many fits (default 200)")
    parser.add_argument("--family", help="with DATA: of the response (default gaussian)")
    parser.add_argument("--link", help="with DATA: of the family, where it has several")
    parser.add_argument(
        "--draws", type=int, default=100, metavar="L", help="rank among so many draws at the most (default 100)"
    )
    parser.add_argument(
        "--levels", nargs="+", metavar="LEVEL",
        help="of the first grouping factor, whose coefficients are ranked (default: smallest, largest, first)",
    )  # fmt: skip
    parser.add_argument(
        "--fit-prior", action="append", default=[], metavar="NAME=PRIOR",
        help="give the fits another prior than the truths have, to see what that looks like; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the estimator; repeatable"
    )
    parser.add_argument("--out", metavar="DIR", help="write tables (CSV) and the picture (PNG, SVG) to this folder")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")
    add_columns(parser, seed=None, level=None)


def run(given: argparse.Namespace) -> int:
    """Calibrate, print, write; 0 where all ranks are uniform, 1 where they are not, 130 after Ctrl-C."""
    from workbench.calibration import calibrate
    from workbench.report import check_folder
    from workbench.report.calibration import print_calibration, write_calibration

    priors, fit_priors = read_priors(given.prior), read_priors(given.fit_prior, "--fit-prior")
    options = dict(read_option(text) for text in given.option)
    if given.out:
        check_folder(given.out)  # before anything is fitted
    design, of_study, seed, level, own = _resolved(given)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Interrupted", RuntimeWarning)  # said below
        found = calibrate(
            design,
            estimator=given.estimator,
            replications=given.replications,
            draws=given.draws,
            priors={**of_study, **priors},
            fit_priors=fit_priors,
            seed=seed,
            level=level,
            groups=given.levels,
            progress=not given.quiet,
            options={**own, **options} or None,
        )
    if given.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        print_calibration(found)
    if given.out:
        folder = write_calibration(found, given.out)
        print(f"Written to {folder}", file=sys.stderr if given.json else sys.stdout)
    return 130 if found.interrupted else 0 if found.uniform else 1


def _resolved(given: argparse.Namespace) -> tuple[Design, Mapping[str, Any], int, float, Mapping[str, Any]]:
    """Design, priors, seed, level and options: of a table, or of a study where the command line leaves them out."""
    from workbench.design import build_design
    from workbench.errors import OptionError
    from workbench.study import load_study
    from workbench.words import join

    seed, level = given.seed, given.level
    columns = {name: getattr(given, name) for name in ("family", "link", "weights", "offset", "se")}
    columns = {name: value for name, value in columns.items() if value is not None}
    if given.formula is not None:
        design = build_design(given.formula, given.what, **columns)
        return design, {}, 1 if seed is None else seed, 0.95 if level is None else level, {}
    if columns:
        raise OptionError(f"A study has its own {join(list(columns))}; give these with DATA and FORMULA.")
    study = load_study(given.what)
    own = study.options.get(given.estimator, {})
    return (
        study.design(), study.priors, study.seed if seed is None else seed, study.level if level is None else level, own
    )  # fmt: skip

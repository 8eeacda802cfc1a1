"""``workbench simulate``: a design simulated many times from one truth, and every estimator's intervals held to it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any

from workbench.commands.arguments import add_columns, add_estimators
from workbench.commands.given import read_estimator_options, read_names, read_pairs, read_priors

if TYPE_CHECKING:
    from workbench.design import Design

SUMMARY = "repeat a design many times: coverage, width and squared error of every estimator's intervals, by group size"
EXAMPLES = """examples:
  workbench simulate twelve_groups --replications 500
  workbench simulate 100x6,2x6 --between-sd 1 --within-sd 5 --out simulation
  workbench simulate 5,5,10,20 --estimators no_pooling reml exact --jobs 1 --json
  workbench simulate sleepstudy -n 200 --truth "sd(Subject, Days)=10"
  workbench simulate data.csv "y ~ x + (x | g)" --estimators reml fixed_prior

The truth is the same every time, group effects and responses are new: what a study's [simulation] says, else its own
REML fit (of counts and shares Laplace's), and for sizes a mean of 0 and SDs of 1 between and 5 within groups, unless
you state it. 100x6,2x6 are six groups of 100 samples and six of 2.
"""

SIZES = re.compile(r"\s*\d+(\s*[xX*]\s*\d+)?(\s*,\s*\d+(\s*[xX*]\s*\d+)?)*\s*")
ONE_WAY = ("between_sd", "within_sd", "mean")
MOST_GROUPS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "what", metavar="STUDY|DESIGN",
        help="a study; group sizes such as 100x6,2x6; or a .csv, .tsv, .parquet, .arrow or .rds file",
    )  # fmt: skip
    parser.add_argument("formula", metavar="FORMULA", nargs="?", help="with a file: lme4's notation")
    parser.add_argument("--replications", "-n", type=int, default=1000, metavar="N", help="how many (default 1000)")
    add_estimators(parser)
    parser.add_argument("--between-sd", type=float, metavar="X", help="true SD of the group means of a one-way design")
    parser.add_argument("--within-sd", type=float, metavar="X", help="true SD of the samples about them")
    parser.add_argument("--mean", type=float, metavar="X", help="true mean of the group means")
    parser.add_argument(
        "--truth", action="append", default=[], metavar="NAME=VALUE",
        help='another true value than the fit\'s, of any design: "sd(g, x)=2"; repeatable',
    )  # fmt: skip
    parser.add_argument("--family", help="with a file: of the response (default gaussian)")
    parser.add_argument("--link", help="with a file: of the family, where it has several")
    parser.add_argument(
        "--option", action="append", default=[], metavar="ESTIMATOR.KEY=VALUE",
        help="an option of one of the estimators; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", "-j", type=int, metavar="N", help="processes at most (default: one for every core); same results"
    )
    parser.add_argument("--out", metavar="DIR", help="write tables (CSV) and the picture (PNG, SVG) to this folder")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")
    add_columns(parser, seed=None, level=None)


def run(given: argparse.Namespace) -> int:
    """Simulate, print, write; 0 when done, 130 after Ctrl-C."""
    from workbench.calibration import coverage
    from workbench.report import check_folder
    from workbench.report.simulation import print_simulation, write_simulation

    if given.out:
        check_folder(given.out)  # before anything is simulated
    design, asked = _resolved(given)
    asked["options"] = {**asked["options"], **read_estimator_options(given.option)}
    asked["priors"] = {**asked["priors"], **read_priors(given.prior)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Interrupted", RuntimeWarning)  # said below
        found = coverage(
            design,
            **asked,
            simulations=given.replications,
            estimators=read_names(given.estimators),
            jobs=given.jobs,
            progress=not given.quiet,
        )
    if given.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        print_simulation(found)
    if given.out:
        folder = write_simulation(found, given.out)
        print(f"Written to {folder}", file=sys.stderr if given.json else sys.stdout)
    return 130 if found.interrupted else 0


def _resolved(given: argparse.Namespace) -> tuple[list[int] | Design, dict[str, Any]]:
    """What is simulated: sizes, a table, or a study; and truth, priors, options, seed and level with it."""
    from workbench.design import build_design
    from workbench.errors import OptionError
    from workbench.study import load_study
    from workbench.words import join

    columns = {name: getattr(given, name) for name in ("family", "link", "weights", "offset", "se")}
    columns = {name: value for name, value in columns.items() if value is not None}
    asked: dict[str, Any] = {name: getattr(given, name) for name in ONE_WAY}
    asked |= {"truth": _truth(given.truth), "priors": {}, "options": {}}
    asked |= {"seed": 1 if given.seed is None else given.seed, "level": 0.95 if given.level is None else given.level}
    if given.formula is not None:
        return build_design(given.formula, given.what, **columns), asked
    if columns:
        raise OptionError(f"Sizes and studies have no {join(list(columns))} to be told; give these with a file.")
    if SIZES.fullmatch(given.what):
        return read_sizes(given.what), asked
    study = load_study(given.what)
    if asked["truth"] is None:
        told = {name: float(study.simulation[name]) for name in ONE_WAY if name in study.simulation}
        asked |= {name: value for name, value in told.items() if asked[name] is None}
    asked |= {"priors": study.priors, "seed": study.seed if given.seed is None else given.seed}
    asked["level"] = study.level if given.level is None else given.level
    return study.design(), asked


def read_sizes(text: str) -> list[int]:
    """Read group sizes.

    Examples
    --------
    >>> read_sizes("100x2, 2x3,7")
    [100, 100, 2, 2, 2, 7]
    """
    from workbench.errors import OptionError

    found: list[tuple[int, int]] = []
    for part in text.split(","):
        size, _, times = re.sub(r"\s*[xX*]\s*", "x", part.strip()).partition("x")
        found.append((int(size), int(times or 1)))
    if (groups := sum(times for _, times in found)) > MOST_GROUPS:
        raise OptionError(f"{text} are {groups:,} groups, but at most {MOST_GROUPS:,} are simulated. Take fewer.")
    return [size for size, times in found for _ in range(times)]


def _truth(given: list[str]) -> dict[str, float] | None:
    from workbench.errors import OptionError

    pairs = read_pairs(given, "--truth", '"sd(g, x)=2"')
    try:
        return {name: float(value) for name, value in pairs.items()} or None
    except ValueError:
        bad = next(f"{name}={value}" for name, value in pairs.items() if not _is_number(value))
        raise OptionError(f'--truth {bad!r} is no number. Write it like "sd(g, x)=2".') from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""Arguments that several commands share, and what is read from them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from workbench.commands.given import read_priors

HELP = {
    "option": "an option of the estimator; repeatable",
    "options": "an option of one of the estimators; repeatable",
    "prior": '"sd(g)=HalfCauchy(5)"; repeatable',
}


def add_data(parser: argparse.ArgumentParser) -> None:
    """A table, a formula, a family."""
    parser.add_argument("data", metavar="DATA", help="a .csv, .tsv, .parquet, .arrow or .rds file")
    parser.add_argument("formula", metavar="FORMULA", help='lme4\'s notation, "y ~ x + (x | g)"')
    parser.add_argument(
        "--family", default="gaussian", metavar="F", help="gaussian (default), binomial, poisson or gamma"
    )
    parser.add_argument("--link", metavar="L", help="of the family, where it has several: logit, probit, cloglog, log")
    add_columns(parser, seed=1, level=0.95)


def add_columns(parser: argparse.ArgumentParser, seed: int | None, level: float | None) -> None:
    """Columns beside the formula's, seed, level and priors."""
    parser.add_argument("--weights", metavar="COLUMN", help="prior weights")
    parser.add_argument("--offset", metavar="COLUMN", help="a part of the linear predictor that is known")
    parser.add_argument("--se", metavar="COLUMN", help="known standard error of each row")
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help="of everything random (default 1)")
    parser.add_argument(
        "--level", type=float, default=level, metavar="P", help="probability of intervals and bands (default 0.95)"
    )
    parser.add_argument("--prior", action="append", default=[], metavar="NAME=PRIOR", help=HELP["prior"])


def add_estimators(parser: argparse.ArgumentParser) -> None:
    """Several estimators, by name."""
    parser.add_argument("--estimators", nargs="+", metavar="E", help="which ones, by name (default: the family's)")


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """The folder of reports."""
    parser.add_argument("--out", default=default, metavar="DIR", help=f"folder of the reports (default {default})")


def add_loudness(parser: argparse.ArgumentParser) -> None:
    """How much is said while it runs: ``--quiet`` or ``--verbose``."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--quiet", "-q", action="store_true", help="say nothing while it runs: results and errors alone"
    )
    either.add_argument("--verbose", "-v", action="store_true", help="say what is done, and how long each fit took")


def model(given: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_data` asked for, as the keywords of :func:`workbench.fit`."""
    names = ("family", "link", "weights", "offset", "se", "seed", "level")
    return {name: getattr(given, name) for name in names} | {"priors": read_priors(given.prior)}


def bars(given: argparse.Namespace) -> bool:
    """Whether progress bars are wanted and standard error can show them."""
    return not given.quiet and sys.stderr.isatty()


def check_jobs(jobs: int) -> None:
    """Refuse to do less than one thing at a time.

    Raises
    ------
    OptionError
        `jobs` is less than 1.
    """
    from workbench.errors import OptionError

    if jobs < 1:
        raise OptionError(f"--jobs is {jobs}, but must be a whole number from 1 on.")

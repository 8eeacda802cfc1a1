"""The command ``workbench``: arguments in, exit code out; no statistics.

Exit codes: 0 done; 1 a check did not hold or a fit did not converge; 2 bad usage or bad input, with one to three
lines on
stderr; 130 interrupted. Heavy parts are imported by the command that needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from workbench.commands.given import (
    read_estimator_options,
    read_exports,
    read_names,
    read_option,
    read_pairs,
    read_priors,
)

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit
    from workbench.inference import Bootstrap, Profile
    from workbench.report import FigureCheck
    from workbench.study import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    try:
        given = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse prints usage and the mistake itself
        return int(stop.code or 0)
    if given.command is None:
        parser.print_help()
        return 2
    from workbench.errors import WorkbenchError

    try:
        return int(given.run(given))
    except WorkbenchError as error:
        print(f"workbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("workbench: interrupted; nothing was left half-written.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        sys.stderr.close()
        return 0


# --- arguments ----------------------------------------------------------------------------------------

_EXAMPLES = """examples:
  workbench demo
  workbench run sleepstudy
  workbench compare data.csv "y ~ x + (x | g)" --estimators no_pooling reml fixed_prior
  workbench fit data.csv "y ~ 1 + (1 | g)" --estimator reml --json
  workbench fit data.csv "y ~ 1 + (1 | g)" --estimator hierarchical --prior "sd(g)=HalfCauchy(5)"
  workbench check twelve_groups
  workbench calibrate twelve_groups
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line and where to look."""

    def error(self, message: str) -> NoReturn:
        """Print what was wrong and how to see what is right, and leave with 2."""
        self.exit(2, f"{self.prog}: {message}\nSee: {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="workbench",
        description="One grouped dataset, every way of estimating its group effects, side by side.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    run = command("run", _run, "fit, compare and report studies; all of them when none is named")
    run.add_argument("studies", nargs="*", metavar="STUDY", help="a built-in name, or a folder with a model.toml")
    _add_estimators(run)
    _add_out(run, "reports")
    run.add_argument("--no-svg", action="store_true", help="write pictures as PNG alone: reports of half the size")
    run.add_argument("--force", action="store_true", help="fit again where nothing has changed since the report")

    compare = command("compare", _compare, "fit several estimators to a table and print them side by side")
    _add_model(compare)
    _add_estimators(compare)
    _add_comparison(compare)

    fit = command("fit", _fit, "fit one estimator to a table")
    _add_model(fit)
    fit.add_argument("--estimator", "-e", default="reml", metavar="E", help="see: workbench estimators (default reml)")
    fit.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the estimator; repeatable",
    )
    fit.add_argument(
        "--intervals",
        choices=("wald", "profile", "bootstrap"),
        default="wald",
        help="of reml and ml: add profile-likelihood or bootstrap intervals of all parameters (default wald)",
    )
    fit.add_argument("--json", action="store_true", help="print the fit as one JSON document")

    check = command("check", _check, "hold our figures against the published ones; exit code 1 where one is missed")
    check.add_argument("studies", nargs="*", metavar="STUDY")

    from workbench.commands.calibrate import add_arguments

    calibrate = command(
        "calibrate", _calibrate, "test a posterior by truths drawn from its priors; 1 where one deviates"
    )
    add_arguments(calibrate)
    _add_columns(calibrate, seed=None, level=None)

    demo = command("demo", _demo, "the twelve groups, start to finish, and where the report lies")
    _add_out(demo, "reports")
    _add_quiet(demo)

    show = command("show", _show, "the fully resolved study: data, formula, design, priors")
    show.add_argument("study", metavar="STUDY")
    command("estimators", _estimators, "list the estimators")
    command("studies", _studies, "list the built-in studies")
    return parser


def _add_out(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", default=default, metavar="DIR", help=f"folder of the reports (default {default})")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bars")


def _add_estimators(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--estimators", nargs="+", metavar="E", help="which ones, by name (default: the family's)")
    _add_quiet(parser)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="ESTIMATOR.KEY=VALUE",
        help="an option of one of the estimators; repeatable",
    )
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


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a .csv, .tsv, .parquet or .arrow file")
    parser.add_argument("formula", metavar="FORMULA", help='lme4\'s notation, "y ~ x + (x | g)"')
    parser.add_argument("--family", default="gaussian")
    parser.add_argument("--link")
    _add_columns(parser, seed=1, level=0.95)


def _add_columns(parser: argparse.ArgumentParser, seed: int | None, level: float | None) -> None:
    parser.add_argument("--weights", metavar="COLUMN", help="prior weights")
    parser.add_argument("--offset", metavar="COLUMN")
    parser.add_argument("--se", metavar="COLUMN", help="known standard error of each row")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--level", type=float, default=level, help="probability of intervals and bands (default 0.95)")
    parser.add_argument(
        "--prior", action="append", default=[], metavar="NAME=PRIOR", help='"sd(g)=HalfCauchy(5)"; repeatable'
    )


# --- commands -----------------------------------------------------------------------------------------


def _run(given: argparse.Namespace) -> int:
    from workbench.study import load_study, study_names

    studies = [load_study(name) for name in given.studies or study_names()]
    codes = [_run_one(study, given) for study in studies]
    return max(codes, default=0)


def _run_one(study: Study, given: argparse.Namespace) -> int:
    from workbench.report import check_folder, write_report
    from workbench.report.terminal import print_comparison
    from workbench.study import run_study, study_context

    folder, svg = Path(given.out) / study.name, not getattr(given, "no_svg", False)
    check_folder(folder)  # before anything is fitted
    estimators = read_names(given.estimators) if "estimators" in given else None
    if "force" in given and not given.force and (earlier := _unchanged(study, estimators, folder, svg)) is not None:
        return earlier
    comparison = run_study(study, estimators, progress=_progress(given))
    context = study_context(study, comparison)
    print_comparison(comparison)
    write_report(comparison, folder, context, svg=svg)
    missed = [figure for figure in context.figures if not figure.holds]
    if context.figures:
        kept = len(context.figures) - len(missed)
        print(f"Published figures: {kept} of {len(context.figures)} reached (workbench check {study.name}).")
    print(f"Report: {folder / 'index.html'}")
    return _code(comparison) or (1 if missed else 0)


def _unchanged(study: Study, estimators: Sequence[str] | None, folder: Path, svg: bool) -> int | None:
    """The exit code of an earlier run whose report stands for this one; None where there is none."""
    from workbench.estimators import default_estimators
    from workbench.report.unchanged import earlier_run

    wanted = estimators or study.estimators or default_estimators(study.design())
    found = earlier_run(folder, study.file_hashes(), wanted, svg)
    if found is None:
        return None
    print(f"{study.name}: nothing has changed since {folder / 'index.html'} was made ({found.sentence}).")
    return found.code


def _demo(given: argparse.Namespace) -> int:
    from workbench.study import load_study

    return _run_one(load_study("twelve_groups"), given)


def _compare(given: argparse.Namespace) -> int:
    from workbench.api import compare

    if given.out:
        from workbench.report import check_folder

        check_folder(given.out)  # before anything is fitted
    exports = read_exports(given.export)
    comparison = compare(
        given.formula,
        given.data,
        read_names(given.estimators),
        progress=_progress(given) and not given.json,
        options=read_estimator_options(given.option),
        foreign=read_pairs(given.foreign, "--foreign", "lme4=tidy.csv"),
        **_model(given),
    )
    if given.json:
        for fit in comparison.fits.values():
            _print_json(fit)
    else:
        from workbench.report.terminal import print_comparison

        print_comparison(comparison)
    for table, file in exports:
        print(f"Table: {comparison.export(file, table)}", file=sys.stderr if given.json else sys.stdout)
    if given.out:
        folder = comparison.report(given.out)
        print(f"Report: {folder / 'index.html'}", file=sys.stderr if given.json else sys.stdout)
    return _code(comparison)


def _fit(given: argparse.Namespace) -> int:
    from workbench.api import fit
    from workbench.inference import interval_rows

    options = dict(read_option(text) for text in given.option) or None
    made = fit(
        given.formula,
        given.data,
        given.estimator,
        options=options,
        progress=sys.stderr.isatty(),
        **_model(given),
    )
    intervals = _intervals(made, given)
    if given.json:
        _print_json(made, {} if intervals is None else {"intervals": interval_rows(intervals)})
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
        return profile(made, given.level, progress=True)
    if given.intervals == "bootstrap":
        return bootstrap(made, seed=given.seed, level=given.level)
    return None


def _check(given: argparse.Namespace) -> int:
    from workbench.reference import check_study
    from workbench.report.terminal import print_checks
    from workbench.study import load_study, study_names

    checks: dict[str, list[FigureCheck]] = {}
    for name in given.studies or study_names():
        study = load_study(name)
        checks[study.name] = check_study(study)
    print_checks(checks)
    return 0 if all(figure.holds for figures in checks.values() for figure in figures) else 1


def _calibrate(given: argparse.Namespace) -> int:
    from workbench.commands.calibrate import run

    options = dict(read_option(text) for text in given.option)
    return run(given, read_priors(given.prior), read_priors(given.fit_prior, "--fit-prior"), options)


def _show(given: argparse.Namespace) -> int:
    from workbench.report.terminal import print_study
    from workbench.sampling.responses import SAMPLED
    from workbench.study import load_study

    study = load_study(given.study)
    design = study.design()
    known = study.resolved_priors(design) if design.family in SAMPLED else study.priors
    print_study(study.resolved(design), design, known)
    return 0


def _estimators(given: argparse.Namespace) -> int:
    from workbench.estimators import REGISTRY

    for entry in REGISTRY.values():
        needs = f" (builds on {', '.join(entry.needs)})" if entry.needs else ""
        print(f"{entry.name:18}{entry.title}: {entry.use}{needs}")
    return 0


def _studies(given: argparse.Namespace) -> int:
    from workbench.study import load_study, study_names

    for name in study_names():
        study = load_study(name)
        print(f"{name:18}{study.title}\n{'':18}{study.formula}")
    return 0


# --- reading and printing -----------------------------------------------------------------------------


def _model(given: argparse.Namespace) -> dict[str, Any]:
    names = ("family", "link", "weights", "offset", "se", "seed", "level")
    return {name: getattr(given, name) for name in names} | {"priors": read_priors(given.prior)}


def _progress(given: argparse.Namespace) -> bool:
    return not given.quiet and sys.stderr.isatty()


def _print_json(fit: Fit, more: dict[str, Any] | None = None) -> None:
    print(json.dumps(fit.to_dict() | (more or {}), ensure_ascii=False, allow_nan=False))


def _code(comparison: Comparison) -> int:
    return 0 if comparison.converged else 1


if __name__ == "__main__":
    raise SystemExit(main())

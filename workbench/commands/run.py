"""``workbench run`` and ``demo``: studies fitted, compared and reported; several at a time where memory allows.

A study whose files, code and versions are those of its report is not fitted again; what was finished before an
interruption therefore stays finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.commands.arguments import add_estimators, add_loudness, add_out, bars, check_jobs
from workbench.commands.compare import exit_code
from workbench.commands.given import read_names
from workbench.commands.watching import told

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit
    from workbench.study import Study

SUMMARY = "fit, compare and report studies; all of them when none is named"
DEMO = "the twelve groups, start to finish, and where the report lies"
EXAMPLES = """examples:
  workbench run
  workbench run sleepstudy --force
  workbench run models/sleepstudy radon --out my_reports --estimators no_pooling reml fixed_prior
  workbench run --jobs 1 --verbose

A study is not fitted again where nothing has changed since its report was made. Ctrl-C keeps the reports that are
finished. Exit code 1: a reference figure was missed, or a fit did not converge.
"""


@dataclass(frozen=True)
class Asked:
    """What is asked for of every study alike."""

    out: str
    estimators: tuple[str, ...] | None
    svg: bool
    force: bool
    bars: bool
    verbose: bool


@dataclass(frozen=True)
class Outcome:
    """What came of one study: an exit code, what to print of it, its first finding, and its tables as text."""

    name: str
    code: int
    said: str
    finding: str = ""
    tables: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``run``."""
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a built-in name, or a folder with a model.toml")
    add_estimators(parser)
    add_out(parser, "reports")
    parser.add_argument(
        "--no-svg", action="store_true", help="write pictures as PNG alone, with fewer dots: half the size"
    )
    parser.add_argument("--force", action="store_true", help="fit again where nothing has changed since the report")
    parser.add_argument(
        "--jobs", "-j", type=int, metavar="N", help="studies at a time (default: as cores and memory allow)"
    )
    add_loudness(parser)


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Those of ``demo``."""
    add_out(parser, "reports")
    add_loudness(parser)


def demo(given: argparse.Namespace) -> int:
    """Run the twelve groups, whatever was there before."""
    from workbench.study import load_study

    asked = Asked(given.out, None, True, True, bars(given), given.verbose)
    return _print(one_study(load_study("twelve_groups"), asked), tables=True)


def run(given: argparse.Namespace) -> int:
    """Run the studies named, or all, and renew the gallery that lists them."""
    from workbench.errors import StudyError
    from workbench.report import check_folder
    from workbench.study import load_study, study_names

    if given.jobs is not None:
        check_jobs(given.jobs)
    names = tuple(read_names(given.estimators) or ()) or None
    asked = Asked(given.out, names, not given.no_svg, given.force, bars(given), given.verbose)
    studies = list({s.folder: s for s in map(load_study, given.studies or study_names())}.values())
    for study in studies:
        twin = next((other for other in studies if other.name == study.name and other.folder != study.folder), None)
        if twin is not None:
            raise StudyError(
                f"{study.folder} and {twin.folder} are both named {study.name}, and so would be their reports. Run "
                "them one by one, each with its own --out."
            )
        check_folder(Path(given.out) / study.name)  # all of them before the first is fitted
    found = [None if given.force else unchanged(study, asked) for study in studies]
    codes = [_print(known, tables=False) for known in found if known is not None]
    left = [study for study, known in zip(studies, found, strict=True) if known is None]
    if len(studies) == 1:
        codes += [_print(one_study(study, asked), tables=not given.quiet) for study in left]
    elif left:
        from workbench.commands.parallel import run_studies

        codes += [_print(done, tables=given.verbose) for done in run_studies(left, asked, given.jobs, given.quiet)]
    _renew_gallery(Path(given.out), everything=not given.studies)
    return max(codes, default=0)


def one_study(study: Study, asked: Asked, watch: object = None) -> Outcome:
    """Fit and report one study.

    Parameters
    ----------
    study : Study
    asked : Asked
    watch : callable, optional
        As of :func:`workbench.comparison.compare_fits`.
    """
    from workbench.report import check_folder, write_report
    from workbench.report.findings import findings
    from workbench.report.gallery import first_sentence
    from workbench.study import run_study, study_context

    folder = Path(asked.out) / study.name
    check_folder(folder)  # before anything is fitted

    def tell(name: str, made: Mapping[str, Fit]) -> None:
        told(asked.verbose, name, made)
        if callable(watch):
            watch(name, made)

    comparison = run_study(study, asked.estimators, progress=asked.bars, watch=tell)
    context = study_context(study, comparison)
    write_report(comparison, folder, context, svg=asked.svg)
    missed = [figure for figure in context.figures if not figure.holds]
    said = f"Report: {folder / 'index.html'}"
    if context.figures:
        kept = len(context.figures) - len(missed)
        said = f"Reference figures: {kept} of {len(context.figures)} reached (workbench check {study.name}).\n{said}"
    code = exit_code(comparison) or (1 if missed else 0)
    finding = next((first_sentence(sentence) for sentence in findings(comparison)), "")
    return Outcome(study.name, code, said, f"{study.name}: {finding}", _as_text(comparison))


def unchanged(study: Study, asked: Asked) -> Outcome | None:
    """What an earlier run came to whose report stands for this one; None where there is none."""
    from workbench.estimators import default_estimators
    from workbench.report.unchanged import earlier_run

    folder = Path(asked.out) / study.name
    wanted: Sequence[str] = asked.estimators or study.estimators or default_estimators(study.design())
    found = earlier_run(folder, study.file_hashes(), wanted, asked.svg)
    if found is None:
        return None
    said = f"{study.name}: nothing has changed since {folder / 'index.html'} was made ({found.sentence})."
    return Outcome(study.name, found.code, said)


def _as_text(comparison: Comparison) -> str:
    """The terminal's tables, in colours where standard output shows them."""
    from io import StringIO

    from workbench.report.terminal import print_comparison
    from workbench.report.terminal_parts import like_standard_output

    text = StringIO()
    print_comparison(comparison, like_standard_output(text))
    return text.getvalue()


def _print(outcome: Outcome, tables: bool) -> int:
    if tables and outcome.tables:
        print(outcome.tables, end="")
    elif outcome.finding:
        print(outcome.finding)
    print(outcome.said, flush=True)
    return outcome.code


def _renew_gallery(out: Path, everything: bool) -> None:
    from workbench.report.gallery import GALLERY, is_gallery, write_gallery

    page = out / GALLERY
    if page.exists() and not is_gallery(page):
        if everything:
            print(f"{page} is not of our making and stays as it is; the reports are not listed there.", file=sys.stderr)
        return
    if everything or page.exists():
        write_gallery(out)
        print(f"Gallery: {page}")

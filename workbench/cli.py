"""The command ``workbench``: its commands, their help, exit codes; no statistics.

Exit codes: 0 done; 1 a check did not hold or a fit did not converge; 2 bad usage or bad input, with one to three
lines on stderr; 130 interrupted. Each command has its own file in :mod:`workbench.commands`; heavy parts are imported
by the command that needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from workbench.commands import calibrate, check, compare, completion, fit, lab, lesson, lists, run, simulate

PATIENCE = 5.0
"""So many seconds after an interruption another one does not disturb what ends in order."""


def command() -> int:
    """The command as a process of its own: Ctrl-C, or being told to terminate, ends it and all that it started."""
    first: list[float] = []

    def end(number: int, frame: object) -> None:
        if not first or time.monotonic() - first[-1] > PATIENCE:
            first.append(time.monotonic())
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return main()


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


EXAMPLES = """examples:
  workbench demo
  workbench run sleepstudy
  workbench compare data.csv "y ~ x + (x | g)" --estimators no_pooling reml fixed_prior
  workbench fit data.csv "y ~ 1 + (1 | g)" --estimator reml --json
  workbench check twelve_groups
  workbench calibrate twelve_groups
  workbench simulate 100x6,2x6 --replications 500
  workbench lab

Each command has examples of its own: workbench compare --help. Exit codes: 0 done, 1 a check did not hold or a fit did
not converge, 2 bad usage or bad input, 130 interrupted. Colours are left out where NO_COLOR is set.
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
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(
        name: str, does: Callable[[argparse.Namespace], int], text: str, examples: str = ""
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.set_defaults(run=does)
        return made

    run.add_arguments(command("run", run.run, run.SUMMARY, run.EXAMPLES))
    for module in (compare, fit, check, calibrate, simulate, lab, lesson):
        module.add_arguments(command(module.__name__.rpartition(".")[2], module.run, module.SUMMARY, module.EXAMPLES))
    run.add_demo(command("demo", run.demo, run.DEMO))
    lists.add_study(command("show", lists.show, lists.SHOW))
    command("estimators", lists.estimators, lists.ESTIMATORS)
    command("studies", lists.studies, lists.STUDIES)
    made = command("completion", lambda given: completion.run(given, parser), completion.SUMMARY, completion.EXAMPLES)
    completion.add_arguments(made)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

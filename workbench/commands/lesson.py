"""``workbench lesson``: the lessons, as apps, notebooks and pages."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SUMMARY = "list, open or export the lessons"
EXAMPLES = """examples:
  workbench lesson list
  workbench lesson open 1
  workbench lesson open 1 --edit
  workbench lesson export --out site --answers
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, with which lessons."""
    parser.add_argument("what", choices=("list", "open", "export"))
    parser.add_argument("numbers", type=int, nargs="*", metavar="N", help="numbers of lessons; all where none is named")
    parser.add_argument("--edit", action="store_true", help="open: as a notebook with its code, in place of an app")
    parser.add_argument("--port", type=int, help="open: the port to serve on (default: one that is free)")
    parser.add_argument("--headless", action="store_true", help="open: serve it, but open no browser")
    parser.add_argument("--out", metavar="DIR", default="lessons", help="export: the folder (default: lessons)")
    parser.add_argument("--answers", action="store_true", help="export: the answer key, too")


def run(given: argparse.Namespace) -> int:
    """List, open or export."""
    from workbench.errors import OptionError
    from workbench.lessons import LESSONS, lesson

    chosen = [lesson(number) for number in given.numbers] or list(LESSONS)
    if given.what == "list":
        for one in chosen:
            print(f"{one.number}. {one.title} ({one.minutes[0]} to {one.minutes[1]} minutes)")
            for goal in one.goals:
                print(f"     {goal}")
        return 0
    if given.what == "export":
        from workbench.lessons.export import export

        for path in export(chosen, Path(given.out), given.answers):
            print(path)
        return 0
    if len(given.numbers) != 1:
        raise OptionError(f"Name one lesson to open, 1 to {len(LESSONS)}: workbench lesson open 1.")
    command = [sys.executable, "-m", "marimo", "edit" if given.edit else "run", str(chosen[0].path)]
    command += ["--port", str(given.port)] if given.port else []
    command += ["--headless"] if given.headless else []
    return subprocess.call(command)

"""The command: ``python -m benchmarks``. Progress goes to stderr, the table to stdout; Ctrl-C prints what there is."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.engines import ENGINES
from benchmarks.table import render_all
from benchmarks.watch import THREAD_VARIABLES, Limits, Measurement, observe


def main(arguments: list[str] | None = None) -> int:
    """Measure the asked engines on the asked cases; 0, or 130 after Ctrl-C."""
    asked = _parser().parse_args(arguments)
    limits = Limits(asked.repeats, asked.limit, asked.memory, asked.threads)
    versions = {name: ENGINES[name].version() for name in asked.engines}
    measured: list[Measurement] = []
    code = 0
    try:
        for name in asked.cases:
            for engine in asked.engines:
                if not (ENGINES[engine].floor and ENGINES[engine].refuses(CASES[name])):
                    measured.append(_one(engine, name, versions[engine], limits, asked.frame))
    except KeyboardInterrupt:
        _progress("\ninterrupted; what was measured until here:\n")
        code = 130
    setting = machine(limits, asked.frame, versions)
    heading = "\n".join(f"{key}: {value}" for key, value in setting.items())
    print(render_all(CASES, measured, heading + "\n\n" + LEGEND), flush=True)
    if asked.json:
        document = {"machine": setting, "limits": asdict(limits), "measurements": [asdict(m) for m in measured]}
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    return code


LEGEND = """\
Medians of the timed fits, from the dataframe to the full answer (population coefficients, variances, group effects).
ratio: to workbench. above: peak memory above what the process held with engine and dataframe loaded; x data: that, as
a multiple of the input columns as the engine got them. criterion: lme4's REMLcrit, below zero a better optimum than
ours. SDs off by: largest relative difference of a standard deviation from ours."""


def machine(limits: Limits, frame: str, versions: Mapping[str, str | None]) -> dict[str, str]:
    """What it was measured with: machine, threads and versions, ready to print."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ | dict.fromkeys(THREAD_VARIABLES if limits.threads else (), str(limits.threads))
    engines = {name: said or "not installed" for name, said in versions.items() if not ENGINES[name].floor}
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pandas", "polars"))
    return {
        "machine": f"{_processor()}, {cores} cores, {_memory():.0f} GB, {platform.system()}",
        "threads": ", ".join(f"{name} {threads.get(name, f'unset ({cores})')}" for name in THREAD_VARIABLES[:2]),
        "engines": ", ".join(f"{name} {said}" for name, said in engines.items()),
        "libraries": f"Python {platform.python_version()}, {libraries}",
        "dataframes": f"{frame}, where an engine takes them",
    }


def _one(engine: str, case: str, installed: str | None, limits: Limits, library: str) -> Measurement:
    if installed is None:
        return Measurement(case, engine, "not installed")
    _progress(f"{case} / {engine} ... ")
    found = observe(ENGINES[engine], CASES[case], limits, library)
    _progress(found.word + "\n" if found.word else f"{len(found.wall)} fits, median {found.seconds:.4g} s\n")
    return found


def _progress(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _memory() -> float:
    """The machine's memory in GB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is needed; got {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="The same fits by several engines, timed.")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE", help=", ".join(ENGINES)
    )
    usual = replace(Limits(), memory=round(0.8 * _memory(), 1))
    parser.add_argument("--repeats", type=_count, default=usual.repeats, help="timed fits (%(default)s), or fewer")
    parser.add_argument(
        "--limit", type=float, default=usual.seconds, help="seconds that one fit may take (%(default)g)"
    )
    parser.add_argument("--memory", type=float, default=usual.memory, help="GB that a process may take (%(default)g)")
    parser.add_argument("--threads", type=_count, help="threads of OpenBLAS, OpenMP, Rayon and polars")
    parser.add_argument("--frame", choices=["pandas", "polars"], default="pandas", help="dataframes (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())

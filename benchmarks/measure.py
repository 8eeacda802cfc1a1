"""The child process: one engine, one case; a JSON document a line on stdout.

====================================  ==========================================================================
line                                  when
====================================  ==========================================================================
``{"begin": true}``                   a fit of the case begins
``{"wall": s, "cpu": s}``             it has ended; the first one is not counted
``{"held": MB, "data": MB, ...}``     at the end: memory held before the first fit, its peak since, the figures
====================================  ==========================================================================
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, Columns, Labels, frame_bytes, frame_of, tiny_case
from benchmarks.engines import ENGINES, Engine

MB = 1e6
TIMED_SECONDS = 100.0
"""About what the timed fits of one engine and case may take together: five of 20 s, or fewer."""


def main(arguments: list[str] | None = None) -> None:
    """Measure ``ENGINE CASE`` and say what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--frame", choices=["pandas", "polars"], required=True)
    parser.add_argument("--memory", type=float, required=True, help="GB that the process may take")
    asked = parser.parse_args(arguments)
    limit = int(asked.memory * 1e9)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    engine = ENGINES[asked.engine]
    if engine.fit is None:
        measure_in_r(asked.case, asked.repeats)
    else:
        measure(engine, asked.case, asked.repeats, asked.frame)


def measure(engine: Engine, name: str, repeats: int, asked_library: Any) -> None:
    """Load the engine and the case, then fit: once untimed, then `repeats` times, or fewer where it takes long."""
    assert engine.fit is not None
    assert engine.figures is not None
    case, library = CASES[name], engine.library(asked_library)
    tiny = tiny_case(case)
    engine.fit(tiny, frame_of(tiny.build(), library))
    frame = frame_of(case.build(), library)
    gc.collect()
    forget_peak()
    held = resident()
    answer, left = None, repeats + 1
    while left:
        answer = None
        gc.collect()
        say(begin=True)
        wall, cpu = time.perf_counter(), time.process_time()
        answer = engine.fit(case, frame)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        say(wall=wall, cpu=cpu)
        left = repeats_within(repeats, wall) if left == repeats + 1 else left - 1
    peak = peak_resident()
    figures = asdict(engine.figures(case, answer))
    say(held=held, peak=peak, data=frame_bytes(frame) / MB, rows=len(frame), **figures)


def repeats_within(repeats: int, seconds: float) -> int:
    """How often a fit of so many seconds is repeated.

    Examples
    --------
    >>> repeats_within(5, 3.0), repeats_within(5, 30.0), repeats_within(5, 600.0)
    (5, 3, 1)
    """
    return max(1, min(repeats, int(TIMED_SECONDS / seconds)))


def measure_in_r(name: str, repeats: int) -> None:
    """The same in R: the columns go through a folder of raw numbers, and ``lme4.R`` says the same lines."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        write_columns(case.build(), Path(folder))
        script = Path(__file__).with_name("lme4.R")
        command = ["Rscript", "--vanilla", str(script), folder, case.formula, str(repeats), str(TIMED_SECONDS)]
        sys.exit(subprocess.run(command, check=False).returncode)


def write_columns(columns: Columns, folder: Path) -> None:
    """Raw little-endian numbers, a file a column; ``columns.tsv`` names them, ``NAME.levels`` has a label a line."""
    kinds = []
    for name, column in columns.items():
        if isinstance(column, Labels):
            kinds.append(f"{name}\t{column.kind}\t{len(column.codes)}")
            (column.codes + 1).astype("<i4").tofile(folder / name)
            np.savetxt(folder / f"{name}.levels", column.levels, fmt="%s")
        else:
            kinds.append(f"{name}\tnumber\t{len(column)}")
            column.astype("<f8").tofile(folder / name)
    (folder / "columns.tsv").write_text("\n".join(["name\tkind\tn", *kinds, ""]))


def say(**document: Any) -> None:
    """One line to the parent, at once."""
    print(json.dumps(document), flush=True)


def resident() -> float | None:
    """Resident memory in MB; None where the system does not tell."""
    return _status("VmRSS:")


def peak_resident() -> float:
    """The peak of the resident memory in MB, since :func:`forget_peak` where the system lets one forget."""
    peak = _status("VmHWM:")
    if peak is not None:
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MB if sys.platform == "darwin" else 1e3)


def forget_peak() -> None:
    """Let the peak begin anew (Linux), so that it is not the building of the data that is measured."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(key)), None)


if __name__ == "__main__":
    main()

"""The parent's side: start a child, read its lines, end it where one fit takes longer than the limit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from statistics import median
from threading import Timer
from typing import IO, Any

from benchmarks.cases import ROOT, Case
from benchmarks.engines import Engine

THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How often a fit is repeated, and what it may take.

    Attributes
    ----------
    repeats : int
    seconds : float
        For one fit.
    memory : float
        GB, for a process.
    threads : int or None
        For the libraries that read it from their environment; None leaves it to them.
    """

    repeats: int = 5
    seconds: float = 120.0
    memory: float = 16.0
    threads: int | None = None


@dataclass
class Measurement:
    """What was found of one engine and case; memory in MB, times in seconds.

    Attributes
    ----------
    case, engine : str
    word : str
        Empty where there are figures, else what stands in their place in the table.
    reason : str
        What is said below the table: why there are no figures, or what the engine says against them.
    wall, cpu : list of float
        One each timed fit.
    held, peak, data : float or None
        Resident memory before the first fit, its peak since, and the size of the input columns.
    rows : int or None
    criterion : float or None
    sds : dict of str to float
    """

    case: str
    engine: str
    word: str = ""
    reason: str = ""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    held: float | None = None
    peak: float | None = None
    data: float | None = None
    rows: int | None = None
    criterion: float | None = None
    sds: dict[str, float] = field(default_factory=dict)

    def take(self, document: dict[str, Any]) -> None:
        """Take over what one line of the child said."""
        if "wall" in document:
            self.wall.append(document["wall"])
            self.cpu.append(document["cpu"])
        elif "criterion" in document:
            for name in ("held", "peak", "data", "rows", "criterion", "sds"):
                setattr(self, name, document[name])
            self.reason = document["note"]

    @property
    def seconds(self) -> float | None:
        """Median wall seconds of a fit."""
        return median(self.wall) if self.wall else None

    @property
    def cpu_seconds(self) -> float | None:
        """Median CPU seconds of a fit, all threads."""
        return median(self.cpu) if self.cpu else None

    @property
    def above(self) -> float | None:
        """Peak memory above what the process held before the first fit."""
        return None if self.peak is None or self.held is None else self.peak - self.held


def observe(engine: Engine, case: Case, limits: Limits, library: str) -> Measurement:
    """Measure one engine and case in a process of its own.

    Raises
    ------
    KeyboardInterrupt
        As it comes, after the child has been ended.
    """
    found = Measurement(case.name, engine.name)
    found.reason = engine.refuses(case)
    if found.reason:
        found.word = "cannot"
        return found
    command = [sys.executable, "-m", "benchmarks.measure", engine.name, case.name]
    command += ["--repeats", str(limits.repeats), "--frame", library, "--memory", str(limits.memory)]
    threads = {} if limits.threads is None else dict.fromkeys(THREAD_VARIABLES, str(limits.threads))
    with tempfile.TemporaryFile("w+") as complaints:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, cwd=ROOT, env=os.environ | threads,
            start_new_session=True,
        )  # fmt: skip
        with child:
            try:
                late = _follow(child, found, limits.seconds)
            finally:
                _end(child)
        complaints.seek(0)
        _conclude(found, child.returncode, late, limits, complaints)
    return found


def _follow(child: subprocess.Popen[str], found: Measurement, seconds: float) -> bool:
    """Read the child's lines until it ends; whether it was ended because one fit took too long."""
    late, timer = False, Timer(0, lambda: None)

    def too_long() -> None:
        nonlocal late
        late = True
        _end(child)

    assert child.stdout is not None
    try:
        for line in child.stdout:
            try:
                document = json.loads(line)
            except json.JSONDecodeError:
                continue  # a library that talks
            timer.cancel()
            if "begin" in document:
                timer = Timer(seconds, too_long)
                timer.start()
            found.take(document)
    finally:
        timer.cancel()
    child.wait()
    return late


def _conclude(found: Measurement, code: int, late: bool, limits: Limits, complaints: IO[str]) -> None:
    """Leave out the untimed fit; say in a word why there are no figures."""
    del found.wall[:1], found.cpu[:1]
    if code == 0 and found.rows is not None:
        return
    found.wall, found.cpu = [], []
    said = [line.strip() for line in complaints if line.strip()]
    errors = [line for line in said if re.match(r"[\w.]*(Error|Exception)\b", line)]
    last = (errors or said or ["it said nothing"])[-1]
    if late:
        found.word = f"> {limits.seconds:g} s"
        return
    memory = any(sign in line for line in said[-5:] for sign in ("MemoryError", "llocat"))
    found.word = "no memory" if memory or code == -signal.SIGKILL else "failed"
    how = f"ended by signal {signal.Signals(-code).name}: " if code < 0 else ""
    found.reason = f"{how}{last[:300]}"


def _end(child: subprocess.Popen[str]) -> None:
    """End the child with whatever it started (R)."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        child.wait()

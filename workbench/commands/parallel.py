"""Studies run at the same time, each in a process of its own, with their progress on the terminal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands.arguments import check_jobs
from workbench.commands.run import Asked, Outcome, one_study

if TYPE_CHECKING:
    from workbench.fit import Fit
    from workbench.study import Study

MEMORY = 1.5e9
"""Bytes that one study may take."""
TICK = 0.1
"""Seconds between two looks at what the workers say."""
PATIENCE = 5.0
"""Seconds that workers are given to clean up."""
ENDED = 143
"""Exit code of a worker that was told to end."""
MESSAGES: list[Any] = []
"""In a worker: the queue that it tells its progress to."""


def jobs_at_once(wanted: int | None, studies: int) -> int:
    """How many studies run at a time: as asked, or as many as there are cores and room in memory for.

    Raises
    ------
    OptionError
        Fewer than one.
    """
    if wanted is not None:
        check_jobs(wanted)
        return min(wanted, studies)
    import psutil

    room = int(psutil.virtual_memory().available / MEMORY)
    return max(1, min(os.cpu_count() or 1, room, studies))


def run_studies(studies: Sequence[Study], asked: Asked, jobs: int | None, quiet: bool) -> Iterator[Outcome]:
    """Run studies and yield what came of each as it ends; those that took longest the last time begin first.

    An interruption ends the workers; nothing that they had not finished is left behind.
    """
    spawned = multiprocessing.get_context("spawn")
    messages = spawned.SimpleQueue()
    each = replace(asked, bars=False, verbose=False)
    order = sorted(studies, key=lambda study: -_seconds_before(Path(asked.out) / study.name))
    count = jobs_at_once(jobs, len(order))
    with (
        ProcessPoolExecutor(count, spawned, initializer=_begin, initargs=(messages,)) as pool,
        _board(len(order), not quiet) as board,
    ):
        waiting: dict[Future[Outcome], str] = {pool.submit(_work, s.folder, each): s.name for s in order}
        try:
            while waiting:
                done, _ = wait(waiting, TICK, FIRST_COMPLETED)
                while not messages.empty():
                    board(*messages.get())
                for future in done:
                    name = waiting.pop(future)
                    board(name, "", 0, 0)
                    yield _outcome(future, name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(multiprocessing.active_children())
            raise


def _end(workers: Sequence[Any]) -> None:
    """Tell processes to end, and make those that do not."""
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + PATIENCE
    for worker in workers:
        worker.join(max(until - time.monotonic(), 0.1))
        if worker.is_alive():
            worker.kill()


def _outcome(future: Future[Outcome], name: str) -> Outcome:
    from workbench.errors import WorkbenchError

    try:
        return future.result()
    except WorkbenchError as error:
        return Outcome(name, 2, f"{name}: {error}")
    except BrokenProcessPool:
        return Outcome(
            name, 2, f"{name}: its process was ended from outside, as happens when memory runs out. Try --jobs 1."
        )


def _seconds_before(folder: Path) -> float:
    """How long a study's fits took when its report was made; one without a report is taken for the longest."""
    import csv

    try:
        with (folder / "tables" / "timings.csv").open(encoding="utf-8", newline="") as file:
            return sum(float(row["seconds"]) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError):
        return float("inf")


# --- in a worker --------------------------------------------------------------------------------------


def _begin(messages: Any) -> None:
    """Leave Ctrl-C to the parent; be ended in a way that cleans up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))
    threading.Thread(target=_follow_parent, daemon=True).start()
    MESSAGES[:] = [messages]


def _follow_parent() -> None:
    """End with the parent, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # to the main thread, which cleans up
    time.sleep(PATIENCE)
    os._exit(ENDED)


def _work(folder: Path, asked: Asked) -> Outcome:
    from workbench.estimators import default_estimators
    from workbench.study import load_study

    study = load_study(folder)
    total = len(asked.estimators or study.estimators or default_estimators(study.design()))

    def watch(name: str, made: Mapping[str, Fit]) -> None:
        MESSAGES[0].put((study.name, name or "report", len(made), total))

    try:
        return one_study(study, asked, watch)
    except SystemExit:  # the pool would take it for an answer, and wait for the next study
        os._exit(ENDED)


# --- on the terminal ----------------------------------------------------------------------------------


@contextmanager
def _board(total: int, wanted: bool) -> Iterator[Any]:
    """A bar for all studies and one for each that runs, on standard error where that is a terminal.

    Yields what to call with a study, what it does ("" once it has ended), and how many of how many fits it has.
    """
    if not (wanted and sys.stderr.isatty()):
        yield lambda *said: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:30}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        everything = shown.add_task("studies", total=total)
        running: dict[str, Any] = {}

        def tell(name: str, doing: str, done: int, of: int) -> None:
            if not doing:
                shown.advance(everything)
                if name in running:
                    shown.remove_task(running.pop(name))
                return
            if name not in running:
                running[name] = shown.add_task(name, total=of)
            shown.update(running[name], description=f"{name}: {doing}", completed=done)

        yield tell

"""Work that takes longer than a drag may: in a process of its own, with progress, to be stopped at any time.

A job is a page's `work` with what it needs; it is done in a fresh process, so that pages go on answering while PyMC
compiles. A few run at a time, none for ever.
"""

from __future__ import annotations

import multiprocessing
import pickle
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import OptionError, WorkbenchError
from workbench.packing import packed

AT_ONCE = 2
LONGEST = 600.0
"""Seconds that a job may take."""
ABANDONED = 30.0
"""A job that nobody has asked about for so many seconds ends: its page was left."""
LOOK = 2.0
"""Seconds between two looks at jobs that run, whether or not somebody asks about them."""
REMEMBERED = 50
"""So many ended jobs can still be asked for."""


@dataclass(frozen=True)
class State:
    """How far a job is.

    Attributes
    ----------
    text : str
        What it does, or why it ended.
    share : float or None
        Of the work, where it is known.
    html : str
        What it found, once it has ended well.
    ended : bool
    """

    text: str
    share: float | None = None
    html: str = ""
    ended: bool = False


@dataclass
class _Job:
    process: Any
    answers: Any
    begun: float = field(default_factory=time.monotonic)
    asked: float = field(default_factory=time.monotonic)
    state: State = State("starting")


class Jobs:
    """The jobs of one lab. Safe for several threads."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._watched = False

    def start(self, page: str, given: Any) -> str:
        """Begin the work of the page of that key, and say the job's key.

        Raises
        ------
        OptionError
            As many run already as may.
        """
        spawned = multiprocessing.get_context("spawn")
        with self._lock:
            self._look()
            if sum(not job.state.ended for job in self._jobs.values()) >= self._at_once:
                raise OptionError(
                    f"{self._at_once} computations are running already, here or on other pages of this lab. Wait a "
                    "little, then try again."
                )
            ended = [key for key, job in self._jobs.items() if job.state.ended]
            for key in ended[: max(0, len(ended) - REMEMBERED)]:
                del self._jobs[key]
            answers, sender = spawned.Pipe(duplex=False)
            process = spawned.Process(target=_work, args=(page, packed(given), sender))
            process.start()
            sender.close()
            key = secrets.token_hex(8)
            self._jobs[key] = _Job(process, answers)
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, daemon=True).start()
        return key

    def state(self, key: str) -> State:
        """How far a job is.

        Raises
        ------
        OptionError
            There is none of that key.
        """
        with self._lock:
            self._look()
            if key not in self._jobs:
                raise OptionError("This computation is not known any more. Start it again.")
            self._jobs[key].asked = time.monotonic()
            return self._jobs[key].state

    def stop(self, key: str) -> None:
        """End a job, whatever it is doing."""
        with self._lock:
            if key in self._jobs:
                self._end(self._jobs[key], "stopped")

    def stop_all(self) -> None:
        """End every job."""
        with self._lock:
            for job in self._jobs.values():
                self._end(job, "stopped")

    def _watch(self) -> None:
        """Look at jobs until none runs: those that were left, or take too long, end though nobody asks."""
        while True:
            time.sleep(LOOK)
            with self._lock:
                self._look()
                self._watched = any(not job.state.ended for job in self._jobs.values())
                if not self._watched:
                    return

    def _look(self) -> None:
        """Read what running jobs have said."""
        for job in self._jobs.values():
            if job.state.ended:
                continue
            with suppress(EOFError, OSError):
                while job.answers.poll():
                    job.state = job.answers.recv()
            if job.state.ended:
                job.process.join(1)
                job.answers.close()
            elif not job.process.is_alive():
                self._end(job, "The computation ended without an answer; perhaps memory was short.")
            elif time.monotonic() - job.asked > ABANDONED:
                self._end(job, "Ended, as its page was left.")
            elif time.monotonic() - job.begun > LONGEST:
                self._end(job, f"Ended after {LONGEST / 60:g} minutes, the most that the lab gives it.")

    def _end(self, job: _Job, why: str) -> None:
        if job.state.ended:
            return
        import psutil

        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(job.process.pid)
            for process in (*whole.children(recursive=True), whole):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        job.process.join(1)
        job.answers.close()
        job.state = State(why, ended=True)


def _work(page: str, given: bytes, sender: Any) -> None:
    """In the job's process: compute, telling progress, and send what was found as HTML."""
    from workbench.lab import render
    from workbench.lab.pages import PAGES

    lock, told = threading.Lock(), State("starting")  # a sampler tells from a thread of its own

    def send(state: State) -> None:
        nonlocal told
        with lock:
            if state != told and not told.ended:
                told = state
                sender.send(state)

    def tell(text: str, share: float | None = None) -> None:
        send(State(text, None if share is None else round(share, 2)))

    try:
        html = render.worked(next(p for p in PAGES if p.key == page), pickle.loads(given), tell)
        send(State("done", 1.0, html, ended=True))
    except WorkbenchError as error:
        send(State(str(error), ended=True))
    except KeyboardInterrupt:
        send(State("stopped", ended=True))
    except Exception as error:  # noqa: BLE001  whoever waits for the answer must hear of it
        send(State(f"The computation failed: {type(error).__name__}: {error}", ended=True))

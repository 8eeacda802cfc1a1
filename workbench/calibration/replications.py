"""Replications, one after the other or in several processes, with the same results to the bit.

Replication i depends on the seed and i alone. Results come in order, so that an interrupted run is a shorter one. The
linear algebra has one thread everywhere: with several, sums are added up in another order. What is sent to a process is
sent to this one, too: arrays that were laid out anew add up in another order as well.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from operator import index
from time import perf_counter
from typing import Any

import numpy as np

from workbench.errors import OptionError
from workbench.inference.progress import bar
from workbench.packing import packed

START_UP = 4.0
"""Seconds that a new process takes before its first replication; no more are started than are worth it."""
LEAD = 2
"""So many replications are done here first: the first loads what is needed, the second says how long one takes."""
CHUNK = 0.5
"""Seconds of work that a process is given at a time."""
MEMORY = 0.5e9
"""Bytes that one process may take."""

Work = Callable[[np.random.SeedSequence], Any]
HERE: list[Work] = []
"""In a process: what is replicated."""


def replications(
    work: Work, count: int, seed: int, jobs: int | None = 1, progress: bool = False, title: str = "replications"
) -> Generator[Any]:
    """Yield ``work(source)`` for `count` sources of randomness, in order.

    Parameters
    ----------
    work : function of a SeedSequence
        What it holds must be picklable where more than one process is asked for; mapping proxies are.
    count, seed : int
    jobs : int or None
        Processes at most; None is one for every core. Where starting them takes longer than they save, there are none.
    progress : bool
        Show a bar where standard error is a terminal.
    title : str
        Of the bar.

    Raises
    ------
    OptionError
        Fewer than one job; work that cannot be sent to other processes; a process that was ended from outside.

    Examples
    --------
    >>> found = list(replications(lambda source: source.spawn_key, 3, seed=1))
    >>> found == [source.spawn_key for source in np.random.SeedSequence(1).spawn(3)]
    True
    """
    import scipy.linalg  # noqa: F401  loaded before its threads are limited
    from threadpoolctl import threadpool_limits

    if jobs is not None and (isinstance(jobs, bool) or not hasattr(jobs, "__index__") or index(jobs) < 1):
        raise OptionError(f"jobs is {jobs!r}, but must be a whole number from 1 on.")
    most = _cores() if jobs is None else index(jobs)
    sent = _packed(work, needed=jobs is not None and most > 1)
    own = work if sent is None else pickle.loads(sent)
    with bar(title, count, progress) as done, threadpool_limits(1):
        lead = min(LEAD, count)
        seconds = 0.0
        for i in range(lead):
            begun = perf_counter()
            yield _one(own, seed, i)
            seconds = perf_counter() - begun
            done("")
        workers = 1 if sent is None else _workers(most, count - lead, seconds)
        if workers == 1 or sent is None:
            for i in range(lead, count):
                yield _one(own, seed, i)
                done("")
        else:
            yield from _spread(sent, range(lead, count), seed, workers, seconds, done)


def _one(work: Work, seed: int, i: int) -> Any:
    return work(np.random.SeedSequence(seed, spawn_key=(i,)))


def _cores() -> int:
    import psutil

    return max(1, min(os.cpu_count() or 1, int(psutil.virtual_memory().available / MEMORY)))


def _workers(most: int, left: int, seconds: float) -> int:
    """How many processes are worth starting; 1 is none."""
    workers = min(most, left)
    return workers if workers > 1 and seconds * left * (1 - 1 / workers) > START_UP else 1


def _spread(
    sent: bytes, which: range, seed: int, workers: int, seconds: float, done: Callable[[str], None]
) -> Iterator[Any]:
    """The results of some replications, done elsewhere; an interrupt ends the processes."""
    size = int(np.clip(CHUNK / max(seconds, 1e-6), 1, -(-len(which) // (2 * workers))))
    chunks = [which[k : k + size] for k in range(0, len(which), size)]
    spawned = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, spawned, initializer=_begin, initargs=(sent,))
    try:
        futures: list[Future[list[Any]]] = [pool.submit(_several, seed, chunk) for chunk in chunks]
        for future, chunk in zip(futures, chunks, strict=True):
            future.add_done_callback(partial(_advance, done, len(chunk)))
        for future in futures:
            wait([future])
            yield from future.result()
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise OptionError(
                "A process was ended from outside, as happens when memory runs out, or in a script that does not keep "
                'its calls under if __name__ == "__main__". Use jobs=1.'
            ) from None
        raise
    pool.shutdown()


def _advance(done: Callable[[str], None], steps: int, _: Future[list[Any]]) -> None:
    for _step in range(steps):
        done("")


def _packed(work: Work, needed: bool) -> bytes | None:
    """The work as bytes; None where it cannot be packed and need not be."""
    try:
        return packed(work)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        if needed:
            raise OptionError(f"This cannot be sent to other processes ({error}). Use jobs=1.") from None
        return None


# --- in a process -------------------------------------------------------------------------------------


def _begin(sent: bytes) -> None:
    """Leave Ctrl-C to the parent, and unpack the work."""
    import scipy.linalg  # noqa: F401  loaded before its threads are limited
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    HERE[:] = [pickle.loads(sent)]


def _several(seed: int, which: range) -> list[Any]:
    return [_one(HERE[0], seed, i) for i in which]

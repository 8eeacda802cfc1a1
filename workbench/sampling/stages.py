"""How long the stages of a run take: what is compiled, what is sampled; the rest goes to exact draws and summaries.

A stage says where it begins and ends; whoever wants to know opens the clock around it. Where no clock is open nothing
is measured. Whoever waits can be told which stage runs, and how far it is (:func:`told`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

_clock: ContextVar[dict[str, float] | None] = ContextVar("clock", default=None)


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Wall seconds by stage, which fill as stages end.

    Examples
    --------
    >>> with clock() as seconds:
    ...     with stage("compile"):
    ...         pass
    >>> list(seconds), seconds["compile"] >= 0
    (['compile'], True)
    """
    seconds: dict[str, float] = {}
    token = _clock.set(seconds)
    try:
        yield seconds
    finally:
        _clock.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what happens inside to a stage; stages of the same name add up."""
    say(name, 0.0)
    begun = perf_counter()
    try:
        yield
    finally:
        if (seconds := _clock.get()) is not None:
            seconds[name] = seconds.get(name, 0.0) + perf_counter() - begun


Tell = Callable[[str, float], None]
"""Is told the stage that runs, and the share of it that is done."""
_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)


@contextmanager
def told(tell: Tell) -> Iterator[None]:
    """Let a function know how far sampling is, from a thread of the sampler's.

    Examples
    --------
    >>> with told(lambda name, share: print(name, share)):
    ...     say("sampling", 0.5)
    sampling 0.5
    """
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def say(name: str, share: float) -> None:
    """Tell whoever listens."""
    if (tell := _tell.get()) is not None:
        tell(name, share)


def listener() -> Tell | None:
    """Who listens, for threads that do not know of this one's."""
    return _tell.get()

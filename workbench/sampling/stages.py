"""How long the stages of a run take: what is compiled, what is sampled; the rest goes to exact draws and summaries.

A stage says where it begins and ends; whoever wants to know opens the clock around it. Where no clock is open nothing
is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    begun = perf_counter()
    try:
        yield
    finally:
        if (seconds := _clock.get()) is not None:
            seconds[name] = seconds.get(name, 0.0) + perf_counter() - begun

"""A bar on the terminal for work that takes a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from workbench.sampling.stages import listener


@contextmanager
def bar(text: str, total: int, wanted: bool) -> Iterator[Callable[[str], None]]:
    """Show progress on standard error where that is a terminal, or tell who listens.

    Yields what to call after each step, with its name.

    Examples
    --------
    >>> with bar("profile", 2, wanted=False) as done:
    ...     done("sigma")
    """
    tell, steps = listener(), count(1)
    if tell is not None:
        yield lambda name: tell(text, next(steps) / total)
        return
    if not (wanted and sys.stderr.isatty()):
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(text, total=total)
        yield lambda name: shown.update(task, advance=1, description=f"{text} {name}".strip())

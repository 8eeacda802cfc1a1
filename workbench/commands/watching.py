"""What is said on standard error while estimators are fitted one after the other."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.fit import Fit


def told(wanted: bool, name: str, made: Mapping[str, Fit]) -> None:
    """Where it is wanted, say what was fitted last, in which time, and what comes now; `name` is "" after the last."""
    if not wanted:
        return
    if made:
        last = list(made.values())[-1]
        print(f"workbench: {last.estimator} took {last.seconds:.3g} s", file=sys.stderr)
    if name:
        print(f"workbench: fitting {name}", file=sys.stderr)

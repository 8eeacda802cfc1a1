"""How long full Bayes will take, before it begins: from what is known of the design alone.

The figures behind it were measured on two cores (README, Benchmarks): a rough rule, hence said as a range.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.design import Design

COLLAPSED = (1.3, 3e-5)
"""Seconds of start and of each effect: the rows enter only once, as sums."""
EXPLICIT = (4.0, 6e-4)
"""Seconds of compilation, and of each row and three times each effect."""
CROSSED = 4.0
"""Each further grouping factor lengthens the sampler's way by so much of one factor's."""
MEASURED = {"collapsed": 2500, "explicit": 3000}
"""Iterations of each of the four chains, kept and warm-up, that these seconds are of."""
ROUNDS = 2.0
"""Chains one after the other on each core of the machine that they were measured on."""
SPREAD = 2.0
"""The range ends at so many times less and more."""


def foreseen_seconds(design: Design, model: str, iterations: int, chains: int) -> float:
    """Seconds that sampling will take, roughly.

    Parameters
    ----------
    design : Design
    model : "collapsed" or "explicit"
    iterations : int
        Of each chain, kept and warm-up.
    chains : int

    Examples
    --------
    >>> from workbench.design import build_design
    >>> twelve = {"y": [float(k % 7) for k in range(60)], "g": [k % 12 for k in range(60)]}
    >>> round(foreseen_seconds(build_design("y ~ 1 + (1 | g)", twelve), "collapsed", 2500, 4), 1)
    1.3
    """
    effects = sum(len(block.levels) * len(block.terms) for block in design.blocks)
    start, each = COLLAPSED if model == "collapsed" else EXPLICIT
    work = effects if model == "collapsed" else (design.n + 3 * effects) * (1 + CROSSED * (len(design.groups) - 1))
    rounds = chains / min(chains, os.cpu_count() or 1)
    return float(start + each * work * (iterations / MEASURED[model]) * (rounds / ROUNDS))


def in_words(seconds: float) -> str:
    """A range around a rough number of seconds.

    Examples
    --------
    >>> in_words(1.3), in_words(400.0)
    ('between 1 and 3 seconds', 'between 3 and 13 minutes')
    """
    low, high = seconds / SPREAD, seconds * SPREAD
    if high < 120:
        return f"between {max(low, 1):.0f} and {high:.0f} seconds"
    return f"between {max(low / 60, 1):.0f} and {high / 60:.0f} minutes"

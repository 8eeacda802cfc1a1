"""What pages about groups' means have in common: how groups are named and laid out, one row each.

Of designs with one grouping factor; a page of slopes tells by `column` which of the varying terms it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.fit import Fit
from workbench.words import minus, significant

Array = NDArray[np.float64]

ROW, FRAME = 21.0, 84.0
"""Height of a group's row, and of what is above and below all of them."""
LETTER = 6.9
"""Width of a letter beside an axis."""
SHORT, ACROSS = 7, 640
"""Letters of a name below an axis, and the width of that."""


def coefficients(fit: Fit, column: int = 0) -> Array:
    """A fit's group coefficients of one varying term, shape (J,)."""
    return np.asarray(fit.group_effects[0].coefficient.estimate[:, column])


def typed(value: float) -> str:
    """A number that somebody chose, without digits that were not given.

    Examples
    --------
    >>> typed(2.8), typed(-1500.0), typed(0.75139365)
    ('2.8', '−1,500', '0.751394')
    """
    return minus(f"{value:,.6g}")


def sampling_errors(design: Design, sigma: float) -> Array:
    """Standard errors of groups' own means, shape (J,): sigma / sqrt(sum of weights).

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 3.0, 4.0, 6.0, 8.0], "g": list("abbbb")})
    >>> sampling_errors(design, 3.0).tolist()
    [3.0, 1.5]
    """
    block = design.blocks[0]
    weight = np.bincount(block.codes, np.broadcast_to(design.weights, design.n), len(block.levels))
    return np.asarray(sigma / np.sqrt(weight))


def names(design: Design) -> tuple[str, ...]:
    """Groups with their numbers of rows, where these differ."""
    block = design.blocks[0]
    if len(set(block.sizes.tolist())) == 1:
        return tuple(block.levels)
    return tuple(f"{level} ({n})" for level, n in zip(block.levels, block.sizes.tolist(), strict=True))


def heading(design: Design) -> str:
    """What stands above the names."""
    block = design.blocks[0]
    return block.group if len(set(block.sizes.tolist())) == 1 else f"{block.group} (number of samples)"


def rows(design: Design) -> tuple[Array, tuple[tuple[float, str], ...], float]:
    """Heights of the groups' rows, the first on top, shape (J,); the ticks of that axis; and room for their words."""
    called = names(design)
    at = np.arange(len(called), 0.0, -1.0)
    left = max(40.0, 16.0 + LETTER * max(len(name) for name in called))
    return at, tuple(zip(at.tolist(), called, strict=True)), left


def names_across(levels: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """Ticks of an axis across with one place a group, from 1: shortened names, every few where they would run together.

    Examples
    --------
    >>> names_across(["Minneapolis", "B"])
    ((1.0, 'Minnea…'), (2.0, 'B'))
    >>> len(names_across([f"county {k}" for k in range(100)]))
    10
    """
    short = [name if len(name) <= SHORT else f"{name[: SHORT - 1]}…" for name in levels]
    step = max(1, -(-len(short) * (8 * max(map(len, short)) + 12) // ACROSS))
    return tuple((k + 1.0, short[k]) for k in range(0, len(short), step))


def sizes_apart(sizes: Iterable[float], ratio: float = 1.35) -> list[float]:
    """Sizes that can be written beside each other on a logarithmic axis: each some times the one before.

    Examples
    --------
    >>> sizes_apart([10, 13, 17, 22, 2, 2])
    [2, 10, 17]
    """
    kept: list[float] = []
    for n in sorted(set(sizes)):
        if not kept or n >= ratio * kept[-1]:
            kept.append(n)
    return kept


def information(design: Design, sigma: float) -> tuple[str, tuple[str, ...]]:
    """A column for tables that says how much groups tell: rows, or where these are one each the standard error."""
    if design.known_se:
        return "standard error", tuple(significant(float(e), 3) for e in sampling_errors(design, sigma))
    return "n", tuple(f"{n:,}" for n in design.blocks[0].sizes.tolist())

"""Which rows are left out together: rows of every group, or whole groups.

They ask different questions. With rows split *within* groups, every group is in the rows that are fitted, and the loss
is that of new rows of known groups: what shrinkage is for. With whole *groups* left out, nothing is known of theirs,
their effects are predicted as zero, and lambda matters only through the fixed part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError

FOLDS = ("within", "groups")


def make_folds(design: Design, folds: str, count: int, seed: int) -> NDArray[np.intp]:
    """The fold of every row, shape (n,), from 0 to count - 1; the same for the same rows in another order.

    Parameters
    ----------
    design : Design
    folds : "within" or "groups"
        Of the first grouping factor.
    count : int
        Fewer are made where there are fewer rows, or groups.
    seed : int

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": range(6), "g": list("aabbcc")})
    >>> make_folds(design, "within", 2, 1).reshape(3, 2).sum(axis=1).tolist()     # each group has a row in both
    [1, 1, 1]
    >>> make_folds(design, "groups", 3, 1).reshape(3, 2).std(axis=1).tolist()     # each group is in one fold
    [0.0, 0.0, 0.0]
    """
    if folds not in FOLDS:
        raise OptionError(f"folds is {folds!r}, but must be 'within' or 'groups'.")
    rng, codes = np.random.default_rng(seed), design.blocks[0].codes
    if folds == "groups":
        J = len(design.blocks[0].levels)
        dealt = np.empty(J, dtype=np.intp)
        dealt[rng.permutation(J)] = np.arange(J) % min(count, J)
        return dealt[codes]
    shuffled = _settled_order(design)[rng.permutation(design.n)]
    ordered = shuffled[np.argsort(codes[shuffled], kind="stable")]  # group by group, in random order within
    found = np.empty(design.n, dtype=np.intp)
    found[ordered] = np.arange(design.n) % min(count, design.n)
    return found


def _settled_order(design: Design) -> NDArray[np.intp]:
    """An order of the rows that depends on what they hold, not on where they stand."""
    keys = [design.y, design.weights, design.offset, *design.X.T]
    for block in design.blocks:
        keys += [block.codes, *block.Z.T]
    return np.lexsort([np.asarray(key) for key in keys])

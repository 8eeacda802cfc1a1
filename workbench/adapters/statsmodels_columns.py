"""Which term, grouping factor and level every column of a statsmodels model is, found from the numbers in it.

Names say little there: columns of arrays are ``x1`` and ``x_re1``, and a formula's contrasts carry their names whatever
their coding. So a column is one of the design's where its values are, row by row; a level is the one whose rows it has.
Where the rows of statsmodels stand in another order, columns are compared together with the response, both sorted, and
levels by their labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.labels import level_places
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.words import join

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

CLOSE = 1e-9
"""Numbers are the same to this share of the largest of them."""
OTHER = "Fit both with the same formula to the same rows."


@dataclass(frozen=True, eq=False)
class Effects:
    """A column that varies between levels, row by row.

    Attributes
    ----------
    name : str
        As statsmodels has it, for messages.
    values : array, shape (n,)
        What the row's effect is multiplied by.
    of : array of int, shape (n,)
        Which effect it is, 0 to m - 1; -1 where it is none.
    labels : sequence of m tuples of str
        What each effect's level may be called.
    """

    name: str
    values: Array
    of: Codes
    labels: Sequence[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Place:
    """Where effects stand in a design: column `column` of random term `block`; `levels` (m,) is each effect's level."""

    block: int
    column: int
    levels: Codes


@dataclass(frozen=True, eq=False)
class Matched:
    """The rows of a statsmodels model beside those of a design.

    Attributes
    ----------
    source : str
    design : Design
    theirs, ours : array, shape (n,)
        The response of each.
    ordered : bool
        Whether the rows are taken to stand in one order.
    """

    source: str
    design: Design
    theirs: Array
    ours: Array
    ordered: bool

    @classmethod
    def each(cls, source: str, design: Design, response: Any) -> Iterator[Matched]:
        """Ways in which the rows may belong together, the likeliest first.

        Raises
        ------
        ComparisonError
            Another number of rows, or another response.
        """
        theirs = np.asarray(response, dtype=float).ravel()
        if len(theirs) != design.n:
            raise ComparisonError(
                f"{source} is of {len(theirs):,} rows, the comparison of {design.n:,}. Fit both to the same rows."
            )
        ours = design.y - design.offset
        if not _same(np.sort(theirs), np.sort(ours)):
            less = " less its offset" * bool(design.offset.any())
            raise ComparisonError(
                f"{source} has another response than {design.response}{less}: its values, sorted, run from "
                f"{theirs.min():.6g} to {theirs.max():.6g}, those of the comparison from "
                f"{ours.min():.6g} to {ours.max():.6g}. {OTHER}"
            )
        for ordered in (True, False):
            if not ordered or _same(theirs, ours):
                yield cls(source, design, read_only(theirs), read_only(ours), ordered)

    def same(self, theirs: Array, ours: Array) -> bool:
        """Whether two columns are one."""
        if self.ordered:
            return _same(theirs, ours)
        sorted_ones = []
        for column, response in ((theirs, self.theirs), (ours, self.ours)):
            order = np.lexsort((_rounded(column), _rounded(response)))
            sorted_ones.append(np.asarray(column, dtype=float)[order])
        return _same(*sorted_ones)

    def fixed(self, X: Any, names: Sequence[str]) -> Codes:
        """Which column of `X` every population coefficient of the design is, shape (p,)."""
        theirs, ours = np.asarray(X, dtype=float), self.design.X
        found: dict[int, int] = {}
        for j in range(ours.shape[1]):
            for k in range(theirs.shape[1]):
                if k not in found.values() and self.same(theirs[:, k], ours[:, j]):
                    found[j] = k
                    break
        missing = [name for j, name in enumerate(self.design.fixed_terms) if j not in found]
        extra = [str(name) for k, name in enumerate(names) if k not in found.values()]
        if missing or extra:
            parts = [f"none of its columns is {join(missing)}"] * bool(missing)
            parts += [f"{join(extra)} of it is none of the comparison's"] * bool(extra)
            raise ComparisonError(
                f"{self.source} has other population columns: by their values, {' and '.join(parts)}. {OTHER} Factors "
                "need R's treatment contrasts, statsmodels' default."
            )
        return np.array([found[j] for j in range(ours.shape[1])], dtype=np.intp)

    def place(self, effects: Effects) -> Place:
        """The random term, column and levels of effects."""
        for k, block in enumerate(self.design.blocks):
            if len(block.levels) != len(effects.labels):
                continue
            for c in range(len(block.terms)):
                if not self.same(effects.values, block.Z[:, c]):
                    continue
                levels = self._levels(effects, block.codes, block.levels)
                if levels is not None:
                    return Place(k, c, levels)
        has = join(f"{term} by {block.group}" for block in self.design.blocks for term in block.terms)
        raise ComparisonError(
            f"{self.source} has effects ({effects.name}, {len(effects.labels):,} levels) that are none of the "
            f"comparison's ({has}), by their values and the rows of their levels. {OTHER}"
        )

    def _levels(self, effects: Effects, codes: Codes, levels: Sequence[str]) -> Codes | None:
        """The level of every effect, or None where they are those of another factor."""
        m = len(levels)
        if not self.ordered:
            for spelling in zip(*effects.labels, strict=True):
                found = np.array(level_places(list(spelling), levels), dtype=np.intp)
                if found.min() < 0 or len(np.unique(found)) < m:
                    continue
                used = effects.of >= 0
                if used.all() and not self.same(found[effects.of].astype(float), codes.astype(float)):
                    continue
                return found
            return None
        used = effects.of >= 0
        pairs = np.unique(effects.of[used] * m + codes[used])
        effect, level = np.divmod(pairs, m)
        if len(np.unique(effect)) < len(pairs) or len(np.unique(level)) < len(pairs):
            return None
        if m - len(pairs) > 1:  # levels of nothing but zeros cannot be told apart
            return None
        found = np.full(m, -1, dtype=np.intp)
        found[effect] = level
        found[found < 0] = np.setdiff1d(np.arange(m), level)
        return found


def level_in(name: str) -> str:
    """The level in the name of an indicator column.

    Examples
    --------
    >>> level_in("C(plate)[a]"), level_in("C(LOCATION)[T.12]:cHEIGHT"), level_in("x3")
    ('a', '12', 'x3')
    """
    found = re.search(r"\[(?:T\.)?(.*?)\](?=$|:)", name)
    return name if found is None else found[1]


def _same(one: Array, other: Array) -> bool:
    scale = max(float(np.abs(one).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
    return bool(np.abs(np.asarray(one) - other).max(initial=0.0) <= CLOSE * scale)


def _rounded(values: Array) -> Array:
    """Values without the last digits, so that rounding does not change their order."""
    scale = float(np.abs(values).max(initial=0.0)) or 1.0
    return np.round(np.asarray(values, dtype=float) / scale, 10)

"""Design -> one column per level and varying term, as a regression sees groups.

The column of level j and an intercept is 1 in the level's rows, that of a slope is x there, and both are 0 elsewhere.
The columns of a term stand side by side, term after term, block after block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError

Array = NDArray[np.float64]

MOST_COLUMNS = 5_000
"""A solver's matrix of columns by columns, 200 MB; beyond, the estimators of mixed models are made for it."""


@dataclass(frozen=True)
class Term:
    """One varying term: block `place`, its column `k`; `where` are its columns, `size` is its root mean square."""

    place: int
    k: int
    group: str
    name: str
    where: slice
    size: float

    @property
    def label(self) -> str:
        """``Days of Subject``."""
        return f"{self.name} of {self.group}"


@dataclass(frozen=True, eq=False)
class GroupColumns:
    """The group columns of a design.

    Attributes
    ----------
    Z : sparse array, shape (n, m)
        By columns.
    terms : tuple of Term
    maps : tuple of array, shape (q, q)
        By block: the effects of a level are its map times the coefficients of its columns.
    """

    Z: Any
    terms: tuple[Term, ...]
    maps: tuple[Array, ...]

    def of_terms(self, values: Sequence[float] | Array) -> Array:
        """A value for each term, repeated for its columns: shape (m,)."""
        whole = np.empty(self.Z.shape[1])
        for term, value in zip(self.terms, values, strict=True):
            whole[term.where] = value
        return whole

    def effects(self, coefficients: Array) -> tuple[Array, ...]:
        """The effects of coefficients, shape (m,): by block, shape (J, q)."""
        found = []
        for place, to_effects in enumerate(self.maps):
            own = [coefficients[term.where] for term in self.terms if term.place == place]
            found.append(np.column_stack(own) @ to_effects.T)
        return tuple(found)


def group_columns(design: Design, maps: Sequence[Array] | None = None) -> GroupColumns:
    """Make the group columns of a design.

    Parameters
    ----------
    design : Design
    maps : sequence of array, shape (q, q), optional
        By block, a map R of coefficients to effects: the columns are those of Z_j R, so that a penalty on their
        coefficients is one on R^-1 u. The identity where left out.

    Raises
    ------
    DesignError
        More than `MOST_COLUMNS` columns.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2, 4, 3, 2], "x": [5.0, 6, 7, 8, 9], "g": list("aaabb")}
    >>> found = group_columns(build_design("y ~ x + (x | g)", table))
    >>> found.Z.toarray()[1:4].tolist()
    [[1.0, 0.0, 6.0, 0.0], [1.0, 0.0, 7.0, 0.0], [0.0, 1.0, 0.0, 8.0]]
    >>> [(term.label, round(term.size, 3)) for term in found.terms]
    [('(Intercept) of g', 1.0), ('x of g', 7.141)]
    """
    from scipy.sparse import csc_matrix, hstack

    count = sum(len(block.levels) * len(block.terms) for block in design.blocks)
    if count > MOST_COLUMNS:
        raise DesignError(
            f"A regression on one column per level and term has {count:,} columns here, and takes up to "
            f"{MOST_COLUMNS:,}. Use reml, or fixed_prior with a stated SD, whose effects are ridge estimates as well."
        )
    chosen = [np.eye(len(block.terms)) for block in design.blocks] if maps is None else list(maps)
    rows, mean_weights = np.arange(design.n), design.weights / design.weights.sum()
    parts, terms, start = [], [], 0
    for place, (block, to_effects) in enumerate(zip(design.blocks, chosen, strict=True)):
        J, Z = len(block.levels), block.Z @ to_effects
        for k, name in enumerate(block.terms):
            parts.append(csc_matrix((Z[:, k], (rows, block.codes)), shape=(design.n, J)))
            size = float(np.sqrt(mean_weights @ Z[:, k] ** 2))
            terms.append(Term(place, k, block.group, name, slice(start, start + J), size))
            start += J
    whole = csc_matrix(hstack(parts, format="csc"))
    whole.indices, whole.indptr = whole.indices.astype(np.int32), whole.indptr.astype(np.int32)  # as glum wants them
    return GroupColumns(whole, tuple(terms), tuple(chosen))

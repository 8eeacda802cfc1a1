"""Whether two designs are of the same data, and whether one model is a special case of the other.

Models are compared by what their columns span, not by how their formulas are written. One fixed part lies within
another where its columns are linear combinations of the other's. A random block (Z_0 | g) lies within (Z_1 | g) where
Z_0 = Z_1 A: then A Sigma_0 A' is one of the covariances that the larger block can have. Factors are the same
where they part the rows in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.errors import ComparisonError
from workbench.fit import Fit

Array = NDArray[np.float64]

SPANNED = 1e-8
"""A column whose part outside a span is smaller than this share of it lies within."""


@dataclass(frozen=True)
class Relation:
    """How a model stands to a larger one.

    Attributes
    ----------
    nested : bool
        Every distribution of the smaller is one of the larger's.
    more_spreads : int
        How many standard deviations the larger has more.
    same_fixed : bool
        Both fixed parts span the same.
    """

    nested: bool
    more_spreads: int
    same_fixed: bool


def refuse_other_data(fits: tuple[Fit, ...]) -> None:
    """Likelihoods of other rows, responses, weights or offsets are not comparable.

    Raises
    ------
    ComparisonError
        Says what differs between the first fit and another.
    """
    first = fits[0].design
    for fit in fits[1:]:
        other = fit.design
        if first is other:
            continue
        between = f"between {first.formula} and {other.formula}"
        if first.n != other.n or first.rows.read != other.rows.read:
            raise ComparisonError(
                f"The rows differ {between} ({first.n:,} of {first.rows.read:,} and {other.n:,} of "
                f"{other.rows.read:,}): their likelihoods are not comparable. Fit both to the same rows; missing "
                "values in a column that only one model uses drop rows from that one."
            )
        if (first.family, first.link) != (other.family, other.link):
            raise ComparisonError(
                f"The families differ {between} ({first.family}, {first.link}; {other.family}, {other.link}): their "
                "likelihoods are not comparable. Fit both with the same family and link."
            )
        for what in ("y", "weights", "offset"):
            if not np.array_equal(getattr(first, what), getattr(other, what)):
                word = {"y": "responses", "weights": "weights", "offset": "offsets"}[what]
                raise ComparisonError(
                    f"The {word} differ {between}: their likelihoods are not comparable. Give both the same, row by "
                    "row."
                )
        if first.known_se != other.known_se:
            raise ComparisonError(f"Standard errors are known in only one {between}. Give se= to both or to neither.")


def refuse_other_fixed_effects(fits: tuple[Fit, ...]) -> None:
    """REML criteria compare only where X is the same, up to a change of columns that leaves |X'X| as it is.

    Raises
    ------
    ComparisonError
        Some fits by REML and some by ML, or REML fits with different fixed columns.
    """
    kinds = {fit.estimator for fit in fits}
    if len(kinds) > 1:
        raise ComparisonError(
            "Some fits are by REML and some by ML, and these criteria are not comparable. Fit all of them with "
            "estimator='ml', or with 'reml' where only the random terms differ."
        )
    if kinds != {"reml"}:
        return
    X = fits[0].design.X
    for fit in fits[1:]:
        if not (within(fit.design.X, X) and within(X, fit.design.X)):
            raise ComparisonError(
                f"REML criteria of different fixed effects are not comparable ({fits[0].design.formula}, "
                f"{fit.design.formula}). Refit with estimator='ml'."
            )
        change = np.linalg.lstsq(X, fit.design.X, rcond=None)[0]
        if X.shape[1] and abs(np.linalg.slogdet(change)[1]) > 1e-6:
            raise ComparisonError(
                f"The fixed effects of {fits[0].design.formula} and {fit.design.formula} are the same in another "
                "coding or unit, which moves the REML criterion by a constant. Code them alike, or refit with "
                "estimator='ml'."
            )


def relation(small: Design, large: Design) -> Relation:
    """How a design of fewer parameters stands to one of more, both of the same data."""
    fixed = within(small.X, large.X)
    random = all(any(_block_within(b, other) for other in large.blocks) for b in small.blocks)
    spreads = [sum(len(block.terms) for block in design.blocks) for design in (small, large)]
    return Relation(fixed and random, spreads[1] - spreads[0], fixed and small.X.shape[1] == large.X.shape[1])


def within(columns: Array, of: Array) -> bool:
    """Whether all columns are linear combinations of those of another matrix with as many rows.

    Examples
    --------
    >>> x = np.arange(4.0)
    >>> within(np.column_stack([2 * x + 1]), np.column_stack([np.ones(4), x])), within(x[:, None] ** 2, x[:, None])
    (True, False)
    """
    if not columns.shape[1]:
        return True
    if columns.shape[1] > of.shape[1]:
        return False
    scale = np.linalg.norm(of, axis=0)
    Q = np.linalg.qr(of / np.where(scale > 0, scale, 1.0))[0]
    left = columns - Q @ (Q.T @ columns)
    return bool((np.linalg.norm(left, axis=0) <= SPANNED * np.linalg.norm(columns, axis=0)).all())


def _block_within(small: RandomBlock, large: RandomBlock) -> bool:
    return _same_partition(small.codes, large.codes) and within(small.Z, large.Z)


def _same_partition(a: NDArray[np.intp], b: NDArray[np.intp]) -> bool:
    """Whether two factors part the rows in the same way, whatever their levels are called."""
    if a.max() != b.max():
        return False
    to_b = np.empty(a.max() + 1, dtype=np.intp)
    to_b[a] = b
    to_a = np.empty(b.max() + 1, dtype=np.intp)
    to_a[b] = a
    return bool((to_b[a] == b).all() and (to_a[b] == a).all())

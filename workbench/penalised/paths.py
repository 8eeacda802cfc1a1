"""How group coefficients move with lambda: the ray of penalties through a fit of `penalized`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.fit import Fit
from workbench.penalised.columns import GroupColumns, Term, group_columns
from workbench.penalised.cross_validation import CrossValidation, cross_validate
from workbench.penalised.folds import make_folds
from workbench.penalised.regression import Regression, path, regression
from workbench.penalised.strength import Penalties, grid, unit_ray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ray:
    """All penalties in one proportion: those of a fit at strength 1, or those that cross-validation searches.

    Attributes
    ----------
    fit : Fit
    columns : GroupColumns
    problem : Regression
    penalties : Penalties
        Of the columns, at strength 1.
    at_one : array, shape (T,)
        lambda by term at strength 1.
    """

    fit: Fit
    columns: GroupColumns
    problem: Regression
    penalties: Penalties
    at_one: Array

    @classmethod
    def through(cls, fit: Fit) -> Ray:
        """The ray through a fit of `penalized`; where a penalty of it is infinite, that of cross-validation."""
        d = fit.diagnostics
        roots = None if d["roots"] is None else [np.array(root) for root in d["roots"]]
        finite = bool(np.isfinite(d["lambda"]).all())
        columns = group_columns(fit.design, roots if finite else None)
        total = np.array(d["lambda"])
        if not finite:
            penalties = unit_ray(columns.terms, d["mix"])
            total = penalties.total
        elif roots is not None:
            penalties = Penalties(np.zeros(len(total)), np.ones(len(total)))
        else:
            penalties = Penalties(np.array(d["l1"]), np.array(d["l2"]))
        return cls(fit, columns, regression(fit.design, columns.Z), penalties, total)

    def term(self, place: int, k: int) -> int:
        """Which term a column of a block is."""
        return next(i for i, t in enumerate(self.columns.terms) if (t.place, t.k) == (place, k))

    @property
    def terms(self) -> tuple[Term, ...]:
        """The varying terms."""
        return self.columns.terms

    def strengths(self, points: int) -> Array:
        """Strengths from where all is pooled to where hardly anything is, the largest first."""
        return grid(self.problem, *self._by_column, points)

    @property
    def _by_column(self) -> tuple[Array, Array]:
        return self.columns.of_terms(self.penalties.l1), self.columns.of_terms(self.penalties.l2)

    def coefficients(self, strengths: Array, place: int, k: int) -> Array:
        """Group coefficients of a term at each strength, shape (L, J)."""
        l1, l2 = self._by_column
        column = self.fit.design.blocks[place].fixed[k]
        return np.array(
            [
                self.columns.effects(at.u)[place][:, k] + (0.0 if column is None else at.b[column])
                for at in path(self.problem, l1, l2, strengths)
            ]
        )

    def cross_validated(self, folds: str, count: int, seed: int, rule: str, points: int) -> CrossValidation:
        """The curve of rows left out along this ray."""
        l1, l2 = self._by_column
        fold = make_folds(self.fit.design, folds, count, seed)
        return cross_validate(self.problem, l1, l2, self.strengths(points), fold, rule)

"""Which columns of a model matrix are explained by those before them, as lme4 and R's ``lm`` find and drop them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALIASED = 1e-7
"""A column whose part not explained by the columns before it is smaller than this share of it is dropped (as in R)."""
PLAIN = 1e-5
"""Above this smallest eigenvalue of their correlations, columns are plainly independent."""


def independent(X: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Split columns into those kept and those explained by kept ones before them."""
    if _clearly_independent(X):
        return list(range(X.shape[1])), []
    kept: list[int] = []
    aliased: list[int] = []
    basis = np.empty((len(X), 0))
    for k in range(X.shape[1]):
        column = X[:, k]
        if kept and (X[:, kept[0]] == 1).all():  # beside an intercept only the spread of a column counts
            mean = column.mean()
            column = column - mean
            if np.abs(column).max() <= 1e-13 * abs(mean):
                column = np.zeros_like(column)
        length = np.linalg.norm(column)
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if length == 0 or size <= ALIASED * length:
            aliased.append(k)
        else:
            kept.append(k)
            basis = np.column_stack([basis, rest / size])
    return kept, aliased


def _clearly_independent(X: NDArray[np.float64]) -> bool:
    """Whether the columns' cross-products alone show that none is near to being explained by the others."""
    constant = bool((X[:, :1] == 1).all()) and X.shape[1] > 0
    cross = X.T @ X
    size = np.diag(cross)
    if constant:
        mean = X[:, 1:].mean(axis=0)
        cross = cross[1:, 1:] - len(X) * np.outer(mean, mean)
        if (np.diag(cross) <= PLAIN * size[1:]).any():
            return False
    scale = np.sqrt(np.diag(cross))
    if not scale.all():
        return False
    return not len(scale) or bool(np.linalg.eigvalsh(cross / np.outer(scale, scale))[0] > PLAIN)

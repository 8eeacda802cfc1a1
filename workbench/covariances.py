"""Square roots of covariance matrices, singular ones included, and the relative covariance factors made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.moments import Moments

Array = NDArray[np.float64]


def square_root(covariance: Array) -> Array:
    """An R with R R' = covariance, for one or many matrices, shape (..., q, q); not triangular.

    Examples
    --------
    >>> R = square_root(np.array([[4.0, 2.0], [2.0, 1.0]]))     # singular
    >>> (R @ R.T).round(12).tolist()
    [[4.0, 2.0], [2.0, 1.0]]
    """
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None))[..., None, :])


def relative_factors(data: Moments, roots: Sequence[Array], sigma: float) -> tuple[Array, ...]:
    """Lambda of every grouping factor, of the moments' columns, shape (q_f, q_f).

    Parameters
    ----------
    data : Moments
    roots : sequence of array, shape (q, q)
        Of the covariances of the data's own columns, by random block of the design.
    sigma : float
    """
    found = []
    for f in data.factors:
        whole = np.zeros_like(f.to_data)
        for here, place in zip(f.blocks, f.places, strict=True):
            whole[here, here] = roots[place]
        found.append(np.linalg.solve(f.to_data, whole) / sigma)
    return tuple(found)

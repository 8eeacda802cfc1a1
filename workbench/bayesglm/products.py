"""Cross-products of the columns of grouping factors and R, for the EM: rescaled level by level, and multiplied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.crossed import as_rows
from workbench.moments import Moments

Array = NDArray[np.float64]


def absorbed(data: Moments, roots: tuple[Array, ...]) -> Moments:
    """Cross-products of columns multiplied, level by level, by `roots`, shape (J_f, q_f, q_f) by factor."""
    factors = tuple(
        replace(
            f,
            A=np.einsum("jca,cdj,jdb->abj", root, f.A, root),
            B=np.einsum("jca,ckj->akj", root, f.B),
        )
        for f, root in zip(data.factors, roots, strict=True)
    )
    if data.rest is None:
        return replace(data, factors=factors)
    rest, right = data.rest, [np.swapaxes(root, 1, 2) for root in roots[1:]]
    rows = _by_level(right, rest.blocks.take(rest.RtR))
    RtR = rest.blocks.put(_by_level(right, rest.blocks.take(np.swapaxes(rest.blocks.put(rows), 1, 2))))
    Z1tR = _diagonal(roots[:1]).T @ rest.Z1tR @ _diagonal(roots[1:])
    if not isinstance(Z1tR, np.ndarray):
        Z1tR = Z1tR.tocsr()
        Z1tR.sort_indices()
    return replace(data, factors=factors, rest=replace(rest, Z1tR=Z1tR, RtR=np.ascontiguousarray(RtR)))


def _by_level(roots: list[Array], rows: Array) -> Array:
    """Rows (N, k) of all effects of several factors, those of every level multiplied by its own matrix."""
    made, start = np.empty_like(rows), 0
    for root in roots:
        J, q, _ = root.shape
        here = slice(start, start + J * q)
        made[here] = (root @ rows[here].reshape(J, q, -1)).reshape(J * q, -1)
        start = here.stop
    return made


def _diagonal(roots: tuple[Array, ...]) -> Any:
    """A sparse block-diagonal matrix of the levels' matrices, of one factor or of several side by side."""
    from scipy.sparse import block_diag, bsr_array

    parts = []
    for root in roots:
        J, q, _ = root.shape
        parts.append(bsr_array((np.ascontiguousarray(root), np.arange(J), np.arange(J + 1)), shape=(J * q, J * q)))
    return (parts[0] if len(parts) == 1 else block_diag(parts)).tocsr()


def between(plain: Moments, data: Moments, P: Array, same: bool) -> Array:
    """Sum over the first factor's levels of R_j'P_j R_j, one side without weights, (C, m, m)."""
    assert plain.rest is not None
    assert data.rest is not None
    if same:
        return data.rest.cells.weigh(P)
    weighed = _diagonal((np.ascontiguousarray(np.moveaxis(P, -1, 0)),)) @ data.rest.Z1tR
    both = plain.rest.Z1tR.T @ weighed
    return both[None] if isinstance(both, np.ndarray) else data.rest.blocks.gather(both)


def times(data: Moments, rows: tuple[Array, ...], b: Array) -> tuple[list[Array], Array]:
    """[Z R]'W[Z R] times coefficients: rows (J_f q_f, k) by factor, and (p, k)."""
    levels = [np.moveaxis(u.reshape(*f.Zty.shape, -1), 0, -1) for f, u in zip(data.factors, rows, strict=True)]
    products = [as_rows([np.einsum("akj,kl->alj", f.B[:, :-1], b)]) for f in data.factors]
    of_b = data.XtX @ b
    for f, u in zip(data.factors, levels, strict=True):
        of_b = of_b + np.einsum("akj,alj->kl", f.B[:, :-1], u)
    products[0] += as_rows([np.einsum("acj,ckj->akj", data.factors[0].A, levels[0])])
    if data.rest is not None:
        others = np.concatenate(rows[1:])
        products[0] += data.rest.Z1tR @ others
        ends = np.cumsum([len(u) for u in rows[1:]])[:-1]
        among = np.split(data.rest.within_rest(others) + data.rest.Z1tR.T @ rows[0], ends)
        for k, part in enumerate(among, start=1):
            products[k] += part
    return products, of_b

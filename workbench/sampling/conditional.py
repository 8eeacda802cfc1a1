"""Draws of b and u given the variances: exact, and independent of one another from draw to draw.

Given (theta, sigma), b of the centred columns is normal with mean b_hat and covariance sigma^2 (R_X'R_X)^-1, the rows
of its prior included; given b too, the effects of one factor are independent between levels, with mean
P_j (Z_j'y - Z_j'X b) and covariance sigma^2 P_j (:mod:`workbench.likelihood`). Of several factors those after the first
are drawn together, from Lambda_r S^-1 Lambda_r' (:mod:`workbench.crossed`), then the first given these.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import relative_factors, square_root
from workbench.crossed import as_rows, by_factor
from workbench.likelihood import Conditional, by_first, conditional, shrink
from workbench.moments import Moments
from workbench.sampling.collapsed import Collapsed, Variances

Array = NDArray[np.float64]


def draw_population(density: Collapsed, at: Variances, rng: np.random.Generator) -> Array:
    """Draws of b of the data's own columns, shape (N, p), one for each draw of the variances."""
    if at.b is not None:
        return at.b
    N, p = len(at.sigma), density.data.p
    z = rng.standard_normal((N, p))
    if len(density.few.factors) > 1:
        drawn = [given.b + at.sigma[i] * np.linalg.cholesky(given.b_cov) @ z[i] for i, given in _each(density, at)]
        return density.to_data(np.reshape(drawn, (N, p)))
    from workbench.sampling import kernel_draws

    A, B, counts, whole, rows = density.sums
    made = np.empty((N, p))
    for i in range(N):
        kernel_draws.draw_b(A, B, counts, whole, rows, density.relative(at, i), at.sigma[i], z[i], made[i])
    return density.to_data(made)


def draw_effects(
    density: Collapsed, at: Variances, b: Array, rng: np.random.Generator, levels: NDArray[np.intp] | None = None
) -> tuple[Array, ...]:
    """Draws of the effects, by random block of the design, shape (N, J, q).

    Parameters
    ----------
    density : Collapsed
    at : Variances
        N draws.
    b : array, shape (N, p)
        Of the data's own columns, one for each of these.
    rng : numpy.random.Generator
    levels : array of int, optional
        Of one grouping factor, only these levels.
    """
    data, N = density.data, len(at.sigma)
    centred = density.to_centred(b)
    if len(data.factors) > 1:
        drawn = [_several(data, given, at.sigma[i], centred[i], rng) for i, given in _each(density, at)]
        return tuple(np.stack(parts) for parts in zip(*drawn, strict=True))
    from workbench.sampling import kernel_draws

    (f,) = data.factors
    chosen = slice(None) if levels is None else levels
    A, B = (np.array(np.moveaxis(part, -1, 0)[chosen], order="C") for part in (f.A, f.B))
    to_data = np.array(f.to_data)
    made = np.empty((N, len(A), len(to_data)))
    for i in range(N):
        z = rng.standard_normal(made.shape[1:])
        kernel_draws.draw_u(A, B, density.relative(at, i), at.sigma[i], np.array(centred[i]), to_data, z)
        made[i] = z
    return tuple(made[:, :, here] for here in f.blocks)


def conditional_normals(density: Collapsed, at: Variances, b: Array) -> tuple[Array, Array]:
    """Means and SDs of the effects of one grouping factor given the variances and b, each of shape (N, J, q)."""
    data = density.data
    (f,) = data.factors
    centred = density.to_centred(b)
    means, sds = [], []
    for i in range(len(at.sigma)):
        own = np.moveaxis(shrink(f.A, square_root(density.relative(at, i)))[1], -1, 0)
        left = f.B[:, -1] - np.einsum("akj,k->aj", f.B[:, :-1], centred[i])
        means.append(np.einsum("jac,cj->ja", own, left) @ f.to_data.T)
        sds.append(at.sigma[i] * np.sqrt(np.einsum("ac,jcd,ad->ja", f.to_data, own, f.to_data)))
    return np.stack(means), np.stack(sds)


# --- several factors ----------------------------------------------------------------------------------


def _each(density: Collapsed, at: Variances) -> Iterator[tuple[int, Conditional]]:
    """What follows from every draw of the variances."""
    mean, precision = density.normal_of_b
    for i, sigma in enumerate(at.sigma.tolist()):
        roots = [sd[i][:, None] * L[i] for sd, L in zip(at.sd, at.factor, strict=True)]
        data = density.data.with_prior(mean, sigma**2 * precision) if density.integrated else density.data
        yield i, conditional(data, relative_factors(data, roots, sigma))


def _several(data: Moments, given: Conditional, sigma: float, b: Array, rng: np.random.Generator) -> list[Array]:
    """One draw of the effects of several factors, by random block of the design, shape (J, q)."""
    assert given.schur is not None
    assert data.rest is not None
    schur, first = given.schur, data.factors[0]
    mean = as_rows([(m[:, -1] - np.einsum("akj,k->aj", m[:, :-1], b))[:, None] for m in given.modes[1:]])
    z = schur.blocks.put(rng.standard_normal(mean.shape))
    L = np.tril(schur.cholesky)
    rest = mean + sigma * schur.times(schur.blocks.take(np.linalg.solve(np.swapaxes(L, 1, 2), z)))
    left = first.B[:, -1] - np.einsum("akj,k->aj", first.B[:, :-1], b)
    left = left - by_first(data.rest.Z1tR @ rest, first)[:, 0]
    roots = square_root(given.P_first)
    own = np.einsum("jac,cj->ja", given.P_first, left)
    own = own + sigma * np.einsum("jac,jc->ja", roots, rng.standard_normal(own.shape))
    parts: dict[int, Array] = {}
    for f, u in zip(data.factors, [own, *(part[:, 0].T for part in by_factor(data, rest))], strict=True):
        of_data = u @ f.to_data.T
        parts |= {place: of_data[:, here] for here, place in zip(f.blocks, f.places, strict=True)}
    return [parts[place] for place in range(len(parts))]

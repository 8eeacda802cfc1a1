"""Coordinates in which the search for theta is easy: orthonormal varying columns, and few rows.

Both leave the likelihood as it is. Orthonormal columns free the search from the scale and origin of the data; levels
that share their design are condensed to a few, which saves time and nothing else.

Some combinations of a block's varying columns have a spread that the likelihood does not know: those that are zero,
and, under REML, those that the fixed effects explain in every level, because REML looks at what these leave. With
M = (X'X)^-1 they are the null space of sum_j Z_j'Z_j - Z_j'X M X'Z_j (of the first term alone under ML). They come last
among the new columns, and are no part of theta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.likelihood import conditional
from workbench.moments import FactorMoments, Moments, Rest

Array = NDArray[np.float64]

PLAIN = 1e-5
"""A residual above this share of the total is none of shrinkage's making, at Lambda = 10^5 I."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What the search sees of given moments.

    Attributes
    ----------
    moments : Moments
        Condensed, of orthonormal columns.
    maps : tuple of array, shape (q_f, q_f)
        Lambda of the data's columns is a map times Lambda of these.
    undetermined : tuple of Undetermined
    """

    moments: Moments
    maps: tuple[Array, ...]
    undetermined: tuple[Undetermined, ...]

    @classmethod
    def of(cls, moments: Moments, restricted: bool) -> Searched:
        """Condense given moments, make their columns orthonormal, and put those without a spread last."""
        few = condensed(moments)
        seen, maps = orthonormalised(few)
        found = [_unknown(f, seen, restricted) for f in seen.factors]
        if not any(turned for turned in found):
            return cls(seen, maps, ())
        undetermined: list[Undetermined] = []
        turned_maps, blocks = [], []
        for k, (f, R, turned) in enumerate(zip(moments.factors, maps, found, strict=True)):
            turn, own = np.eye(len(R)), list(f.blocks)
            for b, (vectors, unknown) in turned.items():
                here = f.blocks[b]
                turn[here, here] = vectors
                own[b] = slice(here.start, here.stop - unknown)
                undetermined.append(Undetermined(k, f.places[b], (R @ turn)[here, own[b].stop : here.stop]))
            turned_maps.append(R @ turn)
            blocks.append(tuple(own))
        seen = mapped(few, tuple(turned_maps))
        factors = tuple(replace(f, blocks=own) for f, own in zip(seen.factors, blocks, strict=True))
        return cls(replace(seen, factors=factors), tuple(turned_maps), tuple(undetermined))

    def by_level(self) -> Searched:
        """The same in columns that are of size 1 over the rows of a typical level together, not over one row.

        With m rows to a typical level, effects of size sigma / root of m, which the level just tells from none, then
        have a Lambda of 1.
        """
        scales = [(len(f.sizes) / f.sizes.sum()) ** 0.5 for f in self.moments.factors]
        own = tuple(scale * np.eye(len(R)) for scale, R in zip(scales, self.maps, strict=True))
        maps = tuple(R @ scaled for R, scaled in zip(self.maps, own, strict=True))
        return replace(self, moments=mapped(self.moments, own), maps=maps)

    def free(self, spread: float) -> tuple[Array, ...]:
        """Lambda = `spread` I of every factor, less where it would drown, zero where there is no spread to be found."""
        return tuple(min(spread, widest(f)) * np.diag(determined(f).astype(float)) for f in self.moments.factors)

    @cached_property
    def residual(self) -> float:
        """What no effect explains of the response, as a sum of squares: r^2 where Lambda hardly shrinks.

        Of factors that share directions, rounding at Lambda = 10^6 I would hide it. What a smaller Lambda adds to it by
        shrinking goes with Lambda^-2, and is taken off where it matters.
        """
        if len(self.moments.factors) == 1:
            return self._left_at(1e6)
        left = self._left_at(1e5)
        return left if left > PLAIN * self.moments.yty else left - (self._left_at(1e4) - left) / 99

    def _left_at(self, spread: float) -> float:
        return conditional(self.moments, self.free(spread)).r2


@dataclass(frozen=True, eq=False)
class Undetermined:
    """Combinations of a random block's varying columns whose spread the likelihood does not know.

    Attributes
    ----------
    factor, place : int
        Which factor of the moments, and which block of the design.
    directions : array, shape (q, k)
        The columns' weights in each of the k combinations.
    """

    factor: int
    place: int
    directions: Array


DROWNED = 4e13
"""Where Lambda'A_j Lambda is larger for a typical level, little is left of X'V^-1 X but rounding."""


def widest(f: FactorMoments) -> float:
    """The largest Lambda, times I, that rounding allows."""
    diagonal = np.einsum("aaj->aj", f.A)
    total = diagonal.sum(axis=1) if f.counts is None else diagonal @ f.counts
    return float((DROWNED * len(f.sizes) / total.max()) ** 0.5)


def determined(f: FactorMoments) -> NDArray[np.bool_]:
    """Which of a factor's columns belong to theta, shape (q,)."""
    marks = np.zeros(len(f.A), dtype=bool)
    for block in f.blocks:
        marks[block] = True
    return marks


NOTHING_LEFT = 1e-10
"""A column of which a smaller share is left, in squares, is explained."""


def _unknown(f: FactorMoments, moments: Moments, restricted: bool) -> dict[int, tuple[Array, int]]:
    """For every block with columns of unknown spread: a rotation that puts these last, and how many they are."""
    known = f.A.sum(axis=-1) if f.counts is None else f.A @ f.counts
    if restricted and moments.p:
        scale = np.sqrt(np.diag(moments.XtX))
        values, vectors = np.linalg.eigh(moments.XtX / np.outer(scale, scale))
        root = (vectors / np.sqrt(np.maximum(values, 1e-14))).T / scale
        explained = np.tensordot(root, f.B[:, :-1], axes=([1], [1]))  # (p, q, J)
        known = known - np.einsum("paj,pbj->ab", explained, explained)
    found = {}
    for b, block in enumerate(f.blocks):
        values, vectors = np.linalg.eigh(known[block, block] / f.sizes.sum())
        unknown = int((values < NOTHING_LEFT).sum())
        if unknown:
            found[b] = (vectors[:, ::-1], unknown)
    return found


def orthonormalised(moments: Moments) -> tuple[Moments, tuple[Array, ...]]:
    """Replace the varying columns of every block by combinations that are orthonormal over the table.

    Returns the moments of the columns Z R^-1, where R'R is a block's mean cross-product per row, and the maps R^-1 of
    every factor, shape (q_f, q_f): Lambda of the old columns is R^-1 times that of the new ones.
    """
    maps = orthonormal(moments)
    return mapped(moments, maps), maps


def mapped(moments: Moments, maps: tuple[Array, ...]) -> Moments:
    """The moments of the varying columns Z_f M_f, for maps M_f of shape (q_f, q_f)."""
    factors = tuple(
        replace(
            f,
            A=np.einsum("ca,cdj,db->abj", R, f.A, R),
            B=np.einsum("ca,ckj->akj", R, f.B),
            to_data=f.to_data @ R,
        )
        for f, R in zip(moments.factors, maps, strict=True)
    )
    rest = moments.rest
    if rest is not None:
        first, others = moments.factors[:1], moments.factors[1:]
        half = _by_levels(rest.Z1tR, first, maps[:1])
        Z1tR = _by_levels(half.T, others, maps[1:]).T
        if not isinstance(Z1tR, np.ndarray):
            Z1tR = Z1tR.tocsr()
            Z1tR.sort_indices()
        RtR = rest.RtR
        for _ in range(2):  # from the left, then from the right
            RtR = rest.blocks.put(_by_levels(rest.blocks.take(RtR), others, maps[1:])).swapaxes(1, 2)
        rest = Rest(Z1tR, np.ascontiguousarray(RtR), rest.q, rest.blocks)
    return replace(moments, factors=factors, rest=rest)


def orthonormal(moments: Moments) -> tuple[Array, ...]:
    """The maps R^-1 of :func:`orthonormalised`, by factor, shape (q_f, q_f)."""
    return tuple(_to_orthonormal(f) for f in moments.factors)


def _to_orthonormal(f: FactorMoments) -> Array:
    total = (f.A.sum(axis=-1) if f.counts is None else f.A @ f.counts) / f.sizes.sum()
    back = np.zeros_like(total)
    for block in f.blocks:
        own = total[block, block]
        scale = np.sqrt(np.diag(own))
        scale[scale == 0] = 1.0
        if np.linalg.eigvalsh(own / np.outer(scale, scale))[0] > 1e-12:
            back[block, block] = np.linalg.inv(np.linalg.cholesky(own).T)
        else:  # collinear varying columns: only put them on one scale
            back[block, block] = np.diag(1 / scale)
    return back


def _by_levels(rows: Any, factors: tuple[FactorMoments, ...], maps: tuple[Array, ...]) -> Any:
    """Each level's own rows, q_f of them, times the transpose of its factor's map; dense or sparse as they came."""
    levels = [f.Zty.shape[0] for f in factors]
    if all(R.size == 1 for R in maps):
        scale = np.repeat([float(R[0, 0]) for R in maps], levels)[:, None]
        return rows * scale
    from scipy.sparse import block_diag, eye_array, kron

    return block_diag([kron(eye_array(J), R.T) for J, R in zip(levels, maps, strict=True)], format="csr") @ rows


def condensed(moments: Moments) -> Moments:
    """Moments with fewer levels and the same likelihood, of a model with one grouping factor.

    The m levels of a pattern, which share Z_j'Z_j and Z_j'X, see the same shrinkage. An orthogonal rotation among them
    leaves one row that carries their sum over the root of m, and deviations from their mean without X; of the latter
    only the sum of squares, shape (q, q), matters, so that q rows do. What depends on theta alone is counted m times
    (``counts``). A balanced table shrinks to 1 + q rows, whatever its number of groups. Where hardly any pattern
    occurs twice, the moments come back as they are.
    """
    if moments.rest is not None:
        return moments
    f = moments.factor
    J, q = f.Zty.shape
    pattern = _patterns([f.A.reshape(-1, J), f.B[:, :-1].reshape(-1, J)], most=J // (1 + q))
    if pattern is None:
        return moments
    first, of_level = pattern
    C = len(first)
    m = np.bincount(of_level, minlength=C).astype(float)
    sums = np.stack([np.bincount(of_level, weights=f.Zty[:, a], minlength=C) for a in range(q)], axis=1)
    off = f.Zty - (sums / m[:, None])[of_level]
    scatter = np.empty((C, q, q))
    for a in range(q):
        for b in range(a, q):
            scatter[:, a, b] = scatter[:, b, a] = np.bincount(of_level, weights=off[:, a] * off[:, b], minlength=C)
    values, vectors = np.linalg.eigh(scatter)
    roots = np.swapaxes(vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :], 1, 2)  # (C, q rows, q)
    A, B, own = f.A[:, :, first], f.B[:, :, first] * np.sqrt(m), np.zeros((q, moments.p + 1, C * q))
    B[:, -1], own[:, -1] = sums.T / np.sqrt(m), roots.reshape(-1, q).T
    return replace(
        moments,
        factors=(
            replace(
                f,
                A=np.concatenate([A, np.repeat(A, q, axis=2)], axis=2),
                B=np.concatenate([B, own], axis=2),
                counts=np.concatenate([m, np.zeros(C * q)]),
            ),
        ),
    )


def _patterns(parts: list[Array], most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """The first level of every pattern, and the pattern of each level; None where there are more than `most`.

    `parts` have shapes (k, J): what levels of one pattern have in common.
    """
    J = parts[0].shape[1]
    if J > 2 * PROBED and len(np.unique(_keys([part[:, :PROBED] for part in parts]))) > PROBED // 2:
        return None
    keys = _keys(parts)
    if keys.dtype.kind == "f" and J > HASHED:
        import pandas as pd

        of_level, distinct = pd.factorize(keys)
    else:
        distinct, of_level = np.unique(keys, return_inverse=True)
    if len(distinct) > most:
        return None
    first = np.empty(len(distinct), dtype=np.intp)
    first[of_level[::-1]] = np.arange(J)[::-1]
    return first, of_level


def _keys(parts: list[Array]) -> NDArray[Any]:
    """One key for each level, shape (J,): its one number, or the bytes of all of them."""
    first = parts[0][0]
    if all(bool((part == first).all()) for part in parts):
        return np.asarray(first)
    table = np.ascontiguousarray(np.concatenate(parts).T)
    return np.asarray(table.view(np.dtype((np.void, table.itemsize * table.shape[1])))[:, 0])


PROBED = 1000
"""So many levels are looked at before all are compared."""
HASHED = 10_000
"""Up to so many levels, single numbers are sorted: hashing saves less than a millisecond, which pays for no import."""

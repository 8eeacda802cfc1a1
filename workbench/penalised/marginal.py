"""Fixed coefficients penalised beside random effects: the response whitened by its estimated covariance.

    y ~ N(X b, sigma^2 V),     V = W^-1 + Z D Z',     D = Sigma/sigma^2

With the variances held, the penalised criterion is that of a regression of V^-1/2 y on V^-1/2 X,

    (y - X b)'V^-1 (y - X b) / 2  +  sum over the penalised columns of  l1_k |b_k| + l2_k b_k^2 / 2          (1)

(Schelldorfer, Buehlmann & van de Geer 2011, doi:10.1111/j.1467-9469.2011.00740.x, for the lasso; Eliot, Ferguson,
Reilly & Foulkes 2011, International Journal of Biostatistics 7(1), for ridge). It knows the rows through
[X y]'V^-1 [X y] alone, p + 1 square, which the mixed-model equations give group by group
(:mod:`workbench.likelihood`): any root of what is left of it once the unpenalised columns are eliminated, m + 1 rows
for m penalised columns, stands for the n whitened ones.

The variances are estimated given b, by REML of the response less the penalised columns' part: the unpenalised
coefficients are integrated out, the penalised ones taken as known. The two steps alternate until neither moves.

===========  ==================================================  =====================
symbol       name                                                shape
===========  ==================================================  =====================
             ``Whitened.root``, of the penalised columns and y   (m + 1, m + 1)
             ``Whitened.pull``, how the unpenalised coefficients (r, m + 1)
             answer to the penalised ones
===========  ==================================================  =====================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.answer import answer, refuse_without_residual
from workbench.coordinates import Searched
from workbench.covariances import relative_factors, square_root
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component
from workbench.families import family_of
from workbench.fit import Fit
from workbench.likelihood import Conditional, conditional, conditional_covariances, in_data_units
from workbench.moments import Moments, moments
from workbench.optimum import optimum
from workbench.penalised.regression import Regression

Array = NDArray[np.float64]
INTERCEPT = "(Intercept)"


@dataclass(frozen=True, eq=False)
class Split:
    """Which columns of X are penalised (`held`) and which are `free`; `sizes` are SDs of the former, 1 if unscaled."""

    held: tuple[int, ...]
    free: tuple[int, ...]
    sizes: Array


def split(design: Design, unpenalised: Sequence[str], standardise: bool) -> Split:
    """Split the fixed columns: the intercept and those named are free.

    Raises
    ------
    OptionError
        A name that is no fixed term; nothing left to penalise.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2, 4, 3], "x": [0.0, 2, 0, 2], "z": [1.0, 1, 0, 1], "g": list("aabb")}
    >>> found = split(build_design("y ~ x + z + (1 | g)", table), ["z"], True)
    >>> found.held, found.free, found.sizes.tolist()
    ((1,), (0, 2), [1.0])
    """
    terms = design.fixed_terms
    for name in unpenalised:
        if name not in terms:
            raise OptionError(f"unpenalised names {name!r}, which is no fixed term. {nearest(str(name), terms)}")
    held = tuple(k for k, name in enumerate(terms) if name != INTERCEPT and name not in unpenalised)
    if not held:
        raise OptionError("No fixed term is left to penalise. Add some to the formula, or leave unpenalised out.")
    sizes = np.ones(len(held))
    if standardise:
        X, share = design.X[:, held], design.weights / design.weights.sum()
        centre = share @ X if INTERCEPT in terms else 0.0
        sizes = np.sqrt(share @ (X - centre) ** 2)
    return Split(held, tuple(k for k in range(len(terms)) if k not in held), sizes)


@dataclass(frozen=True, eq=False)
class Whitened:
    """A design whitened by given variances (see the module).

    Attributes
    ----------
    design : Design
    split : Split
    data : Moments
    given : Conditional
    factors : tuple of array
    root, pull : array
    """

    design: Design
    split: Split
    data: Moments
    given: Conditional
    factors: tuple[Array, ...]
    root: Array
    pull: Array

    @classmethod
    def by(cls, design: Design, chosen: Split, components: Sequence[Component], sigma: float) -> Whitened:
        """Whiten by the covariances of the random terms and the residual SD."""
        data = moments(design)
        factors = relative_factors(data, [square_root(part.covariance) for part in components], sigma)
        given = conditional(data, factors)
        cross = _cross_products(data, given, _away(design, data))
        held, free = [*chosen.held, data.p], list(chosen.free)
        pull = np.linalg.pinv(cross[np.ix_(free, free)], hermitian=True) @ cross[np.ix_(free, held)]
        left = cross[np.ix_(held, held)] - cross[np.ix_(held, free)] @ pull
        values, vectors = np.linalg.eigh((left + left.T) / 2)
        root = (vectors * np.sqrt(np.clip(values, 0.0, None))).T
        return cls(design, chosen, data, given, factors, root, pull)

    @cached_property
    def problem(self) -> Regression:
        """The regression of m + 1 rows that stands for the whitened one."""
        rows = len(self.root)
        return Regression(
            y=self.root[:, -1],
            weights=np.ones(rows),
            offset=np.zeros(rows),
            X=np.empty((rows, 0)),
            Z=self.root[:, :-1],
            intercept=None,
            family=family_of("gaussian"),
        )

    def centred(self, penalised: Array) -> Array:
        """All coefficients of the centred columns, shape (..., p), from the penalised ones, shape (..., m)."""
        b = np.empty((*penalised.shape[:-1], self.data.p))
        b[..., self.split.held] = penalised
        b[..., self.split.free] = self.pull[:, -1] - penalised @ self.pull[:, :-1].T
        return np.asarray(b - _away(self.design, self.data))

    def coefficients(self, centred: Array) -> Array:
        """Coefficients of the data's own columns, shape (..., p)."""
        return np.asarray(centred @ self.data.shift.to_data.T + self.data.shift.origin)

    def effects(self, centred: Array) -> tuple[tuple[Array, Array], ...]:
        """BLUPs given the fixed part and their conditional SDs over sigma, by block of the design: (J, q) each."""
        found: list[tuple[Array, Array] | None] = [None] * len(self.design.blocks)
        covariances = conditional_covariances(self.data, self.factors, self.given)
        own = in_data_units(self.data, self.given)
        for f, modes, P in zip(self.data.factors, own.modes, covariances, strict=True):
            u = (modes[:, -1] - np.einsum("akj,k->aj", modes[:, :-1], centred)).T
            variance = np.einsum("ab,jbc,ac->ja", f.to_data, P, f.to_data)
            for here, place in zip(f.blocks, f.places, strict=True):
                found[place] = (u[:, here], np.sqrt(np.maximum(variance[:, here], 0.0)))
        return tuple(part for part in found if part is not None)

    def means(self, rows: Design, centred: Array) -> Array:
        """Means of rows of the same levels and columns, at each of the coefficients (L, p): shape (L, n)."""
        mean = self.coefficients(centred) @ rows.X.T + rows.offset
        own = in_data_units(self.data, self.given)
        for f, modes in zip(self.data.factors, own.modes, strict=True):
            for here, place in zip(f.blocks, f.places, strict=True):
                block = rows.blocks[place]
                # z'u = z'modes_y - z'modes_X b, with the levels' modes taken row by row
                by_row = np.einsum("nq,qkn->nk", block.Z, modes[here][:, :, block.codes])
                mean = mean + by_row[:, -1] - centred @ by_row[:, :-1].T
        return np.asarray(mean)


def _away(design: Design, data: Moments) -> Array:
    """What centring the response has taken off penalised coefficients, shape (p,): nothing beside an intercept."""
    return np.zeros(data.p) if INTERCEPT in design.fixed_terms else data.shift.origin


def _cross_products(data: Moments, given: Conditional, away: Array) -> Array:
    """[X y]'V^-1 [X y] of the centred columns, with X times `away` put back into the response: (p + 1, p + 1)."""
    p = data.p
    cross = np.empty((p + 1, p + 1))
    cross[:p, :p], cross[:p, p], cross[p, :p], cross[p, p] = data.XtX, data.Xty, data.Xty, data.yty
    for f, modes in zip(data.factors, given.modes, strict=True):
        cross -= np.einsum("akj,alj->kl", f.B, modes)
    back = np.eye(p + 1)
    back[:p, p] = away
    cross = back.T @ cross @ back
    return np.asarray((cross + cross.T) / 2)


def some_rows(design: Design, wanted: NDArray[np.intp]) -> Design:
    """The design of some of its rows, with all of its levels."""
    return replace(
        design,
        y=read_only(design.y[wanted]),
        X=read_only(design.X[wanted]),
        weights=read_only(design.weights[wanted]),
        offset=read_only(design.offset[wanted]),
        trials=read_only(design.trials[wanted]),
        blocks=tuple(
            replace(block, codes=read_only(block.codes[wanted], np.intp), Z=read_only(block.Z[wanted]))
            for block in design.blocks
        ),
    )


def variances_given(design: Design, chosen: Split, b: Array) -> Fit:
    """REML's fit of the response less the penalised columns' part, the free columns alone being fixed."""
    held, free = list(chosen.held), list(chosen.free)
    rest = replace(
        design,
        X=read_only(design.X[:, free]),
        fixed_terms=tuple(design.fixed_terms[k] for k in free),
        offset=read_only(design.offset + design.X[:, held] @ b[held]),
        blocks=tuple(
            replace(block, fixed=tuple(None if k not in free else free.index(k) for k in block.fixed))
            for block in design.blocks
        ),
    )
    data = moments(rest)
    searched = Searched.of(data, restricted=True)
    refuse_without_residual(rest, searched)
    return answer(rest, data, optimum(data, True, searched), True, 0.95)

"""Draws of a posterior as plain arrays.

However draws came about, by a sampler or independently, they are first these arrays, chains by draws by what is drawn;
the ArviZ tree (:mod:`workbench.sampling.tree`), the summaries and the diagnostics are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, RandomBlock
from workbench.priors import coefficient_name

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Watched:
    """Every draw of the effects of some levels, (k,), of a random block, shape (C, N, k, q)."""

    levels: NDArray[np.intp]
    effects: Array


@dataclass(frozen=True, eq=False)
class Draws:
    """C chains of N draws each.

    Attributes
    ----------
    b : array, shape (C, N, p)
        Population coefficients.
    sigma : array, shape (C, N), or None
        None where standard errors are known, and for families without a dispersion.
    sd : tuple of array, shape (C, N, q)
        By random block.
    correlation : tuple of array, shape (C, N, q, q)
    effects : tuple of array, shape (C, M, J, q)
        Of every `every`-th draw, the first included.
    every : int
    watched : tuple of Watched
        By random block, where effects are not kept of every draw.
    normals : three arrays, or None
        Where the effects of one grouping factor are kept of few draws: M draws of everything else, by number (M,), and
        the means and SDs of the effects given these, (M, J, q), the columns of all blocks side by side.
    others : mapping of str to array, shape (C, N)
        Further parameters of the response, by name.
    stats : mapping of str to array, shape (C, N)
        What a sampler says of its draws: ``diverging``, ``energy``, ``tree_depth``, ``reached_max_treedepth``, ...
    """

    b: Array
    sigma: Array | None
    sd: tuple[Array, ...]
    correlation: tuple[Array, ...]
    effects: tuple[Array, ...]
    every: int = 1
    watched: tuple[Watched, ...] = ()
    normals: tuple[NDArray[np.intp], Array, Array] | None = None
    others: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    stats: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("sd", "correlation", "effects"):
            object.__setattr__(self, name, tuple(read_only(part) for part in getattr(self, name)))
        object.__setattr__(self, "b", read_only(self.b))
        if self.sigma is not None:
            object.__setattr__(self, "sigma", read_only(self.sigma))
        object.__setattr__(self, "stats", MappingProxyType(dict(self.stats)))

    @property
    def chains(self) -> int:
        """C."""
        return len(self.b)

    @property
    def draws(self) -> int:
        """N."""
        return int(self.b.shape[1])

    def at_effects(self, step: int = 1) -> Draws:
        """Every `step`-th of the draws whose group effects are kept, all parts of the same draws; views, not copies."""
        each = self.every * step
        return Draws(
            b=self.b[:, ::each],
            sigma=None if self.sigma is None else self.sigma[:, ::each],
            sd=tuple(part[:, ::each] for part in self.sd),
            correlation=tuple(part[:, ::each] for part in self.correlation),
            effects=tuple(part[:, ::step] for part in self.effects),
            others={name: part[:, ::each] for name, part in self.others.items()},
        )

    def coefficients(self, design: Design) -> tuple[Array, ...]:
        """Population value + effect by random block, shape (C, M, J, q)."""
        return tuple(
            effect + self.population(block)[:, :: self.every, None]
            for effect, block in zip(self.effects, design.blocks, strict=True)
        )

    def population(self, block: RandomBlock) -> Array:
        """Population values of a block's varying terms, shape (C, N, q); zero for a term that is not fixed too."""
        none = np.zeros(self.b.shape[:2])
        return np.stack([none if k is None else self.b[..., k] for k in block.fixed], axis=-1)


def named_parameters(design: Design, drawn: Draws) -> tuple[tuple[str, ...], Array]:
    """Every scalar parameter under the name of its prior, and its draws, shape (C, N, parameters).

    Population coefficients, sigma, further parameters of the response, then by block every sd and every correlation,
    ``cor(Subject, (Intercept), Days)``.
    """
    names = [coefficient_name(term) for term in design.fixed_terms]
    parts = [drawn.b]
    if drawn.sigma is not None:
        names.append("sigma")
        parts.append(drawn.sigma[:, :, None])
    for name, values in drawn.others.items():
        names.append(name)
        parts.append(values[:, :, None])
    for block, sd, correlation in zip(design.blocks, drawn.sd, drawn.correlation, strict=True):
        names += [f"sd({block.group}, {term})" for term in block.terms]
        parts.append(sd)
        for a, c in zip(*np.triu_indices(len(block.terms), 1), strict=True):
            names.append(f"cor({block.group}, {block.terms[a]}, {block.terms[c]})")
            parts.append(correlation[:, :, a, c][:, :, None])
    return tuple(names), np.concatenate(parts, axis=2)

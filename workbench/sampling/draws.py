"""Draws of a posterior as plain arrays, and the ArviZ tree made of them.

However draws came about, by a sampler or independently, they are first these arrays, chains by draws by what is drawn;
the tree, the summaries and the diagnostics are made of them.
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
from workbench.sampling.names import block_names, group_dim

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


def tree_of(design: Design, drawn: Draws) -> Any:
    """The ArviZ tree of draws: posterior, sample_stats and observed_data.

    Where effects are kept of some draws only, they are in a group of their own, ``group_effects``.

    Returns
    -------
    xarray.DataTree
    """
    import xarray as xr

    at, names = ("chain", "draw"), block_names(design)
    coords: dict[str, Any] = {"chain": np.arange(drawn.chains), "draw": np.arange(drawn.draws)}
    arrays: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    if design.fixed_terms:
        arrays["b"] = ((*at, "population_term"), drawn.b)
        coords["population_term"] = _labels(design.fixed_terms)
    arrays |= {} if drawn.sigma is None else {"sigma": (at, drawn.sigma)}
    arrays |= {name: (at, values) for name, values in drawn.others.items()}
    for k, (name, block) in enumerate(zip(names, design.blocks, strict=True)):
        term, levels = f"{name}_term", group_dim(block.group)
        coords[term] = _labels(block.terms)
        arrays[f"sd_{name}"] = ((*at, term), drawn.sd[k])
        if len(block.terms) > 1:
            coords[f"{term}_bis"] = coords[term]
            arrays[f"cor_{name}"] = ((*at, term, f"{term}_bis"), drawn.correlation[k])
        groups[f"effect_{name}"] = ((*at, levels, term), drawn.effects[k])
        groups[f"coefficient_{name}"] = ((*at, levels, term), drawn.coefficients(design)[k])
    of_groups = {group_dim(block.group): _labels(list(block.levels)) for block in design.blocks}
    of_groups |= {key: value for key, value in coords.items() if key.endswith("_term")}
    nodes: dict[str, Any] = {}
    if drawn.every == 1:
        nodes["posterior"] = xr.Dataset(arrays | groups, coords | of_groups)
    else:
        nodes["posterior"] = xr.Dataset(arrays, coords)
        kept = {"chain": coords["chain"], "draw": coords["draw"][:: drawn.every]}
        nodes["group_effects"] = xr.Dataset(groups, kept | of_groups)
    if drawn.stats:
        stats = {key: (at, np.asarray(value)) for key, value in drawn.stats.items()}
        nodes["sample_stats"] = xr.Dataset(stats, {key: coords[key] for key in at})
    nodes["observed_data"] = xr.Dataset({"y": ("row", np.asarray(design.y))}, {"row": np.arange(design.n)})
    return xr.DataTree.from_dict(nodes)


def _labels(names: Any) -> NDArray[Any]:
    return np.asarray(list(names), dtype=object)

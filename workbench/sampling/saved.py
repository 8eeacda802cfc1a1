"""Draws in a file, and what shows on reading that they still are draws of the posterior at hand.

A file is NetCDF (HDF5), an ArviZ tree of ``posterior``, ``sample_stats`` and, of thinned draws, ``group_effects``:
what :func:`arviz.from_netcdf` reads. Everything else in the tree of a fit is computed of these
(:mod:`workbench.sampling.tree`) and not saved. Its attributes hold the formula, the fingerprint of the data, the
priors, and the log of the joint density (:func:`workbench.sampling.plain_density.log_joint`) at the first and the last
draw of every chain. Reading computes the density anew from the design and priors given: it comes out the same only if
data, priors, draws and the density's definition are those that were saved.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DataError
from workbench.fingerprint import design_hash
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.sampling.draws import Draws
from workbench.sampling.names import block_names
from workbench.sampling.plain_density import log_joint
from workbench.sampling.tree import Sampled, posterior_nodes, sampled_of

if TYPE_CHECKING:
    from workbench.fit import Fit

Array = NDArray[np.float64]

SCHEMA = 1
TOLERANCE = 1e-8
"""How far a log density may come out elsewhere, relative to its size: rounding differs between machines."""
MOST_EFFECTS = 5_000_000
"""Group effects that are saved at the most (40 MB); of more, those of every k-th draw."""


def save_draws(fit: Fit, path: str | Path) -> Path:
    """Save the draws of a fit to a NetCDF file, whole or not at all; an earlier file is replaced.

    Parameters
    ----------
    fit : Fit
    path : path
        Usually ending in ``.nc``.

    Raises
    ------
    OptionError
        The fit has no draws.
    DataError
        The place cannot be written to.
    """
    sampled = sampled_of(fit)
    place = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{place.name[:32]}.", suffix=".partial", dir=place.parent) as folder:
            whole = Path(folder) / "draws.nc"
            _write(sampled, fit.estimator, whole)
            whole.replace(place)
    except OSError as error:
        raise DataError(
            f"The draws cannot be saved to {path} ({error.strerror or error}). Name another place."
        ) from error
    return place


def load_draws(path: str | Path, design: Design, priors: Mapping[str, Prior | str] | None = None) -> Sampled:
    """Read saved draws, and check that they are of the design and priors given.

    Parameters
    ----------
    path : path
    design : Design
        Of the data that were fitted; any fit of them has it as ``fit.design``.
    priors : mapping of str to Prior or str, optional
        As they were given to the fit; those in the file where left out.

    Returns
    -------
    Sampled
        With the whole tree as ``.tree``.

    Raises
    ------
    DataError
        No such file, or none of ours; other data, other priors; a log density that comes out differently.
    """
    tree = _read(Path(path))
    attrs = tree.attrs
    if attrs["design_sha256"] != design_hash(design):
        raise DataError(
            f"{path} holds draws for other data or another model than those given: they were drawn for "
            f"{attrs['formula']} and {attrs['n']:,} rows, given are {design.formula} and {design.n:,} rows. Give the "
            "data as they were fitted, or fit anew."
        )
    saved = json.loads(attrs["priors"])
    resolved = dict(resolve_priors(design, saved if priors is None else priors, robust="nu" in saved))
    for name in {**saved, **resolved}:
        if saved.get(name) != (now := str(resolved[name]) if name in resolved else None):
            raise DataError(
                f"{path} holds draws under another prior of {name}: {saved.get(name, 'none')} there, {now or 'none'} "
                "here. Give the priors that were fitted, or fit anew."
            )
    sampled = Sampled(design, _draws_of(tree, design), resolved, int(attrs["seed"]))
    before, now_at = np.atleast_1d(attrs["log_density"]), stored_density(sampled)
    wrong = np.flatnonzero(~(np.abs(now_at - before) <= TOLERANCE * np.maximum(1.0, np.abs(before))))
    if len(wrong):
        k = wrong[0]
        raise DataError(
            f"{path} holds draws whose log posterior density was {before[k]:.10g} when they were saved (workbench "
            f"{attrs['workbench']}) and is {now_at[k]:.10g} now, at the {'last' if k % 2 else 'first'} draw of chain "
            f"{k // 2 + 1}: the file was changed, or the model is another in this version. Fit anew."
        )
    return sampled


def stored_density(sampled: Sampled) -> Array:
    """Log joint density at the first and the last draw of every chain that has effects, shape (2 C,)."""
    at = sampled.drawn.at_effects()
    ends = [0, at.draws - 1]
    found = log_joint(
        sampled.design,
        sampled.priors,
        at.b[:, ends],
        None if at.sigma is None else at.sigma[:, ends],
        tuple(part[:, ends] for part in at.sd),
        tuple(part[:, ends] for part in at.correlation),
        tuple(part[:, ends] for part in at.effects),
        at.others["nu"][:, ends] if "nu" in at.others else None,
    )
    return found.ravel()


# --- the file -----------------------------------------------------------------------------------------


def _write(sampled: Sampled, estimator: str, path: Path) -> None:
    import xarray as xr

    import workbench

    sampled = _thinned(sampled)
    nodes = posterior_nodes(sampled.design, sampled.drawn)
    for name in set(nodes) & {"posterior", "group_effects"}:
        whole = nodes[name]
        nodes[name] = whole.drop_vars([v for v in whole.data_vars if str(v).startswith("coefficient_")])
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs |= {
        "schema": SCHEMA,
        "made_by": "shrinkage-workbench",
        "workbench": workbench.__version__,
        "estimator": estimator,
        "formula": str(sampled.design.formula),
        "family": sampled.design.family,
        "n": sampled.design.n,
        "design_sha256": design_hash(sampled.design),
        "priors": json.dumps({name: str(prior) for name, prior in sampled.priors.items()}),
        "seed": sampled.seed,
        "every": sampled.drawn.every,
        "log_density": stored_density(sampled),
    }
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding = {f"/{name}": dict.fromkeys(node.data_vars, packed) for name, node in nodes.items()}
    tree.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def _thinned(sampled: Sampled) -> Sampled:
    """With the effects of fewer draws, where they are very many."""
    from dataclasses import replace

    drawn = sampled.drawn
    step = -(-sum(part.size for part in drawn.effects) // MOST_EFFECTS)
    if step <= 1:
        return sampled
    effects = tuple(part[:, ::step] for part in drawn.effects)
    return replace(sampled, drawn=replace(drawn, effects=effects, every=drawn.every * step))


def _read(path: Path) -> Any:
    import xarray as xr

    if not path.is_file():
        raise DataError(f"There is no file {path} to read draws from. Name one that save_draws or a report wrote.")
    try:
        tree = xr.load_datatree(path, engine="h5netcdf", phony_dims="access")  # other files have no dims
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a NetCDF file of draws ({error}).") from error
    if tree.attrs.get("made_by") != "shrinkage-workbench" or "log_density" not in tree.attrs:
        raise DataError(
            f"{path} holds no draws of ours: its log density was not saved. ArviZ may read it all the same."
        )
    if tree.attrs["schema"] != SCHEMA:
        raise DataError(f"{path} is of a schema that is not known here; this version reads schema {SCHEMA}.")
    return tree


def _draws_of(tree: Any, design: Design) -> Draws:
    """The arrays of a saved tree."""
    posterior = tree["posterior"]
    of_groups = tree["group_effects"] if "group_effects" in tree.children else posterior
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    names = block_names(design)
    stats = tree["sample_stats"].data_vars if "sample_stats" in tree.children else {}
    return Draws(
        b=posterior["b"].values if design.fixed_terms else np.empty((*shape, 0)),
        sigma=posterior["sigma"].values if "sigma" in posterior else None,
        sd=tuple(posterior[f"sd_{name}"].values for name in names),
        correlation=tuple(
            posterior[f"cor_{name}"].values if f"cor_{name}" in posterior else np.ones((*shape, 1, 1)) for name in names
        ),
        effects=tuple(of_groups[f"effect_{name}"].values for name in names),
        every=int(tree.attrs["every"]),
        others={name: posterior[name].values for name in ("nu",) if name in posterior},
        stats={str(name): values.values for name, values in stats.items()},
    )

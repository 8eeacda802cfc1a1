"""What the variables of a posterior are draws of, told by their names.

===========  =========================================  ======================================================
written by   effects                                    population, spreads
===========  =========================================  ======================================================
workbench    ``effect_Subject`` (Subject, Subject_term)  ``b`` (population_term), ``sd_Subject``, ``cor_Subject``
bambi        ``1|Subject``, ``Days|Subject``             ``Intercept``, ``Days``, ``1|Subject_sigma``, ``sigma``
brms         ``r_Subject[308,Intercept]``                ``b_Intercept``, ``sd_Subject__Intercept``,
                                                         ``cor_Subject__Intercept__Days``, ``sigma``
rstanarm     ``b[(Intercept) Subject:308]``              ``(Intercept)``, ``Sigma[Subject:(Intercept),Days]``
===========  =========================================  ======================================================

bambi centres its columns while it samples and puts the intercept back before it hands out the posterior: ``Intercept``
there is the population value where all columns are zero, as everywhere in the workbench. So is brms's ``b_Intercept``;
its ``Intercept`` is the centred one, and not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.drawn import Drawn, OfLevels
from workbench.adapters.labels import term_label

Array = NDArray[np.float64]

AUXILIARY = (
    "sigma",
    "nu",
    "alpha",
    "kappa",
    "phi",
    "shape",
    "lp__",
    "lprior",
    "log-posterior",
    "mean_PPD",
    "Intercept",
)
"""Scalars that are no population coefficients, of whoever names these with a prefix."""
BRMS = re.compile(r"r_(.+?)\[(.*),([^,\]]+)\]")
RSTANARM = re.compile(r"b\[(.+) ([^ ]+?):([^\]]*)\]")
SIGMA = re.compile(r"Sigma\[(.+?):(.+),([^,]+)\]")


def recognised(posterior: Any, effects: Any | None = None) -> Drawn | None:
    """What a posterior (xarray.Dataset) holds; None where its names are nobody's that is known here.

    `effects` are those of our own trees that keep group effects of some draws only.
    """
    names = [str(name) for name in posterior.data_vars]
    if effects is not None or any(name.startswith("effect_") for name in names):
        return _ours(posterior, posterior if effects is None else effects)
    for mark, read in (
        (lambda name: "|" in name and not name.endswith(("_sigma", "_offset")), _bambi),
        (lambda name: BRMS.fullmatch(name) is not None, _brms),
        (lambda name: RSTANARM.fullmatch(name) is not None, _rstanarm),
    ):  # fmt: skip
        if any(mark(name) for name in names):
            return read(posterior)
    return None


def values_of(variable: Any) -> Array:
    """The draws of a variable, chains and draws first; of a single chain too."""
    if "chain" not in variable.dims:
        variable = variable.expand_dims("chain")
    return np.asarray(variable.transpose("chain", "draw", ...).values, dtype=np.float64)


def inner_dims(variable: Any) -> list[str]:
    """The dims of a variable besides chain and draw."""
    return [str(dim) for dim in variable.dims if dim not in ("chain", "draw")]


def labels_of(variable: Any, dim: str) -> list[Any]:
    """The labels along a dim."""
    found: list[Any] = np.asarray(variable[dim].values).tolist()
    return found


# --- ours ---------------------------------------------------------------------------------------------


def _ours(posterior: Any, of_groups: Any) -> Drawn:
    """A tree of :mod:`workbench.sampling.tree`."""
    population: dict[str, Array] = {}
    if "b" in posterior:
        drawn = values_of(posterior["b"])
        population = {str(t): drawn[..., k] for k, t in enumerate(labels_of(posterior["b"], "population_term"))}
    effects: dict[tuple[str, str], OfLevels] = {}
    sd: dict[tuple[str, str], Array] = {}
    correlation: dict[tuple[str, str, str], Array] = {}
    for variable in (of_groups[name] for name in of_groups.data_vars if str(name).startswith("effect_")):
        own, (levels, dim) = str(variable.name).removeprefix("effect_"), inner_dims(variable)
        group, terms, drawn = levels.removesuffix("_group"), labels_of(variable, dim), values_of(variable)
        for k, term in enumerate(terms):
            effects[group, term] = OfLevels(labels_of(variable, levels), drawn[..., k])
            sd[group, term] = values_of(posterior[f"sd_{own}"])[..., k]
        if f"cor_{own}" in posterior:
            whole = values_of(posterior[f"cor_{own}"])
            for a, b in zip(*np.triu_indices(len(terms), 1), strict=True):
                correlation[group, terms[a], terms[b]] = whole[..., a, b]
    kept = None
    if of_groups is not posterior:
        kept = np.flatnonzero(np.isin(posterior["draw"].values, of_groups["draw"].values))
    return Drawn(
        population, effects, {}, sd, correlation, _scalar(posterior, "sigma"),
        {name: values_of(posterior[name]) for name in ("nu",) if name in posterior}, kept=kept,
    )  # fmt: skip


def _scalar(posterior: Any, *names: str) -> Array | None:
    return next((values_of(posterior[n]) for n in names if n in posterior and not inner_dims(posterior[n])), None)


# --- bambi --------------------------------------------------------------------------------------------


def _bambi(posterior: Any) -> Drawn:
    """Bambi's names: terms as in its formula, categorical ones with a dim of their levels."""
    names = [str(name) for name in posterior.data_vars]
    effects: dict[tuple[str, str], OfLevels] = {}
    sd: dict[tuple[str, str], Array] = {}
    population: dict[str, Array] = {}
    residual = [name for name in names if name == "sigma" or (name.endswith("_sigma") and "|" not in name)]
    for name in names:
        variable, dims = posterior[name], inner_dims(posterior[name])
        if "|" in name and not name.endswith("_offset"):
            spread = name.endswith("_sigma")
            expression, _, group = name.removesuffix("_sigma").rpartition("|")
            by_level = [] if spread else dims[-1:] if dims[-1:] and dims[-1].endswith("factor_dim") else dims[:1]
            for term, values in _columns(expression, variable, [dim for dim in dims if dim not in by_level]):
                if spread:
                    sd[group, term] = values
                else:
                    effects[group, term] = OfLevels(labels_of(variable, by_level[0]), values)
        elif name not in (*residual, *AUXILIARY[1:-1]) and not any(dim == "__obs__" for dim in dims):
            population |= dict(_columns(name, variable, dims))
    return Drawn(population, effects, {}, sd, {}, _scalar(posterior, *residual))


def _columns(name: str, variable: Any, dims: list[str]) -> Iterable[tuple[str, Array]]:
    """The columns of a term, one for every label of its own dim; dims of levels come last."""
    if not dims:
        yield term_label(name) if ":" not in name else name, values_of(variable)
        return
    ordered = variable.transpose(*(dim for dim in variable.dims if dim not in dims), *dims)
    drawn = values_of(ordered)
    labels = labels_of(variable, dims[0]) if len(dims) == 1 else None
    for k in range(drawn.shape[-1]):
        label = k if labels is None else labels[k]
        yield contrast(name, str(label)), drawn[..., k]


def contrast(name: str, label: str) -> str:
    """R's name of a column of a categorical term.

    Examples
    --------
    >>> contrast("recipe", "B"), contrast("a:b", "x, y"), contrast("temp:recipe", "B")
    ('recipeB', 'ax:by', 'temp:recipeB')
    """
    parts, labels = name.split(":"), label.split(", ")
    if len(labels) > len(parts):
        labels = [label]
    first = len(parts) - len(labels)
    return ":".join(part + (labels[k - first] if k >= first else "") for k, part in enumerate(parts))


# --- brms and rstanarm --------------------------------------------------------------------------------


def _brms(posterior: Any) -> Drawn:
    scalars = {str(n): values_of(posterior[n]) for n in posterior.data_vars if not inner_dims(posterior[n])}
    found = [(BRMS.fullmatch(name), values) for name, values in scalars.items()]
    rows = [(m[1], term_label(m[3]), m[2], values) for m, values in found if m is not None]
    sd: dict[tuple[str, str], Array] = {}
    correlation: dict[tuple[str, str, str], Array] = {}
    for name, values in scalars.items():
        kind, _, rest = name.partition("_")
        parts = rest.split("__")
        if kind == "sd" and len(parts) == 2:
            sd[parts[0], term_label(parts[1])] = values
        elif kind == "cor" and len(parts) == 3:
            correlation[parts[0], term_label(parts[1]), term_label(parts[2])] = values
    population = {name.removeprefix("b_"): v for name, v in scalars.items() if name.startswith("b_")}
    population = {term_label(name) if ":" not in name else name: v for name, v in population.items()}
    return Drawn(population, _by_level(rows), {}, sd, correlation, scalars.get("sigma"))


def _rstanarm(posterior: Any) -> Drawn:
    scalars = {str(n): values_of(posterior[n]) for n in posterior.data_vars if not inner_dims(posterior[n])}
    rows, population = [], {}
    covariance: dict[tuple[str, str, str], Array] = {}
    for name, values in scalars.items():
        effect, entry = RSTANARM.fullmatch(name), SIGMA.fullmatch(name)
        if effect is not None:
            if not effect[3].startswith("_NEW_"):
                rows.append((effect[2], effect[1], effect[3], values))
        elif entry is not None:
            covariance[entry[1], entry[2], entry[3]] = values
        elif name not in AUXILIARY:
            population[name] = values
    sd = {(group, one): np.sqrt(values) for (group, one, other), values in covariance.items() if one == other}
    order = [term for _, term in sd]
    correlation = {}
    for (group, one, other), values in covariance.items():
        if one != other:
            first, second = sorted((one, other), key=order.index)
            correlation[group, first, second] = values / sd[group, one] / sd[group, other]
    return Drawn(population, _by_level(rows), {}, sd, correlation, scalars.get("sigma"))


def _by_level(rows: Iterable[tuple[str, str, str, Array]]) -> Mapping[tuple[str, str], OfLevels]:
    """Scalars (group, term, level, draws), gathered by group and term."""
    found: dict[tuple[str, str], list[tuple[str, Array]]] = {}
    for group, term, level, values in rows:
        found.setdefault((group, term), []).append((level, values))
    return {
        key: OfLevels([level for level, _ in own], np.stack([values for _, values in own], axis=-1))
        for key, own in found.items()
    }

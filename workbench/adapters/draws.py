"""An ArviZ posterior -> :class:`~workbench.adapters.foreign.Foreign`.

Trees of ArviZ 1 (xarray.DataTree), InferenceData of earlier ones, an xarray.Dataset of draws, or a NetCDF file. Names
that the workbench, bambi, brms and rstanarm give are known (:mod:`workbench.adapters.draw_names`); of other models the
user says what is what:

    variables={"population": {"(Intercept)": "mu"}, "effects": "a", "sd": "tau", "sigma": "sigma"}

==================  ==============================================================================================
key                 value
==================  ==============================================================================================
``population``      a variable whose labels are the terms, or a mapping of term to a scalar variable
``effects``         deviations from the population values: a variable with a dim of levels (and one of terms), or a
                    mapping of term or group to such a variable, or of group to term to variable
``coefficients``    population value + deviation, the same ways
``sd``              a scalar variable, or one with a dim of terms, or mappings as above
``sigma``           the residual SD, a scalar variable
==================  ==============================================================================================

The dim of levels is known by its labels, which must be the data's: positions are not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.draw_names import inner_dims, labels_of, recognised, values_of
from workbench.adapters.drawn import Drawn, OfLevels, summarised
from workbench.adapters.foreign import Foreign
from workbench.adapters.labels import level_places, term_label
from workbench.errors import ComparisonError, DataError, OptionError, nearest
from workbench.words import join

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]

FILES = (".nc", ".nc4", ".netcdf", ".h5", ".hdf5")
KEYS = ("population", "effects", "coefficients", "sd", "sigma")


def is_posterior(source: Any) -> bool:
    """Whether this is a tree or a dataset of draws, or a file of one, by its type or ending."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in FILES
    home = type(source).__module__
    return home.startswith(("xarray", "arviz")) or hasattr(source, "posterior")


def read_draws(
    source: Any, design: Design, level: float = 0.95, variables: Mapping[str, Any] | None = None, called: str = ""
) -> Foreign:
    """Read a posterior.

    Parameters
    ----------
    source : DataTree, InferenceData, Dataset, or path to a NetCDF file
    design : Design
        Whose labels tell which dim is that of levels.
    level : float
        Probability of the equal-tailed intervals.
    variables : mapping, optional
        Which variables are what (the module's table); by default their names tell.
    called : str
        What the source is called in messages.

    Raises
    ------
    DataError
        No such file, or none of draws.
    ComparisonError
        Names that tell nothing, a dim without the labels of the data.
    OptionError
        A key or variable that is not there.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> rng = np.random.default_rng(1)
    >>> mu, a = rng.normal(2.5, 1, (4, 500)), rng.normal([1, -1], 0.1, (4, 500, 2))
    >>> dims = ("chain", "draw")
    >>> data = xr.Dataset({"mu": (dims, mu), "a": ((*dims, "g"), a)}, {"g": ["b", "a"]})
    >>> found = read_draws(data, design, variables={"population": {"(Intercept)": "mu"}, "effects": "a"})
    >>> [(rows.effect, rows.levels, rows.values.estimate.round(1).tolist()) for rows in found.groups]
    [('ran_vals', ['b', 'a'], [1.0, -1.0]), ('ran_coefs', ['b', 'a'], [3.5, 1.5])]
    """
    name = called or (Path(source).name if isinstance(source, str | Path) else "the posterior given")
    if isinstance(source, str | Path):
        source = _opened(Path(source))
    posterior, effects, stats = _parts(source)
    _refuse_other_response(_node(source, "observed_data"), design, name)
    if variables is None:
        drawn = recognised(posterior, effects)
        if drawn is None:
            known = join([str(v) for v in posterior.data_vars][:12]) or "nothing"
            raise ComparisonError(
                f"The variables of {name} ({known}) do not tell which are group effects. Say so: "
                'variables={"population": {"(Intercept)": ...}, "effects": ..., "sd": ..., "sigma": ...}.'
            )
    else:
        drawn = _told(posterior, variables, design, name)
    if not drawn.effects and not drawn.coefficients:
        raise ComparisonError(f"{name} holds no group effects or coefficients. Say which variables are these.")
    from dataclasses import replace

    return summarised(replace(drawn, stats=stats), name, design, level)


# --- trees, datasets, files ---------------------------------------------------------------------------


def _parts(source: Any) -> tuple[Any, Any | None, dict[str, Array]]:
    """The posterior, our group effects of some draws, and what the sampler says, as far as they are there."""
    posterior = _node(source, "posterior")
    if posterior is None:
        posterior = source.to_dataset() if hasattr(source, "to_dataset") else source
    if "draw" not in getattr(posterior, "dims", ()):
        raise DataError(
            "There is no posterior with a dim draw in what was given. Give the tree or dataset that sampling returned, "
            "with dims chain and draw."
        )
    effects, sampler = _node(source, "group_effects"), _node(source, "sample_stats")
    names = ("diverging", "energy", "tree_depth", "reached_max_treedepth")
    stats = {} if sampler is None else {name: values_of(sampler[name]) for name in names if name in sampler}
    return posterior, effects, stats


def _refuse_other_response(observed: Any | None, design: Design, source: str) -> None:
    """Refuse draws whose tree holds another response than the design's; of shares, counts may stand there instead."""
    variables = [] if observed is None else [observed[name] for name in observed.data_vars]
    if len(variables) != 1 or variables[0].ndim != 1 or design.family == "binomial":
        return
    theirs = np.asarray(variables[0].values, dtype=float)
    if len(theirs) != design.n:
        raise ComparisonError(
            f"{source} is of {len(theirs):,} rows, the comparison of {design.n:,}. Fit both to the same rows."
        )
    if not np.allclose(np.sort(theirs), np.sort(design.y), rtol=1e-6, atol=0.0, equal_nan=True):
        raise ComparisonError(
            f"{source} observed other values of {design.response} than the comparison has (means {theirs.mean():.6g} "
            f"and {design.y.mean():.6g}). Fit both to the same response."
        )


def _node(source: Any, name: str) -> Any | None:
    """A group of a tree as a dataset, or None: of DataTrees by key, of InferenceData as an attribute."""
    children = getattr(source, "children", None)
    if children is not None:
        return children[name].to_dataset() if name in children else None
    found: Any = None if hasattr(source, "data_vars") else getattr(source, name, None)
    return found.to_dataset() if hasattr(found, "to_dataset") else found


def _opened(path: Path) -> Any:
    import xarray as xr

    if not path.is_file():
        raise DataError(f"There is no file {path} to read draws from. Check the path.")
    try:
        return xr.load_datatree(path, engine="h5netcdf", phony_dims="access")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a NetCDF file of draws ({error}).") from error


# --- what the user says -------------------------------------------------------------------------------


def _told(posterior: Any, variables: Mapping[str, Any], design: Design, source: str) -> Drawn:
    """Draws by the mapping of the module's table."""
    if not isinstance(variables, Mapping):
        raise OptionError(f'variables is {variables!r}, but must be a mapping such as {{"effects": "a"}}.')
    for key in variables:
        if key not in KEYS:
            raise OptionError(f"variables has no key {key!r}. {nearest(str(key), KEYS)}")
    population: dict[str, Array] = {}
    given = variables.get("population", {})
    if isinstance(given, Mapping):
        population = {term: values_of(_variable(posterior, name, source)) for term, name in given.items()}
    else:
        variable = _variable(posterior, given, source)
        for term, values in _terms_of(variable, inner_dims(variable), design.fixed_terms, source):
            population[term] = values
    of_levels = {
        key: dict(_of_levels(posterior, variables[key], design, source)) if key in variables else {}
        for key in ("effects", "coefficients")
    }
    sd: dict[tuple[str, str], Array] = {}
    for group, terms, name in _by_group(variables.get("sd", {}), design):
        variable = _variable(posterior, name, source)
        sd |= {(group, term): v for term, v in _terms_of(variable, inner_dims(variable), terms, source)}
    sigma = variables.get("sigma")
    return Drawn(
        population, of_levels["effects"], of_levels["coefficients"], sd, {},
        None if sigma is None else values_of(_variable(posterior, sigma, source)),
    )  # fmt: skip


def _variable(posterior: Any, name: Any, source: str) -> Any:
    if name not in posterior.data_vars:
        raise OptionError(f"{source} has no variable {name!r}. {nearest(str(name), map(str, posterior.data_vars))}")
    return posterior[name]


def _by_group(given: Any, design: Design) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Group, terms and variable, of a name or of mappings by group, by term, or by both."""
    terms = {
        group: tuple(term for block in design.blocks if block.group == group for term in block.terms)
        for group in design.groups
    }
    if not isinstance(given, Mapping):
        given = dict.fromkeys(terms, given) if len(terms) == 1 else {None: given}
    for key, value in given.items():
        groups = [key] if key in terms else [g for g, own in terms.items() if term_label(key) in map(term_label, own)]
        if len(groups) != 1:
            raise OptionError(
                f"variables names {key!r}, which is no grouping factor and no term of just one. Give a mapping by "
                f"group: {join(list(terms))}."
            )
        own = terms[groups[0]] if key in terms else (key,)
        for term, name in value.items() if isinstance(value, Mapping) else ((None, value),):
            yield groups[0], own if term is None else (term,), name


def _of_levels(posterior: Any, given: Any, design: Design, source: str) -> Iterator[tuple[tuple[str, str], OfLevels]]:
    for group, terms, name in _by_group(given, design):
        variable = _variable(posterior, name, source)
        dim = _level_dim(variable, group, design, source)
        rest = [other for other in inner_dims(variable) if other != dim]
        labels = labels_of(variable, dim)
        for term, values in _terms_of(variable.transpose(..., dim, *rest), rest, terms, source):
            yield (group, term), OfLevels(labels, values)


def _level_dim(variable: Any, group: str, design: Design, source: str) -> str:
    """The dim that holds the levels of a grouping factor: the one with their labels."""
    levels = next(block.levels for block in design.blocks if block.group == group)
    dims = inner_dims(variable)
    for dim in dims:
        if dim in variable.coords and max(level_places(labels_of(variable, dim), levels), default=-1) >= 0:
            return dim
    sizes = ", ".join(f"{dim} ({variable.sizes[dim]})" for dim in dims) or "none"
    raise ComparisonError(
        f"No dim of {variable.name} in {source} is labelled with the levels of {group}, such as {levels[0]}; it has "
        f"{sizes}. Label them: posterior.assign_coords({dims[0] if dims else 'dim'}=[...]), in the order of the model."
    )


def _terms_of(variable: Any, dims: list[str], terms: tuple[str, ...], source: str) -> Iterator[tuple[str, Array]]:
    """The columns of a variable along its dim of terms, or all of it for one term."""
    drawn = values_of(variable)
    if not dims and len(terms) == 1:
        yield terms[0], drawn
        return
    if len(dims) != 1 or dims[0] not in variable.coords:
        raise ComparisonError(
            f"{variable.name} in {source} is for {join(list(terms))}, but has {join(dims) or 'no dim'} besides the "
            "levels: one dim labelled with the terms is needed, or a variable for each term."
        )
    for k, term in enumerate(labels_of(variable, dims[0])):
        yield str(term), drawn[..., k]

"""Draws with what they are draws of, and the ArviZ tree made of them.

=======================  ==================================================================  =======================
group                    variables                                                           dims, after chain, draw
=======================  ==================================================================  =======================
``posterior``            ``b``, ``sigma``, ``sd_Subject``, ``cor_Subject``                   population_term; none;
                         ``effect_Subject``, ``coefficient_Subject``                         Subject, Subject_term
``group_effects``        the latter two, where they are kept of some draws only              the same
``sample_stats``         what a sampler says of its draws                                    none
``log_likelihood``       ``y``, given the group effects                                      row
``posterior_predictive`` ``y``, a response drawn for every row                               row
``log_prior``            the log prior density of ``b``, ``sigma``, ``sd_...``, ``cor_...``  as there; of ``cor`` none
``prior``                as ``posterior``, drawn from the priors                             the same
``prior_predictive``     ``y``                                                               row
``observed_data``        ``y`` (of a binomial response shares)                               row, no draws
``constant_data``        ``X``, ``Z_Subject``, ``code_Subject``, ``weights``, ``offset``     row, no draws
=======================  ==================================================================  =======================

Names are those of :mod:`workbench.sampling.names`. Rows times draws may be many: ``log_likelihood`` and
``posterior_predictive`` then hold every k-th draw, or are left out, and the attribute ``kept`` of the group, or
``left_out`` of the tree, says so. All of it is computed in numpy when the tree is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, PriorError
from workbench.priors import Prior
from workbench.sampling.draws import Draws
from workbench.sampling.names import block_names, group_dim
from workbench.sampling.plain_density import log_priors_of
from workbench.sampling.predictive import LEAST, LIMIT, PRIOR_DRAWS, log_likelihood, predicted, prior_draws, step_for

if TYPE_CHECKING:
    from workbench.fit import Fit

AT = ("chain", "draw")


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws, the design and the resolved priors that they are of, and the seed of what is drawn besides."""

    design: Design
    drawn: Draws
    priors: Mapping[str, Prior]
    seed: int = 0

    @cached_property
    def _nodes(self) -> dict[str, Any]:
        return posterior_nodes(self.design, self.drawn)

    @property
    def posterior(self) -> Any:
        """The group ``posterior`` (xarray.Dataset), without the cost of the others."""
        return self._nodes["posterior"]

    @cached_property
    def tree(self) -> Any:
        """The ArviZ tree (xarray.DataTree) of the module's table."""
        import xarray as xr

        design, drawn = self.design, self.drawn
        left_out: list[str] = []
        nodes = {**self._nodes}
        nodes["log_prior"] = _dataset(design, drawn, log_priors_of(design, self.priors, drawn))
        nodes |= self._rows(left_out)
        nodes |= self._prior(left_out)
        nodes["observed_data"] = xr.Dataset({"y": ("row", np.asarray(design.y))}, {"row": np.arange(design.n)})
        nodes["constant_data"] = constant_data(design)
        tree = xr.DataTree.from_dict(nodes)
        tree.attrs |= {"formula": str(design.formula), "family": design.family, "link": design.link}
        tree.attrs |= {"left_out": " ".join(left_out)} if left_out else {}
        return tree

    def _rows(self, left_out: list[str]) -> dict[str, Any]:
        """log_likelihood and posterior_predictive, of as many draws as there is room for."""
        design, step = self.design, step_for(self.drawn, self.design.n)
        if step is None:
            left_out.append(
                f"log_likelihood and posterior_predictive: of {design.n:,} rows at least {LEAST} draws each would be "
                f"more than {LIMIT:,} numbers."
            )
            return {}
        each, some = self.drawn.every * step, self.drawn.at_effects(step)
        made = {
            "log_likelihood": log_likelihood(design, some),
            "posterior_predictive": predicted(design, some, np.random.default_rng([self.seed, 1])),
        }
        where = {"chain": np.arange(some.chains), "draw": np.arange(0, self.drawn.draws, each)}
        return {name: _of_rows(values, where, _kept(each)) for name, values in made.items()}

    def _prior(self, left_out: list[str]) -> dict[str, Any]:
        """prior and prior_predictive, of fewer draws where groups or rows are many."""
        design = self.design
        effects = sum(len(block.levels) * len(block.terms) for block in design.blocks)
        draws = min(PRIOR_DRAWS, LIMIT // max(design.n, effects, 1))
        if draws < LEAST:
            left_out.append(f"prior and prior_predictive: {LEAST} draws would be more than {LIMIT:,} numbers.")
            return {}
        rng = np.random.default_rng([self.seed, 2])
        try:
            drawn = prior_draws(design, self.priors, rng, draws)
        except PriorError as error:
            left_out.append(f"prior and prior_predictive: {error}")
            return {}
        where = {"chain": np.arange(1), "draw": np.arange(draws)}
        return {
            "prior": posterior_nodes(design, drawn)["posterior"],
            "prior_predictive": _of_rows(predicted(design, drawn, rng), where, _kept(1)),
        }


def sampled_of(fit: Fit | Sampled) -> Sampled:
    """The draws of a fit, or loaded ones; a fit without any is an OptionError."""
    if isinstance(fit, Sampled):
        return fit
    if fit.sampled is None:
        raise OptionError(
            f"The {fit.estimator} fit has no draws, which this is computed from. Use hierarchical, or exact with "
            'options={"draws": 1000}.'
        )
    found: Sampled = fit.sampled
    return found


def posterior_nodes(design: Design, drawn: Draws) -> dict[str, Any]:
    """The groups ``posterior``, ``group_effects`` and ``sample_stats``, as far as there are such draws."""
    import xarray as xr

    arrays: dict[str, Any] = {} if not design.fixed_terms else {"b": drawn.b}
    arrays |= {} if drawn.sigma is None else {"sigma": drawn.sigma}
    arrays |= drawn.others
    of_groups: dict[str, Any] = {}
    coefficients = drawn.coefficients(design)
    for k, (name, block) in enumerate(zip(block_names(design), design.blocks, strict=True)):
        arrays[f"sd_{name}"] = drawn.sd[k]
        if len(block.terms) > 1:
            arrays[f"cor_{name}"] = drawn.correlation[k]
        of_groups |= {f"effect_{name}": drawn.effects[k], f"coefficient_{name}": coefficients[k]}
    nodes: dict[str, Any] = {}
    if drawn.every == 1:
        nodes["posterior"] = _dataset(design, drawn, arrays | of_groups)
    else:
        nodes["posterior"] = _dataset(design, drawn, arrays)
        nodes["group_effects"] = _dataset(design, drawn, of_groups, drawn.every)
        nodes["group_effects"].attrs |= _kept(drawn.every)
    if drawn.stats:
        stats = {key: (AT, np.asarray(value)) for key, value in drawn.stats.items()}
        nodes["sample_stats"] = xr.Dataset(stats, _draws(drawn))
    return nodes


def constant_data(design: Design) -> Any:
    """What the model conditions on, row by row (xarray.Dataset); the codes number the levels from 0."""
    import xarray as xr

    coords: dict[str, Any] = {"row": np.arange(design.n)}
    arrays: dict[str, Any] = {}
    if design.fixed_terms:
        coords["population_term"] = _labels(design.fixed_terms)
        arrays["X"] = (("row", "population_term"), design.X)
    for name, block in zip(block_names(design), design.blocks, strict=True):
        coords[f"{name}_term"] = _labels(block.terms)
        arrays[f"Z_{name}"] = (("row", f"{name}_term"), block.Z)
        arrays[f"code_{name}"] = ("row", np.asarray(block.codes))
    arrays |= {"weights": ("row", design.weights), "offset": ("row", design.offset)}
    if design.formula.cbind is not None:
        arrays["trials"] = ("row", design.trials)
    return xr.Dataset(arrays, coords)


# --- parts --------------------------------------------------------------------------------------------


def _dataset(design: Design, drawn: Draws, arrays: Mapping[str, Any], each: int = 1) -> Any:
    """Named arrays (C, N, ...) with the dims and coordinates that belong to their names and shapes."""
    import xarray as xr

    coords = _draws(drawn, each)
    made = {}
    for name, values in arrays.items():
        dims, labels = _dims(design, name)
        own = dims[: values.ndim - 2]
        made[name] = ((*AT, *own), values)
        coords |= {dim: labels[dim] for dim in own}
    return xr.Dataset(made, coords)


def _dims(design: Design, name: str) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The dims of a variable, after chain and draw, and their labels."""
    if name == "b":
        return ("population_term",), {"population_term": _labels(design.fixed_terms)}
    for own, block in zip(block_names(design), design.blocks, strict=True):
        term, levels = f"{own}_term", group_dim(block.group)
        if name in (f"sd_{own}", f"cor_{own}"):
            terms = _labels(block.terms)
            return (term, f"{term}_bis"), {term: terms, f"{term}_bis": terms}
        if name in (f"effect_{own}", f"coefficient_{own}"):
            return (levels, term), {levels: _labels(block.levels), term: _labels(block.terms)}
    return (), {}


def _of_rows(values: NDArray[np.float64], where: Mapping[str, Any], attrs: Mapping[str, Any]) -> Any:
    import xarray as xr

    return xr.Dataset({"y": ((*AT, "row"), values)}, {**where, "row": np.arange(values.shape[-1])}, attrs)


def _draws(drawn: Draws, each: int = 1) -> dict[str, Any]:
    return {"chain": np.arange(drawn.chains), "draw": np.arange(0, drawn.draws, each)}


def _kept(each: int) -> dict[str, str]:
    return {"kept": "every draw" if each == 1 else f"one draw in {each:,} of each chain"}


def _labels(names: Any) -> NDArray[Any]:
    return np.asarray(list(names), dtype=object)

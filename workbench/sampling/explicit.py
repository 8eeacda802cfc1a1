"""The explicit hierarchical model in PyMC: every group effect a parameter, as in a textbook.

    eta_i = x_i'b + sum_k z_ik'u_k[g_ik] + offset_i
    u_k[j] = diag(sd_k) L_k z_k[j],     z_k[j] ~ Normal(0, I)          (non-centred)
    L_k L_k' = R_k ~ LKJ(eta_k),        b, sigma, nu, sd_k ~ stated priors (see :mod:`workbench.priors`)

===============================  ==============================================================
response                         its law
===============================  ==============================================================
gaussian                         y_i ~ Normal(eta_i, sigma / sqrt(w_i))
gaussian, with a prior on `nu`   y_i ~ StudentT(nu, eta_i, sigma / sqrt(w_i))
binomial, Poisson                as in :mod:`workbench.sampling.responses`, logit or other link
===============================  ==============================================================

The Cholesky factor L of a correlation matrix is built from canonical partial correlations, each Beta on (-1, 1),
which is the LKJ distribution (Lewandowski, Kurowicka & Joe 2009, section 2.4, doi:10.1016/j.jmva.2009.04.008) and
compiles much faster than a matrix-valued distribution.

A ``centered`` block writes c_k[j] ~ Normal(m_k[j], Sigma_k) instead, by its conditional normals, where c_k is the
effect plus its mean m_k: what else of the linear predictor is the same in all rows of a level, the population values of
the varying columns and the values of blocks that it is nested in. It mixes better where the data say much about every
group (Gelfand, Sahu & Carlin 1995, doi:10.1093/biomet/82.3.479; Papaspiliopoulos, Roberts & Skoeld 2007,
doi:10.1214/088342307000000014). What is the mean of one block enters no other; blocks of few levels come first, whose
own mean tells least about the population's. Which blocks to centre: :mod:`workbench.sampling.centring`.

What variables and dims are called is in :mod:`workbench.sampling.names`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.prior_defaults import default_priors
from workbench.priors import Prior, coefficient_name
from workbench.sampling.names import block_names, group_dim
from workbench.sampling.responses import check_sampled, log_normaliser

Array = NDArray[np.float64]


def build_model(
    design: Design, priors: Mapping[str, Prior], parametrisation: str | Sequence[str] = "noncentered"
) -> Any:
    """Write the explicit model in PyMC.

    Parameters
    ----------
    design : Design
        Gaussian, binomial or Poisson, any random blocks.
    priors : mapping of str to Prior
        Resolved (:func:`workbench.prior_defaults.resolve_priors`); with one on ``nu`` the response is Student-t.
    parametrisation : "noncentered", "centered", or one of them for every random block

    Returns
    -------
    pymc.Model
    """
    import pymc as pm
    import pytensor.tensor as pt

    check_sampled(design)
    kinds = [parametrisation] * len(design.blocks) if isinstance(parametrisation, str) else list(parametrisation)
    means = group_means(design, kinds)
    columns = {mean.column for terms in means for mean in terms}
    nested = {parent for terms in means for mean in terms for parent in mean.parents}
    coords: dict[str, Any] = {"population_term": list(design.fixed_terms), "row": np.arange(design.n)}
    for name, block in zip(block_names(design), design.blocks, strict=True):
        coords[group_dim(block.group)] = list(block.levels)
        coords[f"{name}_term"] = coords[f"{name}_term_bis"] = list(block.terms)
    with pm.Model(coords=coords) as model:
        predictor: Any = design.offset
        b = [priors[coefficient_name(term)].to_pymc(f"b[{term}]") for term in design.fixed_terms]
        if b:
            pm.Deterministic("b", pt.stack(b), dims="population_term")
        for k, coefficient in enumerate(b):
            if k not in columns:
                predictor = predictor + _times(design.X[:, k], coefficient)
        values: dict[tuple[int, int], Any] = {}
        names = block_names(design)
        for place in _by_levels(design):
            centred = [_mean_values(design, place, mean, b, values) for mean in means[place]]
            made = _group_values(names[place], design.blocks[place], priors, kinds[place] == "centered", centred)
            values |= {(place, k): value for k, value in enumerate(made)}
        for place, k in sorted(values.keys() - nested):
            block = design.blocks[place]
            predictor = predictor + _times(block.Z[:, k], values[place, k][block.codes])
        _response(design, priors, predictor)
    return model


def starts(design: Design, priors: Mapping[str, Prior], kinds: Sequence[str]) -> dict[str, Array]:
    """Where a sampler starts the values of centred blocks, by variable: near the middle of their mean's prior.

    Not at it: where all of them lie at their mean, the density has no slope by it, which samplers take for an error.
    """
    usual, means = default_priors(design), group_means(design, kinds)

    def middle(mean: Mean) -> float:
        own = 0.0 if mean.column is None else priors[coefficient_name(design.fixed_terms[mean.column])].middle
        return own + sum(middle(means[other][term]) for other, term in mean.parents)

    found = {}
    for name, block, kind, own in zip(block_names(design), design.blocks, kinds, means, strict=True):
        rng = np.random.default_rng(len(block.levels))
        for term, mean in zip(block.terms, own, strict=True):
            if kind == "centered":
                reach = 0.3 * usual[f"sd({block.group}, {term})"].values[1]
                found[f"c_{name}[{term}]"] = middle(mean) + reach * rng.uniform(-1, 1, len(block.levels))
    return found


@dataclass(frozen=True)
class Mean:
    """What a centred group value has as its mean: a column's coefficient, and the values (block, term) it nests in."""

    column: int | None = None
    parents: tuple[tuple[int, int], ...] = ()


def group_means(design: Design, kinds: Sequence[str]) -> list[tuple[Mean, ...]]:
    """By random block and varying column, the mean of the centred group values; of others it is zero."""
    means = [(Mean(),) * len(block.terms) for block in design.blocks]
    columns: set[int] = set()
    taken: set[tuple[int, int]] = set()
    for place in _by_levels(design):
        if kinds[place] != "centered":
            continue
        block = design.blocks[place]
        found = []
        for k, column in enumerate(block.fixed):
            parents = tuple(parent for parent in _nesting(design, place, k) if parent not in taken)
            found.append(Mean(None if column in columns else column, parents))
            taken |= set(parents)
        columns |= {mean.column for mean in found if mean.column is not None}
        means[place] = tuple(found)
    return means


def _by_levels(design: Design) -> list[int]:
    """The places of the random blocks, those of few levels first: a nested block comes after what it nests in."""
    return sorted(range(len(design.blocks)), key=lambda place: len(design.blocks[place].levels))


def _nesting(design: Design, place: int, k: int) -> Iterator[tuple[int, int]]:
    """The blocks and terms of fewer levels whose values are the same, and on the same column, within every level."""
    block = design.blocks[place]
    for other, wider in enumerate(design.blocks):
        if len(wider.levels) < len(block.levels) and block.terms[k] in wider.terms:
            term = wider.terms.index(block.terms[k])
            same = np.array_equal(_level_of(block, wider)[block.codes], wider.codes)
            if same and np.array_equal(wider.Z[:, term], block.Z[:, k]):
                yield other, term


def _level_of(block: RandomBlock, wider: RandomBlock) -> NDArray[np.intp]:
    """The level of a wider factor in which each level of a block is found (last), shape (J,)."""
    found = np.zeros(len(block.levels), dtype=np.intp)
    found[block.codes] = wider.codes
    return found


def _mean_values(
    design: Design, place: int, mean: Mean, b: Sequence[Any], values: Mapping[tuple[int, int], Any]
) -> Any:
    """The mean of a block's values for one varying column: zero, a number, or one for every level."""
    total: Any = 0.0 if mean.column is None else b[mean.column]
    for other, term in mean.parents:
        level = _level_of(design.blocks[place], design.blocks[other])
        total = total + values[other, term][level]
    return total


def _response(design: Design, priors: Mapping[str, Prior], predictor: Any) -> None:
    """The response's law given its linear predictor."""
    import pymc as pm

    if design.family == "gaussian":
        sigma: Any = 1.0 if design.known_se else priors["sigma"].to_pymc("sigma", positive=True)
        scale = sigma / np.sqrt(design.weights)
        if "nu" in priors:
            nu = priors["nu"].to_pymc("nu", positive=True)
            pm.StudentT("y", nu=nu, mu=predictor, sigma=scale, observed=design.y, dims="row")
        else:
            pm.Normal("y", mu=predictor, sigma=scale, observed=design.y, dims="row")
        return
    constant, weights = log_normaliser(design), np.asarray(design.weights)

    def log_density(y: Any, eta: Any) -> Any:
        return weights * _kernel(design, y, eta) + constant

    pm.CustomDist("y", predictor, logp=log_density, observed=design.y, dims="row")


def _kernel(design: Design, y: Any, eta: Any) -> Any:
    """Log density of counts given linear predictors but for its constant and weights, without overflow."""
    import pytensor.tensor as pt

    if design.family == "poisson":
        return y * eta - pt.exp(eta)
    match design.link:
        case "logit":
            log_p, log_q = -pt.softplus(-eta), -pt.softplus(eta)
        case "probit":
            log_p, log_q = _log_normal_cdf(eta), _log_normal_cdf(-eta)
        case _:  # cloglog: 1 - p = exp(-exp(eta)), and log p is eta to rounding where that is near 1
            near = pt.maximum(eta, -30.0)
            hazard = pt.exp(pt.minimum(near, 700.0))
            log_p, log_q = pt.switch(eta < -30, eta, pt.log(-pt.expm1(-hazard))), -pt.exp(pt.minimum(eta, 700.0))
    return y * log_p + (1 - y) * log_q


def _log_normal_cdf(x: Any) -> Any:
    """log Phi(x), by the scaled complementary error function in the lower tail."""
    import pytensor.tensor as pt

    low, high = pt.minimum(x, -1.0), pt.maximum(x, -1.0)  # each formula within its reach, so that slopes stay finite
    lower = pt.log(pt.erfcx(-low / np.sqrt(2)) / 2) - low**2 / 2
    return pt.switch(x < -1, lower, pt.log1p(-pt.erfc(high / np.sqrt(2)) / 2))


def _times(column: Array, value: Any) -> Any:
    return value if (column == 1).all() else column * value


def _group_values(
    name: str, block: RandomBlock, priors: Mapping[str, Prior], centered: bool, mean: Sequence[Any]
) -> list[Any]:
    """What the varying columns are multiplied by, by term, over the levels: effects, if centred plus `mean`."""
    import pymc as pm
    import pytensor.tensor as pt

    q, group = len(block.terms), block.group
    sd = [priors[f"sd({group}, {term})"].to_pymc(f"sd_{name}[{term}]", positive=True) for term in block.terms]
    pm.Deterministic(f"sd_{name}", pt.stack(sd), dims=f"{name}_term")
    L = correlation_rows(name, q, priors[f"cor({group})"].values[0]) if q > 1 else [[1.0]]
    if centered:
        values: list[Any] = []
        standard: list[Any] = []
        for i in range(q):
            given = mean[i] + (sd[i] * sum(L[i][j] * standard[j] for j in range(i)) if i else 0.0)
            scale = sd[i] * L[i][i]
            values.append(pm.Normal(f"c_{name}[{block.terms[i]}]", given, scale, dims=group_dim(group)))
            standard.append((values[i] - given) / scale)
        effects = [value - m for value, m in zip(values, mean, strict=True)]
    else:
        z = pm.Normal(f"z_{name}", 0.0, 1.0, dims=(f"{name}_term", group_dim(group)))
        values = effects = [sd[i] * sum(L[i][j] * z[j] for j in range(i + 1)) for i in range(q)]
    pm.Deterministic(f"effect_{name}", pt.stack(effects, axis=1), dims=(group_dim(group), f"{name}_term"))
    return values


def correlation_rows(name: str, q: int, eta: float) -> list[list[Any]]:
    """Cholesky factor of an LKJ(eta) correlation matrix, from canonical partial correlations."""
    import pymc as pm
    import pytensor.tensor as pt

    shapes = np.array([eta + (q - 2 - j) / 2 for i in range(1, q) for j in range(i)])
    partial = 2 * pm.Beta(f"partial_{name}", shapes, shapes, shape=len(shapes)) - 1
    rows: list[list[Any]] = [[1.0]]
    k = 0
    for i in range(1, q):
        row, left = [], 1.0
        for j in range(i):
            row.append(partial[k] * pt.sqrt(left) if j else partial[k])
            left = left * (1 - partial[k] ** 2)
            k += 1
        rows.append([*row, pt.sqrt(left)])
    matrix = [
        [
            1.0 if i == j else sum(rows[max(i, j)][k] * rows[min(i, j)][k] for k in range(min(i, j) + 1))
            for j in range(q)
        ]
        for i in range(q)
    ]
    stacked = pt.stack([pt.stack([pt.as_tensor(entry) for entry in row]) for row in matrix])
    pm.Deterministic(f"cor_{name}", stacked, dims=(f"{name}_term", f"{name}_term_bis"))
    return rows

"""The explicit hierarchical model in PyMC: every group effect a parameter, as in a textbook.

    y_i ~ Normal(x_i'b + sum_k z_ik'u_k[g_ik] + offset_i,  sigma / sqrt(w_i))
    u_k[j] = diag(sd_k) L_k z_k[j],     z_k[j] ~ Normal(0, I)          (non-centred)
    L_k L_k' = R_k ~ LKJ(eta_k),        b, sigma, sd_k ~ stated priors (see :mod:`workbench.priors`)

The Cholesky factor L of a correlation matrix is built from canonical partial correlations, each Beta on (-1, 1),
which is the LKJ distribution (Lewandowski, Kurowicka & Joe 2009, section 2.4, doi:10.1016/j.jmva.2009.04.008) and
compiles much faster than a matrix-valued distribution. ``centered`` writes u_k[j] ~ Normal(0, Sigma_k) instead, by
its conditional normals; it mixes better where every group has much data.

What variables and dims are called is in :mod:`workbench.sampling.names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock, check_gaussian
from workbench.priors import Prior, coefficient_name
from workbench.sampling.names import block_names, group_dim

Array = NDArray[np.float64]


def build_model(design: Design, priors: Mapping[str, Prior], parametrisation: str = "noncentered") -> Any:
    """Write the explicit model in PyMC.

    Parameters
    ----------
    design : Design
    priors : mapping of str to Prior
        Resolved (:func:`workbench.priors.resolve_priors`).
    parametrisation : "noncentered" or "centered"

    Returns
    -------
    pymc.Model
    """
    import pymc as pm
    import pytensor.tensor as pt

    check_gaussian(design, "The hierarchical model")
    coords: dict[str, Any] = {"population_term": list(design.fixed_terms), "row": np.arange(design.n)}
    for name, block in zip(block_names(design), design.blocks, strict=True):
        coords[group_dim(block.group)] = list(block.levels)
        coords[f"{name}_term"] = coords[f"{name}_term_bis"] = list(block.terms)
    with pm.Model(coords=coords) as model:
        mean: Any = design.offset
        if design.fixed_terms:
            b = [priors[coefficient_name(term)].to_pymc(f"b[{term}]") for term in design.fixed_terms]
            pm.Deterministic("b", pt.stack(b), dims="population_term")
            for k, coefficient in enumerate(b):
                mean = mean + _times(design.X[:, k], coefficient)
        for name, block in zip(block_names(design), design.blocks, strict=True):
            effects = _effects(name, block, priors, centered=parametrisation == "centered")
            for k, effect in enumerate(effects):
                mean = mean + _times(block.Z[:, k], effect[block.codes])
        sigma = 1.0 if design.known_se else priors["sigma"].to_pymc("sigma", positive=True)
        pm.Normal("y", mu=mean, sigma=sigma / np.sqrt(design.weights), observed=design.y, dims="row")
    return model


def _times(column: Array, value: Any) -> Any:
    return value if (column == 1).all() else column * value


def _effects(name: str, block: RandomBlock, priors: Mapping[str, Prior], centered: bool) -> list[Any]:
    """The varying terms' effects, one vector over the levels per term."""
    import pymc as pm
    import pytensor.tensor as pt

    q, group = len(block.terms), block.group
    sd = [priors[f"sd({group}, {term})"].to_pymc(f"sd_{name}[{term}]", positive=True) for term in block.terms]
    pm.Deterministic(f"sd_{name}", pt.stack(sd), dims=f"{name}_term")
    L = correlation_rows(name, q, priors[f"cor({group})"].values[0]) if q > 1 else [[1.0]]
    if centered:
        effects: list[Any] = []
        standard: list[Any] = []
        for i in range(q):
            mu = sd[i] * sum(L[i][j] * standard[j] for j in range(i)) if i else 0.0
            scale = sd[i] * L[i][i]
            effects.append(pm.Normal(f"u_{name}[{block.terms[i]}]", mu, scale, dims=group_dim(group)))
            standard.append((effects[i] - mu) / scale)
    else:
        z = pm.Normal(f"z_{name}", 0.0, 1.0, dims=(f"{name}_term", group_dim(group)))
        effects = [sd[i] * sum(L[i][j] * z[j] for j in range(i + 1)) for i in range(q)]
    pm.Deterministic(f"effect_{name}", pt.stack(effects, axis=1), dims=(group_dim(group), f"{name}_term"))
    return effects


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

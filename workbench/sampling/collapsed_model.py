"""The collapsed model in PyMC: b, standard deviations, correlations and sigma with their priors, and one likelihood.

    b, sigma, sd_k, R_k ~ stated priors,      p(y | b, Sigma, sigma)  of :mod:`workbench.sampling.collapsed`

The likelihood is an operation of its own, whose gradient is worked out by hand: nothing of it is compiled, and a graph
of batched small matrices, which takes minutes to compile, never comes up. Where b can be integrated out it is no
parameter. Every sampler of PyMC's takes this model; nutpie does without it, on the density itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from workbench.priors import coefficient_name
from workbench.sampling.collapsed import Collapsed
from workbench.sampling.explicit import correlation_rows
from workbench.sampling.names import block_names

Array = NDArray[np.float64]


class Likelihood(Op):  # type: ignore[misc]
    """log p(y | roots, sigma, b) with its gradient, as two outputs: the value, and the slopes by all inputs in a row.

    The inputs are the entries of the roots on and below the diagonal, block by block, sigma, and b of the data's own
    columns (of length zero where it is integrated out).
    """

    __props__ = ()

    def __init__(self, density: Collapsed) -> None:
        self.density = density
        self.sizes = [len(block.terms) for block in density.design.blocks]

    def make_node(self, entries: Any, sigma: Any, b: Any) -> Any:
        """Three vectors in, a number and a vector out."""
        inputs = [pt.as_tensor_variable(part) for part in (entries, sigma, b)]
        return Apply(self, inputs, [pt.dscalar(), pt.dvector()])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
        """Evaluate both."""
        entries, sigma, b = inputs
        roots, at = [], 0
        for q in self.sizes:
            root = np.zeros((q, q))
            root[np.tril_indices(q)] = entries[at : at + q * (q + 1) // 2]
            at += q * (q + 1) // 2
            roots.append(root)
        value, by_roots, by_sigma, by_b = self.density.log_likelihood(roots, float(sigma), b if len(b) else None)
        outputs[0][0] = np.asarray(value)
        slopes = [own[np.tril_indices(len(own))] for own in by_roots]
        outputs[1][0] = np.concatenate([*slopes, [by_sigma], by_b])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """The gradient is the second output; it has none of its own."""
        entries, _, b = inputs
        slopes = cotangents[0] * self(*inputs)[1]
        m = entries.shape[0]
        return [slopes[:m], slopes[m], slopes[m + 1 : m + 1 + b.shape[0]]]


def build_collapsed(density: Collapsed) -> Any:
    """Write the collapsed model in PyMC, with the names of :mod:`workbench.sampling.names`.

    Returns
    -------
    pymc.Model
    """
    import pymc as pm

    design, priors = density.design, density.priors
    coords: dict[str, Any] = {"population_term": list(design.fixed_terms)}
    for name, block in zip(block_names(design), design.blocks, strict=True):
        coords[f"{name}_term"] = coords[f"{name}_term_bis"] = list(block.terms)
    with pm.Model(coords=coords) as model:
        b: Any = np.empty(0)
        if not density.integrated:
            each = [priors[coefficient_name(term)].to_pymc(f"b[{term}]") for term in design.fixed_terms]
            b = pm.Deterministic("b", pt.stack(each), dims="population_term")
        entries = []
        for name, block in zip(block_names(design), design.blocks, strict=True):
            q, group = len(block.terms), block.group
            sd = [priors[f"sd({group}, {term})"].to_pymc(f"sd_{name}[{term}]", positive=True) for term in block.terms]
            pm.Deterministic(f"sd_{name}", pt.stack(sd), dims=f"{name}_term")
            L = correlation_rows(name, q, priors[f"cor({group})"].values[0]) if q > 1 else [[1.0]]
            entries += [sd[i] * L[i][j] for i in range(q) for j in range(i + 1)]
        sigma: Any = pt.constant(1.0) if design.known_se else priors["sigma"].to_pymc("sigma", positive=True)
        pm.Potential("collapsed", Likelihood(density)(pt.stack(entries), sigma, pt.as_tensor_variable(b))[0])
    return model

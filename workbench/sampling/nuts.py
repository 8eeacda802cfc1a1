"""Running the No-U-Turn sampler on a PyMC model, and reading its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.design import Design
from workbench.sampling.draws import Draws
from workbench.sampling.names import block_names

STATS = {
    "diverging": "diverging",
    "energy": "energy",
    "depth": "tree_depth",
    "tree_depth": "tree_depth",
    "maxdepth_reached": "reached_max_treedepth",
    "reached_max_treedepth": "reached_max_treedepth",
    "logp": "lp",
    "lp": "lp",
    "n_steps": "n_steps",
    "step_size": "step_size",
}
"""What samplers say of their draws, under ArviZ's names."""


@dataclass(frozen=True)
class Plan:
    """How to sample: kept and warm-up draws per chain, chains, target acceptance, sampler, seed, progress shown."""

    draws: int
    tune: int
    chains: int
    target_accept: float
    sampler: str
    seed: int
    progress: bool


def sample_model(model: Any, design: Design, plan: Plan) -> Draws:
    """Sample a PyMC model of a design (:func:`workbench.sampling.explicit.build_model`)."""
    import pymc as pm

    with model:
        tree = pm.sample(
            draws=plan.draws,
            tune=plan.tune,
            chains=plan.chains,
            cores=1 if plan.sampler == "pymc" else None,  # PyMC's own processes would fork a threaded one
            nuts_sampler=plan.sampler,
            nuts={"target_accept": plan.target_accept},
            random_seed=plan.seed,
            progressbar=plan.progress,
            quiet=not plan.progress,
        )
    whole = tree["posterior"].sizes["draw"] == plan.draws
    if not whole or not np.isfinite(tree["posterior"]["b" if "b" in tree["posterior"] else "sigma"].values).all():
        raise KeyboardInterrupt  # the sampler swallows Ctrl-C and returns what there is
    return read_draws(tree, design)


def read_draws(tree: Any, design: Design) -> Draws:
    """The draws of a sampled tree, by the names of :mod:`workbench.sampling.names`."""
    posterior, stats = tree["posterior"], tree["sample_stats"]
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    names = block_names(design)
    return Draws(
        b=posterior["b"].values if design.fixed_terms else np.empty((*shape, 0)),
        sigma=posterior["sigma"].values if "sigma" in posterior else None,
        sd=tuple(posterior[f"sd_{name}"].values for name in names),
        correlation=tuple(
            posterior[f"cor_{name}"].values if f"cor_{name}" in posterior else np.ones((*shape, 1, 1)) for name in names
        ),
        effects=tuple(posterior[f"effect_{name}"].values for name in names),
        others={name: posterior[name].values for name in ("nu",) if name in posterior},
        stats={STATS[str(name)]: stats[name].values for name in stats.data_vars if str(name) in STATS},
    )

"""Running the No-U-Turn sampler on a PyMC model or on a density, and reading its draws.

nutpie samples either: a PyMC model once it is compiled, a density of ours as it is. Ctrl-C ends the run; chains that
were finished by then are kept, and where none was the interruption is passed on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.sampling.draws import Draws
from workbench.sampling.names import block_names
from workbench.sampling.stages import listener, stage

Array = NDArray[np.float64]

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


def sample_tree(
    model: Any,
    plan: Plan,
    scattered: set[Any] | None = None,
    low_rank: bool = False,
    starts: Mapping[str, Any] | None = None,
) -> Any:
    """Sample a PyMC model; what comes back has the posterior and the sampler's statistics by name.

    Parameters
    ----------
    model : pymc.Model
    plan : Plan
    scattered : set of variables, optional
        What chains start from different values of, with nutpie; all by default.
    low_rank : bool
        Whether nutpie's mass matrix follows correlations.
    starts : mapping of str to array, optional
        Where variables start from, by name.

    Raises
    ------
    KeyboardInterrupt
        Interrupted before any chain was finished; finished ones are kept.
    """
    if plan.sampler == "nutpie":
        import nutpie

        with stage("compile"):
            compiled = nutpie.compile_pymc_model(model, jitter_rvs=scattered, initial_points=dict(starts or {}) or None)
        return _nutpie(compiled, plan, **({"adaptation": "low_rank"} if low_rank else {}))
    import pymc as pm

    nuts: dict[str, Any] = {"target_accept": plan.target_accept}
    more: dict[str, Any] = {}
    if plan.sampler == "pymc":  # scatters all or nothing; its own processes would fork a threaded one
        more = {"init": "adapt_diag", "cores": 1}
    else:
        nuts |= {"jitter": False, "chain_method": "vectorized"}
    with model, warnings.catch_warnings(), stage("sampling"):
        warnings.filterwarnings("ignore", message="Numba will use object mode")  # for an operation in Python
        tree = pm.sample(
            draws=plan.draws,
            tune=plan.tune,
            chains=plan.chains,
            nuts_sampler=plan.sampler,
            nuts=nuts,
            random_seed=plan.seed,
            initvals=dict(starts or {}) or None,
            progressbar=plan.progress,
            quiet=not plan.progress,
            compute_convergence_checks=False,
            **more,
        )
    return _whole(tree, plan)


def sample_density(
    density: Callable[[Array], tuple[float, Array]], start: Array, plan: Plan
) -> tuple[Array, dict[str, NDArray[Any]]]:
    """Sample a log density with its gradient, in unconstrained coordinates.

    Parameters
    ----------
    density : function of an array (d,)
        Value and gradient.
    start : array, shape (d,)
        Chains start around it, up to 1 away in every coordinate.
    plan : Plan

    Returns
    -------
    array, shape (C, N, d)
    dict
        Statistics of the draws, shape (C, N).
    """
    from nutpie.compiled_pyfunc import from_pyfunc

    d = len(start)

    def make_density() -> Callable[..., tuple[float, Array]]:
        return lambda x, **_: density(x)

    def make_kept(*_: Any) -> Callable[..., dict[str, Array]]:
        return lambda x, **_: {"x": np.array(x)}

    def begin(seed: int) -> Array:
        return start + np.random.default_rng(seed).uniform(-1, 1, d)

    compiled = from_pyfunc(
        d, make_density, make_kept, [np.dtype("float64")], [(d,)], ["x"], make_initial_point_fn=begin
    )
    tree = _nutpie(compiled, plan, cores=1)  # Python runs one thread at a time
    return tree["posterior"]["x"].values, read_stats(tree)


def _nutpie(compiled: Any, plan: Plan, **more: Any) -> Any:
    import nutpie

    run = nutpie.sample(
        compiled,
        draws=plan.draws,
        tune=plan.tune,
        chains=plan.chains,
        seed=plan.seed,
        target_accept=plan.target_accept,
        progress_bar=plan.progress,
        save_warmup=False,
        blocking=False,
        progress_callback=_callback(),
        **more,
    )
    with stage("sampling"):
        try:
            return run.wait()
        except KeyboardInterrupt:
            return _whole(run.abort(), plan)


def _callback() -> Callable[[Any], None] | None:
    """What nutpie calls with the progress of every chain, where somebody wants to know."""
    tell = listener()
    if tell is None:
        return None

    def shared(chains: Any) -> None:
        done, wanted = (sum(getattr(c, name) for c in chains) for name in ("finished_draws", "total_draws"))
        tell("sampling", done / wanted if wanted else 0.0)

    return shared


def _whole(tree: Any, plan: Plan) -> Any:
    """The finished chains of a run that may have been interrupted: draws that were not made are missing or NaN."""
    posterior = tree["posterior"]
    if posterior.sizes["draw"] < plan.draws:
        raise KeyboardInterrupt
    last = [np.isfinite(values.values[:, -1].reshape(posterior.sizes["chain"], -1)).all(axis=1)
            for values in posterior.data_vars.values()]  # fmt: skip
    finished = np.flatnonzero(np.all(last, axis=0))
    if not len(finished):
        raise KeyboardInterrupt
    return {name: tree[name].to_dataset().isel(chain=finished) for name in ("posterior", "sample_stats")}


def read_stats(tree: Any) -> dict[str, NDArray[Any]]:
    """What a sampler says of its draws, by ArviZ's names, shape (C, N)."""
    stats = tree["sample_stats"]
    return {STATS[str(name)]: stats[name].values for name in stats.data_vars if str(name) in STATS}


def read_draws(tree: Any, design: Design) -> Draws:
    """The draws of a sampled tree, by the names of :mod:`workbench.sampling.names`."""
    posterior = tree["posterior"]
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
        stats=read_stats(tree),
    )

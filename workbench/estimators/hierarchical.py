"""`hierarchical`: the likelihood integrated, by sampling from the explicit model in PyMC.

The model is that of :mod:`workbench.explicit_model`. The spread between groups is averaged over, not held at one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, Estimates, GroupEffects, Parameters
from workbench.estimators import NOTHING, Settings
from workbench.explicit_model import block_names, build_model
from workbench.fit import Fit
from workbench.priors import Prior, coefficient_name, resolve_priors

Array = NDArray[np.float64]

R_HAT = 1.01
ESS = 400
PATIENT = 0.99
"""The target acceptance of the second run, made when the first one had divergences."""
DIAGNOSED_LEVELS = 500
"""R-hat and effective sample sizes are computed for so many levels of a group at the most, evenly spread."""


@dataclass(frozen=True)
class Options:
    """Options of `hierarchical`.

    Attributes
    ----------
    draws, tune, chains : int
        Kept and warm-up iterations per chain.
    target_accept : float
        Of the No-U-Turn sampler; a run with divergences is repeated once at 0.99.
    sampler : "nutpie" or "pymc"
    parametrisation : "noncentered" or "centered"
    """

    draws: int = 2000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.95
    sampler: str = "nutpie"
    parametrisation: str = "noncentered"

    def __post_init__(self) -> None:
        for name, least in (("draws", 10), ("tune", 10), ("chains", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is {value!r}, but must be a whole number of at least {least}.")
        if not 0.5 <= self.target_accept < 1:
            raise OptionError(f"target_accept is {self.target_accept!r}, but must lie between 0.5 and 1.")
        for name, known in (
            ("sampler", ("nutpie", "pymc")),
            ("parametrisation", ("noncentered", "centered")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise OptionError(f"{name} is {value!r}. {nearest(str(value), known)}")


def hierarchical(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Sample the posterior of the full hierarchical model.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    settings : Settings
        `priors`, `seed`, `level` of the equal-tailed intervals, `progress`.
    options : Options
    upstream : not used

    Returns
    -------
    Fit
        Posterior means with posterior SDs. `converged` means R-hat at most 1.01, bulk effective sample sizes of 400
        or more
        and no divergence. `draws` is the ArviZ DataTree.

    Notes
    -----
    Draws depend on the seed, the versions installed and whether compiled code was cached: summaries are reproducible to
    Monte Carlo error, draws are not promised to be.
    """
    priors = resolve_priors(design, settings.priors)
    model = build_model(design, priors, options.parametrisation)
    tree = _sample(model, settings, options)
    divergences = int(tree["sample_stats"]["diverging"].sum())
    remarks = []
    if divergences and options.target_accept < PATIENT:
        remarks.append(
            f"A first run at target_accept {options.target_accept:g} had {divergences} divergences; this is a "
            f"second run at {PATIENT:g}."
        )
        tree = _sample(model, settings, replace(options, target_accept=PATIENT))
    return _summarise(design, settings, priors, _tidy_tree(tree, design), tuple(remarks))


# --- sampling -----------------------------------------------------------------------------------------


def _sample(model: Any, settings: Settings, options: Options) -> Any:
    import sys

    import pymc as pm

    shown = settings.progress and sys.stdout.isatty()
    with model:
        tree = pm.sample(
            draws=options.draws,
            tune=options.tune,
            chains=options.chains,
            cores=1 if options.sampler == "pymc" else None,  # PyMC's own processes would fork a threaded one
            nuts_sampler=options.sampler,
            nuts={"target_accept": options.target_accept},
            random_seed=settings.seed,
            progressbar=shown,
            quiet=not shown,
        )
    whole = tree["posterior"].sizes["draw"] == options.draws
    if not whole or not np.isfinite(tree["posterior"]["b" if "b" in tree["posterior"] else "sigma"].values).all():
        raise KeyboardInterrupt  # the sampler swallows Ctrl-C and returns what there is
    return tree


def _tidy_tree(tree: Any, design: Design) -> Any:
    """Keep what the model's reader knows by name, and add the coefficients."""
    posterior = tree["posterior"].to_dataset()
    names = [name for name in ("b", "sigma") if name in posterior]
    for name, block in zip(block_names(design), design.blocks, strict=True):
        effect = posterior[f"effect_{name}"]
        shift = [0.0 if k is None else posterior["b"].values[..., k] for k in block.fixed]
        population = np.stack([np.broadcast_to(s, effect.shape[:2]) for s in shift], axis=-1)
        posterior[f"coefficient_{name}"] = effect + population[:, :, None, :]
        names += [
            f"sd_{name}",
            *([f"cor_{name}"] if len(block.terms) > 1 else []),
            f"effect_{name}",
            f"coefficient_{name}",
        ]
    tree["posterior"] = posterior[names]
    return tree


# --- summaries ----------------------------------------------------------------------------------------


def _summarise(
    design: Design, settings: Settings, priors: Mapping[str, Prior], tree: Any, remarks: tuple[str, ...]
) -> Fit:
    posterior, level = tree["posterior"], settings.level
    b = posterior["b"].values if design.fixed_terms else np.empty((*_shape(posterior), 0))
    population = _from_draws(b, level)
    sigma = 1.0 if design.known_se else float(posterior["sigma"].values.mean())
    components, effects = [], []
    for name, block in zip(block_names(design), design.blocks, strict=True):
        sd = posterior[f"sd_{name}"].values.mean(axis=(0, 1))
        correlation = posterior[f"cor_{name}"].values.mean(axis=(0, 1)) if len(block.terms) > 1 else np.eye(1)
        components.append(Component(block.group, block.terms, np.outer(sd, sd) * correlation))
        effect = _from_draws(posterior[f"effect_{name}"].values, level)
        coefficient = _from_draws(posterior[f"coefficient_{name}"].values, level)
        effects.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    parameters = _parameters(design, posterior, level)
    diagnostics = {"seed": settings.seed} | _diagnostics(
        tree, [parameters.estimates, *(part.coefficient for part in effects)]
    )
    complaints = _complaints(diagnostics)
    return Fit(
        estimator="hierarchical",
        design=design,
        population=population,
        fixed_cov=np.atleast_2d(np.cov(b.reshape(-1, b.shape[-1]), rowvar=False)) if b.shape[-1] else np.empty((0, 0)),
        components=tuple(components),
        group_effects=tuple(effects),
        sigma=sigma,
        converged=not complaints,
        warnings=(*design.notes, *remarks, *complaints),
        diagnostics=MappingProxyType(diagnostics),
        parameters=parameters,
        draws=tree,
        priors=MappingProxyType({name: str(prior) for name, prior in priors.items()}),
    )


def _shape(posterior: Any) -> tuple[int, int]:
    return posterior.sizes["chain"], posterior.sizes["draw"]


def _parameters(design: Design, posterior: Any, level: float) -> Parameters:
    """Population coefficients, sigma, every sd and every correlation, under the names of their priors."""
    names = [coefficient_name(term) for term in design.fixed_terms]
    draws = [posterior["b"].values] if names else []
    if not design.known_se:
        names.append("sigma")
        draws.append(posterior["sigma"].values[:, :, None])
    for name, block in zip(block_names(design), design.blocks, strict=True):
        names += [f"sd({block.group}, {term})" for term in block.terms]
        draws.append(posterior[f"sd_{name}"].values)
        for a in range(len(block.terms)):
            for c in range(a + 1, len(block.terms)):
                names.append(f"cor({block.group}, {block.terms[a]}, {block.terms[c]})")
                draws.append(posterior[f"cor_{name}"].values[:, :, a, c][:, :, None])
    return Parameters(tuple(names), _from_draws(np.concatenate(draws, axis=2), level))


def _from_draws(draws: Array, level: float) -> Estimates:
    """Summaries over chains and draws of an array (chain, draw, ...)."""
    flat = draws.reshape(draws.shape[0] * draws.shape[1], *draws.shape[2:])
    tail = (1 - level) / 2
    low, median, high = (
        np.quantile(flat, [tail, 0.5, 1 - tail], axis=0) if flat.size else np.empty((3, *flat.shape[1:]))
    )
    r_hat, bulk, tails = _convergence(draws)
    return Estimates(
        estimate=flat.mean(axis=0),
        std_error=flat.std(axis=0, ddof=1),
        conf_low=low,
        conf_high=high,
        point="posterior mean",
        std_error_kind="posterior SD",
        interval=f"equal-tailed {100 * level:.4g} %",
        median=median,
        r_hat=r_hat,
        ess_bulk=bulk,
        ess_tail=tails,
    )


def _convergence(draws: Array) -> tuple[Array, Array, Array]:
    """Rank-normalised split R-hat, bulk and tail effective sample size of every element."""
    from arviz_stats.base import array_stats

    shape = draws.shape[2:]
    figures = np.full((3, *shape), np.nan)
    levels = np.arange(shape[0]) if shape else np.arange(0)
    if len(levels) > DIAGNOSED_LEVELS:
        levels = np.linspace(0, shape[0] - 1, DIAGNOSED_LEVELS).round().astype(int)
    if draws.size:
        chosen = draws[:, :, levels]
        axes = {"chain_axis": 0, "draw_axis": 1}
        figures[0, levels] = array_stats.rhat(chosen, method="rank", **axes)
        figures[1, levels] = array_stats.ess(chosen, method="bulk", **axes)
        figures[2, levels] = array_stats.ess(chosen, method="tail", prob=(0.05, 0.95), **axes)
    return figures[0], figures[1], figures[2]


def _diagnostics(tree: Any, parts: list[Estimates]) -> dict[str, Any]:
    stats = tree["sample_stats"]
    depth = "maxdepth_reached" if "maxdepth_reached" in stats else "reached_max_treedepth"
    return {
        "r_hat": float(np.nanmax([np.nanmax(part.r_hat) for part in parts])),  # type: ignore[arg-type]
        "ess_bulk": float(np.nanmin([np.nanmin(part.ess_bulk) for part in parts])),  # type: ignore[arg-type]
        "ess_tail": float(np.nanmin([np.nanmin(part.ess_tail) for part in parts])),  # type: ignore[arg-type]
        "divergences": int(stats["diverging"].sum()),
        "max_tree_depth_reached": int(stats[depth].sum()) if depth in stats else 0,
        "chains": stats.sizes["chain"],
        "draws": stats.sizes["draw"],
    }


def _complaints(d: Mapping[str, Any]) -> list[str]:
    """What keeps the draws from being trusted, and what to do about it."""
    found = []
    if not d["r_hat"] <= R_HAT:
        found.append(f"R-hat reaches {d['r_hat']:.3f} (above {R_HAT}): the chains disagree. Run longer (tune, draws).")
    if not d["ess_bulk"] >= ESS:
        found.append(f"The smallest bulk effective sample size is {d['ess_bulk']:.0f} (below {ESS}). Take more draws.")
    if d["divergences"]:
        found.append(
            f"{d['divergences']} divergences: part of the posterior may be missed. Try parametrisation = 'centered' "
            "(much data per group) or 'noncentered' (little), or tighter priors."
        )
    return found

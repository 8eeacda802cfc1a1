"""`hierarchical`: the likelihood integrated, by sampling from the explicit model in PyMC.

    y_i ~ Normal(x_i'b + sum_k z_ik'u_k[g_ik] + offset_i,  sigma / sqrt(w_i))
    u_k[j] = diag(sd_k) L_k z_k[j],     z_k[j] ~ Normal(0, I)          (non-centred)
    L_k L_k' = R_k ~ LKJ(eta_k),        b, sigma, sd_k ~ stated priors (see :mod:`workbench.priors`)

Every group effect is a parameter, as in a textbook. The Cholesky factor L of a correlation matrix is built from
canonical
partial correlations, each Beta on (-1, 1), which is the LKJ distribution (Lewandowski, Kurowicka & Joe 2009, section
2.4,
doi:10.1016/j.jmva.2009.04.008) and compiles much faster than a matrix-valued distribution. ``centered`` writes
u_k[j] ~ Normal(0, Sigma_k) instead, by its conditional normals; it mixes better where every group has much data.

Because tau is averaged over and not held, intervals are wider than REML's conditional ones, and estimates move a
little.

Variables of the tree (dims): ``b`` (population_term), ``sigma``, and per block ``sd_Subject`` (Subject_term),
``cor_Subject``
(Subject_term, Subject_term_bis), ``effect_Subject`` and ``coefficient_Subject`` (Subject, Subject_term).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.errors import OptionError, nearest
from workbench.estimators import NOTHING, Settings
from workbench.fit import Component, Estimates, Fit, GroupEffects, Parameters
from workbench.priors import Prior, resolve_priors

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


def block_names(design: Design) -> list[str]:
    """A name per random block for variables and dims: the group, numbered where it has several blocks.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> d = {"y": [1.0, 2.0, 4.0, 3.0, 2.5], "x": [0, 1, 0, 1, 0.5], "g": list("aabbb")}
    >>> block_names(build_design("y ~ x + (x || g)", d))
    ['g', 'g_2']
    """
    names: list[str] = []
    for block in design.blocks:
        earlier = sum(b.group == block.group for b in design.blocks[: len(names)])
        names.append(block.group if not earlier else f"{block.group}_{earlier + 1}")
    return names


# --- the model ----------------------------------------------------------------------------------------


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

    coords: dict[str, Any] = {"population_term": list(design.fixed_terms), "row": np.arange(design.n)}
    for name, block in zip(block_names(design), design.blocks, strict=True):
        coords[block.group] = list(block.levels)
        coords[f"{name}_term"] = coords[f"{name}_term_bis"] = list(block.terms)
    with pm.Model(coords=coords) as model:
        mean: Any = design.offset
        if design.fixed_terms:
            b = [priors[term].to_pymc(f"b[{term}]") for term in design.fixed_terms]
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
    L = _correlation_factor(name, q, priors[f"cor({group})"].values[0]) if q > 1 else [[1.0]]
    if centered:
        effects: list[Any] = []
        standard: list[Any] = []
        for i in range(q):
            mu = sd[i] * sum(L[i][j] * standard[j] for j in range(i)) if i else 0.0
            scale = sd[i] * L[i][i]
            effects.append(pm.Normal(f"u_{name}[{block.terms[i]}]", mu, scale, dims=group))
            standard.append((effects[i] - mu) / scale)
    else:
        z = pm.Normal(f"z_{name}", 0.0, 1.0, dims=(f"{name}_term", group))
        effects = [sd[i] * sum(L[i][j] * z[j] for j in range(i + 1)) for i in range(q)]
    pm.Deterministic(f"effect_{name}", pt.stack(effects, axis=1), dims=(group, f"{name}_term"))
    return effects


def _correlation_factor(name: str, q: int, eta: float) -> list[list[Any]]:
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
    fitted = design.X @ population.estimate + design.offset
    components, effects = [], []
    for name, block in zip(block_names(design), design.blocks, strict=True):
        sd = posterior[f"sd_{name}"].values.mean(axis=(0, 1))
        correlation = posterior[f"cor_{name}"].values.mean(axis=(0, 1)) if len(block.terms) > 1 else np.eye(1)
        components.append(Component(block.group, block.terms, np.outer(sd, sd) * correlation))
        effect = _from_draws(posterior[f"effect_{name}"].values, level)
        coefficient = _from_draws(posterior[f"coefficient_{name}"].values, level)
        effects.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
        fitted = fitted + np.einsum("nq,nq->n", block.Z, effect.estimate[block.codes])
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
        fitted=fitted,
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
    names: list[str] = list(design.fixed_terms)
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
    flat = draws.reshape(-1, *draws.shape[2:])
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
        interval=f"equal-tailed {level:.4g}",
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

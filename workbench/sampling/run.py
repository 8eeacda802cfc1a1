"""From a design and its priors to draws: the explicit model, or the collapsed one with its exact conditional draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.priors import Prior
from workbench.sampling.collapsed import Collapsed, Variances
from workbench.sampling.conditional import conditional_normals, draw_effects, draw_population
from workbench.sampling.draws import Draws, Watched
from workbench.sampling.names import block_names
from workbench.sampling.nuts import Plan, read_stats, sample_density, sample_tree
from workbench.sampling.stages import stage

Array = NDArray[np.float64]

KEPT = 5_000_000
"""Effects are kept of so many draws that there are no more numbers than these."""
WATCHED = 50
"""Of so many levels of a factor every draw is kept, where it is not of all: what convergence is judged by.

Given the variances and b, draws of the effects are independent: few levels show how these mix.
"""
COMPONENTS = 64
"""Where so few draws of the effects are kept that their quantiles would be rough, mixtures of so many normals stand
in."""
ENOUGH = 800


PATIENT = 0.99
"""The target acceptance of the second run, made when the first one had divergences."""


def sample_collapsed(design: Design, priors: Mapping[str, Prior], plan: Plan) -> tuple[Draws, tuple[str, ...]]:
    """Sample (b, theta, sigma) with the effects integrated out, and draw the effects given each of these.

    Returns
    -------
    Draws
    tuple of str
        What had to be done again, in words: a run with divergences is repeated once, at a higher target acceptance.
    """
    density = Collapsed.of(design, priors)
    drawn = _sample(density, plan)
    diverged = int(np.sum(drawn.stats["diverging"]))
    if not diverged or plan.target_accept >= PATIENT or drawn.chains < plan.chains:
        return drawn, ()
    again = _sample(density, replace(plan, target_accept=PATIENT))
    first = f"A first run at target_accept {plan.target_accept:g} had {diverged} divergences"
    return again, (f"{first}; it was done again at {PATIENT:g}.",)


def _sample(density: Collapsed, plan: Plan) -> Draws:
    if plan.sampler == "nutpie":
        with stage("compile"):
            density(density.start)  # what is not compiled yet is compiled at the first value
        x, stats = sample_density(density, density.start, plan)
        at = density.variances(x.reshape(-1, x.shape[-1]))
        return with_effects(density, at, x.shape[:2], stats, plan.seed)
    from workbench.sampling.collapsed_model import build_collapsed

    tree = sample_tree(build_collapsed(density), plan)
    return with_effects(density, _variances(density, tree["posterior"]), _shape(tree), read_stats(tree), plan.seed)


def _shape(tree: Any) -> tuple[int, int]:
    return tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"]


def _variances(density: Collapsed, posterior: Any) -> Variances:
    """Those of a tree that PyMC made of the collapsed model."""
    design = density.design

    def flat(name: str) -> Array:
        values: Array = posterior[name].values
        return values.reshape(-1, *values.shape[2:])

    names = block_names(design)
    one = np.ones((len(flat(f"sd_{names[0]}")), 1, 1))
    return Variances(
        sd=tuple(flat(f"sd_{name}") for name in names),
        factor=tuple(
            np.linalg.cholesky(flat(f"cor_{name}")) if len(block.terms) > 1 else one
            for name, block in zip(names, design.blocks, strict=True)
        ),
        sigma=np.ones(len(one)) if design.known_se else flat("sigma"),
        b=None if density.integrated else flat("b"),
    )


def with_effects(
    density: Collapsed, at: Variances, shape: tuple[int, int], stats: Mapping[str, NDArray[np.float64]], seed: int
) -> Draws:
    """Complete draws of the variances, C N of them, by exact draws of b and of the effects."""
    design, (C, N) = density.design, shape
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    b = draw_population(density, at, rng)
    numbers = sum(len(block.levels) * len(block.terms) for block in design.blocks)
    every = max(1, -(-C * N * numbers // KEPT))
    rows = np.arange(C * N).reshape(C, N)[:, ::every]
    some = at.at(rows.ravel())
    effects = draw_effects(density, some, b[rows.ravel()], rng)
    watched: tuple[Watched, ...] = ()
    normals = None
    if every > 1 and len(density.data.factors) == 1:
        J = len(design.blocks[0].levels)
        levels = np.linspace(0, J - 1, min(J, WATCHED)).round().astype(np.intp)
        own = draw_effects(density, at, b, rng, levels)
        watched = tuple(Watched(levels, part.reshape(C, N, *part.shape[1:])) for part in own)
        if rows.size < ENOUGH:
            few = np.linspace(0, C * N - 1, COMPONENTS).round().astype(np.intp)
            normals = (few, *conditional_normals(density, at.at(few), b[few]))
    return Draws(
        b=b.reshape(C, N, -1),
        sigma=None if design.known_se else at.sigma.reshape(C, N),
        sd=tuple(part.reshape(C, N, -1) for part in at.sd),
        correlation=tuple(part.reshape(C, N, *part.shape[1:]) for part in at.correlation),
        effects=tuple(part.reshape(*rows.shape, *part.shape[1:]) for part in effects),
        every=every,
        watched=watched,
        normals=normals,
        stats=stats,
    )

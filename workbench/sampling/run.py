"""From a design and its priors to draws: the explicit model, or the collapsed one with its exact conditional draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.priors import Prior
from workbench.sampling.collapsed import Collapsed, Variances
from workbench.sampling.conditional import conditional_normals, draw_effects, draw_population
from workbench.sampling.draws import Draws, Watched
from workbench.sampling.nuts import Plan, sample_density

Array = NDArray[np.float64]

KEPT = 10_000_000
"""Effects are kept of so many draws that there are no more numbers than these."""
WATCHED = 500
"""Of so many levels of a factor every draw is kept, where it is not of all: what convergence is judged by."""
COMPONENTS = 64
"""Where so few draws of the effects are kept that their quantiles would be rough, mixtures of so many normals stand
in."""
ENOUGH = 1000


def sample_collapsed(design: Design, priors: Mapping[str, Prior], plan: Plan) -> Draws:
    """Sample (b, theta, sigma) with the effects integrated out, and draw the effects given each of these."""
    density = Collapsed.of(design, priors)
    x, stats = sample_density(density, density.start, plan)
    C, N, d = x.shape
    return with_effects(density, density.variances(x.reshape(C * N, d)), (C, N), stats, plan.seed)


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

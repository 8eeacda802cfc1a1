"""What draws say of the rows: log-likelihoods and predicted responses, of the posterior and of the prior.

All are arrays (chain, draw, row). Rows times draws may be many, so at most `LIMIT` numbers are made of each kind: every
k-th draw's, and none where fewer than `LEAST` draws would be left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import PriorError
from workbench.lkj import lkj_draw
from workbench.priors import Prior, coefficient_name
from workbench.sampling.draws import Draws
from workbench.sampling.plain_density import linear_predictor, log_rows
from workbench.sampling.responses import draw

Array = NDArray[np.float64]

LIMIT = 5_000_000
"""Numbers of one kind that are kept at the most (40 MB)."""
LEAST = 200
"""Draws, of all chains, that thinning leaves at the least."""
PRIOR_DRAWS = 500


def step_for(drawn: Draws, size: int, limit: int = LIMIT) -> int | None:
    """Every which of the draws with effects is taken, so that `size` numbers of each stay within the limit.

    None where fewer than `LEAST` would be left.

    Examples
    --------
    >>> drawn = Draws(np.zeros((4, 2000, 1)), None, (), (), ())
    >>> step_for(drawn, 600), step_for(drawn, 6000), step_for(drawn, 60_000)
    (1, 10, None)
    """
    kept = -(-drawn.draws // drawn.every)
    step = max(1, -(-drawn.chains * kept * size // limit))
    left = drawn.chains * -(-kept // step)
    return step if step == 1 or left >= LEAST else None


def log_likelihood(design: Design, drawn: Draws) -> Array:
    """Log density of every row at every draw with effects, shape (C, M, n)."""
    at = drawn.at_effects()
    return log_rows(design, at.b, at.sigma, at.effects, at.others.get("nu"))


def predicted(design: Design, drawn: Draws, rng: np.random.Generator) -> Array:
    """A response drawn for every row at every draw with effects, shape (C, M, n), on the scale of ``design.y``."""
    at = drawn.at_effects()
    return draw(design, linear_predictor(design, at.b, at.effects), at.sigma, at.others.get("nu"), rng)


def prior_draws(design: Design, priors: Mapping[str, Prior], rng: np.random.Generator, draws: int) -> Draws:
    """Draws of all parameters and group effects from their priors, one chain.

    Raises
    ------
    PriorError
        A prior that is improper, with the name of its parameter.
    """
    flat = [name for name, prior in priors.items() if prior.kind == "Flat"]
    if flat:
        raise PriorError(
            f"The prior of {flat[0]} is {priors[flat[0]]}, which is improper: nothing can be drawn from it. "
            "Give a proper one."
        )
    size = (1, draws)
    b = [priors[coefficient_name(term)].draw(rng, size) for term in design.fixed_terms]
    sd, correlation = [], []
    for block in design.blocks:
        q = len(block.terms)
        sd.append(np.stack([priors[f"sd({block.group}, {term})"].draw(rng, size) for term in block.terms], axis=-1))
        eta = priors[f"cor({block.group})"].values[0] if q > 1 else 1.0
        correlation.append(lkj_draw(rng, eta, q, size))
    drawn = Draws(
        b=np.stack(b, axis=-1) if b else np.empty((*size, 0)),
        sigma=priors["sigma"].draw(rng, size) if "sigma" in priors else None,
        sd=tuple(sd),
        correlation=tuple(correlation),
        effects=(),
        others={"nu": priors["nu"].draw(rng, size)} if "nu" in priors else {},
    )
    return with_new_effects(design, drawn, rng)


def with_new_effects(design: Design, drawn: Draws, rng: np.random.Generator) -> Draws:
    """Every draw with effects of new groups, as many as there are, drawn from its own sd and cor."""
    effects = []
    for block, sd, correlation in zip(design.blocks, drawn.sd, drawn.correlation, strict=True):
        z = rng.standard_normal((*sd.shape[:2], len(block.levels), len(block.terms)))
        if len(block.terms) > 1:
            z = z @ np.swapaxes(np.linalg.cholesky(correlation), -1, -2)
        effects.append(z * sd[:, :, None])
    return replace(drawn, effects=tuple(effects), every=1)

"""What draws come to: posterior means, SDs and quantiles of parameters and of every level, with their convergence.

Where effects are kept of some draws only, convergence is judged by levels of which every draw is kept; and where these
are so few that their quantiles would be rough, the estimates are those of mixtures of the conditional normals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.estimates import Estimates, Parameters
from workbench.exact_posterior import normal_mixtures
from workbench.sampling.diagnostics import convergence, from_draws
from workbench.sampling.draws import Draws, named_parameters

Array = NDArray[np.float64]

LEVELS_AT_ONCE = 8192


def parameters_of(design: Design, drawn: Draws, level: float) -> Parameters:
    """Population coefficients, sigma, every sd and every correlation, under the names of their priors."""
    names, draws = named_parameters(design, drawn)
    return Parameters(names, from_draws(draws, level))


def level_estimates(design: Design, drawn: Draws, level: float) -> list[tuple[Estimates, Estimates]]:
    """Effects and coefficients by random block, each of shape (J, q)."""
    coefficients = drawn.coefficients(design)
    if drawn.every == 1:
        return [
            (from_draws(effect, level), from_draws(coefficient, level))
            for effect, coefficient in zip(drawn.effects, coefficients, strict=True)
        ]
    found = []
    start = 0
    for k, block in enumerate(design.blocks):
        here = slice(start, start + len(block.terms))
        start = here.stop
        shift = drawn.population(block)
        pair = []
        for values, own in ((drawn.effects[k], np.zeros_like(shift)), (coefficients[k], shift)):
            if drawn.normals is None:
                made = from_draws(values, level, diagnosed=False)
            else:
                rows, means, sds = drawn.normals
                flat = own.reshape(-1, len(block.terms))[rows]
                made = _of_mixtures(means[:, :, here] + flat[:, None], sds[:, :, here], level)
            if drawn.watched:
                watched = drawn.watched[k]
                made = _with_convergence(made, watched.levels, watched.effects + own[:, :, None])
            pair.append(made)
        found.append((pair[0], pair[1]))
    return found


def _of_mixtures(means: Array, sds: Array, level: float) -> Estimates:
    """Estimates of mixtures of normals of equal weights, arrays (M, J, q)."""
    M, J, q = means.shape
    tail = (1 - level) / 2
    weights = np.full(M, 1 / M)
    parts = []
    for start in range(0, J * q, LEVELS_AT_ONCE):
        own = [part.reshape(M, J * q)[:, start : start + LEVELS_AT_ONCE].T for part in (means, sds)]
        mean, sd = normal_mixtures.moments(weights, *own)
        parts.append(np.column_stack([mean, sd, normal_mixtures.quantiles((tail, 0.5, 1 - tail), weights, *own)]))
    mean, sd, low, median, high = np.concatenate(parts).T.reshape(5, J, q)
    kind = f"equal-tailed {100 * level:.4g} %"
    return Estimates(mean, sd, low, high, "posterior mean", "posterior SD", kind, median)


def _with_convergence(made: Estimates, levels: NDArray[np.intp], draws: Array) -> Estimates:
    """The same with R-hat and effective sample sizes of the levels that every draw, (C, N, k, q), is kept of."""
    figures = []
    for own in convergence(draws):
        figure = np.full(made.estimate.shape, np.nan)
        figure[levels] = own
        figures.append(figure)
    return replace(made, r_hat=figures[0], ess_bulk=figures[1], ess_tail=figures[2])

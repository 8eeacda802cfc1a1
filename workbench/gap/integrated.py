"""From full Bayes to REML: what the posterior means of the group coefficients owe to what, one cause at a time.

Both are conditional means C(v, prior) of the group coefficients (:mod:`workbench.gap.given_variances`), given standard
deviations, correlations and sigma, together v, and a prior of the population coefficients b, which are integrated out:

=====  ======================  ====================================================================
step   its coefficients        the cause that is gone
=====  ======================  ====================================================================
0      means of draws          (full Bayes itself)
1      mean of C(v, prior)     Monte Carlo error, but for that of the draws of v
2      C(mean of v, prior)     v is averaged over, and C is not linear in it
3      C(mode of v, prior)     the mean of a skewed posterior is not its mode
4      C(REML's v, flat)       the priors: without them the mode is REML's
=====  ======================  ====================================================================

Step 1 is the Rao-Blackwell estimator (Gelfand & Smith 1990, doi:10.1080/01621459.1990.10476213); for the mode see
:mod:`workbench.gap.posterior_mode`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import relative_factors, square_root
from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.fit import Fit
from workbench.gap.given_variances import (
    PopulationPrior,
    Variances,
    coefficients_at,
    group_coefficients,
)
from workbench.gap.posterior_mode import Density, posterior_mode
from workbench.gap.steps import Step
from workbench.likelihood import conditional
from workbench.moments import Moments, moments
from workbench.priors import parse_prior
from workbench.sampling.draws import Draws

Array = NDArray[np.float64]

LEAST_DRAWS, WORK = 200, 1e8
"""Draws are thinned to so much work, in numbers touched, but never below so many."""
OVERHEAD = 5000.0
"""What a conditional mean costs whatever its size, in numbers touched."""
HEAVY = 1e6
"""Where it costs more, the search for the mode does not look for others."""
DIAGNOSED_LEVELS = 500
"""Monte Carlo errors are computed for so many levels of a group at the most, evenly spread."""
LISTED = 6
"""A sentence lists so many parameters at the most."""


def towards_reml(full: Fit, maximised: Fit) -> tuple[Step, ...]:
    """Lead from the coefficients of full Bayes to REML's, removing one cause after the other.

    Parameters
    ----------
    full : Fit
        `hierarchical`, with its draws; or `exact`, which has no Monte Carlo error to begin with.
    maximised : Fit
        `reml`, of the same design.

    Returns
    -------
    tuple of Step
        Monte Carlo error, integration over the variances, mean against mode, priors; cumulative. The last one's
        coefficients come out of `maximised`'s covariances and sigma alone, so that their distance from its own
        coefficients is rounding, and checks the chain.

    Raises
    ------
    ComparisonError
        A sampled `full` has no draws.

    Notes
    -----
    A prior of a population coefficient that is not Normal or Flat keeps b from being integrated exactly: step 1 then
    takes b as drawn, and steps 2 and 3 put the normal prior in its place that pulls as much at b's posterior mean
    (Student-t and Cauchy), or none (Uniform).
    """
    sampled = full.estimator != "exact"
    if sampled and full.sampled is None:
        raise ComparisonError(
            f"The {full.estimator} fit has no draws, which the way to REML starts from. Fit it again, with draws kept."
        )
    design, data = full.design, moments(full.design)
    priors = {name: parse_prior(text, name) for name, text in full.priors.items()}
    of_b = PopulationPrior.of(design, priors, full.population.estimate)
    mean, ours = Variances.of(full), Variances.of(maximised)
    density = Density(design, data, priors, of_b, mean)
    mode, remarks = posterior_mode(density, (ours, mean), thorough=_work(data) < HEAVY)
    values = [v.named(design) for v in (mean, mode, ours)]
    return (
        *((_averaged(design, data, full.sampled.drawn, of_b),) if sampled else ()),
        Step(
            "integrated versus plugged-in variance",
            f"The average over the posterior of {_variances(design)} became the value at their posterior means: "
            f"{_listed(values[0])}{of_b.replaced}",
            coefficients_at(data, mean, of_b),
        ),
        Step(
            "mean versus mode",
            f"The posterior means became the joint posterior mode, of the density of {_variances(design)} themselves: "
            f"{_listed(values[0], values[1])}{remarks}",
            coefficients_at(data, mode, of_b),
        ),
        Step(
            "priors",
            "Every prior was dropped, that of b too, which leaves the mode of the restricted likelihood: "
            f"{_listed(values[1], values[2])}",
            coefficients_at(data, ours),
        ),
    )


def _variances(design: Design) -> str:
    """What v is called in a sentence."""
    correlations = ["correlations"] if any(len(block.terms) > 1 for block in design.blocks) else []
    names = ["standard deviations", *correlations, *([] if design.known_se else ["sigma"])]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _listed(before: Mapping[str, float], after: Mapping[str, float] | None = None) -> str:
    """Parameters with their values, or with their values before and after; the first of them where there are many."""
    shown = [
        f"{name} = {value:.4g}" if after is None else f"{name} {value:.4g} → {after[name]:.4g}"
        for name, value in list(before.items())[:LISTED]
    ]
    more = len(before) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


# --- the mean over draws ------------------------------------------------------------------------------


def _averaged(design: Design, data: Moments, drawn: Draws, of_b: PopulationPrior) -> Step:
    """Rao-Blackwell: the mean over draws of v of the conditional means, b integrated out where its prior allows it."""
    chains, length = drawn.chains, drawn.draws
    each = min(length, max(-(-LEAST_DRAWS // chains), int(WORK / (chains * _work(data)))))
    kept = np.linspace(0, length - 1, each).round().astype(int)
    exact = not of_b.replaced
    roots = [sd[:, kept, :, None] for sd in drawn.sd]
    for k, block in enumerate(design.blocks):
        if len(block.terms) > 1:
            roots[k] = roots[k] * square_root(drawn.correlation[k][:, kept])
    sigmas = np.ones((chains, each)) if drawn.sigma is None else drawn.sigma[:, kept]
    watched = [_spread_out(len(block.levels)) for block in design.blocks]
    means = [np.zeros((len(block.levels), len(block.terms))) for block in design.blocks]
    seen = [np.empty((chains, each, len(w), m.shape[1])) for w, m in zip(watched, means, strict=True)]
    for chain, draw in np.ndindex(chains, each):
        sigma = float(sigmas[chain, draw])
        factors = relative_factors(data, [part[chain, draw] for part in roots], sigma)
        given = conditional(of_b.joined(data, sigma) if exact else data, factors)
        b = given.b
        if not exact:
            b = np.linalg.solve(data.shift.to_data, drawn.b[chain, kept[draw]] - data.shift.origin)
        for k, c in enumerate(group_coefficients(data, given, b)):
            means[k] += c
            seen[k][chain, draw] = c[watched[k]]
    pairs = zip(drawn.coefficients(design), watched, strict=True)
    drawn_error = _largest_error([coefficients[:, :, w] for coefficients, w in pairs])
    return Step(
        "Monte Carlo error",
        f"The means of {chains * length:,} draws of the coefficients became means of their exact expectations given "
        f"{chains * each:,} draws of {'' if exact else 'b, '}{_variances(design)}; the Monte Carlo standard error was "
        f"at most {drawn_error:.2g}, and what these draws leave of it is at most {_largest_error(seen):.2g}",
        tuple(total / (chains * each) for total in means),
    )


def _work(data: Moments) -> float:
    """What one conditional mean costs, in numbers touched."""
    work = OVERHEAD + sum(f.A.shape[-1] * len(f.A) * (len(f.A) + data.p + 1) for f in data.factors)
    if data.rest is not None:
        blocks, first = data.rest.blocks, data.factors[0]
        N = blocks.count * blocks.size
        work += N * blocks.size**2 / 30 + N * blocks.size * min(first.A.shape[-1], blocks.size) / 30
    return float(work)


def _spread_out(levels: int) -> NDArray[np.intp]:
    """Which levels to compute Monte Carlo errors for."""
    return np.unique(np.linspace(0, levels - 1, min(levels, DIAGNOSED_LEVELS)).round().astype(np.intp))


def _largest_error(draws: list[Array]) -> float:
    """The largest Monte Carlo standard error of a mean, sd / sqrt(ESS), of arrays (chain, draw, level, term)."""
    from arviz_stats.base import array_stats

    errors = [array_stats.mcse(part, method="mean", chain_axis=0, draw_axis=1) for part in draws]
    return max(float(np.nan_to_num(error).max()) for error in errors)

"""What looks wrong in a foreign answer that fits the design in form: remarks, not refusals.

A file need not say what rows it is of. These are told by the numbers:

==============================================  =========================================================
what                                            why it is odd
==============================================  =========================================================
fitted values miss the response on average      an intercept makes the residuals of a fit sum to about 0
group effects make the fit worse than none      they are there to make it better, most of all a group's own
deviations do not stand about zero              effects beside a population value sum to about 0
==============================================  =========================================================
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, RandomBlock
from workbench.families import family_of
from workbench.fit import Fit
from workbench.words import count, significant

Array = NDArray[np.float64]

OFF_CENTRE = 0.1
"""Fitted values that miss by this share of the response's SD on average are remarked on."""
ONE_SIDED = 0.5
"""Deviations whose mean is this share of their root mean square are remarked on."""
FEW = 5
"""Of fewer levels than this, deviations may well stand on one side of zero."""


def remarks(fit: Fit, source: str) -> tuple[str, ...]:
    """What a reader should look at before using the numbers of a foreign fit."""
    return (
        *_without_population(fit, source),
        *_off_centre(fit, source),
        *_worse(fit, source),
        *_one_sided(fit, source),
    )


def _without_population(fit: Fit, source: str) -> Iterator[str]:
    parts = fit.group_effects
    if parts and all(np.isnan(part.coefficient.estimate).all() for part in parts):
        yield (
            f"{source} gives deviations without population values, so coefficients, and gaps and pictures of them, are "
            "missing. Add its population coefficients."
        )


def _off_centre(fit: Fit, source: str) -> Iterator[str]:
    """A remark where fitted values miss the response on average: other data, or an intercept of centred columns."""
    design = fit.design
    if "(Intercept)" not in design.fixed_terms:
        return
    missed = float(np.average(fit.residuals, weights=design.weights))
    if abs(missed) > OFF_CENTRE * float(np.std(design.y)):  # NaN where something is not given
        yield (
            f"The fitted values of {source} miss {design.response} by {significant(missed)} on average: are its data, "
            "formula and link the same, and its intercept the value where all columns are zero?"
        )


def _worse(fit: Fit, source: str) -> Iterator[str]:
    """A remark where the response lies farther from the fitted values than from those without group effects.

    The mode of the effects given everything else cannot do that: it has the smallest sum of deviance and penalty, and
    effects of zero have no penalty.
    """
    design = fit.design
    with_effects, without = _deviance(design, fit.fitted), _deviance(design, _population_mean(fit))
    if with_effects > without:
        yield (
            f"{design.response} lies farther from the fitted values of {source} with its group effects than without "
            "(the deviance is "
            f"{significant(with_effects)}, not {significant(without)}): do its levels carry the right labels?"
        )


def _population_mean(fit: Fit) -> Array:
    design = fit.design
    return np.asarray(design.mean(design.X @ fit.population.estimate + design.offset), dtype=float)


def _deviance(design: Design, mean: Array) -> float:
    if not np.isfinite(mean).all():
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        return family_of(design.family, design.link).deviance(design.y, mean, design.weights)


def _one_sided(fit: Fit, source: str) -> Iterator[str]:
    """A remark where deviations stand to one side of zero: coefficients, ratios, or differences from a level."""
    for block, part in zip(fit.design.blocks, fit.group_effects, strict=True):
        for k, term in enumerate(block.terms):
            own = part.effect.estimate[:, k]
            own = own[np.isfinite(own)]
            if not _beside_population(block, k) or len(own) < FEW:
                continue
            mean, size = float(own.mean()), float(np.sqrt(np.mean(own**2)))
            if abs(mean) > ONE_SIDED * size:
                yield (
                    f"The deviations of {term} by {block.group} in {source} average {significant(mean)} over "
                    f"{count(len(own), 'level')}, where those from a population value average zero: are they "
                    "coefficients, ratios, or differences from a reference level?"
                )


def _beside_population(block: RandomBlock, k: int) -> bool:
    return block.fixed[k] is not None

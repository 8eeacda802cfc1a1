"""What priors make of a posterior that R-hat does not show: defaults that stand far from the data, tails, improperness.

The SD of a varying intercept is that of the groups where all varying columns are zero. Where zero lies far from the
data (years, ages) and slopes vary, groups differ there by the spread of the slopes times that distance, however alike
they are among the data. A default of the response's size then forbids varying slopes.

Draws have a mean and an SD even where their posterior has none. The Pareto k of their tails tells (Vehtari, Simpson,
Gelman, Yao & Gabry 2024, JMLR 25(72)): moments up to 1/k exist, and above 0.7 means of thousands of draws are not to be
trusted either.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.prior_defaults import default_priors
from workbench.priors import Prior
from workbench.sampling.draws import Draws, named_parameters
from workbench.words import join, significant

Array = NDArray[np.float64]

INTERCEPT = "(Intercept)"
FAR = 5.0
"""A column is far from zero where its mean is more than so many of its SDs.

Of the sleep study with its days counted from 1, 10, 100 and 1000, the SD of slopes (6.5) comes out as 6.4, 5.1, 4.1 and
0.03 under the defaults.
"""
LONG = 0.7
"""Pareto k of a tail above which a mean of draws is not to be trusted."""
FEWEST = 100
"""Of fewer draws the tails say nothing."""


class FarIntercept(NamedTuple):
    """A default prior of a varying intercept, and the column whose mean and SD say that zero is far from the data."""

    group: str
    term: str
    name: str
    prior: str
    mean: float
    spread: float


def far_intercepts(design: Design, priors: Mapping[str, Prior]) -> list[str]:
    """Default priors of varying intercepts that stand far from the data, in words.

    Parameters
    ----------
    design : Design
    priors : mapping of str to Prior
        Resolved.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.prior_defaults import resolve_priors
    >>> table = {"y": [1.0, 2, 4, 3, 2, 5], "year": range(2000, 2006), "g": list("ababab")}
    >>> design = build_design("y ~ year + (year | g)", table)
    >>> print(far_intercepts(design, resolve_priors(design, {}))[0][:69])
    The default prior of sd(g, (Intercept)) is that of groups at year = 0
    >>> far_intercepts(design, resolve_priors(design, {"sd(g, (Intercept))": "HalfNormal(500)"}))
    []
    """
    return [
        f"The default prior of {far.name} is that of groups at {far.term} = 0, far from the data (mean "
        f"{significant(far.mean, 5)}, SD {significant(far.spread, 3)}). Where slopes vary, groups differ there far "
        f"more than {far.prior} allows, so sd({far.group}, {far.term}) is pressed down. Write center({far.term}) "
        f"wherever the formula has it, or state the prior of {far.name}."
        for far in far_from_zero(design, priors)
    ]


def far_from_zero(design: Design, priors: Mapping[str, Prior] | Mapping[str, str]) -> list[FarIntercept]:
    """Which default priors of varying intercepts are those of groups far from the data; `priors` as in a fit, or read.

    Priors that do not have a spread of the intercept have none of these.
    """
    found = []
    for group in design.groups:
        blocks = [block for block in design.blocks if block.group == group]
        name = f"sd({group}, {INTERCEPT})"
        used = str(priors.get(name, ""))
        if (
            not used
            or not any(INTERCEPT in block.terms for block in blocks)
            or used != str(default_priors(design)[name])
        ):
            continue
        for block in blocks:
            for term, column in zip(block.terms, block.Z.T, strict=True):
                mean, spread = float(column.mean()), float(column.std())
                if term != INTERCEPT and abs(mean) > FAR * spread:
                    found.append(FarIntercept(group, term, name, used, mean, spread))
    return found


def long_tails(design: Design, drawn: Draws) -> list[str]:
    """Parameters whose draws have so long a tail that their mean and SD say nothing, in words."""
    from arviz_stats.base import array_stats

    names, draws = named_parameters(design, drawn)
    if drawn.chains * drawn.draws < FEWEST:
        return []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws that do not vary
        k = np.array([array_stats.pareto_khat(draws[..., i], tail="both") for i in range(len(names))])
    far = np.flatnonzero(k > LONG)
    if not len(far):
        return []
    named, many = join([names[i] for i in far]), len(far) > 1
    return [
        f"The draws of {named} have a tail so long (Pareto k {significant(float(k[far].max()), 2)}) that the posterior "
        f"has no standard deviation, and perhaps no mean: those printed for {'them' if many else 'it'} are chance. "
        "Read medians and intervals, or use priors of the standard deviations with a shorter tail."
    ]


def perhaps_improper(priors: Mapping[str, Prior]) -> list[str]:
    """Why a sampler may find no end where priors are flat, in words; for fits that did not converge."""
    flat = [name for name, prior in priors.items() if prior.kind == "Flat"]
    if not flat:
        return []
    return [
        f"The prior of {join(flat)} is Flat(), which is improper: where the data do not bound a parameter, so is the "
        "posterior, and no number of draws will converge. Use proper priors, such as HalfNormal of a standard "
        "deviation."
    ]

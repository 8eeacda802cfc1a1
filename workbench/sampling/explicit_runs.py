"""Running the explicit model: parametrisations chosen, and again where the sampler diverged.

A run with divergences is repeated at a higher target acceptance; where that has some too, and the parametrisation was
not stated by the user, once more with the other one. The run with the fewest divergences is kept, and what happened is
said. Whatever step sizes and mass matrices are, they change how far draws depend on each other, not the posterior.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.design import Design
from workbench.priors import Prior
from workbench.sampling.centring import Parametrisation, choose, listed, other
from workbench.sampling.draws import Draws
from workbench.sampling.explicit import build_model, starts
from workbench.sampling.names import block_names
from workbench.sampling.nuts import Plan, read_draws, sample_tree
from workbench.sampling.responses import check_sampled

PATIENT = 0.99
"""The target acceptance of the second run, made when the first one had divergences."""
LOW_RANK = 300
"""Up to so many group effects, the mass matrix may follow correlations where several blocks are centred.

Crossed factors trade their means: of 4 x 1,000 draws the least effective sample of Penicillin's coefficients was 398
with a diagonal matrix, 3,872 with a low-rank one. Spreads near zero mix worse with it (Pastes, neither centred: 143 and
433), so that blocks that are not centred do without; and with grouseticks' 584 effects, none centred, it did not end
within minutes.

It may, too, where a population coefficient is tied to the intercept (a column far from zero) or to the values of a
centred block (a column that is the same within levels). Of 4 x 1,000 draws of ticks by the raw height of 118 broods,
the least effective sample was 5 with a diagonal matrix, 2,094 with a low-rank one.
"""
FAR = 2.0
"""A column is far from zero where its mean is more than so many of its SDs."""


@dataclass(frozen=True, eq=False)
class Run:
    """Draws of the explicit model, how its blocks were written (by name), why, and what had to be done again."""

    draws: Draws
    parametrisation: Mapping[str, str]
    reason: str
    remarks: tuple[str, ...]


def sample_explicit(design: Design, priors: Mapping[str, Prior], given: Parametrisation, plan: Plan) -> Run:
    """Sample the explicit model of a design, at most three times.

    Parameters
    ----------
    design : Design
    priors : mapping of str to Prior
        Resolved; with ``nu`` for Student-t residuals.
    given : "auto", "noncentered", "centered" or a mapping
        As in :func:`workbench.sampling.centring.choose`.
    plan : Plan
        Of the first run.
    """
    check_sampled(design)
    kinds, reason = choose(design, given, robust="nu" in priors)

    def sampled(kinds: tuple[str, ...]) -> Draws:
        return sample_model(build_model(design, priors, kinds), design, plan, starts(design, priors, kinds))

    best = sampled(kinds)
    remarks: list[str] = []
    whole = best.chains == plan.chains  # nothing is done again that was interrupted
    if divergences(best) and plan.target_accept < PATIENT and whole:
        remarks.append(
            f"A first run at target_accept {plan.target_accept:g} had {divergences(best)} divergences; it was done "
            f"again at {PATIENT:g}."
        )
        plan = replace(plan, target_accept=PATIENT)
        best = sampled(kinds)
    if divergences(best) and given == "auto" and best.chains == plan.chains:
        others = other(kinds)
        again = sampled(others)
        kept = divergences(again) < divergences(best)
        remarks.append(
            f"That run had {divergences(best)} divergences; with the other parametrisation ({listed(design, others)}) "
            f"there were {divergences(again)}, and {'this' if kept else 'the former'} run is shown."
        )
        best, kinds = (again, others) if kept else (best, kinds)
    return Run(best, dict(zip(block_names(design), kinds, strict=True)), reason, tuple(remarks))


def divergences(draws: Draws) -> int:
    """How many transitions diverged."""
    return int(np.sum(draws.stats["diverging"]))


def sample_model(model: Any, design: Design, plan: Plan, starts: Mapping[str, Any]) -> Draws:
    """Sample a PyMC model of a design (:func:`workbench.sampling.explicit.build_model`).

    Chains start at the prior means of the coefficients or at `starts`, and scattered in what has no unit (logs of
    spreads, standard effects): a coefficient of a column in hundreds that starts one off is a linear predictor beyond
    any exponential.
    """
    scattered = {rv for rv in model.free_RVs if not rv.name.startswith(("b[", "c_"))}
    effects = sum(len(block.levels) * len(block.terms) for block in design.blocks)
    centred = {rv.name.split("[")[0] for rv in model.free_RVs if rv.name.startswith("c_")}
    low_rank = effects <= LOW_RANK and (len(centred) > 1 or entangled(design, centred))
    return read_draws(sample_tree(model, plan, scattered, low_rank, starts), design)


def entangled(design: Design, centred: Container[str]) -> bool:
    """Whether the posterior ties a population coefficient to the intercept or to the values of a centred block.

    It does where a column lies `FAR` from zero, and where one is the same in all rows of a level. `centred` holds the
    names of centred blocks, each after ``c_``.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2, 4, 3], "g": list("aabb"), "x": [1, 0, 0, 1], "z": [0, 0, 1, 1], "t": [8, 9, 8, 9]}
    >>> [entangled(build_design(f"y ~ {x} + (1 | g)", table), {"c_g"}) for x in "xzt"]
    [False, True, True]
    """
    for name, column in zip(design.fixed_terms, design.X.T, strict=True):
        if name == "(Intercept)":
            continue
        if "(Intercept)" in design.fixed_terms and abs(column.mean()) > FAR * column.std():
            return True
        for own, block in zip(block_names(design), design.blocks, strict=True):
            of_levels = np.empty(len(block.levels))
            of_levels[block.codes] = column
            if f"c_{own}" in centred and np.array_equal(of_levels[block.codes], column):
                return True
    return False

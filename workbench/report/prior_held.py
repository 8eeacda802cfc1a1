"""What the fixed prior holds, whose numbers these are, and where they differ from the mixed model's own estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.fit import Fit
from workbench.gap import called
from workbench.plots.varying import Varying, population, varying
from workbench.words import MISSING, join, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.estimators.fixed_prior import Options

HUBS = ("reml", "laplace")
"""The mixed models whose mean and SD bayesglm is told."""
EQUAL = 1e-6
"""Numbers that differ by less than this part of the prior's SD are the same: optimisers end so far apart."""
MOST = 3
"""So many differences are told."""


def hub_of(fits: Mapping[str, Fit]) -> str | None:
    """The mixed model of a comparison, by its name."""
    return next((name for name in HUBS if name in fits), None)


@dataclass(frozen=True)
class PriorPair:
    """One number of the fixed prior beside the mixed model's; `scale` is what a difference is measured in."""

    label: str
    held: float
    mixed: float
    scale: float

    @property
    def distance(self) -> float:
        """Their difference over the scale; NaN where there is no mixed model's number."""
        gap = abs(self.held - self.mixed)
        return gap / self.scale if self.scale > 0 else 0.0 if gap == 0 else np.inf

    @property
    def differs(self) -> bool:
        """Whether they are two numbers."""
        return bool(self.distance > EQUAL)


def pairs(comparison: Comparison, hub: str) -> tuple[PriorPair, ...]:
    """Means and SDs of the group coefficients' prior beside the mixed model's, in the design's order."""
    fixed, mixed = comparison.fits["fixed_prior"], comparison.fits[hub]
    terms = varying(comparison)
    means: dict[str, PriorPair] = {}
    sds = []
    for v in terms:
        spread = _sd(fixed, v)
        held, own = _mean(fixed, v), population(mixed, v)
        paired = fixed.design.blocks[v.block].fixed[v.column] is not None
        key = v.term if paired else f"{v.term} by {v.group}"
        means.setdefault(key, PriorPair(f"mean of {key}", held, own, max(spread, _sd(mixed, v))))
        several = len({u.term for u in terms if u.group == v.group}) > 1
        label = f"SD of {v.term} by {v.group}" if several else f"SD by {v.group}"
        sds.append(PriorPair(label, spread, _sd(mixed, v), _sd(mixed, v)))
    return (*means.values(), *sds)


def _mean(fixed: Fit, v: Varying) -> float:
    """What the fixed prior's coefficients of a term deviate from."""
    part = fixed.group_effects[v.block]
    gap = part.coefficient.estimate[:, v.column] - part.effect.estimate[:, v.column]
    return float(np.median(gap)) if fixed.design.blocks[v.block].fixed[v.column] is None else population(fixed, v)


def _sd(fit: Fit, v: Varying) -> float:
    return float(fit.components[v.block].sd[v.column]) if fit.components else np.nan


def told_apart(held: float, mixed: float) -> tuple[str, str]:
    """Two numbers with as many digits, four at least, as show that they are two.

    Examples
    --------
    >>> told_apart(-1.3992304, -1.3983431), told_apart(2.0, 3.5), told_apart(1.00001, 1.00002)
    (('−1.399', '−1.398'), ('2.000', '3.500'), ('1.00001', '1.00002'))
    """
    for digits in range(4, 15):
        both = significant(held, digits), significant(mixed, digits)
        if both[0] != both[1]:
            break
    return both


def stated(options: Options) -> tuple[bool, bool]:
    """Whether a mean, and an SD, were stated."""
    return options.mean is not None, options.sd is not None


def source_of(fixed: Fit) -> str | Fit | None:
    """What the prior's numbers come from: a fit, an estimator's name, or None where all were stated."""
    source = fixed.options.source(fixed.design.family)
    if isinstance(source, str) and source not in fixed.options.needs(fixed.design):
        return None
    return source if isinstance(source, (str, Fit)) else None


def is_own(fixed: Fit, hub: str) -> bool:
    """Whether all that the prior holds is what the mixed model estimates of these data."""
    return source_of(fixed) == hub and not any(stated(fixed.options))


def whose(fixed: Fit) -> str:
    """Whose mean and SD the prior holds, in words, e.g. ``mean and SD of REML``."""
    source, (mean, sd) = source_of(fixed), stated(fixed.options)
    name = called(source) if isinstance(source, str) else None
    if isinstance(source, Fit):
        name = f"another fit ({called(source.estimator)} of {source.design.formula})"
    if name is None or (mean and sd):
        rest = f", the rest of {name}" if name else ""
        return f"a stated mean and SD{rest}"
    if mean or sd:
        return f"a stated {'mean' if mean else 'SD'}, the rest of {name}"
    return f"mean and SD of {name}"


def differences(found: Iterable[PriorPair], hub: str) -> str:
    """The pairs that differ, the most distant first; empty where all are the same."""
    apart = sorted((p for p in found if p.differs), key=lambda p: -p.distance)
    if not apart:
        return ""
    parts = []
    for pair in apart[:MOST]:
        one, other = told_apart(pair.held, pair.mixed)
        parts.append(f"{pair.label} {one} against {other}" if other != MISSING else f"{pair.label} {one}")
    more = f" and {len(apart) - MOST:,} more" if len(apart) > MOST else ""
    return f"{', '.join(parts)}{more}" if more else join(parts)


def estimated(fixed: Fit) -> list[int]:
    """Population coefficients that are neither the mean of a prior nor held."""
    plugged = {k for block in fixed.design.blocks for k in block.fixed if k is not None}
    held = fixed.diagnostics.get("held", {})
    return [k for k, term in enumerate(fixed.design.fixed_terms) if k not in plugged and term not in held]


def summary_over_display(fixed: Fit) -> float:
    """How many times as long as display()'s the standard errors of summary() are, in R's arm, of a fixed prior's fit.

    NaN where both are the same (no dispersion is estimated), where arm's function cannot give the fit (a dispersion
    that is held, a prior SD of zero), or where no row is left over.
    """
    design = fixed.design
    free = design.family == "gaussian" and not design.known_se and fixed.read_from is None
    possible = all((part.sd > 0).all() for part in fixed.components)
    if not free or not possible or fixed.diagnostics.get("dispersion_rule") != "em":
        return float("nan")
    effects = sum(part.effect.estimate.size for part in fixed.group_effects)
    left = int((design.weights > 0).sum()) - effects - len(estimated(fixed))
    if left <= 0 or not fixed.sigma > 0:
        return float("nan")
    squares = float(np.sum(design.weights * (design.y - fixed.fitted) ** 2))
    return float(np.sqrt(squares / left) / fixed.sigma)

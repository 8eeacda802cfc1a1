"""`henderson`: population coefficients and group effects *given* the variances, exactly or by gradient descent.

With the variances known there is nothing left to maximise over: Henderson's mixed-model equations (1975,
doi:10.2307/2529430) give the best linear unbiased predictions of the effects and, in the same system, the generalised
least-squares estimates of the population coefficients. `reml` finds the variances and then does this.

The same numbers are the minimum of a penalised sum of squares (:mod:`workbench.iterations.descent`), which a gradient
finds without solving anything, as a neural-network toolkit does; ``fit.trace`` holds every step of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, check_gaussian
from workbench.errors import OptionError, nearest
from workbench.estimates import Estimates, GroupEffects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.iterations.descent import RULES, Descent, descend
from workbench.iterations.spreads import Spreads, fit_at, says_everything, stated
from workbench.moments import moments

Array = NDArray[np.float64]

METHODS = ("exact", *RULES)
STARTS = ("zero", "least_squares")


@dataclass(frozen=True)
class Options:
    """Options of `henderson`.

    Attributes
    ----------
    variances : mapping of str to number, Fit, or None
        By name (:mod:`workbench.iterations.spreads`): ``{"sd(Subject, Days)": 5.9221, "sigma": 25.5918}``. What is not
        stated is REML's; so is everything where this is left out. Of another fit of the same formula, all of its own.
    method : "exact", "gradient" or "adam"
    steps : int
        Of a descent, at most.
    learning_rate : float or None
        By default 0.1 of ``adam``, one over the largest curvature of ``gradient``.
    start : "zero" or "least_squares"
        Of a descent: all parameters zero, or population coefficients as without groups.
    scaled : bool
        Whether a descent counts every parameter in a unit of its own curvature.
    """

    variances: Mapping[str, float] | Fit | None = None
    method: str = "exact"
    steps: int = 50_000
    learning_rate: float | None = None
    start: str = "zero"
    scaled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.variances, Mapping | Fit | None):
            raise OptionError(
                f'variances is {self.variances!r}, but must be a mapping such as {{"sigma": 25.6}}, or a fit.'
            )
        if isinstance(self.variances, Mapping):
            object.__setattr__(self, "variances", MappingProxyType(dict(self.variances)))
        for name, allowed in (("method", METHODS), ("start", STARTS)):
            if (value := getattr(self, name)) not in allowed:
                raise OptionError(f"{name} is {value!r}. {nearest(str(value), allowed)}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise OptionError(f"steps is {self.steps!r}, but must be a whole number from 1 on.")
        rate = self.learning_rate
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if rate is not None and not (number and 0 < rate < np.inf):
            raise OptionError(f"learning_rate is {rate!r}, but must be a number above 0.")
        if not isinstance(self.scaled, bool):
            raise OptionError(f"scaled is {self.scaled!r}, but must be true or false.")

    def needs(self, design: Design) -> tuple[str, ...]:
        """Estimators whose fits it builds on: REML's, unless every variance is stated."""
        told = isinstance(self.variances, Fit) or says_everything(design, self.variances or {})
        return () if told else ("reml",)


def henderson(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Predict at given variances.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors and varying terms.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream : mapping of str to Fit
        ``reml``, unless every variance is stated.

    Returns
    -------
    Fit
        Standard errors are those of the exact solution, the variances taken as known. `criterion` is -2 log restricted
        likelihood of the variances. Of a descent, `trace` is the :class:`workbench.iterations.descent.Descent`,
        estimates are where it ended, and `converged` says whether every slope had vanished there.

    Raises
    ------
    OptionError
        Variances that the design does not have, or that no effects can have.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> options = Options(variances={"sd(g)": 1.0, "sigma^2": 2.0})     # half of each deviation is kept
    >>> henderson(design, options=options).group_effects[0].effect.estimate[:, 0].round(4).tolist()
    [-1.1667, -0.1667, 1.3333]
    """
    check_gaussian(design, "henderson")
    at = _variances(design, options.variances, upstream)
    words = "at the given variances" if options.variances is not None else "at REML's variances"
    fit = fit_at(design, moments(design), at, settings.level, "henderson", words)
    if options.method == "exact":
        return fit
    effects = [part.effect.estimate.ravel() for part in fit.group_effects]
    exact = np.concatenate([fit.population.estimate, *effects])
    trace = descend(
        design, at, exact, options.method, options.steps, options.learning_rate, options.start, options.scaled
    )
    return _where_it_ended(fit, trace, settings.level)


def _variances(design: Design, given: Any, upstream: Mapping[str, Fit]) -> Spreads:
    if isinstance(given, Fit):
        own, theirs = ([(b.group, b.terms) for b in d.blocks] for d in (design, given.design))
        if own != theirs or not given.components:
            raise OptionError(
                f"variances is a fit of {given.design.formula} by {given.estimator}, which does not have the variances "
                f"of {design.formula}. State them by name."
            )
        return Spreads.of(given)
    rest = Spreads.of(upstream["reml"]) if "reml" in upstream else None
    return stated(design, given or {}, rest, "variances")


def _where_it_ended(fit: Fit, trace: Descent, level: float) -> Fit:
    """The fit with the descent's last parameters in place of the solution, each with the solution's error."""
    b, effects = trace.split(trace.parameters[-1])
    by = {"adam": "Adam", "gradient": "gradient descent"}[trace.method]
    parts = []
    for block, part, u in zip(fit.design.blocks, fit.group_effects, effects, strict=True):
        value = np.array([0.0 if k is None else b[k] for k in block.fixed])
        effect, coefficient = (
            Estimates.wald(estimate, old.std_error, level, f"{old.point}, by {by}", old.std_error_kind)
            for estimate, old in ((u, part.effect), (u + value, part.coefficient))
        )
        parts.append(GroupEffects(part.group, part.levels, part.sizes, part.terms, effect, coefficient))
    old = fit.population
    far = np.abs(trace.parameters[-1] - trace.exact)
    return replace(
        fit,
        population=Estimates.wald(b, old.std_error, level, f"{old.point}, by {by}", old.std_error_kind),
        group_effects=tuple(parts),
        converged=trace.converged,
        warnings=(*fit.warnings, *([trace.reason] if trace.reason else [])),
        diagnostics=MappingProxyType(
            {
                "steps": int(trace.steps[-1]),
                "learning_rate": trace.rate,
                "excess": float(trace.objective[-1] - trace.least),
                "max_difference": float(far.max()),
            }
        ),
        trace=trace,
    )

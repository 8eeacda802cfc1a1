"""The named scalar parameters of a Gaussian mixed model, and their values at an optimum.

The names are those that priors stand on: ``(Intercept)``, ``Days``, ``sigma``, ``sd(Subject, Days)``,
``cor(Subject, (Intercept), Days)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component
from workbench.fit import Fit
from workbench.likelihood import degrees_of_freedom
from workbench.moments import Moments
from workbench.optimum import Optimum
from workbench.priors import coefficient_name

Array = NDArray[np.float64]

MAXIMISED = ("reml", "ml")


@dataclass(frozen=True)
class Parameter:
    """One scalar parameter.

    Attributes
    ----------
    name : str
    kind : "fixed", "sigma", "sd" or "cor"
    block : int
        Which of the design's random blocks, for an SD or a correlation.
    columns : tuple of int
        The fixed column; or the varying column (SD) or the two of them (correlation) within the block.
    """

    name: str
    kind: str
    block: int = -1
    columns: tuple[int, ...] = ()


def parameters_of(design: Design) -> tuple[Parameter, ...]:
    """All parameters of a design: population coefficients, sigma unless known, SDs and correlations by block.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> d = build_design("y ~ x + (x | g)", {"y": [1.0, 2.0, 4.0, 3.0, 5.0], "x": [0, 1, 0, 2, 1], "g": list("aabbb")})
    >>> [p.name for p in parameters_of(d)]
    ['(Intercept)', 'x', 'sigma', 'sd(g, (Intercept))', 'sd(g, x)', 'cor(g, (Intercept), x)']
    """
    found = [Parameter(coefficient_name(term), "fixed", columns=(k,)) for k, term in enumerate(design.fixed_terms)]
    if not design.known_se:
        found.append(Parameter("sigma", "sigma"))
    for place, block in enumerate(design.blocks):
        found += [Parameter(f"sd({block.group}, {term})", "sd", place, (k,)) for k, term in enumerate(block.terms)]
        found += [
            Parameter(f"cor({block.group}, {block.terms[a]}, {block.terms[b]})", "cor", place, (a, b))
            for a, b in combinations(range(len(block.terms)), 2)
        ]
    return tuple(found)


def choose(known: Sequence[Parameter], wanted: str | Sequence[str] | None) -> tuple[Parameter, ...]:
    """Pick parameters by name; an unknown one is an OptionError with the nearest name."""
    if wanted is None:
        return tuple(known)
    by_name = {parameter.name: parameter for parameter in known}
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in by_name:
            raise OptionError(f"This model has no parameter {name!r}. {nearest(str(name), by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def values_at(design: Design, data: Moments, at: Optimum, restricted: bool) -> Array:
    """The values of all parameters where the criterion is smallest, in the order of `parameters_of`.

    A correlation is NaN beside a standard deviation of zero.
    """
    sigma2 = 1.0 if data.known_se else at.given.r2 / degrees_of_freedom(data, restricted)
    values = [*(data.shift.to_data @ at.given.b + data.shift.origin).tolist()]
    if not data.known_se:
        values.append(float(np.sqrt(sigma2)))
    parts: dict[int, Component] = {}
    for f, factor in zip(data.factors, at.factors, strict=True):
        root = f.to_data @ factor
        covariance = sigma2 * root @ root.T
        for where, place in zip(f.blocks, f.places, strict=True):
            parts[place] = Component(f.group, design.blocks[place].terms, covariance[where, where])
    for place in sorted(parts):
        sd, correlation = parts[place].sd, parts[place].correlation
        values += sd.tolist()
        values += [float(correlation[a, b]) for a, b in combinations(range(len(sd)), 2)]
    return np.array(values)


def check_maximised(fit: Fit, what: str) -> None:
    """Refuse fits that did not maximise a Gaussian likelihood."""
    if not isinstance(fit, Fit):
        raise OptionError(f"{what} takes a Fit, not {type(fit).__name__}. Make one: wb.fit(formula, data).")
    if fit.estimator not in MAXIMISED or fit.design.family != "gaussian":
        advice = (
            "Fit the model with estimator='reml' or 'ml'."
            if fit.design.family == "gaussian"
            else "Of other families laplace and agq have Wald intervals and fit.log_likelihood, aic and bic; exact and "
            "hierarchical have intervals of all parameters."
        )
        raise OptionError(
            f"{what} needs a gaussian fit by reml or ml, whose likelihood is maximised; this one is by "
            f"{fit.estimator} ({fit.design.family}). {advice}"
        )

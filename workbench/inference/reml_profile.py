"""Profile intervals of variance parameters from the REML criterion, around REML's own estimates.

:func:`workbench.inference.profile` profiles the ML deviance, as lme4 does, which serves population coefficients too. Of
standard deviations, correlations and sigma alone, the restricted likelihood is a likelihood (Harville 1974,
doi:10.1093/biomet/61.2.383): its profile belongs to the point that `reml` gives, and does not pass over what estimating
the population values costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import condensed
from workbench.data import read_only
from workbench.design import Design, check_gaussian
from workbench.inference.curve import trace
from workbench.inference.held import Held
from workbench.inference.parameters import parameters_of, values_at
from workbench.likelihood import criterion
from workbench.moments import moments
from workbench.optimum import optimum

Array = NDArray[np.float64]

WIDEST = 0.999
"""Curves go on until they hold the interval of this level, where there is one."""


@dataclass(frozen=True, eq=False)
class RemlProfile:
    """One parameter's.

    Attributes
    ----------
    estimate, low, high : float
        `low` and `high` are the limit of what is possible where the criterion does not rise by the quantile before it.
    value, relative : array, shape (points,)
        The relative profile likelihood, in ascending order of the value.
    """

    estimate: float
    low: float
    high: float
    value: Array
    relative: Array

    def __post_init__(self) -> None:
        for name in ("value", "relative"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))


def reml_profiles(design: Design, level: float = 0.95) -> Mapping[str, RemlProfile]:
    """Profile the REML criterion over every standard deviation, correlation and sigma.

    Parameters
    ----------
    design : Design
        Gaussian.
    level : float
        Probability of the intervals.

    Returns
    -------
    mapping of str to RemlProfile
        By the parameter's name; a correlation beside a standard deviation that is estimated as zero has none.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> found = reml_profiles(build_design("y ~ 1 + (1 | g)", table))
    >>> {name: [round(v, 3) for v in (p.low, p.estimate, p.high)] for name, p in found.items()}
    {'sigma': [0.375, 0.707, 2.088], 'sd(g, (Intercept))': [1.019, 2.466, 10.524]}
    """
    check_gaussian(design, "reml_profiles")
    data = moments(design)
    best = optimum(data, restricted=True)
    estimates = values_at(design, data, best, True)
    few, least = condensed(data), criterion(data, best.given, reml=True)
    z, far = (NormalDist().inv_cdf(0.5 + share / 2) for share in (level, max(level, WIDEST)))
    found = {}
    for parameter, estimate in zip(parameters_of(design), estimates.tolist(), strict=True):
        if parameter.kind == "fixed" or not np.isfinite(estimate):
            continue
        held = Held.of(parameter, few, best, restricted=True)
        traced = trace(held, least, z, far, lambda name: None)
        low, high = (held.value_of(end) for end in traced.ends)
        value = np.array([held.value_of(point.place) for point in traced.points])
        found[parameter.name] = RemlProfile(estimate, low, high, value, np.exp(-0.5 * traced.zeta**2))
    return found

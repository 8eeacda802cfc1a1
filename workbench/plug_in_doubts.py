"""What keeps a fit under a plugged-in prior from being trusted, in words."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.em import End
from workbench.design import Design
from workbench.families import SEPARATED, family_of
from workbench.fit import Fit

Array = NDArray[np.float64]

NO_SPREAD = 1e-12
"""A smaller eigenvalue of the correlations is zero."""


def is_singular(covariance: Array) -> bool:
    """Whether an SD is zero, or a combination of the terms has none."""
    sd = np.sqrt(np.diag(covariance))
    return not sd.all() or bool(np.linalg.eigvalsh(covariance / np.outer(sd, sd))[0] < NO_SPREAD)


def doubts_of_plugged(fit: Fit, end: End, df: float, source: Fit | None, free: bool) -> list[str]:
    """Everything that keeps a fit under a plugged-in prior from being trusted, a sentence or two each.

    Parameters
    ----------
    fit : Fit
    end : End
        Where its EM ended.
    df : float
        Of the prior.
    source : Fit or None
        What was plugged in; None where mean and SD were stated.
    free : bool
        Whether the dispersion was estimated.
    """
    design, family = fit.design, family_of(fit.design.family, fit.design.link)
    found = [*_unsettled(end), *_of_source(design, source)]
    unit = "weights" if not (design.weights == 1).all() else "response" if family.link_name == "inverse" else ""
    if free and family.estimates_dispersion and unit:
        way = "'reml' or a number" if design.family == "gaussian" else "a number"
        found.append(
            "The dispersion was estimated as R's bayesglm does, counting rows without their working weights, so that "
            f"it depends on the unit of the {unit}. To hold it: dispersion={way}."
        )
    if isfinite(df):
        found.append(
            f"With t priors (df = {df:g}) the end of the approximate EM is close to the posterior mode, but is "
            "not it; standard errors hold every coefficient's prior SD where the EM left it."
        )
    if end.shortened:
        found.append("The last step was shortened to keep the means in the family's domain. Use another link.")
    if family.certain(fit.fitted):
        found.append(f"{SEPARATED}. Use tighter priors.")
    return found


def _unsettled(end: End) -> list[str]:
    found = []
    if end.boundless:
        found.append(
            "The dispersion grows without bound, as that of R's bayesglm does where weights are far below 1. Hold the "
            "dispersion, or multiply the weights so that their mean is 1."
        )
    elif not end.converged:
        found.append(
            f"Deviance and dispersion had not settled after {end.iterations:,} iterations. Raise max_iterations or "
            "hold the dispersion."
        )
    return found


def _of_source(design: Design, source: Fit | None) -> list[str]:
    """Doubts about what is plugged in."""
    if source is None:
        return []
    found = []
    if not source.converged:
        found.append(
            f"The {source.estimator} fit that was plugged in did not converge; see its warnings, or state mean and SD."
        )
    own = [text for text in source.warnings if text.startswith("Undetermined")]
    found += [f"What is plugged in is itself in doubt. {text}" for text in own]
    if source.design.response != design.response:
        found.append(
            f"The plugged-in fit is of {source.design.response}, this model of {design.response}: means and SDs are "
            "taken as they are, which needs both to be in one unit."
        )
    return found

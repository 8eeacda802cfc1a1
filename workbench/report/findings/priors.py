"""What priors do to full Bayes that a reader must know: defaults that stand far from the data, the pull of a mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import PriorError
from workbench.gap import called
from workbench.plots.style import title_of
from workbench.plots.varying import Varying, partial, varying
from workbench.priors import parse_prior
from workbench.report.findings.terms import sd_between
from workbench.sampling.prior_doubts import FarIntercept, far_from_zero
from workbench.words import significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

STEP = 1e-3
"""Slopes of log densities are taken over so many standard errors to both sides."""


def far_defaults(comparison: Comparison) -> list[str]:
    """Default priors of varying intercepts that stand far from the data, and what the spread of slopes becomes."""
    return [
        _far(comparison, fit, far)
        for fit in comparison.fits.values()
        if fit.priors
        for far in far_from_zero(fit.design, fit.priors)
    ]


def _far(comparison: Comparison, fit: Fit, far: FarIntercept) -> str:
    """One of them, with the SD of slopes by this fit and by the mixed model."""
    v, hub = _slopes(comparison, far), partial(comparison)
    ours = np.nan if v is None else sd_between(fit, v)
    theirs = np.nan if v is None or hub is None else sd_between(comparison.fits[hub], v)
    does, puts = "may press", ""
    if hub is not None and ours < theirs:
        does = "presses"
        puts = f": {title_of(fit.estimator)} puts it at {significant(ours)}, {called(hub)} at {significant(theirs)}"
    return (
        f"{title_of(fit.estimator)} is in doubt: its default prior of {far.name}, {far.prior}, is that of groups at "
        f"{far.term} = 0, far from the data (mean {significant(far.mean, 5)}, SD {significant(far.spread, 3)}), and "
        f"{does} the SD of {far.term} between groups down{puts}. Write center({far.term}) wherever the formula has "
        "it, or state that prior."
    )


def _slopes(comparison: Comparison, far: FarIntercept) -> Varying | None:
    found = (v for v in varying(comparison) if (v.group, v.term) == (far.group, far.term))
    return next(found, None)


def pull(prior: str, value: float, error: float) -> float:
    """How far a prior moves an estimate of this standard error that ends at `value`; 0 where the prior is not known.

    A normal likelihood of variance e^2 and a prior of density p put the mode where mode - maximum = e^2 (log p)'.

    Examples
    --------
    >>> round(pull("Normal(0, 5)", 4.0, 2.5), 6), pull("Flat()", 4.0, 2.5), pull("of its own", 4.0, 2.5)
    (-1.0, 0.0, 0.0)
    """
    try:
        density, h = parse_prior(prior).log_density, STEP * error
        slope = (density(value + h) - density(value - h)) / (2 * h)
    except PriorError:
        return 0.0
    return float(error**2 * slope) if np.isfinite(slope) else 0.0

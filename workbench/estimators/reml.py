"""`reml` and `ml`: the likelihood maximised.

After Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01): b is integrated out (REML, eq. 42) or
profiled (ML, eq. 35), sigma is profiled, and the criterion is minimised over theta, the free entries of the relative
covariance factor Lambda (:mod:`workbench.optimum`). What is left follows from theta (:mod:`workbench.answer`).
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.answer import answer, refuse_without_residual
from workbench.coordinates import Searched
from workbench.design import Design, check_gaussian
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.moments import moments
from workbench.optimum import optimum


def reml(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by restricted maximum likelihood: variance components unbiased by the fixed effects.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    settings : Settings
        Its `level` is the probability of the intervals.
    options, upstream
        Not used.

    Returns
    -------
    Fit
        `converged` is false where the end point is not certified as a minimum.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit = reml(build_design("y ~ 1 + (1 | g)", table))
    >>> tau2, sigma2 = fit.components[0].covariance[0, 0], fit.sigma**2
    >>> round(float(tau2), 6), round(sigma2, 6)   # (mean square between - within) / 2, and mean square within
    (6.083333, 0.5)
    """
    return _maximise(design, settings.level, restricted=True)


def ml(
    design: Design,
    settings: Settings = Settings(),
    options: None = None,
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by maximum likelihood; variances are smaller than REML's. See :func:`reml`."""
    return _maximise(design, settings.level, restricted=False)


def _maximise(design: Design, level: float, restricted: bool) -> Fit:
    check_gaussian(design, "REML and ML")
    data = moments(design)
    searched = Searched.of(data, restricted)
    refuse_without_residual(design, searched)
    at = optimum(data, restricted, searched)
    del searched  # as large as the moments
    return answer(design, data, at, restricted, level)

"""`em`: REML's variances by the EM algorithm, which counts what the raw update of `mackay` leaves out.

The effects are the missing data (Dempster, Rubin & Tsutakawa 1981, doi:10.1080/01621459.1981.10477653; Laird & Ware
1982, doi:10.2307/2529876). Every iteration adds their conditional covariance to the mean square of their predictions,
by the law of total variance, with the uncertainty of the population coefficients counted in
(:mod:`workbench.iterations.updates`). The restricted likelihood never falls, and REML's maximum is where it stands
still. It gets there slowly: the nearer a variance is to zero, the more the effects are "missing". `reml` finds the same
optimum by Newton's method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from workbench.design import Design, check_gaussian
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.iterations.iterated import checked_start, iterated
from workbench.iterations.updates import MOST

WORDS = "at REML's variances, by EM"


@dataclass(frozen=True)
class Options:
    """Options of `em`.

    Attributes
    ----------
    start : mapping of str to number, or None
        Variances by name (:mod:`workbench.iterations.spreads`); what is not stated is as it is by default
        (:func:`workbench.iterations.updates.default_start`).
    iterations : int
        At most so many.
    """

    start: Mapping[str, float] | None = None
    iterations: int = MOST

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", checked_start(self.start, self.iterations))


def em(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by REML's EM algorithm.

    Parameters
    ----------
    design : Design
        Gaussian, with one grouping factor and any number of varying terms.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream
        Not used.

    Returns
    -------
    Fit
        `trace` is the :class:`workbench.iterations.updates.Iterations`, `converged` whether it came to a fixed point.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> fit = em(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}))
    >>> round(float(fit.components[0].covariance[0, 0]), 6), round(fit.sigma**2, 6)      # REML's
    (6.083333, 0.5)
    """
    check_gaussian(design, "em")
    fit = iterated(design, "em", "em", options.start, options.iterations, settings.level, WORDS)
    q = [len(block.terms) for block in design.blocks]
    return replace(fit, df=len(design.fixed_terms) + sum(k * (k + 1) // 2 for k in q) + (not design.known_se))

"""`laplace`: generalised linear mixed models by maximum likelihood, the effects integrated out by Laplace's method.

What ``lme4::glmer`` does by default (``nAGQ = 1``): theta and the population coefficients are found together, where
Laplace's approximation of the deviance is least (:mod:`workbench.glmm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.design import Design
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.glmm.answer import answer
from workbench.glmm.rows import Rows
from workbench.glmm.search import check_information, optimum


@dataclass(frozen=True)
class Options:
    """Options of `laplace`.

    Attributes
    ----------
    information : "expected" or "observed"
        Of which information the determinant is, for links that are not canonical (probit, cloglog): expected as in
        lme4, or observed, the second derivative itself, as in glmmTMB. Both are called Laplace's approximation; for
        logit and log they are one.
    """

    information: str = "expected"

    def __post_init__(self) -> None:
        check_information(self.information)


def laplace(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by maximum likelihood, with Laplace's approximation of the integral over the effects.

    Parameters
    ----------
    design : Design
        Binomial or Poisson, any number of grouping factors.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream
        Not used.

    Returns
    -------
    Fit
        `criterion` is the deviance, -2 log likelihood with all constants. `converged` is false where the end point is
        not certified as a minimum. ``diagnostics["information"]`` says what the determinant is of.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    >>> fit = laplace(build_design("cbind(s, f) ~ 1 + (1 | g)", table, "binomial"))
    >>> round(float(fit.components[0].sd[0]), 3), round(fit.criterion.value, 3)
    (1.331, 23.825)
    """
    rows = Rows.of(design)
    best = optimum(rows, expected=options.information == "expected")
    return answer(design, best, "laplace", settings.level)

"""`mackay`: the variances by MacKay's quick and dirty empirical Bayes, no likelihood maximised.

Predict the effects at given variances, take new variances from the effects, and again, "while not yet bored"
(:mod:`workbench.iterations.updates`). As it is usually told, the update is the raw variance of the predicted effects,
which by the law of total variance comes out too small. Counted over the *effective* number of effects, as MacKay (1992,
doi:10.1162/neco.1992.4.3.415) wrote it, it ends at REML's variances with covariances held at zero. `em` does so with
covariances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.design import Design, check_gaussian
from workbench.errors import OptionError, nearest
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.iterations.iterated import checked_start, iterated
from workbench.iterations.updates import MOST

OWN = ("diagonal", "full", "effective")
WORDS = "at variances by MacKay's update"


@dataclass(frozen=True)
class Options:
    """Options of `mackay`.

    Attributes
    ----------
    update : "diagonal", "full" or "effective"
        The raw variances of the predicted effects; their whole covariance matrix, which tends to end at a correlation
        of 1; or squares over the effective number of effects. The first and the last keep no covariances.
    start : mapping of str to number, or None
        Variances by name (:mod:`workbench.iterations.spreads`); what is not stated is as it is by default
        (:func:`workbench.iterations.updates.default_start`).
    iterations : int
        At most so many.
    """

    update: str = "diagonal"
    start: Mapping[str, float] | None = None
    iterations: int = MOST

    def __post_init__(self) -> None:
        if self.update not in OWN:
            elsewhere = " EM is an estimator of its own: em." if self.update == "em" else nearest(str(self.update), OWN)
            raise OptionError(f"update is {self.update!r}. {elsewhere.strip()}")
        object.__setattr__(self, "start", checked_start(self.start, self.iterations))


def mackay(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Iterate variances and effects.

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
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit = mackay(build_design("y ~ 1 + (1 | g)", table))
    >>> round(float(fit.components[0].covariance[0, 0]), 4)        # REML's is 6.0833
    5.822
    """
    check_gaussian(design, "mackay")
    return iterated(design, "mackay", options.update, options.start, options.iterations, settings.level, WORDS)

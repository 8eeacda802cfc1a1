"""`statsmodels`: the mixed models of the Python package of that name, beside ours.

Gaussian responses by ``MixedLM`` (:mod:`workbench.statsmodels_fits.mixed_lm`), which maximises what `reml` or `ml`
maximise, by another search: where it converges, all differences are the optimiser's, and it fails or stops near the
boundary where these do not. Binomial and Poisson responses by ``BinomialBayesMixedGLM`` and ``PoissonBayesMixedGLM``
(:mod:`workbench.statsmodels_fits.bayes_mixed_glm`), which are Bayesian, with priors of their own, and approximate the
posterior that `hierarchical` samples under those priors.

Source: Seabold & Perktold (2010, doi:10.25080/Majora-92bf1922-011), and the package's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.statsmodels_fits import bayes_mixed_glm, mixed_lm

METHODS = ("vb", "map")


@dataclass(frozen=True)
class Options:
    """Options of `statsmodels`; where None stands for statsmodels' own choice.

    Attributes
    ----------
    criterion : "REML" or "ML"
        Of a gaussian response; "REML" is the default.
    method : "vb" or "map"
        Of counts and shares: variational Bayes, the default, or the joint posterior mode.
    vcp_p, fe_p : float
        Of counts and shares, statsmodels' priors: the SDs of the normal priors of every log SD of effects (1 by
        default), and of every population coefficient (2), both on the scale of the linear predictor.
    optimizer : str or None
        "bfgs", "lbfgs" or "cg"; of a gaussian response also "powell" or "nm". None: of a gaussian response bfgs,
        lbfgs and cg in turn until one converges; of counts and shares bfgs, or lbfgs for more than some hundred
        effects.
    max_iterations : int or None
        Of the optimiser.
    """

    criterion: str | None = None
    method: str | None = None
    vcp_p: float | None = None
    fe_p: float | None = None
    optimizer: str | None = None
    max_iterations: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("criterion", ("REML", "ML")),
            ("method", METHODS),
            ("optimizer", mixed_lm.OPTIMIZERS),
        ):
            if (value := getattr(self, name)) is not None and value not in allowed:
                raise OptionError(f"{name} is {value!r}. {nearest(str(value), allowed)}")
        for name in ("vcp_p", "fe_p"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < inf):
                raise OptionError(f"{name} is {value!r}, but must be a number above 0, the SD of a prior.")
        most = self.max_iterations
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise OptionError(f"max_iterations is {most!r}, but must be a whole number from 1 on.")

    def needs(self, design: Design) -> tuple[str, ...]:
        """Of a gaussian response, the fit that tells whether statsmodels' search ended at the maximum."""
        if design.family != "gaussian":
            return ()
        return ("ml",) if self.criterion == "ML" else ("reml",)

    def check(self, family: str) -> None:
        """Refuse options that are of the other kind of model."""
        gaussian = family == "gaussian"
        own = ("method", "vcp_p", "fe_p") if gaussian else ("criterion",)
        for name in own:
            if getattr(self, name) is not None:
                belongs = "binomial and poisson responses" if gaussian else "a gaussian response"
                raise OptionError(f"{name} is an option of statsmodels' models of {belongs}, not of {family} ones.")
        if not gaussian and self.optimizer not in (None, *bayes_mixed_glm.OPTIMIZERS):
            raise OptionError(
                f"optimizer is {self.optimizer!r}, but for {family} responses statsmodels needs one that uses slopes: "
                f"{', '.join(bayes_mixed_glm.OPTIMIZERS)}."
            )


def statsmodels(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by statsmodels.

    Parameters
    ----------
    design : Design
        Gaussian: correlated terms once, for one factor with all others nested in it; independent terms of any factors;
        an offset. Binomial (logit) and Poisson (log): independent terms of any factors. No weights, but trials.
    settings : Settings
        `level` of the intervals; `seed` of the point that a search for counts and shares starts from; `progress`.
    options : Options
    upstream : mapping of str to Fit
        ``reml`` (``ml``), whose criterion says whether a search for a gaussian maximum ended at it; nothing else of it
        is used, and it may be missing.

    Returns
    -------
    Fit
        Of a gaussian response the standard error of effects is the conditional SD and coefficients have none, as
        statsmodels gives it. Of counts and shares everything has a posterior mean and SD, as approximated; priors are
        in `priors`, statsmodels' own numbers of the log SDs in ``diagnostics["vcp_mean"]`` and ``["vcp_sd"]``.
        statsmodels' warnings are in `warnings`. Of a gaussian response ``diagnostics["above"]`` is how far the
        criterion lies above the best one, by ``reml`` or ``ml``; `converged` is statsmodels' own word, unless it lies
        above by more than 0.01.

    Raises
    ------
    DesignError, OptionError
        What statsmodels does not have, with what to use instead.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> fit = statsmodels(design)
    >>> fit.group_effects[0].effect.estimate[:, 0].round(2).tolist(), round(fit.criterion, 3)
    ([-2.24, -0.32, 2.56], 18.98)
    """
    options.check(design.family)
    if design.family == "gaussian":
        restricted = options.criterion != "ML"
        fit = mixed_lm.fit_mixed_lm(
            design, settings.level, restricted, options.optimizer, options.max_iterations, settings.progress
        )
        best = upstream.get("reml" if restricted else "ml")
        return fit if best is None else mixed_lm.beside(fit, best)
    names = ("method", "vcp_p", "fe_p", "optimizer", "max_iterations")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    asked = bayes_mixed_glm.Asked(**given)
    return bayes_mixed_glm.fit_bayes_mixed_glm(design, asked, settings.level, int(settings.seed), settings.progress)

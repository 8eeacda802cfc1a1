"""Regression with independent Student-t priors: what R's ``arm::bayesglm`` does, figure for figure.

``em`` is the algorithm, ``plain`` are its columns as a matrix, ``grouped`` those of grouping factors. ``scales`` makes
priors of arguments and columns, ``regression`` arrays of a formula and a table; ``answer`` is what comes back, with
``goodness`` (log likelihood, null deviance) and ``prediction`` (of new rows).

Source: Gelman, Jakulin, Pittau & Su (2008), A weakly informative default prior distribution for logistic and other
regression models, Annals of Applied Statistics 2(4), doi:10.1214/08-AOAS191; and what R's function gives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import isfinite
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np

from workbench.bayesglm.answer import BayesGlm
from workbench.bayesglm.goodness import deviance_of_the_mean
from workbench.bayesglm.plain import CoefficientPriors, Mode, posterior_mode
from workbench.bayesglm.regression import Regression, read_regression
from workbench.bayesglm.scales import PriorArguments, Values, coefficient_priors, is_number
from workbench.errors import DesignError, OptionError, nearest
from workbench.families import SEPARATED, Family, family_of
from workbench.rank import independent

__all__ = ["BayesGlm", "CoefficientPriors", "Mode", "bayesglm", "posterior_mode"]

DEPARTURES = ("scaling", "intercept", "aliased", "std_error")
FAR = 2.0
"""How many times the deviance of the mean response is far from the data."""
NOTHING: Mapping[Any, Any] = MappingProxyType({})


def bayesglm(
    formula: str,
    data: Any,
    family: str = "gaussian",
    link: str | None = None,
    weights: Any = None,
    offset: Any = None,
    prior_mean: Values = 0.0,
    prior_scale: Values | None = None,
    prior_df: Values = 1.0,
    prior_mean_for_intercept: float = 0.0,
    prior_scale_for_intercept: float | None = None,
    prior_df_for_intercept: float = 1.0,
    min_prior_scale: float = 1e-12,
    scaled: bool = True,
    drop_baseline: bool = True,
    dispersion: str | float = "em",
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    *,
    prior_joint: Mapping[Any, tuple[Any, Any]] = NOTHING,
    documented: bool | Collection[str] = (),
    level: float = 0.95,
) -> BayesGlm:
    """Fit a generalized linear model with Student-t priors, by the approximate EM of Gelman et al. (2008).

    For normal priors (df inf) the answer is the posterior mode given the dispersion, for others it is close to it:
    see :mod:`workbench.bayesglm.em`. Separated data get finite estimates.

    Parameters
    ----------
    formula : str
        lme4's notation without random terms; terms keep the order in which they are written, interactions too, as in
        R's function. A binomial response is 0/1, two labels (the first is failure), a proportion with the number of
        trials as `weights`, or ``cbind(successes, failures)``.
    data : dataframe, mapping or path
        See :func:`workbench.data.read`.
    family, link : str
        See :mod:`workbench.families`; the first link is the default.
    weights, offset : column name or array of shape (rows of the table,), optional
        Prior weights (rows with weight zero take part in scaling and centring alone) and an offset on the scale of
        the linear predictor.
    prior_mean, prior_scale, prior_df : number, sequence or mapping
        For all p coefficients but the intercept: one number, one for each in order, or by name, as a mapping or a
        pandas Series (those not named keep the default). Scale: 2.5 (4 for probit) by default, inf is flat. Df: 1 is
        Cauchy, inf is normal.
    prior_mean_for_intercept, prior_scale_for_intercept, prior_df_for_intercept : number
        Scale: 10 (16 for probit) by default.
    min_prior_scale : float
        Smallest scale that `scaled` may lead to.
    scaled : bool
        Divide each scale by the range of a column of two values, or 2 SD of one with more; multiply by 2 SD of a
        gaussian response; let the intercept's prior be about the linear predictor at the column means.
    drop_baseline : bool
        Code factors by contrasts. Otherwise they get as many columns as levels: all indicators, or (ordered) the
        polynomials from degree zero on.
    dispersion : "em" or number > 0
        Estimated (for families that have one), or held.
    tolerance : float
        Change of deviance and dispersion that counts as none.
    max_iterations : int
        R's ``maxit`` argument (its function does not look at ``glm.control(maxit=)``).
    prior_joint : mapping of names or places to (mean, covariance)
        Joint normal priors: ``{("(Intercept)", "x"): ([0, 0], [[1, 0.5], [0.5, 2]])}``; places count from 0. They are
        about the coefficients themselves, never scaled, and take the place of these coefficients' other priors.
        An intercept in such a block is the value at zero.
    documented : bool or collection of "scaling", "intercept", "aliased", "std_error"
        R's function departs from its documentation; by default so does this one, since its figures are the
        reference. Those named (all, for True) follow the documentation:

        * *scaling*: with a gaussian response R divides scales by the columns' spreads in the first iteration only;
        * *intercept*: R's prior of the intercept stands on the linear predictor at the column means, but its SD is
          updated from the intercept at zero;
        * *aliased*: columns that others explain stay in and share the effect; documented (as in ``glm``), they are
          dropped. Those with flat priors are always dropped;
        * *std_error*: where a dispersion is estimated, R's standard errors (``arm::se.coef``) take the residual sum
          of squares over n - p, not the EM's own dispersion.
    level : float
        Probability of the normal intervals.

    Returns
    -------
    BayesGlm

    Raises
    ------
    WorkbenchError
        Bad input of any kind; the message says what to do.

    Notes
    -----
    Where weights are zero and a dispersion is estimated, R (arm 1.13) adds vectors of different lengths; here such rows
    are left out of both means.

    Examples
    --------
    Complete separation, where the maximum of the likelihood is infinite:

    >>> table = {"x": range(1, 11), "y": [0] * 5 + [1] * 5}
    >>> found = bayesglm("y ~ x", table, "binomial")
    >>> found.fixed[["term", "estimate", "std_error"]].round(6).values.tolist()
    [['(Intercept)', -6.268125, 3.281158], ['x', 1.139659, 0.564408]]
    >>> found.iterations, found.converged
    (55, True)
    """
    followed = _departures(documented)
    held = _held(dispersion)
    _check_numbers(tolerance, max_iterations, level)
    _check_switches({"scaled": scaled, "drop_baseline": drop_baseline})
    chosen = family_of(family, link)
    arrays = read_regression(formula, data, chosen, weights, offset, drop_baseline)
    given = PriorArguments(
        prior_mean, prior_scale, prior_df,
        prior_mean_for_intercept, prior_scale_for_intercept, prior_df_for_intercept,
        min_prior_scale, scaled, prior_joint,
    )  # fmt: skip
    priors, notes = coefficient_priors(
        given, arrays.y, arrays.X, arrays.names, arrays.intercept, chosen, documented=followed
    )
    kept, aliased = _kept(arrays, priors, everywhere="aliased" in followed)
    priors, X = (priors.take(kept), arrays.X[:, kept]) if aliased else (priors, arrays.X)
    began = perf_counter()
    mode = posterior_mode(
        arrays.y, X, chosen, priors, arrays.weights, arrays.offset, held, tolerance, max_iterations, arrays.starting
    )
    seconds = perf_counter() - began
    own = held is not None or not chosen.estimates_dispersion or "std_error" in followed
    return BayesGlm(
        regression=replace(arrays, coding=replace(arrays.coding, kept=tuple(kept))),
        family=chosen,
        terms=tuple(arrays.names[k] for k in kept),
        aliased=tuple(arrays.names[k] for k in aliased),
        priors=priors,
        mode=mode,
        error_dispersion=mode.dispersion if own or np.isnan(mode.residual_dispersion) else mode.residual_dispersion,
        level=level,
        held=held,
        seconds=seconds,
        warnings=(*notes, *_warnings(arrays, aliased, mode, chosen, own)),
    )


def _kept(arrays: Regression, priors: CoefficientPriors, everywhere: bool) -> tuple[list[int], list[int]]:
    """Places of the columns that stay, and of those that columns before them explain."""
    looks = priors.flat | everywhere
    if priors.centre is not None:  # a flat column is centred, so a constant is left with nothing
        looks[arrays.intercept] = True
    looked_at = [k for k in range(len(arrays.names)) if looks[k]]
    _, found = independent(arrays.X[arrays.weights > 0][:, looked_at])
    aliased = [looked_at[k] for k in found]
    for places, _ in priors.joint:
        both = [arrays.names[k] for k in aliased if k in places]
        if both:
            raise DesignError(
                f"{both[0]} is explained by the columns before it, but has a joint prior. Leave the column out."
            )
    return [k for k in range(len(arrays.names)) if k not in aliased], aliased


def _warnings(arrays: Regression, aliased: list[int], mode: Mode, family: Family, own_dispersion: bool) -> list[str]:
    found = []
    if aliased:
        names = ", ".join(arrays.names[k] for k in aliased)
        found.append(f"Dropped from the coefficients, because the columns before explain them: {names}.")
    if arrays.rows.dropped:
        found.append(arrays.rows.sentence() + ".")
    found += arrays.notes
    if not mode.converged:
        found.append(
            f"Deviance and dispersion had not settled after {mode.iterations:,} iterations. Raise max_iterations."
        )
    if mode.shortened:
        found.append(
            "The last step was shortened to keep the means in the family's domain: some lie at its edge, where "
            "standard errors mean little. Use another link."
        )
    plain_mean = deviance_of_the_mean(arrays, family)
    if mode.deviance > FAR * plain_mean > 0:
        found.append(
            f"The deviance ({mode.deviance:.4g}) is far above that of the mean response alone ({plain_mean:.4g}): the "
            "priors hold the fit away from the data, or it ran away. Give other priors, or use another link."
        )
    if family.certain(mode.fitted):
        found.append(f"{SEPARATED}. Use tighter priors.")
    if not own_dispersion and np.isnan(mode.residual_dispersion):
        found.append(
            f"There are no more rows than coefficients ({len(mode.coefficients)}), so nothing is left for the "
            "residual; standard errors take the EM's dispersion."
        )
    return found


def _departures(documented: bool | Collection[str]) -> tuple[str, ...]:
    if isinstance(documented, bool):
        return DEPARTURES if documented else ()
    if not isinstance(documented, Collection):
        raise OptionError(f"documented is {documented!r}, but must be True, False or some of {', '.join(DEPARTURES)}.")
    named = (documented,) if isinstance(documented, str) else tuple(documented)
    for name in named:
        if name not in DEPARTURES:
            raise OptionError(f"documented names {name!r}. {nearest(str(name), DEPARTURES)}")
    return named


def _held(dispersion: str | float) -> float | None:
    if isinstance(dispersion, str) and dispersion == "em":
        return None
    if not is_number(dispersion) or not isfinite(dispersion) or not dispersion > 0:
        raise OptionError(f"dispersion is {dispersion!r}, but must be 'em', or a positive number to hold it at.")
    return float(dispersion)


def _check_numbers(tolerance: float, max_iterations: int, level: float) -> None:
    if not is_number(tolerance) or not 0 < tolerance < 1:
        raise OptionError(f"tolerance is {tolerance!r}, but must lie between 0 and 1.")
    whole = isinstance(max_iterations, int | np.integer) and not isinstance(max_iterations, bool)
    if not whole or max_iterations < 1:
        raise OptionError(f"max_iterations is {max_iterations!r}, but must be a whole number of at least 1.")
    if not is_number(level) or not 0 < level < 1:
        raise OptionError(f"level is {level!r}, but must lie between 0 and 1.")


def _check_switches(switches: Mapping[str, Any]) -> None:
    for name, value in switches.items():
        if not isinstance(value, bool | np.bool_):
            raise OptionError(f"{name} is {value!r}, but must be True or False.")

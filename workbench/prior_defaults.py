"""The priors of a design: those that are stated, and weakly informative defaults of what is not named.

A default is a pure function of data summaries (SDs and means of the columns; s_y is the SD of the response less its
offset), rounded to three digits so that the printed prior is the prior used (the intercept's mean to as many as bring
it within a twentieth of its SD):

* population coefficient of x: Normal(0, 2.5 s_y / s_x), after Gelman, Jakulin, Pittau & Su (2008,
  doi:10.1214/08-AOAS191);
* intercept: Normal(mean y, s), with s such that the same statement (2.5 s_y) is made about the response at the mean
  of the x;
* sigma: HalfStudentT(3, s_y); sd of the varying term z: HalfStudentT(3, s_y / s_z), with s_z = 1 for an intercept,
  after Gelman (2006, doi:10.1214/06-BA117A);
* correlations: LKJ(2) (Lewandowski, Kurowicka & Joe 2009, doi:10.1016/j.jmva.2009.04.008);
* nu: Gamma(2, 0.1), with mean 20: heavy tails and nearly normal ones are both possible (Juarez & Steel 2010,
  doi:10.1198/jbes.2009.07145).

Of binomial and Poisson responses the same, on the scale of the linear predictor: its unit takes the place of s_y, and
there is no sigma. The unit is 1 for the logit, cloglog and log links (odds, hazard or mean times e) and 1/1.6 for
probit, whose coefficients are about so much smaller than logit's (Gelman & Hill 2007, section 6.4). So coefficients are
Normal(0, 2.5 / s_x), as in rstanarm, and sds HalfStudentT(3, 1 / s_z), of brms's kind with a smaller scale: groups that
spread by 2.5 on the logit scale nearly all succeed or nearly all fail. The intercept is centred at the link of the mean
response (all successes by all trials, at least half a success and half a failure; at least half a count), less the mean
offset; for counts this is log(sum of y / sum of exp(offset)).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log
from types import MappingProxyType

import numpy as np

from workbench.design import Design
from workbench.errors import PriorError, nearest
from workbench.families import family_of
from workbench.priors import POSITIVE, REAL, Prior, canonical, coefficient_name, parse_prior


def resolve_priors(
    design: Design,
    given: Mapping[str, Prior | str],
    robust: bool = False,
    defaults: Mapping[str, Prior] | None = None,
) -> Mapping[str, Prior]:
    """Give every parameter of a design its prior: the most specific one named, or the default.

    Parameters
    ----------
    design : Design
    given : mapping of str to Prior or its text
    robust : bool
        Whether residuals are Student-t, so that there is ``nu``.
    defaults : mapping of str to Prior, optional
        One for every parameter, in place of :func:`default_priors` of the design.

    Returns
    -------
    mapping of str to Prior
        One entry per population coefficient, ``sigma`` (of gaussian responses, unless standard errors are known),
        ``nu`` (if robust), each ``sd(group, term)`` and each ``cor(group)`` of more than one term.

    Raises
    ------
    PriorError
        A name that stands on no parameter (with the nearest), or a prior whose support does not fit.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> d = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> {name: str(p) for name, p in resolve_priors(d, {"sd": "HalfCauchy(5)"}).items()}
    {'(Intercept)': 'Normal(2.5, 3.23)', 'sigma': 'HalfStudentT(3, 1.29)', 'sd(g, (Intercept))': 'HalfCauchy(5)'}
    """
    named = {canonical(key): parse_prior(value, key) for key, value in given.items()}
    defaults = default_priors(design, robust) if defaults is None else defaults
    coefficients = {coefficient_name(term) for term in design.fixed_terms}
    used: set[str] = set()
    resolved = {}
    for name, default in defaults.items():
        prior = default
        for key in _ladder(name, design):
            if key in named:
                used.add(key)
                if prior is default:
                    prior = named[key]
        allowed = REAL if name in coefficients else ("LKJ",) if name.startswith("cor(") else POSITIVE
        if prior.kind not in allowed:
            raise PriorError(f"{prior} cannot be the prior of {name}. Use one of {', '.join(allowed)}.")
        if prior.kind == "Uniform" and allowed is POSITIVE and prior.values[0] < 0:
            raise PriorError(f"{prior} cannot be the prior of {name}, which is never negative. Start it at 0.")
        if prior.kind == "Flat" and name == "nu":
            raise PriorError("Flat() cannot be the prior of nu: normal residuals, nu without end, fit too. Bound it.")
        resolved[name] = prior
    known = [*defaults, "b", "sd", "cor", *(f"sd({g})" for g in design.groups)]
    for key in named:
        if key not in used and key not in ("b", "sd", "cor"):
            raise PriorError(f"The prior of {key!r} stands on no parameter of this model. {nearest(key, known)}")
    return MappingProxyType(resolved)


def default_priors(design: Design, robust: bool = False) -> dict[str, Prior]:
    """The weakly informative defaults of this module, from summaries of the data.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0, 3, 1, 4], "x": [0, 1, 0, 1], "g": list("aabb")}
    >>> for name, prior in default_priors(build_design("y ~ x + (1 | g)", table, "poisson")).items():
    ...     print(name, prior)
    (Intercept) Normal(0.693, 3.31)
    x Normal(0, 4.33)
    sd(g, (Intercept)) HalfStudentT(3, 1)
    """
    centre, unit = _centre_and_unit(design)
    priors: dict[str, Prior] = {}
    reach = {
        name: 2.5 * unit / _scale(design.X[:, k]) for k, name in enumerate(design.fixed_terms) if name != "(Intercept)"
    }
    for k, name in enumerate(design.fixed_terms):
        if name == "(Intercept)":
            away = sum(
                (float(design.X[:, i].mean()) * reach[term]) ** 2 for i, term in enumerate(design.fixed_terms) if i != k
            )
            sd = _rounded((6.25 * unit**2 + away) ** 0.5)
            priors[name] = Prior("Normal", (_rounded(centre, within=sd / 20), sd))
        else:
            priors[coefficient_name(name)] = Prior("Normal", (0.0, _rounded(reach[name])))
    if design.estimates_dispersion and not design.known_se:
        priors["sigma"] = Prior("HalfStudentT", (3.0, _rounded(unit)))
    if robust:
        priors["nu"] = Prior("Gamma", (2.0, 0.1))
    for block in design.blocks:
        for k, term in enumerate(block.terms):
            priors[f"sd({block.group}, {term})"] = Prior("HalfStudentT", (3.0, _rounded(unit / _scale(block.Z[:, k]))))
        if len(block.terms) > 1:
            priors[f"cor({block.group})"] = Prior("LKJ", (2.0,))
    return priors


# --- parts --------------------------------------------------------------------------------------------


def _ladder(name: str, design: Design) -> list[str]:
    """The names that reach a parameter, the most specific first."""
    if name in {coefficient_name(term) for term in design.fixed_terms}:
        return [name] if name == "(Intercept)" else [name, "b"]
    if name.startswith("sd("):
        group = next(g for g in sorted(design.groups, key=len, reverse=True) if name.startswith(f"sd({g}, "))
        return [name, f"sd({group})", "sd"]
    return [name, "cor"] if name.startswith("cor(") else [name]


def _centre_and_unit(design: Design) -> tuple[float, float]:
    """Where the linear predictor lies on average, and what it is measured in: the SD of a gaussian response."""
    if design.family not in ("binomial", "poisson"):
        y = design.y - design.offset
        return float(y.mean()), float(np.std(y, ddof=1))
    total, weight = float(design.weights @ design.y), float(design.weights.sum())
    if design.family == "poisson":
        return log(max(total, 0.5) / float(design.weights @ np.exp(design.offset))), 1.0
    share = min(max(total, 0.5), weight - 0.5) / weight if weight > 1 else 0.5
    linked = float(family_of(design.family, design.link).link(np.array(share)))
    return linked - float(design.weights @ design.offset) / weight, 1 / 1.6 if design.link == "probit" else 1.0


def _scale(column: np.ndarray) -> float:
    """The SD of a column; for a constant one its size."""
    spread = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
    size = float(np.abs(column).max())
    return spread if spread > 1e-8 * size else (size or 1.0)


def _rounded(value: float, within: float = inf) -> float:
    """Three digits, or as many more as bring it within a distance of the value.

    Examples
    --------
    >>> _rounded(1527.5), _rounded(1527.5, within=3.0), _rounded(123456.78, within=0.2)
    (1530.0, 1530.0, 123456.8)
    """
    made = (float(f"{value:.{digits}g}") for digits in range(3, 18))
    return next(found for found in made if abs(found - value) <= within or found == value)

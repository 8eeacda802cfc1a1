"""Priors: immutable values on the data's scale, named by the parameter they stand on.

==================================  ==================================================================
name                                stands on
==================================  ==================================================================
``(Intercept)``, ``Days``           that population coefficient
``b``                               every population coefficient but the intercept
``sigma``                           the residual SD
``sd(Subject, Days)``               the SD of one varying term
``sd(Subject)``, ``sd``             every varying term of a group, or of all groups
``cor(Subject)``, ``cor``           the correlation matrix of a group's varying terms
==================================  ==================================================================

A population coefficient whose column is itself called like one of these names (a covariate ``sigma``) is written
``b(sigma)``. The most specific name wins. What is not named gets a weakly informative default, a pure function of data
summaries (SDs and means of the columns; s_y is the SD of the response less its offset), rounded to three digits so
that the printed prior is the prior used:

* population coefficient of x: Normal(0, 2.5 s_y / s_x), after Gelman, Jakulin, Pittau & Su (2008,
doi:10.1214/08-AOAS191);
* intercept: Normal(mean y, s), with s such that the same statement (2.5 s_y) is made about the response at the mean
of the x;
* sigma: HalfStudentT(3, s_y); sd of the varying term z: HalfStudentT(3, s_y / s_z), with s_z = 1 for an intercept,
after Gelman
  (2006, doi:10.1214/06-BA117A);
* correlations: LKJ(2) (Lewandowski, Kurowicka & Joe 2009, doi:10.1016/j.jmva.2009.04.008).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, lgamma, log, log1p, pi
from types import MappingProxyType
from typing import Any

import numpy as np

from workbench.design import Design
from workbench.errors import PriorError, nearest

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Normal": ("mean", "sd"),
        "StudentT": ("df", "mean", "sd"),
        "Cauchy": ("mean", "sd"),
        "HalfNormal": ("sd",),
        "HalfStudentT": ("df", "sd"),
        "HalfCauchy": ("sd",),
        "Exponential": ("rate",),
        "Gamma": ("shape", "rate"),
        "Uniform": ("low", "high"),
        "Flat": (),
        "LKJ": ("eta",),
    }
)
"""Every kind of prior and its parameters; ``sd`` of StudentT and Cauchy is the scale."""

REAL = ("Normal", "StudentT", "Cauchy", "Uniform", "Flat")
POSITIVE = ("HalfNormal", "HalfStudentT", "HalfCauchy", "Exponential", "Gamma", "Uniform", "Flat")


@dataclass(frozen=True)
class Prior:
    """A prior of one of the `KINDS`.

    On a standard deviation, Flat means flat on the positive numbers.

    Examples
    --------
    >>> str(Prior("Normal", (0, 5)))
    'Normal(0, 5)'
    >>> round(Prior("HalfCauchy", (5,)).log_density(0.0), 6), Prior("HalfCauchy", (5,)).log_density(-1.0)
    (-2.061021, -inf)
    """

    kind: str
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PriorError(f"There is no prior {self.kind!r}. {nearest(self.kind, KINDS)}")
        names = KINDS[self.kind]
        shown = f"{self.kind}({', '.join(names)})"
        if len(self.values) != len(names):
            raise PriorError(f"{shown} takes {len(names)} number{'s' * (len(names) != 1)}, not {len(self.values)}.")
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))
        for name, value in zip(names, self.values, strict=True):
            if not isfinite(value) or (name in ("sd", "df", "rate", "shape", "eta") and value <= 0):
                wanted = "finite" if name in ("mean", "low", "high") else "positive"
                raise PriorError(f"{shown}: {name} is {value:g}, but must be {wanted}.")
        if self.kind == "Uniform" and not self.values[0] < self.values[1]:
            raise PriorError(f"{shown}: low ({self.values[0]:g}) must be below high ({self.values[1]:g}).")

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(_shortest(v) for v in self.values)})"

    def log_density(self, x: float, positive: bool = False) -> float:
        """Log density at x; -inf outside the support. `positive` restricts Flat to the positive numbers.

        Flat has log density 0 (it is improper). LKJ is a density of matrices: see :func:`lkj_log_density`.
        """
        v = self.values
        match self.kind:
            case "Normal":
                return -0.5 * ((x - v[0]) / v[1]) ** 2 - log(v[1]) - 0.5 * log(2 * pi)
            case "StudentT":
                return _log_t(x - v[1], v[0], v[2])
            case "Cauchy":
                return _log_t(x - v[0], 1.0, v[1])
            case "HalfNormal":
                return -inf if x < 0 else log(2) - 0.5 * (x / v[0]) ** 2 - log(v[0]) - 0.5 * log(2 * pi)
            case "HalfStudentT":
                return -inf if x < 0 else log(2) + _log_t(x, v[0], v[1])
            case "HalfCauchy":
                return -inf if x < 0 else log(2) + _log_t(x, 1.0, v[0])
            case "Exponential":
                return -inf if x < 0 else log(v[0]) - v[0] * x
            case "Gamma":
                return -inf if x <= 0 else v[0] * log(v[1]) - lgamma(v[0]) + (v[0] - 1) * log(x) - v[1] * x
            case "Uniform":
                return -log(v[1] - v[0]) if v[0] <= x <= v[1] else -inf
            case "Flat":
                return -inf if positive and x < 0 else 0.0
        raise PriorError(f"{self} is a prior of correlation matrices, not of one number.")

    def to_pymc(self, name: str, positive: bool = False) -> Any:
        """A PyMC random variable of this prior; call it inside a model."""
        import pymc as pm

        v = self.values
        match self.kind:
            case "Normal":
                return pm.Normal(name, mu=v[0], sigma=v[1])
            case "StudentT":
                return pm.StudentT(name, nu=v[0], mu=v[1], sigma=v[2])
            case "Cauchy":
                return pm.Cauchy(name, alpha=v[0], beta=v[1])
            case "HalfNormal":
                return pm.HalfNormal(name, sigma=v[0])
            case "HalfStudentT":
                return pm.HalfStudentT(name, nu=v[0], sigma=v[1])
            case "HalfCauchy":
                return pm.HalfCauchy(name, beta=v[0])
            case "Exponential":
                return pm.Exponential(name, lam=v[0])
            case "Gamma":
                return pm.Gamma(name, alpha=v[0], beta=v[1])
            case "Uniform":
                return pm.Uniform(name, lower=v[0], upper=v[1])
            case "Flat":
                return pm.HalfFlat(name) if positive else pm.Flat(name)
        raise PriorError(f"{self} is a prior of correlation matrices, not of one number.")


def coefficient_name(term: str) -> str:
    """The name of a population coefficient: its term, or ``b(term)`` where another parameter has that name.

    Examples
    --------
    >>> coefficient_name("Days"), coefficient_name("sigma")
    ('Days', 'b(sigma)')
    """
    taken = term in ("b", "sigma", "sd", "cor") or term.startswith(("sd(", "cor(", "b("))
    return f"b({term})" if taken else term


def canonical(key: str) -> str:
    """The name of a parameter, spaced as in the table: ``sd(Subject,Days)`` -> ``sd(Subject, Days)``."""
    match = re.fullmatch(r"\s*(sd|cor)\s*\(\s*([^,]*?)\s*(?:,\s*(.*?)\s*)?\)\s*", key)
    if not match:
        return key.strip()
    what, group, term = match.groups()
    return f"{what}({group}, {term})" if term else f"{what}({group})"


def parse_prior(given: Prior | str, name: str = "a prior") -> Prior:
    """Read a prior from its text, ``"Normal(0, 5)"``; a Prior passes through.

    Raises
    ------
    PriorError
        Unreadable text, unknown kind, wrong number of parameters; `name` says whose prior it is.
    """
    if isinstance(given, Prior):
        return given
    match = re.fullmatch(r"\s*([A-Za-z]+)\s*\(([^()]*)\)\s*", given) if isinstance(given, str) else None
    if not match:
        raise PriorError(f"The prior of {name} is {given!r}, which cannot be read. Write it like Normal(0, 5).")
    kind, inside = match.groups()
    try:
        values = tuple(float(part) for part in inside.split(",")) if inside.strip() else ()
    except ValueError:
        raise PriorError(f"The prior of {name} is {given!r}: its parameters must be numbers.") from None
    return Prior(kind, values)


def resolve_priors(design: Design, given: Mapping[str, Prior | str]) -> Mapping[str, Prior]:
    """Give every parameter of a design its prior: the most specific one named, or the default.

    Returns
    -------
    mapping of str to Prior
        One entry per population coefficient, ``sigma`` (unless standard errors are known), each ``sd(group, term)`` and
        each ``cor(group)`` of more than one term.

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
    defaults = default_priors(design)
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
        resolved[name] = prior
    known = [*defaults, "b", "sd", "cor", *(f"sd({g})" for g in design.groups)]
    for key in named:
        if key not in used and key not in ("b", "sd", "cor"):
            raise PriorError(f"The prior of {key!r} stands on no parameter of this model. {nearest(key, known)}")
    return MappingProxyType(resolved)


def default_priors(design: Design) -> dict[str, Prior]:
    """The weakly informative defaults of this module, from summaries of the data."""
    y = design.y - design.offset
    s_y = float(np.std(y, ddof=1))
    priors: dict[str, Prior] = {}
    reach = {
        name: 2.5 * s_y / _scale(design.X[:, k]) for k, name in enumerate(design.fixed_terms) if name != "(Intercept)"
    }
    for k, name in enumerate(design.fixed_terms):
        if name == "(Intercept)":
            away = sum(
                (float(design.X[:, i].mean()) * reach[term]) ** 2 for i, term in enumerate(design.fixed_terms) if i != k
            )
            priors[name] = Prior("Normal", (_rounded(float(y.mean())), _rounded((6.25 * s_y**2 + away) ** 0.5)))
        else:
            priors[coefficient_name(name)] = Prior("Normal", (0.0, _rounded(reach[name])))
    if design.family == "gaussian" and not design.known_se:
        priors["sigma"] = Prior("HalfStudentT", (3.0, _rounded(s_y)))
    for block in design.blocks:
        for k, term in enumerate(block.terms):
            priors[f"sd({block.group}, {term})"] = Prior("HalfStudentT", (3.0, _rounded(s_y / _scale(block.Z[:, k]))))
        if len(block.terms) > 1:
            priors[f"cor({block.group})"] = Prior("LKJ", (2.0,))
    return priors


def lkj_log_density(correlation: np.ndarray, eta: float) -> float:
    """Log density of the LKJ(eta) distribution at a correlation matrix of shape (q, q), normalised.

    Source: Lewandowski, Kurowicka & Joe (2009), eq. 16, doi:10.1016/j.jmva.2009.04.008.
    """
    q = correlation.shape[0]
    sign, log_det = np.linalg.slogdet(correlation)
    if sign <= 0:
        return -inf
    log_constant = 0.0
    for k in range(1, q):
        log_constant += (2 * eta - 2 + q - k) * (q - k) * log(2)
        a = eta + (q - k - 1) / 2
        log_constant += (q - k) * (2 * lgamma(a) - lgamma(2 * a))
    return float((eta - 1) * log_det - log_constant)


# --- parts --------------------------------------------------------------------------------------------


def _log_t(distance: float, df: float, scale: float) -> float:
    z = distance / scale
    constant = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * pi) - log(scale)
    return constant - (df + 1) / 2 * log1p(z * z / df)


def _ladder(name: str, design: Design) -> list[str]:
    """The names that reach a parameter, the most specific first."""
    if name in {coefficient_name(term) for term in design.fixed_terms}:
        return [name] if name == "(Intercept)" else [name, "b"]
    if name.startswith("sd("):
        group = next(g for g in sorted(design.groups, key=len, reverse=True) if name.startswith(f"sd({g}, "))
        return [name, f"sd({group})", "sd"]
    return [name, "cor"] if name.startswith("cor(") else [name]


def _scale(column: np.ndarray) -> float:
    """The SD of a column; for a constant one its size."""
    spread = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
    size = float(np.abs(column).max())
    return spread if spread > 1e-8 * size else (size or 1.0)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _shortest(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)

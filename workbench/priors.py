"""Priors: immutable values on the data's scale, named by the parameter they stand on.

==================================  ==================================================================
name                                stands on
==================================  ==================================================================
``(Intercept)``, ``Days``           that population coefficient
``b``                               every population coefficient but the intercept
``sigma``                           the residual SD; of Student-t residuals their scale
``nu``                              the degrees of freedom of Student-t residuals
``sd(Subject, Days)``               the SD of one varying term
``sd(Subject)``, ``sd``             every varying term of a group, or of all groups
``cor(Subject)``, ``cor``           the correlation matrix of a group's varying terms
==================================  ==================================================================

A population coefficient whose column is itself called like one of these names (a covariate ``sigma``) is written
``b(sigma)``. The most specific name wins. What is not named has a default (:mod:`workbench.prior_defaults`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, lgamma, log, log1p, pi
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        if np.ndim(self.values) == 0:
            object.__setattr__(self, "values", (self.values,))
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

    @property
    def middle(self) -> float:
        """The middle of a prior of a population coefficient: its median, or zero where it has none.

        >>> Prior("Uniform", (2, 4)).middle, Prior("StudentT", (3, 1, 2)).middle, Prior("Flat").middle
        (3.0, 1.0, 0.0)
        """
        match self.kind:
            case "Normal" | "Cauchy":
                return self.values[0]
            case "StudentT":
                return self.values[1]
            case "Uniform":
                return sum(self.values) / 2
        return 0.0

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

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Random draws of a number with this prior.

        Parameters
        ----------
        rng : numpy.random.Generator
        size : int or tuple of int
            The shape; of one number ().

        Returns
        -------
        array of shape `size`

        Raises
        ------
        PriorError
            Flat, which is improper, and LKJ, whose draws are matrices: see :func:`lkj_draw`.

        Examples
        --------
        >>> Prior("HalfCauchy", (5,)).draw(np.random.default_rng(1), 3).round(3).tolist()
        [2.103, 1.268, 10.141]
        """
        v = self.values
        match self.kind:
            case "Normal":
                drawn = rng.normal(v[0], v[1], size)
            case "StudentT":
                drawn = v[1] + v[2] * rng.standard_t(v[0], size)
            case "Cauchy":
                drawn = v[0] + v[1] * rng.standard_cauchy(size)
            case "HalfNormal":
                drawn = np.abs(rng.normal(0.0, v[0], size))
            case "HalfStudentT":
                drawn = v[1] * np.abs(rng.standard_t(v[0], size))
            case "HalfCauchy":
                drawn = v[0] * np.abs(rng.standard_cauchy(size))
            case "Exponential":
                drawn = rng.exponential(1 / v[0], size)
            case "Gamma":
                drawn = rng.gamma(v[0], 1 / v[1], size)
            case "Uniform":
                drawn = rng.uniform(v[0], v[1], size)
            case "Flat":
                raise PriorError("Flat() is improper: nothing can be drawn from it. Use a proper prior.")
            case _:
                raise PriorError(f"{self} is a prior of correlation matrices, not of one number.")
        return np.asarray(drawn, dtype=float)

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
    taken = term in ("b", "sigma", "nu", "sd", "cor") or term.startswith(("sd(", "cor(", "b("))
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


def _log_t(distance: float, df: float, scale: float) -> float:
    z = distance / scale
    constant = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * pi) - log(scale)
    return constant - (df + 1) / 2 * log1p(z * z / df)


def _shortest(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)

"""A design and the one truth behind all its simulated responses: :class:`Population`.

    u_k[j] ~ N(0, Sigma_k) in every level j,     eta = X b + sum_k Z_k u_k + offset

and y given eta by the law of its family (:mod:`workbench.sampling.responses`). b, sigma and every Sigma_k are the same
in all replications; group effects and response are new in each. X, Z, weights, trials, offset and group sizes are the
design's, of which only the response is replaced. A design with known standard errors keeps them: sigma is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.truths import Truth, check_responses, draw_response
from workbench.covariances import square_root
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component
from workbench.estimators import Settings, run_estimator
from workbench.fit import Fit
from workbench.inference.parameters import parameters_of
from workbench.iterations.spreads import Spreads, stated
from workbench.priors import coefficient_name
from workbench.words import join

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
    """What responses of a design are simulated from.

    Attributes
    ----------
    design : Design
    b : array, shape (p,)
    sigma : float
        1 where standard errors are known, and where the family has none.
    covariances : tuple of array, shape (q_k, q_k)
        Of the group effects, by random block.
    source : str
        Where these come from, in words.
    """

    design: Design
    b: Array
    sigma: float
    covariances: tuple[Array, ...]
    source: str

    def draw(self, rng: np.random.Generator) -> tuple[Design, Truth]:
        """Draw group effects, then a response given them: the design with that response, and the truth.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
        >>> known = {"(Intercept)": 5.0, "sd(g)": 0.0, "sigma": 0.001}
        >>> made, truth = population_of(design, known).draw(np.random.default_rng(1))
        >>> made.y.round(1).tolist(), truth.coefficients(design, 0).tolist()
        ([5.0, 5.0, 5.0, 5.0], [[5.0], [5.0]])
        """
        effects, parts = [], self.components
        for block, covariance in zip(self.design.blocks, self.covariances, strict=True):
            standard = rng.standard_normal((len(block.levels), len(covariance)))
            effects.append(read_only(standard @ square_root(covariance).T))
        truth = Truth(
            self.b,
            self.sigma,
            tuple(read_only(part.sd) for part in parts),
            tuple(read_only(np.nan_to_num(part.correlation)) for part in parts),
            tuple(effects),
        )
        return replace(self.design, y=read_only(draw_response(self.design, truth, rng))), truth

    @property
    def components(self) -> tuple[Component, ...]:
        """The covariances with their names."""
        named = zip(self.design.blocks, self.covariances, strict=True)
        return tuple(Component(block.group, block.terms, covariance) for block, covariance in named)

    @property
    def values(self) -> Mapping[str, float]:
        """Every parameter by name; a correlation beside a standard deviation of zero is NaN."""
        found, parts = {}, self.components
        for parameter in parameters_of(self.design):
            at = parameter.columns
            match parameter.kind:
                case "fixed":
                    found[parameter.name] = float(self.b[at])
                case "sigma":
                    if self.design.estimates_dispersion:
                        found[parameter.name] = self.sigma
                case "sd":
                    found[parameter.name] = float(parts[parameter.block].sd[at])
                case "cor":
                    found[parameter.name] = float(parts[parameter.block].correlation[at])
        return MappingProxyType(found)


def population_of(design: Design, truth: Fit | Mapping[str, float] | None = None, level: float = 0.95) -> Population:
    """The truth that a design's responses are simulated from.

    Parameters
    ----------
    design : Design
    truth : Fit, mapping of parameter to number, or None
        A fit with variance components, of any data with the same terms; or values by name, ``{"Days": 10.0,
        "sd(Subject, Days)": 6.0, "cor(Subject, (Intercept), Days)": 0.1, "sigma": 25.0}``, in place of those of the
        design's own maximum-likelihood fit; None is that fit alone, by `reml` or, of counts and shares, by `laplace`.

    Raises
    ------
    OptionError
        A family or weights that no response can be drawn for; a fit without variance components or of other terms; an
        unknown name, or a value that a parameter cannot have.
    """
    check_responses(design)
    if isinstance(truth, Fit):
        return _of_fit(design, truth, f"the {truth.estimator} fit given")
    names = {coefficient_name(term): k for k, term in enumerate(design.fixed_terms)}
    given = dict(truth or {})
    spreads = {name: value for name, value in given.items() if name not in names}
    if missing := _left_open(design, given, names):
        by = "reml" if design.family == "gaussian" else "laplace"
        rest = _of_fit(design, run_estimator(by, design, Settings(level=level)), f"the design's own {by} fit")
    else:
        rest = Population(design, np.zeros(len(names)), 1.0, tuple(np.eye(len(b.terms)) for b in design.blocks), "")
    if not given:
        return rest
    found = _stated(design, spreads, Spreads(rest.covariances, rest.sigma**2), list(names))
    b = rest.b.copy()
    for name, k in names.items():
        if name in given:
            b[k] = _finite(given[name], name)
    source = "the values given" if not missing else f"the values given; {join(missing)} from {rest.source}"
    return Population(design, read_only(b), float(np.sqrt(found.sigma2)), found.covariances, source)


def _left_open(design: Design, given: Mapping[str, Any], names: Mapping[str, int]) -> list[str]:
    """Which kinds of parameters a statement does not fix wholly, in words."""
    from workbench.iterations.spreads import says_everything

    spreads = {name: value for name, value in given.items() if name not in names}
    if not design.estimates_dispersion and not design.known_se:
        spreads["sigma"] = 1.0
    found = [] if all(name in given for name in names) else ["other population values"]
    return found if says_everything(design, spreads) else [*found, "other variances"]


def _stated(design: Design, given: dict[str, Any], rest: Spreads, names: list[str]) -> Spreads:
    for name in given:
        if design.family != "gaussian" and name.startswith("sigma"):
            raise OptionError(f"truth states {name}, but {design.family} responses have none. Leave it out.")
        if not name.startswith(("sd(", "var(", "cor(", "cov(", "sigma")):
            known = [*names, *(parameter.name for parameter in parameters_of(design) if parameter.kind != "fixed")]
            raise OptionError(f"truth names {name!r}, which is no parameter here. {nearest(name, known)}")
    return stated(design, given, rest, "truth")


def _of_fit(design: Design, fit: Fit, source: str) -> Population:
    if not fit.components:
        raise OptionError(
            f"{fit.estimator} has no variances between groups to simulate from. Give a fit by reml or laplace."
        )
    own, other = (
        (d.fixed_terms, tuple((b.group, b.terms) for b in d.blocks), d.known_se) for d in (design, fit.design)
    )
    if own != other or design.family != fit.design.family or design.link != fit.design.link:
        raise OptionError(
            f"The truth is a fit of {fit.design.formula} ({fit.design.family}), whose parameters are not those of "
            f"{design.formula} ({design.family}). Give a fit of the same terms."
        )
    sigma = fit.sigma if design.estimates_dispersion and not design.known_se else 1.0
    covariances = tuple(read_only(part.covariance) for part in fit.components)
    return Population(design, read_only(fit.population.estimate), float(sigma), covariances, source)


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise OptionError(f"truth: {name} is {value!r}, but must be a number.")
    return float(value)

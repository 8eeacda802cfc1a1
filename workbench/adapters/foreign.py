"""A foreign answer, in whatever form it came: :class:`Foreign`; and the :class:`~workbench.fit.Fit` made of it.

Readers of files, draws and other software's results fill a `Foreign` with what is there, as it is called there, and
leave out what is not. :func:`as_fit` aligns it to a Design by (group, level, term), never by position, and refuses what
is of other groups, other rows or another scale.

Nothing is invented: what is not given is missing. Filled in is only what follows,

    coefficient = population value + effect,     effect = coefficient - population value,

the point alone, since the error of one does not follow from that of the other; and a normal interval, where a
standard error was given without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.estimates import Component, Criterion, Estimates, Parameters
from workbench.estimators import REGISTRY
from workbench.fit import Fit

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupRows:
    """What a foreign answer says of the levels of one grouping factor: a number a row, in any order.

    Attributes
    ----------
    effect : "ran_vals" or "ran_coefs"
        Deviations from the population values, or population value + deviation.
    group : str or None
        As it is called there; None where nothing is said, for designs of one grouping factor.
    levels : sequence of m labels
        Of any type; compared as text.
    terms : sequence of m str
    values : Estimates, shape (m,)
        With what kind each number is: these words stay.
    sizes : array of int, shape (m,), or None
        Rows of each level, where they are told; they must be the design's.
    """

    effect: str
    group: str | None
    levels: Sequence[Any]
    terms: Sequence[str]
    values: Estimates
    sizes: NDArray[np.intp] | None = None

    @classmethod
    def of_matrix(
        cls, effect: str, group: str | None, levels: Sequence[Any], terms: Sequence[str], values: Estimates
    ) -> GroupRows:
        """Rows of estimates of shape (J, q), a level a row and a term a column."""
        J, q = len(levels), len(terms)
        flat = values.at(tuple(np.divmod(np.arange(J * q), q)))
        return cls(effect, group, [level for level in levels for _ in terms], list(terms) * J, flat)


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a foreign answer holds, as it is called there; what it does not hold is left out.

    Attributes
    ----------
    source : str
        What it is, for messages and tables: ``lme4.csv``, ``statsmodels MixedLM``.
    groups : tuple of GroupRows
        Effects, coefficients or both, of every grouping factor.
    terms : sequence of str
        Of the population coefficients.
    population : Estimates, shape (p,), or None
    fixed_cov : array, shape (p, p), or None
    components : tuple of Component
        Covariances of random terms, entries that are not known NaN. They need not be cut into blocks as the design's.
    sigma : float or None
        Residual SD on the response's scale.
    criterion, log_likelihood, df
        As of :class:`~workbench.fit.Fit`.
    nobs : int or None
        Rows that were fitted.
    family, link, response : str or None
        Where they are told, they must be the design's.
    converged, singular : bool or None
    warnings : tuple of str
        What the reader or the other software has to say.
    parameters : Parameters or None
        Of draws: every scalar parameter under the names of the workbench's priors.
    diagnostics : mapping
        Figures such as ``r_hat``, ``ess_bulk``, ``divergences``.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> values = Estimates.wald(np.array([-1.0, 0.9]), np.array([0.4, 0.4]), 0.95, "BLUP", "conditional SD")
    >>> rows = GroupRows("ran_vals", "g", ["b", "a"], ["(Intercept)", "(Intercept)"], values)
    >>> population = Estimates.wald(np.array([2.5]), np.array([1.0]), 0.95, "GLS", "SE")
    >>> fit = as_fit(Foreign("other.csv", (rows,), ("(Intercept)",), population), design, "other")
    >>> fit.coefficients[["level", "estimate", "std_error"]].values.tolist()
    [['a', 3.4, nan], ['b', 1.5, nan]]
    """

    source: str
    groups: tuple[GroupRows, ...]
    terms: Sequence[str] = ()
    population: Estimates | None = None
    fixed_cov: Array | None = None
    components: tuple[Component, ...] = ()
    sigma: float | None = None
    criterion: Criterion | None = None
    log_likelihood: float | None = None
    df: int | None = None
    nobs: int | None = None
    family: str | None = None
    link: str | None = None
    response: str | None = None
    converged: bool | None = None
    singular: bool | None = None
    warnings: tuple[str, ...] = ()
    parameters: Parameters | None = None
    diagnostics: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.fixed_cov is not None:
            object.__setattr__(self, "fixed_cov", read_only(self.fixed_cov, np.float64))


def as_fit(foreign: Foreign, design: Design, name: str, level: float = 0.95) -> Fit:
    """Align a foreign answer to a design.

    Parameters
    ----------
    foreign : Foreign
    design : Design
        Of the comparison that it is to stand in.
    name : str
        What it is called there; no registered estimator's name.
    level : float
        Probability of normal intervals, where a standard error is given without one.

    Returns
    -------
    Fit
        Everything that is not given is NaN; ``diagnostics["read_from"]`` is the source, and the first warning says
        that nothing of it was computed here.

    Raises
    ------
    ComparisonError
        Other groups, levels, terms, rows, response or scale; the same row twice; an estimate missing where the rows of
        the level tell it; a name that means something else.
    """
    from workbench.adapters import alignment
    from workbench.adapters.remarks import remarks as looks

    refuse_name(name)
    alignment.refuse_other_model(foreign, design)
    alignment.refuse_without_groups(foreign)
    population = alignment.population(foreign, design, level)
    effects, remarks = alignment.group_effects(foreign, design, population, level)
    components, more = alignment.components(foreign, design)
    p = len(design.fixed_terms)
    fit = Fit(
        estimator=name,
        design=design,
        population=population,
        fixed_cov=alignment.fixed_cov(foreign, design) if foreign.fixed_cov is not None else np.full((p, p), np.nan),
        components=components,
        group_effects=effects,
        sigma=_sigma(foreign, design),
        criterion=foreign.criterion,
        log_likelihood=foreign.log_likelihood,
        df=foreign.df,
        converged=foreign.converged is not False,
        singular=bool(foreign.singular),
        warnings=(f"Read from {foreign.source}, not computed here.", *foreign.warnings, *remarks, *more),
        diagnostics=MappingProxyType({"read_from": foreign.source, **foreign.diagnostics}),
        parameters=foreign.parameters,
        seconds=float("nan"),
    )
    return replace(fit, warnings=(*fit.warnings, *looks(fit, foreign.source)))


def refuse_name(name: str) -> None:
    """Refuse what is no name for tables and pictures, and the names of estimators."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ComparisonError(f"The name of a foreign fit is {name!r}, but must be a word or two, such as 'lme4'.")
    if name in REGISTRY:
        raise ComparisonError(
            f"A foreign fit cannot be called {name!r}, as an estimator of the workbench is. Call it {name}_read, say."
        )


def _sigma(foreign: Foreign, design: Design) -> float:
    """The residual SD: as given, 1 where the design knows it, else missing."""
    if foreign.sigma is not None:
        return float(foreign.sigma)
    return float("nan") if design.estimates_dispersion and not design.known_se else 1.0

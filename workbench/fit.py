"""One estimator's answer for one design: :class:`Fit`, and the one tidy schema of its rows.

Tidy rows follow broom.mixed: ``estimator, effect, group, level, term, n, estimate, std_error, conf_low,
conf_high``, where *effect* is ``fixed`` (a population coefficient), ``ran_vals`` (a group's deviation from the
population value) or ``ran_coefs`` (population value + deviation). Then come the labels ``point``,
``std_error_kind`` and ``interval``, and for draws ``r_hat``, ``ess_bulk`` and ``ess_tail``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.estimates import Component, Criterion, Estimates, GroupEffects, Parameters, plain
from workbench.json_rows import effect_rows, parameter_rows
from workbench.packing import Portable

if TYPE_CHECKING:
    import pandas as pd

    from workbench.sampling.loo import Loo

Array = NDArray[np.float64]

TIDY_COLUMNS = (
    "estimator", "effect", "group", "level", "term", "n", "estimate", "std_error", "conf_low", "conf_high",
    "point", "std_error_kind", "interval", "r_hat", "ess_bulk", "ess_tail",
)  # fmt: skip
EFFECTS = ("fixed", "ran_vals", "ran_coefs")
"""The kinds of row."""


@dataclass(frozen=True, eq=False)
class Fit(Portable):
    """One estimator's answer for one design; tables are made when asked for.

    Attributes
    ----------
    estimator : str
        The registered name.
    design : Design
    population : Estimates, shape (p,)
        Population coefficients, in the order of ``design.fixed_terms``.
    fixed_cov : array, shape (p, p)
    components : tuple of Component
        One per random block; empty where the estimator has no variance components.
    group_effects : tuple of GroupEffects
        One per random block.
    sigma : float
        Residual SD on the response's scale (1 with known standard errors), of Student-t residuals their scale; of
        another family than gaussian the root of the dispersion, 1 for counts and shares.
    own_fitted : array, shape (n,), or None
        Fitted values, on the response's scale, that are not the population's part plus the group effects.
    criterion : Criterion or None
    log_likelihood : float or None
        For REML fits the restricted one, as lme4.
    df : int or None
        Number of estimated parameters, for AIC and BIC.
    converged, singular : bool
    warnings : tuple of str
        Everything that keeps a number from being trusted, in words.
    diagnostics : mapping
        The estimator's own figures (gradient at the optimum, dispersion, divergences, ...).
    parameters : Parameters or None
    sampled : Sampled or None
        Of a sampled fit, or where draws were asked for: the draws as plain arrays, with what they are draws of.
    posterior : ExactPosterior or None
        Of an exact fit: every parameter's marginal density.
    trace : Iterations, Descent or None
        How a fit that is found by iterations got there, step by step (:mod:`workbench.iterations`).
    priors : mapping of str to str
        The resolved priors, by what they stand on.
    seconds : float
        Wall time of the fit itself, without reading data or fitting what it builds on.
    options : the estimator's Options, or None
    """

    estimator: str
    design: Design
    population: Estimates
    fixed_cov: Array
    components: tuple[Component, ...]
    group_effects: tuple[GroupEffects, ...]
    sigma: float
    criterion: Criterion | None = None
    log_likelihood: float | None = None
    df: int | None = None
    converged: bool = True
    singular: bool = False
    warnings: tuple[str, ...] = ()
    diagnostics: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    own_fitted: Array | None = field(default=None, repr=False)
    parameters: Parameters | None = None
    sampled: Any = field(default=None, repr=False)
    posterior: Any = field(default=None, repr=False)
    trace: Any = field(default=None, repr=False)
    priors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0
    options: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed_cov", read_only(self.fixed_cov))

    def finished(self, seconds: float, options: Any) -> Fit:
        """The same fit with its wall time and the options it was made under."""
        return replace(self, seconds=seconds, options=options)

    @property
    def draws(self) -> Any:
        """The ArviZ tree of the draws (xarray.DataTree), or None without any; made when it is first asked for.

        Its groups are listed in :mod:`workbench.sampling.tree`.
        """
        return None if self.sampled is None else self.sampled.tree

    @property
    def read_from(self) -> str | None:
        """Of an answer from elsewhere what it was read from, else None."""
        found: str | None = self.diagnostics.get("read_from")
        return found

    # --- tables ---------------------------------------------------------------------------------------

    @property
    def fixed(self) -> pd.DataFrame:
        """Population coefficients: ``term, estimate, std_error, conf_low, conf_high`` and the labels."""
        import pandas as pd

        table = pd.DataFrame({"term": list(self.design.fixed_terms)} | self.population.tidy())
        return table if self.parameters else table.drop(columns=["r_hat", "ess_bulk", "ess_tail"])

    @property
    def variance(self) -> pd.DataFrame:
        """Variance components as lme4's ``as.data.frame(VarCorr(fit))``: ``group, term1, term2, vcov, sdcor``.

        `sdcor` is a standard deviation where `term2` is missing, else a correlation; the residual (the dispersion, of
        another family than gaussian) comes last, where there is one.
        """
        import pandas as pd

        rows: list[tuple[str, str | None, str | None, float, float]] = []
        for part in self.components:
            q = len(part.terms)
            rows += [(part.group, part.terms[k], None, part.covariance[k, k], part.sd[k]) for k in range(q)]
            rows += [
                (part.group, part.terms[a], part.terms[b], part.covariance[a, b], part.correlation[a, b])
                for a in range(q)
                for b in range(a + 1, q)
            ]
        if self.design.estimates_dispersion:
            rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        table = pd.DataFrame(rows, columns=["group", "term1", "term2", "vcov", "sdcor"])
        return table.astype({"term1": "str", "term2": "str"})

    @property
    def effects(self) -> pd.DataFrame:
        """Group effects (deviations from the population values) as tidy rows, ``effect = "ran_vals"``."""
        return tidy_rows(self, ("ran_vals",))

    @property
    def coefficients(self) -> pd.DataFrame:
        """Group coefficients (population value + effect) as tidy rows, ``effect = "ran_coefs"``."""
        return tidy_rows(self, ("ran_coefs",))

    @property
    def standard_errors(self) -> pd.DataFrame:
        """Three standard errors of every group estimate, each under its own name, at given or estimated variances.

        ``conditional_sd`` takes the population values as known, ``effect_prediction_se`` is of the effect with them
        estimated, ``coefficient_se`` of population value + effect; see :mod:`workbench.standard_errors`.
        """
        from workbench.standard_errors import standard_errors

        return standard_errors(self)

    def predict(
        self,
        new_data: Any = None,
        groups: bool | str | Sequence[str] = True,
        new_levels: str = "refuse",
        level: float = 0.95,
        scale: str = "response",
    ) -> pd.DataFrame:
        """The mean of new rows (or of the fit's own), with its error: ``workbench.prediction.predict``.

        `groups` says which grouping factors to condition on: all (True), none (False) or those named;
        ``new_levels="population"`` gives levels that the fit did not see the population's value; ``scale="link"`` is
        that of the linear predictor.
        """
        from workbench.prediction.predict import predict

        if self.read_from is not None and np.isnan(self.population.estimate).all():
            raise ComparisonError(
                f"{self.read_from} gives no population values, so new rows cannot be foreseen from {self.estimator}. "
                "Add its population coefficients."
            )
        return predict(self, new_data, groups, new_levels, level, scale)

    def loo(self, by: str = "observation") -> Loo:
        """Leave-one-out predictive accuracy, by observation or by group: ``workbench.loo(fit, by)``."""
        from workbench.sampling.loo import loo

        return loo(self, by)

    def sensitivity(self) -> pd.DataFrame:
        """How far the posterior depends on its priors, by power scaling: ``workbench.sensitivity(fit)``."""
        from workbench.sampling.sensitivity import sensitivity

        return sensitivity(self)

    @cached_property
    def fitted(self) -> Array:
        """Fitted means, shape (n,): of the offset, the population's part and the group effects."""
        if self.own_fitted is not None:
            return read_only(self.own_fitted)
        fitted = self.design.X @ self.population.estimate + self.design.offset
        for block, part in zip(self.design.blocks, self.group_effects, strict=True):
            for k in range(len(block.terms)):
                fitted += block.Z[:, k] * part.effect.estimate[:, k][block.codes]
        return read_only(self.design.mean(fitted))

    @property
    def residuals(self) -> Array:
        """Response (a share, of a binomial one) less fitted value, shape (n,)."""
        return read_only(self.design.y - self.fitted)

    @property
    def aic(self) -> float | None:
        """-2 log likelihood + 2 df; of a REML fit on the restricted likelihood, as lme4."""
        if self.log_likelihood is None or self.df is None:
            return None
        return -2 * self.log_likelihood + 2 * self.df

    @property
    def bic(self) -> float | None:
        """-2 log likelihood + df log n."""
        if self.log_likelihood is None or self.df is None:
            return None
        return float(-2 * self.log_likelihood + self.df * np.log(self.design.n))

    def __repr__(self) -> str:
        """One line: estimator, formula, and where it ended."""
        state = "converged" if self.converged else "NOT CONVERGED"
        return (
            f"<Fit {self.estimator}: {self.design.formula}, n = {self.design.n}, {state}{', singular' * self.singular}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: :mod:`workbench.report.notebook`."""
        from workbench.report.notebook import fit_html

        return fit_html(self)

    def to_dict(self) -> dict[str, Any]:
        """The fit as one JSON document (schema 1); floats keep all their digits, what is missing is None.

        In ``effects``, `std_error`, `conf_low` and `conf_high` belong to the *effect*, not to the coefficient.
        """
        design = self.design
        return {
            "schema": 1,
            "estimator": self.estimator,
            "formula": str(design.formula),
            "family": design.family,
            "nobs": design.n,
            "dropped": design.rows.dropped,
            "groups": design.groups,
            "fixed": [
                {"term": term, "estimate": value, "std_error": error}
                for term, value, error in zip(
                    design.fixed_terms,
                    plain(self.population.estimate),
                    plain(self.population.std_error),
                    strict=True,
                )
            ],
            "fixed_cov": plain(self.fixed_cov),
            "sigma": plain(self.sigma),
            "variance": [
                {"group": c.group, "terms": list(c.terms), "sd": plain(c.sd), "corr": plain(c.correlation)}
                for c in self.components
            ],
            "criterion": None
            if self.criterion is None
            else {"name": self.criterion.name, "value": plain(self.criterion.value)},
            "log_likelihood": plain(self.log_likelihood),
            "aic": plain(self.aic),
            "bic": plain(self.bic),
            "effects": [row for part in self.group_effects for row in effect_rows(part)],
            "parameters": [] if self.parameters is None else parameter_rows(self.parameters),
            "converged": self.converged,
            "singular": self.singular,
            "warnings": list(self.warnings),
            "seconds": plain(self.seconds),
        }


def tidy_rows(fit: Fit, effects: Sequence[str] = EFFECTS) -> pd.DataFrame:
    """Collect the rows of a fit in the tidy schema of this module: `tidy_table` of one fit."""
    return tidy_table((fit,), effects)


def tidy_table(fits: Iterable[Fit], effects: Sequence[str] = EFFECTS) -> pd.DataFrame:
    """Collect the rows of fits in the tidy schema of this module, one fit below the other.

    Parameters
    ----------
    fits : iterable of Fit
    effects : sequence of str
        Which kinds of row, of ``fixed``, ``ran_vals``, ``ran_coefs``.

    Returns
    -------
    DataFrame
        Text is of pandas's ``str`` type; the labels that a whole part shares (``point``, ``std_error_kind``,
        ``interval``) are categories, a byte a row.
    """
    import pandas as pd

    parts = [part for fit in fits for part in _parts(fit, effects)]
    if not parts:
        return pd.DataFrame(columns=list(TIDY_COLUMNS))
    of = np.repeat(np.arange(len(parts)), [part.values.estimate.size for part in parts])
    columns: dict[str, Any] = {
        name: text_column([getattr(part, name) for part in parts], of) for name in ("estimator", "effect", "group")
    }
    columns["level"] = _joined([(part.levels, part.level_codes) for part in parts])
    columns["term"] = _joined([(part.terms, part.term_codes) for part in parts])
    columns["n"] = np.concatenate([part.n for part in parts])
    for name in ("estimate", "std_error", "conf_low", "conf_high", "r_hat", "ess_bulk", "ess_tail"):
        columns[name] = np.concatenate([_numbers(part.values, name) for part in parts])
    for name in ("point", "std_error_kind", "interval"):
        kinds, codes = np.unique([getattr(part.values, name) for part in parts], return_inverse=True)
        columns[name] = pd.Categorical.from_codes(codes[of], kinds.tolist())
    return pd.DataFrame(columns)[list(TIDY_COLUMNS)]


def text_column(words: Sequence[str | None], codes: NDArray[np.intp]) -> pd.api.extensions.ExtensionArray:
    """Text by its place in a list of words, of pandas's ``str`` type; a word None, or a code of -1, is missing."""
    import pandas as pd

    return pd.array(list(words), dtype="str").take(codes, allow_fill=True)


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows that share a fit, a kind of effect and a group; `level_codes`, `term_codes` and `n` are of their length."""

    estimator: str
    effect: str
    group: str | None
    levels: Sequence[str]
    level_codes: NDArray[np.intp]
    terms: tuple[str, ...]
    term_codes: NDArray[np.intp]
    n: NDArray[np.intp]
    values: Estimates


def _parts(fit: Fit, effects: Sequence[str]) -> Iterator[_Part]:
    terms = fit.design.fixed_terms
    if "fixed" in effects and terms:
        p = len(terms)
        none, every = np.full(p, -1), np.full(p, fit.design.n)
        yield _Part(fit.estimator, "fixed", None, (), none, terms, np.arange(p), every, fit.population)
    for part in fit.group_effects:
        J, q = len(part.levels), len(part.terms)
        levels, names, n = np.repeat(np.arange(J), q), np.tile(np.arange(q), J), np.repeat(part.sizes, q)
        for effect, values in (("ran_vals", part.effect), ("ran_coefs", part.coefficient)):
            if effect in effects:
                yield _Part(fit.estimator, effect, part.group, part.levels, levels, part.terms, names, n, values)


def _joined(pieces: Sequence[tuple[Sequence[str], NDArray[np.intp]]]) -> pd.api.extensions.ExtensionArray:
    """A text column of pieces, each given by its words and codes; words that several pieces share are held once."""
    start: dict[int, int] = {}
    words: list[str] = []
    codes = []
    for vocabulary, places in pieces:
        if id(vocabulary) not in start:
            start[id(vocabulary)] = len(words)
            words += vocabulary
        codes.append(np.where(places < 0, -1, places + start[id(vocabulary)]))
    return text_column(words, np.concatenate(codes))


def _numbers(values: Estimates, name: str) -> Array:
    found = getattr(values, name)
    return np.full(values.estimate.size, np.nan) if found is None else found.ravel()

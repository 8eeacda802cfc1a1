"""`penalized`: a regression on one indicator per group, its coefficients penalised (:mod:`workbench.penalised`).

"Is that not just L2 regularisation?" It is. Ridge regression on indicators of groups, at lambda = sigma^2/tau^2, gives
the group effects of a mixed model to the last digit, and lambda from REML is the default here. What is left to compare
is where lambda comes from: from variances that the data tell (``penalty="reml"``), from the loss of rows that are left
out (``"cv"``), or from the user; and what a penalty on absolute values (lasso, elastic net) does instead: effects that
are exactly zero.

With several varying terms REML says one lambda for each term, and of correlated ones a matrix, the inverse of their
covariance times sigma^2; ridge takes it whole, as the coefficients of Z R with R R' = Sigma/sigma^2 at lambda 1.
Lasso and elastic net have no such penalty: they take each term's variance and leave the correlation out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import square_root
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Estimates, GroupEffects
from workbench.estimators import NOTHING, REGISTRY, Settings
from workbench.fit import Fit
from workbench.penalised.columns import GroupColumns, group_columns
from workbench.penalised.cross_validation import CrossValidation, check_choice, cross_validate
from workbench.penalised.folds import make_folds
from workbench.penalised.regression import (
    CERTIFIED,
    Regression,
    Solution,
    effective_parameters,
    regression,
    solve,
    violation,
)
from workbench.penalised.strength import (
    Penalties,
    Stated,
    from_variances,
    grid,
    is_positive,
    share_of,
    stated,
    unit_ray,
)
from workbench.words import count, join

Array = NDArray[np.float64]

WHY = "penalised"
"""Why these estimates have no standard errors."""


@dataclass(frozen=True)
class Options:
    """Options of `penalized`.

    Attributes
    ----------
    kind : "ridge", "lasso" or "elastic_net"
    mix : float, optional
        Of an elastic net, the share of the absolute values, between 0 and 1; one half by default.
    penalty : "reml", "cv", number or mapping, optional
        lambda: as the variances of a mixed model say ("reml"; sigma^2/tau^2 for ridge), by cross-validation, or as
        stated, for all terms or by term (``Days``), group or ``"Subject, Days"``. By default "reml" where a mixed model
        of the family is fitted here (gaussian: by reml, binomial and Poisson: by laplace), else "cv" (gamma).
    folds : "within" or "groups"
        Whether cross-validation splits the rows of every group or leaves out whole groups (of the first factor).
    fold_count : int
    rule : "min" or "one_se"
        The smallest loss, or the strongest penalty within a standard error of it.
    grid : int
        How many strengths cross-validation tries.
    """

    kind: str = "ridge"
    mix: float | None = None
    penalty: str | Stated | None = None
    folds: str = "within"
    fold_count: int = 10
    rule: str = "min"
    grid: int = 60

    def __post_init__(self) -> None:
        share_of(self.kind, self.mix)
        if isinstance(self.penalty, str):
            if self.penalty not in ("reml", "cv"):
                raise OptionError(
                    f"penalty is {self.penalty!r}, but must be 'reml', 'cv', a number, or numbers by name. "
                    f"{nearest(self.penalty, ('reml', 'cv'))}"
                )
        elif self.penalty is not None:
            values = list(self.penalty.values()) if isinstance(self.penalty, Mapping) else [self.penalty]
            if not values or not all(is_positive(value) for value in values):
                raise OptionError(
                    f"penalty is {self.penalty!r}, but numbers must be positive and finite. As they go to zero the "
                    "fit goes to no_pooling, as they grow to complete_pooling."
                )
        check_choice(self.folds, self.fold_count, self.rule, self.grid)

    def source(self, design: Design) -> str | None:
        """The estimator whose variances say the penalty; None where they do not."""
        wanted = "reml" if design.family == "gaussian" else "laplace"
        able = design.family in REGISTRY[wanted].families
        if self.penalty == "reml" and not able:
            raise OptionError(
                f"penalty is 'reml', but nothing here maximises the likelihood of {design.family} models of groups. "
                "Use 'cv', or a number (phi/tau^2, with phi the dispersion)."
            )
        return wanted if able and self.penalty in ("reml", None) else None

    def needs(self, design: Design) -> tuple[str, ...]:
        """Estimators whose variances say the penalty."""
        found = self.source(design)
        return () if found is None else (found,)


def penalized(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit group effects as penalised coefficients of one column per level and varying term; the fixed part is free.

    Parameters
    ----------
    design : Design
        Of any family (gamma with the log link), any number of grouping factors and varying terms.
    settings : Settings
        Its `seed` deals the folds.
    options : Options
    upstream : mapping
        Holds the fit that ``options.needs(design)`` names.

    Returns
    -------
    Fit
        Points without standard errors: a penalty's bias is of the size of the spread, so that none would say how far
        off they are. `sigma` is the root of the residual sum of squares over n less `effective_parameters`; under
        REML's lambda that is REML's. ``diagnostics`` holds ``lambda``, ``l1``, ``l2`` and ``zeros`` by term,
        ``effective_parameters``, ``kkt`` (by how much the conditions of the minimum fail) and, of cross-validation,
        ``cv_lambda`` (of the first term), ``cv_loss``, ``cv_se``, ``cv_best``, ``cv_chosen``.

    Raises
    ------
    OptionError, DesignError
        A penalty on terms that do not vary; more than 5,000 columns; the inverse link.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> maximised = reml(design)
    >>> ridge = penalized(design, upstream={"reml": maximised})
    >>> gap = ridge.group_effects[0].effect.estimate - maximised.group_effects[0].effect.estimate
    >>> bool(abs(gap).max() < 1e-12)
    True
    >>> lasso = penalized(design, options=Options(kind="lasso", penalty=3.5))
    >>> lasso.group_effects[0].effect.estimate[:, 0].round(9).tolist()
    [-0.25, 0.0, 1.25]
    """
    share = share_of(options.kind, options.mix)
    source = options.source(design)
    maximised = None if source is None else upstream[source]
    joint = maximised is not None and share == 0 and any(len(part.terms) > 1 for part in maximised.components)
    maps = None
    if joint and maximised is not None:
        maps = [square_root(part.covariance) / maximised.sigma for part in maximised.components]
    columns = group_columns(design, maps)
    problem = regression(design, columns.Z)
    penalties, curve = _penalties(design, settings, options, maximised, problem, columns, joint)
    l1, l2 = columns.of_terms(penalties.l1), columns.of_terms(penalties.l2)
    found = solve(problem, l1, l2)
    kkt = violation(problem, found, l1, l2)
    used = effective_parameters(problem, found, l2)
    effects = columns.effects(found.u)
    reported = penalties if not joint or maximised is None else _marginal(columns, maximised)
    asked = _diagnostics(columns, options, reported, curve, effects, kkt, used, source, share)
    asked |= {"roots": None if maps is None else tuple(root.tolist() for root in maps), "seed": int(settings.seed)}
    return Fit(
        estimator="penalized",
        design=design,
        population=Estimates.points(found.b, "unpenalised beside penalised effects", WHY),
        fixed_cov=np.full((len(found.b),) * 2, np.nan),
        components=(),
        group_effects=_group_effects(design, found, effects, options.kind),
        sigma=_sigma(problem, found, used, design),
        own_fitted=design.mean(problem.predictor(found)),
        converged=kkt <= CERTIFIED and (maximised is None or maximised.converged),
        warnings=(*design.notes, *_warnings(columns, options, penalties, curve, kkt, maximised, share)),
        diagnostics=MappingProxyType(asked),
    )


def _penalties(
    design: Design,
    settings: Settings,
    options: Options,
    maximised: Fit | None,
    problem: Regression,
    columns: GroupColumns,
    joint: bool,
) -> tuple[Penalties, CrossValidation | None]:
    """The penalties by term (of the mapped columns), and the curve that they were chosen from."""
    share = share_of(options.kind, options.mix)
    if joint:
        return Penalties(np.zeros(len(columns.terms)), np.ones(len(columns.terms))), None
    if maximised is not None:
        return from_variances(columns.terms, maximised.components, maximised.sigma**2, share), None
    if options.penalty is not None and not isinstance(options.penalty, str):
        return stated(columns.terms, options.penalty, share), None
    ray = unit_ray(columns.terms, share)
    l1, l2 = columns.of_terms(ray.l1), columns.of_terms(ray.l2)
    strengths = grid(problem, l1, l2, options.grid)
    fold = make_folds(design, options.folds, options.fold_count, int(settings.seed))
    curve = cross_validate(problem, l1, l2, strengths, fold, options.rule)
    return ray.times(curve.strength), curve


def _marginal(columns: GroupColumns, maximised: Fit) -> Penalties:
    """Each term's own sigma^2/tau^2, to be reported where a whole matrix was used."""
    return from_variances(columns.terms, maximised.components, maximised.sigma**2, 0.0)


# --- the answer ---------------------------------------------------------------------------------------


def _group_effects(design: Design, found: Solution, effects: tuple[Array, ...], kind: str) -> tuple[GroupEffects, ...]:
    point = f"{kind.replace('_', ' ')} estimate"
    parts = []
    for block, u in zip(design.blocks, effects, strict=True):
        value = np.array([0.0 if column is None else found.b[column] for column in block.fixed])
        effect, coefficient = (Estimates.points(part, point, WHY) for part in (u, u + value))
        parts.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    return tuple(parts)


def _sigma(problem: Regression, found: Solution, used: float, design: Design) -> float:
    """The root of the dispersion: of Pearson's statistic over what is left of the rows."""
    if design.known_se or not design.estimates_dispersion:
        return 1.0
    mean = problem.family.inverse(problem.predictor(found))
    pearson = float(np.sum(problem.weights * (problem.y - mean) ** 2 / problem.family.variance(mean)))
    left = len(problem.y) - used
    return float(np.sqrt(pearson / left)) if left > 1e-6 * len(problem.y) else float("nan")


def _zeros(columns: GroupColumns, effects: tuple[Array, ...]) -> tuple[int, ...]:
    return tuple(int(np.sum(effects[t.place][:, t.k] == 0)) for t in columns.terms)


def _diagnostics(
    columns: GroupColumns,
    options: Options,
    penalties: Penalties,
    curve: CrossValidation | None,
    effects: tuple[Array, ...],
    kkt: float,
    used: float,
    source: str | None,
    share: float,
) -> dict[str, Any]:
    zeros = _zeros(columns, effects)
    first = columns.terms[0]
    found: dict[str, Any] = {
        "kind": options.kind,
        "mix": share,
        "penalty": "cv" if curve is not None else source or "stated",
        "terms": tuple(term.label for term in columns.terms),
        "lambda": tuple(penalties.total.tolist()),
        "l1": tuple(penalties.l1.tolist()),
        "l2": tuple(penalties.l2.tolist()),
        "effective_parameters": used,
        "zeros": zeros,
        "kkt": kkt,
        "fold_count": options.fold_count,
        "rule": options.rule,
        "grid": options.grid,
    }
    if curve is not None:
        unit = share * first.size + (1 - share) * first.size**2
        found |= {
            "folds": options.folds,
            "cv_lambda": tuple((curve.strengths * unit).tolist()),
            "cv_loss": tuple(curve.loss.tolist()),
            "cv_se": tuple(curve.se.tolist()),
            "cv_best": curve.best,
            "cv_chosen": curve.chosen,
        }
    if share > 0:
        said = [
            f"{zero:,} of {count(len(effects[t.place]), 'effect')} of {t.label}"
            for t, zero in zip(columns.terms, zeros, strict=True)
        ]
        found["note"] = f"Exactly zero: {join(said)}."
    return found


def _warnings(
    columns: GroupColumns,
    options: Options,
    penalties: Penalties,
    curve: CrossValidation | None,
    kkt: float,
    maximised: Fit | None,
    share: float,
) -> list[str]:
    found = []
    if kkt > CERTIFIED:
        found.append(
            f"The conditions of the minimum fail by {kkt:.2g} (a cosine with the residuals): the end point is not "
            "certified. Where outcomes are separated by fixed columns, their coefficients have no finite value."
        )
    if curve is not None and curve.at_end:
        pooled = "complete pooling" if curve.at_end == "strongest" else "no pooling"
        found.append(
            f"The loss is smallest at the {curve.at_end} penalty of the grid: rows left out are predicted best by "
            f"{pooled}, or hardly depend on the penalty (folds={options.folds!r})."
        )
    if maximised is not None:
        if not maximised.converged:
            found.append(f"The {maximised.estimator} fit that says the penalty did not converge; see its warnings.")
        none = [t.label for t in columns.terms if maximised.components[t.place].covariance[t.k, t.k] == 0]
        if none:
            found.append(
                f"{maximised.estimator} estimates no spread of {join(none)}, so the penalty is infinite and every "
                "effect zero."
            )
        if share > 0 and any(np.count_nonzero(part.covariance) > len(part.terms) for part in maximised.components):
            found.append("Correlations of terms are left out: a penalty on absolute values has none.")
    return found

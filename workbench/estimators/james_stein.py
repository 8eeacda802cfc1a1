"""`james_stein`: the rule that beats the group means, whatever the true ones are, and supposes no distribution of them.

    m_j ~ N(theta_j, v_j),   j = 1 ... J,     estimate = centre + (1 - B_j) (m_j - centre)

With equal variances v and S = sum (m_j - mean m)^2, the expected total squared error is below that of the means for
every theta where J > 3 (James & Stein 1961; Efron & Morris 1973, doi:10.1080/01621459.1973.10481350; cut off at B = 1,
which is better still):

    B = min(1, (J - 3) v / S)                                                                                       (1)

or with J - 2 about a centre that is given. Where v = sigma^2 / n is estimated on m degrees of freedom, B is multiplied
by m / (m + 2). With unequal variances two forms are in use:

* ``efron_morris``: every group has a factor of its own, as in a mixed model, with Morris's corrections (Efron & Morris
  1975, doi:10.1080/01621459.1975.10479864; Morris 1983, doi:10.1080/01621459.1983.10477920, section 5):

      B_j = (J - 3) / (J - 1) v_j / (v_j + A),     W_j = 1 / (v_j + A),     centre = sum W m / sum W
      A = sum W_j (J / (J - 1) (m_j - centre)^2 - v_j) / sum W_j, or 0                                              (2)

* ``brown``: one factor for all (Brown 2008, doi:10.1214/07-AOAS138), which is minimax like (1), and moves exact means
  as far as vague ones:

      B = min(1, (J - 3) / sum (m_j - centre)^2 / v_j),     centre = the mean weighted by 1 / v_j                   (3)

With equal variances (1), (2) and (3) are one rule, as long as A is not 0; there all of them are (1). REML's B_j is (2)
with (J - 3) / (J - 1) left out, which is why both are so close where groups are many. None gives standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, OptionError, nearest
from workbench.estimates import Component, Estimates
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.group_means import WHY, GroupMeans, moved

Array = NDArray[np.float64]

FORMS = ("efron_morris", "brown")
EQUAL = 1e-9
"""Variances that differ by no more, relatively, count as equal."""
POINT = "James-Stein estimate"


@dataclass(frozen=True)
class Options:
    """Options of `james_stein`.

    Attributes
    ----------
    form : "efron_morris" or "brown"
        What is done about unequal variances.
    centre : float or None
        What is shrunken towards, on the response's scale; by default the mean, which is estimated.
    sigma : float or None
        Residual SD; by default estimated within groups (1 where standard errors are known).
    positive : bool
        Whether factors are cut off at the centre, which no group then passes.
    """

    form: str = "efron_morris"
    centre: float | None = None
    sigma: float | None = None
    positive: bool = True

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise OptionError(f"There is no form {self.form!r}. {nearest(str(self.form), FORMS)}")
        for name in ("centre", "sigma"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
            if value is not None and not (number and (name == "centre" or value > 0)):
                wanted = "a number" if name == "centre" else "a positive number"
                raise OptionError(f"{name} is {value!r}, but {wanted} is needed, or nothing.")
        if not isinstance(self.positive, bool):
            raise OptionError(f"positive is {self.positive!r}, but must be True or False.")


def james_stein(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Shrink group means by James and Stein's rule.

    Parameters
    ----------
    design : Design
        ``y ~ 1 + (1 | g)``: one grouping factor, nothing but intercepts, gaussian; standard errors known or not.
    settings, upstream : not used
    options : Options

    Returns
    -------
    Fit
        `diagnostics` has the share of its distance to the centre that a group keeps (`kept_least`, `kept_most`) and the
        degrees of freedom of sigma. A variance component only where the form estimates one, `efron_morris`.

    Raises
    ------
    DesignError
        Another design; fewer than four groups (three about a given centre); no group with two rows, and no sigma.

    Examples
    --------
    Eighteen batters after 45 times at bat, with the standard error of their mean (Efron & Morris 1977):

    >>> from workbench.design import build_design
    >>> hits = np.array([18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7]) / 45
    >>> table = {"average": hits, "player": [f"{k:02d}" for k in range(18)]}
    >>> se = np.full(18, (hits.mean() * (1 - hits.mean()) / 45) ** 0.5)
    >>> fit = james_stein(build_design("average ~ 1 + (1 | player)", table, se=se))
    >>> fit.group_effects[0].coefficient.estimate[[0, 17], 0].round(4).tolist()
    [0.2939, 0.2422]
    >>> round(fit.diagnostics["kept_least"], 5)
    0.21165
    """
    means = GroupMeans.of(design, "james_stein")
    sigma, df = _sigma(means, options)
    variance = sigma**2 / means.weight
    _refuse_few(design, options)
    found = _rule(means.mean, variance, df, options)
    kept = 1 - found.factor
    coefficient = found.centre + kept * (means.mean - found.centre)
    block = design.blocks[0]
    component = () if found.between is None else (Component(block.group, block.terms, np.array([[found.between]])),)
    warnings = (
        (f"The means of {block.group} lie no farther apart than chance explains: all estimates are at the centre.",)
        if not kept.any()
        else ()
    )
    return Fit(
        estimator="james_stein",
        design=design,
        population=Estimates.points(
            np.array([found.centre]), "given centre" if options.centre is not None else "weighted mean", WHY
        ),
        fixed_cov=np.full((1, 1), np.nan),
        components=component,
        group_effects=(moved(design, means, found.centre, coefficient, POINT),),
        sigma=sigma,
        own_fitted=coefficient[block.codes] + design.offset,
        warnings=(*design.notes, *warnings),
        diagnostics=MappingProxyType(
            {"kept_least": float(kept.min()), "kept_most": float(kept.max()), "df_of_sigma": df}
        ),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """A centre, the shares B (J,) of the distance to it that are taken away, and the variance A, where there is one."""

    centre: float
    factor: Array
    between: float | None


def _sigma(means: GroupMeans, options: Options) -> tuple[float, float]:
    if options.sigma is not None:
        return float(options.sigma), inf
    if means.sigma is None:
        raise DesignError(
            "No group has two rows, so that their spread within groups cannot be estimated. Give standard errors (se), "
            'or options={"sigma": ...}.'
        )
    if means.sigma == 0:
        raise DesignError("All rows of a group are alike: there is no noise to shrink away. Use no_pooling.")
    return means.sigma, means.df


def _refuse_few(design: Design, options: Options) -> None:
    least, J = 3 + (options.centre is None), len(design.blocks[0].levels)
    if least > J:
        towards = "a mean that is estimated" if options.centre is None else "a given centre"
        raise DesignError(
            f"{design.blocks[0].group} has {J} levels, but shrinking towards {towards} beats the means from {least} "
            "on. Use reml."
        )


def _rule(mean: Array, variance: Array, df: float, options: Options) -> _Found:
    """Centre and shares by the equations above."""
    J, given = len(mean), options.centre is not None
    known = 1.0 if df == inf else df / (df + 2)
    equal = np.ptp(variance) <= EQUAL * variance.max()
    precision = 1 / variance
    centre = float(options.centre) if options.centre is not None else float(np.average(mean, weights=precision))
    lost = 2 if given else 3
    if equal or options.form == "brown":
        spread = float((precision * (mean - centre) ** 2).sum())
        share = known * (J - lost) / spread if spread > 0 else inf
        share = min(share, 1.0) if options.positive or spread == 0 else share
        of_equal = max(float(variance[0]) * (spread / (J - (not given)) - 1), 0.0)
        return _Found(centre, np.full(J, share), None if options.form == "brown" else of_equal)
    between, centre = _between(mean, variance, options.centre)
    share = known * (J - lost) / (J - (not given))
    return _Found(centre, share * variance / (variance + between), between)


def _between(mean: Array, variance: Array, centre: float | None) -> tuple[float, float]:
    """A of equation (2), or 0, and the centre there."""
    from scipy.optimize import brentq

    J = len(mean)
    blown = 1.0 if centre is not None else J / (J - 1)

    def middle(between: float) -> float:
        return centre if centre is not None else float(np.average(mean, weights=1 / (variance + between)))

    def missing(between: float) -> float:
        away = blown * (mean - middle(between)) ** 2 - variance - between
        return float((away / (variance + between)).sum())

    if missing(0.0) <= 0:
        return 0.0, middle(0.0)
    high = blown * float(((mean - middle(0.0)) ** 2).max())
    found = _root(brentq, missing, max(high, float(variance.max())))
    return found, middle(found)


def _root(solve: Callable[..., float], missing: Callable[[float], float], high: float) -> float:
    while missing(high) > 0:
        high *= 4
    return float(solve(missing, 0.0, high, xtol=1e-14 * high, rtol=1e-14))

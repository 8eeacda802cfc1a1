"""`spread_matching`: rules that give estimates the spread of the true values on purpose, beside the one that does not.

Of group means m_j with noise v_j = sigma^2 / w_j about true values of variance tau^2, with k_j = tau^2 / (tau^2 + v_j):

``square_root``
    centre + sqrt(k_j) (m_j - centre). Dividing by the SD of the means and multiplying by that of the true values
    reverses the spread that noise adds: every estimate has the variance tau^2. But it is no best guess of any group: a
    mean that lies far out does so by its noise, too, and the best guess moves it farther back.

``linear``
    centre + k_j (m_j - centre), the posterior mean: the smallest expected squared error of every group, and of all.
    Its estimates have the variance k_j tau^2, less than the true values have. That is what they should: the law of
    total variance, Var(theta) = Var E(theta | y) + E Var(theta | y), leaves the rest to what is not known.

``constrained``
    The posterior means e_j, spread about their mean until their sample variance is the expected one of the true values
    (Louis 1984, doi:10.1080/01621459.1984.10478062; Ghosh 1992, doi:10.1080/01621459.1992.10475236):

        mean e + (1 + H1 / H2)^(1/2) (e_j - mean e),   H1 = tr((I - 11'/J) Var(theta | y)),   H2 = sum (e_j - mean e)^2

    Right for a histogram of the groups, or for how many lie beyond a limit, where all are asked about at once; of all
    estimates with that spread it has the smallest expected squared error. Costs at most a doubled error, and keeps the
    order of the posterior means.

For one group's value, ask `linear`, or `reml`; for ranks, ask the posterior for ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, Estimates
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.group_means import WHY, GroupMeans, moved

Array = NDArray[np.float64]

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "square_root": "shrunken by the square root",
        "linear": "posterior mean",
        "constrained": "constrained empirical Bayes",
    }
)
CENTRES = ("grand_mean", "population")


@dataclass(frozen=True)
class Options:
    """Options of `spread_matching`.

    Attributes
    ----------
    rule : "square_root", "linear" or "constrained"
    tau, sigma : float or None
        SD between groups and of the noise; by default REML's.
    centre : "grand_mean", "population" or None
        The mean of all rows, or that of the groups weighted by 1 / (tau^2 + v_j), which REML estimates. By default the
        mean of all rows for `square_root`, otherwise the other.
    """

    rule: str = "square_root"
    tau: float | None = None
    sigma: float | None = None
    centre: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in POINTS:
            raise OptionError(f"There is no rule {self.rule!r}. {nearest(str(self.rule), POINTS)}")
        if self.centre is not None and self.centre not in CENTRES:
            raise OptionError(f"centre is {self.centre!r}. {nearest(str(self.centre), CENTRES)}")
        for name in ("tau", "sigma"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
            if value is not None and not (number and value >= 0 and (name == "tau" or value > 0)):
                wanted = "a number from 0 on" if name == "tau" else "a positive number"
                raise OptionError(f"{name} is {value!r}, but {wanted} is needed, or nothing.")

    def needs(self, design: Design) -> tuple[str, ...]:
        """REML, unless both standard deviations are given."""
        known = self.tau is not None and (self.sigma is not None or design.known_se)
        return () if known else ("reml",)


def spread_matching(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Shrink group means so that they spread as the true values do, or as the best guesses do.

    Parameters
    ----------
    design : Design
        ``y ~ 1 + (1 | g)``: one grouping factor, nothing but intercepts, gaussian.
    settings : not used
    options : Options
    upstream : mapping of str to Fit
        REML's fit, where its standard deviations are taken.

    Returns
    -------
    Fit
        Without standard errors: these rules have none.

    Raises
    ------
    DesignError
        Another design.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [0.0, 2.0, 4.0, 6.0], "g": list("aabb")})
    >>> for rule in ("square_root", "linear", "constrained"):           # means 1 and 5, v = 1
    ...     fit = spread_matching(design, options=Options(rule, tau=1.0, sigma=2**0.5))
    ...     fit.group_effects[0].coefficient.estimate[:, 0].round(4).tolist()
    [1.5858, 4.4142]
    [2.0, 4.0]
    [1.882, 4.118]
    """
    means = GroupMeans.of(design, "spread_matching")
    tau, sigma = _spreads(design, options, upstream)
    noise = sigma**2 / means.weight
    total = tau**2 + noise
    population = float(np.average(means.mean, weights=1 / total))
    where = options.centre or ("grand_mean" if options.rule == "square_root" else "population")
    centre = means.grand if where == "grand_mean" else population
    kept = tau**2 / total
    estimate = centre + (np.sqrt(kept) if options.rule == "square_root" else kept) * (means.mean - centre)
    stretch = 1.0
    if options.rule == "constrained":
        stretch = _stretch(estimate, kept, noise, 1 / float((1 / total).sum()))
        estimate = estimate.mean() + stretch * (estimate - estimate.mean())
    block = design.blocks[0]
    return Fit(
        estimator="spread_matching",
        design=design,
        population=Estimates.points(
            np.array([centre]), "mean of all rows" if where == "grand_mean" else "mean of the groups", WHY
        ),
        fixed_cov=np.full((1, 1), np.nan),
        components=(Component(block.group, block.terms, np.array([[tau**2]])),),
        group_effects=(moved(design, means, centre, estimate, POINTS[options.rule]),),
        sigma=sigma,
        own_fitted=estimate[block.codes] + design.offset,
        singular=tau == 0,
        warnings=design.notes,
        diagnostics=MappingProxyType({"rule": options.rule, "stretch": stretch}),
    )


def _spreads(design: Design, options: Options, upstream: Mapping[str, Fit]) -> tuple[float, float]:
    """tau and sigma, given or REML's."""
    reml = upstream.get("reml")
    tau, sigma = options.tau, 1.0 if design.known_se else options.sigma
    if reml is not None:
        tau = float(reml.components[0].sd[0]) if tau is None else tau
        sigma = reml.sigma if sigma is None else sigma
    assert tau is not None
    assert sigma is not None
    return float(tau), float(sigma)


def _stretch(mean: Array, kept: Array, noise: Array, of_centre: float) -> float:
    """(1 + H1 / H2)^(1/2), with the centre's variance; 1 where the posterior means do not differ."""
    J, spread = len(mean), float(((mean - mean.mean()) ** 2).sum())
    left = 1 - kept
    own = float((kept * noise).sum()) * (1 - 1 / J)
    shared = of_centre * float(((left - left.mean()) ** 2).sum())
    return float(np.sqrt(1 + (own + shared) / spread)) if spread > 0 else 1.0

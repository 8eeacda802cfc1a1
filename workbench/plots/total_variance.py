"""The law of total variance among group values, term by term: what :mod:`workbench.plots.spread` draws.

With v the variance over groups (divisor J - 1), tau^2 the variance that the model gives them, and A_j = Z_j'W Z_j,

    v(own values)  ~  tau^2 + mean of sigma^2 (A_j^-1)_kk          (sigma^2 / n_j, of one varying intercept)
    tau^2          ~  v(shrunken values) + mean conditional variance

Both hold exactly for REML of balanced one-way data whose estimated spread is not zero: there tau^2 + sigma^2 / n is the
mean square between groups over n, and each group keeps the share k = tau^2 / (tau^2 + sigma^2 / n), so that
v(shrunken) = k tau^2, and the conditional variance is (1 - k) tau^2 (Searle, Casella & McCulloch 1992,
doi:10.1002/9780470316856, section 3.4). Elsewhere estimates only approach them, and the picture says by
how much they miss.

Of a posterior the second lacks a term: values of two groups covary, for they share the population value and tau, and

    E[tau^2 | y]  ~  v(posterior means) + mean posterior variance - mean posterior covariance of two groups

so that the two parts shown are not meant to add up to E[tau^2 | y].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.varying import Varying, coefficients

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

Array = NDArray[np.float64]

EXACT = 1e-7
"""Sums that miss by a smaller share are said to hold exactly."""


@dataclass(frozen=True)
class Parts:
    """Two variances that add up, more or less, to a third.

    Attributes
    ----------
    estimator : str
    first, second, whole : float
        Of own values tau^2, the mean sampling variance, and the variance of the values; of shrunken ones their
        variance, the mean conditional variance, and tau^2.
    lawful : bool
        Whether the two should make up the third; of a posterior's values, which covary, they should not.
    """

    estimator: str
    first: float
    second: float
    whole: float
    lawful: bool = True

    @property
    def total(self) -> float:
        """What the two add up to."""
        return self.first + self.second

    @property
    def off(self) -> float:
        """By which share of the whole the sum misses it; 0 where both are nothing, or where rounding is all."""
        miss = abs(self.total - self.whole)
        scale = max(abs(self.whole), abs(self.total))
        return 0.0 if miss <= EXACT * scale else miss / scale


def variance_of(values: Array) -> float:
    """The variance over the groups that have a value, with divisor J - 1; NaN of fewer than two.

    Examples
    --------
    >>> variance_of(np.array([1.0, 3.0, np.nan]))
    2.0
    """
    known = values[np.isfinite(values)]
    return float(known.var(ddof=1)) if len(known) > 1 else float("nan")


def spread_of(fit: Fit, v: Varying) -> float:
    """tau^2 of a term: the estimate's square, or of a posterior the mean of tau^2; NaN where a fit has none."""
    name = f"sd({v.group}, {v.term})"
    if fit.parameters is not None and name in fit.parameters.names:
        k, e = fit.parameters.names.index(name), fit.parameters.estimates
        return float(e.estimate[k] ** 2 + e.std_error[k] ** 2)
    if v.block >= len(fit.components):
        return float("nan")
    return float(fit.components[v.block].covariance[v.column, v.column])


def shrunken_parts(estimator: str, fit: Fit, v: Varying) -> Parts | None:
    """How the variance of an estimator's values and their mean conditional variance make up its tau^2.

    None without either. Of a posterior the conditional variances are the effects' posterior ones, and the effects also
    covary: the two do not make up its mean of tau^2.
    """
    effect = fit.group_effects[v.block].effect
    uncertain, values = effect.std_error[:, v.column] ** 2, coefficients(fit, v)
    known = np.isfinite(uncertain) & np.isfinite(values)
    whole = spread_of(fit, v)
    if not np.isfinite(whole) or known.sum() < 2:
        return None
    return Parts(estimator, variance_of(values[known]), float(uncertain[known].mean()), whole, fit.parameters is None)


def own_parts(estimator: str, fit: Fit, v: Varying, own: Array) -> Parts | None:
    """How an estimator's tau^2 and sampling variances make up the variance of the groups' own values.

    None where the rows of groups do not tell own values by themselves: beside another factor, and of counts and shares.
    """
    design, whole = fit.design, variance_of(own)
    tau2 = spread_of(fit, v)
    if design.family != "gaussian" or len(design.groups) > 1 or fit.sigma is None or not np.isfinite(tau2 + whole):
        return None
    noise = fit.sigma**2 * information_inverse(design, v)
    noise = noise[np.isfinite(own) & np.isfinite(noise)]
    return Parts(estimator, tau2, float(noise.mean()), whole) if len(noise) else None


def information_inverse(design: Design, v: Varying) -> Array:
    """The term's entry on the diagonal of (Z_j'W Z_j)^-1, shape (J,); NaN where a group's rows do not tell it.

    Z_j has the columns of all terms that vary by the factor. Times sigma^2 it is the sampling variance of a group's own
    value, the coefficients of what does not vary by group being known.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.plots.varying import Varying
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0], "g": list("aab")})
    >>> v = Varying(0, 0, "g", "(Intercept)", "y", ("a", "b"), np.array([2, 1]), True)
    >>> information_inverse(design, v).tolist()
    [0.5, 1.0]
    """
    blocks = [block for block in design.blocks if block.group == v.group]
    Z = np.hstack([block.Z for block in blocks])
    before = sum(len(b.terms) for b in design.blocks[: v.block] if b.group == v.group)
    place, J = before + v.column, len(v.levels)
    A = np.empty((J, Z.shape[1], Z.shape[1]))
    for a in range(Z.shape[1]):
        for b in range(Z.shape[1]):
            A[:, a, b] = np.bincount(blocks[0].codes, design.weights * Z[:, a] * Z[:, b], J)
    scale = np.sqrt(np.einsum("jaa->ja", A))
    scale[scale == 0] = 1.0
    unit = A / scale[:, :, None] / scale[:, None, :]
    told = np.linalg.eigvalsh(unit)[:, 0] > 1e-10
    found = np.full(J, np.nan)
    found[told] = np.linalg.inv(unit[told])[:, place, place] / scale[told, place] ** 2
    return found


def lead(comparison: Comparison, v: Varying) -> str | None:
    """The estimator whose tau stands for the model: REML where it is there, else the first that has one."""
    able = [name for name, fit in comparison.fits.items() if np.isfinite(spread_of(fit, v))]
    return next((name for name in ("reml", "laplace", "agq") if name in able), next(iter(able), None))

"""The conditional mean of the group coefficients given the variances: C(v, prior) of :mod:`workbench.gap.integrated`.

With v = (sd, cor, sigma) and c_j = b + u_j,

    C(v, prior) = E[c | y, v],       b ~ N(m, P^-1) integrated out exactly.

:mod:`workbench.likelihood` gives it with the prior of b as further rows (Lindley & Smith 1972,
doi:10.1111/j.2517-6161.1972.tb00885.x). In the centred coordinates, where b = T b_c + o, these add

    sigma^2 T'P T to X'X,     sigma^2 T'P (m - o) to X'y,     sigma^2 (m - o)'P (m - o) to y'y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import relative_factors, square_root
from workbench.design import Design
from workbench.fit import Fit
from workbench.likelihood import Conditional, conditional
from workbench.moments import Moments
from workbench.priors import Prior, coefficient_name

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Variances:
    """v: everything that the conditional mean of the coefficients is given.

    Attributes
    ----------
    sd : tuple of array, shape (q,)
        By block of the design.
    correlation : tuple of array, shape (q, q)
    sigma : float
        1 where standard errors are known.
    """

    sd: tuple[Array, ...]
    correlation: tuple[Array, ...]
    sigma: float

    @classmethod
    def of(cls, fit: Fit) -> Variances:
        """Those that a fit reports; a correlation beside a standard deviation of zero counts as zero."""
        correlations = (np.nan_to_num(part.correlation, nan=0.0) for part in fit.components)
        return cls(tuple(part.sd for part in fit.components), tuple(correlations), fit.sigma)

    def named(self, design: Design) -> dict[str, float]:
        """The parameters by the names that a hierarchical fit gives them."""
        found: dict[str, float] = {}
        for block, sd, correlation in zip(design.blocks, self.sd, self.correlation, strict=True):
            found |= {f"sd({block.group}, {term})": float(s) for term, s in zip(block.terms, sd, strict=True)}
            for a, c in zip(*np.triu_indices(len(sd), 1), strict=True):
                found[f"cor({block.group}, {block.terms[a]}, {block.terms[c]})"] = float(correlation[a, c])
        return found if design.known_se else found | {"sigma": self.sigma}

    def factors(self, data: Moments) -> tuple[Array, ...]:
        """Lambda of every grouping factor, of the moments' columns, shape (q_f, q_f)."""
        pairs = zip(self.sd, self.correlation, strict=True)
        return relative_factors(data, [sd[:, None] * square_root(correlation) for sd, correlation in pairs], self.sigma)


@dataclass(frozen=True, eq=False)
class PopulationPrior:
    """Independent normal priors of the population coefficients; a precision of zero is a flat prior.

    Attributes
    ----------
    mean, precision : array, shape (p,)
    replaced : str
        In words, the priors for which these stand in, with a leading semicolon; empty where they are the priors.
    """

    mean: Array
    precision: Array
    replaced: str = ""

    @classmethod
    def of(cls, design: Design, priors: Mapping[str, Prior], at: Array) -> PopulationPrior:
        """The priors of b, or the normal ones that pull as much at `at`, shape (p,)."""
        names = [coefficient_name(term) for term in design.fixed_terms]
        pairs = [_normal(priors[name], x) for name, x in zip(names, at.tolist(), strict=True)]
        others = [f"{priors[name]} of {name}" for name in names if priors[name].kind not in ("Normal", "Flat")]
        words = f"; {' and '.join(others)} became the normal prior that pulls as much at its posterior mean"
        mean, precision = np.reshape(pairs, (-1, 2)).T
        return cls(mean, precision, words if others else "")

    def joined(self, data: Moments, sigma: float) -> Moments:
        """The moments with this prior as further rows; `sigma` is that of the data's rows."""
        return data.with_prior(self.mean, sigma**2 * self.precision)


def _normal(prior: Prior, at: float) -> tuple[float, float]:
    """Mean and precision of the normal prior whose log density has the same slope at a point."""
    match prior.kind, prior.values:
        case "Normal", (mean, sd):
            return mean, sd**-2
        case "StudentT", (df, mean, scale):
            return mean, (df + 1) / (df * scale**2 + (at - mean) ** 2)
        case "Cauchy", (mean, scale):
            return mean, 2 / (scale**2 + (at - mean) ** 2)
    return 0.0, 0.0


def coefficients_at(data: Moments, at: Variances, of_b: PopulationPrior | None = None) -> tuple[Array, ...]:
    """C(v, prior): the conditional mean of the group coefficients, by block of the design, shape (J, q).

    Parameters
    ----------
    data : Moments
    at : Variances
    of_b : PopulationPrior, optional
        Flat where it is left out: these are then the BLUPs.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.moments import moments
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> data = moments(build_design("y ~ 1 + (1 | g)", table))
    >>> v = Variances((np.array([1.0]),), (np.eye(1),), 2.0)
    >>> (c,) = coefficients_at(data, v)         # 1/3 of the way from the mean of all, 23/6, to that of each group
    >>> c[:, 0].round(4).tolist()
    [3.0556, 3.7222, 4.7222]
    >>> tight = PopulationPrior(np.array([0.0]), np.array([1e12]))
    >>> coefficients_at(data, v, tight)[0][:, 0].round(4).tolist()      # 1/3 of the way from zero
    [0.5, 1.1667, 2.1667]
    """
    given = conditional(of_b.joined(data, at.sigma) if of_b else data, at.factors(data))
    return group_coefficients(data, given, given.b)


def group_coefficients(data: Moments, given: Conditional, b: Array) -> tuple[Array, ...]:
    """Population value + conditional mode at centred population values b, by block of the design, shape (J, q)."""
    of_data = data.shift.to_data @ b + data.shift.origin
    parts: dict[int, Array] = {}
    for f, modes in zip(data.factors, given.modes, strict=True):
        u = f.to_data @ (modes[:, -1] - np.einsum("akj,k->aj", modes[:, :-1], b))
        value = np.array([0.0 if k is None else of_data[k] for k in f.fixed])
        parts |= {place: (u + value[:, None])[here].T for here, place in zip(f.blocks, f.places, strict=True)}
    return tuple(parts[place] for place in range(len(parts)))

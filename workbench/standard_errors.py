"""What an estimate may miss by: the variances of group estimates, each under its own name.

Of y = X b + Z u + e, with u_j ~ N(0, Sigma) and e ~ N(0, sigma^2 W^-1), the variances held at their estimates, the
mixed-model equations (Henderson 1975, doi:10.2307/2529430) give the joint error of the estimates: the inverse of

    [ X'WX   X'WZ            ]
    [ Z'WX   Z'WZ + D^-1     ],     D = Sigma/sigma^2 in every level,

times sigma^2, is the covariance of (b_hat - b, u_hat - u). In the parts that :mod:`workbench.likelihood` computes, P
the covariance over sigma^2 of u given b, and pull_j how u_hat_j answers to b:

========================  ================================================  ==========================================
name                      variance of                                       is sigma^2 times
========================  ================================================  ==========================================
``conditional_sd``        u_j given y and b                                 P_j
``effect_prediction_se``  u_hat_j - u_j                                     P_j + pull_j B pull_j'
``coefficient_se``        A (b_hat - b) + u_hat_j - u_j                     P_j + (A - pull_j) B (A - pull_j)'
(prediction SE)           x'(b_hat - b) + z'(u_hat - u)                     z'P z + (x - pull'z)' B (x - pull'z)
========================  ================================================  ==========================================

with B = (R_X'R_X)^-1 and A picking the population value of each varying column (zero where there is none: then the
second and the third are the same). The conditional SD is lme4's ``condVar``: how far the group may lie from its
estimate were the population values known. The other two count that b is estimated as well, first for the deviation from
the population value, then for the group's own value. All three leave out that the variances are estimated.

Where the spread between groups is estimated as zero, the first two are zero (the effects are *held* at zero, which is
no evidence that they are), and the third is the standard error of the population value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.grouped import Grouped, GroupPrior
from workbench.cells import Cells
from workbench.covariances import relative_factors, square_root
from workbench.crossed import Schur
from workbench.design import check_gaussian
from workbench.errors import OptionError
from workbench.fit import Fit
from workbench.group_coefficients import by_group
from workbench.likelihood import conditional, conditional_covariances, in_data_units
from workbench.moments import Moments, moments
from workbench.new_rows import Rows
from workbench.plug_in import PlugIn, held, rest_columns, rest_prior
from workbench.priors import parse_prior
from workbench.words import join

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

AT_VARIANCES = ("reml", "ml", "boundary_avoiding", "henderson", "mackay", "em", "statsmodels")
"""The estimators whose effects are predictions at variances that were estimated, or given."""


def standard_errors(fit: Fit) -> pd.DataFrame:
    """The three standard errors of every group estimate of a fit by `AT_VARIANCES`, side by side.

    Returns
    -------
    DataFrame
        ``group, level, term, n, conditional_sd, effect_prediction_se, coefficient_se`` (see the module's table), on the
        scale of the response per unit of the varying column, in the order of ``fit.effects``.

    Raises
    ------
    OptionError
        Another estimator, whose effects have a standard error of one kind; a response that is not gaussian.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> fit = reml(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}))
    >>> standard_errors(fit).round(3).iloc[0, 4:].to_dict()
    {'conditional_sd': 0.49, 'effect_prediction_se': 1.479, 'coefficient_se': 0.493}
    """
    import pandas as pd

    if fit.estimator not in AT_VARIANCES:
        raise OptionError(
            f"These standard errors belong to {join(AT_VARIANCES)}; the effects of {fit.estimator} have one kind "
            "each, in fit.effects and fit.coefficients (see std_error_kind). Fit reml to have them."
        )
    check_gaussian(fit.design, "standard_errors")
    data = moments(fit.design)
    factors = _factors(fit, data)
    given = conditional(data, factors)
    covariances = conditional_covariances(data, factors, given)
    given = in_data_units(data, given)
    tables: list[pd.DataFrame | None] = [None] * len(fit.design.blocks)
    for f, pull, P in zip(data.factors, given.pull, covariances, strict=True):
        own = np.diagonal(f.to_data @ P @ f.to_data.T, axis1=1, axis2=2)
        pick = np.array([[float(k == column) for k in range(data.p)] for column in f.fixed]).reshape(-1, data.p)
        from_b = [np.einsum("jqp,pr,jqr->jq", a, given.b_cov, a) for a in (pull, pick @ data.shift.to_data - pull)]
        variances = {"conditional_sd": own, "effect_prediction_se": own + from_b[0], "coefficient_se": own + from_b[1]}
        for where, place in zip(f.blocks, f.places, strict=True):
            block = fit.design.blocks[place]
            J, q = len(block.levels), len(block.terms)
            head = {"group": block.group, "level": np.repeat(np.asarray(block.levels, dtype=object), q)}
            head |= {"term": list(block.terms) * J, "n": np.repeat(block.sizes, q)}
            errors = {name: fit.sigma * np.sqrt(value[:, where]).ravel() for name, value in variances.items()}
            tables[place] = pd.DataFrame(head | errors)
    return pd.concat(tables, ignore_index=True)


def _factors(fit: Fit, data: Moments) -> tuple[Array, ...]:
    return relative_factors(data, [square_root(part.covariance) for part in fit.components], fit.sigma)


@dataclass(frozen=True, eq=False)
class JointError:
    """The joint error of population and group estimates: what any row x'b + z'u may miss by.

    Attributes
    ----------
    data : Moments
    scale : float
        sigma^2.
    fixed : array, shape (p, r)
        Takes a row of X to the r columns that b_cov is of.
    b_cov : array, shape (r, r)
    pull : tuple of array, shape (J_f, q_f, r)
    P_first, schur
        See :class:`workbench.likelihood.Conditional`.
    factors : tuple of array, or None
        Relative covariance factors; None where no spread between groups is assumed: a new level may be anything.
    """

    data: Moments
    scale: float
    fixed: Array
    b_cov: Array
    pull: tuple[Array, ...]
    P_first: Array
    schur: Schur | None
    factors: tuple[Array, ...] | None

    def variance(self, rows: Rows) -> Array:
        """Variance of the error of every row's mean, shape (m,); NaN where a new level may be anything."""
        x = rows.X @ self.fixed
        total = np.zeros(len(rows))
        parts: list[tuple[Array, NDArray[np.intp]] | None] = []
        for k, (f, pull) in enumerate(zip(self.data.factors, self.pull, strict=True)):
            if f.places[0] not in rows.varying:
                parts.append(None)
                continue
            Z = np.hstack([rows.varying[place].Z for place in f.places]) @ f.to_data
            codes = rows.varying[f.places[0]].codes
            new = codes < 0
            total[new] += np.nan if self.factors is None else ((Z[new] @ self.factors[k]) ** 2).sum(axis=1)
            Z, codes = np.where(new[:, None], 0.0, Z), np.where(new, 0, codes)
            x = x - np.einsum("mq,mqr->mr", Z, pull[codes])
            parts.append((Z, codes))
        total += self._given_b(parts, len(rows)) + np.einsum("mr,rs,ms->m", x, self.b_cov, x)
        return self.scale * total

    def _given_b(self, parts: list[tuple[Array, NDArray[np.intp]] | None], m: int) -> Array:
        """z'P z, shape (m,), over all factors at once.

        With z_1 the first factor's part and z_r the others', z'Pz = z_1'P_first z_1 + v'P_r v, where
        v = z_r - R'Z_j P_first z_1 and P_r = Lambda_r S^-1 Lambda_r' (notation of :mod:`workbench.crossed`).
        """
        found = np.zeros(m)
        shrunken = None
        if parts[0] is not None:
            Z, codes = parts[0]
            shrunken = np.einsum("mq,mqs->ms", Z, self.P_first[codes]), codes
            found += (shrunken[0] * Z).sum(axis=1)
        if self.schur is None or self.data.rest is None:
            return found
        from scipy.sparse import csr_array, hstack

        first = _sparse(shrunken, m, *self.data.factors[0].Zty.shape)
        others = [_sparse(part, m, *f.Zty.shape) for part, f in zip(parts[1:], self.data.factors[1:], strict=True)]
        v = (hstack(others, format="csr") - first @ csr_array(self.data.rest.Z1tR)).tocsr()
        v.sort_indices()
        through: Array = Cells(v, 1, self.data.rest.blocks).within(self.schur.covariance)[0, 0]
        return found + through


def _sparse(part: tuple[Array, NDArray[np.intp]] | None, m: int, J: int, q: int) -> Any:
    """Rows of Z of one factor, one column per level and varying column: sparse, shape (m, J q)."""
    from scipy.sparse import csr_array

    if part is None:
        return csr_array((m, J * q))
    Z, codes = part
    columns = (codes[:, None] * q + np.arange(q)).ravel()
    return csr_array((Z.ravel(), columns, np.arange(0, m * q + 1, q)), shape=(m, J * q))


def joint_error(fit: Fit) -> JointError | None:
    """The joint error of a fit's estimates, for `AT_VARIANCES`, `fixed_prior` and `no_pooling`; None for others.

    Under a fixed prior the population coefficients of varying columns are held, and the columns R that do not vary take
    the place of X; with t priors, or rescaled ones, there is no such error (None). Without pooling,
    P_j = (Z_j'W Z_j)^-1, the limit of infinite spread.
    """
    if fit.estimator not in (*AT_VARIANCES, "fixed_prior", "no_pooling") or fit.design.family != "gaussian":
        return None
    if fit.estimator == "fixed_prior":
        return _under_fixed_prior(fit)
    data = moments(fit.design)
    if fit.estimator == "no_pooling":
        return _without_pooling(fit, data)
    factors, fixed = _factors(fit, data), data.shift.to_data
    given = conditional(data, factors)
    return JointError(data, fit.sigma**2, fixed, given.b_cov, given.pull, given.P_first, given.schur, factors)


def _under_fixed_prior(fit: Fit) -> JointError | None:
    """The curvature of the posterior, prior and dispersion held."""
    design = fit.design
    if np.isfinite(fit.diagnostics["prior_df"]) or fit.diagnostics["prior_scaled"]:
        return None
    prior = PlugIn(
        tuple(np.zeros(len(block.terms)) for block in design.blocks), tuple(part.covariance for part in fit.components)
    )
    stated = {name: parse_prior(text) for name, text in fit.priors.items()}
    if any(p.kind in ("StudentT", "Cauchy") for p in stated.values()):
        return None
    regression = held(design, prior.means)
    by_group = {group: GroupPrior(covariance=prior.of_group(design, group)) for group in design.groups}
    columns = Grouped(regression, by_group, rest_prior(design, stated))
    solved = columns.solve(columns.weigh(design.weights, design.y - design.offset), columns.first(), fit.sigma**2)
    fixed = np.eye(design.X.shape[1])[:, rest_columns(design)] @ solved.data.shift.to_data
    given = solved.given
    return JointError(
        solved.data, fit.sigma**2, fixed, given.b_cov, given.pull, given.P_first, given.schur, solved.factors
    )


def _without_pooling(fit: Fit, data: Moments) -> JointError:
    """Least squares by group: levels and columns without an estimate have NaN here too, or are left out."""
    design, f, recast = fit.design, data.factor, by_group(data)
    kept = [k for k, column in enumerate(recast.rest) if np.isfinite(fit.population.estimate[column])]
    coefficient = np.hstack([part.coefficient.estimate for part in fit.group_effects])
    own = np.isfinite(coefficient).all(axis=1)
    inverse = np.full_like(f.ZtZ, np.nan)
    inverse[own] = np.linalg.inv(f.ZtZ[own])
    ZtR = recast.ZtR[:, :, kept]
    pull = inverse @ ZtR
    fixed = np.eye(data.p)[:, [recast.rest[k] for k in kept]]
    used = own[design.blocks[0].codes]
    R = design.X[used] @ fixed
    within = R.T @ (design.weights[used, None] * R) - np.einsum("jqr,jqs->rs", ZtR[own], pull[own])
    return JointError(data, fit.sigma**2, fixed, np.linalg.inv(within), (pull,), inverse, None, None)

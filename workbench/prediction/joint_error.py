"""The joint error of population and group estimates: what the mean of any row may miss by.

The inverse of the mixed-model equations (see the table in :mod:`workbench.standard_errors`) gives it for a fit at
variances that were estimated or given (Henderson 1975, doi:10.2307/2529430); under a fixed prior, and without pooling,
it is their limit of no doubt about the population values, or of infinite spread.

Of counts and shares the equations are those of the working regression at the estimates, whose weights are an
information of every row, on the scale of the linear predictor; the population values' own errors come from the
Hessian of the deviance (:mod:`workbench.glmm.answer`), or from the curvature under the fixed prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.grouped import Grouped, GroupPrior
from workbench.cells import Cells
from workbench.covariances import relative_factors, square_root
from workbench.crossed import Schur
from workbench.design import Design
from workbench.families import LEAST_INFORMATION, family_of
from workbench.fit import Fit
from workbench.glmm.densities import Density
from workbench.group_coefficients import by_group
from workbench.likelihood import Conditional, conditional
from workbench.moments import Moments, moments
from workbench.new_rows import Rows, rows_of_the_fit
from workbench.plug_in import PlugIn, held, rest_columns, rest_prior
from workbench.prediction.linear_predictor import linear_predictor
from workbench.priors import parse_prior

Array = NDArray[np.float64]

OF_GAUSSIAN = ("reml", "ml", "boundary_avoiding", "henderson", "mackay", "em", "statsmodels")
OF_COUNTS = ("laplace", "agq")
AT_VARIANCES = (*OF_GAUSSIAN, *OF_COUNTS)
"""The estimators whose effects are predictions at variances that were estimated, or given."""


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


def is_at_variances(fit: Fit) -> bool:
    """Whether a fit is by `AT_VARIANCES`; statsmodels' of counts is a variational posterior, not a prediction."""
    return fit.estimator in AT_VARIANCES and (fit.estimator != "statsmodels" or fit.design.family == "gaussian")


@dataclass(frozen=True, eq=False)
class Equations:
    """The mixed-model equations of a fit by `AT_VARIANCES`, solved.

    Attributes
    ----------
    data : Moments
        Of the design, or of the working regression at the estimates.
    factors : tuple of array, shape (q_f, q_f)
        Relative covariance factors of the moments' columns.
    given : Conditional
        What follows; `b_cov` is Var(b) over sigma^2, of the moments' columns.
    """

    data: Moments
    factors: tuple[Array, ...]
    given: Conditional


def equations(fit: Fit) -> Equations:
    """The mixed-model equations of a fit by `AT_VARIANCES`, at its estimates."""
    data = moments(working_design(fit))
    roots = [square_root(part.covariance) for part in fit.components]
    factors = relative_factors(data, roots, fit.sigma)
    given = conditional(data, factors)
    if fit.design.family != "gaussian":
        to_own = np.linalg.inv(data.shift.to_data)
        given = replace(given, b_cov=to_own @ fit.fixed_cov @ to_own.T)
    return Equations(data, factors, given)


def working_design(fit: Fit) -> Design:
    """The design whose least squares a fit is to second order at its estimates: of a gaussian response its own.

    Else an information of every row is its weight, observed if the fit says so, else expected; the response is zero.
    """
    design = fit.design
    if design.family == "gaussian":
        return design
    predictor = linear_predictor(fit, rows_of_the_fit(design, design.groups))
    known = np.isfinite(predictor)
    predictor = np.where(known, predictor, 0.0)
    if fit.diagnostics.get("information") == "observed":
        failures = design.weights * (1.0 if design.family == "poisson" else 1 - design.y)
        weights = Density(design.family, design.link, design.weights * design.y, failures).terms(predictor).curve
    else:
        family = family_of(design.family, design.link)
        place = np.where(known, predictor, family.link(family.start(design.y, design.weights)))
        weights = design.weights * family.information(place)
    weights = np.where(known, np.maximum(weights, LEAST_INFORMATION), LEAST_INFORMATION)
    return replace(design, y=np.zeros(design.n), weights=weights, offset=np.zeros(design.n))


def joint_error(fit: Fit) -> JointError | None:
    """The joint error of a fit's estimates, for `AT_VARIANCES`, `fixed_prior` and `no_pooling`; None for others.

    It is on the scale of the linear predictor. Under a fixed prior the population coefficients of varying columns (and
    others that the fit holds) are held, and the columns R that do not vary take the place of X; with t priors, or
    rescaled ones, there is no such error (None). Without pooling, P_j = (Z_j'W Z_j)^-1, the limit of infinite spread.
    """
    if fit.estimator == "fixed_prior":
        return _under_fixed_prior(fit)
    if fit.estimator == "no_pooling":
        return _without_pooling(fit)
    if not is_at_variances(fit):
        return None
    at = equations(fit)
    given, fixed = at.given, at.data.shift.to_data
    return JointError(at.data, fit.sigma**2, fixed, given.b_cov, given.pull, given.P_first, given.schur, at.factors)


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
    population = {design.fixed_terms.index(term): value for term, value in fit.diagnostics["held"].items()}
    by_group = {group: GroupPrior(covariance=prior.of_group(design, group)) for group in design.groups}
    columns = Grouped(held(design, prior.means, population), by_group, rest_prior(design, stated, population))
    weighed = columns.weigh(working_design(fit).weights, np.zeros(design.n))
    solved = columns.solve(weighed, columns.first(), fit.sigma**2)
    fixed = np.eye(design.X.shape[1])[:, rest_columns(design, population)] @ solved.data.shift.to_data
    given = solved.given
    return JointError(
        solved.data, fit.sigma**2, fixed, given.b_cov, given.pull, given.P_first, given.schur, solved.factors
    )


def _without_pooling(fit: Fit) -> JointError:
    """Least squares by group: levels and columns without an estimate have NaN here too, or are left out."""
    design = working_design(fit)
    data = moments(design)
    f, recast = data.factor, by_group(data)
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

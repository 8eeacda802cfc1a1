"""What a posterior of counts or shares says of rows: of known groups, of the population, of a group not seen.

A row's linear predictor is c + offset, where c is a group's coefficient b + u_j, the population's b, or a new group's
b + u with u ~ N(0, tau^2). Of the first two the marginal posterior is a mixture of bells over tau
(:mod:`~workbench.exact_posterior.shapes`), whose means of any function are sums over the bells' nodes. Of the third,
given tau, the distribution function is

    F(c) = E Phi((c - b) / tau) = E F_b(c - tau z),     z ~ N(0, 1)

by whichever of the two integrands is the smoother: the first where tau is above the spread of b, else the second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workbench.exact_posterior.counts import CountPosterior
from workbench.exact_posterior.posterior import Summary

Array = NDArray[np.float64]

NEW, POPULATION = -1, -2
"""Codes of a level that was not seen, and of no level."""
ORDER = 60
"""Nodes of the normal distribution."""
GROUPS_AT_ONCE = 256


def row_summaries(
    posterior: CountPosterior, codes: NDArray[np.intp] | None, offset: Array, level: float, through: bool
) -> Summary:
    """Means, SDs and quantiles of rows' linear predictors, or (`through`) of their mean responses.

    Parameters
    ----------
    posterior : CountPosterior
    codes : array of int, shape (m,), or None
        Each row's level, -1 for a new one; None asks for the population's value.
    offset : array, shape (m,)
    level : float
        Probability of the intervals.
    through : bool
        Whether to go through the link. Under a Poisson response only known groups have a mean for sure; of others
        it is a sum that need not stand for anything, and quantiles are what to look at.
    """
    where = np.full(len(offset), POPULATION) if codes is None else codes
    mean, sd, quantiles = np.empty(len(where)), np.empty(len(where)), np.empty((len(where), 3))
    own = where >= 0
    parts: list[tuple[NDArray[np.bool_], Summary]] = []
    if own.any():
        every, _ = posterior.groups(whole=True, level=level)
        here = where[own]
        parts.append((own, Summary(every.mean[here], every.sd[here], every.quantiles[here])))
    for code, make in ((POPULATION, _population), (NEW, _new_group)):
        rows = where == code
        if rows.any():
            one = make(posterior, level)
            parts.append((rows, Summary(*(np.repeat(a, rows.sum(), 0) for a in (one.mean, one.sd, one.quantiles)))))
    for rows, part in parts:
        shift = offset[rows]
        mean[rows], sd[rows], quantiles[rows] = part.mean + shift, part.sd, part.quantiles + shift[:, None]
    if through:
        quantiles = np.asarray(posterior.design.mean(quantiles))
        mean, sd = _mean_responses(posterior, where, offset)
    return Summary(mean, sd, quantiles)


def _population(posterior: CountPosterior, level: float) -> Summary:
    if posterior.intercept.held:
        return Summary(np.zeros(1), np.zeros(1), np.zeros((1, 3)))
    return posterior.population(level)


def _new_group(posterior: CountPosterior, level: float) -> Summary:
    """The coefficient of a group that was not seen, on the scale of the linear predictor."""
    from scipy.optimize import brentq

    population, (_, of_tau) = _population(posterior, level), posterior.deviation.moments
    tau = posterior.deviation.moments[0]
    variance = population.sd[0] ** 2 + of_tau**2 + tau**2
    cdf = _cdf_of_new(posterior)
    far = float(np.abs(population.quantiles).max()) + 1.0
    found = []
    for p in ((1 - level) / 2, 0.5, (1 + level) / 2):
        low, high = -far, far
        while cdf(low) > p:
            low *= 2
        while cdf(high) < p:
            high *= 2
        found.append(brentq(lambda c, p=p: cdf(c) - p, low, high, xtol=1e-10, rtol=1e-12))
    return Summary(population.mean, np.sqrt([variance]), np.array([found]))


def _cdf_of_new(posterior: CountPosterior) -> Callable[[float], float]:
    from scipy.special import ndtr

    x, weights = posterior.rule
    tau, intercept = posterior.axis.value(x), posterior.intercept
    if intercept.held:
        return lambda c: float(weights @ ndtr(c / tau))
    shapes = posterior.intercept_shapes
    at, mass = shapes.nodes()
    b, share = np.asarray(intercept.value(at[0])), mass[0] / mass[0].sum(axis=1, keepdims=True)
    centre = (share * b).sum(axis=1, keepdims=True)
    wide = tau > np.sqrt((share * (b - centre) ** 2).sum(axis=1))
    z, of_z = _normal_rule()

    def cdf(c: float) -> float:
        of_b = shapes.bell_cdf(intercept.coordinate(c - tau[:, None] * z)[None])[0] @ of_z
        of_u = (share * ndtr((c - b) / tau[:, None])).sum(axis=1)
        return float(weights @ np.where(wide, of_u, of_b))

    return cdf


def _mean_responses(posterior: CountPosterior, where: NDArray[np.intp], offset: Array) -> tuple[Array, Array]:
    """Means and SDs of mean responses, shape (m,), of what is different among the rows."""
    pairs, rows = np.unique(np.column_stack([where, offset]), axis=0, return_inverse=True)
    of, shift = pairs[:, 0].astype(np.intp), pairs[:, 1]
    mean, sd = np.empty(len(of)), np.empty(len(of))
    response = posterior.design.mean
    own = np.flatnonzero(of >= 0)
    for begin in range(0, len(own), GROUPS_AT_ONCE):
        here = own[begin : begin + GROUPS_AT_ONCE]
        x, mass = posterior.group_shapes(of[here]).nodes()
        mean[here], sd[here] = _moments(response(x + shift[here, None, None]), mass)
    for code in (POPULATION, NEW):
        here = np.flatnonzero(of == code)
        if len(here):
            c, mass = _nodes(posterior, new=code == NEW)
            for k in here:
                mean[k], sd[k] = (float(a[0]) for a in _moments(response(c + shift[k])[None], mass[None]))
    return mean[rows.ravel()], sd[rows.ravel()]


def _nodes(posterior: CountPosterior, new: bool) -> tuple[Array, Array]:
    """Points and probabilities of the population's value, or of a new group's coefficient, shape (K, Q)."""
    x, weights = posterior.rule
    if posterior.intercept.held:
        b, mass = np.zeros((len(x), 1)), weights[:, None]
    else:
        at, found = posterior.intercept_shapes.nodes()
        b, mass = np.asarray(posterior.intercept.value(at[0])), found[0]
    if not new:
        return b, mass
    z, of_z = _normal_rule()
    c = b[:, :, None] + posterior.axis.value(x)[:, None, None] * z
    return c.reshape(len(x), -1), (mass[:, :, None] * of_z).reshape(len(x), -1)


def _moments(values: Array, mass: Array) -> tuple[Array, Array]:
    """Mean and SD of values with probabilities, shape (m, K, Q), by their first place."""
    total = mass.sum(axis=(1, 2))
    mean = (values * mass).sum(axis=(1, 2)) / total
    variance = ((values - mean[:, None, None]) ** 2 * mass).sum(axis=(1, 2)) / total
    return mean, np.sqrt(np.maximum(variance, 0.0))


def _normal_rule() -> tuple[Array, Array]:
    """Nodes and probabilities of N(0, 1)."""
    z, weights = np.polynomial.hermite_e.hermegauss(ORDER)
    return z, weights / weights.sum()

"""The posterior's log density, plainly: sums of numpy arrays, to be read, and to hold saved draws against.

    log p(y, u, theta) = log p(theta) + log p(u | sd, cor) + log p(y | b, u, sigma)

=====================  =======================================================  ==================
part                   what it is                                               function
=====================  =======================================================  ==================
log p(theta)           stated priors of b, sigma, every sd and cor (and nu)     :func:`log_priors`
log p(u | sd, cor)     u_j ~ Normal(0, diag(sd) R diag(sd)) in every level      :func:`log_effects`
log p(y | b, u, ...)   :mod:`workbench.sampling.responses`                      :func:`log_rows`
=====================  =======================================================  ==================

Densities are of the parameters named, not of what a sampler moves (logarithms, standardised effects): such a sampler's
own log density differs by the logs of the Jacobians.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.lkj import lkj_log_density
from workbench.priors import Prior, coefficient_name
from workbench.sampling.draws import Draws
from workbench.sampling.names import block_names
from workbench.sampling.responses import log_density

Array = NDArray[np.float64]


def log_joint(
    design: Design,
    priors: Mapping[str, Prior],
    b: Array,
    sigma: Array | float | None,
    sd: tuple[Array, ...],
    correlation: tuple[Array, ...],
    effects: tuple[Array, ...],
    nu: Array | float | None = None,
) -> Array:
    """Log of prior, density of the group effects, and likelihood, at one point or at many.

    Parameters
    ----------
    design : Design
    priors : mapping of str to Prior
        Resolved (:func:`workbench.prior_defaults.resolve_priors`).
    b : array, shape (..., p)
        Leading axes are points.
    sigma : array, shape (...), or None
        None where standard errors are known, and for families without a dispersion.
    sd, correlation, effects : tuple of array, shapes (..., q), (..., q, q), (..., J, q)
        By random block.
    nu : array, shape (...), or None
        Degrees of freedom of Student-t responses.

    Returns
    -------
    array, shape (...)
        Flat priors count as density 1, so a posterior under them is known up to a constant.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.prior_defaults import resolve_priors
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> at = np.array([2.5]), 1.0, (np.array([1.0]),), (np.eye(1),), (np.array([[-1.0], [1.0]]),)
    >>> round(float(log_joint(design, resolve_priors(design, {}), *at)), 6)
    -10.960134
    """
    others = {} if nu is None else {"nu": np.asarray(nu, dtype=float)}
    scale = None if sigma is None else np.asarray(sigma, dtype=float)
    known = log_priors(design, priors, b, scale, sd, correlation, others)
    total = np.zeros(np.shape(b)[:-1])
    for name, value in known.items():
        total = total + (value.sum(axis=-1) if name == "b" or name.startswith("sd_") else value)
    total = total + log_effects(sd, correlation, effects)
    return np.asarray(total + log_rows(design, b, scale, effects, others.get("nu")).sum(axis=-1))


def log_priors(
    design: Design,
    priors: Mapping[str, Prior],
    b: Array,
    sigma: Array | None,
    sd: tuple[Array, ...],
    correlation: tuple[Array, ...],
    others: Mapping[str, Array],
) -> dict[str, Array]:
    """Log prior density of every parameter, under the names that a tree of draws has for them, shapes as there.

    A correlation matrix has one density: ``cor_Subject`` has shape (...).
    """
    found: dict[str, Array] = {}
    if design.fixed_terms:
        found["b"] = np.stack(
            [log_densities(priors[coefficient_name(t)], b[..., k]) for k, t in enumerate(design.fixed_terms)], axis=-1
        )
    if sigma is not None:
        found["sigma"] = log_densities(priors["sigma"], sigma, positive=True)
    found |= {name: log_densities(priors[name], value, positive=True) for name, value in others.items()}
    for k, (name, block) in enumerate(zip(block_names(design), design.blocks, strict=True)):
        of_terms = [priors[f"sd({block.group}, {term})"] for term in block.terms]
        found[f"sd_{name}"] = np.stack(
            [log_densities(prior, sd[k][..., i], positive=True) for i, prior in enumerate(of_terms)], axis=-1
        )
        if len(block.terms) > 1:
            found[f"cor_{name}"] = log_densities(priors[f"cor({block.group})"], correlation[k])
    return found


def log_priors_of(design: Design, priors: Mapping[str, Prior], drawn: Draws) -> dict[str, Array]:
    """:func:`log_priors` at every draw, shapes (C, N, ...)."""
    return log_priors(design, priors, drawn.b, drawn.sigma, drawn.sd, drawn.correlation, drawn.others)


def log_densities(prior: Prior, x: Array, positive: bool = False) -> Array:
    """``prior.log_density`` elementwise; of LKJ, of matrices of shape (..., q, q). Constants are taken from there.

    Examples
    --------
    >>> log_densities(Prior("HalfCauchy", (5,)), np.array([-1.0, 0.0])).round(6).tolist()
    [-inf, -2.061021]
    """
    v, x = prior.values, np.asarray(x, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        match prior.kind:
            case "Normal":
                return np.asarray(prior.log_density(v[0]) - 0.5 * ((x - v[0]) / v[1]) ** 2)
            case "StudentT":
                return np.asarray(prior.log_density(v[1]) - (v[0] + 1) / 2 * np.log1p(((x - v[1]) / v[2]) ** 2 / v[0]))
            case "Cauchy":
                return np.asarray(prior.log_density(v[0]) - np.log1p(((x - v[0]) / v[1]) ** 2))
            case "HalfNormal":
                found = prior.log_density(0.0) - 0.5 * (x / v[0]) ** 2
            case "HalfStudentT":
                found = prior.log_density(0.0) - (v[0] + 1) / 2 * np.log1p((x / v[1]) ** 2 / v[0])
            case "HalfCauchy":
                found = prior.log_density(0.0) - np.log1p((x / v[0]) ** 2)
            case "Exponential":
                found = prior.log_density(0.0) - v[0] * x
            case "Gamma":
                found = np.where(x > 0, prior.log_density(1.0) + (v[0] - 1) * np.log(x) - v[1] * (x - 1), -np.inf)
            case "Uniform":
                return np.where((x >= v[0]) & (x <= v[1]), prior.log_density(v[0]), -np.inf)
            case "Flat":
                return np.where((x < 0) & positive, -np.inf, 0.0)
            case _:  # LKJ
                sign, log_det = np.linalg.slogdet(x)
                constant = lkj_log_density(np.eye(x.shape[-1]), v[0])
                return np.where(sign > 0, constant + (v[0] - 1) * log_det, -np.inf)
    return np.where(x < 0, -np.inf, found)


def log_effects(sd: tuple[Array, ...], correlation: tuple[Array, ...], effects: tuple[Array, ...]) -> Array:
    """Log density of all group effects given their standard deviations and correlations, shape (...)."""
    total: Array = np.zeros(())
    for s, R, u in zip(sd, correlation, effects, strict=True):
        J, q = u.shape[-2:]
        z = u / s[..., None, :]
        log_scale = np.log(s).sum(axis=-1)
        if q > 1:
            L = np.linalg.cholesky(R)
            z = np.linalg.solve(L, np.swapaxes(z, -1, -2))
            log_scale = log_scale + np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(axis=-1)
        total = total - 0.5 * (z**2).sum(axis=(-2, -1)) - J * (log_scale + 0.5 * q * np.log(2 * np.pi))
    return np.asarray(total)


def log_rows(
    design: Design, b: Array, sigma: Array | None, effects: tuple[Array, ...], nu: Array | None = None
) -> Array:
    """Log density of every row's response given the group effects, shape (..., n)."""
    return log_density(design, linear_predictor(design, b, effects), sigma, nu)


def linear_predictor(design: Design, b: Array, effects: tuple[Array, ...]) -> Array:
    """X b + sum_k Z_k u_k + offset at one point or many, shape (..., n)."""
    made = np.asarray(b @ design.X.T + design.offset)
    for block, effect in zip(design.blocks, effects, strict=True):
        for k in range(len(block.terms)):
            column, values = block.Z[:, k], effect[..., k][..., block.codes]
            made += values if (column == 1).all() else column * values
    return made

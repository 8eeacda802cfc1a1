"""`fixed_prior`: the likelihood with the estimated mean and covariance of the groups plugged in as a prior.

This is what ``arm::bayesglm`` does when it is told the mean and the SD: a regression with one coefficient per group and
varying column,

    y = Z_j c_j + R b_rest + e,     e ~ N(0, phi W^-1),     c_j ~ N(m, S) fixed,     b_rest flat

By default m and S are REML's. With ``covariance="independent"`` S keeps only its diagonal, which is all that
independent priors can say; ``"joint"`` keeps REML's correlations.

The dispersion phi follows the approximate EM of Gelman, Jakulin, Pittau & Su (2008, doi:10.1214/08-AOAS191):

    phi <- mean of w (y - fit)^2  +  mean of d'Vd,       V = (D'WD/phi + prior precision)^-1,  d a row of D = [Z R]

started at var(y)/10,000 and iterated until deviance and dispersion stand still. With prior weights the second mean is
not weighted, as in R's bayesglm. phi has no correction for degrees of freedom, so it is a little below REML's
sigma^2, and the coefficients are a little less shrunk: that, and nothing else, is the gap to REML for one varying
intercept. ``dispersion="reml"`` holds phi
at REML's value, and the gap closes to rounding.

The algebra is that of :mod:`workbench.likelihood` with Lambda a square root of S/phi, so a prior SD of zero needs no
special case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, Estimates, wald_effects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.group_coefficients import ByGroup, by_group
from workbench.likelihood import Conditional, conditional, in_data_units
from workbench.moments import Moments, moments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """Options of `fixed_prior`.

    Attributes
    ----------
    dispersion : "em", "reml" or a number > 0
        Updated as Gelman et al. (2008), held at REML's residual variance, or held at a value.
    covariance : "independent" or "joint"
        Priors on varying terms one by one (bayesglm), or with REML's correlations.
    mean, sd : number, mapping of term to number, or None
        Your own prior in place of REML's, e.g. ``mean=0.0, sd={"(Intercept)": 2.0}``; terms not named keep REML's.
    tolerance : float
        Relative change of deviance and dispersion that counts as none.
    max_iterations : int
    """

    dispersion: str | float = "em"
    covariance: str = "independent"
    mean: float | Mapping[str, float] | None = None
    sd: float | Mapping[str, float] | None = None
    tolerance: float = 1e-12
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.dispersion, str):
            if self.dispersion not in ("em", "reml"):
                raise OptionError(
                    f"dispersion is {self.dispersion!r}, but must be 'em', 'reml' or a positive number. "
                    f"{nearest(self.dispersion, ('em', 'reml'))}"
                )
        elif not _is_number(self.dispersion) or not self.dispersion > 0:
            raise OptionError(f"dispersion is {self.dispersion!r}, but must be 'em', 'reml' or a positive number.")
        if self.covariance not in ("independent", "joint"):
            raise OptionError(
                f"covariance is {self.covariance!r}. {nearest(str(self.covariance), ('independent', 'joint'))}"
            )
        for what, given in (("mean", self.mean), ("sd", self.sd)):
            values = list(given.values()) if isinstance(given, Mapping) else [] if given is None else [given]
            if not all(_is_number(value) for value in values):
                raise OptionError(f"{what} is {given!r}, but must be a number, or a number for each term by name.")
        if not _is_number(self.tolerance) or not self.tolerance > 0:
            raise OptionError(f"tolerance is {self.tolerance!r}, but must be a positive number.")
        if not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise OptionError(f"max_iterations is {self.max_iterations!r}, but must be a whole number of at least 1.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def fixed_prior(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit group coefficients under a fixed normal prior.

    Parameters
    ----------
    design : Design
        Gaussian, one grouping factor.
    settings : Settings
    options : Options
    upstream : mapping
        Holds the ``reml`` fit whose mean and covariance are plugged in.

    Returns
    -------
    Fit
        `std_error` is the curvature SD of the posterior mode: sqrt of the diagonal of phi V.
        ``diagnostics`` holds ``dispersion``, ``iterations`` and the prior.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> maximised = reml(design)
    >>> plugged = fixed_prior(design, options=Options(dispersion="reml"), upstream={"reml": maximised})
    >>> gap = plugged.group_effects[0].coefficient.estimate - maximised.group_effects[0].coefficient.estimate
    >>> bool(abs(gap).max() < 1e-12)
    True
    """
    base = upstream["reml"]
    data = moments(design)
    recast = by_group(data)
    mean, covariance = _prior(design, base, options)
    inverse = np.linalg.inv(data.factor.to_data)  # the moments' varying columns are centred
    centred = _about_prior_mean(data, recast, inverse @ (mean - recast.origin))
    root = inverse @ _root(covariance)
    held = _held_dispersion(design, base, options)
    if held is not None:
        phi, iterations, settled = held, 0, True
        given = conditional(centred, (root / np.sqrt(phi),))
    else:
        plain = centred if (design.weights == 1).all() else _on_rest(moments(design, weighted=False))
        phi, given, iterations, settled = _em(centred, plain, root, float(np.var(design.y, ddof=1)) / 10_000, options)
    return _assemble(
        design,
        data,
        recast,
        _Posterior(mean, covariance, phi, given, iterations, settled),
        settings,
        options,
        base,
    )


# --- the prior ----------------------------------------------------------------------------------------


def _prior(design: Design, base: Fit, options: Options) -> tuple[Array, Array]:
    """Prior mean (q,) and covariance (q, q) of a group's coefficients."""
    terms = [term for block in design.blocks for term in block.terms]
    fixed = [k for block in design.blocks for k in block.fixed]
    mean = np.array([0.0 if k is None else base.population.estimate[k] for k in fixed])
    q = len(terms)
    covariance = np.zeros((q, q))
    at = 0
    for part in base.components:
        stop = at + len(part.terms)
        covariance[at:stop, at:stop] = part.covariance
        at = stop
    mean = _own(options.mean, terms, mean, "mean")
    sd = _own(options.sd, terms, np.sqrt(np.diag(covariance)), "sd")
    if (sd < 0).any() or not np.isfinite(sd).all() or not np.isfinite(mean).all():
        raise OptionError(f"The prior needs finite means and SDs of 0 or more; mean {mean.tolist()}, sd {sd.tolist()}.")
    if options.covariance == "independent":
        return mean, np.diag(sd**2)
    old = np.sqrt(np.diag(covariance))
    ratio = np.divide(sd, old, out=np.zeros(q), where=old > 0)
    joint = covariance * np.outer(ratio, ratio)
    np.fill_diagonal(joint, sd**2)
    return mean, joint


def _own(given: float | Mapping[str, float] | None, terms: list[str], default: Array, what: str) -> Array:
    if given is None:
        return default
    if not isinstance(given, Mapping):
        return np.full(len(terms), float(given))
    for name in given:
        if name not in terms:
            raise OptionError(f"{what} names the term {name!r}, which does not vary. {nearest(str(name), terms)}")
    return np.array([float(given.get(term, value)) for term, value in zip(terms, default, strict=True)])


def _root(covariance: Array) -> Array:
    """A square root of a covariance matrix, singular ones included."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)))


def _on_rest(data: Moments) -> Moments:
    """Moments with the columns R that do not vary in place of X."""
    recast = by_group(data)
    f = data.factor.having(ZtX=recast.ZtR)
    return replace(data, factors=(f,), XtX=recast.RtR, Xty=recast.Rty)


def _about_prior_mean(data: Moments, recast: ByGroup, m: Array) -> Moments:
    """Moments of y - Z m on R: what is left to explain by deviations from the prior mean."""
    f = data.factor
    ZtZm = f.ZtZ @ m
    left = f.having(ZtX=recast.ZtR, Zty=f.Zty - ZtZm)
    return replace(
        data,
        factors=(left,),
        XtX=recast.RtR,
        Xty=recast.Rty - np.einsum("jqr,q->r", recast.ZtR, m),
        yty=float(data.yty - 2 * m @ f.Zty.sum(axis=0) + m @ ZtZm.sum(axis=0)),
    )


# --- the dispersion -----------------------------------------------------------------------------------


def _held_dispersion(design: Design, base: Fit, options: Options) -> float | None:
    if design.known_se:
        return 1.0
    if options.dispersion == "reml":
        return base.sigma**2
    return None if isinstance(options.dispersion, str) else float(options.dispersion)


def _em(
    data: Moments, unweighted: Moments, root: Array, start: float, options: Options
) -> tuple[float, Conditional, int, bool]:
    """Alternate coefficients given phi and phi given coefficients."""
    phi = start
    deviance = np.inf
    for iteration in range(1, options.max_iterations + 1):
        given = conditional(data, (root / np.sqrt(phi),))
        rss = _residual_sum_of_squares(data, given)
        new = rss / data.n + _trace(unweighted, given) * phi / data.n
        small = options.tolerance
        still = abs(new - phi) <= small * new and abs(rss - deviance) <= small * rss
        phi, deviance = new, rss
        if still:
            return phi, conditional(data, (root / np.sqrt(phi),)), iteration, True
    return phi, given, options.max_iterations, False


def _residual_sum_of_squares(data: Moments, given: Conditional) -> float:
    """Weighted |y - Z c - R b|^2 at the mode."""
    f, u, b = data.factor, given.u[0], given.b
    cross = np.einsum("jq,jqr,r->", u, f.ZtX, b)
    squares = np.einsum("jq,jqs,js->", u, f.ZtZ, u) + b @ data.XtX @ b + data.yty
    return float(squares + 2 * cross - 2 * np.sum(u * f.Zty) - 2 * b @ data.Xty)


def _trace(data: Moments, given: Conditional) -> float:
    """Sum of d'Vd over the rows, V over phi."""
    f = data.factor
    across = -given.pull[0] @ given.b_cov
    return float(np.sum(f.ZtZ * _V(given)) + 2 * np.sum(f.ZtX * across) + np.sum(data.XtX * given.b_cov))


def _V(given: Conditional) -> Array:
    """Posterior covariance over phi of every group's coefficients, shape (J, q, q)."""
    return given.P_first + given.pull[0] @ given.b_cov @ np.swapaxes(given.pull[0], 1, 2)


# --- the answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Posterior:
    mean: Array
    covariance: Array
    phi: float
    given: Conditional
    iterations: int
    settled: bool


def _assemble(
    design: Design,
    data: Moments,
    recast: ByGroup,
    at: _Posterior,
    settings: Settings,
    options: Options,
    base: Fit,
) -> Fit:
    f, given = data.factor, at.given
    u = in_data_units(data, given).u[0]
    c = at.mean + u
    V = f.to_data @ _V(given) @ f.to_data.T
    error = np.sqrt(at.phi * np.einsum("jqq->jq", V))
    b, b_cov = np.zeros(data.p), np.zeros((data.p, data.p))
    rest = list(recast.rest)
    b[rest] = given.b + recast.rest_origin
    b_cov[np.ix_(rest, rest)] = at.phi * given.b_cov
    for a, k in enumerate(f.fixed):
        if k is not None:
            b[k] = at.mean[a]
    fitted = design.X[:, rest] @ b[rest] + design.offset
    for where, block in zip(f.blocks, design.blocks, strict=True):
        fitted = fitted + np.einsum("nq,nq->n", block.Z, c[block.codes][:, where])
    kind = "curvature SD, prior and dispersion held"
    warnings = list(design.notes)
    if not at.settled:
        warnings.append(
            f"The dispersion had not settled after {at.iterations:,} iterations. Raise max_iterations or hold the "
            "dispersion."
        )
    if not base.converged:
        warnings.append("The REML fit that was plugged in did not converge.")
    return Fit(
        estimator="fixed_prior",
        design=design,
        population=Estimates.wald(
            b,
            np.sqrt(np.diag(b_cov)),
            settings.level,
            "plugged-in mean, or posterior mode",
            "curvature SD; 0 where plugged in",
        ),
        fixed_cov=b_cov,
        components=tuple(
            Component(f.group, block.terms, at.covariance[where, where])
            for where, block in zip(f.blocks, design.blocks, strict=True)
        ),
        group_effects=wald_effects(
            design.blocks, (u, error), (c, error), settings.level, ("posterior mode", kind, "posterior mode", kind)
        ),
        sigma=float(np.sqrt(at.phi)),
        own_fitted=fitted,
        converged=at.settled and base.converged,
        singular=base.singular,
        warnings=tuple(warnings),
        diagnostics=_diagnostics(at, options),
    )


def _diagnostics(at: _Posterior, options: Options) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "dispersion": at.phi,
            "iterations": at.iterations,
            "dispersion_rule": options.dispersion,
            "prior_covariance": options.covariance,
            "prior_mean": tuple(at.mean.tolist()),
            "prior_sd": tuple(np.sqrt(np.diag(at.covariance)).tolist()),
        }
    )

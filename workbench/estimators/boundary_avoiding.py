"""`boundary_avoiding`: the likelihood maximised together with a density that keeps variances off zero.

Where groups differ no more than the residual spread alone explains, REML's spread between them is zero, and with
several varying terms its correlations run to -1 or 1. Chung, Rabe-Hesketh, Dorie, Gelman & Liu (2013,
doi:10.1007/s11336-013-9328-2) take a posterior mode instead: a density that is zero at a spread of zero, and so flat
elsewhere that where groups tell much of their spread it hardly counts: a gamma density without a rate, a power of
theta = tau/sigma, and of several varying terms (Chung, Gelman, Rabe-Hesketh, Liu & Dorie 2015,
doi:10.3102/1076998615570945) the Wishart's without a scale. They recommend a gamma of shape 2, the power of 1; here
stands the default of R's ``blme`` by one of them, shape 2.5 and degrees of freedom q + 2.5, the power of 1.5:

    p(S) = |S|^0.75,     S = Lambda Lambda' = covariance of the term's effects / sigma^2                            (1)

for every random term (two for ``(x || g)``). With eq. 35 and 42 of Bates, Maechler, Bolker & Walker (2015,
doi:10.18637/jss.v067.i01) what is minimised over theta, sigma profiled as in REML, is

    criterion - 1.5 sum over terms of log|S|  =  criterion - 3 sum log theta_kk                                     (2)

over the diagonal entries of the Cholesky factors Lambda. Other units of the data's columns add a constant to it, so the
fit does not depend on them. Where standard errors are given sigma is 1, and S is the covariance of the effects itself.

The density grows without end. What keeps S finite is the likelihood: where it is left with k directions of a term's q
varying columns, or of some of them, beside the fixed effects, it falls with their spread as its power of -k. A mode
exists where k > 1.5 q throughout: for varying intercepts from three levels on under REML, which leaves one to the
population value, and from two on under ML. Fewer are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.answer import answer, refuse_without_residual
from workbench.coordinates import Searched
from workbench.design import Design, check_gaussian
from workbench.errors import DesignError, OptionError, nearest
from workbench.estimates import Criterion
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.likelihood import conditional
from workbench.moments import FactorMoments, Moments, moments
from workbench.optimum import Optimum, optimum
from workbench.words import join

Array = NDArray[np.float64]

POWER = 0.75
"""Of |S|; a scalar theta = tau/sigma has the density theta^(2 POWER)."""
AT_MODE = "at the posterior mode of the variances"
FAR = (1e2, 1e3)
"""Between these spreads (``Searched.by_level``) the likelihood is seen to fall."""


@dataclass(frozen=True)
class Options:
    """Options of `boundary_avoiding`.

    Attributes
    ----------
    criterion : "REML" or "ML"
        Which profiled likelihood stands beside the density.
    """

    criterion: str = "REML"

    def __post_init__(self) -> None:
        if self.criterion not in ("REML", "ML"):
            raise OptionError(
                f"criterion is {self.criterion!r}, but must be 'REML' or 'ML'. "
                f"{nearest(str(self.criterion), ('REML', 'ML'))}"
            )


def boundary_avoiding(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit at the posterior mode of the variances, which is never on their boundary.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors and varying terms.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream
        Not used.

    Returns
    -------
    Fit
        `criterion` is eq. 2 for the data's own columns, `log_likelihood` the (restricted) likelihood alone.
        `converged` is false where the end point is not certified as a minimum.

    Raises
    ------
    DesignError
        A term of which too few levels, or none, tell its spread: there is no mode. A response that the model explains
        exactly.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 4.0, 2.0, 3.0, 3.0, 2.5], "g": list("aabbcc")}
    >>> fit = boundary_avoiding(build_design("y ~ 1 + (1 | g)", table))   # REML's spread between groups is zero
    >>> round(float(fit.components[0].sd[0]), 4), round(fit.sigma, 4), fit.singular
    (1.2676, 1.0144, False)
    """
    check_gaussian(design, "boundary_avoiding")
    restricted = options.criterion == "REML"
    data = moments(design)
    searched = Searched.of(data, restricted).by_level()
    refuse_without_residual(design, searched)
    _refuse_without_mode(design, searched, restricted)
    at = optimum(data, restricted, searched, POWER)
    del searched  # as large as the moments
    fit = answer(design, data, at, restricted, settings.level)
    assert fit.criterion is not None
    penalised = fit.criterion - 2 * POWER * _log_determinant(data, at)
    return replace(
        fit,
        estimator="boundary_avoiding",
        criterion=Criterion(penalised, f"penalised {fit.criterion.name}"),
        population=replace(fit.population, point=f"estimate {AT_MODE}"),
        group_effects=tuple(
            replace(
                part,
                effect=replace(part.effect, point=f"{part.effect.point} {AT_MODE}"),
                coefficient=replace(part.coefficient, point=f"{part.coefficient.point} {AT_MODE}"),
            )
            for part in fit.group_effects
        ),
    )


def _log_determinant(data: Moments, at: Optimum) -> float:
    """Sum of log|S| over the random terms, for the data's own columns."""
    total = 2 * float(np.log(at.theta.values[at.theta.on_diagonal]).sum())
    for f, R in zip(data.factors, at.maps, strict=True):
        for here in f.blocks:
            total += 2 * float(np.linalg.slogdet(f.to_data[here, here] @ R[here, here])[1])
    return total


# --- whether there is a mode --------------------------------------------------------------------------


def _refuse_without_mode(design: Design, searched: Searched, restricted: bool) -> None:
    """Refuse terms whose spread the likelihood does not hold back from growing without end, as the density does."""
    for unknown in searched.undetermined:
        block = design.blocks[unknown.place]
        raise DesignError(
            f"The data do not tell the spread of {join(block.terms)} between the levels of {block.group} (a column is "
            "zero, a combination of the others, or has a fixed effect in every level), and the density of "
            "boundary_avoiding grows with it: there is no mode. Leave a term out, or use reml, which sets to zero what "
            "cannot be known."
        )
    data = searched.moments
    roots = [list(_roots(design, f)) for f in data.factors]
    columns = sum(len(f.A) for f in data.factors)
    told = min(_levels(f, root) for f, own in zip(data.factors, roots, strict=True) for _, root in own)
    if told - restricted * data.p > 2 * POWER * columns:
        return  # every level counts as one at the least, every fixed column takes one at the most
    none = tuple(np.zeros_like(f.to_data) for f in data.factors)
    for k, own in enumerate(roots):
        for name, root in own:
            factors = tuple(root @ root.T if g == k else zero for g, zero in enumerate(none))
            _refuse_unless_held(name, data, factors, root.shape[1], restricted)
    if len(design.blocks) > 1:
        _refuse_unless_held("all terms together", data, searched.free(1.0), columns, restricted)


def _roots(design: Design, f: FactorMoments) -> Iterator[tuple[str, Array]]:
    """Effects that may grow together, as orthonormal roots of their covariance, shape (q, r), named in words.

    They are the data's own columns one by one, and all of a term.
    """
    for place, here in zip(f.places, f.blocks, strict=True):
        terms, all_of_it = design.blocks[place].terms, np.eye(len(f.to_data))[:, here]
        between = f"between the {len(f.levels)} levels of {f.group}"
        if len(terms) > 1:
            for name, column in zip(terms, np.linalg.inv(f.to_data[here, here]).T, strict=True):
                yield f"{name} {between}", all_of_it @ (column / np.linalg.norm(column))[:, None]
        yield f"{join(terms)} {between}", all_of_it


def _levels(f: FactorMoments, root: Array) -> float:
    """How many levels tell something of effects with this root of a covariance."""
    own = np.einsum("ar,abj,br->j", root, f.A, root)
    told = own > 1e-9 * own.mean()
    return float(told.sum() if f.counts is None else told @ f.counts)


def _refuse_unless_held(name: str, data: Moments, factors: tuple[Array, ...], columns: int, restricted: bool) -> None:
    """Refuse where the likelihood does not fall with so many columns' spread, Lambda = `factors` times it, fast enough.

    It falls as the power of -k where -2 log of it, but for a bounded part, grows as 2 k log spread.
    """

    def log_determinants(spread: float) -> float:
        given = conditional(data, tuple(spread * factor for factor in factors))
        return given.log_det_L + restricted * given.log_det_RX

    near, far = FAR
    held = round((log_determinants(far) - log_determinants(near)) / float(2 * np.log(far / near)))
    if held > 2 * POWER * columns:
        return
    raise DesignError(
        f"There is no mode: the density of boundary_avoiding grows with the spread of {name} to the power of "
        f"{2 * POWER * columns:g}, and the likelihood falls with it to the power of {held} only. More levels are "
        f"needed{' (three for a varying intercept)' * restricted}, "
        f"{"or criterion = 'ML' in place of 'REML', " * restricted}or a prior that falls: hierarchical."
    )

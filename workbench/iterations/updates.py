"""Empirical Bayes by alternation: predict the effects at given variances, then take new variances from the effects.

MacKay's "quick and dirty" method, as a linear mixed model: while not yet bored, fit with penalties, then set every
penalty by the raw mean square of the weights that it held small. By the law of total variance

    Var(u)  =  E Var(u | y)  +  Var E(u | y)

that is only the second part: predicted effects vary less than effects. The updates differ in what they make of it, with
the symbols of :mod:`workbench.iterations.solved`:

=============  =================================================  ===================================  ===========
update         variance of a term's effects                       sigma^2                              ends at
=============  =================================================  ===================================  ===========
``diagonal``   sample variance of the predicted effects (J - 1)   RSS / (n - trace of the hat matrix)  too small
``full``       their sample covariance matrix                     the same                             often r = 1
``effective``  sum u_jk^2 / gamma_k                               the same                             REML, ``||``
``em``         sum (u_j u_j' + C_j) / J                           (RSS + sigma^2 trace) / n            REML
=============  =================================================  ===================================  ===========

``diagonal`` and ``effective`` keep no covariances. ``effective`` counts the gamma_k = J - tr(C_kk)/tau_k^2 effects that
the data determine (MacKay 1992, doi:10.1162/neco.1992.4.3.415); at its fixed point the derivative of the restricted
likelihood is zero. So it is at that of ``em``, which adds the first part of the law of total variance back, the
uncertainty of b included (Dempster, Rubin & Tsutakawa 1981, doi:10.1080/01621459.1981.10477653; Laird & Ware 1982,
doi:10.2307/2529876): REML's EM algorithm. Without b's uncertainty it would be ML's.

Why ``full`` runs into a correlation of 1, and ``diagonal`` may run into zero: take J groups of one design, whose own
estimates vary by d in some direction, of which v is sampling variance. A spread of t keeps t/(t + v) of each, so the
raw update is t -> d t^2/(t + v)^2, which has a fixed point other than zero if and only if d >= 4 v. Where all of Sigma
is free, its least told direction gets into this trap, however well the others do. (REML is t = d - v, from d = v on.)

A column without a population value has effects about zero, not about their mean: their mean square takes the place of
the sample variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.iterations.decomposition import Decomposition, decompose
from workbench.iterations.solved import Solved, solve
from workbench.iterations.spreads import Spreads, names
from workbench.moments import FactorMoments, Moments, moments
from workbench.words import join

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

TOLERANCE = 1e-11
"""How far, relatively, the last step leaves the fixed point at the most, by the rate at which steps get shorter."""
MOST = 10_000
FLOOR = 2e-14
"""Steps of this relative size are rounding."""
LOOK_BACK = 5
"""The rate is that of the last so many steps."""
GONE = 1e-12
"""A variance that adds less than this share of sigma^2 to a typical level's sums has collapsed, and is set to zero."""
TEN_DIGITS = 1e-10


@dataclass(frozen=True, eq=False)
class Iterations:
    """How an update of the variances went.

    Attributes
    ----------
    update : str
    design : Design
    names : tuple of str
        ``var(...)``, ``cov(...)`` and ``sigma^2``, on the scale of the data's own columns.
    values : array, shape (iterations + 1, m)
        From the start on.
    criteria : array, shape (iterations + 1,)
        -2 log restricted likelihood of each.
    first, last : Spreads
        Its start, and where it ended.
    converged : bool
    reason : str
        Why it ended before a fixed point, or there at zero; empty otherwise.
    """

    update: str
    design: Design
    names: tuple[str, ...]
    values: Array
    criteria: Array
    first: Spreads
    last: Spreads
    converged: bool
    reason: str

    def __post_init__(self) -> None:
        for name in ("values", "criteria"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def count(self) -> int:
        """Updates made."""
        return len(self.values) - 1

    @property
    def table(self) -> pd.DataFrame:
        """One row per iteration, 0 being the start: ``iteration``, every variance by name, ``criterion``."""
        import pandas as pd

        columns = {name: self.values[:, k] for k, name in enumerate(self.names)}
        return pd.DataFrame({"iteration": range(len(self.values))} | columns | {"criterion": self.criteria})

    def correlation(self, group: str, one: str, other: str) -> Array:
        """Correlation of two terms' effects by iteration, shape (iterations + 1,)."""
        a, b = (self.values[:, self.names.index(f"var({group}, {term})")] for term in (one, other))
        named = {f"cov({group}, {one}, {other})", f"cov({group}, {other}, {one})"}
        (place,) = [k for k, name in enumerate(self.names) if name in named]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.values[:, place] / np.sqrt(a * b))

    @property
    def decomposition(self) -> Decomposition:
        """Var(u) = E Var(u|y) + Var E(u|y) where it ended, beside REML's variances."""
        return decompose(self.design, self.last)


# --- the updates --------------------------------------------------------------------------------------


def _raw(f: FactorMoments, found: Solved, at: Spreads) -> Array:
    """Sample covariance of the predicted effects, about zero where a column has no population value."""
    J = len(found.u)
    about_mean = np.array([k is not None for k in f.fixed])
    off = found.u - np.where(about_mean, found.u.mean(axis=0), 0.0)
    degrees = np.where(about_mean, J - 1, J) ** 0.5
    return np.asarray(off.T @ off / np.outer(degrees, degrees))


def _diagonal(f: FactorMoments, found: Solved, at: Spreads) -> Array:
    return np.diag(np.diag(_raw(f, found, at)))


def _effective(f: FactorMoments, found: Solved, at: Spreads) -> Array:
    squares = (found.u**2).sum(axis=0)
    return np.diag(np.divide(squares, found.effective, out=np.zeros_like(squares), where=found.effective > 0))


def _em(f: FactorMoments, found: Solved, at: Spreads) -> Array:
    return found.u.T @ found.u / len(found.u) + found.conditional


UPDATES: Mapping[str, Callable[[FactorMoments, Solved, Spreads], Array]] = MappingProxyType(
    {"diagonal": _diagonal, "full": _raw, "effective": _effective, "em": _em}
)
"""New covariance of all columns of the factor, shape (q, q); of several blocks, each keeps its own."""


def _updated(data: Moments, update: str, found: Solved, at: Spreads) -> Spreads:
    f = data.factor
    whole = UPDATES[update](f, found, at)
    covariances = list(at.covariances)
    for here, place in zip(f.blocks, f.places, strict=True):
        covariances[place] = whole[here, here]
    if data.known_se:
        sigma2 = 1.0
    elif update == "em":
        sigma2 = (found.rss + at.sigma2 * found.hat) / data.n
    else:
        sigma2 = found.rss / (data.n - found.hat)
    return Spreads(tuple(covariances), sigma2)


# --- start and iterations -----------------------------------------------------------------------------


def default_start(design: Design, data: Moments) -> Spreads:
    """A quarter of the response's variance for the residuals, and as much for the effects of every varying column.

    A column counts as what the factor's other columns leave of it: tau_k^2 times its mean square left over is that
    quarter. The raw updates need a start that is not too small: below it they end at zero.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 7.0], "g": list("aabbcc")})
    >>> default_start(design, moments(design)).values().round(4).tolist()         # the variance of y is 5.333
    [1.3333, 1.3333]
    """
    f = data.factor
    y = design.y - design.offset
    share = 0.25 * float(np.average((y - np.average(y, weights=design.weights)) ** 2, weights=design.weights))
    back = np.linalg.inv(f.to_data)
    G = back.T @ f.A.sum(axis=-1) @ back / float(design.weights.sum())
    scale = np.sqrt(np.where(np.diag(G) > 0, np.diag(G), 1.0))
    left = 1 / np.diag(np.linalg.pinv(G / np.outer(scale, scale), rcond=1e-12, hermitian=True)) * scale**2
    tau2 = np.where(np.diag(G) > 0, share / left, 0.0)
    covariances = [np.zeros((len(block.terms),) * 2) for block in design.blocks]
    for here, place in zip(f.blocks, f.places, strict=True):
        covariances[place] = np.diag(tau2[here])
    return Spreads(tuple(covariances), 1.0 if data.known_se else share)


def iterate(
    design: Design,
    update: str,
    start: Spreads | None = None,
    iterations: int = MOST,
    tolerance: float = TOLERANCE,
    data: Moments | None = None,
) -> Iterations:
    """Alternate predictions and updates of the variances until these stay where they are.

    Parameters
    ----------
    design : Design
        Gaussian, with one grouping factor.
    update : "diagonal", "full", "effective" or "em"
    start : Spreads, optional
        By default :func:`default_start`.
    iterations : int
        At most so many updates.
    tolerance : float
        Relative, of the distance to the fixed point that the last steps and their rate let expect.
    data : Moments, optional
        Of the design, where they are at hand.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> iterate(design, "em").values[-1].round(6).tolist()                 # REML's, in closed form 6.083333 and 0.5
    [6.083333, 0.5]
    """
    data = moments(design) if data is None else data
    first = at = start or default_start(design, data)
    found = solve(data, at)
    values, criteria, steps = [at.values()], [found.criterion], []
    converged, reason = False, ""
    for _ in range(iterations):
        new, gone = _without_gone(data, _updated(data, update, found, at))
        steps.append(_step(at, new))
        at, found = new, solve(data, new)
        values.append(at.values())
        criteria.append(found.criterion)
        if gone:
            reason = _collapsed(design, at, update)
        if at.with_correlation_one(TEN_DIGITS):
            reason = _degenerate(len(steps), update)
            break
        if _arrived(steps, tolerance):
            converged = True
            break
    if not converged and not at.with_correlation_one(TEN_DIGITS):
        reason = _unfinished(update, len(steps), steps)
    return Iterations(update, design, names(design), np.array(values), np.array(criteria), first, at, converged, reason)


def _step(old: Spreads, new: Spreads) -> float:
    """The largest relative change of a variance, and of covariances on the scale of correlations."""
    found = [abs(new.sigma2 / old.sigma2 - 1)]
    for S, T in zip(old.covariances, new.covariances, strict=True):
        sd = np.sqrt(np.diag(T))
        scale = np.outer(sd, sd)
        found.append(float(np.divide(np.abs(T - S), scale, out=np.zeros_like(S), where=scale > 0).max()))
    return max(found)


def _arrived(steps: list[float], tolerance: float) -> bool:
    """Whether what is left, the geometric series of steps to come, is below the tolerance."""
    last = steps[-1]
    if last <= FLOOR:
        return True
    if last > tolerance or len(steps) <= LOOK_BACK or steps[-1 - LOOK_BACK] <= 0:
        return False
    rate = (last / steps[-1 - LOOK_BACK]) ** (1 / LOOK_BACK)
    return bool(rate < 1 and last * max(1.0, rate / (1 - rate)) <= tolerance)


def _without_gone(data: Moments, at: Spreads) -> tuple[Spreads, bool]:
    """Variances that have collapsed set to zero, with their covariances, and whether there were any new ones."""
    f = data.factor
    back = np.linalg.inv(f.to_data)
    per_level = np.diag(back.T @ f.A.mean(axis=-1) @ back)
    covariances, gone = list(at.covariances), False
    for here, place in zip(f.blocks, f.places, strict=True):
        S = at.covariances[place]
        lost = (np.diag(S) * per_level[here] < GONE * at.sigma2) & (np.diag(S) > 0)
        if lost.any():
            gone = True
            covariances[place] = np.where(lost[:, None] | lost, 0.0, S)
    return (Spreads(tuple(covariances), at.sigma2), True) if gone else (at, False)


# --- in words -----------------------------------------------------------------------------------------


def _collapsed(design: Design, at: Spreads, update: str) -> str:
    pairs = zip(design.blocks, at.covariances, strict=True)
    lost = [f"{t} of {b.group}" for b, S in pairs for t, v in zip(b.terms, np.diag(S), strict=True) if v == 0]
    why = (
        "a fixed point that raw mean squares end at where the groups' own estimates vary less than about four times "
        "their sampling variance. That is no evidence of no spread, and reml may well find one."
        if update in ("diagonal", "full")
        else "as REML's does. Zero is the edge of what is possible, not evidence of no spread."
    )
    return f"The variance of {join(lost)} has collapsed to zero, {why}"


def _degenerate(count: int, update: str) -> str:
    why = (
        "The sample covariance of predicted effects leaves out their conditional covariance, so that each step shrinks "
        "the direction most of which the groups tell least, until the matrix is singular. Use the update 'diagonal' or "
        "'effective', which keep no covariances, or em, which adds what is left out."
        if update == "full"
        else "The covariance of the effects is on its boundary: the data do not carry as many spreads as the formula "
        "asks for. Let fewer terms vary."
    )
    return f"Stopped at iteration {count}, where a correlation of the effects is 1 or -1 to ten digits. {why}"


def _unfinished(update: str, count: int, steps: list[float]) -> str:
    last = f", the last of which changed a variance by {steps[-1]:.2g} of itself" if steps else ""
    slow = (
        " EM gets to a variance of zero, or a correlation of 1, only as 1/iterations does; reml finds these at once."
        if update == "em"
        else ""
    )
    return f"Not at a fixed point after {count:,} iterations{last}. Raise iterations, or start elsewhere.{slow}"

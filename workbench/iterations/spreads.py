"""The variances that everything else is given: covariances of the random blocks, and sigma^2.

They are stated by name, on the scale of the data's own columns:

=========================================  =============================================================
name                                       is
=========================================  =============================================================
``sd(Subject, Days)``                      SD of the effects of a varying column
``var(Subject, Days)``                     its square
``cor(Subject, (Intercept), Days)``        correlation of the effects of two columns
``cov(Subject, (Intercept), Days)``        their covariance
``sigma``, ``sigma^2``                     residual SD and variance
=========================================  =============================================================

``sd(Subject)`` is short for the only column that varies by a factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.answer import predictions
from workbench.covariances import relative_factors, square_root
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.estimates import Component, Criterion, Estimates, GroupEffects
from workbench.fit import Fit
from workbench.likelihood import LOG_2PI, Conditional, conditional
from workbench.moments import Moments

Array = NDArray[np.float64]
Place = tuple[str, int, int, int]
"""What a name stands for: its kind, the block and two columns of it."""


@dataclass(frozen=True, eq=False)
class Spreads:
    """Variances of a design.

    Attributes
    ----------
    covariances : tuple of array, shape (q, q)
        By random block of the design, of the effects of the data's own columns.
    sigma2 : float
        Residual variance; 1 where standard errors are known.
    """

    covariances: tuple[Array, ...]
    sigma2: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariances", tuple(read_only(S) for S in self.covariances))

    @classmethod
    def of(cls, fit: Fit) -> Spreads:
        """Those that a fit reports."""
        return cls(tuple(part.covariance for part in fit.components), fit.sigma**2)

    def factors(self, data: Moments) -> tuple[Array, ...]:
        """Relative covariance factors of the moments' columns, by grouping factor, shape (q_f, q_f)."""
        return relative_factors(data, [square_root(S) for S in self.covariances], self.sigma2**0.5)

    def values(self) -> Array:
        """All entries, shape (m,), in the order of :func:`names`."""
        parts = [np.append(np.diag(S), S[np.triu_indices(len(S), 1)]) for S in self.covariances]
        return np.concatenate([*parts, [self.sigma2]])

    def with_correlation_one(self, tolerance: float) -> bool:
        """Whether some block's correlation matrix is singular, apart from variances of zero."""
        return any(_smallest(S) < tolerance for S in self.covariances)


def _smallest(covariance: Array) -> float:
    """The smallest eigenvalue of the correlation matrix of what has a spread; 1 of less than two columns."""
    sd = np.sqrt(np.diag(covariance))
    some = np.flatnonzero(sd)
    if len(some) < 2:
        return 1.0
    return float(np.linalg.eigvalsh(covariance[np.ix_(some, some)] / np.outer(sd[some], sd[some]))[0])


def names(design: Design) -> tuple[str, ...]:
    """Names of ``Spreads.values``: ``var(...)`` and ``cov(...)`` by block, then ``sigma^2``."""
    found = []
    for block in design.blocks:
        found += [f"var({block.group}, {term})" for term in block.terms]
        for a, b in zip(*np.triu_indices(len(block.terms), 1), strict=True):
            found.append(f"cov({block.group}, {block.terms[a]}, {block.terms[b]})")
    return (*found, "sigma^2")


# --- as stated ----------------------------------------------------------------------------------------


def stated(design: Design, given: Mapping[str, Any], rest: Spreads | None, option: str) -> Spreads:
    """Variances as stated by name, with those of `rest` where nothing is stated.

    Parameters
    ----------
    design : Design
    given : mapping of str to number
        See the module's table.
    rest : Spreads or None
    option : str
        What the user calls `given`, for messages.

    Raises
    ------
    OptionError
        An unknown name, a value that no variance or correlation can have, two statements of one thing; without `rest`
        a variance that is not stated.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> found = stated(design, {"sd(g)": 2.0, "sigma^2": 3.0}, None, "variances")
    >>> found.covariances[0].tolist(), found.sigma2
    ([[4.0]], 3.0)
    """
    known = _places(design)
    values: dict[Place, tuple[str, float]] = {}
    for name, value in given.items():
        place = known.get(_plain(str(name)))
        if place is None:
            raise OptionError(
                f"{option} names {name!r}, which is no variance here. {nearest(str(name), _listed(known))}"
            )
        kind = {"var": "sd", "cov": "cor", "sigma^2": "sigma"}.get(place[0], place[0])
        if (kind, *place[1:]) in values:
            raise OptionError(f"{option} states {name} and {values[kind, *place[1:]][0]}. Keep one of them.")
        values[kind, *place[1:]] = (str(name), _number(value, str(name), place[0], option))
    covariances = tuple(
        _covariance(design, k, values, None if rest is None else rest.covariances[k], option)
        for k in range(len(design.blocks))
    )
    sigma = values.get(("sigma", 0, 0, 0))
    if design.known_se:
        if sigma is not None:
            raise OptionError(f"{option} states {sigma[0]}, but the standard errors are known. Leave it out.")
        return Spreads(covariances, 1.0)
    if sigma is None and rest is None:
        raise OptionError(f'{option} leaves sigma open. Add "sigma": ..., the residual SD.')
    found = sigma[1] ** (1 if sigma[0] == "sigma^2" else 2) if sigma else rest.sigma2  # type: ignore[union-attr]
    return Spreads(covariances, found)


def says_everything(design: Design, given: Mapping[str, Any]) -> bool:
    """Whether nothing is left open by stated variances."""
    known = _places(design)
    kinds = {"var": "sd", "cov": "cor", "sigma^2": "sigma"}
    told = {(kinds.get(p[0], p[0]), *p[1:]) for name in given if (p := known.get(_plain(str(name))))}
    wanted = {(kinds.get(p[0], p[0]), *p[1:]) for p in known.values()}
    return wanted - {("sigma", 0, 0, 0)} <= told and (design.known_se or ("sigma", 0, 0, 0) in told)


def _plain(name: str) -> str:
    return re.sub(r"\s*,\s*", ", ", re.sub(r"\s*([()])\s*", r"\1", name.strip()))


def _places(design: Design) -> dict[str, Place]:
    found: dict[str, Place] = {"sigma": ("sigma", 0, 0, 0), "sigma^2": ("sigma^2", 0, 0, 0)}
    for k, block in enumerate(design.blocks):
        alone = sum(len(b.terms) for b in design.blocks if b.group == block.group) == 1
        for a, term in enumerate(block.terms):
            for kind in ("sd", "var"):
                found[_plain(f"{kind}({block.group}, {term})")] = (kind, k, a, a)
                if alone:
                    found[_plain(f"{kind}({block.group})")] = (kind, k, a, a)
        for a in range(len(block.terms)):
            for b in range(a):
                for kind in ("cor", "cov"):
                    for one, other in ((a, b), (b, a)):
                        name = f"{kind}({block.group}, {block.terms[one]}, {block.terms[other]})"
                        found[_plain(name)] = (kind, k, b, a)
    return found


def _listed(known: Mapping[str, Place]) -> list[str]:
    """The names that messages offer, one for each place."""
    return [name for name, place in known.items() if place[0] in ("sd", "cor", "sigma")]


def _number(value: Any, name: str, kind: str, option: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value):
        raise OptionError(f"{option}: {name} is {value!r}, but must be a number.")
    if kind in ("sd", "var") and value < 0:
        raise OptionError(f"{option}: {name} is {value}, but must be 0 or more.")
    if kind in ("sigma", "sigma^2") and value <= 0:
        raise OptionError(f"{option}: {name} is {value}, but must be above 0.")
    if kind == "cor" and abs(value) > 1:
        raise OptionError(f"{option}: {name} is {value}, but a correlation lies between -1 and 1.")
    return float(value)


def _covariance(
    design: Design, k: int, values: Mapping[Place, tuple[str, float]], rest: Array | None, option: str
) -> Array:
    """One block's covariance: stated SDs and correlations in place of the rest's."""
    block = design.blocks[k]
    q = len(block.terms)
    sd = np.full(q, np.nan) if rest is None else np.sqrt(np.diag(rest))
    cor = np.eye(q) if rest is None else _correlation(rest)
    for a in range(q):
        if (told := values.get(("sd", k, a, a))) is not None:
            sd[a] = told[1] ** 0.5 if told[0].lstrip().startswith("var") else told[1]
    if np.isnan(sd).any():
        missing = block.terms[int(np.flatnonzero(np.isnan(sd))[0])]
        raise OptionError(
            f'{option} leaves sd({block.group}, {missing}) open. Add "sd({block.group}, {missing})": ....'
        )
    for a in range(q):
        for b in range(a):
            if (told := values.get(("cor", k, b, a))) is None:
                continue
            scale = sd[a] * sd[b] if told[0].lstrip().startswith("cov") else 1.0
            if scale == 0 and told[1] != 0:
                raise OptionError(f"{option}: {told[0]} is {told[1]}, but one of the two variances is 0.")
            cor[a, b] = cor[b, a] = told[1] / (scale or 1.0)
    if np.linalg.eigvalsh(cor)[0] < -1e-10 or np.abs(cor).max() > 1 + 1e-12:
        raise OptionError(
            f"{option}: the covariances of {block.group} are those of no distribution (smallest eigenvalue of the "
            f"correlation matrix {np.linalg.eigvalsh(cor)[0]:.3g}). Bring the correlations nearer to zero."
        )
    made = np.outer(sd, sd) * cor
    np.fill_diagonal(made, sd**2)
    return np.asarray(made)


def _correlation(covariance: Array) -> Array:
    """Correlations; zero beside a standard deviation of zero."""
    sd = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(np.outer(sd, sd) > 0, covariance / np.outer(sd, sd), 0.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


# --- the fit at them ----------------------------------------------------------------------------------


def criterion_at(data: Moments, given: Conditional, sigma2: float) -> float:
    """-2 log restricted likelihood at stated variances, sigma^2 not profiled out (eq. 42 before that)."""
    degrees = data.n - data.p
    spread = degrees * (LOG_2PI + np.log(sigma2)) + given.r2 / sigma2
    return float(given.log_det_L + given.log_det_RX + spread - data.log_weights)


def fit_at(design: Design, data: Moments, at: Spreads, level: float, estimator: str, words: str) -> Fit:
    """The Fit at stated variances: BLUPs and generalised least squares, exactly (Henderson 1975).

    Parameters
    ----------
    design : Design
    data : Moments
        Of the design.
    at : Spreads
    level : float
        Probability of the intervals.
    estimator : str
    words : str
        Where the variances come from, for the labels: ``"at the given variances"``.
    """
    factors = at.factors(data)
    given = conditional(data, factors)
    to_data = data.shift.to_data
    b_cov = at.sigma2 * to_data @ given.b_cov @ to_data.T
    value = criterion_at(data, given, at.sigma2)
    point = f"GLS estimate {words}"
    effects = predictions(design, data, factors, given, at.sigma2, level)
    return Fit(
        estimator=estimator,
        design=design,
        population=Estimates.wald(
            to_data @ given.b + data.shift.origin, np.sqrt(np.diag(b_cov)), level, point, f"sampling SE, {words}"
        ),
        fixed_cov=b_cov,
        components=tuple(
            Component(block.group, block.terms, S) for block, S in zip(design.blocks, at.covariances, strict=True)
        ),
        group_effects=tuple(_labelled(part, words) for part in effects),
        sigma=at.sigma2**0.5,
        criterion=Criterion(value, f"REML {words}"),
        log_likelihood=-value / 2,
        singular=any(not np.diag(S).all() or _smallest(S) < 1e-10 for S in at.covariances),
        warnings=design.notes,
    )


def _labelled(part: GroupEffects, words: str) -> GroupEffects:
    """Say of the points at which variances they are predictions."""
    return replace(
        part,
        effect=replace(part.effect, point=f"{part.effect.point} {words}"),
        coefficient=replace(part.coefficient, point=f"{part.coefficient.point} {words}"),
    )

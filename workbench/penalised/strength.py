"""Penalties of the terms: as stated, as variances say, and the rays along which cross-validation searches.

From variances, the penalty of a term is the logarithm of a density with that variance. Of u ~ N(0, tau^2) it is
u^2/(2 tau^2), so that in units of the dispersion phi (sigma^2) l2 = phi/tau^2. Of the double exponential, whose rate is
sqrt(2)/tau, l1 = sqrt(2) phi/tau. An elastic net takes its shares of the two.

Cross-validation searches one number s for all terms: l1 = s mix r_t and l2 = s (1 - mix) r_t^2, with r_t the root mean
square of the term's column (1 for an intercept), so that the choice does not depend on the unit of the column.
Indicators are *not* standardised each by itself, as packages would: a group's penalty would depend on its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.estimates import Component
from workbench.penalised.columns import Term
from workbench.penalised.regression import Regression, score_of, solve, squared

Array = NDArray[np.float64]

Stated = float | Mapping[str, float]
KINDS = ("ridge", "lasso", "elastic_net")
REACH = 1e4
"""The grid of ridge reaches so far beyond the groups that know most and least of their effects."""
DEPTH = 1e-4
"""The grid of the lasso ends at this share of the smallest penalty that holds every effect at zero."""


@dataclass(frozen=True, eq=False)
class Penalties:
    """l1 and l2 of (1), by term: shape (T,) each."""

    l1: Array
    l2: Array

    @property
    def total(self) -> Array:
        """lambda by term, of which l1 is the share `mix`."""
        return self.l1 + self.l2

    def times(self, strength: float) -> Penalties:
        """The penalties further along their ray."""
        return Penalties(self.l1 * strength, self.l2 * strength)


def share_of(kind: str, mix: float | None) -> float:
    """The share of the absolute values in a penalty: 0 ridge, 1 lasso, `mix` (one half by default) elastic net."""
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}, but must be one of {', '.join(map(repr, KINDS))}. {nearest(kind, KINDS)}")
    if kind != "elastic_net":
        if mix is not None:
            raise OptionError(f"mix is {mix!r}, but belongs to kind='elastic_net'; {kind} has none. Leave it out.")
        return float(kind == "lasso")
    if mix is None:
        return 0.5
    if isinstance(mix, bool) or not isinstance(mix, int | float) or not 0 < mix < 1:
        raise OptionError(f"mix is {mix!r}, but must be between 0 (ridge) and 1 (lasso), both left out.")
    return float(mix)


def is_positive(value: object) -> TypeGuard[float]:
    """Whether a value is a positive, finite number."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and isfinite(value) and value > 0  # type: ignore[arg-type, operator]


def stated(terms: Sequence[Term], given: Stated, mix: float) -> Penalties:
    """Penalties as stated: a lambda for all terms, or one for each, by term (``Days``), group or ``group, term``.

    Raises
    ------
    OptionError
        A name that no term has, a term without a lambda.
    """
    if isinstance(given, Mapping):
        known = {name for t in terms for name in _names(t)}
        for name in given:
            if name not in known:
                raise OptionError(f"penalty names {name!r}, which does not vary. {nearest(str(name), sorted(known))}")
        values = []
        for t in terms:
            own = [given[name] for name in _names(t) if name in given]
            if not own:
                raise OptionError(f"penalty has no number for {t.label}. Give one, by the name {t.name!r}.")
            values.append(float(own[0]))
        total = np.array(values)
    else:
        total = np.full(len(terms), float(given))
    return Penalties(mix * total, (1 - mix) * total)


def _names(term: Term) -> tuple[str, str, str]:
    """What a term may be called, the most specific name first."""
    return f"{term.group}, {term.name}", term.name, term.group


def from_variances(terms: Sequence[Term], components: Sequence[Component], phi: float, mix: float) -> Penalties:
    """Penalties of densities with estimated variances; infinite where a variance is zero.

    Examples
    --------
    >>> terms = [Term(0, 0, "g", "(Intercept)", slice(0, 3), 1.0)]
    >>> found = from_variances(terms, [Component("g", ("(Intercept)",), np.array([[4.0]]))], 9.0, 0.0)
    >>> found.l1.tolist(), found.l2.tolist()
    ([0.0], [2.25])
    """
    variance = np.array([components[t.place].covariance[t.k, t.k] for t in terms])
    with np.errstate(divide="ignore"):
        l1, l2 = np.sqrt(2) * phi / np.sqrt(variance), phi / variance
    return Penalties(mix * l1 if mix > 0 else np.zeros(len(terms)), (1 - mix) * l2 if mix < 1 else np.zeros(len(terms)))


def unit_ray(terms: Sequence[Term], mix: float) -> Penalties:
    """Penalties that do not depend on the units of the columns, at strength 1."""
    size = np.array([t.size for t in terms])
    return Penalties(mix * size, (1 - mix) * size**2)


def grid(problem: Regression, l1: Array, l2: Array, points: int) -> Array:
    """Strengths along a ray, the largest first, from where all is pooled to where hardly anything is.

    Of ridge: from `REACH` times the most that any column knows of its coefficient, z'W z over its penalty, to the
    least over `REACH`. Otherwise: from the smallest strength that holds every effect at zero to `DEPTH` of it.

    Parameters
    ----------
    problem : Regression
    l1, l2 : array, shape (m,)
        Penalties of the columns at strength 1.
    points : int
    """
    pooled = solve(problem, np.full(len(l1), np.inf), np.full(len(l2), np.inf))
    score, working = score_of(problem, pooled)
    if l1.any():
        wanted = np.abs(np.asarray(problem.Z.T @ score).ravel())
        top = float((wanted / l1).max()) * (1 + 1e-9)
        return np.geomspace(top, DEPTH * top, points) if top > 0 else np.geomspace(1.0, DEPTH, points)
    known = np.asarray(working @ squared(problem.Z)).ravel() / l2
    known = known[known > 0]
    return np.geomspace(known.max() * REACH, known.min() / REACH, points)

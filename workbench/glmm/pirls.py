"""Conditional modes: penalised iteratively reweighted least squares (PIRLS).

With u_f = Lambda_f s_f, the modes minimise

    F(s) = -2 sum_i log p(y_i | eta_i) + |s|^2,      eta = X b + Z Lambda s + offset

given b; or over b as well, which gives the start of the search. The log densities are concave, so F has one minimum.
Every step solves the mixed-model equations of the working regression (:mod:`workbench.glmm.working`) with the observed
information as weights, which is Newton's method, and is halved until F falls.

Sources: Bates, Maechler, Bolker & Walker (2015, doi:10.18637/jss.v067.i01) for the equations; McCullagh & Nelder
(1989), Generalized Linear Models, chapter 2, for the working regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.glmm.densities import Terms
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working
from workbench.likelihood import Conditional, conditional
from workbench.moments import Moments

Array = NDArray[np.float64]
Effects = tuple[Array, ...]
"""By factor, (q_f, J_f)."""

CLOSE = 1e-6
"""After a step that moves no effect by more, relative to its size, what is left is smaller than its square."""
MOST_STEPS = 200
MOST_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Mode:
    """The conditional modes at given factors Lambda.

    Attributes
    ----------
    factors : tuple of array, shape (q_f, q_f)
    b : array, shape (p,)
    s, u : tuple of array, shape (q_f, J_f)
        Spherical effects, and effects u = Lambda s.
    eta : array, shape (n,)
    terms : Terms
        At eta.
    data : Moments
        The working regression of the observed information at eta; without X where b was given.
    given : Conditional
        What follows from it.
    steps : int
    found : bool
        Whether the last step was small.
    """

    factors: tuple[Array, ...]
    b: Array
    s: Effects
    u: Effects
    eta: Array
    terms: Terms
    data: Moments
    given: Conditional
    steps: int
    found: bool

    @property
    def penalty(self) -> float:
        """|s|^2."""
        return float(sum((s**2).sum() for s in self.s))

    @property
    def value(self) -> float:
        """F, without the constant of the log densities."""
        return -2 * float(self.terms.log.sum()) + self.penalty


def conditional_mode(
    working: Working, factors: tuple[Array, ...], b: Array | None = None, start: Mode | None = None
) -> Mode:
    """The conditional modes given Lambda, and given b (or with the b that is most likely together with them).

    Parameters
    ----------
    working : Working
    factors : tuple of array, shape (q_f, q_f)
    b : array, shape (p,), optional
    start : Mode, optional
        Modes at other factors, whose spherical effects are near those sought.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0, 1, 1, 1], "g": list("aabb")}
    >>> working = Working(Rows.of(build_design("y ~ 1 + (1 | g)", table, "binomial")))
    >>> mode = conditional_mode(working, (np.array([[1.0]]),), np.array([0.0]))
    >>> u = mode.u[0][0, 1]                          # two successes: its score 2 / (1 + exp u) is the prior's pull u
    >>> round(float(u), 4), round(float(2 / (1 + np.exp(u))), 4)
    (0.6748, 0.6748)
    """
    rows = working.rows
    free = b is None
    state = _State(rows, factors, free)
    if start is not None:
        state.at(start.b if b is None else b, start.s)
    elif b is not None:
        state.at(b, tuple(np.zeros((f.q, f.J)) for f in rows.factors))
    else:
        state.first(working)
    moved, step = np.inf, 0
    while moved > CLOSE and step < MOST_STEPS:
        moved = state.move(state.solve(working)[1])
        step += 1
    data, given = state.solve(working)
    found = moved <= CLOSE
    return Mode(factors, state.b, state.s, state.u, state.eta, state.terms, data, given, step, found)


class _State:
    """Where the iteration stands."""

    b: Array
    s: Effects
    u: Effects
    eta: Array
    terms: Terms
    value: float

    def __init__(self, rows: Rows, factors: tuple[Array, ...], free: bool) -> None:
        self.rows, self.factors, self.free = rows, factors, free

    def at(self, b: Array, s: Effects) -> None:
        """Move to given values."""
        self.b, self.s = b, s
        self._look()

    def _look(self) -> None:
        rows = self.rows
        self.u = tuple(Lambda @ s for Lambda, s in zip(self.factors, self.s, strict=True))
        self.eta = rows.X @ self.b + rows.offset
        for f, u in zip(rows.factors, self.u, strict=True):
            self.eta += f.by_row(u)
        self.terms = rows.density.terms(self.eta)
        self.value = -2 * float(self.terms.log.sum()) + float(sum((s**2).sum() for s in self.s))

    def first(self, working: Working) -> None:
        """The first step of reweighted least squares, from the response itself."""
        rows = self.rows
        eta = rows.start
        terms = rows.density.terms(eta)
        weights = rows.density.information(eta, terms, expected=True).value
        response = weights * (eta - rows.offset) + terms.score
        given = conditional(working.moments(weights, response), self.factors)
        self.at(given.b, self._spherical(given, weights, response))
        reached, b, s = self.value, self.b, self.s
        self.at(np.zeros_like(b), tuple(np.zeros_like(part) for part in s))
        if reached < self.value:
            self.at(b, s)

    def solve(self, working: Working) -> tuple[Moments, Conditional]:
        """The working regression here, and what follows from it."""
        self.response = self._response()
        data = working.moments(self.terms.curve, self.response, self.free)
        return data, conditional(data, self.factors)

    def _response(self) -> Array:
        away = self.eta - self.rows.offset
        if not self.free:
            away = away - self.rows.X @ self.b
        return np.asarray(self.terms.curve * away + self.terms.score)

    def _spherical(self, given: Conditional, weights: Array, response: Array) -> Effects:
        """s = Lambda'Z'(r - W (X b + Z u)), which needs no inverse of Lambda."""
        rows = self.rows
        fitted = rows.X @ given.b if self.free else np.zeros(len(rows.offset))
        for f, u in zip(rows.factors, given.u, strict=True):
            fitted = fitted + f.by_row(u.T)
        left = response - weights * fitted
        return tuple(Lambda.T @ f.by_level(left) for f, Lambda in zip(rows.factors, self.factors, strict=True))

    def move(self, given: Conditional) -> float:
        """Take the step, halved until F falls; returns how far it went, relative to the effects' size."""
        b, s, before = self.b, self.s, self.value
        b_step = given.b - b if self.free else np.zeros_like(b)
        ends = self._spherical(given, self.terms.curve, self.response)
        s_step = tuple(new - old for new, old in zip(ends, s, strict=True))
        size = 1.0 + max(float(np.abs(part).max(initial=0.0)) for part in (b, *s))
        length = max(float(np.abs(part).max(initial=0.0)) for part in (b_step, *s_step)) / size
        slack = 1e-13 * (1 + abs(before))
        for halving in range(MOST_HALVINGS):
            share = 0.5**halving
            self.at(b + share * b_step, tuple(x + share * step for x, step in zip(s, s_step, strict=True)))
            if self.value <= before + slack:
                return share * length
        self.at(b, s)
        return 0.0

"""Likelihoods with one standard deviation held, everything else at its best: what a path of that spread walks along."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import condensed
from workbench.design import Design
from workbench.errors import DesignError
from workbench.glmm import search
from workbench.glmm.quasi_newton import quasi_newton
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working
from workbench.inference.held import Held, Point
from workbench.inference.parameters import Parameter
from workbench.likelihood import conditional
from workbench.moments import Moments, moments
from workbench.optimum import SINGULAR, Optimum, optimum

Array = NDArray[np.float64]


class HeldSpread(Protocol):
    """A likelihood with one standard deviation held: what a path needs of it. It remembers where it was asked."""

    criterion: str
    estimate: float
    others: int
    sigma: float
    doubtful: int

    def value(self, tau: float) -> float:
        """-2 log likelihood, the others at their best, which later calls start from."""

    def coefficients(self, tau: float) -> tuple[float, Array]:
        """Population value and group coefficients, shape (J,)."""

    def on_edge(self, tau: float) -> bool:
        """Whether another variance parameter is on its boundary."""


def feasible(design: Design, block: int, column: int) -> str:
    """Why there is no path of a term; empty where there is one.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [0, 3, 1, 4, 2, 2], "x": [0, 1, 2, 0, 1, 2], "g": list("aaabbb")}
    >>> feasible(build_design("y ~ x + (x | g)", table, "poisson"), 0, 0)
    'terms of counts and shares that are correlated with others have no path here'
    """
    if design.family == "gaussian":
        return ""
    if design.family not in ("binomial", "poisson"):
        return f"there is no likelihood of {design.family} responses here"
    if len(design.blocks[block].terms) > 1:
        return "terms of counts and shares that are correlated with others have no path here"
    return ""


def held_spread(design: Design, block: int, column: int) -> HeldSpread:
    """The likelihood of a design with one of its SDs held; a DesignError where there is none (see :func:`feasible`)."""
    why = feasible(design, block, column)
    if why:
        part = design.blocks[block]
        raise DesignError(
            f"sd({part.group}, {part.terms[column]}) cannot be held: {why}. Take another term, or (x || g) in place of "
            "(x | g)."
        )
    return _Gaussian(design, block, column) if design.family == "gaussian" else _Counts(design, block)


def _nearest(known: dict[float, Array], tau: float) -> Array | None:
    return known[min(known, key=lambda t: abs(t - tau))] if known else None


class _Gaussian:
    """The REML criterion with one standard deviation held."""

    criterion = "REML"

    def __init__(self, design: Design, block: int, column: int) -> None:
        self.data: Moments = moments(design)
        best: Optimum = optimum(self.data, restricted=True)
        name = f"sd({design.blocks[block].group}, {design.blocks[block].terms[column]})"
        parameter = Parameter(name, "sd", block, (column,))
        self.held = Held.of(parameter, condensed(self.data), best, restricted=True)
        self.estimate = self.held.best
        nu = max(self.data.n - self.data.p, 1)
        self.sigma = 1.0 if self.data.known_se else float(np.sqrt(best.given.r2 / nu))
        self.others = len(self.held.start)
        self.doubtful = 0
        self._where = (block, column)
        self._points: dict[float, Point] = {}

    def value(self, tau: float) -> float:
        return self._at(tau).deviance

    def _at(self, tau: float) -> Point:
        if tau not in self._points:
            near = _nearest({t: p.others for t, p in self._points.items()}, tau)
            starts = (self.held.start,) if near is None else (near, self.held.start) if tau == 0 else (near,)
            self._points[tau] = point = self.held.at(tau, *starts)
            self.doubtful += self.others > 1 and not point.certified  # of sigma alone there is one minimum
        return self._points[tau]

    def on_edge(self, tau: float) -> bool:
        held = self.held
        free = held.theta.on_diagonal.copy()
        free[list(held.pinned)] = False
        others = np.zeros(len(free))
        others[[k for k in range(len(free)) if k not in held.pinned]] = self._at(tau).others[: len(free) - 1]
        return bool((np.abs(others[free]) < SINGULAR).any())

    def coefficients(self, tau: float) -> tuple[float, Array]:
        block, column = self._where
        given = conditional(self.data, self.held.factors(self._at(tau)))
        place, f = next((k, f) for k, f in enumerate(self.data.factors) if block in f.places)
        here = f.blocks[f.places.index(block)].start + column
        mode = np.tensordot(f.to_data[here], given.modes[place], 1)
        shift, k = self.data.shift, f.fixed[here]
        population = 0.0 if k is None else float(shift.to_data[k] @ given.b + shift.origin[k])
        return population, population + mode[-1] - given.b @ mode[:-1]


class _Counts:
    """Laplace's deviance with one standard deviation held."""

    criterion = "Laplace"
    sigma = 1.0

    def __init__(self, design: Design, block: int) -> None:
        rows = Rows.of(design)
        best = search.optimum(rows)
        self.deviance = search.Deviance(Working(rows), expected=True)
        place, f = next((k, f) for k, f in enumerate(rows.factors) if block in f.places)
        within = f.places.index(block)
        start, self._map = f.blocks[within].start, float(f.maps[within][0, 0])
        self._entry = self.deviance.shape.entries.index((place, start, start))
        self._place, self._row, self._fixed = place, start, design.blocks[block].fixed[0]
        both = np.concatenate([best.theta.values, best.mode.b])
        self.estimate = abs(self._map * float(both[self._entry]))
        self.others = len(best.theta.values) - 1
        self.doubtful = 0
        self._found: dict[float, Array] = {self.estimate: np.delete(both, self._entry)}
        self._values: dict[float, float] = {}
        self._inverse: Array | None = None

    def _both(self, tau: float, free: Array) -> Array:
        return np.insert(free, self._entry, tau / abs(self._map))

    def value(self, tau: float) -> float:
        if tau not in self._values:

            def objective(free: Array) -> tuple[float, Array]:
                value, gradient = self.deviance.joint(self._both(tau, free))
                return value, np.delete(gradient, self._entry)

            start = _nearest(self._found, tau)
            assert start is not None
            end = quasi_newton(objective, start, self._inverse, close=search.SETTLED)
            self._found[tau], self._values[tau], self._inverse = end.x, end.value, end.inverse
            self.doubtful += not end.settled
        return self._values[tau]

    def on_edge(self, tau: float) -> bool:
        self.value(tau)
        theta = np.delete(self._both(tau, self._found[tau]), self._entry)[: self.others]
        on_diagonal = np.delete(self.deviance.shape.on_diagonal, self._entry)
        return bool((np.abs(theta[on_diagonal]) < SINGULAR).any())

    def coefficients(self, tau: float) -> tuple[float, Array]:
        self.value(tau)
        both = self._both(tau, self._found[tau])
        mode, _ = self.deviance.at(both[: self.deviance.m], both[self.deviance.m :])
        rows, k = self.deviance.working.rows, self._fixed
        population = 0.0 if k is None else float(rows.to_data[k] @ mode.b)
        return population, population + self._map * mode.u[self._place][self._row]

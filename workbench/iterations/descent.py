"""The BLUPs by gradient descent, as a neural-network toolkit would find them, every step on record.

Given the variances, population coefficients b and effects u minimise

    f(b, u) = |y - X b - Z u|^2_W / sigma^2  +  sum over terms and levels of u_j'Sigma^-1 u_j                       (1)

which is -2 log of the joint density of y and u, up to a constant: squared errors and a weighted penalty on weights. Its
minimum solves Henderson's equations (1975, doi:10.2307/2529430), and nothing but the equations' condition keeps a
gradient from finding it:

    gradient    x <- x - rate f'(x)
    adam        m <- 0.9 m + 0.1 f',  v <- 0.999 v + 0.001 f'^2,
                x <- x - rate m_hat / (sqrt v_hat + 1e-8)

with m_hat and v_hat corrected for their start at zero (Kingma & Ba 2015, arXiv:1412.6980). Where a Sigma is singular
its effects move within its range only: the others are zero.

`scaled` counts every parameter in units in which f'' is 2 (of a coefficient, about its standard error were all others
known). The steps, their number, and rates that do well then do not depend on the units of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.iterations.spreads import Spreads

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Rule = Callable[[Array], Array]
"""From a gradient to a step."""

DENSE = 2_000_000
"""Up to so many entries, [X Z] is a dense array."""
KEPT = 500
"""So many steps are recorded, first all, then ever fewer; of very many parameters less."""
MOST_NUMBERS = 5_000_000
ADAM_RATE = 0.1
FLAT = 1e-10
"""Where every slope, in scaled parameters, is smaller than this share of the first ones and of 1, it has arrived."""
RANGE = 1e-12
"""Directions of a Sigma whose variance is a smaller share of its largest count as none."""


@dataclass(frozen=True, eq=False)
class Descent:
    """A recorded descent; parameters are population coefficients, then effects by block, level and term.

    Attributes
    ----------
    method : "gradient" or "adam"
    design : Design
    steps : array of int, shape (records,)
        Which steps are recorded; 0 is the start.
    objective : array, shape (records,)
        Eq. 1.
    parameters : array, shape (records, p + N)
    exact : array, shape (p + N,)
        The solution of the equations.
    least : float
        Eq. 1 there.
    rate : float
    scaled : bool
    converged : bool
    reason : str
        What kept it from arriving, in words; empty otherwise.
    """

    method: str
    design: Design
    steps: NDArray[np.intp]
    objective: Array
    parameters: Array
    exact: Array
    least: float
    rate: float
    scaled: bool
    converged: bool
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", read_only(self.steps, np.intp))
        for name in ("objective", "parameters", "exact"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: terms, then ``Subject 308, Days``."""
        effects = [
            f"{block.group} {level}, {term}"
            for block in self.design.blocks
            for level in block.levels
            for term in block.terms
        ]
        return (*self.design.fixed_terms, *effects)

    @property
    def table(self) -> pd.DataFrame:
        """One row per recorded step: ``step``, ``objective``, ``excess`` over the minimum, the parameters by name."""
        import pandas as pd

        head = {"step": self.steps, "objective": self.objective, "excess": self.objective - self.least}
        values = pd.DataFrame(self.parameters, columns=list(self.names))
        return pd.concat([pd.DataFrame(head), values], axis=1)

    def split(self, values: Array) -> tuple[Array, tuple[Array, ...]]:
        """Parameters as population coefficients, (p,), and effects by block, (J, q)."""
        return _split(self.design, values)


def _split(design: Design, values: Array) -> tuple[Array, tuple[Array, ...]]:
    start = design.X.shape[1]
    parts = []
    for block in design.blocks:
        J, q = len(block.levels), len(block.terms)
        parts.append(values[start : start + J * q].reshape(J, q))
        start += J * q
    return values[: design.X.shape[1]], tuple(parts)


# --- the objective ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Problem:
    """Eq. 1 over x: coefficients, then effects within the ranges of their covariances.

    Attributes
    ----------
    rows : array or sparse array, shape (n, m)
        [X Z], of the effects that can move, times the root of W / sigma^2.
    y : array, shape (n,)
        Less the offset, times the same.
    ranges : tuple of array, shape (q, r)
        By block; an effect is ``range @ x``.
    penalties : tuple of array, shape (r, r)
        By block.
    """

    design: Design
    rows: Any
    y: Array
    ranges: tuple[Array, ...]
    penalties: tuple[Array, ...]

    @classmethod
    def of(cls, design: Design, at: Spreads) -> _Problem:
        root = np.sqrt(design.weights / at.sigma2)
        pairs = [_range(S) for S in at.covariances]
        ranges = tuple(basis for basis, _ in pairs)
        rows = _rows(design, ranges, root)
        return cls(design, rows, root * (design.y - design.offset), ranges, tuple(penalty for _, penalty in pairs))

    def penalised(self, x: Array) -> Array:
        """Sigma^-1 x of every level, zero for coefficients."""
        found = np.zeros_like(x)
        start = self.design.X.shape[1]
        for block, penalty in zip(self.design.blocks, self.penalties, strict=True):
            size = len(block.levels) * len(penalty)
            here = slice(start, start + size)
            found[here] = (x[here].reshape(-1, len(penalty)) @ penalty).ravel() if size else 0.0
            start += size
        return found

    def at(self, x: Array) -> tuple[float, Array]:
        """f and its gradient."""
        left, pulled = self.y - self.rows @ x, self.penalised(x)
        return float(left @ left + x @ pulled), 2 * (pulled - self.rows.T @ left)

    def half_curvature(self) -> Array:
        """The diagonal of f''/2, shape (m,)."""
        squares = (self.rows**2).sum(axis=0)
        own = [np.tile(np.diag(K), len(b.levels)) for b, K in zip(self.design.blocks, self.penalties, strict=True)]
        return np.asarray(squares + np.concatenate([np.zeros(self.design.X.shape[1]), *own])).ravel()

    def to_parameters(self, x: Array) -> Array:
        """All parameters, those that cannot move being zero."""
        p = self.design.X.shape[1]
        parts, start = [x[:p]], p
        for block, basis in zip(self.design.blocks, self.ranges, strict=True):
            size = len(block.levels) * basis.shape[1]
            parts.append((x[start : start + size].reshape(len(block.levels), -1) @ basis.T).ravel())
            start += size
        return np.concatenate(parts)


def _range(covariance: Array) -> tuple[Array, Array]:
    """A basis of a covariance's range, (q, r), the identity where it is all; and the inverse there, (r, r)."""
    sd = np.sqrt(np.diag(covariance))
    some = sd > 0
    if not some.any():
        return np.zeros((len(sd), 0)), np.zeros((0, 0))
    scale = np.where(some, sd, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    kept = values > RANGE * values[-1]
    if kept.all():
        return np.eye(len(sd)), np.linalg.inv(covariance)
    return scale[:, None] * vectors[:, kept], np.diag(1 / values[kept])


def _rows(design: Design, ranges: tuple[Array, ...], root: Array) -> Any:
    from scipy.sparse import csr_array, hstack

    n = design.n
    parts = [csr_array(design.X * root[:, None])]
    for block, basis in zip(design.blocks, ranges, strict=True):
        r = basis.shape[1]
        Z = root[:, None] * (block.Z @ basis)
        columns = (block.codes[:, None] * r + np.arange(r)).ravel()
        shape = (n, len(block.levels) * r)
        parts.append(csr_array((Z.ravel(), columns, r * np.arange(n + 1)), shape=shape))
    whole = hstack(parts, format="csr")
    return whole.toarray() if whole.shape[0] * whole.shape[1] <= DENSE else whole


# --- the descent --------------------------------------------------------------------------------------


def _gradient_rule(rate: float, size: int) -> Rule:
    return lambda slope: rate * slope


def _adam_rule(rate: float, size: int) -> Rule:
    m, v, t = np.zeros(size), np.zeros(size), 0

    def step(slope: Array) -> Array:
        nonlocal t
        t += 1
        m[:] = 0.9 * m + 0.1 * slope
        v[:] = 0.999 * v + 0.001 * slope**2
        return np.asarray(rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))

    return step


RULES: Mapping[str, Callable[[float, int], Rule]] = MappingProxyType({"gradient": _gradient_rule, "adam": _adam_rule})


def descend(
    design: Design,
    at: Spreads,
    exact: Array,
    method: str = "adam",
    steps: int = 50_000,
    rate: float | None = None,
    start: str = "zero",
    scaled: bool = True,
) -> Descent:
    """Minimise eq. 1 step by step.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    at : Spreads
    exact : array, shape (p + N,)
        The solution, to be held against.
    method : "gradient" or "adam"
    steps : int
        At most so many.
    rate : float, optional
        The learning rate. By default 0.1 of adam, and of plain gradients one over the largest curvature f''.
    start : "zero" or "least_squares"
        All parameters zero, or coefficients as without groups.
    scaled : bool
        Whether steps are taken in scaled parameters (see the module).

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> exact = np.array([23, -7, -1, 8]) / 6
    >>> found = descend(design, Spreads((np.array([[1.0]]),), 2.0), exact, "gradient")
    >>> found.converged, bool(np.abs(found.parameters[-1] - exact).max() < 1e-9)
    (True, True)
    """
    problem = _Problem.of(design, at)
    unit = problem.half_curvature() ** -0.5 if scaled else np.ones(problem.rows.shape[1])
    scale = problem.half_curvature() ** -0.5
    x = _start(problem, start) / unit
    largest = _largest_curvature(problem, unit)
    rate = (ADAM_RATE if method == "adam" else 1 / largest) if rate is None else rate
    move = RULES[method](rate, len(x))
    value, slope = problem.at(unit * x)
    flat = FLAT * min(1.0, float(np.abs(scale * slope).max(initial=0.0)))
    wanted = _recorded(steps, len(exact))
    kept, first, arrived, lost = [(0, value, unit * x)], value, False, False
    for t in range(1, steps + 1):
        x = x - move(unit * slope)
        value, slope = problem.at(unit * x)
        lost = not np.isfinite(value) or value > 1e12 * (1 + first)
        arrived = not lost and float(np.abs(scale * slope).max(initial=0.0)) <= flat
        if t in wanted or arrived or lost or t == steps:
            kept.append((t, value, unit * x))
        if arrived or lost:
            break
    return Descent(
        method=method, design=design, steps=np.array([t for t, _, _ in kept]),
        objective=np.array([value for _, value, _ in kept]),
        parameters=np.array([problem.to_parameters(x) for _, _, x in kept]),
        exact=exact, least=_value(design, at, problem, exact), rate=float(rate), scaled=scaled, converged=arrived,
        reason="" if arrived else _why(method, kept[-1][0], rate, largest, lost),
    )  # fmt: skip


def _start(problem: _Problem, start: str) -> Array:
    x = np.zeros(problem.rows.shape[1])
    p = problem.design.X.shape[1]
    if start == "least_squares" and p:
        root = np.sqrt(problem.design.weights)[:, None]
        X, y = problem.design.X * root, (problem.design.y - problem.design.offset) * root[:, 0]
        x[:p] = np.linalg.lstsq(X, y, rcond=None)[0]
    return x


def _largest_curvature(problem: _Problem, unit: Array) -> float:
    """The largest eigenvalue of f'' in scaled parameters, by powers of it; a little more, to be on the safe side."""
    x = np.random.default_rng(0).normal(size=len(unit))
    largest = 1.0
    for _ in range(100):
        x = x / np.linalg.norm(x)
        x = 2 * unit * (problem.rows.T @ (problem.rows @ (unit * x)) + problem.penalised(unit * x))
        largest = float(np.linalg.norm(x))
    return 1.01 * largest


def _recorded(steps: int, parameters: int) -> set[int]:
    """All of the first steps, then ever fewer."""
    most = max(20, min(KEPT, MOST_NUMBERS // max(parameters, 1)))
    if steps <= most:
        return set(range(steps + 1))
    return set(np.unique(np.geomspace(1, steps, most).round().astype(int)).tolist())


def _value(design: Design, at: Spreads, problem: _Problem, parameters: Array) -> float:
    """Eq. 1 at given parameters."""
    b, effects = _split(design, parameters)
    inside = [
        np.linalg.lstsq(basis, u.T, rcond=None)[0].T.ravel() for basis, u in zip(problem.ranges, effects, strict=True)
    ]
    return problem.at(np.concatenate([b, *inside]))[0]


def _why(method: str, steps: int, rate: float, largest: float, lost: bool) -> str:
    if lost and method == "gradient":
        return (
            f"The descent diverged at step {steps:,}: with a learning rate of {rate:.3g}, steps along the steepest "
            f"direction overshoot. It must be below 2/curvature = {2 / largest:.3g}."
        )
    if lost:
        return f"The descent diverged at step {steps:,}, at a learning rate of {rate:.3g}. Lower it."
    return (
        f"The descent was still under way after {steps:,} steps, at a learning rate of {rate:.3g}: do not take its "
        "numbers for the solution. Allow more steps, another rate, or start = 'least_squares'."
    )

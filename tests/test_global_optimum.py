"""The best optimum, of designs that hide it: rung slow oracle, many starts on a criterion written here.

Small groups, little spread between them, a correlation near -1 or 1 or a component near zero: there the boundary of one
component can hide an interior optimum, and zero is always a stationary point. Every design is simulated from its
number, so that a failure can be made again by `near_singular(kind, number)`.

The engine against which the search is held shares nothing with it: its own per-group algebra (Woodbury, below), the
lowest points of a grid and random points as starts, and L-BFGS-B and Nelder-Mead of scipy from each.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from corpus import design_of

from workbench.design import build_design
from workbench.errors import DesignError
from workbench.estimators.reml import ml, reml

SLACK = 1e-6
"""The criterion of these designs (some tens) is exact to 1e-11; a step of 1e-6 in it is no different fit."""


# --- designs ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    formula: str
    table: dict


def near_singular(kind, number, magnify=1.0):
    """One simulated design: kind ``one_way``, ``slopes``, ``independent`` or ``three``; spreads times `magnify`."""
    rng = np.random.default_rng([{"one_way": 1, "slopes": 2, "independent": 3, "three": 4}[kind], number])
    q = {"one_way": 1, "slopes": 2, "independent": 2, "three": 3}[kind]
    J = int(rng.integers(4, 13))
    sizes = rng.integers(1, 7, J) if rng.random() < 0.7 else np.full(J, q + 1 + number % 3)
    sizes[: 1 + J // 2] = np.maximum(sizes[: 1 + J // 2], q + 1)  # so that a residual is left over
    g = np.repeat(np.arange(J), sizes)
    x, z = _predictor(rng, sizes), rng.normal(size=len(g))
    ratios = magnify * rng.choice([0.0, 0.05, 0.15, 0.3, 0.6, 1.2], q)
    spread = np.array([1.0, 1 / max(np.std(x), 1e-3), 1.0])[:q] * ratios
    u = rng.normal(size=(J, q))
    if kind in ("slopes", "three"):
        rho = rng.choice([-1.0, -0.97, -0.8, 0.0, 0.8, 0.97, 1.0])
        u[:, 1] = rho * u[:, 0] + np.sqrt(1 - rho**2) * u[:, 1]
    if kind == "three":
        u[:, 2] = u @ rng.normal(size=3) / 1.5 if rng.random() < 0.5 else u[:, 2]
    Z = np.column_stack([np.ones(len(g)), x, z])[:, :q]
    y = 1 + 0.5 * x + np.einsum("nq,nq->n", Z, (u * spread)[g]) + rng.normal(size=len(g))
    formula = {
        "one_way": "y ~ 1 + (1 | g)" if number % 3 else "y ~ x + (1 | g)",
        "slopes": "y ~ x + (x | g)",
        "independent": "y ~ x + (x || g)",
        "three": "y ~ x + z + (x + z | g)",
    }[kind]
    return Case(formula, {"y": y, "x": x, "z": z, "g": g})


SEVERAL = (
    "(1 | g) + (1 | h)", "(x | g) + (1 | h)", "(x | g) + (0 + z | h)", "(x || g) + (z || h)", "(1 | h/g)",
    "(x | g) + (x | h)", "(1 | g) + (x || h) + (0 + z | h:g)",
)  # fmt: skip


def several_factors(number):
    """One simulated design with two or three grouping factors, crossed or nested, of little spread."""
    rng = np.random.default_rng([5, number])
    blocks = SEVERAL[number % len(SEVERAL)]
    n = int(rng.integers(24, 45))
    g = np.concatenate([np.arange(6), rng.integers(0, 6, n - 6)])
    h = np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)])
    x, z = rng.normal(rng.choice([0.0, 2.0]), 1, n), rng.normal(size=n)
    ratios = rng.choice([0.0, 0.1, 0.3, 0.6], 4)
    u, v = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    u[:, 1] = rng.choice([-0.97, 0.0, 0.97]) * u[:, 0] + 0.25 * u[:, 1]
    y = 1 + 0.5 * x + ratios[0] * u[g, 0] + ratios[1] * u[g, 1] * x + ratios[2] * v[h, 0] + ratios[3] * v[h, 1] * z
    return Case(f"y ~ x + {blocks}", {"y": y + rng.normal(size=n), "x": x, "z": z, "g": g, "h": h})


def _predictor(rng, sizes):
    """Days 0, 1, 2, ... in every group, noise, noise far from the origin, or mostly between groups."""
    n, style = int(sizes.sum()), rng.integers(4)
    if style == 0:
        return np.concatenate([np.arange(float(size)) for size in sizes])
    noise = rng.normal(size=n)
    if style == 1:
        return noise
    return 5 + noise if style == 2 else np.repeat(rng.normal(size=len(sizes)), sizes) + 0.4 * noise


# --- the engine ---------------------------------------------------------------------------------------


class Engine:
    """-2 log likelihood of one factor, many Lambdas at once, and its minimum over many starts.

    V = I + Z S Z' over sigma^2 is block-diagonal; by Woodbury, for the columns D = [X y] of one group's rows,
    D'V^-1 D = D'D - D'Z Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda'Z'D, and log|V| = log|I + Lambda'Z'Z Lambda|.
    """

    def __init__(self, design, correlated, restricted):
        self.restricted, self.correlated = restricted, correlated
        y, X, w = design.y - design.offset, design.X, design.weights
        Z = np.hstack([block.Z for block in design.blocks])
        self.n, self.p = X.shape
        self.q = Z.shape[1]
        self.log_weights = np.log(w).sum()
        self.white = np.linalg.inv(np.linalg.cholesky(Z.T @ (Z * w[:, None]) / self.n)).T
        D = np.column_stack([X, y])
        codes, J = design.blocks[0].codes, len(design.blocks[0].levels)
        rows = [codes == j for j in range(J)]
        self.ZZ = np.array([Z[r].T @ (Z[r] * w[r, None]) for r in rows])
        self.ZD = np.array([Z[r].T @ (D[r] * w[r, None]) for r in rows])
        self.DD = D.T @ (D * w[:, None])

    @property
    def size(self):
        return self.q * (self.q + 1) // 2 if self.correlated else self.q

    def factors(self, thetas):
        """Lambda of the data's columns at every theta (rows), which is of orthonormal or only scaled ones."""
        thetas = np.atleast_2d(thetas)
        L = np.zeros((len(thetas), self.q, self.q))
        if not self.correlated:
            scale = np.sqrt(np.diag(self.ZZ.sum(axis=0)) / self.n)
            L[:, range(self.q), range(self.q)] = thetas / scale
            return L
        L[:, *np.tril_indices(self.q)] = thetas
        return self.white @ L

    def of_factors(self, L):
        """The criterion at each Lambda of shape (m, q, q)."""
        M = np.eye(self.q) + np.swapaxes(L, 1, 2)[:, None] @ self.ZZ @ L[:, None]
        half = np.swapaxes(L, 1, 2)[:, None] @ self.ZD
        left = self.DD - np.einsum("tjqa,tjqb->tab", half, np.linalg.solve(M, half))
        XX, Xy, yy = left[:, :-1, :-1], left[:, :-1, -1:], left[:, -1, -1]
        r2 = yy - np.einsum("tpa,tpa->t", Xy, np.linalg.solve(XX, Xy))
        nu = self.n - self.p if self.restricted else self.n
        value = np.linalg.slogdet(M)[1].sum(axis=1) + nu * (1 + np.log(2 * np.pi * r2 / nu)) - self.log_weights
        return value + np.linalg.slogdet(XX)[1] if self.restricted else value

    def __call__(self, thetas):
        return self.of_factors(self.factors(thetas))

    def with_slope(self, theta):
        """Value and central differences, in one call."""
        steps = 1e-5 * np.maximum(1.0, np.abs(theta))
        around = self(np.vstack([theta, theta + np.diag(steps), theta - np.diag(steps)]))
        m = len(theta)
        return around[0], (around[1 : 1 + m] - around[1 + m :]) / (2 * steps)

    def starts(self, rng, random, magnify):
        """The lowest points of a grid over sizes and correlations, and random points."""
        sizes = np.unique([0.0, 0.05, 0.15, 0.4, 1.0, 3.0, 0.4 * magnify, 1.2 * magnify])
        pairs = (-1.0, 0.0, 1.0)
        off = self.size - self.q
        diagonal = [a == b for a, b in zip(*np.tril_indices(self.q), strict=True)] if off else [True] * self.q
        grid = np.empty((len(sizes) ** self.q * len(pairs) ** off, self.size))
        grid[:, diagonal] = np.repeat(list(product(sizes, repeat=self.q)), len(pairs) ** off, axis=0)
        if off:
            signs = np.tile(list(product(pairs, repeat=off)), (len(sizes) ** self.q, 1))
            grid[:, ~np.array(diagonal)] = 0.7 * signs * grid[:, diagonal].max(axis=1)[:, None]
        values = np.concatenate([self(part) for part in np.array_split(grid, max(1, len(grid) // 2000))])
        scattered = rng.normal(size=(random, self.size)) * np.exp(rng.uniform(-4, 2, (random, 1)))
        scattered[::2] *= magnify
        return np.vstack([grid[np.argsort(values)[:8]], scattered])

    def best(self, number, random=20, magnify=1.0):
        """The lowest criterion over all starts (half of them times `magnify`), and the Lambda there."""
        from scipy.optimize import minimize

        rng = np.random.default_rng([9, number])
        limits = [(-300.0 * max(1.0, magnify), 300.0 * max(1.0, magnify))] * self.size  # beyond, rounding rules
        starts = self.starts(rng, random, magnify)
        ends = [self.descend(start, limits) for start in starts]
        ends.sort(key=lambda e: e[0])
        simplex = {"xatol": 1e-7, "fatol": 1e-11, "maxfev": 2000}
        for start in (ends[0][1] + 0.3, ends[0][1] * 0.5 - 0.1, rng.normal(size=self.size)):
            end = minimize(lambda t: float(self(t)[0]), start, method="Nelder-Mead", bounds=limits, options=simplex)
            ends.append((end.fun, end.x))
        value, theta = min(ends, key=lambda e: e[0])
        return float(value), self.factors(theta)[0]

    def descend(self, start, limits):
        """L-BFGS-B from one start: the value and where."""
        from scipy.optimize import minimize

        tight = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 300}
        end = minimize(self.with_slope, start, jac=True, method="L-BFGS-B", bounds=limits, options=tight)
        return end.fun, end.x


class DenseEngine:
    """The same of any random terms, from the n x n covariance V = W^-1 + sum_k Z_k D_k Z_k' within levels.

    With P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1, the criterion changes by tr(G dV), G = P - P y y'P nu / r^2.
    """

    def __init__(self, design, restricted):
        self.restricted, self.X, self.y, self.noise = restricted, design.X, design.y - design.offset, 1 / design.weights
        self.parts, self.size = [], 0
        for block in design.blocks:
            q = len(block.terms)
            white = np.linalg.inv(np.linalg.cholesky(block.Z.T @ block.Z / design.n)).T
            entries = slice(self.size, self.size + q * (q + 1) // 2)
            self.parts.append((block.Z @ white, block.codes[:, None] == block.codes, np.tril_indices(q), entries))
            self.size = entries.stop
        self.diagonal = np.concatenate([places[0] == places[1] for _, _, places, _ in self.parts])

    def __call__(self, theta):
        factors, V = [], np.diag(self.noise)
        for Z, same, places, entries in self.parts:
            L = np.zeros((Z.shape[1], Z.shape[1]))
            L[places] = theta[entries]
            factors.append(L)
            V = V + same * (Z @ L @ L.T @ Z.T)
        inverse = np.linalg.inv(V)
        XVX = self.X.T @ inverse @ self.X
        P = inverse - inverse @ self.X @ np.linalg.solve(XVX, self.X.T @ inverse)
        nu = len(self.y) - self.restricted * self.X.shape[1]
        r2 = self.y @ P @ self.y
        G = (P if self.restricted else inverse) - np.outer(P @ self.y, P @ self.y) * nu / r2
        slopes = [
            2 * (Z.T @ (same * G) @ Z @ L)[places] for L, (Z, same, places, _) in zip(factors, self.parts, strict=True)
        ]
        value = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * r2 / nu))
        return value + self.restricted * np.linalg.slogdet(XVX)[1], np.concatenate(slopes)

    def best(self, number, random=16):
        """The lowest criterion over multiples of the unit matrix and random points as starts."""
        from scipy.optimize import minimize

        rng = np.random.default_rng([9, number])
        starts = [np.where(self.diagonal, s, 0.0) for s in (0.1, 0.3, 1.0, 3.0)]
        starts += list(rng.normal(size=(random, self.size)) * np.exp(rng.uniform(-3, 1.5, (random, 1))))
        tight = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 300}
        return min(minimize(self, start, jac=True, method="L-BFGS-B", options=tight).fun for start in starts)


def shortfalls(kind, numbers, estimator=reml, magnify=1.0, slack=SLACK):
    """The designs of which `estimator` does not reach the best optimum, in words."""
    found = []
    for number in numbers:
        case = near_singular(kind, number, magnify)
        design = build_design(case.formula, case.table)
        fit = estimator(design)
        best, factor = Engine(design, kind != "independent", estimator is reml).best(number, magnify=magnify)
        gap = fit.criterion - best
        if gap > slack or not fit.converged:
            ours = [np.round(part.covariance / fit.sigma**2, 6).tolist() for part in fit.components]
            better = np.round(factor @ factor.T, 6).tolist()
            found.append(
                f"{kind} {number}: criterion {gap:+.2g} above the best, converged {fit.converged}; "
                f"relative covariance {ours}, at the best {better}"
            )
    return found


def shortfalls_of_several(numbers, estimator=reml):
    """The same of designs with several grouping factors; those that explain y exactly are no designs."""
    found = []
    for number in numbers:
        case = several_factors(number)
        design = build_design(case.formula, case.table)
        try:
            fit = estimator(design)
        except DesignError as error:
            effects = [np.eye(len(b.levels))[b.codes][:, :, None] * b.Z[:, None] for b in design.blocks]
            columns = np.hstack([design.X, *(part.reshape(design.n, -1) for part in effects)])
            if np.linalg.matrix_rank(columns) < design.n:
                found.append(f"{number}: {error}")
            continue
        gap = fit.criterion - DenseEngine(design, estimator is reml).best(number)
        if gap > SLACK or not fit.converged:
            found.append(f"{number}, {case.formula}: criterion {gap:+.2g} above the best, converged {fit.converged}")
    return found


# --- the search against the engine --------------------------------------------------------------------

ALL = {"one_way": 150, "slopes": 300, "independent": 60, "three": 40}
BATCHES = [(kind, first, min(first + 30, count)) for kind, count in ALL.items() for first in range(0, count, 30)]


def test_the_engine_gives_lme4s_criterion():
    # R: lmer(Reaction ~ Days + (Days | Subject), sleepstudy): REMLcrit 1743.6282719584908
    value, _ = Engine(design_of("sleepstudy--slope"), True, True).best(0, random=4)
    assert value == pytest.approx(1743.6282719584908, abs=1e-8)


@pytest.mark.parametrize(("kind", "count"), [("one_way", 6), ("slopes", 6), ("independent", 3), ("three", 1)])
def test_a_few_near_singular_designs_reach_the_best_optimum(kind, count):
    assert shortfalls(kind, range(count)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "first", "end"), BATCHES)
def test_near_singular_designs_reach_the_best_optimum(kind, first, end):
    assert shortfalls(kind, range(first, end, 2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
def test_maximum_likelihood_reaches_the_best_optimum_too(kind):
    assert shortfalls(kind, range(0, ALL[kind], 6), ml) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("magnify", [1e-4, 1e-2, 10.0, 100.0])
def test_spreads_far_smaller_and_larger_than_the_residual(kind, magnify):
    # at 100 the engine itself rounds at (spread/sigma)^2 times the precision of a double, some 1e-7 here
    assert shortfalls(kind, range(10), magnify=magnify) == []


def test_designs_with_several_factors_that_were_missed():
    # 104 and 1065 hide the best optimum from a search with one start; the residual of 97 and 251 has one degree of
    # freedom; of 199 and 302 the factors share directions that rounding confounds
    assert shortfalls_of_several([97, 104, 199, 251, 302, 1065]) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 210, 30))
def test_several_factors_reach_the_best_optimum(first):
    assert shortfalls_of_several(range(first, first + 30)) == []
    assert shortfalls_of_several(range(first, first + 30, 6), ml) == []


def exact_criterion(design, fit):
    """The REML criterion of a fit with one random term, from QR of the rows: no cross-product loses a digit."""
    (block,), (component,) = design.blocks, fit.components
    values, vectors = np.linalg.eigh(component.covariance / fit.sigma**2)
    Z = block.Z @ (vectors * np.sqrt(np.clip(values, 0, None)))
    wide = (np.eye(len(block.levels))[block.codes][:, :, None] * Z[:, None]).reshape(design.n, -1)
    N, p = wide.shape[1], design.X.shape[1]
    rows = np.column_stack([wide, design.X, design.y])
    r = np.abs(np.diag(np.linalg.qr(np.vstack([rows, np.eye(N, N + p + 1)]), mode="r")))
    nu = design.n - p
    return 2 * np.log(r[:-1]).sum() + nu * (1 + np.log(2 * np.pi * r[-1] ** 2 / nu))


@pytest.mark.parametrize("number", [2003, 2005, 2021])
def test_the_criterion_keeps_its_digits_at_spreads_of_hundreds(number):
    # correlations of -1 or 1 and spreads of 400 to 700 residual SDs; it was off by up to 2e-3, and the end uncertified
    case = near_singular("slopes", number, magnify=100.0)
    design = build_design(case.formula, case.table)
    fit = reml(design)
    assert fit.converged
    assert fit.criterion == pytest.approx(exact_criterion(design, fit), abs=1e-7)


@pytest.mark.slow
def test_these_designs_are_hard():
    # Without this the tests above could pass on designs of one optimum. The usual search, one descent from Lambda = I
    # with the diagonal held at 0 or more, stops above the best in 8 of these 60, by up to 3.5.
    missed = 0
    for number in range(60):
        case = near_singular("slopes", number)
        engine = Engine(build_design(case.formula, case.table), True, True)
        once, _ = engine.descend(np.array([1.0, 0.0, 1.0]), [(0.0, 300.0), (-300.0, 300.0), (0.0, 300.0)])
        missed += once > engine.best(number, random=8)[0] + SLACK
    assert missed >= 4

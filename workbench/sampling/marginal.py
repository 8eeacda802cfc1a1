"""The likelihood of each group as a whole, its effects integrated out, at every draw of the parameters.

For one grouping factor, with X_j, Z_j, W_j the rows of group j, r_j = y_j - X_j b - o_j and Sigma = R R':

    p(y_j | b, Sigma, sigma) = N(r_j; 0, Z_j Sigma Z_j' + sigma^2 W_j^-1)

By Woodbury's identity and the determinant lemma only matrices of the size of the varying terms are factored:

    M_j = I + R' Z_j'W_j Z_j R / sigma^2,     v_j = R' Z_j'W_j r_j / sigma^2
    -2 log p = n_j log(2 pi sigma^2) - log|W_j| + log|M_j| + r_j'W_j r_j / sigma^2 - v_j'M_j^-1 v_j

Other responses (counts, shares, Student-t) with one varying term are integrated by Gauss-Hermite quadrature whose nodes
are put, for every group and draw, about the mode of the integrand:

    p(y_j | b, tau) = int prod_i p(y_i | eta_i + z_i u) N(u; 0, tau^2) du

==========  ======================================  ===============
symbol      name                                    shape
==========  ======================================  ===============
Z_j'W Z_j   ``ZtZ``                                 (J, q, q)
Z_j'W r_j   ``Ztr``                                 (S, J, q)
R           ``root``                                (S, q, q)
==========  ======================================  ===============

Sources: Harville (1977, doi:10.1080/01621459.1977.10480998) for the identities; Pinheiro & Bates (1995,
doi:10.1080/10618600.1995.10474663) for quadrature that is put where the integrand is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError
from workbench.sampling.draws import Draws
from workbench.sampling.responses import check_sampled, log_density

Array = NDArray[np.float64]

NODES, PASSES = 31, 1
"""Of the quadrature rule, for counts and shares."""
STUDENT_NODES, STUDENT_PASSES = 61, 5
"""For Student-t responses, whose integrand may have several modes: in each pass the nodes follow its mean and SD."""
CHUNK = 2_000_000
"""Numbers, rows times draws, that are in hand at a time."""
NEWTON, STEP = 8, 1e-3
"""Newton steps towards the mode of the integrand, and the step of the linear predictor for its derivatives."""


def check_marginal(design: Design, student: bool = False) -> None:
    """Refuse a design whose groups have no likelihood of their own here, with a DesignError."""
    check_sampled(design)
    if len(design.groups) > 1:
        raise DesignError(
            f"This model has {len(design.groups)} grouping factors ({', '.join(design.groups)}): given the parameters, "
            "the groups of one still depend on each other through the others, so one cannot be left out by its own "
            'likelihood. Leave out observations (by = "observation"), or fit again without the group.'
        )
    terms = sum(len(block.terms) for block in design.blocks)
    if terms > 1 and (student or design.family != "gaussian"):
        what = "Student-t" if student else design.family
        raise DesignError(
            f"The effects of {terms} varying terms cannot be integrated out of a {what} response here, only those of "
            'one. Leave out observations (by = "observation"), or fit again without the group.'
        )


def densities_per_row(design: Design, student: bool) -> int:
    """How many densities of each row are evaluated at each draw."""
    if student:
        return 3 * NEWTON + STUDENT_NODES * STUDENT_PASSES
    return 1 if design.family == "gaussian" else 3 * NEWTON + NODES * PASSES


def group_log_likelihood(design: Design, drawn: Draws) -> Array:
    """Log likelihood of every group of the only grouping factor, its effects integrated out, shape (C, N, J).

    Parameters
    ----------
    design : Design
        Gaussian with any number of varying terms, or of another response with one.
    drawn : Draws
        All draws are taken; group effects only say where to put quadrature nodes.

    Raises
    ------
    DesignError
        As :func:`check_marginal`.
    """
    student = "nu" in drawn.others
    check_marginal(design, student)
    points = _Points.of(design, drawn)
    rows = _ByGroup(design)
    made = [
        _normal(rows, part) if design.family == "gaussian" and not student else _quadrature(rows, part, points.centre)
        for part in points.chunks(max(1, CHUNK // max(design.n, STUDENT_NODES * len(rows.sizes))))
    ]
    return np.concatenate(made).reshape(drawn.chains, drawn.draws, -1)


@dataclass(frozen=True, eq=False)
class _Points:
    """S draws in a row: b (S, p), scale (S,), root (S, q, q), nu (S,) or None; and mean b and effects (p,), (J, q)."""

    b: Array
    sigma: Array
    root: Array
    nu: Array | None
    centre: tuple[Array, Array]

    @classmethod
    def of(cls, design: Design, drawn: Draws) -> _Points:
        S = drawn.chains * drawn.draws
        b = drawn.b.reshape(S, -1)
        q = sum(len(block.terms) for block in design.blocks)
        root, at = np.zeros((S, q, q)), 0
        for sd, correlation in zip(drawn.sd, drawn.correlation, strict=True):
            here = slice(at, at + sd.shape[-1])
            at = here.stop
            L = np.linalg.cholesky(correlation) if sd.shape[-1] > 1 else correlation
            root[:, here, here] = (sd[..., None] * L).reshape(S, *L.shape[2:])
        effects = np.concatenate([part.mean(axis=(0, 1)) for part in drawn.effects], axis=-1)
        sigma = np.ones(S) if drawn.sigma is None else drawn.sigma.ravel()
        nu = drawn.others["nu"].ravel() if "nu" in drawn.others else None
        return cls(b, sigma, root, nu, (b.mean(axis=0), effects))

    def chunks(self, size: int) -> Iterator[_Points]:
        """The same, so many draws at a time."""
        for start in range(0, len(self.b), size):
            at = slice(start, start + size)
            nu = None if self.nu is None else self.nu[at]
            yield _Points(self.b[at], self.sigma[at], self.root[at], nu, self.centre)


class _ByGroup:
    """Sums over the rows of each group of the only grouping factor."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self.codes, sizes = design.blocks[0].codes, design.blocks[0].sizes
        self.order = np.argsort(self.codes, kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.sizes = sizes
        self.Z = np.hstack([block.Z for block in design.blocks])

    def sums(self, values: Array) -> Array:
        """Sums by group of (..., n), shape (..., J)."""
        return np.asarray(np.add.reduceat(values[..., self.order], self.starts, axis=-1))


def _normal(rows: _ByGroup, at: _Points) -> Array:
    """The closed form of the module, shape (S, J)."""
    design, Z = rows.design, rows.Z
    q, precision = Z.shape[1], at.sigma[:, None] ** -2
    r = design.y - design.offset - at.b @ design.X.T
    weighted = r * design.weights
    ZtZ = np.stack([np.stack([rows.sums(Z[:, a] * design.weights * Z[:, c]) for c in range(q)]) for a in range(q)])
    Ztr = np.stack([rows.sums(weighted * Z[:, a]) for a in range(q)])  # (q, S, J)
    log_scale = rows.sizes * np.log(2 * np.pi * at.sigma**2)[:, None] - rows.sums(np.log(design.weights))
    square = rows.sums(weighted * r) * precision
    v = np.einsum("saq,asj->sjq", at.root, Ztr) * precision[..., None]
    if q == 1:
        M = 1 + at.root[:, 0, :1] ** 2 * ZtZ[0, 0] * precision
        return np.asarray(-0.5 * (log_scale + np.log(M) + square - v[..., 0] ** 2 / M))
    M = np.einsum("sap,abj,sbq->sjpq", at.root, ZtZ, at.root, optimize=True) * precision[..., None, None]
    M[..., np.arange(q), np.arange(q)] += 1.0
    L = np.linalg.cholesky(M)
    solved = np.linalg.solve(L, v[..., None])[..., 0]
    log_det = 2 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(axis=-1)
    return np.asarray(-0.5 * (log_scale + log_det + square - (solved**2).sum(axis=-1)))


def _quadrature(rows: _ByGroup, at: _Points, centre: tuple[Array, Array]) -> Array:
    """Gauss-Hermite quadrature over the only effect of each group, shape (S, J)."""
    design, z, tau = rows.design, rows.Z[:, 0], at.root[:, 0, :1]

    def of_groups(u: Array) -> Array:
        """Log likelihood of the groups at effects (..., J)."""
        return rows.sums(log_density(design, eta + z * u[..., rows.codes], at.sigma, at.nu))

    eta = at.b @ design.X.T + design.offset
    unit = (at.sigma[:, None] if design.family == "gaussian" else 1.0) / np.abs(z).max()
    farthest = np.minimum(3 * tau, np.inf if design.family == "gaussian" else 2 * unit)
    best = np.clip(centre[1][:, 0], -4 * tau, 4 * tau)
    for _ in range(NEWTON):
        low, mid, high = (of_groups(best + shift * unit) for shift in (-STEP, 0.0, STEP))
        slope, curvature = (high - low) / (2 * STEP * unit), (2 * mid - low - high) / (STEP * unit) ** 2
        precision = np.maximum(curvature, 0.0) + tau**-2.0
        best = best + np.clip((slope - best * tau**-2.0) / precision, -farthest, farthest)
    spread = np.sqrt(2 / precision)
    count, passes = (NODES, PASSES) if at.nu is None else (STUDENT_NODES, STUDENT_PASSES)
    for again in range(passes, 0, -1):
        nodes, terms = _terms(count, of_groups, best, spread, tau)
        highest = terms.max(axis=0)
        mass = np.exp(terms - highest)
        total = mass.sum(axis=0)
        if again > 1:
            best = (mass * nodes).sum(axis=0) / total
            spread = np.sqrt(2 * (mass * (nodes - best) ** 2).sum(axis=0) / total)
    return np.asarray(np.log(total) + highest)


def _terms(
    count: int, of_groups: Callable[[Array], Array], best: Array, spread: Array, tau: Array
) -> tuple[Array, Array]:
    """The nodes of the rule, and the logs of its terms, shape (count, S, J)."""
    x, weights = np.polynomial.hermite.hermgauss(count)
    nodes = best + spread * x[:, None, None]
    constant = np.log(spread) - np.log(tau) - 0.5 * np.log(2 * np.pi)
    terms = [
        of_groups(u) - 0.5 * (u / tau) ** 2 + node**2 + np.log(weight) + constant
        for u, node, weight in zip(nodes, x, weights, strict=True)
    ]
    return nodes, np.stack(terms)

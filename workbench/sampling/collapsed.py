"""The collapsed model of a gaussian design: the same posterior with the group effects integrated out.

    p(b, theta, sigma | y)  ~  p(y | b, theta, sigma) p(b) p(theta) p(sigma),

with the likelihood of :mod:`workbench.likelihood`. A sampler sees the few numbers on the left alone; the effects are
then drawn from their exact conditional distribution (:mod:`workbench.sampling.conditional`), a normal one. Where all
priors of b are normal or flat, b is integrated out likewise, and drawn after.

Everything stands on :class:`~workbench.moments.Moments`: no row is touched after these sums, and levels that share
their design are condensed to a few, so that an evaluation takes microseconds however many rows and levels there are.
Of one grouping factor it is a compiled loop with an analytic gradient (:mod:`workbench.sampling.kernel`), kept on disk
between runs; of several the gradient is that of the REML criterion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coordinates import condensed
from workbench.covariances import relative_factors
from workbench.design import Design, check_gaussian
from workbench.likelihood import LOG_2PI, conditional, criterion_gradient
from workbench.moments import Moments, moments
from workbench.priors import Prior, coefficient_name
from workbench.sampling.kernel_priors import coded, coordinate, lkj_constant, log_constant

Array = NDArray[np.float64]

INTEGRABLE = ("Normal", "Flat")
"""Priors of population coefficients with which these are integrated out."""
WALL = 6.0
"""A uniform prior of a coefficient that ends within so many of its likely SDs is a wall that trajectories run into."""


@dataclass(frozen=True, eq=False)
class Variances:
    """N draws of everything but b and u.

    Attributes
    ----------
    sd : tuple of array, shape (N, q)
        By random block.
    factor : tuple of array, shape (N, q, q)
        Cholesky factors of the correlation matrices.
    sigma : array, shape (N,)
        Ones where standard errors are known.
    b : array, shape (N, p), or None
        Of the data's own columns; None where b is integrated out.
    """

    sd: tuple[Array, ...]
    factor: tuple[Array, ...]
    sigma: Array
    b: Array | None

    def at(self, rows: NDArray[np.intp]) -> Variances:
        """Some of the draws."""
        sd, factor = (tuple(part[rows] for part in parts) for parts in (self.sd, self.factor))
        return Variances(sd, factor, self.sigma[rows], None if self.b is None else self.b[rows])

    @property
    def correlation(self) -> tuple[Array, ...]:
        """Correlation matrices, shape (N, q, q), by random block."""
        return tuple(L @ np.swapaxes(L, 1, 2) for L in self.factor)


@dataclass(frozen=True, eq=False)
class Collapsed:
    """The collapsed posterior density as a function of unconstrained coordinates.

    Coordinates are b, in units of its likely spread, where it is not integrated out; block by block log sd and artanh
    of the partial correlations; log sigma, unless standard errors are known.

    Attributes
    ----------
    design : Design
    priors : mapping of str to Prior
        Resolved.
    data, few : Moments
        As they are, and condensed.
    integrated : bool
        Whether b is integrated out.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.prior_defaults import resolve_priors
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> density = Collapsed.of(design, resolve_priors(design, {}))
    >>> density.dimension, density.integrated
    (2, True)
    """

    design: Design
    priors: Mapping[str, Prior]
    data: Moments
    few: Moments
    integrated: bool

    @classmethod
    def of(cls, design: Design, priors: Mapping[str, Prior], data: Moments | None = None) -> Collapsed:
        """Condense a gaussian design; `data` are its moments, where they are at hand."""
        check_gaussian(design, "The collapsed model")
        whole = moments(design) if data is None else data
        names = [coefficient_name(term) for term in design.fixed_terms]
        integrated = all(priors[name].kind in INTEGRABLE for name in names)
        return cls(design, priors, whole, condensed(whole), integrated)

    @property
    def dimension(self) -> int:
        """How many coordinates there are."""
        q = np.array([len(block.terms) for block in self.design.blocks])
        own = int((q * (q + 1) // 2).sum()) + (not self.design.known_se)
        return own if self.integrated else own + self.data.p

    @property
    def units(self) -> tuple[list[float], float]:
        """Rough sizes of every SD, block by block, and of sigma, to start from: of half the response's spread."""
        size = max((self.data.yty / self.data.n) ** 0.5, 1e-300) / 2
        found: dict[int, list[float]] = {}
        for f in self.data.factors:
            of_data = np.linalg.solve(f.to_data.T, np.linalg.solve(f.to_data.T, f.A.sum(axis=-1)).T)
            columns = np.sqrt(np.maximum(np.diag(of_data), 1e-300) / f.sizes.sum())
            found |= {place: (size / columns[here]).tolist() for here, place in zip(f.blocks, f.places, strict=True)}
        return [s for place in sorted(found) for s in found[place]], 1.0 if self.design.known_se else size

    @property
    def start(self) -> Array:
        """Coordinates of a point that no data are far from, shape (dimension,)."""
        sds, sigma = self.units
        x, term = [] if self.integrated else [0.0] * self.data.p, 0
        for block in self.design.blocks:
            for name in block.terms:
                x.append(coordinate(self.priors[f"sd({block.group}, {name})"], sds[term]))
                term += 1
            x += [0.0] * (len(block.terms) * (len(block.terms) - 1) // 2)
        if not self.design.known_se:
            x.append(coordinate(self.priors["sigma"], sigma))
        return np.array(x)

    # --- the density ----------------------------------------------------------------------------------

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Log posterior density of the coordinates, up to `constant`, and its gradient, shape (dimension,)."""
        if len(self.few.factors) > 1:
            return self._of_several(x)
        from workbench.sampling import kernel

        of = kernel.of_variances if self.integrated else kernel.log_density_with_b
        value, slope = of(x, *self._arguments)
        return float(value), slope

    @cached_property
    def constant(self) -> float:
        """What a call lacks of the log of p(y, parameters), by the coordinates; flat priors have density one."""
        total = 0.5 * self.data.log_weights - 0.5 * self.data.n * LOG_2PI
        for name, prior in self.priors.items():
            total += lkj_constant(prior, self._terms(name)) if name.startswith("cor(") else log_constant(prior)
        if self.integrated:
            return total + 0.5 * self.data.p * LOG_2PI
        return total + float(np.log(np.diag(np.linalg.qr(self.scale_of_b[1])[1]) ** 2).sum() / 2)

    def _terms(self, name: str) -> int:
        return next(len(block.terms) for block in self.design.blocks if f"cor({block.group})" == name)

    @cached_property
    def _arguments(self) -> tuple[Any, ...]:
        """What the kernel takes beside x."""
        A, B, counts, whole, rows = self.sums
        of_columns = np.array(np.linalg.inv(self.few.factors[0].to_data), order="C")
        if self.integrated:
            b, no_slope = np.empty(self.data.p), np.empty(0)
            return (*self._of_variances, A, B, counts, whole, rows, float(self.data.n), of_columns, b, no_slope, True)
        kinds, values = coded([self.priors[coefficient_name(term)] for term in self.design.fixed_terms])
        to_b = np.array(np.linalg.inv(self.data.shift.to_data), order="C")
        return (
            *self._of_variances, A, B, counts, whole, float(self.data.n), of_columns, *self.scale_of_b, to_b,
            np.array(self.data.shift.origin), kinds, values,
        )  # fmt: skip

    @cached_property
    def sums(self) -> tuple[Array, Array, Array, Array, Array]:
        """Of one grouping factor, condensed: A (J, q, q), B (J, q, p + 1), counts (J,), [X y]'[X y], the prior's rows.

        Arrays of their own, which can be written to: compiled code is made anew for those that cannot.
        """
        (f,), d = self.few.factors, self.few
        A, B = (np.array(np.moveaxis(part, -1, 0), order="C") for part in (f.A, f.B))
        A, B, counts = _merged(A, B, np.ones(len(A)) if f.counts is None else np.array(f.counts))
        whole = np.block([[d.XtX, d.Xty[:, None]], [d.Xty[None], np.array([[d.yty]])]])
        return A, B, counts, whole, self._prior_rows

    @cached_property
    def _of_variances(self) -> tuple[Any, ...]:
        """Sizes of the blocks, the priors of SDs and sigma, those of correlations, and whether sigma is known."""
        blocks = self.design.blocks
        listed = [self.priors[f"sd({block.group}, {term})"] for block in blocks for term in block.terms]
        listed += [] if self.design.known_se else [self.priors["sigma"]]
        kinds, values = coded(listed)
        etas = [self.priors[f"cor({b.group})"].values[0] if len(b.terms) > 1 else 1.0 for b in blocks]
        return np.array([len(b.terms) for b in blocks]), kinds, values, np.array(etas), self.design.known_se

    @cached_property
    def _prior_rows(self) -> Array:
        """What the normal priors of b add to [X y]'[X y], over sigma^2."""
        mean, precision = self.normal_of_b
        T, away = self.data.shift.to_data, mean - self.data.shift.origin
        border = np.column_stack([T, away])
        return np.array(border.T @ (precision[:, None] * border), order="C")

    @cached_property
    def normal_of_b(self) -> tuple[Array, Array]:
        """Means and precisions of the priors of b, shape (p,); zero for flat ones, and for those not integrated."""
        found = [self.priors[coefficient_name(term)] for term in self.design.fixed_terms]
        pairs = [(p.values[0], p.values[1] ** -2) if p.kind == "Normal" else (0.0, 0.0) for p in found]
        mean, precision = np.reshape(np.array(pairs, dtype=float), (-1, 2)).T
        return mean, precision

    @cached_property
    def scale_of_b(self) -> tuple[Array, Array]:
        """Where b is likely to be, (p,), and a root of its covariance, (p, p), at the start; of the data's columns."""
        sds, sigma = self.units
        ends = np.cumsum([len(block.terms) for block in self.design.blocks])
        roots = [np.diag(sds[end - len(b.terms) : end]) for b, end in zip(self.design.blocks, ends, strict=True)]
        given = conditional(self.few, relative_factors(self.few, roots, sigma))
        T = self.data.shift.to_data
        root = T @ np.linalg.cholesky(given.b_cov) * sigma if self.data.p else np.zeros((0, 0))
        return T @ given.b + self.data.shift.origin, np.array(root, order="C")

    @property
    def close_walls(self) -> list[str]:
        """Population coefficients whose uniform prior ends near where b is likely to be, or leaves it out."""
        if self.integrated:
            return []
        centre, spread = self.scale_of_b
        reach = WALL * np.sqrt((spread**2).sum(axis=1))
        found = []
        for k, term in enumerate(self.design.fixed_terms):
            prior = self.priors[coefficient_name(term)]
            if prior.kind == "Uniform" and not (
                prior.values[0] < centre[k] - reach[k] and centre[k] + reach[k] < prior.values[1]
            ):
                found.append(coefficient_name(term))
        return found

    def _of_several(self, x: Array) -> tuple[float, Array]:
        """The density of a design with several factors: coordinates and priors by the kernel, the rest in arrays."""
        from workbench.sampling import kernel

        p = 0 if self.integrated else self.data.p
        z, rest = x[:p], np.ascontiguousarray(x[p:])
        sizes, *_ = self._of_variances
        s, ds, L, sigma, dsigma, total, slope = kernel.unpack(rest, *self._of_variances)
        ends = np.cumsum(sizes)
        roots = [s[end - q : end, None] * L[k, :q, :q] for k, (q, end) in enumerate(zip(sizes, ends, strict=True))]
        centre, spread = self.scale_of_b
        value, by_roots, by_sigma, by_b = self.log_likelihood(roots, sigma, None if not p else centre + spread @ z)
        by_root = np.zeros_like(L)
        for k, (q, own) in enumerate(zip(sizes, by_roots, strict=True)):
            by_root[k, :q, :q] = own
        kernel.pull_back(rest, sizes, s, ds, L, by_root, slope)
        if not self.design.known_se:
            slope[-1] += by_sigma * dsigma
        own_priors, by_z = self._priors_of_b(z) if p else (0.0, np.empty(0))
        return total + own_priors + value, np.concatenate([by_z + spread.T @ by_b if p else by_z, slope])

    def log_likelihood(
        self, roots: Sequence[Array], sigma: float, b: Array | None = None
    ) -> tuple[float, list[Array], float, Array]:
        """log p(y | roots, sigma, b), up to a constant, and its slopes.

        Parameters
        ----------
        roots : sequence of array, shape (q, q)
            Lower triangular roots of the covariances, by random block of the design.
        sigma : float
        b : array, shape (p,), or None
            Of the data's own columns; None where it is integrated out with its prior.

        Returns
        -------
        value : float
        by_roots : list of array, shape (q, q)
        by_sigma : float
        by_b : array, shape (p,) or (0,)
        """
        n, p, factors = self.data.n, self.data.p, relative_factors(self.few, roots, sigma)
        by_b = np.empty(0)
        if b is None:
            mean, precision = self.normal_of_b
            data, nu = self.few.with_prior(mean, sigma**2 * precision), n - p
            given = conditional(data, factors)
            r2, log_dets = given.r2, given.log_det_L + given.log_det_RX
            rows, e = self._prior_rows, np.append(-given.b, 1)
            added = sigma**2 * float((given.b_cov * rows[:p, :p]).sum()) + float(e @ rows @ e)
            slopes = criterion_gradient(data, factors, replace(given, r2=nu * sigma**2), True).by_factor
        else:
            nu, added = n, 0.0
            given = conditional(self.few, factors)
            centred = self.to_centred(b[None])[0]
            off = np.linalg.solve(given.b_cov, centred - given.b)
            r2, log_dets = given.r2 + float((centred - given.b) @ off), given.log_det_L
            by_b = -np.linalg.solve(self.data.shift.to_data.T, off) / sigma**2
            slopes = criterion_gradient(self.few, factors, replace(given, b=centred, r2=n * sigma**2), False).by_factor
        by_roots: dict[int, Array] = {}
        through = 0.0
        for f, by_Lambda, Lambda in zip(self.few.factors, slopes, factors, strict=True):
            through += float((by_Lambda * Lambda).sum())
            own = -0.5 * np.linalg.solve(f.to_data.T, by_Lambda) / sigma
            by_roots |= {place: np.tril(own[here, here]) for here, place in zip(f.blocks, f.places, strict=True)}
        by_log_sigma = 2 * nu + 2 * added - 2 * r2 / sigma**2 - through
        value = -0.5 * (2 * nu * log(sigma) + log_dets + r2 / sigma**2)
        return value, [by_roots[k] for k in range(len(by_roots))], -0.5 * by_log_sigma / sigma, by_b

    def _priors_of_b(self, z: Array) -> tuple[float, Array]:
        from workbench.sampling import kernel

        centre, spread = self.scale_of_b
        kinds, values = coded([self.priors[coefficient_name(term)] for term in self.design.fixed_terms])
        at = centre + spread @ z
        pairs = [kernel.prior(kind, v, x) for kind, v, x in zip(kinds, values, at, strict=True)]
        outside = (kinds == kernel.UNIFORM) & ((at < values[:, 0]) | (at > values[:, 1]))
        total = -inf if outside.any() else sum(value for value, _ in pairs)
        return total, spread.T @ np.array([slope for _, slope in pairs])

    # --- what draws of the coordinates say ------------------------------------------------------------

    def variances(self, x: Array) -> Variances:
        """The standard deviations, correlations, sigma and b at coordinates of shape (N, dimension)."""
        from workbench.sampling import kernel

        p = 0 if self.integrated else self.data.p
        sizes, *_ = self._of_variances
        N, widest = len(x), int(sizes.max())
        s, L, sigma = np.empty((N, int(sizes.sum()))), np.empty((N, len(sizes), widest, widest)), np.empty(N)
        for i in range(N):
            s[i], _, L[i], sigma[i], *_ = kernel.unpack(np.ascontiguousarray(x[i, p:]), *self._of_variances)
        ends = np.cumsum(sizes)
        centre, spread = self.scale_of_b
        return Variances(
            sd=tuple(s[:, end - q : end] for q, end in zip(sizes, ends, strict=True)),
            factor=tuple(L[:, k, :q, :q] for k, q in enumerate(sizes)),
            sigma=sigma,
            b=None if self.integrated else centre + x[:, :p] @ spread.T,
        )

    def relative(self, at: Variances, i: int) -> Array:
        """The relative covariance of the i-th draw, of the columns of the only factor, shape (q, q)."""
        roots = [sd[i][:, None] * L[i] for sd, L in zip(at.sd, at.factor, strict=True)]
        (Lambda,) = relative_factors(self.few, roots, float(at.sigma[i]))
        return np.asarray(Lambda @ Lambda.T)

    def to_data(self, b: Array) -> Array:
        """Coefficients of the data's own columns, of those of the centred ones, shape (N, p)."""
        return np.asarray(b @ self.data.shift.to_data.T + self.data.shift.origin)

    def to_centred(self, b: Array) -> Array:
        """The other way, shape (N, p)."""
        return np.linalg.solve(self.data.shift.to_data, (b - self.data.shift.origin).T).T if self.data.p else b


def _merged(A: Array, B: Array, counts: Array) -> tuple[Array, Array, Array]:
    """Levels with the same A_j as q (p + 1) at the most, whose B_j have the same sums of products.

    The density takes from the B_j sums over levels of B_j'G B_j alone, where G depends on A_j; any rows with the same
    sum of vec(B_j) vec(B_j)' will do, such as those of a triangular factor.
    """
    J, q, width = B.shape
    keys = A.reshape(J, -1)
    _, place, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    most = q * width
    order = np.argsort(place, kind="stable")
    few = np.isin(place, np.flatnonzero(sizes <= most))
    kept_A, kept_B, kept_counts = [A[few]], [B[few]], [counts[few]]
    ends = np.cumsum(sizes)
    for k in np.flatnonzero(sizes > most):
        rows = order[ends[k] - sizes[k] : ends[k]]
        triangle = np.linalg.qr(B[rows].reshape(len(rows), most), mode="r")
        kept_A.append(np.repeat(A[rows[:1]], most, axis=0))
        kept_B.append(triangle.reshape(most, q, width))
        kept_counts.append(np.append(counts[rows].sum(), np.zeros(most - 1)))
    return np.concatenate(kept_A), np.concatenate(kept_B), np.concatenate(kept_counts)

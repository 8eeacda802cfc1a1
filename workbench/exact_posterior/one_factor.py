"""One grouping factor with one varying term, given tau and sigma: everything is normal, and known in closed form.

    y | b, u ~ N(X b + z u_j, sigma^2 W^-1),     u_j ~ N(0, tau^2),     b ~ N(m, P^-1)

With rho = tau^2 / sigma^2, A_j = z_j'W z_j, B_j = z_j'W [X y] and f_j = 1 / (1 + rho A_j), the share of a group's own
deviation that shrinking takes away (:mod:`workbench.likelihood` has the same for any number of terms),

    M    = within + sum_j f_j B_j B_j' / A_j + sigma^2 (P's rows),     within = [X y]'W [X y] - sum_j B_j B_j' / A_j

bordered by the response. Of M, log|M_XX| and the Schur complement r^2 of its corner give

    log p(y | tau, sigma) = -(n - p) log sigma - (sum_j log(1 + rho A_j) + log|M_XX| + r^2 / sigma^2) / 2 + constant

and b | y ~ N(M_XX^-1 M_Xy, sigma^2 M_XX^-1). A flat prior of b has P = 0. Nothing here subtracts large numbers where
tau is large: what is within groups is taken out first, and the rest fades as f_j does. The prior of b enters as further
rows (Lindley & Smith 1972, doi:10.1111/j.2517-6161.1972.tb00885.x).

Any number of the form x'b + z u_j is then normal too; :class:`Lines` holds many of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, check_gaussian
from workbench.errors import DesignError, PriorError
from workbench.likelihood import LOG_2PI
from workbench.moments import Moments, moments
from workbench.priors import Prior, coefficient_name

Array = NDArray[np.float64]

ROUNDING = 1e-12
"""A share of a sum of squares that is rounding: a column has no such part within groups."""
FEW = 300
"""So many different A_j are summed one by one; more through a polynomial."""
AT_ONCE = 1 << 20
"""Entries of the arrays of nodes by groups that are held at once."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Sums over groups of functions of A_j, as functions of rho; groups with the same A_j are one.

    Attributes
    ----------
    A, counts : array, shape (U,)
    products : array, shape (U, e)
        Sums of B_j B_j' / A_j, upper triangles.
    """

    A: Array
    counts: Array
    products: Array

    @classmethod
    def of(cls, A: Array, products: Array) -> Spread:
        """Gather groups, shapes (J,) and (J, e), by their A_j."""
        unique, place, counts = np.unique(A, return_inverse=True, return_counts=True)
        sums = [np.bincount(place, weights=column, minlength=len(unique)) for column in products.T]
        return cls(unique, counts.astype(float), np.column_stack(sums))

    def at(self, rho: Array) -> tuple[Array, Array]:
        """Sum of log(1 + rho A_j), shape (N,), and of f_j B_j B_j' / A_j, shape (N, e)."""
        if len(self.A) <= FEW:
            return self._summed(1.0 + np.multiply.outer(rho, self.A))
        return self._interpolated(rho)

    def _summed(self, more: Array) -> tuple[Array, Array]:
        return np.log(more) @ self.counts, (1 / more) @ self.products

    @cached_property
    def _polynomials(self) -> tuple[float, Array]:
        """Chebyshev coefficients, shape (K, 1 + e), of both sums in t = a rho / (1 + a rho), from -1 to 1 for [0, 1].

        1 + rho A = (1 - t + t A / a) / (1 - t), so that what is left after powers of 1 - t is smooth up to t = 1.
        """
        from scipy.fft import dct

        a = float(np.exp(np.log(self.A[self.A > 0]).mean()))
        K = 64
        while True:
            t = (1 + np.cos(np.pi * (np.arange(K) + 0.5) / K)) / 2
            pieces = np.array_split(t, max(1, K * len(self.A) // AT_ONCE))
            values = [
                self._summed(np.add.outer(1 - piece, np.zeros(1)) + np.multiply.outer(piece, self.A / a))
                for piece in pieces
            ]
            c = dct(np.concatenate([np.column_stack(pair) for pair in values]), axis=0) / K
            c[0] /= 2
            last, scale = np.abs(c[-4:]).max(axis=0), np.abs(c).max(axis=0)
            if (last <= 1e-15 * scale).all() or K >= 2048:
                return a, c
            K *= 2

    def _interpolated(self, rho: Array) -> tuple[Array, Array]:
        a, c = self._polynomials
        rest = 1 / (1 + a * rho)  # 1 - t
        values = np.cos(np.multiply.outer(np.arccos(1 - 2 * rest), np.arange(len(c)))) @ c
        return values[:, 0] - self.counts.sum() * np.log(rest), values[:, 1:] * rest[:, None]


@dataclass(frozen=True, eq=False)
class Given:
    """b given tau and sigma at N nodes: its mean, shape (p, N), and a root of its covariance, (p, p, N)."""

    rho: Array
    tau2: Array
    b: Array
    root: Array


@dataclass(frozen=True, eq=False)
class OneFactor:
    """What the data and the priors of b say, given tau and sigma.

    Attributes
    ----------
    data : Moments
    known_se : bool
        sigma is 1.
    A, B : array, shape (J,), (J, p + 1)
    within : array, shape (p + 1, p + 1)
        Of [X y], what is left within groups.
    prior : array, shape (p + 1, p + 1)
        The rows of the prior of b, to be multiplied by sigma^2.
    flat : int
        How many population coefficients have flat priors.
    log_constant : float
        What the log density lacks where all priors of b are normal.
    """

    data: Moments
    A: Array
    B: Array
    within: Array
    prior: Array
    flat: int
    log_constant: float
    spread: Spread

    @classmethod
    def of(cls, design: Design, priors: Mapping[str, Prior]) -> OneFactor:
        """Condense a design.

        Raises
        ------
        DesignError
            Several grouping factors or varying terms.
        PriorError
            A population coefficient with a prior that is neither normal nor flat.
        """
        _refuse(design)
        data = _with_own_column(moments(design))
        f, p = data.factors[0], data.p
        A, B = f.A[0, 0], np.ascontiguousarray(f.B[0].T)
        upper = _upper(p + 1)
        inverse = np.divide(1.0, A, out=np.zeros_like(A), where=A > 0)
        products = B[:, upper[0]] * B[:, upper[1]] * inverse[:, None]
        whole = np.block([[data.XtX, data.Xty[:, None]], [data.Xty[None], np.array([[data.yty]])]])
        within = whole - _full(products.sum(axis=0), p + 1)
        none = np.diag(within) <= ROUNDING * np.diag(whole)
        within[none], within[:, none] = 0.0, 0.0
        rows, flat, log_constant = _prior_rows(design, priors, data)
        constant = log_constant + 0.5 * data.log_weights - 0.5 * data.n * LOG_2PI + 0.5 * p * LOG_2PI
        return cls(data, A, B, within, rows, flat, constant, Spread.of(A, products))

    @property
    def p(self) -> int:
        """Population coefficients."""
        return self.data.p

    def _bordered(self, tau: Array, sigma: Array) -> tuple[Array, Array]:
        """Sum of log(1 + rho A_j), (N,), and M, (p + 1, p + 1, N)."""
        log_det, entries = self.spread.at((tau / sigma) ** 2)
        M = _full(entries.T, self.p + 1)
        M += self.within[:, :, None]
        if self.flat < self.p:
            M += self.prior[:, :, None] * sigma**2
        return log_det, M

    def log_likelihood(self, tau: Array, sigma: Array) -> Array:
        """log p(y | tau, sigma), b and u integrated out, less a constant; shapes (N,)."""
        most = max(1, AT_ONCE // max(1, min(len(self.spread.A), FEW)))
        if len(tau) > most:
            parts = [np.arange(len(tau))[k : k + most] for k in range(0, len(tau), most)]
            return np.concatenate([self.log_likelihood(tau[part], sigma[part]) for part in parts])
        log_det, M = self._bordered(tau, sigma)
        p = self.p
        for k in range(p):
            log_det = log_det + np.log(M[k, k])
            for i in range(k + 1, p + 1):
                share = M[k, i] / M[k, k]
                M[i, i:] -= share * M[k, i:]
        return np.asarray(-(self.data.n - p) * np.log(sigma) - 0.5 * (log_det + M[p, p] / sigma**2))

    def given(self, tau: Array, sigma: Array) -> Given:
        """b given tau and sigma, both of shape (N,)."""
        _, M = self._bordered(tau, sigma)
        p, N = self.p, len(tau)
        inverse = np.zeros((p, p, N))  # of the unit lower triangle L in M_XX = L D L'
        for k in range(p):
            inverse[k, k] = 1.0
        y = M[:p, p].copy()
        for k in range(p):
            for i in range(k + 1, p):
                share = M[k, i] / M[k, k]
                M[i, i:p] -= share * M[k, i:p]
                inverse[i, : k + 1] -= share * inverse[k, : k + 1]
        pivots = M[np.arange(p), np.arange(p)]
        root = (inverse / np.sqrt(pivots)[:, None]).swapaxes(0, 1)  # M_XX^-1 = root root'
        b = np.einsum("ikn,jkn,jn->in", root, root, y)
        return Given((tau / sigma) ** 2, tau**2, b, root * sigma)

    def lines(self, x: Array, groups: NDArray[np.intp] | None, z: Array, constant: Array) -> Lines:
        """x'b + z u_j + constant; x of the centred columns, shape (m, p), z and constant (m,), groups (m,) or None.

        A group of -1 is one that the data do not know: its effect has the distribution of all.
        """
        if groups is None:
            none = np.zeros(len(x))
            return Lines(x, np.zeros_like(x), none, none, none, constant)
        A, B = (np.where(groups >= 0, part[groups].T, 0.0).T for part in (self.A, self.B))
        return Lines(x, A[:, None] * x - z[:, None] * B[:, :-1], A, z * B[:, -1], z**2, constant)


@dataclass(frozen=True, eq=False)
class Lines:
    """Numbers of the form x'b + z u_j + constant, m of them: normal given tau and sigma.

    With h = x - z rho f_j B_jX, which is f_j (x + rho e) with e = A_j x - z B_jX, and exactly so for an intercept,

        mean = h'b + z rho f_j B_jy + constant,     variance = z^2 tau^2 f_j + |root' h|^2
    """

    x: Array
    e: Array
    A: Array
    y: Array
    z2: Array
    constant: Array

    def __len__(self) -> int:
        return len(self.A)

    def at(self, which: slice | NDArray[np.intp]) -> Lines:
        """Some of them."""
        return Lines(self.x[which], self.e[which], self.A[which], self.y[which], self.z2[which], self.constant[which])

    def given(self, nodes: Given) -> tuple[Array, Array]:
        """Means and standard deviations at every node, shapes (m, N)."""
        f = 1 / (1 + np.multiply.outer(self.A, nodes.rho))
        plain = not self.x.any()  # effects: no population value in them
        mean = nodes.rho * (self.e @ nodes.b + self.y[:, None])
        variance = np.zeros_like(mean)
        for k in range(nodes.root.shape[1]):
            reach = nodes.rho * (self.e @ nodes.root[:, k])
            variance += (reach if plain else reach + self.x @ nodes.root[:, k]) ** 2
        if not plain:
            mean += self.x @ nodes.b
        mean *= f
        mean += self.constant[:, None]
        variance *= f
        variance += np.multiply.outer(self.z2, nodes.tau2)
        variance *= f
        return mean, np.sqrt(variance, out=variance)


def _refuse(design: Design) -> None:
    check_gaussian(design, "exact")
    if len(design.groups) > 1:
        raise DesignError(
            f"This model has {len(design.groups)} grouping factors ({', '.join(design.groups)}), but exact integrates "
            "over one. Keep one of them, or use hierarchical, which samples."
        )
    terms = [term for block in design.blocks for term in block.terms]
    if len(terms) > 1:
        raise DesignError(
            f"{len(terms)} terms vary by {design.blocks[0].group} ({', '.join(terms)}), but exact integrates over the "
            "spread of one. Let one of them vary, or use hierarchical, which samples."
        )


def _with_own_column(data: Moments) -> Moments:
    """The same moments with the fixed column of the varying term uncentred: that is z itself.

    Of z nothing is left within groups, which must be exactly nothing: where only centred columns stand in X, z is a
    combination of two of them, and rounding would leave a little of it, of either sign.
    """
    f = data.factors[0]
    k, shift = f.fixed[0], data.shift
    if k is None:
        return data
    P = np.eye(data.p)
    P[:, k] = np.linalg.solve(shift.to_data, P[:, k])  # X_centred P has the data's own column k
    return replace(
        data,
        factors=(f.having(ZtX=f.ZtX @ P),),
        XtX=P.T @ data.XtX @ P,
        Xty=P.T @ data.Xty,
        shift=replace(shift, to_data=shift.to_data @ P),
    )


def _prior_rows(design: Design, priors: Mapping[str, Prior], data: Moments) -> tuple[Array, int, float]:
    """The rows that normal priors of b add, of the centred columns; how many are flat; the log of their constants."""
    p = data.p
    mean, precision = np.zeros(p), np.zeros(p)
    for k, term in enumerate(design.fixed_terms):
        name = coefficient_name(term)
        prior = priors[name]
        if prior.kind not in ("Normal", "Flat"):
            raise PriorError(
                f"The prior of {name} is {prior}, but exact takes Normal(mean, sd) or Flat() there: others cannot be "
                "integrated in closed form. Use hierarchical, which samples, or a normal prior."
            )
        if prior.kind == "Normal":
            mean[k], precision[k] = prior.values[0], prior.values[1] ** -2
    T, away = data.shift.to_data, mean - data.shift.origin
    border = np.column_stack([T, away])
    rows = border.T @ (precision[:, None] * border)
    flat = int((precision == 0).sum())
    log_constant = 0.5 * float(np.log(precision[precision > 0]).sum()) - 0.5 * (p - flat) * LOG_2PI
    return read_only(rows), flat, log_constant


_upper = cache(np.triu_indices)


def _full(upper: Array, size: int) -> Array:
    """Symmetric matrices, shape (size, size, ...), of their upper triangles, (e, ...)."""
    full = np.empty((size, size, *upper.shape[1:]))
    rows, columns = _upper(size)
    full[rows, columns] = full[columns, rows] = upper
    return full

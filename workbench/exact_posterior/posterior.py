"""The posterior of a gaussian model with one grouping factor and one varying term, by quadrature.

    y | b, u, sigma ~ N(X b + z u_j + offset, sigma^2 W^-1),     u_j ~ N(0, tau^2)
    b ~ normal or flat,     tau, sigma ~ any prior of a standard deviation

the model of :mod:`workbench.sampling.explicit`. b and u are integrated in closed form
(:mod:`~workbench.exact_posterior.one_factor`); what is left is a density of (tau, sigma), of tau alone where standard
errors are known, which is integrated over panels in

    x = asinh(tau / c)    (tau near 0, log tau far out; log tau under a Gamma prior),     log sigma

(:mod:`~workbench.exact_posterior.quadrature`). Every coefficient and effect is a mixture of normals over the nodes
(:mod:`~workbench.exact_posterior.normal_mixtures`): its mean and SD are sums, its quantiles roots. Gelman, Carlin,
Stern & Rubin (1995, *Bayesian Data Analysis*, section 5.4) do the same on a grid, for the eight schools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.exact_posterior import normal_mixtures
from workbench.exact_posterior.deviations import HELD, Axis, Deviation, axes_of
from workbench.exact_posterior.gauss_rules import gauss, jacobi, rule_of
from workbench.exact_posterior.normal_mixtures import Mixture
from workbench.exact_posterior.one_factor import Given, Lines, OneFactor
from workbench.exact_posterior.quadrature import Panels, Resolved, inverse, resolve
from workbench.priors import Prior, coefficient_name

Array = NDArray[np.float64]

TOLERANCE = 1e-10
"""Of the marginal densities of tau and sigma; of the condensed rule, in standard deviations and probabilities."""
MOST_NODES = 1 << 19
FINE, GRADE, GRADES = 14, 6, 4
"""Nodes per panel of tau for distributions of coefficients; the factor by which panels shrink towards 0; how often."""
ORDERS = (3, 4, 6, 8, 12, 16, 24)
NEXT_ORDER = 1e-8
"""A rule for sigma given tau suffices when the one before differs by no more; it is off by about the square of that."""
STAGES = {3: 6, 8: 12, 16: 24}
"""Orders before which recurrences are made, and up to which."""
NOTHING = 1e-13
"""Nodes with a smaller share are left out."""
SMALL = 50_000
"""Up to so many mixture components, all nodes are kept; more are condensed, if a smaller rule gives the same."""
CONDENSED = ((3, 2), (4, 3), (6, 3), (8, 4), (12, 6), (20, 8), (32, 12))
"""Orders of the condensed rules that are tried, in tau and sigma."""
LINES_AT_ONCE = 1 << 16
CHUNK = 4096
"""Draws at a time."""


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes of (tau, sigma) with their probabilities, shape (N,), and what b is there."""

    tau: Array
    sigma: Array
    weights: Array
    given: Given


@dataclass(frozen=True, eq=False)
class Probe:
    """Where rules are compared: units, shape (m,), and points, shape (m, 3)."""

    unit: Array
    points: Array


@dataclass(frozen=True, eq=False)
class Summary:
    """Means, SDs and quantiles (low, median, high) of m numbers, shapes (m,), (m,), (m, 3)."""

    mean: Array
    sd: Array
    quantiles: Array


@dataclass(frozen=True, eq=False)
class ExactPosterior:
    """The posterior, resolved: every parameter's marginal density, distribution function and quantiles.

    Attributes
    ----------
    design : Design
    model : OneFactor
    axes : pair of Axis
        tau, sigma.
    resolved : Resolved
        The density on the nodes, in the coordinates of the axes.
    log_evidence : float or None
        Log of the density of the data, where all priors are proper.
    loose : array, shape (r, p)
        The directions of b (centred columns) that only the groups' spread could tell, and which have its tail.
    """

    design: Design
    model: OneFactor
    axes: tuple[Axis, Axis]
    resolved: Resolved
    log_evidence: float | None
    loose: Array

    @classmethod
    def of(cls, design: Design, priors: Mapping[str, Prior], tolerance: float = TOLERANCE) -> ExactPosterior:
        """Integrate.

        Parameters
        ----------
        design : Design
            Gaussian, one grouping factor, one varying term.
        priors : mapping of str to Prior
            Resolved (:func:`workbench.prior_defaults.resolve_priors`); of population coefficients normal or flat.
        tolerance : float
            Of the marginal densities of tau and sigma, the share of the whole that is left unresolved.

        Raises
        ------
        DesignError, PriorError
            Another design or prior; a response without variance within groups; a posterior that is improper.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> from workbench.prior_defaults import resolve_priors
        >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
        >>> posterior = ExactPosterior.of(design, resolve_priors(design, {}))
        >>> tau = posterior.parameter("sd(g, (Intercept))")
        >>> tau.quantile(np.array([0.025, 0.5, 0.975])).round(4).tolist()
        [0.4673, 2.3366, 6.297]
        """
        model = OneFactor.of(design, priors)
        axes, loose = axes_of(design, model, priors)

        def log_density(x: Array, y: Array) -> Array:
            return _log_density(model, axes, x, y)

        def reach(x: Array, y: Array) -> Array:
            return axes[0].reach(x)[:, None] + axes[1].reach(y)

        resolved = resolve(log_density, reach, (axes[0].limits, axes[1].limits), tolerance, MOST_NODES)
        proper = model.flat == 0 and all(axis is HELD or axis.prior.kind != "Flat" for axis in axes)
        log_evidence = resolved.log_total + model.log_constant if proper else None
        return cls(design, model, axes, resolved, log_evidence, loose)

    # --- marginals ------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, by the names of their priors: population coefficients, sigma, sd(group, term)."""
        block = self.design.blocks[0]
        names = [coefficient_name(term) for term in self.design.fixed_terms]
        names += [] if self.design.known_se else ["sigma"]
        return (*names, f"sd({block.group}, {block.terms[0]})")

    def parameter(self, name: str) -> Mixture | Deviation:
        """The marginal posterior of a parameter: ``.density(x)``, ``.cdf(x)``, ``.quantile(p)``.

        Raises
        ------
        OptionError
            No parameter of that name.
        """
        if name not in self.names:
            raise OptionError(f"There is no parameter {name!r} in this posterior. {nearest(name, self.names)}")
        place = self.names.index(name)
        if place < self.model.p:
            return self._mixture(self.population.at(slice(place, place + 1)))
        return self.deviation(1 if name == "sigma" else 0)

    def deviation(self, which: int) -> Deviation:
        """The marginal posterior of tau (0) or sigma (1)."""
        return Deviation(self.axes[which], self.resolved.curve(which))

    def coefficient(self, level: str) -> Mixture:
        """The marginal posterior of a group's coefficient."""
        return self._mixture(self.groups(self._level(level), whole=True))

    def effect(self, level: str) -> Mixture:
        """The marginal posterior of a group's effect."""
        return self._mixture(self.groups(self._level(level), whole=False))

    def _level(self, level: str) -> NDArray[np.intp]:
        levels = list(self.design.blocks[0].levels)
        if level not in levels:
            raise OptionError(f"{self.design.blocks[0].group} has no level {level!r}. {nearest(str(level), levels)}")
        return np.array([levels.index(level)])

    def _mixture(self, line: Lines) -> Mixture:
        means, sds = line.given(self.rule.given)
        return Mixture(self.rule.weights, means[0], sds[0])

    # --- what is normal given the variances -----------------------------------------------------------

    @cached_property
    def population(self) -> Lines:
        """The population coefficients."""
        shift = self.model.data.shift
        return self.model.lines(shift.to_data, None, np.zeros(self.model.p), shift.origin)

    def groups(self, which: NDArray[np.intp] | None = None, whole: bool = True) -> Lines:
        """The groups' coefficients, or (not `whole`) effects; all, or some."""
        which = np.arange(len(self.model.A)) if which is None else which
        m, shift, column = len(which), self.model.data.shift, self.design.blocks[0].fixed[0]
        x, constant = np.zeros((m, self.model.p)), np.zeros(m)
        if whole and column is not None:
            x += shift.to_data[column]
            constant += shift.origin[column]
        return self.model.lines(x, which, np.ones(m), constant)

    def rows(self, X: Array, groups: NDArray[np.intp] | None, z: Array, offset: Array) -> Lines:
        """Means of rows, x'b + z u_j + offset; X of the data's own columns, (m, p); a group of -1 is a new one."""
        shift = self.model.data.shift
        return self.model.lines(X @ shift.to_data, groups, z, X @ shift.origin + offset)

    def draw(self, count: int, seed: int) -> dict[str, Array]:
        """Independent draws of ``tau`` and ``sigma``, (N,), ``b``, (N, p), and ``effect``, (N, J).

        tau and sigma come from their distribution functions, b and u from their normal distributions given them.
        """
        rng = np.random.default_rng(seed)
        second, model = self.resolved.second, self.model
        x = self.deviation(0).curve.quantile(rng.random(count))
        tau, sigma = self.axes[0].value(x), np.ones(count)
        if not second.held:
            u = rng.random(count)
            for begin in range(0, count, CHUNK):
                here = slice(begin, begin + CHUNK)
                density = self._given_tau(x[here])[1] / second.weights
                sigma[here] = self.axes[1].value(inverse(second, density, u[here]))
        given = model.given(tau, sigma)
        b = given.b + np.einsum("ikn,kn->in", given.root, rng.standard_normal((model.p, count)))
        shrunken = given.rho[:, None] / (1 + np.multiply.outer(given.rho, model.A))
        u = shrunken * (model.B[:, -1] - b.T @ model.B[:, :-1].T)
        u += np.sqrt(shrunken) * sigma[:, None] * rng.standard_normal(shrunken.shape)
        shift = model.data.shift
        return {"tau": tau, "sigma": sigma, "b": b.T @ shift.to_data.T + shift.origin, "effect": u}

    @cached_property
    def rule(self) -> Rule:
        """Nodes for what is normal given (tau, sigma): of tau over graded panels, of sigma the Gauss rule given tau.

        The distribution of an effect has no derivative in tau at 0 (it is a step there), so that the panels shrink
        towards 0; in sigma it is smooth, and the rule takes the first order that agrees with the one before.
        """
        panels = self.resolved.first
        if panels.edges[0] == 0.0 and not self.axes[0].logarithmic:
            ends = panels.edges[1] * float(GRADE) ** np.arange(-GRADES, 0)
            panels = Panels(np.concatenate([[0.0], ends, panels.edges[1:]]), FINE)
        else:
            panels = Panels(panels.edges, FINE).split(np.full(len(panels.edges) - 1, 1 + self.axes[0].logarithmic))
        x = panels.nodes
        log_p, v = self._given_tau(x)
        mass = np.exp(log_p - log_p.max()) * panels.weights
        far = mass * np.exp(np.minimum(self.axes[0].reach(x), 300.0))
        kept = (mass > NOTHING * mass.sum()) | (far > NOTHING * far.sum())
        x, mass, v = x[kept], mass[kept], v[kept]
        if self.resolved.second.held:
            return self._rule(self.axes[0].value(x), np.ones(len(x)), mass)
        sample, before, probe = self._sample(), None, None
        felt = v.max(axis=0) > NOTHING
        y_nodes, v = self.resolved.second.nodes[felt], v[:, felt]
        for order in ORDERS:
            if order in STAGES:
                matrices = jacobi(y_nodes, v, STAGES[order])
            y, w = rule_of(matrices[:, :order, :order])
            tau = np.repeat(self.axes[0].value(x), order)
            rule = self._rule(tau, self.axes[1].value(y.ravel()), (mass[:, None] * w).ravel())
            now, probe = _figures(sample, rule, probe)
            if before is not None and np.abs(now - before).max() < NEXT_ORDER:
                break
            before = now
        return rule

    def _given_tau(self, x: Array) -> tuple[Array, Array]:
        """Log density of tau's coordinate, (K,), less a constant, and what sigma's nodes hold given it, (K, M)."""
        y = self.resolved.second
        log_p = self._log_density(x, y.nodes)
        top = log_p.max(axis=1)
        p = np.exp(log_p - top[:, None]) * y.weights
        whole = p.sum(axis=1)
        return top + np.log(whole), p / whole[:, None]

    def _rule(self, tau: Array, sigma: Array, weights: Array) -> Rule:
        return Rule(tau, sigma, weights / weights.sum(), self.model.given(tau, sigma))

    def condensed(self, orders: tuple[int, int]) -> Rule:
        """The Gauss rule of tau's marginal distribution, and at each of its nodes that of sigma given tau."""
        first, second = self.resolved.first, self.resolved.second
        x, w = gauss(first.nodes, self.resolved.mass.sum(axis=1)[None], orders[0])
        if second.held:
            return self._rule(self.axes[0].value(x[0]), np.ones(len(x[0])), w[0])
        y, v = gauss(second.nodes, self._given_tau(x[0])[1], orders[1])
        tau = np.repeat(self.axes[0].value(x[0]), y.shape[1])
        return self._rule(tau, self.axes[1].value(y.ravel()), (w[0][:, None] * v).ravel())

    def rule_for(self, count: int) -> Rule:
        """The rule for `count` numbers: if these are many, the smallest that gives the most different ones as well."""
        if count * len(self.rule.weights) > SMALL:
            sample = self._sample()
            true, probe = _figures(sample, self.rule)
            for orders in CONDENSED:
                rule = self.condensed(orders)
                if np.abs(_figures(sample, rule, probe)[0] - true).max() < TOLERANCE:
                    return rule
        return self.rule

    def _sample(self) -> list[Lines]:
        """The population coefficients and the coefficients and effects of the most different groups."""
        A, y = self.model.A, self.model.B[:, -1]
        own = np.divide(y, A, out=np.zeros_like(y), where=A > 0)
        which = np.unique([f(v) for v in (A, own) for f in (np.argmin, np.argmax)])
        return [self.population, self.groups(which, whole=True), self.groups(which, whole=False)]

    def _log_density(self, x: Array, y: Array) -> Array:
        """Log posterior density of the coordinates of tau and sigma, shapes (K,), (M,) -> (K, M), less a constant."""
        return _log_density(self.model, self.axes, x, y)

    def summary(self, lines: Lines, rule: Rule, level: float) -> Summary:
        """Means, SDs and equal-tailed quantiles of many numbers, some at a time."""
        tail = (1 - level) / 2
        mean, sd, quantiles = np.empty(len(lines)), np.empty(len(lines)), np.empty((len(lines), 3))
        step = max(1, LINES_AT_ONCE // len(rule.weights))
        for begin in range(0, len(lines), step):
            here = slice(begin, begin + step)
            means, sds = lines.at(here).given(rule.given)
            mean[here], sd[here] = normal_mixtures.moments(rule.weights, means, sds)
            quantiles[here] = normal_mixtures.quantiles((tail, 0.5, 1 - tail), rule.weights, means, sds)
        return self._with_infinite(lines, Summary(mean, sd, quantiles))

    def _with_infinite(self, lines: Lines, found: Summary) -> Summary:
        """Mark the moments that do not exist: of what hangs on directions of b that have the tail of tau."""
        if self.axes[0].power == 2 or not len(self.loose):
            return found
        # as tau grows, h -> e / A, or x where there is no group
        h = np.where(lines.z2[:, None] > 0, lines.e / np.maximum(lines.A, 1e-300)[:, None], lines.x)
        size = np.abs(self.loose).max(axis=0) * np.abs(h)
        hangs = np.abs(h @ self.loose.T).max(axis=1) > 1e-9 * size.max()
        mean = np.where(hangs & (self.axes[0].power == 0), np.nan, found.mean)
        return replace(found, mean=mean, sd=np.where(hangs, inf, found.sd))


def _log_density(model: OneFactor, axes: tuple[Axis, Axis], x: Array, y: Array) -> Array:
    tau, sigma = np.broadcast_arrays(axes[0].value(x)[:, None], axes[1].value(y))
    value = model.log_likelihood(tau.ravel(), sigma.ravel()).reshape(tau.shape)
    value += axes[0].log_density(x)[:, None]
    return value if axes[1] is HELD else value + axes[1].log_density(y)


def _figures(sample: list[Lines], rule: Rule, at: Probe | None = None) -> tuple[Array, Probe]:
    """What rules are compared by: means, SDs and distribution functions of some numbers; and where these were taken."""
    means, sds = (np.concatenate(part) for part in zip(*(lines.given(rule.given) for lines in sample), strict=True))
    mean, sd = normal_mixtures.moments(rule.weights, means, sds)
    if at is None:
        at = Probe(sd, mean[:, None] + sd[:, None] * np.array([-2.0, 0.0, 2.0]))
    below = normal_mixtures.cdf(at.points, rule.weights, means, sds)
    return np.concatenate([mean / at.unit, sd / at.unit, below.ravel()]), at

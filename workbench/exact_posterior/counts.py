"""The posterior of counts and shares with one intercept varying by one grouping factor, by quadrature.

    g(E y_i | b, u) = b + u_j + offset_i,     y binomial or Poisson,     u_j ~ N(0, tau^2),     b, tau ~ any priors

Every group's effect is integrated by a rule of its own at every (b, tau)
(:mod:`~workbench.exact_posterior.group_integrals`); the density of (b, tau) that is left is resolved on panels
(:mod:`~workbench.exact_posterior.surface`). Marginal posteriors of groups are mixtures of bells over tau
(:mod:`~workbench.exact_posterior.group_shapes`). Naylor & Smith (1982, doi:10.2307/2347995) integrate posteriors on
grids of Gauss-Hermite nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import DesignError, OptionError, nearest
from workbench.exact_posterior.deviations import Axis, Deviation
from workbench.exact_posterior.group_draws import draw_effects
from workbench.exact_posterior.group_likelihoods import GroupLikelihoods
from workbench.exact_posterior.group_shapes import GivenTau
from workbench.exact_posterior.intercepts import Intercept, Tails, axis_of, tails_of
from workbench.exact_posterior.posterior import FINE, GRADE, GRADES, NOTHING, Summary
from workbench.exact_posterior.quadrature import Panels, Resolved, inverse
from workbench.exact_posterior.shapes import Marginal, Shapes
from workbench.exact_posterior.surface import Surface
from workbench.priors import Prior, coefficient_name

Array = NDArray[np.float64]

TOLERANCE = 1e-8
"""Of the density of (b, tau)."""
OF_GROUPS = 10.0
"""The tolerance of groups' distribution functions, in units of that of (b, tau); in most cases they are far closer."""
AT_ONCE = 1 << 15
"""Groups times nodes of tau at a time."""
CHUNK = 4096
"""Draws at a time."""


@dataclass(frozen=True, eq=False)
class CountPosterior:
    """The posterior, resolved: every parameter's marginal density, distribution function and quantiles.

    Attributes
    ----------
    design : Design
    known : GroupLikelihoods
    intercept : Intercept
    tails : Tails
    surface : Surface
    resolved : Resolved
        The density of (tau, b) on finer nodes.
    log_evidence : float or None
        Log of the probability of the data, where all priors are proper.
    """

    design: Design
    known: GroupLikelihoods
    axis: Axis
    intercept: Intercept
    tails: Tails
    surface: Surface
    resolved: Resolved
    log_evidence: float | None
    tolerance: float

    @classmethod
    def of(cls, design: Design, priors: Mapping[str, Prior], tolerance: float = TOLERANCE) -> CountPosterior:
        """Integrate.

        Parameters
        ----------
        design : Design
            Binomial or Poisson; one grouping factor whose intercept varies, and no fixed effect but an intercept.
        priors : mapping of str to Prior
            Of ``(Intercept)`` and ``sd(group, (Intercept))``.
        tolerance : float
            Of the density of (tau, b), the share of the whole that is left unresolved.

        Raises
        ------
        DesignError, PriorError
            Another design; a posterior that is improper.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> table = {"hits": [18, 17, 16, 7, 10], "outs": [27, 28, 29, 38, 35], "player": list("abcde")}
        >>> design = build_design("cbind(hits, outs) ~ 1 + (1 | player)", table, "binomial")
        >>> priors = {"(Intercept)": Prior("Normal", (0, 2)), "sd(player, (Intercept))": Prior("HalfNormal", (1,))}
        >>> posterior = CountPosterior.of(design, priors)
        >>> posterior.parameter("sd(player, (Intercept))").quantile(np.array([0.025, 0.5, 0.975])).round(4).tolist()
        [0.0505, 0.475, 1.3217]
        """
        _refuse(design)
        known, block = GroupLikelihoods.of(design), design.blocks[0]
        of_tau = priors[f"sd({block.group}, {block.terms[0]})"]
        side = 0 if known.inside.any() or 0 < known.high.mean() < 1 else 1 if known.high.all() else -1
        intercept = Intercept(priors["(Intercept)"] if design.fixed_terms else None, side)
        tails = tails_of(design, known, intercept, of_tau)
        axis = axis_of(known, of_tau, tails.tau)
        surface = Surface.of(known, axis, intercept, tolerance)
        resolved = surface.resolved(tolerance)
        proper = not intercept.flat and of_tau.kind != "Flat"
        log_evidence = resolved.log_total + _constant(design, known) if proper else None
        return cls(design, known, axis, surface.intercept, tails, surface, resolved, log_evidence, tolerance)

    # --- marginals ------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, by the names of their priors."""
        block = self.design.blocks[0]
        return (*map(coefficient_name, self.design.fixed_terms), f"sd({block.group}, {block.terms[0]})")

    def parameter(self, name: str) -> Marginal | Deviation:
        """The marginal posterior of a parameter: ``.density(x)``, ``.cdf(x)``, ``.quantile(p)``.

        Raises
        ------
        OptionError
            No parameter of that name.
        """
        if name not in self.names:
            raise OptionError(f"There is no parameter {name!r} in this posterior. {nearest(name, self.names)}")
        if name == self.names[-1]:
            return self.deviation
        i = self.intercept
        return Marginal(self.intercept_shapes, i.coordinate, i.value, i.slope)

    @cached_property
    def deviation(self) -> Deviation:
        """The marginal posterior of tau."""
        return Deviation(self.axis, self.resolved.curve(0))

    def coefficient(self, level: str) -> Marginal:
        """The marginal posterior of a group's coefficient, on the scale of the linear predictor."""
        return self._group(level, whole=True)

    def effect(self, level: str) -> Marginal:
        """The marginal posterior of a group's effect, on the scale of the linear predictor."""
        return self._group(level, whole=False)

    def _group(self, level: str, whole: bool) -> Marginal:
        levels = list(self.design.blocks[0].levels)
        if level not in levels:
            raise OptionError(f"{self.design.blocks[0].group} has no level {level!r}. {nearest(str(level), levels)}")
        return Marginal(self.group_shapes(np.array([levels.index(level)]), whole), _same, _same, np.ones_like)

    def group_shapes(self, which: NDArray[np.intp], whole: bool = True) -> Shapes:
        """The marginal posteriors of coefficients (or effects) of levels, by their places."""
        whole = whole and not self.intercept.held
        return self._given.shapes(self.known.place[which], whole, self._rules[whole], OF_GROUPS * self.tolerance)[0]

    @property
    def rule(self) -> tuple[Array, Array]:
        """Nodes of the coordinate of tau, with their probabilities, shape (K,) each."""
        return self._rules[1]

    @cached_property
    def _given(self) -> GivenTau:
        return GivenTau.of(self.surface)

    @cached_property
    def _rules(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Nodes and weights of tau for effects and for coefficients."""
        return self._rule(near_zero=True), self._rule(near_zero=False)

    def _rule(self, near_zero: bool) -> tuple[Array, Array]:
        """Nodes and weights of tau, closer towards 0, where distributions of effects have no derivatives."""
        edges = self.surface.first.edges
        if near_zero and edges[0] == 0.0 and not self.axis.logarithmic:
            edges = np.concatenate([[0.0], edges[1] * float(GRADE) ** np.arange(-GRADES, 0), edges[1:]])
        panels = Panels(edges, FINE)
        mass = self.surface.fine(panels)[0].sum(axis=1)
        kept = mass > NOTHING
        return panels.nodes[kept], mass[kept] / mass[kept].sum()

    @cached_property
    def intercept_shapes(self) -> Shapes:
        """The marginal posterior of the intercept's coordinate, a bell for every node of `rule`."""
        x, weights = self._rules[1]
        centre, width = self.surface.strip.at(x)
        begin, end = np.arcsinh(self.surface.second.edges[[0, -1]] / 2)
        panel = Panels(np.array([begin, end]), 48 * (len(self.surface.second.edges) - 1))
        t = 2 * np.sinh(panel.nodes)
        log_p = self.surface.given(x, t) + np.log(np.hypot(2.0, t))
        ends = np.full((1, len(x)), begin), np.full((1, len(x)), end)
        return Shapes.of(weights, (centre[None], 2 * width[None]), ends, log_p[None])

    # --- summaries ------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> Array:
        """Of the surface's nodes, shape (K, M): the posterior mean of a polynomial is the sum of its values there."""
        r = self.resolved
        return self.surface.back(r.first.nodes, r.second.nodes, r.mass)

    def population(self, level: float) -> Summary:
        """The intercept, where there is one."""
        if self.intercept.held:
            return Summary(np.zeros(0), np.zeros(0), np.zeros((0, 3)))
        r = self.resolved
        b = self.surface.intercepts(r.first.nodes, r.second.nodes)
        mean = float((r.mass * b).sum())
        sd = float(np.sqrt((r.mass * (b - mean) ** 2).sum()))
        moments = self.moments_of_b
        quantiles = self.intercept.value(self.intercept_shapes.quantiles(_probabilities(level)))
        return Summary(np.array([mean if moments else np.nan]), np.array([sd if moments == 2 else inf]), quantiles)

    def groups(self, whole: bool, level: float) -> tuple[Summary, float]:
        """All groups' coefficients (`whole`) or effects, and what is left unresolved of their distributions."""
        whole = whole and not self.intercept.held  # else both are the same
        s, w = self.surface, self.weights
        b = s.intercepts(s.first.nodes)
        U = len(self.known)
        mean, variance, quantiles, missed = np.empty(U), np.empty(U), np.empty((U, 3)), 0.0
        step = max(1, AT_ONCE // (len(self._rules[0][0]) + s.log_density.size))
        for begin in range(0, U, step):
            which = np.arange(begin, min(begin + step, U))
            means = s.mean[which] + (b if whole else 0.0)
            mean[which] = np.einsum("ukm,km->u", means, w)
            variance[which] = np.einsum("ukm,km->u", s.variance[which] + (means - mean[which][:, None, None]) ** 2, w)
            shapes, lost = self._given.shapes(which, whole, self._rules[whole], OF_GROUPS * self.tolerance)
            quantiles[which] = shapes.quantiles(_probabilities(level))
            missed = max(missed, lost)
        moments = self._moments(whole)
        mean, sd = np.where(moments > 0, mean, np.nan), np.where(moments == 2, np.sqrt(variance), inf)
        place = self.known.place
        return Summary(mean[place], sd[place], quantiles[place]), missed

    @property
    def moments_of_b(self) -> int:
        """How many of mean and variance the intercept has."""
        return 2 if self.intercept.held else Tails.moments(self.tails.b)

    def _moments(self, whole: bool) -> NDArray[np.intp]:
        """How many of mean and variance coefficients or effects have, shape (U,)."""
        of_tau = Tails.moments(self.tails.tau)
        of_b = self.moments_of_b
        if self.intercept.side and not whole:
            return np.full(len(self.known), of_tau)
        return np.where(self.known.inside, 2 if whole else of_b, min(of_tau, of_b))

    @property
    def fitted(self) -> Array:
        """Posterior means of the rows' mean responses, shape (n,)."""
        mean = np.einsum("tkm,km->t", self.surface.response, self.weights)[self.known.rows]
        if self.design.family == "poisson":
            mean = mean * np.exp(self.design.offset - self.known.shift[self.known.rows])
        return np.asarray(mean)

    def draw(self, count: int, seed: int) -> dict[str, Array]:
        """Independent draws of ``tau``, (N,), ``b``, (N, p), and ``effect``, (N, J).

        tau comes from its distribution function, b from its own given tau, effects by rejection given both.
        """
        rng = np.random.default_rng(seed)
        x = self.deviation.curve.quantile(rng.random(count))
        u, t = rng.random(count), np.zeros(count)
        second = self.resolved.second
        for begin in range(0, count if not second.held else 0, CHUNK):
            here = slice(begin, begin + CHUNK)
            log_p = self.surface.given(x[here], second.nodes)
            t[here] = inverse(second, np.exp(log_p - log_p.max(axis=1, keepdims=True)), u[here])
        centre, width = self.surface.strip.at(x)
        tau, b = self.axis.value(x), self.intercept.value(centre + width * t) * (not self.intercept.held)
        effect = draw_effects(self.known, b, tau, rng)
        return {"tau": tau, "b": b[:, None][:, : len(self.design.fixed_terms)], "effect": effect}


def _probabilities(level: float) -> Array:
    return np.array([(1 - level) / 2, 0.5, (1 + level) / 2])


def _same(x: Any) -> Any:
    return x


def _refuse(design: Design) -> None:
    """Refuse what is not one intercept by one factor."""
    groups = ", ".join(design.groups)
    if len(design.groups) > 1:
        raise DesignError(
            f"This model has {len(design.groups)} grouping factors ({groups}), but exact integrates over one. Keep one "
            "of them, or use hierarchical, which samples."
        )
    terms = [term for block in design.blocks for term in block.terms]
    if terms != ["(Intercept)"]:
        raise DesignError(
            f"{', '.join(terms)} varies by {groups}, but for {design.family} responses exact integrates over "
            f"intercepts only. Let (1 | {groups}) vary, or use hierarchical, which samples."
        )
    others = [term for term in design.fixed_terms if term != "(Intercept)"]
    if others:
        raise DesignError(
            f"This model has fixed effects ({', '.join(others)}), but for {design.family} responses exact integrates "
            f"over the intercept only. Write 1 + (1 | {groups}), or use hierarchical, which samples."
        )


def _constant(design: Design, known: GroupLikelihoods) -> float:
    """What the log likelihood lacks that does not depend on parameters."""
    from scipy.special import gammaln

    w, y = design.weights, design.y
    if design.family == "poisson":
        shifts = float((known.counts * known.successes * known.shift).sum())
        return float((w * (y * design.offset - gammaln(y + 1))).sum()) - shifts
    n = w if design.formula.cbind is None else design.trials
    k = n * y
    return float((w / n * (gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))).sum())

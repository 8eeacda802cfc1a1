"""A sampled fit without sampling: REML's numbers with the labels and diagnostics that draws bring, for suites that
must not wait for PyMC."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np

import workbench as wb
from workbench.comparison import Comparison
from workbench.estimates import Component, Estimates, Parameters


def posterior(e):
    """Estimates with intervals 1.2 times as long as the given ones' would be, labelled as draws are."""
    error, full = 1.2 * e.std_error, np.ones_like(e.estimate)
    low, high = e.estimate - 1.96 * error, e.estimate + 1.96 * error
    kinds = ("posterior mean", "posterior SD", "equal-tailed 95 %")
    return Estimates(e.estimate, error, low, high, *kinds, e.estimate, 1.001 * full, 2000 * full, 1900 * full)


def as_sampled(base, **diagnostics):
    """A fit with the name and labels of full Bayes."""
    effects = tuple(
        replace(part, effect=posterior(part.effect), coefficient=posterior(part.coefficient))
        for part in base.group_effects
    )
    sigma = np.array([base.sigma])
    return replace(
        base,
        estimator="hierarchical",
        group_effects=effects,
        population=posterior(base.population),
        parameters=Parameters(("sigma",), posterior(Estimates(sigma, sigma / 10, sigma, sigma, "", "", ""))),
        criterion=None,
        log_likelihood=None,
        diagnostics=MappingProxyType({"r_hat": 1.001, "ess_bulk": 2000.0, "divergences": 0} | diagnostics),
        priors=MappingProxyType({"sigma": "HalfStudentT(3, 5.12)"}),
    )


def with_posterior(comparison, **diagnostics):
    """The comparison with a fit named `hierarchical`, whose intervals are 1.2 times as long as REML's."""
    fit = as_sampled(comparison.fits["reml"], **diagnostics)
    return Comparison({**comparison.fits, "hierarchical": fit}, comparison.alone, comparison.truth, comparison.title)


def crossed(formula="y ~ 1 + (1 | a) + (1 | b)"):
    """A comparison of two grouping factors, without a fit that stands each level alone.

    Complete pooling; made-up effects under REML's name; and the same as draws.
    """
    rng = np.random.default_rng(2)
    a, b = np.repeat(np.arange(6), 24), np.tile(np.arange(8), 18)
    y = rng.normal(size=6)[a] + rng.normal(size=8)[b] + 0.5 * rng.normal(size=144)
    table = {"y": y, "a": a, "b": b, "x": rng.normal(size=144)}
    pooled = wb.fit(formula, table, "complete_pooling")

    def made_up(part):
        effect = rng.normal(size=part.effect.estimate.shape)
        error = np.full_like(effect, 0.3)
        centres = {"effect": effect, "coefficient": part.coefficient.estimate + effect}
        return replace(part, **{k: Estimates.wald(c, error, 0.95, "BLUP", "SE") for k, c in centres.items()})

    mixed = replace(
        pooled,
        estimator="reml",
        group_effects=tuple(made_up(part) for part in pooled.group_effects),
        components=tuple(Component(p.group, p.terms, np.eye(len(p.terms))) for p in pooled.group_effects),
    )
    return Comparison({"complete_pooling": pooled, "reml": mixed, "hierarchical": as_sampled(mixed)})

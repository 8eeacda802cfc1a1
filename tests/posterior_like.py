"""A sampled fit without sampling: REML's numbers with the labels and diagnostics that draws bring, for suites that
must not wait for PyMC."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from workbench.comparison import Comparison
from workbench.estimates import Estimates, Parameters


def with_posterior(comparison, **diagnostics):
    """The comparison with a fit named `hierarchical`, whose intervals are 1.2 times as long as REML's."""
    base = comparison.fits["reml"]

    def posterior(e):
        error, full = 1.2 * e.std_error, np.ones_like(e.estimate)
        low, high = e.estimate - 1.96 * error, e.estimate + 1.96 * error
        kinds = ("posterior mean", "posterior SD", "equal-tailed 0.95")
        return Estimates(e.estimate, error, low, high, *kinds, e.estimate, 1.001 * full, 2000 * full, 1900 * full)

    effects = tuple(
        replace(part, effect=posterior(part.effect), coefficient=posterior(part.coefficient))
        for part in base.group_effects
    )
    sigma = np.array([base.sigma])
    fit = replace(
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
    return Comparison({**comparison.fits, "hierarchical": fit}, comparison.alone, comparison.truth, comparison.title)

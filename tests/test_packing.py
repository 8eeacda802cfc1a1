"""Copies of designs, fits and comparisons. Rung: invariance (a copy says what the original says)."""

import copy
import pickle

import numpy as np
import pytest

import workbench as wb
from workbench.estimators import REGISTRY

SLOW = {"hierarchical"}
rng = np.random.default_rng(1)
CODES = np.repeat(np.arange(8), 5)
X = rng.normal(size=40)
TABLE = {"y": X + rng.normal(size=8)[CODES] + rng.normal(size=40), "x": X, "g": CODES}


def ways(value):
    return pickle.loads(pickle.dumps(value)), copy.deepcopy(value)


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - SLOW))
def test_a_copy_of_a_fit_says_the_same(name):
    means = name in {"james_stein", "spread_matching"}
    gaussian = "gaussian" in REGISTRY[name].families
    formula = "y ~ 1 + (1 | g)" if means or not gaussian else "y ~ x + (1 | g)"
    table = TABLE if gaussian else {**TABLE, "y": 1 * (TABLE["y"] > 0)}
    fit = wb.fit(formula, table, name, family="gaussian" if gaussian else "binomial")
    for other in ways(fit):
        assert other.to_dict() == fit.to_dict()
        assert other.coefficients.equals(fit.coefficients)
        np.testing.assert_array_equal(other.fitted, fit.fitted)


def test_a_copy_of_a_comparison_says_the_same():
    comparison = wb.compare("y ~ x + (1 | g)", TABLE, ["no_pooling", "reml", "fixed_prior"])
    for other in ways(comparison):
        assert other.estimates.equals(comparison.estimates)
        assert other.summary() == comparison.summary()
        with pytest.raises(TypeError):
            other.fits["reml"] = None


def test_a_copy_of_bayesglm_says_the_same():
    fit = wb.bayesglm("y ~ x", TABLE)
    for other in ways(fit):
        assert other.to_dict() == fit.to_dict()


@pytest.mark.slow
def test_a_copy_of_a_sampled_fit_keeps_its_draws():
    fit = wb.fit("y ~ x + (1 | g)", TABLE, "hierarchical", options={"draws": 60, "tune": 60, "chains": 2})
    for other in ways(fit):
        assert other.to_dict() == fit.to_dict()
        assert other.draws["posterior"].equals(fit.draws["posterior"])

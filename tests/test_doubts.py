"""What the likelihood does not know is said, and set to zero. Rung: invariance (the model without it is the same)."""

import numpy as np
import pytest
from corpus import design_of

from workbench.design import build_design
from workbench.estimators.reml import ml, reml


def table(seed=0, J=8, m=6):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), m)
    n = len(g)
    x, f = rng.normal(1.0, 1.0, n), rng.integers(0, 4, n)
    y = rng.normal(size=J)[g] * (1 + x) + rng.normal(size=4)[f] + rng.normal(size=n)
    sex = np.where(g < J // 2, "F", "M")
    return {"y": y, "x": x, "g": g, "f": f.astype(str), "zero": 0.0 * x, "one": 0.0 * x + 1, "sex": sex, "again": g + 3}


def doubted(fit):
    return [w for w in fit.warnings if w.startswith("Undetermined")]


@pytest.mark.parametrize(
    ("formula", "without", "named"),
    [
        ("y ~ f + x + (1 | g) + (1 | f)", "y ~ f + x + (1 | g)", "the spread of (Intercept) between the levels of f"),
        ("y ~ f + x + (1 | f) + (x | g)", "y ~ f + x + (x | g)", "the spread of (Intercept) between the levels of f"),
        ("y ~ f + x + (x | f) + (1 | g)", "y ~ f + x + (0 + x | f) + (1 | g)", "the spread of (Intercept) between"),
        ("y ~ x + (zero | g)", "y ~ x + (1 | g)", "the spread of zero between the levels of g"),
        ("y ~ x + (one | g)", "y ~ x + (1 | g)", "the spread of one between the levels of g"),
    ],
)
def test_a_spread_that_reml_does_not_see_changes_nothing_and_is_named(formula, without, named):
    fit, plain = reml(build_design(formula, table())), reml(build_design(without, table()))
    assert named in doubted(fit)[0]
    assert not doubted(plain)
    assert fit.converged
    assert fit.singular == plain.singular
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert fit.sigma == pytest.approx(plain.sigma, rel=1e-6)
    np.testing.assert_allclose(fit.population.estimate, plain.population.estimate, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(fit.population.std_error, plain.population.std_error, rtol=1e-5)


def test_where_nothing_is_left_to_search_reml_is_least_squares():
    data = table()
    fit = reml(build_design("y ~ f + x + (1 | f)", data))
    X = np.column_stack([np.ones(48), *(data["f"] == k for k in "123"), data["x"]])
    b, rss, *_ = np.linalg.lstsq(X, data["y"], rcond=None)
    assert len(doubted(fit)) == 1
    np.testing.assert_allclose(fit.population.estimate, b, rtol=1e-8)
    assert fit.sigma**2 == pytest.approx(rss[0] / (48 - 5), rel=1e-10)
    assert not fit.components[0].sd.any()


def test_ml_knows_that_the_spread_is_zero():
    fit = ml(build_design("y ~ f + x + (1 | g) + (1 | f)", table()))
    assert not doubted(fit)
    assert fit.singular


def test_two_names_of_one_factor_share_a_spread_that_only_their_sum_determines():
    fit, plain = (reml(build_design(f, table())) for f in ("y ~ x + (1 | g) + (1 | again)", "y ~ x + (1 | g)"))
    assert len(doubted(fit)) == 2
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    total = sum(part.covariance[0, 0] for part in fit.components)
    assert total == pytest.approx(plain.components[0].covariance[0, 0], rel=1e-5)


def test_a_correlation_of_columns_that_never_meet_is_doubted():
    fit = reml(build_design("y ~ sex + (0 + sex | g)", table()))
    apart = reml(build_design("y ~ sex + (0 + dummy | g) + (0 + other | g)", table() | indicators(table()["sex"])))
    assert "the correlation of sexF and sexM" in doubted(fit)[0]
    assert fit.criterion == pytest.approx(apart.criterion, abs=1e-7)
    assert not doubted(apart)


def indicators(sex):
    return {"dummy": (sex == "F").astype(float), "other": (sex == "M").astype(float)}


@pytest.mark.parametrize("case", ["sleepstudy--slope", "Dyestuff--ri", "Dyestuff2--ri", "Penicillin--crossed"])
def test_ordinary_models_are_not_doubted(case):
    for estimator in (reml, ml):
        assert not doubted(estimator(design_of(case)))

"""`complete_pooling` and `no_pooling`. Rungs: closed form, slow dense oracle, one method against another."""

from statistics import NormalDist

import numpy as np
import pytest
from corpus import design_of
from test_reml import random_design

from workbench import group_regressions as module
from workbench.design import build_design
from workbench.estimators import Settings
from workbench.estimators.complete_pooling import complete_pooling
from workbench.estimators.no_pooling import no_pooling
from workbench.least_squares import deviance, least_squares


def test_no_pooling_of_intercepts_is_the_group_means():
    design = design_of("twelve_groups--ri")
    fit = no_pooling(design)
    codes = design.blocks[0].codes
    means = np.array([design.y[codes == j].mean() for j in range(12)])
    np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate[:, 0], means, rtol=1e-12)
    within = sum(((design.y[codes == j] - means[j]) ** 2).sum() for j in range(12)) / 600
    assert fit.sigma**2 == pytest.approx(within, rel=1e-12)
    errors = np.sqrt(within / np.bincount(codes))
    np.testing.assert_allclose(fit.group_effects[0].coefficient.std_error[:, 0], errors, rtol=1e-12)
    assert fit.population.estimate[0] == pytest.approx(means.mean(), rel=1e-12)


def test_no_pooling_of_slopes_is_one_line_per_subject():
    design = design_of("sleepstudy--slope")
    fit = no_pooling(design)
    for j in range(18):
        rows = design.blocks[0].codes == j
        slope, intercept = np.polyfit(design.X[rows, 1], design.y[rows], 1)
        np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate[j], [intercept, slope], rtol=1e-9)


@pytest.mark.parametrize("blocks", ["(1 | g)", "(x | g)", "(x || g)", "(0 + x | g)"])
@pytest.mark.parametrize("seed", range(3))
def test_elimination_regression_and_least_squares_are_one(blocks, seed, monkeypatch):
    design = random_design(seed, blocks)
    by_regression = no_pooling(design)
    monkeypatch.setattr(module, "DENSE", 0)
    by_elimination = no_pooling(design)
    J, codes = len(design.blocks[0].levels), design.blocks[0].codes
    Z = np.hstack([b.Z for b in design.blocks])
    varying = {k for b in design.blocks for k in b.fixed}
    R = design.X[:, [k for k in range(design.X.shape[1]) if k not in varying]]
    D = np.hstack([(codes == j)[:, None] * Z for j in range(J)] + [R])
    root = np.sqrt(design.weights)
    coefficients, rss, *_ = np.linalg.lstsq(D * root[:, None], (design.y - design.offset) * root, rcond=None)
    expected = coefficients[: J * Z.shape[1]].reshape(J, -1)
    V = np.linalg.inv((D.T * design.weights) @ D) * rss[0] / (design.n - D.shape[1])
    for fit in (by_regression, by_elimination):
        found = np.hstack([part.coefficient.estimate for part in fit.group_effects])
        errors = np.hstack([part.coefficient.std_error for part in fit.group_effects])
        np.testing.assert_allclose(found, expected, atol=1e-8)
        np.testing.assert_allclose(errors.ravel(), np.sqrt(np.diag(V)[: J * Z.shape[1]]), rtol=1e-7)
        np.testing.assert_allclose(fit.fitted, D @ coefficients + design.offset, atol=1e-8)
        # the population value of a varying column is the mean of the groups'; its SE by the delta method
        A = np.zeros((design.X.shape[1], D.shape[1]))
        columns = [k for b in design.blocks for k in b.fixed]
        for a, k in enumerate(columns):
            A[k, a : J * Z.shape[1] : Z.shape[1]] = 1 / J
        for r, k in enumerate(k for k in range(design.X.shape[1]) if k not in varying):
            A[k, J * Z.shape[1] + r] = 1.0
        np.testing.assert_allclose(fit.population.estimate, A @ coefficients, atol=1e-8)
        np.testing.assert_allclose(fit.fixed_cov, A @ V @ A.T, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("dense", [module.DENSE, 0])
def test_groups_with_too_few_rows_are_missing_and_named(dense, monkeypatch):
    monkeypatch.setattr(module, "DENSE", dense)
    rng = np.random.default_rng(0)
    g = np.array([0] * 5 + [1] * 5 + [2] + [3] * 2 + [4] * 5)
    x = rng.normal(size=len(g))
    x[g == 3] = 1.0  # two rows, one distinct x
    y = rng.normal(size=len(g)) + x
    fit = no_pooling(build_design("y ~ x + (x | g)", {"y": y, "x": x, "g": g}))
    estimate = fit.group_effects[0].coefficient.estimate
    assert np.isnan(estimate[[2, 3]]).all()
    assert np.isfinite(estimate[[0, 1, 4]]).all()
    assert any("2 of 5 levels of g have too few distinct rows" in w and "(2, 3)" in w for w in fit.warnings)
    slope, intercept = np.polyfit(x[g == 4], y[g == 4], 1)
    np.testing.assert_allclose(estimate[4], [intercept, slope], rtol=1e-8)
    within = sum(np.polyfit(x[g == j], y[g == j], 1, full=True)[1][0] for j in (0, 1, 4)) / (15 - 6)
    assert fit.sigma**2 == pytest.approx(within, rel=1e-9)


@pytest.mark.parametrize("dense", [module.DENSE, 0])
def test_a_covariate_that_varies_only_where_no_line_can_be_drawn_has_no_estimate(dense, monkeypatch):
    monkeypatch.setattr(module, "DENSE", dense)
    rng = np.random.default_rng(2)
    g = np.array([0] * 5 + [1] * 5 + [2] * 3)
    x, z = rng.normal(size=13), np.zeros(13)
    x[g == 2], z[g == 2] = 1.0, [0.0, 1.0, 3.0]
    fit = no_pooling(build_design("y ~ x + z + (x | g)", {"y": rng.normal(size=13), "x": x, "z": z, "g": g}))
    assert np.isnan(fit.population.estimate[2])
    assert np.isfinite(fit.group_effects[0].coefficient.estimate[:2]).all()


def test_a_covariate_of_the_group_cannot_be_told_from_it():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(4), 5)
    table = {"y": rng.normal(size=20), "g": g, "size": g**2.0, "x": rng.normal(size=20)}
    fit = no_pooling(build_design("y ~ x + size + (1 | g)", table))
    assert np.isnan(fit.population.estimate[2])
    assert np.isfinite(fit.population.estimate[:2]).all()
    assert any("size cannot be told from the groups" in w for w in fit.warnings)
    means = [table["y"][g == j].mean() - fit.population.estimate[1] * table["x"][g == j].mean() for j in range(4)]
    np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate[:, 0], means, atol=1e-9)


def test_complete_pooling_is_one_regression():
    design = random_design(2, "(x | g)")
    fit = complete_pooling(design, Settings(), None, {})
    root = np.sqrt(design.weights)
    expected, rss, *_ = np.linalg.lstsq(design.X * root[:, None], (design.y - design.offset) * root, rcond=None)
    np.testing.assert_allclose(fit.population.estimate, expected, rtol=1e-9)
    assert fit.sigma**2 == pytest.approx(rss[0] / (design.n - 3), rel=1e-9)
    (part,) = fit.group_effects
    np.testing.assert_array_equal(
        part.coefficient.estimate, np.tile(fit.population.estimate[:2], (len(part.levels), 1))
    )
    assert (part.effect.estimate == 0).all()
    # -2 log likelihood by scipy at the ML variance
    from scipy.stats import norm

    sd = np.sqrt(rss[0] / design.n / design.weights)
    assert fit.log_likelihood == pytest.approx(norm.logpdf(design.y, fit.fitted, sd).sum(), rel=1e-10)


def test_a_response_that_is_explained_exactly_has_no_likelihood():
    table = {"y": [1.0, 0.0, 0.0, 0.0], "x": [1.0, 0.0, 0.0, 0.0], "g": list("aabb")}
    fit = complete_pooling(build_design("y ~ 0 + x + (1 | g)", table), Settings(), None, {})
    np.testing.assert_allclose(fit.population.estimate, 1.0, rtol=1e-15)
    assert fit.sigma == 0
    assert (fit.criterion, fit.log_likelihood, fit.aic) == (None, None, None)


def test_without_any_group_of_its_own_line_nothing_is_estimated():
    rng = np.random.default_rng(3)
    table = {"y": rng.normal(size=6), "x": [0.0, 0.0, 1.0, 1.0, 2.0, 2.0], "g": list("aabbcc"), "s": np.ones(6)}
    fit = no_pooling(build_design("y ~ x + (x | g)", table, se="s"))
    assert np.isnan(fit.population.estimate).all()
    assert np.isnan(fit.population.std_error).all()
    assert np.isnan(fit.group_effects[0].coefficient.estimate).all()
    assert any("3 of 3 levels of g" in warning for warning in fit.warnings)


def test_memory_follows_the_groups_that_are_estimated():
    """Twenty lines among 20,000 groups whose x does not vary: indicators of all would take 20 GB."""
    import tracemalloc

    J = 20_000
    g = np.repeat(np.arange(J), 3)
    rng = np.random.default_rng(4)
    x = rng.normal(size=J)[g]
    x[:60] = rng.normal(size=60)
    y = rng.normal(size=3 * J)
    design = build_design("y ~ x + (x | g)", {"y": y, "x": x, "g": g})
    tracemalloc.start()
    fit = no_pooling(design)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    found = fit.group_effects[0].coefficient.estimate
    assert np.isnan(found[20:]).all()
    for j in range(20):
        slope, intercept = np.polyfit(x[g == j], y[g == j], 1)
        np.testing.assert_allclose(found[j], [intercept, slope], rtol=1e-8)


def test_least_squares_keep_the_digits_of_columns_that_are_nearly_the_same():
    """Two columns apart by 1e-6: cross-products would leave four digits of the coefficients; a QR leaves ten."""
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=200), rng.uniform(0.5, 2, size=200)
    X = np.column_stack([np.ones(200), x, x + 1e-6 * rng.normal(size=200)])
    found = least_squares(X, X @ [1.0, 2.0, 3.0], w)
    np.testing.assert_allclose(found.coefficients, [1.0, 2.0, 3.0], rtol=1e-8)
    scale = np.array([1.0, 1e6, 1e-6])
    np.testing.assert_allclose(least_squares(X * scale, X @ [1.0, 2, 3], w).coefficients * scale, [1, 2, 3], rtol=1e-8)


def test_the_deviance_is_minus_twice_the_normal_log_density():
    rng = np.random.default_rng(6)
    e, w = rng.normal(size=30), rng.uniform(0.5, 2, size=30)
    rss = float(w @ e**2)
    for known, sigma in ((True, 1.0), (False, np.sqrt(rss / 30))):
        densities = [NormalDist(0, sigma / np.sqrt(v)).pdf(x) for x, v in zip(e, w, strict=True)]
        expected = -2 * np.log(densities).sum()
        assert deviance(rss, w, known) == pytest.approx(expected, rel=1e-12)

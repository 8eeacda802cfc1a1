"""The textbook REML. Rungs: closed form, numerical integration, the block core, R's figures."""

import json

import numpy as np
import pytest
from corpus import LMER, SEVERAL, conditional_sds, design_of, lmer_figures, ranef_matrix

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators.reml import ml, reml
from workbench.estimators.reml_textbook import Options, reml_textbook
from workbench.textbook import (
    MOST_ROWS,
    correlation_matrix,
    dense,
    log_determinant,
    marginal,
    profiled_ml,
    profiled_reml,
    relative_covariance,
    term_covariances,
)

CORE = {"REML": reml, "ML": ml}


def random_design(seed, blocks, known_se=False):
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(5), rng.integers(0, 5, 19)])
    n = len(g)
    h = np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)])
    x, z = rng.normal(1, 1, n), rng.normal(size=n)
    y = 2 + x + rng.normal(size=5)[g] + 0.6 * rng.normal(size=5)[g] * x + rng.normal(size=4)[h] + rng.normal(size=n)
    table = {"y": y, "x": x, "z": z, "g": g, "h": h, "w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n)}
    extra = {"se": "w"} if known_se else {"weights": "w"}
    return build_design(f"y ~ x + {blocks} + offset(o)", table, **extra)


# --- closed form --------------------------------------------------------------------------------------


def test_balanced_one_way_is_the_anova_identity():
    # By hand from the yields (six batches of five): sigma^2 = MSW, tau^2 = (MSB - MSW)/5. With B = MSW/MSB the part
    # that is shrunk away, the conditional variance is tau^2 B, and the mean's own error MSB/30 comes in times B^2.
    fit = reml_textbook(design_of("Dyestuff--ri"))
    tau2, sigma2 = 1764.05, 2451.25
    shrunk = sigma2 / (sigma2 + 5 * tau2)
    # the search ends where the slope is below 1e-6, which leaves theta, and all that follows, to about that
    assert fit.components[0].covariance[0, 0] == pytest.approx(tau2, rel=1e-6)
    assert fit.sigma**2 == pytest.approx(sigma2, rel=1e-6)
    assert fit.population.std_error[0] == pytest.approx(np.sqrt((sigma2 + 5 * tau2) / 30), rel=1e-6)
    (part,) = fit.group_effects
    np.testing.assert_allclose(part.effect.std_error, np.sqrt(tau2 * shrunk), rtol=1e-6)
    coefficient = tau2 * shrunk + shrunk**2 * (sigma2 + 5 * tau2) / 30
    np.testing.assert_allclose(part.coefficient.std_error, np.sqrt(coefficient), rtol=1e-6)


def test_no_spread_and_known_standard_errors_are_the_fixed_effect_meta_analysis():
    # Rubin (1981): the eight schools; weighted mean and its standard error by hand.
    y, se = np.array([28, 8, -3, 7, -1, 1, 18, 12.0]), np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    fit = reml_textbook(build_design("y ~ 1 + (1 | school)", {"y": y, "s": se, "school": list("ABCDEFGH")}, se="s"))
    weights = se**-2
    mean = weights @ y / weights.sum()
    assert fit.singular
    assert fit.components[0].covariance[0, 0] == 0.0
    assert fit.sigma == 1.0
    assert fit.df == 2
    assert fit.population.estimate[0] == pytest.approx(mean, rel=1e-10)
    assert fit.population.std_error[0] == pytest.approx(weights.sum() ** -0.5, rel=1e-10)
    by_hand = (weights * (y - mean) ** 2).sum() + np.log(2 * np.pi * se**2).sum()
    assert fit.criterion == pytest.approx(by_hand + np.log(weights.sum()) - np.log(2 * np.pi), rel=1e-12)


def test_partial_correlations_are_what_they_are_called():
    first, second, given_first = 0.5, -0.3, 0.8  # of terms 1 and 2, of 1 and 3, of 2 and 3 given 1
    R = correlation_matrix(np.array([first, second, given_first]), 3)
    assert R[1, 0] == pytest.approx(first)
    assert R[2, 0] == pytest.approx(second)
    partial = (R[2, 1] - first * second) / np.sqrt((1 - first**2) * (1 - second**2))
    assert partial == pytest.approx(given_first)


def test_theta_of_a_slope_model_is_two_spreads_and_their_correlation():
    model = dense(build_design("y ~ x + (x | g)", {"y": [1.0, 2, 4, 3, 5], "x": [0, 1, 2, 0, 1], "g": list("aabbb")}))
    s, t, rho = theta = np.array([0.7, 0.2, -0.4])
    block = [[s**2, rho * s * t], [rho * s * t, t**2]]
    np.testing.assert_allclose(term_covariances(model, theta)[0], block)
    # within a group 1[i = k] + s^2 + rho s t (x_i + x_k) + t^2 x_i x_k, between groups zero
    x, same = np.array([0, 1, 2, 0, 1.0]), np.equal.outer(np.array(list("aabbb")), np.array(list("aabbb")))
    V = np.eye(5) + same * (s**2 + rho * s * t * np.add.outer(x, x) + t**2 * np.outer(x, x))
    np.testing.assert_allclose(marginal(model, theta), V, atol=1e-14)


# --- numerical integration ----------------------------------------------------------------------------


def test_the_restricted_likelihood_integrates_b_out_and_the_likelihood_is_at_its_best():
    from scipy.integrate import quad
    from scipy.optimize import minimize_scalar

    y, se = np.array([2.0, 3.5, 1.0, 6.0, 5.0]), np.array([1.0, 0.5, 0.8, 1.2, 0.7])
    model = dense(build_design("y ~ 1 + (1 | g)", {"y": y, "s": se, "g": list("aabbc")}, se="s"))
    theta = np.array([1.3])
    V = marginal(model, theta)

    def deviance(b):
        e = y - b
        return float(e @ np.linalg.solve(V, e) + log_determinant(2 * np.pi * V))

    integral = quad(lambda b: np.exp(-deviance(b) / 2), -30, 30, points=[0.0, 3.0, 6.0], epsabs=0, epsrel=1e-11)[0]
    assert profiled_reml(model, theta) == pytest.approx(-2 * np.log(integral), abs=1e-8)
    assert profiled_ml(model, theta) == pytest.approx(minimize_scalar(deviance, (0, 5)).fun, abs=1e-10)


def test_sigma_is_profiled_out():
    from scipy.optimize import minimize_scalar

    model = dense(random_design(0, "(1 | g)"))
    theta, (n, p) = np.array([0.8]), model.X.shape
    V = marginal(model, theta)

    def at(log_sigma2, restricted):
        S = np.exp(log_sigma2) * V
        XSX = model.X.T @ np.linalg.solve(S, model.X)
        e = model.y - model.X @ np.linalg.solve(XSX, model.X.T @ np.linalg.solve(S, model.y))
        value = log_determinant(S) + e @ np.linalg.solve(S, e) + n * np.log(2 * np.pi)
        return value + (log_determinant(XSX) - p * np.log(2 * np.pi) if restricted else 0.0)

    for objective, restricted in ((profiled_reml, True), (profiled_ml, False)):
        best = minimize_scalar(at, (-2, 2), args=(restricted,), tol=1e-10).fun
        assert objective(model, theta) == pytest.approx(best, abs=1e-9)


# --- the block core -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CORE)
@pytest.mark.parametrize(
    ("blocks", "known_se"),
    [
        ("(1 | g)", False),
        ("(x | g)", False),
        ("(x || g)", False),
        ("(x | g)", True),
        ("(1 | g) + (1 | h)", False),
        ("(1 | g/h)", True),
        pytest.param("(x | g) + (0 + z | h)", False, marks=pytest.mark.slow),
        pytest.param("(x + z | g)", True, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_every_figure_is_the_block_cores(kind, blocks, known_se, seed):
    design = random_design(seed, blocks, known_se)
    fit, core = reml_textbook(design, options=Options(kind)), CORE[kind](design)
    assert fit.converged
    assert (fit.singular, fit.df) == (core.singular, core.df)
    # two minima of one function; both resolve it to 1e-11 of its size
    assert fit.criterion == pytest.approx(core.criterion, abs=1e-9)
    assert fit.criterion.name == core.criterion.name
    # and so the place to the square root of that, where its curvature is about 1; 1e-4 leaves room for flatter ones
    close = {"rtol": 1e-4, "atol": 1e-4}
    assert fit.sigma == pytest.approx(core.sigma, rel=1e-4)
    np.testing.assert_allclose(fit.population.estimate, core.population.estimate, **close)
    np.testing.assert_allclose(fit.fixed_cov, core.fixed_cov, **close)
    np.testing.assert_allclose(fit.fitted, core.fitted, **close)
    for part, other in zip(fit.components, core.components, strict=True):
        assert (part.group, part.terms) == (other.group, other.terms)
        np.testing.assert_allclose(part.covariance, other.covariance, **close)
    for part, other in zip(fit.group_effects, core.group_effects, strict=True):
        assert (part.group, part.levels, part.terms) == (other.group, other.levels, other.terms)
        for mine, theirs in ((part.effect, other.effect), (part.coefficient, other.coefficient)):
            assert (mine.point, mine.std_error_kind) == (theirs.point, theirs.std_error_kind)
            np.testing.assert_allclose(mine.estimate, theirs.estimate, **close)
            # variances, not their roots: a variance may be zero
            np.testing.assert_allclose(mine.std_error**2, theirs.std_error**2, **close)


def test_errors_of_coefficients_are_the_inverse_of_hendersons_equations():
    # Henderson (1975): the inverse of the mixed-model equations is the covariance of (b - estimate, u - prediction).
    design = random_design(8, "(x | g)")
    fit = reml_textbook(design)
    model, theta = dense(design), np.array(fit.diagnostics["theta"])
    M = np.hstack([model.X, model.Z])
    left = M.T @ (M / model.noise[:, None])
    left[2:, 2:] += np.linalg.inv(relative_covariance(model, theta))
    C = fit.sigma**2 * np.linalg.inv(left)
    for j in range(5):
        for k in range(2):
            pick = np.zeros(len(C))
            pick[k] = pick[2 + 2 * j + k] = 1.0
            assert fit.group_effects[0].coefficient.std_error[j, k] == pytest.approx(np.sqrt(pick @ C @ pick), rel=1e-7)


# --- R's figures --------------------------------------------------------------------------------------

QUICK = {("Dyestuff--ri", "REML"), ("Dyestuff2--ri", "ML"), ("Pastes--nested", "REML"), ("sleepstudy--ri", "ML")}
CASES = [
    pytest.param(case, kind, marks=() if (case, kind) in QUICK else pytest.mark.slow)
    for case in LMER | SEVERAL
    for kind in CORE
]


@pytest.mark.parametrize(("case", "kind"), CASES)
def test_lme4_figures(case, kind):
    figures, fit = lmer_figures(case, kind), reml_textbook(design_of(case), options=Options(kind))
    assert fit.converged
    assert fit.singular == figures["isSingular"]
    assert fit.criterion == pytest.approx(figures["criterion"], rel=1e-10)
    assert (fit.df, fit.aic) == pytest.approx((figures["df"], figures["AIC"]), rel=1e-10)
    # slopes by differences are good to about 1e-6, and theta to about that
    assert fit.sigma == pytest.approx(figures["sigma"], rel=1e-6)
    np.testing.assert_allclose(fit.population.estimate, list(figures["fixef"].values()), rtol=1e-6)
    np.testing.assert_allclose(fit.population.std_error, list(figures["se"].values()), rtol=1e-6)
    for group, part in figures["VarCorr"].items():
        name = group if group in fit.design.groups else group.removesuffix(".1")  # lme4 numbers a second block
        ours = next(c for c in fit.components if c.group == name and list(c.terms) == part["terms"])
        np.testing.assert_allclose(ours.sd, list(part["sd"].values()), rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(ours.correlation, part["correlation"], atol=1e-5)
    for group in fit.design.groups:
        values, levels = ranef_matrix(figures, group)
        parts = [part for part in fit.group_effects if part.group == group]
        rows = [parts[0].levels.index(level) for level in levels]
        ours = np.hstack([part.effect.estimate[rows] for part in parts])
        np.testing.assert_allclose(ours, values, atol=1e-6 * max(1.0, np.abs(values).max()))
        sds = np.hstack([part.effect.std_error[rows] for part in parts])
        np.testing.assert_allclose(sds, conditional_sds(figures, group)[: len(rows)], rtol=1e-5, atol=1e-9)


# --- in the house -------------------------------------------------------------------------------------


def test_it_stands_beside_the_others():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    both = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "reml_textbook"])
    assert both.agreement["max_difference"].max() < 1e-6
    document = json.loads(json.dumps(both.fits["reml_textbook"].to_dict(), allow_nan=False))
    # REML's 37/6 - 1/12 = 6.08333 and 0.5 by the ANOVA identity
    assert document["estimator"] == "reml_textbook"
    assert document["variance"][0]["sd"][0] ** 2 == pytest.approx(6.0833333, rel=1e-6)
    assert document["sigma"] ** 2 == pytest.approx(0.5, rel=1e-6)


def test_refusals_say_what_to_do():
    n = MOST_ROWS + 1
    rng = np.random.default_rng(0)
    with pytest.raises(DesignError, match=r"3,001 rows; it takes\s+up to 3,000. Use reml"):
        reml_textbook(build_design("y ~ 1 + (1 | g)", {"y": rng.normal(size=n), "g": np.arange(n) % 7}))
    with pytest.raises(OptionError, match="Did you mean 'REML'"):
        Options("reml")
    g = np.repeat(np.arange(4), 3)
    with pytest.raises(DesignError, match="explain y exactly"):
        reml_textbook(build_design("y ~ 1 + (1 | g)", {"y": np.array([5.0, -1, 3, 0])[g], "g": g}))

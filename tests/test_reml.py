"""REML and ML. Rungs: closed form, slow dense oracle, invariance, R's figures, recovery of simulated truth."""

import numpy as np
import pytest
from corpus import LARGE, LMER, SEVERAL, conditional_sds, design_of, lmer_figures, ranef_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.design import build_design
from workbench.errors import DesignError
from workbench.estimators import Settings
from workbench.estimators.reml import ml, reml
from workbench.likelihood import conditional, criterion, criterion_gradient
from workbench.moments import moments
from workbench.simulate import simulate_groups

ESTIMATORS = {"REML": reml, "ML": ml}
CASES = [(case, kind) for case in LMER | SEVERAL for kind in ESTIMATORS]
SLOW = [pytest.param(case, kind, marks=pytest.mark.slow) for case in LARGE for kind in ESTIMATORS]


# --- closed form --------------------------------------------------------------------------------------


def test_balanced_one_way_is_the_anova_identity():
    # sigma^2 = MSW and tau^2 = (MSB - MSW)/5 by hand from the yields: 1764.05 and 2451.25 exactly.
    fit = reml(design_of("Dyestuff--ri"))
    assert fit.components[0].covariance[0, 0] == pytest.approx(1764.05, rel=1e-10)
    assert fit.sigma**2 == pytest.approx(2451.25, rel=1e-10)


def test_known_standard_errors_at_zero_spread_are_the_fixed_effect_meta_analysis():
    # Rubin (1981): the eight schools; their weighted mean and its standard error, by hand.
    y = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
    se = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    fit = reml(build_design("y ~ 1 + (1 | school)", {"y": y, "s": se, "school": list("ABCDEFGH")}, se="s"))
    weights = se**-2
    assert fit.singular
    assert fit.components[0].covariance[0, 0] == 0.0
    assert fit.population.estimate[0] == pytest.approx(weights @ y / weights.sum(), rel=1e-12)
    assert fit.population.std_error[0] == pytest.approx(weights.sum() ** -0.5, rel=1e-12)
    assert fit.sigma == 1.0


# --- slow dense oracle --------------------------------------------------------------------------------


def dense_criterion(design, covariance, sigma2, restricted):
    """-2 log (restricted) likelihood from the n x n marginal covariance, nothing clever."""
    V = np.diag(sigma2 / design.weights)
    for block, S in zip(design.blocks, covariance, strict=True):
        same = block.codes[:, None] == block.codes[None, :]
        V = V + same * (block.Z @ S @ block.Z.T)
    inverse = np.linalg.inv(V)
    X, y = design.X, design.y - design.offset
    XVX = X.T @ inverse @ X
    b = np.linalg.solve(XVX, X.T @ inverse @ y)
    r = y - X @ b
    value = np.linalg.slogdet(V)[1] + r @ inverse @ r
    n, p = X.shape
    if restricted:
        return value + np.linalg.slogdet(XVX)[1] + (n - p) * np.log(2 * np.pi), b, inverse
    return value + n * np.log(2 * np.pi), b, inverse


def random_design(seed, blocks="(1 + x | g)", weights=True, known_se=False):
    rng = np.random.default_rng(seed)
    J = int(rng.integers(3, 7))
    g = np.concatenate([np.arange(J), rng.integers(0, J, 30)])
    n = len(g)
    h, k = rng.integers(0, 5, n), rng.integers(0, 3, n)
    x, z = rng.normal(3, 2, n), rng.normal(size=n)
    u = rng.normal(size=(J, 2)) @ np.array([[1.0, 0.2], [0.0, 0.4]])
    y = 2 + x - z + u[g, 0] + u[g, 1] * x + rng.normal(size=n)
    y = y + rng.normal(size=5)[h] + rng.normal(size=3)[k] * x
    table = {"y": y, "x": x, "z": z, "g": g, "h": h, "k": k, "w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n)}
    extra = {"se": "w"} if known_se else {"weights": "w" if weights else None}
    return build_design(f"y ~ x + z + {blocks} + offset(o)", table, **extra)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(
    ("blocks", "known_se"),
    [
        ("(1 | g)", False),
        ("(1 + x | g)", False),
        ("(x || g)", False),
        ("(1 | g)", True),
        ("(x | g)", True),
        ("(1 | g) + (1 | h)", False),
        ("(x | g) + (1 | h) + (0 + x | k)", False),
        ("(1 | k) + (x || g) + (1 | g:h)", False),
        ("(1 | g/k)", True),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_criterion_effects_and_conditional_sds_equal_the_dense_ones(kind, blocks, known_se, seed):
    design = random_design(seed, blocks, known_se=known_se)
    fit = ESTIMATORS[kind](design)
    covariance = [part.covariance for part in fit.components]
    value, b, inverse = dense_criterion(design, covariance, fit.sigma**2, kind == "REML")
    assert fit.criterion == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(fit.population.estimate, b, atol=1e-9)
    for part, block in zip(fit.group_effects, design.blocks, strict=True):
        S = covariance[fit.group_effects.index(part)]
        residual = design.y - design.offset - design.X @ b
        for j in range(len(block.levels)):
            CZ = (block.codes == j)[:, None] * block.Z @ S  # Cov(y, u_j)
            np.testing.assert_allclose(part.effect.estimate[j], CZ.T @ inverse @ residual, atol=1e-8)
            variance = np.diag(S - CZ.T @ inverse @ CZ)  # of u_j given y, other blocks not given
            if len(design.blocks) == 1 or len(design.groups) > 1:
                np.testing.assert_allclose(part.effect.std_error[j] ** 2, variance, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_coefficient_errors_equal_hendersons(seed):
    # The inverse of the mixed-model equations is the covariance of (b - estimate, u - prediction).
    design = random_design(seed)
    fit = reml(design)
    (block,), (part,), (S,) = design.blocks, fit.group_effects, [c.covariance for c in fit.components]
    J, q, p = len(block.levels), 2, design.X.shape[1]
    Z = np.zeros((design.n, J * q))
    for j in range(J):
        Z[:, j * q : (j + 1) * q] = (block.codes == j)[:, None] * block.Z
    W = np.hstack([design.X, Z]) * np.sqrt(design.weights / fit.sigma**2)[:, None]
    values, vectors = np.linalg.eigh(S)  # u = root s, s ~ N(0, I): S may be singular
    to_u = np.eye(p + J * q)
    to_u[p:, p:] = np.kron(np.eye(J), vectors * np.sqrt(np.clip(values, 0, None)))
    left = (W @ to_u).T @ (W @ to_u)
    left[p:, p:] += np.eye(J * q)
    C = to_u @ np.linalg.inv(left) @ to_u.T
    for j in range(J):
        for k in range(q):
            pick = np.zeros(p + J * q)
            pick[k] = pick[p + j * q + k] = 1.0
            assert part.coefficient.std_error[j, k] == pytest.approx(np.sqrt(pick @ C @ pick), rel=1e-7)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("known_se", [True, False])
@pytest.mark.parametrize("blocks", ["(x | g)", "(x | g) + (1 | h)", "(1 | g) + (x | h) + (0 + x || k)"])
def test_gradient_equals_differences_of_the_criterion(restricted, known_se, blocks):
    data = moments(random_design(4, blocks, known_se=known_se))
    rng = np.random.default_rng(1)
    factors = tuple(np.tril(rng.uniform(0.2, 1, (len(f.fixed), len(f.fixed)))) for f in data.factors)

    def value(changed):
        return criterion(data, conditional(data, changed), restricted)

    gradient = criterion_gradient(data, factors, conditional(data, factors), restricted).by_factor
    for f, factor in enumerate(factors):
        for a in range(len(factor)):
            for b in range(len(factor)):
                step = np.zeros_like(factor)
                step[a, b] = 1e-5
                up, down = (
                    tuple(x + s * step * (k == f) if k == f else x for k, x in enumerate(factors)) for s in (1, -1)
                )
                numeric = (value(up) - value(down)) / 2e-5
                assert gradient[f][a, b] == pytest.approx(numeric, abs=1e-6)


# --- R's figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "kind"), CASES + SLOW)
def test_lme4_figures(case, kind):
    # lme4's own optimum is polished to about 1e-9; 1e-7 of each quantity's scale leaves room for its rounding.
    figures, fit = lmer_figures(case, kind), ESTIMATORS[kind](design_of(case))
    assert fit.converged
    assert fit.singular == figures["isSingular"]
    assert fit.criterion <= figures["criterion"] + 1e-8
    assert fit.criterion == pytest.approx(figures["criterion"], rel=1e-10)
    assert fit.criterion.name == {"REML": "REML", "ML": "deviance"}[kind]
    assert fit.log_likelihood == pytest.approx(figures["logLik"], rel=1e-10)
    assert (fit.df, fit.aic, fit.bic) == pytest.approx((figures["df"], figures["AIC"], figures["BIC"]), rel=1e-10)
    assert fit.sigma == pytest.approx(figures["sigma"], rel=1e-7)
    np.testing.assert_allclose(fit.population.estimate, list(figures["fixef"].values()), rtol=1e-7)
    np.testing.assert_allclose(fit.population.std_error, list(figures["se"].values()), rtol=1e-7)
    np.testing.assert_allclose(fit.fixed_cov, figures["vcov_fixef"]["values"], rtol=1e-6, atol=1e-9)
    assert list(fit.design.fixed_terms) == list(figures["fixef"])

    for group, part in figures["VarCorr"].items():
        name = group if group in fit.design.groups else group.removesuffix(".1")  # lme4 numbers a second block
        ours = next(c for c in fit.components if c.group == name and list(c.terms) == part["terms"])
        np.testing.assert_allclose(ours.sd, list(part["sd"].values()), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ours.correlation, part["correlation"], atol=1e-7)
    for group in fit.design.groups:
        values, levels = ranef_matrix(figures, group)
        parts = [part for part in fit.group_effects if part.group == group]
        rows = [parts[0].levels.index(level) for level in levels]
        ours = np.hstack([part.effect.estimate[rows] for part in parts])
        np.testing.assert_allclose(ours, values, atol=1e-7 * max(1.0, np.abs(values).max()))
        sds = np.hstack([part.effect.std_error[rows] for part in parts])
        np.testing.assert_allclose(sds, conditional_sds(figures, group)[: len(rows)], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fit.fitted[:10], figures["fitted_head"], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(fit.residuals[:10], figures["residual_head"], atol=1e-5)


def test_twelve_groups_standard_errors_each_under_its_name():
    (part,) = reml(design_of("twelve_groups--ri")).group_effects
    assert part.effect.std_error_kind == "conditional SD"
    assert part.coefficient.std_error_kind == "coefficient SE"
    np.testing.assert_allclose(part.effect.std_error[[0, 11], 0], [0.4208, 0.7355], atol=5e-5)
    np.testing.assert_allclose(part.coefficient.std_error[[0, 11], 0], [0.4357, 0.8121], atol=5e-5)


# --- invariance ---------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-1e4, 1e4), scale=st.floats(1e-3, 1e3))
def test_shifting_and_scaling_the_response_only_moves_and_stretches(seed, shift, scale):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(6), 4)
    y = rng.normal(size=24) + rng.normal(size=6)[g]
    one = reml(build_design("y ~ 1 + (1 | g)", {"y": y, "g": g}))
    other = reml(build_design("y ~ 1 + (1 | g)", {"y": shift + scale * y, "g": g}))
    assert other.sigma == pytest.approx(scale * one.sigma, rel=1e-6)
    np.testing.assert_allclose(other.components[0].sd, scale * one.components[0].sd, rtol=1e-5, atol=1e-6 * scale)
    assert other.population.estimate[0] == pytest.approx(shift + scale * one.population.estimate[0], abs=1e-6 * scale)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_rows_and_labels_may_be_permuted(seed):
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(5), rng.integers(0, 5, 15)])
    x = rng.normal(size=20)
    y = rng.normal(size=20) + rng.normal(size=5)[g]
    names = np.array(["u", "v", "w", "x", "y"])
    one = reml(build_design("y ~ x + (1 | g)", {"y": y, "x": x, "g": names[g]}))
    order, renamed = rng.permutation(20), rng.permutation(names)
    other = reml(build_design("y ~ x + (1 | g)", {"y": y[order], "x": x[order], "g": renamed[g][order]}))
    assert other.criterion == pytest.approx(one.criterion, abs=1e-8)
    before = dict(zip(one.group_effects[0].levels, one.group_effects[0].effect.estimate[:, 0], strict=True))
    after = dict(zip(other.group_effects[0].levels, other.group_effects[0].effect.estimate[:, 0], strict=True))
    for old, new in zip(names, renamed, strict=True):
        assert after[new] == pytest.approx(before[old], abs=1e-5)


def test_weights_count_as_repeated_rows_in_everything_but_the_number_of_rows():
    # Splitting a row of weight 2 into two of weight 1 leaves the estimates of b given the variances alone.
    design = random_design(1)
    data = moments(design)
    rows = np.concatenate([np.arange(design.n), np.arange(design.n)])
    table = {
        "y": design.y[rows], "x": design.X[rows, 1], "z": design.X[rows, 2], "g": design.blocks[0].codes[rows],
        "w": design.weights[rows] / 2, "o": design.offset[rows],
    }  # fmt: skip
    split = moments(build_design("y ~ x + z + (1 + x | g) + offset(o)", table, weights="w"))
    factor = np.array([[0.7, 0.0], [-0.2, 0.4]])
    np.testing.assert_allclose(conditional(split, (factor,)).b, conditional(data, (factor,)).b, atol=1e-10)
    np.testing.assert_allclose(conditional(split, (factor,)).u[0], conditional(data, (factor,)).u[0], atol=1e-10)


@pytest.mark.parametrize(
    ("origin", "scale"),
    [(0.0, 1e-6), (0.0, 365.25), (5.0, 1.0), (-4.5, 1.0), (2000.0, 1.0), (1.7e9, 86400.0)],
)
def test_correlated_slopes_do_not_depend_on_the_predictors_origin_or_scale(origin, scale):
    base = design_of("sleepstudy--slope")
    days = base.X[:, 1] * scale + origin
    levels = np.array(base.blocks[0].levels)[base.blocks[0].codes]
    fit = reml(build_design("r ~ d + (d | s)", {"r": base.y, "d": days, "s": levels}))
    # the Jacobian of the scale of the fixed slope is all that changes in the REML criterion
    assert fit.criterion - 2 * np.log(scale) == pytest.approx(1743.6282719584908, abs=2e-7)
    assert fit.components[0].sd[1] * scale == pytest.approx(5.92213310373004, rel=1e-6)
    assert fit.converged


def test_digits_survive_a_large_mean():
    # As NIST's SmLs09: one-way data 10^12 + tenths. The same numbers less 10^12 give the same variances.
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(9), 50)
    tenths = np.round(rng.normal(size=450) + rng.normal(size=9)[g], 1)
    small = reml(build_design("y ~ 1 + (1 | g)", {"y": tenths, "g": g}))
    exact_large = 1e12 + tenths
    large = reml(build_design("y ~ 1 + (1 | g)", {"y": exact_large, "g": g}))
    # 10^12 + 0.1 itself is stored to 1.2e-4, so the variances can agree no better than that
    assert large.sigma == pytest.approx(small.sigma, rel=1e-4)
    assert large.components[0].sd[0] == pytest.approx(small.components[0].sd[0], rel=1e-3)
    again = reml(build_design("y ~ 1 + (1 | g)", {"y": exact_large - 1e12, "g": g}))
    assert large.sigma == pytest.approx(again.sigma, rel=1e-10)
    assert large.components[0].sd[0] == pytest.approx(again.components[0].sd[0], rel=1e-8)


@pytest.mark.parametrize("ratio", [1e-2, 1.0, 300.0, 1e4])
def test_any_ratio_of_the_spreads_is_found(ratio):
    # balanced one-way data again: sigma^2 = MSW, tau^2 = (MSB - MSW)/n, or zero where that is negative
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(10), 6)
    y = ratio * rng.normal(size=10)[g] + rng.normal(size=60)
    fit = reml(build_design("y ~ 1 + (1 | g)", {"y": y, "g": g}))
    means = np.array([y[g == j].mean() for j in range(10)])
    within = ((y - means[g]) ** 2).sum() / 50
    between = 6 * np.var(means, ddof=1)
    assert fit.converged
    assert fit.components[0].covariance[0, 0] == pytest.approx(max(0, (between - within) / 6), rel=1e-6)
    if between > within:
        assert fit.sigma**2 == pytest.approx(within, rel=1e-6)


def test_slopes_far_larger_than_the_residual_are_found():
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    u = 1000 * rng.normal(size=(12, 2))
    y = u[g, 0] + u[g, 1] * x + rng.normal(size=72)
    fit = reml(build_design("y ~ x + (x | g)", {"y": y, "x": x, "g": g}))
    assert fit.converged
    # the groups' own lines are known almost exactly, so their covariance is the answer (less what noise adds, 1e-6)
    lines = np.array([np.polyfit(x[g == j], y[g == j], 1)[::-1] for j in range(12)])
    np.testing.assert_allclose(fit.components[0].covariance, np.cov(lines, rowvar=False), rtol=1e-4)


def test_a_response_that_is_explained_exactly_is_refused():
    x, g = np.arange(12.0), np.repeat(np.arange(4), 3)
    for y in (2 * x + 1, 2 * x + np.array([5.0, -1, 3, 0])[g]):
        with pytest.raises(DesignError, match="explain y exactly"):
            reml(build_design("y ~ x + (1 | g)", {"y": y, "x": x, "g": g}))


# --- boundaries and optima ----------------------------------------------------------------------------


def test_zero_spread_is_exact_and_said():
    fit = reml(design_of("Dyestuff2--ri"))
    assert fit.singular
    assert fit.converged
    assert fit.components[0].sd[0] == 0.0
    assert (fit.group_effects[0].effect.estimate == 0).all()
    assert any("estimated as zero" in warning for warning in fit.warnings)


@pytest.mark.parametrize("seed", range(40))
def test_one_way_fits_reach_the_best_of_a_fine_grid(seed):
    # theta = 0 is always stationary; a search that parks there on the wrong side is caught here.
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 8)
    sizes[0] += 2
    g = np.repeat(np.arange(8), sizes)
    y = rng.normal(size=len(g)) + 0.5 * rng.normal(size=8)[g]
    design = build_design("y ~ 1 + (1 | g)", {"y": y, "g": g})
    data = moments(design)
    grid = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 2000)])
    best = min(criterion(data, conditional(data, (np.array([[t]]),)), True) for t in grid)
    fit = reml(design)
    assert fit.criterion <= best + 1e-9
    assert fit.converged


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(k, marks=pytest.mark.slow) for k in range(6, 40))])
def test_slope_fits_reach_the_best_of_many_starts(seed):
    from scipy.optimize import minimize

    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(8), 4)
    x = rng.normal(size=32)
    y = rng.normal(size=32) + 0.4 * rng.normal(size=8)[g] + 0.2 * rng.normal(size=8)[g] * x
    design = build_design("y ~ x + (x | g)", {"y": y, "x": x, "g": g})
    data = moments(design)

    def value(theta):
        return criterion(data, conditional(data, (np.array([[theta[0], 0], [theta[1], theta[2]]]),)), True)

    starts = [(a, b, c) for a in (0.01, 1) for b in (-0.5, 0.5) for c in (0.01, 1)]
    search = {"method": "Nelder-Mead", "options": {"xatol": 1e-7, "fatol": 1e-10, "maxfev": 2000}}
    best = min(minimize(value, start, **search).fun for start in starts)
    fit = reml(design)
    assert fit.criterion <= best + 1e-7
    assert fit.converged


# --- recovery -----------------------------------------------------------------------------------------


def test_recovers_simulated_spreads():
    truth = simulate_groups([8] * 400, between_sd=1.5, within_sd=2.0, mean=3.0, seed=5, generator="numpy")
    fit = reml(build_design("samples ~ 1 + (1 | group)", truth.to_pandas()), Settings())
    # standard errors of the estimates here: about 0.07 (between), 0.027 (within), 0.08 (mean); 4 of them
    assert fit.components[0].sd[0] == pytest.approx(1.5, abs=0.28)
    assert fit.sigma == pytest.approx(2.0, abs=0.11)
    assert fit.population.estimate[0] == pytest.approx(3.0, abs=0.32)

"""The posterior mode that keeps variances off zero. Rungs: closed form, slow dense oracle, R's blme, invariance."""

import numpy as np
import pytest
from corpus import DATA, LMER, SEVERAL, design_of
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.boundary_avoiding import Options, boundary_avoiding
from workbench.estimators.reml import ml, reml
from workbench.textbook import dense, profiled_ml, profiled_reml, term_covariances

DYESTUFF2 = DATA / "datasets" / "Dyestuff2.csv"
TEXTBOOK = {"REML": profiled_reml, "ML": profiled_ml}
EIGHT = {
    "y": [28, 8, -3, 7, -1, 1, 18, 12.0], "s": [15, 10, 16, 11, 9, 11, 10, 18.0], "school": list("ABCDEFGH"),
}  # fmt: skip
"""Rubin (1981, doi:10.3102/10769986006004377): effects of coaching and their standard errors."""


def fitted(design, criterion="REML"):
    return boundary_avoiding(design, Settings(), Options(criterion))


# --- closed form --------------------------------------------------------------------------------------


def balanced_one_way(y, g, criterion):
    """tau^2 and sigma^2 of J groups of n, by hand.

    With lambda = 1 + n theta^2 the criterion is k log lambda + nu log(W + B/lambda) - 1.5 log(lambda - 1), up to a
    constant, where B and W are the sums of squares between and within; k = J - 1 and nu = N - 1 of REML, J and N of ML.
    Its slope is zero at the larger root of a quadratic.
    """
    J, N = g.max() + 1, len(y)
    means = np.bincount(g, weights=y) / np.bincount(g)
    W, B = ((y - means[g]) ** 2).sum(), N / J * ((means - means.mean()) ** 2).sum()
    k, nu = (J - 1, N - 1) if criterion == "REML" else (J, N)
    by_hand = np.roots([(k - 1.5) * W, k * (B - W) - nu * B - 1.5 * B, (nu - k) * B]).max()
    sigma2 = (W + B / by_hand) / nu
    return (by_hand - 1) * J / N * sigma2, sigma2


@pytest.mark.parametrize("criterion", TEXTBOOK)
@pytest.mark.parametrize(("ratio", "J", "n"), [(0.0, 3, 4), (0.0, 12, 6), (1.0, 5, 8), (1e4, 10, 6), (0.0, 8, 100_000)])
def test_balanced_one_way_solves_a_quadratic(ratio, J, n, criterion):
    rng = np.random.default_rng(J)
    g = np.repeat(np.arange(J), n)
    y = ratio * rng.normal(size=J)[g] + rng.normal(size=J * n)
    fit = fitted(build_design("y ~ 1 + (1 | g)", {"y": y, "g": g}), criterion)
    tau2, sigma2 = balanced_one_way(y, g, criterion)
    assert fit.converged
    # a ratio of 10^4 leaves the residual 10^-8 of the sum of squares, and half of a float's digits
    assert fit.components[0].covariance[0, 0] == pytest.approx(tau2, rel=1e-7)
    assert fit.sigma**2 == pytest.approx(sigma2, rel=1e-7)


def test_dyestuff2_has_a_spread_where_remls_is_zero():
    design = design_of("Dyestuff2--ri")
    assert reml(design).components[0].covariance[0, 0] == 0
    fit = fitted(design)
    assert fit.components[0].covariance[0, 0] == pytest.approx(2.2163602, abs=5e-8)
    assert fit.sigma**2 == pytest.approx(13.1489700, abs=5e-8)
    assert not fit.singular
    assert (fit.effects["estimate"] != 0).all()


def test_where_groups_are_many_and_far_apart_the_density_hardly_counts():
    # theta^1.5 undoes 1.5 of the likelihood's theta^-(J - 1): tau^2 grows by (J - 1)/(J - 2.5), but for (sigma/tau)^2
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(400), 5)
    y = 100 * rng.normal(size=400)[g] + rng.normal(size=2000)
    design = build_design("y ~ 1 + (1 | g)", {"y": y, "g": g})
    plain, fit = reml(design), fitted(design)
    ratio = fit.components[0].covariance[0, 0] / plain.components[0].covariance[0, 0]
    assert ratio == pytest.approx(399 / 397.5, abs=1e-6)
    np.testing.assert_allclose(fit.effects["estimate"], plain.effects["estimate"], atol=2e-4)


# --- slow dense oracle --------------------------------------------------------------------------------


def penalised(model, theta, criterion):
    """Eq. 2 of the module from n x n matrices, theta as in :mod:`workbench.textbook`."""
    return TEXTBOOK[criterion](model, theta) - 1.5 * sum(
        np.linalg.slogdet(S)[1] for S in term_covariances(model, theta)
    )


def brute_force(model, criterion, rng, starts=6):
    """The smallest value that a general optimiser finds from random starts, over log spreads and artanh rho."""
    from scipy.optimize import minimize

    is_sd = np.concatenate([[True] * q + [False] * (q * (q - 1) // 2) for _, q in model.shapes]).astype(bool)

    def value(point):
        point = np.clip(point, -8, 8)  # spreads from 0.0003 to 3000, correlations up to 1 - 2e-7
        return penalised(model, np.where(is_sd, np.exp(point), np.tanh(point)), criterion)

    found = [
        minimize(value, rng.normal(size=len(is_sd)) - is_sd, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-7})
        for _ in range(starts)
    ]
    return min(end.fun for end in found)


def own_theta(fit):
    """The textbook's theta of a fit with at most two columns a term."""
    parts = [
        np.append(c.sd / fit.sigma, c.correlation[0, 1] if len(c.terms) == 2 else np.empty(0)) for c in fit.components
    ]
    return np.concatenate(parts)


def random_design(seed, formula, known_se=False):
    """Spreads of zero and others, so that REML often ends on the boundary."""
    rng = np.random.default_rng(seed)
    J = int(rng.integers(4, 8))
    g = np.concatenate([np.arange(J), np.arange(J), rng.integers(0, J, 24)])
    n = len(g)
    x, h = rng.normal(3, 2, n), rng.integers(0, 4, n)
    sd = rng.choice([0.0, 0.3, 1.5], 3)
    y = rng.normal(size=n) + sd[0] * rng.normal(size=J)[g] + sd[1] * rng.normal(size=J)[g] * (x - 3)
    y = y + sd[2] * rng.normal(size=4)[h]
    table = {"y": y, "x": x, "g": g, "h": h, "w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n)}
    return build_design(f"{formula} + offset(o)", table, **{"se" if known_se else "weights": "w"})


FORMULAS = ["y ~ 1 + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)", "y ~ 1 + (1 | g) + (1 | h)", "y ~ x + (1 | g/h)"]


@pytest.mark.parametrize("criterion", TEXTBOOK)
@pytest.mark.parametrize("known_se", [False, True])
@pytest.mark.parametrize("formula", [*FORMULAS, "y ~ x + (x | g) + (1 | h)"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 8))])
def test_nothing_better_is_found_by_brute_force(seed, formula, known_se, criterion):
    design = random_design(seed, formula, known_se)
    model, fit = dense(design), fitted(design, criterion)
    assert fit.converged
    theta = own_theta(fit)
    # 1e-7: the rounding of the dense determinants; the search itself ends within 1e-9
    assert fit.criterion == pytest.approx(penalised(model, theta, criterion), abs=1e-7)
    assert -2 * fit.log_likelihood == pytest.approx(TEXTBOOK[criterion](model, theta), abs=1e-7)
    assert fit.criterion <= brute_force(model, criterion, np.random.default_rng(seed)) + 1e-6


def test_eight_schools_are_the_minimum_of_the_closed_form():
    # sum log(s^2 + tau^2) + log sum w + sum w (y - mean)^2 - 3 log tau, w = 1/(s^2 + tau^2)
    from scipy.optimize import minimize_scalar

    y, s = np.array(EIGHT["y"]), np.array(EIGHT["s"])

    def value(tau):
        w = 1 / (s**2 + tau**2)
        return -np.log(w).sum() + np.log(w.sum()) + w @ (y - w @ y / w.sum()) ** 2 - 3 * np.log(tau)

    tau = minimize_scalar(value, bounds=(0.1, 100), method="bounded", options={"xatol": 1e-10}).x
    fit = fitted(build_design("y ~ 1 + (1 | school)", EIGHT, se="s"))
    assert fit.sigma == 1
    assert fit.components[0].sd[0] == pytest.approx(tau, rel=1e-6)  # a minimum is flat over the root of rounding
    w = 1 / (s**2 + fit.components[0].covariance[0, 0])
    assert fit.population.estimate[0] == pytest.approx(w @ y / w.sum(), rel=1e-12)


# --- R's figures --------------------------------------------------------------------------------------

# blme 1.0-5, lme4 1.1-31 on R 4.2.2, for each formula and REML:
#
#   fn <- blmer(formula, data, REML = REML, devFunOnly = TRUE)
#   for (k in 1:6) theta <- optim(theta, fn, control = list(reltol = 1e-15, maxit = 5000))$par
#   fn(theta); s2 <- (resp$wrss() + pp$sqrL(1)) / (n - p or n)      # resp and pp: of environment(fn)
#
# (with method = "Brent" for one theta). blmer itself ends before it has converged on the slopes.
BLME = {
    ("Dyestuff2--ri", "REML"): (166.14070711254698, [0.41055782247918454], 13.148969980801432),
    ("Dyestuff2--ri", "ML"): (167.67874816370468, [0.34810660085208445], 12.821893440548187),
    ("sleepstudy--slope", "REML"): (
        1747.8424204529429, [1.0691634653322639, 0.0016538381804687176, 0.2518465527480277], 638.34416486823193,
    ),
    ("sleepstudy--slope", "ML"): (
        1756.382441013672, [1.0270459724685514, 0.004590836077173012, 0.24270139278951008], 638.04820229121651,
    ),
    ("sleepstudy--slope_doublebar", "REML"): (
        1747.842843466683, [1.0703705415272156, 0.2521163545480295], 638.25604567581581,
    ),
    ("sleepstudy--slope_doublebar", "ML"): (
        1756.3860410899263, [1.0305920512569759, 0.24351931562745432], 637.76853405084557,
    ),
    ("Penicillin--crossed", "REML"): (
        325.44529559034146, [1.6226891146890166, 4.258705963095319], 0.29448138619515501,
    ),
    ("Penicillin--crossed", "ML"): (
        327.08342263686211, [1.6208043957918576, 3.7731037824066354], 0.29448543394326032,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("case", "criterion"), BLME)
def test_blme_figures(case, criterion):
    value, theta, sigma2 = BLME[case, criterion]
    fit = fitted(design_of(case), criterion)
    assert fit.criterion == pytest.approx(value, abs=1e-8)
    assert fit.criterion.name == ("penalised REML" if criterion == "REML" else "penalised deviance")
    # optim compares values, so that its theta is right to the root of their rounding: 1e-6
    own = [np.linalg.cholesky(part.covariance / fit.sigma**2) for part in fit.components]
    found = np.concatenate([L.T[np.triu_indices(len(L))] for L in own])  # by columns
    np.testing.assert_allclose(found, theta, rtol=2e-6, atol=2e-6)
    assert fit.sigma**2 == pytest.approx(sigma2, rel=2e-6)


def test_blme_with_known_standard_errors():
    # blmer(y ~ 1 + (1 | school), eight, weights = 1/se^2, resid.prior = point(1.0), devFunOnly = TRUE), as above
    fit = fitted(build_design("y ~ 1 + (1 | school)", EIGHT, se="s"))
    assert fit.criterion == pytest.approx(49.598358078653547, abs=1e-8)
    assert fit.components[0].sd[0] == pytest.approx(9.1006847603548948, rel=1e-6)
    assert fit.population.estimate[0] == pytest.approx(8.0802477592872677, rel=1e-7)


# --- invariance ---------------------------------------------------------------------------------------

SLEEP = design_of("sleepstudy--slope")


def sleep_fit(y=SLEEP.y, x=SLEEP.X[:, 1], labels=SLEEP.blocks[0].codes, rows=slice(None)):
    table = {"y": np.asarray(y)[rows], "x": np.asarray(x)[rows], "g": np.asarray(labels)[rows]}
    return fitted(build_design("y ~ x + (x | g)", table))


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
def test_units_of_the_response_do_not_matter(scale, shift):
    base, fit = sleep_fit(), sleep_fit(y=scale * (SLEEP.y + shift))
    assert fit.criterion == pytest.approx(base.criterion + 2 * 178 * np.log(scale), abs=1e-6)
    np.testing.assert_allclose(fit.components[0].covariance / scale**2, base.components[0].covariance, rtol=1e-7)


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-4, 1e4), origin=st.floats(-2000, 2000))
def test_units_and_origin_of_a_predictor_do_not_matter(scale, origin):
    # |X'X| grows by scale^2 and the slope's variance falls by it; the origin's moves |S| by a factor of 1
    base, fit = sleep_fit(), sleep_fit(x=scale * (SLEEP.X[:, 1] + origin))
    assert fit.converged
    assert fit.criterion == pytest.approx(base.criterion + 2 * np.log(scale) + 3 * np.log(scale), abs=1e-6)
    assert fit.components[0].sd[1] * scale == pytest.approx(base.components[0].sd[1], rel=1e-6)
    assert fit.sigma == pytest.approx(base.sigma, rel=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_labels_and_the_order_of_rows_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    names = rng.permutation(18)
    base, fit = sleep_fit(), sleep_fit(labels=names[SLEEP.blocks[0].codes], rows=rng.permutation(180))
    assert fit.criterion == pytest.approx(base.criterion, abs=1e-9)
    own = dict(zip(fit.group_effects[0].levels, fit.group_effects[0].effect.estimate, strict=True))
    for j, expected in enumerate(base.group_effects[0].effect.estimate):
        np.testing.assert_allclose(own[str(names[j])], expected, atol=1e-6)


# --- never on the boundary ----------------------------------------------------------------------------


@pytest.mark.parametrize("formula", FORMULAS)
def test_fits_are_certified_and_never_singular_where_remls_are(formula):
    singular = 0
    for seed in range(40):
        design = random_design(seed, formula)
        singular += reml(design).singular
        fit = fitted(design)
        assert fit.converged
        assert not fit.singular
        assert not any("Singular" in warning for warning in fit.warnings)
        for part in fit.components:
            assert np.linalg.eigvalsh(part.correlation)[0] > 1e-3
            assert part.sd.min() > 1e-3
    assert singular >= 5


def test_two_levels_have_a_mode_under_ml_only():
    y, g = np.random.default_rng(0).normal(size=20), np.repeat([0, 1], 10)
    design = build_design("y ~ 1 + (1 | g)", {"y": y, "g": g})
    with pytest.raises(DesignError, match=r"no mode: .* 2 levels of g to the power of 1.5, .* to the power of 1 only"):
        fitted(design)
    tau2, sigma2 = balanced_one_way(y, g, "ML")
    fit = fitted(design, "ML")
    assert fit.components[0].covariance[0, 0] == pytest.approx(tau2, rel=1e-8)
    assert fit.sigma**2 == pytest.approx(sigma2, rel=1e-8)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("y ~ x + (1 | a) + (one | g)", "spread of one between the 6 levels of g to the power of 1.5"),
        ("y ~ 1 + (1 | a) + (1 | b)", "all terms together to the power of 3, .* to the power of 2 only"),
        ("y ~ a + (1 | a)", r"do not tell the spread of \(Intercept\) between the levels of a"),
    ],
)
def test_terms_whose_spread_nothing_holds_back_are_refused(formula, said):
    rng = np.random.default_rng(1)
    g, x = np.arange(36) % 6, rng.normal(size=36)
    a = np.array(list("abc"))[np.arange(36) // 12]
    table = {"y": rng.normal(size=36), "x": x, "g": g, "a": a, "b": a, "one": np.where(g == 2, x, 0.0)}
    with pytest.raises(DesignError, match=said):
        fitted(build_design(formula, table))


# --- the rest of the house ----------------------------------------------------------------------------


def test_labels_say_what_the_numbers_are():
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", DYESTUFF2, "boundary_avoiding", options={"criterion": "ML"})
    assert fit.fixed["point"][0] == "estimate at the posterior mode of the variances"
    assert set(fit.effects["point"]) == {"BLUP at the posterior mode of the variances"}
    assert fit.to_dict()["criterion"]["name"] == "penalised deviance"
    assert -2 * fit.log_likelihood < fit.criterion
    assert -2 * fit.log_likelihood > ml(fit.design).criterion
    with pytest.raises(OptionError, match="criterion is 'reml', but must be 'REML' or 'ML'"):
        wb.fit("Yield ~ 1 + (1 | Batch)", DYESTUFF2, "boundary_avoiding", options={"criterion": "reml"})


@pytest.mark.parametrize("case", ["sleepstudy--slope", "Penicillin--crossed", "Dyestuff2--ri"])
def test_standard_errors_and_predictions_are_those_of_its_variances(case):
    fit = fitted(design_of(case))
    table = fit.standard_errors
    np.testing.assert_allclose(table["conditional_sd"], fit.effects["std_error"], rtol=1e-7)
    np.testing.assert_allclose(table["coefficient_se"], fit.coefficients["std_error"], rtol=1e-7)
    predicted = fit.predict()
    np.testing.assert_allclose(predicted["estimate"], fit.fitted, rtol=1e-10)
    model = dense(fit.design)  # the error of X b + Z u: Harville (1977), by n x n matrices
    V = fit.sigma**2 * np.diag(model.noise)
    start = 0
    for (J, q), part in zip(model.shapes, fit.components, strict=True):
        Z = model.Z[:, start : start + J * q]
        V += Z @ np.kron(np.eye(J), part.covariance) @ Z.T
        start += J * q
    noise = fit.sigma**2 * np.diag(model.noise)
    P = np.linalg.inv(V)
    P -= P @ model.X @ fit.fixed_cov @ model.X.T @ P
    np.testing.assert_allclose(predicted["std_error"] ** 2, np.diag(noise - noise @ P @ noise), rtol=1e-6)


@pytest.mark.parametrize("case", [*LMER, *SEVERAL])
@pytest.mark.parametrize("criterion", TEXTBOOK)
def test_its_gap_to_reml_is_its_density(case, criterion):
    design = design_of(case)
    fits = {"reml": reml(design), "boundary_avoiding": run_estimator(
        "boundary_avoiding", design, Settings(), {"criterion": criterion}
    )}  # fmt: skip
    gap = wb.Comparison(fits).explain_gap("reml", "boundary_avoiding")
    causes = [step.cause for _, step in gap.steps]
    assert causes[0] == "density that keeps variances off zero"
    assert causes[1:] == ([] if criterion == "REML" else ["variances between groups by ML", "residual variance by ML"])
    assert gap.explained
    assert gap.table["max_difference"][0] > 1e-4


def test_it_stands_beside_the_others():
    from workbench.estimators import DEFAULTS

    assert all("boundary_avoiding" not in names for names in DEFAULTS.values())
    both = wb.compare("Yield ~ 1 + (1 | Batch)", DYESTUFF2, ["no_pooling", "reml", "boundary_avoiding"])
    kept = both.shrinkage.set_index("estimator")["shrinkage"].groupby("estimator").mean()
    theta2 = 2.2163602 / 13.14897
    assert kept["reml"] == pytest.approx(1)
    assert kept["boundary_avoiding"] == pytest.approx(1 / (1 + 5 * theta2), rel=1e-4)

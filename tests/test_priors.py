"""Priors. Rungs: scipy's densities, PyMC's densities, R's published normalisation (LKJ), rules of naming."""

import numpy as np
import pytest
from corpus import design_of
from scipy import stats

import workbench as wb
from workbench.design import build_design
from workbench.errors import PriorError
from workbench.lkj import lkj_draw, lkj_log_density
from workbench.prior_defaults import default_priors, resolve_priors
from workbench.priors import Prior, parse_prior

SCIPY = {
    "Normal(1, 2)": stats.norm(1, 2),
    "StudentT(3, 1, 2)": stats.t(3, 1, 2),
    "Cauchy(1, 2)": stats.cauchy(1, 2),
    "HalfNormal(2)": stats.halfnorm(0, 2),
    "HalfCauchy(2)": stats.halfcauchy(0, 2),
    "Exponential(0.5)": stats.expon(scale=2),
    "Gamma(2, 0.5)": stats.gamma(2, scale=2),
    "Uniform(0, 3)": stats.uniform(0, 3),
}
POINTS = [-2.0, -1e-9, 0.0, 1e-9, 0.5, 2.999, 3.001, 50.0]


@pytest.mark.parametrize("text", SCIPY)
@pytest.mark.parametrize("x", POINTS)
def test_log_density_is_scipys_support_included(text, x):
    assert parse_prior(text).log_density(x) == pytest.approx(SCIPY[text].logpdf(x), rel=1e-12)


@pytest.mark.parametrize("text", [*SCIPY, "HalfStudentT(3, 2)", "Flat()"])
def test_log_density_is_pymcs(text):
    import pymc as pm

    prior = parse_prior(text)
    positive = text == "Flat()"
    with pm.Model():
        density = pm.compile(*_symbolic(prior.to_pymc("x", positive=positive)))
    for x in POINTS:
        # PyMC holds constants such as log(2 pi) in single precision
        assert float(density(x)) == pytest.approx(prior.log_density(x, positive=positive), rel=1e-7), x


@pytest.mark.parametrize("text", [*SCIPY, "HalfStudentT(3, 2)"])
def test_draws_follow_the_log_density(text):
    # Kolmogorov-Smirnov against the density integrated here, on a grid that is fine where the density is large;
    # 0.1 % of right generators would fail, so the seed is fixed
    from scipy.integrate import cumulative_simpson

    prior = parse_prior(text)
    drawn = prior.draw(np.random.default_rng(2), 4_000)
    grid = 0.7 + np.sinh(np.linspace(-14, 14, 280_001))  # to 6e5: beyond it a Cauchy has 2e-6
    density = np.exp([prior.log_density(x) for x in grid])
    cdf = cumulative_simpson(density * np.sqrt(1 + (grid - 0.7) ** 2), x=np.linspace(-14, 14, 280_001), initial=0.0)
    assert cdf[-1] == pytest.approx(1, abs=2e-4)
    assert stats.kstest(drawn, lambda x: np.interp(x, grid, cdf)).pvalue > 0.001
    assert prior.draw(np.random.default_rng(0), (3, 2)).shape == (3, 2)


@pytest.mark.parametrize(("eta", "terms"), [(0.7, 2), (2.0, 2), (1.0, 3), (2.0, 4)])
def test_drawn_correlations_have_the_beta_margins_of_lkj(eta, terms):
    # (1 + rho) / 2 ~ Beta(eta + q/2 - 1, the same) in every place (Lewandowski, Kurowicka & Joe 2009, section 3)
    drawn = lkj_draw(np.random.default_rng(1), eta, terms, 4_000)
    a = eta + terms / 2 - 1
    for i, j in zip(*np.triu_indices(terms, 1), strict=True):
        assert stats.kstest((1 + drawn[:, i, j]) / 2, stats.beta(a, a).cdf).pvalue > 0.001
    assert np.linalg.eigvalsh(drawn).min() > 0


def test_drawn_correlations_weigh_determinants_as_the_density_does():
    # E f(R) under LKJ(3) is E_1[f(R) |R|^2] / E_1[|R|^2] under LKJ(1): its densities' ratio, of all places at once
    rng = np.random.default_rng(3)
    flat, peaked = lkj_draw(rng, 1.0, 3, 40_000), lkj_draw(rng, 3.0, 3, 40_000)
    weights = np.exp([lkj_log_density(r, 3.0) - lkj_log_density(r, 1.0) for r in flat])
    f = np.linalg.det
    error = np.hypot(np.std(weights * f(flat)), np.std(f(peaked))) / np.sqrt(len(flat))
    assert abs(np.mean(weights * f(flat)) - np.mean(f(peaked))) < 4 * error
    assert abs(np.mean(weights) - 1) < 4 * np.std(weights) / np.sqrt(len(flat))


def test_what_has_no_draws_says_so():
    with pytest.raises(PriorError, match="improper"):
        Prior("Flat").draw(np.random.default_rng(0))
    with pytest.raises(PriorError, match="correlation matrices"):
        Prior("LKJ", (2,)).draw(np.random.default_rng(0))


def _symbolic(variable):
    import pymc as pm
    import pytensor.tensor as pt

    value = pt.dscalar()
    return [value], pm.logp(variable, value)


@pytest.mark.parametrize("eta", [0.7, 1.0, 2.0, 5.0])
def test_lkj_is_the_beta_of_one_correlation_and_integrates_to_one(eta):
    # for q = 2, (1 + rho)/2 ~ Beta(eta, eta)
    for rho in (-0.9, 0.0, 0.4):
        ours = lkj_log_density(np.array([[1, rho], [rho, 1]]), eta)
        assert ours == pytest.approx(stats.beta(eta, eta).logpdf((1 + rho) / 2) - np.log(2), rel=1e-10)


def test_lkj_of_three_terms_integrates_to_one():
    # Monte Carlo over the cube; 4 standard errors
    rng = np.random.default_rng(0)
    rho = rng.uniform(-1, 1, (20_000, 3))
    values = [np.exp(lkj_log_density(np.array([[1, a, b], [a, 1, c], [b, c, 1]]), 2.0)) for a, b, c in rho]
    assert abs(8 * np.mean(values) - 1) < 4 * 8 * np.std(values) / np.sqrt(len(values))


def test_text_and_objects_are_the_same_and_round_trip():
    for text in SCIPY:
        assert parse_prior(str(parse_prior(text))) == parse_prior(text)
    assert parse_prior(" HalfCauchy( 5 ) ") == Prior("HalfCauchy", (5,))
    assert parse_prior(Prior("Flat")) == Prior("Flat")


def test_the_most_specific_name_wins():
    design = design_of("sleepstudy--slope")
    resolved = resolve_priors(
        design,
        {
            "sd": "HalfNormal(1)",
            "sd(Subject)": "HalfNormal(2)",
            "sd(Subject,Days)": "HalfNormal(3)",
            "b": "Cauchy(0, 1)",
        },
    )
    assert str(resolved["sd(Subject, (Intercept))"]) == "HalfNormal(2)"
    assert str(resolved["sd(Subject, Days)"]) == "HalfNormal(3)"
    assert str(resolved["Days"]) == "Cauchy(0, 1)"
    assert resolved["(Intercept)"].kind == "Normal"


def test_defaults_stretch_with_the_response_and_the_predictor():
    base = default_priors(design_of("sleepstudy--slope"))
    s_y, s_x = np.std(design_of("sleepstudy--slope").y, ddof=1), np.std(np.tile(np.arange(10), 18), ddof=1)
    assert base["Days"].values[1] == pytest.approx(2.5 * s_y / s_x, rel=5e-3)  # printed to three digits
    assert base["sd(Subject, Days)"].values[1] == pytest.approx(s_y / s_x, rel=5e-3)
    assert base["sd(Subject, (Intercept))"].values[1] == pytest.approx(s_y, rel=5e-3)
    assert base["(Intercept)"].values[1] == pytest.approx(np.hypot(2.5 * s_y, 4.5 * 2.5 * s_y / s_x), rel=5e-3)
    assert str(base["cor(Subject)"]) == "LKJ(2)"


COUNTS = {"y": [0, 3, 1, 4, 2, 0], "x": [1, 2, 4, 1, 5, 2], "n": [4, 4, 2, 8, 2, 4], "g": list("aabbcc")}


def test_defaults_of_counts_are_on_the_links_scale():
    design = build_design("y ~ x + (x | g)", COUNTS, "poisson")
    s_x = np.std(COUNTS["x"], ddof=1)
    found = {name: prior.values for name, prior in default_priors(design).items()}
    assert found["(Intercept)"][0] == pytest.approx(np.log(10 / 6), rel=5e-3)
    assert found["(Intercept)"][1] == pytest.approx(np.hypot(2.5, np.mean(COUNTS["x"]) * 2.5 / s_x), rel=5e-3)
    assert found["x"] == pytest.approx((0, 2.5 / s_x), rel=5e-3)
    assert found["sd(g, x)"] == pytest.approx((3, 1 / s_x), rel=5e-3)
    assert found["sd(g, (Intercept))"] == (3, 1)
    assert list(found) == ["(Intercept)", "x", "sd(g, (Intercept))", "sd(g, x)", "cor(g)"]  # no sigma
    with_rate = build_design("y ~ 1 + offset(log(n)) + (1 | g)", COUNTS, "poisson")
    assert default_priors(with_rate)["(Intercept)"].values[0] == pytest.approx(np.log(10 / 24), rel=5e-3)


@pytest.mark.parametrize(
    ("link", "linked", "unit"), [("logit", -0.3365, 1), ("probit", -0.2104, 0.625), ("cloglog", -0.6180, 1)]
)
def test_defaults_of_shares_are_the_same_however_they_are_written(link, linked, unit):
    # qlogis(10 / 24), qnorm(10 / 24), log(-log(1 - 10 / 24))
    table = COUNTS | {"rest": np.subtract(COUNTS["n"], COUNTS["y"]), "share": np.divide(COUNTS["y"], COUNTS["n"])}
    counted = default_priors(build_design("cbind(y, rest) ~ x + (1 | g)", table, "binomial", link))
    shares = default_priors(build_design("share ~ x + (1 | g)", table, "binomial", link, weights="n"))
    assert counted == shares
    assert counted["(Intercept)"].values[0] == pytest.approx(linked, abs=6e-4)
    assert counted["x"].values[1] == pytest.approx(2.5 * unit / np.std(COUNTS["x"], ddof=1), rel=5e-3)
    assert counted["sd(g, (Intercept))"].values == (3, unit)


def test_defaults_are_finite_where_every_trial_ends_the_same():
    for value, end in ((0, -1), (1, 1)):
        table = {"y": [value] * 6, "g": list("aabbcc")}
        prior = default_priors(build_design("y ~ 1 + (1 | g)", table, "binomial"))["(Intercept)"]
        assert prior.values[0] == pytest.approx(end * np.log(5.5 / 0.5), rel=5e-3)  # half a trial the other way
    none = build_design("y ~ 1 + (1 | g)", {"y": [0] * 6, "g": list("aabbcc")}, "poisson")
    assert default_priors(none)["(Intercept)"].values[0] == pytest.approx(np.log(0.5 / 6), rel=5e-3)


def test_degrees_of_freedom_have_a_prior_where_residuals_are_student_t():
    design = design_of("sleepstudy--slope")
    assert str(resolve_priors(design, {}, robust=True)["nu"]) == "Gamma(2, 0.1)"
    assert str(resolve_priors(design, {"nu": "HalfNormal(9)"}, robust=True)["nu"]) == "HalfNormal(9)"
    assert "nu" not in resolve_priors(design, {})
    covariate = build_design("y ~ nu + (1 | g)", {"y": COUNTS["x"], "nu": COUNTS["n"], "g": COUNTS["g"]})
    both = resolve_priors(covariate, {"nu": "Gamma(3, 1)", "b(nu)": "Normal(0, 2)"}, robust=True)
    assert (str(both["nu"]), str(both["b(nu)"])) == ("Gamma(3, 1)", "Normal(0, 2)")


@pytest.mark.parametrize(
    ("priors", "said"),
    [
        ({"Dais": "Normal(0, 1)"}, "Did you mean 'Days'?"),
        ({"Days": "Normal(0)"}, "Normal(mean, sd) takes 2 numbers, not 1"),
        ({"Days": "Normal(0, -1)"}, "sd is -1, but must be positive"),
        ({"Days": "Norml(0, 1)"}, "There is no prior 'Norml'. Did you mean 'Normal'?"),
        ({"Days": "Normal(0, x)"}, "its parameters must be numbers"),
        ({"Days": "__import__('os')"}, "cannot be read"),
        ({"sigma": "Normal(0, 1)"}, "cannot be the prior of sigma. Use one of HalfNormal"),
        ({"Days": "HalfNormal(1)"}, "cannot be the prior of Days"),
        ({"sd(Subject)": "Uniform(-1, 1)"}, "which is never negative"),
        ({"cor(Subject)": "Uniform(-1, 1)"}, "Use one of LKJ"),
        ({"Days": "Uniform(2, 1)"}, "low (2) must be below high (1)"),
    ],
)
def test_priors_that_fit_nothing_are_refused(priors, said):
    with pytest.raises(PriorError) as caught:
        resolve_priors(design_of("sleepstudy--slope"), priors)
    assert said in str(caught.value)


@pytest.mark.parametrize("far", [0.0, 123_456.7, 2_014.47, 987_654_321.0, -1e12])
def test_the_default_prior_of_the_intercept_lies_over_responses_far_from_zero(far):
    """A shift of the response shifts the exact posterior, and nothing else."""
    rng = np.random.default_rng(8)
    codes = np.repeat(np.arange(12), 4)
    y = rng.normal(0, 1.2, 12)[codes] + rng.normal(size=48)
    near, away = (wb.fit("y ~ 1 + (1 | g)", {"y": y + shift, "g": codes}, "exact") for shift in (0.0, far))
    one, other = ({row["name"]: row for row in fit.to_dict()["parameters"]} for fit in (near, away))
    for name, row in one.items():
        moved = far if name == "(Intercept)" else 0.0
        slack = 0.03 * row["std_error"]  # digits of the prior
        assert other[name]["mean"] - moved == pytest.approx(row["mean"], abs=slack), name
        assert other[name]["std_error"] == pytest.approx(row["std_error"], rel=0.03), name


def test_one_number_need_not_be_a_sequence():
    assert Prior("HalfNormal", 2) == Prior("HalfNormal", (2,))
    with pytest.raises(PriorError, match="takes 2 numbers, not 1"):
        Prior("Normal", 5)

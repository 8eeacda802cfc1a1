"""Prediction of counts and shares. Rungs: R's figures, slow dense oracle, closed form, identity, draws."""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA
from scipy.interpolate import CubicSpline
from scipy.linalg import block_diag
from scipy.special import expit

import workbench as wb
from workbench.errors import OptionError
from workbench.estimators import REGISTRY

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
HERDS = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
NEW = {"period": ["1", "4", "2"], "herd": ["1", "7", "99"]}


def cbpp(estimator, formula=CBPP, **given):
    return wb.fit(formula, DATA / "datasets/cbpp.csv", estimator, family="binomial", **given)


def ticks():
    table = pd.read_csv(DATA / "datasets/grouseticks.csv", dtype=dict.fromkeys(("BROOD", "LOCATION", "YEAR"), str))
    return table.assign(h=(table["HEIGHT"] - 460) / 100)


# --- R's figures --------------------------------------------------------------------------------------

GLMER = 1e-3
"""How near the derivative-free search of glmer (R 4.2.2, lme4 1.1-31) comes to the minimum, in linear predictors."""


def test_glmers_means_of_new_rows():
    # d <- read.csv("cbpp.csv"); d$period <- factor(d$period); d$herd <- factor(d$herd)
    # fm <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), d, family = binomial)
    # new <- data.frame(period = c("1", "4", "2"), herd = c("1", "7", "99"))
    # predict(fm, new, type = "link", allow.new.levels = TRUE); the same with type = "response", also with re.form = NA
    fit = cbpp("laplace")
    link = fit.predict(NEW, new_levels="population", scale="link")
    response = fit.predict(NEW, new_levels="population")
    np.testing.assert_allclose(link["estimate"], [-0.808713427979, -2.089125776642, -2.390267839447], atol=GLMER)
    np.testing.assert_allclose(response["estimate"], [0.3081647241384, 0.1101582395091, 0.0839178392751], atol=GLMER)
    typical = fit.predict(NEW, groups=False)["estimate"]
    np.testing.assert_allclose(typical, [0.1980792055096, 0.0484256460058, 0.0839178392751], atol=GLMER)


def test_glmers_means_with_an_offset_and_some_of_the_factors():
    # g <- read.csv("grouseticks.csv"); for (v in c("BROOD", "LOCATION", "YEAR")) g[[v]] <- factor(g[[v]])
    # g$h <- (g$HEIGHT - 460) / 100
    # gm <- glmer(TICKS ~ YEAR + h + offset(log(1 + h^2)) + (1 | BROOD) + (1 | LOCATION), g, family = poisson)
    # new <- data.frame(YEAR = c("95", "97"), h = c(0.3, -0.2), BROOD = c("501", "999"), LOCATION = c("32", "32"))
    # predict(gm, new, type = "link", allow.new.levels = TRUE)
    # predict(gm, new, type = "response", re.form = ~ (1 | LOCATION))
    formula = "TICKS ~ YEAR + h + offset(log1p(h^2)) + (1 | BROOD) + (1 | LOCATION)"
    fit = wb.fit(formula, ticks(), "laplace", family="poisson")
    new = {"YEAR": ["95", "97"], "h": [0.3, -0.2], "BROOD": ["501", "999"], "LOCATION": ["32", "32"]}
    found = fit.predict(new, new_levels="population", scale="link")["estimate"]
    np.testing.assert_allclose(found, [-1.17950607337, -0.35200213310], atol=GLMER)
    found = fit.predict(new, groups="LOCATION")["estimate"]
    np.testing.assert_allclose(found, [0.584856195172, 0.703278621811], rtol=GLMER)


# --- errors of a fit at its estimates -----------------------------------------------------------------


def dense(fit, weights):
    """The equations in full: X, Z, the inverse of Z'WZ + D^-1 (D = LL' may be singular), how the modes answer to b."""
    design = fit.design
    columns, roots = [], []
    for block, part in zip(design.blocks, fit.components, strict=True):
        values, vectors = np.linalg.eigh(part.covariance)
        for level in range(len(block.levels)):
            columns += list((block.Z * (block.codes == level)[:, None]).T)
            roots.append(vectors * np.sqrt(np.clip(values, 0, None)))
    Z, L = np.array(columns).T, block_diag(*roots)
    P = L @ np.linalg.solve(L.T @ Z.T @ (weights[:, None] * Z) @ L + np.eye(Z.shape[1]), L.T)
    return design.X, Z, P, P @ Z.T @ (weights[:, None] * design.X)


@pytest.mark.parametrize(
    ("name", "formula", "table", "given"),
    [
        ("laplace", CBPP, "cbpp", {"family": "binomial"}),
        ("agq", CBPP, "cbpp", {"family": "binomial", "options": {"nodes": 9}}),
        ("laplace", CBPP, "cbpp", {"family": "binomial", "link": "probit"}),
        ("laplace", "TICKS ~ YEAR + h + (h | LOCATION) + (1 | BROOD)", "ticks", {"family": "poisson"}),
    ],
)
def test_errors_are_those_of_the_equations_in_full(name, formula, table, given):
    fit = wb.fit(formula, ticks() if table == "ticks" else DATA / "datasets/cbpp.csv", name, **given)
    eta = fit.predict(scale="link")["estimate"].to_numpy()
    m = fit.fitted
    if fit.design.link == "probit":
        slope = np.exp(-(eta**2) / 2) / np.sqrt(2 * np.pi)
        weights = fit.design.weights * slope**2 / (m * (1 - m))
    else:
        slope = m if fit.design.family == "poisson" else m * (1 - m)
        weights = fit.design.weights * slope
    X, Z, P, pull = dense(fit, weights)
    away = X - Z @ pull
    variance = np.einsum("mi,ij,mj->m", Z, P, Z) + np.einsum("mi,ij,mj->m", away, fit.fixed_cov, away)
    link, response = fit.predict(scale="link"), fit.predict()
    np.testing.assert_allclose(link["std_error"], np.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(response["std_error"], slope * np.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(response["estimate"], m, rtol=1e-12)
    for end in ("conf_low", "conf_high"):
        np.testing.assert_allclose(response[end], fit.design.mean(link[end].to_numpy()), rtol=1e-12)
    errors = fit.standard_errors
    np.testing.assert_allclose(errors["conditional_sd"], fit.effects["std_error"], rtol=1e-9)
    np.testing.assert_allclose(errors["coefficient_se"], fit.coefficients["std_error"], rtol=1e-9)
    both = P + pull @ fit.fixed_cov @ pull.T
    np.testing.assert_allclose(errors["effect_prediction_se"], np.sqrt(np.diag(both)), rtol=1e-9)


def test_the_observed_information_has_its_own_errors():
    fit = cbpp("laplace", link="cloglog", options={"information": "observed"})
    np.testing.assert_allclose(fit.standard_errors["conditional_sd"], fit.effects["std_error"], rtol=1e-9)
    other = cbpp("laplace", link="cloglog")
    assert np.abs(other.standard_errors["conditional_sd"] / fit.effects["std_error"] - 1).max() > 1e-3


def test_a_new_level_may_lie_anywhere_in_the_population():
    fit = cbpp("laplace")
    new = fit.predict(NEW, new_levels="population", scale="link").iloc[2]
    population = fit.predict(NEW, groups=False, scale="link").iloc[2]
    tau = fit.components[0].sd[0]
    assert new["estimate"] == population["estimate"]
    assert new["std_error"] == pytest.approx(np.hypot(population["std_error"], tau), rel=1e-12)
    assert new["new_level"] == "herd 99"


@pytest.mark.parametrize("population", ["plug_in", "estimated"])
def test_a_fixed_priors_errors_are_its_curvature(population):
    fit = cbpp("fixed_prior", options={"population": population})
    first = {"period": ["1"] * 15, "herd": fit.coefficients["level"].tolist()}  # the coefficient of the intercept
    found = fit.predict(first, scale="link")
    np.testing.assert_allclose(found["estimate"], fit.coefficients["estimate"], rtol=1e-12)
    np.testing.assert_allclose(found["std_error"], fit.coefficients["std_error"], rtol=1e-8)
    tau = fit.components[0].sd[0]
    new = fit.predict({"period": ["1"], "herd": ["new"]}, new_levels="population", scale="link")
    assert new["std_error"][0] == pytest.approx(tau, rel=1e-12)  # its mean is held


def test_a_held_coefficient_of_a_gaussian_response_has_no_error():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.5], "x": [0.0, 1, 0, 1, 0, 1], "g": list("aabbcc")}
    fit = wb.fit("y ~ x + (1 | g)", table, "fixed_prior", options={"population": "plug_in"})
    errors = fit.predict({"x": [0.0, 5.0], "g": ["a", "a"]})["std_error"]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)


def test_what_has_no_errors_has_estimates():
    fit = cbpp("penalized")
    found = fit.predict()
    np.testing.assert_allclose(found["estimate"], fit.fitted, rtol=1e-12)
    assert found["std_error"].isna().all()
    assert set(found["std_error_kind"]) == {"none: the fit has no joint error"}
    assert set(found["interval"]) == {"none: the fit has no joint error"}


def test_gamma_with_the_inverse_link_keeps_its_interval_in_order():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.5], "g": list("aabbcc")}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "fixed_prior", family="gamma", options={"mean": 0.4, "sd": 0.05})
    link, response = fit.predict(scale="link"), fit.predict()
    np.testing.assert_allclose(response["estimate"], 1 / link["estimate"], rtol=1e-12)
    np.testing.assert_allclose(response["conf_low"], 1 / link["conf_high"], rtol=1e-12)
    np.testing.assert_allclose(response["std_error"], link["std_error"] / link["estimate"] ** 2, rtol=1e-12)


@pytest.mark.parametrize("scale", ["mean", None, True])
def test_an_unknown_scale_is_refused(scale):
    with pytest.raises(OptionError, match="must be 'response' or 'link'"):
        cbpp("laplace").predict(scale=scale)


def test_the_scales_of_a_gaussian_response_are_one():
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", "reml")
    pd.testing.assert_frame_equal(fit.predict(scale="link"), fit.predict(scale="response"))


# --- posteriors ---------------------------------------------------------------------------------------

SMALL = {"k": [1, 4, 0, 6], "n": [8, 9, 5, 11], "g": list("abcd"), "o": [0.2, -0.1, 0.0, 0.4]}
PRIORS = {"(Intercept)": "Normal(0, 1.5)", "sd(g)": "HalfNormal(0.4)"}


def small(family, estimator="exact", **given):
    formula = "cbind(k, n - k) ~ 1 + (1 | g)" if family == "binomial" else "k ~ 1 + (1 | g)"
    return wb.fit(formula, SMALL, estimator, family=family, offset="o", priors=PRIORS, **given)


def grid(family):
    """The posterior by sums over b and tau, effects by Gauss-Hermite rules: nodes of (b, tau), probabilities, rule."""
    z, w = np.polynomial.hermite_e.hermegauss(160)
    x, of_x = np.polynomial.legendre.leggauss(120)
    tau, of_tau = 1.5 * (x + 1), of_x  # up to 3
    b = np.linspace(-11, 11, 601)
    log_p = -(b[:, None] ** 2) / 2 / 1.5**2 - (tau / 0.4) ** 2 / 2 + np.log(of_tau)
    k, n, o = (np.asarray(SMALL[name], dtype=float) for name in "kno")
    for i in range(4):
        eta = b[:, None, None] + tau[:, None] * z + o[i]
        said = k[i] * eta - (n[i] * np.logaddexp(0, eta) if family == "binomial" else np.exp(eta))
        log_p = log_p + np.log(np.exp(said) @ w + 1e-300)
    p = np.exp(log_p - log_p.max())
    return b, tau, p / p.sum(), z, w / w.sum()


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_an_exact_posterior_of_rows_is_the_sum_over_a_grid(family):
    fit = small(family)
    b, tau, p, z, w = grid(family)
    at = {"g": ["a", "new", "new"], "o": [0.7, 0.7, 0.0]}
    link = fit.predict(at, new_levels="population", scale="link")
    population = fit.predict(at, groups=False, scale="link")
    c = b[:, None, None] + tau[:, None] * z
    mass = p[:, :, None] * w
    mean = (mass * c).sum()
    of_b = CubicSpline(b, p, axis=0).antiderivative()

    def below(at):
        """The distribution function of a new group's coefficient."""
        places = np.clip(at - tau[:, None] * z, b[0], b[-1])
        found = np.array([of_b(line)[:, k] for k, line in enumerate(places)])
        return (found @ w).sum() / (b[1] - b[0])

    assert link["estimate"][2] == pytest.approx(mean, abs=1e-8)
    assert link["estimate"][1] == pytest.approx(mean + 0.7, abs=1e-8)
    assert link["std_error"][1] == pytest.approx(np.sqrt((mass * (c - mean) ** 2).sum()), abs=1e-8)
    assert population["estimate"][0] == pytest.approx((p.sum(axis=1) * b).sum() + 0.7, abs=1e-8)
    for name, share in (("conf_low", 0.025), ("conf_high", 0.975)):
        assert below(link[name][2]) == pytest.approx(share, abs=1e-7)  # of the spline
    response = fit.predict(at, new_levels="population")
    inverse = expit if family == "binomial" else np.exp
    for name in ("conf_low", "conf_high"):
        np.testing.assert_allclose(response[name], inverse(link[name]), rtol=1e-12)
    k, n, o = SMALL["k"][0], SMALL["n"][0], SMALL["o"][0]  # level a, at another offset than its own
    said = k * (c + o) - (n * np.logaddexp(0, c + o) if family == "binomial" else np.exp(c + o))
    within = np.exp(said) * w
    of_a = p[:, :, None] * within / (within.sum(axis=2, keepdims=True) + 1e-300)
    value = inverse(c + 0.7)
    mean_a = (of_a * value).sum()
    assert response["estimate"][0] == pytest.approx(mean_a, rel=1e-8)
    assert response["std_error"][0] == pytest.approx(np.sqrt((of_a * (value - mean_a) ** 2).sum()), rel=1e-7)
    if family == "binomial":
        mean_new = (mass * value).sum()
        assert response["estimate"][1] == pytest.approx(mean_new, rel=1e-8)
        assert response["std_error"][1] == pytest.approx(np.sqrt((mass * (value - mean_new) ** 2).sum()), rel=1e-8)
        typical = fit.predict(at, groups=False)
        assert typical["estimate"][0] == pytest.approx((p.sum(axis=1) * expit(b + 0.7)).sum(), rel=1e-8)
    else:  # exp of a spread without bounds has no mean: the median stands there, and no standard error
        assert below(np.log(response["estimate"][2])) == pytest.approx(0.5, abs=1e-7)  # of the spline
        assert response["point"].tolist() == ["posterior mean", "posterior median", "posterior median"]
        assert np.isnan(response["std_error"][1])


def test_exact_rows_of_the_fit_are_its_fitted_values():
    for fit in (cbpp("exact", HERDS), small("poisson")):
        np.testing.assert_allclose(fit.predict()["estimate"], fit.fitted, rtol=1e-9)


def test_without_an_intercept_a_new_level_is_normal_given_tau():
    table = {"k": [1, 4, 0, 6], "n": [8, 9, 5, 11], "g": list("abcd")}
    priors = {"sd(g)": "HalfNormal(1)"}
    fit = wb.fit("cbind(k, n - k) ~ 0 + (1 | g)", table, "exact", family="binomial", priors=priors)
    new = fit.predict({"g": ["new"]}, new_levels="population", scale="link").iloc[0]
    mean, sd = fit.posterior.deviation.moments
    assert new["estimate"] == 0
    assert new["std_error"] == pytest.approx(np.hypot(mean, sd), rel=1e-9)
    assert new["conf_low"] == pytest.approx(-new["conf_high"], rel=1e-9)
    response = fit.predict({"g": ["new"]}, new_levels="population").iloc[0]
    assert response["estimate"] == pytest.approx(0.5, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_draws_say_what_the_exact_posterior_says(family):
    exact, drawn = small(family), small(family, "hierarchical", options={"draws": 2000})
    at = {"g": ["a", "d", "new"], "o": [0.7, 0.7, 0.0]}
    for scale in ("link", "response"):
        for groups in (True, False):
            one, other = (
                fit.predict(at, new_levels="population", scale=scale, groups=groups) for fit in (exact, drawn)
            )
            unit = np.where(one["std_error"].isna(), one["estimate"], one["std_error"])
            assert np.abs((one["estimate"] - other["estimate"]) / unit).max() < 0.06  # 4,000 dependent draws
            np.testing.assert_array_equal(one["point"], other["point"])
            for end in ("conf_low", "conf_high"):
                reach = one["conf_high"] - one["conf_low"]
                assert np.abs((one[end] - other[end]) / reach).max() < 0.1
    np.testing.assert_allclose(drawn.predict()["estimate"], drawn.fitted, rtol=1e-9)


def test_every_estimator_of_counts_predicts_its_own_rows():
    names = [
        e.name for e in REGISTRY.values() if "poisson" in e.families and e.name not in ("hierarchical", "statsmodels")
    ]
    for name in names:
        fit = (
            small("poisson", name)
            if REGISTRY[name].bayesian
            else wb.fit("k ~ 1 + (1 | g)", SMALL, name, family="poisson", offset="o")
        )
        found = fit.predict()
        np.testing.assert_allclose(found["estimate"], fit.fitted, rtol=1e-9)


def test_a_row_without_an_error_has_no_interval_and_says_why():
    found = cbpp("no_pooling").predict({"period": ["1", "1"], "herd": ["1", "99"]}, new_levels="population")
    assert found["interval"].tolist() == [
        "Wald 95 %, through the link",
        "none: without pooling, nothing is known of a new level",
    ]


def test_what_to_plug_in_for_counts_is_named():
    with pytest.raises(OptionError, match=r"reml does not fit binomial .* or plug in 'laplace' or 'agq'"):
        cbpp("fixed_prior", options={"plug_in": "reml"})

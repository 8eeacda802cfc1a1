"""Pooling of counts, shares and gamma responses, complete and none. Rungs: R's glm, score equations, limits."""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

import workbench as wb
from workbench import group_regressions
from workbench.families import family_of

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
G = np.repeat(list("abcd"), 3)
X = [1, 2, 3] * 4
POSITIVE = {"y": [1.2, 0.7, 2.5, 3.1, 0.9, 1.4, 5.2, 2.2, 0.4, 1.1, 2.9, 4.4], "g": G, "x": X}
COUNTS = {"k": [0, 2, 3, 0, 0, 0, 4, 1, 6, 2, 0, 1], "g": G, "x": X, "o": [0.1, 0.2, 0.4] * 4}
BINARY = {
    "y": [0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1],
    "g": np.repeat(list("abcd"), 5),
    "x": [-2, -1, 0, 1.5, 2] * 4,
}


def cbpp(estimator, **given):
    return wb.fit(given.pop("formula", CBPP), DATA / "datasets/cbpp.csv", estimator, family="binomial", **given)


# --- R's glm, control = glm.control(epsilon = 1e-14, maxit = 200) --------------------------------------


def test_glm_of_shares_with_a_column_for_every_herd():
    # glm(cbind(incidence, size - incidence) ~ 0 + herd + period, binomial, cbpp): summary()$coefficients, logLik()
    fit = cbpp("no_pooling")
    own = fit.coefficients.set_index("level")
    expected = {
        "1": -0.6294814026996013,
        "8": -0.6061358035703157,
        "13": -2.6132631905325145,
        "14": -0.0405477652677191,
    }
    errors = {"1": 0.409010216162023, "8": 0.358870281282637, "13": 0.605482650629400, "14": 0.410931371114930}
    for herd, value in expected.items():
        assert own.loc[herd, "estimate"] == pytest.approx(value, rel=1e-12)
        assert own.loc[herd, "std_error"] == pytest.approx(errors[herd], rel=1e-9)
    periods = [-0.8935755744860389, -1.0316394975294580, -1.4642045777066843]
    np.testing.assert_allclose(fit.population.estimate[1:], periods, rtol=1e-12)
    periods = [0.313112846590334, 0.332474908845759, 0.433198093381956]
    np.testing.assert_allclose(fit.population.std_error[1:], periods, rtol=1e-9)
    assert (fit.log_likelihood, fit.df) == (pytest.approx(-76.3913279398512, rel=1e-12), 18)
    # binomial(link = "cloglog"): coef()
    fit = cbpp("no_pooling", link="cloglog")
    own = fit.coefficients.set_index("level")["estimate"]
    found = [*own[["1", "2", "15"]], fit.population.estimate[1]]
    expected = [-0.871401302438302, -1.979179978710528, -2.438000108396721, -0.823681542559085]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_glm_of_shares_for_all_herds():
    # glm(cbind(incidence, size - incidence) ~ period, binomial, cbpp)
    fit = cbpp("complete_pooling")
    expected = [-1.26902348936715, -1.17076272514038, -1.30140533385901, -1.78227863534165]
    np.testing.assert_allclose(fit.population.estimate, expected, rtol=1e-12)
    expected = [0.144919762468155, 0.291467789118791, 0.312881430987113, 0.413056457603226]
    np.testing.assert_allclose(fit.population.std_error, expected, rtol=1e-9)
    assert (fit.log_likelihood, fit.df) == (pytest.approx(-99.0291994893634, rel=1e-12), 4)
    assert fit.effects["estimate"].eq(0).all()
    assert fit.coefficients["estimate"].eq(fit.population.estimate[0]).all()


def test_glm_of_counts_without_the_group_that_has_none():
    # glm(k ~ 0 + g + x + offset(o), poisson, subset = g != "b")
    fit = wb.fit("k ~ x + (1 | g)", COUNTS, "no_pooling", family="poisson", offset="o")
    own = fit.coefficients.set_index("level")
    expected = [-0.088263516283092, 0.700193844081178, -0.599089140049083]
    np.testing.assert_allclose(own.loc[["a", "c", "d"], "estimate"], expected, rtol=1e-12)
    expected = [0.774178235418448, 0.700186425964423, 0.855970369537438]
    np.testing.assert_allclose(own.loc[["a", "c", "d"], "std_error"], expected, rtol=1e-9)
    assert fit.population.estimate[1] == pytest.approx(0.165968701229332, rel=1e-12)
    assert np.isnan(own.loc["b", "estimate"])
    assert any("1 of 4 levels of g have separated outcomes" in text for text in fit.warnings)


def test_glm_of_gamma_responses():
    # glm(y ~ 0 + g + x, Gamma(link = "log")): its Fisher scoring ends some 1e-7 from the root of the score
    fit = wb.fit("y ~ x + (1 | g)", POSITIVE, "no_pooling", family="gamma", link="log")
    own = fit.coefficients
    expected = [0.625860210212846, 0.767196403950045, 1.101478024722027, 1.281281582777877]
    np.testing.assert_allclose(own["estimate"], expected, rtol=2e-7)
    np.testing.assert_allclose(own["std_error"], 0.696024511401852, rtol=1e-7)
    assert fit.sigma**2 == pytest.approx(0.581340144566624, rel=1e-7)
    assert (fit.log_likelihood, fit.df) == (pytest.approx(-18.6156056022398, rel=1e-12), 6)
    # glm(y ~ x, Gamma), glm(y ~ 0 + g, Gamma)
    fit = wb.fit("y ~ x + (1 | g)", POSITIVE, "complete_pooling", family="gamma")
    np.testing.assert_allclose(fit.population.estimate, [0.3636585323481025, 0.0507959712365137], rtol=1e-8)
    np.testing.assert_allclose(fit.population.std_error, [0.241427724279172, 0.119344531471846], rtol=1e-7)
    assert fit.log_likelihood == pytest.approx(-19.5513571603111, rel=1e-12)
    fit = wb.fit("y ~ 1 + (1 | g)", POSITIVE, "no_pooling", family="gamma")
    means = np.array(POSITIVE["y"]).reshape(4, 3).mean(axis=1)
    np.testing.assert_allclose(fit.coefficients["estimate"], 1 / means, rtol=1e-12)


def test_glm_of_slopes_group_by_group():
    # for (j in c("a", "c")) glm(y ~ x, binomial("probit"), subset = g == j)
    fit = wb.fit("y ~ x + (x | g)", BINARY, "no_pooling", family="binomial", link="probit")
    own = fit.group_effects[0].coefficient
    np.testing.assert_allclose(own.estimate[0], [0.335084707517300, 0.676490955992376], rtol=1e-7)
    np.testing.assert_allclose(own.estimate[2], [-0.341054101814080, 0.335038420269056], rtol=1e-7)
    np.testing.assert_allclose(own.std_error[2], [0.605078381448825, 0.410335141231498], rtol=1e-6)
    assert np.isnan(own.estimate[[1, 3]]).all()  # all successes; failures below and successes above
    assert any("2 of 4 levels of g have separated outcomes" in text and "(b, d)" in text for text in fit.warnings)


# --- what must hold of any such fit -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "table", "given"),
    [
        ("y ~ x + (1 | g)", POSITIVE, {"family": "gamma", "link": "log"}),
        ("y ~ x + (x | g)", POSITIVE, {"family": "gamma", "link": "log"}),
        ("k ~ x + (1 | g)", COUNTS, {"family": "poisson", "offset": "o"}),
        ("y ~ x + (1 | g)", BINARY, {"family": "binomial", "link": "probit"}),
        ("y ~ x + (0 + x || g)", BINARY, {"family": "binomial", "link": "cloglog"}),
    ],
)
@pytest.mark.parametrize("dense", [group_regressions.DENSE, 0])
def test_the_score_is_zero_in_every_group_and_column(formula, table, given, dense, monkeypatch):
    monkeypatch.setattr(group_regressions, "DENSE", dense)
    fit = wb.fit(formula, table, "no_pooling", **given)
    design, used = fit.design, np.isfinite(fit.fitted)
    assert used.any()
    family, mean = family_of(design.family, design.link), fit.fitted[used]
    slope = family.slope(family.link(mean))
    score = design.weights[used] * (design.y[used] - mean) * slope / family.variance(mean)
    for block in design.blocks:
        for k in range(len(block.terms)):
            by_group = np.bincount(block.codes[used], weights=score * block.Z[used, k])
            np.testing.assert_allclose(by_group, 0, atol=1e-9)
    np.testing.assert_allclose(score @ design.X[used], 0, atol=1e-9)
    assert fit.converged


def test_everything_separated_leaves_nothing_and_says_so():
    table = {"y": [0, 0, 1, 1], "g": list("aabb")}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "no_pooling", family="binomial")
    assert np.isnan(fit.coefficients["estimate"]).all()
    assert np.isnan(fit.population.estimate).all()
    assert any("2 of 2 levels of g have separated outcomes" in text for text in fit.warnings)


def test_columns_are_lost_with_the_last_level():
    table = {"y": [0, 0, 1, 1], "g": list("aabb"), "x": [1, 2, 1, 2], "z": [1, 3, 3, 1]}
    fit = wb.fit("y ~ x + z + (1 | g)", table, "no_pooling", family="binomial")
    assert np.isnan(fit.population.estimate).all()
    assert fit.warnings[-1] == "Without pooling, x and z have no estimate: no level is left."


def test_all_rows_separated_are_named():
    fit = wb.fit("y ~ x + (1 | g)", {"y": [0, 0, 1, 1], "x": [0, 1, 2, 3], "g": list("abab")}, "complete_pooling",
                 family="binomial")  # fmt: skip
    assert any("outcomes are separated" in text for text in fit.warnings)


def test_their_rows_are_predicted_with_the_errors_of_the_regressions():
    fit = cbpp("no_pooling", formula="cbind(incidence, size - incidence) ~ 1 + (1 | herd)")
    link = fit.predict({"herd": fit.coefficients["level"].tolist()}, scale="link")
    np.testing.assert_allclose(link["estimate"], fit.coefficients["estimate"], rtol=1e-12)
    np.testing.assert_allclose(link["std_error"], fit.coefficients["std_error"], rtol=1e-9)
    table = pd.read_csv(DATA / "datasets/cbpp.csv").groupby("herd")[["incidence", "size"]].sum()
    share = (table["incidence"] / table["size"]).rename(index=str)[fit.coefficients["level"]]
    response = fit.predict({"herd": fit.coefficients["level"].tolist()})
    np.testing.assert_allclose(response["estimate"], share, rtol=1e-9)
    pooled = cbpp("complete_pooling")
    found = pooled.predict({"period": ["1", "2"]}, groups=False, scale="link")
    expected = [pooled.population.std_error[0], np.sqrt(pooled.fixed_cov[:2, :2].sum())]
    np.testing.assert_allclose(found["std_error"], expected, rtol=1e-12)


def test_pooling_lies_between_them():
    """Every herd's Laplace estimate lies between its own and what all herds say, as no other column varies."""
    herds = wb.compare(
        "cbind(incidence, size - incidence) ~ 1 + (1 | herd)",
        DATA / "datasets/cbpp.csv",
        ["laplace"],
        family="binomial",
    )
    assert herds.shrinkage["shrinkage"].between(0, 1).all()

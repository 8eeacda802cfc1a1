"""The lines of arm's bayesglm that a report prints, and what R gave for them (R 4.2.2, lme4 1.1-31, arm 1.13-1).

The figures are display()'s: coefficients, and their standard errors at bayesglm's own dispersion.
"""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

import workbench as wb
from workbench.comparison import Comparison
from workbench.report.context import Context
from workbench.report.prior_held import summary_over_display
from workbench.report.r_code import r_code

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
STATED = {"mean": -1.3992304, "sd": 0.6475184}
SIX = {"y": [1.0, 2, 4, 3, 7, 6, 2, 5], "x": [0.0, 1, 0, 1, 1, 0, 1, 1], "g": list("aabbccdd")}
CANNOT = "# arm's bayesglm cannot give the fixed prior's column: "


def plugged(formula, data, hub="reml", options=None, **more):
    if isinstance(data, str):
        data = DATA / "datasets" / f"{data}.csv"
    return wb.compare(formula, data, [hub, "fixed_prior"], options={"fixed_prior": options or {}}, **more)


def block(comparison, **study):
    """What stands after lme4's lines."""
    return r_code(comparison, Context(study=study)).partition("\n\n")[2]


@pytest.fixture(scope="module")
def dyestuff():
    return plugged("Yield ~ 1 + (1 | Batch)", "Dyestuff")


@pytest.fixture(scope="module")
def sleepstudy():
    return plugged("Reaction ~ Days + (Days | Subject)", "sleepstudy")


@pytest.fixture(scope="module")
def cbpp():
    return plugged(CBPP, "cbpp", "laplace", STATED, family="binomial")


@pytest.fixture(scope="module")
def penicillin():
    return plugged("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin")


# --- the lines ----------------------------------------------------------------------------------------


def test_group_means_have_the_mixed_models_mean_and_sd(dyestuff):
    assert block(dyestuff).splitlines() == [
        "library(arm)                              # the fixed prior's column, with the same mean and SD",
        "b <- bayesglm(Yield ~ 0 + Batch, data = d, prior.df = Inf, scaled = FALSE,",
        "              prior.mean = fixef(fit),",
        '              prior.scale = attr(VarCorr(fit)[["Batch"]], "stddev"))',
        "display(b)                                # the column's standard errors; summary(b) has others",
    ]


def test_slopes_have_a_mean_and_a_scale_each(sleepstudy):
    lines = block(sleepstudy).splitlines()
    assert "correlations of terms are left out, here as in the report's column" in lines[1]
    assert lines[2:5] == [
        "b <- bayesglm(Reaction ~ 0 + Subject + Subject:Days, data = d, prior.df = Inf, scaled = FALSE,",
        "              prior.mean = rep(fixef(fit), each = 18),",
        '              prior.scale = rep(attr(VarCorr(fit)[["Subject"]], "stddev"), each = 18))',
    ]


def test_a_stated_mean_and_sd_are_printed(cbpp):
    lines = block(cbpp).splitlines()
    assert lines[0].endswith("with the same stated mean and SD")
    assert "~ 0 + herd + period, data = d, family = binomial(" in lines[1]
    assert lines[2:4] == [
        "              prior.mean = c(rep(-1.3992304, 15), rep(0, 3)),",
        "              prior.scale = c(rep(0.6475184, 15), rep(Inf, 3)))",
    ]
    assert "fixef" not in "\n".join(lines)
    assert lines[-1].endswith("# the column's standard errors")  # of counts, summary(b) has the same


def test_counts_hold_what_does_not_vary_where_laplace_has_it():
    lines = block(plugged(CBPP, "cbpp", "laplace", family="binomial")).splitlines()
    assert lines[1] == (
        "d$held <- drop(model.matrix(fit)[, 2:4, drop = FALSE] %*% fixef(fit)[2:4])   "
        "# held: period2, period3 and period4"
    )
    assert '~ 0 + herd, data = d, family = binomial("logit"), offset = held, prior.df = Inf' in lines[2]
    assert lines[3] == "              prior.mean = fixef(fit)[1],"


def test_several_factors_are_written_in_effects(penicillin):
    assert block(penicillin).splitlines()[1:7] == [
        'Z_effects <- as.matrix(getME(fit, "Z"))   # lme4\'s columns of the effects',
        "d$held <- drop(model.matrix(fit) %*% fixef(fit))",
        "# its coefficients are effects: the report's are these plus the population values",
        "b <- bayesglm(diameter ~ 0 + Z_effects, data = d, offset = held, prior.df = Inf, scaled = FALSE,",
        "              prior.mean = 0,",
        '              prior.scale = sigma(fit) * sqrt(rowSums(getME(fit, "Lambda")^2)))',
    ]
    given = plugged("y ~ x + (1 | g) + (1 | h)", SIX | {"h": list("uvuvuvuv")}, options={"mean": 3.0, "sd": 1.5})
    lines = block(given).splitlines()
    assert "d$held <- drop(model.matrix(fit)[, 1, drop = FALSE] %*% 3)" in lines
    assert "X_free <- model.matrix(fit)[, 2, drop = FALSE]" in lines
    assert "sds <- c(g = 1.5, h = 1.5)" in lines
    scale = 'c(rep(sds[names(getME(fit, "cnms"))], diff(getME(fit, "Gp"))), rep(Inf, 1)))'
    assert f"              prior.scale = {scale}" in lines


def test_another_fits_numbers_are_printed():
    given = plugged("y ~ 1 + (1 | g)", SIX, options={"plug_in": "ml"})
    fixed = given.fits["fixed_prior"]
    lines = block(given)
    assert f"prior.mean = {fixed.diagnostics['prior_mean'][0]:.10g}," in lines
    assert f"prior.scale = {fixed.diagnostics['prior_sd'][0]:.10g})" in lines


def test_weights_offsets_and_dropped_rows_are_kept():
    table = SIX | {"w": [1.0, 2, 1, 2, 1, 2, 1, 2], "t": [0.1] * 8, "x": [np.nan, *SIX["x"][1:]]}
    given = plugged("y ~ x + (1 | g)", table, weights="w", offset="t", options={"sd": 1.0})
    lines = block(given, weights="w")
    assert "data = d, weights = w, offset = held, prior.df" in lines
    assert 'drop(model.matrix(fit)[, 1, drop = FALSE] %*% fixef(fit)[1]) + getME(fit, "offset")' in lines
    assert "d <- d[rownames(model.frame(fit)), ]" in lines


@pytest.mark.parametrize(
    ("formula", "options", "why"),
    [
        ("y ~ 1 + (1 | g)", {"sd": 0.0, "mean": 1.0}, "it takes no prior with an SD of zero"),
        ("y ~ 1 + (1 | g)", {"dispersion": "reml"}, "it estimates the dispersion, which is held here"),
        ("y ~ 1 + (1 | g)", {"df": 4.0}, "its lines are written for normal priors that are not rescaled"),
    ],
)
def test_where_arm_cannot_give_the_column_one_line_says_why(formula, options, why):
    given = plugged(formula, SIX, options=options)
    assert block(given) == f"{CANNOT}{why}."


def test_correlated_priors_are_not_arms():
    joint = plugged("Reaction ~ Days + (Days | Subject)", "sleepstudy", options={"covariance": "joint"})
    assert block(joint) == f"{CANNOT}its priors cannot correlate."


def test_a_matrix_that_would_not_fit_is_not_asked_for(monkeypatch, penicillin):
    monkeypatch.setattr("workbench.report.bayesglm_code.MOST", 144 * 30 - 1)
    assert block(penicillin) == f"{CANNOT}its 144 rows x 30 coefficients do not fit into a dense matrix."


def test_known_errors_and_no_fixed_prior_have_no_lines(dyestuff):
    table = {"y": [1.0, 2.0, 4.0, 9.0], "g": list("abcd"), "s": [1.0, 1.0, 2.0, 1.0]}
    known = plugged("y ~ 1 + (1 | g)", table, se="s")
    assert r_code(known, Context()).endswith(f"{CANNOT}it estimates the residual SD, which is known here.")
    assert "bayesglm" not in r_code(Comparison({"reml": dyestuff.fits["reml"]}), Context())


# --- what R gave --------------------------------------------------------------------------------------


def table(fit, kind="coefficient"):
    """Estimate and standard error by level and term."""
    found = {}
    for part in fit.group_effects:
        e = getattr(part, kind)
        for j, level in enumerate(part.levels):
            for k, term in enumerate(part.terms):
                found[part.group, level, term] = (e.estimate[j, k], e.std_error[j, k])
    return found


def close(fit, expected, kind="coefficient"):
    found = table(fit, kind)
    for (group, level, term), (estimate, error) in expected.items():
        ours = found[group, level, term]
        assert abs(ours[0] - estimate) < 5e-5 * error, (level, term, ours, estimate)
        np.testing.assert_allclose(ours[1], error, rtol=1e-5)


def test_r_gives_the_column_of_dyestuff(dyestuff):
    means = {"A": 1509.8593, "B": 1527.8920, "C": 1556.1172, "D": 1504.3710, "E": 1584.3424, "F": 1482.4181}
    expected = {("Batch", batch, "(Intercept)"): (mean, 19.518628) for batch, mean in means.items()}
    close(dyestuff.fits["fixed_prior"], expected)
    np.testing.assert_allclose(summary_over_display(dyestuff.fits["fixed_prior"]), 20.038624 / 19.518628, rtol=1e-6)


def test_r_gives_the_column_of_sleepstudy(sleepstudy):
    expected = {
        ("Subject", "308", "(Intercept)"): (253.02621, 12.181572),
        ("Subject", "309", "(Intercept)"): (211.14558, 12.181572),
        ("Subject", "349", "Days"): (11.723038, 2.3256361),
        ("Subject", "372", "Days"): (11.731940, 2.3256361),
    }
    close(sleepstudy.fits["fixed_prior"], expected)
    np.testing.assert_allclose(summary_over_display(sleepstudy.fits["fixed_prior"]), 12.479903 / 12.181572, rtol=1e-5)


def test_r_gives_the_column_of_cbpp(cbpp):
    fixed = cbpp.fits["fixed_prior"]
    expected = {
        ("herd", "1", "(Intercept)"): (-0.81841372, 0.35599888),
        ("herd", "2", "(Intercept)"): (-1.7097324, 0.37219237),
        ("herd", "11", "(Intercept)"): (-1.4986262, 0.32126255),
    }
    close(fixed, expected)
    np.testing.assert_allclose(fixed.population.estimate[1:], [-0.9574804, -1.0924386, -1.5409411], rtol=1e-6)
    np.testing.assert_allclose(fixed.population.std_error[1:], [0.28417374, 0.30572006, 0.41121315], rtol=1e-6)


def test_r_gives_the_column_of_penicillin(penicillin):
    fixed = penicillin.fits["fixed_prior"]
    expected = {
        ("plate", "a", "(Intercept)"): (0.80454829, 0.27135727),
        ("plate", "w", "(Intercept)"): (-0.59692293, 0.27135727),
        ("sample", "D", "(Intercept)"): (-0.096895001, 0.20216989),
        ("sample", "F", "(Intercept)"): (-3.003745, 0.20216989),
    }
    close(fixed, expected, "effect")
    np.testing.assert_allclose(summary_over_display(fixed), 0.274352816732807 / 0.27135727, rtol=1e-6)


def test_r_gives_the_column_of_pastes():
    pastes = plugged("strength ~ 1 + (1 | batch/cask)", "Pastes").fits["fixed_prior"]
    expected = {
        ("cask:batch", "a:A", "(Intercept)"): (1.7747269, 1.1416308),
        ("batch", "C", "(Intercept)"): (0.72228323, 1.0284881),
        ("batch", "J", "(Intercept)"): (-0.53176445, 1.0284881),
    }
    close(pastes, expected, "effect")
    np.testing.assert_allclose(summary_over_display(pastes), 1.42174728271781 / 1.1416308, rtol=1e-5)


def test_r_gives_the_column_of_radon():
    houses = pd.read_csv(DATA / "datasets/radon.csv")
    houses["log_radon"] = np.log(np.where(houses["activity"] == 0, 0.1, houses["activity"]))
    radon = plugged("log_radon ~ floor + (1 | county)", houses).fits["fixed_prior"]
    expected = {
        ("county", "AITKIN", "(Intercept)"): (1.1914195, 0.24785207),
        ("county", "ANOKA", "(Intercept)"): (0.92762094, 0.099856828),
        ("county", "WRIGHT", "(Intercept)"): (1.5906531, 0.17663597),
    }
    close(radon, expected)
    np.testing.assert_allclose(radon.population.estimate[1], -0.69299817, rtol=1e-6)
    np.testing.assert_allclose(radon.population.std_error[1], 0.067421574, rtol=1e-6)
    np.testing.assert_allclose(summary_over_display(radon), 0.253863438145445 / 0.24785207, rtol=1e-6)

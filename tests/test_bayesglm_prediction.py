"""What `bayesglm` says beside its coefficients: predictions, likelihood, null deviance, print.

Rungs: R's figures; invariances.

Figures are of arm 1.13-1 on R 4.2.2, data `d` as in tests/test_bayesglm_against_r.py, with

    d$share <- d$s / (d$s + d$m); d$trials <- d$s + d$m
    new <- data.frame(x = c(-7, 2.25), z = c(3, 20), g = c("a", "c"), o = c("hi", "lo"), e = c(0.5, -0.25))
    f <- bayesglm(..., d, control = glm.control(epsilon = 1e-13), maxit = 10000)
    c(f$deviance, f$null.deviance, logLik(f)); AIC(f); c(f$df.residual, f$df.null)
    predict(f, new, se.fit = TRUE); predict(f, new, se.fit = TRUE, type = "response")

But for counts of successes, logLik is sum(dbinom(f$y * f$prior.weights, f$prior.weights, fitted(f), log = TRUE)), as of
a glm (see workbench/bayesglm/goodness.py); with an offset, f$null.deviance is that of glm(... ~ 1 + offset(e)).
"""

import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bayesglm_against_r import table

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.families import LINKS

NEW = {"x": [-7, 2.25], "z": [3, 20], "g": ["a", "c"], "o": ["hi", "lo"], "e": [0.5, -0.25]}
SEPARATED = {"x": range(1, 11), "y": [0] * 5 + [1] * 5}


def data():
    d = table(40)
    return d.assign(share=d["s"] / (d["s"] + d["m"]), trials=d["s"] + d["m"])


# formula, arguments; deviance, null deviance, log likelihood; parameters, df residual and null;
# linear predictors and their errors, means and their errors
R = [
    (
        # y ~ x + g, binomial
        "y ~ x + g", {"family": "binomial"},
        [54.67533613957468, 55.05110509708707, -27.33766806978734], [4, 36, 39],
        [0.1818236472514649, 0.1146194125790055, 0.8754981072521809, 0.7623566147662153],
        [0.5453310940162135, 0.5286235229480165, 0.2170754586743072, 0.1899645502926544],
    ),
    (
        # cbind(s, m) ~ x + g + offset(e), binomial("probit")
        "cbind(s, m) ~ x + g + offset(e)", {"family": "binomial", "link": "probit"},
        [48.85859818296397, 50.31115265548648, -62.62577277397417], [4, 36, 39],
        [-0.06255182450585606, -1.209337945264548, 0.2151967621563192, 0.2126691613524137],
        [0.4750616963590576, 0.1132665192500107, 0.08568329512027577, 0.04083542885803195],
    ),
    (
        # share ~ x, binomial("cloglog"), weights = trials
        "share ~ x", {"family": "binomial", "link": "cloglog", "weights": "trials"},
        [47.1650166990093, 47.31103812364374, -61.77898203199683], [2, 38, 39],
        [-1.202729213133709, -1.336037905464832, 0.2825178346515725, 0.1453425567765473],
        [0.2594582821334856, 0.2311698336303278, 0.06284297517687248, 0.02937577418700387],
    ),
    (
        # count ~ x + o + offset(e), poisson
        "count ~ x + o + offset(e)", {"family": "poisson"},
        [63.27864864903783, 64.38133590353208, -72.26711228903081], [5, 35, 39],
        [1.402222252516152, 0.2606851045001084, 0.5230671043058598, 0.2347069187557264],
        [4.06422166570826, 1.297818923742847, 2.125860657939158, 0.3046070806945568],
    ),
    (
        # count ~ 0 + x, poisson, weights = w
        "count ~ 0 + x", {"family": "poisson", "weights": "w"},
        [220.8839992531749, 227.9629983213345, -211.9169346459753], [1, 39, 40],
        [0.6274165150682224, -0.2016695941290715, 0.2337457242349965, 0.07513255421839174],
        [1.87276606118931, 0.8173649455087729, 0.4377510592954171, 0.06141071608465069],
    ),
    (
        # q ~ poly(x, 2) + scale(z) + o, weights = w
        "q ~ poly(x, 2) + scale(z) + o", {"weights": "w"},
        [126.1701618909894, 1510.51956875, -63.84231283530362], [8, 33, 39],
        [7.827097844152143, 20.59599341204808, 1.37168139635314, 0.8395942051018579],
        [7.827097844152143, 20.59599341204808, 1.37168139635314, 0.8395942051018579],
    ),
    (
        # r ~ x * g, Gamma, weights = w
        "r ~ x * g", {"family": "gamma", "weights": "w"},
        [21.9220855869643, 25.5612721018989, -193.6828270548818], [7, 34, 39],
        [0.3582953650747559, 0.2914917790568812, 0.07612859826314576, 0.07381455485073711],
        [2.790993402304707, 3.430628483710554, 0.5930146917608439, 0.8687391294625117],
    ),
    (
        # r ~ x, inverse.gaussian("log"), weights = w
        "r ~ x", {"family": "inverse_gaussian", "link": "log", "weights": "w"},
        [8.433795226555919, 8.487801979417046, -207.0208878882665], [3, 38, 39],
        [1.484280262632926, 1.35195915614235, 0.1871260135732772, 0.08875551946489352],
        [4.411788940446702, 3.864990237420289, 0.8255604771524636, 0.3430392162489799],
    ),
    (
        # y ~ x + o, binomial, drop.baseline = FALSE
        "y ~ x + o", {"family": "binomial", "drop_baseline": False},
        [53.82002556318891, 55.05110509708707, -26.91001278159445], [6, 34, 39],
        [-0.4737299452765442, 0.6330474587563651, 1.33272087901338, 0.6596748118004793],
        [0.3837337963914405, 0.6531801427159607, 0.3151647253380577, 0.1494399901759643],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "arguments", "goodness", "counts", "link", "response"), R, ids=[c[0] for c in R])
def test_r_figures(formula, arguments, goodness, counts, link, response):
    fit = wb.bayesglm(formula, data(), **arguments, tolerance=1e-13, max_iterations=10_000)
    found = (fit.deviance, fit.null_deviance, fit.log_likelihood)
    np.testing.assert_allclose(found, goodness, rtol=1e-10)
    assert (fit.df, fit.df_residual, fit.df_null) == tuple(counts)
    assert fit.aic == pytest.approx(2 * counts[0] - 2 * goodness[2], rel=1e-10)
    assert fit.bic == pytest.approx(np.log(40) * counts[0] - 2 * goodness[2], rel=1e-10)
    for type, figures in (("link", link), ("response", response)):
        made = fit.predict(NEW, type)
        # the fits differ by 1e-13 of themselves, predictors near zero a little more
        np.testing.assert_allclose([*made["estimate"], *made["std_error"]], figures, rtol=1e-9)


def test_a_held_dispersion_is_that_of_the_likelihood():
    from scipy.stats import gamma, norm

    d = data()
    fit = wb.bayesglm("q ~ x", d, dispersion=2.5, weights="w")
    assert fit.log_likelihood == pytest.approx(norm.logpdf(d["q"], fit.fitted, np.sqrt(2.5 / d["w"])).sum(), rel=1e-12)
    assert fit.aic == pytest.approx(4 - 2 * fit.log_likelihood, rel=1e-14)
    fit = wb.bayesglm("r ~ x", d, "gamma", dispersion=0.5)
    assert fit.log_likelihood == pytest.approx(gamma.logpdf(d["r"], 2, scale=fit.fitted / 2).sum(), rel=1e-12)
    assert wb.bayesglm("count ~ x", d, "poisson", dispersion=2.0).aic is None
    assert wb.bayesglm("count ~ x", d, "quasipoisson").aic is None


def test_null_deviance_of_one_outcome_is_zero():
    one = wb.bayesglm("y ~ x", {"y": [1, 1, 1], "x": [1, 2, 4]}, "binomial")
    assert one.null_deviance == 0
    assert wb.bayesglm("y ~ x", {"y": [0, 0, 0], "x": [1, 2, 4]}, "poisson").null_deviance == 0


def test_rows_are_coded_as_in_the_fit():
    d = data()
    fit = wb.bayesglm("q ~ poly(x, 2) * g + scale(z) + o", d)
    np.testing.assert_allclose(fit.predict()["estimate"], fit.fitted, rtol=1e-14)
    turned = d.iloc[[5, 3]].assign(g=pd.Categorical(d["g"].iloc[[5, 3]], ["b", "a", "c"]))
    again = fit.predict(turned)
    assert list(again.index) == [5, 3]
    np.testing.assert_allclose(again["estimate"], fit.fitted[[5, 3]], rtol=1e-12)
    np.testing.assert_allclose(again["std_error"], fit.predict()["std_error"].iloc[[5, 3]], rtol=1e-10)


def test_dropped_columns_are_left_out_of_new_rows():
    d = data()
    fit = wb.bayesglm("q ~ I(2 * x) + x + z", d, documented=["aliased"])
    assert fit.aliased == ("x",)
    np.testing.assert_allclose(fit.predict(d)["estimate"], fit.fitted, rtol=1e-13)


def test_missing_values_get_no_prediction():
    fit = wb.bayesglm("y ~ x", SEPARATED, "binomial")
    found = fit.predict({"x": [1.0, None, 3.0]})
    np.testing.assert_allclose(found["estimate"], [fit.fitted[0], np.nan, fit.fitted[2]], rtol=1e-14)
    assert found["interval"].tolist() == [
        "Wald 95 %, on the link", "none: a value is missing", "Wald 95 %, on the link"
    ]  # fmt: skip
    assert found.attrs["rows"] == "3 rows, 1 (missing: x 1) without a prediction"
    assert fit.predict({"x": [None]})["estimate"].isna().all()


def test_an_intercept_alone_predicts_every_row():
    fit = wb.bayesglm("y ~ 1", SEPARATED, "binomial")
    assert fit.predict({"z": [1, 2, 3]})["estimate"].tolist() == [fit.fitted[0]] * 3


@cache
def fit_of(family, link):
    ones = 0.2 if family in ("binomial", "quasibinomial") else 2.0
    d = data().assign(v=lambda d: ones * (1 + d["y"]))
    return wb.bayesglm("v ~ 0 + I(x + 9)" if link == "identity" else "v ~ x", d, family, link)


@pytest.mark.parametrize(("family", "link"), [(family, link) for family, links in LINKS.items() for link in links])
@given(at=st.floats(-30, 30))
def test_intervals_hold_the_mean_and_stay_in_the_domain(family, link, at):
    fit = fit_of(family, link)
    row = fit.predict({"x": [at]}).iloc[0]
    if np.isnan(row["estimate"]):
        assert row["point"] == f"none: outside the {link} link's domain"
        return
    assert row["conf_low"] <= row["estimate"] <= row["conf_high"]
    if family != "gaussian":
        assert row["conf_low"] >= 0
    if family in ("binomial", "quasibinomial"):
        assert row["conf_high"] <= 1
    eta = fit.predict({"x": [at]}, type="link", level=0.5).iloc[0]
    assert eta["conf_high"] - eta["estimate"] == pytest.approx(0.6744897501960817 * eta["std_error"], rel=1e-8)


@pytest.mark.parametrize(
    ("given", "type", "said"),
    [
        ({"x": [1]}, "terms", "type is 'terms'. There are: response, link"),
        ({"z": [1]}, "link", "no column 'x'"),
        ({"x": [1], "g": ["q"]}, "link", "g is 'q' in data row 1"),
        ({"x": ["a"], "g": ["a"]}, "link", "x holds labels"),
    ],
)
def test_errors_say_what_to_do(given, type, said):
    with pytest.raises(WorkbenchError) as problem:
        wb.bayesglm("q ~ x + g", data()).predict(given, type)
    assert said in str(problem.value)


def test_an_array_of_offsets_says_nothing_of_new_rows():
    d = data()
    fit = wb.bayesglm("count ~ x", d, "poisson", offset=d["e"].to_numpy())
    with pytest.raises(WorkbenchError, match="offset given as an array"):
        fit.predict(d)
    column = wb.bayesglm("count ~ x", d, "poisson", offset="e")
    np.testing.assert_allclose(fit.predict()["estimate"], column.predict(d)["estimate"], rtol=1e-14)


def test_print_shows_where_it_ended():
    text = repr(wb.bayesglm("y ~ x", SEPARATED, "binomial", max_iterations=3))
    assert "deviance 3.95626" in text
    assert "(null 13.8629)" in text
    assert "3 iterations, NOT CONVERGED" in text
    assert "Note: Deviance and dispersion had not settled after 3 iterations." in text
    wide = {"g": [f"l{k}" for k in range(60)] * 2, "y": np.arange(120) % 7}
    assert "and 10 more, in .fixed" in repr(wb.bayesglm("y ~ g", wide))


def test_least_squares_needs_no_statsmodels():
    code = (
        "import sys, workbench as wb\n"
        "fit = wb.bayesglm('y ~ x', {'x': [1.0, 2, 3, 4], 'y': [1.0, 2, 4, 3]})\n"
        "print(fit, fit.predict({'x': [2.5]}))\n"
        "assert not {'statsmodels', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

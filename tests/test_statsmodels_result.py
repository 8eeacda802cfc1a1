"""Results of statsmodels that a user fitted, read beside a design: by formulas, from arrays, in any order of rows.

Rungs: the result's own numbers under their labels; `reml`, which maximises the same; invariance to the order of rows
and to names; refusals.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.adapters import adapt
from workbench.adapters.statsmodels_result import read_statsmodels
from workbench.design import build_design
from workbench.errors import ComparisonError

SETS = Path(__file__).parent / "data" / "datasets"
SLOPES = "Reaction ~ Days + (Days | Subject)"


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


@pytest.fixture(scope="module")
def mixedlm():
    """Fit by statsmodels' formulas."""
    from statsmodels.formula.api import mixedlm as model

    return lambda formula, data, fit=None, **more: quietly(lambda: model(formula, data, **more).fit(**(fit or {})))


@pytest.fixture(scope="module")
def sleep():
    return pd.read_csv(SETS / "sleepstudy.csv", dtype={"Subject": str})


def close_to_reml(fit, formula, data, atol):
    """Points and conditional SDs, at the accuracy of statsmodels' search."""
    best = wb.fit(formula, data, "reml")
    np.testing.assert_allclose(fit.population.estimate, best.population.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.population.std_error, best.population.std_error, rtol=1e-3)
    assert fit.criterion == pytest.approx(best.criterion, abs=1e-5)
    assert fit.df == best.df
    for theirs, ours in zip(fit.components, best.components, strict=True):
        np.testing.assert_allclose(theirs.sd, ours.sd, rtol=1e-3)
    for theirs, ours in zip(fit.group_effects, best.group_effects, strict=True):
        np.testing.assert_allclose(theirs.effect.estimate, ours.effect.estimate, atol=atol)
        np.testing.assert_allclose(theirs.effect.std_error, ours.effect.std_error, rtol=1e-3)
        np.testing.assert_allclose(theirs.coefficient.estimate, ours.coefficient.estimate, atol=atol)
        assert np.isnan(theirs.coefficient.std_error).all()


# --- MixedLM ---------------------------------------------------------------------------------------------


def test_slopes_by_the_formula(mixedlm, sleep):
    result = mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    fit = adapt(result, build_design(SLOPES, sleep), "theirs")
    close_to_reml(fit, SLOPES, sleep, 1e-3)
    assert fit.components[0].covariance.tolist() == result.cov_re.to_numpy().tolist()
    first = fit.effects.iloc[0]
    assert (first["level"], first["estimate"]) == ("308", result.random_effects["308"].iloc[0])
    assert first["std_error_kind"] == "conditional SD"
    assert fit.warnings[0] == "Read from statsmodels' MixedLM, not computed here."


def test_arrays_without_a_name_in_them(sleep):
    from statsmodels.regression.mixed_linear_model import MixedLM

    X = np.column_stack([sleep["Days"], np.ones(len(sleep))])  # the other way round
    codes = 100 - pd.factorize(sleep["Subject"])[0]  # labels that say nothing, in reverse
    result = quietly(lambda: MixedLM(sleep["Reaction"].to_numpy(), X, codes, exog_re=X).fit())
    close_to_reml(adapt(result, build_design(SLOPES, sleep), "theirs"), SLOPES, sleep, 1e-3)


def test_rows_in_another_order_are_matched_by_labels(mixedlm, sleep):
    mixed = sleep.sample(frac=1, random_state=1)
    result = mixedlm("Reaction ~ Days", mixed, groups="Subject", re_formula="~Days")
    close_to_reml(adapt(result, build_design(SLOPES, sleep), "theirs"), SLOPES, sleep, 1e-3)
    numbers = mixed.assign(Subject=mixed["Subject"].astype(float))  # 308.0
    result = mixedlm("Reaction ~ Days", numbers, groups="Subject", re_formula="~Days")
    close_to_reml(adapt(result, build_design(SLOPES, sleep), "theirs"), SLOPES, sleep, 1e-3)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        {"re_formula": "~1", "vc_formula": {"slope": "0 + Days"}},
        {"vc_formula": {"zero": "1", "slope": "0 + Days"}},
        {"re_formula": "~0 + Days", "vc_formula": {"a": "1"}},
    ],
)
def test_independent_terms_in_any_of_its_ways(mixedlm, sleep, parts, shuffled):
    formula = "Reaction ~ Days + (Days || Subject)"
    data = sleep.sample(frac=1, random_state=2) if shuffled else sleep
    result = mixedlm("Reaction ~ Days", data, groups="Subject", **parts)
    close_to_reml(adapt(result, build_design(formula, sleep), "theirs"), formula, sleep, 2e-3)
    far = adapt(result, build_design(SLOPES, sleep), "theirs")
    assert far.components[0].correlation[0, 1] == 0
    assert any("keeps (Intercept) and Days of Subject independent" in text for text in far.warnings)


@pytest.mark.parametrize("shuffled", [False, True])
def test_crossed_and_nested_factors(mixedlm, shuffled):
    data = pd.read_csv(SETS / "Penicillin.csv").assign(one=1)
    theirs = data.sample(frac=1, random_state=3) if shuffled else data
    parts = {"s": "0 + C(sample)", "p": "0 + C(plate)"}
    result = mixedlm("diameter ~ 1", theirs, groups="one", vc_formula=parts)
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    close_to_reml(adapt(result, build_design(formula, data), "theirs"), formula, data, 1e-3)

    data = pd.read_csv(SETS / "Pastes.csv")
    theirs = data.sample(frac=1, random_state=4) if shuffled else data
    parts = {"groups": "batch", "re_formula": "1", "vc_formula": {"cask": "0 + C(cask)"}}
    formula = "strength ~ 1 + (1 | batch/cask)"
    design = build_design(formula, data)
    dense = adapt(mixedlm("strength ~ 1", theirs, **parts), design, "theirs")
    close_to_reml(dense, formula, data, 2e-3)
    sparse = adapt(mixedlm("strength ~ 1", theirs, **parts, use_sparse=True), design, "theirs")
    for one, other in zip(sparse.group_effects, dense.group_effects, strict=True):
        np.testing.assert_allclose(one.effect.estimate, other.effect.estimate, atol=1e-6)
        assert one.effect.std_error_kind == "none: statsmodels gives none for sparse matrices"
        assert np.isnan(one.effect.std_error).all()


def test_contrasts_and_interactions_are_known_by_their_values(mixedlm):
    rng = np.random.default_rng(5)
    n = 200
    data = pd.DataFrame(
        {"x": rng.normal(size=n), "kind": rng.choice(list("abc"), n), "g": rng.choice(list("pqrstu"), n)}
    )
    data["y"] = data["x"] + (data["kind"] == "b") + rng.normal(size=6)[pd.factorize(data["g"])[0]] + rng.normal(size=n)
    design = build_design("y ~ x * kind + (1 | g)", data)
    fit = adapt(mixedlm("y ~ C(kind) * x", data, groups="g"), design, "theirs")
    assert fit.fixed["term"].tolist() == ["(Intercept)", "x", "kindb", "kindc", "x:kindb", "x:kindc"]
    close_to_reml(fit, "y ~ x * kind + (1 | g)", data, 1e-3)
    with pytest.raises(ComparisonError, match=r"none of its columns is .*kindb.*treatment contrasts"):
        adapt(mixedlm("y ~ C(kind, Sum) * x", data, groups="g"), design)


def test_an_offset_is_what_they_subtracted(mixedlm, sleep):
    sleep = sleep.assign(known=10 * sleep["Days"], less=sleep["Reaction"] - 10 * sleep["Days"])
    design = build_design("Reaction ~ Days + (1 | Subject)", sleep, offset="known")
    fit = adapt(mixedlm("less ~ Days", sleep, groups="Subject"), design, "theirs")
    np.testing.assert_allclose(fit.population.estimate, [251.4051048, 0.4672860], atol=1e-6)  # 10 less than lme4's
    with pytest.raises(ComparisonError, match="another response than Reaction less its offset"):
        adapt(mixedlm("Reaction ~ Days", sleep, groups="Subject"), design)


def test_a_comparison_takes_it_beside_the_others(mixedlm, sleep):
    result = mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    comparison = wb.compare(SLOPES, sleep, ["reml", "statsmodels"], foreign={"theirs": result})
    far = comparison.agreement.query("estimator1 == 'statsmodels' and estimator2 == 'theirs'")
    assert far["max_difference"].max() < 1e-5  # the same search from the same start


# --- BayesMixedGLM ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cows():
    herds = pd.read_csv(SETS / "cbpp.csv", dtype={"period": str, "herd": str})
    long = herds.loc[herds.index.repeat(herds["size"]), ["herd", "period", "incidence"]]
    ill = long.groupby(level=0).cumcount() < long["incidence"]
    return long.assign(ill=ill.astype(int)).reset_index(drop=True)


@pytest.mark.parametrize("method", ["fit_vb", "fit_map"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_bayesian_results_are_the_estimators_own(cows, method, shuffled):
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    data = cows.sample(frac=1, random_state=6) if shuffled else cows
    model = BinomialBayesMixedGLM.from_formula("ill ~ period", {"anything": "0 + C(herd)"}, data, vcp_p=0.1)
    result = quietly(lambda: getattr(model, method)(rng=7))
    formula = "ill ~ period + (1 | herd)"
    fit = adapt(result, build_design(formula, cows, "binomial"), "theirs")
    options = {"method": method.removeprefix("fit_"), "vcp_p": 0.1}
    own = wb.fit(formula, cows, "statsmodels", family="binomial", options=options)
    # other starts: to the tolerance of the searches
    np.testing.assert_allclose(fit.population.estimate, own.population.estimate, atol=2e-4)
    np.testing.assert_allclose(fit.population.std_error, own.population.std_error, rtol=1e-3)
    np.testing.assert_allclose(fit.components[0].sd, own.components[0].sd, rtol=1e-3)
    for theirs, ours in zip(fit.group_effects, own.group_effects, strict=True):
        for name in ("effect", "coefficient"):
            np.testing.assert_allclose(getattr(theirs, name).estimate, getattr(ours, name).estimate, atol=2e-4)
            np.testing.assert_allclose(getattr(theirs, name).std_error, getattr(ours, name).std_error, rtol=1e-3)
        assert theirs.coefficient.std_error_kind == ours.coefficient.std_error_kind
    assert fit.parameters.names == own.parameters.names


def test_several_random_terms_of_counts_in_another_order(cows):
    from statsmodels.genmod.bayes_mixed_glm import PoissonBayesMixedGLM

    ticks = pd.read_csv(SETS / "grouseticks.csv").head(80)
    model = PoissonBayesMixedGLM.from_formula(
        "TICKS ~ sHEIGHT", {"slope": "0 + C(LOCATION):sHEIGHT", "b": "0 + C(BROOD)", "l": "0 + C(LOCATION)"}, ticks
    )
    result = quietly(lambda: model.fit_vb(rng=8))
    design = build_design("TICKS ~ sHEIGHT + (sHEIGHT || LOCATION) + (1 | BROOD)", ticks, "poisson")
    fit = adapt(result, design, "theirs")
    log_sd = dict(zip(model.vcp_names, zip(result.vcp_mean, result.vcp_sd, strict=True), strict=True))
    for part, name in zip(fit.components, ("l", "slope", "b"), strict=True):
        m, v = log_sd[name]
        assert part.sd[0] == pytest.approx(np.exp(m + v**2 / 2), rel=1e-12)
    where = {name: k for k, name in enumerate(model.vc_names)}
    for part, spelt in zip(
        fit.group_effects, ("C(LOCATION)[{}]", "C(LOCATION)[{}]:sHEIGHT", "C(BROOD)[{}]"), strict=True
    ):
        own = [result.vc_mean[where[spelt.format(level)]] for level in part.levels]
        np.testing.assert_allclose(part.effect.estimate[:, 0], own, rtol=1e-12)


# --- refusals --------------------------------------------------------------------------------------------


def test_what_is_of_another_model_is_refused_in_words(mixedlm, sleep, cows):
    from statsmodels.formula.api import ols

    design = build_design(SLOPES, sleep)
    plain = mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")

    def refused(result, of, message):
        with pytest.raises(ComparisonError, match=message):
            read_statsmodels(result, of)

    refused(ols("Reaction ~ Days", sleep).fit(), design, "RegressionResultsWrapper of OLS, which has no group effects")
    less = mixedlm("Reaction ~ Days", sleep.iloc[1:], groups="Subject", re_formula="~Days")
    refused(less, design, "of 179 rows, the comparison of 180")
    logged = sleep.assign(Reaction=np.log(sleep["Reaction"]))
    refused(mixedlm("Reaction ~ Days", logged, groups="Subject"), design, "another response than Reaction")
    refused(plain, build_design("Reaction ~ 1 + (1 | Subject)", sleep), "Days of it is none of the comparison's")
    refused(
        plain, build_design("Reaction ~ Days + (1 | Subject)", sleep), r"random effect 2, 18 levels\) that are none"
    )
    intercepts = mixedlm("Reaction ~ Days", sleep, groups="Subject")
    with pytest.raises(ComparisonError, match="has other terms that vary by Subject"):
        adapt(intercepts, design)
    swapped = sleep.assign(Subject=sleep["Subject"].replace({"308": "309", "309": "308"}).to_numpy())
    refused(
        mixedlm("Reaction ~ Days", swapped.sample(frac=1, random_state=1), groups="Subject"),
        design,
        "none of the comparison's",
    )
    weighted = build_design(SLOPES, sleep.assign(w=2.0), weights="w")
    refused(plain, weighted, "knows no weights")
    refused(plain, build_design("ill ~ period + (1 | herd)", cows, "binomial"), "gaussian response with identity link")


def test_counts_need_to_be_rows(cows):
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    model = BinomialBayesMixedGLM.from_formula("ill ~ period", {"herd": "0 + C(herd)"}, cows)
    result = quietly(lambda: model.fit_vb(rng=7))
    herds = pd.read_csv(SETS / "cbpp.csv", dtype={"period": str, "herd": str})
    counts = build_design("cbind(incidence, size - incidence) ~ period + (1 | herd)", herds, "binomial")
    with pytest.raises(ComparisonError, match="Make the comparison of 0/1 rows"):
        read_statsmodels(result, counts)
    correlated = build_design("ill ~ period + (period | herd)", cows, "binomial")
    with pytest.raises(ComparisonError, match="has no correlations"):
        read_statsmodels(result, correlated)
    two = build_design("ill ~ period + (1 | herd) + (1 | period)", cows, "binomial")
    with pytest.raises(ComparisonError, match=r"\(Intercept\) by period is not there"):
        read_statsmodels(result, two)


def test_a_model_that_is_not_fitted_is_refused():
    from statsmodels.formula.api import mixedlm as unfitted

    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    model = unfitted("y ~ 1", pd.DataFrame(table), groups="g")
    with pytest.raises(ComparisonError, match=r"MixedLM is not fitted yet\. Give what its fit\(\) returns"):
        wb.adapt(model, wb.fit("y ~ 1 + (1 | g)", table))

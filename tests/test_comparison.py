"""Fits aligned. Rungs: closed form, refusals."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from corpus import DATA, design_of

import workbench as wb
from workbench.errors import ComparisonError, DataError, OptionError, PriorError
from workbench.estimators import default_estimators

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]


@pytest.fixture(scope="module")
def twelve():
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR)


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR)


def test_names_of_estimators_may_come_one_by_one():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, (name for name in ("reml", "ml")))
    assert list(comparison.fits) == ["reml", "ml"]
    assert not comparison.fits["reml"].residuals.flags.writeable
    with pytest.raises(PriorError, match=r"priors is \[1\], but must be a mapping of parameters to priors"):
        wb.compare("y ~ 1 + (1 | g)", table, ["exact"], priors=[1])
    with pytest.raises(PriorError, match="priors is 'Normal"):
        wb.fit("y ~ 1 + (1 | g)", table, "exact", priors="Normal(0, 1)")


def test_estimates_are_tidy_and_unique(sleep):
    rows = sleep.estimates
    assert list(rows.columns)[:10] == [
        "estimator", "effect", "group", "level", "term", "n", "estimate", "std_error", "conf_low", "conf_high",
    ]  # fmt: skip
    assert len(rows) == 4 * (2 + 18 * 2 * 2)
    assert not rows.duplicated(["estimator", "effect", "group", "level", "term"]).any()
    picked = rows.query("estimator == 'reml' and effect == 'ran_coefs' and level == '308'").set_index("term")[
        "estimate"
    ]
    assert picked["Days"] == pytest.approx(19.666257839109246, rel=1e-8)  # lme4's coef()
    assert set(rows.query("estimator == 'reml' and effect == 'ran_vals'")["std_error_kind"]) == {"conditional SD"}


def test_agreement_is_the_distance_of_the_coefficients(twelve):
    row = twelve.agreement.query("estimator1 == 'reml' and estimator2 == 'fixed_prior'").iloc[0]
    a, b = (twelve.fits[name].group_effects[0].coefficient.estimate[:, 0] for name in ("reml", "fixed_prior"))
    assert row["max_difference"] == pytest.approx(np.abs(a - b).max(), rel=1e-12)
    assert row["rms_difference"] == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), rel=1e-12)
    assert row["level"] == "12"
    assert row["levels"] == 12
    assert len(twelve.agreement) == 6


def test_shrinkage_of_one_intercept_is_the_textbook_factor(twelve):
    fit = twelve.fits["reml"]
    tau2, sigma2 = fit.components[0].covariance[0, 0], fit.sigma**2
    rows = twelve.shrinkage.query("estimator == 'reml'")
    np.testing.assert_allclose(rows["shrinkage"], 1 - tau2 / (tau2 + sigma2 / rows["n"]), rtol=1e-9)
    assert (twelve.shrinkage.query("estimator == 'complete_pooling'")["shrinkage"] == 1).all()
    np.testing.assert_allclose(twelve.shrinkage.query("estimator == 'no_pooling'")["shrinkage"], 0, atol=1e-12)


def test_shrinkage_needs_no_pooling_but_not_its_row():
    two = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ["reml", "ml"])
    assert list(two.fits) == ["reml", "ml"]
    assert two.shrinkage["shrinkage"].between(0, 1).all()


def test_tables_in_hand_may_be_changed_without_reaching_the_comparison(twelve):
    table = twelve.estimates
    table.loc[0, "estimate"] = 99.0
    assert twelve.estimates.loc[0, "estimate"] != 99.0
    fixed = twelve.fits["reml"].fixed
    fixed.loc[0, "estimate"] = 99.0
    assert twelve.fits["reml"].fixed.loc[0, "estimate"] != 99.0


def test_a_crossed_design_gets_the_estimators_that_take_it():
    path = DATA / "datasets/Penicillin.csv"
    assert default_estimators(design_of("Penicillin--crossed")) == (
        "complete_pooling",
        "reml",
        "fixed_prior",
        "hierarchical",
    )
    both = wb.compare("diameter ~ 1 + (1 | plate) + (1 | sample)", path, ["complete_pooling", "reml"])
    assert both.alone is None
    assert both.shrinkage["shrinkage"].isna().all()
    assert set(both.agreement["group"]) == {"plate", "sample"}


def test_variance_and_timings_have_a_row_per_estimator(sleep):
    table = sleep.variance.query("estimator == 'reml'")
    assert table["vcov"].tolist() == pytest.approx(
        [612.0899386619, 35.0716604983, 9.6043333168, 654.94102696], rel=1e-8
    )
    assert table["sdcor"].iloc[2] == pytest.approx(0.0655513196, rel=1e-7)
    assert sleep.timings["estimator"].tolist() == FOUR
    assert sleep.timings["needs"].tolist() == ["", "", "", "reml"]
    assert sleep.converged


def test_truth_is_aligned_by_level_and_term():
    truth = pd.DataFrame({"level": ["a", "b"], "term": ["(Intercept)"] * 2, "value": [1.0, 4.0]})
    data = {"y": [1.0, 2.0, 4.0, 3.5], "g": list("aabb")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["reml"], truth=truth)
    assert comparison.truth["b", "(Intercept)"] == 4.0
    with pytest.raises(DataError, match="names the level 'c', which the data do not have"):
        wb.compare("y ~ 1 + (1 | g)", data, ["reml"], truth=truth.assign(level=["a", "c"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": slice(0, -1)}, "Fit both to the same rows"),
        ({"scale": 2.0}, "Fit both to the same response"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, said):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(size=20), "g": np.repeat(list("abcd"), 5)})
    other = frame.iloc[change.get("rows", slice(None))].copy()
    other["y"] *= change.get("scale", 1.0)
    one, two = wb.fit("y ~ 1 + (1 | g)", frame), wb.fit("y ~ 1 + (1 | g)", other, "ml")
    with pytest.raises(ComparisonError) as caught:
        wb.Comparison({"reml": one, "ml": two})
    assert said in str(caught.value)


def test_unknown_names_are_refused_before_anything_is_fitted():
    for call in (
        lambda: wb.compare("nonsense", "nowhere.csv", ["lmer"]),
        lambda: wb.fit("nonsense", "nowhere.csv", "lmer"),
    ):
        with pytest.raises(OptionError, match="There is no estimator 'lmer'"):
            call()
    with pytest.raises(OptionError, match=r"Priors were given, but reml takes none"):
        wb.fit("y ~ 1 + (1 | g)", "nowhere.csv", "reml", priors={"sigma": "HalfNormal(1)"})


def test_a_fit_is_one_json_document_of_the_contract(sleep):
    document = json.loads(json.dumps(sleep.fits["reml"].to_dict(), allow_nan=False))
    assert list(document) == [
        "schema", "estimator", "formula", "family", "nobs", "dropped", "groups", "fixed", "fixed_cov", "sigma",
        "variance", "criterion", "log_likelihood", "aic", "bic", "effects", "parameters", "converged", "singular",
        "warnings", "seconds",
    ]  # fmt: skip
    assert document["groups"] == {"Subject": 18}
    assert document["fixed"][1] == {
        "term": "Days",
        "estimate": pytest.approx(10.467285959595722),
        "std_error": pytest.approx(1.5457888963),
    }
    assert document["criterion"] == {"name": "REML", "value": pytest.approx(1743.6282719584908, rel=1e-12)}
    assert document["variance"][0]["corr"][0][1] == pytest.approx(0.06555131965555912, rel=1e-6)
    row = next(r for r in document["effects"] if (r["level"], r["term"]) == ("309", "Days"))
    assert row["effect"] == pytest.approx(-8.619702662400222, rel=1e-8)
    assert row["coefficient"] == pytest.approx(1.8475832971955004, rel=1e-8)
    assert row["std_error"] == pytest.approx(np.sqrt(5.312273666760137), rel=1e-7)
    assert row["conf_high"] - row["effect"] == pytest.approx(1.959963985 * row["std_error"], rel=1e-8)
    assert row["n"] == 10


NEEDED = "It is a table with the columns level (the group), term (such as (Intercept)) and value, a row for each group"


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"a": 1.0, "b": 4.0}, "The truth has no column level, term and value; what it has is 'a' and 'b'. "),
        (
            pd.DataFrame({"group": ["a"], "value": [1.0]}),
            "no column level and term; what it has is 'group' and 'value'. ",
        ),
        (pl.DataFrame({"level": ["a"], "value": [1.0]}), "The truth has no column term; what it has is 'level' and"),
        ({str(k): [k] for k in range(9)}, "what it has is '0', '1', '2', '3' and '4' and others. "),
        ({}, "The truth has no column level, term and value; what it has is nothing. "),
        (
            {"level": ["a"], "term": ["(Intercept)"], "value": ["high"]},
            "The truth's column value holds labels such as 'high', not numbers. ",
        ),
    ],
)
def test_a_truth_of_another_shape_is_told_all_that_it_needs(truth, said):
    data = {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}
    with pytest.raises(DataError) as caught:
        wb.compare("y ~ 1 + (1 | g)", data, ["reml"], truth=truth)
    assert said in str(caught.value)
    assert NEEDED in str(caught.value)


def test_a_wrong_truth_is_refused_before_anything_is_fitted():
    def watch(name, made):
        pytest.fail(f"{name} was fitted")

    with pytest.raises(DataError, match="has no column"):
        wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3], "g": list("aabb")}, ["reml"], truth={}, watch=watch)


def test_a_mapping_of_single_values_is_no_table():
    whole = {"level": "a", "term": "(Intercept)", "value": 1.0}
    with pytest.raises(DataError, match=r"The mapping is no table .* Give the values of each column as a list"):
        wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3], "g": list("aabb")}, ["reml"], truth=whole)

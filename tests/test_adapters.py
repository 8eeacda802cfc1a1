"""Answers from elsewhere: R's real exports beside our fits, our own files back again, and every refusal.

Rungs: identity (a report read back is the fit that was written), R figures (exports of broom.mixed, made by
tests/data/adapters/make.R), invariance (rows in any order, labels of any type).
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import workbench as wb
from workbench.adapters.foreign import Foreign, GroupRows, as_fit
from workbench.design import build_design
from workbench.errors import ComparisonError, DataError, OptionError
from workbench.estimates import Estimates
from workbench.fit import tidy_rows
from workbench.plots import style

pytestmark = pytest.mark.usefixtures("one_picture")

HERE = Path(__file__).parent / "data"
EXPORTS, TABLES = HERE / "adapters", HERE / "datasets"
SLEEP = "Reaction ~ Days + (Days | Subject)"
ILL = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def sleep():
    return wb.compare(SLEEP, TABLES / "sleepstudy.csv", ["no_pooling", "reml"])


@pytest.fixture(scope="module")
def tidy():
    return pd.read_csv(EXPORTS / "sleepstudy.csv", dtype={"level": "str"})


def largest(ours, theirs, name="estimate", of="coefficient"):
    """The largest distance between two fits' numbers, over all blocks."""
    pairs = zip(ours.group_effects, theirs.group_effects, strict=True)
    return max(float(np.abs(getattr(getattr(a, of), name) - getattr(getattr(b, of), name)).max()) for a, b in pairs)


# --- R's exports --------------------------------------------------------------------------------------

# lme4 ends its search where its criterion is within some 1e-6 of the lowest: relative to the spread of the effects,
# coefficients are then good to about 1e-5, spreads to about 1e-4 (Penicillin's flat top), glmer's to 1e-3.
CASES = [
    ("sleepstudy", SLEEP, "sleepstudy", "reml", {}, 2e-4, 1e-4),
    ("sleepstudy_zerocorr", "Reaction ~ Days + (Days || Subject)", "sleepstudy", "reml", {}, 2e-4, 1e-4),
    ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", "reml", {}, 2e-6, 1e-4),
    ("pastes", "strength ~ 1 + (1 | batch/cask)", "Pastes", "reml", {}, 5e-6, 1e-5),
    ("cbpp", ILL, "cbpp", "laplace", {"family": "binomial"}, 1e-3, 1e-3),
]


@pytest.mark.parametrize(("file", "formula", "data", "estimator", "more", "points", "spreads"), CASES)
def test_lme4s_export_stands_beside_our_fit(file, formula, data, estimator, more, points, spreads):
    ours = wb.fit(formula, TABLES / f"{data}.csv", estimator, **more)
    theirs = wb.adapt(EXPORTS / f"{file}.csv", ours, "lme4")
    assert largest(ours, theirs) < points
    assert largest(ours, theirs, "std_error", "effect") < points
    np.testing.assert_allclose(theirs.population.estimate, ours.population.estimate, atol=points)
    for a, b in zip(ours.components, theirs.components, strict=True):
        np.testing.assert_allclose(b.sd, a.sd, rtol=spreads)
    np.testing.assert_allclose(theirs.sigma, ours.sigma, rtol=1e-5)


def test_what_was_read_is_said_and_what_is_not_given_is_missing(sleep):
    theirs = wb.adapt(EXPORTS / "sleepstudy.csv", sleep)
    assert theirs.estimator == "sleepstudy"
    assert theirs.warnings == ("Read from sleepstudy.csv, not computed here.",)
    effect, coefficient = theirs.group_effects[0].effect, theirs.group_effects[0].coefficient
    assert (effect.point, effect.std_error_kind) == ("conditional mode (broom.mixed)", "conditional SD (broom.mixed)")
    assert effect.interval == "Wald 95 %, as given by sleepstudy.csv"
    assert coefficient.point == "conditional mode (broom.mixed) plus the population value"
    assert np.isnan(coefficient.std_error).all()  # it does not follow from those of its parts
    assert coefficient.std_error_kind == "none: sleepstudy.csv gives none"
    assert np.isnan(theirs.fixed_cov).all()
    assert theirs.criterion is None
    assert np.isnan(theirs.seconds)
    json.dumps(theirs.to_dict(), allow_nan=False)


def test_coefficients_alone_leave_effects_missing(sleep):
    theirs = wb.adapt(EXPORTS / "sleepstudy_coefs.csv", sleep, "coefs")
    assert largest(sleep.fits["reml"], theirs) < 2e-4
    assert np.isnan(theirs.group_effects[0].effect.estimate).all()
    assert theirs.components == ()
    assert np.isnan(theirs.sigma)


def test_lme4s_table_of_random_effects_is_of_effects(sleep):
    theirs = wb.adapt(EXPORTS / "sleepstudy_ranef.csv", sleep, "ranef")
    assert largest(sleep.fits["reml"], theirs, of="effect") < 2e-4
    assert theirs.group_effects[0].effect.std_error_kind == "conditional SD, as given by sleepstudy_ranef.csv"
    # without an interval in the file, one of the standard error
    ours = sleep.fits["reml"].group_effects[0].effect
    np.testing.assert_allclose(theirs.group_effects[0].effect.conf_low, ours.conf_low, atol=2e-4)
    assert theirs.group_effects[0].effect.interval == "Wald 95 %, from the standard error"
    assert np.isnan(theirs.group_effects[0].coefficient.estimate).all()


def test_rstanarms_export_says_its_groups_at_the_end_of_names(sleep):
    theirs = wb.adapt(EXPORTS / "sleepstudy_rstanarm.csv", sleep, "rstanarm")
    np.testing.assert_allclose(theirs.components[0].sd, [24.08694, 6.84089], atol=1e-5)
    assert theirs.components[0].correlation[0, 1] == pytest.approx(0.0908, abs=1e-4)
    assert theirs.sigma == pytest.approx(25.99, abs=5e-3)
    assert "read as deviations" in " ".join(theirs.warnings)


def test_intervals_of_another_probability_are_remarked_on():
    ours = wb.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", TABLES / "Penicillin.csv")
    theirs = wb.adapt(EXPORTS / "penicillin.csv", ours, "lme4")
    assert theirs.group_effects[0].effect.interval == "Wald 90 %, as given by penicillin.csv"
    assert "Its intervals are of 90 %, those of this comparison of 95 %." in theirs.warnings
    assert wb.adapt(EXPORTS / "penicillin.csv", ours, "lme4", level=0.9).warnings[1:] == ()


def test_a_correlation_that_the_formula_lacks_is_remarked_on():
    apart = build_design("Reaction ~ Days + (Days || Subject)", TABLES / "sleepstudy.csv")
    theirs = wb.adapt(EXPORTS / "sleepstudy.csv", apart, "lme4")
    assert "lets (Intercept) and Days by Subject correlate" in theirs.warnings[1]
    together = build_design(SLEEP, TABLES / "sleepstudy.csv")
    theirs = wb.adapt(EXPORTS / "sleepstudy_zerocorr.csv", together, "lme4")
    assert "gives no correlation of (Intercept) and Days by Subject" in theirs.warnings[1]
    assert np.isnan(theirs.components[0].correlation[0, 1])
    np.testing.assert_allclose(theirs.components[0].sd, [25.0513, 5.9882], atol=1e-3)  # R: VarCorr(z)


# --- alignment ----------------------------------------------------------------------------------------


def test_rows_in_any_order_and_labels_of_any_type_give_the_same_fit(sleep, tidy):
    wanted = wb.adapt(tidy, sleep, "lme4")
    shuffled = tidy.sample(frac=1.0, random_state=3)
    numbers = shuffled.assign(level=shuffled["level"].astype(float))
    renamed = shuffled.rename(columns={"std.error": "std_error", "conf.low": "conf_low", "conf.high": "conf_high"})
    for table in (shuffled, numbers, renamed, pl.from_pandas(renamed), renamed.to_dict("list")):
        found = wb.adapt(table, sleep, "lme4")
        pd.testing.assert_frame_equal(found.effects, wanted.effects)
        pd.testing.assert_frame_equal(found.coefficients, wanted.coefficients)
        pd.testing.assert_frame_equal(found.fixed, wanted.fixed)
        pd.testing.assert_frame_equal(found.variance, wanted.variance)


def test_nested_levels_are_found_in_either_order():
    design = build_design("strength ~ 1 + (1 | batch/cask)", TABLES / "Pastes.csv")
    table = pd.read_csv(EXPORTS / "pastes.csv")
    wanted = wb.adapt(table, design, "lme4").effects
    nested = table["group"] == "cask:batch"
    turned = table.copy()
    turned.loc[nested & table["level"].notna(), "level"] = table["level"].str.split(":").str[::-1].str.join(":")
    pd.testing.assert_frame_equal(wb.adapt(turned, design, "lme4").effects, wanted)
    turned.loc[nested, "group"] = "batch:cask"
    pd.testing.assert_frame_equal(wb.adapt(turned, design, "lme4").effects, wanted)


def test_levels_that_read_both_ways_are_taken_as_they_stand():
    rng = np.random.default_rng(2)
    data = {"y": rng.normal(size=16), "g": [1, 1, 2, 2] * 4, "h": [1, 2, 1, 2] * 4}
    design = build_design("y ~ 1 + (1 | g:h)", data)
    table = {"level": ["1:1", "1:2", "2:1", "2:2"], "deviation": [1.0, 2.0, 3.0, 4.0]}
    assert wb.adapt(table, design).effects["estimate"].tolist() == [1.0, 2.0, 3.0, 4.0]
    swapped = {**table, "group": ["h:g"] * 4}
    assert wb.adapt(swapped, design).effects["estimate"].tolist() == [1.0, 3.0, 2.0, 4.0]


def test_plain_tables_of_levels_and_numbers(sleep):
    design = build_design("Reaction ~ 1 + (1 | Subject)", TABLES / "sleepstudy.csv")
    levels = list(design.blocks[0].levels)
    numbers = np.linspace(250.0, 350.0, 18)
    by_level = wb.adapt({"level": levels[::-1], "estimate": numbers[::-1]}, design, "mine")
    assert by_level.coefficients["estimate"].tolist() == numbers.tolist()
    assert "column estimate was read as coefficients" in by_level.warnings[1]
    assert np.isnan(by_level.effects["estimate"]).all()
    own_name = wb.adapt({"subject": levels, "coefficient": numbers, "se": np.ones(18)}, design, "mine")
    assert own_name.coefficients["std_error"].tolist() == [1.0] * 18
    assert own_name.coefficients["std_error_kind"].unique().tolist() == ["as given by the table given"]
    with_population = {
        "level": [None, *levels],
        "term": ["Intercept"] * 19,
        "coefficient": [300.0, *numbers],
    }
    both = wb.adapt(with_population, design, "mine")
    np.testing.assert_allclose(both.effects["estimate"], numbers - 300.0, atol=1e-12)


def test_other_softwares_names_of_contrasts_are_found():
    rng = np.random.default_rng(4)
    data = {"y": rng.normal(size=24), "r": list("ABC") * 8, "x": rng.normal(size=24), "g": list("aabbccdd") * 3}
    design = build_design("y ~ r * x + (1 | g)", data)
    names = ["Intercept", "C(r)[T.B]", "r[T.C]", "x", "x:r[T.B]", "C(r)[T.C]:x"]
    values = Estimates.wald(np.arange(6.0), np.ones(6), 0.95, "p", "s")
    rows = GroupRows("ran_vals", "g", list("abcd"), ["1"] * 4, Estimates.wald(np.ones(4), np.ones(4), 0.95, "p", "s"))
    found = as_fit(Foreign("other", (rows,), names, values), design, "other")
    assert dict(zip(design.fixed_terms, found.population.estimate, strict=True)) == {
        "(Intercept)": 0.0, "rB": 1.0, "rC": 2.0, "x": 3.0, "rB:x": 4.0, "rC:x": 5.0,
    }  # fmt: skip


def test_missing_estimates_are_taken_where_the_rows_cannot_tell(tmp_path):
    x = [0.0, 1.0, 3.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    data = {"y": [1.0, 2.0, 4.5, 4.0, 3.0, 5.0, 7.0, 6.5, 8.0], "x": x, "g": list("aaabbbccc")}
    ours = wb.compare("y ~ x + (x | g)", data, ["no_pooling"])
    assert np.isnan(ours.fits["no_pooling"].coefficients["estimate"]).sum() == 2  # x does not vary in c
    ours.report(tmp_path / "r")
    read = wb.adapt(tmp_path / "r" / "tables" / "estimates.csv", ours, "read")
    pd.testing.assert_frame_equal(
        read.coefficients.drop(columns="estimator"), ours.fits["no_pooling"].coefficients.drop(columns="estimator")
    )
    told = wb.compare("y ~ x + (x | g)", {**data, "x": [*x[:-1], 3.0]}, ["no_pooling"])
    with pytest.raises(ComparisonError, match=r"no estimate for 1 level of g \(c\), whose rows tell it"):
        wb.adapt(tmp_path / "r" / "tables" / "estimates.csv", told, "read")


# --- our own files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(sleep, tmp_path_factory):
    return sleep.report(tmp_path_factory.mktemp("sleep") / "report")


@pytest.mark.parametrize("source", ["file", "frame"])
@pytest.mark.parametrize("name", ["no_pooling", "reml"])
def test_a_reports_estimates_come_back_exactly(sleep, reported, source, name):
    file = reported / "tables" / "estimates.csv"
    kept = sleep.estimates[sleep.estimates["estimator"] == name]
    read = wb.adapt(f"{file}:{name}" if source == "file" else kept, sleep, "read")
    for table in ("fixed", "effects", "coefficients"):
        found, wanted = getattr(read, table), getattr(sleep.fits[name], table)
        pd.testing.assert_frame_equal(
            found.drop(columns="estimator", errors="ignore"), wanted.drop(columns="estimator", errors="ignore"),
            check_exact=True,
        )  # fmt: skip


def test_of_several_estimators_one_must_be_named(sleep, tmp_path):
    with pytest.raises(ComparisonError, match=r"several estimators, no_pooling and reml. Say which one"):
        wb.adapt(sleep.estimates, sleep, "read")
    file = tmp_path / "estimates.csv"
    sleep.estimates.to_csv(file, index=False)
    with pytest.raises(ComparisonError, match=r"no estimator 'rem'\. Did you mean 'reml'"):
        wb.adapt(f"{file}:rem", sleep, "read")


# --- refusals -----------------------------------------------------------------------------------------


def edited(table, **columns):
    return table.assign(**columns)


REFUSALS = [
    ("levels", lambda t: t[t["level"] != "308"], r"levels of Subject .* 1 missing there \(308\)"),
    ("levels", lambda t: t.replace({"level": {"308": "999"}}), r"1 missing there \(308\) and 1 not here \(999\)"),
    ("rows", lambda t: t.drop(t.index[(t["level"] == "308") & (t["term"] == "Days")]), "no row for 1 level and term"),
    ("twice", lambda t: pd.concat([t, t[t["level"] == "308"]]), r"\(Intercept\) of Subject 308 2 times"),
    ("groups", lambda t: t.replace({"group": {"Subject": "Person"}}), r"grouping factors .* \(Subject\) .* \(Person\)"),
    (
        "terms",
        lambda t: t[~((t["effect"] == "ran_vals") & (t["term"] == "Days"))],
        r"terms that vary by Subject .*Days",
    ),
    ("terms", lambda t: t[~((t["effect"] == "fixed") & (t["term"] == "Days"))], "population coefficients .*Days"),
    ("none", lambda t: t[t["effect"] != "ran_vals"], "no group effects or coefficients.*effects = c"),
    ("missing", lambda t: edited(t, estimate=t["estimate"].where(t["level"] != "308")), "no estimate for 1 level"),
    ("component", lambda t: edited(t, component="zi"), "several components"),
    ("spreads", lambda t: t.replace({"term": {"sd__Days": "sd__Weeks"}}), r"other spreads .* \(Weeks by Subject\)"),
]


@pytest.mark.parametrize(("what", "change", "words"), REFUSALS, ids=lambda x: x if isinstance(x, str) else "")
def test_what_differs_is_refused_by_name(sleep, tidy, what, change, words):
    with pytest.raises(ComparisonError, match=words):
        wb.adapt(change(tidy), sleep, "lme4")


def test_exponentiated_coefficients_are_refused():
    design = build_design(ILL, TABLES / "cbpp.csv", "binomial")
    with pytest.raises(ComparisonError, match=r"exponentiated .* exponentiate = FALSE"):
        wb.adapt(EXPORTS / "cbpp_exponentiated.csv", design, "glmer")
    without = pd.read_csv(EXPORTS / "cbpp_exponentiated.csv").drop(columns="statistic")  # seen by the intervals too
    with pytest.raises(ComparisonError, match="exponentiated"):
        wb.adapt(without, design, "glmer")


def test_deviations_that_are_only_called_estimates_are_refused(sleep):
    table = sleep.fits["reml"].effects[["level", "term", "estimate"]]
    with pytest.raises(
        ComparisonError, match=r"estimates of \(Intercept\) are coefficients or deviations: .* near 251.4"
    ):
        wb.adapt(table, sleep, "mine")
    said = wb.adapt(table.rename(columns={"estimate": "deviation"}), sleep, "mine")
    assert largest(sleep.fits["reml"], said, of="effect") == 0.0


def test_another_number_of_rows_is_refused(sleep):
    fewer = pd.read_csv(TABLES / "sleepstudy.csv").iloc[:-1]
    with pytest.raises(ComparisonError, match="is of 179 rows, the comparison of 180"):
        wb.adapt(tidy_rows(wb.fit(SLEEP, fewer)), sleep, "mine")
    rows = wb.fit(SLEEP, fewer).coefficients
    with pytest.raises(ComparisonError, match="has 9 rows in Subject 372, the comparison 10"):
        wb.adapt(rows, sleep, "mine")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "poisson"}, "family poisson, the comparison gaussian"),
        ({"link": "log"}, "link log, the comparison identity"),
        ({"response": "Rate"}, "response Rate, the comparison Reaction"),
        ({"nobs": 12}, "of 12 rows"),
    ],
)
def test_another_scale_or_response_is_refused(sleep, change, words):
    values = Estimates.wald(np.ones(36), np.ones(36), 0.95, "p", "s")
    design = sleep.design
    levels = [name for name in design.blocks[0].levels for _ in range(2)]
    good = Foreign("theirs", (GroupRows("ran_vals", "Subject", levels, ["Intercept", "Days"] * 18, values),))
    as_fit(good, design, "theirs")
    with pytest.raises(ComparisonError, match=words):
        as_fit(replace(good, **change), design, "theirs")


def test_names_that_mean_something_else_are_refused(sleep):
    with pytest.raises(ComparisonError, match="cannot be called 'ml', as an estimator"):
        sleep.beside(ml=EXPORTS / "sleepstudy.csv")
    with pytest.raises(ComparisonError, match="already"):
        sleep.beside(reml=EXPORTS / "sleepstudy.csv")
    with pytest.raises(ComparisonError, match="must be a word or two"):
        wb.adapt(EXPORTS / "sleepstudy.csv", sleep, "")


def test_tables_that_cannot_be_read_are_refused(sleep, tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        wb.adapt(tmp_path / "absent.csv", sleep)
    with pytest.raises(DataError, match="no column of estimates"):
        wb.adapt({"level": ["308"]}, sleep)
    with pytest.raises(DataError, match="holds 'much' where a number"):
        wb.adapt({"level": ["308"], "term": ["Days"], "coefficient": ["much"]}, sleep)
    with pytest.raises(DataError, match="no column term"):
        wb.adapt({"level": ["308"], "coefficient": [1.0]}, sleep)
    with pytest.raises(DataError, match="names no levels"):
        wb.adapt({"term": ["Days"], "coefficient": [1.0]}, sleep)
    with pytest.raises(DataError, match=r"effect of .* holds 'random'"):
        wb.adapt({"effect": ["random"], "level": ["308"], "term": ["Days"], "estimate": [1.0]}, sleep)
    with pytest.raises(OptionError, match="probability"):
        wb.adapt(EXPORTS / "sleepstudy.csv", sleep, level=2)


# --- remarks ------------------------------------------------------------------------------------------


def test_coefficients_that_do_not_add_up_are_remarked_on(sleep, tidy):
    coefs = pd.read_csv(EXPORTS / "sleepstudy_coefs.csv", dtype={"level": "str"})
    assert len(wb.adapt(pd.concat([tidy, coefs]), sleep, "lme4").warnings) == 1
    coefs.loc[coefs["level"] == "335", "estimate"] += 7.0
    found = wb.adapt(pd.concat([tidy, coefs]), sleep, "lme4").warnings
    assert "for (Intercept) of Subject 335 they lie 7.000 apart" in found[1]


def test_an_intercept_of_centred_columns_is_remarked_on(sleep, tidy):
    centred = tidy.copy()
    fixed = (centred["effect"] == "fixed") & (centred["term"] == "(Intercept)")
    centred.loc[fixed, "estimate"] += 4.5 * 10.467286  # where Days is at its mean
    found = wb.adapt(centred, sleep, "lme4").warnings
    assert any("miss Reaction by −47.10 on average" in text for text in found)  # 4.5 times the slope


# --- in a comparison ----------------------------------------------------------------------------------


def test_everything_downstream_takes_fits_with_missing_parts(sleep, tmp_path):
    both = sleep.beside(
        lme4=EXPORTS / "sleepstudy.csv", coefs=EXPORTS / "sleepstudy_coefs.csv", ranef=EXPORTS / "sleepstudy_ranef.csv"
    )
    assert list(both.fits) == ["no_pooling", "reml", "lme4", "coefs", "ranef"]
    assert list(sleep.fits) == ["no_pooling", "reml"]  # unchanged
    gaps = both.agreement.set_index(["estimator1", "estimator2", "term"])["max_difference"]
    assert gaps["reml", "lme4", "Days"] < 5e-5
    assert np.isnan(gaps["reml", "ranef", "Days"])
    shares = both.shrinkage.groupby("estimator")["shrinkage"].median()
    assert shares["lme4"] == pytest.approx(shares["reml"], abs=1e-4)
    assert both.timings.set_index("estimator").loc["coefs", "trust"].startswith("Read from sleepstudy_coefs.csv")
    assert both.variance.query("estimator == 'ranef'")["sdcor"].isna().all()
    folder = both.report(tmp_path / "report")
    page = (folder / "README.md").read_text()
    assert "--estimators no_pooling reml --foreign lme4=sleepstudy.csv" in page
    assert "ranef has no coefficients of Days." in page
    assert 'foreign={"lme4": "sleepstudy.csv"' in page


def test_what_needs_the_model_is_refused_in_words(sleep):
    lme4 = sleep.beside(lme4=EXPORTS / "sleepstudy.csv")
    theirs = lme4.fits["lme4"]
    with pytest.raises(ComparisonError, match=r"lme4 was read from sleepstudy\.csv"):
        lme4.explain_gap("reml", "lme4")
    predicted, ours = theirs.predict(), sleep.fits["reml"].predict()
    np.testing.assert_allclose(predicted["estimate"], ours["estimate"], atol=1e-3)
    assert predicted["std_error"].isna().all()
    with pytest.raises(OptionError, match="no draws"):
        theirs.loo()


def test_compare_sets_foreign_answers_after_the_fits():
    data = TABLES / "sleepstudy.csv"
    found = wb.compare(SLEEP, data, ["reml"], foreign={"lme4": EXPORTS / "sleepstudy.csv"})
    assert list(found.fits) == ["reml", "lme4"]
    with pytest.raises(ComparisonError, match="already"):
        wb.compare(SLEEP, data, ["reml"], foreign={"reml": EXPORTS / "sleepstudy.csv"})


def test_looks_of_foreign_names_are_stable_and_distinct():
    names = ["lme4", "bambi", "brms", "statsmodels (read)", "Julia", "by hand", "glmmTMB", "stan"]
    looks = [style.look(name, names) for name in names]
    assert len({(k.colour, k.marker) for k in looks}) == len(names)
    assert not {k.colour for k in looks} & {k.colour for k in style.LOOKS.values()}
    assert style.look("lme4", names) == style.look("lme4", ["reml", "lme4"]) == style.look("lme4")


def test_the_command_line_and_a_study_take_files(tmp_path):
    data = str(TABLES / "sleepstudy.csv")
    command = [sys.executable, "-m", "workbench", "compare", data, SLEEP, "--estimators", "reml", "--json"]
    export = str(EXPORTS / "sleepstudy.csv")
    done = subprocess.run([*command, "--foreign", f"lme4={export}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reml, lme4 = map(json.loads, done.stdout.splitlines())
    assert lme4["estimator"] == "lme4"
    assert lme4["seconds"] is None
    assert lme4["effects"][0]["coefficient"] == pytest.approx(reml["effects"][0]["coefficient"], abs=2e-4)
    for given, lacks in (("lme4", "has no '='"), ("lme4=", "has nothing behind its '='")):
        wrong = subprocess.run([*command, "--foreign", given], capture_output=True, text=True, check=False)
        assert (wrong.returncode, wrong.stderr) == (
            2, f"workbench: --foreign '{given}' {lacks}. Write it like lme4=tidy.csv.\n",
        )  # fmt: skip
    twice = subprocess.run([*command, "--foreign", "a=x", "a=y"], capture_output=True, text=True, check=False)
    assert (twice.returncode, twice.stderr) == (2, "workbench: --foreign gives a twice, as x and y.\n")
    study = tmp_path / "mine"
    study.mkdir()
    shutil.copy(data, study / "data.csv")
    shutil.copy(export, study / "lme4.csv")
    text = f'data = "data.csv"\nformula = "{SLEEP}"\nestimators = ["reml"]\n[foreign]\nlme4 = "lme4.csv"\n'
    (study / "model.toml").write_text(text)
    assert list(wb.run(study).fits) == ["reml", "lme4"]
    assert "lme4.csv" in wb.load_study(study).file_hashes()
    (study / "model.toml").write_text(text.replace('lme4 = "lme4.csv"', "lme4 = 3"))
    with pytest.raises(wb.WorkbenchError, match=r"\[foreign\] lme4 is 3"):
        wb.load_study(study)

"""Answers from elsewhere as people really have them: spreadsheets' columns, wrong labels, wrong scales, objects.

Rungs: identity (a fit's own numbers come back under other headings), R figures, invariance (a constant column of R's
`coef` changes nothing).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.errors import ComparisonError, DataError

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


def largest(ours, theirs):
    """The largest distance between two fits' coefficients of their one grouping factor."""
    one, other = (fit.group_effects[0].coefficient.estimate for fit in (ours, theirs))
    return float(np.abs(one - other).max())


# --- tables as people have them -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def intercepts():
    return wb.fit("Reaction ~ Days + (1 | Subject)", TABLES / "sleepstudy.csv")


def plain(fit, **columns):
    """A table of a fit's coefficients, as a spreadsheet may have it."""
    own = fit.coefficients
    table = pd.DataFrame({"Subject": own["level"], "Estimate": own["estimate"]})
    return table.assign(**columns)


@pytest.mark.parametrize(
    ("error", "low", "high"),
    [("Est.Error", "Q2.5", "Q97.5"), ("SE", "2.5 %", "97.5 %"), ("Std.Err.", "[0.025", "0.975]"), ("se", "LCL", "UCL")],
)
def test_errors_and_intervals_are_found_under_their_usual_names(intercepts, error, low, high):
    own = intercepts.coefficients["estimate"]
    read = wb.adapt(plain(intercepts, **{error: 3.0, low: own - 5, high: own + 7}), intercepts)
    values = read.group_effects[0].coefficient
    np.testing.assert_array_equal(values.std_error, 3.0)
    np.testing.assert_array_equal(values.conf_low, values.estimate - 5)
    np.testing.assert_array_equal(values.conf_high, values.estimate + 7)
    assert not any("not read" in text for text in read.warnings)


def test_columns_that_are_not_read_are_named(intercepts):
    own = intercepts.coefficients["estimate"]
    table = plain(intercepts, **{"median": own, "Q2.5": own - 2, "Q25": own - 1, "Q75": own + 1, "Q97.5": own + 2})
    read = wb.adapt(table, intercepts)
    assert read.warnings[-1] == "Its columns median, Q2.5, Q25, Q75 and Q97.5 were not read."
    assert np.isnan(read.group_effects[0].coefficient.conf_low).all()


def test_blank_rows_at_the_end_of_a_spreadsheet_are_none(intercepts, tmp_path):
    text = plain(intercepts).to_csv(index=False)
    (tmp_path / "blank.csv").write_text("\ufeff" + text + ",\n,\n", encoding="utf-8")  # as Excel saves UTF-8
    read = wb.adapt(tmp_path / "blank.csv", intercepts)
    assert largest(intercepts, read) == 0
    assert np.isnan(read.population.estimate).all()


def test_numbers_that_cannot_be_are_refused(intercepts, tmp_path):
    own = intercepts.coefficients["estimate"]
    with pytest.raises(DataError, match="the standard error -5: none can be negative"):
        wb.adapt(plain(intercepts, se=-5.0), intercepts)
    with pytest.raises(DataError, match=r"an interval from 297\.19 to 287\.19\. Exchange"):
        wb.adapt(plain(intercepts, lower=own.round(2) + 5, upper=own.round(2) - 5), intercepts)
    with pytest.raises(DataError, match=r"holds '292,19' where a number is needed\. Write it with a point, 292\.19"):
        wb.adapt(plain(intercepts, Estimate=own.map("{:.2f}".format).str.replace(".", ",")), intercepts)
    (tmp_path / "excel.csv").write_text(plain(intercepts).to_csv(index=False), encoding="utf-16")
    with pytest.raises(DataError, match="no UTF-8 text"):
        wb.adapt(tmp_path / "excel.csv", intercepts)


def test_population_coefficients_that_rs_coef_repeats_at_every_level_are_left_out(intercepts):
    own = intercepts.coefficients["estimate"].to_list()
    levels = intercepts.coefficients["level"].to_list()
    days = float(intercepts.population.estimate[1])
    table = pd.DataFrame(
        {
            "effect": "ran_coefs",
            "group": "Subject",
            "level": levels * 2,
            "term": ["(Intercept)"] * 18 + ["Days"] * 18,
            "estimate": [*own, *[days] * 18],
        }
    )
    read = wb.adapt(table, intercepts, "lme4")  # tidy(m, effects = "ran_coefs") of a slope that does not vary
    assert largest(intercepts, read) == 0
    table.loc[20, "estimate"] += 0.01
    with pytest.raises(ComparisonError, match=r"terms that vary by Subject .* 1 not here \(Days\)"):
        wb.adapt(table, intercepts)


# --- what looks wrong ---------------------------------------------------------------------------------


def test_labels_that_were_swapped_are_remarked_on(sleep, tidy):
    own = tidy["level"].dropna().unique()
    swapped = tidy.replace({"level": dict(zip(own, own[::-1], strict=True))})
    (found,) = [text for text in wb.adapt(swapped, sleep, "lme4").warnings if "labels" in text]
    # m <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy); X <- model.matrix(m)
    # u <- ranef(m)$Subject[18:1, ][as.integer(sleepstudy$Subject), ]
    # with(sleepstudy, c(sum((Reaction - X %*% fixef(m) - rowSums(X * u))^2), sum((Reaction - X %*% fixef(m))^2)))
    assert "(the deviance is 783,176, not 405,252)" in found
    assert not any("labels" in text for text in wb.adapt(tidy, sleep, "lme4").warnings)


@pytest.mark.parametrize("what", ["coefficients", "a reference level"])
def test_deviations_that_do_not_stand_about_zero_are_remarked_on(intercepts, what):
    own = intercepts.effects["estimate"]
    moved = intercepts.coefficients["estimate"] if what == "coefficients" else own - own[0]
    table = pd.DataFrame({"level": intercepts.effects["level"], "effect": own})
    assert not any("average" in text for text in wb.adapt(table, intercepts).warnings)
    said = wb.adapt(table.assign(effect=moved), intercepts).warnings
    assert any(f"average {'251.4' if what == 'coefficients' else '−40.78'} over 18 levels" in text for text in said)


def test_another_link_is_remarked_on():
    ours = wb.fit(ILL, TABLES / "cbpp.csv", "laplace", family="binomial")
    table = pd.read_csv(EXPORTS / "cbpp.csv", dtype={"level": "str"})
    assert len(wb.adapt(table, ours).warnings) == 1
    probit = table.assign(estimate=table["estimate"] / 1.7)  # about what the probit link gives
    assert any("miss cbind" in text for text in wb.adapt(probit, ours).warnings)


def test_deviations_alone_give_no_coefficients_fitted_values_or_predictions():
    ours = wb.fit(ILL, TABLES / "cbpp.csv", "laplace", family="binomial")
    table = pd.read_csv(EXPORTS / "cbpp.csv", dtype={"level": "str"}).query("effect == 'ran_vals'")
    read = wb.adapt(table, ours)
    assert np.isnan(read.fitted).all()
    assert [text for text in read.warnings if "deviations without population values" in text]
    assert not [text for text in read.warnings if "on average" in text]
    with pytest.raises(ComparisonError, match="no population values, so new rows cannot be foreseen"):
        read.predict()


def test_a_picture_of_shrinkage_shows_a_fit_that_has_coefficients(sleep, tidy):
    from workbench.plots.shrunken import view
    from workbench.plots.varying import varying

    fits = {"ranvals": tidy.query("effect == 'ran_vals'"), "lme4": tidy}
    foreign = wb.compare(SLEEP, TABLES / "sleepstudy.csv", ["no_pooling"], foreign=fits)
    assert "to what lme4 makes of it" in view(foreign, varying(foreign)[0]).caption


# --- objects ------------------------------------------------------------------------------------------


def test_a_fit_that_was_read_stands_in_comparisons_under_any_name(sleep, tidy):
    read = wb.adapt(tidy, sleep, "lme4")
    beside = sleep.beside(theirs=read)
    assert beside.fits["theirs"].coefficients["estimate"].equals(read.coefficients["estimate"])
    assert set(beside.fits["theirs"].effects["estimator"]) == {"theirs"}
    with pytest.raises(ComparisonError, match="This is a fit by reml, which was not read from elsewhere"):
        sleep.beside(again=sleep.fits["reml"])


def test_code_in_a_report_names_files_and_leaves_room_for_objects(sleep, tidy):
    from workbench.report.context import Context
    from workbench.report.own_code import command, python_code

    both = sleep.beside(file=EXPORTS / "sleepstudy.csv", table=tidy)
    assert "--foreign file=sleepstudy.csv --foreign table=..." in command(both, Context())
    code = python_code(both, Context())
    assert 'foreign={"file": "sleepstudy.csv", "table": ...}' in code
    assert "# in place of ... stands what table was read from: the table given" in code
    compile(code, "report", "exec")


# --- a level a row, a term a column -------------------------------------------------------------------


def test_rs_coef_saved_as_it_is_printed(sleep, tmp_path):
    # m <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy); write.csv(head(coef(m)$Subject, 3), "wide.csv")
    text = (
        '"","(Intercept)","Days"\n"308",253.663655798386,19.6662617251619\n'
        '"309",211.00636676968,1.84760534435278\n"310",212.444695890927,5.01842948979785\n'
    )
    frame = pd.read_csv(TABLES / "sleepstudy.csv").query("Subject <= 310")
    three = wb.fit(SLEEP, frame, "no_pooling")
    (tmp_path / "wide.csv").write_text(text)
    read = wb.adapt(tmp_path / "wide.csv", three, "lme4")
    given = [[253.663655798386, 19.6662617251619], [211.00636676968, 1.84760534435278]]
    np.testing.assert_array_equal(read.group_effects[0].coefficient.estimate[:2], given)
    assert np.isnan(read.group_effects[0].effect.estimate).all()
    wide = sleep.fits["reml"].effects.pivot(index="level", columns="term", values="estimate").reset_index()
    with pytest.raises(ComparisonError, match=r"deviations, it seems\. Save as\.data\.frame\(ranef\(fit\)\)"):
        wb.adapt(wide, sleep, "lme4")


def test_wide_tables_leave_out_what_does_not_vary(intercepts):
    wide = pd.DataFrame(
        {"Subject": intercepts.coefficients["level"], "X.Intercept.": intercepts.coefficients["estimate"]}
    )
    wide["Days"] = intercepts.population.estimate[1]
    assert largest(intercepts, wb.adapt(wide, intercepts)) == 0

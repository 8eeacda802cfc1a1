"""What a report answers beside its tables. Rungs: closed form (every sentence and cell recomputed from the fits), and
silence where there is nothing to say."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.plots.style import title_of
from workbench.report import Context
from workbench.report.data_tables import data_tables
from workbench.report.glossary import WORDS, _pieces, occurs
from workbench.report.instead import costs, instead
from workbench.report.score_tables import scoreboards
from workbench.report.view import page
from workbench.sampling.stages import clock, stage
from workbench.words import significant

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
SLEEP = DATA / "datasets/sleepstudy.csv"


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, FOUR)


@pytest.fixture(scope="module")
def known():
    """Groups of 2 and of 8 whose true means are known."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(10), [2] * 5 + [8] * 5)
    means = rng.normal(size=10)
    truth = {"level": [str(j) for j in range(10)], "term": ["(Intercept)"] * 10, "value": means}
    y = means[codes] + rng.normal(size=50)
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, FOUR, truth=truth)


def part(comparison, name):
    return comparison.fits[name].group_effects[0].coefficient


# --- can I just use bayesglm instead? -----------------------------------------------------------------


def test_the_answer_is_the_largest_difference_in_standard_errors(sleep):
    fixed, reml = part(sleep, "fixed_prior"), part(sleep, "reml")
    ratio = np.abs(fixed.estimate - reml.estimate) / reml.std_error
    gap = np.abs(fixed.estimate - reml.estimate)
    effects = sleep.fits["reml"].group_effects[0]
    first, needed, intervals = instead(sleep)
    (j, k), (a, b) = (np.unravel_index(x.argmax(), x.shape) for x in (ratio, gap))
    assert first.startswith("For the points, yes: the fixed prior's group coefficients and REML's differ, ")
    at, widest = (f"{effects.terms[t]} of Subject {effects.levels[i]}" for i, t in ((j, k), (a, b)))
    there = "" if at == widest else f" ({widest})"
    assert f"in the units of the response at most {significant(gap.max())}{there}, " in first
    assert f"in REML's standard errors at most {significant(ratio.max(), 2)} ({at})." in first
    assert needed.startswith("It does not replace REML")
    length = (fixed.conf_high - fixed.conf_low) / (reml.conf_high - reml.conf_low)
    low, middle, high = (significant(x, 3) for x in (length.min(), np.median(length), length.max()))
    assert f"{low} to {high} times (median {middle}) as long as REML's" in intervals
    assert fixed.std_error_kind in intervals
    assert reml.std_error_kind in intervals


@pytest.mark.parametrize(("shift", "answer"), [(0.3, "nearly"), (2.0, "not here"), (0.0, "yes: the fixed prior's")])
def test_the_answer_follows_the_difference(sleep, shift, answer):
    reml = sleep.fits["reml"]
    moved = replace(part(sleep, "reml"), estimate=part(sleep, "reml").estimate + shift * part(sleep, "reml").std_error)
    effects = replace(reml.group_effects[0], coefficient=moved)
    fits = {"reml": reml, "fixed_prior": replace(sleep.fits["fixed_prior"], group_effects=(effects,))}
    said = instead(Comparison(fits))[0]
    assert said.startswith(f"For the points, {answer}")
    if shift:
        assert f"in REML's standard errors at most {significant(shift, 2)} (" in said


@pytest.mark.parametrize(("times", "told"), [(0.8, True), (1.2, True), (1.05, False)])
def test_intervals_of_another_length_are_said_at_once(sleep, times, told):
    reml = sleep.fits["reml"]
    own = part(sleep, "reml")
    middle, half = (own.conf_high + own.conf_low) / 2, (own.conf_high - own.conf_low) / 2
    moved = replace(own, conf_low=middle - times * half, conf_high=middle + times * half)
    effects = replace(reml.group_effects[0], coefficient=moved)
    fits = {"reml": reml, "fixed_prior": replace(sleep.fits["fixed_prior"], group_effects=(effects,))}
    said = instead(Comparison(fits))[0]
    headline = f"For the points, yes; for the intervals, no: {significant(times, 3)} times as long as REML's by Subject"
    assert said.startswith(headline) == told


def test_your_own_mean_and_sd_need_no_mixed_model(sleep):
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 4], "g": list("aabbccdd")}
    given = {"mean": 3.0, "sd": {"(Intercept)": 2.0}}
    own = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"], options={"fixed_prior": given})
    assert not any("does not replace" in sentence for sentence in instead(own))
    assert any(sentence.startswith("The mean and the SD were given with the call;") for sentence in instead(own))
    usual = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"])
    assert any("does not replace REML" in sentence for sentence in instead(usual))


def test_a_spread_of_zero_is_said():
    school = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    said = instead(wb.compare("y ~ 1 + (1 | g)", school, FOUR, se="se"))
    assert any(s.startswith("REML puts the SD between groups at zero ((Intercept) by g)") for s in said)


def test_full_bayes_is_set_beside_the_fixed_prior(sleep):
    with_draws = with_posterior(sleep)
    said = instead(with_draws)[-1]
    whole, fixed = part(with_draws, "hierarchical"), part(with_draws, "fixed_prior")
    length = (whole.conf_high - whole.conf_low) / (fixed.conf_high - fixed.conf_low)
    shown = [significant(x, 3) for x in (length.min(), length.max())]
    lengths = f"{shown[0]} times" if shown[0] == shown[1] else f"{shown[0]} to {shown[1]} times"
    assert f"its intervals are {lengths}" in said
    ratio = np.abs(whole.estimate - fixed.estimate) / fixed.std_error
    assert f"in the fixed prior's standard errors at most {significant(ratio.max(), 2)} (" in said


def test_nothing_is_answered_where_there_is_nothing_to_compare(sleep):
    for names in (["reml"], ["no_pooling", "fixed_prior"], ["no_pooling", "reml"]):
        alone = Comparison({name: sleep.fits[name] for name in names}, sleep.alone)
        assert instead(alone) == ()
        assert "instead" not in dict(page(alone, Context()).contents)


def test_costs_add_up_what_a_fit_builds_on(sleep):
    seconds = {"complete_pooling": 1.0, "no_pooling": 2.0, "reml": 4.0, "fixed_prior": 8.0}
    timed = Comparison({n: f.finished(seconds[n], f.options) for n, f in sleep.fits.items()}, sleep.alone)
    table = costs(timed)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["fixed prior"] == ["8.00", "REML", "12.0"]
    assert rows["REML"] == ["4.00", "", "4.00"]
    assert table.sentence == "REML took 4.0 seconds, and the fixed prior 8.0 more on top of that."


def test_stages_are_told_where_they_were_measured(sleep):
    fits = dict(with_posterior(sleep).fits)
    full = fits["hierarchical"]
    stages = {"seconds_by_stage": {"compile": 1.25, "sampling": 2.5}}
    fits["hierarchical"] = replace(full, diagnostics=dict(full.diagnostics) | stages, seconds=5.0)
    table = costs(Comparison(fits, sleep.alone))
    assert [column.title for column in table.columns][1:4] == ["seconds", "of which compiling", "of which sampling"]
    assert [cell.text for cell in table.rows[-1][1:4]] == ["5.00", "1.25", "2.50"]
    assert [cell.text for cell in table.rows[0][2:4]] == ["–", "–"]


def test_stages_of_the_same_name_add_up_and_need_a_clock():
    with stage("compile"):  # nobody asks
        pass
    with clock() as outer:
        with stage("a"), clock() as inner, stage("b"):
            pass
        with stage("a"):
            pass
    assert list(outer) == ["a"]
    assert list(inner) == ["b"]
    assert outer["a"] >= inner["b"] >= 0


# --- words --------------------------------------------------------------------------------------------


def test_every_estimator_and_each_abbreviation_of_the_tables_is_explained(sleep):
    shown = page(with_posterior(sleep), Context())
    assert [title for title, _ in shown.estimators] == [title_of(name) for name in with_posterior(sleep).fits]
    assert all(said.endswith(".") for _, said in shown.estimators)
    text = "\n".join(piece for table in (*shown.estimates, *shown.single, shown.priors) for piece in _pieces(table))
    assert {word for word, _ in shown.words} == {word for word in WORDS if occurs(word, text)}
    assert {"REML", "coefficient SE"} <= {word for word, _ in shown.words}
    alone = page(sleep, Context())
    assert not {"R-hat", "E-BFMI", "ESS"} & {word for word, _ in alone.words}
    assert ("words", "Words") in shown.contents


# --- against the truth --------------------------------------------------------------------------------


def test_the_scoreboard_holds_the_errors_and_its_sentences_are_read_off(known):
    (table,) = scoreboards(known)
    heads = [column.title for column in table.columns]
    truth = np.array(list(known.truth.values()))
    for row in table.rows:
        cells = dict(zip(heads, row, strict=True))
        name = next(n for n in FOUR if n.replace("_", " ") == cells["estimator"].text.lower())
        inside = (
            slice(None) if cells["groups"].text == "all" else slice(5) if "2" in cells["groups"].text else slice(5, 10)
        )
        own = part(known, name)
        error = own.estimate[inside, 0] - truth[inside]
        np.testing.assert_allclose(cells["RMSE"].sort, np.sqrt(np.mean(error**2)), rtol=1e-12)
        covered = (own.conf_low[inside, 0] <= truth[inside]) & (truth[inside] <= own.conf_high[inside, 0])
        assert cells["coverage"].sort == pytest.approx(covered.mean(), abs=1e-12)
    every = {row[1].text: row for row in table.rows if row[0].text == "all"}
    best = min(every.values(), key=lambda row: row[3].sort)
    assert f"The smallest error is that of {best[1].text} ({best[3].text}" in table.sentence
    assert f"The intervals of 95 % hold the true value in: complete pooling {every['complete pooling'][5].text}" in (
        table.sentence
    )
    small, large = (row for row in table.rows if row[1].text == "REML" and row[0].text != "all")
    relative = [f"{100 * row[4].sort:.3g} % of no pooling's in the smallest" for row in (small,)]
    assert all(text in table.sentence for text in relative)
    assert f"in the largest ({large[0].text})" in table.sentence


def test_without_a_truth_there_is_no_scoreboard(sleep):
    assert scoreboards(sleep) == ()


# --- the data -----------------------------------------------------------------------------------------


def test_rows_dropped_are_counted_by_cause():
    rng = np.random.default_rng(1)
    y, x = rng.normal(size=20), rng.normal(size=20)
    y[3] = x[3] = x[7] = np.nan
    w = np.ones(20)
    w[11] = 0.0
    table = {"y": y, "x": x, "w": w, "g": np.repeat(np.arange(4), 5)}
    missing, sizes = data_tables(wb.fit("y ~ x + (1 | g)", table, weights="w").design)
    assert [(row[0].text, row[1].text) for row in missing.rows] == [
        ("y is missing", "1"), ("x is missing", "2"), ("weight of zero", "1"),
    ]  # fmt: skip
    assert [cell.text for cell in missing.foot[0]] == ["dropped", "3", "15.0 %"]
    assert [cell.text for cell in sizes.rows[0]] == ["g", "4", "4", "4", "4", "4.25", "5", "4.250", "0"]


def test_sizes_are_those_of_every_factor(sleep):
    (only,) = data_tables(sleep.design)
    assert [cell.text for cell in only.rows[0]] == ["Subject", "18", *["10"] * 5, "10.00", "0"]
    crossed = wb.fit("strength ~ 1 + (1 | batch) + (1 | cask:batch)", DATA / "datasets/Pastes.csv").design
    (only,) = data_tables(crossed)
    assert [(row[0].text, row[1].text, row[4].text) for row in only.rows] == [
        ("batch", "10", "6"), ("cask:batch", "30", "2"),
    ]  # fmt: skip


def test_the_base_of_a_predictor_of_labels_is_named():
    from workbench.design import build_design
    from workbench.report.view import data_sentences

    table = {"y": [1.0, 2.0, 4.0, 3.0, 5.0, 7.0], "r": list("BACABC"), "g": list("aabbcc"), "x": [1.0, 2, 3, 5, 4, 6]}
    named = "Levels of r are compared with the first, A."
    assert named in data_sentences(build_design("y ~ r + (1 | g)", table))
    for formula in ("y ~ 0 + r + (1 | g)", "y ~ x + (1 | g)"):
        assert not any("compared" in sentence for sentence in data_sentences(build_design(formula, table)))

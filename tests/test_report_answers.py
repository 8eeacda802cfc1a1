"""What a report answers beside its tables. Rungs: closed form (every sentence and cell recomputed from the fits), and
silence where there is nothing to say."""

import re
from dataclasses import replace

import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.plots.style import title_of
from workbench.report import Context
from workbench.report.costs import costs
from workbench.report.data_tables import data_tables
from workbench.report.glossary import WORDS, _pieces, occurs
from workbench.report.instead import instead
from workbench.report.prior_held import summary_over_display
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


def _counts():
    """Few counts on each of many sheets, half of them late: Laplace's coefficients are not those of the joint mode."""
    rng = np.random.default_rng(9)
    sheet = np.repeat(np.arange(60), 2)
    late, x = (sheet % 2).astype(float), rng.normal(size=120)
    y = rng.poisson(np.exp(-1.2 * late + 0.5 * x + 1.3 * rng.normal(size=60)[sheet]))
    return {"y": y, "late": late, "x": x, "sheet": sheet}


SHEETS = _counts()


@pytest.fixture(scope="module")
def sheets():
    """Counts whose fixed prior has a stated mean and SD: Laplace's, and population coefficients of its own."""
    formula = "y ~ late + x + (1 | sheet)"
    mixed = wb.fit(formula, SHEETS, "laplace", family="poisson")
    own = {"mean": float(mixed.population.estimate[0]), "sd": float(mixed.components[0].sd[0])}
    return wb.compare(formula, SHEETS, ["laplace", "fixed_prior"], family="poisson", options={"fixed_prior": own})


def part(comparison, name):
    return comparison.fits[name].group_effects[0].coefficient


# --- can I just use bayesglm instead? -----------------------------------------------------------------


def test_the_answer_is_the_largest_difference_in_standard_errors(sleep):
    fixed, reml = (sleep.fits[name].group_effects[0] for name in ("fixed_prior", "reml"))
    gap = np.abs(fixed.effect.estimate - reml.effect.estimate)
    ratio = gap / reml.effect.std_error
    points, population, intervals, arm, prior = instead(sleep)
    (j, k), (a, b) = (np.unravel_index(x.argmax(), x.shape) for x in (ratio, gap))
    assert points.startswith("For the points, yes: the fixed prior's group effects and REML's differ, ")
    at, widest = (f"{reml.terms[t]} of Subject {reml.levels[i]}" for i, t in ((j, k), (a, b)))
    there = "" if at == widest else f" ({widest})"
    assert f"in the units of the response at most {significant(gap.max())}{there}, " in points
    assert f"in REML's standard errors (conditional SD) at most {significant(ratio.max(), 2)} ({at})." in points
    assert population == "Its population values are held, without standard errors."
    lengths = fixed.effect.std_error / reml.effect.std_error, fixed.coefficient.std_error / reml.coefficient.std_error
    given, whole = (f"{significant(x.min(), 3)} to {significant(x.max(), 3)} times" for x in lengths)
    assert significant(lengths[0].min(), 3) == significant(lengths[0].max(), 3) == given.split()[0]
    assert f"they are {given.split()[0]} times as long as those of REML's group effects (conditional SD)" in intervals
    assert "(the residual SD is 25.54 against 25.59 and the prior's terms are independent where REML's c" in intervals
    assert (
        f"{whole} (median 0.995) as long as those of REML's group coefficients (coefficient SE), which c" in intervals
    )
    assert "their standard errors" not in arm
    assert prior.startswith("It does not replace REML")


@pytest.mark.parametrize(("shift", "answer"), [(0.3, "nearly"), (2.0, "no"), (0.0, "yes: the fixed prior's")])
def test_the_answer_follows_the_difference(sleep, shift, answer):
    reml, own = sleep.fits["reml"], sleep.fits["reml"].group_effects[0]
    moved = replace(own.coefficient, estimate=own.coefficient.estimate + shift * own.effect.std_error)
    effects = replace(own, coefficient=moved)
    fits = {"reml": reml, "fixed_prior": replace(sleep.fits["fixed_prior"], group_effects=(effects,))}
    said = instead(Comparison(fits))[0]
    assert said.startswith(f"For the points, {answer}")
    if shift:
        assert f"in REML's standard errors (conditional SD) at most {significant(shift, 2)} (" in said


def test_the_verdict_covers_population_coefficients(sheets):
    """Poisson counts: the joint mode's population coefficients are not the marginal ones."""
    fixed, mixed = sheets.fits["fixed_prior"].population, sheets.fits["laplace"].population
    off = np.abs(fixed.estimate - mixed.estimate) / mixed.std_error
    length = fixed.std_error / mixed.std_error
    points, population, *_ = instead(sheets)
    assert off[1] > 0.5 > 0.1 > off[2]
    assert points.startswith("For the points, nearly for groups, no for late: ")
    assert (
        f"2 population coefficients that it estimates, late differs most: {significant(fixed.estimate[1])} again"
        in (population)
    )
    assert f"{significant(off[1], 2)} of Laplace's standard error; their standard errors are " in population
    assert f"{significant(length[1:].min(), 3)} to {significant(length[1:].max(), 3)} times" in population
    assert population.endswith("as long as Laplace's; (Intercept) is held, without a standard error.")


def test_coefficients_held_at_the_mixed_models_are_not_judged(sheets):
    """By default a fixed prior of counts holds what does not vary where Laplace has it."""
    held = wb.compare(str(sheets.design.formula), SHEETS, ["laplace", "fixed_prior"], family="poisson")
    points, population, *_ = instead(held)
    assert points.startswith("For the points, yes: ")
    assert population == "Its population values are held, without standard errors."


def test_one_population_coefficient_is_told_by_its_name():
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 5], "x": [0.0, 1, 0, 1, 1, 0, 1, 1], "g": list("aabbccdd")}
    two = wb.compare("y ~ x + (1 | g)", table, ["reml", "fixed_prior"])
    fixed, reml = (two.fits[name].population for name in ("fixed_prior", "reml"))
    said = instead(two)[1]
    assert said.startswith("It estimates one population coefficient, x: ")
    assert f"its standard error is {significant(fixed.std_error[1] / reml.std_error[1], 3)} times as long as" in said


@pytest.mark.parametrize(("times", "told"), [(0.8, True), (1.2, True), (1.05, False)])
def test_intervals_of_another_length_are_said_at_once(sleep, times, told):
    reml, own = sleep.fits["reml"], sleep.fits["reml"].group_effects[0]
    moved = []
    for e, by in ((own.coefficient, times), (own.effect, 1.0)):
        middle, half = (e.conf_high + e.conf_low) / 2, (e.conf_high - e.conf_low) / 2
        moved.append(replace(e, conf_low=middle - by * half, conf_high=middle + by * half))
    effects = replace(own, coefficient=moved[0], effect=moved[1])
    fits = {"reml": reml, "fixed_prior": replace(sleep.fits["fixed_prior"], group_effects=(effects,))}
    said = instead(Comparison(fits))[2]
    unlike = f"yes for effects, no for coefficients ({significant(times, 3)} times by Subject, median)"
    assert said.startswith(f"For the intervals, {unlike if told else 'yes'}: they are 1.00 times as long as those of R")
    assert f"and {significant(times, 3)} times as long as those of REML's group coefficients" in said


def test_a_yes_for_intervals_holds_for_all_of_them(sleep):
    """One group's interval half as long as the others: the median does not see it."""
    own = sleep.fits["reml"].group_effects[0]
    by = np.ones(own.effect.estimate.shape)
    by[0, 0] = 0.5

    def times(e):
        middle, half = (e.conf_high + e.conf_low) / 2, (e.conf_high - e.conf_low) / 2
        return replace(e, conf_low=middle - by * half, conf_high=middle + by * half)

    effects = replace(own, coefficient=times(own.coefficient), effect=times(own.effect))
    fixed = replace(sleep.fits["fixed_prior"], group_effects=(effects,))
    said = instead(Comparison({"reml": sleep.fits["reml"], "fixed_prior": fixed}))[2]
    assert said.startswith("For the intervals, mostly (within 10 % for 35 of 36): they are 0.500 to 1.00 times")


def test_a_held_mean_is_what_shortens_intervals_of_crossed_factors():
    """Two levels of the second factor: the mean is known so badly that it makes up most of the coefficient SE."""
    rng = np.random.default_rng(5)
    a, b = np.repeat(np.arange(12), 6), np.tile(np.arange(3), 24)
    y = 0.3 * rng.normal(size=12)[a] + np.array([-3.0, 0.0, 3.0])[b] + 0.5 * rng.normal(size=72)
    both = wb.compare("y ~ 1 + (1 | a) + (1 | b)", {"y": y, "a": a, "b": b}, ["reml", "fixed_prior"])
    fixed, reml = (both.fits[name].group_effects[0] for name in ("fixed_prior", "reml"))
    said = next(s for s in instead(both) if s.startswith("For the intervals"))
    shorter = np.median(fixed.coefficient.std_error / reml.coefficient.std_error)
    assert shorter < 0.5
    np.testing.assert_allclose(fixed.effect.std_error, reml.effect.std_error, rtol=2e-3)
    assert f"yes for effects, no for coefficients ({significant(shorter, 3)} times by a" in said


def test_without_a_population_value_errors_are_set_beside_once():
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 4], "g": list("aabbccdd")}
    said = instead(wb.compare("y ~ 0 + (1 | g)", table, ["reml", "fixed_prior"]))
    assert not any("population value" in sentence for sentence in said)
    assert any(sentence.startswith("For the intervals, yes: they are ") for sentence in said)


def test_both_of_arms_standard_errors_are_told():
    """Figures of R 4.2.2, arm 1.13-1: display() shows 19.51863, summary() 20.03862 in every batch."""
    dyes = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["reml", "fixed_prior"])
    np.testing.assert_allclose(part(dyes, "fixed_prior").std_error, 19.51863, rtol=1e-5)
    np.testing.assert_allclose(summary_over_display(dyes.fits["fixed_prior"]), 20.03862 / 19.51863, rtol=1e-5)
    (said,) = [s for s in instead(dyes) if "display()" in s]
    both = 20.03862 / part(dyes, "reml").std_error[0, 0]
    assert f"{significant(20.03862 / 19.51863, 4)} times as long, and {significant(both, 3)} times as long as" in said


@pytest.mark.parametrize("given", [{"se": "e"}, {"options": {"fixed_prior": {"dispersion": "reml"}}}])
def test_arms_errors_are_not_told_where_no_dispersion_is_estimated(sheets, given):
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 4], "e": [1.0] * 8, "g": list("aabbccdd")}
    held = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"], **given)
    for comparison in (held, sheets):
        assert not any("display()" in sentence for sentence in instead(comparison))


def test_a_stated_prior_is_told_with_both_pairs():
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 4], "g": list("aabbccdd")}

    def told(**options):
        said = instead(wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"], options={"fixed_prior": options}))
        return next(s for s in said if "prior" in s and not s.startswith("For the "))

    reml = wb.fit("y ~ 1 + (1 | g)", table, "reml")
    mean, sd = float(reml.population.estimate[0]), float(reml.components[0].sd[0])
    lead = "The mean and the SD of its prior"
    assert told().startswith("It does not replace REML: ")
    both = told(mean=3.0, sd={"(Intercept)": 2.0})
    assert both.startswith(f"{lead} were stated, not estimated here, and are not REML's: ")
    assert f"mean of (Intercept) 3.000 against {significant(mean)}" in both
    assert f"SD by g 2.000 against {significant(sd)}" in both
    alone = told(sd=2.0)
    assert alone.startswith(f"{lead} (a stated SD, the rest of REML) are not REML's: SD by g 2.000 against ")
    assert "mean of" not in alone
    same = told(mean=mean, sd=sd)
    assert same == f"{lead} were stated, not estimated here, and are REML's estimates all the same."
    assert told(plug_in="ml").startswith(f"{lead} (mean and SD of ML) are not REML's: SD by g ")


def test_another_mean_is_judged_by_coefficients():
    """Effects that deviate from two population values are not alike, however alike the coefficients are."""
    table = {"y": [1.0, 2, 4, 3, 7, 6, 2, 4] * 20, "g": list("aabbccdd") * 20}
    own = {"fixed_prior": {"mean": 3.0, "sd": 2.0}}
    other = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"], options=own)
    assert instead(other)[0].startswith("For the points, yes: the fixed prior's group coefficients and REML's differ, ")


def test_a_spread_of_zero_is_said():
    school = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    said = instead(wb.compare("y ~ 1 + (1 | g)", school, FOUR, se="se"))
    assert any("; REML puts the SD between groups at zero ((Intercept) by g), and a prior" in s for s in said)
    dyes = instead(wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["reml", "fixed_prior"]))
    assert "For the intervals, no: at a prior SD of zero they have no length." in dyes
    assert not any("display()" in s or "0 times" in s for s in dyes)


def test_full_bayes_is_set_beside_the_mixed_model(sleep):
    with_draws = with_posterior(sleep)
    said = instead(with_draws)[-1]
    whole, reml = part(with_draws, "hierarchical"), part(with_draws, "reml")
    length = (whole.conf_high - whole.conf_low) / (reml.conf_high - reml.conf_low)
    np.testing.assert_allclose(length, 1.2, rtol=1e-4)
    assert "its intervals of group coefficients are 1.20 times as long as REML's (coefficient SE), and its p" in said
    assert said.endswith("its points are REML's, to rounding.")
    assert "fixed prior" not in said
    full = with_draws.fits["hierarchical"]
    moved = replace(whole, estimate=whole.estimate + 0.3 * reml.std_error)
    effects = replace(full.group_effects[0], coefficient=moved)
    fits = dict(with_draws.fits) | {"hierarchical": replace(full, group_effects=(effects,))}
    assert "in REML's standard errors at most 0.30 (" in instead(Comparison(fits))[-1]


def test_the_answer_has_six_sentences_at_most(sleep, sheets):
    assert len(instead(with_posterior(sleep))) == 6
    assert len(instead(sheets)) <= 6


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


def test_the_fixed_priors_words_say_whose_mean_and_sd_it_holds(sleep, sheets):
    assert dict(page(sleep, Context()).estimators)["fixed prior"] == "Plugged in: mean and SD of REML as a fixed prior."
    own = dict(page(sheets, Context()).estimators)["fixed prior"]
    assert own == "Plugged in: a stated mean and SD as a fixed prior."


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
    assert f"in the largest ({large[0].text}" in table.sentence


def test_ties_and_estimators_that_do_better_in_some_groups_are_told():
    """The true values lie all at the middle: complete pooling has no error there, the fixed prior REML's."""
    rng = np.random.default_rng(8)
    sizes = np.repeat([2, 30], 6)
    g = np.repeat(np.arange(12), sizes)
    values = np.r_[np.zeros(6), np.linspace(-2, 2, 6)]
    y = values[g] + rng.normal(size=len(g))
    truth = {"level": [str(j) for j in range(12)], "term": ["(Intercept)"] * 12, "value": values}
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": g}, FOUR, truth=truth)
    (table,) = scoreboards(comparison)
    errors = {
        name: np.abs(fit.group_effects[0].coefficient.estimate[:, 0] - values) for name, fit in comparison.fits.items()
    }
    small = {name: float(np.sqrt(np.mean(e[:6] ** 2))) for name, e in errors.items()}
    whole = {name: float(np.sqrt(np.mean(e**2))) for name, e in errors.items()}
    assert abs(whole["reml"] / whole["fixed_prior"] - 1) < 0.01
    assert re.search(r"less than 1 % larger: [^.]*(REML|fixed prior)", table.sentence)
    best = min(small, key=small.get)
    assert best == "complete_pooling"
    assert f"complete pooling's {significant(small[best])} is below its {small['reml']:.4f}" in table.sentence
    assert table.sentence.count(" is below its ") == 1  # in the largest groups REML is not beaten


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

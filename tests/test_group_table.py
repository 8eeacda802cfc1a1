"""Every group by every estimator, ranks and the scoreboard. Rungs: closed form, direct sums, invariance, draws."""

import re

import numpy as np
import pytest
from corpus import DATA
from scipy.stats import norm, spearmanr

import workbench as wb
from workbench.errors import OptionError
from workbench.group_table import EXACT_DRAWS
from workbench.ranking import MOST_LEVELS, normal_draws, ranks
from workbench.report.estimate_tables import estimates

ESTIMATORS = ["complete_pooling", "no_pooling", "reml", "fixed_prior", "exact", "james_stein"]


@pytest.fixture(scope="module")
def twelve():
    truth = DATA.parent.parent / "models/twelve_groups/truth.csv"
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ESTIMATORS, truth=truth)


def of(table, estimator):
    return table[table["estimator"] == estimator].set_index("level")


# --- ranks --------------------------------------------------------------------------------------------


def test_ranks_of_two_normal_variables_are_in_closed_form():
    found = ranks(normal_draws(np.array([1.0, 0.0]), np.array([3.0, 4.0]), 40_000), 1)
    p = norm.cdf(1 / 5)
    assert found.highest[0] == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 40_000))
    assert found.expected[0] == pytest.approx(2 - p, abs=4 * np.sqrt(p * (1 - p) / 40_000))


def test_ranks_of_draws_are_shares():
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(500, 7))
    found = ranks(draws, 3)
    order = (-draws).argsort(axis=1).argsort(axis=1) + 1
    np.testing.assert_allclose(found.expected, order.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.highest, (draws.argmax(axis=1)[:, None] == np.arange(7)).mean(axis=0))
    np.testing.assert_array_equal(found.among_top, (order <= 3).mean(axis=0))
    assert found.among_top.sum() == pytest.approx(3)


def test_more_groups_than_wanted_are_all_at_the_top():
    assert ranks(np.array([[1.0, 2.0]]), 5).among_top.tolist() == [1.0, 1.0]


# --- the table ----------------------------------------------------------------------------------------


def test_reliability_is_what_the_deviation_is_multiplied_by(twelve):
    fit, table = twelve.fits["reml"], twelve.by_group()
    tau2, n = fit.components[0].covariance[0, 0], np.repeat([100, 2], 6)
    expected = tau2 / (tau2 + fit.sigma**2 / n)
    own = of(table, "reml")
    np.testing.assert_allclose(own["reliability"], expected, rtol=1e-9)
    np.testing.assert_allclose(own["shrinkage"], 1 - expected, rtol=1e-9)
    assert of(table, "exact")["reliability"].isna().all()  # a posterior SD is not of given variances
    np.testing.assert_allclose(own["std_error"], fit.coefficients["std_error"], rtol=1e-15)
    assert set(own["std_error_kind"]) == {"coefficient SE"}


def test_ranks_go_with_the_draws_and_the_errors(twelve):
    table = twelve.by_group()
    exact = of(table, "exact")
    draws = twelve.fits["exact"].posterior.draw(4000, 0)["effect"]
    shares = (draws.argmax(axis=1)[:, None] == np.arange(12)).mean(axis=0)
    np.testing.assert_array_equal(exact["p_highest"], shares)
    assert exact["p_top"].sum() == pytest.approx(3)
    assert of(table, "no_pooling")["p_highest"].idxmax() == "12"  # two rows, far off: noise
    assert of(table, "reml")["p_highest"].idxmax() == "4"  # a hundred rows
    assert of(table, "complete_pooling")["rank"].isna().all()  # all are one
    assert of(table, "james_stein")[["rank", "p_highest"]].isna().sum().tolist() == [0, 12]  # it has no errors
    np.testing.assert_array_equal(np.sort(of(table, "reml")["rank"]), np.arange(1, 13))
    top = of(twelve.by_group(top=1), "reml")
    np.testing.assert_array_equal(top["p_top"], top["p_highest"])


def test_ties_share_their_rank():
    table = {"y": [1.0, 3.0, 1.0, 3.0, 5.0, 9.0], "g": list("aabbcc")}
    found = of(wb.compare("y ~ 1 + (1 | g)", table, ["no_pooling"]).by_group(), "no_pooling")
    assert found["rank"].tolist() == [2.5, 2.5, 1.0]


def test_trust_names_what_keeps_a_number_from_being_trusted(twelve):
    assert of(twelve.by_group(), "reml")["trust"].tolist() == [""] * 6 + ["few rows (2)"] * 6
    flat = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["reml"]).by_group()
    assert set(flat["trust"]) == {"singular"}
    assert flat["reliability"].eq(0).all()
    one = {"k": [3, 0, 4, 6], "n": [8, 9, 5, 11], "g": list("abcd")}
    lost = wb.compare("cbind(k, n - k) ~ 1 + (1 | g)", one, ["no_pooling"], family="binomial").by_group()
    assert lost["trust"].tolist() == ["", "no estimate", "", ""]  # a row of several trials is not few
    single = {"k": [1, 0, 1, 1, 0], "g": list("aaabb")}
    lost = wb.compare("k ~ 1 + (1 | g)", single, ["no_pooling"], family="binomial").by_group()
    assert lost["trust"].tolist() == ["few rows (3)", "few rows (2)"]


def test_a_row_of_a_known_error_is_not_few():
    table = {"y": [28.0, 8.0, -3.0, 7.0], "se": [15.0, 10.0, 16.0, 11.0], "school": list("ABCD")}
    found = wb.compare("y ~ 1 + (1 | school)", table, ["no_pooling"], se="se").by_group()
    assert found["n"].eq(1).all()
    assert found["trust"].eq("").all()


def test_the_table_is_made_once_and_is_the_users_to_change(twelve, monkeypatch):
    first = twelve.by_group()
    monkeypatch.setattr("workbench.group_table.group_table", None)
    first["estimate"] = 0.0
    assert twelve.by_group()["estimate"].ne(0).any()
    assert twelve.wide()["reml"].ne(0).all()


def test_a_foreign_answer_is_a_row_as_any_other(twelve):
    own = twelve.fits["reml"].coefficients[["level", "estimate"]]
    table = of(twelve.beside(elsewhere=own).by_group(), "elsewhere")
    np.testing.assert_array_equal(table["estimate"], own["estimate"])
    np.testing.assert_array_equal(table["rank"], of(twelve.by_group(), "reml")["rank"])
    assert table["p_highest"].isna().all()  # it came without errors
    assert table["trust"].str.startswith("read, not computed here").all()


def test_wide_puts_estimators_side_by_side(twelve):
    wide = twelve.wide()
    assert list(wide.columns) == ["group", "level", "term", "n", *ESTIMATORS]
    for name, fit in twelve.fits.items():
        np.testing.assert_array_equal(wide[name], fit.coefficients["estimate"])
    slopes = wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["no_pooling", "reml"])
    wide = slopes.wide("shrinkage")
    np.testing.assert_array_equal(wide["reml"], slopes.shrinkage.query("estimator == 'reml'")["shrinkage"])
    assert wide[["level", "term"]].iloc[1].tolist() == ["308", "Days"]
    with pytest.raises(OptionError, match="no column 'shrink'"):
        slopes.wide("shrink")


@pytest.mark.parametrize("top", [0, -1, True, 2.5, "3"])
def test_top_is_a_number_of_groups(twelve, top):
    with pytest.raises(OptionError, match="whole number from 1 on"):
        twelve.by_group(top)


def test_several_factors_and_many_levels_have_a_row_each():
    crossed = wb.compare("diameter ~ 1 + (1 | plate) + (1 | sample)", DATA / "datasets/Penicillin.csv", ["reml"])
    table = crossed.by_group()
    assert table["group"].value_counts().to_dict() == {"plate": 24, "sample": 6}
    for _, part in table.groupby("group"):
        assert part["p_highest"].sum() == pytest.approx(1)
    J = MOST_LEVELS + 1
    rng = np.random.default_rng(0)
    many = {"y": rng.normal(size=2 * J) + np.repeat(rng.normal(size=J), 2), "g": np.repeat(np.arange(J), 2)}
    table = wb.compare("y ~ 1 + (1 | g)", many, ["reml"]).by_group()
    assert table["p_highest"].isna().all()
    assert table["rank"].max() == J


# --- the scoreboard -----------------------------------------------------------------------------------


def test_the_scoreboard_is_made_of_sums(twelve):
    board, truth = twelve.scoreboard, twelve.true_values["value"].to_numpy()
    every = board[board["sizes"] == "all"].set_index("estimator")
    for name, fit in twelve.fits.items():
        own, score = fit.coefficients, every.loc[name]
        estimate, error = own["estimate"].to_numpy(), own["std_error"].to_numpy()
        assert score["rmse"] == pytest.approx(np.sqrt(np.mean((estimate - truth) ** 2)), rel=1e-12)
        assert score["seconds"] == fit.seconds
        if np.isfinite(error).all():
            inside = (own["conf_low"] <= truth) & (truth <= own["conf_high"])
            assert score["coverage"] == pytest.approx(inside.mean())
            assert score["interval_width"] == pytest.approx((own["conf_high"] - own["conf_low"]).mean())
            assert score["log_score"] == pytest.approx(norm.logpdf(truth, estimate, error).mean(), rel=1e-12)
        if np.ptp(estimate):
            assert score["rank_correlation"] == pytest.approx(spearmanr(estimate, truth).statistic, rel=1e-12)
    # squared errors to the truth that were published for these data
    published = {"no_pooling": 15.48, "complete_pooling": 0.663, "reml": 0.398}
    for name, value in published.items():
        assert every.loc[name, "rmse"] ** 2 == pytest.approx(value, abs=5e-3)
    assert every.loc["reml", "relative_rmse"] == pytest.approx(
        every.loc["reml", "rmse"] / every.loc["no_pooling", "rmse"]
    )


def test_the_scoreboard_tells_small_groups_from_large_ones(twelve):
    board = twelve.scoreboard
    assert list(dict.fromkeys(board["sizes"])) == ["all", "n = 2", "n = 100"]
    whole = board.pivot(index="estimator", columns="sizes", values="rmse") ** 2
    np.testing.assert_allclose(whole["all"], (whole["n = 2"] + whole["n = 100"]) / 2, rtol=1e-12)


def test_sizes_are_cut_into_thirds():
    rng = np.random.default_rng(1)
    sizes = np.arange(2, 14)
    g = np.repeat(np.arange(12), sizes)
    board = wb.compare("y ~ 1 + (1 | g)", {"y": rng.normal(size=len(g)), "g": g}, ["reml"]).scoreboard
    assert board["sizes"].tolist() == ["all", "n = 2 to 5", "n = 6 to 9", "n = 10 to 13"]
    assert board["levels"].tolist() == [12, 4, 4, 4]


def test_without_a_truth_there_is_width_and_time():
    board = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["no_pooling", "reml"]).scoreboard
    assert board["sizes"].tolist() == ["all", "all"]
    assert board[["rmse", "coverage", "rank_correlation", "log_score"]].isna().to_numpy().all()
    assert board["interval_width"].notna().all()


# --- sentences ----------------------------------------------------------------------------------------


def test_the_summary_says_what_the_numbers_are(twelve):
    text = twelve.summary()
    largest = (twelve.wide()["no_pooling"] - twelve.wide()["reml"]).abs()
    assert twelve.wide()["level"][largest.idxmax()] == "12"
    assert "Pooling moves group 12 farthest (n = 2, one of the smallest groups): its sample mean is 9.260" in text
    assert f"REML {twelve.scoreboard.query("sizes == 'all' and estimator == 'reml'")['rmse'].item():.4f}" in text
    assert len(text.splitlines()) >= 4


def test_scores_are_of_the_levels_that_all_estimators_have():
    """An estimator that misses the hard groups is not better for it: one-row groups have no slope of their own."""
    rng = np.random.default_rng(9)
    sizes = np.array([1, 1, 5, 6, 7, 8, 9, 10])
    codes = np.repeat(np.arange(8), sizes)
    true = rng.normal(size=(8, 2))
    x = rng.normal(size=len(codes))
    data = {"y": true[codes, 0] + true[codes, 1] * x + rng.normal(size=len(codes)), "x": x, "g": codes}
    names = [str(j) for j in range(8)]
    truth = {"level": names * 2, "term": ["(Intercept)"] * 8 + ["x"] * 8, "value": true.T.ravel()}
    comparison = wb.compare("y ~ x + (x | g)", data, ["no_pooling", "reml"], truth=truth)
    board = comparison.scoreboard.query("sizes == 'all' and term == 'x'").set_index("estimator")
    assert board["levels"].tolist() == [6, 6]
    for name in ("no_pooling", "reml"):
        error = comparison.fits[name].group_effects[0].coefficient.estimate[2:, 1] - true[2:, 1]
        assert board.loc[name, "rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)


def test_probabilities_of_ranks_are_told_with_the_error_of_their_draws():
    """Of two groups with the same data either is as likely the higher: shares of N draws miss by 0.5 / sqrt(N)."""
    table = {"y": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 7.0, 5.0, 6.0], "g": list("aaabbbccc")}
    for names, draws in ((["no_pooling", "reml"], 4000), (["no_pooling", "reml", "exact"], EXACT_DRAWS)):
        comparison = wb.compare("y ~ 1 + (1 | g)", table, names)
        (made,) = estimates(comparison)
        place = [column.title for column in made.columns].index("P(highest)")
        assert all(re.fullmatch(r"\d\.\d\d", row[place].text) for row in made.rows)  # a third digit would be chance
        notes = " ".join(made.notes)
        assert f"Probabilities: shares of {draws:,} draws, which miss by some {0.5 / draws**0.5:.1g} near 0.5" in notes
        a, b = comparison.by_group(3).query(f"estimator == '{names[-1]}'")["p_top"].iloc[:2]
        assert abs(a - b) <= 1e-9  # all three are among the top three


def test_shares_outside_their_range_are_explained_and_others_are_not():
    sleep = wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["no_pooling", "reml"])
    intercepts, days = (" ".join(table.notes) for table in estimates(sleep))
    assert "above 1 it lies past the population value" in intercepts
    assert "below 0 the estimate lies farther out than the group's own" not in intercepts
    assert "below 0 the estimate lies farther out than the group's own" in days
    plain = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["no_pooling", "reml"])
    assert "population value: what else" not in " ".join(estimates(plain)[0].notes)

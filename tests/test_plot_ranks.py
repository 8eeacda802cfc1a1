"""Ranks by estimator. Rungs: closed form (ranks and probabilities by other routes), edge cases, a pinned drawing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior
from scipy.stats import rankdata

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import ranks, style
from workbench.plots.ordering import farthest
from workbench.plots.ranks import BAND, DOWN, UP, WHOLE
from workbench.plots.varying import pick, varying

FOUR = ["complete_pooling", "reml", "fixed_prior", "no_pooling"]
TRUTH = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}


@pytest.fixture(scope="module")
def twelve():
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, truth=TRUTH)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(400), np.resize([1, 2, 9], 400))
    u = rng.normal(size=400)
    y = u[codes] + rng.normal(size=len(codes))
    truth = {"level": [str(j) for j in range(400)], "term": ["(Intercept)"] * 400, "value": u}
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml"], truth=truth)


def seen_of(comparison):
    return ranks.view(comparison, pick(comparison))


def column(comparison, name):
    return comparison.fits[name].group_effects[0].coefficient.estimate[:, 0]


def lines(ax):
    return [line for line in ax.lines if str(line.get_gid()).startswith("group ")]


def test_ranks_are_those_of_the_table_and_one_is_the_highest(twelve):
    view = seen_of(twelve)
    assert view.estimators[0] == "no_pooling"
    assert set(view.estimators) == {"no_pooling", "reml", "fixed_prior", "truth"}
    assert view.estimators[-1] == "truth"
    table = twelve.by_group()
    for k, name in enumerate(view.estimators[:-1]):
        own = table[table["estimator"] == name].set_index("level")["rank"]
        np.testing.assert_array_equal(view.ranks[:, k], own[list(view.levels)])
    np.testing.assert_array_equal(view.ranks[:, -1], [13 - int(level) for level in view.levels])
    assert "Without ranks, the same for every group: complete pooling." in view.caption
    low, high = ranks.draw(view).get_ylim()
    assert low > high  # rank 1 is at the top


def test_expected_ranks_and_probabilities_are_those_of_the_table(twelve):
    view = seen_of(twelve)
    own = twelve.by_group().query("estimator == 'reml'").set_index("level").loc[list(view.levels)]
    np.testing.assert_array_equal(view.expected, own["expected_rank"])
    np.testing.assert_array_equal(view.highest, own["p_highest"])
    assert view.scored_by == "REML"
    assert "4,000 normal draws about the effects of REML (error: conditional SD)" in view.caption
    texts = [t.get_text() for t in ranks.draw(view).texts]
    assert "by REML" in texts
    for value in view.expected:
        assert f"{value:.1f}" in texts


def test_full_bayes_has_the_say_about_probabilities(twelve):
    assert seen_of(with_posterior(twelve)).scored_by == "full Bayes"


def test_lines_that_move_stand_out(twelve):
    view = seen_of(Comparison({n: twelve.fits[n] for n in FOUR}, twelve.alone))
    inner = view.ranks[:, :1] - view.ranks
    far = inner[np.arange(12), np.abs(inner).argmax(axis=1)]
    np.testing.assert_array_equal(view.moved, far)
    for line, moved in zip(lines(ranks.draw(view)), far, strict=True):
        assert line.get_color() == (UP if moved >= view.least else DOWN if moved <= -view.least else "#8b9097")
        assert line.is_dashed() == (moved <= -view.least)
    changed = int((np.abs(far) >= 1).sum())
    assert f"moves {changed} of 12 groups to another rank" in view.caption


def test_ties_share_a_rank_and_have_names_of_their_own():
    rows = {"y": [1.0, 2, 1, 2, 1, 2, 5, 6, 0, 1], "g": list("aabbccddee")}
    view = seen_of(wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"]))
    assert view.levels == ("d", "a", "b", "c", "e")
    assert view.ranks[:, 0].tolist() == [1, 3, 3, 3, 5]
    assert "by REML 3 of 5 do, at most 3 of them at rank 3." in view.caption
    ax = ranks.draw(view)
    places = {t.get_position()[1] for t in ax.texts if t.get_text() in "abc" and t.get_ha() == "right"}
    assert sorted(places) == pytest.approx([2, 3, 4], abs=1e-6)


def test_beyond_thirty_groups_the_ends_are_drawn_and_the_rest_is_a_band(many):
    view = seen_of(many)
    order = np.argsort(-column(many, "reml"))
    assert view.levels == tuple(str(j) for j in np.r_[order[:15], order[-15:]])
    assert len(view.levels) == WHOLE
    inside = view.place(np.array([1.0, 15, 386, 400]))
    np.testing.assert_allclose(inside, [1, 15, 16 + BAND, 30 + BAND])
    between = view.place(np.array([16.0, 200, 385]))
    assert (np.diff(np.r_[15.5, between, 15.5 + BAND]) > 0).all()
    true = rankdata(-np.array(list(many.truth.values())))
    hits = int((true[order[:15]] <= 15).sum())
    assert f"Of the 15 highest by REML, {hits} are truly among the 15 highest." in view.caption
    assert "truth" not in view.estimators
    ax = ranks.draw(view)
    assert "370 others" in [t.get_text() for t in ax.texts]
    for line, own in zip(lines(ax), view.ranks, strict=True):
        np.testing.assert_allclose(line.get_ydata(), view.place(own))


def test_names_do_not_overlap(many, twelve):
    for comparison in (many, twelve):
        ax = ranks.draw(seen_of(comparison))
        ax.figure.draw_without_rendering()
        for side in ("left", "right"):
            boxes = [t.get_window_extent() for t in ax.texts if t.get_text().isdigit() and t.get_ha() == side]
            boxes.sort(key=lambda box: box.y0)
            assert len(boxes) >= 12
            assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))


def test_estimators_that_agree_are_said_to(twelve):
    rows = {"y": np.r_[0.0, 1, 2, 3, 5, 8], "g": list("aabbcc")}
    view = seen_of(wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"]))
    assert view.least == 0
    assert "All estimators rank these groups alike." in view.caption
    assert ranks.draw(view).get_legend() is None


def test_it_applies_where_two_order_the_groups(twelve):
    assert ranks.applies(twelve)
    assert ranks.applies(crossed())
    alone = Comparison({"reml": twelve.fits["reml"], "complete_pooling": twelve.fits["complete_pooling"]}, twelve.alone)
    assert not ranks.applies(alone)
    with pytest.raises(OptionError, match="two estimators that tell the groups of group apart"):
        alone.plot.ranks()


def test_names_are_read_as_they_are_and_a_given_ax_is_drawn_on():
    names = ["$x_1$", "a\nb", "l" * 60]
    rows = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": np.repeat(names, 2)}
    ax = style.new_axes()
    assert wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"]).plot.ranks(ax=ax) is ax
    texts = [t.get_text() for t in ax.texts]
    assert texts[:3] == ["l" * 17 + "…", "a b", "$x_1$"]
    assert not any(t.get_parse_math() for t in ax.texts if t.get_text() in texts[:3])


def test_pinned_rendering():
    """Group a leads by its two rows alone, c by eight: REML, keeping more of the larger group, turns them around."""
    y = np.r_[1.0, 9.0, 0.0, 1.0, np.tile([3.0, 6.5], 8), np.tile([-3.0, -1.0], 8)]
    g = np.repeat(["a", "b", "c", "d"], [2, 2, 16, 16])
    ax = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": g}, ["no_pooling", "reml"]).plot.ranks()
    drawn = [line.get_ydata().tolist() for line in lines(ax)]
    assert drawn == [[2.0, 1.0], [1.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    names = [(t.get_text(), round(t.get_position()[1], 6)) for t in ax.texts if t.get_text() in "abcd"]
    assert names == [("c", 2), ("a", 1), ("b", 3), ("d", 4), ("c", 1), ("a", 2), ("b", 3), ("d", 4)]


def test_groups_that_one_estimator_lacks_do_not_move_the_others(twelve):
    """No pooling without the two highest groups: the others keep their order, so none of them moves."""
    reml = twelve.fits["reml"]
    part = reml.group_effects[0]
    values = part.coefficient.estimate.copy()
    top = np.argsort(-values[:, 0])[:2]
    values[top] = np.nan
    lacking = replace(part, coefficient=replace(part.coefficient, estimate=values))
    alone = replace(reml, estimator="no_pooling", group_effects=(lacking,))
    view = seen_of(Comparison({"no_pooling": alone, "reml": reml}))
    assert np.isnan(view.moved[:2]).all()
    assert (view.moved[2:] == 0).all()
    assert "Where all have a rank, it is the same." in view.caption
    names = [t.get_text() for t in ranks.draw(view).texts if t.get_ha() == "right"]
    assert [names.count(view.labels[j]) for j in (0, 1, 2)] == [0, 0, 1]  # at the left end, where no pooling is


def test_without_no_pooling_the_lead_comes_first_and_broken_ties_are_no_moves(twelve):
    pair = Comparison({name: twelve.fits[name] for name in ("fixed_prior", "reml")})
    assert seen_of(pair).estimators[0] == "reml"
    tied = np.array([[3.0, 3.0], [3.0, 2.0], [1.0, 1.0]])
    assert ranks._moved(tied).tolist() == [0, 0, 0]
    assert ranks._moved(np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])).tolist() == [-2, 0, 2]


def test_those_that_move_equally_far_are_all_named(twelve):
    v = pick(twelve)
    moved = np.zeros(12)
    moved[:2] = [3, -3]
    assert farthest(v, moved) == "Farthest, by 3 places, go 2 groups: 1 (up) and 2 (down)."
    moved[2:5] = 3
    assert farthest(v, moved) == "Farthest, by 3 places, go 5 groups, among them 1 (up), 2 (down) and 3 (up)."
    assert farthest(v, np.sign(moved)) == "None moves by more than 1 place."


def test_a_level_line_is_no_change_where_some_groups_are_not_ranked_by_all():
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(25), 6), np.tile(np.arange(6.0), 25)
    y = 10 + 3 * rng.normal(size=25)[g] + x * (1 + 0.3 * rng.normal(size=25)[g]) + rng.normal(size=150)
    keep = (x == 0) | (g % 5 > 0)  # every fifth has a single row
    data = {"y": y[keep], "x": x[keep], "g": [f"g{k}" for k in g[keep]]}
    comparison = wb.compare("y ~ x + (x | g)", data, ["no_pooling", "reml"])
    view = ranks.view(comparison, varying(comparison)[0])
    assert np.isnan(view.ranks[:, 0]).sum() == 5
    level = view.ranks[:, 0] == view.ranks[:, 1]
    common = np.isfinite(view.moved)
    assert 3 < level.sum() < 20
    np.testing.assert_array_equal(level[common], view.moved[common] == 0)
    assert "not ranked by no pooling (5 of 25), so that a level line is no change" in view.caption


def test_a_band_that_would_hide_a_few_hides_none():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(32), 4)
    y = 3 * rng.normal(size=32)[g] + rng.normal(size=128)
    made = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": g}, ["no_pooling", "reml"])
    view = ranks.view(made, varying(made)[0])
    assert view.ends == 0
    assert len(view.levels) == 32


def test_names_in_a_crowded_band_are_counted_instead_of_pointing_to_one_place():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(400), np.where(np.arange(400) % 2, 2, 60))
    y = rng.normal(size=400)[g] * 0.3 + 2 * rng.normal(size=len(g))
    made = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": [f"g{k}" for k in g]}, ["no_pooling", "reml"])
    view = ranks.view(made, varying(made)[0])
    between = (view.ranks[:, 0] > view.ends + 0.5) & (view.ranks[:, 0] < 400 - view.ends + 0.5)
    assert between.sum() > 10
    texts = [text.get_text() for text in ranks.draw(view).texts]
    assert f"{between.sum()} of\n30\ndrawn" in texts
    for label, crowded in zip(view.labels, between, strict=True):
        assert texts.count(label) == (1 if crowded else 2)  # at the right only, or at both ends

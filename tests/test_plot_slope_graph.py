"""The slope graph. Rungs: closed form (order, ranks and values, read off the fits), edge cases, a pinned drawing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed
from scipy.stats import rankdata

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import slope_graph, style
from workbench.plots.names import spread
from workbench.plots.slope_graph import DOWN, LINES, THROUGH, UP
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "fixed_prior", "no_pooling", "boundary_avoiding", "reml"]


@pytest.fixture(scope="module")
def twelve():
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(400), np.resize([1, 2, 9], 400))
    y = rng.normal(size=400)[codes] + rng.normal(size=len(codes))
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml", "complete_pooling"])


def seen_of(comparison):
    return slope_graph.view(comparison, pick(comparison))


def column(comparison, name):
    return comparison.fits[name].group_effects[0].coefficient.estimate[:, 0]


def lines(ax):
    return {line.get_gid(): line for line in ax.lines if str(line.get_gid()).startswith("group ")}


def test_estimators_stand_by_the_spread_of_their_coefficients(twelve):
    view = seen_of(twelve)
    sd = {name: np.std(column(twelve, name), ddof=1) for name in FOUR}
    inner = sorted(("fixed_prior", "boundary_avoiding", "reml"), key=lambda name: -sd[name])
    assert view.estimators == ("no_pooling", *inner, "complete_pooling")
    np.testing.assert_allclose(view.spreads, [sd[name] for name in view.estimators], atol=1e-12)
    np.testing.assert_array_equal(view.values, np.column_stack([column(twelve, name) for name in view.estimators]))
    assert [
        t.get_text().split("\nSD ")[0].replace("\n", " ") for t in slope_graph.draw(view).get_xticklabels()
    ] == list(view.titles)


def test_lines_that_change_rank_stand_out(twelve):
    view = seen_of(twelve)
    moved = rankdata(-column(twelve, "no_pooling")) - rankdata(-column(twelve, "reml"))
    np.testing.assert_array_equal(view.moved, moved)
    assert view.pooled == "reml"
    assert (np.abs(moved) >= view.least).sum() <= 4
    assert (np.abs(moved) >= view.least - 1).sum() > 4  # no smaller step would do
    for gid, line in lines(slope_graph.draw(view)).items():
        shift = moved[int(gid.split()[1])]
        wanted = UP if shift >= view.least else DOWN if shift <= -view.least else "#8b9097"
        assert line.get_color() == wanted
        assert line.is_dashed() == (shift <= -view.least)
    assert np.abs(moved).max() == 4
    assert "Farthest, by 4 places, go 3 groups: 3 (down), 6 (down) and 10 (up)." in view.caption


def test_groups_of_one_size_keep_their_ranks():
    rows = {"y": np.r_[0.0, 1, 2, 3, 5, 8], "g": list("aabbcc")}
    view = seen_of(wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"]))
    assert view.least == 0
    assert "no group changes its rank" in view.caption
    assert slope_graph.draw(view).get_legend() is None


def test_names_stand_in_order_and_apart(twelve):
    view = seen_of(twelve)
    ax = slope_graph.draw(view)
    ax.figure.draw_without_rendering()
    names = [t for t in ax.texts if t.get_text()]
    order = np.argsort(view.values[:, 0])
    by_height = sorted(names, key=lambda t: t.get_position()[1])
    assert [t.get_text() for t in by_height] == [view.labels[j] for j in order]
    boxes = [t.get_window_extent() for t in by_height]
    assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
    frame = ax.get_window_extent()
    assert min(box.x0 for box in boxes) >= frame.x0
    assert max(box.x1 for box in boxes) <= ax.transData.transform((0, 0))[0]


def test_names_are_at_both_ends_where_the_last_estimator_keeps_groups_apart(twelve):
    some = Comparison({name: twelve.fits[name] for name in ("no_pooling", "reml")}, twelve.alone)
    names = [t.get_text() for t in slope_graph.draw(seen_of(some)).texts]
    assert sorted(names) == sorted([str(j) for j in range(1, 13)] * 2)
    assert seen_of(some).title.startswith("From no pooling to REML")


def test_of_very_many_groups_bands_hold_all_and_some_are_lines(many):
    view = seen_of(many)
    own = column(many, "no_pooling")
    np.testing.assert_allclose(view.bands[:, 0], np.quantile(own, [0, 0.05, 0.25, 0.75, 0.95, 1]))
    assert len(view.levels) == THROUGH
    order = np.argsort(own)
    assert view.levels[0] == str(order[0])
    assert view.levels[-1] == str(order[-1])
    assert len(view.named) == slope_graph.FEW
    assert "Bands: where all 400 groups lie" in view.caption
    ax = slope_graph.draw(view)
    assert len(lines(ax)) == THROUGH
    outer = ax.collections[0].get_paths()[0].vertices
    assert outer[:, 1].min() == own.min()
    assert outer[:, 1].max() == own.max()


def test_more_than_twenty_groups_name_those_that_move_far(many):
    some = {"y": np.asarray(many.design.y)[:200], "g": np.asarray(many.design.blocks[0].codes)[:200]}
    comparison = wb.compare("y ~ 1 + (1 | g)", some, ["no_pooling", "reml", "complete_pooling"])
    view = seen_of(comparison)
    assert 20 < len(view.levels) <= LINES
    assert len(view.named) == slope_graph.SOME
    way = np.abs(view.values[:, 1] - view.values[:, 0])
    assert {int(np.argmax(way)), int(np.argmax(np.abs(view.moved)))} <= set(view.named)


def test_groups_without_an_estimate_of_their_own_start_where_they_have_one(twelve):
    fit = twelve.fits["no_pooling"]
    part = fit.group_effects[0]
    holed = part.coefficient.estimate.copy()
    holed[4] = np.nan
    missing = replace(fit, group_effects=(replace(part, coefficient=replace(part.coefficient, estimate=holed)),))
    comparison = Comparison({"no_pooling": missing, "reml": twelve.fits["reml"]}, missing)
    view = seen_of(comparison)
    assert "1 group (n = 100) has no estimate of its own." in view.caption
    assert np.isnan(view.moved[4])
    assert np.isfinite(view.spreads).all()
    slope_graph.draw(view)


def test_no_pooling_comes_from_beside_the_fits(twelve):
    comparison = Comparison({"reml": twelve.fits["reml"]}, twelve.alone)
    assert seen_of(comparison).estimators == ("no_pooling", "reml")


def test_it_applies_where_groups_stand_alone_and_otherwise(twelve):
    assert slope_graph.applies(twelve)
    assert not slope_graph.applies(Comparison({"no_pooling": twelve.fits["no_pooling"]}, twelve.alone))
    assert not slope_graph.applies(crossed())
    with pytest.raises(OptionError, match="here is no fit without pooling"):
        crossed().plot.slope_graph()


def test_names_are_read_as_they_are_and_a_given_ax_is_drawn_on():
    names = ["$x_1$", "a\nb", "l" * 60]
    rows = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": np.repeat(names, 2)}
    ax = style.new_axes()
    comparison = wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"])
    assert comparison.plot.slope_graph(ax=ax) is ax
    assert [t.get_text() for t in ax.texts][:3] == ["$x_1$", "a b", "l" * 17 + "…"]
    assert not any(t.get_parse_math() for t in ax.texts)


@pytest.mark.parametrize("count", [2, 7, 40])
def test_spread_names_are_the_nearest_that_are_apart(count):
    """Against a small quadratic programme solved by another method."""
    from scipy.optimize import minimize

    wanted = np.sort(np.random.default_rng(count).uniform(0, 1, count))
    step = 0.8 / count
    found = spread(wanted[::-1], step, -0.05, 1.05)[::-1]
    gaps = {"type": "ineq", "fun": lambda x: np.diff(x) - step}
    best = minimize(
        lambda x: np.sum((x - wanted) ** 2), np.linspace(0, 1, count), constraints=[gaps],
        bounds=[(-0.05, 1.05)] * count, method="SLSQP", options={"maxiter": 500, "ftol": 1e-14},
    )  # fmt: skip
    np.testing.assert_allclose(found, best.x, atol=2e-5)  # what SLSQP leaves


def test_pinned_rendering():
    """Two groups of two rows: means 1.5 and 3.5, of whose deviations REML keeps 0.875."""
    rows = {"y": [1.0, 2.0, 3.0, 4.0], "g": list("aabb")}
    ax = wb.compare("y ~ 1 + (1 | g)", rows, ["complete_pooling", "reml", "no_pooling"]).plot.slope_graph()
    drawn = np.array([line.get_xydata() for line in lines(ax).values()])
    np.testing.assert_allclose(drawn[0], [[0, 1.5], [1, 1.625], [2, 2.5]], rtol=1e-7)
    np.testing.assert_allclose(drawn[1], [[0, 3.5], [1, 3.375], [2, 2.5]], rtol=1e-7)
    assert [t.get_text() for t in ax.get_xticklabels()] == [
        "no pooling\nSD 1.414",
        "REML\nSD 1.237",
        "complete\npooling\nSD 0",
    ]


def test_groups_that_an_estimator_lacks_do_not_move_the_others(twelve):
    """Of no pooling that repeats REML but lacks the two highest groups, no rank differs from REML's."""
    reml = twelve.fits["reml"]
    part = reml.group_effects[0]
    values = part.coefficient.estimate.copy()
    values[np.argsort(-values[:, 0])[:2]] = np.nan
    lacking = replace(part, coefficient=replace(part.coefficient, estimate=values))
    alone = replace(reml, estimator="no_pooling", group_effects=(lacking,))
    view = seen_of(Comparison({"no_pooling": alone, "reml": reml}, alone))
    assert np.isnan(view.moved).sum() == 2
    assert view.least == 0
    assert "From no pooling to REML no group changes its rank." in view.caption

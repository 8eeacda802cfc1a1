"""The caterpillar. Rungs: closed form (what the view must hold, read off the fits), edge cases, a pinned drawing."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.estimates import Estimates
from workbench.plots import caterpillar, style
from workbench.plots.caterpillar import BREAK, SPREAD, WHOLE
from workbench.plots.ordering import thin
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
TRUTH = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}


@pytest.fixture(scope="module")
def twelve():
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, truth=TRUTH)
    return with_posterior(plain)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(400), 3)
    y = rng.normal(size=400)[codes] + rng.normal(size=1_200)
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml"])


def seen_of(comparison, **more):
    return caterpillar.view(comparison, pick(comparison), **more)


def column(comparison, name, what="estimate"):
    return getattr(comparison.fits[name].group_effects[0].coefficient, what)[:, 0]


def test_groups_are_sorted_by_reml_and_every_estimator_has_its_place(twelve):
    view = seen_of(twelve)
    order = np.argsort(column(twelve, "reml"))
    assert view.sorted_by == "reml"
    assert view.levels == tuple(str(j + 1) for j in order)
    assert view.labels[0] == f"{order[0] + 1} (n=100)"
    assert view.positions.tolist() == list(range(1, 13))
    assert [s.estimator for s in view.series] == list(twelve.fits)
    for s in view.series:
        for own, what in ((s.estimate, "estimate"), (s.low, "conf_low"), (s.high, "conf_high")):
            np.testing.assert_array_equal(own, column(twelve, s.estimator, what)[order])
    assert view.series[0].line  # complete pooling says one thing of all groups
    step = SPREAD / 4
    np.testing.assert_allclose([s.offset for s in view.series[1:]], step * np.array([1.5, 0.5, -0.5, -1.5]))
    np.testing.assert_array_equal(view.truth, np.linspace(-1, 1, 12)[order])
    assert view.population == twelve.fits["reml"].population.estimate[0]


def test_another_estimator_can_sort_and_a_wrong_name_is_refused(twelve):
    view = seen_of(twelve, by="no_pooling")
    assert view.levels == tuple(str(j + 1) for j in np.argsort(column(twelve, "no_pooling")))
    assert "sorted by their no pooling estimates" in view.caption
    with pytest.raises(OptionError, match="Did you mean 'reml'"):
        seen_of(twelve, by="rml")
    assert "data's order: complete pooling estimates them all alike" in seen_of(twelve, by="complete_pooling").caption


def test_interval_kinds_are_named_as_their_makers_named_them(twelve):
    caption = seen_of(twelve).caption
    assert "REML Wald 95 %, coefficient SE" in caption
    assert "fixed prior Wald 95 %, curvature SD, prior and dispersion held" in caption
    assert "full Bayes posterior interval, equal-tailed 95 %" in caption
    assert "Points alone" not in caption


def test_estimators_without_intervals_are_points_and_named():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.0, 8.0], "g": list("aabbccdd")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["james_stein", "reml"])
    part = comparison.fits["james_stein"].group_effects[0]
    holed = replace(part, coefficient=Estimates.points(np.array([[2.0], [4.0], [6.0], [np.nan]]), "point", "not given"))
    comparison = Comparison(
        {**comparison.fits, "mine": replace(comparison.fits["james_stein"], group_effects=(holed,))}
    )
    view = seen_of(comparison)
    assert "Points alone, without an interval: James-Stein and mine." in view.caption
    mine = view.series[2]
    assert np.isnan(mine.estimate).tolist() == [level == "d" for level in view.levels]
    ax = caterpillar.draw(view)
    labels = {c.get_label() for c in ax.collections}
    assert "REML, interval" in labels
    assert not {"James-Stein, interval", "mine, interval"} & labels
    assert [h.get_linestyle() for h in ax.get_legend().legend_handles[:3]] == ["None", "-", "None"]


def test_beyond_sixty_groups_the_ends_and_an_even_choice_between_are_drawn(many):
    view = seen_of(many)
    order = np.argsort(column(many, "reml"), kind="stable")
    places = [int(np.flatnonzero(order == j)[0]) for j in (int(level) for level in view.levels)]
    assert places[:20] == list(range(20))
    assert places[40:] == list(range(380, 400))
    assert set(np.diff(places[20:40])) == {18}  # 360 between, twenty of them
    steps = np.diff(view.positions)
    assert np.flatnonzero(steps > 1).tolist() == [19, 39]
    np.testing.assert_allclose(steps[[19, 39]], 1 + BREAK)
    assert view.y_label == "g (60 of 400 levels)"
    assert "Of 400 groups 60 are drawn: the 20 lowest, the 20 of 360 between and the 20 highest" in view.caption
    texts = [t.get_text() for t in caterpillar.draw(view).texts]
    assert [t for t in texts if t != "⋮"] == ["20 lowest", "20 of 360 between", "20 highest"]


@pytest.mark.parametrize("groups", [WHOLE, WHOLE + 1, WHOLE + 2, 500])
def test_thinning_keeps_order_and_repeats_no_group(groups):
    values = np.random.default_rng(1).normal(size=groups)
    found = thin(values, 20, 20)
    assert len(np.unique(found.index)) == WHOLE
    assert (np.diff(values[found.index]) > 0).all()
    assert sum(part.count for part in found.stretches) == WHOLE


def test_groups_without_an_estimate_stand_at_the_bottom_or_are_counted():
    few = thin(np.array([2.0, np.nan, 1.0]), 20, 20)
    assert few.index.tolist() == [1, 2, 0]
    values = np.r_[np.full(30, np.nan), np.arange(200.0)]
    assert (thin(values, 20, 20).index >= 30).all()


def test_intervals_that_would_stretch_the_axis_are_cut_with_arrowheads():
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(12), 30)
    y = rng.normal(size=12)[codes] * 3 + rng.normal(size=360)
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml"])
    fit = comparison.fits["no_pooling"]
    part = fit.group_effects[0]
    high = part.coefficient.conf_high.copy()
    high[3] = 900.0
    wide = replace(part, coefficient=replace(part.coefficient, conf_high=high))
    stretched = Comparison(
        {"no_pooling": replace(fit, group_effects=(wide,)), "reml": comparison.fits["reml"]}, comparison.alone
    )
    view = seen_of(stretched)
    assert view.x_limits[1] < 30
    assert "1 interval of no pooling runs beyond the frame (arrowheads)" in view.caption
    assert "as far as" in view.caption
    assert "900" in view.caption
    ax = caterpillar.draw(view)
    segments = np.array(next(c for c in ax.collections if c.get_label() == "no pooling, interval").get_segments())
    assert segments[..., 0].max() == view.x_limits[1]
    arrow = next(c for c in ax.collections if not c.get_clip_on())
    row = view.positions[view.levels.index("3")] + view.series[0].offset
    np.testing.assert_allclose(arrow.get_offsets(), [[view.x_limits[1], row]])


def test_the_drawing_has_marks_and_intervals_where_the_view_says(twelve):
    view = seen_of(twelve)
    ax = caterpillar.draw(view)
    for s in view.series[1:]:
        dots = next(c for c in ax.collections if c.get_label() == s.title)
        np.testing.assert_allclose(dots.get_offsets(), np.column_stack([s.estimate, view.positions + s.offset]))
        lines = np.array(next(c for c in ax.collections if c.get_label() == f"{s.title}, interval").get_segments())
        np.testing.assert_allclose(lines[:, 0, 0], s.low)
        np.testing.assert_allclose(lines[:, 1, 0], s.high)
        np.testing.assert_allclose(lines[:, :, 1], np.column_stack([view.positions + s.offset] * 2))
    assert [t.get_text() for t in ax.get_yticklabels()] == list(view.labels)
    assert len({(h.get_color(), h.get_marker()) for h in ax.get_legend().legend_handles}) == 7


def test_height_grows_with_the_groups_to_a_limit(twelve, many):
    heights = [caterpillar.draw(seen_of(c)).figure.get_figheight() for c in (twelve, many)]
    assert 4 < heights[0] < 8
    assert heights[0] < heights[1] <= caterpillar.TALLEST


@pytest.mark.parametrize("group", ["a", "b"])
def test_crossed_factors_and_a_given_ax(group):
    comparison = crossed()
    ax = style.new_axes()
    assert comparison.plot.caterpillar(ax=ax, group=group) is ax
    assert ax.get_ylabel() == group
    assert ax.get_title(loc="left").endswith(f"by {group}")


def test_one_estimator_three_levels_and_odd_names():
    names = ["$x_1$", "a\nb", "l" * 60]
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": np.repeat(names, 2)}
    ax = wb.compare("y ~ 1 + (1 | g)", table, ["complete_pooling"]).plot.caterpillar()
    labels = ax.get_yticklabels()
    assert [t.get_text() for t in labels] == ["$x_1$", "a b", "l" * 23 + "…"]
    assert not any(t.get_parse_math() for t in labels)
    ax.figure.draw_without_rendering()


def test_singular_fits_leave_the_order_to_another():
    path = DATA / "datasets/Dyestuff2.csv"
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", path, ["no_pooling", "reml", "boundary_avoiding"])
    assert seen_of(comparison).sorted_by == "boundary_avoiding"


def test_pinned_rendering():
    """Two groups of two rows: means 1.5 and 3.5, residual variance 0.5 from 2 degrees of freedom."""
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 3.0, 4.0], "g": list("aabb")}, ["no_pooling", "reml"])
    ax = comparison.plot.caterpillar()
    dots = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if c.get_label()[0] != "_"}
    np.testing.assert_allclose(dots["no pooling"], [[1.5, 1.19], [3.5, 2.19]], rtol=1e-12)
    # tau^2 = 2 - 0.5 / 2 = 1.75, so that 1 - 0.25 / 2 = 0.875 of each deviation is kept
    np.testing.assert_allclose(dots["REML"], [[1.625, 0.81], [3.375, 1.81]], rtol=1e-7)
    line = next(c for c in ax.collections if c.get_label() == "no pooling, interval").get_segments()[0]
    np.testing.assert_allclose(line, [[1.5 - 1.959964 * 0.5, 1.19], [1.5 + 1.959964 * 0.5, 1.19]], rtol=1e-6)


def test_a_long_legend_stays_within_the_figure():
    names = ["no_pooling", "complete_pooling", "reml", "ml", "fixed_prior", "boundary_avoiding"]
    truth = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}
    many = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", names, truth=truth)
    ax = caterpillar.draw(seen_of(many))
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert 0 <= box.x0 < box.x1 <= ax.figure.bbox.x1

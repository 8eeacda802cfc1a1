"""Two terms at once. Rungs: closed form (contours, what a view must hold), the drawing against the view."""

import re

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.errors import OptionError
from workbench.plots import plane, prints, style, variances
from workbench.plots.arrows import contours
from workbench.plots.pairs import chosen, pairs
from workbench.plots.varying import varying

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
SLEEP = DATA / "datasets/sleepstudy.csv"


def simulated(J, n=6, slope=0.6, seed=3, factor=lambda j: j):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(J), n), np.tile(np.arange(n), J).astype(float)
    y = 10 + 2 * rng.normal(size=J)[g] + (1 + slope * rng.normal(size=J)[g]) * x + rng.normal(size=J * n)
    return {"y": y, "x": x, "g": [factor(int(j)) for j in g]}


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, [*FOUR, "ml"])


@pytest.fixture(scope="module")
def seen(sleep):
    return plane.view(sleep, chosen(sleep))


def test_the_view_holds_what_the_fits_say(sleep, seen):
    reml = sleep.fits["reml"]
    assert [panel.estimator for panel in seen.panels] == ["reml", "ml", "fixed_prior"]  # REML first
    np.testing.assert_array_equal(seen.own, sleep.alone.group_effects[0].coefficient.estimate)
    np.testing.assert_array_equal(seen.panels[0].estimate, reml.group_effects[0].coefficient.estimate)
    np.testing.assert_array_equal(seen.panels[0].population, reml.population.estimate)
    np.testing.assert_allclose(seen.panels[0].covariance, reml.components[0].covariance, rtol=1e-12)
    np.testing.assert_array_equal(seen.complete, sleep.fits["complete_pooling"].population.estimate)
    assert (seen.x_label, seen.y_label) == ("intercept of Reaction", "coefficient of Days for Reaction")
    assert seen.arrows.tolist() == list(range(18))
    assert [seen.levels[j] for j in seen.named] == ["370", "330", "335", "350"]


def test_contours_are_points_of_one_mahalanobis_distance(seen):
    for panel in seen.panels:
        inverse = np.linalg.inv(panel.covariance)
        for k, line in zip((1, 2, 3), panel.contours, strict=True):
            away = line - panel.population
            np.testing.assert_allclose(np.einsum("ij,jk,ik->i", away, inverse, away), k**2, rtol=1e-9)
            np.testing.assert_allclose(line[0], line[-1], atol=1e-9)  # closed
            # an ellipse reaches k SD along each axis; 121 points miss its tip by less than 1 - cos(pi / 120)
            reach = k * np.sqrt(np.diag(panel.covariance))
            np.testing.assert_allclose(away.max(axis=0), reach, rtol=1.0 - np.cos(np.pi / 120))


def test_the_caption_says_how_much_of_a_normal_population_the_contours_hold(seen):
    draws = np.random.default_rng(1).normal(size=(200_000, 2)) @ np.array([[2.0, 0.0], [1.0, 0.5]]).T
    inverse = np.linalg.inv(np.array([[2.0, 0.0], [1.0, 0.5]]) @ np.array([[2.0, 1.0], [0.0, 0.5]]))
    inside = [np.mean(np.einsum("ij,jk,ik->i", draws, inverse, draws) < k**2) for k in (1, 2, 3)]
    assert inside == pytest.approx([0.393, 0.865, 0.989], abs=0.004)  # 3 Monte Carlo errors
    assert "39.3 %, 86.5 % and 98.9 %" in seen.caption


def test_the_captions_figures_are_those_of_the_farthest_group(sleep, seen):
    own, estimate = seen.own, seen.panels[0].estimate
    unit = np.quantile(own, 0.75, axis=0) - np.quantile(own, 0.25, axis=0)
    worst = int(np.argmax((((own - estimate) / unit) ** 2).sum(axis=1)))
    assert seen.levels[worst] == "370"
    assert "from (210.4, 18.06) to (225.8, 15.29)" in seen.caption
    np.testing.assert_allclose([*own[worst], *estimate[worst]], [210.449, 18.056, 225.792, 15.290], atol=1e-3)
    assert "REML: SDs 24.74 and 5.922, correlation 0.0656" in seen.caption  # lme4: 24.741, 5.922, 0.066
    assert "370" in seen.alt
    assert "correlation 0.0656" in seen.alt


def test_the_drawing_puts_arrows_and_points_where_the_view_says(seen):
    axes = plane.draw(seen)
    assert [ax.get_title() for ax in axes] == ["REML", "ML", "fixed prior"]
    for ax, panel in zip(axes, seen.panels, strict=True):
        (arrows,) = (c for c in ax.collections if hasattr(c, "U"))
        start = np.asarray(arrows.get_offsets())
        np.testing.assert_allclose(start, seen.own)
        np.testing.assert_allclose(start + np.column_stack([arrows.U, arrows.V]), panel.estimate)
        marks = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
        np.testing.assert_allclose(marks["own estimate"], seen.own)
        np.testing.assert_allclose(marks["population values"], [panel.population])
        np.testing.assert_allclose(marks["complete pooling"], [seen.complete])
        drawn = {line.get_gid(): line.get_xydata() for line in ax.lines}
        for k, contour in zip((1, 2, 3), panel.contours, strict=True):
            np.testing.assert_allclose(drawn[f"{k} SD"], contour)
        assert {text.get_text() for text in ax.texts} >= {"1 SD", "2 SD", "3 SD", "370"}
        low, high = ax.get_xlim()
        assert low < min(c[:, 0].min() for c in panel.contours)
        assert high > max(c[:, 0].max() for c in panel.contours)


def test_names_of_groups_do_not_run_into_each_other_or_out_of_the_frame(seen):
    figure = plane.draw(seen)[0].figure
    figure.canvas.draw()
    for ax in figure.axes:
        boxes = [t.get_window_extent() for t in ax.texts if "SD" not in t.get_text()]
        frame = ax.get_window_extent()
        assert len(boxes) >= 3
        for i, box in enumerate(boxes):
            assert frame.x0 <= box.x0
            assert box.x1 <= frame.x1
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_a_small_case_drawn_is_these_numbers():
    """Two contours of known covariance; an arrow per group."""
    one, two = contours(np.array([[4.0, 0.0], [0.0, 1.0]]), np.array([10.0, 5.0]), (1, 2), points=5)
    np.testing.assert_allclose(
        sorted(one.round(12).tolist()), [[8, 5], [10, 4], [10, 6], [10, 6], [12, 5]][:5], atol=1e-9
    )
    np.testing.assert_allclose(two - [10, 5], 2 * (one - [10, 5]), atol=1e-12)


def test_terms_of_two_blocks_are_uncorrelated_and_stand_in_one_plane():
    comparison = wb.compare("Reaction ~ Days + (Days || Subject)", SLEEP, ["reml", "ml"])
    view = plane.view(comparison, chosen(comparison))
    reml = comparison.fits["reml"]
    expected = np.diag([reml.components[0].covariance[0, 0], reml.components[1].covariance[0, 0]])
    np.testing.assert_array_equal(view.panels[0].covariance, expected)
    np.testing.assert_array_equal(view.own[:, 1], comparison.alone.group_effects[1].coefficient.estimate[:, 0])
    assert view.complete is None
    assert "square" not in view.caption


def test_any_pair_is_drawn_in_the_order_named(sleep):
    turned = plane.view(sleep, chosen(sleep, ("Days", "(Intercept)")))
    straight = plane.view(sleep, chosen(sleep))
    np.testing.assert_array_equal(turned.own, straight.own[:, ::-1])
    np.testing.assert_allclose(turned.panels[0].covariance, straight.panels[0].covariance[::-1, ::-1], rtol=1e-12)
    assert turned.x_limits == pytest.approx(straight.y_limits)


def test_a_singular_covariance_is_a_line():
    comparison = wb.compare("y ~ x + (x | g)", simulated(8, n=4, slope=0.0, seed=24), ["reml"])
    covariance = comparison.fits["reml"].components[0].covariance
    view = plane.view(comparison, chosen(comparison))
    (panel,) = view.panels
    assert comparison.fits["reml"].singular
    assert panel.singular
    values, vectors = np.linalg.eigh(covariance)
    away = panel.contours[2] - panel.population
    assert np.abs(away @ vectors[:, 0]).max() <= 3 * np.sqrt(max(values[0], 0)) + 1e-9
    assert np.abs(away @ vectors[:, 1]).max() == pytest.approx(3 * np.sqrt(values[1]), rel=1e-3)
    assert "lines" in view.caption
    plane.draw(view)


@pytest.fixture(scope="module")
def years():
    """Regular lines over the years 2000 to 2020, whose intercepts stand two thousand years off."""
    rng = np.random.default_rng(7)
    g, year = np.repeat(np.arange(12), 21), np.tile(np.arange(2000.0, 2021.0), 12)
    y = 50 + 1.5 * rng.normal(size=12)[g] + (0.3 + 0.2 * rng.normal(size=12)[g]) * (year - 2010)
    data = {"crop": y + rng.normal(size=252), "year": year, "county": [f"c{k}" for k in g]}
    return wb.compare("crop ~ year + (year | county)", data, ["no_pooling", "reml"])


def test_a_correlation_far_from_the_data_is_not_called_singular(years):
    view = plane.view(years, chosen(years))
    (part,) = years.fits["reml"].components
    assert 1 - abs(part.correlation[0, 1]) < 1e-4
    assert not years.fits["reml"].singular
    assert not view.panels[0].singular
    assert "singular" not in view.caption
    assert "The ellipses are" in view.caption
    digits = re.search(r"correlation (-0\.9999\d+)\.", view.caption)[1]
    assert abs(float(digits) - part.correlation[0, 1]) < 0.5 * (1 - abs(part.correlation[0, 1]))
    assert (
        "year = 0, where intercepts stand, lies 2000 from the nearest row (rows run from 2000 to 2020)" in view.caption
    )
    there = np.array([[1.0, 2010.0], [0.0, 1.0]]) @ part.covariance @ np.array([[1.0, 0.0], [2010.0, 1.0]])
    r = there[0, 1] / np.sqrt(there[0, 0] * there[1, 1])
    assert f"At year = 2010, the rows' mean, REML's correlation is {r:.4f}".rstrip("0") in view.caption


def test_the_axis_of_a_correlation_near_minus_one_shows_it(years):
    view = variances.view(years)
    (panel,) = (panel for panel in view.panels if panel.name.startswith("cor("))
    (row,) = panel.rows
    low, high = panel.limits
    assert -1 <= row.low < row.value < row.high < high
    assert row.high - row.low > 0.3 * (high - low)  # not a dot at the edge
    assert ((panel.x >= low) & (panel.x <= high)).sum() > 100
    assert "REML -1 (-1 to" not in view.alt
    assert "shows the stretch beside -1 alone" in view.caption
    assert "year = 0, where intercepts stand" in view.caption
    axes = variances.draw(view)
    axes[0].figure.canvas.draw()
    assert all(not ax.xaxis.get_offset_text().get_text() for ax in axes)


def test_the_same_points_get_one_panel_and_at_most_four_are_drawn(sleep):
    comparison = wb.compare(
        "Reaction ~ Days + (Days | Subject)", SLEEP, ["reml", "em", "ml", "fixed_prior", "boundary_avoiding"]
    )
    view = plane.view(comparison, chosen(comparison))
    assert len(view.panels) == 4
    assert len({panel.estimator for panel in view.panels}) == 4
    assert "em" not in {panel.estimator for panel in view.panels}
    assert "the same points and contours as REML" in view.caption
    only = plane.view(sleep, chosen(sleep), ["fixed_prior"])
    assert [panel.estimator for panel in only.panels] == ["fixed_prior"]
    own = plane.view(sleep, chosen(sleep), ["no_pooling"]).panels[0]
    np.testing.assert_array_equal(own.estimate, sleep.alone.group_effects[0].coefficient.estimate)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda c: c.plot.plane(terms=("(Intercept)", "Day")), "Did you mean 'Days'"),
        (lambda c: c.plot.plane(terms=("Days", "Days")), "two different"),
        (lambda c: c.plot.plane(group="subject"), "Did you mean 'Subject'"),
        (lambda c: c.plot.plane(estimators=["rmel"]), "Did you mean 'reml'"),
        (lambda c: c.plot.plane(estimators=[]), "Name fewer|1 to 4"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(sleep, ask, said):
    with pytest.raises(OptionError, match=said):
        ask(sleep)


def test_one_varying_term_has_no_plane():
    comparison = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ["reml"])
    assert not plane.applies(comparison)
    assert "plane" not in [p.stem for p in prints(comparison)]
    with pytest.raises(OptionError, match="two terms"):
        comparison.plot.plane()


def test_beside_another_factor_there_is_nothing_to_set_out_from():
    data = simulated(12)
    data["h"] = np.tile(np.arange(4), 18)
    comparison = wb.compare("y ~ x + (x | g) + (1 | h)", data, ["reml"])
    assert comparison.alone is None
    view = plane.view(comparison, chosen(comparison))
    assert len(view.arrows) == 0
    assert "no estimate of their own" in view.warnings[0]
    assert "arrow" not in view.caption
    (ax,) = plane.draw(view)
    marks = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
    np.testing.assert_allclose(marks["estimate"], view.panels[0].estimate)
    assert [pair.group for pair in pairs(varying(comparison))] == ["g"]


def test_many_groups_get_few_arrows_and_said_so():
    comparison = wb.compare("y ~ x + (x | g)", simulated(400), ["reml"])
    view = plane.view(comparison, chosen(comparison))
    assert 60 <= len(view.arrows) <= 64
    assert set(view.named) <= set(view.arrows)
    assert f"Of 400 levels of g {len(view.arrows)} have arrows" in view.caption
    (ax,) = plane.draw(view)
    marks = {c.get_label(): len(c.get_offsets()) for c in ax.collections}
    assert marks["estimate"] == 400


def test_very_many_groups_are_counted_in_hexagons_that_hold_them_all():
    comparison = wb.compare("y ~ x + (x | g)", simulated(3_000), ["reml"])
    view = plane.view(comparison, chosen(comparison))
    (ax,) = plane.draw(view)
    counted = next(c for c in ax.collections if c.get_array() is not None)
    assert counted.get_array().sum() == 3_000
    assert "hexagon" in view.caption


def test_groups_without_an_own_slope_have_no_arrow():
    data = simulated(10)
    keep = np.ones(60, bool)
    keep[1:6] = False  # group 0 keeps one row
    data = {name: np.asarray(values)[keep] for name, values in data.items()}
    comparison = wb.compare("y ~ x + (x | g)", data, ["no_pooling", "reml"])
    view = plane.view(comparison, chosen(comparison))
    assert 0 not in view.arrows.tolist()
    assert "1 group (n = 1) has no estimate of its own" in view.caption


def test_an_own_estimate_of_little_data_does_not_stretch_the_frame():
    data = {name: list(values) for name, values in simulated(10).items()}
    data["y"] += [14.0, 10.0]
    data["x"] += [1.0, 1.0001]
    data["g"] += [99, 99]
    comparison = wb.compare("y ~ x + (x | g)", data, ["no_pooling", "reml"])
    view = plane.view(comparison, chosen(comparison))
    assert abs(view.own[view.levels.index("99"), 1]) > 1e4
    assert np.ptp(view.y_limits) < 1e3
    assert "1 own estimate with an arrow lies outside the frame." in view.caption
    assert "99" not in [view.levels[j] for j in view.named]


def test_counts_say_that_they_are_on_the_links_scale():
    rng = np.random.default_rng(4)
    g, x = np.repeat(np.arange(8), 20), np.tile(np.linspace(-1, 1, 20), 8)
    y = rng.poisson(np.exp(1 + 0.5 * rng.normal(size=8)[g] + (0.5 + 0.3 * rng.normal(size=8)[g]) * x))
    comparison = wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": g}, ["no_pooling", "laplace"], family="poisson")
    view = plane.view(comparison, chosen(comparison))
    assert view.x_label == "intercept of y (log scale)"
    assert [panel.estimator for panel in view.panels] == ["laplace"]


def test_strange_names_are_drawn_as_they_are():
    odd = ["$x_1$", "a\nb", "very long name " * 5, "<b>", "e", "f", "g", "h"]
    comparison = wb.compare("y ~ x + (x | g)", simulated(8, factor=lambda j: odd[j]), ["reml"])
    view = plane.view(comparison, chosen(comparison))
    figure = plane.draw(view)[0].figure
    figure.canvas.draw()
    assert "\n" not in view.caption
    assert all("\n" not in text.get_text() for text in figure.axes[0].texts)


def test_a_given_axes_is_divided(sleep):
    figure = style.new_figure(9, 4)
    ax = figure.add_subplot()
    assert sleep.plot.plane(ax) is ax
    assert len(figure.axes) == 3

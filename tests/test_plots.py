"""The pictures. Rungs: closed form (what a view must hold, read off the fits), invariance (drawing changes nothing)."""

import matplotlib as mpl
import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import PICTURES, prints, samples, shrinkage, shrunken, style, versus
from workbench.plots.varying import DRAWN, pick, varying

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
TRUTH = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}


@pytest.fixture(scope="module")
def twelve():
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, truth=TRUTH)
    return with_posterior(plain)


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(3_000), 2)
    y = rng.normal(size=3_000)[codes] + rng.normal(size=6_000)
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, FOUR)


def coefficients(comparison, name, term=0):
    return comparison.fits[name].group_effects[0].coefficient.estimate[:, term]


def offsets(ax, label):
    found = [c for c in ax.collections if c.get_label() == label]
    assert len(found) == 1, [c.get_label() for c in ax.collections]
    return np.asarray(found[0].get_offsets())


# --- samples ------------------------------------------------------------------------------------------


def test_samples_show_every_observation_the_means_and_the_truth(twelve):
    view = samples.view(twelve, pick(twelve))
    design = twelve.design
    codes = design.blocks[0].codes
    assert view.labels == tuple(str(j) for j in range(1, 13))
    assert view.positions.tolist() == list(range(1, 13))
    assert view.sizes == (100,) * 6 + (2,) * 6
    np.testing.assert_allclose(view.means, [design.y[codes == j].mean() for j in range(12)], rtol=1e-12)
    np.testing.assert_array_equal(view.rows_y, design.y)
    assert np.abs(view.rows_x - (codes + 1)).max() <= 0.2  # spread, but never into the next group
    np.testing.assert_allclose(view.truth, TRUTH["value"])
    assert (view.x_label, view.y_label) == ("group", "samples")


def test_samples_leave_the_truth_out_where_it_is_not_a_mean(sleep):
    view = samples.view(sleep, pick(sleep))
    assert view.truth is None
    assert "sample mean" in view.caption
    assert "Red" not in view.caption


def test_weighted_means_say_that_they_are_weighted():
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": list("aabbcc"), "w": [1.0, 3.0, 1.0, 1.0, 1.0, 1.0]}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "reml"], weights="w")
    view = samples.view(comparison, pick(comparison))
    assert view.means[0] == pytest.approx((1 + 9) / 4, rel=1e-14)
    assert view.mean_label == "weighted sample mean"


def test_drawing_puts_the_views_points_on_the_axes(twelve):
    view = samples.view(twelve, pick(twelve))
    ax = samples.draw(view)
    np.testing.assert_allclose(offsets(ax, "sample mean"), np.column_stack([view.positions, view.means]))
    np.testing.assert_allclose(offsets(ax, "true mean"), np.column_stack([view.positions, view.truth]))
    np.testing.assert_allclose(offsets(ax, "observation"), np.column_stack([view.rows_x, view.rows_y]))
    assert ax.get_xticklabels()[0].get_text() == "1\nn=100"


# --- shrunken -----------------------------------------------------------------------------------------


def test_shrunken_leads_from_sample_means_to_reml(twelve):
    view = shrunken.view(twelve, pick(twelve))
    assert view.estimator == "reml"
    np.testing.assert_allclose(view.own, coefficients(twelve, "no_pooling"), rtol=1e-12)
    np.testing.assert_allclose(view.pooled, coefficients(twelve, "reml"), rtol=1e-12)
    assert view.population == twelve.fits["reml"].population.estimate[0]
    assert view.own_label == "sample mean"
    assert "group 12 (n = 2), from 9.26 to 0.4214" in view.caption  # the published example's farthest group
    ax = shrunken.draw(view)
    np.testing.assert_allclose(offsets(ax, "REML estimate"), np.column_stack([view.positions, view.pooled]))
    low, high = ax.get_ylim()
    assert low < min(view.own.min(), view.pooled.min())
    assert max(view.own.max(), view.pooled.max()) < high


def test_shrunken_without_reml_takes_another_partial_pooling():
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "ml"])
    assert shrunken.view(comparison, pick(comparison)).estimator == "ml"


def test_with_covariates_the_counterpart_is_the_coefficient_without_pooling(sleep):
    view = shrunken.view(sleep, pick(sleep, "Days"))
    assert view.own_label == "no-pooling coefficient"
    assert view.y_label == "coefficient of Days for Reaction"
    np.testing.assert_allclose(view.own, coefficients(sleep, "no_pooling", 1), rtol=1e-12)
    assert len(view.rows_x) == 0


# --- versus -------------------------------------------------------------------------------------------


def test_versus_sets_reml_the_fixed_prior_and_full_bayes_side_by_side(twelve):
    view = versus.view(twelve, pick(twelve))
    gap = np.abs(coefficients(twelve, "reml") - coefficients(twelve, "fixed_prior")).max()
    assert view.largest_difference == pytest.approx(gap, rel=1e-14)
    assert "0.0002146, at group 12" in view.caption  # Cross Validated 362777, arm 1.13-1 and lme4 1.1-31
    assert "equal-tailed 0.95" in view.caption
    ax = versus.draw(view)
    for label, values in (("REML", view.mixed), ("fixed prior", view.fixed_prior)):
        np.testing.assert_allclose(offsets(ax, label), np.column_stack([view.positions, values]))
    beside = np.column_stack([view.positions + versus.BESIDE, view.posterior])
    np.testing.assert_allclose(offsets(ax, "full Bayes"), beside)
    circles = next(c for c in ax.collections if c.get_label() == "fixed prior")
    assert len(circles.get_facecolor()) == 0  # open circles


def test_versus_needs_a_mixed_model_and_a_bayesian_one(twelve):
    def having(*names):
        return Comparison({name: twelve.fits[name] for name in names}, twelve.alone)

    assert versus.applies(having("reml", "fixed_prior"))
    assert versus.applies(having("reml", "hierarchical"))
    assert not versus.applies(having("no_pooling", "reml"))
    assert not versus.applies(having("no_pooling", "fixed_prior"))
    assert versus.view(having("reml", "hierarchical"), pick(twelve)).largest_difference is None


# --- shrinkage ----------------------------------------------------------------------------------------


def test_shrinkage_has_a_panel_per_estimator_and_a_row_per_term(sleep):
    view = shrinkage.view(sleep, varying(sleep))
    assert [[p.estimator for p in row] for row in view.rows] == [FOUR, FOUR]
    assert [row[0].term for row in view.rows] == ["(Intercept)", "Days"]
    for k, row in enumerate(view.rows):
        assert len({p.y_limits for p in row}) == 1
        for panel in row:
            np.testing.assert_allclose(panel.left, coefficients(sleep, "no_pooling", k), rtol=1e-12)
            np.testing.assert_allclose(panel.right, coefficients(sleep, panel.estimator, k), rtol=1e-12)
    assert view.size_legend == ()  # all groups are of one size
    assert "n = 10 in every group" in view.caption


def test_shrinkage_draws_from_alone_to_estimate(twelve):
    view = shrinkage.view(twelve, varying(twelve))
    axes = shrinkage.draw(view)
    assert len(axes) == 5
    assert [ax.get_title() for ax in axes] == ["complete pooling", "no pooling", "REML", "fixed prior", "full Bayes"]
    for ax, panel in zip(axes, view.rows[0], strict=True):
        for label, x, y in (("alone", 0.0, panel.left), ("estimate", 1.0, panel.right)):
            drawn = offsets(ax, label)
            assert set(drawn[:, 0]) == {x}
            np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(y))
    areas = view.rows[0][0].areas
    assert areas[0] > 3 * areas[-1]  # a hundred rows against two
    assert [n for n, _ in view.size_legend] == [2, 100]


def test_up_to_eight_estimators_have_room(twelve):
    fits = dict(twelve.fits)
    for extra in ("ml", "laplace", "agq"):
        fits[extra] = fits["reml"]
    view = shrinkage.view(Comparison(fits, twelve.alone), varying(twelve))
    assert [len(row) for row in view.rows] == [4, 4]
    assert len(shrinkage.draw(view)) == 8
    looks = [style.look(name, tuple(fits)) for name in fits]
    assert len({(a.colour, a.marker) for a in looks}) == 8
    assert len({a.marker for a in looks}) == 8  # never by colour alone


def test_one_estimator_is_enough():
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["reml"])
    assert len(shrinkage.draw(shrinkage.view(comparison, varying(comparison)))) == 1
    assert [p.stem for p in prints(comparison)] == ["samples", "shrunken", "shrinkage"]


# --- many levels, names, places -----------------------------------------------------------------------


def test_many_levels_are_ordered_thinned_and_said_to_be(many):
    view = shrunken.view(many, pick(many))
    assert view.labels == ()
    assert len(view.positions) == DRAWN
    assert (np.diff(view.own) >= 0).all()
    every = coefficients(many, "no_pooling")
    assert (view.own[0], view.own[-1]) == (every.min(), every.max())
    assert "2,000 of them are drawn" in view.caption
    panels = shrinkage.view(many, varying(many))
    assert len(panels.rows[0][0].left) == shrinkage.LINES
    assert "300 of the 3,000 levels" in panels.caption
    gap = np.abs(coefficients(many, "reml") - coefficients(many, "fixed_prior")).max()
    assert versus.view(many, pick(many)).largest_difference == pytest.approx(gap)  # over all levels, drawn or not
    assert shrunken.draw(view).get_xticks().size == 0


@pytest.mark.parametrize("name", [r"$\frac$", "_hidden", "a\x00b\n", "長い名前", "<b>&"])
def test_strange_names_are_drawn_as_they_are(tmp_path, name):
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": [name, name, "b", "b", "c", "c"]}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, FOUR)
    for k, picture in enumerate(prints(comparison)):
        png, svg = style.save(picture.figure(), tmp_path / f"{k}")
        assert png.stat().st_size > 5_000
        assert svg.read_text(encoding="utf-8").startswith("<?xml")


def test_files_come_out_the_same_twice(tmp_path, sleep):
    first, second = (
        [style.save(p.figure(), tmp_path / f"{turn}{k}") for k, p in enumerate(prints(sleep))] for turn in "ab"
    )
    for one, other in zip(first, second, strict=True):
        assert [f.read_bytes() for f in one] == [f.read_bytes() for f in other]


def test_drawing_leaves_matplotlibs_settings_and_pyplot_alone(twelve, tmp_path):
    import sys

    before = dict(mpl.rcParams)
    for picture in prints(twelve):
        style.save(picture.figure(), tmp_path / picture.stem)
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_the_four_methods_take_axes_and_return_axes(sleep):
    from matplotlib.figure import Figure

    for name in ("samples", "shrunken", "versus", "shrinkage"):
        ax = Figure().add_subplot()
        assert getattr(sleep.plot, name)(ax=ax) is ax
        assert getattr(sleep.plot, name)().figure is not ax.figure
    beside = Figure().subplots(1, 2)
    sleep.plot.shrinkage(ax=beside[1], term="Days")
    assert len(beside[0].figure.axes) == 1 + 4
    loose = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    sleep.plot.shrinkage(ax=loose)
    assert len(loose.figure.axes) == 8


def test_an_unknown_term_or_group_is_refused_with_the_nearest(sleep):
    with pytest.raises(OptionError, match="Did you mean 'Days'"):
        sleep.plot.versus(term="Day")
    with pytest.raises(OptionError, match="Did you mean 'Subject'"):
        sleep.plot.shrinkage(group="subject")


def test_the_table_of_pictures_is_in_the_reports_order(sleep):
    assert [p.stem for p in PICTURES] == ["samples", "shrunken", "versus", "shrinkage"]
    stems = [p.stem for p in prints(sleep)]
    assert stems == ["samples", "shrunken_intercept", "shrunken_days", "versus_intercept", "versus_days", "shrinkage"]
    for picture in prints(sleep):
        assert picture.view.alt
        assert picture.view.caption

"""The pictures. Rungs: closed form (what a view must hold, read off the fits), invariance (drawing changes nothing)."""

import matplotlib as mpl
import numpy as np
import pytest
from corpus import DATA
from matplotlib.backends.backend_agg import FigureCanvasAgg
from posterior_like import crossed, with_posterior

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


@pytest.mark.parametrize("groups", [14, 400])
def test_many_observations_of_few_values_are_counted(groups):
    """Each dot is a level's share of a value; of more levels than have room, that of a slice of neighbours."""
    rng = np.random.default_rng(8)
    codes = np.concatenate([np.arange(groups), rng.integers(0, groups, 6_000)])
    y = rng.binomial(4, 0.1 + 0.8 * codes / groups) + 1.0
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["reml"])
    view = samples.view(comparison, pick(comparison))
    width = min(groups, samples.SLICES)
    slot = np.empty(groups, int)
    slot[[int(level) for level in view.levels]] = np.arange(groups) * width // groups
    columns = np.unique(view.rows_x)
    assert len(columns) == width
    for k, x in enumerate(columns):
        here = y[slot[codes] == k]
        dots = dict(zip(view.rows_y[view.rows_x == x], view.shares[view.rows_x == x], strict=True))
        assert dots == pytest.approx({value: np.mean(here == value) for value in np.unique(here)})
        assert x == pytest.approx(
            np.mean([p for p, j in zip(view.positions, view.levels, strict=True) if slot[int(j)] == k])
        )
    assert "Grey dots: values of y, counted" in view.caption
    drawn = samples.draw(view).collections[0]
    assert drawn.get_sizes() / drawn.get_sizes().max() == pytest.approx(view.shares / view.shares.max())


def test_few_observations_of_few_values_are_drawn_one_by_one():
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 2.0, 1.0, 3.0, 3.0], "g": list("aabbcc")}, ["reml"])
    view = samples.view(comparison, pick(comparison))
    assert view.shares is None
    assert len(view.rows_y) == 6


@pytest.mark.parametrize(("size", "below"), [(12, "n=12"), (1_234, "1,234"), (1_234_567, "")])
def test_sizes_stand_below_levels_where_they_have_room(size, below):
    ax = style.new_axes()
    style.level_axis(ax, np.arange(14.0), [f"{j}" for j in range(14)], [size + 1, *[size] * 13], "g")
    assert ax.get_xticklabels()[-1].get_text().partition("\n")[2] == below
    assert ("with its number of rows" in ax.get_xlabel()) == bool(below)


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
    ax = versus.draw(view)
    for label, series in (("REML", view.mixed), ("fixed prior", view.fixed_prior)):
        np.testing.assert_allclose(offsets(ax, label), np.column_stack([view.positions, series.estimate]))
    beside = np.column_stack([view.positions + versus.BESIDE, view.posterior.estimate])
    np.testing.assert_allclose(offsets(ax, "full Bayes"), beside)
    circles = next(c for c in ax.collections if c.get_label() == "fixed prior")
    assert len(circles.get_facecolor()) == 0  # open circles


def test_versus_draws_every_interval_and_names_its_kind(twelve):
    view = versus.view(twelve, pick(twelve))
    ax = versus.draw(view)
    lines = {c.get_label(): c for c in ax.collections if str(c.get_label()).endswith("interval")}
    every = {"REML": ("reml", 0), "fixed prior": ("fixed_prior", 0), "full Bayes": ("hierarchical", versus.BESIDE)}
    for title, (name, beside) in every.items():
        part = twelve.fits[name].group_effects[0].coefficient
        assert part.interval in view.caption
        drawn = np.array(lines[f"{title}, interval"].get_segments())
        np.testing.assert_allclose(drawn[:, 0, 0], view.positions + beside)
        np.testing.assert_allclose(drawn[:, 0, 1], part.conf_low[:, 0])
        np.testing.assert_allclose(drawn[:, 1, 1], part.conf_high[:, 0])
        assert f"{title} " in view.alt
    low, high = ax.get_ylim()
    assert low < view.posterior.low.min()
    assert view.posterior.high.max() < high
    behind, front = lines["fixed prior, interval"], lines["REML, interval"]
    assert behind.get_zorder() < front.get_zorder()
    assert behind.get_linewidth()[0] > 3 * front.get_linewidth()[0]  # a broad one that the thin one does not hide
    assert len(set(ax.get_legend_handles_labels()[1])) == 8


def test_versus_says_nothing_of_intervals_that_are_not_there(twelve):
    from dataclasses import replace

    fit = twelve.fits["reml"]
    nothing = np.full_like(fit.group_effects[0].coefficient.estimate, np.nan)
    bare = replace(fit.group_effects[0].coefficient, conf_low=nothing, conf_high=nothing)
    without = replace(fit, group_effects=(replace(fit.group_effects[0], coefficient=bare),))
    comparison = Comparison({"reml": without, "fixed_prior": twelve.fits["fixed_prior"]}, twelve.alone)
    view = versus.view(comparison, pick(comparison))
    assert view.caption.startswith("Plus crosses: REML. Open circles")
    assert "REML, interval" not in versus.draw(view).get_legend_handles_labels()[1]


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


def test_spare_looks_are_not_those_of_estimators_beside_them():
    names = ("no_pooling", "reml", "james_stein", "spread_matching", "penalized", "mackay", "em", "henderson")
    looks = [style.look(name, names) for name in names]
    assert len({a.colour for a in looks}) == len({a.marker for a in looks}) == 8
    assert style.look("james_stein", ("reml", "james_stein")) == style.SPARE[0]


def test_one_estimator_is_enough():
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["reml"])
    assert len(shrinkage.draw(shrinkage.view(comparison, varying(comparison)))) == 1
    found = [p.stem for p in prints(comparison)]
    assert found[:3] == ["samples", "shrunken", "shrinkage"]
    assert not {"versus", "ranks"} & set(found)  # which need two


def test_few_panels_are_as_wide_as_every_other_picture_and_keep_their_title():
    """A page stretches every picture to one width: a narrow figure's letters and marks would be blown up."""
    counts = {"sick": [1, 4, 0, 7, 2, 3], "well": [9, 6, 10, 3, 8, 7], "stable": list("aabbcc")}
    options = {"fixed_prior": {"mean": -1.0, "sd": 0.5}}
    one = wb.compare(
        "cbind(sick, well) ~ 1 + (1 | stable)", counts, ["fixed_prior"], family="binomial", options=options
    )
    two = wb.compare("sick ~ 1 + (1 | stable)", counts, ["reml", "fixed_prior"])
    for comparison in (one, two):
        figure = shrinkage.draw(shrinkage.view(comparison, varying(comparison)))[0].figure
        others = samples.draw(samples.view(comparison, pick(comparison))).figure
        assert figure.get_size_inches()[0] == others.get_size_inches()[0]
        assert figure.get_suptitle().replace("\n", " ") == shrinkage.view(comparison, varying(comparison)).title
    assert figure.get_suptitle() == "From each group by itself to its estimate: mean of sick"


def test_one_row_of_panels_is_half_as_tall_as_it_is_wide(twelve, sleep):
    for comparison, rows in ((twelve, 1), (sleep, 2)):
        width, height = shrinkage.draw(shrinkage.view(comparison, varying(comparison)))[0].figure.get_size_inches()
        assert height > 0.48 * width
        assert height < 1.2 * rows * width


def test_known_standard_errors_are_drawn_to_both_sides():
    data = {"y": [28.0, 8.0, -3.0], "s": [15.0, 10.0, 16.0], "g": list("abc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["reml"], se="s")
    view = samples.view(comparison, pick(comparison))
    assert "one known standard error to either side" in view.caption
    lines = {c.get_label(): c for c in samples.draw(view).collections}["± standard error"].get_segments()
    np.testing.assert_allclose([line[:, 1] for line in lines], [[13, 43], [-2, 18], [-19, 13]], rtol=1e-12)
    plain = wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0], "g": list("aab")}, ["no_pooling"])
    assert samples.view(plain, pick(plain)).rows_error is None


def test_observations_outside_a_frame_that_is_zoomed_to_the_estimates_are_counted():
    far = {"y": [-90.0, 91.0, -80.0, 83.0, -85.0, 89.0, 2.0], "g": list("aabbccc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", far, ["reml"])
    caption = shrunken.view(comparison, pick(comparison)).caption
    assert "Grey: observations; 6 of 7 lie outside the frame." in caption


# --- several grouping factors -------------------------------------------------------------------------


def test_beside_another_factor_only_estimates_are_drawn():
    comparison = crossed()
    view = shrinkage.view(comparison, varying(comparison))
    assert [row[0].group for row in view.rows] == ["a", "b"]
    assert len({row[0].y_label for row in view.rows}) == 2
    assert not any(panel.set_out for row in view.rows for panel in row)
    assert view.warnings == ("Levels of a and b have no estimate of their own here to set out from.",)
    assert "alone" not in view.caption
    assert "no-pooling" not in view.caption
    for ax, panel in zip(shrinkage.draw(view), (p for row in view.rows for p in row), strict=True):
        drawn = offsets(ax, "estimate")
        assert len(set(drawn[:, 0])) == len(panel.right)  # no two dots in one place
        np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(panel.right))
        names = {round(x, 9): t.get_text() for x, t in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
        estimates = dict(zip(panel.levels, panel.right, strict=True))
        assert {names[round(x, 9)]: y for x, y in drawn} == pytest.approx(estimates)  # every dot over its level's name


def test_levels_lose_their_names_where_these_would_run_into_one_another():
    """Twenty levels beside another factor: one panel has room for their names, turned; two abreast have none."""
    rows = {"y": np.arange(40.0) % 7, "a": [f"level {k % 20}" for k in range(40)], "b": np.arange(40) % 3}
    turned = {}
    for names in (["reml"], ["reml", "ml"], ["reml", "ml", "fixed_prior", "complete_pooling"]):
        comparison = wb.compare("y ~ 1 + (1 | a) + (1 | b)", rows, names)
        ax = shrinkage.draw(shrinkage.view(comparison, varying(comparison)))[0]
        turned[len(names)] = [t.get_rotation() for t in ax.get_xticklabels()]
    assert turned == {1: [90.0] * 20, 2: [], 4: []}


def test_beside_another_factor_no_sample_mean_stands_for_a_group():
    """The mean of a cell in a nested design holds its group's effect too: it is no estimate of the cell's own."""
    comparison = crossed()
    found = [p.stem for p in prints(comparison)]
    assert {"samples_a", "samples_b", "versus_intercept_by_a", "versus_intercept_by_b", "shrinkage"} < set(found)
    assert not any(stem.startswith("shrunken") for stem in found)
    assert not shrunken.applies(comparison)
    view = shrunken.view(comparison, pick(comparison, group="b"))
    assert not np.isfinite(view.own).any()
    assert "Blue crosses" not in view.caption
    shrunken.draw(view)
    assert versus.view(comparison, pick(comparison, group="b")).y_label == "intercept of y"


def test_the_order_of_many_levels_is_named_rightly(many):
    by_means = samples.view(many, pick(many))
    assert "in the order of their sample means" in by_means.caption
    assert (np.diff(by_means.means) >= 0).all()
    comparison = Comparison({"reml": many.fits["reml"], "fixed_prior": many.fits["fixed_prior"]})
    assert "in the order of their sample means" in versus.view(comparison, pick(comparison)).caption
    slopes = {"y": np.arange(240.0) % 7, "x": np.arange(240.0) % 11, "g": np.repeat(np.arange(80), 3)}
    alone = wb.compare("y ~ x + (1 | g)", slopes, ["reml", "fixed_prior"])
    without = Comparison(alone.fits)
    assert "in the order of their REML estimates" in versus.view(without, pick(without)).caption
    assert "in the order of their sample means" in samples.view(without, pick(without)).caption


def test_groups_without_an_estimate_of_their_own_are_counted_in_the_captions():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(8), [1, 1, 4, 4, 4, 4, 4, 4])
    x = np.arange(26.0) % 4
    y = rng.normal(size=8)[group] + x + rng.normal(size=26)
    comparison = wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": group}, ["reml"])
    words = "2 groups (n = 1) have no estimate of their own."
    assert words in shrunken.view(comparison, pick(comparison)).caption
    assert shrinkage.view(comparison, varying(comparison)).caption.count(words) == 1


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [r"$\frac$", "_hidden", "a\x00b\n", "長い名前", "<b>&"])
def test_strange_names_are_drawn_as_they_are(tmp_path, name):
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": [name, name, "b", "b", "c", "c"]}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, FOUR)
    for k, picture in enumerate(prints(comparison)):
        if picture.stem not in ("samples", "caterpillar", "lattice", "ranks", "tau_axis"):  # those with names of levels
            continue
        png, svg = style.save(picture.figure(), tmp_path / f"{k}")
        assert png.stat().st_size > 5_000
        assert svg.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.slow
def test_files_come_out_the_same_twice(tmp_path, sleep):
    first, second = (
        [style.save(p.figure(), tmp_path / f"{turn}{k}") for k, p in enumerate(prints(sleep))] for turn in "ab"
    )
    for one, other in zip(first, second, strict=True):
        assert [f.read_bytes() for f in one] == [f.read_bytes() for f in other]


def test_bitmaps_of_few_colours_look_as_they_did(tmp_path, sleep):
    """The picture with the most colours, beside what matplotlib makes of it in all of them."""
    made = next(p for p in prints(sleep) if p.stem == "covariance")
    png, _ = style.save(made.figure(), tmp_path / "few")
    made.figure().savefig(tmp_path / "full.png", dpi=style.DPI)
    few, full = (mpl.image.imread(path)[..., :3] for path in (png, tmp_path / "full.png"))
    assert few.shape == full.shape
    away = np.abs(few - full).max(axis=2)
    assert np.quantile(away, 0.999) < 0.06  # of 1: 15 of 255 levels, at edges of letters
    assert png.stat().st_size < 0.6 * (tmp_path / "full.png").stat().st_size


def test_light_bitmaps_keep_every_estimators_colour(tmp_path, sleep):
    """A mark's own colour is there, in as many dots as it had, within what the eye tells apart."""
    made = next(p for p in prints(sleep) if p.stem == "shrinkage")
    png, none = style.save(made.figure(), tmp_path / "light", drawing=False)
    assert none is None
    dots = (mpl.image.imread(png)[..., :3] * 255).reshape(-1, 3)
    for name in sleep.fits:
        own = np.array(mpl.colors.to_rgb(style.look(name).colour)) * 255
        assert (np.abs(dots - own).max(axis=1) <= 16).sum() >= 200, name


def test_areas_keep_their_exact_colour(tmp_path, sleep):
    made = next(p for p in prints(sleep) if p.stem.startswith("caterpillar"))
    png, _ = style.save(made.figure(), tmp_path / "light", drawing=False)
    dots = (mpl.image.imread(png)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    colours, counts = np.unique(dots, axis=0, return_counts=True)
    shaded = (colours == [0xF1, 0xF2, 0xF4]).all(axis=1)  # every other row
    band = np.abs(colours - 0xDD).max(axis=1) < 12  # complete pooling's, grey that lets the rows shine through
    assert counts[shaded].sum() > 0.1 * len(dots)
    assert (counts[band] > 0.005 * len(dots)).sum() >= 2


def hues(png):
    """The share of a bitmap's coloured dots that lie in each twelfth of the circle of hues."""
    dots = mpl.image.imread(png)[..., :3].reshape(-1, 3)
    coloured = mpl.colors.rgb_to_hsv(dots[np.ptp(dots, axis=1) > 0.1])[:, 0]
    return np.histogram(coloured, np.linspace(0, 1, 13))[0] / len(coloured)


@pytest.mark.parametrize(("drawing", "dots"), [(True, style.DPI), (False, style.DPI_ALONE)])
def test_thin_lines_keep_their_hue_in_bitmaps(tmp_path, drawing, dots):
    """Pale edges of thin lines are many colours of few dots each; a palette without them draws the lines grey."""
    dyestuff = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", [*FOUR, "boundary_avoiding"])
    made = next(p for p in prints(dyestuff) if p.stem == "shrinkage")
    png, _ = style.save(made.figure(), tmp_path / "few", drawing)
    figure = made.figure()
    dots = dots if drawing else min(dots, style.WIDTH_ALONE / figure.get_figwidth())
    figure.savefig(tmp_path / "full.png", dpi=dots)
    np.testing.assert_allclose(hues(png), hues(tmp_path / "full.png"), atol=0.03)


@pytest.mark.slow
def test_drawing_leaves_matplotlibs_settings_and_pyplot_alone(twelve, tmp_path):
    import sys

    def open_figures() -> list[int]:
        pyplot = sys.modules.get("matplotlib.pyplot")
        return pyplot.get_fignums() if pyplot else []

    before, figures = dict(mpl.rcParams), open_figures()  # others may draw with pyplot in the same process
    for picture in prints(twelve):
        style.save(picture.figure(), tmp_path / picture.stem)
    assert dict(mpl.rcParams) == before
    assert open_figures() == figures


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


def test_pictures_come_in_the_order_of_their_table_and_term_by_term(sleep):
    found = [p.stem for p in prints(sleep)]
    assert found[:6] == [
        "samples", "shrunken_intercept", "shrunken_days", "versus_intercept", "versus_days", "shrinkage"
    ]  # fmt: skip
    order = [p.stem for p in PICTURES]
    places = [max(order.index(stem) for stem in order if name.startswith(stem)) for name in found]
    assert places == sorted(places)
    assert len(set(order)) == len(order)
    for picture in PICTURES:
        by_term = picture.each == "term"
        drawn = {f"{picture.stem}_intercept", f"{picture.stem}_days"} if by_term else {picture.stem}
        assert not picture.applies(sleep) or drawn <= set(found)
    for picture in prints(sleep):
        assert picture.view.alt
        assert picture.view.caption


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Open circles: the same mean and spread plugged in"),
        ({"sd": 2.0}, "Open circles: a mean and a spread of their own plugged in"),
        ({"df": 4.0}, "Open circles: a mean and a spread of their own plugged in"),
    ],
)
def test_versus_says_whether_the_fixed_prior_holds_the_mixed_models_mean_and_spread(options, said):
    path = DATA / "twelve_groups.csv"
    both = wb.compare("samples ~ 1 + (1 | group)", path, ["reml", "fixed_prior"], options={"fixed_prior": options})
    assert said in versus.view(both, varying(both)[0]).caption


def test_dots_of_many_levels_keep_their_estimators_colour():
    """Smaller dots with white edges are grey on a screen: in a bitmap of few dots every estimator has its colour."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 200, 1500), rng.integers(0, 4, 1500)
    table = {"y": rng.normal(size=200)[a] + rng.normal(size=1500), "a": a, "b": b}
    comparison = wb.compare("y ~ 1 + (1 | a) + (1 | b)", table, ["reml", "ml", "fixed_prior"])
    view = shrinkage.view(comparison, varying(comparison))
    assert min(panel.areas.min() for row in view.rows for panel in row) >= shrinkage.LEAST
    axes = shrinkage.draw(view)
    figure = axes[0].figure
    figure.set_dpi(80)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    bitmap = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    for ax, panel in zip(axes, view.rows[0], strict=False):
        box = ax.get_window_extent()
        top = bitmap.shape[0]
        inside = bitmap[int(top - box.y1) : int(top - box.y0), int(box.x0) + 2 : int(box.x1)]
        colour = np.array([int(style.look(panel.estimator, []).colour[k : k + 2], 16) for k in (1, 3, 5)])
        assert (np.abs(inside - colour).max(axis=-1) <= 8).sum() > 50

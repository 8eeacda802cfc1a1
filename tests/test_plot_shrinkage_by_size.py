"""Shrinkage against size. Rungs: closed form (1 - tau^2 / (tau^2 + sigma^2 / n)), the comparison's own table."""

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import shrinkage_by_size
from workbench.plots.by_size import factor_in_theory
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]


@pytest.fixture(scope="module")
def twelve():
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", [*FOUR, "ml"])


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR)


def by_name(view):
    return {series.estimator: series for series in view.series}


def test_points_are_the_factors_of_the_table_and_lie_on_the_curve(twelve):
    view = shrinkage_by_size.view(twelve, pick(twelve))
    assert list(by_name(view)) == ["reml", "fixed_prior", "ml"]  # those that pool wholly or not at all are lines
    for series in view.series:
        table = twelve.shrinkage.query("estimator == @series.estimator").set_index("level")
        np.testing.assert_array_equal(series.y, table.loc[list(series.levels), "shrinkage"])
        np.testing.assert_array_equal(series.x, table.loc[list(series.levels), "n"])
    fit = twelve.fits["reml"]
    tau2, sigma2 = fit.components[0].sd[0] ** 2, fit.sigma**2
    reml = by_name(view)["reml"]
    np.testing.assert_allclose(reml.y, 1 - tau2 / (tau2 + sigma2 / reml.x), rtol=1e-9)
    np.testing.assert_allclose(view.curves[0].y, 1 - tau2 / (tau2 + sigma2 / view.curves[0].x), rtol=1e-12)
    assert "REML's groups lie on its line, to rounding." in view.caption
    assert [curve.estimator for curve in view.curves] == ["reml", "ml"]
    assert (view.x_label, view.logarithmic, view.strip) == ("group size n, by group", True, False)
    assert "REML: median 0.9581 where n is at most 2, 0.3136 where at least 100." in view.alt


def test_standard_errors_take_the_place_of_sizes():
    y, se = [28.0, 8, -3, 7, -1, 1, 18, 12], [15.0, 10, 16, 11, 9, 11, 10, 18]
    schools = wb.compare(
        "y ~ 1 + (1 | school)", {"y": y, "se": se, "school": list("ABCDEFGH")}, ["boundary_avoiding"], se="se"
    )
    view = shrinkage_by_size.view(schools, pick(schools))
    tau = float(schools.fits["boundary_avoiding"].components[0].sd[0])
    series = view.series[0]
    assert dict(zip(series.levels, series.x, strict=True)) == pytest.approx(dict(zip("ABCDEFGH", se, strict=True)))
    np.testing.assert_allclose(series.y, series.x**2 / (tau**2 + series.x**2), rtol=1e-9)
    assert view.x_label == "standard error of the group's own value, by school"
    assert (view.curves[0].y[0] < view.curves[0].y[-1]).all()  # the less is known, the more is taken away
    assert "τ²/(τ² + se²)" in view.caption


def test_weights_count_as_rows():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(10), 4)
    table = {"y": rng.normal(size=10)[codes] + rng.normal(size=40), "g": codes, "w": rng.uniform(0.5, 4, 40)}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["reml"], weights="w")
    view = shrinkage_by_size.view(comparison, pick(comparison))
    fit, series = comparison.fits["reml"], view.series[0]
    sums = np.bincount(codes, table["w"])
    assert dict(zip(series.levels, series.x, strict=True)) == pytest.approx({str(j): sums[j] for j in range(10)})
    theory = factor_in_theory(series.x, float(fit.components[0].sd[0]), fit.sigma, False)
    np.testing.assert_allclose(series.y, theory, rtol=1e-8)
    assert view.x_label == "sum of the group's weights, by g"


def test_correlated_terms_have_points_and_no_curve(sleep):
    view = shrinkage_by_size.view(sleep, pick(sleep, "Days"))
    assert view.curves == ()
    assert "There is no curve: of these terms the factor depends on where a group's rows lie" in view.caption
    assert view.strip  # ten rows each
    assert "All groups have n = 10" in view.caption
    for k, series in enumerate(view.series):
        assert (abs(series.place - k) < 0.5).all()
        assert (np.diff(view.series[0].y) >= 0).all()
    ax = shrinkage_by_size.draw(view)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["REML", "fixed prior"]


def test_what_lies_outside_is_an_arrow_and_is_counted():
    """A group whose own value is nearly the population value has a factor that may be anything."""
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(40), 5)
    x = rng.normal(size=200)
    u = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 40)
    y = u[codes, 0] + u[codes, 1] * x + rng.normal(size=200)
    comparison = wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": codes}, ["reml"])
    view = shrinkage_by_size.view(comparison, pick(comparison, "x"))
    factors = comparison.shrinkage.query("term == 'x'")["shrinkage"].to_numpy()
    low, high = view.y_limits
    out = (factors < low) | (factors > high)
    assert 1 <= out.sum() <= 6
    worst = factors[np.argmax(np.abs(factors))]
    assert ("1 mark lies" if out.sum() == 1 else f"{out.sum()} marks lie") in view.caption
    assert f"the farthest is {worst:.4g}"[:22] in view.caption
    ax = shrinkage_by_size.draw(view)
    arrows = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if not c.get_clip_on()])
    assert len(arrows) == out.sum()
    assert set(arrows[:, 1].tolist()) <= {low, high}


def test_a_spread_of_zero_takes_everything_away():
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["reml", "boundary_avoiding"])
    view = shrinkage_by_size.view(comparison, pick(comparison))
    assert by_name(view)["reml"].y.tolist() == [1.0] * 6
    assert view.curves[0].y.tolist() == [1.0]
    assert 0.4 < by_name(view)["boundary_avoiding"].y[0] < 0.7


def test_counts_say_trials_and_have_no_curve():
    table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 25, 5], "g": list("aabbcc")}
    comparison = wb.compare("cbind(s, f) ~ 1 + (1 | g)", table, ["laplace"], family="binomial")
    view = shrinkage_by_size.view(comparison, pick(comparison))
    assert sorted(view.series[0].x.tolist()) == [20, 20, 40]
    assert view.x_label == "the group's number of trials, by g"
    assert "how probable its outcome is" in view.caption


def test_several_factors_have_no_own_estimates_to_measure_from(sleep):
    assert not shrinkage_by_size.applies(crossed())
    with pytest.raises(OptionError, match="Shrinkage is measured from the groups' own estimates"):
        crossed().plot.shrinkage_by_size()
    wholly = Comparison({name: sleep.fits[name] for name in UNPOOLED_NAMES}, sleep.alone)
    assert not shrinkage_by_size.applies(wholly)


UNPOOLED_NAMES = ("complete_pooling", "no_pooling")


def test_of_many_levels_an_even_choice_is_drawn():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(3_000), rng.integers(1, 9, 3_000))
    y = rng.normal(size=3_000)[codes] + rng.normal(size=len(codes))
    many = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["reml", "fixed_prior"])
    view = shrinkage_by_size.view(many, pick(many))
    assert len(view.series[0].y) == shrinkage_by_size.DRAWN
    assert "300 of the 3,000 levels of g are drawn" in view.caption
    assert set(view.series[0].x) == set(range(1, 9))
    ax = shrinkage_by_size.draw(view)
    reml = next(c for c in ax.collections if c.get_label() == "REML")
    assert len(reml.get_offsets()) == 8  # those that cover each other are one mark
    apart = [series.place - series.x for series in view.series]
    assert (apart[0] != apart[1]).all()


def test_draws_stand_beside(twelve):
    view = shrinkage_by_size.view(with_posterior(twelve), pick(twelve))
    assert [s.label for s in view.series] == ["REML", "fixed prior", "ML", "full Bayes"]
    assert "full Bayes" not in " ".join(curve.label for curve in view.curves)


def test_pinned(twelve):
    """One drawing as it stood when it was last looked at."""
    view = shrinkage_by_size.view(twelve, pick(twelve))
    ax = shrinkage_by_size.draw(view)
    reml = np.asarray(next(c for c in ax.collections if c.get_label() == "REML").get_offsets())
    np.testing.assert_allclose(reml, [[1.9216, 0.958106], [96.0789, 0.313861]], rtol=1e-3)
    assert view.title == "How much each estimator shrinks, by group"
    assert view.y_limits == (-0.1, 1.1)
    assert [text.get_text() for text in ax.texts] == ["no pooling", "complete pooling"]


def test_marks_are_moved_aside_by_little_and_the_caption_says_by_how_much():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), [5, 10, 50] * 4)
    y = rng.normal(size=12)[g] + rng.normal(size=len(g))
    names = ["no_pooling", "reml", "ml", "em", "boundary_avoiding", "fixed_prior"]
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": g}, names)
    view = shrinkage_by_size.view(comparison, pick(comparison))
    assert view.logarithmic
    away = max(float(np.abs(s.place / s.x - 1).max()) for s in view.series)
    assert 0.02 < away < 0.05
    assert f"moved aside by up to {100 * away:.1f}" in view.caption

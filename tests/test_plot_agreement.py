"""Agreement of two estimators. Rungs: closed form (differences, limits, read off the fits), edge cases, a pin."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import agreement, style
from workbench.plots.agreement import POINTS
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]


@pytest.fixture(scope="module")
def twelve():
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", [*FOUR, "boundary_avoiding", "ml"])
    return with_posterior(plain)


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(POINTS + 1), 2)
    y = rng.normal(size=POINTS + 1)[codes] + rng.normal(size=len(codes))
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml"])


def seen_of(comparison, *names):
    return agreement.view(comparison, pick(comparison), *names)


def column(comparison, name, what="estimate"):
    return getattr(comparison.fits[name].group_effects[0].coefficient, what)[:, 0]


def test_reml_is_held_against_the_fixed_prior_full_bayes_and_one_more(twelve):
    view = seen_of(twelve)
    pairs = [(pair.one, pair.other) for pair in view.pairs]
    assert pairs == [("reml", "fixed_prior"), ("reml", "hierarchical"), ("reml", "boundary_avoiding")]
    few = Comparison({name: twelve.fits[name] for name in ("no_pooling", "reml")}, twelve.alone)
    assert [(pair.one, pair.other) for pair in seen_of(few).pairs] == [("reml", "no_pooling")]


def test_differences_are_those_of_the_tables(twelve):
    view = seen_of(twelve, "no_pooling", "ml")
    (pair,) = view.pairs
    x, y = column(twelve, "no_pooling"), column(twelve, "ml")
    np.testing.assert_array_equal(pair.difference, y - x)
    np.testing.assert_array_equal(pair.mean, (x + y) / 2)
    row = twelve.agreement.query("estimator1 == 'no_pooling' and estimator2 == 'ml'").iloc[0]
    assert abs(pair.difference[pair.largest]) == row["max_difference"]
    assert pair.levels[pair.largest] == row["level"]
    assert f"root mean square {row['rms_difference']:.4g}." in view.caption
    low, centre, high = pair.limits
    assert centre == pytest.approx(np.mean(y - x))
    assert high - low == pytest.approx(2 * 1.96 * np.std(y - x, ddof=1))


def test_differences_are_counted_in_standard_errors(twelve):
    (pair,) = seen_of(twelve, "reml", "no_pooling").pairs
    error = column(twelve, "reml", "std_error")
    assert pair.error == np.median(error)
    assert pair.error_kind == "REML (coefficient SE)"
    assert pair.in_errors == pytest.approx(np.abs(pair.difference / error).max())
    panel = agreement.draw(seen_of(twelve, "reml", "no_pooling"))[1]
    panel.figure.draw_without_rendering()
    (axis,) = panel.child_axes
    np.testing.assert_allclose(axis.get_ylim(), np.array(panel.get_ylim()) / pair.error)
    assert axis.get_ylabel() == "in standard errors"


def test_without_errors_of_its_own_an_estimator_takes_the_others(twelve):
    rows = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.0, 8.0], "g": list("aabbccdd")}
    comparison = wb.compare("y ~ 1 + (1 | g)", rows, ["james_stein", "reml", "spread_matching"])
    assert seen_of(comparison, "james_stein", "reml").pairs[0].error_kind == "REML (coefficient SE)"
    bare = seen_of(comparison, "james_stein", "spread_matching")
    assert bare.pairs[0].error_kind == ""
    assert "standard error" not in bare.caption
    assert not agreement.draw(bare)[1].child_axes


def test_rounding_is_said_and_not_magnified(twelve):
    fit = twelve.fits["reml"]
    part = fit.group_effects[0]
    near = part.coefficient.estimate * (1 + 1e-12)
    twin = replace(fit, group_effects=(replace(part, coefficient=replace(part.coefficient, estimate=near)),))
    view = seen_of(Comparison({"reml": fit, "twin": twin}, twelve.alone))
    (pair,) = view.pairs
    assert pair.rounding
    assert not pair.difference.any()
    assert "Twin and REML give the same to rounding." in view.caption
    panel = agreement.draw(view)[1]
    assert panel.get_ylim() == (-pair.error, pair.error)
    assert "the same to rounding" in [t.get_text() for t in panel.texts]
    apart = part.coefficient.estimate + 1e-6
    other = replace(fit, group_effects=(replace(part, coefficient=replace(part.coefficient, estimate=apart)),))
    assert not seen_of(Comparison({"reml": fit, "other": other}, twelve.alone)).pairs[0].rounding


def test_the_drawing_has_points_equality_and_limits_where_the_view_says(twelve):
    view = seen_of(twelve)
    axes = agreement.draw(view)
    assert len(axes) == 6
    for k, pair in enumerate(view.pairs):
        scatter, below = axes[k], axes[3 + k]
        np.testing.assert_allclose(scatter.collections[0].get_offsets(), np.column_stack([pair.x, pair.y]))
        np.testing.assert_allclose(below.collections[0].get_offsets(), np.column_stack([pair.mean, pair.difference]))
        equality = scatter.lines[0].get_xydata()
        np.testing.assert_array_equal(equality[:, 0], equality[:, 1])
        assert scatter.get_xlim() == scatter.get_ylim()
        low, centre, high = pair.limits
        assert [line.get_ydata()[0] for line in below.lines] == ([0.0] if pair.rounding else [0.0, centre, low, high])
        named = "the same to rounding" if pair.rounding else pair.levels[pair.largest]
        assert [t.get_text() for t in below.texts] == [named]
        assert (scatter.get_xlabel(), scatter.get_ylabel()) == (f"{pair.one_title}: mean of samples", pair.other_title)


def test_very_many_groups_are_counted_in_hexagons(many):
    view = seen_of(many)
    assert "Hexagons" in view.caption
    scatter, below = agreement.draw(view)
    for panel in (scatter, below):
        counts = np.asarray(panel.collections[0].get_array())
        assert counts.sum() == POINTS + 1
        assert len(counts) < POINTS


def test_groups_without_an_estimate_are_left_out_and_counted(twelve):
    fit = twelve.fits["no_pooling"]
    part = fit.group_effects[0]
    holed = part.coefficient.estimate.copy()
    holed[:2] = np.nan
    missing = replace(fit, group_effects=(replace(part, coefficient=replace(part.coefficient, estimate=holed)),))
    comparison = Comparison({"no_pooling": missing, "reml": twelve.fits["reml"]}, missing)
    view = seen_of(comparison, "reml", "no_pooling")
    assert view.pairs[0].levels == tuple(str(j) for j in range(3, 13))
    assert "(of the 10 groups that both estimate)" in view.caption


def test_wrong_names_are_refused(twelve):
    with pytest.raises(OptionError, match="Did you mean 'fixed_prior'"):
        twelve.plot.agreement(other="fixed_priors")
    with pytest.raises(OptionError, match="one and other are both 'reml'"):
        twelve.plot.agreement(one="reml", other="reml")
    assert seen_of(twelve, None, "reml").pairs[0].other == "reml"
    assert {pair.one for pair in seen_of(twelve, "ml").pairs} == {"ml"}


def test_it_applies_where_two_pool_or_one_beside_none(twelve):
    assert agreement.applies(twelve)
    assert agreement.applies(crossed())
    assert not agreement.applies(Comparison({"reml": twelve.fits["reml"]}, twelve.alone))
    ends = {name: twelve.fits[name] for name in ("complete_pooling", "reml")}
    assert not agreement.applies(Comparison(ends, twelve.alone))


def test_two_spreads_of_zero_that_agree_are_the_same_to_rounding():
    path = DATA / "datasets/Dyestuff2.csv"
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", path, ["reml", "ml"])
    view = seen_of(comparison)
    assert view.pairs[0].rounding
    agreement.draw(view)


def test_a_given_ax_is_divided():
    names = ["$x_1$", "a\nb", "l" * 60]
    rows = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": np.repeat(names, 2)}
    ax = style.new_axes()
    comparison = wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"])
    assert comparison.plot.agreement(ax=ax) is ax
    assert len(ax.figure.axes) == 2
    texts = [t for panel in ax.figure.axes for t in panel.texts]
    assert texts
    assert not any(t.get_parse_math() for t in texts)
    ax.figure.draw_without_rendering()


def test_pinned_rendering():
    """Two groups of two rows: means 1.5 and 3.5, of whose deviations REML keeps 0.875."""
    rows = {"y": [1.0, 2.0, 3.0, 4.0], "g": list("aabb")}
    ax = wb.compare("y ~ 1 + (1 | g)", rows, ["no_pooling", "reml"]).plot.agreement()
    scatter, below = (np.asarray(panel.collections[0].get_offsets()) for panel in ax.figure.axes[:2])
    np.testing.assert_allclose(scatter, [[1.625, 1.5], [3.375, 3.5]], rtol=1e-7)
    np.testing.assert_allclose(below, [[1.5625, -0.125], [3.4375, 0.125]], rtol=1e-6)


def test_both_axes_have_one_minus_and_a_name_hides_the_line_behind_it():
    comparison = wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["reml", "ml"])
    axes = agreement.draw(agreement.view(comparison, pick(comparison)))
    axes[1].figure.canvas.draw()
    (right,) = (child for child in axes[1].child_axes)
    written = "".join(label.get_text() for label in (*axes[1].get_yticklabels(), *right.get_yticklabels()))
    assert "−" in written
    assert "-" not in written
    (name,) = axes[1].texts
    assert name.get_bbox_patch().get_alpha() is None
    assert name.get_zorder() < min(c.get_zorder() for c in axes[1].collections)
    assert name.get_zorder() > max(line.get_zorder() for line in axes[1].lines)

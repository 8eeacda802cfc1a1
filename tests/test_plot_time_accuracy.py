"""Time against accuracy. Rungs: closed form (errors by another route, sums of seconds), edge cases, a pin."""

from dataclasses import replace

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import OptionError
from workbench.plots import PICTURES, style, time_accuracy
from workbench.plots.names import beside
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
TRUTH = {"level": [str(j) for j in range(1, 12)], "term": ["(Intercept)"] * 11, "value": np.linspace(-1, 1, 11)}
SECONDS = {"complete_pooling": 0.001, "no_pooling": 0.002, "reml": 0.01, "fixed_prior": 0.03, "hierarchical": 20.0}


def timed(comparison):
    fits = {name: replace(fit, seconds=SECONDS.get(name, np.nan)) for name, fit in comparison.fits.items()}
    return Comparison(fits, comparison.alone, comparison.truth)


@pytest.fixture(scope="module")
def twelve():
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, truth=TRUTH)
    return timed(with_posterior(plain))


@pytest.fixture(scope="module")
def unknown(twelve):
    return Comparison(twelve.fits, twelve.alone)


def seen_of(comparison):
    return time_accuracy.view(comparison, pick(comparison))


def test_against_the_truth_accuracy_is_the_scoreboards_error(twelve):
    view = seen_of(twelve)
    board = twelve.scoreboard.query("sizes == 'all'").set_index("estimator")["rmse"]
    assert list(view.estimators) == list(twelve.fits)
    np.testing.assert_allclose(view.off, board[list(view.estimators)], rtol=1e-12)
    assert view.reference == ""
    assert view.y_label == "RMSE of the means"


def test_without_a_truth_it_is_the_distance_to_full_bayes_in_its_errors(unknown):
    view = seen_of(unknown)
    part = unknown.fits["hierarchical"].group_effects[0].coefficient
    for name, off in zip(view.estimators, view.off, strict=True):
        gap = (unknown.fits[name].group_effects[0].coefficient.estimate - part.estimate) / part.std_error
        assert off == pytest.approx(np.sqrt(np.mean(gap**2)))
    assert view.reference == "hierarchical"
    assert view.y_label == "RMS distance to full Bayes, in its standard errors"
    assert "in its standard errors (posterior SD)" in view.caption
    without = Comparison({name: unknown.fits[name] for name in FOUR}, unknown.alone)
    assert seen_of(without).reference == "reml"


def test_seconds_include_those_of_the_fits_built_on(twelve):
    view = seen_of(twelve)
    assert view.own.tolist() == list(SECONDS.values())
    assert view.seconds.tolist() == [0.001, 0.002, 0.01, 0.04, 20.0]  # the fixed prior plugs REML in
    assert "thin lines reach back to its own" in view.caption
    without = Comparison(
        {name: twelve.fits[name] for name in ("no_pooling", "fixed_prior")}, twelve.alone, twelve.truth
    )
    alone = seen_of(without)
    assert alone.seconds.tolist() == [0.002, 0.03]
    assert "REML: built on, but not timed here, so left out." in alone.caption


def test_answers_from_elsewhere_have_no_time_and_are_named(twelve):
    fit = replace(twelve.fits["reml"], estimator="mine", seconds=np.nan)
    view = seen_of(Comparison({"reml": twelve.fits["reml"], "mine": fit}, twelve.alone, twelve.truth))
    assert view.estimators == ("reml",)
    assert "Without a time: mine." in view.caption
    bare = Comparison({"mine": fit}, twelve.alone, twelve.truth)
    assert not time_accuracy.applies(bare)
    with pytest.raises(OptionError, match="No fit here has a time"):
        seen_of(bare)


def test_without_anything_to_measure_from_it_is_refused(unknown):
    comparison = Comparison({name: unknown.fits[name] for name in FOUR[:2]}, unknown.alone)
    with pytest.raises(OptionError, match="Compare with reml"):
        comparison.plot.time_accuracy()


def test_no_report_holds_it():
    """Wall times are not the same twice, and reports are."""
    assert "time_accuracy" not in {picture.stem for picture in PICTURES}
    assert "stands in no report" in time_accuracy.__doc__


@pytest.mark.parametrize("which", ["twelve", "unknown"])
def test_names_keep_off_one_another_and_off_points(which, request):
    view = seen_of(request.getfixturevalue(which))
    ax = time_accuracy.draw(view)
    ax.figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert [t.get_text().split(":")[0] for t in ax.texts] == list(view.titles)
    points = ax.transData.transform(np.column_stack([view.seconds, view.off]))
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert not any(box.contains(*point) for point in points)
        assert ax.get_window_extent().x0 <= box.x0
        assert box.x1 <= ax.get_window_extent().x1


@pytest.mark.parametrize("count", [5, 12])
def test_names_beside_points_in_one_place_are_stacked(count):
    points = np.full((count, 2), 3.0)
    places = beside(points, np.full(count, 1.5), 0.2, (6.0, 6.0), 0.1)
    for i in range(count):
        assert 0 <= places[i, 0] <= 4.5
        for j in range(i):
            apart = np.abs(places[i] - places[j])
            assert apart[0] > 1.5 - 1e-9 or apart[1] > 0.2 - 1e-9


def test_crossed_factors_and_a_given_ax():
    comparison = crossed()
    fits = {name: replace(fit, seconds=0.1 * (k + 1)) for k, (name, fit) in enumerate(comparison.fits.items())}
    ax = style.new_axes()
    assert Comparison(fits).plot.time_accuracy(ax=ax, group="b") is ax
    assert ax.get_title(loc="left") == "Time against accuracy: intercept of y, by b"


def test_pinned_rendering():
    """Two groups of means 1.5 and 3.5, true 1 and 4; REML keeps 0.875 of their deviations from 2.5."""
    truth = {"level": ["a", "b"], "term": ["(Intercept)"] * 2, "value": [1.0, 4.0]}
    rows = {"y": [1.0, 2.0, 3.0, 4.0], "g": list("aabb")}
    made = wb.compare("y ~ 1 + (1 | g)", rows, ["complete_pooling", "no_pooling", "reml"], truth=truth)
    ax = timed(made).plot.time_accuracy()
    drawn = np.array([np.asarray(c.get_offsets())[0] for c in ax.collections])
    np.testing.assert_allclose(drawn, [[0.001, 1.5], [0.002, 0.5], [0.01, 0.625]], rtol=1e-7)
    assert ax.get_xscale() == "log"
    texts = [t.get_text() for t in ax.texts]
    assert texts == ["complete pooling: 1 ms, 1.5", "no pooling: 2 ms, 0.5", "REML: 10 ms, 0.625"]

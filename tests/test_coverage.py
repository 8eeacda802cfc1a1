"""Coverage of intervals. Rungs: closed form where the variances are known, one simulation refitted by hand, then the
published design of twelve groups, 2,000 times."""

import numpy as np
import pytest

import workbench as wb
from workbench.calibration import coverage, coverages
from workbench.errors import OptionError
from workbench.estimators import run_estimator

SIZES = (100,) * 6 + (2,) * 6


def row(found, estimator, quantity, kind, n):
    table = found.summary.set_index(["estimator", "quantity", "std_error_kind", "n"])
    return table.loc[(estimator, quantity, kind, n)]


def test_with_known_variances_width_error_and_coverage_are_known():
    # tau = 1, sigma = 5 and mean 0 known to 1e-4: posterior variance tau^2 / (1 + n tau^2 / sigma^2)
    priors = {
        "sd(group, (Intercept))": "Uniform(1, 1.0001)", "sigma": "Uniform(5, 5.0005)",
        "(Intercept)": "Normal(0, 0.001)",
    }  # fmt: skip
    found = coverage([40] * 3 + [2] * 5, simulations=200, estimators=["exact"], priors=priors)
    for n in (2, 40):
        variance = 1 / (1 + n / 25)
        r = row(found, "exact", "coefficient", "posterior SD", n)
        assert r["width"] == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-3)
        assert abs(r["squared_error"] - variance) < 4 * r["squared_error_error"]
        assert abs(r["coverage"] - 0.95) < 4 * r["coverage_error"]
        assert r["coverage_error"] == pytest.approx(np.sqrt(0.95 * 0.05 / 200 / r["groups"]), rel=0.3)  # independent


def test_figures_are_those_of_a_fit_of_each_response(monkeypatch):
    seen = []

    def spy(name, design, settings, options, upstream):
        seen.append((name, design))
        return run_estimator(name, design, settings, options, upstream)

    monkeypatch.setattr(coverages, "run_estimator", spy)
    found = coverage((30, 30, 3, 3), 2.0, 3.0, 10.0, simulations=3, estimators=["no_pooling", "reml"], level=0.8)
    design = seen[5][1]  # the third response
    fit = wb.fit("y ~ 1 + (1 | g)", {"y": design.y, "g": np.repeat(list("abcd"), [30, 30, 3, 3])}, level=0.8)
    drawn = [int(k) for k in np.repeat(np.arange(4), [30, 30, 3, 3])]
    np.testing.assert_array_equal(design.blocks[0].codes, drawn)
    part = fit.group_effects[0]
    keys = {key: found.figures[2, k] for k, key in enumerate(found.keys)}
    own = keys["reml", "coefficient", "coefficient SE"]
    np.testing.assert_allclose(own[:, 1], (part.coefficient.conf_high - part.coefficient.conf_low)[:, 0], rtol=1e-9)
    table = fit.standard_errors
    for quantity, kind, column in (
        ("coefficient", "conditional SD", "conditional_sd"),
        ("effect", "effect prediction SE", "effect_prediction_se"),
    ):
        np.testing.assert_allclose(keys["reml", quantity, kind][:, 1], 2 * 1.2815515655 * table[column], rtol=1e-9)
    # the truth behind it, told by the squared errors of two estimators of the same means
    no = wb.fit("y ~ 1 + (1 | g)", {"y": design.y, "g": drawn}, "no_pooling", level=0.8).group_effects[0].coefficient
    reach = np.sqrt(keys["no_pooling", "coefficient", no.std_error_kind][:, 2])
    candidates = no.estimate[:, 0] + np.outer([1, -1], reach)
    distance = np.abs((candidates - part.coefficient.estimate[:, 0]) ** 2 - own[:, 2])
    truth = np.where(distance[0] < distance[1], candidates[0], candidates[1])
    assert distance.min(axis=0).max() < 1e-9
    inside = (part.coefficient.conf_low[:, 0] <= truth) & (truth <= part.coefficient.conf_high[:, 0])
    np.testing.assert_array_equal(own[:, 0], inside)
    effect_error = (part.effect.estimate[:, 0] - (truth - 10.0)) ** 2
    np.testing.assert_allclose(keys["reml", "effect", "conditional SD"][:, 2], effect_error, rtol=1e-6)


def test_monte_carlo_errors_count_simulations_not_groups():
    found = coverage((20, 20, 2, 2), simulations=40, estimators=["complete_pooling", "reml"])
    k = found.keys.index(("reml", "coefficient", "conditional SD"))
    by_simulation = found.figures[:, k, 2:, 0].mean(axis=1)
    r = row(found, "reml", "coefficient", "conditional SD", 2)
    assert r["coverage"] == by_simulation.mean()
    assert r["coverage_error"] == pytest.approx(np.std(by_simulation, ddof=1) / np.sqrt(40), rel=1e-12)
    assert r["zero_width"] == np.mean(found.figures[:, k, 2:, 1] == 0)
    assert 0 < r["zero_width"] < 1  # some spreads are estimated as zero
    again = coverage((20, 20, 2, 2), simulations=10, estimators=["complete_pooling", "reml"])
    np.testing.assert_array_equal(again.figures, found.figures[:10])


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(OptionError, match="simulations is 1"):
        coverage(SIZES, simulations=1)
    with pytest.raises(OptionError, match="a list of names"):
        coverage(SIZES, estimators="reml")
    with pytest.raises(OptionError, match="There is no estimator 'rmel'"):
        coverage(SIZES, estimators=["rmel"])


def test_an_interrupt_keeps_what_is_finished(monkeypatch):
    calls = []

    def stop(*arguments):
        calls.append(None)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return run_estimator(*arguments)

    whole = coverage((9, 9, 9), simulations=7, estimators=["reml"])
    monkeypatch.setattr(coverages, "run_estimator", stop)
    with pytest.warns(RuntimeWarning, match="Interrupted after 7 of 50 simulations"):
        found = coverage((9, 9, 9), simulations=50, estimators=["reml"])
    np.testing.assert_array_equal(found.figures, whole.figures)


def test_small_groups_miss_the_truth_as_often_as_their_errors_leave_out():
    # 150 simulations: conditional SD < coefficient SE < full Bayes, by more than twice the error of each difference
    found = coverage(SIZES, simulations=150, estimators=["reml", "exact"])
    own = np.flatnonzero(np.array(SIZES) == 2)
    held = {key: found.figures[:, k][:, own, 0].mean(axis=1) for k, key in enumerate(found.keys)}
    conditional = held["reml", "coefficient", "conditional SD"]
    henderson = held["reml", "coefficient", "coefficient SE"]
    bayes = held["exact", "coefficient", "posterior SD"]
    for less, more in ((conditional, henderson), (henderson, bayes)):
        difference = more - less
        assert difference.mean() > 2 * np.std(difference) / np.sqrt(150)
    assert 0.75 < conditional.mean() < 0.88


@pytest.mark.slow
def test_coverage_of_the_small_ones_among_twelve_groups():
    # stated: conditional SD near 82 %, coefficient SE near 86 %, full Bayes near 95 to 96 %; 3 Monte Carlo errors and
    # half a unit of the rounded figure. Truth: tau 1, sigma 5, mean 0, new means each time; default priors.
    found = coverage(SIZES, simulations=2000)
    for estimator, kind, low, high in (
        ("reml", "conditional SD", 0.82, 0.82),
        ("reml", "coefficient SE", 0.86, 0.86),
        ("exact", "posterior SD", 0.95, 0.96),
        ("no_pooling", "sampling SE", 0.95, 0.95),
    ):
        r = row(found, estimator, "coefficient", kind, 2)
        slack = 0.005 + 3 * r["coverage_error"]
        assert low - slack < r["coverage"] < high + slack, (estimator, kind, r["coverage"])
    fixed = row(found, "fixed_prior", "coefficient", "curvature SD, prior and dispersion held", 2)
    conditional = row(found, "reml", "coefficient", "conditional SD", 2)
    assert fixed["coverage"] == pytest.approx(conditional["coverage"], abs=0.002)  # a plugged prior misses as much
    # pooling pays: the squared error of small groups, against their own means' sigma^2 / n
    own = row(found, "no_pooling", "coefficient", "sampling SE", 2)
    assert abs(own["squared_error"] - 12.5) < 4 * own["squared_error_error"]
    assert conditional["squared_error"] < 0.15 * own["squared_error"]

"""The path picture. Rungs: closed form (its ends, its marks), then what the view says."""

import numpy as np
import pytest

import workbench as wb
from tests.corpus import DATA
from workbench.errors import ComparisonError
from workbench.plots import path, prints
from workbench.plots.varying import pick

SLEEP = DATA / "datasets/sleepstudy.csv"


def test_the_path_runs_from_no_pooling_to_complete_pooling_through_the_blup():
    formula = "Reaction ~ Days + (Days | Subject)"
    names = ["complete_pooling", "no_pooling", "reml", "penalized"]
    comparison = wb.compare(formula, SLEEP, names)
    for term in ("(Intercept)", "Days"):
        v = pick(comparison, term)
        seen = path.view(comparison, v)
        alone, pooled, reml = (
            comparison.fits[name].group_effects[0].coefficient.estimate[:, v.column]
            for name in ("no_pooling", "complete_pooling", "reml")
        )
        spread = np.ptp(alone)
        assert np.abs(seen.coefficients[0] - alone).max() < 0.02 * spread  # the axis ends at 300 times what is known
        assert np.abs(seen.coefficients[-1] - pooled).max() < 0.02 * spread
        assert (np.diff(seen.strength) > 0).all()
        mark = seen.marks[0]
        part = comparison.fits["reml"].components[0]
        assert mark.value == pytest.approx(comparison.fits["reml"].sigma ** 2 / part.covariance[v.column, v.column])
        at = [np.interp(np.log(mark.value), np.log(seen.strength), c) for c in seen.coefficients.T]
        assert np.abs(np.array(at) - reml).max() < 0.002 * spread  # linear between points of the curve


def test_full_bayes_mark_is_the_posterior_median():
    """With known standard errors lambda is 1/tau^2, so its quantiles are those of tau, turned over."""
    schools = {"y": [28, 8, -3, 7, -1, 1, 18, 12], "se": [15, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    priors = {"sd": "HalfNormal(10)"}
    comparison = wb.compare(
        "y ~ 1 + (1 | g)", schools, ["exact", "penalized"], se="se", priors=priors,
        options={"penalized": {"penalty": 0.02}},
    )  # fmt: skip
    mark = path.view(comparison, pick(comparison)).marks[-1]
    exact = comparison.fits["exact"]
    quantiles = exact.posterior.parameter("sd(g, (Intercept))").cdf(np.array([mark.high, mark.value, mark.low]) ** -0.5)
    assert quantiles == pytest.approx([0.025, 0.5, 0.975], abs=0.015)  # four Monte Carlo errors of 20,000 draws


def test_marks_of_cross_validation_are_the_fits_own():
    given = {"penalized": {"penalty": "cv"}}
    comparison = wb.compare("Reaction ~ Days + (1 | Subject)", SLEEP, ["penalized"], options=given)
    seen = path.view(comparison, pick(comparison))
    assert seen.marks[0].value == pytest.approx(comparison.fits["penalized"].diagnostics["lambda"][0], rel=1e-9)
    assert "rows left out" in seen.marks[0].label
    assert seen.strength[0] < seen.marks[0].value < seen.strength[-1]


def test_an_infinite_lambda_is_said_and_not_drawn():
    path_of_data = DATA / "datasets/Dyestuff2.csv"
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", path_of_data, ["reml", "penalized"])
    seen = path.view(comparison, pick(comparison))
    assert seen.marks[0].value == np.inf
    assert "Not on the axis, being infinite or far outside: REML" in seen.caption
    assert len(comparison.plot.path().lines) == 6 + 1  # six batches, one entry of the legend, no mark
    with pytest.raises(ComparisonError, match="no path"):
        wb.compare("Yield ~ 1 + (1 | Batch)", path_of_data, ["reml"]).plot.path()


def test_reports_draw_no_path_of_very_many_columns(monkeypatch):
    """Cross-validation of thousands of columns would keep a report waiting; asked for by name it is drawn."""
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 5.0, 8.0], "g": list("aabbccdd")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "penalized"])
    assert "path" in [made.stem for made in prints(comparison)]
    monkeypatch.setattr(path, "COLUMNS", 3)
    assert "path" not in [made.stem for made in prints(comparison)]
    assert path.view(comparison, pick(comparison)).coefficients.shape[1] == 4

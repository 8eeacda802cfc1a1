"""Choose your own prior: pooled by hand from the rows, and REML's estimates by the public function.

Rungs: own + (1 - kept) (mean - own), kept = sd^2 / (sd^2 + se^2), of one varying intercept;
lme4's residual SD of dyestuff.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from test_lab import cells, number, shown

import workbench as wb
from workbench.errors import OptionError
from workbench.lab.controls import values
from workbench.lab.datasets import INTERCEPTS
from workbench.lab.drawing import Dots
from workbench.lab.pages import prior
from workbench.words import percent


def rows_of(key, group, response):
    table = list(csv.DictReader(Path(f"models/{key}/data.csv").read_text("utf-8").splitlines()))
    levels = sorted({row[group] for row in table}, key=lambda level: (len(level), level))
    return {level: np.array([float(r[response]) for r in table if r[group] == level]) for level in levels}


def column(found, name):
    return {level: number(row[name]) for level, row in cells(found.numbers[0]).items()}


def drawn(found):
    """The circles of the first picture, by group, top row first."""
    dots = next(m for m in found.drawings[0].rows[0][0].marks if isinstance(m, Dots) and m.label == "under your prior")
    return dots.x


@pytest.mark.parametrize(("mean", "sd"), [(1500.0, 30.0), (1527.5, 5.0), (1600.0, 120.0)])
def test_groups_stand_between_their_own_value_and_the_priors_mean(mean, sd):
    groups = rows_of("dyestuff", "Batch", "Yield")
    own = np.array([y.mean() for y in groups.values()])
    sigma = 49.5101  # lme4
    kept = sd**2 / (sd**2 + sigma**2 / 5)
    found = shown("prior", data="dyestuff", mean=mean, sd=sd, dispersion="reml")
    np.testing.assert_allclose(drawn(found), mean + kept * (own - mean), rtol=1e-6)
    assert f"keep {percent(kept)} of their own deviation" in found.says[0]
    np.testing.assert_allclose(list(column(found, "own value").values()), own, rtol=5e-4)


def test_known_standard_errors_stay_known():
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    se = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    found = shown("prior", data="eight_schools", mean=2, sd=10)
    np.testing.assert_allclose(drawn(found), 2 + 100 / (100 + se**2) * (y - 2), rtol=1e-12)
    assert "dispersion" not in {c.name for c in prior.controls({"data": "eight_schools"})}


@pytest.mark.parametrize("key", INTERCEPTS)
def test_remls_mean_and_sd_give_remls_estimates(key):
    step = next(
        s for s in prior.PAGE.show(values(prior.controls({"data": key}), {"data": key})).steps if "REML" in s.label
    )
    found = shown("prior", data=key, **step.change)
    assert "These are REML's estimates: no group differs by more than rounding." in found.says
    assert set(column(found, "difference").values()) == {0.0}
    reml = wb.fit(prior.dataset(key).design.formula.text, f"models/{key}/data.csv", "reml", se=se_of(key))
    np.testing.assert_allclose(drawn(found), reml.coefficients["estimate"], rtol=1e-9)


def se_of(key):
    return "se" if key in ("eight_schools", "baseball") else None


def test_bayesglms_own_residual_variance_keeps_a_gap():
    """The README's figure of the twelve groups, 0.00021."""
    remls = {"mean": repr(prior.ground("twelve_groups").mean), "sd": repr(prior.ground("twelve_groups").sd)}
    found = shown("prior", data="twelve_groups", dispersion="em", **remls)
    assert not any("no group differs" in s for s in found.says)
    assert "The largest difference from REML is 0.0002146" in found.says[1]
    assert any("the residual variance alone makes the difference" in s for s in found.says)
    assert not any("residual variance alone" in s for s in shown("prior", dispersion="em", mean=1).says)


@pytest.mark.parametrize("key", INTERCEPTS)
def test_the_ends_of_the_slider_are_complete_and_no_pooling(key):
    asked = {c.name: c for c in prior.controls({"data": key})}
    none = shown("prior", data=key, sd=asked["sd"].low, mean=asked["mean"].value)
    assert set(np.round(drawn(none), 9)) == {round(asked["mean"].value, 9)}
    steps = {s.label: s.change for s in none.steps}
    nearly = shown("prior", data=key, **steps["Nearly complete pooling"])
    wide = shown("prior", data=key, **steps["Nearly no pooling"])
    own = np.array([number(row["own value"]) for row in cells(wide.numbers[0]).values()])
    assert np.ptp(drawn(nearly)) < 0.01 * np.ptp(own)
    assert np.abs(drawn(wide) - own).max() < 0.04 * np.ptp(own)


def test_agreement_is_best_at_remls_sd_and_marks_where_the_prior_is():
    base = prior.ground("twelve_groups")
    sd, largest, typical = prior.differences("twelve_groups", base.mean, "reml")
    assert sd[np.argmin(typical)] == pytest.approx(base.sd)
    assert largest.min() < 1e-12
    groups = rows_of("twelve_groups", "group", "samples")
    own, n = np.array([y.mean() for y in groups.values()]), np.array([len(y) for y in groups.values()])
    reml = base.maximised
    for k in (3, 10, len(sd) - 1):
        kept = sd[k] ** 2 / (sd[k] ** 2 + 5.079419534901061**2 / n)
        gap = base.mean + kept * (own - base.mean) - reml
        assert largest[k] == pytest.approx(np.abs(gap).max(), rel=1e-6)
        assert typical[k] == pytest.approx(np.sqrt((gap**2).mean()), rel=1e-6)


def test_a_prior_outside_the_sliders_is_refused_with_its_range():
    with pytest.raises(OptionError, match="SD of the prior is '-1', but must be a number from 0 to"):
        shown("prior", data="dyestuff", sd=-1)
    with pytest.raises(OptionError, match="There is no table 'sleepstudy' for this page"):
        shown("prior", data="sleepstudy")

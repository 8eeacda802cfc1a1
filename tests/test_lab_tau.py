"""The tau axis: conditional means and the restricted likelihood of eight schools by hand; figures of the literature.

Rungs: Gelman et al. (Bayesian Data Analysis, section 5.5): E[theta_j | tau, y] and p(y | tau) in closed form; the
posterior's share below 5 that is published for HalfCauchy(5); lme4's SDs of the sleep study; the path walked point by
point.
"""

import numpy as np
import pytest
from test_lab import cells, number, shown

import workbench as wb
from workbench.lab.drawing import Dots, Line
from workbench.lab.pages import tau

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SE = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def conditional(at):
    """Population value and schools, given tau; and the log restricted likelihood."""
    weight = 1 / (SE**2 + at**2)
    mu = weight @ Y / weight.sum()
    schools = (Y / SE**2 + mu / at**2) / (1 / SE**2 + 1 / at**2) if at else np.full(8, mu)
    log = 0.5 * np.log(weight).sum() - 0.5 * np.log(weight.sum()) - 0.5 * weight @ (Y - mu) ** 2
    return mu, schools, log


def dots(found, label):
    marks = [m for row in found.drawings[0].rows for panel in row for m in panel.marks]
    return next(m for m in marks if isinstance(m, Dots) and m.label == label)


@pytest.mark.parametrize("at", [0.0, 0.3, 2.75, 8.0, 20.0])
def test_schools_stand_at_their_conditional_means(at):
    found = shown("tau", data="eight_schools", tau=at)
    _, schools, log = conditional(at)
    np.testing.assert_allclose(dots(found, "estimate at your τ").y, schools, rtol=1e-9)
    shares = [number(row["at your τ"]) for row in cells(found.numbers[0]).values()]
    np.testing.assert_allclose(shares, schools, rtol=6e-4)
    relative = 100 * np.exp(log - conditional(0.0)[2])  # REML's tau is zero
    assert number(found.says[1].split(" %")[0].rsplit(" ", 1)[1]) == pytest.approx(relative, rel=6e-3)


def test_a_tau_is_inside_or_outside_the_intervals_that_are_named():
    base = tau.ground("eight_schools", 0)
    _, high = base.path.likely
    assert 2 * (conditional(0.0)[2] - conditional(high)[2]) == pytest.approx(3.8414588, abs=1e-4)
    for at, likely, middle in [
        (0.0, "inside", "outside"), (5.0, "inside", "inside"), (13.0, "inside", "outside"),
        (20.0, "outside", "outside"),
    ]:  # fmt: skip
        found = shown("tau", data="eight_schools", tau=at)
        assert f": {likely} the 95 % profile interval" in found.says[1]
        assert f"It is {middle} the posterior's middle 95 %" in found.says[2]
        assert ("never holds 0" in found.says[2]) == (at == 0)
    assert "puts 75.1 % below it" in shown("tau", data="eight_schools", tau=5).says[2]


def test_posterior_means_are_those_of_exact():
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", "models/dyestuff/data.csv", "exact")
    found = cells(shown("tau", data="dyestuff").numbers[0])
    for level, mean in zip(fit.coefficients["level"], fit.coefficients["estimate"], strict=True):
        assert number(found[level]["posterior mean"]) == pytest.approx(mean, rel=5e-4)


@pytest.mark.parametrize(("term", "sd"), [("(Intercept)", 24.7407), ("Days", 5.9221)])
def test_the_sleep_study_has_a_path_by_term_and_meets_reml(term, sd):
    found = shown("tau", data="sleepstudy", term=term, tau=sd)
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", "models/sleepstudy/data.csv", "reml")
    mine = fit.coefficients.query("term == @term")["estimate"]
    np.testing.assert_allclose(dots(found, "estimate at your τ").y, mine, rtol=2e-4)
    assert number(found.says[1].split(" %")[0].rsplit(" ", 1)[1]) == pytest.approx(100, abs=1e-4)
    assert any("no posterior on this page" in s for s in found.says)
    assert "posterior mean" not in found.numbers[0].columns


@pytest.mark.parametrize(("key", "column"), [("twelve_groups", 0), ("sleepstudy", 0), ("sleepstudy", 1)])
def test_one_point_asked_for_lies_on_the_path_that_is_walked(key, column):
    """A search that starts at REML's estimate ends where one that comes along the path does."""
    base = tau.ground(key, column)
    term = {"term": tau.dataset(key).design.blocks[0].terms[column]} if key == "sleepstudy" else {}
    scale = np.ptp(base.path.coefficients[-1])
    for k in (0, 1, 20, 50, len(base.path.tau) - 2):
        at = float(base.path.tau[k])
        found = shown("tau", data=key, tau=repr(at), **term)
        np.testing.assert_allclose(
            dots(found, "estimate at your τ").y, base.path.coefficients[k], rtol=0, atol=2e-5 * scale
        )


def test_steps_go_where_estimators_put_tau():
    steps = {s.label: float(s.change["tau"]) for s in shown("tau", data="dyestuff").steps}
    assert steps["τ = REML's"] == pytest.approx(42.0006, rel=1e-5)  # lme4
    assert steps["τ = ML's"] == pytest.approx(37.2603, rel=1e-5)
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", "models/dyestuff/data.csv", "exact")
    assert steps["τ = posterior median"] == pytest.approx(fit.posterior.deviation(0).quantile(np.array([0.5]))[0])
    assert steps["τ = 0"] == 0
    for at in steps.values():
        assert shown("tau", data="dyestuff", tau=repr(at)).says


def test_posterior_and_prior_are_drawn_on_one_scale():
    found = shown("tau", data="eight_schools", tau=1)
    lines = {m.label: m for m in found.drawings[0].rows[1][0].marks if isinstance(m, Line)}
    x, prior = lines["its prior"].x, lines["its prior"].y
    posterior = lines["posterior of τ"].y
    assert posterior.max() == pytest.approx(1)
    np.testing.assert_allclose(prior / prior[0], 1 / (1 + (x / 5) ** 2), rtol=1e-9)
    # posterior / prior is the likelihood of tau, with mu integrated out under Normal(0, 5)
    covariance = [np.diag(SE**2 + t**2) + 25 for t in (0.0, 10.0)]
    logs = [-0.5 * (np.linalg.slogdet(V)[1] + Y @ np.linalg.solve(V, Y)) for V in covariance]
    ratio = np.interp(10.0, x, posterior / prior) / (posterior / prior)[0]
    assert ratio == pytest.approx(np.exp(logs[1] - logs[0]), rel=2e-3)

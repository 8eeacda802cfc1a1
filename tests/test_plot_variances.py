"""The picture of the variance parameters. Rungs: closed form (balanced one-way REML), R's figures, the fits."""

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior
from scipy.optimize import minimize_scalar
from scipy.stats import beta

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.inference.reml_profile import reml_profiles
from workbench.plots import likely_spreads, variances
from workbench.plots.marginals import Marginal, parameter_prior
from workbench.priors import Prior


@pytest.fixture(scope="module")
def dyestuff():
    names = ["reml", "ml", "boundary_avoiding", "em", "exact"]
    return wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", names)


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["reml", "fixed_prior"])


def test_remls_profile_of_a_balanced_one_way_table_is_that_of_its_sums_of_squares():
    """-2 log L_R = J(n-1) log s2 + (J-1) log(s2 + n t2) + SSW/s2 + SSB/(s2 + n t2) (Searle et al. 1992, sec. 3.8)."""
    rng = np.random.default_rng(2)
    J, n = 8, 4
    y = rng.normal(size=J)[:, None] * 1.5 + rng.normal(size=(J, n))
    within, between = ((y - y.mean(axis=1)[:, None]) ** 2).sum(), n * J * y.mean(axis=1).var()
    found = reml_profiles(build_design("y ~ 1 + (1 | g)", {"y": y.ravel(), "g": np.repeat(np.arange(J), n)}))

    def deviance(tau, log_s):
        s2 = np.exp(2 * log_s)
        one = s2 + n * tau**2
        return J * (n - 1) * np.log(s2) + (J - 1) * np.log(one) + within / s2 + between / one

    def of_tau(tau):
        return minimize_scalar(
            lambda x: deviance(tau, x), bounds=(-3, 3), options={"xatol": 1e-10}, method="bounded"
        ).fun

    def of_sigma(sigma):
        best = max((between / (J - 1) - sigma**2) / n, 0.0) ** 0.5
        return deviance(best, np.log(sigma))

    tau, sigma = found["sd(g, (Intercept))"], found["sigma"]
    s2 = within / J / (n - 1)
    assert sigma.estimate == pytest.approx(s2**0.5, rel=1e-7)
    assert tau.estimate == pytest.approx(((between / (J - 1) - s2) / n) ** 0.5, rel=1e-7)
    for profile, of in ((tau, of_tau), (sigma, of_sigma)):
        least = of(profile.estimate)
        for end in (profile.low, profile.high):
            assert of(end) - least == pytest.approx(3.841459, abs=1e-5)
        far = np.array([np.exp((least - of(value)) / 2) for value in profile.value])
        np.testing.assert_allclose(profile.relative, far, atol=1e-6)


def test_rows_hold_what_the_fits_say(dyestuff):
    view = variances.view(dyestuff)
    assert [panel.name for panel in view.panels] == ["sd(Batch, (Intercept))", "sigma"]
    assert [panel.title for panel in view.panels] == ["SD of intercepts by Batch", "residual SD, sigma"]
    assert view.labels == ("exact full Bayes", "REML", "ML", "boundary avoiding", "REML, EM")
    for panel, value in zip(view.panels, (lambda f: f.components[0].sd[0], lambda f: f.sigma), strict=True):
        rows = {row.estimator: row for row in panel.rows}
        for name in ("reml", "ml", "boundary_avoiding", "em"):
            assert rows[name].value == float(value(dyestuff.fits[name]))
            assert np.isfinite(rows[name].low) == (name == "reml")
        exact, k = dyestuff.fits["exact"].parameters, dyestuff.fits["exact"].parameters.names.index(panel.name)
        assert rows["exact"].value == exact.estimates.estimate[k]
        assert (rows["exact"].low, rows["exact"].high) == (exact.estimates.conf_low[k], exact.estimates.conf_high[k])
    # lme4 1.1: VarCorr(lmer(Yield ~ 1 + (1 | Batch), Dyestuff)): 42.001, 49.510
    assert [round(panel.rows[0].value, 3) for panel in view.panels] == [42.001, 49.51]
    assert "SD of intercepts by Batch: REML 42 (15.66 to 101.1); ML 37.26" in view.alt


def test_the_curve_is_the_exact_posterior_with_its_prior(dyestuff):
    panel = variances.view(dyestuff).panels[0]
    posterior = dyestuff.fits["exact"].posterior.parameter(panel.name)
    np.testing.assert_allclose(panel.curve, posterior.density(panel.x), rtol=1e-12)
    prior = parameter_prior(panel.name, dyestuff.fits["exact"].priors)
    np.testing.assert_allclose(panel.prior, np.exp([prior.log_density(x) for x in panel.x]), rtol=1e-12)
    assert (panel.kind, panel.prior_label) == ("posterior", str(prior))
    assert panel.x[0] == 0.0  # not where there is nothing


def test_without_a_posterior_stands_remls_profile(sleep):
    view = variances.view(sleep)
    names = ["sd(Subject, (Intercept))", "sd(Subject, Days)", "cor(Subject, (Intercept), Days)", "sigma"]
    assert [panel.name for panel in view.panels] == names
    assert {panel.kind for panel in view.panels} == {"profile"}
    assert "Curves: profiles of the REML criterion" in view.caption
    assert view.labels == ("REML",)  # the fixed prior's variances are REML's
    profiles = reml_profiles(sleep.design)
    for panel in view.panels:
        at = profiles[panel.name]
        np.testing.assert_allclose(np.interp(at.value, panel.x, panel.curve), at.relative, atol=1e-9)
        assert (panel.rows[0].low, panel.rows[0].high) == (at.low, at.high)
        assert at.low < at.estimate < at.high
        assert panel.limits[0] <= at.low
        assert at.high <= panel.limits[1]
    only = variances.view(sleep, [v for v in variances_terms(sleep) if v.term == "Days"])
    assert [panel.name for panel in only.panels] == ["sd(Subject, Days)", "sigma"]


def variances_terms(comparison):
    from workbench.plots.varying import varying

    return varying(comparison)


def test_an_estimate_of_zero_has_an_open_interval():
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["reml"])
    view = variances.view(comparison)
    row = view.panels[0].rows[0]
    assert (row.value, row.low) == (0.0, 0.0)
    assert row.high == pytest.approx(2.514, abs=1e-3)
    assert "REML's interval reaches the limit of what is possible: SD of intercepts by Batch." in view.caption


def test_counts_have_a_profile_interval_and_no_sigma():
    table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    comparison = wb.compare("cbind(s, f) ~ 1 + (1 | g)", table, ["complete_pooling", "laplace"], family="binomial")
    view = variances.view(comparison)
    assert [panel.name for panel in view.panels] == ["sd(g, (Intercept))"]
    assert [row.estimator for row in view.panels[0].rows] == ["laplace"]
    assert view.panels[0].kind == ""
    (row,) = view.panels[0].rows
    deviance = held_deviance(
        comparison.design
    )  # the interval: where it lies chi-squared's 95 % quantile above its least
    assert deviance(row.value) == pytest.approx(min(deviance(t) for t in np.linspace(0, 4, 81)), abs=1e-2)
    np.testing.assert_allclose([deviance(t) - deviance(row.value) for t in (row.low, row.high)], 3.8415, atol=1e-3)
    assert "Bars of Laplace: 95 % profile intervals of its likelihood." in view.caption
    assert len(variances.draw(view)) == 1


def held_deviance(design):
    """-2 log of Laplace's likelihood at a held tau, its mean at its best: of one intercept by group, written out."""
    codes = design.blocks[0].codes
    successes, failures = (np.bincount(codes, design.weights * share) for share in (design.y, 1 - design.y))

    def negative(b, tau):
        total = 0.0
        for s, f in zip(successes, failures, strict=True):

            def joint(u, s=s, f=f):
                return (s + f) * np.log1p(np.exp(b + tau * u)) - s * (b + tau * u) + u * u / 2

            best = minimize_scalar(joint, bounds=(-8, 8), method="bounded", options={"xatol": 1e-10})
            p = 1 / (1 + np.exp(-(b + tau * best.x)))
            total += best.fun + np.log(1 + tau**2 * (s + f) * p * (1 - p)) / 2
        return 2 * total

    return lambda tau: minimize_scalar(negative, bounds=(-3, 3), args=(tau,), method="bounded").fun


def test_counts_without_quick_intervals_have_points_and_say_so(monkeypatch):
    monkeypatch.setattr(likely_spreads, "OF_COUNTS", 2)
    table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    view = variances.view(wb.compare("cbind(s, f) ~ 1 + (1 | g)", table, ["laplace"], family="binomial"))
    assert not np.isfinite(view.panels[0].rows[0].low)
    assert "Laplace: drawn without an interval" in view.caption
    assert "Bars of Laplace" not in view.caption


def test_large_models_keep_the_point_alone(monkeypatch, sleep):
    monkeypatch.setattr(variances, "QUICK", ((2, 10),))
    view = variances.view(sleep)
    assert all(panel.kind == "" and not np.isfinite(panel.rows[0].low) for panel in view.panels)
    assert "REML has its point alone here" in view.caption
    with pytest.raises(OptionError, match="No fit here estimates variances"):
        variances.view(wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2, 3, 4], "g": list("aabb")}, ["complete_pooling"]))


def test_the_prior_of_a_correlation_is_a_stretched_beta():
    """Lewandowski et al. 2009: under LKJ(eta), (r + 1) / 2 is Beta(eta - 1 + q/2, the same)."""
    made = Marginal("cor(g, a, b)", "", 0, 0, 0, 0, Prior("LKJ", (2.0,)), 3, None)
    r = np.array([-0.5, 0.0, 0.9])
    np.testing.assert_allclose(made.prior_density(r), beta.pdf((r + 1) / 2, 2.5, 2.5) / 2, rtol=1e-12)
    assert parameter_prior("cor(g, a, b)", {"cor(g)": "LKJ(2)"}) == Prior("LKJ", (2.0,))
    assert parameter_prior("cor(gg, a, b)", {"cor(g)": "LKJ(2)"}) is None


def test_drawing_puts_rows_beneath_the_curve(dyestuff):
    view = variances.view(dyestuff)
    axes = variances.draw(view)
    assert [text.get_text() for text in axes[0].get_yticklabels()] == list(view.labels)
    places = dict(zip(view.labels, axes[0].get_yticks(), strict=True))
    for ax, panel in zip(axes, view.panels, strict=True):
        marks = {
            c.get_label(): np.asarray(c.get_offsets())[0].tolist() for c in ax.collections if c.get_label() in places
        }
        assert marks == {row.label: [row.value, places[row.label]] for row in panel.rows}
        assert max(places.values()) < 0
        curve = next(line for line in ax.lines if len(line.get_xdata()) == len(panel.x))
        assert curve.get_ydata().max() == pytest.approx(1.0)


def test_crossed_factors_and_labels_of_draws():
    view = variances.view(crossed())
    assert [panel.title for panel in view.panels] == [
        "SD of intercepts by a", "SD of intercepts by b", "residual SD, sigma",
    ]  # fmt: skip
    assert len(variances.draw(view)) == 3


def test_intervals_of_draws_come_from_their_parameters(sleep):
    view = variances.view(with_posterior(sleep))
    sigma = view.panels[-1]
    row = next(row for row in sigma.rows if row.estimator == "hierarchical")
    assert (row.low, row.high) == pytest.approx((row.value * (1 - 0.12 * 1.96), row.value * (1 + 0.12 * 1.96)))
    assert "equal-tailed 95 %" in view.caption


def test_estimates_that_hardly_differ_are_not_drawn_apart(monkeypatch):
    monkeypatch.setattr(variances, "QUICK", ((1, 0),))  # points alone, without intervals
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(5_000), 4)
    y = rng.normal(size=5_000)[codes] + rng.normal(size=20_000)
    seen = variances.view(wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["ml", "em"]))
    for panel in seen.panels:
        values = np.array([row.value for row in panel.rows])
        assert np.ptp(values) < 1e-3 * values.mean()
        low, high = panel.limits
        assert low < 0.9901 * values.min()
        assert high > 1.0099 * values.max()
        assert high - low < 0.03 * values.mean()
    axes = variances.draw(seen)
    axes[0].get_figure(root=True).draw_without_rendering()
    assert [ax.xaxis.get_offset_text().get_text() for ax in axes] == [""] * len(axes)


def test_pinned():
    """One drawing as it stood when it was last looked at."""
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    view = variances.view(wb.compare("y ~ 1 + (1 | g)", table, ["reml", "ml"]))
    assert view.title == "The variance parameters: where estimators put them"
    rows = [[(row.label, round(row.value, 3)) for row in panel.rows] for panel in view.panels]
    assert rows == [[("REML", 2.466), ("ML", 1.993)], [("REML", 0.707), ("ML", 0.707)]]
    first = variances.draw(view)[0]
    assert first.get_yticks() == pytest.approx([-0.152, -0.342])
    assert first.get_title() == "SD of intercepts by g"


def test_a_priors_powers_of_ten_are_written_as_elsewhere():
    assert variances._written("HalfStudentT(3, 1.8e-09)") == "HalfStudentT(3, 1.8e-9)"
    assert variances._written("Normal(0, 2e+06)") == "Normal(0, 2e6)"

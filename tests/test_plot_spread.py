"""The spread of group values. Rungs: closed form (law of total variance of balanced one-way REML), the fits."""

import numpy as np
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior

import workbench as wb
from workbench.errors import OptionError
from workbench.plots import spread
from workbench.plots.total_variance import information_inverse, own_parts, shrunken_parts
from workbench.plots.varying import pick

TRUTH = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}


@pytest.fixture(scope="module")
def twelve():
    names = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
    return wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", names, truth=TRUTH)


@pytest.fixture(scope="module")
def dyestuff():
    return wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["no_pooling", "reml", "ml"])


def bars(view):
    return {bar.label: bar for bar in view.bars}


def test_of_balanced_one_way_reml_both_sums_hold(dyestuff):
    """tau^2 + s^2/n = MSB/n, v(shrunken) = k tau^2, mean conditional variance = (1 - k) tau^2, of lme4's variances."""
    view = spread.view(dyestuff, pick(dyestuff))
    tau2, noise = 1764.05, 2451.25 / 5
    own, reml = bars(view)["own values (REML)"].parts, bars(view)["REML"].parts
    assert (own.first, own.second) == pytest.approx((tau2, noise), rel=1e-5)
    means = dyestuff.design.y.reshape(6, 5).mean(axis=1)
    assert own.whole == pytest.approx(means.var(ddof=1), rel=1e-12)
    assert own.total == pytest.approx(own.whole, rel=1e-7)
    k = tau2 / (tau2 + noise)
    assert (reml.first, reml.second) == pytest.approx((k * tau2, (1 - k) * tau2), rel=1e-5)
    assert reml.total == pytest.approx(reml.whole, rel=1e-7)
    assert (own.off, reml.off) == (0.0, 0.0)
    assert "REML: variance of estimates and mean conditional variance add up to the τ², to rounding." in view.caption
    ml = bars(view)["ML"].parts  # whose tau^2 is smaller: v(shrunken) = k^2 MSB / n, which does not add up
    assert ml.off > 0.05
    assert bars(view)["ML"].text == f"{ml.first:.4g} + {ml.second:.4g} = {ml.total:.4g}; τ² {ml.whole:.4g}"


def test_balanced_random_slopes_hold_too():
    """Every subject has the same ten days: own coefficients have Sigma + s^2 (Z'Z)^-1, which REML matches."""
    sleep = wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["no_pooling", "reml"])
    Z = np.column_stack([np.ones(10), np.arange(10)])
    inverse = np.linalg.inv(Z.T @ Z)
    fit, own = sleep.fits["reml"], sleep.alone.group_effects[0].coefficient.estimate
    for k, term in enumerate(("(Intercept)", "Days")):
        v = pick(sleep, term)
        np.testing.assert_allclose(information_inverse(sleep.design, v), inverse[k, k], rtol=1e-10)
        parts = own_parts("reml", fit, v, own[:, k])
        assert parts.second == pytest.approx(fit.sigma**2 * inverse[k, k], rel=1e-10)
        assert parts.total == pytest.approx(np.var(own[:, k], ddof=1), rel=1e-7)
        shrunken = shrunken_parts("reml", fit, v)
        assert shrunken.total == pytest.approx(fit.components[0].covariance[k, k], rel=1e-7)
    apart = wb.compare("Reaction ~ Days + (Days || Subject)", DATA / "datasets/sleepstudy.csv", ["reml"])
    np.testing.assert_allclose(information_inverse(apart.design, pick(apart, "Days")), inverse[1, 1], rtol=1e-10)


def test_where_they_do_not_hold_the_figures_say_so(twelve):
    view = spread.view(twelve, pick(twelve))
    own = bars(view)["own values (REML)"]
    fit, sizes = twelve.fits["reml"], twelve.design.blocks[0].sizes
    noise = float(np.mean(fit.sigma**2 / sizes))
    tau2 = float(fit.components[0].sd[0] ** 2)
    assert (own.parts.first, own.parts.second) == pytest.approx((tau2, noise), rel=1e-12)
    raw = float(twelve.fits["no_pooling"].group_effects[0].coefficient.estimate[:, 0].var(ddof=1))
    assert own.parts.whole == pytest.approx(raw, rel=1e-12)
    assert own.parts.off == pytest.approx((raw - tau2 - noise) / raw, rel=1e-9)
    assert "add up to 7.144, where the variance of own values is 16.59" in view.caption
    assert [bar.label for bar in view.bars] == ["own values (REML)", "REML"]  # the fixed prior's tau is REML's


def test_strips_hold_the_values_with_their_sds(twelve):
    view = spread.view(twelve, pick(twelve))
    strips = {s.label: s for s in view.strips}
    assert list(strips) == [
        "true values", "own values (sample means)", "new groups (REML)", "REML", "fixed prior",
    ]  # fmt: skip
    wanted = {
        "true values": TRUTH["value"],
        "own values (sample means)": twelve.fits["no_pooling"].group_effects[0].coefficient.estimate[:, 0],
        "REML": twelve.fits["reml"].group_effects[0].coefficient.estimate[:, 0],
    }
    for label, values in wanted.items():
        np.testing.assert_allclose(strips[label].values, np.sort(values), rtol=1e-12)
        assert (strips[label].mean, strips[label].sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    new = strips["new groups (REML)"]
    assert new.sd == pytest.approx(float(twelve.fits["reml"].components[0].sd[0]))
    assert new.values.mean() == pytest.approx(new.mean)
    assert new.values[-1] == pytest.approx(new.mean + 1.7317 * new.sd, rel=1e-4)  # normal quantile of 23/24
    low, high = view.limits
    assert all((s.values >= low).all() and (s.values <= high).all() for s in view.strips)


def test_a_spread_of_zero():
    comparison = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["no_pooling", "reml"])
    view = spread.view(comparison, pick(comparison))
    reml = next(s for s in view.strips if s.label == "REML")
    assert (reml.sd, len(set(reml.values))) == (0.0, 1)
    assert bars(view)["REML"].text == "0 + 0 = 0 = τ²"
    spread.draw(view)


def test_drawing_puts_dots_bars_and_sums_on_the_axes(twelve):
    view = spread.view(twelve, pick(twelve))
    strips, sums = spread.draw(view)
    for k, (strip, dots) in enumerate(zip(view.strips, strips.collections, strict=True)):
        offsets = np.asarray(dots.get_offsets())
        np.testing.assert_allclose(offsets[:, 0], strip.values)
        assert (abs(offsets[:, 1] + k) < 0.5).all()
        line = strips.lines[k if k == 0 else 2 * k - 1]  # between them, the rules
        np.testing.assert_allclose(line.get_xdata(), [strip.mean - strip.sd, strip.mean + strip.sd])
    assert strips.texts[0].get_text() == "SD 0.6556"
    widths = [patch.get_width() for patch in sums.patches]
    np.testing.assert_allclose(widths, [part for bar in view.bars for part in (bar.parts.first, bar.parts.second)])
    assert [line.get_xdata()[0] for line in sums.lines] == [bar.parts.whole for bar in view.bars]
    assert [text.get_text() for text in sums.texts] == [bar.text for bar in view.bars]
    assert [text.get_text() for text in sums.get_yticklabels()] == ["own values (REML)", "REML"]


def test_crossed_factors_have_no_own_values():
    view = spread.view(crossed(), pick(crossed(), group="b"))
    assert [s.kind for s in view.strips] == ["new", "estimator", "estimator"]
    assert [bar.label for bar in view.bars] == ["REML", "full Bayes"]
    assert "Own values" not in view.caption
    assert "REML's estimates have an SD of" in view.caption


def test_counts_have_no_sampling_variances_by_rows():
    table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    comparison = wb.compare("cbind(s, f) ~ 1 + (1 | g)", table, ["no_pooling", "laplace"], family="binomial")
    view = spread.view(comparison, pick(comparison))
    assert [bar.label for bar in view.bars] == ["Laplace"]
    assert view.x_label == "intercept of share of s (logit scale)"
    with pytest.raises(OptionError, match="No fit here has a variance between groups"):
        spread.view(wb.compare("s ~ 1 + (1 | g)", table, ["complete_pooling"]), pick(comparison))


def test_posterior_variances_are_called_so(twelve):
    view = spread.view(with_posterior(twelve), pick(twelve))
    full = bars(view)["full Bayes"]
    assert full.names[1:] == ("mean posterior variance", "mean τ²")
    assert "A posterior variance of effects holds that of the population value" in view.caption
    assert "Posterior values of groups also covary, so that their sum is not E[τ² | y]" in view.caption
    assert not full.parts.lawful
    assert full.text.endswith(f"; mean τ² {full.parts.whole:.4g}")
    sums = spread.draw(view)[1]
    assert [line.get_xdata()[0] for line in sums.lines] == [bar.parts.whole for bar in view.bars if bar.parts.lawful]
    assert "covary" not in spread.view(twelve, pick(twelve)).caption


def test_of_many_groups_quantiles_are_drawn():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(3_000), 2)
    y = rng.standard_t(2, size=3_000)[codes] + rng.normal(size=6_000)
    many = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["reml"])
    view = spread.view(many, pick(many))
    assert all(len(s.values) == spread.DOTS for s in view.strips)
    own = view.strips[0]
    means = y.reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(own.values[100], np.quantile(means, 100.5 / 200), rtol=1e-12)
    assert own.sd == pytest.approx(means.std(ddof=1))
    assert "Dots: 200 quantiles of 3,000 levels of g" in view.caption
    assert (np.abs(own.aside) <= 1).all()


def test_odd_labels_and_a_given_axes():
    odd = {"y": [1.0, 3, 2, 6, 5, 1], "$g_1$": ["$x_1$", "$x_1$", "a\nb", "a\nb", "c", "c"]}
    comparison = wb.compare("y ~ 1 + (1 | `$g_1$`)", odd, ["reml"])
    ax = spread.style.new_axes()
    assert comparison.plot.spread(ax) is ax
    assert len(ax.figure.axes) == 2
    ax.figure.canvas.draw()  # not read as mathematics
    assert ax.get_title(loc="left") == "Spread of the mean of y by $g_1$"


def test_pinned():
    """One drawing as it stood when it was last looked at."""
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["no_pooling", "reml"])
    view = spread.view(comparison, pick(comparison))
    assert [bar.text for bar in view.bars] == [
        "6.083 + 0.25 = 6.333 = variance of own values", "5.843 + 0.2401 = 6.083 = τ²",
    ]  # fmt: skip
    strips = spread.draw(view)[0]
    dots = [np.asarray(c.get_offsets())[:, 0].round(3).tolist() for c in strips.collections]
    assert dots[0] == [1.5, 3.5, 6.5]
    assert dots[2] == [1.592, 3.513, 6.395]
    assert [text.get_text() for text in strips.texts] == ["SD 2.517", "SD 2.466", "SD 2.417"]


def test_sums_of_large_variances_are_written_as_their_axis_is():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(10), 5)
    y = 800 * rng.normal(size=10)[g] + 1400 * rng.normal(size=50)
    made = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": g}, ["no_pooling", "reml"])
    view = spread.view(made, pick(made))
    assert f"{round(view.bars[0].parts.second):,} = " in view.bars[0].text
    below = spread.draw(view)[1]
    below.figure.canvas.draw()
    assert not below.xaxis.get_offset_text().get_text()
    assert any(len(label.get_text()) > 6 and "," in label.get_text() for label in below.get_xticklabels())

"""Predictive checks. Rungs: statistics by pandas, p-values of a known law, wrong models found, the view's numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from corpus import design_of
from scipy import stats
from test_draws_tree import made_up

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.plots import predictive, prints
from workbench.priors import Prior
from workbench.sampling.checks import checks, some, statistics
from workbench.sampling.draws import Draws
from workbench.sampling.predictive import with_new_effects
from workbench.sampling.tree import Sampled


@pytest.fixture(scope="module")
def twelve():
    path = "samples ~ 1 + (1 | group)"
    design = design_of("twelve_groups--ri")
    fits = {name: run_estimator(name, design, Settings(seed=2), more) for name, more in
            (("reml", None), ("exact", {"draws": 300}))}  # fmt: skip
    return wb.Comparison(fits, title=path)


def held(design, mu, sigma, tau, draws=1_000):
    """Draws at one point: replications then have a law that can be written down."""
    full = np.ones((1, draws))
    effects = np.zeros((1, draws, len(design.blocks[0].levels), 1))
    drawn = Draws(
        mu * full[..., None], sigma * full, (tau * full[..., None],), (np.ones((1, draws, 1, 1)),), (effects,)
    )
    return Sampled(design, drawn, {}, seed=1)


# --- statistics ---------------------------------------------------------------------------------------


def test_statistics_are_those_of_a_table_grouped_by_pandas():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"y": rng.normal(size=30), "g": rng.integers(0, 5, 30), "w": rng.uniform(0.5, 2, 30)})
    design = build_design("y ~ 1 + (1 | g)", table, weights="w")
    y = rng.normal(size=(3, 30))
    found = statistics(design, y)
    for s in range(3):
        rows = table.assign(y=y[s], wy=table["w"] * y[s])
        sums = rows.groupby("g")[["wy", "w"]].sum()
        means = sums["wy"] / sums["w"]
        away = rows["y"] - means[rows["g"]].to_numpy()
        assert found["SD of group means"][s] == pytest.approx(means.std(), rel=1e-12)
        assert found["farthest group mean, its distance"][s] == pytest.approx(
            np.abs(means - means.mean()).max(), rel=1e-12
        )
        within = np.sqrt((rows["w"] * away**2).sum() / rows["w"].mean() / 25)
        assert found["SD within groups"][s] == pytest.approx(within, rel=1e-12)


def test_groups_of_one_row_have_no_spread_within():
    design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4], "g": list("abc")}, se=[1.0, 1, 1])
    assert set(statistics(design, np.ones((1, 3)))) == {"SD of group means", "farthest group mean, its distance"}


def test_replications_with_new_groups_have_the_law_of_the_model():
    # balanced, parameters held: (J - 1) SD^2 / (tau^2 + sigma^2 / n) ~ chi^2_{J-1}; within the same with J (n - 1)
    rng = np.random.default_rng(2)
    design = build_design("y ~ 1 + (1 | g)", {"y": rng.normal(size=48), "g": np.repeat(np.arange(8), 6)})
    between, _, within = checks(held(design, 3.0, 2.0, 0.7))
    variance = 0.7**2 + 2.0**2 / 6
    assert stats.kstest(7 * between.replicated**2 / variance, stats.chi2(7).cdf).pvalue > 0.001
    assert stats.kstest(40 * within.replicated**2 / 4.0, stats.chi2(40).cdf).pvalue > 0.001
    expected = stats.chi2(7).sf(7 * between.observed**2 / variance)
    assert between.p == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 1_000))
    table = wb.predictive_checks(held(design, 3.0, 2.0, 0.7))
    assert table.loc[0, "p"] == between.p
    assert table.loc[0, "high"] == pytest.approx(np.sqrt(variance * stats.chi2(7).ppf(0.975) / 7), rel=0.05)


def test_a_model_that_makes_other_data_is_found():
    rng = np.random.default_rng(3)
    u = rng.normal(size=40)
    u[7] = 14.0  # one group that no normal distribution of groups would make
    table = {"y": np.repeat(u, 5) + rng.normal(size=200), "g": np.repeat(np.arange(40), 5)}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 250}, seed=1)
    farthest = wb.predictive_checks(fit).set_index("statistic").loc["farthest group mean, its distance"]
    assert farthest["p"] < 0.01
    seen = predictive.view(wb.Comparison({"exact": fit}))
    assert seen.warnings == ("The model hardly makes such data: see farthest group mean, its distance.",)


def test_new_effects_have_each_draws_own_covariance():
    rng = np.random.default_rng(0)
    design = build_design(
        "y ~ x + (x | g)", {"y": rng.normal(size=900), "x": rng.normal(size=900), "g": np.arange(900) % 300}
    )
    drawn = with_new_effects(design, made_up(design), rng)
    for c, d in ((0, 3), (1, 20)):
        sd, R = drawn.sd[0][c, d], drawn.correlation[0][c, d]
        z = np.linalg.solve(np.linalg.cholesky(R), (drawn.effects[0][c, d] / sd).T)
        assert stats.kstest(z.ravel(), "norm").pvalue > 0.001
        assert abs(np.corrcoef(z)[0, 1]) < 4 / np.sqrt(300)


def test_some_draws_are_spread_over_all_chains_and_stay_together():
    design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3], "g": list("aabb")})
    drawn = made_up(design, 2, 30, every=3)
    found = some(drawn, 5)
    assert found.b.shape == (1, 5, 1)
    for k, (c, d) in enumerate([(0, 0), (0, 15), (1, 0), (1, 12), (1, 27)]):
        np.testing.assert_array_equal(found.b[0, k], drawn.b[c, d])
        np.testing.assert_array_equal(found.effects[0][0, k], drawn.effects[0][c, d // 3])


# --- pictures -----------------------------------------------------------------------------------------


def test_the_overlay_holds_densities_that_integrate_to_one(twelve):
    seen = predictive.view(twelve)
    shown = seen.overlay
    assert (shown.kind, shown.replicated.shape) == ("density", (50, 256))
    assert shown.observed.sum() * shown.width == pytest.approx(1, abs=1e-3)
    # at the frame's edges up to 0.4 % of the replications' values are outside
    np.testing.assert_allclose(shown.replicated.sum(axis=1) * shown.width, 1, atol=0.02)
    # against scipy's kernel estimate of the same bandwidth, to the binning's resolution
    y = twelve.design.y
    bandwidth = 0.9 * min(y.std(ddof=1), stats.iqr(y) / 1.34) * len(y) ** -0.2
    kde = stats.gaussian_kde(y, bandwidth / y.std(ddof=1))
    np.testing.assert_allclose(shown.observed, kde(shown.x), atol=0.01 * shown.observed.max())
    assert "p = 0." in seen.alt
    assert seen.estimator == "exact"


def counts(family):
    rng = np.random.default_rng(4)
    m = rng.integers(3, 9, 60)
    table = {"k": rng.binomial(m, 0.4), "m": m, "g": np.arange(60) % 6}
    response = "cbind(k, m - k)" if family == "binomial" else "k"
    design = build_design(f"{response} ~ 1 + (1 | g)", table, family)
    priors = {"(Intercept)": Prior("Normal", (0, 1)), "sd(g, (Intercept))": Prior("HalfNormal", (0.5,))}
    base = wb.fit("k ~ 1 + (1 | g)", table, "complete_pooling")
    sampled = Sampled(design, made_up(design, 4, 100), priors, seed=3)
    return wb.Comparison({"hierarchical": replace(base, estimator="hierarchical", design=design, sampled=sampled)})


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_bars_count_every_row_and_every_replication(family):
    comparison = counts(family)
    y = comparison.design.y
    for seen in (predictive.view(comparison), predictive.prior_view(comparison)):
        shown = seen.overlay
        assert shown.kind == "bars"
        assert shown.observed.sum() == 60
        place = np.floor(y * 20 + 1e-6).clip(max=19) if family == "binomial" else y // shown.width
        if shown.labels:  # 0, 1, 2 and 3, 4 to 7, ...
            place = np.floor(np.log2(np.maximum(y, 0.5))) + 1
        expected = np.bincount(place.astype(int), minlength=len(shown.x))
        np.testing.assert_array_equal(shown.observed, expected)
        assert (shown.replicated[0] <= shown.replicated[1]).all()
        assert (shown.replicated[1] <= shown.replicated[2]).all()
        predictive.draw(seen)


def test_counts_far_beyond_the_observed_ones_stand_in_bars_that_double():
    table = {"k": [0, 1, 2, 2, 5, 7], "g": list("aabbcc")}
    priors = {"(Intercept)": "Normal(4, 2)", "sd": "HalfNormal(0.01)"}
    fits = wb.compare("k ~ 1 + (1 | g)", table, ["exact"], family="poisson", priors=priors,
                      options={"exact": {"draws": 100}})  # fmt: skip
    shown = predictive.prior_view(fits).overlay
    assert shown.labels[:5] == ("0", "1", "2–3", "4–7", "8–15")
    assert shown.observed[:5].tolist() == [1, 1, 2, 2, 0]
    assert shown.observed.sum() == 6
    assert float(shown.labels[-1].split("–")[0].replace(",", "")) > 128  # exp(4 + 2) and more, which are foreseen
    axes = fits.plot.prior_predictive()
    assert [text.get_text() for text in axes.get_xticklabels()] == list(shown.labels[::2])


def test_pictures_are_reached_by_name_and_stand_in_reports(twelve):
    stems = [p.stem for p in prints(twelve)]
    assert stems[-2:] == ["posterior_predictive", "prior_predictive"]
    axes = twelve.plot.posterior_predictive().figure.axes
    assert len(axes) == 4
    line = axes[1].lines[0].get_xdata()[0]
    assert line == pytest.approx(checks(twelve.fits["exact"].sampled)[0].observed)
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert twelve.plot.prior_predictive(ax=ax, estimator="exact") is ax
    with pytest.raises(OptionError, match=r"no fit with draws of 'reml' here. There are: exact"):
        twelve.plot.posterior_predictive(estimator="reml")
    with pytest.raises(OptionError, match="No fit here has draws"):
        wb.Comparison({"reml": twelve.fits["reml"]}).plot.posterior_predictive()


def test_priors_that_cannot_be_drawn_from_leave_their_picture_out(twelve):
    flat = run_estimator("exact", twelve.design, Settings(priors={"sigma": "Flat()"}), {"draws": 100})
    stems = [p.stem for p in prints(wb.Comparison({"exact": flat}))]
    assert "posterior_predictive" in stems
    assert "prior_predictive" not in stems

"""The covariance of responses. Rungs: dense matrices, simulated responses, invariance to shifts, and the picture."""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

import workbench as wb
from workbench.errors import OptionError
from workbench.marginal_covariance import line_kernel, marginal_covariance, shifted
from workbench.plots import covariance, prints

SLEEP = pd.read_csv(DATA / "datasets/sleepstudy.csv", dtype={"Subject": str})


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, ["no_pooling", "reml", "ml"])


def test_it_is_the_kernel_of_a_random_line(sleep):
    fit = sleep.fits["reml"]
    rows = np.flatnonzero(SLEEP["Subject"] == "330")
    sd, rho = fit.components[0].sd, fit.components[0].correlation[0, 1]
    kernel = line_kernel(SLEEP["Days"].to_numpy()[rows], sd[0], sd[1], rho)
    np.testing.assert_allclose(marginal_covariance(fit, rows, residual=False), kernel, rtol=1e-12)
    np.testing.assert_allclose(marginal_covariance(fit, rows), kernel + fit.sigma**2 * np.eye(10), rtol=1e-12)
    apart = marginal_covariance(fit, [rows[0], np.flatnonzero(SLEEP["Subject"] == "331")[0]])
    assert apart[0, 1] == 0.0


def test_crossed_factors_and_weights_add_up():
    # V = Z_1 Z_1' tau_1^2 + Z_2 Z_2' tau_2^2 + sigma^2 W^-1 by dense indicator matrices
    rng = np.random.default_rng(1)
    table = {"g": rng.integers(0, 6, 60), "h": rng.integers(0, 5, 60), "w": rng.uniform(0.5, 2, 60)}
    table["y"] = rng.normal(size=6)[table["g"]] + rng.normal(size=5)[table["h"]] + rng.normal(size=60)
    fit = wb.fit("y ~ 1 + (1 | g) + (1 | h)", table, weights="w")
    tau2 = {part.group: part.covariance[0, 0] for part in fit.components}
    V = sum(tau2[name] * (table[name][:, None] == table[name]) for name in "gh") + np.diag(fit.sigma**2 / table["w"])
    np.testing.assert_allclose(marginal_covariance(fit, np.arange(60)), V, rtol=1e-12)


def test_shifting_x_changes_nothing_where_the_correlation_is_free_and_another_model_where_it_is_not():
    moved = SLEEP.assign(Days=SLEEP["Days"] - 4.5)
    rows = np.arange(10)
    for formula, same in (("Reaction ~ Days + (Days | Subject)", True), ("Reaction ~ Days + (Days || Subject)", False)):
        here, there = (wb.fit(formula, data, "reml") for data in (SLEEP, moved))
        one, other = (marginal_covariance(fit, rows) for fit in (here, there))
        if same:
            assert float(here.criterion) == pytest.approx(float(there.criterion), abs=1e-7)
            np.testing.assert_allclose(one, other, rtol=1e-5)
            part = here.components[0]
            found = shifted(part.sd[0], part.sd[1], part.correlation[0, 1], by=4.5)
            now = there.components[0]
            np.testing.assert_allclose(found, [now.sd[0], now.sd[1], now.correlation[0, 1]], rtol=1e-5)
        else:
            assert abs(float(here.criterion) - float(there.criterion)) > 1
            assert np.abs(one - other).max() > 100


def test_shifts_undo_each_other_and_keep_every_covariance():
    x = np.linspace(-3, 5, 7)
    theta = (1.7, 0.4, -0.6)
    there = shifted(*theta, by=2.5)
    np.testing.assert_allclose(line_kernel(x - 2.5, *there), line_kernel(x, *theta), rtol=1e-12)
    np.testing.assert_allclose(shifted(*there, by=-2.5), theta, rtol=1e-12)


def test_responses_drawn_from_the_model_have_this_covariance(sleep):
    fit = sleep.fits["reml"]
    part, x = fit.components[0], np.arange(10.0)
    rng = np.random.default_rng(2)
    u = rng.multivariate_normal(np.zeros(2), part.covariance, 40_000)
    y = u[:, :1] + u[:, 1:] * x + fit.sigma * rng.normal(size=(40_000, 10))
    V = marginal_covariance(fit, np.arange(10))
    error = np.sqrt((V**2 + np.outer(np.diag(V), np.diag(V))) / 40_000)
    assert (np.abs(np.cov(y.T) - V) < 4.5 * error).all()


def test_what_has_no_covariance_says_so(sleep):
    with pytest.raises(OptionError, match="no_pooling has no variance components"):
        marginal_covariance(sleep.fits["no_pooling"], [0, 1])
    with pytest.raises(OptionError, match="has no level '999'"):
        covariance.view(sleep, level="999")
    with pytest.raises(OptionError, match="no grouping factor 'Day'"):
        covariance.view(sleep, group="Day")
    assert not covariance.applies(wb.compare("Reaction ~ 1 + (1 | Subject)", SLEEP, ["reml"]))


def test_the_picture_has_a_panel_per_estimator_in_the_order_of_x(sleep):
    shuffled = SLEEP.sample(frac=1, random_state=3)
    seen = covariance.view(wb.compare("Reaction ~ Days + (Days | Subject)", shuffled, ["reml", "ml"]), level="330")
    assert seen.titles == ("REML", "ML")
    assert seen.labels == tuple("0123456789")
    rows = np.flatnonzero(SLEEP["Subject"] == "330")
    for matrix, name in zip(seen.matrices, ("reml", "ml"), strict=True):
        np.testing.assert_allclose(matrix, marginal_covariance(sleep.fits[name], rows), rtol=1e-6)
    assert "held at 0 it makes another model" in seen.caption
    axes = covariance.draw(seen)
    assert [ax.get_title() for ax in axes] == ["REML", "ML"]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), seen.matrices[1])
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim()
    assert "covariance" in [picture.stem for picture in prints(sleep)]


def test_fits_without_a_panel_of_their_own_are_named():
    comparison = wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, ["reml", "ml", "em", "henderson"])
    seen = covariance.view(comparison)
    assert seen.titles == ("REML", "ML")
    assert "The same as under REML they are under REML, EM and given variances." in seen.caption

"""Slopes and origins, without a browser.

Rungs: lme4's figures of the sleep study with and without a correlation; the algebra of a moved origin, under which the
correlated model is one and the same; at the origin where its correlation is zero, the uncorrelated model is it too.
"""

import gc
import json
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from workbench.lab import origins, render
from workbench.lab.controls import values
from workbench.lab.datasets import Brought
from workbench.lab.drawing import Dots, Line, Segments
from workbench.lab.pages import PAGES, slopes
from workbench.lab.uploads import SHELF, read_table

LME4 = Path(__file__).parent / "data" / "lmer"
SLEEP = Path(__file__).parent.parent / "models" / "sleepstudy" / "data.csv"


def shown(**asked):
    query = {name: str(value) for name, value in asked.items()}
    return slopes.PAGE.show(values(slopes.PAGE.controls(query), query))


def cells(found):
    made = found.numbers[0]
    return {key: dict(zip(made.columns, row, strict=True)) for key, row in made.rows}


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def dots(found, shape, drawing=0):
    return next(m for m in found.drawings[drawing].rows[0][0].marks if isinstance(m, Dots) and m.shape == shape)


@pytest.mark.parametrize(("correlated", "case"), [(True, "slope"), (False, "slope_doublebar")])
def test_at_zero_the_fits_are_lme4s(correlated, case):
    r = json.loads((LME4 / f"sleepstudy--{case}.json").read_text())["REML"]
    found = origins.at(origins.table("sleepstudy"), correlated, 0.0)
    assert found.criterion == pytest.approx(r["criterion"], rel=1e-9)
    assert found.sigma == pytest.approx(r["sigma"], rel=1e-6)
    np.testing.assert_allclose(found.population, list(r["fixef"].values()), rtol=1e-8)
    coefficients = r["coef"]["Subject"]
    np.testing.assert_allclose(found.estimate, coefficients["values"], rtol=1e-5)
    assert coefficients["levels"] == list(origins.table("sleepstudy").levels)


def test_the_page_shows_rs_figures():
    with_it, without = (cells(shown())[key] for key in ("correlated", "uncorrelated"))
    wanted = {"intercept": "251.4", "slope": "10.47", "SD of intercepts": "24.74", "SD of slopes": "5.922",
              "correlation": "0.0656", "residual SD": "25.59", "REML criterion": "1743.628"}  # fmt: skip
    assert {key: with_it[key] for key in wanted} == wanted
    assert (without["SD of intercepts"], without["SD of slopes"]) == ("25.05", "5.988")


@pytest.mark.parametrize("key", ["sleepstudy", "radon"])
@pytest.mark.parametrize("origin", [-0.4, 1.3])
def test_the_correlated_model_follows_the_origin(key, origin):
    """Intercepts become a + b c, and their covariance T S T' with T = [[1, c], [0, 1]]; nothing else changes."""
    zero, moved = origins.at(origins.table(key), True, 0.0), origins.at(origins.table(key), True, origin)
    T = np.array([[1.0, origin], [0.0, 1.0]])
    assert moved.criterion == pytest.approx(zero.criterion, abs=1e-7)
    np.testing.assert_allclose(moved.covariance, T @ zero.covariance @ T.T, rtol=1e-5)
    np.testing.assert_allclose(moved.estimate, zero.estimate @ T.T, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(moved.population, T @ zero.population, rtol=1e-7)


@pytest.mark.parametrize("key", ["sleepstudy", "radon"])
def test_both_models_are_one_where_the_correlation_is_zero_and_only_there(key):
    special = origins.uncorrelated_origin(origins.table(key))
    assert abs(origins.at(origins.table(key), True, special).correlation) < 1e-4
    one, other = origins.at(origins.table(key), True, special), origins.at(origins.table(key), False, special)
    assert other.criterion == pytest.approx(one.criterion, abs=1e-6)
    np.testing.assert_allclose(other.estimate, one.estimate, rtol=1e-4, atol=1e-5)
    places, excess = origins.curve(origins.table(key))
    assert (excess > -1e-7).all()  # a model inside another is never better
    assert places[np.argmin(excess)] == special
    assert excess[np.abs(places - special) > 0.3 * np.ptp(places)].min() > 0.5


def test_at_another_origin_the_uncorrelated_model_is_another():
    frame = np.char.strip(np.genfromtxt(SLEEP, delimiter=",", skip_header=1, dtype=str), '"')
    rows = {"y": frame[:, 0].astype(float), "x": frame[:, 1].astype(float) - 6.0, "g": frame[:, 2]}
    fit = wb.fit("y ~ x + (x || g)", rows, estimator="reml")
    row = cells(shown(origin_sleepstudy=6, correlated=0))["uncorrelated"]
    assert number(row["REML criterion"]) == pytest.approx(fit.criterion, abs=6e-4)
    assert number(row["SD of slopes"]) == pytest.approx(fit.variance["sdcor"][1], rel=1e-3)
    start = wb.fit("y ~ x + (x || g)", rows | {"x": rows["x"] + 6.0}, estimator="reml")
    far = [f.coefficients.query("term == 'x'")["estimate"].to_numpy() for f in (fit, start)]
    assert number(row["slopes moved since Days = 0, at most"]) == pytest.approx(abs(far[0] - far[1]).max(), rel=6e-3)
    said = shown(origin_sleepstudy=6, correlated=0).says
    assert any(s.startswith("With the correlation the origin does not matter") for s in said)
    assert any(s.startswith("Without the correlation the origin matters") for s in said)


def test_own_points_are_regressions_of_each_group_at_the_origin():
    found = shown(origin_sleepstudy=2.5)
    data = origins.table("sleepstudy")
    mine = data.codes == 7
    slope, height = np.polyfit(data.x[mine] - 2.5, data.y[mine], 1)
    own = dots(found, "x")
    assert (own.x[7], own.y[7]) == pytest.approx((height, slope))


def test_counties_of_one_floor_have_no_own_point_but_remls():
    found = shown(data="radon")
    data = origins.table("radon")
    one_floor = np.array([len(np.unique(data.x[data.codes == j])) == 1 for j in range(len(data.levels))])
    assert np.array_equal(np.isnan(dots(found, "x").y), one_floor)
    assert np.isfinite(dots(found, "+").y).all()
    assert f"{one_floor.sum()} groups of 85" in found.says[0]
    lone = data.levels[int(np.argmax(one_floor))]
    labels = [
        m.label for m in shown(data="radon", group_radon=lone).drawings[1].rows[0][0].marks if isinstance(m, Line)
    ]
    assert labels == ["population", "REML"]


def test_arrows_come_and_go():
    with_them, without = (shown(arrows=a).drawings[0].rows[0][0].marks for a in (1, 0))
    assert any(isinstance(m, Segments) for m in with_them)
    assert not any(isinstance(m, Segments) for m in without)


def test_the_ends_of_the_slider_can_be_shown():
    for key in ("sleepstudy", "radon"):
        low, high, _ = origins.span(origins.table(key))
        for origin in (low, high):
            assert "slope" in render.part(slopes.PAGE, {"data": key, f"origin_{key}": str(origin)})


def test_a_table_without_a_slope_gets_a_sentence_and_the_menu():
    html = render.whole(slopes.PAGE, PAGES, {"data": "dyestuff"})
    assert "Choose sleepstudy or radon" in html
    assert "Origin of Days" in html


def test_a_table_that_was_brought_runs_here_whatever_its_columns_are_called():
    """Far from zero, with a group whose predictor never changes."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(9), 6)
    year = 1990.0 + rng.integers(0, 20, 54)
    year[group == 3] = 2001.0
    y = 3 + rng.normal(0, 2, 9)[group] + 0.3 * (year - 2000) * rng.normal(1, 0.5, 9)[group] + rng.normal(0, 1, 54)
    lines = [f"{a:.6f},{b:.0f},<{c}>" for a, b, c in zip(y, year, group, strict=True)]
    table = read_table("mine.csv", "\n".join(['"y & more",the year,"who?"', *lines]).encode())
    key = Brought(SHELF.put(table), 0, 2, 1).key
    found = shown(data=key)
    low, high, _ = origins.span(origins.table(key))
    assert (low, high) == (year.min() - np.ptp(year) / 2, year.max() + np.ptp(year) / 2)
    rows = {"y": np.array([f"{v:.6f}" for v in y]).astype(float), "x": year - low, "g": [f"<{k}>" for k in group]}
    fit = wb.fit("y ~ x + (x | g)", rows, estimator="reml")
    assert number(cells(found)["correlated"]["REML criterion"]) == pytest.approx(fit.criterion, rel=1e-6)
    assert "1 group of 9 have" not in found.says[0]
    assert "1 group of 9 has" in found.says[0]
    assert "&lt;3&gt;" in render.part(slopes.PAGE, {"data": key, f"group_{key}": "<3>"})
    design = origins.datasets.chosen({"data": key}, origins.datasets.SLOPES).design
    assert design in origins._TABLES
    kept = len(origins._TABLES)
    table.designs.clear()
    del design, found
    gc.collect()
    assert len(origins._TABLES) == kept - 1  # nothing of it is left behind

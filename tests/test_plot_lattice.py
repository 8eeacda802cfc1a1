"""Regressions of groups. Rungs: closed form (least squares by hand), coefficients of the fits, drawing against view."""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA
from posterior_like import with_posterior

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.plots import lattice, prints, style
from workbench.plots.covariates import predictors, raw
from workbench.plots.varying import pick

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
SLEEP = DATA / "datasets/sleepstudy.csv"


def table(J=8, n=9, seed=2):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(J), n), np.tile(np.linspace(1, 5, n), J) + rng.uniform(0, 0.3, J * n)
    t, z = np.array(["low", "mid", "top"])[rng.integers(0, 3, J * n)], rng.normal(size=J * n)
    y = (
        3
        + rng.normal(size=J)[g]
        + (1 + 0.5 * rng.normal(size=J)[g]) * x
        + 0.4 * z
        + (t == "top")
        + rng.normal(size=J * n)
    )
    return pd.DataFrame({"y": y, "x": x, "t": t, "z": z, "g": [f"g{j}" for j in g]})


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, FOUR)


@pytest.fixture(scope="module")
def seen(sleep):
    return lattice.view(sleep, pick(sleep))


def lines(panel):
    return {line.estimator: line.y for line in panel.lines}


# --- columns read back --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "terms",
    ["x", "scale(x)", "center(x)", "poly(x, 2)", "poly(x, 1)", "log(x)", "log2(x)", "log10(x)", "log1p(x)",
     "exp(x)", "sqrt(x)", "I(x / 10)", "I(2 * (x - 3))", "I(1 / x)", "scale(log(x))", "poly(scale(x), 3)", "I(-x)",
     "z + x:z + x"],
)  # fmt: skip
def test_a_numeric_column_is_read_back_off_what_was_made_of_it(terms):
    data = table()
    found = raw(build_design(f"y ~ {terms} + (1 | g)", data), "x")
    np.testing.assert_allclose(found.values, data["x"], rtol=1e-9)
    assert found.levels is None


@pytest.mark.parametrize("terms", ["I(x^2)", "abs(x)", "I(x + z)", "x:z"])
def test_what_cannot_be_undone_is_not_read_back(terms):
    assert raw(build_design(f"y ~ {terms} + (1 | g)", table()), "x") is None


@pytest.mark.parametrize("terms", ["t", "0 + t", "t * x", "factor(t)"])
def test_labels_are_read_back_off_contrasts_and_indicators(terms):
    data = table()
    found = raw(build_design(f"y ~ {terms} + (1 | g)", data), "t")
    assert found.table(found.values) == data["t"].tolist()


def test_labels_of_an_ordered_column_are_read_back_off_its_polynomials():
    data = table()
    data["t"] = pd.Categorical(data["t"], categories=["low", "mid", "top"], ordered=True)
    found = raw(build_design("y ~ t + (1 | g)", data), "t")
    assert found.table(found.values) == data["t"].tolist()


def test_a_column_that_varies_alone_is_read_back_off_its_block():
    data = table()
    found = predictors(build_design("y ~ 1 + (x | g)", data))
    np.testing.assert_array_equal(found["x"].values, data["x"])


# --- the view -----------------------------------------------------------------------------------------


def test_lines_are_those_of_the_coefficients(sleep, seen):
    part = sleep.fits["reml"].group_effects[0].coefficient.estimate
    levels = list(sleep.design.blocks[0].levels)
    b = sleep.fits["complete_pooling"].population.estimate
    for panel in seen.panels:
        j = levels.index(panel.level)
        np.testing.assert_allclose(lines(panel)["reml"], part[j, 0] + part[j, 1] * seen.grid, rtol=1e-12)
        np.testing.assert_allclose(lines(panel)["complete_pooling"], b[0] + b[1] * seen.grid, rtol=1e-12)
        rows = sleep.design.blocks[0].codes == j
        slope, intercept = np.polyfit(sleep.design.X[rows, 1], sleep.design.y[rows], 1)
        np.testing.assert_allclose(lines(panel)["no_pooling"], intercept + slope * seen.grid, rtol=1e-9)
        np.testing.assert_array_equal(panel.y, sleep.design.y[rows])
        np.testing.assert_array_equal(panel.x, np.arange(10))
    assert (seen.x_label, seen.y_label) == ("Days", "Reaction")
    assert (seen.grid[0], seen.grid[-1]) == (0, 9)


def test_panels_stand_in_the_order_of_the_slopes(sleep, seen):
    slopes = sleep.fits["reml"].group_effects[0].coefficient.estimate[:, 1]
    levels = sleep.design.blocks[0].levels
    assert [panel.level for panel in seen.panels] == [levels[j] for j in np.argsort(slopes)]
    assert [seen.panels[0].level, seen.panels[-1].level] == ["335", "308"]  # as lme4's coef()
    assert "by REML's coefficient of Days" in seen.caption
    assert "Subject 370: 18.06 by itself, 15.29 under REML" in seen.caption


@pytest.mark.parametrize("formula", ["y ~ poly(x, 2) + t + z + (scale(x) | g)", "y ~ log(x) * t + z + (1 | g)"])
def test_curves_are_what_predict_says_of_new_rows(formula):
    """The same figures by the long way: a table of new rows, through predict()."""
    data = table()
    comparison = wb.compare(formula, data, ["complete_pooling", "no_pooling", "reml"])
    view = lattice.view(comparison, pick(comparison))
    for panel in view.panels[:3]:
        own = data[data["g"] == panel.level]
        commonest = own["t"].value_counts().sort_index().idxmax()
        new = {"x": view.grid, "t": [commonest] * len(view.grid), "z": [own["z"].mean()] * len(view.grid)}
        new["g"] = [panel.level] * len(view.grid)
        for name in ("complete_pooling", "no_pooling", "reml"):
            expected = comparison.fits[name].predict(pd.DataFrame(new))["estimate"]
            np.testing.assert_allclose(lines(panel)[name], expected, rtol=1e-9, err_msg=name)
    assert "z at its mean in the group" in view.caption
    assert "t at the group's commonest level" in view.caption


def test_an_intercept_alone_gives_parallel_lines():
    comparison = wb.compare("y ~ x + (1 | g)", table(), ["no_pooling", "reml"])
    view = lattice.view(comparison, pick(comparison))
    first, last = lines(view.panels[0]), lines(view.panels[-1])
    assert np.ptp(last["reml"] - first["reml"]) == pytest.approx(0, abs=1e-12)
    assert "by REML's intercept" in view.caption
    b = comparison.fits["reml"].population.estimate
    np.testing.assert_allclose(first["population"], b[0] + b[1] * view.grid, rtol=1e-12)
    assert "dotted: population of REML" in view.caption


def test_counts_are_drawn_on_the_scale_of_the_response_with_their_offset():
    rng = np.random.default_rng(4)
    g, x, e = np.repeat(np.arange(6), 15), np.tile(np.linspace(-1, 1, 15), 6), rng.uniform(1, 3, 90)
    y = rng.poisson(e * np.exp(1 + 0.5 * rng.normal(size=6)[g] + 0.5 * x))
    data = {"y": y, "x": x, "g": g, "e": e}
    comparison = wb.compare("y ~ x + offset(log(e)) + (1 | g)", data, ["no_pooling", "laplace"], family="poisson")
    view = lattice.view(comparison, pick(comparison))
    c = comparison.fits["laplace"].group_effects[0].coefficient.estimate[:, 0]
    slope = comparison.fits["laplace"].population.estimate[1]
    for panel in view.panels:
        j = int(panel.level)
        predictor = c[j] + slope * view.grid + np.log(e[g == j]).mean()
        np.testing.assert_allclose(lines(panel)["laplace"], np.exp(predictor), rtol=1e-10)
    assert "the offset at its mean" in view.caption
    assert "log link" in view.caption


def test_shares_lie_between_nought_and_one():
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(6), 12), np.tile(np.linspace(-2, 2, 12), 6)
    k = rng.binomial(10, 1 / (1 + np.exp(-(rng.normal(size=6)[g] + x))))
    data = {"k": k, "m": 10 - k, "x": x, "g": g}
    comparison = wb.compare("cbind(k, m) ~ x + (1 | g)", data, ["laplace"], family="binomial")
    view = lattice.view(comparison, pick(comparison))
    made = np.concatenate([line.y for panel in view.panels for line in panel.lines])
    assert 0 < made.min() < made.max() < 1
    assert view.y_label == "share of k"
    np.testing.assert_allclose(view.panels[0].y, k[g == int(view.panels[0].level)] / 10)


def test_beside_another_factor_its_effects_are_left_out():
    data = table()
    data["h"] = np.tile(list("abcd"), 18)
    comparison = wb.compare("y ~ x + (x | g) + (1 | h)", data, ["reml"])
    view = lattice.view(comparison, pick(comparison, group="g"))
    part = comparison.fits["reml"].group_effects[0].coefficient.estimate
    j = list(comparison.design.blocks[0].levels).index(view.panels[0].level)
    np.testing.assert_allclose(lines(view.panels[0])["reml"], part[j, 0] + part[j, 1] * view.grid, rtol=1e-12)
    assert "h at the population's value" in view.caption
    assert "no fit without pooling" in view.caption
    other = lattice.view(comparison, pick(comparison, group="h"))
    assert len(other.panels) == 4
    assert [p.stem for p in prints(comparison) if p.stem.startswith("lattice")] == ["lattice_g", "lattice_h"]


def test_of_many_groups_those_moved_farthest_and_an_even_choice_are_drawn():
    comparison = wb.compare("y ~ x + (x | g)", table(J=60), ["no_pooling", "reml"])
    view = lattice.view(comparison, pick(comparison))
    reml, alone = (comparison.fits[n].group_effects[0].coefficient.estimate[:, 1] for n in ("reml", "no_pooling"))
    levels = comparison.design.blocks[0].levels
    drawn = [list(levels).index(panel.level) for panel in view.panels]
    assert len(drawn) == 20
    assert set(np.argsort(-np.abs(reml - alone))[:5]) <= set(drawn)
    assert np.all(np.diff(reml[drawn]) > 0)
    rest = [j for j in np.argsort(reml) if j not in set(np.argsort(-np.abs(reml - alone))[:5])]
    assert {rest[0], rest[-1]} <= set(drawn)  # the ends of the even choice
    assert "Of 60 groups 20 are drawn: the 5 moved farthest" in view.caption


def test_further_estimators_have_lines_when_they_are_named(sleep):
    posterior = with_posterior(wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR))
    assert not lattice.applies(posterior)  # no numeric column
    view = lattice.view(sleep, pick(sleep), ["reml", "fixed_prior"])
    assert view.estimators == ("no_pooling", "complete_pooling", "reml", "fixed_prior")
    part = sleep.fits["fixed_prior"].group_effects[0].coefficient.estimate
    j = list(sleep.design.blocks[0].levels).index(view.panels[3].level)
    np.testing.assert_allclose(lines(view.panels[3])["fixed_prior"], part[j, 0] + part[j, 1] * view.grid, rtol=1e-12)


def test_a_group_without_an_own_slope_has_no_line_of_its_own():
    data = table().drop(index=range(1, 9))  # g0 keeps one row
    comparison = wb.compare("y ~ x + (x | g)", data, ["no_pooling", "reml"])
    view = lattice.view(comparison, pick(comparison))
    panel = next(p for p in view.panels if p.level == "g0")
    assert [line.estimator for line in panel.lines] == ["population", "reml"]
    lattice.draw(view)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda c: c.plot.lattice(group="subject"), "Did you mean 'Subject'"),
        (lambda c: c.plot.lattice(estimators=["rmel"]), "Did you mean 'reml'"),
        (lambda c: c.plot.lattice(covariate="Day"), "Did you mean 'Days'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(sleep, ask, said):
    with pytest.raises(OptionError, match=said):
        ask(sleep)


def test_without_a_numeric_column_there_is_no_lattice():
    comparison = wb.compare("y ~ t + (1 | g)", table(), ["reml"])
    assert not lattice.applies(comparison)
    with pytest.raises(OptionError, match="numeric column"):
        comparison.plot.lattice()


# --- the drawing --------------------------------------------------------------------------------------


def test_the_drawing_has_the_views_rows_and_lines_in_reading_order(seen):
    axes = lattice.draw(seen)
    assert [ax.get_title() for ax in axes] == [panel.level for panel in seen.panels]
    for ax, panel in zip(axes, seen.panels, strict=True):
        np.testing.assert_allclose(ax.collections[0].get_offsets(), np.column_stack([panel.x, panel.y]))
        assert [line.get_label() for line in ax.lines] == ["no pooling", "complete pooling", "REML"]
        for drawn, line in zip(ax.lines, panel.lines, strict=True):
            np.testing.assert_allclose(drawn.get_ydata(), line.y)
        assert ax.get_ylim() == axes[0].get_ylim()
        assert ax.get_xlim() == axes[0].get_xlim()
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["no pooling", "complete pooling", "REML"]
    dashes = {str(line._unscaled_dash_pattern) for line in axes[0].lines}
    assert len(dashes) == 3  # told apart without colour


def test_legend_and_axis_label_do_not_run_into_each_other(seen):
    figure = lattice.draw(seen)[0].figure
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    for ax in figure.axes:
        if ax.axison:
            assert not legend.overlaps(ax.xaxis.label.get_window_extent()) or not ax.get_xlabel()
            assert not any(legend.overlaps(t.get_window_extent()) for t in ax.get_xticklabels() if t.get_text())


def test_a_small_case_drawn_is_these_numbers():
    data = {"y": [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 0.0, 3.0, 6.0], "x": [0, 1, 2] * 3, "g": list("aaabbbccc")}
    comparison = wb.compare("y ~ x + (1 | g)", data, ["complete_pooling", "no_pooling", "reml"])
    axes = lattice.draw(lattice.view(comparison, pick(comparison)))
    ends = {
        ax.get_title(): [[round(float(y), 6) for y in line.get_ydata()[[0, -1]]] for line in ax.lines] for ax in axes
    }
    assert ends["a"][0] == [0.0, 4.0]  # mean 2, common slope 2
    assert ends["b"][0] == [2.0, 6.0]
    assert ends["c"][0] == [1.0, 5.0]
    assert ends["a"][1] == ends["b"][1] == [1.0, 5.0]


def test_a_given_axes_is_divided_and_strange_names_stay_as_they_are():
    data = table(J=4)
    data["g"] = data["g"].replace({"g0": "$x_1$", "g1": "a\nb", "g2": "very long " * 6})
    comparison = wb.compare("y ~ x + (x | g)", data, ["reml"])
    figure = style.new_figure(9, 4)
    ax = figure.add_subplot()
    assert comparison.plot.lattice(ax) is ax
    figure.canvas.draw()
    assert "$x_1$" in {a.get_title() for a in figure.axes}
    assert all("\n" not in a.get_title() for a in figure.axes)

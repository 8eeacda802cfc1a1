"""At the boundary: REML leaves zero where closed forms say, and the others move smoothly.

Rungs: analysis of variance of six batches of five (REML's tau^2 = (between - within) / 5, and zero where that is
negative); the slope of the restricted likelihood of tau^2 at zero, for eight schools; the published share of the
posterior below 5.
"""

import numpy as np
import polars as pl
import pytest
from test_lab import cells, number, shown

import workbench as wb
from workbench.lab.controls import values
from workbench.lab.drawing import Dots, Line, Segments
from workbench.lab.pages import boundary

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SE = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def squares():
    table = pl.read_csv("models/dyestuff2/data.csv")
    y = np.array([part["Yield"].to_numpy() for part in table.partition_by("Batch", maintain_order=True)])
    return 5 * y.mean(axis=1).var(ddof=1), y.var(axis=1, ddof=1).mean()


def test_balanced_groups_leave_zero_where_mean_squares_are_equal():
    between, within = squares()
    assert boundary.threshold("dyestuff2") == pytest.approx(np.sqrt(within / between), abs=2e-4)
    for factor in (0.5, 1.0, 1.3, 1.4, 2.0, 3.0):
        found = shown("boundary", data="dyestuff2", factor=factor)
        tau = np.sqrt(max(0.0, (factor**2 * between - within) / 5))
        assert number(cells(found.numbers[0])["reml"]["τ"]) == pytest.approx(tau, rel=6e-4)
        said = next(s for s in found.says if s.startswith("Mean squares"))
        assert [number(w) for w in said.split() if w[0].isdigit()] == pytest.approx(
            [factor**2 * between, within], rel=6e-4
        )


def test_schools_leave_zero_where_the_likelihood_begins_to_rise():
    """d log L / d tau^2 at zero is (sum w^2 (y - mu)^2 - sum w + sum w^2 / sum w) / 2."""
    w = SE**-2
    mu = w @ Y / w.sum()
    factor = np.sqrt((w.sum() - (w**2).sum() / w.sum()) / (w**2 @ (Y - mu) ** 2))
    assert boundary.threshold("eight_schools") == pytest.approx(factor, abs=2e-4)
    assert f"multiplied by {factor:.3f}." in shown("boundary").says[-1]


@pytest.mark.parametrize("key", boundary.OFFERED)
def test_zero_has_no_conditional_sd_and_others_have(key):
    found = shown("boundary", data=key)
    for row in cells(found.numbers[1]).values():
        assert number(row["REML's SD"]) == 0
        assert number(row["its SD"]) > 0
        assert number(row["posterior SD"]) > 0
    assert "REML puts τ at zero" in found.says[0]
    thick = [m for m in found.drawings[2].rows[0][0].marks if isinstance(m, Segments) and m.width == 4.0]
    assert np.ptp([thick[0].x, thick[0].to_x]) == pytest.approx(0, abs=1e-12)
    assert (thick[1].to_x - thick[1].x).min() > 1
    pulled = shown("boundary", data=key, factor=2.5)
    assert "REML puts τ at zero" not in pulled.says[0]
    assert all(number(row["REML's SD"]) > 0 for row in cells(pulled.numbers[1]).values())


def test_the_data_as_they_are_get_the_published_answers():
    found = boundary.answers("eight_schools", 1.0, "study")
    assert found.deviation.cdf(np.array([5.0]))[0] == pytest.approx(0.75072, abs=1e-5)
    table = cells(shown("boundary").numbers[0])
    avoiding = wb.fit("y ~ 1 + (1 | school)", "models/eight_schools/data.csv", "boundary_avoiding", se="se")
    assert number(table["boundary_avoiding"]["τ"]) == pytest.approx(avoiding.variance["sdcor"][0], rel=5e-4)
    assert table["reml"]["posterior below it"] == "0 %"
    assert table["median"]["posterior below it"] == "50.0 %"


def test_pulled_groups_are_those_that_were_pulled_by_hand():
    """Means at factor 2 about the common mean; the others' answers for these data by the public functions."""
    w = SE**-2
    mu = w @ Y / w.sum()
    table = {"y": mu + 2 * (Y - mu), "se": SE, "school": list("ABCDEFGH")}
    found = cells(shown("boundary", factor=2).numbers[1])
    priors = {"(Intercept)": "Normal(0, 5)", "sd": "HalfCauchy(5)"}
    for column, estimator, more in [
        ("REML", "reml", {}),
        ("boundary avoiding", "boundary_avoiding", {}),
        ("full Bayes", "exact", {"priors": priors}),
    ]:
        fit = wb.fit("y ~ 1 + (1 | school)", table, estimator, se="se", **more)
        mine = [number(found[school][column]) for school in "ABCDEFGH"]
        np.testing.assert_allclose(mine, fit.coefficients["estimate"], rtol=6e-4)


def test_reml_has_a_kink_and_the_others_none():
    for key in boundary.OFFERED:
        fine, reml, even, avoiding, middle = boundary.sweep(key, "study")
        leaves = boundary.threshold(key)
        assert (reml[fine < leaves - 1e-6] == 0).all()
        assert (np.diff(reml[fine >= leaves]) > 0).all()
        for smooth in (avoiding, middle[:, 1]):
            assert (smooth > 0).all()
            slope = np.diff(smooth) / np.diff(even)
            assert (slope > 0).all()
            assert np.abs(np.diff(slope)).max() < 0.25 * slope.max()
        steepest = (np.diff(reml) / np.diff(fine)).max()
        assert steepest > 3 * np.diff(avoiding).max() / (even[1] - even[0])


@pytest.mark.parametrize(("key", "factor"), [("eight_schools", 1.0), ("eight_schools", 3.0), ("eight_schools", 1.5)])
def test_the_profile_is_the_restricted_likelihood(key, factor):
    w = SE**-2
    mu = w @ Y / w.sum()
    y = mu + factor * (Y - mu)

    def log(tau):
        v = 1 / (SE**2 + tau**2)
        m = v @ y / v.sum()
        return 0.5 * np.log(v).sum() - 0.5 * np.log(v.sum()) - 0.5 * v @ (y - m) ** 2

    found = shown("boundary", data=key, factor=factor)
    marks = found.drawings[1].rows[0][0].marks
    line = next(m for m in marks if isinstance(m, Line) and m.label == "REML profile likelihood")
    true = np.array([log(t) for t in line.x])
    np.testing.assert_allclose(line.y, np.exp(true - true.max()), atol=3e-3)
    avoiding = next(m for m in marks if isinstance(m, Dots) and m.label == "boundary avoiding")
    share = np.exp(log(avoiding.x[0]) - max(true.max(), log(boundary.answers(key, factor, "study").tau("reml"))))
    assert number(found.says[1].split(" %")[0].rsplit(" ", 1)[1]) == pytest.approx(100 * share, rel=6e-3)


@pytest.mark.parametrize("prior", ["study", "half_normal", "flat"])
def test_the_prior_of_tau_can_be_chosen(prior):
    query = {"data": "dyestuff2", "prior": prior, "factor": "1"}
    found = boundary.PAGE.show(values(boundary.controls(query), query))
    named = {"study": "HalfStudentT(3, 3.72)", "half_normal": "HalfNormal(", "flat": "Flat()"}[prior]
    assert f"sd(Batch, (Intercept)) ~ {named}" in found.numbers[0].notes[0]
    medians = [boundary.answers("dyestuff2", 1.0, p).middle[1] for p in ("half_normal", "study", "flat")]
    assert medians == sorted(medians)  # shorter tails, smaller spreads

"""The lab's page of repetitions: closed forms of squared errors, and figures of the public function."""

import numpy as np
import pytest

import workbench as wb
from workbench.lab.controls import values
from workbench.lab.drawing import Dots
from workbench.lab.pages import cost


def asked(**query):
    query = {name: str(value) for name, value in query.items()}
    return values(cost.controls(query), query)


def number(text):
    return float(text.split()[0].replace("−", "-").replace(",", ""))


def test_expected_errors_are_those_of_the_known_spread():
    """By simulating the posterior mean itself, which needs no formula of the page's."""
    shown = cost.show(asked(between=2, within=3, sizes="4 9"))
    columns, rows = shown.numbers[0].columns, dict(shown.numbers[0].rows)
    rng = np.random.default_rng(5)
    for n in (4, 9):
        truth = rng.normal(0, 2, 400_000)
        own = truth + rng.normal(0, 3 / np.sqrt(n), 400_000)
        best = own * np.cov(truth, own)[0, 1] / own.var()  # the regression of the truth on the own mean
        row = dict(zip(columns, rows[f"n-{n}"], strict=True))
        assert number(row["own mean: within² / n"]) == pytest.approx(np.mean((own - truth) ** 2), rel=0.01)
        assert number(row["shrunken"]) == pytest.approx(np.mean((best - truth) ** 2), rel=0.01)
        assert number(row["common mean: between²"]) == 4


def test_without_spread_shrinking_takes_everything():
    shown = cost.show(asked(between=0))
    assert {row[4] for _, row in shown.numbers[0].rows} == {"0"}


@pytest.mark.parametrize("sizes", ["5x6", "100x6, 2x6"])
def test_repetitions_are_those_of_the_public_function(sizes):
    told = []
    given = asked(sizes=sizes, times=20, seed=3, within=2)
    shown = cost.simulate(cost.take(given), lambda text, share: told.append(share))
    assert told[-1] == 1.0
    assert sorted(told) == told
    found = wb.coverage(given["sizes"], 1.0, 2.0, simulations=20, seed=3).summary
    rows = dict(shown.numbers[0].rows)
    for place, n in enumerate(sorted(set(given["sizes"]))):
        for kind, key in (("coefficient SE", "coefficient-SE"), ("conditional SD", "conditional-SD")):
            wanted = found[found["n"] == n].query("estimator == 'reml' and quantity == 'coefficient'")
            wanted = wanted[wanted["std_error_kind"].str.startswith(kind)].iloc[0]
            row = rows[f"reml-coefficient-{key}-{place}"]
            assert number(row[2]) == pytest.approx(100 * wanted["coverage"], abs=0.06)
            assert number(row[3]) == pytest.approx(wanted["width"], rel=0.01)
            assert number(row[4]) == pytest.approx(wanted["squared_error"], rel=0.01)
    assert any(key.startswith("reml-effect-effect-prediction-SE") for key in rows)


def test_every_estimator_has_its_mark_in_every_picture():
    shown = cost.simulate(cost.take(asked(sizes="5x6", times=20, within=2)), lambda text, share: None)
    (drawing,) = shown.drawings
    left = drawing.rows[0][0]
    dots = [mark for mark in left.marks if isinstance(mark, Dots)]
    assert len(dots) == len(left.y_ticks) == 6
    assert all(0 <= mark.x[0] <= 100 for mark in dots)
    assert drawing.title == "Intervals of 6 groups of 5"

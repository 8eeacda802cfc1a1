"""James and Stein's rule. Rungs: published figures, closed forms, the estimating equation, invariance, its risk."""

import csv
import math

import numpy as np
import pytest

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.james_stein import Options
from workbench.study import load_study


def shrunken(table, formula="y ~ 1 + (1 | g)", **options):
    se = options.pop("se", None)
    weights = options.pop("weights", None)
    return run_estimator("james_stein", build_design(formula, table, se=se, weights=weights), Settings(), options)


def values(fit):
    return fit.group_effects[0].coefficient.estimate[:, 0]


def batters():
    with load_study("baseball").data.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("column", "error", "truth", "own", "moved"),
    [
        ("average", "se", "remainder_average", 0.0753, 0.0213),
        ("stabilised", "se_stabilised", "remainder_stabilised", 17.571, 4.999),
    ],
)
def test_eighteen_batters_on_both_scales(column, error, truth, own, moved):
    # Efron & Morris (1975, 1977), with these remainders
    rows = batters()
    y, se, theta = (np.array([float(row[name]) for row in rows]) for name in (column, error, truth))
    if column == "stabilised":
        np.testing.assert_allclose(
            y, [math.sqrt(45) * math.asin(2 * int(r["hits"]) / 45 - 1) for r in rows], rtol=1e-12
        )
    fit = shrunken({"y": y, "g": [row["player"] for row in rows]}, se=se)
    order = np.argsort([row["player"] for row in rows])
    digits = 4 if column == "average" else 3
    assert ((y - theta) ** 2).sum().round(digits) == own
    assert ((values(fit) - theta[order]) ** 2).sum().round(digits) == moved


def test_the_variance_may_be_estimated():
    # balanced: B = m / (m + 2) (J - 3) s^2 / n / S on m = J (n - 1) degrees of freedom
    rng = np.random.default_rng(1)
    J, n = 7, 4
    y = rng.normal(size=(J, n)) + 1.5 * rng.normal(size=(J, 1))
    fit = shrunken({"y": y.ravel(), "g": np.repeat(np.arange(J), n)})
    means, m = y.mean(axis=1), J * (n - 1)
    s2 = y.var(axis=1, ddof=1).mean()
    B = m / (m + 2) * (J - 3) * s2 / n / ((means - means.mean()) ** 2).sum()
    np.testing.assert_allclose(values(fit), means.mean() + (1 - B) * (means - means.mean()), rtol=1e-12)
    assert fit.diagnostics["df_of_sigma"] == m
    assert fit.diagnostics["kept_least"] == pytest.approx(1 - B, rel=1e-12)
    # about a given centre, J - 2; with sigma given, no m
    fit = shrunken({"y": y.ravel(), "g": np.repeat(np.arange(J), n)}, centre=0.5, sigma=1.0)
    B = (J - 2) / n / ((means - 0.5) ** 2).sum()
    np.testing.assert_allclose(values(fit), 0.5 + (1 - B) * (means - 0.5), rtol=1e-12)


UNEQUAL = {"y": [2.0, -1.0, 4.0, 0.5, 7.0, 3.0], "g": list("abcdef")}
SE = np.array([0.5, 1.0, 2.0, 1.5, 0.7, 1.0])


def test_every_group_has_its_own_share_where_variances_differ():
    # Morris (1983): A solves sum W_j (J / (J - 1) (m_j - centre)^2 - v_j - A) = 0 with W_j = 1 / (v_j + A)
    fit = shrunken(UNEQUAL, se=SE)
    A = fit.components[0].covariance[0, 0]
    m, v = np.array(UNEQUAL["y"]), SE**2
    W = 1 / (v + A)
    centre = W @ m / W.sum()
    assert W @ (6 / 5 * (m - centre) ** 2 - v - A) == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(values(fit), m - 3 / 5 * v / (v + A) * (m - centre), rtol=1e-12)
    assert fit.population.estimate[0] == pytest.approx(centre, rel=1e-12)


def test_browns_form_has_one_share_for_all():
    fit = shrunken(UNEQUAL, se=SE, form="brown")
    m, w = np.array(UNEQUAL["y"]), SE**-2
    centre = w @ m / w.sum()
    B = 3 / (w @ (m - centre) ** 2)
    np.testing.assert_allclose(values(fit), m - B * (m - centre), rtol=1e-12)
    assert fit.components == ()


def test_forms_are_one_rule_where_variances_are_equal():
    one, other = (shrunken(UNEQUAL, se=np.ones(6), form=form) for form in ("efron_morris", "brown"))
    np.testing.assert_allclose(values(one), values(other), rtol=1e-12)
    barely = shrunken(UNEQUAL, se=1 + np.array([0, 1e-6, 0, 0, 0, 0]))  # by the equation for unequal variances
    np.testing.assert_allclose(values(barely), values(one), rtol=1e-5)


def test_shares_are_cut_off_at_the_centre_unless_they_may_pass_it():
    table = {"y": [0.0, 0.1, -0.1, 0.05, -0.05], "g": list("abcde")}
    cut = shrunken(table, se=np.ones(5))
    np.testing.assert_allclose(values(cut), 0.0, atol=1e-15)
    assert "no farther apart than chance" in cut.warnings[-1]
    passed = shrunken(table, se=np.ones(5), positive=False)
    S = 0.025
    np.testing.assert_allclose(values(passed), (1 - 2 / S) * np.array(table["y"]), rtol=1e-12)
    apart = shrunken({"y": [0.0, 0.1, -0.1, 0.05, -0.05], "g": list("abcde")}, se=[1.0, 2, 1, 1, 1])
    assert apart.components[0].covariance[0, 0] == 0.0
    assert apart.diagnostics["kept_most"] == pytest.approx(1 - 2 / 4)  # Morris's correction is what is left


def test_units_origin_and_order_do_not_matter():
    base = values(shrunken(UNEQUAL, se=SE))
    moved = shrunken({"y": 100 + 2.54 * np.array(UNEQUAL["y"]), "g": UNEQUAL["g"]}, se=2.54 * SE)
    np.testing.assert_allclose(values(moved), 100 + 2.54 * base, rtol=1e-12)
    order = [3, 1, 5, 0, 4, 2]
    mixed = shrunken({key: [column[i] for i in order] for key, column in UNEQUAL.items()}, se=SE[order])
    np.testing.assert_allclose(values(mixed), base, rtol=1e-12)


@pytest.mark.parametrize("form", ["efron_morris", "brown"])
def test_the_means_are_beaten_whatever_the_true_values_are(form):
    # equal variances, 400 data sets each: no distribution of true values, one far from all others, all alike
    rng = np.random.default_rng(2)
    for theta in (np.array([0.0, 0, 0, 0, 0, 12]), np.array([-3.0, -2, 0, 1, 2, 9]), np.zeros(6)):
        own, moved = 0.0, 0.0
        for _ in range(400):
            y = theta + rng.normal(size=6)
            fit = shrunken({"y": y, "g": list("abcdef")}, se=np.ones(6), form=form)
            own += ((y - theta) ** 2).sum()
            moved += ((values(fit) - theta) ** 2).sum()
        assert moved < own


@pytest.mark.parametrize(
    ("formula", "table", "said"),
    [
        ("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4], "g": list("aab")}, "has 2 levels"),
        ("y ~ 1 + (1 | g)", {"y": [1.0, 1, 2, 2, 3, 3, 4, 4], "g": list("aabbccdd")}, "no noise to shrink away"),
        ("y ~ x + (1 | g)", {"y": [1.0, 2, 4, 3, 5], "x": [1, 2, 3, 1, 2], "g": list("aabbc")}, "formula is y ~ "),
        ("y ~ x + (1 | g)", {"y": [1.0, 2, 4, 3, 5], "x": [1, 2, 3, 1, 2], "g": list("aabbc")}, "james_stein shrinks"),
    ],
)
def test_what_the_rule_is_not_for_is_refused(formula, table, said):
    with pytest.raises(DesignError) as caught:
        shrunken(table, formula)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [{"form": "stein"}, {"sigma": 0}, {"centre": "mean"}, {"positive": 1}])
def test_options_are_checked(wrong):
    with pytest.raises(OptionError):
        Options(**wrong)


def test_it_stands_beside_reml_and_keeps_less():
    # REML keeps 1 - (J - 1) v / S, James and Stein 1 - (J - 3) v / S: less is taken away
    data = {"y": [float(r["average"]) for r in batters()], "g": [r["player"] for r in batters()]}
    se = [float(r["se"]) for r in batters()]
    found = wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "james_stein", "reml"], se=se)
    taken = [1 - found.fits[name].group_effects[0].effect.estimate[:, 0].std() for name in ("james_stein", "reml")]
    own = np.std(data["y"])
    stein, reml = (1 - (1 - part) / own for part in taken)
    assert stein / reml == pytest.approx(15 / 17, rel=1e-6)

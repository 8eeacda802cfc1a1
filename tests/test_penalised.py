"""`penalized`. Rungs: closed form, dense oracle, conditions of the minimum, limits, invariance."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_array

import workbench as wb
from tests.corpus import DATA
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.families import family_of
from workbench.penalised.columns import group_columns
from workbench.penalised.folds import make_folds
from workbench.penalised.regression import Regression, Solution, effective_parameters

pytestmark = pytest.mark.usefixtures("one_picture")

SLEEP = DATA / "datasets/sleepstudy.csv"


def options(**given):
    return {"options": given}


def gaps(one, other):
    """The largest difference between the effects, and between the population coefficients."""
    parts = zip(one.group_effects, other.group_effects, strict=True)
    effects = max(np.abs(a.effect.estimate - b.effect.estimate).max() for a, b in parts)
    return effects, np.abs(one.population.estimate - other.population.estimate).max()


@pytest.mark.parametrize("penalty", [4.0, 1e-3, 1e-12])
@pytest.mark.parametrize("sparse", [False, True])
def test_twin_columns_use_up_one_parameter_between_them(penalty, sparse):
    """n_j rows, two equal columns: 2 n_j / (2 n_j + lambda) parameters, however near the equations are to singular."""
    sizes = np.array([3, 5, 9])
    Z = np.repeat(np.repeat(np.eye(3), sizes, axis=0), 2, axis=1)
    none = np.zeros(len(Z))
    rows = Regression(
        none, none + 1, none, np.empty((len(Z), 0)), csc_array(Z) if sparse else Z, None, family_of("gaussian")
    )
    used = effective_parameters(rows, Solution(np.empty(0), np.ones(6), True), np.full(6, penalty))
    assert used == pytest.approx((2 * sizes / (2 * sizes + penalty)).sum(), rel=1e-9)


# --- ridge at sigma^2/tau^2 is the BLUP ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "path"),
    [
        ("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv"),
        ("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv"),
        ("Reaction ~ Days + (Days || Subject)", SLEEP),
        ("Reaction ~ Days + (Days | Subject)", SLEEP),  # the whole precision matrix
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", DATA / "datasets/Penicillin.csv"),
        ("strength ~ 1 + (1 | batch/cask)", DATA / "datasets/Pastes.csv"),
    ],
)
def test_ridge_at_the_variance_ratio_is_the_blup(formula, path):
    both = wb.compare(formula, path, ["reml", "penalized"]).fits
    effects, fixed = gaps(both["reml"], both["penalized"])
    assert effects < 1e-8  # rounding of a linear solve: 1e-12 on this data
    assert fixed < 1e-8
    assert both["penalized"].sigma == pytest.approx(both["reml"].sigma, rel=1e-8)  # e'e / (n - effective parameters)
    assert both["penalized"].diagnostics["kkt"] < 1e-12
    for part, total in zip(both["reml"].components, [both["penalized"].diagnostics["lambda"]], strict=False):
        assert total[0] == pytest.approx(both["reml"].sigma ** 2 / part.covariance[0, 0], rel=1e-12)


@pytest.mark.parametrize("varying", ["(1 | county)", "(floor || county)"])
def test_ridge_is_the_blup_of_the_radon_counties(varying):
    """919 houses of 85 counties (Price, Nero & Gelman 1996, doi:10.1097/00004032-199612000-00009).

    25 of the counties have no house measured on the first floor: their slope's column is zero.
    """
    import pandas as pd

    table = pd.read_csv(DATA / "datasets/radon.csv")
    table["y"] = np.log(table["activity"].replace(0, 0.1))
    both = wb.compare(f"y ~ floor + {varying}", table, ["reml", "penalized"]).fits
    assert max(gaps(both["reml"], both["penalized"])) < 1e-8
    assert both["penalized"].sigma == pytest.approx(both["reml"].sigma, rel=1e-8)


def test_ridge_in_closed_form():
    """Henderson's equations, written out, with weights, an offset and a lambda for each term."""
    rng = np.random.default_rng(3)
    n = 60
    table = {
        "y": rng.normal(size=n), "x": rng.normal(5, 2, size=n), "g": rng.integers(0, 7, n).astype(str),
        "w": rng.uniform(0.5, 3, n), "o": rng.normal(size=n),
    }  # fmt: skip
    given = {"(Intercept)": 2.5, "x": 40.0}
    fit = wb.fit("y ~ x + (x || g)", table, "penalized", weights="w", offset="o", **options(penalty=given))
    design = fit.design
    Z = group_columns(design).Z.toarray()
    C, W = np.hstack([design.X, Z]), np.diag(table["w"])
    P = np.diag(np.repeat([0.0, 2.5, 40.0], [2, 7, 7]))
    solved = np.linalg.solve(C.T @ W @ C + P, C.T @ W @ (table["y"] - table["o"]))
    found = np.concatenate([fit.population.estimate, *(part.effect.estimate[:, 0] for part in fit.group_effects)])
    assert found == pytest.approx(solved, abs=1e-11)
    used = np.trace(np.linalg.solve(C.T @ W @ C + P, C.T @ W @ C))
    assert fit.diagnostics["effective_parameters"] == pytest.approx(used, rel=1e-10)
    assert fit.fitted == pytest.approx(C @ solved + table["o"], abs=1e-11)


def test_without_spread_every_effect_is_zero():
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", "penalized")
    assert fit.diagnostics["lambda"] == (np.inf,)
    assert not fit.group_effects[0].effect.estimate.any()
    assert "the penalty is infinite" in fit.warnings[0]


# --- the conditions of the minimum, computed here anew ------------------------------------------------


def conditions(fit, slope, variance):
    """Largest failure for coefficients that are not zero, for those that are, and for the fixed ones.

    Of D/2 + sum l1 |u| + l2 u^2 / 2; `slope` and `variance` are functions of the mean.
    """
    design, d = fit.design, fit.diagnostics
    columns = group_columns(design)
    u = np.concatenate([part.effect.estimate[:, k] for part in fit.group_effects for k in range(len(part.terms))])
    mean = fit.fitted
    score = design.weights * (design.y - mean) * slope(mean) / variance(mean)
    l1, l2 = columns.of_terms(d["l1"]), columns.of_terms(d["l2"])
    wanted = columns.Z.T @ score
    free = np.abs(wanted - l2 * u - l1 * np.sign(u))[u != 0].max(initial=0.0)
    held = (np.abs(wanted) - l1)[u == 0].max(initial=-np.inf)
    return free, held, np.abs(design.X.T @ score).max()


GAUSSIAN = (np.ones_like, np.ones_like)
LOGIT = (lambda m: m * (1 - m), lambda m: m * (1 - m))
LOG = (lambda m: m, lambda m: m)


@pytest.mark.parametrize("kind", ["ridge", "lasso", "elastic_net"])
@pytest.mark.parametrize(
    ("formula", "path", "family", "penalty", "of_mean"),
    [
        ("Reaction ~ Days + (Days || Subject)", SLEEP, "gaussian", {"(Intercept)": 150.0, "Days": 800.0}, GAUSSIAN),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", DATA / "datasets/Penicillin.csv", "gaussian", 1.0, GAUSSIAN),
        (
            "cbind(incidence, size - incidence) ~ period + (1 | herd)", DATA / "datasets/cbpp.csv", "binomial", 2.0,
            LOGIT,
        ),
        ("TICKS ~ YEAR + (1 | BROOD)", DATA / "datasets/grouseticks.csv", "poisson", 3.0, LOG),
    ],
)  # fmt: skip
def test_conditions_of_the_minimum(formula, path, family, penalty, of_mean, kind):
    fit = wb.fit(formula, path, "penalized", family=family, **options(kind=kind, penalty=penalty))
    free, held, fixed = conditions(fit, *of_mean)
    size = np.sqrt(np.sum(fit.design.weights * (fit.design.y - fit.fitted) ** 2 / of_mean[1](fit.fitted)))
    assert free < 1e-6 * size  # the solver stops at 1e-10 of the standardised gradient
    assert held < 1e-6 * size
    assert fixed < 1e-6 * size
    assert fit.diagnostics["kkt"] < 1e-7
    assert fit.converged
    zeros = sum(int((part.effect.estimate == 0).sum()) for part in fit.group_effects)
    assert sum(fit.diagnostics["zeros"]) == zeros
    assert (zeros > 0) == (kind != "ridge")


def test_lasso_of_balanced_groups_is_soft_thresholding():
    """Each mean's deviation from the free intercept, here the median, loses lambda / n, or is zero."""
    y = np.array([0.0, 2.0, 5.0, 7.0, 9.0, 11.0])
    table = {"y": y, "g": list("aabbcc")}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "penalized", **options(kind="lasso", penalty=3.0))
    means = y.reshape(3, 2).mean(axis=1)  # 1, 6, 10: the middle one is zero, the others move by 3/2
    assert fit.population.estimate[0] == pytest.approx(6.0, abs=1e-8)
    expected = np.sign(means - 6) * np.maximum(np.abs(means - 6) - 1.5, 0)
    assert fit.group_effects[0].effect.estimate[:, 0] == pytest.approx(expected, abs=1e-8)


def test_probit_is_solved_as_logit_is():
    """The link that glum lacks: the conditions of the minimum with the normal density."""
    from scipy.stats import norm

    table, formula = DATA / "datasets/cbpp.csv", "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fit = wb.fit(formula, table, "penalized", family="binomial", link="probit", **options(penalty=5.0))
    free, _, fixed = conditions(fit, lambda m: norm.pdf(norm.ppf(m)), lambda m: m * (1 - m))
    assert max(free, fixed) < 1e-6


def test_gamma_with_the_log_link():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.5], "g": list("aabbcc")}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "penalized", family="gamma", link="log", **options(penalty=0.5))
    free, _, fixed = conditions(fit, lambda m: m, lambda m: m**2)
    assert max(free, fixed) < 1e-8
    with pytest.raises(OptionError, match='Use link="log"'):
        wb.fit("y ~ 1 + (1 | g)", table, "penalized", family="gamma", **options(penalty=0.5))


def test_gamma_has_no_likelihood_to_take_the_penalty_from():
    """No estimator here integrates the effects of gamma responses out, so that lambda comes from cross-validation."""
    rng = np.random.default_rng(4)
    table = {"y": rng.gamma(3.0, np.repeat([0.5, 1.0, 2.0, 4.0], 10)), "g": np.repeat(list("abcd"), 10)}
    given = {"family": "gamma", "link": "log"}
    default, told = (
        wb.fit("y ~ 1 + (1 | g)", table, "penalized", **given, options=o) for o in (None, {"penalty": "cv"})
    )
    assert default.diagnostics["lambda"] == told.diagnostics["lambda"]
    with pytest.raises(OptionError, match="nothing here maximises the likelihood of gamma models"):
        wb.fit("y ~ 1 + (1 | g)", table, "penalized", **given, **options(penalty="reml"))


# --- the ends of the axis -----------------------------------------------------------------------------


def test_a_strong_penalty_is_complete_pooling_and_a_weak_one_none():
    formula = "Reaction ~ Days + (Days || Subject)"
    pooled, alone = wb.fit(formula, SLEEP, "complete_pooling"), wb.fit(formula, SLEEP, "no_pooling")
    strong = wb.fit(formula, SLEEP, "penalized", **options(penalty=1e13))
    weak = wb.fit(formula, SLEEP, "penalized", **options(penalty=1e-8))
    assert max(gaps(strong, pooled)) < 1e-8
    c = [np.hstack([part.coefficient.estimate for part in fit.group_effects]) for fit in (weak, alone)]
    assert np.abs(c[0] - c[1]).max() < 1e-5  # of 1e-8 beside 10 rows and more, times the condition of a nearly free fit
    thrown = wb.fit(formula, SLEEP, "penalized", **options(kind="lasso", penalty=1e7))
    assert max(gaps(thrown, pooled)) < 1e-7
    assert thrown.diagnostics["zeros"] == (18, 18)


# --- folds and cross-validation -----------------------------------------------------------------------


def test_folds_within_split_every_group_and_folds_of_groups_none():
    design = build_design("Reaction ~ Days + (1 | Subject)", SLEEP)
    codes = design.blocks[0].codes
    within = make_folds(design, "within", 5, 1)
    assert np.bincount(within).tolist() == [36] * 5  # a partition into equal parts
    counts = np.array([np.bincount(within[codes == j], minlength=5) for j in range(18)])
    assert (counts == 2).all()  # ten rows of a subject, two in each fold
    whole = make_folds(design, "groups", 5, 1)
    assert all(len(set(whole[codes == j])) == 1 for j in range(18))
    assert sorted(np.bincount([whole[codes == j][0] for j in range(18)])) == [3, 3, 4, 4, 4]
    assert (make_folds(design, "within", 5, 2) != within).any()


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_cross_validation_is_the_loss_of_rows_left_out(family):
    """The curve at its chosen point, by fits of one fold at a time from the outside."""
    formula, path = ("TICKS ~ 1 + (1 | LOCATION)", DATA / "datasets/grouseticks.csv")
    given = {"penalty": "cv", "grid": 5, "fold_count": 4}
    fit = wb.fit(formula, path, "penalized", family=family, **options(**given))
    d, design = fit.diagnostics, fit.design
    fold = make_folds(design, "within", 4, 1)
    levels = np.array(design.blocks[0].levels)
    labels = levels[design.blocks[0].codes]
    at, total = d["cv_best"], 0.0
    for k in range(4):
        rest, out = fold != k, fold == k
        table = {"TICKS": design.y[rest], "LOCATION": labels[rest]}
        other = wb.fit(formula, table, "penalized", family=family, **options(penalty=d["cv_lambda"][at]))
        effects = dict(
            zip(other.design.blocks[0].levels, other.group_effects[0].effect.estimate[:, 0].tolist(), strict=True)
        )
        predictor = other.population.estimate[0] + np.array([effects.get(name, 0.0) for name in labels[out]])
        y = design.y[out]
        if family == "gaussian":
            total += np.sum((y - predictor) ** 2)
        else:
            mean = np.exp(predictor)
            total += 2 * np.sum(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / mean), 0) - (y - mean))
    assert d["cv_loss"][at] == pytest.approx(total / design.n, rel=1e-6)
    assert d["lambda"][0] == d["cv_lambda"][d["cv_chosen"]]
    assert d["cv_best"] == int(np.argmin(d["cv_loss"]))


def test_one_standard_error_chooses_a_stronger_penalty():
    formula = "Reaction ~ Days + (1 | Subject)"
    least = wb.fit(formula, SLEEP, "penalized", **options(penalty="cv"))
    one = wb.fit(formula, SLEEP, "penalized", **options(penalty="cv", rule="one_se"))
    loss, se = np.array(one.diagnostics["cv_loss"]), np.array(one.diagnostics["cv_se"])
    best, chosen = one.diagnostics["cv_best"], one.diagnostics["cv_chosen"]
    assert one.diagnostics["lambda"][0] > least.diagnostics["lambda"][0]
    assert loss[chosen] <= loss[best] + se[best] < loss[chosen - 1]


def test_a_choice_at_the_end_of_the_grid_is_said():
    fit = wb.fit("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", "penalized",
                 **options(penalty="cv", folds="groups"))  # fmt: skip
    assert fit.diagnostics["cv_best"] == 0
    assert "strongest penalty of the grid" in fit.warnings[-1]


def test_rows_in_another_order_give_the_same():
    design = build_design("Reaction ~ Days + (Days || Subject)", SLEEP)
    subject = np.array(design.blocks[0].levels)[design.blocks[0].codes]
    table = {"Reaction": design.y, "Days": design.X[:, 1], "Subject": subject}
    order = np.random.default_rng(5).permutation(design.n)
    other = {name: np.asarray(column)[order] for name, column in table.items()}
    for given in ({"penalty": "cv"}, {"kind": "lasso", "penalty": "cv", "folds": "groups"}, {}):
        one, two = (
            wb.fit("Reaction ~ Days + (Days || Subject)", t, "penalized", **options(**given)) for t in (table, other)
        )
        assert one.diagnostics["lambda"] == pytest.approx(two.diagnostics["lambda"], rel=1e-8)
        assert max(gaps(one, two)) < 1e-5 * one.sigma  # a path's tolerance may choose nothing else


def test_the_unit_of_a_column_does_not_matter_to_cross_validation():
    design = build_design("Reaction ~ Days + (Days || Subject)", SLEEP)
    subject = np.array(design.blocks[0].levels)[design.blocks[0].codes]
    fits = [
        wb.fit("y ~ x + (x || g)", {"y": design.y, "x": c * design.X[:, 1], "g": subject}, "penalized",
               **options(penalty="cv", kind=kind))
        for kind in ("ridge", "lasso") for c in (1.0, 24.0)
    ]  # fmt: skip
    for one, two in (fits[:2], fits[2:]):
        assert np.abs(one.fitted - two.fitted).max() < 1e-6 * one.sigma


# --- what is refused, and what is written -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "rigde"}, "Did you mean 'ridge'"),
        ({"kind": "ridge", "mix": 0.3}, "belongs to kind='elastic_net'"),
        ({"kind": "elastic_net", "mix": 1.0}, "between 0"),
        ({"penalty": -1.0}, "positive"),
        ({"penalty": "rmel"}, "Did you mean 'reml'"),
        ({"penalty": {"Dais": 1.0}}, "Did you mean 'Days'"),
        ({"penalty": {"Days": 1.0}}, r"no number for \(Intercept\) of Subject"),
        ({"folds": "group"}, "Did you mean 'groups'"),
        ({"fold_count": 1}, "at least 2"),
    ],
)
def test_options_that_cannot_be_are_refused(given, message):
    with pytest.raises(OptionError, match=message):
        wb.fit("Reaction ~ Days + (Days | Subject)", SLEEP, "penalized", **options(**given))


def test_too_many_columns_are_refused():
    J = 5001
    table = {"y": np.arange(2 * J) % 7.0, "g": np.arange(2 * J) // 2}
    with pytest.raises(DesignError, match="5,001 columns"):
        wb.fit("y ~ 1 + (1 | g)", table, "penalized", **options(penalty=1.0))


def test_a_report_and_predictions_know_points_without_errors(tmp_path):
    both = wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, ["no_pooling", "reml", "penalized"])
    both.report(tmp_path / "report")
    manifest = json.loads(Path(tmp_path / "report" / "manifest.json").read_text())
    assert manifest["fits"]["penalized"]["diagnostics"]["kind"] == "ridge"
    fit = both.fits["penalized"]
    row = fit.predict({"Days": [3, 3], "Subject": ["308", "new"]}, new_levels="population")
    expected = both.fits["reml"].predict({"Days": [3, 3], "Subject": ["308", "new"]}, new_levels="population")
    assert row["estimate"].to_numpy() == pytest.approx(expected["estimate"].to_numpy(), abs=1e-8)
    assert row["std_error"].isna().all()
    assert set(fit.effects["std_error_kind"]) == {"none: penalised"}


def test_names_that_hold_a_comma_are_listed_apart():
    with pytest.raises(OptionError, match=r"There are: \(Intercept\); g; g, \(Intercept\)\."):
        wb.fit("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")}, "penalized",
               options={"penalty": {"Days": 1.0}})  # fmt: skip

"""`penalized_fixed`. Rungs: dense oracle, closed form, fixed point, invariance, recovery of simulated truth."""

import numpy as np
import pytest

import workbench as wb
from tests.corpus import DATA
from workbench.errors import OptionError
from workbench.penalised.folds import make_folds
from workbench.penalised.simulated import wide_design
from workbench.textbook import dense

N = 90


def table(seed=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 4)) * [1, 3, 0.2, 1] + [0, 10, 5, 0]
    g, h = rng.integers(0, 12, N), rng.integers(0, 5, N)
    made = {f"x{k}": x[:, k] for k in range(4)}
    made |= {"g": [f"g{j:02d}" for j in g], "h": [f"h{j}" for j in h], "f": rng.choice(["a", "b", "c"], N)}
    made |= {"w": rng.uniform(0.5, 2, N), "o": rng.normal(size=N), "z": rng.normal(size=N)}
    slope = rng.normal(size=12)[g]
    made["y"] = 3 + x[:, 0] - 0.2 * x[:, 1] + 2 * rng.normal(size=12)[g] + slope * made["z"] + rng.normal(size=N)
    return made


def covariance(fit):
    """V = W^-1 + Z D Z', rows by rows, from the fit's variances."""
    model, start = dense(fit.design), 0
    V = np.diag(1 / fit.design.weights)
    for (J, q), part in zip(model.shapes, fit.components, strict=True):
        Z = model.Z[:, start : start + J * q].reshape(-1, J, q)
        V += np.einsum("ija,ab,kjb->ik", Z, part.covariance / fit.sigma**2, Z)
        start += J * q
    return V


MODELS = [
    ("y ~ x0 + x1 + x2 + x3 + (1 | g)", {}),
    ("y ~ x0 + x1 + x2 + x3 + z + (z | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x0 + x1 + f + (1 | g) + (1 | h)", {"weights": "w"}),
    ("y ~ 0 + f + x0 + x1 + (1 | g)", {}),  # no intercept: every column is penalised
    ("y ~ 0 + x0 + x1 + (1 | g)", {"offset": "o"}),
]


@pytest.mark.parametrize("kind", ["ridge", "lasso", "elastic_net"])
@pytest.mark.parametrize(("formula", "more"), MODELS)
def test_conditions_of_the_minimum_in_the_explicit_whitened_regression(formula, more, kind):
    fit = wb.fit(formula, table(), "penalized_fixed", options={"kind": kind, "penalty": 12.0}, **more)
    design, b = fit.design, fit.population.estimate
    V_inverse = np.linalg.inv(covariance(fit))
    wanted = design.X.T @ V_inverse @ (design.y - design.offset - design.X @ b)
    free = np.array([name == "(Intercept)" for name in design.fixed_terms])
    centre = np.average(design.X, axis=0, weights=design.weights) if free.any() else 0.0
    sizes = np.sqrt(np.average((design.X - centre) ** 2, axis=0, weights=design.weights))
    mix = fit.diagnostics["mix"]
    l1, l2 = np.where(free, 0, 12 * mix * sizes), np.where(free, 0, 12 * (1 - mix) * sizes**2)
    scale = np.sqrt(np.diag(design.X.T @ V_inverse @ design.X)) * fit.sigma * np.sqrt(N)
    off = np.where(b != 0, np.abs(wanted - l2 * b - l1 * np.sign(b)), np.maximum(np.abs(wanted) - l1, 0)) / scale
    assert off.max() < 1e-8  # the solver's tolerance of 1e-10, and rounding of V's inverse
    assert fit.converged
    assert fit.diagnostics["zeros"] == int((b == 0).sum())


@pytest.mark.parametrize(("formula", "more"), MODELS[:3])
def test_effects_are_blups_of_what_the_fixed_part_leaves(formula, more):
    fit = wb.fit(formula, table(), "penalized_fixed", options={"penalty": 8.0}, **more)
    design, model, start = fit.design, dense(fit.design), 0
    left = np.linalg.solve(covariance(fit), design.y - design.offset - design.X @ fit.population.estimate)
    for (J, q), part, effects in zip(model.shapes, fit.components, fit.group_effects, strict=True):
        Z = model.Z[:, start : start + J * q].reshape(-1, J, q)
        start += J * q
        u = np.einsum("ab,ijb,i->ja", part.covariance / fit.sigma**2, Z, left)
        assert effects.effect.estimate == pytest.approx(u, abs=1e-9)
    predicted = fit.predict()["estimate"].to_numpy()
    assert predicted == pytest.approx(fit.fitted, abs=1e-10)


def test_variances_are_those_of_reml_given_the_coefficients():
    """A fixed point, seen from the outside: REML of the response less the penalised part gives the same variances."""
    given = table()
    fit = wb.fit("y ~ x0 + x1 + x2 + x3 + (1 | g)", given, "penalized_fixed", options={"penalty": 10.0})
    left = np.array(given["y"]) - fit.design.X[:, 1:] @ fit.population.estimate[1:]
    other = wb.fit("y ~ 1 + (1 | g)", {"y": left, "g": given["g"]})
    assert fit.sigma == pytest.approx(other.sigma, rel=1e-7)
    assert fit.components[0].sd[0] == pytest.approx(other.components[0].sd[0], rel=1e-6)
    assert fit.population.estimate[0] == pytest.approx(other.population.estimate[0], abs=1e-6)


def test_a_weak_penalty_is_generalised_least_squares_and_a_strong_one_leaves_the_intercept():
    formula = "y ~ x0 + x1 + x2 + x3 + (1 | g)"
    weak = wb.fit(formula, table(), "penalized_fixed", options={"kind": "ridge", "penalty": 1e-9})
    X, V_inverse = weak.design.X, np.linalg.inv(covariance(weak))
    b = np.linalg.solve(X.T @ V_inverse @ X, X.T @ V_inverse @ weak.design.y)
    assert weak.population.estimate == pytest.approx(b, abs=1e-8)
    strong = wb.fit(formula, table(), "penalized_fixed", options={"penalty": 1e6})
    alone = wb.fit("y ~ 1 + (1 | g)", table())
    assert not strong.population.estimate[1:].any()
    assert strong.population.estimate[0] == pytest.approx(alone.population.estimate[0], abs=1e-9)
    assert strong.sigma == pytest.approx(alone.sigma, rel=1e-8)


def test_named_terms_are_left_free():
    formula = "y ~ x0 + x1 + x2 + x3 + (1 | g)"
    fit = wb.fit(formula, table(), "penalized_fixed", options={"penalty": 1e6, "unpenalised": ["x1", "x3"]})
    b = dict(zip(fit.design.fixed_terms, fit.population.estimate, strict=True))
    few = wb.fit("y ~ x1 + x3 + (1 | g)", table())
    assert b["x0"] == b["x2"] == 0
    assert [b[k] for k in ("(Intercept)", "x1", "x3")] == pytest.approx(few.population.estimate, abs=1e-7)
    assert fit.sigma == pytest.approx(few.sigma, rel=1e-7)


@pytest.mark.parametrize("kind", ["ridge", "lasso"])
def test_units_and_the_order_of_rows_do_not_matter(kind):
    formula, given = "y ~ x0 + x1 + x2 + x3 + (1 | g)", table()
    order = np.random.default_rng(1).permutation(N)
    other = {name: np.asarray(column)[order] for name, column in given.items()}
    other["x1"] = 1000 * other["x1"] - 7
    options = {"kind": kind, "folds": "within", "fold_count": 5}
    one, two = (wb.fit(formula, t, "penalized_fixed", options=options) for t in (given, other))
    assert two.diagnostics["lambda"] == pytest.approx(one.diagnostics["lambda"], rel=1e-6)
    ratio = np.array([1, 1, 1000, 1, 1])[1:]
    assert two.population.estimate[1:] * ratio == pytest.approx(one.population.estimate[1:], abs=1e-6)
    assert two.fitted == pytest.approx(one.fitted[order], abs=1e-6)


@pytest.mark.parametrize("folds", ["groups", "within"])
def test_cross_validation_predicts_rows_left_out_from_the_others(folds):
    """The losses at the chosen lambda, fold by fold, by dense matrices; the variances are those of the last round."""
    options = {"kind": "ridge", "folds": folds, "fold_count": 4, "grid": 7}
    fit = wb.fit("y ~ x0 + x1 + x2 + (1 | g)", table(), "penalized_fixed", options=options)
    d, design = fit.diagnostics, fit.design
    V, X, y = covariance(fit), design.X, design.y
    sizes = np.concatenate([[0.0], X[:, 1:].std(axis=0)])
    at = d["cv_chosen"]
    fold = make_folds(design, folds, 4, 1)
    total = 0.0
    for k in range(4):
        out, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        own_sizes = sizes**2 * d["cv_lambda"][at]  # penalties are of all rows' columns
        V_inverse = np.linalg.inv(V[np.ix_(rest, rest)])
        b = np.linalg.solve(X[rest].T @ V_inverse @ X[rest] + np.diag(own_sizes), X[rest].T @ V_inverse @ y[rest])
        guess = X[out] @ b + V[np.ix_(out, rest)] @ V_inverse @ (y[rest] - X[rest] @ b)
        total += np.sum((y[out] - guess) ** 2)
    assert d["cv_loss"][at] == pytest.approx(total / N, rel=1e-6)  # of variances settled to 1e-8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unpenalised": ["x9"]}, "no fixed term"),
        ({"unpenalised": ["x0", "x1"]}, "No fixed term is left to penalise"),
        ({"penalty": "reml"}, "'cv' or a positive"),
        ({"kind": "laso"}, "Did you mean 'lasso'"),
        ({"rule": "max"}, "There are: min, one_se|Did you mean"),
    ],
)
def test_options_that_cannot_be_are_refused(given, message):
    with pytest.raises(OptionError, match=message):
        wb.fit("y ~ x0 + x1 + (1 | g)", table(), "penalized_fixed", options=given)


def test_other_families_are_refused():
    with pytest.raises(OptionError, match="penalized_fixed fits gaussian"):
        wb.fit("TICKS ~ YEAR + (1 | BROOD)", DATA / "datasets/grouseticks.csv", "penalized_fixed", family="poisson")


# --- recovery of the truth ----------------------------------------------------------------------------


def test_the_studys_data_are_the_simulation():
    import pandas as pd

    from workbench.study import load_study

    folder, made = load_study("wide_design").folder, wide_design(200, 60, 7)
    data = pd.read_csv(folder / "data.csv")
    assert data["member"].tolist() == made.table["member"].tolist()
    for name in data.columns.drop("member"):
        assert (data[name].to_numpy() == made.table[name]).all()
    assert (pd.read_csv(folder / "coefficients.csv")["value"].to_numpy() == made.coefficients).all()
    assert (pd.read_csv(folder / "truth.csv")["value"].to_numpy() == made.intercepts).all()


def recovered(made, kind, rule="min"):
    fit = wb.fit(made.formula, made.table, "penalized_fixed", options={"kind": kind, "rule": rule})
    return fit, *score(fit, made)


def score(fit, made):
    """Squared error of the coefficients, how many of the true ones are found, and how many others."""
    b, truth = fit.population.estimate[1:], made.coefficients
    return float(np.sum((b - truth) ** 2)), int(np.sum((b != 0) & (truth != 0))), int(np.sum((b != 0) & (truth == 0)))


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "covariates"), [(200, 60), (1000, 200)])
def test_the_lasso_finds_what_matters_in_a_wide_design(groups, covariates):
    made = wide_design(groups, covariates, 7)
    errors = {"reml": score(wb.fit(made.formula, made.table), made)[0]}
    for kind in ("ridge", "lasso", "elastic_net"):
        fit, errors[kind], hits, false = recovered(made, kind)
        assert fit.converged
        assert hits == 10
        assert abs(fit.sigma - 1) < 0.15
        assert abs(fit.components[0].sd[0] - 1) < 0.15
        assert (false == covariates - 10) == (kind == "ridge")
    assert errors["lasso"] < errors["elastic_net"] < errors["ridge"] < errors["reml"]
    assert errors["lasso"] < errors["reml"] / 3
    few, _, hits, false = recovered(made, "lasso", "one_se")
    assert hits == 10
    assert false <= 5
    assert len(few.diagnostics["selected"]) == hits + false

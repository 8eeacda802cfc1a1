"""Prediction. Rungs: identity with the fitted values, closed form, slow dense oracle, invariance, R's figures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from corpus import DATA
from dense_equations import RANDOM_TERMS, error_covariance, random_design, random_table, wide

import workbench as wb
from workbench.design import build_design
from workbench.errors import DataError, DesignError, OptionError
from workbench.estimators.reml import ml, reml

ESTIMATORS = ("reml", "ml", "complete_pooling", "no_pooling", "fixed_prior")


def sleep():
    """The sleep study with made-up covariates, by row number (R: see the figures)."""
    table = pd.read_csv(DATA / "datasets" / "sleepstudy.csv", dtype={"Subject": str})
    i, doses = np.arange(1, 181), ["lo", "mid", "hi", "top"]
    table["arm"] = np.array(list("pqr"))[i * 7 % 3]
    table["dose"] = pd.Categorical(np.array(doses)[i * 5 // 3 % 4], doses, ordered=True)
    table["half"] = i % 2 * 1.5
    return table


NEW = {
    "Days": [2.5, 0, 12, 7],
    "Subject": ["308", "335", "999", "372"],
    "arm": ["q", "r", "p", "q"],
    "dose": ["top", "mid", "mid", "hi"],
    "half": [0, 1, 0.25, 3],
}

# --- R's figures --------------------------------------------------------------------------------------

# d <- read.csv("sleepstudy.csv", colClasses = c("numeric", "numeric", "character")); i <- seq_len(180)
# d$arm <- c("p","q","r")[(i * 7) %% 3 + 1]; d$half <- (i %% 2) * 1.5; l <- c("lo","mid","hi","top")
# d$dose <- factor(l[(i * 5) %/% 3 %% 4 + 1], l, ordered = TRUE)
# new <- data.frame(Days = c(2.5, 0, 12, 7), Subject = c("308","335","999","372"), arm = c("q","r","p","q"),
#                   dose = factor(c("top","mid","mid","hi"), l, ordered = TRUE), half = c(0, 1, 0.25, 3))
# fm <- lmer(FORMULA, d, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5)))
# predict(fm, new, allow.new.levels = TRUE); predict(fm, new, re.form = NA)                (R 4.2.2, lme4 1.1-31)
R = [
    (
        "Reaction ~ Days + (Days | Subject)",
        [302.829315, 251.0714089, 377.0125364, 345.9788541],
        [277.5733197, 251.4051048, 377.0125364, 324.6761066],
    ),
    (
        "Reaction ~ poly(Days, 3) + (Days | Subject)",
        [301.1368366, 255.4068577, 389.2318569, 345.5708333],
        [275.8707822, 255.7690373, 389.2318569, 324.268449],
    ),
    (
        "Reaction ~ scale(Days) * arm + I(half^2) + (scale(Days) || Subject)",
        [301.3335157, 255.2809923, 378.3539635, 335.8859256],
        [277.6029906, 253.105531, 378.3539635, 315.604046],
    ),
    (
        "Reaction ~ 0 + dose:Days + dose + (poly(Days, 2) | Subject)",
        [305.4722943, 251.0646946, 361.4960826, 346.7279663],
        [281.2864123, 255.065065, 361.4960826, 327.1409445],
    ),
    (
        "Reaction ~ scale(log1p(Days)) + dose + offset(log(half + 1)) + (1 | Subject)",
        [334.2133425, 187.7634571, 335.1081397, 338.3370658],
        [293.9344215, 232.492208, 335.1081397, 320.352704],
    ),
]
R_SEARCH = 2e-5  # how near lme4's derivative-free search comes to the optimum, in milliseconds of reaction time


@pytest.mark.parametrize(("formula", "conditional", "population"), R, ids=[case[0] for case in R])
def test_new_rows_are_coded_as_the_fits_were(formula, conditional, population):
    fit = wb.fit(formula, sleep())
    found = fit.predict(NEW, new_levels="population")
    np.testing.assert_allclose(found["estimate"], conditional, rtol=0, atol=R_SEARCH)
    assert found["new_level"].tolist() == ["", "", "Subject 999", ""]
    np.testing.assert_allclose(fit.predict(NEW, groups=False)["estimate"], population, rtol=0, atol=R_SEARCH)
    one_by_one = [
        fit.predict({k: v[i : i + 1] for k, v in NEW.items()}, new_levels="population")["estimate"][0] for i in range(4)
    ]
    np.testing.assert_allclose(one_by_one, found["estimate"], rtol=1e-14)


# p <- read.csv("Penicillin.csv"); fm <- lmer(diameter ~ 1 + (1 | plate) + (1 | sample), p, control as above)
# new <- data.frame(plate = c("a","x","e","a"), sample = c("F","B","zz","A"))
# predict(fm, new, re.form = RE, allow.new.levels = TRUE) for RE of NULL, NA, ~(1 | plate), ~(1 | sample)
CROSSED = {
    True: [20.7730251045, 20.7419489216, 22.9981753531, 25.9638272486],
    False: [22.9722222222, 22.9722222222, 22.9722222222, 22.9722222222],
    "plate": [23.7767692785, 21.7524250723, 22.9981753531, 23.7767692785],
    ("sample",): [19.9684780482, 21.9617460715, 22.9722222222, 25.1592801923],
}
# q <- read.csv("Pastes.csv"); fm <- lmer(strength ~ 1 + (1 | batch/cask), q, control as above)
# new <- data.frame(batch = c("A","A","Z","J"), cask = c("c","d","a","b"))
# predict(fm, new, re.form = RE, allow.new.levels = TRUE) for RE of NULL, ~(1 | batch), ~(1 | cask:batch)
NESTED = {
    True: [62.8209360672, 60.8539777394, 60.0533333333, 59.2124267383],
    "batch": [60.8539777394, 60.8539777394, 60.0533333333, 59.5215800456],
    ("cask:batch",): [62.0202916611, 60.0533333333, 60.0533333333, 59.7441800260],
}


def test_some_factors_may_be_conditioned_on():
    fit = wb.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", DATA / "datasets" / "Penicillin.csv")
    new = {"plate": ["a", "x", "e", "a"], "sample": ["F", "B", "zz", "A"]}
    for groups, expected in CROSSED.items():
        found = fit.predict(new, groups, new_levels="population")
        np.testing.assert_allclose(found["estimate"], expected, rtol=0, atol=1e-6)
    nested = wb.fit("strength ~ 1 + (1 | batch/cask)", DATA / "datasets" / "Pastes.csv")
    new = {"batch": ["A", "A", "Z", "J"], "cask": ["c", "d", "a", "b"]}
    for groups, expected in NESTED.items():
        found = nested.predict(new, groups, new_levels="population")
        np.testing.assert_allclose(found["estimate"], expected, rtol=0, atol=1e-6)
    found = nested.predict(new, new_levels="population")
    assert found["new_level"].tolist() == ["", "cask:batch d:A", "cask:batch a:Z; batch Z", ""]
    assert found["point"].tolist() == ["BLUP", "BLUP", "REML estimate", "BLUP"]
    assert nested.predict(new, "batch", "population")["point"][0] == "BLUP, given batch"


# --- identity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days + (Days | Subject)",
        "Reaction ~ poly(Days, 3) * arm + dose + (Days || Subject)",
        "Reaction ~ scale(Days) + I(2 * Days) + arm:dose + offset(half) + (0 + center(Days) | Subject)",
    ],
)
def test_the_fits_own_rows_have_the_fitted_values(formula, estimator):
    table = sleep()
    fit = wb.fit(formula, table, estimator)
    own, again = fit.predict(), fit.predict(table.drop(columns="Reaction"))
    np.testing.assert_allclose(own["estimate"], fit.fitted, rtol=1e-11)
    np.testing.assert_allclose(again["estimate"], fit.fitted, rtol=1e-11)
    np.testing.assert_allclose(own["std_error"], again["std_error"], rtol=1e-9)
    width = (own["conf_high"] - own["conf_low"]) / own["std_error"]
    np.testing.assert_allclose(width, 2 * 1.959963984540054, rtol=1e-9)


def test_rows_keep_their_order_and_their_index():
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", sleep())
    new = pd.DataFrame(NEW).drop(index=2)
    found = fit.predict(new)
    assert list(found.index) == [0, 1, 3]
    pd.testing.assert_frame_equal(fit.predict(new[::-1])[::-1], found)


# --- slow dense oracle --------------------------------------------------------------------------------


def new_table(seed):
    """Rows as the fit had, and some of new levels (9)."""
    table = {name: np.append(values[:12], values[:3]) for name, values in random_table(seed).items()}
    return table | {
        "g": [0, 1, 2, 3, 4, 5, 9, 0, 1, 9, 3, 4, 5, 0, 9],
        "h": [0, 1, 2, 3, 4, 0, 1, 9, 9, 9, 0, 1, 2, 3, 4],
    }


@pytest.mark.parametrize("known_se", [False, True])
@pytest.mark.parametrize("terms", RANDOM_TERMS)
def test_errors_are_hendersons(terms, known_se):
    for seed, estimator in ((1, reml), (2, ml)):
        fit = estimator(random_design(terms, seed, known_se))
        blocks, new = fit.design.blocks, new_table(seed)
        joint, _ = error_covariance(fit)
        X = np.column_stack([np.ones(15), new["x"]])
        columns = {"(Intercept)": np.ones(15), "x": new["x"], "z": new["z"]}
        for groups in (True, False, blocks[0].group):
            pairs, added = [], np.zeros(15)
            for block, component in zip(blocks, fit.components, strict=True):
                labels = [
                    ":".join(str(v) for v in key) for key in zip(*(new[n] for n in block.group.split(":")), strict=True)
                ]
                codes = np.array([block.levels.index(label) if label in block.levels else -1 for label in labels])
                Z = np.column_stack([columns[term] for term in block.terms])
                if groups is True or groups == block.group:
                    added += np.where(codes < 0, np.einsum("mq,qr,mr->m", Z, component.covariance, Z), 0.0)
                    pairs.append((Z, codes))
                else:
                    pairs.append((0 * Z, codes))
            rows = np.hstack([X, wide(pairs, [len(b.levels) for b in blocks])])
            effects = np.concatenate([part.effect.estimate.ravel() for part in fit.group_effects])
            found = fit.predict(new, groups, new_levels="population")
            mean = rows @ np.concatenate([fit.population.estimate, effects]) + new["o"]
            np.testing.assert_allclose(found["estimate"], mean, rtol=1e-10)
            variance = np.einsum("mk,kl,ml->m", rows, joint, rows) + added
            # the oracle inverts a matrix whose condition is about 1e6
            np.testing.assert_allclose(found["std_error"] ** 2, variance, rtol=1e-7)


def test_without_pooling_errors_are_those_of_one_regression():
    table = random_table(3)
    fit = wb.fit("y ~ x + z + (x | g)", table, "no_pooling", weights="w")
    Z = np.column_stack([np.ones(60), table["x"]])
    D = np.hstack([wide([(Z, table["g"])], [6]), table["z"][:, None]])
    covariance = fit.sigma**2 * np.linalg.inv(D.T @ (table["w"][:, None] * D))
    found = fit.predict({"x": [0.0, 4.0, 3.0], "z": [1.0, -2.0, 0.5], "g": [5, 0, 77]}, new_levels="population")
    rows = np.hstack([wide([(np.array([[1.0, 0.0], [1.0, 4.0]]), np.array([5, 0]))], [6]), [[1.0], [-2.0]]])
    variance = np.einsum("mk,kl,ml->m", rows, covariance, rows)
    np.testing.assert_allclose(found["std_error"][:2] ** 2, variance, rtol=1e-9)
    assert np.isnan(found["std_error"][2])
    assert found["std_error_kind"][2] == "none: without pooling, nothing is known of a new level"
    assert found["estimate"][2] == pytest.approx(fit.population.estimate @ [1, 3, 0.5], rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"covariance": "joint", "dispersion": "reml"}, {"mean": 3.0, "sd": 0.5}])
def test_under_a_fixed_prior_errors_are_the_posteriors(options):
    table = random_table(4)
    fit = wb.fit("y ~ z + (x | g)", table, "fixed_prior", weights="w", options=options)
    Z, R = np.column_stack([np.ones(60), table["x"]]), table["z"][:, None]
    D = np.hstack([wide([(Z, table["g"])], [6]), R])
    prior = np.zeros((13, 13))
    prior[:12, :12] = np.kron(np.eye(6), np.linalg.inv(fit.components[0].covariance))
    covariance = np.linalg.inv(D.T @ (table["w"][:, None] * D) / fit.sigma**2 + prior)
    mean = np.append(np.tile(fit.diagnostics["prior_mean"], 6), 0.0)
    right = D.T @ (table["w"] * table["y"]) / fit.sigma**2 + prior @ mean
    posterior = covariance @ right
    found = fit.predict({"x": [0.0, 4.0, 3.0], "z": [1.0, -2.0, 0.5], "g": [5, 0, 77]}, new_levels="population")
    pairs = [(np.array([[1.0, 0.0], [1.0, 4.0], [1.0, 3.0]]), np.array([5, 0, -1]))]
    rows = np.hstack([wide(pairs, [6]), [[1.0], [-2.0], [0.5]]])
    new = np.array([0.0, 0.0, fit.diagnostics["prior_mean"] @ np.array([1.0, 3.0])])
    np.testing.assert_allclose(found["estimate"], rows @ posterior + new, rtol=1e-9)
    added = np.array([0.0, 0.0, [1.0, 3.0] @ fit.components[0].covariance @ [1.0, 3.0]])
    variance = np.einsum("mk,kl,ml->m", rows, covariance, rows) + added
    np.testing.assert_allclose(found["std_error"] ** 2, variance, rtol=1e-8)


def test_draws_give_the_posterior_sd_of_the_mean():
    import xarray as xr

    design, rng = random_design("(x | g) + (1 | h)"), np.random.default_rng(0)
    draws = {
        "b": rng.normal(size=(2, 50, 2)),
        "effect_g": rng.normal(size=(2, 50, 6, 2)),
        "effect_h": rng.normal(size=(2, 50, 5, 1)),
        "sd_g": rng.uniform(1, 2, (2, 50, 2)),
        "cor_g": np.broadcast_to([[1.0, 0.3], [0.3, 1.0]], (2, 50, 2, 2)),
        "sd_h": rng.uniform(1, 2, (2, 50, 1)),
    }
    arrays = {name: (["chain", "draw", *(f"{name}{k}" for k in range(v.ndim - 2))], v) for name, v in draws.items()}
    fit = replace(reml(design), estimator="hierarchical", sampled=SimpleNamespace(posterior=xr.Dataset(arrays)))
    found = fit.predict({"x": [2.0, 2.0], "g": [4, 9], "h": [1, 1], "o": [0.5, 0.5]}, new_levels="population")
    shared = draws["b"] @ [1.0, 2.0] + draws["effect_h"][:, :, 1, 0] + 0.5
    known = (shared + draws["effect_g"][:, :, 4] @ [1.0, 2.0]).ravel()
    assert found["estimate"].tolist() == pytest.approx([known.mean(), shared.mean()], rel=1e-12)
    sd = draws["sd_g"]
    spread = sd[..., 0] ** 2 + 4 * sd[..., 1] ** 2 + 2 * 2 * 0.3 * sd[..., 0] * sd[..., 1]
    expected = [known.std(ddof=1), np.sqrt(shared.var(ddof=1) + spread.mean())]
    assert found["std_error"].tolist() == pytest.approx(expected, rel=1e-12)
    assert [found["conf_low"][0], found["conf_high"][0]] == pytest.approx(np.quantile(known, [0.025, 0.975]).tolist())
    assert found["interval"].tolist() == ["equal-tailed 95 %", "normal 95 %"]


@pytest.mark.slow
def test_full_bayes_at_day_zero_is_the_coefficient():
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", sleep(), "hierarchical", options={"draws": 200, "tune": 300})
    np.testing.assert_allclose(fit.predict()["estimate"], fit.fitted, rtol=1e-12)
    found = fit.predict({"Days": [0], "Subject": ["335"]}).iloc[0]
    own = fit.coefficients.query("level == '335' and term == '(Intercept)'").iloc[0]
    for name in ("estimate", "std_error", "conf_low", "conf_high"):
        assert found[name] == pytest.approx(own[name], rel=1e-12)
    assert (found["point"], found["std_error_kind"], found["interval"]) == tuple(
        own[name] for name in ("point", "std_error_kind", "interval")
    )


# --- closed form --------------------------------------------------------------------------------------


def test_a_new_level_adds_the_spread_between_groups():
    # a new batch's mean: Var(mean of means) + tau^2, in a balanced one-way layout (tau^2 + sigma^2/n)/J + tau^2
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", DATA / "datasets" / "Dyestuff.csv")
    found = fit.predict({"Batch": ["new", None]}, new_levels="population")
    tau2 = fit.components[0].covariance[0, 0]
    variance = (tau2 + fit.sigma**2 / 5) / 6 + tau2
    np.testing.assert_allclose(found["std_error"] ** 2, variance, rtol=1e-10)
    assert found["new_level"].tolist() == ["Batch new", "Batch missing"]
    assert set(found["std_error_kind"]) == {"prediction SE, new level"}


def test_without_pooling_a_column_of_the_groups_is_held_by_them():
    table = sleep()
    table["male"] = np.repeat(np.arange(18) % 2, 10)
    table["twice"] = 2 * table["Days"] + 3 * table["male"]
    fit = wb.fit("Reaction ~ arm + male + twice + (Days | Subject)", table, "no_pooling")
    new = table.iloc[[0, 10, 20]].copy()
    np.testing.assert_allclose(fit.predict(new)["estimate"], fit.fitted[[0, 10, 20]], rtol=1e-11)
    new.loc[new.index[1], "male"] = 0  # Subject 309 as it never was
    found = fit.predict(new)
    assert np.isnan(found["estimate"]).tolist() == [False, True, False]
    assert found["std_error_kind"].iloc[1] == "none: the fit has no estimate for this row"
    assert np.isnan(fit.predict(groups=False)["estimate"]).all()


# --- missing values, new levels, offsets --------------------------------------------------------------


def test_rows_with_missing_values_have_no_prediction_and_are_counted():
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", sleep())
    new = {"Days": [1.0, np.nan, 2.0], "Subject": ["308", "309", None]}
    found = fit.predict(new)
    assert np.isnan(found["estimate"]).tolist() == [False, True, True]
    assert found["point"].tolist() == ["BLUP", "none: a value is missing", "none: a value is missing"]
    assert found.attrs["rows"] == "3 rows, 2 without a prediction (missing: Days 1, Subject 1)"
    # the population's value needs no group, and a missing group is a new level where these are let in
    for options in ({"groups": False}, {"new_levels": "population"}):
        assert np.isnan(fit.predict(new, **options)["estimate"]).tolist() == [False, True, False]
    nothing = fit.predict({"Days": [None, None], "Subject": ["308", "309"]})
    assert np.isnan(nothing["estimate"]).all()
    assert len(nothing) == 2


@pytest.mark.parametrize(
    ("new", "error", "said"),
    [
        (
            {"Days": [1, 2], "Subject": ["308", "3090"], "arm": ["p", "q"]},
            DataError,
            "Subject is '3090' in data row 2, but the fit had no row of this level. Did you mean '309'?",
        ),
        (
            {"Days": [1], "Subject": ["308"], "arm": ["s"]},
            DataError,
            "arm is 's' in data row 1, a level without a coefficient: the fit had no row of it. There are: p, q, r.",
        ),
        ({"Days": ["x"], "Subject": ["308"], "arm": ["p"]}, DesignError, "Days holds labels ('x', ...), but a number"),
        ({"Days": [1], "Subject": ["308"]}, DataError, "The table has no column 'arm'"),
    ],
)
def test_what_the_fit_cannot_know_is_refused(new, error, said):
    fit = wb.fit("Reaction ~ Days + arm + (Days | Subject)", sleep())
    with pytest.raises(error) as caught:
        fit.predict(new)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": "subject"}, "There is no grouping factor 'subject' in this fit. Did you mean 'Subject'?"),
        ({"new_levels": "zero"}, "new_levels is 'zero'"),
        ({"level": 95}, "level is 95"),
    ],
)
def test_options_are_checked(options, said):
    fit = wb.fit("Reaction ~ Days + (1 | Subject)", sleep())
    with pytest.raises(OptionError) as caught:
        fit.predict(**options)
    assert said in str(caught.value)


def test_an_offset_is_taken_from_the_column_that_was_named():
    table = random_table(5)
    by_name = wb.fit("y ~ x + (1 | g)", table, offset="o")
    inside = wb.fit("y ~ x + (1 | g) + offset(o)", table)
    new = {"x": [1.0, 2.0], "g": [0, 3], "o": [10.0, -10.0]}
    np.testing.assert_allclose(by_name.predict(new)["estimate"], inside.predict(new)["estimate"], rtol=1e-12)
    assert by_name.predict(new)["estimate"][0] == pytest.approx(
        by_name.predict(new | {"o": [0.0, 0.0]})["estimate"][0] + 10, rel=1e-12
    )
    by_array = wb.fit("y ~ x + (1 | g)", table, offset=table["o"])
    np.testing.assert_allclose(by_array.predict()["estimate"], by_array.fitted, rtol=1e-12)
    with pytest.raises(DataError, match="offset given as an array"):
        by_array.predict(new)


def test_labels_are_matched_whatever_their_type():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": [10, 10, 2, 2, 3, 3], "f": ["1", "2"] * 3}
    fit = reml(build_design("y ~ f + (1 | g)", table))
    expected = fit.fitted[[0, 3]]
    for g, f in (([10, 2], ["1", "2"]), (["10", "2"], [1, 2]), ([10.0, 2.0], pd.Categorical(["1", "2"], ["2", "1"]))):
        np.testing.assert_allclose(fit.predict({"g": g, "f": f})["estimate"], expected, rtol=1e-12)

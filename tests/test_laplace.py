"""`laplace`. Rungs: closed form, slow dense oracle, differences, invariance, R's figures."""

import json

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators.laplace import Options, laplace
from workbench.glmm.laplace import determinant, laplace_gradient
from workbench.glmm.laplace import laplace as deviance
from workbench.glmm.pirls import conditional_mode
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
LINKS = [("binomial", "logit"), ("binomial", "probit"), ("binomial", "cloglog"), ("poisson", "log")]


def cbpp(**more):
    import pandas as pd

    table = pd.read_csv(DATA / "datasets" / "cbpp.csv", dtype={"herd": str, "period": str})
    return table.assign(q=table["period"].astype(float), **more)


def table_of(seed=1, n=120):
    """Counts, shares and their columns; every level of every factor occurs."""
    rng = np.random.default_rng(seed)
    g, h, k = np.arange(n) % 9, rng.integers(0, 6, n), rng.integers(0, 3, n)
    g = rng.permutation(g)
    x, z = rng.normal(2, 1.5, n), rng.normal(size=n)
    eta = -0.3 + 0.6 * rng.normal(size=9)[g] + 0.5 * rng.normal(size=6)[h] + 0.3 * z
    trials = rng.integers(1, 7, n)
    s = rng.binomial(trials, 1 / (1 + np.exp(-eta)))
    return {
        "s": s, "f": trials - s, "c": rng.poisson(np.exp(eta)), "x": x, "z": z, "o": 0.3 * rng.normal(size=n),
        "g": [f"g{i}" for i in g], "h": [f"h{i}" for i in h], "k": [f"k{i}" for i in k],
        "part": [f"{i}{j}" for i, j in zip(g % 3, g, strict=True)], "whole": [f"w{i}" for i in g % 3],
    }  # fmt: skip


def design_for(terms, family="binomial", link="logit", seed=1):
    response = "c" if family == "poisson" else "cbind(s, f)"
    return build_design(f"{response} ~ {terms}", table_of(seed), family, link)


# --- slow dense oracle --------------------------------------------------------------------------------


def density(design, eta):
    """Log likelihood of all rows from scipy's distributions."""
    from scipy.special import expit, ndtr
    from scipy.stats import binom, poisson

    if design.family == "poisson":
        return float(poisson.logpmf(design.y, np.exp(eta)).sum())
    p = {"logit": expit, "probit": ndtr, "cloglog": lambda e: -np.expm1(-np.exp(e))}[design.link](eta)
    trials = design.weights
    return float(binom.logpmf(np.rint(design.y * trials), trials, p).sum())


def expected_information(design, eta):
    """Fisher's, row by row, from the slope of the mean by differences."""
    from scipy.special import expit, ndtr

    inverse = {"logit": expit, "probit": ndtr, "cloglog": lambda e: -np.expm1(-np.exp(e)), "log": np.exp}[design.link]
    slope, mean = (inverse(eta + 1e-5) - inverse(eta - 1e-5)) / 2e-5, inverse(eta)
    return design.weights * slope**2 / (mean if design.family == "poisson" else mean * (1 - mean))


def dense_laplace(design, covariances, b, expected=True):
    """-2 log of Laplace's approximation, a column per effect: modes by a general minimiser, dense determinants."""
    from scipy.linalg import block_diag, sqrtm
    from scipy.optimize import minimize

    columns, roots = [], []
    for block, S in zip(design.blocks, covariances, strict=True):
        for j in range(len(block.levels)):
            columns.append((block.codes == j)[:, None] * block.Z)
            roots.append(np.real(sqrtm(S)))
    Z = np.hstack(columns) @ block_diag(*roots)
    fixed = design.X @ b + design.offset

    def joint(s):
        return -2 * density(design, fixed + Z @ s) + s @ s

    s = minimize(joint, np.zeros(Z.shape[1]), method="BFGS", options={"gtol": 1e-5}).x
    eta = fixed + Z @ s
    if expected:
        W = expected_information(design, eta)
    else:
        rows = Rows.of(design)
        assert len(rows.offset) == design.n
        W = np.array(
            [-_second(lambda e, i=i: density(_row(design, i), np.array([e])), eta[i]) for i in range(design.n)]
        )
    return joint(s) + np.linalg.slogdet(Z.T @ (W[:, None] * Z) + np.eye(Z.shape[1]))[1]


def _row(design, i):
    from dataclasses import replace

    return replace(design, y=design.y[i : i + 1], weights=design.weights[i : i + 1])


def _second(f, x, h=1e-3):
    """A second difference of fourth order."""
    return (-f(x + 2 * h) + 16 * f(x + h) - 30 * f(x) + 16 * f(x - h) - f(x - 2 * h)) / (12 * h * h)


def at_point(design, seed=0, expected=True):
    """The deviance at some theta and b, the covariances of the data's columns, and b in the data's columns."""
    rows = Rows.of(design)
    rng = np.random.default_rng(seed)
    shape = rows.theta
    theta = shape.at(np.where(shape.on_diagonal, rng.uniform(0.3, 0.9, len(shape.values)), 0.2))
    b = 0.2 * rng.normal(size=rows.p)
    working = Working(rows)
    mode = conditional_mode(working, theta.factors, b)
    covariances = [None] * len(design.blocks)
    for f, Lambda in zip(rows.factors, theta.factors, strict=True):
        for place, here, R in zip(f.places, f.blocks, f.maps, strict=True):
            root = R @ Lambda[here, here]
            covariances[place] = root @ root.T
    return deviance(working, mode, determinant(working, mode, expected)), covariances, rows.to_data @ b


@pytest.mark.parametrize(
    ("terms", "family", "link"),
    [("z + (1 | g)", *LINKS[0]), ("x + (x | g) + (1 | h)", *LINKS[3]), ("1 + (1 | whole/part)", *LINKS[2])],
)
def test_the_deviance_is_the_dense_one(terms, family, link):
    design = design_for(terms, family, link)
    value, covariances, b = at_point(design)
    assert value == pytest.approx(dense_laplace(design, covariances, b), rel=1e-7)  # where F is least it is flat


@pytest.mark.parametrize("link", ["probit", "cloglog"])
def test_observed_information_is_the_second_derivative(link):
    design = design_for("z + (1 | h)", "binomial", link)
    value, covariances, b = at_point(design, expected=False)
    assert value == pytest.approx(dense_laplace(design, covariances, b, expected=False), rel=1e-7)
    assert abs(value - at_point(design)[0]) > 1e-3


@pytest.mark.parametrize("profiled", [False, True])
@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("terms", ["z + (1 | g)", "x + (x + z | g)", "z + (x || g) + (z | h) + (1 | k)"])
@pytest.mark.parametrize(("family", "link"), LINKS)
def test_the_gradient_is_that_of_differences(terms, family, link, expected, profiled):
    rows = Rows.of(design_for(terms, family, link))
    working, shape = Working(rows), rows.theta
    rng = np.random.default_rng(3)
    m = len(shape.values)
    at = np.concatenate([rng.normal(0.4, 0.3, m), 0.2 * rng.normal(size=rows.p)])

    def value(both, gradient=False):
        mode = conditional_mode(working, shape.at(both[:m]).factors, None if profiled else both[m:])
        det = determinant(working, mode, expected)
        if not gradient:
            return deviance(working, mode, det)
        by_factor, by_b = laplace_gradient(working, mode, det)
        return np.concatenate([shape.gather(by_factor), by_b])

    found = value(at, gradient=True)
    for k in range(m if profiled else len(at)):
        step = np.eye(len(at))[k] * 1e-4
        difference = (8 * (value(at + step) - value(at - step)) - value(at + 2 * step) + value(at - 2 * step)) / 12e-4
        assert found[k] == pytest.approx(difference, abs=1e-6 * (1 + abs(difference)))


def test_sparse_and_dense_links_are_the_same(monkeypatch):
    import workbench.blocks
    import workbench.glmm.working as room

    for terms in ("x + (x | g) + (z | h)", "1 + (1 | whole/part)", "z + (1 | g) + (1 | h) + (1 | k)"):
        design = design_for(terms)
        dense = at_point(design)[0]
        with monkeypatch.context() as patch:
            patch.setattr(room, "FEW_CELLS", 0)
            patch.setattr(room, "PAIRED", np.inf)
            patch.setattr(workbench.blocks, "UNCUT", 0)
            assert not Working(Rows.of(design)).links.dense
            assert at_point(design)[0] == pytest.approx(dense, rel=1e-12)
            sparse = laplace(design)
        assert sparse.criterion == pytest.approx(laplace(design).criterion, abs=1e-9)


# --- closed form --------------------------------------------------------------------------------------


def test_without_spread_it_is_the_plain_regression():
    # Two groups with the same counts: the spread is zero, and log odds are those of the pooled counts, 12 of 40.
    table = {"s": [6, 6], "f": [14, 14], "g": ["a", "b"]}
    fit = wb.fit("cbind(s, f) ~ 1 + (1 | g)", table, "laplace", family="binomial")
    assert fit.singular
    assert fit.components[0].sd[0] == 0.0
    assert fit.population.estimate[0] == pytest.approx(np.log(12 / 28), abs=1e-9)
    assert fit.population.std_error[0] == pytest.approx((1 / 12 + 1 / 28) ** 0.5, rel=1e-7)
    assert (fit.group_effects[0].effect.estimate == 0).all()
    assert any("Zero is the edge" in text for text in fit.warnings)


def test_modes_obey_their_equation():
    # u_j / tau^2 is the score of level j: observed less fitted successes
    fit = wb.fit(CBPP, cbpp(), "laplace", family="binomial")
    design = fit.design
    block = design.blocks[0]
    left = np.bincount(block.codes, design.weights * (design.y - fit.fitted))
    u = fit.group_effects[0].effect.estimate[:, 0]
    assert u / fit.components[0].covariance[0, 0] == pytest.approx(left, abs=1e-9)


# --- invariance ---------------------------------------------------------------------------------------


def test_scale_origin_order_and_names_do_not_matter():
    table = table_of(4)
    formula = "cbind(s, f) ~ x + (x | g) + (1 | h)"
    fit = wb.fit(formula, table, "laplace", family="binomial")
    order = np.random.default_rng(2).permutation(len(table["x"]))
    other = {name: np.asarray(column)[order] for name, column in table.items()}
    other["x"] = 1000 * other["x"]
    other["h"] = ["other " + h[::-1] for h in other["h"]]
    moved = wb.fit(formula, other, "laplace", family="binomial")
    assert moved.criterion == pytest.approx(fit.criterion, abs=1e-8)
    unit = np.array([1.0, 1000.0])
    assert moved.population.estimate * unit == pytest.approx(fit.population.estimate, rel=1e-6)
    assert moved.population.std_error * unit == pytest.approx(fit.population.std_error, rel=1e-5)
    assert moved.components[0].sd * unit == pytest.approx(fit.components[0].sd, rel=1e-5)


def test_counts_and_the_trials_they_are_sums_of_are_one():
    # every animal a row of its own: the same, but for the binomial coefficients in the deviance
    from scipy.special import gammaln

    counts = cbpp()
    rows = [(r.herd, r.period, k < r.incidence) for r in counts.itertuples() for k in range(r.size)]
    herd, period, ill = zip(*rows, strict=True)
    table = {"herd": herd, "period": period, "ill": np.array(ill, dtype=float)}
    fit = wb.fit(CBPP, counts, "laplace", family="binomial")
    single = wb.fit("ill ~ period + (1 | herd)", table, "laplace", family="binomial")
    n, s = counts["size"], counts["incidence"]
    constant = (gammaln(n + 1) - gammaln(s + 1) - gammaln(n - s + 1)).sum()
    assert single.diagnostics["distinct_rows"] == 56
    assert single.criterion - 2 * constant == pytest.approx(fit.criterion, abs=1e-9)
    assert single.population.estimate == pytest.approx(fit.population.estimate, rel=1e-9)
    assert single.group_effects[0].effect.std_error == pytest.approx(fit.group_effects[0].effect.std_error, rel=1e-9)


def test_weights_are_repeats():
    table = cbpp()
    twice = {name: np.repeat(table[name].to_numpy(), table["q"].astype(int)) for name in table}
    weighed = wb.fit("incidence ~ q + (1 | herd)", table, "laplace", family="poisson", weights="q")
    repeated = wb.fit("incidence ~ q + (1 | herd)", twice, "laplace", family="poisson")
    assert weighed.criterion == pytest.approx(repeated.criterion, abs=1e-8)
    assert weighed.population.estimate == pytest.approx(repeated.population.estimate, rel=1e-8)


def test_columns_that_are_combinations_have_no_spread_of_their_own():
    table = table_of(2) | {"twice": 2 * np.asarray(table_of(2)["z"])}
    fit = wb.fit("cbind(s, f) ~ z + (1 | g) + (0 + z + twice | h)", table, "laplace", family="binomial")
    plain = wb.fit("cbind(s, f) ~ z + (1 | g) + (0 + z | h)", table, "laplace", family="binomial")
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert any("do not tell apart" in text for text in fit.warnings)


# --- R's figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "formula", "family"),
    [
        ("cbpp--period", CBPP, "binomial"),
        ("grouseticks--sHEIGHT", "TICKS ~ YEAR + sHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "poisson"),
    ],
)
def test_r_figures_at_its_polished_optimum(case, formula, family):
    # lme4 1.1-31, glmer at the best of several optimisers with Newton steps on its deviance: 1e-9 is its precision
    r = json.loads((DATA / "glmer" / f"{case}.json").read_text())["Laplace"]
    fit = wb.fit(formula, DATA / "datasets" / f"{case.split('--')[0]}.csv", "laplace", family=family)
    assert fit.converged
    assert fit.criterion == pytest.approx(r["criterion"], abs=1e-8)
    assert (fit.df, fit.aic, fit.bic) == (r["df"], pytest.approx(r["AIC"]), pytest.approx(r["BIC"]))
    assert fit.population.estimate == pytest.approx(list(r["fixef"].values()), rel=1e-8)
    assert fit.population.std_error == pytest.approx(list(r["se_hessian"].values()), rel=1e-6)
    assert fit.fixed_cov == pytest.approx(np.array(r["vcov_hessian"]["values"]), rel=1e-5, abs=1e-8)
    for part, effects in zip(fit.components, fit.group_effects, strict=True):
        assert part.sd == pytest.approx(list(r["VarCorr"][part.group]["sd"].values()), rel=1e-8)
        there = {label: k for k, label in enumerate(r["ranef"][part.group]["levels"])}
        order = [there[level] for level in effects.levels]
        modes = np.array(r["ranef"][part.group]["values"])[order]
        spread = np.sqrt(np.array(r["condVar"][part.group][0]["array"])[order][:, 0])
        assert effects.effect.estimate == pytest.approx(modes, abs=1e-8)
        assert effects.effect.std_error == pytest.approx(spread, rel=1e-8)
    assert fit.fitted[:10] == pytest.approx(r["fitted_head"], rel=1e-8)


def inst_eval():
    import pandas as pd

    table = pd.read_csv(DATA / "datasets" / "InstEval.csv.gz", dtype={"s": str, "d": str, "service": str})
    table = table[table["s"].astype(int) <= 150]
    return table.assign(good=(table["y"] > 3).astype(int))


def sleep():
    import pandas as pd

    table = pd.read_csv(DATA / "datasets" / "sleepstudy.csv", dtype={"Subject": str})
    return table.assign(slow=(table["Reaction"] > 300).astype(int))


R_FIGURES = {
    # ctl <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(maxfun = 1e5, rhoend = 1e-10))
    # glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial("probit"), control = ctl)
    "probit": (cbpp, CBPP, {"family": "binomial", "link": "probit"}, 185.242446746,
        [-0.835477500, -0.528033791, -0.616886658, -0.799563144], [0.33799177]),
    # the same, binomial("cloglog")
    "cloglog": (cbpp, CBPP, {"family": "binomial", "link": "cloglog"}, 183.604075835,
        [-1.525980740, -0.916320198, -1.035162029, -1.483633002], [0.58668734]),
    # cbpp$q <- as.integer(cbpp$period); glmer(cbind(incidence, size - incidence) ~ q + (q | herd), cbpp, binomial)
    "slope": (cbpp, "cbind(incidence, size - incidence) ~ q + (q | herd)", {"family": "binomial"}, 184.175236279,
        [-0.910825153, -0.602426512], [1.06710068, 0.34167890, -0.86189743]),
    # glmer(cbind(incidence, size - incidence) ~ q + (q || herd), cbpp, binomial): the slopes' SD is 7e-24
    "singular": (cbpp, "cbind(incidence, size - incidence) ~ q + (q || herd)", {"family": "binomial"}, 186.569325924,
        [-0.932357733, -0.559401014], [0.66372118, 0.0]),
    # glmer(incidence ~ period + offset(log(size)) + (1 | herd), cbpp, poisson)
    "offset": (cbpp, "incidence ~ period + offset(log(size)) + (1 | herd)", {"family": "poisson"}, 180.483295442,
        [-1.648364868, -0.844064412, -0.966289173, -1.391046415], [0.491579]),
    # glmer(incidence ~ q + (1 | herd), cbpp, poisson, weights = q)
    "weights": (cbpp, "incidence ~ q + (1 | herd)", {"family": "poisson", "weights": "q"}, 387.397040161,
        [1.691422354, -0.617433636], [0.62076716]),
    # i <- subset(InstEval, as.integer(as.character(s)) <= 150); i$good <- as.integer(i$y > 3)
    # glmer(good ~ 1 + (1 | s) + (1 | d), i, binomial)
    "crossed": (inst_eval, "good ~ 1 + (1 | s) + (1 | d)", {"family": "binomial"}, 5188.1341755,
        [-0.151918814], [0.47700866, 0.65307251]),
    # glmer(good ~ service + (service | d) + (1 | s), i, binomial)
    "crossed slopes": (inst_eval, "good ~ service + (service | d) + (1 | s)", {"family": "binomial"}, 5177.3667404,
        [-0.224039236, 0.185606482], [0.76992519, 0.37307790, -0.89238637, 0.48335568]),
    # sleepstudy$slow <- as.integer(sleepstudy$Reaction > 300)
    # glmer(slow ~ Days + (Days | Subject), sleepstudy, binomial)
    "binary slopes": (sleep, "slow ~ Days + (Days | Subject)", {"family": "binomial"}, 171.137738033,
        [-3.518750904, 0.666246929], [2.03482440, 0.35718997, -0.53941505]),
}  # fmt: skip


@pytest.mark.parametrize("case", R_FIGURES)
def test_r_figures_of_glmer_with_tight_tolerances(case):
    data, formula, more, value, fixed, sdcor = R_FIGURES[case]
    fit = wb.fit(formula, data(), "laplace", **more)
    assert fit.converged
    assert fit.singular == (case == "singular")
    assert fit.criterion <= value + 1e-6  # ours may be lower: bobyqa stops short of the optimum
    assert fit.criterion == pytest.approx(value, abs=2e-4)  # and glmer's value is a step of PIRLS old
    # and its parameters as near as the stale step lets them: to a thousandth of a standard error
    assert fit.population.estimate == pytest.approx(fixed, rel=1e-4, abs=1e-3 * fit.population.std_error.min())
    assert fit.variance["sdcor"].to_numpy() == pytest.approx(sdcor, rel=1e-4, abs=1e-9)


# --- manners ------------------------------------------------------------------------------------------


def test_the_fixed_prior_with_these_estimates_lands_on_these_modes():
    for fixed in ("1", "period"):
        formula = f"cbind(incidence, size - incidence) ~ {fixed} + (1 | herd)"
        comparison = wb.compare(formula, cbpp(), ["laplace", "fixed_prior"], family="binomial")
        assert comparison.agreement["max_difference"].max() < 1e-12
        a, b = comparison.fits["laplace"], comparison.fits["fixed_prior"]
        assert b.population.estimate == pytest.approx(a.population.estimate, rel=1e-12)
        conditional = a.group_effects[0].effect.std_error
        assert b.group_effects[0].effect.std_error == pytest.approx(conditional, rel=1e-9)
    free = wb.fit(CBPP, cbpp(), "fixed_prior", family="binomial", options={"population": "estimated"})
    assert abs(free.population.estimate[1] - a.population.estimate[1]) > 0.03  # bayesglm's: modes, not margins


def test_separated_outcomes_are_said():
    table = {"y": [0, 0, 0, 1, 1, 1, 0, 1], "x": [1.0, 2, 3, 7, 8, 9, 2.5, 7.5], "g": list("aabbabab")}
    fit = wb.fit("y ~ x + (1 | g)", table, "laplace", family="binomial")
    assert any("separated" in text for text in fit.warnings)


def test_what_it_refuses():
    with pytest.raises(OptionError, match="laplace fits binomial, poisson responses, not gaussian"):
        wb.fit("incidence ~ 1 + (1 | herd)", cbpp(), "laplace")
    with pytest.raises(OptionError, match=r"information is 'expectd'\. Did you mean 'expected'"):
        Options(information="expectd")
    with pytest.raises(DesignError, match="zero in every row"):
        wb.fit("incidence ~ 1 + (0 + nil | herd)", cbpp(nil=0.0), "laplace", family="poisson")


def test_large_counts_keep_their_digits():
    # Means of 10^5: levels know their effects to 10^-4, and sums over rows are 10^9 times what parameters change.
    rng = np.random.default_rng(3)
    g, h = rng.integers(0, 12, 200), rng.integers(0, 7, 200)
    counts = rng.poisson(1e5 * np.exp(rng.normal(size=12)[g] + 0.3 * rng.normal(size=7)[h]))
    table = {"c": counts, "g": [f"g{i}" for i in g], "h": [f"h{i}" for i in h]}
    fit = wb.fit("c ~ 1 + (1 | g) + (1 | h)", table, "laplace", family="poisson")
    assert fit.converged
    assert fit.diagnostics["gradient"] < 1e-5
    left = fit.design.y - fit.fitted
    for block, part, effects in zip(fit.design.blocks, fit.components, fit.group_effects, strict=True):
        score = np.bincount(block.codes, left)
        assert effects.effect.estimate[:, 0] / part.covariance[0, 0] == pytest.approx(score, abs=1e-5)


def test_nothing_but_failures_or_nothing_counted_ends_with_a_warning():
    for response, family in (("none", "poisson"), ("none", "binomial"), ("every", "binomial")):
        table = table_of() | {"none": np.zeros(120), "every": np.ones(120)}
        fit = wb.fit(f"{response} ~ x + (1 | g)", table, "laplace", family=family)
        assert np.isfinite(fit.population.std_error).all()
        assert any("run away" in text or "separated" in text for text in fit.warnings)


@pytest.mark.parametrize("estimator", ["laplace", "agq"])
def test_a_spread_between_levels_of_one_outcome_each_is_called_undetermined(estimator):
    """The likelihood is highest at a spread without end: half the 8 levels of 5 rows are successes, half failures."""
    table = {"y": [1] * 20 + [0] * 20, "g": [str(j // 5) for j in range(40)]}
    fit = wb.fit("y ~ 1 + (1 | g)", table, estimator, family="binomial")
    assert (
        fit.criterion.value > 16 * np.log(2) - 1
    )  # 8 signs of effects: no spread gives less, up to quadrature's error
    assert any(text.startswith("Undetermined: no level of g has both outcomes") for text in fit.warnings)
    table["y"][0] = 0
    fit = wb.fit("y ~ 1 + (1 | g)", table, estimator, family="binomial")
    assert not any("both outcomes" in text for text in fit.warnings)


def test_rows_that_are_levels_are_not_called_levels_of_one_outcome():
    fit = wb.fit("y ~ 1 + (1 | g)", {"y": [0, 1, 0, 1, 1], "g": list("abcde")}, "laplace", family="binomial")
    assert not any("both outcomes" in text for text in fit.warnings)

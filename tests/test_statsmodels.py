"""`statsmodels` as an estimator: held to statsmodels run by its own formulas, to lme4's figures and to `reml`.

Rungs: statsmodels' own formula interface, run here; R's figures; our certified optimum; refusals.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.statsmodels_fits import bayes_mixed_glm
from workbench.statsmodels_fits.mixed_lm import Layout

DATA = Path(__file__).parent / "data"
SETS = DATA / "datasets"

THETA = 2e-4
"""Relative: statsmodels' BFGS stops at a slope of 1e-5, which leaves the last four digits of variances open."""


@pytest.fixture(scope="module")
def sleep():
    return pd.read_csv(SETS / "sleepstudy.csv", dtype={"Subject": str})


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


# --- MixedLM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["REML", "ML"])
def test_sleep_study_is_statsmodels_own_answer_and_lme4s_to_the_optimisers_accuracy(sleep, criterion):
    import statsmodels.formula.api as smf

    model = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    own = quietly(lambda: model.fit(reml=criterion == "REML"))
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", sleep, "statsmodels", options={"criterion": criterion})
    # one search from one start: nothing but the order of sums may differ
    np.testing.assert_allclose(fit.population.estimate, own.fe_params, rtol=1e-9)
    np.testing.assert_allclose(fit.population.std_error, own.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(fit.fixed_cov, own.cov_params().to_numpy()[:2, :2], rtol=1e-6)
    np.testing.assert_allclose(fit.components[0].covariance, own.cov_re, rtol=1e-6)
    np.testing.assert_allclose(fit.sigma**2, own.scale, rtol=1e-6)
    assert fit.criterion == pytest.approx(-2 * own.llf, abs=1e-9)
    part = fit.group_effects[0]
    effects = np.array([own.random_effects[level] for level in part.levels])
    errors = np.sqrt([np.diag(own.random_effects_cov[level]) for level in part.levels])
    np.testing.assert_allclose(part.effect.estimate, effects, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(part.effect.std_error, errors, rtol=1e-6)
    np.testing.assert_allclose(part.coefficient.estimate, effects + fit.population.estimate, rtol=1e-9)
    assert np.isnan(part.coefficient.std_error).all()
    assert part.coefficient.std_error_kind == "none: statsmodels gives none"

    # the optimum, certified
    best = wb.fit("Reaction ~ Days + (Days | Subject)", sleep, criterion.lower())
    assert abs(fit.diagnostics["above"]) < 1e-7  # quadratic in the error of theta
    np.testing.assert_allclose(fit.components[0].covariance, best.components[0].covariance, rtol=THETA)
    np.testing.assert_allclose(part.effect.estimate, best.group_effects[0].effect.estimate, atol=5e-4)
    # statsmodels' covariance of effects is the one given the population coefficients: lme4's condVar
    np.testing.assert_allclose(part.effect.std_error, best.group_effects[0].effect.std_error, rtol=1e-5)

    lme4 = json.loads((DATA / "lmer" / "sleepstudy--slope.json").read_text())[criterion]
    assert fit.criterion == pytest.approx(lme4["criterion"], abs=1e-7)
    assert (fit.df, fit.aic) == (lme4["df"], pytest.approx(lme4["AIC"], abs=1e-7))
    np.testing.assert_allclose(fit.population.std_error, list(lme4["se"].values()), rtol=THETA)


@pytest.mark.parametrize(
    ("formula", "data", "reference"),
    [
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", "Penicillin--crossed"),
        ("diameter ~ 1 + (1 | sample) + (1 | plate)", "Penicillin", None),
        ("strength ~ 1 + (1 | batch/cask)", "Pastes", "Pastes--nested"),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy", "sleepstudy--slope_doublebar"),
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff", "Dyestuff--ri"),
    ],
)
def test_crossed_nested_and_independent_terms_reach_remls_optimum(formula, data, reference):
    design = build_design(formula, SETS / f"{data}.csv")
    fit, best = (run_estimator(name, design, Settings()) for name in ("statsmodels", "reml"))
    assert fit.converged
    if reference:
        lme4 = json.loads((DATA / "lmer" / f"{reference}.json").read_text())["REML"]
        assert fit.criterion == pytest.approx(lme4["criterion"], abs=1e-6)
    np.testing.assert_allclose(fit.population.estimate, best.population.estimate, rtol=1e-9)
    np.testing.assert_allclose(fit.population.std_error, best.population.std_error, rtol=THETA)
    for ours, theirs in zip(best.components, fit.components, strict=True):
        np.testing.assert_allclose(theirs.sd, ours.sd, rtol=4 * THETA)
    for ours, theirs in zip(best.group_effects, fit.group_effects, strict=True):
        assert (ours.group, ours.terms, list(ours.levels)) == (theirs.group, theirs.terms, list(theirs.levels))
        np.testing.assert_allclose(theirs.effect.estimate, ours.effect.estimate, atol=1e-3)
        np.testing.assert_allclose(theirs.effect.std_error, ours.effect.std_error, rtol=4 * THETA)
    np.testing.assert_allclose(fit.fitted, best.fitted, atol=2e-3)


def test_crossed_factors_are_statsmodels_own_variance_components():
    import statsmodels.formula.api as smf

    data = pd.read_csv(SETS / "Penicillin.csv").assign(one=1)
    parts = {"plate": "0 + C(plate)", "sample": "0 + C(sample)"}
    own = quietly(lambda: smf.mixedlm("diameter ~ 1", data, groups="one", vc_formula=parts).fit())
    fit = wb.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", data, "statsmodels")
    np.testing.assert_allclose([part.sd[0] ** 2 for part in fit.components], own.vcomp, rtol=1e-6)
    effects = own.random_effects[1]
    for part in fit.group_effects:
        names = [f"{part.group}[C({part.group})[{level}]]" for level in part.levels]
        np.testing.assert_allclose(part.effect.estimate[:, 0], effects[names], rtol=1e-6, atol=1e-8)


def test_groups_of_rows_are_those_that_share_no_level():
    data = {"y": np.arange(12.0) % 5, "a": list("ppqqrrssttuu"), "b": list("vvvvwwwwxxxx"), "c": list("klklmnmnopop")}
    nested = Layout.of(build_design("y ~ 1 + (1 | a) + (1 | b)", data))
    assert (nested.count, nested.free) == (3, 1)  # b is the outermost, the second term
    crossed = Layout.of(build_design("y ~ 1 + (1 | a) + (1 | c)", data))
    assert (crossed.count, crossed.free, crossed.components) == (3, None, ((0, 0), (1, 0)))  # within b, unnamed


def test_dyestuff2_ends_near_the_boundary_and_says_so():
    fit = wb.fit("Yield ~ 1 + (1 | Batch)", SETS / "Dyestuff2.csv", "statsmodels")
    assert fit.singular
    assert fit.converged
    assert 0 < fit.components[0].sd[0] < 1e-4 * fit.sigma
    assert any("boundary of the parameter space" in text for text in fit.warnings)
    assert any(text.startswith("Singular") for text in fit.warnings)
    lme4 = json.loads((DATA / "lmer" / "Dyestuff2--ri.json").read_text())["REML"]
    assert fit.criterion == pytest.approx(lme4["criterion"], abs=1e-6)


def test_radon_ends_off_the_maximum_and_is_not_believed():
    """statsmodels calls this search converged; its criterion lies 0.77 above the smallest."""
    table = pd.read_csv(SETS / "radon.csv")
    table["log_radon"] = np.log(table["activity"].clip(lower=0.1))
    fit = wb.fit("log_radon ~ floor + (floor | county)", table, "statsmodels")
    assert fit.converged
    assert fit.diagnostics["above"] < 1e-5
    far = wb.fit("log_radon ~ floor + log_uranium + (floor | county)", table, "statsmodels")
    assert far.diagnostics["above"] > 0.01
    assert not far.converged
    assert any("this is no maximum of the likelihood" in text for text in far.warnings)


def test_an_offset_is_subtracted_from_a_gaussian_response(sleep):
    sleep = sleep.assign(known=10 * sleep["Days"])
    plain, moved = (
        wb.fit("Reaction ~ Days + (1 | Subject)", sleep, "statsmodels", offset=offset) for offset in (None, "known")
    )
    np.testing.assert_allclose(moved.population.estimate, plain.population.estimate - [0, 10], rtol=1e-7)
    np.testing.assert_allclose(moved.fitted, plain.fitted, rtol=1e-6)


def test_predictions_and_standard_errors_at_statsmodels_variances_are_remls_to_its_accuracy(sleep):
    fit, best = (wb.fit("Reaction ~ Days + (1 | Subject)", sleep, name) for name in ("statsmodels", "reml"))
    new = pd.DataFrame({"Days": [3.0], "Subject": ["308"]})
    columns = ["estimate", "std_error"]
    np.testing.assert_allclose(fit.predict(new)[columns], best.predict(new)[columns], rtol=1e-5)
    errors = ["conditional_sd", "effect_prediction_se", "coefficient_se"]
    np.testing.assert_allclose(fit.standard_errors[errors], best.standard_errors[errors], rtol=1e-5)
    both = wb.compare("Reaction ~ Days + (1 | Subject)", sleep, ["statsmodels", "reml"])
    gap = both.explain_gap("statsmodels", "reml")
    assert gap.table["cause"].iloc[1] == "variances between groups where statsmodels ended"


# --- BayesMixedGLM ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cows():
    """Cows one a row, from the herds' counts."""
    herds = pd.read_csv(SETS / "cbpp.csv", dtype={"period": str, "herd": str})
    long = herds.loc[herds.index.repeat(herds["size"]), ["herd", "period", "incidence"]]
    ill = long.groupby(level=0).cumcount() < long["incidence"]
    return herds, long.assign(ill=ill.astype(int)).reset_index(drop=True)


@pytest.mark.parametrize("method", ["vb", "map"])
def test_cbpp_is_statsmodels_own_answer_from_cows_and_from_counts(cows, method):
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    herds, long = cows
    model = BinomialBayesMixedGLM.from_formula("ill ~ period", {"herd": "0 + C(herd)"}, long, vcp_p=0.1)
    own = quietly(lambda: model.fit_vb(rng=5) if method == "vb" else model.fit_map(rng=5))
    options = {"method": method, "vcp_p": 0.1}  # tight, so that map has a mode with a spread
    cow = wb.fit("ill ~ period + (1 | herd)", long, "statsmodels", family="binomial", options=options)
    count = wb.fit(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        herds, "statsmodels", family="binomial", options=options,
    )  # fmt: skip
    order = [list(model.vc_names).index(f"C(herd)[{level}]") for level in cow.group_effects[0].levels]
    for fit in (cow, count):
        # starts differ: each ends within the optimiser's tolerance, a slope of 1e-5
        np.testing.assert_allclose(fit.population.estimate, own.fe_mean, atol=2e-4)
        np.testing.assert_allclose(fit.population.std_error, own.fe_sd, rtol=1e-3)
        np.testing.assert_allclose(fit.diagnostics["vcp_mean"], own.vcp_mean, atol=2e-4)
        part = fit.group_effects[0]
        np.testing.assert_allclose(part.effect.estimate[:, 0], own.vc_mean[order], atol=2e-4)
        np.testing.assert_allclose(part.effect.std_error[:, 0], own.vc_sd[order], rtol=1e-3)
        m, v = float(own.vcp_mean[0]), float(own.vcp_sd[0])
        spread = np.exp(m + v**2 / 2) if method == "vb" else np.exp(m)
        assert fit.components[0].sd[0] == pytest.approx(spread, rel=1e-3)
        assert fit.priors == {"b": "Normal(0, 2)", "log sd": "Normal(0, 0.1)"}
    assert (cow.diagnostics["rows"], count.diagnostics["rows"]) == (842, 842)


def test_the_error_of_a_coefficient_follows_from_the_approximate_posterior(cows):
    long = cows[1]
    for method in ("vb", "map"):
        options = {"method": method, "vcp_p": 0.1}
        fit = wb.fit("ill ~ period + (1 | herd)", long, "statsmodels", family="binomial", options=options)
        part = fit.group_effects[0]
        apart = part.effect.std_error**2 + fit.population.std_error[0] ** 2
        if method == "vb":  # independent by construction
            np.testing.assert_allclose(part.coefficient.std_error**2, apart, rtol=1e-12)
        else:  # the curvature knows that an effect and the population value make up for each other
            assert (part.coefficient.std_error**2 < apart).all()


def test_vb_is_too_sure_of_the_population_value(cows):
    """The README's figure: laplace's standard error is twice VB's SD."""
    long = cows[1]
    both = wb.compare("ill ~ period + (1 | herd)", long, ["laplace", "statsmodels"], family="binomial").fits
    laplace, vb = both["laplace"].population, both["statsmodels"].population
    np.testing.assert_allclose(vb.estimate, laplace.estimate, atol=0.02)  # a tenth of a standard error
    assert vb.std_error[0].round(3) == 0.112
    assert laplace.std_error[0].round(3) == 0.232
    assert any("its SDs are too small" in text for text in both["statsmodels"].warnings)


def test_the_joint_mode_collapses_where_the_prior_stops_it(cows):
    """With all J effects at zero the log posterior is -J log s - (log s)^2 / (2 vcp_p^2), largest at -J vcp_p^2."""
    long = cows[1]
    fit = wb.fit(
        "ill ~ period + (1 | herd)", long, "statsmodels", family="binomial", options={"method": "map", "vcp_p": 1.0}
    )
    assert fit.components[0].sd[0] == pytest.approx(np.exp(-15.0), rel=1e-4)
    assert fit.singular
    assert any("joint mode of effects and log SDs" in text for text in fit.warnings)


@pytest.mark.slow
def test_grouseticks_is_statsmodels_own_answer():
    from statsmodels.genmod.bayes_mixed_glm import PoissonBayesMixedGLM

    ticks = pd.read_csv(SETS / "grouseticks.csv", dtype={"YEAR": str})
    parts = {"brood": "0 + C(BROOD)", "place": "0 + C(LOCATION)"}
    model = PoissonBayesMixedGLM.from_formula("TICKS ~ YEAR + sHEIGHT", parts, ticks)
    own = quietly(lambda: model.fit_vb(rng=3))
    formula = "TICKS ~ YEAR + sHEIGHT + (1 | BROOD) + (1 | LOCATION)"
    fit = wb.fit(formula, ticks, "statsmodels", family="poisson")
    assert fit.converged
    np.testing.assert_allclose(fit.population.estimate, own.fe_mean, atol=1e-3)  # by another optimiser
    np.testing.assert_allclose(fit.population.std_error, own.fe_sd, rtol=5e-3)
    np.testing.assert_allclose(fit.diagnostics["vcp_mean"], own.vcp_mean, atol=5e-3)
    where = {name: k for k, name in enumerate(model.vc_names)}
    for part in fit.group_effects:
        order = [where[f"C({part.group})[{level}]"] for level in part.levels]
        np.testing.assert_allclose(part.effect.estimate[:, 0], own.vc_mean[order], atol=5e-3)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(1)
    n = 60
    table = {"g": rng.choice(list("abcde"), n), "h": rng.choice(list("pqrs"), n), "x": rng.normal(size=n)}
    table |= {"y": rng.normal(size=n), "w": rng.uniform(1, 2, n), "b": np.arange(n) % 2, "c": rng.poisson(2, n)}
    return pd.DataFrame(table | {"many": np.full(n, 5_000)})


@pytest.mark.parametrize(
    ("formula", "more", "message"),
    [
        ("y ~ x + (1 | g)", {"weights": "w"}, "takes no weights. Use reml"),
        ("y ~ x + (1 | g)", {"se": "w"}, "takes no known standard errors"),
        ("y ~ 0 + (1 | g)", {}, "needs a fixed effect"),
        ("y ~ x + (x | g) + (1 | h)", {}, r"\(Intercept\) and x of g cannot be correlated here"),
        ("y ~ x + (1 | g) + (x | g:h)", {}, r"\(Intercept\) and x of g:h cannot be correlated here"),
        ("y ~ x + (1 | g)", {"options": {"method": "map"}}, "method is an option of statsmodels' models of binomial"),
        ("b ~ x + (1 | g)", {"link": "probit"}, "logit link, not probit"),
        ("b ~ x + (1 | g)", {"link": "cloglog"}, "logit link, not cloglog"),
        ("b ~ x + (1 | g)", {"offset": "x"}, "takes no offset"),
        ("b ~ x + (1 | g)", {"weights": "w"}, "takes no weights but whole numbers of trials"),
        ("b ~ x + (x | g)", {}, "has no correlations.*Write || in place of |".replace("|", r"\|")),
        ("b ~ 0 + (1 | g)", {}, "needs a fixed effect"),
        ("cbind(many, many) ~ x + (1 | g)", {}, "600,000 of them"),
        ("b ~ x + (1 | g)", {"options": {"criterion": "ML"}}, "criterion is an option of statsmodels' models of a gau"),
        ("b ~ x + (1 | g)", {"options": {"optimizer": "nm"}}, "needs one that uses slopes"),
        ("c ~ x + (1 | g)", {"family": "poisson", "weights": "w"}, "takes no weights. Use laplace"),
    ],
)
def test_what_statsmodels_does_not_have_is_refused_in_words(small, formula, more, message):
    family = "gaussian" if formula.startswith("y") else "binomial"
    with pytest.raises((DesignError, OptionError), match=message):
        wb.fit(formula, small, "statsmodels", **{"family": family, **more})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "newton"}, "optimizer is 'newton'. There are: bfgs"),
        ({"criterion": "reml"}, "Did you mean 'REML'"),
        ({"vcp_p": 0}, "vcp_p is 0, but must be a number above 0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
    ],
)
def test_options_are_checked(small, options, message):
    with pytest.raises(OptionError, match=message):
        wb.fit("y ~ x + (1 | g)", small, "statsmodels", options=options)


def test_sizes_that_statsmodels_cannot_take_are_refused_before_any_work(monkeypatch):
    rng = np.random.default_rng(2)
    n = 3_000
    table = {"y": rng.normal(size=n), "i": rng.integers(1500, size=n), "j": rng.integers(1000, size=n)}
    table = pd.DataFrame(table).astype({"i": str, "j": str}).assign(c=rng.poisson(1, n))
    with pytest.raises(DesignError, match="dense matrices of rows by effects"):
        wb.fit("y ~ 1 + (1 | i) + (1 | j)", table, "statsmodels")
    wide = build_design("c ~ 1 + (1 | i) + (1 | j)", table, "poisson")
    monkeypatch.setattr(bayes_mixed_glm, "MOST_BFGS", 4_000)
    with pytest.raises(DesignError, match="BFGS keeps a dense matrix of 4,"):
        run_estimator("statsmodels", wide, Settings(), {"optimizer": "bfgs"})


def test_a_search_cut_short_is_not_called_converged(small):
    fit = wb.fit("b ~ x + (1 | g)", small, "statsmodels", family="binomial", options={"max_iterations": 2})
    assert not fit.converged
    assert any("did not converge" in text for text in fit.warnings)


def test_where_statsmodels_breaks_off_the_error_says_what_to_do():
    with pytest.raises(DesignError, match=r"broke off: Singular matrix\. Try another optimizer"):
        wb.fit("Yield ~ 1 + (1 | Batch)", SETS / "Dyestuff2.csv", "statsmodels", options={"optimizer": "lbfgs"})


def test_a_search_that_ran_away_is_refused_and_the_column_named():
    """An effect of metres, up to 70 from zero: the first step overflows."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=80)
    table = {"y": rng.poisson(np.exp(0.5 * z)), "x": 40 * z, "z": z, "g": [f"g{i % 8}" for i in range(80)]}
    with pytest.raises(DesignError, match=r"ran away to numbers without meaning. Columns .*: x \(up to"):
        wb.fit("y ~ x + (1 | g)", table, "statsmodels", family="poisson")
    assert wb.fit("y ~ z + (1 | g)", table, "statsmodels", family="poisson").converged

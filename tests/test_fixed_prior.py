"""`fixed_prior`. Rungs: R's figures (arm), slow dense oracle, agreement with REML by construction."""

import numpy as np
import pandas as pd
import pytest
from corpus import DATA, LMER, SEVERAL, bayesglm_figures, design_of

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.fixed_prior import Options, fixed_prior
from workbench.estimators.reml import reml
from workbench.report.page_tables import priors


def plugged(design, **options):
    return fixed_prior(design, options=Options(**options), upstream={"reml": reml(design)})


# --- R's figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "figures"),
    [("twelve_groups--ri", "twelve_groups--seed_tightplug"), ("Dyestuff--ri", "Dyestuff--plug_reml")],
)
def test_arm_bayesglm_told_the_mean_and_sd(case, figures):
    # arm 1.13-1 iterated to its fixed point, prior.mean and prior.scale the polished REML fit's. The standard error is
    # sqrt(phi diag V) with bayesglm's own dispersion, not arm::se.coef's, which divides by n - p.
    r = bayesglm_figures(figures)
    own = {"mean": r["args"]["prior.mean"], "sd": r["args"]["prior.scale"]}
    fit = plugged(design_of(case), **own)
    (part,) = fit.group_effects
    np.testing.assert_allclose(
        part.coefficient.estimate[:, 0], list(r["fixedpoint"]["coefficients"].values()), rtol=1e-11
    )
    assert fit.diagnostics["dispersion"] == pytest.approx(r["fixedpoint"]["dispersion"], rel=1e-12)
    errors = list(r["tight"]["se_from_bayesglm_dispersion"].values())
    np.testing.assert_allclose(part.coefficient.std_error[:, 0], errors, rtol=1e-10)
    assert fit.converged


def test_arm_bayesglm_with_varying_slopes():
    # bayesglm(Reaction ~ 0 + Subject + Subject:Days, prior.mean = c(rep(251.405105, 18), rep(10.467286, 18)),
    #          prior.scale = c(rep(24.740451, 18), rep(5.922133, 18)), prior.df = Inf, scaled = FALSE,
    #          control = glm.control(epsilon = 1e-13, maxit = 1000))
    fit = plugged(
        design_of("sleepstudy--slope"),
        mean={"(Intercept)": 251.405105, "Days": 10.467286},
        sd={"(Intercept)": 24.740451, "Days": 5.922133},
    )
    (part,) = fit.group_effects
    assert fit.diagnostics["dispersion"] == pytest.approx(652.270210423848, rel=1e-10)
    expected = [[253.02621364739704, 19.76330306938996], [211.14573460078805, 1.86165839748428]]
    np.testing.assert_allclose(part.coefficient.estimate[:2], expected, rtol=1e-9)
    np.testing.assert_allclose(part.coefficient.std_error[0], [12.18154800830583, 2.32563326488122], rtol=1e-9)


def test_arm_bayesglm_with_flat_covariates():
    # s$z <- sin(seq_len(nrow(s)))
    # bayesglm(Reaction ~ 0 + Subject + Days + z, prior.mean = c(rep(250, 18), 0, 0),
    #          prior.scale = c(rep(30, 18), Inf, Inf), prior.df = Inf, scaled = FALSE, control as above)
    base = design_of("sleepstudy--ri")
    labels = np.array(base.blocks[0].levels)[base.blocks[0].codes]
    table = {"r": base.y, "d": base.X[:, 1], "s": labels, "z": np.sin(np.arange(1.0, 181.0))}
    fit = plugged(build_design("r ~ d + z + (1 | s)", table), mean=250.0, sd=30.0)
    (part,) = fit.group_effects
    assert fit.diagnostics["dispersion"] == pytest.approx(965.196375352804, rel=1e-10)
    np.testing.assert_allclose(part.coefficient.estimate[:2, 0], [290.82434833992295, 175.72659147367884], rtol=1e-9)
    np.testing.assert_allclose(fit.population.estimate[1:], [10.52209255361157, -2.96277205569212], rtol=1e-8)
    np.testing.assert_allclose(fit.population.std_error[1:], [0.724676185645834, 3.330741545142919], rtol=1e-8)
    assert part.coefficient.std_error[0, 0] == pytest.approx(9.800278042630264, rel=1e-8)


def test_arm_bayesglm_with_prior_weights():
    # s$w <- 1 + (seq_len(180) %% 3)
    # bayesglm(Reaction ~ 0 + Subject + Days, data = s, weights = w, prior.mean = c(rep(250, 18), 0),
    #          prior.scale = c(rep(30, 18), Inf), prior.df = Inf, scaled = FALSE, control as above)
    base = design_of("sleepstudy--ri")
    labels = np.array(base.blocks[0].levels)[base.blocks[0].codes]
    table = {"r": base.y, "d": base.X[:, 1], "s": labels, "w": 1 + np.arange(1, 181) % 3}
    fit = plugged(build_design("r ~ d + (1 | s)", table, weights="w"), mean=250.0, sd=30.0)
    assert fit.diagnostics["dispersion"] == pytest.approx(1671.76317304934, rel=1e-10)
    (part,) = fit.group_effects
    np.testing.assert_allclose(part.coefficient.estimate[:2, 0], [284.02140601177825, 175.61097840999449], rtol=1e-9)
    assert fit.population.estimate[1] == pytest.approx(10.44462551880136, rel=1e-8)


# --- the claim: a fixed prior with REML's mean and covariance lands on REML's points --------------------


def test_twelve_groups_gap_is_the_dispersion_convention_and_nothing_else():
    design = design_of("twelve_groups--ri")
    ours = reml(design).group_effects[0].coefficient.estimate
    gap = np.abs(plugged(design).group_effects[0].coefficient.estimate - ours).max()
    assert gap == pytest.approx(2.146e-4, abs=5e-8)
    held = np.abs(plugged(design, dispersion="reml").group_effects[0].coefficient.estimate - ours).max()
    assert held < 1e-12


@pytest.mark.parametrize("case", LMER)
def test_joint_prior_with_held_dispersion_is_reml(case):
    design = design_of(case)
    base, fit = reml(design), plugged(design, dispersion="reml", covariance="joint")
    for one, other in zip(base.group_effects, fit.group_effects, strict=True):
        scale = np.abs(one.coefficient.estimate).max()
        np.testing.assert_allclose(other.coefficient.estimate, one.coefficient.estimate, atol=1e-11 * scale)
        if len(base.population.estimate) == len(one.terms):  # nothing else is uncertain: the conditional SD
            np.testing.assert_allclose(other.effect.std_error, one.effect.std_error, atol=1e-9)
    np.testing.assert_allclose(fit.fitted, base.fitted, rtol=1e-10)


# --- oracle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["independent", "joint"])
def test_the_mode_and_curvature_of_the_dense_posterior(covariance):
    rng = np.random.default_rng(8)
    g, x, z = np.repeat(np.arange(6), 6), rng.normal(0, 1, 36), rng.normal(5, 1, 36)
    u = rng.normal(size=(6, 2)) @ np.array([[2.0, 0.5], [0.0, 2.0]])
    y = 1 + x + z + u[g, 0] + u[g, 1] * x + rng.normal(size=36)
    w = rng.uniform(0.5, 2, 36)
    design = build_design("y ~ x + z + (x | g)", {"y": y, "x": x, "z": z, "g": g, "w": w}, weights="w")
    base = reml(design)
    assert not base.singular
    fit = plugged(design, dispersion=0.7, covariance=covariance)
    S = base.components[0].covariance
    S = np.diag(np.diag(S)) if covariance == "independent" else S
    D = np.zeros((36, 13))
    for j in range(6):
        D[:, 2 * j : 2 * j + 2] = (g == j)[:, None] * np.column_stack([np.ones(36), x])
    D[:, 12] = z
    prior = np.zeros((13, 13))
    prior[:12, :12] = np.kron(np.eye(6), np.linalg.inv(S))
    m = np.append(np.tile(base.population.estimate[:2], 6), 0.0)
    precision = (D.T * w) @ D / 0.7 + prior
    mode = np.linalg.solve(precision, (D.T * w) @ y / 0.7 + prior @ m)
    V = np.linalg.inv(precision)
    (part,) = fit.group_effects
    np.testing.assert_allclose(part.coefficient.estimate.ravel(), mode[:12], atol=1e-9)
    np.testing.assert_allclose(part.coefficient.std_error.ravel(), np.sqrt(np.diag(V)[:12]), rtol=1e-9)
    assert fit.population.estimate[2] == pytest.approx(mode[12], abs=1e-9)


def test_a_prior_sd_of_zero_puts_every_group_on_the_mean():
    fit = plugged(design_of("Dyestuff--ri"), sd=0.0)
    np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate, np.full((6, 1), 1527.5), rtol=1e-15)
    np.testing.assert_array_equal(fit.group_effects[0].effect.estimate, np.zeros((6, 1)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dispersion": "reml?"}, "dispersion is 'reml?'"),
        ({"dispersion": -1.0}, "dispersion is -1.0"),
        ({"dispersion": True}, "dispersion is True"),
        ({"dispersion": [1]}, "dispersion is [1]"),
        ({"mean": "abc"}, "mean is 'abc'"),
        ({"max_iterations": 1.5}, "max_iterations is 1.5"),
        ({"tolerance": "abc"}, "tolerance is 'abc'"),
        ({"covariance": "jont"}, "Did you mean 'joint'?"),
        ({"disperson": "em"}, "fixed_prior has no option 'disperson'. Did you mean 'dispersion'?"),
        ({"sd": {"Dayz": 1.0}}, "names the term 'Dayz', which does not vary. Did you mean 'Days'?"),
        ({"sd": -1.0}, "SDs of 0 or more"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(OptionError) as caught:
        run_estimator("fixed_prior", design_of("sleepstudy--slope"), Settings(), options)
    assert said in str(caught.value)


def test_running_out_of_iterations_is_said():
    fit = plugged(design_of("twelve_groups--ri"), max_iterations=2)
    assert not fit.converged
    assert "had not settled after 2 iterations" in fit.warnings[-1]


# --- several factors, other families, other priors -------------------------------------------------------


@pytest.mark.parametrize("case", SEVERAL)
def test_several_factors_with_remls_covariances_and_dispersion_are_reml(case):
    design = design_of(case)
    base, fit = reml(design), plugged(design, dispersion="reml", covariance="joint")
    for one, other in zip(base.group_effects, fit.group_effects, strict=True):
        np.testing.assert_allclose(other.coefficient.estimate, one.coefficient.estimate, rtol=1e-12)
    np.testing.assert_allclose(fit.fitted, base.fitted, rtol=1e-12)
    gap = max(
        np.abs(one.coefficient.estimate - other.coefficient.estimate).max()
        for one, other in zip(base.group_effects, plugged(design).group_effects, strict=True)
    )
    assert gap > 1e-6  # the dispersion is its own


def dataset(name):
    return DATA / "datasets" / f"{name}.csv"


def herds(values):
    """Values by herd, in the order 1 to 15."""
    (part,) = values.group_effects
    order = [part.levels.index(str(k)) for k in range(1, 16)]
    return part.effect.estimate[order, 0], part.coefficient.estimate[order, 0], part.effect.std_error[order, 0]


def test_arm_bayesglm_with_two_crossed_factors():
    # X <- cbind(model.matrix(~ 0 + plate, Penicillin), model.matrix(~ 0 + sample, Penicillin))
    # bayesglm(diameter ~ 0 + X, data = Penicillin, prior.mean = c(rep(22.9722, 24), rep(0, 6)),
    #          prior.scale = c(rep(0.8467, 24), rep(1.9316, 6)), prior.df = Inf, scaled = FALSE,
    #          control = glm.control(epsilon = 1e-14, maxit = 10000))
    fit = wb.fit(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", dataset("Penicillin"), "fixed_prior",
        options={"mean": 22.9722, "sd": {"sd(plate)": 0.8467, "sd(sample)": 1.9316}},
    )  # fmt: skip
    plate, sample = fit.group_effects
    assert fit.diagnostics["dispersion"] == pytest.approx(0.30240705589558464, rel=1e-11)
    np.testing.assert_allclose(
        plate.coefficient.estimate[:3, 0], [23.776748988367376825, 23.776748988367376825, 23.153873138222717643],
        rtol=1e-11,
    )  # fmt: skip
    effects = [
        2.187079624596182992, -1.010455254913343648, 1.937921062556478224, -0.096873860767764802,
        -0.013821006754530551, -3.003723751230968464,
    ]  # fmt: skip
    np.testing.assert_allclose(sample.effect.estimate[:, 0], effects, rtol=1e-10)
    # arm::se.coef takes the dispersion 0.30912055596336951 of summary()
    scale = np.sqrt(0.30240705589558464 / 0.30912055596336951)
    assert plate.effect.std_error[0, 0] == pytest.approx(0.27435246486845982 * scale, rel=1e-10)
    assert sample.effect.std_error[0, 0] == pytest.approx(0.20440122191279103 * scale, rel=1e-10)


CBPP = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"


def test_glmers_conditional_modes_of_the_herds():
    # f <- glmer(cbind(incidence, size - incidence) ~ 1 + (1 | herd), cbpp, family = binomial)
    # dv <- update(f, devFunOnly = TRUE); for (i in 1:5) dv(c(0.8117194, -2.0456710)); environment(dv)$pp$b(1)
    # and bayesglm(... ~ 0 + herd, family = binomial, prior.mean = -2.0456710, prior.scale = 0.8117194, prior.df = Inf,
    #              scaled = FALSE, control = glm.control(epsilon = 1e-14, maxit = 1000)): coef + 2.0456710, se.coef
    modes = [
        0.65928304556463757, -0.28080565463437868, 0.34968520650303397, -0.0014155740935340481, -0.26568935113309183,
        -0.57670584098174715, 1.0086668681971509, 1.1962031754687064, -0.32088366311280564, -0.70086956895913399,
        -0.18843731866222252, -0.073179508008175437, -0.89628035345986934, 1.3907947916770684, -0.66137375794983821,
    ]  # fmt: skip
    errors = [0.35539402614843391, 0.39340791615283222, 0.29868235890598405, 0.44445664320327311]
    fit = wb.fit(CBPP, dataset("cbpp"), "fixed_prior", family="binomial", options={"mean": -2.0456710, "sd": 0.8117194})
    effects, _, std_errors = herds(fit)
    np.testing.assert_allclose(effects, modes, rtol=0, atol=1e-13)
    np.testing.assert_allclose(std_errors[:4], errors, rtol=1e-12)
    assert fit.sigma == 1.0
    share = 1 / (1 + np.exp(2.0456710 - modes[0]))
    np.testing.assert_allclose(fit.fitted[:4], np.full(4, share), rtol=1e-12)  # the first herd has four rows


def test_arm_bayesglm_of_counts_with_priors_of_a_covariate():
    # bayesglm(cbind(incidence, size - incidence) ~ 0 + herd + period, data = cbpp, family = binomial,
    #          prior.mean = c(rep(-1.4, 15), 0, 0, 0), prior.scale = c(rep(0.64, 15), 2.5, 2.5, 2.5),
    #          prior.df = c(rep(Inf, 15), 1, 1, 1), scaled = FALSE, control as above)
    fit = wb.fit(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", dataset("cbpp"), "fixed_prior", family="binomial",
        options={"mean": -1.4, "sd": 0.64}, priors={"b": "Cauchy(0, 2.5)"},
    )  # fmt: skip
    expected = [-0.92753124564593703, -1.05737083715410574, -1.47637379884869691]
    np.testing.assert_allclose(fit.population.estimate[1:], expected, rtol=1e-9)
    np.testing.assert_allclose(
        fit.population.std_error[1:], [0.27911268692335389, 0.29933404623430909, 0.39526408485982278], rtol=1e-9
    )
    first = [-0.83536235082434251, -1.71737818023613320, -1.02513669736816126]
    np.testing.assert_allclose(herds(fit)[1][:3], first, rtol=1e-9)
    assert dict(fit.priors) == {f"period{k}": "Cauchy(0, 2.5)" for k in (2, 3, 4)}


@pytest.mark.parametrize(
    ("family", "link", "offset", "coefficients"),
    [
        # d <- data.frame(y, g = factor(rep(c("a", "b", "c", "d"), each = 3)), x = rep(1:3, 4))
        # bayesglm(y ~ 0 + g + x, data = d, family = Gamma(link = "log"), prior.mean = c(rep(0.5, 4), 0),
        #          prior.scale = c(rep(0.6, 4), Inf), prior.df = Inf, scaled = FALSE, control as above)
        ("gamma", "log", None, [0.351348014661332364, 0.504529462243684890, 0.762829751358577335,
                                0.780343465092008803, 0.048543954869220897]),
        # bayesglm(round(y) ~ 0 + g + x + offset(x / 10), family = poisson, the rest as above)
        ("poisson", None, "o", [0.38232198898535463, 0.51727104314928851, 0.75617957199399055,
                                0.86242275815476066, -0.10805419771835803]),
    ],
)  # fmt: skip
def test_arm_bayesglm_of_other_families(family, link, offset, coefficients):
    y = np.array([1.2, 0.7, 2.5, 3.1, 0.9, 1.4, 5.2, 2.2, 0.4, 1.1, 2.9, 4.4])
    x = np.tile([1.0, 2, 3], 4)
    table = {"y": y.round() if family == "poisson" else y, "g": np.repeat(list("abcd"), 3), "x": x, "o": x / 10}
    options = {"mean": 0.5, "sd": 0.6, "tolerance": 1e-14}
    fit = wb.fit("y ~ x + (1 | g)", table, "fixed_prior", family=family, link=link, offset=offset, options=options)
    found = [*fit.group_effects[0].coefficient.estimate[:, 0], fit.population.estimate[1]]
    np.testing.assert_allclose(found, coefficients, rtol=1e-8)
    if family == "gamma":
        assert fit.diagnostics["dispersion"] == pytest.approx(0.55113924550477911, rel=1e-9)


def test_what_is_held_of_a_fit_that_is_plugged_in():
    """Gaussian and gamma: coefficients that do not vary are estimated, unless the options say that they are held."""
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.5], "x": [0.0, 1, 0, 1, 0, 1], "g": list("aabbcc")}
    elsewhere = table | {"y": [2.0, 9.0, 4.0, 3.0, 7.0, 1.5]}
    formula, stated = "y ~ x + (1 | g)", {"mean": 0.5, "sd": 0.6}
    for name, given, options in (
        ("ml", {}, None),
        ("fixed_prior", {"family": "gamma", "link": "log"}, stated),
    ):
        other = wb.fit(formula, elsewhere, name, **given, options=options)
        slopes = {
            population: wb.fit(
                formula, table, "fixed_prior", **given, options={"plug_in": other, "population": population}
            ).population.estimate[1]
            for population in (None, "estimated", "plug_in")
        }
        assert slopes["plug_in"] == other.population.estimate[1]
        assert slopes[None] == slopes["estimated"]
        assert abs(slopes[None] - slopes["plug_in"]) > 1e-3
    own = [
        wb.fit(formula, table, "fixed_prior", options={"dispersion": "reml", "population": p}).population
        for p in ("plug_in", "estimated")
    ]
    assert own[0].estimate == pytest.approx(own[1].estimate, rel=1e-12)  # at REML's own variances the two are one


@pytest.mark.parametrize("df", [1, 7])
def test_arm_bayesglm_with_t_priors(df):
    r = bayesglm_figures(f"twelve_groups--seed_df{df}")
    own = {"mean": r["args"]["prior.mean"], "sd": r["args"]["prior.scale"], "df": float(df)}
    fit = plugged(design_of("twelve_groups--ri"), **own)
    (part,) = fit.group_effects
    np.testing.assert_allclose(part.coefficient.estimate[:, 0], list(r["tight"]["coefficients"].values()), rtol=1e-8)
    assert fit.diagnostics["dispersion"] == pytest.approx(r["tight"]["dispersion"], rel=1e-9)
    assert "close to the posterior mode, but is not it" in fit.warnings[-1]


def test_arm_bayesglm_that_rescales_the_priors_of_slopes():
    # bayesglm(Reaction ~ 0 + Subject + Subject:Days, data = sleepstudy,
    #          prior.mean = c(rep(251.4, 18), rep(10.467, 18)),
    #          prior.scale = c(rep(24.74, 18), rep(5.92, 18)), prior.df = 7, scaled = TRUE,
    #          control = glm.control(epsilon = 1e-14, maxit = 10000))
    fit = plugged(
        design_of("sleepstudy--slope"), scaled=True, df=7.0,
        mean={"(Intercept)": 251.4, "Days": 10.467}, sd={"(Intercept)": 24.74, "Days": 5.92},
    )  # fmt: skip
    assert fit.diagnostics["dispersion"] == pytest.approx(654.93663299589707, rel=1e-9)
    expected = [[244.1939458749305061, 21.7644341240466446], [205.0557348760222567, 2.2617092559614975]]
    np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate[:2], expected, rtol=1e-9)


def test_arm_bayesglm_that_rescales_the_priors_of_shares():
    # bayesglm(cbind(incidence, size - incidence) ~ 0 + herd, data = cbpp, family = binomial, prior.mean = -2,
    #          prior.scale = 0.8, prior.df = 4, scaled = TRUE, control as above)
    options = {"mean": -2.0, "sd": 0.8, "df": 4.0, "scaled": True}
    fit = wb.fit(CBPP, dataset("cbpp"), "fixed_prior", family="binomial", options=options)
    expected = [-1.38661103337651892, -2.30329342943828630, -1.69810921910239254]
    np.testing.assert_allclose(herds(fit)[1][:3], expected, rtol=1e-9)


# --- what is plugged in -------------------------------------------------------------------------------


def apart(one, other):
    (a,), (b,) = one.group_effects, other.group_effects
    return np.abs(a.coefficient.estimate - b.coefficient.estimate).max(axis=0)


def test_sleepstudy_plugged_from_the_fit_without_correlation():
    # bayesglm told the mean and SDs of (Days || Subject), against the coefficients of (Days | Subject): 0.93 and 0.166
    design = design_of("sleepstudy--slope")
    other = reml(design_of("sleepstudy--slope_doublebar"))
    base = reml(design)
    gap = apart(base, fixed_prior(design, options=Options(plug_in=other)))
    np.testing.assert_allclose(gap, [0.93, 0.166], atol=0.001)
    joint = fixed_prior(design, options=Options(covariance="joint", dispersion="reml"), upstream={"reml": base})
    assert apart(base, joint).max() < 1e-8


def test_where_no_mean_is_plugged_in_the_dispersion_is_remls():
    # REML's sigma^2 obeys the EM's equation, but for the error of population values that are held here
    rng = np.random.default_rng(0)
    g, x, z = np.repeat(np.arange(12), 8), rng.normal(size=96), rng.normal(size=96)
    y = 1 + x + rng.normal(size=12)[g] * z + rng.normal(size=96)
    design = build_design("y ~ x + (0 + z | g)", {"y": y, "x": x, "z": z, "g": g})
    assert plugged(design).diagnostics["dispersion"] == pytest.approx(reml(design).sigma ** 2, rel=1e-11)


def test_a_fit_of_other_data_is_plugged_in_by_name():
    rng = np.random.default_rng(1)
    old = {"y": rng.normal(5, 2, 60), "x": rng.normal(size=60), "site": np.repeat(np.arange(12), 5)}
    new = {"y": rng.normal(4, 2, 12), "x": rng.normal(size=12), "site": np.repeat(["p", "q", "r"], 4)}
    before = wb.fit("y ~ x + (1 | site)", old)
    fit = wb.fit("y ~ x + (1 | site)", new, "fixed_prior", options={"plug_in": before, "dispersion": "plug_in"})
    assert fit.fixed["estimate"][0] == before.fixed["estimate"][0]
    assert fit.sigma == pytest.approx(before.sigma, rel=1e-15)
    (part,) = fit.components
    np.testing.assert_array_equal(part.covariance, before.components[0].covariance)
    elsewhere = wb.fit("y ~ x + (1 | place)", old | {"place": old["site"]})
    with pytest.raises(OptionError, match=r"has no sd\(site, \(Intercept\)\)"):
        wb.fit("y ~ x + (1 | site)", new, "fixed_prior", options={"plug_in": elsewhere})


def test_stated_values_need_no_other_fit():
    # one row per group: no maximum likelihood, but a prior all the same
    table = {"y": [1.0, 2.0, 4.0], "g": ["a", "b", "c"]}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "fixed_prior", se=[1.0, 1.0, 1.0], options={"mean": 2.0, "sd": 1.0})
    np.testing.assert_allclose(fit.group_effects[0].coefficient.estimate[:, 0], [1.5, 2.0, 3.0], rtol=1e-14)
    assert Options(mean=2.0, sd=1.0).needs(fit.design) == ()
    assert Options(mean=2.0).needs(fit.design) == ("reml",)
    assert Options(mean=2.0, sd=1.0, dispersion="ml").needs(fit.design) == ("ml",)


def test_priors_of_plugged_coefficients_alone_are_refused():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    with pytest.raises(OptionError, match="plugs in"):
        wb.fit("y ~ 1 + (1 | g)", table, "fixed_prior", priors={"sd(g)": "HalfNormal(1)"})


# --- weights, and what never settles --------------------------------------------------------------------


def weighted(unit=1.0, **options):
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(8), 10), rng.normal(size=80)
    y = 2 + x + rng.normal(0, 1, 8)[g] + rng.normal(size=80)
    w = unit * (1 + np.arange(80) % 3)
    return wb.fit("y ~ x + (1 | g)", {"y": y, "x": x, "g": g, "w": w}, "fixed_prior", weights="w", options=options)


def test_the_dispersion_of_weighted_rows_is_said_to_depend_on_their_unit():
    # R's does (see test_arm_bayesglm_with_prior_weights); held, it does not
    held, thousand = weighted(dispersion="reml"), weighted(1000.0, dispersion="reml")
    assert thousand.sigma**2 == pytest.approx(1000 * held.sigma**2, rel=1e-9)
    (one,), (other,) = held.group_effects, thousand.group_effects
    np.testing.assert_allclose(other.effect.estimate, one.effect.estimate, rtol=0, atol=1e-9)
    assert held.warnings == ()
    fit, other = weighted(), weighted(1000.0)
    assert abs(other.sigma**2 / (1000 * fit.sigma**2) - 1) > 0.05
    assert "depends on the unit of the weights" in fit.warnings[-1]
    assert plugged(design_of("sleepstudy--slope")).warnings == ()  # without weights there is nothing to say


def test_a_dispersion_that_grows_without_bound_is_not_converged():
    # so does R's, of such data: bayesglm(y ~ x + g, weights = w, prior.df = Inf, prior.scale = Inf,
    #   control = glm.control(maxit = 1000)) warns "algorithm did not converge", its dispersion is of the order 1e+266
    fit = weighted(1e-4)
    assert not fit.converged
    assert np.isfinite(fit.sigma)
    assert "grows without bound" in fit.warnings[0]


def test_a_dispersion_of_zero_is_refused():
    table = {"y": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], "g": list("aabbcc")}
    with pytest.raises(DesignError, match="explain the response exactly"):
        wb.fit("y ~ 1 + (1 | g)", table, "fixed_prior", options={"mean": 1.0, "sd": 1.0})


def test_separated_outcomes_are_named():
    table = {"y": [1, 1, 0, 0, 1, 0], "x": [1.0, 1, 0, 0, 1, 0], "g": list("aabbcc")}
    stated = {"mean": 0.0, "sd": 1.0, "tolerance": 1e-15}
    fit = wb.fit("y ~ x + (1 | g)", table, "fixed_prior", family="binomial", options=stated)
    assert "outcomes are separated" in fit.warnings[-1]
    calm = wb.fit(
        "y ~ x + (1 | g)", table, "fixed_prior", family="binomial", options=stated, priors={"x": "Cauchy(0, 2.5)"}
    )
    assert calm.warnings == ()


# --- messages, and what is a number -----------------------------------------------------------------------


def test_numbers_of_numpy_and_series_are_numbers():
    design = design_of("sleepstudy--slope")
    plain = plugged(design, mean={"(Intercept)": 250.0, "Days": 10.0}, sd=5.0)
    given = plugged(
        design, mean=pd.Series({"(Intercept)": 250, "Days": 10}), sd=np.float32(5), max_iterations=np.int64(99)
    )
    np.testing.assert_array_equal(given.fitted, plain.fitted)
    assert Options(mean=np.int64(2), sd=np.int64(1)).needs(design) == ()


def test_a_prior_whose_terms_go_together_is_singular():
    # all of x's spread goes with the intercept's: REML finds a correlation of 1
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(9), 10), rng.normal(size=90) + 3
    y = 2 + x + rng.normal(size=9)[g] * (1 + 0.5 * x) + 0.8 * rng.normal(size=90)
    design = build_design("y ~ x + (x | g)", {"y": y, "x": x, "g": g})
    assert reml(design).singular
    assert plugged(design, covariance="joint").singular
    assert not plugged(design).singular  # independent priors have both SDs


def shares(**options):
    return wb.fit(CBPP, dataset("cbpp"), "fixed_prior", family="binomial", options={"mean": 0.0, "sd": 1.0} | options)


def from_other_fits(**options):
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "x": [1.0, 2.0, 3.0, 5.0, 4.0, 6.0], "g": list("aabbcc")}
    known = wb.fit("y ~ 1 + (1 | g)", table, se=np.ones(6))
    return wb.fit("y ~ x + (1 | g)", table, "fixed_prior", options={"plug_in": known} | options)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: shares(dispersion="reml"), "nothing that is plugged in has a dispersion of binomial"),
        (lambda: shares(dispersion="plug_in"), "Use 'em', or a number."),
        (lambda: from_other_fits(dispersion="plug_in"), "no fit with a residual variance is plugged in"),
        (lambda: plugged(design_of("sleepstudy--slope"), plug_in=from_other_fits()), "no population coefficient Days"),
        (lambda: from_other_fits(sd=np.inf), "sd is inf, but must be a finite number"),
    ],
)  # fmt: skip
def test_what_was_wrong_is_what_is_said(made, said):
    with pytest.raises(OptionError, match=said):
        made()


def test_known_standard_errors_leave_no_dispersion_to_hold():
    table = {"y": [1.0, 2.0, 4.0], "g": ["a", "b", "c"]}
    with pytest.raises(OptionError, match="dispersion is 3, but with known standard errors it is 1"):
        wb.fit(
            "y ~ 1 + (1 | g)", table, "fixed_prior", se=[1.0, 1.0, 1.0], options={"mean": 2.0, "sd": 1, "dispersion": 3}
        )


def test_a_plugged_in_fit_of_another_response_is_named():
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "z": np.log([1.0, 2.0, 4.0, 3.0, 7.0, 6.0]), "g": list("aabbcc")}
    fit = wb.fit("z ~ 1 + (1 | g)", table, "fixed_prior", options={"plug_in": wb.fit("y ~ 1 + (1 | g)", table)})
    assert "The plugged-in fit is of y, this model of z" in fit.warnings[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["Normal(251.4, 24.74), held fixed", "Normal(10.47, 5.922), held fixed"]),
        ({"covariance": "joint"}, ["Normal(251.4, 24.74), held fixed, correlations too"]),
        ({"df": 4.0, "sd": 2.0}, ["StudentT(4, 251.4, 2.000), held fixed"]),
        ({"scaled": True}, ["Normal(251.4, 24.74), its scale multiplied as bayesglm's scaled = TRUE does, held fixed"]),
    ],
)
def test_a_report_tells_the_prior_that_was_held_beside_the_stated_ones(options, said):
    table = pd.read_csv(dataset("sleepstudy")).assign(z=np.sin(np.arange(180.0)))
    both = wb.compare(
        "Reaction ~ Days + z + (Days | Subject)", table, ["fixed_prior"], priors={"z": "Normal(0, 1)"},
        options={"fixed_prior": options | {"plug_in": reml(design_of("sleepstudy--slope"))}},
    )  # fmt: skip
    rows = [[cell.text for cell in row[1:]] for row in priors(both).rows]
    assert rows[0] == ["z", "Normal(0, 1)"]
    assert [row[0] for row in rows[1:]] == ["each Subject's (Intercept)", "each Subject's Days"]
    assert [row[1] for row in rows[1:]][: len(said)] == said


def test_doubts_about_what_is_plugged_in_are_passed_on():
    """Each level has one outcome alone: no spread between them can be known, and the one that is held is none."""
    table = {"y": [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1], "g": np.repeat(list("abcd"), 3)}
    both = wb.compare("y ~ 1 + (1 | g)", table, ["laplace", "fixed_prior"], family="binomial").fits
    (doubt,) = [text for text in both["laplace"].warnings if text.startswith("Undetermined")]
    assert f"What is plugged in is itself in doubt. {doubt}" in both["fixed_prior"].warnings

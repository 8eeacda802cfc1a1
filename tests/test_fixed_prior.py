"""`fixed_prior`. Rungs: R's figures (arm), slow dense oracle, agreement with REML by construction."""

import numpy as np
import pytest
from corpus import LMER, bayesglm_figures, design_of

from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.fixed_prior import Options, fixed_prior
from workbench.estimators.reml import reml


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

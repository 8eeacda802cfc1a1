"""`bayesglm`. Rungs: R's figures (arm), closed forms, statsmodels without priors, numerical modes, invariances.

Figures are of arm 1.13-1 on R 4.2.2. Where columns explain each other R's own figures carry fewer digits.
"""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from corpus import BAYESGLM, DATA, bayesglm_figures, design_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc

import workbench as wb
from workbench.bayesglm.plain import CoefficientPriors, posterior_mode
from workbench.errors import WorkbenchError
from workbench.estimators.fixed_prior import Options, fixed_prior
from workbench.estimators.reml import reml
from workbench.families import LINKS, family_of

TIGHT = {"tolerance": 1e-12, "max_iterations": 1000}
SEPARATED = {"x": range(1, 11), "y": [0] * 5 + [1] * 5}
PAIRS = [(family, link) for family, links in LINKS.items() for link in links]


@cache
def table(name):
    """A dataset as R reads it, with the columns that the figures' commands add."""
    labels = {"herd": str, "period": str, "outcome": str, "treatment": str}
    path = DATA / "twelve_groups.csv" if name == "twelve_groups" else DATA / "datasets" / f"{name}.csv"
    found = pd.read_csv(path, dtype=labels)
    if name == "cbpp":
        found["herd"] = pd.Categorical(found["herd"], [str(k) for k in range(1, 16)])
        found["t"] = pd.Categorical(found["period"], ordered=True)
    if name == "sleepstudy":
        found["late"], found["slow"] = (found["Days"] > 4).astype(int), (found["Reaction"] > 300).astype(int)
        found["w"] = np.arange(1, 181) % 3
        found["w1"] = found["w"] + 1
    return found


def values(mapping):
    return np.array([float(v) for v in (mapping.values() if isinstance(mapping, dict) else mapping)])


def close(ours, theirs, rtol, smallest=1e-3):
    """Relative closeness; of coefficients that are zero to rounding, relative to the largest."""
    theirs = values(theirs)
    reach = np.abs(theirs[np.isfinite(theirs)]).max() if np.isfinite(theirs).any() else 0.0
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * smallest * reach)


def std_error(fit):
    return fit.population.std_error


# --- R's figures --------------------------------------------------------------------------------------


def run_case(case, **more):
    r = bayesglm_figures(case)
    arguments = {name.replace(".", "_"): float(v) if v == "Inf" else v for name, v in (r["args"] or {}).items()}
    return wb.bayesglm(r["formula"], table(r["dataset"]), r["family"], r["link"], **arguments, **more)


@pytest.mark.parametrize("run", ["tight", "default"])
@pytest.mark.parametrize("case", BAYESGLM)
def test_every_figure_of_every_case(case, run):
    r = bayesglm_figures(case)[run]
    fit = run_case(case, **(TIGHT if run == "tight" else {}))
    assert list(fit.terms) == list(r["coefficients"])
    close(fit.mode.coefficients, r["coefficients"], 1e-11)
    close(std_error(fit), r["se"], 1e-11)
    close(np.sqrt(fit.dispersion * np.diag(fit.mode.unscaled)), r["se_from_bayesglm_dispersion"], 1e-11)
    close(fit.cov.ravel(), np.array(r["vcov"]["values"]).ravel(), 1e-10)
    close(fit.mode.prior_sd, r["prior_sd"], 1e-11)
    close(fit.prior["scale"], r["prior_scale"], 1e-14)
    close(fit.prior["df"], r["prior_df"], 1e-14)
    close(fit.prior["mean"], r["prior_mean"], 1e-14)
    close([fit.dispersion, fit.deviance], [r["dispersion"], r["deviance"]], 1e-11)
    close(fit.linear_predictor[:10], r["linear_predictor_head"], 1e-11)
    close(fit.fitted[:10], r["fitted_head"], 1e-11)
    assert (fit.iterations, fit.converged) == (r["iterations"], r["converged"])


@pytest.mark.parametrize("case", BAYESGLM)
def test_documented_standard_errors_take_the_em_dispersion(case):
    fit = run_case(case, documented=["std_error"], **TIGHT)
    close(std_error(fit), bayesglm_figures(case)["tight"]["se_from_bayesglm_dispersion"], 1e-11)


def test_complete_separation():
    # bayesglm(y ~ x, binomial, data.frame(x = 1:10, y = rep(0:1, each = 5)),
    #          control = glm.control(epsilon = 1e-12, maxit = 1000))
    fit = wb.bayesglm("y ~ x", SEPARATED, "binomial", **TIGHT)
    close(fit.mode.coefficients, [-6.268125077840281, 1.139659105061869], 1e-13)
    close(std_error(fit), [3.281158242541802, 0.564408273968007], 1e-13)
    assert (fit.iterations, fit.converged, fit.warnings) == (84, True, ())


# sleep is sleepstudy with late = as.integer(Days > 4), slow = as.integer(Reaction > 300), w = seq_len(180) %% 3;
# herd, period, outcome and treatment are factors, t = ordered(period);
# each call ends in control = glm.control(epsilon = 1e-12, maxit = 1000)
MORE = [
    (
        # bayesglm(slow ~ Days, binomial("probit"), sleep)
        "slow ~ Days", "sleep", {"family": "binomial", "link": "probit"},
        [-1.305992994671, 0.2436046272962],
        [0.2095413176084, 0.03830049859807],
        1, 6,
    ),
    (
        # bayesglm(slow ~ Days + late, binomial, sleep, weights = w, prior.df = c(3, Inf), prior.scale = c(1, 0.5),
        #   prior.mean = c(0.2, 1))
        "slow ~ Days + late", "sleep",
        {
            "family": "binomial", "weights": "w", "prior_df": [3, np.inf], "prior_scale": [1, 0.5],
            "prior_mean": [0.2, 1],
        },
        [-1.743782914304, 0.2446537848385, 0.6195403777621],
        [0.3308329942659, 0.07712594439058, 0.3711133207036],
        1, 9,
    ),
    (
        # bayesglm(slow ~ Days + I(2 * Days), binomial, sleep)
        "slow ~ Days + I(2 * Days)", "sleep", {"family": "binomial"},
        [-2.1594724477, 0.2008693290751, 0.1004346645376],
        [0.3708700489, 0.2788088240385, 0.1394044120193],
        1, 14,
    ),
    (
        # bayesglm(cbind(incidence, size - incidence) ~ t + size, binomial("cloglog"), cbpp)
        "cbind(incidence, size - incidence) ~ t + size", "cbpp", {"family": "binomial", "link": "cloglog"},
        [-2.279912692685, -1.14803003232, 0.322501613244, -0.2840793049349, -0.005595510896895],
        [0.3163891365968, 0.276201205689, 0.2639971191775, 0.2544610507338, 0.0157617274518],
        1, 8,
    ),
    (
        # bayesglm(prop ~ period, quasibinomial, cbpp, weights = size)
        "prop ~ period", "cbpp", {"family": "quasibinomial", "weights": "size"},
        [-1.311620245933, -1.088027696967, -1.20764627135, -1.62860834586],
        [0.2119383992798, 0.4131931906442, 0.4405317259211, 0.5604061388477],
        2.147007615892, 15,
    ),
    (
        # bayesglm(incidence ~ period + offset(log(size)), poisson, cbpp, prior.df = 7, prior.scale = 0.5,
        #   prior.df.for.intercept = Inf)
        "incidence ~ period + offset(log(size))", "cbpp",
        {"family": "poisson", "prior_df": 7, "prior_scale": 0.5, "prior_df_for_intercept": np.inf},
        [-1.657386288603, -0.7287449519802, -0.8141498506503, -1.094760703111],
        [0.1283562036273, 0.2356756800427, 0.248750340005, 0.3002392860215],
        1, 19,
    ),
    (
        # bayesglm(counts ~ outcome + treatment, quasipoisson, dobson, drop.baseline = FALSE)
        "counts ~ outcome + treatment", "dobson", {"family": "quasipoisson", "drop_baseline": False},
        [
            2.795064406761, 0.248678291945, -0.2042448258852, -0.04359612821247,
            1.439174480539e-15, 1.36850645341e-15, 1.292202679206e-15,
        ],
        [3.306095899568, 2.345877111868, 2.347527337019, 2.346807261646, 2.33991873153, 2.33991873153, 2.33991873153],
        0.595024222059, 14,
    ),
    (
        # bayesglm(Reaction ~ Days + late, Gamma, sleep)
        "Reaction ~ Days + late", "sleep", {"family": "gamma"},
        [0.003901097695363, -0.0001067188084105, -7.338311536736e-05],
        [8.307422194339e-05, 2.719832931019e-05, 0.0001573296753979],
        0.02347905507098, 6,
    ),
    (
        # bayesglm(Reaction ~ Days + late, Gamma("log"), sleep, prior.scale = 0.05, prior.df = Inf)
        "Reaction ~ Days + late", "sleep", {"family": "gamma", "link": "log", "prior_scale": 0.05, "prior_df": np.inf},
        [5.567862824885, 0.02117781165734, 0.06134217290842],
        [0.02027463068184, 0.005254660350668, 0.03020065886369],
        0.02422015701268, 13,
    ),
    (
        # bayesglm(Reaction ~ Days * late, data = sleep, weights = w + 1, prior.scale = c(Inf, 0.1, 0.2), prior.df =
        #   c(1, 4, Inf), prior.mean = c(0, 10, -5), prior.mean.for.intercept = 250, prior.scale.for.intercept =
        #   0.1)
        "Reaction ~ Days * late", "sleep",
        {
            "weights": "w1", "prior_scale": [np.inf, 0.1, 0.2], "prior_df": [1, 4, np.inf], "prior_mean": [0, 10, -5],
            "prior_mean_for_intercept": 250, "prior_scale_for_intercept": 0.1,
        },
        [247.0323460889, 9.9335955352, 3.584905706852, -0.2070536346515],
        [8.077196110781, 3.371748499939, 10.56183709444, 3.114243464147],
        4346.643545561, 19,
    ),
    (
        # bayesglm(Reaction ~ 0 + Days + late, data = sleep, prior.scale = 0.3)
        "Reaction ~ 0 + Days + late", "sleep", {"prior_scale": 0.3},
        [70.09814881759, -163.0043056645],
        [4.836708450382, 36.283131035],
        18408.66804067, 15,
    ),
    (
        # bayesglm(Reaction ~ Days + late, gaussian("log"), sleep, scaled = FALSE)
        "Reaction ~ Days + late", "sleep", {"link": "log", "scaled": False},
        [5.538246587767, 0.0324901976982, 0.01835456947436],
        [0.02577568659032, 0.008413858596188, 0.04848999350607],
        2244.829089447, 6,
    ),
    (
        # bayesglm(Reaction ~ Days + I(0 * Days), data = sleep, prior.scale = 0.1)
        "Reaction ~ Days + I(0 * Days)", "sleep", {"prior_scale": 0.1},
        [252.0056210317, 10.33257883322, -0],
        [6.598625116059, 1.233713392756, 11.29793975774],
        2276.681053225, 8,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "data", "arguments", "coefficients", "errors", "dispersion", "iterations"),
    MORE,
    ids=[c[0] for c in MORE],
)
def test_more_figures(formula, data, arguments, coefficients, errors, dispersion, iterations):
    fit = wb.bayesglm(formula, table("sleepstudy" if data == "sleep" else data), **arguments, **TIGHT)
    close(fit.mode.coefficients, coefficients, 2e-11, smallest=1e-2)
    close(std_error(fit), errors, 2e-11)
    assert fit.dispersion == pytest.approx(dispersion, rel=2e-12)
    assert fit.iterations == iterations


# --- without priors, and with normal ones ---------------------------------------------------------------


def simulated(family, link, n=60, seed=3):
    """Rows inside the domain of a family and link: y, X, weights."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.uniform(0, 1, n), rng.integers(0, 2, n)])
    chosen = family_of(family, link)
    ends = {"binomial": (0.25, 0.6), "quasibinomial": (0.25, 0.6)}.get(family, (2.0, 4.0))
    low, high = chosen.link(np.array(ends))
    mean = chosen.inverse(low + (high - low) * (X[:, 1] + X[:, 2]) / 2)
    draw = {
        "gaussian": lambda: rng.normal(mean, 0.4), "binomial": lambda: rng.binomial(9, mean) / 9,
        "poisson": lambda: rng.poisson(mean), "gamma": lambda: rng.gamma(9, mean / 9),
        "inverse_gaussian": lambda: rng.wald(mean, 20 * mean),
    }  # fmt: skip
    y = np.asarray(draw[family.removeprefix("quasi")](), dtype=float)
    return y, X, np.full(n, 9.0) if chosen.of_probabilities else rng.uniform(0.5, 2, n)


@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_flat_priors_give_statsmodels_glm(family, link):
    import warnings

    from statsmodels.genmod.generalized_linear_model import GLM

    y, X, w = simulated(family, link)
    data = {"y": y, "a": X[:, 1], "b": X[:, 2], "w": w}
    flat = {"prior_scale": np.inf, "prior_scale_for_intercept": np.inf}
    fit = wb.bayesglm("y ~ a + b", data, family, link, weights="w", **flat, **TIGHT)
    assert fit.converged
    theirs_family, theirs_link = family_of(family, link)._of_statsmodels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of links that reach beyond the domain
        model = GLM(y, X, family=type(theirs_family)(theirs_link), var_weights=w)
        free = fit.family.estimates_dispersion
        glm = model.fit(tol=1e-14, maxiter=200, tol_criterion="params", scale="X2" if free else 1.0)
    # a deviance that is flat to 1e-12 places the coefficients to the root of that, where the link is not canonical
    np.testing.assert_allclose(fit.mode.coefficients, glm.params, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(std_error(fit), glm.bse, rtol=1e-6)


@pytest.mark.parametrize(("family", "link"), [pair for pair in PAIRS if not pair[0].startswith("quasi")])
def test_normal_priors_give_the_mode_of_the_log_posterior(family, link):
    # twice the log posterior is -deviance / phi - squares of the priors, up to a constant; its slope must vanish
    y, X, w = simulated(family, link)
    chosen, phi = family_of(family, link), 0.7
    m, s = np.array([0.1, -0.2, 0.3]), np.array([0.8, 0.2, 0.4])
    priors = CoefficientPriors(m, s, np.full(3, np.inf), s)
    mode = posterior_mode(y, X, chosen, priors, w, dispersion=phi, tolerance=1e-14, max_iterations=1000)

    def lost(b):
        return chosen.deviance(y, chosen.inverse(X @ b), w) / phi + np.sum(((b - m) / s) ** 2)

    b, steps = mode.coefficients, 1e-4 * np.sqrt(phi * np.diag(mode.unscaled))
    slope = [(lost(b + h) - lost(b - h)) / 2 for h in np.diag(steps)]
    bend = [lost(b + h) - 2 * lost(b) + lost(b - h) for h in np.diag(steps)]
    assert (np.array(bend) > 0).all()  # a minimum
    np.testing.assert_allclose(slope, 0, atol=1e-10 * lost(b))
    for h in 3e3 * np.eye(3) @ np.diag(steps):  # 0.3 standard deviations away, it is lower
        assert lost(b) < min(lost(b + h), lost(b - h))


def test_the_closed_form_of_a_normal_prior_and_a_held_dispersion():
    rng = np.random.default_rng(5)
    X, w = np.column_stack([np.ones(20), rng.normal(7, 1, 20)]), rng.uniform(0.5, 2, 20)
    y = X @ [1.0, 2.0] + rng.normal(size=20)
    fit = wb.bayesglm(
        "y ~ x", {"y": y, "x": X[:, 1], "w": w}, weights="w", scaled=False, dispersion=0.5,
        prior_mean=1, prior_scale=0.3, prior_df=np.inf,
        prior_mean_for_intercept=-1, prior_scale_for_intercept=2, prior_df_for_intercept=np.inf,
    )  # fmt: skip
    precision = (X.T * w) @ X / 0.5 + np.diag([1 / 4, 1 / 0.09])
    mode = np.linalg.solve(precision, (X.T * w) @ y / 0.5 + [-1 / 4, 1 / 0.09])
    np.testing.assert_allclose(fit.mode.coefficients, mode, rtol=1e-12)
    np.testing.assert_allclose(fit.cov, np.linalg.inv(precision), rtol=1e-10)


def test_the_fixed_point_of_student_priors():
    fit = wb.bayesglm("Reaction ~ Days + late", table("sleepstudy"), scaled=False, prior_df=[3, 1], **TIGHT)
    b, V, s = fit.mode.coefficients, fit.mode.unscaled, np.array([10, 2.5, 2.5])
    df = np.array([1, 3, 1])
    np.testing.assert_allclose(
        fit.mode.prior_sd**2, (b**2 + fit.dispersion * np.diag(V) + df * s**2) / (1 + df), rtol=1e-10
    )
    X, y = fit.regression.X, fit.regression.y
    leverage = np.einsum("ni,ij,nj->n", X, V, X).mean()
    assert fit.dispersion == pytest.approx(np.mean((y - X @ b) ** 2) + fit.dispersion * leverage, rel=1e-10)
    np.testing.assert_allclose(np.linalg.inv(X.T @ X + np.diag(fit.dispersion / fit.mode.prior_sd**2)), V, rtol=1e-8)


# --- joint priors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dispersion", ["reml", "em"])
def test_a_joint_prior_with_remls_covariance_is_the_plugged_in_prior(dispersion):
    design = design_of("sleepstudy--slope")
    base = reml(design)
    plugged = fixed_prior(
        design, options=Options(dispersion=dispersion, covariance="joint"), upstream={"reml": base}
    ).group_effects[0]
    S = base.components[0].covariance
    joint = {(f"Subject{s}", f"Subject{s}:Days"): (base.population.estimate, S) for s in plugged.levels}
    data = table("sleepstudy").astype({"Subject": str})
    fit = wb.bayesglm(
        "Reaction ~ 0 + Subject + Subject:Days", data, prior_joint=joint, scaled=False,
        dispersion=base.sigma**2 if dispersion == "reml" else "em", documented=["std_error"], **TIGHT,
    )  # fmt: skip
    np.testing.assert_allclose(fit.mode.coefficients, plugged.coefficient.estimate.T.ravel(), rtol=1e-9)
    np.testing.assert_allclose(std_error(fit), plugged.coefficient.std_error.T.ravel(), rtol=1e-9)


def test_a_diagonal_joint_prior_is_independent_normal_priors():
    data = table("sleepstudy")
    joint = {("Days", 2): ([1.0, 2.0], np.diag([0.25, 4.0]))}
    one = wb.bayesglm("slow ~ Days + late", data, "binomial", prior_joint=joint, scaled=False, **TIGHT)
    plain = {"prior_mean": [1, 2], "prior_scale": [0.5, 2], "prior_df": np.inf, "scaled": False}
    other = wb.bayesglm("slow ~ Days + late", data, "binomial", **plain, **TIGHT)
    np.testing.assert_allclose(one.cov, other.cov, rtol=1e-12)
    np.testing.assert_allclose(one.mode.coefficients, other.mode.coefficients, rtol=1e-12)
    pd.testing.assert_frame_equal(one.prior, other.prior)


def test_a_singular_joint_prior_holds_its_direction():
    S = np.array([[1.0, 2.0], [2.0, 4.0]])
    fit = wb.bayesglm("slow ~ Days + late", table("sleepstudy"), "binomial", prior_joint={("Days", "late"): (0, S)})
    _, days, late = fit.mode.coefficients
    assert late == pytest.approx(2 * days, rel=1e-7)
    assert abs(days) > 0.05


def test_a_scale_of_zero_holds_the_mean():
    fit = wb.bayesglm("y ~ x", SEPARATED, "binomial", scaled=False, prior_mean=0.25, prior_scale=0, prior_df=np.inf)
    assert fit.mode.coefficients[1] == 0.25
    assert std_error(fit)[1] == 0


# --- the documented behaviour ---------------------------------------------------------------------------


def test_documented_scaling_holds_the_column_scales():
    data = table("sleepstudy")
    arguments = {"prior_df": np.inf, "documented": ["scaling"], **TIGHT}
    fit = wb.bayesglm("Reaction ~ 0 + Days + late", data, prior_scale=0.1, **arguments)
    spread = 2 * data["Reaction"].std()
    scales = [0.1 * spread / (2 * data["Days"].std()), 0.1 * spread]
    np.testing.assert_allclose(fit.prior["scale"], scales, rtol=1e-13)
    own = wb.bayesglm("Reaction ~ 0 + Days + late", data, prior_scale=scales, scaled=False, **arguments)
    np.testing.assert_allclose(fit.mode.coefficients, own.mode.coefficients, rtol=1e-10)
    as_in_r = wb.bayesglm("Reaction ~ 0 + Days + late", data, prior_scale=0.1, prior_df=np.inf, **TIGHT)
    assert np.abs(as_in_r.mode.coefficients - fit.mode.coefficients).max() > 1


def augmented_em(X, y, spread, df, df_intercept, binary):
    """Gelman et al. (2008), section 3, the long way: inputs at their means, priors as rows of pseudo-data."""
    C = np.column_stack([np.ones(len(y)), X - X.mean(axis=0)])
    df = np.array([df_intercept, *[df] * X.shape[1]])
    scale = np.array([10, *(2.5 / spread)]) * (1 if binary else 2 * y.std(ddof=1))
    b, sd, phi = np.zeros(len(df)), scale, 1.0 if binary else y.var()
    for _ in range(3000):
        mean = 1 / (1 + np.exp(-C @ b)) if binary else C @ b
        W = mean * (1 - mean) if binary else np.ones(len(y))
        rows = np.vstack([C * np.sqrt(W)[:, None], np.diag(np.sqrt(phi) / sd)])
        z = np.append(np.sqrt(W) * (C @ b + (y - mean) / W), np.zeros(len(df)))
        b = np.linalg.lstsq(rows, z, rcond=None)[0]
        V = np.linalg.inv(rows.T @ rows)
        sd = np.sqrt((b**2 + phi * np.diag(V) + df * scale**2) / (1 + df))
        phi = 1.0 if binary else np.mean((y - C @ b) ** 2 + phi * np.sum(C @ V * C, axis=1))
    at_zero = np.eye(len(df))
    at_zero[0, 1:] = -X.mean(axis=0)
    return at_zero @ b, np.sqrt(phi * np.diag(at_zero @ V @ at_zero.T)), phi


@pytest.mark.parametrize("response", ["slow", "Reaction"])
@pytest.mark.parametrize(("df", "df_intercept"), [(1, 1), (7, 3)])
def test_all_that_is_documented_is_the_papers_algorithm(response, df, df_intercept):
    data = table("sleepstudy")
    X, y = data[["Days", "late"]].to_numpy(float), data[response].to_numpy(float)
    spread = np.array([2 * data["Days"].std(), 1])
    b, error, phi = augmented_em(X, y, spread, df, df_intercept, response == "slow")
    family = "binomial" if response == "slow" else "gaussian"
    fit = wb.bayesglm(
        f"{response} ~ Days + late", data, family, prior_df=df, prior_df_for_intercept=df_intercept,
        documented=True, tolerance=1e-14, max_iterations=20_000,
    )  # fmt: skip
    np.testing.assert_allclose(fit.mode.coefficients, b, rtol=1e-9)
    np.testing.assert_allclose(std_error(fit), error, rtol=1e-9)
    assert fit.dispersion == pytest.approx(phi, rel=1e-10)


def test_documented_intercept_does_not_depend_on_the_origin():
    data = table("sleepstudy")
    here = wb.bayesglm("slow ~ Days", data, "binomial", documented=["intercept"], **TIGHT)
    moved = wb.bayesglm("slow ~ I(Days - 100)", data, "binomial", documented=["intercept"], **TIGHT)
    centred = wb.bayesglm("slow ~ center(Days)", data, "binomial", **TIGHT)  # where R's figure is the documented one
    slopes = [fit.mode.coefficients[1] for fit in (here, moved, centred)]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-10)
    b = here.mode.coefficients
    assert b[0] + b[1] * data["Days"].mean() == pytest.approx(centred.mode.coefficients[0], rel=1e-10)
    in_r = [
        wb.bayesglm(f"slow ~ {x}", data, "binomial", **TIGHT).mode.coefficients[1] for x in ("Days", "I(Days - 100)")
    ]
    assert abs(in_r[0] - in_r[1]) > 1e-5


def test_aliased_columns_share_the_effect_or_go():
    data = table("sleepstudy")
    both = wb.bayesglm("slow ~ late + I(late * 1)", data, "binomial", **TIGHT)
    assert both.mode.coefficients[1] == pytest.approx(both.mode.coefficients[2], rel=1e-10)
    fit = wb.bayesglm("slow ~ late + I(late * 1)", data, "binomial", documented=["aliased"], **TIGHT)
    alone = wb.bayesglm("slow ~ late", data, "binomial", **TIGHT)
    assert (fit.terms, fit.aliased) == (("(Intercept)", "late"), ("I(late * 1)",))
    np.testing.assert_array_equal(fit.mode.coefficients, alone.mode.coefficients)
    assert "I(late * 1)" in fit.warnings[0]
    flat = wb.bayesglm("Reaction ~ Days + I(2 * Days)", data, prior_scale=np.inf, **TIGHT)
    assert flat.aliased == ("I(2 * Days)",)


@pytest.mark.parametrize("column", ["I(0 * Days + 0.1)", "I(late + 3)"])
def test_a_flat_column_that_centring_leaves_with_nothing_is_dropped(column):
    # R: "non-finite coefficients"; the intercept's prior stands on the linear predictor at the means, where a flat
    # constant, or a shifted copy of a flat column, changes nothing that could be told apart
    data = table("sleepstudy")
    flat = {"prior_scale": np.inf, "prior_scale_for_intercept": 3.0, "prior_df_for_intercept": np.inf}
    fit = wb.bayesglm(f"slow ~ late + {column}", data, "binomial", **flat, **TIGHT)
    assert fit.aliased == (column,)
    alone = wb.bayesglm("slow ~ late", data, "binomial", **flat, **TIGHT)
    np.testing.assert_allclose(fit.mode.coefficients, alone.mode.coefficients, rtol=1e-12)


# --- rows and columns of their own kind -----------------------------------------------------------------


def test_counts_proportions_and_single_trials_are_one_model():
    data = table("cbpp")
    counts = wb.bayesglm("cbind(incidence, size - incidence) ~ period", data, "binomial", scaled=False, **TIGHT)
    shares = wb.bayesglm("prop ~ period", data, "binomial", weights="size", scaled=False, **TIGHT)
    np.testing.assert_allclose(shares.mode.coefficients, counts.mode.coefficients, rtol=1e-12)
    trials = data.loc[data.index.repeat(data["size"])].reset_index()
    trials["sick"] = trials.groupby("index").cumcount() < trials["incidence"]
    single = wb.bayesglm("sick ~ period", trials, "binomial", scaled=False, **TIGHT)
    np.testing.assert_allclose(single.mode.coefficients, counts.mode.coefficients, rtol=1e-9)
    np.testing.assert_allclose(single.cov, counts.cov, rtol=1e-9)


def test_a_response_that_is_always_true_is_success():
    fit = wb.bayesglm("y ~ 1", {"y": [True, True, True]}, "binomial")
    assert fit.mode.coefficients[0] > 2


@pytest.mark.parametrize(
    ("response", "family"), [("Reaction", "gaussian"), ("slow", "binomial"), ("slow", "quasipoisson")]
)
def test_rows_without_weight_take_no_part(response, family):
    data = table("sleepstudy")
    arguments = {"family": family, "weights": "w", "scaled": False, "prior_scale": 0.5, **TIGHT}
    fit = wb.bayesglm(f"{response} ~ Days + late", data, **arguments)
    left = wb.bayesglm(f"{response} ~ Days + late", data[data["w"] > 0], **arguments)
    np.testing.assert_allclose(fit.mode.coefficients, left.mode.coefficients, rtol=1e-13)
    np.testing.assert_allclose(fit.cov, left.cov, rtol=1e-12)
    assert len(fit.fitted) == 180


@pytest.mark.parametrize("family", ["gaussian", "binomial"])
def test_a_column_of_zeros_keeps_its_prior(family):
    rng = np.random.default_rng(1)
    data = {"y": rng.integers(0, 2, 30), "x": rng.normal(size=30), "nothing": np.zeros(30)}
    fit = wb.bayesglm("y ~ x + nothing", data, family, prior_mean=[0, 0.7], scaled=False, prior_df=np.inf, **TIGHT)
    alone = wb.bayesglm("y ~ x", data, family, scaled=False, prior_df=np.inf, documented=["std_error"], **TIGHT)
    assert fit.mode.coefficients[2] == pytest.approx(0.7, rel=1e-14)
    assert fit.dispersion * fit.mode.unscaled[2, 2] == pytest.approx(2.5**2, rel=1e-12)
    np.testing.assert_allclose(fit.mode.coefficients[:2], alone.mode.coefficients, rtol=1e-9)


def test_one_row():
    # bayesglm(y ~ 1, binomial, data.frame(y = 0), control = glm.control(epsilon = 1e-12, maxit = 1000))
    fit = wb.bayesglm("y ~ 1", {"y": [0]}, "binomial", **TIGHT)
    assert fit.mode.coefficients[0] == pytest.approx(-2.99200117543142, rel=1e-12)
    assert fit.iterations == 24
    held = wb.bayesglm("y ~ 1", {"y": [6.0]}, dispersion=1.0, scaled=False, prior_scale_for_intercept=2.0,
                       prior_df_for_intercept=np.inf)  # fmt: skip
    assert held.mode.coefficients[0] == pytest.approx(6 * 4 / (4 + 1), rel=1e-14)
    assert std_error(held)[0] == pytest.approx(np.sqrt(4 / 5), rel=1e-14)


def test_more_coefficients_than_rows():
    rng = np.random.default_rng(2)
    data = {f"x{k}": rng.normal(size=6) for k in range(9)} | {"y": rng.normal(size=6)}
    fit = wb.bayesglm("y ~ " + " + ".join(f"x{k}" for k in range(9)), data, dispersion="em")
    assert "nothing is left for the residual" in fit.warnings[-1]
    np.testing.assert_allclose(fit.cov, fit.mode.unscaled * fit.dispersion, rtol=1e-15)
    assert (std_error(fit) > 0).all()


def test_missing_values_and_too_few_iterations_are_told():
    data = {"y": [1.0, 2.0, None, 4.0, 3.0], "x": [1, 2, 3, 4, 5]}
    fit = wb.bayesglm("y ~ x", data, max_iterations=2)
    assert not fit.converged
    assert [text.split(" ")[0] for text in fit.warnings] == ["5", "Deviance"]


def test_separation_without_priors_is_told():
    fit = wb.bayesglm("y ~ x", SEPARATED, "binomial", prior_scale=np.inf, prior_scale_for_intercept=np.inf)
    assert np.isfinite(fit.mode.coefficients).all()
    assert "0 or 1 to rounding" in fit.warnings[-1]


@pytest.mark.parametrize(
    ("counts", "at_edge"), [([0, 1, 0, 0, 1, 1, 0, 2, 0, 1, 2, 3], False), ([0] * 10 + [9, 9], True)]
)
def test_a_first_step_outside_the_domain_is_shortened(counts, at_edge):
    # R stops at both without start; with it, for the first:
    # bayesglm(y ~ seq(0, 1, length = 12), poisson("identity"), prior.scale = 100, prior.df = Inf, start = c(0.5, 0.5),
    #          control = glm.control(epsilon = 1e-12, maxit = 1000))
    data = {"y": counts, "x": np.linspace(0, 1, 12)}
    fit = wb.bayesglm("y ~ x", data, "poisson", "identity", prior_scale=100, prior_df=np.inf, **TIGHT)
    assert fit.converged
    assert (fit.fitted > 0).all()
    assert any("at its edge" in text for text in fit.warnings) == at_edge
    if not at_edge:
        close(fit.mode.coefficients, [0.10849060877378, 1.61354335287568], 1e-6)
        close(std_error(fit), [0.26141301597487, 0.71115723298062], 1e-6)


def test_a_log_link_takes_negative_responses_whose_mean_is_positive():
    x = np.arange(5.0)
    fit = wb.bayesglm("y ~ x", {"y": [-1.0, 2.0, 4.0, 9.0, 15.0], "x": x}, link="log", prior_scale=np.inf,
                      prior_scale_for_intercept=np.inf, **TIGHT)  # fmt: skip
    score = np.column_stack([np.ones(5), x]).T @ (fit.residuals * fit.fitted)
    np.testing.assert_allclose(score, 0, atol=1e-3)


def test_priors_by_name():
    data = table("sleepstudy")
    named = wb.bayesglm("slow ~ Days + late", data, "binomial", prior_scale={"late": 0.5}, prior_df={"Days": 7})
    listed = wb.bayesglm("slow ~ Days + late", data, "binomial", prior_scale=[2.5, 0.5], prior_df=[7, 1])
    np.testing.assert_array_equal(named.mode.coefficients, listed.mode.coefficients)
    turned = pd.Series([0.5, 2.5], index=["late", "Days"])  # by its names, not by its order
    series = wb.bayesglm("slow ~ Days + late", data, "binomial", prior_scale=turned, prior_df=pd.Series([7, 1]))
    np.testing.assert_array_equal(series.mode.coefficients, listed.mode.coefficients)


def test_to_dict_is_json():
    import json

    fit = wb.bayesglm("y ~ x", SEPARATED, "binomial")
    again = json.loads(json.dumps(fit.to_dict()))
    assert [row["estimate"] for row in again["fixed"]] == fit.fixed["estimate"].tolist()
    assert (again["nobs"], again["iterations"], again["warnings"]) == (10, 55, [])
    mixed = wb.fit("Yield ~ 1 + (1 | Batch)", DATA / "datasets" / "Dyestuff.csv").to_dict()
    assert set(mixed) <= set(again)  # one reader reads both


# --- links ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "link"), PAIRS)
@given(share=st.floats(0.01, 0.99))
def test_links_round_trip_and_their_slopes(family, link, share):
    chosen = family_of(family, link)
    mean = np.array([share if chosen.of_probabilities else 40 * share])
    predictor = chosen.link(mean)
    np.testing.assert_allclose(chosen.inverse(predictor), mean, rtol=1e-10)
    assert chosen.inside(predictor, mean)
    h = 1e-5 * (1 + np.abs(predictor)) * (1e-2 if link == "inverse_squared" else 1)
    h = np.minimum(h, 1e-3 * np.abs(predictor) + 1e-6)
    slope = (chosen.inverse(predictor + h) - chosen.inverse(predictor - h)) / (2 * h)
    np.testing.assert_allclose(chosen.slope(predictor), slope, rtol=1e-4)


LOWER_TAILS = {
    # lowest linear predictor; mean and slope there, to leading order where the closed form would cancel
    "logit": (-29.9, lambda e: np.exp(e) / (1 + np.exp(e)), lambda e: np.exp(e) / (1 + np.exp(e)) ** 2),
    "probit": (-8.1, lambda e: erfc(-e / np.sqrt(2)) / 2, lambda e: np.exp(-(e**2) / 2) / np.sqrt(2 * np.pi)),
    "cloglog": (-35.9, lambda e: -np.expm1(-np.exp(e)), lambda e: np.exp(e - np.exp(e))),
    "cauchit": (-2e7, lambda e: np.arctan(-1 / e) / np.pi, lambda e: 1 / (np.pi * (1 + e**2))),
    "log": (-35.9, np.exp, np.exp),
}


@pytest.mark.parametrize("link", LOWER_TAILS)
@given(share=st.floats(1e-6, 1))
def test_small_probabilities_keep_their_digits(link, share):
    lowest, mean, slope = LOWER_TAILS[link]
    chosen, predictor = family_of("binomial", link), np.array([lowest * share])
    np.testing.assert_allclose(chosen.inverse(predictor), mean(predictor), rtol=1e-13)
    np.testing.assert_allclose(chosen.slope(predictor), slope(predictor), rtol=1e-13)
    # the mean's last digits are the predictor's, as far as a probability near a half can tell it from zero
    np.testing.assert_allclose(chosen.link(chosen.inverse(predictor)), predictor, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("family", "link"), [p for p in PAIRS if p[0] == "binomial"])
def test_probabilities_never_reach_their_ends(family, link):
    chosen = family_of(family, link)
    far = np.array([-1e6, 1e6]) if link != "log" else np.array([-1e6, -1e-12])
    mean, slope = chosen.inverse(far), chosen.slope(far)
    assert (mean > 0).all()
    assert (mean < 1).all()
    assert (slope > 0).all()
    assert np.isfinite(slope / chosen.variance(mean)).all()


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "arguments", "said"),
    [
        ("y ~ x + (1 | g)", {}, "takes no random terms"),
        ("y ~ x", {"family": "binomal"}, "Did you mean 'binomial'"),
        ("y ~ x", {"link": "logit"}, "has no link 'logit' here"),
        ("y ~ x", {"family": "binomial"}, "must be between 0 and 1, but y is 2"),
        ("g ~ x", {}, "holds labels"),
        ("cbind(y, x) ~ 1", {"family": "poisson"}, "use family='binomial'"),
        ("y ~ x", {"prior_scale": [1.0, 2.0]}, "1 coefficients beside the intercept: x"),
        ("y ~ x", {"prior_scale": {"z": 1.0}}, "names 'z'"),
        ("y ~ x", {"prior_scale": -1.0}, "scale of x is -"),
        ("y ~ x", {"prior_df": 0}, "df of x is 0"),
        ("y ~ x", {"prior_mean": np.nan}, "mean of x is nan"),
        ("y ~ x", {"prior_scale": {"(Intercept)": 1.0}}, "prior is given by prior_scale_for_intercept"),
        ("y ~ 1", {"prior_df": {"x": 1.0}}, "no coefficients beside the intercept"),
        ("y ~ x", {"prior_df": "Inf"}, "prior_df is 'Inf', but must be a number"),
        ("y ~ x", {"prior_scale": [True]}, "prior_scale is [True], but must be a number"),
        ("y ~ x", {"min_prior_scale": np.inf}, "min_prior_scale is inf"),
        ("y ~ x", {"min_prior_scale": "a"}, "min_prior_scale is 'a'"),
        ("y ~ x", {"scaled": "no"}, "scaled is 'no', but must be True or False"),
        ("y ~ x", {"drop_baseline": None}, "drop_baseline is None"),
        ("y ~ x", {"tolerance": "tight"}, "tolerance is 'tight'"),
        ("y ~ x", {"max_iterations": 10.0}, "must be a whole number"),
        ("y ~ x", {"level": 95}, "level is 95"),
        ("y ~ x", {"dispersion": None}, "must be 'em', or a positive number"),
        ("y ~ x", {"documented": 1}, "some of scaling, intercept, aliased, std_error"),
        ("y ~ x", {"prior_joint": [("x", (0, 1))]}, "must be a mapping"),
        ("cbind(none, none) ~ x", {"family": "binomial"}, "No row has weight"),
        ("y ~ x", {"prior_joint": {("x", "z"): (0, np.eye(2))}}, "names 'z'"),
        ("y ~ x", {"prior_joint": {"x": (0, np.eye(2))}}, "must have (1, 1)"),
        ("y ~ x", {"prior_joint": {("x", 0): (0, [[1, 2], [2, 1]])}}, "negative eigenvalue"),
        ("y ~ x", {"prior_joint": {"x": (0, 1.0), 1: (0, 1.0)}}, "x twice"),
        ("y ~ x", {"dispersion": 0.0}, "positive number"),
        ("y ~ x", {"documented": ["scale"]}, "Did you mean 'scaling'"),
        ("y ~ x", {"weights": "none"}, "No row has weight"),
        ("y ~ x", {"weights": [-1, 1, 1, 1]}, "weights must be 0 or more"),
        ("c ~ x", {}, "it has none (3 in all 4 rows)"),
        ("c ~ x", {"scaled": False}, "4 rows that are all 3"),
        ("y ~ 0", {}, "no coefficients"),
        ("I(3 - y) ~ x", {"link": "log"}, "no value for the mean of the response (-0.5)"),
        ("y ~ 0 + I(x - 2.5)", {"family": "poisson", "link": "identity"}, "leave the domain"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(formula, arguments, said):
    data = {"y": [2.0, 5.0, 3.0, 4.0], "x": [1, 2, 3, 4], "g": list("aabb"), "c": [3.0] * 4, "none": [0] * 4}
    with pytest.raises(WorkbenchError) as problem:
        wb.bayesglm(formula, data, **arguments)
    assert said in str(problem.value)


def test_one_row_has_no_dispersion():
    with pytest.raises(WorkbenchError, match=r"a single row \(6\)"):
        wb.bayesglm("y ~ 1", {"y": [6.0]}, scaled=False)


def test_a_dispersion_without_limit_is_refused():
    # flat priors and a row of its own for most coefficients; R (not converged): coefficients that are NA
    rows = {
        "g": list("ddacab"),
        "x": [-0.009759, -0.162483, -0.058773, -0.159463, 0.041493, -0.072761],
        "w": [0.408681, 1.583178, 0.621524, 1.253325, 2.687484, 2.521120],
        "y": [6, 0, 0, 0, 51, 1],
    }
    with pytest.raises(WorkbenchError, match="dispersion grows without limit"):
        wb.bayesglm("y ~ 0 + g + x", rows, "quasipoisson", weights="w", prior_scale=np.inf)


def test_a_fit_far_from_the_data_is_told():
    held = {"prior_mean": 8, "prior_scale": 0.01, "prior_df": np.inf, "scaled": False}
    fit = wb.bayesglm("y ~ x", {"x": [-1, 0, 1, 2], "y": [1, 0, 2, 1]}, "poisson", **held)
    assert "The deviance (" in fit.warnings[0]
    assert "is far above that of the mean response alone (2.773)" in fit.warnings[0]  # 2 (2 log 2), by hand


def test_flat_columns_that_explain_each_other_on_arrays():
    flat = np.full(2, np.inf)
    with pytest.raises(WorkbenchError, match="explain each other"):
        posterior_mode(
            np.arange(4.0), np.ones((4, 2)), family_of("gaussian"), CoefficientPriors(np.zeros(2), flat, flat, flat)
        )

"""`exact`. Rungs: figures of many digits, a slow oracle, invariance, agreement with the sampler.

The oracle shares nothing with the code: normal densities of whole response vectors, by n x n matrices, summed over a
dense grid of tau and sigma. Tolerances are in posterior SDs: 1e-8 is promised.
"""

from math import inf

import numpy as np
import pandas as pd
import pytest
from corpus import DATA, design_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from test_hierarchical import integrate

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError, PriorError
from workbench.estimators import Settings, run_estimator
from workbench.exact_posterior.gauss_rules import gauss
from workbench.exact_posterior.quadrature import Panels
from workbench.prior_defaults import resolve_priors
from workbench.priors import coefficient_name
from workbench.sampling.names import block_names

pytestmark = pytest.mark.usefixtures("one_picture")

SCHOOLS = {
    "y": [28.0, 8, -3, 7, -1, 1, 18, 12],
    "se": [15.0, 10, 16, 11, 9, 11, 10, 18],
    "school": list("ABCDEFGH"),
}
PRIORS = {"(Intercept)": "Normal(0, 5)", "sd(school)": "HalfCauchy(5)"}
FLAT = {"(Intercept)": "Flat()", "sd(school)": "Flat()"}


def schools(priors=PRIORS, **more):
    return wb.fit("y ~ 1 + (1 | school)", SCHOOLS, "exact", se="se", priors=priors, **more)


COLUMNS = ("estimate", "std_error", "conf_low", "median", "conf_high")


def everything(fit):
    """All numbers of a fit, (m, 5): mean, SD, low, median, high of parameters, coefficients and effects."""
    part = fit.group_effects[0]
    parts = (fit.parameters.estimates, part.coefficient, part.effect)
    return np.vstack([np.column_stack([getattr(e, name).ravel() for name in COLUMNS]) for e in parts])


# --- computed to many digits --------------------------------------------------------------------------

# The eight schools (Rubin 1981; Gelman et al. 2013, section 5.5), by mpmath: with p(tau) the closed form of the
# posterior of tau and pts = [0, 1e-3, 1e-2, 0.1, 0.5, 1, 2, 4, ..., 128, 1000, 1e5, inf], in 25 digits
#   quad(lambda t: p(t) * f(t), pts) / quad(p, pts),   quantiles by findroot of the same with erfc
# Columns: mean, SD, and where given 2.5 %, median, 97.5 %.
NAN = np.nan
INFORMED = {
    "b": [[4.396820713833, 3.31770446314, -2.168395938292, 4.415220686038, 10.85231083265]],
    "tau": [[3.597705484098, 3.219958414663, 0.1231045266195, 2.748731076228, 11.93195829755]],
    "coefficient": [
        [6.211884204056, 5.593126195331, -3.105070727954, 5.637041128204, 19.60053469091],
        [4.940178419511, 4.67426846217, NAN, NAN, NAN],
        [3.927004402527, 5.262615105497, NAN, NAN, NAN],
        [4.757098291281, 4.780297336822, NAN, NAN, NAN],
        [3.6154770154, 4.657452585844, -6.593046446152, 3.867519644401, 12.14504200952],
        [4.04261263583, 4.826865591571, NAN, NAN, NAN],
        [6.296724127568, 5.077848756313, NAN, NAN, NAN],
        [4.854253319882, 5.290801064555, NAN, NAN, NAN],
    ],
    "effect": [
        [1.815063490223, 4.899774844642, -5.243455804088, 0.5120767238159, 15.13701342692],
        [0.5433577056779, 3.83830397165, -6.995187406817, 0.1199360916473, 9.803363658408],
        [-0.4698163113058, 4.243771591741, -10.51410557857, -0.09334291201946, 8.007195550335],
    ],
}
FLAT_FIGURES = {
    "b": [[7.932375018238, 5.178394779723, -2.090220382173, 7.891700247106, 18.21814307269]],
    "coefficient": [
        [11.40026087044, 8.341416237497, -2.105016400487, 10.24072034294, 31.623421906],
        [7.894552283686, 6.274835430203, NAN, NAN, NAN],
        [6.130746856933, 7.765167387818, NAN, NAN, NAN],
        [7.644678624276, 6.546261151438, NAN, NAN, NAN],
        [5.126424111939, 6.357419744374, -8.904878297404, 5.602786276603, 16.46860761319],
        [6.138536242917, 6.710294967696, NAN, NAN, NAN],
        [10.66698332814, 6.785586622402, NAN, NAN, NAN],
        [8.456817827562, 7.888198294004, NAN, NAN, NAN],
    ],
    "effect": [
        [3.467885852207, 7.510828471273, -7.839490000315, 1.426424535931, 23.03274186313],
        [-0.03782273455179, 5.871929824033, -12.84263550308, -0.00169897275323, 12.56254685616],
    ],
}


@pytest.mark.parametrize(("priors", "figures"), [(PRIORS, INFORMED), (FLAT, FLAT_FIGURES)])
def test_eight_schools(priors, figures):
    fit = schools(priors)
    part = fit.group_effects[0]
    places = {"b": fit.population, "coefficient": part.coefficient, "effect": part.effect}
    found = {key: np.column_stack([getattr(e, name).ravel() for name in COLUMNS]) for key, e in places.items()}
    found["tau"] = np.array([[getattr(fit.parameters.estimates, name)[1] for name in COLUMNS]])
    for key, rows in figures.items():
        known = np.array(rows)
        off = np.abs(found[key][: len(known)] - known) / known[:, 1:2]
        assert np.nanmax(off) < 1e-8, key  # in SDs, which is what is promised


def test_labels_and_names():
    fit = schools()
    c = fit.group_effects[0].coefficient
    assert (c.point, c.std_error_kind, c.interval) == ("posterior mean", "posterior SD", "equal-tailed 95 %")
    assert fit.parameters.names == ("(Intercept)", "sd(school, (Intercept))")
    assert fit.priors == {"(Intercept)": "Normal(0, 5)", "sd(school, (Intercept))": "HalfCauchy(5)"}
    assert fit.to_dict()["parameters"][1]["median"] == pytest.approx(2.748731076228, rel=1e-9)
    assert fit.components[0].sd[0] == pytest.approx(3.597705484098, rel=1e-9)


def test_twelve_groups_as_integrated_on_a_grid():
    design = design_of("twelve_groups--ri")
    fit = run_estimator("exact", design, Settings())
    truth = integrate(design, resolve_priors(design, {}))
    e, c = fit.parameters.estimates, fit.group_effects[0].coefficient
    # the grid leaves out sigma beyond (4.2, 6.1), which moves it by 1e-4 of an SD
    for k, key in enumerate(("mu", "sigma", "tau")):
        assert e.estimate[k] == pytest.approx(truth[key][0], abs=2e-4 * truth[key][1]), key
        assert e.std_error[k] == pytest.approx(truth[key][1], rel=2e-4), key
    np.testing.assert_allclose(c.estimate[:, 0], truth["c"][0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(c.std_error[:, 0], truth["c"][1], rtol=2e-4)


# --- a slow oracle ------------------------------------------------------------------------------------


def oracle(design, priors, tau, sigma, points):
    """Sums over a grid of tau and sigma (trapezoid rule), of n x n matrices.

    Means and SDs of all population and group coefficients, means and SDs of (tau, sigma), the distribution functions
    of the coefficients at `points` (one row each), and the log of the whole sum.
    """
    X, y = design.X, design.y - design.offset
    (block,) = design.blocks
    Z = np.eye(len(block.levels))[block.codes] * block.Z
    normal = [priors[coefficient_name(term)].values for term in design.fixed_terms]
    m = np.array([v[0] for v in normal])
    S, J, p = np.diag([v[1] ** 2 for v in normal]), len(block.levels), len(m)
    C = np.zeros((J, p))
    if block.fixed[0] is not None:
        C[:, block.fixed[0]] = 1.0
    picks = np.block([[np.eye(p), np.zeros((p, J))], [C, np.eye(J)]])
    columns, log_p, means, variances = np.hstack([X, Z]), [], [], []
    for t in tau:
        joint = np.block([[S, np.zeros((p, J))], [np.zeros((J, p)), t**2 * np.eye(J)]])
        for s in sigma:
            V = s**2 * np.diag(1 / design.weights) + columns @ joint @ columns.T
            log_p.append(multivariate_normal.logpdf(y, X @ m, V))
            log_p[-1] += priors[f"sd({block.group}, {block.terms[0]})"].log_density(t) + priors["sigma"].log_density(s)
            gain = picks @ joint @ columns.T @ np.linalg.inv(V)
            means.append(picks @ np.append(m, np.zeros(J)) + gain @ (y - X @ m))
            variances.append(np.diag(picks @ joint @ picks.T - gain @ columns @ joint @ picks.T))
    w = np.exp(np.array(log_p) - max(log_p)) * np.outer(ends(tau), ends(sigma)).ravel()
    total, w = w.sum(), w / w.sum()
    means, sds = np.array(means), np.maximum(np.sqrt(variances), 1e-9)
    both = np.array([(t, s) for t in tau for s in sigma])
    below = np.stack([w @ norm.cdf((at - means) / sds) for at in points.T], axis=1)
    spread = np.sqrt(w @ (sds**2 + (means - w @ means) ** 2)), np.sqrt(w @ (both - w @ both) ** 2)
    return w @ means, spread[0], w @ both, spread[1], below, np.log(total) + max(log_p)


def ends(x):
    """Weights of the trapezoid rule."""
    return np.append(np.diff(x) / 2, 0) + np.append(0, np.diff(x) / 2)


def table(seed=4, J=7, each=4):
    """Groups of four, the last one of one, with a covariate, one of the groups, weights and an offset."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(J), each)[:-3]
    x, z = rng.normal(size=len(g)), rng.normal(size=J)[g]
    y = 2 + 0.7 * x - 0.4 * z + 0.8 * rng.normal(size=J)[g] + rng.normal(size=len(g))
    labels = [f"level {k}" for k in g]
    return {"y": y, "x": x, "z": z, "g": labels, "w": rng.uniform(0.3, 3, len(g)), "o": rng.normal(size=len(g))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "priors", "top"),
    [
        (
            "y ~ x + z + offset(o) + (1 | g)",
            {"sd": "HalfNormal(1)", "sigma": "HalfNormal(1)", "b": "Normal(0.1, 2)"},
            7,
        ),
        ("y ~ x + offset(o) + (0 + x | g)", {"sd": "HalfNormal(1)", "sigma": "Gamma(3, 2)"}, 7),
        ("y ~ x + offset(o) + (1 | g)", {"sd": "Uniform(0, 0.5)", "sigma": "Uniform(0.9, 1.4)"}, 0.5),
        ("y ~ 0 + x + (1 | g)", {"sd": "Exponential(0.9)", "sigma": "HalfNormal(3)"}, 16),
    ],
)
def test_covariates_weights_and_an_offset_against_n_by_n_matrices(formula, priors, top):
    design = build_design(formula, table(), weights="w")
    resolved = resolve_priors(design, priors)
    fit = run_estimator("exact", design, Settings(priors=priors))
    p, e, c = len(design.fixed_terms), fit.parameters.estimates, fit.group_effects[0].coefficient
    ours = [np.append(getattr(e, name)[:p], getattr(c, name)) for name in COLUMNS]
    low, high = resolved["sigma"].values if resolved["sigma"].kind == "Uniform" else (0.3, 4.5)
    coarse, fine = (
        oracle(design, resolved, np.linspace(0, top, k), np.linspace(low, high, k // 2), np.column_stack(ours[2:]))
        for k in (100, 199)
    )
    # the trapezoid rule is off by h^2 times the slopes at the ends: extrapolated to h = 0, by less than 2e-5
    mean, sd, means, sds, below, evidence = (b + (b - a) / 3 for a, b in zip(coarse, fine, strict=True))
    np.testing.assert_allclose((ours[0] - mean) / sd, 0, atol=2e-5)
    np.testing.assert_allclose(ours[1] / sd, 1, atol=2e-5)
    np.testing.assert_allclose(below, np.broadcast_to([0.025, 0.5, 0.975], below.shape), atol=2e-5)
    np.testing.assert_allclose((e.estimate[:-3:-1] - means) / sds, 0, atol=2e-5)
    np.testing.assert_allclose(e.std_error[:-3:-1] / sds, 1, atol=2e-5)
    assert fit.diagnostics["log_evidence"] == pytest.approx(float(evidence), abs=2e-5)


@pytest.mark.slow
def test_the_sampler_draws_from_the_same_posterior():
    for design, priors in (
        (design_of("twelve_groups--ri"), {}),
        (build_design("y ~ x + z + offset(o) + (1 | g)", table(), weights="w"), {"sd": "HalfCauchy(1)"}),
    ):
        sampled = run_estimator("hierarchical", design, Settings(seed=8, priors=priors), {"draws": 4000})
        fit = run_estimator("exact", design, Settings(priors=priors))
        assert fit.parameters.names == sampled.parameters.names
        assert fit.priors == sampled.priors
        a, b = sampled.group_effects[0], fit.group_effects[0]
        pairs = [(sampled.parameters.estimates, fit.parameters.estimates), (a.coefficient, b.coefficient)]
        for theirs, ours in [*pairs, (a.effect, b.effect)]:
            assert (np.abs(theirs.estimate - ours.estimate) < 4 * ours.std_error / np.sqrt(theirs.ess_bulk)).all()
            assert (np.abs(theirs.median - ours.median) < 4 * 1.5 * ours.std_error / np.sqrt(theirs.ess_bulk)).all()


def test_a_slope_alone_is_the_same_beside_an_intercept_and_beside_a_column_of_ones():
    # only with an intercept are columns centred; far from 0 that made z a combination of two, and rounding a failure
    sleep = pd.read_csv(DATA / "datasets/sleepstudy.csv").assign(one=1.0)
    priors = {"Days": "Normal(0, 50)", "sd": "HalfNormal(20)", "sigma": "HalfNormal(50)"}
    fits = [
        run_estimator("exact", build_design(formula, sleep), Settings(priors=priors | {first: "Normal(300, 260)"}))
        for formula, first in (
            ("Reaction ~ Days + (0 + Days | Subject)", "(Intercept)"),
            ("Reaction ~ 0 + one + Days + (0 + Days | Subject)", "one"),
        )
    ]
    a, b = (fit.parameters.estimates for fit in fits)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-8)
    assert fits[0].converged
    evidence = [fit.diagnostics["log_evidence"] for fit in fits]
    assert evidence[0] == pytest.approx(evidence[1], abs=1e-8)


# --- the marginal densities ---------------------------------------------------------------------------


def test_densities_are_slopes_of_distribution_functions_and_have_the_reported_moments():
    fit = run_estimator("exact", build_design("y ~ x + (1 | g)", table()), Settings())
    posterior, part = fit.posterior, fit.group_effects[0]
    e = fit.parameters.estimates
    marginals = [(posterior.parameter(name), e, k) for k, name in enumerate(fit.parameters.names)]
    marginals += [(posterior.coefficient("level 2"), part.coefficient, (2, 0))]
    marginals += [(posterior.effect("level 6"), part.effect, (6, 0))]
    for marginal, values, k in marginals:
        sd = values.std_error[k]
        at = values.estimate[k] + sd * np.linspace(-1.5, 4, 23)
        h = 1e-4 * sd
        slope = (marginal.cdf(at + h) - marginal.cdf(at - h)) / (2 * h)
        np.testing.assert_allclose(marginal.density(at) * sd, slope * sd, atol=1e-6)  # h^2 times a third derivative
        x = values.estimate[k] + sd * np.linspace(-9, 30, 40_001)
        mass = marginal.density(x) * ends(x)
        assert mass.sum() == pytest.approx(1, abs=1e-3)
        assert mass @ x / mass.sum() == pytest.approx(values.estimate[k], abs=1e-3 * sd)
        reported = [values.conf_low[k], values.median[k], values.conf_high[k]]
        np.testing.assert_allclose(marginal.quantile(np.array([0.025, 0.5, 0.975])), reported, atol=1e-9 * sd)
    assert posterior.parameter("sigma").density(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]
    assert posterior.parameter("sd(g, (Intercept))").cdf(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]


# --- invariance ---------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.floats(-6, 6), st.integers(0, 2**20), st.booleans())
def test_units_and_the_order_of_rows_do_not_matter(log_unit, seed, known):
    unit, rng = 10.0**log_unit, np.random.default_rng(seed)
    data = table(seed % 7)
    order = rng.permutation(len(data["y"]))
    scaled = {
        key: (unit if key in ("y", "o", "s") else 1) * np.asarray(value)[order]
        for key, value in data.items()
        if key != "g"
    }
    scaled["g"] = [data["g"][k] for k in order]
    priors = ("Normal(1, 3)", "HalfStudentT(4, 2)", "HalfCauchy(1)")
    times = (f"Normal({unit!r}, {3 * unit!r})", f"HalfStudentT(4, {2 * unit!r})", f"HalfCauchy({unit!r})")
    names = ("(Intercept)", "sigma", "sd(g)")
    fits = []
    for table_, values in ((data, priors), (scaled, times)):
        own = dict(zip(names, values, strict=True)) | {"x": values[0].replace("Cauchy", "Normal")}
        if known:
            own.pop("sigma")
        size = 1.0 if table_ is data else unit
        more = {"se": size * np.asarray(table_["w"])} if known else {"weights": "w"}
        fits.append(wb.fit("y ~ x + offset(o) + (1 | g)", table_, "exact", priors=own, **more))
    one, other = map(everything, fits)
    p = len(fits[0].parameters.names)
    levels = [list(fit.design.blocks[0].levels) for fit in fits]
    places = [levels[1].index(level) for level in levels[0]]
    J = len(places)
    where = [*range(p), *(p + np.array(places)), *(p + J + np.array(places))]
    np.testing.assert_allclose(other[where] / unit, one, atol=1e-8 * one[:, 1].max())


def test_a_response_far_from_zero_keeps_its_digits():
    data = table()
    far = data | {"y": data["y"] + 2.0**30}
    priors = {"(Intercept)": "Flat()", "sd": "HalfNormal(1)", "sigma": "HalfNormal(1)", "x": "Normal(0, 3)"}
    one, other = (everything(wb.fit("y ~ x + (1 | g)", t, "exact", priors=priors)) for t in (data, far))
    shifted = np.abs(other[:, 0] - one[:, 0]) > 1e8
    other[shifted[:, None] & np.array([True, False, True, True, True])] -= 2.0**30
    np.testing.assert_allclose(other, one, atol=2e-6)  # 2^30 in floats: steps of 2.4e-7


# --- many groups --------------------------------------------------------------------------------------


def test_condensed_rules_give_what_all_nodes_give():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(400), rng.integers(1, 12, 400))
    data = {"y": 2 * rng.normal(size=400)[g] + rng.normal(size=len(g)), "g": g, "w": rng.uniform(0.5, 2, len(g))}
    fit = wb.fit("y ~ 1 + (1 | g)", data, "exact", weights="w")
    posterior = fit.posterior
    assert fit.diagnostics["mixture_nodes"] < len(posterior.rule.weights) / 5
    for lines, ours in (
        (posterior.groups(), fit.group_effects[0].coefficient),
        (posterior.groups(whole=False), fit.group_effects[0].effect),
    ):
        whole = posterior.summary(lines, posterior.rule, 0.95)
        for mine, theirs in zip(
            (ours.estimate, ours.conf_low, ours.conf_high), (whole.mean, *whole.quantiles.T[::2]), strict=True
        ):
            np.testing.assert_allclose((mine[:, 0] - theirs) / whole.sd, 0, atol=1e-8)
        np.testing.assert_allclose(ours.std_error[:, 0] / whole.sd, 1, atol=1e-9)


def test_sums_over_many_different_groups_by_polynomials(monkeypatch):
    from workbench.exact_posterior import one_factor

    rng = np.random.default_rng(3)
    A, products = rng.lognormal(1, 1.5, 900), rng.normal(size=(900, 3)) ** 2
    rho = np.concatenate([[0.0], 10.0 ** np.linspace(-8, 12, 50)])
    fast = one_factor.Spread.of(A, products).at(rho)
    monkeypatch.setattr(one_factor, "FEW", 10_000)
    slow = one_factor.Spread.of(A, products).at(rho)
    np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-11)


@pytest.mark.parametrize("sd", [0.02, 0.3, 5.0])
def test_gauss_rules_of_narrow_and_wide_densities_stay_among_their_nodes(sd):
    # a normal density of which few nodes see anything has no rule of higher order than these: no weight goes astray
    panels = Panels.over(0.0, 8.0, 4.0)
    density = np.exp(-0.5 * ((panels.nodes - 4.1) / sd) ** 2) * panels.weights
    density /= density.sum()
    for order in (3, 6, 12, 24):
        nodes, weights = gauss(panels.nodes, density[None], order)
        counts = weights[0] > 1e-14
        assert ((nodes[0][counts] > 0) & (nodes[0][counts] < 8)).all()
        for power in range(0, min(2 * order, 12)):
            truth = density @ ((panels.nodes - 4) / sd) ** power
            assert weights[0] @ ((nodes[0] - 4) / sd) ** power == pytest.approx(truth, rel=1e-9, abs=1e-9)


# --- draws --------------------------------------------------------------------------------------------


def test_draws_are_independent_and_have_the_posterior_s_moments():
    from arviz_stats.base import array_stats

    design = build_design("y ~ x + (1 | g)", table())
    fit = run_estimator("exact", design, Settings(seed=5), {"draws": 5000})
    posterior, e, part = fit.draws["posterior"], fit.parameters.estimates, fit.group_effects[0]
    assert posterior["coefficient_g"].dims == ("chain", "draw", "g", "g_term")
    assert set(posterior.data_vars) == {"b", "sigma", f"sd_{block_names(design)[0]}", "effect_g", "coefficient_g"}
    n = 20_000
    flat = np.concatenate(
        [posterior[name].values.reshape(n, -1) for name in ("b", "sigma", "sd_g", "coefficient_g", "effect_g")], axis=1
    )
    mean = np.concatenate([e.estimate, part.coefficient.estimate[:, 0], part.effect.estimate[:, 0]])
    sd = np.concatenate([e.std_error, part.coefficient.std_error[:, 0], part.effect.std_error[:, 0]])
    assert (np.abs(flat.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n)).all()
    kurtosis = ((flat - mean) ** 4).mean(axis=0) / sd**4
    assert (np.abs(flat.std(axis=0) / sd - 1) < 4.5 * np.sqrt((kurtosis - 1) / 4 / n)).all()
    low, high = (
        np.concatenate([getattr(e, k), getattr(part.coefficient, k)[:, 0], getattr(part.effect, k)[:, 0]])
        for k in ("conf_low", "conf_high")
    )
    inside = ((flat > low) & (flat < high)).mean(axis=0)
    assert (np.abs(inside - 0.95) < 4.5 * np.sqrt(0.95 * 0.05 / n)).all()
    chains = flat.reshape(4, 5000, -1)
    assert (array_stats.rhat(chains, method="rank", chain_axis=0, draw_axis=1) < 1.002).all()
    assert (array_stats.ess(chains, method="bulk", chain_axis=0, draw_axis=1) > 0.9 * n).all()
    # together, not only one by one: the covariance of the population coefficients
    b = posterior["b"].values.reshape(n, -1)
    error = 4.5 * np.sqrt(2 / n) * np.sqrt(np.outer(np.diag(fit.fixed_cov), np.diag(fit.fixed_cov)))
    assert (np.abs(np.cov(b, rowvar=False) - fit.fixed_cov) < error).all()
    again = run_estimator("exact", design, Settings(seed=5), {"draws": 5000})
    np.testing.assert_array_equal(again.draws["posterior"]["sd_g"], posterior["sd_g"])
    assert run_estimator("exact", design, Settings()).draws is None


# --- predictions, and the comparison ------------------------------------------------------------------


def test_predictions_are_posterior_summaries_of_the_rows_means():
    data = table()
    fit = wb.fit("y ~ x + offset(o) + (1 | g)", data, "exact", options={"draws": 5000})
    new = {"x": [0.5, 0.5, 2.0], "g": ["level 1", "never seen", "level 6"], "o": [0.0, 1.0, -1.0]}
    found = fit.predict(new, new_levels="population")
    posterior, rng = fit.draws["posterior"], np.random.default_rng(1)
    b, u = posterior["b"].values.reshape(-1, 2), posterior["effect_g"].values.reshape(-1, 7)
    unseen = posterior["sd_g"].values.ravel() * rng.normal(size=len(b))
    rows = np.stack([b @ [1, 0.5] + u[:, 1], b @ [1, 0.5] + unseen + 1, b @ [1, 2] + u[:, 6] - 1], axis=1)
    error = found["std_error"].to_numpy() / np.sqrt(len(b))
    assert (np.abs(rows.mean(axis=0) - found["estimate"]) < 4 * error).all()
    assert (np.abs(rows.std(axis=0) - found["std_error"]) < 8 * error).all()
    inside = ((rows > found["conf_low"].to_numpy()) & (rows < found["conf_high"].to_numpy())).mean(axis=0)
    assert (np.abs(inside - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(b))).all()
    np.testing.assert_allclose(fit.predict()["estimate"], fit.fitted, rtol=1e-10)
    assert fit.predict(new, groups=False)["std_error"][0] < found["std_error"][1]


def test_it_stands_beside_the_others_in_a_comparison_and_a_report(tmp_path):
    both = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ["no_pooling", "reml", "exact"])
    (row,) = both.timings.query("estimator == 'exact'").to_dict("records")
    assert row["converged"]
    both.report(tmp_path / "report")
    (page,) = (tmp_path / "report").glob("*.md")
    assert "exact full Bayes" in page.read_text()


# --- what does not exist, and what is refused ---------------------------------------------------------


@pytest.mark.parametrize(("schools_kept", "mean", "sd"), [(3, False, False), (4, True, False), (5, True, True)])
def test_few_groups_under_flat_priors_have_no_moments_and_say_so(schools_kept, mean, sd):
    # tau's density falls as tau^-(J - 1)
    some = {key: values[:schools_kept] for key, values in SCHOOLS.items()}
    fit = wb.fit("y ~ 1 + (1 | school)", some, "exact", se="se", priors=FLAT)
    e, part = fit.parameters.estimates, fit.group_effects[0]
    assert np.isfinite(e.estimate).all() == mean
    assert np.isfinite(e.std_error).all() == sd
    assert np.isfinite(e.median).all()
    assert np.isfinite(part.effect.std_error).all() == sd
    assert np.isfinite(part.coefficient.std_error).all()  # a group's own data keep it
    assert len(fit.warnings) == (not sd)
    assert np.isfinite(fit.fitted).all()
    tau = fit.posterior.parameter("sd(school, (Intercept))")
    far = np.array([1e5, 1e6])
    fall = np.diff(np.log(tau.density(far)))[0] / np.log(10)
    assert fall == pytest.approx(-(schools_kept - 1), abs=1e-3)


@pytest.mark.parametrize(
    ("formula", "priors", "kind", "said"),
    [
        ("y ~ 1 + (1 | g) + (1 | h)", {}, DesignError, r"2 grouping factors \(g, h\).*use hierarchical"),
        ("y ~ x + (x | g)", {}, DesignError, r"2 terms vary by g.*use hierarchical"),
        ("y ~ x + (1 | g) + (0 + x | g)", {}, DesignError, "2 terms vary by g"),
        ("y ~ x + (1 | g)", {"x": "StudentT(3, 0, 1)"}, PriorError, r"StudentT\(3, 0, 1\).*Use hierarchical"),
        ("y ~ x + (1 | g)", {"sd": "Gamma(0.01, 0.01)"}, PriorError, "Give its shape 0.1 or more"),
        (
            "y ~ x + (1 | pair)",
            {"sd": "Flat()", "b": "Flat()", "(Intercept)": "Flat()"},
            PriorError,
            "at least 3 levels",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(formula, priors, kind, said):
    data = table()
    data |= {"h": [k % 3 for k in range(len(data["y"]))], "pair": [k % 2 for k in range(len(data["y"]))]}
    with pytest.raises(kind, match=said):
        wb.fit(formula, data, "exact", priors=priors)


def test_two_schools_under_flat_priors_are_refused_and_with_a_prior_are_not():
    two = {key: values[:2] for key, values in SCHOOLS.items()}
    with pytest.raises(PriorError, match=r"The posterior is improper: under the prior Flat\(\), 2 levels of school"):
        wb.fit("y ~ 1 + (1 | school)", two, "exact", se="se", priors=FLAT)
    fit = wb.fit("y ~ 1 + (1 | school)", two, "exact", se="se", priors=FLAT | {"(Intercept)": "Normal(0, 5)"})
    assert fit.parameters.estimates.estimate[1] == inf  # now proper: the intercept's prior tells one more


def test_other_families_and_odd_options_are_refused():
    data = table() | {"k": [0, 1] * 12 + [1]}
    with pytest.raises(OptionError, match="exact fits gaussian, binomial, poisson responses, not gamma"):
        wb.fit("w ~ 1 + (1 | g)", data, "exact", family="gamma")
    with pytest.raises(OptionError, match="draws is -1"):
        wb.fit("y ~ 1 + (1 | g)", data, "exact", options={"draws": -1})
    with pytest.raises(OptionError, match="tolerance is 0"):
        wb.fit("y ~ 1 + (1 | g)", data, "exact", options={"tolerance": 0})
    fit = wb.fit("y ~ 1 + (1 | g)", data, "exact")
    with pytest.raises(OptionError, match="Did you mean 'level 1'"):
        fit.posterior.effect("levl 1")
    with pytest.raises(OptionError, match="Did you mean 'sigma'"):
        fit.posterior.parameter("sigm")


def test_a_response_constant_within_groups_has_no_residual_variance():
    data = {"y": [1.0, 1, 2, 2, 4, 4], "g": list("aabbcc")}
    with pytest.raises(DesignError, match="does not vary within the levels of g"):
        wb.fit("y ~ 1 + (1 | g)", data, "exact")
    with pytest.raises(DesignError, match="does not vary within the levels of g"):
        wb.fit("y ~ 1 + (1 | g)", data, "exact", priors={"sigma": "Uniform(0, 3)"})

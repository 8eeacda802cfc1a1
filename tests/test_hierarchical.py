"""`hierarchical`. Rungs: log density against a plain one, numerical integration, agreement within Monte Carlo error.

Draws are never compared exactly: tolerances are multiples of the Monte Carlo error sd / sqrt(ESS).
"""

import numpy as np
import pytest
from corpus import design_of
from scipy.stats import norm

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError, PriorError
from workbench.estimators import Settings, run_estimator
from workbench.lkj import lkj_log_density
from workbench.prior_defaults import resolve_priors
from workbench.sampling.explicit import build_model


@pytest.fixture(scope="module")
def twelve():
    return run_estimator("hierarchical", design_of("twelve_groups--ri"), Settings(seed=11), {"draws": 4000})


def integrate(design, priors):
    """Posterior of one varying intercept by quadrature over (log tau, log sigma), everything else analytic.

    y_j-bar and the sums of squares within are all that the data say; (mu, u) are normal given (tau, sigma). Returns
    means and
    SDs of mu, sigma, tau and of every group's coefficient.
    """
    codes, y = design.blocks[0].codes, design.y
    n = np.bincount(codes).astype(float)
    means = np.bincount(codes, y) / n
    within = np.sum((y - means[codes]) ** 2)
    m0, s0 = priors["(Intercept)"].values
    log_tau, log_sigma = np.linspace(-7, 3.5, 700), np.linspace(np.log(4.2), np.log(6.1), 120)
    tau, sigma = (a.ravel() for a in np.meshgrid(np.exp(log_tau), np.exp(log_sigma), indexing="ij"))
    prior = np.array([priors["sd(group, (Intercept))"].log_density(t) for t in np.exp(log_tau)])
    prior = prior[:, None] + np.array([priors["sigma"].log_density(s) for s in np.exp(log_sigma)])[None, :]
    v = tau[:, None] ** 2 + sigma[:, None] ** 2 / n  # Var(mean_j | mu)
    precision = 1 / s0**2 + (1 / v).sum(axis=1)
    mu = (m0 / s0**2 + (means / v).sum(axis=1)) / precision
    log_p = prior.ravel() + np.log(tau) + np.log(sigma)  # the grid is in logs
    log_p += -0.5 * np.log(v).sum(axis=1) - 0.5 * np.log(precision) - (n.sum() - len(n)) * np.log(sigma)
    log_p += -0.5 * within / sigma**2 - 0.5 * ((means**2 / v).sum(axis=1) + m0**2 / s0**2 - mu**2 * precision)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    keep = tau[:, None] ** 2 / v
    c_mean = keep * means + (1 - keep) * mu[:, None]
    c_var = keep * sigma[:, None] ** 2 / n + (1 - keep) ** 2 / precision[:, None]

    def moments(mean, variance=0.0):
        first = p @ mean
        return first, np.sqrt(p @ (variance + (mean - first) ** 2))

    return {
        "mu": moments(mu, 1 / precision),
        "sigma": moments(sigma),
        "tau": moments(tau),
        "c": moments(c_mean, c_var),
    }


def test_twelve_groups_agree_with_numerical_integration(twelve):
    truth = integrate(twelve.design, resolve_priors(twelve.design, {}))
    values = twelve.parameters.estimates
    for name, key in (("(Intercept)", "mu"), ("sigma", "sigma"), ("sd(group, (Intercept))", "tau")):
        i = twelve.parameters.names.index(name)
        mean, sd = truth[key]
        error = sd / np.sqrt(values.ess_bulk[i])
        assert abs(values.estimate[i] - mean) < 4 * error, name
        # the Monte Carlo error of an SD: sd sqrt((kurtosis - 1) / 4 ESS); tau's tail is long, its kurtosis below 12
        assert abs(values.std_error[i] - sd) < 4 * sd * np.sqrt(11 / 4 / min(values.ess_bulk[i], values.ess_tail[i])), (
            name
        )
    c = twelve.group_effects[0].coefficient
    mean, sd = truth["c"]
    assert (np.abs(c.estimate[:, 0] - mean) < 4 * sd / np.sqrt(c.ess_bulk[:, 0])).all()
    np.testing.assert_allclose(c.std_error[:, 0], sd, rtol=0.15)


def test_the_tree_has_named_dims_and_only_what_a_reader_knows(twelve):
    posterior = twelve.draws["posterior"]
    assert set(posterior.data_vars) == {"b", "sigma", "sd_group", "effect_group", "coefficient_group"}
    assert posterior["coefficient_group"].dims == ("chain", "draw", "group", "group_term")
    assert posterior["group"].values.tolist() == [str(k) for k in range(1, 13)]
    assert posterior["b"].coords["population_term"].values.tolist() == ["(Intercept)"]
    one = posterior["coefficient_group"].sel(group="12", group_term="(Intercept)")
    assert float(one.mean()) == pytest.approx(twelve.group_effects[0].coefficient.estimate[11, 0], rel=1e-12)
    assert twelve.draws["sample_stats"]["diverging"].sizes == {"chain": 4, "draw": 4000}
    assert twelve.draws["observed_data"]["y"].dims == ("row",)


def test_diagnostics_are_columns_and_reach_the_comparison(twelve):
    rows = twelve.coefficients
    assert (rows["r_hat"] < 1.01).all()
    assert (rows["ess_bulk"] > 400).all()
    both = wb.Comparison({"hierarchical": twelve})
    (row,) = both.timings.to_dict("records")
    assert row["r_hat"] == twelve.diagnostics["r_hat"]
    assert row["divergences"] == twelve.diagnostics["divergences"]
    document = twelve.to_dict()
    assert [p["name"] for p in document["parameters"]] == ["(Intercept)", "sigma", "sd(group, (Intercept))"]
    assert document["criterion"] is None


# --- the model against a plain log density ------------------------------------------------------------

SLOPES = {
    "b": "StudentT(4, 0, 30)",
    "sd(s, d)": "Exponential(0.1)",
    "sigma": "Gamma(2, 0.05)",
    "cor": "LKJ(3)",
}


@pytest.mark.parametrize("parametrisation", [pytest.param("centered", marks=pytest.mark.slow), "noncentered"])
def test_log_density_of_the_model_equals_a_plain_one(parametrisation):
    base = design_of("sleepstudy--slope")
    labels = np.array(base.blocks[0].levels)[base.blocks[0].codes]
    table = {
        "r": base.y,
        "d": base.X[:, 1],
        "s": labels,
        "w": np.linspace(0.5, 2, 180),
        "o": np.arange(180.0) / 60,
    }
    design = build_design("r ~ d + offset(o) + (d | s)", table, weights="w")
    priors = resolve_priors(design, SLOPES)
    model = build_model(design, priors, parametrisation)
    rng = np.random.default_rng(2)

    def both(b, sd, rho, sigma, z):
        L = np.array([[1, 0], [rho, np.sqrt(1 - rho**2)]])
        u = (sd[:, None] * (L @ z)).T
        mean = design.X @ b + design.offset + (design.blocks[0].Z * u[design.blocks[0].codes]).sum(axis=1)
        plain = norm.logpdf(design.y, mean, sigma / np.sqrt(design.weights)).sum()
        plain += sum(priors[t].log_density(v) for t, v in zip(("(Intercept)", "d"), b, strict=True))
        plain += priors["sd(s, (Intercept))"].log_density(sd[0]) + priors["sd(s, d)"].log_density(sd[1])
        plain += priors["sigma"].log_density(sigma)
        plain += lkj_log_density(np.array([[1, rho], [rho, 1]]), 3.0) + np.log(2)  # of (1 + rho)/2, which PyMC samples
        plain += norm.logpdf(z).sum()
        point = {
            "b[(Intercept)]": b[0], "b[d]": b[1], "sd_s[(Intercept)]": sd[0], "sd_s[d]": sd[1], "sigma": sigma,
            "partial_s": np.array([(1 + rho) / 2]),
        }  # fmt: skip
        if parametrisation == "noncentered":
            point["z_s"] = z
        else:
            point |= {"c_s[(Intercept)]": u[:, 0] + b[0], "c_s[d]": u[:, 1] + b[1]}
            plain -= 18 * (np.log(sd).sum() + 0.5 * np.log(1 - rho**2))  # density of b + u, not of z
        return plain, point

    value = model.compile_fn(model.logp(jacobian=False), inputs=model.value_vars, on_unused_input="ignore")
    for _ in range(4):
        plain, point = both(
            rng.normal([250, 10], [20, 4]),
            rng.uniform(1, 40, 2),
            rng.uniform(-0.9, 0.9),
            rng.uniform(10, 40),
            rng.normal(size=(2, 18)),
        )
        transformed = {}
        for rv, variable in model.rvs_to_values.items():
            if rv.name in point:
                transform = model.rvs_to_transforms[rv]
                raw = np.asarray(point[rv.name], dtype=float)
                transformed[variable.name] = (
                    raw if transform is None else transform.forward(raw, *rv.owner.inputs).eval()
                )
        assert value(transformed) == pytest.approx(plain, rel=1e-9)


def test_known_standard_errors_leave_no_sigma():
    table = {
        "y": [28.0, 8, -3, 7, -1, 1, 18, 12],
        "s": [15.0, 10, 16, 11, 9, 11, 10, 18],
        "school": list("ABCDEFGH"),
    }
    design = build_design("y ~ 1 + (1 | school)", table, se="s")
    priors = resolve_priors(design, {"(Intercept)": "Normal(0, 5)", "sd(school)": "HalfCauchy(5)"})
    assert list(priors) == ["(Intercept)", "sd(school, (Intercept))"]
    model = build_model(design, priors)
    assert {rv.name for rv in model.free_RVs} == {"b[(Intercept)]", "sd_school[(Intercept)]", "z_school"}


def test_columns_may_have_the_names_of_parameters_and_dims():
    rng = np.random.default_rng(0)
    for group in ("b", "sigma", "chain", "draw", "row", "y"):
        table = {"r": rng.normal(size=12), "sigma": rng.normal(size=12), group: np.repeat(list("uvw"), 4)}
        covariate = "" if group == "sigma" else "sigma"
        design = build_design(f"r ~ {covariate or 1} + (1 | {group})", table)
        priors = resolve_priors(design, {"b(sigma)": "Normal(0, 2)"} if covariate else {})
        build_model(design, priors).initial_point()
        if covariate:
            assert str(priors["b(sigma)"]) == "Normal(0, 2)"
            assert priors["sigma"].kind == "HalfStudentT"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "nutpy"}, "Did you mean 'nutpie'?"),
        ({"draws": 3}, "draws is 3, but must be a whole number of at least 10"),
        ({"target_accept": 1.5}, "must lie between 0.5 and 1"),
        ({"target_accept": "abc"}, "do not suit hierarchical"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(options, said):
    with pytest.raises(OptionError) as caught:
        run_estimator("hierarchical", design_of("twelve_groups--ri"), Settings(), options)
    assert said in str(caught.value)


def test_a_prior_on_nothing_is_refused():
    with pytest.raises(PriorError, match=r"stands on no parameter .* Did you mean 'sd\(group, \(Intercept\)\)'"):
        run_estimator(
            "hierarchical",
            design_of("twelve_groups--ri"),
            Settings(priors={"sd(group, Intercept)": "HalfNormal(1)"}),
        )


# --- slower -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_correlated_slopes_converge_and_lie_near_reml():
    design = design_of("sleepstudy--slope")
    fit = run_estimator("hierarchical", design, Settings(seed=3))
    reml = run_estimator("reml", design, Settings())
    assert fit.converged
    assert fit.diagnostics["divergences"] == 0
    gap = fit.group_effects[0].coefficient.estimate - reml.group_effects[0].coefficient.estimate
    # averaging over the covariance moves estimates by a fraction of their conditional SD, not more
    assert (np.abs(gap) < 0.25 * reml.group_effects[0].effect.std_error).all()
    names = fit.parameters.names
    assert names[-1] == "cor(Subject, (Intercept), Days)"
    assert fit.parameters.estimates.conf_low[-1] < 0.0656 < fit.parameters.estimates.conf_high[-1]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"sampler": "pymc"}, {"parametrisation": "centered", "target_accept": 0.99}])
def test_other_samplers_and_parametrisations_give_the_same_posterior(options):
    design = design_of("Dyestuff--ri")
    one = run_estimator("hierarchical", design, Settings(seed=5), {"draws": 4000})
    other = run_estimator("hierarchical", design, Settings(seed=6), {"draws": 4000} | options)
    a, b = one.parameters.estimates, other.parameters.estimates
    error = np.sqrt(a.std_error**2 / a.ess_bulk + b.std_error**2 / b.ess_bulk)
    assert (np.abs(a.estimate - b.estimate) < 4 * error).all()


@pytest.mark.slow
def test_crossed_factors_and_independent_terms_sample():
    rng = np.random.default_rng(0)
    a, c = rng.integers(0, 8, 200), rng.integers(0, 6, 200)
    x = rng.normal(size=200)
    y = 1 + rng.normal(size=8)[a] + rng.normal(size=6)[c] + rng.normal(size=8)[a] * x + rng.normal(size=200)
    design = build_design("y ~ x + (x || a) + (1 | c)", {"y": y, "x": x, "a": a, "c": c})
    fit = run_estimator("hierarchical", design, Settings(seed=1), {"target_accept": 0.99})
    assert [part.group for part in fit.group_effects] == ["a", "a", "c"]
    assert fit.diagnostics["r_hat"] < 1.02
    assert set(fit.draws["posterior"].data_vars) >= {"effect_a", "effect_a_2", "effect_c"}
    assert np.corrcoef(fit.fitted, design.y)[0, 1] > 0.8


def test_a_model_without_population_coefficients_is_sampled():
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    table = {"y": rng.normal(size=8)[g] * x + rng.normal(size=48), "x": x, "g": g}
    design = build_design("y ~ 0 + (0 + x | g)", table)
    fit = run_estimator("hierarchical", design, Settings(seed=3), {"draws": 200, "tune": 200})
    assert fit.parameters.names == ("sigma", "sd(g, x)")
    assert fit.fixed_cov.shape == (0, 0)
    own = [float(x[g == j] @ table["y"][g == j] / (x[g == j] @ x[g == j])) for j in range(8)]
    assert np.corrcoef(fit.group_effects[0].coefficient.estimate[:, 0], own)[0, 1] > 0.95

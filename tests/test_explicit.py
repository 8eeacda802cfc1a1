"""The explicit model. Rungs: log density point by point against a plain one, R's glmer, recovery, agreement of runs.

Draws are never compared exactly: tolerances are multiples of the Monte Carlo error sd / sqrt(ESS), or shares of the
posterior SD where a maximum is compared with a mean.
"""

import json

import numpy as np
import pytest
from corpus import DATA, design_of
from scipy.stats import multivariate_normal, norm

from workbench.design import build_design
from workbench.errors import ComparisonError, OptionError, PriorError
from workbench.estimators import Settings, run_estimator
from workbench.gap import explain_gap
from workbench.lkj import lkj_log_density
from workbench.prior_defaults import resolve_priors
from workbench.sampling import explicit_runs
from workbench.sampling.centring import choose, reliabilities
from workbench.sampling.diagnostics import convergence
from workbench.sampling.explicit import build_model, group_means
from workbench.sampling.explicit_runs import sample_explicit
from workbench.sampling.names import block_names
from workbench.sampling.nuts import Plan
from workbench.sampling.responses import log_density

RNG = np.random.default_rng(8)
N = 60
TABLE = {
    "x": RNG.normal(size=N), "g": np.repeat(list("abcdef"), 10), "h": np.tile(list("uvwxy"), 12),
    "y": RNG.normal(size=N), "w": RNG.uniform(0.5, 3, N), "se": RNG.uniform(0.5, 2, N),
    "hits": RNG.integers(0, 4, N), "misses": RNG.integers(1, 5, N), "off": RNG.normal(size=N) / 3,
    "zero_one": RNG.integers(0, 2, N), "count": RNG.poisson(3, N), "trials": RNG.integers(1, 9, N),
}  # fmt: skip
TABLE["share"] = RNG.binomial(TABLE["trials"], 0.4) / TABLE["trials"]
TABLE["cask"] = np.array([f"{a}{k % 3}" for k, a in enumerate(TABLE["g"])])

MODELS = {
    "gaussian, weights": ("y ~ x + offset(off) + (x | g) + (1 | h)", "gaussian", None, {"weights": "w"}, {}),
    "t, weights": (
        "y ~ x + (x || g)", "gaussian", None, {"weights": "w"},
        {"x": "StudentT(3, 0, 2)", "nu": "Exponential(0.1)", "sd(g)": "HalfCauchy(1)", "sigma": "Uniform(0, 9)"},
    ),
    "t, known errors": ("y ~ 1 + (1 | g/cask)", "gaussian", None, {"se": "se"}, {"nu": "HalfNormal(9)"}),
    "logit, counts": (
        "cbind(hits, misses) ~ x + (x | g) + (1 | h)", "binomial", "logit", {"weights": "w"},
        {"b": "Cauchy(0, 2)", "sd(g, x)": "Exponential(2)", "cor(g)": "LKJ(1)", "sd(h)": "Flat()"},
    ),
    "probit, 0 and 1": (
        "zero_one ~ x + (1 | g/cask)", "binomial", "probit", {}, {"(Intercept)": "Flat()", "sd": "Gamma(2, 1)"},
    ),
    "cloglog, shares": (
        "share ~ x + (0 + x | g) + (1 | h)", "binomial", "cloglog", {"weights": "trials"},
        {"x": "Uniform(-2, 3)", "sd(h)": "Uniform(0, 4)", "sd(g)": "HalfNormal(2)"},
    ),
    "log, counts": (
        "count ~ x + offset(off) + (x | g) + (1 | g:h)", "poisson", None, {}, {"sd(g, x)": "HalfStudentT(4, 2)"},
    ),
    "log, weights": ("count ~ 0 + x + (1 | g)", "poisson", None, {"weights": "w"}, {}),
}  # fmt: skip


def designed(name):
    formula, family, link, more, given = MODELS[name]
    design = build_design(formula, TABLE, family, link, **more)
    return design, resolve_priors(design, given, robust=name.startswith("t,"))


def a_point(design, priors, rng):
    """Parameters somewhere inside their supports."""
    q = [len(block.terms) for block in design.blocks]
    return {
        "b": rng.uniform(-1.5, 1.5, len(design.fixed_terms)),
        "sd": [rng.uniform(0.2, 3, k) for k in q],
        "rho": [rng.uniform(-0.9, 0.9) for _ in q],
        "z": [rng.normal(size=(len(block.levels), k)) for block, k in zip(design.blocks, q, strict=True)],
        "sigma": rng.uniform(0.5, 4),
        "nu": rng.uniform(0.5, 20),
    }


def plainly(design, priors, kinds, at):
    """The log density by its definition, and the point under PyMC's names."""
    values = dict(zip(design.fixed_terms, at["b"], strict=True))
    total = sum(priors[name].log_density(v) for name, v in values.items())
    point = {f"b[{name}]": v for name, v in values.items()}
    predictor = design.X @ at["b"] + design.offset
    means, effects = group_means(design, kinds), []
    for k, block in enumerate(design.blocks):
        S = (
            np.diag(at["sd"][k])
            @ np.array([[1, at["rho"][k]], [at["rho"][k], 1]])[: len(block.terms), : len(block.terms)]
        )
        root = np.linalg.cholesky(S @ np.diag(at["sd"][k]))
        effects.append(at["z"][k] @ root.T)
        predictor = predictor + (block.Z * effects[k][block.codes]).sum(axis=1)

    def value_of(k, term):  # effect and, if centred, its mean, over the levels
        block, mean = design.blocks[k], means[k][term]
        value = effects[k][:, term] + (0.0 if mean.column is None else at["b"][mean.column])
        for other, column in mean.parents:
            first = np.array([np.flatnonzero(block.codes == j)[0] for j in range(len(block.levels))])
            value = value + value_of(other, column)[design.blocks[other].codes[first]]
        return value

    for k, (name, block) in enumerate(zip(block_names(design), design.blocks, strict=True)):
        q = len(block.terms)
        for term, sd in zip(block.terms, at["sd"][k], strict=True):
            total += priors[f"sd({block.group}, {term})"].log_density(sd, positive=True)
            point[f"sd_{name}[{term}]"] = sd
        R = np.eye(q) if q == 1 else np.array([[1, at["rho"][k]], [at["rho"][k], 1]])
        if q == 2:  # of (1 + rho) / 2, which PyMC samples
            total += lkj_log_density(R, priors[f"cor({block.group})"].values[0]) + np.log(2)
            point[f"partial_{name}"] = np.array([(1 + at["rho"][k]) / 2])
        if kinds[k] == "centered":
            S = np.diag(at["sd"][k]) @ R @ np.diag(at["sd"][k])
            total += multivariate_normal.logpdf(effects[k], np.zeros(q), S).sum()
            point |= {f"c_{name}[{term}]": value_of(k, i) for i, term in enumerate(block.terms)}
        else:
            total += norm.logpdf(at["z"][k]).sum()
            point[f"z_{name}"] = at["z"][k].T
    sigma = at["sigma"] if "sigma" in priors else None
    nu = at["nu"] if "nu" in priors else None
    for name, v in (("sigma", sigma), ("nu", nu)):
        if v is not None:
            total += priors[name].log_density(v, positive=True)
            point[name] = v
    return total + log_density(design, predictor, sigma, nu).sum(), point


def compiled(model):
    """The model's log density as a function of its parameters themselves."""
    from pymc.model.transform.conditioning import remove_value_transforms

    free = remove_value_transforms(model)
    return free.compile_fn(free.logp(), inputs=free.value_vars, on_unused_input="ignore", mode="FAST_COMPILE")


@pytest.mark.parametrize("centred", ["none", "all", "first"])
@pytest.mark.parametrize("name", MODELS)
def test_log_density_equals_a_plain_one(name, centred):
    design, priors = designed(name)
    K = len(design.blocks)
    kinds = ["centered" if centred == "all" or (centred == "first" and k == 0) else "noncentered" for k in range(K)]
    density, rng = compiled(build_model(design, priors, kinds)), np.random.default_rng(3)
    for _ in range(3):
        plain, point = plainly(design, priors, kinds, a_point(design, priors, rng))
        assert np.isfinite(plain)
        # PyMC holds constants such as log(2 pi) in single precision: 1e-7 of each of so many
        assert float(density(point)) == pytest.approx(plain, rel=1e-8, abs=2e-7 * design.n)


def test_supports_are_the_priors_own():
    design, priors = designed("cloglog, shares")
    kinds = ["noncentered"] * 2
    density, rng = compiled(build_model(design, priors, kinds)), np.random.default_rng(3)
    _, inside = plainly(design, priors, kinds, a_point(design, priors, rng))
    for name, outside in (
        ("b[x]", -2.001),
        ("b[x]", 3.001),
        ("sd_h[(Intercept)]", -0.001),
        ("sd_h[(Intercept)]", 4.001),
    ):
        assert np.isfinite(density(inside))
        assert float(density(inside | {name: outside})) == -np.inf, name
    assert float(density(inside | {"sd_g[x]": -1.0})) == -np.inf  # half-normal


@pytest.mark.parametrize("name", ["logit, counts", "probit, 0 and 1", "cloglog, shares", "log, counts"])
def test_densities_and_slopes_stay_finite_far_out(name):
    design, priors = designed(name)
    model = build_model(design, priors, "noncentered")
    point = model.initial_point()
    slope = model.compile_dlogp(mode="FAST_COMPILE")
    for far in (-25.0, 25.0):
        at = point | {"b[(Intercept)]": np.array(far)}
        assert np.isfinite(slope(at)).all()


def test_a_nested_block_is_centred_on_what_it_nests_in_and_a_coefficient_on_one_block():
    pastes = design_of("Pastes--nested")  # cask:batch first
    (cask,), (batch,) = group_means(pastes, ["centered", "noncentered"])
    assert (cask.column, cask.parents, batch.column) == (0, ((1, 0),), None)
    (cask,), (batch,) = group_means(pastes, ["centered", "centered"])
    assert (cask.column, cask.parents, batch.column) == (None, ((1, 0),), 0)
    penicillin = design_of("Penicillin--crossed")  # 24 plates, 6 samples
    (plate,), (sample,) = group_means(penicillin, ["centered", "centered"])
    assert (plate.column, plate.parents, sample.column, sample.parents) == (None, (), 0, ())


# --- which blocks are centred -------------------------------------------------------------------------


def test_reliability_is_that_of_group_means():
    # balanced, one varying intercept: tau^2 / (tau^2 + sigma^2 / n) at the REML estimates
    (found,) = reliabilities(design_of("Dyestuff--ri"))
    assert found == pytest.approx(1764.05 / (1764.05 + 2451.25 / 5), rel=1e-4)
    # a batch's casks are integrated out: tau_b^2 / (tau_b^2 + tau_c^2 / 3 + sigma^2 / 6), b known
    cask, batch = reliabilities(design_of("Pastes--nested"))
    tau_b, tau_c, sigma2 = 1.6573, 8.4336, 0.6780  # lmer(strength ~ 1 + (1 | batch/cask), Pastes)
    assert batch == pytest.approx(tau_b / (tau_b + tau_c / 3 + sigma2 / 6), rel=1e-3)
    assert cask > 0.8


def test_counts_that_say_nothing_or_everything_are_told_apart():
    rng, g = np.random.default_rng(1), np.repeat(np.arange(20), 2)
    u = rng.normal(0, 1.5, 20)[g]
    few, many = (rng.binomial(n, 1 / (1 + np.exp(-u))) for n in (1, 200))
    table = {"few": few, "many": many, "rest": 200 - many, "g": g}
    one = build_design("few ~ 1 + (1 | g)", table, "binomial")
    other = build_design("cbind(many, rest) ~ 1 + (1 | g)", table, "binomial")
    assert choose(one)[0] == ("noncentered",)
    assert choose(other)[0] == ("centered",)


def test_what_is_stated_goes_before_what_is_found():
    penicillin = design_of("Penicillin--crossed")
    kinds, why = choose(penicillin, {"plate": "noncentered"})
    assert kinds == ("noncentered", "centered")
    assert why == (
        "Parametrisation by how much the data say: plate noncentered (stated) and sample centered (reliability 0.99)."
    )
    assert choose(penicillin, "noncentered")[0] == ("noncentered", "noncentered")
    with pytest.raises(OptionError, match=r"names 'plates', which is no random block .* Did you mean 'plate'\?"):
        choose(penicillin, {"plates": "centered"})
    with pytest.raises(OptionError, match="Did you mean 'centered'"):
        run_estimator("hierarchical", penicillin, Settings(), {"parametrisation": "centred"})


def test_runs_that_diverge_are_repeated_twice_at_most_and_the_best_is_kept(monkeypatch):
    design, asked = design_of("Dyestuff--ri"), []
    counts = iter([7, 5, 3, 9, 4])

    def fake(model, design, plan, starts):
        asked.append((plan.target_accept, any(rv.name.startswith("c_") for rv in model.free_RVs)))
        return type("Drawn", (), {"chains": plan.chains, "stats": {"diverging": np.ones(next(counts))}})()

    monkeypatch.setattr(explicit_runs, "sample_model", fake)
    plan = Plan(10, 10, 2, 0.9, "nutpie", 1, False)
    run = sample_explicit(design, resolve_priors(design, {}), "auto", plan)
    assert asked == [(0.9, False), (0.99, False), (0.99, True)]
    assert run.parametrisation == {"Batch": "centered"}
    assert len(run.draws.stats["diverging"]) == 3
    assert "A first run at target_accept 0.9 had 7 divergences" in run.remarks[0]
    assert "with the other parametrisation (Batch centered) there were 3, and this run is shown" in run.remarks[1]
    asked.clear()  # what the user states stays
    run = sample_explicit(design, resolve_priors(design, {}), "noncentered", plan)
    assert asked == [(0.9, False), (0.99, False)]
    assert len(run.draws.stats["diverging"]) == 4


# --- refusals -----------------------------------------------------------------------------------------


def test_robust_is_for_gaussian_responses_and_its_prior_needs_it():
    counts = build_design("count ~ 1 + (1 | g)", TABLE, "poisson")
    with pytest.raises(OptionError, match="robust gives a gaussian response Student-t residuals; count is poisson"):
        run_estimator("hierarchical", counts, Settings(), {"robust": True})
    measured = build_design("y ~ 1 + (1 | g)", TABLE)
    with pytest.raises(PriorError, match="'nu' stands on no parameter of this model"):
        run_estimator("hierarchical", measured, Settings(priors={"nu": "Gamma(2, 0.1)"}))
    with pytest.raises(PriorError, match="nu without end, fit too"):
        run_estimator("hierarchical", measured, Settings(priors={"nu": "Flat()"}), {"robust": True})
    with pytest.raises(PriorError, match="'sigma' stands on no parameter"):
        run_estimator("hierarchical", counts, Settings(priors={"sigma": "HalfNormal(1)"}))


def test_a_sampler_that_is_not_installed_is_refused_with_the_way_to_it(monkeypatch):
    from workbench.estimators import hierarchical

    monkeypatch.setattr(hierarchical, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'shrinkage-workbench\[numpyro\]'"):
        hierarchical.Options(sampler="numpyro")


# --- slower: sampled ----------------------------------------------------------------------------------


def glmer(name, dataset, family):
    document = json.loads((DATA / "glmer" / f"{name}.json").read_text())
    return build_design(document["formula"], DATA / "datasets" / f"{dataset}.csv", family), document["Laplace"]


def near_glmer(fit, figures, share):
    """Posterior means against Laplace's maximum, in posterior SDs."""
    names, e = fit.parameters.names, fit.parameters.estimates
    for term, value in figures["fixef"].items():
        k = names.index(term)
        assert abs(e.estimate[k] - value) < share * e.std_error[k], term
    for group, part in figures["VarCorr"].items():
        k = names.index(f"sd({group}, (Intercept))")
        assert e.conf_low[k] < part["sd"]["(Intercept)"] < e.conf_high[k], group
    for part in fit.group_effects:
        modes = np.array(figures["ranef"][part.group]["values"])
        order = [figures["ranef"][part.group]["levels"].index(level) for level in part.levels]
        gap = (part.effect.estimate - modes[order]) / part.effect.std_error
        assert np.sqrt(np.mean(gap**2)) < share, part.group


@pytest.mark.slow
def test_cbpp_lies_near_glmer_whichever_way_it_is_parametrised():
    design, figures = glmer("cbpp--period", "cbpp", "binomial")
    fits = [
        run_estimator("hierarchical", design, Settings(seed=3), {"draws": 4000, "parametrisation": kind})
        for kind in ("auto", "centered")
    ]
    for fit, kind in zip(fits, ("noncentered", "centered"), strict=True):
        assert fit.converged
        assert fit.diagnostics["r_hat"] < 1.01
        assert fit.diagnostics["divergences"] == 0
        assert fit.diagnostics["parametrisation"] == {"herd": kind}
        near_glmer(fit, figures, 0.25)  # a mean lies off the mode by a fraction of the SD: spreads are skewed
    a, b = (fit.parameters.estimates for fit in fits)
    error = np.sqrt(a.std_error**2 / a.ess_bulk + b.std_error**2 / b.ess_bulk)
    assert (np.abs(a.estimate - b.estimate) < 4 * error).all()
    one = fits[0]
    assert "sigma" not in one.parameters.names
    # the posterior mean of shares, not the share at posterior means
    posterior = one.draws["posterior"]
    eta = np.einsum("cdp,np->cdn", posterior["b"].values, design.X)
    eta += posterior["effect_herd"].values[:, :, :, 0][:, :, design.blocks[0].codes]
    np.testing.assert_allclose(one.fitted, (1 / (1 + np.exp(-eta))).mean(axis=(0, 1)), rtol=1e-10)
    with pytest.raises(ComparisonError, match="not binomial"):
        explain_gap(one, run_estimator("fixed_prior", design, Settings(), {"mean": 0.0, "sd": 1.0}))


@pytest.mark.slow
def test_grouseticks_lies_near_glmer():
    design, figures = glmer("grouseticks--sHEIGHT", "grouseticks", "poisson")
    fit = run_estimator("hierarchical", design, Settings(seed=3), {"draws": 6000, "tune": 2000})
    assert fit.diagnostics["divergences"] == 0
    assert fit.diagnostics["r_hat"] < 1.01
    assert fit.converged
    near_glmer(fit, figures, 0.35)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sleepstudy--slope", "Penicillin--crossed", "Pastes--nested"])
def test_gaussian_models_converge_and_lie_near_reml(case):
    design = design_of(case)
    run = sample_explicit(design, resolve_priors(design, {}), "auto", Plan(3000, 1000, 4, 0.95, "nutpie", 3, False))
    assert not run.remarks
    reml = run_estimator("reml", design, Settings())
    parts = [run.draws.b, run.draws.sigma[:, :, None], *run.draws.sd, *run.draws.coefficients(design)]
    for part in parts:
        r_hat, bulk, _ = convergence(part)
        assert np.nanmax(r_hat) < 1.01
        assert np.nanmin(bulk) > 400
    for part, exact in zip(run.draws.coefficients(design), reml.group_effects, strict=True):
        gap = part.mean(axis=(0, 1)) - exact.coefficient.estimate
        assert (np.abs(gap) < 0.35 * part.std(axis=(0, 1))).all()


@pytest.mark.slow
def test_student_t_finds_heavy_tails_and_is_not_moved_by_them():
    rng, g = np.random.default_rng(5), np.repeat(np.arange(12), 12)
    u = rng.normal(0, 1, 12)
    y = 10 + u[g] + rng.normal(0, 0.5, 144)
    far = rng.choice(144, 12, replace=False)
    y[far] += rng.choice([-1, 1], 12) * rng.uniform(6, 12, 12)
    design = build_design("y ~ 1 + (1 | g)", {"y": y, "g": g})
    robust = run_estimator("hierarchical", design, Settings(seed=2), {"robust": True})
    normal = run_estimator("hierarchical", design, Settings(seed=2))
    assert robust.converged
    nu = robust.parameters.names.index("nu")
    assert robust.parameters.estimates.conf_high[nu] < 5
    assert 0.3 < robust.sigma < 0.7
    assert "nu" in robust.draws["posterior"]
    order = [int(level) for level in robust.group_effects[0].levels]
    missed = [
        np.sqrt(np.mean((f.group_effects[0].coefficient.estimate[:, 0] - 10 - u[order]) ** 2)) for f in (robust, normal)
    ]
    assert missed[0] < 0.5 * missed[1]
    with pytest.raises(ComparisonError, match="Student-t"):
        explain_gap(robust, run_estimator("reml", design, Settings()))


@pytest.mark.slow
def test_counts_go_from_the_default_comparison_to_its_report(tmp_path):
    import workbench as wb

    table = DATA / "datasets" / "cbpp.csv"
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    options = {"hierarchical": {"draws": 400, "tune": 400}}
    comparison = wb.compare(formula, table, family="binomial", options=options, priors={"b": "Normal(0, 3)"})
    names = ["complete_pooling", "no_pooling", "laplace", "fixed_prior", "hierarchical"]
    assert list(comparison.fits) == names
    comparison.report(tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Parametrisation by how much the data say: herd noncentered (reliability 0.68)" in page
    assert "&#34;b&#34;: &#34;Normal(0, 3)&#34;" in page  # what was stated is in the code as it was, defaults are not
    assert "HalfStudentT(3, 1)" in page
    assert "&#34;sd(herd, (Intercept))&#34;" not in page
    robust = wb.compare("y ~ 1 + (1 | g)", TABLE, ["reml", "hierarchical"], options={"hierarchical": {"robust": True}})
    robust.report(tmp_path / "robust")  # no gap is explained
    assert "residual SD is their scale" in (tmp_path / "robust" / "index.html").read_text()


@pytest.mark.slow
def test_a_column_far_from_zero_that_does_not_vary_within_groups_mixes():
    # the same model in metres and in SDs about the mean; the default priors of both nearly agree
    raw, scaled = (
        run_estimator(
            "hierarchical",
            build_design(f"TICKS ~ {x} + (1 | BROOD)", "models/grouseticks/data.csv", family="poisson"),
            Settings(seed=1),
            {"draws": 1000},
        )
        for x in ("HEIGHT", "scale(HEIGHT)")
    )
    height = raw.design.X[:, 1]
    (a, b) = (fit.parameters.estimates for fit in (raw, scaled))
    for estimates in (a, b):  # with a diagonal mass matrix 5 and 56
        assert (estimates.ess_bulk > 1000).all()
    slope, sd = b.estimate[1] / height.std(ddof=1), b.std_error[1] / height.std(ddof=1)
    assert abs(a.estimate[1] - slope) < 4 * sd * (1 / a.ess_bulk[1] + 1 / b.ess_bulk[1]) ** 0.5 + 0.02 * sd

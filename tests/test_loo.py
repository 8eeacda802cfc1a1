"""Leave-one-out. Rungs: dense normal densities, numerical integration, exact refits without the group, refusals.

Importance sampling is held to multiples of its own Monte Carlo error, from independent draws.
"""

from dataclasses import replace

import numpy as np
import pytest
from corpus import design_of
from scipy.integrate import simpson
from scipy.stats import multivariate_normal, norm
from test_draws_tree import made_up, slopes

import workbench as wb
from workbench.design import build_design
from workbench.errors import ComparisonError, DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.prior_defaults import resolve_priors
from workbench.sampling import loo as loo_room
from workbench.sampling.marginal import group_log_likelihood
from workbench.sampling.responses import log_density
from workbench.sampling.tree import Sampled

SCHOOLS = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "school": list("ABCDEFGH")}
OF_SCHOOLS = {"(Intercept)": "Normal(0, 20)", "sd(school)": "HalfNormal(10)"}
OF_TWELVE = {"(Intercept)": "Normal(0, 10)", "sd": "HalfNormal(2)", "sigma": "HalfNormal(10)"}


def without(table, keep):
    return {name: [v for v, k in zip(column, keep, strict=True) if k] for name, column in table.items()}


def schools(keep=None, draws=0):
    table = SCHOOLS if keep is None else without(SCHOOLS, keep)
    return wb.fit("y ~ 1 + (1 | school)", table, "exact", se="se", priors=OF_SCHOOLS, seed=5, options={"draws": draws})


# --- the likelihood of a group ------------------------------------------------------------------------

TABLE = {
    "y": np.random.default_rng(0).normal(size=40) * 3,
    "x": np.random.default_rng(1).normal(size=40),
    "g": np.arange(40) % 5,
    "w": np.random.default_rng(2).uniform(0.5, 2, 40),
    "o": np.random.default_rng(3).normal(size=40),
}


@pytest.mark.parametrize("given", ["weights", "se"])
@pytest.mark.parametrize("random", ["(1 | g)", "(0 + x | g)", "(x | g)", "(x || g)"])
def test_the_likelihood_of_a_group_is_a_dense_normal_density(random, given):
    design = build_design(f"y ~ x + offset(o) + {random}", TABLE, **{given: "w"})
    drawn = made_up(design)
    found = group_log_likelihood(design, drawn)
    assert found.shape == (2, 30, 5)
    Z = np.hstack([block.Z for block in design.blocks])
    for c, d in ((0, 0), (1, 13), (1, 29)):
        Sigma = np.zeros((Z.shape[1], Z.shape[1]))
        start = 0
        for sd, correlation in zip(drawn.sd, drawn.correlation, strict=True):
            here = slice(start, start := start + sd.shape[-1])
            Sigma[here, here] = np.outer(sd[c, d], sd[c, d]) * correlation[c, d]
        scale = 1.0 if drawn.sigma is None else drawn.sigma[c, d]
        for j in range(5):
            at = design.blocks[0].codes == j
            V = Z[at] @ Sigma @ Z[at].T + scale**2 * np.diag(1 / design.weights[at])
            expected = multivariate_normal((design.X @ drawn.b[c, d] + design.offset)[at], V).logpdf(design.y[at])
            assert found[c, d, j] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("family", ["binomial", "poisson", "student"])
def test_the_likelihood_of_a_group_of_another_response_is_its_integral(family):
    rng = np.random.default_rng(4)
    m = rng.integers(1, 9, 40)
    table = {"k": rng.binomial(m, 0.3), "m": m, "x": rng.normal(size=40), "g": np.arange(40) % 5}
    response, name = ("cbind(k, m - k)", "binomial") if family == "binomial" else ("k", family)
    design = build_design(f"{response} ~ x + (1 | g)", table, "gaussian" if family == "student" else name)
    drawn = made_up(design, nu=family == "student")
    drawn = replace(drawn, sd=(np.geomspace(1e-3, 5, 60).reshape(2, 30, 1),))
    found = group_log_likelihood(design, drawn)
    for c, d in ((0, 0), (0, 20), (1, 10), (1, 29)):
        tau, eta = drawn.sd[0][c, d, 0], design.X @ drawn.b[c, d]
        sigma, nu = (None, None) if drawn.sigma is None else (drawn.sigma[c, d], drawn.others["nu"][c, d])
        u = np.linspace(-9, 9, 4_001) * tau
        rows = log_density(design, eta + u[:, None], sigma, nu)
        for j in range(5):
            log_p = rows[:, design.blocks[0].codes == j].sum(axis=1) + norm(0, tau).logpdf(u)
            expected = np.log(simpson(np.exp(log_p - log_p.max()), x=u)) + log_p.max()
            assert found[c, d, j] == pytest.approx(expected, abs=1e-9)


# --- against fits without the group -------------------------------------------------------------------


def error_of(log_p):
    """Monte Carlo error of -log mean(1 / p), from independent draws."""
    w = np.exp(-(log_p - log_p.min(axis=(0, 1))))
    return w.std(axis=(0, 1)) / w.mean(axis=(0, 1)) / np.sqrt(w[..., 0].size)


def test_schools_left_out_are_foreseen_as_exact_refits_foresee_them():
    # log p(y_j | y without j) is a difference of log evidences, which the quadrature knows to ten digits
    fit = schools(draws=5_000)
    found = fit.loo(by="school")
    refits = [schools([name != left for name in "ABCDEFGH"]) for left in "ABCDEFGH"]
    exact = np.array([fit.diagnostics["log_evidence"] - refit.diagnostics["log_evidence"] for refit in refits])
    error = error_of(group_log_likelihood(fit.design, fit.sampled.drawn))
    assert (found.pareto_k < found.good_k).all()
    assert (np.abs(found.elpd_unit - exact) < 5 * error).all()
    assert error.max() < 0.01
    assert found.elpd == pytest.approx(found.elpd_unit.sum(), rel=1e-12)
    assert found.se == pytest.approx(np.sqrt(8 * found.elpd_unit.var(ddof=1)), rel=1e-12)
    # p: the log density of the data under the whole posterior less elpd
    lppd = np.log(np.exp(group_log_likelihood(fit.design, fit.sampled.drawn)).mean(axis=(0, 1))).sum()
    assert found.p == pytest.approx(lppd - found.elpd, rel=1e-9)
    assert found.warnings == ()
    assert found.table["unit"].tolist() == list("ABCDEFGH")


def test_groups_left_out_with_their_rows_are_foreseen_as_exact_refits_foresee_them():
    design = design_of("twelve_groups--ri")
    settings = Settings(priors=OF_TWELVE, seed=3)
    fit = run_estimator("exact", design, settings, {"draws": 2_000})
    found = fit.loo(by="group")
    labels = np.array(design.blocks[0].levels)[design.blocks[0].codes]
    error = error_of(group_log_likelihood(design, fit.sampled.drawn))
    assert (found.pareto_k < found.good_k).all()
    for j in (0, 5, 11):
        keep = design.blocks[0].codes != j
        rest = build_design("y ~ 1 + (1 | group)", {"y": design.y[keep], "group": labels[keep]})
        refit = run_estimator("exact", rest, settings)
        exact = fit.diagnostics["log_evidence"] - refit.diagnostics["log_evidence"]
        assert abs(found.elpd_unit[j] - exact) < 5 * error[j]
        assert error[j] < 0.02


def test_by_observation_it_is_arvizs_on_the_tree():
    import arviz as az

    design = design_of("Dyestuff--ri")
    fit = run_estimator("exact", design, Settings(seed=2), {"draws": 1_000})
    found, theirs = fit.loo(), az.loo(fit.draws, pointwise=True, reff=1.0)
    assert found.elpd == pytest.approx(theirs.elpd, abs=0.01)  # their relative efficiency looks at the effects too
    np.testing.assert_allclose(found.elpd_unit, theirs.elpd_i.values, atol=0.002)
    assert wb.loo(fit.sampled).elpd == found.elpd


def test_a_group_that_decides_everything_is_named_with_what_to_do():
    y = np.concatenate([np.random.default_rng(0).normal(size=20), [60.0, 61.0]])
    table = {"y": y, "g": np.repeat(np.arange(11), 2)}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 500}, seed=1)
    found = fit.loo(by="g")
    (said,) = found.warnings
    assert "(g 10)" in said
    assert "for 1 of 11" in said
    assert "Fit again without each of them" in said
    assert said in repr(found)
    assert not found.table.set_index("unit").loc["10", "trusted"]


# --- many rows ----------------------------------------------------------------------------------------


def test_of_many_groups_some_draws_are_used_and_it_says_so(monkeypatch):
    design = slopes()
    one = build_design("y ~ x + (x | g)", TABLE)
    sampled = Sampled(one, made_up(one, 4, 500), resolve_priors(one, {}))
    monkeypatch.setattr(loo_room, "LIMIT", 5 * 700)
    found = wb.loo(sampled, by="g")
    assert found.draws == 4 * 167
    assert "668 of 2,000 draws were used" in found.warnings[-1]
    whole = group_log_likelihood(one, sampled.drawn)[:, ::3]
    used = found.arviz.n_samples
    assert used == whole[..., 0].size
    monkeypatch.setattr(loo_room, "LIMIT", 5 * 100)
    with pytest.raises(DesignError, match="5 groups of 40 rows the densities at 200 draws"):
        wb.loo(sampled, by="g")
    with pytest.raises(DesignError, match=r"2 grouping factors \(g, h\).* depend on each other"):
        wb.loo(Sampled(design, made_up(design), {}), by="g")


# --- comparing ----------------------------------------------------------------------------------------


def test_variants_are_compared_by_what_they_foresee():
    wide = schools(draws=1_000)
    table = {**SCHOOLS, "y": list(SCHOOLS["y"])}
    narrow = wb.fit(
        "y ~ 1 + (1 | school)", table, "exact", se="se", priors=OF_SCHOOLS | {"(Intercept)": "Normal(-40, 1)"},
        options={"draws": 1_000},
    )  # fmt: skip
    found = wb.loo_compare({"far": narrow, "near": wide}, by="school")
    assert found["name"].tolist() == ["near", "far"]
    near, far = (fit.loo(by="school") for fit in (wide, narrow))
    assert found["elpd_diff"].tolist() == pytest.approx([0, far.elpd - near.elpd], rel=1e-9)
    assert found["dse"][1] == pytest.approx(np.sqrt(8 * (far.elpd_unit - near.elpd_unit).var()), rel=1e-9)
    assert found["weight"][0] > 0.9
    again = wb.loo_compare({"far": far, "near": near})
    np.testing.assert_array_equal(again["elpd"], found["elpd"])


def test_what_cannot_be_compared_is_refused():
    wide = schools(draws=250)
    less = schools([name != "A" for name in "ABCDEFGH"], draws=250)
    with pytest.raises(ComparisonError, match=r"not of the same rows of the same response \(y, 8 rows; y, 7 rows\)"):
        wb.loo_compare({"all": wide, "less": less})
    with pytest.raises(ComparisonError, match="left out by school, b by observation"):
        wb.loo_compare({"a": wide.loo(by="school"), "b": wide.loo()})
    with pytest.raises(ComparisonError, match="two fits or more"):
        wb.loo_compare({"a": wide})
    table = {"k": [1, 0, 3, 4, 2, 5], "g": list("aabbcc")}
    counts, normal = (build_design("k ~ 1 + (1 | g)", table, family) for family in ("poisson", "gaussian"))
    fits = {d.family: Sampled(d, made_up(d, 4, 100), {}) for d in (counts, normal)}
    with pytest.raises(ComparisonError, match="probabilities of counts do not compare with densities"):
        wb.loo_compare(fits)
    other = build_design("k ~ 1 + (1 | h)", table | {"h": list("ababab")})
    moved = {"g": fits["gaussian"].design, "h": other}
    with pytest.raises(OptionError, match=r"by is 'g'. There are: observation, h"):
        wb.loo_compare({name: Sampled(d, made_up(d, 4, 100), {}) for name, d in moved.items()}, by="g")


def test_a_fit_without_draws_says_where_draws_come_from():
    with pytest.raises(OptionError, match=r"The exact fit has no draws.*options=\{\"draws\": 1000\}"):
        schools().loo()

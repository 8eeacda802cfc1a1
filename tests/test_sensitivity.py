"""Power scaling. Rungs: exact posteriors under scaled priors, ArviZ on densities made here, words by the figures."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal
from test_draws_tree import PRIORS, made_up, slopes

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.prior_defaults import resolve_priors
from workbench.sampling.draws import named_parameters
from workbench.sampling.tree import Sampled

SCHOOLS = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "school": list("ABCDEFGH")}


def schools(power=1.0, draws=0):
    """The schools under Normal(0, 5) and HalfNormal(5) to a power, which are Normal and HalfNormal again."""
    sd = 5 / power**0.5
    priors = {"(Intercept)": f"Normal(0, {sd!r})", "sd(school)": f"HalfNormal({sd!r})"}
    options = {"draws": draws}
    return wb.fit("y ~ 1 + (1 | school)", SCHOOLS, "exact", se="se", priors=priors, seed=5, options=options)


def distance(P, Q, x):
    """The cumulative Jensen-Shannon distance of two distribution functions (the source's equation 6)."""

    def one_way(P, Q):
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(P > 0, P * np.log2(2 * P / (P + Q)), 0.0)
        return trapezoid(inside, x) + trapezoid(Q - P, x) / (2 * np.log(2))

    return np.sqrt((one_way(P, Q) + one_way(Q, P)) / trapezoid(P + Q, x))


def test_prior_sensitivity_is_how_fast_the_exact_posterior_moves():
    base = schools(draws=10_000)
    found = base.sensitivity().set_index("parameter")["prior"]
    names, draws = named_parameters(base.design, base.sampled.drawn)
    assert names == base.parameters.names
    powers = (0.99, 1.01)
    scaled = {power: schools(power).posterior for power in (1.0, *powers)}
    for k, name in enumerate(names):
        x = np.linspace(draws[..., k].min(), draws[..., k].max(), 20_001)  # the range that is integrated over
        cdf = {power: posterior.parameter(name).cdf(x) for power, posterior in scaled.items()}
        exact = max(  # of the distribution function and of its reflection
            np.mean([distance(flip(cdf[1.0]), flip(cdf[a]), x) / abs(np.log2(a)) for a in powers])
            for flip in (lambda p: p, lambda p: np.clip(1 - p, 0, None))
        )
        # 40,000 independent draws know the moved means, of which this is a gradient, to about one part in a hundred
        assert found[name] == pytest.approx(exact, rel=0.05)


def test_the_likelihood_is_that_of_the_groups_where_effects_can_be_integrated_out():
    import arviz as az

    rng = np.random.default_rng(0)
    table = {"y": rng.normal(size=24) + np.repeat(rng.normal(size=6), 4), "g": np.repeat(np.arange(6), 4)}
    fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 250}, seed=1)
    drawn, ours = fit.sampled.drawn, fit.sensitivity()
    values = np.empty((4, 250))
    for c, d in np.ndindex(4, 250):
        V = drawn.sd[0][c, d, 0] ** 2 + drawn.sigma[c, d] ** 2 * np.eye(4)
        density = multivariate_normal(np.zeros(4), V)
        values[c, d] = density.logpdf(table["y"].reshape(6, 4) - drawn.b[c, d, 0]).sum()
    at = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {"posterior": fit.sampled.posterior[["sigma"]], "log_likelihood": xr.Dataset({"y": (at, values)})}
    )
    theirs = float(az.psense(tree, group="likelihood")["sigma"])
    assert ours["likelihood_of"].unique().tolist() == ["groups"]
    assert ours.set_index("parameter").loc["sigma", "likelihood"] == pytest.approx(theirs, rel=1e-6)


def test_several_factors_have_the_likelihood_of_rows_and_no_diagnosis_from_it():
    import arviz as az

    design = slopes()
    sampled = Sampled(design, made_up(design, 4, 100, every=2), resolve_priors(design, PRIORS))
    found = wb.sensitivity(sampled)
    assert found["likelihood_of"].unique().tolist() == ["rows given effects"]
    assert set(found["diagnosis"]) <= {
        "the prior hardly matters",
        "the prior matters; see whether it is what you meant",
    }
    tree = sampled.tree
    at = {"posterior": tree["posterior"].to_dataset().isel(draw=slice(None, None, 2))}
    at |= {"log_likelihood": tree["log_likelihood"].to_dataset()}
    theirs = float(az.psense(xr.DataTree.from_dict(at), group="likelihood", var_names=["sigma"])["sigma"])
    assert found.set_index("parameter").loc["sigma", "likelihood"] == pytest.approx(theirs, rel=1e-9)


def test_words_say_which_of_prior_and_data_decide():
    rng = np.random.default_rng(3)
    y = 10 + np.repeat(rng.normal(size=30), 5) + rng.normal(size=150)
    table = {"y": y, "g": np.repeat(np.arange(30), 5)}

    def said(**priors):
        named = {"(Intercept)": priors.get("mean", "Normal(0, 100)"), "sd": priors.get("sd", "HalfNormal(10)")}
        fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 1_000}, priors=named, seed=2)
        return fit.sensitivity().set_index("parameter")

    plain, far, tight = said(), said(mean="Normal(6, 0.5)"), said(mean="Normal(10, 0.001)")
    assert plain["diagnosis"].unique().tolist() == ["the prior hardly matters"]
    assert far.loc["(Intercept)", "diagnosis"].startswith("potential prior-data conflict")
    assert tight.loc["(Intercept)", "diagnosis"].startswith("potential strong prior or weak likelihood")
    flat = wb.fit(
        "y ~ 1 + (1 | g)", table, "exact", options={"draws": 250},
        priors={"(Intercept)": "Flat()", "sd": "Uniform(0, 50)", "sigma": "Uniform(0, 50)"},
    )  # fmt: skip
    assert (flat.sensitivity()["prior"] == 0).all()


def test_a_fit_without_draws_says_where_draws_come_from():
    with pytest.raises(OptionError, match="The reml fit has no draws"):
        wb.sensitivity(wb.fit("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3], "g": list("aabb")}))


def test_names_are_those_of_the_priors():
    design = build_design(
        "y ~ sigma + (sigma | g)", {"y": np.arange(9.0) ** 2, "sigma": np.arange(9) % 4, "g": np.arange(9) % 3}
    )
    names, values = named_parameters(design, made_up(design, nu=True))
    assert names == (
        "(Intercept)", "b(sigma)", "sigma", "nu", "sd(g, (Intercept))", "sd(g, sigma)", "cor(g, (Intercept), sigma)",
    )  # fmt: skip
    np.testing.assert_array_equal(values[..., 6], made_up(design, nu=True).correlation[0][..., 0, 1])

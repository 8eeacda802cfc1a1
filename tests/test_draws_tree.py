"""The ArviZ tree of draws. Rungs: scipy's densities row by row, PyMC's compiled density, moments of what is drawn,
ArviZ's own functions, round trips through files.
"""

import numpy as np
import pytest
import xarray as xr
from corpus import design_of
from scipy import stats

from workbench.design import build_design
from workbench.estimators import Settings, run_estimator
from workbench.lkj import lkj_log_density
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior, parse_prior
from workbench.sampling.draws import Draws
from workbench.sampling.explicit import build_model
from workbench.sampling.plain_density import linear_predictor, log_densities, log_joint
from workbench.sampling.tree import Sampled

PRIORS = {"sd": "Exponential(0.1)", "b": "StudentT(4, 0, 30)", "sigma": "Gamma(2, 0.05)", "cor": "LKJ(3)"}


def made_up(design, chains=2, draws=30, seed=0, every=1, nu=False):
    """Arbitrary draws of a design: what is computed of them must be right wherever they lie."""
    rng, shape = np.random.default_rng(seed), (chains, draws)
    sd, correlation, effects = [], [], []
    for block in design.blocks:
        q, rho = len(block.terms), rng.uniform(-0.8, 0.8, shape)
        R = np.broadcast_to(np.eye(q), (*shape, q, q)).copy()
        if q > 1:
            R[..., 0, 1] = R[..., 1, 0] = rho
        correlation.append(R)
        sd.append(rng.uniform(0.2, 1.5, (*shape, q)))
        effects.append(rng.normal(size=(chains, -(-draws // every), len(block.levels), q)))
    return Draws(
        b=rng.normal(size=(*shape, len(design.fixed_terms))),
        sigma=rng.uniform(0.5, 2, shape) if design.estimates_dispersion and not design.known_se else None,
        sd=tuple(sd),
        correlation=tuple(correlation),
        effects=tuple(effects),
        every=every,
        others={"nu": rng.uniform(2, 9, shape)} if nu else {},
    )


def slopes(n=40, **more):
    rng = np.random.default_rng(5)
    table = {"y": rng.normal(size=n), "x": rng.normal(size=n), "g": np.arange(n) % 5, "h": np.arange(n) % 3}
    table |= {"w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n)}
    return build_design("y ~ x + offset(o) + (x | g) + (1 | h)", table, **({"weights": "w"} | more))


@pytest.fixture(scope="module")
def twelve():
    """Independent draws of the twelve groups."""
    return run_estimator("exact", design_of("twelve_groups--ri"), Settings(seed=4), {"draws": 500})


# --- rows ---------------------------------------------------------------------------------------------


def plain_mean(design, drawn, c, d):
    """The linear predictor of one draw, row by row."""
    at = d // drawn.every
    mean = design.X @ drawn.b[c, d] + design.offset
    for block, effects in zip(design.blocks, drawn.effects, strict=True):
        mean = mean + (block.Z * effects[c, at][block.codes]).sum(axis=1)
    return mean


def test_log_likelihood_is_the_normal_density_given_the_effects():
    design = slopes()
    drawn = made_up(design)
    found = Sampled(design, drawn, resolve_priors(design, PRIORS)).tree["log_likelihood"]["y"]
    assert found.dims == ("chain", "draw", "row")
    for c, d in ((0, 0), (1, 29)):
        scale = drawn.sigma[c, d] / np.sqrt(design.weights)
        expected = stats.norm(plain_mean(design, drawn, c, d), scale).logpdf(design.y)
        np.testing.assert_allclose(found.values[c, d], expected, rtol=1e-12)


def test_shares_have_the_binomial_log_likelihood():
    table = {"k": [1, 0, 3, 4, 2, 5], "m": [4, 2, 5, 4, 3, 9], "g": list("aabbcc")}
    design = build_design("cbind(k, m - k) ~ 1 + (1 | g)", table, "binomial")
    drawn = made_up(design)
    priors = {"(Intercept)": Prior("Normal", (0, 2)), "sd(g, (Intercept))": Prior("HalfNormal", (1,))}
    tree = Sampled(design, drawn, priors).tree
    p = 1 / (1 + np.exp(-plain_mean(design, drawn, 1, 7)))
    expected = stats.binom(table["m"], p).logpmf(table["k"])
    np.testing.assert_allclose(tree["log_likelihood"]["y"].values[1, 7], expected, rtol=1e-10)
    shares = tree["posterior_predictive"]["y"].values * np.array(table["m"])
    np.testing.assert_allclose(shares, shares.round(), atol=1e-12)
    assert tree["constant_data"]["trials"].values.tolist() == table["m"]


def test_predicted_responses_scatter_about_the_predictor_by_sigma():
    design = slopes()
    drawn = made_up(design, draws=400)
    tree = Sampled(design, drawn, resolve_priors(design, PRIORS), seed=3).tree
    z = tree["posterior_predictive"]["y"].values - linear_predictor(design, drawn.b, drawn.effects)
    z *= np.sqrt(design.weights) / drawn.sigma[..., None]
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.001  # 32,000 independent normals, the seed fixed
    again = Sampled(design, drawn, resolve_priors(design, PRIORS), seed=3).tree
    np.testing.assert_array_equal(again["posterior_predictive"]["y"], tree["posterior_predictive"]["y"])


def test_effects_of_some_draws_give_the_rows_of_these_draws():
    design = slopes()
    drawn = made_up(design, every=4)
    tree = Sampled(design, drawn, resolve_priors(design, PRIORS)).tree
    found = tree["log_likelihood"]
    assert found["draw"].values.tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert found.attrs["kept"] == "one draw in 4 of each chain"
    scale = drawn.sigma[1, 12] / np.sqrt(design.weights)
    expected = stats.norm(plain_mean(design, drawn, 1, 12), scale).logpdf(design.y)
    np.testing.assert_allclose(found["y"].sel(chain=1, draw=12).values, expected, rtol=1e-12)
    assert tree["group_effects"]["effect_g"].dims == ("chain", "draw", "g", "g_term")
    assert "effect_g" not in tree["posterior"]


@pytest.mark.parametrize(("n", "kept"), [(2_000, "one draw in 4 of each chain"), (60_000, None)])
def test_of_many_rows_fewer_draws_are_kept_or_none(n, kept):
    rng = np.random.default_rng(0)
    design = build_design("y ~ 1 + (1 | g)", {"y": rng.normal(size=n), "g": np.arange(n) % 7})
    tree = Sampled(design, made_up(design, 4, 2_000), resolve_priors(design, {})).tree
    if kept is None:
        assert not {"log_likelihood", "posterior_predictive", "prior_predictive"} & set(tree.children)
        assert "of 60,000 rows at least 200 draws each" in tree.attrs["left_out"]
        assert "prior_predictive: 200 draws" in tree.attrs["left_out"]
    else:
        assert tree["log_likelihood"].attrs["kept"] == tree["posterior_predictive"].attrs["kept"] == kept
        assert tree["log_likelihood"]["y"].size <= 5_000_000
        assert "left_out" not in tree.attrs


# --- priors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["Normal(1, 2)", "StudentT(3, 1, 2)", "Cauchy(1, 2)", "HalfNormal(2)", "HalfStudentT(3, 2)", "HalfCauchy(2)",
     "Exponential(0.5)", "Gamma(2, 0.5)", "Uniform(0, 3)", "Flat()"],
)  # fmt: skip
def test_log_densities_are_the_log_density_elementwise(text):
    prior, points = parse_prior(text), np.array([-2.0, -1e-9, 0.0, 1e-9, 0.5, 2.999, 3.001, 50.0])
    for positive in (False, True):
        expected = [prior.log_density(x, positive) for x in points]
        np.testing.assert_allclose(log_densities(prior, points, positive), expected, rtol=1e-13)


def test_the_log_prior_is_of_every_parameter_at_every_draw():
    design, priors = slopes(), resolve_priors(slopes(), PRIORS)
    drawn = made_up(design)
    found = Sampled(design, drawn, priors).tree["log_prior"]
    assert {name: part.dims[2:] for name, part in found.data_vars.items()} == {
        "b": ("population_term",), "sigma": (), "sd_g": ("g_term",), "cor_g": (), "sd_h": ("h_term",),
    }  # fmt: skip
    at = {"chain": 1, "draw": 4}
    assert float(found["b"].sel(**at, population_term="x")) == pytest.approx(
        stats.t(4, 0, 30).logpdf(drawn.b[1, 4, 1]), rel=1e-12
    )
    assert float(found["sd_g"].sel(**at, g_term="x")) == pytest.approx(
        stats.expon(scale=10).logpdf(drawn.sd[0][1, 4, 1]), rel=1e-12
    )
    expected = lkj_log_density(drawn.correlation[0][1, 4], 3.0)
    assert float(found["cor_g"].sel(**at)) == pytest.approx(expected, rel=1e-12)


def test_prior_draws_follow_the_priors_and_their_effects_the_drawn_spread():
    design = slopes()
    priors = resolve_priors(design, {"b": "Normal(1, 2)", "sd": "HalfNormal(3)", "sigma": "Exponential(2)"})
    tree = Sampled(design, made_up(design), priors, seed=8).tree
    drawn = tree["prior"]
    assert set(drawn.data_vars) == set(tree["posterior"].data_vars)
    for values, law in (
        (drawn["b"].sel(population_term="x"), stats.norm(1, 2)),
        (drawn["sigma"], stats.expon(scale=0.5)),
        (drawn["sd_g"].sel(g_term="x"), stats.halfnorm(0, 3)),
    ):
        assert stats.kstest(values.values.ravel(), law.cdf).pvalue > 0.001
    R, s = drawn["cor_g"].values[0], drawn["sd_g"].values[0]
    z = np.linalg.solve(np.linalg.cholesky(R), np.swapaxes(drawn["effect_g"].values[0] / s[:, None], 1, 2))
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.001
    assert tree["prior_predictive"]["y"].shape == (1, 500, 40)


def test_of_an_improper_prior_nothing_is_drawn_and_the_tree_says_so():
    design = slopes()
    tree = Sampled(design, made_up(design), resolve_priors(design, {"sigma": "Flat()"})).tree
    assert "prior" not in tree.children
    assert "The prior of sigma is Flat(), which is improper" in tree.attrs["left_out"]


# --- the joint density --------------------------------------------------------------------------------


def compiled_value(model, names):
    """A function of a point, by the variables' names, of PyMC's log density without the Jacobians of transforms."""
    value = model.compile_fn(model.logp(jacobian=False), inputs=model.value_vars, on_unused_input="ignore")

    def at(point):
        inputs = {}
        for rv, variable in model.rvs_to_values.items():
            if rv.name in names:
                transform, raw = model.rvs_to_transforms[rv], np.asarray(point[rv.name], dtype=float)
                moved = raw if transform is None else transform.forward(raw, *rv.owner.inputs).eval()
                inputs[variable.name] = moved
        return float(value(inputs))

    return at


@pytest.mark.slow
def test_log_joint_is_that_of_the_pymc_model():
    rng = np.random.default_rng(5)
    table = {"y": rng.normal(size=40), "x": rng.normal(size=40), "g": np.arange(40) % 5}
    table |= {"w": rng.uniform(0.5, 2, 40), "o": rng.normal(size=40)}
    design = build_design("y ~ x + offset(o) + (x | g)", table, weights="w")
    priors, drawn = resolve_priors(design, PRIORS), made_up(design)
    names = [
        "b[(Intercept)]",
        "b[x]",
        "sd_g[(Intercept)]",
        "sd_g[x]",
        "sigma",
        "partial_g",
        "c_g[(Intercept)]",
        "c_g[x]",
    ]
    value = compiled_value(build_model(design, priors, "centered"), names)
    ours = log_joint(design, priors, drawn.b, drawn.sigma, drawn.sd, drawn.correlation, drawn.effects)
    assert ours.shape == (2, 30)
    for c, d in ((0, 0), (1, 11)):
        b, s, R, u = drawn.b[c, d], drawn.sd[0][c, d], drawn.correlation[0][c, d], drawn.effects[0][c, d]
        point = [*b, *s, drawn.sigma[c, d], [(1 + R[0, 1]) / 2], *(b + u).T]
        # PyMC samples (1 + rho) / 2; its constants, such as log(2 pi), are in single precision
        theirs = value(dict(zip(names, point, strict=True))) - np.log(2)
        assert ours[c, d] == pytest.approx(theirs, rel=1e-7)


def test_log_joint_of_a_student_response_is_a_sum_of_scipys_densities():
    design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3, 9], "g": list("aabbb")})
    priors = dict(resolve_priors(design, {})) | {"nu": Prior("Gamma", (2, 0.1))}
    b, u = np.array([2.5]), np.array([[-1.0], [0.5]])
    found = log_joint(design, priors, b, 1.3, (np.array([0.8]),), (np.eye(1),), (u,), nu=4.0)
    expected = stats.t(4, 2.5 + u[[0, 0, 1, 1, 1], 0], 1.3).logpdf(design.y).sum()
    expected += stats.norm(0, 0.8).logpdf(u).sum() + stats.gamma(2, scale=10).logpdf(4.0)
    expected += priors["(Intercept)"].log_density(2.5) + priors["sigma"].log_density(1.3)
    expected += priors["sd(g, (Intercept))"].log_density(0.8)
    assert float(found) == pytest.approx(expected, rel=1e-12)


# --- ArviZ and files ----------------------------------------------------------------------------------


def test_arviz_reads_the_tree(twelve):
    import arviz as az

    tree = twelve.draws
    table = az.summary(tree, var_names=["b", "sd_group"], round_to="none")
    assert table.loc["b[(Intercept)]", "mean"] == pytest.approx(float(twelve.draws["posterior"]["b"].mean()), rel=1e-12)
    # lppd less the penalty, by hand, is what az.loo finds to within its smoothing of the weights
    log_p = tree["log_likelihood"]["y"].values.reshape(2_000, -1)
    assert az.loo(tree).elpd == pytest.approx(-np.log(np.exp(-log_p).mean(axis=0)).sum(), abs=0.05)
    assert {"prior", "likelihood", "diagnosis"} <= set(az.psense_summary(tree, var_names=["sigma"]).columns)


@pytest.mark.filterwarnings("ignore:In a future version of xarray")  # arviz-plots relies on xarray's old default
def test_arviz_draws_the_tree(twelve):
    import arviz as az
    import matplotlib as mpl

    mpl.use("agg")
    lines = az.plot_ppc_dist(twelve.draws, num_samples=20, backend="matplotlib")
    assert "y" in lines.viz["predictive_dist"]
    az.plot_trace(twelve.draws, var_names=["sigma", "sd_group"], backend="matplotlib")
    design = slopes()  # arviz-plots 1.3 has a dim "group" of its own in this one, which the twelve groups' would meet
    tree = Sampled(design, made_up(design), resolve_priors(design, PRIORS)).tree
    az.plot_prior_posterior(tree, var_names=["sigma"], backend="matplotlib")


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_a_tree_comes_back_from_a_file_as_it_was(tmp_path, kind):
    import arviz as az

    design = slopes()
    tree = Sampled(design, made_up(design, every=3, nu=True), dict(resolve_priors(design, PRIORS)) | NU).tree
    if kind == "zarr":
        tree.to_zarr(tmp_path / "draws.zarr", consolidated=False)
        back = xr.open_datatree(tmp_path / "draws.zarr", engine="zarr", consolidated=False).load()
    else:
        tree.to_netcdf(tmp_path / "draws.nc")
        back = az.from_netcdf(tmp_path / "draws.nc").load()
    assert set(back.children) == set(tree.children)
    for name, node in tree.children.items():
        xr.testing.assert_equal(back[name].to_dataset(), node.to_dataset())
        assert back[name].attrs == node.attrs
    assert back.attrs == tree.attrs


NU = {"nu": Prior("Gamma", (2, 0.1))}

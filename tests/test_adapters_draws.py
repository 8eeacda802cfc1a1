"""Posteriors from elsewhere: our own draws read back, the names of others, what users say, and a bambi model.

Rungs: identity (draws saved and read as foreign are what `hierarchical` said of them), closed form (summaries of arrays
written here), and bambi's own sampler beside ours, in Monte Carlo errors.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.design import build_design
from workbench.errors import ComparisonError, DataError, OptionError

TABLES = Path(__file__).parent / "data" / "datasets"
SLEEP = "Reaction ~ Days + (Days | Subject)"
AT = ("chain", "draw")


@pytest.fixture(scope="module")
def sampled():
    return wb.fit(SLEEP, TABLES / "sleepstudy.csv", "hierarchical", options={"draws": 250}, seed=4)


@pytest.fixture(scope="module")
def design():
    return build_design(SLEEP, TABLES / "sleepstudy.csv")


@pytest.fixture(scope="module")
def arrays(design):
    """Draws (4, 300) of everything that the model has, effects (18, 2)."""
    rng = np.random.default_rng(8)
    sd = np.abs(rng.normal([25.0, 6.0], 1.0, (4, 300, 2)))
    return {
        "b": rng.normal([251.0, 10.5], [7.0, 1.5], (4, 300, 2)),
        "sd": sd,
        "cor": np.tanh(rng.normal(0.1, 0.2, (4, 300))),
        "sigma": np.abs(rng.normal(25.0, 1.0, (4, 300))),
        "effect": rng.normal(0.0, sd[:, :, None], (4, 300, 18, 2)),
    }


def check_fit(fit, arrays, correlated=True):
    """Means, SDs and quantiles of the arrays, coefficients draw by draw."""
    flat = {name: values.reshape(1200, *values.shape[2:]) for name, values in arrays.items()}
    coefficient = flat["effect"] + flat["b"][:, None]
    part = fit.group_effects[0]
    for found, drawn in ((part.effect, flat["effect"]), (part.coefficient, coefficient), (fit.population, flat["b"])):
        np.testing.assert_allclose(found.estimate, drawn.mean(axis=0), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.std_error, drawn.std(axis=0, ddof=1), rtol=1e-10)
        np.testing.assert_allclose(found.conf_low, np.quantile(drawn, 0.025, axis=0), rtol=1e-10, atol=1e-10)
        assert found.interval == "equal-tailed 95 %"
    np.testing.assert_allclose(fit.components[0].sd, flat["sd"].mean(axis=0), rtol=1e-12)
    if correlated:
        np.testing.assert_allclose(fit.components[0].correlation[0, 1], flat["cor"].mean(), rtol=1e-12)
    np.testing.assert_allclose(fit.sigma, flat["sigma"].mean(), rtol=1e-12)
    names = ["(Intercept)", "Days", "sigma", "sd(Subject, (Intercept))", "sd(Subject, Days)"]
    assert list(fit.parameters.names) == names + ["cor(Subject, (Intercept), Days)"] * correlated


# --- our own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "tree", "dataset", "legacy"])
def test_saved_draws_read_back_say_what_hierarchical_said(sampled, tmp_path, form):
    tree = sampled.draws
    source = {
        "file": lambda: wb.save_draws(sampled, tmp_path / "draws.nc"),
        "tree": lambda: tree,
        "dataset": lambda: tree["posterior"].to_dataset(),
        "legacy": lambda: SimpleNamespace(
            posterior=tree["posterior"].to_dataset(), sample_stats=tree["sample_stats"].to_dataset()
        ),
    }[form]()
    read = wb.adapt(source, sampled, "read")
    for ours, theirs in zip(sampled.group_effects, read.group_effects, strict=True):
        for name in ("effect", "coefficient"):
            for kind in ("estimate", "std_error", "conf_low", "conf_high", "r_hat", "ess_bulk"):
                np.testing.assert_allclose(
                    getattr(getattr(theirs, name), kind), getattr(getattr(ours, name), kind), rtol=1e-10, atol=1e-10
                )
    np.testing.assert_allclose(read.parameters.estimates.estimate, sampled.parameters.estimates.estimate, rtol=1e-12)
    assert read.parameters.names == sampled.parameters.names
    np.testing.assert_allclose(read.components[0].covariance, sampled.components[0].covariance, rtol=1e-12)
    np.testing.assert_allclose(read.fixed_cov, sampled.fixed_cov, rtol=1e-12)
    if form != "dataset":  # which holds no more than the posterior
        assert read.diagnostics["divergences"] == sampled.diagnostics["divergences"]
    assert read.diagnostics["ess_bulk"] == pytest.approx(sampled.diagnostics["ess_bulk"], rel=1e-10)
    assert read.converged == sampled.converged


def test_effects_of_some_draws_go_with_the_population_values_of_these(sampled):
    import xarray as xr

    tree = sampled.draws
    posterior = tree["posterior"].to_dataset()
    groups = posterior[["effect_Subject"]].isel(draw=slice(None, None, 5))
    thinned = xr.DataTree.from_dict(
        {"posterior": posterior.drop_vars(["effect_Subject", "coefficient_Subject"]), "group_effects": groups}
    )
    read = wb.adapt(thinned, sampled, "read")
    wanted = posterior["coefficient_Subject"].isel(draw=slice(None, None, 5))
    np.testing.assert_allclose(
        read.group_effects[0].coefficient.std_error, wanted.values.reshape(-1, 18, 2).std(axis=0, ddof=1), rtol=1e-10
    )


def test_few_draws_are_complained_of_as_hierarchical_does(design, arrays):
    short = {name: values[:, :20] for name, values in arrays.items()}
    found = wb.adapt(bambis(design, short), design, "few")
    assert not found.converged
    assert any("The smallest bulk effective sample size is" in text for text in found.warnings)


# --- the names of others ------------------------------------------------------------------------------


def bambis(design, arrays):
    import xarray as xr

    levels = (*AT, "Subject__factor_dim")
    names = {
        "Intercept": (AT, arrays["b"][..., 0]),
        "Days": (AT, arrays["b"][..., 1]),
        "1|Subject": (levels, arrays["effect"][:, :, ::-1, 0]),
        "Days|Subject": (levels, arrays["effect"][:, :, ::-1, 1]),
        "1|Subject_sigma": (AT, arrays["sd"][..., 0]),
        "Days|Subject_sigma": (AT, arrays["sd"][..., 1]),
        "sigma": (AT, arrays["sigma"]),
    }
    return xr.Dataset(names, {"Subject__factor_dim": list(design.blocks[0].levels)[::-1]})


def test_bambis_names(design, arrays):
    fit = wb.adapt(bambis(design, arrays), design, "bambi")
    check_fit(fit, arrays, correlated=False)
    assert np.isnan(fit.components[0].correlation[0, 1])
    assert any("gives no correlation of (Intercept) and Days" in text for text in fit.warnings)


def test_bambis_names_of_categorical_terms():
    import xarray as xr

    rng = np.random.default_rng(3)
    data = {"y": rng.normal(size=36), "r": list("ABC") * 12, "g": list("aabbcc") * 6}
    design = build_design("y ~ r + (r | g)", data)
    drawn = {name: rng.normal(size=(2, 50, *shape)) for name, shape in (("r", (2,)), ("1|g", (3,)), ("r|g", (2, 3)))}
    dims = {"r": ("r_dim",), "1|g": ("g__factor_dim",), "r|g": ("r__expr_dim", "g__factor_dim")}
    made = {name: ((*AT, *dims[name]), values) for name, values in drawn.items()}
    made |= {"Intercept": (AT, rng.normal(size=(2, 50)))}
    coords = {"r_dim": ["B", "C"], "r__expr_dim": ["B", "C"], "g__factor_dim": ["a", "b", "c"]}
    fit = wb.adapt(xr.Dataset(made, coords), design, "bambi")
    np.testing.assert_allclose(fit.population.estimate[1:], drawn["r"].mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(
        fit.group_effects[0].effect.estimate[:, 1:], drawn["r|g"].mean(axis=(0, 1)).T, rtol=1e-12
    )


def test_brms_names(design, arrays):
    import xarray as xr

    made = {"b_Intercept": arrays["b"][..., 0], "b_Days": arrays["b"][..., 1], "sigma": arrays["sigma"]}
    made |= {"Intercept": arrays["b"][..., 0] + 47.0, "lp__": arrays["sigma"]}  # centred, and no parameter
    made |= {f"sd_Subject__{t}": arrays["sd"][..., k] for k, t in enumerate(("Intercept", "Days"))}
    made |= {"cor_Subject__Intercept__Days": arrays["cor"]}
    for j, level in enumerate(design.blocks[0].levels):
        for k, term in enumerate(("Intercept", "Days")):
            made[f"r_Subject[{level},{term}]"] = arrays["effect"][:, :, j, k]
    check_fit(wb.adapt(xr.Dataset({n: (AT, v) for n, v in made.items()}), design, "brms"), arrays)


def test_rstanarms_names(design, arrays):
    import xarray as xr

    one, two = arrays["sd"][..., 0], arrays["sd"][..., 1]
    made = {"(Intercept)": arrays["b"][..., 0], "Days": arrays["b"][..., 1], "sigma": arrays["sigma"]}
    made |= {
        "Sigma[Subject:(Intercept),(Intercept)]": one**2,
        "Sigma[Subject:Days,(Intercept)]": arrays["cor"] * one * two,
        "Sigma[Subject:Days,Days]": two**2,
        "b[(Intercept) Subject:_NEW_Subject]": one,
        "mean_PPD": one,
    }
    for j, level in enumerate(design.blocks[0].levels):
        for k, term in enumerate(("(Intercept)", "Days")):
            made[f"b[{term} Subject:{level}]"] = arrays["effect"][:, :, j, k]
    check_fit(wb.adapt(xr.Dataset({n: (AT, v) for n, v in made.items()}), design, "rstanarm"), arrays)


# --- what users say -----------------------------------------------------------------------------------


def own_model(design, arrays):
    import xarray as xr

    levels = list(design.blocks[0].levels)
    return xr.Dataset(
        {
            "mu": ((*AT, "coef"), arrays["b"]),
            "a": ((*AT, "who"), arrays["effect"][..., 0] + arrays["b"][:, :, None, 0]),
            "s": ((*AT, "who"), arrays["effect"][..., 1] + arrays["b"][:, :, None, 1]),
            "tau_a": (AT, arrays["sd"][..., 0]),
            "tau": ((*AT, "coef"), arrays["sd"]),
            "e": (AT, arrays["sigma"]),
            "unlabelled": ((*AT, "k"), arrays["effect"][..., 0]),
        },
        {"who": [int(level) for level in levels], "coef": ["(Intercept)", "Days"]},
    )


def test_variables_say_what_is_what(design, arrays):
    said = {"population": "mu", "coefficients": {"(Intercept)": "a", "Days": "s"}, "sd": "tau", "sigma": "e"}
    check_fit(wb.adapt(own_model(design, arrays), design, "own", variables=said), arrays, correlated=False)
    by_group = said | {"coefficients": {"Subject": {"Intercept": "a", "Days": "s"}}}
    check_fit(wb.adapt(own_model(design, arrays), design, "own", variables=by_group), arrays, correlated=False)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (None, ComparisonError, r"\(mu, a, .*\) do not tell which are group effects"),
        ({"effect": "a"}, OptionError, "no key 'effect'. Did you mean 'effects'"),
        ({"effects": "aa"}, OptionError, "no variable 'aa'"),
        ({"effects": {"(Intercept)": "a", "Weeks": "s"}}, OptionError, "'Weeks', which is no grouping factor"),
        ({"effects": {"(Intercept)": "unlabelled", "Days": "s"}}, ComparisonError, "No dim of unlabelled .* labelled"),
        ({"effects": "a"}, ComparisonError, "one dim labelled with the terms is needed"),
        ({"population": "mu"}, ComparisonError, "holds no group effects"),
        ({"effects": {"Days": "s"}}, ComparisonError, r"terms that vary by Subject .* \(\(Intercept\)\)"),
    ],
)
def test_what_is_said_wrongly_is_refused(design, arrays, said, error, words):
    with pytest.raises(error, match=words):
        wb.adapt(own_model(design, arrays), design, "own", variables=said)


def test_posteriors_of_other_groups_and_files_of_something_else_are_refused(design, arrays, tmp_path):
    other = bambis(design, arrays).assign_coords(Subject__factor_dim=[f"p{j}" for j in range(18)])
    with pytest.raises(ComparisonError, match=r"18 missing there \(308, 309, 310, 330, 331, \.\.\.\)"):
        wb.adapt(other, design, "bambi")
    with pytest.raises(DataError, match="There is no file"):
        wb.adapt(tmp_path / "absent.nc", design)
    (tmp_path / "text.nc").write_text("level,estimate\n")
    with pytest.raises(DataError, match="cannot be read as a NetCDF"):
        wb.adapt(tmp_path / "text.nc", design)
    with pytest.raises(ComparisonError, match="this is a table of estimates"):
        wb.adapt({"level": ["308"], "coefficient": [1.0]}, design, variables={"effects": "a"})


# --- bambi itself -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bambi_fit():
    import bambi
    import pandas as pd

    data = pd.read_csv(TABLES / "sleepstudy.csv")
    model = bambi.Model("Reaction ~ Days + (Days | Subject)", data)
    return model, model.fit(draws=1000, tune=1000, chains=4, cores=2, random_seed=1, progressbar=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of bambi and its sampler
def test_a_bambi_model_stands_beside_hierarchical(bambi_fit):
    model, _ = bambi_fit
    formula = "Reaction ~ Days + (Days || Subject)"  # which is what bambi means by (Days | Subject)
    priors = {  # those that bambi prints of itself, of its centred intercept
        "Days": "Normal(0, 48.8915)", "sd(Subject, (Intercept))": "HalfNormal(261.0092)",
        "sd(Subject, Days)": "HalfNormal(48.8915)", "sigma": "HalfStudentT(4, 56.1721)",
        "(Intercept)": "Normal(298.5, 341)",  # the same at Days = 0: 261.0092 and 4.5 x 48.8915 together
    }  # fmt: skip
    both = wb.compare(
        formula, TABLES / "sleepstudy.csv", ["hierarchical"], priors=priors, seed=2, foreign={"bambi": bambi_fit}
    )
    ours, theirs = both.fits["hierarchical"], both.fits["bambi"]
    for a, b in zip(ours.group_effects, theirs.group_effects, strict=True):
        for one, other in ((a.effect, b.effect), (a.coefficient, b.coefficient)):
            mcse = np.hypot(one.std_error / np.sqrt(one.ess_bulk), other.std_error / np.sqrt(other.ess_bulk))
            assert np.abs((one.estimate - other.estimate) / mcse).max() < 4.5  # of 72 numbers
            np.testing.assert_allclose(other.std_error, one.std_error, rtol=0.12)
    one, other = ours.parameters.estimates, theirs.parameters.estimates
    mcse = np.hypot(one.std_error / np.sqrt(one.ess_bulk), other.std_error / np.sqrt(other.ess_bulk))
    assert theirs.parameters.names == ours.parameters.names
    assert np.abs((one.estimate - other.estimate) / mcse).max() < 4.5
    assert not any("miss Reaction" in text for text in theirs.warnings)  # its intercept is that at Days = 0
    with pytest.raises(ComparisonError, match="without its posterior"):
        wb.adapt(model, ours)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_bambi_models_of_something_else_are_refused(bambi_fit):
    import pandas as pd

    data = pd.read_csv(TABLES / "sleepstudy.csv")
    with pytest.raises(ComparisonError, match="is of 180 rows, the comparison of 179"):
        wb.adapt(bambi_fit, build_design(SLEEP, data.iloc[1:]), "bambi")
    with pytest.raises(ComparisonError, match="family gaussian, the comparison poisson"):
        wb.adapt(bambi_fit, build_design(SLEEP, data.assign(Reaction=data["Reaction"].round()), "poisson"), "bambi")
    with pytest.raises(ComparisonError, match="has other values than"):
        wb.adapt(bambi_fit, build_design(SLEEP, data.assign(Reaction=data["Reaction"] * 2)), "bambi")
    renamed = build_design(SLEEP.replace("Reaction", "Rate"), data.rename(columns={"Reaction": "Rate"}))
    with pytest.raises(ComparisonError, match="response Reaction, the comparison Rate"):
        wb.adapt(bambi_fit, renamed, "bambi")


def test_a_single_chain_says_that_agreement_is_not_known():
    import xarray as xr

    design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    rng = np.random.default_rng(1)
    draws = {"mu": (AT, rng.normal(2.5, 1, (1, 900))), "a": ((*AT, "g"), rng.normal([-1, 1], 1, (1, 900, 2)))}
    posterior = xr.Dataset(draws, {"g": ["a", "b"]})
    read = wb.adapt(posterior, design, "one", variables={"population": {"(Intercept)": "mu"}, "effects": "a"})
    assert [text for text in read.warnings if "R-hat" in text] == [
        "R-hat is not known, as of a single chain: whether chains agree cannot be seen. Run several."
    ]
    assert not read.converged


def test_another_response_beside_the_draws_is_refused(sampled):
    tree = sampled.draws
    assert wb.adapt(tree, sampled, "same").read_from == "the posterior given"
    for frame, words in (
        (
            lambda t: t.assign(Reaction=t["Reaction"] / 1000),
            r"other values of Reaction .*means 298\.508 and 0\.298508",
        ),
        (lambda t: t.iloc[:-1], "of 180 rows, the comparison of 179"),
    ):
        table = frame(pd.read_csv(TABLES / "sleepstudy.csv"))
        with pytest.raises(ComparisonError, match=words):
            wb.adapt(tree, build_design(SLEEP, table), "other")

"""The PyMC program that a report prints. Rungs: the printed lines are run, and their log density at random points is
that of our explicit model (:mod:`workbench.sampling.explicit`), whose own is proven elsewhere; a short run ends where
quadrature does."""

import os

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

import workbench as wb
from workbench.prior_defaults import resolve_priors
from workbench.report import Context
from workbench.report.pymc_code import pymc_code

RNG = np.random.default_rng(11)


def made_up(**more):
    n = 60
    table = {
        "y": RNG.normal(size=n), "x": RNG.normal(size=n), "z": RNG.uniform(1, 2, n), "w": RNG.uniform(1, 3, n),
        "se": RNG.uniform(0.5, 2, n), "g": [f"{k % 12 + 1:02d}" for k in range(n)], "h": list("abcde" * 12),
        "f": list("uvw" * 20), "off": RNG.normal(size=n), "hit": RNG.integers(0, 2, n),
        "won": RNG.integers(0, 5, n), "lost": RNG.integers(0, 4, n) + 1, "flag": ["no", "yes", "yes"] * 20,
        "count": RNG.poisson(2, n),
    }  # fmt: skip
    return pd.DataFrame(table | more)


MISSING = made_up()
MISSING.loc[[3, 17], "x"] = np.nan
COMMA = ["won", "lost"]
CASES = {
    "one intercept": (made_up(), "y ~ 1 + (1 | g)", {}, {}),
    "slopes, correlated": (made_up(), "y ~ x + (x | g)", {}, {}),
    "three terms": (made_up(), "y ~ x + z + (x + z | h)", {}, {"cor": "LKJ(3)"}),
    "independent slopes": (made_up(), "y ~ x + (x || g)", {}, {"sd(g, x)": "Exponential(2)"}),
    "crossed, with interactions": (made_up(), "log(z) ~ x * f + scale(x):f + (1 | g) + (1 | h)", {}, {}),
    "nested": (made_up(), "y ~ I(x^2) + (1 | h/f)", {}, {"b": "StudentT(3, 0, 2)", "sigma": "Gamma(2, 1)"}),
    "known errors": (made_up(), "y ~ x + (1 | g)", {"se": "se"}, {"sd": "HalfCauchy(2)", "(Intercept)": "Flat()"}),
    "weights, offset, missing": (MISSING, "y ~ x + (1 | g)", {"weights": "w", "offset": "off"}, {}),
    "polynomials": (made_up(), "y ~ poly(x, 2) + (1 | g)", {}, {}),
    "cbind": (made_up(), "cbind(won, lost) ~ f + (1 | g)", {"family": "binomial"}, {}),
    "labels, probit": (made_up(), "flag ~ x + (1 | g)", {"family": "binomial", "link": "probit"}, {}),
    "0/1, cloglog": (made_up(), "hit ~ x + (x | h)", {"family": "binomial", "link": "cloglog"}, {}),
    "counts": (made_up(), "count ~ x + offset(off) + (1 | g)", {"family": "poisson"}, {}),
}


def printed(table, formula, arguments, priors, folder, monkeypatch):
    """A comparison of one fit, the program that its report prints, and the table as the file that the program reads."""
    name = "laplace" if "family" in arguments else "reml"
    comparison = wb.compare(formula, table, [name], **arguments)
    study = {"data": "data.csv", "priors": priors} | {k: v for k, v in arguments.items() if k in ("weights", "se")}
    study |= {"offset": arguments["offset"]} if "offset" in arguments else {}
    table.to_csv(folder / "data.csv", index=False, quoting=2)  # numbers are not quoted, labels are
    monkeypatch.chdir(folder)
    return comparison, pymc_code(comparison, Context(study=study))


def run(code, draws=None):
    """Run a program, its sampling replaced, or made short; what it has defined afterwards."""
    import pymc as pm

    sampling = "pm.sample(random_seed=1)"
    assert code.count(sampling) == 1
    short = f"pm.sample({draws}, tune=300, chains=2, cores=1, random_seed=1, progressbar=False, nuts_sampler='pymc')"
    defined = {}
    exec(compile(code.replace(sampling, short if draws else "None"), "report", "exec"), defined)  # noqa: S102
    assert isinstance(defined["model"], pm.Model)
    return defined


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_printed_program_is_our_explicit_model(case, tmp_path, monkeypatch):
    from workbench.sampling.explicit import build_model

    table, formula, arguments, priors = CASES[case]
    comparison, code = printed(table, formula, arguments, priors, tmp_path, monkeypatch)
    design = comparison.design
    theirs = run(code)["model"]
    ours = build_model(design, resolve_priors(design, priors))
    names = {variable.name: variable for variable in ours.value_vars}
    assert set(names) == {variable.name for variable in theirs.value_vars}
    assert ("build_design" in code) == (case == "polynomials")
    digits = 1e-7 if "probit" in case else 1e-9  # PyMC's invprobit takes the square root of two in single precision
    logp = [model.compile_logp(mode="FAST_COMPILE") for model in (ours, theirs)]
    levels = {dim: list(map(str, values)) for dim, values in theirs.coords.items()}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        start = ours.initial_point()
        point = {name: np.asarray(rng.normal(0, 0.5, np.shape(start[name]))) for name in names}
        other = dict(point)
        for block, name in zip(design.blocks, blocks(design), strict=True):
            order = [list(block.levels).index(level) for level in levels[block.group]]
            other[f"z_{name}"] = point[f"z_{name}"][:, order]
        assert float(logp[1](other)) == pytest.approx(float(logp[0](point)), rel=digits)


def blocks(design):
    from workbench.sampling.names import block_names

    return block_names(design)


@pytest.mark.slow
def test_a_short_run_of_the_printed_program_ends_where_ours_does(tmp_path, monkeypatch):
    table = pd.read_csv(DATA / "datasets/Dyestuff.csv")
    _, code = printed(table, "Yield ~ 1 + (1 | Batch)", {}, {}, tmp_path, monkeypatch)
    draws = run(code, 500)["draws"]["posterior"]
    exact = wb.fit("Yield ~ 1 + (1 | Batch)", table, "exact")
    found = draws["effect_Batch"]
    effects = exact.group_effects[0].effect
    error = effects.std_error[:, 0] / np.sqrt(200)  # an effective sample of a fifth of the 1,000 draws
    assert [str(level) for level in found["Batch"].values] == list(exact.group_effects[0].levels)
    gap = np.abs(found.mean(("chain", "draw")).values - effects.estimate[:, 0])
    assert (gap < 4 * error).all()


def test_priors_of_full_bayes_are_printed_with_their_digits():
    from posterior_like import with_posterior

    twelve = with_posterior(wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ["reml"]))
    fit = twelve.fits["hierarchical"]
    assert fit.priors == {"sigma": "HalfStudentT(3, 5.12)"}
    whole = {"(Intercept)": "Normal(0.25, 12.8)", "sd(group, (Intercept))": "Uniform(0, 7)"} | dict(fit.priors)
    from dataclasses import replace

    code = pymc_code(
        wb.comparison.Comparison({"hierarchical": replace(fit, priors=whole)}), Context(study={"data": "data.csv"})
    )
    assert 'pm.Normal("b[(Intercept)]", mu=0.25, sigma=12.8)' in code
    assert 'pm.Uniform("sd_group[(Intercept)]", lower=0.0, upper=7.0)' in code
    assert 'pm.HalfStudentT("sigma", nu=3.0, sigma=5.12)' in code


def test_there_is_no_program_for_what_has_no_such_model():
    table = made_up()
    table["z"] = table["z"] + 1
    fit = wb.fit("z ~ x + (1 | g)", table, "fixed_prior", family="gamma", options={"mean": 0.0, "sd": 1.0})
    assert pymc_code(wb.comparison.Comparison({"fixed_prior": fit}), Context()) == ""
    half = wb.compare("hit ~ x + (1 | g)", table.assign(w=1.5), ["laplace"], family="binomial", weights="w")
    assert pymc_code(half, Context(study={"weights": "w"})) == ""


def test_hostile_names_and_labels_stay_text(tmp_path, monkeypatch):
    table = made_up().rename(columns={"x": 'a"]; import os #', "g": "my group"})
    table["my group"] = [f'"{label}\\' for label in table["my group"]]
    formula = 'y ~ `a"]; import os #` + (1 | `my group`)'
    comparison = wb.compare(formula, table, ["reml"])
    code = pymc_code(comparison, Context(study={"data": 'da"ta.csv'}))
    import ast

    tree = ast.parse(code)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"numpy", "pandas", "pymc"}
    assert os.name not in imported

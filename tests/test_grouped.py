"""The EM on grouping factors. Oracle: the EM on the same columns written out, which has R's figures behind it."""

from dataclasses import replace

import numpy as np
import pytest

from workbench.bayesglm.em import approximate_em
from workbench.bayesglm.grouped import Grouped, GroupPrior, RestPrior, prior_scales
from workbench.bayesglm.plain import CoefficientPriors, posterior_mode
from workbench.design import build_design
from workbench.families import family_of
from workbench.plug_in import held

ONE = "y ~ x + z + (x | g)"
CROSSED = "y ~ x + z + (x | g) + (1 | h)"
SPLIT = "y ~ z + (x || g) + (1 | h) + (1 | g:h)"
UNPAIRED = "y ~ 1 + x + z + (0 + x | g) + (0 + z || h)"


def regression(formula, family, weighted, seed, n=120, levels=(7, 5)):
    """A design of effects alone (what varies is held at zero), and its response and weights."""
    rng = np.random.default_rng(seed)
    g, h = (rng.integers(0, J, n) for J in levels)
    x, z = rng.normal(2, 1, n), rng.normal(size=n)
    mean = family.inverse(0.3 + 0.2 * x + rng.normal(0, 0.5, levels[0])[g] + rng.normal(0, 0.4, levels[1])[h])
    w = rng.integers(1, 6, n).astype(float) if weighted else np.ones(n)
    draws = {
        "binomial": lambda: rng.binomial(w.astype(int), mean) / w,
        "poisson": lambda: rng.poisson(mean),
        "quasipoisson": lambda: rng.poisson(mean),
        "gamma": lambda: rng.gamma(3, mean / 3),
        "gaussian": lambda: mean + rng.normal(size=n),
    }
    y = np.asarray(draws[family.name](), dtype=float)
    table = {"y": rng.normal(size=n), "g": g, "h": h, "x": x, "z": z}
    design = build_design(formula, table)
    zeros = [np.zeros(len(block.terms)) for block in design.blocks]
    return held(design, zeros), y, w, rng.normal(0, 0.1, n)


def priors(design, kind, rng):
    found = {}
    for group, J in design.groups.items():
        q = sum(len(block.terms) for block in design.blocks if block.group == group)
        if kind == "joint":
            L = 0.5 * np.tril(rng.normal(size=(q, q)))
            found[group] = GroupPrior(covariance=L @ L.T)
        else:
            found[group] = GroupPrior(scale=rng.uniform(0.3, 1, (J, q)), df=kind)
    r = design.X.shape[1]
    some = np.arange(r) % 2 == 0  # every other column that does not vary has a prior
    df = np.inf if kind == "joint" else 3.0
    return found, RestPrior(rng.normal(size=r), np.where(some, 1.3, np.inf), np.full(r, df))


def written_out(design, found, rest):
    """The columns of all effects and of R, and their priors one by one."""
    columns, scale, df, joint, at = [], [], [], [], 0
    for group, J in design.groups.items():
        own = [block for block in design.blocks if block.group == group]
        Z, prior = np.hstack([block.Z for block in own]), found[group]
        q = Z.shape[1]
        columns += [(own[0].codes == j)[:, None] * Z for j in range(J)]
        if prior.scale is None:
            joint += [(np.arange(at + j * q, at + (j + 1) * q), prior.covariance) for j in range(J)]
        scale.append(np.ones(J * q) if prior.scale is None else prior.scale.ravel())
        df.append(np.full(J * q, prior.df))
        at += J * q
    scale, df = np.concatenate([*scale, rest.scale]), np.concatenate([*df, rest.df])
    mean = np.concatenate([np.zeros(at), rest.mean])
    return np.hstack([*columns, design.X]), CoefficientPriors(mean, scale, df, scale, joint=tuple(joint))


@pytest.mark.parametrize(
    ("formula", "family", "kind", "weighted", "dispersion"),
    [
        (ONE, "gaussian", "joint", False, None),
        (ONE, "gaussian", 4.0, True, None),
        (ONE, "gamma:log", np.inf, False, None),
        (CROSSED, "gaussian", "joint", True, None),
        (CROSSED, "gaussian", np.inf, True, 0.7),
        (CROSSED, "gaussian", 1.0, False, None),
        (CROSSED, "binomial:probit", "joint", True, None),
        (CROSSED, "binomial:logit", 4.0, True, None),
        (CROSSED, "gamma:log", "joint", False, None),
        (CROSSED, "quasipoisson:log", 4.0, True, None),
        (SPLIT, "gaussian", "joint", True, None),
        (SPLIT, "poisson:log", 4.0, False, None),
        (UNPAIRED, "gaussian", 4.0, True, None),
        (UNPAIRED, "binomial:cloglog", "joint", True, None),
    ],
)
def test_the_columns_written_out_give_the_same(formula, family, kind, weighted, dispersion):
    chosen = family_of(*family.split(":"))
    design, y, w, offset = regression(formula, chosen, weighted, seed=3)
    found, rest = priors(design, kind, np.random.default_rng(5))
    columns = Grouped(design, found, rest)
    end = approximate_em(columns, y, chosen, w, offset, columns.first(), dispersion, 1e-14, 5000)
    X, plain = written_out(design, found, rest)
    mode = posterior_mode(y, X, chosen, plain, w, offset, dispersion, 1e-14, 5000)
    np.testing.assert_allclose(end.a, mode.coefficients, atol=1e-11 * np.abs(mode.coefficients).max())
    assert end.phi == pytest.approx(mode.dispersion, rel=1e-11)
    variances = [np.einsum("jaa->ja", end.solved.covariances()[group]).ravel() for group in design.groups]
    np.testing.assert_allclose(
        np.concatenate([*variances, np.diag(end.solved.b_cov)]), np.diag(mode.unscaled), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("kind", "weighted"),
    [
        ("joint", True),
        pytest.param("joint", False, marks=pytest.mark.slow),
        pytest.param(4.0, True, marks=pytest.mark.slow),
    ],
)
def test_cells_that_are_kept_sparse_give_the_same(kind, weighted):
    chosen = family_of("gaussian")
    design, y, w, offset = regression(CROSSED, chosen, weighted, seed=6, n=900, levels=(150, 90))
    found, rest = priors(design, kind, np.random.default_rng(5))
    columns = Grouped(design, found, rest)
    weighed = columns.weigh(w, y - offset)
    assert not isinstance(weighed.moments.rest.Z1tR, np.ndarray)
    end = approximate_em(columns, y, chosen, w, offset, columns.first(), None, 1e-14, 5000)
    X, plain = written_out(design, found, rest)
    mode = posterior_mode(y, X, chosen, plain, w, offset, None, 1e-14, 5000)
    np.testing.assert_allclose(end.a, mode.coefficients, atol=1e-11 * np.abs(mode.coefficients).max())
    assert end.phi == pytest.approx(mode.dispersion, rel=1e-11)


def test_residual_squares_keep_their_digits_where_little_is_left():
    # a prior mean of zero for groups at a million: the squares of the response are 10^12 times those of the residual
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(8), 10)
    y = 1e6 + rng.normal(size=8)[g] + rng.normal(size=80)
    design = held(build_design("y ~ 1 + (1 | g)", {"y": y, "g": g}), [np.zeros(1)])
    columns = Grouped(design, {"g": GroupPrior(covariance=np.array([[1e13]]))}, RestPrior.flat(0))
    weighed = columns.weigh(np.ones(80), y)
    solved = columns.solve(weighed, columns.first(), 1.0)
    means = np.array([y[g == j].mean() for j in range(8)])
    assert columns.squares(weighed, solved) == pytest.approx(np.sum((y - means[g]) ** 2), rel=1e-8)


def test_scales_are_divided_as_bayesglm_divides_those_of_the_columns_written_out():
    from workbench.bayesglm.scales import PriorArguments, coefficient_priors

    rng = np.random.default_rng(4)
    g, few = np.repeat(np.arange(4), 6), np.tile([0.0, 0, 0, 2, 2, 2], 4)  # `few` has two values in every level
    table = {"y": rng.normal(size=24), "g": g, "x": rng.normal(3, 1, 24), "few": few}
    design = build_design("y ~ x + few + (x + few | g)", table)
    for family in ("gaussian", "poisson"):
        chosen = replace(design, family=family)
        scales = prior_scales(chosen, "g", np.array([1.0, 2.0, 3.0]), scaled=True)
        Z = design.blocks[0].Z
        X = np.hstack([(g == j)[:, None] * Z for j in range(4)])
        names = [f"c{k}" for k in range(12)]
        arguments = PriorArguments(scale=np.tile([1.0, 2.0, 3.0], 4))
        expected, _ = coefficient_priors(arguments, design.y, X, names, None, family_of(family))
        np.testing.assert_allclose(scales.ravel(), expected.scale, rtol=1e-13)

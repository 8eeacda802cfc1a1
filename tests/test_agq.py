"""`agq`. Rungs: closed form, slow oracle by scipy's quadrature, differences, R's figures."""

import json

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators.agq import Options, agq
from workbench.estimators.laplace import laplace
from workbench.glmm.laplace import determinant
from workbench.glmm.pirls import conditional_mode
from workbench.glmm.quadrature import node_sums, quadrature, quadrature_gradient
from workbench.glmm.rows import Rows
from workbench.glmm.working import Working

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
LINKS = [("binomial", "logit"), ("binomial", "probit"), ("binomial", "cloglog"), ("poisson", "log")]


def cbpp():
    import pandas as pd

    return pd.read_csv(DATA / "datasets" / "cbpp.csv", dtype={"herd": str, "period": str})


def design_for(family, link, terms="x + (1 | g)"):
    rng = np.random.default_rng(5)
    n = 60
    g, x = np.arange(n) % 6, rng.normal(1, 1, n)
    eta = -0.5 + 0.4 * x + rng.normal(size=6)[g]
    s = rng.binomial(4, 1 / (1 + np.exp(-eta)))
    table = {"s": s, "f": 4 - s, "c": rng.poisson(np.exp(eta)), "x": x, "g": [f"g{i}" for i in g]}
    return build_design(f"{'c' if family == 'poisson' else 'cbind(s, f)'} ~ {terms}", table, family, link)


def exact(design, b, sd):
    """-2 log likelihood, level by level by scipy's adaptive quadrature."""
    from scipy.integrate import quad
    from scipy.special import expit, ndtr
    from scipy.stats import binom, norm, poisson

    inverse = {"logit": expit, "probit": ndtr, "cloglog": lambda e: -np.expm1(-np.exp(e)), "log": np.exp}[design.link]
    fixed, block, total = design.X @ b + design.offset, design.blocks[0], 0.0
    for j in range(len(block.levels)):
        rows = block.codes == j

        def log_joint(u, rows=rows):
            mean = inverse(fixed[rows] + block.Z[rows, 0] * u)
            if design.family == "poisson":
                each = poisson.logpmf(design.y[rows], mean)
            else:
                trials = design.weights[rows]
                each = binom.logpmf(np.rint(design.y[rows] * trials), trials, mean)
            return each.sum() + norm.logpdf(u, 0, sd)

        grid = np.linspace(-6 * sd, 6 * sd, 241)
        top = max(log_joint(u) for u in grid)
        mode = grid[np.argmax([log_joint(u) for u in grid])]
        value = quad(
            lambda u, top=top, f=log_joint: np.exp(f(u) - top),
            -12 * sd,
            12 * sd,
            points=[mode],
            epsrel=1e-12,
            limit=200,
        )
        total += np.log(value[0]) + top
    return -2 * total


@pytest.mark.parametrize(("family", "link"), LINKS)
@pytest.mark.parametrize("terms", ["x + (1 | g)", "x + (0 + x | g)"])
def test_the_criterion_is_the_integral(family, link, terms):
    design = design_for(family, link, terms)
    fit = agq(design, options=Options(nodes=40))
    assert fit.criterion == pytest.approx(exact(design, fit.population.estimate, fit.components[0].sd[0]), abs=1e-7)
    assert fit.converged


@pytest.mark.parametrize(("family", "link"), LINKS)
@pytest.mark.parametrize("nodes", [1, 2, 5, 24])
@pytest.mark.parametrize("expected", [True, False])
def test_the_gradient_is_that_of_the_sum_however_few_its_nodes(family, link, nodes, expected):
    rows = Rows.of(design_for(family, link))
    working, shape = Working(rows), rows.theta

    def parts(both):
        mode = conditional_mode(working, shape.at(both[:1]).factors, both[1:])
        det = determinant(working, mode, expected)
        return mode, det, node_sums(working, mode, det, nodes)

    def value(both):
        mode, _, sums = parts(both)
        return quadrature(working, mode, sums)

    at = np.array([0.8, 0.3, -0.2])
    by_Lambda, by_b = quadrature_gradient(working, *parts(at))
    for k, found in enumerate([by_Lambda[0, 0], *by_b]):
        step = 1e-4 * np.eye(3)[k]
        difference = (8 * (value(at + step) - value(at - step)) - value(at + 2 * step) + value(at - 2 * step)) / 12e-4
        assert found == pytest.approx(difference, abs=1e-7 * (1 + abs(difference)))


def test_one_node_is_laplace():
    design = design_for("binomial", "probit")
    one, other = agq(design, options=Options(nodes=1)), laplace(design)
    assert one.criterion == other.criterion
    assert one.population.estimate == pytest.approx(other.population.estimate, rel=1e-12)


def test_more_nodes_come_closer():
    design = design_for("binomial", "logit")
    last = agq(design, options=Options(nodes=100)).criterion
    off = [abs(agq(design, options=Options(nodes=nodes)).criterion - last) for nodes in (1, 3, 7, 15)]
    assert off[0] > 10 * off[1] > 100 * off[2] > 1000 * off[3]


def test_many_rows_are_summed_in_pieces(monkeypatch):
    import workbench.glmm.quadrature as room

    design = design_for("binomial", "logit")
    whole = agq(design).criterion
    monkeypatch.setattr(room, "AT_ONCE", 100)
    assert agq(design).criterion == pytest.approx(whole, abs=1e-10)


# --- R's figures --------------------------------------------------------------------------------------


def test_r_figures_at_its_polished_optimum():
    # lme4 1.1-31, glmer(nAGQ = 25) with Newton steps; its criterion leaves out a constant of the data, recorded there
    r = json.loads((DATA / "glmer" / "cbpp--period.json").read_text())["AGQ25"]
    fit = wb.fit(CBPP, cbpp(), "agq", family="binomial")
    assert fit.criterion == pytest.approx(r["criterion"] + r["minus2_exact_logLik_minus_criterion"], abs=1e-8)
    assert fit.log_likelihood == pytest.approx(r["logLik_exact_quadrature_at_this_fit"], abs=1e-8)
    assert fit.population.estimate == pytest.approx(list(r["fixef"].values()), rel=1e-8)
    assert fit.population.std_error == pytest.approx(list(r["se_hessian"].values()), rel=1e-6)
    assert fit.components[0].sd[0] == pytest.approx(r["VarCorr"]["herd"]["sd"]["(Intercept)"], rel=1e-8)
    order = [r["ranef"]["herd"]["levels"].index(level) for level in fit.group_effects[0].levels]
    modes, spread = np.array(r["ranef"]["herd"]["values"]), np.array(r["condVar"]["herd"][0]["array"])[:, 0]
    assert fit.group_effects[0].effect.estimate == pytest.approx(modes[order], abs=1e-8)
    assert fit.group_effects[0].effect.std_error == pytest.approx(np.sqrt(spread[order]), rel=1e-8)


@pytest.mark.parametrize(
    ("nodes", "fixed", "sd", "value"),
    [
        # sleepstudy$slow <- as.integer(sleepstudy$Reaction > 300)
        # ctl <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(maxfun = 1e5, rhoend = 1e-10))
        # glmer(slow ~ Days + (1 | Subject), sleepstudy, binomial, nAGQ = 25, control = ctl)
        (25, [-3.195801450, 0.584921368], 1.7596971, 173.980844145),
        (3, [-3.190987973, 0.584489113], 1.7454429, 174.062973906),  # nAGQ = 3
    ],
)
def test_r_figures_of_a_binary_response(nodes, fixed, sd, value):
    # of 0/1 lme4's criterion is the whole one; bobyqa's end is good to about 1e-5
    import pandas as pd

    table = pd.read_csv(DATA / "datasets" / "sleepstudy.csv", dtype={"Subject": str})
    table = table.assign(slow=(table["Reaction"] > 300).astype(int))
    fit = wb.fit("slow ~ Days + (1 | Subject)", table, "agq", family="binomial", options={"nodes": nodes})
    assert fit.criterion == pytest.approx(value, abs=1e-5)
    assert fit.population.estimate == pytest.approx(fixed, rel=1e-4)
    assert fit.components[0].sd[0] == pytest.approx(sd, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "nodes", "formula", "fixed", "sd"),
    [
        # glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial("probit"), nAGQ = 10)
        ({"family": "binomial", "link": "probit"}, 10, CBPP,
            [-0.832014439, -0.526279032, -0.614781213, -0.797531752], 0.33964813),
        # glmer(incidence ~ period + offset(log(size)) + (1 | herd), cbpp, poisson, nAGQ = 9)
        ({"family": "poisson"}, 9, "incidence ~ period + offset(log(size)) + (1 | herd)",
            [-1.649002571, -0.843181883, -0.965402554, -1.389999010], 0.49473075),
    ],
)  # fmt: skip
def test_r_figures_of_other_links(more, nodes, formula, fixed, sd):
    fit = wb.fit(formula, cbpp(), "agq", options={"nodes": nodes}, **more)
    assert fit.population.estimate == pytest.approx(fixed, rel=1e-4)
    assert fit.components[0].sd[0] == pytest.approx(sd, rel=1e-4)


def test_what_it_refuses():
    for nodes in (0, 101, 2.5, True, "7"):
        with pytest.raises(OptionError, match="whole number from 1 to 100"):
            Options(nodes=nodes)
    with pytest.raises(DesignError, match=r"one varying term.*\(\(Intercept\) \+ x \| g\).*Use laplace"):
        agq(design_for("binomial", "logit", "x + (x | g)"))

"""Responses of other families than gaussian, and what designs make of them. Rungs: R's figures, invariance, refusals.

R's figures are of `glm` (R 4.2.2), whose ``$y`` and ``$prior.weights`` are how lme4 takes a response, too.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.comparison import Comparison
from workbench.data import read
from workbench.design import build_design
from workbench.errors import WorkbenchError
from workbench.estimates import Component, Estimates, wald_effects
from workbench.estimators import REGISTRY, Estimator, Settings
from workbench.estimators.reml_textbook import reml_textbook
from workbench.families import GROUPED_LINKS, family_of
from workbench.fit import Fit
from workbench.formula import parse
from workbench.report.context import Context
from workbench.report.equations import as_text, equations
from workbench.report.own_code import command, python_code
from workbench.report.r_code import r_code
from workbench.response import read_response

pytestmark = pytest.mark.usefixtures("one_picture")

# d <- data.frame(s = c(2, 0, 5, 1, 0, 3), f = c(2, 3, 0, 8, 0, 1), w = c(1, 2, 1, 0.5, 1, 0), e = c(1, 2, 1, 2, 1, 1),
#   fate = factor(c("lived", "died", "died", "lived", "died", "lived")), k = c(3, 0, 2, 7, 1, 1),
#   t = c(0.5, 2, 1.5, 4, 0.25, 1), z = factor(c("b", "a", "c", "b", "c", "a")))
# d$n <- d$s + d$f; d$share <- ifelse(d$n > 0, d$s / d$n, 0); d$up <- d$fate == "lived"
TABLE = {
    "s": [2, 0, 5, 1, 0, 3],
    "f": [2, 3, 0, 8, 0, 1],
    "w": [1, 2, 1, 0.5, 1, 0],
    "e": [1, 2, 1, 2, 1, 1],
    "n": [4, 3, 5, 9, 0, 4],
    "share": [2 / 4, 0, 5 / 5, 1 / 9, 0, 3 / 4],
    "fate": ["lived", "died", "died", "lived", "died", "lived"],
    "up": [True, False, False, True, False, True],
    "k": [3, 0, 2, 7, 1, 1],
    "t": [0.5, 2, 1.5, 4, 0.25, 1],
    "z": list("bacbca"),
    "tenth": [0.3, 0.0, 0.2, 0.7, 0.1, 0.1],
    "g": list("ababab"),
    "row": list("uvwxyz"),
    "none": [0] * 6,
    "yes": ["yes"] * 6,
}
SHARES = [0.5, 0, 1, 1 / 9, 0, 0.75]

# m <- glm(RESPONSE ~ 1, FAMILY, d, weights =, offset =, control = glm.control(epsilon = 1e-14, maxit = 100))
# m$y; m$prior.weights; coef(m); deviance(m)
FIGURES = [
    ("cbind(s, f)", "binomial", "logit", {}, SHARES, [4, 3, 5, 9, 0, 4], -0.2411620568168881, 17.97365368601404),
    (
        "cbind(s, f)", "binomial", "logit", {"weights": "w"}, SHARES, [4, 6, 5, 4.5, 0, 0],
        -0.4700036292457354, 17.30019294710552,
    ),
    (
        "share", "binomial", "probit", {"weights": "n"}, SHARES, [4, 3, 5, 9, 0, 4],
        -0.1509692154967772, 17.97365368601404,
    ),
    (
        "fate", "binomial", "cloglog", {"weights": "e"}, [1, 0, 0, 1, 0, 1], [1, 2, 1, 2, 1, 1],
        -0.3665129205816645, 11.09035488895913,
    ),
    ("up", "binomial", "logit", {}, [1, 0, 0, 1, 0, 1], [1] * 6, 0.0, 8.317766166719343),
    ("z", "binomial", "logit", {}, [1, 0, 1, 1, 1, 0], [1] * 6, 0.6931471805599453, 7.638170019537753),
    (
        "k", "poisson", "log", {"weights": "e"}, [3, 0, 2, 7, 1, 1], [1, 2, 1, 2, 1, 1],
        0.9650808960435875, 23.31634899396655,
    ),
    ("k", "poisson", "log", {"offset": "t"}, [3, 0, 2, 7, 1, 1], [1] * 6, -1.639273011013528, 15.00664884940163),
    (
        "t", "gamma", "inverse", {"weights": "e"}, [0.5, 2, 1.5, 4, 0.25, 1], [1, 2, 1, 2, 1, 1],
        0.5245901639344259, 5.352394082401356,
    ),
    (
        "t", "gamma", "log", {"offset": "tenth"}, [0.5, 2, 1.5, 4, 0.25, 1], [1] * 6,
        0.112717371657827, 3.341678243677595,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "family", "link", "options", "y", "weights", "coefficient", "deviance"),
    FIGURES,
    ids=[f"{c[0]}-{c[1]}-{c[2]}-{'-'.join(c[3])}" for c in FIGURES],
)
def test_designs_hold_the_response_as_r_does(response, family, link, options, y, weights, coefficient, deviance):
    design = build_design(f"{response} ~ 1 + (1 | g)", TABLE, family, link, **options)
    used = np.array(weights) > 0  # R keeps rows without weight; a design leaves them out
    np.testing.assert_allclose(design.y, np.array(y)[used], rtol=1e-15)
    np.testing.assert_allclose(design.weights, np.array(weights)[used], rtol=1e-15)
    assert design.rows.dropped == (~used).sum()
    mean = design.mean(coefficient + design.offset)
    # R ends where the deviance is flat to 1e-14, so that its digits all count
    assert family_of(family, link).deviance(design.y, mean, design.weights) == pytest.approx(deviance, rel=1e-13)
    slope = family_of(family, link).slope(coefficient + design.offset) / family_of(family, link).variance(mean)
    assert abs(np.sum(design.weights * (design.y - mean) * slope)) < 1e-6 * np.sum(design.weights)


@pytest.mark.parametrize("response", ["cbind(s, f)", "fate"])
def test_bayesglm_and_designs_read_one_response(response):
    fit = wb.bayesglm(f"{response} ~ k", TABLE, "binomial", weights="w")
    design = build_design(f"{response} ~ k + (1 | g)", TABLE, "binomial", weights="w")
    used = fit.regression.weights > 0
    np.testing.assert_array_equal(fit.regression.y[used], design.y)
    np.testing.assert_array_equal(fit.regression.weights[used], design.weights)
    np.testing.assert_array_equal(fit.regression.X[used], design.X)


counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from("abc")), min_size=4, max_size=12)


@given(counts)
def test_counts_shares_and_single_trials_say_the_same(rows):
    s, f, g = (np.array(column) for column in zip(*rows, strict=True))
    n, place = s + f, np.arange(len(rows))
    if len(set(g[n > 0])) < 2:
        return
    x = np.sqrt(place)
    share = np.divide(s, n, out=np.full(len(n), 0.5), where=n > 0)
    singles = np.repeat(place, n)
    first = np.concatenate([np.arange(k) for k in n])
    designs = (
        build_design("cbind(s, f) ~ x + (1 | g)", {"s": s, "f": f, "x": x, "g": g}, "binomial"),
        build_design("share ~ x + (1 | g)", {"share": share, "n": n, "x": x, "g": g}, "binomial", weights="n"),
        build_design("y ~ x + (1 | g)", {"y": first < s[singles], "x": x[singles], "g": g[singles]}, "binomial"),
    )
    found = []
    for d in designs:
        mean = d.mean(d.X @ ([0.3, -0.2][: d.X.shape[1]]))
        codes = d.blocks[0].codes
        score = d.X.T @ (d.weights * (d.y - mean))
        found.append((d.blocks[0].levels, score, np.bincount(codes, d.weights * d.y), np.bincount(codes, d.weights)))
    for other in found[1:]:
        assert other[0] == found[0][0]
        for ours, theirs in zip(found[0][1:], other[1:], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * n.sum())
    np.testing.assert_array_equal(designs[0].trials, n[n > 0])
    np.testing.assert_allclose(designs[0].prior_weights, 1, rtol=1e-15)


def test_the_first_of_several_labels_is_failure_and_that_is_said():
    design = build_design("z ~ 1 + (1 | g)", TABLE, "binomial")
    assert design.outcomes == ("a", "b", "c")
    assert design.notes == ("Of the labels of z, 'a' counts as failure and all the others as success: 'b', 'c'.",)
    kept = TABLE | {"fate": pd.Categorical(TABLE["fate"], ["lived", "died"])}
    np.testing.assert_array_equal(build_design("fate ~ 1 + (1 | g)", kept, "binomial").y, [0, 1, 1, 0, 1, 0])


def test_the_failure_is_the_first_label_of_all_rows_those_without_weight_included():
    # as in R, where rows of weight zero stay in: glm(fate ~ 1, binomial, d, weights = fate == "lived")$y
    weights = np.array(TABLE["fate"]) == "lived"
    design = build_design("fate ~ 1 + (1 | g)", TABLE, "binomial", weights=weights)
    np.testing.assert_array_equal(design.y, [1, 1, 1])
    assert design.outcomes == ("died", "lived")


# --- remarks: R's warnings --------------------------------------------------------------------------------

# d <- data.frame(s = c(0.3, 1, 2), n = c(2, 2, 5), y = c(0.3, 0.5, 1), k = c(1, 2.5, 3))
# glm(cbind(s, n - s) ~ 1, binomial, d)               non-integer counts in a binomial glm!
# glm(y ~ 1, binomial, d, weights = n)                non-integer #successes in a binomial glm!
# glm(y ~ 1, binomial, d)                             non-integer #successes in a binomial glm!
# glm(k ~ 1, poisson, d)                              non-integer x = 2.500000
# glm(y ~ 1, quasibinomial, d, weights = n)           (no warning)
BROKEN = {"s": [0.3, 1, 2], "n": [2, 2, 5], "y": [0.3, 0.5, 1], "k": [1, 2.5, 3], "g": list("aab")}


@pytest.mark.parametrize(
    ("response", "family", "weights", "said"),
    [
        ("cbind(s, n - s)", "binomial", None, "counts that are not whole in 1 of 3 rows (the first is 0.3, in"),
        ("y", "binomial", "n", "y times its weight is not a whole number of successes in 1 of 3 rows (the"),
        ("y", "binomial", None, "2 of 3 rows (the first is 0.3, in data row 1); taken as it stands. If it"),
        ("k", "poisson", None, "The counts k are not whole in 1 of 3 rows (the first is 2.5, in data row 2)"),
    ],
)  # fmt: skip
def test_counts_that_are_not_whole_are_remarked(response, family, weights, said):
    (note,) = build_design(f"{response} ~ 1 + (1 | g)", BROKEN, family, weights=weights).notes
    assert said in note
    assert note in wb.bayesglm(f"{response} ~ 1", BROKEN, family, weights=weights).warnings


def test_only_families_of_counts_look_for_whole_ones():
    assert not wb.bayesglm("y ~ 1", BROKEN, "quasibinomial", weights="n").warnings
    rounded = {"y": [0.333, 0.5], "n": [3, 2], "g": ["a", "b"]}  # 0.999 successes: R's tolerance is 0.001
    assert not build_design("y ~ 1 + (1 | g)", rounded, "binomial", weights="n").notes


@pytest.mark.parametrize(
    ("response", "family", "said"),
    [
        ("none", "binomial", "Every trial of none is a failure (6 rows)"),
        ("cbind(k, none)", "binomial", "Every trial of cbind(k, none) is a success (5 rows)"),
        ("none", "poisson", "Every count of none is zero (6 rows)"),
        ("yes", "binomial", "Every trial of yes is a failure (6 rows)"),  # its only label is its first, as in R
    ],
)
def test_responses_at_the_end_of_their_range_are_remarked(response, family, said):
    assert build_design(f"{response} ~ 1 + (1 | g)", TABLE, family).notes[-1].startswith(said)


def test_groups_of_one_row_tell_a_spread_where_no_dispersion_is_estimated():
    assert build_design("cbind(s, f) ~ 1 + (1 | row)", TABLE, "binomial").groups == {"row": 5}  # one has no trials
    assert build_design("k ~ t + (t | row)", TABLE, "poisson").groups == {"row": 6}


def test_rows_without_weight_and_without_trials_are_counted():
    design = build_design("cbind(s, f) ~ 1 + (1 | g)", TABLE, "binomial", weights="w")
    assert design.rows.sentence() == "6 rows read, 2 dropped (weight zero: 1; no trials: 1), 4 kept"
    np.testing.assert_allclose(design.prior_weights, [1, 2, 1, 0.5], rtol=1e-15)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "family", "options", "said"),
    [
        ("cbind(s, f) ~ 1 + (1 | g)", "poisson", {}, "counts successes and failures: use family='binomial'"),
        ("cbind(s, f - 2) ~ 1 + (1 | g)", "binomial", {}, "negative failures (the least is -2)"),
        ("cbind(s, g) ~ 1 + (1 | g)", "binomial", {}, "g holds labels ('a', ...), but a number is needed here"),
        ("cbind(none, none) ~ 1 + (1 | g)", "binomial", {}, "Every number of trials is zero"),
        ("k ~ 1 + (1 | g)", "binomial", {}, "but k is 3 in 3 of 6 rows (the first value). Mend it, write cbind("),
        ("I(k - 1) ~ 1 + (1 | g)", "poisson", {}, "must be 0 or more, but I(k - 1) is -1"),
        ("k ~ 1 + (1 | g)", "gamma", {}, "must be positive, but k is 0"),
        ("I(none + 2) ~ 1 + (1 | g)", "gamma", {}, "is constant (2 in all 6 rows)"),
        ("fate ~ 1 + (1 | g)", "poisson", {}, "holds labels (the first value is 'lived'), but a poisson response"),
        ("t ~ 1 + (1 | row)", "gamma", {}, "cannot be told apart. Group more coarsely"),
        ("t ~ 1 + (1 | g)", "gamma", {"se": "e"}, "se gives the known standard errors of a gaussian response"),
        ("k ~ 1 + (1 | g)", "poisson", {"link": "sqrt"}, "no link 'sqrt' here. There are: log."),
        ("k ~ 1 + (1 | g)", "quasipoisson", {}, "There is no family 'quasipoisson'. Did you mean 'poisson'?"),
    ],
)  # fmt: skip
def test_responses_that_a_family_cannot_have_are_refused(formula, family, options, said):
    with pytest.raises(WorkbenchError) as caught:
        build_design(formula, TABLE, family, **options)
    assert said in str(caught.value)


def test_the_first_value_outside_is_named():
    formula = parse("k ~ 1")
    with pytest.raises(WorkbenchError, match="k is 3 in 3 of 6 rows"):
        read_response(formula, read(TABLE, formula.variables), family_of("quasibinomial"))


# --- what follows of a design ---------------------------------------------------------------------------------


def made_fit(design):
    """A fit of any family with numbers that are easy to follow: what an estimator of groups would give back."""
    (block,) = design.blocks
    J, q = len(block.levels), len(block.terms)
    u = np.linspace(-0.5, 0.5, J * q).reshape(J, q)
    b = np.linspace(0.2, 0.4, len(design.fixed_terms))
    kind = ("posterior mode", "curvature SD", "posterior mode", "curvature SD")
    return Fit(
        estimator="fixed_prior",
        design=design,
        population=Estimates.wald(b, np.full(len(b), 0.1), 0.95, "posterior mode", "curvature SD"),
        fixed_cov=np.eye(len(b)) / 100,
        components=(Component(block.group, block.terms, 0.25 * np.eye(q)),),
        group_effects=wald_effects(design.blocks, (u, 0 * u + 0.2), (u + b[0], 0 * u + 0.2), 0.95, kind),
        sigma=1.0,
        warnings=design.notes,
    )


def test_fitted_values_are_means_on_the_scale_of_the_response():
    design = build_design("cbind(s, f) ~ k + (1 | g)", TABLE, "binomial", offset="t")
    predictor = 0.2 + 0.4 * np.array([3, 0, 2, 7, 1]) + [0.5, 2, 1.5, 4, 1] + np.array([-0.5, 0.5, -0.5, 0.5, 0.5])
    fit = made_fit(design)
    np.testing.assert_allclose(fit.fitted, 1 / (1 + np.exp(-predictor)), rtol=1e-14)
    np.testing.assert_allclose(fit.residuals, np.array(SHARES)[[0, 1, 2, 3, 5]] - fit.fitted, rtol=1e-14)
    gamma = made_fit(build_design("t ~ 1 + (1 | g)", TABLE, "gamma"))
    np.testing.assert_allclose(gamma.fitted, 1 / (0.2 + np.tile([-0.5, 0.5], 3)), rtol=1e-14)


def test_only_families_with_a_dispersion_have_a_residual():
    groups = {
        family: made_fit(build_design(f"{y} ~ 1 + (1 | g)", TABLE, family)).variance["group"].tolist()
        for y, family in (("k", "gaussian"), ("up", "binomial"), ("k", "poisson"), ("t", "gamma"))
    }  # as lme4's as.data.frame(VarCorr(glmer(...)))
    assert groups == {
        "gaussian": ["g", "Residual"], "binomial": ["g"], "poisson": ["g"], "gamma": ["g", "Residual"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "follows",
    [
        lambda fit: wb.profile(replace(fit, estimator="reml")),
        lambda fit: wb.bootstrap(replace(fit, estimator="ml"), draws=2),
        lambda fit: wb.likelihood_ratio(replace(fit, estimator="ml"), replace(fit, estimator="ml")),
        *(
            lambda fit, name=name: REGISTRY[name].function()(fit.design, Settings(), REGISTRY[name].option_type(), {})
            for name in ("reml", "ml")
        ),
        lambda fit: reml_textbook(fit.design),
    ],
)
def test_what_is_worked_out_for_gaussian_responses_is_refused_for_others(follows):
    design = build_design("k ~ t + (1 | g)", {name: 2 * values for name, values in TABLE.items()}, "poisson")
    with pytest.raises(WorkbenchError, match="gaussian"):
        follows(made_fit(design))


def test_estimators_refuse_families_that_they_do_not_fit():
    with pytest.raises(WorkbenchError, match=r"reml fits gaussian responses, not poisson\."):
        wb.fit("k ~ 1 + (1 | g)", TABLE, family="poisson")
    with pytest.raises(WorkbenchError, match="There are no default estimators of gamma responses"):
        wb.compare("t ~ 1 + (1 | g)", TABLE, family="gamma")


@pytest.fixture
def registered(monkeypatch):
    """An estimator of all families, as one might be added, registered for one test."""
    import sys
    import types

    module = types.ModuleType("workbench.estimators.made")
    module.made = lambda design, settings, options, upstream: replace(made_fit(design), estimator="made")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = Estimator("made", "made", "not at all", "made", families=tuple(GROUPED_LINKS))
    for room in ("workbench.estimators", "workbench.comparison"):
        monkeypatch.setattr(f"{room}.REGISTRY", dict(REGISTRY) | {"made": entry})


@pytest.mark.usefixtures("registered")
def test_comparisons_of_other_families_measure_shrinkage_and_report(tmp_path):
    comparison = wb.compare("cbind(s, f) ~ 1 + (1 | g)", TABLE, ["made"], family="binomial")
    s, f, g = (np.array(TABLE[name]) for name in "sfg")
    own = [np.log(s[g == level].sum() / f[g == level].sum()) for level in "ab"]
    np.testing.assert_allclose(comparison.shrinkage["no_pooling"], own, rtol=1e-9)
    page = (comparison.report(tmp_path / "report") / "README.md").read_text()
    assert "on the scale of the logit link" in page
    assert "25 trials, from 3 to 9 in a row." in page
    assert "mean of" not in page  # a group's coefficient is no mean of shares
    assert "residual" not in page.lower()


@pytest.mark.parametrize(
    ("response", "family", "link", "options", "lines"),
    [
        ("cbind(s, f)", "binomial", None, {}, ["s_i ~ Binomial(n_i, p_i), n_i trials", "logit(p_i) = β0 + u_g(i)"]),
        ("share", "binomial", "probit", {"weights": "n"},
         ["n_i·share_i ~ Binomial(n_i, p_i), n_i trials (the weights)", "probit(p_i) = β0 + u_g(i)"]),
        ("fate", "binomial", "cloglog", {}, ["1[fate_i = lived] ~ Bernoulli(p_i)", "cloglog(p_i) = β0 + u_g(i)"]),
        ("k", "poisson", None, {"offset": "t"}, ["k_i ~ Poisson(μ_i)", "log(μ_i) = β0 + offset_i + u_g(i)"]),
        ("t", "gamma", None, {"weights": "e"},
         ["t_i ~ Gamma with mean μ_i, variance φ·μ_i² / w_i", "1 / μ_i = β0 + u_g(i)"]),
    ],
)  # fmt: skip
def test_equations_name_the_family_and_its_link(response, family, link, options, lines):
    found = [
        as_text(line) for line in equations(build_design(f"{response} ~ 1 + (1 | g)", TABLE, family, link, **options))
    ]
    assert found == [*lines, "u_j ~ Normal(0, τ²)   for each of the 2 levels j of g"]


def test_code_names_the_family_its_trials_and_its_failure():
    def of(response, family, **options):
        return Comparison({"made": made_fit(build_design(f"{response} ~ 1 + (1 | g)", TABLE, family, **options))})

    counts = of("cbind(s, f)", "binomial", link="probit")
    assert 'glmer(cbind(s, f) ~ 1 + (1 | g), data = d, family = binomial("probit"))' in r_code(counts, Context())
    assert 'family="binomial", link="probit"' in python_code(counts, Context())
    assert "weights" not in python_code(counts, Context())
    assert "--family binomial --link probit" in command(counts, Context())
    shares = of("share", "binomial", weights="n")
    assert 'family = binomial("logit"), weights = weights)' in r_code(shares, Context())
    assert 'weights="weights"' in python_code(shares, Context())
    assert 'd$fate <- factor(d$fate, levels = c("died", "lived"))' in r_code(of("fate", "binomial"), Context())
    exposed = of("k", "poisson", offset="t")
    assert 'family = poisson("log"), offset = t)' in r_code(exposed, Context())
    assert 'offset="t"' in python_code(exposed, Context())

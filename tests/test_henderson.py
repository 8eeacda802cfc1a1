"""Fits at given variances, exactly and by descent. Rungs: closed form, slow dense oracle, published figures."""

import numpy as np
import pytest
from corpus import DATA, LMER, SEVERAL, design_of
from dense_equations import RANDOM_TERMS, error_covariance, random_design, wide

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.henderson import Options, henderson
from workbench.estimators.reml import ml, reml
from workbench.iterations.spreads import Spreads, names, stated
from workbench.plots import descent as picture

FORMULA, SLEEP = "Reaction ~ Days + (Days | Subject)", DATA / "datasets" / "sleepstudy.csv"
PRINTED = {
    "sd(Subject, (Intercept))": 24.7404, "sd(Subject, Days)": 5.9221, "cor(Subject, (Intercept), Days)": 0.066,
    "sigma": 25.5918,
}  # fmt: skip
"""What lmer prints, and the published descent was told."""


def told(method="exact", **more):
    return wb.fit(FORMULA, SLEEP, "henderson", options={"variances": PRINTED, "method": method, **more})


def effects(fit):
    return [part.effect.estimate for part in fit.group_effects]


# --- published figures --------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "scaled"), [("exact", True), ("gradient", True), ("adam", True), ("adam", False)])
def test_the_published_figures_to_all_printed_digits(method, scaled):
    fit = told(method, scaled=scaled)
    assert fit.converged
    np.testing.assert_allclose(fit.population.estimate, [251.405105, 10.467286], atol=5e-7)
    expected = [
        [2.262934, 9.198305], [-40.399556, -8.619793], [-25.207478, 1.172853], [-13.065620, 6.613451],
        [4.575970, -3.014939],
    ]  # fmt: skip
    # the article numbers the other subjects as they come in its file
    np.testing.assert_allclose(effects(fit)[0][:2], expected[:2], atol=5e-7)
    for row in expected[2:]:
        assert np.abs(effects(fit)[0] - row).max(axis=1).min() < 5e-7


# --- slow dense oracle --------------------------------------------------------------------------------


def random_spreads(design, rng, rank=None):
    """Full covariances, or of lower rank."""
    roots = [rng.normal(size=(len(b.terms), len(b.terms) if rank is None else rank)) for b in design.blocks]
    return Spreads(tuple(r @ r.T for r in roots), 1.0 if design.known_se else float(rng.uniform(0.5, 2)))


def by_name(design, at):
    values = dict(zip(names(design), at.values().tolist(), strict=True))
    return {name: value for name, value in values.items() if not (design.known_se and name == "sigma^2")}


def by_brute_force(design, at):
    """GLS and BLUPs from the rows' covariance matrix."""
    Z = wide([(b.Z, b.codes) for b in design.blocks], [len(b.levels) for b in design.blocks])
    parts = [np.kron(np.eye(len(b.levels)), S) for b, S in zip(design.blocks, at.covariances, strict=True)]
    G = np.zeros((Z.shape[1],) * 2)
    start = 0
    for part in parts:
        G[start : start + len(part), start : start + len(part)] = part
        start += len(part)
    V = Z @ G @ Z.T + at.sigma2 * np.diag(1 / design.weights)
    inverse, y = np.linalg.inv(V), design.y - design.offset
    cov = np.linalg.inv(design.X.T @ inverse @ design.X)
    b = cov @ design.X.T @ inverse @ y
    e = y - design.X @ b
    minus_twice = (
        np.linalg.slogdet(V)[1] - np.linalg.slogdet(cov)[1] + e @ inverse @ e
        + (len(y) - len(b)) * np.log(2 * np.pi)
    )  # fmt: skip
    return b, G @ Z.T @ inverse @ e, cov, minus_twice


@pytest.mark.parametrize("known_se", [False, True])
@pytest.mark.parametrize("terms", RANDOM_TERMS)
def test_the_exact_answer_is_that_of_n_by_n_matrices(terms, known_se):
    design = random_design(terms, seed=3, known_se=known_se)
    at = random_spreads(design, np.random.default_rng(5))
    fit = henderson(design, options=Options(variances=by_name(design, at)))
    b, u, cov, criterion = by_brute_force(design, at)
    np.testing.assert_allclose(fit.population.estimate, b, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate([part.ravel() for part in effects(fit)]), u, atol=1e-9)
    np.testing.assert_allclose(fit.fixed_cov, cov, rtol=1e-8)
    assert fit.criterion == pytest.approx(criterion, abs=1e-8)
    joint, inside = error_covariance(fit)
    np.testing.assert_allclose(fit.effects["std_error"] ** 2, np.diag(inside), rtol=1e-8)
    p = len(design.fixed_terms)
    table = fit.standard_errors
    np.testing.assert_allclose(table["effect_prediction_se"] ** 2, np.diag(joint)[p:], rtol=1e-8)
    np.testing.assert_allclose(table["coefficient_se"], fit.coefficients["std_error"], rtol=1e-9)


@pytest.mark.parametrize("method", ["gradient", "adam"])
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize(
    "terms", [*RANDOM_TERMS[2:4], *(pytest.param(terms, marks=pytest.mark.slow) for terms in RANDOM_TERMS[4:6])]
)
def test_descents_end_at_the_exact_answer_of_any_design(terms, rank, method):
    design = random_design(terms, seed=1)
    at = random_spreads(design, np.random.default_rng(2), rank)
    # far spreads make long valleys: a fixed number of steps is enough here, not everywhere
    options = {"variances": by_name(design, at), "method": method, "steps": 200_000}
    if method == "adam":
        options["learning_rate"] = 0.02
    fit, exact = (
        run_estimator("henderson", design, Settings(), o) for o in (options, {"variances": options["variances"]})
    )
    assert fit.converged
    # slopes of 1e-10 in units of their own curvature, times a condition number of 10^4 or so
    np.testing.assert_allclose(fit.population.estimate, exact.population.estimate, atol=1e-5)
    for ours, theirs in zip(effects(fit), effects(exact), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


# --- identities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*LMER, *SEVERAL])
def test_at_remls_variances_it_is_reml(case):
    design = design_of(case)
    given, hub = run_estimator("henderson", design, Settings()), reml(design)
    assert given.criterion == pytest.approx(hub.criterion, abs=1e-8)
    np.testing.assert_allclose(given.effects["estimate"], hub.effects["estimate"], atol=1e-8)
    np.testing.assert_allclose(given.coefficients["std_error"], hub.coefficients["std_error"], rtol=1e-7)
    np.testing.assert_allclose(given.predict()["std_error"], hub.predict()["std_error"], rtol=1e-7)


def test_another_fits_variances_are_taken_whole():
    design = design_of("sleepstudy--slope")
    other = ml(design)
    fit = henderson(design, options=Options(variances=other))
    np.testing.assert_allclose(fit.effects["estimate"], other.effects["estimate"], atol=1e-9)
    assert Options(variances=other).needs(design) == ()
    with pytest.raises(OptionError, match=r"a fit of Yield ~ 1 \+ \(1 \| Batch\) by ml"):
        henderson(design, options=Options(variances=ml(design_of("Dyestuff--ri"))))


def test_what_is_not_stated_is_remls():
    design = design_of("sleepstudy--slope")
    options = Options(variances={"sd(Subject,Days)": 3.0, "cov(Subject, Days, (Intercept))": 7.0})
    assert options.needs(design) == ("reml",)
    hub = reml(design)
    (found,) = henderson(design, Settings(), options, {"reml": hub}).components
    assert found.sd[1] == pytest.approx(3.0, rel=1e-14)
    assert found.covariance[0, 1] == pytest.approx(7.0, rel=1e-14)
    assert found.sd[0] == pytest.approx(hub.components[0].sd[0], rel=1e-14)
    assert Options(variances=PRINTED).needs(design) == ()


def test_its_gap_to_reml_is_its_variances():
    fits = {"reml": reml(design_of("sleepstudy--slope")), "henderson": told()}
    gap = wb.Comparison(fits).explain_gap("reml", "henderson")
    assert gap.explained
    assert [step.cause for _, step in gap.steps] == ["variances between groups as given", "residual variance as given"]
    assert 1e-4 < gap.table["max_difference"][0] < 1e-2


# --- the descent --------------------------------------------------------------------------------------


def test_the_trace_holds_the_objective_and_the_parameters_of_its_steps():
    fit = told("gradient", steps=2_000)
    trace, y = fit.trace, fit.design.y
    assert trace.steps[0] == 0
    assert trace.objective[0] == pytest.approx(y @ y / 25.5918**2, rel=1e-12)  # all parameters zero
    assert (np.diff(trace.objective) < 1e-12 * trace.least).all()
    (block,), (S,) = fit.design.blocks, [part.covariance for part in fit.components]
    for k in (1, len(trace.steps) // 2, -1):
        b, (u,) = trace.split(trace.parameters[k])
        e = y - fit.design.X @ b - (block.Z * u[block.codes]).sum(axis=1)
        by_hand = e @ e / 25.5918**2 + np.einsum("ja,ab,jb->", u, np.linalg.inv(S), u)
        assert trace.objective[k] == pytest.approx(by_hand, rel=1e-12)
    np.testing.assert_array_equal(trace.parameters[-1, :2], fit.population.estimate)
    table = trace.table
    assert table.columns[3:6].tolist() == ["(Intercept)", "Days", "Subject 308, (Intercept)"]
    assert (table["excess"] > -1e-9).all()


def test_the_first_steps_are_what_the_rules_say():
    def two(method, **more):
        with_rate = told(method, steps=2, learning_rate=0.01, scaled=False, **more)
        return with_rate.trace.parameters

    design = design_of("sleepstudy--slope")
    Z = wide([(design.blocks[0].Z, design.blocks[0].codes)], [18])
    W = np.hstack([design.X, Z])
    S = np.array([[24.7404**2, 0.066 * 24.7404 * 5.9221], [0.066 * 24.7404 * 5.9221, 5.9221**2]])
    K = np.zeros((38, 38))
    K[2:, 2:] = np.kron(np.eye(18), np.linalg.inv(S))

    def slope(x):
        return 2 * (K @ x - W.T @ (design.y - W @ x) / 25.5918**2)

    g1 = slope(np.zeros(38))
    plain = two("gradient")
    np.testing.assert_allclose(plain[1], -0.01 * g1, rtol=1e-10)
    np.testing.assert_allclose(plain[2], plain[1] - 0.01 * slope(plain[1]), rtol=1e-10)
    adam = two("adam")
    np.testing.assert_allclose(adam[1], -0.01 * np.sign(g1), rtol=1e-6)
    g2 = slope(adam[1])
    m, v = (0.09 * g1 + 0.1 * g2) / (1 - 0.9**2), (0.000999 * g1**2 + 0.001 * g2**2) / (1 - 0.999**2)
    np.testing.assert_allclose(adam[2], adam[1] - 0.01 * m / (np.sqrt(v) + 1e-8), rtol=1e-9)


def test_units_of_the_data_do_not_matter_to_a_scaled_descent():
    design = design_of("sleepstudy--slope")
    y, x, g = design.y, design.X[:, 1], design.blocks[0].codes

    def descended(a, c):
        table = {"y": a * y, "x": c * x, "g": g}
        given = {
            "sd(g, (Intercept))": 24.0 * a,
            "sd(g, x)": 6.0 * a / c,
            "cor(g, (Intercept), x)": 0.1,
            "sigma": 25.0 * a,
        }
        made = build_design("y ~ x + (x | g)", table)
        return henderson(made, options=Options(variances=given, method="gradient", steps=300)).trace

    one, other = descended(1.0, 1.0), descended(1e3, 1e-2)
    np.testing.assert_allclose(other.objective, one.objective, rtol=1e-9)
    np.testing.assert_allclose(other.parameters[-1, 1], one.parameters[-1, 1] * 1e5, rtol=1e-7)


def test_a_rate_beyond_the_curvature_diverges_and_says_where_the_limit_is():
    fit = told("gradient", learning_rate=0.3)
    assert not fit.converged
    assert "must be below 2/curvature" in fit.warnings[-1]
    limit = float(fit.warnings[-1].split("= ")[-1].rstrip("."))
    # f''/2 has ones on its diagonal, so that scaled f'' = 2 times its eigenvalues
    assert told("gradient", learning_rate=0.97 * limit).converged
    assert not told("gradient", learning_rate=1.04 * limit, steps=20_000).converged


def test_a_descent_that_is_cut_short_says_so():
    fit = told("adam", steps=300)
    assert not fit.converged
    assert "still under way after 300 steps" in fit.warnings[-1]
    assert fit.diagnostics["max_difference"] > 10  # Adam moves slowly where it starts far away


def test_least_squares_is_a_better_start():
    near, far = told("adam", start="least_squares"), told("adam")
    np.testing.assert_allclose(near.trace.parameters[0, :2], far.trace.exact[:2], rtol=1e-9)  # balanced: the same line
    assert near.trace.objective[0] < 0.1 * far.trace.objective[0]
    assert near.converged


def test_effects_without_a_variance_stay_at_zero():
    design = design_of("Dyestuff2--ri")
    fit = run_estimator("henderson", design, Settings(), {"method": "adam"})
    assert fit.converged
    assert (effects(fit)[0] == 0).all()
    assert fit.population.estimate[0] == pytest.approx(design.y.mean(), rel=1e-9)


# --- variances by name --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variances", "said"),
    [
        ({"sd(Subject, Day)": 1.0}, r"variances names 'sd\(Subject, Day\)'.*Did you mean 'sd\(Subject, Days\)'"),
        ({"sd(Subject, Days)": -1.0}, "must be 0 or more"),
        ({"sigma": 0.0}, "must be above 0"),
        ({"sigma": "large"}, "is 'large', but must be a number"),
        ({"cor(Subject, (Intercept), Days)": 1.5}, "lies between -1 and 1"),
        ({"cov(Subject, (Intercept), Days)": 1e4}, "those of no distribution"),
        ({"sd(Subject, Days)": 1.0, "var(Subject, Days)": 1.0}, "Keep one of them"),
    ],
)
def test_what_no_variance_can_be_is_refused(variances, said):
    with pytest.raises(OptionError, match=said):
        wb.fit(FORMULA, SLEEP, "henderson", options={"variances": variances})


def test_without_anything_to_fill_in_every_variance_must_be_stated():
    design = design_of("Dyestuff--ri")
    with pytest.raises(OptionError, match="leaves sigma open"):
        stated(design, {"sd(Batch)": 1.0}, None, "variances")
    with pytest.raises(OptionError, match=r"leaves sd\(Batch, \(Intercept\)\) open"):
        stated(design, {"sigma": 1.0}, None, "variances")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "sgd"}, "method is 'sgd'"),
        ({"steps": 0}, "whole number from 1 on"),
        ({"learning_rate": -0.1}, "must be a number above 0"),
        ({"start": "ones"}, "start is 'ones'"),
        ({"variances": 3.0}, "must be a mapping"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(OptionError, match=said):
        Options(**options)


# --- the picture --------------------------------------------------------------------------------------


def test_the_picture_shows_the_descent_and_the_exact_effects():
    comparison = wb.Comparison({"henderson": told("adam")})
    view = picture.view(comparison)
    trace = comparison.fits["henderson"].trace
    assert len(view.panels) == 2
    for k, panel in enumerate(view.panels):
        own = trace.split(trace.exact)[1][0][:, k]
        assert [path.exact for path in panel.paths][:: len(panel.paths) - 1] == [own.max(), own.min()]
        for path in panel.paths:
            assert path.value[0] == 0
            assert path.value[-1] == pytest.approx(path.exact, abs=1e-7)
    assert view.distance[-1] < 1e-7 < 1 < view.distance[0]
    axes = comparison.plot.descent().figure.axes
    assert len(axes) == 3
    lines = {tuple(np.asarray(line.get_ydata())[[0, -1]]) for line in axes[1].lines}
    assert {(path.value[0], path.value[-1]) for path in view.panels[0].paths} <= lines


def test_there_is_no_picture_without_a_descent():
    with pytest.raises(OptionError, match="No fit here was descended to"):
        wb.Comparison({"henderson": told()}).plot.descent()


def test_a_term_without_spread_beside_one_with_has_effects_of_zero_and_no_error():
    """Columns are centred inside, so that zero is a difference there."""
    given = {"sd(Subject, (Intercept))": 0.0, "sd(Subject, Days)": 5.0, "sigma": 25.0}
    fit = wb.fit(FORMULA, SLEEP, "henderson", options={"variances": given})
    intercepts = fit.effects.query("term == '(Intercept)'")
    assert (intercepts["estimate"] == 0).all()
    assert (intercepts["std_error"] == 0).all()
    errors = fit.standard_errors.query("term == '(Intercept)'")
    np.testing.assert_allclose(errors[["conditional_sd", "effect_prediction_se"]], 0.0, atol=1e-6)
    np.testing.assert_allclose(errors["coefficient_se"], fit.population.std_error[0], rtol=1e-9)

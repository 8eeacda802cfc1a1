"""MacKay's updates and EM. Rungs: closed form, slow dense oracle, published and R figures, invariance."""

import numpy as np
import pytest
from corpus import DATA, design_of, lmer_figures
from dense_equations import random_design, wide

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.em import em
from workbench.estimators.mackay import Options, mackay
from workbench.estimators.reml import reml
from workbench.iterations.decomposition import decompose
from workbench.iterations.spreads import Spreads
from workbench.iterations.updates import UPDATES, default_start, iterate
from workbench.moments import moments
from workbench.plots import iterations as picture
from workbench.reference import check_study
from workbench.report.decomposition_tables import decompositions
from workbench.study import load_study, run_study

SLEEP = design_of("sleepstudy--slope")
PUBLISHED = {"var(Subject, (Intercept))": 410, "cov(Subject, (Intercept), Days)": 10, "var(Subject, Days)": 22}
"""The published start; sigma^2 starts at a quarter of the variance of y, as here by default."""
START = Spreads((np.array([[410.0, 10.0], [10.0, 22.0]]),), 0.25 * float(np.var(SLEEP.y)))


def sleep(update="diagonal", **more):
    return mackay(SLEEP, options=Options(update=update, start=PUBLISHED, **more))


# --- published figures, and R's -----------------------------------------------------------------------


def test_the_published_iterations_to_all_printed_digits():
    after = sleep(iterations=100)  # the article stops there
    np.testing.assert_allclose(after.trace.values[-1], [302.9045408, 31.08902388, 0.0, 670.8546961], atol=5e-8)
    np.testing.assert_allclose(after.population.estimate, [251.40510485, 10.46728596], atol=5e-9)
    printed = sleep(iterations=99).group_effects[0].effect.estimate  # what its hundredth update was made of
    np.testing.assert_allclose(printed[:2], [[2.013963, 9.147986], [-32.683526, -9.633964]], atol=5e-7)


def test_the_fixed_point_is_a_little_further_on():
    fit = sleep()
    assert fit.converged
    np.testing.assert_allclose(fit.components[0].covariance, np.diag([302.9045408, 31.0890239]), rtol=1e-7)
    assert fit.sigma**2 == pytest.approx(670.8546961, rel=1e-8)
    assert "too small" in fit.warnings[-1]
    # one more update leaves it where it is
    again = iterate(SLEEP, "diagonal", fit.trace.last, 1).values
    np.testing.assert_allclose(again[1], again[0], rtol=1e-11, atol=1e-12)


def test_the_full_update_runs_into_a_correlation_of_one_at_the_eighth_iteration():
    fit = sleep("full")
    assert not fit.converged
    assert fit.singular
    assert fit.trace.count == 8
    correlation = fit.trace.correlation("Subject", "(Intercept)", "Days")
    assert 1 - correlation[-1] < 5e-11 < 1e-9 < 1 - correlation[-2]
    assert "Stopped at iteration 8, where a correlation of the effects is 1 or -1 to ten digits" in fit.warnings[-1]
    assert "leaves out their conditional covariance" in fit.warnings[-1]


def test_over_effective_numbers_it_ends_at_remls_variances_without_correlation():
    fit = sleep("effective")
    figures = lmer_figures("sleepstudy--slope_doublebar", "REML")
    assert fit.converged
    assert fit.trace.count <= 25
    np.testing.assert_allclose(np.diag(fit.components[0].covariance), [627.569060552987, 35.85819875966991], rtol=1e-7)
    assert fit.sigma == pytest.approx(figures["sigma"], rel=1e-8)
    np.testing.assert_allclose(fit.population.std_error, list(figures["se"].values()), rtol=1e-7)
    assert fit.criterion == pytest.approx(figures["criterion"], abs=1e-7)


def test_em_ends_at_reml():
    fit = em(SLEEP)
    figures = lmer_figures("sleepstudy--slope", "REML")
    assert fit.converged
    assert fit.criterion == pytest.approx(figures["criterion"], abs=1e-7)
    expected = [[612.0899386619317, 9.604333316822135], [9.604333316822135, 35.0716604982952]]
    np.testing.assert_allclose(fit.components[0].covariance, expected, rtol=1e-6)
    assert fit.sigma**2 == pytest.approx(654.9410270723822, rel=1e-8)
    hub = reml(SLEEP)
    np.testing.assert_allclose(fit.components[0].covariance, hub.components[0].covariance, rtol=1e-7)
    np.testing.assert_allclose(fit.effects["estimate"], hub.effects["estimate"], atol=1e-7)
    assert (fit.aic, fit.bic) == (pytest.approx(hub.aic, abs=1e-7), pytest.approx(hub.bic, abs=1e-7))


# --- slow dense oracle --------------------------------------------------------------------------------


def by_brute_force(design, update, start, count):
    """Iterations from n x n matrices: u = G Z'P y, Var(u_hat - u) = G - G Z'P Z G, hat matrix I - R P."""
    Z = wide([(b.Z, b.codes) for b in design.blocks], [len(b.levels) for b in design.blocks])
    J, q = len(design.blocks[0].levels), [len(b.terms) for b in design.blocks]
    spreads, sigma2 = list(start.covariances), start.sigma2
    y, found = design.y - design.offset, []
    for _ in range(count):
        G = np.zeros((Z.shape[1],) * 2)
        ends = np.cumsum([0, *(J * k for k in q)])
        for a, b, S in zip(ends, ends[1:], spreads, strict=False):
            G[a:b, a:b] = np.kron(np.eye(J), S)
        R = sigma2 * np.diag(1 / design.weights)
        V_inverse = np.linalg.inv(Z @ G @ Z.T + R)
        P = V_inverse - V_inverse @ design.X @ np.linalg.solve(
            design.X.T @ V_inverse @ design.X, design.X.T @ V_inverse
        )
        u, C = G @ Z.T @ P @ y, G - G @ Z.T @ P @ Z @ G
        e, hat = R @ P @ y, len(y) - np.trace(R @ P)
        rss = e @ (design.weights * e)
        new = []
        for a, b, S, k in zip(ends, ends[1:], spreads, q, strict=False):
            own = u[a:b].reshape(J, k)
            errors = sum(C[a + j * k : a + (j + 1) * k, a + j * k : a + (j + 1) * k] for j in range(J))
            if update == "em":
                new.append((own.T @ own + errors) / J)
            elif update == "effective":
                new.append(np.diag((own**2).sum(axis=0) / (J - np.diag(errors) / np.diag(S))))
            else:
                raw = np.atleast_2d(np.cov(own.T))
                new.append(raw if update == "full" else np.diag(np.diag(raw)))
        if not design.known_se:
            sigma2 = (rss + sigma2 * hat) / len(y) if update == "em" else rss / (len(y) - hat)
        spreads = new
        found.append(np.concatenate([*(np.append(np.diag(S), S[np.triu_indices(len(S), 1)]) for S in new), [sigma2]]))
    return np.array(found)


@pytest.mark.parametrize("known_se", [False, True])
@pytest.mark.parametrize("terms", ["(1 | g)", "(x | g)", "(x || g)"])
@pytest.mark.parametrize("update", UPDATES)
def test_every_iteration_is_that_of_n_by_n_matrices(update, terms, known_se):
    design = random_design(terms, seed=4, known_se=known_se)
    rng = np.random.default_rng(1)
    roots = [rng.normal(size=(len(b.terms),) * 2) + np.eye(len(b.terms)) for b in design.blocks]
    start = Spreads(tuple(r @ r.T for r in roots), 1.0 if known_se else 1.7)
    ours = iterate(design, update, start, 4).values[1:]
    np.testing.assert_allclose(ours, by_brute_force(design, update, start, len(ours)), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("update", "terms"),
    [("effective", "(1 | g)"), ("effective", "(x || g)"), ("em", "(1 | g)"), ("em", "(x || g)"), ("em", "(x | g)")],
)
def test_what_counts_the_conditional_variance_ends_at_reml(update, terms):
    inside = 0
    for seed in range(12):
        design = random_design(terms, seed=seed, fixed="x + z")
        hub = reml(design)
        if hub.singular:  # a boundary: see below
            continue
        inside += 1
        trace = iterate(design, update, iterations=100_000)
        assert trace.converged
        for ours, theirs in zip(trace.last.covariances, hub.components, strict=True):
            # the certificate of reml's search is on the criterion, flat over the root of rounding
            np.testing.assert_allclose(ours, theirs.covariance, rtol=1e-5, atol=1e-7)
        assert trace.criteria[-1] == pytest.approx(hub.criterion, abs=1e-8)
        if inside == 3:
            return
    raise AssertionError(f"only {inside} of twelve designs had their optimum inside")


def test_three_varying_columns_end_at_reml_too():
    rng = np.random.default_rng(5)
    g, x, z = np.arange(300) % 20, rng.normal(size=300), rng.normal(size=300)
    u = rng.normal(size=(20, 3)) @ np.array([[2.0, 0.5, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1.5]])
    y = 1 + x + (u[g] * np.column_stack([np.ones(300), x, z])).sum(axis=1) + rng.normal(size=300)
    design = build_design("y ~ x + z + (x + z | g)", {"y": y, "x": x, "z": z, "g": g})
    fit, hub = em(design), reml(design)
    assert fit.converged
    np.testing.assert_allclose(fit.components[0].covariance, hub.components[0].covariance, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(fit.coefficients["std_error"], hub.coefficients["std_error"], rtol=1e-7)


def test_the_likelihood_never_falls_under_em():
    for seed in range(5):
        criteria = iterate(random_design("(x | g)", seed=seed), "em", iterations=300).criteria
        assert (np.diff(criteria) < 1e-9).all()
        assert criteria[-1] < criteria[0]


# --- closed form: balanced groups of known standard error ---------------------------------------------


def groups(d, n=4, J=7):
    """Groups of n with a sampling variance of 1/n each, whose means have sample variance d."""
    means = np.random.default_rng(0).normal(size=J)
    means = (means - means.mean()) / means.std(ddof=1) * d**0.5
    table = {"y": np.repeat(means, n) + np.tile([-1.0, 1.0], J * n // 2), "g": np.repeat(np.arange(J), n)}
    return build_design("y ~ 1 + (1 | g)", table, se=np.ones(J * n))


@pytest.mark.parametrize("d", [1.001, 1.5, 10.0])
def test_raw_variances_solve_a_quadratic_from_four_sampling_variances_on(d):
    # t = d t^2/(t + v)^2 with v = 1/4: t^2 + (2 v - d) t + v^2 = 0, whose larger root attracts
    t = np.roots([1.0, 0.5 - d, 0.0625]).max()
    trace = iterate(groups(d), "diagonal", iterations=100_000)
    assert trace.converged
    assert trace.values[-1, 0] == pytest.approx(t, rel=1e-9 if d > 1.1 else 1e-8)  # a double root is found to half
    assert trace.values[-1, 0] < d - 0.25  # REML's


@pytest.mark.parametrize("d", [0.99, 0.6, 0.3])
def test_below_that_they_collapse_where_reml_does_not(d):
    design = groups(d)
    fit = mackay(design)
    assert fit.converged
    assert fit.components[0].covariance[0, 0] == 0
    assert "has collapsed to zero" in fit.warnings[0]
    assert reml(design).components[0].covariance[0, 0] == pytest.approx(d - 0.25, rel=1e-6)
    assert em(design).components[0].covariance[0, 0] == pytest.approx(d - 0.25, rel=1e-8)
    effective = mackay(design, options=Options("effective"))
    assert effective.components[0].covariance[0, 0] == pytest.approx(d - 0.25, rel=1e-8)


def test_sleepstudy_has_a_direction_below_four_sampling_variances():
    # own lines of the eighteen, each with sampling covariance sigma^2 (X'X)^-1: the cause of the full update's failure
    block = SLEEP.blocks[0]
    lines = np.array([np.linalg.lstsq(block.Z[block.codes == j], SLEEP.y[block.codes == j])[0] for j in range(18)])
    sampling = reml(SLEEP).sigma ** 2 * np.linalg.inv(block.Z[block.codes == 0].T @ block.Z[block.codes == 0])
    ratios = np.sort(np.linalg.eigvals(np.linalg.solve(sampling, np.cov(lines.T))).real)
    assert ratios[0] == pytest.approx(2.7, abs=0.05)
    assert ratios[1] == pytest.approx(25, abs=0.5)


@pytest.mark.parametrize("slope", [2.0, 0.4])
def test_the_full_update_fails_where_a_direction_lies_below_it(slope):
    # balanced lines with z'z = n I: the directions do not mix, sampling variance 1/n = 1/4 in both
    z = np.array([-1.0, -1.0, 1.0, 1.0])
    rng = np.random.default_rng(2)
    own = rng.normal(size=(9, 2))
    own = (own - own.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(own.T))).T  # sample covariance I
    own = own * np.sqrt([3.0, slope])
    table = {"y": (own[:, :1] + own[:, 1:] * z).ravel(), "z": np.tile(z, 9), "g": np.repeat(np.arange(9), 4)}
    design = build_design("y ~ z + (z | g)", table, se=np.ones(36))
    turned = Spreads((np.array([[1.0, 0.3], [0.3, 1.0]]),), 1.0)
    trace = iterate(design, "full", turned)
    assert trace.converged == (slope > 1)
    if slope > 1:
        expected = [np.roots([1.0, 0.5 - d, 0.0625]).max() for d in (3.0, slope)]
        np.testing.assert_allclose(trace.values[-1, :3], [*expected, 0.0], rtol=1e-8, atol=1e-8)


# --- where REML's variance is zero --------------------------------------------------------------------


def test_em_crawls_to_zero_and_says_so():
    design = design_of("Dyestuff2--ri")
    fit = run_estimator("em", design, Settings(), {"iterations": 2_000})
    assert not fit.converged
    assert "only as 1/iterations does" in fit.warnings[-1]
    values = fit.trace.values[:, 0]
    assert 1.9 < values[1_000] / values[2_000] < 2.1
    effective = mackay(design, options=Options("effective"))
    assert effective.converged
    assert effective.components[0].covariance[0, 0] == 0
    assert effective.sigma == pytest.approx(reml(design).sigma, rel=1e-9)
    assert "as REML's does" in effective.warnings[-1]


# --- the law of total variance ------------------------------------------------------------------------


def test_the_two_parts_add_up_to_the_variance_at_remls_and_nowhere_else():
    at_em, raw = em(SLEEP).trace.decomposition, sleep().trace.decomposition
    np.testing.assert_allclose(at_em.mean_square + at_em.conditional, at_em.reml, rtol=1e-7)
    assert (raw.mean_square + raw.conditional > 1.1 * raw.variance).all()
    np.testing.assert_allclose(raw.mean_square * 18 / 17, raw.variance, rtol=1e-9)  # its fixed point: J - 1
    np.testing.assert_allclose(raw.reml, [612.08994, 35.07166], rtol=1e-6)


def test_the_missing_factor_is_the_number_of_effects_over_their_effective_number():
    parts = sleep("effective").trace.decomposition
    np.testing.assert_allclose(parts.mean_square * parts.factor, parts.variance, rtol=1e-9)
    np.testing.assert_allclose(parts.factor, [1.390783, 1.248775], atol=1e-6)
    figures = zip(parts.mean_square, (1.390783, 1.248775), parts.variance, strict=True)
    products = [f"{m:.4g} x {f:.3f} = {v:.4g}" for m, f, v in figures]
    assert parts.sentence.endswith(f"the 18 effects over those that the data determine: {' and '.join(products)}.")
    # in a balanced one-way layout a share of tau^2/(tau^2 + sigma^2/n) of J - 1 effects is determined
    design = groups(2.0)
    at = decompose(design, Spreads((np.array([[1.5]]),), 1.0))
    assert at.effective[0] == pytest.approx(6 * 1.5 / 1.75, rel=1e-12)


def test_the_factor_is_told_only_where_it_makes_the_variance():
    """At MacKay's fixed point 286.1 x 1.750 is 500.7, and no variance of anything."""
    raw = sleep().trace.decomposition
    assert not raw.lawful
    assert "286.1 + 129.8 = 415.9 for (Intercept), where tau^2 is 302.9" in raw.sentence
    assert "J/gamma" not in raw.sentence
    (table,) = decompositions(
        wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["mackay", "em"])
    )
    assert "440.5 x 1.390 = 612.1" in table.sentence
    assert table.sentence.index("EM: ") < table.sentence.index("MacKay: ")


def test_a_column_without_a_population_value_has_effects_about_zero():
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
    y = 3 * x + rng.normal(size=12)[g] * x + rng.normal(size=72)
    design = build_design("y ~ 1 + (0 + x | g)", {"y": y, "x": x, "g": g})
    trace = iterate(design, "diagonal")
    assert trace.converged
    assert trace.values[-1, 0] == pytest.approx(trace.decomposition.mean_square[0], rel=1e-9)
    assert trace.values[-1, 0] > 8  # the squared mean of 3 counts


# --- fixed points do not depend on the way ------------------------------------------------------------


@pytest.mark.parametrize("update", ["diagonal", "effective", "em"])
def test_other_starts_end_at_the_same_point(update):
    one = iterate(SLEEP, update, START).values[-1]
    other = iterate(SLEEP, update, Spreads((np.diag([5000.0, 200.0]),), 300.0)).values[-1]
    scale = np.sqrt([one[0] ** 2, one[1] ** 2, one[0] * one[1], one[3] ** 2])
    np.testing.assert_allclose(other / scale, one / scale, atol=1e-9)


@pytest.mark.parametrize("update", ["diagonal", "effective", "em", "full"])
def test_units_of_the_data_do_not_matter(update):
    table = {"y": 1e4 * SLEEP.y, "x": 1e-3 * SLEEP.X[:, 1], "g": SLEEP.blocks[0].codes}
    one, other = iterate(SLEEP, update), iterate(build_design("y ~ x + (x | g)", table), update)
    assert one.count == other.count
    factor = np.array([1e8, 1e14, 1e11, 1e8])
    np.testing.assert_allclose(other.values / factor, one.values, rtol=1e-7, atol=1e-7)


def test_the_default_start_gives_every_column_a_quarter_of_the_variance():
    at = default_start(SLEEP, moments(SLEEP))
    share = 0.25 * np.var(SLEEP.y)
    z = SLEEP.X[:, 1]
    expected = [share / (1 - z.mean() ** 2 / (z**2).mean()), share / z.var()]  # what the other column leaves of each
    np.testing.assert_allclose(np.diag(at.covariances[0]), expected, rtol=1e-10)
    assert at.sigma2 == pytest.approx(share, rel=1e-12)


# --- the rest of the house ----------------------------------------------------------------------------


def test_only_one_grouping_factor():
    for name in ("mackay", "em"):
        with pytest.raises(DesignError, match="this estimator takes one"):
            run_estimator(name, design_of("Penicillin--crossed"), Settings())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"update": "raw"}, "update is 'raw'"),
        ({"update": "em"}, "EM is an estimator of its own: em"),
        ({"iterations": 0}, "whole number from 1 on"),
        ({"start": 3.0}, "start is 3.0, but must be a mapping"),
        ({"start": {"sd(Subject, Dys)": 1.0}}, "Did you mean 'sd.Subject, Days.'"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(OptionError, match=said):
        run_estimator("mackay", SLEEP, Settings(), options)


def test_predictions_standard_errors_and_gaps_are_those_of_its_variances():
    fit = sleep()
    np.testing.assert_allclose(fit.standard_errors["conditional_sd"], fit.effects["std_error"], rtol=1e-9)
    np.testing.assert_allclose(fit.predict()["estimate"], fit.fitted, rtol=1e-12)
    gap = wb.Comparison({"reml": reml(SLEEP), "mackay": fit}).explain_gap("reml", "mackay")
    assert gap.explained
    assert gap.steps[0][1].cause == "variances between groups by MacKay's update"
    assert set(fit.effects["point"]) == {"BLUP at variances by MacKay's update"}


def test_the_table_holds_every_iteration():
    trace = sleep().trace
    table = trace.table
    assert table["iteration"].tolist() == list(range(trace.count + 1))
    np.testing.assert_allclose(table.iloc[0, 1:5], [410, 22, 10, 0.25 * np.var(SLEEP.y)], rtol=1e-12)
    assert table.columns[1:].tolist() == [
        "var(Subject, (Intercept))", "var(Subject, Days)", "cov(Subject, (Intercept), Days)", "sigma^2", "criterion"
    ]  # fmt: skip
    # each criterion is the restricted likelihood at those variances
    at = dict(zip(table.columns[1:5], table.iloc[7, 1:5].tolist(), strict=True))
    again = run_estimator("henderson", SLEEP, Settings(), {"variances": at})
    assert again.criterion == pytest.approx(table["criterion"][7], abs=1e-9)


def test_the_picture_shows_all_four_updates_against_reml():
    comparison = wb.Comparison({"reml": reml(SLEEP), "mackay": sleep()})
    view = picture.view(comparison)
    assert [panel.title for panel in view.panels] == [
        "variance of (Intercept) by Subject", "variance of Days by Subject", "residual variance",
        "correlation of (Intercept) and Days",
    ]  # fmt: skip
    ends = {line.update: line.value[-1] for line in view.panels[0].lines}
    assert list(ends) == list(UPDATES)
    assert ends["diagonal"] == pytest.approx(302.90453, abs=1e-4)
    assert ends["effective"] == pytest.approx(627.56906, abs=1e-4)
    assert ends["em"] == pytest.approx(view.panels[0].reml, rel=1e-8)
    full = view.panels[3].lines[1]
    assert full.value[-1] == pytest.approx(1, abs=1e-10)
    assert not full.ended
    axes = comparison.plot.iterations().figure.axes
    assert len(axes) == 4
    assert [ax.get_yscale() for ax in axes] == ["log", "log", "log", "linear"]
    drawn = [np.asarray(line.get_ydata()) for line in axes[0].lines]
    assert any(len(y) == len(view.panels[0].lines[0].value) and y[-1] == ends["diagonal"] for y in drawn)
    with pytest.raises(OptionError, match="Compare with mackay or em"):
        wb.Comparison({"reml": reml(SLEEP)}).plot.iterations()


def test_a_variance_of_zero_can_be_drawn():
    design = groups(0.6)
    comparison = wb.Comparison({"mackay": mackay(design)})
    view = picture.view(comparison)
    assert [len(panel.lines) for panel in view.panels] == [3]  # no covariance, so that full is diagonal
    comparison.plot.iterations().figure.canvas.draw()


def test_the_study_reaches_its_figures_on_the_sleep_studys_data():
    study = load_study("sleepstudy_mackay")
    figures = check_study(study)
    assert len(figures) > 40
    assert [figure.quantity for figure in figures if not figure.holds] == []
    assert (DATA / "datasets" / "sleepstudy.csv").read_bytes() == study.data.read_bytes()


@pytest.mark.slow
def test_its_report_holds_the_pictures_and_the_decomposition(tmp_path):
    import pandas as pd

    folder = run_study(load_study("sleepstudy_mackay")).report(tmp_path / "report")
    page = (folder / "README.md").read_text()
    assert "What the variance of predicted effects leaves out" in page
    assert {"iterations.png", "descent.png"} <= {path.name for path in (folder / "plots").iterdir()}
    table = pd.read_csv(folder / "tables" / "decomposition.csv")
    assert table["estimator"].tolist() == ["mackay", "mackay", "em", "em"]
    assert table["reml"].iloc[0] == pytest.approx(612.08994, abs=1e-4)
    steps = pd.read_csv(folder / "tables" / "iterations.csv").set_index(["estimator", "iteration"])
    assert steps.loc[("mackay", 100), "var(Subject, (Intercept))"] == pytest.approx(302.9045408, abs=5e-8)

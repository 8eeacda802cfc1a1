"""The tau axis. Rungs: closed form (Gelman et al. 2013, eqs. 5.17 to 5.21), a slow oracle (dense matrices), other fits
of the same data (a term left out is tau = 0), invariance."""

import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior
from scipy.optimize import minimize

import workbench as wb
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.inference.spread_path import spread_path
from workbench.plots import tau_axis
from workbench.plots.marginals import folded_kernel, marginal
from workbench.plots.tau_labels import dodged
from workbench.plots.varying import pick

Y, SE = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
SCHOOLS = {"y": Y, "se": SE, "school": list("ABCDEFGH")}
PRIORS = {"(Intercept)": "Normal(0, 5)", "sd(school)": "HalfCauchy(5)"}


@pytest.fixture(scope="module")
def schools():
    names = ["complete_pooling", "no_pooling", "reml", "exact"]
    return wb.compare("y ~ 1 + (1 | school)", SCHOOLS, names, se="se", priors=PRIORS)


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["no_pooling", "reml"])


@pytest.fixture(scope="module")
def schools_view(schools):
    return tau_axis.view(schools, pick(schools))


def restricted(V, X, y):
    """-2 log restricted likelihood, by dense matrices."""
    W = np.linalg.inv(V)
    XWX = X.T @ W @ X
    e = y - X @ np.linalg.solve(XWX, X.T @ W @ y)
    log_dets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(XWX)[1]
    return log_dets + e @ W @ e + (len(y) - X.shape[1]) * np.log(2 * np.pi)


# --- what is drawn ------------------------------------------------------------------------------------


def test_eight_schools_follow_the_closed_form(schools_view):
    """E[theta_j | tau, y] and mu of BDA3 eqs. 5.17 and 5.20; p(tau | y) under a flat prior, eq. 5.21."""
    tau = schools_view.tau[1:, None]
    weight = 1 / (SE**2 + tau**2)
    mu = (weight @ Y / weight.sum(axis=1))[:, None]
    theta = (Y / SE**2 + mu / tau**2) / (1 / SE**2 + 1 / tau**2)
    np.testing.assert_allclose(schools_view.paths[1:], theta, rtol=1e-9)
    np.testing.assert_allclose(schools_view.population[1:], mu[:, 0], rtol=1e-9)
    pooled = (Y / SE**2).sum() / (1 / SE**2).sum()
    np.testing.assert_allclose(schools_view.paths[0], np.full(8, pooled), rtol=1e-9)

    t = schools_view.at[:, None]
    weight = 1 / (SE**2 + t**2)
    mu = (weight @ Y / weight.sum(axis=1))[:, None]
    log = 0.5 * (np.log(weight).sum(axis=1) - np.log(weight.sum(axis=1)) - (weight * (Y - mu) ** 2).sum(axis=1))
    np.testing.assert_allclose(schools_view.relative, np.exp(log - log[0]), atol=3e-4)  # between points: by cubics
    np.testing.assert_allclose(schools_view.own, Y, rtol=1e-14)


def test_the_posterior_of_eight_schools_is_the_one_by_quadrature(schools, schools_view):
    tau = schools.fits["exact"].posterior.parameter("sd(school, (Intercept))")
    np.testing.assert_allclose(schools_view.density, tau.density(schools_view.x), rtol=1e-12)
    np.testing.assert_allclose(schools_view.prior, 2 / (np.pi * 5 * (1 + (schools_view.x / 5) ** 2)), rtol=1e-12)
    marks = {mark.label: mark.tau for mark in schools_view.marks}
    assert marks["posterior median"] == pytest.approx(float(tau.quantile(np.array([0.5]))[0]), rel=1e-12)
    assert marks["REML"] == marks["ML"] == 0.0  # the published estimate on the boundary
    made = wb.fit("y ~ 1 + (1 | school)", SCHOOLS, "boundary_avoiding", se="se")
    assert marks["boundary avoiding"] == pytest.approx(float(made.components[0].sd[0]))
    assert schools_view.tau[-1] >= float(tau.quantile(np.array([0.98]))[0])
    assert "dashed, its prior HalfCauchy(5)" in schools_view.caption


def test_at_remls_spread_the_lines_pass_through_remls_estimates(sleep):
    for column, term in enumerate(("(Intercept)", "Days")):
        fit = sleep.fits["reml"]
        path = spread_path(sleep.design, 0, column, wanted=[float(fit.components[0].sd[column])])
        assert path.estimate == pytest.approx(float(fit.components[0].sd[column]), rel=1e-6)
        at_reml = [np.interp(path.estimate, path.tau, line) for line in path.coefficients.T]
        wanted = fit.group_effects[0].coefficient.estimate[:, column]
        np.testing.assert_allclose(at_reml, wanted, atol=2e-3 * np.ptp(wanted))  # straight lines between points
        view = tau_axis.view(sleep, pick(sleep, term))
        np.testing.assert_allclose(view.own, sleep.alone.group_effects[0].coefficient.estimate[:, column])


def test_tau_of_zero_is_the_model_without_the_term(sleep):
    path = spread_path(sleep.design, 0, 1)
    without = wb.fit("Reaction ~ Days + (1 | Subject)", DATA / "datasets/sleepstudy.csv")
    gap = without.criterion.value - sleep.fits["reml"].criterion.value
    assert -2 * np.log(path.relative[0]) == pytest.approx(gap, abs=1e-5)
    assert np.ptp(path.coefficients[0]) == 0.0
    assert path.coefficients[0, 0] == pytest.approx(without.population.estimate[1], rel=1e-7)


def test_the_profile_of_crossed_factors_is_that_of_dense_matrices():
    rng = np.random.default_rng(5)
    a, b = np.repeat(np.arange(6), 8), np.tile(np.arange(4), 12)
    table = {"a": a, "b": b, "x": rng.normal(size=48)}
    table["y"] = rng.normal(size=6)[a] + rng.normal(size=4)[b] + table["x"] + rng.normal(size=48)
    design = build_design("y ~ x + (1 | a) + (1 | b)", table)
    path = spread_path(design, 1, 0)
    Za, Zb = np.eye(6)[a], np.eye(4)[b]

    def dense(tau, logs):
        s, t = np.exp(2 * np.asarray(logs))
        return restricted(tau**2 * Zb @ Zb.T + s * Za @ Za.T + t * np.eye(48), design.X, table["y"])

    places = [0, len(path.at) // 4, len(path.at) // 2]
    found = [minimize(lambda x, t=path.at[k]: dense(t, x), [0.0, 0.0], tol=1e-10).fun for k in places]
    np.testing.assert_allclose(np.diff(found), -2 * np.diff(np.log(path.relative[places])), atol=1e-6)

    k = len(path.tau) // 2
    logs = minimize(lambda x: dense(path.tau[k], x), [0.0, 0.0], tol=1e-12).x
    s, t = np.exp(2 * logs)
    V = path.tau[k] ** 2 * Zb @ Zb.T + s * Za @ Za.T + t * np.eye(48)
    beta = np.linalg.solve(design.X.T @ np.linalg.solve(V, design.X), design.X.T @ np.linalg.solve(V, table["y"]))
    u = path.tau[k] ** 2 * Zb.T @ np.linalg.solve(V, table["y"] - design.X @ beta)
    np.testing.assert_allclose(path.coefficients[k], beta[0] + u, atol=1e-5)


def test_counts_follow_laplaces_approximation():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    data = DATA / "datasets/cbpp.csv"
    herds = wb.compare(formula, data, ["complete_pooling", "laplace"], family="binomial")
    fit = herds.fits["laplace"]
    sd = float(fit.components[0].sd[0])
    path = spread_path(herds.design, wanted=[sd])
    assert path.estimate == pytest.approx(sd, rel=1e-9)
    pooled = herds.fits["complete_pooling"]
    assert -2 * np.log(path.relative[0]) == pytest.approx(2 * (fit.log_likelihood - pooled.log_likelihood), abs=1e-6)
    assert path.population[0] == pytest.approx(pooled.population.estimate[0], abs=1e-5)
    at_fit = [np.interp(sd, path.tau, line) for line in path.coefficients.T]
    np.testing.assert_allclose(at_fit, fit.group_effects[0].coefficient.estimate[:, 0], atol=2e-3)
    view = tau_axis.view(herds, pick(herds))
    assert view.y_label == "intercept of share of incidence (logit scale)"
    assert view.profile_label == "Laplace profile"
    assert [mark.label for mark in view.marks] == ["Laplace"]
    assert len(view.x) == 0  # no posterior here: two panels
    assert len(tau_axis.draw(view)) == 2


def test_correlated_terms_of_counts_have_no_picture():
    table = {"y": [0, 3, 1, 4, 2, 2], "x": [0, 1, 2, 0, 1, 2], "g": list("aaabbb")}
    pooled = wb.compare("y ~ x + (x | g)", table, ["complete_pooling"], family="poisson")
    assert not tau_axis.applies(pooled)
    with pytest.raises(OptionError, match="The tau axis of x by g cannot be drawn"):
        pooled.plot.tau_axis(term="x")


def test_a_spread_of_zero_is_marked_at_zero():
    data = wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", ["reml"])
    view = tau_axis.view(data, pick(data))
    marks = {mark.label: mark for mark in view.marks}
    assert (marks["REML"].tau, marks["REML"].relative) == (0.0, 1.0)
    assert "peaks at 0, its 95 % interval runs from 0 to 2.51" in view.caption
    assert "of the likelihood at its peak" not in view.caption
    assert view.relative.max() == view.relative[0] == 1.0
    assert (view.prior_label, "by quadrature" in view.caption) == ("prior HalfStudentT(3, 3.72)", True)


def test_the_interval_is_where_the_deviance_rises_by_the_quantile():
    """Of balanced one-way data the REML profile is known: sums of squares within and between."""
    rng = np.random.default_rng(2)
    J, n = 7, 5
    y = rng.normal(size=J)[:, None] + rng.normal(size=(J, n))
    path = spread_path(build_design("y ~ 1 + (1 | g)", {"y": y.ravel(), "g": np.repeat(np.arange(J), n)}))
    within, between = ((y - y.mean(axis=1)[:, None]) ** 2).sum(), n * y.mean(axis=1).var() * J

    def profile(tau):
        def deviance(log_s):
            s2 = np.exp(2 * log_s)
            one = s2 + n * tau**2
            return J * (n - 1) * np.log(s2) + (J - 1) * np.log(one) + within / s2 + between / one

        return minimize(lambda x: deviance(x[0]), [0.0], tol=1e-12).fun

    least = profile(path.estimate)
    np.testing.assert_allclose([np.exp((least - profile(t)) / 2) for t in path.at[::9]], path.relative[::9], atol=1e-6)
    for end in path.likely:
        assert end == 0 or profile(end) - least == pytest.approx(3.841459, abs=1e-4)


# --- drawing ------------------------------------------------------------------------------------------


def test_drawing_puts_the_views_lines_and_marks_on_the_axes(schools_view):
    paths, profile, posterior = tau_axis.draw(schools_view)
    lines = [line for line in paths.lines if len(line.get_xdata()) == len(schools_view.tau)]
    for k in range(8):
        np.testing.assert_array_equal(lines[k].get_xdata(), schools_view.tau)
        np.testing.assert_array_equal(lines[k].get_ydata(), schools_view.paths[:, k])
    crosses = next(c for c in paths.collections if c.get_label() == "sample mean")
    np.testing.assert_allclose(np.asarray(crosses.get_offsets())[:, 1], Y)
    for panel in (paths, profile, posterior):
        upright = [line.get_xdata()[0] for line in panel.lines if list(line.get_ydata()) == [0, 1]]
        assert upright == [mark.tau for mark in schools_view.marks]
        assert panel.get_xlim() == paths.get_xlim()
    spots = [np.asarray(c.get_offsets())[0].tolist() for c in profile.collections]
    assert spots == [[mark.tau, mark.relative] for mark in schools_view.marks]
    np.testing.assert_array_equal(posterior.lines[0].get_ydata(), schools_view.density)
    assert posterior.get_xlabel() == "τ, the SD of intercepts between levels of school"
    assert [text.get_text() for text in paths.texts] == list("ABCDEFGH")


def test_a_given_axes_is_divided(schools):
    figure = tau_axis.style.new_figure(9, 8)
    ax = figure.subplots()
    assert schools.plot.tau_axis(ax) is ax
    heights = [panel.get_subplotspec().get_position(figure).height for panel in figure.axes]
    assert len(heights) == 3
    assert heights[0] > 2 * heights[1]


def test_names_do_not_overlap_and_keep_their_order():
    ends = np.array([0.0, 0.1, 0.2, 9.0, 5.0, 5.5])
    at = dodged(ends, 1.0)
    assert (np.diff(np.sort(at)) >= 1 - 1e-12).all()
    assert (np.argsort(at) == np.argsort(ends)).all()
    np.testing.assert_allclose(at, [-0.9, 0.1, 1.1, 9.0, 4.75, 5.75])
    odd = {"y": [1.0, 3, 2, 6, 5, 1], "g": ["$x_1$", "$x_1$", "a\nb", "a\nb", "l" * 60, "l" * 60]}
    comparison = wb.compare("y ~ 1 + (1 | g)", odd, ["reml"])
    drawn = tau_axis.draw(tau_axis.view(comparison, pick(comparison)))[0]
    assert sorted(text.get_text() for text in drawn.texts) == ["$x_1$", "a b", "l" * 17 + "…"]
    drawn.figure.canvas.draw()  # not read as mathematics


def test_of_many_levels_some_are_drawn_and_few_named():
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(3_000), rng.integers(1, 5, 3_000))
    y = rng.normal(size=3_000)[codes] + rng.normal(size=len(codes))
    many = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["reml"])
    view = tau_axis.view(many, pick(many))
    assert view.paths.shape[1] == tau_axis.LINES == len(view.levels)
    assert len(view.labels) == 2 * tau_axis.EXTREME
    full = spread_path(many.design)
    assert view.paths[-1].max() == pytest.approx(full.coefficients[-1].max(), rel=0.02)  # the farthest is drawn
    assert "100 of the 3,000 levels are drawn, evenly spaced" in view.caption
    assert view.relative[np.argmin(abs(view.at - full.estimate))] == pytest.approx(1.0, abs=1e-3)


def test_draws_become_a_density_that_does_not_fall_at_zero():
    rng = np.random.default_rng(4)
    draws = np.abs(rng.normal(size=8_000))
    density = folded_kernel(draws, (0.0, np.inf))
    x = np.linspace(0, 8, 4_001)
    assert np.trapezoid(density(x), x) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(density(np.array([0.0, 0.5, 1.5])), [0.798, 0.704, 0.259], atol=0.03)
    both = folded_kernel(rng.uniform(-1, 1, 8_000), (-1.0, 1.0))
    np.testing.assert_allclose(both(np.array([-1.0, 0.0, 1.0])), 0.5, atol=0.05)


def test_a_fit_with_draws_gives_the_posterior_of_a_slopes_spread(sleep):
    drawn = with_posterior(sleep)
    assert marginal(drawn, "sd(Subject, Days)") is None  # labels alone, no draws: nothing is made up
    exact = wb.compare(
        "Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["exact"], options={"exact": {"draws": 1000}}
    )
    posterior = exact.fits["exact"].posterior.parameter("sd(Batch, (Intercept))")
    x = np.array([30.0, 50.0, 80.0])
    kernel = folded_kernel(exact.fits["exact"].sampled.drawn.sd[0].ravel(), (0.0, np.inf))
    np.testing.assert_allclose(kernel(x), posterior.density(x), rtol=0.12)  # 4,000 draws


def test_pinned():
    """One drawing as it stood when it was last looked at."""
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", table, ["no_pooling", "reml"])
    view = tau_axis.view(comparison, pick(comparison))
    paths, profile, _ = tau_axis.draw(view)
    assert view.title == "Mean of y by g, from complete to no pooling"
    assert {mark.label: round(mark.tau, 3) for mark in view.marks} == {
        "ML": 1.993, "REML": 2.466, "boundary avoiding": 5.066, "posterior median": 2.337,
    }  # fmt: skip
    ends = [np.interp(2.4664, view.tau, line) for line in view.paths.T]
    np.testing.assert_allclose(ends, [1.5922, 3.5132, 6.3947], atol=2e-4)
    assert [text.get_text() for text in paths.texts] == ["a", "b", "c"]
    assert profile.get_ylim() == (0.0, 1.09)

"""Draws held to the exact posterior. Rungs: closed form, calibration on independent draws, draws made wrong on purpose.

`exact` draws independently from the posterior that it integrates: what is made of these draws is known to be right.
"""

import re
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import ComparisonError
from workbench.report.sampler_tables import sampler
from workbench.report.trust import banners
from workbench.sampler_check import STATISTICS, check_sampler, sidak_limit

SCHOOLS = {
    "y": [28.0, 8, -3, 7, -1, 1, 18, 12],
    "se": [15.0, 10, 16, 11, 9, 11, 10, 18],
    "school": list("ABCDEFGH"),
}
PRIORS = {"(Intercept)": "Normal(0, 5)", "sd(school)": "HalfCauchy(5)"}
TAU = "sd(school, (Intercept))"


def schools(draws=500, priors=PRIORS, **more):
    options = {"draws": draws}
    return wb.fit("y ~ 1 + (1 | school)", SCHOOLS, "exact", se="se", priors=priors, options=options, **more)


def as_sampler(fit, **changed):
    """An exact fit with its independent draws under the sampler's name."""
    return replace(fit, estimator="hierarchical", **changed)


def with_draws(fit, **parts):
    """The fit with other draws; `parts` are functions of the arrays, by name in `Draws`."""
    drawn = fit.sampled.drawn
    new = {}
    for name, change in parts.items():
        old = getattr(drawn, name)
        new[name] = tuple(change(part) for part in old) if isinstance(old, tuple) else change(old)
    return replace(fit, sampled=replace(fit.sampled, drawn=replace(drawn, **new)))


def shifted(fit, by):
    return with_draws(fit, sd=lambda values: values + by)


@pytest.fixture(scope="module")
def fit():
    return schools()


@pytest.fixture(scope="module")
def check(fit):
    return check_sampler(as_sampler(fit), fit)


# --- the numbers --------------------------------------------------------------------------------------


def test_means_shares_and_errors_are_those_of_the_draws(fit, check):
    posterior = fit.draws["posterior"]
    columns = [posterior["b"].values[..., 0], posterior["sd_school"].values[..., 0]]
    columns += [posterior["coefficient_school"].values[:, :, j, 0] for j in range(8)]
    drawn = np.stack([column.ravel() for column in columns], axis=1)
    np.testing.assert_allclose(check.sampled[:, 0], drawn.mean(axis=0), rtol=1e-12)
    e, c = fit.parameters.estimates, fit.group_effects[0].coefficient
    for k, name in enumerate(("conf_low", "median", "conf_high"), start=1):
        quantile = np.concatenate([getattr(e, name), getattr(c, name)[:, 0]])
        np.testing.assert_allclose(check.sampled[:, k], (drawn < quantile).mean(axis=0), rtol=1e-12)
    # of 2,000 independent draws errors are sd / sqrt(2000); the effective sample size is itself an estimate
    np.testing.assert_allclose(check.error[:, 0], drawn.std(axis=0, ddof=1) / np.sqrt(2000), rtol=0.2)
    share = np.sqrt(np.array([0.025 * 0.975, 0.25, 0.025 * 0.975]) / 2000)
    np.testing.assert_allclose(check.error[:, 1:], np.tile(share, (10, 1)), rtol=0.2)


def test_exact_values_are_those_of_the_exact_fit(fit, check):
    e, c = fit.parameters.estimates, fit.group_effects[0].coefficient
    np.testing.assert_array_equal(check.exact[:, 0], np.concatenate([e.estimate, c.estimate[:, 0]]))
    np.testing.assert_allclose(check.exact[:, 1:], np.tile([0.025, 0.5, 0.975], (10, 1)), rtol=1e-9)
    narrow = schools(50, level=0.8)
    np.testing.assert_allclose(check_sampler(as_sampler(narrow), narrow).probabilities, [0.1, 0.5, 0.9], rtol=1e-9)


def test_the_table_has_a_row_for_every_statistic(check):
    table = check.table
    assert table["term"].tolist()[:8] == ["(Intercept)"] * 4 + [TAU] * 4
    assert table["statistic"].tolist() == [*STATISTICS] * 10
    assert table.query("effect == 'ran_coefs'")["level"].tolist() == [level for level in "ABCDEFGH" for _ in range(4)]
    np.testing.assert_allclose(table["z"], (table["sampled"] - table["exact"]) / table["mcse"])
    np.testing.assert_allclose(table["difference"], table["sampled"] - table["exact"])


@pytest.mark.parametrize("many", [1, 10, 400])
def test_the_limit_is_exceeded_by_the_largest_of_so_many_in_one_run_of_a_hundred(many):
    inside = 2 * NormalDist().cdf(sidak_limit(many)) - 1
    assert inside**many == pytest.approx(0.99, abs=1e-12)


@pytest.mark.slow
def test_draws_of_the_posterior_itself_are_calibrated():
    """Over 100 runs the z are nearly standard normal, and the alarm is raised by chance only."""
    runs = [check_sampler(as_sampler(fit), fit) for fit in (schools(250, seed=seed) for seed in range(100))]
    means = np.array([run.z[:, 0] for run in runs])
    # ten correlated numbers a run: the mean square of all has an SD of at most sqrt(2 / 100) = 0.14
    assert 0.6 < np.mean(means**2) < 1.4
    assert abs(np.mean(means)) < 0.3  # SD at most 0.1
    others = np.array([run.z[:, 1:] for run in runs])
    assert 0.7 < np.mean(others**2) < 1.3
    assert sum(not run.agrees for run in runs) <= 4  # one is expected; more than 4 in 100 have a chance of 0.4 %


def test_a_mean_without_a_variance_is_left_out():
    three = {key: values[:3] for key, values in SCHOOLS.items()}
    priors = {"(Intercept)": "Normal(0, 5)", "sd(school)": "Flat()"}  # tau's posterior falls as tau^-3: no variance
    fit = wb.fit("y ~ 1 + (1 | school)", three, "exact", se="se", priors=priors, options={"draws": 200})
    check = check_sampler(as_sampler(fit), fit)
    assert np.isfinite(fit.parameters.estimates.std_error).tolist() == [True, False]
    assert np.isnan(check.z[:, 0]).tolist() == [False, True, False, False, False]
    assert np.isfinite(check.z[:, 1:]).all()


def test_sigma_and_covariates_are_compared_too():
    table = DATA / "datasets/sleepstudy.csv"
    fit = wb.fit("Reaction ~ Days + (1 | Subject)", table, "exact", options={"draws": 300})
    check = check_sampler(as_sampler(fit), fit)
    names = ["(Intercept)", "Days", "sigma", "sd(Subject, (Intercept))", "Subject 308"]
    assert [str(quantity) for quantity in check.quantities[:5]] == names
    assert check.z.shape == (22, 4)
    assert check.agrees


@pytest.mark.parametrize(("largest", "words"), [(1.0, "found the posterior"), (3.3, "Such a run is rare")])
def test_a_run_that_chance_makes_seldom_is_not_called_explained(fit, largest, words):
    from dataclasses import replace

    check = check_sampler(as_sampler(fit), fit)
    exact = np.zeros_like(check.exact)
    sampled = np.full(check.z.shape, 0.1)
    sampled[0, 0] = largest
    made = replace(check, sampled=sampled, exact=exact, error=np.ones_like(exact))
    count = sampled.size
    chance = 1 - (2 * NormalDist().cdf(largest) - 1) ** count
    assert made.agrees
    assert "Chance is not excluded at 1.00 %" in made.sentence
    assert f"the largest of {count} such numbers exceeds {largest:.2f} by chance in at most" in made.sentence
    assert f"at most {100 * chance:.3g}"[:12] in made.sentence
    assert words in made.sentence


# --- draws made wrong on purpose ----------------------------------------------------------------------


def test_draws_that_are_shifted_raise_the_alarm_and_are_named(fit):
    error = check_sampler(as_sampler(fit), fit).error[1, 0]
    wrong = check_sampler(as_sampler(shifted(fit, 6 * error)), fit)
    assert not wrong.agrees
    assert f"({TAU})" in wrong.sentence
    assert "more than chance explains" in wrong.sentence
    assert "found the posterior" not in wrong.sentence


def test_draws_that_stay_out_of_the_neck_of_the_funnel_raise_the_alarm_by_a_share(fit):
    """Five percent of tau's posterior are never visited: the mean hides it, the share below 2.5 % does not."""
    near = 2 * fit.parameters.estimates.conf_low[1]
    rng = np.random.default_rng(5)

    def keep_away(values):
        return np.where(values > near, values, rng.choice(values[values > near], values.shape))

    wrong = check_sampler(as_sampler(with_draws(fit, sd=keep_away)), fit)
    assert abs(wrong.z[1, 0]) < wrong.limit < abs(wrong.z[1, 1])
    assert not wrong.agrees
    assert f"({TAU}, 2.5 %)" in wrong.sentence


def test_a_sampler_that_does_not_move_raises_the_alarm(fit):
    def still(values):
        return np.full_like(values, 3.0)

    stuck = check_sampler(as_sampler(with_draws(fit, b=still, sd=still, effects=still)), fit)
    assert np.isinf(stuck.z[:, 0]).all()
    assert not stuck.agrees


def test_the_sentence_counts_what_the_table_holds(fit, check):
    z = check.z
    worst = int(np.argmax(np.abs(z[:, 0])))
    said = re.search(r"farthest of 10 posterior means lies ([0-9.]+) \w+ \w+ errors (\w+) \((.*?)\)", check.sentence)
    assert said is not None
    np.testing.assert_allclose(float(said[1]), abs(z[worst, 0]), rtol=0.005)  # three digits
    assert said[2] == ("above" if z[worst, 0] > 0 else "below")
    assert str(check.quantities[worst]).startswith(said[3])
    assert "where 0.46 are expected" in check.sentence  # 10 * 2 Phi(-2)
    assert "where 1.4 are expected" in check.sentence  # 30 * 2 Phi(-2)
    most = float(np.abs(z).max())
    chance = 100 * (1 - (2 * NormalDist().cdf(most) - 1) ** 40)
    found = f"the largest of 40 such numbers exceeds {most:.3g} by chance in at most {chance:.3g} % of runs"
    assert found in check.sentence


# --- what cannot be compared --------------------------------------------------------------------------


def test_fits_of_different_posteriors_are_refused(fit):
    other = schools(priors={"sd(school)": "HalfCauchy(10)"})
    with pytest.raises(ComparisonError, match=r"prior Normal\(8.75, 26.1\) of \(Intercept\), exact Normal\(0, 5\)"):
        check_sampler(as_sampler(other), fit)
    robust = as_sampler(fit, priors={**fit.priors, "nu": "Gamma(2, 0.1)"})
    with pytest.raises(ComparisonError, match=r"has the prior Gamma\(2, 0.1\) of nu, exact no prior"):
        check_sampler(robust, fit)
    with pytest.raises(ComparisonError, match="has equal-tailed 80 % intervals"):
        check_sampler(as_sampler(schools(level=0.8)), fit)
    with pytest.raises(ComparisonError, match="has no draws"):
        check_sampler(as_sampler(fit, sampled=None), fit)
    other = SCHOOLS | {"y": [1.0, *SCHOOLS["y"][1:]]}
    moved = wb.fit("y ~ 1 + (1 | school)", other, "exact", se="se", priors=PRIORS)
    with pytest.raises(ComparisonError, match="different designs"):
        check_sampler(as_sampler(fit), moved)


def test_a_comparison_holds_the_check_only_where_both_describe_one_posterior(fit):
    both = Comparison({"exact": fit, "hierarchical": as_sampler(fit)})
    assert both.sampler_check.equals(check_sampler(as_sampler(fit), fit).table)
    other = as_sampler(schools(priors={"sd(school)": "HalfCauchy(10)"}))
    for fits in ({"exact": fit}, {"hierarchical": as_sampler(fit)}, {"exact": fit, "hierarchical": other}):
        alone = Comparison(fits)
        assert alone.sampling is None
        assert alone.sampler_check.shape == (0, 10)
        assert sampler(alone) is None


# --- for people ---------------------------------------------------------------------------------------


def test_the_table_for_people_shows_means_and_what_they_are_off(fit, check):
    table = sampler(Comparison({"exact": fit, "hierarchical": as_sampler(fit)}))
    assert table.title == "PyMC minus exact, in Monte Carlo errors"
    assert [row[0].text for row in table.rows][:3] == ["(Intercept)", TAU, "school A"]
    for row, z, exact in zip(table.rows, check.z, check.exact[:, 0], strict=True):
        np.testing.assert_allclose([row[2].sort, *(cell.sort for cell in row[5:])], [exact, *z])
    assert table.sentence == check.sentence


def test_of_many_quantities_the_parameters_and_those_farthest_off_are_shown(fit, check):
    table = sampler(Comparison({"exact": fit, "hierarchical": as_sampler(fit)}), whole=5, farthest=3)
    order = 2 + np.argsort(-np.abs(check.z[2:, 0]))[:3]
    shown = [row[0].text for row in table.rows]
    assert shown[:-1] == ["(Intercept)", TAU, *(str(check.quantities[i]) for i in order)]
    assert shown[-1].startswith("… and 5 more coefficients")


def test_an_alarm_stands_before_everything_else_in_the_report(fit):
    right = Comparison({"exact": fit, "hierarchical": as_sampler(fit)})
    wrong = Comparison({"exact": fit, "hierarchical": as_sampler(shifted(fit, 1.0))})
    assert not any("PyMC minus exact" in banner.text for banner in banners(right))
    assert banners(wrong)[0].grave
    assert banners(wrong)[0].text == wrong.sampling.sentence


def test_draws_of_counts_are_held_to_their_posterior_too():
    table = {"k": [3, 0, 1, 6, 2], "f": [7, 5, 11, 2, 9], "herd": list("abcde")}
    priors = {"(Intercept)": "Normal(-1, 1.5)", "sd": "HalfNormal(1)"}
    fit = wb.fit(
        "cbind(k, f) ~ 1 + (1 | herd)", table, "exact", family="binomial", priors=priors, options={"draws": 1000}
    )
    check = check_sampler(as_sampler(fit), fit)
    assert [str(q) for q in check.quantities[:3]] == ["(Intercept)", "sd(herd, (Intercept))", "herd a"]
    assert check.agrees
    assert check.z.shape == (7, 4)
    assert not check_sampler(as_sampler(shifted(fit, 0.2)), fit).agrees

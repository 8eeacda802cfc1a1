"""What findings lead with. Rungs: closed form (least squares and REML's closed forms written out), figures of the fits,
and data on which a sentence must not appear."""

import re

import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior

import workbench as wb
from workbench.comparison import Comparison
from workbench.report.findings import findings

SLEEP = "Reaction ~ Days + (Days | Subject)"


def table(seed=3, slope=2.0, groups=10, each=6):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(groups), each), np.tile(np.arange(each) - (each - 1) / 2, groups)
    y = 2 * rng.normal(size=groups)[g] + slope * x + rng.normal(size=groups * each)
    return {"y": y, "x": x, "g": g}


def test_predictors_come_first_with_their_errors_and_who_puts_them_elsewhere():
    """In a balanced layout x is within groups: all estimators' slopes are least squares', their errors are not."""
    data = table()
    said = findings(wb.compare("y ~ x + (1 | g)", data, ["complete_pooling", "no_pooling", "reml"]))
    x, y, n = data["x"], data["y"], len(data["y"])
    slope = x @ y / (x @ x)
    within = y - (np.bincount(data["g"], y) / 6)[data["g"]] - slope * x
    total = y - y.mean() - slope * x
    se = np.sqrt(within @ within / (n - 11) / (x @ x))
    pooled = np.sqrt(total @ total / (n - 2) / (x @ x))
    assert said[0].startswith(
        f"REML puts x at {slope:.3f} (SE {se:.5f}). The same within 0.001 of REML's standard errors: "
    )
    assert f"complete pooling within 0.001, with standard errors {pooled / se:.2f} times as long" in said[0]
    assert " no pooling." in said[0]


def test_a_slope_that_varies_is_told_with_its_spread():
    comparison = wb.compare(SLEEP, DATA / "datasets/sleepstudy.csv", ["reml", "fixed_prior"])
    assert findings(comparison)[0].startswith(
        "REML puts Days at 10.47 (SE 1.546) with an SD of 5.922 between levels of Subject."  # lme4's print
    )


def test_a_log_link_multiplies_and_an_estimator_elsewhere_is_named():
    """Of counts by two kinds of row, complete pooling puts the coefficient at the log of the ratio of sums."""
    y = [3, 9, 30, 70, 1, 4, 8, 30, 2, 9, 5, 12]
    data = {"y": y, "late": [0, 1] * 6, "g": np.repeat(np.arange(6), 2)}
    comparison = wb.compare("y ~ late + (1 | g)", data, ["complete_pooling", "laplace"], family="poisson")
    fit = comparison.fits["laplace"].population
    said = findings(comparison)[0]
    assert f"Laplace puts late at {fit.estimate[1]:.4g} (SE {fit.std_error[1]:.4f}; mean × " in said
    assert f"× {np.exp(fit.estimate[1]):.3g})" in said
    pooled = np.log(sum(y[1::2]) / sum(y[0::2]))
    away = abs(pooled - fit.estimate[1]) / fit.std_error[1]
    assert (f"complete pooling up to {away:.2g} away" in said) == (away >= 0.1)


def test_without_predictors_the_spread_comes_first():
    said = findings(wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["reml", "fixed_prior"]))
    share = 1764.05 / (1764.05 + 2451.25)  # exact: see models/dyestuff/reference.toml
    assert said[0] == (
        f"REML puts the SD between groups at 42.00 and the residual SD at 49.51: {100 * share:.1f} % of the variance "
        "lies between groups."
    )
    assert not any("Others, in" in s for s in said)


def test_more_factors_than_predictors_put_shares_of_the_variance_first():
    data = DATA / "datasets/Penicillin.csv"
    said = findings(wb.compare("diameter ~ 1 + (1 | plate) + (1 | sample)", data, ["reml", "fixed_prior"]))
    variances = np.array([0.84670, 1.93160, 0.54992]) ** 2  # lme4's print
    shares = 100 * variances / variances.sum()
    assert f"of the variance, {shares[0]:.1f} % between levels of plate and {shares[1]:.1f} % between" in said[0]


def far_from_zero(level, formula="y ~ 1 + (1 | g)", **more):
    """Eight groups of five, whose responses lie about a level that is far from zero."""
    rng = np.random.default_rng(3)
    g, t = np.repeat(np.arange(8), 5), np.tile(np.arange(5.0) - 2, 8)
    y = level + rng.normal(size=8)[g] + rng.normal(size=40)
    return wb.compare(formula, {"y": y, "g": g, "t": t}, ["no_pooling", "reml", "fixed_prior", "exact"], **more)


@pytest.mark.parametrize(("level", "formula"), [(2014, "y ~ 1 + (1 | g)"), (1e9, "y ~ t + (1 | g)")])
def test_values_beside_each_other_show_their_difference(level, formula):
    """Figures of the table of groups: those of the sentence differ by what pooling moves, and read as there."""
    comparison = far_from_zero(level, formula)
    (said,) = (s for s in findings(comparison) if s.startswith("Pooling moves"))
    before, after = (float(re.search(rf"{what} ([\d,.]+\d)", said)[1].replace(",", "")) for what in (" is", "at"))
    by = comparison.by_group().query("estimator == 'reml' and term == '(Intercept)'")
    moved = (by["estimate"] - comparison.wide()["no_pooling"].to_numpy()).abs().max()
    assert abs(after - before) == pytest.approx(moved, abs=0.0011)
    assert any(f"{value:,.3f}".replace(",", "") == f"{after:.3f}" for value in by["estimate"])


def test_population_values_apart_show_their_difference():
    comparison = far_from_zero(2014, priors={"(Intercept)": "Normal(2012, 0.8)"})
    (said,) = (s for s in findings(comparison) if "population value is" in s)
    ours, theirs = (re.search(rf"{what} is (\d+\.\d+)", said)[1] for what in ("value", "REML's"))
    assert ours != theirs


def test_a_coefficient_far_from_zero_has_the_digits_of_its_error():
    rng = np.random.default_rng(3)
    g, t = np.repeat(np.arange(8), 5), np.tile(np.arange(5.0) - 2, 8)
    data = {"y": 5000 * t + rng.normal(size=8)[g] + rng.normal(size=40), "g": g, "t": t}
    fit = wb.compare("y ~ t + (1 | g)", data, ["reml"])
    assert f"t at {fit.fits['reml'].population.estimate[1]:.2f} (SE 0.1" in findings(fit)[0]


def test_agreement_is_measured_by_the_spread_between_groups():
    comparison = far_from_zero(1e9, "y ~ t + (1 | g)")
    (said,) = (s for s in findings(comparison) if s.startswith("REML and the fixed prior"))
    gap = comparison.agreement.query("estimator1 == 'reml' and estimator2 == 'fixed_prior'")["max_difference"].item()
    assert "digits" not in said
    assert f"{100 * gap / comparison.fits['reml'].components[0].sd[0]:.2g} % of REML's SD between groups" in said


def test_coefficients_that_hardly_differ_are_told_so_and_others_are_not():
    data = DATA / "datasets/Penicillin.csv"
    said = findings(wb.compare("diameter ~ 1 + (1 | plate) + (1 | sample)", data, ["reml", "fixed_prior"]))
    within = "REML and the fixed prior give the same coefficients to within 0.00031 % of REML's SD between groups."
    assert any(within in s for s in said)  # 2.6e-6 of 0.847
    assert not any("differs from REML by as much" in s for s in said)  # the most is 3 in a million
    far = findings(wb.compare(SLEEP, DATA / "datasets/sleepstudy.csv", ["reml", "fixed_prior"]))
    assert not any("the same coefficients" in s for s in far)
    assert any("for (Intercept) at most 0.7727 (Subject 335, 3.12 % of REML's SD between groups)" in s for s in far)


def test_variances_that_differ_much_come_first_with_their_ratio():
    comparison = wb.compare(SLEEP, DATA / "datasets/sleepstudy.csv", ["reml", "mackay", "em"])
    assert findings(comparison)[0] == (
        "The SD between groups of (Intercept) is 24.74 by REML, 17.40 by MacKay (the variance 0.495 times as large)."
    )  # 302.90 of 612.09; of Days 31.09 of 35.07, and EM is REML
    alike = wb.compare(SLEEP, DATA / "datasets/sleepstudy.csv", ["reml", "ml", "em"])
    assert not any(s.startswith("The SD between groups of") for s in findings(alike))


def test_a_spread_of_zero_is_set_beside_the_others():
    data = DATA / "datasets/Dyestuff2.csv"
    said = findings(wb.compare("Yield ~ 1 + (1 | Batch)", data, ["reml", "boundary_avoiding", "exact"]))
    others = "1.489 by boundary avoiding and 1.012 by exact full Bayes (posterior mean)"
    assert said[0] == f"The SD between groups is zero by REML, {others}."


def test_two_estimators_of_one_posterior_are_told_apart():
    data = DATA / "datasets/Dyestuff.csv"
    both = with_posterior(wb.compare("Yield ~ 1 + (1 | Batch)", data, ["reml", "exact"]))
    said = [s for s in findings(both) if "intervals" in s]
    assert len(said) == 1
    assert said[0].startswith("Exact full Bayes's intervals")
    alone = Comparison({name: fit for name, fit in both.fits.items() if name != "exact"})
    assert any(s.startswith("Full Bayes's intervals") for s in findings(alone))


@pytest.mark.parametrize(("factor", "beyond"), [(1.01, 0), (1.2, 12)])
def test_lengths_of_draws_are_held_to_their_monte_carlo_error(factor, beyond):
    """An interval's relative error is sqrt(2 p (1 - p) / ESS) / (2 z phi(z)) of normal draws: 2.2 % of 1,900."""
    from dataclasses import replace

    whole = with_posterior(wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", ["reml"]))
    part = whole.fits["hierarchical"].group_effects[0]
    values, mixed = part.coefficient, whole.fits["reml"].group_effects[0].coefficient
    reach = factor * (mixed.conf_high - mixed.conf_low) / 2
    reach[0] = (mixed.conf_high - mixed.conf_low)[0] / 2 * 1.005
    near = replace(values, conf_low=values.estimate - reach, conf_high=values.estimate + reach)
    fit = replace(whole.fits["hierarchical"], group_effects=(replace(part, coefficient=near),))
    (said,) = (s for s in findings(Comparison({**whole.fits, "hierarchical": fit})) if "intervals" in s)
    draws = np.random.default_rng(0).normal(size=(4000, 1900))
    spread = np.ptp(np.quantile(draws, [0.025, 0.975], axis=1), axis=0)
    error = 100 * spread.std() / spread.mean()
    assert error == pytest.approx(2.2, abs=0.1)
    assert "longer in 12 of 12 groups, by more than 2 Monte Carlo errors of such a length (each about 2.21 %)" in said
    assert f"in {max(beyond - 1, 0)}; shorter by as much in 0." in said


def test_sizes_of_groups_are_trials_where_rows_hold_several():
    """A group of one row may be the one with most trials."""
    data = {"s": [20, 3, 2, 2, 4, 3, 1], "f": [10, 2, 3, 4, 1, 2, 5], "g": list("abbccdd")}
    names = ["no_pooling", "laplace"]
    said = findings(wb.compare("cbind(s, f) ~ 1 + (1 | g)", data, names, family="binomial"))
    (kept,) = (s for s in said if " keeps " in s)
    assert "of the smallest groups' (10 trials; 1" not in kept
    assert "of the largest group's (30 trials)" in kept
    assert not any("n = 1" in s for s in said)
    ones = {"y": [0, 1, 1, 0, 1, 1, 0, 1, 1], "g": list("aabbbcccc")}
    rows = findings(wb.compare("y ~ 1 + (1 | g)", ones, names, family="binomial"))
    assert not any("trial" in s for s in rows)


def test_errors_against_the_truth_come_first_and_ties_are_told():
    truth = {"level": [str(j + 1) for j in range(12)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}
    names = ["no_pooling", "reml", "fixed_prior"]
    comparison = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", names, truth=truth)
    said = findings(comparison)[0]
    estimates = {name: fit.group_effects[0].coefficient.estimate[:, 0] for name, fit in comparison.fits.items()}
    errors = {name: np.sqrt(np.mean((e - truth["value"]) ** 2)) for name, e in estimates.items()}
    assert f"({100 * min(errors.values()) / errors['no_pooling']:.1f} % of no pooling's)" in said
    assert said.endswith(" lie within 1 % of each other.")
    alone = Comparison({name: comparison.fits[name] for name in ("no_pooling", "reml")}, truth=comparison.truth)
    assert "each other" not in findings(alone)[0]


def test_the_held_mean_has_the_digits_of_its_spread():
    from workbench.report.page_tables import priors

    comparison = far_from_zero(1e9)
    fit = comparison.fits["fixed_prior"]
    held = next(row[2].text for row in priors(comparison).rows if row[0].text == "fixed prior")
    assert held.startswith(f"Normal({fit.diagnostics['prior_mean'][0]:,.1f}, ")


def counties(start):
    """Slopes of years that vary by county; full Bayes as it is where a default at year 0 presses their spread down."""
    from dataclasses import replace
    from types import MappingProxyType

    from workbench.prior_defaults import default_priors

    rng = np.random.default_rng(5)
    g, year = np.repeat(np.arange(12), 21), np.tile(np.arange(21.0), 12)
    y = 50 + (0.3 + 0.2 * rng.normal(size=12)[g]) * (year - 10) + rng.normal(size=12)[g] + rng.normal(size=252)
    data = {"yield": y, "year": year + start, "county": [f"county {k}" for k in g]}
    made = with_posterior(wb.compare("yield ~ year + (year | county)", data, ["reml"]))
    full = made.fits["hierarchical"]
    parts = tuple(replace(part, covariance=part.covariance / 1e4) for part in full.components)
    priors = {name: str(prior) for name, prior in default_priors(full.design).items()}
    full = replace(full, components=parts, priors=MappingProxyType(priors))
    return Comparison({**made.fits, "hierarchical": full}, made.alone)


def test_a_default_prior_far_from_the_data_is_told_before_what_comes_of_it():
    comparison = counties(2000)
    (said,) = (s for s in comparison.summary().splitlines() if "default prior of sd(county, (Intercept))" in s)
    sd = comparison.fits["reml"].components[0].sd[1]
    assert "that of groups at year = 0, far from the data (mean 2010.0, SD 6.06)" in said
    assert (
        f"presses the SD of year between groups down: full Bayes puts it at {sd / 100:.6f}, REML at {sd:.4f}." in said
    )
    assert "Write center(year)" in said
    assert not any("default prior" in s for s in findings(counties(-10)))


def test_a_wide_prior_is_not_why_a_population_value_differs():
    from dataclasses import replace
    from types import MappingProxyType

    from workbench.report.findings.priors import pull

    made = with_posterior(wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", ["reml"]))
    full, error = made.fits["hierarchical"], made.fits["reml"].population.std_error[0]

    def told(prior):
        population = replace(full.population, estimate=full.population.estimate - 0.5 * error)
        fit = replace(full, population=population, priors=MappingProxyType({"(Intercept)": prior}))
        (said,) = (s for s in findings(Comparison({**made.fits, "hierarchical": fit})) if "population value is" in s)
        return "under the prior" in said

    assert not told("Normal(1500, 2000)")
    assert not told("Normal(1600, 50)")  # it pulls the other way
    assert told("Normal(1480, 20)")
    m, e, s = 1500.0, 19.4, 60.0  # a conjugate normal posterior
    mean = (m / e**2 + 1400 / s**2) / (1 / e**2 + 1 / s**2)
    assert pull("Normal(1400, 60)", mean, e) == pytest.approx(mean - m)


def test_a_coefficient_that_the_prior_holds_is_not_told_as_an_agreement():
    sleep = DATA / "datasets/sleepstudy.csv"
    said = findings(wb.compare(SLEEP, sleep, ["reml", "fixed_prior"]))[0]
    assert said.endswith("Held at REML's, not estimated: fixed prior.")
    assert "The same within" not in said
    free = findings(wb.compare("y ~ x + (1 | g)", table(), ["reml", "fixed_prior"]))[0]
    assert "fixed prior" in free  # it estimates the slope of x
    assert "Held" not in free


def moved(levels, values, group="g"):
    comparison = wb.compare(f"y ~ 1 + (1 | {group})", {"y": values, group: levels}, ["no_pooling", "reml"])
    return next(s for s in findings(comparison) if s.startswith("Pooling moves"))


def test_groups_are_named_once_and_placed_among_as_many_as_there_are():
    two = moved(["FALSE"] * 3 + ["TRUE"] * 5, [1.0, 2, 3, 8, 9, 10, 8, 9], "flag")
    assert two.startswith("Pooling moves flag FALSE farthest (n = 3, the smaller group): ")
    three = moved(list("aabbbccc"), [1.0, 2, 8, 9, 10, 4, 5, 6])
    assert "(n = 2, the smallest group)" in three
    tied = moved(["g0"] * 3 + ["g1"] * 3, [1.0, 2, 3, 8, 9, 10])
    assert tied.startswith("Pooling moves g0 farthest, as far as 1 other (n = 3): ")

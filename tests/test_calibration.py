"""Simulation-based calibration. Rungs: enumeration of the test's distribution, closed normal posteriors, R's adjusted
p-values, draws with known dependence, reproducibility, then calibration of `exact` and of a posterior that is wrong."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from corpus import DATA, design_of
from scipy import stats

import workbench as wb
from workbench.calibration import calibrate, simulation_based
from workbench.calibration.ranks import quantities_of, rank_among, rank_in
from workbench.calibration.result import departure
from workbench.calibration.truths import draw_response, draw_truth
from workbench.calibration.uniformity import EcdfTest, ecdf_test, holm
from workbench.cli import main
from workbench.design import build_design
from workbench.errors import DesignError, OptionError, PriorError
from workbench.estimators import Settings, run_estimator
from workbench.plots import calibration as picture
from workbench.prior_defaults import default_priors, resolve_priors

TWELVE = str(DATA / "twelve_groups.csv")
FORMULA = "samples ~ 1 + (1 | group)"


def twelve_small(sizes=(20,) * 6 + (2,) * 6):
    """The twelve groups with fewer samples in the large ones; the response only sets the scale of default priors."""
    drawn = wb.simulate_groups(sizes, seed=1)
    return build_design("y ~ 1 + (1 | g)", {"y": drawn.y, "g": [f"{k:02d}" for k in drawn.group]})


# --- the test of uniformity ---------------------------------------------------------------------------


def test_p_values_are_those_of_all_outcomes_counted():
    # N numbers fall in K cells of equal probability: K^N equally likely outcomes, each with its own T
    N, K = 5, 4
    test = EcdfTest(N, np.arange(1, K) / K)
    outcomes = np.array(list(itertools.product(range(K), repeat=N)))
    R = np.stack([(outcomes <= k).sum(axis=1) for k in range(K - 1)], axis=1)
    binomial = stats.binom(N, (np.arange(1, K) / K)[None])
    T = np.minimum(1, 2 * np.minimum(binomial.cdf(R), binomial.sf(R - 1))).min(axis=1)
    for outcome, t in list(zip(outcomes, T, strict=True))[::37]:
        numbers = (outcome + 0.5) / K
        assert test.p_value(numbers) == pytest.approx((t * (1 + 1e-12) >= T).mean(), abs=1e-12)


@pytest.mark.parametrize("count", [40, 300])
def test_a_sample_leaves_the_band_where_its_p_value_is_small_and_only_then(count):
    rng = np.random.default_rng(0)
    test = ecdf_test(count)
    low, high = test.band(0.9)
    left = 0
    for k in range(300):
        numbers = rng.beta(*((1, 1), (1.2, 1.2), (0.9, 1.1))[k % 3], count)
        share = test.counts(numbers) / count
        outside = bool((share < low).any() or (share > high).any())
        assert outside == (test.p_value(numbers) <= 0.1)
        left += outside
    assert 30 < left < 270  # both cases occur


def test_all_of_the_band_holds_with_its_probability():
    # 4 Monte Carlo errors; the level is kept, and not by much more, as counts are whole numbers
    test, rng = ecdf_test(100), np.random.default_rng(1)
    low, high = test.band(0.95)
    shares = np.array([test.counts(rng.random(100)) / 100 for _ in range(10_000)])
    held = ((shares >= low) & (shares <= high)).all(axis=1).mean()
    assert held == pytest.approx(0.953, abs=0.003 + 4 * np.sqrt(0.05 * 0.95 / 10_000))


def test_the_tests_power_is_in_tails_too():
    # 4 % of 300 numbers moved to within 1e-3 of 0: Kolmogorov and Smirnov's test does not see it
    numbers = (np.arange(300) + 0.5) / 300
    numbers[:12] = np.linspace(1e-5, 1e-3, 12)
    assert stats.kstest(numbers, "uniform").pvalue > 0.5
    assert ecdf_test(300).p_value(numbers) < 1e-3


def test_adjusted_p_values_are_rs():
    # R 4.2: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05, NA), "holm"); p.adjust(c(0.04, 0.001, 0.3, 0.012), "holm")
    np.testing.assert_allclose(
        holm(np.array([0.01, 0.02, 0.03, 0.04, 0.05, np.nan])), [0.05, 0.08, 0.09, 0.09, 0.09, np.nan]
    )
    np.testing.assert_allclose(holm(np.array([0.04, 0.001, 0.3, 0.012])), [0.08, 0.004, 0.3, 0.036])


@pytest.mark.parametrize(
    ("ranks", "word"),
    [
        (stats.beta(0.5, 0.5), "too narrow"),
        (stats.beta(3, 3), "too wide"),
        (stats.beta(2, 1), "too low"),
        (stats.beta(1, 2), "too high"),
    ],
)
def test_departures_are_named(ranks, word):
    assert departure(ranks.ppf((np.arange(200) + 0.5) / 200)) == word


# --- truths and ranks ---------------------------------------------------------------------------------


def test_truths_and_responses_are_the_models():
    design = build_design(
        "y ~ x + offset(o) + (x | g)",
        {"y": [1.0, 2, 4, 3, 7, 8], "x": [0, 1, 2, 0, 1, 3], "o": [5.0, 0, 0, 1, 0, 0], "g": list("aaabbb")},
        weights=[1.0, 4, 1, 1, 1, 1],
    )
    priors = resolve_priors(design, {"sd": "Uniform(1, 3)", "sigma": "Uniform(0, 1)", "cor": "LKJ(1)"})
    rng = np.random.default_rng(2)
    truths = [draw_truth(design, priors, rng) for _ in range(4_000)]
    rho = np.array([t.correlation[0][0, 1] for t in truths])
    products = np.array([np.prod(t.effects[0][1] / t.sd[0]) for t in truths])  # standard effects of one level
    assert stats.kstest(rho, stats.uniform(-1, 2).cdf).pvalue > 0.001  # LKJ(1) of two terms
    assert abs(np.mean(products * rho) - np.mean(rho**2)) < 4 * np.std(products * rho) / np.sqrt(4_000)
    t = truths[0]
    eta = [
        t.b[0] + t.b[1] * x + t.effects[0][g] @ [1, x]
        for x, g in zip([0, 1, 2, 0, 1, 3], [0] * 3 + [1] * 3, strict=True)
    ]
    np.testing.assert_allclose(t.predictor(design), np.add(eta, [5.0, 0, 0, 1, 0, 0]), rtol=1e-12)
    noise = np.array([draw_response(design, t, rng) - t.predictor(design) for _ in range(4_000)]) / t.sigma
    np.testing.assert_allclose(noise.var(axis=0), [1, 0.25, 1, 1, 1, 1], rtol=4 * np.sqrt(2 / 4_000))


def test_ranks_in_an_exact_posterior_are_those_of_the_closed_normal_one():
    # tau = 2 and sigma = 3 known to 1e-6, so that b and m_j are normal; y = A (b, u) + e, by dense algebra
    design = twelve_small((4, 1, 7))
    known = {"sd": "Uniform(2, 2.000001)", "sigma": "Uniform(3, 3.000001)", "(Intercept)": "Normal(1, 4)"}
    priors = resolve_priors(design, known)
    rng = np.random.default_rng(4)
    truth = draw_truth(design, priors, rng)
    y = draw_response(design, truth, rng)
    fit = run_estimator("exact", replace(design, y=y), Settings(priors=priors))
    A = np.column_stack([np.ones(12), np.repeat(np.eye(3), [4, 1, 7], axis=0)])
    prior = np.diag([1 / 16, 0.25, 0.25, 0.25])
    covariance = np.linalg.inv(A.T @ A / 9 + prior)
    mean = covariance @ (A.T @ y / 9 + prior @ [1, 0, 0, 0])
    wanted = {"(Intercept)": np.array([1.0, 0, 0, 0]), "coefficient[g, 02, (Intercept)]": np.array([1.0, 0, 1, 0])}
    for quantity in quantities_of(design, ["02"]):
        if (line := wanted.get(quantity.name)) is not None:
            true = line @ [*truth.b, *truth.effects[0][:, 0]]
            assert quantity.of(truth, design) == pytest.approx(true, rel=1e-12)
            expected = stats.norm.cdf((true - line @ mean) / np.sqrt(line @ covariance @ line))
            assert rank_in(fit, quantity, true, 100, rng) == pytest.approx(expected, abs=1e-5)
            wanted.pop(quantity.name)
    assert not wanted


def test_ranks_among_dependent_draws_are_uniform_after_thinning():
    # chains with autocorrelation 0.95, stationary N(0, 1), as is the truth: 1000 (1 - 0.95) / (1 + 0.95) = 25.6
    # effective draws of 1000. Above all L draws, 1 less the rank is U / (L + 1).
    from scipy.signal import lfilter

    rng = np.random.default_rng(5)
    ranks, above = [], []
    for _ in range(400):
        noise = rng.standard_normal((4, 250)) * np.sqrt(1 - 0.95**2)
        noise[:, 0] /= np.sqrt(1 - 0.95**2)
        chains = lfilter([1.0], [1.0, -0.95], noise, axis=1)
        ranks.append(rank_among(chains, rng.standard_normal(), 100, rng))
        above.append(1 - rank_among(chains, 99.0, 100, rng))
    assert ecdf_test(400).p_value(np.array(ranks)) > 0.001
    assert 15 < 0.5 / np.mean(above) - 1 < 30  # L, a harmonic mean of effective sizes as they are estimated
    assert rank_among(rng.standard_normal((4, 250)), 99.0, 49, rng) >= 49 / 50
    assert np.isnan(rank_among(np.ones((4, 250)), 0.5, 100, rng))


def test_every_parameter_has_a_rank_and_levels_can_be_chosen():
    design = design_of("sleepstudy--slope")
    names = [q.name for q in quantities_of(design, ["370", "308"])]
    assert names[:6] == [
        "(Intercept)", "Days", "sigma", "sd(Subject, (Intercept))", "sd(Subject, Days)",
        "cor(Subject, (Intercept), Days)",
    ]  # fmt: skip
    assert names[6:] == [
        f"coefficient[Subject, {level}, {term}]" for level in (370, 308) for term in ("(Intercept)", "Days")
    ]
    default = [q.name for q in quantities_of(twelve_small()) if q.kind == "coefficient"]
    assert default == [
        "coefficient[g, 07, (Intercept)]",
        "coefficient[g, 01, (Intercept)]",
    ]  # smallest, largest = first
    with pytest.raises(OptionError, match="no level '400'"):
        quantities_of(design, {"Subject": ["400"]})
    with pytest.raises(OptionError, match=r"no grouping factor 'Subjct'\. Did you mean 'Subject'"):
        quantities_of(design, {"Subjct": ["370"]})


# --- calibrate ----------------------------------------------------------------------------------------


def test_replications_depend_on_the_seed_and_their_number_alone():
    design = twelve_small((5, 5, 2))
    twenty = calibrate(design, replications=20, seed=3)
    np.testing.assert_array_equal(calibrate(design, replications=10, seed=3).ranks, twenty.ranks[:10])
    assert not np.isclose(calibrate(design, replications=10, seed=4).ranks, twenty.ranks[:10]).any()


def test_priors_are_those_of_the_original_response_in_every_replication(monkeypatch):
    design, seen = twelve_small((5, 5, 2)), []

    def spy(name, simulated, settings, options):
        fit = run_estimator(name, simulated, settings, options)
        seen.append((dict(fit.priors), simulated.y[0]))
        return fit

    monkeypatch.setattr(simulation_based, "run_estimator", spy)
    found = calibrate(design, replications=10, priors={"sd": "HalfNormal(2)"})
    expected = {name: str(p) for name, p in default_priors(design).items()} | {"sd(g, (Intercept))": "HalfNormal(2)"}
    assert dict(found.priors) == expected
    assert all(priors == expected for priors, _ in seen)
    assert len({y for _, y in seen}) == 10


def test_a_wrong_prior_is_found_out_and_named():
    # truths from tau ~ HalfNormal(3), fits with HalfNormal(0.5): tau is too low, the small group's interval too narrow
    design = twelve_small((10, 10, 10, 10, 2, 2))
    right = calibrate(design, replications=100, priors={"sd": "HalfNormal(3)", "sigma": "HalfNormal(3)"})
    wrong = calibrate(
        design,
        replications=100,
        priors={"sd": "HalfNormal(3)", "sigma": "HalfNormal(3)"},
        fit_priors={"sd": "HalfNormal(0.5)"},
    )
    assert right.uniform
    assert not wrong.uniform
    table = wrong.summary.set_index("parameter")
    assert table.loc["sd(g, (Intercept))", "posterior"] == "too low"
    assert table.loc["sd(g, (Intercept))", "adjusted_p"] < 1e-6
    assert "sd(g, (Intercept)) (posterior too low" in wrong.sentence
    assert wrong.warnings == ("The fits had other priors than the truths: sd(g, (Intercept)) HalfNormal(0.5).",)
    assert dict(wrong.priors) == dict(right.priors)
    u = right.ranks[:, 1]
    row = right.summary.iloc[1]
    assert row["ks_p"] == pytest.approx(stats.kstest(u, "uniform").pvalue, rel=1e-12)
    assert row["spread"] == pytest.approx(np.std(u) * np.sqrt(12), rel=1e-12)
    np.testing.assert_allclose(right.summary["adjusted_p"], holm(right.summary["ecdf_p"].to_numpy()))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"priors": {"sd": "Flat()"}}, PriorError, "sd(g, (Intercept)) is flat, which is improper"),
        (
            {"priors": {"sd": "Flat()", "(Intercept)": "Flat()"}},
            PriorError,
            "(Intercept) and sd(g, (Intercept)) is flat",
        ),
        ({"fit_priors": {"tau": "HalfNormal(1)"}}, PriorError, "stands on no parameter"),
        ({"estimator": "reml"}, OptionError, "has no posterior that could be calibrated. Use hierarchical or exact"),
        ({"replications": 5}, OptionError, "at least 10 is needed"),
        ({"draws": 0}, OptionError, "at least 1 is needed"),
        ({"data": TWELVE}, OptionError, "leave data and the like out"),
        ({"family": "poisson"}, OptionError, "holds its data and its family"),
        ({"groups": ["13"]}, OptionError, "no level '13'"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_anything_is_fitted(arguments, error, said):
    with pytest.raises(error) as caught:
        calibrate(twelve_small((5, 5, 2)), **arguments)
    assert said in str(caught.value)


COUNTS = {"y": [0, 1, 2, 3, 1, 2], "n": [5, 9, 4, 4, 6, 3], "o": [0.5, 0, 1, 0, 2, 0.2], "g": list("aabbbc")}


@pytest.mark.parametrize(
    ("formula", "family", "weights", "said"),
    [
        ("y ~ 1 + (1 | g)", "poisson", [1, 2, 1, 1, 1, 1], "how often a row counts"),
        ("cbind(y, n) ~ 1 + (1 | g)", "binomial", [1, 2, 1, 1, 1, 1], "how often a row counts"),
        ("p ~ 1 + (1 | g)", "binomial", [4.5, 2, 8, 4, 4, 4], "must be whole numbers"),
        ("p ~ 1 + (1 | g)", "gamma", None, "is gamma, which is not sampled"),
    ],
)
def test_responses_that_no_draw_has_made_are_refused(formula, family, weights, said):
    table = COUNTS | {"p": [0.25, 0.5, 1.0, 0.5, 0.25, 0.5], "w": weights or [1] * 6}
    design = build_design(formula, table, family=family, weights=None if weights is None else "w")
    with pytest.raises((OptionError, PriorError), match=said):
        calibrate(design)


def test_counts_are_drawn_by_the_law_of_their_family():
    # u = 0 to 1e-6 and b known: y is binomial in n + y trials, or Poisson with exposure exp(o)
    rng = np.random.default_rng(6)
    fixed = {"(Intercept)": "Uniform(-1, -0.999999)", "sd": "HalfNormal(0.000001)"}
    trials = np.add(COUNTS["y"], COUNTS["n"])
    p = 1 / (1 + np.exp(1))
    rates = np.exp(np.array(COUNTS["o"]) - 1)
    for formula, family, mean, variance in (
        ("cbind(y, n) ~ 1 + (1 | g)", "binomial", p + 0 * trials, p * (1 - p) / trials),
        ("y ~ 1 + offset(o) + (1 | g)", "poisson", rates, rates),
    ):
        design = build_design(formula, COUNTS, family=family)
        truth = draw_truth(design, resolve_priors(design, fixed), rng)
        assert truth.sigma == 1.0
        y = np.array([draw_response(design, truth, rng) for _ in range(8_000)])
        np.testing.assert_allclose(y.mean(axis=0), mean, atol=4.5 * np.sqrt(variance.max() / 8_000))
        np.testing.assert_allclose(y.var(axis=0), variance, rtol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "family"), [("cbind(y, n) ~ 1 + (1 | g)", "binomial"), ("y ~ 1 + offset(o) + (1 | g)", "poisson")]
)
def test_exact_posteriors_of_counts_are_calibrated(formula, family):
    # groups of 1 to 4 rows; the right posterior passes with probability 0.999, one with half the spread does not
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(8), [1, 1, 2, 2, 3, 3, 4, 4])
    table = {"y": rng.integers(1, 5, 20), "n": rng.integers(1, 6, 20), "o": rng.normal(0, 0.5, 20), "g": g.astype(str)}
    design = build_design(formula, table, family=family)
    priors = {"(Intercept)": "Normal(-0.5, 1)", "sd": "HalfNormal(1)"}
    found = calibrate(design, replications=200, priors=priors, level=0.999, seed=8)
    assert found.uniform, found.summary
    assert not found.not_converged
    assert (found.summary["ks_p"] > 1e-4).all()
    assert not calibrate(design, replications=100, priors=priors, fit_priors={"sd": "HalfNormal(0.3)"}).uniform


def test_an_estimator_that_always_fails_says_why():
    with pytest.raises(OptionError, match=r"failed in each of the first 5 .*exact integrates over the spread of one"):
        calibrate(design_of("sleepstudy--slope"))


def interrupting(monkeypatch, at, error):
    calls = []

    def stand_in(*arguments):
        calls.append(None)
        if len(calls) == at:
            raise error
        return run_estimator(*arguments)

    monkeypatch.setattr(simulation_based, "run_estimator", stand_in)


def test_an_interrupt_keeps_what_is_finished(monkeypatch):
    design = twelve_small((5, 5, 2))
    whole = calibrate(design, replications=12)
    interrupting(monkeypatch, 13, KeyboardInterrupt())
    with pytest.warns(RuntimeWarning, match="Interrupted after 12 of 40 replications. What is finished is returned"):
        found = calibrate(design, replications=40)
    np.testing.assert_array_equal(found.ranks, whole.ranks)
    assert found.interrupted
    assert found.summary["ranks"].tolist() == [12] * 5
    interrupting(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        calibrate(design, replications=40)


def test_fits_that_fail_are_counted_and_have_no_ranks(monkeypatch):
    design = twelve_small((5, 5, 2))
    whole = calibrate(design, replications=20)
    interrupting(monkeypatch, 7, DesignError("no residual variance."))
    found = calibrate(design, replications=20)
    assert np.isnan(found.ranks[6]).all()
    np.testing.assert_array_equal(np.delete(found.ranks, 6, 0), np.delete(whole.ranks, 6, 0))
    assert found.summary["ranks"].tolist() == [19] * 5
    assert found.warnings == (
        "1 of 20 fits failed and have no ranks, the first with: Replication 7: no residual variance.",
    )
    assert found.summary["ecdf_p"][0] == pytest.approx(ecdf_test(19).p_value(np.delete(whole.ranks[:, 0], 6)))


# --- the picture, the command -------------------------------------------------------------------------


def test_the_picture_shows_counts_and_curves_with_their_bands():
    found = calibrate(twelve_small((5, 5, 2)), replications=60, fit_priors={"sd": "HalfNormal(0.5)"})
    seen = picture.view(found)
    panel = seen.panels[2]
    u = found.ranks[:, 2]
    assert panel.title == "sd(g, (Intercept))"
    np.testing.assert_array_equal(panel.counts, np.histogram(u, np.linspace(0, 1, 6))[0])
    assert panel.expected == (stats.binom.ppf(0.025, 60, 0.2), 12.0, stats.binom.ppf(0.975, 60, 0.2))
    np.testing.assert_allclose(panel.difference, [np.mean(u <= z) - z for z in panel.z[:-1]] + [0.0], atol=1e-12)
    # a curve leaves its band in some panel if and only if Holm finds something
    left = [bool(((p.difference < p.low - 1e-12) | (p.difference > p.high + 1e-12)).any()) for p in seen.panels]
    assert any(left) != found.uniform
    assert panel.remark == "posterior too low"
    axes = picture.draw(seen)
    drawn = axes[5].lines[1]
    np.testing.assert_allclose(drawn.get_ydata(), panel.difference)
    assert drawn.get_color() == picture.BAD
    assert axes[4].get_title() == panel.title
    assert found.plot() is not None


def test_of_many_parameters_the_least_uniform_are_drawn(monkeypatch):
    found = calibrate(twelve_small((5, 5, 2)), replications=30, groups=["01", "02", "03"])
    monkeypatch.setattr(picture, "PANELS", 2)
    seen = picture.view(found)
    wanted = found.summary.nsmallest(2, "ecdf_p")["parameter"]
    assert {panel.title for panel in seen.panels} == set(wanted)
    assert seen.caption.startswith("2 of 6 parameters, those with the smallest p-values.")


def call(capsys, *arguments):
    code = main(["calibrate", *arguments])
    return code, *capsys.readouterr()


def test_the_command_prints_a_table_and_its_code_is_the_verdict(capsys):
    code, out, err = call(capsys, TWELVE, FORMULA, "-n", "40", "--seed", "2")
    assert (code, err) == (0, "")
    assert "coefficient[group, 7, (Intercept)]" in out
    assert "no ranks depart from uniformity" in " ".join(out.split())
    code, out, _ = call(capsys, "twelve_groups", "-n", "40", "--fit-prior", "sd=HalfNormal(0.2)")
    assert code == 1
    assert "not uniform are the ranks of" in " ".join(out.split())


def test_the_command_writes_tables_and_picture_and_prints_json(capsys, tmp_path):
    code, out, err = call(
        capsys, TWELVE, FORMULA, "-n", "30", "--json", "--out", str(tmp_path / "made"), "--levels", "12"
    )
    document = json.loads(out)
    direct = wb.calibrate(FORMULA, TWELVE, replications=30, groups=["12"])
    assert code == 0
    assert "Written to" in err
    assert document["uniform"] is True
    assert [row["name"] for row in document["parameters"]] == list(direct.names)
    assert document["parameters"][1]["ecdf_p"] == direct.p_values[1]
    files = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert files == ["calibration.png", "calibration.svg", "manifest.json", "ranks.csv", "summary.csv"]
    ranks = pd.read_csv(tmp_path / "made/ranks.csv")
    np.testing.assert_allclose(ranks["sigma"], direct.ranks[:, 1], rtol=1e-14)
    # its like is replaced, anything else is not
    assert call(capsys, TWELVE, FORMULA, "-n", "10", "--out", str(tmp_path / "made"))[0] in (0, 1)
    assert len(pd.read_csv(tmp_path / "made/ranks.csv")) == 10
    (tmp_path / "made/mine.txt").write_text("kept")
    code, _, err = call(capsys, TWELVE, FORMULA, "-n", "10", "--out", str(tmp_path / "made"))
    assert code == 2
    assert "mine.txt" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "There is no study 'nonsense'"),
        (["twelve_groups", "--se", "x"], "has its own se; give these with DATA and FORMULA"),
        (["twelve_groups", "--prior", "sd=Flat()"], "is flat, which is improper"),
        (["twelve_groups", "--fit-prior", "sd"], "--fit-prior 'sd' has no '='"),
        (["twelve_groups", "-n", "3"], "replications is 3"),
        (["twelve_groups", "-e", "reml"], "reml has no posterior"),
    ],
)
def test_the_command_refuses_in_words(capsys, arguments, said):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_an_interrupted_command_prints_what_is_finished(capsys, monkeypatch):
    interrupting(monkeypatch, 15, KeyboardInterrupt())
    code, out, _ = call(capsys, "twelve_groups", "-n", "40")
    assert code == 130
    assert "Interrupted after 14 of 40 replications" in out


# --- whole calibrations -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("case", ["twelve", "dyestuff", "schools", "slope"])
def test_exact_is_calibrated(case):
    # 500 replications; right posteriors pass 99 % of seeds, this one among them
    if case == "twelve":
        design, priors = design_of("twelve_groups--ri"), {}
    elif case == "dyestuff":
        design, priors = design_of("Dyestuff--ri"), {"sd": "HalfCauchy(40)", "sigma": "Gamma(2, 0.04)"}
    elif case == "slope":
        design, priors = design_of("sleepstudy--ri"), {"Days": "Normal(5, 20)"}
    else:
        schools = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "school": list("ABCDEFGH")}
        design = build_design("y ~ 1 + (1 | school)", schools, se=[15.0, 10, 16, 11, 9, 11, 10, 18])
        priors = {"(Intercept)": "Normal(0, 5)", "sd": "HalfCauchy(5)"}
    found = calibrate(design, replications=500, priors=priors, level=0.99)
    assert found.uniform, found.summary
    assert found.failures == ()
    # a sigma of 1/4000 of what X b spreads over leaves 4e-9 unresolved, above the tolerance of 1e-10
    assert found.not_converged <= (case == "slope")
    assert (found.summary["ks_p"] > 0.01 / len(found.names)).all()


@pytest.mark.slow
def test_draws_of_exact_have_uniform_ranks_as_well(monkeypatch):
    # the same posteriors by their independent draws: another way to every rank
    def drawn(name, design, settings, options):
        return replace(run_estimator(name, design, settings, {"draws": 25}), posterior=None)

    monkeypatch.setattr(simulation_based, "run_estimator", drawn)
    found = calibrate(twelve_small(), replications=300, level=0.99)
    assert found.uniform, found.summary
    monkeypatch.undo()
    smooth = calibrate(twelve_small(), replications=300).ranks
    # among 100 draws, a rank scatters about the distribution function with SD of at most 0.05
    assert np.abs(found.ranks - smooth).max() < 0.25
    assert np.sqrt(np.mean((found.ranks - smooth) ** 2)) < 0.06


@pytest.mark.slow
def test_the_explicit_model_in_pymc_is_calibrated():
    # 24 replications see gross errors alone: a posterior at half or twice its width, or shifted by its SD
    options = {"draws": 300, "tune": 400, "chains": 2, "model": "explicit"}
    found = calibrate(twelve_small(), estimator="hierarchical", replications=24, options=options, level=0.99)
    assert found.failures == ()
    assert found.uniform, found.summary
    exact = calibrate(twelve_small(), replications=24)
    # other random numbers after the first response, so that the ranks of the first replication alone are comparable
    assert np.abs(found.ranks[0] - exact.ranks[0]).max() < 0.2

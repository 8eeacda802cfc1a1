"""Coverage in any design, in any number of processes. Rungs: closed forms of balanced one-way designs, simulated truths
refitted by hand, the same bits from one process and two, then the command and the picture."""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.calibration import coverage, replications
from workbench.calibration.coverage_words import shortfalls
from workbench.calibration.populations import population_of
from workbench.cli import main
from workbench.commands.simulate import read_sizes
from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import run_estimator
from workbench.plots import coverage as picture

J, N, TAU, SIGMA = 20, 5, 1.5, 3.0


def row(found, estimator, kind, quantity="coefficient", **where):
    table = found.summary
    for name, value in {"estimator": estimator, "std_error_kind": kind, "quantity": quantity, **where}.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def near(row, name, value, errors=4):
    assert abs(row[name] - value) < errors * row[f"{name}_error"], (name, row[name], value, row[f"{name}_error"])


def test_pooling_has_the_coverage_and_the_squared_error_of_its_closed_forms():
    found = coverage([N] * J, TAU, SIGMA, 7.0, simulations=600, estimators=["complete_pooling", "no_pooling"])
    z = stats.norm.ppf(0.975)
    # each group's mean: error N(0, sigma^2 / n); z intervals with a pooled variance cover as t(J n - J) does
    no = row(found, "no_pooling", "sampling SE")
    near(no, "squared_error", SIGMA**2 / N)
    near(no, "coverage", 1 - 2 * stats.t.sf(z, J * N - J))
    # the grand mean misses m_j by tau^2 (1 - 1/J) + sigma^2 / (n J), and its intervals know of sigma_all^2 / (n J)
    miss = TAU**2 * (1 - 1 / J) + SIGMA**2 / (N * J)
    complete = row(found, "complete_pooling", "sampling SE")
    near(complete, "squared_error", miss)
    total = (SIGMA**2 * (J * N - J) + (J - 1) * (SIGMA**2 + N * TAU**2)) / (J * N - 1)  # expected residual variance
    assert complete["width"] == pytest.approx(2 * z * np.sqrt(total / (J * N)), rel=0.01)
    near(complete, "coverage", 1 - 2 * stats.norm.sf(z * np.sqrt(total / (J * N)) / np.sqrt(miss)), errors=5)


def test_the_blup_at_known_variances_has_its_risk_and_keeps_its_promise():
    table = {"y": np.arange(J * N) + 0.0, "g": np.repeat([f"{j:02d}" for j in range(J)], N)}
    design = build_design("y ~ 1 + (1 | g)", table)
    known = {"(Intercept)": 2.0, "sd(g)": TAU, "sigma": SIGMA}
    options = {"henderson": {"variances": {"sd(g)": TAU, "sigma": SIGMA}}}
    found = coverage(design, truth=known, simulations=500, estimators=["henderson"], options=options)
    v = SIGMA**2 / N
    given_b = TAU**2 * v / (TAU**2 + v)
    b = v / (TAU**2 + v)  # how far the coefficient goes with the estimated mean, whose variance is (tau^2 + v) / J
    risk = given_b + b**2 * (TAU**2 + v) / J
    kinds = dict.fromkeys(key[2] for key in found.keys if key[1] == "coefficient")
    own = next(kind for kind in kinds if kind.startswith("coefficient SE"))
    r = row(found, "henderson", own)
    near(r, "squared_error", risk)
    near(r, "coverage", 0.95)
    assert r["width"] == pytest.approx(2 * 1.959964 * np.sqrt(risk), rel=1e-6)
    narrow = row(found, "henderson", "conditional SD")
    assert narrow["width"] == pytest.approx(2 * 1.959964 * np.sqrt(given_b), rel=1e-6)
    near(narrow, "coverage", 1 - 2 * stats.norm.sf(1.959964 * np.sqrt(given_b / risk)))


def test_sizes_are_the_same_as_their_design():
    sizes = (9, 9, 3)
    table = {"y": np.arange(21) ** 2.0, "group": np.repeat([1, 2, 3], sizes)}
    design = build_design("y ~ 1 + (1 | group)", table)
    one = coverage(sizes, 2.0, 3.0, 4.0, simulations=5, estimators=["reml"])
    two = coverage(design, 2.0, 3.0, 4.0, simulations=5, estimators=["reml"])
    np.testing.assert_array_equal(one.figures, two.figures)
    assert dict(two.truth) == {"(Intercept)": 4.0, "sigma": 3.0, "sd(group, (Intercept))": 2.0}


def test_a_study_with_slopes_is_simulated_from_its_fit(monkeypatch):
    design = wb.load_study("sleepstudy").design()
    fit = wb.fit("Reaction ~ Days + (Days | Subject)", "models/sleepstudy/data.csv")
    found = coverage(design, simulations=12)
    assert found.truth["sd(Subject, Days)"] == pytest.approx(fit.components[0].sd[1], rel=1e-9)
    assert found.truth["cor(Subject, (Intercept), Days)"] == pytest.approx(0.0656, abs=1e-4)
    np.testing.assert_array_equal(coverage(design, truth=fit, simulations=12).figures, found.figures)
    assert found.estimators == ("complete_pooling", "no_pooling", "reml", "fixed_prior")
    assert found.warnings[0].startswith("exact is left out. 2 terms vary by Subject")
    # draw 3, by hand: its own truth, refitted, its intervals of Days held to it
    source = np.random.SeedSequence(1).spawn(3)[2]
    words = [int(word % 2**31) for word in source.generate_state(2)]
    made, truth = population_of(design).draw(np.random.default_rng(words[0] + (words[1] << 31)))
    slopes = truth.b[1] + truth.effects[0][:, 1]
    days = wb.fit("y ~ Days + (Days | Subject)", {
        "y": made.y, "Days": design.X[:, 1], "Subject": np.take(design.blocks[0].levels, design.blocks[0].codes)
    }).coefficients.query("term == 'Days'")  # fmt: skip
    own = found.figures[2, found.keys.index(("reml", "coefficient", "coefficient SE"))]
    mine = own[np.array(found.terms) == "Days"]
    np.testing.assert_allclose(mine[:, 2], (days["estimate"].to_numpy() - slopes) ** 2, rtol=1e-5)
    np.testing.assert_allclose(mine[:, 1], days["conf_high"] - days["conf_low"], rtol=1e-5)
    np.testing.assert_array_equal(mine[:, 0], days["conf_low"].lt(slopes) & days["conf_high"].gt(slopes))


def test_draws_have_the_covariance_that_is_stated():
    table = {"y": np.arange(8000) + 0.0, "x": np.tile([0.0, 1.0], 4000), "g": np.repeat(np.arange(2000), 4)}
    design = build_design("y ~ x + (x | g)", table)
    stated = {"(Intercept)": 3.0, "x": -2.0, "sd(g, (Intercept))": 2.0, "sd(g, x)": 0.5, "sigma": 0.1}
    population = population_of(design, stated | {"cor(g, (Intercept), x)": -0.6})
    made, truth = population.draw(np.random.default_rng(3))
    np.testing.assert_allclose(np.cov(truth.effects[0].T), [[4.0, -0.6], [-0.6, 0.25]], atol=4 * 4 * np.sqrt(2 / 2000))
    rest = made.y - truth.predictor(design)
    assert rest.std() == pytest.approx(0.1, abs=4 * 0.1 / np.sqrt(16000))
    assert np.corrcoef(rest, truth.predictor(design))[0, 1] == pytest.approx(0, abs=4 / np.sqrt(8000))


def test_shares_by_the_name_of_their_study_and_what_is_refused_is_counted(monkeypatch):
    from workbench.calibration import coverages

    design = wb.load_study("cbpp").design()
    calls = []

    def refuse(name, *rest):
        calls.append(name)
        if name == "no_pooling" and calls.count(name) in (2, 3):
            raise OptionError("No.")
        return run_estimator(name, *rest)

    monkeypatch.setattr(coverages, "run_estimator", refuse)
    names = ["no_pooling", "laplace", "fixed_prior"]
    found = coverage(design, simulations=8, estimators=names)
    assert found.truth["sd(herd, (Intercept))"] == pytest.approx(0.6423, abs=1e-4)
    assert "sigma" not in found.truth
    assert found.refusals == {"no_pooling": ("Simulation 2: No.", "Simulation 3: No.")}
    assert "no_pooling refused 2 of 8 simulated responses" in found.warnings[0]
    n = row(found, "no_pooling", "sampling SE", n=4)
    whole = row(found, "laplace", "coefficient SE", n=4)
    assert (n["simulations"], whole["simulations"]) == (6, 8)
    herds = np.bincount(np.bincount(design.blocks[0].codes))
    assert whole["groups"] == herds[4]
    # coefficients are logits: the fixed prior lands on laplace's modes
    assert row(found, "fixed_prior", found.keys[-1][2], n=4)["squared_error"] == pytest.approx(
        whole["squared_error"], rel=1e-9
    )
    monkeypatch.setattr(coverages, "run_estimator", lambda name, *rest: (_ for _ in ()).throw(OptionError("Never.")))
    with pytest.raises(OptionError, match=r"no_pooling refuses each of the first 5 simulated responses. Never."):
        coverage(design, truth=wb.fit("cbind(incidence, size - incidence) ~ period + (1 | herd)",
                 "models/cbpp/data.csv", "laplace", family="binomial"), estimators=["no_pooling"])  # fmt: skip


def test_crossed_factors_have_their_own_sizes_and_known_errors_stay_known():
    found = coverage(wb.load_study("penicillin").design(), simulations=4)
    table = found.summary.query("estimator == 'reml' and std_error_kind == 'coefficient SE'")
    assert table[["group", "n", "groups"]].values.tolist() == [["plate", 6, 24], ["sample", 24, 6]]
    schools = wb.load_study("eight_schools").design()
    found = coverage(schools, truth={"sd(school)": 5.0, "(Intercept)": 8.0}, simulations=400, estimators=["no_pooling"])
    r = row(found, "no_pooling", "sampling SE")
    near(r, "squared_error", float(np.mean([15**2, 10**2, 16**2, 11**2, 9**2, 11**2, 10**2, 18**2])))
    near(r, "coverage", 0.95)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"truth": {"sd(Subjct)": 1.0}}, "names 'sd\\(Subjct\\)'"),
        ({"truth": {"Dyas": 1.0}}, "Did you mean 'Days'"),
        ({"truth": {"Days": "much"}}, "must be a number"),
        ({"truth": {"sd(Subject, Days)": -1.0}}, "must be 0 or more"),
        ({"between_sd": 2.0}, "an intercept, which varies by one factor"),
        ({"between_sd": 2.0, "truth": {"Days": 1.0}}, "Keep one of them"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_truths_that_are_none_are_refused(arguments, said):
    with pytest.raises(OptionError, match=said):
        coverage(wb.load_study("sleepstudy").design(), simulations=2, estimators=["reml"], **arguments)


def test_a_fit_of_other_terms_or_without_spread_is_no_truth():
    design = wb.load_study("sleepstudy").design()
    for formula, estimator, said in (
        ("Reaction ~ 1 + (1 | Subject)", "reml", "Give a fit of the same terms"),
        ("Reaction ~ Days + (Days | Subject)", "no_pooling", "no variances between groups"),
    ):
        with pytest.raises(OptionError, match=said):
            coverage(design, truth=wb.fit(formula, "models/sleepstudy/data.csv", estimator))


# --- processes ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("study", ["sleepstudy", "cbpp", "eight_schools"])
def test_two_processes_give_the_same_bits_as_one(monkeypatch, study):
    design = wb.load_study(study).design()
    one = coverage(design, simulations=11)
    monkeypatch.setattr(replications, "START_UP", 0.0)
    two = coverage(design, simulations=11, jobs=2)
    assert one.keys == two.keys
    np.testing.assert_array_equal(one.figures, two.figures)
    assert one.sentences == two.sentences


def test_processes_are_started_only_where_they_save_time(monkeypatch):
    asked = []

    def spread(packed, which, seed, workers, seconds, done):
        asked.append((len(which), workers))
        yield from (0.0 for _ in which)

    monkeypatch.setattr(replications, "_spread", spread)
    monkeypatch.setattr(replications, "perf_counter", iter(np.arange(100) * 1.0).__next__)  # a second each
    assert list(replications.replications(abs_of_seed, 5, 1, jobs=4))[2:] != [0.0] * 3
    assert len(list(replications.replications(abs_of_seed, 40, 1, jobs=4))) == 40
    assert asked == [(38, 4)]
    with pytest.raises(OptionError, match="cannot be sent to other processes"):
        next(replications.replications(lambda source: 0, 5, 1, jobs=2))


def test_the_linear_algebra_has_one_thread():
    assert list(replications.replications(blas_threads, 3, 1)) == [{1}] * 3


def test_a_process_that_is_ended_is_said(monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    class Broken:
        def submit(self, *arguments):
            raise BrokenProcessPool

        def shutdown(self, **how):
            pass

    monkeypatch.setattr(replications, "ProcessPoolExecutor", lambda *arguments, **more: Broken())
    monkeypatch.setattr(replications, "START_UP", -1.0)
    with pytest.raises(OptionError, match="A process was ended from outside"):
        list(replications.replications(abs_of_seed, 9, 1, jobs=2))


def blas_threads(source):
    from threadpoolctl import threadpool_info

    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def abs_of_seed(source):
    return float(source.generate_state(1)[0])


# --- what it comes to ---------------------------------------------------------------------------------


def test_sentences_say_the_figures_and_name_only_what_is_short():
    found = coverage([40] * 5 + [2] * 5, simulations=100, estimators=["no_pooling", "reml", "fixed_prior", "exact"])
    short = {(key, cell.low) for key, cell, _, _, more in shortfalls(found) if more}
    assert (("reml", "coefficient", "conditional SD"), 2) in short
    assert not {pair for pair in short if pair[0][0] in ("no_pooling", "exact")}
    first, plugged, bayes = found.sentences
    r = row(found, "reml", "conditional SD", n=2)
    assert f"REML, conditional SD of the coefficient: {100 * r['coverage']:.1f} % in groups of 2" in first
    b, own = row(found, "exact", "posterior SD", n=2), row(found, "reml", "coefficient SE", n=2)
    assert f"mean squared error of exact full Bayes is {b['squared_error']:.3f}"[:-1] in bayes
    assert f"{100 * b['coverage']:.1f} % of cases" in bayes
    assert f"coefficient SE hold it in {100 * own['coverage']:.1f} %" in bayes
    k, base = (found.keys.index((name, "coefficient", kind)) for name, kind in (
        ("fixed_prior", "curvature SD, prior and dispersion held"), ("reml", "coefficient SE")))  # fmt: skip
    gap = found.figures[:, k, 5:, 2].mean(axis=1) - found.figures[:, base, 5:, 2].mean(axis=1)
    error = np.std(gap, ddof=1) / np.sqrt(100)
    assert ("no different" in plugged) == (abs(gap.mean()) <= 2 * error)


def test_many_sizes_are_put_into_classes_of_about_as_many_groups():
    sizes = [2, 3, 3, 4, 5, 6, 7, 8, 9, 50]
    found = coverage(sizes, simulations=3, estimators=["reml"])
    assert len(found.cells()) == 9
    classes = [(cell.low, cell.high, len(cell.places)) for cell in found.cells(4)]
    assert sum(count for _, _, count in classes) == 10
    assert all(a[1] < b[0] for a, b in pairwise(classes))
    assert {count for _, _, count in classes} <= {2, 3}
    k, last = found.keys.index(("reml", "coefficient", "coefficient SE")), found.cells(4)[-1]
    np.testing.assert_allclose(
        found.by_simulation(found.keys[k], last), found.figures[:, k, list(last.places)].mean(axis=1)
    )
    assert len(found.by_size()) == 4 * len(found.keys)


def test_estimates_without_intervals_have_squared_errors_alone():
    found = coverage([6, 6, 6, 6], simulations=4, estimators=["james_stein"])
    r = found.summary.query("quantity == 'coefficient'").iloc[0]
    assert np.isnan([r["coverage"], r["width"], r["zero_width"]]).all()
    assert r["squared_error"] > 0
    assert r["missing"] == 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_picture_shows_the_means_of_each_size_and_the_line_that_is_promised():
    found = coverage([30, 30, 4, 4], simulations=40, estimators=["no_pooling", "reml"], level=0.9)
    seen = picture.view(found)
    assert [panel.title for panel in seen.panels] == ["2 groups of 4", "2 groups of 30"]
    labels = [mark.label for mark in seen.panels[0].marks]
    assert labels == ["no pooling, sampling SE", "REML, coefficient SE", "REML, conditional SD"]
    r, mark = row(found, "reml", "conditional SD", n=30), seen.panels[1].marks[2]
    assert (mark.coverage, mark.coverage_error) == (r["coverage"], r["coverage_error"])
    assert (mark.width, mark.width_error) == (r["width"], r["width_error"])
    axes = picture.draw(seen)
    assert len(axes) == 4
    assert [line.get_xdata()[0] for line in axes[0].lines][0] == 0.9  # noqa: RUF015
    placed = [tuple(part.get_offsets()[0]) for part in axes[1].collections]
    assert placed == [(mark.width, k) for k, mark in enumerate(seen.panels[0].marks)]
    assert found.plot(quantity="effect").get_title(loc="left") == "2 groups of 4"
    with pytest.raises(OptionError, match="Did you mean 'effect'"):
        picture.view(found, "efect")


# --- the command --------------------------------------------------------------------------------------


def call(capsys, *arguments):
    code = main(["simulate", *arguments, "--quiet"])
    return code, *capsys.readouterr()


def test_the_command_gives_what_the_function_gives(capsys, tmp_path):
    code, out, err = call(
        capsys, "20x3,2x3", "-n", "15", "--between-sd", "2", "--mean", "1", "--json", "--out", str(tmp_path / "made"),
        "--estimators", "no_pooling,reml", "--jobs", "1", "--seed", "4",
    )  # fmt: skip
    document = json.loads(out)
    direct = coverage([20] * 3 + [2] * 3, 2.0, None, 1.0, simulations=15, estimators=["no_pooling", "reml"], seed=4)
    assert code == 0
    assert "Written to" in err
    assert document["truth"] == {"(Intercept)": 1.0, "sigma": 5.0, "sd(group, (Intercept))": 2.0}
    assert [r["coverage"] for r in document["intervals"]] == direct.summary["coverage"].tolist()
    files = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert files == ["coverage.png", "coverage.svg", "manifest.json", "simulations.csv", "summary.csv"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "made/summary.csv"), direct.summary, check_dtype=False)
    each = pd.read_csv(tmp_path / "made/simulations.csv").query("estimator == 'no_pooling' and n_from == 2")
    assert each["squared_error"].mean() == pytest.approx(row(direct, "no_pooling", "sampling SE", n=2)["squared_error"])


def test_the_command_takes_studies_and_tables(capsys):
    code, out, _ = call(capsys, "twelve_groups", "-n", "3", "--estimators", "reml", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["truth"] == {"(Intercept)": 0.0, "sigma": 5.0, "sd(group, (Intercept))": 1.0}
    code, out, _ = call(
        capsys, "models/sleepstudy/data.csv", "Reaction ~ Days + (Days | Subject)", "-n", "3", "--truth",
        "sd(Subject, Days)=10", "--estimators", "reml",
    )  # fmt: skip
    said = " ".join(out.split())
    assert code == 0
    assert "sd(Subject, Days) = 10.00" in said
    assert "Days by Subject: 18 groups of 10" in said
    assert re.search(r"REML coefficient conditional SD \d", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "There is no study 'nonsense'"),
        (["5,5,0"], "at least 1 sample"),
        (["5x3", "--family", "binomial"], "Sizes and studies have no family to be told"),
        (["5x3", "--truth", "sigma=2"], "give between_sd, within_sd and mean"),
        (["sleepstudy", "--truth", "sigma=two"], "--truth 'sigma=two' is no number"),
        (["5x3", "-n", "1"], "simulations is 1"),
        (["9x9999999"], "at most 1,000,000"),
    ],
)
def test_the_command_refuses_in_words(capsys, arguments, said):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_sizes_are_read():
    assert read_sizes("3x2, 1 ,4X1") == [3, 3, 1, 4]

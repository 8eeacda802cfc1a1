"""The benchmark command on small cases: its accuracy against R, its table from made-up figures. Never timings."""

import doctest
import importlib
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from corpus import lmer_figures

from benchmarks.cases import CASES, Bar, Case, frame_of, simulate_one_factor
from benchmarks.engines import ENGINES
from benchmarks.measure import write_columns
from benchmarks.table import render, rows_of
from benchmarks.watch import Limits, Measurement, observe

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "benchmarks"]


def whole_command(folder, case, *engines):
    file = folder / "figures.json"
    asked = ["--cases", case, "--engines", *engines, "--repeats", "2", "--json", str(file)]
    done = subprocess.run([*COMMAND, *asked], capture_output=True, text=True, check=True, cwd=ROOT)
    return done, {m["engine"]: m for m in json.loads(file.read_text())["measurements"]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return whole_command(tmp_path_factory.mktemp("benchmarks"), "sleepstudy", "workbench")


def hold_to_r(ours, figures):
    """R's figures are polished: the criterion to rounding, the SDs to what a flat optimum shows of them."""
    reml = lmer_figures(figures, "REML")
    sds = {f"{group} {term}": sd for group, part in reml["VarCorr"].items() for term, sd in part["sd"].items()}
    assert ours["criterion"] == pytest.approx(reml["criterion"], rel=1e-10)
    assert ours["sds"] == pytest.approx(sds | {"Residual": reml["sigma"]}, rel=1e-6)


def test_figures_are_those_of_r(measured):
    hold_to_r(measured[1]["workbench"], "sleepstudy--slope")


def test_every_fit_but_the_first_is_counted_and_memory_lies_above_the_data(measured):
    found = measured[1]["workbench"]
    assert len(found["wall"]) == len(found["cpu"]) == 2
    assert min(found["wall"]) > 0
    assert found["peak"] >= found["held"] > found["data"] > 0
    assert found["rows"] == 180


def test_table_goes_to_stdout_and_progress_to_stderr(measured):
    done = measured[0]
    ours = done.stdout.splitlines()[-1].split()
    assert ours[:2] == ["workbench", "2"]
    assert [ours[k] for k in (3, 5, 7)] == ["1.00"] * 3
    assert float(ours[11]) == float(ours[12]) == 0
    assert "sleepstudy / workbench ... 2 fits" in done.stderr
    assert "..." not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "figures"), [("sleepstudy", "sleepstudy--slope"), ("penicillin", "Penicillin--crossed")]
)
def test_another_engine_is_asked_for_the_same_model(tmp_path, case, figures):
    done, found = whole_command(tmp_path, case, "workbench", "statsmodels")
    ours, theirs = found["workbench"], found["statsmodels"]
    hold_to_r(ours, figures)
    # statsmodels stops earlier, but near enough
    assert theirs["criterion"] == pytest.approx(ours["criterion"], abs=1e-4)
    assert theirs["sds"] == pytest.approx(ours["sds"], rel=1e-3)
    printed = next(line for line in done.stdout.splitlines() if line.startswith("  statsmodels ")).split()
    ratio = np.median(theirs["wall"]) / np.median(ours["wall"])
    assert float(printed[3]) == pytest.approx(ratio, rel=6e-3)  # three digits
    assert float(printed[11]) == pytest.approx(theirs["criterion"] - ours["criterion"], rel=0.06)  # two digits


def made_up(engine, wall, cpu, held, peak, criterion, sds):
    return Measurement("c", engine, "", "", wall, cpu, held, peak, 10.0, 1000, criterion, sds)


def test_ratios_from_made_up_measurements():
    ours = made_up("workbench", [0.5, 0.1, 0.2], [0.4, 0.2, 0.3], 100.0, 140.0, 50.0, {"g a": 2.0, "Residual": 0.0})
    theirs = made_up("lme4", [8.0], [9.0], 200.0, 280.0, 49.75, {"g a": 2.5, "Residual": 0.125})
    late = Measurement("c", "glmm", "> 120 s")
    refused = Measurement("c", "mixedlm-rs", "cannot", "takes one grouping factor")
    other_names = made_up("mixedlm", [0.2], [0.3], None, 140.0, 50.0, {"a": 2.0})
    rows = rows_of([refused, theirs, late, other_names, ours])
    row = rows[1]
    assert (row.wall, row.cpu, row.fits) == (8.0, 9.0, 1)
    assert (row.wall_ratio, row.cpu_ratio, row.peak_ratio) == pytest.approx((40.0, 30.0, 2.0), rel=1e-14)
    assert (row.above, row.above_ratio, row.per_data) == (80.0, 2.0, 8.0)
    assert (row.criterion_gap, row.sd_gap) == (-0.25, 0.25)  # relative, absolute where ours is zero: 0.125
    assert (rows[4].wall, rows[4].wall_ratio, rows[4].per_data) == (0.2, 1.0, 4.0)
    assert rows[2].wall_ratio is rows[2].above is rows[3].above is None
    assert np.isnan(rows[3].sd_gap)

    text = render(Case("c", "made up", "y ~ 1", (Bar("1", "g"),), dict), [refused, theirs, late, ours])
    lines = [line.split() for line in text.splitlines()]
    assert lines[1][-7:] == ["1,000", "rows,", "10.0", "MB", "of", "input", "columns"]
    assert lines[3] == ["mixedlm-rs", "cannot"]
    figures = ["8.00", "40.0", "9.00", "30.0", "280", "2.00", "80.0", "2.00", "8.00", "-2.5e-01", "2.5e-01"]
    assert lines[4] == ["lme4", "1", *figures]
    assert lines[5] == ["glmm", ">", "120", "s"]
    assert lines[7] == ["mixedlm-rs:", "takes", "one", "grouping", "factor"]


def test_without_ours_there_are_figures_and_no_ratios():
    row = rows_of([made_up("lme4", [8.0], [9.0], 200.0, 280.0, 49.75, {"g a": 2.5})])[0]
    assert (row.wall, row.above) == (8.0, 80.0)
    assert row.wall_ratio is row.above_ratio is row.criterion_gap is row.sd_gap is None


def test_a_fit_beyond_the_limit_is_ended():
    found = observe(ENGINES["workbench"], CASES["sleepstudy"], Limits(repeats=1, seconds=1e-4), "pandas")
    assert (found.word, found.wall) == ("> 0.0001 s", [])


def test_what_an_engine_cannot_do_is_said_with_its_reason():
    found = observe(ENGINES["mixedlm-rs"], CASES["penicillin"], Limits(), "pandas")
    assert (found.word, found.reason) == ("cannot", "takes one grouping factor")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_process_that_needs_too_much_memory_says_so():
    found = observe(ENGINES["bare sums"], CASES["million"], Limits(memory=0.1, threads=1), "pandas")
    assert found.word == "no memory"


@pytest.mark.slow
def test_an_interrupt_prints_what_was_measured():
    command = [*COMMAND, "--cases", "sleepstudy", "ten_million", "--engines", "workbench", "--repeats", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
        said = ""
        while not said.endswith("ten_million / workbench ... "):
            said += child.stderr.read(1)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "sleepstudy: Reaction" in out
    assert "ten_million" not in out


@pytest.mark.parametrize("kind", ["integer", "categorical", "text"])
def test_every_dataframe_holds_the_same_columns(kind, tmp_path):
    columns = simulate_one_factor(300, 40, kind, slope=True)
    first, second = frame_of(columns, "pandas"), frame_of(columns, "polars")
    for name in ("y", "x", "g"):
        assert first[name].tolist() == second[name].to_list()
    write_columns(columns, tmp_path)
    levels = (tmp_path / "g.levels").read_text().split()
    assert [levels[k - 1] for k in np.fromfile(tmp_path / "g", "<i4")] == [str(label) for label in first["g"]]
    assert np.fromfile(tmp_path / "y", "<f8").tolist() == first["y"].tolist()


def test_groups_are_unbalanced_all_there_and_the_same_every_time():
    codes = simulate_one_factor(5000, 200, "integer")["g"].codes
    sizes = np.bincount(codes, minlength=200)
    assert sizes.min() >= 1
    assert sizes.std() > 2 * np.sqrt(25)  # far beyond a Poisson count's
    assert np.array_equal(codes, simulate_one_factor(5000, 200, "text")["g"].codes)
    assert set(np.bincount(simulate_one_factor(80, 40, "integer", pairs=True)["g"].codes)) == {2}


def test_every_engine_can_be_installed_by_the_readme_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["project"]["dependencies"] + project["dependency-groups"]["bench"]
    names = {entry.split("=")[0].split(">")[0] for entry in listed} | {"shrinkage-workbench", ""}
    assert {engine.distribution for engine in ENGINES.values()} <= names
    assert "uv run --group bench python -m benchmarks" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["cases", "engines", "measure", "table", "watch"])
def test_doctests_run(name):
    assert doctest.testmod(importlib.import_module(f"benchmarks.{name}")).failed == 0

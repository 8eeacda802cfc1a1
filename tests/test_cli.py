"""The command line as a user calls it: exit codes, messages, JSON. Whole processes where that matters."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

from workbench.cli import main

pytestmark = pytest.mark.usefixtures("one_picture")

ROOT = Path(__file__).parent.parent
SLEEP = str(DATA / "datasets/sleepstudy.csv")
FORMULA = "Reaction ~ Days + (Days | Subject)"


def call(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_fit_prints_one_json_document(capsys):
    code, out, err = call(capsys, "fit", SLEEP, FORMULA, "--estimator", "reml", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["criterion"]["value"] == pytest.approx(1743.6282719584908, rel=1e-11)
    assert document["nobs"] == 180


def test_intervals_stand_beside_the_fit_without_changing_it(capsys):
    _, plain, _ = call(capsys, "fit", SLEEP, FORMULA, "--json")
    code, out, err = call(capsys, "fit", SLEEP, FORMULA, "--json", "--intervals", "profile", "--level", "0.95")
    document = json.loads(out)
    rows = {row["term"]: row for row in document.pop("intervals")}
    assert (code, err) == (0, "")
    assert document | {"seconds": 0} == json.loads(plain) | {"seconds": 0}
    assert rows["sd(Subject, Days)"]["conf_high"] == pytest.approx(8.7533919863, rel=1e-8)
    assert rows["sigma"]["interval"] == "profile 95 %"
    code, out, _ = call(capsys, "fit", SLEEP, FORMULA, "--intervals", "profile")
    assert code == 0
    assert "profile 95 %" in out
    code, _, err = call(capsys, "fit", SLEEP, FORMULA, "-e", "complete_pooling", "--intervals", "bootstrap")
    assert code == 2
    assert "needs a gaussian fit by reml or ml" in err


def test_compare_prints_a_document_a_line(capsys):
    code, out, _ = call(capsys, "compare", SLEEP, FORMULA, "--estimators", "no_pooling,reml", "fixed_prior", "--json")
    assert code == 0
    assert [json.loads(line)["estimator"] for line in out.splitlines()] == [
        "no_pooling",
        "reml",
        "fixed_prior",
    ]


def test_options_and_levels_reach_the_estimator(capsys):
    arguments = ("--option", "dispersion=reml", "--option", "covariance=joint", "--level", "0.5", "--json")
    _, out, _ = call(capsys, "fit", SLEEP, FORMULA, "-e", "fixed_prior", *arguments)
    _, base, _ = call(capsys, "fit", SLEEP, FORMULA, "-e", "reml", "--json")
    ours, reml = json.loads(out)["effects"][0], json.loads(base)["effects"][0]
    assert ours["coefficient"] == pytest.approx(reml["coefficient"], rel=1e-10)
    assert (ours["conf_high"] - ours["effect"]) / ours["std_error"] == pytest.approx(0.6744897502, rel=1e-8)


def test_tables_for_people(capsys):
    code, out, _ = call(capsys, "compare", SLEEP, FORMULA, "--estimators", "no_pooling", "reml")
    assert code == 0
    assert "308" in out
    assert "REML" in out
    code, out, _ = call(capsys, "fit", SLEEP, FORMULA)
    assert code == 0
    assert "1743.628" in out
    assert "251.4" in out


def test_lists_and_show(capsys):
    assert "fixed_prior" in call(capsys, "estimators")[1]
    assert "Reaction ~ Days + (Days | Subject)" in call(capsys, "studies")[1]
    code, out, _ = call(capsys, "show", "sleepstudy")
    assert code == 0
    for text in ("180", "Subject", "18", "HalfStudentT(3, 56.3)", "LKJ(2)", "no_pooling"):
        assert text in out


def test_check_prints_a_table_and_its_verdict(capsys):
    code, out, _ = call(capsys, "check", "dyestuff")
    assert code == 0
    assert "1764.05" in out


def test_check_of_a_missed_figure_is_exit_code_1(capsys, tmp_path):
    import shutil

    from workbench.study import load_study

    folder = shutil.copytree(load_study("dyestuff").folder, tmp_path / "dyestuff")
    path = folder / "reference.toml"
    path.write_text(path.read_text().replace("value = 1527.5", "value = 1528.5", 1))
    assert call(capsys, "check", str(folder))[0] == 1


def test_run_writes_the_report_and_says_where(capsys, tmp_path):
    code, out, _ = call(capsys, "run", "dyestuff", "--estimators", "no_pooling", "reml", "--out", str(tmp_path))
    assert code == 0
    assert (tmp_path / "dyestuff/index.html").stat().st_size > 10_000
    assert "dyestuff/index.html" in out.replace("\n", "")


# --- bad input: exit code 2, one to three lines, nothing written ----------------------------------------

N = 12
GOOD = {"y": np.arange(N) % 5 + 0.5, "x": np.linspace(0, 1, N), "g": list("aabbccddeeff")}
BAD = {
    "missing file": (None, "y ~ 1 + (1 | g)", [], "There is no file"),
    "missing column": ({}, "y ~ X2 + (1 | g)", [], "has no column 'X2'"),
    "nearest column": ({}, "y ~ X + (1 | g)", [], "Did you mean 'x'?"),
    "unknown estimator": ({}, "y ~ 1 + (1 | g)", ["--estimators", "remll"], "Did you mean 'reml'?"),
    "formula error": ({}, "y ~ x + (1 | g", [], "^"),
    "one level": ({"g": ["a"] * N}, "y ~ 1 + (1 | g)", [], "has 1 level ('a')"),
    "levels as rows": ({"g": [f"r{i}" for i in range(N)]}, "y ~ 1 + (1 | g)", [], "12 levels in 12 rows"),
    "all missing": ({"y": [np.nan] * N}, "y ~ 1 + (1 | g)", [], "missing: y 12"),
    "infinite": ({"y": [*GOOD["y"][:-1], np.inf]}, "y ~ 1 + (1 | g)", [], "data row 12"),
    "text response": ({"y": list("abcdefghijkl")}, "y ~ 1 + (1 | g)", [], "the first value is 'a'"),
    "empty table": ("empty", "y ~ 1 + (1 | g)", [], "no rows"),
    "unknown family": ({}, "y ~ 1 + (1 | g)", ["--family", "normal"], "There is no family 'normal'"),
    "constant response": ({"y": [2.0] * N}, "y ~ 1 + (1 | g)", [], "constant"),
    "two factors": (
        {"h": list("uvuvuvuvuvuv")},
        "y ~ 1 + (1 | g) + (1 | h)",
        ["--estimators", "no_pooling"],
        "2 grouping factors",
    ),
    "prior without sign": ({}, "y ~ 1 + (1 | g)", ["--prior", "sigma"], "has no '='"),
    "file that is none": ("binary", "y ~ 1 + (1 | g)", [], "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, capsys, tmp_path):
    change, formula, more, said = BAD[case]
    path = tmp_path / "data.csv"
    if change == "empty":
        path.write_text("y,x,g\n")
    elif change == "binary":
        path = tmp_path / "data.parquet"
        path.write_bytes(b"PAR1 this is no parquet")
    elif change is not None:
        pd.DataFrame(GOOD | change).to_csv(path, index=False)
    before = sorted(p.name for p in tmp_path.iterdir())
    code, out, err = call(capsys, "compare", str(path), formula, "--out", str(tmp_path / "report"), *more)
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert 1 <= len(err.strip().splitlines()) <= 3
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_levels_as_rows_are_fine_with_known_standard_errors(capsys, tmp_path):
    path = tmp_path / "data.csv"
    pd.DataFrame(
        {"y": [28, 8, -3, 7, -1, 1, 18, 12], "s": [15, 10, 16, 11, 9, 11, 10, 18], "school": list("ABCDEFGH")}
    ).to_csv(path)
    code, out, _ = call(capsys, "fit", str(path), "y ~ 1 + (1 | school)", "--se", "s", "--json")
    assert code == 0
    assert json.loads(out)["fixed"][0]["estimate"] == pytest.approx(7.685617, abs=5e-7)
    assert json.loads(out)["fixed"][0]["std_error"] == pytest.approx(4.071919, abs=5e-7)


def test_bad_usage_is_exit_code_2(capsys):
    for arguments in (["fit"], ["nonsense"], ["compare", SLEEP], []):
        assert call(capsys, *arguments)[0] == 2


def test_a_fit_that_does_not_converge_is_exit_code_1(capsys):
    code, out, _ = call(capsys, "fit", SLEEP, FORMULA, "-e", "fixed_prior", "--option", "max_iterations=1", "--json")
    assert code == 1
    assert json.loads(out)["converged"] is False


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "workbench", "studies"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "twelve_groups" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "show", "nothing"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("workbench: There is no study 'nothing'")


def test_options_of_a_comparison_are_named_by_their_estimator(capsys):
    arguments = ("compare", SLEEP, FORMULA, "--estimators", "reml", "fixed_prior", "--json")
    told = ("--option", "fixed_prior.covariance=joint", "--option", "fixed_prior.dispersion=reml")
    code, out, _ = call(capsys, *arguments, *told)
    mixed, plugged = (json.loads(line)["effects"] for line in out.splitlines())
    assert code == 0
    for one, other in zip(mixed, plugged, strict=True):
        assert other["coefficient"] == pytest.approx(one["coefficient"], abs=1e-10)
    code, _, err = call(capsys, *arguments, "--option", "dispersion=reml")
    assert code == 2
    assert "names no estimator. Write it like --option fixed_prior.dispersion=reml." in err


def test_show_prints_the_priors_as_resolved(capsys):
    _, stated, _ = call(capsys, "show", "eight_schools")
    assert re.search(r"\(Intercept\) +Normal\(0, 5\)", stated)
    assert re.search(r"sd\(school, \(Intercept\)\) +HalfCauchy\(5\)", stated)
    assert "sigma" not in stated  # standard errors are known
    _, defaults, _ = call(capsys, "show", "pastes")  # s_y = 3.238: the defaults of workbench/priors.py
    assert re.search(r"\(Intercept\) +Normal\(60\.1, 8\.1\)", defaults)
    for name in (r"sigma", r"sd\(cask:batch, \(Intercept\)\)", r"sd\(batch, \(Intercept\)\)"):
        assert re.search(name + r" +HalfStudentT\(3, 3\.24\)", defaults)

"""The lines that make a report again: the command is called, and its numbers are those of the report; all languages
speak of the same file and columns."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.cli import main
from workbench.report.asked import file_name
from workbench.report.context import Context
from workbench.report.own_code import command, python_code
from workbench.report.pymc_code import pymc_code
from workbench.report.r_code import r_code

RNG = np.random.default_rng(4)


def firms(n=40):
    return pd.DataFrame(
        {
            "y": RNG.normal(size=n) + np.repeat(RNG.normal(0, 2, 8), n // 8),
            "size now": RNG.normal(size=n),
            "w": RNG.uniform(1, 3, n),
            "off": RNG.normal(size=n),
            "se": RNG.uniform(0.5, 1, n),
            "firm": np.repeat(list("abcdefgh"), n // 8),
        }
    )


def printed(folder):
    """The command that a report prints, as a shell would split it."""
    (line,) = re.findall(r"^workbench compare .*$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(line)


ARGUMENTS = {
    "weights, level, seed, prior": [
        "y ~ 1 + (1|firm)", "--weights", "w", "--level", "0.9", "--seed", "7", "--prior", "sd(firm)=HalfNormal(2)",
        "--estimators", "no_pooling", "reml", "exact",
    ],
    "a name with a blank, an offset": ["y ~ `size now` + (1|firm)", "--offset", "off", "--estimators", "reml"],
    "known errors, options": [
        "y ~ 1 + (1|firm)", "--se", "se", "--estimators", "reml", "penalized", "--option", "penalized.kind=lasso",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ["firms.csv", pytest.param("tables/firms.parquet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.usefixtures("one_picture")
def test_the_printed_command_makes_the_report_again(tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    table = firms()
    table.to_csv(name, index=False) if name.endswith("csv") else table.to_parquet(name)
    assert main(["compare", name, *arguments, "--out", "first", "--quiet"]) == 0
    words = printed(tmp_path / "first")
    assert words[:3] == ["workbench", "compare", name]
    assert main([*words[1:], "--quiet"]) == 0
    first, again = (
        (tmp_path / made / "tables/estimates.csv").read_text(encoding="utf-8") for made in ("first", "report")
    )
    assert again == first
    assert printed(tmp_path / "report") == words


def test_nothing_in_the_command_is_run_by_a_shell():
    table = firms().rename(columns={"size now": "$(rm -r x)", "firm": "the 'firm'"})
    comparison = wb.compare("y ~ `$(rm -r x)` + (1 | `the 'firm'`)", table, ["reml"], weights="w")
    assert command(comparison, Context()).splitlines()[-1] == shlex.join(
        ["workbench", "compare", "data.csv", str(comparison.design.formula), "--weights", "w", "--estimators", "reml",
         "--out", "report"]
    )  # fmt: skip
    assert "`$(rm" not in re.sub("'[^']*'", "", command(comparison, Context()))


@pytest.mark.parametrize(("ending", "in_r"), [("csv", "read.csv"), ("parquet", "arrow::read_parquet")])
def test_all_languages_name_the_file_and_the_columns(tmp_path, ending, in_r):
    path = tmp_path / f"firms.{ending}"
    firms().to_csv(path) if ending == "csv" else firms().to_parquet(path)
    comparison = wb.compare("y ~ 1 + (1 | firm)", path, ["reml"], weights="w", offset="off", level=0.8, seed=3)
    shell, python, pymc, r = (line(comparison, Context()) for line in (command, python_code, pymc_code, r_code))
    assert f"firms.{ending} 'y ~ 1 + (1 | firm)' --weights w --offset off --level 0.8 --seed 3" in shell
    for line in (f'"firms.{ending}"', 'weights="w"', 'offset="off"', "level=0.8", "seed=3"):
        assert line in python
    assert f'd = pd.read_{ending}("firms.{ending}"' in pymc
    assert 'd["w"]' in pymc
    assert 'd["off"]' in pymc
    assert f'{in_r}("firms.{ending}"' in r
    assert "weights = w, offset = off)" in r
    for lines in (shell, python, pymc, r):
        assert str(tmp_path) not in lines
        assert "stands for" not in lines


def test_what_was_given_as_objects_has_one_name_in_all_languages():
    table = firms()
    comparison = wb.compare(
        "y ~ 1 + (1 | firm)", table, ["reml"], weights=table["w"].to_numpy(), offset=table["off"].to_numpy()
    )
    shell, python, pymc, r = (line(comparison, Context()) for line in (command, python_code, pymc_code, r_code))
    assert "data.csv 'y ~ 1 + (1 | firm)' --weights weights --offset offset" in shell
    assert '"data.csv",' in python
    assert 'weights="weights"' in python
    assert 'd["weights"].to_numpy(float)' in pymc
    assert 'd["offset"].to_numpy(float)' in pymc
    assert "weights = weights, offset = offset)" in r
    for lines in (shell, python, pymc, r):
        assert "# data.csv stands for the table, of which no file is known here: save it under this name." in lines
        assert "# The column weights stands for the prior weights," in lines
        assert "# The column offset stands for the offset," in lines
    compile(python, "report", "exec")


def test_a_name_that_stands_for_a_column_is_no_column_of_the_formula():
    table = firms().rename(columns={"size now": "weights"})
    comparison = wb.compare("y ~ weights + (1 | firm)", table, ["reml"], weights=table["w"].to_numpy())
    assert "--weights weights_given" in command(comparison, Context())
    assert "weights = weights_given)" in r_code(comparison, Context())


def test_a_study_that_was_run_by_hand_keeps_its_columns():
    comparison = wb.run("eight_schools", estimators=["reml"])
    assert "--se se" in command(comparison, Context())
    assert 'se="se"' in python_code(comparison, Context())


def test_a_truth_that_was_given_is_spoken_of():
    truth = pd.DataFrame({"level": ["a"], "term": ["(Intercept)"], "value": [1.0]})
    comparison = wb.compare("y ~ 1 + (1 | firm)", firms(), ["reml"], truth=truth)
    assert "# The truth that it was held to cannot be given on the command line." in command(comparison, Context())
    assert "    truth=truth," in python_code(comparison, Context())
    assert "truth = ..." in python_code(comparison, Context())


def test_options_that_are_text_are_read_as_text():
    from workbench.commands.given import read_option
    from workbench.report.own_code import _option_text

    for value in ("reml", "5", "true", 'a "b"', 2.5, float("inf"), None, [1, 2], {"(Intercept)": 2.0}):
        assert read_option(f"key={_option_text(value)}") == ("key", value)


def test_names_of_files_tell_nothing_of_a_machine():
    assert file_name(r"C:\Users\somebody\firms.tsv") == "firms.tsv"
    assert file_name("../firms.rds") == "../firms.rds"


# --- reading, in R and in pandas ----------------------------------------------------------------------


AWKWARD = """y,my x,g,w
1.5,2,01,1
2.5,NULL,01,1
3,1,None,2
4,0,None,2
5,1,NA,1
2,2,n/a,1
1,3,n/a,0
1,3,T,3
7,2,T,3
"""
MISSING = '"", "NA", "N/A", "NaN", "nan", "null", "NULL"'
"""What our own reader takes for missing (:mod:`workbench.tables`)."""


def awkward(folder, name="awkward.csv"):
    text = AWKWARD if name.endswith("csv") else AWKWARD.replace(",", "\t")
    (folder / name).write_text(text, encoding="utf-8")
    return wb.compare("y ~ `my x` + (1 | g)", folder / name, ["reml"], weights="w")


def test_r_reads_a_file_as_we_do(tmp_path):
    lines = r_code(awkward(tmp_path), Context()).splitlines()
    assert lines[1:6] == [
        f"absent <- c({MISSING})",
        'd <- read.csv("awkward.csv", check.names = FALSE, na.strings = absent,',
        '              colClasses = c(g = "character"))',
        "d <- d[which(d$w > 0), ]",
        "d$g <- factor(d$g)",
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("d.tsv", 'd <- read.delim("d.tsv", check.names = FALSE, na.strings = absent)'),
        ("d.txt", 'd <- read.delim("d.txt", check.names = FALSE, na.strings = absent)'),
        ("d.csv.gz", 'd <- read.csv("d.csv.gz", check.names = FALSE, na.strings = absent)'),
        ("d.pq", 'd <- as.data.frame(arrow::read_parquet("d.pq"))'),
        ("d.feather", 'd <- as.data.frame(arrow::read_feather("d.feather"))'),
        ("d.rds", 'd <- readRDS("d.rds")'),
    ],
)
def test_r_has_a_reader_for_every_kind_of_file(name, line):
    comparison = wb.compare("y ~ 1 + (1 | firm)", firms(), ["reml"])
    assert line in r_code(comparison, Context(study={"data": name})).splitlines()


@pytest.mark.parametrize("name", ["awkward.csv", "awkward.tsv"])
def test_pandas_reads_the_rows_that_we_do(tmp_path, monkeypatch, name):
    comparison = awkward(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    lines = pymc_code(comparison, Context()).splitlines()
    reading = [line for line in lines[: lines.index("X = {")] if "pymc" not in line]
    defined = {}
    exec("\n".join(reading), defined)  # noqa: S102
    assert list(defined["levels1"]) == list(comparison.design.blocks[0].levels) == ["01", "None", "T", "n/a"]
    assert defined["d"]["my x"].tolist() == comparison.design.X[:, 1].tolist()
    np.testing.assert_array_equal(defined["g1"], comparison.design.blocks[0].codes)


@pytest.mark.parametrize(("name", "reader"), [("d.pq", "read_parquet"), ("d.ipc", "read_feather"), ("d.rds", "")])
def test_pandas_has_a_reader_for_most_kinds_of_file(name, reader):
    comparison = wb.compare("y ~ 1 + (1 | firm)", firms(), ["reml"])
    code = pymc_code(comparison, Context(study={"data": name}))
    assert (f'd = pd.{reader}("{name}")' if reader else f'build_design("y ~ 1 + (1 | firm)", "{name}")') in code

"""Studies are not fitted again where nothing has changed. Every change is tried."""

import json
import shutil

import pytest
from corpus import DATA

from workbench.cli import main
from workbench.report.unchanged import earlier_run
from workbench.study import load_study

pytestmark = pytest.mark.usefixtures("one_picture")

STUDY = DATA.parent.parent / "models/dyestuff"
ESTIMATORS = ("no_pooling", "reml")
MISSED = """
[[figure]]
estimator = "reml"
quantity = "sigma"
value = 1.0
tolerance = 0.1
source = "made up"
"""


def run(study, *more):
    return main(["run", str(study), "--out", str(study.parent / "out"), "--estimators", *ESTIMATORS, *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of a study with one published figure that is missed, and its report."""
    study = tmp_path_factory.mktemp("once") / "dyestuff"
    shutil.copytree(STUDY, study)
    path = study / "reference.toml"
    path.write_text(path.read_text() + MISSED)
    assert run(study) == 1
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.parent, tmp_path / "all")
    return tmp_path / "all" / "dyestuff"


def earlier(study, estimators=ESTIMATORS, svg=True):
    return earlier_run(study.parent / "out" / "dyestuff", load_study(study).file_hashes(), estimators, svg)


def test_a_second_run_fits_nothing_and_ends_as_the_first(study, capsys, monkeypatch):
    manifest = study.parent / "out" / "dyestuff" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    monkeypatch.setattr("workbench.study.run_study", None)
    capsys.readouterr()
    assert run(study) == 1
    said = capsys.readouterr().out
    assert "dyestuff: nothing has changed since" in said
    total = len(json.loads(manifest.read_text())["published_figures"])
    assert f"{total - 1} of {total} reference figures reached" in said
    assert manifest.stat().st_mtime_ns == before


def test_force_fits_all_the_same(study, capsys):
    capsys.readouterr()
    assert run(study, "--force", "--no-svg") == 1
    assert "nothing has changed" not in capsys.readouterr().out
    assert earlier(study, svg=False) is not None
    assert earlier(study, svg=True) is None  # those were left out


@pytest.mark.parametrize("name", ["data.csv", "notes.md", "model.toml", "reference.toml"])
def test_another_file_of_the_study_is_another_study(study, name):
    assert earlier(study) is not None
    with (study / name).open("a") as file:
        file.write("\n")
    assert earlier(study) is None


def test_every_foreign_file_counts_by_itself(study):
    """Also where a file is named with the estimator whose rows are read, or two files in two folders alike."""
    rows = "estimator,group,level,term,estimate\n" + "".join(f"reml,Batch,{k},(Intercept),1.0\n" for k in "ABCDEF")
    for folder in ("one", "two"):
        (study / folder).mkdir()
        (study / folder / "tidy.csv").write_text(rows)
    with (study / "model.toml").open("a") as file:
        file.write('\n[foreign]\na = "one/tidy.csv:reml"\nb = "two/tidy.csv"\n')
    before = load_study(study).file_hashes()
    assert {"one/tidy.csv", "two/tidy.csv"} < set(before)
    (study / "one" / "tidy.csv").write_text(rows.replace("1.0", "2.0"))
    after = load_study(study).file_hashes()
    assert {name for name in before if before[name] != after[name]} == {"one/tidy.csv"}


def test_other_estimators_are_another_report(study):
    assert earlier(study, ("no_pooling", "reml", "ml")) is None
    assert earlier(study, ("reml", "no_pooling")) is None


def test_a_report_that_is_not_whole_is_made_again(study):
    folder = study.parent / "out" / "dyestuff"
    table = folder / "tables" / "variance.csv"
    whole = table.read_text()
    table.write_text("altered")
    assert earlier(study) is None
    table.write_text(whole)
    assert earlier(study) is not None
    (folder / "plots" / "shrinkage.png").unlink()
    assert earlier(study) is None


@pytest.mark.parametrize(("key", "value"), [("code_sha256", "0" * 64), ("versions", {"python": "2.7"})])
def test_other_code_or_versions_are_another_report(study, key, value):
    path = study.parent / "out" / "dyestuff" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert earlier(study) is None


def test_draws_that_are_gone_are_drawn_again(study):
    path = study.parent / "out" / "dyestuff" / "manifest.json"
    made = json.loads(path.read_text())
    made["fits"]["reml"]["draws"] = "draws/reml.nc"
    path.write_text(json.dumps(made))
    assert earlier(study) is None


def test_a_folder_without_a_report_has_no_earlier_run(tmp_path):
    assert earlier_run(tmp_path, {}, ESTIMATORS, True) is None

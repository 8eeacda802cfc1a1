"""A report held to what it was made from. Rungs: a fresh report holds; whatever is tampered with is named, and nothing
else."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from workbench.cli import main
from workbench.errors import ReportError
from workbench.recheck import recheck
from workbench.report import write_report
from workbench.study import load_study, run_study, study_context


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Reports of a gaussian study with draws and of one of counts, without pictures."""
    out = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.report.write._draw", lambda *args: [])
        for name, estimators, options in (
            ("sleepstudy", ["no_pooling", "reml", "ml", "hierarchical"], {"hierarchical": {"draws": 500, "tune": 300}}),
            ("cbpp", ["laplace", "agq"], {}),
        ):
            study = load_study(name)
            comparison = run_study(study, estimators, options=options)
            write_report(comparison, out / name, study_context(study, comparison))
    return out


@pytest.fixture
def report(made, tmp_path):
    return shutil.copytree(made / "sleepstudy", tmp_path / "sleepstudy")


def failed(folder):
    return [row.what for row in recheck(folder) if row.holds is False]


def manifest(folder, change):
    """Change the manifest."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def table(folder, name, change):
    """Change a table, and its hash in the manifest with it."""
    path = folder / f"tables/{name}.csv"
    rows = pd.read_csv(path, dtype={"level": str}, keep_default_na=False, na_values=[""])
    change(rows)
    rows.to_csv(path, index=False)
    seal(folder, f"tables/{name}.csv")


def seal(folder, name):
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    manifest(folder, lambda content: content["files"].update({name: digest}))


def test_fresh_reports_hold(made):
    for name, checked in (("sleepstudy", ("reml", "ml")), ("cbpp", ("laplace", "agq"))):
        rows = recheck(made / name)
        assert [row.what for row in rows if row.holds is False] == []
        for estimator in checked:
            assert {f"criterion of {estimator} at its variances", f"group coefficients of {estimator}"} <= {
                row.what for row in rows if row.holds
            }
    assert sum("posterior summaries" in row.what for row in recheck(made / "sleepstudy")) == 5


def test_a_changed_file_is_named(report):
    path = report / "tables/estimates.csv"
    path.write_bytes(path.read_bytes().replace(b"251.4", b"252.4", 1))
    assert failed(report) == ["file tables/estimates.csv"]
    (report / "README.md").unlink()
    assert failed(report) == ["file README.md", "file tables/estimates.csv"]


def test_a_changed_criterion_is_named(report):
    def change(content):
        content["fits"]["reml"]["criterion"]["value"] += 1e-4

    manifest(report, change)
    assert failed(report) == ["criterion of reml at its variances"]


def test_changed_variances_are_named(report):
    def change(rows):
        rows.loc[(rows["estimator"] == "ml") & (rows["term1"] == "Days"), "vcov"] *= 1.05

    table(report, "variance", change)
    assert failed(report) == [
        "criterion of ml at its variances", "no smaller criterion of ml nearby", "group coefficients of ml",
    ]  # fmt: skip


def test_a_changed_coefficient_is_named(report):
    def change(rows):
        chosen = (rows["estimator"] == "reml") & (rows["effect"] == "ran_coefs") & (rows["level"] == "335")
        rows.loc[chosen, "estimate"] += 1e-3

    table(report, "estimates", change)
    assert failed(report) == ["group coefficients of reml"]


def test_changed_summaries_are_named(report):
    def change(rows):
        rows.loc[rows["name"] == "sigma", "conf_high"] *= 1.001

    table(report, "parameters", change)
    assert failed(report) == ["posterior summaries of hierarchical: conf_high of parameters"]


def test_changed_draws_are_named(report):
    import h5py

    name = "draws/hierarchical.nc"
    with h5py.File(report / name, "r+") as file:
        file["posterior/sigma"][...] = file["posterior/sigma"][...] * 1.001
    assert f"file {name}" in failed(report)
    seal(report, name)
    found = failed(report)
    assert found
    assert all(what.startswith("posterior summaries of hierarchical") for what in found)


def test_draws_that_are_not_there_are_not_checked(report):
    (report / "draws/hierarchical.nc").unlink()
    (row,) = (row for row in recheck(report) if "posterior" in row.what)
    assert row.holds is None
    assert row.found == "not here: not checked"
    assert failed(report) == []


def test_a_published_figure_that_is_not_reached_is_named(report):
    def change(content):
        content["published_figures"][0]["ours"] += 1.0

    manifest(report, change)
    first, whole = failed(report)
    assert first.startswith("reference figure ")
    assert whole == "reference figures"


def test_other_data_are_refused(report, tmp_path, monkeypatch):
    manifest(report, lambda content: content["source_files_sha256"].update({"data.csv": "0" * 64}))
    with pytest.raises(ReportError, match=r"another version of the study sleepstudy: data\.csv differs"):
        recheck(report)
    manifest(report, lambda content: content["study"].update({"name": "nowhere", "folder": "models/nowhere"}))
    with pytest.raises(ReportError, match=r"study nowhere .* is not to be found"):
        recheck(report)
    manifest(report, lambda content: content.update({"study": {}}))
    with pytest.raises(ReportError, match="names no study"):
        recheck(report)
    with pytest.raises(ReportError, match=r"no manifest\.json of ours"):
        recheck(tmp_path)


def test_a_study_beside_the_report_is_found(tmp_path, monkeypatch):
    folder = shutil.copytree(load_study("dyestuff").folder, tmp_path / "models/mine")
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    study = load_study(folder)
    comparison = run_study(study, ["reml"])
    place = write_report(comparison, tmp_path / "reports/mine", study_context(study, comparison))
    assert failed(place) == []
    text = (folder / "data.csv").read_text()
    (folder / "data.csv").write_text(text.replace("1545", "1546"))
    with pytest.raises(ReportError, match="differs"):
        recheck(place)


def test_the_command_prints_the_table_and_says_what_does_not_hold(report, capsys):
    assert main(["check", str(report)]) == 0
    assert "checks hold" in capsys.readouterr().out
    (report / "README.md").write_text("other words")
    assert main(["check", str(report)]) == 1
    assert "! file README.md does not hold." in capsys.readouterr().out


def test_a_spread_of_zero_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    study = load_study("dyestuff2")
    comparison = run_study(study, ["reml"])
    assert comparison.fits["reml"].components[0].sd[0] == 0
    place = write_report(comparison, tmp_path / "r", study_context(study, comparison))
    rows = {row.what: row for row in recheck(place)}
    assert rows["criterion of reml at its variances"].holds
    assert np.isfinite(float(rows["criterion of reml at its variances"].found))

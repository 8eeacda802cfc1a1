"""Studies and published figures. Rungs: published figures, rules of the file format."""

import re
import tomllib

import pytest

import workbench as wb
from workbench.cli import main
from workbench.errors import StudyError
from workbench.reference import check_study, evaluate_quantity
from workbench.study import load_study, run_study, study_names

FAST = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]


def test_the_studies_are_built_in():
    assert {
        "baseball", "cbpp", "dyestuff", "dyestuff2", "eight_schools", "grouseticks", "insteval", "pastes", "penicillin",
        "radon", "sleepstudy", "sleepstudy_mackay", "twelve_groups", "wide_design",
    } == set(study_names())  # fmt: skip


@pytest.mark.parametrize("name", study_names())
def test_figures_are_reached_without_sampling(name):
    """So that `workbench check` is quick: it fits only what has figures."""
    figures = tomllib.loads((load_study(name).folder / "reference.toml").read_text())["figure"]
    assert "hierarchical" not in {figure["estimator"] for figure in figures}


LONG = ("insteval",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in study_names()]
)
def test_every_published_figure_is_reached(name):
    checks = check_study(load_study(name))
    assert len(checks) >= 10
    missed = [(c.estimator, c.quantity, c.published, c.ours) for c in checks if not c.holds]
    assert not missed


def test_a_missed_figure_is_told(tmp_path):
    study = _copy(tmp_path, "dyestuff")
    path = study / "reference.toml"
    path.write_text(re.sub(r"value = [0-9.]+", "value = 1.0", path.read_text(), count=1))
    checks = check_study(load_study(study))
    assert [c.holds for c in checks].count(False) == 1


@pytest.mark.parametrize("name", study_names())
def test_figures_have_sources_and_notes_say_where_the_data_come_from(name):
    study = load_study(name)
    figures = tomllib.loads((study.folder / "reference.toml").read_text())["figure"]
    assert all(figure["source"].strip() for figure in figures)
    assert re.search(r"(?i)licen[cs]e|public\s+domain|GPL", study.notes())


def test_a_study_runs_by_name_by_folder_and_in_python():
    by_name = run_study(load_study("dyestuff"), FAST)
    by_folder = wb.run(load_study("dyestuff").folder, estimators=FAST)
    assert by_name.estimates["estimate"].tolist() == by_folder.estimates["estimate"].tolist()
    assert by_name.title == "Yield of dyestuff from six batches"


def test_truth_may_be_a_file_or_a_column(tmp_path):
    by_file = run_study(load_study("twelve_groups"), ["reml"])
    assert len(by_file.truth) == 12
    folder = _study(tmp_path, 'formula = "y ~ 1 + (1 | g)"\n[truth]\ncolumn = "t"\n')
    (folder / "data.csv").write_text("y,g,t\n1,a,0.5\n2,a,0.5\n4,b,3\n3,b,3\n")
    assert dict(run_study(load_study(folder), ["reml"]).truth) == {
        ("a", "(Intercept)"): 0.5,
        ("b", "(Intercept)"): 3.0,
    }


@pytest.mark.usefixtures("one_picture")
def test_the_report_says_what_is_taken_as_the_truth(tmp_path):
    wb.run("baseball", estimators=["no_pooling", "reml"]).report(tmp_path)
    said = (tmp_path / "README.md").read_text()
    meaning = load_study("baseball").truth["meaning"]
    assert f"against the true values of (Intercept) (taken as true: {meaning}), smallest first" in said
    assert f"Taken as true: {meaning}. The smallest error" in said


BAD_FIGURES = (
    ('quantity = "sigma"\nvalue = "a"\ntolerance = 0.1', "figure 1: value is 'a', but must be a finite number"),
    ('quantity = "sigma"\nvalue = nan\ntolerance = 0.1', "figure 1: value is nan, but must be a finite number"),
    ('quantity = "sigma"\nvalue = 1\ntolerance = -0.1', "figure 1: tolerance is -0.1, but must be a number from 0 on"),
    ("quantity = 3\nvalue = 1\ntolerance = 0.1", "figure 1: quantity is 3, but must be text"),
)


@pytest.mark.parametrize(("figure", "words"), BAD_FIGURES)
def test_a_reference_figure_of_another_kind_is_refused(tmp_path, figure, words):
    folder = _study(tmp_path, 'formula = "y ~ 1 + (1 | g)"\n')
    (folder / "data.csv").write_text("y,g\n1,a\n2,a\n4,b\n3,b\n")
    (folder / "reference.toml").write_text(f'[[figure]]\nestimator = "reml"\nsource = "x"\n{figure}\n')
    with pytest.raises(StudyError, match=re.escape(words)):
        check_study(load_study(folder))


@pytest.mark.parametrize("text", ["[[figures]]\nvalue = 1\n", "schema = 1\n", "[figure]\nvalue = 1\n"])
def test_a_file_of_figures_without_any_is_no_check_that_holds(tmp_path, text):
    folder = _study(tmp_path, 'formula = "y ~ 1 + (1 | g)"\n')
    (folder / "reference.toml").write_text(text)
    with pytest.raises(StudyError, match=r"an unknown key|Write \[\[figure\]\]"):
        check_study(load_study(folder))


def test_a_study_goes_by_where_it_lies(tmp_path):
    folder = _study(tmp_path, 'formula = "y ~ 1 + (1 | g)"\n')
    (folder / "data.csv").write_text("y,g\n1,a\n2,a\n4,b\n3,b\n")
    for study, place in ((load_study(folder), folder.name), (load_study("dyestuff"), "models/dyestuff")):
        assert study.resolved(study.design())["folder"] == place


def test_show_refuses_what_run_would(tmp_path, capsys):
    text = 'formula = "y ~ 1 + (1 | g)"\n'
    folder = _study(tmp_path, text + "level = 2\n")
    (folder / "data.csv").write_text("y,g\n1,a\n2,a\n4,b\n3,b\n")
    assert main(["show", str(folder)]) == 2
    assert "level is 2" in capsys.readouterr().err
    (folder / "model.toml").write_text(
        (folder / "model.toml").read_text().replace("level = 2", '[truth]\nfile = "t.csv"')
    )
    assert main(["show", str(folder)]) == 2
    assert "t.csv" in capsys.readouterr().err
    assert main(["simulate", str(folder / "data.csv")]) == 2
    assert "data.csv is a file and no study. Give a formula with it" in capsys.readouterr().err
    for command in (["run", "dyestuff", "--out", str(tmp_path / "out")], ["lab"]):
        assert main([*command, "--jobs", "0"]) == 2
        assert "--jobs is 0, but must be a whole number from 1 on." in capsys.readouterr().err


# --- the format ---------------------------------------------------------------------------------------


def _study(tmp_path, text):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.toml").write_text('schema = 1\ndata = "data.csv"\n' + text)
    (folder / "data.csv").write_text("y,g\n1,a\n2,a\n4,b\n3,b\n")
    return folder


def _copy(tmp_path, name):
    import shutil

    return shutil.copytree(load_study(name).folder, tmp_path / name)


FORMULA = 'formula = "y ~ 1 + (1 | g)"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('formla = "y ~ 1"', "unknown key 'formla'. Did you mean 'formula'?"),
        ("title = 'x'", "has no formula"),
        (FORMULA + "seed = 'one'", "seed is 'one', but must be a whole number"),
        (FORMULA + "seed = true", "seed is True, but must be a whole number"),
        (FORMULA + "= 3", "cannot be read"),
        (FORMULA + "[truth]\nfil = 'x'", "[truth] has an unknown key 'fil'. Did you mean 'file'?"),
        (FORMULA + "[truth]\nfile = 'x'\ncolumn = 'y'", "names both"),
        (FORMULA + "[truth]\nmeaning = 'later averages'", "[truth] names no values. Add file"),
        (FORMULA + "[truth]\ncolumn = 'y'\nmeaning = 3", "[truth] meaning is 3, but must be text"),
    ],
)
def test_a_study_that_cannot_be_read_says_why(tmp_path, text, said):
    with pytest.raises(StudyError) as caught:
        load_study(_study(tmp_path, text))
    assert said in str(caught.value)


def test_what_is_no_study_gets_the_nearest_name(tmp_path):
    with pytest.raises(StudyError, match="Did you mean 'sleepstudy'"):
        load_study("sleepstdy")
    with pytest.raises(StudyError, match=r"has no model\.toml"):
        load_study(tmp_path)


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("sds[Batch, (Intercept)]", "There is no quantity 'sds'. Did you mean 'sd'?"),
        ("sd[Batsh, (Intercept)]", "reml has no quantity"),
        ("effect[Batch, Z, (Intercept)]", "reml has no quantity"),
        ("mean[sigma]", "reml has no quantity"),
    ],
)
def test_a_quantity_that_does_not_exist_is_refused(quantity, said):
    fit = run_study(load_study("dyestuff"), ["reml"]).fits["reml"]
    with pytest.raises(StudyError) as caught:
        evaluate_quantity(quantity, fit)
    assert said in str(caught.value)


def test_a_parameters_median_and_interval_are_quantities():
    fit = run_study(load_study("eight_schools"), ["exact"]).fits["exact"]
    values = fit.parameters.estimates
    for quantity, expected in (
        ("median", values.median),
        ("conf_low", values.conf_low),
        ("conf_high", values.conf_high),
    ):
        assert evaluate_quantity(f"{quantity}[sd(school, (Intercept))]", fit) == expected[1]


def test_quantities_take_names_with_commas_inside_parentheses():
    data = {"y": [1.0, 3, 2, 5, 4, 6, 8, 7], "x": [0.0, 1, 2, 3, 0, 1, 2, 4], "g": list("aaaabbbb")}
    fit = wb.fit("y ~ poly(x, 2) + (1 | g)", data)
    assert evaluate_quantity("fixed[poly(x, 2)1]", fit) == fit.population.estimate[1]


def test_a_study_that_names_no_estimators_shows_those_that_fit_its_design(tmp_path):
    study = load_study(_study(tmp_path, 'formula = "y ~ 1 + (1 | g)"\n'))
    shown = study.resolved(study.design())["estimators"]
    assert shown == ["complete_pooling", "no_pooling", "reml", "fixed_prior", "hierarchical"]

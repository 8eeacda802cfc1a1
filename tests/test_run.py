"""``workbench run`` of several studies, the gallery, and what commands say while they run."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from corpus import DATA

import workbench as wb
from workbench.cli import _parser, main
from workbench.commands import calibrate, check, compare, completion, fit, run, simulate
from workbench.commands.parallel import jobs_at_once, run_studies
from workbench.commands.run import Asked
from workbench.errors import OptionError
from workbench.report.gallery import GALLERY, MARK, entries, first_sentence, write_gallery
from workbench.sampling.foreseen import foreseen_seconds, in_words
from workbench.study import load_study

pytestmark = pytest.mark.usefixtures("few_pictures")

MODELS = DATA.parent.parent / "models"
SLEEP = str(DATA / "datasets/sleepstudy.csv")
FORMULA = "Reaction ~ Days + (Days | Subject)"
TWO = ("no_pooling", "reml")


def asked(out, **changes):
    return Asked(
        **({"out": str(out), "estimators": TWO, "svg": False, "force": False, "bars": False} | changes), verbose=False
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Two studies run one after the other."""
    out = tmp_path_factory.mktemp("reports")
    for name in ("dyestuff", "twelve_groups"):
        run.one_study(load_study(name), asked(out))
    return out


# --- several at a time --------------------------------------------------------------------------------


@pytest.mark.slow
def test_studies_side_by_side_write_what_they_write_alone(reports, tmp_path):
    made = list(run_studies([load_study("dyestuff"), load_study("twelve_groups")], asked(tmp_path), 2, True))
    assert sorted(outcome.name for outcome in made) == ["dyestuff", "twelve_groups"]
    assert {outcome.code for outcome in made} == {0}
    for name in ("dyestuff", "twelve_groups"):
        one, other = (json.loads((out / name / "manifest.json").read_text()) for out in (tmp_path, reports))
        listed = {file: digest for file, digest in other.pop("files").items() if file.startswith("tables/")}
        assert listed.items() <= one.pop("files").items()  # a worker draws all pictures
        assert one == other


@pytest.mark.slow
def test_a_study_that_fails_keeps_no_other_from_its_report(tmp_path, capsys):
    for name in ("dyestuff", "dyestuff2"):
        shutil.copytree(MODELS / name, tmp_path / name)
    (tmp_path / "dyestuff2" / "data.csv").write_text("Yield,Batch\n1,A\n")
    names = [str(tmp_path / name) for name in ("dyestuff2", "dyestuff")]
    code = main(["run", *names, "--out", str(tmp_path / "out"), "--estimators", *TWO, "--force", "--jobs", "2"])
    out = capsys.readouterr().out
    assert code == 2
    assert re.search(r"^dyestuff2: .*", out, re.MULTILINE)
    assert (tmp_path / "out" / "dyestuff" / "index.html").is_file()
    assert not (tmp_path / "out" / "dyestuff2").exists()


def test_studies_of_one_name_do_not_overwrite_each_others_reports(tmp_path, capsys):
    for place in ("here", "there"):
        shutil.copytree(MODELS / "dyestuff", tmp_path / place / "dyestuff")
    names = [str(tmp_path / place / "dyestuff") for place in ("here", "there")]
    assert main(["run", *names, "--out", str(tmp_path / "out"), "--estimators", *TWO]) == 2
    assert "are both named dyestuff, and so would be their reports" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT), (signal.SIGKILL,)])
def test_workers_end_with_the_command(tmp_path, signals):
    """However it is ended; and they clean up after themselves."""
    command = [sys.executable, "-m", "workbench", "run", "dyestuff", "sleepstudy", "--jobs", "2", "--no-svg"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path), "--estimators", "reml", "fixed_prior", "hierarchical"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(started := psutil.Process(process.pid).children(recursive=True)) < 3 and time.monotonic() < until:
        time.sleep(0.1)  # two workers and multiprocessing's tracker of resources
    time.sleep(4.0)
    for which in signals:
        process.send_signal(which)
        time.sleep(0.3)
    _, said = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
    if signals != (signal.SIGKILL,):
        assert process.returncode == 130
        assert said == "workbench: interrupted; nothing was left half-written.\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_an_interruption_keeps_what_is_finished_and_leaves_nothing_half_written(tmp_path):
    studies = ["dyestuff", "dyestuff2", "penicillin", "pastes", "radon", "sleepstudy"]
    command = [sys.executable, "-m", "workbench", "run", *studies, "--out", str(tmp_path), "--jobs", "1", "--no-svg"]
    process = subprocess.Popen(
        [*command, "--estimators", *("reml", "fixed_prior")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first  # one study has ended
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "workbench: interrupted; nothing was left half-written.\n"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert 1 <= len(left) < len(studies)
    assert set(left) <= set(studies)  # no temporary folder
    for name in left:
        listed = json.loads((tmp_path / name / "manifest.json").read_text())["files"]
        assert all((tmp_path / name / file).is_file() for file in listed)


def test_jobs_are_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4e9))
    assert jobs_at_once(None, 14) == 2
    assert jobs_at_once(None, 1) == 1
    assert jobs_at_once(5, 14) == 5
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4e8))
    assert jobs_at_once(None, 14) == 1
    with pytest.raises(OptionError, match="--jobs is 0"):
        jobs_at_once(0, 14)


# --- the gallery --------------------------------------------------------------------------------------


def test_the_gallery_shows_every_report_with_a_picture_and_a_finding(reports):
    write_gallery(reports)
    text = (reports / GALLERY).read_text()
    assert text.startswith(f"{MARK}\n# Gallery\n")
    for entry in entries(reports):
        assert f'<img src="{entry.folder}/{entry.picture}"' in text
        assert (reports / entry.folder / entry.picture).is_file()
    comparison = wb.run("dyestuff", estimators=TWO)
    assert first_sentence(comparison.summary().splitlines()[0]) in text
    again = text.encode()
    write_gallery(reports)
    assert (reports / GALLERY).read_bytes() == again


def test_text_in_the_gallery_is_text(reports, tmp_path):
    shutil.copytree(reports / "dyestuff", tmp_path / "odd")
    path = tmp_path / "odd" / "manifest.json"
    made = json.loads(path.read_text())
    made["title"], made["findings"] = "<script>alert(1)</script>", ["a < b & c"]
    path.write_text(json.dumps(made))
    text = write_gallery(tmp_path).read_text()
    assert "<script>" not in text
    assert "a &lt; b &amp; c" in text


def test_a_page_of_the_users_own_stays(reports, tmp_path, capsys):
    shutil.copytree(reports / "dyestuff", tmp_path / "dyestuff")
    (tmp_path / GALLERY).write_text("# Mine\n")
    run._renew_gallery(tmp_path, everything=True)
    assert (tmp_path / GALLERY).read_text() == "# Mine\n"
    assert "is not of our making" in capsys.readouterr().err


def test_one_study_renews_a_gallery_that_is_there_and_begins_none(reports, tmp_path, capsys):
    shutil.copytree(reports / "dyestuff", tmp_path / "dyestuff")
    arguments = ["run", "dyestuff", "--out", str(tmp_path), "--estimators", *TWO, "--no-svg"]
    assert main(arguments) == 0
    assert not (tmp_path / GALLERY).exists()
    write_gallery(tmp_path)
    shutil.copytree(reports / "twelve_groups", tmp_path / "twelve_groups")
    assert main(arguments) == 0
    assert "Gallery:" in capsys.readouterr().out
    assert "twelve_groups/README.md" in (tmp_path / GALLERY).read_text()


# --- before full Bayes --------------------------------------------------------------------------------


def interrupted(*arguments, **more):
    raise KeyboardInterrupt


def test_the_table_and_its_findings_stand_before_full_bayes_begins(monkeypatch, capsys):
    monkeypatch.setattr("workbench.estimators.hierarchical.hierarchical", interrupted)
    assert main(["compare", SLEEP, FORMULA, "--estimators", "hierarchical", "no_pooling", "reml"]) == 130
    out = capsys.readouterr().out
    assert re.search(r"^370\s+10\s+210\.4\s+225\.8$", out, re.MULTILINE)
    assert "pooling moves Subject 370 farthest" in " ".join(out.split())
    assert re.search(r"Full Bayes begins, by sampling; it takes between \d+ and \d+ seconds", out)


@pytest.mark.parametrize("flag", ["--json", "--quiet"])
def test_documents_and_quiet_runs_have_no_foretaste(flag, monkeypatch, capsys):
    monkeypatch.setattr("workbench.estimators.hierarchical.hierarchical", interrupted)
    assert main(["compare", SLEEP, FORMULA, "--estimators", "reml", "hierarchical", flag]) == 130
    assert capsys.readouterr().out == ""


def test_full_bayes_is_fitted_last_and_stands_where_it_was_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr("workbench.estimators.hierarchical.hierarchical", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wb.compare(
            FORMULA, SLEEP, ["hierarchical", "ml", "reml"], watch=lambda name, made: seen.append((name, list(made)))
        )
    assert seen == [("ml", []), ("reml", ["ml"]), ("hierarchical", ["ml", "reml"])]


def test_time_foreseen_grows_with_what_is_asked_for():
    design = wb.fit("Yield ~ 1 + (1 | Batch)", MODELS / "dyestuff/data.csv").design
    one = foreseen_seconds(design, "explicit", 3000, 4)
    work = one - foreseen_seconds(design, "explicit", 0, 4)
    assert foreseen_seconds(design, "explicit", 6000, 4) - one == pytest.approx(work, rel=1e-9)
    assert foreseen_seconds(design, "collapsed", 2500, 4) < one
    assert in_words(90.0) == "between 1 and 3 minutes"


def test_verbose_says_what_is_done(capsys):
    assert main(["compare", SLEEP, FORMULA, "--estimators", "ml", "reml", "--verbose"]) == 0
    err = capsys.readouterr().err
    said = [re.sub(r"[\d.e-]+ s$", "T s", line) for line in err.splitlines()]
    assert said == [
        "workbench: fitting ml", "workbench: ml took T s", "workbench: fitting reml", "workbench: reml took T s"
    ]  # fmt: skip


# --- help and completion ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module", [run, compare, fit, check, calibrate, simulate, completion], ids=lambda m: m.__name__
)
def test_every_example_of_the_help_is_understood(module):
    lines = [line.strip() for line in module.EXAMPLES.splitlines() if line.startswith("  workbench ")]
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" > ")[0])
        assert _parser().parse_args(words[1:]).command == words[1]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["fit", "x.csv", "y", "--estimator", "bound"], ["boundary_avoiding"]),
        (["comp"], ["compare", "completion"]),
        (["run", "sleepstudy_"], ["sleepstudy_mackay"]),
        (["compare", "--fore"], ["--foreign"]),
    ],
)
def test_bash_completes_commands_options_and_names(typed, offered, tmp_path, capsys):
    bash = shutil.which("bash")
    assert bash is not None
    assert main(["completion", "bash"]) == 0
    (tmp_path / "complete.sh").write_text(capsys.readouterr().out)
    words = " ".join(shlex.quote(word) for word in ["workbench", *typed])
    script = (
        f"source complete.sh; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_workbench; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
    assert Path(tmp_path / "complete.sh").stat().st_size > 0

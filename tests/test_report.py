"""The report. Rungs: closed form (every sentence and cell recomputed from the fits), invariance (twice the same bytes),
refusals and failures (whole or not at all)."""

import ast
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from corpus import DATA
from posterior_like import crossed, with_posterior
from scipy.stats import spearmanr

import workbench as wb
from workbench.comparison import Comparison
from workbench.errors import ReportError
from workbench.report import Context, FigureCheck, check_folder, write_report
from workbench.report.equations import as_html, as_text, equations
from workbench.report.estimate_tables import estimates
from workbench.report.findings import findings
from workbench.report.markdown import notes_html
from workbench.report.own_code import python_code
from workbench.report.page_tables import agreement, figures, priors, variance
from workbench.report.page_tables import trust as trust_table
from workbench.report.r_code import r_code
from workbench.report.terminal import print_checks, print_comparison, print_study
from workbench.report.terminal_fit import print_fit
from workbench.report.trust import banners
from workbench.words import significant

pytestmark = pytest.mark.usefixtures("few_pictures")

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
CHECKS = (
    FigureCheck("reml", "sigma", 5.1, 5.0794195, 0.05, "Cross Validated 362777", True),
    FigureCheck("fixed_prior", "sigma^2", 25.785572, 25.9, 1e-6, "arm 1.13-1", False),
)
CONTEXT = Context(
    name="twelve_groups",
    question="Is a random effect a prior?",
    notes="# Lesson\n\n<script>alert(1)</script> ![x](http://example.org/x.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    study={"seed": 7, "data": "/home/somebody/data.csv", "folder": "models/twelve_groups"},
    source_files={"data.csv": "0" * 64},
    figures=CHECKS,
)
ALWAYS = {
    "index.html", "README.md", "manifest.json", "tables/estimates.csv", "tables/agreement.csv",
    "tables/groups.csv", "tables/variance.csv", "tables/timings.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def twelve():
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, title="Twelve groups")
    return with_posterior(plain)


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR)


@pytest.fixture(scope="module")
def report(twelve, tmp_path_factory):
    return write_report(twelve, tmp_path_factory.mktemp("reports") / "twelve", CONTEXT)


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


# --- the folder ---------------------------------------------------------------------------------------


def test_all_files_are_there_and_the_manifest_lists_them(report):
    found = files(report)
    pictures = {name for name in found if name.startswith("plots/")}
    stems = {name.removeprefix("plots/").partition(".")[0] for name in pictures}
    assert stems == {"samples", "shrunken", "versus", "shrinkage"}
    assert pictures == {f"plots/{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert set(found) == ALWAYS | pictures | {"tables/gaps.csv", "tables/parameters.csv", "tables/figures.csv"}
    manifest = json.loads(found["manifest.json"])
    assert set(manifest["files"]) == set(found) - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert digest is None or digest == hashlib.sha256(found[name]).hexdigest()
    assert [name for name, digest in manifest["files"].items() if digest is None] == [
        "index.html",
        "tables/timings.csv",
    ]


def test_svg_files_may_be_left_out(report, twelve, tmp_path):
    """Then neither page nor manifest speaks of them, and bitmaps have fewer dots; everything else is the same."""
    bare = files(write_report(twelve, tmp_path / "bare", CONTEXT, svg=False))
    found = files(report)
    assert set(bare) == {name for name in found if not name.endswith(".svg")}
    assert b"svg" not in bare["manifest.json"]
    assert b'.svg"' in found["index.html"]
    assert b'.svg"' not in bare["index.html"]
    assert b"image/svg+xml" not in bare["index.html"]
    same = set(bare) - {"index.html", "manifest.json", "tables/timings.csv"}
    bitmaps = {name for name in same if name.endswith(".png")}
    assert all(len(bare[name]) < 0.85 * len(found[name]) for name in bitmaps)
    assert all(bare[name] == found[name] for name in same - bitmaps)


def test_the_manifest_says_what_the_report_was_made_from(report, twelve):
    manifest = json.loads((report / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["seed"] == 7
    assert manifest["formula"] == "samples ~ 1 + (1 | group)"
    assert manifest["source_files_sha256"] == {"data.csv": "0" * 64}
    assert manifest["fits"]["hierarchical"]["diagnostics"]["ess_bulk"] == 2000.0
    assert manifest["fits"]["hierarchical"]["priors"] == {"sigma": "HalfStudentT(3, 5.12)"}
    assert manifest["versions"]["workbench"] == wb.__version__
    assert manifest["versions"]["numpy"] == np.__version__
    assert not any("somebody" in content.decode("utf-8", "ignore") for content in files(report).values())


def test_the_designs_hash_follows_the_data_and_nothing_else(twelve, sleep):
    from workbench.report.manifest import design_hash

    design = twelve.design
    assert design_hash(design) == design_hash(replace(design))
    moved = design.y.copy()
    moved[17] += 1e-12
    others = [
        replace(design, y=moved),
        replace(design, weights=design.weights * 2),
        replace(design, offset=design.offset + 1),
        replace(design, blocks=(replace(design.blocks[0], levels=("x", *design.blocks[0].levels[1:])),)),
        sleep.design,
    ]
    assert len({design_hash(d) for d in [design, *others]}) == 6


def test_csv_files_give_the_numbers_back_to_the_last_digit(report, twelve):
    elsewhere = [
        "std_error",
        "conf_low",
        "conf_high",
        "std_error_kind",
        "interval",
    ]  # which the estimates say, by the same keys
    for name in ("estimates", "agreement", "groups", "variance", "parameters"):
        ours = twelve.by_group().drop(columns=elsewhere) if name == "groups" else getattr(twelve, name)
        back = pd.read_csv(report / f"tables/{name}.csv", dtype=str, keep_default_na=False)
        assert list(back.columns) == list(ours.columns)
        for column in ours.columns:
            if ours[column].dtype.kind == "f":
                read = [float(text or "nan") for text in back[column]]
                np.testing.assert_array_equal(read, ours[column].to_numpy())
            else:
                assert back[column].tolist() == ["" if pd.isna(x) else str(x) for x in ours[column]]


def test_the_page_loads_nothing_from_elsewhere(report):
    text = (report / "index.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    page = Tags(text)
    loading = [(tag, a.get("src") or a.get("href", "")) for tag, a in page.tags if tag in ("img", "script", "link")]
    assert loading
    assert all(target.startswith("data:") or not target for _, target in loading)
    assert not re.search(r"@import|url\(", text.split("</style>")[0])
    assert all(a.get("alt") for tag, a in page.tags if tag == "img")
    assert sum(tag == "h1" for tag, _ in page.tags) == 1
    ids = {a["id"] for _, a in page.tags if "id" in a}
    for _, a in page.tags:  # every relative link leads to a file or to a place in the page
        target = a.get("href", "data:")
        assert target.startswith(("data:", "http")) or target[1:] in ids or (report / target).is_file(), target


def test_headings_go_down_one_step_at_a_time_and_ids_are_unique(report):
    page = Tags((report / "index.html").read_text(encoding="utf-8"))
    depths = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert depths[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(depths))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a["aria-labelledby"] in ids for _, a in page.tags if "aria-labelledby" in a)


def test_the_readmes_links_and_tables_hold_together(report):
    text = (report / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"(?<!\\)\]\(([^)]*)\)", re.sub(r"## Notes.*?## Versions", "", text, flags=re.DOTALL))
    assert {"plots/samples.png", "tables/estimates.csv", "manifest.json"} <= set(targets)
    assert all((report / target).is_file() for target in targets)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 7
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


@pytest.mark.slow
def test_no_time_of_day_and_twice_the_same_bytes(report, twelve, tmp_path):
    again = files(write_report(twelve, tmp_path / "again", CONTEXT))
    assert again == files(report)
    slower = Comparison(
        {n: f.finished(9.0, f.options) for n, f in twelve.fits.items()}, twelve.alone, twelve.truth, twelve.title
    )
    other = files(write_report(slower, tmp_path / "slower", CONTEXT))
    assert {name for name in other if other[name] != again[name]} == {"index.html", "tables/timings.csv"}
    times = re.compile(rb'<section class="one" aria-labelledby="about-timings">.*?</section>', re.DOTALL)
    bare, others = (times.subn(b"", folder["index.html"]) for folder in (again, other))
    assert bare == others  # wall times stand in one section of the page, and nowhere else
    assert bare[1] == 1


# --- whole or not at all ------------------------------------------------------------------------------


SLOW_STEPS = [pytest.param(step, marks=pytest.mark.slow) for step in ("tables.write_tables", "render.html")]


@pytest.mark.slow
@pytest.mark.parametrize("step", [*SLOW_STEPS, "render.readme", pytest.param("write.manifest", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(28, "disk full"), ReportError), (KeyboardInterrupt(), KeyboardInterrupt), (ValueError(), ValueError)],
    ids=["disk", "interrupt", "other"],
)
def test_a_failure_leaves_the_old_report_and_nothing_else(sleep, tmp_path, monkeypatch, step, failure, raised):
    place = write_report(sleep, tmp_path / "report")
    before = files(place)

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(f"workbench.report.{step}", fail)
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    for target in (place, tmp_path / "new" / "deeper"):
        with pytest.raises(raised, match="disk full" if raised is ReportError else None):
            write_report(sleep, target)
    assert files(place) == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


@pytest.mark.slow
def test_a_report_is_replaced_whole(sleep, twelve, tmp_path):
    place = write_report(sleep, tmp_path / "report")
    assert (place / "plots/shrunken_days.png").is_file()
    write_report(twelve, place)
    assert not (place / "plots/shrunken_days.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


@pytest.mark.slow
def test_what_is_no_report_is_not_replaced(sleep, tmp_path):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    with pytest.raises(ReportError, match=r"no manifest\.json"):
        write_report(sleep, foreign)
    (foreign / "manifest.json").write_text('{"name": "another program\'s"}')
    with pytest.raises(ReportError):
        write_report(sleep, foreign)
    assert (foreign / "chapter.tex").read_text() == "years of work"
    with pytest.raises(ReportError, match="is a file"):
        write_report(sleep, foreign / "chapter.tex")
    ours = write_report(sleep, tmp_path / "report")
    (ours / "my notes.txt").write_text("mine")
    with pytest.raises(ReportError, match=r"my notes\.txt"):
        write_report(sleep, ours)
    assert (ours / "my notes.txt").read_text() == "mine"


def put(place, *names):
    """Files, folders (with a slash at the end) and links (with an @) that no report wrote."""
    for name in names:
        path = place / name.strip("/@")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif name.endswith("@"):
            path.symlink_to("nowhere")
        else:
            path.write_text("mine")


def entries(place):
    return sorted(p.relative_to(place).as_posix() for p in place.rglob("*"))


@pytest.mark.parametrize("names", [[".env", "sub/.keep"], ["link@"], ["empty/"], [".git/"], ["deep/er/"]], ids=str)
def test_no_entry_of_another_is_ever_deleted(sleep, tmp_path, monkeypatch, names):
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    foreign = tmp_path / "foreign"
    put(foreign, *names)
    ours = write_report(sleep, tmp_path / "report")
    put(ours, *names)
    for place in (foreign, ours):
        before = entries(place)
        for attempt in (check_folder, lambda place: write_report(sleep, place)):
            with pytest.raises(ReportError, match=re.escape(str(place))):
                attempt(place)
        assert entries(place) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign", "report"]


def test_a_link_or_a_folder_in_the_place_of_a_listed_file_is_anothers(sleep, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    ours = write_report(sleep, tmp_path / "report")
    check_folder(ours)
    (ours / "README.md").unlink()
    put(ours, "README.md@")
    with pytest.raises(ReportError, match=r"README\.md"):
        check_folder(ours)
    (ours / "README.md").unlink()
    put(ours, "README.md/")
    with pytest.raises(ReportError, match=r"README\.md"):
        write_report(sleep, ours)


@pytest.mark.parametrize("place", ["/proc/foo", "afile/sub/deeper", "afile", "/", "loop", "loop/x", "a\0b", "n" * 300])
def test_a_place_that_will_not_do_is_said_in_a_line(sleep, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    for attempt in (check_folder, sleep.report):
        with pytest.raises(ReportError) as caught:
            attempt(place)
        assert "\n" not in str(caught.value)
        assert repr(place)[1:-1][:5] in str(caught.value)
        assert re.search("Name (another place|a folder inside it)", str(caught.value))
    assert entries(tmp_path) == ["afile", "loop"]


def test_checking_a_good_place_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("new", "new/and/deeper", "empty", "."):
        check_folder(tmp_path / "within" / place if place == "." else tmp_path / place)
    assert entries(tmp_path) == ["empty"]


def test_a_bad_out_costs_nothing(tmp_path, monkeypatch, capsys):
    from workbench.cli import main

    def fitted(*args, **kwargs):
        raise AssertionError("something was fitted")

    monkeypatch.setattr("workbench.api.compare", fitted)
    monkeypatch.setattr("workbench.study.run_study", fitted)
    put(tmp_path, "out/.env", "studies/sleepstudy/link@")
    data = str(DATA / "twelve_groups.csv")
    for arguments in (
        ["compare", data, "samples ~ 1 + (1 | group)", "--out", str(tmp_path / "out")],
        ["run", "sleepstudy", "--out", str(tmp_path / "studies")],
        ["demo", "--out", str(tmp_path / "out/.env")],
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(("workbench: ", "workbench compare: ", "workbench run: ", "workbench demo: "))
        assert len(said.err.splitlines()) <= 2
    assert entries(tmp_path) == ["out", "out/.env", "studies", "studies/sleepstudy", "studies/sleepstudy/link"]


@pytest.mark.slow
def test_an_empty_folder_and_a_relative_path_will_do(sleep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert (sleep.report("empty") / "index.html").is_file()
    assert (tmp_path / "empty/README.md").is_file()


# --- what it says -------------------------------------------------------------------------------------


def test_findings_are_computed(twelve):
    said = " ".join(findings(twelve))
    tau2, s2 = twelve.fits["reml"].components[0].covariance[0, 0], twelve.fits["reml"].sigma ** 2
    for n in (2, 100):  # the closed form of one varying intercept: tau^2 / (tau^2 + sigma^2 / n)
        assert f"{100 * tau2 / (tau2 + s2 / n):.3g} %" in said
    assert "at most 0.0002146 (group 12" in said
    assert f"{100 * tau2 / (tau2 + s2):.3g} % of the variance" in said
    mixed, full = (twelve.fits[name].group_effects[0].coefficient for name in ("reml", "hierarchical"))
    assert f"Full Bayes's intervals ({full.interval})" in said
    length = f"are 1.20 times as long as REML's ({mixed.interval}, {mixed.std_error_kind}): longer in 12 of 12 groups."
    assert f"{length} Its points lie at most 0 from REML's." in said
    assert "true values" not in said


def test_full_bayes_is_set_beside_the_fixed_prior_where_there_is_no_reml_and_may_be_exact(twelve):
    from workbench.estimators import Settings, run_estimator

    exact = run_estimator("exact", twelve.design, Settings())
    fixed = twelve.fits["fixed_prior"]
    said = " ".join(findings(Comparison({"fixed_prior": fixed, "exact": exact})))
    full, plugged = (fit.group_effects[0].coefficient for fit in (exact, fixed))
    length = (full.conf_high - full.conf_low) / (plugged.conf_high - plugged.conf_low)
    wider = int((length > 1).sum())
    assert "Exact full Bayes's intervals" in said  # by its own name
    assert f"the fixed prior's ({plugged.interval}, {plugged.std_error_kind}): longer in {wider} of 12 groups." in said
    gap = np.abs(full.estimate - plugged.estimate)[:, 0]
    assert f"at most {gap.max():.4g} from the fixed prior's (group {full_level(exact, gap)})" in said


def full_level(fit, gap):
    return fit.group_effects[0].levels[int(np.argmax(gap))]


def test_findings_do_not_assert_a_pattern_that_is_not_there():
    """A large group far out may be moved farthest; then no sentence may call it small."""
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1, 2, 3], [12, 2, 2, 2])
    y = np.array([4.0, 0.0, 0.1, -0.1])[codes] + 3 * rng.normal(size=18) * (codes == 0) + 0.01 * rng.normal(size=18)
    comparison = wb.compare("y ~ 1 + (1 | group)", {"y": y, "group": codes}, FOUR)
    pooled, alone = (comparison.fits[name].group_effects[0].coefficient.estimate for name in ("reml", "no_pooling"))
    farthest = int(np.abs(pooled - alone).argmax())
    sentence = next(s for s in findings(comparison) if "farthest" in s)
    assert f"moves group {farthest} farthest" in sentence
    assert ("one of the smallest" in sentence) == (comparison.design.blocks[0].sizes[farthest] == 2)


def test_findings_say_why_a_group_moved_most(twelve):
    """Its distance from the population, its place among those, and the share taken away, recomputed here."""
    reml, alone = (twelve.fits[k].group_effects[0].coefficient.estimate[:, 0] for k in ("reml", "no_pooling"))
    out = np.abs(alone - twelve.fits["reml"].population.estimate[0])
    moved = np.abs(reml - alone)
    j = int(moved.argmax())
    (said,) = (s for s in findings(twelve) if "farthest" in s)
    assert out[j] == out.max()
    own = f"its sample mean is {alone[j]:.3f}, which is {out[j]:.3f} from the population value"
    assert f"{own}, the largest such distance of 12 groups; REML puts the group at {reml[j]:.4f}: pooling takes" in said
    assert f"takes away {100 * moved[j] / out[j]:.1f} % of its distance" in said
    assert f"the median over groups is {100 * np.median(moved / out):.1f} %" in said
    correlation = spearmanr(twelve.design.blocks[0].sizes, moved).statistic
    assert f"smaller groups tend to move farther (rank correlation of size and move −{-correlation:.2f})" in said


def test_a_group_may_be_moved_farther_out():
    """With slopes, what the intercept tells may carry a group's slope away from the population's: a share below 0."""
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(40):
        x, codes = np.tile([0.0, 1.0, 2.0], 8), np.repeat(np.arange(8), 3)
        effects = rng.normal(size=8)[:, None] @ np.array([[2.0, 1.5]]) + rng.normal(scale=0.2, size=(8, 2))
        y = effects[codes, 0] + effects[codes, 1] * x + rng.normal(size=24)
        comparison = wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": codes}, ["no_pooling", "reml"])
        reml, alone = (comparison.fits[k].group_effects[0].coefficient.estimate[:, 1] for k in ("reml", "no_pooling"))
        j = int(np.abs(reml - alone).argmax())
        lost = (alone - reml) / (alone - comparison.fits["reml"].population.estimate[1])
        (said,) = (s for s in findings(comparison) if "farthest" in s)
        assert (f"moves it farther out, to {significant(1 - lost[j], 3)} times that" in said) == (lost[j] < 0)
        assert ("takes it past the population value" in said) == (lost[j] > 1)
        found += lost[j] < 0
    assert 0 < found < 40


def test_size_is_not_blamed_where_it_says_little():
    """Equal spread of the own values within each size, and known variances that are equal: sizes cannot matter."""
    rng = np.random.default_rng(11)
    sizes = np.repeat([1, 2, 3], 10)
    rows = np.repeat(np.arange(30), sizes)
    y = np.repeat(rng.normal(0, 50, 30), sizes) + rng.normal(0, 0.1, len(rows))
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": rows}, ["no_pooling", "reml"])
    (said,) = (s for s in findings(comparison) if "farthest" in s)
    reml, alone = (comparison.fits[k].group_effects[0].coefficient.estimate[:, 0] for k in ("reml", "no_pooling"))
    found = spearmanr(sizes, np.abs(reml - alone)).statistic
    tells = f"rank correlation of size and move {'−' if found < 0 else ''}{abs(found):.2f}"
    assert tells in said
    assert ("size alone says little" in said) == (abs(found) <= 0.3)


def test_findings_name_estimators_that_differ_by_more_than_an_error():
    schools = {"y": [28, 8, -3, 7, -1, 1, 18, 12], "se": [15, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    comparison = wb.compare("y ~ 1 + (1 | g)", schools, ["no_pooling", "reml", "boundary_avoiding"], se="se")
    reml, other = (comparison.fits[k].group_effects[0].coefficient for k in ("reml", "boundary_avoiding"))
    ratio = np.abs(reml.estimate - other.estimate)[:, 0] / reml.std_error[:, 0]
    assert (ratio > 1).sum() == 3
    (said,) = (s for s in findings(comparison) if "standard error" in s)
    assert said == (
        "Farthest from REML, in units of REML's standard error (coefficient SE): boundary avoiding "
        f"{ratio.max():.2f} (g {'ABCDEFGH'[ratio.argmax()]}; more than 1 in 3 of 8 groups). With a spread of zero that "
        "standard error is the population value's alone, and takes it as known that groups do not differ: where they "
        "do, it is too short."
    )


def test_an_estimator_that_just_misses_an_error_is_told_too():
    """Under the prior Normal(0, 5) of the mean, the exact posterior of school E lies 0.9996 of REML's errors away."""
    schools = {"y": [28, 8, -3, 7, -1, 1, 18, 12], "se": [15, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    names = ["no_pooling", "reml", "boundary_avoiding", "exact"]
    priors = {"(Intercept)": "Normal(0, 5)", "sd(g)": "HalfCauchy(5)"}
    comparison = wb.compare("y ~ 1 + (1 | g)", schools, names, se="se", priors=priors)
    reml, other = (comparison.fits[k].group_effects[0].coefficient for k in ("reml", "exact"))
    ratio = np.abs(reml.estimate - other.estimate)[:, 0] / reml.std_error[:, 0]
    said = findings(comparison)
    assert any(f"exact full Bayes {ratio.max():.2f} (g {'ABCDEFGH'[ratio.argmax()]})" in s for s in said)
    mean = comparison.fits["exact"].population.estimate[0]
    (moved,) = (s for s in said if s.startswith("Exact full Bayes's intervals"))
    assert f"Its population value is {mean:.3f}, under the prior Normal(0, 5), where REML's is 7.686" in moved
    flat = wb.compare("y ~ 1 + (1 | g)", schools, names, se="se", priors=priors | {"(Intercept)": "Flat()"})
    off = flat.fits["exact"].population.estimate[0] - 7.6856
    assert abs(off) < 0.1 * 4.0719  # and then there is nothing to tell
    assert not any("population value is" in s and "under the prior" in s for s in findings(flat))


def test_findings_say_when_no_estimator_differs_by_an_error():
    comparison = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR)
    reml, other = (comparison.fits[k].group_effects[0].coefficient for k in ("reml", "fixed_prior"))
    ratio = np.abs(reml.estimate - other.estimate)[:, 0] / reml.std_error[:, 0]
    (said,) = (s for s in findings(comparison) if "standard error" in s)
    assert said == (
        "No estimator that pools partially differs from REML by as much as REML's standard error (coefficient SE) in "
        f"any group: the most is {ratio.max():.6f} of it (fixed prior, group {ratio.argmax() + 1})."
    )


def test_an_answer_from_elsewhere_may_stand_alone_in_findings(twelve):
    """It is called by its own name, and compared as any other."""
    table = twelve.fits["reml"].coefficients
    shifted = table.assign(estimate=table["estimate"] + 5 * table["std_error"])
    both = Comparison({"no_pooling": twelve.fits["no_pooling"]}, twelve.alone).beside(mine=table, theirs=shifted)
    (said,) = (s for s in findings(both) if "standard error" in s)
    assert said.startswith("Farthest from mine, in units of mine's standard error (")
    assert re.search(r"theirs 5.00 \(group \d+; more than 1 in 12 of 12 groups\)\.", said)


def test_findings_with_slopes_mention_shares_beyond_the_range(sleep):
    for term in ("(Intercept)", "Days"):
        shares = 1 - sleep.shrinkage.query(f"estimator == 'reml' and term == '{term}'")["shrinkage"]
        past, out = int((shares < 0).sum()), int((shares > 1).sum())
        (said,) = (s for s in findings(sleep) if f"own deviation of {term}" in s)
        assert said.startswith(f"REML keeps {100 * shares.median():.1f} % (median) of a group's")
        assert past + out > 0
        assert (f" {past} groups go past the population value" in said) == (past > 0)
        assert (f" {out} groups go farther out than their own values" in said) == (out > 0)


@pytest.fixture(scope="module")
def ones():
    """Slopes in twelve groups, of which five have a single row and so no slope of their own."""
    rng = np.random.default_rng(1)
    sizes = [1, 1, 1, 1, 1, 3, 4, 6, 8, 12, 12, 12]
    group = np.repeat(np.arange(12), sizes)
    x = np.concatenate([np.arange(float(n)) for n in sizes])
    y = rng.normal(size=12)[group] + rng.normal(size=12)[group] * x + rng.normal(size=len(x))
    truth = {"level": [str(j) for j in range(12)], "term": ["x"] * 12, "value": np.linspace(-1, 1, 12)}
    return wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": group}, FOUR, truth=truth)


def test_findings_say_of_which_groups_they_speak(ones):
    said = findings(ones)
    kept = [sentence for sentence in said if " keeps " in sentence]
    assert len(kept) == 2
    for sentence in kept:
        assert sentence.startswith("Among the 7 groups with an estimate of their own, REML keeps ")
        assert "of the smallest group's (n = 3) and" in sentence
        assert sentence.endswith("5 groups (n = 1) have no estimate of their own.")
    (moved,) = (sentence for sentence in said if "farthest" in sentence)
    own, pooled = (ones.fits[name].group_effects[0].coefficient.estimate[:, 1] for name in ("no_pooling", "reml"))
    farthest = int(np.nanargmax(np.abs(own - pooled)))
    start = f"For x, pooling moves g {farthest} farthest of the 7 groups with an estimate of their own"
    assert moved.startswith(start)
    assert ("the smallest of these" in moved) == (farthest == 5)


def test_errors_against_the_truth_are_of_the_same_groups(ones):
    (sentence,) = (s for s in findings(ones) if "true values" in s)
    assert "true values of x (the 7 groups that all of these estimate)" in sentence
    gap = ones.fits["reml"].group_effects[0].coefficient.estimate[5:, 1] - np.linspace(-1, 1, 12)[5:]
    assert f"REML {np.sqrt(np.mean(gap**2)):.4g}" in sentence


def test_the_farthest_group_is_named_with_its_term_where_there_are_several(sleep, twelve):
    (moved,) = (s for s in findings(sleep) if "farthest" in s)
    assert moved.startswith("For Days, pooling moves Subject ")  # how people slow down
    assert "estimate of their own" not in moved
    assert any(s.startswith("Pooling moves group 12 farthest (n = 2") for s in findings(twelve))


def test_a_half_reads_the_same_from_below_and_from_above():
    from workbench.plots.varying import figure4
    from workbench.words import fixed

    below, above = np.nextafter(1527.5, 0), np.nextafter(1527.5, 2000)
    for x in (below - 1e-12, below, 1527.5, above):
        assert (significant(x), figure4(x), fixed(x, 0), significant(-x)) == ("1528", "1528", "1528", "−1528")
    assert (significant(1527.4999), figure4(1527.4999)) == ("1527", "1527")
    assert (significant(1526.5), figure4(1526.5), fixed(0.125, 2)) == ("1527", "1527", "0.13")


def test_findings_of_a_singular_fit_claim_no_difference():
    school = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    said = findings(wb.compare("y ~ 1 + (1 | g)", school, FOUR, se="se"))  # eight schools: REML's tau is 0
    assert "REML and the fixed prior give the same coefficients." in said
    assert "REML keeps 0 % of a group's own deviation." in said
    assert "REML puts the SD between groups at zero; the residual SDs are known." in said


def test_findings_rank_the_estimators_against_the_truth():
    truth = {"level": list("abc"), "term": ["(Intercept)"] * 3, "value": [1.4, 3.5, 6.5]}
    data = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, FOUR, truth=truth)
    sentence = next(s for s in findings(comparison) if "true values" in s)
    assert "first: no pooling 0.05774," in sentence  # sqrt(0.1^2 / 3): its means are the truth but for one


def test_tables_hold_the_fits_numbers_under_their_own_names(twelve):
    (table,) = estimates(twelve)
    assert [c.title for c in table.columns] == [
        "group", "n", "complete pooling", "no pooling", "REML", "fixed prior", "full Bayes", "shrinkage",
        "reliability", "rank", "P(highest)", "P(top 3)", "trust",
    ]  # fmt: skip
    reml = twelve.fits["reml"].group_effects[0].coefficient
    assert [row[4].sort for row in table.rows] == reml.estimate[:, 0].tolist()
    assert table.rows[11][4].text == "0.421"
    by_group = twelve.by_group().query("estimator == 'reml'")
    for place, column in ((7, "shrinkage"), (8, "reliability"), (9, "rank")):
        assert table.columns[place].minor == "REML"
        assert [row[place].sort for row in table.rows] == by_group[column].tolist()
    assert [row[12].text for row in table.rows] == ["few rows (2)" if n == 2 else "" for n in by_group["n"]]
    assert table.rows[0][4].minor == f"± {reml.std_error[0, 0]:.3f}"
    for fit in twelve.fits.values():
        part = fit.group_effects[0].coefficient
        assert any(part.std_error_kind in note and part.interval in note for note in table.notes)
    assert agreement(twelve).rows[0][1].text == "REML"
    assert all("REML" in (row[0].text, row[1].text) for row in agreement(twelve).rows[:4])
    assert variance(twelve).rows[-1][0].text == "residual"
    assert figures(CHECKS).rows[1][5].text == "NO"
    assert [row[2].text for row in priors(twelve).rows] == [
        "Normal(0.03459, 0.7514), held fixed",
        "HalfStudentT(3, 5.12)",
    ]


def test_banners_say_what_keeps_a_fit_from_being_trusted(twelve, sleep):
    assert banners(twelve) == ()
    bad = with_posterior(sleep, r_hat=1.02, ess_bulk=321.0, divergences=3)
    text = " ".join(b.text for b in banners(bad))
    assert "R-hat reaches 1.02" in text
    assert "321" in text
    assert "3 transitions diverged" in text
    assert all(b.grave for b in banners(bad))
    fits = dict(sleep.fits)
    fits["reml"] = replace(fits["reml"], converged=False, singular=True, warnings=("The gradient is not zero.",))
    said = banners(Comparison(fits, sleep.alone))
    assert any("did not converge" in b.text and b.grave for b in said)
    assert any("singular" in b.text for b in said)
    assert any(b.text == "REML: The gradient is not zero." and b.grave for b in said)


def test_energies_and_tree_depths_are_told_with_what_to_do(sleep):
    depths = {"chains": 4, "draws": 500, "tree_depth": 10}
    for told, said, grave in (
        ({"e_bfmi": 0.213}, "E-BFMI is down to 0.21 (below 0.3)", True),
        ({"e_bfmi": 0.9, "max_tree_depth_reached": 61} | depths, "61 of 2,000 draws reached the largest tree", False),
    ):
        comparison = with_posterior(sleep, **told)
        (only,) = banners(comparison)
        assert said in only.text
        assert only.grave is grave
        table = trust_table(comparison)
        row = {column.title: cell.text for column, cell in zip(table.columns, table.rows[-1], strict=True)}
        assert (row["verdict"] == "not to be trusted") is grave
        assert row["E-BFMI"] == ("0.21" if grave else "0.90")
        assert row["tree depth"] == ("–" if grave else "10 (61)")
        assert "E-BFMI is the smallest of the chains" in table.notes[1]
        other = {column.title: cell.text for column, cell in zip(table.columns, table.rows[0], strict=True)}
        assert other["E-BFMI"] == other["tree depth"] == other["diverged"] == "–"
    assert len(trust_table(with_posterior(sleep)).notes) == 1


def test_each_objection_stands_once(sleep, monkeypatch, console):
    from workbench.minimise import minimise

    def stopped(*args, **options):
        return replace(minimise(*args, **options), certified=False)

    monkeypatch.setattr("workbench.optimum.minimise", stopped)
    fresh = wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", ["no_pooling", "reml"])
    assert not fresh.converged
    (only,) = banners(fresh)
    assert only.grave
    print_comparison(fresh, console)
    assert console.file.getvalue().count("! ") == 1
    bad = with_posterior(sleep, divergences=3)
    fits = dict(bad.fits)
    for warnings in ((), ("3 divergences: part of the posterior may be missed.",)):
        fits["hierarchical"] = replace(bad.fits["hierarchical"], converged=False, warnings=warnings)
        (only,) = banners(Comparison(fits, bad.alone))
        assert "diverge" in only.text
        assert only.grave


def test_a_remark_that_all_fits_share_stands_once():
    data = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, None], "g": list("aabbcca")}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, FOUR)
    (only,) = [b for b in banners(comparison) if "dropped" in b.text]
    assert only.text.startswith("7 rows read")
    assert not only.grave


def test_verdicts_count_the_notes_that_stand_below():
    """Of data without a spread between groups, what the fixed prior holds is singular, as the note below says."""
    from workbench.report.page_tables import trust

    y = [1.0, 3.0, 2.0, 2.0, 3.0, 1.0, None]
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": list("aabbcca")}, ["no_pooling", "reml", "fixed_prior"])
    verdicts = {row[0].text: row[-1].text for row in trust(comparison).rows}
    notes = [banner.text for banner in banners(comparison)]
    assert verdicts["no pooling"] == "no objection"  # that a row was dropped is a property of the data
    assert sum("1 dropped" in note for note in notes) == 1
    for title in ("REML", "fixed prior"):
        assert verdicts[title] == f"{sum(title in note.split(':')[0] for note in notes)} remark"
    said = comparison.timings.set_index("estimator")["trust"]
    assert said["no_pooling"] == "no objection"
    assert said["fixed_prior"].startswith("The fit is singular")


def test_equations_follow_the_design(sleep):
    assert [as_text(line) for line in equations(sleep.design)] == [
        "Reaction_i = β0 + β1·Days_i + u_0,Subject(i) + u_1,Subject(i)·Days_i + ε_i",
        "(u_0j, u_1j) ~ Normal(0, Σ)   for each of the 18 levels j of Subject, Σ any 2 × 2 covariance matrix",
        "ε_i ~ Normal(0, σ²)",
    ]
    assert "u<sub>0,Subject(i)</sub>" in as_html(equations(sleep.design)[0])
    weighted = replace(sleep.design, weights=np.linspace(1, 2, 180))
    assert equations(weighted)[-1].endswith("σ² / w_{i})")
    known = replace(sleep.design, known_se=True)
    assert "known standard errors" in equations(known)[-1]


def test_code_lines_name_the_model(twelve, sleep):
    assert "lmer(Reaction ~ Days + (Days | Subject), data = d)" in r_code(sleep, Context())
    assert "prior.mean = fixef(fit)" in r_code(twelve, CONTEXT)
    assert "bayesglm" not in r_code(Comparison({"reml": sleep.fits["reml"]}), Context())
    lines = python_code(twelve, CONTEXT)
    assert '"samples ~ 1 + (1 | group)"' in lines
    assert "seed=7" in lines
    assert "somebody" not in lines
    compile(lines, "report", "exec")
    known = wb.compare("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0], "g": list("abc"), "s": [1.0, 1.0, 2.0]}, FOUR, se="s")
    compile(python_code(known, Context()), "report", "exec")
    assert "V <- diag(d$s^2) + tau^2 * tcrossprod(Z)" in r_code(known, Context())


def test_hostile_names_stay_text(tmp_path):
    evil = "<script>alert('x')</script>|`*_["
    data = {"y": [1.0, 3.0, 2.0, 6.0, 5.0, 1.0], "g": [evil, evil, "b & c", "b & c", 'q"q', 'q"q']}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, FOUR, title="<img src=x onerror=alert(1)>")
    folder = write_report(comparison, tmp_path / "r", Context(question="<b>?</b>", notes="<script>alert(2)</script>"))
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Tags(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # the page's own, for sorting
    assert not any(tag in ("b", "img") and "onerror" in a for tag, a in page.tags)
    assert "&lt;script&gt;alert(&#39;x&#39;)" in text
    assert pd.read_csv(folder / "tables/estimates.csv")["level"].isin([evil]).any()
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in readme.split("## Notes")[0]


def test_notes_render_without_scripts_or_pictures():
    text = str(notes_html(CONTEXT.notes))
    assert "<h3>Lesson</h3>" in text
    assert "<table>" in text
    assert "<script" not in text
    assert "<img" not in text


def test_ten_thousand_levels_stay_small_and_quick(tmp_path):
    from time import perf_counter

    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(10_000), 3)
    y = rng.normal(size=10_000)[codes] + rng.normal(size=30_000)
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, FOUR)
    begun = perf_counter()
    folder = write_report(comparison, tmp_path / "r")
    assert perf_counter() - begun < 30
    assert (folder / "index.html").stat().st_size < 3_000_000
    (table,) = estimates(comparison)
    assert len(table.rows) == 15 + 1 + 15
    assert table.rows[15][0].text == "… and 9,970 more, all in tables/estimates.parquet"
    shown = [row[4].sort for k, row in enumerate(table.rows) if k != 15]
    every = np.sort(comparison.fits["reml"].group_effects[0].coefficient.estimate[:, 0])
    assert shown == [*every[:15], *every[-15:]]
    assert not (folder / "tables/estimates.csv").exists()


# --- several grouping factors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula",
    ["y ~ 1 + (1 | a) + (1 | b)", pytest.param("y ~ x + (x | a) + (1 | a:b)", marks=pytest.mark.slow)],
)
def test_crossed_and_nested_factors_are_told_apart_everywhere(tmp_path, formula, console):
    comparison = crossed(formula)
    blocks = comparison.design.blocks
    other = blocks[1].group
    folder = write_report(comparison, tmp_path / "r")
    names = {p.name for p in (folder / "plots").iterdir()}
    assert not any(name.startswith("shrunken") for name in names)  # nothing to set out from
    assert {"samples_a.png", "versus_intercept_by_a.png", "shrinkage.png"} <= names
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "sample mean of" not in text
    assert "no-pooling" not in text
    said = findings(comparison)
    assert any(f"1.000 for (Intercept) by a{',' if len(blocks[0].terms) > 1 else ' and'}" in s for s in said)
    assert any(f"For (Intercept) by {other}, full Bayes's intervals" in s for s in said)
    assert not any("farthest" in s or "keeps" in s for s in said)
    tables = estimates(comparison)
    assert len({table.title for table in tables}) == len(tables)
    assert f"Intercept of y by {other}" in [table.title for table in tables]
    print_comparison(comparison, console)
    printed_text = printed(console)
    assert re.search(rf"^REML - full Bayes +{other} ", printed_text, re.MULTILINE)
    assert r_code(comparison, Context()).count("factor(") == len({name for b in blocks for name in b.group.split(":")})


def test_a_crossed_comparison_of_one_estimator_has_a_report(tmp_path, console):
    whole = crossed()
    only = Comparison({"complete_pooling": whole.fits["complete_pooling"]})
    assert (write_report(only, tmp_path / "r") / "plots/shrinkage.png").is_file()
    print_comparison(only, console)
    assert "Intercept of y by b" in printed(console)


def test_truth_of_a_level_that_two_factors_share_is_not_used():
    whole = crossed()
    known = {("0", "(Intercept)"): 1.0, ("7", "(Intercept)"): 0.5}  # a has levels 0 to 5, b 0 to 7
    comparison = Comparison(whole.fits, None, known)
    (sentence,) = (s for s in findings(comparison) if "true values" in s)
    assert "of (Intercept) by b" in sentence
    gap = comparison.fits["reml"].group_effects[1].coefficient.estimate[7, 0] - 0.5
    assert f"REML {abs(gap):.4g}" in sentence


# --- the terminal -------------------------------------------------------------------------------------


@pytest.fixture
def console():
    from rich.console import Console

    return Console(file=io.StringIO(), width=80, highlight=False)


def printed(console):
    text = console.file.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b[" not in text
    return text


def test_a_comparison_fits_eighty_columns(twelve, console):
    print_comparison(twelve, console)
    text = printed(console)
    line = next(line for line in text.splitlines() if line.startswith("12 "))
    assert line.split() == ["12", "2", "0.023", "9.260", "0.421", "0.422", "0.421"]
    assert re.search(r"REML - fixed prior\s+0\.0002146\s+12\s+0\.0001139", text)
    assert re.search(r"full Bayes\s+\S+\s+yes\s+1\.001\s+2,000\s+0\s+no objection", text)


def test_many_estimators_and_levels_are_split_and_cut(twelve, console):
    more = {f"{name}{k}": fit for k in range(2) for name, fit in twelve.fits.items()}
    print_comparison(Comparison(more, twelve.alone), console)
    assert "… and the other estimators" in printed(console)
    codes = np.repeat(np.arange(100), 2)
    y = np.random.default_rng(1).normal(size=200) + codes % 7
    print_comparison(wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["reml"]), console)
    assert "80 more levels are not shown" in printed(console)


def test_a_fit_prints_its_kinds_and_long_names_are_cut(sleep, console):
    print_fit(sleep.fits["reml"], console)
    text = printed(console)
    assert re.search(r"Days\s+10\.47\s+1\.55", text)  # lme4: 10.467 (1.546)
    assert "REML 1743.6283" in text
    assert "conditional SD" in text
    data = {"y": [1.0, 3.0, 2.0, 6.0], "a very long name of a group" * 2: ["[red]" + "x" * 60] * 2 + ["b", "b"]}
    long = f"y ~ 1 + (1 | `{'a very long name of a group' * 2}`)"
    print_fit(wb.fit(long, data), console)
    assert "[red]xxx" in printed(console)


def test_checks_and_studies_print(twelve, console):
    print_checks({"twelve_groups": CHECKS, "empty": []}, console)
    text = printed(console)
    assert "1 of 2 reference figures reached" in text
    assert "! sigma^2 (fixed prior) is 0.1144 off" in text
    print_study(CONTEXT.study, twelve.design, {"sigma": "HalfNormal(2)"}, console)
    assert "HalfNormal(2)" in printed(console)


def test_checks_fit_eighty_columns_with_every_verdict_and_digit():
    from io import StringIO

    from rich.console import Console

    long = "coefficient[a rather long grouping factor, level twelve, (Intercept)]"
    rows = [FigureCheck("complete_pooling", long, 1.0, 1.25, 1e-10, "a source", False)]
    rows.append(FigureCheck("fixed_prior", "sigma", 25.785572340193, 25.785572340193, 1e-10, "a source", True))
    text = StringIO()
    print_checks({"mine": rows}, Console(file=text, width=80))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert any(line.startswith("NO") and line.endswith("1.2500000000") for line in lines)
    assert any(line.startswith("yes") and line.endswith("25.7855723402") for line in lines)


def test_the_code_of_a_report_holds_options_and_priors(tmp_path):
    options = {"fixed_prior": {"dispersion": "reml", "sd": {"(Intercept)": 2.0}}}
    table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.0, 4.0], "x": [0.0, 1, 1, 0, 3, 2, 1, 2], "g": list("aabbccdd")}
    arguments = ("y ~ x + (1 | g)", table, ["reml", "fixed_prior"])
    made = wb.compare(*arguments, options=options, priors={"x": "Normal(0, 1)"})
    text = (write_report(made, tmp_path / "r") / "README.md").read_text(encoding="utf-8")
    assert "--prior 'x=Normal(0, 1)' --option fixed_prior.dispersion=reml" in text
    (line,) = (row for row in text.splitlines() if row.startswith("    options="))
    again = wb.compare(
        *arguments,
        options=ast.literal_eval(line.removeprefix("    options=").rstrip(",")),
        priors={"x": "Normal(0, 1)"},
    )
    np.testing.assert_array_equal(again.estimates["estimate"], made.estimates["estimate"])
    assert '    priors={"x": "Normal(0, 1)"},' in text

"""Tables for papers. Rungs: read back and held to the fits; every format holds the same cells; hostile text."""

import csv
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from corpus import DATA

import workbench as wb
from workbench.cli import main
from workbench.errors import OptionError
from workbench.report.export import FORMATS, TABLES, WHOLE
from workbench.report.latex import ESCAPES, escaped

SLEEP = DATA / "datasets/sleepstudy.csv"
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", SLEEP, ["no_pooling", "reml", "ml", "fixed_prior"])


@pytest.fixture(scope="module")
def odd():
    names = ["a_b%", "{x}&#", "\\input{p}$^2", "<script>|", "~“[q]”"]
    data = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.0, 5.0, 1.0, 0.5], "g": [name for name in names for _ in range(2)]}
    return wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "reml"]), names


# --- readers of the formats ---------------------------------------------------------------------------


def unescape(text):
    for letter, written in sorted(ESCAPES.items(), key=lambda item: -len(item[1])):
        text = text.replace(written, f"\0{ord(letter)}\0")
    return re.sub("\0(\\d+)\0", lambda found: chr(int(found[1])), text)


def tex_rows(path):
    body = path.read_text().split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line[:-3] for line in body.splitlines() if line.endswith(r" \\")]
    return [[unescape(re.sub(r"\{\\small (.*)\}$", r"\1", cell.strip())) for cell in re.split(r"(?<!\\)&", line)]
            for line in lines]  # fmt: skip


def docx_rows(path, table=0):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        parts = {name: ElementTree.fromstring(archive.read(name)) for name in names}
    assert names == ["[Content_Types].xml", "_rels/.rels", "word/document.xml"]
    (target,) = [element.get("Target") for element in parts["_rels/.rels"]]
    body = parts[target].find(f"{W}body")
    found = body.findall(f"{W}tbl")[table]
    rows = found.findall(f"{W}tr")
    return [["".join(t.text or "" for t in cell.iter(f"{W}t")) for cell in row.findall(f"{W}tc")] for row in rows][1:]


class Rows(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.inside = tag in ("td", "th", "small")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag == "small"

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def html_rows(path):
    return Rows(path.read_text()).rows[1:]


def md_rows(path):
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    plain = [[re.sub(r"\\([\\`*_\[\]|~#$])", r"\1", cell) for cell in row] for row in cells]
    return [[c.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for c in row] for row in plain]


READ = {".tex": tex_rows, ".docx": docx_rows, ".html": html_rows, ".md": md_rows}


# --- the table of models ------------------------------------------------------------------------------


def test_estimators_stand_side_by_side_with_errors_below(sleep, tmp_path):
    rows = tex_rows(sleep.export(tmp_path / "a.tex"))
    found = {row[0]: row[1:] for row in rows if row[0]}
    below = [row[1:] for k, row in enumerate(rows) if not row[0]]
    fits = list(sleep.fits.values())
    for place, term in enumerate(("(Intercept)", "Days")):
        shown = [float(cell.replace("−", "-")) for cell in found[term]]
        np.testing.assert_allclose(shown, [fit.population.estimate[place] for fit in fits], atol=0.006)
        errors = [fit.population.std_error[place] for fit in fits]
        for cell, error in zip(below[place], errors, strict=True):
            assert cell == (f"({error:.2f})" if error > 0 else "")
    assert found["Days"] == ["10.47"] * 4
    assert below[1][1] == "(1.55)"  # lme4: 1.546
    # lme4: summary(lmer(Reaction ~ Days + (Days | Subject), sleepstudy)), VarCorr and REMLcrit; deviance of the ML fit
    assert found["SD of (Intercept), Subject"][1] == "24.74"
    assert found["SD of Days, Subject"][1] == "5.922"
    assert found["residual SD"][1] == "25.59"
    assert found["REML criterion"] == ["", "1743.628", "", ""]
    assert found["deviance"][2] == "1751.939"
    assert found["rows"] == ["180"] * 4
    assert found["levels of Subject"] == ["18"] * 4


def test_the_notes_name_each_kind_of_error_and_what_is_not_comparable(sleep, tmp_path):
    text = sleep.export(tmp_path / "a.md").read_text()
    assert "REML: REML estimate; in parentheses sampling SE, variances as estimated." in text
    assert "fixed prior: plugged-in mean, or posterior mode; in parentheses curvature SD; 0 where plugged in." in text
    assert "Deviance and REML criterion are not comparable" in text
    alone = wb.Comparison({"reml": sleep.fits["reml"]})
    assert "not comparable" not in alone.export(tmp_path / "b.md").read_text()


def test_what_keeps_a_fit_from_being_trusted_goes_with_the_table(sleep, tmp_path):
    bad = wb.Comparison({"reml": replace(sleep.fits["reml"], converged=False)})
    assert "did not converge" in bad.export(tmp_path / "a.tex").read_text()


# --- formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["models", "wide", "fixed", "variance", "agreement", "scoreboard", "trust"])
def test_every_format_holds_the_same_cells(sleep, tmp_path, table):
    made = TABLES[table](sleep)[0]
    cells = [[" ".join(filter(None, (c.text, c.minor))) for c in row] for row in (*made.rows, *made.foot)]
    for suffix, reader in READ.items():
        rows = reader(sleep.export(tmp_path / f"a{suffix}", table))[: len(cells)]
        assert [[" ".join(c.split()) for c in row] for row in rows] == cells, suffix


@pytest.mark.parametrize("suffix", sorted(READ))
def test_hostile_names_come_back_as_they_were(odd, tmp_path, suffix):
    comparison, names = odd
    rows = READ[suffix](comparison.export(tmp_path / f"a{suffix}", "wide"))
    assert [row[0] for row in rows[:5]] == sorted(names)


def test_latex_has_no_letter_that_means_something_else(odd, tmp_path):
    comparison, _ = odd
    text = comparison.export(tmp_path / "a.tex", "wide").read_text()
    assert text.startswith("% needs \\usepackage{booktabs}\n")
    assert text.count(r"\begin{") == text.count(r"\end{")
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    known = "begin end centering caption toprule midrule bottomrule par medskip footnotesize small usepackage "
    assert commands <= set((known + "textbackslash textasciitilde textasciicircum pm dots").split())
    plain = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[&%$#_{}]", "", text.split("\n", 1)[1])
    assert not re.search(r"[%#_^~]", plain)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    widths = {len(re.findall(r"(?<!\\)&", line)) for line in text.splitlines() if line.endswith(r"\\")}
    assert widths == {3}
    assert text.count(r"\begin{tabular}{lrrr}") == 1


def test_every_escape_prints_the_letter_it_stands_for():
    letters = "".join(ESCAPES)
    assert unescape(escaped(letters)) == letters
    assert escaped("50 %") == r"50 \%"


def test_long_tables_go_over_pages(tmp_path):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(80), 3)
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": rng.normal(size=80)[g] + rng.normal(size=240), "g": g}, ["reml"])
    text = comparison.export(tmp_path / "a.tex", "wide").read_text()
    assert "% needs \\usepackage{longtable}\n" in text
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert r"\endhead" in text
    assert len([line for line in text.splitlines() if re.match(r"\d+ & 3 &", line)]) == 80


@pytest.mark.slow
def test_of_very_many_levels_a_document_holds_the_ends_and_a_csv_all(tmp_path):
    rng = np.random.default_rng(1)
    J = WHOLE + 500
    g = np.repeat(np.arange(J), 2)
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": rng.normal(size=J)[g] + rng.normal(size=2 * J), "g": g}, ["reml"])
    assert len(md_rows(comparison.export(tmp_path / "a.md", "wide"))) == 50 + 1 + 50 + 1
    assert len(pd.read_csv(comparison.export(tmp_path / "a.csv", "wide"))) == J


@pytest.mark.parametrize("table", ["wide", "variance", "agreement", "scoreboard", "fixed"])
def test_csv_gives_the_numbers_back_to_the_last_digit(sleep, tmp_path, table):
    read = pd.read_csv(sleep.export(tmp_path / "a.csv", table), dtype={"level": str})
    behind = {
        "wide": sleep.wide(), "variance": sleep.variance, "agreement": sleep.agreement, "scoreboard": sleep.scoreboard,
        "fixed": sleep.estimates[sleep.estimates["effect"] == "fixed"].reset_index(drop=True),
    }[table]  # fmt: skip
    assert list(read.columns) == list(behind.columns)
    for name in behind.columns:
        if behind[name].dtype.kind == "f":
            np.testing.assert_array_equal(read[name].to_numpy(), behind[name].to_numpy())


def test_the_models_csv_names_every_row(sleep, tmp_path):
    path = sleep.export(tmp_path / "a.csv")
    with path.open() as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert float(rows["error of Days"][1]) == sleep.fits["reml"].population.std_error[1]
    assert float(rows["REML criterion"][1]) == sleep.fits["reml"].criterion.value
    assert rows["SD of Days, Subject"][0] == ""  # no pooling has none


def test_the_same_table_gives_the_same_bytes(sleep, tmp_path):
    for suffix in (*FORMATS, ".csv"):
        first = sleep.export(tmp_path / f"a{suffix}", "models").read_bytes()
        assert sleep.export(tmp_path / f"b{suffix}", "models").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{a}{s}" for a in "ab" for s in (*FORMATS, ".csv")
    )


def test_the_scoreboard_of_a_known_truth_is_the_reports(tmp_path):
    truth = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}
    names = ["no_pooling", "reml"]
    comparison = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", names, truth=truth)
    rows = md_rows(comparison.export(tmp_path / "a.md", "scoreboard"))
    found = comparison.scoreboard
    every = found[(found["sizes"] == "all") & (found["estimator"] == "reml")].iloc[0]
    (row,) = [row for row in rows if "REML" in row and "all" in row]
    assert any(cell == f"{every['rmse']:.4g}" for cell in row)


# --- refusals and the command line --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("a.tex", "widee", "Did you mean 'wide'"),
        ("a.pdf", "models", r"\.tex, \.docx, \.html, \.md, \.csv"),
        ("a", "models", "ends in ''"),
        ("none/a.tex", "models", "no folder"),
        ("a.tex", "parameters", "no estimator here is Bayesian"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(sleep, tmp_path, name, table, said):
    with pytest.raises(OptionError, match=said):
        sleep.export(tmp_path / name, table)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_several(tmp_path, capsys):
    files = [str(tmp_path / "a.tex"), f"wide={tmp_path / 'b.docx'}"]
    given = ["compare", str(SLEEP), "Reaction ~ Days + (Days | Subject)", "--estimators", "no_pooling", "reml"]
    assert main([*given, "--export", *files, "--export", f"variance={tmp_path / 'c.md'}"]) == 0
    assert "24.74" in tex_rows(tmp_path / "a.tex")[4]
    assert len(docx_rows(tmp_path / "b.docx")) == 19
    assert len(docx_rows(tmp_path / "b.docx", 1)) == 19  # Days
    assert md_rows(tmp_path / "c.md")[1][-1] == "5.922"
    assert f"Table: {tmp_path / 'c.md'}" in capsys.readouterr().out


def test_the_command_line_refuses_before_it_fits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("workbench.api.compare", lambda *a, **k: pytest.fail("it was fitted"))
    assert main(["compare", str(SLEEP), "Reaction ~ 1 + (1 | Subject)", "--export", str(tmp_path / "a.xls")]) == 2
    assert ".docx" in capsys.readouterr().err

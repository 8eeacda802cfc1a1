"""What notebooks show. Rungs: parsed as HTML and held to the fits' numbers; hostile text; size."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from corpus import DATA
from posterior_like import with_posterior
from rich.console import Console

import workbench as wb
from workbench.report.findings import findings
from workbench.report.terminal_fit import print_fit
from workbench.words import fixed, places_for

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
VOID = {"br", "hr"}


class Reader(HTMLParser):
    """Text, tables (rows of cells) and tags of a page; fails on tags that do not match."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tables, self.tags, self.attributes = [], [], [], []
        self.words, self.caption = [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def number(text):
    return float(text.split(" ±")[0].replace("−", "-").replace(",", ""))


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR)


def test_a_comparison_shows_every_group_by_every_estimator(sleep):
    page = Reader(sleep._repr_html_())
    intercepts, slopes = page.tables[:2]
    assert intercepts[0] == ["Subject", "n", "complete pooling", "no pooling", "REML", "fixed prior"]
    for place, table in enumerate((intercepts, slopes)):
        for k, name in enumerate(FOUR):
            part = sleep.fits[name].group_effects[0].coefficient
            shown = [number(row[2 + k]) for row in table[1:19]]
            np.testing.assert_allclose(shown, part.estimate[:, place], atol=0.06 if place == 0 else 0.006)
    assert [row[0] for row in slopes[1:19]] == list(sleep.design.blocks[0].levels)
    errors = sleep.fits["reml"].group_effects[0].coefficient.std_error[:, 1]
    shown = [float(row[4].split("± ")[1]) for row in slopes[1:19]]
    np.testing.assert_allclose(shown, errors, atol=0.006)


def test_findings_kinds_and_components_stand_in_it(sleep):
    page = Reader(sleep._repr_html_())
    for sentence in findings(sleep):
        assert sentence in page.text
    assert "REML: BLUP; ± coefficient SE; interval in comparison.estimates: Wald 95 %." in page.text
    variance = next(t for t in page.tables if t[0][:2] == ["group", "component"])
    assert [row[4] for row in variance[1:]] == [
        "24.74",
        "5.922",
        "0.06555",
        "25.59",
    ]  # lme4: 24.741, 5.922, 0.066, 25.592


def test_a_fit_shows_what_the_terminal_prints(sleep):
    fit = sleep.fits["reml"]
    out = Console(width=200, record=True, file=io.StringIO())
    print_fit(fit, out)
    printed = out.export_text()
    page = Reader(fit._repr_html_())
    numbers = {
        cell.replace("−", "-") for table in page.tables for row in table[1:] for cell in row if re.search(r"\d", cell)
    }
    assert {"251.41", "10.47", "24.74", "25.59"} <= numbers
    for shown in numbers:
        if not shown.startswith("…"):
            assert re.search(rf"(?<![\d.]){re.escape(shown)}(?![\d.])", printed), shown
    assert "REML 1743.6283" in page.text  # lme4's REMLcrit
    e = fit.population
    row = page.tables[0][1]
    places = places_for([e.std_error[0]], [e.estimate[0]])
    wanted = [e.estimate[0], e.std_error[0], e.conf_low[0], e.conf_high[0]]
    assert row == ["(Intercept)", *(fixed(float(value), places) for value in wanted)]


@pytest.mark.parametrize("level", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;", "$x$"])
def test_names_are_text_and_nothing_is_loaded(level):
    data = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": [level, level, *"bbcc"]}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "reml"], truth=None)
    for shown in (comparison._repr_html_(), comparison.fits["reml"]._repr_html_()):
        page = Reader(shown)
        assert not {"script", "img", "link", "iframe"} & set(page.tags)
        assert {name for name, _ in page.attributes} <= {"class", "colspan"}
        assert level[:15] in page.text
        assert not re.search(r"https?://|url\(|@import", shown)


def test_a_notebook_by_night_keeps_its_colours(sleep):
    (style,) = re.findall(r"<style>(.*?)</style>", sleep._repr_html_())
    rules = re.findall(r"(background|color):([^;}]*)", re.sub(r"border[^;}]*", "", style))
    assert {value for name, value in rules} == {"transparent", "inherit"}
    assert all(rule.strip().startswith(".workbench") for rule in re.findall(r"[^{}]+(?={)", style))


def test_what_is_not_to_be_trusted_stands_before_every_number():
    rng = np.random.default_rng(1)
    data = {"y": rng.normal(size=40), "g": np.repeat(np.arange(8), 5)}
    comparison = wb.compare("y ~ 1 + (1 | g)", data, ["no_pooling", "reml"])
    if not comparison.fits["reml"].singular:
        pytest.fail("this data should have no spread between groups")
    for shown in (comparison._repr_html_(), comparison.fits["reml"]._repr_html_()):
        assert "Singular:" in shown
        assert shown.index("Singular:") < shown.index("<table")


def test_a_posterior_that_has_not_converged_is_called_so(sleep):
    from dataclasses import replace

    fit = replace(sleep.fits["reml"], converged=False)
    assert '<p class="grave">! ' in fit._repr_html_()
    shown = wb.Comparison({"reml": fit})._repr_html_()
    assert '<p class="grave">! ' in shown
    assert "not to be trusted" in shown


@pytest.mark.parametrize("groups", [25, 5_000])
def test_of_many_groups_the_lowest_and_highest_are_shown(groups):
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(groups), 4)
    y = 2 * rng.normal(size=groups)[codes] + rng.normal(size=4 * groups)
    comparison = wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": codes}, ["no_pooling", "reml"])
    shown = comparison._repr_html_()
    page = Reader(shown)
    c = comparison.fits["reml"].group_effects[0].coefficient.estimate[:, 0]
    levels = np.array(comparison.design.blocks[0].levels)
    order = np.argsort(c)
    body = page.tables[0][1:-1]
    assert [row[0] for row in body[:10]] == levels[order[:10]].tolist()
    assert [row[0] for row in body[11:]] == levels[order[-10:]].tolist()
    assert body[10] == [f"… and {groups - 20:,} more, all in comparison.estimates"]
    assert len(shown.encode()) < 50_000
    assert len(comparison.fits["reml"]._repr_html_().encode()) < 50_000


def test_many_estimators_terms_and_long_names_stay_small():
    rng = np.random.default_rng(3)
    J = 40
    g = np.repeat(np.arange(J), 12)
    data = {f"x{k}": rng.normal(size=12 * J) for k in range(4)}
    y = rng.normal(size=(J, 5))[g, 0] + sum(data.values()) + rng.normal(size=12 * J)
    table = data | {"y": y, "g": [f"{j} " + "long name " * 9 for j in g]}
    formula = "y ~ x0 + x1 + x2 + x3 + (x0 + x1 + x2 + x3 || g)"
    fits = dict(wb.compare(formula, table, ["reml", "ml", "no_pooling", "complete_pooling"]).fits)
    fits |= {f"foreign{k}": fits["reml"] for k in range(16)}
    shown = wb.Comparison(fits)._repr_html_()
    assert len(shown.encode()) < 50_000
    assert "more are in comparison.fits" in shown
    Reader(shown)


def test_full_bayes_and_known_truth_are_shown():
    truth = {"level": [str(j) for j in range(1, 13)], "term": ["(Intercept)"] * 12, "value": np.linspace(-1, 1, 12)}
    plain = wb.compare("samples ~ 1 + (1 | group)", DATA / "twelve_groups.csv", FOUR, truth=truth)
    page = Reader(with_posterior(plain)._repr_html_())
    assert page.tables[0][0][:3] == ["group", "n", "truth"]
    np.testing.assert_allclose([number(row[2]) for row in page.tables[0][1:13]], truth["value"], atol=0.006)
    assert "full Bayes" in page.tables[0][0]


def test_a_regression_of_bayesglm_shows_its_coefficients():
    fit = wb.bayesglm("Reaction ~ Days", DATA / "datasets/sleepstudy.csv")
    page = Reader(fit._repr_html_())
    assert [row[0] for row in page.tables[0][1:]] == ["(Intercept)", "Days"]
    np.testing.assert_allclose([number(row[1]) for row in page.tables[0][1:]], fit.mode.coefficients, atol=0.006)
    assert "posterior mode" in page.text
    assert "deviance" in page.text

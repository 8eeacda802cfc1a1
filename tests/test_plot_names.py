"""Long names in pictures. Rungs: matplotlib's own measure of every text, closed form."""

import re

import numpy as np
import pytest
from matplotlib.text import Text

import workbench as wb
from workbench.plots import prints
from workbench.plots.folding import folded
from workbench.plots.varying import printable, told_apart

BLOOD = "systolic_blood_pressure_at_rest_in_mmHg"
YEARS = "years since the first examination"
HOSPITAL = "hospital_where_the_patient_was_examined"
FITS = ["complete_pooling", "no_pooling", "fixed_prior"]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    code = np.repeat(np.arange(10), 8)
    x = rng.normal(size=80)
    y = rng.normal(size=80) + (rng.normal(size=10) + 2)[code] + x * (1 + 0.5 * rng.normal(size=10))[code]
    names = np.array([f"the hospital of Saint {c * 9} in {c}ville" for c in "abcdefghij"])
    return {BLOOD: y, YEARS: x, HOSPITAL: names[code], "patient_fell_ill_in_the_year_that_followed": 1.0 * (y > 2)}


def outside(figure):
    """Words that the figure cuts off, and by how many dots. (Numbers of ticks beyond an axis' ends are not drawn.)"""
    figure.draw_without_rendering()
    wide, high = figure.bbox.width, figure.bbox.height
    for text in figure.findobj(Text):
        words = text.get_text()
        if not text.get_visible() or re.fullmatch(r"[-−\d.e\s]*", words):
            continue
        box = text.get_window_extent()
        off = max(-box.x0, -box.y0, box.x1 - wide, box.y1 - high)
        if off > 1:
            yield words, round(float(off))


@pytest.mark.slow
def test_no_picture_cuts_its_words_off(table):
    gaussian = wb.compare(f"{BLOOD} ~ `{YEARS}` + (`{YEARS}` | {HOSPITAL})", table, [*FITS, "reml", "ml"])
    ill = f"patient_fell_ill_in_the_year_that_followed ~ `{YEARS}` + (1 | {HOSPITAL})"
    counts = wb.compare(ill, table, [*FITS, "laplace"], family="binomial")
    for comparison in (gaussian, counts):
        found = {made.stem: list(outside(made.figure())) for made in prints(comparison)}
        assert len(found) >= 12
        assert {stem: cut for stem, cut in found.items() if cut} == {}


def test_pictures_tell_levels_with_a_common_beginning_apart(table):
    comparison = wb.compare(f"{BLOOD} ~ 1 + (1 | {HOSPITAL})", table, [*FITS, "reml"])
    levels = comparison.design.blocks[0].levels
    for made in prints(comparison):
        labels = getattr(made.view, "labels", ())
        if made.stem in {"samples", "shrunken", "versus", "caterpillar", "ranks", "slope_graph", "tau_axis"}:
            names = [label[1] if isinstance(label, tuple) else label for label in labels]
            assert len(set(names)) == len(levels), made.stem
    assert told_apart(["a" * 30 + c for c in "xyz"], 10)[1] == "aaaaa…aaay"


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("inches", [0.8, 1.5, 3.0, 7.0])
def test_folded_lines_are_as_long_as_they_may_be_and_lose_nothing(inches, bold):
    from matplotlib.figure import Figure

    text = f"coefficient of {YEARS} for {BLOOD}, by {HOSPITAL}"
    figure = Figure()
    lines = folded(text, inches, 11.0, bold, lines=99)
    for line in lines.split("\n"):
        drawn = figure.text(0, 0, line, fontsize=11.0, fontweight="bold" if bold else "normal")
        assert drawn.get_window_extent().width / figure.dpi <= inches + 0.05
    assert re.sub(r"\s", "", lines) == re.sub(r"\s", "", text)
    cut = folded(text, inches, 11.0, bold, lines=2)
    assert cut.count("\n") <= 1
    assert ("…" in cut) == (lines.count("\n") > 1)


def test_a_name_in_backticks_that_is_cut_keeps_both():
    title = "intercept of `Systolischer Blutdruck im Liegen, gemessen`"
    assert printable(title, 40) == "intercept of `Systolischer Blutdruck i…`"
    made = folded(title, 1.2, 11.0)
    assert made.count("`") == 2
    assert made.endswith("…`")

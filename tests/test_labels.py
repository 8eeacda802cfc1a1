"""Levels whose names begin alike: tables, exports and sentences keep them apart. Rung: the names themselves."""

import io

import numpy as np
import pytest
from rich.console import Console

import workbench as wb
from workbench.plots import agreement
from workbench.plots.varying import pick
from workbench.report.estimate_tables import estimates
from workbench.report.findings import findings
from workbench.report.instead import instead
from workbench.report.page_tables import agreement as agreement_table
from workbench.report.terminal import print_comparison
from workbench.report.terminal_fit import print_fit

NAMES = [f"Universitätsklinikum Musterstadt, Klinik für Innere Medizin {j}" for j in range(1, 13)]
FITS = ["no_pooling", "reml", "fixed_prior"]


def clinics(names):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(len(names)), 8)
    y = 2 * rng.normal(size=len(names))[g] + rng.normal(size=len(g)) + 10
    return wb.compare("y ~ 1 + (1 | Klinik)", {"y": y, "Klinik": [names[k] for k in g]}, FITS)


@pytest.fixture(scope="module")
def alike():
    return clinics(NAMES)


def printed(show, what):
    out = io.StringIO()
    show(what, Console(file=out, width=80))
    return out.getvalue()


def test_tables_show_every_level_apart(alike):
    (table,) = estimates(alike)
    assert len({row[0].text for row in table.rows}) == 12
    assert all(row[0].text.endswith(row[0].whole[-20:]) for row in table.rows)
    assert all(row[5].text.endswith(row[5].whole[-18:]) for row in agreement_table(alike).rows)
    rows = [line for line in printed(print_comparison, alike).splitlines() if line.startswith("Univ") and " 8 " in line]
    assert len({line.split("  8 ")[0] for line in rows}) == 12
    rows = [line for line in printed(print_fit, alike.fits["reml"]).splitlines() if line.startswith("Univ")]
    assert len({line.split("(Interc")[0] for line in rows}) == 12


@pytest.mark.parametrize("suffix", ["md", "tex", "html"])
def test_exports_hold_whole_names(alike, tmp_path, suffix):
    text = alike.export(tmp_path / f"w.{suffix}", "wide").read_text(encoding="utf-8")
    assert all(name in text for name in NAMES)
    far = alike.export(tmp_path / f"a.{suffix}", "agreement").read_text(encoding="utf-8")
    assert any(name in far for name in NAMES)


def test_sentences_give_a_level_in_full(alike):
    said = [s for s in (*findings(alike), *instead(alike)) if "Klinik Univ" in s]
    assert len(said) >= 3
    assert all(any(f"Klinik {name}" in s for name in NAMES) for s in said)


def test_names_that_differ_in_their_middle_are_left_whole():
    names = [f"{'Klinikum der Universität ' * 3}{j} {'in der Stadt am Fluss ' * 2}" for j in range(12)]
    (table,) = estimates(clinics(names))
    assert {row[0].text for row in table.rows} == set(names)


def test_the_picture_of_agreement_names_its_extreme_apart(alike):
    import matplotlib.pyplot as plt

    seen = agreement.view(alike, pick(alike), "reml", "no_pooling")
    axes = alike.plot.agreement(one="reml", other="no_pooling")
    texts = [text.get_text() for ax in axes.figure.axes for text in ax.texts]
    level = seen.pairs[0].levels[seen.pairs[0].largest]
    assert any(text.startswith("Universit") and text.endswith(level[-8:]) for text in texts)
    assert level in seen.caption
    plt.close("all")

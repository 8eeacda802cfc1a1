"""Spreads that REML puts at zero. Rungs: closed form and figures of the studies; silence where there is none."""

import io
import re

import numpy as np
import pytest
from corpus import DATA
from rich.console import Console

import workbench as wb
from workbench.comparison import Comparison
from workbench.report.context import Context
from workbench.report.findings import findings
from workbench.report.page_tables import agreement
from workbench.report.terminal import print_comparison
from workbench.report.view import page
from workbench.report.zero_variance import sentences, zero_variances

THREE = ["reml", "boundary_avoiding", "exact"]


def dyestuff2(estimators=THREE, **more):
    return wb.compare("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff2.csv", estimators, **more)


@pytest.fixture(scope="module")
def zero():
    return dyestuff2()


def test_three_rows_say_what_each_use_of_the_likelihood_reports(zero):
    table = zero_variances(zero)
    rows = {row[0].text: [cell.sort for cell in row[1:-1]] for row in table.rows}
    assert list(rows) == ["REML", "boundary avoiding", "exact full Bayes"]
    # SD, variance, interval, residual SD and variance; sources in models/dyestuff2/reference.toml
    assert rows["REML"][:2] == [0.0, 0.0]
    np.testing.assert_allclose(rows["REML"][4:], [3.7156842744757266, 13.8063096275862], rtol=1e-9)
    np.testing.assert_allclose(rows["boundary avoiding"][1], 2.2163602, atol=1e-6)
    np.testing.assert_allclose(rows["boundary avoiding"][5], 13.1489700, atol=1e-6)
    np.testing.assert_allclose(rows["exact full Bayes"][0], 1.0118185, atol=1e-6)
    low, high = rows["exact full Bayes"][2:4]
    np.testing.assert_allclose(zero.fits["exact"].posterior.deviation(0).cdf(np.array([low, high])), [0.025, 0.975])
    assert [row[-1].text for row in table.rows] == [
        "where the restricted likelihood is largest",
        "where restricted likelihood × (τ/σ)^1.5 is largest",
        "posterior mean",
    ]


def test_what_is_rounding_reads_as_zero_at_no_level():
    """Where tau is zero, REML is complete pooling by another way, which ends on a neighbouring float."""
    comparison = dyestuff2(["complete_pooling", "no_pooling", "reml", "fixed_prior"])
    found = {(row[0].text, row[1].text): row for row in agreement(comparison).rows}
    for pair in (("complete pooling", "REML"), ("REML", "fixed prior")):
        assert [cell.text for cell in found[pair][4:]] == ["0", "–", "0"]
    assert found["no pooling", "REML"][4].sort == pytest.approx(7.5212 - 5.6656, abs=5e-4)
    assert "0: the same, to rounding." in agreement(comparison).notes
    assert any(s.startswith("REML and the fixed prior give the same coefficients.") for s in findings(comparison))
    out = Console(file=io.StringIO(), width=80)
    print_comparison(comparison, out)
    assert re.search(r"complete pooling - REML +0 +– +0\n", out.file.getvalue())


def test_where_nothing_is_left_of_a_gap_nothing_is_called_rounding(zero):
    gap = zero.explain_gap("reml", "exact")
    assert not gap.gaps[-1][0].any()
    assert gap.sentence.endswith("; nothing is left. Shares may exceed 100 %: causes cancel each other.")


def test_the_sentences_say_why_with_this_comparisons_numbers(zero):
    why, avoided, full = sentences(zero)
    assert "because the restricted likelihood is largest there" in why
    assert "(τ/σ)^1.5" in avoided
    assert "1.489 (variance 2.216)" in avoided
    # 5 log(1 + 5 theta^2) + 29 log(SSB/(1 + 5 theta^2) + SSW), half of what it is above its value at 0
    ssb, ssw, theta2 = 41.6816288, 358.7013504, 0.410557796266035**2
    k = 1 + 5 * theta2
    drop = (5 * np.log(k) + 29 * np.log(ssb / k + ssw) - 29 * np.log(ssb + ssw)) / 2
    assert f"the log likelihood alone is {drop:.3g} lower" in avoided
    assert "posterior mean of the SD is 1.012, its equal-tailed 95 % interval from" in full
    assert [s for s in findings(zero) if s in (why, avoided, full)] == [why, avoided, full]


def test_nothing_is_said_where_no_spread_is_zero():
    for formula, data in (
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    ):
        other = wb.compare(formula, DATA / f"datasets/{data}.csv", ["reml", "boundary_avoiding"])
        assert zero_variances(other) is None
        assert sentences(other) == []
        assert not any("zero" in said for said in findings(other))


def test_nothing_is_said_where_nothing_stands_beside_the_zero():
    alone = dyestuff2(["no_pooling", "reml"])
    assert alone.fits["reml"].singular
    assert zero_variances(alone) is None
    assert sentences(alone) == []
    without = dyestuff2(["boundary_avoiding", "exact"])
    assert zero_variances(without) is None


def test_a_search_that_did_not_end_at_a_maximum_is_not_explained(zero):
    from dataclasses import replace

    fits = dict(zero.fits) | {"reml": replace(zero.fits["reml"], converged=False)}
    assert sentences(Comparison(fits)) == []


def test_only_what_is_there_is_spoken_of():
    assert not any("Full Bayes" in said for said in sentences(dyestuff2(["reml", "boundary_avoiding"])))
    assert not any("Boundary avoiding" in said for said in sentences(dyestuff2(["reml", "exact"])))
    ml = sentences(dyestuff2(["ml", "exact"]))
    assert "ML puts the spread between the levels of Batch at zero because the likelihood is largest there" in ml[0]
    both = dyestuff2(["ml", "boundary_avoiding"])  # boundary avoiding by REML: its likelihood is not ML's
    assert "lower" not in " ".join(sentences(both))


def test_known_standard_errors_have_no_residual_and_another_density():
    schools = {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    comparison = wb.compare("y ~ 1 + (1 | g)", schools, THREE, se="se")
    table = zero_variances(comparison)
    assert not any("residual" in column.title for column in table.columns)
    assert "by τ^1.5, which" in sentences(comparison)[1]
    np.testing.assert_allclose(table.rows[1][1].sort, 9.10068484, atol=1e-6)


def test_of_several_terms_the_one_at_zero_is_named():
    rng = np.random.default_rng(4)
    a, b = np.repeat(np.arange(8), 12), np.tile(np.arange(6), 16)
    noise = rng.normal(size=96)
    noise -= (np.bincount(b, noise) / 16)[b]  # the levels of b do not differ at all
    table = {"y": 2 * rng.normal(size=8)[a] + noise, "a": a, "b": b}
    comparison = wb.compare("y ~ 1 + (1 | a) + (1 | b)", table, ["reml", "boundary_avoiding"])
    found = zero_variances(comparison)
    assert [row[1].text for row in found.rows] == ["(Intercept) by b"] * 2
    assert all("of (Intercept) by b" in said for said in sentences(comparison))


def test_page_and_terminal_show_the_rows(zero):
    assert page(zero, Context()).zero_variance.rows == zero_variances(zero).rows
    out = io.StringIO()
    print_comparison(zero, Console(file=out, width=80))
    printed = re.sub(r"\s+", " ", out.getvalue())
    assert "A spread that REML puts at zero" in printed
    assert "boundary avoiding 1.489 2.216 – – 3.626 13.15" in printed
    assert "Full Bayes takes no maximum" in printed

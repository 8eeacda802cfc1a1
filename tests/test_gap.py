"""Gaps explained: causes that are put into a fit are found in its gap, in their order, and nothing is left."""

import numpy as np
import pytest
from corpus import DATA, LMER, SEVERAL, design_of

import workbench as wb
from workbench.comparison import Comparison, compare_fits
from workbench.errors import ComparisonError
from workbench.estimators import Settings, run_estimator

SLEEP, CORRELATED = DATA / "datasets" / "sleepstudy.csv", "Reaction ~ Days + (Days | Subject)"


def explained(design, options=None, pair=("reml", "fixed_prior"), priors=None):
    settings = Settings(priors=priors or {})
    chosen = {"fixed_prior": options or {}}
    return compare_fits(design, pair, settings, chosen).explain_gap(*pair)


def left(gap, cause):
    table = gap.table
    return table.loc[table["cause"] == cause, "max_difference"].to_numpy()


def test_twelve_groups_differ_by_the_dispersion_convention_alone():
    gap = explained(design_of("twelve_groups--ri"))
    assert gap.table["cause"].tolist() == ["as fitted", "dispersion convention"]
    np.testing.assert_allclose(left(gap, "as fitted"), [2.146e-4], atol=5e-8)
    assert left(gap, "dispersion convention")[0] < 1e-12
    assert gap.explained
    assert "REML's 25.800503" in gap.table["change"][1]
    assert "25.785572" in gap.table["change"][1]
    assert gap.sentence.startswith("REML and the fixed prior lie at most 0.0002146 (group 12) apart.")
    assert "All of it is due to one cause, dispersion convention; what is left" in gap.sentence
    assert gap.sentence in str(gap)


def test_sleepstudy_differs_by_the_dropped_correlation_first():
    # arm's figures, with the SDs of the correlated fit: 0.7727 and 0.1244 (see tests/test_fixed_prior.py)
    gap = explained(design_of("sleepstudy--slope"))
    assert gap.table["cause"].unique().tolist() == ["as fitted", "dropped correlation", "dispersion convention"]
    np.testing.assert_allclose(left(gap, "as fitted"), [0.7727, 0.1244], atol=5e-5)
    joint = explained(design_of("sleepstudy--slope"), {"covariance": "joint"})
    np.testing.assert_allclose(left(gap, "dropped correlation"), left(joint, "as fitted"), rtol=1e-9)
    assert left(gap, "dispersion convention").max() < 1e-8
    assert sum(gap.shares) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("case", [*LMER, *SEVERAL])
def test_nothing_is_left_of_the_gap_to_a_fixed_prior(case):
    gap = explained(design_of(case))
    assert gap.explained
    assert gap.table["cause"].iloc[-1] == "dispersion convention"


def test_every_cause_put_in_is_found_and_removed_in_its_order():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(10), 6)
    x, z = rng.normal(size=60), rng.normal(size=60)
    u = rng.normal(size=(10, 2)) @ np.array([[1.5, 0.6], [0.0, 0.8]])
    y = 2 + x + 0.5 * z + u[g, 0] + u[g, 1] * x + rng.normal(size=60)
    table = {"y": y, "x": x, "z": z, "g": g}
    options = {"scaled": True, "df": 3.0, "sd": {"x": 0.4}, "plug_in": "ml", "dispersion": 2.0}
    both = wb.compare(
        "y ~ x + z + (x | g)", table, ["reml", "fixed_prior"], priors={"z": "Normal(0, 0.1)"},
        options={"fixed_prior": options},
    )  # fmt: skip
    gap = both.explain_gap("reml", "fixed_prior")
    assert gap.table["cause"].unique().tolist() == [
        "as fitted", "rescaling", "prior family and df", "priors of other covariates", "stated mean and SD",
        "plug-in from another fit", "dropped correlation", "dispersion convention",
    ]  # fmt: skip
    assert (gap.table["max_move"].iloc[2:] > 1e-4).all()  # each of them does something here
    assert gap.explained
    by_hand = wb.fit(
        "y ~ x + z + (x | g)", table, "fixed_prior", options=options | {"scaled": False, "df": np.inf},
        priors={"z": "Normal(0, 0.1)"},
    )  # fmt: skip
    (mine,), (hub,) = by_hand.group_effects, both.fits["reml"].group_effects
    expected = np.abs(mine.coefficient.estimate - hub.coefficient.estimate).max(axis=0)
    np.testing.assert_allclose(left(gap, "prior family and df"), expected, rtol=1e-9)
    assert "0.1000" in str(gap) or "Normal(0, 0.1)" in str(gap)


def test_the_other_estimators_end_at_reml_too():
    fits = ["complete_pooling", "no_pooling", "ml", "reml_textbook", "reml", "fixed_prior"]
    both = wb.compare(CORRELATED, SLEEP, fits)
    for name in fits[:3]:
        gap = both.explain_gap("reml", name)
        assert gap.explained, name
        assert left(gap, "as fitted").max() > 0.1
    assert left(both.explain_gap("reml", "reml_textbook"), "as fitted").max() < 1e-4
    assert both.explain_gap("reml_textbook", "reml").explained
    pair = both.explain_gap("ml", "fixed_prior")  # neither is REML: the second's causes go first
    assert [owner for owner, _ in pair.steps] == ["fixed_prior", "fixed_prior", "ml", "ml"]
    assert pair.explained


def test_a_gap_of_full_bayes_is_explained_without_sampling_again():
    design = design_of("twelve_groups--ri")
    fits = {"reml": run_estimator("reml", design, Settings())}
    fits["hierarchical"] = run_estimator("hierarchical", design, Settings(), {"draws": 500, "tune": 500})
    gap = Comparison(fits).explain_gap("reml", "hierarchical")
    assert gap.table["cause"].tolist() == [
        "as fitted", "Monte Carlo error", "integrated versus plugged-in variance", "mean versus mode", "priors",
    ]  # fmt: skip
    assert gap.explained
    full, hub = (fits[name].group_effects[0].coefficient.estimate for name in ("hierarchical", "reml"))
    assert left(gap, "as fitted")[0] == pytest.approx(np.abs(full - hub).max(), rel=1e-12)
    assert left(gap, "mean versus mode")[0] < 0.02 < left(gap, "integrated versus plugged-in variance")[0]


def test_levels_without_an_estimate_of_their_own_do_not_count():
    rng = np.random.default_rng(2)
    g = np.append(np.repeat(np.arange(5), 6), 5)  # the last level has one row
    x = rng.normal(size=31)
    table = {"y": g + (1 + g) * x + rng.normal(size=31), "x": x, "g": g}
    gap = wb.compare("y ~ x + (x || g)", table, ["no_pooling", "reml"]).explain_gap("no_pooling", "reml")
    assert gap.explained
    assert np.isfinite(gap.table["max_difference"]).all()


def test_a_gap_of_nothing_is_said_to_be_nothing():
    gap = explained(design_of("Dyestuff2--ri"))  # REML's SD between batches is zero: every prior puts them on the mean
    assert gap.sentence == "REML and the fixed prior give the same coefficients here, to rounding."


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("reml", "reml"), "no gap between reml and itself"),
        (("reml", "fixed"), "no fit of 'fixed' here. Did you mean 'fixed_prior'"),
        (("hierarchical", "reml"), "no fit of 'hierarchical' here"),
    ],
)
def test_what_cannot_be_explained_is_refused(pair, said):
    both = compare_fits(design_of("twelve_groups--ri"), ["reml", "fixed_prior"])
    with pytest.raises(ComparisonError, match=said):
        both.explain_gap(*pair)

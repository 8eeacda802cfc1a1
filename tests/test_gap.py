"""Gaps explained: causes that are put into a fit are found in its gap, in their order, and nothing is left."""

import numpy as np
import pytest
from corpus import DATA, LMER, SEVERAL, design_of

import workbench as wb
from workbench.comparison import Comparison, compare_fits
from workbench.design import build_design
from workbench.errors import ComparisonError
from workbench.estimators import Settings, run_estimator
from workbench.gap import explain_gap

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
    assert "priors of other covariates: flat priors in place of Normal(0, 0.1) on z." in str(gap)


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


@pytest.mark.slow
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


# --- what a sentence may say -----------------------------------------------------------------------------


def crossed(n=120, seed=0):
    rng = np.random.default_rng(seed)
    g, h, x, z = rng.integers(0, 9, n), rng.integers(0, 6, n), rng.normal(2, 1, n), rng.normal(size=n)
    y = 3 + 0.8 * x + z + rng.normal(0, 1.2, 9)[g] + rng.normal(0, 0.5, 9)[g] * x + rng.normal(0, 0.8, 6)[h]
    return {"y": y + rng.normal(size=n), "x": x, "z": z, "g": g, "h": h, "w": rng.uniform(0.3, 3, n)}


def test_shares_do_not_depend_on_where_the_response_begins():
    # a million more in every row is a million more in the intercept; rounding grows with it, the gap does not
    table = crossed()
    far = table | {"y": table["y"] + 1e6}
    near, moved = (
        explained(design, {"sd": {"sd(g)": 0.7}}).shares
        for design in (build_design("y ~ x + z + (x | g) + (1 | h)", t) for t in (table, far))
    )
    np.testing.assert_allclose(moved, near, rtol=1e-5)


def test_a_spread_of_zero_is_no_unit_of_shares():
    design = build_design("y ~ x + z + (x + z || g)", crossed())
    gap = explained(design, {"sd": 1.0})
    hub, fit = (run_estimator(name, design, Settings(), options) for name, options in (
        ("reml", None), ("fixed_prior", {"covariance": "independent"})
    ))  # fmt: skip
    ours = [part.coefficient.estimate[:, 0] for part in hub.group_effects]
    assert [bool(part.effect.estimate.any()) for part in hub.group_effects] == [True, True, False]
    effects = [part.effect.estimate[:, 0] for part in hub.group_effects[:2]]
    units = [np.sqrt(np.mean(u**2)) for u in effects]
    units.append(np.sqrt(np.mean(gap.gaps[0][2] ** 2)))  # of the third, its gap as fitted
    sizes = [
        np.sqrt(np.mean([((a - b) / unit) ** 2 for a, b, unit in zip(ours, found, units, strict=True)]))
        for found in (
            [c - g[:, 0] for c, g in zip(ours, gap.gaps[0], strict=True)],
            [part.coefficient.estimate[:, 0] for part in fit.group_effects],
        )
    ]
    assert gap.shares[1] == pytest.approx(sizes[1] / sizes[0], rel=1e-6)


def test_rounding_has_no_shares():
    options = {"plug_in": "ml", "dispersion": "ml"}  # that is ML
    gap = explained(design_of("twelve_groups--ri"), options, ("ml", "fixed_prior"))
    assert "give the same coefficients here" in gap.sentence
    assert gap.shares == (0.0, 0.0, 0.0, 0.0)


def test_a_plugged_in_dispersion_is_the_last_cause_and_not_part_of_another():
    design = design_of("twelve_groups--ri")
    ml, hub = (run_estimator(name, design, Settings()) for name in ("ml", "reml"))
    gap = explained(design, {"plug_in": "ml", "dispersion": "plug_in"})
    assert gap.table["cause"].tolist() == ["as fitted", "plug-in from another fit", "dispersion convention"]
    said = f"REML's {hub.sigma**2:.6f}; it was held at {ml.sigma**2:.6f}"
    assert said in gap.table["change"].iloc[-1]
    held = run_estimator("fixed_prior", design, Settings(), {"dispersion": ml.sigma**2}, {"reml": hub})
    moved = held.group_effects[0].coefficient.estimate - hub.group_effects[0].coefficient.estimate
    assert left(gap, "plug-in from another fit")[0] == pytest.approx(np.abs(moved).max(), rel=1e-9)


def test_what_makes_no_difference_by_its_nature_is_no_cause():
    design = design_of("twelve_groups--ri")
    again = run_estimator("reml", design, Settings())
    same = explained(design, {"plug_in": again})  # REML, fitted twice
    assert same.table["cause"].tolist() == ["as fitted", "dispersion convention"]
    assert explained(design, {"dispersion": "plug_in"}).steps == ()  # REML's, under another name


def test_the_dispersion_of_weighted_rows_has_two_causes():
    # the EM's fixed point is bayesglm's, phi = mean W r^2 + phi mean d'Vd, the second mean without weights; REML's has
    # both weighted, so that not all of the difference is that the mean is held
    table = crossed()
    weighted = explained(build_design("y ~ x + (1 | g)", table, weights="w"))
    plain = explained(build_design("y ~ x + (1 | g)", table))
    assert "counts its rows without their weights, had" in weighted.table["change"].iloc[-1]
    assert "as known, had" in plain.table["change"].iloc[-1]


def test_an_em_that_was_stopped_is_a_cause_of_its_own():
    design = design_of("twelve_groups--ri")
    whole = explained(design)
    for options, why in (({"max_iterations": 2}, "2, its limit"), ({"tolerance": 0.1}, "by a tolerance of 0.1")):
        gap = explained(design, options)
        assert gap.table["cause"].tolist() == ["as fitted", "unfinished EM", "dispersion convention"]
        assert why in gap.table["change"][1]
        assert gap.table["change"][2] == whole.table["change"][1]
        np.testing.assert_allclose(left(gap, "unfinished EM"), left(whole, "as fitted"), rtol=1e-8)


def test_complete_pooling_is_remls_where_reml_finds_no_spread():
    gap = explained(design_of("Dyestuff2--ri"), pair=("complete_pooling", "fixed_prior"))
    assert "no spread between groups" not in gap.table["cause"].tolist()  # "as REML's (SD 0), not zero"
    assert gap.explained


@pytest.mark.slow
def test_the_long_way_by_ml_is_told_from_another_search():
    design = design_of("twelve_groups--ri")
    both = compare_fits(design, ["reml", "reml_textbook"], Settings(), {"reml_textbook": {"criterion": "ML"}})
    causes = both.explain_gap("reml", "reml_textbook").table["cause"].tolist()[1:]
    assert causes == ["variances between groups by ML", "residual variance by ML"]
    other = compare_fits(design, ["reml", "reml_textbook"]).explain_gap("reml", "reml_textbook")
    first, second = other.table["change"][1].removeprefix("REML's ").split(" in place of ")
    assert first != second  # as many digits as it takes


@pytest.mark.slow
def test_fits_of_different_designs_have_no_gap(tmp_path):
    table = crossed()
    one = wb.fit("y ~ x + (1 | g)", table)
    for formula, data, given in (
        ("y ~ x + z + (1 | g)", table, {}),
        ("y ~ x + (1 | g)", table, {"weights": "w"}),
        ("y ~ x + (1 | g)", table | {"y": table["y"] + 1}, {}),
        ("y ~ x + (1 | g)", {name: values[:60] for name, values in table.items()}, {}),
    ):
        other = wb.fit(formula, data, "fixed_prior", **given)
        with pytest.raises(ComparisonError, match="fits of different designs"):
            explain_gap(one, other)
    both = Comparison({"reml": one, "fixed_prior": wb.fit("y ~ x + z + (1 | g)", table, "fixed_prior")})
    assert "Why REML and fixed prior differ" not in (both.report(tmp_path / "r") / "README.md").read_text()


def test_a_gap_to_the_exact_posterior_has_no_monte_carlo_error():
    design = design_of("twelve_groups--ri")
    both = compare_fits(design, ["reml", "exact"])
    gap = both.explain_gap("reml", "exact")
    assert gap.table["cause"].tolist() == [
        "as fitted", "integrated versus plugged-in variance", "mean versus mode", "priors",
    ]  # fmt: skip
    assert gap.explained
    # the sampled chain's figures, of 8,000 draws with a Monte Carlo error of 0.03: 0.577, 0.444 and 0.0043
    np.testing.assert_allclose(gap.table["max_difference"][:2], [0.577, 0.444], atol=0.1)
    assert gap.table["max_difference"][2] == pytest.approx(0.004275, abs=5e-4)

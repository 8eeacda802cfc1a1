"""Thousands of groups. Rungs: slow oracles (loops over levels, written here), closed form (counts, sizes, digits), and
a structural one (no loop of ours, and no call of anybody's, for each level)."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from posterior_like import as_sampled
from scipy.optimize import minimize_scalar

import workbench as wb
from workbench.comparison import Comparison
from workbench.plots import prints, shrinkage, shrunken, versus
from workbench.plots.varying import pick, truth, varying
from workbench.report import Context, estimate_tables, write_report
from workbench.report.extremes import EXTREMES, FARTHEST, WHOLE
from workbench.report.tables import LARGE, estimates_file, is_large
from workbench.report.terminal import print_comparison
from workbench.report.terminal_fit import print_fit
from workbench.report.view import page

pytestmark = pytest.mark.usefixtures("few_pictures")

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
MANY = 7_000  # four estimators and two rows each: 56,004 rows, which are too many for CSV
SHIFTED = [4_321, 17, 5_000]


def simulated(levels, formula="y ~ 1 + (1 | firm)"):
    rng = np.random.default_rng(7)
    slopes = 1.0 if "x" in formula else 0.0
    sizes = rng.integers(1, 7, levels) + 2 * int(slopes)
    codes = np.repeat(np.arange(levels), sizes)
    x = rng.normal(size=len(codes))
    y = rng.normal(size=levels)[codes] + slopes * rng.normal(size=levels)[codes] * x + 2 * rng.normal(size=len(codes))
    firm = np.array([f"f{k:05d}" for k in range(levels)], dtype=object)
    return wb.compare(formula, pd.DataFrame({"y": y, "x": x, "firm": firm[codes]}), FOUR)


@pytest.fixture(scope="module")
def many():
    return simulated(MANY)


@pytest.fixture(scope="module")
def folder(many, tmp_path_factory):
    return write_report(many, tmp_path_factory.mktemp("many") / "report")


@pytest.fixture(scope="module")
def disputed(many):
    """REML beside draws whose points lie two, one and a half posterior SDs off at three levels, and nowhere else."""
    full = as_sampled(many.fits["reml"])
    part = full.group_effects[0]
    shift = np.zeros_like(part.coefficient.estimate)
    shift[SHIFTED, 0] = [2.0, -1.0, 0.5]
    moved = replace(part.coefficient, estimate=part.coefficient.estimate + shift * part.effect.std_error)
    full = replace(full, group_effects=(replace(part, coefficient=moved),))
    return Comparison({"reml": many.fits["reml"], "hierarchical": full}, many.alone)


def coefficients(comparison, name):
    part = comparison.fits[name].group_effects[0]
    return pd.Series(part.coefficient.estimate[:, 0], part.levels)


def names(table):
    return [row[0].text for row in table.rows if len(row) > 1]


# --- tables -------------------------------------------------------------------------------------------


def test_tidy_rows_are_those_of_a_loop_over_levels():
    comparison = simulated(40, "y ~ x + (x | firm)")
    rows = comparison.estimates.set_index(["estimator", "effect", "level", "term"])
    for name, fit in comparison.fits.items():
        part = fit.group_effects[0]
        for effect, values in (("ran_vals", part.effect), ("ran_coefs", part.coefficient)):
            for j, level in enumerate(part.levels):
                for k, term in enumerate(part.terms):
                    row = rows.loc[name, effect, level, term]
                    assert row["group"] == "firm"
                    assert row["n"] == part.sizes[j]
                    for column in ("estimate", "std_error", "conf_low", "conf_high"):
                        assert row[column] == getattr(values, column)[j, k]
                    labels = [row[column] for column in ("point", "std_error_kind", "interval")]
                    assert labels == [values.point, values.std_error_kind, values.interval]
    assert list(rows.index[:4]) == [
        *(("complete_pooling", "fixed", np.nan, term) for term in ("(Intercept)", "x")),
        *(("complete_pooling", "ran_vals", "f00000", term) for term in ("(Intercept)", "x")),
    ]


def test_text_columns_work_as_text(many):
    rows = many.estimates
    assert rows.query("level == 'f00308' and estimator == 'reml'")["effect"].tolist() == ["ran_vals", "ran_coefs"]
    assert rows.query("std_error_kind == 'conditional SD'")["estimator"].unique().tolist() == ["reml"]
    assert rows["level"].isna().sum() == len(FOUR)  # the population coefficients
    reml = many.fits["reml"].coefficients
    truths = {level: float(place) for place, level in enumerate(reml["level"])}
    assert (reml["level"].map(truths) - np.arange(MANY) == 0).all()  # what a category would not do
    assert (rows["estimator"] + ":" + rows["term"]).iloc[-1] == "fixed_prior:(Intercept)"


def test_json_rows_are_those_of_a_loop_over_levels():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(8), [1, 1, 4, 4, 4, 4, 4, 4])  # two without a slope of their own
    x, y = np.arange(26.0) % 4, rng.normal(size=26)
    fit = wb.fit("y ~ x + (x | g)", {"y": y, "x": x, "g": group}, "no_pooling")
    part = fit.group_effects[0]
    document = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    for row, (j, k) in zip(document["effects"], np.ndindex(8, 2), strict=True):
        ours = [part.effect.estimate, part.coefficient.estimate, part.effect.std_error]
        ours = [float(a[j, k]) for a in (*ours, part.effect.conf_low, part.effect.conf_high)]
        assert row == {
            "group": "g", "level": str(j), "term": part.terms[k], "n": int(part.sizes[j]),
            **{
                name: value if np.isfinite(value) else None
                for name, value in zip(
                    ["effect", "coefficient", "std_error", "conf_low", "conf_high"], ours, strict=True
                )
            },
        }  # fmt: skip
    assert document["effects"][0]["effect"] is None


def test_truth_is_found_level_by_level(many):
    some = {(f"f{k:05d}", "(Intercept)"): k / 7 for k in range(6_000, 0, -3)} | {("f00001", "x"): 99.0}
    comparison = Comparison(many.fits, many.alone, some)
    v = varying(comparison)[0]
    expected = [some.get((level, "(Intercept)"), np.nan) for level in v.levels]
    np.testing.assert_array_equal(truth(comparison, v), expected)


# --- which levels are shown ---------------------------------------------------------------------------


def test_the_page_shows_the_lowest_and_the_highest_and_says_how_many_more(many):
    (table,) = estimate_tables.estimates(many)
    ordered = coefficients(many, "reml").sort_values()
    assert names(table) == [*ordered.index[:EXTREMES], *ordered.index[-EXTREMES:]]
    assert table.rows[EXTREMES][0].text == "… and 6,970 more, all in tables/estimates.parquet"
    assert "Of 7,000 levels, the 15 lowest and the 15 highest by REML are shown." in table.aside


def test_the_page_shows_those_that_pooling_moves_farthest(many):
    (table,) = estimate_tables.farthest(many)  # REML and the fixed prior are not in dispute
    moved = (coefficients(many, "reml") - coefficients(many, "no_pooling")).abs().sort_values(ascending=False)
    assert names(table) == list(moved.index[:FARTHEST])
    assert [row[-1].sort for row in table.rows[:-1]] == moved.tolist()[:FARTHEST]
    assert table.rows[-1][0].text == "… and 6,990 more, all in tables/estimates.parquet"
    assert table.notes[-1] == "Of 7,000 levels, the 10 whose REML estimate lies farthest from their sample mean."
    (main,) = estimate_tables.estimates(many)
    assert any("REML: BLUP; ± coefficient SE" in note for note in main.notes)


def test_the_page_shows_where_estimators_that_pool_partially_lie_apart(disputed):
    moved, apart = estimate_tables.farthest(disputed)
    assert moved.title.startswith("Mean of y: levels of firm whose REML estimate")
    assert names(apart)[: len(SHIFTED)] == [f"f{k:05d}" for k in SHIFTED]
    error = disputed.fits["hierarchical"].group_effects[0].effect.std_error[SHIFTED, 0]
    ranges = [row[-1].sort for row in apart.rows[: len(SHIFTED)]]
    np.testing.assert_allclose(ranges, [2, 1, 0.5] * error, rtol=1e-9)
    assert apart.notes[-1] == "Of 7,000 levels, the 10 where REML and full Bayes lie farthest apart."


def test_few_levels_are_shown_whole_and_nothing_beside():
    few = simulated(WHOLE)
    assert len(names(estimate_tables.estimates(few)[0])) == WHOLE
    assert estimate_tables.farthest(few) == ()


def test_the_terminal_shows_both_ends_and_says_where_the_rest_is(many):
    from rich.console import Console

    out = Console(file=io.StringIO(), width=100, highlight=False)
    print_comparison(many, out)
    text = " ".join(out.file.getvalue().split())
    assert "The 10 lowest and 10 highest by REML; 6,980 more levels are not shown. All are in" in text
    assert "comparison.estimates, and in tables/estimates.parquet of a report." in text
    out = Console(file=io.StringIO(), width=100, highlight=False)
    print_fit(many.fits["reml"], out)
    lines = out.file.getvalue().splitlines()
    ordered = coefficients(many, "reml").sort_values().index
    shown = [line.split()[0] for line in lines if line.startswith(("f0", "…"))]
    assert shown == [*ordered[:12], "…", *ordered[-12:]]
    assert "The 12 lowest and 12 highest by their effect; 6,976 more levels are in fit.effects" in " ".join(lines)


# --- files --------------------------------------------------------------------------------------------


def same_rows(read, ours):
    """All rows and all digits, missing ones included."""
    assert list(read.columns) == list(ours.columns)
    assert len(read) == len(ours)
    for name, column in ours.items():
        if column.dtype.kind in "fi":
            np.testing.assert_array_equal(read[name].to_numpy(dtype=float, na_value=np.nan), column.to_numpy(float))
        else:
            theirs, own = (list(c.astype(object).where(c.notna(), None)) for c in (read[name], column))
            assert theirs == own


def test_the_full_file_has_every_row_with_all_digits(many, folder):
    for name, ours in (
        ("estimates", many.estimates),
        ("groups", many.by_group().drop(columns=["std_error", "conf_low", "conf_high", "std_error_kind", "interval"])),
    ):
        read = pl.read_parquet(folder / f"tables/{name}.parquet")
        assert read["level"].dtype == pl.String
        same_rows(pd.DataFrame({column: read[column].to_list() for column in read.columns}), ours)
    rows = len(FOUR) * (1 + 2 * MANY)
    assert len(many.estimates) == rows > LARGE
    assert (folder / "tables/estimates.parquet").stat().st_size < 40 * rows  # four numbers of eight bytes, and a little


def test_the_extremes_lie_in_a_small_file_with_their_labels(many, folder):
    read = pd.read_csv(folder / "tables/estimates_extremes.csv")
    every = many.estimates
    assert list(read.columns) == ["chosen_for", "rank", *every.columns]
    keys = ["estimator", "effect", "level", "term"]
    both = read.merge(every, on=keys, suffixes=("", "_all"))
    assert len(both) == len(read)
    for column in ("estimate", "std_error", "conf_low", "conf_high", "point", "std_error_kind", "interval", "n"):
        assert (both[column] == both[f"{column}_all"]).all(), column
    ordered = coefficients(many, "reml").sort_values().index
    one = (
        read.query("estimator == 'reml' and effect == 'ran_coefs'").groupby("chosen_for", sort=False)["level"].agg(list)
    )
    assert one["lowest by REML"] == list(ordered[:EXTREMES])
    assert one["highest by REML"] == list(ordered[: -EXTREMES - 1 : -1])
    (moved,) = estimate_tables.farthest(many)
    assert one["those whose REML estimate lies farthest from their sample mean"] == names(moved)
    assert (read.groupby(["chosen_for", "level"]).size() == 2 * len(FOUR)).all()
    assert set(read["chosen_for"]) == {"population coefficient", *one.index}


def test_the_manifest_and_the_page_name_the_files(folder):
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    tables = sorted(name for name in listed if name.startswith("tables/"))
    assert tables == [
        "tables/agreement.csv", "tables/estimates.parquet", "tables/estimates_extremes.csv",
        "tables/gaps.csv", "tables/groups.parquet", "tables/timings.csv", "tables/variance.csv",
    ]  # fmt: skip
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "[tables/estimates.parquet](tables/estimates.parquet)" in text
    assert "polars.read\\_parquet" in text
    assert "in the CSV" not in text.split("Remarks stand above")[0]


def test_sizes_are_bounded(folder):
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    assert sizes["index.html"] < 3_000_000
    assert sizes["README.md"] < 60_000
    assert max(size for name, size in sizes.items() if name.endswith((".svg", ".png"))) < 2_000_000
    assert sizes["tables/estimates_extremes.csv"] < 200_000


def test_the_same_bytes_twice(many, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.report.write._draw", lambda *args: [])
    again = write_report(many, tmp_path / "again")
    for name in ("estimates.parquet", "groups.parquet", "estimates_extremes.csv"):
        assert (again / "tables" / name).read_bytes() == (folder / "tables" / name).read_bytes()


def test_the_number_of_rows_decides_between_text_and_parquet(many, monkeypatch):
    def only(*names):
        return Comparison({name: many.fits[name] for name in names}, many.alone)

    assert is_large(many)
    monkeypatch.setattr("workbench.report.tables.LARGE", len(only(*FOUR[:1]).estimates))
    assert not is_large(only(*FOUR[:1]))
    assert estimates_file(only(*FOUR[:1])) == "tables/estimates.csv"
    monkeypatch.setattr("workbench.report.tables.LARGE", len(many.estimates))
    assert not is_large(many)
    monkeypatch.setattr("workbench.report.tables.LARGE", len(many.estimates) - 1)
    assert is_large(many)


# --- pictures -----------------------------------------------------------------------------------------


def test_captions_and_axes_say_what_is_drawn_of_how_many(many):
    for picture in prints(many):
        said = picture.view.caption
        drawn = {"samples": "2,000", "shrunken": "2,000", "versus": "150", "shrinkage": "300"}[picture.stem]
        assert f"{drawn} of " in said
        assert "7,000 levels of firm" in said
        if picture.stem != "shrinkage":
            assert picture.view.x_label == f"firm ({drawn} of 7,000 levels, in the order of their sample means)"
            assert len(picture.view.positions) == int(drawn.replace(",", ""))
    assert "capped" not in versus.view(many, pick(many)).caption


@pytest.fixture(scope="module")
def wild():
    """Two hundred levels, of which one has rows so close together that its own slope may be anything."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(200), 3)
    x, y = rng.normal(size=600), rng.normal(size=600)
    x[3:6] = [0.0, 1e-3, 2e-3]
    y[3:6] = [0.0, 1.0, 2.0]  # a slope of 1,000
    return wb.compare("y ~ x + (x | g)", {"y": y, "x": x, "g": group}, FOUR)


def test_an_estimate_that_says_little_does_not_stretch_the_frame(wild):
    view = shrunken.view(wild, pick(wild, "x"))
    assert view.own[-1] == pytest.approx(1000, rel=1e-6)
    low, high = view.y_limits
    outside = view.own[(view.own < low) | (view.own > high)]
    assert high < 100
    assert 1 <= len(outside) <= 4  # of 200, at most two in a hundred
    assert view.pooled.min() > low
    assert view.pooled.max() < high
    assert f"{len(outside):,} no-pooling coefficient" in view.caption
    assert "1000" in view.caption.split("outside the frame")[1]
    panels = shrinkage.view(wild, [pick(wild, "x")])
    assert panels.rows[0][0].y_limits[1] < 100
    assert "outside the frame" in panels.caption


def test_a_frame_holds_all_where_none_is_far_out_or_levels_have_names(many):
    view = shrunken.view(many, pick(many))
    assert view.y_limits[0] < view.own.min()
    assert view.own.max() < view.y_limits[1]
    assert "drawn here" not in view.caption  # observations may lie outside, estimates do not
    few = {"y": [1.0, 1.1, 2.0, 2.1, 90.0], "g": list("aabbc")}
    few = wb.compare("y ~ 1 + (1 | g)", few, FOUR)
    assert shrunken.view(few, pick(few)).y_limits[1] > 90


# --- structure ----------------------------------------------------------------------------------------


class Probe:
    """Counts calls of Python functions, whoever's they are, and backward jumps (turns of a loop) in our own code."""

    def __init__(self, ours="/workbench/"):
        self.calls, self.turns, self.ours = 0, 0, ours

    def __enter__(self):
        monitoring, events = sys.monitoring, sys.monitoring.events
        monitoring.use_tool_id(4, "levels")
        monitoring.register_callback(4, events.PY_START, self.start)
        monitoring.register_callback(4, events.JUMP, self.jump)
        monitoring.set_events(4, events.PY_START | events.JUMP)
        return self

    def __exit__(self, *failure):
        sys.monitoring.set_events(4, 0)
        sys.monitoring.free_tool_id(4)

    def start(self, code, offset):
        self.calls += 1

    def jump(self, code, start, end):
        self.turns += end < start and self.ours in code.co_filename.replace("\\", "/")


def read_everything(comparison):
    """Every table, every picture's view, the page and the terminal."""
    from rich.console import Console

    for name in ("estimates", "agreement", "shrinkage", "variance", "timings", "parameters"):
        getattr(comparison, name)
    for fit in comparison.fits.values():
        assert len(fit.effects) == len(fit.coefficients)
    assert len(list(prints(comparison))) == 4
    page(comparison, Context())
    out = Console(file=io.StringIO(), width=100, highlight=False)
    print_comparison(comparison, out)
    print_fit(comparison.fits["reml"], out)


def test_the_probe_sees_loops_and_calls():
    with Probe(ours=__file__) as probe:
        assert len([level for level in range(1_000)]) == sum(1 for _ in range(1_000))  # noqa: C416
    assert probe.turns >= 2_000
    with Probe() as probe:
        list(map(len, [()] * 5))
        for _ in range(1_000):
            names(estimate_tables.Table("", "", (), ()))
    assert probe.calls >= 1_000


def test_nothing_loops_over_levels():
    small, large = simulated(2_000), simulated(20_000)
    truths = [{(f"f{k:05d}", "(Intercept)"): 0.0 for k in range(J)} for J in (2_000, 20_000)]
    small, large = (Comparison(c.fits, c.alone, t) for c, t in zip((small, large), truths, strict=True))
    read_everything(Comparison(small.fits, small.alone, truths[0]))  # whatever is loaded at the first call
    counts = []
    for comparison in (small, large):
        with Probe() as probe:
            read_everything(comparison)
        counts.append((probe.calls, probe.turns))
    (calls, turns), (more_calls, more_turns) = counts
    assert turns > 0
    assert more_calls < 1.2 * calls
    assert more_turns < turns + 200


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_few_groups_of_very_many_rows_are_fitted(seed):
    # with some 125,000 rows a level, Lambda = 10^6 leaves rounding alone; the criterion of a one-way layout by hand
    rng = np.random.default_rng(seed)
    N, J = 10**6, 8
    g, noise = rng.integers(0, J, N), rng.normal(size=N)
    y = rng.normal(size=J)[g] + noise
    fit = wb.fit("y ~ 1 + (1 | g)", {"y": y, "g": g})
    n = np.bincount(g).astype(float)
    means = np.bincount(g, y) / n
    within = np.sum((y - means[g]) ** 2)

    def criterion(log_theta):
        v = n / (1 + n * np.exp(2 * log_theta))
        r2 = within + np.sum(v * (means - v @ means / v.sum()) ** 2)
        return np.sum(np.log(n / v)) + np.log(v.sum()) + (N - 1) * np.log(r2)

    best = minimize_scalar(criterion, bracket=(-1, 1), tol=1e-10)
    assert fit.converged
    theta = fit.components[0].sd[0] / fit.sigma
    assert np.log(theta) == pytest.approx(
        best.x, abs=1e-4
    )  # the criterion, of some 10^7, has 9 digits behind its point
    assert criterion(np.log(theta)) <= best.fun + 1e-8

"""Simulation of known-truth groups: R's own figures, invariance, recovery of the simulated SDs.

Rungs: R figures (the generator, and the twelve groups as R drew them), invariance by hypothesis,
recovery of simulated truth. Draws are held to R at 1e-12 absolute, a thousand times the difference
between R's normal quantile and SciPy's; uniforms are held to the last bit.
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from workbench.errors import OptionError
from workbench.simulate import RRandom, _normals, _open_unit, simulate_groups, twelve_groups

HERE = Path(__file__).parent
STUDY = HERE.parent / "models" / "twelve_groups"
DIGITS = {"rtol": 0.0, "atol": 1e-12}

# R 4.2.2: f <- function(x) cat(sprintf("%.17g", x), "\n")
#          for (s in c(0, 1, -12345, 2147483647, -2147483647)) {
#            set.seed(s); f(runif(3)); set.seed(s); f(rnorm(3)) }
R_DRAWS = {
    0: (
        [0.8966972001362592, 0.26550866314209998, 0.37212389963679016],
        [1.2629542848807933, -0.3262333607056494, 1.3297992629225006],
    ),
    1: (
        [0.26550866314209998, 0.37212389963679016, 0.57285336335189641],
        [-0.62645381074233242, 0.18364332422208224, -0.83562861241004716],
    ),
    -12345: (
        [0.46743275760672987, 0.78428301657550037, 0.12679037032648921],
        [-0.081724851034274432, -1.1416951993763631, -0.030033587241977355],
    ),
    2147483647: (
        [0.68966742674820125, 0.98787517822347581, 0.19676422467455268],
        [0.49490790107688132, -0.85323596952647529, 1.5923866380039915],
    ),
    -2147483647: (
        [0.56201667874120176, 0.57561779324896634, 0.37009761366061866],
        [0.15608420969590059, -0.33159483939616125, 3.0679245783508429],
    ),
}

seeds = st.integers(-(2**31) + 1, 2**31 - 1)
lengths = st.integers(0, 700)  # beyond 624 words the state is renewed


@pytest.mark.parametrize("seed", R_DRAWS)
def test_draws_are_those_of_r(seed: int) -> None:
    uniforms, normals = R_DRAWS[seed]
    assert_array_equal(RRandom(seed).runif(3), uniforms)
    assert_allclose(RRandom(seed).rnorm(3), normals, **DIGITS)


def test_long_run_is_that_of_r() -> None:
    # set.seed(2); x <- rnorm(1e5); f(x[c(312, 313, 625, 1e5)]); f(range(x))
    x = RRandom(2).rnorm(100_000)
    expected = [-0.46821108506109577, -0.50205732203472808, 1.3060463846442119, 1.3340473647328486]
    assert_allclose(x[[311, 312, 624, 99_999]], expected, **DIGITS)
    assert_allclose([x.min(), x.max()], [-4.0877931185834733, 4.4709009365369683], **DIGITS)


def test_means_sds_and_bounds_are_recycled_as_in_r() -> None:
    # set.seed(3); f(rnorm(7, mean = c(0, 10, 100), sd = c(1, 2)))
    expected = [
        -0.96193341591988268,
        9.4149485542430664,
        100.25878821624126,
        -2.3042637718302652,
        10.195782826286376,
        100.06024788920327,
        0.085417731612271716,
    ]
    assert_allclose(RRandom(3).rnorm(7, mean=[0, 10, 100], sd=[1, 2]), expected, **DIGITS)
    # set.seed(5); f(runif(4, c(2, -1), c(6, 0, 9)))
    expected = [2.8008578103035688, -0.31478140433318913, 8.4181304215453565, 0.99079620093107224]
    assert_allclose(RRandom(5).runif(4, [2, -1], [6, 0, 9]), expected, **DIGITS)
    with pytest.raises(OptionError, match="low = 2 and high = 0"):  # where R gives NaN and warns
        RRandom(5).runif(5, [2, -1], [6, 0, 9])


def test_nothing_is_drawn_where_nothing_varies_as_in_r() -> None:
    # set.seed(2); f(c(rnorm(1, 5, 0), rnorm(1), runif(2, 3, 3), runif(1)))
    r = RRandom(2)
    drawn = [*r.rnorm(1, 5, 0), *r.rnorm(1), *r.runif(2, 3, 3), *r.runif(1)]
    assert_allclose(drawn, [5, -0.89691454662498138, 3, 3, 0.57332633482292295], **DIGITS)
    # set.seed(4); f(rnorm(4, 1, c(2, 0)))
    expected = [1.4335097257271516, 1, -0.084985144526850576, 1]
    assert_allclose(RRandom(4).rnorm(4, 1, [2, 0]), expected, **DIGITS)


def test_uniforms_stay_inside_the_open_interval() -> None:
    # set.seed(1); s <- .Random.seed; s[2] <- 1L; s[4:7] <- 0L   (a zero word stays zero when tempered)
    # .Random.seed <- s; f(runif(2)); .Random.seed <- s; f(rnorm(2))
    unit = _open_unit(np.array([0, 0, 1, 2**32 - 1], dtype=np.uint64))
    assert_array_equal(unit[:2], 1.1641532185403984e-10)
    assert_array_equal(unit[2:], [2.0**-32, 1 - 2.0**-32])
    assert_allclose(_normals(unit[:2]), [-8.7733211690013437], **DIGITS)


def test_groups_are_drawn_after_their_means_as_in_r() -> None:
    # set.seed(9); mu <- rnorm(3, 10, 2); f(mu); f(unlist(mapply(rnorm, n = c(2, 1, 3), mean = mu, sd = 0.5)))
    drawn = simulate_groups([2, 1, 3], between_sd=2.0, within_sd=0.5, mean=10.0, seed=9)
    assert_allclose(drawn.truth, [8.4664079292767784, 8.3670833116632561, 9.7169296281545066], **DIGITS)
    expected = [
        8.3276054143621678,
        8.6845613784909208,
        7.7736470491796519,
        10.312923081946275,
        9.7078344567053314,
        9.5928873293196322,
    ]
    assert_allclose(drawn.y, expected, **DIGITS)
    assert_array_equal(drawn.group, [1, 1, 2, 3, 3, 3])


def test_twelve_groups_are_the_published_ones() -> None:
    # set.seed(1); u <- rnorm(12, sd = 1); unlist(mapply(rnorm, n = sizes, mean = u, sd = 5)),
    # written by R with the shortest digits that give the same double
    published = pd.read_csv(HERE / "data" / "twelve_groups.csv")
    means = pd.read_csv(HERE / "data" / "twelve_groups_means.csv")
    ours = twelve_groups()
    table = ours.to_pandas()
    assert list(table.columns) == ["group", "samples"]
    assert_array_equal(table["group"], published["group"])
    assert_allclose(table["samples"], published["samples"], **DIGITS)
    assert_allclose(ours.truth, means["true.mean"], **DIGITS)
    assert_array_equal(ours.sizes, means["n"])


def test_study_is_what_its_simulation_table_draws() -> None:
    settings = tomllib.loads((STUDY / "model.toml").read_text())["simulation"]
    drawn = simulate_groups(**settings)
    data = pd.read_csv(STUDY / "data.csv")
    truth = pd.read_csv(STUDY / "truth.csv", dtype={"level": str})
    assert_array_equal(data["group"], drawn.group)
    assert_allclose(data["samples"], drawn.y, **DIGITS)
    assert list(truth["level"]) == list(drawn.truth_table()["level"])
    assert set(truth["term"]) == {"(Intercept)"}
    assert_allclose(truth["value"], drawn.truth, **DIGITS)


@given(seeds, lengths, lengths)
def test_a_run_goes_on_where_it_stopped(seed: int, first: int, more: int) -> None:
    whole = RRandom(seed).rnorm(first + more)
    assert_array_equal(RRandom(seed).rnorm(first), whole[:first])
    r = RRandom(seed)
    assert_array_equal(np.concatenate([r.rnorm(first), r.rnorm(more)]), whole)
    whole = RRandom(seed).runif(first + more)
    r = RRandom(seed)
    assert_array_equal(np.concatenate([r.runif(first), r.runif(more)]), whole)


@given(seeds, st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.sampled_from(["R", "numpy"]))
def test_shift_and_scale_carry_over(seed: int, mean: float, scale: float, generator: str) -> None:
    seed = abs(seed)
    plain = simulate_groups([4, 1, 2], 1.0, 5.0, seed=seed, generator=generator)
    moved = simulate_groups([4, 1, 2], scale, 5.0 * scale, mean=mean, seed=seed, generator=generator)
    size = abs(mean) + 100 * scale  # rounding is relative to the largest number that takes part
    assert_allclose(moved.y, mean + scale * plain.y, rtol=0, atol=1e-14 * size)
    assert_allclose(moved.truth, mean + scale * plain.truth, rtol=0, atol=1e-14 * size)


@pytest.mark.parametrize("generator", ["R", "numpy"])
def test_without_noise_the_samples_are_the_truth(generator: str) -> None:
    drawn = simulate_groups([3, 2], between_sd=2.0, within_sd=0.0, generator=generator)
    assert_array_equal(drawn.y, drawn.truth[drawn.group - 1])
    flat = simulate_groups([3, 2], between_sd=0.0, within_sd=0.0, mean=7.0, generator=generator)
    assert_array_equal(flat.y, 7.0)


@pytest.mark.parametrize("generator", ["R", "numpy"])
def test_simulated_sds_and_mean_are_recovered(generator: str) -> None:
    # The SE of an SD from k degrees of freedom is sd / sqrt(2 k); four of them, the seed being fixed
    n_groups, size, between, within, mean = 500, 40, 2.0, 5.0, -3.0
    drawn = simulate_groups([size] * n_groups, between, within, mean, seed=20, generator=generator)
    y = drawn.y.reshape(n_groups, size)
    pooled = np.sqrt(y.var(axis=1, ddof=1).mean())
    assert pooled == pytest.approx(within, abs=4 * within / np.sqrt(2 * n_groups * (size - 1)))
    of_means = np.sqrt(between**2 + within**2 / size)  # what the sample means scatter by
    group_means = y.mean(axis=1)
    assert group_means.std(ddof=1) == pytest.approx(of_means, abs=4 * of_means / np.sqrt(2 * (n_groups - 1)))
    assert drawn.truth.std(ddof=1) == pytest.approx(between, abs=4 * between / np.sqrt(2 * (n_groups - 1)))
    assert group_means.mean() == pytest.approx(mean, abs=4 * of_means / np.sqrt(n_groups))


def test_draws_look_normal_to_the_tails() -> None:
    # counts beyond z are binomial; five standard deviations of each, the seed being fixed
    x = RRandom(11).rnorm(400_000)
    for z, tail in [(0.0, 0.5), (1.0, 0.15865525393145705), (3.0, 0.0013498980316300946)]:
        slack = 5 * np.sqrt(x.size * tail * (1 - tail))
        assert (x > z).sum() == pytest.approx(x.size * tail, abs=slack)
        assert (x < -z).sum() == pytest.approx(x.size * tail, abs=slack)


def test_what_was_simulated_cannot_be_changed() -> None:
    drawn = twelve_groups()
    for array in (drawn.y, drawn.truth, drawn.group):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn.seed = 2
    table, truth = drawn.to_pandas(), drawn.truth_table()
    table.loc[0, "samples"] = 99.0
    truth.loc[0, "value"] = 99.0
    assert drawn.y[0] == twelve_groups().y[0]
    assert drawn.truth[0] == twelve_groups().truth[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": []}, "at least one group"),
        ({"sizes": [3, 0]}, "size of 0"),
        ({"sizes": [3, -2]}, "size of -2"),
        ({"sizes": [2.5]}, "must be an integer; got 2.5"),
        ({"sizes": 12}, "list of group sizes"),
        ({"sizes": [2], "between_sd": -1}, "between_sd .* negative; got -1"),
        ({"sizes": [2], "within_sd": -0.5}, "within_sd .* negative; got -0.5"),
        ({"sizes": [2], "within_sd": float("nan")}, "within_sd must be finite; got nan"),
        ({"sizes": [2], "mean": float("inf")}, "mean must be finite; got inf"),
        ({"sizes": [2], "mean": "none"}, "mean must be a number; got 'none'"),
        ({"sizes": [2], "seed": 2**31}, "-2147483647 to 2147483647; got 2147483648"),
        ({"sizes": [2], "seed": -(2**31)}, "-2147483647 to 2147483647; got -2147483648"),  # R's NA
        ({"sizes": [2], "seed": 1.5}, "seed must be an integer; got 1.5"),
        ({"sizes": [2], "seed": -1, "generator": "numpy"}, "0 or more; got -1"),
        ({"sizes": [2], "generator": "julia"}, '"R" or "numpy"; got \'julia\''),
    ],
)
def test_unusable_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        simulate_groups(**settings)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda r: r.rnorm(-1), "0 or more; got -1"),
        (lambda r: r.rnorm(2, sd=[1, -3]), "sd >= 0; got -3"),
        (lambda r: r.rnorm(2, mean=[]), "mean is empty"),
        (lambda r: r.rnorm(2, mean=[0, np.nan]), "mean must be finite; got nan"),
        (lambda r: r.runif(2, low="a"), "low must be a number"),
    ],
)
def test_unusable_draws_are_named(draw, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        draw(RRandom(1))

"""What priors make of a posterior. Rungs: the slopes' spread with days counted from afar, tails of known power."""

import numpy as np
import pytest
from corpus import design_of

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError
from workbench.prior_defaults import resolve_priors
from workbench.sampling.draws import Draws
from workbench.sampling.prior_doubts import far_intercepts, long_tails, perhaps_improper

YEARS = {"x": np.tile(np.arange(10.0), 8), "g": np.repeat(list("abcdefgh"), 10)}
_SLOPES, _LEVELS = np.array([2.0, -1, 4, 0, 3, -2, 1, -3]), np.array([1.0, 3, -4, 0, 2, -2, -5, 4])
YEARS["y"] = np.repeat(_LEVELS, 10) + np.repeat(_SLOPES, 10) * (YEARS["x"] - 4.5)
YEARS["y"] += 3 * np.random.default_rng(5).normal(size=80)


def of_table(formula, shift, priors=None, **columns):
    design = build_design(formula, YEARS | {"x": YEARS["x"] + shift} | columns)
    return far_intercepts(design, resolve_priors(design, priors or {}))


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (x || g)"])
def test_a_default_that_stands_far_from_the_data_says_so(formula):
    (said,) = of_table(formula, 2000)
    assert "at x = 0, far from the data (mean 2004.5, SD 2.87)" in said
    assert "Write center(x) wherever the formula has it, or state the prior of sd(g, (Intercept))." in said
    assert of_table(formula, 9.9)  # five SDs are 14.36, the mean is 14.4
    assert not of_table(formula, 9.8)
    assert not of_table(formula, 2000, {"sd(g, (Intercept))": "HalfNormal(9000)"})
    assert not of_table("y ~ x + (0 + x | g)", 2000)
    assert not of_table("y ~ x + (1 | g)", 2000)
    assert not of_table("y ~ center(x) + (center(x) | g)", 2000)


def test_the_fit_says_so_and_is_right_once_the_column_is_centred():
    data = YEARS | {"x": YEARS["x"] + 2000}
    far = wb.fit("y ~ x + (x | g)", data, "hierarchical", options={"draws": 500}, seed=1)
    near = wb.fit("y ~ center(x) + (center(x) | g)", data, "hierarchical", options={"draws": 500}, seed=1)
    reml = wb.fit("y ~ center(x) + (center(x) | g)", data)
    assert any("sd(g, x) is pressed down" in warning for warning in far.warnings)
    assert near.warnings == ()
    true = reml.components[0].sd[1]
    assert far.components[0].sd[1] < 0.1 * true
    assert near.components[0].sd[1] == pytest.approx(true, rel=0.5)


def with_sd(draws):
    C, N = draws.shape
    one, effects = np.ones((C, N, 1, 1)), np.zeros((C, N, 12, 1))
    calm = np.random.default_rng(2).normal(size=(C, N))
    return Draws(calm[..., None], np.exp(calm / 4), (draws[..., None],), (one,), (effects,))


def test_tails_without_a_mean_or_a_variance_are_named():
    design, rng = design_of("twelve_groups--ri"), np.random.default_rng(1)
    u = rng.random((4, 2000))
    (said,) = long_tails(design, with_sd(u**-1.0))  # a density that falls as the square: k = 1
    assert said.startswith("The draws of sd(group, (Intercept)) have a tail so long (Pareto k")
    assert long_tails(design, with_sd(u**-0.4)) == []
    assert long_tails(design, with_sd((u**-1.0)[:, :20])) == []  # too few to tell


def test_two_groups_under_a_flat_prior_have_no_mean_and_the_sampled_fit_says_so():
    data = {"y": [1.0, 2, 4, 3, 7, 6, 9, 8], "g": list("aaaabbbb")}
    flat = wb.fit("y ~ 1 + (1 | g)", data, "hierarchical", priors={"sd": "Flat()"}, options={"draws": 1000}, seed=1)
    assert any("Read medians and intervals" in warning for warning in flat.warnings)
    assert wb.fit("y ~ 1 + (1 | g)", data, "hierarchical", options={"draws": 1000}, seed=1).warnings == ()


def test_flat_priors_are_named_where_chains_do_not_converge():
    design = design_of("twelve_groups--ri")
    assert perhaps_improper(resolve_priors(design, {})) == []
    (said,) = perhaps_improper(resolve_priors(design, {"sd": "Flat()", "sigma": "Flat()"}))
    assert said.startswith("The prior of sigma and sd(group, (Intercept)) is Flat(), which is improper")


def test_a_response_that_is_explained_exactly_is_refused_unless_sigma_is_kept_from_zero():
    data = {"y": [1.0, 1, 2, 2, 4, 4, 7, 7], "g": list("aabbccdd")}
    with pytest.raises(DesignError, match="there is no residual variance to"):
        wb.fit("y ~ 1 + (1 | g)", data, "hierarchical")
    fits = [
        wb.fit("y ~ 1 + (1 | g)", data, name, priors={"sigma": "Uniform(0.1, 3)"}, seed=1)
        for name in ("hierarchical", "exact")
    ]
    means, sds = ([getattr(f.parameters.estimates, part)[1] for f in fits] for part in ("estimate", "std_error"))
    assert abs(means[0] - means[1]) < 5 * sds[1] / 1000**0.5

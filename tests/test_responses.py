"""Densities and draws of responses. Rungs: scipy.stats row by row, limits, moments of draws, R's logLik."""

import numpy as np
import pytest
from scipy import stats

from workbench.design import build_design
from workbench.errors import OptionError
from workbench.sampling.responses import draw, log_density

RNG = np.random.default_rng(4)
N = 24
GROUP = np.repeat(list("abcdef"), 4)
TRIALS = RNG.integers(1, 9, N).astype(float)
HITS = RNG.binomial(TRIALS.astype(int), 0.4).astype(float)
COUNTS = RNG.poisson(3.0, N).astype(float)
W = RNG.uniform(0.5, 3, N)
TABLE = {
    "y": RNG.normal(size=N), "hits": HITS, "misses": TRIALS - HITS, "share": HITS / TRIALS, "trials": TRIALS,
    "zero_one": (HITS > 1).astype(float), "count": COUNTS, "w": W, "se": 1 / np.sqrt(W), "g": GROUP,
}  # fmt: skip
ETA = RNG.normal(size=(3, 2, N))
SIGMA, NU = RNG.uniform(0.5, 3, (3, 2)), RNG.uniform(1, 9, (3, 2))
INVERSE = {
    "logit": lambda x: 1 / (1 + np.exp(-x)),
    "probit": stats.norm.cdf,
    "cloglog": lambda x: 1 - np.exp(-np.exp(x)),
}


def design(formula, family="gaussian", link=None, **more):
    return build_design(f"{formula} ~ 1 + (1 | g)", TABLE, family, link, **more)


def test_measurements_are_scipys_normal_and_t():
    d = design("y", weights="w")
    scale = SIGMA[..., None] / np.sqrt(W)
    np.testing.assert_allclose(log_density(d, ETA, SIGMA), stats.norm.logpdf(d.y, ETA, scale), rtol=1e-12)
    t = stats.t.logpdf(d.y, NU[..., None], ETA, scale)
    np.testing.assert_allclose(log_density(d, ETA, SIGMA, NU), t, rtol=1e-11)
    known = design("y", se="se")
    np.testing.assert_allclose(log_density(known, ETA), stats.norm.logpdf(d.y, ETA, TABLE["se"]), rtol=1e-12)


@pytest.mark.parametrize("link", INVERSE)
def test_shares_and_counts_of_trials_are_scipys_binomial(link):
    plain = stats.binom.logpmf(HITS, TRIALS, INVERSE[link](ETA))  # from p, where 1 - p cancels: 10 digits
    counted = log_density(design("cbind(hits, misses)", "binomial", link), ETA)
    np.testing.assert_allclose(counted, plain, rtol=1e-10)
    shares = log_density(design("share", "binomial", link, weights="trials"), ETA)
    np.testing.assert_allclose(shares, plain, rtol=1e-10)
    single = log_density(design("zero_one", "binomial", link), ETA)
    np.testing.assert_allclose(single, stats.bernoulli.logpmf(HITS > 1, INVERSE[link](ETA)), rtol=1e-10)


def test_poisson_is_scipys():
    found = log_density(design("count", "poisson"), ETA)
    np.testing.assert_allclose(found, stats.poisson.logpmf(COUNTS, np.exp(ETA)), rtol=1e-12)


def test_weights_beside_counts_multiply_the_log_density_as_in_r():
    # w <- c(2, 1, 3); logLik(glm(cbind(c(1, 3, 0), c(4, 2, 2)) ~ 1, binomial, weights = w))   -6.00490115632
    # logLik(glm(c(2, 0, 5) ~ 1, poisson, weights = w))                                         -12.8478589006
    table = {"s": [1.0, 3, 0], "f": [4.0, 2, 2], "c": [2.0, 0, 5], "w": [2.0, 1, 3], "g": list("abc")}
    counted = build_design("cbind(s, f) ~ 1 + (1 | g)", table, "binomial", weights="w")
    p = 5 / 21
    assert log_density(counted, np.full(3, np.log(p / (1 - p)))).sum() == pytest.approx(-6.00490115632, abs=1e-10)
    counts = build_design("c ~ 1 + (1 | g)", table, "poisson", weights="w")
    assert log_density(counts, np.full(3, np.log(19 / 6))).sum() == pytest.approx(-12.8478589006, abs=1e-10)


@pytest.mark.parametrize("link", INVERSE)
def test_far_out_densities_neither_overflow_nor_cancel(link):
    d = design("zero_one", "binomial", link)
    hit, miss = np.flatnonzero(d.y == 1)[0], np.flatnonzero(d.y == 0)[0]
    low, high = log_density(d, np.full(N, -35.0)), log_density(d, np.full(N, 35.0))
    exact = {"logit": -35.0, "cloglog": -35.0, "probit": stats.norm.logcdf(-35)}[link]
    assert low[hit] == pytest.approx(exact, rel=1e-13)
    assert high[hit] == pytest.approx(0, abs=1e-14)
    assert low[miss] == pytest.approx(0, abs=1e-14)
    assert high[miss] == pytest.approx({"cloglog": -np.exp(35)}.get(link, exact), rel=1e-13)
    every = log_density(d, np.array([-1e9, 1e9])[:, None] * np.ones(N))
    assert not np.isnan(every).any()
    assert (every[1, d.y == 1] == 0).all()


@pytest.mark.parametrize(
    ("formula", "family", "more", "mean", "variance"),
    [
        ("y", "gaussian", {"weights": "w"}, ETA[0, 0], 4 / W),
        ("share", "binomial", {"weights": "trials"}, None, None),
        ("cbind(hits, misses)", "binomial", {"weights": "w"}, None, None),
        ("count", "poisson", {"weights": "w"}, np.exp(ETA[0, 0]), np.exp(ETA[0, 0])),
    ],
)
def test_draws_have_the_laws_mean_and_variance(formula, family, more, mean, variance):
    d, times = design(formula, family, **more), 20_000
    if family == "binomial":  # of the trials, whatever a row counts for
        mean = INVERSE["logit"](ETA[0, 0])
        variance = mean * (1 - mean) / TRIALS
    predictor = np.broadcast_to(ETA[0, 0], (times, N))
    found = draw(d, predictor, np.full(times, 2.0), None, np.random.default_rng(1))
    assert (np.abs(found.mean(axis=0) - mean) < 5 * np.sqrt(variance / times)).all()
    np.testing.assert_allclose(found.var(axis=0), variance, rtol=0.15)  # kurtoses up to 20: 5 sqrt(19 / times)
    if family == "binomial":
        np.testing.assert_allclose(found * TRIALS, np.rint(found * TRIALS), atol=1e-9)


def test_student_t_draws_follow_its_distribution():
    d, times = design("y", weights="w"), 4000
    nu = np.full(times, 3.0)
    found = draw(d, np.broadcast_to(ETA[0, 0], (times, N)), np.full(times, 2.0), nu, np.random.default_rng(2))
    z = (found - ETA[0, 0]) * np.sqrt(W) / 2
    assert stats.kstest(z.ravel(), stats.t(3).cdf).pvalue > 1e-3
    assert stats.kstest(z.ravel(), stats.norm.cdf).pvalue < 1e-6


def test_other_families_are_refused():
    d = build_design("y ~ 1 + (1 | g)", {"y": np.exp(TABLE["y"]), "g": GROUP}, "gamma")
    with pytest.raises(OptionError, match="y is gamma, which is not sampled from here"):
        log_density(d, ETA)

"""`exact` of counts and shares. Rungs: a slow oracle, closed forms and limits, invariance, draws.

The oracle has formulas of likelihoods of its own, and Gauss-Legendre and trapezoid sums over tau, b and z = u / tau,
thousands of nodes per group, without adaptation. Tolerances are in posterior SDs or probabilities: 1e-8 is what is left
of densities, from which figures may be some times as far.
"""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from scipy.special import gammaln, log_expit, log_ndtr
from scipy.stats import beta, gamma

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError, PriorError
from workbench.estimators import Settings, run_estimator
from workbench.exact_posterior import CountPosterior
from workbench.exact_posterior.group_integrals import integrals
from workbench.exact_posterior.group_likelihoods import GroupLikelihoods
from workbench.priors import Prior, parse_prior

COLUMNS = ("estimate", "std_error", "conf_low", "median", "conf_high")
PRIORS = {"(Intercept)": "Normal(-1, 1.5)", "sd": "HalfNormal(1)"}

HERDS = {"dead": [3, 0, 1, 6, 2], "alive": [7, 5, 11, 2, 9], "herd": list("abcde"), "o": [0.3, -0.2, 0.0, 0.5, 0.1]}


def everything(fit):
    """All numbers of a fit, (m, 5): mean, SD, low, median, high of parameters, coefficients and effects."""
    part = fit.group_effects[0]
    parts = (fit.parameters.estimates, part.coefficient, part.effect)
    return np.vstack([np.column_stack([getattr(e, name).ravel() for name in COLUMNS]) for e in parts])


# --- a slow oracle ------------------------------------------------------------------------------------


def log_likelihood(link, k, n, eta):
    """Of k successes in n trials, or of a count k over n units of exposure; without constants."""
    match link:
        case "logit":
            return k * log_expit(eta) + (n - k) * log_expit(-eta)
        case "probit":
            return k * log_ndtr(eta) + (n - k) * log_ndtr(-eta)
        case "cloglog":
            return (k * np.log(-np.expm1(-np.exp(eta))) if k else 0.0) - (n - k) * np.exp(np.minimum(eta, 600))
    return k * eta - n * np.exp(eta)


MEAN = {
    "logit": lambda eta: np.exp(log_expit(eta)),
    "probit": lambda eta: np.exp(log_ndtr(eta)),
    "cloglog": lambda eta: -np.expm1(-np.exp(eta)),
    "log": np.exp,
}


def nodes(*edges, order=24):
    t, w = np.polynomial.legendre.leggauss(order)
    parts = [((a + b) / 2 + (b - a) / 2 * t, (b - a) / 2 * w) for a, b in pairwise(edges)]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


class Oracle:
    """The posterior on a dense grid; k and n by group, offsets added to eta."""

    def __init__(self, link, k, n, offset, prior_b, prior_tau, tau, b, points=241):
        z = np.linspace(-9, 9, points)
        (self.tau, w_tau), (self.b, w_b), self.z = tau, b, z
        self.link, self.k, self.n, self.offset = link, k, n, offset
        self.phi = np.exp(-z * z / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
        shape = len(k), len(self.tau), len(self.b)
        self.each, self.u, self.uu, self.mean = (np.empty(shape) for _ in range(4))
        for j in range(len(k)):
            for i, t in enumerate(self.tau):
                eta = self.b[:, None] + t * z + offset[j]
                density = np.exp(log_likelihood(link, k[j], n[j], eta)) * self.phi
                self.each[j, i] = each = np.maximum(density.sum(axis=1), 1e-300)
                self.u[j, i], self.uu[j, i] = density @ (t * z) / each, density @ (t * z) ** 2 / each
                self.mean[j, i] = (density * MEAN[link](eta)).sum(axis=1) / each
        log_p = np.log(self.each).sum(axis=0)
        log_p += np.array([prior_tau.log_density(t, positive=True) for t in self.tau])[:, None]
        log_p += np.array([prior_b.log_density(b) for b in self.b])
        p = np.exp(log_p - log_p.max()) * w_tau[:, None] * w_b
        self.log_evidence = float(np.log(p.sum()) + log_p.max())
        self.p = p / p.sum()

    def figures(self):
        """Means and SDs of b, tau, all coefficients, all effects."""
        b, tau = self.b[None, :] + 0 * self.p, self.tau[:, None] + 0 * self.p
        firsts = [b, tau, *(b + self.u), *self.u]
        seconds = [b**2, tau**2, *(b**2 + 2 * b * self.u + self.uu), *self.uu]
        mean = np.array([(self.p * f).sum() for f in firsts])
        return mean, np.sqrt(np.array([(self.p * f).sum() for f in seconds]) - mean**2)

    def below(self, j, x, whole):
        """The distribution function of a coefficient or effect at x, from 48 nodes up to x."""
        t, w = np.polynomial.legendre.leggauss(48)
        total, seen = 0.0, self.p.sum(axis=0) > 1e-13
        b, each, p = self.b[seen], self.each[j][:, seen], self.p[:, seen]
        for i, tau in enumerate(self.tau):
            end = np.clip((x - (b if whole else 0 * b)) / tau, -9, 9)
            half = (end + 9)[:, None] / 2
            z = -9 + half * (1 + t)
            value = log_likelihood(self.link, self.k[j], self.n[j], b[:, None] + tau * z + self.offset[j]) - z * z / 2
            total += float(p[i] @ ((np.exp(value) * half) @ w / np.sqrt(2 * np.pi) / each[i]))
        return total


def design_of(link, weights=None):
    if link == "log":
        table = HERDS | {"o": np.log(np.array(HERDS["dead"]) + HERDS["alive"])}
        return build_design("dead ~ 1 + offset(o) + (1 | herd)", table, "poisson")
    return build_design("cbind(dead, alive) ~ 1 + offset(o) + (1 | herd)", HERDS, "binomial", link, weights=weights)


def arrays(link):
    k = np.array(HERDS["dead"], dtype=float)
    n = k + HERDS["alive"]
    return k, n, np.zeros(5) if link == "log" else np.array(HERDS["o"])


@pytest.mark.slow
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log"])
def test_moments_and_quantiles_against_sums_over_dense_grids(link):
    design, (k, n, offset) = design_of(link), arrays(link)
    fit = run_estimator("exact", design, Settings(priors=PRIORS))
    oracle = Oracle(
        link, k, n, offset, Prior("Normal", (-1, 1.5)), Prior("HalfNormal", (1,)),
        nodes(0, 0.02, 0.1, 0.4, 1, 2, 3, 5, 8, order=16), nodes(*np.linspace(-9, 6, 16), order=10),
    )  # fmt: skip
    found, (mean, sd) = everything(fit), oracle.figures()
    np.testing.assert_allclose((found[:, 0] - mean) / sd, 0, atol=5e-8)
    np.testing.assert_allclose(found[:, 1] / sd, 1, atol=5e-8)
    constant = (gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)).sum()
    if link == "log":
        constant = (k * np.log(n) - gammaln(k + 1)).sum()
    assert fit.diagnostics["log_evidence"] == pytest.approx(oracle.log_evidence + constant, abs=1e-8)
    for j in range(5):  # effects; coefficients would need b at closer nodes where tau is small
        at = found[7 + j, 2:]
        np.testing.assert_allclose([oracle.below(j, x, False) for x in at], [0.025, 0.5, 0.975], atol=2e-7)
    part = fit.posterior.parameter("sd(herd, (Intercept))")
    for edge in (0.1, 1.0, 3.0):
        assert part.cdf(np.array([edge]))[0] == pytest.approx(oracle.p[oracle.tau < edge].sum(), abs=5e-8)
    part = fit.posterior.parameter("(Intercept)")
    for edge in (-2.0, -1.0, 0.0):
        assert part.cdf(np.array([edge]))[0] == pytest.approx(oracle.p[:, oracle.b < edge].sum(), abs=5e-8)
    own = (oracle.p * oracle.mean).sum(axis=(1, 2)) * (n if link == "log" else 1)
    np.testing.assert_allclose(fit.fitted, own, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_b", "range_b", "close"),
    [
        ("Uniform(-2, 0.3)", np.linspace(-2, 0.3, 7), 2e-7),
        ("StudentT(3, 2, 0.4)", np.linspace(-8, 8, 33), 2e-7),
        ("Cauchy(0, 0.2)", [*np.linspace(-8, -1, 15), *np.linspace(-0.8, 0.8, 17), *np.linspace(1, 8, 15)], 5e-7),
        ("Flat()", np.linspace(-8, 8, 17), 2e-7),
    ],
)  # fmt: skip
def test_every_kind_of_prior_of_the_intercept(of_b, range_b, close):
    # a prior that is narrower than what the data say makes spikes in groups' posteriors, which are less well resolved
    design, (k, n, offset) = design_of("logit"), arrays("logit")
    fit = run_estimator("exact", design, Settings(priors={"(Intercept)": of_b, "sd": "Uniform(0.4, 2)"}))
    of_tau = Prior("Uniform", (0.4, 2.0))
    oracle = Oracle("logit", k, n, offset, parse_prior(of_b), of_tau, nodes(0.4, 1, 2, order=12), nodes(*range_b))
    found, (mean, sd) = everything(fit), oracle.figures()
    np.testing.assert_allclose((found[:, 0] - mean) / sd, 0, atol=5e-8)
    np.testing.assert_allclose(found[:, 1] / sd, 1, atol=5e-8)
    assert fit.diagnostics["error_of_groups"] < close
    for j in (0, 1, 3):
        for row, whole in ((2 + j, True), (7 + j, False)):
            below = [oracle.below(j, x, whole) for x in found[row, 2:]]
            np.testing.assert_allclose(below, [0.025, 0.5, 0.975], atol=close)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "log"])
@pytest.mark.parametrize(("b", "tau"), [(-1.0, 0.01), (-1.0, 1.0), (0.5, 30.0), (-3.0, 3000.0)])
def test_one_group_s_integral_against_a_sum_of_many_nodes(link, b, tau):
    # of groups with a maximum and without; the sum has 40,000 nodes, close together about the group's edge
    family, chosen = ("poisson", None) if link == "log" else ("binomial", link)
    for k, n in ((3.0, 7.0), (7.0, 7.0), (0.0, 7.0), (400.0, 900.0)):
        if link == "log":
            table = {"y": [k, k], "o": np.log([n, n]), "g": ["a", "b"]}
            design = build_design("y ~ 1 + offset(o) + (1 | g)", table, family)
        else:
            table = {"k": [k, k], "f": [n - k] * 2, "g": ["a", "b"]}
            design = build_design("cbind(k, f) ~ 1 + (1 | g)", table, family, chosen)
        found = integrals(GroupLikelihoods.of(design), np.array([b]), np.array([tau]))
        v = np.linspace(-13, 13, 40_001)
        a = np.sinh(v) + (b if tau < 0.1 else 0.0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            log_f = log_likelihood(link, k, n, a) - 0.5 * ((a - b) / tau) ** 2 + np.log(np.cosh(v))
        log_f = np.where(np.isnan(log_f), -np.inf, log_f)
        w = np.exp(log_f - log_f.max())
        log_total = np.log(w.sum() * (v[1] - v[0])) + log_f.max() - np.log(tau * np.sqrt(2 * np.pi))
        log_total += k * np.log(n) if link == "log" else 0.0
        assert found.log[0, 0] == pytest.approx(log_total, abs=1e-9)
        mean = w @ (a - b) / w.sum()
        sd = np.sqrt(w @ (a - b - mean) ** 2 / w.sum())
        assert found.mean[0, 0] == pytest.approx(mean, abs=1e-9 * sd)
        assert found.variance[0, 0] == pytest.approx(sd**2, rel=1e-8)


# --- closed forms and limits --------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["logit", "log"])
@pytest.mark.parametrize("away", [-6.0, 6.0])
def test_integrals_of_large_counts_whose_intercept_lies_far_from_them(link, away):
    """The integrand is a thousand times narrower than its distance to b: looked for from there, it must be found."""
    k, n, tau = 300_000.0, 1_000_000.0, 1.5
    if link == "log":
        design, n, edge = build_design("y ~ 1 + (1 | g)", {"y": [k, 1.0], "g": ["a", "b"]}, "poisson"), 1.0, np.log(k)
    else:
        table = {"k": [k, 1.0], "f": [n - k, 1.0], "g": ["a", "b"]}
        design, edge = build_design("cbind(k, f) ~ 1 + (1 | g)", table, "binomial"), np.log(k / (n - k))
    known, b = GroupLikelihoods.of(design), edge + away
    found = integrals(known, np.array([b]), np.array([tau]))
    a = np.linspace(edge - 0.05, edge + 0.05, 20_001)
    terms = log_likelihood(link, k, n, a) - 0.5 * ((a - b) / tau) ** 2 - np.log(tau * np.sqrt(2 * np.pi))
    mass = np.exp(terms - terms.max()) * (a[1] - a[0])
    j = known.place[0]
    assert found.log[j, 0] == pytest.approx(terms.max() + np.log(mass.sum()), abs=1e-6)
    mean = mass @ a / mass.sum()
    sd = np.sqrt(mass @ (a - mean) ** 2 / mass.sum())
    assert abs(found.mean[j, 0] + b - mean) < 1e-6 * sd
    assert np.sqrt(found.variance[j, 0]) == pytest.approx(sd, rel=1e-6)


def test_without_spread_the_intercept_is_that_of_one_binomial_and_with_a_beta_prior_a_beta():
    # logit b with the prior of a uniform p is logistic; under Flat() p is Beta(k, n - k): here Haldane's
    fit = run_estimator("exact", design_flat(), Settings(priors={"(Intercept)": "Flat()", "sd": "HalfNormal(0.00001)"}))
    k, n = 12, 46
    p = beta(k, n - k)
    found = fit.posterior.parameter("(Intercept)")
    at = np.array([-1.8, -1.2, -0.4])
    np.testing.assert_allclose(found.cdf(at), p.cdf(1 / (1 + np.exp(-at))), atol=5e-8)
    part = fit.group_effects[0].coefficient
    np.testing.assert_allclose(part.median[:, 0], np.log(p.median() / (1 - p.median())), atol=1e-7)
    np.testing.assert_allclose(fit.fitted, k / n, rtol=1e-7)


def design_flat():
    return build_design("cbind(dead, alive) ~ 1 + (1 | herd)", HERDS, "binomial")


def test_counts_without_spread_have_a_gamma_rate():
    table = {"y": [3, 0, 5, 2], "g": list("abcd"), "o": np.log([2.0, 1.0, 3.0, 1.5])}
    fit = wb.fit(
        "y ~ 1 + offset(o) + (1 | g)", table, "exact", family="poisson",
        priors={"(Intercept)": "Flat()", "sd": "HalfNormal(0.00001)"},
    )  # fmt: skip
    rate = gamma(10, scale=1 / 7.5)
    e = fit.population
    np.testing.assert_allclose(
        [e.conf_low[0], e.median[0], e.conf_high[0]], np.log(rate.ppf([0.025, 0.5, 0.975])), atol=1e-7
    )
    np.testing.assert_allclose(fit.fitted, np.array([2, 1, 3, 1.5]) * 10 / 7.5, rtol=1e-7)


def test_a_held_intercept_leaves_one_integral():
    # 0 + (1 | g): groups are independent given tau
    design = build_design("cbind(dead, alive) ~ 0 + (1 | herd)", HERDS, "binomial")
    fit = run_estimator("exact", design, Settings(priors={"sd": "HalfNormal(1)"}))
    assert fit.parameters.names == ("sd(herd, (Intercept))",)
    k, n, _ = arrays("logit")
    oracle = Oracle(
        "logit", k, n, np.zeros(5), Prior("Flat"), Prior("HalfNormal", (1,)), nodes(0, 0.05, 0.3, 1, 2, 4, 8),
        (np.zeros(1), np.ones(1)), 1201,
    )  # fmt: skip
    mean, sd = oracle.figures()
    found = everything(fit)
    np.testing.assert_allclose((found[:6, 0] - mean[1:7]) / sd[1:7], 0, atol=5e-8)
    np.testing.assert_allclose(found[:6, 1] / sd[1:7], 1, atol=5e-8)
    np.testing.assert_allclose(found[1:6], found[6:], atol=1e-12)
    for j in range(5):
        np.testing.assert_allclose(
            [oracle.below(j, x, False) for x in found[6 + j, 2:]], [0.025, 0.5, 0.975], atol=2e-7
        )


# --- invariance ---------------------------------------------------------------------------------------


def test_rows_may_be_split_and_groups_renamed():
    counts = {"dead": [3, 0, 1, 6, 2, 1], "alive": [7, 5, 11, 2, 9, 4], "herd": list("abcdea")}
    rows = [(g, y) for k, f, g in zip(*counts.values(), strict=True) for y in [1] * k + [0] * f]
    rng = np.random.default_rng(1)
    order = rng.permutation(len(rows))
    single = {"y": [rows[i][1] for i in order], "herd": [{"a": "z"}.get(rows[i][0], rows[i][0]) for i in order]}
    shares = {"p": [3 / 10, 0.0, 1 / 12, 6 / 8, 2 / 11, 1 / 5], "n": [10, 5, 12, 8, 11, 5], "herd": list("abcdea")}
    fits = [
        wb.fit("cbind(dead, alive) ~ 1 + (1 | herd)", counts, "exact", family="binomial", priors=PRIORS),
        wb.fit("y ~ 1 + (1 | herd)", single, "exact", family="binomial", priors=PRIORS),
        wb.fit("p ~ 1 + (1 | herd)", shares, "exact", family="binomial", weights="n", priors=PRIORS),
    ]
    one, other, third = map(everything, fits)
    assert fits[1].design.blocks[0].levels[-1] == "z"
    moved = [0, 1, 6, 2, 3, 4, 5, 11, 7, 8, 9, 10]
    np.testing.assert_allclose(other[moved], one, rtol=1e-9)
    np.testing.assert_allclose(third, one, rtol=1e-9)
    assert fits[2].diagnostics["log_evidence"] == pytest.approx(fits[0].diagnostics["log_evidence"], abs=1e-9)


def test_offsets_that_differ_within_groups_shift_the_intercept_and_counts_may_be_split():
    o = np.array([0.3, -0.2, 0.9, 0.5, 0.1, -1.0])
    table = {"k": [3, 1, 1, 6, 2, 1], "n": [7, 5, 11, 2, 9, 4], "g": list("aabbcc"), "o": o, "more": o + 2}
    priors = (
        {"(Intercept)": "Normal(-1, 1.5)", "sd": "HalfNormal(1)"},
        {"(Intercept)": "Normal(-3, 1.5)", "sd": "HalfNormal(1)"},
    )
    for family, response in (("binomial", "cbind(k, n)"), ("poisson", "k")):
        one, other = (
            wb.fit(f"{response} ~ 1 + offset({name}) + (1 | g)", table, "exact", family=family, priors=own)
            for name, own in zip(("o", "more"), priors, strict=True)
        )
        a, b = everything(one), everything(other)
        b[np.array([0, 2, 3, 4])[:, None], [0, 2, 3, 4]] += 2
        np.testing.assert_allclose(b, a, atol=1e-7)
        np.testing.assert_allclose(other.fitted, one.fitted, rtol=1e-8)
    doubled = {key: np.repeat(value, 2) for key, value in table.items()}
    halves = wb.fit(
        "k ~ 1 + offset(o) + (1 | g)", doubled, "exact", family="poisson", weights=np.full(12, 0.5), priors=priors[0]
    )
    whole = wb.fit("k ~ 1 + offset(o) + (1 | g)", table, "exact", family="poisson", priors=priors[0])
    np.testing.assert_allclose(everything(halves), everything(whole), rtol=1e-8)


def test_groups_that_are_alike_are_integrated_once():
    table = {"k": [2, 2, 2, 5, 5, 0], "f": [8, 8, 8, 5, 5, 4], "g": list("abcdef")}
    fit = wb.fit("cbind(k, f) ~ 1 + (1 | g)", table, "exact", family="binomial", priors=PRIORS)
    assert fit.diagnostics["different_groups"] == 3
    nearly = table | {"k": [2, 2 + 1e-9, 2 - 1e-9, 5, 5 + 1e-9, 0]}
    other = wb.fit("cbind(k, f) ~ 1 + (1 | g)", nearly, "exact", family="binomial", priors=PRIORS)
    assert other.diagnostics["different_groups"] == 6
    np.testing.assert_allclose(everything(other), everything(fit), atol=1e-7)


# --- marginal densities and draws ---------------------------------------------------------------------


def test_densities_are_slopes_of_distribution_functions():
    fit = run_estimator("exact", design_of("cloglog"), Settings(priors=PRIORS))
    posterior, part, e = fit.posterior, fit.group_effects[0], fit.parameters.estimates
    marginals = [(posterior.parameter(name), e, k) for k, name in enumerate(fit.parameters.names)]
    marginals += [(posterior.coefficient("b"), part.coefficient, (1, 0)), (posterior.effect("d"), part.effect, (3, 0))]
    for marginal, values, k in marginals:
        sd = values.std_error[k]
        at = values.estimate[k] + sd * np.linspace(-1.4, 3, 21)
        slope = (marginal.cdf(at + 1e-4 * sd) - marginal.cdf(at - 1e-4 * sd)) / (2e-4 * sd)
        np.testing.assert_allclose(marginal.density(at) * sd, slope * sd, atol=1e-6)
        reported = [values.conf_low[k], values.median[k], values.conf_high[k]]
        np.testing.assert_allclose(marginal.quantile(np.array([0.025, 0.5, 0.975])), reported, atol=1e-9 * sd)
        np.testing.assert_allclose(marginal.cdf(np.array([-1e6, 1e6])), [0, 1], atol=1e-9)


@pytest.mark.parametrize("link", ["logit", "log"])
def test_draws_have_the_posterior_s_moments_and_intervals(link):
    fit = run_estimator("exact", design_of(link), Settings(seed=3, priors=PRIORS), {"draws": 5000})
    drawn, n = fit.draws["posterior"], 20_000
    assert set(drawn.data_vars) == {"b", "sd_herd", "effect_herd", "coefficient_herd"}
    names = ("b", "sd_herd", "coefficient_herd", "effect_herd")
    flat = np.concatenate([drawn[name].values.reshape(n, -1) for name in names], axis=1)
    mean, sd, low, median, high = everything(fit).T
    assert (np.abs(flat.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n)).all()
    kurtosis = ((flat - mean) ** 4).mean(axis=0) / sd**4
    assert (np.abs(flat.std(axis=0) / sd - 1) < 4.5 * np.sqrt((kurtosis - 1) / 4 / n)).all()
    for edge, share in ((low, 0.025), (median, 0.5), (high, 0.975)):
        assert (np.abs((flat < edge).mean(axis=0) - share) < 4.5 * np.sqrt(share * (1 - share) / n)).all()
    again = run_estimator("exact", design_of(link), Settings(seed=3, priors=PRIORS), {"draws": 5000})
    np.testing.assert_array_equal(again.draws["posterior"]["effect_herd"], drawn["effect_herd"])


# --- what does not exist, and what is refused ---------------------------------------------------------


def posterior_of(k, f, **priors):
    """Of resolved priors: defaults need a response that varies."""
    table = {"k": k, "f": f, "g": [f"level {i}" for i in range(len(k))]}
    design = build_design("cbind(k, f) ~ 1 + (1 | g)", table, "binomial")
    named = {"(Intercept)": parse_prior(priors["b"]), "sd(g, (Intercept))": parse_prior(priors["tau"])}
    return CountPosterior.of(design, named)


def test_nothing_but_successes_leaves_the_prior_s_tail():
    found = posterior_of([4, 3, 5], [0, 0, 0], b="StudentT(3, 0, 2.5)", tau="HalfNormal(0.00001)")
    g, w = nodes(*np.linspace(-3, 12, 31))
    b = np.sinh(g)
    p = np.exp(12 * log_expit(b)) * (1 + (b / 2.5) ** 2 / 3) ** -2 * np.cosh(g) * w
    p /= p.sum()
    summary = found.population(0.95)
    assert summary.mean[0] == pytest.approx(p @ b, rel=1e-7)
    for x in np.sinh([0.5, 1.0, 3.0]):
        assert found.parameter("(Intercept)").cdf(np.array([x]))[0] == pytest.approx(p[b < x].sum(), abs=1e-7)
    cauchy = posterior_of([4, 3, 5], [0, 0, 0], b="Cauchy(0, 2.5)", tau="HalfNormal(1)")
    assert np.isnan(cauchy.population(0.95).mean[0])
    assert cauchy.population(0.95).sd[0] == inf
    effect, _ = cauchy.groups(False, 0.95)
    assert np.isfinite(effect.sd).all()  # far out the groups say nothing: effects are N(0, tau^2)


@pytest.mark.parametrize(("groups", "mean", "sd"), [(3, False, False), (4, True, False), (5, True, True)])
def test_few_groups_under_flat_priors_have_no_moments_and_say_so(groups, mean, sd):
    # tau's density falls as tau^-(J - 1)
    table = {"k": [3, 8, 5, 1, 6][:groups], "f": [7, 4, 5, 9, 6][:groups], "g": list("abcde")[:groups]}
    priors = {"(Intercept)": "Flat()", "sd": "Flat()"}
    fit = wb.fit("cbind(k, f) ~ 1 + (1 | g)", table, "exact", family="binomial", priors=priors)
    e, part = fit.parameters.estimates, fit.group_effects[0]
    assert (np.isfinite(e.estimate) == mean).all()
    assert (np.isfinite(e.std_error) == sd).all()
    assert np.isfinite(part.coefficient.std_error).all()  # a group's own data keep it
    assert np.isfinite(part.effect.std_error).all() == sd
    assert np.isfinite(fit.fitted).all()
    assert len(fit.warnings) == (0 if sd else 2)
    tau = fit.posterior.parameter("sd(g, (Intercept))")
    far = np.array([1e3, 1e4])
    assert np.diff(np.log(tau.density(far)))[0] / np.log(10) == pytest.approx(1 - groups, abs=0.02)


@pytest.mark.parametrize(
    ("k", "f", "b", "tau", "said"),
    [
        ([4, 3, 5], [0, 0, 0], "Flat()", "HalfNormal(1)", "every trial is a success, and the prior Flat"),
        ([0, 0, 0], [4, 3, 5], "Flat()", "HalfNormal(1)", "every trial is a failure"),
        ([4, 0, 5, 0], [0, 3, 0, 2], "Normal(0, 5)", "Flat()", "0 levels of g with both successes and failures"),
        ([4, 2, 5], [0, 3, 1], "Flat()", "Flat()", "at least 3 such levels"),
    ],
)
def test_improper_posteriors_are_refused(k, f, b, tau, said):
    with pytest.raises(PriorError, match=said):
        posterior_of(k, f, b=b, tau=tau)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("cbind(dead, alive) ~ x + (1 | herd)", r"fixed effects \(x\).*use hierarchical"),
        ("cbind(dead, alive) ~ 1 + (x | herd)", r"\(Intercept\), x varies by herd.*use hierarchical"),
        ("cbind(dead, alive) ~ 1 + (1 | herd) + (1 | h)", "2 grouping factors"),
    ],
)
def test_other_designs_are_refused(formula, said):
    data = HERDS | {"x": [0.0, 1, 2, 3, 5], "h": list("ppqqq")}
    with pytest.raises(DesignError, match=said):
        wb.fit(
            formula,
            data,
            "exact",
            family="binomial",
            priors=PRIORS | ({"b": "Normal(0, 1)"} if "~ x" in formula else {}),
        )


def test_other_families_are_refused():
    with pytest.raises(OptionError, match="exact fits gaussian, binomial, poisson responses, not gamma"):
        wb.fit("o ~ 1 + (1 | g)", {"o": [1.0, 2, 3, 4], "g": list("aabb")}, "exact", family="gamma")
    fit = run_estimator("exact", design_of("logit"), Settings(priors=PRIORS))
    with pytest.raises(OptionError, match="Did you mean 'a'"):
        fit.posterior.effect("A")
    with pytest.raises(OptionError, match="There is no parameter 'sigma'"):
        fit.posterior.parameter("sigma")


@pytest.mark.parametrize(
    ("table", "link", "priors"),
    [
        ({"k": [0] * 5, "f": [10] * 5, "g": list("abcde")}, None, ("Cauchy(0, 2.5)", "HalfCauchy(2.5)")),
        ({"k": [3, 4, 5, 1], "f": [7, 2, 4, 9], "g": list("abcd")}, None, ("StudentT(3, 100, 0.01)", "HalfCauchy(1)")),
        (
            {"k": [3, 0, 2, 5], "f": [3, 9, 2, 1], "g": list("aabb"), "o": [50, -50, 0, 0]},
            "cloglog",
            ("Normal(0, 5)", "HalfNormal(2)"),
        ),
    ],
)
def test_a_posterior_that_cannot_be_followed_is_refused_in_words(table, link, priors):
    table = {"o": [0.0] * len(table["k"])} | table
    named = dict(zip(("(Intercept)", "sd"), priors, strict=True))
    design = build_design("cbind(k, f) ~ 1 + offset(o) + (1 | g)", table, "binomial", link)
    with pytest.raises(DesignError, match="so far out that exact cannot follow it"):
        run_estimator("exact", design, Settings(priors=named))

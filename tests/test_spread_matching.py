"""Rules that match spreads. Rungs: closed forms, the posterior of REML's model, spreads over many data sets."""

import numpy as np
import pytest

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError, OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.spread_matching import Options

RULES = ("square_root", "linear", "constrained")


def table(seed=3, sizes=(2, 5, 9, 3, 4, 12), tau=1.5):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    return {"y": 4 + tau * rng.normal(size=len(sizes))[g] + rng.normal(size=len(g)), "g": g}


def shrunken(data, rule, **options):
    design = build_design("y ~ 1 + (1 | g)", data)
    upstream = {} if "tau" in options else {"reml": run_estimator("reml", design, Settings())}
    return run_estimator("spread_matching", design, Settings(), {"rule": rule, **options}, upstream)


def values(fit):
    return fit.group_effects[0].coefficient.estimate[:, 0]


def means_of(data):
    return np.array([np.mean(data["y"][data["g"] == j]) for j in np.unique(data["g"])]), np.bincount(data["g"])


def test_the_square_root_is_the_published_rule():
    data = table()
    mean, n = means_of(data)
    grand = data["y"].mean()
    expected = grand + (mean - grand) * 2.0 / np.sqrt(4.0 + 9.0 / n)
    np.testing.assert_allclose(values(shrunken(data, "square_root", tau=2.0, sigma=3.0)), expected, rtol=1e-12)


def test_the_linear_rule_with_remls_spreads_is_reml():
    data = table()
    reml = wb.fit("y ~ 1 + (1 | g)", data)
    fit = shrunken(data, "linear")
    np.testing.assert_allclose(values(fit), reml.group_effects[0].coefficient.estimate[:, 0], rtol=1e-10)
    assert fit.population.estimate[0] == pytest.approx(reml.population.estimate[0], rel=1e-10)


def test_constrained_estimates_have_the_expected_spread_of_the_true_values():
    # by draws from the joint normal posterior of the coefficients, the population value flat: dense algebra
    data = table()
    tau, sigma = 1.2, 0.9
    mean, n = means_of(data)
    A = np.diag(n / sigma**2 + 1 / tau**2)
    A = np.block([[A, np.full((6, 1), -1 / tau**2)], [np.full((1, 6), -1 / tau**2), np.array([[6 / tau**2]])]])
    covariance = np.linalg.inv(A)
    centre = covariance @ np.append(n / sigma**2 * mean, 0.0)
    theta, V = centre[:6], covariance[:6, :6]
    C = np.eye(6) - 1 / 6
    expected = theta @ C @ theta + np.trace(C @ V)  # E sum (theta_j - mean theta)^2 given y
    found = values(shrunken(data, "constrained", tau=tau, sigma=sigma))
    assert found @ C @ found == pytest.approx(expected, rel=1e-12)
    assert found.mean() == pytest.approx(theta.mean(), rel=1e-12)
    assert (np.argsort(found) == np.argsort(theta)).all()


def test_over_data_sets_the_square_root_has_the_right_spread_and_the_linear_rule_the_least_error():
    # tau = 1, v = 4 / 2: spreads 1 and 1/3 of the estimates, errors 2 - 2 / sqrt(3) = 0.845 and 2/3 of the linear rule;
    # 4 Monte Carlo errors over 1,500 sets of 40 groups, centred on a true mean of 0 that is nearly known
    rng = np.random.default_rng(4)
    spread, error = dict.fromkeys(RULES, 0.0), dict.fromkeys(RULES, 0.0)
    replications, J = 300, 200
    for _ in range(replications):
        theta = rng.normal(size=J)
        data = {"y": (theta[:, None] + 2 * rng.normal(size=(J, 2))).ravel(), "g": np.repeat(np.arange(J), 2)}
        design = build_design("y ~ 1 + (1 | g)", data)
        for rule in RULES:
            fit = run_estimator("spread_matching", design, Settings(), Options(rule, tau=1.0, sigma=2.0))
            spread[rule] += values(fit).var(ddof=1) / replications
            error[rule] += ((values(fit) - theta) ** 2).mean() / replications
    for rule, wanted in (("square_root", 1.0), ("linear", 1 / 3), ("constrained", 1.0)):
        assert spread[rule] == pytest.approx(wanted, rel=4 * np.sqrt(2 / J / replications))
    for rule, wanted in (("square_root", 2 - 2 / np.sqrt(3)), ("linear", 2 / 3), ("constrained", 2 - 2 / np.sqrt(3))):
        assert error[rule] == pytest.approx(wanted, rel=0.03)  # the centre's own error adds 1/200 of what is taken away


def test_without_spread_all_rules_pool_completely():
    data = {"y": np.array([1.0, 3.0, 3.0, 1.0, 2.0, 2.0]), "g": np.array([0, 0, 1, 1, 2, 2])}
    for rule in RULES:
        fit = shrunken(data, rule)
        np.testing.assert_allclose(values(fit), 2.0, rtol=1e-12)
        assert fit.singular


def test_known_standard_errors_and_weights_count():
    data = {"y": [2.0, -1.0, 4.0, 0.5], "g": list("abcd")}
    se = np.array([0.5, 1.0, 2.0, 1.5])
    design = build_design("y ~ 1 + (1 | g)", data, se=se)
    fit = run_estimator("spread_matching", design, Settings(), Options("linear", tau=1.0))
    k = 1 / (1 + se**2)
    centre = (k @ data["y"]) / k.sum()
    np.testing.assert_allclose(values(fit), centre + k * (np.array(data["y"]) - centre), rtol=1e-12)


def test_what_it_is_not_for_is_refused():
    data = table() | {"x": np.arange(35.0)}
    with pytest.raises(DesignError, match="spread_matching shrinks the means of one grouping factor"):
        wb.fit("y ~ x + (1 | g)", data, "spread_matching")
    for wrong in ({"rule": "root"}, {"tau": -1.0}, {"sigma": 0.0}, {"centre": "median"}):
        with pytest.raises(OptionError):
            Options(**wrong)

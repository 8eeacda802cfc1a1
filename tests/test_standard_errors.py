"""Three standard errors of a group estimate. Rungs: published figures, closed form, slow dense oracle."""

import numpy as np
import pytest
from corpus import design_of
from dense_equations import RANDOM_TERMS, error_covariance, random_design

from workbench.design import build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.estimators.reml import ml, reml


def test_twelve_groups():
    # Cross Validated 362777: the conditional SDs are lme4's condVar, the coefficient SEs by Henderson's equations
    table = reml(design_of("twelve_groups--ri")).standard_errors.set_index("level")
    assert table.loc["1", "conditional_sd"] == pytest.approx(0.4208, abs=5e-5)
    assert table.loc["12", "conditional_sd"] == pytest.approx(0.7355, abs=5e-5)
    assert table.loc["1", "coefficient_se"] == pytest.approx(0.4357, abs=5e-5)
    assert table.loc["12", "coefficient_se"] == pytest.approx(0.8121, abs=5e-5)
    assert table.loc[["1", "12"], "n"].tolist() == [100, 2]


def test_balanced_one_way_in_closed_form():
    # k = n tau^2 / (n tau^2 + sigma^2) is kept of a group's deviation; the mean has variance (tau^2 + sigma^2/n) / J.
    fit = reml(design_of("Dyestuff--ri"))
    tau2, sigma2, J, n = fit.components[0].covariance[0, 0], fit.sigma**2, 6, 5
    keep, mean = tau2 / (tau2 + sigma2 / n), (tau2 + sigma2 / n) / J
    first = fit.standard_errors.iloc[0]
    assert first["conditional_sd"] ** 2 == pytest.approx(keep * sigma2 / n, rel=1e-9)
    assert first["effect_prediction_se"] ** 2 == pytest.approx(keep * sigma2 / n + keep**2 * mean, rel=1e-9)
    assert first["coefficient_se"] ** 2 == pytest.approx(keep * sigma2 / n + (1 - keep) ** 2 * mean, rel=1e-9)


@pytest.mark.parametrize("known_se", [False, True])
@pytest.mark.parametrize("terms", RANDOM_TERMS)
def test_they_are_hendersons(terms, known_se):
    for fit in (reml(random_design(terms, 1, known_se)), ml(random_design(terms, 2, known_se))):
        p = len(fit.design.fixed_terms)
        joint, given_b = error_covariance(fit)
        expected, at = [], 0
        for block in fit.design.blocks:
            for _ in block.levels:
                for column in block.fixed:
                    pick = np.zeros(len(joint))
                    pick[p + at] = 1.0
                    effect = pick @ joint @ pick
                    if column is not None:
                        pick[column] = 1.0
                    expected.append([given_b[at, at], effect, pick @ joint @ pick])
                    at += 1
        table = fit.standard_errors
        found = table[["conditional_sd", "effect_prediction_se", "coefficient_se"]].to_numpy()
        # the oracle inverts a matrix whose condition is about 1e6
        np.testing.assert_allclose(found**2, expected, rtol=1e-7, atol=1e-10)
        assert list(table["term"]) == list(fit.effects["term"])
        assert list(table["level"]) == list(fit.effects["level"])
        # the two that a fit carries are these two
        np.testing.assert_allclose(table["conditional_sd"], fit.effects["std_error"], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(table["coefficient_se"], fit.coefficients["std_error"], rtol=1e-7)


def test_at_zero_spread_effects_have_none_and_coefficients_the_populations():
    fit = reml(design_of("Dyestuff2--ri"))
    table = fit.standard_errors
    assert fit.components[0].covariance[0, 0] == 0
    assert (table[["conditional_sd", "effect_prediction_se"]] == 0).to_numpy().all()
    np.testing.assert_allclose(table["coefficient_se"], fit.population.std_error[0], rtol=1e-12)


def test_other_estimators_have_other_errors():
    design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    with pytest.raises(OptionError, match=r"mackay, em and statsmodels; the effects of no_pooling .* Fit reml"):
        run_estimator("no_pooling", design, Settings()).standard_errors  # noqa: B018


@pytest.mark.parametrize("estimator", ["no_pooling", "statsmodels"])
def test_fits_of_counts_are_sent_to_estimators_of_counts(estimator):
    design = build_design("k ~ 1 + (1 | g)", {"k": [0, 3, 1, 5, 2, 9], "g": list("aabbcc")}, "poisson")
    with pytest.raises(OptionError, match=rf"belong to laplace and agq; the effects of {estimator} .* Fit laplace"):
        _ = run_estimator(estimator, design, Settings()).standard_errors

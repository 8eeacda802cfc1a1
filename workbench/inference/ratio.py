"""Nested fits compared: :func:`likelihood_ratio`, and AIC and BIC side by side: :func:`information`.

Twice the log of the likelihood ratio is referred to chi-squared with as many degrees of freedom as the larger model has
more parameters. A standard deviation that the smaller model lacks is zero there, on the boundary of what is possible:
then that p-value is too large. With one such boundary among k parameters, the parameters of the smaller model lying
inside, the distribution is a mixture in equal parts of chi-squared with k - 1 and with k degrees of freedom (Self &
Liang 1987, doi:10.1080/01621459.1987.10478472; for random effects Stram & Lee 1994, doi:10.2307/2533455); chi-squared
with 0 degrees of freedom is the constant 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import ComparisonError
from workbench.fit import Fit
from workbench.inference.nested import refuse_other_data, refuse_other_fixed_effects, relation
from workbench.inference.parameters import check_maximised

if TYPE_CHECKING:
    import pandas as pd


def likelihood_ratio(*fits: Fit) -> pd.DataFrame:
    """Compare nested fits by likelihood-ratio tests, each against the one before it.

    Parameters
    ----------
    *fits : Fit
        Two or more, by `ml`; or by `reml` where all have the same fixed effects.

    Returns
    -------
    DataFrame
        One row per fit, ordered by number of parameters: ``formula, criterion, npar, aic, bic, log_likelihood,
        deviance, chisq, df, p_value, p_boundary, note``. `criterion` says what `deviance` is: the deviance, or for REML
        fits the REML criterion. `p_value` is chi-squared's; `p_boundary` is the mixture's (see the module), given where
        exactly one standard deviation is zero in the smaller model. Where the fit before is no special case of this
        one, there is no test, AIC and BIC remain, and `note` says so.

    Raises
    ------
    ComparisonError
        Fewer than two fits; other rows, responses, weights, offsets or families; REML fits of different fixed effects.
    OptionError
        A fit by another estimator.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "x": [0, 1, 0, 1, 0, 1], "g": list("aabbcc")}
    >>> small, large = (wb.fit(f"y ~ {fixed} + (1 | g)", table, "ml") for fixed in ("1", "x"))
    >>> wb.likelihood_ratio(large, small)[["npar", "chisq", "df", "p_value"]].round(4).values.tolist()
    [[3.0, nan, nan, nan], [4.0, 0.3533, 1.0, 0.5522]]
    """
    import pandas as pd

    if len(fits) < 2:
        raise ComparisonError(f"likelihood_ratio compares at least two fits; {len(fits)} was given.")
    ordered = information(*fits)
    in_order = sorted(fits, key=lambda fit: fit.df or 0)
    tests = [(np.nan, np.nan, np.nan, np.nan, "")]
    tests += [_test(small, large) for small, large in pairwise(in_order)]
    table = pd.DataFrame(tests, columns=["chisq", "df", "p_value", "p_boundary", "note"])
    table["note"] = [
        " ".join(filter(None, (note, _of_fit(fit)))) for note, fit in zip(table["note"], in_order, strict=True)
    ]
    return pd.concat([ordered, table], axis=1)


def information(*fits: Fit) -> pd.DataFrame:
    """AIC and BIC of fits to the same data, ordered by number of parameters.

    Parameters
    ----------
    *fits : Fit
        By `ml`; or by `reml` where all have the same fixed effects, since AIC and BIC of REML fits rest on the
        restricted likelihood. They need not be nested.

    Returns
    -------
    DataFrame
        ``formula, criterion, npar, aic, bic, log_likelihood, deviance``.

    Raises
    ------
    ComparisonError, OptionError
        As :func:`likelihood_ratio`.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "x": [0, 1, 0, 1, 0, 1], "g": list("aabbcc")}
    >>> fits = [wb.fit(f"y ~ {fixed} + (1 | g)", table, "ml") for fixed in ("x", "1")]
    >>> wb.information(*fits)["aic"].round(3).tolist()
    [27.348, 28.995]
    """
    import pandas as pd

    if not fits:
        raise ComparisonError("There is nothing to compare: no fit was given. Give one or more.")
    for fit in fits:
        check_maximised(fit, "A comparison of likelihoods")
    refuse_other_data(fits)
    refuse_other_fixed_effects(fits)
    rows = []
    for fit in sorted(fits, key=lambda fit: fit.df or 0):
        assert fit.criterion is not None
        rows.append(
            {
                "formula": str(fit.design.formula),
                "criterion": fit.criterion.name,
                "npar": fit.df,
                "aic": fit.aic,
                "bic": fit.bic,
                "log_likelihood": fit.log_likelihood,
                "deviance": fit.criterion.value,
            }
        )
    return pd.DataFrame(rows)


def boundary_p_value(chisq: float, df: int) -> float:
    """P(X >= chisq) for the mixture in equal parts of chi-squared with df - 1 and df degrees of freedom.

    Examples
    --------
    >>> round(boundary_p_value(2.705543454, 1), 9), boundary_p_value(0.0, 1)     # half of P(chi2_1 > 2.7055) = 0.1
    (0.05, 1.0)
    """
    from scipy.stats import chi2

    lower = float(chi2.sf(chisq, df - 1)) if df > 1 else float(chisq <= 0)
    return (lower + float(chi2.sf(chisq, df))) / 2


def _test(small: Fit, large: Fit) -> tuple[float, float, float, float, str]:
    """Statistic, degrees of freedom, p-values and what to know about them."""
    from scipy.stats import chi2

    assert small.criterion is not None
    assert large.criterion is not None
    assert small.df is not None
    assert large.df is not None
    nothing = (np.nan, np.nan, np.nan, np.nan)
    df = large.df - small.df
    how = relation(small.design, large.design)
    if not how.nested:
        return *nothing, "No test: the model before is no special case of this one. Compare AIC or BIC."
    if df == 0:
        return *nothing, "No test: the same number of parameters as the model before."
    chisq = max(small.criterion.value - large.criterion.value, 0.0)
    p_value = float(chi2.sf(chisq, df))
    if not how.more_spreads:
        doubt = "The model before is singular: chi-squared is a rough guide only." if small.singular else ""
        return chisq, df, p_value, np.nan, doubt
    note = (
        "The model before puts a standard deviation of this one at zero, its boundary: p_value is conservative "
        "(too large)."
    )
    if how.more_spreads > 1 or small.singular:
        why = "it is singular itself" if small.singular else "it does so with several"
        return chisq, df, p_value, np.nan, f"{note} No p_boundary, since {why}."
    parts = f"chi-squared with {df - 1} and {df} degrees of freedom"
    return chisq, df, p_value, boundary_p_value(chisq, df), f"{note} p_boundary: {parts}, in equal parts."


def _of_fit(fit: Fit) -> str:
    """What to know about one fit."""
    return "" if fit.converged else "Not converged: do not trust this row or the next test."

"""The mean, or the linear predictor, of rows by a regression with priors, with its error.

New rows are coded as those of the fit: levels, contrasts, centres, scales and polynomials are kept
(:mod:`workbench.coding`), never learnt anew. With x'b + offset = eta of variance x'Cov x,

    on the linear predictor:   eta +- z se
    on the response:           g^-1(eta),  error |dmu / deta| se,  interval g^-1(eta +- z se)

so that intervals of means stay in the family's domain; where an end of the link's interval leaves it, the mean's
interval ends at the domain's own limit. Errors are of the mean of a row, prior SDs and dispersion held: a new
observation scatters about it besides.

Source: R manual, ``?predict.glm``, for points and errors.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.regression import Regression
from workbench.data import read
from workbench.errors import DataError, OptionError, nearest
from workbench.families import Family
from workbench.formula import Name, variables
from workbench.model_matrix import evaluate, model_columns
from workbench.tables import collect

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

TYPES = ("response", "link")
KIND = "curvature SD, prior and dispersion held"


def predict_rows(
    regression: Regression, family: Family, b: Array, cov: Array, new_data: Any, type: str, level: float
) -> pd.DataFrame:
    """See :meth:`workbench.bayesglm.answer.BayesGlm.predict`.

    Parameters
    ----------
    regression : Regression
        Whose ``coding.kept`` columns have the coefficients.
    family : Family
    b, cov : array, shape (p,) and (p, p)
    new_data : dataframe, mapping, path or None
    type : "response" or "link"
    level : float
    """
    import pandas as pd

    if type not in TYPES:
        raise OptionError(f"type is {type!r}. {nearest(str(type), TYPES)}")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise OptionError(f"level is {level!r}, but must lie between 0 and 1.")
    kept: NDArray[np.intp] | range
    if new_data is None:
        X, offset, rows = regression.X[:, list(regression.coding.kept)], regression.offset, len(regression.y)
        kept, lost = range(rows), "none"
    else:
        X, offset, rows, kept, lost = _columns(regression, new_data)
    eta = X @ b + offset
    error = np.sqrt(np.maximum(np.sum(X @ cov * X, axis=1), 0))  # a row without error may fall below zero by rounding
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    found, possible = (eta, error, eta - reach, eta + reach), np.ones(len(eta), dtype=bool)
    if type == "response":
        found, possible = _means(family, *found)
    interval = f"Wald {100 * level:.4g} %" + ", on the link" * (type == "response" and family.link_name != "identity")
    labels = {"point": "posterior mode", "std_error_kind": KIND, "interval": interval}
    table: dict[str, Any] = {}
    for name, values in zip(("estimate", "std_error", "conf_low", "conf_high"), found, strict=True):
        table[name] = np.full(rows, np.nan)
        table[name][kept] = np.where(possible, values, np.nan)
    for name, label in labels.items():
        table[name] = np.full(rows, "none: a value is missing", dtype=object)
        table[name][kept] = np.where(possible, label, f"none: outside the {family.link_name} link's domain")
    index = new_data.index if isinstance(new_data, pd.DataFrame) else pd.RangeIndex(rows)
    made = pd.DataFrame(table, index=index)
    made.attrs["rows"] = f"{rows:,} rows, {lost} without a prediction"
    return made


def _columns(regression: Regression, data: Any) -> tuple[Array, Array, int, NDArray[np.intp] | range, str]:
    """X and offset of the complete rows of a table, how many rows it has, which these are, and words for the rest."""
    formula, coding = regression.formula, regression.coding
    if coding.offset is not None and not coding.offset_is_column:
        raise DataError(
            "The fit had an offset given as an array, whose values for new rows cannot be known. Give the offset as a "
            "column (offset='name', or offset(name) in the formula), or predict the rows of the fit, without new data."
        )
    offsets = (*formula.offsets, *([Name(coding.offset)] if coding.offset is not None else []))
    factors = [factor for term in formula.as_written for factor in term.factors]
    needed = [name for part in (*factors, *offsets) for name in variables(part)]
    table = read(collect(data, needed), needed, may_be_empty=True)
    m, account = len(table), table.rows
    missing = ", ".join(f"{name} {count:,}" for name, count in account.missing)
    lost = f"{account.dropped:,} (missing: {missing})" if account.dropped else "none"
    if not m:
        return np.empty((0, len(coding.kept))), np.empty(0), account.read, table.kept, lost
    offset = sum((evaluate(part, table, coding.learnt) for part in offsets), np.zeros(m))
    X = model_columns(formula.as_written, formula.intercept, table, coding.learnt, regression.drop_baseline).values
    return X[:, list(coding.kept)], offset, account.read, table.kept, lost


def _means(
    family: Family, eta: Array, error: Array, low: Array, high: Array
) -> tuple[tuple[Array, Array, Array, Array], NDArray[np.bool_]]:
    """Means, their errors and ends of intervals from those of linear predictors; and which means are possible."""
    with np.errstate(all="ignore"):
        mean = family.inverse(eta)
        possible = family.within(eta, mean)
        found = mean, np.abs(family.slope(eta)) * error
        if family.link_name not in ("inverse", "inverse_squared"):
            low, high = family.inverse(np.maximum(low, 0) if family.link_name == "sqrt" else low), family.inverse(high)
        elif family.name == "gaussian":  # means of either sign: where the interval crosses the pole, all are in it
            across = (low < 0) & (high > 0)
            low, high = (np.where(across, -np.inf, family.inverse(high)), np.where(across, np.inf, family.inverse(low)))
        else:
            low, high = family.inverse(high), np.where(low > 0, family.inverse(np.where(low > 0, low, 1.0)), np.inf)
    if family.name != "gaussian":
        low, high = np.maximum(low, 0), np.minimum(high, 1 if family.of_probabilities else np.inf)
    return (*found, low, high), possible

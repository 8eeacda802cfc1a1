"""The mean of new rows, by any fit: x'b + z'u + offset, with what it may miss by.

    groups=True          the row's own groups: x'b + z'u          (lme4's predict, re.form = NULL)
    groups=False         the population: x'b                       (re.form = NA)
    groups=("batch",)    some grouping factors, the others at zero

Every estimator's prediction follows from its coefficients; what the standard error is differs, and is named in
`std_error_kind`:

==========================  ============================================================================
estimator                   standard error
==========================  ============================================================================
``reml``, ``ml``, ...       of x'b + z'u, both estimated, at the variances (Henderson 1975,
                            doi:10.2307/2529430; :mod:`workbench.standard_errors`); also of
                            ``boundary_avoiding``, ``henderson``, ``mackay``, ``em``, ``laplace``, ``agq``,
                            ``statsmodels`` (gaussian)
``fixed_prior``             posterior SD, prior and dispersion held
``hierarchical``            posterior SD, from the draws
``exact``                   posterior SD; of a new level too, and its interval
``no_pooling``              sampling SE of the group's own regression
``complete_pooling``        sampling SE; there are no groups
==========================  ============================================================================

A level that the fit did not see has effect zero, and its standard error adds the spread between groups, z'Sigma z:
anywhere in the population is where it may lie.

Of counts and shares the mean is that of the response (``scale="response"``) or the linear predictor (``"link"``).
Through the link go the estimate and the ends of its interval; the standard error follows by the delta method. So
x'b through the link is the mean of a *typical* group, whose effect is zero, not the mean over groups. A posterior is
taken through the link as a whole: the estimate is the posterior mean of the mean response, averaged over where a new
level may lie; or the posterior median, where that mean need not exist (:mod:`workbench.prediction.posterior`).

All of these are errors of the *mean* of a row: a new observation scatters about it by the residual SD besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.fit import Fit
from workbench.new_rows import Rows, new_rows, rows_of_the_fit
from workbench.prediction.conditional import errors, means
from workbench.prediction.posterior import from_draws, from_posterior
from workbench.prediction.scales import SCALES, on_response, transforms

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Words = NDArray[np.object_]

NEW_LEVELS = ("refuse", "population")


def predict(
    fit: Fit,
    new_data: Any = None,
    groups: bool | str | Sequence[str] = True,
    new_levels: str = "refuse",
    level: float = 0.95,
    scale: str = "response",
) -> pd.DataFrame:
    """Predict the mean of rows, new ones or those of the fit.

    Parameters
    ----------
    fit : Fit
    new_data : dataframe, mapping or path, optional
        Needs the columns of the fixed terms, of offsets, and of the grouping factors conditioned on with what varies by
        them; not the response. By default the rows of the fit. Factors, contrasts, ``scale()``, ``center()`` and
        ``poly()`` are coded as in the fit.
    groups : bool, str or sequence of str
        All grouping factors (True), none (False: the population value), or those named (``"Subject"``,
        ``"cask:batch"``).
    new_levels : "refuse" or "population"
        What to do with a level of a grouping factor that the fit did not see: refuse it, or predict with effect zero,
        a missing level too (lme4's ``allow.new.levels``).
    level : float
        Probability of the intervals.
    scale : "response" or "link"
        Of counts and shares: the mean response (a probability, an expected count), or the linear predictor, offset
        included.

    Returns
    -------
    DataFrame
        One row per row of `new_data` (with its index, if it is a pandas one): ``estimate, std_error, conf_low,
        conf_high`` for the row's mean, on the scale asked for; the labels ``point``, ``std_error_kind``,
        ``interval``; and ``new_level``, the levels that the fit did not see, in words ("" where there are none). Rows
        with a missing value have NaN, and a label that says so; ``.attrs["rows"]`` counts them.

    Raises
    ------
    DataError, DesignError
        An unseen level (with the nearest known one), a missing column, labels in place of numbers, an array of offsets.
    OptionError
        An unknown grouping factor or option.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> fit = reml(build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}))
    >>> found = predict(fit, {"g": ["a", "z"]}, new_levels="population")
    >>> found[["estimate", "std_error", "new_level"]].round(3).to_dict("list")
    {'estimate': [1.592, 3.833], 'std_error': [0.493, 2.863], 'new_level': ['', 'g z']}
    """
    if new_levels not in NEW_LEVELS:
        raise OptionError(f"new_levels is {new_levels!r}, but must be 'refuse' or 'population'.")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise OptionError(f"level is {level!r}, but a probability between 0 and 1 is needed, such as 0.95.")
    if scale not in SCALES:
        raise OptionError(f"scale is {scale!r}, but must be 'response' or 'link'.")
    wanted = _wanted(fit, groups)
    if new_data is None:
        rows = rows_of_the_fit(fit.design, wanted)
    else:
        rows = new_rows(fit.design, new_data, wanted, new_levels == "population")
    if fit.posterior is not None:
        columns = from_posterior(fit, rows, level, scale)
    elif fit.sampled is not None:
        columns = from_draws(fit, rows, level, scale)
    else:
        estimate = means(fit, rows)
        error, kind = errors(fit, rows)
        kind = np.where(np.isnan(estimate), "none: the fit has no estimate for this row", kind).astype(object)
        reach = NormalDist().inv_cdf(0.5 + level / 2) * error
        columns = {
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - reach,
            "conf_high": estimate + reach,
        }
        interval = np.where(np.isnan(error), kind, f"Wald {100 * level:.4g} %").astype(object)
        columns |= {"std_error_kind": kind, "interval": interval}
        columns = on_response(fit.design, columns) if transforms(fit.design, scale) else columns
    return _table(rows, {"point": _points(fit, rows, wanted)} | columns, new_data)


def _wanted(fit: Fit, groups: bool | str | Sequence[str]) -> tuple[str, ...]:
    """The grouping factors to condition on."""
    known = tuple(fit.design.groups)
    names = (known if groups else ()) if isinstance(groups, bool) else (groups,) if isinstance(groups, str) else groups
    for name in names:
        if name not in known:
            raise OptionError(f"There is no grouping factor {name!r} in this fit. {nearest(str(name), known)}")
    if fit.estimator == "complete_pooling":  # every effect is held at zero: there is nothing to condition on
        return ()
    return tuple(name for name in known if name in names)


# --- the table ----------------------------------------------------------------------------------------


def _points(fit: Fit, rows: Rows, wanted: tuple[str, ...]) -> Words:
    """What kind the estimate of every row is, shape (m,)."""
    if not wanted:
        return np.full(len(rows), fit.population.point, dtype=object)
    places = list(rows.varying)
    some = "" if len(wanted) == len(fit.design.groups) else f", given {', '.join(wanted)}"
    known = np.logical_or.reduce([rows.varying[place].codes >= 0 for place in places])
    return np.where(known, fit.group_effects[places[0]].coefficient.point + some, fit.population.point).astype(object)


def _table(rows: Rows, columns: dict[str, Any], new_data: Any) -> pd.DataFrame:
    """One row per row of the table, NaN where a value was missing."""
    import pandas as pd

    index = new_data.index if isinstance(new_data, pd.DataFrame) else pd.RangeIndex(rows.read)
    order = ("estimate", "std_error", "conf_low", "conf_high", "point", "std_error_kind", "interval")
    blank = {name: np.nan if name in order[:4] else "none: a value is missing" for name in order} | {"new_level": ""}
    table = {}
    for name, value in (columns | {"new_level": rows.new}).items():
        table[name] = np.full(rows.read, blank[name], dtype=float if name in order[:4] else object)
        table[name][rows.kept] = value
    made = pd.DataFrame({name: table[name] for name in blank}, index=index)
    lost = rows.read - len(rows)
    why = f" (missing: {', '.join(f'{name} {count:,}' for name, count in rows.missing)})" if lost else ""
    made.attrs["rows"] = f"{rows.read:,} rows, {lost or 'none'} without a prediction{why}"
    return made

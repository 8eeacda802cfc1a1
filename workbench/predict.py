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
                            ``boundary_avoiding``, ``henderson``, ``mackay``, ``em``, ``statsmodels``
``fixed_prior``             posterior SD, prior and dispersion held
``hierarchical``            posterior SD, from the draws
``exact``                   posterior SD; of a new level too, and its interval
``no_pooling``              sampling SE of the group's own regression
``complete_pooling``        sampling SE; there are no groups
==========================  ============================================================================

A level that the fit did not see has effect zero, and its standard error adds the spread between groups, z'Sigma z:
anywhere in the population is where it may lie. All of these are errors of the *mean* of a row: a new observation
scatters about it by the residual SD besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.cells import CHUNK
from workbench.design import check_gaussian
from workbench.errors import OptionError, nearest
from workbench.fit import Fit
from workbench.new_rows import Rows, new_rows, rows_of_the_fit
from workbench.sampling.names import block_names
from workbench.standard_errors import AT_VARIANCES, joint_error

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

    Returns
    -------
    DataFrame
        One row per row of `new_data` (with its index, if it is a pandas one): ``estimate, std_error, conf_low,
        conf_high`` for the row's mean, on the scale of the response; the labels ``point``, ``std_error_kind``,
        ``interval``; and ``new_level``, the levels that the fit did not see, in words ("" where there are none). Rows
        with a missing value have NaN, and a label that says so; ``.attrs["rows"]`` counts them.

    Raises
    ------
    DataError, DesignError
        An unseen level (with the nearest known one), a missing column, labels in place of numbers, an array of offsets.
    OptionError
        An unknown grouping factor or option; a response that is not gaussian.

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
    check_gaussian(fit.design, "predict")
    wanted = _wanted(fit, groups)
    if new_data is None:
        rows = rows_of_the_fit(fit.design, wanted)
    else:
        rows = new_rows(fit.design, new_data, wanted, new_levels == "population")
    if fit.posterior is not None:
        columns = _from_posterior(fit, rows, level)
    elif fit.sampled is not None:
        columns = _from_draws(fit, rows, level)
    else:
        estimate = _means(fit, rows)
        error, kind = _errors(fit, rows)
        kind = np.where(np.isnan(estimate), "none: the fit has no estimate for this row", kind).astype(object)
        reach = NormalDist().inv_cdf(0.5 + level / 2) * error
        columns = {
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - reach,
            "conf_high": estimate + reach,
        }
        columns |= {"std_error_kind": kind, "interval": np.full(len(rows), f"Wald {100 * level:.4g} %", object)}
    return _table(rows, columns | {"point": _points(fit, rows, wanted)}, new_data)


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


# --- means --------------------------------------------------------------------------------------------


def _means(fit: Fit, rows: Rows) -> Array:
    """x'b + z'u + offset, shape (m,)."""
    b = fit.population.estimate
    lost = ~np.isfinite(b)  # without pooling: columns that cannot be told from the groups, which hold their share
    mean: Array = rows.X @ np.where(lost, 0.0, b) + rows.offset
    own = np.zeros(len(rows), dtype=bool)
    for place, row in rows.varying.items():
        part, block = fit.group_effects[place], fit.design.blocks[place]
        unpaired = [column is None for column in block.fixed]
        held = np.where(unpaired, part.coefficient.estimate - part.effect.estimate, 0.0)  # a prior mean, if any
        new = held[0] if fit.estimator == "fixed_prior" else np.zeros(len(block.terms))
        deviation = np.vstack([part.effect.estimate + held, new])
        mean = mean + np.einsum("mq,mq->m", row.Z, deviation[row.codes])
        own = row.codes >= 0
    if lost.any() and not (rows.of_the_fit and rows.varying):
        mean[~(own & _told(fit, rows, lost))] = np.nan
    return mean


def _told(fit: Fit, rows: Rows, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows, without pooling, need no coefficient that the fit does not have, shape (m,).

    In the fit, a column D that cannot be told from the groups is D_i = r_i'A + z_i'a_j for every row of group j, so the
    groups' coefficients hold its share. They do for a new row if it obeys the same relation.
    """
    joint = joint_error(fit)
    if joint is None or not rows.varying:
        return np.zeros(len(rows), dtype=bool)
    design, (f,) = fit.design, joint.data.factors
    codes, D = design.blocks[0].codes, design.X[:, lost]
    Z, R = np.hstack([block.Z for block in design.blocks]) @ f.to_data, design.X @ joint.fixed
    weighted = design.weights[:, None] * D
    sums = np.zeros((*f.Zty.shape, D.shape[1]))
    np.add.at(sums, codes, Z[:, :, None] * weighted[:, None, :])
    kept = np.isfinite(joint.P_first).all(axis=(1, 2))
    used = kept[codes]
    A = joint.b_cov @ (R[used].T @ weighted[used] - np.einsum("jqr,jqd->rd", joint.pull[0][kept], sums[kept]))
    a = joint.P_first @ sums - joint.pull[0] @ A
    Z = np.hstack([row.Z for row in rows.varying.values()]) @ f.to_data
    implied = rows.X @ joint.fixed @ A + np.einsum("mq,mqd->md", Z, a[rows.varying[0].codes])
    return np.asarray((np.abs(rows.X[:, lost] - implied) <= 1e-8 * np.abs(D).max(axis=0)).all(axis=1))


# --- errors -------------------------------------------------------------------------------------------


def _errors(fit: Fit, rows: Rows) -> tuple[Array, Words]:
    """Standard errors of the means and what kind they are, shape (m,) each."""
    if not rows.varying and fit.estimator in (*AT_VARIANCES, "complete_pooling", "no_pooling"):
        lost = ~np.isfinite(fit.population.estimate)
        cov = np.where(lost[:, None] | lost, 0.0, fit.fixed_cov)
        variance = np.einsum("mp,pr,mr->m", rows.X, cov, rows.X) + (np.nan if lost.any() else 0.0)
        kind = "none: not every column has an estimate" if lost.any() else fit.population.std_error_kind
        return np.sqrt(variance), np.full(len(rows), kind, dtype=object)
    joint = joint_error(fit)
    if joint is None:
        return np.full(len(rows), np.nan), np.full(len(rows), "none: the fit has no joint error", dtype=object)
    error = np.sqrt(joint.variance(rows))
    known = {"no_pooling": "sampling SE", "fixed_prior": "curvature SD, prior and dispersion held"}
    name = known.get(fit.estimator, "prediction SE")
    new = "none: without pooling, nothing is known of a new level" if fit.estimator == "no_pooling" else ""
    return error, np.where(rows.new == "", name, new or f"{name}, new level").astype(object)


def _from_draws(fit: Fit, rows: Rows, level: float) -> dict[str, Any]:
    """Posterior mean, SD and equal-tailed interval of the mean of every row.

    A new level's variance adds the posterior mean of z'Sigma z (law of total variance); its interval is then normal.
    """
    design, posterior = fit.design, fit.sampled.posterior
    names, m = block_names(design), len(rows)
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    found = {name: np.empty(m) for name in ("estimate", "std_error", "conf_low", "conf_high")}
    step, tail = max(1, CHUNK // draws), (1 - level) / 2
    b = posterior["b"].values.reshape(draws, -1) if design.fixed_terms else np.empty((draws, 0))
    for begin in range(0, m, step):
        here = slice(begin, begin + step)
        mean = b @ rows.X[here].T + rows.offset[here]
        added = np.zeros(mean.shape[1])
        for place, row in rows.varying.items():
            Z, codes, name = row.Z[here], row.codes[here], names[place]
            effect = posterior[f"effect_{name}"].values.reshape(draws, -1, Z.shape[1])
            for k in range(Z.shape[1]):
                mean += np.where(codes < 0, 0.0, Z[:, k] * effect[:, codes, k])
            sd = posterior[f"sd_{name}"].values.reshape(draws, -1)
            cor = posterior[f"cor_{name}"].values.reshape(draws, *Z.shape[1:] * 2) if Z.shape[1] > 1 else 1.0
            spread = (sd[:, :, None] * sd[:, None, :] * cor).mean(axis=0)
            added += np.where(codes < 0, np.einsum("mq,qr,mr->m", Z, spread, Z), 0.0)
        found["estimate"][here] = mean.mean(axis=0)
        found["std_error"][here] = np.sqrt(mean.var(axis=0, ddof=1) + added)
        found["conf_low"][here], found["conf_high"][here] = np.quantile(mean, [tail, 1 - tail], axis=0)
    new = rows.new != ""
    reach = NormalDist().inv_cdf(1 - tail) * found["std_error"]
    low, high = (
        np.where(new, found["estimate"] + s * reach, found[c]) for s, c in ((-1, "conf_low"), (1, "conf_high"))
    )
    kind = np.where(new, "posterior SD, new level", "posterior SD").astype(object)
    interval = np.where(new, f"normal {100 * level:.4g} %", f"equal-tailed {100 * level:.4g} %").astype(object)
    return found | {"conf_low": low, "conf_high": high, "std_error_kind": kind, "interval": interval}


def _from_posterior(fit: Fit, rows: Rows, level: float) -> dict[str, Any]:
    """Posterior mean, SD and equal-tailed interval of the mean of every row; a new level's effect is as any other's."""
    row = rows.varying.get(0)
    codes, z = (None, np.zeros(len(rows))) if row is None else (np.asarray(row.codes), row.Z[:, 0])
    lines = fit.posterior.rows(rows.X, codes, z, np.asarray(rows.offset))
    found = fit.posterior.summary(lines, fit.posterior.rule_for(len(rows)), level)
    kind = np.where(rows.new == "", "posterior SD", "posterior SD, new level").astype(object)
    return {
        "estimate": found.mean,
        "std_error": found.sd,
        "conf_low": found.quantiles[:, 0],
        "conf_high": found.quantiles[:, 2],
        "std_error_kind": kind,
        "interval": np.full(len(rows), f"equal-tailed {100 * level:.4g} %", dtype=object),
    }


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

"""Means of rows under a posterior: of draws, or exact.

On the scale of the linear predictor (of gaussian responses, of the response) every row has a posterior mean and SD. On
the response's scale of counts it need not: exp of a normal spread that is itself uncertain has no mean under most
priors. There, a row that is not given all of its groups has its posterior *median*, and no standard error.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.cells import CHUNK
from workbench.exact_posterior.count_rows import row_summaries
from workbench.exact_posterior.counts import CountPosterior
from workbench.exact_posterior.posterior import Summary
from workbench.fit import Fit
from workbench.new_rows import Rows
from workbench.prediction.scales import bounded, transforms
from workbench.sampling.names import block_names

Array = NDArray[np.float64]
NO_MEAN = "none: the mean of exp(predictor) need not exist; see the interval, or scale='link'"


def from_draws(fit: Fit, rows: Rows, level: float, scale: str) -> dict[str, Any]:
    """Posterior mean, SD and equal-tailed interval of the mean of every row.

    The predictor's variance at a new level adds the posterior mean of z'Sigma z (law of total variance), and its
    interval is normal. On another scale than the predictor's, effects of new levels are drawn, one for every draw.
    """
    through = transforms(fit.design, scale)
    names = ("estimate", "std_error", "conf_low", "median", "conf_high")
    found = {name: np.empty(len(rows)) for name in names}
    posterior = fit.sampled.posterior
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    step, tail, rng = max(1, CHUNK // draws), (1 - level) / 2, np.random.default_rng(0)
    for begin in range(0, len(rows), step):
        here = slice(begin, begin + step)
        mean, spread = _predictors(fit, rows, here)
        added = spread.mean(axis=0)
        if through:
            mean = fit.design.mean(mean + np.sqrt(spread) * rng.standard_normal(mean.shape))
            added = np.zeros_like(added)
        found["estimate"][here] = mean.mean(axis=0)
        found["std_error"][here] = np.sqrt(mean.var(axis=0, ddof=1) + added)
        ends = np.quantile(mean, [tail, 0.5, 1 - tail], axis=0)
        found["conf_low"][here], found["median"][here], found["conf_high"][here] = ends
    median, new = found.pop("median"), rows.new != ""
    if not through:
        reach = NormalDist().inv_cdf(1 - tail) * found["std_error"]
        for name, side in (("conf_low", -1), ("conf_high", 1)):
            found[name] = np.where(new, found["estimate"] + side * reach, found[name])
    made = found | _labels(rows, level)
    if not through:
        made["interval"] = np.where(new, f"normal {100 * level:.4g} %", made["interval"])
    return _where_means_exist(fit, rows, made, median, through)


def _predictors(fit: Fit, rows: Rows, here: slice) -> tuple[Array, Array]:
    """Linear predictors of draws and rows with new levels' effects at zero, and z'Sigma z of those, (N, m) each."""
    design, posterior = fit.design, fit.sampled.posterior
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    b = posterior["b"].values.reshape(draws, -1) if design.fixed_terms else np.empty((draws, 0))
    mean = b @ rows.X[here].T + rows.offset[here]
    spread = np.zeros_like(mean)
    names = block_names(design)
    for place, row in rows.varying.items():
        Z, codes, name = row.Z[here], row.codes[here], names[place]
        effect = posterior[f"effect_{name}"].values.reshape(draws, -1, Z.shape[1])
        for k in range(Z.shape[1]):
            mean += np.where(codes < 0, 0.0, Z[:, k] * effect[:, codes, k])
        if not (codes < 0).any():
            continue
        sd = posterior[f"sd_{name}"].values.reshape(draws, -1)
        cor = posterior[f"cor_{name}"].values.reshape(draws, *Z.shape[1:] * 2) if Z.shape[1] > 1 else 1.0
        covariance = sd[:, :, None] * sd[:, None, :] * cor
        spread += np.where(codes < 0, np.einsum("mq,dqr,mr->dm", Z, covariance, Z), 0.0)
    return mean, spread


def from_posterior(fit: Fit, rows: Rows, level: float, scale: str) -> dict[str, Any]:
    """Posterior mean, SD and equal-tailed interval of the mean of every row; a new level's effect is as any other's."""
    row = rows.varying.get(0)
    codes, z = (None, np.zeros(len(rows))) if row is None else (np.asarray(row.codes), row.Z[:, 0])
    through = transforms(fit.design, scale)
    if isinstance(fit.posterior, CountPosterior):
        found = row_summaries(fit.posterior, codes, np.asarray(rows.offset), level, through)
    else:
        lines = fit.posterior.rows(rows.X, codes, z, np.asarray(rows.offset))
        found = fit.posterior.summary(lines, fit.posterior.rule_for(len(rows)), level)
    made = _columns(found) | _labels(rows, level)
    return _where_means_exist(fit, rows, made, found.quantiles[:, 1], through)


def _columns(found: Summary) -> dict[str, Any]:
    low, _, high = found.quantiles.T
    return {"estimate": found.mean, "std_error": found.sd, "conf_low": low, "conf_high": high}


def _labels(rows: Rows, level: float) -> dict[str, Any]:
    kind = np.where(rows.new == "", "posterior SD", "posterior SD, new level").astype(object)
    return {
        "std_error_kind": kind,
        "interval": np.full(len(rows), f"equal-tailed {100 * level:.4g} %", dtype=object),
    }


def _where_means_exist(fit: Fit, rows: Rows, made: dict[str, Any], median: Array, through: bool) -> dict[str, Any]:
    """The table with medians and no standard errors where a mean need not exist."""
    whole = set(rows.varying) == set(range(len(fit.design.blocks)))
    lost = ~(whole & (rows.new == "")) & (through and not bounded(fit.design))
    if not lost.any():
        return made
    return made | {
        "estimate": np.where(lost, median, made["estimate"]),
        "std_error": np.where(lost, np.nan, made["std_error"]),
        "std_error_kind": np.where(lost, NO_MEAN, made["std_error_kind"]),
        "point": np.where(lost, "posterior median", "posterior mean").astype(object),
    }

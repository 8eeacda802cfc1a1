"""Means of rows under a posterior: of draws, or exact."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.cells import CHUNK
from workbench.fit import Fit
from workbench.new_rows import Rows
from workbench.sampling.names import block_names

Array = NDArray[np.float64]


def from_draws(fit: Fit, rows: Rows, level: float) -> dict[str, Any]:
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


def from_posterior(fit: Fit, rows: Rows, level: float) -> dict[str, Any]:
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

"""Means of rows given the estimates, and what they may miss by: every fit that is neither draws nor a posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.fit import Fit
from workbench.new_rows import Rows
from workbench.prediction.joint_error import AT_VARIANCES, joint_error, working_design
from workbench.prediction.linear_predictor import linear_predictor

Array = NDArray[np.float64]
Words = NDArray[np.object_]


def means(fit: Fit, rows: Rows) -> Array:
    """x'b + z'u + offset, shape (m,); NaN where the fit has no estimate for a row."""
    lost = ~np.isfinite(fit.population.estimate)
    found = linear_predictor(fit, rows)  # without pooling, the groups hold the share of columns that are lost
    if lost.any() and not (rows.of_the_fit and rows.varying):
        own = np.zeros(len(rows), dtype=bool)
        for row in rows.varying.values():
            own = row.codes >= 0
        found[~(own & _told(fit, rows, lost))] = np.nan
    return found


def _told(fit: Fit, rows: Rows, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows, without pooling, need no coefficient that the fit does not have, shape (m,).

    In the fit, a column D that cannot be told from the groups is D_i = r_i'A + z_i'a_j for every row of group j, so the
    groups' coefficients hold its share. They do for a new row if it obeys the same relation.
    """
    joint = joint_error(fit)
    if joint is None or not rows.varying:
        return np.zeros(len(rows), dtype=bool)
    design, (f,) = working_design(fit), joint.data.factors
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


def errors(fit: Fit, rows: Rows) -> tuple[Array, Words]:
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

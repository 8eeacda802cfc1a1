"""The tables of the page beside the estimates, for people; the CSV files hold the same with all digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import (
    printable,
    varying,
)
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.context import FigureCheck
from workbench.report.extremes import WHOLE
from workbench.report.trust import trusted
from workbench.words import MISSING, minus, places_for, significant
from workbench.words import fixed as with_places

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit


SCALE = "residuals are Student-t, and the residual SD is their scale, which is less than their SD."


def variance(comparison: Comparison) -> Table:
    """Standard deviations and correlations, one column per estimator."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for name, fit in comparison.fits.items():
        for part in fit.components:
            for a, term in enumerate(part.terms):
                values.setdefault((part.group, f"SD of {term}"), {})[name] = float(part.sd[a])
        for part in fit.components:
            for a, first in enumerate(part.terms):
                for b in range(a + 1, len(part.terms)):
                    key = (part.group, f"correlation of {first} and {part.terms[b]}")
                    values.setdefault(key, {})[name] = float(part.correlation[a, b])
        if fit.design.estimates_dispersion:
            what = "SD" if fit.design.family == "gaussian" else "square root of the dispersion"
            values.setdefault(("residual", what), {})[name] = fit.sigma
    ordered = sorted(values, key=lambda key: key[0] == "residual")
    rows = tuple(
        (
            text(printable(group, 60)),
            text(what),
            *(number(values[group, what].get(name)) for name in comparison.fits),
        )
        for group, what in ordered
    )
    names = (Column("group", numeric=False), Column("component", numeric=False))
    columns = (*names, *(Column(title_of(name)) for name in comparison.fits))
    notes = ["An estimator without an entry has no such component."]
    if "fixed_prior" in comparison.fits:
        notes.append("The fixed prior's SDs between groups are the ones plugged in.")
    if comparison.design.known_se:
        notes.append("With known standard errors the residual SD is 1, in units of each row's standard error.")
    notes += [f"{title_of(name)}: {SCALE}" for name, fit in comparison.fits.items() if "nu" in fit.priors]
    return Table("variance", "Variance components", columns, rows, (), tuple(notes), "tables/variance.csv")


def agreement(comparison: Comparison) -> Table | None:
    """How far each pair lies apart, pairs with REML first."""
    table = agreement_reml_first(comparison)
    if table is None:
        return None
    rows = tuple(
        (
            text(title_of(r["estimator1"])), text(title_of(r["estimator2"])), text(printable(r["group"], 40)),
            text(printable(r["term"], 40)), number(r["max_difference"]), text(printable(r["level"], 40)),
            number(r["rms_difference"]),
        )
        for r in table
    )  # fmt: skip
    columns = (
        Column("estimator", numeric=False), Column("and", numeric=False), Column("group", numeric=False),
        Column("term", numeric=False), Column("largest difference"), Column("at level", numeric=False),
        Column("root mean square"),
    )  # fmt: skip
    note = "Between group coefficients (population value + effect), over the levels that both estimated."
    return Table("agreement", "How far the estimators lie apart", columns, rows, (), (note,), "tables/agreement.csv")


def agreement_reml_first(comparison: Comparison) -> list[dict[str, Any]] | None:
    """The agreement table's rows, those with REML first; None with a single estimator."""
    if len(comparison.fits) < 2:
        return None
    rows: list[dict[str, Any]] = [
        {str(k): v for k, v in row.items()} for row in comparison.agreement.to_dict("records")
    ]
    return sorted(rows, key=lambda r: "reml" not in (r["estimator1"], r["estimator2"]))


def trust(comparison: Comparison) -> Table:
    """Wall times, and whether each fit can be trusted."""
    rows = []
    for r in comparison.timings.to_dict("records"):
        ess = r["ess_bulk"]
        rows.append(
            (
                text(title_of(r["estimator"])),
                Cell(significant(r["seconds"], 3), float(r["seconds"])),
                text("yes" if r["converged"] else "NO"),
                text("YES" if r["singular"] else "no"),
                number(r["r_hat"]),
                Cell(f"{ess:,.0f}" if np.isfinite(ess) else MISSING, float(ess) if np.isfinite(ess) else ""),
                Cell(
                    f"{r['divergences']:,.0f}" if np.isfinite(r["divergences"]) else MISSING,
                    str(r["divergences"]),
                ),
                text(r["needs"] and title_of(r["needs"])),
                text(_verdict(comparison.fits[r["estimator"]])),
            )
        )
    columns = (
        Column("estimator", numeric=False),
        Column("seconds"),
        Column("converged", numeric=False),
        Column("singular", numeric=False),
        Column("R-hat"),
        Column("ESS"),
        Column("diverged"),
        Column("builds on", numeric=False),
        Column("verdict", numeric=False),
    )
    note = (
        "R-hat is the largest, ESS the smallest. Remarks stand above, before the findings, and in the CSV. "
        "Seconds are of the fit itself, without reading the data or fitting what it builds on."
    )
    own = (
        f"{title_of(name)}: {fit.diagnostics['note']}"
        for name, fit in comparison.fits.items()
        if fit.diagnostics.get("note")
    )
    return Table("trust", "Diagnostics and timings", columns, tuple(rows), (), (note, *own), "tables/timings.csv")


def _verdict(fit: Fit) -> str:
    remarks = len(fit.warnings)
    if not trusted(fit):
        return "not to be trusted"
    return f"{remarks} remark{'s' * (remarks > 1)}" if remarks else "no objection"


def priors(comparison: Comparison) -> Table | None:
    """The resolved priors of Bayesian fits, and the prior that was plugged in."""
    rows = []
    for name, fit in comparison.fits.items():
        rows += [(text(title_of(name)), text(what), text(str(prior))) for what, prior in fit.priors.items()]
        mean, sd = fit.diagnostics.get("prior_mean"), fit.diagnostics.get("prior_sd")
        if mean is not None and sd is not None:
            for v, m, s in zip(varying(comparison), mean, sd, strict=False):
                what = f"each {v.group}'s {v.term}"
                rows.append((text(title_of(name)), text(what), text(_held(fit, v.block, m, s))))
    if not rows:
        return None
    columns = (
        Column("estimator", numeric=False),
        Column("parameter", numeric=False),
        Column("prior", numeric=False),
    )
    return Table("priors", "Priors", columns, tuple(rows))


def _held(fit: Fit, block: int, mean: float, sd: float) -> str:
    """A plugged-in prior in words, as the options of `fixed_prior` have made it."""
    df = fit.diagnostics["prior_df"]
    values = f"{significant(mean)}, {significant(sd)}"
    said = f"StudentT({df:g}, {values})" if np.isfinite(df) else f"Normal({values})"
    covariance = fit.components[block].covariance
    correlated = bool(np.any(np.diag(np.diag(covariance)) != covariance))
    more = ", its scale multiplied as bayesglm's scaled = TRUE does" * bool(fit.diagnostics["prior_scaled"])
    return f"{said}{more}, held fixed{', correlations too' * correlated}"


def parameters(comparison: Comparison) -> Table | None:
    """Posterior summaries of named parameters."""
    rows = []
    notes = []
    for name, fit in comparison.fits.items():
        if fit.parameters is None:
            continue
        e = fit.parameters.estimates
        for k, parameter in enumerate(fit.parameters.names[:WHOLE]):
            places = places_for([float(e.std_error[k])], [float(e.estimate[k])])
            r_hat = np.nan if e.r_hat is None else float(e.r_hat[k])
            ess = np.nan if e.ess_bulk is None else float(e.ess_bulk[k])
            rows.append(
                (
                    text(title_of(name)),
                    text(printable(parameter, 60)),
                    number(float(e.estimate[k]), places),
                    number(float(e.std_error[k]), places),
                    number(float(e.conf_low[k]), places),
                    number(float(e.conf_high[k]), places),
                    number(r_hat),
                    Cell(f"{ess:,.0f}" if np.isfinite(ess) else MISSING, ess if np.isfinite(ess) else ""),
                )
            )
        notes.append(f"{title_of(name)}: {e.point}; error: {e.std_error_kind}; interval: {e.interval}.")
    if not rows:
        return None
    columns = (
        Column("estimator", numeric=False),
        Column("parameter", numeric=False),
        Column("estimate"),
        Column("error"),
        Column("from"),
        Column("to"),
        Column("R-hat"),
        Column("ESS"),
    )
    return Table(
        "parameters",
        "Posterior of the parameters",
        columns,
        tuple(rows),
        (),
        tuple(notes),
        "tables/parameters.csv",
    )


def figures(checks: Sequence[FigureCheck]) -> Table | None:
    """Published figures against ours."""
    if not checks:
        return None
    rows = tuple(
        (
            text(title_of(c.estimator)),
            text(c.quantity),
            number_like(c.published, c.published, c.tolerance),
            number_like(c.ours, c.published, c.tolerance),
            Cell(minus(f"{c.tolerance:g}".replace("e-0", "e-")), c.tolerance),
            text("yes" if c.holds else "NO"),
            text(c.source),
        )
        for c in checks
    )
    columns = (
        Column("estimator", numeric=False),
        Column("quantity", numeric=False),
        Column("published"),
        Column("ours"),
        Column("tolerance"),
        Column("holds", numeric=False),
        Column("source", numeric=False),
    )
    return Table("figures", "Published figures and ours", columns, rows, (), (), "tables/figures.csv")


def number_like(value: float, published: float, tolerance: float) -> Cell:
    """A number with the decimals that the tolerance can tell apart."""
    if not np.isfinite(value):
        return Cell(MISSING)
    places = int(np.clip(-np.floor(np.log10(tolerance)), 0, 12)) if tolerance > 0 else 6
    return Cell(with_places(value, places), value)

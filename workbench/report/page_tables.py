"""The tables of the page beside the estimates, for people; the CSV files hold the same with all digits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import (
    apart,
    printable,
    varying,
)
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.context import FigureCheck
from workbench.report.extremes import WHOLE
from workbench.report.manifest import draws_file
from workbench.report.trust import remarks, trusted
from workbench.sampling.diagnostics import E_BFMI
from workbench.words import MISSING, beside, count, middle_cut, minus, places_for, significant
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
            text(printable(r["term"], 40)), number(r["max_difference"]),
            text(middle_cut(r["level"], 40), r["level"]), number(r["rms_difference"]),
        )
        for r in table
    )  # fmt: skip
    columns = (
        Column("estimator", numeric=False), Column("and", numeric=False), Column("group", numeric=False),
        Column("term", numeric=False), Column("largest difference"), Column("at level", numeric=False),
        Column("root mean square"),
    )  # fmt: skip
    notes = ["Between group coefficients (population value + effect), over the levels that both estimated."]
    if any(r["max_difference"] == 0 for r in table):
        notes.append("0: the same, to rounding.")
    title = "How far the estimators lie apart"
    return Table("agreement", title, columns, rows, (), tuple(notes), "tables/agreement.csv")


def agreement_reml_first(comparison: Comparison) -> list[dict[str, Any]] | None:
    """The agreement table's rows, those with REML first; None with a single estimator.

    Differences that are rounding are 0 here, at no level.
    """
    if len(comparison.fits) < 2:
        return None
    rows: list[dict[str, Any]] = [
        {str(k): v for k, v in row.items()} for row in comparison.agreement.to_dict("records")
    ]
    terms = {(v.group, v.term): v for v in varying(comparison)}
    for row in rows:
        gap = apart(comparison, row["estimator1"], row["estimator2"], terms[row["group"], row["term"]])
        if np.isfinite(gap).any() and np.nanmax(gap) == 0:
            row |= {"max_difference": 0.0, "rms_difference": 0.0, "level": MISSING}
    return sorted(rows, key=lambda r: not {"reml", "laplace"} & {r["estimator1"], r["estimator2"]})


def trust(comparison: Comparison, times: bool = True) -> Table:
    """Whether each fit can be trusted, and its wall time unless `times` says otherwise."""
    rows: list[tuple[Cell, ...]] = []
    for r in comparison.timings.to_dict("records"):
        rows.append(
            (
                text(title_of(r["estimator"])),
                *((Cell(significant(r["seconds"], 3), float(r["seconds"])),) if times else ()),
                text("yes" if r["converged"] else "NO"),
                text("YES" if r["singular"] else "no"),
                number(r["r_hat"]),
                _whole(r["ess_bulk"]),
                _whole(r["divergences"]),
                number(r["e_bfmi"], 2) if np.isfinite(r["e_bfmi"]) else Cell(MISSING),
                Cell(_depth(r), float(r["tree_depth"]) if np.isfinite(r["tree_depth"]) else ""),
                text(_verdict(comparison.fits[r["estimator"]])),
            )
        )
    columns: tuple[Column, ...] = (
        Column("estimator", numeric=False),
        *((Column("seconds"),) if times else ()),
        Column("converged", numeric=False),
        Column("singular", numeric=False),
        Column("R-hat"),
        Column("ESS"),
        Column("diverged"),
        Column("E-BFMI"),
        Column("tree depth"),
        Column("verdict", numeric=False),
    )
    notes = [
        "R-hat is the largest, ESS the smallest. Remarks stand above, before the findings, and in the CSV.",
    ]
    if comparison.timings["e_bfmi"].notna().any():
        notes.append(
            f"E-BFMI is the smallest of the chains: below {E_BFMI} the tails may be missed (use priors with shorter "
            "tails, or the other parametrisation). Tree depth is the largest; where draws reached its limit, their "
            "number stands in brackets: each of these tells less (scale covariates, or use tighter priors)."
        )
    notes += [
        f"{title_of(name)}: {fit.diagnostics['note']}"
        for name, fit in comparison.fits.items()
        if fit.diagnostics.get("note")
    ]
    title, source = f"Diagnostics{' and timings' * times}", "tables/timings.csv"
    return Table("trust", title, columns, tuple(rows), (), tuple(notes), source, sortable=False)


def _whole(value: float) -> Cell:
    return Cell(f"{value:,.0f}", float(value)) if np.isfinite(value) else Cell(MISSING)


def _depth(row: Mapping[Hashable, Any]) -> str:
    """The largest tree depth, and in brackets how many draws reached the limit, where any did."""
    depth, times = row["tree_depth"], row["max_tree_depth_reached"]
    if not np.isfinite(depth):
        return MISSING
    return f"{depth:.0f} ({times:,.0f})" if times > 0 else f"{depth:.0f}"


def _verdict(fit: Fit) -> str:
    """The notes that stand before the findings, counted, without those of the data, which every fit shares."""
    if not trusted(fit):
        return "not to be trusted"
    return count(len(remarks(fit)), "remark") if remarks(fit) else "no objection"


def priors(comparison: Comparison) -> Table | None:
    """The resolved priors of Bayesian fits, and the prior that was plugged in."""
    rows = []
    several = len({block.group for block in comparison.design.blocks}) > 1
    for name, fit in comparison.fits.items():
        rows += [(text(title_of(name)), text(what), text(str(prior))) for what, prior in fit.priors.items()]
        mean, sd = fit.diagnostics.get("prior_mean"), fit.diagnostics.get("prior_sd")
        if mean is not None and sd is not None:
            for v, m, s in zip(varying(comparison), mean, sd, strict=False):
                what, held = f"each {v.group}'s {v.term}", _held(fit, v.block, m, s)
                if several:
                    of = "" if v.term == "(Intercept)" else f" on {v.term}"
                    what, held = f"effect of each {v.group}{of}", _held(fit, v.block, 0.0, s)
                    held += f", about the population mean {beside([m], s)[0]}"
                rows.append((text(title_of(name)), text(what), text(held)))
        for what, value in fit.diagnostics.get("held", {}).items():
            rows.append((text(title_of(name)), text(what), text(f"{significant(value)}, held fixed")))
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
    values = f"{beside([mean], sd)[0]}, {significant(sd)}"
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
        kept = f" Draws: {draws_file(name)}, for ArviZ." if fit.sampled is not None else ""
        notes.append(f"{title_of(name)}: {e.point}; error: {e.std_error_kind}; interval: {e.interval}.{kept}")
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
    """Reference figures against ours: published ones, those of other software, identities."""
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
        Column("reference"),
        Column("ours"),
        Column("tolerance"),
        Column("holds", numeric=False),
        Column("source", numeric=False),
    )
    note = "A reference is a published figure, one that other software gives, or an identity: each source says which."
    return Table("figures", "Reference figures and ours", columns, rows, (), (note,), "tables/figures.csv")


def number_like(value: float, published: float, tolerance: float) -> Cell:
    """A number with the decimals that the tolerance can tell apart."""
    if not np.isfinite(value):
        return Cell(MISSING)
    places = int(np.clip(-np.floor(np.log10(tolerance)), 0, 12)) if tolerance > 0 else 6
    return Cell(with_places(value, places), value)

"""The tables of the page, for people; the CSV files hold the same with all digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.plots.style import title_of
from workbench.plots.varying import (
    Varying,
    coefficients,
    column,
    partial,
    population,
    printable,
    truth,
    varying,
)
from workbench.report.context import FigureCheck
from workbench.report.numbers import MISSING, fixed as with_places, places_for, significant
from workbench.report.view import Cell, Column, Table

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

WHOLE = 60
"""Up to so many levels stand in the page."""
EXTREMES = 15
"""Beyond that, so many of the lowest and of the highest."""


def number(value: float | None, places: int | None = None) -> Cell:
    """A cell with a number, to so many decimals or to four significant digits."""
    known = value is not None and np.isfinite(value)
    text = significant(value) if places is None else with_places(value, places)
    return Cell(text, float(value) if known and value is not None else "")


def text(value: str) -> Cell:
    """A cell with words."""
    return Cell(value, value)


# --- estimates ----------------------------------------------------------------------------------------


def estimates(comparison: Comparison) -> tuple[Table, ...]:
    """Group coefficients in wide form, one table per varying term."""
    terms = varying(comparison)
    return tuple(_estimates(comparison, v, f"estimates{k + 1 if len(terms) > 1 else ''}") for k, v in enumerate(terms))


def extremes(values: NDArray[np.float64], whole: int = WHOLE, each: int = EXTREMES) -> tuple[list[int], list[int]]:
    """Which of many levels to show: all of them, or the lowest and the highest by value.

    Examples
    --------
    >>> extremes(np.array([3.0, 1.0, 2.0, 5.0]), whole=3, each=1)
    ([1], [3])
    """
    if len(values) <= whole:
        return list(range(len(values))), []
    order = np.argsort(values, kind="stable").tolist()
    known = int(np.isfinite(values).sum())
    each = min(each, known // 2)
    return order[:each], order[known - each : known]


def leading(comparison: Comparison) -> Fit:
    """The fit that orders the levels: partial pooling where there is some."""
    return comparison.fits[partial(comparison) or next(reversed(comparison.fits))]


def _estimates(comparison: Comparison, v: Varying, key: str) -> Table:
    fits, known = comparison.fits, truth(comparison, v)
    lead = leading(comparison)
    low, high = extremes(coefficients(lead, v))
    parts = {name: fit.group_effects[v.block].coefficient for name, fit in fits.items()}
    places = places_for(column(lead.group_effects[v.block].coefficient, v, "std_error"), coefficients(lead, v))

    def row(j: int) -> tuple[Cell, ...]:
        name = printable(v.levels[j], 60)
        cells = [Cell(name, _sort_key(v.levels[j])), Cell(f"{int(v.sizes[j]):,}", float(v.sizes[j]))]
        if known is not None:
            cells.append(number(known[j], places))
        for part in parts.values():
            cell, error = number(part.estimate[j, v.column], places), part.std_error[j, v.column]
            shown = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        return tuple(cells)

    rows = [row(j) for j in low]
    if high:
        left_out = len(v.levels) - len(low) - len(high)
        rows.append((Cell(f"… and {left_out:,} more, all in tables/estimates.csv"),))
        rows += [row(j) for j in high]
    truths = (Column("truth"),) if known is not None else ()
    several = len(varying(comparison)) > 1
    return Table(
        key=key,
        title=f"{v.quantity[0].upper()}{v.quantity[1:]} by {v.group}" if several or v.plain else f"Coefficients by {v.group}",
        columns=(Column(v.group, numeric=False), Column("n"), *truths, *(Column(title_of(name)) for name in fits)),
        rows=tuple(rows),
        foot=(_population_row(comparison, v, places, known is not None),),
        notes=_kinds(comparison, v) + (_order_note(lead, len(v.levels)) if high else ()),
        source="tables/estimates.csv",
    )


def _order_note(lead: Fit, levels: int) -> tuple[str, ...]:
    return (f"Of {levels:,} levels, the {EXTREMES} lowest and the {EXTREMES} highest by {title_of(lead.estimator)} are shown.",)


def _population_row(comparison: Comparison, v: Varying, places: int, gap: bool) -> tuple[Cell, ...]:
    cells = [Cell("population value"), Cell(""), *([Cell("")] if gap else [])]
    for fit in comparison.fits.values():
        k = fit.design.blocks[v.block].fixed[v.column]
        error = np.nan if k is None else float(fit.population.std_error[k])
        minor = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
        cells.append(Cell(with_places(population(fit, v), places), "", minor))
    return tuple(cells)


def _kinds(comparison: Comparison, v: Varying) -> tuple[str, ...]:
    """What kind each estimator's point, error and interval are, in the words of those who computed them."""
    return tuple(
        f"{title_of(name)}: {part.point}; ± {part.std_error_kind}; interval in the CSV: {part.interval}."
        for name, part in ((name, fit.group_effects[v.block].coefficient) for name, fit in comparison.fits.items())
    )


def _sort_key(level: str) -> float | str:
    try:
        value = float(level)
    except ValueError:
        return level
    return value if np.isfinite(value) else level


# --- the other tables ---------------------------------------------------------------------------------


def fixed(comparison: Comparison) -> Table | None:
    """Population coefficients by estimator."""
    terms = comparison.design.fixed_terms
    if not terms:
        return None
    fits = comparison.fits
    rows = []
    for k, term in enumerate(terms[:WHOLE]):
        errors = [float(fit.population.std_error[k]) for fit in fits.values()]
        places = places_for(errors, [float(fit.population.estimate[k]) for fit in fits.values()])
        cells = [text(printable(term, 60))]
        for fit, error in zip(fits.values(), errors, strict=True):
            cell = number(float(fit.population.estimate[k]), places)
            shown = f"± {with_places(error, places)}" if np.isfinite(error) and error > 0 else ""
            cells.append(Cell(cell.text, cell.sort, shown))
        rows.append(tuple(cells))
    if len(terms) > WHOLE:
        rows.append((Cell(f"… and {len(terms) - WHOLE:,} more, all in tables/estimates.csv"),))
    notes = tuple(
        f"{title_of(name)}: {f.population.point}; ± {f.population.std_error_kind}; interval in the CSV: {f.population.interval}."
        for name, f in fits.items()
    )
    columns = (Column("term", numeric=False), *(Column(title_of(name)) for name in fits))
    return Table("fixed", "Population coefficients", columns, tuple(rows), (), notes, "tables/estimates.csv")


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
        values.setdefault(("residual", "SD"), {})[name] = fit.sigma
    ordered = sorted(values, key=lambda key: key[0] == "residual")
    rows = tuple(
        (text(printable(group, 60)), text(what), *(number(values[group, what].get(name)) for name in comparison.fits))
        for group, what in ordered
    )
    columns = (Column("group", numeric=False), Column("component", numeric=False))
    columns += tuple(Column(title_of(name)) for name in comparison.fits)
    notes = ["An estimator without an entry has no such component."]
    if "fixed_prior" in comparison.fits:
        notes.append("The fixed prior's SDs between groups are the ones plugged in.")
    if comparison.design.known_se:
        notes.append("With known standard errors the residual SD is 1, in units of each row's standard error.")
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
    note = "Differences between group coefficients (population value + effect), over the levels that both estimated."
    return Table("agreement", "How far the estimators lie apart", columns, rows, (), (note,), "tables/agreement.csv")


def agreement_reml_first(comparison: Comparison) -> list[dict[str, Any]] | None:
    """The agreement table's rows, those with REML first; None with a single estimator."""
    if len(comparison.fits) < 2:
        return None
    rows: list[dict[str, Any]] = [dict(row) for row in comparison.agreement.to_dict("records")]
    return sorted(rows, key=lambda r: "reml" not in (r["estimator1"], r["estimator2"]))


def trust(comparison: Comparison) -> Table:
    """Wall times, and whether each fit can be trusted."""
    rows = []
    for r in comparison.timings.to_dict("records"):
        ess = r["ess_bulk"]
        rows.append(
            (
                text(title_of(r["estimator"])), number(r["seconds"]), text("yes" if r["converged"] else "NO"),
                text("YES" if r["singular"] else "no"), number(r["r_hat"]),
                Cell(f"{ess:,.0f}" if np.isfinite(ess) else MISSING, float(ess) if np.isfinite(ess) else ""),
                Cell(f"{r['divergences']:,.0f}" if np.isfinite(r["divergences"]) else MISSING, str(r["divergences"])),
                text(r["needs"] and title_of(r["needs"])), text(r["trust"]),
            )
        )  # fmt: skip
    columns = (
        Column("estimator", numeric=False), Column("seconds"), Column("converged", numeric=False),
        Column("singular", numeric=False), Column("largest R-hat"), Column("smallest ESS"), Column("divergences"),
        Column("builds on", numeric=False), Column("remarks", numeric=False),
    )  # fmt: skip
    note = "Seconds are of the fit itself, without reading the data or fitting what it builds on."
    return Table("trust", "Diagnostics and timings", columns, tuple(rows), (), (note,), "tables/timings.csv")


def priors(comparison: Comparison) -> Table | None:
    """The resolved priors of Bayesian fits, and the prior that was plugged in."""
    rows = []
    for name, fit in comparison.fits.items():
        rows += [(text(title_of(name)), text(what), text(str(prior))) for what, prior in fit.priors.items()]
        mean, sd = fit.diagnostics.get("prior_mean"), fit.diagnostics.get("prior_sd")
        if not fit.priors and mean is not None and sd is not None:
            for v, m, s in zip(varying(comparison), mean, sd, strict=False):
                what = f"each {v.group}'s {v.term}"
                rows.append((text(title_of(name)), text(what), text(f"Normal({significant(m)}, {significant(s)}), held fixed")))
    if not rows:
        return None
    columns = (Column("estimator", numeric=False), Column("parameter", numeric=False), Column("prior", numeric=False))
    return Table("priors", "Priors", columns, tuple(rows))


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
                    text(title_of(name)), text(printable(parameter, 60)), number(float(e.estimate[k]), places),
                    number(float(e.std_error[k]), places), number(float(e.conf_low[k]), places),
                    number(float(e.conf_high[k]), places), number(r_hat),
                    Cell(f"{ess:,.0f}" if np.isfinite(ess) else MISSING, ess if np.isfinite(ess) else ""),
                )
            )  # fmt: skip
        notes.append(f"{title_of(name)}: {e.point}; error: {e.std_error_kind}; interval: {e.interval}.")
    if not rows:
        return None
    columns = (
        Column("estimator", numeric=False), Column("parameter", numeric=False), Column("estimate"), Column("error"),
        Column("from"), Column("to"), Column("R-hat"), Column("ESS"),
    )  # fmt: skip
    return Table("parameters", "Posterior of the parameters", columns, tuple(rows), (), tuple(notes), "tables/parameters.csv")


def figures(checks: Sequence[FigureCheck]) -> Table | None:
    """Published figures against ours."""
    if not checks:
        return None
    rows = tuple(
        (
            text(title_of(c.estimator)), text(c.quantity), number_like(c.published, c.published, c.tolerance),
            number_like(c.ours, c.published, c.tolerance), number(c.tolerance), text("yes" if c.holds else "NO"),
            text(c.source),
        )
        for c in checks
    )  # fmt: skip
    columns = (
        Column("estimator", numeric=False), Column("quantity", numeric=False), Column("published"), Column("ours"),
        Column("tolerance"), Column("holds", numeric=False), Column("source", numeric=False),
    )  # fmt: skip
    return Table("figures", "Published figures and ours", columns, rows, (), (), "tables/figures.csv")


def number_like(value: float, published: float, tolerance: float) -> Cell:
    """A number with the decimals that the tolerance can tell apart."""
    if not np.isfinite(value):
        return Cell(MISSING)
    places = int(np.clip(1 - np.floor(np.log10(tolerance)), 0, 12)) if tolerance > 0 else 6
    return Cell(with_places(value, places), value)

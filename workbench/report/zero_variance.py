"""Where REML estimates a spread between groups as zero: what stands beside it, and why that is not zero.

The likelihood of theta = tau/sigma is then largest at theta = 0 and falls from there, often slowly. REML reports where
it is largest; `boundary_avoiding` where it is largest times a density that is zero at zero; full Bayes the mean over
all values that data and prior leave possible. All three read the same likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import Varying, named, printable, varying
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.words import join, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

MAXIMISED = ("reml", "ml")
BAYESIAN = ("exact", "hierarchical")
"""Full Bayes, the one without Monte Carlo error first."""
ZERO = 1e-7
"""A smaller spread, in units of the residual SD of a row, is zero."""
TERMS = 3
"""Sentences that go term by term cover so many terms."""


@dataclass(frozen=True)
class Zero:
    """A term whose spread is estimated as zero: the term, and the estimator that says so."""

    v: Varying
    hub: str


def zeros(comparison: Comparison) -> list[Zero]:
    """Terms whose spread REML (else ML) puts at zero, while other estimates of it stand in the comparison."""
    hub = next((name for name in MAXIMISED if name in comparison.fits), None)
    others = [name for name in ("boundary_avoiding", *BAYESIAN) if name in comparison.fits]
    if hub is None or not others:
        return []
    fit = comparison.fits[hub]
    if not fit.converged:  # whether the likelihood is largest there is not known
        return []
    return [Zero(v, hub) for v in varying(comparison) if _sd(fit, v) <= ZERO * fit.sigma / _size(fit, v)]


def zero_variances(comparison: Comparison) -> Table | None:
    """The spread by REML, boundary avoiding and full Bayes, a row each; None where REML's is nowhere zero."""
    found = zeros(comparison)
    if not found:
        return None
    terms, estimated = varying(comparison), not comparison.design.known_se
    several = len(terms) > 1
    rows = []
    for zero in found:
        for name in (zero.hub, "boundary_avoiding", *BAYESIAN):
            if name in comparison.fits:
                label = (text(printable(named(zero.v, terms), 40)),) if several else ()
                rows.append((text(title_of(name)), *label, *_row(comparison.fits[name], zero.v, estimated)))
    columns = (
        Column("estimator", numeric=False),
        *((Column("term", numeric=False),) if several else ()),
        Column("SD between groups"),
        Column("variance"),
        Column("from"),
        Column("to"),
        *((Column("residual SD"), Column("residual variance")) if estimated else ()),
        Column("what is reported", numeric=False),
    )
    notes = ["From and to are the ends of the SD's interval, where an estimator gives one. Variances are squared SDs."]
    bayes = next((comparison.fits[name] for name in BAYESIAN if name in comparison.fits), None)
    if bayes is not None and bayes.parameters is not None:
        notes.append(f"Interval of full Bayes: {bayes.parameters.estimates.interval}.")
    title = f"A spread that {title_of(found[0].hub)} puts at zero"
    return Table("zero_variance", title, columns, tuple(rows), (), tuple(notes), "tables/variance.csv", sortable=False)


def sentences(comparison: Comparison) -> list[str]:
    """Why the estimates differ where REML's is zero, from this comparison's numbers: for each term, one per use."""
    return [sentence for zero in zeros(comparison)[:TERMS] for sentence in _sentences(comparison, zero)]


# --- parts --------------------------------------------------------------------------------------------


def _sd(fit: Fit, v: Varying) -> float:
    return float(fit.components[v.block].sd[v.column])


def _size(fit: Fit, v: Varying) -> float:
    """Root mean square of the varying column, for rows of weight one."""
    column = fit.design.blocks[v.block].Z[:, v.column]
    return float(np.sqrt(np.mean(fit.design.weights * column**2))) or 1.0


def _row(fit: Fit, v: Varying, estimated: bool) -> Iterator[Cell]:
    sd = _sd(fit, v)
    low, high = _interval(fit, v)
    yield from (number(sd), number(sd**2), number(low), number(high))
    if estimated:
        yield from (number(fit.sigma), number(fit.sigma**2))
    yield text(_reported(fit, v))


def _interval(fit: Fit, v: Varying) -> tuple[float, float]:
    """The ends of the interval of the spread, NaN where there is none."""
    name = f"sd({v.group}, {v.term})"
    if fit.parameters is None or name not in fit.parameters.names:
        return np.nan, np.nan
    k, values = fit.parameters.names.index(name), fit.parameters.estimates
    return float(values.conf_low[k]), float(values.conf_high[k])


def _reported(fit: Fit, v: Varying) -> str:
    if fit.estimator in BAYESIAN:
        return "posterior mean"
    likelihood = "restricted likelihood" if _restricted(fit) else "likelihood"
    if fit.estimator == "boundary_avoiding":
        return f"where {likelihood} × {_density(fit, v)} is largest"
    return f"where the {likelihood} is largest"


def _restricted(fit: Fit) -> bool:
    return fit.estimator == "reml" or getattr(fit.options, "criterion", "") == "REML"


def _density(fit: Fit, v: Varying) -> str:
    """The density of `boundary_avoiding` for a term."""
    ratio = "τ" if fit.design.known_se else "(τ/σ)"
    if len(fit.design.blocks[v.block].terms) == 1:
        return f"{ratio}^1.5"
    return f"|S|^0.75, S the covariance of the terms{' / σ²' * (not fit.design.known_se)},"


def _sentences(comparison: Comparison, zero: Zero) -> Iterator[str]:
    v, hub, fits = zero.v, comparison.fits[zero.hub], comparison.fits
    label = f" of {named(v, varying(comparison))}" if len(varying(comparison)) > 1 else ""
    likelihood = "restricted likelihood" if _restricted(hub) else "likelihood"
    title = title_of(zero.hub)
    yield (
        f"{title} puts the spread{label} between the levels of {printable(v.group)} at zero because the {likelihood} "
        f"is largest there; {title} reports that one point and nothing of how slowly the {likelihood} falls beside it."
    )
    if "boundary_avoiding" in fits:
        yield _boundary(fits["boundary_avoiding"], hub, v, label)
    full = [fits[name] for name in BAYESIAN if name in fits]
    if full:
        yield _full(full, v, label)


def _boundary(fit: Fit, hub: Fit, v: Varying, label: str) -> str:
    multiplied = _density(fit, v).rstrip(",")
    sentence = (
        f"Boundary avoiding multiplies the {'restricted ' * _restricted(fit)}likelihood by {multiplied}, which is zero "
        f"at zero, so that its maximum must lie above: the SD{label} is {significant(_sd(fit, v))} (variance "
        f"{significant(_sd(fit, v) ** 2)})"
    )
    both = hub.log_likelihood is not None and fit.log_likelihood is not None
    if both and _restricted(hub) == _restricted(fit):
        drop = float(hub.log_likelihood) - float(fit.log_likelihood)  # type: ignore[arg-type]
        sentence += f", where the log likelihood alone is {significant(drop, 3)} lower"
    return sentence + "."


def _full(fits: list[Fit], v: Varying, label: str) -> str:
    """What full Bayes reports, and why it is above zero; one figure each where it was both integrated and sampled."""
    known = [fit for fit in fits if np.isfinite(_sd(fit, v))]
    sentence = (
        "Full Bayes takes no maximum: it averages over all spreads that the data leave possible, each weighted by "
        "likelihood times prior, and an average of positive values is not zero"
    )
    if known:
        values = [f"{significant(_sd(fit, v))}{f' ({title_of(fit.estimator)})' * (len(known) > 1)}" for fit in known]
        sentence += f": the posterior mean of the SD{label} is {join(values)}"
    low, high = _interval(fits[0], v)
    if np.isfinite([low, high]).all() and fits[0].parameters is not None:
        interval = fits[0].parameters.estimates.interval
        whose = (
            f"the {interval} interval by {title_of(fits[0].estimator)} is"
            if len(known) > 1
            else f"its {interval} interval"
        )
        sentence += f", {'and ' * (len(known) > 1)}{whose} from {significant(low)} to {significant(high)}"
    return sentence + "."

"""What each estimator and each of its stages costs, in wall seconds: the page's one place with wall times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.estimators import REGISTRY
from workbench.gap import called
from workbench.plots.style import title_of
from workbench.report.cells import Cell, Column, Table, text
from workbench.report.grid import WHOLE_BAYES
from workbench.report.prior_held import hub_of
from workbench.words import MISSING, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison

STAGES = ("compile", "sampling")


def costs(comparison: Comparison) -> Table:
    """Wall seconds of every fit, of its stages, and of all that it builds on; the page's one place with wall times."""
    measured = any(_stages(comparison, name) for name in comparison.fits)
    rows = []
    for name, fit in comparison.fits.items():
        needs = _needs(comparison, name)
        known = [comparison.fits[other].seconds for other in needs if other in comparison.fits]
        total = fit.seconds + sum(known) if len(known) == len(needs) else np.nan
        stages = _stages(comparison, name)
        rows.append(
            (
                text(title_of(name)),
                _seconds(fit.seconds),
                *((_seconds(stages.get(stage, np.nan)) for stage in STAGES) if measured else ()),
                text(", ".join(title_of(other) for other in needs)),
                _seconds(total),
            )
        )
    columns = (
        Column("estimator", numeric=False),
        Column("seconds"),
        *((Column("of which compiling"), Column("of which sampling")) if measured else ()),
        Column("builds on", numeric=False),
        Column("seconds in all"),
    )
    notes = (
        "Wall seconds on the machine that made this page, of the fit itself, without reading the data; in all: with "
        "the fits that it builds on. They are the only figures here that another run changes.",
    )
    return Table(
        "timings", "What each stage costs", columns, tuple(rows), (), notes, "tables/timings.csv",
        sentence=_cost(comparison), sortable=False,
    )  # fmt: skip


def _needs(comparison: Comparison, name: str) -> tuple[str, ...]:
    fit = comparison.fits[name]
    if name not in REGISTRY or fit.read_from is not None:
        return ()
    return tuple(REGISTRY[name].needed(fit.options, fit.design))


def _stages(comparison: Comparison, name: str) -> dict[str, float]:
    return dict(comparison.fits[name].diagnostics.get("seconds_by_stage", {}))


def _seconds(value: float) -> Cell:
    return Cell(significant(value, 3), float(value)) if np.isfinite(value) else Cell(MISSING)


def _cost(comparison: Comparison) -> str:
    """The price of the fixed prior beside that of the model that it builds on, and of full Bayes."""
    fits = comparison.fits
    hub = hub_of(fits)
    if hub is None or "fixed_prior" not in fits or hub not in _needs(comparison, "fixed_prior"):
        return ""
    first, then = fits[hub].seconds, fits["fixed_prior"].seconds
    if not np.isfinite([first, then]).all():
        return ""
    said = (
        f"{_capital(called(hub))} took {significant(first, 2)} seconds, and the fixed prior {significant(then, 2)} "
        "more on top of that."
    )
    whole = next((name for name in WHOLE_BAYES if name in fits and np.isfinite(fits[name].seconds)), None)
    return said + (f" {_capital(title_of(whole))} took {significant(fits[whole].seconds, 3)} seconds." if whole else "")


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]

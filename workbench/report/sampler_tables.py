"""Draws held to the exact posterior, as a table for people: the sampler's means less the exact ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.plots.varying import printable
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.extremes import WHOLE
from workbench.sampler_check import SamplerCheck
from workbench.words import MISSING, fixed, places_for

if TYPE_CHECKING:
    from workbench.comparison import Comparison

TITLE = "PyMC minus exact, in Monte Carlo errors"
FILE = "tables/sampler_check.csv"
FARTHEST = 15
"""Of more quantities than a page holds, the parameters are shown and so many of the coefficients farthest off."""


def sampler(comparison: Comparison, whole: int = WHOLE, farthest: int = FARTHEST) -> Table | None:
    """Posterior means by sampler and by quadrature, parameters first; None where there are not both.

    Of more than `whole` quantities the parameters are shown, and the `farthest` coefficients that lie farthest off.
    """
    check = comparison.sampling
    if check is None:
        return None
    shown = _shown(check, whole, farthest)
    rows: list[tuple[Cell, ...]] = [_row(check, i) for i in shown.tolist()]
    left_out = len(check.quantities) - len(shown)
    if left_out:
        rows.append((Cell(f"… and {left_out:,} more coefficients, less far off, all in {FILE}"),))
    columns = (
        Column("quantity", numeric=False),
        Column("PyMC"),
        Column("exact"),
        Column("difference"),
        Column("MC error"),
        Column("in MC errors"),
        *(Column(f"< {100 * p:.4g} %") for p in check.probabilities),
    )
    notes = (
        "Posterior means: of the draws, exact, their difference, the Monte Carlo standard error of the former, and the "
        "difference in units of it. The last columns, in Monte Carlo errors too: the shares of the draws below exact "
        "quantiles, less those probabilities.",
        *_of_levels(comparison, check),
    )
    return Table("sampler_check", TITLE, columns, tuple(rows), (), notes, FILE, sentence=check.sentence)


def _of_levels(comparison: Comparison, check: SamplerCheck) -> tuple[str, ...]:
    levels = len(comparison.design.blocks[0].levels)
    compared = sum(q.group is not None for q in check.quantities)
    return (f"Of {levels:,} levels {compared:,} are compared, evenly spread.",) if compared < levels else ()


def _shown(check: SamplerCheck, whole: int, farthest: int) -> NDArray[np.intp]:
    if len(check.quantities) <= whole:
        return np.arange(len(check.quantities))
    first = sum(q.group is None for q in check.quantities)
    off = np.nan_to_num(np.abs(check.z[first:, 0]), nan=-1.0)
    return np.concatenate([np.arange(first), first + np.argsort(-off, kind="stable")[:farthest]])


def _row(check: SamplerCheck, i: int) -> tuple[Cell, ...]:
    ours, exact, error = (float(values[i, 0]) for values in (check.sampled, check.exact, check.error))
    places = places_for([error], [exact])
    return (
        text(printable(str(check.quantities[i]), 40)),
        number(ours, places),
        number(exact, places),
        number(ours - exact, places),
        number(error, places),
        *(_off(float(z)) for z in check.z[i]),
    )


def _off(z: float) -> Cell:
    return Cell(fixed(z, 2), z) if np.isfinite(z) else Cell(MISSING)

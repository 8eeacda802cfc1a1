"""What simulations of one design come to, in sentences whose every number is computed from them.

Whether intervals hold the truth less often than promised is a one-sided t test of the simulations' means, adjusted by
Holm over all kinds of intervals and group sizes. A Monte Carlo error is never taken to be smaller than that of
independent intervals of the promised coverage: a handful of simulations that all agree prove nothing. Two estimators
are compared by their differences in the same simulations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.uniformity import holm
from workbench.rounding import places_of
from workbench.words import count, fixed, join, percent, significant

if TYPE_CHECKING:
    from workbench.calibration.coverage_result import Cell, Coverage
    from workbench.calibration.intervals import Key

Array = NDArray[np.float64]

DOUBT = 0.05
"""Probability of naming any interval that keeps its promise."""
SHOWN = 4
CLASSES = 4
MAXIMISED = ("reml", "laplace", "ml", "agq")
BAYES = ("exact", "hierarchical")
NO_MORE, ROUNDING = 2.0, 1e-6
"""Monte Carlo errors, and share of the whole, that a difference must exceed to be one."""


def sentences(found: Coverage) -> tuple[str, ...]:
    """Which intervals hold the truth too seldom; the fixed prior beside the maximised likelihood; full Bayes."""
    said = [_short(found)]
    likelihood = next((name for name in MAXIMISED if name in found.estimators), None)
    bayes = next((name for name in BAYES if name in found.estimators), None)
    if likelihood is None:
        return tuple(said)
    if "fixed_prior" in found.estimators:
        said.append(_beside(found, "fixed_prior", likelihood))
    if bayes is not None:
        said.append(_beside(found, bayes, likelihood))
    return tuple(said)


def shortfalls(found: Coverage) -> list[tuple[Key, Cell, float, float, bool]]:
    """Every kind of interval by group size, most short first: what it lacks, its Monte Carlo error, and whether more.

    The last says whether the share of intervals that hold the truth lies below the promised one by more than Monte
    Carlo error.
    """
    from scipy.stats import t

    rows, p_values = [], []
    for key in found.keys:
        for cell in found.cells(CLASSES):
            held = found.by_simulation(key, cell)[:, 0]
            held = held[np.isfinite(held)]
            if len(held) < 2:
                continue
            least = np.sqrt(found.level * (1 - found.level) / (len(held) * len(cell.places)))
            error = float(np.std(held, ddof=1) / np.sqrt(len(held)))
            lacks = found.level - float(held.mean())
            rows.append((key, cell, lacks, error))
            p_values.append(float(t.sf(lacks / max(error, least), len(held) - 1)))
    sure = (holm(np.array(p_values)) < DOUBT).tolist() if rows else []
    marked = [(*row, more) for row, more in zip(rows, sure, strict=True)]
    return sorted(marked, key=lambda row: -row[2])


def _short(found: Coverage) -> str:
    every = shortfalls(found)
    what = f"{100 * found.level:.4g} %"
    test = f"t tests at {100 * DOUBT:.0f} % in all, Holm's adjustment"
    worst = {key: (cell, lacks, error) for key, cell, lacks, error, more in reversed(every) if more}
    if not worst:
        return (
            f"No kind of interval holds the truth less often than in {what} of cases, beyond Monte Carlo error "
            f"({len(every):,} kinds and group sizes; {test})."
        )
    named = sorted(worst.items(), key=lambda item: -item[1][1])
    said = join(
        f"{_name(found, key)}: {fixed(100 * (found.level - lacks), 1)} % in {_cell(found, cell)} "
        f"({fixed(100 * lacks, 1)} points short, Monte Carlo error {significant(100 * error, 2)})"
        for key, (cell, lacks, error) in named[:SHOWN]
    )
    rest = f"; {count(len(named) - SHOWN, 'kind')} more" if len(named) > SHOWN else ""
    return (
        f"These hold the truth less often than in {what} of cases, beyond Monte Carlo error ({test}; each where it is "
        f"worst): "
        f"{said}{rest}."
    )


def _beside(found: Coverage, name: str, likelihood: str) -> str:
    """Squared error and width of one estimator's coefficients beside the maximised likelihood's, smallest groups."""
    one, other = (next(key for key in found.keys if key[:2] == (n, "coefficient")) for n in (name, likelihood))
    cell = found.cells(CLASSES)[0]
    a, b = found.by_simulation(one, cell), found.by_simulation(other, cell)
    both = np.isfinite(a[:, 2]) & np.isfinite(b[:, 2])
    if both.sum() < 2:
        return f"No simulated responses were fitted by both {_title(name)} and {_title(likelihood)}."
    a, b = a[both].mean(axis=0), b[both].mean(axis=0)
    difference = found.by_simulation(one, cell)[both, 2] - found.by_simulation(other, cell)[both, 2]
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    change = float(a[2] - b[2])
    differs = abs(change) > max(NO_MORE * error, ROUNDING * b[2])
    verdict = f"{'higher' if change > 0 else 'lower'} by {percent(abs(change) / b[2])}" if differs else "no different"
    return (
        f"In {_cell(found, cell)}, the mean squared error of {_title(name)} is {significant(float(a[2]))}, that of "
        f"{_title(likelihood)} {significant(float(b[2]))}: {verdict} (Monte Carlo error of the difference "
        f"{significant(error, 2)}). Its intervals hold the truth in {fixed(100 * a[0], 1)} % of cases and are "
        f"{fixed(a[1], places_of(a[1], 3))} wide; those of {_title(likelihood)}'s {other[2]} hold it in "
        f"{fixed(100 * b[0], 1)} %, {fixed(b[1], places_of(b[1], 3))} wide."
    )


def _title(name: str) -> str:
    from workbench.estimators import REGISTRY

    return REGISTRY[name].title


def _name(found: Coverage, key: Key) -> str:
    several = len({k[1] for k in found.keys}) > 1
    return f"{_title(key[0])}, {key[2].partition(',')[0]}{f' of the {key[1]}' if several else ''}"


def _cell(found: Coverage, cell: Cell) -> str:
    """A cell in words, with factor and term where there are several."""
    where = f"groups of {cell.size}"
    if len(set(zip(found.groups, found.terms, strict=True))) > 1:
        where += f" ({cell.term} by {cell.group})"
    return where

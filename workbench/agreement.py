"""How far estimators lie apart (*agreement*), and how much of a group's own deviation each takes away (*shrinkage*).

    shrinkage factor = 1 - (c - m) / (c_alone - m)

with c the estimator's coefficient of a group, m its population value, and c_alone the group's coefficient without
pooling. It is 0 without pooling, 1 with complete pooling, and 1 - tau^2 / (tau^2 + sigma^2 / n_j) for one varying
intercept. With several varying terms that are correlated it may lie outside [0, 1]: a slope may be moved by what its
group's intercept tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.estimates import GroupEffects
from workbench.fit import Fit, text_column

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

PAIRS = ("estimator1", "estimator2", "group", "term", "levels", "max_difference", "rms_difference", "level")


def agreement_table(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """One row for each pair of estimators, grouping factor and term, with the columns `PAIRS`."""
    import pandas as pd

    rows = []
    for (name1, fit1), (name2, fit2) in combinations(fits.items(), 2):
        for part1, part2 in zip(fit1.group_effects, fit2.group_effects, strict=True):
            difference = part1.coefficient.estimate - part2.coefficient.estimate
            for k, term in enumerate(part1.terms):
                rows.append((name1, name2, part1.group, term, *_apart(difference[:, k], part1.levels)))
    return pd.DataFrame(rows, columns=list(PAIRS))


def _apart(difference: Array, levels: Sequence[str]) -> tuple[int, float, float, str]:
    """How many levels both estimate, the largest and the root mean square difference, and where the largest is."""
    known = np.flatnonzero(np.isfinite(difference))
    if not len(known):
        return 0, np.nan, np.nan, ""
    gaps = np.abs(difference[known])
    worst = int(np.argmax(gaps))
    return len(known), float(gaps[worst]), float(np.sqrt(np.mean(gaps**2))), levels[known[worst]]


def shrinkage_table(fits: Mapping[str, Fit], alone: Fit | None) -> pd.DataFrame:
    """One row for each estimator, grouping factor, level and term, with the shrinkage factor.

    `alone` is the fit without pooling; without one the factors are missing.
    """
    import pandas as pd

    tables = []
    for name, fit in fits.items():
        for index, part in enumerate(fit.group_effects):
            own = None if alone is None else alone.group_effects[index].coefficient.estimate
            tables.append(_shrinkage_rows(name, part, own))
    return pd.concat(tables, ignore_index=True)


def _shrinkage_rows(name: str, part: GroupEffects, alone: Array | None) -> pd.DataFrame:
    import pandas as pd

    J, q = len(part.levels), len(part.terms)
    c = part.coefficient.estimate
    population = c - part.effect.estimate
    own = np.full((J, q), np.nan) if alone is None else alone
    gap = own - population
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(np.abs(gap) > 1e-12 * (1 + np.abs(own)), 1 - part.effect.estimate / gap, np.nan)
    every = np.zeros(J * q, dtype=np.intp)
    return pd.DataFrame(
        {
            "estimator": text_column([name], every),
            "group": text_column([part.group], every),
            "level": text_column(part.levels, np.repeat(np.arange(J), q)),
            "term": text_column(part.terms, np.tile(np.arange(q), J)),
            "n": np.repeat(part.sizes, q),
            "no_pooling": own.ravel(),
            "population": population.ravel(),
            "estimate": c.ravel(),
            "shrinkage": factor.ravel(),
        }
    )

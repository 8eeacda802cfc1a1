"""A wide design of known truth: many covariates, few of which matter, and few rows of each of many groups.

    y_i = 1 + sum_k x_ik b_k + u_{j(i)} + e_i,     u_j ~ N(0, 1),     e_i ~ N(0, 1)

Covariates are standard normal, neighbours correlated by one half; ten of them have coefficients of either sign and a
size between 0.15 and 0.6, the others none. Groups have one to five rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only

Array = NDArray[np.float64]

ACTIVE, MOST_ROWS, NEIGHBOURS = 10, 5, 0.5
DECIMALS = 4


@dataclass(frozen=True, eq=False)
class WideDesign:
    """A table with the columns ``y``, ``member``, ``x1``, ``x2``, ...; `coefficients` (p,) and `intercepts` (J,)."""

    table: dict[str, NDArray[np.generic]]
    coefficients: Array
    intercepts: Array

    @property
    def formula(self) -> str:
        """``y ~ x1 + x2 + ... + (1 | member)``."""
        return f"y ~ {' + '.join(f'x{k + 1}' for k in range(len(self.coefficients)))} + (1 | member)"


def wide_design(groups: int, covariates: int, seed: int) -> WideDesign:
    """Simulate a wide design; numbers are rounded to four decimals, as a file keeps them.

    Examples
    --------
    >>> made = wide_design(200, 60, 7)
    >>> len(made.table["y"]), int((made.coefficients != 0).sum()), made.table["x1"][:3].tolist()
    (617, 10, [-2.0353, -0.6712, -1.5135])
    """
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), rng.integers(1, MOST_ROWS + 1, groups))
    fresh = rng.normal(size=(len(codes), covariates))
    X = fresh.copy()
    for k in range(1, covariates):
        X[:, k] = NEIGHBOURS * X[:, k - 1] + np.sqrt(1 - NEIGHBOURS**2) * fresh[:, k]
    X = X.round(DECIMALS)
    b = np.zeros(covariates)
    where = rng.choice(covariates, ACTIVE, replace=False)
    b[where] = (rng.choice([-1, 1], ACTIVE) * rng.uniform(0.15, 0.6, ACTIVE)).round(DECIMALS)
    intercepts = (1 + rng.normal(size=groups)).round(DECIMALS)
    y = (intercepts[codes] + X @ b + rng.normal(size=len(codes))).round(DECIMALS)
    width = len(str(groups))
    names = np.array([f"m{j + 1:0{width}d}" for j in range(groups)])
    table: dict[str, NDArray[np.generic]] = {"y": y, "member": names[codes]}
    table |= {f"x{k + 1}": X[:, k] for k in range(covariates)}
    return WideDesign(table, read_only(b), read_only(intercepts))

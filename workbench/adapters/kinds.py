"""What the numbers of a table are called: in its own words, in broom.mixed's, or as given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.columns import Columns
from workbench.errors import DataError
from workbench.estimates import Estimates
from workbench.words import join

Array = NDArray[np.float64]

SAMPLED = ("r_hat", "ess_bulk", "ess_tail")


@dataclass(frozen=True)
class Kinds:
    """What the numbers of a table are called.

    `ours`: the table says itself. `tested`: population coefficients have test statistics, which those of draws do not.
    """

    source: str
    ours: bool
    tested: bool

    @classmethod
    def of(cls, table: Columns, fixed: Columns) -> Kinds:
        """What a table shows of itself; `fixed` are its rows of population coefficients."""
        return cls(table.source, "std_error_kind" in table, bool(np.isfinite(fixed.numbers("statistic")).any()))

    def estimates(self, table: Columns, effect: str, column: str = "estimate") -> Estimates:
        """The numbers of a table with their kinds in words."""
        numbers = {name: table.numbers(name) for name in ("std_error", "conf_low", "conf_high")}
        _refuse_impossible(self.source, numbers)
        sampled = {name: table.numbers(name) for name in SAMPLED if name in table}
        words = self._own(table) if self.ours else self._broom(effect, numbers)
        known: dict[str, Any] = {name: values for name, values in sampled.items() if np.isfinite(values).any()}
        return Estimates(table.numbers(column), **(numbers | words | known))

    def _own(self, table: Columns) -> dict[str, str]:
        return {
            name: join([word for word in dict.fromkeys(table.text(name)) if word], "or") or f"as given by {self.source}"
            for name in ("point", "std_error_kind", "interval")
        }

    def _broom(self, effect: str, numbers: Mapping[str, Array]) -> dict[str, str]:
        of_modes = {"fixed": "SE", "ran_vals": "conditional SD", "ran_coefs": "SE"}[effect]
        points = {"fixed": "estimate", "ran_vals": "conditional mode", "ran_coefs": "coefficient"}
        error = of_modes if self.tested else f"{of_modes} or posterior SD"
        given = {
            "point": f"{points[effect] if self.tested else 'estimate'} (broom.mixed)",
            "std_error_kind": f"{error} (broom.mixed)",
            "interval": interval_words(numbers, self.source),
        }
        none = f"none: {self.source} gives none"
        if not np.isfinite(numbers["std_error"]).any():
            given["std_error_kind"] = none
        if not np.isfinite(numbers["conf_low"]).any():
            given["interval"] = none
        return given


def _refuse_impossible(source: str, numbers: Mapping[str, Array]) -> None:
    """Refuse standard errors below zero, and intervals that end below their start."""
    negative = numbers["std_error"][numbers["std_error"] < 0]
    if len(negative):
        raise DataError(
            f"{source} has the standard error {negative[0]:g}: none can be negative. Is the column another figure?"
        )
    turned = np.flatnonzero(numbers["conf_low"] > numbers["conf_high"])
    if len(turned):
        low, high = (float(numbers[name][turned[0]]) for name in ("conf_low", "conf_high"))
        raise DataError(f"{source} has an interval from {low:g} to {high:g}. Exchange its two columns.")


def wald_level(numbers: Mapping[str, Array]) -> float | None:
    """The probability of intervals that are a standard error times one number wide; None where they are not."""
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = (numbers["conf_high"] - numbers["conf_low"]) / 2 / numbers["std_error"]
    reach = reach[np.isfinite(reach)]
    if not len(reach) or np.ptp(reach) > 1e-3 * reach.mean():
        return None
    p = 2 * NormalDist().cdf(float(np.median(reach))) - 1
    return round(p, 3) if abs(p - round(p, 3)) < 1e-4 and 0 < round(p, 3) < 1 else None


def interval_words(numbers: Mapping[str, Array], source: str) -> str:
    """What kind intervals are, as far as they show it."""
    p = wald_level(numbers)
    return f"as given by {source}" if p is None else f"Wald {100 * p:.4g} %, as given by {source}"

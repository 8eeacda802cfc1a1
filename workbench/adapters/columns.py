"""The columns of a table of estimates, whatever they are called there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ComparisonError, DataError, nearest
from workbench.tables import collect
from workbench.words import join

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]
Places = NDArray[np.intp]

NAMES: Mapping[str, tuple[str, ...]] = {
    "estimate": ("estimate", "est", "value"),
    "coefficient": ("coefficient", "coef", "ran_coef"),
    "deviation": ("deviation", "effect", "ranef", "blup", "condval", "random effect"),
    "std_error": ("std_error", "se", "stderr", "standard_error", "condsd", "posterior_sd", "est_error"),
    "conf_low": ("conf_low", "lower", "lwr", "ci_low", "low", "lower_ci", "ci_lower", "lower_cl", "lcl"),
    "conf_high": ("conf_high", "upper", "upr", "ci_high", "high", "upper_ci", "ci_upper", "upper_cl", "ucl"),
    "level": ("level", "grp"),
    "group": ("group", "grpvar"),
    "term": ("term",),
    "n": ("n",),
    "statistic": ("statistic",),
    "component": ("component",),
    "response": ("response",),
    "estimator": ("estimator",),
    "r_hat": ("r_hat", "rhat"),
    "ess_bulk": ("ess_bulk", "ess"),
    "ess_tail": ("ess_tail",),
    "point": ("point",),
    "std_error_kind": ("std_error_kind",),
    "interval": ("interval",),
}
"""What columns may be called; case, blanks and dots do not count."""
PROBABILITY = re.compile(r"(?:\[|q|x|l-|u-)?(\d*\.?\d+)(%?)(?:ci)?(?:\]|\.*)")
"""The name of a column of quantiles, without blanks: ``2.5 %``, ``Q97.5``, ``[0.025``, ``0.975]``, R's ``X2.5..``."""
UNREAD = ("", "df", "pvalue", "tvalue", "zvalue", "t", "z", "pr(>|t|)", "pr(>|z|)", "rownames", "x", "unnamed:0")
"""Columns that say nothing of what is compared: they are left out without a remark."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a table under our names, and what the table is called in messages."""

    source: str
    values: Mapping[str, list[Any]]
    unread: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> list[str | None]:
        """A column of labels; None where it is empty, or not there."""
        found = self.values.get(name)
        if found is None:
            return [None] * len(self)
        return [None if _empty(value) else str(value) for value in found]

    def numbers(self, name: str) -> Array:
        """A column of numbers, NaN where it is empty or not there."""
        found = self.values.get(name)
        if found is None:
            return np.full(len(self), np.nan)
        try:
            return np.array([np.nan if _empty(value) else float(value) for value in found])
        except (TypeError, ValueError):
            wrong = next(value for value in found if not _empty(value) and not _number(value))
            point = str(wrong).replace(",", ".")
            mend = f"Write it with a point, {point}." if _number(point) and point != str(wrong) else "Mend it."
            raise DataError(
                f"The column {name} of {self.source} holds {wrong!r} where a number is needed. {mend}"
            ) from None

    def __len__(self) -> int:
        return len(next(iter(self.values.values()))) if self.values else 0

    def at(self, rows: Places) -> Columns:
        """Some of the rows."""
        picked = {name: [values[k] for k in rows.tolist()] for name, values in self.values.items()}
        return Columns(self.source, picked, self.unread)


# --- reading them ------------------------------------------------------------------------------------------


def which_of(source: Any) -> tuple[Any, str | None]:
    """A path without the estimator that it may name after a colon."""
    if isinstance(source, str | Path) and not Path(source).exists():
        path, colon, name = str(source).rpartition(":")
        if colon and Path(path).is_file():
            return path, name
    return source, None


def columns_of(source: Any, design: Design) -> Columns:
    """Read a table: the columns that are known here, a column called as a grouping factor as that of levels."""
    called = Path(source).name if isinstance(source, str | Path) else "the table given"
    frame = collect(source, [])
    theirs = {_plain_name(name): name for name in reversed(frame.columns)}
    groups = {_plain_name(group): group for group in design.groups}
    found: dict[str, str] = {}
    for ours, names in NAMES.items():
        for name in names:
            if _plain_name(name) in theirs and ours not in found:
                found[ours] = theirs[_plain_name(name)]
    if not {"conf_low", "conf_high"} & set(found):
        found |= _quantiles(frame.columns)
    values = {ours: frame.get_column(name).to_list() for ours, name in found.items()}
    if "condsd" in theirs:  # lme4's as.data.frame(ranef(fit)), which says what it is
        values["condsd"] = values["std_error"]
    if "level" not in values:  # a column that is called as the grouping factor is
        own = [name for name in theirs if name in groups]
        if len(own) == 1:
            count = frame.shape[0]
            found["level"] = theirs[own[0]]
            values |= {"level": frame.get_column(found["level"]).to_list(), "group": [groups[own[0]]] * count}
    if "deviation" in values and any(isinstance(v, str) and not _number(v) for v in values["deviation"]):
        values["kind"] = values.pop("deviation")  # the column effect, of tidy rows
    if not {"estimate", "coefficient", "deviation"} & set(values):
        from workbench.adapters.wide import long_columns

        wide = long_columns(frame, design, called)
        if wide is not None:
            return Columns(called, wide)
        raise DataError(
            f"{called} has no column of estimates. It has {join([name for name in frame.columns if name][:12])}; call "
            "the numbers estimate, coefficient (population value + deviation) or deviation."
        )
    unread = [name for name in frame.columns if name not in found.values() and _plain_name(name) not in UNREAD]
    table = Columns(called, values, tuple(unread))
    filled = [any(not _empty(value) for value in row) for row in frame.rows()]  # a spreadsheet's last rows may be blank
    return table if all(filled) else table.at(np.flatnonzero(filled))


def _quantiles(names: Sequence[str]) -> dict[str, str]:
    """The columns of an interval that are called by their probabilities, p and 1 - p; none where there are several.

    Examples
    --------
    >>> _quantiles(["Estimate", "Q2.5", "Q97.5"]), _quantiles(["2.5 %", "25 %", "75 %", "97.5 %"])
    ({'conf_low': 'Q2.5', 'conf_high': 'Q97.5'}, {})
    """
    found: dict[float, str] = {}
    for name in names:
        match = PROBABILITY.fullmatch(str(name).lower().replace(" ", ""))
        if match:
            percent = match[2] or float(match[1]) >= 1
            found[round(float(match[1]) / (100 if percent else 1), 6)] = name
    pairs = [(low, found[round(1 - p, 6)]) for p, low in found.items() if p < 0.5 and round(1 - p, 6) in found]
    return dict(zip(("conf_low", "conf_high"), pairs[0], strict=True)) if len(pairs) == 1 else {}


def _plain_name(name: str) -> str:
    return "".join(c for c in str(name).lower() if c not in " ._")


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def one_estimator(table: Columns, chosen: str | None, hint: str | None) -> Columns:
    """The rows of one estimator; a ComparisonError where several are there and none is named."""
    every = table.text("estimator")
    known = [name for name in dict.fromkeys(every) if name is not None]
    if chosen is not None and chosen not in known:
        raise ComparisonError(
            f"{table.source} has no estimator {chosen!r}. "
            + (nearest(chosen, known) if known else "Its rows name none: leave the colon and what follows out.")
        )
    if chosen is None and len(known) > 1:
        chosen = hint if hint in known else None
        if chosen is None:
            raise ComparisonError(
                f"{table.source} holds several estimators, {join(known)}. Say which one, "
                f'"{table.source}:{known[0]}", or keep the rows of one.'
            )
    if chosen is None:
        return table
    kept = table.at(np.array([k for k, name in enumerate(every) if name == chosen], dtype=np.intp))
    return Columns(f"{table.source}:{chosen}", kept.values, table.unread)

"""The loss of rows that are left out, along a ray of penalties, and the choice.

The loss is the deviance at dispersion 1 of the rows of a fold, predicted from the others, per unit of weight. lambda
is that of equation 1 and *not* multiplied by the number of rows: it stands for sigma^2/tau^2, which does not grow with
the data, so that a fold's fit shrinks a group of which it sees fewer rows by a little more.

`se` is the standard error of the mean over folds as if they were independent, which they are not quite; rule
``one_se`` takes the strongest penalty whose loss lies within one of it above the smallest (Breiman, Friedman, Olshen &
Stone 1984, Classification and Regression Trees, section 3.4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.errors import OptionError, nearest
from workbench.penalised.folds import FOLDS
from workbench.penalised.regression import Regression, Solution, path

Array = NDArray[np.float64]

RULES = ("min", "one_se")
FLAT = 1e-12


def check_choice(folds: Any, fold_count: Any, rule: Any, grid: Any) -> None:
    """Refuse options of cross-validation that are none, with an OptionError."""
    for name, value, known in (("folds", folds, FOLDS), ("rule", rule, RULES)):
        if value not in known:
            raise OptionError(f"{name} is {value!r}. {nearest(str(value), known)}")
    for name, value, least in (("fold_count", fold_count, 2), ("grid", grid, 3)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise OptionError(f"{name} is {value!r}, but must be a whole number of at least {least}.")


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The curve: `strengths`, the largest first, mean `loss` and its `se`, shape (L,) each; what follows from them."""

    strengths: Array
    loss: Array
    se: Array
    rule: str
    folds: int

    def __post_init__(self) -> None:
        for name in ("strengths", "loss", "se"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))

    @property
    def best(self) -> int:
        """Where the loss is smallest; the strongest penalty of those that tie."""
        return int(np.argmax(self.loss <= self.loss.min() + FLAT * abs(self.loss.min())))

    @property
    def chosen(self) -> int:
        """The place that the rule chooses."""
        if self.rule == "min":
            return self.best
        return int(np.argmax(self.loss <= self.loss[self.best] + self.se[self.best]))

    @property
    def strength(self) -> float:
        """The strength that is chosen."""
        return float(self.strengths[self.chosen])

    @property
    def at_end(self) -> str:
        """Whether the smallest loss is at the end of the grid: "strongest", "weakest" or ""."""
        return {0: "strongest", len(self.loss) - 1: "weakest"}.get(self.best, "")


def cross_validate(
    problem: Regression, l1: Array, l2: Array, strengths: Array, fold: NDArray[np.intp], rule: str
) -> CrossValidation:
    """Cross-validate the penalties times each of `strengths`; `fold` is that of every row, shape (n,)."""

    def losses(left_out: NDArray[np.bool_]) -> tuple[Array, float]:
        rest, rows = problem.rows(np.flatnonzero(~left_out)), problem.rows(np.flatnonzero(left_out))
        found: list[Solution] = path(rest, l1, l2, strengths)
        return np.array([rows.loss(at) for at in found]), float(rows.weights.sum())

    return curve(losses, strengths, fold, rule)


def curve(
    losses: Callable[[NDArray[Any]], tuple[Array, float]], strengths: Array, fold: NDArray[np.intp], rule: str
) -> CrossValidation:
    """Collect the losses of every fold: `losses` takes the rows left out, (n,), to losses, (L,), and their weight."""
    count = int(fold.max()) + 1
    parts = [losses(fold == k) for k in range(count)]
    totals, weights = np.array([loss for loss, _ in parts]), np.array([weight for _, weight in parts])
    means, share = totals / weights[:, None], weights / weights.sum()
    mean = share @ means
    se = np.sqrt(share @ (means - mean) ** 2 / max(count - 1, 1))
    return CrossValidation(strengths, mean, se, rule, count)

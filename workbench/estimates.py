"""Numbers with their labels: what fits are made of.

A number never travels without its label. :class:`Estimates` carries, beside the numbers, what kind the point is
(``BLUP``, ``posterior mean``), what kind the standard error is (``conditional SD``, ``posterior SD``, ``sampling SE``)
and what kind the interval is, written by whoever computed them. No later layer renames them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import RandomBlock

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_ARRAYS = ("estimate", "std_error", "conf_low", "conf_high", "median", "r_hat", "ess_bulk", "ess_tail")


class Criterion(float):
    """The value of an estimator's objective at its optimum: a float that knows its name.

    `name` is ``REML`` (lme4's REMLcrit) or ``deviance`` (-2 log likelihood). REML criteria of models with different
    fixed effects are not comparable.
    """

    name: str

    def __new__(cls, value: float, name: str) -> Criterion:
        """Make a criterion of a value and its name."""
        made = super().__new__(cls, value)
        made.name = name
        return made

    def __reduce__(self) -> tuple[type[Criterion], tuple[float, str]]:
        """What pickle and copy make it of again."""
        return type(self), (float(self), self.name)

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Numbers of one shape with their errors, intervals and labels.

    Attributes
    ----------
    estimate, std_error, conf_low, conf_high : array, all of one shape
    point, std_error_kind, interval : str
        What kind each number is, in words.
    median, r_hat, ess_bulk, ess_tail : array of the same shape, or None
        For posterior draws.
    """

    estimate: Array
    std_error: Array
    conf_low: Array
    conf_high: Array
    point: str
    std_error_kind: str
    interval: str
    median: Array | None = None
    r_hat: Array | None = None
    ess_bulk: Array | None = None
    ess_tail: Array | None = None

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, read_only(values, np.float64))

    @classmethod
    def wald(cls, estimate: Array, std_error: Array, level: float, point: str, std_error_kind: str) -> Estimates:
        """Estimates with normal intervals, estimate +- z times standard error."""
        reach = NormalDist().inv_cdf(0.5 + level / 2) * np.asarray(std_error)
        centre = np.asarray(estimate)
        return cls(
            centre,
            np.asarray(std_error),
            centre - reach,
            centre + reach,
            point,
            std_error_kind,
            f"Wald {100 * level:.4g} %",
        )

    @classmethod
    def points(cls, estimate: Array, point: str, why: str) -> Estimates:
        """Estimates that no standard error belongs to; `why` stands in place of its kind."""
        none = np.full(np.shape(estimate), np.nan)
        return cls(np.asarray(estimate), none, none, none, point, f"none: {why}", f"none: {why}")

    def at(self, places: Any) -> Estimates:
        """Those at some places, with the same labels."""
        every = ((name, getattr(self, name)) for name in _ARRAYS)
        arrays: dict[str, Any] = {name: None if values is None else values[places] for name, values in every}
        return replace(self, **arrays)

    def tidy(self) -> dict[str, Any]:
        """Flatten to the columns of a tidy table that hold numbers and labels."""
        columns: dict[str, Any] = {
            name: getattr(self, name).ravel() for name in ("estimate", "std_error", "conf_low", "conf_high")
        }
        columns |= {"point": self.point, "std_error_kind": self.std_error_kind, "interval": self.interval}
        for name in ("r_hat", "ess_bulk", "ess_tail"):
            values = getattr(self, name)
            columns[name] = np.nan if values is None else values.ravel()
        return columns


@dataclass(frozen=True, eq=False)
class Component:
    """The covariance matrix, shape (q, q), of one random block ``(terms | group)``."""

    group: str
    terms: tuple[str, ...]
    covariance: Array

    @property
    def sd(self) -> Array:
        """Standard deviations, shape (q,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> Array:
        """Correlation matrix, shape (q, q); NaN beside a standard deviation of zero."""
        scale = np.outer(self.sd, self.sd)
        with np.errstate(invalid="ignore", divide="ignore"):
            matrix = np.where(scale > 0, self.covariance / scale, np.nan)
        np.fill_diagonal(matrix, 1.0)
        return matrix


@dataclass(frozen=True, eq=False)
class GroupEffects:
    """The effects and coefficients of one random block; all arrays of shape (J, q)."""

    group: str
    levels: Sequence[str]
    sizes: NDArray[np.intp]
    terms: tuple[str, ...]
    effect: Estimates
    coefficient: Estimates


@dataclass(frozen=True, eq=False)
class Parameters:
    """Named scalar parameters of a Bayesian fit, with posterior mean, SD, interval and median."""

    names: tuple[str, ...]
    estimates: Estimates


def wald_effects(
    blocks: Sequence[RandomBlock],
    effect: tuple[Array, Array],
    coefficient: tuple[Array, Array],
    level: float,
    kinds: tuple[str, str, str, str],
) -> tuple[GroupEffects, ...]:
    """Effects and coefficients of the random blocks of one grouping factor, with normal intervals.

    Parameters
    ----------
    blocks : sequence of RandomBlock
    effect, coefficient : pair of arrays (J, q)
        Estimates and standard errors, the columns of all blocks side by side.
    level : float
    kinds : four str
        Point and standard-error kind of the effects, then of the coefficients.
    """
    parts, start = [], 0
    for block in blocks:
        where = slice(start, start + len(block.terms))
        start = where.stop
        parts.append(
            GroupEffects(
                group=block.group,
                levels=block.levels,
                sizes=block.sizes,
                terms=block.terms,
                effect=Estimates.wald(effect[0][:, where], effect[1][:, where], level, *kinds[:2]),
                coefficient=Estimates.wald(coefficient[0][:, where], coefficient[1][:, where], level, *kinds[2:]),
            )
        )
    return tuple(parts)


def table(make: Callable[[Any], pd.DataFrame]) -> property:
    """A property whose dataframe is made once; what the user does to the one in hand does not reach the next."""
    slot = f"_{make.__name__}"

    def get(owner: Any) -> pd.DataFrame:
        if slot not in owner.__dict__:
            owner.__dict__[slot] = make(owner)
        made: pd.DataFrame = owner.__dict__[slot]
        return made.copy(deep=False)  # pandas copies on write

    return property(get, doc=make.__doc__)


def plain(value: Any) -> Any:
    """Python numbers and lists of arrays, for JSON; what is not finite becomes None.

    Examples
    --------
    >>> plain(np.array([[1.0, np.nan], [0.1, 2.0]]))
    [[1.0, None], [0.1, 2.0]]
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()] if value.ndim else plain(value.item())
    if isinstance(value, list):
        return [plain(item) for item in value]
    number = float(value)
    return number if np.isfinite(number) else None

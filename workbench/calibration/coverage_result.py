"""What simulations of one design found: figures of every interval, their means by group size, what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.intervals import FIGURES, Key
from workbench.data import read_only
from workbench.estimates import plain, table
from workbench.words import count, percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

CLASSES = 4
"""Groups of more different sizes than this are put into so many classes, where every size by itself is too much."""


@dataclass(frozen=True)
class Cell:
    """The intervals of one grouping factor and term in groups of `low` to `high` rows; `places` are theirs of M."""

    group: str
    term: str
    low: int
    high: int
    places: tuple[int, ...]

    @property
    def size(self) -> str:
        """The number of rows, in words."""
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True, eq=False)
class Coverage:
    """Intervals against known truths, over many simulations of one design.

    Attributes
    ----------
    formula, family : str
    truth : mapping of str to float
        Every parameter by name, the same in every simulation.
    source : str
        Where these come from, in words.
    level : float
    seed, asked : int
        `asked` simulations were wanted; fewer are there where `interrupted`.
    interrupted : bool
    priors : mapping of str to str
        As given; what is not named has the default for each simulated response.
    keys : tuple of (estimator, quantity, standard-error kind)
        The K kinds of intervals; quantity is ``coefficient`` or ``effect``.
    groups, terms : tuple of str
        Grouping factor and varying term of the M intervals of each kind, block by block and level by level.
    sizes : tuple of int
        Rows in their groups.
    figures : array, shape (simulations, K, M, 4)
        Of every interval: whether it holds the truth, its width, the squared distance of the estimate from the truth,
        whether it has no width. NaN where an estimator refused the response, or has no such number.
    refusals : mapping of str to tuple of str
        By estimator, one sentence per response that it refused.
    left_out : tuple of str
        One sentence per estimator that does not take this design.
    """

    formula: str
    family: str
    truth: Mapping[str, float]
    source: str
    level: float
    seed: int
    asked: int
    interrupted: bool
    priors: Mapping[str, str]
    keys: tuple[Key, ...]
    groups: tuple[str, ...]
    terms: tuple[str, ...]
    sizes: tuple[int, ...]
    figures: Array
    refusals: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", read_only(self.figures))

    # --- by group size --------------------------------------------------------------------------------

    @property
    def simulations(self) -> int:
        """How many were finished."""
        return len(self.figures)

    @property
    def estimators(self) -> tuple[str, ...]:
        """Those that were fitted."""
        return tuple(dict.fromkeys(key[0] for key in self.keys))

    def cells(self, most: int | None = None) -> tuple[Cell, ...]:
        """Intervals by grouping factor, term and group size, smallest first; sizes in `most` classes at the most."""
        found = []
        sizes = np.array(self.sizes)
        for group, term in dict.fromkeys(zip(self.groups, self.terms, strict=True)):
            own = np.array([pair == (group, term) for pair in zip(self.groups, self.terms, strict=True)])
            for low, high in _classes(sizes[own], most):
                places = np.flatnonzero(own & (low <= sizes) & (sizes <= high))
                found.append(Cell(group, term, low, high, tuple(places.tolist())))
        return tuple(found)

    def by_simulation(self, key: Key, cell: Cell) -> Array:
        """The figures of one kind of interval in every simulation, means over a cell's groups, shape (S, 4).

        Means are over the groups that have the figure; NaN where none has.
        """
        own = self.figures[:, self.keys.index(key)][:, list(cell.places)]
        known = np.isfinite(own)
        if known.all():
            return np.asarray(own.mean(axis=1))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, own, 0.0).sum(axis=1) / known.sum(axis=1))

    def means(self, key: Key, cell: Cell) -> Mapping[str, tuple[float, float]]:
        """The mean of each of the `FIGURES` over simulations, with its Monte Carlo error; NaN where there is none."""
        by_simulation = self.by_simulation(key, cell)
        return {name: _mean(by_simulation[:, k]) for k, name in enumerate(FIGURES)}

    @table
    def summary(self) -> pd.DataFrame:
        """One row per kind of interval, grouping factor, term and group size.

        Columns ``estimator, quantity, std_error_kind, group, term, n, groups, simulations``, then means over all groups
        of the size with their Monte Carlo errors: ``coverage, coverage_error, width, width_error, squared_error,
        squared_error_error``; ``zero_width``, the share of intervals that are points; and ``missing``, the share of
        estimates that are not there (refused responses not counted). The errors are of means of independent
        simulations: groups of one simulation share its estimates.
        """
        return self._rows(None).drop(columns="n_to").rename(columns={"n_from": "n"})

    def by_size(self, classes: int = CLASSES) -> pd.DataFrame:
        """As `summary`, with groups of neighbouring sizes together: ``n_from`` and ``n_to`` in place of ``n``.

        Where there are more than `classes` different sizes, each class has about as many groups.
        """
        return self._rows(classes)

    def _rows(self, classes: int | None) -> pd.DataFrame:
        import pandas as pd

        rows, cells = [], self.cells(classes)
        for key in self.keys:
            for cell in cells:
                row: dict[str, Any] = dict(zip(("estimator", "quantity", "std_error_kind"), key, strict=True))
                row |= {"group": cell.group, "term": cell.term, "n_from": cell.low, "n_to": cell.high}
                done = int(np.isfinite(self.by_simulation(key, cell)[:, 2]).sum())
                row |= {"groups": len(cell.places), "simulations": done}
                means = self.means(key, cell)
                for name in FIGURES[:3]:
                    row[name], row[f"{name}_error"] = means[name]
                rows.append(row | {"zero_width": means["zero_width"][0], "missing": self._missing(key, cell)})
        return pd.DataFrame(rows)

    def _missing(self, key: Key, cell: Cell | None = None) -> float:
        """The share of estimates that are not there, of responses that were not refused."""
        own = self.figures[:, self.keys.index(key), :, 2]
        fitted = np.isfinite(own).any(axis=1)
        own = own[fitted] if cell is None else own[fitted][:, list(cell.places)]
        return float(np.isnan(own).mean()) if own.size else 0.0

    # --- in words -------------------------------------------------------------------------------------

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known of the simulations, in words."""
        found = []
        if self.interrupted:
            found.append(f"Interrupted after {self.simulations:,} of {self.asked:,} simulations.")
        found += self.left_out
        for name, said in self.refusals.items():
            found.append(
                f"{name} refused {len(said):,} of {count(self.simulations, 'simulated response')}, which its figures "
                f"leave out. {said[0]}"
            )
        for name in self.estimators:
            missing = self._missing(next(key for key in self.keys if key[0] == name))
            if missing:
                found.append(
                    f"{name} has no estimate in {percent(missing)} of groups (too few distinct rows, or separated "
                    "outcomes); its figures are those of the others."
                )
        zero = [name for name, value in self.truth.items() if name.startswith("sd(") and value == 0]
        if zero:
            found.append(f"In the truth {', '.join(zero)} is 0: there the groups do not differ.")
        return tuple(found)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures come to: intervals that hold too little, the fixed prior beside REML, full Bayes."""
        from workbench.calibration.coverage_words import sentences

        return sentences(self)

    # --- elsewhere ------------------------------------------------------------------------------------

    def plot(self, ax: Axes | None = None, quantity: str = "coefficient") -> Axes:
        """Draw coverage and mean width by kind of interval and group size; returns the first panel's Axes."""
        from workbench.plots.coverage import draw, view

        return draw(view(self, quantity), ax)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what was done, the rows of `summary`, and what they come to."""
        return {
            "schema": 1,
            "formula": self.formula,
            "family": self.family,
            "truth": {name: plain(value) for name, value in self.truth.items()},
            "source": self.source,
            "level": self.level,
            "seed": self.seed,
            "asked": self.asked,
            "simulations": self.simulations,
            "interrupted": self.interrupted,
            "priors": dict(self.priors),
            "refused": {name: len(said) for name, said in self.refusals.items()},
            "intervals": [
                {key: value if isinstance(value, str | int) else plain(value) for key, value in row.items()}
                for row in self.summary.to_dict("records")
            ],
            "sentences": list(self.sentences),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """One line: the design, how many simulations and kinds of intervals."""
        state = ", INTERRUPTED" if self.interrupted else ""
        done = f"{count(self.simulations, 'simulation')}, {count(len(self.keys), 'kind')}"
        return f"<Coverage of {100 * self.level:.4g} % intervals: {self.formula}, {done}{state}>"


def _classes(sizes: NDArray[np.intp], most: int | None) -> Sequence[tuple[int, int]]:
    """The smallest and largest size of each class, each of about as many groups; without `most` one for every size."""
    distinct, counts = np.unique(sizes, return_counts=True)
    which = np.arange(len(distinct))
    if most is not None and len(distinct) > most:
        before = np.cumsum(counts) - counts / 2
        which = np.floor(most * before / counts.sum()).astype(int)
    return [(int(distinct[which == k][0]), int(distinct[which == k][-1])) for k in np.unique(which)]


def _mean(values: Array) -> tuple[float, float]:
    """Mean and Monte Carlo error of what is there; NaN without two of them."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float(known.mean()) if len(known) else np.nan, np.nan
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))

"""REML of intercepts and slopes, with the predictor's origin moved: what the pages of the lab on slopes compute with.

With x measured from c, a line a + b x becomes (a + b c) + b (x - c). A model whose intercepts and slopes may be
correlated is the same model at every c, in other words; one without a correlation is another at every c.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.lab import datasets
from workbench.lab.drawing import ticks

Array = NDArray[np.float64]

STEPS = 73
"""About so many steps has the origin's slider."""
PLACES, FEW_PLACES, MANY = 33, 9, 3_000
"""So many origins make the curve of the criterion; of tables with more rows than that, the few."""
KEPT = 1_000
"""So many answers are kept for a table."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one predictor and one grouping factor.

    Attributes
    ----------
    key, response, predictor, group : str
    labels : tuple of str, n of them
    levels : tuple of str, J of them
    codes : array of int, shape (n,)
    x, y : array, shape (n,)
    own : array, shape (J, 2)
        Every group's own intercept (where the predictor is 0) and slope; NaN where its rows do not tell them.
    fits : dict
        REML's answers so far, by model and origin.
    """

    key: str
    response: str
    predictor: str
    group: str
    labels: tuple[str, ...]
    levels: tuple[str, ...]
    codes: NDArray[np.intp]
    x: Array
    y: Array
    own: Array
    fits: dict[tuple[bool, float], Found]

    def own_at(self, origin: float) -> Array:
        """Own intercepts where the predictor is `origin`, and slopes, shape (J, 2)."""
        return self.own + np.column_stack([origin * self.own[:, 1], np.zeros(len(self.own))])


@dataclass(frozen=True, eq=False)
class Found:
    """REML at one origin.

    Attributes
    ----------
    population : array, shape (2,)
        Intercept at the origin, slope.
    covariance : array, shape (2, 2)
        Of the groups' intercepts and slopes.
    estimate : array, shape (J, 2)
    sigma, criterion : float
    warnings : tuple of str
    """

    population: Array
    covariance: Array
    estimate: Array
    sigma: float
    criterion: float
    warnings: tuple[str, ...]

    @property
    def sd(self) -> Array:
        """Of intercepts and slopes, shape (2,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> float:
        """NaN where one of them does not vary."""
        scale = float(np.prod(self.sd))
        return float(self.covariance[0, 1]) / scale if scale > 0 else float("nan")


_TABLES: WeakKeyDictionary[Design, Table] = (
    WeakKeyDictionary()
)  # a table that a user brought is forgotten with its design


def table(key: str) -> Table:
    """The rows of a table, with every group's own regression.

    Raises
    ------
    OptionError
        A predictor whose slope cannot be told.

    Examples
    --------
    >>> days = table("sleepstudy")
    >>> days.levels[0], days.own[0].round(3).tolist()
    ('308', [244.193, 21.765])
    """
    design = datasets.chosen({datasets.NAME: key}, datasets.SLOPES).design
    if design not in _TABLES:
        _TABLES[design] = _read(key, design)
    return _TABLES[design]


def _read(key: str, design: Design) -> Table:
    block = design.blocks[0]
    if len(design.fixed_terms) != 2:
        raise OptionError("The predictor has one value only, so that it has no slope. Choose another table or column.")
    x, labels = read_only(design.X[:, 1].copy()), tuple(block.levels[code] for code in block.codes)
    rows = {"y": design.y, "x": x, "g": labels}
    alone = run_estimator("no_pooling", build_design("y ~ x + (x | g)", rows), Settings(), None, {})
    return Table(
        key, design.response, design.fixed_terms[1], block.group, labels, tuple(block.levels), block.codes, x, design.y,
        alone.group_effects[0].coefficient.estimate, {},
    )  # fmt: skip


def at(data: Table, correlated: bool, origin: float) -> Found:
    """REML of ``y ~ x + (x | g)``, or of ``(x || g)``, with the predictor's origin moved to `origin`.

    Examples
    --------
    >>> days = table("sleepstudy")
    >>> at(days, True, 0.0).sd.round(3).tolist(), at(days, False, 0.0).sd.round(3).tolist()
    ([24.74, 5.922], [25.051, 5.988])
    """
    key = (correlated, origin)
    if key not in data.fits:
        if len(data.fits) >= KEPT:
            data.fits.clear()
        data.fits[key] = _fit(data, correlated, origin)
    return data.fits[key]


def _fit(data: Table, correlated: bool, origin: float) -> Found:
    rows = {"y": data.y, "x": data.x - origin, "g": data.labels}
    bar = "|" if correlated else "||"
    fit = run_estimator("reml", build_design(f"y ~ x + (x {bar} g)", rows), Settings(), None, {})
    covariance, parts = np.zeros((2, 2)), [part.coefficient.estimate for part in fit.group_effects]
    if correlated:
        covariance[:] = fit.components[0].covariance
    else:
        covariance[0, 0], covariance[1, 1] = (part.covariance[0, 0] for part in fit.components)
    assert fit.criterion is not None
    return Found(
        read_only(fit.population.estimate.copy()), read_only(covariance), read_only(np.hstack(parts)), fit.sigma,
        float(fit.criterion), fit.warnings,
    )  # fmt: skip


def uncorrelated_origin(data: Table) -> float:
    """Where the correlated model's intercepts and slopes have no correlation: minus covariance over slopes' variance.

    The intercept at c is a + b c, so that its covariance with the slope is Cov(a, b) + c Var(b). NaN where slopes do
    not vary.

    Examples
    --------
    >>> round(uncorrelated_origin(table("sleepstudy")), 4)
    -0.2738
    """
    covariance = at(data, True, 0.0).covariance
    return float(-covariance[0, 1] / covariance[1, 1]) if covariance[1, 1] > 0 else float("nan")


def curve(data: Table) -> tuple[Array, Array]:
    """Origins, and by how much REML's criterion without a correlation lies above the one with it."""
    low, high, _ = span(data)
    special = uncorrelated_origin(data)
    places = np.linspace(low, high, PLACES if len(data.y) <= MANY else FEW_PLACES)
    if low <= special <= high:
        places = np.sort(np.append(places, special))
    least = at(data, True, 0.0).criterion
    return places, np.array([at(data, False, float(c)).criterion - least for c in places])


def span(data: Table) -> tuple[float, float, float]:
    """How far the origin can be moved: half of the predictor's range beyond its ends; and the step."""
    low, high = float(data.x.min()), float(data.x.max())
    low, high = low - (high - low) / 2, high + (high - low) / 2
    places = ticks(low, high, STEPS)
    return low, high, places[1] - places[0]

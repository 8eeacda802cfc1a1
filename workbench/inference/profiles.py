"""Profile-likelihood intervals: :func:`profile` and its result.

The interval of a parameter holds every value at which the deviance, minimised over all others, exceeds its minimum by
no more than the chi-squared quantile (1 degree of freedom), as lme4's ``confint(method = "profile")`` has it (Bates,
Maechler, Bolker & Walker 2015, doi:10.18637/jss.v067.i01). Unlike estimate +- z times standard error it need not be
symmetric, does not depend on whether a spread is put as variance, SD or logarithm, and never leaves what is possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.estimates import table
from workbench.estimators import Settings
from workbench.fit import Fit
from workbench.inference.curve import Traced, trace
from workbench.inference.held import Held
from workbench.inference.parameters import Parameter, check_maximised, choose, parameters_of, values_at
from workbench.inference.progress import bar
from workbench.likelihood import criterion
from workbench.moments import Moments, moments
from workbench.optimum import Optimum, optimum

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

WIDEST = 0.99
"""Curves go on until they hold the interval of this level, where there is one."""
NOT_LOWER = 1e-6
"""A deviance lower than the ML optimum's by more than this was not rounding."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One parameter's profile and interval.

    Attributes
    ----------
    name, kind : str
        As in :class:`workbench.inference.parameters.Parameter`.
    estimate : float
        ML.
    std_error : float
        Of a coefficient the sampling SE, else from the curvature of the profile at the estimate; NaN on a limit.
    conf_low, conf_high : float
    wald : pair of float
        estimate +- z std_error, for comparison; it may leave what is possible.
    note : str
        What the reader of the interval must know.
    value, zeta, deviance : array, one entry per point
        In ascending order of the value.
    """

    name: str
    kind: str
    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    wald: tuple[float, float]
    note: str
    value: Array
    zeta: Array
    deviance: Array

    def __post_init__(self) -> None:
        for name in ("value", "zeta", "deviance"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile-likelihood intervals of a mixed model, and the curves that they come from.

    Attributes
    ----------
    formula : str
    level : float
    basis : str
        What was profiled, in words.
    parts : tuple of Curve
        One per parameter.
    """

    formula: str
    level: float
    basis: str
    parts: tuple[Curve, ...]

    @property
    def interval(self) -> str:
        """What kind the intervals are."""
        return f"profile {100 * self.level:.4g} %"

    @table
    def intervals(self) -> pd.DataFrame:
        """One row per parameter, the Wald interval beside.

        Columns ``term, estimate, std_error, conf_low, conf_high, point, interval, wald_low, wald_high, note``.
        """
        import pandas as pd

        rows = [
            (p.name, p.estimate, p.std_error, p.conf_low, p.conf_high, "ML estimate", self.interval, *p.wald, p.note)
            for p in self.parts
        ]
        names = ["term", "estimate", "std_error", "conf_low", "conf_high", "point", "interval"]
        return pd.DataFrame(rows, columns=[*names, "wald_low", "wald_high", "note"])

    @table
    def curves(self) -> pd.DataFrame:
        """All points: ``parameter, value, zeta, deviance``."""
        import pandas as pd

        tables = [
            pd.DataFrame({"parameter": p.name, "value": p.value, "zeta": p.zeta, "deviance": p.deviance})
            for p in self.parts
        ]
        return pd.concat(tables, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw zeta over each parameter, one panel each; returns the first panel's Axes."""
        from workbench.plots.profile import draw, view

        return draw(view(self), ax)[0]

    def __repr__(self) -> str:
        """One line: formula, level and how many parameters."""
        return f"<Profile of {self.formula}: {len(self.parts)} parameters, {self.interval}>"


def profile(
    fit: Fit, level: float = 0.95, parameters: str | Sequence[str] | None = None, progress: bool = False
) -> Profile:
    """Profile the ML deviance of a mixed model over its parameters.

    Parameters
    ----------
    fit : Fit
        By `reml` or `ml`. The ML deviance is profiled in either case, around the ML optimum: REML criteria at
        different fixed effects are not comparable. So the estimates of the result are ML's, not a REML fit's.
    level : float
        Probability of the intervals.
    parameters : sequence of str, optional
        Names such as ``Days``, ``sigma``, ``sd(Subject, Days)``, ``cor(Subject, (Intercept), Days)``; all of them where
        left out. Standard deviations and correlations are on their own scale.
    progress : bool
        Show a bar on the terminal.

    Returns
    -------
    Profile
        A limit is 0 for an SD, or -1 or 1 for a correlation, where the deviance does not rise by the quantile before
        that boundary; `note` says so. A correlation is open to both sides where one of its two SDs may be zero, as any
        value is possible beside that; where one is estimated as zero, it has no interval. End points are exact to about
        1e-8 of the interval's half-width.

    Raises
    ------
    OptionError
        A fit by another estimator, an unknown parameter, a level that is no probability.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> found = wb.profile(wb.fit("y ~ 1 + (1 | g)", table))
    >>> found.intervals[["term", "conf_low", "conf_high"]].round(3).values.tolist()
    [['(Intercept)', 0.521, 7.146], ['sigma', 0.375, 2.088], ['sd(g, (Intercept))', 0.757, 6.048]]
    """
    check_maximised(fit, "profile")
    level = Settings(level=level).level
    design = fit.design
    known = parameters_of(design)
    wanted = choose(known, parameters)
    data = moments(design)
    best = optimum(data, restricted=False)
    estimates = dict(zip((p.name for p in known), values_at(design, data, best, False).tolist(), strict=True))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    parts = []
    with bar("profile", 2 * len(wanted), progress) as done:
        for parameter in wanted:
            if np.isfinite(estimates[parameter.name]):
                parts.append(_curve(parameter, data, best, z, done))
            else:
                parts.append(_no_curve(parameter))
    of_reml = "; the fit itself is REML's" if fit.estimator == "reml" else ""
    return Profile(str(design.formula), level, f"ML deviance, around the ML optimum{of_reml}", tuple(parts))


def _curve(parameter: Parameter, data: Moments, best: Optimum, z: float, done: Any) -> Curve:
    held = Held.of(parameter, data, best)
    far = NormalDist().inv_cdf(0.5 + WIDEST / 2)
    traced = trace(held, criterion(data, best.given, reml=False), z, far, done)
    estimate = held.value_of(held.best)
    std_error = _std_error(held, traced)
    low, high = (held.value_of(end) for end in traced.ends)
    return Curve(
        name=parameter.name,
        kind=parameter.kind,
        estimate=estimate,
        std_error=std_error,
        conf_low=low,
        conf_high=high,
        wald=(estimate - z * std_error, estimate + z * std_error),
        note=" ".join(_notes(held, traced, best, z)),
        value=np.array([held.value_of(point.place) for point in traced.points]),
        zeta=traced.zeta,
        deviance=np.array([point.deviance for point in traced.points]),
    )


def _std_error(held: Held, traced: Traced) -> float:
    """For Wald's interval: curvature carried over to the parameter's own scale by the slope of the coordinate."""
    if held.parameter.kind == "fixed":
        return held.std_error()
    if not traced.curvature > 0:
        return np.nan
    stretch = {"sigma": held.sigma, "cor": np.cos(held.best), "sd": 1.0}[held.parameter.kind]
    return float(stretch * traced.curvature**-0.5)


def _notes(held: Held, traced: Traced, best: Optimum, z: float) -> list[str]:
    """What the reader of an interval must know, in sentences."""
    found = []
    for reached, end in zip(traced.reached, traced.ends, strict=True):
        limit = f"{held.value_of(end):.3g}"
        if not reached and held.best == end:
            found.append(f"The estimate is on the boundary, {limit}: the interval is one-sided.")
        elif not reached and np.isfinite(end):
            found.append(f"The profile does not reach the quantile before {limit}: the interval is open to that side.")
        elif not reached:
            found.append("The profile flattens out before it reaches the quantile: the interval has no limit there.")
    rise = np.inf if held.cap is None else held.cap.deviance - criterion(held.data, best.given, reml=False)
    if rise < z**2:
        found.append(
            f"With one of its two standard deviations at zero the deviance is only {max(rise, 0.0):.3g} above its "
            "minimum, and any correlation is possible beside that."
        )
    if traced.lower > NOT_LOWER:
        found.append(
            f"A deviance {traced.lower:.2g} lower than the ML optimum was found on the way: do not trust this interval."
        )
    uncertain = sum(not point.certified for point in traced.points)
    if uncertain or not best.minimum.certified:
        found.append(f"{uncertain} of {len(traced.points)} points are not certified minima over the other parameters.")
    return found


def _no_curve(parameter: Parameter) -> Curve:
    note = "Not estimated: one of its standard deviations is estimated as zero."
    nan, none = np.nan, np.empty(0)
    return Curve(parameter.name, parameter.kind, nan, nan, nan, nan, (nan, nan), note, none, none, none)

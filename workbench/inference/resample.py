"""The parametric bootstrap: responses simulated from a fit, refitted: :func:`bootstrap` and its result.

    y* = X b + sum_k Z_k u*_k + offset + e*,     u*_k ~ N(0, Sigma_k) in every level,   e* ~ N(0, sigma^2 W^-1)

as lme4's ``bootMer(type = "parametric", use.u = FALSE)``; with the effects kept, u* is the fit's own u (``use.u =
TRUE``). Standard errors and percentiles after Efron & Tibshirani (1993, doi:10.1201/9780429246593), chapters 6 and 13.
Only X'y, Z'y and y'y differ from one draw to the next (:mod:`workbench.inference.responses`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.covariances import square_root
from workbench.data import read_only
from workbench.errors import OptionError, nearest
from workbench.estimates import table
from workbench.estimators import Settings
from workbench.fit import Fit
from workbench.inference.parameters import check_maximised, parameters_of, values_at
from workbench.inference.progress import bar
from workbench.inference.responses import Responses
from workbench.likelihood import criterion
from workbench.moments import moments
from workbench.optimum import SINGULAR, optimum

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

EFFECTS = ("new", "kept")
FEWEST = 2
"""An interrupted bootstrap with fewer finished draws than this has nothing to return."""


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A parametric bootstrap: what each simulated response was fitted to, and intervals from that.

    Attributes
    ----------
    formula, estimator : str
    level : float
    seed, asked : int
        `asked` draws were wanted; fewer are there where `interrupted`.
    effects : "new" or "kept"
    interrupted : bool
    names : tuple of str
        Of the parameters, m of them.
    estimate : array, shape (m,)
        The fit's own.
    values : array, shape (draws, m)
        NaN where a correlation stands beside a standard deviation of zero, and where a refit failed.
    criterion : array, shape (draws,)
    singular, converged : array of bool, shape (draws,)
    """

    formula: str
    estimator: str
    level: float
    seed: int
    asked: int
    effects: str
    interrupted: bool
    names: tuple[str, ...]
    estimate: Array
    values: Array
    criterion: Array
    singular: NDArray[np.bool_]
    converged: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("estimate", "values", "criterion", "singular", "converged"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def interval(self) -> str:
        """What kind the intervals are."""
        return f"bootstrap percentile {100 * self.level:.4g} %"

    @property
    def basis(self) -> str:
        """What was simulated and refitted, in words."""
        return f"parametric bootstrap, {self.effects} group effects, {len(self.values):,} refits by {self.estimator}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps the draws from being taken at face value, in words."""
        count, found = len(self.values), []
        if self.interrupted:
            found.append(f"Interrupted after {count:,} of {self.asked:,} draws.")
        if failed := int((~self.converged).sum()):
            found.append(f"{failed:,} of {count:,} refits did not converge and are left out of the intervals.")
        if singular := int(self.singular.sum()):
            found.append(f"{singular:,} of {count:,} refits are singular.")
        return tuple(found)

    @table
    def draws(self) -> pd.DataFrame:
        """One row per draw: all parameters, then ``criterion``, ``singular`` and ``converged``.

        A coefficient that is called like one of these has the column ``b(criterion)``.
        """
        import pandas as pd

        about = {"criterion": self.criterion, "singular": self.singular, "converged": self.converged}
        names = [f"b({name})" if name in about else name for name in self.names]
        return pd.DataFrame(dict(zip(names, self.values.T, strict=True)) | about)

    @table
    def intervals(self) -> pd.DataFrame:
        """One row per parameter: percentile interval, standard error and bias over the converged draws.

        Columns ``term, estimate, std_error, bias, conf_low, conf_high, point, std_error_kind, interval, draws, note``.
        `bias` is the mean of the draws less the estimate; `draws` counts those that have the parameter.
        """
        import pandas as pd

        tail, kept, rows = (1 - self.level) / 2, self.values[self.converged], []
        point = "REML estimate" if self.estimator == "reml" else "ML estimate"
        for name, estimate, column in zip(self.names, self.estimate, kept.T, strict=True):
            known = column[np.isfinite(column)]
            notes = list(self.warnings)
            if len(known) < len(column):
                notes.append(f"A correlation exists in {len(known):,} draws only: not beside a spread of zero.")
            if len(known) < FEWEST:
                figures: tuple[float, ...] = (np.nan,) * 4
            else:
                low, high = np.quantile(known, [tail, 1 - tail])
                figures = (float(known.std(ddof=1)), float(known.mean() - estimate), float(low), float(high))
            rows.append((name, estimate, *figures, point, "bootstrap SE", self.interval, len(known), " ".join(notes)))
        names = ["term", "estimate", "std_error", "bias", "conf_low", "conf_high"]
        return pd.DataFrame(rows, columns=[*names, "point", "std_error_kind", "interval", "draws", "note"])

    def __repr__(self) -> str:
        """One line: estimator, formula, how many draws."""
        state = ", INTERRUPTED" if self.interrupted else ""
        return f"<Bootstrap of {self.estimator}: {self.formula}, {len(self.values):,} draws{state}>"


def bootstrap(
    fit: Fit, draws: int = 1000, seed: int = 1, level: float = 0.95, progress: bool = True, effects: str = "new"
) -> Bootstrap:
    """Simulate responses from a fit and refit each with the same estimator.

    Parameters
    ----------
    fit : Fit
        By `reml` or `ml`.
    draws : int
        How many responses.
    seed : int
        Draw i depends on the seed and i alone: the first 100 of 1000 draws are those of ``draws=100``.
    level : float
        Probability of the percentile intervals.
    progress : bool
        Show a bar where standard error is a terminal.
    effects : "new" or "kept"
        Draw new group effects each time (other groups from the same population), or keep the fit's own (the same groups
        measured again).

    Returns
    -------
    Bootstrap

    Raises
    ------
    OptionError
        A fit by another estimator, or an option out of its range.
    KeyboardInterrupt
        Ctrl-C before two draws were finished. Later, what is finished is returned, marked `interrupted`, with a
        RuntimeWarning.

    Notes
    -----
    Percentile intervals inherit the bias of the estimates: where an SD is estimated too small, so are its draws.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> found = wb.bootstrap(wb.fit("y ~ 1 + (1 | g)", table), draws=20, progress=False)
    >>> found.intervals["term"].tolist(), found.draws.shape
    (['(Intercept)', 'sigma', 'sd(g, (Intercept))'], (20, 6))
    """
    check_maximised(fit, "bootstrap")
    settings = Settings(level=level, seed=seed)
    if isinstance(draws, bool) or not hasattr(draws, "__index__") or index(draws) < FEWEST:
        raise OptionError(f"draws is {draws!r}, but a whole number of at least {FEWEST} is needed.")
    if effects not in EFFECTS:
        raise OptionError(f"effects is {effects!r}. {nearest(str(effects), EFFECTS)}")
    rows: list[Array] = []
    interrupted = False
    refit = _Refit.of(fit, effects)
    with bar("bootstrap", index(draws), progress) as done:
        try:
            for source in np.random.SeedSequence(index(settings.seed)).spawn(index(draws)):
                rows.append(refit.draw(np.random.default_rng(source)))
                done("")
        except KeyboardInterrupt:
            if len(rows) < FEWEST:
                raise
            interrupted = True
    found = np.array(rows)
    made = Bootstrap(
        formula=str(fit.design.formula),
        estimator=fit.estimator,
        level=settings.level,
        seed=index(settings.seed),
        asked=index(draws),
        effects=effects,
        interrupted=interrupted,
        names=tuple(parameter.name for parameter in parameters_of(fit.design)),
        estimate=refit.estimate,
        values=found[:, :-3],
        criterion=found[:, -3],
        singular=found[:, -2] == 1,
        converged=found[:, -1] == 1,
    )
    if interrupted:
        warnings.warn(made.warnings[0] + " What is finished is returned.", RuntimeWarning, stacklevel=2)
    return made


@dataclass(frozen=True, eq=False)
class _Refit:
    """A fit, ready to be simulated from.

    Attributes
    ----------
    responses : Responses
    restricted : bool
    mean : array, shape (n,)
        Of every simulated response: with the effects where they are kept.
    sds : array, shape (n,)
        Of the residuals.
    roots : tuple of array, shape (q_k, q_k)
        Of the covariances of the effects, block by block; none where the effects are kept.
    estimate : array, shape (m,)
        The fit's own parameters.
    """

    responses: Responses
    restricted: bool
    mean: Array
    sds: Array
    roots: tuple[Array, ...]
    estimate: Array

    @classmethod
    def of(cls, fit: Fit, effects: str) -> _Refit:
        """Lay out what all draws share."""
        design, restricted = fit.design, fit.estimator == "reml"
        data = moments(design)
        own = values_at(design, data, optimum(data, restricted), restricted)
        mean = fit.fitted
        roots: tuple[Array, ...] = ()
        if effects == "new":
            mean = design.X @ fit.population.estimate + design.offset
            roots = tuple(square_root(part.covariance) for part in fit.components)
        return cls(Responses.of(design, data), restricted, mean, fit.sigma / np.sqrt(design.weights), roots, own)

    def draw(self, random: np.random.Generator) -> Array:
        """Simulate and refit once: parameters, criterion, singular, converged, in one row."""
        design, y = self.responses.design, self.mean
        for block, root in zip(design.blocks, self.roots, strict=bool(self.roots)):
            u = random.standard_normal((len(block.levels), len(root))) @ root.T
            y = y + np.einsum("nq,nq->n", block.Z, u[block.codes])
        data = self.responses.moments(y + self.sds * random.standard_normal(design.n))
        try:
            at = optimum(data, self.restricted)
        except np.linalg.LinAlgError:
            return np.concatenate([np.full(len(self.estimate) + 1, np.nan), [0.0, 0.0]])
        singular = bool((at.theta.values[at.theta.on_diagonal] < SINGULAR).any())
        value = criterion(data, at.given, self.restricted)
        return np.array(
            [*values_at(design, data, at, self.restricted), value, float(singular), float(at.minimum.certified)]
        )

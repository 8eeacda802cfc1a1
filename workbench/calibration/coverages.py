"""How often intervals hold the truth, in one design simulated many times: :func:`coverage`.

    m_j ~ N(mean, between_sd^2),     y_ij ~ N(m_j, within_sd^2),     i = 1, ..., n_j

Every simulation draws new group means and samples (the model of :mod:`workbench.simulate`). A group's *coefficient* has
the truth m_j, its *effect* m_j - mean. Beside each estimator's own intervals stand, for maximised likelihoods, those of
the other standard errors of :mod:`workbench.standard_errors`: above all the conditional SD about the coefficient, as
pictures of lme4's modes are commonly drawn. What it leaves out (that the population value and the variances are
estimated) is what its coverage lacks, most of all where the spread between groups is estimated as zero: the conditional
SD is zero then, and the interval a point.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from statistics import NormalDist
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, build_design
from workbench.errors import OptionError
from workbench.estimates import Estimates, table
from workbench.estimators import REGISTRY, Settings, lookup, make_options, run_estimator
from workbench.fit import Fit
from workbench.inference.progress import bar
from workbench.prediction.joint_error import AT_VARIANCES
from workbench.simulate import simulate_groups
from workbench.standard_errors import standard_errors

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

ESTIMATORS = ("complete_pooling", "no_pooling", "reml", "fixed_prior", "exact")
FEWEST = 2
FIGURES = ("coverage", "width", "squared_error", "zero_width")
"""Of every interval: holds the truth, length, squared distance of the estimate from the truth, has no length."""
NOTHING: Mapping[str, Any] = MappingProxyType({})

Key = tuple[str, str, str]
"""Estimator, quantity, standard-error kind."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """Intervals against known truths, over many simulations of one design.

    Attributes
    ----------
    sizes : tuple of int
        Samples in each of the J groups.
    between_sd, within_sd, mean, level : float
    seed, asked : int
        `asked` simulations were wanted; fewer are there where `interrupted`.
    interrupted : bool
    priors : mapping of str to str
        As given; what is not named has the default for each simulated response.
    keys : tuple of (estimator, quantity, standard-error kind)
        The K kinds of intervals; quantity is ``coefficient`` or ``effect``.
    figures : array, shape (simulations, K, J, 4)
        The `FIGURES` of every interval.
    """

    sizes: tuple[int, ...]
    between_sd: float
    within_sd: float
    mean: float
    level: float
    seed: int
    asked: int
    interrupted: bool
    priors: Mapping[str, str]
    keys: tuple[Key, ...]
    figures: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", read_only(self.figures))

    @table
    def summary(self) -> pd.DataFrame:
        """One row per kind of interval and group size.

        Columns ``estimator, quantity, std_error_kind, n, groups, simulations``, then means over all groups of the size
        with their Monte Carlo errors: ``coverage, coverage_error, width, width_error, squared_error,
        squared_error_error``, and ``zero_width``, the share of intervals that are points. The errors are of means of
        independent simulations: groups of one simulation share its estimates.
        """
        import pandas as pd

        rows = []
        for k, (estimator, quantity, kind) in enumerate(self.keys):
            for n in sorted(set(self.sizes)):
                own = np.flatnonzero(np.array(self.sizes) == n)
                by_simulation = self.figures[:, k, own].mean(axis=1)  # (S, 4)
                means = by_simulation.mean(axis=0)
                errors = by_simulation.std(axis=0, ddof=1) / np.sqrt(len(by_simulation))
                row: dict[str, Any] = {"estimator": estimator, "quantity": quantity, "std_error_kind": kind, "n": n}
                row |= {"groups": len(own), "simulations": len(by_simulation)}
                for name, value, error in zip(FIGURES[:3], means, errors, strict=False):
                    row |= {name: float(value), f"{name}_error": float(error)}
                rows.append(row | {"zero_width": float(means[3])})
        return pd.DataFrame(rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known of the simulations, in words."""
        if not self.interrupted:
            return ()
        return (f"Interrupted after {len(self.figures):,} of {self.asked:,} simulations.",)

    def __repr__(self) -> str:
        """One line: the design, how many simulations and kinds of intervals."""
        state = ", INTERRUPTED" if self.interrupted else ""
        return (
            f"<Coverage of {100 * self.level:.4g} % intervals: {len(self.sizes)} groups, {len(self.figures):,} "
            f"simulations, {len(self.keys)} kinds{state}>"
        )


def coverage(
    sizes: Sequence[int],
    between_sd: float = 1.0,
    within_sd: float = 5.0,
    mean: float = 0.0,
    *,
    simulations: int = 2000,
    estimators: Sequence[str] = ESTIMATORS,
    priors: Mapping[str, Any] = NOTHING,
    options: Mapping[str, Any] = NOTHING,
    seed: int = 1,
    level: float = 0.95,
    progress: bool = False,
) -> Coverage:
    """Simulate groups with known means many times, and count which intervals hold them.

    Parameters
    ----------
    sizes : sequence of int
        Samples in each group.
    between_sd, within_sd, mean : float
        The truth, the same in every simulation.
    simulations : int
    estimators : sequence of str
    priors : mapping of str to prior or its text
        For Bayesian estimators, with the parameters ``(Intercept)``, ``sigma`` and ``sd(group, (Intercept))``; what is
        not named has its default for each simulated response, as in a fit of it.
    options : mapping of str to options
        By estimator.
    seed : int
        Simulation i depends on the seed and i alone.
    level : float
        Probability of the intervals.
    progress : bool
        Show a bar where standard error is a terminal.

    Returns
    -------
    Coverage

    Raises
    ------
    OptionError, PriorError, DesignError
        Bad input; a simulated response that an estimator refuses.
    KeyboardInterrupt
        Ctrl-C before two simulations were finished. Later, what is finished is returned, marked `interrupted`, with a
        RuntimeWarning.

    Notes
    -----
    Coverage under one truth is not what a posterior promises: its intervals hold 95 % of truths drawn from the prior
    (:func:`calibrate`).

    Examples
    --------
    >>> found = coverage([20] * 6, simulations=50, estimators=["no_pooling", "reml"])
    >>> found.summary.query("estimator == 'no_pooling'")[["quantity", "n", "groups", "simulations"]].values.tolist()
    [['coefficient', 20, 6, 50]]
    """
    wanted, sizes = _checked(simulations, estimators), tuple(sizes)
    settings = Settings(level=level, seed=seed, priors=priors)
    made = {name: make_options(lookup(name), options.get(name)) for name in estimators}
    rows: list[Array] = []
    keys: tuple[Key, ...] = ()
    design: Design | None = None
    interrupted = False
    with bar("coverage", wanted, progress) as done:
        try:
            for source in np.random.SeedSequence(index(seed)).spawn(wanted):
                drawn = simulate_groups(sizes, between_sd, within_sd, mean, _seed(source, words=2), generator="numpy")
                design = _design(drawn.group, drawn.y) if design is None else replace(design, y=drawn.y)
                found = dict(_intervals(design, made, replace(settings, seed=_seed(source))))
                keys = keys or tuple(found)
                rows.append(np.stack([_figures(found[key], key[1], drawn.truth, mean) for key in keys]))
                done("")
        except KeyboardInterrupt:
            if len(rows) < FEWEST:
                raise
            interrupted = True
    result = Coverage(
        sizes=tuple(int(n) for n in sizes),
        between_sd=float(between_sd),
        within_sd=float(within_sd),
        mean=float(mean),
        level=settings.level,
        seed=index(settings.seed),
        asked=wanted,
        interrupted=interrupted,
        priors=MappingProxyType({name: str(prior) for name, prior in settings.priors.items()}),
        keys=keys,
        figures=np.array(rows),
    )
    if interrupted:
        warnings.warn(result.warnings[0] + " What is finished is returned.", RuntimeWarning, stacklevel=2)
    return result


def _checked(simulations: Any, estimators: Sequence[str]) -> int:
    if isinstance(simulations, bool) or not hasattr(simulations, "__index__") or index(simulations) < FEWEST:
        raise OptionError(f"simulations is {simulations!r}, but a whole number of at least {FEWEST} is needed.")
    if isinstance(estimators, str) or not estimators:
        raise OptionError(f'estimators is {estimators!r}, but a list of names is needed, such as ["reml", "exact"].')
    return index(simulations)


def _seed(source: np.random.SeedSequence, words: int = 1) -> int:
    """A whole number of so many 31-bit words: samplers take one."""
    return sum(int(word % 2**31) << (31 * k) for k, word in enumerate(source.generate_state(words)))


def _design(group: NDArray[np.int64], y: Array) -> Design:
    """Intercepts that vary by group; the levels in the order of the groups."""
    width = len(str(group.max()))
    return build_design("y ~ 1 + (1 | group)", {"y": y, "group": [f"{g:0{width}d}" for g in group.tolist()]})


def _intervals(design: Design, options: Mapping[str, Any], settings: Settings) -> Iterator[tuple[Key, Estimates]]:
    """Every estimator's intervals of the groups' coefficients and effects, with other standard errors beside."""
    fits: dict[str, Fit] = {}
    bare = replace(settings, priors={})
    for name, own in options.items():
        fits[name] = fit = run_estimator(name, design, settings if REGISTRY[name].bayesian else bare, own, fits)
        part = fit.group_effects[0]
        yield (name, "coefficient", part.coefficient.std_error_kind), part.coefficient
        if name in ("complete_pooling", "no_pooling"):
            continue  # without a population of groups there is no effect
        yield (name, "effect", part.effect.std_error_kind), part.effect
        if name in AT_VARIANCES:
            errors = standard_errors(fit)
            z = NormalDist().inv_cdf(0.5 + settings.level / 2)
            for which, kind, column in (
                ("coefficient", "conditional SD", "conditional_sd"),
                ("effect", "effect prediction SE", "effect_prediction_se"),
            ):
                about = part.coefficient if which == "coefficient" else part.effect
                error = errors[column].to_numpy()[:, None]
                yield (
                    (name, which, kind),
                    replace(
                        about,
                        std_error=error,
                        conf_low=about.estimate - z * error,
                        conf_high=about.estimate + z * error,
                        std_error_kind=kind,
                    ),
                )


def _figures(found: Estimates, quantity: str, truth: Array, mean: float) -> Array:
    """The `FIGURES` of one kind of interval, shape (J, 4)."""
    true = truth if quantity == "coefficient" else truth - mean
    estimate, low, high = (part[:, 0] for part in (found.estimate, found.conf_low, found.conf_high))
    return np.column_stack([(low <= true) & (true <= high), high - low, (estimate - true) ** 2, high == low])

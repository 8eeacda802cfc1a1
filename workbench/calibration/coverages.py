"""How often intervals hold the truth, in one design simulated many times: :func:`coverage`.

    u_j ~ N(0, Sigma),     y ~ p(y | X b + Z u + offset, sigma),     the same b, Sigma and sigma in every simulation

Every simulation draws new group effects and a response (:mod:`workbench.calibration.populations`), fits every estimator
to it and holds their intervals to the truth (:mod:`workbench.calibration.intervals`). A group's *effect* has the truth
u_j, its *coefficient* the population value + u_j. Sizes alone stand for the one-way design

    m_j ~ N(mean, between_sd^2),     y_ij ~ N(m_j, within_sd^2),     i = 1, ..., n_j
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import index
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.coverage_result import Coverage
from workbench.calibration.intervals import Key, figures_of
from workbench.calibration.populations import Population, population_of
from workbench.calibration.replications import replications
from workbench.design import Design, build_design
from workbench.errors import DesignError, OptionError, WorkbenchError
from workbench.estimators import DEFAULTS, REGISTRY, Settings, lookup, make_options, run_estimator
from workbench.fit import Fit
from workbench.priors import Prior
from workbench.simulate import simulate_groups
from workbench.words import join

Array = NDArray[np.float64]

FEWEST = 2
AT_ONCE = 5
"""So many refusals by an estimator and no fit at the start are not bad luck."""
FAILURES = (WorkbenchError, ArithmeticError, np.linalg.LinAlgError, RuntimeError)
ONE_WAY = (1.0, 5.0, 0.0)
"""between_sd, within_sd and mean of designs given by sizes, where they are left out."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


def coverage(
    sizes: Sequence[int] | Design,
    between_sd: float | None = None,
    within_sd: float | None = None,
    mean: float | None = None,
    *,
    truth: Fit | Mapping[str, float] | None = None,
    simulations: int = 2000,
    estimators: Sequence[str] | None = None,
    priors: Mapping[str, Prior | str] = NOTHING,
    options: Mapping[str, Any] = NOTHING,
    seed: int = 1,
    level: float = 0.95,
    jobs: int | None = 1,
    progress: bool = False,
) -> Coverage:
    """Simulate a design many times from a known truth, and count which intervals hold it.

    Parameters
    ----------
    sizes : sequence of int, or Design
        Samples in each group of a one-way design; or any design (:func:`workbench.design.build_design`,
        ``load_study(...).design()``): gaussian, binomial or Poisson, nested or crossed, with slopes, weights or known
        standard errors. Of a design all but the response is kept.
    between_sd, within_sd, mean : float, optional
        The truth of a one-way design: by default 1, 5 and 0 of sizes; of a design with only an intercept, which varies
        by one factor, in place of what it would be simulated from.
    truth : Fit or mapping of parameter to number, optional
        Of a design: the fit to simulate from, or values by name (``{"Days": 10.0, "sd(Subject, Days)": 6.0}``). What is
        not stated is that of the design's own fit, by `reml` or, of counts and shares, by `laplace`.
    simulations : int
    estimators : sequence of str, optional
        By default no and complete pooling, the maximised likelihood, the fixed prior and `exact` full Bayes, without
        those that do not take the design, which ``found.warnings`` names. `hierarchical` can be named: a fit of it
        takes seconds.
    priors : mapping of str to prior or its text
        For Bayesian estimators (sizes have the parameters ``(Intercept)``, ``sigma`` and ``sd(group, (Intercept))``);
        what is not named has its default for each simulated response, as in a fit of it.
    options : mapping of str to options
        By estimator.
    seed : int
        Simulation i depends on the seed and i alone, to the bit, but for samplers' draws.
    level : float
        Probability of the intervals.
    jobs : int or None
        Processes at most, None as many as there are cores; the result is the same. None are started where that takes
        longer than it saves. In a script, calls with several must stand under ``if __name__ == "__main__"``.
    progress : bool
        Show a bar where standard error is a terminal.

    Returns
    -------
    Coverage
        A simulated response that an estimator refuses counts as its failure, and is left out of its figures.

    Raises
    ------
    OptionError, PriorError, DesignError
        Bad input; an estimator that refuses the first five simulated responses.
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
    wanted, settings = _checked(simulations, estimators), Settings(level=level, seed=seed, priors=priors)
    population = _population(sizes, (between_sd, within_sd, mean), truth, settings.level)
    names = tuple(_defaults(population.design) if estimators is None else estimators)
    plan = _Plan(population, {name: make_options(lookup(name), options.get(name)) for name in names}, settings)
    left_out: tuple[str, ...] = ()
    if estimators is None:
        plan, left_out = plan.without_unsuited()
    rows: list[_Simulated] = []
    interrupted = False
    with closing(replications(plan, wanted, index(settings.seed), jobs, progress, "simulations")) as made:
        try:
            for row in made:
                rows.append(row)
                if len(rows) == min(AT_ONCE, wanted):
                    _check_failures(rows)
        except KeyboardInterrupt:
            if len(rows) < FEWEST:
                raise
            interrupted = True
    result = _result(plan, rows, wanted, left_out, interrupted)
    if interrupted:
        warnings.warn(result.warnings[0] + " What is finished is returned.", RuntimeWarning, stacklevel=2)
    return result


# --- one simulation -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Simulated:
    """One simulation: the figures, shape (M, 4), of each kind of interval, and why estimators refused the response."""

    figures: Mapping[Key, Array]
    refused: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all simulations share: called with a source of randomness, it makes one."""

    population: Population
    options: Mapping[str, Any]
    settings: Settings

    def __call__(self, source: np.random.SeedSequence) -> _Simulated:
        design, truth = self.population.draw(np.random.default_rng(_seed(source, words=2)))
        settings = Settings(self.settings.level, _seed(source), priors=self.settings.priors)
        bare = Settings(self.settings.level, _seed(source))
        fits: dict[str, Fit] = {}
        found: dict[Key, Array] = {}
        refused = {}
        for name, own in self.options.items():
            try:
                fits[name] = run_estimator(name, design, settings if REGISTRY[name].bayesian else bare, own, fits)
                found |= figures_of(fits[name], self.settings.level, truth)
            except FAILURES as error:
                refused[name] = str(error)
        return _Simulated(found, refused)

    def without_unsuited(self) -> tuple[_Plan, tuple[str, ...]]:
        """The same without estimators that do not take such a design, and a sentence on each of them."""
        design, _ = self.population.draw(np.random.default_rng(index(self.settings.seed)))
        said = {}
        for name, own in self.options.items():
            if name not in UNSURE:
                continue
            try:
                run_estimator(name, design, self.settings, own)
            except DesignError as error:
                said[name] = f"{name} is left out. {error}"
            except FAILURES:  # of this response, perhaps: counted later
                continue
        kept = {name: own for name, own in self.options.items() if name not in said}
        return _Plan(self.population, kept, self.settings), tuple(said.values())


UNSURE = ("exact",)
"""Estimators of the defaults that take some designs only, which they know best themselves."""


def _seed(source: np.random.SeedSequence, words: int = 1) -> int:
    """A whole number of so many 31-bit words: samplers take one."""
    return sum(int(word % 2**31) << (31 * k) for k, word in enumerate(source.generate_state(words)))


# --- all of them --------------------------------------------------------------------------------------


def _checked(simulations: Any, estimators: Sequence[str] | None) -> int:
    if isinstance(simulations, bool) or not hasattr(simulations, "__index__") or index(simulations) < FEWEST:
        raise OptionError(f"simulations is {simulations!r}, but a whole number of at least {FEWEST} is needed.")
    if estimators is not None and (isinstance(estimators, str) or not estimators):
        raise OptionError(f'estimators is {estimators!r}, but a list of names is needed, such as ["reml", "exact"].')
    return index(simulations)


def _defaults(design: Design) -> Iterable[str]:
    """The defaults of a comparison, with full Bayes integrated in place of sampled."""
    several = len(design.groups) > 1
    for name in DEFAULTS[design.family]:
        if REGISTRY[name].several_factors or not several:
            yield "exact" if name == "hierarchical" else name


def _population(
    sizes: Sequence[int] | Design, one_way: tuple[float | None, ...], truth: Fit | Mapping[str, float] | None,
    level: float,
) -> Population:  # fmt: skip
    names = ("between_sd", "within_sd", "mean")
    given = {name: value for name, value in zip(names, one_way, strict=True) if value is not None}
    if not isinstance(sizes, Design):
        if truth is not None:
            raise OptionError("truth is of a design; beside sizes, give between_sd, within_sd and mean.")
        values = [default if value is None else value for value, default in zip(one_way, ONE_WAY, strict=True)]
        drawn = simulate_groups(sizes, values[0], values[1], values[2], 0, "numpy")  # checks what was given
        width = len(str(len(drawn.sizes)))
        groups = [f"{g:0{width}d}" for g in drawn.group.tolist()]
        design = build_design("y ~ 1 + (1 | group)", {"y": np.arange(len(drawn.y)) + 0.0, "group": groups})
        b, covariance = np.array([drawn.mean]), np.array([[drawn.between_sd**2]])
        return Population(design, b, drawn.within_sd, (covariance,), "the values given")
    if not given:
        return population_of(sizes, truth, level)
    if truth is not None:
        raise OptionError(f"The truth is given, and {join(list(given))} beside it. Keep one of them.")
    terms = [term for block in sizes.blocks for term in block.terms]
    if terms != ["(Intercept)"] or sizes.fixed_terms != ("(Intercept)",):
        raise OptionError(
            f"{join(list(given))}: for a design with only an intercept, which varies by one factor. Of "
            f"{sizes.formula} state the truth by name (truth=, --truth)."
        )
    called = dict(zip(names, (f"sd({sizes.blocks[0].group})", "sigma", "(Intercept)"), strict=True))
    return population_of(sizes, {called[name]: value for name, value in given.items()}, level)


def _check_failures(rows: Sequence[_Simulated]) -> None:
    """Refuse an estimator that has refused every response so far."""
    for name, said in rows[0].refused.items():
        if all(name in row.refused for row in rows):
            raise OptionError(f"{name} refuses each of the first {len(rows)} simulated responses. {said}")


def _result(
    plan: _Plan, rows: Sequence[_Simulated], wanted: int, left_out: tuple[str, ...], interrupted: bool
) -> Coverage:
    design = plan.population.design
    blocks = design.blocks
    seen = dict.fromkeys(key for row in rows for key in row.figures)
    keys = tuple(key for name in plan.options for key in seen if key[0] == name)
    nothing = np.full((sum(len(b.levels) * len(b.terms) for b in blocks), 4), np.nan)
    return Coverage(
        formula=str(design.formula),
        family=design.family,
        truth=plan.population.values,
        source=plan.population.source,
        level=plan.settings.level,
        seed=index(plan.settings.seed),
        asked=wanted,
        interrupted=interrupted,
        priors=MappingProxyType({name: str(prior) for name, prior in plan.settings.priors.items()}),
        keys=keys,
        groups=tuple(b.group for b in blocks for _ in range(len(b.levels) * len(b.terms))),
        terms=tuple(term for b in blocks for _ in range(len(b.levels)) for term in b.terms),
        sizes=tuple(int(n) for b in blocks for n in b.sizes for _ in b.terms),
        figures=np.array([[row.figures.get(key, nothing) for key in keys] for row in rows]),
        refusals=MappingProxyType(
            {
                name: said
                for name in plan.options
                if (
                    said := tuple(
                        f"Simulation {i + 1}: {r.refused[name]}" for i, r in enumerate(rows) if name in r.refused
                    )
                )
            }
        ),
        left_out=left_out,
    )

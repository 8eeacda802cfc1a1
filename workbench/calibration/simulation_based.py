"""Simulation-based calibration: is a posterior what it claims to be? :func:`calibrate`.

Truths are drawn from the priors, responses given them (:mod:`workbench.calibration.truths`), each response is fitted
under the same priors, and the rank of each truth in its posterior is noted (:mod:`workbench.calibration.ranks`). Over
many replications these ranks are uniform, for every parameter, if model, priors and computation are those that are
claimed (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788). How to see that they are not:

=================  ==========================
ranks              the posterior
=================  ==========================
a cup, ∪           too narrow
a cap, ∩           too wide
piled up at 1      lies too low
piled up at 0      lies too high
=================  ==========================

The default priors are on the scale of the data. They are taken from the design's own response once, and stay the same
in all replications: priors that followed each simulated response would not be those that its truth was drawn from.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import index
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.ranks import Levels, Quantity, quantities_of, rank_in
from workbench.calibration.result import Calibration
from workbench.calibration.truths import check_drawable, draw_response, draw_truth
from workbench.data import read_only
from workbench.design import Design, build_design
from workbench.errors import OptionError, WorkbenchError
from workbench.estimators import REGISTRY, Settings, lookup, make_options, run_estimator
from workbench.inference.progress import bar
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.words import join

Array = NDArray[np.float64]

FEWEST = 10
"""With fewer replications there is nothing to test."""
DRAWS = 100
AT_ONCE = 5
"""So many failures and no success at the start are not bad luck."""
FAILURES = (WorkbenchError, ArithmeticError, np.linalg.LinAlgError, RuntimeError)
NOTHING: Mapping[str, Any] = MappingProxyType({})


def calibrate(
    formula: str | Design,
    data: Any = None,
    estimator: str = "exact",
    *,
    replications: int = 200,
    draws: int = DRAWS,
    priors: Mapping[str, Prior | str] = NOTHING,
    fit_priors: Mapping[str, Prior | str] = NOTHING,
    seed: int = 1,
    level: float = 0.95,
    groups: Levels = None,
    progress: bool = False,
    options: Any = None,
    **model: Any,
) -> Calibration:
    """Test an estimator's posterior against truths drawn from its priors.

    Parameters
    ----------
    formula : str or Design
        lme4's notation with `data`, or a design without (:func:`workbench.design.build_design`,
        ``load_study(...).design()``). Columns, groups and weights are taken from it; its response serves the default
        priors alone.
    data : dataframe, mapping or path, optional
    estimator : str
        A Bayesian one: ``exact``, ``hierarchical``.
    replications : int
        At least 10; 200 or more tell something.
    draws : int
        Truths are ranked among so many draws at the most, thinned to be nearly independent. Not used by `exact`,
        whose distribution functions give continuous ranks.
    priors : mapping of str to prior or its text
        See :mod:`workbench.priors`; all must be proper. What is not named has its default for the design's response.
    fit_priors : mapping of str to prior or its text
        Other priors for the fits than those that truths are drawn from: to see what a wrong prior looks like.
    seed : int
        Replication i depends on the seed and i alone: the first 100 of 200 are those of ``replications=100``.
    level : float
        Probability that right posteriors pass, all parameters together.
    groups : mapping of str to levels, or levels of the first grouping factor, optional
        Whose coefficients are ranked: by default, of each grouping factor the smallest, the largest and the first.
    progress : bool
        Show a bar where standard error is a terminal.
    options : the estimator's Options, or a dict of them
    model : with `data` only
        `family`, `link`, `weights`, `offset` and `se`, as of :func:`workbench.design.build_design`.

    Returns
    -------
    Calibration

    Raises
    ------
    PriorError
        An improper prior, or one that fits no parameter.
    OptionError
        An estimator without a posterior, an option out of its range; or fits that fail from the start.
    KeyboardInterrupt
        Ctrl-C before 10 replications were finished. Later, what is finished is returned, marked `interrupted`, with a
        RuntimeWarning.

    Notes
    -----
    A fit that fails has no ranks; one that did not converge keeps its ranks. Both are counted.

    Examples
    --------
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> found = calibrate("y ~ 1 + (1 | g)", table, replications=20)
    >>> found.ranks.shape, found.uniform
    ((20, 4), True)
    """
    if isinstance(formula, Design) and (data is not None or model):
        raise OptionError("A design holds its data and its family already: leave data and the like out.")
    design = formula if isinstance(formula, Design) else build_design(formula, data, **model)
    plan = _Plan.of(design, estimator, Settings(level, seed, priors=priors), fit_priors, groups, options)
    wanted, most = _whole(replications, "replications", FEWEST), _whole(draws, "draws", 1)
    rows: list[Array] = []
    failures: list[str] = []
    converged = 0
    interrupted = False
    with bar(f"calibrate {estimator}", wanted, progress) as done:
        try:
            for i, source in enumerate(np.random.SeedSequence(index(seed)).spawn(wanted)):
                try:
                    ranks, good = plan.replicate(source, most)
                    converged += good
                except FAILURES as error:
                    ranks = np.full(len(plan.quantities), np.nan)
                    failures.append(f"Replication {i + 1}: {error}")
                rows.append(ranks)
                if len(rows) == len(failures) == AT_ONCE:
                    raise OptionError(f"{estimator} failed in each of the first {AT_ONCE} replications. {failures[0]}")
                done("")
        except KeyboardInterrupt:
            if len(rows) < FEWEST:
                raise
            interrupted = True
    made = Calibration(
        formula=str(plan.design.formula),
        estimator=estimator,
        level=plan.settings.level,
        seed=index(seed),
        asked=wanted,
        interrupted=interrupted,
        priors=MappingProxyType({name: str(prior) for name, prior in plan.priors.items()}),
        fit_priors=MappingProxyType({name: str(plan.fit_priors[name]) for name in plan.differing}),
        names=tuple(quantity.name for quantity in plan.quantities),
        ranks=np.array(rows),
        not_converged=len(rows) - len(failures) - converged,
        failures=tuple(failures),
    )
    if interrupted:
        warnings.warn(made.warnings[0] + " What is finished is returned.", RuntimeWarning, stacklevel=2)
    return made


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all replications share."""

    design: Design
    estimator: str
    options: Any
    settings: Settings
    priors: Mapping[str, Prior]
    fit_priors: Mapping[str, Prior]
    quantities: tuple[Quantity, ...]

    @classmethod
    def of(
        cls,
        design: Design,
        estimator: str,
        settings: Settings,
        fit_priors: Mapping[str, Prior | str],
        groups: Levels,
        options: Any,
    ) -> _Plan:
        """Check everything before anything long runs."""
        entry = lookup(estimator)
        if not entry.bayesian:
            able = join([e.name for e in REGISTRY.values() if e.bayesian], "or")
            raise OptionError(f"{estimator} has no posterior that could be calibrated. Use {able}.")
        chosen = make_options(entry, options)
        drawn_from = resolve_priors(design, settings.priors)
        check_drawable(design, drawn_from)
        fitted = resolve_priors(design, fit_priors, defaults=drawn_from)
        return cls(
            design,
            estimator,
            chosen,
            replace(settings, priors=fitted),
            drawn_from,
            fitted,
            quantities_of(design, groups),
        )

    @property
    def differing(self) -> tuple[str, ...]:
        """Parameters whose prior in the fits is another one."""
        return tuple(name for name, prior in self.priors.items() if self.fit_priors[name] != prior)

    def replicate(self, source: np.random.SeedSequence, most: int) -> tuple[Array, bool]:
        """One replication: the rank of each quantity, and whether the fit converged."""
        rng = np.random.default_rng(source)
        truth = draw_truth(self.design, self.priors, rng)
        simulated = replace(self.design, y=read_only(draw_response(self.design, truth, rng)))
        settings = replace(self.settings, seed=int(rng.integers(2**31)))
        fit = run_estimator(self.estimator, simulated, settings, self.options)
        ranks = [rank_in(fit, quantity, quantity.of(truth, simulated), most, rng) for quantity in self.quantities]
        return np.array(ranks), fit.converged


def _whole(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or index(value) < least:
        raise OptionError(f"{name} is {value!r}, but a whole number of at least {least} is needed.")
    return index(value)

"""The one-call conveniences; each says which longer call it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.comparison import Comparison, Watch, compare_fits
from workbench.design import Design, build_design
from workbench.errors import OptionError
from workbench.estimators import REGISTRY, Settings, default_estimators, lookup, run_estimator
from workbench.fit import Fit
from workbench.plug_in import stated_priors

NOTHING: Mapping[str, Any] = MappingProxyType({})


def fit(
    formula: str,
    data: Any,
    estimator: str = "reml",
    *,
    family: str = "gaussian",
    link: str | None = None,
    weights: Any = None,
    offset: Any = None,
    se: Any = None,
    seed: int = 1,
    level: float = 0.95,
    priors: Mapping[str, Any] = NOTHING,
    progress: bool = False,
    options: Any = None,
) -> Fit:
    """Fit one estimator: ``run_estimator(estimator, build_design(formula, data, ...), Settings(...), options)``.

    Parameters
    ----------
    formula : str
        lme4's notation.
    data : dataframe, mapping or path
    estimator : str
        A registered name; see :func:`estimators`.
    family, link, weights, offset, se
        See :func:`workbench.design.build_design`.
    seed : int
        For estimators that draw.
    level : float
        Probability of intervals.
    priors : mapping of str to prior or its text
        See :mod:`workbench.priors`; for Bayesian estimators.
    progress : bool
        Show progress of long work.
    options : the estimator's Options, or a dict of them

    Returns
    -------
    Fit

    Raises
    ------
    WorkbenchError
        Bad input of any kind; the message says what to do.

    Examples
    --------
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit("y ~ 1 + (1 | g)", table).fixed["estimate"].round(6).tolist()
    [3.833333]
    """
    lookup(estimator)
    _refuse_idle_priors([estimator], priors)
    settings = Settings(level=level, seed=seed, progress=progress, priors=priors)
    design = build_design(formula, data, family, link, weights, offset, se)
    _refuse_priors_of_plugged([estimator], priors, design)
    return run_estimator(estimator, design, settings, options)


def compare(
    formula: str,
    data: Any,
    estimators: Sequence[str] | None = None,
    *,
    family: str = "gaussian",
    link: str | None = None,
    weights: Any = None,
    offset: Any = None,
    se: Any = None,
    seed: int = 1,
    level: float = 0.95,
    priors: Mapping[str, Any] = NOTHING,
    progress: bool = False,
    options: Mapping[str, Any] = NOTHING,
    truth: Any = None,
    title: str = "",
    foreign: Mapping[str, Any] = NOTHING,
    watch: Watch | None = None,
) -> Comparison:
    """Fit several estimators and align them: ``compare_fits(build_design(...), estimators, Settings(...), options)``.

    Parameters are those of :func:`fit`, but `options` maps an estimator's name to its options, and

    estimators : sequence of str, optional
        The family's defaults where left out.
    truth : dataframe, mapping of columns or path, optional
        True group coefficients, for simulated data, a row each: the columns ``level`` (the group), ``term`` (such as
        ``(Intercept)`` or a predictor that varies by group) and ``value``.
    title : str
        For the report.
    foreign : mapping of name to source, optional
        Answers from elsewhere to set beside the fits, ``{"lme4": "tidy.csv"}``; see :func:`workbench.adapt`.
    watch : callable, optional
        Called before each fit with its estimator and the fits made so far, and after the last one with "".

    Examples
    --------
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> both = compare("y ~ 1 + (1 | g)", table, ["no_pooling", "reml"])
    >>> both.agreement[["estimator1", "estimator2", "level"]].values.tolist()
    [['no_pooling', 'reml', 'c']]
    """
    if isinstance(estimators, str):
        estimators = [estimators]
    estimators = None if estimators is None else list(estimators)
    for name in estimators or ():
        lookup(name)
    settings = Settings(level=level, seed=seed, progress=progress, priors=priors)
    design = build_design(formula, data, family, link, weights, offset, se)
    estimators = default_estimators(design) if estimators is None else estimators
    _refuse_idle_priors(estimators, priors)
    _refuse_priors_of_plugged(estimators, priors, design)
    title = title or str(design.formula)
    made = compare_fits(design, estimators, settings, options, truth, title, foreign, watch)
    return replace(made, call=_in_words(settings, data, truth, weights=weights, offset=offset, se=se))


def run(study: str | Path, **changes: Any) -> Comparison:
    """Run a study, by folder or built-in name: ``workbench.study.run_study(load_study(study), **changes)``."""
    from workbench.study import load_study, run_study

    return run_study(load_study(study), **changes)


def _in_words(settings: Settings, data: Any, truth: Any, **columns: Any) -> Mapping[str, Any]:
    """What :func:`compare` was called with, as far as words say it: files and columns by name, not what is in them."""
    call: dict[str, Any] = {key: value for key, value in columns.items() if isinstance(value, str)}
    call |= {"data": str(data)} if isinstance(data, str | Path) else {}
    call |= {"truth": {"file": str(truth)}} if isinstance(truth, str | Path) else {}
    priors = {key: str(prior) for key, prior in settings.priors.items()}
    return MappingProxyType(call | {"seed": settings.seed, "level": settings.level, "priors": priors})


def _refuse_idle_priors(names: Sequence[str], priors: Mapping[str, Any]) -> None:
    """Priors that no estimator takes are a misunderstanding."""
    able = [e.name for e in REGISTRY.values() if e.bayesian or e.name == "fixed_prior"]
    if priors and not set(able) & set(names):
        raise OptionError(
            f"Priors were given, but {', '.join(names)} takes none. Use {', '.join(able)}, or leave priors out."
        )


def _refuse_priors_of_plugged(names: Sequence[str], priors: Mapping[str, Any], design: Design) -> None:
    """So are priors of what is plugged in, where no other estimator looks at them."""
    if priors and not any(REGISTRY[name].bayesian for name in names) and not stated_priors(design, priors):
        raise OptionError(
            f"Priors were given for {', '.join(priors)}, but fixed_prior plugs in what varies and takes priors of "
            "other population coefficients alone. State your own mean and SD as its options mean and sd."
        )

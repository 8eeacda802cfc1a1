"""Reference figures against ours: ``reference.toml`` and the small language of its quantities.

They are published figures, those of other software, or identities, as the source of each says. Each ``[[figure]]`` has
`estimator`, `quantity`, `value`, `tolerance` (absolute) and `source`, and may have `options` for the estimator. A
quantity is a name with arguments in brackets:

=====================================================  ==================================================
quantity                                               is
=====================================================  ==================================================
``fixed[Days]``, ``fixed_se[Days]``                    a population coefficient, its standard error
``sd[Subject, Days]``, ``variance[Subject, Days]``     of a varying term
``covariance[Subject, (Intercept), Days]``             and ``correlation[...]``, of two varying terms
``sigma``, ``sigma^2``                                 residual SD and variance
``criterion``, ``log_likelihood``                      as the estimator defines them
``effect[Subject, 308, Days]``, ``effect_se[...]``     a group's deviation, its standard error
``coefficient[Subject, 308, Days]``                    and ``coefficient_se[...]``: population value + effect
``difference[reml, Days]``                             largest distance of the group coefficients to another estimator's
``mean_squared_error[Subject, Days]``                  of the group coefficients, to the study's true values
``mean[sd(Subject, Days)]``, ``posterior_sd[...]``     of a Bayesian parameter
``median[...]``, ``conf_low[...]``                     its median, the lower end of its interval
``conf_high[...]``                                     and the upper one
=====================================================  ==================================================
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import StudyError, nearest
from workbench.estimates import Component, Estimates, GroupEffects
from workbench.estimators import Settings, lookup, make_options, run_estimator
from workbench.fit import Fit
from workbench.truth import read_truth

if TYPE_CHECKING:
    from workbench.design import Design
    from workbench.report import FigureCheck
    from workbench.study import Study

_KEYS = ("estimator", "quantity", "value", "tolerance", "source", "options")


def check_study(study: Study, fits: Mapping[str, Fit] = MappingProxyType({})) -> list[FigureCheck]:
    """Hold a study's estimators to its reference figures.

    Parameters
    ----------
    study : Study
    fits : mapping of str to Fit
        Fits that are there already (with the study's own options); others are made as needed.

    Returns
    -------
    list of FigureCheck
        One per figure, in the order of the file; empty without a ``reference.toml``.
    """
    from workbench.report import FigureCheck

    figures = _read_figures(study)
    if not figures:
        return []
    design = study.design() if not fits else next(iter(fits.values())).design
    truth = read_truth(study.true_values(design), design)
    bench = _Bench(design, study.settings(), study.options, fits, truth)
    checks = []
    for figure in figures:
        fit = bench.fit(figure["estimator"], figure.get("options"))
        ours = evaluate_quantity(figure["quantity"], fit, bench)
        checks.append(
            FigureCheck(
                estimator=figure["estimator"],
                quantity=figure["quantity"] + _options_text(figure.get("options")),
                published=float(figure["value"]),
                ours=ours,
                tolerance=float(figure["tolerance"]),
                source=figure["source"],
                holds=bool(abs(ours - figure["value"]) <= figure["tolerance"]),
            )
        )
    return checks


class _Bench:
    """The fits that figures ask for, each made once."""

    def __init__(
        self,
        design: Design,
        settings: Settings,
        options: Mapping[str, Any],
        fits: Mapping[str, Fit],
        truth: Mapping[tuple[str, str], float],
    ) -> None:
        self.design, self.settings, self.options, self.truth = design, settings, options, truth
        self.made: dict[tuple[str, str], Fit] = {(name, ""): fit for name, fit in fits.items()}

    def fit(self, name: str, options: Mapping[str, Any] | None = None) -> Fit:
        """The fit of an estimator under the study's options, changed by a figure's own."""
        key = (name, _options_text(options))
        if key not in self.made:
            chosen = {**self.options.get(name, {}), **(options or {})} or None
            estimator = lookup(name)
            needed = estimator.needed(make_options(estimator, chosen), self.design)
            upstream = {other: self.fit(other) for other in needed}
            self.made[key] = run_estimator(name, self.design, self.settings, chosen, upstream)
        return self.made[key]


def evaluate_quantity(quantity: str, fit: Fit, bench: _Bench | None = None) -> float:
    """Read one quantity off a fit.

    Raises
    ------
    StudyError
        An unknown quantity (with the nearest), or one that names nothing in the fit.

    Examples
    --------
    >>> import workbench as wb
    >>> fit = wb.fit("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> round(evaluate_quantity("variance[g, (Intercept)]", fit), 6)
    6.083333
    """
    match = re.fullmatch(r"\s*([a-z_]+(?:\^2)?)\s*(?:\[(.*)\])?\s*", quantity)
    name = match.group(1) if match else quantity
    known = (*_QUANTITIES, *_OF_SEVERAL)
    if not match or name not in known:
        raise StudyError(f"There is no quantity {name!r}. {nearest(name, known)}")
    arguments = _split(match.group(2) or "")
    try:
        if name in _OF_SEVERAL:
            assert bench is not None
            if name == "difference":
                return _difference(fit, bench.fit(arguments[0]), arguments[1])
            return _mean_squared_error(fit, bench.truth, *arguments)
        return float(_QUANTITIES[name](fit, *arguments))
    except (KeyError, ValueError, IndexError, TypeError, AttributeError):
        raise StudyError(
            f"{fit.estimator} has no quantity {quantity!r}. Check the names of groups, levels and terms."
        ) from None


def _component(fit: Fit, group: str, *terms: str) -> tuple[Component, list[int]]:
    for part in fit.components:
        if part.group == group and set(terms) <= set(part.terms):
            return part, [part.terms.index(term) for term in terms]
    raise KeyError(group)


def _entry(matrix: Callable[[Component], np.ndarray]) -> Callable[..., float]:
    def read(fit: Fit, group: str, *terms: str) -> float:
        part, where = _component(fit, group, *terms)
        return float(matrix(part)[where[0], where[-1]])

    return read


def _group_value(which: str, field: str) -> Callable[..., float]:
    def read(fit: Fit, group: str, level: str, term: str) -> float:
        for part in fit.group_effects:
            if part.group == group and term in part.terms:
                values: Estimates = getattr(part, which)
                return float(getattr(values, field)[part.levels.index(level), part.terms.index(term)])
        raise KeyError(group)

    return read


def _population(field: str) -> Callable[..., float]:
    return lambda fit, term: float(getattr(fit.population, field)[fit.design.fixed_terms.index(term)])


def _parameter(field: str) -> Callable[..., float]:
    return lambda fit, name: float(getattr(fit.parameters.estimates, field)[fit.parameters.names.index(name)])


_QUANTITIES: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "fixed": _population("estimate"),
        "fixed_se": _population("std_error"),
        "sd": lambda fit, group, term: _entry(lambda part: part.covariance)(fit, group, term) ** 0.5,
        "variance": _entry(lambda part: part.covariance),
        "covariance": _entry(lambda part: part.covariance),
        "correlation": _entry(lambda part: part.correlation),
        "sigma": lambda fit: fit.sigma,
        "sigma^2": lambda fit: fit.sigma**2,
        "criterion": lambda fit: float(fit.criterion),
        "log_likelihood": lambda fit: fit.log_likelihood,
        "effect": _group_value("effect", "estimate"),
        "effect_se": _group_value("effect", "std_error"),
        "coefficient": _group_value("coefficient", "estimate"),
        "coefficient_se": _group_value("coefficient", "std_error"),
        "mean": _parameter("estimate"),
        "posterior_sd": _parameter("std_error"),
        "median": _parameter("median"),
        "conf_low": _parameter("conf_low"),
        "conf_high": _parameter("conf_high"),
    }
)


_OF_SEVERAL = ("difference", "mean_squared_error")
"""What is read off a fit and something beside it: another fit, the true values."""


def _mean_squared_error(fit: Fit, truth: Mapping[tuple[str, str], float], group: str, term: str) -> float:
    """Over the levels whose true value is known; a KeyError where none is."""
    part = next(part for part in fit.group_effects if part.group == group and term in part.terms)
    values = dict(zip(part.levels, part.coefficient.estimate[:, part.terms.index(term)].tolist(), strict=True))
    errors = [(values[level] - value) ** 2 for (level, of), value in truth.items() if of == term and level in values]
    if not errors:
        raise KeyError(term)
    return float(np.mean(errors))


def _difference(fit: Fit, other: Fit, term: str) -> float:
    def column(parts: tuple[GroupEffects, ...]) -> np.ndarray:
        part = next(part for part in parts if term in part.terms)
        return part.coefficient.estimate[:, part.terms.index(term)]

    return float(np.nanmax(np.abs(column(fit.group_effects) - column(other.group_effects))))


def _split(text: str) -> list[str]:
    """Split at commas that stand outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()] if text.strip() else []


def _options_text(options: Mapping[str, Any] | None) -> str:
    return f" ({', '.join(f'{k} = {v}' for k, v in options.items())})" if options else ""


def _read_figures(study: Study) -> list[dict[str, Any]]:
    path = study.folder / "reference.toml"
    if not path.is_file():
        return []
    where = f"{study.name}/reference.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{where} cannot be read: {error}.") from None
    for key in content:
        if key != "figure":
            raise StudyError(f"{where} has an unknown key {key!r}. {nearest(key, ('figure',))}")
    figures: list[dict[str, Any]] = content.get("figure", [])
    if not isinstance(figures, list):
        raise StudyError(f"{where}: [figure] is one table, but must be a list of them. Write [[figure]].")
    for number, figure in enumerate(figures, start=1):
        for key in figure:
            if key not in _KEYS:
                raise StudyError(f"{where}: figure {number} has an unknown key {key!r}. {nearest(key, _KEYS)}")
        for key in _KEYS[:5]:
            if key not in figure:
                raise StudyError(f"{where}: figure {number} has no {key}.")
        for key in ("value", "tolerance"):
            number_given = isinstance(figure[key], int | float) and not isinstance(figure[key], bool)
            if not number_given or not isfinite(figure[key]) or (key == "tolerance" and figure[key] < 0):
                wanted = "a number from 0 on" if key == "tolerance" else "a finite number"
                raise StudyError(f"{where}: figure {number}: {key} is {figure[key]!r}, but must be {wanted}.")
        for key in ("estimator", "quantity", "source"):
            if not isinstance(figure[key], str):
                raise StudyError(f"{where}: figure {number}: {key} is {figure[key]!r}, but must be text.")
        lookup(figure["estimator"])
    return figures

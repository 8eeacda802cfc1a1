"""Draws by what they are draws of, whatever they were called: :class:`Drawn`; and what is said of them.

Coefficients are computed draw by draw, population value + effect, so that their posterior SD and quantiles are right:
the SD of a sum does not follow from those of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.foreign import Foreign, GroupRows
from workbench.adapters.labels import group_names, term_label
from workbench.estimates import Component, Estimates, Parameters
from workbench.priors import coefficient_name
from workbench.sampling.diagnostics import complaints, diagnose, from_draws
from workbench.sampling.draws import Draws

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OfLevels:
    """Draws of one term of a grouping factor: labels of J levels, and values of shape (C, M, J)."""

    levels: Sequence[Any]
    values: Array


@dataclass(frozen=True, eq=False)
class Drawn:
    """C chains of N draws, by what they are of; group effects of every `every`-th draw.

    Attributes
    ----------
    population : mapping of term to array, shape (C, N)
    effects, coefficients : mapping of (group, term) to OfLevels
    sd : mapping of (group, term) to array, shape (C, N)
    correlation : mapping of (group, term, term) to array, shape (C, N)
    sigma : array, shape (C, N), or None
    others : mapping of str to array, shape (C, N)
    stats : mapping of str to array, shape (C, N)
        What a sampler says of its draws.
    kept : array of int, shape (M,), or None
        Which draws the group effects are of, where they are not of all.
    """

    population: Mapping[str, Array] = field(default_factory=dict)
    effects: Mapping[tuple[str, str], OfLevels] = field(default_factory=dict)
    coefficients: Mapping[tuple[str, str], OfLevels] = field(default_factory=dict)
    sd: Mapping[tuple[str, str], Array] = field(default_factory=dict)
    correlation: Mapping[tuple[str, str, str], Array] = field(default_factory=dict)
    sigma: Array | None = None
    others: Mapping[str, Array] = field(default_factory=dict)
    stats: Mapping[str, Array] = field(default_factory=dict)
    kept: NDArray[np.intp] | None = None


def summarised(drawn: Drawn, source: str, design: Design, level: float) -> Foreign:
    """Posterior means, SDs, equal-tailed intervals and convergence of everything drawn.

    Warnings and thresholds are those of `hierarchical` (:mod:`workbench.sampling.diagnostics`).
    """
    terms = list(drawn.population)
    b = _stacked(list(drawn.population.values()))
    population = None if b is None else from_draws(b, level)
    cov = None if b is None else np.atleast_2d(np.cov(b.reshape(-1, len(terms)), rowvar=False))
    groups = _group_rows(drawn, design, level)
    names, values = _parameters(drawn)
    stacked = _stacked(values)
    parameters = None if stacked is None else Parameters(names, from_draws(stacked, level))
    parts = [rows.values for rows in groups if rows.effect == "ran_coefs"] or [rows.values for rows in groups]
    parts += [] if parameters is None else [parameters.estimates]
    diagnostics = _diagnostics(drawn, parts)
    found = complaints(diagnostics)
    return Foreign(
        source=source,
        groups=groups,
        terms=terms,
        population=population,
        fixed_cov=cov,
        components=_components(drawn),
        sigma=None if drawn.sigma is None else float(drawn.sigma.mean()),
        converged=not found,
        warnings=tuple(found),
        parameters=parameters,
        diagnostics=diagnostics,
    )


def _stacked(parts: Sequence[Array]) -> Array | None:
    """Scalars side by side, shape (C, N, parts)."""
    return np.stack(parts, axis=-1) if parts else None


def _group_rows(drawn: Drawn, design: Design, level: float) -> tuple[GroupRows, ...]:
    """Effects and coefficients of every group and term, the ones made of the others draw by draw."""
    labels = {term_label(term): values for term, values in drawn.population.items()}
    fixed = {term_label(term) for term in design.fixed_terms}
    names = group_names({group for group, _ in (*drawn.effects, *drawn.coefficients)}, tuple(design.groups))
    made = []
    for key in dict.fromkeys((*drawn.effects, *drawn.coefficients)):
        group, term = key
        effect, coefficient = drawn.effects.get(key), drawn.coefficients.get(key)
        given = coefficient if effect is None else effect
        assert given is not None
        shift = labels.get(term_label(term))
        if shift is not None:
            shift = (shift if drawn.kept is None else shift[:, drawn.kept])[:, :, None]
        elif term_label(term) not in fixed and group in names:
            shift = np.zeros((1, 1, 1))  # the population value of a term that only varies
        pairs = [
            ("ran_vals", effect, None if effect is not None or shift is None else given.values - shift),
            ("ran_coefs", coefficient, None if coefficient is not None or shift is None else given.values + shift),
        ]
        for kind, own, computed in pairs:
            values = own.values if own is not None else computed
            if values is not None:
                estimates = from_draws(values, level)
                made.append(GroupRows(kind, group, list(given.levels), [term] * len(given.levels), estimates))
    return tuple(made)


def _parameters(drawn: Drawn) -> tuple[tuple[str, ...], list[Array]]:
    """Every scalar parameter under the name of its prior."""
    named: dict[str, Array] = {_coefficient(term): values for term, values in drawn.population.items()}
    named |= {} if drawn.sigma is None else {"sigma": drawn.sigma}
    named |= drawn.others
    for (group, term), values in drawn.sd.items():
        named[f"sd({group}, {_term(term)})"] = values
        for (other, one, two), correlation in drawn.correlation.items():
            if (other, two) == (group, term):
                named[f"cor({group}, {_term(one)}, {_term(two)})"] = correlation
    order = sorted(named, key=lambda name: (name.startswith(("sd(", "cor(")), name.startswith("cor(")))
    return tuple(order), [named[name] for name in order]


def _coefficient(term: str) -> str:
    return coefficient_name(_term(term))


def _term(term: str) -> str:
    """A term in R's spelling, its factors in their order."""
    return term if ":" in term else term_label(term)


def _components(drawn: Drawn) -> tuple[Component, ...]:
    """Posterior means of SDs and correlations, as covariances; NaN where a correlation was not drawn."""
    parts = []
    for group in dict.fromkeys(group for group, _ in drawn.sd):
        terms = [term for own, term in drawn.sd if own == group]
        sd = np.array([float(drawn.sd[group, term].mean()) for term in terms])
        matrix = np.full((len(terms),) * 2, np.nan)
        np.fill_diagonal(matrix, 1.0)
        for (own, one, other), values in drawn.correlation.items():
            if own == group:
                a, b = terms.index(one), terms.index(other)
                matrix[a, b] = matrix[b, a] = float(values.mean())
        parts.append(Component(group, tuple(terms), np.outer(sd, sd) * matrix))
    return tuple(parts)


def _diagnostics(drawn: Drawn, parts: Sequence[Estimates]) -> dict[str, Any]:
    every = (*drawn.population.values(), *drawn.sd.values(), *(part.values for part in drawn.effects.values()))
    first = next(iter((*every, *(part.values for part in drawn.coefficients.values()))))
    blank = Draws(np.empty((*first.shape[:2], 0)), None, (), (), (), stats=drawn.stats)
    return diagnose(blank, parts)

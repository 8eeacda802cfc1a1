"""A plain table of estimates: levels, terms, numbers; whether these are coefficients or deviations.

Numbers that are only called estimates are read as coefficients, and refused where they seem to be deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.columns import Columns
from workbench.adapters.foreign import Foreign, GroupRows
from workbench.adapters.kinds import Kinds, interval_words
from workbench.adapters.labels import group_names, term_label
from workbench.adapters.spreads import read_spreads, spread_term
from workbench.errors import ComparisonError, DataError
from workbench.estimates import Estimates
from workbench.words import join, significant

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]


def plain_rows(table: Columns, design: Design) -> Foreign:
    """Rows of levels, and of population coefficients where no level stands."""
    levels, terms = table.text("level"), table.text("term")
    spread = np.array([level is None and spread_term(term) for level, term in zip(levels, terms, strict=True)])
    of_level = np.array([level is not None for level in levels])
    if not of_level.any():
        raise DataError(
            f"{table.source} names no levels of a grouping factor. Give a column level, or one called "
            f"{join(list(design.groups), 'or')}."
        )
    own, fixed, pars = (table.at(np.flatnonzero(rows)) for rows in (of_level, ~of_level & ~spread, spread))
    kinds = Kinds(table.source, False, False)
    population = (
        None if not len(fixed) else _as_given(kinds, fixed, "estimate" if "estimate" in fixed else "coefficient")
    )
    components, sigma = read_spreads(table.source, pars.text("group"), pars.text("term"), pars.numbers("estimate"))
    pieces, said = _level_rows(own, design, kinds, bool(components) or sigma is not None)
    none = None if not len(fixed) else fixed.text("term")
    return Foreign(
        source=table.source,
        groups=tuple(pieces),
        terms=() if none is None else tuple("(Intercept)" if term is None else term for term in none),
        population=population,
        components=components,
        sigma=sigma,
        warnings=said,
    )


def _level_rows(own: Columns, design: Design, kinds: Kinds, of_draws: bool) -> tuple[list[GroupRows], tuple[str, ...]]:
    """Pieces of coefficients, deviations or both, and in words as what the numbers were read."""
    levels = [str(level) for level in own.text("level")]
    groups = own.text("group")
    every = own.text("term")
    terms = [
        _only_term(own.source, design, group) if term is None else term
        for group, term in zip(groups, every, strict=True)
    ]
    given = [name for name in ("deviation", "coefficient", "estimate") if name in own]
    if len(given) == 3 or given == ["coefficient", "estimate"]:
        raise DataError(
            f"{own.source} has columns for {join(given)}: which are the numbers? Keep coefficient, deviation or both."
        )
    said: tuple[str, ...] = ()
    pieces = []
    for name in given:
        effect = "ran_vals" if name == "deviation" or (name == "estimate" and of_draws) else "ran_coefs"
        values = _as_given(kinds, own, name, alone=name == given[0])
        if name == "estimate" and effect == "ran_coefs":
            _refuse_deviations(own.source, design, terms, values.estimate)
            said += ("Its column estimate was read as coefficients, population value + deviation.",)
        elif name == "estimate":
            said += ("Its column estimate was read as deviations from the population values, beside spreads.",)
        elif len(given) > 1 and name == "deviation" and np.isfinite(values.std_error).any():
            said += ("Its standard errors and intervals were read as those of the deviations.",)
        for group in dict.fromkeys(groups):
            rows = np.array([k for k, own_group in enumerate(groups) if own_group == group], dtype=np.intp)
            named, varied = ([words[k] for k in rows.tolist()] for words in (levels, terms))
            pieces.append(GroupRows(effect, group, named, varied, values.at(rows)))
    return pieces, said


def _as_given(kinds: Kinds, table: Columns, column: str, alone: bool = True) -> Estimates:
    """The numbers of a plain table; errors and intervals, where they belong to them (`alone`)."""
    source = table.source
    made = kinds.estimates(table, "ran_coefs", column)
    none = np.full(len(table), np.nan)
    numbers = {name: getattr(made, name) if alone else none for name in ("std_error", "conf_low", "conf_high")}
    words = {
        "std_error_kind": f"conditional SD, as given by {source}" if "condsd" in table else f"as given by {source}",
        "interval": interval_words(numbers, source),
    }
    for name, word in (("std_error", "std_error_kind"), ("conf_low", "interval")):
        if not np.isfinite(numbers[name]).any():
            words[word] = f"none: {source} gives none"
    rest: dict[str, Any] = numbers | words
    return Estimates(made.estimate, point=f"as given by {source}", **rest)


def _only_term(source: str, design: Design, group: str | None) -> str:
    """The one varying term of a group, for tables that name none."""
    named = group_names([group], tuple(design.groups))
    own = named[group][0] if group in named else None
    terms = [term for block in design.blocks if own in (None, block.group) for term in block.terms]
    if len(set(terms)) != 1:
        raise DataError(
            f"{source} has no column term, and {join(dict.fromkeys(terms))} vary by "
            f"{group or join(list(design.groups))}. Add one that says which each row is."
        )
    return terms[0]


def _refuse_deviations(source: str, design: Design, terms: Sequence[str], estimate: Array) -> None:
    """Refuse numbers called estimates that stand about zero where population values do not."""
    found = looks_like_deviations(design, terms, estimate)
    if found:
        raise ComparisonError(
            f"{source} does not say whether its estimates of {found[0]} are coefficients or deviations: they stand "
            f"about {found[1]}, the population value lies near {found[2]}. Call the column coefficient or deviation."
        )


def looks_like_deviations(design: Design, terms: Sequence[str], estimate: Array) -> tuple[str, str, str] | None:
    """The first term whose estimates stand about zero where its population value does not: its name, both values.

    The population value is that of least squares of the linear predictor (of counts and shares, of the transformed
    mean, for intercepts alone). Where it is itself near zero, beside the spread of the estimates, nothing can be told.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [11.0, 12.0, 14.0, 13.0], "g": list("aabb")})
    >>> looks_like_deviations(design, ["(Intercept)"] * 2, np.array([-0.9, 0.9]))
    ('(Intercept)', '0', '12.50')
    >>> looks_like_deviations(design, ["(Intercept)"] * 2, np.array([11.6, 13.4]))
    """
    typical = _typical(design)
    labels = np.array([term_label(term) for term in terms], dtype=object)
    for name, value in typical.items():
        own = estimate[(labels == term_label(name)) & np.isfinite(estimate)]
        varies = any(name in block.terms for block in design.blocks)
        if not varies or len(own) < 2:
            continue
        centre, error = float(np.mean(own)), float(np.std(own, ddof=1) / np.sqrt(len(own)))
        if abs(centre) < abs(centre - value) and abs(value) > 3 * error:
            return name, significant(round(centre, 12)), significant(value)
    return None


def _typical(design: Design) -> dict[str, float]:
    """Rough population values by term."""
    from workbench.families import family_of

    if design.link == "identity":
        root = np.sqrt(design.weights)
        b = np.linalg.lstsq(design.X * root[:, None], (design.y - design.offset) * root, rcond=None)[0]
        return dict(zip(design.fixed_terms, b.tolist(), strict=True))
    if design.fixed_terms != ("(Intercept)",) or design.offset.any():
        return {}  # other terms move the intercept
    mean = float(np.average(design.y, weights=design.weights))
    value = float(np.asarray(family_of(design.family, design.link).link(np.array([mean])))[0])
    return {"(Intercept)": value} if np.isfinite(value) else {}

"""Foreign numbers put where the design has its own: by group, level and term, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.labels import group_names, level_places, term_label
from workbench.errors import ComparisonError
from workbench.estimates import Component, Estimates, GroupEffects
from workbench.words import count, join, significant

if TYPE_CHECKING:
    from workbench.adapters.foreign import Foreign, GroupRows
    from workbench.design import Design, RandomBlock

Array = NDArray[np.float64]

SHOWN = 5
"""Missing and extra labels are named up to so many."""
AGREE = 1e-4
"""Coefficients, effects and population values agree to this share of the largest coefficient: files are rounded."""
WHOLE = 1e-10
"""Where the smallest eigenvalue of a level's scaled cross-products is below this, its rows do not tell its terms."""


def refuse_other_model(foreign: Foreign, design: Design) -> None:
    """Refuse another number of rows, another response or another scale, as far as these are told."""
    source = foreign.source
    if foreign.nobs is not None and foreign.nobs != design.n:
        raise ComparisonError(
            f"{source} is of {count(foreign.nobs, 'row')}, the comparison of {design.n:,}. Fit both to the same rows."
        )
    if foreign.response is not None and foreign.response.replace(" ", "") != design.response.replace(" ", ""):
        raise ComparisonError(
            f"{source} has the response {foreign.response}, the comparison {design.response}. Fit both to the same."
        )
    for what, theirs, ours in (("family", foreign.family, design.family), ("link", foreign.link, design.link)):
        if theirs is not None and theirs.lower() != ours:
            raise ComparisonError(
                f"{source} has the {what} {theirs}, the comparison {ours}: its numbers are on another scale. Fit both "
                "with the same family and link."
            )


def refuse_without_groups(foreign: Foreign) -> None:
    """Refuse an answer that says nothing of any group."""
    source = foreign.source
    if not any(rows.values.estimate.size for rows in foreign.groups):
        raise ComparisonError(
            f"{source} holds no group effects or coefficients, so there is nothing to compare group by group. Of R's "
            'broom.mixed, export tidy(fit, effects = c("fixed", "ran_pars", "ran_vals")).'
        )


# --- population ---------------------------------------------------------------------------------------


def population(foreign: Foreign, design: Design, level: float) -> Estimates:
    """Population coefficients in the design's order; NaN where none are given."""
    given = foreign.population
    if given is None:
        return _missing((len(design.fixed_terms),), f"none: {foreign.source} gives no population values")
    labels = [term_label(name) for name in foreign.terms]
    _refuse_twice(foreign.source, "population coefficient", labels)
    wanted = [term_label(name) for name in design.fixed_terms]
    known = np.isfinite(given.estimate)
    aliased = {term_label(name) for name in design.aliased}
    extra = [
        str(name)
        for name, label, told in zip(foreign.terms, labels, known.tolist(), strict=True)
        if label not in wanted and (told or label not in aliased)
    ]
    missing = [name for name, label in zip(design.fixed_terms, wanted, strict=True) if label not in labels]
    _refuse_difference(foreign.source, "population coefficients", missing, extra)
    return with_interval(given.at(np.array([labels.index(label) for label in wanted], dtype=np.intp)), level)


def fixed_cov(foreign: Foreign, design: Design) -> Array:
    """The covariance of the population coefficients in the design's order."""
    labels = [term_label(name) for name in foreign.terms]
    order = np.array([labels.index(term_label(name)) for name in design.fixed_terms], dtype=np.intp)
    assert foreign.fixed_cov is not None
    return np.asarray(foreign.fixed_cov[np.ix_(order, order)])


def with_interval(values: Estimates, level: float) -> Estimates:
    """A normal interval, said to be one, where a standard error was given without an interval."""
    given = np.isfinite(values.conf_low) | np.isfinite(values.conf_high)
    if given.any() or not np.isfinite(values.std_error).any():
        return values
    wald = Estimates.wald(values.estimate, values.std_error, level, values.point, values.std_error_kind)
    label = f"{wald.interval}, from the standard error"
    return replace(values, conf_low=wald.conf_low, conf_high=wald.conf_high, interval=label)


# --- groups -------------------------------------------------------------------------------------------


def group_effects(
    foreign: Foreign, design: Design, fixed: Estimates, level: float
) -> tuple[tuple[GroupEffects, ...], tuple[str, ...]]:
    """Effects and coefficients of every random block, and remarks on them.

    `fixed` are the aligned population coefficients.
    """
    found: dict[str, list[Estimates] | None] = {}
    for effect in ("ran_vals", "ran_coefs"):
        pieces = [rows for rows in foreign.groups if rows.effect == effect and rows.values.estimate.size]
        found[effect] = _aligned(foreign.source, effect, pieces, design, level) if pieces else None
    parts: list[GroupEffects] = []
    remarks: list[str] = []
    for place, block in enumerate(design.blocks):
        own = [0.0 if k is None else float(fixed.estimate[k]) for k in block.fixed]
        effects, coefficients = (None if values is None else values[place] for values in found.values())
        if effects is not None and coefficients is not None:
            remarks += _disagreement(foreign.source, block, effects, coefficients, np.array(own))
        if effects is None:
            assert coefficients is not None
            effects = _follows(coefficients, -np.array(own), "less", foreign.source)
        elif coefficients is None:
            coefficients = _follows(effects, np.array(own), "plus", foreign.source)
        parts.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effects, coefficients))
    return tuple(parts), tuple(remarks)


def _aligned(source: str, effect: str, pieces: Sequence[GroupRows], design: Design, level: float) -> list[Estimates]:
    """One kind of estimate by random block, each of shape (J, q)."""
    known = tuple(design.groups)
    names = group_names((piece.group for piece in pieces), known)
    if None not in names and any(piece.group is None for piece in pieces):
        raise ComparisonError(
            f"{source} names no grouping factor, and the design has {join(known)}. Add a column group that says which "
            "one each row is of."
        )
    strange = [str(piece.group) for piece in pieces if piece.group not in names]
    absent = [group for group in known if group not in {name for name, _ in names.values()}]
    _refuse_difference(source, "grouping factors", absent, strange)
    made: list[Estimates | None] = [None] * len(design.blocks)
    constant = {term_label(term) for term in design.fixed_terms} if effect == "ran_coefs" else set[str]()
    for group in known:
        mine = [(piece, names[piece.group][1]) for piece in pieces if names[piece.group][0] == group]
        terms = {term_label(term) for block in design.blocks if block.group == group for term in block.terms}
        mine = [(_varying(piece, constant - terms), reverse) for piece, reverse in mine]
        places = [k for k, block in enumerate(design.blocks) if block.group == group]
        columns = _group(source, effect, mine, [design.blocks[k] for k in places], level)
        for k, values in zip(places, columns, strict=True):
            made[k] = values
    return [values for values in made if values is not None]


def _varying(piece: GroupRows, constant: set[str]) -> GroupRows:
    """The rows of terms that vary: R's ``coef`` repeats the other population coefficients (`constant`) at every level.

    Terms that are said to be constant and are not are kept, to be refused by name.
    """
    labels = np.array([term_label(term) for term in piece.terms])
    kept = np.ones(len(labels), dtype=bool)
    for label in constant & set(labels.tolist()):
        own = labels == label
        values = piece.values.estimate[own]
        kept[own] = not np.ptp(values) <= AGREE * float(np.abs(values).max())
    if kept.all():
        return piece
    rows = np.flatnonzero(kept)
    return replace(
        piece,
        levels=[piece.levels[k] for k in rows.tolist()],
        terms=[piece.terms[k] for k in rows.tolist()],
        values=piece.values.at(rows),
        sizes=None if piece.sizes is None else piece.sizes[rows],
    )


def _group(
    source: str,
    effect: str,
    pieces: Sequence[tuple[GroupRows, bool]],
    blocks: Sequence[RandomBlock],
    level: float,
) -> list[Estimates]:
    """The blocks of one grouping factor, whose terms lie side by side."""
    group, levels = blocks[0].group, blocks[0].levels
    terms = [term for block in blocks for term in block.terms]
    wanted = {term_label(term): k for k, term in enumerate(terms)}
    J, q = len(levels), len(terms)
    rows, columns = [], []
    for piece, reverse in pieces:
        rows.append(np.array(level_places(list(piece.levels), levels, reverse), dtype=np.intp))
        labels = {name: wanted.get(term_label(name), -1) for name in dict.fromkeys(piece.terms)}
        columns.append(np.array([labels[name] for name in piece.terms], dtype=np.intp))
    row, column = np.concatenate(rows), np.concatenate(columns)
    _refuse_other_rows(source, group, levels, terms, pieces, row, column)
    cell = row * q + column
    times = np.bincount(cell, minlength=J * q)
    if (times > 1).any():
        first = int(np.argmax(times > 1))
        raise ComparisonError(
            f"{source} gives {terms[first % q]} of {group} {levels[first // q]} {times[first]} times ({effect}). Keep "
            "one row of each level and term; of several fits, one fit."
        )
    if not times.all():
        first = int(np.argmin(times))
        raise ComparisonError(
            f"{source} has no row for {count(int((times == 0).sum()), 'level and term', 'levels and terms')} of "
            f"{group}, {terms[first % q]} of {levels[first // q]} the first. Export all of them."
        )
    _refuse_other_sizes(source, blocks[0], pieces, row)
    order = np.empty(J * q, dtype=np.intp)
    order[cell] = np.arange(J * q)
    whole = with_interval(joined([piece.values for piece, _ in pieces]).at(order.reshape(J, q)), level)
    _refuse_missing(source, blocks, whole.estimate)
    ends = np.cumsum([len(block.terms) for block in blocks])
    return [whole.at((slice(None), slice(end - len(b.terms), end))) for end, b in zip(ends, blocks, strict=True)]


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Estimates of shape (m,) one after the other; labels that differ are all named."""
    if len(parts) == 1:
        return parts[0]
    arrays: dict[str, Any] = {}
    for name in ("estimate", "std_error", "conf_low", "conf_high", "median", "r_hat", "ess_bulk", "ess_tail"):
        every = [getattr(part, name) for part in parts]
        known = not all(values is None for values in every)
        arrays[name] = np.concatenate(
            [np.full(p.estimate.shape, np.nan) if v is None else v for p, v in zip(parts, every, strict=True)]
        ) if known else None  # fmt: skip
    words = {
        name: join(dict.fromkeys(getattr(part, name) for part in parts), "or")
        for name in ("point", "std_error_kind", "interval")
    }
    return Estimates(**(arrays | words))


def _refuse_other_rows(
    source: str,
    group: str,
    levels: Sequence[str],
    terms: Sequence[str],
    pieces: Sequence[tuple[GroupRows, bool]],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> None:
    """Refuse levels or terms that differ from the design's."""
    names = [str(name) for piece, _ in pieces for name in piece.levels]
    extra = dict.fromkeys(names[k] for k in np.flatnonzero(row < 0).tolist())
    seen = np.zeros(len(levels) + 1, dtype=bool)
    seen[row] = True  # -1 marks the last, which is none
    missing = [levels[k] for k in np.flatnonzero(~seen[:-1]).tolist()]
    _refuse_difference(source, f"levels of {group}", missing, list(extra))
    words = [name for piece, _ in pieces for name in piece.terms]
    strange = dict.fromkeys(words[k] for k in np.flatnonzero(column < 0).tolist())
    absent = [term for k, term in enumerate(terms) if not (column == k).any()]
    _refuse_difference(source, f"terms that vary by {group}", absent, list(strange))


def _refuse_other_sizes(
    source: str, block: RandomBlock, pieces: Sequence[tuple[GroupRows, bool]], row: NDArray[np.intp]
) -> None:
    """Refuse levels that are told to have other numbers of rows than the design's."""
    start = 0
    for piece, _ in pieces:
        own = row[start : start + len(piece.levels)]
        start += len(own)
        if piece.sizes is None:
            continue
        ours = block.sizes[own]
        other = np.flatnonzero(piece.sizes != ours)
        if len(other):
            k = int(other[0])
            raise ComparisonError(
                f"{source} has {count(int(piece.sizes[k]), 'row')} in {block.group} {block.levels[own[k]]}, the "
                f"comparison {int(ours[k]):,} (and so on, {count(len(set(own[other].tolist())), 'level')}). Fit both "
                "to the same rows."
            )


def _refuse_missing(source: str, blocks: Sequence[RandomBlock], estimate: Array) -> None:
    """Refuse estimates that are missing (J, q) where the rows of their level tell them."""
    lost = np.flatnonzero(~np.isfinite(estimate).all(axis=1))
    if not len(lost):
        return
    Z = np.hstack([block.Z for block in blocks])
    codes = np.asarray(blocks[0].codes)
    told = [blocks[0].levels[j] for j in lost.tolist() if _determined(Z[codes == j])]
    if told:
        raise ComparisonError(
            f"{source} has no estimate for {count(len(told), 'level')} of {blocks[0].group} ({_first(told)}), whose "
            "rows tell it. Leave no estimate empty."
        )


def _determined(Z: Array) -> bool:
    """Whether rows (m, q) tell q coefficients of their own."""
    size = np.sqrt((Z**2).sum(axis=0))
    if not size.all():
        return False
    scaled = Z / size
    return bool(np.linalg.eigvalsh(scaled.T @ scaled)[0] > WHOLE)


def _follows(given: Estimates, shift: Array, word: str, source: str) -> Estimates:
    """Coefficients of effects, or effects of coefficients: the points, which population values (q,) move."""
    if np.isnan(shift).all():
        return _missing(given.estimate.shape, f"none: {source} gives no population value to set beside its estimates")
    none = np.full(given.estimate.shape, np.nan)
    why = f"none: {source} gives none"
    return Estimates(given.estimate + shift, none, none, none, f"{given.point} {word} the population value", why, why)


def _disagreement(
    source: str, block: RandomBlock, effects: Estimates, coefficients: Estimates, own: Array
) -> Iterable[str]:
    """A remark where coefficients are not population values plus effects."""
    off = np.abs(coefficients.estimate - effects.estimate - own)
    for k, term in enumerate(block.terms):
        size = np.abs(coefficients.estimate[:, k])
        if block.fixed[k] is None or not np.isfinite(off[:, k]).any():
            continue
        worst = int(np.nanargmax(off[:, k]))
        if off[worst, k] > AGREE * float(np.nanmax(size, initial=0.0)):
            yield (
                f"In {source} coefficients are not population value plus effect: for {term} of {block.group} "
                f"{block.levels[worst]} they lie {significant(float(off[worst, k]))} apart. All stand here as given; "
                "see whether they are of one fit."
            )


def _missing(shape: tuple[int, ...], why: str) -> Estimates:
    none = np.full(shape, np.nan)
    return Estimates(none, none, none, none, why, why, why)


# --- variance components ------------------------------------------------------------------------------


def components(foreign: Foreign, design: Design) -> tuple[tuple[Component, ...], tuple[str, ...]]:
    """The covariance matrix of every random block, NaN where it is not known, and remarks; none if nothing is known."""
    names = group_names((part.group for part in foreign.components), tuple(design.groups))
    where = {
        (block.group, term_label(term)): (place, k)
        for place, block in enumerate(design.blocks)
        for k, term in enumerate(block.terms)
    }
    made = [np.full((len(block.terms),) * 2, np.nan) for block in design.blocks]
    extra, across = [], []
    for part in foreign.components:
        group = names[part.group][0] if part.group in names else part.group
        spots = [where.get((group, term_label(term))) for term in part.terms]
        extra += [f"{term} by {part.group}" for term, spot in zip(part.terms, spots, strict=True) if spot is None]
        for a, one in enumerate(spots):
            for b, other in enumerate(spots):
                value = float(part.covariance[a, b])
                if one is None or other is None:
                    continue
                if one[0] == other[0]:
                    made[one[0]][one[1], other[1]] = value
                elif a < b and value != 0 and np.isfinite(value):
                    across.append(f"{part.terms[a]} and {part.terms[b]} by {group}")
    _refuse_difference(foreign.source, "spreads", [], extra)
    remarks = (
        f"{foreign.source} lets {join(across)} correlate, which the formula here keeps apart: another model.",
    ) * bool(across)  # fmt: skip
    if not any(np.isfinite(np.diag(matrix)).any() for matrix in made):
        return (), remarks
    parts = tuple(Component(b.group, b.terms, matrix) for b, matrix in zip(design.blocks, made, strict=True))
    apart = [part for part in parts if np.isfinite(part.sd).all() and not np.isfinite(part.covariance).all()]
    remarks += tuple(
        f"{foreign.source} gives no correlation of {join(part.terms)} by {part.group}, which the formula has."
        for part in apart
    )
    return parts, remarks


# --- words --------------------------------------------------------------------------------------------


def _refuse_difference(source: str, what: str, missing: Sequence[str], extra: Sequence[str]) -> None:
    if not missing and not extra:
        return
    said = [
        f"{len(names):,} {words} ({_first(names)})"
        for names, words in ((missing, "missing there"), (extra, "not here"))
        if names
    ]
    raise ComparisonError(
        f"{source} has other {what} than the comparison: {' and '.join(said)}. Fit both with the same formula to the "
        "same rows, and export all of it."
    )


def _refuse_twice(source: str, what: str, labels: Sequence[str]) -> None:
    twice = [label for k, label in enumerate(labels) if label in labels[:k]]
    if twice:
        raise ComparisonError(f"{source} gives the {what} {twice[0]} twice. Keep one of them; of several fits, one.")


def _first(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")

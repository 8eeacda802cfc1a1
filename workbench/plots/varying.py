"""What the pictures stand on: one varying term of one random block, and which of its levels are shown.

A picture has room for so many levels. Up to `LABELLED` they stand in the design's order with their names;
beyond that they are ordered by value and lose their names; beyond `DRAWN` an evenly spaced choice along
that order is drawn, smallest and largest included, and the caption says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.errors import OptionError, nearest
from workbench.formula import deparse
from workbench.plots.style import limits
from workbench.rounding import DIGITS, places_of, rounded
from workbench.words import middle_cut

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.estimates import Estimates
    from workbench.fit import Fit

Array = NDArray[np.float64]

LABELLED = 60
"""Up to so many levels carry their names."""
DRAWN = 2_000
"""Up to so many levels are drawn."""
MIDDLE = 0.98
"""This share of many groups' own estimates stands inside the frame in any case."""
INTERCEPT = "(Intercept)"
PARTIAL = ("reml", "ml", "laplace", "agq", "fixed_prior", "hierarchical")
"""Estimators that pool partially, the one that stands for them first."""
UNPOOLED = ("complete_pooling", "no_pooling")
"""Those that pool wholly or not at all."""


@dataclass(frozen=True, eq=False)
class Varying:
    """One varying term: where it stands in the design, and its names for axes.

    Attributes
    ----------
    block, column : int
        Position of the random block, and of the term within it.
    group, term, response : str
    levels : tuple of str, J of them
    sizes : array of int, shape (J,)
    plain : bool
        Whether a group's coefficient is its mean response: one grouping factor, an intercept, no covariates, no
        offset, no link.
    link : str
        What coefficients are on the scale of; ``identity`` is that of the response.
    """

    block: int
    column: int
    group: str
    term: str
    response: str
    levels: Sequence[str]
    sizes: NDArray[np.intp]
    plain: bool
    link: str = "identity"

    @property
    def quantity(self) -> str:
        """What is estimated, on the scale of the linear predictor."""
        if self.plain:
            return f"mean of {self.response}"
        scale = "" if self.link == "identity" else f" ({self.link} scale)"
        if self.term == INTERCEPT:
            return f"intercept of {self.response}{scale}"
        return f"coefficient of {self.term} for {self.response}{scale}"

    @property
    def own_label(self) -> str:
        """What a group says by itself."""
        return "sample mean" if self.plain else "no-pooling coefficient"


def varying(comparison: Comparison) -> tuple[Varying, ...]:
    """All varying terms of a comparison's design, in its order."""
    design = comparison.design
    return tuple(
        Varying(
            index,
            column,
            block.group,
            term,
            measured(design),
            block.levels,
            block.sizes,
            term == INTERCEPT and is_plain(design),
            design.link,
        )
        for index, block in enumerate(design.blocks)
        for column, term in enumerate(block.terms)
    )


def measured(design: Design) -> str:
    """What the numbers y of a design are, for axes: the response, or which outcome's share it is."""
    if design.formula.cbind is not None:
        return f"share of {deparse(design.formula.cbind[0])}"
    return f"{design.response} = {' or '.join(design.outcomes[1:])}" if design.outcomes else design.response


def is_plain(design: Design) -> bool:
    """Whether the design has one grouping factor and nothing but intercepts, so that group coefficients are means."""
    if design.link != "identity":
        return False
    fixed_plain = set(design.fixed_terms) <= {INTERCEPT} and not design.aliased
    one = len({block.group for block in design.blocks}) == 1
    return one and fixed_plain and all(b.terms == (INTERCEPT,) for b in design.blocks) and not design.offset.any()


def named(v: Varying, terms: tuple[Varying, ...]) -> str:
    """What tells a term from the others: nothing where it is the only one, else its name, and its group if need be."""
    if len(terms) == 1:
        return ""
    return f"{v.term} by {v.group}" if len({u.group for u in terms}) > 1 else v.term


def pick(comparison: Comparison, term: str | None = None, group: str | None = None) -> Varying:
    """Find a varying term by name and grouping factor; the first where nothing is said.

    Raises
    ------
    OptionError
        There is no such term or group; the message names the nearest.
    """
    every = varying(comparison)
    found = [v for v in every if (group is None or v.group == group) and (term is None or v.term == term)]
    if found:
        return found[0]
    groups = dict.fromkeys(v.group for v in every)
    if group is not None and group not in groups:
        raise OptionError(f"There is no grouping factor {group!r} to draw. {nearest(group, groups)}")
    terms = dict.fromkeys(v.term for v in every if group is None or v.group == group)
    raise OptionError(
        f"The term {term!r} does not vary by group, so there is nothing to draw. {nearest(str(term), terms)}"
    )


def coefficients(fit: Fit, v: Varying) -> Array:
    """A fit's group coefficients of a term, shape (J,)."""
    return np.asarray(column(fit.group_effects[v.block].coefficient, v, "estimate"))


def apart(comparison: Comparison, one: str, other: str, v: Varying) -> Array:
    """How far two estimators' group coefficients of a term lie apart, shape (J,): 0 where that is rounding.

    Two ways to the same number end on neighbouring floats, which ones depends on the machine.
    """
    a, b = (coefficients(comparison.fits[name], v) for name in (one, other))
    known = np.abs(np.concatenate([a, b]))
    gap = np.abs(a - b)
    gap[gap <= DIGITS * known[np.isfinite(known)].max(initial=0.0)] = 0.0
    return gap


def column(estimates: Estimates, v: Varying, name: str) -> Array:
    """One column of a table of estimates, shape (J,)."""
    return np.asarray(getattr(estimates, name)[:, v.column])


def population(fit: Fit, v: Varying) -> float:
    """A fit's population value of a term; 0 where the term has no fixed column."""
    k = fit.design.blocks[v.block].fixed[v.column]
    return 0.0 if k is None else float(fit.population.estimate[k])


def own(comparison: Comparison, v: Varying) -> Array | None:
    """What each group says by itself, shape (J,), NaN where it says nothing.

    The no-pooling coefficient, else (plain designs) the sample mean; None where there is neither, as beside another
    grouping factor.
    """
    if comparison.alone is not None:
        return coefficients(comparison.alone, v)
    return sample_means(comparison.design, v.block) if v.plain else None


def without_own(v: Varying, alone: Array | None) -> str:
    """A sentence about the groups that have no estimate of their own while others do; empty where all have one."""
    missing = np.zeros(0, bool) if alone is None else ~np.isfinite(alone)
    if not missing.any():
        return ""
    low, high, many = int(v.sizes[missing].min()), int(v.sizes[missing].max()), int(missing.sum())
    sizes = f"n = {low:,}" if low == high else f"n from {low:,} to {high:,}"
    have = "group ({}) has no estimate of its own." if many == 1 else "groups ({}) have no estimate of their own."
    return f"{many:,} {have.format(sizes)}"


def framed(shown: Shown, loose: Array, *kept: Array | None) -> tuple[tuple[float, float], Array]:
    """The y axis's limits, which a few of many groups that say little by themselves must not stretch.

    Parameters
    ----------
    shown : Shown
    loose : array
        What the groups say by themselves: of few rows, it may be anything.
    *kept : array or None
        What always stands inside.

    Returns
    -------
    limits : tuple of two floats
        Those of everything; but where names have no room, and the middle `MIDDLE` of the loose values and all that
        are kept take up less than a third of that, those of these.
    beyond : array
        The loose values outside; mostly none.
    """
    whole, known = limits(loose, *kept), loose[np.isfinite(loose)]
    if shown.labels or not len(known):
        return whole, known[:0]
    close = limits(np.quantile(known, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2]), *kept)
    low, high = close if close[1] - close[0] < (whole[1] - whole[0]) / 3 else whole
    return (low, high), known[(known < low) | (known > high)]


def outside(v: Varying, beyond: Array) -> str:
    """A sentence about own estimates that a frame leaves out; empty where it leaves out none."""
    if not len(beyond):
        return ""
    low, high = figure4(beyond.min()), figure4(beyond.max())
    if len(beyond) == 1:
        return f"1 {v.own_label} drawn here lies outside the frame, at {low}."
    return f"{len(beyond):,} {v.own_label}s drawn here lie outside the frame, from {low} to {high}."


def sample_means(design: Design, block: int) -> Array:
    """Mean response of each level, weighted where the rows have weights, shape (J,)."""
    part, J = design.blocks[block], len(design.blocks[block].levels)
    total = np.bincount(part.codes, design.weights, J)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(part.codes, design.weights * design.y, J) / total)


def truth(comparison: Comparison, v: Varying) -> Array | None:
    """True group coefficients, shape (J,), NaN where unknown; None where none is known.

    The truth does not say of which grouping factor a level is: a level of several is taken as unknown.
    """
    if not comparison.truth:
        return None
    import pandas as pd

    known = comparison.true_values
    known = known[known["term"] == v.term]
    for block in comparison.design.blocks:
        if block.group != v.group:
            known = known[~known["level"].isin(block.levels)]
    values = np.full(len(v.levels), np.nan)
    place = pd.Index(v.levels).get_indexer(known["level"])
    values[place[place >= 0]] = known["value"].to_numpy()[place >= 0]
    return values if np.isfinite(values).any() else None


def partial(comparison: Comparison) -> str | None:
    """The estimator that stands for partial pooling: REML where it is there."""
    named = [name for name in PARTIAL if name in comparison.fits]
    other = [name for name, fit in comparison.fits.items() if name not in UNPOOLED and _has_coefficients(fit)]
    return next(iter(named or other), None)


def _has_coefficients(fit: Fit) -> bool:
    """Whether there are any: an answer from elsewhere may hold deviations alone."""
    return any(np.isfinite(part.coefficient.estimate).any() for part in fit.group_effects)


@dataclass(frozen=True, eq=False)
class Shown:
    """Which levels a picture shows.

    Attributes
    ----------
    index : array of int
    positions : array
        On the x axis.
    labels : tuple of str
        Their names; empty beyond `LABELLED`.
    note : str
        A remark for the caption.
    axis : str
        The x axis's label: the grouping factor and, where names have no room, how many levels stand there and how.
    """

    index: NDArray[np.intp]
    positions: Array
    labels: tuple[str, ...]
    note: str
    axis: str


def choose(v: Varying, by: Array, what: str, most: int = DRAWN) -> Shown:
    """Choose at most `most` levels to draw; `by` (J,), named by `what`, orders them where names have no room."""
    J = len(v.levels)
    if J <= LABELLED:
        return Shown(np.arange(J), np.arange(1.0, J + 1), told_apart(v.levels), "", v.group)
    order = np.argsort(by, kind="stable")
    last = ", those without one last" if np.isnan(by).any() else ""
    note = f"The {J:,} levels of {v.group} stand in the order of their {what}{last}."
    drawn = f"{J:,}"
    if most < J:
        order = order[np.unique(np.linspace(0, J - 1, most).round().astype(np.intp))]
        note = f"{note} {len(order):,} of them are drawn, evenly spaced along that order."
        drawn = f"{len(order):,} of {J:,}"
    axis = f"{printable(v.group)} ({drawn} levels, in the order of their {what})"
    return Shown(order, np.arange(1.0, len(order) + 1), (), note, axis)


def printable(text: str, width: int = 24) -> str:
    """A label without control characters, cut to `width` characters; a name in backticks that is cut keeps both.

    Examples
    --------
    >>> printable("intercept of `blood pressure`", 20)
    'intercept of `bloo…`'
    """
    clean = "".join(c if c.isprintable() else " " for c in text)
    if len(clean) <= width:
        return clean
    return f"{clean[: width - 2]}…`" if clean[: width - 2].count("`") % 2 else f"{clean[: width - 1]}…"


def told_apart(names: Iterable[str], width: int = 24) -> tuple[str, ...]:
    """Labels as of :func:`printable`; cut in their middle where they would be the same otherwise.

    Examples
    --------
    >>> told_apart(["County of Aitkin", "County of Anoka"], 11)
    ('Count…itkin', 'Count…Anoka')
    >>> told_apart(["Aitkin County", "Anoka"], 8)
    ('Aitkin …', 'Anoka')
    """
    every = tuple(names)
    made, middle = ([cut(name, width) for name in every] for cut in (printable, middle_cut))
    return tuple(middle if len(set(middle)) > len(set(made)) else made)


def figure4(value: float) -> str:
    """Four significant digits, for captions; whole numbers of any size are not put in powers of ten.

    Examples
    --------
    >>> figure4(0.00021459), figure4(1527.2), figure4(123456.7), figure4(-3e-9), figure4(2.5)
    ('0.0002146', '1527', '123457', '-3e-9', '2.5')
    """
    if not np.isfinite(value):
        return "not known"
    if not 1e-4 <= abs(value) < 1e15:
        mantissa, _, power = f"{value:.4g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    text = f"{rounded(value, places_of(value, 4)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def sizes_in_words(sizes: NDArray[np.intp]) -> str:
    """Group sizes for a caption: ``n = 10 in every group`` or ``n from 2 to 100``."""
    low, high = int(sizes.min()), int(sizes.max())
    return f"n = {low:,} in every group" if low == high else f"n from {low:,} to {high:,}"

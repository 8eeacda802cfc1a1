"""Formula x GroupedData -> :class:`Design`: what every estimator starts from.

    y | u ~ N(X b + sum_k Z_k u_k + offset, sigma^2 W^-1),     u_k ~ N(0, Sigma_k) in every level

or, for another family with link g, independent y_i given u with

    g(E y_i) = (X b + sum_k Z_k u_k + offset)_i,     Var y_i = phi V(E y_i) / w_i     (:mod:`workbench.families`)

=========  ==========================================  =================
symbol     name                                        shape
=========  ==========================================  =================
y          response; of a binomial one, shares         (n,)
X          fixed (population) columns                  (n, p)
Z_k        varying columns of random block k           (n, q_k)
codes_k    level of block k's factor, row by row       (n,), in 0..J_k-1
W          diagonal of prior weights x trials          (n,)
=========  ==========================================  =================

With known standard errors (``se``), W = 1/se^2 and sigma is 1 and not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.coding import Coding, Learnt, shared_spreads
from workbench.data import Factor, GroupedData, RowAccount, as_factor, read_only
from workbench.errors import DataError, DesignError, FormulaError, OptionError
from workbench.families import GROUPED_LINKS, family_of
from workbench.formula import Formula, RandomTerm, parse
from workbench.labels import LazyLevels
from workbench.model_matrix import Columns, evaluate, learn, model_columns
from workbench.packing import Portable
from workbench.rank import independent
from workbench.response import failure_label, one_sided, read_response
from workbench.row_arguments import read_rows


@dataclass(frozen=True, eq=False)
class RandomBlock:
    """One random term ``(terms | group)``: its levels share one covariance matrix (q, q).

    Attributes
    ----------
    group : str
        ``Subject``, or ``cask:batch`` for an interaction.
    levels : sequence of str
        J labels; for an interaction ``a:A``.
    codes : array of int, shape (n,)
    terms : tuple of str
        The q varying columns, by their R names.
    Z : array, shape (n, q)
    fixed : tuple of int or None
        For each varying column, the column of X with the same name (its population value), if there is one.
    """

    group: str
    levels: Sequence[str]
    codes: NDArray[np.intp]
    terms: tuple[str, ...]
    Z: NDArray[np.float64]
    fixed: tuple[int | None, ...]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows per level, shape (J,)."""
        return np.bincount(self.codes, minlength=len(self.levels))


@dataclass(frozen=True, eq=False)
class Design(Portable):
    """The arrays of a model and their names; read-only.

    `offset` is zero and `weights` one where none was given; such constants, and columns of ones alone, are held once
    (arrays of stride 0). `known_se` says that the residual SDs are
    known (``weights = 1 / se**2``, sigma = 1). `aliased` names the columns of X that were dropped
    because the columns before them already explain them.

    Of a binomial response `y` is the share of successes and `weights` are prior weights times `trials`, all that its
    likelihood needs; `trials` alone are the sums of ``cbind(successes, failures)``, and one otherwise. `outcomes` are
    the labels of a response of labels, the first of them failure; `remarks` say what is special about the response.
    """

    formula: Formula
    family: str
    link: str
    y: NDArray[np.float64]
    X: NDArray[np.float64]
    fixed_terms: tuple[str, ...]
    aliased: tuple[str, ...]
    blocks: tuple[RandomBlock, ...]
    weights: NDArray[np.float64]
    offset: NDArray[np.float64]
    known_se: bool
    rows: RowAccount
    coding: Coding
    trials: NDArray[np.float64]
    outcomes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Rows that enter the fit."""
        return len(self.y)

    @property
    def response(self) -> str:
        """The response as the formula writes it."""
        return self.formula.response_label

    @property
    def prior_weights(self) -> NDArray[np.float64]:
        """The weights that were given, without the trials, shape (n,)."""
        return self.weights if self.formula.cbind is None else self.weights / self.trials

    @property
    def estimates_dispersion(self) -> bool:
        """Whether the family has a dispersion (gaussian: the residual variance); it is 1 for counts and shares."""
        return family_of(self.family, self.link).estimates_dispersion

    def mean(self, predictor: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean responses at linear predictors, elementwise: the inverse of the link."""
        return predictor if self.link == "identity" else family_of(self.family, self.link).inverse(predictor)

    @property
    def groups(self) -> dict[str, int]:
        """Grouping factors and their numbers of levels, in the order of the formula."""
        return {block.group: len(block.levels) for block in self.blocks}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of any fit of this design must know about it."""
        found = []
        if self.aliased:
            names = ", ".join(self.aliased)
            found.append(f"Dropped from the fixed effects, because the columns before explain them: {names}.")
        if self.rows.dropped:
            found.append(self.rows.sentence() + ".")
        return (*found, *self.remarks, *shared_spreads(self.formula, self.coding.learnt))


def build_design(
    formula: str | Formula,
    data: Any,
    family: str = "gaussian",
    link: str | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    se: str | ArrayLike | None = None,
) -> Design:
    """Build the design of a grouped model.

    Parameters
    ----------
    formula : str or Formula
        lme4's notation, ``"Reaction ~ Days + (Days | Subject)"``.
    data : dataframe, mapping or path
        See :func:`workbench.data.read`.
    family, link : str
        See :data:`workbench.families.GROUPED_LINKS`; the first link is the default. A binomial response is 0/1, two
        labels (the first is failure), a share with the number of trials as `weights`, or
        ``cbind(successes, failures)``.
    weights, offset : column name or array of shape (rows of the table,), optional
        Prior weights (> 0; a row of weight zero, or without trials, is left out) and an offset on the scale of the
        linear predictor.
    se : column name or array, optional
        Known standard error of each row of a gaussian response (meta-analysis); excludes `weights`.

    Raises
    ------
    FormulaError, DataError, DesignError, OptionError
        Each says what was wrong, the value seen and what to do.

    Examples
    --------
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 0, 1], "g": ["a", "a", "b", "b"]}
    >>> design = build_design("y ~ x + (1 | g)", table)
    >>> design.fixed_terms, design.blocks[0].levels, design.X.shape
    (('(Intercept)', 'x'), ('a', 'b'), (4, 2))
    """
    if not isinstance(formula, str | Formula):
        raise FormulaError(f'The formula is {formula!r}, but must be text such as "y ~ x + (1 | g)".')
    parsed = parse(formula) if isinstance(formula, str) else formula
    chosen = family_of(family, link, GROUPED_LINKS)
    _check_request(parsed, chosen.name, weights is not None, se is not None)
    read = read_rows(parsed, data, {"weights": weights, "offset": offset, "se": se})
    table, columns = read.table, read.columns
    failure = failure_label(parsed, table)
    table, columns = _without_zeros(table, columns, columns.get("weights"), trialless=False)

    row_weights = _row_weights(columns, table)
    response = read_response(parsed, table, chosen, row_weights if "weights" in columns else None, failure)
    if parsed.cbind is not None:
        used = response.trials > 0
        table, columns = _without_zeros(table, columns, response.trials, trialless=True)
        response, row_weights = response.at(used), (row_weights * response.trials)[used]
    learnt = learn(parsed.predictors, table)
    fixed = model_columns(parsed.terms, parsed.intercept, table, learnt)
    kept, aliased = independent(fixed.values)
    names = tuple(fixed.names[k] for k in kept)
    blocks = tuple(
        _block(term, table, names, fixed if _same_columns(term, parsed) else None, learnt) for term in parsed.random
    )
    offsets = [evaluate(e, table, learnt) for e in parsed.offsets]
    offsets += [columns["offset"]] if "offset" in columns else []
    total_offset = np.sum(offsets, axis=0) if offsets else np.broadcast_to(0.0, len(table))
    _check_response(parsed.response_label, response.y, total_offset, chosen.name)
    design = Design(
        formula=parsed,
        family=chosen.name,
        link=chosen.link_name,
        y=read_only(response.y),
        X=read_only(fixed.values[:, kept] if aliased else fixed.values),
        fixed_terms=names,
        aliased=tuple(fixed.names[k] for k in aliased),
        blocks=blocks,
        weights=read_only(row_weights),
        offset=read_only(total_offset),
        known_se="se" in columns,
        rows=table.rows,
        coding=Coding(
            learnt, tuple(kept), read.names["offset"] if "offset" in columns else None, isinstance(offset, str)
        ),
        trials=read_only(response.trials),
        outcomes=response.outcomes,
        remarks=(*response.notes, *one_sided(parsed.response_label, response.y, chosen)),
    )
    _check_identified(design)
    return design


def check_gaussian(design: Design, what: str) -> None:
    """Refuse a design of another family, for which `what` would be wrong, with an OptionError."""
    if design.family != "gaussian":
        raise OptionError(
            f"{what}: for gaussian responses only, so far; {design.response} is {design.family} ({design.link} link). "
            "Fit the model with an estimator of its family."
        )


# --- parts --------------------------------------------------------------------------------------------


def _check_request(formula: Formula, family: str, weights: bool, se: bool) -> None:
    """Refuse what no table could make a design of."""
    if not formula.random:
        raise DesignError(
            f"The formula {formula} has no random term, so there are no group effects. Add one, such as (1 | group)."
        )
    if se and weights:
        raise OptionError("Both weights and se were given; se already sets the weights to 1/se^2. Give one of them.")
    if se and family != "gaussian":
        raise OptionError(
            f"se gives the known standard errors of a gaussian response; a {family} response varies as its mean "
            "says. Leave se out, or use weights."
        )


def _check_response(label: str, y: NDArray[np.float64], offset: NDArray[np.float64], family: str) -> None:
    """Refuse a response without spread where a dispersion is estimated, or of a size that floats cannot square.

    Counts and shares may all be the same: without a prior their estimates may be infinite, with one they are not.
    """
    if family in ("binomial", "poisson"):
        return
    less = offset if family == "gaussian" else np.zeros(1)  # elsewhere the offset is on another scale
    spread, without = float(np.ptp(y - less)), " less its offset" if less.any() else ""
    if spread <= 1e-14 * float(np.abs(y).max()):
        raise DesignError(
            f"The response {label}{without} is constant ({y[0] - less[0]:g} in all {len(y):,} rows): "
            "there is nothing to explain."
        )
    if not 1e-120 < spread < 1e120:
        raise DesignError(f"The response {label} spreads over {spread:g}, too far for its squares. Change its unit.")


def _same_columns(term: RandomTerm, formula: Formula) -> bool:
    return (term.terms, term.intercept) == (formula.terms, formula.intercept)


def _block(
    term: RandomTerm, table: GroupedData, fixed_terms: tuple[str, ...], known: Columns | None, learnt: Learnt
) -> RandomBlock:
    """A random term's block; `known` are its columns where they have been made already."""
    group = grouping(term, table)
    if len(group.levels) < 2:
        raise DesignError(
            f"The grouping factor {term.group_label} has {len(group.levels)} level ({group.levels[0]!r}); "
            "a spread between groups needs at least 2. Choose another column."
        )
    varying = known or model_columns(term.terms, term.intercept, table, learnt)
    if not varying.names:
        raise DesignError(
            f"The random term ({term.text}) varies nothing. Write (1 | {term.group_label}) for intercepts."
        )
    return RandomBlock(
        group=term.group_label,
        levels=group.levels,
        codes=group.codes,
        terms=varying.names,
        Z=read_only(varying.values),
        fixed=tuple(fixed_terms.index(name) if name in fixed_terms else None for name in varying.names),
    )


def grouping(term: RandomTerm, table: GroupedData) -> Factor:
    """The factor of a random term; an interaction takes the combinations that occur, the first name running slowest."""
    parts = [as_factor(table[name]) for name in term.group]
    if len(parts) == 1:
        return parts[0]
    combined = np.zeros(len(table), dtype=np.intp)
    for part in parts:
        combined = combined * len(part.levels) + part.codes
    used, codes = np.unique(combined, return_inverse=True)
    labels = LazyLevels(len(used), partial(_combined, tuple(part.levels for part in parts), used))
    return Factor(term.group_label, read_only(codes, np.intp), labels)


def _combined(levels: tuple[Sequence[str], ...], used: NDArray[np.intp]) -> tuple[str, ...]:
    """The labels ``a:b`` of combinations, numbered with the last factor's level running fastest."""
    rest, parts = used, []
    for own in reversed(levels):
        rest, code = np.divmod(rest, len(own))
        parts.append([own[c] for c in code.tolist()])
    return tuple(map(":".join, zip(*reversed(parts), strict=True)))


def _without_zeros(
    table: GroupedData, columns: dict[str, NDArray[np.float64]], weights: NDArray[np.float64] | None, trialless: bool
) -> tuple[GroupedData, dict[str, NDArray[np.float64]]]:
    """Leave out rows of weight zero: they carry no information, and their levels must not count."""
    if weights is None or (weights != 0).all():
        return table, columns
    if not weights.any():
        what = "number of trials" if trialless else "weight"
        raise DataError(f"Every {what} is zero, so no row is left. Give positive ones.")
    return table.without(weights == 0, trialless), {key: values[weights != 0] for key, values in columns.items()}


def _row_weights(columns: Mapping[str, NDArray[np.float64]], table: GroupedData) -> NDArray[np.float64]:
    for name in ("weights", "se"):
        if name not in columns:
            continue
        values = columns[name]
        bad = np.flatnonzero(values <= 0) if name == "se" else np.flatnonzero(values < 0)
        if len(bad):
            raise DesignError(
                f"{name} must be positive, but is {values[bad[0]]:g} in data row {table.kept[bad[0]] + 1}. Mend "
                "these values."
            )
        return np.array(values if name == "weights" else values**-2.0)
    return np.broadcast_to(1.0, len(table))


def _check_identified(design: Design) -> None:
    """Refuse designs in which the spread between groups cannot be told from the residual or from another's."""
    seen: set[tuple[str, str]] = set()
    for block in design.blocks:
        for term in block.terms:
            if (block.group, term) in seen:
                raise DesignError(
                    f"{term} varies by {block.group} twice, so its two spreads cannot be told apart. Leave it out "
                    "of one term."
                )
            seen.add((block.group, term))
    if design.known_se or not design.estimates_dispersion:
        return
    way_out = "Give known standard errors (se=), or group" if design.family == "gaussian" else "Group"
    for block in design.blocks:
        levels, effects = len(block.levels), len(block.levels) * len(block.terms)
        if levels >= design.n:
            raise DesignError(
                f"The grouping factor {block.group} has {levels:,} levels in {design.n:,} rows: with one row per "
                f"group, between-group and residual spread cannot be told apart. {way_out} more coarsely."
            )
        if effects >= design.n:
            raise DesignError(
                f"({' + '.join(block.terms)} | {block.group}) needs {effects:,} group effects, but there are "
                f"{design.n:,} rows. Let fewer columns vary, or group more coarsely."
            )
    if design.n <= len(design.fixed_terms):
        raise DesignError(
            f"There are {design.n} rows for {len(design.fixed_terms)} fixed effects, so nothing is left for the "
            "residual."
        )

"""Tables of estimates -> :class:`~workbench.adapters.foreign.Foreign`: ours, broom.mixed's, and plain ones.

=====================  ==============================================================================================
layout                 known by
=====================  ==============================================================================================
tidy rows              a column ``effect`` that says ``fixed``, ``ran_pars``, ``ran_vals`` or ``ran_coefs``: the
                       ``estimates.csv`` of our reports, ``comparison.estimates``, ``broom.mixed::tidy()``
lme4's random effects  ``as.data.frame(ranef(fit))``: ``grpvar, term, grp, condval, condsd``
plain                  ``group, level, term, estimate`` and ``std_error, conf_low, conf_high``; `group` and `term` may
                       be left out where there is only one. Rows without a level are population coefficients. A column
                       ``coefficient`` holds population value + deviation, ``effect`` or ``deviation`` the deviation;
                       ``estimate`` is read as a coefficient, and refused where it seems to be a deviation
wide                   a level a row and a varying term a column, ``write.csv(coef(fit)$Subject, ...)``
                       (:mod:`workbench.adapters.wide`)
=====================  ==============================================================================================

Column names may be spelled R's way (``std.error``, ``conf.low``), intervals by their quantiles (``Q2.5``, ``97.5 %``);
columns that are not read are named in a remark. The terms of `ran_pars` are read in
:mod:`workbench.adapters.spreads`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.columns import Columns, columns_of, one_estimator, which_of
from workbench.adapters.foreign import Foreign, GroupRows
from workbench.adapters.kinds import Kinds, wald_level
from workbench.adapters.plain import plain_rows
from workbench.adapters.spreads import read_spreads
from workbench.errors import ComparisonError, DataError
from workbench.words import join

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")


def read_tidy(source: Any, design: Design, level: float = 0.95, estimator: str | None = None) -> Foreign:
    """Read a table of estimates.

    Parameters
    ----------
    source : dataframe, mapping of columns, or path
        Of a file with several estimators, ``"estimates.csv:reml"`` names one.
    design : Design
        Whose groups and terms stand for those that a plain table leaves out.
    level : float
        Probability of the comparison's intervals; others are remarked on.
    estimator : str, optional
        Which one of several is meant, if it is there.

    Raises
    ------
    DataError
        No such file; no column of estimates; text where numbers are needed.
    ComparisonError
        Several estimators, several components or responses; exponentiated coefficients; deviations that are not said
        to be any.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> found = read_tidy({"level": ["a", "b"], "estimate": [1.6, 3.4], "se": [0.3, 0.3]}, design)
    >>> found.groups[0].effect, found.groups[0].values.std_error_kind, found.warnings[0]
    ('ran_coefs', 'as given by the table given', 'Its column estimate was read as coefficients, population value + deviation.')
    """  # noqa: E501
    path, chosen = which_of(source)
    table = columns_of(path, design)
    table = one_estimator(table, chosen, estimator)
    if not len(table):
        raise DataError(f"{table.source} has no rows. Save the table again.")
    read = _tidy_rows(table, level) if "kind" in table else plain_rows(table, design)
    if not table.unread:
        return read
    several = len(table.unread) > 1
    left = f"Its column{'s' * several} {join(table.unread)} {'were' if several else 'was'} not read."
    return replace(read, warnings=(*read.warnings, left))


# --- tidy rows ----------------------------------------------------------------------------------------


def _tidy_rows(table: Columns, level: float) -> Foreign:
    kinds = [("ran_vals" if kind == "ran_modes" else kind) for kind in table.text("kind")]
    for kind in dict.fromkeys(kinds):
        if kind not in EFFECTS:
            raise DataError(
                f"The column effect of {table.source} holds {kind!r}; known are {join(EFFECTS)}. Of a plain table call "
                "the numbers coefficient or deviation."
            )
    _refuse_other_parts(table)
    rows = {kind: np.flatnonzero(np.array([k == kind for k in kinds])) for kind in EFFECTS}
    fixed = table.at(rows["fixed"])
    _refuse_exponentiated(fixed)
    words = Kinds.of(table, fixed)
    groups: list[GroupRows] = []
    for effect in ("ran_vals", "ran_coefs"):
        groups += _group_rows(table.at(rows[effect]), effect, words)
    pars = table.at(rows["ran_pars"])
    components, sigma = read_spreads(table.source, pars.text("group"), pars.text("term"), pars.numbers("estimate"))
    sizes = fixed.numbers("n")
    return Foreign(
        source=table.source,
        groups=tuple(groups),
        terms=tuple(str(term) for term in fixed.text("term")),
        population=words.estimates(fixed, "fixed") if len(fixed) else None,
        components=components,
        sigma=sigma,
        nobs=int(sizes[0]) if len(sizes) and np.isfinite(sizes[0]) else None,
        warnings=_other_level(table, words, level),
    )


def _group_rows(table: Columns, effect: str, kinds: Kinds) -> list[GroupRows]:
    """One piece for every grouping factor named."""
    found = []
    names = table.text("group")
    sizes = table.numbers("n")
    for group in dict.fromkeys(names):
        rows = np.array([k for k, name in enumerate(names) if name == group], dtype=np.intp)
        own = table.at(rows)
        levels, terms = own.text("level"), own.text("term")
        if None in levels or None in terms:
            raise DataError(
                f"{table.source} has rows of {effect} without a level or a term. Export them as they are, row by row."
            )
        n = sizes[rows]
        found.append(
            GroupRows(
                effect, group, [str(x) for x in levels], [str(t) for t in terms], kinds.estimates(own, effect),
                n.astype(np.intp) if np.isfinite(n).all() else None,
            )
        )  # fmt: skip
    return found


def _other_level(table: Columns, kinds: Kinds, level: float) -> tuple[str, ...]:
    """A remark where the table's intervals are of another probability."""
    p = None if kinds.ours else wald_level({n: table.numbers(n) for n in ("std_error", "conf_low", "conf_high")})
    if p is None or abs(p - level) < 5e-4:
        return ()
    return (f"Its intervals are of {100 * p:.4g} %, those of this comparison of {100 * level:.4g} %.",)


def _refuse_other_parts(table: Columns) -> None:
    """Refuse models of more than a mean: zero inflation, dispersion, several responses."""
    for name, usual in (("component", ("cond", "conditional")), ("response", ())):
        seen = [word for word in dict.fromkeys(table.text(name)) if word is not None]
        other = [word for word in seen if word not in usual]
        if other and (name == "component" or len(seen) > 1):
            raise ComparisonError(
                f"{table.source} is of a model with several {name}s, {join(seen)}: another model than any here. Fit "
                "one response by its mean alone."
            )


def _refuse_exponentiated(fixed: Columns) -> None:
    """Refuse odds or rate ratios in place of coefficients: exp(b), exp(b) SE, with the statistic of b."""
    estimate, error, statistic = (fixed.numbers(name) for name in ("estimate", "std_error", "statistic"))
    low, high = fixed.numbers("conf_low"), fixed.numbers("conf_high")
    known = np.isfinite(estimate)
    if not known.any() or (estimate[known] <= 0).any():
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(estimate)
        signs = (  # how far each reading lies off, as a share: of the statistic, of half the interval
            (estimate / error / statistic - 1, logs * estimate / error / statistic - 1),
            ((low + high - 2 * estimate) / (high - low), (np.log(low * high) - 2 * logs) / np.log(high / low)),
        )
    for plain, ratio in signs:
        told = np.isfinite(plain) & np.isfinite(ratio)
        if told.any() and np.abs(ratio[told]).max() < min(1e-2, 0.1 * np.abs(plain[told]).max()):
            raise ComparisonError(
                f"The population coefficients of {fixed.source} are exponentiated (odds or rate ratios), which is "
                "another scale than that of the group effects. Export with exponentiate = FALSE."
            )

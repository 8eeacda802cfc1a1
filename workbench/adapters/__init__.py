"""Answers from elsewhere, brought into a comparison: :func:`adapt`.

A table or file, an ArviZ posterior, a bambi model, a statsmodels result: a reader fills a
:class:`~workbench.adapters.foreign.Foreign` with what is there, and
:func:`~workbench.adapters.foreign.as_fit` aligns it to the design.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ComparisonError

if TYPE_CHECKING:
    from workbench.adapters.foreign import Foreign
    from workbench.design import Design
    from workbench.fit import Fit


def refuse_name(name: str) -> None:
    """Refuse a name that an answer from elsewhere cannot have (:mod:`workbench.adapters.foreign`)."""
    from workbench.adapters.foreign import refuse_name

    refuse_name(name)


def adapt(
    source: Any,
    like: Any,
    name: str | None = None,
    level: float = 0.95,
    variables: Mapping[str, Any] | None = None,
) -> Fit:
    """Bring an answer from elsewhere beside our own: a Fit of the same design, holding what the answer holds.

    Parameters
    ----------
    source
        One of

        * a dataframe, a mapping of columns, or a path to a CSV, TSV, Parquet, Arrow or RDS file: an ``estimates.csv``
          of our reports, a ``broom.mixed::tidy()`` export, or columns ``group, level, term, estimate``
          (:mod:`workbench.adapters.tidy`); of a file with several estimators one is named after a colon,
          ``"estimates.csv:reml"``;
        * an ArviZ posterior: a DataTree, an InferenceData, a Dataset or a path to a NetCDF file
          (:mod:`workbench.adapters.draws`);
        * a bambi model with its posterior, ``(model, idata)`` (:mod:`workbench.adapters.bambi_model`);
        * the result of a statsmodels mixed model (:mod:`workbench.adapters.statsmodels_result`);
        * a :class:`~workbench.adapters.foreign.Foreign`, or a Fit that was read before.
    like : Fit, Comparison or Design
        What it is set beside: the design that it must be of.
    name : str, optional
        What it is called in tables and pictures; by default after the file or the software.
    level : float
        Probability of intervals that are made of draws or of standard errors; those that are given stay.
    variables : mapping, optional
        Of draws: which variables are what, where their names do not say so.

    Returns
    -------
    Fit
        What the answer does not hold is NaN; the first warning says where it was read from.

    Raises
    ------
    ComparisonError
        Another response, scale, number of rows, other groups, levels or terms.
    DataError
        A source that cannot be read.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> fit = wb.fit("y ~ 1 + (1 | g)", table)
    >>> read = adapt({"level": ["c", "a", "b"], "coefficient": [6.0, 2.0, 3.5]}, fit, "mine")
    >>> read.coefficients[["estimator", "level", "estimate"]].values.tolist()
    [['mine', 'a', 2.0], ['mine', 'b', 3.5], ['mine', 'c', 6.0]]
    >>> read.warnings[0]
    'Read from the table given, not computed here.'
    """
    from workbench.adapters.foreign import as_fit
    from workbench.estimators import REGISTRY, Settings
    from workbench.fit import Fit

    Settings(level=level)  # refuses what is no probability
    design: Design = getattr(like, "design", like)
    if isinstance(source, Fit):
        return _read_before(source, name)
    own, foreign = _read(source, design, name, level, variables)
    if name is None:
        name = f"{own} (read)" if own in REGISTRY else own
    return as_fit(foreign, design, name, level)


def read_foreign(
    foreign: Mapping[str, Any], design: Design, level: float = 0.95, present: Iterable[str] = ()
) -> dict[str, Fit]:
    """Answers from elsewhere as fits, by name.

    Parameters
    ----------
    foreign : mapping of name to source
        See :func:`adapt`.
    design : Design
    level : float
        Probability of intervals made of draws or standard errors.
    present : iterable of str
        Names that are taken.

    Raises
    ------
    ComparisonError
        A name that is taken, or an answer to another question.
    """
    taken = set(present)
    for name in foreign:
        if name in taken:
            raise ComparisonError(f"There is a fit called {name!r} in this comparison already. Name it otherwise.")
        refuse_name(name)
    return {name: adapt(source, design, name, level) for name, source in foreign.items()}


def _read_before(fit: Fit, name: str | None) -> Fit:
    """A fit that was read, under another name; our own fits have names and needs of their own."""
    if fit.read_from is None:
        raise ComparisonError(
            f"This is a fit by {fit.estimator}, which was not read from elsewhere. Name the estimator among those to "
            "compare, or lay fits side by side by wb.Comparison({name: fit, ...})."
        )
    if name is not None:
        refuse_name(name)
    return replace(fit, estimator=name or fit.estimator)


def _read(
    source: Any, design: Design, name: str | None, level: float, variables: Mapping[str, Any] | None
) -> tuple[str, Foreign]:
    """A name for the source, and what it holds."""
    from workbench.adapters.bambi_model import is_bambi, read_bambi
    from workbench.adapters.draws import is_posterior, read_draws
    from workbench.adapters.foreign import Foreign
    from workbench.adapters.tidy import read_tidy

    if isinstance(source, Foreign):
        return "foreign", source
    if type(source).__module__.startswith("statsmodels"):
        read_statsmodels = import_module("workbench.adapters.statsmodels_result").read_statsmodels
        return "statsmodels", read_statsmodels(source, design, level)
    if is_bambi(source):
        return "bambi", read_bambi(source, design, level, variables)
    own = Path(source).stem if isinstance(source, str | Path) else "foreign"
    if is_posterior(source):
        return own, read_draws(source, design, level, variables)
    if variables is not None:
        raise ComparisonError("variables say which draws are what, but this is a table of estimates. Leave them out.")
    return own, read_tidy(source, design, level, name)

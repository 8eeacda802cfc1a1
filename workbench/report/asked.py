"""What a comparison was made from, for the lines that make it again: file, columns, seed, level, priors.

Command, Python, PyMC and R take it from here, so that they speak of one model. Where something was given as an object
(a dataframe, an array), a name stands for it, the same one in all of them, and a remark says what it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from workbench.prior_defaults import default_priors
from workbench.sampling.responses import SAMPLED

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.report.context import Context

WHAT = {"weights": "the prior weights", "offset": "the offset", "se": "the known standard errors"}
"""Arguments with a value for each row."""
NO_FILE = "data.csv"
"""Stands for a table of which no file is known."""


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes
    ----------
    data : str
        The file: as it was given where that is a path from here, else its name alone, as folders are nobody's business.
    columns : mapping of str to str
        The columns given as weights, offset or known standard errors; those that were not given are not in it.
    seed : int
    level : float
    priors : mapping of str to str
        Those that are not the defaults, by name.
    truth : str
        The file of the true values; empty where none is known.
    remarks : tuple of str
        Sentences about what stands for something else, for comments.
    """

    data: str
    columns: Mapping[str, str]
    seed: int
    level: float
    priors: Mapping[str, str]
    truth: str
    remarks: tuple[str, ...]

    @property
    def comments(self) -> list[str]:
        """The remarks as lines of a shell, of Python and of R."""
        return [f"# {' '.join(remark.split())}" for remark in self.remarks]


def asked(comparison: Comparison, context: Context) -> Asked:
    """Collect what a comparison was made from: of a study what that says, else what the call said."""
    said = {**comparison.call, **context.study}
    remarks = []
    if not said.get("data"):
        remarks.append(f"{NO_FILE} stands for the table, of which no file is known here: save it under this name.")
    columns = {}
    for key, there in _by_row(comparison).items():
        if said.get(key):
            columns[key] = str(said[key])
        elif there:
            columns[key] = _free_name(comparison, key)
            remarks.append(
                f"The column {columns[key]} stands for {WHAT[key]}, whose column is not known here, or which came "
                "beside the table: add it."
            )
    offset = comparison.design.coding
    if offset.offset is not None and offset.offset_is_column and not said.get("offset"):
        columns["offset"] = offset.offset
    return Asked(
        data=file_name(str(said.get("data") or NO_FILE)),
        columns=columns,
        seed=int(said.get("seed", 1)),
        level=float(said.get("level", 0.95)),
        priors=_stated_priors(comparison, dict(said.get("priors") or {})),
        truth=file_name(str(dict(said.get("truth") or {}).get("file", ""))),
        remarks=tuple(remarks),
    )


def file_name(path: str) -> str:
    """A path as it was given, or the name alone of one that says where things lie on a machine.

    >>> file_name("data/firms.parquet"), file_name("/home/somebody/firms.parquet")
    ('data/firms.parquet', 'firms.parquet')
    """
    for flavour in (PurePosixPath, PureWindowsPath):
        if flavour(path).is_absolute():
            return flavour(path).name
    return PurePath(path).as_posix() if path else ""


def _by_row(comparison: Comparison) -> dict[str, bool]:
    """Which arguments of each row the design must have had; a column of the offset is known to it."""
    design = comparison.design
    return {
        "weights": not design.known_se and bool((np.abs(design.prior_weights - 1) > 1e-12).any()),
        "offset": design.coding.offset is not None and not design.coding.offset_is_column,
        "se": design.known_se,
    }


def _free_name(comparison: Comparison, key: str) -> str:
    """The argument's own name, unless the formula has a column of that name."""
    return f"{key}_given" if key in comparison.design.formula.variables else key


def _stated_priors(comparison: Comparison, stated: Mapping[str, object]) -> dict[str, str]:
    """Priors that are not the defaults, by name."""
    if stated:
        return {key: str(prior) for key, prior in stated.items()}
    design = comparison.design
    defaults = default_priors(design, robust=True) if design.family in SAMPLED else {}
    usual = {key: str(prior) for key, prior in defaults.items()}
    every = {key: text for fit in comparison.fits.values() for key, text in fit.priors.items()}
    return {key: text for key, text in every.items() if usual.get(key) != text}

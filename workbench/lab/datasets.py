"""The tables that pages run on: studies that come along, by name.

What a page is asked for stands in its address under ``data``; :func:`chosen` finds the design. Designs are read once
and kept: they never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from workbench.design import Design
from workbench.errors import OptionError
from workbench.estimators import Settings
from workbench.lab.controls import Choice
from workbench.study import load_study
from workbench.words import join

NAME = "data"
"""Of the control, and in the address."""
INTERCEPTS = ("twelve_groups", "eight_schools", "dyestuff", "dyestuff2", "baseball")
"""Studies of groups' means: one grouping factor, nothing but the intercept varies."""
SLOPES = ("sleepstudy", "radon")
"""Studies with an intercept and a slope that vary."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A design with the words that belong to it.

    Attributes
    ----------
    key : str
        In the address.
    title : str
    design : Design
    settings : Settings
        The study's, with its priors.
    """

    key: str
    title: str
    design: Design
    settings: Settings = field(default_factory=Settings)


def control(query: Mapping[str, str], offered: tuple[str, ...]) -> Choice:
    """The menu of tables, the first of `offered` at the start."""
    options = tuple((key, dataset(key).title) for key in offered)
    return Choice(NAME, "Data", options, offered[0], anew=True)


def chosen(query: Mapping[str, str], offered: tuple[str, ...]) -> Dataset:
    """The table that an address asks for.

    Raises
    ------
    OptionError
        None of those offered.

    Examples
    --------
    >>> chosen({"data": "dyestuff"}, INTERCEPTS).design.response
    'Yield'
    """
    key = query.get(NAME, offered[0])
    if key not in offered:
        raise OptionError(f"There is no table {key!r} for this page. Choose {join(list(offered), 'or')}.")
    return dataset(key)


@lru_cache(maxsize=32)
def dataset(key: str) -> Dataset:
    """One study's table."""
    study = load_study(key)
    return Dataset(key, study.title, study.design(), study.settings())

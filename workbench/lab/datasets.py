"""The tables that pages run on: studies that come along, by name, and tables that a user brought.

What a page is asked for stands in its address under ``data``: a study's name, or for a table that was brought its key
and its columns' places, ``u-KEY-response-group-slope`` (``n`` without a slope). :func:`chosen` finds the design.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from workbench.design import Design, build_design
from workbench.errors import OptionError
from workbench.estimators import Settings, run_estimator
from workbench.lab.controls import LONGEST, Choice
from workbench.lab.uploads import SHELF, Uploaded
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


@dataclass(frozen=True)
class Brought:
    """Which table a user brought, and the places of its columns; `slope` is None where only intercepts vary."""

    table: str
    response: int
    group: int
    slope: int | None

    @property
    def key(self) -> str:
        """As it stands in an address.

        Examples
        --------
        >>> Brought("00ff", 2, 0, None).key, brought("u-00ff-2-0-n")
        ('u-00ff-2-0-n', Brought(table='00ff', response=2, group=0, slope=None))
        """
        slope = "n" if self.slope is None else self.slope
        return f"u-{self.table}-{self.response}-{self.group}-{slope}"


def brought(key: str) -> Brought | None:
    """What the key of a brought table says; None for other keys."""
    found = re.fullmatch(r"u-([0-9a-f]{4,40})-(\d{1,3})-(\d{1,3})-(\d{1,3}|n)", key)
    if found is None:
        return None
    return Brought(found[1], int(found[2]), int(found[3]), None if found[4] == "n" else int(found[4]))


def takes(offered: tuple[str, ...], key: str) -> bool:
    """Whether a page that offers these studies can run on a table: of those brought, with a slope or without."""
    own = brought(key)
    if own is None:
        return key in offered
    return bool(offered) and (own.slope is not None or offered[0] not in SLOPES)


def control(query: Mapping[str, str], offered: tuple[str, ...]) -> Choice:
    """The menu of tables, the first of `offered` at the start; a brought table stands last."""
    options = [(key, dataset(key).title) for key in offered]
    key = query.get(NAME, "")
    own = brought(key)
    if own is not None and takes(offered, key):
        options.append((key, f"yours: {SHELF.get(own.table).name}"))
    return Choice(NAME, "Data", tuple(options), offered[0], anew=True)


def chosen(query: Mapping[str, str], offered: tuple[str, ...]) -> Dataset:
    """The table that an address asks for.

    Raises
    ------
    OptionError
        None of those offered, or one that is not kept any more.

    Examples
    --------
    >>> chosen({"data": "dyestuff"}, INTERCEPTS).design.response
    'Yield'
    """
    key = query.get(NAME, offered[0])
    if not takes(offered, key):
        raise OptionError(f"There is no table {key!r} for this page. Choose {join(list(offered), 'or')}.")
    own = brought(key)
    if own is None or offered[0] not in SLOPES:
        return dataset(key)
    return of_table(own, SHELF.get(own.table))


def dataset(key: str) -> Dataset:
    """A study's table, or a brought one without its slope: groups' means.

    Raises
    ------
    StudyError, OptionError
        There is none of that key.
    """
    own = brought(key)
    if own is None:
        return _study(key)
    return of_table(replace(own, slope=None), SHELF.get(own.table))


@lru_cache(maxsize=32)
def _study(key: str) -> Dataset:
    study = load_study(key)
    return Dataset(key, study.title, study.design(), study.settings())


def formula(own: Brought, table: Uploaded) -> str:
    """The model of the chosen columns, in lme4's notation."""
    y, g = (f"`{table.columns[k]}`" for k in (own.response, own.group))
    if own.slope is None:
        return f"{y} ~ 1 + (1 | {g})"
    x = f"`{table.columns[own.slope]}`"
    return f"{y} ~ {x} + ({x} | {g})"


def of_table(own: Brought, table: Uploaded) -> Dataset:
    """The design of a brought table; kept with the table, and forgotten with it.

    Raises
    ------
    OptionError, DesignError
        Columns that cannot be these; a model that the rows cannot tell.
    """
    key = (own.response, own.group, own.slope)
    if key not in table.designs:
        places = [own.response, own.group] + [own.slope] * (own.slope is not None)
        if len(set(places)) < len(places):
            raise OptionError("Response, groups and predictor must be different columns.")
        fit = own.response in table.numbers and own.group in table.labels
        if not fit or (own.slope is not None and own.slope not in table.numbers):
            raise OptionError("A chosen column is not one of those that the menus offer. Choose again.")
        table.designs[key] = build_design(formula(own, table), table.frame)
    return Dataset(own.key, table.name, table.designs[key])


def like(key: str) -> dict[str, str]:
    """The design of a brought table, for pages that draw samples: sizes, and SDs in units of the residual's.

    Empty for other tables, and where so many sizes cannot stand in an address.

    Examples
    --------
    >>> like("dyestuff")
    {}
    """
    if brought(key) is None:
        return {}
    design = dataset(key).design
    fit = run_estimator("reml", design, Settings(), None, {})
    sizes, many = np.unique(design.blocks[0].sizes, return_counts=True)
    text = ", ".join(f"{n}x{k}" for n, k in zip(sizes[::-1].tolist(), many[::-1].tolist(), strict=True))
    ratio = min(float(fit.components[0].sd[0]) / fit.sigma, 5.0) if fit.sigma > 0 else 0.0
    return {} if len(text) > LONGEST else {"sizes": text, "between": f"{ratio:.3g}", "within": "1"}

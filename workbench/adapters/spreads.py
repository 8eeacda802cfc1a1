"""The names of standard deviations and correlations in tidy exports -> covariance matrices.

======================  ==============================================================================
written as              by
======================  ==============================================================================
``sd__(Intercept)``     broom.mixed of lme4, glmmTMB, brms; ``var__``, ``cor__(Intercept).Days``,
                        ``cov__``; ``sd__Observation`` of the group Residual
``sd_(Intercept)``      broom.mixed of nlme; ``cor_Days.(Intercept)``, ``sd_Observation``
``sd_Days.Subject``     broom.mixed of rstanarm, the group at the end; ``sd_Observation.Residual``
======================  ==============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.estimates import Component

Array = NDArray[np.float64]

NAME = re.compile(r"(sd|var|cor|cov)__?(.+)")
OBSERVATION = "Observation"


def spread_term(term: str | None) -> bool:
    """Whether a term is the name of a spread.

    Examples
    --------
    >>> spread_term("sd__(Intercept)"), spread_term("sd_Days.Subject"), spread_term("Days")
    (True, True, False)
    """
    return term is not None and NAME.fullmatch(term) is not None


def read_spreads(
    source: str, groups: Sequence[str | None], terms: Sequence[str | None], values: Array
) -> tuple[tuple[Component, ...], float | None]:
    """Covariance matrices by grouping factor, entries that are not given NaN, and the residual SD.

    Parameters
    ----------
    source : str
        For messages.
    groups, terms : sequence of m str
    values : array, shape (m,)

    Raises
    ------
    DataError
        A term that names no spread.

    Examples
    --------
    >>> names = ["sd__(Intercept)", "cor__(Intercept).Days", "sd__Days", "sd__Observation"]
    >>> groups = ["Subject"] * 3 + ["Residual"]
    >>> (part,), sigma = read_spreads("x.csv", groups, names, np.array([2.0, 0.5, 1.0, 3.0]))
    >>> part.terms, part.covariance.tolist(), sigma
    (('(Intercept)', 'Days'), [[4.0, 1.0], [1.0, 1.0]], 3.0)
    """
    sigma: float | None = None
    variances: dict[str, dict[str, float]] = {}
    pairs: list[tuple[str, str, str, float]] = []
    for group, term, value in zip(groups, terms, values.tolist(), strict=True):
        found = NAME.fullmatch(term or "")
        if found is None:
            raise DataError(
                f"{source} has the spread {term!r}, which is not known here; known are names such as sd__(Intercept), "
                "cor__(Intercept).Days and sd__Observation. Leave it out."
            )
        kind, rest = found[1], found[2].removesuffix(f".{group}") if group else found[2]
        if kind in ("cor", "cov"):
            pairs.append((kind, group or "", rest, value))
        elif rest == OBSERVATION or group in ("Residual", "units"):
            sigma = value if kind == "sd" else float(np.sqrt(value))
        else:
            variances.setdefault(group or "", {})[rest] = value**2 if kind == "sd" else value
    return tuple(_component(group, own, pairs) for group, own in variances.items()), sigma


def _component(group: str, variances: dict[str, float], pairs: Sequence[tuple[str, str, str, float]]) -> Component:
    """One group's matrix; the two terms of a pair are told by those that have a variance, as dots may be in names."""
    terms = tuple(variances)
    matrix = np.full((len(terms), len(terms)), np.nan)
    np.fill_diagonal(matrix, list(variances.values()))
    for kind, own, name, value in pairs:
        if own != group:
            continue
        for a, one in enumerate(terms):
            for b, other in enumerate(terms):
                if a != b and name in (f"{one}.{other}", f"{one}__{other}"):
                    scale = np.sqrt(matrix[a, a] * matrix[b, b]) if kind == "cor" else 1.0
                    matrix[a, b] = matrix[b, a] = value * scale
    return Component(group, terms, matrix)

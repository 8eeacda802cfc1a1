"""Estimates as rows of the JSON document (``Fit.to_dict``): plain dicts, what is missing None."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.estimates import GroupEffects, Parameters, plain

Array = NDArray[np.float64]


def effect_rows(part: GroupEffects) -> list[dict[str, Any]]:
    """One dict per level and term; made in one pass over the columns, since there may be very many."""
    J, q = len(part.levels), len(part.terms)
    columns = (
        np.repeat(np.asarray(part.levels, dtype=object), q).tolist(), list(part.terms) * J,
        np.repeat(part.sizes, q).tolist(),
        *(_json_column(values) for values in (
            part.effect.estimate, part.coefficient.estimate, part.effect.std_error, part.effect.conf_low,
            part.effect.conf_high,
        )),
    )  # fmt: skip
    group = part.group
    return [
        {
            "group": group, "level": level, "term": term, "n": n, "effect": effect, "coefficient": coefficient,
            "std_error": error, "conf_low": low, "conf_high": high,
        }
        for level, term, n, effect, coefficient, error, low, high in zip(*columns, strict=True)
    ]  # fmt: skip


def _json_column(values: Array) -> list[float | None]:
    """The numbers of an array, row by row; what is not finite becomes None."""
    known, listed = np.isfinite(values), values.astype(object)
    listed[~known] = None
    made: list[float | None] = listed.ravel().tolist()
    return made


def parameter_rows(parameters: Parameters) -> list[dict[str, Any]]:
    """One dict per named parameter: its mean, error, interval and median, and of draws what says how good they are."""
    values = parameters.estimates
    median = values.estimate if values.median is None else values.median
    columns = {
        "mean": values.estimate, "std_error": values.std_error, "conf_low": values.conf_low,
        "median": median, "conf_high": values.conf_high,
    }  # fmt: skip
    if values.r_hat is not None and values.ess_bulk is not None and values.ess_tail is not None:
        columns |= {"r_hat": values.r_hat, "ess_bulk": values.ess_bulk, "ess_tail": values.ess_tail}
    return [
        {"name": name} | {key: plain(column[i]) for key, column in columns.items()}
        for i, name in enumerate(parameters.names)
    ]

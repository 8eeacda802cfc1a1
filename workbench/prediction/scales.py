"""Means of rows on the scale of the response, where the fit stands on that of the linear predictor.

An inverse link g^-1 is monotone, so that quantiles and intervals go through it; means and standard errors do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.families import family_of

Array = NDArray[np.float64]

SCALES = ("response", "link")


def transforms(design: Design, scale: str) -> bool:
    """Whether the scale asked for is another than that of the linear predictor."""
    return scale == "response" and design.link != "identity"


def bounded(design: Design) -> bool:
    """Whether means on the response's scale lie between bounds, so that all of their moments exist."""
    return design.family == "binomial"


def on_response(design: Design, columns: dict[str, Any]) -> dict[str, Any]:
    """A Wald table of linear predictors as one of means: by the delta method, the interval taken through the link."""
    eta = columns["estimate"]
    known = np.isfinite(eta)
    place = np.where(known, eta, 0.0)
    ends = np.sort([_through(design, columns[name]) for name in ("conf_low", "conf_high")], axis=0)
    kind, interval = (
        np.array([word if word.startswith("none") else f"{word}, {how}" for word in columns[name]], dtype=object)
        for name, how in (("std_error_kind", "delta method"), ("interval", "through the link"))
    )
    slope = np.abs(family_of(design.family, design.link).slope(place))
    return columns | {
        "estimate": _through(design, eta),
        "std_error": np.where(known, slope * columns["std_error"], np.nan),
        "conf_low": ends[0],
        "conf_high": ends[1],
        "std_error_kind": kind,
        "interval": interval,
    }


def _through(design: Design, predictor: Array) -> Array:
    known = np.isfinite(predictor)
    return np.where(known, design.mean(np.where(known, predictor, 0.0)), np.nan)

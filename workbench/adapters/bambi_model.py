"""A bambi model with its posterior -> :class:`~workbench.adapters.foreign.Foreign`.

The model says what draws alone do not: family, link, response and rows, which must be the comparison's. bambi centres
its columns while it samples and puts the intercept back before it hands out the posterior, so that ``Intercept`` is
the value where all columns are zero, as here. Its ``(x | g)`` takes intercept and slope as independent: no correlation
is drawn (bambi 0.21).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.adapters.alignment import refuse_other_model
from workbench.adapters.draws import read_draws
from workbench.adapters.foreign import Foreign
from workbench.errors import ComparisonError

if TYPE_CHECKING:
    from workbench.design import Design

FAMILIES: Mapping[str, str] = {"bernoulli": "binomial"}
"""What bambi calls otherwise than the workbench."""


def is_bambi(source: Any) -> bool:
    """Whether this is a bambi model, or a pair of one and its posterior."""
    model = source[0] if isinstance(source, tuple | list) and source else source
    return type(model).__module__.split(".")[0] == "bambi"


def read_bambi(source: Any, design: Design, level: float = 0.95, variables: Mapping[str, Any] | None = None) -> Foreign:
    """Read ``(model, idata)``, `idata` being what ``model.fit()`` returned.

    Raises
    ------
    ComparisonError
        A model alone; another family, link, response or other rows; a model of more than the mean.
    """
    if not (isinstance(source, tuple | list) and len(source) == 2):
        raise ComparisonError("A bambi model was given without its posterior. Give both, (model, model.fit()).")
    model, posterior = source
    mean = model.family.likelihood.parent
    others = [name for name in getattr(model, "distributional_components", {}) if name != mean]
    if others:
        raise ComparisonError(
            f"The bambi model models its {', '.join(others)} too, which no estimator here does. Fit its mean alone."
        )
    family, response = str(model.family.name), model.response_component.term
    values, name = np.asarray(response.data, dtype=float), _bare(str(response.name))
    told: dict[str, Any] = {
        "nobs": len(values),
        "family": FAMILIES.get(family, family),
        "link": str(model.family.link[mean].name),
        "response": name if _plain(name) and _plain(design.response) else None,
    }
    refuse_other_model(Foreign(source="bambi model", groups=(), **told), design)  # before its draws are looked at
    if values.ndim == 1:
        _refuse_other_values(values, design)
    return replace(read_draws(posterior, design, level, variables, called="bambi model"), **told)


def _refuse_other_values(values: np.ndarray, design: Design) -> None:
    """Refuse a response with the same name and other values."""
    if design.formula.cbind is None and not np.allclose(np.sort(values), np.sort(design.y), rtol=1e-6, atol=0.0):
        raise ComparisonError(
            f"The bambi model's response {design.response} has other values than the comparison's (means "
            f"{values.mean():.6g} and {design.y.mean():.6g}). Fit both to the same rows."
        )


def _bare(name: str) -> str:
    """A response without the level that bambi appends, ``y[yes]``."""
    return re.sub(r"\[.*\]$", "", name)


def _plain(name: str) -> bool:
    return re.fullmatch(r"[\w.]+", name) is not None

"""The Fit of iterated variances, which `mackay` and `em` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from workbench.design import Design
from workbench.errors import OptionError
from workbench.fit import Fit
from workbench.iterations.spreads import fit_at, stated
from workbench.iterations.updates import default_start, iterate
from workbench.moments import moments

SMALL = (
    "These variances are too small: the update takes the variance of the predicted effects, which leaves out their "
    "conditional variance, for that of the effects (fit.trace.decomposition)."
)


def checked_start(start: Any, iterations: Any) -> Mapping[str, float] | None:
    """The start, read-only; one that is no mapping, and a number of iterations that is none, are refused."""
    if start is not None and not isinstance(start, Mapping):
        raise OptionError(f'start is {start!r}, but must be a mapping such as {{"sigma^2": 600.0}}.')
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise OptionError(f"iterations is {iterations!r}, but must be a whole number from 1 on.")
    return None if start is None else MappingProxyType(dict(start))


def iterated(
    design: Design,
    estimator: str,
    update: str,
    start: Mapping[str, float] | None,
    iterations: int,
    level: float,
    words: str,
) -> Fit:
    """Iterate an update from stated variances, and fit at those where it ends.

    Parameters
    ----------
    design : Design
        Gaussian, with one grouping factor.
    estimator : str
    update : str
        Of :data:`workbench.iterations.updates.UPDATES`.
    start : mapping or None
        What is not stated is :func:`workbench.iterations.updates.default_start`'s.
    iterations : int
    level : float
    words : str
        Where the variances come from, for labels.
    """
    data = moments(design)
    first = stated(design, start or {}, default_start(design, data), "start")
    trace = iterate(design, update, first, iterations, data=data)
    fit = fit_at(design, data, trace.last, level, estimator, words)
    raw = update in ("diagonal", "full")
    said = [trace.reason] if trace.reason else []
    return replace(
        fit,
        converged=trace.converged,
        warnings=(*fit.warnings, *said, *([SMALL] if raw and trace.converged else [])),
        diagnostics=MappingProxyType({"iterations": trace.count}),
        trace=trace,
    )

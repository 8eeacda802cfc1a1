"""How near estimators come, where the true group values are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.plots.varying import coefficients, named, truth, varying
from workbench.words import count, join, percent, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison

TIE = 0.01
"""Errors that differ by less than this share are told as about the same."""


def against_truth(comparison: Comparison) -> str:
    """Root mean squared error of every estimator, best first, where the truth is known."""
    terms = varying(comparison)
    for v in terms:
        known = truth(comparison, v)
        if known is None:
            continue
        every = {name: coefficients(fit, v) - known for name, fit in comparison.fits.items()}
        gaps = {name: gap for name, gap in every.items() if np.isfinite(gap).any()}
        of_all = np.isfinite(list(gaps.values())).all(axis=0) if gaps else np.zeros(0, bool)
        if of_all.any():
            errors = {name: float(np.sqrt(np.mean(gap[of_all] ** 2))) for name, gap in gaps.items()}
            what = named(v, terms) or v.term
            fewer = not np.array_equal(of_all, np.isfinite(known))
            over = f" (the {count(int(of_all.sum()), 'group')} that all of these estimate)" if fewer else ""
            stands = f" (taken as true: {comparison.truth_meaning})" if comparison.truth_meaning else ""
            return (
                f"Root mean squared error against the true values of {what}{over}{stands}, smallest first: "
                f"{_listed(errors)}"
            )
    return ""


def _listed(errors: dict[str, float]) -> str:
    order = sorted(errors, key=errors.__getitem__)
    best, alone = errors[order[0]], errors.get("no_pooling", 0.0)
    beside = f" ({percent(best / alone)} of no pooling's)" if alone > best else ""
    listed = join(f"{title_of(name)} {significant(errors[name])}{beside if name == order[0] else ''}" for name in order)
    ties = [name for name in order if errors[name] <= best * (1 + TIE)]
    about = f" {join(title_of(name) for name in ties)} lie within 1 % of each other." if len(ties) > 1 and best else ""
    return f"{listed}.{about[:1]}{about[1:2].upper()}{about[2:]}"

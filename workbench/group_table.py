"""Every group by every estimator in one table, and every estimator in one line: :class:`workbench.Comparison`'s tables.

Beside an estimate and its errors stand

=================  ===================================================================================================
column             is
=================  ===================================================================================================
``shrinkage``      how much of the group's own deviation the estimator takes away (:mod:`workbench.comparison`)
``reliability``    1 - (conditional SD)^2 / tau^2, the share of what spreads the groups in what is seen of this one; for
                   one varying intercept tau^2 / (tau^2 + sigma^2 / n), the factor that its deviation is multiplied by
``rank``           of the estimate, 1 the highest
``expected_rank``  the mean of its rank, and the probabilities of rank 1 and of a rank among the highest `top`
``p_highest``      (:mod:`workbench.ranking`)
``p_top``
``trust``          what keeps this number from being trusted, in words; "" where nothing does
=================  ===================================================================================================

and, where the truth is known, ``truth, error, squared_error, covered``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.estimates import GroupEffects
from workbench.fit import Fit, text_column
from workbench.ranking import DRAWS, MOST_LEVELS, normal_draws, ranks
from workbench.sampling.names import block_names

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Truth = Mapping[tuple[str, str], float]

HELD = ("conditional SD", "curvature SD")
"""Standard errors of effects given the population's values and the variances begin with these words."""
FEW_ROWS = 3
"""A group of fewer rows than its terms and this many more leans on the others."""
LOW_ESS = 400
EXACT_DRAWS = 4000
SAME = 1e-9
"""Estimates that differ by less than this share of their range tie."""


def group_table(fits: Mapping[str, Fit], shrinkage: pd.DataFrame, truth: Truth, top: int) -> pd.DataFrame:
    """The table, one row per estimator, grouping factor, level and term, in the order of ``Fit.coefficients``.

    Parameters
    ----------
    fits : mapping of str to Fit
    shrinkage : DataFrame
        As :attr:`workbench.Comparison.shrinkage`.
    truth : mapping of (level, term) to float
    top : int
    """
    import pandas as pd

    parts = [
        _rows(name, fit, place, top, truth) for name, fit in fits.items() for place in range(len(fit.group_effects))
    ]
    made = pd.concat(parts, ignore_index=True)
    made.insert(9, "shrinkage", shrinkage["shrinkage"].to_numpy())
    return made


def _rows(name: str, fit: Fit, place: int, top: int, truth: Truth) -> pd.DataFrame:
    import pandas as pd

    part = fit.group_effects[place]
    J, q = len(part.levels), len(part.terms)
    c, every = part.coefficient, np.zeros(J * q, dtype=np.intp)
    levels, terms = np.repeat(np.arange(J), q), np.tile(np.arange(q), J)
    columns: dict[str, Any] = {
        "estimator": text_column([name], every),
        "group": text_column([part.group], every),
        "level": text_column(part.levels, levels),
        "term": text_column(part.terms, terms),
        "n": np.repeat(part.sizes, q),
        "estimate": c.estimate.ravel(),
        "std_error": c.std_error.ravel(),
        "conf_low": c.conf_low.ravel(),
        "conf_high": c.conf_high.ravel(),
        "reliability": _reliability(fit, place).ravel(),
    }
    columns |= ranked(fit, place, top)
    columns["std_error_kind"] = text_column([c.std_error_kind], every)
    columns["interval"] = text_column([c.interval], every)
    columns["trust"] = text_column(*_trust(fit, place))
    if truth:
        columns |= _against(part, truth)
    return pd.DataFrame(columns)


def _reliability(fit: Fit, place: int) -> Array:
    """1 - P_j / Sigma, shape (J, q); NaN where the fit has no conditional SD or no spread to compare it with."""
    part = fit.group_effects[place]
    shape = part.effect.estimate.shape
    if not fit.components or not part.effect.std_error_kind.startswith(HELD):
        return np.full(shape, np.nan)
    variance = np.diag(fit.components[place].covariance)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, 1 - part.effect.std_error**2 / variance, 0.0)


# --- ranks --------------------------------------------------------------------------------------------


def ranked(fit: Fit, place: int, top: int) -> dict[str, Array]:
    """The columns ``rank, expected_rank, p_highest, p_top`` of a fit's random block, shape (J q,) each."""
    part = fit.group_effects[place]
    names = ("rank", "expected_rank", "p_highest", "p_top")
    found = {name: np.full(part.effect.estimate.shape, np.nan) for name in names}
    draws = _draws(fit, place) if len(part.levels) <= MOST_LEVELS else None
    for k in range(len(part.terms)):
        u = part.effect.estimate[:, k]
        if not np.isfinite(u).any():  # an answer from elsewhere may hold coefficients alone, whose ranks are the same
            u = part.coefficient.estimate[:, k]
        known = np.isfinite(u)
        if not known.any() or np.ptp(u[known]) == 0:
            continue
        found["rank"][known, k] = _rank(u[known])
        error = part.effect.std_error[:, k]
        if draws is not None:
            drawn = draws[:, known, k]
        elif len(part.levels) <= MOST_LEVELS and (error[known] > 0).all():
            drawn = normal_draws(u[known], error[known])
        else:
            continue
        r = ranks(drawn, top)
        for name, values in (("expected_rank", r.expected), ("p_highest", r.highest), ("p_top", r.among_top)):
            found[name][known, k] = values
    return {name: values.ravel() for name, values in found.items()}


def _rank(values: Array) -> Array:
    """1 for the highest; those that tie, but for rounding, share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.round(values / (SAME * np.ptp(values)))), dtype=float)


def _draws(fit: Fit, place: int) -> Array | None:
    """Draws of the effects, shape (N, J, q), where the fit is a posterior."""
    if fit.sampled is not None:
        effect = fit.sampled.posterior[f"effect_{block_names(fit.design)[place]}"].values
        return np.asarray(effect.reshape(-1, *fit.group_effects[place].effect.estimate.shape))
    if fit.posterior is not None:
        return np.asarray(fit.posterior.draw(EXACT_DRAWS, 0)["effect"])[:, :, None]
    return None


def draws_of_ranks(fit: Fit, place: int) -> int:
    """How many draws the probabilities of a fit's ranks are shares of, so that they have an error of sqrt(p q / N)."""
    if fit.sampled is not None:
        chains, each = fit.sampled.drawn.effects[place].shape[:2]
        return int(chains * each)
    return EXACT_DRAWS if fit.posterior is not None else DRAWS


# --- trust --------------------------------------------------------------------------------------------


def _trust(fit: Fit, place: int) -> tuple[list[str], NDArray[np.intp]]:
    """The different sentences, and which of them each row has."""
    part = fit.group_effects[place]
    general = [
        word
        for word, holds in (
            ("not converged", not fit.converged),
            ("singular", fit.singular),
            ("read, not computed here", fit.read_from is not None),
        )
        if holds
    ]
    J, q = part.coefficient.estimate.shape
    few = (_said_of(fit, place) < q + FEW_ROWS) & (not fit.design.known_se)  # a row of a known error sums up others
    missing = ~np.isfinite(part.coefficient.estimate)
    ess = part.effect.ess_bulk
    low = np.zeros((J, q), dtype=bool) if ess is None else ess < LOW_ESS
    code = 4 * np.where(few, part.sizes, 0)[:, None] + 2 * missing + low  # one number for what is said of a row
    different, codes = np.unique(code.ravel(), return_inverse=True)
    words = []
    for value in different.tolist():
        own = ["no estimate"] if value & 2 else []
        own += [f"few rows ({value // 4})"] if value >= 4 else []
        own += ["low ESS"] if value & 1 else []
        words.append("; ".join(general + own))
    return words, codes


def _said_of(fit: Fit, place: int) -> Array:
    """How much each group says, shape (J,): its rows, of shares its trials."""
    design, part = fit.design, fit.group_effects[place]
    if design.family != "binomial":
        return np.asarray(part.sizes, dtype=float)
    return np.bincount(design.blocks[place].codes, design.weights, len(part.levels))


# --- against the truth --------------------------------------------------------------------------------


def _against(part: GroupEffects, truth: Truth) -> dict[str, Any]:
    c = part.coefficient
    keys = product(part.levels, part.terms)
    true = np.fromiter(map(truth.get, keys, repeat(np.nan)), float, c.estimate.size).reshape(c.estimate.shape)
    error = c.estimate - true
    with np.errstate(invalid="ignore"):
        covered = np.where(
            np.isfinite(c.conf_low) & np.isfinite(true), (c.conf_low <= true) & (true <= c.conf_high), np.nan
        )
    return {
        "truth": true.ravel(), "error": error.ravel(), "squared_error": (error**2).ravel(), "covered": covered.ravel()
    }  # fmt: skip

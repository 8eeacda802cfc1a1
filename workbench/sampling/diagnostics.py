"""What draws say of themselves: R-hat, effective sample sizes, divergences; and in words what to do about it.

Sources: Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021, doi:10.1214/20-BA1221) for rank-normalised R-hat and
effective sample sizes; Betancourt (2016, arXiv:1604.00695) for the energy fraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.estimates import Estimates
from workbench.sampling.draws import Draws

Array = NDArray[np.float64]

R_HAT = 1.01
ESS = 400
DIAGNOSED_LEVELS = 500
"""R-hat and effective sample sizes are computed for so many levels of a group at the most, evenly spread."""


def from_draws(draws: Array, level: float, diagnosed: bool = True) -> Estimates:
    """Summaries over chains and draws of an array (chain, draw, ...); with their convergence, if `diagnosed`."""
    flat = draws.reshape(draws.shape[0] * draws.shape[1], *draws.shape[2:])
    tail = (1 - level) / 2
    low, median, high = (
        np.quantile(flat, [tail, 0.5, 1 - tail], axis=0) if flat.size else np.empty((3, *flat.shape[1:]))
    )
    r_hat, bulk, tails = convergence(draws) if diagnosed else (None, None, None)
    return Estimates(
        estimate=flat.mean(axis=0),
        std_error=flat.std(axis=0, ddof=1),
        conf_low=low,
        conf_high=high,
        point="posterior mean",
        std_error_kind="posterior SD",
        interval=f"equal-tailed {100 * level:.4g} %",
        median=median,
        r_hat=r_hat,
        ess_bulk=bulk,
        ess_tail=tails,
    )


def convergence(draws: Array) -> tuple[Array, Array, Array]:
    """Rank-normalised split R-hat, bulk and tail effective sample size of every element."""
    from arviz_stats.base import array_stats

    shape = draws.shape[2:]
    figures = np.full((3, *shape), np.nan)
    levels = np.arange(shape[0]) if shape else np.arange(0)
    if len(levels) > DIAGNOSED_LEVELS:
        levels = np.linspace(0, shape[0] - 1, DIAGNOSED_LEVELS).round().astype(int)
    if draws.size:
        chosen = draws[:, :, levels]
        axes = {"chain_axis": 0, "draw_axis": 1}
        figures[0, levels] = array_stats.rhat(chosen, method="rank", **axes)
        figures[1, levels] = array_stats.ess(chosen, method="bulk", **axes)
        figures[2, levels] = array_stats.ess(chosen, method="tail", prob=(0.05, 0.95), **axes)
    return figures[0], figures[1], figures[2]


def diagnose(drawn: Draws, parts: Sequence[Estimates]) -> dict[str, Any]:
    """The worst figures over all that was summarised, and what the sampler said."""
    depth = drawn.stats.get("reached_max_treedepth")
    return {
        "r_hat": float(np.nanmax([np.nanmax(part.r_hat) for part in parts])),  # type: ignore[arg-type]
        "ess_bulk": float(np.nanmin([np.nanmin(part.ess_bulk) for part in parts])),  # type: ignore[arg-type]
        "ess_tail": float(np.nanmin([np.nanmin(part.ess_tail) for part in parts])),  # type: ignore[arg-type]
        "divergences": int(np.sum(drawn.stats["diverging"])),
        "max_tree_depth_reached": 0 if depth is None else int(np.sum(depth)),
        "chains": drawn.chains,
        "draws": drawn.draws,
    }


def complaints(d: Mapping[str, Any]) -> list[str]:
    """What keeps the draws from being trusted, and what to do about it."""
    found = []
    if not d["r_hat"] <= R_HAT:
        found.append(f"R-hat reaches {d['r_hat']:.3f} (above {R_HAT}): the chains disagree. Run longer (tune, draws).")
    if not d["ess_bulk"] >= ESS:
        found.append(f"The smallest bulk effective sample size is {d['ess_bulk']:.0f} (below {ESS}). Take more draws.")
    if d["divergences"]:
        found.append(
            f"{d['divergences']} divergences: part of the posterior may be missed. Try parametrisation = 'centered' "
            "(much data per group) or 'noncentered' (little), or tighter priors."
        )
    return found

"""What draws say of themselves: R-hat, effective sample sizes, divergences; and in words what to do about it.

Sources: Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021, doi:10.1214/20-BA1221) for rank-normalised R-hat and
effective sample sizes; Betancourt (2016, arXiv:1604.00695) for the energy fraction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.estimates import Estimates
from workbench.sampling.draws import Draws

Array = NDArray[np.float64]

R_HAT = 1.01
ESS = 400
E_BFMI = 0.3
"""Below this the energies of a chain say that its tails may be missed (Betancourt 2016, section 4)."""
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
    """The worst figures over all that was summarised, and what the sampler said, as far as it said it.

    Keys ``r_hat, ess_bulk, ess_tail, chains, draws``; of a sampler's draws ``divergences``, ``e_bfmi`` (the smallest of
    the chains), ``tree_depth`` (the largest) and ``max_tree_depth_reached`` (how often its limit was).
    """
    found = {
        "r_hat": _farthest(np.max, [part.r_hat for part in parts]),
        "ess_bulk": _farthest(np.min, [part.ess_bulk for part in parts]),
        "ess_tail": _farthest(np.min, [part.ess_tail for part in parts]),
    }
    stats = drawn.stats
    if "diverging" in stats:
        found["divergences"] = int(np.sum(stats["diverging"]))
    if "energy" in stats and np.isfinite(worst := np.min(energy_fraction(stats["energy"]))):
        found["e_bfmi"] = float(worst)
    if "tree_depth" in stats:
        found["tree_depth"] = int(np.max(stats["tree_depth"]))
    if "reached_max_treedepth" in stats:
        found["max_tree_depth_reached"] = int(np.sum(stats["reached_max_treedepth"]))
    return found | {"chains": drawn.chains, "draws": drawn.draws}


def _farthest(pick: Callable[[Array], Any], figures: Sequence[Array | None]) -> float:
    """The largest or smallest of all that are known; NaN where none is, as R-hat of a single chain."""
    every = np.concatenate([np.ravel(values) for values in figures if values is not None])
    known = every[~np.isnan(every)]
    return float(pick(known)) if len(known) else float("nan")


def energy_fraction(energy: Array) -> Array:
    """Estimated Bayesian fraction of missing information (E-BFMI) of every chain, shape (C,).

    The mean squared step of the energies, shape (C, N), over their variance: how much of the energies' spread one
    change of momentum covers (Betancourt 2016, section 3, arXiv:1604.00695). NaN where the energies do not vary.

    Examples
    --------
    >>> energy_fraction(np.array([[1.0, 3.0, 2.0, 4.0], [5.0, 5.0, 5.0, 5.0]])).round(6).tolist()
    [1.8, nan]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.diff(energy, axis=1) ** 2).mean(axis=1) / np.var(energy, axis=1, ddof=1))


def complaints(d: Mapping[str, Any]) -> list[str]:
    """What keeps the draws from being trusted, and what to do about it."""
    found = []
    if np.isnan(d["r_hat"]):
        found.append("R-hat is not known, as of a single chain: whether chains agree cannot be seen. Run several.")
    elif not d["r_hat"] <= R_HAT:
        found.append(f"R-hat reaches {d['r_hat']:.3f} (above {R_HAT}): the chains disagree. Run longer (tune, draws).")
    if not d["ess_bulk"] >= ESS:
        found.append(f"The smallest bulk effective sample size is {d['ess_bulk']:.0f} (below {ESS}). Take more draws.")
    if found and (cut := cut_short(d)):
        found.append(cut)
    if d.get("divergences"):
        found.append(
            f"{d['divergences']} divergences: part of the posterior may be missed. Try "
            f"{other_ways(d).removeprefix('or ')}tighter priors."
        )
    if low := low_energy(d):
        found.append(low)
    return found


def low_energy(d: Mapping[str, Any]) -> str:
    """What a low E-BFMI says, and what to do; empty where it is not low, or not known."""
    if not d.get("e_bfmi", np.inf) < E_BFMI:
        return ""
    return (
        f"E-BFMI is down to {d['e_bfmi']:.2f} (below {E_BFMI}): the sampler moves slowly between the centre of the "
        "posterior and its tails, so the tails may be missed. Try a prior with a shorter tail on the standard "
        f"deviations, {other_ways(d)}a longer warm-up (tune)."
    )


def other_ways(d: Mapping[str, Any]) -> str:
    """What to try of the options; the collapsed model has no parametrisation."""
    if d.get("model") == "collapsed":
        return "or "
    return "parametrisation = 'centered' (much data per group) or 'noncentered' (little), or "


def cut_short(d: Mapping[str, Any]) -> str:
    """What it says that trajectories reached the largest tree depth, and what to do; empty where none did.

    Such draws are slow, not wrong: this speaks against a fit only beside a large R-hat or a small sample size.
    """
    times = d.get("max_tree_depth_reached", 0)
    if not times:
        return ""
    return (
        f"{times:,} of {d['chains'] * d['draws']:,} draws reached the largest tree depth: the sampler's way is cut "
        "short, so each draw tells less. Scale covariates to an SD of about 1, or use tighter priors"
        f"{'' if d.get('model') == 'collapsed' else ', or the other parametrisation'}."
    )

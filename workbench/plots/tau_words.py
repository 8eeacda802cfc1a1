"""The sentences of the tau axis, each computed from the path and the posterior that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.inference.spread_path import QUANTILE, SpreadPath
from workbench.plots import style
from workbench.plots.marginals import Marginal
from workbench.plots.varying import Varying, figure4
from workbench.words import join, percent

if TYPE_CHECKING:
    from workbench.design import Design

Array = NDArray[np.float64]

INTERVAL = float(np.exp(-QUANTILE / 2))
"""Relative profile likelihood at the ends of the 95 % interval."""


def described(design: Design, v: Varying, path: SpreadPath, alone: Array, kept: Array, drawn: int) -> list[str]:
    """What the lines are and where they lead.

    `alone` is what every level says by itself, `kept` that of the levels drawn, within the frame.
    """
    rest = path.others
    how = "conditional mode" if path.criterion == "Laplace" else "estimate"
    of = f", {rest} other variance parameter{'s' * (rest != 1)} estimated anew by REML at every τ" if rest else ""
    if path.criterion == "Laplace":
        of = ", everything else estimated anew by Laplace's approximation at every τ"
    apart = figure4(np.ptp(path.coefficients[-1]))
    said = [
        f"One line per level of {v.group}: its {how}, were the spread τ{of}.",
        f"At τ = 0 all are {figure4(path.population[0])} (complete pooling of this term); at τ = "
        f"{figure4(path.tau[-1])} they lie {apart} apart.",
    ]
    if bends := _bends(path):
        said.append(f"{bends} another SD is estimated as 0, or a correlation as ±1, which bends the lines.")
    if np.isfinite(alone).any():
        said.append(_crosses(design, v, path))
    lost = int(np.isfinite(alone).sum() - np.isfinite(kept).sum()) if drawn == len(alone) else 0
    if lost:
        said.append(f"{lost} of them lie{'s' * (lost == 1)} outside the frame.")
    if drawn < len(alone):
        said.append(f"{drawn:,} of the {len(alone):,} levels are drawn, evenly spaced in their order at the right.")
    return said


def _crosses(design: Design, v: Varying, path: SpreadPath) -> str:
    to = "near which" if path.criterion == "Laplace" else "where"
    if sum(len(block.terms) for block in design.blocks) == 1:
        return f"Crosses at the right: {v.own_label}s, {to} the lines end as τ grows."
    return (
        f"Crosses at the right: {v.own_label}s, of every group by itself; the lines do not end there, for the other "
        "terms stay pooled."
    )


def _bends(path: SpreadPath) -> str:
    """Where another parameter is on its boundary, in words; empty where that is nowhere, everywhere or only at zero."""
    edge = path.edge[1:]
    if not edge.any() or edge.all():
        return ""
    inside = path.tau[1:][edge]
    one_piece = bool((np.diff(np.flatnonzero(edge)) == 1).all())
    if edge[-1] and one_piece:
        return f"From τ = {figure4(inside[0])} on"
    if edge[0] and one_piece:
        return f"Up to τ = {figure4(inside[-1])}"
    return f"At some τ between {figure4(inside[0])} and {figure4(inside[-1])}"


def likely(path: SpreadPath, posterior: Marginal | None, places: Sequence[tuple[str, str, float]]) -> list[str]:
    """Which tau are likely; `places` are estimators, their titles, and where they put it."""
    low, high = path.likely
    to = f"to {figure4(high)}" if np.isfinite(high) else "on without an upper end here"
    at_zero = float(path.relative[0])
    share = percent(at_zero) if at_zero >= 1e-4 else "less than 0.01 %"
    none = "" if path.estimate == 0 else f"; τ = 0 has {share} of the likelihood at its peak"
    said = [
        f"{path.criterion}'s profile peaks at {figure4(path.estimate)}, its 95 % interval runs from {figure4(low)} "
        f"{to}{none}."
    ]
    if posterior is not None:
        whose = f"Posterior ({style.title_of(posterior.source)})" if posterior.source else "Posterior (by quadrature)"
        prior = f"; dashed, its prior {posterior.prior}" if posterior.prior_density(path.tau) is not None else ""
        said.append(
            f"{whose}: median {figure4(posterior.median)}, middle 95 % from {figure4(posterior.low)} to "
            f"{figure4(posterior.high)}{prior}."
        )
    named = [f"{title} {figure4(tau)}" for _, title, tau in places]
    if named:
        said.append(f"Upright lines: {join([*named, *['posterior median'] * (posterior is not None)])}.")
    return said


def aloud(path: SpreadPath, posterior: Marginal | None, marks: Sequence[tuple[str, float, float]]) -> str:
    """The figures, for who cannot see the picture; `marks` are titles, tau and relative likelihood."""
    range_of = np.ptp(path.coefficients, axis=1)
    end = float(path.tau[-1])
    near, middle = np.interp([end / 4, end / 2], path.tau, range_of)
    said = [
        f"The estimates of {path.coefficients.shape[1]:,} levels fan out from {figure4(path.population[0])} at τ = 0: "
        f"their range is {figure4(near)} at τ = {figure4(end / 4)}, {figure4(middle)} at {figure4(end / 2)} and "
        f"{figure4(range_of[-1])} at {figure4(end)}."
    ]
    said += [f"{label}: τ = {figure4(tau)}, relative likelihood {figure4(share)}." for label, tau, share in marks]
    if posterior is not None:
        said.append(f"Posterior of τ, middle 95 %: {figure4(posterior.low)} to {figure4(posterior.high)}.")
    return " ".join(said)


def doubts(path: SpreadPath) -> tuple[str, ...]:
    """What there is to doubt about the profile."""
    if not path.doubtful:
        return ()
    return (f"{path.doubtful} of {len(path.at)} points of the profile are not certified minima over the others.",)

"""What keeps a maximised likelihood from being trusted, in words: boundaries, undetermined spreads, no optimum.

A fit can end at a certified optimum and still say nothing of a parameter. The likelihood may not depend on it at all
(:class:`workbench.coordinates.Undetermined`), or hardly: with E the change of the relative covariance D that a
direction of theta makes, a curvature that is nothing beside the square of E/(1 + D) leaves that change undetermined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.estimates import Component
from workbench.moments import Moments
from workbench.optimum import SINGULAR, Optimum

Array = NDArray[np.float64]

UNDETERMINED = 1e-3
"""A relative change of a covariance by 1 that changes the criterion by less than half of this is undetermined."""
MOVES = 1e-3
"""A direction of theta that changes no covariance by this share is a matter of its coordinates."""


def singular_factors(data: Moments, at: Optimum) -> list[str]:
    """The grouping factors whose covariance lies on its boundary; none where a density kept it off."""
    if at.power:
        return []
    low = at.theta.on_diagonal & (at.theta.values < SINGULAR)
    return list(dict.fromkeys(data.factors[at.theta.entries[k][0]].group for k in np.flatnonzero(low)))


def doubts(
    design: Design, data: Moments, at: Optimum, restricted: bool, components: tuple[Component, ...]
) -> list[str]:
    """Everything that keeps the numbers at an optimum from being trusted, a sentence or two each.

    Parameters
    ----------
    design : Design
    data : Moments
    at : Optimum
    restricted : bool
        REML rather than ML.
    components : tuple of Component
        The covariances at the optimum.
    """
    found = [_why_singular(group, [c for c in components if c.group == group]) for group in singular_factors(data, at)]
    found += [_why_undetermined(design, data, k, at, restricted) for k in range(len(at.undetermined))]
    found += _flat(design, data, at)
    if not at.minimum.certified:
        found.append(
            "The search did not end at a certified minimum: largest gradient "
            f"{np.abs(at.minimum.gradient).max():.2g}, smallest curvature {at.minimum.curvature[0]:.2g}. "
            "Do not trust these numbers."
        )
    return found


def _why_singular(group: str, components: list[Component]) -> str:
    """Say in words which spread or correlation lies on the boundary."""
    if not any(component.sd.any() for component in components):
        return (
            f"Singular: the spread between the levels of {group} is estimated as zero: their means differ no more "
            "than the residual spread alone explains. Zero is the edge of what is possible, not evidence of no spread."
        )
    return (
        f"Singular: the covariance of {group} is on its boundary (a standard deviation of zero, or a correlation of "
        "-1 or 1): the data do not carry as many spreads as the formula asks for. Consider fewer varying terms, "
        "or a prior."
    )


def _why_undetermined(design: Design, data: Moments, which: int, at: Optimum, restricted: bool) -> str:
    """Name the varying columns, or the combination of them, of which the likelihood knows no spread, and why."""
    unknown = at.undetermined[which]
    block, f = design.blocks[unknown.place], data.factors[unknown.factor]
    here = f.blocks[f.places.index(unknown.place)]
    own, directions = f.A[here, here].sum(axis=-1), unknown.directions
    size = np.sqrt(np.diag(own))[:, None] * np.abs(directions)
    involved = np.flatnonzero(size.max(axis=1) > 1e-6 * max(float(size.max()), 1e-300))
    left = np.einsum("ak,ab,bk->k", directions, own, directions)  # what the columns themselves leave of the combination
    names = (
        " and ".join(block.terms[a] for a in involved)
        if size.any()
        else " and ".join(term for a, term in enumerate(block.terms) if own[a, a] == 0)
    )
    spread = f"the spread of {names} between the levels of {block.group}"
    if restricted and (left > 1e-8 * (size**2).sum(axis=0)).all() and size.any():
        return (
            f"Undetermined: the data say nothing of {spread}, because the fixed effects have a value for every level "
            "already: whatever it is, REML's criterion is the same. It is set to zero here, and the standard errors "
            "of the fixed effects leave it out. Keep the term in one of the two parts of the formula."
        )
    why = "it is zero, or the same in every row" if len(involved) <= 1 else "they are combinations of each other"
    return (
        f"Undetermined: the data say nothing of {spread} beside the other varying columns: {why}. What cannot be known "
        "is set to zero here. Leave the column out."
    )


def _flat(design: Design, data: Moments, at: Optimum) -> list[str]:
    """Directions along which covariances change and the criterion hardly does."""
    found = {}
    Lambdas = at.theta.at(at.minimum.x).factors  # where the search ended, before signs were made canonical
    unit = np.maximum(1.0, np.abs(at.minimum.x))
    for curvature, direction in zip(at.minimum.curvature, at.minimum.directions.T, strict=True):
        if abs(curvature) > 100 * UNDETERMINED:  # more than any change could need
            continue
        moves = at.theta.at(direction * unit).factors
        for f, (Lambda, move, R) in enumerate(zip(Lambdas, moves, at.maps, strict=True)):
            change = move @ Lambda.T + Lambda @ move.T
            share = float(np.abs(change).max() / (1 + np.abs(Lambda @ Lambda.T).max()))
            if share > MOVES and abs(curvature) < UNDETERMINED * share**2:
                found[f] = _what_moves(design, data, f, R @ Lambda, R @ change @ R.T)
    return [
        f"Undetermined: the data say next to nothing of {what}: other values of it fit as well, and the criterion "
        "hardly changes. Do not interpret it; consider fewer varying terms, or a prior."
        for what in found.values()
    ]


def _what_moves(design: Design, data: Moments, which: int, root: Array, change: Array) -> str:
    """Name what a change of a factor's covariance, shape (q, q), is a change of: spreads, or correlations alone."""
    f = data.factors[which]
    names = [term for place in f.places for term in design.blocks[place].terms]
    sd = np.sqrt(np.maximum(np.diag(root @ root.T), 1e-300))
    relative = np.abs(change) / np.outer(sd, sd)
    moved = np.flatnonzero(np.diag(relative) > 1e-2 * relative.max())
    if len(moved):
        return f"the spread of {' and '.join(names[a] for a in moved)} between the levels of {f.group}"
    a, b = divmod(int(relative.argmax()), len(names))
    return f"the correlation of {names[min(a, b)]} and {names[max(a, b)]} between the levels of {f.group}"

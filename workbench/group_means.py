"""Group means with their sampling variances: all that rules of shrinkage before mixed models start from.

    m_j ~ N(theta_j, v_j),     v_j = sigma^2 / w_j,     w_j the sum of the group's weights

in a design with one grouping factor and nothing but intercepts, ``y ~ 1 + (1 | g)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design, check_gaussian
from workbench.errors import DesignError
from workbench.estimates import Estimates, GroupEffects

Array = NDArray[np.float64]

WHY = "the rule has none"
"""Why these estimates have no standard errors."""


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """Means of J groups, the offset taken off.

    Attributes
    ----------
    mean : array, shape (J,)
    weight : array, shape (J,)
        Sums of the rows' weights: numbers of rows where there are none.
    grand : float
        The mean of all rows.
    sigma : float or None
        Residual SD, from the rows within groups; 1 where standard errors are known; None where no group has two rows.
    df : float
        Its degrees of freedom n - J; infinite where it is known.
    """

    mean: Array
    weight: Array
    grand: float
    sigma: float | None
    df: float

    def __post_init__(self) -> None:
        for name in ("mean", "weight"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def of(cls, design: Design, rule: str) -> GroupMeans:
        """The means of a design, for the rule of a name.

        Raises
        ------
        DesignError
            Several grouping factors, other varying terms than the intercept, fixed effects beside it.

        Examples
        --------
        >>> from workbench.design import build_design
        >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 3.0, 4.0, 6.0, 8.0], "g": list("aabbb")})
        >>> found = GroupMeans.of(design, "james_stein")
        >>> found.mean.tolist(), found.weight.tolist(), round(found.sigma**2, 6), found.df
        ([2.0, 6.0], [2.0, 3.0], 3.333333, 3)
        """
        check_gaussian(design, rule)
        terms = [term for block in design.blocks for term in block.terms]
        if len(design.groups) > 1 or terms != ["(Intercept)"] or design.fixed_terms != ("(Intercept)",):
            raise DesignError(
                f"{rule} shrinks the means of one grouping factor, y ~ 1 + (1 | {design.blocks[0].group}), but the "
                f"formula is {design.formula}. Use reml, which takes any."
            )
        codes, J = design.blocks[0].codes, len(design.blocks[0].levels)
        y, w = design.y - design.offset, design.weights
        centre = float(np.average(y, weights=w))  # taken off, so that sums keep their digits
        weight = np.bincount(codes, weights=w, minlength=J)
        mean = centre + np.bincount(codes, weights=w * (y - centre), minlength=J) / weight
        if design.known_se:
            return cls(mean, weight, centre, 1.0, inf)
        df = design.n - J
        within = float(w @ (y - mean[codes]) ** 2)
        return cls(mean, weight, centre, float(np.sqrt(within / df)) if df else None, df)

    def __len__(self) -> int:
        return len(self.mean)


def moved(design: Design, means: GroupMeans, centre: float, coefficient: Array, point: str) -> GroupEffects:
    """Groups at their estimates, as effects about a centre; such rules have no standard errors."""
    block = design.blocks[0]
    return GroupEffects(
        group=block.group,
        levels=block.levels,
        sizes=block.sizes,
        terms=block.terms,
        effect=Estimates.points(coefficient[:, None] - centre, point, WHY),
        coefficient=Estimates.points(coefficient[:, None], point, WHY),
    )

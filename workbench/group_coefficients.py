"""Moments recast for group coefficients: the population values and effects of a level as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ByGroup:
    """The same cross-products with the group coefficients c_j in place of b and u for the varying columns.

        y = Z_j c_j + R b_rest + e,      R the columns of X that do not vary

    Z and y are centred, so these c_j become the data's own by ``c @ to_data.T + origin``.

    Attributes
    ----------
    rest : tuple of int
        Which columns of X are R's, r of them.
    ZtR, RtR, Rty
        Shapes (J, q, r), (r, r), (r,); R is not centred, y is.
    origin : array, shape (q,)
        What the number taken off y adds to the data's own c_j.
    rest_origin : array, shape (r,)
        To be added to b_rest.
    """

    rest: tuple[int, ...]
    ZtR: Array
    RtR: Array
    Rty: Array
    origin: Array
    rest_origin: Array


def by_group(moments: Moments) -> ByGroup:
    """Recast a model in population values and effects as one in group coefficients."""
    f, shift = moments.factor, moments.shift
    rest = tuple(k for k in range(moments.p) if k not in f.fixed)
    to_R = np.linalg.inv(shift.to_data)[:, list(rest)]
    return ByGroup(
        rest=rest,
        ZtR=f.ZtX @ to_R,
        RtR=to_R.T @ moments.XtX @ to_R,
        Rty=to_R.T @ moments.Xty,
        origin=np.array([0.0 if k is None else shift.origin[k] for k in f.fixed]),
        rest_origin=shift.origin[list(rest)],
    )

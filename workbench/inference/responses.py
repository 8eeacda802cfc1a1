"""Moments of another response to the same design: what changes when y does, without another pass over the columns.

A held coefficient moves to the response. Let t = h'b be held, where h_k = 1, so that b = P c + t e_k: c are the other
coefficients, and P is the identity without its column k and with -h in its row k. Then y - X b = (y - t x_k) - X P c,

===============  =========================================
of the new       from the old
===============  =========================================
X'X              P' X'X P
X'y              P' (X'y - t X'x_k)
y'y              y'y - 2 t x_k'y + t^2 x_k'x_k
Z'X, Z'y         Z'X P,  Z'y - t Z'x_k
===============  =========================================

exactly. A response in another unit, y / s, divides X'y and Z'y by s and y'y by s^2. A simulated response needs the
sums over its rows, but nothing of X'X, Z'X and Z'Z is made again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.centred import Shift
from workbench.design import Design
from workbench.moments import Moments

Array = NDArray[np.float64]


def in_unit(data: Moments, s: float) -> Moments:
    """The moments of y / s, with a residual SD of 1 that is not estimated.

    With these the criterion is log|L|^2 + n log 2 pi + r^2 / s^2: the deviance that sigma = s is held in, less
    2 n log s.
    """
    factors = tuple(f.having(Zty=f.Zty / s) for f in data.factors)
    return replace(data, factors=factors, Xty=data.Xty / s, yty=data.yty / s**2, known_se=True)


def hold_coefficient(data: Moments, k: int, value: float) -> Moments:
    """Hold the k-th population coefficient (of the data's own columns) at a value; see the module's formulas.

    Parameters
    ----------
    data : Moments
    k : int
        Which fixed column.
    value : float
        On the data's scale.

    Returns
    -------
    Moments
        With p - 1 fixed columns; its `shift` leads to the other coefficients.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.moments import moments
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 0, 2], "g": ["a", "a", "b", "b"]}
    >>> held = hold_coefficient(moments(build_design("y ~ x + (1 | g)", table)), 1, 2.0)
    >>> moved = moments(build_design("z ~ 1 + (1 | g)", table | {"z": [1.0, 0.0, 4.0, -1.0]}))
    >>> round(held.yty, 9), round(moved.yty, 9)     # the centred sum of squares of y - 2 x
    (14.0, 14.0)
    """
    to_data, origin = data.shift.to_data, data.shift.origin
    h, t = to_data[k], value - origin[k]
    rest = np.array([j for j in range(data.p) if j != k], dtype=int)
    P = np.eye(data.p)[:, rest]
    P[k] = -h[rest]
    of_k, own = data.XtX[:, k], data.XtX[k, k]

    def other(column: int | None) -> int | None:
        return None if column is None or column == k else column - (column > k)

    factors = tuple(
        replace(f, fixed=tuple(map(other, f.fixed))).having(ZtX=f.ZtX @ P, Zty=f.Zty - t * f.ZtX[:, :, k])
        for f in data.factors
    )
    return replace(
        data,
        factors=factors,
        XtX=P.T @ data.XtX @ P,
        Xty=P.T @ (data.Xty - t * of_k),
        yty=float(data.yty - 2 * t * data.Xty[k] + t**2 * own),
        shift=Shift((to_data @ P)[rest], (origin + t * to_data[:, k])[rest], data.shift.response),
    )


@dataclass(frozen=True, eq=False)
class Responses:
    """One design, ready for other responses.

    Attributes
    ----------
    design : Design
    data : Moments
        Of the design's own response.
    WX : array, shape (n, p)
        The centred fixed columns times the weights.
    WZ : tuple of sparse array, shape (n, J_f q_f)
        The centred varying columns of every factor, likewise, one column per level and varying column.
    """

    design: Design
    data: Moments
    WX: Array
    WZ: tuple[Any, ...]

    @classmethod
    def of(cls, design: Design, data: Moments) -> Responses:
        """Lay out the columns of a design whose moments are known."""
        from scipy.sparse import csr_array

        weights = design.weights[:, None]
        sparse = []
        for f in data.factors:
            blocks = [design.blocks[place] for place in f.places]
            values = np.hstack([block.Z for block in blocks]) @ f.to_data * weights
            n, q = values.shape
            columns = (blocks[0].codes[:, None] * q + np.arange(q)).ravel()
            starts = np.arange(0, n * q + 1, q)
            sparse.append(csr_array((values.ravel(), columns, starts), shape=(n, len(f.levels) * q)))
        return cls(design, data, design.X @ data.shift.to_data * weights, tuple(sparse))

    def moments(self, y: Array) -> Moments:
        """The moments of this design with another response, shape (n,)."""
        weights, shift = self.design.weights, self.data.shift
        y = y - self.design.offset
        constant = self._constant()
        mean = 0.0 if constant is None else float(np.average(y, weights=weights))
        y = y - mean
        factors = tuple(
            f.having(Zty=(WZ.T @ y).reshape(f.Zty.shape)) for f, WZ in zip(self.data.factors, self.WZ, strict=True)
        )
        origin = np.zeros_like(shift.origin) if constant is None else mean * constant
        return replace(
            self.data,
            factors=factors,
            Xty=self.WX.T @ y,
            yty=float(weights @ y**2),
            shift=Shift(shift.to_data, origin, mean),
        )

    def _constant(self) -> Array | None:
        """The c with X c = 1, which the shift of the data's own response tells; None where there is none."""
        shift = self.data.shift
        return shift.origin / shift.response if shift.response else None

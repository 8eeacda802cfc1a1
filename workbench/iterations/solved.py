"""The mixed-model equations solved at given variances, and the sums that updates of the variances need.

For one grouping factor, y = X b + Z u + e with u_j ~ N(0, Sigma) and e ~ N(0, sigma^2 W^-1), Henderson's equations
(1975, doi:10.2307/2529430) are

    M (b, u) = [X Z]'W y,     M = [X Z]'W [X Z] + diag(0, D^-1),     D = Sigma/sigma^2 in every level.

sigma^2 M^-1 is the covariance of the errors of b and u: its u-part C counts that b is estimated too. With the parts of
:mod:`workbench.likelihood`, F_j = (I + A_j D)^-1, P_j = D F_j and T_j = F_j Z_j'W [X y], B = (R_X'R_X)^-1:

===========================================  ============  ==========================================================
is                                           shape         name
===========================================  ============  ==========================================================
C_j = sigma^2 (P_j + P_j Z_j'X B X'Z_j P_j)  (q, q)        ``conditional`` is their mean over the levels
gamma_k = J - sum_j C_jkk / tau_k^2          scalar        ``effective``, by varying column
D^-1 u_j = T_e                               (q,)
RSS = r^2 - sum_j u_j'D^-1 u_j               scalar        ``rss``, |y - X b - Z u|^2, weighted
tr([X Z] M^-1 [X Z]'W)                       scalar        ``hat``, the trace of the hat matrix of the whole fit
===========================================  ============  ==========================================================

The last is p + J q - sum_j tr(D^-1 C_j)/sigma^2, where D^-1 C_j/sigma^2 = F_j + T_X B (P_j Z_j'X)' needs no inverse of
D, which may be singular. ``effective`` counts how many of a column's J effects the data determine rather than the
prior: the gamma of MacKay (1992, doi:10.1162/neco.1992.4.3.415). Where no effects covary, hat = p + sum gamma.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.iterations.spreads import Spreads, criterion_at
from workbench.likelihood import conditional
from workbench.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solved:
    """What the equations give at some variances (see the module's table); effects are of the data's own columns.

    Attributes
    ----------
    u : array, shape (J, q)
        BLUPs, the columns of all blocks side by side.
    conditional : array, shape (q, q)
    effective : array, shape (q,)
    rss, hat : float
    criterion : float
        -2 log restricted likelihood of these variances.
    """

    u: Array
    conditional: Array
    effective: Array
    rss: float
    hat: float
    criterion: float


def solve(data: Moments, at: Spreads) -> Solved:
    """Solve at given variances, for a design with one grouping factor.

    Raises
    ------
    DesignError
        Several grouping factors.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.moments import moments
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> found = solve(moments(design), Spreads((np.array([[1.0]]),), 2.0))   # half of each deviation is kept
    >>> found.u[:, 0].round(4).tolist(), found.effective.round(4).tolist()
    ([-1.1667, -0.1667, 1.3333], [1.0])
    """
    f, p = data.factor, data.p
    given = conditional(data, at.factors(data))
    T = np.einsum("acj,ckj->akj", given.left, f.B)
    T_X, T_e = T[:, :p], T[:, p] - np.einsum("akj,k->aj", T[:, :p], given.b)
    pull = given.modes[0][:, :p]  # P_j Z_j'X
    u = given.modes[0][:, p] - np.einsum("akj,k->aj", pull, given.b)
    pulled = np.einsum("akj,kl->alj", pull, given.b_cov)
    J = u.shape[1]
    C = given.P.sum(axis=-1) + np.einsum("akj,bkj->ab", pulled, pull)
    share = given.left.sum(axis=-1) + np.einsum("akj,bkj->ab", T_X, pulled)  # of the centred columns
    to_data = f.to_data
    left = np.diag(np.linalg.solve(to_data.T, share @ to_data.T))
    C = at.sigma2 * to_data @ C @ to_data.T / J
    return Solved(
        u=(to_data @ u).T,
        conditional=C,
        effective=_effective(np.diag(C), left, at, f.places, J),
        rss=float(given.r2 - np.einsum("aj,aj->", u, T_e)),
        hat=float(p + len(left) * J - left.sum()),
        criterion=criterion_at(data, given, at.sigma2),
    )


def _effective(conditional: Array, left: Array, at: Spreads, places: tuple[int, ...], J: int) -> Array:
    """gamma by varying column; of independent columns from what is left over, which keeps its digits near zero."""
    blocks = [at.covariances[place] for place in places]
    if all((np.diag(np.diag(S)) == S).all() for S in blocks):
        return np.asarray(J - left)
    tau2 = np.concatenate([np.diag(S) for S in blocks])
    return np.asarray(J * (1 - np.divide(conditional, tau2, out=np.ones_like(tau2), where=tau2 > 0)))

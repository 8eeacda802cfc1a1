"""The covariance of responses with the group effects integrated out: what a random part says of the data themselves.

    Var(y) = sum over blocks of Z_k Sigma_k Z_k' between rows of one level,  + sigma^2 / w on the diagonal         (1)

With a varying intercept and slope of x, ``(x | g)``, two rows of one group at x and x' have the covariance

    k(x, x') = sa^2 + rho sa sb (x + x') + sb^2 x x'                                                              (2)

a kernel: the group effects are a random line, as in a Gaussian process with this covariance function. With x shifted by
c, (2) is the same kernel under other values, sa^2 + 2 rho sa sb c + sb^2 c^2 in place of sa^2 and rho sa sb + sb^2 c in
place of rho sa sb, as long as rho is free: then nothing depends on where x has its zero. With rho held at 0,
``(x || g)``, the shifted kernel is no member of the family: zero must be a place where intercept and slope really have
nothing to do with each other.

Source: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, section 2.7 and 4.2.2; Laird & Ware (1982,
doi:10.2307/2529876).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import OptionError
from workbench.fit import Fit

Array = NDArray[np.float64]


def marginal_covariance(fit: Fit, rows: ArrayLike, residual: bool = True) -> Array:
    """The covariance matrix of some rows of a fit's response, at its variance components.

    Parameters
    ----------
    fit : Fit
        Gaussian, with the variance components of all random blocks.
    rows : array of int, shape (m,)
        Positions among the rows of the fit.
    residual : bool
        Whether sigma^2 / w is on the diagonal; without it this is the covariance of the rows' means.

    Returns
    -------
    array, shape (m, m)
        In squared units of the response.

    Raises
    ------
    OptionError
        The fit has no variance components, or is of another family.

    Examples
    --------
    >>> import workbench as wb
    >>> fit = wb.fit("Reaction ~ Days + (Days | Subject)", "models/sleepstudy/data.csv")
    >>> marginal_covariance(fit, [0, 9]).round(1).tolist()                 # one subject, days 0 and 9
    [[1267.0, 698.5], [698.5, 4280.7]]
    """
    design, at = fit.design, np.asarray(rows, dtype=np.intp)
    if design.family != "gaussian":
        raise OptionError(
            f"The response is {design.family}: its covariance depends on its mean. Look at effects instead."
        )
    if len(fit.components) != len(design.blocks):
        raise OptionError(f"{fit.estimator} has no variance components. Use reml, or another that estimates them.")
    made = np.zeros((len(at), len(at)))
    for block, part in zip(design.blocks, fit.components, strict=True):
        Z, codes = block.Z[at], block.codes[at]
        made += np.where(codes[:, None] == codes, Z @ part.covariance @ Z.T, 0.0)
    if residual:
        made[np.diag_indices(len(at))] += fit.sigma**2 / design.weights[at]
    return made


def line_kernel(x: ArrayLike, intercept_sd: float, slope_sd: float, correlation: float) -> Array:
    """Equation (2) for all pairs of x, shape (m, m).

    Examples
    --------
    >>> line_kernel([0.0, 1.0], 2.0, 1.0, 0.5).tolist()
    [[4.0, 5.0], [5.0, 7.0]]
    """
    at = np.asarray(x, dtype=float)
    shared = correlation * intercept_sd * slope_sd
    return np.asarray(intercept_sd**2 + shared * (at[:, None] + at) + slope_sd**2 * at[:, None] * at)


def shifted(intercept_sd: float, slope_sd: float, correlation: float, by: float) -> tuple[float, float, float]:
    """The values that give :func:`line_kernel` at x - by what these give it at x.

    Examples
    --------
    >>> sa, sb, rho = shifted(2.0, 1.0, 0.5, by=3.0)
    >>> line_kernel([-3.0, -2.0], sa, sb, rho).round(12).tolist()          # as [0, 1] above
    [[4.0, 5.0], [5.0, 7.0]]
    """
    variance = intercept_sd**2 + 2 * correlation * intercept_sd * slope_sd * by + slope_sd**2 * by**2
    shared = correlation * intercept_sd * slope_sd + slope_sd**2 * by
    scale = np.sqrt(variance) * slope_sd
    return float(np.sqrt(variance)), slope_sd, float(shared / scale) if scale > 0 else 0.0

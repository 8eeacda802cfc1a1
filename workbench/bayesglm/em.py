"""The approximate EM of Gelman, Jakulin, Pittau & Su (2008, doi:10.1214/08-AOAS191), on arrays.

    y_i ~ family(mean g^-1(x_i'b + offset_i), dispersion phi / w_i),      b_j ~ t(df_j, mean m_j, scale s_j)

A t prior is a normal one whose variance is itself random. Every iteration

1. makes the working response z and weights W of reweighted least squares;
2. solves the weighted regression of z on X with one pseudo-observation m_j of b_j per coefficient, of weight
   phi / sd_j^2, which gives b and V = (X'WX + phi / sd^2)^-1;
3. puts the expected variance in the place of each prior's, unless its df is infinite:
   sd_j^2 <- ((b_j - m_j)^2 + phi V_jj + df_j s_j^2) / (1 + df_j);
4. where phi is a parameter: phi <- mean of W (z - Xb)^2 + phi * mean of x_i'V x_i, without correction for degrees
   of freedom (it starts at var(y) / 10,000);

until deviance and phi stand still together. For normal priors this is the posterior mode; for others it is close to it.
The second mean in 4 is not weighted, as in R's bayesglm, so that phi depends on the unit of the weights: where they are
far below 1 it may grow without bound, which ends the EM unconverged.

The EM knows the columns by what it asks of them (:class:`Columns`): those of a matrix are in
:mod:`workbench.bayesglm.plain`, those of grouping factors in :mod:`workbench.bayesglm.grouped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DesignError
from workbench.families import Family

Array = NDArray[np.float64]
HALVINGS = 60
"""How often a step that leaves the family's domain is halved."""
VANISHED, BOUNDLESS = 1e-20, 1e100
"""Times the first dispersion, below which (where changes are relative) and above which it will never settle."""


class Columns(Protocol):
    """What the EM asks of the columns of a regression and their priors: plain ones, or those of grouping factors.

    Coefficients are one array; what `weigh` and `solve` return, and prior SDs, are handed back as they came.
    """

    def weigh(self, weights: Array, z: Array) -> Any:
        """Products of the columns and the working response, weighted; both of shape (n,)."""

    def solve(self, weighed: Any, sd: Any, phi: float) -> Any:
        """Step 2, given prior SDs and dispersion; the coefficients are its attribute ``a``."""

    def predictor(self, a: Array) -> Array:
        """The linear predictor without offset, shape (n,)."""

    def squares(self, weighed: Any, solved: Any) -> float:
        """Weighted sum of the squared working residuals."""

    def leverage(self, weighed: Any, solved: Any) -> float:
        """Mean of x'Vx over the rows, unweighted."""

    def updated(self, a: Array, solved: Any, phi: float) -> Any:
        """Step 3: the prior SDs."""

    def level(self, predictor: Array) -> Array:
        """Coefficients to halve a first step towards: near this linear predictor, or at the prior mean."""


@dataclass(frozen=True, eq=False)
class End:
    """Where the EM stopped.

    `phi` is the dispersion that the last step led to; `boundless` says that it had grown beyond all limits, `shortened`
    that the last step left the family's domain.
    """

    a: Array
    solved: Any
    sd: Any
    phi: float
    squares: float
    deviance: float
    iterations: int
    converged: bool
    shortened: bool
    boundless: bool


def approximate_em(
    columns: Columns,
    y: Array,
    family: Family,
    weights: Array,
    offset: Array,
    sd: Any,
    dispersion: float | None,
    tolerance: float,
    max_iterations: int,
    floor: float = 0.1,
    starting: Array | None = None,
) -> End:
    """Run the module's four steps; arguments as in :func:`workbench.bayesglm.plain.posterior_mode`.

    Parameters
    ----------
    columns : Columns
    sd : prior SDs of the first iteration, as `columns` takes them
    floor : float
        Added to deviance and dispersion where their changes are compared with `tolerance`: 0.1 as in R's glm, 0 for
        relative changes.
    starting : array, shape (n,), optional
        The weights of the responses that the first means are made of; `weights` where left out.

    Raises
    ------
    DesignError
        A dispersion that goes to zero where changes are relative (the columns explain the response exactly), no spread
        to start it from, no coefficients that keep the means in the family's domain.
    """
    phi, estimated = _first_dispersion(y, family, dispersion)
    first = phi
    deviance, converged, boundless, a = float("inf"), False, False, None
    constant = family.constant_weights
    if constant:
        weighed = columns.weigh(weights, y - offset)
    else:
        mean = family.start(y, weights if starting is None else starting)
        predictor, deviance = family.link(mean), family.deviance(y, mean, weights)
    for iteration in range(1, max_iterations + 1):
        before, held = deviance, phi
        if constant:
            solved = columns.solve(weighed, sd, phi)
            a, step = solved.a, solved.a
            deviance = squares = columns.squares(weighed, solved)
        else:
            with np.errstate(all="ignore"):  # what overflows is refused by the solution
                working = weights * family.information(predictor)
                z = predictor - offset + (y - mean) / family.slope(predictor)
            weighed = columns.weigh(working, z)
            solved = columns.solve(weighed, sd, phi)
            step = solved.a
            a, predictor, mean, deviance = _inside(family, columns, y, weights, offset, a, step)
            squares = float(np.sum(working * (z - (predictor - offset)) ** 2))
        sd = columns.updated(a, solved, held)
        if estimated:
            phi = squares / len(y) + held * columns.leverage(weighed, solved)
            if floor == 0 and phi < VANISHED * first:
                raise DesignError(
                    "The dispersion goes to zero: the groups and other columns explain the response exactly. Let fewer "
                    "terms vary, or hold the dispersion."
                )
        still = abs(deviance - before) <= tolerance * (floor + abs(deviance))
        if iteration > 1 and still and abs(phi - held) <= tolerance * (floor + abs(phi)):
            converged = True
            break
        boundless = phi > BOUNDLESS * first
        if boundless:
            break
    assert a is not None
    return End(a, solved, sd, phi, squares, deviance, iteration, converged, a is not step, boundless)


# --- parts ----------------------------------------------------------------------------------------------


def _first_dispersion(y: Array, family: Family, held: float | None) -> tuple[float, bool]:
    if held is not None or not family.estimates_dispersion:
        return (1.0 if held is None else held), False
    spread = float(np.var(y, ddof=1)) if len(y) > 1 else 0.0
    if not spread > 0:
        rows = f"a single row ({y[0]:g})" if len(y) == 1 else f"{len(y):,} rows that are all {y[0]:g}"
        raise DesignError(
            f"The response has {rows}, so no dispersion can be estimated. Hold it (dispersion=1.0), or give more data."
        )
    return spread / 10_000, True


def _inside(
    family: Family, columns: Columns, y: Array, weights: Array, offset: Array, old: Array | None, new: Array
) -> tuple[Array, Array, Array, float]:
    """Coefficients, linear predictor, mean and deviance.

    The step is halved until all means are in the family's domain, and the deviance is finite.
    """
    for _ in range(HALVINGS):
        predictor = columns.predictor(new) + offset
        with np.errstate(all="ignore"):
            mean = family.inverse(predictor)
            deviance = family.deviance(y, mean, weights) if family.inside(predictor, mean) else float("inf")
        if np.isfinite(deviance):
            return new, predictor, mean, deviance
        if old is None:
            old = columns.level(family.link(family.start(np.array([y.mean()]), np.ones(1))) - offset)
        new = (new + old) / 2
    raise DesignError(
        f"With the {family.link_name} link, means leave the domain of the {family.name} family. Use another link "
        "(log keeps means positive, logit probabilities), or tighter priors."
    )

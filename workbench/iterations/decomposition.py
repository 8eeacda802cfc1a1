"""What a raw update leaves out: the law of total variance, term by term.

    Var(u)  =  E Var(u | y)  +  Var E(u | y)

At variances tau^2 the second part is the mean square of the predicted effects, m_k = sum_j u_jk^2 / J, and the first
the mean of their conditional variances c_k. With gamma_k = J - J c_k/tau_k^2 effects determined by the data,

    m_k + c_k = tau_k^2      if and only if      m_k = tau_k^2 gamma_k/J,

and where all terms do so, the restricted likelihood is at its maximum (over variances, covariances held at zero). So
the factor that a raw mean square lacks is J/gamma_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.answer import answer
from workbench.data import read_only
from workbench.design import Design
from workbench.estimates import table
from workbench.iterations.solved import solve
from workbench.iterations.spreads import Spreads
from workbench.moments import moments
from workbench.optimum import optimum
from workbench.words import join, significant

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

LAWFUL = 1e-6
"""Sums that miss tau^2 by a smaller share of it make it up."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The two parts of Var(u) at some variances, by varying column; all arrays of shape (q,).

    Attributes
    ----------
    groups, terms : tuple of str
    levels : int
        J.
    mean_square : array
        Of the predicted effects: Var E(u | y).
    conditional : array
        Mean conditional variance, population values being estimated too: E Var(u | y).
    variance : array
        tau^2, which both are taken at.
    effective : array
        gamma.
    reml : array
        REML's variances.
    """

    groups: tuple[str, ...]
    terms: tuple[str, ...]
    levels: int
    mean_square: Array
    conditional: Array
    variance: Array
    effective: Array
    reml: Array

    def __post_init__(self) -> None:
        for name in ("mean_square", "conditional", "variance", "effective", "reml"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def factor(self) -> Array:
        """J/gamma: what the mean square lacks."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.levels / self.effective)

    @table
    def table(self) -> pd.DataFrame:
        """One row per varying column.

        Columns ``group, term, levels, mean_square, conditional_variance, sum, variance, reml, effective, factor``.
        """
        import pandas as pd

        columns = {
            "group": self.groups, "term": self.terms, "levels": self.levels, "mean_square": self.mean_square,
            "conditional_variance": self.conditional, "sum": self.mean_square + self.conditional,
            "variance": self.variance, "reml": self.reml, "effective": self.effective, "factor": self.factor,
        }  # fmt: skip
        return pd.DataFrame(columns)

    @property
    def lawful(self) -> bool:
        """Whether the two parts make up tau^2 in every column, as at the maximum of the restricted likelihood."""
        off = np.abs(self.mean_square + self.conditional - self.variance)
        return bool((off <= LAWFUL * self.variance).all())

    @property
    def sentence(self) -> str:
        """Whether the parts make up tau^2 here, and only where they do, by which factor the mean square falls short."""
        columns = list(zip(self.terms, self.mean_square, self.conditional, self.variance, strict=True))
        if not self.lawful:
            sums = join(
                f"{significant(m)} + {significant(c)} = {significant(m + c)} for {t}, where tau^2 is {significant(v)}"
                for t, m, c, v in columns
            )
            return f"At these variances the two parts do not make up tau^2: {sums}."
        sums = join(f"{significant(m)} + {significant(c)} = {significant(v)} for {t}" for t, m, c, v in columns)
        products = join(
            f"{significant(m)} x {significant(f)} = {significant(v)}"
            for (_, m, _, v), f in zip(columns, self.factor, strict=True)
            if v > 0
        )
        if not products:
            return "These variances are zero, and so are both parts."
        return (
            f"At these variances the two parts make up tau^2: {sums}. The factor that the mean square lacks is then "
            f"J/gamma, the {self.levels:,} effects over those that the data determine: {products}."
        )


def decompose(design: Design, at: Spreads) -> Decomposition:
    """Decompose Var(u) at given variances, for a design with one grouping factor, and put REML's beside it.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> parts = decompose(design, Spreads((np.array([[6.0 + 1 / 12]]),), 0.5))      # REML's own
    >>> parts.table[["mean_square", "conditional_variance", "sum", "reml"]].round(4).values.tolist()
    [[3.8955, 2.1879, 6.0833, 6.0833]]
    """
    data = moments(design)
    f, found = data.factor, solve(data, at)
    best = answer(design, data, optimum(data, restricted=True), True, 0.95)
    order = [(place, k) for place in f.places for k in range(len(design.blocks[place].terms))]
    return Decomposition(
        groups=tuple(design.blocks[place].group for place, _ in order),
        terms=tuple(design.blocks[place].terms[k] for place, k in order),
        levels=len(found.u),
        mean_square=(found.u**2).mean(axis=0),
        conditional=np.diag(found.conditional),
        variance=np.array([at.covariances[place][k, k] for place, k in order]),
        effective=found.effective,
        reml=np.array([best.components[place].covariance[k, k] for place, k in order]),
    )

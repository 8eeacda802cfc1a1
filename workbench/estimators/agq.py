"""`agq`: generalised linear mixed models by maximum likelihood, the effects integrated out by adaptive quadrature.

What ``lme4::glmer`` does with ``nAGQ`` above 1: Laplace's approximation is one node, and more of them come as close to
the likelihood as wanted (:mod:`workbench.glmm.quadrature`). For one varying term of one grouping factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import SupportsIndex

from workbench.design import Design
from workbench.errors import DesignError, OptionError
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.glmm.answer import answer
from workbench.glmm.quadrature import MOST_NODES
from workbench.glmm.rows import Rows
from workbench.glmm.search import check_information, optimum


@dataclass(frozen=True)
class Options:
    """Options of `agq`.

    Attributes
    ----------
    nodes : int
        Per level, 1 (Laplace's approximation) to 100.
    information : "expected" or "observed"
        Whose inverse root is the width about the mode to which nodes are scaled, for links that are not canonical;
        with many nodes it makes no difference.
    """

    nodes: SupportsIndex = 25
    information: str = "expected"

    def __post_init__(self) -> None:
        whole = hasattr(self.nodes, "__index__") and not isinstance(self.nodes, bool)
        if not whole or not 1 <= index(self.nodes) <= MOST_NODES:
            raise OptionError(f"nodes is {self.nodes!r}, but must be a whole number from 1 to {MOST_NODES}.")
        object.__setattr__(self, "nodes", index(self.nodes))
        check_information(self.information)


def agq(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit by maximum likelihood, with adaptive Gauss-Hermite quadrature of the integral over the effects.

    Parameters
    ----------
    design : Design
        Binomial or Poisson, one varying term of one grouping factor.
    settings : Settings
        Its `level` is the probability of the intervals.
    options : Options
    upstream
        Not used.

    Returns
    -------
    Fit
        `criterion` is the deviance, -2 log likelihood with *all* constants (lme4 leaves out one of the data where
        ``nAGQ`` is above 1, so that its value is not comparable with Laplace's). Effects are conditional modes, with
        conditional SDs from the curvature there.

    Raises
    ------
    DesignError
        Several varying terms or grouping factors.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"s": [8, 9, 2, 1, 5, 5], "f": [2, 1, 8, 9, 5, 5], "g": list("aabbcc")}
    >>> fit = agq(build_design("cbind(s, f) ~ 1 + (1 | g)", table, "binomial"))
    >>> round(float(fit.components[0].sd[0]), 3), round(fit.criterion.value, 3)
    (1.342, 23.753)
    """
    if len(design.blocks) > 1 or len(design.blocks[0].terms) > 1:
        terms = " + ".join(f"({' + '.join(block.terms)} | {block.group})" for block in design.blocks)
        raise DesignError(
            f"agq takes one varying term of one grouping factor, but the formula has {terms}: quadrature over several "
            "effects at once is not done here. Use laplace."
        )
    nodes = index(options.nodes)
    rows = Rows.of(design)
    best = optimum(rows, expected=options.information == "expected", nodes=nodes)
    return answer(design, best, "agq", settings.level, {"nodes": nodes})

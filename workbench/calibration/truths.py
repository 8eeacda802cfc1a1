"""Truths drawn from the priors, and responses drawn given them.

    b, sigma, sd_k ~ their priors,     R_k ~ LKJ
    u_k[j] ~ N(0, diag(sd_k) R_k diag(sd_k)) in every level j,     eta = X b + sum_k Z_k u_k + offset

and y given eta by the law of its family (:mod:`workbench.sampling.responses`): the model of
:mod:`workbench.sampling.explicit`. X, Z, weights, trials, offset and group sizes are those of the design: only its
response is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.errors import OptionError, PriorError
from workbench.lkj import lkj_draw
from workbench.priors import Prior, coefficient_name
from workbench.sampling.responses import check_sampled, draw
from workbench.words import join

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """The parameters and group effects behind one simulated response.

    Attributes
    ----------
    b : array, shape (p,)
    sigma : float
        1 where standard errors are known, and where the family has none.
    sd : tuple of array, shape (q_k,)
        By random block.
    correlation : tuple of array, shape (q_k, q_k)
    effects : tuple of array, shape (J_k, q_k)
    """

    b: Array
    sigma: float
    sd: tuple[Array, ...]
    correlation: tuple[Array, ...]
    effects: tuple[Array, ...]

    def predictor(self, design: Design) -> Array:
        """The linear predictor of every row, shape (n,)."""
        eta = design.X @ self.b + design.offset
        for block, u in zip(design.blocks, self.effects, strict=True):
            eta = eta + np.einsum("nq,nq->n", block.Z, u[block.codes])
        return np.asarray(eta)

    def coefficient(self, design: Design, block: int, level: int, term: int) -> float:
        """Population value + effect of one group."""
        return float(self.coefficients(design, block)[level, term])

    def coefficients(self, design: Design, block: int) -> Array:
        """Population value + effect of every group of a block, shape (J, q)."""
        columns = design.blocks[block].fixed
        return np.asarray(self.effects[block] + [0.0 if column is None else self.b[column] for column in columns])


def check_responses(design: Design) -> None:
    """Refuse a design whose rows no single draw can make, with an OptionError.

    These are families without simulated responses, and weights that say how often a row counts, whose likelihood is
    none of a response that was drawn once.
    """
    check_sampled(design)
    if design.family == "poisson" or design.formula.cbind is not None:
        if (design.prior_weights != 1).any():
            raise OptionError(
                "Weights of counts say how often a row counts, but a simulated row is drawn once: no posterior would "
                "be calibrated, and no interval right. Leave the weights out, or repeat the rows."
            )
    elif design.family == "binomial" and (design.weights != np.rint(design.weights)).any():
        raise OptionError("Weights of shares are their trials, which must be whole numbers for responses to be drawn.")


def check_drawable(design: Design, priors: Mapping[str, Prior]) -> None:
    """Refuse what truths cannot be drawn from.

    Raises
    ------
    OptionError
        As :func:`check_responses`.
    PriorError
        Flat priors, which are improper; the message names all of them.
    """
    check_responses(design)
    flat = [name for name, prior in priors.items() if prior.kind == "Flat"]
    if flat:
        raise PriorError(
            f"The prior of {join(flat)} is flat, which is improper: no truth can be drawn from it. Give a proper "
            f'prior, such as "{flat[0]}": "{"Normal(0, 10)" if _real(flat[0]) else "HalfNormal(10)"}".'
        )


def draw_truth(design: Design, priors: Mapping[str, Prior], rng: np.random.Generator) -> Truth:
    """Draw parameters from proper priors (:func:`check_drawable`), then group effects given them.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.prior_defaults import resolve_priors
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> truth = draw_truth(design, resolve_priors(design, {"sd": "Uniform(1, 1.001)"}), np.random.default_rng(1))
    >>> truth.sd[0].round(2).tolist(), truth.effects[0].shape
    ([1.0], (2, 1))
    """
    b = np.array([float(priors[coefficient_name(term)].draw(rng)) for term in design.fixed_terms])
    sigma = float(priors["sigma"].draw(rng)) if "sigma" in priors else 1.0
    sds, correlations, effects = [], [], []
    for block in design.blocks:
        q = len(block.terms)
        sd = np.array([float(priors[f"sd({block.group}, {term})"].draw(rng)) for term in block.terms])
        R = lkj_draw(rng, priors[f"cor({block.group})"].values[0], q) if q > 1 else np.ones((1, 1))
        standard = rng.standard_normal((len(block.levels), q)) @ np.linalg.cholesky(R).T
        sds.append(read_only(sd))
        correlations.append(read_only(R))
        effects.append(read_only(standard * sd))
    return Truth(read_only(b), sigma, tuple(sds), tuple(correlations), tuple(effects))


def draw_response(design: Design, truth: Truth, rng: np.random.Generator) -> Array:
    """A response given the truth, shape (n,), on the scale of ``design.y``."""
    return draw(design, truth.predictor(design), truth.sigma, None, rng)


def _real(name: str) -> bool:
    return name != "sigma" and not name.startswith("sd(")

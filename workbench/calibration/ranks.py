"""Where the truth stands in a posterior: its rank, between 0 and 1.

If truth and response are drawn from the model that the posterior belongs to, the posterior's distribution function at
the truth is uniform, in every design, whatever the number of groups (Cook, Gelman & Rubin 2006,
doi:10.1198/106186006X136976; Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788):

* where the posterior is known as such (`exact`), the rank is this number;
* of L draws, nearly independent, of which r lie below the truth, it is (r + U) / (L + 1) with U uniform on (0, 1): r is
  uniform on 0, ..., L, so that the rank is uniform too, and continuous.

A sampler's draws are thinned, evenly, to no more than their effective sample size (the smaller one of bulk and tail):
draws that depend on each other have ranks that are not uniform (Talts et al., section 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.truths import Truth
from workbench.design import Design
from workbench.errors import OptionError, nearest
from workbench.fit import Fit
from workbench.priors import coefficient_name
from workbench.sampling.diagnostics import convergence
from workbench.sampling.names import block_names

Array = NDArray[np.float64]

Levels = Mapping[str, Sequence[str]] | Sequence[str] | None
"""Which levels are looked at: by grouping factor, of the first one, or by default the smallest, largest and first."""


@dataclass(frozen=True)
class Quantity:
    """A number that has a truth and a posterior.

    Attributes
    ----------
    name : str
        A parameter's, or ``coefficient[group, level, term]``.
    kind : "b", "sigma", "sd", "cor" or "coefficient"
    block : int
    place : tuple of int
        Within b, within the block's sd or cor, or (level, term).
    """

    name: str
    kind: str
    block: int = 0
    place: tuple[int, ...] = ()

    def of(self, truth: Truth, design: Design) -> float:
        """Its true value."""
        match self.kind:
            case "b":
                return float(truth.b[self.place])
            case "sigma":
                return truth.sigma
            case "sd":
                return float(truth.sd[self.block][self.place])
            case "cor":
                return float(truth.correlation[self.block][self.place])
        return truth.coefficient(design, self.block, *self.place)

    def draws(self, fit: Fit) -> Array:
        """Its draws in a fit's tree, shape (chains, draws)."""
        name = block_names(fit.design)[self.block]
        variable = {"b": "b", "sigma": "sigma"}.get(self.kind, f"{self.kind}_{name}")
        apart = self.kind == "coefficient" and "group_effects" in fit.draws.children
        values = fit.draws["group_effects" if apart else "posterior"][variable].to_numpy()
        return np.asarray(values[(..., *self.place)], dtype=float)


def quantities_of(design: Design, groups: Levels = None) -> tuple[Quantity, ...]:
    """Every parameter of a design, and the coefficients of chosen levels.

    Raises
    ------
    OptionError
        A grouping factor or level that is not there.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2, 4, 3, 7], "g": list("aabbb")})
    >>> [q.name for q in quantities_of(design)][2:]
    ['sd(g, (Intercept))', 'coefficient[g, a, (Intercept)]', 'coefficient[g, b, (Intercept)]']
    """
    found = [Quantity(coefficient_name(term), "b", 0, (k,)) for k, term in enumerate(design.fixed_terms)]
    if design.estimates_dispersion and not design.known_se:
        found.append(Quantity("sigma", "sigma"))
    for i, block in enumerate(design.blocks):
        found += [Quantity(f"sd({block.group}, {term})", "sd", i, (k,)) for k, term in enumerate(block.terms)]
        for a, c in zip(*np.triu_indices(len(block.terms), 1), strict=True):
            name = f"cor({block.group}, {block.terms[a]}, {block.terms[c]})"
            found.append(Quantity(name, "cor", i, (int(a), int(c))))
    chosen = _chosen(design, groups)
    for i, block in enumerate(design.blocks):
        for j in chosen.get(block.group, ()):
            for k, term in enumerate(block.terms):
                found.append(
                    Quantity(f"coefficient[{block.group}, {block.levels[j]}, {term}]", "coefficient", i, (j, k))
                )
    return tuple(found)


def rank_in(fit: Fit, quantity: Quantity, true: float, most: int, rng: np.random.Generator) -> float:
    """The rank of a true value in a fit's posterior; among at most `most` draws where it has no distribution function.

    NaN where draws do not move at all, or are not finite.
    """
    if fit.posterior is not None:
        if quantity.kind == "coefficient":
            marginal = fit.posterior.coefficient(fit.design.blocks[0].levels[quantity.place[0]])
            return float(marginal.cdf(np.array([true]))[0])
        return float(fit.posterior.parameter(quantity.name).cdf(np.array([true]))[0])
    return rank_among(quantity.draws(fit), true, most, rng)


def rank_among(draws: Array, true: float, most: int, rng: np.random.Generator) -> float:
    """The rank of a number among draws, shape (chains, draws), thinned to their effective number and at most `most`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> draws = rng.standard_normal((4, 500))
    >>> round(rank_among(draws, 0.0, 99, rng), 2), round(rank_among(draws, 9.0, 99, rng), 2)
    (0.54, 0.99)
    """
    if not np.isfinite(draws).all() or (draws == draws[0, 0]).all():
        return float("nan")
    effective = min(float(figure[0]) for figure in convergence(draws[:, :, None])[1:])
    if not np.isfinite(effective):
        return float("nan")
    L = max(1, min(most, int(effective)))
    kept = draws.ravel()[np.linspace(0, draws.size - 1, L).round().astype(int)]
    below, same = int((kept < true).sum()), int((kept == true).sum())
    return float((below + rng.integers(0, same + 1) + rng.random()) / (L + 1))


def _chosen(design: Design, groups: Levels) -> dict[str, list[int]]:
    """The levels looked at, by grouping factor."""
    known = {block.group: block for block in design.blocks}
    if groups is None:
        found = {}
        for group, block in known.items():
            sizes = block.sizes
            found[group] = list(dict.fromkeys([int(sizes.argmin()), int(sizes.argmax()), 0]))
        return found
    if not isinstance(groups, Mapping):
        groups = {next(iter(known)): [groups] if isinstance(groups, str) else groups}
    found = {}
    for group, wanted in groups.items():
        if group not in known:
            raise OptionError(f"There is no grouping factor {group!r}. {nearest(str(group), known)}")
        levels = list(known[group].levels)
        for level in wanted:
            if str(level) not in levels:
                raise OptionError(f"{group} has no level {str(level)!r}. {nearest(str(level), levels)}")
        found[group] = [levels.index(str(level)) for level in dict.fromkeys(wanted)]
    return found

"""Predictive checks: what the model would have had the data look like, beside what they look like.

    p = P(T(y_rep) > T(y)) + P(T(y_rep) = T(y)) / 2,     y_rep ~ p(y_rep | draw)

Statistics of groups are checked on replications with *new* groups, whose effects are drawn from each draw's own sd and
cor: with the old ones, which were fitted to the very means that are looked at, they could hardly fail (Gelman, Meng &
Stern 1996, Statistica Sinica 6; Marshall & Spiegelhalter 2007, doi:10.1214/07-BA218).

========================  ================================================================================
statistic T               with m_j the mean of group j (weighted, as the rows are), of the first factor
========================  ================================================================================
SD of group means         of the m_j
farthest group mean       max_j |m_j - mean of all m_j|
SD within groups          of the rows about their m_j; where some group has several rows
========================  ================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.sampling.draws import Draws
from workbench.sampling.predictive import predicted, with_new_effects
from workbench.sampling.tree import Sampled, sampled_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.fit import Fit

Array = NDArray[np.float64]

REPLICATIONS = 1_000
MOST = 20_000_000
"""Rows times replications, at the most; but `LEAST` replications are made in any case."""
LEAST = 50
CHUNK = 2_000_000
"""Of these, so many are in hand at a time."""


@dataclass(frozen=True, eq=False)
class Check:
    """One statistic of the data and of their replications, shape (S,); and the share of these that is larger."""

    name: str
    observed: float
    replicated: Array
    p: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "replicated", read_only(self.replicated))


def predictive_checks(fit: Fit | Sampled) -> pd.DataFrame:
    """Statistics of the data and of replications with new groups, by the posterior.

    Parameters
    ----------
    fit : Fit or Sampled
        With draws.

    Returns
    -------
    DataFrame
        ``statistic, observed, mean, low, high, p``: of the replications mean, 2.5 % and 97.5 % quantile; p is the
        share of them above the observed value (ties count half). Close to 0 or 1 the model does not make such data.

    Raises
    ------
    OptionError
        The fit has no draws.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 2.5, 3.5], "g": list("aabbccdd")}
    >>> fit = wb.fit("y ~ 1 + (1 | g)", table, "exact", options={"draws": 250}, seed=1)
    >>> predictive_checks(fit)["statistic"].tolist()
    ['SD of group means', 'farthest group mean, its distance', 'SD within groups']
    """
    import pandas as pd

    rows = []
    for check in checks(sampled_of(fit)):
        low, high = np.quantile(check.replicated, [0.025, 0.975])
        rows.append((check.name, check.observed, float(check.replicated.mean()), float(low), float(high), check.p))
    return pd.DataFrame(rows, columns=["statistic", "observed", "mean", "low", "high", "p"])


def checks(sampled: Sampled) -> tuple[Check, ...]:
    """Every statistic of the module's table, on replications with new groups."""
    design = sampled.design
    rng = np.random.default_rng([sampled.seed, 3])
    drawn = some(sampled.drawn, int(np.clip(MOST // design.n, LEAST, REPLICATIONS)))
    size = max(1, CHUNK // design.n)
    parts = []
    for start in range(0, drawn.draws, size):
        here = with_new_effects(design, at_draws(drawn, slice(start, start + size)), rng)
        parts.append(statistics(design, predicted(design, here, rng)[0]))
    observed = statistics(design, np.asarray(design.y)[None])
    made = []
    for name, value in observed.items():
        replicated = np.concatenate([part[name] for part in parts])
        p = float(np.mean(replicated > value[0]) + np.mean(replicated == value[0]) / 2)
        made.append(Check(name, float(value[0]), replicated, p))
    return tuple(made)


def statistics(design: Design, y: Array) -> dict[str, Array]:
    """The statistics of responses (S, n), each of shape (S,)."""
    block, weights = design.blocks[0], design.weights
    order = np.argsort(block.codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(block.sizes)[:-1]])
    w = np.asarray(weights)[order]
    total = np.add.reduceat(w, starts)
    means = np.add.reduceat(y[:, order] * w, starts, axis=1) / total
    found = {
        "SD of group means": means.std(axis=1, ddof=1),
        "farthest group mean, its distance": np.abs(means - means.mean(axis=1, keepdims=True)).max(axis=1),
    }
    if (free := design.n - len(total)) > 0:
        away = y[:, order] - np.repeat(means, block.sizes, axis=1)
        found["SD within groups"] = np.sqrt((away**2 * w).sum(axis=1) / w.mean() / free)
    return found


def some(drawn: Draws, count: int) -> Draws:
    """At most so many of the draws with effects, evenly spread, as one chain."""
    whole = drawn.at_effects()
    S = whole.chains * whole.draws
    index = np.linspace(0, S - 1, min(count, S)).round().astype(int)

    def pick(part: Array) -> Array:
        return np.asarray(part.reshape(S, *part.shape[2:])[index][None])

    return _each(whole, pick)


def at_draws(drawn: Draws, where: slice) -> Draws:
    """Some of the draws of every chain, of draws that all have effects."""
    return _each(drawn, lambda part: part[:, where])


def _each(drawn: Draws, pick: Callable[[Array], Array]) -> Draws:
    """Every array of draws that all have effects, changed alike."""
    return Draws(
        b=pick(drawn.b),
        sigma=None if drawn.sigma is None else pick(drawn.sigma),
        sd=tuple(pick(part) for part in drawn.sd),
        correlation=tuple(pick(part) for part in drawn.correlation),
        effects=tuple(pick(part) for part in drawn.effects),
        others={name: pick(part) for name, part in drawn.others.items()},
    )

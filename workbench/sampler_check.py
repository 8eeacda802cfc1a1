"""A sampler held to the exact posterior: how far its summaries lie off, in units of their own Monte Carlo errors.

Where `hierarchical` and `exact` were fitted to one design under the same priors, both describe one posterior. Whatever
is estimated from draws misses by chance, by a standard error that the draws tell themselves:

    z = (summary of the draws - exact value) / Monte Carlo standard error

which is nearly standard normal if the sampler has found the whole posterior. Compared are, for every parameter and
every group coefficient, the mean of the draws, and the shares of the draws below the exact median and below the ends
of the exact equal-tailed interval, which should be those probabilities p. Monte Carlo errors come from effective
sample sizes N (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, doi:10.1214/20-BA1221, by ArviZ): SD / sqrt(N) of
a mean, sqrt(p (1 - p) / N) of a share. (Quantiles of the draws would need the density beside them too, which draws
tell badly in the tails.) A mean without a variance has no such error, and is left out.

Of k such numbers about 0.0455 k lie beyond 2, and with probability 0.99 or more none lies beyond

    limit = Phi^-1((1 + 0.99^(1/k)) / 2)

by Sidak's inequality, which holds for correlated normal numbers too (1967, doi:10.1080/01621459.1967.10482935).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.errors import ComparisonError
from workbench.estimates import Estimates, table
from workbench.fit import Fit, text_column
from workbench.gap import same_design
from workbench.sampling.diagnostics import DIAGNOSED_LEVELS
from workbench.sampling.draws import named_parameters
from workbench.words import count, percent, significant

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

COLUMNS = (
    "effect", "group", "level", "term", "statistic", "sampled", "exact", "difference", "mcse", "z",
)  # fmt: skip
STATISTICS = ("mean", "share below conf_low", "share below median", "share below conf_high")
FAR = 2.0
"""Numbers beyond this are counted."""
BEYOND = 2 * NormalDist().cdf(-FAR)
"""The share of them that chance explains."""
CHANCE = 0.01
"""How often chance alone may raise the alarm."""
RARE = 0.05
"""A run that chance makes less often is called rare."""


@dataclass(frozen=True)
class Quantity:
    """What is compared: a parameter by its name, or a group's coefficient."""

    term: str
    group: str | None = None
    level: str | None = None

    def __str__(self) -> str:
        return self.term if self.group is None else f"{self.group} {self.level}"


@dataclass(frozen=True, eq=False)
class SamplerCheck:
    """Summaries of draws beside the exact ones.

    Attributes
    ----------
    quantities : tuple of Quantity, m of them
        Parameters first. Of very many levels of a group `DIAGNOSED_LEVELS` are compared, evenly spread.
    sampled, exact, error : array, shape (m, 4)
        Values by `STATISTICS`, and the Monte Carlo standard error of the sampled ones; NaN where there is none.
    draws : int
        Of all chains together.
    """

    quantities: tuple[Quantity, ...]
    sampled: Array
    exact: Array
    error: Array
    draws: int

    def __post_init__(self) -> None:
        for name in ("sampled", "exact", "error"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def z(self) -> Array:
        """Differences, sampled less exact, in Monte Carlo standard errors, shape (m, 4)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.sampled - self.exact) / self.error)

    @property
    def probabilities(self) -> Array:
        """The exact shares, shape (3,)."""
        return np.asarray(self.exact[0, 1:])

    @property
    def limit(self) -> float:
        """What the largest of all these numbers exceeds by chance in one run of a hundred, or fewer."""
        return sidak_limit(int((~np.isnan(self.z)).sum()))

    @property
    def agrees(self) -> bool:
        """Whether chance is not excluded, at `CHANCE`, for any difference."""
        return bool(not (np.abs(self.z) > self.limit).any())

    @table
    def table(self) -> pd.DataFrame:
        """One row per quantity and statistic.

        Columns ``effect`` (``parameter`` or ``ran_coefs``), ``group, level, term, statistic, sampled, exact,
        difference, mcse, z``.
        """
        import pandas as pd

        each = [q for q in self.quantities for _ in STATISTICS]
        text: dict[str, list[str | None]] = {
            "effect": ["parameter" if q.group is None else "ran_coefs" for q in each],
            "group": [q.group for q in each],
            "level": [q.level for q in each],
            "term": [q.term for q in each],
            "statistic": [*STATISTICS] * len(self.quantities),
        }
        numbers = {
            "sampled": self.sampled, "exact": self.exact, "difference": self.sampled - self.exact, "mcse": self.error,
            "z": self.z,
        }  # fmt: skip
        rows = np.arange(len(each))
        columns: dict[str, Any] = {name: text_column(words, rows) for name, words in text.items()}
        columns |= {name: values.ravel() for name, values in numbers.items()}
        return pd.DataFrame(columns)[list(COLUMNS)]

    @property
    def sentence(self) -> str:
        """What the numbers say: the largest, how many are far out, and whether chance explains that."""
        means, shares = self.z[:, :1], self.z[:, 1:]
        quantiles = [f"{100 * p:.4g} %" for p in self.probabilities]
        said = (
            f"PyMC minus exact: {self._said(means, 'posterior mean', 'posterior means', [''])} "
            f"{_capital(self._said(shares, 'share', 'shares of draws below an exact quantile', quantiles))}"
        )
        known = self.z[~np.isnan(self.z)]
        most = float(np.abs(known).max(initial=0.0))
        often = (
            f"the largest of {len(known):,} such numbers exceeds {significant(most, 3)} by chance in "
            f"{_often(chance_of(most, len(known)))} of runs"
        )
        if self.agrees:
            rare = chance_of(most, len(known)) < RARE
            and_so = (
                "Such a run is rare: more draws would tell."
                if rare
                else f"As far as {self.draws:,} draws can tell, the sampler has found the posterior."
            )
            return f"{said} Chance is not excluded at {percent(CHANCE)}: {often}. {and_so}"
        return (
            f"{said} That is more than chance explains at {percent(CHANCE)}: {often}. The draws do not stand for the "
            "whole posterior: look at R-hat and divergences, and draw more before you trust them."
        )

    def _said(self, z: Array, one: str, more: str, columns: Sequence[str]) -> str:
        """The largest of some numbers, with its column, and how many are far out."""
        known = int((~np.isnan(z)).sum())
        if not known:
            return f"no {one} has a Monte Carlo error."
        i, j = np.unravel_index(int(np.nanargmax(np.abs(z))), z.shape)
        worst, far = float(z[i, j]), int((np.abs(z) > FAR).sum())
        off = significant(abs(worst), 3) if np.isfinite(worst) else "infinitely many"
        where = ", ".join(filter(None, (str(self.quantities[int(i)]), columns[int(j)])))
        beyond = f"{far:,} {'lies' if far == 1 else 'lie'}" if far else "none lies"
        return (
            f"the farthest of {count(known, one, more)} lies {off} Monte Carlo errors "
            f"{'above' if worst > 0 else 'below'} ({where}); {beyond} beyond {FAR:g}, where "
            f"{significant(BEYOND * known, 2)} are expected."
        )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _often(chance: float) -> str:
    return f"at most {percent(chance)}" if chance >= 1e-4 else "less than 0.01 %"


def chance_of(largest: float, many: int) -> float:
    """How probable it is at the most that one of so many standard normal numbers lies beyond, by Sidak's inequality.

    Examples
    --------
    >>> round(chance_of(1.96, 1), 3), round(chance_of(3.42, 36), 3)
    (0.05, 0.022)
    """
    return float(-np.expm1(many * np.log1p(-2 * NormalDist().cdf(-largest))))


def sidak_limit(many: int, chance: float = CHANCE) -> float:
    """What the largest absolute value of so many standard normal numbers exceeds with this probability at the most.

    Examples
    --------
    >>> round(sidak_limit(1, 0.05), 3), round(sidak_limit(40), 3)
    (1.96, 3.661)
    """
    return NormalDist().inv_cdf((1 + (1 - chance) ** (1 / max(many, 1))) / 2)


def check_sampler(sampled: Fit, exact: Fit) -> SamplerCheck:
    """Hold draws to the exact posterior.

    Parameters
    ----------
    sampled : Fit
        `hierarchical`, with its draws.
    exact : Fit
        `exact`, of the same design, under the same priors and to the same interval's level.

    Raises
    ------
    ComparisonError
        There are no draws, or the fits are of different posteriors.

    Examples
    --------
    >>> import workbench as wb
    >>> schools = {"y": [28, 8, -3, 7, -1, 1, 18, 12], "se": [15, 10, 16, 11, 9, 11, 10, 18], "g": list("ABCDEFGH")}
    >>> fit = wb.fit("y ~ 1 + (1 | g)", schools, "exact", se="se", options={"draws": 500})   # independent draws
    >>> check = check_sampler(fit, fit)
    >>> check.agrees, check.z.shape
    (True, (10, 4))
    """
    if refusal := objection(sampled, exact):
        raise ComparisonError(refusal)
    assert exact.parameters is not None
    block, part = exact.design.blocks[0], exact.group_effects[0]
    chosen = _spread_out(len(block.levels))
    names, parameters, coefficients = _draws(sampled)
    coefficients = coefficients[:, :, chosen]
    places = np.array([exact.parameters.names.index(name) for name in names], dtype=np.intp)
    last = exact.posterior.parameter(exact.parameters.names[-1])
    tail = float(last.cdf(exact.parameters.estimates.conf_low[-1:])[0])
    probabilities = np.array([tail, 0.5, 1 - tail])
    parts = [
        _compared(parameters, exact.parameters.estimates, places, probabilities),
        _compared(coefficients, part.coefficient, chosen, probabilities),
    ]
    values, true, error = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return SamplerCheck(
        quantities=(
            *(Quantity(name) for name in names),
            *(Quantity(block.terms[0], block.group, str(block.levels[j])) for j in chosen.tolist()),
        ),
        sampled=values,
        exact=true,
        error=error,
        draws=parameters.shape[0] * parameters.shape[1],
    )


def objection(sampled: Fit, exact: Fit) -> str:
    """Why draws cannot be held to an exact posterior, in words; empty where they can."""
    one, other = sampled.estimator, exact.estimator
    if sampled.sampled is None:
        return f"The {one} fit has no draws. Fit it again, with draws kept."
    if exact.posterior is None:
        return f"The {other} fit is no exact posterior. Fit with estimator='exact'."
    if not same_design(sampled, exact):
        return f"{one} and {other} are fits of different designs. Fit both to the same, as compare() does."
    if _interval(sampled) != _interval(exact):
        return f"{one} has {_interval(sampled)} intervals, {other} {_interval(exact)}. Fit both with the same level."
    for name in {**sampled.priors, **exact.priors}:  # a parameter that one of them does not have makes another model
        stated, prior = (fit.priors.get(name, "no prior") for fit in (sampled, exact))
        if stated != prior:
            return f"{one} has the prior {stated} of {name}, {other} {prior}. Fit both under the same priors."
    return ""


# --- parts --------------------------------------------------------------------------------------------


def _interval(fit: Fit) -> str:
    return "" if fit.parameters is None else fit.parameters.estimates.interval


def _spread_out(levels: int) -> NDArray[np.intp]:
    """Which levels are compared."""
    return np.unique(np.linspace(0, levels - 1, min(levels, DIAGNOSED_LEVELS)).round().astype(np.intp))


def _draws(fit: Fit) -> tuple[tuple[str, ...], Array, Array]:
    """Parameters by name, shape (C, N, number of names), and the coefficients of the one term, shape (C, M, J)."""
    drawn = fit.sampled.drawn
    names, parameters = named_parameters(fit.design, drawn)
    return names, parameters, drawn.coefficients(fit.design)[0][..., 0]


def _compared(
    draws: Array, exact: Estimates, places: NDArray[np.intp], probabilities: Array
) -> tuple[Array, Array, Array]:
    """Sampled and exact values by `STATISTICS`, and Monte Carlo errors, shapes (m, 4), of draws (C, N, m)."""
    from arviz_stats.base import array_stats

    axes: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}
    mean, sd, *quantiles = (
        column.ravel()[places]
        for column in (exact.estimate, exact.std_error, exact.conf_low, exact.median, exact.conf_high)
        if column is not None
    )
    below = np.stack([draws < quantile for quantile in quantiles], axis=-1).astype(float)  # (C, N, m, 3)
    size = array_stats.ess(below, method="mean", **axes)
    mean_error = np.where(np.isfinite(sd), array_stats.mcse(draws, method="mean", **axes), np.nan)
    return (
        np.column_stack([draws.mean(axis=(0, 1)), below.mean(axis=(0, 1))]),
        np.column_stack([mean, np.broadcast_to(probabilities, (len(mean), 3))]),
        np.column_stack([mean_error, np.sqrt(probabilities * (1 - probabilities) / size)]),
    )

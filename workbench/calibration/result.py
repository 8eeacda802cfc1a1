"""What a calibration found: ranks, their test, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration.uniformity import ecdf_test, holm
from workbench.data import read_only
from workbench.estimates import plain, table
from workbench.words import join

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

MEANING = (
    "Ranks that form a cup (∪) mean posteriors that are too narrow, a cap (∩) too wide ones, a slope a bias: "
    "piled up at 1 they lie too low, at 0 too high."
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A simulation-based calibration: where each truth stood in its posterior.

    Attributes
    ----------
    formula, estimator : str
    level : float
        Probability that right posteriors pass, all parameters together.
    seed, asked : int
        `asked` replications were wanted; fewer are there where `interrupted`.
    interrupted : bool
    priors : mapping of str to str
        Of the truths, and of the fits but for `fit_priors`.
    fit_priors : mapping of str to str
        Where the fits had another one.
    names : tuple of str
        Of the parameters, m of them: population coefficients, ``sigma``, ``sd(...)``, ``cor(...)`` and
        ``coefficient[group, level, term]``.
    ranks : array, shape (replications, m)
        Between 0 and 1; NaN where a fit failed.
    not_converged : int
        Fits whose ranks are here although they did not converge.
    failures : tuple of str
        One sentence per fit that failed.
    """

    formula: str
    estimator: str
    level: float
    seed: int
    asked: int
    interrupted: bool
    priors: Mapping[str, str]
    fit_priors: Mapping[str, str]
    names: tuple[str, ...]
    ranks: Array
    not_converged: int
    failures: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranks", read_only(self.ranks))

    @property
    def replications(self) -> int:
        """How many were finished."""
        return len(self.ranks)

    @cached_property
    def known(self) -> tuple[Array, ...]:
        """The ranks of each parameter that are there."""
        return tuple(column[np.isfinite(column)] for column in self.ranks.T)

    @cached_property
    def p_values(self) -> Array:
        """Of the simultaneous test of each parameter's distribution function, shape (m,); NaN of fewer than 2 ranks."""
        return np.array([ecdf_test(len(u)).p_value(u) if len(u) > 1 else np.nan for u in self.known])

    @cached_property
    def adjusted(self) -> Array:
        """The p-values, adjusted for being several (Holm), shape (m,)."""
        return holm(self.p_values)

    @property
    def uniform(self) -> bool:
        """Whether no parameter's ranks depart from uniformity, and there are ranks of all."""
        return bool(np.isfinite(self.adjusted).all() and (self.adjusted > 1 - self.level).all())

    @property
    def band_level(self) -> float:
        """The level of each picture's band: a parameter leaves its own if and only if not all are uniform."""
        return 1 - (1 - self.level) / max(1, int(np.isfinite(self.p_values).sum()))

    @table
    def summary(self) -> pd.DataFrame:
        """One row per parameter.

        Columns ``parameter``; ``ranks``, how many there are; ``mean`` (0.5 is right; the ranks' standard error is
        0.29 / sqrt(ranks)); ``spread``, their SD over that of uniform ranks (1 is right, more is a cup); ``ks`` and
        ``ks_p``, Kolmogorov & Smirnov's statistic and p-value; ``ecdf_p``, the p-value of the simultaneous test
        (:mod:`workbench.calibration.uniformity`); ``adjusted_p``, the same adjusted by Holm over all parameters;
        ``uniform``, whether that is above 1 - level; ``posterior``, what else it is.
        """
        import pandas as pd
        from scipy.stats import kstest

        rows = []
        for name, u, p, adjusted in zip(self.names, self.known, self.p_values, self.adjusted, strict=True):
            ks = kstest(u, "uniform") if len(u) else None
            fine = bool(adjusted > 1 - self.level)
            rows.append(
                {
                    "parameter": name,
                    "ranks": len(u),
                    "mean": float(u.mean()) if len(u) else np.nan,
                    "spread": float(np.sqrt(12 * np.mean((u - u.mean()) ** 2))) if len(u) else np.nan,
                    "ks": float(ks.statistic) if ks else np.nan,
                    "ks_p": float(ks.pvalue) if ks else np.nan,
                    "ecdf_p": p,
                    "adjusted_p": adjusted,
                    "uniform": fine,
                    "posterior": "" if fine else departure(u),
                }
            )
        return pd.DataFrame(rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known of the replications, in words."""
        found = []
        if self.interrupted:
            found.append(f"Interrupted after {self.replications:,} of {self.asked:,} replications.")
        if self.failures:
            count = f"{len(self.failures):,} of {self.replications:,}"
            found.append(f"{count} fits failed and have no ranks, the first with: {self.failures[0]}")
        if self.not_converged:
            found.append(
                f"{self.not_converged:,} of {self.replications:,} fits did not converge; their ranks are kept."
            )
        if self.fit_priors:
            found.append(
                f"The fits had other priors than the truths: {join(f'{k} {v}' for k, v in self.fit_priors.items())}."
            )
        return tuple(found)

    @property
    def sentence(self) -> str:
        """What was found, and what a departure means."""
        test = f"simultaneous test of the distribution function, {100 * self.level:.4g} %, Holm's adjustment"
        head = f"{self.replications:,} replications of {self.estimator}, {len(self.names)} parameters"
        if self.uniform:
            least = float(np.nanmin(self.adjusted))
            return f"{head}: no ranks depart from uniformity ({test}; smallest adjusted p {least:.2g}). {MEANING}"
        rows = self.summary.query("not uniform")
        said = join(
            f"{r.parameter} (posterior {r.posterior}, adjusted p {r.adjusted_p:.2g})" for r in rows.itertuples()
        )
        return f"{head}: not uniform are the ranks of {said} ({test}). {MEANING}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw rank histograms and distribution functions with their bands; returns the first panel's Axes."""
        from workbench.plots.calibration import draw, view

        return draw(view(self), ax)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what was done, and the rows of `summary`."""
        rows = self.summary.rename(columns={"parameter": "name"}).to_dict("records")
        return {
            "schema": 1,
            "estimator": self.estimator,
            "formula": self.formula,
            "level": self.level,
            "seed": self.seed,
            "asked": self.asked,
            "replications": self.replications,
            "interrupted": self.interrupted,
            "failed": len(self.failures),
            "not_converged": self.not_converged,
            "priors": dict(self.priors),
            "fit_priors": dict(self.fit_priors),
            "uniform": self.uniform,
            "parameters": [
                {key: value if isinstance(value, str | int) else plain(value) for key, value in row.items()}
                for row in rows
            ],
            "sentence": self.sentence,
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """One line: estimator, formula, how many replications, the verdict."""
        verdict = "uniform" if self.uniform else "NOT UNIFORM"
        state = ", INTERRUPTED" if self.interrupted else ""
        return (
            f"<Calibration of {self.estimator}: {self.formula}, {self.replications:,} replications, {verdict}{state}>"
        )


def departure(ranks: Array) -> str:
    """What ranks that are not uniform say of the posterior: the larger of their departures in mean and in spread.

    Examples
    --------
    >>> departure(np.array([0.01, 0.99] * 30)), departure(np.linspace(0.5, 1, 60))
    ('too narrow', 'too low')
    """
    if len(ranks) < 2:
        return "unknown"
    shift = (ranks.mean() - 0.5) * np.sqrt(12 * len(ranks))
    spread = (np.var(ranks) - 1 / 12) * np.sqrt(180 * len(ranks))
    if abs(shift) >= abs(spread):
        return "too low" if shift > 0 else "too high"
    return "too narrow" if spread > 0 else "too wide"

"""Fits of one design, aligned: :class:`Comparison`.

Only what can be compared is compared: all fits must be of the same rows, the same response and the same scale. The
tables say how far estimators lie apart and how much each shrinks (:mod:`workbench.agreement`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.adapters import read_foreign
from workbench.agreement import agreement_table, shrinkage_table
from workbench.design import Design
from workbench.errors import ComparisonError, OptionError, nearest
from workbench.estimates import table
from workbench.estimators import REGISTRY, Settings, lookup, make_options, run_estimator
from workbench.fit import Fit, tidy_table
from workbench.packing import Portable
from workbench.sampler_check import COLUMNS, SamplerCheck, check_sampler, objection
from workbench.truth import read_truth

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from workbench.gap import Gap
    from workbench.plots import Plots

Watch = Callable[[str, Mapping[str, Fit]], None]

SLOW = ("hierarchical",)
"""Fitted last, so that what is quick is there first."""

SAMPLER_FIGURES = ("divergences", "e_bfmi", "tree_depth", "max_tree_depth_reached")
"""What only a sampler's draws have."""


@dataclass(frozen=True, eq=False)
class Comparison(Portable):
    """Several fits of the same design, aligned group by group.

    Attributes
    ----------
    fits : mapping of str to Fit
        By estimator, in the order of the tables and pictures.
    alone : Fit or None
        The fit without pooling, which shrinkage is measured from; None where the design has none.
    truth : mapping of (level, term) to float
        True group coefficients, for simulated data; empty otherwise.
    title : str
    truth_meaning : str
        What stands for the truth, where it is a later or a larger measurement and not the truth itself.
    call : mapping of str to Any
        What it was made from, by the keywords of :func:`workbench.compare`, as far as words say it: the data's file,
        columns, seed, level, priors. Reports print it; empty for fits that were put together by hand.
    """

    fits: Mapping[str, Fit]
    alone: Fit | None = None
    truth: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    title: str = ""
    truth_meaning: str = ""
    call: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.fits:
            raise ComparisonError("There is nothing to compare: no fit was given. Name at least one estimator.")
        object.__setattr__(self, "fits", MappingProxyType(dict(self.fits)))
        first = next(iter(self.fits.values()))
        for fit in (*self.fits.values(), *([self.alone] if self.alone else [])):
            _refuse_other_data(first, fit)

    @property
    def design(self) -> Design:
        """The design that all fits share."""
        return next(iter(self.fits.values())).design

    @property
    def converged(self) -> bool:
        """Whether every fit ended where it should."""
        return all(fit.converged for fit in self.fits.values())

    @table
    def estimates(self) -> pd.DataFrame:
        """All tidy rows: fixed effects, effects (``ran_vals``) and coefficients (``ran_coefs``) of every estimator."""
        return tidy_table(self.fits.values())

    @table
    def agreement(self) -> pd.DataFrame:
        """How far the group coefficients of each pair of estimators lie apart, per group and term.

        Columns ``estimator1, estimator2, group, term, levels, max_difference, rms_difference, level``; `level` is
        where the difference is largest. Levels that either estimator could not estimate are left out of the count.
        """
        return agreement_table(self.fits)

    @table
    def shrinkage(self) -> pd.DataFrame:
        """Shrinkage factor per estimator, group, level and term (:mod:`workbench.agreement`).

        Columns ``estimator, group, level, term, n, no_pooling, population, estimate, shrinkage``. Missing where the
        group's own coefficient is missing or is the population value itself.
        """
        return shrinkage_table(self.fits, self.alone)

    def by_group(self, top: int = 3) -> pd.DataFrame:
        """Every group by every estimator: estimates, errors by name, shrinkage, reliability, ranks, trust.

        See :mod:`workbench.group_table`; `top` is what ``p_top`` is the probability of being among.
        """
        from workbench.group_table import group_table

        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise OptionError(f"top is {top!r}, but must be a whole number from 1 on.")
        known = self.__dict__.setdefault("_by_group", {})
        if top not in known:
            known[top] = group_table(self.fits, self.shrinkage, self.truth, top)
        made: pd.DataFrame = known[top]
        return made.copy(deep=False)  # pandas copies on write

    def wide(self, column: str = "estimate") -> pd.DataFrame:
        """One column of :meth:`by_group` with the estimators side by side: a row per group, level and term."""
        long = self.by_group()
        if column not in long or column in ("estimator", "group", "level", "term", "n"):
            raise OptionError(f"The table has no column {column!r}. {nearest(str(column), long.columns)}")
        keys = ["group", "level", "term", "n"]
        found = long[long["estimator"] == next(iter(self.fits))][keys].reset_index(drop=True)
        for name in self.fits:  # all have the same rows in the same order
            found[name] = long.loc[long["estimator"] == name, column].to_numpy()
        return found

    @table
    def scoreboard(self) -> pd.DataFrame:
        """Every estimator in one line: error, coverage, width, ranks, log score and time, also by group size.

        See :mod:`workbench.scoreboard`; what needs a truth is missing without one.
        """
        from workbench.scoreboard import scoreboard

        return scoreboard(self.by_group(), self.fits)

    def summary(self) -> str:
        """What the numbers say, a sentence a line, each computed from this comparison and checked on it."""
        from workbench.report.findings import findings

        return "\n".join(findings(self))

    @table
    def variance(self) -> pd.DataFrame:
        """Variance components of every estimator: ``estimator`` and the columns of ``Fit.variance``."""
        import pandas as pd

        tables = [fit.variance.assign(estimator=name) for name, fit in self.fits.items()]
        joined = pd.concat(tables, ignore_index=True)
        return joined[["estimator", "group", "term1", "term2", "vcov", "sdcor"]]

    @table
    def timings(self) -> pd.DataFrame:
        """One row per estimator: seconds, and whether its numbers can be trusted.

        Columns ``estimator, seconds, needs, converged, singular, r_hat, ess_bulk, divergences, e_bfmi, tree_depth,
        max_tree_depth_reached, trust``. `seconds` is the fit itself; `needs` names what it builds on. `r_hat` is the
        largest and `ess_bulk` the smallest over all parameters and effects, `e_bfmi` the smallest and `tree_depth` the
        largest over all chains; `max_tree_depth_reached` counts draws. What a fit has no figure of is missing. `trust`
        is what speaks against this fit, without what `design.notes` say of the data.
        """
        import pandas as pd

        from workbench.report.trust import remarks

        rows = []
        for name, fit in self.fits.items():
            needs = ", ".join(REGISTRY[name].needed(fit.options, fit.design)) if name in REGISTRY else ""
            d = fit.diagnostics
            rows.append(
                {
                    "estimator": name,
                    "seconds": fit.seconds,
                    "needs": needs,
                    "converged": fit.converged,
                    "singular": fit.singular,
                    "r_hat": d.get("r_hat", np.nan),
                    "ess_bulk": d.get("ess_bulk", np.nan),
                    **{name: d.get(name, np.nan) for name in SAMPLER_FIGURES},
                    "trust": " ".join(remarks(fit)) or "no objection",
                }
            )
        return pd.DataFrame(rows)

    @table
    def parameters(self) -> pd.DataFrame:
        """Posterior summaries of the Bayesian estimators' named parameters, with R-hat and effective sample sizes."""
        import pandas as pd

        tables = []
        for name, fit in self.fits.items():
            if fit.parameters is not None:
                head = {"estimator": name, "name": list(fit.parameters.names)}
                tables.append(pd.DataFrame(head | fit.parameters.estimates.tidy()))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["estimator", "name"])

    @table
    def true_values(self) -> pd.DataFrame:
        """The truth as a table with the columns ``level, term, value``; empty where none is known."""
        import pandas as pd

        levels, terms = zip(*self.truth, strict=True) if self.truth else ((), ())
        values = np.fromiter(self.truth.values(), float, len(self.truth))
        return pd.DataFrame({"level": list(levels), "term": list(terms), "value": values})

    @property
    def sampling(self) -> SamplerCheck | None:
        """The draws of `hierarchical` held to `exact`; None without both, or where their posteriors are not the same.

        See :mod:`workbench.sampler_check`.
        """
        sampled, exact = self.fits.get("hierarchical"), self.fits.get("exact")
        if sampled is None or exact is None or objection(sampled, exact):
            return None
        made: SamplerCheck = self.__dict__.setdefault("_sampling", None) or check_sampler(sampled, exact)
        self.__dict__["_sampling"] = made
        return made

    @table
    def sampler_check(self) -> pd.DataFrame:
        """PyMC minus exact in Monte Carlo errors: means of parameters and coefficients, shares below exact quantiles.

        Columns ``effect, group, level, term, statistic, sampled, exact, difference, mcse, z``, `z` being the difference
        in Monte Carlo errors; no rows without both fits. ``comparison.sampling.sentence`` says what they come to.
        """
        import pandas as pd

        return pd.DataFrame(columns=list(COLUMNS)) if self.sampling is None else self.sampling.table

    def beside(self, *, level: float = 0.95, **foreign: Any) -> Comparison:
        """A comparison with answers from elsewhere after the fits: ``comparison.beside(lme4="tidy.csv")``.

        Each is what :func:`workbench.adapt` takes; names that are no Python words go in as ``**{"by hand": table}``.
        """
        return replace(self, fits={**self.fits, **read_foreign(foreign, self.design, level, self.fits)})

    def explain_gap(self, one: str, other: str) -> Gap:
        """Why two estimators' group coefficients differ: ``workbench.gap.explain_gap(fits[one], fits[other])``.

        Causes are removed one after the other, everything is fitted anew, and the table holds what is left after each.
        """
        from workbench.gap import explain_gap

        for name in (one, other):
            if name not in self.fits:
                raise ComparisonError(f"There is no fit of {name!r} here. {nearest(str(name), self.fits)}")
        known = self.__dict__.setdefault("_explained", {})
        if (one, other) not in known:
            known[one, other] = explain_gap(self.fits[one], self.fits[other], self.fits.get("reml"))
        explained: Gap = known[one, other]
        return explained

    @property
    def plot(self) -> Plots:
        """The pictures: ``comparison.plot.shrinkage(ax=None)`` and the others, each returning matplotlib Axes."""
        from workbench.plots import Plots

        return Plots(self)

    def report(self, folder: str | Path) -> Path:
        """Write the report to a folder, whole or not at all; returns the folder."""
        from workbench.report import write_report

        return write_report(self, folder)

    def export(self, path: str | Path, table: str = "models") -> Path:
        """Write one table to a .tex, .docx, .html, .md or .csv file; returns the path.

        `table` is ``"models"`` (the estimators side by side, as papers print them), ``"wide"`` (every group by every
        estimator), ``"fixed"``, ``"variance"``, ``"agreement"``, ``"scoreboard"``, ``"parameters"``, ``"priors"`` or
        ``"trust"``.
        """
        from workbench.report.export import export

        return export(self, path, table)

    def _repr_html_(self) -> str:
        """What a notebook shows: :mod:`workbench.report.notebook`."""
        from workbench.report.notebook import comparison_html

        return comparison_html(self)

    def __repr__(self) -> str:
        """One line: formula and estimators."""
        return f"<Comparison of {', '.join(self.fits)}: {self.design.formula}, n = {self.design.n}>"


def compare_fits(
    design: Design,
    estimators: Sequence[str],
    settings: Settings = Settings(),
    options: Mapping[str, Any] = MappingProxyType({}),
    truth: Any = None,
    title: str = "",
    foreign: Mapping[str, Any] = MappingProxyType({}),
    watch: Watch | None = None,
    truth_meaning: str = "",
) -> Comparison:
    """Fit several estimators to one design and align them; a fit that another builds on is made once.

    Full Bayes by sampling is fitted last, wherever it stands.

    Parameters
    ----------
    design : Design
    estimators : sequence of str
        In the order wanted; repeats are dropped.
    settings : Settings
    options : mapping of estimator to its options
    truth : table or path, optional
        True group coefficients: the columns ``level``, ``term`` and ``value`` (:mod:`workbench.truth`).
    title : str
    foreign : mapping of name to source
        Answers from elsewhere, after the fits; see :func:`workbench.adapters.adapt`.
    watch : callable, optional
        Called before each fit with its estimator and the fits made so far (those asked for, in their order), and after
        the last one with "".
    truth_meaning : str
        See :class:`Comparison`.
    """
    options = options or {}
    for name in (*estimators, *options):  # refuse before anything long runs
        make_options(lookup(name), options.get(name))
    read = read_foreign(foreign, design, settings.level, estimators)
    known = read_truth(truth, design)
    fits: dict[str, Fit] = {}
    for name in sorted(dict.fromkeys(estimators), key=SLOW.__contains__):
        estimator = lookup(name)
        if watch is not None:
            watch(name, {made: fits[made] for made in estimators if made in fits})
        for needed in (*estimator.needed(make_options(estimator, options.get(name)), design), name):
            if needed not in fits:
                fits[needed] = run_estimator(needed, design, settings, options.get(needed), fits)
    wanted = {name: fits[name] for name in dict.fromkeys(estimators)} | read
    if watch is not None:
        watch("", wanted)
    return Comparison(wanted, _alone_fit(design, settings, fits), known, title, truth_meaning)


def _alone_fit(design: Design, settings: Settings, fits: Mapping[str, Fit]) -> Fit | None:
    if "no_pooling" in fits:
        return fits["no_pooling"]
    able = len(design.groups) == 1 and design.family in lookup("no_pooling").families
    return run_estimator("no_pooling", design, settings) if able else None


def _refuse_other_data(first: Fit, other: Fit) -> None:
    """Only fits of the same rows, response and scale may stand side by side."""
    a, b = first.design, other.design
    if a is b:
        return
    if a.n != b.n or a.rows != b.rows:
        raise ComparisonError(
            f"{first.estimator} used {a.n:,} rows and {other.estimator} {b.n:,}. Fit both to the same rows."
        )
    if (a.family, a.link) != (b.family, b.link) or a.response != b.response or not np.array_equal(a.y, b.y):
        raise ComparisonError(
            f"{first.estimator} and {other.estimator} have different responses ({a.response}, {b.response}) or scales "
            f"({a.link}, {b.link}). Fit both to the same response."
        )
    if [(k.group, k.terms, k.levels) for k in a.blocks] != [(k.group, k.terms, k.levels) for k in b.blocks]:
        raise ComparisonError(f"{first.estimator} and {other.estimator} have different groups or varying terms.")

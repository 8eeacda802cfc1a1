"""A gap between two estimators, explained: a table of what is left after each cause, and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.estimates import table
from workbench.estimators import REGISTRY, Settings, run_estimator
from workbench.fit import Fit
from workbench.gap import integrated, maximised, plugged
from workbench.gap.steps import Step, coefficients_of
from workbench.rounding import DIGITS
from workbench.words import join, level_in_words, percent, significant

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""What is left is rounding where it is below this share of the effects, or below `DIGITS` of the coefficients."""

NONE = 1e-9
"""A smaller share of the gap is none."""
OVER = 1.0005
"""A larger share is shown as more than all."""

PLURALS = ("priors", "variances ", "population values ")
"""How causes begin that take a plural verb."""

CHAINS: Mapping[str, Callable[[Fit, Fit], tuple[Step, ...]]] = {
    "reml": lambda fit, hub: (),
    "reml_textbook": maximised.towards_reml,
    "ml": maximised.towards_reml,
    "henderson": maximised.towards_reml,
    "mackay": maximised.towards_reml,
    "em": maximised.towards_reml,
    "statsmodels": maximised.towards_reml,
    "boundary_avoiding": maximised.from_boundary_avoiding,
    "complete_pooling": maximised.from_complete_pooling,
    "no_pooling": maximised.from_no_pooling,
    "fixed_prior": plugged.towards_reml,
    "hierarchical": integrated.towards_reml,
    "exact": integrated.towards_reml,
}
"""How every estimator's fit is led to REML's."""


@dataclass(frozen=True, eq=False)
class Gap:
    """Why the group coefficients of two estimators differ.

    Attributes
    ----------
    first, second : str
        The estimators.
    design : Design
    steps : tuple of (estimator, Step)
        Causes in the order in which they were removed, and from whose fit.
    gaps : tuple of tuple of array, shape (J, q)
        First less second, by random block: as fitted, and after each step.
    scales, units : tuple of array, shape (q,)
        By random block: below which a difference is rounding; and what shares are measured in, the spread of REML's
        effects (where that is zero, the gap as fitted).
    """

    first: str
    second: str
    design: Design
    steps: tuple[tuple[str, Step], ...]
    gaps: tuple[tuple[Array, ...], ...]
    scales: tuple[Array, ...]
    units: tuple[Array, ...]

    @table
    def table(self) -> pd.DataFrame:
        """One row per step, group and term: what is left of the gap once the cause is removed too.

        Columns ``step, estimator, cause, change, group, term, max_difference, rms_difference, level, max_move``; step 0
        is the gap as fitted, `level` is where it is largest, and `max_move` is how far the step itself moved a
        coefficient: causes that pull in opposite directions hide each other. Levels that either estimator could not
        estimate do not count.
        """
        import pandas as pd

        rows = []
        for step, gaps in enumerate(self.gaps):
            owner, cause, change = ("", "as fitted", "") if not step else self._step(step)
            for block, gap, before in zip(self.design.blocks, gaps, self.gaps[max(step - 1, 0)], strict=True):
                for k, term in enumerate(block.terms):
                    figures = _figures(gap[:, k], block.levels)
                    move, _, _ = _figures(gap[:, k] - before[:, k], block.levels)
                    rows.append((step, owner, cause, change, block.group, term, *figures, move if step else np.nan))
        names = ["step", "estimator", "cause", "change", "group", "term"]
        names += ["max_difference", "rms_difference", "level", "max_move"]
        return pd.DataFrame(rows, columns=names)

    def _step(self, step: int) -> tuple[str, str, str]:
        owner, made = self.steps[step - 1]
        return owner, made.cause, made.change

    @property
    def explained(self) -> bool:
        """Whether rounding is all that is left."""
        return self._within(-1)

    def _within(self, step: int) -> bool:
        """Whether the gap after a step is rounding."""
        pairs = zip(self.gaps[step], self.scales, strict=True)
        return all(bool((np.abs(gap[np.isfinite(gap).all(axis=1)]) <= scale).all()) for gap, scale in pairs)

    @property
    def shares(self) -> tuple[float, ...]:
        """How much of the gap each step took away, as a share of its root mean square; negative where it grew.

        Over all groups and terms, each in its `units`; zero where the gap as fitted is rounding.
        """
        left = [self._size(gaps) for gaps in self.gaps]
        if self._within(0):
            return tuple(0.0 for _ in self.steps)
        return tuple((before - after) / left[0] for before, after in pairwise(left))

    def _size(self, gaps: tuple[Array, ...]) -> float:
        parts = [gap[np.isfinite(gap).all(axis=1)] / unit for gap, unit in zip(gaps, self.units, strict=True)]
        flat = np.concatenate([part.ravel() for part in parts])
        return float(np.sqrt(np.mean(flat**2))) if flat.size else 0.0

    @property
    def sentence(self) -> str:
        """What the table says, in words."""
        one, other = called(self.first), called(self.second)
        if self._within(0):
            return f"{_capital(one)} and {other} give the same coefficients here, to rounding."
        end = self._largest(len(self.steps))
        lead = f"{_capital(one)} and {other} lie at most {self._largest(0)} apart."
        if not self.steps:
            return f"{lead} No cause of this is known."
        shares = self.shares
        parts = [_part(made.cause, share) for (_, made), share in zip(self.steps, shares, strict=True)]
        alone = len(parts) == 1 and self.explained
        causes = (
            f"All of it is due to one cause, {self.steps[0][1].cause}"
            if alone
            else f"Of their root mean square difference ({self._typical()}), {join(parts)}"
        )
        rest = f"what is left ({end}) is rounding." if self.explained else f"{end} is left, which these do not explain."
        if not any(np.nan_to_num(gap).any() for gap in self.gaps[-1]):
            rest = "nothing is left."
        over = " Shares may exceed 100 %: causes cancel each other." * (not alone and max(shares) > OVER)
        return f"{lead} {causes}; {rest}{over}"

    def _typical(self) -> str:
        """The root mean square differences as fitted, by term."""
        pairs = zip(self.design.blocks, self.gaps[0], strict=True)
        found = [_figures(gap[:, k], block.levels)[1] for block, gap in pairs for k in range(len(block.terms))]
        return f"{'by term ' * (len(found) > 1)}{join(significant(size) for size in found[:4])}"

    def _largest(self, step: int) -> str:
        """The largest differences of a step, by term."""
        found = []
        several = sum(len(block.terms) for block in self.design.blocks) > 1
        for block, gap in zip(self.design.blocks, self.gaps[step], strict=True):
            for k, term in enumerate(block.terms):
                largest, _, level = _figures(gap[:, k], block.levels)
                where = f"{term} of " * several + level_in_words(block.group, level)
                found.append(f"{significant(largest)}" + (f" ({where})" if not step else ""))
        return join(found[:4])

    def __str__(self) -> str:
        """The table in plain text, and the sentence under it."""
        shown = self.table
        shown["removed"] = np.where(shown["step"] == 0, "as fitted", shown["cause"])
        columns = ["removed", "group", "term", "max_difference", "rms_difference", "level", "max_move"]
        text = shown[columns].to_string(index=False, float_format=lambda value: f"{value:.4g}")
        changes = "".join(f"\n{made.cause}: {made.change}." for _, made in self.steps)
        return (
            f"{self.first} - {self.second}: what is left of the gap after each cause\n{text}{changes}\n{self.sentence}"
        )

    __repr__ = __str__


def explain_gap(one: Fit, other: Fit, maximised: Fit | None = None) -> Gap:
    """Attribute the difference between two fits' group coefficients to named causes.

    Parameters
    ----------
    one, other : Fit
        Of the same design, by estimators that `CHAINS` knows.
    maximised : Fit, optional
        The `reml` fit of the design; made where it is left out.

    Returns
    -------
    Gap

    Raises
    ------
    ComparisonError
        The same estimator twice, one whose causes are not known, fits of different designs, a family that REML does
        not fit, or Student-t residuals.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> gap = wb.compare("y ~ 1 + (1 | g)", table, ["reml", "fixed_prior"]).explain_gap("reml", "fixed_prior")
    >>> gap.table["cause"].tolist(), gap.explained
    (['as fitted', 'dispersion convention'], True)
    """
    if one.estimator == other.estimator:
        raise ComparisonError(f"There is no gap between {one.estimator} and itself. Name two estimators.")
    for fit in (one, other):
        if fit.read_from is not None:
            raise ComparisonError(
                f"{fit.estimator} was read from {fit.read_from}: what it was computed by is not here, so causes cannot "
                f"be removed from it. Name two of {', '.join(CHAINS)}; comparison.agreement says how far it lies."
            )
        if fit.estimator not in CHAINS:
            raise ComparisonError(
                f"The causes that set {fit.estimator} apart are not known. Name two of {', '.join(CHAINS)}."
            )
    design = one.design
    if design.family != "gaussian":
        raise ComparisonError(
            f"Gaps are explained for gaussian responses so far, not {design.family}. Look at comparison.agreement."
        )
    for fit in (one, other):
        if "nu" in fit.priors:
            raise ComparisonError(
                f"Gaps are explained for normal residuals so far; those of {fit.estimator} are Student-t "
                "(robust). Look at comparison.agreement, or fit it without robust."
            )
    hub = run_estimator("reml", design, Settings()) if maximised is None else maximised
    for fit in (other, hub):
        if not same_design(one, fit):
            a, b = (f"{k.estimator} ({k.design.formula}, {k.design.n:,} rows)" for k in (one, fit))
            raise ComparisonError(
                f"{a} and {b} are fits of different designs: response, rows, terms, weights or offset differ, which is "
                "no cause that can be removed. Fit both to the same, as compare() does."
            )
    current = {fit.estimator: coefficients_of(fit) for fit in (one, other)}

    def apart() -> tuple[Array, ...]:
        return tuple(a - b for a, b in zip(current[one.estimator], current[other.estimator], strict=True))

    gaps, steps = [apart()], []
    for fit in (other, one):
        for step in CHAINS[fit.estimator](fit, hub):
            current[fit.estimator] = step.coefficients
            steps.append((fit.estimator, step))
            gaps.append(apart())
    return Gap(one.estimator, other.estimator, design, tuple(steps), tuple(gaps), *_measures(hub, gaps[0]))


def called(name: str) -> str:
    """An estimator's name within a sentence."""
    title = REGISTRY[name].title if name in REGISTRY else name
    return {"fixed_prior": "the fixed prior", "exact": "exact full Bayes"}.get(name, title)


def _measures(hub: Fit, first: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """By block and term: below which a gap is rounding, and the unit of its share."""
    scales, units = [], []
    for part, gap in zip(hub.group_effects, first, strict=True):
        effect = np.sqrt(np.mean(part.effect.estimate**2, axis=0))
        digits = DIGITS * np.abs(part.coefficient.estimate).max(axis=0)
        scales.append(np.maximum(ROUNDING * effect, digits) + np.finfo(float).tiny)
        # a spread of zero is no unit: one term would have all of the gap
        fitted = np.sqrt(np.mean(gap[np.isfinite(gap).all(axis=1)] ** 2, axis=0)) if np.isfinite(gap).any() else effect
        units.append(np.where(effect > digits, effect, np.where(fitted > digits, fitted, 1.0)))
    return tuple(scales), tuple(units)


def same_design(one: Fit, other: Fit) -> bool:
    """Whether two fits are of the same rows, response, columns, weights and offset."""
    a, b = one.design, other.design
    if a is b:
        return True
    if (a.n, a.fixed_terms, a.family, a.link) != (b.n, b.fixed_terms, b.family, b.link):
        return False
    if [(k.group, k.terms, k.levels) for k in a.blocks] != [(k.group, k.terms, k.levels) for k in b.blocks]:
        return False
    arrays = [[k.y, k.X, k.weights, k.offset, *(m.Z for m in k.blocks), *(m.codes for m in k.blocks)] for k in (a, b)]
    return all(map(np.array_equal, *arrays))


def _figures(gap: Array, levels: object) -> tuple[float, float, str]:
    """Largest and root mean square difference, and the level of the largest."""
    known = np.flatnonzero(np.isfinite(gap))
    if not len(known):
        return float("nan"), float("nan"), ""
    sizes = np.abs(gap[known])
    worst = int(np.argmax(sizes))
    return float(sizes[worst]), float(np.sqrt(np.mean(sizes**2))), str(levels[known[worst]])  # type: ignore[index]


def _part(cause: str, share: float) -> str:
    """A cause and its share; causes of plural names take a plural verb."""
    end = "" if cause.startswith(PLURALS) else "s"
    if abs(share) < NONE:
        return f"{cause} make{end} no difference"
    if share >= 0:
        return f"{cause} make{end} up {percent(share)}"
    return f"{cause} hide{end} {percent(-share)} (without {'it' if end else 'them'} the gap grows)"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]

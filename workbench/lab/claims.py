"""Four things that are said of shrinkage, each checked on given data: the numbers that decide, and what they decide.

Every check gives a :class:`Verdict`: ``true``, ``half`` (one part of the claim holds), ``false``, or ``open`` where the
data cannot tell. Thresholds are constants of this module. Notation: own means m_j with sampling variance
v_j = sigma^2 / w_j, at REML's sigma; REML keeps k_j = tau^2 / (tau^2 + v_j) of m_j - mu.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design
from workbench.estimators import Settings, penalized, run_estimator, spread_matching
from workbench.fit import Fit
from workbench.group_means import GroupMeans
from workbench.words import percent, significant

Array = NDArray[np.float64]
Answer = Literal["true", "half", "false", "open"]

SPREAD = 0.10
"""Estimates may spread more or less than the true values (where these are not known, than REML's tau) by this share."""
EQUAL = 1e-9
"""Groups whose information differs by no more than this share are of one size."""
ROUNDING = 1e-6
"""In standard errors of a group's value: estimates that differ by less are the same to rounding;"""
PRACTICAL = 0.1
"""and by less than this, the same to all practice."""
DEALS = (1, 2, 3)
"""Seeds that deal rows to the folds of cross-validation."""
MOST_GROUPS, MOST_ROWS = 50, 5_000
"""Ridge regression is cross-validated on tables up to this."""


@dataclass(frozen=True)
class Verdict:
    """What the data say of a claim.

    Attributes
    ----------
    answer : "true", "half", "false" or "open"
    words : str
        The same for people.
    says : tuple of str
        Why, with the numbers that decide.
    """

    answer: Answer
    words: str
    says: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """Groups' means, and what REML makes of them.

    Attributes
    ----------
    design : Design
    fit : Fit
        REML's.
    own, shrunken, noise, kept : array, shape (J,)
        Own means, REML's coefficients, v_j and k_j.
    mu, tau : float
    truth : array, shape (J,), or None
    """

    design: Design
    fit: Fit
    own: Array
    shrunken: Array
    noise: Array
    kept: Array
    mu: float
    tau: float
    truth: Array | None

    @property
    def effects(self) -> Array:
        """REML's coefficients less the common mean."""
        return self.fit.group_effects[0].effect.estimate[:, 0]

    def error(self, estimate: Array) -> float:
        """Mean squared error against the true values; NaN where they are not known."""
        return float(np.mean((estimate - self.truth) ** 2)) if self.truth is not None else float("nan")


def case(design: Design, truth: Array | None = None) -> Case:
    """Fit REML to a design of groups' means.

    Raises
    ------
    DesignError
        Anything but ``y ~ 1 + (1 | g)``.

    Examples
    --------
    >>> from workbench.lab.datasets import dataset
    >>> dyestuff = case(dataset("dyestuff").design)
    >>> round(dyestuff.tau, 3), dyestuff.kept.round(4).tolist()[:2]
    (42.001, [0.7825, 0.7825])
    """
    means = GroupMeans.of(design, "This page")
    fit = run_estimator("reml", design, Settings(), None, {})
    tau2 = float(fit.components[0].covariance[0, 0])
    noise = fit.sigma**2 / means.weight
    return Case(
        design, fit, means.mean, fit.group_effects[0].coefficient.estimate[:, 0], noise, tau2 / (tau2 + noise),
        float(fit.population.estimate[0]), float(np.sqrt(tau2)), truth,
    )  # fmt: skip


def spread_about(values: Array, centre: float) -> float:
    """Root mean square about a centre."""
    return float(np.sqrt(np.mean((values - centre) ** 2)))


def _meant(found: Case) -> tuple[float, str]:
    """The spread that estimates should have, and whose it is: the true values' where they are known, else tau."""
    if found.truth is None:
        return found.tau, f"REML puts the spread of the true values at τ = {significant(found.tau, 3)}"
    true = spread_about(found.truth, float(found.truth.mean()))
    return true, f"the true values, which are known here, spread by {significant(true, 3)}"


def _within(spread: float, meant: float) -> tuple[bool, str]:
    """Whether a spread is right, and why."""
    right = abs(spread / meant - 1) <= SPREAD
    return right, (
        f"That is {percent(spread / meant)} of it, and counts as {'right' if right else 'wrong'} (right is "
        f"{percent(1 - SPREAD)} to {percent(1 + SPREAD)})."
    )


# --- the square-root rule -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Root:
    """The rule's estimates, their spread, and mean squared errors expected at REML's tau and sigma."""

    verdict: Verdict
    estimate: Array
    spread: float
    expected: tuple[float, float]


def square_root(found: Case) -> Root:
    """Whether estimates shrunken by the square root of the reliability spread as tau says, and are the better guesses.

    The spread is right within `SPREAD`. Guesses are better where the true values are known and the mean squared
    error is no larger than REML's. The model expects (1 - s)^2 tau^2 + s^2 v of a group that keeps the share s.
    """
    design = found.design
    fit = run_estimator("spread_matching", design, Settings(), spread_matching.Options(), {"reml": found.fit})
    estimate, centre = fit.group_effects[0].coefficient.estimate[:, 0], float(fit.population.estimate[0])
    spread = spread_about(estimate, centre)
    root, linear = (
        float(np.mean((1 - s) ** 2 * found.tau**2 + s**2 * found.noise)) for s in (np.sqrt(found.kept), found.kept)
    )
    return Root(_judge_root(found, estimate, spread, (root, linear)), estimate, spread, (root, linear))


def _judge_root(found: Case, estimate: Array, spread: float, expected: tuple[float, float]) -> Verdict:
    if found.tau == 0:
        return Verdict("open", "These data cannot tell.", (
            "REML finds no spread between groups, τ = 0: the square root of nothing is nothing, and both rules put "
            "every group at a common mean.",
        ))  # fmt: skip
    meant, whose = _meant(found)
    right, why = _within(spread, meant)
    says = [f"The rule's estimates spread by {significant(spread, 3)} about their centre; {whose}. {why}"]
    if found.truth is None:
        says.append(
            "The true values are not known here, so nobody can see which guesses are nearer. If τ and σ are as REML "
            f"says, a mean squared error of {significant(expected[0], 3)} is to be expected of the square root, of "
            f"REML's {significant(expected[1], 3)}."
        )
        words = "The spread is right here; the rest cannot be seen." if right else "False here: not even the spread."
        return Verdict("half" if right else "false", words, tuple(says))
    mine, reml = found.error(estimate), found.error(found.shrunken)
    better = mine <= reml
    says.append(
        f"Against the true values the rule's mean squared error is {significant(mine, 3)}, REML's "
        f"{significant(reml, 3)}: its guesses are "
        f"{'no worse' if better else f'worse by {percent(mine / reml - 1)}'}."
    )
    words = {
        (True, True): "True here: right spread, and no worse guesses.",
        (True, False): "Half of it is true here: the right spread, but worse guesses.",
        (False, True): "Half of it is true here: the wrong spread, but no worse guesses.",
        (False, False): "False here: neither the spread nor the guesses.",
    }[right, better]
    return Verdict("half" if right != better else "true" if right else "false", words, tuple(says))


# --- the smallest group -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Smallest:
    """How far each group is moved, the share of its deviation that is taken, and which groups are smallest."""

    verdict: Verdict
    move: Array
    taken: Array
    smallest: NDArray[np.bool_]


def smallest_moves_most(found: Case) -> Smallest:
    """Whether the groups with the least information are moved farther than every other.

    Half true where the one that moves farthest is among several smallest, but not all of those move farther than every
    larger group.
    """
    move, taken = np.abs(found.own - found.shrunken), 1 - found.kept
    smallest = found.noise >= found.noise.max() * (1 - EQUAL)
    return Smallest(_judge_smallest(found, move, taken, smallest), move, taken, smallest)


def _judge_smallest(found: Case, move: Array, taken: Array, smallest: NDArray[np.bool_]) -> Verdict:
    farthest, levels = int(np.argmax(move)), found.design.blocks[0].levels
    if smallest.all():
        return Verdict("open", "These data cannot tell.", (
            f"All groups have the same information, and all lose the same share, {percent(float(taken[0]))}, of their "
            f"deviation. Moves still run from {significant(float(move.min()), 3)} to "
            f"{significant(float(move.max()), 3)}: what is far out moves far.",
        ))  # fmt: skip
    how = _size(found, farthest)
    says = [
        f"Group {levels[farthest]} ({how}) moves farthest, by {significant(float(move[farthest]), 3)}. The "
        f"{'smallest group moves' if smallest.sum() == 1 else f'{smallest.sum()} smallest groups move'} by "
        f"{_range(move[smallest])}, the others by {_range(move[~smallest])}."
    ]
    if found.tau == 0:
        says.append("REML finds no spread between groups, τ = 0: every group loses all of its deviation, of any size.")
    else:
        says.append(
            f"What size decides is the share of the deviation that is taken: {percent(float(taken[smallest][0]))} of "
            f"the smallest groups', {percent(float(taken.min()))} of the largest's. The move is this share times how "
            "far out the group's mean lies."
        )
    if move[smallest].min() > move[~smallest].max():
        return Verdict("true", "True here.", tuple(says))
    if smallest[farthest]:
        words = "Half of it is true here: one of the smallest moves most, others of them do not."
        return Verdict("half", words, tuple(says))
    return Verdict("false", "False here: a larger group moves most.", tuple(says))


def _range(values: Array) -> str:
    low, high = significant(float(values.min()), 3), significant(float(values.max()), 3)
    return low if low == high else f"{low} to {high}"


def _size(found: Case, j: int) -> str:
    if found.design.known_se:
        return f"standard error {significant(float(np.sqrt(found.noise[j])), 3)}"
    return f"n = {int(found.design.blocks[0].sizes[j]):,}"


# --- the spread of shrunken estimates -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spread:
    """The spread of REML's estimates, and tau^2 in parts.

    Attributes
    ----------
    verdict : Verdict
    spread : float
        Root mean square of REML's effects.
    parts : (float, float, float)
        Their mean square, the mean conditional variance (the common mean held), and what the common mean's own
        uncertainty adds, V mean(k^2). At REML's maximum, unless tau is zero, they add up to tau^2.
    """

    verdict: Verdict
    spread: float
    parts: tuple[float, float, float]


def right_spread(found: Case) -> Spread:
    """Whether REML's estimates spread as the true values do (unknown ones: by tau), within `SPREAD`."""
    conditional = found.fit.group_effects[0].effect.std_error[:, 0] ** 2
    mean_square = float(np.mean(found.effects**2))
    parts = (mean_square, float(conditional.mean()), float(found.fit.fixed_cov[0, 0] * np.mean(found.kept**2)))
    spread = float(np.sqrt(mean_square))
    if found.tau == 0:
        says = ("REML finds no spread between groups, τ = 0, and puts all at one value: there is nothing to compare.",)
        return Spread(Verdict("open", "These data cannot tell.", says), spread, parts)
    meant, whose = _meant(found)
    right, why = _within(spread, meant)
    said = [
        f"REML's estimates spread by {significant(spread, 3)}; {whose}. {why}",
        f"Nothing is lost: the estimates' variance, {significant(parts[0], 3)}, what remains unknown of a group, "
        f"{significant(parts[1], 3)} on average, and what the unknown common mean adds, {significant(parts[2], 3)}, "
        f"make {significant(sum(parts), 3)}; τ² is {significant(found.tau**2, 3)}.",
    ]
    low = "too little" if spread < meant else "too much"
    verdict = (
        Verdict("true", "True here.", tuple(said)) if right else Verdict("false", f"False here: {low}.", tuple(said))
    )
    return Spread(verdict, spread, parts)


# --- ridge regression ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression on indicators of groups, at REML's lambda and at cross-validation's.

    Attributes
    ----------
    verdict : Verdict
    strength, gap : float
        lambda = sigma^2 / tau^2, and how far any group lies from REML's value at it.
    estimate : array, shape (J,)
    strengths, gaps : tuple of float
        The same for cross-validation, by `DEALS`; none of tables too large for it.
    estimates : tuple of array, shape (J,)
    seconds : float
        That cross-validation took.
    """

    verdict: Verdict
    strength: float
    gap: float
    estimate: Array
    strengths: tuple[float, ...]
    gaps: tuple[float, ...]
    estimates: tuple[Array, ...]
    seconds: float


_RIDGES: WeakKeyDictionary[Design, Ridge] = WeakKeyDictionary()


def ridge_is_the_same(found: Case) -> Ridge:
    """Whether ridge regression gives REML's estimates: at lambda = sigma^2 / tau^2, and by cross-validation.

    Tables too large for it are not cross-validated. Answers are kept with the design, for it takes a second.
    """
    if found.design not in _RIDGES:
        _RIDGES[found.design] = _ridge(found)
    return _RIDGES[found.design]


def _ridge(found: Case) -> Ridge:
    def values(fit: Fit) -> Array:
        return fit.group_effects[0].coefficient.estimate[:, 0]

    def strength(fit: Fit) -> float:
        return float(fit.diagnostics["lambda"][0])

    design = found.design
    told = run_estimator("penalized", design, Settings(), penalized.Options(penalty="reml"), {"reml": found.fit})
    begun = time.perf_counter()
    deals = DEALS if len(found.own) <= MOST_GROUPS and design.n <= MOST_ROWS else ()
    chosen = [
        run_estimator("penalized", design, Settings(seed=seed), penalized.Options(penalty="cv"), {}) for seed in deals
    ]
    seconds = time.perf_counter() - begun
    gap, *gaps = (float(np.max(np.abs(values(fit) - found.shrunken))) for fit in (told, *chosen))
    strengths = tuple(strength(fit) for fit in chosen)
    verdict = _judge_ridge(found, strength(told), gap, strengths, tuple(gaps), seconds)
    estimates = tuple(values(fit) for fit in chosen)
    return Ridge(verdict, strength(told), gap, values(told), strengths, tuple(gaps), estimates, seconds)


def _judge_ridge(
    found: Case, told: float, gap: float, strengths: tuple[float, ...], gaps: tuple[float, ...], seconds: float
) -> Verdict:
    error = float(found.fit.group_effects[0].coefficient.std_error.min())
    same, near = gap <= ROUNDING * error, max(gaps, default=0.0) <= PRACTICAL * error
    strength = "infinite (τ = 0)" if np.isinf(told) else significant(told, 3)
    says = [
        f"At λ = σ²/τ², which is {strength}, no group's value differs from REML's by more than {significant(gap, 1)}.",
        f"Cross-validation, the usual way to λ, chooses {_listed(strengths)} in {len(gaps)} deals of the rows to its "
        f"folds; the group that is farthest off then lies {_listed(gaps)} from REML's value (the same in practice is "
        f"up to {significant(PRACTICAL * error, 2)}, a tenth of the smallest standard error). That took "
        f"{significant(seconds, 2)} s."
        if gaps
        else f"Cross-validation is done on up to {MOST_GROUPS} groups and {MOST_ROWS:,} rows; this table has more.",
    ]
    if gaps and (found.design.blocks[0].sizes == 1).all():
        says.append("Every group is one row here: a row that is left out leaves nothing of its group to predict it by.")
    if not same:
        return Verdict("false", "False here.", tuple(says))
    if not gaps:
        return Verdict("open", "The same at σ²/τ²; cross-validation is left out.", tuple(says))
    if near:
        return Verdict("true", "True here: the same at σ²/τ², and in practice at cross-validation's λ.", tuple(says))
    return Verdict("half", "Half of it is true here: the same at σ²/τ², not at cross-validation's λ.", tuple(says))


def _listed(values: tuple[float, ...]) -> str:
    shown = list(dict.fromkeys(significant(value, 3) for value in values))
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

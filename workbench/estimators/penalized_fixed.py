"""`penalized_fixed`: ridge, lasso or elastic net on the fixed coefficients, beside random effects.

Many covariates and repeated rows of the same members: the covariates ask for a penalty, the members for a random
effect, and one does not replace the other. The response and the fixed columns are whitened by the estimated variances,
group by group, and the penalised regression is of these (:mod:`workbench.penalised.marginal`).

1. The variances of REML's fit with all columns.
2. With the variances held, lambda by cross-validation (or as given) and the coefficients at it.
3. The variances by REML of what the penalised part leaves, given its coefficients; back to the coefficients at the same
   lambda, until neither moves.
4. Cross-validation once more at these variances, on the same grid: where it chooses another lambda, 3 with that one. If
   the choices go in a circle, the largest of them is taken, and a warning says so.

Variances given b take the penalised coefficients as known. A penalty's bias stays in the residuals and makes sigma
larger, the coefficients that were chosen to fit make it smaller.

Rows left out are predicted as x'b + z'u with u from the rows that are kept; of a group that is left out whole, u = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, check_gaussian
from workbench.errors import OptionError
from workbench.estimates import Component, Estimates, GroupEffects
from workbench.estimators import NOTHING, Settings
from workbench.fit import Fit
from workbench.penalised.cross_validation import CrossValidation, check_choice, curve
from workbench.penalised.folds import make_folds
from workbench.penalised.marginal import Split, Whitened, some_rows, split, variances_given
from workbench.penalised.regression import CERTIFIED, Solution, path, solve, violation
from workbench.penalised.strength import grid, is_positive, share_of
from workbench.words import count, significant

Array = NDArray[np.float64]

WHY = "penalised"
"""Why these estimates have no standard errors."""
SETTLED = 1e-8
"""A relative change of variances that counts as none."""
MOST_STEPS = 200


@dataclass(frozen=True)
class Options:
    """Options of `penalized_fixed`.

    Attributes
    ----------
    kind : "ridge", "lasso" or "elastic_net"
    mix : float, optional
        Of an elastic net, the share of the absolute values; one half by default.
    penalty : "cv" or number
        lambda, of standardised columns, in units in which the whitened sum of squares is halved: l1 = lambda mix,
        l2 = lambda (1 - mix).
    unpenalised : sequence of str
        Fixed terms that are left free, besides the intercept.
    standardise : bool
        Penalise coefficients times the SDs of their columns.
    folds : "groups" or "within"
        Whether cross-validation leaves out whole groups (of the first factor) or splits the rows of every group.
    fold_count : int
    rule : "min" or "one_se"
    grid : int
        How many strengths cross-validation tries.
    """

    kind: str = "lasso"
    mix: float | None = None
    penalty: str | float = "cv"
    unpenalised: Sequence[str] = ()
    standardise: bool = True
    folds: str = "groups"
    fold_count: int = 10
    rule: str = "min"
    grid: int = 60

    def __post_init__(self) -> None:
        share_of(self.kind, self.mix)
        if self.penalty != "cv" and not is_positive(self.penalty):
            raise OptionError(f"penalty is {self.penalty!r}, but must be 'cv' or a positive, finite number.")
        names = (self.unpenalised,) if isinstance(self.unpenalised, str) else tuple(self.unpenalised)
        object.__setattr__(self, "unpenalised", names)
        if not isinstance(self.standardise, bool):
            raise OptionError(f"standardise is {self.standardise!r}, but must be true or false.")
        check_choice(self.folds, self.fold_count, self.rule, self.grid)


@dataclass(frozen=True, eq=False)
class _State:
    """Variances and the penalised coefficients, (m,), at them; `settled` says that neither moved in the last step."""

    components: tuple[Component, ...]
    sigma: float
    penalised: Array
    whitened: Whitened
    settled: bool


def penalized_fixed(
    design: Design,
    settings: Settings = Settings(),
    options: Options = Options(),
    upstream: Mapping[str, Fit] = NOTHING,
) -> Fit:
    """Fit penalised fixed coefficients beside random effects.

    Parameters
    ----------
    design : Design
        Gaussian, any number of grouping factors.
    settings : Settings
        Its `seed` deals the folds, its `level` is that of the effects' intervals.
    options : Options
    upstream : mapping
        Holds REML's fit of the design.

    Returns
    -------
    Fit
        Fixed coefficients and group coefficients without standard errors; effects are BLUPs given the fixed part, with
        their conditional SD. ``diagnostics`` holds ``lambda``, ``selected`` (the names of penalised terms that are not
        zero), ``zeros``, ``kkt``, ``steps`` (of variances), ``tried`` (the choices of cross-validation, one after the
        other) and, of the last one, ``cv_lambda``, ``cv_loss``, ``cv_se``, ``cv_best`` and ``cv_chosen``.

    Raises
    ------
    OptionError
        A response that is not gaussian, a name that is no fixed term, nothing to penalise.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> from workbench.estimators.reml import reml
    >>> rng = np.random.default_rng(1)
    >>> g = np.repeat(np.arange(30), 4)
    >>> table = {"g": g.astype(str), **{f"x{k}": rng.normal(size=120) for k in range(6)}}
    >>> table["y"] = 2 * table["x1"] + rng.normal(size=30)[g] + rng.normal(size=120)
    >>> design = build_design("y ~ x0 + x1 + x2 + x3 + x4 + x5 + (1 | g)", table)
    >>> fit = penalized_fixed(design, options=Options(rule="one_se"), upstream={"reml": reml(design)})
    >>> fit.diagnostics["selected"]
    ('x1',)
    """
    check_gaussian(design, "penalized_fixed")
    chosen = split(design, options.unpenalised, options.standardise)
    share = share_of(options.kind, options.mix)
    l1, l2 = share * chosen.sizes, (1 - share) * chosen.sizes**2
    first = upstream["reml"]
    state = _State(first.components, first.sigma, np.zeros(len(chosen.held)), _whiten(design, chosen, first), False)
    found: CrossValidation | None = None
    strengths, tried, steps = grid(state.whitened.problem, l1, l2, options.grid), list[float](), 0
    while True:
        if is_positive(options.penalty):
            tried.append(float(options.penalty))
        else:
            found = _cross_validate(state, l1, l2, strengths, options, int(settings.seed))
            if tried and found.strength == tried[-1]:
                break
            tried.append(found.strength)
        circling = tried[tried.index(tried[-1]) : -1]  # what was chosen since it was chosen before
        strength = max(tried[-1], *circling) if circling else tried[-1]
        state, taken = _alternate(design, chosen, state, strength * l1, strength * l2)
        steps += taken
        if found is None or circling:
            break
    kkt = violation(state.whitened.problem, Solution(np.zeros(0), state.penalised, True), strength * l1, strength * l2)
    diagnostics = _diagnostics(design, chosen, options, state, found, strength, share)
    diagnostics |= {"kkt": kkt, "steps": steps, "tried": tuple(tried), "seed": int(settings.seed)}
    b = state.whitened.coefficients(state.whitened.centred(state.penalised))
    return Fit(
        estimator="penalized_fixed",
        design=design,
        population=Estimates.points(b, f"{options.kind.replace('_', ' ')} estimate; unpenalised where left free", WHY),
        fixed_cov=np.full((len(b),) * 2, np.nan),
        components=state.components,
        group_effects=_group_effects(design, state, b, settings.level),
        sigma=state.sigma,
        converged=state.settled and kkt <= CERTIFIED,
        singular=any(not part.sd.all() for part in state.components),
        warnings=(*design.notes, *_warnings(state, found, kkt, circling, options)),
        diagnostics=MappingProxyType(diagnostics),
    )


def _whiten(design: Design, chosen: Split, fit: Fit) -> Whitened:
    return Whitened.by(design, chosen, fit.components, fit.sigma)


def _alternate(design: Design, chosen: Split, state: _State, l1: Array, l2: Array) -> tuple[_State, int]:
    """Coefficients given variances and variances given coefficients, until neither moves; ends with coefficients."""
    components, sigma, whitened = state.components, state.sigma, state.whitened
    steps, settled = 0, False
    while not settled and steps < MOST_STEPS:
        penalised = solve(whitened.problem, l1, l2).u
        fit = variances_given(design, chosen, whitened.coefficients(whitened.centred(penalised)))
        settled = _change(components, sigma, fit) < SETTLED
        components, sigma = fit.components, fit.sigma
        whitened = _whiten(design, chosen, fit)
        steps += 1
    penalised = solve(whitened.problem, l1, l2).u
    return _State(components, sigma, penalised, whitened, settled), steps


def _change(components: tuple[Component, ...], sigma: float, fit: Fit) -> float:
    """The largest change of a variance or covariance, over the larger of sigma^2 and the largest variance."""
    pairs = zip(components, fit.components, strict=True)
    moved = [np.abs(a.covariance - b.covariance).max() for a, b in pairs] + [abs(sigma**2 - fit.sigma**2)]
    scale = max([fit.sigma**2, *(float(part.covariance.max()) for part in fit.components)])
    return float(max(moved)) / scale


def _cross_validate(
    state: _State, l1: Array, l2: Array, strengths: Array, options: Options, seed: int
) -> CrossValidation:
    """The loss of rows left out, the variances held at those of all rows."""
    whitened = state.whitened
    design = whitened.design

    def losses(left_out: NDArray[np.bool_]) -> tuple[Array, float]:
        rest, rows = (some_rows(design, np.flatnonzero(which)) for which in (~left_out, left_out))
        own = Whitened.by(rest, whitened.split, state.components, state.sigma)
        b = own.centred(np.array([at.u for at in path(own.problem, l1, l2, strengths)]))
        squares = (rows.y - own.means(rows, b)) ** 2
        return squares @ rows.weights, float(rows.weights.sum())

    return curve(losses, strengths, make_folds(design, options.folds, options.fold_count, seed), options.rule)


# --- the answer ---------------------------------------------------------------------------------------


def _group_effects(design: Design, state: _State, b: Array, level: float) -> tuple[GroupEffects, ...]:
    parts, kinds = [], ("BLUP, fixed part held", "conditional SD, fixed part held")
    by_block = state.whitened.effects(state.whitened.centred(state.penalised))
    for block, (u, sd) in zip(design.blocks, by_block, strict=True):
        value = np.array([0.0 if column is None else b[column] for column in block.fixed])
        effect = Estimates.wald(u, state.sigma * sd, level, *kinds)
        coefficient = Estimates.points(u + value, kinds[0], WHY)
        parts.append(GroupEffects(block.group, block.levels, block.sizes, block.terms, effect, coefficient))
    return tuple(parts)


def _diagnostics(
    design: Design,
    chosen: Split,
    options: Options,
    state: _State,
    found: CrossValidation | None,
    strength: float,
    share: float,
) -> dict[str, Any]:
    selected = tuple(design.fixed_terms[k] for k, value in zip(chosen.held, state.penalised, strict=True) if value)
    zeros = len(chosen.held) - len(selected)
    made: dict[str, Any] = {
        "kind": options.kind, "mix": share, "penalty": "cv" if found is not None else "stated", "lambda": strength,
        "selected": selected, "zeros": zeros,
    }  # fmt: skip
    if found is not None:
        made |= {
            "folds": options.folds, "fold_count": found.folds, "rule": options.rule,
            "cv_lambda": tuple(found.strengths.tolist()), "cv_loss": tuple(found.loss.tolist()),
            "cv_se": tuple(found.se.tolist()), "cv_best": found.best, "cv_chosen": found.chosen,
        }  # fmt: skip
    if share > 0:
        made["note"] = f"{zeros:,} of {count(len(chosen.held), 'penalised coefficient')} exactly zero."
    return made


def _warnings(
    state: _State, found: CrossValidation | None, kkt: float, circling: list[float], options: Options
) -> list[str]:
    said = []
    if kkt > CERTIFIED:
        said.append(f"The conditions of the minimum fail by {kkt:.2g} (a cosine): the end point is not certified.")
    if not state.settled:
        said.append(f"Variances and coefficients still moved after {MOST_STEPS} steps.")
    if circling:
        said.append(
            f"Cross-validation and variances went in a circle between lambda {significant(min(circling))} and "
            f"{significant(max(circling))}; the largest was taken."
        )
    if found is not None and found.at_end:
        said.append(
            f"The loss is smallest at the {found.at_end} penalty of the grid: rows left out are predicted best "
            f"{'without the penalised columns' if found.at_end == 'strongest' else 'with hardly any penalty'}, or "
            f"hardly depend on it (folds={options.folds!r})."
        )
    return said

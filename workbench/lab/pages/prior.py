"""Choose your own prior: the user's mean and SD of the groups beside REML's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.estimators import Settings, run_estimator
from workbench.estimators.fixed_prior import Options
from workbench.fit import Fit
from workbench.lab import groups
from workbench.lab.controls import Choice, Control, Slider
from workbench.lab.datasets import INTERCEPTS, NAME, Dataset, chosen, control, dataset
from workbench.lab.drawing import Area, Dots, Drawing, Line, Panel, Rule, Segments, limits, ticks
from workbench.lab.page import Numbers, Page, Shown, Step, Values
from workbench.lab.uploads import remembered
from workbench.plots.style import OWN, look
from workbench.rounding import places_of, rounded
from workbench.words import percent, significant

Array = NDArray[np.float64]

POWER = 3.0
"""The handle of the SD, and the axis beneath it, go by the cube root: from 0 on, finer the smaller."""
WIDEST = 6.0
"""The SD goes up to so many standard errors of the group that tells least."""
POINTS = {"reml": 25, "em": 17}
"""Prior SDs at which agreement is evaluated, by where the residual variance comes from: the EM takes longer."""
DRAWN = 1e-6
"""Relative change at which the EM may stop for a line that is drawn."""
SAME = 1e-10
"""Estimates that differ by less, as a share of the spread of the groups' own, are equal but for rounding."""
RULES = (("reml", "REML's"), ("em", "bayesglm's own (EM)"))


@dataclass(frozen=True, eq=False)
class Ground:
    """What does not change while a handle moves.

    Attributes
    ----------
    reml : Fit
    own, maximised : array, shape (J,)
        Groups' own values, and REML's.
    mean, sd : float
        REML's.
    low, high, widest : float
        Ends of the mean's slider, and of the SD's.
    """

    reml: Fit
    own: Array
    maximised: Array
    mean: float
    sd: float
    low: float
    high: float
    widest: float

    @property
    def nothing(self) -> float:
        """Differences up to this are rounding."""
        return SAME * float(np.ptp(self.own))


@remembered(32)
def ground(key: str) -> Ground:
    """REML and the groups' own values of a table."""
    design = dataset(key).design
    reml = run_estimator("reml", design, Settings(), None, {})
    own = groups.coefficients(run_estimator("no_pooling", design, Settings(), None, {}))
    low, high = limits(own, room=0.25)
    errors = groups.sampling_errors(design, reml.sigma)
    return Ground(
        reml=reml,
        own=own,
        maximised=groups.coefficients(reml),
        mean=float(reml.population.estimate[0]),
        sd=float(reml.components[0].sd[0]),
        low=_short(low, high - low),
        high=_short(high, high - low),
        widest=_short(WIDEST * float(errors.max())),
    )


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """The table, the prior, and where the residual variance comes from."""
    data = chosen(query, INTERCEPTS)
    base = ground(data.key)
    step = _short((base.high - base.low) / 200)
    asked: tuple[Control, ...] = (
        control(query, INTERCEPTS),
        Slider(
            "mean", "Mean of the prior", base.low, base.high, step, _short(base.mean, base.high - base.low),
            hint=f"REML's is {significant(base.mean)}",
        ),
        Slider(
            "sd", "SD of the prior", 0.0, base.widest, step, _short(base.widest / 2**POWER),
            hint=f"0 pools completely; REML's is {significant(base.sd)}", power=POWER,
        ),
    )  # fmt: skip
    if data.design.known_se:
        return asked
    return (*asked, Choice("dispersion", "Residual variance", RULES, "reml", hint="how noisy samples are taken to be"))


def show(values: Values) -> Shown:
    """Estimate under the user's prior, and set the answer beside REML's."""
    data = dataset(values[NAME])
    rule = values.get("dispersion", "reml")
    base, mean, sd = ground(data.key), float(values["mean"]), float(values["sd"])
    fit = plugged(data, mean, sd, rule)
    yours = groups.coefficients(fit)
    return Shown(
        says=_says(data, base, fit, mean, sd),
        drawings=(_groups(data, base, yours, mean, sd), _agreement(data, base, yours, mean, sd, rule)),
        numbers=(_numbers(data, base, yours),),
        steps=_steps(data, base),
        warnings=fit.warnings if sd > 0 else (),
    )


def plugged(data: Dataset, mean: float, sd: float, rule: str, tolerance: float = Options.tolerance) -> Fit:
    """The groups under a fixed prior, the residual variance held at REML's or estimated."""
    term = data.design.blocks[0].terms[0]
    options = Options(mean={term: mean}, sd={term: sd}, dispersion=rule, tolerance=tolerance)
    return run_estimator("fixed_prior", data.design, Settings(), options, {"reml": ground(data.key).reml})


@remembered(256)
def differences(key: str, mean: float, rule: str) -> tuple[Array, Array, Array]:
    """Prior SDs, and there the largest and the root mean square difference from REML's estimates."""
    base = ground(key)
    sd = (
        base.widest * np.unique([*np.linspace(0.0, 1.0, POINTS[rule]), (base.sd / base.widest) ** (1 / POWER)]) ** POWER
    )
    apart = [_apart(groups.coefficients(plugged(dataset(key), mean, s, rule, DRAWN)), base) for s in sd.tolist()]
    return sd, np.array([a for a, _ in apart]), np.array([b for _, b in apart])


def _apart(yours: Array, base: Ground) -> tuple[float, float]:
    gap = np.abs(yours - base.maximised)
    return float(gap.max()), float(np.sqrt(np.mean(gap**2)))


def _short(value: float, scale: float | None = None) -> float:
    """Two significant digits of a number, or as many decimals as a scale of that size has with three."""
    places = places_of(abs(value), 2) if scale is None else places_of(scale, 3)
    return float(rounded(value, places))


def _steps(data: Dataset, base: Ground) -> tuple[Step, ...]:
    errors = groups.sampling_errors(data.design, base.reml.sigma)
    remls = {"mean": repr(base.mean), "sd": repr(base.sd)}
    if not data.design.known_se:
        remls["dispersion"] = "reml"
    return (
        Step("REML's mean and SD", remls),
        Step("Nearly complete pooling", {"sd": repr(_short(float(errors.min()) / 20))}),
        Step("Nearly no pooling", {"sd": repr(base.widest)}),
    )


# --- in words -----------------------------------------------------------------------------------------


def _says(data: Dataset, base: Ground, fit: Fit, mean: float, sd: float) -> tuple[str, ...]:
    yours, levels = groups.coefficients(fit), data.design.blocks[0].levels
    said = [_kept(base, yours, mean, sd)]
    largest, typical = _apart(yours, base)
    if largest <= base.nothing:
        said.append("These are REML's estimates: no group differs by more than rounding.")
    else:
        said.append(
            f"The largest difference from REML is {significant(largest)} "
            f"({data.design.blocks[0].group} {levels[int(np.argmax(np.abs(yours - base.maximised)))]}); root mean "
            f"square, {significant(typical)}."
        )
    at_remls = abs(mean - base.mean) <= base.nothing and abs(sd - base.sd) <= base.nothing
    if not data.design.known_se:
        same = abs(fit.sigma - base.reml.sigma) <= SAME * base.reml.sigma
        of = f"REML's, {significant(fit.sigma)}" if same else f"{significant(fit.sigma)}; REML's is "
        said.append(f"The residual SD here is {of}{'' if same else significant(base.reml.sigma)}.")
        if at_remls and not same and largest > base.nothing:
            said.append("Mean and SD are REML's, so that the residual variance alone makes the difference.")
    if base.sd == 0:
        said.append("REML's SD is zero here: it pools completely, and so does a prior with its values.")
    return tuple(said)


def _kept(base: Ground, yours: Array, mean: float, sd: float) -> str:
    """How much of their own deviations from the prior's mean groups keep."""
    away = np.abs(base.own - mean) > 1e-6 * np.ptp(base.own)
    kept = (yours - mean)[away] / (base.own - mean)[away]
    if sd == 0:
        return f"A prior with an SD of zero puts every group at its mean, {groups.typed(mean)}."
    low, high = percent(float(kept.min())), percent(float(kept.max()))
    share = low if low == high else f"between {low} and {high}"
    return (
        f"Under a prior with mean {groups.typed(mean)} and SD {groups.typed(sd)}, groups keep {share} of their own "
        "deviation from its mean."
    )


# --- pictures -----------------------------------------------------------------------------------------


def _groups(data: Dataset, base: Ground, yours: Array, mean: float, sd: float) -> Drawing:
    at, called, left = groups.rows(data.design)
    prior, reml, ends = look("fixed_prior"), look("reml"), np.array([0.3, len(at) + 0.7])
    words = tuple(name for _, name in called)
    panel = Panel(
        marks=(
            Area(
                np.array([mean - sd, mean + sd]), np.full(2, ends[0]), np.full(2, ends[1]), "muted",
                label="mean ± SD of the prior",
            ),
            Rule(mean, "ink", dash="6 4", label="mean of the prior"),
            Segments(base.own, at, yours, at, "ink", arrows=True),
            Dots(base.own, at, OWN, "x", size=6.0, label="own value (no pooling)", names=words),
            Dots(yours, at, "ink", prior.marker, filled=False, size=6.5, label="under your prior", names=words),
            Dots(base.maximised, at, reml.colour, reml.marker, size=6.5, label="REML", names=words),
        ),
        x=limits([base.low, base.high], room=0.02),
        y=(float(ends[0]), float(ends[1])),
        x_label=f"{data.design.response}, by {data.design.blocks[0].group}",
        title=groups.heading(data.design),
        y_ticks=called,
        height=groups.FRAME + groups.ROW * len(at),
        left=left,
    )  # fmt: skip
    longest = int(np.argmax(np.abs(yours - base.own)))
    alt = (
        f"{len(at)} groups. The prior moves {data.design.blocks[0].levels[longest]} farthest, from "
        f"{significant(float(base.own[longest]))} to {significant(float(yours[longest]))}; REML puts it at "
        f"{significant(float(base.maximised[longest]))}."
    )
    return Drawing("groups", "Between the own value and the mean of the prior", alt, ((panel,),))


def _agreement(data: Dataset, base: Ground, yours: Array, mean: float, sd: float, rule: str) -> Drawing:
    at, largest, typical = differences(data.key, mean, rule)
    prior, reml = look("fixed_prior"), look("reml")
    here = np.full(2, sd)
    now = np.array(_apart(yours, base))
    high = float(max(largest.max(), now.max(), base.nothing))
    panel = Panel(
        marks=(
            Rule(float(_root(base.sd)), reml.colour, dash="6 4", label=f"REML's SD, {significant(base.sd)}"),
            Line(_root(at), largest, "ink", width=2.2, label="largest difference"),
            Line(_root(at), typical, "ink", dash="2 4", label="root mean square"),
            Dots(_root(here), now, "ink", prior.marker, filled=False, size=6.5, label="your prior"),
        ),
        x=(-0.015 * float(_root(base.widest)), float(_root(base.widest))),
        y=(-0.05 * high, 1.1 * high),
        x_label="SD of the prior, at the chosen mean (axis as the handle: cube root)",
        y_label=f"difference from REML's estimates, in units of {data.design.response}",
        x_ticks=_root_ticks(base.widest),
        height=270.0,
    )
    nearest = int(np.argmin(typical))
    alt = (
        f"At SD {groups.typed(sd)}: largest difference {significant(float(now[0]))}, root mean square "
        f"{significant(float(now[1]))}. Of the SDs drawn, {significant(float(at[nearest]))} comes nearest to REML, "
        f"with a root mean square of {significant(float(typical[nearest]), 2)}; SD 0 is "
        f"{significant(float(typical[0]))} off, SD {significant(float(at[-1]))} {significant(float(typical[-1]))}."
    )
    return Drawing("agreement", "Agreement with REML along the SD of the prior", alt, ((panel,),))


def _root(sd: float | Array) -> Array:
    return np.asarray(sd, dtype=float) ** (1 / POWER)


def _root_ticks(widest: float) -> tuple[tuple[float, str], ...]:
    """Round numbers that stand apart on the axis of the cube root."""
    found = [0.0]
    for share in (1e-3, 8e-3, 0.03, 0.08, 0.2, 0.4, 0.7, 1.0):
        step = ticks(0.0, share * widest, 3)[-1]
        if step > 0 and float(_root(step) - _root(found[-1])) > 0.09 * float(_root(widest)):
            found.append(step)
    return tuple((float(_root(s)), groups.typed(s)) for s in found)


def _numbers(data: Dataset, base: Ground, yours: Array) -> Numbers:
    head, told = groups.information(data.design, base.reml.sigma)
    rows = []
    for j, level in enumerate(data.design.blocks[0].levels):
        gap = float(yours[j] - base.maximised[j])
        cells = (
            level, told[j], significant(float(base.own[j])), significant(float(yours[j])),
            significant(float(base.maximised[j])), "0" if abs(gap) <= base.nothing else significant(gap, 3),
        )  # fmt: skip
        rows.append((level, cells))
    return Numbers(
        f"By {data.design.blocks[0].group}",
        (data.design.blocks[0].group, head, "own value", "your prior", "REML", "difference"),
        tuple(rows),
        (f"A difference of 0 is one that is less than {significant(base.nothing, 1)}: rounding.",),
    )


PAGE = Page(
    key="prior",
    title="Choose your own prior",
    question="A fixed prior on the groups pools as much as you tell it to. Which one is REML's?",
    text=(
        "Every group's coefficient has the same normal prior, whose mean and SD you fix. An SD near zero puts all "
        "groups at its mean (complete pooling), a very wide one leaves each at its own value (no pooling). REML's "
        "estimates are somewhere on the way: where the prior has the mean and the SD that REML estimates.",
    ),
    controls=controls,
    show=show,
)

"""At the boundary: REML's zero, the estimate that avoids it, and full Bayes, as groups are pulled apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.design import Design
from workbench.estimators import Settings, run_estimator
from workbench.exact_posterior.deviations import Deviation
from workbench.fit import Fit
from workbench.inference.spread_likelihoods import held_spread
from workbench.lab import groups
from workbench.lab.controls import Choice, Control, Slider
from workbench.lab.datasets import NAME, Dataset, chosen, control, dataset
from workbench.lab.drawing import Area, Dots, Drawing, Line, Mark, Panel, Rule, Segments, limits
from workbench.lab.page import Numbers, Page, Shown, Step, Values
from workbench.lab.uploads import remembered
from workbench.plots.style import OWN, look, title_of
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior
from workbench.words import percent, significant

Array = NDArray[np.float64]

OFFERED = ("eight_schools", "dyestuff2")
LOW, HIGH, STEP = 0.5, 3.0, 0.05
"""Factors of the groups' own deviations from their mean."""
SWEPT = 26
"""Factors at which tau is found for the picture along them."""
LEAVING = (1.0, 1.003, 1.01, 1.03, 1.06)
"""More of them for REML, which leaves zero steeply: times the factor where it does."""
PROFILE = 15
"""Values of tau at which the profile likelihood is evaluated."""
SMALL = 0.25
"""Of a typical group's standard error: a spread between groups that is next to none."""
MIDDLE = (0.025, 0.5, 0.975)
SETTLED = ("reml", "boundary_avoiding")
WHISKER = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Answers:
    """What is estimated at one factor.

    Attributes
    ----------
    design : Design
    own : array, shape (J,)
    reml, avoiding, exact : Fit
    """

    design: Design
    own: Array
    reml: Fit
    avoiding: Fit
    exact: Fit

    def tau(self, name: str) -> float:
        """Where an estimator that settles puts it."""
        return float({"reml": self.reml, "boundary_avoiding": self.avoiding}[name].components[0].sd[0])

    @property
    def deviation(self) -> Deviation:
        """The posterior of tau."""
        found: Deviation = self.exact.posterior.deviation(0)
        return found

    @property
    def middle(self) -> tuple[float, float, float]:
        """Ends of its middle 95 %, the median between them."""
        low, median, high = self.deviation.quantile(np.array(MIDDLE)).tolist()
        return low, median, high


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """The table, how far its groups are pulled apart, and the prior of tau."""
    data = chosen(query, OFFERED)
    priors = tuple((key, f"{words}{prior}") for key, words, prior in _priors(data))
    return (
        control(query, OFFERED),
        Slider(
            "factor", "Groups' deviations, times", LOW, HIGH, STEP, 1.0,
            hint="1 is the data as they are; more pulls groups apart about their common mean",
        ),
        Choice("prior", "Full Bayes: prior of τ", priors, "study"),
    )  # fmt: skip


def _priors(data: Dataset) -> tuple[tuple[str, str, Prior], ...]:
    """Keys, words and priors of tau that are offered."""
    typical = float(f"{_typical(data):.2g}")
    return (
        ("study", "the study's, ", resolve_priors(data.design, data.settings.priors)[_name(data.design)]),
        ("half_normal", "shorter tail, ", Prior("HalfNormal", (typical,))),
        ("flat", "improper, ", Prior("Flat")),
    )


def _name(design: Design) -> str:
    block = design.blocks[0]
    return f"sd({block.group}, {block.terms[0]})"


def _typical(data: Dataset) -> float:
    """The standard error of the group in the middle, as the data are."""
    sigma = run_estimator("no_pooling", data.design, Settings(), None, {}).sigma
    return float(np.median(groups.sampling_errors(data.design, sigma)))


def show(values: Values) -> Shown:
    """Pull groups apart, and estimate in three ways."""
    data, factor, prior = dataset(values[NAME]), float(values["factor"]), values["prior"]
    found = answers(data.key, factor, prior)
    leaves = threshold(data.key)
    small = SMALL * _typical(data)
    steps = [Step("The data as they are", {"factor": "1"})]
    if leaves is not None:
        steps.append(Step("Where REML leaves zero", {"factor": f"{np.ceil(1000 * leaves) / 1000:.3f}"}))
    return Shown(
        says=_says(data, found, profile(data.key, factor)[2], leaves, small),
        drawings=(
            _along(data, found, factor, prior, leaves), _likely(data, found, factor, small), _groups(data, found),
        ),
        numbers=(_spreads(found), _numbers(found)),
        steps=tuple(steps),
        warnings=(*found.avoiding.warnings, *found.exact.warnings),
    )  # fmt: skip


# --- what is estimated --------------------------------------------------------------------------------


@remembered(256)
def pulled(key: str, factor: float) -> Design:
    """The table with the groups' deviations from their common mean multiplied."""
    design = dataset(key).design
    own = groups.coefficients(run_estimator("no_pooling", design, Settings(), None, {}))
    centre = groups.coefficients(run_estimator("complete_pooling", design, Settings(), None, {}))
    more = (factor - 1) * (own - centre)
    return replace(design, y=read_only(design.y + more[design.blocks[0].codes]))


@remembered(1024)
def fitted(key: str, factor: float, name: str) -> Fit:
    """An estimator's answer without priors."""
    return run_estimator(name, pulled(key, factor), Settings(), None, {})


@remembered(512)
def integrated(key: str, factor: float, prior: str) -> Fit:
    """Full Bayes, under the priors of the data as they are, but for tau's, which is chosen."""
    data = dataset(key)
    priors = dict(resolve_priors(data.design, data.settings.priors))
    priors[_name(data.design)] = {key: prior for key, _, prior in _priors(data)}[prior]
    return run_estimator("exact", pulled(key, factor), Settings(priors=priors), None, {})


def answers(key: str, factor: float, prior: str) -> Answers:
    """Everything at one factor."""
    own = groups.coefficients(fitted(key, factor, "no_pooling"))
    reml, avoiding = (fitted(key, factor, name) for name in SETTLED)
    return Answers(pulled(key, factor), own, reml, avoiding, integrated(key, factor, prior))


@remembered(8)
def threshold(key: str) -> float | None:
    """The factor beyond which REML's tau is above zero, by bisection; None if it is not between the slider's ends."""

    def above(factor: float) -> bool:
        return bool(fitted(key, factor, "reml").components[0].sd[0] > 0)

    low, high = LOW, HIGH
    if above(low) or not above(high):
        return None
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return high


@remembered(8)
def sweep(key: str, prior: str) -> tuple[Array, Array, Array, Array, Array]:
    """Factors and REML's tau there; factors, and boundary-avoiding tau and the posterior's quantiles, (K, 3)."""
    even = np.round(np.linspace(LOW, HIGH, SWEPT), 12)
    leaves = threshold(key)
    more = [] if leaves is None else [leaves * by for by in LEAVING if leaves * by < HIGH]
    fine = np.unique([*even, *more])
    reml = np.array([fitted(key, f, "reml").components[0].sd[0] for f in fine.tolist()])
    avoiding = np.array([fitted(key, f, "boundary_avoiding").components[0].sd[0] for f in even.tolist()])
    middle = np.array([answers(key, f, prior).middle for f in even.tolist()])
    return fine, reml, even, avoiding, middle


@remembered(256)
def profile(key: str, factor: float) -> tuple[Array, Array, float]:
    """Values of tau, REML's relative profile likelihood there, and what it is at the boundary-avoiding estimate."""
    from scipy.interpolate import CubicSpline

    held = held_spread(pulled(key, factor), 0, 0)
    least, end = held.value(held.estimate), _end(key)
    avoiding = float(fitted(key, factor, "boundary_avoiding").components[0].sd[0])
    at, smooth = np.linspace(0.0, end, PROFILE), np.linspace(0.0, end, 201)
    log = (least - np.array([held.value(t) for t in at.tolist()])) / 2
    curve = CubicSpline(at, log, bc_type=((1, 0.0), "not-a-knot"))  # level at zero: it is even in tau
    share = float(np.exp(min(least - held.value(avoiding), 0.0) / 2))
    return smooth, np.exp(np.minimum(curve(smooth), 0.0)), share


def _end(key: str) -> float:
    """How far the axis of tau goes: what is estimated where groups are pulled apart most."""
    return float(f"{1.35 * fitted(key, HIGH, 'boundary_avoiding').components[0].sd[0]:.2g}")


# --- in words -----------------------------------------------------------------------------------------


def _says(data: Dataset, found: Answers, share: float, leaves: float | None, small: float) -> tuple[str, ...]:
    tau, group = found.tau("reml"), data.design.blocks[0].group
    errors = found.reml.group_effects[0].effect.std_error[:, 0]
    if tau == 0:
        said = [
            f"REML puts τ at zero, every {group} at {significant(float(found.reml.population.estimate[0]))}, and the "
            f"conditional SD of every {group}'s effect at {significant(float(errors.max()))}: as if it were known that "
            "they do not differ."
        ]
    else:
        said = [
            f"REML puts τ at {significant(tau)}; conditional SDs of effects run from "
            f"{significant(float(errors.min()))} to {significant(float(errors.max()))}."
        ]
    avoiding = found.tau("boundary_avoiding")
    said.append(
        f"The boundary-avoiding estimate is {significant(avoiding)}, where the likelihood is {percent(share)} of its "
        "largest."
    )
    low, median, high = found.middle
    below = float(found.deviation.cdf(np.array([small]))[0])
    said.append(
        f"Full Bayes does not choose: the median of τ is {significant(median)}, the middle 95 % runs from "
        f"{significant(low)} to {significant(high)}. {percent(below)} of the posterior is below {significant(small)}, "
        f"a quarter of a typical standard error, where such a group keeps {percent(SMALL**2 / (1 + SMALL**2))} of its "
        "own deviation or less."
    )
    if (squares := _squares(found)) is not None:
        between, within = squares
        said.append(f"Mean squares: {significant(between)} between {group} means, {significant(within)} within.")
    if leaves is not None:
        said.append(f"REML leaves zero where deviations are multiplied by {significant(leaves)}.")
    return tuple(said)


def _squares(found: Answers) -> tuple[float, float] | None:
    """Mean squares between and within, of groups of one size with an estimated residual variance."""
    sizes = found.design.blocks[0].sizes
    if found.design.known_se or len(set(sizes.tolist())) > 1:
        return None
    codes = found.design.blocks[0].codes
    within = np.sum((found.design.y - found.own[codes]) ** 2) / (found.design.n - len(sizes))
    return float(sizes[0] * np.var(found.own, ddof=1)), float(within)


# --- pictures -----------------------------------------------------------------------------------------


def _along(data: Dataset, found: Answers, factor: float, prior: str, leaves: float | None) -> Drawing:
    """tau by estimator, along the factor."""
    fine, maximised, even, kept_off, middle = sweep(data.key, prior)
    reml, avoiding, exact = (look(name) for name in (*SETTLED, "exact"))
    marks: list[Mark] = [
        Area(even, middle[:, 0], middle[:, 2], exact.colour, label="posterior, middle 95 %"),
        Rule(factor, "ink", width=1.6),
        Line(even, middle[:, 1], exact.colour, width=2.0, dash="7 3", label="posterior median"),
        Line(even, kept_off, avoiding.colour, width=2.0, dash="2 3", label="boundary avoiding"),
        Line(fine, maximised, reml.colour, width=2.6, label="REML"),
    ]
    here = np.array([factor])
    marks += [
        Dots(here, np.array([found.middle[1]]), exact.colour, exact.marker, exact.filled, 7.0),
        Dots(here, np.array([found.tau("boundary_avoiding")]), avoiding.colour, avoiding.marker, size=6.0),
        Dots(here, np.array([found.tau("reml")]), reml.colour, reml.marker, size=7.0),
    ]
    top = _end(data.key)
    panel = Panel(
        marks=tuple(marks),
        x=(LOW - 0.03, HIGH + 0.03),
        y=(-0.03 * top, top),
        x_label="factor of the groups' deviations",
        x_ticks=tuple((float(f), groups.typed(float(f))) for f in np.arange(LOW, HIGH + 0.1, 0.5)),
        y_label="τ, the SD between groups",
        height=290.0,
    )
    where = "" if leaves is None else f"REML is zero up to a factor of {significant(leaves)}. "
    alt = (
        f"{where}At {significant(factor)}: REML {significant(found.tau('reml'))}, boundary avoiding "
        f"{significant(found.tau('boundary_avoiding'))}, posterior median {significant(found.middle[1])}. At "
        f"{significant(HIGH)}: {significant(float(maximised[-1]))}, {significant(float(kept_off[-1]))} and "
        f"{significant(float(middle[-1, 1]))}."
    )
    return Drawing("along", "τ by estimator, as groups are pulled apart", alt, ((panel,),))


def _likely(data: Dataset, found: Answers, factor: float, small: float) -> Drawing:
    end = _end(data.key)
    at, relative, _ = profile(data.key, factor)
    reml, avoiding, exact = (look(name) for name in (*SETTLED, "exact"))
    x = np.unique([*np.linspace(0.0, end, 241), small])
    density = found.deviation.density(x)
    top = float(density.max())
    median = np.array([found.middle[1]])
    near = x <= small
    taus = [np.array([found.tau(name)]) for name in SETTLED]
    panel = Panel(
        marks=(
            Area(
                x[near], np.zeros(int(near.sum())), density[near] / top, exact.colour,
                label=f"its share below {significant(small, 3)}",
            ),
            Line(x, density / top, exact.colour, width=2.0, label="posterior of τ"),
            Line(at, relative, reml.colour, width=2.0, label="REML profile likelihood"),
            Dots(
                median, found.deviation.density(median) / top, exact.colour, exact.marker, exact.filled, 7.0,
                label="posterior median",
            ),
            Dots(
                taus[1], np.interp(taus[1], at, relative), avoiding.colour, avoiding.marker, size=6.0,
                label="boundary avoiding",
            ),
            Dots(taus[0], np.ones(1), reml.colour, reml.marker, size=8.0, label="REML"),
        ),
        x=(-0.02 * end, end),
        y=(-0.03, 1.12),
        x_label="τ, the SD between groups",
        y_label="as a share of the largest",
        height=250.0,
    )  # fmt: skip
    alt = (
        f"REML's profile peaks at {significant(found.tau('reml'))}; at zero it is {significant(float(relative[0]), 3)} "
        f"of its largest. The posterior's density at zero is {significant(float(density[0]) / top, 3)} of its largest."
    )
    return Drawing("likely", "How likely each τ is, near zero", alt, ((panel,),))


def _groups(data: Dataset, found: Answers) -> Drawing:
    """Every group by every estimator, with intervals."""
    at, called, left = groups.rows(data.design)
    widest = groups.coefficients(fitted(data.key, HIGH, "no_pooling"))
    words = tuple(level for _, level in called)
    marks: list[Mark] = [Dots(found.own, at + 0.36, OWN, "x", size=4.5, label="own value", names=words)]
    for fit, place in ((found.reml, 0.12), (found.avoiding, -0.12), (found.exact, -0.36)):
        style, part = look(fit.estimator), fit.group_effects[0]
        mean, row = part.coefficient.estimate[:, 0], at + place
        if fit is found.exact:
            low, high = part.coefficient.conf_low[:, 0], part.coefficient.conf_high[:, 0]
            marks.append(Segments(low, row, high, row, style.colour, width=2.4))
        else:
            error, given = WHISKER * part.coefficient.std_error[:, 0], WHISKER * part.effect.std_error[:, 0]
            marks.append(Segments(mean - error, row, mean + error, row, style.colour, width=1.0))
            marks.append(Segments(mean - given, row, mean + given, row, style.colour, width=4.0))
        label = title_of(fit.estimator) if fit is not found.exact else "full Bayes"
        marks.append(Dots(mean, row, style.colour, style.marker, style.filled, 5.0, label=label, names=words))
    panel = Panel(
        marks=tuple(marks),
        x=limits(widest, room=0.2),
        y=(0.35, len(at) + 0.75),
        x_label=f"{data.design.response}, by {data.design.blocks[0].group}",
        title=groups.heading(data.design),
        y_ticks=called,
        height=groups.FRAME + 2.1 * groups.ROW * len(at),
        left=left,
    )
    spans = found.exact.group_effects[0].coefficient
    alt = (
        f"REML's conditional intervals are up to {_width(found.reml)} wide, boundary avoiding "
        f"{_width(found.avoiding)}, the posterior's {significant(float((spans.conf_high - spans.conf_low).max()))}."
    )
    return Drawing(
        "groups", "Groups with 95 % intervals (thick: conditional on τ; thin: with the population value's error)",
        alt, ((panel,),),
    )  # fmt: skip


def _width(fit: Fit) -> str:
    return significant(2 * WHISKER * float(fit.group_effects[0].effect.std_error.max()))


# --- numbers ------------------------------------------------------------------------------------------


def _spreads(found: Answers) -> Numbers:
    mean, _ = found.deviation.moments
    places = [(name, title_of(name), found.tau(name)) for name in SETTLED]
    places += [("median", "full Bayes, median", found.middle[1]), ("mean", "full Bayes, mean", mean)]
    below = found.deviation.cdf(np.array([tau for *_, tau in places])).tolist()
    rows = tuple(
        (key, (title, significant(tau), percent(share))) for (key, title, tau), share in zip(places, below, strict=True)
    )
    told = "; ".join(f"{name} ~ {prior}" for name, prior in found.exact.priors.items())
    notes = (f"Priors of full Bayes, which do not move with the factor: {told}.",)
    return Numbers("τ by estimator", ("estimator", "τ", "posterior below it"), rows, notes)


def _numbers(found: Answers) -> Numbers:
    block = found.design.blocks[0]
    fits = (found.reml, found.avoiding, found.exact)
    estimates = [groups.coefficients(fit) for fit in fits]
    errors = [fit.group_effects[0].effect.std_error[:, 0] for fit in fits]
    rows = []
    for j, level in enumerate(block.levels):
        pairs = [v for e, s in zip(estimates, errors, strict=True) for v in (e[j], s[j])]
        rows.append((level, (level, *(significant(float(v)) for v in (found.own[j], *pairs)))))
    heads = ("REML", "REML's SD", "boundary avoiding", "its SD", "full Bayes", "posterior SD")
    return Numbers(
        f"By {block.group}",
        (block.group, "own value", *heads),
        tuple(rows),
        ("SDs are of the effect, the deviation from the population value: conditional on τ of REML and the "
         "boundary-avoiding estimate, averaged over τ by full Bayes.",),
    )  # fmt: skip


PAGE = Page(
    key="boundary",
    title="At the boundary",
    question="What is to be said of groups that differ no more than noise would have them differ?",
    text=(
        "Where groups' means spread no more than their standard errors explain, REML's τ is exactly zero, and plugging "
        "zero in leaves no doubt about any group. Multiply the groups' deviations from their common mean, and see when "
        "REML leaves zero, while the other two move smoothly.",
    ),
    controls=controls,
    show=show,
)

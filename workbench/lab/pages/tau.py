"""The tau axis: every group's estimate as a function of the spread between groups, and how likely each spread is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.estimators import run_estimator
from workbench.exact_posterior.deviations import Deviation
from workbench.fit import Fit
from workbench.inference.spread_likelihoods import held_spread
from workbench.inference.spread_path import SpreadPath, spread_path
from workbench.lab import groups
from workbench.lab.controls import Choice, Control, Slider
from workbench.lab.datasets import NAME, Dataset, chosen, control, dataset
from workbench.lab.drawing import LEFT, RIGHT, WIDTH, Area, Dots, Drawing, Line, Mark, Panel, Rule, Words, limits, ticks
from workbench.lab.page import Numbers, Page, Shown, Step, Values
from workbench.lab.sampled import sampling
from workbench.lab.uploads import remembered
from workbench.plots.style import OWN, look, title_of
from workbench.plots.tau_labels import dodged
from workbench.plots.tau_words import INTERVAL, doubts
from workbench.priors import Prior, parse_prior
from workbench.words import join, percent, significant

Array = NDArray[np.float64]

OFFERED = ("eight_schools", "twelve_groups", "dyestuff", "dyestuff2", "baseball", "sleepstudy")
SETTLED = ("reml", "ml", "boundary_avoiding")
"""Estimators that settle on one tau."""
HUES = ("#2E86C1", "#D55E00", "#009E73", "#A4428A", "#A67C00", "#7A7A7A")
DASHES = ("", "7 3", "2 3")
"""Lines go through all hues, then on with dashes."""
MIDDLE = (0.025, 0.5, 0.975)


@dataclass(frozen=True, eq=False)
class Ground:
    """What does not change while tau moves.

    Attributes
    ----------
    path : SpreadPath
    own : array, shape (J,)
    settled : mapping of str to float
        tau by estimator.
    maximised : array, shape (J,)
        REML's estimates.
    posterior : Fit or None
        Full Bayes by quadrature, of designs with one varying term.
    name : str
        The SD's.
    high : float
        End of the slider.
    """

    path: SpreadPath
    own: Array
    settled: Mapping[str, float]
    maximised: Array
    posterior: Fit | None
    name: str
    high: float

    @property
    def deviation(self) -> Deviation | None:
        """The posterior of tau."""
        return None if self.posterior is None else self.posterior.posterior.deviation(0)

    @property
    def middle(self) -> tuple[float, float, float] | None:
        """Ends of the posterior's middle 95 %, the median between them."""
        if self.deviation is None:
            return None
        low, median, high = self.deviation.quantile(np.array(MIDDLE)).tolist()
        return low, median, high

    @property
    def prior(self) -> Prior | None:
        """Of tau."""
        return None if self.posterior is None else parse_prior(self.posterior.priors[self.name], self.name)


@remembered(16)
def ground(key: str, column: int) -> Ground:
    """Follow the path of one varying term, and find where estimators put its spread."""
    data = dataset(key)
    design, block = data.design, data.design.blocks[0]
    fits = {name: run_estimator(name, design, data.settings, None, {}) for name in SETTLED}
    settled = {name: float(fit.components[0].sd[column]) for name, fit in fits.items()}
    posterior, beyond = None, 0.0
    if len(block.terms) == 1:
        posterior = run_estimator("exact", design, data.settings, None, {})
        beyond = float(posterior.posterior.deviation(0).quantile(np.array([0.98]))[0])
    path = spread_path(design, 0, column, beyond, tuple(settled.values()))
    end = float(path.tau[-1])
    unit = 10.0 ** (np.floor(np.log10(end)) - 2)
    return Ground(
        path=path,
        own=groups.coefficients(run_estimator("no_pooling", design, data.settings, None, {}), column),
        settled=settled,
        maximised=groups.coefficients(fits["reml"], column),
        posterior=posterior,
        name=path.name,
        high=float(f"{np.floor(end / unit) * unit:.12g}"),
    )


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """The table, the varying term where there are several, and tau."""
    data = chosen(query, OFFERED)
    terms = data.design.blocks[0].terms
    asked: tuple[Control, ...] = (control(query, OFFERED),)
    column = 0
    if len(terms) > 1:
        choice = Choice("term", "Varying term", tuple((t, _called(t)) for t in terms), terms[0], anew=True)
        asked += (choice,)
        column = terms.index(choice.read(query.get("term", terms[0])))
    base = ground(data.key, column)
    start = base.settled["reml"] if base.middle is None else base.middle[1]
    tau = Slider(
        "tau", "τ, the SD between groups", 0.0, base.high, base.high / 200, float(f"{start:.3g}"),
        hint=f"0 pools completely; REML's is {significant(base.settled['reml'])}",
    )  # fmt: skip
    return (*asked, tau)


def _called(term: str) -> str:
    return "intercept" if term == "(Intercept)" else f"slope of {term}"


def show(values: Values) -> Shown:
    """Estimate every group at the chosen tau, and say how likely that is."""
    data = dataset(values[NAME])
    column = data.design.blocks[0].terms.index(values["term"]) if "term" in values else 0
    base, tau = ground(data.key, column), float(values["tau"])
    held = held_spread(data.design, 0, column)
    least = held.value(held.estimate)
    relative = float(np.exp(min(least - held.value(tau), 0.0) / 2))
    population, now = held.coefficients(tau)
    return Shown(
        says=_says(data, base, tau, relative, population, now),
        drawings=(_axis(data, base, column, tau, relative, now),),
        numbers=(_numbers(data, base, now), _places(data, base, column)),
        steps=_steps(base),
        warnings=doubts(base.path),
    )


def _steps(base: Ground) -> tuple[Step, ...]:
    places = [(f"τ = {title_of(name)}'s", tau) for name, tau in base.settled.items()]
    places[2] = ("τ = boundary avoiding", places[2][1])
    if base.middle is not None:
        places.append(("τ = posterior median", base.middle[1]))
    return tuple(Step(label, {"tau": repr(tau)}) for label, tau in [*places, ("τ = 0", 0.0)])


# --- in words -----------------------------------------------------------------------------------------


def _says(data: Dataset, base: Ground, tau: float, relative: float, population: float, now: Array) -> tuple[str, ...]:
    low, high = base.path.likely
    said = [
        f"At τ = {groups.typed(tau)} the estimates lie between {significant(float(now.min()))} and "
        f"{significant(float(now.max()))}; groups' own values between {significant(float(base.own.min()))} and "
        f"{significant(float(base.own.max()))}."
        if tau > 0
        else f"At τ = 0 all groups are put at {significant(population)}.",
        f"Its likelihood is {percent(relative)} of REML's largest: "
        f"{_inside(low <= tau <= high)} the 95 % profile interval, which runs from {significant(low)} "
        + (f"to {significant(high)}." if np.isfinite(high) else "on beyond this axis."),
    ]
    if base.middle is not None and base.deviation is not None:
        first, median, last = base.middle
        below = float(base.deviation.cdf(np.array([tau]))[0])
        said.append(
            f"It is {_inside(first <= tau <= last)} the posterior's middle 95 %, from {significant(first)} to "
            f"{significant(last)} (median {significant(median)}); the posterior puts {percent(below)} below it. "
            f"Prior of τ: {base.prior}."
            + " An interval with equal tails never holds 0, however high the density is there."
            * (tau == 0)
        )
    terms = data.design.blocks[0].terms
    if len(terms) > 1:
        said.append(
            f"Two or more terms vary here ({join([_called(t) for t in terms])}), and quadrature integrates the spread "
            "of one: there is no posterior on this page."
        )
    return tuple(said)


def _inside(within: bool) -> str:
    return "inside" if within else "outside"


# --- pictures -----------------------------------------------------------------------------------------


def _axis(data: Dataset, base: Ground, column: int, tau: float, relative: float, now: Array) -> Drawing:
    end = float(base.path.tau[-1])
    across, at = (-0.02 * end, end * (1 + _room(data))), tuple((t, groups.typed(t)) for t in ticks(0.0, end))
    plain = data.design.fixed_terms == ("(Intercept)",)
    called = "mean" if plain else _called(data.design.blocks[0].terms[column])
    paths = Panel(
        marks=_paths(data, base, tau, now),
        x=across,
        y=limits(base.path.coefficients, base.own, room=0.05),
        y_label=f"{called} of {data.design.response}, by {data.design.blocks[0].group}",
        x_ticks=at,
        height=400.0,
    )
    likely = Panel(
        marks=_likely(base, tau, relative),
        x=across,
        y=(-0.03, 1.12),
        x_label="τ, the SD between groups",
        y_label="as a share of the largest",
        x_ticks=at,
        height=250.0,
    )
    alt = (
        f"The estimates fan out from {significant(float(base.path.population[0]))} at τ = 0. At τ = {significant(tau)} "
        f"they lie {significant(float(np.ptp(now)))} apart, at REML's {significant(base.settled['reml'])} "
        f"{significant(float(np.ptp(base.maximised)))}, at {significant(end)} "
        f"{significant(float(np.ptp(base.path.coefficients[-1])))}; own values {significant(float(np.ptp(base.own)))}. "
        f"Relative likelihood of the chosen τ: {significant(relative, 3)}."
    )
    return Drawing("axis", "Every group along τ, and how likely each τ is", alt, ((paths,), (likely,)))


def _room(data: Dataset) -> float:
    """Room for groups' names at the right, as a share of the axis."""
    need = 34 + groups.LETTER * max(len(level) for level in data.design.blocks[0].levels)
    return need / (WIDTH - LEFT - RIGHT - need)


def _paths(data: Dataset, base: Ground, tau: float, now: Array) -> tuple[Mark, ...]:
    levels, path = data.design.blocks[0].levels, base.path
    end = float(path.tau[-1])
    low, high = limits(path.coefficients, base.own, room=0.05)
    last = path.coefficients[-1]
    heights = dodged(last, 0.046 * (high - low))
    reml = look("reml")
    marks: list[Mark] = [
        Line(path.tau, path.population, "muted", width=1.6, dash="6 4", label="population value"),
        Rule(base.settled["reml"], reml.colour, dash="6 4", label="REML's τ"),
        Rule(tau, "ink", width=2.0, label="your τ"),
    ]
    for j, level in enumerate(levels):
        hue = HUES[j % len(HUES)]
        marks.append(Line(path.tau, path.coefficients[:, j], hue, dash=DASHES[j // len(HUES) % len(DASHES)]))
        marks.append(Words(1.045 * end, float(heights[j]) - 0.011 * (high - low), level, colour=hue))
    marks.append(
        Dots(np.full(len(base.own), 1.015 * end), base.own, OWN, "x", size=4.0, label="own value (no pooling)",
             names=tuple(levels))
    )  # fmt: skip
    marks.append(
        Dots(np.full(len(now), tau), now, "ink", "o", size=4.5, label="estimate at your τ", names=tuple(levels))
    )
    return tuple(marks)


def _likely(base: Ground, tau: float, relative: float) -> tuple[Mark, ...]:
    path, reml, exact = base.path, look("reml"), look("exact")
    marks: list[Mark] = []
    if base.deviation is not None and base.middle is not None:
        x = np.unique([*np.linspace(0.0, float(path.tau[-1]), 241), *base.middle])
        density = base.deviation.density(x)
        top = float(density.max())
        held = (x >= base.middle[0]) & (x <= base.middle[2])
        marks += [
            Area(x[held], np.zeros(int(held.sum())), density[held] / top, exact.colour, label="its middle 95 %"),
            Line(x, density / top, exact.colour, width=2.2, label="posterior of τ"),
        ]
        if base.prior is not None and base.prior.kind != "Flat":
            prior = np.exp([base.prior.log_density(v, positive=True) for v in x.tolist()])
            marks.append(Line(x, prior / top, exact.colour, dash="2 4", label="its prior"))
    marks += [
        Line(path.at, path.relative, reml.colour, width=2.2, label="REML profile"),
        Rule(INTERVAL, "muted", across=True, dash="2 4", label="above: 95 % profile interval"),
        Rule(tau, "ink", width=2.0),
    ]
    for name, place in base.settled.items():
        style = look(name)
        share = np.interp([place], path.at, path.relative)
        marks.append(
            Dots(np.array([place]), share, style.colour, style.marker, style.filled, 7.0, label=title_of(name))
        )  # fmt: skip
    if base.deviation is not None and base.middle is not None:
        median = np.array([base.middle[1]])
        marks.append(
            Dots(median, base.deviation.density(median) / top, exact.colour, exact.marker, exact.filled, 7.0,
                 label="posterior median")
        )  # fmt: skip
    marks.append(Dots(np.array([tau]), np.array([relative]), "ink", "o", size=4.5))
    return tuple(marks)


# --- numbers ------------------------------------------------------------------------------------------


def _numbers(data: Dataset, base: Ground, now: Array) -> Numbers:
    block = data.design.blocks[0]
    columns = [base.own, now, base.maximised]
    heads = [block.group, "own value", "at your τ", "at REML's τ"]
    if base.posterior is not None:
        columns.append(groups.coefficients(base.posterior))
        heads.append("posterior mean")
    rows = tuple((level, (level, *(significant(float(c[j])) for c in columns))) for j, level in enumerate(block.levels))
    notes = ["At every τ, all other parameters are estimated anew by REML."] if base.path.others else []
    if base.posterior is not None:
        told = "; ".join(f"{name} ~ {prior}" for name, prior in base.posterior.priors.items())
        notes.append(f"The posterior mean averages over τ and all other parameters, under the priors {told}.")
    return Numbers(f"By {block.group}", tuple(heads), rows, tuple(notes))


def _places(data: Dataset, base: Ground, column: int) -> Numbers:
    """Where estimators put tau."""
    rows = [
        (name, (title_of(name), significant(tau), percent(float(np.interp(tau, base.path.at, base.path.relative)))))
        for name, tau in base.settled.items()
    ]
    if base.middle is not None:
        median = base.middle[1]
        share = percent(float(np.interp(median, base.path.at, base.path.relative)))
        rows.append(("median", ("posterior median", significant(median), share)))
    return Numbers("Where τ is put", ("estimator", "τ", "relative likelihood"), tuple(rows))


PAGE = Page(
    key="tau",
    title="The τ axis",
    question="What would every group's estimate be, were the spread between groups τ? And how likely is that τ?",
    text=(
        "At τ = 0 all groups are one (complete pooling); the larger τ, the less they are pooled. An "
        "estimator that settles on one τ reads all groups off on one upright line. Full Bayes does not settle: it "
        "averages over τ, by its posterior, and over the population value, whose prior may move all groups at once.",
    ),
    controls=controls,
    show=show,
    work=sampling(lambda values: chosen(values, OFFERED)),
)

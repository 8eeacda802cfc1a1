"""Slopes and origins: intercepts and slopes of groups on one plane, and what the place of the origin changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.lab import datasets
from workbench.lab.controls import Choice, Control, Slider, Tick
from workbench.lab.drawing import Dots, Drawing, Line, Panel, Rule, Segments, Words, limits
from workbench.lab.origins import Found, Table, at, curve, span, table, uncorrelated_origin
from workbench.lab.page import Numbers, Page, Shown, Step, Values
from workbench.lab.sampled import sampling
from workbench.plots.arrows import SDS, contours
from workbench.plots.style import OWN, look
from workbench.words import count, minus, significant

Array = NDArray[np.float64]

SAME = 1e-6
"""Criteria that differ by less, and slopes by less than this share of their SD, are called the same."""
MENU = 200
"""So many groups can be chosen."""


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """Which table, where the origin lies, whether intercepts and slopes are correlated, whose rows are shown."""
    data = table(query.get(datasets.NAME, datasets.SLOPES[0]))
    low, high, step = span(data)
    return (
        datasets.control(query, datasets.SLOPES),
        Slider(_own_name("origin", data), f"Origin of {data.predictor}", low, high, step, min(max(0.0, low), high),
               hint=f"intercepts are values at this {data.predictor}"),
        Tick("correlated", "Correlated", True, hint=f"({data.predictor} | {data.group}); off: "
             f"({data.predictor} || {data.group})"),
        Tick("arrows", "Arrows", True, hint="from own estimates to REML's"),
        Choice(_own_name("group", data), f"{data.group} below", tuple((level, level) for level in data.levels[:MENU]),
               _farthest(data)),
    )  # fmt: skip


def _own_name(name: str, data: Table) -> str:
    """In the address: every table has an origin and a group of its own, so that a change of tables begins anew."""
    return f"{name}_{data.key}"


def _farthest(data: Table) -> str:
    """The group whose own slope REML moves farthest."""
    far = np.abs(data.own[:MENU, 1] - at(data, True, 0.0).estimate[:MENU, 1])
    return data.levels[int(np.argmax(np.where(np.isfinite(far), far, 0.0)))]


def show(values: Values) -> Shown:
    """Fit both models at the origin, and at another."""
    data = table(values[datasets.NAME])
    origin, correlated = float(values[_own_name("origin", data)]), bool(values["correlated"])
    chosen = data.levels.index(values[_own_name("group", data)])
    found = at(data, correlated, origin)
    other = 0.0 if origin != 0 else float(data.x.mean())
    return Shown(
        says=(
            _model(data, found, origin, correlated),
            _moved(data, True, origin, other),
            _moved(data, False, origin, other),
            *_same_at(data),
        ),
        drawings=(
            _plane(data, found, origin, chosen, values["arrows"]),
            _lines_and_criterion(data, found, origin, chosen, correlated),
        ),
        numbers=(_numbers(data, origin),),
        steps=_steps(data),
        warnings=found.warnings,
    )


def _steps(data: Table) -> tuple[Step, ...]:
    special = uncorrelated_origin(data)
    low, high, _ = span(data)
    places = [("Origin at 0", 0.0)] if low <= 0 <= high else []
    places.append((f"Origin at the mean of {data.predictor}", float(data.x.mean())))
    if low <= special <= high:
        places.append(("Origin where intercepts and slopes are uncorrelated", special))
    return tuple(Step(label, {_own_name("origin", data): f"{place:.15g}"}) for label, place in places)


def _model(data: Table, found: Found, origin: float, correlated: bool) -> str:
    known = np.isfinite(data.own).all(axis=1)
    lone = int((~known).sum())
    said = (
        f"At {data.predictor} = {_place(origin)} REML {'with' if correlated else 'without'} a correlation has an "
        f"SD of {significant(float(found.sd[0]))} for intercepts and {significant(float(found.sd[1]))} for slopes"
    )
    said += f", correlated by {significant(found.correlation, 3)}." if correlated else "."
    if lone:
        said += (
            f" {count(lone, 'group')} of {len(known)} {'has' if lone == 1 else 'have'} no slope of "
            f"{'its' if lone == 1 else 'their'} own, and no arrow; REML has one for each."
        )
    return said


def _moved(data: Table, correlated: bool, origin: float, other: float) -> str:
    """What another origin does to a model's criterion and slopes."""
    here, there = at(data, correlated, origin), at(data, correlated, other)
    far = np.abs(here.estimate[:, 1] - there.estimate[:, 1])
    j, model = int(np.argmax(far)), "With the correlation" if correlated else "Without the correlation"
    places = f"{data.predictor} = {_place(origin)} and {_place(other)}"
    if abs(here.criterion - there.criterion) < SAME and far[j] <= SAME * max(float(there.sd[1]), SAME):
        most = f"no slope differs by more than {significant(float(far[j]), 1)}" if far[j] else "every slope is the same"
        return f"{model} the origin does not matter: at {places} the criterion is {_criterion(here)}, and {most}."
    return (
        f"{model} the origin matters: at {places} the criterion is {_criterion(here)} and {_criterion(there)}; "
        f"the slope of {data.group} {data.levels[j]} is {significant(float(here.estimate[j, 1]))} and "
        f"{significant(float(there.estimate[j, 1]))}."
    )


def _same_at(data: Table) -> tuple[str, ...]:
    special = uncorrelated_origin(data)
    if not np.isfinite(special):
        return ()
    one, other = at(data, True, special), at(data, False, special)
    above = other.criterion - one.criterion
    price = "costs nothing" if above < SAME else f"costs {significant(above, 2)} of the criterion"
    return (
        f"The correlated model's intercepts and slopes are uncorrelated at {data.predictor} = {_place(special)}. With "
        f"the origin there, leaving the correlation out {price}.",
    )


def _place(origin: float) -> str:
    return minus(f"{origin:.4g}")


def _criterion(found: Found) -> str:
    return significant(found.criterion, 7)


# --- pictures -----------------------------------------------------------------------------------------


def _plane(data: Table, found: Found, origin: float, chosen: int, arrows: bool) -> Drawing:
    own, reml, J = data.own_at(origin), look("reml"), len(data.levels)
    (own_x, own_y), (x, y) = own.T, found.estimate.T
    rings = contours(found.covariance, found.population)
    names = tuple(f"{data.group} {level}" for level in data.levels)
    size = 6.0 if J <= 30 else 4.5
    moves = (Segments(own_x, own_y, x, y, reml.colour, width=1.2, arrows=True),) if arrows else ()
    pair = np.vstack([own[[chosen]], found.estimate[[chosen]]])
    heights = limits(own_y, y, *(ring[:, 1] for ring in rings), room=0.08)
    below = 0.036 * (heights[1] - heights[0])
    name = f"{data.group} {data.levels[chosen]}"
    marks = (
        *(Line(ring[:, 0], ring[:, 1], "muted", 1.6 - 0.3 * k, label="contours at 1, 2, 3 SD" if k == 1 else "")
          for k, ring in zip(SDS, rings, strict=True)),
        Dots(pair[:, 0], pair[:, 1], "muted", "o", filled=False, size=10.0, label=name),
        *moves,
        Dots(own_x, own_y, OWN, "x", size=size, label="own least squares", names=names),
        Dots(x, y, reml.colour, reml.marker, size=size, label="REML", names=names),
        Dots(found.population[:1], found.population[1:], "ink", "D", size=6.0, label="population"),
        *(Words(*_below(ring, below), f"{k} SD", "middle", "muted") for k, ring in zip(SDS, rings, strict=True)),
    )  # fmt: skip
    panel = Panel(
        marks,
        x=limits(own_x, x, *(ring[:, 0] for ring in rings)),
        y=heights,
        x_label=f"intercept: {data.response} at {data.predictor} = {_place(origin)}",
        y_label=f"slope: {data.response} per unit of {data.predictor}",
        height=430.0,
    )
    tau = found.sd
    alt = (
        f"{J} groups. Population intercept {significant(float(found.population[0]))}, slope "
        f"{significant(float(found.population[1]))}; contours of SDs {significant(float(tau[0]))} and "
        f"{significant(float(tau[1]))}, correlation {significant(found.correlation, 3)}."
    )
    return Drawing("plane", "Intercepts and slopes: own, and pulled to the population", alt, ((panel,),))


def _below(ring: Array, by: float) -> tuple[float, float]:
    """A place under a contour's lowest point."""
    place = ring[int(np.argmin(ring[:, 1]))]
    return float(place[0]), float(place[1]) - by


def _lines_and_criterion(data: Table, found: Found, origin: float, chosen: int, correlated: bool) -> Drawing:
    lines, criterion = _lines(data, found, origin, chosen), _criterion_panel(data, origin, correlated)
    mine, own = found.estimate[chosen], data.own_at(origin)[chosen]
    excess = at(data, False, origin).criterion - at(data, True, origin).criterion
    alt = (
        f"{data.group} {data.levels[chosen]}: own slope {significant(float(own[1]))}, REML's "
        f"{significant(float(mine[1]))}, population {significant(float(found.population[1]))}. The criterion without "
        f"a correlation lies {significant(excess, 3)} above the one with it."
    )
    return Drawing("origin", "One group, and the price of leaving the correlation out", alt, ((lines, criterion),))


def _lines(data: Table, found: Found, origin: float, chosen: int) -> Panel:
    low, high, _ = span(data)
    ends, mine, reml = np.array([low, high]), data.codes == chosen, look("reml")
    own, population = data.own_at(origin)[chosen], found.population
    drawn = [
        (population, "muted", "population", "6 4"), (own, OWN, "own", "2 3"),
        (found.estimate[chosen], reml.colour, "REML", ""),
    ]  # fmt: skip
    drawn = [part for part in drawn if np.isfinite(part[0]).all()]
    heights = [line[0] + line[1] * (ends - origin) for line, *_ in drawn]
    return Panel(
        (
            Rule(origin, "muted", dash="3 3"),
            *(Line(ends, height, colour, label=label, dash=dash)
              for height, (_, colour, label, dash) in zip(heights, drawn, strict=True)),
            *(Dots(np.array([origin]), line[:1], colour, "o", size=4.5) for line, colour, *_ in drawn),
            Dots(data.x[mine], data.y[mine], "ink", ".", size=3.0, label=f"rows ({int(mine.sum())})"),
        ),
        x=(low, high),
        y=limits(data.y[mine], *heights),
        x_label=data.predictor,
        title=f"{data.response}, {data.group} {data.levels[chosen]}",
        height=330.0,
    )  # fmt: skip


def _criterion_panel(data: Table, origin: float, correlated: bool) -> Panel:
    low, high, _ = span(data)
    places, excess = curve(data)
    here = at(data, False, origin).criterion - at(data, True, 0.0).criterion
    with_it = at(data, True, origin).criterion - at(data, True, 0.0).criterion
    reml = look("reml").colour
    return Panel(
        (
            Rule(origin, "muted", dash="3 3"),
            Line(np.array([low, high]), np.zeros(2), reml, label="correlated"),
            Line(places, excess, "ink", dash="6 3", label="not correlated"),
            Dots(np.array([origin]), np.array([with_it]), reml, "o", size=6.0 if correlated else 4.0),
            Dots(np.array([origin]), np.array([here]), "ink", "o", size=4.0 if correlated else 6.0),
        ),
        x=(low, high),
        y=limits(excess, [0.0, here], room=0.08),
        x_label=f"origin of {data.predictor}",
        title="REML criterion, above the correlated model's",
        height=330.0,
    )


def _numbers(data: Table, origin: float) -> Numbers:
    rows = []
    for key, label in (("correlated", f"({data.predictor} | {data.group})"),
                       ("uncorrelated", f"({data.predictor} || {data.group})")):  # fmt: skip
        found, start = (at(data, key == "correlated", c) for c in (origin, 0.0))
        far = float(np.max(np.abs(found.estimate[:, 1] - start.estimate[:, 1])))
        cells = (
            label, *(significant(float(value)) for value in (*found.population, *found.sd)),
            significant(found.correlation, 3) if key == "correlated" else "0 (set)", significant(found.sigma),
            _criterion(found), significant(far, 3) if far > SAME * max(float(start.sd[1]), SAME) else "0",
        )  # fmt: skip
        rows.append((key, cells))
    return Numbers(
        f"Both models at {data.predictor} = {_place(origin)}",
        ("model", "intercept", "slope", "SD of intercepts", "SD of slopes", "correlation", "residual SD",
         "REML criterion", f"slopes moved since {data.predictor} = 0, at most"),
        tuple(rows),
        ("A smaller criterion is a better fit; the two models, and all origins, share their fixed effects, so that "
         f"criteria can be compared. Slopes that moved by less than {SAME:g} of their SD have a 0.",),
    )  # fmt: skip


PAGE = Page(
    key="slopes",
    title="Slopes and origins",
    question="Intercepts and slopes are pulled together. Which way, and does it matter where zero lies?",
    text=(
        "Every group is a point: its intercept, the line's height at the origin, and its slope. A mixed model pulls "
        "the point towards the population's, in a direction that the groups' covariance (the contours) and the noise "
        "decide. Move the origin: the intercept is another quantity then. A model with a correlation follows; one "
        "without says that intercepts at this very origin tell nothing about slopes, another claim at every origin.",
    ),
    controls=controls,
    show=show,
    work=sampling(lambda values: datasets.chosen(values, datasets.SLOPES)),
)

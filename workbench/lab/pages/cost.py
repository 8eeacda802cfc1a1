"""What plugging in costs: the same design again and again, and what every estimator's intervals hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.calibration import Coverage, coverage
from workbench.lab.controls import Control, Slider, Words
from workbench.lab.datasets import like
from workbench.lab.drawing import Dots, Drawing, Line, Mark, Panel, Rule, Segments
from workbench.lab.groups import sizes_apart
from workbench.lab.page import Numbers, Page, Shown, Step, Tell, Values, Work
from workbench.lab.sizes import group_sizes
from workbench.plots.style import OWN, look, title_of
from workbench.sampling.stages import told
from workbench.words import percent, significant

MOST = 2000
ERRORS = 2.0
"""Monte Carlo errors to either side."""
FAVOURITES = (
    ("The twelve groups", {"between": "1", "within": "5", "sizes": "100x6, 2x6"}),
    ("Dyestuff: six batches of five", {"between": "4.2", "within": "4.95", "sizes": "5x6"}),
    ("A class: five schools of 8 to 30", {"between": "2", "within": "8", "sizes": "8 12 15 22 30"}),
)


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """The truth that all repetitions share, and how many there are."""
    return (
        Slider("between", "SD between groups", 0.0, 5.0, 0.05, 1.0, hint="of the true means, drawn anew every time"),
        Slider("within", "SD within groups", 0.1, 10.0, 0.1, 5.0, hint="of samples about their true mean"),
        Words("sizes", "Samples per group", "100x6, 2x6", group_sizes, hint="your own design: sizes, or size x groups"),
        Slider("times", "Repetitions", 20, MOST, 20, 200, whole=True, hint="of the simulation below"),
        Slider("seed", "Seed", 1, 999_999, 1, 1, whole=True),
    )


def show(values: Values) -> Shown:
    """What is to be expected if the spread were known, by group size: a formula, answered at once."""
    between, within = values["between"], values["within"]
    kinds = sorted(set(values["sizes"]))
    own, shrunken = ([risk(between, within, n) for n in kinds] for risk in (_own_risk, _shrunken_risk))
    rows = tuple(
        (
            f"n-{n}",
            (
                str(n), str(values["sizes"].count(n)), significant(a), significant(between**2), significant(b),
                f"{100 * (1 - b / a):.1f} %",
            ),
        )
        for n, a, b in zip(kinds, own, shrunken, strict=True)
    )  # fmt: skip
    gain = [1 - b / a for a, b in zip(own, shrunken, strict=True)]
    says = [
        f"Were the SDs and the common mean known, shrinking would cut the squared error of a group of {kinds[0]} by "
        f"{100 * gain[0]:.1f} %"
        + (f", of a group of {kinds[-1]} by {100 * gain[-1]:.1f} %." if len(kinds) > 1 else "."),
        "They are not known: REML estimates them, the fixed prior takes REML's estimates for known, full Bayes "
        "averages over what they may be. The simulation below shows what that costs.",
    ]
    table = Numbers(
        "Expected squared error of a group's estimate, the spread known",
        ("n", "groups", "own mean: within² / n", "common mean: between²", "shrunken", "less than the own mean's by"),
        rows,
    )
    steps = tuple(Step(label, change) for label, change in FAVOURITES)
    return Shown(tuple(says), (_expected(values, kinds),), (table,), steps)


def _own_risk(between: float, within: float, n: float) -> float:
    return within**2 / n


def _shrunken_risk(between: float, within: float, n: float) -> float:
    noise = within**2 / n
    return between**2 * noise / (between**2 + noise)


def _expected(values: Values, kinds: list[int]) -> Drawing:
    between, within = values["between"], values["within"]
    n = np.geomspace(max(kinds[0] / 1.5, 0.8), kinds[-1] * 1.5, 80)
    x, reml = np.log10(n), look("reml")
    at = np.log10(np.array(kinds, dtype=float))
    dots = np.array([_shrunken_risk(between, within, k) for k in kinds])
    top = float(max(_own_risk(between, within, kinds[0]), between**2))
    marks: tuple[Mark, ...] = (
        Line(x, np.array([_own_risk(between, within, k) for k in n]), OWN, label="own mean"),
        Rule(between**2, "muted", across=True, dash="6 4", label="common mean"),
        Line(x, np.array([_shrunken_risk(between, within, k) for k in n]), reml.colour, label="shrunken"),
        Dots(at, dots, reml.colour, "o", size=4.5, names=tuple(f"n = {k}" for k in kinds)),
    )
    ticks = tuple((float(np.log10(k)), f"{k:g}") for k in sizes_apart(kinds))
    panel = Panel(
        marks, (float(x[0]), float(x[-1])), (0.0, 1.15 * top or 1.0), "samples in the group, n (logarithmic)",
        "expected squared error", x_ticks=ticks, height=260.0,
    )  # fmt: skip
    alt = "; ".join(
        f"n = {k}: own {significant(_own_risk(between, within, k), 3)}, shrunken {significant(float(d), 3)}"
        for k, d in zip(kinds[:6], dots, strict=False)
    )
    return Drawing("expected", "Expected squared error, the spread known", f"{alt}.", ((panel,),))


# --- the simulation -----------------------------------------------------------------------------------


def take(values: Values) -> dict[str, Any]:
    """What the simulation needs."""
    return dict(values)


def simulate(given: Mapping[str, Any], tell: Tell) -> Shown:
    """Repeat the design, and count."""
    with told(lambda name, share: tell("simulating", share)):
        found = coverage(
            given["sizes"], given["between"], given["within"], simulations=int(given["times"]), seed=int(given["seed"])
        )
    cells = found.cells(4)
    return Shown(
        says=found.sentences,
        drawings=tuple(_held(found, cell, k) for k, cell in enumerate(cells)),
        numbers=(_counted(found, cells),),
        warnings=found.warnings,
    )


def _keys(found: Coverage) -> list[Any]:
    return [key for key in found.keys if key[1] == "coefficient"]


def _named(key: tuple[str, str, str]) -> str:
    return f"{title_of(key[0])}, {key[2].partition(',')[0]}"


def _held(found: Coverage, cell: Any, place: int) -> Drawing:
    """One group size: the share of intervals that hold the truth, and how wide they are."""
    keys = _keys(found)
    figures = [found.means(key, cell) for key in keys]
    y = np.arange(len(keys), 0, -1.0)
    names = tuple((float(at), _named(key)) for at, key in zip(y, keys, strict=True))
    shares = [[100 * part for part in figure["coverage"]] for figure in figures]
    widths = [figure["width"] for figure in figures]
    low = min(min(mean - ERRORS * error for mean, error in shares), 100 * found.level) - 2
    left = _panel(shares, keys, y, (max(low, -2.0), 101.5), f"% that hold the truth ({100 * found.level:g} promised)",
                  names, Rule(100 * found.level, "muted", dash="6 4"))  # fmt: skip
    most = max(mean + ERRORS * error for mean, error in widths)
    right = _panel(widths, keys, y, (0.0, 1.05 * most), "mean width", tuple((float(at), "") for at in y), None)
    size = f"{len(cell.places)} group{'s' * (len(cell.places) > 1)} of {cell.size}"
    alt = "; ".join(
        f"{_named(key)}: {mean:.1f} % ± {error:.1f}" for key, (mean, error) in zip(keys, shares, strict=True)
    )
    return Drawing(f"held-{place}", f"Intervals of {size}", f"{alt}.", ((left, right),))


def _panel(
    pairs: list[Any], keys: list[Any], y: Any, x: tuple[float, float], label: str, names: Any, rule: Rule | None
) -> Panel:
    marks: list[Mark] = [rule] if rule else []
    for (mean, error), key, at in zip(pairs, keys, y, strict=True):
        own, here = look(key[0]), np.array([at])
        reach = ERRORS * error
        marks += [
            Segments(np.array([mean - reach]), here, np.array([mean + reach]), here, own.colour, width=2.2),
            Dots(np.array([mean]), here, own.colour, own.marker, own.filled, 5.0, names=(_named(key),)),
        ]
    left = 210.0 if names[0][1] else 16.0
    return Panel(
        tuple(marks), x, (0.4, len(keys) + 0.6), label, y_ticks=names, height=30.0 * len(keys) + 74.0, left=left,
        share=1.7 if names[0][1] else 1.0,
    )  # fmt: skip


def _counted(found: Coverage, cells: Any) -> Numbers:
    rows = []
    for place, cell in enumerate(cells):
        for key in found.keys:
            figure = found.means(key, cell)
            share, width, squared = (figure[name] for name in ("coverage", "width", "squared_error"))
            rows.append(
                (
                    f"{key[0]}-{key[1]}-{key[2].partition(',')[0].replace(' ', '-')}-{place}",
                    (
                        f"{key[1]}: {_named(key)}", cell.size, f"{percent(share[0])} ± {100 * share[1]:.1f}",
                        f"{significant(width[0], 3)} ± {significant(width[1], 2)}",
                        f"{significant(squared[0], 3)} ± {significant(squared[1], 2)}",
                    ),
                )
            )  # fmt: skip
    sizes = ", ".join(f"{n}x{int(np.sum(found.sizes == n))}" for n in np.unique(found.sizes))
    truth = f"SD between {found.truth['sd(group, (Intercept))']:g}, within {found.truth['sigma']:g}"
    return Numbers(
        f"{found.simulations:,} repetitions of {sizes}; {truth}",
        ("95 % interval of a group's", "n", "holds the truth", "mean width", "squared error"),
        tuple(rows),
        ("Coefficient: the group's mean; effect: its deviation from the population's. ± one Monte Carlo error.",),
    )


PAGE = Page(
    key="cost",
    title="What plugging in costs",
    question="If the design were run again and again: whose intervals hold the truth, and how wide are they?",
    text=(
        "One truth, many repetitions: new group means and new samples every time, every estimator fitted to all of "
        "them. What an interval promises, 95 in 100, can then be counted.",
    ),
    controls=controls,
    show=show,
    like=like,
    work=Work(
        "Repeat the design",
        "Every estimator is fitted to every repetition, exact full Bayes too: 20 to 80 milliseconds each.",
        take,
        simulate,
    ),
)

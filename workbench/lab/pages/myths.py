"""Myths of shrinkage: claims that are checked on the present data, once somebody has said what to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from workbench.design import Design, build_design
from workbench.lab import claims, datasets
from workbench.lab.claims import Case
from workbench.lab.controls import Control, Slider, Token, Words
from workbench.lab.drawing import Dots, Drawing, Panel, Rule, Segments, limits
from workbench.lab.evidence import EVIDENCE, group_names, group_ticks
from workbench.lab.page import Card, Page, Shown, Step, Values
from workbench.lab.sizes import group_sizes
from workbench.lab.uploads import remembered
from workbench.plots.style import OWN
from workbench.simulate import SimulatedGroups, simulate_groups
from workbench.study import load_study
from workbench.truth import read_truth
from workbench.words import count, percent, significant

Array = NDArray[np.float64]

SIMULATED = "simulated"
SEED_LIMIT = 999_999
CLAIMS = {
    "root": (
        "The square-root rule: multiply each group's deviation by the square root of its reliability τ² / (τ² + v); "
        "the estimates then spread as the true values do, which makes them the right ones.",
        f"Checked: the spread of these estimates against the true values', or REML's τ where these are not known "
        f"(right: within {percent(claims.SPREAD)}), and, "
        "where the true values are known, their squared error against that of REML's estimates, which take the "
        "reliability itself.",
    ),
    "smallest": (
        "The smallest group moves most.",
        "Checked: how far REML moves each group from its own mean, the groups with the least information against all "
        "others.",
    ),
    "spread": (
        "Shrunken estimates have the right spread: they spread as the true values do.",
        f"Checked: the spread of REML's estimates against the true values', or REML's own τ where these are not known "
        f"(right: within {percent(claims.SPREAD)}).",
    ),
    "ridge": (
        "Ridge regression is the same thing: penalise one indicator per group, and you have the mixed model.",
        "Checked: ridge estimates against REML's, group by group, at λ = σ² / τ² (the same to rounding) and "
        "at the λ of cross-validation (the same in practice: within a tenth of the smallest standard error), "
        "which takes a second or more.",
    ),
}
"""By key: what is claimed, and how it is checked."""


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """Which table, the truth of simulated ones, and which answers are open."""
    menu = datasets.control(query, datasets.INTERCEPTS)
    menu = replace(menu, options=(*menu.options, (SIMULATED, "Simulated groups")))
    simulated: tuple[Control, ...] = ()
    if query.get(datasets.NAME) == SIMULATED:
        simulated = (
            Slider("between", "SD between groups", 0.0, 5.0, 0.05, 1.0, hint="of the true means"),
            Slider("within", "SD within groups", 0.1, 10.0, 0.1, 2.0, hint="of samples about their true mean"),
            Words("sizes", "Samples per group", "2x4, 10x4, 50x4", group_sizes, hint="sizes, or size x number"),
            Slider("seed", "Seed", 1, SEED_LIMIT, 1, 1, whole=True, hint="another seed, other samples"),
        )
    return (menu, *simulated, *(Token(key, "An answer's key") for key in CLAIMS))


def show(values: Values) -> Shown:
    """The data, and the claims; of those whose button was pressed on these very data, the answer."""
    design, truth = _data(values)
    token = f"{crc32(design.y.tobytes() + design.weights.tobytes() + design.blocks[0].codes.tobytes()):08x}"
    found = claims.case(design, truth)
    steps: tuple[Step, ...] = ()
    if values[datasets.NAME] == SIMULATED:
        steps = (Step("Other samples", {"seed": str(int(values["seed"]) % SEED_LIMIT + 1)}),)
    return Shown(
        says=(_described(found),),
        drawings=(_own(found),),
        steps=steps,
        warnings=found.fit.warnings if any(values[key] == token for key in CLAIMS) else (),
        cards=tuple(_card(key, found, token, values[key] == token) for key in CLAIMS),
    )


def _data(values: Values) -> tuple[Design, Array | None]:
    key = values[datasets.NAME]
    if key == SIMULATED:
        asked = (values["sizes"], values["between"], values["within"], int(values["seed"]))
        drawn, design = _simulated(*asked)
        return design, drawn.truth
    design = datasets.chosen({datasets.NAME: key}, datasets.INTERCEPTS).design
    return design, _truth(key) if key in datasets.INTERCEPTS else None


@remembered(16)
def _simulated(sizes: tuple[int, ...], between: float, within: float, seed: int) -> tuple[SimulatedGroups, Design]:
    drawn = simulate_groups(sizes, between, within, seed=seed)
    wide = len(str(len(sizes)))
    rows = {"y": drawn.y, "group": [f"{g:0{wide}d}" for g in drawn.group]}
    return drawn, build_design("y ~ 1 + (1 | group)", rows)


@remembered(8)
def _truth(key: str) -> Array | None:
    """The true values of a study's groups, if it has them."""
    design = datasets.dataset(key).design
    known = read_truth(load_study(key).true_values(design), design)
    levels = design.blocks[0].levels
    return np.array([known[level, "(Intercept)"] for level in levels]) if known else None


# --- before any answer --------------------------------------------------------------------------------


def _described(found: Case) -> str:
    block = found.design.blocks[0]
    sizes = sorted({int(n) for n in block.sizes})
    rows = count(sizes[0], "row") if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} rows"
    said = f"{block.group}: {count(len(block.levels), 'group')} of {rows}" + (" each" if len(sizes) == 1 else "")
    if found.design.known_se:
        low, high = (significant(float(np.sqrt(v)), 3) for v in (found.noise.min(), found.noise.max()))
        said += f", with a known standard error of {low}" + (f" to {high}" if low != high else "")
    known = "known: the checks use them" if found.truth is not None else "not known"
    return f"{said}. True values are {known}. Say of each claim whether it holds here before you press its button."


def _own(found: Case) -> Drawing:
    """Own means with twice their standard error, which give no answer away."""
    J = len(found.own)
    at, error = np.arange(1.0, J + 1), np.sqrt(found.noise)
    panel = Panel(
        (
            Rule(float(found.own.mean()), "muted", across=True, dash="6 4", label="mean of the groups' means"),
            Segments(at, found.own - 2 * error, at, found.own + 2 * error, "muted", label="± 2 standard errors"),
            Dots(at, found.own, OWN, "x", size=6.0, label="own mean", names=group_names(found)),
        ),
        x=(0.3, J + 0.7),
        y=limits(found.own - 2 * error, found.own + 2 * error),
        x_label=f"{found.design.blocks[0].group}" + ("" if found.design.known_se else ", and its number of rows"),
        y_label=found.design.response,
        x_ticks=group_ticks(found),
        height=290.0,
    )
    alt = (
        f"{J} own means, from {significant(float(found.own.min()))} to {significant(float(found.own.max()))}; standard "
        f"errors from {significant(float(error.min()), 3)} to {significant(float(error.max()), 3)}."
    )
    return Drawing("own", "The data: every group's own mean", alt, ((panel,),))


# --- cards --------------------------------------------------------------------------------------------


def _card(key: str, found: Case, token: str, opened: bool) -> Card:
    claim, check = CLAIMS[key]
    if not opened:
        return Card(key, claim, (check,), (Step("Check it on these data", {key: token}),))
    verdict, drawings, numbers = EVIDENCE[key](found)
    hide = (Step("Hide the answer", {key: ""}),)
    return Card(key, claim, (check,), hide, verdict.words, verdict.says, drawings, numbers)


PAGE = Page(
    key="myths",
    title="Myths",
    question="Four things that are said of shrinkage. Which of them hold on these data?",
    text=(
        "Each claim is checked by its button on the data chosen here, by rules that are stated with it. Say first what "
        "you expect. With other data all answers are hidden again, and need not be the same.",
    ),
    controls=controls,
    show=show,
)

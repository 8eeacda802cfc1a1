"""Noise and shrinkage: what raw means add to true means, and what shrinking takes away again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.design import build_design
from workbench.estimators import Settings, run_estimator
from workbench.fit import Fit
from workbench.lab.controls import Control, Slider, Words
from workbench.lab.datasets import like
from workbench.lab.drawing import Area, Dots, Drawing, Line, Panel, Rule, Segments, limits
from workbench.lab.groups import sizes_apart
from workbench.lab.page import Numbers, Page, Shown, Step, Values
from workbench.lab.sizes import group_sizes
from workbench.plots.style import OWN, TRUTH, look
from workbench.simulate import SimulatedGroups, simulate_groups
from workbench.words import significant

Array = NDArray[np.float64]

TWELVE = {"between": "1", "within": "5", "sizes": "100x6, 2x6", "seed": "1"}
SEED_LIMIT = 999_999


def controls(query: Mapping[str, str]) -> tuple[Control, ...]:
    """The truth that the samples are drawn from."""
    return (
        Slider("between", "SD between groups", 0.0, 5.0, 0.05, 1.0, hint="of the true means"),
        Slider("within", "SD within groups", 0.1, 10.0, 0.1, 5.0, hint="of samples about their true mean"),
        Words("sizes", "Samples per group", TWELVE["sizes"], group_sizes, hint="sizes, or size x number of groups"),
        Slider("seed", "Seed", 1, SEED_LIMIT, 1, 1, whole=True, hint="another seed, other samples"),
    )


def show(values: Values) -> Shown:
    """Draw samples, estimate, and set what is found against the truth."""
    drawn = simulate_groups(values["sizes"], values["between"], values["within"], seed=int(values["seed"]))
    J = len(drawn.sizes)
    width = len(str(J))
    design = build_design("y ~ 1 + (1 | group)", {"y": drawn.y, "group": [f"{g:0{width}d}" for g in drawn.group]})
    sizes = np.array(drawn.sizes)
    raw = np.bincount(drawn.group - 1, drawn.y) / sizes
    fit = run_estimator("reml", design, Settings(), None, {})
    shrunken = fit.group_effects[0].coefficient.estimate[:, 0]
    return Shown(
        says=_says(drawn, fit, raw, shrunken),
        drawings=(_groups(drawn, fit, raw, shrunken), _variances(drawn, raw)),
        numbers=(_numbers(drawn, fit, raw, shrunken),),
        steps=(Step("The twelve groups", TWELVE), Step("Other samples", {"seed": str(int(values["seed"]) + 1)})),
        warnings=fit.warnings,
    )


def _says(drawn: SimulatedGroups, fit: Fit, raw: Array, shrunken: Array) -> tuple[str, ...]:
    tau, sigma = float(fit.components[0].sd[0]), fit.sigma
    error_raw, error_shrunken = (float(np.mean((part - drawn.truth) ** 2)) for part in (raw, shrunken))
    nearer = int(np.sum(np.abs(shrunken - drawn.truth) < np.abs(raw - drawn.truth)))
    said = [
        f"REML sees samples only: it puts the SD between groups at {significant(tau, 3)} (in truth "
        f"{significant(drawn.between_sd, 3)}) and the SD within at {significant(sigma, 3)} (in truth "
        f"{significant(drawn.within_sd, 3)}).",
        f"Shrunken means are nearer to the truth than raw means in {nearer} of {len(raw)} groups; their mean squared "
        f"error is {significant(error_shrunken, 3)}, that of raw means {significant(error_raw, 3)}.",
    ]
    spread = [float(np.var(part)) for part in (drawn.truth, raw, shrunken)]
    said.append(
        f"True means have a variance of {significant(spread[0], 3)}, raw means {significant(spread[1], 3)}, shrunken "
        f"means {significant(spread[2], 3)}."
    )
    if tau == 0:
        said.append("Here REML finds no more spread than noise makes: every group is put at the common mean.")
    return tuple(said)


def _groups(drawn: SimulatedGroups, fit: Fit, raw: Array, shrunken: Array) -> Drawing:
    J, reml = len(raw), look("reml")
    at = np.arange(1.0, J + 1)
    rng = np.random.default_rng(0)
    names = tuple(f"group {j + 1}, n = {n}" for j, n in enumerate(drawn.sizes))
    most = 40  # samples drawn of one group; more are a smear
    seen = np.concatenate([np.flatnonzero(drawn.group == j + 1)[:most] for j in range(J)])
    frame = np.concatenate([raw, shrunken, drawn.truth, drawn.y[seen]])
    every = _ticks(drawn.sizes)
    panel = Panel(
        marks=(
            Dots(
                drawn.group[seen] + rng.uniform(-0.22, 0.22, len(seen)), drawn.y[seen], "muted", ".", size=2.2,
                faint=True, label=f"samples (up to {most} of a group)",
            ),
            Rule(float(fit.population.estimate[0]), "muted", across=True, dash="6 4", label="REML's population value"),
            Segments(at, raw, at, shrunken, reml.colour, arrows=True),
            Dots(at, drawn.truth, TRUTH, "o", size=5.5, label="true mean", names=names),
            Dots(at, raw, OWN, "x", size=6.5, label="raw mean", names=names),
            Dots(at, shrunken, reml.colour, "+", size=6.5, label="shrunken mean (REML)", names=names),
        ),
        x=(0.3, J + 0.7),
        y=limits(frame),
        x_label="group, and its number of samples",
        y_label="value",
        x_ticks=every,
        height=360.0,
    )  # fmt: skip
    longest = int(np.argmax(np.abs(shrunken - raw)))
    alt = (
        f"{J} groups. The longest arrow is that of group {longest + 1} (n = {drawn.sizes[longest]}), from "
        f"{significant(float(raw[longest]))} to {significant(float(shrunken[longest]))}; its true mean is "
        f"{significant(float(drawn.truth[longest]))}."
    )
    return Drawing("groups", "True, raw and shrunken means", alt, ((panel,),))


def _ticks(sizes: tuple[int, ...]) -> tuple[tuple[float, str], ...]:
    """Every group's number and size, or every few where they would run together."""
    step = max(1, -(-len(sizes) // 14))
    return tuple((j + 1.0, f"{j + 1} ({sizes[j]})") for j in range(0, len(sizes), step))


def _variances(drawn: SimulatedGroups, raw: Array) -> Drawing:
    """Variance of raw means by size, against between^2 + within^2 / n."""
    kinds = sorted(set(drawn.sizes))
    n = np.geomspace(max(min(kinds) / 1.5, 0.8), max(kinds) * 1.5, 80)
    curve = drawn.between_sd**2 + drawn.within_sd**2 / n
    floor = np.full_like(n, drawn.between_sd**2)
    known = [(k, _spread(drawn, raw, k)) for k in kinds if drawn.sizes.count(k) > 1]
    seen_n, seen = np.array([k for k, _ in known], dtype=float), np.array([v for _, v in known])
    x = np.log10(n)
    panel = Panel(
        marks=(
            Area(x, np.zeros_like(n), floor, TRUTH, label="variance of true means"),
            Area(x, floor, curve, "muted", label="what sampling adds: within² / n"),
            Line(x, curve, "ink", label="between² + within² / n"),
            Dots(np.log10(seen_n), seen, OWN, "x", size=7.0, label="raw means here, about their true expectation"),
        ),
        x=(float(x[0]), float(x[-1])),
        y=(0.0, 1.08 * float(max(curve[0], seen.max(initial=0.0)) or 1.0)),
        x_label="samples in the group, n (logarithmic)",
        y_label="variance of raw means",
        x_ticks=tuple((float(np.log10(k)), f"{k:g}") for k in sizes_apart(kinds)),
        height=300.0,
    )
    alt = "; ".join(
        f"n = {k}: expected {significant(drawn.between_sd**2 + drawn.within_sd**2 / k, 3)}"
        + (f", here {significant(dict(known)[k], 3)}" if k in dict(known) else "")
        for k in kinds[:8]
    )
    return Drawing("variances", "The variance of raw means", alt + ".", ((panel,),))


def _spread(drawn: SimulatedGroups, raw: Array, size: int) -> float:
    """Mean square of the raw means of one size about the mean they were drawn from."""
    own = np.array(drawn.sizes) == size
    return float(np.mean((raw[own] - drawn.mean) ** 2))


def _numbers(drawn: SimulatedGroups, fit: Fit, raw: Array, shrunken: Array) -> Numbers:
    sizes, tau2, rows = np.array(drawn.sizes), float(fit.components[0].covariance[0, 0]), []
    for n in sorted(set(drawn.sizes)):
        own = sizes == n
        error: list[Any] = [np.mean((part[own] - drawn.truth[own]) ** 2) for part in (raw, shrunken)]
        kept = tau2 / (tau2 + fit.sigma**2 / n) if tau2 > 0 else 0.0
        cells = (
            str(n), str(int(own.sum())), significant(_spread(drawn, raw, n)),
            significant(drawn.between_sd**2 + drawn.within_sd**2 / n), significant(kept, 3),
            *(significant(float(e)) for e in error),
        )  # fmt: skip
        rows.append((f"n-{n}", cells))
    return Numbers(
        "By group size",
        ("n", "groups", "variance of raw means", "between² + within² / n", "share that REML keeps",
         "squared error, raw", "squared error, shrunken"),
        tuple(rows),
        ("The variance is about the mean that the groups were drawn from, zero. REML keeps τ² / (τ² + σ² / n) of a "
         "group's own deviation, at its own τ and σ.",),
    )  # fmt: skip


PAGE = Page(
    key="noise",
    title="Noise and shrinkage",
    question="Raw means spread more than the truth. How much more, and what does shrinking do about it?",
    text=(
        "Every group has a true mean, and a few samples about it. Raw means add the noise of the samples to the "
        "spread of the true means: the fewer the samples, the more. A mixed model pulls each raw mean back by as "
        "much as noise is likely to have pushed it out.",
    ),
    controls=controls,
    show=show,
    like=like,
)

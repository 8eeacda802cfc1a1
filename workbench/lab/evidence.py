"""What shows that a claim holds or not: pictures and tables of :mod:`workbench.lab.claims`, one function a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.lab import claims
from workbench.lab.claims import Case
from workbench.lab.drawing import Area, Dots, Drawing, Line, Panel, Rule, Segments, Words, limits
from workbench.lab.groups import sizes_apart
from workbench.lab.page import Numbers
from workbench.plots.style import OWN, TRUTH, look
from workbench.words import significant

Array = NDArray[np.float64]

NAMED = 14
"""So many groups have their names on an axis."""
ROOT = "#D55E00"
LOOKS = (("#0072B2", "s"), ("#D55E00", "^"), ("#009E73", "o"))
"""Of the square-root rule, and of cross-validation's choices."""

Answer = tuple[claims.Verdict, tuple[Drawing, ...], tuple[Numbers, ...]]


def group_names(found: Case) -> tuple[str, ...]:
    """Every group's name and size, shown where a pointer rests on its dot."""
    block = found.design.blocks[0]
    return tuple(f"{block.group} {level}, n = {int(n):,}" for level, n in zip(block.levels, block.sizes, strict=True))


def group_ticks(found: Case) -> tuple[tuple[float, str], ...]:
    """Names and sizes on an axis of groups, of every few where they would run together."""
    block = found.design.blocks[0]
    step = max(1, -(-len(block.levels) // NAMED))
    size = [""] * len(block.levels) if found.design.known_se else [f" ({int(n)})" for n in block.sizes]
    return tuple((j + 1.0, f"{block.levels[j][:6]}{size[j]}") for j in range(0, len(block.levels), step))


def _root(found: Case) -> Answer:
    root, reml = claims.square_root(found), look("reml")
    own = claims.spread_about(found.own, found.mu)
    linear = claims.spread_about(found.shrunken, found.mu)
    rows = [
        ("own means", "x", OWN, found.own, own), ("square root", "s", ROOT, root.estimate, root.spread),
        ("REML", reml.marker, reml.colour, found.shrunken, linear),
    ]  # fmt: skip
    drawings = [_spreads("root", found, rows)]
    if found.truth is not None:
        drawings.append(_guesses(found, root.estimate))
    kinds = (("own", found.own, own), ("square-root", root.estimate, root.spread), ("reml", found.shrunken, linear))
    names = {"own": "own means", "square-root": "square-root rule", "reml": "REML"}
    expected = {"own": float(found.noise.mean()), "square-root": root.expected[0], "reml": root.expected[1]}
    table = Numbers(
        "The square-root rule in numbers",
        ("estimates", "spread", "spread / τ", "mean squared error", "expected at REML's τ and σ"),
        tuple(
            (key, (names[key], significant(spread), significant(spread / found.tau, 3) if found.tau else "–",
                   significant(found.error(estimate)), significant(expected[key])))
            for key, estimate, spread in kinds
        ),
        ("Spread is the root mean square about the centre that the estimates are shrunken to.",),
    )  # fmt: skip
    return root.verdict, tuple(drawings), (table,)


def _spreads(key: str, found: Case, rows: list[tuple[str, str, str, Array, float]]) -> Drawing:
    """Estimates as dots, a row for each kind, their spread as bars, and REML's tau as a band to fill."""
    if found.truth is not None:
        true = claims.spread_about(found.truth, float(found.truth.mean()))
        rows = [("true values", "o", TRUTH, found.truth, true), *rows]
    across = limits(*(part[3] for part in rows), [found.mu - 1.2 * found.tau, found.mu + 1.2 * found.tau])
    marks: list[Any] = [
        Rule(found.mu - found.tau, "muted", dash="5 4", label="common mean ± τ (REML)"),
        Rule(found.mu + found.tau, "muted", dash="5 4"),
    ]
    for k, (name, shape, colour, estimate, spread) in enumerate(rows):
        level = float(len(rows) - k)
        ends = np.array([found.mu - spread, found.mu + spread])
        marks.append(Line(ends, np.full(2, level - 0.26), colour, width=5.0))
        marks.append(Dots(estimate, np.full(len(estimate), level), colour, shape, size=4.5))
        marks.append(
            Words(across[0] + 0.012 * (across[1] - across[0]), level + 0.26, f"{name}, spread {significant(spread, 3)}")
        )
    panel = Panel(
        tuple(marks),
        x=across,
        y=(0.5, len(rows) + 0.55),
        x_label=found.design.response,
        y_ticks=(),
        title="dots: groups; bars: the centre ± their spread",
        height=80.0 + 52.0 * len(rows),
    )
    alt = (
        f"τ is {significant(found.tau, 3)}; spreads: " + ", ".join(f"{r[0]} {significant(r[4], 3)}" for r in rows) + "."
    )
    return Drawing(f"{key}-spreads", "How far they spread", alt, ((panel,),))


def _guesses(found: Case, root: Array) -> Drawing:
    J, reml = len(found.own), look("reml")
    assert found.truth is not None
    at, names = np.arange(1.0, J + 1), group_names(found)
    panel = Panel(
        (
            Segments(at - 0.12, found.truth, at - 0.12, root, ROOT, width=2.4),
            Segments(at + 0.12, found.truth, at + 0.12, found.shrunken, reml.colour, width=2.4),
            Dots(at, found.truth, TRUTH, "o", size=5.0, label="true value", names=names),
            Dots(at - 0.12, root, ROOT, "s", size=4.0, label="square-root rule"),
            Dots(at + 0.12, found.shrunken, reml.colour, reml.marker, size=6.0, label="REML"),
        ),
        x=(0.3, J + 0.7),
        y=limits(found.truth, root, found.shrunken),
        x_label=found.design.blocks[0].group,
        title="bars: how far a guess lies from the truth",
        x_ticks=group_ticks(found),
        height=300.0,
    )
    nearer = int(np.sum(np.abs(found.shrunken - found.truth) < np.abs(root - found.truth)))
    alt = (
        f"REML is nearer to the truth in {nearer} of {J} groups. Mean squared errors: square root "
        f"{significant(found.error(root), 3)}, REML {significant(found.error(found.shrunken), 3)}."
    )
    return Drawing("root-guesses", "How good the guesses are", alt, ((panel,),))


def _smallest(found: Case) -> Answer:
    made, reml, names = claims.smallest_moves_most(found), look("reml"), group_names(found)
    if found.design.known_se:
        x, label, places = np.sqrt(found.noise), "standard error of the group", None
    else:
        sizes = found.design.blocks[0].sizes.astype(float)
        x, label = np.log10(sizes), "rows in the group, n (logarithmic)"
        places = tuple((float(np.log10(n)), f"{int(n)}") for n in sizes_apart(sizes, 1.6))
    small = made.smallest
    span = limits(x, room=0.12) if np.ptp(x) > 0 else (float(x[0]) - 1, float(x[0]) + 1)

    def panel(values: Array, title: str) -> Panel:
        return Panel(
            (
                Dots(x[~small], values[~small], reml.colour, "o", size=4.5, label="others",
                     names=tuple(np.array(names)[~small])),
                Dots(x[small], values[small], ROOT, "s", size=5.0, label="smallest",
                     names=tuple(np.array(names)[small])),
            ),
            x=span, y=(0.0, 1.1 * (float(values.max()) or 1.0)), x_label=label, title=title, x_ticks=places,
            height=300.0,
        )  # fmt: skip

    j = int(np.argmax(made.move))
    alt = (
        f"{names[j]} moves farthest, by {significant(float(made.move[j]), 3)}. Shares taken run from "
        f"{significant(float(made.taken.min()), 3)} to {significant(float(made.taken.max()), 3)}."
    )
    row = (panel(made.move, "moved by"), panel(made.taken, "share of the deviation that is taken"))
    block = found.design.blocks[0]
    order = np.argsort(-made.move, kind="stable")[:8]
    table = Numbers(
        "The groups that move farthest",
        (block.group, "n", "own mean", "REML", "moved by", "share taken"),
        tuple(
            (f"move-{k}", (block.levels[j], f"{int(block.sizes[j]):,}", *(significant(float(part[j])) for part in (
                found.own, found.shrunken, made.move)), significant(float(made.taken[j]), 3)))
            for k, j in enumerate(order)
        ),
    )  # fmt: skip
    return made.verdict, (Drawing("smallest", "Moves, and shares", alt, (row,)),), (table,)


def _spread(found: Case) -> Answer:
    made, reml = claims.right_spread(found), look("reml")
    rows = [
        ("own means", "x", OWN, found.own, claims.spread_about(found.own, found.mu)),
        ("REML", reml.marker, reml.colour, found.shrunken, made.spread),
    ]
    drawings = [_spreads("spread", found, rows)]
    names = ("variance of REML's estimates", "mean conditional variance", "common mean's uncertainty")
    if found.tau > 0:
        ends = np.concatenate([[0.0], np.cumsum(made.parts)])
        colours = (reml.colour, OWN, "ink")
        panel = Panel(
            (
                *(Area(ends[k : k + 2], np.zeros(2), np.ones(2), colours[k], label=names[k]) for k in range(3)),
                Rule(found.tau**2, "ink", label="τ²"),
            ),
            x=(0.0, 1.04 * max(found.tau**2, float(ends[-1]))), y=(0.0, 1.0), y_ticks=(), x_label="variance",
            height=125.0,
        )  # fmt: skip
        alt = "; ".join(f"{name} {significant(part, 3)}" for name, part in zip(names, made.parts, strict=True))
        alt += f"; τ² is {significant(found.tau**2, 3)}."
        drawings.append(Drawing("spread-parts", "Where the rest of τ² is", alt, ((panel,),)))
    cells = [(name, significant(part)) for name, part in zip(names, made.parts, strict=True)]
    cells += [("together", significant(sum(made.parts))), ("τ²", significant(found.tau**2))]
    table = Numbers(
        "The law of total variance", ("part", "value"), tuple((f"part-{k}", row) for k, row in enumerate(cells)),
        ("Var(θ) = Var E(θ | y) + E Var(θ | y): the second and the third part together are the second term.",),
    )  # fmt: skip
    return made.verdict, tuple(drawings), (table,)


def _ridge(found: Case) -> Answer:
    made, reml = claims.ridge_is_the_same(found), look("reml")
    ends = np.array(limits(found.shrunken, made.estimate, *made.estimates))
    distinct = {significant(one, 3): estimate for one, estimate in zip(made.strengths, made.estimates, strict=True)}
    panel = Panel(
        (
            Line(ends, ends, "muted", dash="5 4", label="the same as REML"),
            *(Dots(found.shrunken, estimate, colour, shape, filled=False, size=5.0,
                   label=f"cross-validated λ = {strength}", names=group_names(found))
              for (strength, estimate), (colour, shape) in zip(distinct.items(), LOOKS, strict=False)),
            Dots(found.shrunken, made.estimate, reml.colour, "+", size=6.5, label="λ = σ² / τ²",
                 names=group_names(found)),
        ),
        x=limits(found.shrunken, room=0.1), y=(float(ends[0]), float(ends[1])), x_label="REML's estimate",
        y_label="ridge estimate", height=360.0,
    )  # fmt: skip
    alt = f"At λ = σ²/τ² the largest difference from REML is {significant(made.gap, 1)}"
    alt += f"; at cross-validation's {', '.join(significant(v, 3) for v in made.gaps)}." if made.gaps else "."
    rows = [
        ("reml", ("σ² / τ²", "∞" if np.isinf(made.strength) else significant(made.strength), significant(made.gap, 2)))
    ]
    for seed, strength, gap in zip(claims.DEALS, made.strengths, made.gaps, strict=False):
        rows.append((f"cv-{seed}", (f"cross-validation, deal {seed}", significant(strength), significant(gap, 3))))
    table = Numbers("Ridge against REML", ("λ from", "λ", "largest difference from REML"), tuple(rows))
    return made.verdict, (Drawing("ridge", "Ridge beside REML", alt, ((panel,),)),), (table,)


EVIDENCE: Mapping[str, Callable[[Case], Answer]] = {
    "root": _root,
    "smallest": _smallest,
    "spread": _spread,
    "ridge": _ridge,
}
"""By the claim's key."""

"""Full Bayes by PyMC for the lab: on a button, beside REML and, where it applies, the exact posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from workbench.estimators import run_estimator
from workbench.fit import Fit
from workbench.lab import groups
from workbench.lab.datasets import Dataset
from workbench.lab.drawing import Dots, Drawing, Mark, Panel, Segments, limits
from workbench.lab.page import Numbers, Shown, Tell, Values, Work
from workbench.plots.style import look, title_of
from workbench.sampling.stages import told
from workbench.words import significant

STAGES = {"compile": "compiling the model", "sampling": "sampling"}


def sampling(chosen: Callable[[Values], Dataset]) -> Work:
    """The button of a page that runs on the table which `chosen` finds for its values."""
    return Work(
        "Fit full Bayes in PyMC",
        "Samples the full model, with priors on the spread, in a process of its own: some ten seconds, more the first "
        "time. The page goes on answering meanwhile.",
        chosen,
        beside,
    )


def beside(found: Dataset, tell: Tell) -> Shown:
    """Full Bayes beside REML, group by group."""
    fits: dict[str, Fit] = {}
    tell("REML", None)
    fits["reml"] = run_estimator("reml", found.design, replace(found.settings, priors={}), None, {})
    with told(lambda name, share: tell(STAGES.get(name, name), share if name == "sampling" else None)):
        fits["hierarchical"] = run_estimator("hierarchical", found.design, found.settings, None, fits)
    terms = range(len(found.design.blocks[0].terms))
    return Shown(
        says=_says(found, fits),
        drawings=tuple(_intervals(found, fits, k) for k in terms),
        numbers=(_parameters(fits["hierarchical"]),),
        warnings=tuple(f"{title_of(name)}: {said}" for name, fit in fits.items() for said in fit.warnings),
    )


def _says(found: Dataset, fits: dict[str, Fit]) -> tuple[str, ...]:
    block, said = found.design.blocks[0], []
    for k, term in enumerate(block.terms):
        reml, bayes = (fits[name].group_effects[0].coefficient for name in ("reml", "hierarchical"))
        gap = np.abs(reml.estimate[:, k] - bayes.estimate[:, k])
        j = int(np.argmax(gap))
        width = [part.conf_high[:, k] - part.conf_low[:, k] for part in (reml, bayes)]
        wider = int(np.sum(width[1] > width[0]))
        what = "" if len(block.terms) == 1 else f"For {term}: "
        said.append(
            f"{what}REML and full Bayes lie at most {significant(float(gap[j]), 3)} apart, at {block.group} "
            f"{block.levels[j]}; full Bayes's 95 % intervals are longer than REML's in {wider} of {len(gap)} groups, "
            f"the median one {significant(float(np.median(width[1] / width[0])), 3)} times as long."
        )
    return tuple(said)


def _intervals(found: Dataset, fits: dict[str, Fit], k: int) -> Drawing:
    block, marks, every = found.design.blocks[0], list[Mark](), []
    order = np.argsort(fits["reml"].group_effects[0].coefficient.estimate[:, k], kind="stable")
    for shift, (name, fit) in zip((-0.14, 0.14), fits.items(), strict=True):
        part, own = fit.group_effects[0].coefficient, look(name)
        at = np.arange(1.0, len(order) + 1) + shift
        low, point, high = (x[order, k] for x in (part.conf_low, part.estimate, part.conf_high))
        every += [low, high]
        names = tuple(f"{block.group} {block.levels[j]}: {significant(float(part.estimate[j, k]))}" for j in order)
        marks += [
            Segments(at, low, at, high, own.colour, width=1.5),
            Dots(at, point, own.colour, own.marker, own.filled, 4.5, f"{title_of(name)}, {part.interval}", names),
        ]
    title = f"{block.terms[k]} by {block.group}, with intervals"
    panel = Panel(
        tuple(marks), (0.3, len(order) + 0.7), limits(*every), f"{block.group}, sorted by REML's estimate",
        found.design.response, x_ticks=groups.names_across([block.levels[j] for j in order]), height=340.0,
    )  # fmt: skip
    return Drawing(f"sampled-{k}", title, _says(found, fits)[k], ((panel,),))


def _parameters(fit: Fit) -> Numbers:
    assert fit.parameters is not None
    e = fit.parameters.estimates
    rows = tuple(
        (
            f"parameter-{k}",
            (name, *(significant(float(x[k])) for x in (e.estimate, e.std_error, e.conf_low, e.conf_high)),
             "" if e.r_hat is None else f"{float(e.r_hat[k]):.3f}"),
        )
        for k, name in enumerate(fit.parameters.names)
    )  # fmt: skip
    return Numbers("Posterior of the parameters", ("parameter", "mean", "SD", "from", "to", "R-hat"), rows,
                   (f"Interval: {e.interval}.",))  # fmt: skip

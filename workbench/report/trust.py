"""What keeps a fit from being trusted, in words: its own warnings, and what its diagnostics say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import title_of
from workbench.report.context import FigureCheck
from workbench.sampling.diagnostics import ESS, R_HAT, cut_short, low_energy
from workbench.words import count, join, significant

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit


@dataclass(frozen=True)
class Banner:
    """Something that the reader must know before any number: `grave` where a fit is not to be trusted."""

    text: str
    grave: bool


def banners(comparison: Comparison, figures: Sequence[FigureCheck] = ()) -> tuple[Banner, ...]:
    """Every warning of every fit, once, and what the diagnostics say against a fit."""
    heard: dict[str, list[str]] = {}
    grave: dict[str, bool] = {}
    for name, fit in comparison.fits.items():
        own = [(text, text not in fit.design.notes and not trusted(fit)) for text in fit.warnings]
        for text, bad in [*own, *objections(fit)]:
            heard.setdefault(text, []).append(title_of(name))
            grave[text] = grave.get(text, False) or bad
    made = []
    for text, names in heard.items():
        everyone = len(names) == len(comparison.fits)
        made.append(Banner(text if everyone else f"{join(names)}: {text}", grave[text]))
    if comparison.sampling is not None and not comparison.sampling.agrees:
        made.append(Banner(comparison.sampling.sentence, True))
    missed = [figure for figure in figures if not figure.holds]
    if missed:
        quantities = join(f"{figure.quantity} ({title_of(figure.estimator)})" for figure in missed[:5])
        made.append(
            Banner(
                f"{len(missed):,} of {count(len(figures), 'reference figure')} not reached: {quantities}.",
                True,
            )
        )
    return tuple(sorted(made, key=lambda banner: not banner.grave))


def trusted(fit: Fit) -> bool:
    """Whether a fit converged and, if it was sampled, its chains agree, suffice, did not diverge and moved."""
    d = fit.diagnostics
    r_hat, ess, diverged = (float(d.get(key, np.nan)) for key in ("r_hat", "ess_bulk", "divergences"))
    return fit.converged and not (r_hat > R_HAT or ess < ESS or diverged > 0 or low_energy(d))


def remarks(fit: Fit) -> tuple[str, ...]:
    """What is said of this fit alone: its warnings and objections, without what holds for any fit of its design."""
    said = (*(text for text in fit.warnings if text not in fit.design.notes), *(text for text, _ in objections(fit)))
    return tuple(text[0].upper() + text[1:] for text in said)


def objections(fit: Fit) -> list[tuple[str, bool]]:
    """What speaks against a fit, in words, where its own warnings do not say so already, and whether it is grave."""
    own = " ".join(fit.warnings).lower()
    d = fit.diagnostics
    r_hat, ess, diverged = (float(d.get(key, np.nan)) for key in ("r_hat", "ess_bulk", "divergences"))
    every = [
        (
            not fit.converged and not (r_hat > R_HAT or ess < ESS or diverged > 0 or low_energy(d)),  # which say why
            ("converge", "certified", "divergence", "r-hat", "effective sample", "e-bfmi"),
            "did not converge. Its numbers are where it stopped, not where it should end.",
            True,
        ),
        (
            fit.singular,
            ("singular",),
            "the fit is singular: a standard deviation between groups is estimated as zero, or a correlation as ±1.",
            False,
        ),
        (
            r_hat > R_HAT,
            ("r-hat",),
            f"R-hat reaches {significant(r_hat)}, above {R_HAT}: the chains do not agree. Draw more.",
            True,
        ),
        (
            ess < ESS,
            ("effective sample",),
            f"the smallest effective sample size is {ess:,.0f}, below {ESS}: its intervals are rough. Draw more.",
            True,
        ),
        (
            diverged > 0,
            ("diverge",),
            f"{count(int(diverged) if diverged > 0 else 0, 'transition')} diverged: part of the "
            "posterior may not have been reached.",
            True,
        ),
        (bool(low_energy(d)), ("e-bfmi",), low_energy(d), True),
        (bool(cut_short(d)), ("tree depth",), cut_short(d), False),
    ]
    return [(text, bad) for holds, words, text, bad in every if holds and not any(w in own for w in words)]

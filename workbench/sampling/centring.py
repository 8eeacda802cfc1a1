"""Which random blocks of the explicit model are centred: those whose data say more about a group than the spread does.

A centred block samples its groups' coefficients themselves, a non-centred one how many SDs they lie from their mean.
Where the data fix every group, the first is nearly a product of independent densities; where they say little, the
second is, and the first is a funnel with tau (Papaspiliopoulos, Roberts & Skoeld 2007,
doi:10.1214/088342307000000014; Betancourt & Girolami 2015, arXiv:1312.0906). What tells them apart is how much of a
group's variance the data take away, its reliability

    r_j = 1 - Var(u_j | y, b, theta, sigma) / Var(u_j | theta),        between 0 and 1,

at the REML estimates; for one varying intercept this is tau^2 / (tau^2 + sigma^2 / n_j). The effects of the other
blocks are integrated out: in nested factors the rows of a batch say much about the sum of batch and cask, but less
about the batch. Counts are first made gaussian: penalised quasi-likelihood (Breslow & Clayton 1993,
doi:10.1080/01621459.1993.10594284) fits the working response of the generalized linear model, whose error variances are
known, by REML, a few times over; of Student-t residuals rows are weighted down by how far they lie out (Lange, Little &
Taylor 1989, doi:10.1080/01621459.1989.10478852).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.answer import answer, refuse_without_residual
from workbench.coordinates import Searched
from workbench.data import read_only
from workbench.design import Design
from workbench.errors import OptionError, WorkbenchError, nearest
from workbench.families import family_of
from workbench.fit import Fit
from workbench.moments import moments
from workbench.optimum import optimum
from workbench.sampling.names import block_names
from workbench.words import join

Array = NDArray[np.float64]
Parametrisation = str | Mapping[str, str]

KINDS = ("noncentered", "centered")
RELIABLE = 0.8
"""From this mean reliability on a block is centred.

Seen with default priors, 4 chains of 1,000 draws, target acceptance 0.95: effective sample sizes of sd and of
population coefficients (the least), and divergences, non-centred against centred.

=====================  ===========  ==================  ==================  ===========
block                  reliability  ESS of sd           ESS of b            divergences
=====================  ===========  ==================  ==================  ===========
twelve groups          0.36         721 / 463           1,027 / 1,866       0 / 1
Pastes, batch          0.36         810 / 73            2,752 / 1,081       0 / 9
grouseticks, 3 blocks  0.31 - 0.46  348 and more / -    735 / -             0 / -
cbpp, herd             0.68         1,384 / 1,674       1,329 / 2,244       0 / 0
Dyestuff, Batch        0.78         459 / 1,341         788 / 2,584         0 / 4
sleepstudy, Subject    0.80         1,005 / 2,675       1,203 / 4,548       0 / 0
Pastes, cask           0.85         981 / 2,662         1,554 / 2,752       0 / 0
Penicillin, plate      0.90         576 / 5,576         193 / 3,714         0 / 0
Penicillin, sample     0.99         152 / 4,327         the same            0 / 0
=====================  ===========  ==================  ==================  ===========

Of Pastes and Penicillin the other block is centred, or not, as its own reliability says; of Penicillin's rows both
change. Centring pays from a half on, as it should, but six batches still leave tau near zero possible, and there it
diverges.
"""
ROUNDS = 4
"""Fits of the working response; the reliability has settled to a few percent by then."""
TAILS = 4.0
"""Degrees of freedom by which outlying rows lose weight."""
FARTHEST = 10.0
"""Working linear predictors stay this near to zero on the link's scale, where slopes still say something."""


def reliabilities(design: Design, robust: bool = False) -> tuple[float, ...]:
    """The mean reliability of every random block's effects, over levels and varying terms; 0 where tau is zero.

    With `robust`, of Student-t residuals of `TAILS` degrees of freedom.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> [round(r, 3) for r in reliabilities(design)]   # tau^2 = 6.083, sigma^2 = 0.5, n = 2
    [0.961]
    """
    if design.family != "gaussian":
        fit = _of_counts(design)
    else:
        fit = _of_heavy_tails(design) if robust else _maximised(design)
    found = []
    for part, component in zip(fit.group_effects, fit.components, strict=True):
        variance = np.diag(component.covariance)
        known = variance > 0
        left = part.effect.std_error[:, known] ** 2 / variance[known]
        found.append(float(np.sum(1 - left) / (left.shape[0] * len(known))))
    return tuple(found)


def check_parametrisation(given: Parametrisation) -> None:
    """Refuse a choice that is none of ``auto``, ``noncentered``, ``centered`` or a mapping of names to them."""
    known = ("auto", *KINDS)
    for value in given.values() if isinstance(given, Mapping) else (given,):
        if value not in known:
            raise OptionError(f"parametrisation is {value!r}. {nearest(str(value), known)}")


def choose(design: Design, given: Parametrisation = "auto", robust: bool = False) -> tuple[tuple[str, ...], str]:
    """The parametrisation of every random block, and why in a sentence.

    Parameters
    ----------
    design : Design
    given : "auto", "noncentered", "centered", or a mapping of block or group names to one of them
        What a mapping does not name is chosen as by "auto".
    robust : bool
        Student-t residuals.

    Raises
    ------
    OptionError
        A name that is no random block (:func:`workbench.sampling.names.block_names`) and no grouping factor.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> choose(design)
    (('centered',), 'Parametrisation by how much the data say: g centered (reliability 0.96).')
    >>> choose(design, {"g": "noncentered"})
    (('noncentered',), 'Parametrisation as stated: g noncentered.')
    """
    check_parametrisation(given)
    names = block_names(design)
    stated = _stated(design, names, given)
    if all(kind != "auto" for kind in stated):
        return tuple(stated), f"Parametrisation as stated: {listed(design, stated)}."
    try:
        found = reliabilities(design, robust)
    except (WorkbenchError, np.linalg.LinAlgError) as error:
        kinds = tuple("noncentered" if kind == "auto" else kind for kind in stated)
        return kinds, f"Parametrisation: {listed(design, kinds)}; how much the data say is not known ({error})."
    kinds = tuple((KINDS[r >= RELIABLE] if kind == "auto" else kind) for kind, r in zip(stated, found, strict=True))
    why = [f" (reliability {r:.2f})" if kind == "auto" else " (stated)" for kind, r in zip(stated, found, strict=True)]
    return kinds, f"Parametrisation by how much the data say: {listed(design, kinds, why)}."


def other(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """What to try where these diverged: all blocks non-centred, or, where they were, all centred."""
    return (KINDS[all(kind == "noncentered" for kind in kinds)],) * len(kinds)


# --- parts --------------------------------------------------------------------------------------------


def _maximised(design: Design) -> Fit:
    """The REML fit of a gaussian design."""
    data = moments(design)
    searched = Searched.of(data, True)
    refuse_without_residual(design, searched)
    return answer(design, data, optimum(data, True, searched), True, 0.95)


def _of_heavy_tails(design: Design) -> Fit:
    """The REML fit in which rows that lie far out hardly count."""
    fit = _maximised(design)
    for _ in range(ROUNDS):
        z2 = design.weights * (fit.residuals / fit.sigma) ** 2
        weights = design.weights * (TAILS + 1) / (TAILS + z2)
        fit = _maximised(replace(design, weights=read_only(weights)))
    return fit


def _of_counts(design: Design) -> Fit:
    """The REML fit of the last working response."""
    family = family_of(design.family, design.link)
    mean = family.start(np.array(design.y), np.array(design.weights))
    predictor = family.link(mean)
    for _ in range(ROUNDS):
        predictor = np.clip(predictor, -FARTHEST, FARTHEST)
        working = replace(
            design,
            family="gaussian",
            link="identity",
            y=read_only(predictor + (design.y - family.inverse(predictor)) / family.slope(predictor)),
            weights=read_only(design.weights * family.information(predictor)),
            known_se=True,
        )
        fit = _maximised(working)
        predictor = np.array(fit.fitted)
    return fit


def _stated(design: Design, names: list[str], given: Parametrisation) -> list[str]:
    if isinstance(given, str):
        return [given] * len(names)
    known = dict.fromkeys([*names, *design.groups])
    for name in given:
        if name not in known:
            raise OptionError(
                f"parametrisation names {name!r}, which is no random block or grouping factor here. "
                f"{nearest(str(name), known)}"
            )
    return [given.get(name, given.get(block.group, "auto")) for name, block in zip(names, design.blocks, strict=True)]


def listed(design: Design, kinds: Sequence[str], why: Sequence[str] = ()) -> str:
    """The blocks with their parametrisations, and the reasons, for a sentence."""
    groups, more = [block.group for block in design.blocks], why or [""] * len(kinds)
    several = [f" ({', '.join(block.terms)})" * (groups.count(block.group) > 1) for block in design.blocks]
    parts = zip(groups, several, kinds, more, strict=True)
    return join([f"{group}{terms} {kind}{reason}" for group, terms, kind, reason in parts])

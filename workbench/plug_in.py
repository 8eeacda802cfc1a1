"""What a fixed prior plugs in: the mean and covariance of group coefficients, from a fit or as the user states them.

Every level's coefficient of a varying column is its population value, which is held at the plugged-in mean, plus an
effect with mean zero and the plugged-in covariance. Effects and means of a fit are found by name (population
coefficients by term, spreads by group and term), so that the fit may be of another formula, or of other data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.grouped import RestPrior
from workbench.data import read_only
from workbench.design import Design, RandomBlock
from workbench.errors import OptionError, PriorError, nearest
from workbench.fit import Fit
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior, canonical, coefficient_name

Array = NDArray[np.float64]
Stated = float | Mapping[str, float] | None


@dataclass(frozen=True, eq=False)
class PlugIn:
    """Prior of the group coefficients of a design, by random block.

    Attributes
    ----------
    means : tuple of array, shape (q,)
        Of the coefficients. A varying column without a population coefficient has mean 0 unless one is stated.
    covariances : tuple of array, shape (q, q)
    population : mapping of int to float
        Values at which population coefficients of columns that do not vary are held, by column of X; the others are
        estimated with the effects.
    """

    means: tuple[Array, ...]
    covariances: tuple[Array, ...]
    population: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))

    def independent(self) -> PlugIn:
        """The same without correlations."""
        return replace(self, covariances=tuple(np.diag(np.diag(S)) for S in self.covariances))

    def of_group(self, design: Design, group: str) -> Array:
        """Covariance of all varying columns of a factor, block by block; between blocks it is zero."""
        own = [S for block, S in zip(design.blocks, self.covariances, strict=True) if block.group == group]
        whole = np.zeros(2 * (sum(len(S) for S in own),))
        start = 0
        for S in own:
            stop = start + len(S)
            whole[start:stop, start:stop] = S
            start = stop
        return whole


def plug_in(design: Design, source: Fit | None, mean: Stated = None, sd: Stated = None) -> PlugIn:
    """Prior of a design's group coefficients.

    Parameters
    ----------
    design : Design
    source : Fit or None
        Where means and covariances come from; None if `mean` and `sd` say everything.
    mean : number, mapping of term to number, or None
        Stated means, in place of the source's.
    sd : number, mapping, or None
        Stated SDs, in place of the source's, by term (``Days``), group (``sd(Subject)``) or both
        (``sd(Subject, Days)``); the source's correlations are kept.

    Raises
    ------
    OptionError
        A name that stands on nothing here, a mean or SD that neither the source nor the statement has, an SD that is
        negative or not finite.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> design = build_design("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "g": list("aabb")})
    >>> prior = plug_in(design, None, mean=2.5, sd={"sd(g)": 0.5})
    >>> prior.means[0].tolist(), prior.covariances[0].tolist()
    ([2.5], [[0.25]])
    """
    _check_source(design, source)
    means = _means(design, source, mean)
    covariances = tuple(
        _covariance(block, source, [_stated_sd(sd, block, term) for term in block.terms]) for block in design.blocks
    )
    _check_names(design, mean, sd)
    return PlugIn(means, covariances)


def says_everything(design: Design, mean: Stated, sd: Stated) -> bool:
    """Whether stated means and SDs leave nothing for a fit to fill in."""
    paired = {
        term for block in design.blocks for term, k in zip(block.terms, block.fixed, strict=True) if k is not None
    }
    all_means = paired <= set(mean or ()) if mean is None or isinstance(mean, Mapping) else True
    return all_means and all(_stated_sd(sd, block, term) is not None for block in design.blocks for term in block.terms)


# --- the regression that is left ----------------------------------------------------------------------


def with_population(design: Design, prior: PlugIn, source: Fit, free: Collection[str]) -> PlugIn:
    """The same with a fit's population coefficients held, for columns that do not vary; those named stay free."""
    known = dict(zip(source.design.fixed_terms, source.population.estimate.tolist(), strict=True))
    names = {k: design.fixed_terms[k] for k in rest_columns(design)}
    found = {k: known[name] for k, name in names.items() if name in known and coefficient_name(name) not in free}
    return replace(prior, population=MappingProxyType(found))


def rest_columns(design: Design, population: Collection[int] = ()) -> list[int]:
    """Columns of X that vary by no group and are not held; the coefficients of the others are plugged in."""
    plugged = {k for block in design.blocks for k in block.fixed if k is not None}
    return [k for k in range(design.X.shape[1]) if k not in plugged and k not in population]


def held(design: Design, means: Sequence[Array], population: Mapping[int, float] = MappingProxyType({})) -> Design:
    """The regression on effects and on the columns that are free, with the part of what is held in the offset."""
    rest = rest_columns(design, population)
    offset, done = design.offset, set()
    for k, value in population.items():
        offset = offset + design.X[:, k] * value
    for block, mean in zip(design.blocks, means, strict=True):
        for k, column in enumerate(block.fixed):
            if column is None:
                offset = offset + block.Z[:, k] * mean[k] if mean[k] else offset
            elif column not in done:
                done.add(column)
                offset = offset + design.X[:, column] * mean[k]
    return replace(
        design,
        X=design.X if len(rest) == design.X.shape[1] else read_only(design.X[:, rest]),
        fixed_terms=tuple(design.fixed_terms[k] for k in rest),
        blocks=tuple(replace(block, fixed=(None,) * len(block.fixed)) for block in design.blocks),
        offset=read_only(offset),
    )


def stated_priors(design: Design, given: Mapping[str, Any]) -> Mapping[str, Prior]:
    """Priors that were stated for population coefficients that do not vary, by coefficient.

    Raises
    ------
    PriorError
        As :func:`workbench.prior_defaults.resolve_priors`; or a kind that is neither normal nor Student-t nor flat.
    """
    if not given:
        return {}
    resolved = resolve_priors(design, given, robust=True)  # a prior on nu is another estimator's
    named = {canonical(key) for key in given}
    found = {}
    for k in rest_columns(design):
        term = design.fixed_terms[k]
        name = coefficient_name(term)
        if name in named or ("b" in named and term != "(Intercept)"):
            if resolved[name].kind == "Uniform":
                raise PriorError(
                    f"{resolved[name]} cannot be the prior of {name} here. Use Normal, StudentT, Cauchy or Flat."
                )
            found[name] = resolved[name]
    return found


def rest_prior(design: Design, stated: Mapping[str, Prior], population: Collection[int] = ()) -> RestPrior:
    """The columns that do not vary, and are not held, with their priors: flat, or as stated."""
    rest = rest_columns(design, population)
    flat = RestPrior.flat(len(rest))
    mean, scale, df = flat.mean.copy(), flat.scale.copy(), flat.df.copy()
    for k, column in enumerate(rest):
        prior = stated.get(coefficient_name(design.fixed_terms[column]))
        if prior is None:
            continue
        v = prior.values
        match prior.kind:
            case "Normal":
                mean[k], scale[k] = v
            case "Cauchy":
                mean[k], scale[k], df[k] = *v, 1.0
            case "StudentT":
                df[k], mean[k], scale[k] = v
    return RestPrior(mean, scale, df)


# --- means and covariances ----------------------------------------------------------------------------


def _check_source(design: Design, source: Fit | None) -> None:
    if source is None:
        return
    a, b = (design.family, design.link), (source.design.family, source.design.link)
    if a != b:
        raise OptionError(
            f"The plugged-in fit is of a {b[0]} response with {b[1]} link, this model of {a[0]} with {a[1]}: their "
            "coefficients are on different scales. Plug in a fit of the same family and link."
        )
    if not source.components:
        raise OptionError(f"{source.estimator} estimates no spread between groups. Plug in a fit of reml or ml.")


def _means(design: Design, source: Fit | None, mean: Stated) -> tuple[Array, ...]:
    known = {} if source is None else dict(zip(source.design.fixed_terms, source.population.estimate, strict=True))
    found, given_away = [], set()
    for block in design.blocks:
        values = np.zeros(len(block.terms))
        for k, (term, column) in enumerate(zip(block.terms, block.fixed, strict=True)):
            stated = mean.get(term) if isinstance(mean, Mapping) else mean
            if column is None:  # without a population coefficient, the first factor that lets it vary has the mean
                values[k] = 0.0 if stated is None or term in given_away else stated
                given_away.add(term)
            elif stated is not None:
                values[k] = stated
            elif term in known:
                values[k] = known[term]
            else:
                raise _missing(term, source, known, "population coefficient ")
        found.append(values)
    if not all(np.isfinite(values).all() for values in found):
        raise OptionError(f"The prior needs finite means, but they are {[v.tolist() for v in found]}.")
    return tuple(found)


def _covariance(block: RandomBlock, source: Fit | None, stated: list[float | None]) -> Array:
    """Covariance of a block: the source's, between terms that it lets correlate, with stated SDs in their place."""
    q = len(block.terms)
    own = np.zeros((q, q))
    known = [] if source is None else [(part, k) for part in source.components for k in range(len(part.terms))]
    names = {(part.group, part.terms[k]): (part, k) for part, k in known}
    places = []
    for k, term in enumerate(block.terms):
        place = names.get((block.group, term))
        if place is None and stated[k] is None:
            raise _missing(f"sd({block.group}, {term})", source, [f"sd({g}, {t})" for g, t in names])
        places.append(place)
    for a, first in enumerate(places):
        for b, second in enumerate(places):
            if first is not None and second is not None and first[0] is second[0]:
                own[a, b] = first[0].covariance[first[1], second[1]]
    old = np.sqrt(np.diag(own))
    sd = np.array([o if s is None else s for o, s in zip(old, stated, strict=True)])
    if (sd < 0).any() or not np.isfinite(sd).all():
        raise OptionError(f"The prior needs finite SDs of 0 or more, but those of {block.group} are {sd.tolist()}.")
    if not any(s is not None for s in stated):
        return own
    ratio = np.divide(sd, old, out=np.zeros(q), where=old > 0)
    scaled = own * np.outer(ratio, ratio)
    np.fill_diagonal(scaled, sd**2)
    return np.asarray(scaled)


def _missing(what: str, source: Fit | None, known: Any, kind: str = "") -> OptionError:
    option = "mean" if kind else "sd"
    if source is None:
        return OptionError(f"Nothing says the {kind}{what}. State it ({option}=), or plug in a fit (plug_in=).")
    return OptionError(
        f"The plugged-in fit ({source.design.formula}) has no {kind}{what}. {nearest(what, list(known))} Or state it "
        f"({option}=)."
    )


def _stated_sd(sd: Stated, block: RandomBlock, term: str) -> float | None:
    """The most specific statement that reaches a varying column."""
    if not isinstance(sd, Mapping):
        return sd
    named = {canonical(str(key)): value for key, value in sd.items()}
    for key in (f"sd({block.group}, {term})", term, f"sd({block.group})", "sd"):
        if key in named:
            return float(named[key])
    return None


def _check_names(design: Design, mean: Stated, sd: Stated) -> None:
    terms = list(dict.fromkeys(reduce(add, (block.terms for block in design.blocks))))
    spreads = [f"sd({block.group}, {term})" for block in design.blocks for term in block.terms]
    allowed = {"mean": terms, "sd": [*terms, *spreads, *(f"sd({group})" for group in design.groups), "sd"]}
    for what, given in (("mean", mean), ("sd", sd)):
        for name in given if isinstance(given, Mapping) else ():
            if canonical(str(name)) not in allowed[what]:
                raise OptionError(
                    f"{what} names the term {name!r}, which does not vary. {nearest(str(name), allowed[what])}"
                )

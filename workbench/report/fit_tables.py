"""The tables of one fit, for terminals and notebooks: population coefficients, variance components, group effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.plots.varying import printable
from workbench.report import extremes
from workbench.report.cells import Cell, Column, Table, number, text
from workbench.report.labels import labels
from workbench.words import places_for, significant

if TYPE_CHECKING:
    from workbench.bayesglm.answer import BayesGlm
    from workbench.estimates import Estimates, GroupEffects
    from workbench.fit import Fit

LEVELS = 24
"""Up to so many terms, or rows of group effects, are shown."""


def population(terms: tuple[str, ...], found: Estimates, most: int = LEVELS, where: str = "fit.fixed") -> Table:
    """Coefficients with their errors and intervals, the first `most` of them.

    Parameters
    ----------
    terms : tuple of str
    found : Estimates, shape (p,)
    most : int
    where : str
        Holds them all.
    """
    rows: list[tuple[Cell, ...]] = []
    for k, term in enumerate(terms[:most]):
        numbers = [float(getattr(found, name)[k]) for name in ("estimate", "std_error", "conf_low", "conf_high")]
        places = places_for([numbers[1]], [numbers[0]])
        rows.append((text(printable(term)), *(number(value, places) for value in numbers)))
    if len(terms) > most:
        rows.append((Cell(f"… and {len(terms) - most:,} more, all in {where}"),))
    heads = (Column("term", numeric=False), *map(Column, ("estimate", "std. error", "from", "to")))
    notes = (f"{found.point}; {found.std_error_kind}; {found.interval}",)
    return Table("fixed", "Population coefficients", heads, tuple(rows), (), notes)


def components(fit: Fit) -> Table:
    """Standard deviations and correlations of one fit."""
    rows: list[tuple[Cell, ...]] = []
    for part in fit.components:
        q = len(part.terms)
        rows += [(text(part.group), text(part.terms[k]), number(float(part.sd[k]))) for k in range(q)]
        rows += [
            (text(part.group), text(f"cor({part.terms[a]}, {part.terms[b]})"), number(float(part.correlation[a, b])))
            for a in range(q)
            for b in range(a + 1, q)
        ]
    if fit.design.estimates_dispersion:
        rows.append((text("residual"), text(""), number(fit.sigma)))
    heads = (Column("group", numeric=False), Column("component", numeric=False), Column("SD or corr."))
    return Table("variance", "Variance components", heads, tuple(rows))


def effects(part: GroupEffects, most: int = LEVELS) -> Table:
    """One block's effects (deviations) beside its coefficients: all, or the levels at both ends of the first term."""
    J, q = len(part.levels), len(part.terms)
    room = max(2, most // q)
    low, high = extremes.ends(part.effect.estimate[:, 0], room, room // 2)
    errors = part.effect.std_error.ravel()
    places = places_for(errors, part.effect.estimate.ravel())
    values = (part.effect.estimate, part.effect.std_error, part.coefficient.estimate)

    names_of = dict(zip((*low, *high), labels((part.levels[j] for j in (*low, *high)), 18, 40), strict=True))

    def row(j: int, k: int) -> tuple[Cell, ...]:
        size = int(part.sizes[j])
        names = text(names_of[j], part.levels[j]), text(printable(part.terms[k], 18)), Cell(f"{size:,}", float(size))
        return (*names, *(number(float(value[j, k]), places) for value in values))

    rows = [row(j, k) for j in low for k in range(q)]
    notes = [f"{part.effect.point}; std. error of the effect: {part.effect.std_error_kind}"]
    if high:
        rest = J - len(low) - len(high)
        rows += [(Cell(f"… and {rest:,} more"),), *(row(j, k) for j in high for k in range(q))]
        of = f" of {part.terms[0]}" if q > 1 else ""
        shown = f"The {len(low)} lowest and {len(high)} highest by their effect{of}"
        notes.append(f"{shown}; {rest:,} more levels are in fit.effects")
    heads = (
        Column(part.group, numeric=False), Column("term", numeric=False), Column("n"), Column("effect"),
        Column("std. error"), Column("coefficient"),
    )  # fmt: skip
    return Table("effects", f"Group effects by {part.group}", heads, tuple(rows), (), tuple(notes))


def criteria(fit: Fit | BayesGlm) -> str:
    """The criterion, if there is one, and what follows from it: log likelihood, AIC, BIC, parameters."""
    criterion = getattr(fit, "criterion", None)
    named = {} if criterion is None else {criterion.name: criterion.value}
    named |= {"log likelihood": fit.log_likelihood, "AIC": fit.aic, "BIC": fit.bic}
    line = ", ".join(f"{name} {significant(value, 8)}" for name, value in named.items() if value is not None)
    return line + (f", {fit.df} parameters" if fit.df is not None and line else "")

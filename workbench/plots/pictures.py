"""Which pictures a report shows, in which order, and what each needs; :func:`prints` lays them out for a comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.plots import (
    caterpillar,
    covariance,
    descent,
    iterations,
    lattice,
    path,
    plane,
    predictive,
    ranks,
    samples,
    shrinkage,
    shrinkage_by_size,
    shrunken,
    slope_graph,
    spread,
    tau_axis,
    variances,
    versus,
)
from workbench.plots.pairs import Pair, pairs
from workbench.plots.varying import Varying, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.comparison import Comparison


@dataclass(frozen=True)
class Picture:
    """One entry in the table of pictures that a report shows.

    Attributes
    ----------
    stem : str
        Of its files.
    title : str
    applies : callable
        Whether a comparison has what the picture needs.
    each : "group", "term", "pair" or "all"
        Whether it is drawn for each grouping factor, each varying term, the first pair of terms of each grouping
        factor, or once for all.
    view, draw : callable
    """

    stem: str
    title: str
    applies: Callable[[Comparison], bool]
    each: str
    view: Callable[[Comparison, Any], Any]
    draw: Callable[[Any], Any]


PICTURES: tuple[Picture, ...] = (
    Picture("samples", "The samples", lambda comparison: True, "group", samples.view, samples.draw),
    Picture("shrunken", "Shrunken towards each other", shrunken.applies, "term", shrunken.view, shrunken.draw),
    Picture("versus", "Mixed model and Bayes", versus.applies, "term", versus.view, versus.draw),
    Picture("shrinkage", "All estimators side by side", lambda c: True, "all", shrinkage.view, shrinkage.draw),
    Picture(
        "slope_graph", "From no pooling through every estimator", slope_graph.applies, "term", slope_graph.view,
        slope_graph.draw,
    ),
    Picture(
        "caterpillar", "Every group with its interval", caterpillar.applies, "term", caterpillar.view, caterpillar.draw,
    ),
    Picture(
        "shrinkage_by_size", "Shrinkage by group size", shrinkage_by_size.applies, "term", shrinkage_by_size.view,
        shrinkage_by_size.draw,
    ),
    Picture("ranks", "Ranks by estimator", ranks.applies, "term", ranks.view, ranks.draw),
    Picture("plane", "Two terms at once", plane.applies, "pair", plane.view, plane.draw),
    Picture("lattice", "Every group's regression", lattice.applies, "group", lattice.view, lattice.draw),
    Picture("path", "From no pooling to complete pooling", path.applies, "term", path.view, path.draw),
    Picture("tau_axis", "The tau axis", tau_axis.applies, "term", tau_axis.view, tau_axis.draw),
    Picture("spread", "The spread between groups", spread.applies, "term", spread.view, spread.draw),
    Picture("variances", "The variance parameters", variances.applies, "all", variances.view, variances.draw),
    Picture("covariance", "How responses vary together", covariance.applies, "all", covariance.view, covariance.draw),
    Picture(
        "posterior_predictive", "What the model would have made", predictive.applies, "all", predictive.view,
        predictive.draw,
    ),
    Picture(
        "prior_predictive", "What the priors foresee", predictive.prior_applies, "all", predictive.prior_view,
        predictive.draw,
    ),
    Picture("iterations", "Variances by iteration", iterations.applies, "all", iterations.view, iterations.draw),
    Picture("descent", "Down to the same numbers", descent.applies, "all", descent.view, descent.draw),
)  # fmt: skip
"""What a report shows, in this order."""


@dataclass(frozen=True, eq=False)
class Print:
    """A picture laid out for one comparison: its own file stem and title, and the view to draw."""

    stem: str
    title: str
    view: Any
    picture: Picture

    def figure(self) -> Figure:
        """Draw it on a figure of its own."""
        drawn = self.picture.draw(self.view)
        first: Axes = drawn[0] if isinstance(drawn, tuple) else drawn
        found = first.get_figure(root=True)
        assert found is not None
        return found


def prints(comparison: Comparison) -> Iterator[Print]:
    """Lay out every picture that a comparison has what it takes for, in the order of `PICTURES`."""
    terms = varying(comparison)
    for picture in PICTURES:
        if not picture.applies(comparison):
            continue
        if picture.each == "all":
            yield Print(picture.stem, picture.title, picture.view(comparison, terms), picture)
            continue
        chosen: Sequence[Varying | Pair] = terms if picture.each == "term" else _first_of_each_group(terms)
        if picture.each == "pair":
            chosen = pairs(terms)
        used: set[str] = set()
        for v in chosen:
            name = v.group if picture.each == "group" else v.term
            several_groups = len({u.group for u in chosen}) > 1
            words = f"{name}, by {v.group}" if picture.each != "group" and several_groups else name
            stem = picture.stem if len(chosen) == 1 else _unused(f"{picture.stem}_{_slug(words)}", used)
            title = picture.title if len(chosen) == 1 else f"{picture.title}: {words}"
            yield Print(stem, title, picture.view(comparison, v), picture)


def _first_of_each_group(terms: tuple[Varying, ...]) -> tuple[Varying, ...]:
    return tuple({v.group: v for v in reversed(terms)}[group] for group in dict.fromkeys(v.group for v in terms))


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()[:40] or "term"


def _unused(stem: str, used: set[str]) -> str:
    name, count = stem, 2
    while name in used:
        name, count = f"{stem}_{count}", count + 1
    used.add(name)
    return name

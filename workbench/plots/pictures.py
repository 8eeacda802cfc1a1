"""Which pictures a report shows, in which order, and what each needs; :func:`prints` lays them out for a comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from workbench.plots import (
    agreement,
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


def _of(room: ModuleType, title: str, each: str) -> Picture:
    """The picture of a file beside this one, called as the file is."""
    stem = room.__name__.rpartition(".")[2]
    return Picture(stem, title, getattr(room, "applies", lambda comparison: True), each, room.view, room.draw)


PICTURES: tuple[Picture, ...] = (
    _of(samples, "The samples", "group"),
    _of(shrunken, "Shrunken towards each other", "term"),
    _of(versus, "Mixed model and Bayes", "term"),
    _of(shrinkage, "All estimators side by side", "all"),
    _of(slope_graph, "From no pooling through every estimator", "term"),
    _of(agreement, "Agreement of estimators", "term"),
    _of(caterpillar, "Every group with its interval", "term"),
    _of(ranks, "Ranks by estimator", "term"),
    _of(plane, "Two terms at once", "pair"),
    _of(lattice, "Every group's regression", "group"),
    _of(shrinkage_by_size, "Shrinkage by group size", "term"),
    _of(path, "From no pooling to complete pooling", "term"),
    _of(tau_axis, "The tau axis", "term"),
    _of(spread, "The spread between groups", "term"),
    _of(variances, "The variance parameters", "all"),
    _of(covariance, "How responses vary together", "all"),
    Picture(
        "posterior_predictive", "What the model would have made", predictive.applies, "all", predictive.view,
        predictive.draw,
    ),
    Picture(
        "prior_predictive", "What the priors foresee", predictive.prior_applies, "all", predictive.prior_view,
        predictive.draw,
    ),
    _of(iterations, "Variances by iteration", "all"),
    _of(descent, "Down to the same numbers", "all"),
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

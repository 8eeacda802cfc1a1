"""The pictures of a comparison: a plain view first, drawn with matplotlib afterwards.

Each picture has a file of its own with ``view(comparison, ...)``, which lays out positions, labels,
captions and alternative texts as plain data, and ``draw(view, ax)``, which puts them on Axes. matplotlib is
loaded when something is drawn; its pyplot state and its settings are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.plots import (
    covariance,
    descent,
    iterations,
    path,
    predictive,
    samples,
    shrinkage,
    shrunken,
    versus,
)
from workbench.plots.varying import Varying, pick, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.comparison import Comparison

__all__ = ["PICTURES", "Picture", "Plots", "Print", "prints"]


class Plots:
    """The pictures of one comparison; each method draws one and returns matplotlib Axes.

    Parameters
    ----------
    comparison : Comparison

    Notes
    -----
    Without `ax` a picture gets a figure of its own: ``comparison.plot.samples().figure.savefig("a.png")``.
    `term` and `group` choose a varying term; the first one is drawn where they are left out.

    Examples
    --------
    >>> import workbench as wb
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")}
    >>> ax = wb.compare("y ~ 1 + (1 | g)", table, ["no_pooling", "reml"]).plot.shrunken()
    >>> ax.get_ylabel()
    'mean of y'
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def samples(self, ax: Axes | None = None, group: str | None = None) -> Axes:
        """Every observation by group, with the groups' sample means and (if known) true means."""
        return samples.draw(samples.view(self.comparison, pick(self.comparison, None, group)), ax)

    def shrunken(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """Each group's own estimate and where partial pooling puts it."""
        return shrunken.draw(shrunken.view(self.comparison, pick(self.comparison, term, group)), ax)

    def versus(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """The mixed model beside the Bayesian estimates."""
        return versus.draw(versus.view(self.comparison, pick(self.comparison, term, group)), ax)

    def shrinkage(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """All estimators side by side, one panel each.

        Every varying term is drawn where neither `term` nor `group` is given. A given `ax` is divided among
        the panels and becomes the first. Returns the first panel's Axes; ``.figure.axes`` holds them all.
        """
        wanted = varying(self.comparison)
        if term is not None or group is not None:
            pick(self.comparison, term, group)
            wanted = tuple(
                v for v in wanted if (group is None or v.group == group) and (term is None or v.term == term)
            )
        return shrinkage.draw(shrinkage.view(self.comparison, wanted), ax)[0]

    def path(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """Group coefficients against the penalty of the fit of `penalized`, and where lambda may come from."""
        return path.draw(path.view(self.comparison, pick(self.comparison, term, group)), ax)

    def covariance(self, ax: Axes | None = None, group: str | None = None, level: str | None = None) -> Axes:
        """How the responses of one group vary together under every estimator with variance components.

        Of the largest level where no `level` is named. Returns the first panel's Axes; ``.figure.axes`` holds them all.
        """
        return covariance.draw(covariance.view(self.comparison, group=group, level=level), ax)[0]

    def posterior_predictive(self, ax: Axes | None = None, estimator: str | None = None) -> Axes:
        """The data beside data that a fit with draws makes, and statistics of both.

        Of the first fit with draws where no `estimator` is named. A given `ax` is divided among the panels and becomes
        the first. Returns the first panel's Axes; ``.figure.axes`` holds them all.
        """
        return predictive.draw(predictive.view(self.comparison, estimator=estimator), ax)[0]

    def prior_predictive(self, ax: Axes | None = None, estimator: str | None = None) -> Axes:
        """The data beside data that the priors alone make."""
        return predictive.draw(predictive.prior_view(self.comparison, estimator=estimator), ax)[0]

    def iterations(self, ax: Axes | None = None) -> Axes:
        """Variances by iteration: MacKay's updates and EM against REML, one panel each.

        Of a comparison with `mackay` or `em`; the updates that it does not hold are run from the same start. Returns
        the first panel's Axes, as :meth:`shrinkage` does.
        """
        return iterations.draw(iterations.view(self.comparison), ax)[0]

    def descent(self, ax: Axes | None = None) -> Axes:
        """A recorded gradient descent: the objective, and effects on their way to the exact ones.

        Of a comparison with `henderson` by ``gradient`` or ``adam``. Returns the first panel's Axes.
        """
        return descent.draw(descent.view(self.comparison), ax)[0]


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
    each : "group", "term" or "all"
        Whether it is drawn for each grouping factor, each varying term, or once for all.
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
    Picture(
        "shrinkage",
        "All estimators side by side",
        lambda comparison: True,
        "all",
        shrinkage.view,
        shrinkage.draw,
    ),
    Picture("path", "From no pooling to complete pooling", path.applies, "term", path.view, path.draw),
    Picture("covariance", "How responses vary together", covariance.applies, "all", covariance.view, covariance.draw),
    Picture(
        "posterior_predictive",
        "What the model would have made",
        predictive.applies,
        "all",
        predictive.view,
        predictive.draw,
    ),
    Picture(
        "prior_predictive",
        "What the priors foresee",
        predictive.prior_applies,
        "all",
        predictive.prior_view,
        predictive.draw,
    ),
    Picture("iterations", "Variances by iteration", iterations.applies, "all", iterations.view, iterations.draw),
    Picture("descent", "Down to the same numbers", descent.applies, "all", descent.view, descent.draw),
)
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
        chosen = terms if picture.each == "term" else _first_of_each_group(terms)
        used: set[str] = set()
        for v in chosen:
            name = v.term if picture.each == "term" else v.group
            several_groups = len({u.group for u in chosen}) > 1
            words = f"{name}, by {v.group}" if picture.each == "term" and several_groups else name
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

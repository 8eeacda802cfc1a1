"""The pictures of a comparison: a plain view first, drawn with matplotlib afterwards.

Each picture has a file of its own with ``view(comparison, ...)``, which lays out positions, labels,
captions and alternative texts as plain data, and ``draw(view, ax)``, which puts them on Axes. matplotlib is
loaded when something is drawn; its pyplot state and its settings are left alone. Which of them a report shows, and in
which order, stands in :mod:`workbench.plots.pictures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    time_accuracy,
    variances,
    versus,
)
from workbench.plots.pairs import chosen
from workbench.plots.pictures import PICTURES, Picture, Print, prints
from workbench.plots.varying import Varying, pick, varying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        return shrinkage.draw(shrinkage.view(self.comparison, self._terms(term, group)), ax)[0]

    def shrinkage_by_size(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """The share of its own deviation that every group loses, against its size, with the theory's curve."""
        return shrinkage_by_size.draw(shrinkage_by_size.view(self.comparison, pick(self.comparison, term, group)), ax)

    def slope_graph(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """One line per group from no pooling through every estimator to complete pooling, the least pooling first."""
        return slope_graph.draw(slope_graph.view(self.comparison, pick(self.comparison, term, group)), ax)

    def agreement(
        self,
        ax: Axes | None = None,
        term: str | None = None,
        group: str | None = None,
        one: str | None = None,
        other: str | None = None,
    ) -> Axes:
        """Two estimators' group coefficients against each other, and their difference against their mean.

        Of `one` and `other`; where none is named, of REML against the fixed prior, full Bayes and one more. Returns
        the first panel's Axes; ``.figure.axes`` holds them all.
        """
        return agreement.draw(agreement.view(self.comparison, pick(self.comparison, term, group), one, other), ax)[0]

    def caterpillar(
        self, ax: Axes | None = None, term: str | None = None, group: str | None = None, by: str | None = None
    ) -> Axes:
        """Every group's coefficient with its interval, the estimators side by side.

        Groups are sorted by the estimates of `by`: of REML, or what else stands for partial pooling, where none is
        named. Beyond 60 groups the lowest, the highest and an even choice of those between are drawn.
        """
        return caterpillar.draw(caterpillar.view(self.comparison, pick(self.comparison, term, group), by), ax)

    def ranks(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """The groups' ranks by estimator, with the expected rank of each and the probability that it is the highest."""
        return ranks.draw(ranks.view(self.comparison, pick(self.comparison, term, group)), ax)

    def time_accuracy(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """Seconds of each estimator against how far its group coefficients lie off; of no report, as times vary."""
        return time_accuracy.draw(time_accuracy.view(self.comparison, pick(self.comparison, term, group)), ax)

    def plane(
        self,
        ax: Axes | None = None,
        terms: tuple[str, str] | None = None,
        group: str | None = None,
        estimators: Sequence[str] | None = None,
    ) -> Axes:
        """Intercept and slope (or any two terms of one factor) at once: arrows from own estimates, covariance contours.

        One panel per estimator that pools partially, or per estimator named; at most four. Returns the first panel's
        Axes; ``.figure.axes`` holds them all.
        """
        return plane.draw(plane.view(self.comparison, chosen(self.comparison, terms, group), estimators), ax)[0]

    def lattice(
        self,
        ax: Axes | None = None,
        group: str | None = None,
        estimators: Sequence[str] | None = None,
        covariate: str | None = None,
    ) -> Axes:
        """Every group's regression in a panel of its own: its rows, and no, complete and partial pooling.

        `covariate` is the numeric column to draw against; `estimators` are drawn in place of the one that stands for
        partial pooling. At most 20 groups are drawn. Returns the first panel's Axes.
        """
        return lattice.draw(
            lattice.view(self.comparison, pick(self.comparison, None, group), estimators, covariate), ax
        )[0]

    def path(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """Group coefficients against the penalty of the fit of `penalized`, and where lambda may come from."""
        return path.draw(path.view(self.comparison, pick(self.comparison, term, group)), ax)

    def tau_axis(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """What every group's estimate would be were the spread between groups tau, and how likely each tau is.

        A given `ax` is divided among the panels and becomes the first. Returns the first panel's Axes;
        ``.figure.axes`` holds them all: paths, profile likelihood, posterior and prior.
        """
        return tau_axis.draw(tau_axis.view(self.comparison, pick(self.comparison, term, group)), ax)[0]

    def spread(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """True, own, shrunken and foreseen group values side by side, and how their variances add up.

        A given `ax` is divided among the panels and becomes the first. Returns the first panel's Axes.
        """
        return spread.draw(spread.view(self.comparison, pick(self.comparison, term, group)), ax)[0]

    def variances(self, ax: Axes | None = None, term: str | None = None, group: str | None = None) -> Axes:
        """Every SD, correlation and sigma: posterior, prior, REML's profile interval, and all estimators' values.

        Of all terms where neither `term` nor `group` is given. Returns the first panel's Axes, as :meth:`shrinkage`
        does.
        """
        return variances.draw(variances.view(self.comparison, self._terms(term, group)), ax)[0]

    def _terms(self, term: str | None, group: str | None) -> tuple[Varying, ...]:
        """The varying terms that are meant: all where nothing is said."""
        if term is not None or group is not None:
            pick(self.comparison, term, group)
        every = varying(self.comparison)
        return tuple(v for v in every if (group is None or v.group == group) and (term is None or v.term == term))

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

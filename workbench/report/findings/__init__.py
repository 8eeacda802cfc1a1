"""What the numbers say, in sentences that are computed: nothing is claimed that was not checked on this data.

First comes what a reader asks for, by what there is to tell it from: errors where the truth is known
(:mod:`.truths`), variances where estimators differ in them, default priors that stand far from the data
(:mod:`.priors`), population coefficients where there are predictors, and the spread between groups, which comes before
predictors where there are more grouping factors than these (:mod:`.asked`).
Then what pooling does to groups (:mod:`.pooling`), and what lies between estimators (:mod:`.between`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.report import zero_variance
from workbench.report.findings.asked import population_coefficients, spread, spread_leads, variances_apart
from workbench.report.findings.between import disagree, full_bayes, plugged_in
from workbench.report.findings.pooling import kept, moved_most
from workbench.report.findings.priors import far_defaults
from workbench.report.findings.truths import against_truth

if TYPE_CHECKING:
    from workbench.comparison import Comparison


def findings(comparison: Comparison) -> tuple[str, ...]:
    """Three to nine sentences or so, each true of this comparison; the first answers what is asked most often."""
    about = (population_coefficients(comparison), spread(comparison))
    said = (
        against_truth(comparison),
        variances_apart(comparison),
        *far_defaults(comparison),
        *(reversed(about) if spread_leads(comparison) else about),
        moved_most(comparison),
        *kept(comparison),
        plugged_in(comparison),
        *zero_variance.sentences(comparison),
        full_bayes(comparison),
        disagree(comparison),
    )
    return tuple(sentence[0].upper() + sentence[1:] for sentence in said if sentence)

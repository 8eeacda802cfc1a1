"""The posterior of one varying term of one grouping factor, integrated: :class:`ExactPosterior` is the door, for counts
and shares :class:`CountPosterior`.
"""

from workbench.exact_posterior.counts import CountPosterior
from workbench.exact_posterior.posterior import ExactPosterior, Summary

__all__ = ["CountPosterior", "ExactPosterior", "Summary"]

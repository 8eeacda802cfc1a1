"""The posterior of one varying term of one grouping factor, integrated: :class:`ExactPosterior` is the door."""

from workbench.exact_posterior.posterior import TOLERANCE, ExactPosterior, Summary

__all__ = ["TOLERANCE", "ExactPosterior", "Summary"]

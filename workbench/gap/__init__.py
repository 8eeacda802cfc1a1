"""Why two estimators differ: causes removed one after the other, and what is left of the gap after each.

Every estimator is led to REML in steps that are true of it (its *causes*): a fixed prior by taking back what bayesglm
assumes beside REML's mean and SD (``plugged``), full Bayes by taking back what integrating adds (``integrated``), ML
and the estimators without pooling by moving their variances (``maximised``). Each step is computed anew, none
copies REML's answer, so that rounding is all that may be left at the end; what is more is said to be unexplained.
"""

from workbench.gap.explanation import Gap, called, explain_gap, same_design
from workbench.gap.steps import Step

__all__ = ["Gap", "Step", "called", "explain_gap", "same_design"]

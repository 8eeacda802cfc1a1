"""What follows from a fit that maximised a Gaussian likelihood: intervals, tests, simulated distributions.

:func:`profile` finds profile-likelihood intervals, :func:`likelihood_ratio` compares nested fits,
:func:`information` sets AIC and BIC beside each other, and :func:`bootstrap` refits simulated responses.
"""

from workbench.inference.profiles import Profile, profile
from workbench.inference.ratio import information, likelihood_ratio
from workbench.inference.resample import Bootstrap, bootstrap

__all__ = ["Bootstrap", "Profile", "bootstrap", "information", "likelihood_ratio", "profile"]

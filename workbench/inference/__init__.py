"""What follows from a fit that maximised a Gaussian likelihood: intervals, tests, simulated distributions.

:func:`profile` finds profile-likelihood intervals, :func:`likelihood_ratio` compares nested fits,
:func:`information` sets AIC and BIC beside each other, and :func:`bootstrap` refits simulated responses.
"""

from typing import Any

from workbench.estimates import plain
from workbench.inference.profiles import Profile, profile
from workbench.inference.ratio import information, likelihood_ratio
from workbench.inference.resample import Bootstrap, bootstrap

__all__ = ["Bootstrap", "Profile", "bootstrap", "information", "interval_rows", "likelihood_ratio", "profile"]


def interval_rows(found: Profile | Bootstrap) -> list[dict[str, Any]]:
    """The intervals as plain rows, for JSON; what is not finite becomes None."""
    rows = found.intervals.to_dict("records")
    return [{key: v if isinstance(v, str) else plain(v) for key, v in row.items()} for row in rows]

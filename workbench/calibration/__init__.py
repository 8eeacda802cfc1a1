"""Is an uncertainty what it claims to be? Posteriors against truths drawn from priors, intervals against the truth.

:func:`calibrate` is simulation-based calibration: the truth's rank in the posterior, uniform where model, priors and
computation are right. :func:`coverage` asks every estimator's intervals how often they hold the truth, in one design.
"""

from workbench.calibration.coverage_result import Coverage
from workbench.calibration.coverages import coverage
from workbench.calibration.result import Calibration
from workbench.calibration.simulation_based import calibrate

__all__ = ["Calibration", "Coverage", "calibrate", "coverage"]

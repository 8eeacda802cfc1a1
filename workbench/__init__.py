"""One grouped dataset, every way of estimating its group effects, side by side.

>>> import workbench as wb
>>> fit = wb.fit("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
>>> round(fit.sigma, 6)
0.707107

The public names below are loaded when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench import estimators
    from workbench.api import compare, fit, run
    from workbench.bayesglm import BayesGlm, bayesglm
    from workbench.calibration import Calibration, Coverage, calibrate, coverage
    from workbench.comparison import Comparison
    from workbench.errors import WorkbenchError
    from workbench.fit import Fit
    from workbench.formula import parse as parse_formula
    from workbench.inference import Bootstrap, Profile, bootstrap, information, likelihood_ratio, profile
    from workbench.priors import Prior
    from workbench.sampling.checks import predictive_checks
    from workbench.sampling.loo import loo, loo_compare
    from workbench.sampling.saved import load_draws, save_draws
    from workbench.sampling.sensitivity import sensitivity
    from workbench.simulate import simulate_groups, twelve_groups
    from workbench.study import load_study

_HOMES = {
    "BayesGlm": "bayesglm",
    "Bootstrap": "inference",
    "Calibration": "calibration",
    "Comparison": "comparison",
    "Coverage": "calibration",
    "Fit": "fit",
    "Prior": "priors",
    "Profile": "inference",
    "WorkbenchError": "errors",
    "adapt": "adapters",
    "bayesglm": "bayesglm",
    "bootstrap": "inference",
    "calibrate": "calibration",
    "compare": "api",
    "coverage": "calibration",
    "fit": "api",
    "information": "inference",
    "likelihood_ratio": "inference",
    "load_draws": "sampling.saved.load_draws",
    "load_study": "study",
    "loo": "sampling.loo.loo",
    "loo_compare": "sampling.loo.loo_compare",
    "parse_formula": "formula.parse",
    "predictive_checks": "sampling.checks.predictive_checks",
    "profile": "inference",
    "run": "api",
    "save_draws": "sampling.saved.save_draws",
    "sensitivity": "sampling.sensitivity.sensitivity",
    "simulate_groups": "simulate",
    "twelve_groups": "simulate",
}

__all__ = [
    "BayesGlm",
    "Bootstrap",
    "Calibration",
    "Comparison",
    "Coverage",
    "Fit",
    "Prior",
    "Profile",
    "WorkbenchError",
    "adapt",
    "bayesglm",
    "bootstrap",
    "calibrate",
    "compare",
    "coverage",
    "estimators",
    "fit",
    "information",
    "likelihood_ratio",
    "load_draws",
    "load_study",
    "loo",
    "loo_compare",
    "parse_formula",
    "predictive_checks",
    "profile",
    "run",
    "save_draws",
    "sensitivity",
    "simulate_groups",
    "twelve_groups",
]
__version__ = "0.1.0"


class _Workbench(ModuleType):
    """The package, whose function ``fit`` shares its name with a room of the house.

    Importing the room ``workbench.fit`` must not put the module where users expect the function. ``estimators`` is a
    room that can be called.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "estimators":
            return import_module("workbench.estimators")
        if name not in _HOMES:
            raise AttributeError(f"module 'workbench' has no attribute {name!r}")
        home = _HOMES[name]
        module, _, other = (home if "." in home else f"{home}.{name}").rpartition(".")
        value = getattr(import_module(f"workbench.{module}"), other)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Workbench

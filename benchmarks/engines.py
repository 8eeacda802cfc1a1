"""The engines: how each is asked for the full answer, and where that answer keeps its figures.

A function `fit` goes from a case and its dataframe to an answer whose population coefficients, variances and group
effects have been computed; only this is timed. A function `figures` then reads the criterion and the SDs.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.cases import Case, Library


@dataclass(frozen=True)
class Figures:
    """What is held against ours.

    Attributes
    ----------
    criterion : float or None
        lme4's ``REMLcrit``: -2 log restricted likelihood.
    sds : dict of str to float
        ``"Subject (Intercept)"`` and the like, and ``"Residual"``.
    note : str
        What the engine itself says against its answer; empty where it says nothing.
    """

    criterion: float | None
    sds: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Engine:
    """One way to fit a case.

    Attributes
    ----------
    name : str
    distribution : str
        The package whose version is printed; empty for R.
    fit, figures : callable or None
        None for lme4, which ``lme4.R`` drives.
    takes : tuple of str
        Dataframe libraries, the first one where the asked one is not among them.
    refuses : callable
        Why a case is out of the engine's scope, in words; empty where it is not.
    floor : bool
        Not a fit but less than any fit can do; it is left out where it refuses.
    """

    name: str
    distribution: str
    fit: Callable[[Case, Any], Any] | None = None
    figures: Callable[[Case, Any], Figures] | None = None
    takes: tuple[Library, ...] = ("pandas",)
    refuses: Callable[[Case], str] = lambda case: ""
    floor: bool = False

    def library(self, asked: Library) -> Library:
        """The dataframe library that the engine is given where `asked` is wished for."""
        return asked if asked in self.takes else self.takes[0]

    def version(self) -> str | None:
        """The installed version, None where there is none."""
        if self.name == "lme4":
            return _lme4_version()
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


# --- ours ---------------------------------------------------------------------------------------------------------


def fit_workbench(case: Case, frame: Any) -> Any:
    """``wb.fit``: REML, group effects with their standard errors."""
    import workbench as wb

    return wb.fit(case.formula, frame)


def workbench_figures(case: Case, fit: Any) -> Figures:
    """From the fit's table of variance components."""
    table = fit.variance[fit.variance["term2"].isna()]
    named = zip(table["group"], table["term1"], table["sdcor"], strict=True)
    sds = {group if group == "Residual" else f"{group} {term}": float(sd) for group, term, sd in named}
    return Figures(fit.criterion.value, sds, "" if fit.converged else "does not say that it converged")


# --- statsmodels and its likes ------------------------------------------------------------------------------------


def fit_statsmodels(case: Case, frame: Any) -> Any:
    """``MixedLM``; several factors are variance components within one group of all rows, as its manual does it."""
    import statsmodels.formula.api as smf

    if len(case.bars) == 1:
        bar = case.bars[0]
        model = smf.mixedlm(case.fixed, frame, groups=frame[bar.group], re_formula=f"~ {bar.terms}")
    else:
        components = {bar.group: f"0 + C({bar.group})" for bar in case.bars}
        model = smf.mixedlm(case.fixed, frame, groups=np.ones(len(frame)), vc_formula=components)
    result = model.fit()
    return result, result.random_effects


def statsmodels_figures(case: Case, answer: Any) -> Figures:
    """From ``cov_re`` (one factor) or ``vcomp`` (several), ``scale`` and ``llf``."""
    result = answer[0]
    note = "" if result.converged else "says that it did not converge"
    if len(case.bars) == 1:
        return _single_factor_figures(case, result, note)
    names = [f"{group} (Intercept)" for group in result.model.exog_vc.names]
    sds = dict(zip(names, np.sqrt(result.vcomp).tolist(), strict=True))
    return Figures(float(-2 * result.llf), sds | {"Residual": float(np.sqrt(result.scale))}, note)


def fit_mixedlm_rs(case: Case, frame: Any) -> Any:
    """``mixedlm_rs.mixedlm``, with the effects as one array."""
    import mixedlm_rs

    bar = case.bars[0]
    result = mixedlm_rs.mixedlm(case.fixed, frame, groups=bar.group, re_formula=f"~ {bar.terms}").fit()
    return result, result.random_effects_array


def mixedlm_rs_figures(case: Case, answer: Any) -> Figures:
    """From ``cov_re``, ``scale`` and ``llf``, as statsmodels."""
    result = answer[0]
    return _single_factor_figures(case, result, "" if result.converged else "says that it did not converge")


def _single_factor_figures(case: Case, result: Any, note: str) -> Figures:
    bar = case.bars[0]
    variances = np.diag(np.asarray(result.cov_re))
    sds = {f"{bar.group} {name}": float(np.sqrt(v)) for name, v in zip(bar.names, variances, strict=True)}
    return Figures(float(-2 * result.llf), sds | {"Residual": float(np.sqrt(result.scale))}, note)


# --- glmm, mixedlm ------------------------------------------------------------------------------------------------


def fit_glmm(case: Case, frame: Any) -> Any:
    """``glmm.fit``, whose answer holds the effects; without Satterthwaite's degrees of freedom."""
    import glmm

    return glmm.fit(frame, case.formula, satterthwaite=False)


def glmm_figures(case: Case, fit: Any) -> Figures:
    """From ``stddev_corr`` of each grouping, ``dispersion`` and ``loglik``."""
    sds: dict[str, float] = {}
    for k, (group, terms) in enumerate(fit.re_groups):
        sds |= {f"{group} {term}": float(sd) for term, sd in zip(terms, fit.stddev_corr(k)[0], strict=True)}
    note = "" if fit.converged else "says that it did not converge"
    return Figures(float(-2 * fit.loglik), sds | {"Residual": float(np.sqrt(fit.dispersion))}, note)


def fit_mixedlm(case: Case, frame: Any) -> Any:
    """``mixedlm.lmer`` and ``ranef``."""
    import mixedlm

    result = mixedlm.lmer(case.formula, frame)
    return result, result.ranef()


def mixedlm_figures(case: Case, answer: Any) -> Figures:
    """From ``VarCorr``, ``sigma`` and ``REMLcrit``."""
    result = answer[0]
    sds = {
        f"{part.name} {term}": float(sd)
        for part in result.VarCorr().groups.values()
        for term, sd in part.stddev.items()
    }
    note = "" if result.converged else "says that it did not converge"
    return Figures(float(result.REMLcrit()), sds | {"Residual": float(result.sigma)}, note)


# --- the floor ----------------------------------------------------------------------------------------------------


def sum_by_group(case: Case, frame: Any) -> Any:
    """Count and sum of y per group, for integer labels: less than any fit can do."""
    g, y = frame["g"].to_numpy(), frame["y"].to_numpy()
    return np.bincount(g), np.bincount(g, weights=y)


def no_figures(case: Case, answer: Any) -> Figures:
    """Sums are not a fit."""
    return Figures(None, {})


def _sums_only(case: Case) -> str:
    simple = case.integer and [bar.terms for bar in case.bars] == ["1"]
    return "" if simple else "sums per group are a floor for one intercept with integer labels only"


def _one_factor_only(case: Case) -> str:
    return "" if len(case.bars) == 1 else "takes one grouping factor"


def _lme4_version() -> str | None:
    if shutil.which("Rscript") is None:
        return None
    ask = 'cat(as.character(packageVersion("lme4")), "on R", as.character(getRversion()))'
    done = subprocess.run(["Rscript", "--vanilla", "-e", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


_BOTH: tuple[Library, ...] = ("pandas", "polars")
_ALL = (
    Engine("workbench", "shrinkage-workbench", fit_workbench, workbench_figures, _BOTH),
    Engine("statsmodels", "statsmodels", fit_statsmodels, statsmodels_figures),
    Engine("glmm", "glmm", fit_glmm, glmm_figures, _BOTH),
    Engine("mixedlm", "mixedlm", fit_mixedlm, mixedlm_figures, _BOTH),
    Engine("mixedlm-rs", "mixedlm-rs", fit_mixedlm_rs, mixedlm_rs_figures, refuses=_one_factor_only),
    Engine("lme4", ""),
    Engine("bare sums", "numpy", sum_by_group, no_figures, _BOTH, _sums_only, floor=True),
)
ENGINES = MappingProxyType({engine.name: engine for engine in _ALL})

OURS = "workbench"
"""The engine to which the others' figures are set in ratio."""

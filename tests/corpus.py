"""The classic corpus: R's figures with their data and formulas, for every suite to run.

``data/lmer`` holds what lme4 1.1-31 gave on R 4.2.2, polished by Newton steps on its own deviance
function; ``data/glmer`` what its glmer gave; ``data/bayesglm`` what arm 1.13-1 gave. Data: the sleep study of Belenky
et al. (2003), Dyestuff and Dyestuff2 (Davies & Goldsmith 1972; Box & Tiao 1973), Penicillin and Pastes (Davies &
Goldsmith 1972), InstEval (ratings of lecturers at ETH Zurich, as distributed with lme4), cbpp (contagious bovine
pleuropneumonia; Lesnoff et al. 2004, as distributed with lme4), grouseticks (ticks on grouse chicks; Elston et al.
2001, as distributed with lme4), dobson (counts of a randomised trial; Dobson 1990), and the simulated twelve groups.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

from workbench.design import build_design

DATA = Path(__file__).parent / "data"

"""Case -> data file and formula, each with a REML and an ML fit: one factor, several, large."""
LMER = {
    "Dyestuff--ri": ("datasets/Dyestuff.csv", "Yield ~ 1 + (1 | Batch)"),
    "Dyestuff2--ri": ("datasets/Dyestuff2.csv", "Yield ~ 1 + (1 | Batch)"),
    "sleepstudy--ri": ("datasets/sleepstudy.csv", "Reaction ~ 1 + Days + (1 | Subject)"),
    "sleepstudy--slope": ("datasets/sleepstudy.csv", "Reaction ~ Days + (Days | Subject)"),
    "sleepstudy--slope_uncorr": (
        "datasets/sleepstudy.csv",
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)",
    ),
    "sleepstudy--slope_doublebar": ("datasets/sleepstudy.csv", "Reaction ~ Days + (Days || Subject)"),
    "twelve_groups--ri": ("twelve_groups.csv", "samples ~ 1 + (1 | group)"),
}
SEVERAL = {
    "Penicillin--crossed": ("datasets/Penicillin.csv", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "Pastes--nested": ("datasets/Pastes.csv", "strength ~ 1 + (1 | batch/cask)"),
}
LARGE = {
    "InstEval--crossed": ("datasets/InstEval.csv.gz", "y ~ 1 + (1 | s) + (1 | d)"),
    "InstEval--service_dept": ("datasets/InstEval.csv.gz", "y ~ service + (1 | s) + (1 | d) + (1 | dept)"),
}
BAYESGLM = sorted(path.stem for path in (DATA / "bayesglm").glob("*.json"))


@cache
def design_of(case):
    path, formula = (LMER | SEVERAL | LARGE)[case]
    return build_design(formula, DATA / path)


@cache
def lmer_figures(case, kind):
    return json.loads((DATA / "lmer" / f"{case}.json").read_text())[kind]


@cache
def bayesglm_figures(case):
    return json.loads((DATA / "bayesglm" / f"{case}.json").read_text())


def ranef_matrix(figures, group):
    """The effects of a grouping factor, shape (levels, terms), and the levels they belong to (the first ones)."""
    table = figures["ranef"][group]
    values = np.array(table["values"], dtype=float)
    return values, table["levels"][: len(values)]


def conditional_sds(figures, group):
    """The conditional SDs of a grouping factor, shape (levels, terms), blocks side by side."""
    parts = [np.array(part["array"], dtype=float) for part in figures["condVar"][group]]
    return np.hstack([np.sqrt(np.diagonal(part, axis1=1, axis2=2)) for part in parts])

"""Counts and shares by maximum likelihood beside lme4's glmer: ``python -m benchmarks.counts``.

What is timed, in CPU seconds, is a fit from a dataframe in memory with default settings (Laplace's approximation), in a
process of each engine's own; one fit before is not counted, nor are imports. The deviance says how far each came: ours
is at the optimum, glmer's default stops near it, and its value is one step of its iteration old.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np
import pandas as pd

STUDIES = Path(__file__).parent.parent / "models"


def study(name: str) -> pd.DataFrame:
    """A study's data; what is text there, in quotes, stays text."""
    import polars as pl

    return pl.read_csv(STUDIES / name / "data.csv", infer_schema=True).to_pandas()


def cbpp() -> pd.DataFrame:
    """Its herds and periods are labels."""
    table = study("cbpp")
    return table.assign(herd="h" + table["herd"].astype(str), period="p" + table["period"].astype(str))


def grouseticks() -> pd.DataFrame:
    """Its groups and years are labels; heights are scaled beforehand."""
    table = study("grouseticks")
    labels = {name: name[0].lower() + table[name].astype(str) for name in ("BROOD", "INDEX", "LOCATION", "YEAR")}
    return table.assign(**labels, height=(table["HEIGHT"] - table["HEIGHT"].mean()) / table["HEIGHT"].std())


def verbal() -> pd.DataFrame:
    """Simulated answers of 316 persons to 24 items, every person to each: 7,584 rows of yes or no."""
    rng = np.random.default_rng(11)
    person, item = (axis.ravel() for axis in np.indices((316, 24)))
    anger, female = rng.normal(20, 5, 316)[person], rng.integers(0, 2, 316)[person]
    kind, self_made = item % 3, item // 3 % 2
    eta = 0.05 * (anger - 20) + 0.3 * female - 0.8 * kind - 0.9 * self_made + 0.9
    eta = eta + 1.3 * rng.normal(size=316)[person] + 0.5 * rng.normal(size=24)[item]
    yes = (rng.uniform(size=len(eta)) < 1 / (1 + np.exp(-eta))).astype(int)
    labels = {"kind": kind, "self": self_made, "female": female, "person": person, "item": item}
    return pd.DataFrame({"yes": yes, "anger": anger} | {k: [f"{k}{i}" for i in v] for k, v in labels.items()})


def many() -> pd.DataFrame:
    """Simulated yes or no of 100,000 rows in 5,000 groups, with a covariate of its own for every row."""
    rng = np.random.default_rng(12)
    g, x = rng.integers(0, 5_000, 100_000), rng.normal(size=100_000)
    eta = -0.5 + 0.4 * x + 0.8 * rng.normal(size=5_000)[g]
    y = (rng.uniform(size=len(g)) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "g": "g" + pd.Series(g).astype(str)})


@dataclass(frozen=True)
class Case:
    """A formula, its data and family."""

    formula: str
    data: Callable[[], pd.DataFrame]
    family: str


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "cbpp": Case("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, "binomial"),
        "grouseticks": Case(
            "TICKS ~ YEAR + height + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", grouseticks, "poisson"
        ),
        "316 persons x 24 items": Case(
            "yes ~ anger + female + kind + self + (1 | person) + (1 | item)", verbal, "binomial"
        ),
        "the same, a slope": Case(
            "yes ~ anger + female + kind + self + (self | person) + (1 | item)", verbal, "binomial"
        ),
        "10^5 rows, 5,000 groups": Case("y ~ x + (1 | g)", many, "binomial"),
    }
)


def ours(name: str, repeats: int) -> list[tuple[float, float]]:
    """CPU seconds and deviances of our fits, in this process."""
    import workbench as wb

    case = CASES[name]
    table = case.data()
    found = []
    for k in range(repeats + 1):
        begun = time.process_time()
        fit = wb.fit(case.formula, table, "laplace", family=case.family)
        if k:
            found.append((time.process_time() - begun, float(fit.criterion)))
    return found


def theirs(name: str, repeats: int) -> list[tuple[float, float]]:
    """The same of glmer, in a process of R's."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        case.data().to_csv(path, index=False)
        script = Path(__file__).with_name("counts.R")
        command = ["Rscript", str(script), str(path), case.formula, case.family, str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(float(a), float(b)) for a, b in (line.split() for line in done.stdout.splitlines())]


def main() -> None:
    """Print a table of all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        for seconds, deviance in ours(asked.cases[0], asked.repeats):
            print(seconds, deviance)
        return
    print("| case | workbench | glmer | times | deviance less glmer's |\n|---|---|---|---|---|")
    for name in asked.cases:
        command = [sys.executable, "-m", "benchmarks.counts", name, "--child", "--repeats", str(asked.repeats)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        mine = [(float(a), float(b)) for a, b in (line.split() for line in lines)]
        other = theirs(name, asked.repeats)
        a, b = (median(seconds for seconds, _ in runs) for runs in (mine, other))
        print(f"| {name} | {a:.3f} | {b:.2f} | {b / a:.1f} | {mine[0][1] - other[0][1]:.1e} |", flush=True)


if __name__ == "__main__":
    main()

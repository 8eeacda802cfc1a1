"""Full Bayes beside bambi: ``python -m benchmarks.posteriors``. Each run is a process of its own.

What is timed is everything from the dataframe to a fit's summaries (of bambi: to its draws), model building and
compilation included, imports not: users pay it with every new model. Compiled code that libraries keep on disk is
there, since a first run of every case is not counted. The effective sample size is the smallest bulk ESS (Vehtari et
al. 2021, doi:10.1214/20-BA1221) over population coefficients, residual SD, SDs of groups and their correlations.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

STUDIES = Path(__file__).parent.parent / "models"


def simulated(rows: int, groups: int) -> pd.DataFrame:
    """Rows in groups drawn at random, with a covariate, varying intercepts of SD 0.7 and noise of SD 1."""
    rng = np.random.default_rng(20)
    g, x = rng.integers(0, groups, rows), rng.normal(size=rows)
    y = 1 + 0.5 * x + 0.7 * rng.normal(size=groups)[g] + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "x": x, "g": pd.Categorical(g)})


def study(name: str, group: str) -> pd.DataFrame:
    """A study's data, its groups as categories."""
    table = pd.read_csv(STUDIES / name / "data.csv")
    return table.assign(**{group: pd.Categorical(table[group].astype(str))})


@dataclass(frozen=True)
class Case:
    """A formula and its data; `bambi` says whether bambi is asked too."""

    formula: str
    data: Callable[[], pd.DataFrame]
    bambi: bool = True


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "twelve groups": Case("samples ~ 1 + (1 | group)", lambda: study("twelve_groups", "group")),
        "sleepstudy": Case("Reaction ~ Days + (Days | Subject)", lambda: study("sleepstudy", "Subject")),
        "10^5 rows, 5,000 groups": Case("y ~ x + (1 | g)", lambda: simulated(100_000, 5_000)),
        "10^6 rows, 10^5 groups": Case("y ~ x + (1 | g)", lambda: simulated(1_000_000, 100_000), bambi=False),
    }
)
"""bambi's ``(Days | Subject)`` has no correlation; ours has."""


def workbench(case: Case, table: pd.DataFrame, **options: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Our fit, and how its figures are read."""
    import arviz_stats  # noqa: F401
    import nutpie  # noqa: F401

    import workbench as wb

    def figures(fit: Any) -> tuple[float, int]:
        return float(np.nanmin(fit.parameters.estimates.ess_bulk)), int(fit.diagnostics["divergences"])

    return lambda: wb.fit(case.formula, table, "hierarchical", options=options), figures


def bambi(case: Case, table: pd.DataFrame, method: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """bambi's fit with its own defaults, and how its figures are read."""
    import arviz as az
    import bambi as bmb
    import nutpie  # noqa: F401

    def fit() -> Any:
        return bmb.Model(case.formula, table).fit(inference_method=method, random_seed=1, progressbar=False)

    def figures(tree: Any) -> tuple[float, int]:
        posterior = tree["posterior"].to_dataset()
        names = [n for n in posterior.data_vars if "|" not in str(n) or str(n).endswith("_sigma")]
        ess = az.ess(posterior[names], method="bulk")
        least = min(float(ess[name].min()) for name in ess.data_vars)
        return least, int(tree["sample_stats"]["diverging"].sum())

    return fit, figures


ENGINES: Mapping[str, Callable[[Case, pd.DataFrame], Any]] = MappingProxyType(
    {
        "workbench": workbench,
        "workbench, explicit": lambda case, table: workbench(case, table, model="explicit"),
        "bambi": lambda case, table: bambi(case, table, "pymc"),
        "bambi, nutpie": lambda case, table: bambi(case, table, "nutpie"),
    }
)


def measure(engine: str, name: str) -> dict[str, float]:
    """One fit in this process."""
    warnings.simplefilter("ignore")
    case = CASES[name]
    table = case.data()
    fit, figures = ENGINES[engine](case, table)
    wall, cpu = time.perf_counter(), time.process_time()
    answer = fit()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    least, divergences = figures(answer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return {"wall": wall, "cpu": cpu, "ess": least, "divergences": divergences, "peak": peak}


def main(arguments: list[str] | None = None) -> int:
    """Measure all engines on all cases, case by case, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posteriors", description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds that one process may take")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "CASE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(json.dumps(measure(*asked.one)))
        return 0
    print(f"{'case':26}{'engine':22}{'wall s':>8}{'CPU s':>8}{'ESS':>8}{'ESS/s':>9}{'diverged':>10}{'peak GB':>9}")
    for name in asked.cases:
        for engine in asked.engines:
            if engine != "workbench" and not CASES[name].bambi:
                continue
            found = [_run(engine, name, asked.limit) for _ in range(asked.repeats + 1)][1:]
            print(f"{name:26}{engine:22}" + _row([one for one in found if one]), flush=True)
    return 0


def _run(engine: str, name: str, limit: float) -> dict[str, float] | None:
    command = [sys.executable, "-m", "benchmarks.posteriors", "--one", engine, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(found: list[dict[str, float]]) -> str:
    if not found:
        return "   did not finish"
    mid = {key: median(one[key] for one in found) for key in found[0]}
    return (
        f"{mid['wall']:8.2f}{mid['cpu']:8.2f}{mid['ess']:8.0f}{median(o['ess'] / o['wall'] for o in found):9.1f}"
        f"{mid['divergences']:10.0f}{mid['peak']:9.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())

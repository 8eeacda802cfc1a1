"""The house itself: imports run one way, importing is quick and has no side effects, text keeps its manners."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "workbench"

ORDER = [
    "errors", "packing", "rounding", "words", "families", "formula", "tables", "labels", "data", "coding",
    "model_matrix", "rank", "least_squares", "response", "row_arguments", "design", "fingerprint", "new_rows",
    "centred", "blocks", "cells", "moments", "covariances", "group_coefficients", "crossed", "likelihood",
    "curvature", "textbook", "theta", "coordinates", "minimise", "optimum", "estimates", "json_rows", "group_means",
    "doubts", "group_regressions", "bayesglm", "reweighted", "fit", "marginal_covariance", "answer", "priors",
    "prior_defaults", "lkj", "exact_posterior", "sampling", "glmm", "plug_in", "plug_in_doubts", "prediction",
    "standard_errors", "simulate", "iterations", "penalised", "statsmodels_fits", "estimators", "adapters", "gap",
    "sampler_check", "inference", "calibration", "ranking", "group_table", "scoreboard", "agreement", "truth",
    "comparison", "plots", "report", "reference", "study", "recheck", "api", "lab", "lessons", "commands", "cli",
    "__init__", "__main__",
]  # fmt: skip
"""The rooms, each importing only from those before it."""

DOORS = {
    ("bayesglm", "report"),  # what notebooks show of a fit stands for a longer call
    ("calibration", "plots"),  # Calibration.plot stands for a longer call
    ("comparison", "plots"),  # Comparison.plot and Comparison.report stand for longer calls
    ("comparison", "report"),
    ("fit", "prediction"),  # Fit.predict, Fit.standard_errors, Fit.loo and Fit.sensitivity stand for longer calls
    ("fit", "report"),
    ("fit", "sampling"),
    ("fit", "standard_errors"),
    ("inference", "plots"),  # Profile.plot stands for a longer call
    ("reference", "study"),  # for a type only
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "workbench":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("workbench."))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    here = room(path)
    assert here in ORDER, f"{here} has no place in the order of rooms"
    for other in imported_rooms(path):
        if other != here and (here, other) not in DOORS and here != "__init__":
            assert ORDER.index(other) < ORDER.index(here), f"{here} must not import {other}"


def test_estimators_do_not_know_each_other_but_by_the_registry():
    for path in (PACKAGE / "estimators").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not node.module.startswith("workbench.estimators."), path.name


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import workbench", ("numpy", "pandas", "pymc", "matplotlib")),
        ("import workbench.cli; workbench.cli._parser()", ("numpy", "pandas", "pymc", "matplotlib", "rich")),
        (
            "import workbench.api",
            (
                "pandas",
                "scipy",
                "statsmodels",
                "pymc",
                "nutpie",
                "glum",
                "sklearn",
                "arviz",
                "matplotlib",
                "polars",
                "narwhals",
                "jinja2",
            ),
        ),
    ],
)
def test_importing_loads_nothing_heavy(statement, absent):
    code = f"{statement}\nimport sys\nprint(*[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_functions_and_rooms_share_names_without_hiding_each_other():
    code = (
        "import workbench as wb, workbench.fit, workbench.estimators\n"
        "import workbench.estimators.reml as room\n"
        "assert callable(room.reml)\n"
        "from workbench.fit import Fit\n"
        "assert callable(wb.fit) and wb.Fit is Fit and len(wb.estimators()) >= 6"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_evaluated(path):
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "compile", "__import__"}


def test_no_room_is_called_by_what_it_is_not():
    names = {path.stem for path in PACKAGE.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "base", "common", "misc"}


def test_doctests_run():
    import doctest
    import importlib

    tried = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "__main__.py":
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        importlib.import_module(name)
        results = doctest.testmod(sys.modules[name])
        assert results.failed == 0, name
        tried += results.attempted
    assert tried > 40


def test_readme_map_names_every_room():
    readme = (ROOT / "README.md").read_text()
    for name in ORDER[:-2]:
        assert re.search(rf"`?{name}(\.py|/)", readme), f"README's map of the tree does not name {name}"

"""What a report was made from, for machines: ``manifest.json``, schema 1.

It holds no time of day and no wall time. Files that show wall times are listed without a hash, so that two
runs which found the same numbers have the same manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.fingerprint import code_hash, design_hash
from workbench.report.context import Context
from workbench.report.versions import versions

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.fit import Fit

MAKER = "shrinkage-workbench"
NAME = "manifest.json"
WALL_TIMES = ("index.html", "tables/timings.csv")
"""Files that show wall times."""


def manifest(
    comparison: Comparison, context: Context, files: Sequence[tuple[str, Path]], findings: Sequence[str] = ()
) -> dict[str, Any]:
    """Collect the manifest; `files` are the report's files, by name within it, `findings` its sentences."""
    design = comparison.design
    seeds = [fit.diagnostics["seed"] for fit in comparison.fits.values() if "seed" in fit.diagnostics]
    return {
        "schema": 1,
        "made_by": MAKER,
        "title": comparison.title,
        "formula": str(design.formula),
        "family": design.family,
        "link": design.link,
        "rows": {"read": design.rows.read, "kept": design.rows.kept, "missing": dict(design.rows.missing)},
        "groups": design.groups,
        "findings": list(findings),
        "seed": context.study.get("seed", seeds[0] if seeds else None),
        "design_sha256": design_hash(design),
        "source_files_sha256": dict(context.source_files),
        "study": portable(context.study),
        "versions": versions(),
        "code_sha256": code_hash(),
        "fits": {name: _fit(name, fit) for name, fit in comparison.fits.items()},
        "published_figures": [
            {
                "estimator": c.estimator,
                "quantity": c.quantity,
                "published": c.published,
                "ours": c.ours,
                "tolerance": c.tolerance,
                "source": c.source,
                "holds": c.holds,
            }
            for c in context.figures
        ],
        "files": {
            name: None if name in WALL_TIMES else hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files
        },
    }


def to_json(document: Mapping[str, Any]) -> str:
    """The manifest as text; what is not finite becomes null."""
    return json.dumps(portable(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of ours."""
    return listed_files(path) is not None


def listed_files(path: Path) -> list[str] | None:
    """The files that a manifest of ours lists; None where it is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("made_by") != MAKER or not isinstance(content.get("files"), dict):
        return None
    return [*content["files"], NAME]


def draws_file(name: str) -> str:
    """Where in a report the draws of a fit are."""
    return f"draws/{name}.nc"


def _fit(name: str, fit: Fit) -> dict[str, Any]:
    kept = {key: value for key, value in fit.diagnostics.items() if "seconds" not in key and "time" not in key}
    return {
        "converged": fit.converged,
        "singular": fit.singular,
        "warnings": list(fit.warnings),
        "criterion": None if fit.criterion is None else {"name": fit.criterion.name, "value": fit.criterion.value},
        "priors": {name: str(prior) for name, prior in fit.priors.items()},
        "draws": draws_file(name) if fit.sampled is not None else None,
        "diagnostics": portable(kept),
    }


def portable(value: Any) -> Any:
    """Plain JSON values: arrays become lists, what is not finite null, and absolute paths lose "
    "their folders."""
    if isinstance(value, Mapping):
        return {str(key): portable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return portable(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [portable(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, np.generic):
        return portable(value.item())
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        for flavour in (PurePosixPath, PureWindowsPath):
            if "\n" not in value and flavour(value).is_absolute():
                return flavour(value).name
        return value
    return str(value)

"""Whether a report still is what fitting anew would write: the same study, code and versions, all files there.

A report says in its manifest what it was made from (:mod:`workbench.report.manifest`). One that was made from the same
files by the same code under the same versions need not be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.fingerprint import code_hash
from workbench.report.manifest import NAME, listed_files
from workbench.report.versions import versions


@dataclass(frozen=True)
class Earlier:
    """What an earlier run came to: whether its fits converged, and how many reference figures were reached."""

    converged: bool
    reached: int
    figures: int

    @property
    def code(self) -> int:
        """The exit code of that run."""
        return 0 if self.converged and self.reached == self.figures else 1

    @property
    def sentence(self) -> str:
        """It in words."""
        figures = f"{self.reached} of {self.figures} reference figures reached" if self.figures else ""
        ended = "" if self.converged else "not every fit converged"
        return "; ".join(part for part in (figures, ended) if part) or "every fit converged"


def earlier_run(folder: Path, source_files: Mapping[str, str], estimators: Sequence[str], svg: bool) -> Earlier | None:
    """What the run that made the report in a folder came to, if it was of these inputs and the report is whole.

    Parameters
    ----------
    folder : Path
    source_files : mapping of str to str
        SHA-256 of the study's files, by name.
    estimators : sequence of str
        In their order.
    svg : bool
        Whether pictures are wanted as SVG too.
    """
    files = listed_files(folder / NAME)
    if files is None or not all((folder / name).is_file() for name in files):
        return None
    made = json.loads((folder / NAME).read_text(encoding="utf-8"))
    if svg and not any(name.endswith(".svg") for name in files):
        return None
    now = {
        "source_files_sha256": dict(source_files),
        "code_sha256": code_hash(),
        "versions": versions(),
    }
    draws = [fit["draws"] for fit in made.get("fits", {}).values() if fit["draws"]]
    if not all((folder / name).is_file() for name in draws):
        return None
    if any(made.get(key) != value for key, value in now.items()) or list(made.get("fits", {})) != list(estimators):
        return None
    if any(
        digest is not None and hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
        for name, digest in made["files"].items()
    ):
        return None
    figures = made["published_figures"]
    return Earlier(
        converged=all(fit["converged"] for fit in made["fits"].values()),
        reached=sum(figure["holds"] for figure in figures),
        figures=len(figures),
    )

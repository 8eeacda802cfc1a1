"""A report appears whole or not at all.

Everything is made in a temporary folder beside the place asked for; then folders are renamed. Whatever goes
wrong on the way, an interrupt included, the temporary folder goes and an old report stays as it was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import ReportError
from workbench.report.context import Context
from workbench.report.manifest import NAME, listed_files, manifest, to_json

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.report.render import Shot


def write_report(comparison: Comparison, folder: str | Path, context: Context | None = None) -> Path:
    """Write the report of a comparison to a folder.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        Made where it is missing, with the folders above it. An earlier report in it is replaced.
    context : Context, optional
        What a study adds: question, notes, source files, published figures.

    Returns
    -------
    Path
        The folder: ``index.html``, ``README.md``, ``tables/*.csv``, ``plots/*.png`` and ``*.svg``,
        ``manifest.json``.

    Raises
    ------
    ReportError
        Something else lies there: a file, or a folder with files that no report of ours wrote.
    """
    given = Path(folder)
    place = given.resolve()
    _refuse_foreign(place, given)
    replace_folder(place, lambda inside: _fill(comparison, inside, context or Context()))
    return given


def _fill(comparison: Comparison, folder: Path, context: Context) -> None:
    """Make every file of the report in an empty folder."""
    from workbench.report import render
    from workbench.report.tables import write_tables
    from workbench.report.view import page

    said = page(comparison, context)
    shots = _draw(comparison, folder / "plots")
    write_tables(comparison, folder / "tables", context.figures)
    (folder / "index.html").write_text(render.html(said, shots), encoding="utf-8", newline="\n")
    (folder / "README.md").write_text(render.readme(said, shots), encoding="utf-8", newline="\n")
    files = sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file())
    (folder / NAME).write_text(to_json(manifest(comparison, context, files)), encoding="utf-8", newline="\n")


def _draw(comparison: Comparison, folder: Path) -> list[Shot]:
    from workbench.plots import prints, style
    from workbench.report.render import Shot

    folder.mkdir()
    shots = []
    for made in prints(comparison):
        png, svg = style.save(made.figure(), folder / made.stem)
        view = made.view
        shots.append(Shot(made.stem, made.title, view.caption, view.alt, view.warnings, png, svg))
    return shots


def _refuse_foreign(place: Path, given: Path) -> None:
    """Refuse to replace what is not a report of ours, or has something else in it."""
    if not place.exists():
        return
    if not place.is_dir():
        raise ReportError(f"{given} is a file, but a report is a folder. Name another place.")
    found = [p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")]
    if not found:
        return
    listed = listed_files(place / NAME)
    if listed is None:
        raise ReportError(
            f"{given} is not empty and is no report (it has no {NAME} of ours). Name another folder, or empty it."
        )
    if strange := sorted(set(found) - set(listed)):
        raise ReportError(
            f"{given} holds files that are not the report's, such as {strange[0]}; replacing it "
            f"would delete them. Move them away."
        )


def replace_folder(place: Path, fill: Callable[[Path], None]) -> None:
    """Put a folder made by `fill` in place of another one, whole or not at all."""
    above = _make_parents(place.parent)
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
        inside = temporary / "new"
        inside.mkdir()
        fill(inside)
        old = temporary / "old"
        if place.exists():
            place.rename(old)
        try:
            inside.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in above:
            if not any(parent.iterdir()):
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
    except OSError as error:
        raise ReportError(
            f"The folder {missing[0].name} cannot be made: {error.strerror}. Name another place."
        ) from None
    return missing

"""Every file of a report, made in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.report.context import Context
from workbench.report.folder import put_folder
from workbench.report.manifest import NAME, draws_file, manifest, to_json
from workbench.words import with_minus

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.report.render import Shot


def write_report(comparison: Comparison, folder: str | Path, context: Context | None = None, svg: bool = True) -> Path:
    """Write the report of a comparison to a folder.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        Made where it is missing, with the folders above it. An earlier report in it is replaced.
    context : Context, optional
        What a study adds: question, notes, source files, reference figures.
    svg : bool
        Whether pictures are written as SVG too; without, their bitmaps have fewer dots, for small reports.

    Returns
    -------
    Path
        The folder: ``index.html``, ``README.md``, ``tables/*.csv`` (of very many groups also ``*.parquet``),
        ``plots/*.png`` and ``*.svg``, ``draws/*.nc`` of fits that have draws, ``manifest.json``.

    Raises
    ------
    ReportError
        Something else lies there (a file, or a folder with anything that no report of ours wrote), or the place
        cannot be written to. :func:`workbench.report.check_folder` tells so beforehand.
    """
    return put_folder(folder, lambda inside: _fill(comparison, inside, context or Context(), svg))


def _fill(comparison: Comparison, folder: Path, context: Context, svg: bool) -> None:
    """Make every file of the report in an empty folder."""
    from workbench.report import render
    from workbench.report.tables import write_tables
    from workbench.report.view import page

    said = page(comparison, context)
    shots = _draw(comparison, folder / "plots", svg)
    write_tables(comparison, folder / "tables", context.figures)
    _save_draws(comparison, folder)
    (folder / "index.html").write_text(render.html(said, shots), encoding="utf-8", newline="\n")
    (folder / "README.md").write_text(render.readme(said, shots), encoding="utf-8", newline="\n")
    files = sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file())
    (folder / NAME).write_text(
        to_json(manifest(comparison, context, files, said.findings)), encoding="utf-8", newline="\n"
    )


def _save_draws(comparison: Comparison, folder: Path) -> None:
    """The draws of every fit that has some, checked when :func:`workbench.load_draws` reads them."""
    for name, fit in comparison.fits.items():
        if fit.sampled is not None:
            from workbench.sampling.saved import save_draws

            path = folder / draws_file(name)
            path.parent.mkdir(exist_ok=True)
            save_draws(fit, path)


def _draw(comparison: Comparison, folder: Path, svg: bool) -> list[Shot]:
    from workbench.plots import prints, style
    from workbench.report.render import Shot

    folder.mkdir()
    shots = []
    for made in prints(comparison):
        bitmap, drawing = style.save(made.figure(), folder / made.stem, svg)
        view = made.view
        caption, alt = with_minus(view.caption), with_minus(view.alt)
        shots.append(Shot(made.stem, made.title, caption, alt, view.warnings, bitmap, drawing))
    return shots

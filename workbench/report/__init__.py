"""Comparison -> a folder that can be read, checked and passed on: HTML, Markdown, CSV, pictures, manifest.

``write_report`` is the whole of it: a plain view of the page is made first (:mod:`workbench.report.view`),
then rendered. ``check_folder`` tells beforehand whether a folder would do. :mod:`workbench.report.terminal` prints
the same tables to a terminal, :mod:`workbench.report.terminal_fit` a single fit.
"""

from workbench.report.context import Context, FigureCheck
from workbench.report.folder import check_folder
from workbench.report.write import write_report

__all__ = ["Context", "FigureCheck", "check_folder", "write_report"]

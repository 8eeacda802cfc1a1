"""Comparison -> a folder that can be read, checked and passed on: HTML, Markdown, CSV, pictures, manifest.

``write_report`` is the whole of it: a plain view of the page is made first (:mod:`workbench.report.view`),
then rendered. :mod:`workbench.report.terminal` prints the same tables to a terminal.
"""

from workbench.report.context import Context, FigureCheck
from workbench.report.write import write_report

__all__ = ["Context", "FigureCheck", "write_report"]

"""The lab's pages, one module each, in the order of the menu."""

from __future__ import annotations

from workbench.lab.page import Page
from workbench.lab.pages import boundary, cost, myths, noise, prior, slopes, tau, yours

PAGES: tuple[Page, ...] = (
    noise.PAGE, prior.PAGE, tau.PAGE, cost.PAGE, slopes.PAGE, boundary.PAGE, myths.PAGE, yours.PAGE,
)  # fmt: skip

"""The lab's pages, one module each, in the order of the menu."""

from __future__ import annotations

from workbench.lab.page import Page
from workbench.lab.pages import boundary, noise, prior, tau

PAGES: tuple[Page, ...] = (noise.PAGE, prior.PAGE, tau.PAGE, boundary.PAGE)

"""What all tests share: what a run leaves out is said at its end; reports of few pictures; Chromium."""

import os
import shutil

import pytest

LEFT_OUT = {"slow": "those of more than a few seconds", "browser": "those of pages in Chromium"}


def pytest_terminal_summary(terminalreporter, config):
    """Name the marks that a run has left out, and how to run them."""
    chosen = config.option.markexpr
    for mark, what in LEFT_OUT.items():
        if f"not {mark}" in chosen or (chosen and mark not in chosen):
            terminalreporter.write_line(f"Left out: {what} (pytest -m {mark}).")


def _drawing_only(*stems):
    from workbench.plots import pictures

    few = tuple(p for p in pictures.PICTURES if p.stem in stems)
    assert len(few) == len(stems)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", few)
        yield few


@pytest.fixture(scope="module")
def few_pictures():
    """Reports show four pictures alone: drawing all of them takes seconds each time."""
    yield from _drawing_only("samples", "shrunken", "versus", "shrinkage")


@pytest.fixture(scope="module")
def one_picture():
    """Reports show one picture alone, where only what stands beside the pictures matters."""
    yield from _drawing_only("shrinkage")


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, at $CHROMIUM or by its usual names."""
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    assert found, "There is no Chromium here. Install it (apt-get install chromium), or name it in $CHROMIUM."
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()

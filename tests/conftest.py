"""What a run leaves out is said at its end; reports of a few pictures, for tests of what stands beside them."""

import pytest

LEFT_OUT = {"slow": "those of more than a few seconds", "browser": "those of the report in Chromium"}


def pytest_terminal_summary(terminalreporter, config):
    """Name the marks that a run has left out, and how to run them."""
    chosen = config.option.markexpr
    for mark, what in LEFT_OUT.items():
        if f"not {mark}" in chosen or (chosen and mark not in chosen):
            terminalreporter.write_line(f"Left out: {what} (pytest -m {mark}).")


@pytest.fixture(scope="module")
def few_pictures():
    """Reports show four pictures alone: drawing all of them takes seconds each time."""
    from workbench.plots import pictures

    few = tuple(p for p in pictures.PICTURES if p.stem in ("samples", "shrunken", "versus", "shrinkage"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", few)
        yield few

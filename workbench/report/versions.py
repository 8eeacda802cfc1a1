"""The versions of what made the report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "pymc", "arviz", "nutpie", "matplotlib")


def versions() -> dict[str, str]:
    """Package name to version, the workbench and Python first; a package that is not installed is "
    "left out."""
    import workbench

    found = {"workbench": workbench.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

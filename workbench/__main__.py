"""``python -m workbench`` is the command ``workbench``."""

from workbench.cli import command

raise SystemExit(command())

"""``python -m workbench`` is the command ``workbench``."""

from workbench.cli import main

raise SystemExit(main())

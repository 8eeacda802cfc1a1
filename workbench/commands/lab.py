"""``workbench lab``: the teaching lab in a browser."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from workbench.commands.arguments import check_jobs

SUMMARY = "serve the teaching lab to a browser on this machine, until Ctrl-C"
EXAMPLES = """examples:
  workbench lab
  workbench lab --port 8080 --open
  workbench lab --host 0.0.0.0 --name lab.example.org    for a class; anyone who reaches this machine can use it
"""
LOCAL, PORT = "127.0.0.1", 8765
"""Where the lab is served where nothing is said."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to serve."""
    parser.add_argument(
        "--host", default=LOCAL, help=f"the address to listen on (default: {LOCAL}, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0 takes any that is free")
    parser.add_argument(
        "--name", action="append", default=[], metavar="HOST",
        help="a host name under which browsers may ask for the lab; may be given again (default: the address itself)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="simulations and PyMC at a time (default: 2)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def run(given: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from workbench.lab.server import serve

    def ready(address: str) -> None:
        print(f"The lab is at {address} (Ctrl-C ends it).", file=sys.stderr, flush=True)
        if given.open:
            import webbrowser

            webbrowser.open(address)

    check_jobs(given.jobs)
    with suppress(KeyboardInterrupt):  # the way it ends
        serve(given.host, given.port, tuple(given.name), ready, given.jobs)
    return 0

"""The lab in a browser, ``python -m benchmarks.lab``: first paint, and milliseconds from a drag to its picture.

Each page's first slider is dragged by the mouse, by one user and by ten at once (each with a browser page of its own);
a drag's time runs from the input event to the frame after the new picture stands in the page. Beside it, the page of
noise and shrinkage as a marimo app, whose cells call the same Python: there, from the input event to the change of
the output. Chromium at $CHROMIUM or by its usual names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

MOVES = 30
MARIMO = """
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from workbench.lab.controls import values
    from workbench.lab.pages import noise
    return mo, noise, values

@app.cell
def _(mo):
    between = mo.ui.slider(0.0, 5.0, 0.05, value=1.0, label="SD between groups")
    between
    return (between,)

@app.cell
def _(between, mo, noise, values):
    query = {"between": str(between.value)}
    shown = noise.PAGE.show(values(noise.PAGE.controls(query), query))
    mo.Html(f"<div class='answer' data-value='{between.value}'>" + "".join(d.svg() for d in shown.drawings) + "</div>")
    return

if __name__ == "__main__":
    app.run()
"""


def sliders() -> dict[str, str]:
    """The first slider of every page that has one."""
    from workbench.lab.controls import Slider
    from workbench.lab.pages import PAGES

    found = {page.key: [c.name for c in page.controls({}) if isinstance(c, Slider)] for page in PAGES}
    return {key: names[0] for key, names in found.items() if names}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(command: list[str], port: int) -> Iterator[str]:
    """Run a server, and give its address once it answers."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urlopen(address, timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.1)
        try:
            yield address
        finally:
            process.terminate()


def first_paint(page: Any) -> float:
    """Milliseconds from the request to the first content."""
    page.wait_for_timeout(300)
    found = page.evaluate("performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)")
    return float(found[0]) if found else float("nan")  # a page in the background does not paint


def drag(pages: list[Any], name: str) -> list[float]:
    """Drag a slider on all pages at once, and collect the times of all answers."""
    listen = """(name) => {
      const shown = document.getElementById('shown'); window.times = [];
      const note = () => { if (shown.dataset.milliseconds) window.times.push(Number(shown.dataset.milliseconds)); };
      new MutationObserver(note).observe(shown, { attributes: true, attributeFilter: ['data-milliseconds'] });
    }"""
    places = []
    for page in pages:
        page.evaluate(listen, name)
        box = page.locator(f"#{name}-handle").bounding_box()
        places.append((box["x"], box["y"] + box["height"] / 2, box["width"]))
        page.mouse.move(places[-1][0] + places[-1][2] * 0.2, places[-1][1])
        page.mouse.down()
    for k in range(MOVES):
        for page, (x, y, width) in zip(pages, places, strict=True):
            page.mouse.move(x + width * (0.2 + 0.6 * k / MOVES), y)
        time.sleep(0.03)
    time.sleep(1.0)
    for page in pages:
        page.mouse.up()
    return [t for page in pages for t in page.evaluate("window.times")]


def said(what: str, paint: float, times: list[float]) -> str:
    """One line of the table."""
    return (
        f"| {what} | {paint:.0f} | {len(times)} | {median(times):.0f} | {quantiles(times, n=20)[-1]:.0f} | "
        f"{max(times):.0f} |"
    )


def ours(browser: Any, users: int) -> None:
    """Every page of the lab."""
    port = free_port()
    with served([sys.executable, "-m", "workbench", "lab", "--port", str(port)], port) as address:
        for key, name in sliders().items():
            pages = []
            for _ in range(users):
                pages.append(browser.new_context().new_page())
                pages[-1].goto(f"{address}/{key}")
            print(said(f"{key}, {users} at once", first_paint(pages[-1]), drag(pages, name)), flush=True)
            for page in pages:
                page.context.close()


def marimo(browser: Any) -> None:
    """The page of noise as a marimo app."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.py"
        path.write_text(MARIMO)
        command = [sys.executable, "-m", "marimo", "run", str(path), "--headless", "--port", str(port), "--no-token"]
        with served(command, port) as address:
            ready = []
            for _ in range(2):  # the first visitor waits for imports, the next does not
                page = browser.new_context().new_page()
                begun = time.perf_counter()
                page.goto(address)
                page.wait_for_selector(".answer svg", timeout=120_000)
                ready.append(1000 * (time.perf_counter() - begun))
            times = []
            handle = page.locator("[role=slider]").first
            handle.focus()
            for _ in range(MOVES):
                before = page.locator(".answer").get_attribute("data-value")
                begun = time.perf_counter()
                page.keyboard.press("ArrowRight")
                page.wait_for_function(
                    "(before) => document.querySelector('.answer')?.dataset.value !== before", arg=before, polling=10
                )
                times.append(1000 * (time.perf_counter() - begun))
            print(
                said(
                    f"noise in marimo (picture after {ready[0]:.0f} ms, then {ready[1]:.0f})", first_paint(page), times
                ),
                flush=True,
            )


def main() -> int:
    """Measure and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--marimo", action="store_true", help="the page of noise as a marimo app, too")
    asked = parser.parse_args()
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    print("| page | first paint, ms | answers | median, ms | 95 %, ms | longest, ms |\n|---|---:|---:|---:|---:|---:|")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for users in asked.users:
            ours(browser, users)
        if asked.marimo:
            marimo(browser)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

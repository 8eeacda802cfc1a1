"""Lessons in a browser: as exported pages and as apps; a guess is recorded and compared with what was computed."""

import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from workbench.lessons import LESSONS, lesson
from workbench.lessons.export import export, ran

pytestmark = pytest.mark.browser


LINES = """() => getComputedStyle(document.querySelector("figure svg text")).fill"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    export(LESSONS, folder)
    return folder


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("one", LESSONS, ids=lambda one: one.key)
def test_an_exported_lesson_keeps_its_answers_until_they_are_guessed(browser, site, one, width):
    heard = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or heard.append(r.url))
    page.goto((site / f"{one.key}.html").as_uri())
    assert page.locator(".answer:visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    answers = ran(one).answers
    for number, answer in enumerate(answers, 1):
        form = page.locator(f'form[data-key="{answer.question.key}"]')
        if answer.question.options:
            form.locator(f'input[value="{answer.answer}"]').check()
        else:
            form.locator("input").fill(f"{float(answer.answer):.12g}")
        form.locator("button").press("Enter")
        said = page.locator(f"#answer-{answer.question.key} .verdict").inner_text()
        assert said.endswith(("Right.", "near enough."))
        assert page.locator(".answer:visible").count() == number
    assert f"{len(answers)} of {len(answers)} first guesses" in page.locator(".score").inner_text()
    assert heard == []
    page.close()


def test_a_wrong_guess_is_recorded_and_the_first_counts(browser, site):
    page = browser.new_page()
    page.goto((site / "noise_and_shrinkage.html").as_uri())
    form = page.locator('form[data-key="spread"]')
    for guess in ("40", "13.5"):
        form.locator("input").fill(guess)
        form.locator("button").click()
        assert f"You said {guess}; computed: 13.50." in page.locator("#answer-spread .verdict").inner_text()
    assert page.locator(".score").inner_text().startswith("0 of 1 first guesses")
    page.close()


def test_a_lesson_runs_as_an_app(browser):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "workbench", "lesson", "open", "1", "--headless", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                try:
                    urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
                    break
                except (URLError, OSError):
                    time.sleep(0.1)
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}")
            page.get_by_role("heading", name=f"1. {lesson(1).title}").wait_for(timeout=60_000)
            field = page.locator("input[type=text], input[type=number], [inputmode]").first
            field.wait_for(timeout=60_000)
            field.fill("20")
            field.press("Tab")
            page.get_by_role("button", name="That is my guess").first.click()
            page.get_by_text("You said 20; computed: 13.50.").wait_for(timeout=30_000)
            page.locator("figure svg").first.wait_for(timeout=30_000)
            assert page.evaluate(LINES) == "rgb(26, 26, 26)"
            page.close()
        finally:
            import psutil

            for child in psutil.Process(process.pid).children(recursive=True):
                child.terminate()
            process.terminate()

"""The lab in a browser: Chromium without a window, a real server, sliders moved by the keyboard and the mouse.

Rungs: what a page says after a move is recomputed from the simulated samples; nothing is logged, nothing is asked of
another host; ``pytest -m browser`` runs them.
"""

import socket
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import workbench as wb
from workbench.lab.pages import PAGES
from workbench.simulate import simulate_groups

pytestmark = pytest.mark.browser

WIDTHS = (1280, 800)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def lab():
    """The command itself, in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "workbench", "lab", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert f"http://127.0.0.1:{port}/" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def visit(browser, lab):
    """Open a page of the lab; whatever is logged, goes wrong or is asked of another host fails the test in the end."""
    contexts, heard = [], []

    def opened(path, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda r: r.url.startswith((lab, "data:")) or heard.append(f"request: {r.url}"))
        page.goto(lab + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


def settled(page, act):
    """Do something, and wait until its answer is shown."""
    page.evaluate("document.getElementById('shown').removeAttribute('data-milliseconds')")
    act()
    page.wait_for_function(
        "() => { const s = document.getElementById('shown'); return s.dataset.milliseconds && !s.ariaBusy }"
    )
    return float(page.locator("#shown").get_attribute("data-milliseconds"))


def cell(page, row, column):
    heads = page.locator("#shown thead th").all_inner_texts()
    text = page.locator(f'#shown tr[data-row="{row}"] > *').nth(heads.index(column)).inner_text()
    return float(text.replace("−", "-").replace(",", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.key)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_opens_and_fits_its_window(visit, page, width):
    opened = visit(f"/{page.key}", viewport={"width": width, "height": 900})
    assert opened.locator("h1").inner_text() == page.title
    assert opened.locator("#shown svg").count() >= 1
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    first = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert first < 3000


def test_a_slider_moved_by_the_keyboard_moves_the_numbers(visit):
    page = visit("/noise")
    page.locator("#between-handle").focus()
    for _ in range(4):
        settled(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.locator("#between").input_value() == "1.2"
    fit = wb.fit(
        "samples ~ 1 + (1 | group)", simulate_groups((100,) * 6 + (2,) * 6, 1.2, 5.0, seed=1).to_pandas(), "reml"
    )
    tau2, sigma2 = fit.variance["vcov"].tolist()
    assert cell(page, "n-2", "share that REML keeps") == pytest.approx(tau2 / (tau2 + sigma2 / 2), rel=1e-3)
    assert cell(page, "n-100", "between² + within² / n") == pytest.approx(1.44 + 0.25, rel=1e-3)
    assert "between=1.2" in page.url
    page.reload()  # the address holds the whole state
    assert page.locator("#between-handle").input_value() == "1.2"


def test_a_drag_ends_at_the_last_value(visit):
    page = visit("/noise")
    box = page.locator("#within-handle").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    for k in range(25):
        page.mouse.move(box["x"] + box["width"] * (0.5 + 0.016 * k), middle)
    settled(page, page.mouse.up)
    page.wait_for_function(
        "() => document.getElementById('shown').dataset.query === "
        "new URLSearchParams(new FormData(document.getElementById('controls'))).toString()"
    )
    within = float(page.locator("#within").input_value())
    assert within > 8.0
    assert cell(page, "n-2", "between² + within² / n") == pytest.approx(1 + within**2 / 2, rel=1e-3)


def test_words_that_mean_nothing_get_a_sentence_and_can_be_mended(visit):
    page = visit("/noise")
    field = page.locator("#sizes")
    settled(page, lambda: field.fill("many"))
    assert "'many' is no size" in page.locator("#shown [role=alert]").inner_text()
    settled(page, lambda: field.fill("3x4"))
    assert page.locator("#shown [role=alert]").count() == 0
    raw = simulate_groups((3,) * 4, 1.0, 5.0, seed=1)
    means = np.array([raw.y[raw.group == g].mean() for g in (1, 2, 3, 4)])
    assert cell(page, "n-3", "variance of raw means") == pytest.approx((means**2).mean(), rel=1e-3)


def test_a_step_sets_the_controls(visit):
    page = visit("/noise?sizes=3x4&between=2&seed=5")
    settled(page, lambda: page.get_by_role("button", name="Other samples").press("Enter"))
    assert page.locator("#seed").input_value() == "6"
    settled(page, lambda: page.get_by_role("button", name="The twelve groups").press("Enter"))
    assert page.locator("#sizes").input_value() == "100x6, 2x6"
    assert page.locator("#between-handle").input_value() == "1"


def test_the_keyboard_alone_reaches_everything(visit):
    page = visit("/noise")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[0] == "skip"
    for wanted in ("between-handle", "between", "within-handle", "sizes", "seed"):
        assert wanted in reached


def test_two_labs_at_once_do_not_disturb_each_other(visit):
    one, other = visit("/noise?seed=1"), visit("/noise?seed=2")
    before = other.locator("#shown").inner_text()
    settled(one, lambda: one.locator("#between").fill("3"))
    assert other.locator("#shown").inner_text() == before
    settled(other, lambda: other.locator("#between").fill("0.5"))
    assert cell(one, "n-2", "between² + within² / n") == pytest.approx(9 + 12.5, rel=1e-3)
    assert cell(other, "n-2", "between² + within² / n") == pytest.approx(0.25 + 12.5, rel=1e-3)


def test_without_a_script_the_form_still_works(visit):
    page = visit("/noise", java_script_enabled=False)
    page.locator("#sizes").fill("3x4")
    page.get_by_role("button", name="Show").click()
    assert page.locator('#shown tr[data-row="n-3"]').count() == 1


def test_the_prior_walks_from_complete_to_no_pooling_and_meets_reml(visit):
    page = visit("/prior?data=dyestuff&mean=1500&sd=30")
    own, kept = 1564.0, 900 / (900 + 49.5101**2 / 5)  # batch C; sigma from lme4
    assert cell(page, "C", "your prior") == pytest.approx(1500 + kept * (own - 1500), rel=5e-4)
    handle = page.locator("#sd-handle")
    handle.focus()
    settled(page, lambda: page.keyboard.press("Home"))
    assert page.locator("#sd").input_value() == "0"
    assert cell(page, "C", "your prior") == 1500
    for _ in range(3):
        settled(page, lambda: page.keyboard.press("PageUp"))
    sd = float(page.locator("#sd").input_value())
    assert sd == pytest.approx(widest(page) * float(handle.input_value()) ** 3, rel=5e-3)
    kept = sd**2 / (sd**2 + 49.5101**2 / 5)
    assert cell(page, "C", "your prior") == pytest.approx(1500 + kept * (own - 1500), rel=5e-4)
    assert handle.get_attribute("aria-valuetext") == page.locator("#sd").input_value()
    settled(page, lambda: page.get_by_role("button", name="REML's mean and SD").click())
    assert {cell(page, batch, "difference") for batch in "ABCDEF"} == {0.0}
    assert float(page.locator("#sd").input_value()) == pytest.approx(42.0006, rel=1e-4)


def widest(page):
    return float(page.locator("#sd").get_attribute("max"))


def test_another_table_starts_with_ranges_of_its_own(visit):
    page = visit("/prior?data=twelve_groups&mean=5&sd=3")
    page.locator("#data").select_option("dyestuff")
    page.wait_for_url("**/prior?data=dyestuff")
    assert page.locator("#shown [role=alert]").count() == 0
    assert 1400 < float(page.locator("#mean").input_value()) < 1700


def test_groups_move_along_their_paths_as_tau_is_dragged(visit):
    page = visit("/tau?data=eight_schools&tau=5")
    y, se = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    box = page.locator("#tau-handle").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.down()
    for k in range(20):
        page.mouse.move(box["x"] + box["width"] * (0.2 + 0.02 * k), middle)
    settled(page, page.mouse.up)
    page.wait_for_function(
        "() => document.getElementById('shown').dataset.query === "
        "new URLSearchParams(new FormData(document.getElementById('controls'))).toString()"
    )
    tau = float(page.locator("#tau").input_value())
    assert tau > 10
    weight = 1 / (se**2 + tau**2)
    mu = weight @ y / weight.sum()
    for school, at in (("A", 0), ("E", 4)):
        wanted = mu + tau**2 * weight[at] * (y[at] - mu)
        assert cell(page, school, "at your τ") == pytest.approx(wanted, rel=6e-4)
    settled(page, lambda: page.get_by_role("button", name="τ = REML's").press("Enter"))
    assert float(page.locator("#tau").input_value()) == 0  # REML's
    assert cell(page, "A", "at your τ") == cell(page, "A", "at REML's τ") == cell(page, "H", "at your τ")


def test_reml_leaves_zero_as_groups_are_pulled_apart(visit):
    page = visit("/boundary?data=dyestuff2")
    assert cell(page, "reml", "τ") == 0
    before = cell(page, "boundary_avoiding", "τ")
    table = pl.read_csv("models/dyestuff2/data.csv")
    y = np.array([part["Yield"].to_numpy() for part in table.partition_by("Batch")])
    between, within = 5 * y.mean(axis=1).var(ddof=1), y.var(axis=1, ddof=1).mean()
    handle = page.locator("#factor-handle")
    handle.focus()
    for _ in range(8):
        settled(page, lambda: page.keyboard.press("ArrowRight"))
    factor = float(page.locator("#factor").input_value())
    assert factor == pytest.approx(1.4)
    assert cell(page, "reml", "τ") == pytest.approx(np.sqrt((factor**2 * between - within) / 5), rel=6e-4)
    assert cell(page, "boundary_avoiding", "τ") > before
    settled(page, lambda: page.get_by_role("button", name="Where REML leaves zero").press("Enter"))
    assert float(page.locator("#factor").input_value()) == pytest.approx(np.sqrt(within / between), abs=1e-3)

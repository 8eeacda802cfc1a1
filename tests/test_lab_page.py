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
from corpus import DATA

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
    assert opened.locator("#shown svg").count() >= 1 or page.brings
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    painted = "performance.getEntriesByName('first-contentful-paint')"  # the load event may come before it
    opened.wait_for_function(f"() => {painted}.length > 0")
    first = opened.evaluate(f"{painted}[0].startTime")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.key)
def test_the_keyboard_alone_reaches_everything(visit, page):
    opened = visit(f"/{page.key}")
    reached = []
    for _ in range(70):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    wanted = opened.evaluate(
        "[...document.querySelectorAll('main input:not([type=hidden]), main select, main button')]"
        ".filter((part) => part.offsetParent && !part.closest('noscript'))"
        ".map((part) => part.id || part.textContent.trim())"
    )
    assert "Skip to the pictures" in reached[0]
    assert set(wanted) <= set(reached)


def test_a_slider_moves_what_is_expected_of_a_design(visit):
    page = visit("/cost?sizes=4x3,9x3&within=3")
    page.locator("#between-handle").focus()
    for _ in range(3):
        settled(page, lambda: page.keyboard.press("ArrowRight"))
    between = float(page.locator("#between").input_value())
    assert between == pytest.approx(1.15)
    for n in (4, 9):
        noise = 9 / n
        assert cell(page, f"n-{n}", "shrunken") == pytest.approx(between**2 * noise / (between**2 + noise), rel=1e-3)


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


def bring(page, name, content):
    page.locator("#table").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Bring it").click()
    page.wait_for_load_state()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_brought_table_is_estimated_and_other_pages_take_it(visit, width):
    page = visit("/yours", viewport={"width": width, "height": 900})
    bring(page, "sleepstudy.csv", (DATA / "datasets/sleepstudy.csv").read_bytes())
    assert page.locator("#response option:checked").inner_text() == "Reaction"
    fit = wb.fit("Reaction ~ 1 + (1 | Subject)", DATA / "datasets/sleepstudy.csv", "reml")
    levels = fit.coefficients["level"].tolist()
    found = cell(page, f"level-{levels.index('309')}", "REML")
    assert found == pytest.approx(fit.coefficients.set_index("level").loc["309", "estimate"], rel=1e-3)
    page.locator("#slope").select_option(label="Days")
    page.wait_for_function("() => document.querySelectorAll('#shown svg').length === 2")
    slopes = wb.fit("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", "reml").coefficients
    wanted = slopes.query("level == '309' and term == 'Days'")["estimate"].item()
    table = page.locator("#shown table").nth(1)
    heads = table.locator("thead th").all_inner_texts()
    row = table.locator("tr", has=page.get_by_role("rowheader", name="309")).locator("> *").all_inner_texts()
    assert float(row[heads.index("REML")].replace("−", "-")) == pytest.approx(wanted, rel=1e-3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("sums.csv", b"a,b\n1,2\n3,4\n", "has no column of groups"),
        ("book.xlsx", b"PK", "ends in '.xlsx'"),
        ("large.csv", b"a,b\n" + b"1,2\n" * 1_100_000, "too large for the lab"),
    ],
)
def test_a_bad_table_gets_a_sentence(browser, lab, name, content, words):
    context = browser.new_context()
    page = context.new_page()
    page.goto(lab + "/yours")
    bring(page, name, content)
    assert words in page.locator("#bring [role=alert]").inner_text()
    context.close()


def test_full_bayes_runs_on_a_button_and_the_page_goes_on_answering(visit):
    page = visit("/yours")
    bring(page, "dyestuff.csv", (DATA / "datasets/Dyestuff.csv").read_bytes())
    page.get_by_role("button", name="Fit full Bayes in PyMC").press("Enter")
    page.wait_for_function("() => !document.querySelector('#work .running').hidden")
    other = visit("/noise")
    assert settled(other, lambda: other.locator("#between").fill("2")) < 2000
    page.wait_for_selector("#work .found table", timeout=180_000)
    row = page.locator('#work tr[data-row="parameter-2"]').locator("> *").all_inner_texts()
    assert row[0] == "sd(Batch, (Intercept))"
    exact = wb.fit("Yield ~ 1 + (1 | Batch)", DATA / "datasets/Dyestuff.csv", "exact")
    named = {p["name"]: p for p in exact.to_dict()["parameters"]}
    wanted = named["sd(Batch, (Intercept))"]
    assert float(row[1]) == pytest.approx(wanted["mean"], abs=0.15 * wanted["std_error"])


def test_a_page_that_is_loaded_again_finds_its_computation(visit):
    page = visit("/cost?sizes=5x6&times=600&within=2&seed=2")
    page.get_by_role("button", name="Repeat the design").click()
    page.wait_for_function("() => document.querySelector('#work progress').value > 0")
    page.reload()
    page.wait_for_function("() => document.querySelector('#work progress').value > 0")
    assert page.get_by_role("button", name="Repeat the design").is_disabled()
    page.wait_for_selector("#work .found table", timeout=120_000)
    found = page.locator("#work .found").inner_text()
    page.reload()
    page.wait_for_selector("#work .found table")
    assert page.locator("#work .found").inner_text() == found
    page.goto(page.url.replace("seed=2", "seed=3"))  # another question: nothing of the old one's answer
    page.wait_for_timeout(500)
    assert page.locator("#work .found").inner_text() == ""


def test_a_computation_can_be_stopped(visit):
    page = visit("/yours")
    bring(page, "dyestuff.csv", (DATA / "datasets/Dyestuff.csv").read_bytes())
    page.get_by_role("button", name="Fit full Bayes in PyMC").click()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("() => document.querySelector('#work .running').hidden")
    assert page.locator("#work [role=alert]").inner_text() == "stopped"
    assert page.get_by_role("button", name="Fit full Bayes in PyMC").is_enabled()


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


def test_moving_the_origin_moves_intercepts_and_an_uncorrelated_models_slopes(visit):
    page = visit("/slopes")
    settled(page, lambda: page.locator("#origin_sleepstudy").fill("4.5"))
    sleep = wb.fit("Reaction ~ Days + (Days | Subject)", "models/sleepstudy/data.csv", estimator="reml")
    (a, _), (_, d) = covariance = sleep.components[0].covariance
    moved = (a + 2 * 4.5 * covariance[0, 1] + 4.5**2 * d) ** 0.5
    assert cell(page, "correlated", "SD of intercepts") == pytest.approx(moved, rel=1e-3)
    assert cell(page, "correlated", "REML criterion") == pytest.approx(sleep.criterion, abs=6e-4)
    rest = cell(page, "uncorrelated", "REML criterion") - sleep.criterion
    assert rest > 5
    alone = page.locator("#drawing-plane").get_attribute("aria-label")
    settled(page, lambda: page.locator("#correlated").press("Space"))
    assert page.locator("#drawing-plane").get_attribute("aria-label") != alone


def test_another_table_has_its_own_origin_and_groups(visit):
    page = visit("/slopes?origin_sleepstudy=9")
    with page.expect_navigation():
        page.locator("#data").select_option("radon")
    assert page.locator("#shown [role=alert]").count() == 0
    assert page.locator("#origin_radon").input_value() == "0"
    settled(page, lambda: page.locator("#group_radon").select_option("AITKIN"))
    assert "county AITKIN" in page.locator("#drawing-origin").text_content()


def test_the_design_is_repeated_on_a_button(visit):
    page = visit("/cost?sizes=5x6&times=40&within=2&seed=2")
    page.get_by_role("button", name="Repeat the design").press("Enter")
    page.wait_for_selector("#work .found table", timeout=60_000)
    found = wb.coverage((5,) * 6, 1.0, 2.0, simulations=40, seed=2).summary
    wanted = found.query("estimator == 'no_pooling' and quantity == 'coefficient'")["coverage"].item()
    text = page.locator('#work tr[data-row="no_pooling-coefficient-sampling-SE-0"] td').nth(1).inner_text()
    assert float(text.split(" ")[0]) == pytest.approx(100 * wanted, abs=0.06)


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


def test_a_claim_is_checked_by_the_keyboard_once_somebody_asks(visit):
    page = visit("/myths")
    card = page.locator('[data-card="root"]')
    assert card.locator(".verdict, svg").count() == 0
    settled(page, lambda: card.get_by_role("button", name="Check it on these data").press("Enter"))
    drawn = simulate_groups((100,) * 6 + (2,) * 6, 1.0, 5.0, seed=1)
    tau2, sigma2 = wb.fit("samples ~ 1 + (1 | group)", drawn.to_pandas(), "reml").variance["vcov"].tolist()
    own = np.array([drawn.y[drawn.group == g].mean() for g in range(1, 13)])
    centre = drawn.y.mean()
    rule = centre + np.sqrt(tau2 / (tau2 + sigma2 / np.array(drawn.sizes))) * (own - centre)
    wanted = np.mean((rule - drawn.truth) ** 2)
    assert cell(page, "square-root", "mean squared error") == pytest.approx(wanted, rel=1e-3)
    reml = wb.fit("samples ~ 1 + (1 | group)", drawn.to_pandas(), "reml").coefficients
    mixed = reml.sort_values("level", key=lambda level: level.astype(int))["estimate"].to_numpy()
    spread = np.sqrt(np.mean((rule - centre) ** 2)) / np.std(drawn.truth)
    assert abs(spread - 1) > 0.1
    assert wanted > np.mean((mixed - drawn.truth) ** 2)
    assert card.locator(".verdict").inner_text() == "False here: neither the spread nor the guesses."
    assert page.evaluate("document.activeElement.dataset.card") == "root"  # the focus stays with the answer
    assert page.locator('[data-card="spread"] .verdict').count() == 0
    with page.expect_navigation():
        page.locator("#data").select_option("simulated")
    assert page.locator(".verdict").count() == 0


def test_simulated_groups_hide_their_answers_when_a_slider_moves(visit):
    page = visit("/myths?data=simulated&sizes=5x8")
    card = page.locator('[data-card="spread"]')
    settled(page, lambda: card.get_by_role("button").click())
    drawn = simulate_groups((5,) * 8, 1.0, 2.0, seed=1)
    tau2 = wb.fit("samples ~ 1 + (1 | group)", drawn.to_pandas(), "reml").variance["vcov"][0]
    assert cell(page, "part-4", "value") == pytest.approx(tau2, rel=1e-3)
    page.reload()  # the address holds the open answer
    assert card.locator(".verdict").count() == 1
    settled(page, lambda: page.locator("#between").fill("2"))
    assert card.locator(".verdict").count() == 0

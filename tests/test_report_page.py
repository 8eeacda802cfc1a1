"""The report in a browser: Chromium without a window, by Playwright. Rungs: what a reader sees is recomputed from
the comparison; nothing is logged, nothing is asked of the network.

A machine without Chromium fails these tests; ``pytest -m browser`` runs them, and what is usual leaves them out.
"""

import re
from time import perf_counter

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.report import Context, write_report

pytestmark = pytest.mark.browser

FOUR = ["complete_pooling", "no_pooling", "reml", "fixed_prior"]
GROUPS = 100_000
CONTRAST = 4.5
"""What WCAG 2 asks of text, level AA."""


@pytest.fixture
def visit(browser):
    """Open a report; whatever is logged, goes wrong or is asked of the network fails the test in the end."""
    contexts, heard = [], []

    def opened(folder, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        address = (folder / "index.html").as_uri()
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: request.url in (address,) or request.url.startswith(("data:", "blob:"))
                or heard.append(f"request: {request.url}"))  # fmt: skip
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


@pytest.fixture(scope="module")
def sleep():
    return wb.compare("Reaction ~ Days + (Days | Subject)", DATA / "datasets/sleepstudy.csv", FOUR, title="Sleep")


@pytest.fixture(scope="module")
def few(sleep, tmp_path_factory):
    return write_report(sleep, tmp_path_factory.mktemp("few") / "r", Context(question="How much?", notes="# Lesson\nx"))


@pytest.fixture(scope="module")
def crowd():
    """A hundred thousand groups of 1 to 6 rows, whose labels are words."""
    rng = np.random.default_rng(8)
    sizes = rng.integers(1, 7, GROUPS)
    codes = np.repeat(np.arange(GROUPS), sizes)
    labels = np.array([f"firm {k:06d}" for k in range(GROUPS)], dtype=object)
    y = 1000 * (rng.normal(size=GROUPS)[codes] + 2 * rng.normal(size=len(codes)))
    return wb.compare("y ~ 1 + (1 | g)", {"y": y, "g": labels[codes]}, FOUR)


@pytest.fixture(scope="module")
def many(crowd, tmp_path_factory):
    return write_report(crowd, tmp_path_factory.mktemp("many") / "r", svg=False)


def names(page, table, body=1):
    """The first cell of every row that is seen."""
    return page.locator(f"#{table} tbody:nth-of-type({body}) tr:visible th").all_inner_texts()


def coefficients(comparison, name, k=0):
    part = comparison.fits[name].group_effects[0]
    return list(part.levels), part.coefficient.estimate[:, k]


def head(page, table, title):
    return page.locator(f"#{table} thead th").filter(has_text=re.compile(f"^{re.escape(title)}"))


# --- sorting and searching ----------------------------------------------------------------------------


def test_a_click_sorts_and_a_second_one_turns_the_order_round(visit, few, sleep):
    page = visit(few)
    levels, values = coefficients(sleep, "reml")
    ordered = [levels[j] for j in np.argsort(values, kind="stable")]
    column = head(page, "estimates1", "REML")
    column.locator("button").click()
    assert names(page, "estimates1") == ordered
    assert column.get_attribute("aria-sort") == "ascending"
    column.locator("button").click()
    assert names(page, "estimates1") == ordered[::-1]
    assert column.get_attribute("aria-sort") == "descending"
    head(page, "estimates1", "Subject").locator("button").click()
    assert names(page, "estimates1") == sorted(levels, key=float)
    assert page.locator("#estimates1 thead th[aria-sort]").count() == 1


def test_the_keyboard_alone_sorts_and_searches(visit, few, sleep):
    page = visit(few)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#search-estimates1").focus()
    page.keyboard.type("33")
    wanted = [level for level in sleep.design.blocks[0].levels if "33" in level]
    assert names(page, "estimates1") == wanted
    assert page.locator("#search-estimates1 + [role=status]").inner_text() == f"{len(wanted)} of 18 shown"
    for _ in range(4):  # past the table's own scrolling region to the second heading, n, and back to the first
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    assert page.evaluate("document.activeElement.textContent") == "Subject"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert names(page, "estimates1") == wanted[::-1]
    page.locator("#search-estimates1").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("nobody")
    assert names(page, "estimates1") == []
    assert page.locator("#search-estimates1 + [role=status]").inner_text() == "None found"


def test_the_search_field_has_a_label(visit, few):
    page = visit(few)
    assert page.get_by_label("Search Subject").count() == 2  # one per varying term


# --- very many groups ---------------------------------------------------------------------------------


def test_a_hundred_thousand_groups_open_quickly_in_a_small_page(browser, visit, many):
    assert (many / "index.html").stat().st_size < 3_000_000
    visit(many).close()  # the first page of a browser pays for its start
    begun = perf_counter()
    page = visit(many)
    page.wait_for_selector("#estimates.whole")
    assert perf_counter() - begun < 3
    assert len(names(page, "estimates", 2)) == 100
    assert page.locator("#search-estimates + [role=status]").inner_text() == "1 to 100 of 100,000"


def test_all_groups_are_sorted_and_shown_as_the_fits_have_them(visit, many, crowd):
    page = visit(many)
    page.wait_for_selector("#estimates.whole")
    levels, values = coefficients(crowd, "reml")
    shown = np.round(values)  # estimates near 1000 with errors near 900 have no decimals
    table = crowd.by_group().query("estimator == 'reml'").set_index("level")
    head(page, "estimates", "REML").locator("button").click()
    ordered = np.argsort(shown, kind="stable")
    assert names(page, "estimates", 2) == [levels[j] for j in ordered[:100]]
    page.get_by_role("button", name="Last", exact=True).click()
    assert names(page, "estimates", 2) == [levels[j] for j in ordered[-100:]]
    assert page.locator("#search-estimates + [role=status]").inner_text() == "99,901 to 100,000 of 100,000"
    titles = page.locator("#estimates thead th").all_inner_texts()
    cells = page.locator("#estimates tbody:nth-of-type(2) tr").last.locator("th, td").all_inner_texts()
    row = {title.split("\n")[0].strip(" ↕↑↓"): cell for title, cell in zip(titles, cells, strict=True)}
    own = table.loc[row["g"]]
    assert row["n"] == str(own["n"])
    number, error = row["REML"].split("±")
    assert float(plain(number)) == round(own["estimate"])
    assert float(plain(error)) == round(own["std_error"])
    assert abs(float(row["shrinkage"]) - own["shrinkage"]) <= 5.001e-4
    assert abs(float(row["reliability"]) - own["reliability"]) <= 5.001e-4
    assert abs(float(plain(row["rank"])) - own["rank"]) <= 0.5
    assert row["trust"] == own["trust"]


def plain(text):
    return text.replace("−", "-").replace(",", "").strip()


def test_searching_among_very_many(visit, many):
    page = visit(many)
    page.wait_for_selector("#estimates.whole")
    page.locator("#search-estimates").fill("firm 0123")
    assert names(page, "estimates", 2) == [f"firm {k:06d}" for k in range(12_300, 12_400)]
    page.locator("#search-estimates").fill("FIRM 099999")
    assert names(page, "estimates", 2) == ["firm 099999"]
    assert page.locator("#search-estimates + [role=status]").inner_text() == "1 of 100,000 shown"
    page.locator("#search-estimates").fill("few rows (1)")
    assert "found, of 100,000" in page.locator("#search-estimates + [role=status]").inner_text()


def test_without_a_script_and_on_paper_the_extremes_stand(visit, many, crowd):
    levels, values = coefficients(crowd, "reml")
    order = np.argsort(values, kind="stable")
    extremes = [levels[j] for j in [*order[:15], *order[-15:]]]
    page = visit(many, java_script_enabled=False)
    assert names(page, "estimates") == extremes
    assert page.get_by_text("15 lowest and the 15 highest by REML are shown").is_visible()
    page = visit(many)
    page.wait_for_selector("#estimates.whole")
    assert not page.get_by_text("15 lowest and the 15 highest by REML are shown").is_visible()
    page.emulate_media(media="print")
    assert names(page, "estimates") == extremes
    assert names(page, "estimates", 2) == []
    assert page.get_by_text("15 lowest and the 15 highest by REML are shown").is_visible()


# --- looks --------------------------------------------------------------------------------------------


LUMINANCE = """() => {
  const part = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const c = rgb(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.offsetParent || node.closest("script, style")) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.tagName + " " + node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(visit, few, scheme):
    page = visit(few, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    found = page.evaluate(LUMINANCE)
    assert len(found) > 100
    assert [entry for entry in found if entry[0] < CONTRAST] == []
    cards = page.locator(".card").evaluate_all("nodes => nodes.map(n => getComputedStyle(n).backgroundColor)")
    assert set(cards) == {"rgb(255, 255, 255)"}  # pictures are drawn on white


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(visit, few, many, width):
    for folder in (few, many):
        page = visit(folder, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_paper_no_table_is_cut_and_no_control_is_left(visit, few, many):
    for folder in (few, many):
        page = visit(folder, viewport={"width": 688, "height": 1000})  # A4 less margins, in CSS pixels
        page.emulate_media(media="print")
        page.wait_for_timeout(300)
        assert page.locator(".tools:visible, nav:visible, .skip:visible").count() == 0
        page_width = page.evaluate("document.documentElement.clientWidth")
        widths = page.locator("table").evaluate_all("nodes => nodes.map(n => [n.id, n.getBoundingClientRect().right])")
        assert [entry for entry in widths if entry[1] > page_width + 1] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page_width


def test_the_page_prints_to_pdf(visit, few):
    assert visit(few).pdf(format="A4").startswith(b"%PDF-")

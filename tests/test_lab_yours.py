"""Tables that users bring to the lab: how they are read, kept, forgotten and refused."""

import numpy as np
import polars as pl
import pytest
from corpus import DATA

import workbench as wb
from workbench.errors import DataError, OptionError, WorkbenchError
from workbench.lab.controls import values
from workbench.lab.datasets import INTERCEPTS, SLOPES, Brought, brought, chosen, of_table, takes
from workbench.lab.pages import yours
from workbench.lab.uploads import KEPT, MOST_ROWS, SHELF, TABLES, Shelf, read_table

SLEEP = DATA / "datasets/sleepstudy.csv"


@pytest.fixture
def sleep():
    return read_table("sleep.csv", SLEEP.read_bytes())


def packed(tmp_path, frame):
    frame.write_parquet(tmp_path / "t.parquet")
    return (tmp_path / "t.parquet").read_bytes()


def test_columns_are_told_apart(sleep, tmp_path):
    assert sleep.columns == ("Reaction", "Days", "Subject")
    assert [sleep.columns[k] for k in sleep.numbers] == ["Reaction", "Days"]
    assert [sleep.columns[k] for k in sleep.labels] == ["Days", "Subject"]
    frame = pl.DataFrame({"y": [1.0, 2, 3, 4, 5, 6], "c": [1.0] * 6, "g": list("aabbcc"), "h": [1.5, 1.5, 2, 2, 3, 3]})
    found = read_table("t.parquet", packed(tmp_path, frame))
    assert [found.columns[k] for k in found.numbers] == ["y", "h"]  # a constant tells nothing
    assert [found.columns[k] for k in found.labels] == ["g"]  # fractions are no labels


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"x;y\n1;2\n", "separated by ';'"),
        ("a.parquet", b"nope", "a.parquet cannot be read as Parquet"),
        ("a.xlsx", b"", "The lab reads .csv, .tsv, .parquet"),
        ("a", b"x", "ends in 'nothing'"),
        ("a.csv", b"g,h\na,x\na,y\n", "no column of numbers"),
        ("a.csv", b"x,y\n1,2\n2,3\n3,4\n", "no column of groups"),
        ("a.csv", b"a," * 201 + b"b\n", "columns"),
    ],
)
def test_what_is_no_table_of_groups_is_refused_in_words(name, content, words):
    with pytest.raises(DataError, match=words) as refused:
        read_table(name, content)
    assert "/" not in str(refused.value).replace("and/or", "")  # no path of this machine


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_does(tmp_path):
    content = packed(tmp_path, pl.DataFrame({"y": np.zeros(MOST_ROWS + 1), "g": ["a"] * (MOST_ROWS + 1)}))
    assert len(content) < 10_000
    with pytest.raises(DataError, match="100,001 rows"):
        read_table("bomb.parquet", content)


def test_nothing_in_a_table_is_evaluated():
    name = "__import__('os').getpid()"
    found = read_table("t.csv", f'"{name}",g\n1,a\n2,a\n4,b\n3,b\n7,c\n8,c\n'.encode())
    key = SHELF.put(found)
    shown = yours.PAGE.show(values(yours.PAGE.controls({"data": f"u-{key}-0-1-n"}), {"data": f"u-{key}-0-1-n"}))
    assert name in shown.drawings[0].title


def test_tables_are_forgotten_in_time_and_when_room_is_needed(sleep):
    now = [0.0]
    shelf = Shelf(lambda: now[0])
    first, second = shelf.put(sleep), shelf.put(sleep)
    assert first != second
    now[0] = 0.9 * KEPT
    assert shelf.get(first) is sleep
    now[0] = 1.1 * KEPT
    with pytest.raises(OptionError, match="not here any more"):
        shelf.get(second)
    assert shelf.get(first) is sleep  # asked for in the meantime
    for _ in range(TABLES + 5):
        now[0] += 1
        shelf.put(sleep)
    assert len(shelf) == TABLES
    with pytest.raises(OptionError, match="not here any more"):
        shelf.get(first)


def test_the_model_is_that_of_the_chosen_columns(sleep):
    own = Brought("00ff", 0, 2, 1)
    assert brought(own.key) == own
    design = of_table(own, sleep).design
    assert str(design.formula) == "`Reaction` ~ `Days` + (`Days` | `Subject`)".replace("`", "")
    assert of_table(own, sleep).design is design  # made once
    for wrong, words in (((0, 2, 2), "different columns"), ((2, 1, None), "not one of those")):
        with pytest.raises(WorkbenchError, match=words):
            of_table(Brought("00ff", *wrong), sleep)


def test_pages_take_what_they_can_run_on(sleep):
    key = SHELF.put(sleep)
    whole, means = f"u-{key}-0-2-1", f"u-{key}-0-2-n"
    assert takes(SLOPES, whole)
    assert not takes(SLOPES, means)
    assert takes(INTERCEPTS, whole)
    assert not takes((), whole)
    assert chosen({"data": whole}, INTERCEPTS).design.blocks[0].terms == ("(Intercept)",)
    assert chosen({"data": whole}, SLOPES).design.blocks[0].terms == ("(Intercept)", "Days")
    for other in ("nothing", "sleepstudy", "u-00ff00-0-1-n"):
        with pytest.raises(OptionError):
            chosen({"data": other}, INTERCEPTS)


def test_menus_settle_into_the_key(sleep):
    key = SHELF.put(sleep)
    asked = {"data": f"u-{key}-0-2-n", "response": "0", "group": "2", "slope": "1"}
    assert yours.settle(asked) == {"data": f"u-{key}-0-2-1"}
    assert yours.settle({"data": f"u-{key}-0-2-1"}) is None
    assert yours.settle(asked | {"response": "x"}) is None


def test_columns_to_begin_with_are_likely_ones():
    """Words rather than whole numbers for groups; fractions rather than counts, and no counter, for the response."""
    lines = ["row,count,mark,class"] + [f"{k},{k % 5},{k % 7 + 0.5},{'abc'[k % 3]}" for k in range(21)]
    table = read_table("t.csv", "\n".join(lines).encode())
    own = yours.first_choice("00ff", table)
    assert (table.columns[own.group], table.columns[own.response], own.slope) == ("class", "mark", None)


def test_a_table_that_nobody_asks_for_is_forgotten_by_itself(sleep, monkeypatch):
    from workbench.lab import uploads

    monkeypatch.setattr(uploads, "KEPT", 0.05)
    shelf = Shelf()
    shelf.put(sleep)
    emptied = []
    monkeypatch.setattr(uploads, "CACHES", [lambda: emptied.append(True)])
    wait_until(lambda: bool(emptied), 5)  # what was computed of it, too
    assert not shelf._kept


def wait_until(there, seconds):
    import time

    begun = time.monotonic()
    while not there():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


def test_numbers_are_those_of_the_public_functions(sleep):
    query = {"data": f"u-{SHELF.put(sleep)}-0-2-n"}
    shown = yours.PAGE.show(values(yours.PAGE.controls(query), query))
    columns, rows = shown.numbers[0].columns, dict(shown.numbers[0].rows)
    comparison = wb.compare("Reaction ~ 1 + (1 | Subject)", SLEEP, ["no_pooling", "reml", "fixed_prior", "exact"])
    titles = {"no_pooling": "no pooling", "reml": "REML", "fixed_prior": "fixed prior", "exact": "exact full Bayes"}
    for name, title in titles.items():
        wanted = comparison.fits[name].coefficients["estimate"].to_numpy()
        found = [float(rows[f"level-{j}"][columns.index(title)].replace("−", "-")) for j in range(18)]
        np.testing.assert_allclose(found, wanted, rtol=2e-3)


def test_pages_that_draw_samples_take_the_design_along(sleep):
    import re
    from urllib.parse import parse_qs

    from workbench.lab import render
    from workbench.lab.pages import PAGES

    key = f"u-{SHELF.put(sleep)}-0-2-n"
    html = render.whole(yours.PAGE, PAGES, {"data": key})
    fit = wb.fit("Reaction ~ 1 + (1 | Subject)", SLEEP, "reml")
    tau, sigma = fit.variance["sdcor"]
    for page in ("noise", "cost"):
        asked = parse_qs(re.search(rf'href="/{page}\?([^"]+)"', html)[1].replace("&amp;", "&"))
        assert asked["sizes"] == ["10x18"]
        assert float(asked["between"][0]) == pytest.approx(tau / sigma, rel=5e-3)
        assert asked["within"] == ["1"]
    for page in ("prior", "tau", "boundary", "myths"):
        assert f'href="/{page}?data={key}"' in html
        other = next(p for p in PAGES if p.key == page)
        assert 'class="trouble"' not in render.whole(other, PAGES, {"data": key})
    assert 'href="/slopes"' in html  # needs a slope

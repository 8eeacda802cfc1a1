"""The lab without a browser: controls, drawings, pages, and a real server that is asked by real requests.

Rungs: closed forms of the one-way model; R's random numbers, which the twelve groups are drawn with; what an address
may hold.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest

import workbench as wb
from workbench.cli import main
from workbench.errors import OptionError
from workbench.lab import render
from workbench.lab.controls import Choice, Slider, Tick, Words, values
from workbench.lab.drawing import Dots, Drawing, Line, Panel, Rule, Segments, limits, ticks
from workbench.lab.pages import PAGES, noise
from workbench.lab.server import application
from workbench.lab.sizes import group_sizes
from workbench.simulate import simulate_groups

BY_KEY = {page.key: page for page in PAGES}


def shown(key, **asked):
    page = BY_KEY[key]
    query = {name: str(value) for name, value in asked.items()}
    return page.show(values(page.controls(query), query))


def cells(table):
    """The cells of a table of the lab, by row key and column."""
    return {key: dict(zip(table.columns, row, strict=True)) for key, row in table.rows}


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


# --- controls -----------------------------------------------------------------------------------------


def test_values_come_from_the_address_or_are_those_of_the_start():
    asked = (
        Slider("sd", "SD", 0.0, 3.0, 0.1, 1.0),
        Slider("seed", "Seed", 1, 9, 1, 4, whole=True),
        Choice("data", "Data", (("a", "A"), ("b", "B")), "a"),
        Tick("log", "Logarithmic", True),
        Words("sizes", "Sizes", "2x3", group_sizes),
    )
    assert values(asked, {}) == {"sd": 1.0, "seed": 4.0, "data": "a", "log": True, "sizes": (2, 2, 2)}
    found = values(asked, {"sd": "0.333", "seed": "9", "data": "b", "log": "0", "sizes": "5 6", "more": "x"})
    assert found == {"sd": 0.333, "seed": 9.0, "data": "b", "log": False, "sizes": (5, 6)}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sd": "3.1"}, "SD is '3.1', but must be a number from 0 to 3"),
        ({"sd": "nan"}, "must be a number"),
        ({"sd": "1e999"}, "must be a number"),
        ({"seed": "1.5"}, "a whole number from 1 to 9"),
        ({"data": "c"}, "must be one of a or b"),
        ({"log": "yes"}, "must be 1"),
        ({"sizes": "9" * 500}, "at most 400 are read"),
    ],
)
def test_what_cannot_be_is_refused_in_words(query, words):
    asked = (
        Slider("sd", "SD", 0.0, 3.0, 0.1, 1.0), Slider("seed", "Seed", 1, 9, 1, 4, whole=True),
        Choice("data", "Data", (("a", "A"), ("b", "B")), "a"), Tick("log", "Log", True),
        Words("sizes", "Sizes", "2x3", group_sizes),
    )  # fmt: skip
    with pytest.raises(OptionError, match=re.escape(words)):
        values(asked, query)


def test_a_handle_with_a_power_is_finer_near_its_low_end():
    slider = Slider("sd", "SD", 1.0, 9.0, 0.1, 2.0, power=3.0)
    for place in (0.0, 0.25, 0.5, 1.0):
        assert slider.place(str(1 + 8 * place**3)) == pytest.approx(place, abs=1e-12)
    assert [slider.place(text) for text in ("much", "nan", "-3", "1e9")] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("100x6, 2x6", (100,) * 6 + (2,) * 6), ("5 5 10", (5, 5, 10)), ("3 × 2;4", (3, 3, 4)), ("2 X 2", (2, 2))],
)
def test_sizes_are_read_as_people_write_them(text, sizes):
    assert group_sizes(text) == sizes


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "No sizes are given"), ("1x5", "cannot tell noise from spread"), ("1000000x3", "at most 20,000"),
     ("a", "is no size"), ("-3 4", "is no size"), ("5", "one group only"), ("0x3", "a zero"),
     ("2x201", "more than 200 groups"), ("20000 1", "at most 20,000"), ("1.5 2", "is no size")],
)  # fmt: skip
def test_sizes_that_make_no_groups_are_refused(text, words):
    with pytest.raises(OptionError, match=words):
        group_sizes(text)


# --- drawings -----------------------------------------------------------------------------------------


def test_marks_stand_where_their_numbers_say():
    inside = Panel(
        (
            Dots(np.array([0.0, 10.0, np.nan]), np.array([0.0, 5.0, 1.0]), "#000000", "s", names=("a", "b", "c")),
            Line(np.array([0.0, 10.0]), np.array([5.0, 0.0]), "ink"),
            Rule(2.5, "muted", across=True),
            Segments(np.array([5.0]), np.array([0.0]), np.array([5.0]), np.array([5.0]), "#112233", arrows=True),
        ),
        x=(0.0, 10.0),
        y=(0.0, 5.0),
        height=374.0,
    )
    svg = Drawing("k", "A <title>", "What & why", ((inside,),)).svg()
    assert svg.count("<title>a</title>") == 1
    assert "<title>c</title>" not in svg  # a point without a place is not drawn
    # the inside runs from 64 to 704 across and from 30 to 330 down
    assert 'd="M64 30L704 330"' in svg
    assert 'd="M64 180h640"' in svg
    assert 'd="M384 330L384 30' in svg
    assert "A &lt;title&gt;. What &amp; why" in svg


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 17.0), (1e-9, 2e-9), (1e6, 1.00001e6), (-5.0, -4.9)])
def test_ticks_are_round_evenly_spaced_and_inside(low, high):
    at = np.array(ticks(low, high))
    assert 2 <= len(at) <= 12
    assert (at >= low - 1e-9 * abs(high)).all()
    assert (at <= high + 1e-9 * abs(high)).all()
    np.testing.assert_allclose(np.diff(at), at[1] - at[0], rtol=1e-6)


def test_limits_hold_every_finite_value():
    assert limits([1.0, np.inf, 3.0], room=0.5) == (0.0, 4.0)
    low, high = limits([2.0, 2.0])
    assert low < 2.0 < high


# --- noise and shrinkage ------------------------------------------------------------------------------


def test_the_twelve_groups_are_those_of_r():
    found = cells(shown("noise").numbers[0])
    drawn = simulate_groups((100,) * 6 + (2,) * 6, 1.0, 5.0, seed=1)
    assert drawn.truth[0] == pytest.approx(-0.6264538107)  # R: set.seed(1); rnorm(1)
    for n, own in ((100, slice(0, 6)), (2, slice(6, 12))):
        raw = np.array([drawn.y[drawn.group == g].mean() for g in np.unique(drawn.group)])[own]
        assert number(found[f"n-{n}"]["variance of raw means"]) == pytest.approx((raw**2).mean(), rel=1e-3)
        assert number(found[f"n-{n}"]["between² + within² / n"]) == pytest.approx(1 + 25 / n, rel=1e-3)
        wanted = ((raw - drawn.truth[own]) ** 2).mean()
        assert number(found[f"n-{n}"]["squared error, raw"]) == pytest.approx(wanted, rel=1e-3)


def test_shrunken_means_are_remls():
    """Against the fit of the same samples by the public function, and the closed form of the shrinkage."""
    drawn = simulate_groups((4, 9, 30, 2), 2.0, 3.0, seed=7)
    fit = wb.fit("samples ~ 1 + (1 | group)", drawn.to_pandas(), estimator="reml")
    found = shown("noise", between=2, within=3, sizes="4 9 30 2", seed=7)
    kept = cells(found.numbers[0])
    tau2, sigma2 = fit.variance["vcov"].tolist()
    for n in (2, 4, 9, 30):
        assert number(kept[f"n-{n}"]["share that REML keeps"]) == pytest.approx(tau2 / (tau2 + sigma2 / n), abs=6e-4)
    dots = next(m for m in found.drawings[0].rows[0][0].marks if isinstance(m, Dots) and m.shape == "+")
    np.testing.assert_allclose(dots.y, fit.coefficients["estimate"], rtol=1e-6)


def test_where_reml_finds_no_spread_the_page_says_so():
    found = shown("noise", between=0, seed=3)
    tau = wb.fit(
        "samples ~ 1 + (1 | group)", simulate_groups((100,) * 6 + (2,) * 6, 0.0, 5.0, seed=3).to_pandas(), "reml"
    ).variance["sdcor"][0]
    assert any("no more spread than noise" in s for s in found.says) == (tau == 0)


# --- pages and server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.key)
def test_every_page_shows_itself_without_being_asked_for_anything(page):
    html = render.whole(page, PAGES, {})
    assert f"<h1>{page.title}</h1>" in html
    assert 'class="trouble"' not in html
    assert html.count("<svg") >= 1 or page.brings
    for control in page.controls({}):
        assert html.count(f' id="{control.name}"') == 1
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_table_goes_along_where_the_other_page_has_it():
    html = render.whole(BY_KEY["prior"], PAGES, {"data": "dyestuff"})
    assert 'href="/prior?data=dyestuff"' in html
    assert 'href="/noise"' in html  # makes its own data


def test_a_table_that_a_page_does_not_have_gets_a_sentence():
    html = render.whole(BY_KEY["prior"], PAGES, {"data": "radon", "mean": "3"})
    assert "There is no table &#39;radon&#39; for this page." in html
    assert 'id="mean"' in html


def test_pages_explain_their_words():
    html = render.whole(BY_KEY["boundary"], PAGES, {})
    for word in ("REML", "τ", "boundary avoiding", "full Bayes", "conditional SD"):
        assert f"<dt>{word}</dt>" in html
    assert "<dt>LKJ</dt>" not in html


def test_what_is_typed_does_not_become_markup():
    html = render.whole(noise.PAGE, PAGES, {"sizes": '"><script>alert(1)</script>'})
    assert "<script>alert" not in html


def test_steps_can_be_taken():
    for page in PAGES:
        for step in page.show(values(page.controls({}), {})).steps:
            values(page.controls(step.change), step.change)
            assert json.loads(json.dumps(dict(step.change))) == dict(step.change)
            assert set(step.change) <= {control.name for control in page.controls(step.change)}


@pytest.fixture(scope="module")
def address():
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application(), log_level="error"))
        running = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        running.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        running.join(10)


def get(address, path, **headers):
    try:
        with urlopen(Request(address + path, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_the_server_answers_with_the_page_and_its_parts(address):
    status, headers, html = get(address, "/noise?" + urlencode({"sizes": "3x4", "seed": 5}))
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "3 (3)" in html
    status, _, part = get(address, "/noise/shown?" + urlencode({"sizes": "3x4", "seed": 5}))
    assert status == 200
    assert part.strip() in html
    assert get(address, "/")[2].count("<li>") == len(PAGES)
    assert get(address, "/lab.js")[1].get_content_type() == "text/javascript"
    assert get(address, "/lab.css")[1].get_content_type() == "text/css"


def test_what_is_not_there_or_cannot_be_gets_a_sentence(address):
    assert get(address, "/nothing")[0] == 404
    assert get(address, "/nothing/shown")[0] == 404
    status, _, part = get(address, "/noise/shown?between=much")
    assert status == 200
    assert "SD between groups is &#39;much&#39;, but must be a number from 0 to 5." in part


def test_other_hosts_names_are_refused(address):
    """A page elsewhere that gives this machine a name of its own must not reach the lab."""
    assert get(address, "/noise", Host="evil.example")[0] == 400
    assert get(address, "/noise", Host="localhost")[0] == 200


def test_a_taken_port_gets_a_sentence(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["lab", "--port", str(taken.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert "The lab cannot listen on 127.0.0.1" in said
    assert "--port" in said


@pytest.mark.parametrize(("arguments", "reason"), [(["--port", "99999"], "0-65535"), (["--host", "no.invalid"], "")])
def test_a_place_that_there_is_not_is_no_lab_that_runs_there(capsys, arguments, reason):
    assert main(["lab", *arguments]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert ".." not in said
    assert said.endswith("Name another --host, or a --port from 0 to 65535.\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_without_a_word(number):
    command = [sys.executable, "-m", "workbench", "lab", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "The lab is at http://127.0.0.1:" in process.stderr.readline()
        time.sleep(1.0)
        process.send_signal(number)
        assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 0


class _Minutes:
    """What keeps a job's process busy for three minutes, as it is unpacked there."""

    def __reduce__(self):
        return time.sleep, (180,)


@pytest.mark.slow
def test_jobs_end_when_they_fail_and_when_nobody_asks(monkeypatch):
    from workbench.lab import jobs

    running = jobs.Jobs(at_once=1)
    stopped = running.start("noise", _Minutes())
    with pytest.raises(OptionError, match="1 computations are running already"):
        running.start("noise", None)
    running.stop(stopped)
    assert running.state(stopped) == jobs.State("stopped", ended=True)
    failing = running.start("noise", None)  # a page without work
    while not running.state(failing).ended:
        time.sleep(0.05)
    assert running.state(failing).text.startswith("The computation failed")
    monkeypatch.setattr(jobs, "ABANDONED", 0.0)
    monkeypatch.setattr(jobs, "LOOK", 0.05)
    left = running.start("noise", _Minutes())
    while not running._jobs[left].state.ended:  # nobody asks
        time.sleep(0.05)
    assert not running._jobs[left].process.is_alive()
    assert running.state(left) == jobs.State("Ended, as its page was left.", ended=True)
    with pytest.raises(OptionError, match="not known any more"):
        running.state("nothing")

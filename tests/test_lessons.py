"""The lessons run from start to end, state nothing that they do not compute, and become pages of their own."""

import ast
import re

import pytest

from workbench.cli import main
from workbench.errors import OptionError
from workbench.lessons import LESSONS, lesson
from workbench.lessons.asking import Revealed, choose, guess, reveal, verdict
from workbench.lessons.export import export, key, page, ran
from workbench.lessons.telling import numbers, say

STATING = ("say", "reveal", "numbers", "guess", "choose")


EACH = [pytest.param(one, id=one.key, marks=[pytest.mark.slow] * (one.number > 1)) for one in LESSONS]
"""The first is run by the usual tests, the others, of some seconds each, by those of CI."""


@pytest.fixture(scope="module", params=EACH)
def found(request):
    return ran(request.param)


def test_every_question_is_answered_and_every_lesson_asks(found):
    assert 3 <= len(found.answers) <= 8
    assert all(isinstance(answer, Revealed) for answer in found.answers)
    assert all(answer.because.strip() for answer in found.answers)


def test_no_answer_stands_where_a_student_has_not_guessed(found):
    for answer in found.answers:
        assert answer.html == '<p class="wait">Guess first; the answer comes when you submit.</p>'


def test_lessons_have_their_length(found):
    """Words to read at 130 a minute, and a minute a question, make some ten to twenty minutes."""
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page(found), flags=re.S)
    body = text[text.index("Afterwards you can") :]
    minutes = len(body.split()) / 130 + len(found.answers)
    assert 6 <= minutes <= 22


@pytest.mark.parametrize("one", LESSONS, ids=lambda one: one.key)
def test_no_decimal_is_typed_in_what_a_lesson_states(one):
    """Every number that a lesson states is computed in it."""
    for node in ast.walk(ast.parse(one.path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in STATING):
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                assert not re.search(r"\d[.,]\d", part.value), part.value


@pytest.mark.parametrize("one", LESSONS, ids=lambda one: one.key)
def test_no_guess_takes_another_question_s_answer_away(one):
    """A cell that asks runs anew with what it takes from others, and its form forgets what was answered."""
    cells = [node for node in ast.parse(one.path.read_text()).body if isinstance(node, ast.FunctionDef)]
    maker = {}
    for cell in cells:
        given = cell.body[-1].value if isinstance(cell.body[-1], ast.Return) else None
        maker |= {part.id: cell for part in ast.walk(given or ast.Tuple([])) if isinstance(part, ast.Name)}

    def above(cell):
        taken = {argument.arg for argument in cell.args.args}
        return taken.union(*(above(maker[name]) for name in taken if name in maker))

    asked = {
        name
        for cell in cells
        for part in ast.walk(cell)
        if isinstance(part, ast.Assign)
        and isinstance(part.value, ast.Call)
        and getattr(part.value.func, "id", "") in ("guess", "choose")
        for name in (part.targets[0].id,)
    }
    assert asked
    for name in asked:
        assert not above(maker[name]) & asked, name


def test_numbers_and_order_of_lessons():
    assert [one.number for one in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert len({one.key for one in LESSONS}) == len(LESSONS)
    for one in LESSONS:
        assert len(one.goals) >= 3
        assert one.path.is_file()
        assert one.path.read_text().startswith(f'"""Lesson {one.number}. ')
    with pytest.raises(OptionError, match="no lesson 99"):
        lesson(99)


def test_pages_hold_everything_and_ask_nothing_of_a_network(found):
    html = page(found)
    assert "default-src 'none'" in html
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)
    assert html.count('<form class="question"') == html.count('<section class="answer"') == len(found.answers)
    assert html.count("hidden>") >= len(found.answers)
    ids = re.findall(r' id="(answer-[^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert key([found]).count("<li><p>") == len(found.answers)


def test_two_exports_are_the_same_bytes(tmp_path):
    first, second = (export([lesson(1)], tmp_path / turn, answers=True) for turn in "ab")
    assert [p.name for p in first] == ["noise_and_shrinkage.html", "answers.html", "instructors.html"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


class Form:
    """What a form of marimo's is to an answer."""

    def __init__(self, form, value):
        self.question, self.value = form.question, value


def test_a_guess_is_shown_beside_what_was_computed():
    form = guess("k", "How many?", 0, 10, 1)
    assert form.value is None
    assert "Guess first" in reveal(form, 4, "because").html
    told = reveal(Form(form, 5), 4, "So *it* is.", near=1).html
    assert "You said 5; computed: 4." in told
    assert "near enough" in told
    assert "<em>it</em>" in told
    assert "near enough" not in reveal(Form(form, 6), 4, "", near=1).html
    choice = choose("c", "Which?", ("one", "other"))
    assert "Right." in reveal(Form(choice, "one"), "one", "").html
    assert "Right." not in verdict("one", "other", 0)


def test_answers_that_nobody_could_give_are_refused():
    with pytest.raises(OptionError, match="outside"):
        reveal(guess("k", "?", 0, 1, 0.1), 2.0, "")
    with pytest.raises(OptionError, match="none of the options"):
        reveal(choose("c", "?", ("a", "b")), "c", "")
    with pytest.raises(OptionError, match="larger"):
        guess("k", "?", 1, 1, 0.1)


def test_what_is_told_is_not_taken_for_markup():
    assert "<script>" not in say("<script>alert(1)</script>").html
    import pandas as pd

    assert "<b>" not in numbers(pd.DataFrame({"<b>": ["<b>"]}), "<b>").html


def test_the_command_lists_exports_and_refuses(tmp_path, capsys):
    assert main(["lesson", "list"]) == 0
    assert "1. Noise and shrinkage (10 to 20 minutes)" in capsys.readouterr().out
    assert main(["lesson", "export", "1", "--out", str(tmp_path / "site")]) == 0
    assert (tmp_path / "site/noise_and_shrinkage.html").stat().st_size < 1_000_000
    assert main(["lesson", "open"]) == 2
    assert main(["lesson", "open", "99"]) == 2
    (tmp_path / "file").write_text("")
    assert main(["lesson", "export", "1", "--out", str(tmp_path / "file/below")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_page_for_who_teaches_names_what_is_there():
    from workbench.lab.pages import PAGES
    from workbench.lessons.export import instructors

    html = instructors()
    for words in ("In 15 minutes", "In 45 minutes", "In 90 minutes", "A study of your own", "For a class"):
        assert f"<h2>{words}</h2>" in html
    named = re.findall("<em>([^<]+)</em>", html)
    assert len(named) >= 7
    assert set(named) <= {page.title for page in PAGES} | {one.title for one in LESSONS}

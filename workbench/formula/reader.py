"""Text -> tokens -> expression tree, by precedence climbing; says where and why it cannot."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from workbench.errors import FormulaError, nearest
from workbench.formula.tree import (
    RESERVED,
    WORD,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Paren,
    Unary,
    start,
    variables,
    walk,
    whole_number,
)

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 50  # parentheses, calls and signs inside one another
MAX_OPERATORS = 150  # in one summand: bounds the height of every tree

FUNCTIONS = {  # name: number of arguments
    "I": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "exp": 1, "sqrt": 1, "abs": 1,
    "scale": 1, "center": 1, "factor": 1, "poly": 2, "offset": 1, "cbind": 2,
}  # fmt: skip
_INSIDE = FUNCTIONS.keys() - {"factor", "poly", "offset", "cbind"}  # may stand inside another call
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<word>{WORD})
    | (?P<quoted>`(?:[^`\\]|\\.)+`)
    | (?P<symbol>\|\||\*\*|[-+*/^:|~(),])""",
    re.VERBOSE | re.DOTALL,
)
_TAIL = re.compile(r"[\w.]+")
_UNKNOWN = (
    ("\"'", "a formula holds no text in quotes; an unusual column name stands in backticks: `my x`"),
    ("%", "%in% and other % operators are not supported; write a:b, or a/b for b within a"),
    ("=<>!&", "a formula holds no comparisons and no named arguments; make a column of it first"),
    ("[]$@{}", "a formula names whole columns; make a column of this first"),
    ("_", "a name that begins with an underscore is quoted with backticks: `_x`"),
    ("`", "this backtick has no partner, or nothing is between the two"),
    ("−–—", "this dash is not a minus sign; write -"),
    ("×∗·", "this is not a multiplication sign; write * or :"),
    ("∼˜～", "this is not a tilde; write ~"),
)  # fmt: skip
_LEVELS = {"|": 1, "||": 1, "+": 2, "-": 2, "*": 3, "/": 3, ":": 4, "^": 6}
_BAR, _SUM, _SIGN = 1, 2, 5


def read(text: str) -> tuple[Expression, list[tuple[str, Expression]]]:
    """Read a formula into its response and its summands, each with its sign."""
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"this formula has {len(text)} characters; the limit is {MAX_LENGTH}")
    response, summands = _Parser(text).formula()
    _check_response(response, text)
    return response, summands


def fail(problem: str, text: str, position: int) -> NoReturn:
    """Refuse the formula, with a caret under the place."""
    raise FormulaError(problem, re.sub(r"\s", " ", text), position)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, symbol or end
    text: str
    position: int


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            why = f"the character {text[at]!r} has no meaning here; quote unusual names with backticks: `my x`"
            fail(next((hint for chars, hint in _UNKNOWN if text[at] in chars), why), text, at)
        kind, found = str(match.lastgroup), match.group()
        if kind == "number":
            _check_number(found, text, at)
        if kind == "word":
            _check_word(found, text, at)
        if kind == "quoted":
            found = re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL)
        if kind == "symbol" and found == "**":
            found = "^"
        if kind != "space":
            tokens.append(_Token("name" if kind in ("word", "quoted") else kind, found, at))
        at = match.end()
    return [*tokens, _Token("end", "", len(text.rstrip()))]


def _check_number(number: str, text: str, at: int) -> None:
    if tail := _TAIL.match(text, at + len(number)):
        if tail.group() == "L":
            fail(f"write {number} in place of {number}L", text, at)
        fail(f"a name cannot begin with a digit; quote it with backticks: `{number}{tail.group()}`", text, at)
    if math.isinf(float(number)):
        fail(f"the number {number} is too large", text, at)


def _check_word(word: str, text: str, at: int) -> None:
    if word == ".":
        fail("'.' for all other columns is not supported; name the columns", text, at)
    if RESERVED.fullmatch(word):
        why = f"{word} is a reserved word; a column of that name is quoted with backticks: `{word}`"
        fail(why, text, at)


class _Parser:
    """Precedence climbing over the tokens; the outermost sum is a list, so its length is free."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, _tokenize(text)
        self.at = self.depth = self.operators = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        fail(problem, self.text, self.here.position if position is None else position)

    def take(self) -> _Token:
        token = self.here
        if not self.ahead(")"):
            self.operators += 1
            if self.operators > 2 * MAX_OPERATORS:  # every operator has an operand
                self.fail(f"this term has more than about {MAX_OPERATORS} operations")
        self.at += 1
        return token

    def ahead(self, *symbols: str) -> bool:
        return self.here.kind == "symbol" and self.here.text in symbols

    def formula(self) -> tuple[Expression, list[tuple[str, Expression]]]:
        if self.here.kind == "end":
            self.fail("the formula is empty; write for example y ~ x + (1 | g)")
        if self.ahead("~"):
            self.fail("a response is needed on the left of '~': y ~ x + (1 | g)")
        response = self.expression(_SUM)
        if not self.ahead("~"):
            if self.here.kind == "end":
                self.fail("a formula needs '~' between the response and the terms: y ~ x + (1 | g)")
            self.fail_after("'~'")
        self.at += 1
        summands: list[tuple[str, Expression]] = []
        while not summands or self.ahead("+", "-"):
            sign = self.take().text if summands or self.ahead("-") else "+"
            self.operators = 0
            summands.append((sign, self.expression(_SUM + 1)))
        if self.here.kind != "end":
            self.fail_after("the end")
        return response, summands

    def expression(self, level: int) -> Expression:
        left = self.operand()
        while self.ahead(*_LEVELS) and _LEVELS[self.here.text] >= level:
            op = self.take()
            binding = _LEVELS[op.text]
            # Only ^ groups to the right, and a sign may follow it: x^-1.
            right = self.nested(_SIGN if op.text == "^" else binding + 1)
            left = Binary(op.text, left, right, op.position)
        return left

    def nested(self, level: int) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"this is nested more than {MAX_DEPTH} deep")
        inner = self.expression(level)
        self.depth -= 1
        return inner

    def operand(self) -> Expression:
        if self.here.kind in ("symbol", "end") and not self.ahead("+", "-", "("):
            self.fail_missing()
        token = self.take()
        if token.kind == "number":
            return Number(float(token.text), token.text, token.position)
        if token.kind == "name":
            return self.call(token) if self.ahead("(") else Name(token.text, token.position)
        if token.text in "+-":
            return Unary(token.text, self.nested(_SIGN), token.position)
        inner = self.nested(_BAR)
        self.close(token)
        return Paren(inner, token.position)

    def call(self, name: _Token) -> Call:
        if name.text not in FUNCTIONS:
            hint = nearest(name.text, FUNCTIONS)
            hint = f"{hint} " if hint.startswith("Did") else ""
            known = ", ".join(FUNCTIONS)
            self.fail(f"the function {name.text!r} is not known. {hint}There are: {known}.", name.position)
        opening = self.take()
        args = [self.nested(_BAR)]
        while self.ahead(","):
            self.at += 1
            args.append(self.nested(_BAR))
        self.close(opening)
        if len(args) != FUNCTIONS[name.text]:
            takes = {1: "one argument", 2: "two arguments"}[FUNCTIONS[name.text]]
            self.fail(f"{name.text}() takes {takes}, not {len(args)}", name.position)
        return Call(name.text, tuple(args), name.position)

    def close(self, opening: _Token) -> None:
        if self.here.kind == "end":
            self.fail("this parenthesis is never closed; add ')'", opening.position)
        if not self.ahead(")"):
            self.fail_after("')'")
        self.take()

    def fail_missing(self) -> NoReturn:
        """Say what is missing where an operand was due."""
        before = self.tokens[self.at - 1]  # at the start, the end
        if before.text == "~" and self.here.kind == "end":
            self.fail("nothing stands on the right of '~'; write y ~ 1 for a mean alone")
        if self.ahead(")") and before.text == "(":
            self.fail("these parentheses are empty", before.position)
        if self.ahead(")"):
            self.fail("something is missing before this ')'")
        if self.here.kind == "end":
            self.fail("the formula ends where a column or a term is due")
        if self.ahead("~"):
            self.fail("something is missing before '~', or '~' stands twice")
        self.fail(f"something is missing before {self.here.text!r}")

    def fail_after(self, due: str) -> NoReturn:
        """Say why what follows a complete expression cannot stand there."""
        problems = {
            "|": "a random term stands in parentheses: (x | g)",
            "||": "a random term stands in parentheses: (x || g)",
            "~": "a formula has one '~', outside of all parentheses",
            ")": "this ')' closes nothing",
            ",": "a comma stands only between the arguments of a function",
        }
        if self.ahead(*problems):
            self.fail(problems[self.here.text])
        self.fail(f"an operator such as '+' is missing before {self.here.text!r}, or {due} was due here")


# What may stand in a call and in the response


def _check_arithmetic(node: Expression, text: str) -> None:
    """Refuse what is not arithmetic on columns: the inside of a call, or the response."""
    for part in walk(node):
        match part:
            case Binary(":" | "|" | "||"):
                problem = f"{part.op!r} is no arithmetic; it cannot stand inside a function or the response"
            case Call() if part.function not in _INSIDE:
                problem = f"{part.function}() cannot stand inside other arithmetic or another function"
            case _:
                continue
        fail(problem, text, part.position)


def check_call(call: Call, text: str) -> None:
    """Refuse a call whose arguments are not arithmetic on columns; the degree of ``poly`` is a number."""
    columns = call.args
    if call.function == "poly":
        columns, degree = columns[:1], columns[1]
        if whole_number(degree) < 1:
            fail("the degree of poly() is a whole number from 1: poly(x, 2)", text, start(degree))
    for arg in columns:
        _check_arithmetic(arg, text)
        if not variables(arg):
            fail(f"no column is named in this argument of {call.function}()", text, start(arg))


def _check_response(response: Expression, text: str) -> None:
    if isinstance(response, Call) and response.function in ("cbind", "factor"):
        check_call(response, text)
    else:
        _check_arithmetic(response, text)
    if not variables(response):
        fail("the response names no column", text, start(response))

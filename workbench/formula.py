"""lme4's notation, read into a frozen tree; no part of a formula is ever run as code.

Grammar, loosest binding first, as in R::

    formula   response "~" ["-"] summand { ("+" | "-") summand }
    summand   0, 1, a column, a call, a product of them, or "(" terms "|" group ")"
    terms     + -     add, remove (0 and 1 are the intercept)
              * /     a*b is a + b + a:b;  a/b is a + a:b
              :       the product of two terms
              - +     as a sign
              ^       (a + b)^2: all products of up to two of them; ** is the same
    group     columns joined by ":" (their combinations) or "/" (nested)
    call      function "(" arithmetic { "," arithmetic } ")"

Inside a call, and in the response, ``+ - * / ^`` are arithmetic. Columns are R's names, or any
text in backticks. ``(x || g)`` is one block per term; ``(1 | a/b)`` is ``(1 | b:a) + (1 | a)``.

The text becomes an expression tree (tokens, then precedence climbing), the tree becomes sets
of terms (a term is a bit mask over the variables, as in R's ``terms``), sorted by order.

Source: R manual, ``?formula`` and ``?terms.formula``; Bates, Maechler, Bolker and Walker (2015),
Journal of Statistical Software 67(1), table 2, https://doi.org/10.18637/jss.v067.i01.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from workbench.errors import FormulaError, nearest

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 50  # parentheses, calls and signs inside one another
MAX_OPERATORS = 150  # in one summand: bounds the height of every tree
MAX_TERMS = 1_000  # after expansion
MAX_PRODUCTS = 200_000  # formed on the way, repeats included

FUNCTIONS = {  # name: number of arguments
    "I": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "exp": 1, "sqrt": 1, "abs": 1,
    "scale": 1, "center": 1, "factor": 1, "poly": 2, "offset": 1, "cbind": 2,
}  # fmt: skip
_INSIDE = FUNCTIONS.keys() - {"factor", "poly", "offset", "cbind"}  # may stand inside another call
_RESERVED = re.compile(
    r"if|else|repeat|while|function|for|next|break|in|TRUE|FALSE|NULL|Inf|NaN"
    r"|NA(_(integer|real|character|complex)_)?|\.|\.\.\.|\.\.[0-9]+"
)


def _position() -> int:
    return field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A column."""

    name: str
    position: int = _position()


@dataclass(frozen=True, slots=True)
class Number:
    """A number and how it was written; ``2`` and ``2.0`` are equal."""

    value: float
    text: str = field(default="", compare=False)
    position: int = _position()


@dataclass(frozen=True, slots=True)
class Call:
    """A function of :data:`FUNCTIONS` and its arguments."""

    function: str
    args: tuple[Expression, ...]
    position: int = _position()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands; ``position`` is the operator's."""

    op: str
    left: Expression
    right: Expression
    position: int = _position()


@dataclass(frozen=True, slots=True)
class Unary:
    """A sign."""

    op: str
    operand: Expression
    position: int = _position()


@dataclass(frozen=True, slots=True)
class Paren:
    """Parentheses, kept as written because R keeps them in labels."""

    inner: Expression
    position: int = _position()


type Expression = Name | Number | Call | Binary | Unary | Paren


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One product of columns and calls; ``a:b`` equals ``b:a``.

    Examples
    --------
    >>> term = parse("y ~ b:log(a)").terms[0]
    >>> term.label, term.order
    ('b:log(a)', 2)
    """

    factors: tuple[Expression, ...]

    @property
    def label(self) -> str:
        """R's label: the factors in order of appearance, joined by colons."""
        return ":".join(map(deparse, self.factors))

    @property
    def order(self) -> int:
        """How many factors are multiplied."""
        return len(self.factors)

    def __eq__(self, other: object) -> bool:
        """Say whether both are the same product, in any order."""
        return isinstance(other, Term) and frozenset(self.factors) == frozenset(other.factors)

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(frozenset(self.factors))


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One covariance block: the columns that vary, and the columns whose combinations they vary over.

    ``group_label`` and ``text`` are as lme4 prints them and take no part in equality.

    Examples
    --------
    >>> for block in parse("strength ~ (1 | batch/cask)").random:
    ...     print(block.text, block.group, block.group_label)
    (1 | cask:batch) ('cask', 'batch') cask:batch
    (1 | batch) ('batch',) batch
    """

    intercept: bool
    terms: tuple[Term, ...]
    group: tuple[str, ...]
    text: str = field(compare=False)
    group_label: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula, read and expanded; two are equal when they say the same model.

    ``text`` is what was written, with R's spacing; it takes no part in equality, and
    ``parse(str(formula)) == formula``.

    Examples
    --------
    >>> formula = parse("Reaction~Days*age+(Days||Subject)")
    >>> print(formula)
    Reaction ~ Days * age + (Days || Subject)
    >>> [term.label for term in formula.terms]
    ['Days', 'age', 'Days:age']
    >>> [block.text for block in formula.random]
    ['(1 | Subject)', '(0 + Days | Subject)']
    """

    text: str = field(compare=False)
    response: Expression
    intercept: bool
    terms: tuple[Term, ...]
    random: tuple[RandomTerm, ...]
    offsets: tuple[Expression, ...]

    def __str__(self) -> str:
        """Give the formula with R's spacing."""
        return self.text

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns, each once, as they appear in response, fixed terms, offsets and random blocks."""
        names = [*variables(self.response), *_term_names(self.terms)]
        names += [name for offset in self.offsets for name in variables(offset)]
        for block in self.random:
            names += [*_term_names(block.terms), *block.group]
        return tuple(dict.fromkeys(names))

    @property
    def response_label(self) -> str:
        """The response as R writes it."""
        return deparse(self.response)

    @property
    def cbind(self) -> tuple[Expression, Expression] | None:
        """Successes and failures when the response is ``cbind(successes, failures)``."""
        if isinstance(self.response, Call) and self.response.function == "cbind":
            successes, failures = self.response.args
            return successes, failures
        return None


def parse(text: str) -> Formula:
    """Read a formula in lme4's notation.

    Random terms are optional here; estimators that need them say so.

    Raises
    ------
    FormulaError
        With the place and what to write instead, for anything outside the grammar.

    Examples
    --------
    >>> formula = parse("cbind(incidence, size - incidence) ~ period + (1 | herd)")
    >>> formula.variables
    ('incidence', 'size', 'period', 'herd')
    >>> [deparse(part) for part in formula.cbind]
    ['incidence', 'size - incidence']
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"this formula has {len(text)} characters; the limit is {MAX_LENGTH}")
    response, summands = _Parser(text).formula()
    _check_response(response, text)
    algebra = _Algebra(text, response)
    masks: dict[int, None] = {}
    for sign, node in summands:
        if sign == "-":
            algebra.remove(masks, node)
        else:
            masks.update(algebra.expand(node, additive=True))
    return Formula(
        text=f"{_render(response, 17)} ~ {_render_sum(summands)}",
        response=response,
        intercept=algebra.intercept,
        terms=algebra.terms(masks),
        random=tuple(algebra.random),
        offsets=tuple(algebra.offsets),
    )


def deparse(expression: Expression) -> str:
    """Write an expression as R's ``deparse`` does, numbers with up to 15 digits.

    Examples
    --------
    >>> deparse(parse("y ~ I( x/2+1e5*`my x`^2 )").terms[0].factors[0])
    'I(x/2 + 1e+05 * `my x`^2)'
    """
    return _render(expression, 15)


def variables(expression: Expression) -> tuple[str, ...]:
    """Name the columns of an expression, in order of appearance and each once.

    Examples
    --------
    >>> variables(parse("log(a + b * a) ~ 1").response)
    ('a', 'b')
    """
    return tuple(dict.fromkeys(node.name for node in _walk(expression) if isinstance(node, Name)))


# Writing


def _children(node: Expression) -> tuple[Expression, ...]:
    match node:
        case Call():
            return node.args
        case Binary():
            return (node.left, node.right)
        case Unary():
            return (node.operand,)
        case Paren():
            return (node.inner,)
        case _:
            return ()


def _walk(node: Expression) -> Iterator[Expression]:
    """Visit a node and all below it, in order of appearance."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(_children(current)))


def _term_names(terms: Iterable[Term]) -> list[str]:
    return [name for term in terms for part in term.factors for name in variables(part)]


def _render(node: Expression, digits: int) -> str:
    match node:
        case Name():
            return _quoted(node.name)
        case Number():
            return _number(node.value, digits)
        case Call():
            return f"{node.function}({', '.join(_render(a, digits) for a in node.args)})"
        case Binary():
            op = node.op if node.op in ("^", "/", ":") else f" {node.op} "
            return _render(node.left, digits) + op + _render(node.right, digits)
        case Unary():
            return node.op + _render(node.operand, digits)
        case Paren():
            return f"({_render(node.inner, digits)})"


def _render_sum(summands: list[tuple[str, Expression]]) -> str:
    first, *rest = [(sign, _render(node, 17)) for sign, node in summands]
    return ("-" if first[0] == "-" else "") + first[1] + "".join(f" {s} {node}" for s, node in rest)


def _quoted(name: str) -> str:
    if re.fullmatch(_WORD, name) and not _RESERVED.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _number(value: float, digits: int) -> str:
    """Write a number as R prints it: as few digits as carry it, fixed unless scientific is shorter."""
    exact = float(f"{value:.{digits - 1}e}")
    figures = next(n for n in range(1, digits + 1) if float(f"{value:.{n - 1}e}") == exact)
    scientific = f"{value:.{figures - 1}e}"
    decimals = max(0, figures - 1 - int(scientific.partition("e")[2]))
    fixed = f"{value:.{decimals}f}"
    return fixed if len(fixed) <= len(scientific) else scientific


# Reading: text -> tokens -> tree

_WORD = r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*"
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<word>{_WORD})
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


def _fail(problem: str, text: str, position: int) -> NoReturn:
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
            general = (
                f"the character {text[at]!r} has no meaning here; quote unusual names with backticks: `my x`"
            )
            _fail(next((why for chars, why in _UNKNOWN if text[at] in chars), general), text, at)
        kind, found = str(match.lastgroup), match.group()
        if kind == "number" and (tail := _TAIL.match(text, match.end())):
            _fail_digits(found, tail.group(), text, at)
        if kind == "number" and math.isinf(float(found)):
            _fail(f"the number {found} is too large", text, at)
        if kind == "word":
            _check_word(found, text, at)
        if kind == "quoted":
            found = re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL)
        if kind != "space":
            kind = "name" if kind in ("word", "quoted") else kind
            tokens.append(_Token(kind, "^" if found == "**" and kind == "symbol" else found, at))
        at = match.end()
    return [*tokens, _Token("end", "", len(text.rstrip()))]


def _fail_digits(number: str, tail: str, text: str, at: int) -> NoReturn:
    if tail == "L":
        _fail(f"write {number} in place of {number}L", text, at)
    _fail(f"a name cannot begin with a digit; quote it with backticks: `{number}{tail}`", text, at)


def _check_word(word: str, text: str, at: int) -> None:
    if word == ".":
        _fail("'.' for all other columns is not supported; name the columns", text, at)
    if _RESERVED.fullmatch(word):
        _fail(
            f"{word} is a reserved word; a column of that name is quoted with backticks: `{word}`", text, at
        )


class _Parser:
    """Precedence climbing over the tokens; the outermost sum is a list, so its length is free."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, _tokenize(text)
        self.at = self.depth = self.operators = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        _fail(problem, self.text, self.here.position if position is None else position)

    def take(self) -> _Token:
        token = self.here
        self.at += 1
        if not (token.kind == "symbol" and token.text == ")"):
            self.operators += 1
            if self.operators > 2 * MAX_OPERATORS:  # every operator has an operand
                self.fail(f"this term has more than about {MAX_OPERATORS} operations", token.position)
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
        summands = []
        sign = self.take().text if self.ahead("-") else "+"
        while True:
            self.operators = 0
            summands.append((sign, self.expression(_SUM + 1)))
            if not self.ahead("+", "-"):
                break
            sign = self.take().text
        if self.here.kind != "end":
            self.fail_after("the end")
        return response, summands

    def expression(self, level: int) -> Expression:
        left = self.operand()
        while self.here.kind == "symbol" and _LEVELS.get(self.here.text, 0) >= level:
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
        if self.here.kind == "end" or self.ahead("*", "/", ":", "^", "|", "||", ")", ",", "~"):
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
        before = self.tokens[self.at - 1] if self.at else None
        if before is not None and before.text == "~" and self.here.kind == "end":
            self.fail("nothing stands on the right of '~'; write y ~ 1 for a mean alone")
        if self.here.text == ")" and (before is None or before.text != "("):
            self.fail("something is missing before this ')'")
        if self.here.text == ")":
            self.fail("these parentheses are empty", before.position if before else 0)
        if self.here.kind == "end":
            self.fail("the formula ends where a column or a term is due")
        if self.here.text == "~":
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
        if self.here.kind == "symbol" and self.here.text in problems:
            self.fail(problems[self.here.text])
        self.fail(f"an operator such as '+' is missing before {self.here.text!r}, or {due} was due here")


# What may stand in a call and in the response


def _check_arithmetic(node: Expression, text: str) -> None:
    """Refuse what is not arithmetic on columns: the inside of a call, or the response."""
    for part in _walk(node):
        if isinstance(part, Binary) and part.op in (":", "|", "||"):
            _fail(
                f"{part.op!r} is no arithmetic; it cannot stand inside a function or the response",
                text,
                part.position,
            )
        if isinstance(part, Call) and part.function not in _INSIDE:
            _fail(
                f"{part.function}() cannot stand inside other arithmetic or another function",
                text,
                part.position,
            )


def _check_call(call: Call, text: str) -> None:
    columns = call.args
    if call.function == "poly":
        degree = call.args[1]
        if not (isinstance(degree, Number) and degree.value >= 1 and degree.value.is_integer()):
            _fail("the degree of poly() is a whole number from 1: poly(x, 2)", text, _start(degree))
        columns = call.args[:1]
    for arg in columns:
        _check_arithmetic(arg, text)
        if not variables(arg):
            _fail(f"no column is named in this argument of {call.function}()", text, _start(arg))


def _check_response(response: Expression, text: str) -> None:
    if isinstance(response, Call) and response.function in ("cbind", "factor"):
        _check_call(response, text)
    else:
        _check_arithmetic(response, text)
    if not variables(response):
        _fail("the response names no column", text, _start(response))


def _start(node: Expression) -> int:
    while isinstance(node, Binary):
        node = node.left
    return node.position


# The algebra: tree -> terms


class _Algebra:
    """R's ``terms``: a term is a bit mask over the variables, a set of terms an ordered dict of masks.

    ``additive`` is true where a node is only added to the rest; nowhere else may offsets and random
    terms stand. ``adding`` turns at every minus sign, because ``- 1`` and ``+ 0`` are the same.
    """

    def __init__(self, text: str, response: Expression, *, inside_bar: bool = False) -> None:
        self.text, self.response, self.inside_bar = text, response, inside_bar
        self.intercept = self.adding = True
        self.products = 0
        self.bits: dict[Expression, int] = {}
        self.random: list[RandomTerm] = []
        self.offsets: list[Expression] = []

    def terms(self, masks: dict[int, None]) -> tuple[Term, ...]:
        """Sort by order, first come first, and name the factors."""
        self.check_size(len(masks), 0)
        ordered = sorted(masks, key=int.bit_count)
        return tuple(Term(tuple(v for v, bit in self.bits.items() if mask & bit)) for mask in ordered)

    def expand(self, node: Expression, additive: bool) -> dict[int, None]:
        match node:
            case Paren(inner=Binary(op="|" | "||") as bar):
                return self.add_random(bar, additive)
            case Paren():
                return self.expand(node.inner, additive)
            case Number():
                return self.set_intercept(node)
            case Unary(op="+"):
                return self.expand(node.operand, additive)
            case Unary():
                self.remove({}, node.operand)
                return {}
            case Binary():
                return self.operate(node, additive)
            case Call(function="offset"):
                return self.add_offset(node, additive)
            case _:
                return self.variable(node)

    def operate(self, node: Binary, additive: bool) -> dict[int, None]:
        match node.op:
            case "+":
                return self.expand(node.left, additive) | self.expand(node.right, additive)
            case "-":
                masks = self.expand(node.left, additive)
                self.remove(masks, node.right)
                return masks
            case "^":
                return self.power(node)
            case _:
                left, right = self.side(node.left), self.side(node.right)
        if node.op == ":":
            return self.multiply(left, right, node.position)
        if node.op == "*":
            return left | right | self.multiply(left, right, node.position)
        whole = 0
        for mask in left:
            whole |= mask
        return left | self.multiply({whole: None}, right, node.position)

    def side(self, node: Expression) -> dict[int, None]:
        """Expand one side of a product, where the intercept and signs mean nothing."""
        bare = _bare(node)
        if isinstance(bare, Number) and bare.value in (0, 1):
            self.fail("0 and 1 stand for the intercept, which cannot be multiplied", bare.position)
        if isinstance(bare, Unary):
            self.fail("a sign cannot stand in a product of terms; write I(-x) for arithmetic", bare.position)
        masks = self.expand(node, additive=False)
        if not masks:
            self.fail("no term is left on this side of the product", _start(node))
        return masks

    def power(self, node: Binary) -> dict[int, None]:
        exponent = _bare(node.right)
        if not (isinstance(exponent, Number) and exponent.value >= 1 and exponent.value.is_integer()):
            self.fail(
                "the power of terms is a whole number from 1; for arithmetic write I(x^0.5)",
                _start(node.right),
            )
        base = self.side(node.left)
        masks = base
        for _ in range(min(int(exponent.value), len(self.bits) + 1) - 1):
            masks = self.multiply(masks, base, node.position)
        return masks

    def multiply(self, left: dict[int, None], right: dict[int, None], position: int) -> dict[int, None]:
        self.products += len(left) * len(right)
        if self.products > MAX_PRODUCTS:
            self.fail("the products of this formula are too many; name the terms that are meant", position)
        masks = {a | b: None for a in left for b in right}
        self.check_size(len(masks), position)
        return masks

    def remove(self, masks: dict[int, None], node: Expression) -> None:
        self.adding = not self.adding
        for mask in self.expand(node, additive=False):
            masks.pop(mask, None)
        self.adding = not self.adding

    def set_intercept(self, number: Number) -> dict[int, None]:
        if number.value not in (0, 1):
            self.fail("0 and 1 are the only numbers here; for arithmetic write I(2 * x)", number.position)
        self.intercept = (number.value == 1) == self.adding
        return {}

    def variable(self, node: Expression) -> dict[int, None]:
        if isinstance(node, Call):
            if node.function == "cbind":
                self.fail("cbind() stands only on the left of '~'", node.position)
            _check_call(node, self.text)
        if node == self.response:
            self.fail(f"the response {deparse(node)} cannot stand on the right of '~' too", node.position)
        return {self.bits.setdefault(node, 1 << len(self.bits)): None}

    def add_offset(self, call: Call, additive: bool) -> dict[int, None]:
        if self.inside_bar or not additive:
            self.fail("an offset is only added to the rest: y ~ x + offset(z)", call.position)
        _check_call(call, self.text)
        if call.args[0] not in self.offsets:  # R too counts a repeated offset once
            self.offsets.append(call.args[0])
        return {}

    def add_random(self, bar: Binary, additive: bool) -> dict[int, None]:
        """Expand the blocks of one bar, in lme4's order: deepest group first, for each block."""
        if self.inside_bar:
            self.fail("a random term cannot stand inside another", bar.position)
        if not additive:
            self.fail("a random term is only added to the rest: y ~ x + (1 | g)", bar.position)
        if isinstance(bar.left, Binary) and bar.left.op in ("|", "||"):
            self.fail("one bar to a random term; for several groups write (1 | a) + (1 | b)", bar.position)
        inner = _Algebra(self.text, self.response, inside_bar=True)
        inner.products = self.products
        terms = inner.terms(inner.expand(bar.left, additive=True))
        self.products = inner.products
        if not (terms or inner.intercept):
            self.fail("nothing varies in this random term; write (1 | g) or (x | g)", _start(bar.left))
        blocks = [(inner.intercept, terms)]
        if bar.op == "||":
            blocks = [(True, ())] * inner.intercept + [(False, (term,)) for term in terms]
        groups = self.groups(bar.right)
        self.random += [_random_term(*block, group) for block in blocks for group in groups]
        self.check_size(len(self.random), bar.position)
        return {}

    def groups(self, node: Expression) -> list[Expression]:
        """Split a/b/c into c:(b:a), b:a and a."""
        parts, node = [], _bare(node)
        while isinstance(node, Binary) and node.op == "/":
            parts.append(_bare(node.right))
            node = _bare(node.left)
        self.check_group(node)
        groups = [node]
        for part in reversed(parts):
            self.check_group(part)
            outer = groups[0] if isinstance(groups[0], Name) else Paren(groups[0])
            groups.insert(0, Binary(":", part, outer))
        names = [n.name for n in _walk(groups[0]) if isinstance(n, Name)]
        if len(set(names)) < len(names):
            self.fail("a column stands twice in this group", _start(node))
        return groups

    def check_group(self, group: Expression) -> None:
        for part in _walk(group):
            if isinstance(part, Call):
                self.fail(
                    "a group is a column, not a function; use the column itself: (1 | g)", part.position
                )
            if isinstance(part, Binary) and part.op == "/":
                self.fail("write nested groups without inner parentheses: a/b/c", part.position)
            if isinstance(part, Binary) and part.op != ":":
                self.fail("one group to a bar; for several write (1 | a) + (1 | b)", part.position)
            if isinstance(part, Number | Unary):
                self.fail("a group is a column: (1 | g), (1 | a:b) or (1 | a/b)", part.position)
            if part == self.response:
                self.fail(f"the response {deparse(part)} cannot be a group", part.position)

    def check_size(self, count: int, position: int) -> None:
        if count > MAX_TERMS:
            self.fail(f"this expands to more than {MAX_TERMS} terms", position)

    def fail(self, problem: str, position: int) -> NoReturn:
        _fail(problem, self.text, position)


def _bare(node: Expression) -> Expression:
    while isinstance(node, Paren):
        node = node.inner
    return node


def _random_term(intercept: bool, terms: tuple[Term, ...], group: Expression) -> RandomTerm:
    label = deparse(group)
    labels = [term.label for term in terms]
    what = " + ".join(labels if intercept else ["0", *labels]) or "1"
    return RandomTerm(intercept, terms, variables(group), f"({what} | {label})", label)

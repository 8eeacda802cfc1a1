"""The nodes of a formula, what it holds once expanded, and how all of it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

WORD = r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*"
RESERVED = re.compile(
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
    >>> from workbench.formula import parse
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
    >>> from workbench.formula import parse
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
    ``parse(str(formula)) == formula``. ``terms`` are sorted by how many factors are multiplied, as R sorts them;
    ``as_written`` has the same terms in the order of the text (R's ``keep.order = TRUE``).

    Examples
    --------
    >>> from workbench.formula import parse
    >>> formula = parse("Reaction~Days*age+(Days||Subject)")
    >>> print(formula)
    Reaction ~ Days * age + (Days || Subject)
    >>> [term.label for term in formula.terms]
    ['Days', 'age', 'Days:age']
    >>> [block.text for block in formula.random]
    ['(1 | Subject)', '(0 + Days | Subject)']
    >>> [term.label for term in parse("y ~ a * b + c").as_written]
    ['a', 'b', 'a:b', 'c']
    """

    text: str = field(compare=False)
    response: Expression
    intercept: bool
    terms: tuple[Term, ...]
    random: tuple[RandomTerm, ...]
    offsets: tuple[Expression, ...]
    as_written: tuple[Term, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """Give the formula with R's spacing."""
        return self.text

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns, each once, as they appear in response, fixed terms, offsets and random blocks."""
        parts = [self.response, *_factors(self.terms), *self.offsets]
        for block in self.random:
            parts += [*_factors(block.terms), *map(Name, block.group)]
        return tuple(dict.fromkeys(name for part in parts for name in variables(part)))

    @property
    def predictors(self) -> tuple[Expression, ...]:
        """What columns are made of: the factors of fixed and varying terms, and offsets."""
        varying = [factor for block in self.random for factor in _factors(block.terms)]
        return (*_factors(self.terms), *varying, *self.offsets)

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


def deparse(expression: Expression, digits: int = 15) -> str:
    """Write an expression as R's ``deparse`` does, numbers with up to `digits` digits.

    Examples
    --------
    >>> from workbench.formula import parse
    >>> deparse(parse("y ~ I( x/2+1e5*`my x`^2 )").terms[0].factors[0])
    'I(x/2 + 1e+05 * `my x`^2)'
    """
    match expression:
        case Name():
            return _quoted(expression.name)
        case Number():
            return _number(expression.value, digits)
        case Call():
            return f"{expression.function}({', '.join(deparse(arg, digits) for arg in expression.args)})"
        case Binary():
            op = expression.op if expression.op in ("^", "/", ":") else f" {expression.op} "
            return deparse(expression.left, digits) + op + deparse(expression.right, digits)
        case Unary():
            return expression.op + deparse(expression.operand, digits)
        case Paren():
            return f"({deparse(expression.inner, digits)})"


def variables(expression: Expression) -> tuple[str, ...]:
    """Name the columns of an expression, in order of appearance and each once.

    Examples
    --------
    >>> from workbench.formula import parse
    >>> variables(parse("log(a + b * a) ~ 1").response)
    ('a', 'b')
    """
    return tuple(dict.fromkeys(node.name for node in walk(expression) if isinstance(node, Name)))


def walk(node: Expression) -> Iterator[Expression]:
    """Visit a node and all below it, in order of appearance."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Call():
                waiting += reversed(node.args)
            case Binary():
                waiting += (node.right, node.left)
            case Unary():
                waiting.append(node.operand)
            case Paren():
                waiting.append(node.inner)


def _factors(terms: tuple[Term, ...]) -> list[Expression]:
    return [factor for term in terms for factor in term.factors]


def _quoted(name: str) -> str:
    if re.fullmatch(WORD, name) and not RESERVED.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _number(value: float, digits: int) -> str:
    """Write a number as R prints it: as few digits as carry it, fixed unless scientific is shorter."""
    exact = float(f"{value:.{digits}g}")
    figures = next(n for n in range(1, digits + 1) if float(f"{value:.{n}g}") == exact)
    scientific = f"{value:.{figures - 1}e}"
    decimals = max(0, figures - 1 - int(scientific.partition("e")[2]))
    fixed = f"{value:.{decimals}f}"
    return fixed if len(fixed) <= len(scientific) else scientific


def start(node: Expression) -> int:
    """Give the place where an expression begins."""
    while isinstance(node, Binary):
        node = node.left
    return node.position


def whole_number(node: Expression) -> int:
    """Give the value of a whole number, and 0 for everything else."""
    return int(node.value) if isinstance(node, Number) and node.value.is_integer() else 0

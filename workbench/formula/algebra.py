"""Expression tree -> terms: R's formula algebra, and lme4's random terms."""

from __future__ import annotations

from functools import lru_cache, reduce
from operator import or_
from typing import NoReturn

from workbench.formula.reader import check_call, fail, read
from workbench.formula.tree import (
    Binary,
    Call,
    Expression,
    Formula,
    Name,
    Number,
    Paren,
    RandomTerm,
    Term,
    Unary,
    deparse,
    start,
    variables,
    walk,
    whole_number,
)

MAX_TERMS = 1_000  # after expansion
MAX_PRODUCTS = 200_000  # formed on the way, repeats included
_EXACT = 17  # digits that carry every number

type _Masks = dict[int, None]


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
    return _parse(text)


@lru_cache(maxsize=256)
def _parse(text: str) -> Formula:
    response, summands = read(text)
    algebra = _Algebra(text, response)
    masks: _Masks = {}
    for sign, node in summands:
        if sign == "-":
            algebra.remove(masks, node)
        else:
            masks.update(algebra.expand(node, additive=True))
    return Formula(
        text=f"{deparse(response, _EXACT)} ~ {_written(summands)}",
        response=response,
        intercept=algebra.intercept,
        terms=algebra.terms(masks),
        random=tuple(algebra.random),
        offsets=tuple(algebra.offsets),
        as_written=algebra.terms(masks, sort=False),
    )


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

    def terms(self, masks: _Masks, sort: bool = True) -> tuple[Term, ...]:
        """Sort by order, first come first, and name the factors."""
        self.check_size(len(masks), 0)
        ordered = sorted(masks, key=int.bit_count) if sort else masks
        return tuple(Term(tuple(v for v, bit in self.bits.items() if mask & bit)) for mask in ordered)

    def expand(self, node: Expression, additive: bool) -> _Masks:
        match node:
            case Number():
                return self.set_intercept(node)
            case Paren(Binary("|" | "||") as bar):
                return self.add_random(bar, additive)
            case Paren(inner) | Unary("+", inner):
                return self.expand(inner, additive)
            case Unary():
                return self.remove({}, node.operand)
            case Binary("+"):
                return self.expand(node.left, additive) | self.expand(node.right, additive)
            case Binary("-"):
                return self.remove(self.expand(node.left, additive), node.right)
            case Binary("^"):
                return self.power(node)
            case Binary():
                return self.product(node)
            case Call("offset"):
                return self.add_offset(node, additive)
            case _:
                return self.variable(node)

    def product(self, node: Binary) -> _Masks:
        left, right = self.side(node.left), self.side(node.right)
        if node.op == "/":
            return left | self.multiply({reduce(or_, left): None}, right, node.position)
        products = self.multiply(left, right, node.position)
        return left | right | products if node.op == "*" else products

    def side(self, node: Expression) -> _Masks:
        """Expand one side of a product, where the intercept and signs mean nothing."""
        bare = _bare(node)
        if isinstance(bare, Number) and bare.value in (0, 1):
            self.fail("0 and 1 stand for the intercept, which cannot be multiplied", bare.position)
        if isinstance(bare, Unary):
            self.fail("a sign cannot stand in a product of terms; write I(-x) for arithmetic", bare.position)
        masks = self.expand(node, additive=False)
        if not masks:
            self.fail("no term is left on this side of the product", start(node))
        return masks

    def power(self, node: Binary) -> _Masks:
        exponent = whole_number(_bare(node.right))
        if exponent < 1:
            problem = "the power of terms is a whole number from 1; for arithmetic write I(x^0.5)"
            self.fail(problem, start(node.right))
        base = self.side(node.left)
        masks = base
        for _ in range(min(exponent, len(self.bits) + 1) - 1):
            masks = self.multiply(masks, base, node.position)
        return masks

    def multiply(self, left: _Masks, right: _Masks, position: int) -> _Masks:
        self.products += len(left) * len(right)
        if self.products > MAX_PRODUCTS:
            self.fail("the products of this formula are too many; name the terms that are meant", position)
        masks = {a | b: None for a in left for b in right}
        self.check_size(len(masks), position)
        return masks

    def remove(self, masks: _Masks, node: Expression) -> _Masks:
        self.adding = not self.adding
        for mask in self.expand(node, additive=False):
            masks.pop(mask, None)
        self.adding = not self.adding
        return masks

    def set_intercept(self, number: Number) -> _Masks:
        if number.value not in (0, 1):
            self.fail("0 and 1 are the only numbers here; for arithmetic write I(2 * x)", number.position)
        self.intercept = (number.value == 1) == self.adding
        return {}

    def variable(self, node: Expression) -> _Masks:
        if isinstance(node, Call):
            if node.function == "cbind":
                self.fail("cbind() stands only on the left of '~'", node.position)
            check_call(node, self.text)
        if node == self.response:
            self.fail(f"the response {deparse(node)} cannot stand on the right of '~' too", node.position)
        return {self.bits.setdefault(node, 1 << len(self.bits)): None}

    def add_offset(self, call: Call, additive: bool) -> _Masks:
        if self.inside_bar or not additive:
            self.fail("an offset is only added to the rest: y ~ x + offset(z)", call.position)
        check_call(call, self.text)
        if call.args[0] not in self.offsets:  # R too counts a repeated offset once
            self.offsets.append(call.args[0])
        return {}

    def add_random(self, bar: Binary, additive: bool) -> _Masks:
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
            self.fail("nothing varies in this random term; write (1 | g) or (x | g)", start(bar.left))
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
        names = [n.name for n in walk(groups[0]) if isinstance(n, Name)]
        if len(set(names)) < len(names):
            self.fail("a column stands twice in this group", start(node))
        return groups

    def check_group(self, group: Expression) -> None:
        for part in walk(group):
            match part:
                case Call():
                    problem = "a group is a column, not a function; use the column itself: (1 | g)"
                case Binary("/"):
                    problem = "write nested groups without inner parentheses: a/b/c"
                case Binary(op) if op != ":":
                    problem = "one group to a bar; for several write (1 | a) + (1 | b)"
                case Number() | Unary():
                    problem = "a group is a column: (1 | g), (1 | a:b) or (1 | a/b)"
                case _ if part == self.response:
                    problem = f"the response {deparse(part)} cannot be a group"
                case _:
                    continue
            self.fail(problem, part.position)

    def check_size(self, count: int, position: int) -> None:
        if count > MAX_TERMS:
            self.fail(f"this expands to more than {MAX_TERMS} terms", position)

    def fail(self, problem: str, position: int) -> NoReturn:
        fail(problem, self.text, position)


def _written(summands: list[tuple[str, Expression]]) -> str:
    text = "".join(f" {sign} {deparse(node, _EXACT)}" for sign, node in summands)
    return ("-" if text[1] == "-" else "") + text[3:]


def _bare(node: Expression) -> Expression:
    while isinstance(node, Paren):
        node = node.inner
    return node


def _random_term(intercept: bool, terms: tuple[Term, ...], group: Expression) -> RandomTerm:
    written = deparse(group)
    label = group.name if isinstance(group, Name) else written  # lme4 quotes names in interactions alone
    labels = [term.label for term in terms]
    what = " + ".join(labels if intercept else ["0", *labels]) or "1"
    return RandomTerm(intercept, terms, variables(group), f"({what} | {written})", label)

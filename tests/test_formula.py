"""Formulas against R.

Rungs of the ladder: invariance (round trips, spacing, any text at all) by hypothesis, and the
figures of R 4.2.2 and lme4 1.1-31, whose commands stand above each table. No tolerances: all is exact.
"""

from __future__ import annotations

import dataclasses
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.errors import FormulaError
from workbench.formula import (
    FUNCTIONS,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_OPERATORS,
    MAX_TERMS,
    Formula,
    Name,
    Number,
    Term,
    deparse,
    parse,
    variables,
)

# t <- terms(as.formula(s)); cat(attr(t, "intercept"), attr(t, "term.labels"), sep = " | ")
R_TERMS = [
    ("y ~ a", "1 | a"),
    ("y ~ b:a + a", "1 | a | b:a"),
    ("y ~ a + b:a", "1 | a | a:b"),
    ("y ~ a*b*c", "1 | a | b | c | a:b | a:c | b:c | a:b:c"),
    ("y ~ (a+b+c)^2", "1 | a | b | c | a:b | a:c | b:c"),
    ("y ~ (a+b+c)^2 - a:b", "1 | a | b | c | a:c | b:c"),
    ("y ~ (a + b + c)^3 - a:b:c", "1 | a | b | c | a:b | a:c | b:c"),
    ("y ~ (a + b)^2 + (b+c)^2", "1 | a | b | c | a:b | b:c"),
    ("y ~ (a+b)^7", "1 | a | b | a:b"),
    ("y ~ a/b", "1 | a | a:b"),
    ("y ~ a/b/c", "1 | a | a:b | a:b:c"),
    ("y ~ (a+b)/c", "1 | a | b | a:b:c"),
    ("y ~ a/(b+c)", "1 | a | a:b | a:c"),
    ("y ~ a/(b*c)", "1 | a | a:b | a:c | a:b:c"),
    ("y ~ (a*b)/c", "1 | a | b | a:b | a:b:c"),
    ("y ~ a*b/c", "1 | a | b | a:b | a:b:c"),
    ("y ~ a/b*c", "1 | a | c | a:b | a:c | a:b:c"),
    ("y ~ a:b/c", "1 | a:b | a:b:c"),
    ("y ~ a*b:c", "1 | a | b:c | a:b:c"),
    ("y ~ a:b*c", "1 | c | a:b | a:b:c"),
    ("y ~ (a+b):(c+d)", "1 | a:c | a:d | b:c | b:d"),
    ("y ~ c:b:a+a:b", "1 | b:a | c:b:a"),
    ("y ~ b+a+b*a*c", "1 | b | a | c | b:a | b:c | a:c | b:a:c"),
    ("y ~ a*b + c*b - a:b", "1 | a | b | c | b:c"),
    ("y ~ a*b - a", "1 | b | a:b"),
    ("y ~ a*b - 1", "0 | a | b | a:b"),
    ("y ~ a - a + b + b:a", "1 | b | a:b"),
    ("y ~ a + b + -a", "1 | a | b"),
    ("y ~ a+a-a", "1"),
    ("y ~ 0 + x + 1", "1 | x"),
    ("y ~ 0 + x - 0", "1 | x"),
    ("y ~ x - 0", "1 | x"),
    ("y ~ a + -1", "0 | a"),
    ("y ~ x - (a - 1)", "1 | x"),
    ("y ~ (0+a)^2", "0 | a"),
    ("y ~ (a-1)*b", "0 | a | b | a:b"),
    ("y ~ -a:b + a", "1 | a"),
    ("y ~ 1", "1"),
    ("y ~ 0", "0"),
    ("y ~ -1", "0"),
    ("y ~ -x", "1"),
    ("y ~ +x", "1 | x"),
    ("y ~ a:a", "1 | a"),
    ("y ~ x^2", "1 | x"),
    ("y ~ a**2", "1 | a"),
    ("y ~ log(x+1)+I(x^2)+poly(x,2)", "1 | log(x + 1) | I(x^2) | poly(x, 2)"),
    ("y ~ poly(x, 2.0) + poly(x, 2)", "1 | poly(x, 2)"),
    ("y ~ poly(x,2):z", "1 | poly(x, 2):z"),
    ("y ~ I( x/2 )*I(-x)", "1 | I(x/2) | I(-x) | I(x/2):I(-x)"),
    ("y ~ I((x+1)*2) + I(x+(z)) + I(+x)", "1 | I((x + 1) * 2) | I(x + (z)) | I(+x)"),
    ("y ~ I(x^-1) + I(x- -1) + I(-x^2)", "1 | I(x^-1) | I(x - -1) | I(-x^2)"),
    ("y ~ I(x^2^z)+I((x^2)^z)+I(a-(b-c))", "1 | I(x^2^z) | I((x^2)^z) | I(a - (b - c))"),
    ("y ~ factor(g):x + scale(x)", "1 | scale(x) | factor(g):x"),
    ("y ~ `log`(x)", "1 | log(x)"),
    ("y ~ `a b`:`TRUE` + `x`", "1 | x | `a b`:`TRUE`"),
    ("y ~ `_x`+`.1`+a.1+.a+`a\\`b`", "1 | `_x` | `.1` | a.1 | .a | `a\\`b`"),
    ("y ~ I(2*x^0.50)+I(x*100000)+I(x*123456)", "1 | I(2 * x^0.5) | I(x * 1e+05) | I(x * 123456)"),
    ("y ~ I(x*0.0001)+I(x*1e4)+I(x*.00012345)", "1 | I(x * 1e-04) | I(x * 10000) | I(x * 0.00012345)"),
    ("y ~ I(x*3.14159265358979323846)+I(1e15*x)", "1 | I(x * 3.14159265358979) | I(1e+15 * x)"),
    ("y ~ I(x*1234567890123456789)", "1 | I(x * 1234567890123456768)"),
]


@pytest.mark.parametrize(("text", "expected"), R_TERMS)
def test_fixed_terms_are_those_of_r(text, expected):
    formula = parse(text)
    assert " | ".join([str(int(formula.intercept)), *(term.label for term in formula.terms)]) == expected


# f <- lFormula(as.formula(s), d); names(f$reTrms$cnms), before lme4 sorts the blocks by levels, that is
# sapply(findbars(as.formula(s)), deparse); (1 || g), a:b/c and inner parentheses fail in lme4 1.1-31
LME4_BLOCKS = [
    ("(1 | g)", ["(1 | g)"]),
    ("(x | g)", ["(x | g)"]),
    ("(1 + x | g)", ["(x | g)"]),
    ("(0 + x | g)", ["(0 + x | g)"]),
    ("(x - 1 | g)", ["(0 + x | g)"]),
    ("(x*z | g)", ["(x + z + x:z | g)"]),
    ("(poly(x,2) | g)", ["(poly(x, 2) | g)"]),
    ("(x || g)", ["(1 | g)", "(0 + x | g)"]),
    ("(0 + x || g)", ["(0 + x | g)"]),
    ("(1 || g)", ["(1 | g)"]),
    ("(x*z || g)", ["(1 | g)", "(0 + x | g)", "(0 + z | g)", "(0 + x:z | g)"]),
    ("(z + x:z || g)", ["(1 | g)", "(0 + z | g)", "(0 + z:x | g)"]),
    ("(1 | a:b)", ["(1 | a:b)"]),
    ("(1 | a:b:c)", ["(1 | a:b:c)"]),
    ("(1 | (a:b))", ["(1 | a:b)"]),
    ("(1 | a/b)", ["(1 | b:a)", "(1 | a)"]),
    ("(1 | a/b/c)", ["(1 | c:(b:a))", "(1 | b:a)", "(1 | a)"]),
    ("(1 | a/b:c)", ["(1 | b:c:a)", "(1 | a)"]),
    ("(1 | a:b/c)", ["(1 | c:(a:b))", "(1 | a:b)"]),
    ("(x || a/b)", ["(1 | b:a)", "(1 | a)", "(0 + x | b:a)", "(0 + x | a)"]),
    ("((1 | g)) + (z + (x | h))", ["(1 | g)", "(x | h)"]),
    ("(1 | g) + (0 + x | g)", ["(1 | g)", "(0 + x | g)"]),
    ("(1 | `my g`)", ["(1 | `my g`)"]),
]


@pytest.mark.parametrize(("text", "expected"), LME4_BLOCKS)
def test_random_blocks_are_those_of_lme4(text, expected):
    assert [block.text for block in parse("y ~ x + " + text).random] == expected


def test_parts_of_a_random_term():
    deep, middle, outer = parse("y ~ (0 + x*z | a/b/c)").random
    assert (deep.group, deep.group_label) == (("c", "b", "a"), "c:(b:a)")
    assert (middle.group, middle.group_label) == (("b", "a"), "b:a")
    assert (outer.group, outer.group_label) == (("a",), "a")
    assert deep.intercept is False
    assert [term.factors for term in deep.terms] == [(Name("x"),), (Name("z"),), (Name("x"), Name("z"))]
    assert parse("y ~ (1 | `a | b`)").random[0].group == ("a | b",)


def test_groups_are_called_as_lme4_calls_them():
    # names(ranef(lmer(y ~ 1 + (1 | `h 2`/`g p`)))): "`g p`:`h 2`" "h 2"
    inner, outer = parse("y ~ 1 + (1 | `h 2`/`g p`)").random
    assert (inner.group_label, inner.text) == ("`g p`:`h 2`", "(1 | `g p`:`h 2`)")
    assert (outer.group_label, outer.text) == ("h 2", "(1 | `h 2`)")


def test_response_offsets_and_variables():
    formula = parse("cbind(hits, n - hits) ~ z:x + (w | h/g) + offset(log(t)) + x + offset(log(t)) - v")
    assert formula.response_label == "cbind(hits, n - hits)"
    assert [deparse(part) for part in formula.cbind] == ["hits", "n - hits"]
    assert [deparse(offset) for offset in formula.offsets] == ["log(t)"]  # R counts a repeated one once
    assert formula.variables == ("hits", "n", "x", "z", "t", "w", "g", "h")
    assert parse("log(y) ~ x").response_label == "log(y)"
    assert parse("y/n ~ x").response_label == "y/n"
    assert parse("log(y) ~ x").cbind is None
    assert parse("log(y) ~ y").variables == ("y",)
    assert variables(parse("I(b * a + b) ~ 1").response) == ("b", "a")


def test_equality_is_of_meaning():
    assert parse("y~x*z+(x|g)") == parse("y ~ z:x + (1 + x | g) + x + z")
    assert parse("y ~ x + z + x:z") == parse("y ~ x * z")
    assert parse("y ~ (1 | a/b)") == parse("y ~ (1 | b:a) + (1 | a)")
    assert hash(parse("y ~ x + z + x:z")) == hash(parse("y ~ x * z"))
    assert parse("y ~ x") != parse("y ~ 0 + x")
    assert parse("y ~ a:b").terms == parse("y ~ b:a").terms
    assert len({Term((Name("a"), Name("b"))), Term((Name("b"), Name("a")))}) == 1
    assert Number(2.0, "2") == Number(2.0, "2.0")
    assert Term((Name("a"),)) != Term((Name("b"),))


def test_the_tree_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse("y ~ x").intercept = False


def test_text_has_the_spacing_of_r():
    assert str(parse("y~-1+a*b:c+(x||g/h)-\n d^2")) == "y ~ -1 + a * b:c + (x || g/h) - d^2"
    assert str(parse("y~I(x*0.12345678901234567)")) == "y ~ I(x * 0.12345678901234566)"


# formula, the column of the caret, words of the message
ERRORS = [
    ("", 0, "the formula is empty"),
    ("y", 1, "needs '~'"),
    ("y x", 2, "an operator such as '+' is missing before 'x'"),
    ("~ x", 0, "a response is needed"),
    ("y ~", 3, "nothing stands on the right"),
    ("y ~ x ~ z", 6, "a formula has one '~'"),
    ("y ~ ~ z", 4, "'~' stands twice"),
    ("y ~ log(x ~ z)", 10, "one '~'"),
    ("y ~ x +", 7, "ends where a column or a term is due"),
    ("y ~ x + * z", 8, "missing before '*'"),
    ("y ~ x z", 6, "missing before 'z'"),
    ("y ~ (x", 4, "never closed"),
    ("y ~ log(x", 7, "never closed"),
    ("y ~ x)", 5, "closes nothing"),
    ("y ~ ()", 4, "parentheses are empty"),
    ("y ~ (x + )", 9, "missing before this ')'"),
    ("y ~ log()", 7, "parentheses are empty"),
    ("y ~ (a, b)", 6, "a comma stands only"),
    ("y ~ a, b", 5, "a comma stands only"),
    ("y ~ x + 1 | g", 10, "stands in parentheses: (x | g)"),
    ("y ~ x || g", 6, "stands in parentheses: (x || g)"),
    ("y ~ (| g)", 5, "missing before '|'"),
    ("y ~ (1 |)", 8, "missing before this ')'"),
    ("y ~ (1 | a + b)", 11, "(1 | a) + (1 | b)"),
    ("y ~ (1 | a * b)", 11, "(1 | a) + (1 | b)"),
    ("y ~ (1 | a | b)", 11, "(1 | a) + (1 | b)"),
    ("y ~ (1 | factor(g))", 9, "use the column itself: (1 | g)"),
    ("y ~ (1 | a/(b/c))", 13, "without inner parentheses"),
    ("y ~ (1 | 1)", 9, "a group is a column"),
    ("y ~ (1 | -g)", 9, "a group is a column"),
    ("y ~ (1 | a/a)", 9, "twice"),
    ("y ~ (1 | y)", 9, "the response y cannot be a group"),
    ("y ~ (0 | g)", 5, "nothing varies"),
    ("y ~ ((1 | g) | h)", 8, "cannot stand inside another"),
    ("y ~ x * (1 | g)", 11, "only added"),
    ("y ~ x - (1 | g)", 11, "only added"),
    ("y ~ (x | g)^2", 7, "only added"),
    ("y ~ log((x | g))", 11, "'|' is no arithmetic"),
    ("y ~ (offset(x) | g)", 5, "an offset is only added"),
    ("y ~ x:offset(z)", 6, "an offset is only added"),
    ("y ~ x - offset(z)", 8, "an offset is only added"),
    ("y ~ offset(2)", 11, "no column is named"),
    ("y ~ .", 4, "name the columns"),
    ("y ~ a %in% b", 6, "write a:b, or a/b"),
    ("y ~ factor('a')", 11, "no text in quotes"),
    ('y ~ "x"', 4, "no text in quotes"),
    ("y ~ I(x > 2)", 8, "no comparisons"),
    ("y ~ poly(x, degree = 2)", 19, "no named arguments"),
    ("y ~ x[1]", 5, "whole columns"),
    ("y ~ d$x", 5, "whole columns"),
    ("y ~ _x", 4, "backticks: `_x`"),
    ("y ~ 2x", 4, "backticks: `2x`"),
    ("y ~ poly(x, 2L)", 12, "write 2 in place of 2L"),
    ("y ~ `x", 4, "no partner"),
    ("y ~ ``", 4, "no partner"),
    ("y ~ TRUE", 4, "`TRUE`"),
    ("y ~ ...", 4, "reserved word"),
    ("y ~ x − 1", 6, "write -"),
    ("y ∼ x", 2, "write ~"),
    ("y ~ x # fixed", 6, "no meaning"),
    ("y ~ I(x * 1e999)", 10, "too large"),
    ("y ~ 2 + x", 4, "for arithmetic write I(2 * x)"),
    ("y ~ x * 2", 8, "for arithmetic write I(2 * x)"),
    ("y ~ x * 1", 8, "cannot be multiplied"),
    ("y ~ x:(0)", 7, "cannot be multiplied"),
    ("y ~ (x - x)/z", 4, "no term is left"),
    ("y ~ x:-z", 6, "a sign cannot stand in a product"),
    ("y ~ x^z", 6, "whole number"),
    ("y ~ x^0.5", 6, "for arithmetic write I(x^0.5)"),
    ("y ~ (a + b)^0", 12, "whole number"),
    ("y ~ sqr(x)", 4, "Did you mean 'sqrt'? There are: I, log"),
    ("y ~ __import__('os')", 4, "backticks"),
    ("y ~ system(x)", 4, "'system' is not known"),
    ("y ~ `my f`(x)", 4, "'my f' is not known"),
    ("y ~ log(x, 2)", 4, "log() takes one argument, not 2"),
    ("y ~ poly(x)", 4, "poly() takes two arguments, not 1"),
    ("y ~ poly(x, z)", 12, "whole number from 1"),
    ("y ~ poly(x, 1.5)", 12, "whole number from 1"),
    ("y ~ log(2)", 8, "no column is named"),
    ("y ~ log(a:b)", 9, "':' is no arithmetic"),
    ("y ~ log(poly(x, 2))", 8, "cannot stand inside"),
    ("y ~ cbind(a, b)", 4, "only on the left"),
    ("cbind(a) ~ x", 0, "cbind() takes two arguments, not 1"),
    ("a:b ~ x", 1, "no arithmetic"),
    ("(1 | g) ~ x", 3, "no arithmetic"),
    ("offset(y) ~ x", 0, "cannot stand"),
    ("poly(y, 2) ~ x", 0, "cannot stand"),
    ("5 ~ x", 0, "names no column"),
    ("y ~ x + y", 8, "the response y"),
    ("log(y) ~ x:log( y )", 11, "the response log(y)"),
    ("y ~ (y | g)", 5, "the response y"),
]


@pytest.mark.parametrize(("text", "position", "words"), ERRORS)
def test_errors_show_the_place_and_the_way_out(text, position, words):
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert caught.value.position == position
    assert str(caught.value).endswith(f"\n  {text}\n  {' ' * position}^")


def test_the_caret_stands_right_under_a_formula_of_several_lines():
    with pytest.raises(FormulaError) as caught:
        parse("y ~ x +\n\tsine(z)")
    assert str(caught.value).endswith("\n  y ~ x +  sine(z)\n" + " " * 11 + "^")


def test_every_allowed_function_is_read():
    for function, arguments in FUNCTIONS.items():
        call = f"{function}(x)" if arguments == 1 else f"{function}(x, {'w - x' if function == 'cbind' else 2})"
        formula = parse(f"{call} ~ z" if function == "cbind" else f"y ~ {call}")
        assert formula.variables == (("x", "w", "z") if function == "cbind" else ("y", "x"))
        assert parse(str(formula)) == formula


def chain(count: int, joined: str) -> str:
    return joined.join(f"x{i}" for i in range(count))


HOSTILE = {
    "parentheses": "y ~ " + "(" * 5000 + "x" + ")" * 5000,
    "open": "y ~ " + "(" * 9000,
    "calls": "y ~ " + "log(" * 3000 + "x" + ")" * 3000,
    "signs": "y ~ x + " + "-" * 9000 + "x",
    "powers": "y ~ I(x" + "^2" * 5000 + ")",
    "arithmetic": "y ~ I(x" + "+1" * 5000 + ")",
    "group": "y ~ (1 | " + chain(1000, "/") + ")",
    "names": "y ~ I(" + "+".join(["`)`"] * 2000) + ")",
    "response": chain(2000, "+") + " ~ x",
    "product": f"y ~ {chain(12, '*')}",
    "power": f"y ~ ({chain(60, ' + ')})^2",
    "huge power": f"y ~ ({chain(30, ' + ')})^999999999999",
    "terms": f"y ~ {chain(MAX_TERMS + 1, ' + ')}",
    "work": "y ~ " + "+".join(["(a+b+c+d+e+f+g+h+i)^9*(a+b+c+d+e+f+g+h+i)^9"] * 300),
    "work in bars": "y ~ " + "+".join(["((a+b+c+d+e+f+g+h)^8*(a+b+c+d+e+f+g+h)^8|k)"] * 300),
    "blocks": "y ~ " + "+".join([f"({chain(30, '+')}||g)"] * 100),
    "length": "y ~ x" + " " * MAX_LENGTH,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_at_once(text):
    started = time.perf_counter()
    with pytest.raises(FormulaError):
        parse(text)
    assert time.perf_counter() - started < 2  # some milliseconds here; the bound is for a busy machine


def test_formulas_at_the_limits_are_read():
    deep = "(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1)
    tall = "I(x" + "+1" * (MAX_OPERATORS - 3) + ")"
    for text in (f"y ~ I({deep})", f"y ~ {tall}", f"y ~ {chain(MAX_TERMS, ' + ')}", f"{tall[2:-1]} ~ x"):
        formula = parse(text)
        assert parse(str(formula)) == formula
        assert hash(parse(str(formula))) == hash(formula)
        assert repr(formula).startswith("Formula(")
    # A power far beyond the number of variables changes nothing more.
    assert parse("y ~ (a + b + c)^999999999999") == parse("y ~ a * b * c")


# Any formula of the grammar, and any text

NAMES = st.sampled_from(["a", "b", "Solar.R", ".z_1", "größe", "`my x`", "`TRUE`", "`a\\`b`", "`1`"])
NUMBERS = st.floats(0, allow_infinity=False, allow_nan=False).map(repr)


def operations(parts, operators):
    joined = st.tuples(parts, st.sampled_from(operators), parts).map("".join)
    return joined | parts.map("({})".format)


ARITHMETIC = st.recursive(
    NAMES | NUMBERS,
    lambda inner: (
        operations(inner, ["+", " - ", "*", "/", "^", "^-"]) | inner.map("-{}".format) | NAMES.map("log( {}+1)".format)
    ),
    max_leaves=6,
)
CALLS = st.tuples(st.sampled_from(["I", "sqrt", "scale", "factor"]), NAMES, ARITHMETIC).map(
    "{0[0]}({0[1]} -{0[2]})".format
)
VARIABLES = NAMES | CALLS | st.tuples(NAMES, st.integers(1, 5)).map(lambda p: f"poly({p[0]},{p[1]})")
PRODUCTS = st.recursive(
    VARIABLES,
    lambda inner: operations(inner, [":", "*", "/"]) | st.tuples(inner, inner).map("({0[0]}+{0[1]})^2".format),
    max_leaves=5,
)
SUMS = st.lists(PRODUCTS | st.sampled_from(["0", "1"]), min_size=1, max_size=4).map("+".join)
GROUPS = st.sampled_from(["g", "`my g`", "g:h", "g/h", "g/h/k", "(g:h)/k"])
BARS = st.tuples(PRODUCTS.map("1+{}".format) | SUMS, st.sampled_from(["|", "||"]), GROUPS)
SUMMANDS = (
    PRODUCTS
    | st.sampled_from(["0", "1", "(1|g)"])
    | BARS.map("({0[0]} {0[1]} {0[2]})".format)
    | CALLS.filter(lambda call: "factor" not in call).map("offset({})".format)
)
SIGNED = st.lists(st.tuples(st.sampled_from("+-"), PRODUCTS).map("".join), max_size=2).map("".join)
FORMULAS = st.tuples(
    st.sampled_from(["y", "log(y)", "cbind(y, n-y)", "`my y`/2"]),
    st.lists(SUMMANDS, min_size=1, max_size=4).map("+".join),
    SIGNED,
).map("{0[0]}~{0[1]}{0[2]}".format)


def attempt(text: str) -> Formula | None:
    try:
        return parse(text)
    except FormulaError as error:
        assert error.position is None or 0 <= error.position <= len(text)  # noqa: PT017
        return None


@settings(deadline=None, max_examples=400)
@given(FORMULAS)
def test_a_formula_reads_back_as_itself(text):
    formula = attempt(text)
    assume(formula is not None)  # a few are refused: nothing varies in (0 | g)
    again = parse(str(formula))
    assert again == formula
    assert hash(again) == hash(formula)
    assert str(again) == str(formula)
    assert [t.label for t in again.terms] == [t.label for t in formula.terms]
    assert [b.text for b in again.random] == [b.text for b in formula.random]
    assert again.variables == formula.variables


@settings(deadline=None)
@given(FORMULAS, st.sampled_from([" ", "\n", "\t "]))
def test_spacing_does_not_matter(text, space):
    formula = attempt(text)
    assume(formula is not None)
    assert parse("".join(f"{space}{c}{space}" if c in "(),~:" else c for c in text)) == formula


@settings(deadline=None)
@given(st.lists(PRODUCTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_terms_do_not_depend_on_the_order_of_summands(products, random):
    shuffled = random.sample(products, len(products))
    first, second = attempt("y ~ " + "+".join(products)), attempt("y ~ " + "+".join(shuffled))
    assert (first is None) == (second is None)
    if first is not None:
        assert set(first.terms) == set(second.terms)
        assert [t.order for t in first.terms] == sorted(t.order for t in second.terms)


@settings(deadline=None, max_examples=500)
@given(
    st.text()
    | st.text("yxgI01 ~+-*/:^|(),.`%\n")
    | st.lists(st.sampled_from([*"yxg01+-*/:^|(),~. ", "||", "I(", "log(", "poly(", "offset(", "(1|g)"])).map(
        lambda parts: "y ~ " + "".join(parts)
    )
)
def test_any_text_gives_a_formula_or_a_formula_error(text):
    formula = attempt(text)
    if formula is not None:
        assert parse(str(formula)) == formula

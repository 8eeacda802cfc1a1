"""The columns of a model as lines of pandas, by R's rules of coding: what :mod:`workbench.model_matrix` makes, to read.

Columns that pandas has no word for (orthogonal polynomials, arrays that were given beside the table) are left to the
workbench: :class:`Unwritten` says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product

from workbench.coding import Labels, Learnt, Scaling
from workbench.formula import Binary, Call, Expression, Name, Number, Paren, Term, Unary, deparse

LOGICAL = {"FALSE", "TRUE"}
FUNCTIONS = ("log", "log2", "log10", "log1p", "exp", "sqrt", "abs")


class Unwritten(Exception):
    """What cannot be written as a line of pandas."""


def column(name: str) -> str:
    """A column of the table `d`.

    >>> column("a b")
    'd["a b"]'
    """
    return f"d[{json.dumps(name, ensure_ascii=False)}]"


def number_code(expression: Expression, learnt: Learnt) -> str:
    """A numeric expression on the columns of `d`.

    Raises
    ------
    Unwritten
    """
    match expression:
        case Number(value=value):
            return f"{value!r}"
        case Name(name=name):
            if isinstance(learnt.get(expression), Labels):
                raise Unwritten
            return column(name)
        case Paren(inner=inner):
            return f"({number_code(inner, learnt)})"
        case Unary(op=op, operand=operand):
            return f"{'-' if op == '-' else ''}{number_code(operand, learnt)}"
        case Binary(op=op, left=left, right=right):
            return f"{number_code(left, learnt)} {'**' if op == '^' else op} {number_code(right, learnt)}"
        case Call(function="I", args=(inner,)):
            return f"({number_code(inner, learnt)})"
        case Call(function="scale" | "center", args=(inner,)) if isinstance(seen := learnt.get(expression), Scaling):
            less = f"({number_code(inner, learnt)} - {seen.centre!r})"
            return less if seen.spread == 1 else f"{less} / {seen.spread!r}"
        case Call(function=function, args=(inner,)) if function in FUNCTIONS:
            return f"np.{function}({number_code(inner, learnt)})"
    raise Unwritten


def columns_code(terms: Sequence[Term], intercept: bool, learnt: Learnt) -> dict[str, str]:
    """The columns of a sum of terms, by their R names, in the order of :func:`workbench.model_matrix.model_columns`.

    Raises
    ------
    Unwritten

    Examples
    --------
    >>> from workbench.formula import parse
    >>> f = parse("y ~ x * g")
    >>> columns_code(f.terms, f.intercept, {f.terms[1].factors[0]: Labels(("a", "b"), False)})["x:gb"]
    'd["x"] * (d["g"].astype(str) == "b")'
    """
    made = {"(Intercept)": "1.0"} if intercept else {}
    before: list[frozenset[Expression]] = []
    whole = not intercept
    for term in terms:
        parts: list[dict[str, str]] = []
        for factor in term.factors:
            known = learnt.get(factor)
            if not isinstance(known, Labels):
                code = number_code(factor, learnt)
                parts.append({deparse(factor): f"({code})" if _loose(factor) and len(term.factors) > 1 else code})
                continue
            others = frozenset(term.factors) - {factor}
            contrasts = (not others or any(others <= earlier for earlier in before)) and not whole
            whole = False
            parts.append(_indicators(factor, known, contrasts))
        before.append(frozenset(term.factors))
        for chosen in product(*(part.items() for part in reversed(parts))):
            picked = list(reversed(chosen))
            made[":".join(name for name, _ in picked)] = " * ".join(code for _, code in picked)
    return made


def _loose(expression: Expression) -> bool:
    """Whether its code needs brackets beside a product."""
    return isinstance(expression, Binary | Unary) or (
        isinstance(expression, Call) and expression.function in ("scale", "center")
    )


def _indicators(factor: Expression, known: Labels, contrasts: bool) -> dict[str, str]:
    if known.ordered and contrasts and len(known.levels) > 1:
        raise Unwritten
    match factor:
        case Name(name=name):
            numeric = False
        case Call(function="factor", args=(Name(name=name),)):
            numeric = all(_is_number(level) for level in known.levels)
        case _:
            raise Unwritten
    label = deparse(factor)
    return {f"{label}{level}": is_label(name, level, known.levels, numeric) for level in known.levels[int(contrasts) :]}


def is_label(name: str, level: str, levels: Sequence[str], numeric: bool = False) -> str:
    """Whether a row has a label, in brackets."""
    if numeric:
        return f"(pd.to_numeric({column(name)}) == {float(level)!r})"
    text = f"{column(name)}.astype(str)" + (".str.upper()" if set(levels) <= LOGICAL else "")
    return f"({text} == {json.dumps(level, ensure_ascii=False)})"


def _is_number(level: str) -> bool:
    try:
        float(level)
    except ValueError:
        return False
    return True

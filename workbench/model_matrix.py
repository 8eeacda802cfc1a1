"""Terms of a formula x columns of data -> numbers, coded and named as R does.

A *factor* of a term is a numeric expression (``Days``, ``log(x)``, ``poly(x, 2)``) or a column of labels.
A product ``a:b`` is the row-wise product of the columns of its factors, the first factor's columns running
fastest. Labels are coded

* by contrasts (treatment: one indicator per level but the first, named ``recipeB``; for an ordered
  categorical, orthogonal polynomials ``temperature.L``, ``.Q``, ``.C``, ``^4``), or
* by all their indicators,

following R's rule of marginality: a labelled factor inside a term gets contrasts if what is left of the term without it
is nothing, or stands in a term before, be it with others; in a model without an intercept, the first labelled factor
gets all its indicators.

Numeric functions that look at the whole column (``scale``, ``center``, ``poly``) see the rows that enter the
fit; for a table with missing values in *other* columns, R's ``scale`` would look at those rows as well. What they saw,
and the levels of the labels, is what :func:`learn` returns: with it, new rows get columns of the same meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coding import Labels, Learnt, Polynomials, Scaling, match_levels, orthogonal_polynomials, recurrence
from workbench.data import Column, Factor, GroupedData, all_finite, as_factor
from workbench.errors import DataError, DesignError, nearest
from workbench.formula import Binary, Call, Expression, Name, Number, Paren, Term, Unary, deparse
from workbench.formula.tree import walk

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a model matrix: `values` of shape (n, k) and their R `names`."""

    values: Matrix
    names: tuple[str, ...]


def learn(expressions: Iterable[Expression], data: GroupedData) -> Learnt:
    """What the columns of these expressions take from the data at hand and must keep for new rows.

    Raises
    ------
    DesignError
        As :func:`model_columns`.

    Examples
    --------
    >>> from workbench.data import read
    >>> from workbench.formula import parse
    >>> f = parse("y ~ center(x) + g")
    >>> data = read({"y": [1, 2], "x": [1.0, 4.0], "g": ["b", "a"]}, f.variables)
    >>> list(learn((term.factors[0] for term in f.terms), data).values())
    [Scaling(centre=2.5, spread=1.0), Labels(levels=('a', 'b'), ordered=False)]
    """
    learnt: dict[Expression, Labels | Scaling | Polynomials] = {}
    for expression in expressions:
        for node in reversed(list(walk(expression))):  # what stands inside first
            if node not in learnt and (found := _learn(node, data, learnt)) is not None:
                learnt[node] = found
    return MappingProxyType(learnt)


def model_columns(
    terms: Sequence[Term],
    intercept: bool,
    data: GroupedData,
    learnt: Learnt | None = None,
    drop_baseline: bool = True,
) -> Columns:
    """Build the columns of a sum of terms, ``(Intercept)`` first where there is one.

    Parameters
    ----------
    terms : sequence of Term
    intercept : bool
    data : GroupedData
    learnt : mapping, optional
        From :func:`learn`, on these or on other rows; by default on these.
    drop_baseline : bool
        Otherwise contrasts have as many columns as there are levels: all indicators, or polynomials from degree
        zero on (``temperature^0``).

    Returns
    -------
    Columns
        `values` has shape (n, k).

    Raises
    ------
    DesignError
        A function outside its domain, a constant column to be scaled, labels where numbers are needed.
    DataError
        A label that is not among those learnt.

    Examples
    --------
    >>> from workbench.data import read
    >>> from workbench.formula import parse
    >>> f = parse("y ~ x * g")
    >>> d = read({"y": [1, 2, 3], "x": [1.0, 2.0, 4.0], "g": ["b", "a", "c"]}, f.variables)
    >>> model_columns(f.terms, f.intercept, d).names
    ('(Intercept)', 'x', 'gb', 'gc', 'x:gb', 'x:gc')
    """
    n = len(data)
    learnt = learn((factor for term in terms for factor in term.factors), data) if learnt is None else learnt
    blocks = [Columns(np.broadcast_to(1.0, (n, 1)), ("(Intercept)",))] if intercept else []
    before: list[frozenset[Expression]] = []
    whole = not intercept
    for term in terms:
        coded = []
        for factor in term.factors:
            known = learnt.get(factor)
            if not isinstance(known, Labels):
                coded.append(_numeric_columns(factor, data, learnt))
                continue
            others = frozenset(term.factors) - {factor}
            marginal = not others or any(others <= earlier for earlier in before)
            contrasts, whole = marginal and not whole, False
            coding, suffixes = _coding(deparse(factor), known, contrasts, drop_baseline)
            names = tuple(deparse(factor) + suffix for suffix in suffixes)
            coded.append(Columns(coding[_codes(factor, known, data)], names))
        before.append(frozenset(term.factors))
        blocks.append(_row_product(coded))
    if not blocks:
        return Columns(np.empty((n, 0)), ())
    names = tuple(name for b in blocks for name in b.names)
    return Columns(_side_by_side([b.values for b in blocks], n), names)


def _side_by_side(parts: list[Matrix], n: int) -> Matrix:
    """Columns one after the other, each contiguous in memory."""
    if len(parts) == 1 and parts[0].strides[0] == 0:
        return parts[0]
    whole = np.empty((n, sum(part.shape[1] for part in parts)), order="F")
    start = 0
    for part in parts:
        whole[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return whole


def evaluate(expression: Expression, data: GroupedData, learnt: Learnt | None = None) -> Matrix:
    """Evaluate a numeric expression on every row, shape (n,); `learnt` as in :func:`model_columns`.

    Raises
    ------
    DesignError
        Labels in arithmetic, or a result that is not finite (with the first row and the value seen).
    """
    learnt = learn([expression], data) if learnt is None else learnt
    with np.errstate(all="ignore"):
        values = _value(expression, data, learnt)
    values = np.broadcast_to(values, (len(data),))
    if not all_finite(values):
        bad = np.flatnonzero(~np.isfinite(values))
        row = int(bad[0])
        seen = ", ".join(f"{c.name} = {_shown(c, row)}" for c in _columns_of(expression, data))
        raise DesignError(
            f"{deparse(expression)} is {values[row]} in {len(bad):,} of {len(data):,} rows, "
            f"first in data row {data.kept[row] + 1} ({seen}). Transform or leave out these rows first."
        )
    return values


# --- numbers ------------------------------------------------------------------------------------------

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power}
)
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "I": lambda x: x, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
        "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
    }
)  # fmt: skip


def _value(expression: Expression, data: GroupedData, learnt: Learnt) -> Any:
    match expression:
        case Number(value=value):
            return value
        case Name(name=name):
            column = data[name]
            if isinstance(column, Factor):
                raise DesignError(
                    f"{name} holds labels ({column.levels[0]!r}, ...), but a number is needed here. "
                    "Use a numeric column, or convert it before."
                )
            return column.numbers
        case Paren(inner=inner):
            return _value(inner, data, learnt)
        case Unary(op=op, operand=operand):
            value = _value(operand, data, learnt)
            return -value if op == "-" else value
        case Binary(op=op, left=left, right=right):
            return _ARITHMETIC[op](_value(left, data, learnt), _value(right, data, learnt))
        case Call(function="scale" | "center", args=(inner,)):
            scaling = learnt[expression]
            assert isinstance(scaling, Scaling)
            return (_value(inner, data, learnt) - scaling.centre) / scaling.spread
        case Call(function=function, args=(inner,)) if function in _FUNCTIONS:
            return _FUNCTIONS[function](_value(inner, data, learnt))
    raise DesignError(f"{deparse(expression)} gives several columns or labels where one number per row is needed.")


def _numeric_columns(factor: Expression, data: GroupedData, learnt: Learnt) -> Columns:
    label = deparse(factor)
    if isinstance(factor, Call) and isinstance(basis := learnt.get(factor), Polynomials):
        values = basis.at(evaluate(factor.args[0], data, learnt))
        names = (label,) if values.shape[1] == 1 else tuple(f"{label}{k + 1}" for k in range(values.shape[1]))
        return Columns(values, names)
    return Columns(evaluate(factor, data, learnt)[:, None], (label,))


def _learn(node: Expression, data: GroupedData, learnt: Learnt) -> Labels | Scaling | Polynomials | None:
    """What one node takes from the data, those inside it being learnt."""
    match node:
        case Name(name=name) if isinstance(column := data[name], Factor):
            return Labels(tuple(column.levels), column.ordered)
        case Call(function="factor"):
            labels = as_factor(data[_labelled(node)])
            return Labels(tuple(labels.levels), labels.ordered)
        case Call(function="scale" | "center", args=(inner,)):
            values = evaluate(inner, data, learnt)
            if node.function == "center":
                return Scaling(float(values.mean()))
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            if not spread > 0:
                raise DesignError(f"{deparse(node)}: the column is constant ({values[0]:g}). Leave it out.")
            return Scaling(float(values.mean()), spread)
        case Call(function="poly", args=(inner, Number(value=degree))):
            return recurrence(evaluate(inner, data, learnt), int(degree), deparse(node))
    return None


# --- labels -------------------------------------------------------------------------------------------


def _labelled(factor: Expression) -> str:
    """The column of labels that ``g`` or ``factor(g)`` stands for."""
    match factor:
        case Name(name=name) | Call(function="factor", args=(Name(name=name),)):
            return name
    raise DesignError(f"{deparse(factor)}: factor() takes a column. Make the column first.")


def _codes(factor: Expression, known: Labels, data: GroupedData) -> NDArray[np.intp]:
    """Codes of a column of labels among the levels learnt, shape (n,)."""
    column = as_factor(data[_labelled(factor)])
    if tuple(column.levels) == known.levels:
        return column.codes
    codes = match_levels(column, known.levels)
    if (codes < 0).any():
        row = int(np.argmin(codes))
        level = column.levels[column.codes[row]]
        raise DataError(
            f"{column.name} is {level!r} in data row {data.kept[row] + 1}, a level without a coefficient: the fit had "
            f"no row of it. {nearest(level, known.levels)} Mend it, or leave these rows out."
        )
    return codes


def _coding(label: str, known: Labels, contrasts: bool, drop_baseline: bool) -> tuple[Matrix, Sequence[str]]:
    """What stands for each level, shape (levels, columns), and what follows the label in the columns' names."""
    count, first = len(known.levels), 1 if contrasts and drop_baseline else 0
    if count < 2 and first:
        raise DesignError(
            f"{label} has a single level ({known.levels[0]!r}), so it cannot explain anything. Leave it out of the "
            "formula."
        )
    if count < 2 or not (known.ordered and contrasts):
        return np.eye(count)[:, first:], known.levels[first:]
    powers = orthogonal_polynomials(np.arange(count, dtype=float), count - 1, label)
    suffixes = ("^0", ".L", ".Q", ".C", *(f"^{k}" for k in range(4, count)))[:count]
    return np.column_stack([np.full(count, count**-0.5), powers])[:, first:], suffixes[first:]


def _row_product(parts: list[Columns]) -> Columns:
    """Multiply every column of each part with every column of the others, the first part's running fastest."""
    if len(parts) == 1:
        return parts[0]
    values, names = [], []
    for chosen in product(*(range(len(p.names)) for p in reversed(parts))):
        picks = list(reversed(chosen))
        column = np.prod([p.values[:, k] for p, k in zip(parts, picks, strict=True)], axis=0)
        values.append(column)
        names.append(":".join(p.names[k] for p, k in zip(parts, picks, strict=True)))
    return Columns(np.column_stack(values), tuple(names))


def _columns_of(expression: Expression, data: GroupedData) -> list[Column]:
    from workbench.formula import variables

    return [data[name] for name in variables(expression)]


def _shown(column: Column, row: int) -> str:
    if isinstance(column, Factor):
        return str(column.levels[column.codes[row]])
    return f"{column.numbers[row]:g}"

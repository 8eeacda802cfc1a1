"""Terms of a formula x columns of data -> numbers, coded and named as R does.

A *factor* of a term is a numeric expression (``Days``, ``log(x)``, ``poly(x, 2)``) or a column of labels.
A product ``a:b`` is the row-wise product of the columns of its factors, the first factor's columns running
fastest. Labels are coded

* by contrasts (treatment: one indicator per level but the first, named ``recipeB``; for an ordered
  categorical, orthogonal polynomials ``temperature.L``, ``.Q``, ``.C``, ``^4``), or
* by all their indicators,

following R's rule of marginality: a labelled factor inside a term gets contrasts if the term without it is in the
model too (the empty term being the intercept); in a model without an intercept, the first labelled main
effect gets all its indicators.

Numeric functions that look at the whole column (``scale``, ``center``, ``poly``) see the rows that enter the
fit; for a table with missing values in *other* columns, R's ``scale`` would look at those rows as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data import Column, Factor, GroupedData, as_factor
from workbench.errors import DesignError
from workbench.formula import Binary, Call, Expression, Name, Number, Paren, Term, Unary, deparse

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a model matrix: `values` of shape (n, k) and their R `names`."""

    values: Matrix
    names: tuple[str, ...]


def model_columns(terms: Sequence[Term], intercept: bool, data: GroupedData) -> Columns:
    """Build the columns of a sum of terms, ``(Intercept)`` first where there is one.

    Parameters
    ----------
    terms : sequence of Term
    intercept : bool
    data : GroupedData

    Returns
    -------
    Columns
        `values` has shape (n, k).

    Raises
    ------
    DesignError
        A function outside its domain, a constant column to be scaled, labels where numbers are needed.

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
    blocks = [Columns(np.ones((n, 1)), ("(Intercept)",))] if intercept else []
    present = {frozenset(term.factors) for term in terms}
    full_main_effect_given = intercept
    for term in terms:
        coded = []
        for factor in term.factors:
            labels = _labels(factor, data)
            if labels is None:
                coded.append(_numeric_columns(factor, data))
                continue
            others = frozenset(term.factors) - {factor}
            if others:
                contrasts = others in present
            else:
                contrasts, full_main_effect_given = full_main_effect_given, True
            coded.append(_code(deparse(factor), labels, contrasts))
        blocks.append(_row_product(coded))
    if not blocks:
        return Columns(np.empty((n, 0)), ())
    return Columns(np.hstack([b.values for b in blocks]), tuple(name for b in blocks for name in b.names))


def evaluate(expression: Expression, data: GroupedData) -> Matrix:
    """Evaluate a numeric expression on every row, shape (n,).

    Raises
    ------
    DesignError
        Labels in arithmetic, or a result that is not finite (with the first row and the value seen).
    """
    with np.errstate(all="ignore"):
        values = _value(expression, data)
    values = np.broadcast_to(values, (len(data),))
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
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
        "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs, "center": lambda x: x - np.mean(x),
    }
)  # fmt: skip


def _value(expression: Expression, data: GroupedData) -> Any:
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
            return _value(inner, data)
        case Unary(op=op, operand=operand):
            value = _value(operand, data)
            return -value if op == "-" else value
        case Binary(op=op, left=left, right=right):
            return _ARITHMETIC[op](_value(left, data), _value(right, data))
        case Call(function="scale", args=(inner,)):
            values = np.asarray(_value(inner, data), dtype=float)
            spread = float(np.std(values, ddof=1)) if np.size(values) > 1 else 0.0
            if not spread > 0:
                raise DesignError(
                    f"{deparse(expression)}: the column is constant ({np.ravel(values)[0]:g}). Leave it out."
                )
            return (values - values.mean()) / spread
        case Call(function=function, args=(inner,)) if function in _FUNCTIONS:
            return _FUNCTIONS[function](_value(inner, data))
    raise DesignError(f"{deparse(expression)} gives several columns or labels where one number per row is needed.")


def _numeric_columns(factor: Expression, data: GroupedData) -> Columns:
    label = deparse(factor)
    if isinstance(factor, Call) and factor.function == "poly":
        degree = factor.args[1]
        assert isinstance(degree, Number)
        values = orthogonal_polynomials(evaluate(factor.args[0], data), int(degree.value), label)
        names = (label,) if values.shape[1] == 1 else tuple(f"{label}{k + 1}" for k in range(values.shape[1]))
        return Columns(values, names)
    return Columns(evaluate(factor, data)[:, None], (label,))


def orthogonal_polynomials(x: Matrix, degree: int, label: str = "poly") -> Matrix:
    """Orthonormal polynomials of degrees 1 to `degree` at the points `x`, shape (n, degree), as R's ``poly``."""
    distinct = len(np.unique(x))
    if degree >= distinct:
        raise DesignError(
            f"{label}: degree {degree} needs at least {degree + 1} distinct values, but there are {distinct}. "
            "Lower the degree."
        )
    centred = x - x.mean()
    span = np.abs(centred).max()
    powers = np.vander(centred / span, degree + 1, increasing=True)
    q, r = np.linalg.qr(powers)
    return np.asarray((q * np.sign(np.diag(r)))[:, 1:])


# --- labels -------------------------------------------------------------------------------------------


def _labels(factor: Expression, data: GroupedData) -> Factor | None:
    """The labels that a factor of a term stands for, or None where it is numeric."""
    if isinstance(factor, Name):
        column = data[factor.name]
        return column if isinstance(column, Factor) else None
    if isinstance(factor, Call) and factor.function == "factor":
        inner = factor.args[0]
        if not isinstance(inner, Name):
            raise DesignError(f"{deparse(factor)}: factor() takes a column. Make the column first.")
        return as_factor(data[inner.name])
    return None


def _code(label: str, factor: Factor, contrasts: bool) -> Columns:
    """Code labels by contrasts or by all their indicators."""
    count = len(factor.levels)
    if not contrasts:
        coding, suffixes = np.eye(count), factor.levels
    elif count < 2:
        raise DesignError(
            f"{label} has a single level ({factor.levels[0]!r}), so it cannot explain anything. Leave it out of the "
            "formula."
        )
    elif factor.ordered:
        coding = orthogonal_polynomials(np.arange(count, dtype=float), count - 1, label)
        suffixes = tuple((".L", ".Q", ".C")[k] if k < 3 else f"^{k + 1}" for k in range(count - 1))
    else:
        coding, suffixes = np.eye(count)[:, 1:], factor.levels[1:]
    return Columns(coding[factor.codes], tuple(label + s for s in suffixes))


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

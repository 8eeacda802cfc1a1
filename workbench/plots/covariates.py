"""The columns of data behind a design's columns, and rows of the design at other values of one of them.

A design keeps its columns and how they were coded, not the table. A numeric column is read back off any term that it
alone makes and that can be undone: ``x``, ``scale(x)``, ``poly(x, 2)`` (its first column is linear in x), ``log(x)``,
``I(x / 10)``. Labels are read back off their contrasts or indicators. Rows at other values go through
:func:`workbench.model_matrix.model_columns` with what the fit learnt, as all new rows do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.coding import Labels, Learnt, Polynomials, Scaling
from workbench.data import read
from workbench.design import Design, RandomBlock
from workbench.formula import Binary, Call, Expression, Name, Number, Paren, RandomTerm, Term, Unary, variables
from workbench.model_matrix import model_columns
from workbench.new_rows import Rows, Varying

Array = NDArray[np.float64]

INVERSE: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"log": np.exp, "log2": np.exp2, "log10": lambda v: np.power(10.0, v), "log1p": np.expm1, "exp": np.log,
     "sqrt": np.square, "I": lambda v: v}
)  # fmt: skip
"""What undoes a function of one column."""


@dataclass(frozen=True, eq=False)
class Raw:
    """One column of the data, read back.

    Attributes
    ----------
    name : str
    values : array, shape (n,)
        Numbers, or the codes of labels.
    levels : tuple of str, or None
        The labels; None for numbers.
    """

    name: str
    values: NDArray[Any]
    levels: tuple[str, ...] | None = None

    def table(self, values: NDArray[Any]) -> list[Any]:
        """Values of this column as a table holds them: numbers, or labels for codes."""
        return values.tolist() if self.levels is None else [self.levels[k] for k in values.astype(int).tolist()]


def covariate(design: Design, block: RandomBlock) -> str | None:
    """The numeric column to draw a block's regressions against; None where there is none.

    The first that varies by the block's factor, else the first of the fixed terms, else of any.
    """
    places = [k for k, other in enumerate(design.blocks) if other.group == block.group]
    own = [term for k in places for term in design.formula.random[k].terms]
    every = [term for part in design.formula.random for term in part.terms]
    for terms in (own, design.formula.terms, every):
        for term in terms:
            for factor in term.factors:
                if isinstance(design.coding.learnt.get(factor), Labels):
                    continue
                for name in variables(factor):
                    found = raw(design, name)
                    if found is not None and found.levels is None and np.ptp(found.values) > 0:
                        return name
    return None


def raw(design: Design, name: str) -> Raw | None:
    """Read one column of data back; None where no term gives it back.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "x": [1, 2, 3, 5], "g": ["a", "a", "b", "b"]}
    >>> found = raw(build_design("y ~ poly(x, 2) + (1 | g)", table), "x")
    >>> found.values.round(9).tolist()
    [1.0, 2.0, 3.0, 5.0]
    """
    known = _columns(design)
    for term in _main_terms(design):
        (factor,) = term.factors
        if variables(factor) != (name,):
            continue
        learnt = design.coding.learnt.get(factor)
        if isinstance(learnt, Labels):
            codes = _codes(factor, learnt, design.coding.learnt, known)
            if codes is not None:
                return Raw(name, codes, learnt.levels)
            continue
        first = _first_name(factor, learnt)
        if first in known:
            values = _undo(factor, known[first], design.coding.learnt)
            if values is not None and np.isfinite(values).all():
                return Raw(name, _tidied(values))
    return None


def predictors(design: Design) -> dict[str, Raw] | None:
    """Every column of data that the terms use, read back; None where one of them cannot be."""
    terms = [*design.formula.terms, *(term for part in design.formula.random for term in part.terms)]
    names = dict.fromkeys(name for term in terms for factor in term.factors for name in variables(factor))
    found = {name: raw(design, name) for name in names}
    return None if any(column is None for column in found.values()) else {k: v for k, v in found.items() if v}


def rows_at(design: Design, table: Mapping[str, Sequence[Any]], group: str, codes: Any, offset: Array) -> Rows:
    """Rows of a design at any values of its columns, in given levels of one grouping factor.

    Parameters
    ----------
    table : mapping of str to sequence, m long
        Every column that the terms use.
    group : str
    codes : array of int, shape (m,)
        Levels of that factor; other factors are at the population's value.
    offset : array, shape (m,)
    """
    formula, learnt, data = design.formula, design.coding.learnt, read(dict(table), list(table))
    X = model_columns(formula.terms, formula.intercept, data, learnt).values[:, list(design.coding.kept)]
    varying = {
        k: Varying(model_columns(part.terms, part.intercept, data, learnt).values, np.asarray(codes))
        for k, part in enumerate(formula.random)
        if design.blocks[k].group == group
    }
    m = len(data)
    return Rows(X, MappingProxyType(varying), offset, np.full(m, "", dtype=object), m, range(m))


# --- reading back -------------------------------------------------------------------------------------


def _columns(design: Design) -> dict[str, Array]:
    """The columns of fixed and varying terms by their names."""
    known: dict[str, Array] = {}
    for block in design.blocks:
        known |= {term: block.Z[:, k] for k, term in enumerate(block.terms)}
    return known | {term: design.X[:, k] for k, term in enumerate(design.fixed_terms)}


def _main_terms(design: Design) -> list[Term]:
    """Terms of one factor each, fixed ones first."""
    parts: list[RandomTerm] = list(design.formula.random)
    return [t for terms in (design.formula.terms, *(p.terms for p in parts)) for t in terms if t.order == 1]


def _first_name(factor: Expression, learnt: Any) -> str:
    """The name of a numeric factor's first column."""
    from workbench.formula import deparse

    label = deparse(factor)
    return f"{label}1" if isinstance(learnt, Polynomials) and len(learnt.reach) > 1 else label


def _codes(factor: Expression, known: Labels, learnt: Learnt, columns: Mapping[str, Array]) -> NDArray[np.intp] | None:
    """Codes of labels, from all their contrasts or all their indicators; None where neither is there."""
    (name,) = variables(factor)
    levels = read({name: list(known.levels)}, [name])
    for intercept in (True, False):
        coded = model_columns((Term((factor,)),), intercept, levels, learnt)
        own = [k for k, column in enumerate(coded.names) if column != "(Intercept)"]
        if not all(coded.names[k] in columns for k in own):
            continue
        seen = np.column_stack([columns[coded.names[k]] for k in own])
        away = np.stack([np.abs(seen - row).max(axis=1) for row in coded.values[:, own]])
        return np.asarray(away.argmin(axis=0))
    return None


def _undo(expression: Expression, values: Array, learnt: Learnt) -> Array | None:
    """The column inside an expression of one column, from the expression's values; None where it cannot be told."""
    with np.errstate(all="ignore"):
        match expression:
            case Name():
                return values
            case Paren(inner=inner):
                return _undo(inner, values, learnt)
            case Unary(op=op, operand=operand):
                return _undo(operand, -values if op == "-" else values, learnt)
            case Call(function="scale" | "center", args=(inner,)):
                scaling = learnt[expression]
                assert isinstance(scaling, Scaling)
                return _undo(inner, values * scaling.spread + scaling.centre, learnt)
            case Call(function="poly", args=(inner, _)):
                basis = learnt[expression]
                assert isinstance(basis, Polynomials)
                t = values * basis.reach[0] / basis.size + basis.centres[0]
                return _undo(inner, t * basis.span + basis.centre, learnt)
            case Call(function=function, args=(inner,)) if function in INVERSE:
                return _undo(inner, INVERSE[function](values), learnt)
            case Binary(op="+" | "-" | "*" | "/" as op, left=left, right=Number(value=k)):
                undone = {"+": values - k, "-": values + k, "*": values / k, "/": values * k}[op]
                return _undo(left, undone, learnt)
            case Binary(op="+" | "-" | "*" | "/" as op, left=Number(value=k), right=right):
                undone = {"+": values - k, "-": k - values, "*": values / k, "/": k / values}[op]
                return _undo(right, undone, learnt)
    return None


def _tidied(values: Array) -> Array:
    """Values that a transformation has moved by rounding, put back on short decimals where they are that."""
    scale = float(np.abs(values).max()) or 1.0
    short = np.round(values, 9 - int(np.floor(np.log10(scale))))
    return np.where(np.abs(short - values) <= 1e-12 * scale, short, values)

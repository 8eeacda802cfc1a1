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

from workbench.formula.algebra import MAX_PRODUCTS, MAX_TERMS, parse
from workbench.formula.reader import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS
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
    variables,
)

__all__ = [
    "FUNCTIONS", "MAX_DEPTH", "MAX_LENGTH", "MAX_OPERATORS", "MAX_PRODUCTS", "MAX_TERMS",
    "Binary", "Call", "Expression", "Formula", "Name", "Number", "Paren", "RandomTerm", "Term", "Unary",
    "deparse", "parse", "variables",
]  # fmt: skip

r"""Tables as LaTeX: ``booktabs`` rules, every character of data escaped; ``longtable`` where a page is too short.

A preamble needs ``\usepackage{booktabs}``, of long tables also ``\usepackage{longtable}``; pdfTeX reads the file as
UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.report.cells import Cell, Column, Table

PAGE = 45
"""More rows than this go over several pages."""
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
    "|": "$|$", '"': r"{\char34}", "−": "$-$", "±": r"$\pm$", "–": "--", "…": r"\dots{}", "²": "$^2$",
    "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "τ": r"$\tau$", "σ": r"$\sigma$", "“": "``", "”": "''",
    "’": "'", "[": "{[}", "]": "{]}",
}  # fmt: skip


def latex(tables: Sequence[Table]) -> str:
    """Tables one after the other, to be read by ``\\input``."""
    needed = ["booktabs"] + (["longtable"] if any(_lines(table) > PAGE for table in tables) else [])
    head = "".join(f"% needs \\usepackage{{{name}}}\n" for name in needed)
    return head + "\n".join(map(_table, tables))


def escaped(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    Examples
    --------
    >>> print(escaped("a_b & 5 % of {x} −1"))
    a\_b \& 5 \% of \{x\} $-$1
    """
    return "".join(ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def _table(table: Table) -> str:
    long = _lines(table) > PAGE
    aligned = "".join("r" if column.numeric else "l" for column in table.columns)
    heads = " & ".join(escaped(column.title) for column in table.columns) + r" \\"
    body = [_row(row, table.columns) for row in table.rows]
    foot = [r"\midrule", *(_row(row, table.columns) for row in table.foot)] if table.foot else []
    notes = [f"{{\\footnotesize {escaped(note)}\\par}}" for note in table.notes]
    caption = escaped(table.title)
    if long:
        opening = [
            rf"\begin{{longtable}}{{{aligned}}}", rf"\caption{{{caption}}}\\", r"\toprule", heads,
            r"\midrule", r"\endfirsthead", r"\toprule", heads, r"\midrule", r"\endhead",
        ]  # fmt: skip
        lines = [*opening, *body, *foot, r"\bottomrule", r"\end{longtable}", *notes]
    else:
        opening = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\begin{{tabular}}{{{aligned}}}"]
        closing = [r"\bottomrule", r"\end{tabular}"] + ([r"\par\medskip", *notes] if notes else [])
        lines = [*opening, r"\toprule", heads, r"\midrule", *body, *foot, *closing, r"\end{table}"]
    return "\n".join(lines) + "\n"


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    if len(row) == 1:
        return rf"\multicolumn{{{len(columns)}}}{{l}}{{{escaped(row[0].text)}}} \\"
    cells = (escaped(cell.text) + (rf" {{\small {escaped(cell.minor)}}}" if cell.minor else "") for cell in row)
    return " & ".join(cells) + r" \\"


def _lines(table: Table) -> int:
    return len(table.rows) + len(table.foot)

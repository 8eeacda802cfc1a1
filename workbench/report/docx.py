"""Tables as a Word document: the few parts that Office Open XML asks for (ECMA-376), written without a library.

A document is a zip archive of XML: the list of its parts, which of them is the document, and the document. Its tables
have rules above and below and under the headings, as papers print them; nothing in the file tells when it was made, so
that the same tables give the same bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from xml.sax.saxutils import escape

from workbench.report.cells import Cell, Column, Table

SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPES = (
    f'{HEAD}<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
RELATIONS = (
    f'{HEAD}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type='
    '"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
SMALL = 18
"""Letters of notes and errors, in half points."""
LETTERS = 20
WIDE = 7
"""More columns than this turn the page."""


def docx(tables: Sequence[Table]) -> bytes:
    """Tables one after the other, as the bytes of a .docx file."""
    body = "".join(map(_table, tables))
    turned = any(len(table.columns) > WIDE for table in tables)
    size = 'w:w="16838" w:h="11906" w:orient="landscape"' if turned else 'w:w="11906" w:h="16838"'
    page = f'<w:sectPr><w:pgSz {size}/><w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" '
    page += 'w:header="709" w:footer="709" w:gutter="0"/></w:sectPr>'
    document = f'{HEAD}<w:document xmlns:w="{SPACE}"><w:body>{body}{page}</w:body></w:document>'
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            ("[Content_Types].xml", TYPES), ("_rels/.rels", RELATIONS), ("word/document.xml", document)
        ):  # fmt: skip
            part = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            part.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(part, text.encode())
    return made.getvalue()


def _table(table: Table) -> str:
    count = len(table.columns)
    rows = [_row([Cell(c.title) for c in table.columns], table.columns, bold=True, rules=("top", "bottom"), head=True)]
    last = len(table.rows) + len(table.foot) - 1
    for k, row in enumerate((*table.rows, *table.foot)):
        rules = (("top",) if table.foot and k == len(table.rows) else ()) + (("bottom",) if k == last else ())
        rows.append(_row(row, table.columns, rules=rules, bold=k >= len(table.rows)))
    column = f'<w:gridCol w:w="{9600 // count}"/>'
    grid = f"<w:tblGrid>{column * count}</w:tblGrid>"
    settings = '<w:tblPr><w:tblW w:w="0" w:type="auto"/><w:tblLayout w:type="autofit"/></w:tblPr>'
    notes = "".join(_paragraph([(note, False, SMALL)]) for note in table.notes)
    title = _paragraph([(table.title, True, LETTERS)], keep=True)
    return f"{title}<w:tbl>{settings}{grid}{''.join(rows)}</w:tbl>{notes}<w:p/>"


def _row(
    row: Sequence[Cell], columns: Sequence[Column], rules: Sequence[str] = (), bold: bool = False, head: bool = False
) -> str:
    kind = "<w:trPr><w:cantSplit/>" + ("<w:tblHeader/>" if head else "") + "</w:trPr>"
    if len(row) == 1:
        return f"<w:tr>{kind}{_cell(row[0], False, rules, bold, len(columns))}</w:tr>"
    cells = (_cell(cell, column.numeric, rules, bold) for cell, column in zip(row, columns, strict=True))
    return f"<w:tr>{kind}{''.join(cells)}</w:tr>"


def _cell(cell: Cell, numeric: bool, rules: Sequence[str], bold: bool, span: int = 1) -> str:
    borders = "".join(f'<w:{side} w:val="single" w:sz="6" w:space="0" w:color="auto"/>' for side in rules)
    settings = '<w:tcW w:w="0" w:type="auto"/>' + (f'<w:gridSpan w:val="{span}"/>' if span > 1 else "")
    settings += f"<w:tcBorders>{borders}</w:tcBorders>" if borders else ""
    parts = [(cell.text, bold, LETTERS)] + ([(f" {cell.minor}", False, SMALL)] if cell.minor else [])
    return f"<w:tc><w:tcPr>{settings}</w:tcPr>{_paragraph(parts, right=numeric)}</w:tc>"


def _paragraph(parts: Sequence[tuple[str, bool, int]], right: bool = False, keep: bool = False) -> str:
    """A paragraph of runs (text, bold, half points)."""
    settings = ("<w:keepNext/>" if keep else "") + '<w:spacing w:before="20" w:after="20"/>'
    settings += '<w:jc w:val="right"/>' if right else ""
    runs = "".join(
        f'<w:r><w:rPr>{"<w:b/>" if bold else ""}<w:sz w:val="{size}"/></w:rPr>'
        f'<w:t xml:space="preserve">{_plain(text)}</w:t></w:r>'
        for text, bold, size in parts
        if text
    )
    return f"<w:p><w:pPr>{settings}</w:pPr>{runs}</w:p>"


def _plain(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))

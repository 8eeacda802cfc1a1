"""The table: plain rows first, then their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

from benchmarks.cases import Case
from benchmarks.engines import OURS
from benchmarks.watch import Measurement

HEAD = (
    "engine", "fits", "wall s", "ratio", "CPU s", "ratio", "peak MB", "ratio", "above MB", "ratio", "x data",
    "criterion - ours", "SDs off by",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One engine's line; ratios are to ours, and None is a figure that there is not.

    Attributes
    ----------
    engine, word : str
    fits : int
    wall, wall_ratio, cpu, cpu_ratio : float or None
        Medians of the timed fits, in seconds.
    peak, peak_ratio, above, above_ratio : float or None
        MB; `above` is the peak less what the process held before the fits.
    per_data : float or None
        `above` as a multiple of the size of the input columns.
    criterion_gap : float or None
        REML criterion less ours; below zero it found a better optimum.
    sd_gap : float or None
        Largest relative difference of a standard deviation from ours; NaN where the terms have other names.
    """

    engine: str
    word: str
    fits: int
    wall: float | None
    wall_ratio: float | None
    cpu: float | None
    cpu_ratio: float | None
    peak: float | None
    peak_ratio: float | None
    above: float | None
    above_ratio: float | None
    per_data: float | None
    criterion_gap: float | None
    sd_gap: float | None


def rows_of(measured: Sequence[Measurement]) -> list[Row]:
    """The rows of one case's measurements, set in ratio to ours where ours is among them.

    Examples
    --------
    >>> ours = Measurement("c", OURS, wall=[2.0], cpu=[2.0], criterion=10.0, sds={"Residual": 4.0})
    >>> other = Measurement("c", "other", wall=[3.0], cpu=[8.0], criterion=10.5, sds={"Residual": 5.0})
    >>> row = rows_of([ours, other])[1]
    >>> row.wall_ratio, row.cpu_ratio, row.criterion_gap, row.sd_gap
    (1.5, 4.0, 0.5, 0.25)
    """
    ours = next((m for m in measured if m.engine == OURS and not m.word), Measurement("", OURS))
    return [
        Row(
            found.engine,
            found.word,
            len(found.wall),
            found.seconds,
            _ratio(found.seconds, ours.seconds),
            found.cpu_seconds,
            _ratio(found.cpu_seconds, ours.cpu_seconds),
            found.peak,
            _ratio(found.peak, ours.peak),
            found.above,
            _ratio(found.above, ours.above),
            _ratio(found.above, found.data),
            None if found.criterion is None or ours.criterion is None else found.criterion - ours.criterion,
            _sd_gap(found.sds, ours.sds),
        )
        for found in measured
    ]


def render(case: Case, measured: Sequence[Measurement]) -> str:
    """One case's block: a heading, the table, and what is to be said below it."""
    sizes = next(((m.rows, m.data) for m in measured if m.engine == OURS and m.rows), None) or next(
        ((m.rows, m.data) for m in measured if m.rows), (None, None)
    )
    lines = [f"{case.name}: {case.formula}", f"  {case.title}" + _sizes(*sizes)]
    cells = [list(HEAD), *(_cells(row) for row in rows_of(measured))]
    widths = [max(len(line[k]) for line in cells if len(line) > 2) for k in range(len(HEAD))]
    widths[0] = max(len(line[0]) for line in cells)
    lines += ["  " + _aligned(line, widths) for line in cells]
    lines += [f"  {m.engine}: {m.reason}" for m in measured if m.reason]
    return "\n".join(lines)


def render_all(cases: Mapping[str, Case], measured: Sequence[Measurement], heading: str) -> str:
    """Everything that was measured, case by case, below what it was measured with."""
    blocks = [heading]
    for name, case in cases.items():
        here = [m for m in measured if m.case == name]
        if here:
            blocks.append(render(case, here))
    return "\n\n".join(blocks)


def _cells(row: Row) -> list[str]:
    if row.word:
        return [row.engine, row.word]
    return [
        row.engine,
        str(row.fits),
        _figure(row.wall),
        _figure(row.wall_ratio),
        _figure(row.cpu),
        _figure(row.cpu_ratio),
        _figure(row.peak),
        _figure(row.peak_ratio),
        _figure(row.above),
        _figure(row.above_ratio),
        _figure(row.per_data),
        "-" if row.criterion_gap is None else f"{row.criterion_gap:+.1e}",
        "-" if row.sd_gap is None else f"{row.sd_gap:.1e}",
    ]


def _aligned(cells: list[str], widths: list[int]) -> str:
    first, *rest = cells
    if len(rest) == 1:
        return f"{first:<{widths[0]}}  {rest[0]}"
    return "  ".join([f"{first:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True))])


def _figure(value: float | None) -> str:
    """Three digits, without an exponent.

    Examples
    --------
    >>> [_figure(v) for v in (0.00123456, 1.23456, 12.3456, 1234.56, 0.0, None)]
    ['0.00123', '1.23', '12.3', '1235', '0.00', '-']
    """
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if abs(value) >= 1 or value == 0:
        return f"{value:.2f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def _ratio(value: float | None, to: float | None) -> float | None:
    return None if value is None or not to else value / to


def _sd_gap(sds: Mapping[str, float], ours: Mapping[str, float]) -> float | None:
    """Relative to ours, or absolute where ours is zero."""
    if not sds or not ours:
        return None
    if sds.keys() != ours.keys():
        return nan
    return max(abs(sds[name] - sd) / (sd or 1.0) for name, sd in ours.items())


def _sizes(rows: int | None, data: float | None) -> str:
    return "" if rows is None or data is None else f"; {rows:,} rows, {_figure(data)} MB of input columns"

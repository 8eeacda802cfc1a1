"""Numbers for people: four significant digits, or as many decimals as a standard error gives meaning to.

Full digits are in the data files. A number that is not there is an en dash.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from workbench.rounding import places_of, rounded

MISSING = "–"
LEVEL = 64
"""Sentences give so many letters of a level's name."""


def significant(value: float | None, digits: int = 4) -> str:
    """A number to so many significant digits, without a power of ten where it can be helped.

    Examples
    --------
    >>> significant(0.75139365), significant(1527.5), significant(-0.00021459), significant(1234567.8)
    ('0.7514', '1528', '−0.0002146', '1,234,568')
    >>> significant(3.2e-9), significant(float("nan")), significant(0.0)
    ('3.2e−9', '–', '0')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e15:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return minus(f"{mantissa}e{int(power)}")
    return fixed(value, places_of(size, digits))


def fixed(value: float | None, places: int) -> str:
    """A number with so many decimals, thousands set off from 10,000 on; never a negative zero, halves away from it.

    Examples
    --------
    >>> fixed(-0.0001, 2), fixed(12345.678, 1), fixed(1234.5, 1)
    ('0.00', '12,345.7', '1234.5')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) >= 1e15:
        return significant(value)
    shown = rounded(value, places)
    text = f"{shown:,f}" if abs(value) >= 1e4 else f"{shown:f}"
    return minus(text[1:] if text.startswith("-") and not text.strip("-0.,") else text)


def beside(values: Sequence[float], by: float, places: int = 0) -> tuple[str, ...]:
    """Values that a sentence sets beside each other: four significant digits, or more where these hide the difference.

    Parameters
    ----------
    values : sequence of float
    by : float
        The difference or the error that the sentence speaks of; two significant digits of it are to be seen.
    places : int
        Decimals of the tables, which the values have where four digits hide the difference.

    Examples
    --------
    >>> beside([7.442, 7.6351], 0.1931), beside([2013.5954, 2013.9012], 0.3058), beside([1e9 + 2.1, 1e9 + 1.9], 0.2, 3)
    (('7.442', '7.635'), ('2013.60', '2013.90'), ('1,000,000,002.100', '1,000,000,001.900'))
    """
    largest = float(np.nanmax(np.abs(np.asarray(values, dtype=float)), initial=0.0))
    if not (1e-4 <= largest < 1e15 and math.isfinite(by) and by):
        return tuple(significant(value) for value in values)
    wanted = places_of(by, 2)
    if wanted <= places_of(largest, 4):
        return tuple(significant(value) for value in values)
    most = 14 - math.floor(math.log10(largest))  # a float has no more digits
    return tuple(fixed(value, max(0, min(max(wanted, places), most))) for value in values)


def minus(text: str) -> str:
    """The typographer's minus."""
    return text.replace("-", "−")


def with_minus(text: str) -> str:
    """Prose with the typographer's minus where a hyphen stands for one: before numbers and between terms.

    Examples
    --------
    >>> with_minus("from -2.6 (cask b-3) to -3.4e-6; divisor J - 1")
    'from −2.6 (cask b-3) to −3.4e−6; divisor J − 1'
    """
    return re.sub(r"(?<![^\s(\[|])-(?=\d)|(?<=\de)-(?=\d)|(?<= )-(?= )", "−", text)


def places_for(errors: Iterable[float], values: Iterable[float] = ()) -> int:
    """Decimals that show three significant digits of a typical standard error, else five of a value.

    Examples
    --------
    >>> places_for([0.42, 0.73]), places_for([12.1]), places_for([], [1500.0, 1600.0])
    (3, 1, 1)
    """
    sizes = _known(errors)
    wanted = 3
    if not len(sizes):
        sizes, wanted = _known(values), 5
    if not len(sizes):
        return 3
    return int(np.clip(wanted - 1 - math.floor(math.log10(float(np.median(sizes)))), 0, 12))


def _known(values: Iterable[float]) -> np.ndarray:
    array = np.abs(np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=float))
    return array[np.isfinite(array) & (array > 0)]


def middle_cut(text: str, width: int = LEVEL) -> str:
    """Text without control characters, cut in its middle to `width` letters: what tells names apart stands mostly last.

    Examples
    --------
    >>> middle_cut("University hospital, ward 3", 12), middle_cut("ward 3", 12)
    ('Univer…ard 3', 'ward 3')
    """
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= width else f"{clean[: width // 2]}…{clean[len(clean) - (width - 1) // 2 :]}"


def level_in_words(group: str, level: str) -> str:
    """A level in a sentence, with its grouping factor in front unless its name begins with it.

    Examples
    --------
    >>> level_in_words("Subject", "308"), level_in_words("county", "county 7"), level_in_words("g", "g0")
    ('Subject 308', 'county 7', 'g0')
    >>> level_in_words("g", "gamma"), level_in_words("Batch", "batch")
    ('g gamma', 'Batch batch')
    """
    name, begins = middle_cut(level, LEVEL), level[: len(group)].casefold() == group.casefold()
    rest = level[len(group) : len(group) + 1]
    return name if begins and rest and not rest.isalpha() else f"{middle_cut(group, LEVEL)} {name}"


def percent(share: float) -> str:
    """A share as a percentage, to three significant digits at most.

    Examples
    --------
    >>> percent(0.0419), percent(0.686), percent(1.2), percent(0.99995), percent(1 - 1e-12)
    ('4.19 %', '68.6 %', '120 %', '99.995 %', '100 %')
    """
    if not math.isfinite(share):
        return MISSING
    value = round(100 * share, 9)
    if 99 < value < 99.9995 or -0.1 < value < 0.1:
        return f"{significant(value, 5 if value > 1 else 2)} %"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{fixed(value, min(places, 2))} %"


def count(number: int, one: str, many: str = "") -> str:
    """A count with its noun: ``1 row``, ``1,200 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def join(items: Iterable[str], last: str = "and") -> str:
    """Join words: ``a, b and c``."""
    words = list(items)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""

"""One rounding for pictures, pages and terminals: halves go away from zero; and which differences are rounding.

The mean of whole numbers is often a half (1527.5), and one estimator reaches it from below and another from above
by the last bit of a float. Such a number must read the same wherever it stands.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal

HAIR = 1e-12
"""Numbers that lie apart by no more than this share of themselves read the same."""
DIGITS = 1e-13
"""A difference between two estimates below this share of the coefficients is rounding."""
WIDE = Context(prec=400)


def rounded(value: float, places: int) -> Decimal:
    """A finite number to so many decimals; a number that is a hair below a half counts as the half.

    Examples
    --------
    >>> [str(rounded(x, 0)) for x in (1527.5, 1527.4999999999998, 1528.5, -0.5, 1527.4999)]
    ['1528', '1528', '1529', '-1', '1527']
    """
    unit = Decimal(1).scaleb(-places)
    exact = abs(Decimal(value))
    hair = min(exact * Decimal(HAIR), unit / 1_000_000)
    size = (exact + hair).quantize(unit, ROUND_HALF_UP, WIDE)
    return -size if value < 0 else size


def places_of(value: float, digits: int) -> int:
    """Decimals that show so many significant digits of a number that is not zero.

    Examples
    --------
    >>> places_of(0.75139, 4), places_of(1527.5, 4), places_of(999.96, 4), places_of(123456.0, 4)
    (4, 0, 0, 0)
    """
    size = abs(value)
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    if places and rounded(size, places) >= Decimal(10) ** (digits - places):
        places -= 1  # 999.96 becomes 1000
    return places

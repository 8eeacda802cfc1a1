"""One cause of a gap, removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data import read_only
from workbench.fit import Fit

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """A fit with one more of its causes removed.

    Attributes
    ----------
    cause : str
        Its name, in a few words.
    change : str
        What was replaced by what, with the values seen; a sentence without its full stop.
    coefficients : tuple of array, shape (J, q)
        Group coefficients by random block, this cause and all before it removed.
    """

    cause: str
    change: str
    coefficients: tuple[Array, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", tuple(read_only(part, np.float64) for part in self.coefficients))


def coefficients_of(fit: Fit) -> tuple[Array, ...]:
    """A fit's group coefficients by random block, shape (J, q) each."""
    return tuple(part.coefficient.estimate for part in fit.group_effects)

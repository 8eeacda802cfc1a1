"""What a page can be asked, as plain data (sliders, choices, ticks, words, tokens), and the values from an address."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import OptionError
from workbench.words import join

LONGEST = 400
"""Letters in words that are typed."""
TOKEN = re.compile(r"[0-9a-zA-Z]{0,40}")


@dataclass(frozen=True)
class Slider:
    """A number between two ends; beside the handle it can be typed, with all digits.

    Attributes
    ----------
    name : str
        In the address.
    label : str
    low, high, step : float
        The handle moves in steps; a typed number need not be on one.
    value : float
        At the start.
    whole : bool
        Whether it counts something.
    hint : str
    power : float
        1 is an even handle. With more, the number is low + (high - low) place^power, the handle's place being from 0 to
        1: it moves in ever finer steps towards the low end, where that is 0 on all scales at once.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float
    whole: bool = False
    hint: str = ""
    power: float = 1.0

    kind = "slider"

    def place(self, text: str) -> float:
        """Where the handle of a slider with a power stands, from 0 to 1; at 0 where the text is no number.

        Examples
        --------
        >>> Slider("sd", "SD", 0.0, 8.0, 0.1, 1.0, power=3.0).place("1")
        0.5
        """
        try:
            number = float(text)
        except ValueError:
            return 0.0
        if math.isnan(number):
            return 0.0
        share = min(max((number - self.low) / (self.high - self.low), 0.0), 1.0)
        return round(float(share ** (1 / self.power)), 12)

    def read(self, text: str) -> float:
        """The number that stands in an address.

        Raises
        ------
        OptionError
            No number, or none between the ends.

        Examples
        --------
        >>> Slider("sd", "SD between groups", 0.0, 3.0, 0.1, 1.0).read("0.75")
        0.75
        """
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not self.low <= number <= self.high or (self.whole and number != int(number)):
            kind = "a whole number" if self.whole else "a number"
            raise OptionError(f"{self.label} is {text!r}, but must be {kind} from {self.low:g} to {self.high:g}.")
        return number


@dataclass(frozen=True)
class Choice:
    """One of several; `anew` where another choice changes what else can be asked.

    Attributes
    ----------
    name, label : str
    options : tuple of (str, str)
        What stands in the address, and what is shown.
    value : str
    anew : bool
    hint : str
    """

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    value: str
    anew: bool = False
    hint: str = ""

    kind = "choice"

    def read(self, text: str) -> str:
        """The choice that stands in an address."""
        known = [key for key, _ in self.options]
        if text not in known:
            raise OptionError(f"{self.label} is {text!r}, but must be one of {join(known, 'or')}.")
        return text


@dataclass(frozen=True)
class Tick:
    """Yes or no."""

    name: str
    label: str
    value: bool
    hint: str = ""

    kind = "tick"

    def read(self, text: str) -> bool:
        """``1`` or ``0``."""
        if text not in ("0", "1"):
            raise OptionError(f"{self.label} is {text!r}, but must be 1 (yes) or 0 (no).")
        return text == "1"


@dataclass(frozen=True)
class Words:
    """Something typed, and how it is read.

    Attributes
    ----------
    name, label, value : str
    means : function of the text
        Gives the value; raises a WorkbenchError that says what is wrong.
    hint : str
    """

    name: str
    label: str
    value: str
    means: Callable[[str], Any]
    hint: str = ""

    kind = "words"

    def read(self, text: str) -> Any:
        """What the words mean."""
        if len(text) > LONGEST:
            raise OptionError(f"{self.label} has {len(text):,} letters; at most {LONGEST} are read.")
        return self.means(text)


@dataclass(frozen=True)
class Token:
    """Something that buttons set and no field shows: which answers are open, say."""

    name: str
    label: str
    value: str = ""
    hint: str = ""

    kind = "token"

    def read(self, text: str) -> str:
        """The token that stands in an address.

        Raises
        ------
        OptionError
            Something that no button sets.

        Examples
        --------
        >>> Token("root", "The first answer").read("4af0")
        '4af0'
        """
        if not TOKEN.fullmatch(text):
            raise OptionError(f"{self.label} is {text[:40]!r}, but must be letters and digits, as its button sets it.")
        return text


Control = Slider | Choice | Tick | Words | Token


def values(controls: Sequence[Control], query: Mapping[str, str]) -> dict[str, Any]:
    """The value of every control: what the address says, else that of the start.

    Raises
    ------
    WorkbenchError
        A value that cannot be; the message names the control.

    Examples
    --------
    >>> asked = (Slider("sd", "SD", 0.0, 3.0, 0.1, 1.0), Tick("log", "logarithmic", False))
    >>> values(asked, {"sd": "2", "other": "x"})
    {'sd': 2.0, 'log': False}
    """
    return {c.name: c.read(texts(controls, query)[c.name]) for c in controls}


def texts(controls: Sequence[Control], query: Mapping[str, str]) -> dict[str, str]:
    """What stands in every control, as the address has it."""
    return {c.name: query.get(c.name, _written(c.value)) for c in controls}


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)

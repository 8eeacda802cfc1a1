"""Two varying terms of one grouping factor, of one random block or of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import OptionError
from workbench.plots.varying import Varying, pick, varying

if TYPE_CHECKING:
    from workbench.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Pair:
    """Two varying terms of one grouping factor, of one random block or of two."""

    first: Varying
    second: Varying

    @property
    def group(self) -> str:
        """The grouping factor."""
        return self.first.group

    @property
    def term(self) -> str:
        """Both terms in words."""
        return f"{self.first.term} and {self.second.term}"


def pairs(terms: Sequence[Varying]) -> tuple[Pair, ...]:
    """What a report draws: of every grouping factor by which two terms or more vary, the first two."""
    found = []
    for group in dict.fromkeys(v.group for v in terms):
        of_it = [v for v in terms if v.group == group]
        found += [Pair(of_it[0], of_it[1])] if len(of_it) > 1 else []
    return tuple(found)


def chosen(comparison: Comparison, terms: tuple[str, str] | None = None, group: str | None = None) -> Pair:
    """Find a pair by its terms and grouping factor; the first pair where nothing is said.

    Raises
    ------
    OptionError
        There is no such term or group, both terms are the same, or no factor has two terms.
    """
    every = varying(comparison)
    if group is not None:
        pick(comparison, None, group)
    if terms is not None:
        if isinstance(terms, str) or len(terms) != 2 or terms[0] == terms[1]:
            raise OptionError(f'terms is {terms!r}, but two different varying terms are needed, ("(Intercept)", "x").')
        for v in (v for v in every if v.term == terms[0] and (group is None or v.group == group)):
            other = next((u for u in every if u.group == v.group and u.term == terms[1]), None)
            if other is not None:
                return Pair(v, other)
        first, second = (pick(comparison, term, group) for term in terms)  # names the one that is not there
        raise OptionError(
            f"{first.term} varies by {first.group} and {second.term} by {second.group}, and no factor by which both "
            "vary. Name two terms of one grouping factor."
        )
    found = [pair for pair in pairs(every) if group is None or pair.group == group]
    if not found:
        where = "no grouping factor has" if group is None else f"{group} has not"
        raise OptionError(f"A plane needs two terms that vary by one factor, and {where} two. Draw shrunken() instead.")
    return found[0]

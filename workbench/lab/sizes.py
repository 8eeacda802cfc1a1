"""Group sizes as people write them: "100x6, 2x6" or "5 5 10 20"."""

from __future__ import annotations

import re

from workbench.errors import OptionError

MOST_GROUPS, MOST_ROWS = 200, 20_000
"""So many groups can be told apart, and so many samples answer a drag at once."""


def group_sizes(text: str) -> tuple[int, ...]:
    """Read group sizes: numbers, with ``x`` (or ``*``, or ``×``) and how many groups have the size.

    Raises
    ------
    OptionError
        Anything else; fewer than two groups; more than a page can show.

    Examples
    --------
    >>> group_sizes("100x2, 2x3"), group_sizes("5 5 10")
    ((100, 100, 2, 2, 2), (5, 5, 10))
    """
    if not text.strip():
        raise OptionError("No sizes are given. Write numbers, such as 5 5 10, or 100x6, 2x6.")
    sizes: list[int] = []
    for part in re.split(r"[,;\s]+", re.sub(r"\s*[x*×]\s*", "x", text.strip().lower())):
        found = re.fullmatch(r"(\d{1,12})(?:x(\d{1,12}))?", part)
        if found is None:
            raise OptionError(
                f"Sizes are {text!r}, of which {part!r} is no size. Write numbers, such as 5 5 10, or sizes with the "
                "number of groups that have them, such as 100x6, 2x6."
            )
        size, groups = int(found[1]), int(found[2] or 1)
        if size < 1 or groups < 1:
            raise OptionError(f"{part!r} has a zero, but every group has at least one sample.")
        if len(sizes) + groups > MOST_GROUPS:
            raise OptionError(f"Sizes make more than {MOST_GROUPS} groups, the most that are drawn here.")
        sizes += [size] * groups
    if len(sizes) < 2:
        raise OptionError("There is one group only, but pooling is between groups: give two or more sizes.")
    if max(sizes) == 1:
        raise OptionError(
            "Every group has one sample, which cannot tell noise from spread: give some groups two or more."
        )
    if sum(sizes) > MOST_ROWS:
        raise OptionError(f"Sizes add up to {sum(sizes):,} samples; at most {MOST_ROWS:,} are drawn here.")
    return tuple(sizes)

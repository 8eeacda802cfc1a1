"""Levels in tables: cut as pictures cut them, so that they stay apart, or whole where no cut keeps them so."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.plots.varying import told_apart


def labels(names: Iterable[str], width: int, most: int | None = None) -> tuple[str, ...]:
    """One label per name, of at most `width` letters, or whole where labels would be alike.

    Parameters
    ----------
    names : iterable of str
        All that may stand beside each other.
    width : int
    most : int, optional
        Of names that no cut of `width` letters keeps apart, so many letters are left; all, unless it is given.

    Examples
    --------
    >>> labels(["Ward of Aitkin 1", "Ward of Aitkin 2"], 9)
    ('Ward…in 1', 'Ward…in 2')
    >>> labels(["Aitkin, ward 1 of 2", "Aitkin, ward 2 of 2"], 9)
    ('Aitkin, ward 1 of 2', 'Aitkin, ward 2 of 2')
    """
    every = tuple(names)
    made = told_apart(every, width)
    if len(set(made)) == len(set(every)):
        return made
    longest = max(map(len, every))
    return told_apart(every, longest if most is None else max(width, min(most, longest)))

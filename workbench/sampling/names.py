"""What random blocks are called in a tree of draws: variables and dims.

``b`` (population_term), ``sigma``, and per block ``sd_Subject`` (Subject_term), ``cor_Subject`` (Subject_term,
Subject_term_bis), ``effect_Subject`` and ``coefficient_Subject`` (Subject, Subject_term).
"""

from __future__ import annotations

from workbench.design import Design

RESERVED = ("b", "chain", "draw", "nu", "population_term", "row", "sample", "sigma", "y")
"""Names of variables and dims that a grouping factor cannot have in the tree."""


def block_names(design: Design) -> list[str]:
    """A name per random block for variables and dims: the group's dim, numbered where it has several blocks.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> d = {"y": [1.0, 2.0, 4.0, 3.0, 2.5], "x": [0, 1, 0, 1, 0.5], "g": list("aabbb")}
    >>> block_names(build_design("y ~ x + (x || g)", d))
    ['g', 'g_2']
    """
    names: list[str] = []
    for block in design.blocks:
        earlier = sum(b.group == block.group for b in design.blocks[: len(names)])
        names.append(group_dim(block.group) if not earlier else f"{group_dim(block.group)}_{earlier + 1}")
    return names


def group_dim(group: str) -> str:
    """The dim of a grouping factor: its name, or ``chain_group`` where the tree has that name for something else.

    Examples
    --------
    >>> group_dim("Subject"), group_dim("chain")
    ('Subject', 'chain_group')
    """
    return f"{group}_group" if group in RESERVED else group

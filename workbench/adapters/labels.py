"""How other software spells levels, terms and grouping factors, brought to the spelling of a Design.

Labels are compared as text, after what differs by habit alone is taken off:

=================  ===============================================  ============================
what               spellings                                        here
=================  ===============================================  ============================
a numeric level    ``308``, ``308.0``, ``"308"``                    ``308``
the intercept      ``Intercept``, ``b_Intercept``, ``1``, ``const`` ``(Intercept)``
a contrast         ``recipe[T.B]``, ``C(recipe)[T.B]``              ``recipeB``
an interaction     ``b:a``                                          ``a:b``, as the design has it
a nested factor    ``batch:cask`` with levels ``A:a``               ``cask:batch``, ``a:A``
a nested level     ``a_A`` (brms), ``A:a``                          ``a:A``
a second bar       ``Subject.1`` (lme4's ``||``)                    ``Subject``
=================  ===============================================  ============================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

INTERCEPTS = ("(intercept)", "intercept", "b_intercept", "1", "const", "cons", "_cons")


def level_label(value: Any) -> str:
    """A level as text; a whole number loses its decimals.

    Examples
    --------
    >>> [level_label(x) for x in ("308", 308, 308.0, "308.0", "08", " a ", 1.5)]
    ['308', '308', '308', '308', '08', 'a', '1.5']
    """
    text = str(value).strip()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def term_label(name: Any) -> str:
    """A term as R would name it, its factors in alphabetical order, so that ``a:b`` and ``b:a`` are one.

    Examples
    --------
    >>> [term_label(x) for x in ("Intercept", "C(recipe)[T.B]", "temp:recipe[T.B]", "Days")]
    ['(Intercept)', 'recipeB', 'recipeB:temp', 'Days']
    """
    text = str(name).strip()
    if text.lower() in INTERCEPTS:
        return "(Intercept)"
    return ":".join(sorted(_contrast(part) for part in text.split(":")))


def _contrast(part: str) -> str:
    """``C(recipe)[T.B]`` and ``recipe[B]`` as ``recipeB``."""
    found = re.fullmatch(r"(?:C\((\w[\w.]*)[^)]*\)|(\w[\w.]*))\[(?:T\.)?(.+)\]", part.strip())
    return part.strip() if found is None else f"{found[1] or found[2]}{found[3]}"


def group_names(groups: Iterable[str | None], known: Sequence[str]) -> dict[str | None, tuple[str, bool]]:
    """Which grouping factor of a design every foreign one is, and whether its levels read the other way round.

    A foreign group None, of a table that names none, is the only one there is. What cannot be told is left out.

    Examples
    --------
    >>> group_names(["batch:cask", "batch", "sort.1"], ["cask:batch", "batch", "sort"])
    {'batch:cask': ('cask:batch', True), 'batch': ('batch', False), 'sort.1': ('sort', False)}
    """
    found: dict[str | None, tuple[str, bool]] = {}
    for group in groups:
        if group is None:
            if len(known) == 1:
                found[group] = (known[0], False)
            continue
        turned = ":".join(reversed(group.split(":")))
        bare = re.sub(r"\.\d+$", "", group)
        for name, reverse in ((group, False), (turned, True), (bare, False)):
            if name in known:
                found[group] = (name, reverse and name != group)
                break
    return found


def level_places(levels: Sequence[Any], known: Sequence[str], reverse: bool = False) -> list[int]:
    """Where every foreign level stands among the design's, -1 where it is none of them.

    Of levels that are combinations, ``a:A``, the other order and brms's ``a_A`` are taken where all of the foreign
    levels are then found and as they are written not all are.

    Examples
    --------
    >>> level_places([308.0, "309"], ("308", "309")), level_places(["A:a", "A:b"], ("a:A", "b:A"))
    ([0, 1], [0, 1])
    >>> level_places(["a_A", "c"], ("a:A", "b:A"))
    [-1, -1]
    """
    by_text = _unique(known, str) if _unique(known, level_label) is None else _unique(known, level_label)
    assert by_text is not None
    texts = [level_label(level) for level in levels]
    if reverse:
        texts = [_turned(text) for text in texts]
    places = [by_text.get(text, -1) for text in texts]
    if min(places, default=0) >= 0:
        return places
    spelt: tuple[Callable[[str], str], ...] = (_turned, _underscored, lambda text: _underscored(_turned(text)))
    for spell in spelt:
        other = _unique(known, lambda name, spell=spell: spell(level_label(name)))  # type: ignore[misc]
        if other is None or not any(":" in name for name in known):
            continue
        tried = [other.get(text, -1) for text in texts]
        if min(tried) >= 0:
            return tried
    return places


def _unique(names: Sequence[str], spell: Callable[[str], str]) -> Mapping[str, int] | None:
    """Places by another spelling; None where two names are then the same."""
    found = {spell(name): place for place, name in enumerate(names)}
    return found if len(found) == len(names) else None


def _turned(label: str) -> str:
    return ":".join(reversed(label.split(":")))


def _underscored(label: str) -> str:
    return label.replace(":", "_").replace(" ", ".")

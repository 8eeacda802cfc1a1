"""What stands behind arguments of the command line, read: pairs, priors, options, lists of names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from workbench.errors import OptionError


def read_priors(given: Sequence[str], argument: str = "--prior") -> dict[str, str]:
    """Read NAME=PRIOR."""
    return read_pairs(given, argument, '"sd(g)=HalfCauchy(5)"')


def read_pairs(given: Sequence[str], argument: str, example: str) -> dict[str, str]:
    """Read NAME=TEXT."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"{argument} {text!r} has no '='. Write it like {example}.")
        if not value.strip():
            raise OptionError(f"{argument} {text!r} has nothing behind its '='. Write it like {example}.")
        if name.strip() in found:
            raise OptionError(f"{argument} gives {name.strip()} twice, as {found[name.strip()]} and {value.strip()}.")
        found[name.strip()] = value.strip()
    return found


def read_option(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; inf and JSON (a number, true, {"(Intercept)": 2}) are taken as such, other values as text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--option {text!r} has no '='. Write it like --option dispersion=reml.")
    try:
        return key.strip(), json.loads("Infinity" if value.strip() == "inf" else value)
    except json.JSONDecodeError:
        return key.strip(), value.strip()


def read_estimator_options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ESTIMATOR.KEY=VALUE."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        key, value = read_option(text)
        estimator, dot, own = key.partition(".")
        if not dot:
            raise OptionError(f"--option {text!r} names no estimator. Write it like --option fixed_prior.{text}.")
        found.setdefault(estimator, {})[own] = value
    return found


def read_names(given: Sequence[str] | None) -> list[str] | None:
    """Estimators may be separated by blanks or commas."""
    return [name for part in given for name in part.split(",") if name] if given else None


def read_exports(given: Sequence[str]) -> list[tuple[str, str]]:
    """Read FILE or TABLE=FILE, and refuse what cannot be written before anything is fitted."""
    if not given:
        return []
    from workbench.report.export import check_export, read_export

    found = [read_export(text) for text in given]
    for table, file in found:
        check_export(file, table)
    return found

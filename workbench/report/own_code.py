"""How to make a comparison with this tool: the command, and the lines of Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from workbench.fit import Fit
from workbench.prior_defaults import default_priors
from workbench.report.equations import one_line, weighted
from workbench.sampling.responses import SAMPLED

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.report.context import Context


def command(comparison: Comparison, context: Context) -> str:
    """The command line that makes this report again."""
    if context.name:
        given = PurePath(str(context.study.get("folder", context.name)))
        lie = f"# the data: {(given / data_name(context)).as_posix()}"
        return f"{lie}\nworkbench run {context.name if context.built_in else given.as_posix()}"
    names = " ".join(name for name, fit in comparison.fits.items() if fit.read_from is None)
    design = comparison.design
    family = "" if design.family == "gaussian" else f" --family {design.family} --link {design.link}"
    model = f'{data_name(context)} "{design.formula}"{family}'
    more = [f'--prior "{key}={text}"' for key, text in _stated_priors(comparison, context).items()]
    for name, fit in comparison.fits.items():
        for key, value in _own_options(fit).items():
            shown = "..." if isinstance(value, Fit) else json.dumps(value, default=dict, ensure_ascii=False).strip('"')
            more.append(f"--option '{name}.{key}={shown}'")
    more += [f'--foreign "{name}={file or "..."}"' for name, file in _foreign_files(comparison).items()]
    return " ".join([f"workbench compare {model} --estimators {names}", *more, "--out report"])


def _foreign_files(comparison: Comparison) -> dict[str, str | None]:
    """The file that each answer from elsewhere was read from; None of what was given as an object."""
    sources = {name: fit.read_from for name, fit in comparison.fits.items() if fit.read_from}
    return {name: source if PurePath(source).suffix else None for name, source in sources.items()}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def data_name(context: Context) -> str:
    """The data file's name, without the folders it lies in."""
    return PurePath(str(context.study.get("data", "data.csv"))).name


def python_code(comparison: Comparison, context: Context) -> str:
    """The lines of Python that make this comparison."""
    design, study = comparison.design, context.study
    missing: list[str] = []
    given = [
        json.dumps(str(design.formula), ensure_ascii=False),
        json.dumps(data_name(context)),
        _list([name for name, fit in comparison.fits.items() if fit.read_from is None]),
    ]
    for key in ("weights", "offset", "se"):
        if study.get(key):
            given.append(f"{key}={json.dumps(study[key])}")
    if design.family != "gaussian":
        given.append(f"family={json.dumps(design.family)}, link={json.dumps(design.link)}")
    if design.coding.offset is not None and not study.get("offset"):
        by_name = design.coding.offset_is_column
        given.append(f"offset={json.dumps(design.coding.offset) if by_name else 'offset'}")
        missing += [] if by_name else ["offset = ...              # the offset, one per row"]
    if not study.get("weights") and not design.known_se and weighted(design):
        given.append("weights=weights")
        missing.append("weights = ...             # the prior weights, one per row")
    if not study.get("se") and design.known_se:
        given.append("se=se")
        missing.append("se = ...                  # the known standard errors, one per row")
    if truth := dict(study.get("truth") or {}).get("file"):
        given.append(f"truth=pd.read_csv({json.dumps(truth)})")
    if study.get("seed", 1) != 1:
        given.append(f"seed={study['seed']}")
    if priors := _stated_priors(comparison, context):
        given.append(f"priors={json.dumps(priors, ensure_ascii=False)}")
    if files := _foreign_files(comparison):
        named = ", ".join(f"{_text(name)}: {_text(file) if file else '...'}" for name, file in files.items())
        given.append(f"foreign={{{named}}}")
        missing += [
            f"# in place of ... stands what {name} was read from: {comparison.fits[name].read_from}"
            for name, file in files.items()
            if file is None
        ]
    options, unsaid = _options(comparison)
    given += [f"options={options}"] if options else []
    missing += unsaid
    return "\n".join(
        [
            *(["import pandas as pd", ""] if truth else []),
            "import workbench as wb",
            "",
            *missing,
            "comparison = wb.compare(",
            *(f"    {part}," for part in given),
            ")",
            "comparison.estimates      # every estimate with its error, interval and kind",
            "comparison.plot.shrinkage()",
        ]
    )


def _own_options(fit: Fit) -> dict[str, Any]:
    """A fit's options that are not its estimator's defaults."""
    if not is_dataclass(fit.options) or isinstance(fit.options, type):
        return {}
    default = type(fit.options)()
    values = {field.name: getattr(fit.options, field.name) for field in fields(fit.options)}
    return {key: value for key, value in values.items() if isinstance(value, Fit) or value != getattr(default, key)}


def _options(comparison: Comparison) -> tuple[str, list[str]]:
    """Options of the estimators that are not their defaults, as Python, and lines for what cannot be written down."""
    parts, unsaid = [], []
    for name, fit in comparison.fits.items():
        own = []
        for key, value in _own_options(fit).items():
            if isinstance(value, Fit):
                unsaid.append(f"other_fit = ...           # the fit of {one_line(str(value.design.formula))}")
            shown = (
                "other_fit" if isinstance(value, Fit) else repr(dict(value) if isinstance(value, Mapping) else value)
            )
            own.append(f"{json.dumps(key)}: {shown}")
        parts += [f"{json.dumps(name)}: {{{', '.join(own)}}}"] if own else []
    return (f"{{{', '.join(parts)}}}" if parts else ""), unsaid


def _stated_priors(comparison: Comparison, context: Context) -> dict[str, str]:
    """Priors that are not the defaults, by name."""
    if context.study.get("priors"):
        return {key: str(prior) for key, prior in context.study["priors"].items()}
    design = comparison.design
    defaults = default_priors(design, robust=True) if design.family in SAMPLED else {}
    usual = {key: str(prior) for key, prior in defaults.items()}
    every = {key: text for fit in comparison.fits.values() for key, text in fit.priors.items()}
    return {key: text for key, text in every.items() if usual.get(key) != text}


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(name) for name in names) + "]"
